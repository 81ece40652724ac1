// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * with-dmabuf r|w|rw[,MS] COMMAND...: run a command that inherits the BAR of the guest's
 * device as a dma-buf, descriptor 9, opened for that access. The device stays open
 * meanwhile: its last close would take the memory away. With MS it goes away all the same,
 * every so many milliseconds, and comes back after half of them.
 */
#include <bario.h>
#include <fcntl.h>
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

/* Until the command has ended, whose status that is; a negative number if none is known. */
static int wait_for(pid_t child, struct bario_dev *dev, unsigned int ms)
{
	pid_t ended;
	int status;

	if (!ms)
		return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	do {
		if (bario_dev_memory(dev, false, NULL))
			return -1;
		usleep(ms * 500);
		if (bario_dev_memory(dev, true, NULL))
			return -1;
		usleep(ms * 500);
		ended = waitpid(child, &status, WNOHANG);
	} while (!ended);
	return ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int argc, char **argv)
{
	const char *bdf = getenv("BARIO_BDF"), *bar = getenv("BARIO_BAR");
	struct bario_dev *dev;
	struct bario_err err;
	const char *comma;
	int fd, status;
	pid_t child;

	if (argc < 3 || !bdf || !bar) {
		fprintf(stderr, "usage: with-dmabuf r|w|rw[,MS] COMMAND..., by tests/vm/run\n");
		return 2;
	}
	fd = bario_dev_open(&dev, bdf, BARIO_MODE_AUTO, &err);
	if (!fd)
		fd = bario_bar_export_access(dev, (unsigned int)atoi(bar), NULL, 0, parse_access(argv[1]), &err);
	if (fd < 0) {
		fprintf(stderr, "with-dmabuf: %s\n", err.msg);
		return 2;
	}
	child = fork();
	if (!child) {
		if (dup2(fd, INHERITED) == INHERITED)
			execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(2);
	}
	comma = strchr(argv[1], ',');
	status = child < 0 ? -1 : wait_for(child, dev, comma ? (unsigned int)atoi(comma + 1) : 0);
	return status < 0 ? 2 : status;
}
