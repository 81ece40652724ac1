#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of revocation for five seconds of load on the kernel that checks itself, those
# of the plain device for two seconds more; a kind that a device turns out not to have is a
# failure. This kernel has probes, so what resets do in one call is looked into.
#
# timeout: 1800
# needs: debug user guest image
set -euo pipefail

here=$(dirname -- "$(readlink -f -- "$0")")
# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$here/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$here/../guest/exporter.sh"
# shellcheck source=SCRIPTDIR/../guest/window.sh
. "$here/../guest/window.sh"

exporter_kernel debug
window_tap 'debug' ports-iommu --timeout 600 --seconds 300 -- 'revocations 2 gap reset bus hot decode close'
window_tap 'debug, PCIe device' ports-iommu --timeout 600 --seconds 300 --bar pmr -- \
	'revocations 5 gap reset bus flr hot decode d3 power close'
window_tap 'debug, two functions' ports-iommu "${exporter_sibling[@]}" --timeout 300 --seconds 200 -- \
	vfio_export_sibling 'revocations 5 gap sibling'
tap_end
