// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * revoke_every=: a job that takes its own memory away, to see what that costs those
 * who use it. The device's memory decode is turned off, which revokes the BAR, and on
 * again a moment later, by a thread of the job.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pci.h"

/* Long enough for requests to find the memory away */
#define AWAY_MS 2

struct mover {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool end;
	struct bario_dev *dev;
	unsigned int every;
};

/* True when it is time to end */
static bool wait_ms(struct mover *m, unsigned int ms)
{
	struct timespec until;
	bool end;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&m->lock);
	while (!m->end && pthread_cond_timedwait(&m->ended, &m->lock, &until) != ETIMEDOUT)
		;
	end = m->end;
	pthread_mutex_unlock(&m->lock);
	return end;
}

static void *move(void *arg)
{
	struct mover *m = arg;

	while (!wait_ms(m, m->every)) {
		if (bario_dev_memory(m->dev, false, NULL))
			break;
		wait_ms(m, AWAY_MS);
		if (bario_dev_memory(m->dev, true, NULL))
			break;
	}
	return NULL;
}

int mover_start(struct source *source, struct bario_err *err)
{
	struct mover *m = calloc(1, sizeof(*m));

	if (!m)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->ended, NULL);
	m->dev = source->shared->dev;
	m->every = source->options->revoke_every;
	if (pthread_create(&m->thread, NULL, move, m)) {
		free(m);
		return fail(err, -EAGAIN, "no thread for revoke_every=: see ulimit -u");
	}
	source->mover = m;
	return 0;
}

void mover_stop(struct source *source)
{
	struct mover *m = source->mover;

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->end = true;
	pthread_cond_signal(&m->ended);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	free(m);
	source->mover = NULL;
}
