/* SPDX-License-Identifier: MIT */
/*
 * The slow, obvious model that the tests hold the back end against: lists are plain arrays of pfns that
 * are scanned from end to end, every frame has a state of its own, and each rule is written down once
 * more, from the description, with no code in common with the back end.
 */
#ifndef TESTS_ALLOCATORS_BUDDY_MODEL_MODEL_H
#define TESTS_ALLOCATORS_BUDDY_MODEL_MODEL_H

#include "allocators/buddy/buddy.h"

struct model;

/** A model of @m with every managed frame free, as after boot. Aborts the test without memory. */
struct model *model_create(const struct machine *m, const struct buddy_rules *rules);
void model_destroy(struct model *model);

/**
 * model_adopt - start over from a snapshot
 * @cells: state | order << 4 of pfn machine_start() and up
 * @types: of pageblocks from the one of machine_start() up, MIGRATE_UNKNOWN allowed
 * @zones: what the kernel counted; NULL: not known
 */
void model_adopt(struct model *model, const uint8_t *cells, const uint8_t *types,
		 const struct zone_counts *zones);

/* As the operations of the same names in struct allocator_ops. */
struct alloc_result model_alloc(struct model *model, const struct alloc_request *req);
int model_free(struct model *model, pfn_t pfn, const struct alloc_request *req);
int model_alloc_at(struct model *model, pfn_t pfn, const struct alloc_request *req);
int model_isolate(struct model *model, pfn_t pfn, unsigned int order, uint64_t *got);
int model_unisolate(struct model *model, pfn_t pfn, unsigned int order);
int model_online(struct model *model, struct pfn_range range);
int model_offline(struct model *model, struct pfn_range range);
void model_drain(struct model *model);
uint64_t model_tick(struct model *model, uint64_t now_ns);

/** Free frames, parked ones too but not isolated ones, of [@start, @end). */
uint64_t model_free_in(const struct model *model, pfn_t start, pfn_t end);

/* How often a rule was at work: to prove that the tests get there. */
enum model_rule {
	RULE_MERGE_LIKELY,	 /* a free went to the tail */
	RULE_MERGE_TYPES,	 /* a pageblock took over the type of the one it merged with */
	RULE_CMA_FIRST,		 /* CMA before the own type */
	RULE_CMA,		 /* CMA for want of own blocks */
	RULE_CLAIM_WHOLE,	 /* pageblocks changed hands as they were */
	RULE_CLAIM,		 /* a pageblock changed hands */
	RULE_CLAIM_SECOND,	 /* not that of the largest block */
	RULE_CLAIM_FAILED,	 /* too little of a pageblock is free or alike */
	RULE_STEAL,		 /* 6.15: the smallest block */
	RULE_STEAL_ON,		 /* at once, as before in this refill */
	RULE_STEAL_LARGEST,	 /* 6.10: from the block that was not to be claimed */
	RULE_SHIFT,		 /* old: a block changed lists */
	RULE_MOVE,		 /* old: all of a pageblock's changed lists */
	RULE_NOFRAGMENT_DROPPED, /* no zone had anything without mixing types */
	RULE_SPILL,
	RULE_BELOW_HIGH,
	RULE_ABOVE_HIGH, /* the flag went again */
	RULE_SLOW,
	RULE_NO_WATERMARK, /* served below all marks */
	RULE_LAST_RESORT,  /* served after a drain */
	RULE_FAILURE,
	RULE_BOOST,
	RULE_KSWAPD_WAKES,
	RULE_KSWAPD_SLEEPS,
	RULE_RESERVE,
	RULE_RESERVE_FIRST, /* the reserve served an urgent request */
	RULE_RESERVE_LAST,  /* and one that had nothing else */
	RULE_UNRESERVE,
	RULE_HIT,
	RULE_REFILL,
	RULE_REFILL_GROWS,
	RULE_REFILL_LIMITED, /* by the room below high */
	RULE_DRAIN,
	RULE_FLUSH,   /* small blocks in a row */
	RULE_FOREIGN, /* drained onto another list than its pageblock's */
	RULE_DECAY,
	RULE_REMOTE,
	RULE_PHANTOM,
	MODEL_RULES,
};

uint64_t model_count(const struct model *model, enum model_rule rule);
const char *model_rule_name(enum model_rule rule);

/**
 * model_differs - compare every list, entry by entry and in order, every count, frame and pageblock
 * Return: false if all agree; else true and the first difference in @err.
 */
bool model_differs(const struct model *model, const struct allocator *a, struct error *err);

#endif
