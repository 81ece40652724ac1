// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * This test will take the BAR from importers in every way there is.
 *
 * Whoever loses the memory must have been told and must have given back its map
 * before the call that takes it returns, however slow it is; may not map while
 * the memory is away; and can map again when it is back, without being told. The
 * close is for good. Then the orders in which everything can be closed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "exporter.h"
#include "tap.h"

#define SLOW_MS 300

static struct exporter e;

static int mem_off(void)
{
	return exporter_ways[EXPORTER_DECODE].take(&e);
}

static int mem_on(void)
{
	return exporter_ways[EXPORTER_DECODE].give(&e);
}

static void slow_must_end(struct slow *slow, const char *what)
{
	tap_is(slow_wait(slow, what), 0, "%s returns", what);
}

static int new_importer(int dmabuf, enum dmabuf_importer_mode mode, bool fence)
{
	int imp = importer_new(&e, dmabuf, mode, SLOW_MS, fence);

	if (imp < 0)
		tap_bail("cannot map: %s", strerror(-imp));
	return imp;
}

static int remap(int imp)
{
	return importer_map(imp, DMABUF_IMPORTER_AT_ONCE, 0, false);
}

static int attach_once(int dmabuf)
{
	int imp = importer_open(), ret = importer_attach(&e, imp, dmabuf, P2P);

	close(imp);
	return ret;
}

static void check_gone(const struct exporter_way *way, int imp, int dmabuf)
{
	tap_is(remap(imp), -ENODEV, "%s: no map while it lasts", way->name);
	tap_is(attach_once(dmabuf), -ENODEV, "%s: no attach while it lasts", way->name);
}

/* Twice, since the second revocation meets what the first left behind. */
static void test_way(const struct exporter_way *way)
{
	int dmabuf = export_bar(&e);
	int imp = new_importer(dmabuf, DMABUF_IMPORTER_AT_ONCE, false);
	struct dmabuf_importer_status status;
	struct dmabuf_importer_entry entry;
	unsigned int round;
	int ret;

	for (round = 1; round <= 2; round++) {
		ret = way->take(&e);
		if (ret == -EOPNOTSUPP) {
			tap_skip(way->name, "not with this device or this way to open it");
			break;
		}
		tap_is(ret, 0, "%s (%u)", way->name, round);

		status = importer_status(imp);
		tap_is(status.notified, round, "%s: told exactly once", way->name);
		tap_ok(!status.mapped, "%s: the map is gone", way->name);
		if (way->give) {
			check_gone(way, imp, dmabuf);
			tap_is(way->give(&e), 0, "%s: access is back", way->name);
		}

		tap_is(importer_status(imp).notified, round,
		       "%s: nobody is told of that", way->name);
		tap_is(remap(imp), 0, "%s: the same importer maps again", way->name);
		tap_is(importer_entries(imp, &entry, 1, NULL), (long)((e.bar_size - 1) >> 31) + 1,
		       "%s: as many entries as before", way->name);
		tap_ok(entry.phys == e.bar_phys, "%s: of the same memory", way->name);
	}
	close(imp);
	close(dmabuf);
}

static void test_command_register(void)
{
	int dmabuf = export_bar(&e);
	int imp = new_importer(dmabuf, DMABUF_IMPORTER_AT_ONCE, false);

	tap_is(mem_on(), 0, "memory decode on when it is on");
	tap_is(importer_status(imp).notified, 0, "takes nothing from anybody");
	tap_ok(importer_status(imp).mapped, "the map is still there");
	close(imp);
	close(dmabuf);
}

static void test_slow_importer(bool fence)
{
	const char *what = fence ? "an importer with a fence" : "an importer that delays";
	int dmabuf = export_bar(&e), imp;
	struct dmabuf_importer_status status;

	imp = new_importer(dmabuf, fence ? DMABUF_IMPORTER_AT_ONCE :
			   DMABUF_IMPORTER_LATER, fence);
	tap_is(mem_off(), 0, "decode off with %s", what);
	status = importer_status(imp);
	tap_ok(!status.mapped, "%s has no map afterwards", what);
	tap_ok(!status.fenced, "%s has no fence afterwards", what);
	tap_is(mem_on(), 0, "decode on");
	tap_is(remap(imp), 0, "%s maps again", what);
	close(imp);
	close(dmabuf);
}

/* Making and freeing other buffers of the device, as another thread would. */
static int make_and_free(struct exporter *e)
{
	int dmabuf = bario_bar_export(e->dev, e->bar, NULL, 0, NULL);

	return dmabuf < 0 ? dmabuf : close(dmabuf);
}

static int bystander;

