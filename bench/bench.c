// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an I/O costs in instructions, in a machine that counts them.
 *
 *	bench [--reps N] [--events] CASE...
 *
 * CASE is WAY:OP:BLOCK:DEPTH:HOW, as in bar:read:4096:32:irq. OP is read, write, or
 * randread: the same at random places of the buffer. HOW is irq or poll. Each prints one
 * line of words key=value.
 *
 * A closed loop in rounds: as many requests as the depth has, with one system call; then
 * the thread spins in user space until the last one has completed; then the next round.
 * The processor never idles, so virtual time, in which each instruction takes a
 * nanosecond, is a count of instructions, and so is the time stamp counter. The
 * instructions of the spinning itself are known and are taken off. For polled rings
 * nothing completes by itself: the thread spins for as long as the drive mostly takes, and
 * then reaps. Calls that found nothing are waiting as well: they are told, and taken off.
 *
 * How many interrupts the completions of a round need is the host's affair, and each costs
 * some hundred instructions: they are told, too.
 */
#define _GNU_SOURCE
#include <bario.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nvme_ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <x86intrin.h>

#include "case.h"

#define MAX_REPS	32
#define MAX_ROUNDS	4096
#define PLACES		4096		/* random numbers, made before anything is counted */
#define SPIN_STEPS	4		/* instructions of a turn in spin() */
/*
 * Turns that a drive is given before it is polled: a call that finds a part of a round only
 * costs, and at depth 1 there is none.
 */
#define POLL_SPIN(depth)	((depth) == 1 ? 1u << 15 : 1u << 18)

/* For profile/plugin.c: what runs in between is counted. No-operations for everybody else. */
#define MARK(n) asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00, " #n ", 0x52, 0x41, 0x4d" : : : "memory")

struct bench {
	struct bench_case c;
	struct bench_buffer *buffer;
	struct io_uring ring;
	int drive;		/* block device, or the generic one for passthrough */
	unsigned int number;	/* of the controller, and of its namespace */
	unsigned int ns;
	uint32_t block_shift;	/* of the drive's blocks */
	uint32_t nsid;
	uint64_t span;		/* blocks of the case on the drive */
	uint64_t places;	/* of the case in the buffer */
	uint64_t waited;	/* instructions of spinning, so far */
	uint64_t idle_polls;
};

static uint32_t random_place[PLACES];

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Spin until the counter has come to @target, or for @limit turns; SPIN_STEPS a turn. */
static uint64_t spin(const unsigned int *counter, unsigned int target, uint64_t limit)
{
	uint64_t left = limit;

	asm volatile("1:\n\t"
		     "cmp %1, %2\n\t"
		     "je 2f\n\t"
		     "dec %0\n\t"
		     "jnz 1b\n\t"
		     "2:"
		     : "+r" (left) : "m" (*counter), "r" (target) : "cc", "memory");
	return limit - left;
}

/* How many commands the drive itself counted. */
static uint64_t commands_of_drive(const struct bench *b)
{
	unsigned char log[512];
	char path[32];
	struct nvme_admin_cmd cmd = {
		.opcode = 0x02, .nsid = 0xffffffff, .addr = (uintptr_t)log,
		.data_len = sizeof(log), .cdw10 = (sizeof(log) / 4 - 1) << 16 | 0x02,
	};
	uint64_t reads, writes;
	int fd;

	snprintf(path, sizeof(path), "/dev/nvme%u", b->number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd))
		die("cannot read the log page of %s: %s", path, strerror(errno));
	close(fd);
	memcpy(&reads, log + 64, 8);
	memcpy(&writes, log + 80, 8);
	return b->c.write ? writes : reads;
}

/* The interrupts of the drive's I/O queues so far. */
static uint64_t interrupts_of_drive(const struct bench *b)
{
	FILE *file = fopen("/proc/interrupts", "re");
	char line[4096], name[32];
	uint64_t sum = 0;

	if (!file)
		die("cannot read /proc/interrupts: %s", strerror(errno));
	snprintf(name, sizeof(name), " nvme%uq", b->number);
	while (fgets(line, sizeof(line), file)) {
		char *queue = strstr(line, name), *p = strchr(line, ':'), *end;

		if (!queue || !p || !strcmp(queue + strlen(name), "0\n"))
			continue;
		/* a number for each processor */
		for (p++;; p = end) {
			uint64_t n = strtoull(p, &end, 10);

			if (end == p || (*end != ' ' && *end != '\t'))
				break;
			sum += n;
		}
	}
	fclose(file);
	return sum;
}

