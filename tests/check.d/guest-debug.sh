#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest tests once more, fewer cases, on the kernel that checks itself.
#
# timeout: 1800
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

vm_tap 'debug' --kernel debug --timeout 900 --seconds 400 -- \
	'sweep bar --every 29' 'sweep udmabuf --every 29' 'sweep heap --every 29' ranges rings disks counters revoke removal
tap_end
