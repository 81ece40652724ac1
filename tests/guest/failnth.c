// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will fail each step of export, registration, mapping, issue and teardown
 * once, in turn.
 *
 *	failnth steps|calls|closes|workers|lists|drive
 *
 * A sweep repeats one call with the first, the second, ... point of failure that its
 * thread meets failing (/proc/.../fail-nth), until the call meets no more. Points of
 * failure are allocations of all kinds, and where a sweep says so the submission of
 * bios and the status of polled commands. After each: the errno is one of those that
 * the sweep lists, a slot is as it was, with verified data, and the next try works,
 * with verified data. After all: no dma-buf and no descriptor is left, and kmemleak,
 * which the machine asks at its end, and the DMA debugging code find nothing.
 *
 * steps: what happens in the calling thread. calls: functions of the kernel that can fail
 * without an allocation, see failnth_calls.h. workers: what io-wq and kernel workers do,
 * with fail-nth set in them. lists: the memory of PRP lists runs out while commands
 * are built. drive: bios and commands fail, and the driver retries.
 *
 * Wants a kernel with fault injection, and root.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "exporter.h"
#include "failnth.h"
#include "flow.h"
#include "io.h"
#include "rig.h"
#include "tap.h"

#define PAGE 4096u
#define MANY 300	/* ranges: more than one page of a scatter list */
#define TIMES 15	/* resets under a flow of requests */
#define POLLED IORING_SETUP_IOPOLL

static struct rig_memory bar;
static int drive;
static char disk[64];	/* nvme0n1 */

/*** What fails ***/

/* Caches of the checkers: if these fail, they check no more. */
static const char *const spared[] = {
	"kmemleak_object", "kmemleak_scan_area", "debug_objects_cache",
	"radix_tree_node",	/* of the DMA debugging code */
};

static bool is_spared(const char *cache)
{
	size_t i;

	for (i = 0; i < sizeof(spared) / sizeof(spared[0]); i++)
		if (!strcmp(cache, spared[i]))
			return true;
	return false;
}

static unsigned int choose_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	unsigned int chosen = 0;
	struct dirent *de;
	char path[512];

	while (dir && (de = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/failslab", de->d_name);
		if (de->d_name[0] != '.' && !is_spared(de->d_name))
			chosen += put_text(path, "1");
	}
	if (dir)
		closedir(dir);
	return chosen;
}

static void prepare_injection(void)
{
	char nvme[96];

	snprintf(nvme, sizeof(nvme), "%s/fault_inject", disk);
	knob("failslab", "ignore-gfp-wait", "N");
	knob("fail_page_alloc", "ignore-gfp-wait", "N");
	knob("fail_page_alloc", "ignore-gfp-highmem", "N");
	knob("fail_page_alloc", "min-order", "0");
	knob("failslab", "verbose", "0");
	knob("fail_page_alloc", "verbose", "0");
	knob("fail_make_request", "verbose", "0");
	knob(nvme, "verbose", "0");
	/* An internal error, that the driver tries again. */
	knob(nvme, "status", "0x6");
	knob(nvme, "dont_retry", "N");
	tap_diag("%u slab caches may fail", choose_caches());
	knob("failslab", "cache-filter", "Y");
}

/*** What the sweeps share ***/

static struct io_uring ring;

/* One page both ways, compared. */
static void works(int slot, struct rig_memory *mem, uint64_t at, const char *what)
{
	struct rig_transfer t = {
		.slot = slot, .file = drive, .block = PAGE, .count = 1, .depth = 1, .buf = at,
		.dev = 200 * MIB,
	};
	int ret = rig_transfer(&ring, mem, &t);

	if (ret)
		complain("%s: read: %s", what, strerror(-ret));
	t.write = true;
	ret = rig_transfer(&ring, mem, &t);
	if (ret)
		complain("%s: write: %s", what, strerror(-ret));
}

static void is_empty(int slot, const char *what)
{
	struct io io = { .fd = drive, .slot = slot, .len = PAGE };
	int ret = io_run(&ring, &io);

	if (ret != -EFAULT)
		complain("%s: a read from an empty slot says %d", what, ret);
}

static void must(int ret, const char *what)
{
	if (ret < 0)
		complain("%s: %s", what, strerror(-ret));
}

static void ring_with_bar(void)
{
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &bar, drive);
}

/*** Export ***/

static struct exporter exporter;
static struct bario_vfio_export *request;

/* @n ranges: all the second MiB, or every other page. */
static void make_request(unsigned int n)
{
	size_t size = sizeof(*request) + n * sizeof(request->ranges[0]);
	unsigned int i;

	free(request);
	request = calloc(1, size);
	if (!request)
		tap_bail("no memory");
	request->argsz = size;
	request->feature_flags = 1u << 16 | BARIO_VFIO_FEATURE_DMA_BUF;
	request->region_index = bar.bar.index;
	request->open_flags = O_RDWR | O_CLOEXEC;
	request->nr_ranges = n;
	for (i = 0; i < n; i++) {
		request->ranges[i].offset = n == 1 ? MIB : 2 * i * PAGE;
		request->ranges[i].length = n == 1 ? MIB : PAGE;
	}
	exporter.dev = bar.bar.dev;
}

