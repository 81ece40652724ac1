/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FUZZ_CALLS_H
#define BARIO_TESTS_FUZZ_CALLS_H

/* The part of fuzz.c that makes exports and registrations, right and wrong ones. */

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include "fuzz.h"

struct call {
	uint32_t argsz, feature_flags, region_index, open_flags, flags, nr_ranges;
	struct bario_vfio_range ranges[4];
};

static void note_words(struct thread *t, const void *words, size_t size)
{
	uint32_t word;
	size_t i;

	for (i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, (const char *)words + i, sizeof(word));
		note(t, word);
	}
}

static void good_call(struct thread *t, struct call *c, uint64_t *size)
{
	const unsigned int modes[] = { O_RDWR, O_RDWR, O_RDONLY, O_WRONLY };
	unsigned int i;

	memset(c, 0, sizeof(*c));
	c->nr_ranges = 1 + below(t, 4);
	c->argsz = sizeof(struct bario_vfio_export) + c->nr_ranges * sizeof(c->ranges[0]);
	c->feature_flags = VFIO_DEVICE_FEATURE_GET | BARIO_VFIO_FEATURE_DMA_BUF;
	c->region_index = bar.index;
	c->open_flags = modes[below(t, 4)] | O_CLOEXEC;
	*size = 0;
	for (i = 0; i < c->nr_ranges; i++) {
		struct bario_vfio_range *r = &c->ranges[i];

		r->length = (1 + below(t, chance(t, 50) ? 8 : 4096)) * PAGE;
		r->offset = below(t, (BAR_FUZZED - r->length) / PAGE + 1) * PAGE;
		if (chance(t, 30))
			r->offset = BAR_FUZZED - r->length;
		*size += r->length;
	}
}

static void spoil_call(struct thread *t, struct call *c, struct want *w)
{
	struct bario_vfio_range *r = &c->ranges[below(t, 4)];

	switch (below(t, 8)) {
	case 0:
		c->argsz = below(t, c->argsz ?: 1);
		wrong(w, -EINVAL);
		break;
	case 1:
		c->feature_flags |= 1u << (19 + below(t, 13));
		wrong(w, -EINVAL);
		break;
	case 2:
		c->region_index = chance(t, 50) ? 6 + below(t, 6) : edge(t, 6) | 1u << 31;
		wrong(w, -ENODEV);
		break;
	case 3:
		c->open_flags |= chance(t, 50) ? O_ACCMODE : 1u << (2 + below(t, 17));
		wrong(w, -EINVAL);
		break;
	case 4:
		c->flags = 1u << below(t, 32);
		wrong(w, -EINVAL);
		break;
	case 5:
		c->nr_ranges = chance(t, 30) ? 0 : 5 + below(t, 1ull << (2 + below(t, 30)));
		wrong(w, -EINVAL);
		allow(w, -E2BIG);
		break;
	case 6:
		r->offset = edge(t, bar.size);
		break;
	case 7:
		r->length = edge(t, bar.size);
		break;
	}
}

static void judge_ranges(const struct call *c, struct want *w)
{
	uint64_t end, sum = 0;
	unsigned int i;

	for (i = 0; i < c->nr_ranges && i < 4; i++) {
		const struct bario_vfio_range *r = &c->ranges[i];

		if (!r->length || (r->offset | r->length) & (PAGE - 1))
			wrong(w, -EINVAL);
		else if (__builtin_add_overflow(r->offset, r->length, &end))
			wrong(w, -EOVERFLOW);
		else if (end > bar.size)
			wrong(w, -EINVAL);
		if (__builtin_add_overflow(sum, r->length, &sum))
			allow(w, -EOVERFLOW);
	}
}

static void keep_buf(struct thread *t, int fd, uint64_t size, unsigned int mode)
{
	struct buf *b = &t->bufs[below(t, BUFS)];

	if (b->fd >= 0)
		close(b->fd);
	*b = (struct buf){ .fd = fd, .size = size, .mode = mode };
}

