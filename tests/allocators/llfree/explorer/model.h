/* SPDX-License-Identifier: MIT */
/*
 * What a caller of LLFree may rely on, as a sequential model of frames: which are held, which are
 * being freed, which operations are in flight. It judges each returned result, what a crash left,
 * and the end of an execution; a breach goes to explore_fail().
 *
 * An operation is in flight from its first access to shared memory until it returns. The promises:
 *
 * double allocation: a returned block is aligned, exists, and overlaps no other held one.
 * refused free: freeing a held block (or any aligned part of one) succeeds.
 * double free: freeing what is not held is refused; of several that free one block at once, one
 *	succeeds. (For blocks of one word: orders 0 to 6, and 9.)
 * refused: a get fails only if at some moment while it ran, there were no more free blocks of its
 *	order than the other operations then in flight could be keeping from it. A get at a frame
 *	fails only if at some moment a part of the place was taken, or another operation in flight
 *	could be keeping frames from it.
 * crash: see model_crash().
 * end: with nothing in flight, exactly the held frames are allocated.
 */
#ifndef TESTS_ALLOCATORS_LLFREE_EXPLORER_MODEL_H
#define TESTS_ALLOCATORS_LLFREE_EXPLORER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/allocators/llfree/explorer/explore.h"

#define MODEL_WORDS_MAX	 64U /* of 64 frames */
#define MODEL_EVENTS_MAX 64U
#define MODEL_NONE	 UINT64_MAX

enum op_kind {
	OP_GET,
	OP_GET_AT,
	OP_PUT,
	OP_PUT_FREE, /* of what is free: a mistake of the caller's, which must be refused */
	OP_DRAIN
};

struct model_op {
	enum op_kind kind;
	unsigned int order;
	uint64_t frame; /* not of a get */
	bool in_flight;
	bool live;	/* put: the frames were held when it began, and are its own to free */
	bool settled;	/* put: another one that raced for the block has freed it */
	bool racing;	/* put: another one races for the same block */
	bool overtaken; /* put: the whole block has been got again already */
	uint64_t again[MODEL_WORDS_MAX];
	uint32_t regot;	    /* put: how many of its frames have been */
	unsigned int since; /* index of the event of its beginning */
	uint64_t history;   /* a hash of the events since */
};

/* An operation has begun or returned: what is the case from then on. */
struct model_event {
	uint64_t taken[MODEL_WORDS_MAX]; /* held or being freed */
	bool gets;			 /* some are in flight */
	/* Free frames that the thread's operation may be keeping from the others: as many as it gets;
	   or as many of those that it frees as have been got again before it has counted them. */
	uint32_t keeps[EXPLORE_THREADS_MAX];
};

struct model {
	unsigned int nr_words, nr_threads;
	uint64_t exists[MODEL_WORDS_MAX];
	uint64_t held[MODEL_WORDS_MAX]; /* and not being freed */
	struct model_op ops[EXPLORE_THREADS_MAX];
	bool undefined; /* a mistaken free has hit a live block: nothing is promised any more */
	uint64_t claim; /* a hash of what model_crash() judges by */
	unsigned int nr_events;
	struct model_event events[MODEL_EVENTS_MAX];
};

/** model_begin - @thread takes the first step of an operation */
void model_begin(struct model *m, unsigned int thread, enum op_kind kind, unsigned int order,
		 uint64_t frame);

/**
 * model_return - the operation has returned
 * @frame: of a get: the block, or MODEL_NONE; else ignored
 * @ok: of the others: whether they succeeded
 */
void model_return(struct model *m, unsigned int thread, uint64_t frame, bool ok);

/**
 * model_crash - judge what has been recovered after a crash at this moment
 * @allocated: a bit per frame; those that do not exist count as allocated
 *
 * Every held frame is allocated. Every other is free, but for those of a block that an operation
 * in flight frees, and one aligned block (or a part) for each get in flight. So the number of
 * allocated frames differs from what it was before the operations in flight by at most the sum of
 * their sizes, which is asserted, too.
 */
void model_crash(const struct model *m, const uint64_t *allocated);

/** model_end - judge the allocated frames when nothing is in flight. */
void model_end(const struct model *m, const uint64_t *allocated);

/** model_history - what model_return() will judge by, as a hash. */
uint64_t model_history(const struct model *m);

/** model_is - are all of 2^@order frames in the set, or none? */
bool model_is(const uint64_t *set, uint64_t frame, unsigned int order, bool in);

/** model_set - add 2^@order frames to a set or take them out. */
void model_set(uint64_t *set, uint64_t frame, unsigned int order, bool in);

#endif
