#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The BAR, and the drive, taken away from I/O in flight.
#
# timeout: 900
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

for topology in ports-iommu switch; do
	vm_tap "$topology" --topology "$topology" -- revoke removal
done
# A PCIe device resets by FLR.
vm_tap 'ports-iommu, PCIe device' --topology ports-iommu --bar pmr -- revoke
tap_end
