# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The machine of tests/vm/run: QEMU's arguments, its start, its end, and what to
# make of it. Uses run's variables.
#
# QEMU dies with its parent, by the kernel's parent-death signal, whatever ends
# the parent. The guest's verdict comes in by a pipe that nothing but QEMU holds,
# so its end is QEMU's end: one read with a limit waits for both and for timeout.

# QEMU's arguments have commas, and run reads what is only set here.
# shellcheck disable=SC2034,SC2054,SC2154

# Does KVM run a processor here? A device node says little: in many containers
# and nested machines it is there and useless. So one is made to run, from its
# first instruction: mov $0x10,%al; out %al,$0xf4; hlt. The exit device turns
# that into the status 0x21. And KVM for a processor without virtualization, seen in
# nested machines, runs that and never gets a kernel to its first message.
kvm_works() {
	local rom=$dir/probe.rom status=0

	[[ -r /dev/kvm && -w /dev/kvm && $icount == false ]] || return 1
	grep -qE '^flags[[:space:]]*:.* (vmx|svm)( |$)' /proc/cpuinfo || return 1
	head -c 65520 /dev/zero >"$rom"
	printf '\xb0\x10\xe6\xf4\xf4\0\0\0\0\0\0\0\0\0\0\0' >>"$rom"
	# KVM that fails may abort QEMU, and bash would say so.
	{ (ulimit -c 0; exec timeout -s KILL 5 qemu-system-x86_64 -accel kvm -cpu host -machine q35 -nodefaults \
		-no-user-config -display none -no-reboot -bios "$rom" \
		-device isa-debug-exit,iobase=0xf4,iosize=1 </dev/null >/dev/null) || status=$?; } 2>/dev/null
	rm -f -- "$rom"
	((status == 0x21))
}

# Paths in QEMU's option lists have their commas doubled.
quoted() {
	printf '%s' "${1//,/,,}"
}

# Fill qemu[] and kernel_words[] for the chosen topology.
add_topology() {
	local layout='' cpu='' iommu='' about='' drive_bus bar_bus

	# shellcheck source=/dev/null
	. "$here/topologies/$topology"
	# identify_cpu() forgets the processor's features for a moment; an interrupt just
	# then, on a kernel with five levels of page tables, has KASAN call a good address
	# wild. With four levels there is nothing to forget.
	qemu+=(-cpu "$cpu,la57=off")
	case $iommu in
	none)
		kernel_words+=(vfio.enable_unsafe_noiommu_mode=1)
		;;
	*)
		# Before every device that it is to stand in front of.
		qemu+=(-device intel-iommu)
		kernel_words+=(intel_iommu=on)
		;;
	esac
	case $iommu in
	identity) kernel_words+=(iommu=pt) ;;
	strict) kernel_words+=(iommu.strict=1) ;;
	lazy) kernel_words+=(iommu.strict=0) ;;
	esac
	# At 16 GT/s the emulated link is not up again in time after a hot reset.
	case $layout in
	switch)
		qemu+=(-device pcie-root-port,id=rp0,chassis=1,slot=1,x-speed=5
			-device x3130-upstream,id=up0,bus=rp0
			-device xio3130-downstream,id=dn0,bus=up0,chassis=2,slot=2
			-device xio3130-downstream,id=dn1,bus=up0,chassis=3,slot=3)
		drive_bus=dn0 bar_bus=dn1
		;;
	ports)
		qemu+=(-device pcie-root-port,id=rp0,chassis=1,slot=1,x-speed=5
			-device pcie-root-port,id=rp1,chassis=2,slot=2,x-speed=5)
		drive_bus=rp0 bar_bus=rp1
		;;
	esac
	# QEMU's own defaults give SGLs, 64 queue pairs and MDTS 7: -global can change them.
	qemu+=(-device "nvme,id=nv0,drive=drive0,serial=bario-drive,bus=$drive_bus")
	case $bar in
	ivshmem) qemu+=(-device "ivshmem-plain,id=bardev,memdev=bar,bus=$bar_bus") ;;
	pmr) qemu+=(-device "nvme,id=bardev,serial=bario-pmr,pmrdev=bar,bus=$bar_bus") ;;
	esac
}

