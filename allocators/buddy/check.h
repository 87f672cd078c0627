/* SPDX-License-Identifier: MIT */
/*
 * What must hold of a zone at any time between two operations, proven the slow way. Every list is well
 * formed, sorted into the right order and type, counted right, and the lists and the cells tell the same
 * story; no two blocks that should have merged are apart.
 */
#ifndef ALLOCATORS_BUDDY_CHECK_H
#define ALLOCATORS_BUDDY_CHECK_H

#include "allocators/buddy/zone.h"

/**
 * zone_check - prove it of the free lists, the frames, and the per-CPU lists of @nr_cpus cpus
 * Return: 0, or -EUCLEAN with the first breach in @err. O(frames).
 */
int zone_check(const struct buddy_zone *z, uint32_t nr_cpus, struct error *err);

#endif
