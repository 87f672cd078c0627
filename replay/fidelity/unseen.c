/* SPDX-License-Identifier: MIT */
#include "replay/fidelity/unseen.h"

#include "base/bits.h"
#include "sim/gfp.h"

static struct alloc_request request_of(const struct event *e)
{
	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = GFP_MOVABLE | GFP_HIGHMEM,
		.cpu = e->cpu,
		.migratetype = MIGRATE_MOVABLE,
		.flags = ALLOC_COMPACTION_TARGET,
	};
}

static pfn_t choose(void *arg, const struct event *e, unsigned int zone)
{
	struct unseen *u = arg;
	struct alloc_request req = request_of(e);

	req.zone = (uint8_t)zone;
	req.node = u->machine->zones[zone].node;
	return u->ops->alloc(u->a, &req).pfn;
}

static void take(void *arg, const struct event *e, pfn_t name, unsigned int zone)
{
	/* choose() has. */
	(void)arg;
	(void)e;
	(void)name;
	(void)zone;
}

static bool is_movable_around(void *arg, pfn_t pfn)
{
	const struct unseen *u = arg;
	pfn_t start = max_u64(align_down(pfn, HUGE_FRAMES), u->targets.first);
	pfn_t end = min_u64(align_down(pfn, HUGE_FRAMES) + HUGE_FRAMES, u->targets.last);
	unsigned int movable = 0, fixed = 0;

	for (; start < end; start++) {
		bool can_move = marks_get(&u->movable, start - u->targets.first);

		movable += can_move;
		fixed += !can_move && marks_get(&u->held, start - u->targets.first);
	}
	return movable >= fixed;
}

static bool is_about(const struct event *e, pfn_t pfn)
{
	return event_has_pfn(e->kind) && pfn - e->pfn < UINT64_C(1) << e->order;
}

static void give(void *arg, const struct event *e, pfn_t name)
{
	struct unseen *u = arg;
	const struct alloc_request req = request_of(e);

	/* What the event is about, the back end has been told. */
	if (!is_about(e, name))
		(void)u->ops->free(u->a, name, &req);
}

static void move(void *arg, const struct event *e, pfn_t from, pfn_t to)
{
	(void)arg;
	(void)e;
	(void)from;
	(void)to;
}

static const struct targets_calls calls = {
	.movable = is_movable_around,
	.choose = choose,
	.take = take,
	.give = give,
	.move = move,
};

static void hold(struct unseen *u, uint64_t frame, bool movable)
{
	marks_set(&u->held, frame);
	if (movable)
		marks_set(&u->movable, frame);
	else
		marks_take(&u->movable, frame);
}

int unseen_create(struct unseen *u, const struct machine *m, const struct allocator_ops *ops,
		  struct allocator *a, const struct frame_map *start, struct error *err)
{
	const struct targets_config config = {
		.machine = m,
		.calls = &calls,
		.arg = u,
		.first = machine_start(m),
		.last = machine_end(m),
	};
	int rc;

	*u = (struct unseen){.machine = m, .ops = ops, .a = a};
	rc = targets_create(&u->targets, &config, err);
	if (!rc)
		rc = marks_create(&u->held, config.last - config.first, err);
	if (!rc)
		rc = marks_create(&u->movable, config.last - config.first, err);
	for (size_t i = 0; !rc && i < start->nr_runs; i++) {
		const struct frame_run *run = &start->runs[i];

		for (uint64_t k = 0; frame_state_allocated(run->state) && k < run->frames; k++)
			hold(u, run->start + k - config.first, run->state == FRAME_MOVABLE);
	}
	return rc;
}

void unseen_destroy(struct unseen *u)
{
	targets_destroy(&u->targets);
	marks_destroy(&u->held);
	marks_destroy(&u->movable);
}

static void handed_out(struct unseen *u, const struct event *e)
{
	uint64_t first = e->pfn - u->targets.first, frames = UINT64_C(1) << e->order;
	unsigned int mt = e->migratetype < MIGRATE_TYPES ? e->migratetype : gfp_migratetype(e->gfp);

	targets_allocated(&u->targets, e->context);
	targets_make_way(&u->targets, e, e->pfn, frames);
	for (uint64_t i = 0; i < frames; i++)
		hold(u, first + i, mt == MIGRATE_MOVABLE || mt == MIGRATE_CMA);
}

static void given_back(struct unseen *u, const struct event *e)
{
	uint64_t first = e->pfn - u->targets.first, unknown = 0;

	targets_freed(&u->targets, e);
	for (uint64_t i = 0; i < UINT64_C(1) << e->order; i++) {
		unknown += !marks_take(&u->held, first + i);
		marks_take(&u->movable, first + i);
	}
	if (unknown)
		targets_orphan(&u->targets, e, unknown);
}

void unseen_event(struct unseen *u, const struct event *e)
{
	switch (e->kind) {
	case EVENT_ALLOC:
		handed_out(u, e);
		break;
	case EVENT_FREE:
		given_back(u, e);
		break;
	case EVENT_ZONE_LOCKED:
	case EVENT_PCPU_DRAIN:
		/* Free, or on a per-CPU list. */
		targets_make_way(&u->targets, e, e->pfn, UINT64_C(1) << e->order);
		break;
	case EVENT_COMPACTION:
		targets_compaction(&u->targets, e);
		break;
	default:
		break;
	}
}
