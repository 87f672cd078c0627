/* SPDX-License-Identifier: MIT */
#include "replay/bench/touch.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "replay/clock.h"

/* ---- what all threads share ---- */

static uint64_t frames_of(const struct world *world)
{
	return machine_end(world->machine) - machine_start(world->machine);
}

int bench_touch_create(struct bench_touch *touch, enum touching touching, unsigned int order,
		       struct world *world, struct error *err)
{
	/* Blocks are counted from pfn 0 on: a machine need not start at a multiple of theirs. */
	const uint64_t blocks = (machine_end(world->machine) >> order) + 1;
	const uint64_t pieces = machine_end(world->machine) / HUGE_FRAMES + 1;

	*touch = (struct bench_touch){.touching = touching, .order = order, .world = world};
	if (touching == TOUCHING_NONE)
		return 0;
	touch->seen = calloc(blocks / 64 + 1, sizeof(*touch->seen));
	touch->prepared = calloc(pieces, sizeof(*touch->prepared));
	if (!touch->seen || !touch->prepared || pthread_mutex_init(&touch->lock, NULL))
		return error_set(err, ENOMEM, "no memory to keep track of %" PRIu64 " frames",
				 frames_of(world));
	touch->has_lock = true;
	return 0;
}

void bench_touch_destroy(struct bench_touch *touch)
{
	if (touch->has_lock)
		pthread_mutex_destroy(&touch->lock);
	free((void *)touch->seen);
	free((void *)touch->prepared);
	*touch = (struct bench_touch){0};
}

void bench_touch_begin(struct bench_touch *touch)
{
	touch->faults = touching_faults();
}

/* Return: was it never used before? */
static bool note_block(struct bench_touch *touch, pfn_t pfn)
{
	const uint64_t block = pfn >> touch->order, bit = UINT64_C(1) << block % 64;
	_Atomic uint64_t *word = &touch->seen[block / 64];

	if (atomic_load_explicit(word, memory_order_relaxed) & bit)
		return false;
	if (atomic_fetch_or(word, bit) & bit)
		return false;
	atomic_fetch_add(&touch->new_blocks, 1);
	return true;
}

/* ---- one thread ---- */

struct toucher *toucher_create(struct bench_touch *touch)
{
	struct toucher *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->touch = touch;
	histogram_init(&t->times);
	return t;
}

static bool in_machine(const struct machine *m, pfn_t pfn, uint64_t frames)
{
	return pfn >= machine_start(m) && pfn < machine_end(m) && machine_end(m) - pfn >= frames;
}

/* Memory is got by whoever is first, and may then be touched by all. */
static int get_piece(struct toucher *t, uint64_t piece)
{
	struct bench_touch *touch = t->touch;
	const struct machine *m = touch->world->machine;
	const struct pfn_range range = {
		max_u64(piece * HUGE_FRAMES, machine_start(m)),
		min_u64((piece + 1) * HUGE_FRAMES, machine_end(m)),
	};
	int rc;

	if (atomic_load_explicit(&touch->prepared[piece], memory_order_acquire))
		return 0;
	pthread_mutex_lock(&touch->lock);
	rc = memory_prepare(touch->world->memory, range, &t->why);
	if (!rc)
		atomic_store_explicit(&touch->prepared[piece], 1, memory_order_release);
	pthread_mutex_unlock(&touch->lock);
	return rc;
}

static int prepare(struct toucher *t, struct pfn_range range)
{
	for (uint64_t piece = range.start / HUGE_FRAMES; piece * HUGE_FRAMES < range.end; piece++) {
		int rc = get_piece(t, piece);

		if (rc)
			return rc;
	}
	return 0;
}

void toucher_use(struct toucher *t, pfn_t pfn)
{
	struct bench_touch *touch = t->touch;
	const uint64_t frames = UINT64_C(1) << touch->order;
	const struct pfn_range range = {pfn, pfn + frames};
	const bool all = touch->touching == TOUCHING_ALL;
	const struct stamp_clock *clock = &touch->world->clock;
	uint64_t ticks;

	if (t->failed || !in_machine(touch->world->machine, pfn, frames))
		return;
	if (!note_block(touch, pfn) && !all)
		return;
	t->failed = prepare(t, range);
	if (t->failed)
		return;
	ticks = clock_stamp(clock);
	memory_touch(touch->world->memory, range, all ? TOUCH_CLEAR : TOUCH_WRITE);
	ticks = clock_stamp(clock) - ticks;
	histogram_add(&t->times, clock_latency_ns(clock, ticks));
	t->ticks += ticks;
	t->blocks += all;
}

void toucher_forget_times(struct toucher *t)
{
	histogram_init(&t->times);
	t->ticks = 0;
}

/* ---- what is told ---- */

/* The mean is of ticks, which are finer than what the histogram keeps. */
static double mean_ns(const struct bench_touch *touch, struct toucher *const *touchers, size_t n)
{
	const struct stamp_clock *clock = &touch->world->clock;
	const double tick_ns = (double)clock->multiplier / 4294967296.0;
	double ns = 0, times = 0;

	for (size_t i = 0; i < n; i++) {
		const double count = (double)touchers[i]->times.count;

		ns += (double)touchers[i]->ticks * tick_ns - count * clock->overhead_ns;
		times += count;
	}
	return times > 0 ? fmax(0, ns) / times : (double)NAN;
}

static int tell_touches(const struct bench_touch *touch, struct toucher *const *touchers, size_t n,
			struct tell *tell)
{
	struct histogram *all = malloc(sizeof(*all));
	int rc;

	if (!all)
		return error_set(tell->err, ENOMEM, "no memory for a histogram");
	histogram_init(all);
	for (size_t i = 0; i < n; i++)
		histogram_merge(all, &touchers[i]->times);
	rc = tell_times(tell, METRIC_touch_ns, mean_ns(touch, touchers, n), all);
	free(all);
	return rc;
}

int bench_touch_tell(const struct bench_touch *touch, struct toucher *const *touchers, size_t n,
		     struct tell *tell)
{
	struct touching_done done = {
		.touching = touch->touching,
		.frames = n > 1 ? UINT64_MAX : touch->new_blocks << touch->order,
		.faults = touching_faults() - touch->faults,
	};
	int rc = 0;

	if (touch->touching != TOUCHING_NONE)
		rc = tell_touches(touch, touchers, n, tell);
	for (size_t i = 0; i < n && touch->touching != TOUCHING_NONE; i++)
		done.cleared_frames += touchers[i]->blocks << touch->order;
	return rc ? rc : tell_real_memory(tell, touch->world->memory, &done);
}
