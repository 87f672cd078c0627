/* SPDX-License-Identifier: MIT */
/*
 * Real memory in a benchmark: what the back end has handed out is used, and what that takes is timed apart
 * from what the back end takes. Private to replay/bench/.
 *
 * Any number of threads may use blocks at once, each through a struct toucher of its own.
 */
#ifndef REPLAY_BENCH_TOUCH_H
#define REPLAY_BENCH_TOUCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "replay/tell.h"
#include "replay/touching.h"
#include "replay/world.h"

/* What all threads share. */
struct bench_touch {
	enum touching touching;
	unsigned int order; /* of all blocks */
	struct world *world;
	/* A block is used wholly or not at all, so each has one bit: was it ever? */
	_Atomic uint64_t *seen;
	_Atomic uint64_t new_blocks;
	/* 2 MiB blocks that the host has given memory for; what is not yet there is got under the lock. */
	_Atomic uint8_t *prepared;
	pthread_mutex_t lock;
	bool has_lock;
	uint64_t faults; /* of the process, when bench_touch_begin() was called */
};

/* What one thread has used. */
struct toucher {
	struct bench_touch *touch;
	struct histogram times; /* ns each, the time stamps' own cost taken off */
	uint64_t ticks;		/* of those that were timed, the cost not taken off */
	uint64_t blocks;	/* cleared, timed or not */
	int failed;		/* the host has no more memory: nothing is touched any more */
	struct error why;
};

/**
 * bench_touch_create - for blocks of 2^@order frames of a world whose memory is real
 * @touching: with TOUCHING_NONE nothing is made, and nothing else here but bench_touch_tell() may be called
 * Released also after an error: bench_touch_destroy(). Return: 0 or -ENOMEM.
 */
int bench_touch_create(struct bench_touch *touch, enum touching touching, unsigned int order,
		       struct world *world, struct error *err);
void bench_touch_destroy(struct bench_touch *touch); /* of a zeroed one, too */

/** From here on page faults count. */
void bench_touch_begin(struct bench_touch *touch);

/** Return: a toucher of @touch, nothing used yet; free(); NULL: no memory. */
struct toucher *toucher_create(struct bench_touch *touch);

/**
 * toucher_use - use a block that was handed out, as its owner would, and keep what that took
 * A block outside the machine is left alone: the oracle tells of it. With TOUCHING_FIRST only a block that
 * nobody has used before. Memory is got from the host before the time is taken.
 * If the host has no more, @t->failed is set and @t->why tells.
 */
void toucher_use(struct toucher *t, pfn_t pfn);

/** What was timed so far does not count: it was to warm up. */
void toucher_forget_times(struct toucher *t);

/**
 * bench_touch_tell - touch_ns and its percentiles over @n touchers, and what real memory there was
 * How many different frames were used is exact with one thread alone: with more it is not told.
 * Return: 0; -ENOMEM; or the sink's.
 */
int bench_touch_tell(const struct bench_touch *touch, struct toucher *const *touchers, size_t n,
		     struct tell *tell);

#endif
