// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will have a drain that takes more than two minutes, and is warned of.
 *
 *   drain begin
 *   ...
 *   drain end
 *
 * A command of the drive $SERIAL, another one than $BARIO_NVME, loses its completion, and
 * its buffer moves: the move has to wait, for as long as the driver's timeout lets it. The
 * kernel says so, once. When the controller is reset after that, the command comes back,
 * the move returns, and the request ends well. Other programs may run between the two
 * calls, as most of that is waiting.
 *
 * Needs a kernel with fault injection: QEMU loses nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mover.h"
#include "tap.h"

#define KIB 1024u
#define LOSS "/sys/kernel/debug/fail_io_timeout/"
#define RESULT "/tmp/drain"
#define WARNING "commands on a dma-buf are not coming back"
#define LIMIT_S 400

/* What the process that waits has found, in a file for the other call. */
struct result {
	atomic_uint warnings;		/* so far, and in the end */
	atomic_bool waited;		/* the move had not returned by the first one */
	atomic_int moved, request, data;
	atomic_bool done;
};

static struct result *result(int flags)
{
	int fd = open(RESULT, O_RDWR | O_CLOEXEC | flags, 0600);
	struct result *r;

	if (fd < 0 || ftruncate(fd, sizeof(*r)))
		tap_bail("%s: %s", RESULT, strerror(errno));
	r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (r == MAP_FAILED)
		tap_bail("%s: %s", RESULT, strerror(errno));
	close(fd);
	return r;
}

static void set(const char *dir, const char *name, const char *value)
{
	char path[128];
	int ret;

	snprintf(path, sizeof(path), "%s%s", dir, name);
	ret = rig_write(path, value);
	if (ret)
		tap_bail("%s: %s", path, strerror(-ret));
}

static bool injected(void)
{
	char text[16] = "";
	int fd = open(LOSS "times", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		tap_bail(LOSS "times: unreadable");
	close(fd);
	return atoi(text) == 0;
}

static unsigned int count_warnings(int log)
{
	static unsigned int n;
	char text[8192];
	ssize_t len;

	while ((len = read(log, text, sizeof(text) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		text[len > 0 ? len : 0] = 0;
		n += strstr(text, WARNING) != NULL;
	}
	return n;
}

static void *move_thread(void *arg)
{
	return (void *)(long)mover_call(arg, DMABUF_EXPORTER_MOVE);
}

/* In a process of its own, without a word. */
static void lose_and_wait(struct result *r, struct mover *m, int drive, const char *sysfs)
{
	struct io io = { .fd = drive, .len = 64 * KIB };
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct io_uring ring;
	void *ret = NULL;
	pthread_t mover;
	unsigned int i;

	lseek(log, 0, SEEK_END);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &m->mem, drive);
	rig_fill_drive(drive, 4, 0, io.len);
	set(sysfs, "queue/io_timeout", "600000");
	set(sysfs, "io-timeout-fail", "1");
	set(LOSS, "interval", "1");
	set(LOSS, "verbose", "0");
	set(LOSS, "times", "1");
	set(LOSS, "probability", "100");
	io_queue(&ring, &io);
	io_uring_submit(&ring);
	while (!injected())
		usleep(1000);
	set(LOSS, "probability", "0");
	pthread_create(&mover, NULL, move_thread, m);
	for (i = 0; i < LIMIT_S * 10 && !count_warnings(log); i++)
		usleep(100000);
	/* time for another one */
	sleep(2);
	r->waited = pthread_tryjoin_np(mover, &ret) == EBUSY && !io_reap(&ring);
	set(sysfs, "device/reset_controller", "1");
	if (r->waited)
		pthread_join(mover, &ret);
	r->moved = (long)ret;
	r->request = io_wait(&ring, &io) ?: io.res;
	r->data = bario_pattern_check(m->mem.cpu, io.len, 4, 0, NULL);
	r->warnings = count_warnings(log);
	io_uring_queue_exit(&ring);
	set(sysfs, "io-timeout-fail", "0");
	r->done = true;
}

static void begin(void)
{
	char *usual = strdup(rig_drive_path());
	struct result *r = result(O_CREAT | O_TRUNC);
	static struct mover m;
	char sysfs[64];
	int drive, null;

	rig_choose_drive(getenv("SERIAL") ?: "none");
	if (!strcmp(usual, rig_drive_path()))
		tap_bail("SERIAL does not name a drive that nobody else uses");
	if (access(LOSS, F_OK))
		tap_skip_all("this kernel has no %s", LOSS);
	snprintf(sysfs, sizeof(sysfs), "/sys/block/%.20s/", strrchr(rig_drive_path(), '/') + 1);
	drive = rig_open_drive();
	mover_create(&m, 2, 64 * KIB);
	free(usual);
	tap_ok(true, "a command is lost, and its buffer moves");
	tap_done();
	if (fork())
		_exit(0);
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, 1);
	dup2(null, 2);
	lose_and_wait(r, &m, drive, sysfs);
	mover_destroy(&m);
	_exit(0);
}

static void end(void)
{
	struct result *r = result(0);
	unsigned int i;

	for (i = 0; i < LIMIT_S * 10 && !r->done; i++)
		usleep(100000);
	tap_ok(r->done, "the drain ends when the drive's controller is reset");
	tap_is(r->warnings, 1, "the kernel warns of it, as often");
	tap_ok(r->waited, "the move waits all the time, and so does the request");
	tap_is(r->moved, 0, "the move");
	tap_is(r->request, 64 * KIB, "the request");
	tap_is(r->data, 0, "its data");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "begin"))
		begin();
	else if (argc == 2 && !strcmp(argv[1], "end"))
		end();
	else
		tap_bail("usage: drain begin|end");
	return tap_done();
}
