/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_DMA_TOKEN_H
#define _LINUX_DMA_TOKEN_H

/*
 * A DMA token ties one dma-buf to one disk.
 *
 * The iterator and the bio carry the token and a byte offset into the dma-buf,
 * never a mapping.  The driver of the disk looks the mapping up when it
 * dispatches a command, holds a reference on it while the device owns the
 * command and drops the reference where it unmaps the data.  Nobody sleeps
 * while holding such a reference, so that the exporter, which waits for all of
 * them before it moves or takes away the memory, waits for hardware alone.
 *
 * Three parties use this header: the layer that owns requests (io_uring)
 * creates and prepares tokens, the block layer passes them on, and the driver
 * attaches them to its device and maps.
 */

#include <linux/blk_types.h>
#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/err.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/percpu-refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dma_map;
struct dma_token;
struct file;
struct gendisk;
struct inode;
struct kiocb;
struct mm_struct;
struct sg_table;
struct user_struct;

/**
 * struct dma_token_ops - what a driver does for its tokens
 * @map:	build the driver's tables from @sgt and return the struct dma_map
 *		embedded in them, or an ERR_PTR.  The driver fills in nothing of
 *		struct dma_map itself.  Called with the dma-buf's reservation
 *		lock held, may sleep and allocate with GFP_KERNEL.  Nothing of
 *		@sgt can be trusted to fit the dma-buf: check every entry,
 *		-EINVAL for a layout that the device cannot address.
 * @unmap:	free what @map made.  All references are gone.  Reservation lock
 *		held, must not fail.
 * @kick:	complete what the device has finished without waiting for
 *		anybody's poll (polled queues have no interrupt).  May be NULL.
 *		Process context, reservation lock held, called repeatedly.
 */
struct dma_token_ops {
	struct dma_map *(*map)(struct dma_token *token, struct sg_table *sgt);
	void (*unmap)(struct dma_map *map);
	void (*kick)(struct dma_token *token);
};

/**
 * struct dma_map - one live mapping of a token's dma-buf
 * @ref:	held while a device owns a command that uses the mapping; killed
 *		by invalidation, after which no new reference can be taken
 * @drained:	completed by the last put after the kill
 * @token:	the token that is mapped; valid as long as the map
 * @sgt:	what the exporter returned, given back to it at unmap
 *
 * Embedded by the driver in its own map.  Published in token->map under the
 * dma-buf's reservation lock, looked up under RCU.
 */
struct dma_map {
	struct percpu_ref	ref;
	struct completion	drained;
	struct dma_token	*token;
	struct sg_table		*sgt;
};

/**
 * struct dma_token_list - the tokens attached to one DMA device
 * @tokens:	linked by dma_token.node
 * @nr_busy:	tokens being attached to or detached from the device right now
 * @dying:	the device is going away, nothing may attach any more
 * @wait:	woken when @nr_busy drops
 *
 * Embedded in the driver's device structure.  Its members are private to
 * block/dma-token.c and protected by a lock of that file.
 */
struct dma_token_list {
	struct list_head	tokens;
	unsigned int		nr_busy;
	bool			dying;
	wait_queue_head_t	wait;
};

/**
 * struct dma_token_charge - who pays for a token
 * @user:	whose locked_vm has been raised by @nr_pages, or NULL
 * @mm:		whose pinned_vm has been, or NULL
 * @nr_pages:	by how much
 *
 * With a reference to each of the two.  What a token takes, the device's DMA
 * addresses above all, is free again when its worker has detached it, and only
 * then is the charge lifted.
 */
struct dma_token_charge {
	struct user_struct	*user;
	struct mm_struct	*mm;
	unsigned long		nr_pages;
};

/**
 * struct dma_token_touch - a file's time is up to date for the next second
 * @inode:	the file's, to compare with only
 * @when:	in jiffies
 *
 * Written by everybody without a lock: what may come of that is a time that is
 * brought up to date once more, or a second late.
 */
struct dma_token_touch {
	const struct inode	*inode;
	unsigned long		when;
};

/**
 * struct dma_token - one dma-buf registered for one disk
 * @map:	the live mapping or NULL; written under the reservation lock
 * @dying:	a mapping that has been unpublished and waits for the device to give
 *		back its commands, or NULL; under the reservation lock
 * @dev:	the device that does the DMA; valid until the token is dead.  A
 *		driver compares it with its own before it uses the mapping.
 * @size:	size of the dma-buf in bytes
 * @dir:	direction of the mapping: DMA_TO_DEVICE for a dma-buf that was
 *		opened read-only (the disk may only be written from it)
 * @dead:	the device is gone; set under the reservation lock, never cleared
 * @disk:	the disk, to compare with only; NULL once the token is dead
 * @dmabuf:	the dma-buf, one reference held until the token is freed
 * @attach:	the attachment to @dev; NULL before attach and once detached
 * @ops:	the driver's; NULL once detached
 * @driver_data: the driver's own, set by its attach
 * @touched:	which file's time of access and of modification is up to date
 */
