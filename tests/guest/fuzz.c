// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will call both interfaces with whatever its dice say.
 *
 *	fuzz [--seed N] [--seconds S | --steps N] [--threads N] [--still N]
 *
 * Threads export the BAR, register dma-bufs, and submit requests, rightly and wrongly,
 * on rings of all kinds; another takes the BAR away and gives it back. Each thread has
 * a ring, files and dma-bufs that nobody else closes, so it can tell which results
 * abi.md allows: what is wrong about a call is noted as it is put together, and a call
 * about which something is wrong must end with the errno for that.
 *
 * Part of the drive, right behind a partition that is written to, and part of the BAR,
 * right behind what is exported for writing, are never to change. In the end a fresh
 * registration moves data. A thread's dice depend on the seed and its number alone; what
 * they are thrown for, on what is there just then, as long as the BAR comes and goes and
 * requests end when they like. Neither do so with --still, where each of N steps waits for
 * its requests: then the seed makes the same calls each time, which two runs show, and
 * another seed makes others.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/blkpg.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "fuzz_calls.h"
#include "fuzz_requests.h"

/* What else may happen */

static void new_ring(struct thread *t)
{
	static const unsigned int kinds[] = {
		0, IORING_SETUP_SQPOLL, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SQE128 | IORING_SETUP_CQE32, IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_IOPOLL, IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL,
		IORING_SETUP_IOPOLL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct io_uring_params p = { .flags = kinds[below(t, polls ? 8 : 5)], .sq_thread_idle = 20 };
	int ret = io_uring_queue_init_params(16, &t->ring, &p);

	if (ret)
		tap_bail("a ring with flags %#x: %s", p.flags, strerror(-ret));
	t->setup = p.flags;
	t->drains = chance(t, 50);
	t->table = false;
	memset(t->reqs, 0, sizeof(t->reqs));
	memset(t->slots, 0, sizeof(t->slots));
	if (bario_ring_sparse(t->ring.ring_fd, SLOTS, NULL) == 0)
		t->table = true;
	ret = io_uring_register_files(&t->ring, t->files, FILES);
	if (ret)
		tap_bail("files of a ring: %s", strerror(-ret));
}

static void do_ring(struct thread *t)
{
	if (chance(t, 50))
		wait_all(t);
	io_uring_queue_exit(&t->ring);
	new_ring(t);
}

static void do_direct(struct thread *t)
{
	int flags = fcntl(t->files[DRIVE], F_GETFL);

	t->direct_turn++;
	t->direct = !t->direct || chance(t, 50);
	fcntl(t->files[DRIVE], F_SETFL, t->direct ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static void do_buf(struct thread *t)
{
	struct buf *b = &t->bufs[below(t, BUFS)];
	void *p;
	int fd;

	if (b->fd < 0)
		return;
	switch (below(t, 4)) {
	case 0:
		close(b->fd);
		b->fd = -1;
		break;
	case 1:
		fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 3);
		close(b->fd);
		b->fd = fd;
		break;
	case 2:
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, chance(t, 50) ? MAP_SHARED : MAP_PRIVATE,
			 b->fd, edge(t, b->size) & -PAGE);
		if (p != MAP_FAILED)
			munmap(p, PAGE);
		break;
	case 3:
		bario_dmabuf_begin(b->fd, true);
		bario_dmabuf_end(b->fd, true);
		lseek(b->fd, edge(t, b->size), chance(t, 50) ? SEEK_END : SEEK_SET);
		break;
	}
}

static void do_udmabuf(struct thread *t)
{
	int fd = bario_udmabuf(MIB, BARIO_MEMFD_PAGES, NULL);

	if (fd >= 0)
		keep_buf(t, fd, MIB, O_RDWR);
}

/*
 * A process with a ring of its own, killed with requests in flight. Not one that polls:
 * when nobody does so any more, its worker waits 30 seconds for a tag, with any memory.
 */
static void child(int drive, int dmabuf, unsigned int setup)
{
	struct bario_regbuf_desc d = {
		.type = BARIO_REGBUF_DMABUF, .dmabuf_fd = dmabuf, .target_fd = drive,
	};
	struct io_uring_params p = { .flags = setup };
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	unsigned int i;

	if (io_uring_queue_init_params(32, &ring, &p) || bario_ring_sparse(ring.ring_fd, 1, NULL) ||
	    bario_ring_update(ring.ring_fd, 0, &d, NULL, 1) != 1)
		_exit(0);
	for (;;) {
		for (i = 0; (sqe = io_uring_get_sqe(&ring)); i++) {
			if (i & 1)
				io_uring_prep_read_fixed(sqe, drive, 0, PAGE, i * PAGE, 0);
			else
				io_uring_prep_write_fixed(sqe, drive, 0, PAGE, i * PAGE, 0);
			sqe->flags |= i & 2 ? IOSQE_ASYNC : 0;
		}
		io_uring_submit(&ring);
		io_uring_cq_advance(&ring, io_uring_cq_ready(&ring));
	}
}

static void do_kill(struct thread *t)
{
	struct buf *b = &t->bufs[below(t, BUFS)];
	unsigned int us = below(t, 20000);
	pid_t pid;

	if (b->fd < 0)
		return;
	pid = fork();
	if (!pid)
		child(t->files[DRIVE], b->fd, t->setup & (IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER |
						 IORING_SETUP_DEFER_TASKRUN));
	if (pid < 0)
		return;
	usleep(us);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	kills++;
}

static const struct {
	unsigned int weight;
	void (*fn)(struct thread *t);
	const char *name;
} actions[] = {
	{ 50, do_requests, "requests" },
	{ 12, do_export, "export" },
	{ 14, do_register, "register" },
	{ 4, do_register_plain, "register plain memory" },
	{ 2, do_table, "table" },
	{ 2, do_clone, "clone" },
	{ 3, do_cancel, "cancel" },
	{ 2, do_ring, "ring" },
	{ 3, do_direct, "O_DIRECT" },
	{ 4, do_buf, "dma-buf" },
	{ 2, do_udmabuf, "udmabuf" },
	{ 1, do_kill, "kill" },
};

#define NR_ACTIONS (sizeof(actions) / sizeof(actions[0]))

static void step(struct thread *t)
{
	unsigned int i, sum = 0, at;

	for (i = 0; i < NR_ACTIONS; i++)
		sum += actions[i].weight;
	at = below(t, sum);
	for (i = 0; at >= actions[i].weight; i++)
		at -= actions[i].weight;
	t->doing = actions[i].name;
	actions[i].fn(t);
	if (still)
		wait_all(t);
	t->steps++;
}

/* The table is what later steps stand on. */
static void *fuzz_thread(void *arg)
{
	struct thread *t = arg;

	new_ring(t);
	while (!stop && t->steps < max_steps)
		step(t);
	t->doing = "the end";
	wait_all(t);
	io_uring_queue_exit(&t->ring);
	t->ended = true;
	return NULL;
}

static void say_threads(void)
{
	unsigned int i;

	for (i = 0; i <= nr_threads; i++) {
		struct thread *t = &threads[i];

		tap_diag("thread %u: %lu steps (%s), %lu exports, %lu registrations, %lu requests moved something, "
			 "%lu were refused; digest %016llx", i, t->steps, t->doing, t->exports, t->registered,
			 t->moved, t->refused, (unsigned long long)t->digest);
	}
}

/* What a thread that hangs waits for, and where in the kernel. */
static void say_hang(void)
{
	const struct thread *t;
	unsigned int i;

	for (t = threads; t < threads + nr_threads; t++) {
		if (t->ended)
			continue;
		tap_diag("thread %u hangs, ring %x%s, %u not submitted", t->nr, t->setup,
			 t->drains ? ", drains" : "", io_uring_sq_ready(&t->ring));
		for (i = 0; i < REQS; i++)
			if (t->reqs[i].busy)
				tap_diag("waits for: %s", t->reqs[i].what);
	}
	fflush(stdout);
	if (system("for t in /proc/[0-9]*/task/*; do read -r n <$t/comm; case $n in "
		   "fuzz*|iou-*) echo \"# $t $n\"; sed 's/^/#   /' $t/stack; esac; done"))
		tap_diag("no stacks");
}

/* The device, taken away and given back by its owner. Killed processes may have it open. */
static void reopen(void)
{
	struct bario_err err;
	double end = now() + HANG_S;
	int ret;

	pthread_rwlock_wrlock(&bar_lock);
	bario_dev_close(bar.dev);
	do {
		ret = bario_dev_open(&bar.dev, getenv("BARIO_BDF"), BARIO_MODE_AUTO, &err);
		if (ret)
			usleep(1000);
	} while (ret && now() < end);
	if (ret) {
		say_threads();
		say_hang();
		tap_bail("the device cannot be opened again: %s", err.msg);
	}
	bar_fd = bario_dev_fd(bar.dev);
	pthread_rwlock_unlock(&bar_lock);
}

static void take(struct thread *t)
{
	unsigned int way = below(t, 10);
	int ret = 0;

	if (way < 4) {
		ret = bario_dev_reset(bar.dev, NULL);
	} else if (way < 8) {
		ret = bario_dev_memory(bar.dev, false, NULL);
		usleep(below(t, 20000));
		if (way == 7)
			ret = ret ?: bario_dev_reset(bar.dev, NULL);
		ret = ret ?: bario_dev_memory(bar.dev, true, NULL);
	} else {
		reopen();
	}
	if (ret)
		violation(t, "taking the BAR away in way %u gave %d", way, ret);
	takes++;
}

static void *take_thread(void *arg)
{
	struct thread *t = arg;

	while (!stop && t->steps < max_steps) {
		usleep(below(t, 60000));
		t->doing = "taking the BAR";
		take(t);
		t->steps++;
	}
	t->ended = true;
	return NULL;
}

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	return fd;
}

