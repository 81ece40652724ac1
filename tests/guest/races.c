// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will widen the gaps that races need.
 *
 *   races [SECONDS] [removal|bar]...
 *
 * The module faultpoint holds up a function now and then: between a map and its
 * publication, lookup and use, dispatch and lookup, completion and retry, drain and
 * unmap, release and detach. One after the other, for about SECONDS each (1), while a
 * buffer moves as fast as it can under verified I/O, and others register and empty
 * slots, let timeouts cancel requests, close rings with requests in flight, and are
 * killed with them. With a word instead: while the drive goes and comes back (removal),
 * or the BAR is reset, closed and opened again (bar), see races_away.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "churn.h"
#include "faultpoint.h"
#include "mover.h"
#include "races_away.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define WAIT_KILLS 400		/* for something to come to a gap at all: half a minute or more */

static struct mover m, other;
static int drive;
static atomic_bool stop;
static unsigned long registered, closed, killed, failed, timed, timed_out, timed_wrong;

/* A function, and the gap in front of it, which few requests may pass. */
static const struct point {
	const char *symbol;
	const char *gap;
	enum { COMMON, NO_SCHEDULER, RARE, LOOK_UP, PUBLISH } kind;
} points[] = {
	{ "nvme_queue_rq", "issue and dispatch", COMMON },
	{ "nvme_queue_rqs", "plug and dispatch", NO_SCHEDULER },
	{ AWAY_LOOK_UP, "lookup and get", LOOK_UP },
	{ "nvme_pci_complete_rq", "the drive's completion and the put", COMMON },
	{ "nvme_unmap_data", "completion and the put", COMMON },
	{ "dma_token_prepare", "a missing map and a new one", COMMON },
	{ "dma_token_map_locked", "the lock and the map", COMMON },
	{ "nvme_dma_token_map", "the exporter's map and the driver's", COMMON },
	{ AWAY_PUBLISH, "map and publication", PUBLISH },
	{ "dma_token_move_notify", "the exporter's call and the end of the map", COMMON },
	{ "dma_map_drain", "the pointer's end and the kill", COMMON },
	{ "dma_map_drained", "the last put and the waiter", COMMON },
	{ "nvme_dma_token_unmap", "drain and unmap", COMMON },
	{ "nvme_dma_token_kick", "two looks of a drain", COMMON },
	{ "io_dmabuf_retry", "completion and retry", COMMON },
	{ "io_dmabuf_retry_tw", "retry and task work", RARE },
	{ "io_req_queue_iowq", "retry and worker", COMMON },
	{ "io_wq_submit_work", "worker and issue", COMMON },
	{ "io_rw_submit_dmabuf", "preparation and submission", COMMON },
	{ "io_dmabuf_issue", "preparation and issue", COMMON },
	{ "io_dmabuf_end_bio", "the end of the bio and task work", COMMON },
	{ "__io_dmabuf_complete_rw", "the end of the bio and the request's", RARE },
	{ "io_dmabuf_iopoll_done", "poll and what comes of it", COMMON },
	{ "dma_token_free_work", "the last reference and the worker", COMMON },
	{ "dma_token_detach", "list and detach", COMMON },
	{ "dma_token_attach", "registration and attach", COMMON },
};

/*
 * Registrations end in a worker, and the checker of the DMA API counts to seven how
 * often a place is mapped.
 */
static void few_left(void)
{
	while (mover_status(&other).attaches > 3)
		usleep(1000);
}

static void *register_loop(void *arg)
{
	struct io_uring ring;

	rig_ring(&ring, 8, 0);
	while (!atomic_load(&stop)) {
		few_left();
		failed += rig_try_register(&ring, 0, other.mem.fd, drive) != 0;
		failed += bario_ring_clear(ring.ring_fd, 0, NULL) != 0;
		registered++;
	}
	io_uring_queue_exit(&ring);
	return arg;
}

static void submit_some(struct io_uring *ring, struct io *ios, unsigned int n)
{
	unsigned int i;

	/* reads, to a part that nobody looks at */
	for (i = 0; i < n; i++) {
		ios[i] = (struct io){
			.fd = drive, .buf = i * 64 * KIB, .len = 64 * KIB,
			.flags = i & 1 ? IOSQE_ASYNC : 0,
		};
		io_queue(ring, &ios[i]);
	}
	io_uring_submit(ring);
}