# The drive: a new sparse image unless one is given. Its flushes need not reach
# the host's disk: the image outlives the guest, and the host's fall is no case.
add_drive() {
	local file=$drive size=${drive#null:}

	if [[ -z $file ]]; then
		file=$dir/drive.raw
		truncate -s 1G -- "$file"
	fi
	if [[ $file == null:* ]]; then
		size=$((${size%?} * (1 << 20)))
		[[ $file != *G ]] || size=$((size * 1024))
		qemu+=(-blockdev "driver=null-co,node-name=drive0,read-zeroes=off,size=$size")
	else
		qemu+=(-drive "if=none,id=drive0,format=raw,cache=unsafe,aio=threads,discard=unmap,file=$(quoted "$file")")
	fi
	if [[ -n $bar_file ]]; then
		qemu+=(-object "memory-backend-file,id=bar,size=${bar_mib}M,share=on,mem-path=$(quoted "$bar_file")")
	else
		qemu+=(-object "memory-backend-memfd,id=bar,size=${bar_mib}M,share=on,reserve=off")
	fi
}

add_accelerator() {
	# On a busy host the kernel's measurement of an emulated TSC by an emulated PIT
	# is off by a factor of up to twenty; without a PIT it takes the HPET.
	local chip=,pit=off

	if kvm_works; then
		# Interrupt remapping, which vfio asks for, is not in KVM's own chip.
		chip=,kernel-irqchip=split
		qemu+=(-accel kvm)
	elif $icount; then
		qemu+=(-accel 'tcg,thread=single' -icount 'shift=0,sleep=off')
	else
		qemu+=(-accel 'tcg,thread=multi')
	fi
	qemu+=(-machine "q35$chip")
}

# Start QEMU; descriptor 3 of it is the verdict, 4 and 5 the command's output.
machine_start() {
	local input=/dev/null feeder=''

	qemu=(-nodefaults -no-user-config -display none -no-reboot -name bario
		-smp "$cpus" -m "$memory"
		# Native hotplug: with the firmware's, slots cannot be switched off.
		-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off)
	# The two about timers: on a busy host the emulated timer and the processor do
	# not keep step, and the kernel's checks of the one by the other would panic.
	kernel_words=(console=ttyS0 panic=-1 oops=panic rootfstype=ramfs printk.time=1 mitigations=off
		no_timer_check tsc=reliable nvme.poll_queues=2 udmabuf.size_limit_mb=4096)
	add_accelerator
	add_drive
	add_topology
	qemu+=(-kernel "$bzimage" -initrd "$dir/initrd"
		-append "${kernel_words[*]} ${append_words[*]}"
		-chardev "file,id=console,path=$(quoted "$dir/console.log")"
		-add-fd fd=3,set=1 -chardev file,id=verdict,path=/dev/fdset/1,append=on
		-add-fd fd=5,set=2 -chardev file,id=err,path=/dev/fdset/2,append=on)
	if $interactive; then
		qemu+=(-chardev stdio,id=out,signal=off)
		input=/dev/stdin
		[[ -t 0 ]] && terminal=$(stty -g)
		[[ -t 0 ]] || feed_shell
	else
		qemu+=(-add-fd fd=4,set=3 -chardev file,id=out,path=/dev/fdset/3,append=on)
	fi
	qemu+=(-serial chardev:console -serial chardev:out -serial chardev:err -serial chardev:verdict)
	qemu+=("${qemu_args[@]}")

	: >"$dir/console.log"
	exec {out}> >(exec cat)
	out_pid=$!
	exec {err}> >(exec cat >&2)
	err_pid=$!
	if $interactive; then
		exec {machine_out}>&1
	else
		exec {machine_out}>"$dir/qemu.log"
	fi
	[[ -z $feeder ]] || input=$feeder
	exec {verdict}< <(exec setpriv --pdeathsig KILL qemu-system-x86_64 "${qemu[@]}" \
		<"$input" 3>&1 1>&"$machine_out" 2>"$dir/qemu.err" 4>&"$out" 5>&"$err")
	machine_pid=$!
	exec {out}>&- {err}>&- {machine_out}>&-
}

# A shell whose standard input is no terminal: its text goes in when the guest is
# ready, and an end of file, as a terminal has it, after it.
feed_shell() {
	mkfifo -- "$dir/in" "$dir/ready"
	exec {shell_input}<&0
	(
		exec >"$dir/in"
		read -r _ <"$dir/ready" || exit 0
		cat <&"$shell_input"
		printf '\004'
	) &
	exec {shell_input}<&-
	feeder=$dir/in
}

machine_stop() {
	if [[ -n $machine_pid ]]; then
		kill -KILL "$machine_pid" 2>/dev/null || true
		machine_status=0
		wait "$machine_pid" 2>/dev/null || machine_status=$?
		machine_pid=''
	fi
	[[ -z ${terminal:-} ]] || stty "$terminal" 2>/dev/null || true
	terminal=''
}

# A lost timer (see below) that the kernel has complained about: waiting on, often for
# many minutes, would change nothing about the verdict.
stalled() {
	grep -q 'Possible timer handling issue' "$dir/console.log" && lost_timer
}

# Read the verdict until QEMU has ended or time is out.
machine_follow() {
	local line='' part='' status left end=$((SECONDS + ${timeout:-0}))
	local -a limit=()

	came_up=false timed_out=false leaks=false hang='' why='' guest_status=''
	while :; do
		if [[ -n $timeout ]]; then
			left=$((end - SECONDS))
			((left > 0)) || { timed_out=true; break; }
			limit=(-t "$((left < 10 ? left : 10))")
		fi
		status=0
		read -r "${limit[@]}" -u "$verdict" line || status=$?
		# what came of a line before the limit did is in it, and not read again
		part+=$line
		if ((status > 128)); then
			if stalled; then break; fi
			continue
		fi
		((status == 0)) || break
		line=$part part=''
		case $line in
		up)
			came_up=true
			[[ ! -p $dir/ready ]] || echo >"$dir/ready"
			;;
		'status '*) guest_status=${line#status } ;;
		'hang '*) hang=${line#hang } ;;
		'broken '*) why=${line#broken } ;;
		leaks) leaks=true ;;
		esac
	done
	machine_stop
	exec {verdict}<&-
	wait "$out_pid" "$err_pid" || true
}

