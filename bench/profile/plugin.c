// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A QEMU plugin that counts the guest's instructions by place, between two marks.
 *
 *	-plugin PROFILE.so,out=FILE
 *
 * The guest executes MARK_START and MARK_END (see bench.c): no-operations with an
 * address that nobody else uses. At each end FILE gets a line for each block of code
 * that ran since the start: its address, in hexadecimal, and the instructions that were
 * executed in it. QEMU's packages come without the header of the plugin interface, so what
 * is used of it (version 1, QEMU 4.2 and later; docs/devel/tcg-plugins.rst) is declared here.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op,
		void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int vcpu, void *udata), enum qemu_plugin_cb_flags flags, void *udata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

/* A block of code. It may be translated more than once, and then is more than one. */
struct block {
	uint64_t addr;
	uint64_t count;
	struct block *next;
};

/* nopl 0x4d4152NN(%rax,%rax,1), without NN, which is 1 at the start and 2 at the end */
static const unsigned char mark[] = { 0x0f, 0x1f, 0x84, 0x00 };
static const unsigned char mark_tail[] = { 0x52, 0x41, 0x4d };

int qemu_plugin_version = 1;

static struct block *blocks;
static const char *out_path;

static void at_start(unsigned int vcpu, void *udata)
{
	struct block *b;

	(void)vcpu;
	(void)udata;
	for (b = blocks; b; b = b->next)
		b->count = 0;
}

static void at_end(unsigned int vcpu, void *udata)
{
	FILE *out = fopen(out_path, "a");
	struct block *b;

	(void)vcpu;
	(void)udata;
	if (!out)
		return;
	for (b = blocks; b; b = b->next)
		if (b->count)
			fprintf(out, "%016llx %llu\n", (unsigned long long)b->addr,
				(unsigned long long)b->count);
	fprintf(out, "end\n");
	fclose(out);
}

static int which_mark(const struct qemu_plugin_insn *insn)
{
	const unsigned char *data = qemu_plugin_insn_data(insn);

	if (qemu_plugin_insn_size(insn) != 8 || memcmp(data, mark, sizeof(mark)) ||
	    memcmp(data + 5, mark_tail, sizeof(mark_tail)))
		return 0;
	return data[4];
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;
	struct block *b = calloc(1, sizeof(*b));

	(void)id;
	if (!b)
		abort();
	b->addr = qemu_plugin_tb_vaddr(tb);
	b->next = blocks;
	blocks = b;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->count, n);
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		int which = which_mark(insn);

		if (which == 1)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, at_start, QEMU_PLUGIN_CB_NO_REGS, NULL);
		else if (which == 2)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, at_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv);
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	if (argc < 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "profile: out=FILE is missing\n");
		return -1;
	}
	out_path = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
