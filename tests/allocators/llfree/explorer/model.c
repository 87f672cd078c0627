/* SPDX-License-Identifier: MIT */
#include "tests/allocators/llfree/explorer/model.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
	return a ^ a >> 32;
}

static uint64_t part_mask(uint64_t frame, unsigned int order)
{
	return low_bits(1U << order) << frame % 64;
}

bool model_is(const uint64_t *set, uint64_t frame, unsigned int order, bool in)
{
	if (order < 6) {
		uint64_t mask = part_mask(frame, order);

		return (set[frame / 64] & mask) == (in ? mask : 0);
	}
	for (uint64_t i = frame / 64; i < (frame >> 6) + (UINT64_C(1) << (order - 6)); i++) {
		if (set[i] != (in ? UINT64_MAX : 0))
			return false;
	}
	return true;
}

void model_set(uint64_t *set, uint64_t frame, unsigned int order, bool in)
{
	if (order < 6) {
		uint64_t mask = part_mask(frame, order);

		set[frame / 64] = in ? set[frame / 64] | mask : set[frame / 64] & ~mask;
		return;
	}
	for (uint64_t i = frame / 64; i < (frame >> 6) + (UINT64_C(1) << (order - 6)); i++)
		set[i] = in ? UINT64_MAX : 0;
}

static bool is_get(const struct model_op *op)
{
	return op->in_flight && (op->kind == OP_GET || op->kind == OP_GET_AT);
}

static bool is_put(const struct model_op *op)
{
	return op->in_flight && op->kind == OP_PUT;
}

/* Held, or being freed by an operation in flight. */
static void collect_taken(const struct model *m, uint64_t *taken)
{
	memcpy(taken, m->held, m->nr_words * sizeof(*taken));
	for (unsigned int t = 0; t < m->nr_threads; t++) {
		const struct model_op *op = &m->ops[t];

		if (is_put(op) && (op->live || op->racing) && !op->settled && !op->overtaken) {
			uint64_t b[MODEL_WORDS_MAX] = {0};
			model_set(b, op->frame, op->order, true);
			for (unsigned int i = 0; i < m->nr_words; i++)
				taken[i] |= b[i] & ~op->again[i];
		}
	}
}

/* Something has begun or returned: note what is the case from now on. */
static void note_event(struct model *m, unsigned int thread)
{
	struct model_event *e = &m->events[m->nr_events++];
	uint64_t claim = 1;

	assert(m->nr_events < MODEL_EVENTS_MAX);
	collect_taken(m, e->taken);
	e->gets = false;
	for (unsigned int i = 0; i < m->nr_words; i++)
		claim = mix(claim, m->held[i]);
	for (unsigned int t = 0; t < m->nr_threads; t++) {
		struct model_op *op = &m->ops[t];

		e->gets = e->gets || is_get(op);
		e->keeps[t] = is_get(op) ? 1U << op->order : op->regot;
		if (!op->in_flight)
			continue;
		op->history = mix(op->history, 2 * thread + m->ops[thread].in_flight);
		for (unsigned int i = 0; i < m->nr_words; i++)
			claim = mix(claim, op->again[i]);
		claim = mix(claim, op->frame << 16 | (unsigned int)op->kind << 8 | op->order << 3 |
					   op->live * 4U | op->racing * 2U |
					   (op->settled || op->overtaken));
	}
	m->claim = claim;
}

/* Do two operations free one block at once? */
static bool is_race(const struct model_op *a, const struct model_op *b)
{
	return a != b && is_put(a) && is_put(b) && !a->overtaken && !b->overtaken &&
	       a->frame == b->frame && a->order == b->order;
}

void model_begin(struct model *m, unsigned int thread, enum op_kind kind, unsigned int order,
		 uint64_t frame)
{
	struct model_op *op = &m->ops[thread];

	*op = (struct model_op){.kind = kind,
				.order = order,
				.frame = frame,
				.in_flight = true,
				.since = m->nr_events};
	if (kind == OP_PUT && model_is(m->held, frame, order, true)) {
		op->live = true;
		model_set(m->held, frame, order, false);
	}
	for (unsigned int t = 0; t < m->nr_threads && kind == OP_PUT && !op->live; t++) {
		struct model_op *other = &m->ops[t];

		if (!is_race(op, other))
			continue;
		op->racing = other->racing = true;
		op->settled = other->settled;
	}
	if (kind == OP_PUT_FREE || (kind == OP_PUT && !op->live && !op->racing)) {
		uint64_t taken[MODEL_WORDS_MAX];

		op->kind = OP_PUT_FREE;
		collect_taken(m, taken);
		if (!model_is(taken, frame, order, false))
			m->undefined = true;
	}
	note_event(m, thread);
}

