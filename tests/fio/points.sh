# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Test points in the guest. Sourced by the scripts beside it:
#
#   passes NAME ARGUMENT...         fio ends well
#   refuses NAME SENTENCE ARGUMENT...   it fails, and its output has the text SENTENCE
#   holds NAME COMMAND...           a point that holds if COMMAND ends with 0
#   calls NAME REGEX                the last fio's use of io_uring, as the kernel traced
#                                   it, has a line like that; after watch_rings
#   never NAME REGEX                ... has none
#   counted OP...                   how many of each (read, write, trim, sync) the last fio
#                                   did, run with $json
#   latencies                       ... which read and wrote, has those of each request,
#                                   and submission and completion are the whole
#   on_stock                        what the engine says on a kernel that is not ours
#   plan                            the plan; its status is the script's
#
# fio's output is in /tmp/out. $preload is put into LD_PRELOAD for fio alone. With leaks=1
# the engine must not leak; for jobs that are threads, as one that is a process is left
# behind in the process that forks it, where fio calls no engine.

points=0 bad=0 leaks=0
preload=''

verdict() {
	points=$((points + 1))
	if [ "$1" = 0 ]; then
		echo "ok $points - $2"
	else
		bad=1
		echo "not ok $points - $2"
		sed 's/^/#   /' /tmp/out | cut -c 1-300 | tail -n 25
	fi
}

# A hang is a failure: nothing here takes longer.
run_fio() {
	echo >/sys/kernel/tracing/trace
	LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=$leaks LSAN_OPTIONS=exitcode=0 UBSAN_OPTIONS=print_stacktrace=1 \
		timeout -k 5 60 fio --output-format=terse --terse-version=3 "$@" >/tmp/out 2>&1
}

watch_rings() {
	for event in io_uring/io_uring_create io_uring/io_uring_register io_uring/io_uring_submit_req dma_token/dma_token_map; do
		echo 1 >"/sys/kernel/tracing/events/$event/enable"
	done
}

calls() {
	name=$1 status=0
	grep -qE "$2" /sys/kernel/tracing/trace || status=1
	# of many requests a few will do
	[ $status = 0 ] || grep -E 'io_uring|dma_token' /sys/kernel/tracing/trace | head -n 20 >/tmp/out
	verdict $status "$name"
}

never() {
	name=$1 status=0
	! grep -E "$2" /sys/kernel/tracing/trace >/tmp/called || status=1
	[ $status = 0 ] || head -n 20 /tmp/called >/tmp/out
	verdict $status "$name"
}

# shellcheck disable=SC2034 # for those that source this
json=--output-format=json
counted() {
	for op; do
		awk -v op="\"$op\"" '$3 == "{" { here = $1 == op } here && $1 == "\"total_ios\"" { print $3 + 0; exit }' /tmp/out
	done
}

latencies() {
	awk '
		$3 == "{" && $1 ~ /^"(read|write)"$/ { op = $1 }
		$1 == "\"total_ios\"" { total = $3 + 0 }
		$3 == "{" { kind = $1 }
		$1 == "\"mean\"" { mean[kind] = $3 + 0 }
		$1 == "\"N\"" { n[kind] = $3 + 0 }
		op && $1 == "\"N\"" && kind == "\"lat_ns\"" {
			rest = mean["\"lat_ns\""] - mean["\"slat_ns\""] - mean["\"clat_ns\""]
			good += total && n["\"slat_ns\""] == total && n["\"clat_ns\""] == total && n["\"lat_ns\""] == total &&
				mean["\"slat_ns\""] > 0 && mean["\"clat_ns\""] > 0 && rest * rest < 1
			op = ""
		}
		END { exit good != 2 }' /tmp/out
}

# fio leaks words of its own; what the engine is in the trace of is the engine's.
sane() {
	! grep -E 'AddressSanitizer|runtime error:' /tmp/out | grep -qvE "leaked in [0-9]+ allocation|ERROR: LeakSanitizer" &&
		! grep -qE '^ +#[0-9]+ .*(/fio-engines/|/user/lib/|bario[.]so)' /tmp/out
}

passes() {
	name=$1 status=0
	shift
	run_fio "$@" || status=$?
	sane || status=1
	verdict $status "$name"
}

refuses() {
	name=$1 sentence=$2 status=0
	shift 2
	run_fio "$@" || status=$?
	if [ $status = 1 ] && sane && grep -qF -- "$sentence" /tmp/out; then
		verdict 0 "$name"
	else
		verdict 1 "$name"
	fi
}

holds() {
	name=$1 status=0
	shift
	"$@" || status=$?
	verdict $status "$name"
}

# shellcheck disable=SC2086,SC2154 # several words in a variable; the script that sources this has them
on_stock() {
	refuses 'a stock kernel and a BAR' 'this kernel cannot export BARs: it wants CONFIG_VFIO_PCI_DMABUF' $threads $bar --rw=read
	refuses 'a stock kernel and a dma-buf' 'or the kernel lacks CONFIG_IO_URING_DMABUF' $threads --bar_source=udmabuf --rw=read
	passes 'a stock kernel and host memory' $threads --bar_source=host --rw=randread
}

plan() {
	echo "1..$points"
	return $bad
}
