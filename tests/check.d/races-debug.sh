#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The gaps that races need, each made wide in turn, on the kernel that checks itself; while
# a buffer moves, and while the drive or the BAR goes and comes back.
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
	--add "$guest_tmp/modules/faultpoint.ko" -- 'races 0.4'
# The checker of the DMA API counts to seven only, and the BAR is mapped once more while
# registrations of it that were left behind end in a worker.
exporter_tap 'debug, one side goes away' ports-iommu --timeout 400 --seconds 300 \
	--allow-log 'DMA-API: exceeded 7 overlapping mappings' \
	--allow-log 'WARNING: .* at kernel/dma/debug.c:[0-9]+ add_dma_entry' \
	--add "$guest_tmp/modules/faultpoint.ko" -- 'races 0.5 removal' 'races 0.5 bar'
tap_end
