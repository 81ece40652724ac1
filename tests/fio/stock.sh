#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs in the guest, in /add, on a kernel that is not ours: what the engine says there.
# shellcheck disable=SC2034 # on_stock uses them
# shellcheck source=SCRIPTDIR/points.sh
. ./points.sh

bar="--bdf=$BARIO_BDF --bar=$BARIO_BAR"
threads="--name=job --direct=1 --size=2m --bs=4k --iodepth=8 --filename=$BARIO_NVME --ioengine=external:./bario.so --thread"
on_stock
plan
