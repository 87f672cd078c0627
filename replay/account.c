/* SPDX-License-Identifier: MIT */
/*
 * The last pass: was what the back end did sound, and what follows from it? Here the oracle judges, the
 * map of frames is kept, and latencies are sorted. Knows what happened from the batch alone: objects may
 * be further on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "replay/engine_inside.h"
#include "sim/gfp.h"

#define QUICK_ORDERS 16U

/* ---- the oracle ---- */

void account_violation(struct engine *e, uint64_t event, const char *what, unsigned int order,
		       pfn_t pfn, const char *why)
{
	if (e->unchecked)
		return;
	e->account.oracle_violations++;
	if (!e->account.first_violation[0])
		snprintf(e->account.first_violation, sizeof(e->account.first_violation),
			 "event %" PRIu64 ": %s of order %u at pfn 0x%" PRIx64 ": %s", event, what,
			 order, pfn, why);
}

/* Zone rules: of no higher type than the highest zone; THISNODE is meant literally. */
static bool zone_allowed(const struct engine *e, const struct alloc_request *req, pfn_t pfn)
{
	int got = memory_state_zone(e->account.state, pfn);
	const struct zone *highest = &e->machine->zones[req->zone];

	if (got < 0)
		return true;
	if ((req->gfp & GFP_THISNODE) && e->machine->zones[got].node != req->node)
		return false;
	return e->machine->zones[got].type <= highest->type;
}

static inline bool inside(const struct engine *e, pfn_t pfn, unsigned int order)
{
	return pfn - e->start < e->exec.room[order];
}

/* Could the 2 MiB blocks take these frames at all? What --no-oracle still has to know. */
static bool has_room(const struct memory_state *s, pfn_t pfn, unsigned int order)
{
	uint64_t first = pfn - s->base, n = UINT64_C(1) << order;

	for (; n > HUGE_FRAMES; n -= HUGE_FRAMES, first += HUGE_FRAMES)
		if (s->block[first / HUGE_FRAMES].held + s->block[first / HUGE_FRAMES].absent)
			return false;
	return s->block[first / HUGE_FRAMES].held + s->block[first / HUGE_FRAMES].absent + n <=
	       HUGE_FRAMES;
}

static inline bool placement_is_sound(struct engine *e, const struct alloc_request *req, pfn_t pfn,
				      uint64_t event)
{
	unsigned int order = req->order;
	const char *why;

	if (!inside(e, pfn, order))
		why = "outside the machine";
	else if (!is_aligned(pfn, UINT64_C(1) << order))
		why = "not aligned to its size";
	else if (e->oracle ? !memory_state_is_free(e->account.state, pfn, order)
			   : !has_room(e->account.state, pfn, order))
		why = "handed out although not free";
	else
		why = NULL;
	if (why) {
		account_violation(e, event, "allocation", order, pfn, why);
		return false;
	}
	/* In which zone the kernel compacted is no limit of who is asked to do likewise. */
	if (e->oracle && !zone_allowed(e, req, pfn) && !(req->flags & ALLOC_COMPACTION_TARGET)) {
		if (e->zones && !(req->flags & ALLOC_PREFILL))
			account_violation(e, event, "allocation", order, pfn,
					  "above the highest zone allowed, or off its node");
		else
			e->account.zone_mismatches++;
	}
	return true;
}

bool account_placement(struct engine *e, const struct alloc_request *req, pfn_t pfn, uint64_t event)
{
	return placement_is_sound(e, req, pfn, event);
}

/* ---- latency ---- */

static const uint8_t class_of_order[QUICK_ORDERS] = {
	LATENCY_ORDER0,	  LATENCY_ORDER1_3,  LATENCY_ORDER1_3,	LATENCY_ORDER1_3,
	LATENCY_ORDER4_8, LATENCY_ORDER4_8,  LATENCY_ORDER4_8,	LATENCY_ORDER4_8,
	LATENCY_ORDER4_8, LATENCY_ORDER9_10, LATENCY_ORDER9_10,
};

/* By RESULT_PCP_HIT, RESULT_REFILL and RESULT_FALLBACK, from bit 1 up. */
static const uint8_t path_of_flags[8] = {
	LATENCY_PLAIN,	  LATENCY_HIT,	    LATENCY_REFILL,   LATENCY_REFILL,
	LATENCY_FALLBACK, LATENCY_FALLBACK, LATENCY_FALLBACK, LATENCY_FALLBACK,
};

