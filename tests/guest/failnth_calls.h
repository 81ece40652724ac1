/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FAILNTH_CALLS_H
#define BARIO_TESTS_FAILNTH_CALLS_H

/*
 * The part of failnth.c for calls that fail for other reasons than that there is no
 * memory, or in which an allocation cannot be made to fail: each call that export,
 * registration, mapping, issue and retry make of the kernel around them, and whose
 * result they look at, fails once.
 *
 * Not here: dma_buf_pin(), which a dynamic importer never calls; __io_account_mem(),
 * which is not called for root, whose memory is not counted; and what cannot fail but for memory,
 * which the other parts have.
 *
 * Included once, by failnth.c, for the sake of the callbacks of its sweeps.
 */

#include "failnth.h"

/* A function, what it is made to return, and what user space may be told then. */
struct call {
	const char *symbol;
	long value;
	int said;	/* 0: the call survives that */
};

/* A sweep of @like, whose name is that of what is done, for each of the functions. */
static void each_call(const struct sweep *like, const struct call *calls, size_t n)
{
	struct sweep s = *like;
	char what[128];
	size_t i;

	for (i = 0; i < n; i++) {
		snprintf(what, sizeof(what), "%s, %s says %ld", like->what, calls[i].symbol,
			 calls[i].value);
		s.what = what;
		s.symbol = calls[i].symbol;
		s.value = calls[i].value;
		memset(s.allowed, 0, sizeof(s.allowed));
		s.allowed[0] = calls[i].said;
		run_sweep(&s);
	}
}

#define EACH_CALL(like, calls) each_call(like, calls, sizeof(calls) / sizeof((calls)[0]))

static void calls_of_export(void)
{
	/* Busy, as while the first mmap() of a BAR claims it, is not for ever. */
	static const struct call claims[] = {
		{ "pci_request_selected_regions", -EBUSY, 0 },
		{ "pci_iomap", 0, ENOMEM },
	}, exports[] = {
		{ "get_unused_fd_flags", -EMFILE, EMFILE },
		{ "dma_buf_export", -ENOMEM, ENOMEM },
	};
	static const struct sweep claim = {
		.what = "first export", .before = before_claim, .call = call_export,
		.after = after_claim,
	}, export = {
		.what = "export", .call = call_export, .after = after_export,
	};

	bar.bar.index = atoi(getenv("BARIO_BAR"));
	exporter.bdf = getenv("BARIO_BDF");
	rig_ring(&ring, 8, 0);
	make_request(1);
	EACH_CALL(&claim, claims);
	rig_open_bar(&bar.bar);
	bar.cpu = bar.bar.cpu;
	make_request(1);
	EACH_CALL(&export, exports);
	io_uring_queue_exit(&ring);
	rig_close_bar(&bar.bar);
}

/* Below one switch the drive is given the address that a BAR has on the bus. */
static bool bus_addresses(void)
{
	const char *topology = getenv("BARIO_TOPOLOGY");

	return topology && (!strcmp(topology, "switch") || !strcmp(topology, "switch-pt"));
}

static void calls_of_register(struct rig_memory *many, uint64_t at)
{
	/* A wait for fences that takes too long leaves the map to the first request. */
	static const struct call calls[] = {
		{ "fget", 0, EBADF },
		{ "dma_buf_get", -EINVAL, EINVAL },
		{ "dma_buf_dynamic_attach", -ENOMEM, ENOMEM },
		{ "dma_buf_map_attachment", -ENOMEM, ENOMEM },
		{ "dma_buf_map_attachment", -EAGAIN, 0 },
		{ "dma_resv_wait_timeout", 0, 0 },
		{ "percpu_ref_init", -ENOMEM, ENOMEM },
	}, ranges[] = {
		{ "dma_map_resource", -1, ENOMEM },
	};
	struct sweep s = {
		.what = "registration in an occupied slot", .before = before_register,
		.call = call_register, .after = after_register,
	};

	occupied = true;
	fresh = &bar;
	fresh_at = 2 * MIB;
	EACH_CALL(&s, calls);
	if (bus_addresses())
		return;
	EACH_CALL(&s, ranges);
	s.what = "registration of many ranges";
	s.stride = MANY / 3;
	fresh = many;
	fresh_at = at;
	EACH_CALL(&s, ranges);
}

/* Exporters that never move their memory: it is mapped as soon as it is attached. */
static void calls_of_memory(void)
{
	static const struct call calls[] = {
		{ "dma_map_sgtable", -ENOMEM, ENOMEM },
		{ "dma_buf_map_attachment", -ENOMEM, ENOMEM },
	};
	static struct rig_memory memory;
	struct sweep s = {
		.before = before_register, .call = call_register, .after = after_register,
	};
	int i;

	occupied = false;
	fresh = &memory;
	for (i = 0; i < 2; i++) {
		rig_memory(&memory, i ? "heap" : "udmabuf", 512 * KIB);
		fresh_at = memory.size - PAGE;
		s.what = i ? "registration of a heap's buffer" : "registration of a udmabuf";
		EACH_CALL(&s, calls);
		rig_free_memory(&memory);
	}
}

