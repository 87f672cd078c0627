/* SPDX-License-Identifier: MIT */
#include "traces/generate/churn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/random.h"

struct hand {
	pfn_t *blocks; /* what one cpu holds, a part of churn.blocks, in no order */
	uint64_t n;
	uint64_t due;	/* operations left in this phase */
	uint64_t freed; /* in this round */
};

struct churn {
	struct churn_player *player;
	struct random random;
	pfn_t *blocks;
	struct hand *hands;
	uint32_t cpus;
};

uint64_t churn_first_blocks(const struct churn_plan *plan)
{
	return (uint64_t)((unsigned __int128)plan->blocks * plan->fill / 100);
}

int churn_check(const struct churn_plan *plan, struct error *err)
{
	uint64_t first = churn_first_blocks(plan);

	if (plan->fill < 1 || plan->fill > 99)
		return error_set(err, EINVAL, "fill %" PRIu32 ": from 1 to 99 percent", plan->fill);
	if (first / plan->cpus < 20)
		return error_set(err, EINVAL,
				 "memory: %" PRIu64 " blocks are too few for %" PRIu32
				 " cpus to churn a tenth of; raise memory, or lower order or cpus",
				 first, plan->cpus);
	return 0;
}

/* All blocks of the start, the cpus in turn. *@got: how many there were. */
static int allocate_first(struct churn *c, uint64_t wanted, uint64_t *got)
{
	int rc = 0;

	*got = 0;
	for (uint64_t i = 0; !rc && i < wanted; i++) {
		pfn_t block;

		rc = c->player->alloc(c->player, (uint32_t)(i % c->cpus), &block);
		if (!rc && block != PFN_NONE)
			c->blocks[(*got)++] = block;
	}
	return rc;
}

/* Shuffled, and as equal a share to every cpu as it goes. */
static void deal(struct churn *c, uint64_t got)
{
	uint64_t from = 0;

	random_shuffle(&c->random, c->blocks, got);
	for (uint32_t cpu = 0; cpu < c->cpus; cpu++) {
		uint64_t to = got * (cpu + 1) / c->cpus;

		c->hands[cpu] = (struct hand){.blocks = &c->blocks[from], .n = to - from};
		from = to;
	}
}

static int free_one(struct churn *c, uint32_t cpu)
{
	struct hand *hand = &c->hands[cpu];
	uint64_t i = random_below(&c->random, hand->n);
	pfn_t block = hand->blocks[i];

	hand->blocks[i] = hand->blocks[--hand->n];
	return c->player->free(c->player, cpu, block);
}

/* Where one is refused, the cpu holds less from then on. */
static int allocate_one(struct churn *c, uint32_t cpu)
{
	struct hand *hand = &c->hands[cpu];
	pfn_t block;
	int rc = c->player->alloc(c->player, cpu, &block);

	if (!rc && block != PFN_NONE)
		hand->blocks[hand->n++] = block;
	return rc;
}

/* Every cpu does what is due, in turns. */
static int take_turns(struct churn *c, int (*one)(struct churn *c, uint32_t cpu))
{
	bool more = true;
	int rc = 0;

	while (more) {
		more = false;
		for (uint32_t cpu = 0; !rc && cpu < c->cpus; cpu++) {
			struct hand *hand = &c->hands[cpu];

			if (!hand->due)
				continue;
			rc = one(c, cpu);
			more |= --hand->due > 0;
		}
		if (rc)
			return rc;
	}
	return 0;
}

/* Every cpu frees a random one of @part of its blocks. */
static int free_part(struct churn *c, unsigned int part)
{
	for (uint32_t cpu = 0; cpu < c->cpus; cpu++)
		c->hands[cpu].due = c->hands[cpu].freed = c->hands[cpu].n / part;
	return take_turns(c, free_one);
}

static int play_round(struct churn *c)
{
	int rc = free_part(c, 10);

	for (uint32_t cpu = 0; cpu < c->cpus; cpu++)
		c->hands[cpu].due = c->hands[cpu].freed;
	return rc ? rc : take_turns(c, allocate_one);
}

static int play(struct churn *c, const struct churn_plan *plan)
{
	uint64_t got;
	int rc = allocate_first(c, churn_first_blocks(plan), &got);

	if (rc)
		return rc;
	deal(c, got);
	rc = free_part(c, 2);
	if (!rc)
		rc = c->player->round_over(c->player, 0);
	for (uint32_t round = 1; !rc && round <= plan->rounds; round++) {
		rc = play_round(c);
		if (!rc)
			rc = c->player->round_over(c->player, round);
	}
	return rc;
}

int churn_play(const struct churn_plan *plan, struct churn_player *player, struct error *err)
{
	struct churn c = {.player = player, .cpus = plan->cpus};
	int rc;

	c.blocks = calloc((size_t)churn_first_blocks(plan), sizeof(*c.blocks));
	c.hands = calloc(c.cpus, sizeof(*c.hands));
	if (c.blocks && c.hands) {
		random_seed(&c.random, plan->seed, 0);
		rc = play(&c, plan);
	} else {
		rc = error_set(err, ENOMEM, "no memory for %" PRIu64 " blocks", plan->blocks);
	}
	free(c.blocks);
	free(c.hands);
	return rc;
}
