// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will export, register and move data as a 32-bit program does.
 *
 * The ioctl, the set-up of the ring, the registration and the requests are system calls
 * of the i386 table, by int $0x80, which a 64-bit program can make too if all that it
 * points to is below 4 GiB. Everything is done by the calls of both tables: the same
 * structures must give the same results, good and bad, since their layouts hold no
 * pointer and no alignment that differs. A ring that was set up by such a call takes
 * its iovecs in the 32-bit layout, but not the descriptors.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"
#include "zerowords.h"

#define KIB 1024u
#define SLOTS 8
#define I386_GETPID 20
#define UNMAPPED 4096		/* nothing is that low */

enum op { IOCTL, SETUP, ENTER, REGISTER };
static const long native_nr[] = {
	SYS_ioctl, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
};
static const long i386_nr[] = { 54, 425, 426, 427 };

struct side {
	const char *name;
	bool compat;
	struct io_uring ring;
};

static struct side sides[] = { { .name = "64-bit" }, { .name = "32-bit", .compat = true } };
static struct rig_memory mem;
static int drive;

/* Memory that 32 bits can point to, never given back. */
static void *low(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (p == MAP_FAILED || (uintptr_t)p + size > UINT32_MAX)
		tap_bail("no memory below 4 GiB");
	return p;
}

/* Only the lower halves of the registers count. */
static long i386_call(long nr, long a, long b, long c, long d, long e)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "0" (nr), "b" (a), "c" (b), "d" (c), "S" (d), "D" (e)
		     : "memory", "cc", "r8", "r9", "r10", "r11");
	return (int)ret;
}

static long call(const struct side *s, enum op op, long a, long b, long c, long d, long e)
{
	long ret;

	if (s->compat)
		return i386_call(i386_nr[op], a, b, c, d, e);
	ret = syscall(native_nr[op], a, b, c, d, e, 0);
	return ret < 0 ? -errno : ret;
}

static sigjmp_buf no_call;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(no_call, 1);
}

/* Without CONFIG_IA32_EMULATION the instruction is a fault. */
static void need_i386_calls(void)
{
	struct sigaction act = { .sa_handler = on_fault }, old;

	sigaction(SIGSEGV, &act, &old);
	if (sigsetjmp(no_call, 1) || i386_call(I386_GETPID, 0, 0, 0, 0, 0) != getpid())
		tap_skip_all("this kernel takes no 32-bit system calls");
	sigaction(SIGSEGV, &old, NULL);
}

/* The export */

struct export_row {
	const char *what;
	uint32_t feature_flags;
	int less;		/* bytes that argsz is short of */
	uint32_t region;	/* 0: the BAR, else one more than its number */
	uint32_t open_flags;
	uint32_t flags;
	uint32_t nr;
	uint64_t offset;
	uint64_t length;
	int want;		/* 0 for a descriptor */
};

#define GET (VFIO_DEVICE_FEATURE_GET | BARIO_VFIO_FEATURE_DMA_BUF)

static const struct export_row export_rows[] = {
	{ "one range", GET, .nr = 1, .length = 64 * KIB },
	{ "one range, close on exec, to be written", GET, .open_flags = O_CLOEXEC | O_RDWR, .nr = 1,
	  .length = 64 * KIB },
	{ "a flag", GET, .flags = 1, .nr = 1, .length = 64 * KIB, .want = -EINVAL },
	{ "open flags that are not for it", GET, .open_flags = O_APPEND, .nr = 1,
	  .length = 64 * KIB, .want = -EINVAL },
	{ "no range", GET, .want = -EINVAL },
	{ "a range of nothing", GET, .nr = 1, .want = -EINVAL },
	{ "an unaligned offset", GET, .nr = 1, .offset = 1, .length = 4096, .want = -EINVAL },
	{ "an unaligned length", GET, .nr = 1, .length = 4095, .want = -EINVAL },
	{ "behind the BAR", GET, .nr = 1, .offset = 1ull << 40, .length = 4096, .want = -EINVAL },
	{ "an end that wraps", GET, .nr = 1, .offset = -4096ull, .length = 8192, .want = -EOVERFLOW },
	{ "region 6", GET, .region = 7, .nr = 1, .length = 4096, .want = -ENODEV },
	{ "region 2^32 - 2", GET, .region = UINT32_MAX, .nr = 1, .length = 4096, .want = -ENODEV },
	{ "a size that is short", GET, .less = 1, .nr = 1, .length = 4096, .want = -EINVAL },
	{ "absurdly many ranges", GET, .nr = UINT32_MAX, .length = 4096, .want = -E2BIG },
	{ "set", VFIO_DEVICE_FEATURE_SET | BARIO_VFIO_FEATURE_DMA_BUF, .nr = 1, .length = 4096,
	  .want = -EINVAL },
	{ "probe", VFIO_DEVICE_FEATURE_PROBE | BARIO_VFIO_FEATURE_DMA_BUF, .nr = 1,
	  .length = 4096 },
};