static struct histogram **latency_of(const struct engine *e, unsigned int lane,
				     enum latency_class c, unsigned int cpu)
{
	return &e->account.latency[(lane * LATENCY_CLASSES + c) * e->machine->nr_cpus + cpu];
}

/* The first operation of its lane, order and cpu. Return: NULL: no memory, or no latency is wanted. */
static __attribute__((noinline)) struct histogram *new_histogram(struct engine *e,
								 unsigned int lane,
								 unsigned int order,
								 unsigned int cpu)
{
	struct histogram **h = latency_of(e, lane, class_of_order[order], cpu);

	if (e->config.untimed)
		return NULL;
	if (!*h) {
		*h = malloc(sizeof(**h));
		if (!*h) {
			e->account.out_of_memory = true;
			return NULL;
		}
		histogram_init(*h);
	}
	e->account.quick[(cpu * LATENCY_LANES + lane) * QUICK_ORDERS + order] = *h;
	return *h;
}

static inline struct histogram *histogram_for(struct engine *e, const struct alloc_request *req,
					      unsigned int lane)
{
	struct histogram *h =
		e->account.quick[(req->cpu * LATENCY_LANES + lane) * QUICK_ORDERS + req->order];

	return h ? h : new_histogram(e, lane, req->order, req->cpu);
}

/* Operation @i is among the slowest so far. */
static __attribute__((noinline)) void note_outlier(struct engine *e, const struct batch *b,
						   unsigned int i, unsigned int lane, uint64_t ns)
{
	const struct op *op = &b->op[i];
	const struct result_outlier one = {
		.ns = ns,
		.event = batch_event(b, i),
		.time_ns = op->time_ns,
		.pfn = b->placed[i].pfn,
		.op = lane == LANE_FREE	   ? LATENCY_FREE
		      : lane >= LANE_TOUCH ? LATENCY_TOUCH
					   : LATENCY_ALLOC,
		.path = lane == LANE_FREE    ? LATENCY_PLAIN
			: lane >= LANE_TOUCH ? (enum latency_path)(lane - LANE_TOUCH)
					     : (enum latency_path)lane,
		.order = op->req.order,
		.migratetype = op->req.migratetype,
		.cpu = op->req.cpu,
	};

	outliers_note(&e->account.outliers, &one);
}

/* @lane of operation @i of a batch took @ticks. */
static inline void add_latency(struct engine *e, const struct batch *b, unsigned int i,
			       unsigned int lane, uint64_t ticks)
{
	struct histogram *h = histogram_for(e, &b->op[i].req, lane);

	if (h) {
		const uint64_t ns = clock_latency_ns(&e->config.world->clock, ticks);

		histogram_add(h, ns);
		if (__builtin_expect(ns >= e->account.outliers.from, 0))
			note_outlier(e, b, i, lane, ns);
	}
}

/* No stamp's cost is in it, and no operation is slow for beginning late. */
static void add_lateness(struct engine *e, const struct alloc_request *req, uint64_t ticks)
{
	struct histogram *h = histogram_for(e, req, LANE_LATE);

	if (h)
		histogram_add(h, clock_ns(&e->config.world->clock, ticks));
}

const struct result_outlier *engine_outliers(struct engine *e, size_t *n)
{
	outliers_settle(&e->account.outliers);
	*n = e->account.outliers.n;
	return e->account.outliers.kept;
}

const struct histogram *engine_latency(const struct engine *e, enum latency_op op,
				       enum latency_path path, enum latency_class c,
				       unsigned int cpu)
{
	if (op == LATENCY_LATE)
		return path == LATENCY_PLAIN ? *latency_of(e, LANE_LATE, c, cpu) : NULL;
	if (op == LATENCY_TOUCH)
		return *latency_of(e, LANE_TOUCH + path, c, cpu);
	if (op == LATENCY_FREE)
		return path == LATENCY_PLAIN ? *latency_of(e, LANE_FREE, c, cpu) : NULL;
	return *latency_of(e, path, c, cpu);
}

/* ---- operations ---- */

void account_hold(struct engine *e, uint32_t recorded, pfn_t pfn, unsigned int order, bool movable)
{
	memory_state_hold(e->account.state, pfn, order, movable);
	if (e->account.owner)
		owners_set(e, pfn, order, recorded, movable);
}

