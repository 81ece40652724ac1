// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will move every length and alignment both ways.
 *
 *	sweep bar|udmabuf|hugetlb|heap|plain [--every N] [--seed S] [--ceiling KIB]
 *
 * Reads go from an area of the drive that plain pwrite() has filled into memory
 * that holds something else; writes go to an area whose contents are known, and
 * plain pread() shows what has arrived. Neither direction vouches for the other.
 * Each case compares every byte it should have changed, and a sector (64 bytes in
 * memory) on either side that it should not; at the end both areas are compared
 * as a whole with what they should hold, so that a stray byte anywhere is found.
 *
 * --every N takes only each Nth case, beginning at one that the seed chooses.
 * --ceiling KIB sets the largest command, where the drive takes more than it is asked.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <sys/random.h>
#include <unistd.h>
#include "io.h"
#include "rig.h"
#include "tap.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define PAGE 4096ull
#define LIST_PAGE (512 * PAGE)	/* what one page of PRP entries describes */
#define SECTOR 512ull

#define WINDOW (16 * MIB)	/* how much of the buffer takes part in most cases */
#define READ_AREA 0ull		/* on the drive: where reads come from */
#define WRITE_AREA WINDOW	/* where writes go to */
#define WHOLE_AREA (2 * WINDOW)	/* for the whole buffer */
#define GUARD 64ull

#define SEED_DRIVE 1		/* seeds of the fixed contents */
#define SEED_START 2
#define SEED_MOVING 1000	/* and from here on, one for each case */

static const uint64_t odd_offsets[] = { 0, 4, 512, 2056, 4092, PAGE + 1024, LIST_PAGE - 4 };

struct sweep {
	struct rig_memory mem;
	struct io_uring ring;
	int drive;
	uint64_t window;	/* min(buffer, WINDOW) */
	uint64_t ceiling;	/* bytes that one command can move */
	uint8_t *memory;	/* what the window of the buffer should hold */
	uint8_t *disk;		/* what the write area should hold */
	uint8_t *scratch;
	uint64_t seed;
	uint64_t random;
	unsigned long every;
	unsigned long counter;
	unsigned long generation;
	bool write;		/* the direction being swept */

	unsigned long cases;	/* of the current point */
	unsigned long wrong;
};

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_random(struct sweep *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

static void complain(struct sweep *s, const char *what, uint64_t buf, uint64_t dev,
		     uint64_t len, long detail)
{
	if (s->wrong++ < 5)
		tap_diag("%s: buffer offset %#llx, device offset %#llx, %llu bytes: %s %ld",
			 s->write ? "write" : "read", (unsigned long long)buf,
			 (unsigned long long)dev, (unsigned long long)len, what, detail);
}

static bool moved(struct sweep *s, uint64_t buf, uint64_t dev, uint64_t area, uint64_t len)
{
	struct io io = {
		.fd = s->drive, .write = s->write, .buf = s->mem.base + buf,
		.dev = area + dev, .len = len,
	};
	int res = io_run(&s->ring, &io);

	if (res == (long)len)
		return true;
	complain(s, "result", buf, dev, len, res);
	return false;
}

/*
 * Where two pieces of memory differ, or -1. A failed case leaves the images as what
 * is really there, so that it does not make others fail.
 */
static long first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	uint64_t i;

	if (!memcmp(a, b, len))
		return -1;
	for (i = 0; i < len && a[i] == b[i]; i++)
		;
	return i;
}

static void check_read(struct sweep *s, uint64_t buf, uint64_t dev, uint64_t len)
{
	uint64_t from = buf > GUARD ? buf - GUARD : 0;
	uint64_t to = min64(buf + len + GUARD, s->window);
	long at;

	bario_pattern_fill(s->memory + from, to - from, SEED_MOVING + s->generation, from);
	memcpy(s->mem.cpu + from, s->memory + from, to - from);
	bario_pattern_fill(s->memory + buf, len, SEED_DRIVE, READ_AREA + dev);
	if (!moved(s, buf, dev, READ_AREA, len)) {
		memcpy(s->memory + from, s->mem.cpu + from, to - from);
		return;
	}
	at = first_difference(s->mem.cpu + from, s->memory + from, to - from);
	if (at >= 0) {
		complain(s, "wrong byte in memory at", buf, dev, len, from + at - buf);
		memcpy(s->memory + from, s->mem.cpu + from, to - from);
	}
}

