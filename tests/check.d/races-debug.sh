#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The gaps that races need, each made wide in turn, on the kernel that checks itself.
#
# timeout: 1200
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel debug
exporter_tap 'debug' ports-iommu --timeout 900 --seconds 800 \
	--add "$guest_tmp/modules/faultpoint.ko" -- 'races 0.6'
tap_end
