/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
#ifndef FORGER_H
#define FORGER_H

/*
 * /dev/forger: bios that carry a DMA token which nobody registered, for any disk.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

struct forger_submit {
	__s32	fd;		/* an open file of the disk */
	__u32	write;
	__s32	status;		/* out: how the bio ended, 0 or -errno */
	__u32	ended;		/* out: how often */
};

#define FORGER_SUBMIT	_IOWR('F', 1, struct forger_submit)

#endif
