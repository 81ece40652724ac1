// SPDX-License-Identifier: GPL-2.0-or-later
/* See pest.h. */
#define _GNU_SOURCE
#include <errno.h>
#include "io.h"
#include "pest.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)

static void pest_fails(struct pest *p, int result)
{
	p->failed++;
	p->result = result;
}

static void pest_result(struct pest *p, int result)
{
	if (result && !(p->away && (result == -ENODEV || result == p->tolerated)))
		pest_fails(p, result);
}

static int pest_register(struct pest *p, struct io_uring *ring)
{
	return rig_try_register(ring, 1, p->mem->fd, p->drive);
}

static void pest_round(struct pest *p, struct io_uring *ring)
{
	struct io io = {
		.fd = p->drive, .slot = 1, .buf = 40 * MIB, .dev = 40 * MIB, .len = 64 * KIB,
	};
	int ret = pest_register(p, ring);

	/* what it says while the drive is on its way is not what counts */
	if (ret && p->away)
		ret = pest_register(p, ring);
	pest_result(p, ret);
	if (ret)
		return;
	if (p->reads) {
		io_queue(ring, &io);
		io_uring_submit(ring);
	}
	pest_result(p, bario_ring_clear(ring->ring_fd, 1, NULL));
	if (p->reads)
		pest_result(p, io_wait_all(ring, &io, 1));
}

static void *pest_thread(void *arg)
{
	struct pest *p = arg;
	struct io_uring ring;
	int ret;

	rig_ring(&ring, 8, 0);
	for (; !atomic_load(&p->stop); p->rounds++) {
		pest_round(p, &ring);
		if (p->rounds % 4 != 3)
			continue;
		atomic_fetch_add(&p->resets, 1);
		ret = bario_dev_reset(p->mem->bar.dev, NULL);
		if (ret)
			pest_fails(p, ret);
	}
	io_uring_queue_exit(&ring);
	return NULL;
}

void pest_start(struct pest *p)
{
	p->rounds = 0;
	p->failed = 0;
	p->result = 0;
	atomic_init(&p->resets, 0);
	atomic_init(&p->stop, false);
	if (pthread_create(&p->thread, NULL, pest_thread, p))
		tap_bail("no thread");
}

bool pest_end(struct pest *p)
{
	atomic_store(&p->stop, true);
	pthread_join(p->thread, NULL);
	return !p->failed && p->rounds;
}

const char *pest_text(const struct pest *p)
{
	static char text[128];

	snprintf(text, sizeof(text), "%lu registrations and %lu revocations beside it (%lu failed, last %d)",
		 p->rounds, (unsigned long)p->resets, p->failed, p->result);
	return text;
}

int pest_fresh(struct rig_memory *mem, int drive)
{
	struct rig_transfer t = {
		.slot = 2, .file = drive, .block = 64 * KIB, .count = 16, .depth = 8,
		.buf = 48 * MIB, .dev = 48 * MIB,
	};
	struct io_uring ring;
	int ret;

	rig_ring(&ring, 64, 0);
	ret = rig_try_register(&ring, t.slot, mem->fd, drive);
	if (!ret)
		ret = rig_transfer(&ring, mem, &t);
	t.write = true;
	if (!ret)
		ret = rig_transfer(&ring, mem, &t);
	io_uring_queue_exit(&ring);
	return ret;
}
