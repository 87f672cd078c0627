/* SPDX-License-Identifier: MIT */
/*
 * The one interface between quire and a page-frame allocator ("back end"), and the only header a back
 * end needs, from C, C++, Rust or Zig. A back end is a table of functions; the first block of them is
 * mandatory, everything after it may be NULL, and says so.
 *
 * A back end that is built into quire may call what the headers included here declare. One that is
 * loaded links no symbol of quire: it has the inline functions of these headers, and for everything
 * else the functions in struct alloc_env.
 *
 * Thread-safety: without ALLOCATOR_CONCURRENT all calls on one instance come from one thread at a
 * time. With it, alloc, alloc_at, the bulk calls, free, drain, take_huge, give_huge, stats and
 * occupancy may run at once. All others (create, recover, destroy, adopt, isolate, unisolate, online,
 * offline, check, ...) are never concurrent with anything.
 *
 * Frames: a fresh instance manages every frame of the machine that lies in a zone and in no absent
 * range, and all of them are free. It must never hand out any other, and no block that crosses a zone's
 * border.
 *
 * What is said here is checked by the conformance suite (tests/allocators/test_conformance.c), rule by
 * rule: docs/backends.md has the table.
 */
#ifndef ALLOCATORS_ALLOCATOR_H
#define ALLOCATORS_ALLOCATOR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/metric.h"
#include "base/option.h"
#include "sim/frame_map.h"
#include "sim/huge_state.h"
#include "sim/machine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ALLOCATOR_MAGIC	      0x51554952U /* "QUIR" */
#define ALLOCATOR_ABI_VERSION 3

struct allocator; /* a back end's own; opaque to everyone else */

/* Flags of a request. */
enum alloc_request_flag {
	ALLOC_HAS_CONTEXT = 1, /* context is meaningful */
	ALLOC_PREFILL = 2,     /* an object of the start snapshot, placed by ordinary allocation */
	ALLOC_PAGE_CACHE = 4,  /* the recording says that the block became page cache */
	ALLOC_UNCACHED = 8,    /* predict alone: the block that would be taken from the shared free
				  lists next, as if no per-CPU list held one */
	/*
	 * The block is the place compaction moves another one to. A kernel takes such places past
	 * its per-CPU lists, from free blocks near the end of the zone, and counts them as no
	 * allocation: a back end may do likewise, or serve the request like any other. Of a free:
	 * such a place was not used after all, and need not go through per-CPU lists either.
	 */
	ALLOC_COMPACTION_TARGET = 16,
};

struct alloc_request {
	uint64_t
		hint_pfn; /* the recorded pfn, PFN_NONE in generated traces; for ECHO, UNCHECKED and
			      fidelity alone: it makes no difference to what any other back end does */
	uint32_t gfp;	  /* sim/gfp.h */
	uint32_t context; /* pid or file, renumbered; the key of grouping policies */
	uint16_t cpu;	  /* simulated cpu, below machine->nr_cpus */
	/*
	 * machine_request_zone() has resolved both from the gfp. Memory is taken from the zones of the
	 * type of `zone` and below, those of `node` first; with GFP_THISNODE, `zone` lies on `node`, and
	 * no other node's will do.
	 */
	uint16_t node;
	uint8_t order;	     /* 0..MAX_ORDER */
	uint8_t migratetype; /* enum migratetype, as requested */
	uint8_t zone;	     /* index */
	uint8_t flags;	     /* enum alloc_request_flag */
};

/* Flags of a result: what the engine may tell apart in its statistics. */
enum alloc_result_flag {
	RESULT_ZEROED = 1,	   /* the block is known to read as zeros */
	RESULT_PCP_HIT = 2,	   /* served from a per-CPU cache */
	RESULT_REFILL = 4,	   /* the cache was refilled for it */
	RESULT_FALLBACK = 8,	   /* taken from blocks of another migratetype or class */
	RESULT_NEEDS_INSTALL = 16, /* the block's memory has to be installed before use */
};

struct alloc_result {
	pfn_t pfn; /* first frame, aligned to 2^order; PFN_NONE: no memory */
	uint64_t flags;
};

