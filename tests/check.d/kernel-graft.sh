#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The series and the branch bario are two forms of one thing: graft goes one way,
# refresh the other, nothing is lost, and what does not fit is named. On a tree of
# the files that the hooks touch, taken from the base of the real one.
# timeout: 300
# needs: release
set -euo pipefail
# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

here=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")
source_tree=${BARIO_LINUX:-${BARIO_BUILD:-$here/build}/linux}
unset BARIO_LINUX BARIO_LOCK BARIO_LOCKED
export BARIO_BUILD=$scratch/build
top=$scratch/top
tree=$scratch/tree
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@localhost
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@localhost

lines() { grep '^[^# ]' "$top/kernel/series"; }
t() { git -C "$tree" "$@"; }

# The scripts and the whole series, away from the checkout.
copy_top() {
	local line

	rm -rf -- "$top"
	mkdir -p -- "$top"
	cp -r -- "$here/kernel" "$top/"
	while read -r line; do
		# shellcheck disable=SC2086 # a list of files
		(cd -- "$here" && cp --parents -- $line "$top")
	done < <(lines)
}

# new_tree VERSION [FILE...]: a tree of its own with the files that the hooks touch;
# to FILEs, a line is added at the top, as another version might.
new_tree() {
	local version=$1 file
	local -a places

	shift
	rm -rf -- "$tree"
	mkdir -p -- "$tree"
	mapfile -t places < <(cd -- "$top" && awk '/^diff --git / { print substr($3, 3) }' ./*/hooks/*.patch | sort -u)
	git -C "$source_tree" archive base -- Makefile MAINTAINERS .gitignore .gitattributes "${places[@]}" |
		tar -x -C "$tree"
	for file; do sed -i '1i /* another version */' "$tree/$file"; done
	(
		# shellcheck source=../../kernel/series.sh
		. "$top/kernel/series.sh"
		tree_init "$version"
	) >/dev/null
}

graft() { "$top/kernel/graft" "$tree"; }
refresh() { "$top/kernel/refresh" "$tree"; }
sums() { (cd -- "$top" && find . -type f ! -path './kernel/*.sh' -exec sha256sum {} + | sort -k 2); }
said() { grep -qF -- "$1" "$scratch/err"; }
tree_id() { t rev-parse 'HEAD^{tree}'; }
newer_files() { find "$tree" -newer "$scratch/mark" -type f ! -path '*/.git/*' -printf '%P\n'; }
git_clean() { [[ -z $(t status --porcelain) && -z $(find "$tree" -name '*.rej' -o -name '*.orig') ]]; }

version=6.12.117-1~deb12u1
copy_top
# A line that has both a diff and a source file of ours, to work on.
while read -r hook files; do
	our_file=$(tr ' ' '\n' <<<"$files" | grep '^block/.*\.c$' | sed -n 1p || true)
	[[ -z $our_file ]] || ! grep -q '^@@ ' "$top/$hook" || break
done < <(lines)
first_hook=$hook
first_place=$(awk '/^diff --git / { print substr($3, 3); exit }' "$top/$first_hook")
count=$(lines | wc -l)

# There and back.
new_tree "$version"
ends 'the series grafts' 0 graft
same '... a commit a line' "$count" "$(t rev-list --count base..bario)"
point '... and prints its tally' grep -qE '^ *[1-9][0-9]* +[0-9]+  lines added and removed in [1-9]' "$scratch/out"
point '... each with a reason and a sign-off' \
	test "$count" = "$(t log --format=%H base..bario --grep='^Signed-off-by: ' | wc -l)"
tip=$(t rev-parse bario)
before=$(sums)
ends 'refresh takes it back' 0 refresh
same '... to the same files and hooks, byte for byte' "$before" "$(sums)"
same '... and leaves the branch' "$tip" "$(t rev-parse bario)"
touch "$scratch/mark"
ends 'a second graft is fine' 0 graft
same '... and writes no file' '' "$(newer_files)"
mv -- "$tree" "$scratch/tree-1"
new_tree "$version"
ends 'another tree takes the series' 0 graft
same '... with the same commit ids' "$tip" "$(t rev-parse bario)"

# A change here reaches the tree, and nothing but its file is written.
echo '/* changed here */' >>"$top/$our_file"
touch "$scratch/mark"
ends 'a changed file of ours is grafted' 0 graft
same '... and is the only one written' "$our_file" "$(newer_files)"
point '... to a clean tree' git_clean

# Work in the branch comes back.
subject=$(sed -n 's/^Subject: \[PATCH\] //p' "$top/$first_hook")
echo '/* carried back, upstream */' >>"$tree/$first_place"
echo '/* carried back, ours */' >>"$tree/$our_file"
before=$(sums)
ends 'refresh refuses changes that no commit holds' 1 refresh
point '... says what to do with them' said "commit -a --fixup"
same '... and changes nothing' "$before" "$(sums)"
t commit -qam "fixup! $subject"
want=$(tree_id)
ends 'a fixup commit is carried back' 0 refresh
point '... into its hook' grep -qxF -- '+/* carried back, upstream */' "$top/$first_hook"
point '... and our file' grep -qxF -- '/* carried back, ours */' "$top/$our_file"
same '... and no other file' "$first_hook $our_file" \
	"$(diff <(echo "$before") <(sums) | sed -n 's/^> [0-9a-f]*  \.\///p' | sort | paste -sd ' ' |
		awk -v a="$first_hook" -v b="$our_file" '{ print $0 == a " " b || $0 == b " " a ? a " " b : $0 }')"
