/* SPDX-License-Identifier: MIT */
/*
 * An instance from nothing: zones, the order in which requests try them, per-CPU lists.
 */
#ifndef ALLOCATORS_BUDDY_CREATE_H
#define ALLOCATORS_BUDDY_CREATE_H

#include "allocators/buddy/buddy.h"

/** allocator_ops.create */
int buddy_create(const struct alloc_env *env, struct allocator **a);
/** allocator_ops.destroy */
void buddy_destroy(struct allocator *a);

#endif
