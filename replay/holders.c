/* SPDX-License-Identifier: MIT */
/*
 * Who holds memory, and since when. Nothing is kept for it per operation but an object's birth: when
 * somebody asks, all objects are looked at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "replay/engine_inside.h"

/* ---- all objects that count ---- */

struct walk {
	struct engine *e;
	uint64_t next; /* where to look for the next one */
	uint32_t recorded;
	object_t plan;
	uint64_t block;	 /* of engine_state()'s, the first it is in */
	uint32_t blocks; /* that it is in: 1 or 2 */
	uint32_t frames; /* in each of them */
	uint32_t born;
};

/*
 * The next object that is placed and in the map. Return: false: there is none. Millions are walked: inline,
 * so that what does not change stays in registers.
 */
static inline __attribute__((always_inline)) bool walk_next(struct walk *w)
{
	const struct engine *e = w->e;
	const struct objects *o = e->objects;
	const uint64_t frames = o->end - o->start;

	for (;;) {
		uint64_t at = w->next;
		object_t plan;
		unsigned int order;

		if (at >= frames || !o->of[at].plan)
			at = objects_next(o, at);
		if (at >= frames)
			return false;
		plan = o->of[at].plan;
		order = object_order(plan);
		w->next = at + (UINT64_C(1) << order);
		if (object_state(plan) != OBJECT_LIVE || marks_get(&e->exec.ghost, at) ||
		    marks_get(&e->account.stray, at))
			continue;
		w->recorded = (uint32_t)at;
		w->plan = plan;
		w->block = (e->start + o->of[at].place - e->account.state->base) / HUGE_FRAMES;
		w->blocks = order > HUGE_ORDER ? 1U << (order - HUGE_ORDER) : 1;
		w->frames = 1U << (order > HUGE_ORDER ? HUGE_ORDER : order);
		w->born = o->of[at].born;
		return true;
	}
}

/* ---- ages ---- */

static uint16_t age_code(const struct engine *e, uint32_t born)
{
	uint64_t age = e->plan.now_ns - e->plan.start_ns,
		 then = (uint64_t)born << OBJECT_BIRTH_SHIFT;

	return result_age_code(age > then ? age - then : 0);
}

int engine_ages(struct engine *e, uint16_t *youngest, uint16_t *oldest)
{
	const struct memory_state *s = e->account.state;
	uint32_t *first = malloc(s->nr_blocks * sizeof(*first));
	uint32_t *last = calloc(s->nr_blocks, sizeof(*last));
	struct walk w = {.e = e};
	int rc = !first || !last ? -ENOMEM : engine_idle(e) ? 0 : -EAGAIN;

	if (rc) {
		free(first);
		free(last);
		return rc;
	}
	memset(first, 0xff, s->nr_blocks * sizeof(*first));
	while (walk_next(&w))
		for (uint64_t b = w.block; b < w.block + w.blocks; b++) {
			first[b] = w.born < first[b] ? w.born : first[b];
			last[b] = w.born > last[b] ? w.born : last[b];
		}
	for (uint64_t b = 0; b < s->nr_blocks; b++) {
		bool none = s->block[b].absent || first[b] == UINT32_MAX;

		youngest[b] = none ? BLOCKMAP_ABSENT : age_code(e, last[b]);
		oldest[b] = none ? BLOCKMAP_ABSENT : age_code(e, first[b]);
	}
	free(first);
	free(last);
	return 0;
}

/* ---- holders ---- */

/* Objects of one class and order in one block. */
struct group {
	uint32_t class_id, frames, born;
	uint8_t order;
};

#define GROUPS_MAX (HUGE_FRAMES + 1)

struct groups {
	struct group of[GROUPS_MAX];
	size_t n;
};

static void join_group(struct groups *g, const struct group *one)
{
	struct group *at = NULL;

	/* Neighbours are often alike: the newest group is asked first. */
	for (size_t i = g->n; i && !at; i--)
		if (g->of[i - 1].class_id == one->class_id && g->of[i - 1].order == one->order)
			at = &g->of[i - 1];
	if (at) {
		at->frames += one->frames;
		at->born = at->born < one->born ? at->born : one->born;
	} else if (g->n < GROUPS_MAX) {
		g->of[g->n++] = *one;
	}
}

/* More frames first; what is equal in that, in an order that does not depend on placement. */
static bool holds_more(const struct group *a, const struct group *b)
{
	if (a->frames != b->frames)
		return a->frames > b->frames;
	return a->class_id != b->class_id ? a->class_id < b->class_id : a->order < b->order;
}

static const char *class_name(const struct object_class *c)
{
	if (c->origin == OBJECT_PREFILL)
		return "prefill";
	if (c->origin == OBJECT_COMPACTED)
		return "compaction";
	return c->req.flags & ALLOC_PAGE_CACHE ? "page_cache" : "object";
}

