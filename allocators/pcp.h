/* SPDX-License-Identifier: MIT */
/*
 * One per-CPU page list set of one zone (struct per_cpu_pages): how many blocks to fetch when a list
 * is empty, when to give how many back, and which. Only policy and the lists themselves live here;
 * where blocks come from and go to is the owner's business, a zone's free lists in `buddy`, any back
 * end in `percpu`.
 *
 * The rules of five kernel generations (linux-page-allocator, sections 4, 10 and 12). `count`, `high`
 * and their kin are base frames.
 *
 * Thread-safety: the owner holds the set's lock around every call; trylock where the kernel does.
 */
#ifndef ALLOCATORS_PCP_H
#define ALLOCATORS_PCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/frame_deque.h"
#include "allocators/spin.h"
#include "sim/machine.h"

/* Named after the first kernel here that follows them. */
enum pcp_rules {
	PCP_6_18, /* high tunes itself; small blocks flush a busy set only beyond half of high_min */
	PCP_6_12, /* high tunes itself */
	PCP_6_6,  /* high is fixed, drains double up to 32 batches */
	PCP_6_1,  /* the same without that limit */
	PCP_5_10, /* order 0 only, high is six batches, drains go round the lists */
	PCP_OFF,  /* no lists */
	PCP_RULES,
};

/* For option tables, by enum pcp_rules; NULL-terminated. */
extern const char *const pcp_rules_names[PCP_RULES + 1];

#define PCP_LISTS     14
#define PCP_TYPES     3 /* migratetypes with lists of their own */
#define PCP_ORDER_MAX 3 /* above it only HUGE_ORDER has lists */
#define PCP_NO_LIST   255

/*
 * About the period of the kernel's per-CPU statistics worker, which lets `high` decay, for who need not know
 * when it comes; that is vmstat_worker.h's business.
 */
#define PCP_TICK_NS UINT64_C(1024000000)

/* What a set needs to know of its zone, as zone flags in the kernel. */
enum pcp_pressure {
	PCP_BELOW_HIGH = 1, /* ZONE_BELOW_HIGH: the zone has been seen under its high watermark */
	PCP_RECLAIMING = 2, /* ZONE_RECLAIM_ACTIVE: kswapd is at work */
};

/* The bounds of a set. */
struct pcp_limits {
	uint32_t batch, high_min, high_max;
};

struct pcp {
	struct spin lock;
	uint8_t rules;	      /* enum pcp_rules */
	uint8_t flags;	      /* private */
	uint8_t alloc_factor; /* log2 of the batches the next refill fetches */
	uint8_t free_factor;  /* up to 6.6: log2 of the batches the next drain gives back */
	uint8_t expire;	      /* statistics ticks until an idle set of another node is drained */
	uint32_t count;	      /* on all lists, phantoms included */
	uint32_t phantoms;    /* known to be on some list, but not which frames: they never leave */
	uint32_t high, free_count;
	struct pcp_limits limits;
	struct frame_deque list[PCP_LISTS];
	struct frame_pool pool;
	/* Since the owner reset them. */
	uint64_t hits, refills, refilled_blocks, drained_blocks;
};

/**
 * pcp_limits_of - what the kernel sets for a zone (zone_set_pageset_high_and_batch)
 * @managed, @low: the zone's frames and its low watermark with boost
 * @cpus: of the zone's node, at least 1
 * @batch: to be used instead of the kernel's; 0: none
 */
struct pcp_limits pcp_limits_of(enum pcp_rules rules, uint64_t managed, uint64_t low, uint32_t cpus,
				uint32_t batch);

/** The limits a machine's description gives, as a kernel of these rules would take them. */
struct pcp_limits pcp_limits_given(enum pcp_rules rules, const struct percpu_limits *given);

/**
 * pcp_low_watermark - the low watermark of a zone
 * Return: the machine's; if it knows none, what a kernel with huge pages sets at boot for zones of that
 * size, before anyone tunes it.
 */
uint64_t pcp_low_watermark(const struct machine *m, unsigned int zone);

/** Chunks that are enough for a set within @limits, one refill or freed block beyond them included. */
size_t pcp_chunks(const struct pcp_limits *limits);