/* The last range of the request, at the place of its bytes in the dma-buf. */
static struct rig_memory last_range(int fd, uint64_t *at)
{
	uint64_t start = (request->nr_ranges - 1) * (uint64_t)PAGE;

	*at = start;
	return (struct rig_memory){
		.fd = fd, .size = request->nr_ranges == 1 ? MIB : start + PAGE,
		.cpu = bar.cpu + request->ranges[request->nr_ranges - 1].offset - start,
	};
}

static int call_export(void)
{
	return export_raw(&exporter, request);
}

static void after_export(int fd)
{
	struct rig_memory mem;
	uint64_t at;

	if (fd < 0)
		fd = call_export();
	must(fd, "the next export");
	if (fd < 0)
		return;
	mem = last_range(fd, &at);
	must(rig_try_register(&ring, 1, fd, drive), "registration of what was exported");
	works(1, &mem, at, "what was exported");
	must(bario_ring_clear(ring.ring_fd, 1, NULL), "clear");
	close(fd);
}

static void before_claim(void)
{
	struct bario_err err;

	if (bario_dev_open(&bar.bar.dev, exporter.bdf, BARIO_MODE_AUTO, &err))
		tap_bail("%s", err.msg);
	exporter.dev = bar.bar.dev;
}

static void after_claim(int fd)
{
	rig_map_bar(&bar.bar);
	bar.cpu = bar.bar.cpu;
	after_export(fd);
	rig_close_bar(&bar.bar);
}

static void sweep_export(void)
{
	/* ENODEV: a BAR that cannot be claimed, for whatever reason. */
	static const struct sweep claim = {
		.what = "first export of a device", .before = before_claim,
		.call = call_export, .after = after_claim, .allowed = { ENOMEM, ENODEV },
	}, one = {
		.what = "export of one range", .call = call_export, .after = after_export,
		.allowed = { ENOMEM },
	}, many = {
		.what = "export of many ranges", .call = call_export, .after = after_export,
		.allowed = { ENOMEM },
	};

	bar.bar.index = atoi(getenv("BARIO_BAR"));
	exporter.bdf = getenv("BARIO_BDF");
	rig_ring(&ring, 8, 0);
	make_request(1);
	run_sweep(&claim);
	rig_open_bar(&bar.bar);
	bar.cpu = bar.bar.cpu;
	make_request(1);
	run_sweep(&one);
	make_request(MANY);
	run_sweep(&many);
	io_uring_queue_exit(&ring);
	rig_close_bar(&bar.bar);
}

/*** Registration ***/

static struct rig_memory *fresh;	/* what is registered */
static uint64_t fresh_at;
static bool occupied;

static void before_register(void)
{
	rig_ring(&ring, 8, 0);
	if (occupied)
		rig_register(&ring, 0, &bar, drive);
}

static int call_register(void)
{
	return rig_try_register(&ring, 0, fresh->fd, drive);
}

static void after_register(int ret)
{
	if (ret < 0)
		settle(occupied, false);
	if (ret < 0 && occupied)
		works(0, &bar, 3 * MIB, "the buffer that was to be replaced");
	else if (ret < 0)
		is_empty(0, "after a registration that failed");
	if (ret < 0)
		must(call_register(), "the next registration");
	works(0, fresh, fresh_at, "the buffer that was registered");
	io_uring_queue_exit(&ring);
}

static void sweep_register_of(const char *kind, struct rig_memory *mem, uint64_t at)
{
	char what[96];
	struct sweep s = {
		.what = what, .before = before_register, .call = call_register,
		.after = after_register, .allowed = { ENOMEM },
	};

	fresh = mem;
	fresh_at = at;
	for (occupied = false;; occupied = true) {
		snprintf(what, sizeof(what), "registration of %s in %s slot", kind,
			 occupied ? "an occupied" : "an empty");
		run_sweep(&s);
		if (occupied)
			break;
	}
}

/*** A table, and several descriptors at once ***/

static void before_table(void)
{
	int ret = io_uring_queue_init(8, &ring, 0);

	if (ret)
		tap_bail("a ring: %s", strerror(-ret));
}

static int call_table(void)
{
	return bario_ring_sparse(ring.ring_fd, 4, NULL);
}

static void after_table(int ret)
{
	if (ret < 0)
		must(call_table(), "the next table");
	must(rig_try_register(&ring, 3, bar.fd, drive), "registration in the table");
	works(3, &bar, 3 * MIB, "a buffer of the table");
	io_uring_queue_exit(&ring);
}

