#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: nothing
#
# No file of ours names the mirror that this machine's apt is set up with, says that
# there is work left, lacks its SPDX line or has the wrong mode; and a tree with one
# file of each kind would be told.
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"
# shellcheck source=../tree.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../tree.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")

# The hosts that apt fetches from, as far as they have a name with a dot in it.
mirrors()
{
	# shellcheck disable=SC2016 # apt's own variable
	apt-get indextargets --format '$(SITE)' |
		sed -n 's|^[a-z+]*://\([^/@]*@\)\?\([^/:]*\.[^/:]*\).*|\2|p' | sort -u
}

mapfile -t hosts < <(mirrors)
name='no file names the mirror'
if ((${#hosts[@]})); then
	same "$name" '' "$(tree_mentions "$top" "${hosts[@]}")"
else
	point "$name # SKIP apt is set up with no mirror that has a name" true
fi
same 'no file says that there is work left' '' "$(tree_unfinished "$top")"
same 'every source has the SPDX line of its place' '' "$(tree_unlicensed "$top")"
same 'executable is what begins with #!, and nothing else' '' "$(tree_unmarked "$top")"

wrong=$scratch/tree
# In two halves: this file is looked at, too.
later=TO'DO' mend=FIX'ME'
mkdir -p "$wrong/user/lib" "$wrong/vfio" "$wrong/build"
echo 'see http://mirror.example.net/debian' >"$wrong/README"
printf '// SPDX-License-Identifier: GPL-2.0-only\n' >"$wrong/vfio/fine.c"
printf '// SPDX-License-Identifier: GPL-2.0-only\n' >"$wrong/user/lib/wrong.c"
printf '#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-or-later\n# %s later\n' "$mend" >"$wrong/script"
printf '+int a; /* %s */\n int b; /* %s */\n' "$later" "$later" >"$wrong/a.patch"
echo 'int x;' >"$wrong/user/plain.c"
echo "$later" >"$wrong/build/made"
chmod +x "$wrong/user/plain.c"
same 'a mirror would be found' 'README:1:see http://mirror.example.net/debian' \
	"$(tree_mentions "$wrong" mirror.example.net)"
printf -v left 'a.patch:1:+int a; /* %s */\nscript:3:# %s later' "$later" "$mend"
same 'work left would be found' "$left" "$(tree_unfinished "$wrong")"
same 'a missing or wrong SPDX line would be found' 'user/lib/wrong.c: GPL-2.0-only
user/plain.c: no SPDX line' "$(tree_unlicensed "$wrong")"
same 'a wrong mode would be found' 'script begins with #! and is not executable
user/plain.c is executable and does not begin with #!' "$(tree_unmarked "$wrong")"
tap_end
