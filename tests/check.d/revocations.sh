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
for topology in ports-iommu switch; do
	window_tap "$topology" "$topology" -- 'revocations 2 reset hot decode close'
	# A PCIe device with power management.
	window_tap "$topology, PCIe device" "$topology" --bar pmr -- \
		'revocations 2 reset flr hot decode d3 power close'
done
tap_end
