/* SPDX-License-Identifier: MIT */
/*
 * Which frames are held, and by what kind of object: the engine's own map, from which every state
 * metric comes, so that no back end is asked about itself. Kept per operation in a few small arrays
 * (a bit per frame, two counters per 2 MiB block, two histograms), so that a sample costs a pass over
 * the blocks, not over memory.
 *
 * A frame is free when it is managed and in no live object; frames parked on a back end's per-CPU
 * lists are free. Not thread-safe.
 */
#ifndef REPLAY_MEMORY_STATE_H
#define REPLAY_MEMORY_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/error.h"
#include "results/metrics.h"
#include "sim/frame_map.h"
#include "sim/machine.h"

struct block_state {
	uint16_t held;	    /* managed frames in live objects */
	uint16_t unmovable; /* those of them in unmovable objects */
	uint16_t absent;    /* frames that do not exist, are reserved, or offline */
	uint8_t zone;	    /* index of its zone; ZONE_MIXED: ask machine_zone_of() */
};

#define ZONE_MIXED 0xff

/* What the sums below hold of one 2 MiB block: its state as of when it was last counted. */
struct block_counted {
	struct block_state state;
	uint16_t aligned[HUGE_ORDER + 1]; /* free blocks of each order, nested ones included */
};

struct memory_state {
	const struct machine *machine;
	pfn_t base;	  /* machine_start, rounded down to 1 GiB: frame 0 of the arrays */
	uint64_t frames;  /* covered, a multiple of 64 */
	uint64_t *taken;  /* bit: held or absent */
	uint64_t *absent; /* bit: absent alone; read only when memory comes or goes */
	struct block_state *block;
	uint64_t nr_blocks;
	uint64_t free_frames, unmovable_frames, managed_frames;
	uint64_t *dirty; /* bit per 2 MiB block: changed since it was counted */

	/* From here on: as of the last count; whoever reads them counts first. */
	struct block_counted *counted;
	uint64_t *whole; /* bit per 2 MiB block: wholly free */
	uint64_t aligned[HUGE_ORDER + 1];
	/* Blocks without absent frames, by frames held: all, and those without an unmovable frame. */
	uint64_t by_held[HUGE_FRAMES + 1], by_held_movable[HUGE_FRAMES + 1];
	uint64_t unmovable_blocks, mixed_blocks, pinned_huge;

	uint64_t *pair;	   /* bit per even block: in one zone with the next, so that both may be one
			      free block of order 10 */
	uint16_t *scratch; /* nr_blocks entries, for the compaction estimate */
};

/** All managed frames of @m free. @m must outlive it. Return: 0 or -ENOMEM. */
int memory_state_create(const struct machine *m, struct memory_state **s, struct error *err);
void memory_state_destroy(struct memory_state *s); /* NULL is allowed */

/** The host's memory it takes: all of it at once. */
uint64_t memory_state_bytes(const struct machine *m);

/** Is every frame of the aligned block managed and free? It must lie inside the machine. */
bool memory_state_is_free(const struct memory_state *s, pfn_t pfn, unsigned int order);
/** Is every frame of it taken (held, or absent)? */
bool memory_state_is_taken(const struct memory_state *s, pfn_t pfn, unsigned int order);

/* Set or clear the taken bits of a block of order 6 and above. */
void memory_state_set_words(struct memory_state *s, uint64_t first, uint64_t frames, bool taken);

/* @n frames of block @i change hands; what follows from that is worked out when asked for. */
static inline void memory_state_change_block(struct memory_state *s, uint64_t i, int n,
					     bool movable)
{
	struct block_state *b = &s->block[i];

	b->held = (uint16_t)(b->held + n);
	if (!movable)
		b->unmovable = (uint16_t)(b->unmovable + n);
	s->dirty[i >> 6] |= UINT64_C(1) << (i & 63);
}

