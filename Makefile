# SPDX-License-Identifier: GPL-2.0-or-later
# Every target is a call of a script that can be called alone; they share build/.

TOPOLOGY ?= ports-iommu
BUILD := $(or $(BARIO_BUILD),build)

SOAK_MINUTES ?= 30
BENCH_MINUTES ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo check bench bench-ordinary bench-profile bench-quick soak kcsan fresh kernel kernel-debug user fio perf perf-report guest vm-image shell \
	graft-check refresh series-check stock-baseline clean distclean

help:	## show the targets
	@echo 'bario: NVMe storage to PCI BAR memory and back, peer to peer, through io_uring'
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  make \1@\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS=@ read -r target what; do printf '%-22s %s\n' "$$target" "$$what"; done
	@echo
	@echo 'TOPOLOGY=NAME (or all) chooses where the demo puts the devices:'
	@tests/vm/run --list | sed 's/^/  /'

demo:	## build everything, move data between drive and BAR, say how it went
	@user/demo/run "$(TOPOLOGY)"

check:	## build everything, run every test
	@tests/run

bench-quick:	## what an I/O costs, counted, in the cases that have a bar; a page to read
	@bench/run quick

bench-ordinary:	## what I/O that is not ours costs, on our kernel and on the stock one
	@bench/run ordinary

bench-profile:	## where the instructions of two cases go, by function (PROFILE="CASE CASE")
	@bench/run profile $(PROFILE)

bench:	## the same for every way to move data, for BENCH_MINUTES=60
	@BENCH_MINUTES="$(BENCH_MINUTES)" bench/run full

soak:	guest ## the long tests, for SOAK_MINUTES=30, on both kernels, in every topology
	@SOAK_MINUTES="$(SOAK_MINUTES)" tests/soak

kcsan:	guest ## the same for a round on the kernel that looks for data races
	@SOAK_MINUTES="$(SOAK_MINUTES)" SOAK_KERNELS=kcsan tests/soak

fresh:	## the demo in a new root of Debian (SUITE=bookworm or trixie), as a new user
	@tests/fresh $(SUITE)

kernel:	## build the release kernel of the guest
	@kernel/build release

kernel-debug:	## build the debug kernel of the guest
	@kernel/build debug

user:	## build the library and the programs
	@user/packages
	@$(MAKE) --no-print-directory -C user

fio:	## build the fio engine, build/fio/bario.so, for this machine's fio or FIO_SRC=
	@FIO_SRC="$(FIO_SRC)" fio-engines/build

perf:	fio ## fio's loads to host memory, into the BAR, and bounced; a page to read
	@FIO_SRC="$(FIO_SRC)" TOPOLOGY="$(TOPOLOGY)" fio-engines/perf

perf-report:	## that page from fio's JSON=FILE, such as a real machine's
	@page="$(basename $(JSON)).html" && mkdir -p -- "$(BUILD)" && fio-engines/report "$(JSON)" >"$(BUILD)/report.html" && \
		mv -- "$(BUILD)/report.html" "$$page" && echo "The report: $$page"

guest:	user	## build the programs that are tests in the guest
	@$(MAKE) --no-print-directory -C tests/guest

vm-image:	## make the guest's file system
	@tests/vm/image

shell:	## a shell in the guest
	@tests/vm/run --topology "$(TOPOLOGY)"

graft-check:	## graft every 6.12 kernel source that apt offers
	@kernel/graft-check

series-check:	## build every commit of the series
	@kernel/series-check

refresh:	## carry work done in build/linux back into our files and hooks
	@kernel/refresh

stock-baseline:	## take the stock kernel's test results again, and ask the fio engine about it
	@tests/liburing/stock-baseline
	@tests/fio/on-stock

clean:	## remove what was built, but not the kernel tree and the packages
	@for dir in user tests/guest; do \
		[ ! -e $$dir/Makefile ] || $(MAKE) --no-print-directory -C $$dir clean; done
	rm -rf $(BUILD)/user $(BUILD)/user-* $(BUILD)/modules $(BUILD)/fio $(BUILD)/fio-asan $(BUILD)/vm $(BUILD)/log
	rm -f $(BUILD)/image/*.cpio $(BUILD)/image/*.sources $(BUILD)/image/*.state

distclean:	## remove everything that was made
	rm -rf $(BUILD)