/* Half of the calls do not care whether the device is just being closed. */
static void do_export(struct thread *t)
{
	struct want want = { .unknown = false };
	unsigned int i, spoil = chance(t, 60) ? 1 + below(t, 2) : 0;
	bool sure = chance(t, 50);
	uint64_t size;
	struct call c;
	int fd;

	good_call(t, &c, &size);
	for (i = 0; i < spoil; i++)
		spoil_call(t, &c, &want);
	judge_ranges(&c, &want);
	if (sure)
		pthread_rwlock_rdlock(&bar_lock);
	fd = ioctl(bar_fd, VFIO_DEVICE_FEATURE, &c);
	fd = fd < 0 ? -errno : fd;
	if (sure)
		pthread_rwlock_unlock(&bar_lock);
	note_words(t, &c, sizeof(c));
	note(t, fd < 0 ? fd : 0);
	if (sure ? !allowed(&want, fd) : want.wrong && fd >= 0)
		violation(t, "an export with something wrong in %u places gave %d", spoil, fd);
	if (fd < 0)
		return;
	t->exports++;
	/* What is spoilt and right may reach the canary. */
	if (spoil)
		close(fd);
	else
		keep_buf(t, fd, size, c.open_flags & O_ACCMODE);
}

/* The registration */

static int bad_fd(struct thread *t, bool dmabuf, struct want *w)
{
	switch (below(t, 3)) {
	case 0:
		wrong(w, -EBADF);
		return chance(t, 50) ? -1 : (int)edge(t, 0) | 1 << 30;
	case 1:
		wrong(w, dmabuf ? -EINVAL : -EOPNOTSUPP);
		return t->files[TMPFS];
	default:
		wrong(w, dmabuf ? -EINVAL : -EOPNOTSUPP);
		return dmabuf ? t->files[DRIVE] : t->files[OTHER_DISK];
	}
}

static void spoil_desc(struct thread *t, struct bario_regbuf_desc *d, struct want *w)
{
	switch (below(t, 6)) {
	case 0:
		d->type = chance(t, 50) ? 3 + below(t, 1ull << 31) : below(t, 2);
		wrong(w, -EINVAL);
		break;
	case 1:
		d->flags = 1u << below(t, 32);
		wrong(w, -EINVAL);
		break;
	case 2:
		d->reserved[below(t, 6)] = draw(t) | 1;
		wrong(w, -EINVAL);
		break;
	case 3:
		*(chance(t, 50) ? &d->size : &d->uaddr) = edge(t, PAGE) | 2;
		wrong(w, -EINVAL);
		break;
	case 4:
		d->dmabuf_fd = bad_fd(t, true, w);
		break;
	case 5:
		d->target_fd = bad_fd(t, false, w);
		break;
	}
	/* A type that takes memory faults at it. */
	allow(w, -EFAULT);
}

/* A dma-buf of this thread for the drive; false: it has none. */
static bool good_desc(struct thread *t, struct bario_regbuf_desc *d, struct slot *s,
		      struct want *w)
{
	const struct buf *b = &t->bufs[below(t, BUFS)];
	const enum file targets[] = { DRIVE, DRIVE_RO, DRIVE_WO, PART };
	enum file target = targets[below(t, 4)];

	if (b->fd < 0)
		return false;
	*d = (struct bario_regbuf_desc){
		.type = BARIO_REGBUF_DMABUF, .dmabuf_fd = b->fd, .target_fd = t->files[target],
	};
	*s = (struct slot){ .kind = DMABUF, .size = b->size, .mode = b->mode };
	if (target == DRIVE && !t->direct)
		wrong(w, -EINVAL);
	return true;
}

static void spoil_update(struct thread *t, struct bario_rsrc_update *up, struct want *w)
{
	switch (below(t, 6)) {
	case 0:
		up->offset = SLOTS + edge(t, 0) % (1u << 31);
		wrong(w, -EINVAL);
		allow(w, -EOVERFLOW);
		break;
	case 1:
		up->flags |= ~BARIO_RSRC_UPDATE_EXTENDED & 1u << below(t, 32);
		if (up->flags != BARIO_RSRC_UPDATE_EXTENDED)
			wrong(w, -EINVAL);
		break;
	case 2:
		up->resv2 = 1 + below(t, UINT32_MAX);
		wrong(w, -EINVAL);
		break;
	case 3:
		up->nr = chance(t, 50) ? 0 : SLOTS + 1 + below(t, 1ull << 31);
		wrong(w, -EINVAL);
		allow(w, -EOVERFLOW);
		break;
	case 4:
		up->data = chance(t, 50) ? 0 : edge(t, 0) | 1ull << 62;
		wrong(w, -EFAULT);
		break;
	case 5:
		up->tags = edge(t, 0) | 1ull << 62;
		wrong(w, -EFAULT);
		break;
	}
}

