/* SPDX-License-Identifier: MIT */
/*
 * Objects that move: by the back end, in the middle of its calls, or by whoever tells the engine to.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "replay/engine_inside.h"

#define FIRST_MOVED 64

/* Is every object with a frame in the block wholly in it? */
static bool only_whole_objects(const struct engine *e, pfn_t pfn, uint64_t frames)
{
	const uint32_t *owner = e->account.owner;
	uint64_t first = pfn - e->start, end = first + frames;

	if (owner[first] && first && owner[first - 1] == owner[first])
		return false;
	return !owner[end - 1] || end == e->end - e->start || owner[end] != owner[end - 1];
}

/*
 * [@pfn, 2^@order) lies within one larger object, or there is something else wrong with it. Plan halves
 * are cut, too, so that nothing may be planned that knows the object as it was.
 */
static int cut_out(struct engine *e, pfn_t pfn, unsigned int order)
{
	uint32_t owner = e->account.owner[pfn - e->start];
	pfn_t head, first = pfn, recorded, heads[NR_ORDERS];
	unsigned int whole, n;
	object_t o;

	for (pfn_t at = pfn; at < pfn + (UINT64_C(1) << order); at++)
		if (!owner || e->account.owner[at - e->start] != owner)
			return -ENOENT;
	if (!e->split)
		return -ENOTSUP;
	if (!engine_idle(e))
		return -EAGAIN;
	head = e->objects->start + (owner - 1);
	o = objects_at(e->objects, head)->plan;
	first = e->start + objects_at(e->objects, head)->place;
	recorded = head + (pfn - first);
	whole = object_order(o);
	n = object_parts(recorded, order, whole, heads);
	objects_split(e->objects, recorded, order, 0);
	for (unsigned int i = 0; i < n; i++) {
		pfn_t placed = first + (heads[i] - head);

		objects_at(e->objects, heads[i])->place = (uint32_t)(placed - e->start);
		owners_set(e, placed, i ? order + i - 1 : order,
			   (uint32_t)(heads[i] - e->objects->start), object_movable(o));
	}
	return 0;
}

/* A frame that is held changes its place; the place of its object is the head's. */
static void move_frame(struct engine *e, pfn_t from, pfn_t to)
{
	uint64_t f = from - e->start, t = to - e->start;
	bool movable = !(e->account.fixed[f >> 6] >> (f & 63) & 1);
	uint32_t owner = e->account.owner[f];

	memory_state_release(e->account.state, from, 0, movable);
	memory_state_hold(e->account.state, to, 0, movable);
	if (owner && e->objects->of[owner - 1].place == f)
		e->objects->of[owner - 1].place = (uint32_t)t;
	owners_clear(e, from, 0);
	if (owner)
		owners_set(e, to, 0, owner - 1, movable);
	else if (movable)
		e->account.fixed[t >> 6] &= ~(UINT64_C(1) << (t & 63));
	else
		e->account.fixed[t >> 6] |= UINT64_C(1) << (t & 63);
}

static bool inside(const struct engine *e, pfn_t pfn, unsigned int order)
{
	return pfn - e->start < e->exec.room[order] && is_aligned(pfn, UINT64_C(1) << order);
}

int engine_move(struct engine *e, pfn_t from, pfn_t to, unsigned int order)
{
	uint64_t frames = UINT64_C(1) << order;
	bool followed;
	int rc;

	if (!e->account.owner || order > MAX_ORDER || !inside(e, from, order) ||
	    !inside(e, to, order) || from == to)
		return -EINVAL;
	/* Frames of a followed block may have been freed by the trace, but not yet given back. */
	followed = parts_follow(&e->exec.parts, from, order);
	for (uint64_t i = 0; i < frames; i++)
		if (!e->account.owner[from - e->start + i] && !followed)
			return -ENOENT;
	if (!memory_state_is_free(e->account.state, to, order))
		return -EBUSY;
	if (parts_overlap(&e->exec.parts, from, order))
		return -ENOTSUP;
	if (!only_whole_objects(e, from, frames)) {
		rc = cut_out(e, from, order);
		if (rc)
			return rc;
	}
	parts_move(&e->exec.parts, from, to, order);
	for (uint64_t i = 0; i < frames; i++)
		move_frame(e, from + i, to + i);
	return 0;
}

void engine_moved(struct engine *e, pfn_t from, pfn_t to, unsigned int order)
{
	struct execution *x = &e->exec;

	if (!e->moves)
		return;
	if (x->nr_moved == x->moved_capacity) {
		size_t capacity = x->moved ? 2 * x->moved_capacity : FIRST_MOVED;
		struct moved_block *bigger = realloc(x->moved, capacity * sizeof(*x->moved));

		if (!bigger) {
			x->out_of_memory = true;
			return;
		}
		x->moved = bigger;
		x->moved_capacity = capacity;
	}
	x->moved[x->nr_moved++] = (struct moved_block){from, to, order};
}

void moves_follow(struct engine *e, uint64_t event)
{
	for (size_t i = 0; i < e->exec.nr_moved; i++) {
		const struct moved_block *m = &e->exec.moved[i];
		const char *why = NULL;

		switch (engine_move(e, m->from, m->to, m->order)) {
		case 0:
			break;
		case -ENOENT:
			why = "of what was not placed there";
			break;
		case -EBUSY:
			why = "to frames that are not free";
			break;
		default:
			why = "misaligned, outside the machine, or of a part of a block";
		}
		if (why)
			account_violation(e, event, "move", m->order, m->from, why);
	}
	e->exec.nr_moved = 0;
}

void moves_account(struct engine *e, struct batch *b, unsigned int from, unsigned int to)
{
	uint8_t last = b->op[to - 1].kind;

	/* Room for an allocation is made before it is served; a free frees before others move there. */
	account(e, b, from, to - 1);
	if (last == OP_ALLOC || last == OP_MOVE_IN)
		moves_follow(e, batch_event(b, to - 1));
	account(e, b, to - 1, to);
	moves_follow(e, batch_event(b, to - 1));
}