static struct bario_regbuf_desc three[3];
static struct rig_memory three_mem[3];	/* dma-buf, ordinary memory, dma-buf */
static uint64_t three_at[3];

static void before_three(void)
{
	int i;

	rig_ring(&ring, 8, 0);
	for (i = 0; i < 3; i++)
		rig_register(&ring, i, &bar, drive);
}

static int call_three(void)
{
	return bario_ring_update(ring.ring_fd, 0, three, NULL, 3);
}

/* As many as it says are new, the others are as they were. */
static void after_three(int ret)
{
	int done = ret < 0 ? 0 : ret, i;

	if (done < 3 && !hit)
		complain("%d of three", ret);
	/* The second is ordinary memory. */
	settle(done < 2 ? 3 : 2, false);
	for (i = done; i < 3; i++)
		works(i, &bar, 3 * MIB, "a buffer beyond those handled");
	if (done < 3)
		done = call_three();
	if (done != 3)
		complain("the next update says %d", done);
	for (i = 0; i < 3; i++)
		works(i, &three_mem[i], three_at[i], "a buffer of three");
	io_uring_queue_exit(&ring);
}

static void describe_three(const struct rig_memory *first, uint64_t at, uint8_t *plain,
			   const struct rig_memory *last)
{
	three[0] = (struct bario_regbuf_desc){
		.type = BARIO_REGBUF_DMABUF, .dmabuf_fd = first->fd, .target_fd = drive,
	};
	three[1] = (struct bario_regbuf_desc){
		.type = BARIO_REGBUF_UADDR, .uaddr = (uintptr_t)plain, .size = PAGE,
	};
	three[2] = three[0];
	three[2].dmabuf_fd = last->fd;
	three_mem[0] = *first;
	three_at[0] = at;
	/* The address in the buffer is that of the memory. */
	three_mem[1] = (struct rig_memory){ .fd = -1 };
	three_at[1] = (uintptr_t)plain;
	three_mem[2] = *last;
}

static void sweep_tables(struct rig_memory *many, uint64_t at, struct rig_memory *heap)
{
	static const struct sweep table = {
		.what = "sparse table", .before = before_table, .call = call_table,
		.after = after_table, .allowed = { ENOMEM },
	}, update = {
		.what = "update of three slots", .before = before_three, .call = call_three,
		.after = after_three, .allowed = { ENOMEM },
	};
	uint8_t *plain = rig_alloc(PAGE);

	run_sweep(&table);
	describe_three(many, at, plain, heap);
	run_sweep(&update);
	free(plain);
}

/*** Issue ***/

static struct rig_transfer issue;
static unsigned int issue_flags;
static struct io *ios;
static uint64_t seed;

static void before_issue(void)
{
	rig_ring(&ring, 8, issue_flags);
	rig_register(&ring, 0, &bar, drive);
	seed = rig_transfer_fill(&bar, &issue);
	ios = rig_transfer_requests(&issue);
}

static int result_of(const struct io *io)
{
	return io->res == (int)io->len ? 0 : io->res < 0 ? io->res : -EREMOTE;
}

static int call_issue(void)
{
	int ret;

	io_queue(&ring, ios);
	ret = io_uring_submit(&ring);
	if (!ret)
		ret = -EAGAIN;
	if (ret > 0)
		ret = io_wait(&ring, ios);
	return ret ? ret : result_of(ios);
}

/* Not done: the kernel took no request, which is still in the queue. */
static void after_issue(int ret)
{
	if (ret < 0 && !ios->done) {
		io_uring_submit(&ring);
		ret = io_wait(&ring, ios);
		must(ret, "the request that was not taken");
		if (!ret)
			must(result_of(ios), "the request that was not taken");
	}
	if (ios->res == (int)ios->len)
		must(rig_transfer_check(&bar, &issue, seed), "the data");
	must(rig_transfer(&ring, &bar, &issue), "the next request");
	free(ios);
	io_uring_queue_exit(&ring);
}

/*
 * ENOMEM: no memory for the request. EAGAIN: io_uring_enter() took none for that
 * reason. ECANCELED: io-wq, which has to split the request, cannot make a worker.
 */
static void sweep_issue_of(const char *how, uint32_t block, bool write, unsigned int flags,
			   bool own_thread, int other)
{
	char what[96];
	struct sweep s = {
		.what = what, .before = before_issue, .call = call_issue, .after = after_issue,
		.own_thread = own_thread,
		.allowed = { ENOMEM, EAGAIN, own_thread ? ECANCELED : 0, other },
	};

	snprintf(what, sizeof(what), "%s of %u KiB%s%s", write ? "write" : "read", block / KIB,
		 flags & POLLED ? ", polled" : "", how);
	issue = (struct rig_transfer){
		.file = drive, .write = write, .block = block, .count = 1, .depth = 1,
		.buf = 8 * MIB, .dev = 8 * MIB,
	};
	issue_flags = flags;
	run_sweep(&s);
}

