/* SPDX-License-Identifier: MIT */
/*
 * Keeping to a recording: what must the clone's state be, given what the kernel did? Two variants: with the
 * recorded refills and drains (the facts REFILL, DRAIN and FALLBACK are told), where only per-CPU hits and
 * the order of free lists are left to predict (follow_told.h); and with allocations and frees alone, where
 * refills and drains are the clone's own (follow_alone.h). predict.h tells what would be handed out next.
 *
 * Every rule is online: it learns from what has happened, after it was asked. What a fact proves about
 * the past is repaired in the state (repair.h).
 *
 * Sources: fidelity.md, sections 4 and 6. Single-threaded.
 */
#ifndef ALLOCATORS_BUDDY_FOLLOW_H
#define ALLOCATORS_BUDDY_FOLLOW_H

#include "allocators/buddy/buddy.h"

/**
 * follow_correct - what a snapshot says of free and allocated frames goes before what was concluded
 * Lists keep their order. Parked frames are left where they are: the snapshot knows less about them.
 */
void follow_correct(struct allocator *a, const struct frame_map *map);

/** allocator_ops.observe */
int buddy_observe(struct allocator *a, const struct kernel_fact *fact);

#endif
