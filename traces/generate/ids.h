/* SPDX-License-Identifier: MIT */
/*
 * Names for the objects of a generated trace (`identity: virtual`): numbers that look like frames, so
 * that a trace and its readers need no second way to name an object. An id is aligned to its block's
 * size, and no two living blocks overlap. Ids given back are taken again last-in first-out, per order:
 * so a trace is as compact as a kernel's, and its readers' maps stay small.
 */
#ifndef TRACES_GENERATE_IDS_H
#define TRACES_GENERATE_IDS_H

#include <stdint.h>

#include "sim/machine.h"

/* What a replay can follow: as many ids as the largest machine has frames (16 TiB). */
#define IDS_END (UINT64_C(1) << 32)

struct ids_of_order {
	uint64_t next, end; /* of the piece new ids are cut from */
	uint32_t *given;    /* given back, as multiples of the block's size */
	uint64_t nr_given, room;
};

/* All zero: none taken. */
struct ids {
	uint64_t next; /* first id that belongs to no order yet */
	struct ids_of_order order[NR_ORDERS];
};

/**
 * ids_take - a name for a block of 2^@order frames
 * While nothing is given back and only one order is asked for, they are 0, 2^order, 2 * 2^order, ...
 * Return: 0; -ENOSPC: all are taken.
 */
int ids_take(struct ids *ids, unsigned int order, uint64_t *id);

/** The block has died. Return: 0; -ENOMEM: then its id is not used again. */
int ids_give(struct ids *ids, unsigned int order, uint64_t id);

/** Forget all. */
void ids_release(struct ids *ids);

#endif
