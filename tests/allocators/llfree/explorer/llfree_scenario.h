/* SPDX-License-Identifier: MIT */
/*
 * A small LLFree instance in a known state and what two or three threads do with it, explored step
 * by step: after every step what a crash would leave is recovered and judged (model.h), at every end
 * the instance has to pass its own check and to agree with the model.
 *
 * A scenario is a line of text, so that a failure can be told and replayed:
 *
 *	HHA1 rows warm=2 | g0 f0#0 | f3@8 d
 *
 * First the memory, a letter per 2 MiB block, four or eight of them, as many trees of four:
 *	F free			A allocated as single frames	H allocated as one huge frame
 *	1 frame 77 free		n free: frame 77, 128..135, row 4		h every odd frame free
 *	o all free but frame 0	x rows 4..7 free, 0..3 allocated		p rows 4..7 are absent
 * Then options: rows, adr, follow: LLFree's rows=on, persist=adr and last_frees=on; warm=MASK: these
 * threads have each got and freed a frame, so that they have reserved a tree where they could;
 * again: recovery is interrupted at each of its own steps, too, and done again. Then the operations of each thread:
 *	g3	get of order 3			a3@64	get of order 3 at frame 64
 *	f3@64	free order 3 at frame 64	f3#0+8	free order 3 at frame 8 of operation 0's block
 *	x3@64	free order 3 at frame 64, which is free	d	drain
 * A free of a get that failed does nothing.
 */
#ifndef TESTS_ALLOCATORS_LLFREE_EXPLORER_LLFREE_SCENARIO_H
#define TESTS_ALLOCATORS_LLFREE_EXPLORER_LLFREE_SCENARIO_H

#include "base/error.h"
#include "tests/allocators/llfree/explorer/explore.h"
#include "tests/allocators/llfree/explorer/lines.h"

#define SCENARIO_CHILDREN_MAX 8U
#define SCENARIO_OPS_MAX      6U
#define SCENARIO_TEXT_MAX     256U

struct scenario_op {
	char kind; /* 'g', 'a', 'f', 'x', 'd' */
	unsigned int order;
	int of;		    /* f: the operation whose block it frees, or -1 */
	unsigned int frame; /* where; of that block, if `of` names one */
};

struct scenario {
	char memory[SCENARIO_CHILDREN_MAX + 1];
	bool rows, adr, again, follow;
	unsigned int warm;
	unsigned int nr_threads, nr_ops[EXPLORE_THREADS_MAX];
	struct scenario_op ops[EXPLORE_THREADS_MAX][SCENARIO_OPS_MAX];
};

/** scenario_parse - read the line. Return: 0, or -EINVAL with @err set. */
int scenario_parse(struct scenario *s, const char *text, struct error *err);

/** scenario_format - write the line. */
void scenario_format(const struct scenario *s, char text[SCENARIO_TEXT_MAX]);

/**
 * scenario_sound - can its frees be told apart? Each frees what is allocated at the start or got by
 * the thread itself, and no two overlap.
 */
bool scenario_sound(const struct scenario *s);

/** scenario_allocated - the frames allocated at the start, which frees may name; a bit per frame. */
void scenario_allocated(const struct scenario *s, uint64_t *frames);

/* What has been explored, summed up over scenarios. */
struct scenario_count {
	uint64_t scenarios, cut; /* cut: not explored to the end */
	uint64_t executions, steps, states;
	double interleavings;
	uint64_t claims;    /* crash states judged: after each step of a new state */
	uint64_t recovered; /* distinct ones of a scenario, recovered and judged */
	uint64_t again;	    /* recoveries interrupted and done again */
	uint64_t ends;
	struct crash_count crash; /* of adr */
};

struct scenario_limits {
	unsigned int preemptions;
	uint64_t max_executions; /* 0: no limit */
	uint64_t max_images;	 /* adr: per crash point */
	bool no_merge;
	const char *replay; /* a schedule, or NULL */
	bool trace;
};

/**
 * scenario_explore - explore one scenario
 * @count: added to; NULL: not wanted
 * Return: as explore_run().
 */
int scenario_explore(const struct scenario *s, const struct scenario_limits *limits,
		     struct scenario_count *count, struct explore_result *r);

#endif
