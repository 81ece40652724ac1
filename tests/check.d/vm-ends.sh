#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
# needs: release image
#
# However a machine ends, the status says how, the log is shown, and no process is
# left.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../vm/tap.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../vm/tap.sh"

# Every machine of this test carries a name that no other process has.
mark=bario-ends-$$
machine() {
	"$vm" --qemu -name --qemu "$mark" "$@"
}

nothing_left() {
	! pgrep -f -- "-name $mark" >"$scratch/left"
}

log_shown() {
	grep -q 'the whole log is in ' "$scratch/err" && grep -qE -- "$1" "$scratch/err"
}

ends 'a command that does not end is 91' 91 machine --timeout 15 -- sleep 1000
point '... and shows the log' log_shown '\[ +[0-9]+\.[0-9]+\]'
point '... and who is blocked' log_shown 'sysrq: Show Blocked State'
point '... and leaves no process' nothing_left
ends 'a machine that does not come up is 91' 91 machine --timeout 6 --append init=/dev/null --append rdinit=/usr/bin/yes -- true
point '... and leaves no process' nothing_left
ends 'a panic is 93' 93 machine -- sh -c 'echo c >/proc/sysrq-trigger'
point '... and shows the log' log_shown 'sysrq triggered crash|Kernel panic'
ends 'a kernel warning is 92, whatever the status' 92 \
	machine -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at nowhere.c:1 test" >/dev/kmsg; exit 0'
point '... and shows it' log_shown 'WARNING: .* at nowhere.c:1 test'
ends 'an allowed message is no warning' 5 \
	machine --allow-log 'at nowhere' -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at nowhere.c:1 test" >/dev/kmsg; exit 5'
ends 'a machine that ends itself is 90' 90 machine -- reboot -f
ends 'arguments that QEMU refuses are 90' 90 "$vm" --qemu -frobnicate -- true
point '... and QEMU says why' grep -q frobnicate "$scratch/err"
ends 'a BAR device that is not there is 90' 90 machine --append pci=nobar --append nvme.nothing=1 \
	--qemu -global --qemu ivshmem-plain.master=maybe -- true
point '... and the guest or QEMU says why' grep -qE 'prepared|ivshmem' "$scratch/err"

# QEMU has bugs of its own; whoever runs tests wants to tell them from the guest's.
machine -- sleep 1000 >"$scratch/out" 2>"$scratch/err" &
tool=$!
until pkill -SEGV -f -- "-name $mark"; do sleep 0.2; done
status=0
wait "$tool" || status=$?
same 'a QEMU that crashes is 90' 90 "$status"
point '... and said to have' grep -q '^tests/vm/run: QEMU crashed (signal 11)' "$scratch/err"
machine -- sh -c 'echo "BUG: made up" >/dev/kmsg; sleep 1; echo told; sleep 1000' >"$scratch/out" 2>"$scratch/err" &
tool=$!
until grep -q told "$scratch/out" || ! kill -0 "$tool" 2>/dev/null; do sleep 0.2; done
pkill -SEGV -f -- "-name $mark"
status=0
wait "$tool" || status=$?
same 'what the kernel said before counts more' 92 "$status"

# What the kernel says of a processor that sleeps through its timer; and of one that does
# not get to it, which is the kernel's own fault.
says() {
	local line

	for line; do
		printf 'echo "<4>%s" >/dev/kmsg; ' "$line"
	done
}
stall='rcu: INFO: rcu_sched detected stalls on CPUs/tasks:'
silent='rcu: Possible timer handling issue on cpu=1 timer-softirq=1'
ends 'a timer that QEMU lost is 90' 90 machine -- sh -c "$(says "$stall" 'NMI backtrace for cpu 1' \
	'RIP: 0010:pv_native_safe_halt+0x17/0x20' "$silent")"
point '... and said to be' grep -q '^tests/vm/run: QEMU lost a timer interrupt' "$scratch/err"
ends '... which is not waited for' 90 machine -- sh -c "$(says "$stall" 'NMI backtrace for cpu 1' \
	'RIP: 0010:pv_native_safe_halt+0x17/0x20' "$silent") sleep 100; echo waited"
same '... to the end' '' "$(cat -- "$scratch/out")"
late=(' now at 9000000000 nsecs' 'Per CPU device: 0' ' next_event:     8999999999 nsecs' 'Per CPU device: 1'
	' next_event:     7000000000 nsecs')
ends 'one that is overdue on a processor that idles is 90' 90 machine -- sh -c "$(says "${late[@]}" \
	'NMI backtrace for cpu 1' 'RIP: 0010:pv_native_safe_halt+0x17/0x20')"
ends 'that the other processor idles is no reason' 0 machine -- sh -c "$(says "${late[@]}" \
	'NMI backtrace for cpu 0 skipped: idling at pv_native_safe_halt+0x17/0x20')"
ends 'a processor that does not get to its timer is 92' 92 machine -- sh -c "$(says "$stall" \
	'NMI backtrace for cpu 1' 'RIP: 0010:somewhere+0x17/0x20' "$silent")"

# The tool itself is ended: by the terminal, by a supervisor, and for good. The
# guest tells by the host's drive image that it runs; no time is guessed.
for signal in INT TERM KILL; do
	truncate -s 512M "$scratch/drive"
	mkfifo "$scratch/said"
	# In a shell that has not been told to ignore the interrupt, as & does.
	env --default-signal=INT "$vm" --qemu -name --qemu "$mark" --drive "$scratch/drive" \
		-- sh -c 'echo here; sleep 1000' >"$scratch/said" 2>"$scratch/err" &
	tool=$!
	exec {said}<"$scratch/said"
	read -r -t 60 -u "$said" line || line=nothing
	same "a machine runs before SIG$signal" here "$line"
	kill -s "$signal" "$tool"
	status=0
	wait "$tool" 2>/dev/null || status=$?
	same "SIG$signal ends the tool" "$((128 + $(kill -l "$signal")))" "$status"
	# The machine holds the other end of this pipe by its output's copier.
	point '... and the machine' timeout 10 cat <&"$said"
	exec {said}<&-
	rm -f "$scratch/said"
	point '... and leaves no process' nothing_left
done
ends 'the next machine cleans up after a killed one' 0 machine -- true
folder=${BARIO_BUILD:-$(dirname -- "$vm")/../../build}/vm
left=0
for run in "$folder"/run.*; do
	[[ -d $run ]] && flock -n "$run" true && left=$((left + 1))
done
same 'no folder of an ended machine is left' 0 "$left"
tap_end