static void check_write(struct sweep *s, uint64_t buf, uint64_t dev, uint64_t len)
{
	uint64_t from = dev ? dev - SECTOR : 0;
	uint64_t to = min64(dev + len + SECTOR, WINDOW);
	bool ok;
	long at;

	bario_pattern_fill(s->memory + buf, len, SEED_MOVING + s->generation, buf);
	memcpy(s->mem.cpu + buf, s->memory + buf, len);
	memcpy(s->disk + dev, s->memory + buf, len);
	ok = moved(s, buf, dev, WRITE_AREA, len);
	if (pread(s->drive, s->scratch, to - from, WRITE_AREA + from) != (ssize_t)(to - from))
		tap_bail("plain pread: %s", strerror(errno));
	if (!ok) {
		memcpy(s->disk + from, s->scratch, to - from);
		return;
	}
	at = first_difference(s->scratch, s->disk + from, to - from);
	if (at >= 0) {
		complain(s, "wrong byte on the drive at", buf, dev, len, from + at - dev);
		memcpy(s->disk + from, s->scratch, to - from);
	}
}

static void check(struct sweep *s, uint64_t buf, uint64_t dev, uint64_t len)
{
	if (buf + len > s->window || dev + len > WINDOW)
		return;
	/* The stock path is pickier about its own memory. */
	if (s->mem.base && buf % SECTOR)
		return;
	if (s->counter++ % s->every)
		return;
	s->generation++;
	s->cases++;
	if (s->write)
		check_write(s, buf, dev, len);
	else
		check_read(s, buf, dev, len);
}

/* A device offset that goes round with the case. */
static uint64_t some_sector(struct sweep *s)
{
	return (s->counter * 7 % 61) * SECTOR;
}

static void sweep_lengths(struct sweep *s)
{
	const size_t n = sizeof(odd_offsets) / sizeof(odd_offsets[0]);
	uint64_t len, times;
	size_t i;

	for (len = SECTOR; len <= 4 * PAGE; len += SECTOR)
		for (i = 0; i < n; i++)
			check(s, odd_offsets[i], some_sector(s), len);
	for (; len <= 40 * PAGE; len += SECTOR)
		check(s, odd_offsets[len / SECTOR % n], some_sector(s), len);
	for (times = 1; times <= 3; times++)
		for (len = times * s->ceiling - 9 * SECTOR;
		     len <= times * s->ceiling + 9 * SECTOR; len += SECTOR)
			check(s, odd_offsets[len / SECTOR % n], some_sector(s), len);
}

static void sweep_around(struct sweep *s, uint64_t border, uint64_t reach)
{
	static const uint64_t lengths[] = { 512, 4096, 8192, 4608, 12288 };
	const size_t n = sizeof(lengths) / sizeof(lengths[0]);
	uint64_t buf;

	for (buf = border - min64(reach, border); buf <= border + reach; buf += 4)
		check(s, buf, some_sector(s), lengths[s->counter % n]);
}

static void sweep_page_borders(struct sweep *s)
{
	uint64_t page;

	for (page = 0; page * PAGE <= 2 * LIST_PAGE + 4 * PAGE; page++)
		sweep_around(s, page * PAGE, 12);
}

static void sweep_list_borders(struct sweep *s)
{
	uint64_t list, page, buf;

	for (list = LIST_PAGE; list <= 2 * LIST_PAGE; list += LIST_PAGE)
		for (page = list - 2 * PAGE; page <= list + 2 * PAGE; page += PAGE) {
			sweep_around(s, page, 64);
			/* the border in the middle of a request of many pages */
			for (buf = page - 32 * PAGE - 8; buf <= page - 32 * PAGE + 8; buf += 4)
				check(s, buf, some_sector(s), 64 * PAGE);
		}
}

