/* SPDX-License-Identifier: MIT */
/*
 * The inside of the engine: what its passes share. Each part below belongs to one pass, which alone
 * writes it; so do the halves of an object (replay/objects.h).
 *
 * Private to plan.c, execute.c, account.c, prefill.c, moves.c, holders.c and engine.c.
 */
#ifndef REPLAY_ENGINE_INSIDE_H
#define REPLAY_ENGINE_INSIDE_H

#include "replay/batch.h"
#include "replay/engine.h"
#include "replay/marks.h"
#include "replay/nodes.h"
#include "replay/objects.h"
#include "replay/outliers.h"
#include "replay/pace.h"
#include "replay/parts.h"
#include "replay/targets.h"

#define LAST_CLASSES 16

/* Plan's. */
struct planning {
	struct batch *batch; /* the newest, which is being filled */
	uint64_t now_ns;     /* of the event at hand, or the last one */
	uint64_t start_ns;
	uint64_t events, allocs, frees, lost_events, recorded_failures, unreplayable;
	uint64_t orphan_frees, implicit_frees, ghost_frees, split_frees;
	uint32_t last_class[LAST_CLASSES]; /* by cpu: mostly the next request's, too */
	struct targets targets;
	bool out_of_memory;
};

struct moved_block {
	pfn_t from, to;
	unsigned int order;
};

/* Execute's. */
struct execution {
	uint64_t room[NR_ORDERS]; /* heads of a block of each order lie below it, from the start */
	uint64_t deadline_ns;	  /* of the next tick */
	uint64_t checked_event;	  /* the last one whose time was held against the deadline */
	struct marks ghost;	  /* by recorded head: refused by the back end */
	bool freed_ghost;	  /* the last free but those of the loop was of one */
	struct parts parts;
	/* What the back end has moved in its last call. */
	struct moved_block *moved;
	size_t nr_moved, moved_capacity;
	bool out_of_memory;
};

/* Touch's; of use only with real memory. */
struct touch_pass {
	struct marks
		seen; /* per frame of the machine: handed out before; no bits: nothing is touched */
	uint64_t cleared; /* frames */
	int failed;	  /* what preparing memory returned, */
	struct error why;
};

/* An allocation or its touch by path, a free, or being late: what latency is kept apart by. */
#define LATENCY_LANES (2 * LATENCY_PATHS + 2)
#define LANE_FREE     LATENCY_PATHS
#define LANE_TOUCH    (LATENCY_PATHS + 1) /* the first of them */
#define LANE_LATE     (2 * LATENCY_PATHS + 1)

/* Account's. */
struct accounting {
	struct memory_state *state;
	struct marks stray; /* by recorded head: the oracle objected, its frames do not count */
	/* From placed frames to objects; NULL unless both_ways. */
	uint32_t *owner; /* the object's recorded head + 1; 0: none */
	uint64_t *fixed; /* bit per frame: of an unmovable object */
	uint64_t ghost_frees, deferred_frames, rescued_failures, alloc_failures, prefill_failures;
	uint64_t hotplug_refusals, zone_mismatches, oracle_violations;
	uint64_t by_flags[1 << FLAG_KINDS]; /* allocations */
	struct node_counts *nodes;	    /* NULL: the machine has one */
	char first_violation[200];
	struct histogram **latency; /* [lane][class][cpu], allocated when first needed */
	struct histogram **quick;   /* the same by [cpu][lane][order, of 16] */
	struct outliers outliers;
	int failed; /* what sample() returned */
	bool out_of_memory;
};

/* Batches in order: those that wait for execution, oldest first, then the one that plan fills. */
struct ring {
	struct batch *batch;
	unsigned int size, oldest, waiting;
	bool running;	   /* a batch that waits no more, */
	unsigned int left; /* of which so many operations are not executed yet */
	/* Timed: so many operations of the oldest one are over, when there was time to plan others; */
	unsigned int begun;
	bool patient; /* or there is nothing else to do, and it is waited for what is not due yet */
};

/* For what nearly every operation goes through: a call's prologue costs as much as its work. */
#define ENGINE_HOT static inline __attribute__((always_inline))

