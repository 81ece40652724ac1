// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will count requests, with every scheduler.
 *
 * What /sys/block/.../stat, the events of the block layer and the drive itself count for
 * requests on a dma-buf is what they count for the same requests on ordinary memory. Only
 * neighbours differ: those on ordinary memory are merged, those on a dma-buf never, neither
 * with each other nor with one on ordinary memory that lies between them.
 */
#define _GNU_SOURCE
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define DMABUF 0
#define PLAIN 1
#define N 32u
#define KIB 1024u
#define MIB (1024u * KIB)
#define PLACE (64ull * MIB)

static const char *const events[] = {
	"block_bio_queue", "block_getrq", "block_rq_issue", "block_rq_complete",
};

#define EVENTS (sizeof(events) / sizeof(events[0]))

static struct rig_memory mem;
static struct io_uring ring;
static uint8_t *plain;
static int drive;
static struct bario_trace *trace;

/* Of one direction; and what is in flight, of both. */
struct counters {
	unsigned long requests, merges, sectors, in_flight;
	uint64_t commands;
	int64_t events[EVENTS];
};

static struct counters now(bool write)
{
	unsigned long v[9];
	struct counters c;
	char path[128];
	FILE *f;
	unsigned int i, n = 0;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", strrchr(rig_drive_path(), '/') + 1);
	f = fopen(path, "r");
	for (i = 0; f && i < 9; i++)
		n += fscanf(f, "%lu", &v[i]) == 1;
	if (n != 9)
		tap_bail("%s cannot be read", path);
	fclose(f);
	c = (struct counters){
		.requests = v[4 * write], .merges = v[4 * write + 1], .sectors = v[4 * write + 2],
		.in_flight = v[8], .commands = rig_drive_commands(drive, write),
	};
	/* after the commands, one of which is for the log of the drive */
	for (i = 0; i < EVENTS; i++)
		c.events[i] = bario_trace_count(trace, events[i], NULL);
	return c;
}

/*
 * N requests in one submission, of @len bytes and so far apart; @slot 2 is one slot and
 * the other in turn. Returns what they made of the counters.
 */
static struct counters count(unsigned int slot, bool write, uint32_t len, uint64_t apart)
{
	struct counters from, to;
	struct io ios[N];
	unsigned int i;
	int ret;

	for (i = 0; i < N; i++) {
		ios[i] = (struct io){
			.fd = drive, .slot = slot == 2 ? i % 2 : slot, .write = write, .len = len,
			.buf = i * apart, .dev = PLACE + i * apart,
		};
		if (ios[i].slot == PLAIN)
			ios[i].buf += (uintptr_t)plain;
		io_queue(&ring, &ios[i]);
	}
	bario_trace_clear(trace);
	from = now(write);
	if (io_uring_submit(&ring) != N)
		tap_bail("not all were submitted");
	ret = io_wait_all(&ring, ios, N);
	if (ret)
		tap_ok(false, "slot %u, %s of %u bytes: %s", slot, write ? "writes" : "reads", len,
		       strerror(-ret));
	to = now(write);
	to.requests -= from.requests;
	to.merges -= from.merges;
	to.sectors -= from.sectors;
	to.commands -= from.commands;
	for (i = 0; i < EVENTS; i++)
		to.events[i] -= from.events[i];
	return to;
}

static void apart(const char *scheduler, bool write, uint32_t len)
{
	struct counters a = count(PLAIN, write, len, 2 * len), b = count(DMABUF, write, len, 2 * len);
	const char *way = write ? "writes" : "reads";
	unsigned int i;

	tap_ok(a.requests == N && !a.merges && a.sectors == N * len / 512 && a.commands == N,
	       "%s: %u %s of %u bytes on ordinary memory: %lu requests, %lu merged, %lu sectors, %lu commands",
	       scheduler, N, way, len, a.requests, a.merges, a.sectors, (unsigned long)a.commands);
	tap_ok(b.requests == a.requests && b.merges == a.merges && b.sectors == a.sectors &&
	       b.commands == a.commands && !b.in_flight,
	       "%s: on a dma-buf as many: %lu, %lu, %lu, %lu (%lu in flight)", scheduler, b.requests,
	       b.merges, b.sectors, (unsigned long)b.commands, b.in_flight);
	for (i = 0; i < EVENTS; i++)
		if (a.events[i] < N || b.events[i] != a.events[i])
			tap_ok(false, "%s: %s %s: %ld, with ordinary memory %ld", scheduler, way, events[i],
			       (long)b.events[i], (long)a.events[i]);
}

static void neighbours(const char *scheduler)
{
	const uint32_t len = 4 * KIB;
	struct counters c;
	uint64_t seed;

	c = count(PLAIN, true, len, len);
	tap_ok(c.merges && c.requests + c.merges == N,
	       "%s: neighbours on ordinary memory are merged, %lu of %u", scheduler, c.merges, N);

	for (seed = 1; seed <= 2; seed++) {
		const unsigned int slot = seed == 1 ? DMABUF : 2;
		const char *what = seed == 1 ? "neighbours on a dma-buf" : "with ordinary memory in between";

		bario_pattern_fill(mem.cpu, N * len, seed, 0);
		bario_pattern_fill(plain, N * len, seed, 0);
		c = count(slot, true, len, len);
		tap_ok(!c.merges && c.requests == N && c.commands == N,
		       "%s: %s are not: %lu merged, %lu requests, %lu commands", scheduler, what, c.merges,
		       c.requests, (unsigned long)c.commands);
		tap_is(rig_check_drive(drive, seed, PLACE, N * len), -1, "%s: %s: the data", scheduler, what);
	}
}

int main(void)
{
	static const char *const schedulers[] = { "none", "mq-deadline", "kyber", "bfq" };
	const uint32_t lens[] = { 4 * KIB, 64 * KIB };
	struct bario_regbuf_desc desc = { .type = BARIO_REGBUF_UADDR, .size = 2 * N * 64 * KIB };
	char event[64];
	struct bario_err err;
	unsigned int i, j;

	rig_memory(&mem, "bar", 0);
	drive = rig_open_drive();
	plain = rig_alloc(desc.size);
	memset(plain, 0x5a, desc.size);
	rig_ring(&ring, N, 0);
	rig_register(&ring, DMABUF, &mem, drive);
	desc.uaddr = (uintptr_t)plain;
	if (bario_ring_update(ring.ring_fd, PLAIN, &desc, NULL, 1) != 1)
		tap_bail("no ordinary memory");
	if (bario_trace_open(&trace, &err))
		tap_bail("%s", err.msg);
	for (i = 0; i < EVENTS; i++) {
		snprintf(event, sizeof(event), "block:%s", events[i]);
		/* the log of the drive, which is asked for here, is none of it */
		if (bario_trace_enable(trace, event, "nr_sector > 0", &err))
			tap_bail("%s", err.msg);
	}

	for (i = 0; i < sizeof(schedulers) / sizeof(schedulers[0]); i++) {
		if (!tap_ok(rig_queue_setting("scheduler", schedulers[i]), "%s: chosen", schedulers[i]))
			continue;
		for (j = 0; j < 2 * sizeof(lens) / sizeof(lens[0]); j++)
			apart(schedulers[i], j & 1, lens[j / 2]);
		neighbours(schedulers[i]);
	}
	rig_queue_setting("scheduler", "none");
	bario_trace_close(trace);
	io_uring_queue_exit(&ring);
	free(plain);
	close(drive);
	rig_free_memory(&mem);
	return tap_done();
}
