/* SPDX-License-Identifier: MIT */
/* What the parts of the model (model.h) share: its zones, lists and per-CPU sets. */
#ifndef TESTS_ALLOCATORS_BUDDY_MODEL_MODEL_PARTS_H
#define TESTS_ALLOCATORS_BUDDY_MODEL_MODEL_PARTS_H

#include "tests/allocators/buddy/model/model.h"

enum { PB = 9, PBN = 512 };

enum model_frame {
	M_ABSENT,
	M_FREE,
	M_USED,
	M_USED_MOVABLE,
	M_TAKEN, /* isolated below pageblock size */
	M_PARKED,
};

struct list {
	pfn_t *pfn; /* HEAD first */
	size_t n, room;
};

/* One cpu's lists of one zone. */
struct model_set {
	int64_t batch, high_min, high_max;
	int64_t high, free_count, alloc_factor, free_factor, expire, phantoms;
	bool small_before; /* the last free was of order 1..3 */
	struct list list[14];
	uint64_t hits, refills, drained;
};

struct model_zone {
	struct zone zone;
	uint8_t *frame;	 /* enum model_frame, of zone.start and up */
	uint8_t *cached; /* of parked frames: the type they go by if drains go by that */
	uint8_t *type;	 /* of pageblocks from zone.start / PBN up */
	bool *isolated;	 /* likewise */
	struct list free[MIGRATE_TYPES][NR_ORDERS];
	struct model_set *sets; /* per cpu; NULL: none */
	int64_t managed, boost, boost_at_wake, reserved;
	bool below_high, kswapd, boosted;
	uint64_t zone_locked, claims, steals, boosts, spills;
};

struct model {
	const struct machine *m;
	struct buddy_rules rules;
	struct model_zone *zones;
	uint64_t *due; /* per cpu: the next visit of its worker; 0: not known */
	uint64_t first_tick;
	bool ticks;
	bool grouping;
	uint64_t count[MODEL_RULES];
};

void *model_need(void *p); /* @p, or abort */

/* Lists: entry 0 is the HEAD. */
void list_add(struct list *l, size_t at, pfn_t pfn);
bool list_remove(struct list *l, pfn_t pfn); /* false: it is not there */
void add_head(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt);
void add_tail(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt);
/** The type of the list a free block of exactly this order is on, or MIGRATE_UNKNOWN. */
unsigned int list_of(const struct model_zone *z, pfn_t pfn, unsigned int o);

/* Frames and pageblocks. */
struct model_zone *zone_at(const struct model *model, pfn_t pfn); /* NULL: none spans it */
bool in_zone(const struct model_zone *z, pfn_t pfn);
uint8_t *frame_at(const struct model_zone *z, pfn_t pfn); /* enum model_frame */
void set_frames(struct model_zone *z, pfn_t pfn, uint64_t n, enum model_frame to);
/** Are @n frames in the zone, each one or the other? */
bool all_frames(const struct model_zone *z, pfn_t pfn, uint64_t n, enum model_frame is,
		enum model_frame or);
size_t block_index(const struct model_zone *z, pfn_t pfn); /* in type[] and isolated[] */
unsigned int type_of(const struct model_zone *z, pfn_t pfn);

/* The buddy system. */
void free_block(struct model *model, struct model_zone *z, pfn_t pfn, unsigned int o,
		unsigned int mt, bool tail);
/** The same by the pageblock's type, pageblock by pageblock where kernels do so. */
void free_by_type(struct model *model, struct model_zone *z, pfn_t pfn, unsigned int o, bool tail);
pfn_t smallest(struct model_zone *z, unsigned int o, unsigned int mt); /* or PFN_NONE */
/** All that is free of a pageblock goes to the tails of a type's lists, ascending. */
void move_block(struct model_zone *z, pfn_t start, unsigned int to);

/* What a request may do. */
enum {
	MAY_CMA = 1,
	MAY_NOT_FRAGMENT = 2,
	MAY_MIN_RESERVE = 4,
	MAY_NON_BLOCK = 8,
	MAY_HIGHATOMIC = 16,
	MAY_KSWAPD = 32,
};

/* The stages a refill remembers. */
enum { FROM_OWN, FROM_CMA, FROM_CLAIM, FROM_STEAL };

/** One block by any stage. @taken_from: the type of the list it was on at last. */
pfn_t rmqueue_model(struct model *model, struct model_zone *z, unsigned int o, unsigned int mt,
		    unsigned int allowed, int *mode, bool *fallback, unsigned int *taken_from);

/* Watermarks, kswapd, the reserve of urgent requests. */
enum { MIN, LOW, HIGH, NONE };
int64_t free_frames(const struct model_zone *z); /* without isolated and parked ones */
/** @j: type of the highest zone the request may use */
bool watermark_ok(const struct model_zone *z, unsigned int o, unsigned int mark, unsigned int j,
		  unsigned int allowed);
void boost(struct model *model, struct model_zone *z, bool may_wake);
void wake_kswapd(struct model *model, struct model_zone *z);
void look_at_kswapd(struct model *model, struct model_zone *z);
void reserve(struct model *model, struct model_zone *z, pfn_t pfn);
void unreserve(struct model *model, struct model_zone *z, unsigned int mt); /* all of it */

/* Per-CPU sets; a zone without them has none of their lists. */
void sets_create(struct model *model, struct model_zone *z);
void sets_destroy(struct model *model, struct model_zone *z);
void sets_limit(struct model *model, struct model_zone *z); /* by the zone's size and low mark */
void sets_reset(struct model *model, struct model_zone *z); /* but for the limits */
void sets_adopt(struct model *model, struct model_zone *z, const struct zone_counts *counts);
void sets_drain(struct model *model);
/** The list of blocks of @o in a pageblock of type @mt, or PCP_NO_LIST. */
unsigned int set_list(const struct model *model, unsigned int o, unsigned int mt);
pfn_t set_alloc(struct model *model, struct model_zone *z, unsigned int cpu, unsigned int o,
		unsigned int mt, unsigned int allowed, uint64_t *flags); /* or PFN_NONE */
void set_free(struct model *model, struct model_zone *z, unsigned int cpu, pfn_t pfn,
	      unsigned int o);
int64_t set_count(const struct model_set *s); /* frames, phantoms too */

#endif
