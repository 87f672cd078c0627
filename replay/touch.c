/* SPDX-License-Identifier: MIT */
/*
 * The pass between execute and account, on real memory only: what was handed out is used, as its owner would
 * use it, and what that takes is timed apart from what the back end takes.
 */
#include "replay/engine_inside.h"

int touch_create(struct engine *e, struct error *err)
{
	if (e->config.touching == TOUCHING_NONE)
		return 0;
	return marks_create(&e->touch.seen, e->end - e->start, err);
}

void touch_destroy(struct engine *e)
{
	marks_destroy(&e->touch.seen);
}

/* Note that a frame has been handed out. Return: was it for the first time? */
static bool note_frame(struct engine *e, pfn_t pfn)
{
	const uint64_t before = e->touch.seen.n;

	marks_set(&e->touch.seen, pfn - e->start);
	return e->touch.seen.n > before;
}

/* The next frames of [*@at, @end) handed out for the first time, as one range; *@at goes behind it. */
static struct pfn_range next_new(struct engine *e, pfn_t *at, pfn_t end)
{
	struct pfn_range range;

	while (*at < end && !note_frame(e, *at))
		++*at;
	range.start = *at;
	if (*at < end)
		++*at;
	while (*at < end && note_frame(e, *at))
		++*at;
	range.end = *at;
	/* The frame that ended it was seen before, or lies behind. */
	return range;
}

/* Return: ticks that it took; 0: nothing was done. */
static uint64_t use(struct engine *e, struct pfn_range range, enum memory_touch how)
{
	const struct stamp_clock *clock = &e->config.world->clock;
	struct memory *memory = e->config.world->memory;
	uint64_t began;

	if (range.start == range.end || e->touch.failed)
		return 0;
	e->touch.failed = memory_prepare(memory, range, &e->touch.why);
	if (e->touch.failed)
		return 0;
	began = clock_stamp(clock);
	memory_touch(memory, range, how);
	return clock_stamp(clock) - began;
}

uint64_t touch_block(struct engine *e, pfn_t pfn, unsigned int order)
{
	const pfn_t end = pfn + (UINT64_C(1) << order);
	uint64_t ticks = 0;
	pfn_t at = pfn;

	if (e->config.touching == TOUCHING_FIRST) {
		while (at < end)
			ticks += use(e, next_new(e, &at, end), TOUCH_WRITE);
		return ticks;
	}
	for (; at < end; at++)
		note_frame(e, at);
	e->touch.cleared += end - pfn;
	return use(e, (struct pfn_range){pfn, end}, TOUCH_CLEAR);
}

void touch(struct engine *e, struct batch *b, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		const struct op *op = &b->op[i];

		b->touched[i] = 0;
		if ((op->kind == OP_ALLOC || op->kind == OP_MOVE_IN) &&
		    b->placed[i].pfn >= e->start &&
		    b->placed[i].pfn - e->start < e->exec.room[op->req.order])
			b->touched[i] = touch_block(e, b->placed[i].pfn, op->req.order);
	}
}

struct engine_touch engine_touch(const struct engine *e)
{
	return (struct engine_touch){.frames = e->touch.seen.n, .cleared_frames = e->touch.cleared};
}