static void prepare_rw(struct bench *b, struct io_uring_sqe *sqe, uint64_t at, uint64_t place)
{
	const struct bench_case *c = &b->c;
	bool token = b->buffer->dmabuf >= 0;
	void *addr = token ? (void *)(uintptr_t)place : b->buffer->addr + place;

	if (c->way == WAY_PLAIN) {
		if (c->write)
			io_uring_prep_write(sqe, b->drive, addr, c->block, at);
		else
			io_uring_prep_read(sqe, b->drive, addr, c->block, at);
	} else if (c->write) {
		io_uring_prep_write_fixed(sqe, b->drive, addr, c->block, at, 0);
	} else {
		io_uring_prep_read_fixed(sqe, b->drive, addr, c->block, at, 0);
	}
}

static void prepare_passthru(struct bench *b, struct io_uring_sqe *sqe, uint64_t at, uint64_t place)
{
	struct nvme_uring_cmd *cmd = (struct nvme_uring_cmd *)sqe->cmd;

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, b->drive, NULL, 0, 0);
	sqe->cmd_op = NVME_URING_CMD_IO;
	memset(cmd, 0, sizeof(*cmd));
	cmd->opcode = b->c.write ? 0x01 : 0x02;
	cmd->nsid = b->nsid;
	cmd->addr = (uintptr_t)b->buffer->addr + place;
	cmd->data_len = b->c.block;
	cmd->cdw10 = (uint32_t)(at >> b->block_shift);
	cmd->cdw11 = (uint32_t)(at >> b->block_shift >> 32);
	cmd->cdw12 = (b->c.block >> b->block_shift) - 1;
}

/* Where the @n-th I/O of a slot is in the buffer. */
static uint64_t place_of(const struct bench *b, unsigned int slot, uint64_t n)
{
	if (b->c.scattered)
		return random_place[(n * 7 + slot) % PLACES] % b->places * b->c.block;
	return (uint64_t)slot * b->c.block;
}

/*
 * What io_uring_submit() does, without the poll that it adds for polled rings: whether the
 * drive is done by then is the host's affair, and makes a system call more or less.
 */
static int submit_only(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;
	unsigned int tail = *sq->ktail, first = tail, mask = *sq->kring_mask;

	while (sq->sqe_head != sq->sqe_tail)
		sq->array[tail++ & mask] = sq->sqe_head++ & mask;
	__atomic_store_n(sq->ktail, tail, __ATOMIC_RELEASE);
	return io_uring_enter(ring->ring_fd, tail - first, 0, 0, NULL);
}

static void submit(struct bench *b, uint64_t round)
{
	const struct bench_case *c = &b->c;
	unsigned int slot;
	int ret;

	for (slot = 0; slot < c->depth; slot++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
		uint64_t n = round * c->depth + slot;
		uint64_t at = random_place[n % PLACES] % b->span * c->block;
		uint64_t place = place_of(b, slot, n);

		if (c->way == WAY_BOUNCE && c->write)
			bounce_copy(b->buffer->addr + place, b->buffer->bar + place, c->block);
		if (c->way == WAY_NOP)
			io_uring_prep_nop(sqe);
		else if (c->way == WAY_PASSTHRU)
			prepare_passthru(b, sqe, at, place);
		else
			prepare_rw(b, sqe, at, place);
		sqe->user_data = place;
	}
	ret = c->polled ? submit_only(&b->ring) : io_uring_submit(&b->ring);
	if (ret != (int)c->depth)
		die("%d of %u requests were submitted", ret, c->depth);
}

/* Take what has completed. */
static unsigned int reap(struct bench *b)
{
	const struct bench_case *c = &b->c;
	int want = c->way == WAY_NOP || c->way == WAY_PASSTHRU ? 0 : (int)c->block;
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&b->ring, head, cqe) {
		if (cqe->res != want)
			die("%s: an I/O ended with %d, not %d", way_name[c->way], cqe->res, want);
		if (c->way == WAY_BOUNCE && !c->write)
			bounce_copy(b->buffer->bar + cqe->user_data,
				    b->buffer->addr + cqe->user_data, c->block);
		n++;
	}
	io_uring_cq_advance(&b->ring, n);
	return n;
}

