/* SPDX-License-Identifier: MIT */
/*
 * How memory fragments under churn: the protocol of traces/generate/churn.h, played by one thread in a
 * fixed order, so that the same seed gives the same bits anywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replay/bench/kinds.h"

#define ALIVE_EVERY 65536 /* operations between two looks at the clock */

struct frag {
	struct churn_player player; /* first: the callbacks find the rest by it */
	struct bench_rig *rig;
	struct toucher *toucher; /* NULL: nothing is touched */
	uint64_t ops;
	double sum[METRIC_STATE_COUNT], last[METRIC_STATE_COUNT];
};

static int count_op(struct frag *f)
{
	return ++f->ops % ALIVE_EVERY ? 0 : tell_alive(&f->rig->tell);
}

/* ---- samples ---- */

static int send_blockmap(struct frag *f, uint32_t round)
{
	const struct memory_state *s = f->rig->state;

	for (uint64_t b = 0; b < s->nr_blocks; b++)
		s->scratch[b] = s->block[b].absent ? BLOCKMAP_ABSENT : s->block[b].held;
	return tell_blockmap(&f->rig->tell, round, BLOCKMAP_HELD, s->base / HUGE_FRAMES, s->scratch,
			     s->nr_blocks);
}

static int take_sample(struct frag *f, uint32_t round)
{
	struct result_record sample = {.kind = RESULT_SAMPLE};
	struct bench_rig *rig = f->rig;
	uint64_t blocks[NR_ORDERS];
	int rc;

	memory_state_metrics(rig->state, f->last, blocks);
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++)
		f->sum[i] += f->last[i];
	sample.sample.index = round;
	sample.sample.end = round == rig->point->rounds;
	sample.sample.event = f->ops;
	memcpy(sample.sample.state, f->last, sizeof(f->last));
	rc = tell_record(&rig->tell, &sample);
	if (!rc)
		rc = tell_freelist(&rig->tell, round, FREELIST_ENGINE, blocks);
	return rc ? rc : send_blockmap(f, round);
}

/* ---- the protocol ---- */

static int frag_alloc(struct churn_player *player, uint32_t cpu, pfn_t *block)
{
	struct frag *f = (struct frag *)player;

	*block = bench_rig_alloc(f->rig, cpu);
	f->rig->allocs++;
	f->rig->refused += *block == PFN_NONE;
	if (*block != PFN_NONE && f->toucher) {
		toucher_use(f->toucher, *block);
		if (f->toucher->failed)
			return error_set(f->rig->err, -f->toucher->failed, "touching: %s",
					 f->toucher->why.text);
	}
	return count_op(f);
}

static int frag_free(struct churn_player *player, uint32_t cpu, pfn_t block)
{
	struct frag *f = (struct frag *)player;

	bench_rig_free(f->rig, block, cpu);
	f->rig->frees++;
	return count_op(f);
}

static int frag_round_over(struct churn_player *player, uint32_t round)
{
	return take_sample((struct frag *)player, round);
}

static int tell(struct frag *f)
{
	const double samples = f->rig->point->rounds + 1.0;
	int rc = 0;

	/* No times of the back end: nothing but the touching is to differ from run to run. */
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++) {
		rc = tell_metric(&f->rig->tell, METRIC_STATE_FIRST + i, f->last[i]);
		if (!rc)
			rc = tell_metric(&f->rig->tell, METRIC_STATE_END + i, f->sum[i] / samples);
	}
	return rc ? rc : bench_touch_tell(&f->rig->touch, &f->toucher, 1, &f->rig->tell);
}

int bench_frag(struct bench_rig *rig)
{
	const struct churn_plan plan = bench_churn_plan(rig->point, rig->machine);
	struct frag f = {
		.player = {.alloc = frag_alloc, .free = frag_free, .round_over = frag_round_over},
		.rig = rig,
	};
	int rc;

	if (rig->point->touching != TOUCHING_NONE) {
		f.toucher = toucher_create(&rig->touch);
		if (!f.toucher)
			return error_set(rig->err, ENOMEM, "no memory for a histogram");
	}
	bench_touch_begin(&rig->touch);
	rc = churn_play(&plan, &f.player, rig->err);
	if (!rc)
		rc = tell(&f);
	free(f.toucher);
	return rc;
}
