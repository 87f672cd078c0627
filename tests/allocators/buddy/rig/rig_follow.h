/* SPDX-License-Identifier: MIT */
/*
 * For the tests of following: short words for facts, random requests, and what a random life holds.
 */
#ifndef TESTS_ALLOCATORS_BUDDY_RIG_RIG_FOLLOW_H
#define TESTS_ALLOCATORS_BUDDY_RIG_RIG_FOLLOW_H

#include "tests/allocators/buddy/rig/rig.h"
#include "sim/gfp.h"

#define ALONE	   ",watermarks=off"
#define TOLD(kind) (UINT64_C(1) << (kind))
#define ALL_FACTS                                                                                  \
	(TOLD(FACT_PLACED) | TOLD(FACT_FREED) | TOLD(FACT_REFILL) | TOLD(FACT_DRAIN) |             \
	 TOLD(FACT_FALLBACK))
#define REQUESTS    (TOLD(FACT_PLACED) | TOLD(FACT_FREED))
#define PATIENT	    (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM)
#define OBJECTS_MAX 65536

/* Lists by their kernel index. */
enum {
	UNMOVABLE_0,
	MOVABLE_0,
	RECLAIMABLE_0,
};

struct object {
	pfn_t pfn;
	uint8_t order;
};

/* What has been allocated, for random frees. */
struct heap {
	struct object *object; /* free() it */
	size_t n;
	uint64_t frames;
};

void heap_open(struct heap *h);
void heap_add(struct heap *h, pfn_t pfn, unsigned int order);
/** Take one of them, by a random number; it must hold one. */
struct object heap_take(struct heap *h, uint64_t random);

/** Mostly single frames, now and then what per-CPU lists have, rarely what they have not. */
unsigned int rig_random_order(uint64_t *seed);
/** By any cpu, of any order and type, for either zone of rig_two_zones(). */
struct alloc_request rig_random_request(const struct rig *rig, uint64_t *seed);

/** DMA32 below Normal, four cpus. */
struct machine *rig_two_zones(pfn_t border, pfn_t end);

/** From here on be told this set of facts, 0: none. */
void rig_tell_follow(struct rig *rig, uint64_t told);
/** rig_open_with(), and be told. */
void rig_follow_with(struct rig *rig, struct machine *m, const char *options, uint64_t told);
/** The same on one Normal zone [0, PICTURE_FRAMES), by 6.18's rules. */
void rig_follow(struct rig *rig, uint64_t told);

/** The argument of a FACT_FALLBACK. */
uint64_t rig_fallback_arg(unsigned int order, unsigned int type, bool change);

/** Observe a fact, and check. Return: what observe() returned. */
int rig_tell(struct rig *rig, unsigned int kind, unsigned int cpu, pfn_t pfn, unsigned int order,
	     unsigned int mt, uint64_t arg);
/** Facts of movable blocks, which must be accepted. */
void rig_place(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order);
void rig_give_back(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order);
/** A FACT_REFILL. Return: what observe() returned. */
int rig_refill(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order, unsigned int mt);

/** Is the block allocated, as far as the clone knows? */
bool rig_in_use(const struct rig *rig, pfn_t pfn, unsigned int order);

/** Where a movable request of cpu 0 would be served. @flags: enum alloc_request_flag */
pfn_t rig_predicted(const struct rig *rig, unsigned int order, unsigned int flags);

#endif
