// SPDX-License-Identifier: GPL-2.0-or-later
/* Verified I/O in flight; see flow.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include "flow.h"
#include "tap.h"

pthread_rwlock_t flow_cpu = PTHREAD_RWLOCK_INITIALIZER;

static uint64_t source_seed(const struct flow *f)
{
	return f->seed;
}

static uint64_t poison_seed(const struct flow *f)
{
	return f->seed + 1 + f->rounds;
}

static uint8_t *cpu_of(struct flow *f, unsigned int i)
{
	return f->mem->cpu + f->buf + (uint64_t)i * f->block;
}

static void flow_io(struct flow *f, bool write, void *mem)
{
	size_t len = (size_t)FLOW_DEPTH * f->block;
	ssize_t n = write ? pwrite(f->drive, mem, len, f->dev) : pread(f->drive, mem, len, f->dev);

	if (n != (ssize_t)len)
		f->wrong++;
}

static void poison(struct flow *f)
{
	size_t len = (size_t)FLOW_DEPTH * f->block;

	if (f->write) {
		bario_pattern_fill(f->plain, len, poison_seed(f), 0);
		flow_io(f, true, f->plain);
		return;
	}
	pthread_rwlock_rdlock(&flow_cpu);
	bario_pattern_fill(cpu_of(f, 0), len, poison_seed(f), 0);
	pthread_rwlock_unlock(&flow_cpu);
}

/* Is each byte either the poison's or the source's? */
static bool torn(struct flow *f, const uint8_t *got, uint64_t offset)
{
	uint64_t want[2];
	uint32_t i;

	for (i = 0; i < f->block; i += 8) {
		want[0] = bario_pattern_word(source_seed(f), offset + i);
		want[1] = bario_pattern_word(poison_seed(f), offset + i);
		if (memcmp(got + i, &want[0], 8) && memcmp(got + i, &want[1], 8))
			return true;
	}
	return false;
}

static void judge(struct flow *f, struct io *io, const uint8_t *got, uint64_t offset)
{
	if (io->res == (int)io->len) {
		f->good++;
		f->wrong += bario_pattern_check(got, f->block, source_seed(f), offset, NULL) != 0;
		return;
	}
	f->wrong += torn(f, got, offset);
	if (io->res == -ENODEV) {
		f->refused++;
	} else if (f->allowed && io->res == f->allowed) {
		f->spared++;
	} else {
		f->other++;
		f->other_result = io->res;
	}
}

static void check(struct flow *f)
{
	uint64_t offset;
	unsigned int i;

	if (f->write)
		flow_io(f, false, f->plain);
	else
		pthread_rwlock_rdlock(&flow_cpu);
	pthread_mutex_lock(&f->lock);
	for (i = 0; i < FLOW_DEPTH; i++) {
		offset = (uint64_t)i * f->block;
		judge(f, &f->ios[i], f->write ? f->plain + offset : cpu_of(f, i), offset);
	}
	f->rounds++;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
	if (!f->write)
		pthread_rwlock_unlock(&flow_cpu);
}

static bool round_trip(struct flow *f)
{
	unsigned int i;

	poison(f);
	for (i = 0; i < FLOW_DEPTH; i++) {
		f->ios[i] = (struct io){
			.fd = f->drive, .write = f->write, .len = f->block,
			.buf = f->buf + (uint64_t)i * f->block,
			.dev = f->dev + (uint64_t)i * f->block,
		};
		io_queue(&f->ring, &f->ios[i]);
	}
	io_uring_submit(&f->ring);
	pthread_mutex_lock(&f->lock);
	f->submitted++;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
	if (io_wait_all(&f->ring, f->ios, FLOW_DEPTH) == -ETIME) {
		pthread_mutex_lock(&f->lock);
		f->hangs = true;
		pthread_cond_broadcast(&f->moved);
		pthread_mutex_unlock(&f->lock);
		return false;
	}
	check(f);
	return true;
}

static void *flow_thread(void *arg)
{
	struct flow *f = arg;

	/* In the thread that submits, as some kinds of ring want it. */
	rig_ring(&f->ring, 2 * FLOW_DEPTH, f->ring_flags);
	rig_register(&f->ring, 0, f->mem, f->drive);
	while (!atomic_load(&f->stop) && round_trip(f))
		;
	return NULL;
}

void flow_start(struct flow *f)
{
	size_t len = (size_t)FLOW_DEPTH * f->block;
	static uint64_t seeds = 1;

	f->seed = ++seeds << 40;
	f->plain = rig_alloc(len);
	if (f->write) {
		bario_pattern_fill(cpu_of(f, 0), len, source_seed(f), 0);
	} else {
		bario_pattern_fill(f->plain, len, source_seed(f), 0);
		flow_io(f, true, f->plain);
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
	atomic_init(&f->stop, false);
	if (pthread_create(&f->thread, NULL, flow_thread, f))
		tap_bail("no thread");
}

/* Wait for a counter to pass a value, at most as long as a request may take. */
static bool wait_past(struct flow *f, unsigned long *counter, unsigned long value)
{
	struct timespec limit;
	bool ok = true;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += IO_LIMIT_S;
	while (ok && *counter < value && !f->hangs)
		ok = !pthread_cond_timedwait(&f->moved, &f->lock, &limit);
	return *counter >= value;
}

bool flow_wait_submitted(struct flow *f)
{
	bool ok;

	pthread_mutex_lock(&f->lock);
	ok = wait_past(f, &f->submitted, f->submitted + 1);
	pthread_mutex_unlock(&f->lock);
	return ok;
}

bool flow_wait_count(struct flow *f, unsigned long *counter, unsigned long n)
{
	bool ok;

	pthread_mutex_lock(&f->lock);
	ok = wait_past(f, counter, *counter + n);
	pthread_mutex_unlock(&f->lock);
	return ok;
}

void flow_stop(struct flow *f)
{
	atomic_store(&f->stop, true);
	pthread_join(f->thread, NULL);
}

void flow_end(struct flow *f)
{
	io_uring_queue_exit(&f->ring);
	free(f->plain);
}