/* Only for polled rings is the kernel entered. */
static void finish_round(struct bench *b)
{
	unsigned int *tail = b->ring.cq.ktail, left = b->c.depth;
	int ret;

	if (!b->c.polled) {
		b->waited += spin(tail, *b->ring.cq.khead + left, UINT64_MAX) * SPIN_STEPS;
		reap(b);
		return;
	}
	while (left) {
		uint64_t start = __rdtsc(), end;
		unsigned int n;

		/* with the ticks of the timer: no completion comes in between */
		spin(tail, *b->ring.cq.khead + left, POLL_SPIN(b->c.depth));
		end = __rdtsc();
		ret = io_uring_enter(b->ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
		if (ret < 0)
			die("polling fails: %s", strerror(-ret));
		/* at once, as the kernel does not poll while there is something to take */
		n = reap(b);
		b->idle_polls += !n;
		/* one for passthrough may finish commands, and leave it to the next to say so */
		if (!n && b->c.way != WAY_PASSTHRU)
			end = __rdtsc();
		b->waited += end - start;
		left -= n;
	}
}

static void run(struct bench *b, uint64_t first, uint64_t rounds)
{
	uint64_t round;

	for (round = first; round < first + rounds; round++) {
		submit(b, round);
		finish_round(b);
	}
}

/* About as many rounds as the method asks for; fewer where an I/O is large. */
static uint64_t rounds_of(const struct bench_case *c)
{
	uint64_t ios = c->block <= 16384 ? 4800 : c->block <= 131072 ? 1920 : c->block <= 1 << 20 ? 256 : 64;
	uint64_t rounds = ios / c->depth;

	if (c->depth == 1)
		rounds /= 3;
	return rounds < 4 ? 4 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
}

static void open_ring(struct bench *b)
{
	struct io_uring_params params = { 0 };
	int ret;

	if (b->c.polled)
		params.flags |= IORING_SETUP_IOPOLL;
	if (b->c.way == WAY_PASSTHRU)
		params.flags |= IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	ret = io_uring_queue_init_params(128, &b->ring, &params);
	if (ret)
		die("no ring: %s", strerror(-ret));
}

static void open_drive(struct bench *b)
{
	const char *path = getenv("BARIO_NVME") ?: "/dev/nvme0n1";
	struct bario_disk disk;
	struct bario_err err;
	char generic[32];

	if (bario_disk_info(path, &disk, &err))
		die("%s", err.msg);
	if (sscanf(disk.name, "nvme%un%u", &b->number, &b->ns) != 2)
		die("%s is no NVMe drive", path);
	snprintf(generic, sizeof(generic), "/dev/ng%un%u", b->number, b->ns);
	b->block_shift = (uint32_t)__builtin_ctz(disk.block);
	b->span = disk.size / b->c.block;
	/* the generic device knows no O_DIRECT, and refuses it */
	if (b->c.way == WAY_PASSTHRU)
		b->drive = open(generic, O_RDWR | O_CLOEXEC);
	else
		b->drive = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (b->drive < 0)
		die("cannot open the drive: %s", strerror(errno));
	if (b->c.way == WAY_PASSTHRU)
		b->nsid = (uint32_t)ioctl(b->drive, NVME_IOCTL_ID);
}

/* Events of the kernel in a steady window, per thousand I/Os. */
static const char *const events[] = {
	"kmem:kmalloc", "kmem:kmem_cache_alloc", "kmem:mm_page_alloc",
	"dma:dma_map_page", "dma:dma_map_sg", "dma:dma_unmap_page", "dma:dma_unmap_sg",
	"dma:dma_map_resource", "dma:dma_unmap_resource", "swiotlb:swiotlb_bounced",
};

#define NR_EVENTS (sizeof(events) / sizeof(events[0]))

static void count_events(struct bench *b)
{
	uint64_t rounds = 1 + 64 / b->c.depth, copies = bounce_copies();
	struct bario_trace *trace;
	struct bario_err err;
	int64_t n[NR_EVENTS];
	unsigned int i;

	if (bario_trace_open(&trace, &err))
		die("%s", err.msg);
	for (i = 0; i < NR_EVENTS; i++)
		if (bario_trace_enable(trace, events[i], NULL, &err))
			die("%s", err.msg);
	run(b, 0, 2);
	bario_trace_clear(trace);
	copies = bounce_copies();
	run(b, 2, rounds);
	copies = bounce_copies() - copies;
	bario_trace_stop(trace);
	for (i = 0; i < NR_EVENTS; i++) {
		n[i] = bario_trace_count(trace, strchr(events[i], ':') + 1, &err);
		if (n[i] < 0)
			die("%s", err.msg);
	}
	bario_trace_close(trace);
	printf(" window=%" PRIu64 " slab=%" PRId64 " pages=%" PRId64 " maps=%" PRId64 " unmaps=%" PRId64
	       " swiotlb=%" PRId64 " copies=%" PRIu64, rounds * b->c.depth, n[0] + n[1], n[2],
	       n[3] + n[4] + n[7], n[5] + n[6] + n[8], n[9], copies);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct bench *b, unsigned int reps)
{
	uint64_t rounds = rounds_of(&b->c), ios = rounds * b->c.depth, cost[MAX_REPS];
	uint64_t commands, interrupts;
	unsigned int rep;

	run(b, 0, 1 + rounds / 10);
	b->idle_polls = 0;
	interrupts = interrupts_of_drive(b);
	commands = b->c.way == WAY_NOP ? 0 : commands_of_drive(b);
	for (rep = 0; rep < reps; rep++) {
		uint64_t start;

		b->waited = 0;
		MARK(1);
		start = __rdtsc();
		run(b, rep * rounds, rounds);
		MARK(2);
		/* in hundredths of an instruction an I/O */
		cost[rep] = (__rdtsc() - start - b->waited) * 100 / ios;
	}
	if (b->c.way != WAY_NOP)
		commands = commands_of_drive(b) - commands;
	interrupts = interrupts_of_drive(b) - interrupts;
	qsort(cost, reps, sizeof(*cost), compare);
	printf(" ios=%" PRIu64 " min=%.2f med=%.2f max=%.2f", ios, cost[0] / 100.0,
	       cost[reps / 2] / 100.0, cost[reps - 1] / 100.0);
	printf(" commands=%.3f irqs=%.3f idle_polls=%" PRIu64, (double)commands / (double)(ios * reps),
	       (double)interrupts / (double)(ios * reps), b->idle_polls);
	if (b->buffer->dmabuf >= 0)
		printf(" extents=%" PRIu64, b->buffer->extents);
}

static void run_case(const struct bench_case *c, unsigned int reps, bool with_events)
{
	struct bench b = { .c = *c, .drive = -1 };

	open_ring(&b);
	open_drive(&b);
	b.buffer = buffer_get(c->way);
	b.places = b.buffer->size / c->block;
	if ((uint64_t)c->block * c->depth > b.buffer->size || !b.span)
		die("a block of %u at depth %u does not fit", c->block, c->depth);
	buffer_register(b.buffer, &b.ring, b.drive);

	printf("way=%s op=%s block=%u depth=%u how=%s", way_name[c->way],
	       c->scattered ? "randread" : c->write ? "write" : "read", c->block, c->depth,
	       c->polled ? "poll" : "irq");
	measure(&b, reps);
	if (with_events)
		count_events(&b);
	putchar('\n');
	fflush(stdout);
	io_uring_queue_exit(&b.ring);
	close(b.drive);
}

static bool parse_case(char *text, struct bench_case *c)
{
	char *word[5], *p = text;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		word[i] = strsep(&p, ":");
		if (!word[i])
			return false;
	}
	memset(c, 0, sizeof(*c));
	while (c->way < NR_WAYS && strcmp(way_name[c->way], word[0]))
		c->way++;
	c->write = !strcmp(word[1], "write");
	c->scattered = !strcmp(word[1], "randread");
	c->block = (uint32_t)strtoul(word[2], NULL, 10);
	c->depth = (uint32_t)strtoul(word[3], NULL, 10);
	c->polled = !strcmp(word[4], "poll");
	return !p && c->way < NR_WAYS && c->block >= 512 && c->block <= 1u << 24 &&
	       !(c->block & (c->block - 1)) && c->depth && c->depth <= 128 &&
	       (c->write || c->scattered || !strcmp(word[1], "read")) &&
	       (c->polled || !strcmp(word[4], "irq"));
}

int main(int argc, char **argv)
{
	uint64_t state = 20261124;
	bool with_events = false;
	unsigned int reps = 5;
	struct bench_case c;
	int i;

	for (i = 0; i < PLACES; i++)
		random_place[i] = (uint32_t)next_random(&state);
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--events")) {
			with_events = true;
		} else if (!strcmp(argv[i], "--reps") && i + 1 < argc) {
			reps = (unsigned int)atoi(argv[++i]);
			if (!reps || reps > MAX_REPS)
				die("--reps is 1 to %u", MAX_REPS);
		} else if (parse_case(argv[i], &c)) {
			run_case(&c, reps, with_events);
		} else {
			die("'%s' is no WAY:read|write|randread:BLOCK:DEPTH:irq|poll", argv[i]);
		}
	}
	return 0;
}
