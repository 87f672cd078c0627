/* SPDX-License-Identifier: MIT */
/*
 * The second pass: the back end is called. What one call takes is the time between two stamps, so
 * nothing happens here that could wait for account.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "replay/engine_inside.h"

/* ---- what is rare ---- */

static inline uint32_t *place_of(struct engine *e, uint32_t recorded)
{
	return &e->objects->of[recorded].place;
}

static pfn_t pfn_of(struct engine *e, uint32_t recorded)
{
	return marks_get(&e->exec.ghost, recorded) ? PFN_NONE : e->start + *place_of(e, recorded);
}

/* The back end is called from the rare ways; with a journal, that says so. */
static void call_alloc(struct engine *e, struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];
	uint64_t place;

	if (e->journal)
		journal_begin(e->journal, INTENT_ALLOC, op->req.order, 0);
	b->placed[i] = e->ops->alloc(e->a, &op->req);
	place = b->placed[i].pfn - e->start;
	if (place < e->exec.room[op->req.order])
		*place_of(e, op->recorded) = (uint32_t)place;
	else
		marks_set(&e->exec.ghost, op->recorded);
	if (!e->journal)
		return;
	if (place < e->exec.room[op->req.order])
		journal_put(e->journal, b->placed[i].pfn, op->req.order);
	journal_end(e->journal);
}

static int give_back_rarely(struct engine *e, pfn_t pfn, const struct alloc_request *req)
{
	int rc;

	if (!e->journal)
		return e->ops->free(e->a, pfn, req);
	journal_begin(e->journal, INTENT_FREE, req->order, pfn);
	rc = e->ops->free(e->a, pfn, req);
	if (!rc)
		journal_drop(e->journal, pfn);
	journal_end(e->journal);
	return rc;
}

/* The block of @op's object at @pfn has been cut into parts, whose recorded heads are @heads. */
static void journal_parts(const struct engine *e, const struct op *op, pfn_t pfn,
			  const pfn_t *heads, unsigned int n)
{
	const pfn_t recorded = e->objects->start + op->recorded;
	unsigned int first = op->req.order;

	journal_begin(e->journal, INTENT_SPLIT, first, pfn);
	for (unsigned int k = 0; k < n; k++) {
		const unsigned int order = k ? op->order + k - 1 : op->order;

		if (heads[k] == recorded)
			first = order;
		else
			journal_put(e->journal, pfn + (heads[k] - recorded), order);
	}
	/* The block's own head last: until then it covers them all. */
	journal_order();
	journal_put(e->journal, pfn, first);
	journal_end(e->journal);
}

/* A free of whatever is known as `recorded`; @part of a block the back end cannot split. */
static void call_free(struct engine *e, struct batch *b, unsigned int i, bool part)
{
	struct op *op = &b->op[i];
	struct part_block whole;
	pfn_t pfn = PFN_NONE;

	if (!marks_take(&e->exec.ghost, op->recorded))
		pfn = e->start + *place_of(e, op->recorded);
	e->exec.freed_ghost = pfn == PFN_NONE;
	b->placed[i].pfn = pfn;
	b->refused[i] = REFUSED_BY_NOBODY;
	b->placed[i].flags = 0;
	if (pfn == PFN_NONE)
		return;
	if (part) {
		if (!parts_free(&e->exec.parts, pfn, 1U << op->order, &whole))
			return;
		b->placed[i].pfn = pfn = whole.pfn;
		op->req.order = whole.order;
		/* Not the back end's time. */
		if (!e->config.untimed)
			b->placed[i].flags =
				clock_stamp(&e->config.world->clock) - e->pace.cut - b->stamp[i];
	}
	b->refused[i] = give_back_rarely(e, pfn, &op->req) ? -EINVAL : 0;
}

