/* SPDX-License-Identifier: MIT */
/*
 * For back ends that cannot free a part of a block: blocks of which the trace has freed some frames.
 * The back end gets the block back when its last part is freed; until then all of it stays held.
 */
#ifndef REPLAY_PARTS_H
#define REPLAY_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/machine.h"

struct part_block {
	pfn_t pfn; /* head, as placed; PFN_NONE: empty bucket */
	uint32_t remaining;
	uint8_t order;
	bool used;
};

struct parts {
	struct part_block *block; /* open addressing, linear probing */
	uint32_t n, used;	  /* buckets (a power of two), of them occupied */
};

/**
 * parts_add - begin to follow the block of 2^@order frames at @pfn
 * Return: 0; -ENOMEM; -EBUSY: it overlaps one that is followed, which a sound back end cannot cause.
 */
int parts_add(struct parts *parts, pfn_t pfn, unsigned int order);

/**
 * parts_free - frames of a followed block are freed
 * @pfn: any frame of it, as placed
 * @whole: if true is returned, the block, which is no longer followed
 * Return: true if nothing of it remains.
 */
bool parts_free(struct parts *parts, pfn_t pfn, uint32_t frames, struct part_block *whole);

/** Is the block of 2^@order frames at @pfn followed? */
bool parts_follow(const struct parts *parts, pfn_t pfn, unsigned int order);

/** Does it overlap a followed block other than itself? */
bool parts_overlap(const struct parts *parts, pfn_t pfn, unsigned int order);

/** The block at @from, if it is followed, has moved to @to. */
void parts_move(struct parts *parts, pfn_t from, pfn_t to, unsigned int order);

void parts_destroy(struct parts *parts);

#endif
