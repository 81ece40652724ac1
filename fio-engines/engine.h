/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the engine share: the options of a job, the memory that its
 * buffers are in, and the table of operations that each kind of memory has.
 *
 * A job's life, and who calls what:
 *
 *	setup		in fio's own process, for all jobs, before any of them runs:
 *			source_check() and source->ops->share(), for what the jobs have
 *			to have in common, such as a device that only one can open
 *	iomem_alloc	in the job's process or thread: source->ops->alloc()
 *	post_init	the ring, and the memory registered for each disk
 *	cleanup		the ring, then source->ops->free() and ->unshare()
 */
#ifndef BARIO_ENGINE_H
#define BARIO_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bario.h>

enum source_kind {
	SOURCE_UNSET,	/* vfio if there is a bdf= */
	SOURCE_VFIO,
	SOURCE_DMABUF_FD,
	SOURCE_UDMABUF,
	SOURCE_SYSTEM_HEAP,
	SOURCE_CMA_HEAP,
	SOURCE_HOST,
	SOURCE_BOUNCE,
	NR_SOURCES,
};

/* What a boolean of ours is when nobody said so; all options begin as zeroes */
enum choice {
	CHOICE_UNSET,
	CHOICE_OFF,
	CHOICE_ON,
};

enum revoke {
	REVOKE_FAIL,
	REVOKE_RETRY,
};

#define UNSET_NUMBER	-1

struct engine_options {
	void *pad;	/* fio's parser takes offset 0 for "no variable" */
	unsigned int source;
	char *bdf;
	int bar;
	unsigned long long bar_offset;
	int dmabuf_fd;
	unsigned int hugepage;
	unsigned int iommu;
	unsigned int revoke;
	unsigned int revoke_timeout;
	unsigned int revoke_every;
	unsigned int hipri;
	unsigned int fixedbufs;
	unsigned int registerfiles;
	unsigned int sqpoll;
	int sqpoll_cpu;
	int nonvectored;
	unsigned int defer_taskrun;
	unsigned int single_issuer;
};

/* The memory can be read and written by the CPU, or so its kind says */
#define SOURCE_CAP_CPU		(1u << 0)
/* It comes as a dma-buf and is registered with the ring as one */
#define SOURCE_CAP_DMABUF	(1u << 1)
/* Its owner may take it away and give it back */
#define SOURCE_CAP_MOVES	(1u << 2)
/* It is of a PCI device: bdf= and its friends */
#define SOURCE_CAP_PCI		(1u << 3)

struct source;

/**
 * struct source_ops - a kind of memory
 * @name: as in bar_source=
 * @caps: SOURCE_CAP_*
 * @share: open what all jobs use together; may be NULL. Undone by unshare()
 * @alloc: @source->size bytes; on failure nothing is left
 * @free: undo alloc()
 * @before_write, @after_read: move data between the buffer and what the drive
 *	uses; NULL where they are the same memory
 */
struct source_ops {
	const char *name;
	unsigned int caps;
	int (*share)(struct source *source, struct bario_err *err);
	void (*unshare)(struct source *source);
	int (*alloc)(struct source *source, struct bario_err *err);
	void (*free)(struct source *source);
	void (*before_write)(struct source *source, size_t at, size_t len);
	void (*after_read)(struct source *source, size_t at, size_t len);
};

/**
 * struct source - the memory of one job
 * @name: for messages, such as "BAR 2 of 0000:02:00.0"
 * @size: what the job needs
 * @buffer: what fio takes for its buffers; the memory itself if @cpu
 * @cpu: the CPU sees the memory at @buffer
 * @dmabuf: its dma-buf, or -1
 * @offset: where in the dma-buf the memory begins
 * @io: the host memory that the drive uses, where there is no dma-buf
 * @error: the job's errno; set when the CPU finds the memory gone for good, so that
 *	what fio makes of the bytes that it reads instead is not taken for the cause
 * @ending: the job was told to end
 */
struct source {
	const struct source_ops *ops;
	const struct engine_options *options;
	char name[64];
	size_t size;
	char *buffer;
	bool cpu;
	int dmabuf;
	uint64_t offset;
	char *io;
	int *error;
	const volatile bool *ending;

	/* private to the kinds */
	struct shared *shared;
	struct mover *mover;
	size_t range;
	void *map;
	size_t map_size;
};

extern const struct source_ops source_vfio, source_dmabuf_fd, source_udmabuf,
	source_system_heap, source_cma_heap, source_host, source_bounce;

/* The kind that the options ask for, and whether they fit it */
int source_check(struct source *source, const struct engine_options *options,
		 struct bario_err *err);

/* Fill @err and give back @errnum */
int fail(struct bario_err *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Zeroed memory of whole pages, NULL if there is none */
char *host_pages(size_t size);

/*
 * Map a dma-buf for the CPU. Where it cannot be mapped, the buffer is scratch
 * memory for fio to write to, which no drive ever sees, and source->cpu is false.
 */
int source_map_dmabuf(struct source *source, size_t size, struct bario_err *err);
int source_scratch(struct source *source, struct bario_err *err);
void source_unmap(struct source *source);

/* memory of a dma-buf that is made for the job alone: free() of three kinds */
void source_free_dmabuf(struct source *source);

/*
 * What several jobs use together, found by its key: a device, a descriptor. The
 * arena tells which parts are in use; it is memory that processes share.
 */
struct arena;

struct shared {
	struct shared *next;
	char key[64];
	unsigned int users;
	struct bario_dev *dev;
	int fd;
	unsigned int bar;
	struct arena *arena;
};

/*
 * The one with that key, made if there is none: then *@fresh is true, and the
 * caller fills it in or gives it up by shared_put(). Calls are serialized between
 * shared_lock() and shared_unlock().
 */
void shared_lock(void);
void shared_unlock(void);
struct shared *shared_get(const char *key, bool *fresh);
void shared_put(struct shared *shared);

struct arena *arena_new(void);
void arena_delete(struct arena *arena);
/* The first free place of @size bytes from @from to @end; -ENOSPC, *@at is then what is left */
int arena_take(struct arena *arena, uint64_t from, uint64_t end, uint64_t size, uint64_t *at);
void arena_give(struct arena *arena, uint64_t at);

/* The thread of revoke_every=; stopping none is fine */
int mover_start(struct source *source, struct bario_err *err);
void mover_stop(struct source *source);

/*
 * Seconds, one to two, that a job that was told to end still waits for its memory. fio
 * says that also when a job's time is up, and requests under way then are to end well.
 */
#define ENDING_PATIENCE 2

/*
 * The CPU's mapping of memory that moves loses its pages meanwhile: who touches it
 * then gets SIGBUS. In a guarded mapping, touching waits as long as the job waits for
 * the memory, which is not at all without revoke=retry.
 */
void guard_add(const struct source *source);
void guard_remove(void *addr);
/* The time was up once: what is at @addr is no longer that memory */
bool guard_lost(const void *addr);

#endif