static int free_bystander(struct exporter *unused)
{
	(void)unused;
	return close(bystander);
}

/*
 * The importer gives nothing back until it is told: the revocation must not go
 * on without it, and what others may do meanwhile is "later", not an error.
 */
static void test_stubborn_importer(const char *what, int (*take)(struct exporter *e))
{
	int dmabuf = export_bar(&e), other = export_bar(&e), free_imp;
	int imp = new_importer(dmabuf, DMABUF_IMPORTER_WHEN_TOLD, false);
	int imp2 = new_importer(other, DMABUF_IMPORTER_WHEN_TOLD, false);
	bool closing = take == exporter_close;
	struct slow slow, other_slow;

	bystander = export_bar(&e);
	slow_start(&slow, take, &e);
	tap_ok(importer_wait_notified(imp, 1), "%s: the importer is told", what);
	tap_ok(importer_wait_notified(imp2, 1),
	       "%s: the next one too, before the first gave back", what);
	tap_ok(!slow_ended(&slow, SLOW_MS), "%s: waits for both", what);

	free_imp = importer_open();
	tap_is(importer_attach(&e, free_imp, dmabuf, P2P), closing ? -ENODEV : 0,
	       "%s: attach meanwhile", what);
	if (!closing)
		tap_is(remap(free_imp), -EAGAIN, "%s: map meanwhile is \"later\"", what);
	close(free_imp);

	slow_start(&other_slow, free_bystander, &e);
	slow_must_end(&other_slow, "freeing another buffer meanwhile");
	if (!closing) {
		slow_start(&other_slow, make_and_free, &e);
		slow_must_end(&other_slow, "making another buffer meanwhile");
	}

	tap_is(importer_call(imp2, DMABUF_IMPORTER_UNMAP), 0, "%s: one gives back", what);
	tap_ok(!slow_ended(&slow, SLOW_MS), "%s: waits for the other", what);
	tap_is(importer_call(imp, DMABUF_IMPORTER_UNMAP), 0, "%s: the other too", what);
	slow_must_end(&slow, what);

	if (closing) {
		exporter_open(&e);
	} else if (take == exporter_ways[EXPORTER_DECODE].take) {
		tap_is(remap(imp), -ENODEV, "%s: then there is nothing to map", what);
		tap_is(mem_on(), 0, "decode on");
	}
	close(imp);
	close(imp2);
	close(other);
	close(dmabuf);
}

/* While resets go on, an importer sees success or "later", nothing else. */
static struct {
	int dmabuf;
	atomic_bool stop;
	unsigned int maps, later, wrong;
	int error;
} race;

static void *race_main(void *arg)
{
	int ret;

	(void)arg;
	while (!atomic_load(&race.stop)) {
		int imp = importer_open();

		ret = importer_attach(&e, imp, race.dmabuf, P2P);
		if (!ret)
			ret = remap(imp);
		else
			race.wrong++;
		if (!ret)
			race.maps++;
		else if (ret == -EAGAIN)
			race.later++;
		else
			race.error = ret;
		close(imp);
	}
	return NULL;
}

/*
 * A hot reset only tries memory_lock, and says EBUSY when an importer that maps is
 * just looking at the state of the device. That is rare, and must stay so.
 */
static void test_race(const struct exporter_way *way)
{
	unsigned int busy = 0;
	pthread_t thread;
	int i, ret = 0;

	memset(&race, 0, sizeof(race));
	race.dmabuf = export_bar(&e);
	if (pthread_create(&thread, NULL, race_main, NULL))
		tap_bail("no thread");
	for (i = 0; i < 20 && !ret; i++) {
		ret = way->take(&e);
		if (ret == -EBUSY) {
			busy++;
			ret = 0;
		}
	}
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);

	if (ret == -EOPNOTSUPP) {
		tap_skip(way->name, "not with this device or this way to open it");
	} else {
		tap_is(ret, 0, "%s: twenty times under an importer", way->name);
		tap_ok(busy < 10, "%s: busy %u times", way->name, busy);
		tap_is(race.wrong, 0, "%s: attach never fails", way->name);
		tap_is(race.error, 0, "%s: map fails with \"later\" only", way->name);
		tap_diag("%s: %u maps, %u times later", way->name, race.maps, race.later);
	}
	close(race.dmabuf);
}

static void test_revoked_then_closed(void)
{
	int dmabuf = export_bar(&e);
	int imp = new_importer(dmabuf, DMABUF_IMPORTER_AT_ONCE, false);

	tap_is(mem_off(), 0, "decode off");
	exporter_close(&e);
	tap_is(importer_status(imp).notified, 1, "the close has nothing more to take");
	close(imp);
	close(dmabuf);
	exporter_open(&e);
}

