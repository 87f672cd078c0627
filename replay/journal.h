/* SPDX-License-Identifier: MIT */
/*
 * What a back end has told the engine so far, kept where the end of the process does not reach
 * (replay/kept.h): where each live block begins, and what is being asked for right now. The engine writes
 * it around each call, so that a process killed at any instant leaves every block that had been returned
 * in the journal, or as the one thing under way; and none that had been given back.
 *
 * Plain stores in this order are enough: a kill takes away a process between two instructions, and the
 * host keeps all it had stored before. Against a crash of the host, or a power failure, they do nothing.
 *
 * Written by one thread. Internal to replay/.
 */
#ifndef REPLAY_JOURNAL_H
#define REPLAY_JOURNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "sim/machine.h"

/* A frame's byte: order + 1 of the live block that begins there, 0 if none does, and */
#define JOURNAL_HEAD	0x0fU
#define JOURNAL_ONLINE	0x10U /* absent from the machine, has come since */
#define JOURNAL_OFFLINE 0x20U /* of the machine, has gone since */

enum journal_intent {
	INTENT_NONE,
	INTENT_ALLOC,	/* of an order, anywhere */
	INTENT_FREE,	/* of the block at a pfn */
	INTENT_SPLIT,	/* no call: the block at a pfn is being cut into parts in here */
	INTENT_PREFILL, /* the snapshot is being taken over: all of memory */
	INTENT_ONLINE,	/* of the frames from a pfn to `range_end` */
	INTENT_OFFLINE,
	INTENT_KINDS,
};

/* In the file. */
struct journal_words {
	uint64_t intent; /* journal_word() */
	uint64_t range_end;
	uint64_t event; /* number of the one that is played, or was last */
};

struct journal {
	struct journal_words *words;
	uint8_t *of; /* per frame of the machine */
	pfn_t start; /* of the machine */
};

static inline uint64_t journal_word(enum journal_intent kind, unsigned int order, pfn_t pfn)
{
	return pfn << 16 | (uint64_t)order << 8 | (uint64_t)kind;
}

/* The compiler keeps stores on their side of it. */
static inline void journal_order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/** From here to journal_end() that is under way. */
static inline void journal_begin(const struct journal *j, enum journal_intent kind,
				 unsigned int order, pfn_t pfn)
{
	journal_order();
	*(volatile uint64_t *)&j->words->intent = journal_word(kind, order, pfn);
	journal_order();
}

static inline void journal_end(const struct journal *j)
{
	journal_begin(j, INTENT_NONE, 0, 0);
}

/** A block begins at @pfn, which lies in the machine. */
static inline void journal_put(const struct journal *j, pfn_t pfn, unsigned int order)
{
	uint8_t *at = &j->of[pfn - j->start];

	*at = (uint8_t)((*at & ~JOURNAL_HEAD) | (order + 1));
}

/** None does any more. */
static inline void journal_drop(const struct journal *j, pfn_t pfn)
{
	j->of[pfn - j->start] &= (uint8_t)~JOURNAL_HEAD;
}

#endif