static void make_it_fail(bool on)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/%s/make-it-fail", disk);
	if (!put_text(path, on ? "1" : "0"))
		tap_bail("%s: %s", path, strerror(errno));
}

static void sweep_issue(void)
{
	const unsigned int flags[] = { 0, POLLED, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
	uint32_t large = MIB + 64 * KIB;
	int i;

	for (i = 0; i < 3; i++) {
		sweep_issue_of("", PAGE, i & 1, flags[i], false, 0);
		sweep_issue_of("", 128 * KIB, !(i & 1), flags[i], false, 0);
		sweep_issue_of("", large, i & 1, flags[i], false, 0);
	}
	sweep_issue_of(", no worker yet", large, false, 0, true, 0);
	/* EIO: what a bio ends with that may not be submitted. */
	make_it_fail(true);
	for (i = 0; i < 2; i++) {
		sweep_issue_of(", bios fail", PAGE, !i, flags[i], false, EIO);
		sweep_issue_of(", bios fail", large, i, flags[i], false, EIO);
	}
	make_it_fail(false);
}

/*** Teardown ***/

static int call_clear(void)
{
	return bario_ring_clear(ring.ring_fd, 0, NULL);
}

static void after_clear(int ret)
{
	if (ret < 0) {
		works(0, &bar, 3 * MIB, "the buffer that was to be cleared");
		must(call_clear(), "the next clear");
	}
	is_empty(0, "cleared");
	io_uring_queue_exit(&ring);
}

static int call_unregister(void)
{
	return io_uring_unregister_buffers(&ring);
}

static void after_unregister(int ret)
{
	if (ret < 0) {
		works(0, &bar, 3 * MIB, "the table that was to go");
		must(call_unregister(), "the next unregistration");
	}
	ret = call_unregister();
	if (ret != -ENXIO)
		complain("there is still a table: %d", ret);
	io_uring_queue_exit(&ring);
}

static int call_exit(void)
{
	io_uring_queue_exit(&ring);
	return 0;
}

static void after_exit(int ret)
{
	(void)ret;
	ring_with_bar();
	works(0, &bar, 3 * MIB, "another ring");
	io_uring_queue_exit(&ring);
}

static int call_reset(void)
{
	return bario_dev_reset(bar.bar.dev, NULL);
}

static int call_decode_off(void)
{
	return bario_dev_memory(bar.bar.dev, false, NULL);
}

static int call_decode_on(void)
{
	return bario_dev_memory(bar.bar.dev, true, NULL);
}

static void before_decode_on(void)
{
	ring_with_bar();
	must(call_decode_off(), "decode off");
}

static void after_revoke(int ret)
{
	(void)ret;
	must(call_reset(), "the next reset");
	must(call_decode_on(), "decode on");
	works(0, &bar, 3 * MIB, "after it");
	io_uring_queue_exit(&ring);
}

static int dmabuf;

static void before_close_dmabuf(void)
{
	rig_ring(&ring, 8, 0);
	dmabuf = call_export();
	must(dmabuf, "export");
	must(rig_try_register(&ring, 0, dmabuf, drive), "registration");
}

static int call_close_dmabuf(void)
{
	return close(dmabuf);
}

static void after_close_dmabuf(int ret)
{
	struct rig_memory mem;
	uint64_t at;

	(void)ret;
	mem = last_range(dmabuf, &at);
	works(0, &mem, at, "closed, but registered");
	io_uring_queue_exit(&ring);
}

static void sweep_teardown(void)
{
	/* Revocation needs no memory: none of its points may fail the call. */
	static const struct sweep sweeps[] = {
		{ .what = "clear", .before = ring_with_bar, .call = call_clear,
		  .after = after_clear, .allowed = { ENOMEM } },
		{ .what = "unregistration", .before = ring_with_bar, .call = call_unregister,
		  .after = after_unregister, .allowed = { ENOMEM } },
		{ .what = "exit of the ring", .before = ring_with_bar, .call = call_exit,
		  .after = after_exit },
		{ .what = "close of the dma-buf", .before = before_close_dmabuf,
		  .call = call_close_dmabuf, .after = after_close_dmabuf, .none = true },
		{ .what = "reset", .before = ring_with_bar, .call = call_reset,
		  .after = after_revoke, .none = true },
		{ .what = "decode off", .before = ring_with_bar, .call = call_decode_off,
		  .after = after_revoke, .none = true },
		{ .what = "decode on", .before = before_decode_on, .call = call_decode_on,
		  .after = after_revoke, .none = true },
	};
	size_t i;

	make_request(MANY);
	for (i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]); i++)
		run_sweep(&sweeps[i]);
}

static struct rig_memory closing;

static void before_close_device(void)
{
	rig_memory(&closing, "bar", 0);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &closing, drive);
	works(0, &closing, 0, "before the close");
	rig_unmap_bar(&closing.bar);
}

