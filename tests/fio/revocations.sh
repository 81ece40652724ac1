#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs in the guest, in /add: the job files that ship, and fio whose BAR is taken away
# and given back.
# shellcheck disable=SC2086 # several words in a variable are several arguments
# shellcheck source=SCRIPTDIR/points.sh
. ./points.sh

engine=--ioengine=external:./bario.so
job="--name=job --direct=1 --size=16m --bs=4k --iodepth=8 --filename=$BARIO_NVME $engine --bdf=$BARIO_BDF"

for file in jobs/*.fio; do
	sed -i 's/^runtime=.*/runtime=1/' jobs/*.inc "$file"
	passes "$file" "$file"
done

passes 'a BAR that comes and goes, verified' $job --rw=randrw --verify=crc32c --revoke=retry --revoke_every=40
passes '... by a polling kernel' $job --rw=randrw --verify=crc32c --revoke=retry --revoke_every=40 --sqthread_poll
passes '... for two processes' $job --rw=randrw --verify=crc32c --numjobs=2 --offset_increment=16m --revoke=retry --revoke_every=40
passes 'what is to be verified is written' $job --rw=write --bs=256k --verify=crc32c --do_verify=0
refuses 'without patience the job fails, most likely in the CPU that verifies' 'bario: ' \
	$job --rw=read --bs=256k --verify=crc32c --time_based --runtime=30 --revoke_every=50
holds '... with ENODEV, not for what it read instead' grep -q ';job;0;19;' /tmp/out
refuses 'without patience the job fails' "with $BARIO_NVME: the memory's owner took it away (reset, memory decode or power off): revoke=retry waits for it" \
	$job --rw=randread --time_based --runtime=30 --revoke_every=200
holds '... with ENODEV' grep -q ';job;0;19;' /tmp/out
passes 'a CPU that copies waits for the BAR' $job --bar_source=bounce --rw=randrw --verify=crc32c --revoke=retry --revoke_every=40
refuses '... or the job fails' 'bario: the CPU touched BAR' $job --bar_source=bounce --rw=randread --time_based --runtime=30 --revoke_every=50
holds '... with ENODEV' grep -q ';job;0;19;' /tmp/out
passes 'patience is for each time anew' $job --bar_source=bounce --rw=randwrite --time_based --runtime=6 \
	--revoke=retry --revoke_every=40 --revoke_timeout=2
for flags in --bar_source=bounce --verify=crc32c '--verify=crc32c --sqthread_poll'; do
	passes "the time is up while the BAR is away, $flags" $job --rw=randrw $flags --iodepth=32 --time_based --runtime=1 \
		--revoke=retry --revoke_every=5
done
pattern="--buffer_pattern=0xa5a5a5a5 --scramble_buffers=0"
passes 'a pattern is on the drive' --name=job --direct=1 --size=16m --bs=64k --ioengine=io_uring --rw=write $pattern \
	--filename="$BARIO_NVME"
refuses 'a CPU that finds no BAR to copy from' 'bario: the CPU touched BAR' \
	$job --bar_source=bounce --rw=randwrite --time_based --runtime=30 --revoke_every=50 $pattern
holds '... writes nothing else' test "$(head -c 16777216 "$BARIO_NVME" | tr -d '\245' | wc -c)" = 0
passes '... and the next one is fine' $job --rw=randread
plan
