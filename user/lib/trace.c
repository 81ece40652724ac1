// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Kernel trace events, counted in a tracefs instance of our own, so that nobody
 * else's tracing disturbs the count and ours disturbs nobody's.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "priv.h"

#define TRACING "/sys/kernel/tracing"

/**
 * struct bario_trace - a tracefs instance
 * @dir: its folder, which is removed at the end
 */
struct bario_trace {
	char dir[BARIO_PATH - 160];
};

static int trace_write(struct bario_trace *trace, const char *file, const char *text)
{
	char path[BARIO_PATH];

	snprintf(path, sizeof(path), "%s/%.150s", trace->dir, file);
	return bario__write_text(path, text);
}

static int need_tracefs(struct bario_err *err)
{
	char path[BARIO_PATH];
	int ret;

	bario__path(path, TRACING "/instances");
	if (!access(path, F_OK))
		return 0;
	if (!mount("tracefs", TRACING, "tracefs", 0, NULL) && !access(path, F_OK))
		return 0;
	ret = errno ? -errno : -ENOENT;
	return bario__fail(err, ret, "there is no tracefs at " TRACING ": %s", strerror(-ret));
}

int bario_trace_open(struct bario_trace **tracep, struct bario_err *err)
{
	struct bario_trace *trace;
	char path[BARIO_PATH];
	unsigned int i;
	int ret = need_tracefs(err);

	if (ret)
		return ret;
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return bario__fail(err, -ENOMEM, "out of memory");
	for (i = 0; i < 1000; i++) {
		bario__path(path, TRACING "/instances/bario-%d-%u", (int)getpid(), i);
		if (strlen(path) >= sizeof(trace->dir)) {
			ret = -ENAMETOOLONG;
			break;
		}
		strcpy(trace->dir, path);
		ret = mkdir(path, 0700) ? -errno : 0;
		if (ret != -EEXIST)
			break;
	}
	if (ret) {
		free(trace);
		return bario__fail(err, ret, "cannot make %s: %s", path, strerror(-ret));
	}
	/* One clock for all processors keeps "the last" event the last */
	trace_write(trace, "trace_clock", "global");
	*tracep = trace;
	return 0;
}

void bario_trace_close(struct bario_trace *trace)
{
	if (!trace)
		return;
	rmdir(trace->dir);
	free(trace);
}

int bario_trace_enable(struct bario_trace *trace, const char *event, const char *filter,
		       struct bario_err *err)
{
	const char *colon = strchr(event, ':');
	char file[128];
	int ret, folder;

	if (!colon || strlen(event) > 100)
		return bario__fail(err, -EINVAL, "'%.100s' is no system:event", event);
	folder = snprintf(file, sizeof(file), "events/%.*s/%s/", (int)(colon - event), event,
			  colon + 1);
	if (filter) {
		strcpy(file + folder, "filter");
		ret = trace_write(trace, file, filter);
		if (ret)
			return bario__fail(err, ret, "trace event %s does not take the filter '%s': %s",
					   event, filter, strerror(-ret));
	}
	strcpy(file + folder, "enable");
	ret = trace_write(trace, file, "1");
	if (ret)
		return bario__fail(err, ret, "this kernel has no trace event %s: %s", event,
				   strerror(-ret));
	return 0;
}

int bario_trace_clear(struct bario_trace *trace)
{
	return trace_write(trace, "trace", "");
}

int bario_trace_stop(struct bario_trace *trace)
{
	return trace_write(trace, "tracing_on", "0");
}

/* Events that the ring of processor @cpu lost, 0 when there is no such one */
static uint64_t lost_on(struct bario_trace *trace, unsigned int cpu, bool *exists)
{
	char path[BARIO_PATH], line[128];
	uint64_t lost = 0, n;
	FILE *file;

	snprintf(path, sizeof(path), "%s/per_cpu/cpu%u/stats", trace->dir, cpu);
	file = fopen(path, "re");
	*exists = file;
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "overrun: %" SCNu64, &n) == 1 ||
		    sscanf(line, "dropped events: %" SCNu64, &n) == 1)
			lost += n;
	}
	if (file)
		fclose(file);
	return lost;
}

static bool any_lost(struct bario_trace *trace)
{
	bool exists = true;
	unsigned int cpu;

	for (cpu = 0; exists; cpu++) {
		if (lost_on(trace, cpu, &exists))
			return true;
	}
	return false;
}

/* What follows "task-pid [cpu] flags time: name: "; NULL when it is another event's */
static char *event_text(char *line, const char *event)
{
	size_t len = strlen(event);
	char *p = line[0] == '#' ? NULL : strstr(line, "] ");

	p = p ? strstr(p, ": ") : NULL;
	if (!p || strncmp(p + 2, event, len) || strncmp(p + 2 + len, ": ", 2))
		return NULL;
	return p + 2 + len + 2;
}

/* Go through the recorded lines: count those of @event, keep the last in @out */
static int64_t scan(struct bario_trace *trace, const char *event, char *out, size_t size,
		    struct bario_err *err)
{
	char path[BARIO_PATH], *line = NULL, *text;
	size_t room = 0;
	int64_t n = 0;
	FILE *file;
	int ret;

	snprintf(path, sizeof(path), "%s/trace", trace->dir);
	file = fopen(path, "re");
	if (!file) {
		ret = -errno;
		return bario__fail(err, ret, "cannot read %s: %s", path, strerror(-ret));
	}
	while (getline(&line, &room, file) >= 0) {
		text = event_text(line, event);
		if (!text)
			continue;
		n++;
		text[strcspn(text, "\n")] = '\0';
		if (size)
			snprintf(out, size, "%s", text);
	}
	free(line);
	fclose(file);
	return n;
}

int64_t bario_trace_count(struct bario_trace *trace, const char *event, struct bario_err *err)
{
	if (any_lost(trace))
		return bario__fail(err, -EOVERFLOW,
				   "the trace buffer overflowed, so %s cannot be counted", event);
	return scan(trace, event, NULL, 0, err);
}

int bario_trace_last(struct bario_trace *trace, const char *event, char *line, size_t size,
		     struct bario_err *err)
{
	int64_t n = scan(trace, event, line, size, err);

	if (n < 0)
		return (int)n;
	return n ? 0 : bario__fail(err, -ENOENT, "no trace event %s came", event);
}

int bario_trace_field(const char *line, const char *key, char *value, size_t size)
{
	size_t len = strlen(key), n;
	const char *p;

	for (p = line; (p = strstr(p, key)); p += len) {
		if ((p > line && p[-1] != ' ') || p[len] != '=')
			continue;
		p += len + 1;
		n = strcspn(p, " \n");
		if (n >= size)
			return -ENAMETOOLONG;
		memcpy(value, p, n);
		value[n] = '\0';
		return 0;
	}
	return -ENOENT;
}
