/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_FAILNTH_H
#define BARIO_TESTS_FAILNTH_H

/*
 * What the parts of failnth.c stand on: the knobs of the kernel's fault injection, the
 * tasks that it is aimed at, and sweeps, which repeat one call with each of its points of
 * failure failing once, and look for what is left behind. The points are those of the
 * fault injection, or the calls of one function of the kernel, see faultpoint.h.
 */

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include "faultpoint.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define GIVE_UP 1500
#define TELL 5		/* problems of one sweep that are described */
#define MAX_TASKS 64
#define SETTLE_S 15	/* until a leak is one */

/*** Knobs ***/

static bool put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* A file of debugfs; without it there is no fault injection. */
static void knob(const char *dir, const char *name, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", dir, name);
	if (!put_text(path, value))
		tap_skip_all("%s: %s", path, strerror(errno));
}

static void knob_number(const char *dir, const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	knob(dir, name, text);
}

/* The first word of a file; "" if there is none. */
static const char *word_of(const char *path)
{
	static char word[64];
	FILE *f = fopen(path, "r");

	if (!f || fscanf(f, "%63s", word) != 1)
		word[0] = 0;
	if (f)
		fclose(f);
	return word;
}

static long knob_value(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", dir, name);
	return atol(word_of(path));
}

/* From now on @times points fail, in whatever task, after @space bytes of bios. */
static void fail_next(const char *dir, long times, long space)
{
	knob_number(dir, "space", space);
	knob_number(dir, "times", times);
	knob(dir, "probability", "100");
}

/* How many of them have failed. */
static long failed_of(const char *dir, long times)
{
	knob(dir, "probability", "0");
	return times - knob_value(dir, "times");
}

/*** Which tasks fail ***/

static int nth[MAX_TASKS];	/* their fail-nth files */
static unsigned int nr_nth;

static void forget_tasks(void)
{
	while (nr_nth)
		close(nth[--nr_nth]);
}

static bool add_task(const char *path)
{
	int fd = nr_nth < MAX_TASKS ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd >= 0)
		nth[nr_nth++] = fd;
	return fd >= 0;
}

static void aim_at_self(void)
{
	forget_tasks();
	if (!add_task("/proc/thread-self/fail-nth"))
		tap_skip_all("no fail-nth: %s", strerror(errno));
}

/* At the tasks in @dir, a folder of /proc, whose name begins so. */
static void aim_at(const char *dir, const char *start)
{
	char path[600];
	struct dirent *de;
	const char *name;
	DIR *d = opendir(dir);

	forget_tasks();
	while (d && (de = readdir(d))) {
		if (de->d_name[0] < '0' || de->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "%s/%s/comm", dir, de->d_name);
		name = word_of(path);
		if (strncmp(name, start, strlen(start)))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/task/%s/fail-nth", de->d_name, de->d_name);
		if (!strcmp(dir, "/proc/self/task"))
			snprintf(path, sizeof(path), "%s/%s/fail-nth", dir, de->d_name);
		add_task(path);
	}
	if (d)
		closedir(d);
}

/* A task that has ended since says ESRCH, which is well. */
static void arm(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);
	unsigned int i;

	for (i = 0; i < nr_nth; i++)
		if (pwrite(nth[i], text, len, 0) != len && errno != ESRCH)
			tap_bail("fail-nth: %s", strerror(errno));
}

/* Did the fault happen? */
static bool disarm(void)
{
	bool hit = false;
	char text[16];
	unsigned int i;
	ssize_t got;

	for (i = 0; i < nr_nth; i++) {
		got = pread(nth[i], text, sizeof(text) - 1, 0);
		if (got > 0) {
			text[got] = 0;
			hit |= !atoi(text);
		}
	}
	arm(0);
	return hit;
}

/*** Sweeps ***/

/**
 * struct sweep - one call, to be failed at each of its points
 * @what:	for messages
 * @before:	prepares each call; may be NULL
 * @call:	with the fault armed: 0 or more, or a negative errno
 * @after:	looks at what the call has left, tries again, cleans up
 * @most:	end after so many points, where the tasks have other work, too
 * @none:	there may be no point at all
 * @kept:	attachments that stay from one point to the next
 * @own_thread:	each time in a new thread, which has no worker yet
 * @allowed:	errnos that are right
 * @symbol:	the points are the calls of this function; NULL: what may fail by itself
 * @value:	what such a call returns
 * @times:	so many of them in a row (1)
 * @stride:	of those calls only each so manieth, where there are many alike
 * @first:	the first of those calls that may fail at all (1)
 */
struct sweep {
	const char *what;
	void (*before)(void);
	int (*call)(void);
	void (*after)(int ret);
	unsigned int most;
	bool none;
	unsigned int kept;
	bool own_thread;
	int allowed[4];
	const char *symbol;
	long value;
	unsigned int times;
	unsigned int stride;
	unsigned int first;
};

static const struct sweep *sweep;
static unsigned int point, problems, said[4];	/* how often each of the allowed */
static bool hit;

__attribute__((format(printf, 1, 2))) static void complain(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (problems++ < TELL)
		tap_diag("%s, point %u: %s", sweep->what, point, text);
}

/* Count an errno, if it is one of those that are right. */
static bool allowed(int ret)
{
	size_t i;

	for (i = 0; i < 4; i++)
		if (sweep->allowed[i] && ret == -sweep->allowed[i]) {
			said[i]++;
			return true;
		}
	return false;
}

