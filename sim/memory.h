/* SPDX-License-Identifier: MIT */
/*
 * What backs the simulated frames, behind one small table of functions, so that whoever touches
 * memory does not know its kind, and tests can put a table of their own in its place. `none`: nothing,
 * so that a terabyte costs only its metadata. The state bytes of 2 MiB blocks (sim/huge_state.h) live
 * here too.
 *
 * Real kinds reserve address space for the whole machine at once and let the host provide memory when
 * it is touched, so that what nobody uses costs nothing and the address of a frame never changes.
 *
 * Thread-safety: touching and discarding of ranges that do not overlap may run at once; all else is
 * never concurrent.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include "sim/huge_state.h"
#include "sim/machine.h"
#include "sim/host_nodes.h"

enum backing_kind {
	BACKING_NONE,
	BACKING_SMALL,	 /* pages of 4 KiB */
	BACKING_THP,	 /* transparent huge pages, as far as the host's kernel gives them */
	BACKING_HUGETLB, /* huge pages of the host's pool */
	BACKING_MEMFD,	 /* shared memory without a name */
	BACKING_FILE,	 /* a file of its own, which stays when the process is gone */
};

/** Names for a --backing option, in the order of the enum, NULL-terminated. */
extern const char *const backing_kind_names[];

struct memory;

enum memory_touch {
	TOUCH_WRITE, /* a store into each frame: the memory is there afterwards */
	TOUCH_CLEAR, /* all of it is set to zero, as a kernel does for user pages */
};

/*
 * A kind of backing. Ranges are of simulated frames, lie inside [machine_start(), machine_end()), and
 * are not empty.
 */
struct memory_ops {
	/**
	 * map - address space for the whole machine, which costs nothing until it is touched
	 * @m: m->machine, m->bytes and m->path say for what; m->frames and m->host are to be set
	 * Return: 0 or a negative errno, with @err set; then unmap is not called.
	 */
	int (*map)(struct memory *m, struct error *err);
	/**
	 * prepare - see to it that touching a range cannot fail
	 * To be done before each touch, and to be left out of what that takes.
	 * Return: 0; -ENOMEM: the host has no more (of these pages); -ENOSPC; another errno; with @err
	 * set. What was prepared stays so.
	 */
	int (*prepare)(struct memory *m, struct pfn_range range, struct error *err);
	/** touch - use memory as its owner would; it has been prepared */
	void (*touch)(struct memory *m, struct pfn_range range, enum memory_touch how);
	/**
	 * discard - give the host back what is behind a range; it reads as zeros when next touched
	 * Return: 0; -EINVAL: not made of whole pages of this backing; or the host's errno.
	 */
	int (*discard)(struct memory *m, struct pfn_range range);
	/** Give everything back, the host's settings too. */
	void (*unmap)(struct memory *m);
};

struct memory_config {
	enum backing_kind kind;
	const char *path; /* of the file, for kinds that need one; NULL: none */
	/*
	 * A part of somebody's file instead, which has room for memory_file_bytes() at the offset, a
	 * multiple of 2 MiB. 0: @path is made. Only BACKING_FILE looks at them.
	 */
	uint64_t file_offset;
	int fd;			      /* copied */
	const struct memory_ops *ops; /* NULL: those of the kind */
	void *host;		      /* where memory.host starts out; for ops of one's own */
	/* What comes from which node of the host; outlives the memory. NULL: from anywhere. */
	const struct node_plan *node_plan;
	const struct node_host *node_host; /* who binds it; NULL: node_this_host */
};

struct memory {
	enum backing_kind kind;
	const struct machine *machine; /* not owned; outlives it */
	const struct memory_ops *ops;
	const char *path;
	uint64_t file_offset; /* as configured */
	int fd;		      /* the same; of use while it is made */
	uint64_t bytes;	      /* from byte 0 of machine_start() to machine_end() */
	void *frames;	      /* byte 0 of machine_start(); NULL: there is nothing to touch */
	void *host;	      /* the ops' own */
	const struct node_plan *node_plan; /* NULL: nothing is bound */
	const struct node_host *node_host;
	huge_state_byte *huge_state; /* of 2 MiB block pfn / 512, indexed from block 0 */
	size_t nr_huge;
};

/**
 * memory_plan_nodes - node_plan_make() for a kind of backing
 * Where there is no memory, or a file's, which lies where the host's cache has put it, nothing can be bound.
 */
void memory_plan_nodes(enum backing_kind kind, const struct machine *machine,
		       const struct node_host *host, struct node_plan *plan);

/**
 * memory_create - backing for a machine
 * @config: read during the call, but for path and host
 * The caller owns @memory: memory_destroy(). Blocks wholly inside an offline range start as
 * HUGE_OFFLINE, all others with no bit set.
 * Return: 0; -ENOMEM; or what map or node_plan_bind() said, prefixed by the kind's name.
 */
int memory_create(const struct memory_config *config, const struct machine *machine,
		  struct memory **memory, struct error *err);
void memory_destroy(struct memory *memory); /* NULL is allowed */

/** What a machine's frames take of a file, whole 2 MiB blocks. */
uint64_t memory_file_bytes(const struct machine *machine);

/**
 * memory_prepare, memory_discard - as the ops', for any range
 * Return: as those; -EINVAL also for a range that leaves the machine. An empty range is no work.
 */
int memory_prepare(struct memory *memory, struct pfn_range range, struct error *err);
int memory_discard(struct memory *memory, struct pfn_range range);

/** memory_touch - as the ops'; the range has been prepared, and is not empty. */
static inline void memory_touch(struct memory *memory, struct pfn_range range,
				enum memory_touch how)
{
	memory->ops->touch(memory, range, how);
}

/* What the host has behind a machine. */
struct memory_usage {
	uint64_t resident_bytes;
	uint64_t huge_bytes; /* of them in huge pages, of whatever sort */
};

/**
 * memory_usage - what the host's kernel says of the mapping now (/proc/self/smaps)
 * Return: 0; -ENOENT: there is none, or it cannot be read: @usage is all 0.
 */
int memory_usage(const struct memory *memory, struct memory_usage *usage);

/** Where frame @pfn of the machine is; NULL: nowhere, there is nothing to touch. */
void *memory_at(const struct memory *memory, pfn_t pfn);

#endif
