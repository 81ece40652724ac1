// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Patience with the CPU's mapping of memory that may be taken away.
 *
 * fio fills and verifies buffers whenever it likes, and a BAR that is in a reset just
 * then has no pages: SIGBUS. The handler waits and has the access tried again. When
 * the time is up it says what is gone and puts ordinary memory in its place, so that
 * the access ends; the job's next request then fails. (A job that dies of a signal
 * makes fio 3.33 free things twice.) Only async-signal-safe calls; ranges are added and
 * removed while no job touches them, in slots that are never moved.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

#define RANGES 4096

static struct range {
	char *volatile start;
	char *end;
	unsigned int seconds;
	int *error;
	const volatile bool *ending;
	volatile sig_atomic_t lost;
	char gone[192];
} ranges[RANGES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static bool installed;

static struct range *range_of(const char *addr)
{
	unsigned int i;

	for (i = 0; i < RANGES; i++)
		if (ranges[i].start && addr >= ranges[i].start && addr < ranges[i].end)
			return &ranges[i];
	return NULL;
}

static void give_up(struct range *range, int sig)
{
	ssize_t n = write(STDERR_FILENO, range->gone, strlen(range->gone));

	(void)n;
	range->lost = 1;
	if (!*range->error)
		*range->error = ENODEV;
	if (mmap(range->start, (size_t)(range->end - range->start), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		signal(sig, SIG_DFL);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	static __thread time_t first, last;
	static __thread void *where;
	struct range *range = info->si_code > 0 ? range_of(info->si_addr) : NULL;
	const struct timespec a_moment = { .tv_nsec = 5000000 };
	unsigned int patience;
	int saved = errno;
	struct timespec now;

	(void)context;
	if (!range) {
		/* not ours: the access is tried again, or the signal sent again, without us */
		sigaction(sig, &before, NULL);
		if (info->si_code <= 0)
			raise(sig);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* the access at the last place was made since, or that was long ago: away once more */
	if (!first || info->si_addr != where || now.tv_sec > last + 1)
		first = now.tv_sec;
	where = info->si_addr;
	last = now.tv_sec;
	patience = range->seconds;
	if (*range->ending && patience > ENDING_PATIENCE)
		patience = ENDING_PATIENCE;
	if (now.tv_sec - first >= (time_t)patience)
		give_up(range, sig);
	else
		nanosleep(&a_moment, NULL);
	errno = saved;
}

void guard_add(const struct source *source)
{
	const struct engine_options *o = source->options;
	unsigned int seconds = o->revoke == REVOKE_RETRY ? o->revoke_timeout : 0;
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	unsigned int i;

	pthread_mutex_lock(&lock);
	if (!installed && !sigaction(SIGBUS, &action, &before))
		installed = true;
	for (i = 0; i < RANGES; i++) {
		if (ranges[i].start)
			continue;
		ranges[i].end = (char *)source->map + source->map_size;
		ranges[i].seconds = seconds;
		ranges[i].error = source->error;
		ranges[i].ending = source->ending;
		ranges[i].lost = 0;
		snprintf(ranges[i].gone, sizeof(ranges[i].gone),
			 "bario: the CPU touched %s while its owner had taken it away%s\n",
			 source->name, seconds ? ", and it did not come back within revoke_timeout=" :
				   ": revoke=retry waits for it");
		ranges[i].start = source->map;
		break;
	}
	pthread_mutex_unlock(&lock);
}

void guard_remove(void *addr)
{
	unsigned int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < RANGES; i++)
		if (ranges[i].start == addr)
			ranges[i].start = NULL;
	pthread_mutex_unlock(&lock);
}

bool guard_lost(const void *addr)
{
	const struct range *range = addr ? range_of(addr) : NULL;

	return range && range->lost;
}
