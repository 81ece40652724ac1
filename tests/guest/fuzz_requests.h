/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FUZZ_REQUESTS_H
#define BARIO_TESTS_FUZZ_REQUESTS_H

/* The part of fuzz.c that makes requests, and tells whether they ended as they may. */

#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sched.h>
#include "fuzz.h"

static uint64_t file_size(enum file file)
{
	return file == PART ? PART_SIZE : drive_size;
}

/* Where a request may go: never a write into what must not change. */
static uint64_t file_offset(struct thread *t, enum file file, bool write, uint32_t len)
{
	uint64_t at = below(t, (file == PART ? PART_SIZE : FUZZED) / 512) * 512;

	if (file == PART && chance(t, 30))
		return PART_SIZE - below(t, 64) * 512;
	if (chance(t, 5))
		at += 1 + below(t, 511);
	if (!write && chance(t, 10))
		return edge(t, drive_size);
	/* Behind the end nothing can be hit either. */
	if (chance(t, 5))
		return drive_size + below(t, 1ull << 40);
	/* A length that is wrong must not take it there, if it is not found so. */
	return file != PART && at + len > CHECKED ? 0 : at;
}

static void judge_file(struct thread *t, struct req *r, enum file file, bool write)
{
	switch (file) {
	case DRIVE:
		r->indirect = !t->direct;
		return;
	case DRIVE_RO:
		if (write)
			wrong(&r->want, -EBADF);
		return;
	case DRIVE_WO:
		if (!write)
			wrong(&r->want, -EBADF);
		return;
	case PART:
		return;
	default:
		wrong(&r->want, -EBADF);
	}
}

/* What the place in the file means, if all else is right. */
static void judge_place(struct req *r, uint64_t size, bool write, uint64_t addr, uint64_t dev)
{
	bool outside = dev > size || r->len > size - dev;

	if (write)
		allow(&r->want, -EBUSY);
	if (outside) {
		r->may_be_short = true;
		allow(&r->want, -EINVAL);
		allow(&r->want, -EFBIG);
		allow(&r->want, -EOVERFLOW);
		allow(&r->want, -ENOSPC);
	} else if (!r->len) {
		allow(&r->want, -EINVAL);
	} else if (addr & 3 || (dev | r->len) & 511) {
		wrong(&r->want, -EINVAL);
	}
}

static void judge_buffer(struct req *r, const struct slot *s, bool write, uint64_t addr)
{
	if (r->len > MAX_RW)
		wrong(&r->want, -EINVAL);
	if (addr > s->size || r->len > s->size - addr)
		wrong(&r->want, -EFAULT);
	if (s->mode == (write ? O_WRONLY : O_RDONLY))
		wrong(&r->want, -EFAULT);
	/* Revoked, or closed, at any time. */
	allow(&r->want, -ENODEV);
}

static void request_numbers(struct thread *t, const struct slot *s, uint64_t *addr, uint32_t *len)
{
	uint64_t size = s->kind == DMABUF ? s->size : SCRATCH;

	*len = (1 + below(t, chance(t, 70) ? 64 : chance(t, 80) ? 2048 : 16384)) * 512;
	if (chance(t, 8))
		*len = chance(t, 40) ? 0 : edge(t, size);
	*addr = below(t, size / 512) * 512;
	if (*len <= size && *addr > size - *len && chance(t, 90))
		*addr = size - *len;
	if (chance(t, 8))
		*addr += below(t, 512);
	if (chance(t, 10))
		*addr = edge(t, size);
	if (s->kind == PLAIN)
		*addr += (uintptr_t)t->scratch;
}

/* Rather one with a dma-buf. */
static unsigned int some_slot(struct thread *t)
{
	unsigned int slot = below(t, SLOTS), i;

	if (chance(t, 3))
		return SLOTS + below(t, 65536 - SLOTS);
	for (i = 0; i < SLOTS && t->slots[slot].kind != DMABUF && chance(t, 80); i++)
		slot = (slot + 1) % SLOTS;
	return slot;
}

