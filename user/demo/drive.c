// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the drive says of itself, asked through nvme-cli: an opinion that does not
 * come from the code under test.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

/* The unit of MDTS is the controller's least page size */
#define MDTS_PAGE 4096

/* The output of "nvme VERB PATH -o json", which the caller frees */
static char *ask(const char *nvme, const char *verb, const char *path)
{
	size_t size = 1 << 16, n;
	char command[512], *text = malloc(size);
	FILE *pipe;

	snprintf(command, sizeof(command), "%s %s %s -o json", nvme, verb, path);
	pipe = text ? popen(command, "re") : NULL;
	if (!pipe)
		die("cannot run %s: %s", command, strerror(errno));
	n = fread(text, 1, size - 1, pipe);
	text[n] = '\0';
	if (pclose(pipe) || !n)
		die("%s failed", command);
	return text;
}

/* A whole number of a JSON object; nvme-cli puts the wide ones into quotes */
static uint64_t number(const char *text, const char *key)
{
	char quoted[64], *end;
	const char *p;
	uint64_t value;

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	p = strstr(text, quoted);
	p = p ? strchr(p + strlen(quoted), ':') : NULL;
	if (!p)
		die("nvme-cli's output has no %s", key);
	p += 1 + strspn(p + 1, " \"");
	errno = 0;
	value = strtoull(p, &end, 10);
	if (errno || end == p || !strchr("\",}\n ", *end))
		die("nvme-cli's %s is no whole number", key);
	return value;
}

struct drive_count drive_count(const char *nvme, const char *path)
{
	char *text = ask(nvme, "smart-log", path);
	struct drive_count c = {
		.reads = number(text, "host_read_commands"),
		.writes = number(text, "host_write_commands"),
	};

	free(text);
	return c;
}

uint64_t drive_mdts(const char *nvme, const char *path)
{
	char *text = ask(nvme, "id-ctrl", path);
	uint64_t mdts = number(text, "mdts");

	free(text);
	if (mdts > 31)
		die("the drive says MDTS %llu, which is absurd", (unsigned long long)mdts);
	return mdts ? (uint64_t)MDTS_PAGE << mdts : 0;
}

void drive_bdf(const char *name, char *bdf, size_t size)
{
	char path[128], real[PATH_MAX], *slash;

	snprintf(path, sizeof(path), "/sys/block/%s/device/device", name);
	slash = realpath(path, real) ? strrchr(real, '/') : NULL;
	if (!slash || strlen(slash + 1) >= size)
		die("cannot find the PCI device of %s", name);
	strcpy(bdf, slash + 1);
}