enum allocator_capability {
	ALLOCATOR_CONCURRENT = 1,
	ALLOCATOR_ALLOC_AT = 2,	  /* alloc_at works */
	ALLOCATOR_SPLIT = 4,	  /* free takes any aligned part of a live block */
	ALLOCATOR_PERSISTENT = 8, /* recover works from PERSISTENT metadata */
	ALLOCATOR_BULK = 16,
	ALLOCATOR_ZONES = 32,	   /* honours zone and node; the oracle checks it */
	ALLOCATOR_ECHO = 64,	   /* places each object where the recording did: needs hint_pfn */
	ALLOCATOR_UNCHECKED = 128, /* exempt from the oracle and marked so (`null`) */
	/*
	 * Layered over the back end its option "inner" specifies, through env->nest. Of its optional
	 * functions and other capabilities an instance has those that the inner one has, too; but
	 * drain, tick and check are its own, whatever lies below.
	 */
	ALLOCATOR_LAYER = 256,
	/*
	 * Its state is global, so that one copy of its shared object is good for one instance: who
	 * wants several at once loads a copy of the file for each. Only for loaded back ends.
	 */
	ALLOCATOR_ONE_PER_LOAD = 512,
	/*
	 * Moves live blocks by itself and tells env->moved. A layer has it only if it can follow what
	 * the inner one moves; one without it cannot be put over a back end that has it.
	 */
	ALLOCATOR_MOVES = 1024,
	/*
	 * A block may take more frames than its own. Those beyond are lost while it lives: they count as
	 * cached, but no request is served from them; so one may be refused although an aligned block is
	 * free. Of order 0 every frame can be handed out.
	 */
	ALLOCATOR_PADS = 2048,
};

enum meta_kind {
	META_VOLATILE,
	META_PERSISTENT, /* survives the process if the run keeps it in a file; found by recover */
};

/*
 * Frames (16 TiB) up to which a back end may write metadata in proportion to the machine at create().
 * A description can claim more than the host has memory for: above, create() must refuse with -EFBIG
 * before it writes.
 */
#define ALLOCATOR_FRAMES_MAX (UINT64_C(1) << 32)

struct allocator_ops;

/**
 * What is told of a move; see alloc_env.moved.
 * @arg: the receiver's own
 */
typedef void allocator_moved(void *arg, pfn_t from, pfn_t to, unsigned int order);

/*
 * What an instance lives in. It stays, at its address, until destroy() has returned. Later versions
 * add members at the end only; what lies beyond env->size is not there.
 */
struct alloc_env {
	size_t size; /* of this struct as the harness knows it */
	const struct machine *machine;
	/*
	 * Where create() and recover() explain a failure (allocator_fail()); NULL beyond them, not to
	 * be kept. A create() that returns 0 and leaves an error here has failed all the same.
	 */
	struct error *error;
	/**
	 * meta - zeroed memory for metadata, owned by the environment, freed after destroy()
	 * @env: the one create() or recover() got, not a copy of it
	 * @bytes: their sum over all calls is the metric metadata_bytes, so all of an instance's
	 *         memory comes from here, its own struct included; what is never touched
	 *         costs the host nothing (PERSISTENT pieces in a file cost it their disk space)
	 * @align: a power of two
	 *
	 * To be called from create, recover, adopt, isolate, online and offline. A piece never
	 * moves, and cannot be given back: one that was asked for by a call that then fails is kept
	 * for the next time.
	 *
	 * In recover() the PERSISTENT pieces are those of the dead instance, found again by asking
	 * for them in the same order with the same sizes and alignments; once all are, further ones
	 * are new and zeroed. How many there were beyond those of create(), the back end notes in
	 * an earlier piece. Whatever recover() leaves unasked (the dead instance died before it
	 * noted it) is gone when it returns 0. META_VOLATILE pieces are always new.
	 *
	 * Return: NULL: no memory, no disk space, or not the piece that was recorded; the harness
	 * knows which, -ENOMEM is good enough for the caller.
	 */
	void *(*meta)(const struct alloc_env *env, size_t bytes, size_t align, enum meta_kind kind);