static int call_close_device(void)
{
	bario_dev_close(closing.bar.dev);
	return 0;
}

static void after_close_device(int ret)
{
	struct io io = { .fd = drive, .len = PAGE };

	ret = io_run(&ring, &io);
	if (ret != -ENODEV)
		complain("a read after the close says %d", ret);
	close(closing.fd);
	io_uring_queue_exit(&ring);
}

/*
 * Where there is an IOMMU, the close gives its device back to its default domain, for
 * which the driver allocates, and the kernel warns when it cannot.
 */
static void closes(void)
{
	static const struct sweep s = {
		.what = "close of the device", .before = before_close_device,
		.call = call_close_device, .after = after_close_device,
	};

	run_sweep(&s);
}

static void steps(void)
{
	struct rig_memory udmabuf, heap, many;
	uint64_t at;

	sweep_export();

	rig_memory(&bar, "bar", 0);
	rig_memory(&udmabuf, "udmabuf", 512 * KIB);
	rig_memory(&heap, "heap", MIB);
	make_request(MANY);
	dmabuf = call_export();
	if (dmabuf < 0)
		tap_bail("export: %s", strerror(-dmabuf));
	many = last_range(dmabuf, &at);
	sweep_register_of("a BAR", &bar, 2 * MIB);
	sweep_register_of("many ranges of a BAR", &many, at);
	sweep_register_of("a udmabuf", &udmabuf, udmabuf.size - PAGE);
	sweep_register_of("a heap's buffer", &heap, heap.size - PAGE);
	sweep_tables(&many, at, &heap);
	close(dmabuf);
	rig_free_memory(&udmabuf);
	rig_free_memory(&heap);

	sweep_issue();
	sweep_teardown();
	rig_free_memory(&bar);
}

/*** What workers do ***/

/* One worker, which has run once. */
static void ring_with_worker(struct rig_memory *mem, uint64_t at, unsigned int flags)
{
	unsigned int most[2] = { 1, 1 };
	int ret;

	rig_ring(&ring, 8, flags);
	io_uring_register_iowq_max_workers(&ring, most);
	rig_register(&ring, 0, mem, drive);
	issue = (struct rig_transfer){
		.file = drive, .block = PAGE, .count = 1, .depth = 1, .buf = at, .dev = 8 * MIB,
		.flags = IOSQE_ASYNC,
	};
	ret = rig_transfer(&ring, mem, &issue);
	if (ret)
		tap_bail("a request in a worker: %s", strerror(-ret));
	issue.flags = 0;
}

static void before_map(void)
{
	must(call_decode_off(), "decode off");
	must(call_decode_on(), "decode on");
	seed = rig_transfer_fill(fresh, &issue);
	ios = rig_transfer_requests(&issue);
	aim_at("/proc/self/task", "iou-wrk-");
	if (!nr_nth)
		complain("no worker");
}

/* The worker that takes the request makes the mapping first. */
static int call_map(void)
{
	int ret = io_run(&ring, ios);

	return ret < 0 ? ret : result_of(ios);
}

static void after_map(int ret)
{
	if (!ret)
		must(rig_transfer_check(fresh, &issue, seed), "the data");
	free(ios);
	must(rig_transfer(&ring, fresh, &issue), "the next request");
}

static void sweep_map(const char *kind, struct rig_memory *mem, uint64_t at, unsigned int flags)
{
	char what[96];
	struct sweep s = {
		.what = what, .before = before_map, .call = call_map, .after = after_map,
		.kept = 1, .allowed = { ENOMEM },
	};

	snprintf(what, sizeof(what), "map of %s by a worker%s", kind,
		 flags & POLLED ? ", polled" : "");
	fresh = mem;
	ring_with_worker(mem, at, flags);
	run_sweep(&s);
	io_uring_queue_exit(&ring);
	tap_ok(settle(0, true), "%s: nothing is left", what);
}

static void before_release(void)
{
	before_close_dmabuf();
	close(dmabuf);
	aim_at("/proc", "kworker/u");
}

static int call_release(void)
{
	int ret = call_clear();

	return ret ? ret : settle(0, true) ? 0 : -ETIME;
}

static void after_release(int ret)
{
	(void)ret;
	is_empty(0, "released");
	io_uring_queue_exit(&ring);
}