static long export_range(const struct side *s, const struct export_row *row)
{
	static struct bario_vfio_export *arg;
	size_t size = sizeof(*arg) + sizeof(arg->ranges[0]);

	if (!arg)
		arg = low(size);
	*arg = (struct bario_vfio_export){
		.argsz = size - row->less, .feature_flags = row->feature_flags,
		.region_index = row->region ? row->region - 1 : (uint32_t)mem.bar.index,
		.open_flags = row->open_flags, .flags = row->flags, .nr_ranges = row->nr,
	};
	arg->ranges[0] = (struct bario_vfio_range){ row->offset, row->length };
	return call(s, IOCTL, bario_dev_fd(mem.bar.dev), VFIO_DEVICE_FEATURE, (long)arg, 0, 0);
}

static void exports(void)
{
	unsigned int i, j;
	long ret;

	for (i = 0; i < sizeof(export_rows) / sizeof(export_rows[0]); i++)
		for (j = 0; j < 2; j++) {
			ret = export_range(&sides[j], &export_rows[i]);
			if (ret > 0) {
				close(ret);
				ret = 0;
			}
			tap_is(ret, export_rows[i].want, "%s export: %s", sides[j].name,
			       export_rows[i].what);
		}
	for (j = 0; j < 2; j++)
		tap_is(call(&sides[j], IOCTL, bario_dev_fd(mem.bar.dev), VFIO_DEVICE_FEATURE, UNMAPPED,
			    0, 0), -EFAULT, "%s export: memory that cannot be read", sides[j].name);
}

/* The registration */

static long reg(const struct side *s, unsigned int op, const void *arg, unsigned int n)
{
	return call(s, REGISTER, s->ring.ring_fd, op, (long)arg, n, 0);
}

static long update(const struct side *s, unsigned int slot, uint32_t flags, const void *data,
		   unsigned int n)
{
	static struct bario_rsrc_update *up;

	if (!up)
		up = low(sizeof(*up));
	*up = (struct bario_rsrc_update){
		.offset = slot, .flags = flags, .data = (uintptr_t)data, .nr = n,
	};
	return reg(s, BARIO_REGISTER_BUFFERS_UPDATE, up, sizeof(*up));
}

/* By the calls of the side alone; only the mapping of the ring has no structure. */
static void open_ring(struct side *s)
{
	struct bario_rsrc_register *table = low(sizeof(*table));
	struct io_uring_params *params = low(sizeof(*params));
	long fd = call(s, SETUP, 32, (long)params, 0, 0, 0);
	int ret;

	if (fd < 0)
		tap_bail("%s: no ring: %s", s->name, strerror(-fd));
	ret = io_uring_queue_mmap(fd, params, &s->ring);
	if (ret)
		tap_bail("%s: the ring cannot be mapped: %s", s->name, strerror(-ret));
	/* liburing does not do that here, and would wait by other means. */
	s->ring.features = params->features;
	*table = (struct bario_rsrc_register){ .nr = SLOTS, .flags = BARIO_RSRC_REGISTER_SPARSE };
	tap_is(reg(s, BARIO_REGISTER_BUFFERS2, table, sizeof(*table)), 0, "%s: an empty table", s->name);
}

