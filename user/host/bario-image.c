// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's view of a drive image:
 *
 *	bario-image make IMAGE INPUT OFFSET LENGTH SIZE
 *		a new image of SIZE bytes: zeroes up to OFFSET, then INPUT, zeroes
 *		from its end to OFFSET + LENGTH, then a pattern that INPUT has nothing
 *		to do with
 *	bario-image hash FILE OFFSET LENGTH
 *		XXH64 of that part, 16 digits
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bario.h>

#define CHUNK (4UL << 20)

static char buf[CHUNK];

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "bario-image: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

static uint64_t parse_number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || value > INT64_MAX)
		die("'%s' is no number of bytes", text);
	return value;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static void write_all(const char *path, int fd, size_t len, uint64_t at)
{
	size_t done = 0;
	ssize_t n;

	for (; done < len; done += (size_t)n) {
		n = pwrite(fd, buf + done, len - done, (off_t)(at + done));
		if (n <= 0)
			die("cannot write %s: %s", path, strerror(n ? errno : ENOSPC));
	}
}

/* At most CHUNK bytes into buf; less only at the file's end */
static size_t read_some(const char *path, int fd, uint64_t at, uint64_t len)
{
	size_t want = len < CHUNK ? len : CHUNK, done = 0;
	ssize_t n;

	for (; done < want; done += (size_t)n) {
		n = pread(fd, buf + done, want - done, (off_t)(at + done));
		if (n < 0)
			die("cannot read %s: %s", path, strerror(errno));
		if (!n)
			break;
	}
	return done;
}

static void make_image(char **arg)
{
	uint64_t offset = parse_number(arg[2]), length = parse_number(arg[3]);
	uint64_t size = parse_number(arg[4]), at, end;
	int out = open_file(arg[0], O_RDWR | O_CREAT | O_TRUNC);
	int in = open_file(arg[1], O_RDONLY);
	size_t n;

	if (offset > size || length > size - offset)
		die("%s does not fit an image of %" PRIu64 " bytes", arg[1], size);
	if (ftruncate(out, (off_t)size))
		die("%s: %s", arg[0], strerror(errno));
	for (at = 0; at < length; at += n) {
		n = read_some(arg[1], in, at, length - at);
		if (!n)
			break;
		write_all(arg[0], out, n, offset + at);
	}
	end = size;
	for (at = offset + length; at < end; at += n) {
		n = end - at < CHUNK ? end - at : CHUNK;
		bario_pattern_fill(buf, n, offset, at);
		write_all(arg[0], out, n, at);
	}
	close(in);
	if (close(out))
		die("%s: %s", arg[0], strerror(errno));
}

static void hash_part(char **arg)
{
	uint64_t at = parse_number(arg[1]), left = parse_number(arg[2]);
	struct bario_hash *hash = bario_hash_new();
	int fd = open_file(arg[0], O_RDONLY);
	size_t n;

	if (!hash)
		die("out of memory");
	for (; left; left -= n, at += n) {
		n = read_some(arg[0], fd, at, left);
		if (!n)
			die("%s ends before that part does", arg[0]);
		bario_hash_add(hash, buf, n);
	}
	close(fd);
	printf("%016" PRIx64 "\n", bario_hash_end(hash));
}

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "make"))
		make_image(argv + 2);
	else if (argc == 5 && !strcmp(argv[1], "hash"))
		hash_part(argv + 2);
	else
		die("usage: bario-image make IMAGE INPUT OFFSET LENGTH SIZE | hash FILE OFFSET LENGTH");
	return 0;
}