static void *close_loop(void *arg)
{
	static const unsigned int flags[] = {
		0, IORING_SETUP_IOPOLL, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct io_uring ring;
	struct io ios[8];

	while (!atomic_load(&stop)) {
		few_left();
		rig_ring(&ring, 8, flags[closed % 3]);
		rig_register(&ring, 0, &other.mem, drive);
		submit_some(&ring, ios, 8);
		io_uring_queue_exit(&ring);
		closed++;
	}
	return arg;
}

/*
 * Requests that a linked timeout may cancel at any moment, between two attempts too:
 * each of the pair completes, once, and in a way that it may.
 */
static bool timed_pair(struct io_uring *ring, unsigned int us)
{
	struct io io = { .fd = drive, .buf = 448 * KIB, .len = 64 * KIB, .flags = IOSQE_IO_LINK };
	struct __kernel_timespec ts = { .tv_nsec = us * 1000ll };
	int res[2] = { 1, 1 }, i;
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;

	io.flags |= us & 1 ? IOSQE_ASYNC : 0;
	io_queue(ring, &io);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_link_timeout(sqe, &ts, 0);
	io_uring_sqe_set_data(sqe, NULL);
	io_uring_submit(ring);
	for (i = 0; i < 2; i++) {
		if (io_uring_wait_cqe(ring, &cqe))
			return false;
		res[io_uring_cqe_get_data(cqe) == NULL] = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	if (res[0] == 64 * KIB)
		return res[1] == -ECANCELED || res[1] == -ETIME || res[1] == -EALREADY || res[1] == -ENOENT;
	if (res[0] == -ECANCELED || res[0] == -EINTR) {
		timed_out++;
		/* -ENOENT: it was found nowhere, being between two attempts, and told */
		return res[1] == -ETIME || res[1] == -ECANCELED || res[1] == -EALREADY || res[1] == -ENOENT;
	}
	tap_diag("a request with a timeout of %u us: %d, %d", us, res[0], res[1]);
	return false;
}

static void *timeout_loop(void *arg)
{
	unsigned int us = 0;
	struct io_uring ring;

	few_left();
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &other.mem, drive);
	while (!atomic_load(&stop)) {
		us = (us * 7 + 311) % 20011;
		timed++;
		timed_wrong += !timed_pair(&ring, us);
	}
	io_uring_queue_exit(&ring);
	return arg;
}

static void victim(void)
{
	struct io_uring ring;
	struct io ios[8];

	rig_ring(&ring, 8, 0);
	/* -EINTR if it is killed just then */
	if (rig_try_register(&ring, 0, other.mem.fd, drive))
		_exit(0);
	for (;;) {
		submit_some(&ring, ios, 8);
		io_wait_all(&ring, ios, 8);
	}
}

/* Not from a thread that another one's locks could be copied from: the main one. */
static void kill_one(void)
{
	pid_t child;

	few_left();
	child = fork();

	if (!child)
		victim();
	if (child < 0)
		return;
	usleep(60000);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	killed++;
}

static const char *within(const struct point *p)
{
	switch (p->kind) {
	case LOOK_UP:
		return AWAY_LOOKS_UP;
	case PUBLISH:
		return AWAY_PUBLISHES;
	default:
		return NULL;
	}
}

static void run(const struct point *p, double seconds)
{
	struct churn c[3] = {
		{ .mem = &m.mem, .drive = drive, .depth = 24, .window = 32 * KIB, .dev = 8 * MIB },
		{ .mem = &m.mem, .drive = drive, .depth = 24, .window = 32 * KIB, .dev = 16 * MIB,
		  .buf = 1 * MIB, .ring_flags = IORING_SETUP_IOPOLL },
		{ .mem = &m.mem, .drive = drive, .depth = 24, .window = 32 * KIB, .dev = 24 * MIB,
		  .buf = 2 * MIB, .sqe_flags = IOSQE_ASYNC },
	};
	static const char *const how[] = { "", ", polled", ", by workers" };
	const struct point_how how_much = {
		.percent = p->kind == RARE ? 100 : 50, .delay_us = 300, .within = within(p),
	};
	pthread_t registrar, closer, timer;
	long hits;
	int i;

	if (p->kind == LOOK_UP && !away_can_look_up(p->gap))
		return;
	if (!point_set(p->symbol, how_much)) {
		/* renamed, or part of another one: nothing would be held up ever again */
		tap_ok(false, "between %s: no function %s in this kernel", p->gap, p->symbol);
		return;
	}
	/* with a scheduler and few tags most requests wait below io_uring as the map goes */
	if (!rig_queue_setting("scheduler", p->kind == NO_SCHEDULER ? "none" : "mq-deadline") ||
	    !rig_queue_setting("nr_requests", "16"))
		tap_bail("this kernel has no mq-deadline");
	registered = closed = killed = failed = timed = timed_out = timed_wrong = 0;
	atomic_store(&stop, false);
	mover_start(&m, 500);
	mover_start(&other, 2000);
	for (i = 0; i < 3; i++)
		churn_start(&c[i]);
	pthread_create(&registrar, NULL, register_loop, NULL);
	pthread_create(&closer, NULL, close_loop, NULL);
	pthread_create(&timer, NULL, timeout_loop, NULL);
	/* what is rare is waited for */
	for (i = 0; i < seconds / 0.06 || (!point_hits() && i < WAIT_KILLS); i++)
		kill_one();
	atomic_store(&stop, true);
	pthread_join(registrar, NULL);
	pthread_join(closer, NULL);
	pthread_join(timer, NULL);
	for (i = 0; i < 3; i++)
		churn_wait(&c[i], 1);
	mover_stop(&m);
	mover_stop(&other);
	for (i = 0; i < 3; i++) {
		churn_stop(&c[i]);
		tap_ok(churn_held(&c[i]), "between %s%s: %s", p->gap, how[i],
		       churn_text(&c[i]));
	}
	tap_ok(timed && !timed_wrong, "between %s: %lu requests with a timeout, %lu ran out, %lu ended wrongly",
	       p->gap, timed, timed_out, timed_wrong);
	hits = point_clear();
	tap_ok(hits > 0 && !failed && m.moves && !mover_status(&m).late &&
	       !mover_status(&other).late,
	       "between %s: held up %ld times; %lu moves, %lu registrations (%lu failed), %lu rings closed, %lu processes killed",
	       p->gap, hits, m.moves, registered, failed, closed, killed);
}

static void gaps(double seconds)
{
	size_t i;

	drive = rig_open_drive();
	mover_create(&m, 512, 8 * KIB);
	mover_create(&other, 64, 8 * KIB);
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		run(&points[i], seconds);
	mover_destroy(&m);
	mover_destroy(&other);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	int i;

	if (seconds <= 0)
		tap_bail("usage: races [SECONDS] [removal|bar]...");
	if (argc < 3)
		gaps(seconds);
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "removal"))
			removal(seconds);
		else if (!strcmp(argv[i], "bar"))
			bar(seconds);
		else
			tap_bail("no mode %s", argv[i]);
	}
	return tap_done();
}
