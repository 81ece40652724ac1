// SPDX-License-Identifier: GPL-2.0-or-later
/* See churn.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "churn.h"
#include "tap.h"

#define SECTOR 512u
#define GUARD 64u		/* bytes that are looked at around a request's */

/**
 * struct churn_slot - a request and its windows
 * @io:		the request
 * @disk:	what its window on the drive holds
 * @at:		where in that window the request is
 * @mem_at:	where in the buffer's window
 * @lo:		how many bytes in front of it have the filler, @hi: behind it
 * @filler:	seed of what the buffer held before
 */
struct churn_slot {
	struct io io;
	uint8_t *disk;
	uint32_t at;
	uint32_t mem_at;
	uint32_t lo;
	uint32_t hi;
	uint64_t filler;
	bool reread;
};

/* xorshift64*: the same requests for the same seed. */
static uint32_t draw(struct churn *c, uint32_t n)
{
	c->seed ^= c->seed >> 12;
	c->seed ^= c->seed << 25;
	c->seed ^= c->seed >> 27;
	return (uint32_t)((c->seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static uint8_t *mem_of(struct churn *c, struct churn_slot *s)
{
	return c->mem->cpu + c->buf + (uint64_t)(s - c->slots) * c->window;
}

static uint64_t dev_of(struct churn *c, struct churn_slot *s)
{
	return c->dev + (uint64_t)(s - c->slots) * c->window;
}

static void prepare(struct churn *c, struct churn_slot *s)
{
	uint8_t *mem = mem_of(c, s);
	uint32_t len, room;

	if (s->reread) {
		len = s->io.len;
		s->io.write = false;
	} else {
		len = (1 + draw(c, c->window / SECTOR)) * SECTOR;
		s->at = draw(c, (c->window - len) / SECTOR + 1) * SECTOR;
		s->io.write = draw(c, 2);
	}
	room = c->window - len;
	/* a quarter at any address that the drive takes, the others on a sector */
	s->mem_at = draw(c, 4) ? draw(c, room / SECTOR + 1) * SECTOR : draw(c, room / 4 + 1) * 4;
	s->lo = s->mem_at < GUARD ? s->mem_at : GUARD;
	s->hi = room - s->mem_at < GUARD ? room - s->mem_at : GUARD;
	s->filler = ((uint64_t)draw(c, ~0u) << 20) | 1;
	bario_pattern_fill(mem + s->mem_at - s->lo, s->lo + len + s->hi, s->filler, 0);
	if (s->io.write)
		memcpy(s->disk + s->at, mem + s->mem_at, len);
	s->io.fd = c->drive;
	s->io.flags = c->sqe_flags;
	s->io.len = len;
	s->io.buf = c->buf + (uint64_t)(s - c->slots) * c->window + s->mem_at;
	s->io.dev = dev_of(c, s) + s->at;
}

static unsigned long differing(const uint8_t *a, const uint8_t *b, size_t len)
{
	unsigned long n = 0;
	size_t i;

	if (!memcmp(a, b, len))
		return 0;
	for (i = 0; i < len; i++)
		n += a[i] != b[i];
	return n;
}

/* The buffer after a read, or after a write, which leaves it alone. */
static unsigned long wrong_bytes(struct churn *c, struct churn_slot *s)
{
	uint8_t *mem = mem_of(c, s) + s->mem_at, want[2 * GUARD];
	unsigned long n;

	bario_pattern_fill(want, s->lo, s->filler, 0);
	n = differing(mem - s->lo, want, s->lo);
	bario_pattern_fill(want, s->hi, s->filler, s->lo + s->io.len);
	n += differing(mem + s->io.len, want, s->hi);
	return n + differing(mem, s->disk + s->at, s->io.len);
}

/* Nobody knows what a write that failed has written. */
static void write_anew(struct churn *c, struct churn_slot *s)
{
	void *plain = rig_alloc(s->io.len);

	memcpy(plain, s->disk + s->at, s->io.len);
	if (pwrite(c->drive, plain, s->io.len, s->io.dev) != (ssize_t)s->io.len)
		c->wrong++;
	free(plain);
}

static void judge(struct churn *c, struct churn_slot *s)
{
	s->reread = false;
	if (s->io.res == (int)s->io.len) {
		c->wrong += wrong_bytes(c, s);
		s->reread = s->io.write;
		atomic_fetch_add(&c->done, 1);
		return;
	}
	if (c->allowed && s->io.res == c->allowed) {
		atomic_fetch_add(&c->refused, 1);
	} else {
		c->other++;
		c->other_result = s->io.res;
	}
	if (s->io.write)
		write_anew(c, s);
}

/* Start those that are done anew, or with @drain only judge them; how many run. */
static unsigned int turn(struct churn *c, bool drain)
{
	unsigned int most = atomic_load(&c->most), i, running = 0;

	for (i = 0; i < most; i++) {
		struct churn_slot *s = &c->slots[i];

		if (!s->io.done) {
			running++;
			continue;
		}
		if (s->io.len)
			judge(c, s);
		s->io.len = drain ? 0 : s->io.len;
		if (drain)
			continue;
		prepare(c, s);
		io_queue(&c->ring, &s->io);
		running++;
	}
	return running;
}

static void *churn_thread(void *arg)
{
	struct churn *c = arg;
	unsigned int running;
	bool drain = false;

	/* In the thread that submits, as some kinds of ring want it. */
	rig_ring(&c->ring, c->depth, c->ring_flags);
	rig_register(&c->ring, 0, c->mem, c->drive);
	while (!c->hangs && (running = turn(c, drain))) {
		atomic_store(&c->running, running);
		if (io_uring_submit(&c->ring) < 0 || io_wait(&c->ring, NULL))
			c->hangs = true;
		drain = drain || atomic_load(&c->stop);
	}
	return NULL;
}

static void fill_drive(struct churn *c)
{
	size_t len = (size_t)c->depth * c->window;
	uint8_t *all = rig_alloc(len);
	unsigned int i;

	bario_pattern_fill(all, len, c->seed, 0);
	if (pwrite(c->drive, all, len, c->dev) != (ssize_t)len)
		tap_bail("plain pwrite of %zu bytes: %s", len, strerror(errno));
	for (i = 0; i < c->depth; i++) {
		c->slots[i].disk = malloc(c->window);
		if (!c->slots[i].disk)
			tap_bail("no memory");
		memcpy(c->slots[i].disk, all + (size_t)i * c->window, c->window);
		c->slots[i].io.done = true;
	}
	free(all);
}

void churn_start(struct churn *c)
{
	static uint64_t seeds;

	if (!c->seed)
		c->seed = 0x9e3779b97f4a7c15ull * ++seeds;
	c->slots = calloc(c->depth, sizeof(*c->slots));
	if (!c->slots)
		tap_bail("no memory");
	fill_drive(c);
	atomic_init(&c->stop, false);
	atomic_init(&c->most, c->first ? c->first : c->depth);
	atomic_init(&c->running, 0);
	if (pthread_create(&c->thread, NULL, churn_thread, c))
		tap_bail("no thread");
}

/* By plain I/O: what the drive holds in the end is what was written. */
static void check_drive(struct churn *c)
{
	size_t len = (size_t)c->depth * c->window;
	uint8_t *all = rig_alloc(len);
	unsigned int i;

	if (pread(c->drive, all, len, c->dev) != (ssize_t)len)
		c->wrong += len;
	else
		for (i = 0; i < c->depth; i++)
			c->wrong += differing(all + (size_t)i * c->window, c->slots[i].disk, c->window);
	free(all);
}

void churn_stop(struct churn *c)
{
	unsigned int i;

	atomic_store(&c->stop, true);
	pthread_join(c->thread, NULL);
	if (!c->hangs)
		check_drive(c);
	io_uring_queue_exit(&c->ring);
	for (i = 0; i < c->depth; i++)
		free(c->slots[i].disk);
	free(c->slots);
}

bool churn_rise(struct churn *c, unsigned int n)
{
	unsigned int i;

	atomic_store(&c->most, n);
	for (i = 0; i < IO_LIMIT_S * 1000 && !c->hangs && atomic_load(&c->running) < n; i++)
		usleep(1000);
	return atomic_load(&c->running) >= n;
}

bool churn_wait(struct churn *c, unsigned long n)
{
	unsigned long from = atomic_load(&c->done);
	unsigned int i;

	for (i = 0; i < IO_LIMIT_S * 100 && !c->hangs; i++) {
		if (atomic_load(&c->done) - from >= n)
			return true;
		usleep(10000);
	}
	return false;
}

bool churn_held(const struct churn *c)
{
	return !c->hangs && !c->other && !c->wrong && c->done;
}

const char *churn_text(struct churn *c)
{
	snprintf(c->text, sizeof(c->text),
		 "%lu requests well, %lu refused, %lu failed (last %d), %lu wrong bytes%s",
		 (unsigned long)c->done, (unsigned long)c->refused, c->other, c->other_result,
		 c->wrong, c->hangs ? ", a hang" : "");
	return c->text;
}