static void sweep_device_offsets(struct sweep *s)
{
	static const uint64_t lengths[] = { 512, 4096, 4608, 65536 };
	uint64_t dev;
	size_t i;

	for (dev = 0; dev < 128 * KIB; dev += SECTOR)
		for (i = 0; i < 4; i++)
			check(s, odd_offsets[i + 1], dev, lengths[i]);
}

static void sweep_large(struct sweep *s)
{
	uint64_t lengths[] = {
		2 * s->ceiling, 2 * s->ceiling + SECTOR, 4 * s->ceiling - SECTOR,
		LIST_PAGE, LIST_PAGE + PAGE, 2 * LIST_PAGE - SECTOR, 2 * LIST_PAGE + PAGE, 8 * MIB,
	};
	size_t i, j;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (j = 0; j < 5; j++)
			check(s, odd_offsets[j], some_sector(s), lengths[i]);
}

/*
 * Commands whose own list fills a page: 511 entries and a chain, or exactly 512.
 * The first page of a command needs no entry.
 */
static void sweep_chains(struct sweep *s)
{
	uint64_t len;
	size_t i;

	for (len = LIST_PAGE - 2 * PAGE; len <= LIST_PAGE + 3 * PAGE; len += SECTOR)
		for (i = 0; i < 5; i++)
			check(s, odd_offsets[i], some_sector(s), len);
}

static void sweep_sample(struct sweep *s)
{
	uint64_t buf, len, dev, r;
	int i;

	s->random = s->seed ? s->seed : 1;
	for (i = 0; i < 1500; i++) {
		r = next_random(s);
		len = SECTOR * (1 + next_random(s) % (1 << (r % 12)));
		buf = s->mem.base ? SECTOR : 4;
		buf *= next_random(s) % (s->window / buf);
		dev = SECTOR * (next_random(s) % (WINDOW / SECTOR));
		check(s, buf, dev, len);
	}
}

/* The whole buffer by one request, through pieces that fit into the scratch. */
static void whole_buffer(struct sweep *s)
{
	uint64_t size = s->mem.size, at, piece;
	unsigned long seed = SEED_MOVING + ++s->generation;
	struct bario_mismatch bad;

	for (at = 0; at < size; at += piece) {
		piece = min64(size - at, WINDOW);
		bario_pattern_fill(s->mem.cpu + at, piece, s->write ? seed : ~seed, at);
		bario_pattern_fill(s->scratch, piece, s->write ? ~seed : seed, at);
		if (pwrite(s->drive, s->scratch, piece, WHOLE_AREA + at) != (ssize_t)piece)
			tap_bail("plain pwrite: %s", strerror(errno));
	}
	s->cases++;
	if (!moved(s, 0, 0, WHOLE_AREA, size))
		return;
	for (at = 0; at < size; at += piece) {
		piece = min64(size - at, WINDOW);
		if (s->write && pread(s->drive, s->scratch, piece, WHOLE_AREA + at) != (ssize_t)piece)
			tap_bail("plain pread: %s", strerror(errno));
		if (bario_pattern_check(s->write ? s->scratch : s->mem.cpu + at, piece, seed, at, &bad)) {
			complain(s, "wrong byte at", 0, 0, size, at + bad.at);
			return;
		}
	}
}

/* Before the whole buffer is used, which leaves nothing as it was. */
static void buffer_unchanged(struct sweep *s)
{
	long at = first_difference(s->mem.cpu, s->memory, s->window);

	tap_ok(at < 0, "%s: no byte of the buffer changed that should not (first %ld)",
	       s->mem.name, at);
}

static void drive_unchanged(struct sweep *s)
{
	long at;

	if (pread(s->drive, s->scratch, WINDOW, WRITE_AREA) != (ssize_t)WINDOW)
		tap_bail("plain pread: %s", strerror(errno));
	at = first_difference(s->scratch, s->disk, WINDOW);
	tap_ok(at < 0, "%s: no byte of the write area changed that should not (first %ld)",
	       s->mem.name, at);
	at = rig_check_drive(s->drive, SEED_DRIVE, READ_AREA, WINDOW);
	tap_ok(at < 0, "%s: no byte of the read area changed (first %ld)", s->mem.name, at);
}