	/*
	 * The values of ops->options, in create() and recover(); texts and files stay as long as the
	 * instance. @name must be a row of the type a function is for: if not, it returns 0, false or
	 * NULL, and env->error says so, which fails the create().
	 */
	bool (*option_given)(const struct alloc_env *env, const char *name); /* by the user */
	bool (*option_bool)(const struct alloc_env *env, const char *name);
	uint64_t (*option_uint)(const struct alloc_env *env, const char *name); /* UINT, SIZE */
	double (*option_real)(const struct alloc_env *env, const char *name);
	/** CHOICE: index into choices[]; 0 for a value that is unset, or a file. */
	unsigned int (*option_choice)(const struct alloc_env *env, const char *name);
	/** STRING, CHOICE: the text, of a file its path; NULL: unset. */
	const char *(*option_string)(const struct alloc_env *env, const char *name);
	/** CHOICE with OPTION_FILE: the content, with a '\0' behind @bytes; NULL: it is no file. */
	const char *(*option_file)(const struct alloc_env *env, const char *name, size_t *bytes);
	const struct option_set *options; /* the harness's: where these functions look */

	const huge_state_byte *huge_state;    /* of block pfn / 512, owned by sim; never NULL */
	huge_state_byte *huge_state_writable; /* the same, for LAYERs; NULL for all others */
	const char *kernel; /* release of the kernel that recorded the trace, "6.18.44"; "": none */
	/*
	 * 0: free lists start out in their usual order. Else that order is drawn from the seed, as
	 * far as the machine (at create) or the snapshot (at adopt) leaves it open: the same seed
	 * gives the same order, and nothing but order differs. A back end whose free memory has no
	 * order of its own ignores it.
	 */
	uint64_t list_seed;
	/**
	 * moved - a live block lies elsewhere from now on: for MOVES, NULL for all others
	 * @env: the one create() or recover() got
	 * @from, @to: aligned to 2^@order. What lies at @from is a block as it was handed out or
	 *             adopted, or with SPLIT an aligned part of one, requested as movable (MOVABLE or
	 *             CMA; frames adopted as MOVABLE); nothing lives at @to.
	 *
	 * To be called from alloc, alloc_at, alloc_bulk, free, free_bulk, drain, tick, isolate,
	 * unisolate, online and offline alone, by the thread that is in them. In one call, moves
	 * count in the order they are told, each at once: what is at @from is free, and may be the
	 * @to of the next. Blocks the call is about are free throughout: what a free gives back is so
	 * before the first move, what an alloc returns becomes live after the last.
	 *
	 * Afterwards the harness frees the block, or parts of it, at @to. What is in it is the
	 * harness's business; the back end touches no frame.
	 */
	void (*moved)(const struct alloc_env *env, pfn_t from, pfn_t to, unsigned int order);
	/**
	 * nest - the instance that option "inner" specifies, for LAYERs; from create() and recover()
	 * only
	 * @moved, @arg: called in place of our harness when the inner one moves a block, during
	 *               calls of ours to it; NULL: its moves go to our harness as if they were ours
	 * @ops, @a: the inner one's; it is on the same machine, its metadata counts as ours, and it
	 *           is destroyed, by the environment, after us
	 * Return: 0, or the inner create()'s error, with @env->error set.
	 */
	int (*nest)(const struct alloc_env *env, allocator_moved *moved, void *arg,
		    const struct allocator_ops **ops, struct allocator **a);
};

/**
 * allocator_fail - explain a failure, as error_set() does for those who link it
 * @err: env->error, or what check() got; NULL is allowed
 * @code: positive errno
 * Return: -@code.
 */
__attribute__((format(printf, 3, 4))) static inline int allocator_fail(struct error *err, int code,
								       const char *format, ...)
{
	va_list arguments;

	if (!err)
		return -code;
	err->code = code;
	va_start(arguments, format);
	vsnprintf(err->text, sizeof(err->text), format, arguments);
	va_end(arguments);
	return -code;
}

#define ALLOCATOR_COUNTERS_MAX 32

