// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delays at the entry of kernel functions, to widen the gaps that races need.
 *
 *   insmod faultpoint.ko symbols=NAME,... [delay_us=N] [percent=N]
 *
 * Each entry of one of the functions, in any context, is held up for delay_us with the
 * given probability. It spins: nothing else runs on that processor meanwhile, and
 * anything does on the others. /sys/module/faultpoint/parameters/hits tells how often.
 */

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#define MAX_POINTS	8

static char *symbols[MAX_POINTS];
static int nr_symbols;
module_param_array(symbols, charp, &nr_symbols, 0444);
MODULE_PARM_DESC(symbols, "functions to hold up");

static uint delay_us = 300;
module_param(delay_us, uint, 0444);
MODULE_PARM_DESC(delay_us, "for how long, at most 20000");

static uint percent = 50;
module_param(percent, uint, 0444);
MODULE_PARM_DESC(percent, "how often");

static uint hits;
module_param(hits, uint, 0444);
MODULE_PARM_DESC(hits, "how often so far, roughly");

static struct kprobe points[MAX_POINTS];
static atomic_t entries;

/* May run as an NMI does: no locks, so none of the kernel's random numbers. */
static int point_hit(struct kprobe *p, struct pt_regs *regs)
{
	uint us;

	if (hash_32(atomic_inc_return(&entries), 16) % 100 >= percent)
		return 0;
	WRITE_ONCE(hits, READ_ONCE(hits) + 1);
	for (us = 0; us < delay_us; us += 100)
		udelay(100);
	return 0;
}

static int __init faultpoint_init(void)
{
	int i, ret;

	if (!nr_symbols || percent > 100 || delay_us > 20000)
		return -EINVAL;
	for (i = 0; i < nr_symbols; i++) {
		points[i].symbol_name = symbols[i];
		points[i].pre_handler = point_hit;
		ret = register_kprobe(&points[i]);
		if (ret) {
			pr_err("faultpoint: %s: %d\n", symbols[i], ret);
			while (i--)
				unregister_kprobe(&points[i]);
			return ret;
		}
	}
	return 0;
}

static void __exit faultpoint_exit(void)
{
	int i;

	for (i = 0; i < nr_symbols; i++)
		unregister_kprobe(&points[i]);
}

module_init(faultpoint_init);
module_exit(faultpoint_exit);
MODULE_DESCRIPTION("delays at chosen functions, for tests");
MODULE_LICENSE("GPL");