static void open_files(struct thread *t)
{
	char path[64];
	int p[2], i;

	snprintf(path, sizeof(path), "%sp1", rig_drive_path());
	t->files[DRIVE] = rig_open_drive();
	t->files[DRIVE_RO] = must_open(rig_drive_path(), O_RDONLY | O_DIRECT);
	t->files[DRIVE_WO] = must_open(rig_drive_path(), O_WRONLY | O_DIRECT);
	t->files[PART] = must_open(path, O_RDWR | O_DIRECT);
	t->files[OTHER_DISK] = must_open("/dev/ram0", O_RDWR | O_DIRECT);
	t->files[TMPFS] = must_open("/tmp", O_TMPFILE | O_RDWR);
	t->files[NO_FILE] = -1;
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
		tap_bail("no pipe");
	t->files[PIPE_R] = p[0];
	t->files[PIPE_W] = p[1];
	snprintf(path, sizeof(path), "/dev/ng%s", strrchr(rig_drive_path(), '/') + 5);
	t->ng = open(path, O_RDWR | O_CLOEXEC);
	t->sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	t->direct = true;
	t->scratch = rig_alloc(SCRATCH);
	memset(t->scratch, 0x5a, SCRATCH);
	for (i = 0; i < BUFS; i++)
		t->bufs[i].fd = -1;
}