ENGINE_HOT void account_alloc(struct engine *e, const struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];
	struct alloc_result got = b->placed[i];

	add_latency(e, b, i, path_of_flags[got.flags >> 1 & 7], b->stamp[i + 1] - b->stamp[i]);
	if (e->touch.seen.bit && b->touched[i])
		add_latency(e, b, i, LANE_TOUCH + path_of_flags[got.flags >> 1 & 7], b->touched[i]);
	if (got.pfn == PFN_NONE) {
		e->account.alloc_failures++;
		return;
	}
	e->account.by_flags[got.flags & ((1U << FLAG_KINDS) - 1)]++;
	if (placement_is_sound(e, &op->req, got.pfn, batch_event(b, i))) {
		memory_state_hold(e->account.state, got.pfn, op->req.order, op->movable);
		if (e->account.nodes)
			nodes_count(e->account.nodes, e->account.state, &op->req, got.pfn);
		if (e->account.owner)
			owners_set(e, got.pfn, op->req.order, op->recorded, op->movable);
	} else if (inside(e, got.pfn, op->req.order)) {
		marks_set(&e->account.stray, op->recorded);
	}
}

/* @ticks: what the call took. */
ENGINE_HOT void account_free(struct engine *e, const struct batch *b, unsigned int i,
			     uint64_t ticks)
{
	const struct op *op = &b->op[i];
	pfn_t pfn = b->placed[i].pfn;

	add_latency(e, b, i, LANE_FREE, ticks);
	if (b->refused[i])
		account_violation(e, batch_event(b, i), "free", op->req.order, pfn,
				  "refused by the back end");
	if (e->account.stray.n && marks_take(&e->account.stray, op->recorded))
		return;
	memory_state_release(e->account.state, pfn, op->req.order, op->movable);
	if (e->account.owner)
		owners_clear(e, pfn, op->req.order);
}

/* A free that may have found a ghost, or may have to wait for the block's other parts. */
static void account_odd_free(struct engine *e, const struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];

	if (b->placed[i].pfn == PFN_NONE) {
		/* Under its new name it lives on. */
		e->account.ghost_frees += op->kind != OP_MOVE_OUT;
	} else if (b->refused[i] == REFUSED_BY_NOBODY) {
		e->account.deferred_frames += UINT64_C(1) << op->order;
		if (!marks_take(&e->account.stray, op->recorded) && e->account.owner)
			owners_clear(e, b->placed[i].pfn, op->order);
	} else {
		account_free(e, b, i, b->stamp[i + 1] - b->stamp[i] - b->placed[i].flags);
	}
}

static void account_rename(struct engine *e, const struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];

	if (marks_take(&e->account.stray, op->recorded))
		marks_set(&e->account.stray, op->other);
	else if (e->account.owner && b->placed[i].pfn != PFN_NONE)
		owners_set(e, b->placed[i].pfn, op->req.order, op->other, op->movable);
}

static void account_split(struct engine *e, const struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];
	bool stray = marks_get(&e->account.stray, op->recorded);
	pfn_t first = e->objects->start, heads[NR_ORDERS];
	unsigned int n = object_parts(first + op->other, op->order, op->req.order, heads);

	if (b->placed[i].pfn == PFN_NONE) {
		/* Ghosts from now on, if they were none before. */
		marks_take(&e->account.stray, op->recorded);
		return;
	}
	for (unsigned int k = 0; k < n; k++) {
		uint32_t head = (uint32_t)(heads[k] - first);

		if (stray)
			marks_set(&e->account.stray, head);
		else if (e->account.owner)
			owners_set(e, b->placed[i].pfn + (head - op->recorded),
				   k ? op->order + k - 1 : op->order, head, op->movable);
	}
}

static void account_memory(struct engine *e, const struct batch *b, unsigned int i)
{
	if (b->refused[i])
		e->account.hotplug_refusals++;
	else if (b->op[i].kind == OP_ONLINE)
		memory_state_online(e->account.state, b->op[i].range);
	else
		memory_state_offline(e->account.state, b->op[i].range);
}

static void take_sample(struct engine *e, const struct batch *b, unsigned int i)
{
	const struct engine_moment moment = {
		.events = batch_event(b, i),
		.time_ns = b->op[i].time_ns,
	};

	if (e->config.sample && !e->account.failed)
		e->account.failed = e->config.sample(e->config.arg, &moment);
}