struct allocator_stats {
	uint64_t free_blocks[MIGRATE_TYPES][NR_ORDERS]; /* one without types uses MIGRATE_MOVABLE */
	uint64_t free_frames;				/* in those blocks */
	uint64_t pageblocks
		[MIGRATE_TYPES]; /* wholly or partly managed, by type; all 0: it has none */
	uint64_t cached_frames; /* parked on per-CPU lists or in reservations, not in free_blocks */
	/*
	 * Fidelity compares zone_locked (blocks taken from the free lists), pcpu_drain (blocks given
	 * back from per-CPU lists) and extfrag (fallbacks) with the kernel's tracepoints of those names.
	 */
	struct {
		const char *name; /* static; of a row of ops->counters */
		uint64_t value;
	} counters[ALLOCATOR_COUNTERS_MAX];
	size_t nr_counters;
};

#define ALLOCATOR_ALL_ZONES (~0U)

/*
 * What the recorded kernel is known to have done; fidelity feeds it to observe(), in the order of the
 * recording. Blocks are the kernel's.
 */
enum kernel_fact_kind {
	/*
	 * From now on keep to the kernel: arg is the set (1 << kind) of facts that will be told. What
	 * is not among them, the back end still does by itself: without DRAIN it drains when it
	 * thinks the kernel did. 0: it is on its own again, from the state it has learnt.
	 */
	FACT_FOLLOW,
	FACT_PLACED, /* the block that served a request, which predict() was asked about before */
	FACT_FREED,
	FACT_REFILL,   /* block taken from the free lists onto a per-CPU list, or for one request */
	FACT_DRAIN,    /* block returned from a per-CPU list */
	FACT_FALLBACK, /* block taken from another type's lists; see the extfrag event */
};

/* How the kernel came to do it; values as those of event flags. */
enum kernel_fact_flag {
	FACT_HARDIRQ = 1,
	FACT_SOFTIRQ = 2,
	FACT_NESTED = 4,
	FACT_PERCPU = 8, /* REFILL: of an order and type that per-CPU lists have */
};

struct kernel_fact {
	pfn_t pfn;
	uint64_t time_ns;
	uint64_t arg; /* FOLLOW: the set; FALLBACK: as the event's */
	uint32_t gfp; /* PLACED */
	uint16_t cpu;
	uint8_t kind, order, migratetype, flags; /* PLACED: type as requested; else of the list */
};

/* How a hypervisor takes memory away; see take_huge. */
enum huge_taking {
	HUGE_SOFT, /* the block stays free: whoever gets it next has its memory put back */
	HUGE_HARD, /* the block is out of circulation until it is given back */
};

#define ALLOCATOR_RESERVED_FUNCTIONS 8

struct allocator_ops {
	uint32_t magic;	      /* ALLOCATOR_MAGIC */
	uint32_t abi_version; /* ALLOCATOR_ABI_VERSION */
	size_t size;	      /* sizeof(struct allocator_ops) */
	const char *name;     /* lower case, no ':' or ',' */
	const char *summary;  /* one line for `quire list allocators` */
	uint32_t capabilities;
	uint32_t reserved;
	const struct option *options; /* NULL: none */
	/*
	 * What stats counts beside the free blocks: a row each, the last one's name NULL. Of a layer,
	 * what it adds to the inner one's. NULL: none. Those of a sequential replay are EXACT if they
	 * do not depend on time or addresses.
	 */
	const struct metric_info *counters;

	/**
	 * create - an instance with all managed frames free
	 * Return: 0 and *@a; or a negative errno with @env->error set: -ENOMEM; -EFBIG: see
	 * ALLOCATOR_FRAMES_MAX. Uses no global state: any number of instances live side by side, and
	 * the same calls give the same results in each (in one thread; neither addresses nor the host's
	 * clock decide anything).
	 */
	int (*create)(const struct alloc_env *env, struct allocator **a);
	void (*destroy)(struct allocator *a);

	/**
	 * alloc - a free, aligned block of 2^order frames, now the caller's
	 * Return: pfn PFN_NONE if there is none: not before all that could serve the request has been
	 * looked at, but for what other CPUs' caches hold (drain() brings that back).
	 */
	struct alloc_result (*alloc)(struct allocator *a, const struct alloc_request *req);