static void do_read_or_write(struct thread *t, struct io_uring_sqe *sqe, struct req *r,
			     unsigned int flags)
{
	bool write = chance(t, 50), nowait = chance(t, 10);
	enum file file = chance(t, 70) ? below(t, PART + 1) : below(t, FILES);
	unsigned int slot = some_slot(t);
	struct slot s = slot < SLOTS ? t->slots[slot] : (struct slot){ .kind = NOTHING };
	uint64_t addr, dev;
	int fd;

	/* Ordinary memory waits for the other end of a pipe. */
	if (s.kind == PLAIN && (file == PIPE_R || file == PIPE_W))
		file = TMPFS;
	fd = flags & IOSQE_FIXED_FILE ? (int)file : t->files[file];
	request_numbers(t, &s, &addr, &r->len);
	dev = file_offset(t, file, write, r->len);
	if (write)
		io_uring_prep_write_fixed(sqe, fd, (void *)addr, r->len, dev, slot);
	else
		io_uring_prep_read_fixed(sqe, fd, (void *)addr, r->len, dev, slot);
	if (nowait)
		sqe->rw_flags = RWF_NOWAIT;
	note(t, (uint64_t)slot << 32 | file << 16 | s.kind << 8 | flags);
	note(t, (uint64_t)r->len << 2 | write << 1 | nowait);
	note(t, s.kind == PLAIN ? addr - (uintptr_t)t->scratch : addr);
	note(t, dev);
	snprintf(r->what, sizeof(r->what), "%s file %d at %llx, %u bytes, buffer %d of %llx at %llx, "
		 "flags %x, ring %x%s", write ? "write" : "read", file, (unsigned long long)dev,
		 r->len, s.kind, (unsigned long long)s.size, (unsigned long long)addr, flags,
		 t->setup, nowait ? ", nowait" : "");

	if (s.kind == NOTHING)
		wrong(&r->want, -EFAULT);
	r->want.unknown = s.kind == PLAIN;
	if (s.kind == DMABUF)
		judge_buffer(r, &s, write, addr);
	judge_file(t, r, file, write);
	judge_place(r, file_size(file), write, addr, dev);
	if (nowait) {
		allow(&r->want, -EAGAIN);
		allow(&r->want, -EOPNOTSUPP);
	}
}

/* Opcodes that have a buffer's number, but cannot take a dma-buf. */
static void do_other(struct thread *t, struct io_uring_sqe *sqe, struct req *r)
{
	unsigned int slot = below(t, SLOTS), which = below(t, 4);
	struct nvme_uring_cmd *cmd = (void *)sqe->cmd;

	r->want.unknown = t->slots[slot].kind != DMABUF;
	snprintf(r->what, sizeof(r->what), "other opcode %u, ring %x", which, t->setup);
	r->len = 512;
	wrong(&r->want, -EFAULT);
	wrong(&r->want, -EINVAL);
	wrong(&r->want, -EOPNOTSUPP);
	if (which == 0) {
		io_uring_prep_send_zc_fixed(sqe, t->sock, (void *)edge(t, MIB), 512, 0, 0, slot);
	} else if (which == 1 && t->setup & IORING_SETUP_SQE128 && t->ng >= 0) {
		memset(sqe, 0, 2 * sizeof(*sqe));
		sqe->opcode = IORING_OP_URING_CMD;
		sqe->fd = t->ng;
		sqe->cmd_op = NVME_URING_CMD_IO;
		sqe->rw_flags = 1;	/* a fixed buffer */
		sqe->buf_index = slot;
		cmd->opcode = 2;	/* read */
		cmd->nsid = 1;
		cmd->addr = t->slots[slot].kind == PLAIN ? (uintptr_t)t->scratch : PAGE;
		cmd->data_len = 4096;
		cmd->cdw12 = 7;
	} else if (which == 2) {
		io_uring_prep_splice(sqe, t->files[PIPE_R], -1, t->files[PIPE_W], -1, 512,
				     SPLICE_F_NONBLOCK);
		sqe->buf_index = slot;
		r->want.unknown = true;
	} else {
		io_uring_prep_read(sqe, t->files[DRIVE_RO], (void *)below(t, PAGE), 512, 0);
		sqe->buf_index = slot;
	}
}

/* 6.12's IOSQE_IO_DRAIN waits for ever once a request was refused early. */
static void do_nothing_wrong(struct io_uring_sqe *sqe, struct req *r)
{
	if (!r->want.wrong && !r->want.unknown)
		return;
	memset(&r->want, 0, sizeof(r->want));
	r->len = 0;
	r->indirect = false;
	io_uring_prep_nop(sqe);
}

static struct req *free_req(struct thread *t)
{
	unsigned int i, at = below(t, REQS);

	for (i = 0; i < REQS; i++, at = (at + 1) % REQS)
		if (!t->reqs[at].busy)
			return &t->reqs[at];
	return NULL;
}

static void all_may_be_cancelled(struct thread *t)
{
	unsigned int i;

	for (i = 0; i < REQS; i++)
		t->reqs[i].may_cancel = true;
}

