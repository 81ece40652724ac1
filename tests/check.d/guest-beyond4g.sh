#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Offsets around 2 and 4 GiB: on the drive, in the BAR, and in both.
#
# timeout: 600
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

for topology in ports-iommu switch; do
	vm_drive 9G
	vm_tap "$topology" --topology "$topology" --drive "$drive" --bar-size 8G -- beyond4g
done
tap_end
