/* SPDX-License-Identifier: MIT */
/*
 * Another order of the start lists: what a snapshot leaves open is drawn from a seed, so that it can be
 * told how much of a result hangs on it.
 */
#ifndef ALLOCATORS_BUDDY_SHUFFLE_H
#define ALLOCATORS_BUDDY_SHUFFLE_H

#include "allocators/buddy/zone.h"

/** Put every free list of a zone into an order drawn from @seed. O(n log n), no memory. */
void zone_shuffle_lists(struct buddy_zone *z, uint64_t seed);

/**
 * zone_shuffle_percpu - the same for the lists of every CPU; which CPU holds which block stays
 * Return: 0; -ENOMEM: some lists are as they were.
 */
int zone_shuffle_percpu(struct buddy_zone *z, uint32_t nr_cpus, uint64_t seed);

#endif
