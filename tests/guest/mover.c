// SPDX-License-Identifier: GPL-2.0-or-later
/* See mover.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "mover.h"
#include "tap.h"

#define NODE "/dev/dmabuf_exporter"

int mover_try_create(struct mover *m, const uint64_t *lens, unsigned int nr, unsigned int repeat,
		     unsigned int open_flags, unsigned int flags)
{
	struct dmabuf_exporter_create arg = {
		.lens = (uintptr_t)lens, .nr = nr, .repeat = repeat, .open_flags = open_flags,
		.flags = flags,
	};
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->mem.name = "mover";
	rig_load_module("dmabuf_exporter");
	m->ctl = open(NODE, O_RDWR | O_CLOEXEC);
	if (m->ctl < 0)
		tap_bail("%s: %s", NODE, strerror(errno));
	m->mem.fd = ioctl(m->ctl, DMABUF_EXPORTER_CREATE, &arg);
	if (m->mem.fd < 0) {
		int ret = -errno;

		close(m->ctl);
		return ret;
	}
	for (i = 0; i < nr; i++)
		m->mem.size += lens[i] * repeat;
	return 0;
}

void mover_map(struct mover *m)
{
	struct bario_err err;
	void *addr;

	if (bario_dmabuf_map(m->mem.fd, m->mem.size, &addr, &err))
		tap_bail("%s", err.msg);
	m->mem.cpu = addr;
}

void mover_create(struct mover *m, unsigned int nr, uint64_t len)
{
	uint64_t *lens = calloc(nr, sizeof(*lens));
	unsigned int i;
	int ret;

	if (!lens)
		tap_bail("no memory");
	for (i = 0; i < nr; i++)
		lens[i] = len;
	ret = mover_try_create(m, lens, nr, 1, O_RDWR | O_CLOEXEC, 0);
	free(lens);
	if (ret)
		tap_bail("%u extents of %lu bytes: %s", nr, (long)len, strerror(-ret));
	mover_map(m);
}

void mover_destroy(struct mover *m)
{
	if (m->mem.cpu)
		munmap(m->mem.cpu, m->mem.size);
	close(m->mem.fd);
	close(m->ctl);
}

int mover_call(struct mover *m, unsigned long request)
{
	return ioctl(m->ctl, request) ? -errno : 0;
}

int mover_hold(struct mover *m, uint32_t ms, uint32_t flags, uint64_t *ns)
{
	struct dmabuf_exporter_hold arg = { .ms = ms, .flags = flags };

	if (ioctl(m->ctl, DMABUF_EXPORTER_HOLD, &arg))
		return -errno;
	if (ns)
		*ns = arg.ns;
	return 0;
}

void mover_behave(struct mover *m, const struct dmabuf_exporter_behave *how)
{
	if (ioctl(m->ctl, DMABUF_EXPORTER_BEHAVE, how))
		tap_bail("BEHAVE: %s", strerror(errno));
}

struct dmabuf_exporter_status mover_status(struct mover *m)
{
	struct dmabuf_exporter_status status;

	if (ioctl(m->ctl, DMABUF_EXPORTER_STATUS, &status))
		tap_bail("STATUS: %s", strerror(errno));
	return status;
}

int mover_entries(struct mover *m, struct dmabuf_exporter_entry *entries, unsigned int room)
{
	struct dmabuf_exporter_entries arg = { .entries = (uintptr_t)entries, .nr = room };

	return ioctl(m->ctl, DMABUF_EXPORTER_ENTRIES, &arg) ? -errno : (int)arg.nr;
}

bool mover_wait_blocked(struct mover *m, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		if (mover_status(m).blocked == n)
			return true;
		usleep(10000);
	}
	return false;
}

static void *mover_thread(void *arg)
{
	struct mover *m = arg;
	struct timespec from, to;
	long us;

	while (!atomic_load(&m->stop)) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		if (mover_call(m, DMABUF_EXPORTER_MOVE))
			atomic_fetch_add(&m->refused, 1);
		else
			atomic_fetch_add(&m->moves, 1);
		clock_gettime(CLOCK_MONOTONIC, &to);
		us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
		usleep(m->rests && us > m->period_us ? us : m->period_us);
	}
	return NULL;
}

void mover_start(struct mover *m, unsigned int period_us)
{
	m->period_us = period_us;
	atomic_init(&m->moves, 0);
	atomic_init(&m->refused, 0);
	atomic_init(&m->stop, false);
	if (pthread_create(&m->thread, NULL, mover_thread, m))
		tap_bail("no thread");
}

void mover_stop(struct mover *m)
{
	unsigned int i;

	for (i = 0; i < 1000 && !atomic_load(&m->moves) && !atomic_load(&m->refused); i++)
		usleep(10000);
	atomic_store(&m->stop, true);
	pthread_join(m->thread, NULL);
}
