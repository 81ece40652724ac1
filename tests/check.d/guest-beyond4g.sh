#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Offsets around 2 and 4 GiB: on the drive, in the BAR, and in both; and the tables of a
# BAR as large, on the kernel that checks itself.
#
# timeout: 900
# needs: release debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

# KASAN has a byte of shadow for each eight of the BAR, which vfio maps as a whole.
exporter_kernel debug
vm_drive 9G
exporter_tap 'debug, ports-iommu' ports-iommu --drive "$drive" --bar-size 8G --memory 3072 --timeout 500 --seconds 300 -- \
	vfio_export vfio_export_map beyond4g
vm_drive 9G
vm_tap 'switch' --topology switch --drive "$drive" --bar-size 8G -- beyond4g
tap_end
