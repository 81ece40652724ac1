#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What io_uring refuses, at registration and for single requests, and how requests
# wait for an exporter that is busy and come back when they find no mapping.
#
# timeout: 600
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel release
exporter_tap 'ports-iommu' ports-iommu --full -- uring_register uring_request uring_wait uring_stale
exporter_tap 'switch' switch -- uring_wait uring_stale
vm_tap 'no-path' --topology no-path -- uring_register
tap_end
