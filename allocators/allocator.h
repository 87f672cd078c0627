/* SPDX-License-Identifier: MIT */
/*
 * The one interface between quire and a page-frame allocator ("back end"), and the only header a back
 * end needs, from C, C++, Rust or Zig. A back end is a table of functions; the first block of them is
 * mandatory, everything after it may be NULL, and says so.
 *
 * Thread-safety: without ALLOCATOR_CONCURRENT all calls on one instance come from one thread at a
 * time. With it, alloc, alloc_at, the bulk calls, free, drain, stats and occupancy may run at once.
 * All others (create, recover, destroy, adopt, isolate, unisolate, online, offline, check, ...) are
 * never concurrent with anything.
 *
 * Frames: a fresh instance manages every frame of the machine that lies in a zone and in no absent
 * range, and all of them are free. It must never hand out any other.
 */
#ifndef ALLOCATORS_ALLOCATOR_H
#define ALLOCATORS_ALLOCATOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/option.h"
#include "sim/frame_map.h"
#include "sim/machine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ALLOCATOR_MAGIC	      0x51554952U /* "QUIR" */
#define ALLOCATOR_ABI_VERSION 2

struct allocator; /* a back end's own; opaque to everyone else */

/* Flags of a request. */
enum alloc_request_flag {
	ALLOC_HAS_CONTEXT = 1, /* context is meaningful */
	ALLOC_PREFILL = 2,     /* an object of the start snapshot, placed by ordinary allocation */
	ALLOC_PAGE_CACHE = 4,  /* the recording says that the block became page cache */
	ALLOC_UNCACHED = 8,    /* predict alone: the block that would be taken from the shared free
				  lists next, as if no per-CPU list held one */
};

struct alloc_request {
	uint64_t
		hint_pfn; /* the recorded pfn, PFN_NONE in generated traces; only `recorded`, `null`
			      and fidelity may use it */
	uint32_t gfp;	  /* sim/gfp.h */
	uint32_t context; /* pid or file, renumbered; the key of grouping policies */
	uint16_t cpu;	  /* simulated cpu, below machine->nr_cpus */
	uint16_t node;	  /* preferred node */
	uint8_t order;	  /* 0..MAX_ORDER */
	uint8_t migratetype; /* enum migratetype, as requested */
	uint8_t zone;	     /* index of the highest usable zone, resolved by the engine */
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

/* What an instance lives in. It stays, at its address, until destroy() has returned. */
struct alloc_env {
	const struct machine *machine;
	const struct option_set *options; /* values for ops->options, never NULL */
	struct error *error; /* where create() and recover() explain a failure; not to be kept */
	/**
	 * meta - zeroed memory for metadata, owned by the environment, freed after destroy()
	 * @env: the one create() or recover() got, not a copy of it
	 * @bytes: their sum over all calls is the metric metadata_bytes; what is never touched
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
#ifdef __cplusplus
	const uint8_t *huge_state;
#else
	const _Atomic uint8_t
		*huge_state; /* enum huge_state bits of block pfn / 512, owned by sim */
#endif
	const char *kernel; /* release of the kernel that recorded the trace, "6.18.44"; "": none */
	/**
	 * nest - an instance inside this one, for LAYERs; from create() and recover() only
	 * @spec: "NAME:k=v,...", as option "inner" has it
	 * @ops, @a: the inner one's; it is on the same machine, its metadata counts as ours, and it
	 *           is destroyed, by the environment, after us
	 * Return: 0, or the inner create()'s error, with @env->error set.
	 */
	int (*nest)(const struct alloc_env *env, const char *spec, const struct allocator_ops **ops,
		    struct allocator **a);
};

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
		const char *name; /* static, lower_case_with_units */
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

struct allocator_ops {
	uint32_t magic;	      /* ALLOCATOR_MAGIC */
	uint32_t abi_version; /* ALLOCATOR_ABI_VERSION */
	size_t size;	      /* sizeof(struct allocator_ops) */
	const char *name;     /* lower case, no ':' or ',' */
	const char *summary;  /* one line for `quire list allocators` */
	uint32_t capabilities;
	uint32_t reserved;
	const struct option *options; /* NULL: none */

	/**
	 * create - an instance with all managed frames free
	 * Return: 0 and *@a; or a negative errno with @env->error set: -ENOMEM; -EFBIG: see
	 * ALLOCATOR_FRAMES_MAX. Uses no global state: any number of instances live side by side.
	 */
	int (*create)(const struct alloc_env *env, struct allocator **a);
	void (*destroy)(struct allocator *a);

	/** A free, aligned block of 2^order frames, now the caller's; pfn PFN_NONE if there is none. */
	struct alloc_result (*alloc)(struct allocator *a, const struct alloc_request *req);

	/**
	 * free - give a block back
	 * @req: order and cpu of this free; gfp, migratetype, context, PAGE_CACHE as at its
	 * allocation
	 * With SPLIT, any aligned part of a live block (or of the adopted state) may be freed.
	 * Return: 0; -EINVAL: not allocated, misaligned or out of range, and nothing has changed. A
	 * back end that cannot tell (per-CPU caches) may accept what it should refuse.
	 */
	int (*free)(struct allocator *a, pfn_t pfn, const struct alloc_request *req);

	/* ---- optional from here: NULL if absent ---- */

	/** Exactly the block at @pfn. Return: 0; -EBUSY: not all of it is free; -EINVAL: not ours. */
	int (*alloc_at)(struct allocator *a, pfn_t pfn, const struct alloc_request *req);

	/** Up to @n blocks like @req. Return: how many were written to @out. */
	size_t (*alloc_bulk)(struct allocator *a, const struct alloc_request *req, size_t n,
			     pfn_t *out);
	/** Free @n blocks, all described by @req. Return: how many were accepted. */
	size_t (*free_bulk)(struct allocator *a, const pfn_t *pfns, size_t n,
			    const struct alloc_request *req);

	/** Empty every cache into the shared free lists. */
	void (*drain)(struct allocator *a);

	/**
	 * adopt - take over a snapshot, replacing all state; before the first alloc
	 * Objects of the map are freed later like any other. PARKED frames are free, wherever the back
	 * end keeps free frames. @map is only valid during the call.
	 * While it follows facts, adopt corrects the state to what @map says, and keeps the order of
	 * lists where the two agree.
	 * Return: 0; -EINVAL; -ENOMEM.
	 */
	int (*adopt)(struct allocator *a, const struct frame_map *map);

	/**
	 * tick - trace time has come
	 * Return: the next time it wants to be called; UINT64_MAX: never. First called at the start.
	 */
	uint64_t (*tick)(struct allocator *a, uint64_t now_ns);

	/** What alloc would return now, changing nothing. */
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
	 * Return: 0; -EINVAL: misaligned, out of range or @order above MAX_ORDER.
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

	/** Free blocks and counters of one zone, or ALLOCATOR_ALL_ZONES. Return: 0 or -EINVAL. */
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
};

#ifdef __cplusplus
}
#endif
#endif