/** pcp_init - an empty set, unlocked, without chunks: frame_pool_add() to its pool */
void pcp_init(struct pcp *pcp, enum pcp_rules rules, const struct pcp_limits *limits);

/** New limits, when memory or CPUs came or went. */
void pcp_set_limits(struct pcp *pcp, const struct pcp_limits *limits);

/** pcp_list() without its short cut. */
unsigned int pcp_list_of(enum pcp_rules rules, unsigned int order, unsigned int mt);

/**
 * pcp_list - the list for a block of @order whose migratetype is @mt
 * HIGHATOMIC and CMA blocks share MOVABLE's; ISOLATE has none.
 * Return: below PCP_LISTS, or PCP_NO_LIST: such blocks never are on per-CPU lists.
 */
static inline unsigned int pcp_list(enum pcp_rules rules, unsigned int order, unsigned int mt)
{
	/* Most are single frames. */
	return order == 0 && mt < PCP_TYPES && rules != PCP_OFF ? mt
								: pcp_list_of(rules, order, mt);
}

/** The order of a list's blocks. */
unsigned int pcp_list_order(enum pcp_rules rules, unsigned int list);

/** The migratetype of the requests a list serves; the huge list of 6.1 and 6.6 says MOVABLE. */
unsigned int pcp_list_type(enum pcp_rules rules, unsigned int list);

/* ---- allocation ---- */

/** An allocation begins: the next drain will be shorter. Not called by bulk allocations. */
void pcp_begin_alloc(struct pcp *pcp);

/**
 * pcp_refill_size - how many blocks an allocation that found its list empty fetches (nr_pcp_alloc)
 * @pressure: enum pcp_pressure
 * Advances `high` and alloc_factor. Return: at least 1.
 */
uint32_t pcp_refill_size(struct pcp *pcp, unsigned int order, unsigned int pressure);

/** A fetched block goes to the tail. Return: false: no room, the block stays the caller's. */
bool pcp_append(struct pcp *pcp, unsigned int list, unsigned int order, uint32_t frame);

/** Take the head of a list. Return: DEQUE_NONE if it is empty. */
uint32_t pcp_pop(struct pcp *pcp, unsigned int list, unsigned int order);

/** Take the tail, which drains begin with. Return: DEQUE_NONE if the list is empty. */
uint32_t pcp_pop_tail(struct pcp *pcp, unsigned int list, unsigned int order);

/* ---- free ---- */

/** A freed block goes to the head. Return: false: no room, the block stays the caller's. */
bool pcp_push(struct pcp *pcp, unsigned int list, unsigned int order, uint32_t frame);

/**
 * pcp_release_size - how many frames to give back after pcp_push() (nr_pcp_high, nr_pcp_free)
 * Return: for pcp_drain_begin(), which starts at the list of the freed block; 0: nothing.
 */
uint32_t pcp_release_size(struct pcp *pcp, unsigned int order, unsigned int pressure);

/* ---- giving back (free_pcppages_bulk) ---- */

struct pcp_drain {
	int64_t left; /* frames */
	uint32_t list, quota;
};

/**
 * pcp_drain_begin - give back @frames frames, at most all, coldest first
 * @list: where to start; up to 5.10 every drain starts at list 1
 */
void pcp_drain_begin(const struct pcp *pcp, struct pcp_drain *drain, unsigned int list,
		     uint32_t frames);

/**
 * pcp_drain_next - the next block to give back, no longer on the lists
 * The last one may exceed the number of frames asked for.
 * Return: false: done.
 */
bool pcp_drain_next(struct pcp *pcp, struct pcp_drain *drain, uint32_t *frame, unsigned int *order);

/**
 * pcp_tick - the statistics worker's visit (decay_pcp_high; drain_zone_pages)
 * @remote: the zone is of another node than the CPU
 * Return: frames to give back, starting at list 0.
 */
uint32_t pcp_tick(struct pcp *pcp, bool remote);

/* ---- looking ---- */

/** Frames that can be handed out: without phantoms. */
static inline uint32_t pcp_known(const struct pcp *pcp)
{
	return pcp->count - pcp->phantoms;
}

/** Take @frame out of a list wherever it is there. Return: false: it is not. O(length). */
bool pcp_remove(struct pcp *pcp, unsigned int list, unsigned int order, uint32_t frame);

#endif
