#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of revocation for five seconds of load on the kernel that checks itself.
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
window_tap 'debug' ports-iommu --timeout 600 --seconds 300 -- 'revocations 5 reset hot decode close'
window_tap 'debug, PCIe device' ports-iommu --timeout 600 --seconds 300 --bar pmr -- \
	'revocations 5 reset flr hot decode d3 power close'
tap_end
