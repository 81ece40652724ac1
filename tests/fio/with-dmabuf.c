// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * with-dmabuf r|w|rw COMMAND...: run a command that inherits the BAR of the guest's
 * device as a dma-buf, descriptor 9, opened for that access. The device stays open
 * meanwhile: its last close would take the memory away.
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
	return !strcmp(word, "r") ? O_RDONLY : !strcmp(word, "w") ? O_WRONLY : O_RDWR;
}

int main(int argc, char **argv)
{
	const char *bdf = getenv("BARIO_BDF"), *bar = getenv("BARIO_BAR");
	struct bario_dev *dev;
	struct bario_err err;
	int fd, status;
	pid_t child;

	if (argc < 3 || !bdf || !bar) {
		fprintf(stderr, "usage: with-dmabuf r|w|rw COMMAND..., by tests/vm/run\n");
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
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return 2;
	return WEXITSTATUS(status);
}
