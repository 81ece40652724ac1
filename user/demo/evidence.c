// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The evidence that no CPU copied the payload: three counters that every way of
 * copying it would raise, and the event that tells how the buffer was mapped.
 */
#include <stdio.h>

#include "demo.h"

#define BOUNCE	"swiotlb:swiotlb_bounced"
#define CACHE	"filemap:mm_filemap_add_to_page_cache"
#define MAPPING	"dma_token:dma_token_map"

static struct bario_trace *trace;
static uint64_t copies_before;

static const char *event_name(const char *event)
{
	while (*event++ != ':')
		;
	return event;
}

static void enable(const char *event, const char *filter)
{
	struct bario_err err;

	if (bario_trace_enable(trace, event, filter, &err))
		die("%s", err.msg);
}

void evidence_open(const struct bario_disk *disk)
{
	struct bario_err err;
	char filter[64];

	if (bario_trace_open(&trace, &err))
		die("%s", err.msg);
	/* A block device's page cache hangs on an inode numbered as the kernel numbers the device */
	snprintf(filter, sizeof(filter), "i_ino == %llu",
		 (unsigned long long)disk->major << 20 | disk->minor);
	enable(BOUNCE, NULL);
	enable(CACHE, filter);
	enable(MAPPING, NULL);
}

void evidence_close(void)
{
	bario_trace_close(trace);
}

void evidence_begin(void)
{
	if (bario_trace_clear(trace))
		die("cannot clear the trace buffer");
	copies_before = bario_copy_calls();
}

static int64_t count(const char *event)
{
	struct bario_err err;
	int64_t n = bario_trace_count(trace, event_name(event), &err);

	if (n < 0)
		die("%s", err.msg);
	return n;
}

struct evidence evidence_end(void)
{
	return (struct evidence){
		.bounces = count(BOUNCE),
		.cached = count(CACHE),
		.copies = bario_copy_calls() - copies_before,
	};
}

bool evidence_mapping(char *line, size_t size)
{
	return !bario_trace_last(trace, event_name(MAPPING), line, size, NULL);
}
