/* SPDX-License-Identifier: MIT */
/*
 * Memory under churn: the frag protocol of the LLFree paper (Wrenger et al., USENIX ATC '23). It is
 * played on a back end (replay/bench/frag.c) and written down as a trace (generate/frag.c), so its
 * steps and draws have one home, and both ways give the same figures.
 *
 * The cpus take turns, block by block, to allocate `fill` percent of memory. All blocks are shuffled
 * and dealt to the cpus, and each frees half of its own. Then rounds: every cpu frees a random tenth
 * of what it holds, and when all have, allocates as many; in turns again.
 *
 * What is drawn depends on the seed and on how many allocations were served, never on where.
 */
#ifndef TRACES_GENERATE_CHURN_H
#define TRACES_GENERATE_CHURN_H

#include <stdint.h>

#include "base/error.h"
#include "sim/machine.h"

/* What the benchmark and the generator do unless told otherwise. */
#define CHURN_CPUS   8
#define CHURN_FILL   90
#define CHURN_ROUNDS 10

struct churn_plan {
	uint64_t blocks; /* memory has room for */
	uint64_t seed;
	uint32_t cpus;
	uint32_t fill; /* percent of them allocated at first */
	uint32_t rounds;
};

/*
 * Who does what the protocol asks. Each function returns 0, or anything else to end it, which
 * churn_play() then returns.
 */
struct churn_player {
	/* A block for @cpu, any name but PFN_NONE, which says that there was none. */
	int (*alloc)(struct churn_player *player, uint32_t cpu, pfn_t *block);
	int (*free)(struct churn_player *player, uint32_t cpu, pfn_t block);
	/* Half has been freed, and @round rounds have been played. */
	int (*round_over)(struct churn_player *player, uint32_t round);
};

/** Blocks that are allocated at first. */
uint64_t churn_first_blocks(const struct churn_plan *plan);

/**
 * churn_check - is it a plan that can be played?
 * Return: 0; -EINVAL: `fill` is not from 1 to 99, or a cpu's tenth of its half is not even a block. The
 * message names the parameter and a remedy.
 */
int churn_check(const struct churn_plan *plan, struct error *err);

/**
 * churn_play - the whole protocol, for a plan that churn_check() accepts
 * Needs 8 bytes a block of churn_first_blocks().
 * Return: 0; -ENOMEM; or what a function of @player returned.
 */
int churn_play(const struct churn_plan *plan, struct churn_player *player, struct error *err);

#endif