static void prepare(struct sweep *s)
{
	s->drive = rig_open_drive();
	s->ceiling = rig_drive_ceiling();
	s->window = min64(s->mem.size, WINDOW);
	s->memory = rig_alloc(WINDOW);
	s->disk = rig_alloc(WINDOW);
	s->scratch = rig_alloc(WINDOW);
	if (rig_drive_size() < WHOLE_AREA + s->mem.size)
		tap_bail("the drive is too small for a buffer of %zu bytes", s->mem.size);

	rig_fill_drive(s->drive, SEED_DRIVE, READ_AREA, WINDOW);
	bario_pattern_fill(s->disk, WINDOW, SEED_START, 0);
	if (pwrite(s->drive, s->disk, WINDOW, WRITE_AREA) != (ssize_t)WINDOW)
		tap_bail("plain pwrite: %s", strerror(errno));
	bario_pattern_fill(s->memory, s->window, SEED_START + 1, 0);
	memcpy(s->mem.cpu, s->memory, s->window);
	rig_ring(&s->ring, 8, 0);
	rig_register(&s->ring, 0, &s->mem, s->drive);
}

static void both_ways(struct sweep *s, const char *what, void (*cases)(struct sweep *))
{
	int i;

	for (i = 0; i < 2; i++) {
		s->write = i;
		s->cases = s->wrong = 0;
		s->counter = s->seed;
		cases(s);
		tap_ok(s->cases && !s->wrong, "%s: %s, %s (%lu cases, %lu wrong)", s->mem.name,
		       s->write ? "write" : "read", what, s->cases, s->wrong);
	}
}

static void options(struct sweep *s, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "every", required_argument, NULL, 'e' },
		{ "seed", required_argument, NULL, 's' },
		{ "ceiling", required_argument, NULL, 'c' },
		{ 0 }
	};
	int c;

	s->every = 1;
	if (getrandom(&s->seed, sizeof(s->seed), 0) != sizeof(s->seed))
		tap_bail("getrandom: %s", strerror(errno));
	s->seed >>= 32;
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == 'e')
			s->every = strtoul(optarg, NULL, 0);
		else if (c == 's')
			s->seed = strtoull(optarg, NULL, 0);
		else if (c == 'c')
			rig_set_drive_ceiling(strtoull(optarg, NULL, 0) * KIB);
		else
			exit(2);
	}
	if (optind != argc - 1 || !s->every) {
		fprintf(stderr, "usage: sweep bar|udmabuf|hugetlb|heap|plain [--every N] [--seed S] "
			"[--ceiling KIB]\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct sweep s;

	options(&s, argc, argv);
	rig_memory(&s.mem, argv[optind], WINDOW);
	prepare(&s);
	tap_diag("%s of %zu bytes, commands of up to %llu bytes, --seed %llu --every %lu",
		 s.mem.name, s.mem.size, (unsigned long long)s.ceiling,
		 (unsigned long long)s.seed, s.every);

	both_ways(&s, "lengths in steps of 512 bytes", sweep_lengths);
	both_ways(&s, "every page border in steps of 4 bytes", sweep_page_borders);
	both_ways(&s, "every list page border in steps of 4 bytes", sweep_list_borders);
	both_ways(&s, "device offsets in steps of 512 bytes", sweep_device_offsets);
	both_ways(&s, "requests of several commands", sweep_large);
	if (s.ceiling > LIST_PAGE + 4 * PAGE)
		both_ways(&s, "commands with a full list page", sweep_chains);
	both_ways(&s, "a random sample", sweep_sample);
	buffer_unchanged(&s);
	both_ways(&s, "the whole buffer at once", whole_buffer);
	drive_unchanged(&s);
	return tap_done();
}
