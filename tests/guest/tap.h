/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_TAP_H
#define BARIO_TESTS_TAP_H

/*
 * Test points in TAP, for the guest programs.
 *
 * A program states its points with tap_ok() or tap_is(), says what it cannot do
 * here with tap_skip(), and ends with "return tap_done();", which prints the plan.
 * So a program that dies early has no plan, which the reader of the output takes
 * for a failure.  The exit status is 0 (passed), 1 (failed) or 4 (all skipped).
 *
 * Nothing here is safe to call from two threads at once: threads hand their
 * findings to the main thread.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned int tap_points, tap_failures, tap_skips;

#define TAP_FORMAT(n) __attribute__((format(printf, n, n + 1), unused))

static inline void tap_vline(const char *head, const char *fmt, va_list ap)
{
	fputs(head, stdout);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
}

/* A remark: what was measured, which seed was used. */
static TAP_FORMAT(1) void tap_diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_vline("# ", fmt, ap);
	va_end(ap);
}

/* One point; returns @ok, so that what depends on it can be left out. */
static TAP_FORMAT(2) bool tap_ok(bool ok, const char *fmt, ...)
{
	char head[32];
	va_list ap;

	snprintf(head, sizeof(head), "%s %u - ", ok ? "ok" : "not ok", ++tap_points);
	tap_failures += !ok;
	va_start(ap, fmt);
	tap_vline(head, fmt, ap);
	va_end(ap);
	return ok;
}

/* One point: two results (or errno values, negative) are the same. */
static TAP_FORMAT(3) bool tap_is(long got, long want, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (got == want)
		return tap_ok(true, "%s", what);
	return tap_ok(false, "%s: got %ld (%s), want %ld (%s)", what,
		      got, got < 0 ? strerror(-got) : "no error",
		      want, want < 0 ? strerror(-want) : "no error");
}

/* One point that cannot be tried here, with the reason, which is not optional. */
static __attribute__((format(printf, 2, 3), unused)) void
tap_skip(const char *what, const char *reason, ...)
{
	char head[512];
	va_list ap;

	tap_skips++;
	snprintf(head, sizeof(head), "ok %u - %s # SKIP ", ++tap_points, what);
	va_start(ap, reason);
	tap_vline(head, reason, ap);
	va_end(ap);
}

/* The program as a whole cannot do anything here. */
static TAP_FORMAT(1) void tap_skip_all(const char *reason, ...)
{
	va_list ap;

	va_start(ap, reason);
	tap_vline("1..0 # SKIP ", reason, ap);
	va_end(ap);
	exit(4);
}

/* Nothing more makes sense: the setup itself failed. */
static TAP_FORMAT(1) void tap_bail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_vline("Bail out! ", fmt, ap);
	va_end(ap);
	exit(1);
}

static inline int tap_done(void)
{
	printf("1..%u\n", tap_points);
	fflush(stdout);
	if (tap_failures)
		return 1;
	return tap_points && tap_skips == tap_points ? 4 : 0;
}

#endif
