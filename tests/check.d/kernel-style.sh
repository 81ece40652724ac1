#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# checkpatch --strict, sparse, W=1 and kernel-doc have nothing to say about our files
# and hook lines; and what they would say about them is not lost.
# timeout: 1200
# needs: release
set -euo pipefail
# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")
tree=${BARIO_LINUX:-${BARIO_BUILD:-$top/build}/linux}
check=$top/kernel/style-check
ours=$(git -C "$tree" diff --diff-filter=A --name-only base | grep '\.c$' | sed -n 1p)
hooked=$(git -C "$tree" diff --diff-filter=M --name-only base | grep '\.c$' | sed -n 1p)
hook_line=$(git -C "$tree" diff --diff-filter=M -U0 base -- "$hooked" |
	sed -n 's/^@@ [^+]*+\([0-9]*\).*/\1/p' | sed -n 1p)

# counts TEXT: what of a compiler's output is held against us.
counts() { "$check" --filter <<<"$1"; }

ends 'our files and hooks are clean' 0 "$check"
[[ ! -s $scratch/out ]] || sed 's/^/# /' "$scratch/out"

line="../$ours:3:1: warning: bad thing"
same 'a warning about our file counts' "${line#../}" "$(counts "$line")"
line="../$hooked:$hook_line:1: warning: bad thing"
same '... and about a hook line' "${line#../}" "$(counts "$line")"
same '... but not about the line above' '' "$(counts "../$hooked:$((hook_line - 1)):1: warning: bad thing")"
same '... nor about another file' '' "$(counts '../kernel/fork.c:3:1: warning: bad thing')"
line="$ours:3: warning: Function parameter 'x' not described"
same '... and kernel-doc counts' "$line" "$(counts "$line")"

# A commit of bad style, in a clone of what checkpatch needs.
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@localhost
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@localhost
clone=$scratch/clone
git clone -q -s --no-checkout "$tree" "$clone"
git -C "$clone" tag -f base "$(git -C "$tree" rev-parse base)" >/dev/null
git -C "$clone" sparse-checkout set scripts block >/dev/null
git -C "$clone" checkout -q bario
# what tells checkpatch that this is the top of a kernel tree
(cd -- "$clone" && mkdir -p Documentation arch include drivers fs init ipc kernel lib)
export BARIO_LINUX=$clone
ends 'the commits are clean alone' 0 "$check" --commits
printf '%s\n' '// SPDX-License-Identifier: GPL-2.0-only' 'int bad_style( void ) { return 0; }' >"$clone/block/bad-style.c"
git -C "$clone" add -f block/bad-style.c
git -C "$clone" commit -qm $'block: bad style\n\nOn purpose.\n\nSigned-off-by: Tester <tester@localhost>'
ends 'a commit of bad style is found' 1 "$check" --commits
point '... by its subject' grep -qF 'block: bad style' "$scratch/out"
git -C "$clone" commit -q --amend -m 'block: nobody signed this'
ends 'a commit without a sign-off is found' 1 "$check" --commits

tap_end
