#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What io_uring must refuse, wait for and issue again, on the kernel that checks itself.
#
# timeout: 1800
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel debug
exporter_tap 'debug' ports-iommu --full --timeout 900 --seconds 400 \
	--add "$guest_tmp/modules/faultpoint.ko" --add "$guest_tmp/modules/forger.ko" -- \
	uring_register uring_request uring_wait uring_stale direct forged
exporter_tap 'debug, no poll queues' ports --append nvme.poll_queues=0 --timeout 300 --seconds 200 -- direct
tap_end
