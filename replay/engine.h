/* SPDX-License-Identifier: MIT */
/*
 * The engine proper: turns events into calls of a back end and keeps the books. It works in batches, in
 * passes that are files: plan.c (repair the event, find its object), execute.c (a tight loop over back-end
 * calls, one time stamp between two), account.c (check, count, update the map). Batches form a ring, and
 * planning may be ahead of execution by some of them; what comes out of it depends neither on their
 * length nor on how far. Without batches one would measure the engine's own cache misses, not the
 * allocator.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_ENGINE_H
#define REPLAY_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "base/histogram.h"
#include "replay/clock.h"
#include "replay/memory_state.h"
#include "replay/pace.h"
#include "replay/position.h"
#include "replay/replay.h"
#include "replay/world.h"
#include "results/result.h"
#include "traces/file/trace.h"

struct engine;
struct node_counts;

#define ENGINE_BATCH_MAX 256

/* A point of the trace between two events. */
struct engine_moment {
	uint64_t events;  /* of any kind, played before it */
	uint64_t time_ns; /* of the last of them */
};

/* What is played, on what, and what is to be known afterwards. */
struct engine_config {
	struct world *world;
	/*
	 * The trace's own machine: its pfns are names in its range of frames. Where it is not the
	 * world's machine they are nothing but names: no hints are given, memory does not come or go
	 * with the trace's, and its cpus are mapped onto the world's. NULL: the world's.
	 */
	const struct machine *ids;
	enum trace_identity identity; /* of the trace that will be played */
	bool oracle;		      /* check every placement, unless the back end is exempt */
	enum touching touching;	      /* of the world's memory */
	bool touch_prefill;	      /* what is prefilled, too */
	bool labels;		      /* events come through replay/labels.h */
	bool both_ways; /* from placed frames back to objects, too, as engine_move() needs it and
			   a back end with MOVES, which has it anyway */
	/*
	 * The end snapshot, for a back end that places where the recording did: what compaction moved
	 * is placed where frames are in use then. Read by engine_create(). NULL: it is not placed.
	 */
	const struct frame_map *end;
	bool births;		/* since when objects live, as holders and ages need it */
	bool untimed;		/* no stamps are taken, and there are no latencies */
	uint32_t outliers;	/* the slowest are kept, so many; 0: none */
	unsigned int batch_ops; /* 1..ENGINE_BATCH_MAX; 0: the usual number */
	unsigned int ahead;	/* batches planned beyond the one that is executed */
	/*
	 * Operations are carried out when they are due by the trace's times, which pass that much
	 * faster; 0: at once. If batch_ops and ahead are 0, they are chosen for that.
	 */
	double speed;
	const volatile sig_atomic_t
		*stop;		       /* ends waiting for what is not due; NULL: nothing does */
	struct run_position *position; /* kept up to date for who watches; NULL: nobody does */
	/**
	 * sample - all before a moment asked for by engine_sample_at() has been executed and
	 * accounted, and nothing after it
	 * May call what reads the engine's state. Return: 0; anything else ends the play with it.
	 */
	int (*sample)(void *arg, const struct engine_moment *moment);
	void *arg;
};

/* What the trace and its repair add up to; named as the metrics. */
struct engine_counts {
	uint64_t events, ops, allocs, frees, lost_events;
	uint64_t orphan_frees, implicit_frees, ghost_frees, split_frees, deferred_frames;
	uint64_t recorded_failures, rescued_failures, alloc_failures, prefill_failures;
	uint64_t compaction_moves, compaction_returns, compaction_unplaced;
	uint64_t unreplayable, hotplug_refusals, zone_mismatches, oracle_violations;
};

/**
 * engine_create - nothing placed yet
 * The config is copied; the world, @ids and @arg must outlive the engine.
 * Return: 0, -ENOMEM, -EFBIG: the machine is too large.
 */
int engine_create(const struct engine_config *config, struct engine **e, struct error *err);
void engine_destroy(struct engine *e); /* NULL is allowed */

/**
 * engine_bytes - the host's memory that an engine may come to
 * @config: the world may be NULL
 * @machine: the world's
 * The most it can be: when every frame of the trace's machine has been named, and each cpu has done
 * everything. Not in it: the back end, snapshots, and, while engine_holders() runs, 12 bytes for each
 * object in a 2 MiB block that has an unmovable frame.
 */
uint64_t engine_bytes(const struct engine_config *config, const struct machine *machine);

/* ---- before the first event ---- */

/** Take over a snapshot whose objects the back end holds already. Return: 0 or -ENOMEM. */
int engine_load(struct engine *e, const struct frame_map *map, struct error *err);

/**
 * engine_prefill - put the snapshot's objects into memory
 * @prefill: as resolved by the caller
 * Return: 0; -ENOMEM; adopt()'s error.
 */
int engine_prefill(struct engine *e, const struct frame_map *map, enum prefill prefill,
		   struct error *err);

/** Trace time starts at @now_ns: births count from it, and the back end's first tick is called. */
void engine_start(struct engine *e, uint64_t now_ns);

/* ---- play ---- */

/**
 * engine_play - play @n events, fewer than 2^31; the last ones may be planned, but not executed yet
 * Their times never decrease, from call to call either. Return: 0; -ENOMEM; -EINTR: `stop` was set during a
 * wait; what sample() returned.
 */
