/* SPDX-License-Identifier: MIT */
/*
 * The state of every frame of a machine at one moment, run-length coded: what a snapshot of a live
 * kernel found, and what a back end adopts before a replay. Beside it what the kernel itself counted
 * at that moment, zone by zone: free blocks, pageblock types, per-CPU lists.
 */
#ifndef SIM_FRAME_MAP_H
#define SIM_FRAME_MAP_H

#include "sim/machine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum frame_state {
	FRAME_FREE,	   /* in the buddy's free lists */
	FRAME_MOVABLE,	   /* allocated: LRU, huge or anonymous */
	FRAME_UNMOVABLE,   /* allocated: everything else; a snapshot cannot tell it from PARKED */
	FRAME_RECLAIMABLE, /* allocated: known to be reclaimable slab */
	FRAME_RESERVED,	   /* not managed, see enum absence */
	FRAME_OFFLINE,
	FRAME_HOLE,
	FRAME_PARKED, /* free on a per-CPU list */
	FRAME_STATES,
};

/*
 * The `order` of a run of free or parked frames says since when that is known. 0: the moment's flags,
 * or events before it, tell. FRAME_HINDSIGHT: events or flags after it do, so whoever must not look
 * into the future reads the run as UNMOVABLE (frame_run_online()); all others make no difference.
 */
#define FRAME_HINDSIGHT 1

/** "free", "movable", ... */
const char *frame_state_name(unsigned int state);

static inline bool frame_state_managed(unsigned int state)
{
	return state != FRAME_RESERVED && state != FRAME_OFFLINE && state != FRAME_HOLE;
}

static inline bool frame_state_free(unsigned int state)
{
	return state == FRAME_FREE || state == FRAME_PARKED;
}

static inline bool frame_state_allocated(unsigned int state)
{
	return state == FRAME_MOVABLE || state == FRAME_UNMOVABLE || state == FRAME_RECLAIMABLE;
}

/*
 * [start, start + frames) all in one state. For allocated states the run is frames >> order objects
 * of 2^order frames, each aligned; for free ones order is 0 or FRAME_HINDSIGHT, for all others 0. A run
 * never crosses a zone border; runs are sorted, disjoint and cover exactly the machine's zone spans.
 */
struct frame_run {
	pfn_t start;
	uint64_t frames : 48;
	uint64_t state : 8;
	uint64_t order : 8;
};

/** The state of a run to somebody who must not look into the future. */
static inline unsigned int frame_run_online(const struct frame_run *run)
{
	return frame_state_free(run->state) && run->order == FRAME_HINDSIGHT
		       ? (unsigned int)FRAME_UNMOVABLE
		       : run->state;
}

/* One per-CPU list of one zone, in base frames, as /proc/zoneinfo gives it. */
struct pcp_state {
	uint32_t count, high, batch, high_min, high_max;
};

/* What the kernel counted in one zone (buddyinfo, pagetypeinfo, zoneinfo). */
struct zone_counts {
	uint64_t managed, free_frames;
	uint64_t nr_free[NR_ORDERS];			 /* blocks; buddyinfo */
	uint64_t free_by_type[MIGRATE_TYPES][NR_ORDERS]; /* pagetypeinfo; "many" is capped there */
	uint64_t blocks_by_type[MIGRATE_TYPES];		 /* pageblocks */
	struct watermarks watermark;
	uint64_t boost;
	struct pcp_state *pcp; /* machine's nr_cpus entries */
};

struct frame_map {
	const struct machine *machine; /* not owned; outlives the map */
	uint64_t time_ns;	       /* trace clock: the moment the map describes */
	struct frame_run *runs;
	size_t nr_runs;
	/* Pageblock types, one byte per pageblock from align_down(machine_start), MIGRATE_UNKNOWN where
	   nothing is known; NULL: none known. nr_pageblocks covers up to machine_end. */
	uint8_t *pageblock_type;
	size_t nr_pageblocks;
	struct zone_counts *zones; /* machine's nr_zones entries; NULL: the kernel was not asked */
};

/**
 * frame_map_from_bytes - run-length code one byte per frame
 * @cells: for pfn machine_start()..machine_end(): state | order << 4 of the object that frame belongs
 *         to, or state | FRAME_HINDSIGHT << 4 of a free one. Cells outside zone spans are ignored. A
 *         cell whose order does not fit (misaligned head, neighbours disagree, no such mark of a free
 *         frame) is stored with order 0.
 * Return: 0; -ENOMEM; -EINVAL: no such state. The map has neither pageblock types nor zone counts yet.
 */
int frame_map_from_bytes(const struct machine *m, const uint8_t *cells, uint64_t time_ns,
			 struct frame_map **map, struct error *err);

/** The inverse; @cells has machine_end() - machine_start() bytes; FRAME_HOLE outside zone spans. */
void frame_map_to_bytes(const struct frame_map *map, uint8_t *cells);

/**
 * frame_map_fresh - all managed frames free, the rest as the machine's absent ranges say: the state
 * after boot
 */
int frame_map_fresh(const struct machine *m, struct frame_map **map, struct error *err);

/** Allocate zones (zeroed counts, with pcp arrays) and pageblock_type (all unknown) on a map. */
int frame_map_add_zones(struct frame_map *map, struct error *err);
int frame_map_add_pageblocks(struct frame_map *map, struct error *err);

void frame_map_destroy(struct frame_map *map); /* NULL is allowed */

/** Check every promise of the struct against its machine (for a map that came out of a file). */
int frame_map_check(const struct frame_map *map, struct error *err);

/** Frames in each state, known in hindsight or not. */
void frame_map_count(const struct frame_map *map, uint64_t frames[FRAME_STATES]);

/**
 * frame_map_free_blocks - the free runs cut greedily into maximal aligned blocks inside zones
 * @parked_too: count PARKED frames as free (adjacent runs of FREE and PARKED join)
 */
void frame_map_free_blocks(const struct frame_map *map, bool parked_too,
			   uint64_t blocks[NR_ORDERS]);

#ifdef __cplusplus
}
#endif
#endif