static void calls_of_update(struct rig_memory *many, uint64_t at)
{
	static const struct call calls[] = {
		{ "dma_buf_dynamic_attach", -ENOMEM, ENOMEM },
		{ "percpu_ref_init", -ENOMEM, ENOMEM },
	};
	static const struct sweep s = {
		.what = "update of three slots", .before = before_three, .call = call_three,
		.after = after_three,
	};
	uint8_t *plain = rig_alloc(PAGE);

	describe_three(many, at, plain, &bar);
	EACH_CALL(&s, calls);
	free(plain);
}

/* The worker that takes a request of an unmapped buffer; none of this is told. */
static void calls_of_map(void)
{
	static const struct call calls[] = {
		{ "dma_buf_map_attachment", -ENOMEM, 0 },
		{ "dma_buf_map_attachment", -EAGAIN, 0 },
		{ "dma_resv_wait_timeout", 0, 0 },
		{ "percpu_ref_init", -ENOMEM, 0 },
	}, range[] = {
		{ "dma_map_resource", -1, 0 },
	};
	struct sweep s = {
		.before = before_map, .call = call_map, .after = after_map, .kept = 1,
	};
	int i;

	fresh = &bar;
	for (i = 0; i < 2; i++) {
		s.what = i ? "map by a worker, polled" : "map by a worker";
		ring_with_worker(&bar, 2 * MIB, i ? POLLED : 0);
		EACH_CALL(&s, calls);
		if (!bus_addresses())
			EACH_CALL(&s, range);
		io_uring_queue_exit(&ring);
		settle(0, true);
	}
}

/* A request without a mapping, in a thread that has no worker yet. */
static void before_stale(void)
{
	before_issue();
	must(call_decode_off(), "decode off");
	must(call_decode_on(), "decode on");
}

/*
 * 9 and 10 are BLK_STS_RESOURCE and BLK_STS_IOERR. What cannot be issued as one of a batch
 * is tried once more alone, so two calls have to fail.
 */
static void calls_of_issue(void)
{
	static const struct call commands[] = {
		{ "nvme_setup_cmd", 9, 0 },
		{ "nvme_setup_cmd", 10, EIO },
	}, workers[] = {
		{ "create_io_thread", -EAGAIN, 0 },
		{ "create_io_thread", -ENOMEM, ECANCELED },
	};
	struct sweep command = {
		.before = before_issue, .call = call_issue, .after = after_issue, .times = 2,
	}, stale = {
		.before = before_stale, .call = call_issue, .after = after_issue,
		.own_thread = true,
	};
	int i;

	for (i = 0; i < 2; i++) {
		issue = (struct rig_transfer){
			.file = drive, .block = PAGE, .count = 1, .depth = 1, .buf = 8 * MIB,
			.dev = 8 * MIB, .write = i,
		};
		issue_flags = i ? POLLED : 0;
		command.what = i ? "polled write" : "read";
		stale.what = i ? "retry of a polled write without a worker" :
				 "retry of a read without a worker";
		EACH_CALL(&command, commands);
		EACH_CALL(&stale, workers);
	}
}

/*
 * A request of eight commands: no bio for one of its parts, so that the block layer has
 * to split the rest. The first bio is waited for, and cannot fail.
 */
static void calls_of_parts(void)
{
	static const struct call bios[] = { { "bio_alloc_bioset", 0, 0 } };
	struct sweep parts = {
		.before = before_issue, .call = call_issue, .after = after_issue, .first = 2,
	};
	struct bario_disk info;
	int i;

	if (bario_disk_info(rig_drive_path(), &info, NULL))
		tap_bail("%s is no disk", rig_drive_path());
	rig_set_drive_ceiling(128 * KIB);
	for (i = 0; i < 2; i++) {
		issue = (struct rig_transfer){
			.file = drive, .block = MIB, .count = 1, .depth = 1, .buf = 8 * MIB,
			.dev = 8 * MIB, .write = !i,
		};
		issue_flags = i ? POLLED : 0;
		parts.what = i ? "polled read of 1024 KiB" : "write of 1024 KiB";
		EACH_CALL(&parts, bios);
	}
	rig_set_drive_ceiling(info.ceiling);
}

static void calls(void)
{
	struct rig_memory many;
	uint64_t at;

	calls_of_export();
	rig_memory(&bar, "bar", 0);
	make_request(MANY);
	dmabuf = call_export();
	if (dmabuf < 0)
		tap_bail("export: %s", strerror(-dmabuf));
	many = last_range(dmabuf, &at);
	calls_of_register(&many, at);
	calls_of_memory();
	calls_of_update(&many, at);
	close(dmabuf);
	calls_of_map();
	calls_of_issue();
	calls_of_parts();
	rig_free_memory(&bar);
}

#endif
