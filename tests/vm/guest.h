/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What init.c has guest.c do to the machine before and after the command. */
#ifndef VM_GUEST_H
#define VM_GUEST_H

#include <stdbool.h>

/* Say why on the verdict port and power off. */
void broken(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

void prepare_mounts(void);
void prepare_machine(void);

/*
 * Bind the BAR device to vfio-pci, wait for the drive, and set BARIO_NVME and
 * BARIO_BDF. From the environment: VM_BAR_ID (vendor:device) and BARIO_BAR say
 * which device it is, VM_DRIVE_SERIAL which drive.
 */
void prepare_devices(void);

/*
 * QEMU loses a processor's timer interrupt now and then, on a busy host, and the processor
 * sleeps on until something else wakes it. So a process on each of several wakes the one on
 * the next, which sets the timer there again; that all of them lose theirs at once is beyond
 * it. They live until somebody kills them.
 */
void start_pulses(void);

/* Put what is blocked, and where, into the kernel log. */
void dump_tasks(void);

/* True if kmemleak is built in and holds something; the log then has it. */
bool find_leaks(void);

#endif
