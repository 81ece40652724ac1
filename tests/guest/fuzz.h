/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FUZZ_H
#define BARIO_TESTS_FUZZ_H

/*
 * What the parts of fuzz.c share: a thread's state, its dice, and what calls may end
 * with. It and the other two are included by fuzz.c alone.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"
#include "tap.h"

#define PAGE 4096ull
#define MIB (1ull << 20)
#define MAX_RW 0x7ffff000u
#define CLONE_BUFFERS 30

/* The drive: fuzzed up to FUZZED, then the last check's, the partition, the canary. */
#define FUZZED (512 * MIB)
#define CHECKED (768 * MIB)
#define PART_AT (832 * MIB)
#define PART_SIZE (64 * MIB)
#define CANARY_AT (PART_AT + PART_SIZE)
/* The BAR: what is written to, and then what never is. */
#define BAR_FUZZED (192 * MIB)
#define CANARY (16 * MIB)
#define CANARY_SEED 0xca9a21

#define MAX_THREADS 16
#define SLOTS 8
#define BUFS 6
#define REQS 32
#define SCRATCH (4 * MIB)
#define HANG_S 150

enum file { DRIVE, DRIVE_RO, DRIVE_WO, PART, OTHER_DISK, PIPE_R, PIPE_W, TMPFS, NO_FILE, FILES };
enum kind { NOTHING, PLAIN, DMABUF };

/* What a call may end with. */
struct want {
	bool unknown;		/* cannot be told */
	bool wrong;		/* must fail */
	unsigned int n;
	int err[24];
};

struct buf {
	int fd;
	uint64_t size;
	unsigned int mode;
};

struct slot {
	enum kind kind;
	uint64_t size;
	unsigned int mode;
};

struct req {
	bool busy, may_cancel, may_be_short;
	bool indirect;		/* wrong because of fcntl() */
	unsigned int direct_turn;
	uint32_t len;
	struct want want;
	char what[160];
};

struct thread {
	unsigned int nr;
	uint64_t state;
	pthread_t pthread;
	uint64_t digest;	/* of what was decided, called with, and came of it at once */
	atomic_ulong steps;
	_Atomic(const char *) doing;
	bool ended;

	struct io_uring ring;
	unsigned int setup;
	bool table;
	bool drains;		/* uses IOSQE_IO_DRAIN, and nothing that it miscounts */
	struct slot slots[SLOTS];
	struct buf bufs[BUFS];
	struct req reqs[REQS];
	int files[FILES];
	bool direct;
	unsigned int direct_turn;
	int sock, ng;
	uint8_t *scratch;

	unsigned long moved, refused, exports, registered;
};

static struct thread threads[MAX_THREADS];
static unsigned int nr_threads = 3;
static unsigned long max_steps = -1ul;
static double seconds = 20;
static uint64_t drive_size;
static bool polls, still;
static atomic_bool stop;
static atomic_ulong violations, takes, kills;

static struct rig_bar bar;
static atomic_int bar_fd;	/* another file's number, or none's, when it is closed */
static pthread_rwlock_t bar_lock = PTHREAD_RWLOCK_INITIALIZER;	/* to write: closed */
static pthread_mutex_t say_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t draw(struct thread *t)
{
	uint64_t z = (t->state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void note(struct thread *t, uint64_t value)
{
	t->digest = (t->digest ^ value) * 0x9e3779b97f4a7c15ull;
	t->digest ^= t->digest >> 29;
}

/* The range is noted, too: it is what the dice are thrown for. */
static uint64_t below(struct thread *t, uint64_t n)
{
	uint64_t value = draw(t) % n;

	note(t, n);
	note(t, value);
	return value;
}

static bool chance(struct thread *t, unsigned int percent)
{
	return below(t, 100) < percent;
}

/* A number at one of the places where sums and types end. */
static uint64_t edge(struct thread *t, uint64_t size)
{
	const uint64_t at[] = { 0, 512, PAGE, size, 1ull << 31, 1ull << 32, 1ull << 63, MAX_RW };
	const int64_t by[] = { 0, 1, -1, 4, -4, 512, -512, 4096, -4096 };

	return at[below(t, 8)] + by[below(t, 9)];
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static TAP_FORMAT(2) void violation(struct thread *t, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&say_lock);
	if (violations++ < 10)
		tap_diag("thread %u, step %lu: %s", t->nr, t->steps, text);
	pthread_mutex_unlock(&say_lock);
}

static void allow(struct want *w, int err)
{
	w->err[w->n++] = err;
}

/* Something is wrong: the call must fail, with @err if with nothing else that is wrong. */
static void wrong(struct want *w, int err)
{
	w->wrong = true;
	allow(w, err);
}

static bool allowed(const struct want *w, int res)
{
	unsigned int i;

	for (i = 0; i < w->n; i++)
		if (w->err[i] == res)
			return true;
	return w->unknown || (res >= 0 && !w->wrong);
}

static int reg(int fd, unsigned int op, const void *arg, unsigned int n)
{
	long ret = syscall(__NR_io_uring_register, fd, op, arg, n);

	return ret < 0 ? -errno : ret;
}

#endif