/* The common part of hold (@by 1) and release (@by -1); here because it runs for every operation. */
static inline void memory_state_change(struct memory_state *s, pfn_t pfn, unsigned int order,
				       bool movable, int by)
{
	uint64_t first = pfn - s->base, i = first / HUGE_FRAMES;
	int64_t n = by * (INT64_C(1) << order);

	if (order < 6)
		/* Free bits become taken or the other way round. */
		s->taken[first >> 6] ^= low_bits(1U << order) << (first & 63);
	else
		memory_state_set_words(s, first, UINT64_C(1) << order, by > 0);
	s->free_frames -= (uint64_t)n;
	if (!movable)
		s->unmovable_frames += (uint64_t)n;
	if (order <= HUGE_ORDER) {
		memory_state_change_block(s, i, (int)n, movable);
		return;
	}
	memory_state_change_block(s, i, by * HUGE_FRAMES, movable);
	memory_state_change_block(s, i + 1, by * HUGE_FRAMES, movable);
}

/**
 * memory_state_hold - an object of 2^@order frames now lives at @pfn
 * memory_state_release - it, or an aligned part of it, is gone
 * The frames must be free, or held with the same @movable (the caller has checked).
 */
static inline void memory_state_hold(struct memory_state *s, pfn_t pfn, unsigned int order,
				     bool movable)
{
	memory_state_change(s, pfn, order, movable, 1);
}

static inline void memory_state_release(struct memory_state *s, pfn_t pfn, unsigned int order,
					bool movable)
{
	memory_state_change(s, pfn, order, movable, -1);
}

/** Absent frames become managed and free; managed free frames become absent. Others are skipped. */
void memory_state_online(struct memory_state *s, struct pfn_range range);
void memory_state_offline(struct memory_state *s, struct pfn_range range);

/** Hold every allocated object of a snapshot; the state must be fresh. */
void memory_state_load(struct memory_state *s, const struct frame_map *map);

/** Does an aligned free block of 2^@order frames exist within one zone? */
bool memory_state_has_free_block(struct memory_state *s, unsigned int order);

/**
 * memory_state_free_blocks - the free map cut greedily into maximal aligned blocks up to order 10
 * inside zones
 * Looks only into 2 MiB blocks that changed since the last time.
 */
void memory_state_free_blocks(struct memory_state *s, uint64_t blocks[NR_ORDERS]);

/** The zone index of a managed @pfn. */
static inline int memory_state_zone(const struct memory_state *s, pfn_t pfn)
{
	uint8_t zone = s->block[(pfn - s->base) / HUGE_FRAMES].zone;

	return zone != ZONE_MIXED ? zone : machine_zone_of(s->machine, pfn);
}

/**
 * memory_state_metrics - all state metrics that come from this map; kernel_* and cached_frames stay
 * NaN
 * @values: indexed by metric - METRIC_STATE_FIRST
 * @blocks: as memory_state_free_blocks() gives it
 */
void memory_state_metrics(struct memory_state *s, double values[METRIC_STATE_COUNT],
			  uint64_t blocks[NR_ORDERS]);

/**
 * free_block_indices - unusable_index and fragmentation_index of orders 0..10 in the kernel's integer
 * arithmetic (linux-page-allocator, section 8), divided by 1000
 */
void free_block_indices(const uint64_t blocks[NR_ORDERS], double unusable[NR_ORDERS],
			double fragmentation[NR_ORDERS]);

/**
 * moves_to_compact - frames to move until the held ones fill the fewest blocks: the fullest blocks
 * are filled from the emptiest, two pointers over the blocks sorted by frames held
 * @held: @n counters, ascending; destroyed
 * @fixed: NULL, or per block whether it cannot be emptied (then it is skipped as a source). Among blocks
 *         with equal counters, those that can be emptied come first: docs/metrics.md
 */
uint64_t moves_to_compact(uint16_t *held, const uint8_t *fixed, size_t n);

#endif