static uint64_t count_free(const struct model *m, const uint64_t *taken, unsigned int order)
{
	uint64_t n = 0;

	if (order == 0) {
		for (unsigned int i = 0; i < m->nr_words; i++)
			n += (unsigned int)__builtin_popcountll(m->exists[i] & ~taken[i]);
		return n;
	}
	for (uint64_t frame = 0; frame < m->nr_words * UINT64_C(64); frame += UINT64_C(1) << order)
		n += model_is(m->exists, frame, order, true) &&
		     model_is(taken, frame, order, false);
	return n;
}

/* The most blocks of 2^@order that operations other than @thread's may be keeping from it. */
static uint64_t count_kept(const struct model *m, const struct model_event *e, unsigned int thread,
			   unsigned int order)
{
	uint64_t n = 0;

	for (unsigned int t = 0; t < m->nr_threads; t++) {
		if (t != thread)
			n += align_up(e->keeps[t], UINT64_C(1) << order) >> order;
	}
	return n;
}

/* Was there a moment since it began when the others might have had all free blocks? */
static bool may_fail_get(const struct model *m, unsigned int thread)
{
	unsigned int order = m->ops[thread].order;

	for (unsigned int i = m->ops[thread].since; i < m->nr_events; i++) {
		const struct model_event *e = &m->events[i];

		if (count_free(m, e->taken, order) <= count_kept(m, e, thread, order))
			return true;
	}
	return false;
}

static bool may_fail_get_at(const struct model *m, unsigned int thread)
{
	const struct model_op *op = &m->ops[thread];

	for (unsigned int i = op->since; i < m->nr_events; i++) {
		const struct model_event *e = &m->events[i];

		if (count_kept(m, e, thread, 0) > 0 ||
		    !model_is(e->taken, op->frame, op->order, false) ||
		    !model_is(m->exists, op->frame, op->order, true))
			return true;
	}
	return false;
}

static void judge_got(struct model *m, unsigned int order, uint64_t frame)
{
	uint64_t n = UINT64_C(1) << order;

	if (!is_aligned(frame, n) || frame + n > m->nr_words * UINT64_C(64) ||
	    !model_is(m->exists, frame, order, true)) {
		explore_fail("double allocation", "order %u at %" PRIu64 " is no block", order,
			     frame);
		return;
	}
	if (!model_is(m->held, frame, order, false))
		explore_fail("double allocation", "order %u at %" PRIu64 " is held already", order,
			     frame);
	model_set(m->held, frame, order, true);
	/* It may be of an operation that has freed it but not returned yet. */
	for (unsigned int t = 0; t < m->nr_threads; t++) {
		struct model_op *op = &m->ops[t];
		uint64_t size = UINT64_C(1) << op->order;

		/* Blocks overlap if one is a part of the other. */
		if (!is_put(op) ||
		    align_down(frame, max_u64(n, size)) != align_down(op->frame, max_u64(n, size)))
			continue;
		model_set(op->again, frame, order, true);
		op->regot += (uint32_t)min_u64(n, size);
		op->overtaken = op->overtaken || n >= size;
	}
}

/* What is freed was free when that began; a get in flight may have had it since. */
static void judge_put_free(struct model *m, unsigned int thread, bool ok)
{
	const struct model_op *op = &m->ops[thread];

	if (!ok)
		return;
	for (unsigned int i = op->since; i < m->nr_events; i++) {
		if (m->events[i].gets)
			m->undefined = true;
	}
	if (!m->undefined)
		explore_fail("double free", "order %u at %" PRIu64 " was free", op->order,
			     op->frame);
}

static void judge_put(struct model *m, unsigned int thread, bool ok)
{
	struct model_op *op = &m->ops[thread];
	bool rival = false;

	if (ok && op->settled)
		explore_fail("double free", "order %u at %" PRIu64 " was freed twice at once",
			     op->order, op->frame);
	for (unsigned int t = 0; t < m->nr_threads; t++) {
		struct model_op *other = &m->ops[t];

		if (!op->racing || !is_race(op, other))
			continue;
		rival = true;
		other->settled = other->settled || ok;
	}
	if (!ok && !op->settled && !rival)
		explore_fail("refused free", "order %u at %" PRIu64 " was held", op->order,
			     op->frame);
}

