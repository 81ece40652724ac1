#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# In the guest: guest.sh CASE...
#
# No scheduler, as drives with many queues have it, and no merging; 2 MiB pages for a
# buffer of the CPU's and one for udmabuf.
echo 280 >/proc/sys/vm/nr_hugepages
echo 2 >/sys/block/nvme0n1/queue/nomerges
echo none >/sys/block/nvme0n1/queue/scheduler
exec ./bench --events "$@"