static bool allowed_result(struct thread *t, struct req *r, int res)
{
	struct want want = r->want;

	if (res == -ECANCELED && r->may_cancel)
		return true;
	if (r->direct_turn != t->direct_turn)
		allow(&want, -EINVAL);
	else if (r->indirect)
		wrong(&want, -EINVAL);
	if (!allowed(&want, res))
		return false;
	return res < 0 || want.unknown || res == (int)r->len ||
	       (r->may_be_short && res < (int64_t)r->len);
}

static void finished(struct thread *t, const struct io_uring_cqe *cqe)
{
	struct req *r = (void *)(uintptr_t)cqe->user_data;

	if (!r || cqe->user_data >> 63)
		return;
	if (!(cqe->flags & IORING_CQE_F_NOTIF)) {
		if (!allowed_result(t, r, cqe->res))
			violation(t, "%s: %d", r->what, cqe->res);
		t->moved += cqe->res > 0;
		t->refused += cqe->res < 0;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		r->busy = false;
}

static void reap(struct thread *t)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&t->ring, &cqe)) {
		finished(t, cqe);
		io_uring_cqe_seen(&t->ring, cqe);
	}
}

/*
 * What is not submitted at once, as the one before it was refused, is the next time. On
 * return all is prepared, so that the table may change.
 */
static void submit(struct thread *t)
{
	while (io_uring_sq_ready(&t->ring)) {
		if (io_uring_submit(&t->ring) < 0)
			reap(t);
		if (t->setup & IORING_SETUP_SQPOLL)
			sched_yield();
	}
}

static bool any_busy(const struct thread *t)
{
	unsigned int i;

	for (i = 0; i < REQS; i++)
		if (t->reqs[i].busy)
			return true;
	return false;
}

/* A hang here is found by main(). */
static void wait_all(struct thread *t)
{
	struct __kernel_timespec limit = { .tv_nsec = 100000000 };
	struct io_uring_cqe *cqe;

	for (submit(t); any_busy(t); submit(t)) {
		if (t->setup & IORING_SETUP_IOPOLL)
			io_uring_wait_cqe(&t->ring, &cqe);
		else
			io_uring_wait_cqe_timeout(&t->ring, &cqe, &limit);
		reap(t);
	}
}

static unsigned int sqe_flags(struct thread *t)
{
	unsigned int flags = 0;

	if (chance(t, 20))
		flags |= IOSQE_ASYNC;
	if (t->drains)
		flags |= chance(t, 8) ? IOSQE_IO_DRAIN : 0;
	else if (chance(t, 15))
		flags |= chance(t, 50) ? IOSQE_IO_LINK : IOSQE_IO_HARDLINK;
	if (chance(t, 30))
		flags |= IOSQE_FIXED_FILE;
	return flags;
}

static void link_timeout(struct thread *t)
{
	static const struct __kernel_timespec soon = { .tv_nsec = 300000 };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring);

	if (!sqe)
		return;
	io_uring_prep_link_timeout(sqe, (struct __kernel_timespec *)&soon, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void do_requests(struct thread *t)
{
	unsigned int n = 1 + below(t, 8), flags, linked = 0;
	struct io_uring_sqe *sqe;
	struct req *r;

	while (n--) {
		r = free_req(t);
		if (!r) {
			wait_all(t);
			return;
		}
		sqe = io_uring_get_sqe(&t->ring);
		if (!sqe)
			break;
		memset(r, 0, sizeof(*r));
		r->busy = true;
		r->direct_turn = t->direct_turn;
		flags = sqe_flags(t);
		if (t->drains || chance(t, 90))
			do_read_or_write(t, sqe, r, flags);
		else
			do_other(t, sqe, r);
		if (t->drains)
			do_nothing_wrong(sqe, r);
		sqe->flags |= sqe->opcode == IORING_OP_READ_FIXED ||
			      sqe->opcode == IORING_OP_WRITE_FIXED ? flags : 0;
		io_uring_sqe_set_data(sqe, r);
		linked |= sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
		if (sqe->flags & IOSQE_IO_LINK && chance(t, 30))
			link_timeout(t);
	}
	/* What is in a chain, or may come to be in one, is cancelled with it. */
	if (linked)
		all_may_be_cancelled(t);
	submit(t);
	if (chance(t, 50))
		wait_all(t);
	reap(t);
}

static void do_cancel(struct thread *t)
{
	struct io_uring_sqe *sqe = t->drains ? NULL : io_uring_get_sqe(&t->ring);

	if (!sqe)
		return;
	all_may_be_cancelled(t);
	io_uring_prep_cancel(sqe, &t->reqs[below(t, REQS)], 0);
	if (chance(t, 30))
		io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY);
	io_uring_sqe_set_data(sqe, NULL);
	submit(t);
}

#endif