struct dma_token {
	struct dma_map __rcu		*map;
	struct dma_map			*dying;
	struct device			*dev;
	u64				size;
	enum dma_data_direction		dir;
	bool				dead;
	struct gendisk			*disk;
	struct dma_buf			*dmabuf;
	struct dma_buf_attachment	*attach;
	const struct dma_token_ops	*ops;
	void				*driver_data;
	struct dma_token_touch		touched[2];

	/* private: to block/dma-token.c */
	struct kref			ref;
	struct dma_token_charge		charge;
	struct dma_token_list		*list;
	struct list_head		node;
	struct work_struct		free_work;
};

#ifdef CONFIG_DMA_TOKEN

/* for the owner of requests */
int dma_token_check_target(struct file *target);
struct dma_token *dma_token_create(struct file *target, struct dma_buf *dmabuf,
				   const struct dma_token_charge *charge);
void dma_token_put(struct dma_token *token);
int dma_token_check_file(struct dma_token *token, struct file *file);
int dma_token_prepare(struct dma_token *token);
bool dma_token_disk_gone(struct file *file);
bool dma_token_is_one_command(struct file *file, loff_t pos, size_t len);
bool dma_token_submit(struct kiocb *iocb, struct dma_token *token, u64 offset,
		      u32 len, bool write, bio_end_io_t *end_io, void *private);

/**
 * dma_token_is_mapped - does the token have a live map right now?
 * @token: the token
 *
 * A hint: the map may be gone by the time the driver looks for it, which then
 * fails the command with BLK_STS_STALE_MAP.  Any context.
 */
static inline bool dma_token_is_mapped(struct dma_token *token)
{
	return rcu_access_pointer(token->map);
}

/**
 * dma_token_allows - may the memory be used in this direction?
 * @token: the token
 * @to_memory: true for a disk read, which writes the memory
 */
static inline bool dma_token_allows(struct dma_token *token, bool to_memory)
{
	return token->dir == DMA_BIDIRECTIONAL ||
	       token->dir == (to_memory ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
}

/**
 * iov_iter_dma_token - make an iterator over a part of a dma-buf
 * @i:		the iterator
 * @direction:	READ (ITER_DEST, the memory is written) or WRITE (ITER_SOURCE)
 * @token:	the token, borrowed: the caller keeps it until the I/O is over
 * @offset:	byte offset into the dma-buf
 * @count:	bytes; @offset + @count was checked against the token's size
 *
 * Its data cannot be reached by the CPU: every copy from or to it fails.
 */
static inline void iov_iter_dma_token(struct iov_iter *i, unsigned int direction,
				      struct dma_token *token, u64 offset,
				      size_t count)
{
	WARN_ON(direction & ~(READ | WRITE));
	*i = (struct iov_iter) {
		.iter_type	= ITER_DMA_TOKEN,
		.data_source	= direction,
		.dma_token	= token,
		.iov_offset	= offset,
		.count		= count,
	};
}

/* for the driver */
void dma_token_list_init(struct dma_token_list *list);
void dma_token_list_kill(struct dma_token_list *list);
int dma_token_attach(struct dma_token *token, struct dma_token_list *list,
		     struct device *dev, const struct dma_token_ops *ops);

/**
 * dma_token_get_map - take a reference on the live map of a token
 * @token: the token
 *
 * Any context.  The caller must not sleep until it has handed the reference to
 * the device (which the driver's completion gives back) or put it.
 *
 * Return: the map, or NULL if there is none (the command then fails with
 * BLK_STS_STALE_MAP).
 */
static inline struct dma_map *dma_token_get_map(struct dma_token *token)
{
	struct dma_map *map;

	rcu_read_lock();
	map = rcu_dereference(token->map);
	if (map && !percpu_ref_tryget_live_rcu(&map->ref))
		map = NULL;
	rcu_read_unlock();
	return map;
}

/**
 * dma_map_put - drop a reference taken by dma_token_get_map()
 * @map: the map, not to be touched afterwards
 *
 * Any context.
 */
static inline void dma_map_put(struct dma_map *map)
{
	percpu_ref_put(&map->ref);
}

#else /* CONFIG_DMA_TOKEN */

static inline void dma_token_put(struct dma_token *token)
{
}

static inline void dma_token_list_init(struct dma_token_list *list)
{
}

static inline void dma_token_list_kill(struct dma_token_list *list)
{
}

#endif /* CONFIG_DMA_TOKEN */
#endif /* _LINUX_DMA_TOKEN_H */