# Where the console's log stays when somebody will want to read it.
keep_log() {
	local logs=$build/log/vm

	kept=$log
	if [[ -z $kept ]]; then
		mkdir -p -- "$logs"
		kept=$logs/${dir##*/run.}.log
		# The last fifty are enough for anybody.
		find "$logs" -name '*.log' -printf '%T@ %p\n' | sort -rn | tail -n +50 | cut -d ' ' -f 2- |
			while read -r old; do rm -f -- "$old"; done
	fi
	cp -- "$dir/console.log" "$kept"
	# Not what the emulated processor lacks of the real one's features.
	sed -n "/TCG doesn't support/!s/^/qemu: /p" "$dir/qemu.err" >>"$kept"
}

# Who waits for what, and what the processors do, in a log that the guest ended because
# time was up: without the timers between the two, which are many lines.
blocked_tasks() {
	tr -d '\r' <"$1" | awk '/sysrq: Show Blocked State/ { show = 1 }
		/sysrq: Show clockevent devices/ { show = 0 }
		/sysrq: Show backtrace of all/ { show = 1 }
		show' | head -n 100
}

# The end of it: a message, the part of the log that tells why, the status.
fail_with() {
	local status=$1 message=$2 shown=''

	keep_log
	decided=true
	printf 'tests/vm/run: %s\n' "$message" >&2
	case $status in
	92) shown=$("$here/klog" "$kept" "${allowed[@]}" | head -n 40) ;;
	93) shown=$(tr -d '\r' <"$kept" | grep -m 1 -A 60 -E 'BUG: |Oops|general protection|Kernel panic') ;;
	91) shown=$(blocked_tasks "$kept") ;;
	esac || true
	[[ -n $shown ]] || shown=$(tail -n 40 -- "$kept" | tr -d '\r')
	printf '%s\n' "$shown" | sed 's/^/    /' >&2
	printf 'tests/vm/run: the whole log is in %s\n' "$kept" >&2
	exit "$status"
}

# Did a processor sleep through its timer? The kernel says that nothing handles timers
# there, and finds it halted, with interrupts on, in the idle loop: the emulated timer has
# not gone off. Or, where no grace period was waiting, what the guest says of a program
# that does not end: a timer that was due a second ago, of a processor that idles. That is
# QEMU's doing, on a busy host, and nothing in the guest can cause it.
lost_timer() {
	tr -d '\r' <"$dir/console.log" | awk '
		/rcu: .*Possible timer handling issue on cpu=/ { silent = 1 }
		/ now at [0-9]+ nsecs/ { now = $(NF - 1) }
		/Per CPU device: / { timer = $NF }
		/Broadcast device/ { timer = "" }
		/ next_event: / && timer != "" {
			overdue[timer] = $(NF - 1) + 1e9 < now
			timer = ""
		}
		match($0, /NMI backtrace for cpu [0-9]+/) {
			cpu = substr($0, RSTART + 22, RLENGTH - 22)
			looked = 1
		}
		looked && (/ skipped: idling/ || /RIP: .*safe_halt/) {
			halted = 1
			missed += overdue[cpu]
		}
		/ skipped: idling|RIP: / { looked = 0 }
		END { exit !(silent && halted || missed) }'
}

machine_verdict() {
	if grep -q 'Kernel panic - not syncing' "$dir/console.log"; then
		fail_with 93 'the kernel panicked'
	fi
	lost_timer && fail_with 90 'QEMU lost a timer interrupt: a processor of the guest sleeps on'
	$timed_out && fail_with 91 "not finished after $timeout seconds"
	[[ -z $hang ]] || fail_with 91 "hang: $hang"
	[[ -z $why ]] || fail_with 90 "the machine could not be prepared: $why"
	# By a signal of its own: ours is KILL, and the end it chooses itself is none.
	case $machine_status in
	132 | 134 | 135 | 136 | 139)
		# whoever runs a machine again because of QEMU is not to miss this
		"$here/klog" "$dir/console.log" "${allowed[@]}" >/dev/null ||
			fail_with 92 "the kernel complained; then QEMU crashed (signal $((machine_status - 128)))"
		fail_with 90 "QEMU crashed (signal $((machine_status - 128)))"
		;;
	esac
	$came_up || fail_with 90 'the machine did not come up'
	[[ -n $guest_status ]] || fail_with 90 'the machine ended before the command did'
	$leaks && fail_with 92 'kmemleak found memory that nothing points to'
	"$here/klog" "$dir/console.log" "${allowed[@]}" >/dev/null ||
		fail_with 92 'the kernel complained'
	[[ -z $log ]] || cp -- "$dir/console.log" "$log"
	decided=true
	exit "$guest_status"
}
