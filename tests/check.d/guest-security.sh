#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Random calls of both interfaces, right and wrong ones, among revocations, closes and
# kills: every result is one that the ABI allows, what must not change has not, nothing
# hangs. And what a process without rights can do with files that it was given: what
# their modes allow, and not take the machine's memory or the drive's DMA addresses.
#
# BARIO_SEED is the seed of the random calls, else it is the time. What it decides alone,
# where the BAR stays, is the same each time.
#
# timeout: 600
# needs: release debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

seed=${BARIO_SEED:-$(date +%s)}
vm_tap 'release' --seconds 250 -- "fuzz --seed $seed --seconds 20" \
	"fuzz --seed $seed --still 400" handed 'handed memory'
vm_tap 'debug' --kernel debug --timeout 500 --seconds 300 -- \
	"fuzz --seed $seed --seconds 40" handed
tap_end
