/* SPDX-License-Identifier: MIT */
/*
 * What all micro-benchmarks stand on: a machine, an instance of the back end, and the oracle's map.
 * Private to replay/bench/.
 */
#ifndef REPLAY_BENCH_RIG_H
#define REPLAY_BENCH_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "replay/bench/point.h"
#include "replay/bench/touch.h"
#include "replay/memory_state.h"
#include "replay/position.h"
#include "replay/tell.h"
#include "replay/world.h"

struct bench_rig {
	const struct bench_point *point;
	struct tell tell; /* what it says goes through here */
	struct error *err;
	struct machine *machine;
	struct node_plan nodes; /* where its memory comes from */
	struct world *world;
	struct clock_choice clock;
	const struct allocator_ops *ops; /* the world's, for short */
	struct allocator *a;
	struct alloc_request request; /* what is asked for, but as which cpu */
	uint64_t blocks;	      /* of 2^order frames in the machine */
	struct memory_state *state;   /* frames handed out; NULL: nobody looks */
	struct bench_touch touch;     /* of what is handed out in what is measured */
	uint64_t allocs, frees;	      /* asked for in what is measured */
	uint64_t refused;	      /* allocations of them */
	uint64_t violations;
	char first_violation[120];
	struct doubts doubts;
};

/**
 * Everything made, nothing allocated. Released also after an error: bench_rig_destroy().
 * Return: 0; -ENOMEM; the back end's.
 */
int bench_rig_create(struct bench_rig *rig, const struct bench_point *point,
		     struct run_position *at, struct result_sink *sink, struct error *err);
void bench_rig_destroy(struct bench_rig *rig);

/** The clock of a point's runs. Return: 0. */
int bench_clock(const struct bench_point *point, struct clock_choice *choice, struct error *err);

/** What is asked for as @cpu, of its own node. */
struct alloc_request bench_rig_request(const struct bench_rig *rig, uint32_t cpu);

/**
 * bench_rig_hold - the back end has handed out a block: did it lie in the machine, aligned, and free?
 * bench_rig_release - it will be given back
 * Return: false: no; it is counted as a violation, and nobody's to free.
 */
bool bench_rig_hold(struct bench_rig *rig, pfn_t pfn);
void bench_rig_release(struct bench_rig *rig, pfn_t pfn);
/** The back end refused to take back what it had handed out. */
void bench_rig_refused_free(struct bench_rig *rig, pfn_t pfn, uint64_t times);

/** One checked allocation as @cpu, untimed. PFN_NONE: refused, or a violation. Counts nothing else. */
pfn_t bench_rig_alloc(struct bench_rig *rig, uint32_t cpu);
/** One checked free. */
void bench_rig_free(struct bench_rig *rig, pfn_t pfn, uint32_t cpu);

/** An array of @n pfns, its pages touched. free(); NULL: no memory. */
pfn_t *bench_pfns(uint64_t n);

#endif
