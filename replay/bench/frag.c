/* SPDX-License-Identifier: MIT */
/*
 * How memory fragments under churn: the protocol of traces/generate/churn.h, played by one thread in a
 * fixed order, so that the same seed gives the same bits anywhere.
 */
#include <string.h>

#include "replay/bench/rig.h"

#define ALIVE_EVERY 65536 /* operations between two looks at the clock */

struct frag {
	struct churn_player player; /* first: the callbacks find the rest by it */
	struct bench_rig *rig;
	uint64_t ops;
	double sum[METRIC_STATE_COUNT], last[METRIC_STATE_COUNT];
};

static int count_op(struct frag *f)
{
	return ++f->ops % ALIVE_EVERY ? 0 : bench_rig_alive(f->rig);
}

/* ---- samples ---- */

static int send_blockmap(struct frag *f, uint32_t round)
{
	const struct memory_state *s = f->rig->state;
	struct result_record record = {.kind = RESULT_BLOCKMAP};

	for (uint64_t b = 0; b < s->nr_blocks; b++)
		s->scratch[b] = s->block[b].absent ? 0xffff : s->block[b].held;
	record.blockmap.sample = round;
	record.blockmap.first_block = s->base / HUGE_FRAMES;
	record.blockmap.held = s->scratch;
	record.blockmap.n = s->nr_blocks;
	return f->rig->sink->take(f->rig->sink, &record, f->rig->err);
}

static int take_sample(struct frag *f, uint32_t round)
{
	struct result_record sample = {.kind = RESULT_SAMPLE};
	struct result_record freelist = {.kind = RESULT_FREELIST};
	struct bench_rig *rig = f->rig;
	int rc;

	memory_state_metrics(rig->state, f->last, freelist.freelist.blocks);
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++)
		f->sum[i] += f->last[i];
	sample.sample.index = round;
	sample.sample.end = round == rig->point->rounds;
	sample.sample.event = f->ops;
	memcpy(sample.sample.state, f->last, sizeof(f->last));
	freelist.freelist.sample = round;
	freelist.freelist.source = FREELIST_ENGINE;
	rc = rig->sink->take(rig->sink, &sample, rig->err);
	if (!rc)
		rc = rig->sink->take(rig->sink, &freelist, rig->err);
	return rc ? rc : send_blockmap(f, round);
}

/* ---- the protocol ---- */

static int frag_alloc(struct churn_player *player, uint32_t cpu, pfn_t *block)
{
	struct frag *f = (struct frag *)player;

	*block = bench_rig_alloc(f->rig, cpu);
	f->rig->allocs++;
	f->rig->refused += *block == PFN_NONE;
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

	/* No times: nothing here is to differ from run to run. */
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++) {
		rc = bench_rig_metric(f->rig, METRIC_STATE_FIRST + i, f->last[i]);
		if (!rc)
			rc = bench_rig_metric(f->rig, METRIC_STATE_END + i, f->sum[i] / samples);
	}
	return rc;
}

int bench_frag(struct bench_rig *rig)
{
	const struct churn_plan plan = bench_churn_plan(rig->point);
	struct frag f = {
		.player = {.alloc = frag_alloc, .free = frag_free, .round_over = frag_round_over},
		.rig = rig,
	};
	int rc = churn_play(&plan, &f.player, rig->err);

	return rc ? rc : tell(&f);
}
