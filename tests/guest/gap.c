// SPDX-License-Identifier: GPL-2.0-or-later
/* See gap.h. */
#define _GNU_SOURCE
#include <bario.h>
#include <sched.h>
#include "faultpoint.h"
#include "gap.h"

#define SECTOR 512u
#define HELD "/sys/module/faultpoint/parameters/held"
#define HOLD_US 10000

static uint64_t *mark(const uint8_t *cpu, size_t at)
{
	return (uint64_t *)(cpu + at);
}

void marks_set(uint8_t *cpu, size_t len, uint64_t seed)
{
	size_t at;

	for (at = 0; at < len; at += SECTOR)
		*(volatile uint64_t *)mark(cpu, at) = bario_pattern_word(seed, at);
}

unsigned long marks_gone(const uint8_t *cpu, size_t len, uint64_t seed)
{
	unsigned long n = 0;
	size_t at;

	for (at = 0; at < len; at += SECTOR)
		n += *(volatile uint64_t *)mark(cpu, at) != bario_pattern_word(seed, at);
	return n;
}

/* Which call is held up now, 0: none; and of which function, NULL: whoever. */
static unsigned int held_now(struct gap *g, unsigned int *symbol)
{
	unsigned int which = 0, of = 0;
	char text[32] = "";

	if (pread(g->held, text, sizeof(text) - 1, 0) < 0 || sscanf(text, "%u %u", &which, &of) != 2)
		return 0;
	if (symbol)
		*symbol = of;
	return which;
}

/* What is seen counts only if the call was still held up after it. */
static void look(struct gap *g, unsigned int which, bool *marked)
{
	bool first = !*marked;
	unsigned long gone;
	bool seen = false;

	if (first) {
		marks_set(g->cpu, g->len, ++g->seed);
		*marked = held_now(g, NULL) == which;
	}
	while (*marked) {
		gone = marks_gone(g->cpu, g->len, g->seed);
		if (held_now(g, NULL) != which)
			break;
		g->begun += !seen && first;
		g->ended += !seen && !first;
		seen = true;
		g->hits += gone;
		if (gone)
			*marked = false;
		usleep(500);
	}
}

static void *watch(void *arg)
{
	struct gap *g = arg;
	unsigned int which, last, symbol;
	bool marked;

	for (;;) {
		sem_wait(&g->go);
		if (g->stop)
			return NULL;
		last = 0;
		marked = false;
		while (atomic_load(&g->within)) {
			which = held_now(g, &symbol);
			/* A sibling that wakes up has its state restored before all that. */
			if (which && which != last && (!symbol || marked))
				look(g, which, &marked);
			last = which ? which : last;
			usleep(100);
		}
		sem_post(&g->gone);
	}
}

/* Whoever is held up spins, and no timer runs on its processor. */
static void stay_on(unsigned int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		tap_bail("no processor %u: %s", processor, strerror(errno));
}

static void *watch_from_elsewhere(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };

	stay_on(1);
	/* verified I/O takes all the time there is */
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		tap_bail("no real-time thread: %s", strerror(errno));
	return watch(arg);
}

bool gap_start(struct gap *g, const char *symbols)
{
	const struct point_how how = { .percent = 100, .delay_us = HOLD_US };

	if (!point_set(symbols, how))
		return false;
	g->held = open(HELD, O_RDONLY | O_CLOEXEC);
	if (g->held < 0)
		tap_bail("%s: %s", HELD, strerror(errno));
	g->begun = g->ended = g->hits = 0;
	g->stop = false;
	sem_init(&g->go, 0, 0);
	sem_init(&g->gone, 0, 0);
	if (pthread_create(&g->thread, NULL, watch_from_elsewhere, g))
		tap_bail("no thread");
	return true;
}

void gap_stop(struct gap *g)
{
	g->stop = true;
	sem_post(&g->go);
	pthread_join(g->thread, NULL);
	close(g->held);
	point_clear();
}

int gap_call(struct gap *g, int (*off)(void))
{
	cpu_set_t before;
	int ret;

	if (sched_getaffinity(0, sizeof(before), &before))
		tap_bail("no processors: %s", strerror(errno));
	stay_on(0);
	atomic_store(&g->within, true);
	sem_post(&g->go);
	ret = off();
	atomic_store(&g->within, false);
	sem_wait(&g->gone);
	sched_setaffinity(0, sizeof(before), &before);
	return ret;
}