/* Let a part of the allocations of io-wq's workers fail, but of no other task. */
static void workers_may_fail(void)
{
	struct dirent *de;
	char path[300];
	DIR *dir;

	dir = opendir("/proc/self/task");
	while (dir && (de = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", de->d_name);
		if (strncmp(word_of(path), "iou-wrk-", 8))
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/make-it-fail", de->d_name);
		put_text(path, "1");
	}
	if (dir)
		closedir(dir);
}

static void judge_flow(struct flow *f, int may, const char *what)
{
	tap_ok(!f->hangs && !f->wrong && f->good && !f->refused &&
	       (!f->other || (may && f->other_result == -may)),
	       "%s: %lu rounds, %lu requests well, %lu failed (last %d), %lu wrong%s", what, f->rounds,
	       f->good, f->other + f->refused, f->other_result, f->wrong,
	       f->hangs ? ", and it hangs" : "");
}

/* Requests in flight, revoked again and again, retried by workers short of memory. */
static void retries_without_memory(bool write, unsigned int flags)
{
	struct flow f = {
		.mem = &bar, .drive = drive, .write = write, .block = 64 * KIB, .buf = 32 * MIB,
		.dev = 32 * MIB, .ring_flags = flags,
	};
	int i;

	knob("failslab", "task-filter", "Y");
	knob("failslab", "times", "-1");
	flow_start(&f);
	for (i = 0; i < TIMES && flow_wait_submitted(&f); i++) {
		workers_may_fail();
		knob("failslab", "probability", "10");
		if (call_reset())
			break;
	}
	knob("failslab", "probability", "0");
	tap_ok(i == TIMES && flow_wait_count(&f, &f.good, 2 * FLOW_DEPTH),
	       "%s%s go on after %d resets with little memory", write ? "writes" : "reads",
	       flags & POLLED ? ", polled," : "", i);
	flow_stop(&f);
	judge_flow(&f, ENOMEM, "retried by workers with little memory");
	flow_end(&f);
	knob("failslab", "task-filter", "N");
}

static void workers(void)
{
	/* Most points are of other work that these do. */
	static const struct sweep release = {
		.what = "release of a buffer by its worker", .before = before_release,
		.call = call_release, .after = after_release, .most = 12, .none = true,
	};
	struct rig_memory many;
	uint64_t at;
	int i;

	rig_memory(&bar, "bar", 0);
	make_request(MANY);
	dmabuf = call_export();
	if (dmabuf < 0)
		tap_bail("export: %s", strerror(-dmabuf));
	many = last_range(dmabuf, &at);
	for (i = 0; i < 2; i++) {
		sweep_map("a BAR", &bar, 2 * MIB, i ? POLLED : 0);
		sweep_map("many ranges of a BAR", &many, at, i ? POLLED : 0);
	}
	close(dmabuf);
	run_sweep(&release);
	for (i = 0; i < 4; i++)
		retries_without_memory(i & 1, i & 2 ? POLLED : 0);
	rig_free_memory(&bar);
}

/*** The memory of PRP lists ***/

static struct bario_trace *trace;
static long lists_given, all_given, all_freed;	/* the first in the last round */

static long traced(const char *event)
{
	struct bario_err err;
	long n = bario_trace_count(trace, event, &err);

	if (n < 0)
		tap_bail("%s", err.msg);
	return n;
}

/* How often a command went back to the block layer since the last call. */
static long requeued(void)
{
	long n = traced("block_rq_requeue");

	bario_trace_clear(trace);
	return n;
}

static void trace_event(const char *event, const char *filter)
{
	struct bario_err err;

	if ((!trace && bario_trace_open(&trace, &err)) ||
	    bario_trace_enable(trace, event, filter, &err))
		tap_bail("%s", err.msg);
}

/*
 * @n commands at once, and for the next @times no page for the pool when it has to grow.
 * Plain I/O before and after is in commands that take nothing of this pool.
 */
static long list_round(unsigned int n, uint32_t block, unsigned int flags, long times, long *hits)
{
	struct rig_transfer t = {
		.file = drive, .write = n & 1, .block = block, .count = n, .depth = n,
	};
	long retried, missed, freed;
	unsigned int i;
	int ret;

	rig_ring(&ring, 64, flags);
	rig_register(&ring, 0, &bar, drive);
	seed = rig_transfer_fill(&bar, &t);
	ios = rig_transfer_requests(&t);
	rig_set_drive_ceiling(4092 * KIB);
	requeued();
	for (i = 0; i < n; i++)
		io_queue(&ring, &ios[i]);
	fail_next("fail_page_alloc", times, 0);
	io_uring_submit(&ring);
	ret = io_wait_all(&ring, ios, n);
	missed = failed_of("fail_page_alloc", times);
	lists_given = traced("list_given");
	freed = traced("list_freed");
	all_given += lists_given;
	all_freed += freed;
	retried = requeued();
	rig_set_drive_ceiling(128 * KIB);
	if (!ret)
		ret = rig_transfer_check(&bar, &t, seed);
	tap_ok(!ret,
	       "%u %s of %u KiB%s, %ld of %ld pages missed, %ld requeued, %ld lists given, %ld freed: %s",
	       n, n & 1 ? "writes" : "reads", block / KIB, flags & POLLED ? ", polled" : "", missed,
	       times, retried, lists_given, freed, ret ? strerror(-ret) : "all well");
	free(ios);
	io_uring_queue_exit(&ring);
	*hits += missed;
	return retried;
}

/* What the pools give to commands, and what they get back. */
static void trace_lists(void)
{
	static const char probes[] = "r:list_given dma_pool_alloc list=$retval\n"
				     "p:list_freed dma_pool_free\n";

	if (!put_text("/sys/kernel/tracing/kprobe_events", probes))
		tap_bail("no probes on the pools: %s", strerror(errno));
	trace_event("kprobes:list_given", "list != 0");
	trace_event("kprobes:list_freed", NULL);
}

/* Calls that a probe had no part in, because it met another one at work. */
static long missed_by_probes(void)
{
	FILE *f = fopen("/sys/kernel/tracing/kprobe_profile", "r");
	long missed, sum = 0;

	while (f && fscanf(f, "%*s %*d %ld", &missed) == 1)
		sum += missed;
	if (f)
		fclose(f);
	return sum;
}

static void lists_balance(void)
{
	long missed = missed_by_probes(), lost = labs(all_given - all_freed);

	tap_ok(all_given && lost <= missed, "%ld lists were given, %ld freed, %ld missed by the probes",
	       all_given, all_freed, missed);
}

/*
 * The pool is empty: a command with one list is refused until a page can be had, the
 * only one of the pool. One with two gets that, and has to give it back each time that
 * it is refused. How much the others have the pool grow depends on how many the drive
 * has at once.
 */
static void lists(void)
{
	static const long times[] = { 2, 1, 5, 2, 20, 5, 1, 2, 20, 20 };
	uint32_t two = 2 * MIB + 8 * KIB;
	struct bario_disk info;
	long hits = 0, retried;
	unsigned int n;

	if (bario_disk_info(rig_drive_path(), &info, NULL))
		tap_bail("%s is no disk", rig_drive_path());
	if (info.hw_ceiling < 4092 * KIB)
		tap_skip_all("no command of this drive has two lists: give it nvme.mdts=10");
	rig_set_drive_ceiling(128 * KIB);
	/* neither descriptors nor lists of the buffer's own: each command has to have its own */
	rig_driver_setting("sgl_threshold", "0");
	rig_driver_setting("dma_token_lists_mb", "0");
	rig_memory(&bar, "bar", 0);
	trace_event("block:block_rq_requeue", NULL);
	trace_lists();
	/* Only what cannot wait, as the lists: not the requests themselves. */
	knob("fail_page_alloc", "ignore-gfp-wait", "Y");
	retried = list_round(1, MIB, 0, 20, &hits);
	tap_ok(hits == 20 && retried && lists_given == 1, "without its only list it is refused");
	retried = list_round(1, two, 0, 20, &hits);
	tap_ok(hits == 40 && retried && lists_given >= retried + 2,
	       "without its second list it is refused, and gives back the first");
	for (n = 2; n <= 10; n++)
		list_round(n, two, n % 4 ? 0 : POLLED, times[n - 1], &hits);
	knob("fail_page_alloc", "ignore-gfp-wait", "N");
	lists_balance();
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &bar, drive);
	tap_is(call_reset(), 0, "every command gave its mapping back: a reset returns");
	io_uring_queue_exit(&ring);
	bario_trace_close(trace);
	rig_free_memory(&bar);
}

