/* SPDX-License-Identifier: MIT */
/*
 * Which frames are in somebody's hands, a bit each. Whoever parks freed frames has to know what was
 * handed out: the allocator below would find out that a frame was freed twice only when it gets it.
 *
 * Thread-safety: all but held_init() and held_reset() may run at once. Blocks are told apart, so no
 * order between operations on different blocks is promised or needed.
 */
#ifndef ALLOCATORS_PERCPU_HELD_H
#define ALLOCATORS_PERCPU_HELD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/machine.h"

struct held {
	_Atomic uint64_t *word;
	pfn_t base; /* of bit 0, aligned to the largest block */
	uint64_t frames;
};

/** Bytes that @frames frames need. */
size_t held_bytes(uint64_t frames);

/** @zeroed: of held_bytes(@frames), kept; @base: aligned to the largest block */
void held_init(struct held *h, pfn_t base, uint64_t frames, void *zeroed);

/** Nobody holds anything. */
void held_reset(struct held *h);

/** Can there be a block here: in range, aligned, of an order there is? */
bool held_is_block(const struct held *h, pfn_t pfn, unsigned int order);

/** A block was handed out. */
void held_set(struct held *h, pfn_t pfn, unsigned int order);

/** A block comes back. Return: false: it is none, or not all of it was held; nothing has changed. */
bool held_clear(struct held *h, pfn_t pfn, unsigned int order);

/** Is any frame of a block (held_is_block()) held? */
bool held_any(const struct held *h, pfn_t pfn, unsigned int order);

/** Hold or count the frames of [start, end), inside the range. */
void held_set_range(struct held *h, pfn_t start, pfn_t end);
uint64_t held_count(const struct held *h, pfn_t start, pfn_t end);

#endif