/* "5 ENOMEM, 1 EAGAIN, ", or "" */
static const char *what_was_said(void)
{
	static char text[128];
	size_t i, len = 0;

	text[0] = 0;
	for (i = 0; i < 4; i++)
		if (said[i])
			len += snprintf(text + len, sizeof(text) - len, "%u %s, ", said[i],
					strerrorname_np(sweep->allowed[i]));
	return text;
}

/*
 * A number that every open descriptor raises by one, and every one that is reserved
 * for a file that never came: that of the free descriptor after many others.
 */
static long count_fds(void)
{
	int fds[64], i, last;

	for (i = 0; i < 64; i++)
		fds[i] = dup(STDOUT_FILENO);
	last = fds[63];
	while (i--)
		close(fds[i]);
	return last;
}

/* The dma-bufs that a descriptor of ours keeps. */
static long own_dmabufs(void)
{
	DIR *dir = opendir("/proc/self/fd");
	char path[300], name[16];
	struct dirent *de;
	long n = 0;

	while (dir && (de = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", de->d_name);
		memset(name, 0, sizeof(name));
		if (readlink(path, name, sizeof(name) - 1) > 0)
			n += !strncmp(name, "/dmabuf:", 8);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* All dma-bufs there are, and how often they are attached. */
static long count_all(long *attachments)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");
	char line[256], what[16];
	long n, objects = 0;

	if (!f)
		tap_skip_all("no bufinfo");
	*attachments = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Total %ld %15s", &n, what) != 2)
			continue;
		if (!strcmp(what, "devices"))
			*attachments += n;
		else
			objects = n;
	}
	fclose(f);
	return objects;
}

/*
 * Closed rings and dropped buffers are freed by workers: wait until so many
 * attachments are left, and if @all no dma-buf but those that we have open. What is
 * lost is complained of once.
 */
static bool settle(long attachments, bool all)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	static long lost_bufs, lost_attachments;
	time_t end = time(NULL) + SETTLE_S;
	long bufs, attached;

	for (;;) {
		bufs = count_all(&attached) - own_dmabufs() - lost_bufs;
		attached -= attachments + lost_attachments;
		if (!attached && (!all || !bufs))
			return true;
		if (time(NULL) > end)
			break;
		nanosleep(&pause, NULL);
	}
	complain("%ld attachments and %ld dma-bufs are left", attached, all ? bufs : 0);
	lost_attachments += attached;
	lost_bufs += all ? bufs : 0;
	return false;
}

/* What is mapped for DMA, by whomever. */
static long count_mapped(void)
{
	long all = knob_value("dma-api", "nr_total_entries");

	return all - knob_value("dma-api", "num_free_entries");
}

static void arm_point(unsigned int n)
{
	if (sweep->symbol)
		calls_fail(n, sweep->times ? sweep->times : 1);
	else
		arm(n);
}

static bool disarm_point(void)
{
	bool failed;

	if (!sweep->symbol)
		return disarm();
	failed = calls_failed(NULL);
	calls_fail(0, 0);
	return failed;
}

static void *one_point(void *arg)
{
	int *ret = arg;

	if (sweep->own_thread && !sweep->symbol)
		aim_at_self();
	if (sweep->before)
		sweep->before();
	arm_point(point);
	*ret = sweep->call();
	hit = disarm_point();
	if (*ret < 0 && !(hit && allowed(*ret)))
		complain("%d (%s)%s", *ret, strerror(-*ret), hit ? "" : ", but nothing has failed");
	sweep->after(*ret);
	if (sweep->own_thread)
		forget_tasks();
	settle(sweep->kept, true);
	return NULL;
}

static int run_point(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int ret = 0;

	if (!sweep->own_thread) {
		one_point(&ret);
		return ret;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * KIB);
	if (pthread_create(&thread, &attr, one_point, &ret))
		tap_bail("no thread");
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

static void run_sweep(const struct sweep *s)
{
	unsigned int most = s->most ? s->most : GIVE_UP, hits = 0, survived = 0;
	time_t start = time(NULL);
	long fds, mapped;

	sweep = s;
	problems = 0;
	memset(said, 0, sizeof(said));
	forget_tasks();
	if (s->symbol && !calls_set(s->symbol, s->value)) {
		tap_ok(false, "%s: this kernel has no function %s", s->what, s->symbol);
		return;
	}
	fds = count_fds();
	if (s->symbol) {
		/* Well, so that the driver's pools have as much memory as they need. */
		point = 0;
		run_point();
	} else if (!s->own_thread) {
		aim_at_self();
	}
	mapped = count_mapped();
	hit = true;
	for (point = s->first ? s->first : 1; point <= most && (hit || s->most) && problems < TELL;
	     point += s->stride ? s->stride : 1) {
		survived += run_point() >= 0 && hit;
		hits += hit;
	}
	forget_tasks();
	if (count_fds() != fds)
		complain("%ld descriptors are left", count_fds() - fds);
	if (s->symbol && count_mapped() != mapped)
		complain("%ld DMA mappings are left", count_mapped() - mapped);
	if (s->symbol)
		calls_clear();
	tap_ok(!problems && (hits || s->none) && (s->most || !hit),
	       "%s: %u points failed: %s%u survived (%ld s)", s->what, hits, what_was_said(),
	       survived, (long)(time(NULL) - start));
}

#endif
