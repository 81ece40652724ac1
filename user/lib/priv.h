/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the files of libbario share and programs do not see.
 */
#ifndef BARIO_PRIV_H
#define BARIO_PRIV_H

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "bario.h"

#define BARIO_PATH 512

/* In front of every absolute path: empty, or a made-up tree in the unit tests */
extern const char *bario__root;

/* Fill @err, which may be NULL, and give back @errnum (negative) */
int bario__fail(struct bario_err *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* bario__root and @fmt; an overlong path becomes "", which no call opens */
void bario__path(char path[BARIO_PATH], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The first line of a small file, or a negative errno */
int bario__read_line(const char *path, char *buf, size_t size);
int bario__write_text(const char *path, const char *text);

/* An unsigned number in a file of sysfs */
int bario__read_u64(const char *path, uint64_t *value);

/* The last component of what a symbolic link points at */
int bario__link_name(const char *path, char *buf, size_t size);

/* The first name in folder @path that begins with @prefix; -ENOENT if none */
int bario__find_name(const char *path, const char *prefix, char *buf,
		     size_t size);

/* "dddd:bb:dd.f" and nothing else: it becomes part of paths */
bool bario__bdf_valid(const char *bdf);

static inline void bario__close(int fd)
{
	if (fd >= 0)
		close(fd);
}

#endif
