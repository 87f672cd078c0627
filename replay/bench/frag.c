/* SPDX-License-Identifier: MIT */
/*
 * How memory fragments under churn: the frag protocol of the LLFree paper (Wrenger et al., USENIX ATC
 * '23), played by one thread in a fixed order, so that the same seed gives the same bits anywhere.
 *
 * The cpus take turns, block by block, to allocate `fill` percent of memory. All blocks are shuffled
 * and dealt to the cpus, and each frees half of its own. Then rounds: every cpu frees a random tenth
 * of what it holds, and when all have, allocates as many; in turns again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/random.h"
#include "replay/bench/rig.h"
#include "replay/clock.h"

#define ALIVE_EVERY 65536 /* operations between two looks at the clock */

struct hand {
	pfn_t *pfns; /* what one cpu holds, a part of churn.pfns, in no order */
	uint64_t n;
	uint64_t due;	/* operations left in this phase */
	uint64_t freed; /* in this round */
};

struct churn {
	struct bench_rig *rig;
	struct random random;
	pfn_t *pfns;
	struct hand *hands;
	uint32_t cpus;
	uint64_t ops;
	double sum[METRIC_STATE_COUNT], last[METRIC_STATE_COUNT];
};

static int count_op(struct churn *c)
{
	return ++c->ops % ALIVE_EVERY ? 0 : tell_alive(&c->rig->tell);
}

/* ---- samples ---- */

static int send_blockmap(struct churn *c, uint32_t round)
{
	const struct memory_state *s = c->rig->state;

	for (uint64_t b = 0; b < s->nr_blocks; b++)
		s->scratch[b] = s->block[b].absent ? BLOCKMAP_ABSENT : s->block[b].held;
	return tell_blockmap(&c->rig->tell, round, BLOCKMAP_HELD, s->base / HUGE_FRAMES, s->scratch,
			     s->nr_blocks);
}

static int take_sample(struct churn *c, uint32_t round)
{
	struct result_record sample = {.kind = RESULT_SAMPLE};
	struct bench_rig *rig = c->rig;
	uint64_t blocks[NR_ORDERS];
	int rc;

	memory_state_metrics(rig->state, c->last, blocks);
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++)
		c->sum[i] += c->last[i];
	sample.sample.index = round;
	sample.sample.end = round == rig->point->rounds;
	sample.sample.event = c->ops;
	memcpy(sample.sample.state, c->last, sizeof(c->last));
	rc = tell_record(&rig->tell, &sample);
	if (!rc)
		rc = tell_freelist(&rig->tell, round, FREELIST_ENGINE, blocks);
	return rc ? rc : send_blockmap(c, round);
}

/* ---- the protocol ---- */

/* All blocks of the start, the cpus in turn. Return how many there are, or a negative errno. */
static int64_t allocate_first(struct churn *c, uint64_t wanted)
{
	struct bench_rig *rig = c->rig;
	uint64_t got = 0;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < wanted; i++) {
		pfn_t pfn = bench_rig_alloc(rig, (uint32_t)(i % c->cpus));

		rig->allocs++;
		if (pfn == PFN_NONE)
			rig->refused++;
		else
			c->pfns[got++] = pfn;
		rc = count_op(c);
	}
	return rc ? rc : (int64_t)got;
}

/* Shuffled, and as equal a share to every cpu as it goes. */
static void deal(struct churn *c, uint64_t got)
{
	uint64_t from = 0;

	random_shuffle(&c->random, c->pfns, got);
	for (uint32_t cpu = 0; cpu < c->cpus; cpu++) {
		uint64_t to = got * (cpu + 1) / c->cpus;

		c->hands[cpu] = (struct hand){.pfns = &c->pfns[from], .n = to - from};
		from = to;
	}
}

/* Every cpu frees what is due, drawn at random from what it holds, in turns. */
static int free_due(struct churn *c)
{
	bool more = true;
	int rc = 0;

	while (more) {
		more = false;
		for (uint32_t cpu = 0; !rc && cpu < c->cpus; cpu++) {
			struct hand *hand = &c->hands[cpu];
			uint64_t i;

			if (!hand->due)
				continue;
			i = random_below(&c->random, hand->n);
			bench_rig_free(c->rig, hand->pfns[i], cpu);
			hand->pfns[i] = hand->pfns[--hand->n];
			c->rig->frees++;
			more |= --hand->due > 0;
			rc = count_op(c);
		}
	}
	return rc;
}

static int allocate_due(struct churn *c)
{
	bool more = true;
	int rc = 0;

	while (more) {
		more = false;
		for (uint32_t cpu = 0; !rc && cpu < c->cpus; cpu++) {
			struct hand *hand = &c->hands[cpu];
			pfn_t pfn;

			if (!hand->due)
				continue;
			pfn = bench_rig_alloc(c->rig, cpu);
			c->rig->allocs++;
			if (pfn == PFN_NONE)
				c->rig->refused++;
			else
				hand->pfns[hand->n++] = pfn;
			more |= --hand->due > 0;
			rc = count_op(c);
		}
	}
	return rc;
}

/* Every cpu frees a random one of @part of its blocks. */
static int free_part(struct churn *c, unsigned int part)
{
	for (uint32_t cpu = 0; cpu < c->cpus; cpu++)
		c->hands[cpu].due = c->hands[cpu].freed = c->hands[cpu].n / part;
	return free_due(c);
}

static int play_round(struct churn *c)
{
	int rc = free_part(c, 10);

	/* Where one is refused, the cpu holds less from then on. */
	for (uint32_t cpu = 0; cpu < c->cpus; cpu++)
		c->hands[cpu].due = c->hands[cpu].freed;
	return rc ? rc : allocate_due(c);
}

static int play(struct churn *c)
{
	int64_t got = allocate_first(c, bench_fill_blocks(c->rig->point));
	int rc;

	if (got < 0)
		return (int)got;
	deal(c, (uint64_t)got);
	rc = free_part(c, 2);
	if (!rc)
		rc = take_sample(c, 0);
	for (uint32_t round = 1; !rc && round <= c->rig->point->rounds; round++) {
		rc = play_round(c);
		if (!rc)
			rc = take_sample(c, round);
	}
	return rc;
}

static int tell(struct churn *c)
{
	const double samples = c->rig->point->rounds + 1.0;
	int rc = 0;

	/* No times: nothing here is to differ from run to run. */
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++) {
		rc = tell_metric(&c->rig->tell, METRIC_STATE_FIRST + i, c->last[i]);
		if (!rc)
			rc = tell_metric(&c->rig->tell, METRIC_STATE_END + i, c->sum[i] / samples);
	}
	return rc;
}

int bench_frag(struct bench_rig *rig)
{
	struct churn *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (c) {
		c->rig = rig;
		c->cpus = rig->point->cpus;
		c->pfns = bench_pfns(bench_fill_blocks(rig->point));
		c->hands = calloc(c->cpus, sizeof(*c->hands));
	}
	if (c && c->pfns && c->hands) {
		random_seed(&c->random, rig->point->seed, 0);
		rc = play(c);
		if (!rc)
			rc = tell(c);
	} else {
		error_set(rig->err, ENOMEM, "no memory for %" PRIu64 " blocks", rig->blocks);
	}
	if (c) {
		free(c->pfns);
		free(c->hands);
	}
	free(c);
	return rc;
}
