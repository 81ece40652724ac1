# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shellcheck disable=SC2154 # top and tree are the caller's
#
# The series: what stands in kernel/series, and how it becomes commits. Shared by
# graft, refresh and the checks; source it after kernel/lib.sh.
#
# A line of kernel/series is one future upstream commit: the hook, a whole mail
# whose diff changes upstream files only, and the files of ours that join in it.
# The commit's author, date and message come from the mail, its committer is its
# author, so the same series on the same base gives the same commit ids anywhere.

series_tmp=''		# scratch folder, gone at exit
hooks=()		# the series' lines: hook ...
declare -A joins	# ... and the files that join in it, separated by spaces
declare -A kernel_of	# file of ours -> its place in the kernel tree
declare -A line_of	# place in the kernel tree -> hook

# git as the scripts mean it, whatever the user has configured.
k()
{
	git -C "$tree" -c core.autocrlf=false -c core.quotePath=false \
		-c core.fsmonitor=false -c core.warnAmbiguousRefs=false -c gc.auto=0 "$@"
}

say()
{
	printf '%s: %s\n' "$BARIO_NAME" "$*" >&2
}

# series_scratch DIR: below DIR, where it may become large, or "".
series_scratch()
{
	series_tmp=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/bario-kernel.XXXXXX")
	trap 'rm -rf -- "$series_tmp"' EXIT
}

# kernel_path FILE: the place of a file of ours in the kernel tree, or nothing.
kernel_path()
{
	local here there

	while read -r here there _; do
		if [[ $1 == "$here"* ]]; then
			echo "$there${1#"$here"}"
			return
		fi
	done < <(grep -v '^#' "$top/kernel/folders")
}

