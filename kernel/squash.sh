# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shellcheck disable=SC2154,SC2034 # what it works on is its caller's
#
# Fold the fixup!, squash! and amend! commits of the branch bario into the commits
# they name, as git rebase --autosquash does, but among commit objects alone: no
# working file is touched, so no build has to do anything again. Source it after
# kernel/series.sh; squash leaves the result in the array commits.

# squash_target SUBJECT: which of the commits so far a fixup means, as git finds it.
squash_target()
{
	local want=$1 commit

	while [[ $want =~ ^(fixup|squash|amend)!\ (.*)$ ]]; do want=${BASH_REMATCH[2]}; done
	for commit in "${picks[@]}"; do
		[[ $(k log -1 --format=%s "$commit") != "$want" ]] || { echo "$commit"; return; }
	done
	for commit in "${picks[@]}"; do
		[[ ! $want =~ ^[0-9a-f]{7,40}$ || $commit != "$want"* ]] || { echo "$commit"; return; }
	done
	for commit in "${picks[@]}"; do
		[[ $(k log -1 --format=%s "$commit") != "$want"* ]] || { echo "$commit"; return; }
	done
	bario_die "the commit \"$1\" names no commit of the branch"
}

# pick COMMIT ONTO: the tree of ONTO with what COMMIT changes. Git merges it with
# the parent of COMMIT as the base, without any working files.
pick()
{
	local commit=$1 onto=$2 side

	if [[ $(k rev-parse "$commit^") == "$onto" ]]; then
		k rev-parse "$commit^{tree}"
		return
	fi
	side=$(k commit-tree -p "$commit^" -m side "$onto^{tree}")
	k merge-tree --write-tree --name-only "$side" "$commit" >"$series_tmp/merge" || {
		sed -n '2,/^$/s/^/    /p' "$series_tmp/merge" >&2
		bario_die "\"$(k log -1 --format=%s "$commit")\" does not fit where it belongs;" \
			"solve it by hand: git -C $tree rebase -i --autosquash base"
	}
	head -n 1 "$series_tmp/merge"
}

# squash_message COMMIT FIXUP...: the message that results.
squash_message()
{
	local commit=$1 fixup
	local message

	message=$(k log -1 --format=%B "$commit")
	for fixup in "${@:2}"; do
		case $(k log -1 --format=%s "$fixup") in
		amend!*) message=$(k log -1 --format=%b "$fixup") ;;
		squash!*) message+=$'\n\n'$(k log -1 --format=%b "$fixup") ;;
		esac
	done
	git stripspace <<<"$message"
}

# The branch as the list of commits it will be, with every fixup in its place.
squash()
{
	local commit subject target fixup onto base
	local -a picks=() squashed=()
	local -A fixups=()

	for commit in $(k rev-list --reverse base..HEAD); do
		subject=$(k log -1 --format=%s "$commit")
		if [[ $subject =~ ^(fixup|squash|amend)!\  ]]; then
			target=$(squash_target "$subject")
			fixups[$target]+=" $commit"
		else
			picks+=("$commit")
		fi
	done
	base=$(k rev-parse 'base^{commit}')
	onto=$base
	for commit in "${picks[@]}"; do
		if [[ -z ${fixups[$commit]-} && $(k rev-parse "$commit^") == "$onto" ]]; then
			onto=$commit
		else
			onto=$(squash_one "$onto" "$commit" "${fixups[$commit]-}")
		fi
		squashed+=("$onto")
	done
	[[ $(k rev-parse "$onto^{tree}") == $(k rev-parse 'HEAD^{tree}') ]] ||
		bario_die "with the fixups in their places the tree is another one;" \
			"do it by hand: git -C $tree rebase -i --autosquash base"
	commits=("${squashed[@]}")
}

# squash_one ONTO COMMIT FIXUPS: one commit that does all of it.
squash_one()
{
	local onto=$1 commit=$2 fixup tip trees
	local -x GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	local -x GIT_COMMITTER_NAME=bario GIT_COMMITTER_EMAIL=bario@localhost

	GIT_AUTHOR_NAME=$(k log -1 --format=%an "$commit")
	GIT_AUTHOR_EMAIL=$(k log -1 --format=%ae "$commit")
	GIT_AUTHOR_DATE=$(k log -1 --format=%ad --date=raw "$commit")
	tip=$onto
	for fixup in "$commit" $3; do
		trees=$(pick "$fixup" "$tip")
		tip=$(k commit-tree -p "$tip" -m step "$trees")
	done
	# shellcheck disable=SC2086 # a list of commits
	squash_message "$commit" $3 | k commit-tree -p "$onto" -F - "$tip^{tree}"
}
