#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The exporter's tests on the kernel that checks itself.
#
# timeout: 1800
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel debug
# The checker of DMA mappings gives up when an allocation of its own fails.
exporter_tap 'debug' ports-iommu --timeout 900 --seconds 300 --allow-log 'cacheline tracking ENOMEM' -- \
	vfio_export vfio_export_map vfio_export_mmap vfio_export_revoke vfio_export_nomem
exporter_tap 'debug, PCIe device' ports-iommu --bar pmr --timeout 600 --seconds 300 -- \
	vfio_export_revoke
exporter_tap 'debug, switch' switch --timeout 600 --seconds 300 -- vfio_export_map vfio_export_revoke
tap_end
