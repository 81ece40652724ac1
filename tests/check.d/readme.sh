#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
# needs: release user image
#
# The program in the README builds with the command given there and moves data.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

top=$(cd -- "$(dirname -- "$vm")/../.." && pwd -P)
lib=${BARIO_BUILD:-$top/build}/user/lib/libbario.a

sed -n '/^    \/\* first\.c: /,/^    }$/s/^    //p' "$top/README.md" >"$scratch/first.c"
point 'the README has a program' test -s "$scratch/first.c"
point 'it builds' cc -Wall -Wextra -Werror -o "$scratch/first" -I"$top/user/lib" \
	"$scratch/first.c" "$lib" -luring
ends 'it runs' 0 "$vm" --add "$scratch/first" -- ./first
point 'and moves what it says' grep -qx '65536 bytes' "$scratch/out"
tap_end