/* The allocation behind a MOVE_OUT; if that was a ghost, it is one under its new name, too. */
static void call_move_in(struct engine *e, struct batch *b, unsigned int i)
{
	b->refused[i] = 0;
	if (!e->exec.freed_ghost) {
		call_alloc(e, b, i);
		return;
	}
	b->placed[i].pfn = PFN_NONE;
	b->refused[i] = REFUSED_BY_NOBODY;
	marks_set(&e->exec.ghost, b->op[i].recorded);
}

static void rename_object(struct engine *e, struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];

	b->placed[i].pfn = pfn_of(e, op->recorded);
	if (marks_take(&e->exec.ghost, op->recorded))
		marks_set(&e->exec.ghost, op->other);
	else
		*place_of(e, op->other) = *place_of(e, op->recorded);
}

/* A block that the back end cannot split is followed from now on. Return: can it be? */
static bool follow_parts(struct engine *e, pfn_t pfn, unsigned int order)
{
	int rc = parts_add(&e->exec.parts, pfn, order);

	if (rc == -ENOMEM)
		e->exec.out_of_memory = true;
	return !rc;
}

/*
 * The parts' heads get their places. Parts of a block that lies where another one does, whose parts are
 * followed, become ghosts: the oracle has objected to one of the two, and neither can be told apart.
 */
static void split_object(struct engine *e, struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];
	pfn_t first = e->objects->start, heads[NR_ORDERS];
	unsigned int n = object_parts(first + op->other, op->order, op->req.order, heads);
	uint32_t place = *place_of(e, op->recorded);

	b->placed[i].pfn = pfn_of(e, op->recorded);
	if (op->part && b->placed[i].pfn != PFN_NONE &&
	    !follow_parts(e, b->placed[i].pfn, op->req.order))
		b->placed[i].pfn = PFN_NONE;
	for (unsigned int k = 0; k < n; k++) {
		uint32_t head = (uint32_t)(heads[k] - first);

		if (b->placed[i].pfn == PFN_NONE)
			marks_set(&e->exec.ghost, head);
		else
			*place_of(e, head) = place + (head - op->recorded);
	}
	/* What the back end cannot split stays whole until all of it goes. */
	if (e->journal && !op->part && b->placed[i].pfn != PFN_NONE)
		journal_parts(e, op, b->placed[i].pfn, heads, n);
}

/* Frames of the machine that have come or gone. */
static void journal_memory(const struct engine *e, struct pfn_range range, bool online)
{
	const uint8_t now = online ? JOURNAL_ONLINE : JOURNAL_OFFLINE;
	const pfn_t first = max_u64(range.start, e->start), end = min_u64(range.end, e->end);

	for (pfn_t pfn = first; pfn < end; pfn++) {
		uint8_t *at = &e->journal->of[pfn - e->start];

		*at = (uint8_t)((*at & JOURNAL_HEAD) | now);
	}
}

static void change_memory(struct engine *e, struct batch *b, unsigned int i)
{
	int (*change)(struct allocator *, struct pfn_range) =
		b->op[i].kind == OP_ONLINE ? e->ops->online : e->ops->offline;

	if (!e->journal) {
		b->refused[i] = change ? change(e->a, b->op[i].range) : -ENOTSUP;
		return;
	}
	e->journal->words->range_end = b->op[i].range.end;
	journal_begin(e->journal, b->op[i].kind == OP_ONLINE ? INTENT_ONLINE : INTENT_OFFLINE, 0,
		      b->op[i].range.start);
	b->refused[i] = change ? change(e->a, b->op[i].range) : -ENOTSUP;
	if (!b->refused[i])
		journal_memory(e, b->op[i].range, b->op[i].kind == OP_ONLINE);
	journal_end(e->journal);
}