static void make_partition(int drive)
{
	struct blkpg_partition part = { .start = PART_AT, .length = PART_SIZE, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part,
	};

	/* busy: it is there from a run before */
	if (ioctl(drive, BLKPG, &arg) && errno != EBUSY)
		tap_bail("no partition: %s", strerror(errno));
}

static bool ended(const struct thread *t)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += HANG_S;
	return !pthread_timedjoin_np(t->pthread, NULL, &limit);
}

static void run(uint64_t seed)
{
	/* the last one takes the BAR away */
	const unsigned int nr = still ? nr_threads : nr_threads + 1;
	double end = now() + seconds;
	unsigned int i;

	memset(threads, 0, sizeof(threads));
	stop = false;
	for (i = 0; i < nr; i++) {
		threads[i].nr = i;
		threads[i].state = seed * MAX_THREADS + i;
		open_files(&threads[i]);
		if (pthread_create(&threads[i].pthread, NULL, i < nr_threads ? fuzz_thread :
				   take_thread, &threads[i]))
			tap_bail("no thread");
	}
	while (max_steps == -1ul && now() < end)
		usleep(100000);
	stop = max_steps == -1ul;
	for (i = 0; i < nr; i++) {
		if (i == nr_threads)
			stop = true;
		if (!ended(&threads[i])) {
			say_threads();
			say_hang();
			tap_bail("thread %u hangs", i);
		}
	}
	say_threads();
}

