// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What jobs use together, be they threads or processes that fio forks.
 *
 * A struct shared is made in fio's own process before the jobs begin, which inherit
 * it with its descriptors. Each process counts its own users: a forked job gives up
 * what it inherited, and the device is closed when the last process is gone. The
 * arena is the one thing that changes after the fork, so it is in shared memory.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"

#define RANGES 4096	/* as many as fio has jobs */

struct arena {
	pthread_mutex_t lock;
	unsigned int nr;
	struct {
		uint64_t at;
		uint64_t end;
	} range[RANGES];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared *all;

void shared_lock(void)
{
	pthread_mutex_lock(&lock);
}

void shared_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

struct shared *shared_get(const char *key, bool *fresh)
{
	struct shared *s;

	*fresh = false;
	for (s = all; s; s = s->next) {
		if (!strcmp(s->key, key)) {
			s->users++;
			return s;
		}
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->arena = arena_new();
	if (!s->arena) {
		free(s);
		return NULL;
	}
	snprintf(s->key, sizeof(s->key), "%s", key);
	s->users = 1;
	s->fd = -1;
	s->next = all;
	all = s;
	*fresh = true;
	return s;
}

void shared_put(struct shared *shared)
{
	struct shared **link = &all;

	if (--shared->users)
		return;
	while (*link != shared)
		link = &(*link)->next;
	*link = shared->next;
	bario_dev_close(shared->dev);
	arena_delete(shared->arena);
	free(shared);
}

struct arena *arena_new(void)
{
	pthread_mutexattr_t attr;
	struct arena *arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (arena == MAP_FAILED)
		return NULL;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&arena->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return arena;
}

void arena_delete(struct arena *arena)
{
	munmap(arena, sizeof(*arena));
}

/* A job that was killed in here leaves a table that is whole: entries are added last */
static void arena_lock(struct arena *arena)
{
	if (pthread_mutex_lock(&arena->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&arena->lock);
}

/* The end of a range in the way of @at, or 0 */
static uint64_t in_the_way(const struct arena *arena, uint64_t at, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < arena->nr; i++)
		if (arena->range[i].at < at + size && at < arena->range[i].end)
			return arena->range[i].end;
	return 0;
}

int arena_take(struct arena *arena, uint64_t from, uint64_t end, uint64_t size, uint64_t *at)
{
	uint64_t next;
	int ret = -ENOSPC;

	arena_lock(arena);
	while (from < end && (next = in_the_way(arena, from, size < end - from ? size : end - from)))
		from = next;
	*at = from < end ? end - from : 0;
	if (*at >= size && arena->nr < RANGES) {
		arena->range[arena->nr].at = from;
		arena->range[arena->nr].end = from + size;
		arena->nr++;
		*at = from;
		ret = 0;
	}
	pthread_mutex_unlock(&arena->lock);
	return ret;
}

void arena_give(struct arena *arena, uint64_t at)
{
	unsigned int i;

	arena_lock(arena);
	for (i = 0; i < arena->nr; i++) {
		if (arena->range[i].at == at) {
			arena->range[i] = arena->range[arena->nr - 1];
			arena->nr--;
			break;
		}
	}
	pthread_mutex_unlock(&arena->lock);
}
