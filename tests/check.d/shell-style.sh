#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: nothing
#
# Nothing in any of our shell scripts makes shellcheck complain, a point each.
set -euo pipefail

# shellcheck source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"
# shellcheck source=../tree.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../tree.sh"

top=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")")

# Sources are named from the script's folder or from the top.
clean()
{
	shellcheck -x -P SCRIPTDIR -P "$top" "$1"
}

if ! command -v shellcheck >/dev/null; then
	# shellcheck source=../../kernel/lib.sh
	(. "$top/kernel/lib.sh" && bario_apt_install shellcheck)
fi
cd -- "$top"
while read -r file; do
	ends "$file" 0 clean "$file"
done < <(tree_shell_files "$top")

printf '#!/bin/bash\nrm %s1\n' "\$" >"$scratch/careless"
ends 'a careless script would be found' 1 clean "$scratch/careless"
tap_end