int engine_play(struct engine *e, const struct event *events, size_t n, struct error *err);

/**
 * engine_sample_at - call sample() for the moment behind the events given so far
 * It may be called at once, or in a later call of engine_play() or engine_flush().
 */
void engine_sample_at(struct engine *e);

/**
 * engine_flush - execute and account all that is planned
 * Return: 0; -ENOMEM; what sample() returned.
 */
int engine_flush(struct engine *e, struct error *err);

/** How many events have been given to engine_play(), of whatever kind. */
uint64_t engine_events(const struct engine *e);

/* ---- what became of it, as of the last flush or in sample() ---- */

/** All counts; those of planning (all but failures, refusals and what the oracle says) may be ahead. */
struct engine_counts engine_counts(const struct engine *e);

/** Is every placement checked? */
bool engine_has_oracle(const struct engine *e);

/** What the oracle objected to first, with its event; "": nothing. */
const char *engine_first_violation(const struct engine *e);

/**
 * engine_metrics - the state metrics now, the back end's own (kernel_*, cached_frames) included
 * @ours, @backend: free blocks by order
 * @stats: what the back end's own were taken from, its counters with it
 * Return: false: the back end tells no statistics; @stats is empty then, @backend untouched.
 */
bool engine_metrics(struct engine *e, double state[METRIC_STATE_COUNT], uint64_t ours[NR_ORDERS],
		    uint64_t backend[NR_ORDERS], struct allocator_stats *stats);

/**
 * Is the engine's map what the back end has to agree with? Not of one that is not checked, nor after what the
 * oracle objected to, or memory that did not come or go.
 */
bool engine_map_is_sure(const struct engine *e);

/** The map of frames. Once the trace has been played, the caller may do with it what it likes. */
struct memory_state *engine_state(struct engine *e);

/** Nanoseconds of one sort of operation; NULL: there was none. Owned by the engine. */
const struct histogram *engine_latency(const struct engine *e, enum latency_op op,
				       enum latency_path path, enum latency_class c,
				       unsigned int cpu);

/** Which nodes served allocations (replay/nodes.h); NULL: the machine has one. */
const struct node_counts *engine_nodes(const struct engine *e);

/**
 * engine_outliers - the slowest operations, slowest first, of like ones the earliest first
 * @n: how many there are: as many as the config asks for, or all. Once all is played: nothing is
 * noted afterwards. Owned by the engine.
 */
const struct result_outlier *engine_outliers(struct engine *e, size_t *n);

/* What was done to real memory. */
struct engine_touch {
	uint64_t frames; /* handed out at least once */
	uint64_t cleared_frames;
};

struct engine_touch engine_touch(const struct engine *e);

/** How well a timed replay kept to the trace's times; of any other, all is 0. */
struct pace_outcome engine_pace(const struct engine *e);

/** Successful allocations by what their results said; one may have said several things. */
void engine_flags(const struct engine *e, uint64_t of[FLAG_KINDS]);

/* ---- who holds memory; with nothing planned ahead: in the sample() of a flush, or flushed ---- */

#define ENGINE_HOLDERS_TOP 3

/**
 * engine_holders - for each 2 MiB block with an unmovable frame: its ENGINE_HOLDERS_TOP largest
 * groups of objects that are alike, largest first, blocks ascending
 * @visit: all but `sample` is set; `since_ns` is early by up to 2^20 ns, or the start if births are
 *         not kept. Something that does not return 0 ends it.
 * Return: 0; -ENOMEM; -EAGAIN: something is planned; what @visit returned.
 */
int engine_holders(struct engine *e, int (*visit)(void *arg, const struct result_holder *holder),
		   void *arg);

/**
 * engine_ages - result_age_code() of the youngest and the oldest object of each 2 MiB block
 * @youngest, @oldest: engine_state()'s nr_blocks entries; BLOCKMAP_ABSENT: holds no object, or has
 *                     absent frames
 * Return: 0; -ENOMEM; -EAGAIN: something is planned.
 */
int engine_ages(struct engine *e, uint16_t *youngest, uint16_t *oldest);

/* ---- objects that move; needs both_ways ---- */

/**
 * engine_move - what lives in the block [@from, @from + 2^@order) lives at @to from now on
 * The map and the books follow; the back end is not called, its caller has. Only between batches: in
 * sample(), or flushed. An aligned part of an object becomes one of its own; only when flushed, and only
 * if the back end can split.
 * Return: 0; -EINVAL: misaligned, overlapping or outside the machine; -ENOENT: not all of it is held by
 * objects; -EBUSY: not all of the target is free; -ENOTSUP: a part of what the back end cannot split;
 * -EAGAIN: a part, while operations are planned.
 */
int engine_move(struct engine *e, pfn_t from, pfn_t to, unsigned int order);

/**
 * engine_moved - the back end says that it moved a block; only from within a call of it
 * Noted, and followed after the call: behind the result of a free, before that of an allocation. What
 * cannot be true is an oracle violation.
 */
void engine_moved(struct engine *e, pfn_t from, pfn_t to, unsigned int order);

/** The object whose frame is placed at @pfn: the recorded pfn of its head; PFN_NONE: none. */
pfn_t engine_owner(const struct engine *e, pfn_t pfn);

#endif
