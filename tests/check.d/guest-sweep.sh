#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every length and alignment, both ways, on a BAR and on host memory: with bus
# addresses, through the host bridge and through the IOMMU; and with commands of
# 4 MiB, whose lists of pages fill a page.
#
# timeout: 900
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"

# QEMU takes no more than 1024 pages in a command, the first of them not whole.
vm_tap 'ports-iommu' --topology ports-iommu -- 'sweep bar' 'sweep udmabuf' 'sweep heap' \
	'sweep hugetlb --every 16'
vm_tap 'switch, large commands' --topology switch --qemu -global --qemu nvme.mdts=10 -- \
	'sweep bar --ceiling 4092' 'sweep udmabuf --ceiling 4092' 'sweep heap --ceiling 4092'
# A controller without descriptors has lists that are built once, and one without memory
# for these has them built for each command.
vm_tap 'switch-pt, no SGLs' --topology switch-pt --append nvme.sgl_threshold=0 -- 'sweep bar --every 4'
vm_tap 'ports, no SGLs, no lists' --topology ports --append nvme.sgl_threshold=0 \
	--append nvme.dma_token_lists_mb=0 -- 'sweep bar --every 4' 'sweep udmabuf --every 4'
vm_tap 'ports' --topology ports -- 'sweep udmabuf --every 4'
tap_end
