// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * To be loaded before a program: its kernel answers our calls as a stock 6.12 does,
 * which knows neither the export of BARs nor the registration of dma-bufs. Building
 * and booting such a kernel for two sentences would take longer than all other tests.
 */
#define _GNU_SOURCE
#include <bario-uapi.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <sys/syscall.h>

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, void *) = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	const struct bario_vfio_export *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == VFIO_DEVICE_FEATURE &&
	    (arg->feature_flags & VFIO_DEVICE_FEATURE_MASK) == BARIO_VFIO_FEATURE_DMA_BUF) {
		errno = ENOTTY;
		return -1;
	}
	return next(fd, request, (void *)arg);
}

long syscall(long number, ...)
{
	long (*next)(long, long, long, long, long, long, long) =
		(long (*)(long, long, long, long, long, long, long))dlsym(RTLD_NEXT, "syscall");
	const struct bario_rsrc_update *up;
	long arg[6];
	va_list ap;
	int i;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	up = (const struct bario_rsrc_update *)arg[2];
	if (number == __NR_io_uring_register && arg[1] == BARIO_REGISTER_BUFFERS_UPDATE && up->flags) {
		errno = EINVAL;
		return -1;
	}
	return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