same '... without changing the tree' "$want" "$(tree_id)"
same '... with no fixup left' "$count" "$(t rev-list --count base..bario)"
echo 'int added;' >"$tree/block/added-by-test.c"
ends 'refresh refuses a file that git does not know' 1 refresh
point '... by name' said block/added-by-test.c
t add -f block/added-by-test.c
sed -i '1i /* a new commit */' "$tree/$first_place"
t commit -qam $'block: added by the test\n\nWhy.\n\nSigned-off-by: Tester <tester@localhost>'
want=$(tree_id)
ends 'a new commit is carried back' 0 refresh
same '... as a line of its own' block/added-by-test.c \
	"$(tail -n 1 "$top/kernel/series" | cut -d ' ' -f 2-)"
t rm -q block/added-by-test.c
t commit -qm 'fixup! block: added by the test'
ends 'a removed file is carried back' 0 refresh
point '... and gone here' test ! -e "$top/block/added-by-test.c"
want=$(tree_id)
new_tree "$version"
ends 'all of it grafts' 0 graft
same '... to the tree that was worked in' "$want" "$(tree_id)"

# Nothing is overwritten unseen.
echo '/* work */' >>"$tree/$first_place"
t commit -qam 'block: work that nobody carried back'
tip=$(t rev-parse bario)
echo '/* meanwhile */' >>"$top/$our_file"
ends 'a graft over such work is refused' 1 graft
same '... and leaves it' "$tip" "$(t rev-parse bario)"
echo '/* at the same time */' >>"$tree/$our_file"
t commit -qam "fixup! $subject"
before=$(sums)
ends 'a refresh over a file changed here is refused' 1 refresh
point '... by name' said "$our_file"
same '... and changes nothing' "$before" "$(sums)"

# Other versions.
copy_top
sed -i '/^tested /d' "$top/kernel/base"
new_tree 6.12.999-1 "$first_place"
ends 'an untested version is taken' 0 graft
point '... with a warning that names it' said 'the base 6.12.999-1 is untested'
before=$(sums)
ends 'refresh works from there' 0 refresh
same '... and rewrites no hook for line numbers alone' "$before" "$(sums)"

# What does not fit is named.
break_hook() {
	awk '!done && hunk && /^ ./ { print " something else"; done = 1; next } /^@@ / { hunk = 1 } 1' \
		"$top/$first_hook" >"$scratch/hook"
	cp -- "$scratch/hook" "$top/$first_hook"
}
copy_top
new_tree 6.12.999-1
break_hook
ends 'a hook that does not fit fails' 1 graft
point '... by its name' said "$first_hook"
point '... and file and hunk' said "$first_place, hunk 1"
point '... and version' said 6.12.999-1
same '... and leaves the branch' "$(t rev-parse base)" "$(t rev-parse bario)"
point '... and no rejects' git_clean
copy_top
rm -- "${top:?}/$first_hook"
ends 'a hook that is not there fails' 1 graft
point '... by its name' said "$first_hook"
copy_top
echo "$our_file" >>"$top/kernel/series"
ends 'a line that is no mail fails' 1 graft
point '... by its name' said "$our_file"

tap_end
