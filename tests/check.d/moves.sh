#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An exporter that moves its memory under random, verified I/O, forgets nobody's
# requests, and has bad days. Where there is no IOMMU the drive sees every extent.
#
# timeout: 1200
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel release
exporter_tap 'ports' ports -- 'moves 2' waits days
exporter_tap 'ports-iommu' ports-iommu -- 'moves 2 periods' waits days
exporter_tap 'ports-lazy' ports-lazy -- 'moves 1 depths'
# A command that gets no memory for its list of pages says so, and is tried again.
exporter_tap 'ports, little memory' ports --memory 512 --timeout 650 --seconds 300 \
	--allow-log 'page allocation failure: order:0, mode:0x820.GFP_ATOMIC.' -- 'reclaim 5' 'reclaim 5 cache resets'
exporter_tap 'ports, four processors' ports --cpus 4 -- 'moves 1 periods'
tap_end
