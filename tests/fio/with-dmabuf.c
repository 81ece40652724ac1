// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * with-dmabuf r|w|rw[,MS[,later]] COMMAND...: run a command that inherits the BAR of the
 * guest's device as a dma-buf, descriptor 9, opened for that access. The device stays open
 * meanwhile: its last close would take the memory away. With MS it goes away all the same,
 * every so many milliseconds, and comes back after half of them; for the first time at
 * once, or, with "later", when SIGUSR1 says so.
 */
#include <bario.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INHERITED 9

static int parse_access(const char *word)
{
	switch (strcspn(word, ",") == 1 ? word[0] : 0) {
	case 'r':
		return O_RDONLY;
	case 'w':
		return O_WRONLY;
	default:
		return O_RDWR;
	}
}

/* True if the command has ended, or is to be looked at; false after that time. */
static bool ended_within(const sigset_t *child_ends, unsigned int ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	return sigtimedwait(child_ends, NULL, &t) == SIGCHLD || errno != EAGAIN;
}

/* Takes the memory away and gives it back until the command has ended. */
static int come_and_go(struct bario_dev *dev, unsigned int ms, bool later)
{
	sigset_t child_ends, either;
	int sig;

	sigemptyset(&child_ends);
	sigaddset(&child_ends, SIGCHLD);
	either = child_ends;
	sigaddset(&either, SIGUSR1);
	if (later && (sigwait(&either, &sig) || sig == SIGCHLD))
		return 0;
	do {
		if (bario_dev_memory(dev, false, NULL))
			return -1;
		if (ended_within(&child_ends, ms / 2))
			return 0;
		if (bario_dev_memory(dev, true, NULL))
			return -1;
	} while (!ended_within(&child_ends, ms / 2));
	return 0;
}

/* Until the command has ended, whose status that is; a negative number if none is known. */
static int wait_for(pid_t child, struct bario_dev *dev, const char *when)
{
	int status, ret = 0;

	if (when)
		ret = come_and_go(dev, (unsigned int)atoi(when + 1), strchr(when + 1, ','));
	return !ret && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int argc, char **argv)
{
	const char *bdf = getenv("BARIO_BDF"), *bar = getenv("BARIO_BAR");
	struct bario_dev *dev;
	struct bario_err err;
	sigset_t signals, before;
	int fd, status;
	pid_t child;

	if (argc < 3 || !bdf || !bar) {
		fprintf(stderr, "usage: with-dmabuf r|w|rw[,MS[,later]] COMMAND..., by tests/vm/run\n");
		return 2;
	}
	fd = bario_dev_open(&dev, bdf, BARIO_MODE_AUTO, &err);
	if (!fd)
		fd = bario_bar_export_access(dev, (unsigned int)atoi(bar), NULL, 0, parse_access(argv[1]), &err);
	if (fd < 0) {
		fprintf(stderr, "with-dmabuf: %s\n", err.msg);
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, &before);
	child = fork();
	if (!child) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (dup2(fd, INHERITED) == INHERITED)
			execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(2);
	}
	status = child < 0 ? -1 : wait_for(child, dev, strchr(argv[1], ','));
	return status < 0 ? 2 : status;
}
