/* SPDX-License-Identifier: MIT */
/*
 * A model checker for code whose shared accesses all go through allocators/llfree/atom.h (built with
 * LLFREE_HOOKS): it runs two to four logical threads as coroutines on one host thread, switches only
 * at those accesses, and tries every order of them, depth first.
 *
 * It is stateless in that it reaches each state by running from the start, and exact in that it
 * explores all schedules, or all with at most so many preemptions (a switch away from a thread that
 * could have continued; leaving one that waits or has finished is free). With @merge it does not
 * continue from a state it has been in: the same bytes of all shared memory, and the same values
 * read by each thread, hence, threads being deterministic, the same future. Schedules are then
 * counted without being run: `interleavings` is the number that a search without merging would have
 * executed. States are told apart by a 64-bit hash.
 *
 * A thread that waits (ATOM_WAIT) goes on when another has written since it last waited; or if nobody
 * can go on otherwise, since waiting need not be for the latest news; a deadlock is when a hundred
 * such turns of each have led to nothing.
 *
 * What it cannot show: accesses are sequentially consistent, one after another, so reorderings that
 * weaker memory orders permit are not explored.
 *
 * The hooks of atom.h are plain functions, so there is one explorer per process at a time.
 */
#ifndef TESTS_ALLOCATORS_LLFREE_EXPLORER_EXPLORE_H
#define TESTS_ALLOCATORS_LLFREE_EXPLORER_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/llfree/atom.h"

#define EXPLORE_THREADS_MAX 4U
#define EXPLORE_UNBOUNDED   0xffffU

/* A piece of shared memory: what a state consists of, and what names its words in a trace. */
struct explore_memory {
	const char *name;
	void *start;
	size_t bytes;
	unsigned int word_bytes; /* of the widest access to it: 1..16 */
};

struct explore {
	unsigned int nr_threads;
	unsigned int preemptions; /* at most; or EXPLORE_UNBOUNDED */
	bool merge;
	uint32_t max_steps;	 /* of one execution: more is a livelock; 0: 100000 */
	uint64_t max_executions; /* stop after so many, and say so; 0: never */

	/* Every word that threads share, and that reset() restores. */
	const struct explore_memory *memory;
	size_t nr_memory;

	void *arg; /* of the functions below; all but reset and run may be NULL */
	/* The initial state, before each execution. */
	void (*reset)(void *arg);
	/* What a thread does; runs in its coroutine. */
	void (*run)(void *arg, unsigned int thread);
	/* Round each access, in the thread's coroutine; must not switch or access shared memory
	   through atom.h. */
	void (*before)(void *arg, unsigned int thread);
	void (*after)(void *arg, unsigned int thread, const volatile void *word,
		      enum atom_access access, bool success);
	/* A state not seen before (without @merge: each): the initial one, and after each step. */
	void (*state)(void *arg);
	/* All threads have finished. */
	void (*end)(void *arg);
	/* A hash of whatever state() and end() judge by that neither shared memory nor what the
	   threads have read implies, such as which operation came first. */
	uint64_t (*history)(void *arg);

	/* Run this one schedule, as found in explore_result. NULL: explore. */
	const char *replay;
	bool trace; /* print each step */
};

struct explore_result {
	uint64_t executions;  /* runs from the start */
	uint64_t steps;	      /* accesses in all of them */
	uint64_t states;      /* distinct ones; without merging 0 */
	uint64_t merged;      /* executions that ended in a state already explored */
	double interleavings; /* schedules covered */
	uint32_t longest;     /* execution, in steps */
	bool cut;	      /* max_executions was reached: not all were explored */

	bool failed;
	char check[32]; /* which one: the first argument of explore_fail(), or "deadlock" */
	char text[400];
	char schedule[1200]; /* the way there: "0*5 1*2": thread 0 takes five steps, then 1 two */
	unsigned int preemptions; /* in it */
};

/**
 * explore_run - explore until everything has been seen or something has failed
 * Return: 0: nothing failed; -EUCLEAN: @r says what; -ENOMEM; -EINVAL: @e->replay does not fit.
 */
int explore_run(const struct explore *e, struct explore_result *r);

/**
 * explore_fail - the execution under way has broken a promise; only the first call of one counts
 * @check: short name of the promise
 * For any of the callbacks. Returns, so that callbacks need not cope with half-done work.
 */
void explore_fail(const char *check, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * explore_watch - from inside a callback: call @function after each write that the callback makes
 * through atom.h, though not for those it makes itself; NULL: no longer
 */
void explore_watch(void (*function)(void *), void *arg);

/** explore_failed - has explore_fail() been called in this execution? */
bool explore_failed(void);

#endif