/* Return: false if account has to come before anything else. */
static __attribute__((noinline)) bool execute_rare(struct engine *e, struct batch *b,
						   unsigned int i)
{
	switch ((enum op_kind)b->op[i].kind) {
	case OP_ALLOC:
		call_alloc(e, b, i);
		break;
	case OP_FREE:
		call_free(e, b, i, false);
		break;
	case OP_FREE_PART:
		call_free(e, b, i, true);
		break;
	case OP_MOVE_OUT:
		call_free(e, b, i, b->op[i].part);
		break;
	case OP_MOVE_IN:
		call_move_in(e, b, i);
		break;
	case OP_RENAME:
		rename_object(e, b, i);
		break;
	case OP_SPLIT:
		split_object(e, b, i);
		break;
	case OP_ONLINE:
	case OP_OFFLINE:
		change_memory(e, b, i);
		break;
	case OP_SAMPLE:
		return false;
	case OP_PROBE:
	case OP_TIME:
		break;
	}
	return true;
}

/* ---- the loop ---- */

/*
 * @moves: the back end may move objects in any call. @journal: what it says is kept. @clock: stamps are of it.
 * Constants, so that each loop has nothing to decide.
 */
static inline __attribute__((always_inline)) unsigned int execute_loop(
	struct engine *e, struct batch *b, unsigned int from, unsigned int to, bool moves,
	bool journal, enum clock_source clock)
{
	struct alloc_result (*alloc)(struct allocator *, const struct alloc_request *) =
		e->ops->alloc;
	int (*give_back)(struct allocator *, pfn_t, const struct alloc_request *) = e->ops->free;
	struct allocator *a = e->a;
	struct object *of = e->objects->of;
	struct run_position *at = e->at;
	const struct journal kept = journal ? *e->journal : (struct journal){0};
	pfn_t start = e->start;
	bool on = true;

	if (clock != CLOCK_SOURCE_NONE)
		b->stamp[from] = clock_read(clock);
	for (unsigned int i = from; i < to; i++) {
		const struct op *op = &b->op[i];

		at->event = op->event;
		if (journal)
			kept.words->event = b->first_event + op->event;
		if (op->kind == OP_ALLOC) {
			uint64_t place;

			if (journal)
				journal_begin(&kept, INTENT_ALLOC, op->req.order, 0);
			b->placed[i] = alloc(a, &op->req);
			place = b->placed[i].pfn - start;
			if (place < e->exec.room[op->req.order])
				of[op->recorded].place = (uint32_t)place;
			else
				marks_set(&e->exec.ghost, op->recorded);
			if (journal && place < e->exec.room[op->req.order])
				journal_put(&kept, b->placed[i].pfn, op->req.order);
			if (journal)
				journal_end(&kept);
		} else if (op->kind == OP_FREE && !e->exec.ghost.n) {
			pfn_t pfn = start + of[op->recorded].place;

			b->placed[i].pfn = pfn;
			if (journal)
				journal_begin(&kept, INTENT_FREE, op->req.order, pfn);
			b->refused[i] = give_back(a, pfn, &op->req);
			if (journal && !b->refused[i])
				journal_drop(&kept, pfn);
			if (journal)
				journal_end(&kept);
		} else {
			on = execute_rare(e, b, i);
		}
		if (clock != CLOCK_SOURCE_NONE)
			b->stamp[i + 1] = clock_read(clock);
		if (!on || (moves && e->exec.nr_moved))
			return i + 1;
	}
	return to;
}

/* Each a function of its own: what one of them needs costs the others nothing. */
#define LOOP(name, moves, journal, clock)                                                          \
	static __attribute__((noinline)) unsigned int name(struct engine *e, struct batch *b,      \
							   unsigned int from, unsigned int to)     \
	{                                                                                          \
		return execute_loop(e, b, from, to, moves, journal, clock);                        \
	}
LOOP(by_counter, false, false, CLOCK_SOURCE_COUNTER)
LOOP(by_counter_moving, true, false, CLOCK_SOURCE_COUNTER)
LOOP(by_counter_keeping, false, true, CLOCK_SOURCE_COUNTER)
LOOP(by_monotonic, false, false, CLOCK_SOURCE_MONOTONIC)
LOOP(by_monotonic_moving, true, false, CLOCK_SOURCE_MONOTONIC)
LOOP(by_monotonic_keeping, false, true, CLOCK_SOURCE_MONOTONIC)
LOOP(untimed, false, false, CLOCK_SOURCE_NONE)
LOOP(untimed_moving, true, false, CLOCK_SOURCE_NONE)
LOOP(untimed_keeping, false, true, CLOCK_SOURCE_NONE)
#undef LOOP

