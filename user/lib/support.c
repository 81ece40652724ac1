// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Error sentences, and the reading of small files of sysfs.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

const char *bario__root = "";

int bario__fail(struct bario_err *err, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->err = errnum;
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
	}
	return errnum;
}

void bario__path(char path[BARIO_PATH], const char *fmt, ...)
{
	int root = snprintf(path, BARIO_PATH, "%s", bario__root), n = -1;
	va_list ap;

	if (root >= 0 && root < BARIO_PATH) {
		va_start(ap, fmt);
		n = vsnprintf(path + root, BARIO_PATH - root, fmt, ap);
		va_end(ap);
	}
	if (n < 0 || n >= BARIO_PATH - root)
		path[0] = '\0';
}

int bario__read_line(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

int bario__write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), ret = 0;
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		ret = -errno;
	else if ((size_t)n != len)
		ret = -EIO;
	close(fd);
	return ret;
}

int bario__read_u64(const char *path, uint64_t *value)
{
	char line[64], *end;
	int ret = bario__read_line(path, line, sizeof(line));

	if (ret)
		return ret;
	errno = 0;
	*value = strtoull(line, &end, 0);
	if (errno || end == line || *end)
		return -EINVAL;
	return 0;
}

int bario__link_name(const char *path, char *buf, size_t size)
{
	char target[BARIO_PATH];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *name;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (strlen(name) >= size)
		return -ENAMETOOLONG;
	strcpy(buf, name);
	return 0;
}

int bario__find_name(const char *path, const char *prefix, char *buf,
		     size_t size)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int ret = -ENOENT;

	if (!dir)
		return -errno;
	while (ret == -ENOENT && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		ret = strlen(entry->d_name) < size ? 0 : -ENAMETOOLONG;
		if (!ret)
			strcpy(buf, entry->d_name);
	}
	closedir(dir);
	return ret;
}

bool bario__bdf_valid(const char *bdf)
{
	static const char form[] = "xxxx:xx:xx.x";
	size_t i;

	for (i = 0; form[i]; i++) {
		if (form[i] == 'x' ? !isxdigit((unsigned char)bdf[i])
				   : bdf[i] != form[i])
			return false;
	}
	return !bdf[i];
}