static unsigned long used(size_t what)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < nr_threads; i++)
		sum += *(unsigned long *)((char *)&threads[i] + what);
	return sum;
}

static void judge(void)
{
	tap_is(violations, 0, "every result is one that the ABI allows");
	tap_ok(true, "nothing hangs");
	tap_ok(used(offsetof(struct thread, exports)) && used(offsetof(struct thread, registered)) &&
	       used(offsetof(struct thread, moved)) && used(offsetof(struct thread, refused)) && (takes || still),
	       "something was exported, registered, moved, refused%s", still ? "" : " and taken away");
	tap_diag("the BAR was taken away %lu times, %lu processes killed", takes, kills);
}

/* The same seed twice, and then another one. */
static void run_again(uint64_t seed)
{
	unsigned int i, same = 0, others = 0;
	uint64_t first[MAX_THREADS];

	run(seed);
	for (i = 0; i < nr_threads; i++)
		first[i] = threads[i].digest;
	run(seed);
	for (i = 0; i < nr_threads; i++)
		same += threads[i].digest == first[i];
	run(seed + 1);
	for (i = 0; i < nr_threads; i++)
		others += threads[i].digest != first[i];
	tap_is(same, nr_threads, "threads of the same seed that make the same calls");
	tap_is(others, nr_threads, "threads of another seed that make others");
}

/* Nothing of before may be in flight: the close took every dma-buf away. */
static void fresh(void)
{
	struct rig_transfer t = { .block = 65536, .count = 256, .depth = 16, .dev = CHECKED };
	struct rig_memory mem;
	struct io_uring ring;

	rig_memory(&mem, "bar", 0);
	t.file = rig_open_drive();
	rig_ring(&ring, 64, 0);
	tap_is(rig_try_register(&ring, 0, mem.fd, t.file), 0, "a fresh registration");
	tap_is(rig_transfer(&ring, &mem, &t), 0, "reads through it");
	t.write = true;
	tap_is(rig_transfer(&ring, &mem, &t), 0, "writes through it");
	tap_is(rig_check_drive(t.file, CANARY_SEED, CANARY_AT, CANARY), -1,
	       "the drive is as it was behind the partition");
	tap_is(bario_pattern_check(mem.cpu + BAR_FUZZED, CANARY, CANARY_SEED, 0, NULL), 0,
	       "the BAR is as it was behind what was exported");
	io_uring_queue_exit(&ring);
	close(t.file);
	rig_free_memory(&mem);
}

int main(int argc, char **argv)
{
	uint64_t seed = time(NULL);
	int drive, i;

	for (i = 1; i + 1 < argc; i += 2) {
		still |= !strcmp(argv[i], "--still");
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--steps") || !strcmp(argv[i], "--still"))
			max_steps = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--threads"))
			nr_threads = atoi(argv[i + 1]);
		else
			tap_bail("unknown option %s", argv[i]);
	}
	if (!nr_threads || nr_threads >= MAX_THREADS)
		tap_bail("from 1 to %u threads", MAX_THREADS - 1);
	tap_diag("seed %llu", (unsigned long long)seed);
	signal(SIGPIPE, SIG_IGN);
	drive_size = rig_drive_size();
	drive = rig_open_drive();
	rig_open_bar(&bar);
	if (drive_size < CANARY_AT + CANARY || bar.size < BAR_FUZZED + CANARY)
		tap_skip_all("the drive or the BAR is too small");
	polls = rig_drive_polls();
	make_partition(drive);
	rig_fill_drive(drive, CANARY_SEED, CANARY_AT, CANARY);
	bario_pattern_fill(bar.cpu + BAR_FUZZED, CANARY, CANARY_SEED, 0);
	rig_unmap_bar(&bar);
	bar_fd = bario_dev_fd(bar.dev);

	if (still)
		run_again(seed);
	else
		run(seed);
	bario_dev_close(bar.dev);
	judge();
	fresh();
	close(drive);
	return tap_done();
}
