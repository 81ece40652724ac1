#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The vfio exporter alone, with an importer that does what it is told
# (tests/modules): every refusal, every kind of address, every revocation.
#
# timeout: 1200
# needs: release user guest image
set -euo pipefail

# shellcheck source=SCRIPTDIR/../guest/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/lib.sh"
# shellcheck source=SCRIPTDIR/../guest/exporter.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../guest/exporter.sh"

exporter_kernel release
# By cdev; the only way here to a hot reset.
exporter_tap 'ports-iommu' ports-iommu -- vfio_export vfio_export_map vfio_export_mmap vfio_export_revoke
# FLR and D3 want a PCIe device with power management.
exporter_tap 'ports-iommu, PCIe device' ports-iommu --bar pmr -- vfio_export_map vfio_export_mmap vfio_export_revoke
exporter_tap 'ports-iommu, two functions' ports-iommu "${exporter_sibling[@]}" -- vfio_export_sibling
# By no-iommu group.
exporter_tap 'switch' switch -- vfio_export_map vfio_export_mmap vfio_export_revoke
for topology in switch-pt ports ports-pt; do
	exporter_tap "$topology" "$topology" -- vfio_export_map
done
# Two functions of one slot, whose port redirects what they write to each other, or not.
exporter_tap 'ports, two functions' ports "${exporter_sibling[@]}" -- 'vfio_export_map direct'
exporter_tap 'ports, two functions, ACS' ports "${exporter_sibling[@]}" \
	--append 'pci=config_acs=xxx11xx@pci:1b36:000c' -- 'vfio_export_map redirected'
# The CPU needs no path between the devices.
exporter_tap 'no-path' no-path -- vfio_export_map vfio_export_mmap
exporter_tap 'switch, 8 GiB' switch --bar-size 8G -- vfio_export_map
tap_end
