/* SPDX-License-Identifier: MIT */
/*
 * The engine proper: turns events into calls of a back end and keeps the books. It works in batches of
 * at most 256 operations, in three passes: plan (repair the event, find its object), execute (a tight
 * loop over back-end calls, one time stamp between two), account (check, count, update the map). What
 * an operation needs from the same batch it reads from a slot. Without batches one would measure the
 * engine's own cache misses, not the allocator.
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
#include "results/result.h"
#include "replay/clock.h"
#include "replay/memory_state.h"
#include "replay/objects.h"
#include "replay/parts.h"
#include "replay/replay.h"
#include "traces/file/trace.h"

#define BATCH_OPS    256
#define LAST_CLASSES 16

enum op_kind {
	OP_ALLOC,
	OP_FREE,      /* place: frame relative to the machine's start */
	OP_FREE_SLOT, /* place: slot of an allocation of this batch; offset: frames behind its head */
};

struct op {
	struct alloc_request req;
	uint32_t place;
	uint32_t offset;
	uint32_t recorded; /* OP_ALLOC: relative recorded frame */
	uint8_t kind;
	bool movable, stray;
};

/* What the trace and its repair add up to; named as the metrics. */
struct engine_counts {
	uint64_t events, ops, allocs, frees, lost_events;
	uint64_t orphan_frees, implicit_frees, ghost_frees, split_frees, deferred_frames;
	uint64_t recorded_failures, rescued_failures, alloc_failures, prefill_failures;
	uint64_t unreplayable, hotplug_refusals, zone_mismatches, oracle_violations;
};

struct engine {
	/* What is played, on what. */
	const struct machine *machine;
	const struct allocator_ops *ops;
	struct allocator *a;
	pfn_t start, end; /* of the machine */
	bool virtual;	  /* the trace's pfns are ids: no hints */
	bool oracle;	  /* check every placement */
	bool unchecked, zones, split, echo;
	bool labels; /* events come through replay/labels.h */

	struct objects *objects;
	uint32_t last_class[LAST_CLASSES]; /* by cpu: mostly the next request's, too */
	struct memory_state *state;
	struct parts parts;
	struct engine_counts count;
	char first_violation[200];
	bool out_of_memory; /* the engine's own */

	/* The batch. */
	struct op op[BATCH_OPS];
	struct alloc_result placed[BATCH_OPS]; /* of OP_ALLOC; pfn of a free as resolved */
	int refused[BATCH_OPS];		       /* of frees: what free() returned */
	uint64_t stamp[BATCH_OPS + 1];
	bool slot_stray[BATCH_OPS];
	unsigned int n;

	uint64_t now_ns, next_tick_ns;
	struct stamp_clock clock;
	struct histogram **latency; /* [op][class][cpu], allocated when first needed */
	struct histogram **quick;   /* the same by [cpu][op][order, of 16] */
};

/**
 * engine_create - nothing placed yet
 * @identity: of the trace that will be played
 * @instance and @m must outlive it. Return: 0, -ENOMEM, -EFBIG.
 */
int engine_create(const struct allocator_instance *instance, const struct machine *m,
		  enum trace_identity identity, bool oracle, struct engine **e, struct error *err);
void engine_destroy(struct engine *e); /* NULL is allowed */

/** Take over a snapshot whose objects the back end holds already. Return: 0 or -ENOMEM. */
int engine_load(struct engine *e, const struct frame_map *map, struct error *err);

/** Put the snapshot's objects into memory; @prefill as resolved by the caller. */
int engine_prefill(struct engine *e, const struct frame_map *map, enum prefill prefill,
		   struct error *err);

/**
 * engine_play - play @n events; afterwards the last batch may still be open
 * Return: 0 or -ENOMEM.
 */
int engine_play(struct engine *e, const struct event *events, size_t n, struct error *err);

/** Execute and account what is planned, so that map and counts are up to date. */
void engine_flush(struct engine *e);

/**
 * engine_sample - the state metrics now, the back end's own (kernel_*, cached_frames) included; flushes
 * @stats: what they were taken from, its counters with it
 * Return: false: the back end tells no statistics; @stats is empty then, @backend untouched.
 */
bool engine_sample(struct engine *e, double state[METRIC_STATE_COUNT], uint64_t ours[NR_ORDERS],
		   uint64_t backend[NR_ORDERS], struct allocator_stats *stats);

static inline struct histogram *engine_latency(const struct engine *e, enum latency_op op,
					       enum latency_class c, unsigned int cpu)
{
	return e->latency[(op * LATENCY_CLASSES + c) * e->machine->nr_cpus + cpu];
}

#endif
