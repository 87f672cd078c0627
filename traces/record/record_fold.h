/* SPDX-License-Identifier: MIT */
/*
 * A scan of all frames takes a second or two, in which the machine goes on; and it cannot tell a frame
 * on a per-CPU list from one the kernel uses. The events recorded around it can. Here is the pure
 * logic: events in, repaired frame states out (linux-page-allocator, sections 8 and 12; fidelity,
 * section 5).
 *
 * A recording is read twice. First pass: events up to the start moment T0 are folded into the start
 * scan, later ones tell in hindsight which frames were parked or free, all tell what the end scan sees.
 * Second pass: the ledger turns events after T0 into what is written, and adds when memory came online.
 *
 * Nothing here does I/O. Objects belong to one thread.
 */
#ifndef TRACES_RECORD_RECORD_FOLD_H
#define TRACES_RECORD_RECORD_FOLD_H

#include "base/error.h"
#include "traces/event.h"
#include "traces/record/procfs.h"

/* An event is stamped a little before its effect shows in the flags; folding it again is harmless. */
#define FOLD_SLACK_NS UINT64_C(1000000)

/**
 * fold_into_scan - bring the cells an event touches up to date, if it is later than their reading
 *
 * The last event of a frame wins: ALLOC makes its frames MOVABLE, RECLAIMABLE or UNMOVABLE by the
 * migratetype its gfp asks for, with the object's order; ZONE_LOCKED makes them PARKED (a refill; a
 * direct allocation is an ALLOC at once); FREE makes them PARKED where per-CPU lists take the order,
 * else FREE; PCPU_DRAIN makes them FREE. Frames outside the machine's span are passed over.
 */
void fold_into_scan(struct frame_scan *scan, const struct event *e);

/* What the events so far tell, per frame and per pageblock. */
struct fold {
	const struct machine *machine; /* not owned; only its zones are used */
	size_t nr_frames, nr_pageblocks;
	uint64_t *released;  /* bit per frame: its last event left it on a per-CPU list */
	uint64_t *seen;	     /* bit per frame: fold_look_ahead() knows its first event */
	uint64_t *parked;    /* bit per frame: that event proves it was parked */
	uint64_t *listed;    /* bit per frame: that event proves it was in the free lists */
	uint8_t *block_type; /* per pageblock: as events told it, or MIGRATE_UNKNOWN */
};

int fold_create(const struct machine *m, struct fold **fold, struct error *err);
void fold_destroy(struct fold *fold); /* NULL is allowed */

/** Learn from an event, in time order. */
void fold_observe(struct fold *fold, const struct event *e);

/**
 * fold_look_ahead - learn about T0 from an event after it, in time order
 * A frame whose first event is an allocation that took no block from the free lists, or a drain, was
 * parked at T0. One whose first event takes it from the free lists was in them.
 */
void fold_look_ahead(struct fold *fold, const struct event *e);

/**
 * fold_apply_released - bare UNMOVABLE frames whose last event so far put them on a per-CPU list
 * become PARKED. No look into the future.
 * Return: how many.
 */
uint64_t fold_apply_released(const struct fold *fold, struct frame_scan *scan);

/* Frames whose state hindsight changed. */
struct hindsight {
	uint64_t parked, freed;
};

/**
 * fold_apply_hindsight - say what fold_look_ahead() proved about bare UNMOVABLE frames of the start
 * @scan: of the start; frames that change get FRAME_HINDSIGHT
 * @end: the end scan, procfs_scan_finish() not done yet; NULL: events were lost
 *
 * Those proved parked become PARKED. Unless events were lost, in which case somebody may have freed
 * them unseen, those proved to be in the free lists become FREE; so do those without any event that
 * @end finds in the free lists: the kernel had taken them out for a while (isolated them, to report
 * or to move them) just when they were read.
 */
struct hindsight fold_apply_hindsight(const struct fold *fold, struct frame_scan *scan,
				      const struct frame_scan *end);

/**
 * fold_align - make @cells agree with @reference about which frames are managed
 * Memory that is managed only there becomes FREE where it was OFFLINE, else UNMOVABLE. For the burn-in
 * snapshot, which is one of the start's machine.
 */
void fold_align(const struct machine *m, const uint8_t *reference, uint8_t *cells);

/**
 * fold_burn_in_event - may an event between the burn-in and the start snapshot be written as it is?
 * @cells: of the start scan
 * @e: becomes LOST otherwise: on frames outside all zones or not managed at the start
 */
void fold_burn_in_event(const struct machine *m, const uint8_t *cells, struct event *e);

/**
 * fold_pageblocks - the type of each pageblock: as events told it, else by the majority of its
 * allocated frames, else MOVABLE (as after boot); UNKNOWN where no frame is managed
 * @types: fold->nr_pageblocks entries; in: a copy of fold->block_type at the moment of the scan
 */
void fold_pageblocks(const struct fold *fold, const struct frame_scan *scan, uint8_t *types);

/* ---- second pass ---- */

typedef int (*ledger_emit)(void *arg, const struct event *e, struct error *err);

struct ledger_poll {
	uint64_t time_ns;
	uint64_t managed[MACHINE_ZONES_MAX];
};

struct ledger {
	const struct machine *machine; /* not owned */
	uint8_t *cells;		       /* not owned: the start scan's, kept up to date from here */
	const struct ledger_poll *polls; /* not owned; ascending in time */
	size_t nr_polls, next_poll;
	pfn_t cursor[MACHINE_ZONES_MAX];    /* no OFFLINE frame of the zone is below */
	uint64_t online[MACHINE_ZONES_MAX]; /* frames brought online so far */
	ledger_emit emit;
	void *arg;
	/* Results. */
	uint64_t orphan_frees;	 /* FREE events none of whose frames was allocated */
	uint64_t implicit_frees; /* ALLOC events some of whose frames were still allocated */
	uint64_t online_frames;	 /* sum of ONLINE args */
	uint64_t unplaceable;	 /* events on frames outside all zones, written as LOST */
};

/**
 * ledger_init - start the second pass
 * @m: with its absent ranges, as procfs_scan_finish() gave it
 * @cells: per frame from machine_start; the ledger goes on changing them
 * @polls: what zoneinfo's `managed` was, in time order; each ends the uncertainty about when memory
 *         before it came
 */
void ledger_init(struct ledger *l, const struct machine *m, uint8_t *cells,
		 const struct ledger_poll *polls, size_t nr_polls, ledger_emit emit, void *arg);

/**
 * ledger_event - account for an event and emit it, in time order
 *
 * Before an event that touches OFFLINE memory, ONLINE is emitted for all offline memory up to the
 * boundary that the next poll knows, or to the end of the touched block's 4 MiB. A free of a frame that
 * was reserved hands that frame over: it becomes ONLINE.
 * Return: 0 or what @emit returned.
 */
int ledger_event(struct ledger *l, const struct event *e, struct error *err);

/** Emit what the remaining polls up to @time_ns know. */
int ledger_finish(struct ledger *l, uint64_t time_ns, struct error *err);

/**
 * ledger_align - make the cells of the end scan agree with the ledger about what is managed: a reader
 * knows that only from the machine and the ONLINE events
 */
void ledger_align(const struct ledger *l, uint8_t *cells);

#endif
