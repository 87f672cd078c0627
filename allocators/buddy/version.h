/* SPDX-License-Identifier: MIT */
/*
 * Which rules a kernel's release follows: what changed the layout of memory between 5.10 and 6.18 are
 * three things, which can also be chosen one by one (linux-page-allocator, section 10).
 */
#ifndef ALLOCATORS_BUDDY_VERSION_H
#define ALLOCATORS_BUDDY_VERSION_H

#include "allocators/buddy/buddy.h"

extern const struct option buddy_options[];

/**
 * version_rules - the rules of a kernel
 * @release: "6.12.31-something"; "" or one that cannot be read: the newest known
 */
struct buddy_rules version_rules(const char *release);

/** The rules that the option values ask for on a trace of the environment's kernel. */
struct buddy_rules version_choose(const struct alloc_env *env);

#endif
