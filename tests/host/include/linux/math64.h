/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_TESTS_HOST_MATH64_H
#define BARIO_TESTS_HOST_MATH64_H

#define div64_u64(n, d)	((u64)(n) / (u64)(d))

#endif /* BARIO_TESTS_HOST_MATH64_H */
