#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Each step fails once: every allocation of export, registration, mapping, issue and
# teardown, in the calling thread and in workers; the calls that fail for other reasons;
# the memory of PRP lists; bios, and commands in the drive. Nothing is lost, a slot is as
# it was, the next try works.
#
# timeout: 1000
# needs: debug user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel debug
# A thread without the memory for its stack says so, with a trace.
exporter_tap 'debug' ports-iommu --timeout 600 --seconds 300 --allow-log 'vmalloc error' \
	--add "$guest_tmp/modules/faultpoint.ko" -- \
	'failnth steps' 'failnth calls' 'failnth workers' 'failnth drive'
# Commands that have two lists; and a close without an IOMMU, which the kernel
# otherwise warns about when it cannot have its default domain back.
vm_tap 'switch, large commands' --kernel debug --timeout 300 --seconds 200 \
	--topology switch --qemu -global --qemu nvme.mdts=10 -- 'failnth lists' 'failnth closes'
tap_end
