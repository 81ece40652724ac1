#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of ring, and several ranges, where the addresses are of every kind.
#
# timeout: 600
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

for topology in ports-iommu switch ports; do
	vm_tap "$topology" --topology "$topology" -- rings ranges disks
done
tap_end
