// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will register with locked memory for one registration and no more.
 *
 * A registration is charged until its mapping is gone. One that fails before it took
 * anything is not: the next one may follow at once, while the worker that frees what is
 * left of the first is still to come, and is held up here to be sure of that. Nor is a
 * wrong target taken for a lack of memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "faultpoint.h"
#include "mover.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define ONE (64 * KIB)		/* what a small registration is charged */
#define TIMES 20
#define SOMEBODY 12345		/* a user who has nothing else locked */
#define FOR_EVER (~0u)
enum { ATTACH, MAP };

static struct mover m;
static int drive, wrong;

/* What the other process found. */
static struct {
	int first, second, target, after, failed, good;
} *found;

/* Freed by a worker, some time after its slot is cleared. */
static int room(struct io_uring *ring)
{
	int i, ret = -ENOMEM;

	for (i = 0; i < 1000 && ret == -ENOMEM; i++) {
		ret = rig_try_register(ring, 1, m.mem.fd, drive);
		if (ret)
			usleep(10000);
	}
	if (!ret)
		bario_ring_clear(ring->ring_fd, 1, NULL);
	return ret;
}

static void somebody(void)
{
	const struct dmabuf_exporter_behave bad = {
		.step = ATTACH, .times = FOR_EVER, .error = EIO,
	};
	const struct dmabuf_exporter_behave good = { .step = ATTACH };
	const struct rlimit locked = { ONE, ONE };
	struct io_uring ring;
	int i;

	if (setrlimit(RLIMIT_MEMLOCK, &locked) || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) ||
	    setresuid(SOMEBODY, SOMEBODY, SOMEBODY))
		_exit(1);
	rig_ring(&ring, 8, 0);
	found->first = rig_try_register(&ring, 0, m.mem.fd, drive);
	found->second = rig_try_register(&ring, 1, m.mem.fd, drive);
	found->target = rig_try_register(&ring, 1, m.mem.fd, wrong);
	bario_ring_clear(ring.ring_fd, 0, NULL);
	found->after = room(&ring);
	if (found->after)
		_exit(0);

	/* room() has left one to be freed, too */
	for (i = 0; i < 1000 && mover_status(&m).attaches; i++)
		usleep(10000);
	usleep(100000);
	mover_behave(&m, &bad);
	for (i = 0; i < TIMES; i++)
		found->failed += rig_try_register(&ring, 0, m.mem.fd, drive) == -EIO;
	mover_behave(&m, &good);
	found->good = rig_try_register(&ring, 0, m.mem.fd, drive);
	io_uring_queue_exit(&ring);
	_exit(0);
}

int main(void)
{
	const struct point_how how = { .percent = 100, .delay_us = 20000 };
	int status = 1;
	pid_t pid;

	found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	drive = rig_open_drive();
	wrong = open("/dev/null", O_RDWR | O_CLOEXEC);
	mover_create(&m, 2, 64 * KIB);
	if (!point_set("dma_token_free_work", how))
		tap_bail("no dma_token_free_work to hold up");
	fflush(stdout);
	pid = fork();
	if (!pid)
		somebody();
	waitpid(pid, &status, 0);
	tap_is(status, 0, "the process of another user");
	tap_is(found->first, 0, "there is room for one");
	tap_is(found->second, -ENOMEM, "and for no other");
	tap_is(found->target, -EOPNOTSUPP, "but a wrong target is a wrong target");
	tap_is(found->after, 0, "there is room again when it is gone");
	tap_is(found->failed, TIMES, "one that fails leaves room for the next, at once");
	tap_is(found->good, 0, "which may be a good one");
	tap_ok(point_clear() > 0, "and nothing had been freed by then");
	mover_destroy(&m);
	return tap_done();
}