static struct bario_regbuf_desc dmabuf_desc(void)
{
	return (struct bario_regbuf_desc){
		.type = BARIO_REGBUF_DMABUF, .dmabuf_fd = mem.fd, .target_fd = drive,
	};
}

/* Submission and wait by one system call; liburing would make it by the native one. */
static int submit_wait(struct side *s, struct io *ios, unsigned int n)
{
	struct io_uring_sq *sq = &s->ring.sq;
	unsigned int tail = *sq->ktail, i;
	long ret;

	for (i = 0; i < n; i++) {
		io_queue(&s->ring, &ios[i]);
		sq->array[(tail + i) & *sq->kring_mask] = sq->sqe_head++ & *sq->kring_mask;
	}
	__atomic_store_n(sq->ktail, tail + n, __ATOMIC_RELEASE);
	ret = call(s, ENTER, s->ring.ring_fd, n, n, IORING_ENTER_GETEVENTS, 0);
	if (ret != n)
		return ret < 0 ? ret : -EIO;
	return io_wait_all(&s->ring, ios, n);
}

/* What a slot gives for a request: 0, or -EFAULT when it is empty. */
static int use(struct side *s, unsigned int slot)
{
	struct io io = { .fd = drive, .slot = slot, .len = 512 };

	return submit_wait(s, &io, 1);
}

static void refuse(struct bario_regbuf_desc desc, int want, const char *what)
{
	struct bario_regbuf_desc *at = low(sizeof(*at));
	unsigned int j;

	*at = desc;
	for (j = 0; j < 2; j++) {
		tap_is(update(&sides[j], 1, BARIO_RSRC_UPDATE_EXTENDED, at, 1), want, "%s: %s",
		       sides[j].name, what);
		if (use(&sides[j], 1) != -EFAULT)
			tap_ok(false, "%s: %s: the slot is empty", sides[j].name, what);
	}
}

static struct side *asked;

static int ask(void *desc)
{
	return update(asked, 1, BARIO_RSRC_UPDATE_EXTENDED, desc, 1);
}

static void refuse_bits(struct bario_regbuf_desc desc, size_t word, size_t size, const char *what)
{
	static struct bario_regbuf_desc *at;
	unsigned int j;

	if (!at)
		at = low(sizeof(*at));
	*at = desc;
	for (j = 0; j < 2; j++) {
		asked = &sides[j];
		tap_is(zero_bits_taken((char *)at + word, size, ask, at), 0,
		       "%s: %s: how often one of its %zu bits is taken", asked->name, what, 8 * size);
		tap_is(use(asked, 1), -EFAULT, "%s: %s: the slot is empty", asked->name, what);
	}
}

static void words_of_zeros(void)
{
	const struct bario_regbuf_desc dmabuf = dmabuf_desc();

	zero_words(&dmabuf, refuse_bits);
}

static void wrong_words(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();

	words_of_zeros();
	desc.type = 3;
	refuse(desc, -EINVAL, "an unknown type");
	desc = dmabuf_desc();
	desc.size = 1ull << 32;
	refuse(desc, -EINVAL, "a size, in the upper half");
	desc = dmabuf_desc();
	desc.uaddr = 1ull << 32;
	refuse(desc, -EINVAL, "an address, in the upper half");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_EMPTY, .uaddr = 1ull << 32 };
	refuse(desc, -EFAULT, "empty, with an address in the upper half");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_UADDR, .uaddr = UNMAPPED, .size = 4096 };
	refuse(desc, -EFAULT, "memory that is not there");
	desc = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_UADDR, .uaddr = 1ull << 63, .size = 4096 };
	refuse(desc, -EFAULT, "memory that is not the program's");
}