	/**
	 * free - give a block back
	 * @req: order and cpu of this free; gfp, migratetype, context, PAGE_CACHE as at its
	 * allocation. Node and zone mean nothing: where the block lies, @pfn tells
	 * With SPLIT, any aligned part of a live block (or of the adopted state) may be freed.
	 * Without it, only a block as it was handed out, or an object of the adopted state.
	 * Return: 0; -EINVAL: not wholly allocated, misaligned or out of range, and nothing has changed.
	 * Only of a block that waits in one of its own caches a back end need not notice that it is
	 * freed a second time.
	 */
	int (*free)(struct allocator *a, pfn_t pfn, const struct alloc_request *req);

	/* ---- optional from here: NULL if absent ---- */

	/**
	 * alloc_at - exactly the block at @pfn
	 * Return: 0; -EBUSY: not all of it is free; -EINVAL: misaligned, or not all of it is managed.
	 * If both hold, either.
	 */
	int (*alloc_at)(struct allocator *a, pfn_t pfn, const struct alloc_request *req);

	/** Up to @n blocks like @req. Return: how many were written to @out. */
	size_t (*alloc_bulk)(struct allocator *a, const struct alloc_request *req, size_t n,
			     pfn_t *out);
	/** Free @n blocks, all described by @req. Return: how many were accepted. */
	size_t (*free_bulk)(struct allocator *a, const pfn_t *pfns, size_t n,
			    const struct alloc_request *req);

	/**
	 * Empty every cache into the shared free lists: stats() then tells no cached frames, but with
	 * PADS those that live blocks have beyond their own.
	 */
	void (*drain)(struct allocator *a);

	/**
	 * adopt - take over a snapshot, replacing all state; before the first alloc
	 * Objects of the map are freed later like any other. PARKED frames are free, wherever the back
	 * end keeps free frames. Frames known to be free in hindsight (FRAME_HINDSIGHT) are as free as
	 * all others, and the marks make no difference: who must not look into the future is given a
	 * map without them. @map is only valid during the call.
	 * While it follows facts, adopt corrects the state to what @map says, and keeps the order of
	 * lists where the two agree.
	 * Return: 0; -EINVAL: a map of another machine, and nothing has changed; -ENOMEM, after which
	 * the instance is only to be destroyed.
	 */
	int (*adopt)(struct allocator *a, const struct frame_map *map);

	/**
	 * tick - trace time has come
	 * Return: the next time it wants to be called, later than @now_ns; UINT64_MAX: never. First called
	 * at the start. What is free stays free: only what is cached may change.
	 */
	uint64_t (*tick)(struct allocator *a, uint64_t now_ns);

	/** The block alloc would return now, changing nothing; result flags need not be foreseen. */
	struct alloc_result (*predict)(const struct allocator *a, const struct alloc_request *req);
	/**
	 * observe - follow a recorded fact
	 * Return: 0; -EINVAL: it contradicts the state (ours is repaired); -ENOTSUP: FOLLOW with a set
	 * the back end cannot keep to.
	 */
	int (*observe)(struct allocator *a, const struct kernel_fact *fact);
	/**
	 * explain - why would the kernel have served a request with the block at @pfn, when predict()
	 * says otherwise? Asked before PLACED or REFILL is observed.
	 * Return: the cause as a few static words, or NULL.
	 */
	const char *(*explain)(const struct allocator *a, const struct alloc_request *req,
			       pfn_t pfn);

	/**
	 * isolate - take whatever is free in the block at @pfn out of circulation: it is neither
	 * handed out nor counted as free until unisolate returns it. What is in use there may be
	 * freed as ever; whether that is free at once or at unisolate is the back end's choice
	 * @got: frames taken
	 * unisolate - return what isolate took of it
	 * Return: 0; -EINVAL: misaligned, beyond the machine or @order above MAX_ORDER. Of a block in no
	 * zone either -EINVAL, or 0 and nothing taken.
	 */
	int (*isolate)(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got);
	int (*unisolate)(struct allocator *a, pfn_t pfn, unsigned int order);