/*** The drive ***/

/* What one request says, with the data compared if it says that it is done. */
static int one_request(uint32_t block)
{
	int ret = io_run(&ring, ios);

	if (ret == (int)block)
		ret = rig_transfer_check(&bar, &issue, seed);
	return ret;
}

static void prepare_one(uint32_t block, bool write)
{
	issue = (struct rig_transfer){
		.file = drive, .write = write, .block = block, .count = 1, .depth = 1,
		.buf = 8 * MIB, .dev = 8 * MIB,
	};
	seed = rig_transfer_fill(&bar, &issue);
	ios = rig_transfer_requests(&issue);
}

/* A bio, or one of those that a large request takes, may not be submitted. */
static void bios(unsigned int flags)
{
	/* a megabyte goes as eight bios of 128 KiB */
	static const long spaces[] = { 0, 128 * KIB + 1, 256 * KIB, 512 * KIB, 896 * KIB, 64 * MIB };
	unsigned int i, eio = 0, well = 0, other = 0, next = 0, missed;
	uint32_t block;
	int ret;

	make_it_fail(true);
	for (i = 0; i < 24; i++) {
		block = i & 1 ? MIB : 8 * KIB;
		prepare_one(block, i & 2);
		fail_next("fail_make_request", 1, block == MIB ? spaces[i / 4] : 0);
		ret = one_request(block);
		missed = failed_of("fail_make_request", 1);
		eio += missed && ret == -EIO;
		well += !missed && !ret;
		other += missed ? ret != -EIO : ret != 0;
		next += !rig_transfer(&ring, &bar, &issue);
		free(ios);
	}
	make_it_fail(false);
	tap_ok(eio && well && !other, "%sbios fail: %u EIO, %u that none of theirs failed, %u wrong",
	       flags & POLLED ? "polled " : "", eio, well, other);
	tap_is(next, 24, "each next request works");
	tap_is(call_reset(), 0, "every bio gave back what it had: a reset returns");
	tap_is(rig_transfer(&ring, &bar, &issue), 0, "and requests work after it");
}

