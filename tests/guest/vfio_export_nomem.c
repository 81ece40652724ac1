// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will fail each allocation of the exporter once.
 *
 * Export, attach and map are repeated with the first, the second, ... allocation
 * of the call failing, until a call needs no more. Each must then either succeed
 * or say ENOMEM, and leave nothing behind: no dma-buf, no descriptor, and nothing
 * that the leak scan of the machine finds. Wants a kernel with fault injection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exporter.h"
#include "tap.h"

#define PAGE 4096ull
#define NR_RANGES 300
#define GIVE_UP 2000u
#define ROUNDS 20u

static struct exporter e;
static struct bario_vfio_export *request;
static int nth, dmabuf, imp;

static int do_export(void)
{
	return export_raw(&e, request);
}

static void undo_export(int fd)
{
	close(fd);
}

static int do_attach(void)
{
	return importer_attach(&e, imp, dmabuf, P2P);
}

static void undo_attach(int ret)
{
	(void)ret;
	importer_call(imp, DMABUF_IMPORTER_DETACH);
}

static int do_map(void)
{
	return importer_map(imp, DMABUF_IMPORTER_AT_ONCE, 0, false);
}

static void undo_map(int ret)
{
	(void)ret;
	importer_call(imp, DMABUF_IMPORTER_UNMAP);
}

static void set_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(nth, text, len, 0) != len)
		tap_bail("fail-nth: %s", strerror(errno));
}

/* Not 0: the call ended before its nth allocation. */
static unsigned int get_nth(void)
{
	char text[16] = "";

	if (pread(nth, text, sizeof(text) - 1, 0) <= 0)
		tap_bail("fail-nth: %s", strerror(errno));
	return strtoul(text, NULL, 10);
}

/* Fail each allocation of the call once, in turn, until it ends before its nth one. */
static int fail_all(int (*call)(void), void (*undo)(int ret), unsigned int *tries,
		    unsigned int *failed)
{
	unsigned int n, left = 0;
	int ret = 0;

	for (n = 1; !left && n < GIVE_UP; n++) {
		set_nth(n);
		ret = call();
		left = get_nth();
		set_nth(0);
		if (ret >= 0)
			undo(ret);
		else if (ret == -ENOMEM)
			++*failed;
		else
			break;
		++*tries;
	}
	return ret < 0 || left ? ret : -ETIME;
}

/*
 * The kernel's checkers allocate as well, now and then, and bear it when that fails. So
 * the nth allocation of a call is not always the same one, and a round may well meet
 * none of those that matter: go on until one did.
 */
static void fail_each(const char *what, int (*call)(void), void (*undo)(int ret))
{
	unsigned int tries = 0, failed = 0, round;
	int ret = 0;

	for (round = 0; round < ROUNDS && ret >= 0 && (round < 3 || !failed); round++)
		ret = fail_all(call, undo, &tries, &failed);
	tap_ok(ret >= 0, "%s: in the end it succeeds (%d)", what, ret);
	tap_ok(failed > 0, "%s: of %u attempts %u missed an allocation", what, tries, failed);
}

static void write_knob(const char *knob, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", knob, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		tap_skip_all("%s: %s", path, strerror(errno));
	close(fd);
}

static void prepare_injection(void)
{
	static const char *const knobs[] = { "failslab", "fail_page_alloc" };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		write_knob(knobs[i], "ignore-gfp-wait", "N");
		write_knob(knobs[i], "verbose", "0");
	}
	write_knob("fail_page_alloc", "min-order", "0");
	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth < 0)
		tap_skip_all("no fail-nth");
}

static void prepare_request(void)
{
	size_t size = sizeof(*request) + NR_RANGES * sizeof(request->ranges[0]);
	unsigned int i;

	request = calloc(1, size);
	if (!request)
		tap_bail("no memory");
	request->argsz = size;
	request->feature_flags = 1u << 16 | BARIO_VFIO_FEATURE_DMA_BUF;
	request->region_index = e.bar;
	request->open_flags = O_RDWR | O_CLOEXEC;
	request->nr_ranges = NR_RANGES;
	for (i = 0; i < NR_RANGES; i++) {
		request->ranges[i].offset = 2 * i * PAGE;
		request->ranges[i].length = PAGE;
	}
}

int main(void)
{
	long before;

	exporter_init(&e);
	prepare_injection();
	exporter_open(&e);
	prepare_request();
	before = count_dmabufs();

	/* The first export of an open device also makes its hub. */
	fail_each("export", do_export, undo_export);
	dmabuf = export_raw(&e, request);
	imp = importer_open();
	if (dmabuf < 0)
		tap_bail("cannot export: %s", strerror(-dmabuf));
	fail_each("attach", do_attach, undo_attach);
	if (do_attach())
		tap_bail("cannot attach");
	fail_each("map", do_map, undo_map);

	close(imp);
	close(dmabuf);
	tap_is(count_dmabufs(), before, "no dma-buf is left");
	exporter_close(&e);
	free(request);
	return tap_done();
}