void model_return(struct model *m, unsigned int thread, uint64_t frame, bool ok)
{
	struct model_op *op = &m->ops[thread];

	assert(op->in_flight);
	if (m->undefined) {
		op->in_flight = false;
		return;
	}
	switch (op->kind) {
	case OP_GET:
		if (frame != MODEL_NONE)
			judge_got(m, op->order, frame);
		else if (may_fail_get(m, thread) == false)
			explore_fail("refused", "get of order %u failed with such blocks free",
				     op->order);
		break;
	case OP_GET_AT:
		if (ok)
			judge_got(m, op->order, op->frame);
		else if (!may_fail_get_at(m, thread))
			explore_fail("refused",
				     "get of order %u at %" PRIu64 " failed, it was free",
				     op->order, op->frame);
		break;
	case OP_PUT:
		judge_put(m, thread, ok);
		break;
	case OP_PUT_FREE:
		judge_put_free(m, thread, ok);
		break;
	case OP_DRAIN:
		break;
	}
	op->in_flight = false;
	op->regot = 0;
	note_event(m, thread);
}

/*
 * Can the frames be covered by one block for each get in @gets? The lowest has to be in the block
 * of one of them: try each.
 */
static bool cover(const struct model *m, const uint64_t *frames, unsigned int gets)
{
	unsigned int word = 0;

	while (word < m->nr_words && !frames[word])
		word++;
	if (word == m->nr_words)
		return true;

	uint64_t frame = word * UINT64_C(64) + trailing_zeros(frames[word]);

	for (unsigned int t = 0; t < m->nr_threads; t++) {
		const struct model_op *op = &m->ops[t];
		uint64_t n = UINT64_C(1) << op->order, rest[MODEL_WORDS_MAX];
		uint64_t block = align_down(frame, n);

		if (!(gets & 1U << t) || (op->kind == OP_GET_AT && op->frame != block))
			continue;
		memcpy(rest, frames, m->nr_words * sizeof(*rest));
		model_set(rest, block, op->order, false);
		if (cover(m, rest, gets & ~(1U << t)))
			return true;
	}
	return false;
}

static void judge_amount(const struct model *m, const uint64_t *allocated, const uint64_t *taken)
{
	int64_t difference = 0;
	uint64_t in_flight = 0;

	for (unsigned int i = 0; i < m->nr_words; i++)
		difference += __builtin_popcountll(allocated[i]) -
			      __builtin_popcountll(taken[i] | ~m->exists[i]);
	for (unsigned int t = 0; t < m->nr_threads; t++) {
		if (is_get(&m->ops[t]) || is_put(&m->ops[t]))
			in_flight += UINT64_C(1) << m->ops[t].order;
	}
	if ((uint64_t)(difference < 0 ? -difference : difference) > in_flight)
		explore_fail("crash", "%" PRId64 " frames too many, %" PRIu64 " in flight",
			     difference, in_flight);
}

void model_crash(const struct model *m, const uint64_t *allocated)
{
	uint64_t taken[MODEL_WORDS_MAX], extra[MODEL_WORDS_MAX];
	unsigned int gets = 0;

	if (m->undefined)
		return;
	collect_taken(m, taken);
	for (unsigned int i = 0; i < m->nr_words; i++) {
		uint64_t lost = (m->held[i] | ~m->exists[i]) & ~allocated[i];

		if (lost)
			explore_fail("crash", "frame %u was allocated, and is lost",
				     i * 64 + trailing_zeros(lost));
		extra[i] = allocated[i] & m->exists[i] & ~taken[i];
	}
	for (unsigned int t = 0; t < m->nr_threads; t++)
		gets |= (unsigned int)is_get(&m->ops[t]) << t;
	if (!cover(m, extra, gets)) {
		unsigned int i = 0;

		while (!extra[i])
			i++;
		explore_fail("crash",
			     "frame %u or a later one was free, and is allocated to nobody",
			     i * 64 + trailing_zeros(extra[i]));
	}
	judge_amount(m, allocated, taken);
}

void model_end(const struct model *m, const uint64_t *allocated)
{
	for (unsigned int i = 0; i < m->nr_words && !m->undefined; i++) {
		uint64_t wrong = allocated[i] ^ (m->held[i] | ~m->exists[i]);

		if (wrong)
			explore_fail("end", "frame %u is %s", i * 64 + trailing_zeros(wrong),
				     allocated[i] & wrong ? "held by nobody, and not free"
							  : "held, and free");
	}
}

uint64_t model_history(const struct model *m)
{
	uint64_t h = m->undefined;

	for (unsigned int t = 0; t < m->nr_threads; t++) {
		const struct model_op *op = &m->ops[t];

		if (!op->in_flight || (op->live && !op->racing))
			continue;
		h = mix(h, op->kind == OP_DRAIN ? 0 : op->history);
		h = mix(h, op->racing * 2U + op->settled);
	}
	return h;
}
