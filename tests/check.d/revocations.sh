#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of revocation in a loop under random, verified I/O, and no DMA while
# access is off.
#
# timeout: 900
# needs: release user guest image
set -euo pipefail

here=$(dirname -- "$(readlink -f -- "$0")")
# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$here/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$here/../guest/exporter.sh"
# shellcheck source=SCRIPTDIR/../guest/window.sh
. "$here/../guest/window.sh"

exporter_kernel release
window_tap ports-iommu ports-iommu -- 'revocations 2 reset bus hot decode close'
# A PCIe device with power management.
window_tap 'ports-iommu, PCIe device' ports-iommu --bar pmr -- \
	'revocations 2 reset bus flr hot decode d3 power close'
# A hot reset wants the cdev, which wants an IOMMU.
window_tap switch switch -- 'revocations 2 reset bus decode close'
window_tap 'switch, PCIe device' switch --bar pmr -- \
	'revocations 2 reset bus flr decode d3 power close'
tap_end