static __attribute__((noinline)) void account_rare(struct engine *e, const struct batch *b,
						   unsigned int i)
{
	switch ((enum op_kind)b->op[i].kind) {
	case OP_FREE:
	case OP_FREE_PART:
	case OP_MOVE_OUT:
		account_odd_free(e, b, i);
		break;
	case OP_MOVE_IN:
		if (!b->refused[i])
			account_alloc(e, b, i);
		break;
	case OP_RENAME:
		account_rename(e, b, i);
		break;
	case OP_SPLIT:
		account_split(e, b, i);
		break;
	case OP_PROBE:
		e->account.rescued_failures +=
			memory_state_has_free_block(e->account.state, b->op[i].req.order);
		break;
	case OP_ONLINE:
	case OP_OFFLINE:
		account_memory(e, b, i);
		break;
	case OP_SAMPLE:
		take_sample(e, b, i);
		break;
	case OP_ALLOC:
	case OP_TIME:
		break;
	}
}

void account(struct engine *e, struct batch *b, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		uint8_t kind = b->op[i].kind;

		if (kind == OP_ALLOC)
			account_alloc(e, b, i);
		else if (kind == OP_FREE && b->placed[i].pfn != PFN_NONE)
			account_free(e, b, i, b->stamp[i + 1] - b->stamp[i]);
		else
			account_rare(e, b, i);
	}
}

void account_lateness(struct engine *e, const struct batch *b, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		const struct op *op = &b->op[i];

		if (op->kind == OP_ALLOC || op->kind == OP_FREE || op->kind == OP_FREE_PART)
			add_lateness(e, &op->req, b->late[i]);
	}
}

/* ---- making and asking ---- */

/* A result's bits are counted by the numbers results have for them. */
#define SAME(name) _Static_assert(RESULT_##name == 1U << FLAG_##name, "told apart by one number")
SAME(ZEROED);
SAME(PCP_HIT);
SAME(REFILL);
SAME(FALLBACK);
SAME(NEEDS_INSTALL);
#undef SAME

int account_create(struct engine *e, struct error *err)
{
	size_t cpus = e->machine->nr_cpus;
	struct accounting *acc = &e->account;
	int rc;

	acc->latency = calloc(LATENCY_LANES * LATENCY_CLASSES * cpus, sizeof(struct histogram *));
	acc->quick = calloc(LATENCY_LANES * QUICK_ORDERS * cpus, sizeof(struct histogram *));
	if (!acc->latency || !acc->quick)
		return error_set(err, ENOMEM, "no memory for latency histograms");
	rc = outliers_create(&acc->outliers, e->config.untimed ? 0 : e->config.outliers, err);
	if (!rc)
		rc = memory_state_create(e->machine, &acc->state, err);
	if (!rc)
		rc = marks_create(&acc->stray, e->objects->end - e->objects->start, err);
	if (!rc && e->config.both_ways)
		rc = owners_create(e, err);
	if (!rc && e->machine->nr_nodes > 1) {
		acc->nodes = nodes_create(e->machine);
		if (!acc->nodes)
			rc = error_set(err, ENOMEM, "no memory to count by node");
	}
	return rc;
}

uint64_t account_bytes(uint32_t cpus)
{
	const uint64_t of_cpu =
		LATENCY_LANES *
		(LATENCY_CLASSES * (sizeof(struct histogram) + sizeof(struct histogram *)) +
		 QUICK_ORDERS * sizeof(struct histogram *));

	return cpus * of_cpu;
}

void account_destroy(struct engine *e)
{
	struct accounting *acc = &e->account;

	if (acc->latency)
		for (size_t i = 0; i < LATENCY_LANES * LATENCY_CLASSES * e->machine->nr_cpus; i++)
			free(acc->latency[i]);
	free(acc->latency);
	free(acc->quick);
	free(acc->nodes);
	outliers_destroy(&acc->outliers);
	owners_destroy(e);
	marks_destroy(&acc->stray);
	memory_state_destroy(acc->state);
}

void engine_flags(const struct engine *e, uint64_t of[FLAG_KINDS])
{
	for (unsigned int f = 0; f < FLAG_KINDS; f++) {
		of[f] = 0;
		for (unsigned int i = 0; i < ARRAY_SIZE(e->account.by_flags); i++)
			of[f] += i >> f & 1 ? e->account.by_flags[i] : 0;
	}
}

const struct node_counts *engine_nodes(const struct engine *e)
{
	return e->account.nodes;
}

bool engine_has_oracle(const struct engine *e)
{
	return e->oracle;
}

const char *engine_first_violation(const struct engine *e)
{
	return e->account.first_violation;
}

struct memory_state *engine_state(struct engine *e)
{
	return e->account.state;
}