static void wrong_files(void)
{
	struct bario_regbuf_desc desc = dmabuf_desc();
	int fd = open(rig_drive_path(), O_RDWR | O_CLOEXEC);

	desc.target_fd = fd;
	refuse(desc, -EINVAL, "a target not opened O_DIRECT");
	close(fd);
	refuse(desc, -EBADF, "a target that was closed");
	desc = dmabuf_desc();
	desc.dmabuf_fd = -1;
	refuse(desc, -EBADF, "no dma-buf");
	desc.dmabuf_fd = drive;
	refuse(desc, -EINVAL, "a dma-buf that is none");
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	desc = dmabuf_desc();
	desc.target_fd = fd;
	refuse(desc, -EOPNOTSUPP, "a target that is no disk");
	close(fd);
	if (bario_dev_memory(mem.bar.dev, false, NULL))
		tap_bail("memory decode cannot be switched off");
	refuse(dmabuf_desc(), -ENODEV, "memory decode off");
	bario_dev_memory(mem.bar.dev, true, NULL);
}

static void wrong_calls(void)
{
	const uint32_t ext = BARIO_RSRC_UPDATE_EXTENDED;
	struct bario_regbuf_desc *desc = low(sizeof(*desc));
	unsigned int j;

	*desc = dmabuf_desc();
	for (j = 0; j < 2; j++) {
		const struct side *s = &sides[j];

		tap_is(update(s, 1, ext | 1, desc, 1), -EINVAL, "%s: an unknown flag", s->name);
		tap_is(update(s, 1, ext | 1u << 31, desc, 1), -EINVAL, "%s: the last flag", s->name);
		tap_is(update(s, SLOTS, ext, desc, 1), -EINVAL, "%s: a slot behind the table", s->name);
		tap_is(update(s, UINT32_MAX, ext, desc, 1), -EOVERFLOW, "%s: a slot that wraps", s->name);
		tap_is(update(s, 1, ext, (void *)UNMAPPED, 1), -EFAULT,
		       "%s: descriptors that cannot be read", s->name);
		tap_is(reg(s, BARIO_REGISTER_BUFFERS_UPDATE, (void *)UNMAPPED,
			   sizeof(struct bario_rsrc_update)), -EFAULT,
		       "%s: a call that cannot be read", s->name);
		tap_is(reg(s, BARIO_REGISTER_BUFFERS_UPDATE, desc, 24), -EINVAL,
		       "%s: a call of the wrong size", s->name);
	}
}

/* Good ones, and data */

static int move(struct side *s, unsigned int slot, uint32_t block, bool write)
{
	struct rig_transfer t = {
		.slot = slot, .file = drive, .write = write, .block = block, .count = 16,
	};
	uint64_t seed = rig_transfer_fill(&mem, &t);
	struct io *ios = rig_transfer_requests(&t);
	int ret = submit_wait(s, ios, t.count);

	free(ios);
	return ret ? ret : rig_transfer_check(&mem, &t, seed);
}

/* The second of several is where the layouts would differ first. */
static void several(struct side *s)
{
	struct bario_regbuf_desc *descs = low(3 * sizeof(*descs));
	unsigned int i;

	for (i = 0; i < 3; i++)
		descs[i] = dmabuf_desc();
	tap_is(update(s, 2, BARIO_RSRC_UPDATE_EXTENDED, descs, 3), 3, "%s: three dma-bufs", s->name);
	for (i = 2; i < 5; i++) {
		tap_is(move(s, i, 4 * KIB, false), 0, "%s: slot %u reads", s->name, i);
		tap_is(move(s, i, 64 * KIB, true), 0, "%s: slot %u writes", s->name, i);
		tap_is(move(s, i, 256 * KIB, false), 0, "%s: slot %u reads split requests", s->name, i);
	}
	descs[1].flags = 1;
	tap_is(update(s, 5, BARIO_RSRC_UPDATE_EXTENDED, descs, 3), 1, "%s: good, bad, good", s->name);
	tap_is(use(s, 5), 0, "%s: good, bad, good: the first can be used", s->name);
	tap_is(use(s, 6), -EFAULT, "%s: good, bad, good: the second is empty", s->name);
	descs[0] = descs[1] = (struct bario_regbuf_desc){ .type = BARIO_REGBUF_EMPTY };
	tap_is(update(s, 2, BARIO_RSRC_UPDATE_EXTENDED, descs, 2), 2, "%s: two of them go", s->name);
	tap_is(use(s, 3), -EFAULT, "%s: two of them go: the second is empty", s->name);
	tap_is(use(s, 4), 0, "%s: two of them go: the third is there", s->name);
}

