#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs in the guest: every program of /add/liburing/programs, first with the raw
# drive as its argument, then in a folder of ext4 on the drive and without argument,
# so that it makes its own files. (In this order nothing has to be unmounted: a ring
# lets go of its files some time after its program.) Prints all output as comments,
# and after that of each program
#   result PROGRAM PLACE STATUS FIRST-LINE-OF-OUTPUT
set -eu

here=/add/liburing
limit=120
generic=/dev/ng${BARIO_NVME#/dev/nvme}

# run PLACE PROGRAM [ARGUMENT]: in an empty folder of its own.
run()
{
	place=$1 program=$2
	shift 2
	mkdir -p "$folder/$place-$program"
	cd "$folder/$place-$program"
	if [ -x "$here/$program" ]; then
		status=0
		timeout "$limit" "$here/$program" "$@" >/tmp/out 2>&1 </dev/null || status=$?
	else
		status=absent
		: >/tmp/out
	fi
	cd /
	sed "s/^/# $program $place: /" /tmp/out
	echo "result $program $place $status $(sed -n 1p /tmp/out)"
}

each()
{
	grep -v '^#' "$here/programs" | while read -r program device; do
		case $1-$device in
		ext4-*) run ext4 "$program" ;;
		raw-block) run raw "$program" "$BARIO_NVME" ;;
		raw-generic) run raw "$program" "$generic" ;;
		esac
	done
}

folder=/tmp
each raw
mkfs.ext4 -q -F "$BARIO_NVME"
mount -t ext4 "$BARIO_NVME" /mnt
folder=/mnt
each ext4
echo "polling $(cat "/sys/block/${BARIO_NVME#/dev/}/queue/io_poll")"
echo 'the end'
