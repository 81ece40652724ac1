/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel's headers give to the device-free parts of drivers/nvme/host.
 *
 * Forced in front of every file (-include); the headers that those parts name
 * themselves resolve to the ones that the C library ships for user space, or to those
 * in include/ beside this.
 */
#ifndef BARIO_TESTS_HOST_SHIM_H
#define BARIO_TESTS_HOST_SHIM_H

#include <endian.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint64_t dma_addr_t;

#define BIT(n)			(1UL << (n))
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define cpu_to_le32(x)		((__le32)htole32(x))
#define le32_to_cpu(x)		((u32)le32toh(x))
#define cpu_to_le64(x)		((__le64)htole64(x))
#define le64_to_cpu(x)		((u64)le64toh(x))

#endif /* BARIO_TESTS_HOST_SHIM_H */
