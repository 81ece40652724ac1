// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delays at the entry of kernel functions, to widen the gaps that races need; and calls
 * that fail, without having been made.
 *
 *   insmod faultpoint.ko symbols=NAME,... [delay_us=N] [percent=N] [within=NAME]
 *
 * Each entry of one of the functions, in any context, is held up for delay_us with the
 * given probability. It spins: nothing else runs on that processor meanwhile, and
 * anything does on the others. /sys/module/faultpoint/parameters/hits tells how often, one
 * number for each function, and held, while one is held up, which one it is, counted from
 * 1, and which of the functions, from 0; else 0 0. With within, only what is called from
 * the body of that one is held up: so a gap can be chosen that is in the middle of a
 * function, by what it calls there.
 *
 *   insmod faultpoint.ko symbols=NAME fails=Y value=N
 *   echo NTH TIMES >/sys/module/faultpoint/parameters/fail
 *
 * From now on the NTH call, and TIMES calls in all, return value at once. Those of the
 * process that loaded the module are counted, whose threads are also the workers of its
 * rings; and of an interrupt that meets one of them. NTH 0 ends that. Read, the file says
 * how many calls came since it was written to, and how many of them failed. What the
 * function would have done to its arguments is left out, so only those can be chosen that
 * leave nothing behind when they fail. lib/fail_function.c does it for the few functions
 * that are marked for it.
 */

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

#define MAX_POINTS	8

static char *symbols[MAX_POINTS];
static int nr_symbols;
module_param_array(symbols, charp, &nr_symbols, 0444);
MODULE_PARM_DESC(symbols, "functions to hold up, or to let fail");

static uint delay_us = 300;
module_param(delay_us, uint, 0444);
MODULE_PARM_DESC(delay_us, "for how long, at most 20000");

static uint percent = 50;
module_param(percent, uint, 0444);
MODULE_PARM_DESC(percent, "how often");

static uint hits[MAX_POINTS];
module_param_array(hits, uint, &nr_symbols, 0444);
MODULE_PARM_DESC(hits, "how often so far, roughly");

static char *within;
module_param(within, charp, 0444);
MODULE_PARM_DESC(within, "the function whose calls are meant; else everybody's");

static uint held, holds;

static int held_get(char *text, const struct kernel_param *kp)
{
	uint which = smp_load_acquire(&held); /* pairs with point_hit() */

	return sysfs_emit(text, "%u %u\n", which / MAX_POINTS, which % MAX_POINTS);
}

static const struct kernel_param_ops held_ops = {
	.get = held_get,
};

module_param_cb(held, &held_ops, NULL, 0444);
MODULE_PARM_DESC(held, "the last one that began, while it lasts");

static bool fails;
module_param(fails, bool, 0444);
MODULE_PARM_DESC(fails, "let calls fail, hold none up");

static long value;
module_param(value, long, 0444);
MODULE_PARM_DESC(value, "what calls that fail return");

static struct kprobe points[MAX_POINTS];
static atomic_t entries;
static ulong within_start, within_size;

static pid_t owner;
static atomic_t calls, failed;
static uint first, past;	/* those that fail: the first, and the first that does not */

static int fail_set(const char *text, const struct kernel_param *kp)
{
	uint nth, times;

	if (sscanf(text, "%u %u", &nth, &times) != 2 || times > UINT_MAX - nth)
		return -EINVAL;

	/* no call may fail while the counters are being set */
	WRITE_ONCE(past, 0);
	atomic_set(&calls, 0);
	atomic_set(&failed, 0);
	WRITE_ONCE(first, nth);
	smp_store_release(&past, nth ? nth + times : 0); /* pairs with call_fails() */
	return 0;
}

static int fail_get(char *text, const struct kernel_param *kp)
{
	return sysfs_emit(text, "%d %d\n", atomic_read(&calls), atomic_read(&failed));
}

static const struct kernel_param_ops fail_ops = {
	.set = fail_set,
	.get = fail_get,
};

module_param_cb(fail, &fail_ops, NULL, 0644);
MODULE_PARM_DESC(fail, "which call fails, and how many");

/* May run as an NMI does: no locks, so none of the kernel's random numbers. */
static int point_hit(struct kprobe *p, struct pt_regs *regs)
{
	uint *hit = &hits[p - points];
	uint us;

	/* at the entry the return address is all that is on the stack */
	if (within && regs_get_kernel_stack_nth(regs, 0) - within_start >= within_size)
		return 0;
	if (hash_32(atomic_inc_return(&entries), 16) % 100 >= percent)
		return 0;
	WRITE_ONCE(*hit, READ_ONCE(*hit) + 1);
	WRITE_ONCE(holds, READ_ONCE(holds) + 1);
	/* whoever reads the same before and after has looked in between; pairs with held_get() */
	smp_store_release(&held, READ_ONCE(holds) * MAX_POINTS + (p - points));
	for (us = 0; us < delay_us; us += 100)
		udelay(100);
	smp_store_release(&held, 0);
	return 0;
}

/* Entered in the place of the function, with the caller's arguments and return address. */
static noinline long call_instead(void)
{
	return value;
}

static int call_fails(struct kprobe *p, struct pt_regs *regs)
{
	uint end = smp_load_acquire(&past); /* pairs with fail_set() */
	uint call;

	if (!end || current->tgid != owner)
		return 0;
	call = atomic_inc_return(&calls);
	if (call < READ_ONCE(first) || call >= end)
		return 0;
	atomic_inc(&failed);
	instruction_pointer_set(regs, (unsigned long)call_instead);
	return 1;
}

NOKPROBE_SYMBOL(call_fails);

/* Keeps the probe from being made a jump, which always comes back to the function. */
static void call_made(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

/* Modules may not look symbols up; a probe does, and the name of its place has the size. */
static int __init find_within(void)
{
	struct kprobe place = { .symbol_name = within };
	char name[KSYM_SYMBOL_LEN];
	int ret = register_kprobe(&place);

	if (ret)
		return ret;
	within_start = (ulong)place.addr;
	unregister_kprobe(&place);
	sprint_symbol(name, within_start);
	return sscanf(strrchr(name, '/') ?: "", "/%lx", &within_size) == 1 ? 0 : -ENOENT;
}

static int __init faultpoint_init(void)
{
	int i, ret;

	if (!nr_symbols || percent > 100 || delay_us > 20000)
		return -EINVAL;
	if (within) {
		ret = find_within();
		if (ret) {
			pr_err("faultpoint: %s: %d\n", within, ret);
			return ret;
		}
	}
	owner = current->tgid;
	for (i = 0; i < nr_symbols; i++) {
		points[i].symbol_name = symbols[i];
		points[i].pre_handler = fails ? call_fails : point_hit;
		points[i].post_handler = fails ? call_made : NULL;
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
MODULE_DESCRIPTION("delays and failures at chosen functions, for tests");
MODULE_LICENSE("GPL");
