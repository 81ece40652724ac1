// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will do I/O around 2 and 4 GiB.
 *
 * Offsets on the drive (a sparse image), offsets in the buffer (a large sparse BAR),
 * and both at once, right before, across and after the places where 31 and 32 bits
 * end. A truncated offset would land in low memory or on low sectors, so those hold
 * patterns as well and are looked at in the end. A single large request goes across a
 * border too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define LOW (2 * MIB)		/* watched at the bottom of both */
#define LOW_SEED 77

static const uint64_t borders[] = { 2 * GIB, 4 * GIB, 6 * GIB };
static const uint32_t lengths[] = { 512, 4096, 64 * KIB, 1 * MIB + 512 };
static const uint32_t before[] = { 0, 4, 512, 4096, 8188, 65536 };

static struct rig_memory mem;
static struct io_uring ring;
static int drive;
static uint64_t drive_size;

/* One request both ways; the buffer may begin where no sector does. */
static int one(uint64_t buf, uint64_t dev, uint32_t len)
{
	struct rig_transfer t = {
		.file = drive, .buf = buf, .dev = dev, .block = len, .count = 1, .depth = 1,
	};
	int ret = rig_transfer(&ring, &mem, &t);

	if (!ret) {
		t.write = true;
		ret = rig_transfer(&ring, &mem, &t);
	}
	if (ret)
		tap_diag("buffer offset %#llx, device offset %#llx, %u bytes: %s",
			 (unsigned long long)buf, (unsigned long long)dev, len, strerror(-ret));
	return ret;
}

static void around(const char *what, uint64_t border, bool in_buffer, bool on_drive)
{
	uint64_t buf, dev;
	int bad = 0, cases = 0;
	size_t i, j;

	if (on_drive && border + 2 * MIB > drive_size) {
		tap_skip(what, "the drive ends at %llu", (unsigned long long)drive_size);
		return;
	}
	if (in_buffer && border + 2 * MIB > mem.size) {
		tap_skip(what, "the BAR ends at %zu", mem.size);
		return;
	}
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (j = 0; j < sizeof(before) / sizeof(before[0]); j++) {
			buf = in_buffer ? border - before[j] : 4 * MIB + before[j];
			dev = on_drive ? border - (before[j] & ~511u) : 16 * MIB + 512 * j;
			bad += one(buf, dev, lengths[i]) != 0;
			cases++;
		}
	tap_ok(!bad, "%s at %llu GiB: %d of %d cases wrong", what,
	       (unsigned long long)(border / GIB), bad, cases);
}

/* Of many commands, with a border in its middle. */
static void huge(uint64_t border)
{
	const uint32_t len = 256 * MIB + 64 * KIB;
	const uint64_t from = border - 128 * MIB;
	const uint64_t marks[] = { from, border - 4096, border, from + len - 4096 };
	struct io io = { .fd = drive, .buf = from, .dev = from, .len = len };
	int bad = 0, way;
	size_t i;

	if (from + len > drive_size || from + len > mem.size) {
		tap_skip("a request of 256 MiB", "the BAR or the drive is too small");
		return;
	}
	for (way = 0; way < 2; way++) {
		for (i = 0; i < 4; i++) {
			rig_fill_drive(drive, marks[i] + way, marks[i], 4096);
			bario_pattern_fill(mem.cpu + marks[i], 4096, marks[i] + !way, 0);
		}
		io.write = way;
		if (!tap_is(io_run(&ring, &io), len, "a %s of 256 MiB across %llu GiB",
			    way ? "write" : "read", (unsigned long long)(border / GIB)))
			return;
		for (i = 0; i < 4; i++)
			bad += way ? rig_check_drive(drive, marks[i] + !way, marks[i], 4096) >= 0 :
			       bario_pattern_check(mem.cpu + marks[i], 4096, marks[i], 0, NULL);
		tap_is(bad, 0, "and its marks arrive");
	}
}

int main(void)
{
	size_t i;

	drive = rig_open_drive();
	drive_size = rig_drive_size();
	if (drive_size <= 4 * GIB + 4 * MIB)
		tap_skip_all("the drive has only %llu bytes", (unsigned long long)drive_size);
	rig_memory(&mem, "bar", 0);
	tap_diag("BAR of %zu bytes, drive of %llu", mem.size, (unsigned long long)drive_size);
	rig_ring(&ring, 8, 0);
	rig_register(&ring, 0, &mem, drive);
	rig_fill_drive(drive, LOW_SEED, 0, LOW);
	bario_pattern_fill(mem.cpu, LOW, LOW_SEED, 0);

	for (i = 0; i < sizeof(borders) / sizeof(borders[0]); i++) {
		around("drive offsets", borders[i], false, true);
		around("buffer offsets", borders[i], true, false);
		around("both offsets", borders[i], true, true);
	}
	huge(4 * GIB);
	tap_is(rig_check_drive(drive, LOW_SEED, 0, LOW), -1, "nothing came to the drive's bottom");
	tap_is(bario_pattern_check(mem.cpu, LOW, LOW_SEED, 0, NULL), 0,
	       "nothing came to the BAR's bottom");
	io_uring_queue_exit(&ring);
	rig_free_memory(&mem);
	return tap_done();
}
