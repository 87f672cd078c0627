/* SPDX-License-Identifier: MIT */
/*
 * The churn of `frag` as a trace: replayed, it gives the figures the benchmark gives, since what
 * happens does not depend on where blocks lie (traces/generate/churn.h), and every allocation is one
 * that was served.
 */
#include "traces/generate/generate.h"

#include <stdio.h>

#include "base/bits.h"
#include "traces/generate/churn.h"

/* A trace has room for 4096 names of phases. */
#define ROUNDS_MAX 4000

/*
 * As the benchmark reads no clock, as little time as can be passes here: back ends do some work by
 * time, which would change what they do next.
 */
#define RATE "1000000000"

static const struct option frag_options[] = {
	GENERATE_OPTIONS(NULL, "8G", OPTION_TEXT(CHURN_CPUS), RATE, "of everything drawn"),
	{.name = "order",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .max = MAX_ORDER,
	 .help = "blocks of 2^order frames"},
	{.name = "fill",
	 .type = OPTION_UINT,
	 .fallback = OPTION_TEXT(CHURN_FILL),
	 .min = 1,
	 .max = 99,
	 .unit = "percent",
	 .help = "of memory allocated before half of it is freed"},
	{.name = "rounds",
	 .type = OPTION_UINT,
	 .fallback = OPTION_TEXT(CHURN_ROUNDS),
	 .max = ROUNDS_MAX,
	 .help = "of freeing and allocating a tenth"},
	{.name = NULL},
};

struct frag {
	struct churn_player player; /* first: the callbacks find the rest by it */
	struct stream *stream;
	struct event request;
	uint32_t rounds;
};

static struct churn_plan plan_of(const struct option_set *options)
{
	unsigned int order = (unsigned int)option_uint(options, "order");

	return (struct churn_plan){
		.blocks = generate_blocks(options, order),
		.seed = option_uint(options, "seed"),
		.cpus = (uint32_t)option_uint(options, "cpus"),
		.fill = (uint32_t)option_uint(options, "fill"),
		.rounds = (uint32_t)option_uint(options, "rounds"),
	};
}

static int frag_check(const struct option_set *options, struct error *err)
{
	const struct churn_plan plan = plan_of(options);

	return churn_check(&plan, err);
}

static int frag_alloc(struct churn_player *player, uint32_t cpu, pfn_t *block)
{
	struct frag *f = (struct frag *)player;

	f->request.cpu = (uint16_t)cpu;
	return stream_alloc(f->stream, &f->request, block);
}

static int frag_free(struct churn_player *player, uint32_t cpu, pfn_t block)
{
	struct frag *f = (struct frag *)player;

	return stream_free(f->stream, cpu, f->request.order, block);
}

/* Where one round is over the next begins, but for the last. */
static int frag_round_over(struct churn_player *player, uint32_t round)
{
	struct frag *f = (struct frag *)player;
	char name[32];

	if (round == f->rounds)
		return 0;
	snprintf(name, sizeof(name), "round %u", round + 1);
	return stream_mark(f->stream, name);
}

static int frag_run(const struct option_set *options, struct stream *stream, struct error *err)
{
	const struct churn_plan plan = plan_of(options);
	struct frag f = {
		.player = {.alloc = frag_alloc, .free = frag_free, .round_over = frag_round_over},
		.stream = stream,
		.request = stream_user_request(),
		.rounds = plan.rounds,
	};
	int rc;

	f.request.order = (uint8_t)option_uint(options, "order");
	rc = stream_mark(stream, "fill");
	return rc ? rc : churn_play(&plan, &f.player, err);
}

const struct workload workload_frag = {
	.name = "frag",
	.summary =
		"rounds of random frees and allocations: gives the figures of the benchmark frag",
	.options = frag_options,
	.check = frag_check,
	.run = frag_run,
};