	/**
	 * online - the absent frames of a range become managed and free, whatever they were absent
	 * for: a recording brings memory that was kept at boot, or was taken for a hole, as well
	 * offline - the reverse: the free managed frames of a range become absent
	 * What is so already stays as it is, and what lies in no zone is skipped; so ranges may
	 * overlap, repeat, and span gaps between zones. Isolated frames are managed.
	 * Return: 0; -EINVAL: no frame of the range lies in a zone; -EBUSY: to go offline, but a managed
	 * frame of it is in use (an isolated one may count as such); -ENOMEM. After an error nothing
	 * has changed. A back end without online never gets the frames, and the run says so.
	 */
	int (*online)(struct allocator *a, struct pfn_range range);
	int (*offline)(struct allocator *a, struct pfn_range range);

	/**
	 * stats - free blocks and counters
	 * @zone: index of machine->zones, or ALLOCATOR_ALL_ZONES, which every back end answers that
	 *        has stats at all. Counters that no zone has for itself are told of all zones alone.
	 * Return: 0; -EINVAL: there is no such zone, or (only without ZONES) none has figures of its own.
	 */
	int (*stats)(const struct allocator *a, unsigned int zone, struct allocator_stats *stats);

	/** Free frames of 2 MiB blocks @first..@first + @n - 1 (parked frames are free). */
	void (*occupancy)(const struct allocator *a, uint64_t first, size_t n,
			  uint16_t *free_frames);

	/** Walk everything and prove the invariants. Return: 0, or -EUCLEAN naming the first breach. */
	int (*check)(const struct allocator *a, struct error *err);

	/**
	 * recover - like create, from the PERSISTENT metadata a dead instance left
	 * It may have died between any two stores of any number of threads, in recover() too. What
	 * an alloc had returned is allocated, what a free had returned is free; an operation that
	 * was under way has happened, has not, or has in part.
	 * Return: as create(); -EUCLEAN: the pieces contradict each other in a way no crash
	 * explains.
	 */
	int (*recover)(const struct alloc_env *env, struct allocator **a);

	/**
	 * take_huge - what a hypervisor does to the allocator of its guest when it wants the memory
	 * of a wholly free huge frame; @pfn: its first frame
	 * SOFT: it stays free, and is marked: the first allocation that gets a frame of it, and no
	 *       later one, says RESULT_NEEDS_INSTALL and takes the mark off; so does alloc_at, unsaid.
	 * HARD: it is no longer free, neither handed out nor counted, until give_huge; marked or not.
	 * give_huge - undo one of the two: HARD: the block is free again, and marked, as its memory
	 *       is still away; SOFT: the mark goes, its memory having been put back unasked
	 *
	 * Both change the allocator alone. The memory is the caller's, and so is huge_state, which
	 * says SOFT_RECLAIMED or HARD_RECLAIMED in place of INSTALLED once a taking has succeeded.
	 * Marks are as lasting as the free memory they are on: adopt and destroy end them, recover()
	 * may forget them, but never frees what was taken HARD.
	 *
	 * Return: 0; -EBUSY: to take, but a frame of it is not free (one parked on a per-CPU list or
	 * in a reservation may count as such), or taken HARD already; -EALREADY: to take SOFT what is
	 * marked; -ENOENT: to give back, but it was not taken so; -EINVAL: misaligned, or not wholly
	 * managed. After an error nothing has changed. Both are there, or neither is.
	 */
	int (*take_huge)(struct allocator *a, pfn_t pfn, enum huge_taking how);
	int (*give_huge)(struct allocator *a, pfn_t pfn, enum huge_taking how);

	void (*later[ALLOCATOR_RESERVED_FUNCTIONS])(void); /* for later versions; NULL until then */
};

/*
 * A back end in a shared object of its own exports one function of this type and name, with C
 * linkage, that returns its table.
 */
#define ALLOCATOR_ENTRY "quire_allocator"
typedef const struct allocator_ops *allocator_entry(void);

#ifdef __cplusplus
}
#endif
#endif