static void do_register(struct thread *t)
{
	struct want want = { .unknown = false };
	unsigned int first = below(t, SLOTS), n = 1 + below(t, 3), i, spoilt;
	struct bario_regbuf_desc d[3];
	struct slot slots[3];
	uint64_t tags[3] = { 1ull << 63 | 1, 0, 1ull << 63 | 2 };
	struct bario_rsrc_update up = {
		.offset = first, .flags = BARIO_RSRC_UPDATE_EXTENDED, .nr = n,
		.data = (uintptr_t)d, .tags = !t->drains && chance(t, 50) ? (uintptr_t)tags : 0,
	};
	int ret;

	/* Of several only the first is judged: the others may be refused as well. */
	for (i = 0; i < n; i++)
		if (!good_desc(t, &d[i], &slots[i], i ? &(struct want){ .n = 0 } : &want))
			return;
	spoilt = chance(t, 40);
	if (spoilt && chance(t, 60))
		spoil_desc(t, &d[0], &want);
	else if (spoilt)
		spoil_update(t, &up, &want);
	if (!t->table)
		wrong(&want, -ENXIO);
	if (first + n > SLOTS)
		wrong(&want, -EINVAL);
	allow(&want, -ENODEV);
	ret = reg(t->ring.ring_fd, BARIO_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
	/* without the numbers of files, and where things are in memory */
	note(t, (uint64_t)up.offset << 32 | up.flags);
	note(t, (uint64_t)up.nr << 32 | up.resv2);
	note(t, (uint64_t)d[0].type << 32 | d[0].flags);
	note(t, ret);
	if (!allowed(&want, ret) || !ret || ret > (int)n)
		violation(t, "registering %u at %u gave %d", n, first, ret);
	for (i = 0; (int)i < ret && i < n; i++)
		t->slots[first + i] = slots[i];
	t->registered += ret > 0 ? ret : 0;
}

/* Ordinary memory, or nothing, by either kind of update. */
static void do_register_plain(struct thread *t)
{
	bool extended = chance(t, 50), memory = chance(t, 50);
	struct bario_regbuf_desc d = { .type = memory };
	struct iovec iov = { .iov_base = memory ? t->scratch : NULL, .iov_len = memory ? SCRATCH : 0 };
	unsigned int slot = below(t, SLOTS);
	struct bario_rsrc_update up = {
		.offset = slot, .nr = 1, .data = (uintptr_t)&iov,
	};
	int ret;

	if (extended) {
		d.uaddr = (uintptr_t)iov.iov_base;
		d.size = iov.iov_len;
		up.flags = BARIO_RSRC_UPDATE_EXTENDED;
		up.data = (uintptr_t)&d;
	}
	ret = reg(t->ring.ring_fd, BARIO_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
	if (ret != (t->table ? 1 : -ENXIO))
		violation(t, "registering plain memory gave %d", ret);
	if (ret == 1)
		t->slots[slot] = (struct slot){ .kind = memory ? PLAIN : NOTHING };
}

static void wait_all(struct thread *t);

static void do_table(struct thread *t)
{
	struct bario_rsrc_register r = { .nr = SLOTS, .flags = BARIO_RSRC_REGISTER_SPARSE };
	int ret;

	if (t->table && chance(t, 50)) {
		/* It waits for what is in flight, but does not poll for it. */
		if (t->setup & IORING_SETUP_IOPOLL)
			wait_all(t);
		ret = io_uring_unregister_buffers(&t->ring);
		if (ret)
			violation(t, "unregistering gave %d", ret);
		memset(t->slots, 0, sizeof(t->slots));
		t->table = false;
		return;
	}
	if (chance(t, 30))
		r.flags |= BARIO_RSRC_UPDATE_EXTENDED << below(t, 31);
	ret = reg(t->ring.ring_fd, BARIO_REGISTER_BUFFERS2, &r, sizeof(r));
	if (r.flags == BARIO_RSRC_REGISTER_SPARSE ? ret != (t->table ? -EBUSY : 0) : ret != -EINVAL)
		violation(t, "a table with flags %#x gave %d", r.flags, ret);
	t->table |= !ret;
}

static void do_clone(struct thread *t)
{
	struct { uint32_t src_fd, flags, pad[6]; } arg = { .src_fd = t->ring.ring_fd };
	struct want want = { .unknown = false };
	struct io_uring to;
	unsigned int i;
	int ret;

	if (io_uring_queue_init(4, &to, 0))
		return;
	for (i = 0; i < SLOTS; i++)
		if (t->slots[i].kind == DMABUF)
			wrong(&want, -ENOMEM);
	if (!t->table)
		wrong(&want, -ENXIO);
	ret = reg(to.ring_fd, CLONE_BUFFERS, &arg, 1);
	if (!allowed(&want, ret))
		violation(t, "a clone of the table gave %d", ret);
	io_uring_queue_exit(&to);
}

#endif