/* By the clock that stamps are of. */
struct stamp_loops {
	unsigned int (*by_counter)(struct engine *e, struct batch *b, unsigned int from,
				   unsigned int to);
	unsigned int (*by_monotonic)(struct engine *e, struct batch *b, unsigned int from,
				     unsigned int to);
	unsigned int (*untimed)(struct engine *e, struct batch *b, unsigned int from,
				unsigned int to);
};

static const struct stamp_loops plain = {by_counter, by_monotonic, untimed};
static const struct stamp_loops moving = {by_counter_moving, by_monotonic_moving, untimed_moving};
static const struct stamp_loops keeping = {by_counter_keeping, by_monotonic_keeping,
					   untimed_keeping};

unsigned int execute(struct engine *e, struct batch *b, unsigned int from, unsigned int to)
{
	const struct stamp_loops *loops = e->journal ? &keeping : e->moves ? &moving : &plain;

	switch (e->config.untimed ? CLOCK_SOURCE_NONE : e->config.world->clock.source) {
	case CLOCK_SOURCE_COUNTER:
		return loops->by_counter(e, b, from, to);
	case CLOCK_SOURCE_MONOTONIC:
		return loops->by_monotonic(e, b, from, to);
	case CLOCK_SOURCE_NONE:
	case CLOCK_SOURCE_UNDECIDED:
		break;
	}
	return loops->untimed(e, b, from, to);
}

/* ---- the same by the trace's times ---- */

static inline bool is_timed(const struct op *op)
{
	return op->kind == OP_ALLOC || op->kind == OP_FREE || op->kind == OP_FREE_PART;
}

/* One operation. Return: false if account has to come before anything else. */
static inline bool execute_one(struct engine *e, struct batch *b, unsigned int i)
{
	const struct op *op = &b->op[i];

	if (op->kind == OP_ALLOC) {
		call_alloc(e, b, i);
	} else if (op->kind == OP_FREE && !e->exec.ghost.n && !e->journal) {
		const pfn_t pfn = e->start + *place_of(e, op->recorded);

		b->placed[i].pfn = pfn;
		b->refused[i] = e->ops->free(e->a, pfn, &op->req);
	} else {
		return execute_rare(e, b, i);
	}
	return true;
}

unsigned int execute_timed(struct engine *e, struct batch *b, unsigned int from, unsigned int to)
{
	const struct stamp_clock *clock = &e->config.world->clock;
	struct pace *p = &e->pace;
	bool on = true;

	b->stamp[from] = clock_stamp(clock);
	for (unsigned int i = from; i < to; i++) {
		const struct op *op = &b->op[i];
		uint64_t now = clock_stamp(clock), due = now;

		e->at->event = op->event;
		if (e->journal)
			e->journal->words->event = b->first_event + op->event;
		if (op->kind != OP_SAMPLE)
			due = pace_due(p, op->time_ns, now);
		if (i > from && pace_leaves_time(p, due, now))
			return i;
		if (now < due)
			now = pace_wait(p, due);
		b->late[i] = is_timed(op) ? pace_begin(p, due, now) : 0;
		/* From the end of the last one to here nothing was done that counts as the back end's. */
		p->cut = now - b->stamp[i];
		on = execute_one(e, b, i);
		now = clock_stamp(clock);
		b->stamp[i + 1] = now - p->cut;
		if (op->kind != OP_SAMPLE) {
			p->last_due = due;
			p->last_at = now;
		}
		if (!on || e->exec.nr_moved)
			return i + 1;
	}
	return to;
}