static struct result_holder describe(const struct engine *e, const struct group *g)
{
	const struct object_class *c = &e->objects->class[g->class_id];

	return (struct result_holder){
		.class_name = class_name(c),
		.order = g->order,
		.migratetype = c->req.migratetype,
		.gfp = c->req.gfp,
		.context = c->req.context,
		.frames = g->frames,
		.since_ns = e->plan.start_ns + ((uint64_t)g->born << OBJECT_BIRTH_SHIFT),
	};
}

/* Tell the largest groups of a block. */
static int tell_block(const struct engine *e, uint64_t block, struct groups *g,
		      int (*visit)(void *arg, const struct result_holder *holder), void *arg)
{
	int rc = 0;

	for (uint32_t rank = 0; !rc && rank < ENGINE_HOLDERS_TOP && rank < g->n; rank++) {
		struct result_holder holder;
		size_t most = rank;
		struct group swap;

		for (size_t i = rank + 1; i < g->n; i++)
			if (holds_more(&g->of[i], &g->of[most]))
				most = i;
		swap = g->of[rank];
		g->of[rank] = g->of[most];
		g->of[most] = swap;
		holder = describe(e, &g->of[rank]);
		holder.block = block;
		holder.rank = rank;
		rc = visit(arg, &holder);
	}
	return rc;
}

/* An object, or its half, of a block that is of interest. */
struct held {
	uint32_t recorded, block;
};

/* Objects by block: those of block b are object[first[b]] to object[first[b + 1]]. */
struct sorted {
	uint32_t *object; /* recorded */
	uint64_t *first;  /* two more than blocks */
};

/* All that is of interest. Return: how many; UINT64_MAX: no memory. */
static uint64_t collect(struct engine *e, struct held **all)
{
	const struct memory_state *s = e->account.state;
	struct walk w = {.e = e};
	uint64_t n = 0, room = 0;

	while (walk_next(&w))
		for (uint64_t b = w.block; b < w.block + w.blocks; b++) {
			if (!s->block[b].unmovable)
				continue;
			if (n == room) {
				struct held *bigger;

				room = room ? 2 * room : 4096;
				bigger = realloc(*all, room * sizeof(**all));
				if (!bigger)
					return UINT64_MAX;
				*all = bigger;
			}
			(*all)[n++] = (struct held){w.recorded, (uint32_t)b};
		}
	return n;
}

static int sort_objects(struct engine *e, struct sorted *sorted)
{
	uint64_t blocks = e->account.state->nr_blocks, n;
	struct held *all = NULL;

	n = collect(e, &all);
	sorted->first = calloc(blocks + 2, sizeof(*sorted->first));
	sorted->object = n == UINT64_MAX ? NULL : malloc((n + 1) * sizeof(*sorted->object));
	if (!sorted->first || !sorted->object) {
		free(all);
		return -ENOMEM;
	}
	/* first[b + 2] counts block b; then first[b + 1] is where its next object goes. */
	for (uint64_t i = 0; i < n; i++)
		sorted->first[all[i].block + 2]++;
	for (uint64_t b = 0; b < blocks; b++)
		sorted->first[b + 2] += sorted->first[b + 1];
	for (uint64_t i = 0; i < n; i++)
		sorted->object[sorted->first[all[i].block + 1]++] = all[i].recorded;
	free(all);
	return 0;
}

static int tell_blocks(struct engine *e, const struct sorted *sorted, struct groups *g,
		       int (*visit)(void *arg, const struct result_holder *holder), void *arg)
{
	const struct memory_state *s = e->account.state;
	int rc = 0;

	for (uint64_t b = 0; !rc && b < s->nr_blocks; b++) {
		g->n = 0;
		for (uint64_t i = sorted->first[b]; i < sorted->first[b + 1]; i++) {
			uint32_t recorded = sorted->object[i];
			object_t o = e->objects->of[recorded].plan;
			const struct group one = {
				.class_id = object_class(o),
				.order = (uint8_t)object_order(o),
				.frames = 1U << (object_order(o) > HUGE_ORDER ? HUGE_ORDER
									      : object_order(o)),
				.born = e->objects->of[recorded].born,
			};

			join_group(g, &one);
		}
		rc = tell_block(e, s->base / HUGE_FRAMES + b, g, visit, arg);
	}
	return rc;
}

int engine_holders(struct engine *e, int (*visit)(void *arg, const struct result_holder *holder),
		   void *arg)
{
	struct sorted sorted = {0};
	struct groups *g;
	int rc;

	if (!engine_idle(e))
		return -EAGAIN;
	g = malloc(sizeof(*g));
	rc = g ? sort_objects(e, &sorted) : -ENOMEM;
	if (!rc)
		rc = tell_blocks(e, &sorted, g, visit, arg);
	free(g);
	free(sorted.object);
	free(sorted.first);
	return rc;
}