/* @times completions say that there was an error inside of the drive. */
static void commands(uint32_t block, bool write, unsigned int flags, long times, bool final, int want)
{
	char dir[96];
	long missed, retried;
	int ret;

	snprintf(dir, sizeof(dir), "%s/fault_inject", disk);
	prepare_one(block, write);
	requeued();
	knob(dir, "dont_retry", final ? "Y" : "N");
	fail_next(dir, times, 0);
	ret = one_request(block);
	missed = failed_of(dir, times);
	retried = requeued();
	free(ios);
	tap_is(ret, want, "%s of %u KiB%s: %ld of %ld completions fail%s, %ld requeued",
	       write ? "write" : "read", block / KIB, flags & POLLED ? ", polled" : "", missed, times,
	       final ? " for good" : "", retried);
	tap_ok(missed == times && (final ? !retried : retried >= (want ? times - 1 : times)),
	       "and as many were retried as should");
	tap_is(rig_transfer(&ring, &bar, &issue), 0, "the next request works");
}

/* Retries in the driver while the mapping comes and goes. */
static void retries_under_resets(bool write, unsigned int flags)
{
	struct flow f = {
		.mem = &bar, .drive = drive, .write = write, .block = 64 * KIB, .buf = 32 * MIB,
		.dev = 32 * MIB, .ring_flags = flags,
	};
	char dir[96];
	long retried;
	int i;

	snprintf(dir, sizeof(dir), "%s/fault_inject", disk);
	requeued();
	knob(dir, "dont_retry", "N");
	knob(dir, "times", "-1");
	flow_start(&f);
	knob(dir, "probability", "3");
	for (i = 0; i < TIMES && flow_wait_submitted(&f); i++)
		if (call_reset())
			break;
	knob(dir, "probability", "0");
	flow_stop(&f);
	retried = requeued();
	tap_ok(i == TIMES && retried, "%d resets returned, %ld commands were retried", i, retried);
	judge_flow(&f, 0, "retries in the driver under resets");
	flow_end(&f);
}

static void drive_errors(void)
{
	unsigned int flags, i;

	/* a megabyte is eight commands, of which the last ones are to fail, too */
	rig_set_drive_ceiling(128 * KIB);
	rig_memory(&bar, "bar", 0);
	trace_event("block:block_rq_requeue", NULL);
	for (i = 0; i < 2; i++) {
		flags = i ? POLLED : 0;
		rig_ring(&ring, 8, flags);
		rig_register(&ring, 0, &bar, drive);
		bios(flags);
		commands(64 * KIB, i, flags, 1, false, 0);
		commands(64 * KIB, !i, flags, 5, false, 0);
		commands(MIB, i, flags, 5, false, 0);
		/* Once and five times again is all that the driver tries. */
		commands(64 * KIB, i, flags, 6, false, -EIO);
		commands(64 * KIB, !i, flags, 1, true, -EIO);
		commands(MIB, !i, flags, 1, true, -EIO);
		tap_is(call_reset(), 0, "every command gave its mapping back: a reset returns");
		io_uring_queue_exit(&ring);
		retries_under_resets(i, flags);
		retries_under_resets(!i, flags);
	}
	bario_trace_close(trace);
	rig_free_memory(&bar);
}

/*** Calls ***/

#include "failnth_calls.h"

/*** All ***/

/* Has a checker switched itself off, as it does when it is out of memory? */
static void checkers_live(void)
{
	tap_ok(!strcmp(word_of("/sys/kernel/debug/dma-api/disabled"), "N"),
	       "the DMA debugging code still looks");
	tap_ok(put_text("/sys/kernel/debug/kmemleak", "scan=off"), "kmemleak still looks");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "steps", steps }, { "calls", calls }, { "closes", closes }, { "workers", workers },
		{ "lists", lists }, { "drive", drive_errors },
	};
	size_t i;

	if (argc != 2)
		tap_bail("which part?");
	/* A page fault in here would meet the fault. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		tap_bail("mlockall: %s", strerror(errno));
	drive = rig_open_drive();
	snprintf(disk, sizeof(disk), "%.60s", strrchr(rig_drive_path(), '/') + 1);
	prepare_injection();
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strcmp(argv[1], parts[i].name))
			parts[i].run();
	if (!tap_points)
		tap_bail("no part %s", argv[1]);
	checkers_live();
	return tap_done();
}