# our_path PLACE: the other way round.
our_path()
{
	local here there pattern
	local -a names

	while read -r here there pattern; do
		[[ $1 == "$there"* ]] || continue
		read -ra names <<<"$pattern"
		for pattern in "${names[@]}"; do
			# shellcheck disable=SC2053 # it is a pattern
			if [[ ${1##*/} == $pattern ]]; then
				echo "$here${1#"$there"}"
				return
			fi
		done
	done < <(grep -v '^#' "$top/kernel/folders")
}

# series_read ROOT: kernel/series of ROOT into the arrays, with every complaint
# that can be had without a kernel tree.
series_read()
{
	local root=$1 hook files file place line=0

	hooks=() joins=() kernel_of=() line_of=()
	[[ -e $root/kernel/series ]] || bario_die "there is no kernel/series in $root"
	while read -r hook files; do
		line=$((line + 1))
		[[ $hook && $hook != \#* ]] || continue
		[[ -f $root/$hook ]] || bario_die "kernel/series line $line: there is no $hook"
		[[ -z ${joins[$hook]+x} ]] || bario_die "kernel/series line $line: $hook was there before"
		hooks+=("$hook")
		joins[$hook]=$files
		for file in $files; do
			place=$(kernel_path "$file")
			[[ -f $root/$file ]] || bario_die "kernel/series line $line: there is no $file"
			[[ $place ]] || bario_die "kernel/series line $line: kernel/folders has no place for $file"
			[[ -z ${line_of[$place]+x} ]] || bario_die "kernel/series line $line: $place joins twice"
			kernel_of[$file]=$place
			line_of[$place]=$hook
		done
	done <"$root/kernel/series"
}

# The upstream files that the hooks touch.
series_places()
{
	local hook

	for hook in "${hooks[@]}"; do
		sed -n 's|^diff --git a/\(.*\) b/.*|\1|p' "$top/$hook"
	done | sort -u
}

# series_key ROOT: one word that changes with anything the commits depend on.
series_key()
{
	local root=$1

	(
		cd -- "$root" || exit
		echo 1
		for hook in "${hooks[@]}"; do
			echo "$hook ${joins[$hook]}"
			for file in ${joins[$hook]}; do echo "${kernel_of[$file]}"; done
			# shellcheck disable=SC2086 # a list of files
			sha256sum -- "$hook" ${joins[$hook]}
		done
	) | sha256sum | cut -d ' ' -f 1
}

# mail_split MAIL DIR: DIR/info (author, subject, date), DIR/message and DIR/diff.
mail_split()
{
	mkdir -p -- "$2"
	git -c mailinfo.scissors=false mailinfo -b --no-scissors --encoding=UTF-8 \
		"$2/body" "$2/after" <"$1" >"$2/info" ||
		bario_die "$1 is no mail"
	# What stands between the line --- and the diff is for the reader alone.
	awk '/^diff --git / { seen = 1 } seen' "$2/after" >"$2/diff"
	[[ -s $2/diff ]] || ! grep -q '^@@ -' "$2/after" ||
		bario_die "$1: its diff has no lines diff --git"
	{
		sed -n 's/^Subject: //p' "$2/info"
		echo
		cat "$2/body"
	} | git stripspace >"$2/message"
	[[ $(info_field "$2" Author) && $(info_field "$2" Email) ]] ||
		bario_die "$1 has no line From: NAME <ADDRESS>"
	[[ $(info_field "$2" Subject) ]] || bario_die "$1 has no subject"
}

# info_field DIR NAME
info_field()
{
	sed -n "s/^$2: //p" "$1/info"
}

# The version a tree was made from: what its base commit says, else its Makefile.
base_version()
{
	k log -1 --format=%s base | awk '$1 ~ /^linux-source-/ && NF == 2 { print $2; exit } { exit 1 }' || tree_version
}

base_field()
{
	awk -v word="$1" '$1 == word { print $2 }' "$top/kernel/base"
}

# tree_init VERSION: make the pristine $tree a repository whose branch bario and tag
# base are the tree as it is. Everything goes into one pack, which is several times
# faster than a file an object. Only one thing is changed: Debian's .gitignore ends
# with "/*", and git would never show a new file.
tree_init()
{
	# The day of Linux 6.12: any fixed day does, so that ids are the same anywhere.
	local version=$1 stamp='2024-11-17T22:15:08 +0000' tip

	[[ ! -f $tree/.gitignore ]] || sed -i '/^\/\*$/d; /^!\/debian\/$/d' "$tree/.gitignore"
	git init -q -b bario "$tree"
	k config core.compression 1
	k config gc.auto 0
	printf '%s\n' '/o-*/' >>"$tree/.git/info/exclude"
	k -c core.bigFileThreshold=1 add -f -v -A .
	tip=$(GIT_AUTHOR_NAME=bario GIT_AUTHOR_EMAIL=bario@localhost GIT_AUTHOR_DATE=$stamp \
		GIT_COMMITTER_NAME=bario GIT_COMMITTER_EMAIL=bario@localhost GIT_COMMITTER_DATE=$stamp \
		k commit-tree -m "linux-source-6.12 $version" "$(k write-tree)")
	k update-ref refs/heads/bario "$tip"
	k tag base "$tip"
}

# The version in the Makefile of $tree.
tree_version()
{
	awk -F ' *= *' '/^VERSION|^PATCHLEVEL|^SUBLEVEL/ { v = v s $2; s = "." }
		/^EXTRAVERSION/ { print v; exit }' "$tree/Makefile"
}

# tree_state NAME: a file of ours inside the tree's repository.
tree_state()
{
	echo "$(k rev-parse --absolute-git-dir)/bario-$1"
}

# chain_make ROOT LIST: the commits of the series in ROOT on the tag base of $tree,
# touching no branch and no working file; LIST gets a line "COMMIT HOOK" for each.
chain_make()
{
	local root=$1 list=$2 hook parent commit dir n=0
	local -x GIT_INDEX_FILE=$series_tmp/index

	rm -f -- "$GIT_INDEX_FILE"
	k read-tree base
	parent=$(k rev-parse 'base^{commit}')
	: >"$list"
	for hook in "${hooks[@]}"; do
		n=$((n + 1))
		dir=$series_tmp/mail/$n
		mail_split "$root/$hook" "$dir"
		hook_check "$hook" "$dir/diff"
		[[ -s $dir/diff || ${joins[$hook]} ]] ||
			bario_die "$hook brings neither a diff nor files"
		files_join "$root" "$hook"
		[[ ! -s $dir/diff ]] || hook_apply "$hook" "$dir/diff"
		commit=$(chain_commit "$dir" "$parent")
		[[ $(k rev-parse "$commit^{tree}") != $(k rev-parse "$parent^{tree}") ]] ||
			bario_die "$hook changes nothing"
		echo "$commit $hook" >>"$list"
		parent=$commit
	done
}

chain_commit()
{
	local dir=$1 parent=$2 date
	local -x GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	local -x GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE

	GIT_AUTHOR_NAME=$(info_field "$dir" Author)
	GIT_AUTHOR_EMAIL=$(info_field "$dir" Email)
	date=$(info_field "$dir" Date)
	GIT_AUTHOR_DATE=${date:-$(k log -1 --format=%aD base)}
	GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME
	GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
	GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
	k commit-tree -p "$parent" -F "$dir/message" "$(k write-tree)"
}

# Our files that join in a hook, into the index.
files_join()
{
	local root=$1 hook=$2 file place blob

	for file in ${joins[$hook]}; do
		place=${kernel_of[$file]}
		! k cat-file -e "base:$place" 2>/dev/null ||
			bario_die "$file joins in $hook, but the base $(base_version) has its own $place"
		blob=$(k hash-object -w --no-filters -- "$(realpath -- "$root/$file")")
		printf '100644 %s\t%s\n' "$blob" "$place"
	done | k update-index --add --index-info
}

# A hook changes upstream files and nothing else.
hook_check()
{
	local hook=$1 diff=$2 places=$series_tmp/places place

	[[ -s $diff ]] || return 0
	k apply --numstat -z "$diff" >"$places" 2>"$places.err" ||
		bario_die "$hook: its diff is damaged: $(head -n 1 "$places.err")"
	while IFS=$'\t' read -r -d '' _ _ place; do
		[[ -z ${line_of[$place]+x} ]] ||
			bario_die "$hook changes $place, which is a file of ours and joins in ${line_of[$place]}"
		k cat-file -e "base:$place" 2>/dev/null ||
			bario_die "$hook: the base $(base_version) has no $place"
	done <"$places"
}

hook_apply()
{
	local hook=$1 diff=$2 errors=$series_tmp/apply.err

	k apply --cached --whitespace=nowarn "$diff" 2>"$errors" && return
	while IFS= read -r line; do
		if [[ $line =~ ^error:\ patch\ failed:\ (.*):([0-9]+)$ ]]; then
			say "$hook does not fit the base $(base_version):"
			hunk_show "$diff" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" >&2
		fi
	done <"$errors"
	bario_die "$hook does not apply to the base $(base_version): $(grep -v 'does not apply' "$errors" | head -n 3 | paste -sd ';')"
}

# hunk_show DIFF FILE LINE: which hunk of the file that is, and what it says.
hunk_show()
{
	awk -v file="$2" -v line="$3" '
		/^diff --git / { in_file = ($0 == "diff --git a/" file " b/" file); n = 0; show = 0 }
		in_file && /^@@ -[0-9]/ {
			n++
			split(substr($2, 2), at, ",")
			show = (at[1] == line)
			if (show)
				printf "    %s, hunk %d:\n", file, n
		}
		show { print "    " $0 }
	' "$1"
}

# tally TIP: the hooks' lines added to and removed from each upstream file.
tally()
{
	k diff-tree -r --no-renames --diff-filter=MD --numstat base "$1" | awk -F '\t' '
		{ printf "%5d %5d  %s\n", $1, $2, $3; added += $1; removed += $2; files++ }
		END { printf "%5d %5d  lines added and removed in %d upstream files\n", added, removed, files }'
}

# The tree to work on: the one named, else BARIO_LINUX, else build/linux.
tree_find()
{
	realpath -m -- "${1:-${BARIO_LINUX:-$(bario_build_dir)/linux}}"
}

# One at a time for each tree; what runs below a holder has its lock. The checks have
# output folders of their own, and locks of their own, so that nobody waits for them.
tree_lock()
{
	local file=${BARIO_LOCK:-$tree.lock}

	[[ ${BARIO_LOCKED-} != "$file" ]] || return 0
	mkdir -p -- "$(dirname -- "$file")"
	exec {lock_fd}>"$file"
	if ! flock -n "$lock_fd"; then
		say "waiting for another build of $tree"
		flock "$lock_fd"
	fi
	export BARIO_LOCKED=$file
}

# A repository with the tag base, made from a bare tree if need be.
tree_check()
{
	[[ -d $tree ]] || bario_die "there is no kernel tree $tree; kernel/fetch makes it"
	if [[ ! -e $tree/.git ]]; then
		[[ -f $tree/Makefile && -f $tree/MAINTAINERS ]] || bario_die "$tree is no kernel tree"
		tree_init "$(tree_version)" >/dev/null
	fi
	k rev-parse -q --verify 'base^{commit}' >/dev/null ||
		bario_die "$tree has no tag base; put it on the pristine commit: git -C $tree tag base COMMIT"
	[[ ! -e $(k rev-parse --absolute-git-dir)/rebase-merge && ! -e $(k rev-parse --absolute-git-dir)/rebase-apply ]] ||
		bario_die "a rebase is under way in $tree; finish it first"
}

# What the last graft or refresh left: "BASE KEY", then "COMMIT HOOK" a commit.
state_write()
{
	{ echo "$1"; cat -- "$2"; } >"$series_tmp/state"
	mv -- "$series_tmp/state" "$(tree_state graft)"
}

state_line()
{
	sed -n "$1p" "$(tree_state graft)" 2>/dev/null || true
}

# The tip then; the base where the series was empty; nothing if there was no graft.
state_tip()
{
	{ tail -n 1 "$(tree_state graft)" 2>/dev/null || true; } | cut -d " " -f 1
}