static void test_second_open(void)
{
	int old = export_bar(&e), new;
	int imp = new_importer(old, DMABUF_IMPORTER_AT_ONCE, false);

	exporter_close(&e);
	tap_is(importer_status(imp).notified, 1, "close tells the importer");
	tap_ok(!importer_status(imp).mapped, "and the map is gone");
	tap_is(remap(imp), -ENODEV, "it cannot map after the close");

	exporter_open(&e);
	tap_is(remap(imp), -ENODEV, "nor after the next open");
	tap_is(attach_once(old), -ENODEV, "the old buffer cannot be attached");
	new = export_bar(&e);
	tap_is(attach_once(new), 0, "a new one can");
	close(imp);
	imp = new_importer(new, DMABUF_IMPORTER_AT_ONCE, false);
	tap_is(mem_off(), 0, "decode off");
	tap_is(importer_status(imp).notified, 1, "and is revoked like the first was");
	tap_is(mem_on(), 0, "decode on");
	close(imp);
	close(new);
	close(old);
}

/* The descriptor, the importer and the device, in all six orders. */
static void test_close_orders(void)
{
	static const char orders[][4] = { "fid", "fdi", "ifd", "idf", "dfi", "dif" };
	unsigned int i, j;

	for (i = 0; i < 6; i++) {
		int dmabuf = export_bar(&e);
		int imp = new_importer(dmabuf, DMABUF_IMPORTER_AT_ONCE, false);

		for (j = 0; j < 3; j++) {
			if (orders[i][j] == 'f')
				close(dmabuf);
			else if (orders[i][j] == 'i')
				close(imp);
			else
				exporter_close(&e);
		}
		exporter_open(&e);
	}
	tap_ok(true, "descriptor, importer and device closed in all orders");
}

/* An O_PATH descriptor keeps the dentry, and so the buffer, but not the file. */
static void test_o_path(void)
{
	int dmabuf = export_bar(&e), path, files[64], i, ret;
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", dmabuf);
	path = open(name, O_PATH);
	tap_ok(path >= 0, "a descriptor of the path alone");
	close(dmabuf);

	/* Let somebody else have the file's memory. */
	for (i = 0; i < 64; i++)
		files[i] = open("/proc/self/status", O_RDONLY);
	ret = mem_off();
	tap_is(ret, 0, "decode off with no file behind the buffer");
	tap_is(mem_on(), 0, "decode on");
	exporter_close(&e);
	tap_ok(true, "close with no file behind the buffer");
	for (i = 0; i < 64; i++)
		close(files[i]);
	close(path);
	exporter_open(&e);
}

/* Exports and closes while another thread revokes all the time. */
static atomic_bool churn_stop;

static void *churn_main(void *arg)
{
	unsigned int *n = arg;
	int dmabuf, imp;

	while (!atomic_load(&churn_stop)) {
		dmabuf = export_bar(&e);
		imp = importer_open();
		if (!importer_attach(&e, imp, dmabuf, P2P))
			remap(imp);
		close(dmabuf);
		close(imp);
		++*n;
	}
	return NULL;
}

static void test_churn(void)
{
	pthread_t threads[3];
	unsigned int n[3] = {}, i;
	int ret = 0;

	for (i = 0; i < 3; i++)
		if (pthread_create(&threads[i], NULL, churn_main, &n[i]))
			tap_bail("no thread");
	for (i = 0; i < 200 && !ret; i++)
		ret = mem_off() ?: mem_on();
	atomic_store(&churn_stop, true);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	tap_is(ret, 0, "200 revocations among buffers that come and go");
	tap_ok(n[0] && n[1] && n[2], "and they came (%u)", n[0] + n[1] + n[2]);
}

int main(void)
{
	unsigned int i;
	int dmabuf;

	exporter_init(&e);
	exporter_open(&e);
	dmabuf = export_bar(&e);
	if (attach_once(dmabuf) == -EREMOTEIO)
		tap_skip_all("no path between the drive and the BAR");
	close(dmabuf);

	for (i = 0; i < EXPORTER_WAYS; i++)
		test_way(&exporter_ways[i]);
	test_command_register();
	test_slow_importer(false);
	test_slow_importer(true);
	test_stubborn_importer("decode off", exporter_ways[EXPORTER_DECODE].take);
	test_stubborn_importer("close", exporter_close);
	test_race(&exporter_ways[EXPORTER_RESET]);
	test_race(&exporter_ways[EXPORTER_HOT_RESET]);
	test_revoked_then_closed();
	test_second_open();
	test_close_orders();
	test_o_path();
	test_churn();
	exporter_close(&e);
	return tap_done();
}