struct engine {
	struct engine_config config;
	/* Of the config and what it points at, for short. */
	const struct machine *machine;
	const struct allocator_ops *ops;
	struct allocator *a;
	pfn_t start, end; /* of the machine */
	bool hints;	  /* recorded pfns are frames of this machine */
	bool foreign;	  /* the trace was recorded on another machine */
	bool moves;	  /* the back end may move objects */
	bool unchecked, oracle, zones, split, echo;
	bool timed; /* operations have a time at which they are due */

	const struct journal *journal; /* of what is kept; NULL: nothing is */
	struct run_position *at;       /* the watcher's, or */
	struct run_position unwatched;

	struct objects *objects;
	struct ring ring;
	struct planning plan;
	struct execution exec;
	struct touch_pass touch;
	struct accounting account;
	struct pace pace; /* execute's, if timed */
};

/* ---- engine.c ---- */

/* The newest batch is full, or has to go: carry out what is due, and begin another. */
void engine_submit(struct engine *e);

/* Is all that was planned executed? If nothing waits, what is running is what plan has filled last. */
static inline bool engine_idle(const struct engine *e)
{
	return !e->ring.waiting && (e->ring.running ? !e->ring.left : !e->plan.batch->n);
}

/* What went wrong on the way. Return: 0, -ENOMEM, or what sample() returned. */
int engine_error(const struct engine *e, struct error *err);

/* ---- plan.c ---- */

/* The allocation of an object of that class, known as @recorded, by @cpu. */
void engine_describe(const struct engine *e, struct alloc_request *req, uint32_t class_id,
		     unsigned int order, unsigned int cpu, pfn_t recorded);

/* What targets are to the engine. */
extern const struct targets_calls plan_targets;

/* ---- execute.c ---- */

/*
 * Carry out operations @from to @to of a batch, at least one. Return: where it stopped: before @to, if
 * account has to see to what happened before anything else does.
 */
unsigned int execute(struct engine *e, struct batch *b, unsigned int from, unsigned int to);

/*
 * The same, each operation when it is due; it also stops where it has carried out something, and there is time
 * for the other passes before the next one is due.
 */
unsigned int execute_timed(struct engine *e, struct batch *b, unsigned int from, unsigned int to);

/* ---- touch.c ---- */

int touch_create(struct engine *e, struct error *err);
void touch_destroy(struct engine *e);

/* Use what operations @from to @to, which have been executed, have been given. */
void touch(struct engine *e, struct batch *b, unsigned int from, unsigned int to);
/* The same for one block. Return: ticks that it took. */
uint64_t touch_block(struct engine *e, pfn_t pfn, unsigned int order);

/* ---- account.c ---- */

int account_create(struct engine *e, struct error *err);
void account_destroy(struct engine *e);

/* What latencies of @cpus take at most. */
uint64_t account_bytes(uint32_t cpus);

/* Check and count operations @from to @to, which have been executed; but for what the back end moved. */
void account(struct engine *e, struct batch *b, unsigned int from, unsigned int to);

/* Timed: sort how late each of them was. */
void account_lateness(struct engine *e, const struct batch *b, unsigned int from, unsigned int to);

/*
 * Is this placement sound? If not it is counted, and its frames stay out of the map (a stray), but the
 * back end still gets its frees. @event: for the message.
 */
bool account_placement(struct engine *e, const struct alloc_request *req, pfn_t pfn,
		       uint64_t event);

/* A sound object now lives at @pfn, known as @recorded. */
void account_hold(struct engine *e, uint32_t recorded, pfn_t pfn, unsigned int order, bool movable);

/* The oracle objects to @what ("free", "move", ...). */
void account_violation(struct engine *e, uint64_t event, const char *what, unsigned int order,
		       pfn_t pfn, const char *why);

/* ---- owners.c: from placed frames to objects; all of it only with both_ways ---- */

int owners_create(struct engine *e, struct error *err);
void owners_destroy(struct engine *e);
uint64_t owners_bytes(uint64_t frames);

/* The frames [@pfn, 2^@order) are held by the object with that recorded head from now on. */
void owners_set(struct engine *e, pfn_t pfn, unsigned int order, uint32_t recorded, bool movable);

/* They are in no object any more. */
void owners_clear(struct engine *e, pfn_t pfn, unsigned int order);

/* ---- moves.c ---- */

/* Follow what the back end has moved in its last call, for @event. */
void moves_follow(struct engine *e, uint64_t event);

/* account(), where the back end has moved something in the last of these operations. */
void moves_account(struct engine *e, struct batch *b, unsigned int from, unsigned int to);

#endif