static int read_memory(struct side *s, unsigned int slot, uint8_t *buf)
{
	struct io io = { .fd = drive, .slot = slot, .len = 8192, .buf = (uintptr_t)buf };
	int ret;

	memset(buf, 0, 8192);
	rig_fill_drive(drive, 7, 0, 8192);
	ret = submit_wait(s, &io, 1);
	return ret ? ret : bario_pattern_check(buf, 8192, 7, 0, NULL);
}

/* Memory by a descriptor and by an iovec, whose layout is the side's own. */
static void plain_memory(struct side *s)
{
	struct bario_regbuf_desc *desc = low(sizeof(*desc));
	struct { uint32_t base, len; } *narrow = low(sizeof(*narrow));
	struct iovec *wide = low(sizeof(*wide));
	uint8_t *buf = low(8192);

	*desc = (struct bario_regbuf_desc){
		.type = BARIO_REGBUF_UADDR, .uaddr = (uintptr_t)buf, .size = 8192,
	};
	tap_is(update(s, 7, BARIO_RSRC_UPDATE_EXTENDED, desc, 1), 1, "%s: memory by a descriptor", s->name);
	tap_is(read_memory(s, 7, buf), 0, "%s: memory by a descriptor: reads", s->name);
	*desc = dmabuf_desc();
	tap_is(update(s, 7, BARIO_RSRC_UPDATE_EXTENDED, desc, 1), 1, "%s: a dma-buf instead", s->name);
	tap_is(move(s, 7, 4 * KIB, false), 0, "%s: a dma-buf instead: reads", s->name);
	*narrow = (typeof(*narrow)){ (uintptr_t)buf, 8192 };
	*wide = (struct iovec){ buf, 8192 };
	tap_is(update(s, 7, 0, s->compat ? (void *)narrow : wide, 1), 1, "%s: memory by an iovec", s->name);
	tap_is(read_memory(s, 7, buf), 0, "%s: memory by an iovec: reads", s->name);
}

/* From the export on, by these calls alone: as a program would. */
static void whole_way(struct side *s)
{
	const struct export_row row = {
		.feature_flags = GET, .open_flags = O_CLOEXEC | O_RDWR, .nr = 1, .length = mem.size,
	};
	struct bario_regbuf_desc *desc = low(sizeof(*desc));
	long fd = export_range(s, &row);

	if (!tap_ok(fd > 0, "%s: the whole BAR is exported", s->name))
		return;
	*desc = dmabuf_desc();
	desc->dmabuf_fd = fd;
	tap_is(update(s, 0, BARIO_RSRC_UPDATE_EXTENDED, desc, 1), 1, "%s: and registered", s->name);
	close(fd);
	tap_is(move(s, 0, 64 * KIB, false), 0, "%s: and reads", s->name);
	tap_is(move(s, 0, 64 * KIB, true), 0, "%s: and writes", s->name);
}

int main(void)
{
	unsigned int j;

	need_i386_calls();
	rig_memory(&mem, "bar", 0);
	drive = rig_open_drive();
	for (j = 0; j < 2; j++)
		open_ring(&sides[j]);
	exports();
	wrong_words();
	wrong_files();
	wrong_calls();
	for (j = 0; j < 2; j++) {
		whole_way(&sides[j]);
		several(&sides[j]);
		plain_memory(&sides[j]);
	}
	for (j = 0; j < 2; j++)
		io_uring_queue_exit(&sides[j].ring);
	close(drive);
	rig_free_memory(&mem);
	return tap_done();
}
