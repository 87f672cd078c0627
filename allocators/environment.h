/* SPDX-License-Identifier: MIT */
/*
 * The part of struct alloc_env that reads option values: base/option.h as functions a loaded back end
 * can call, and checked, since it may ask for what its table does not have.
 */
#ifndef ALLOCATORS_ENVIRONMENT_H
#define ALLOCATORS_ENVIRONMENT_H

#include "allocators/allocator.h"

/** Let @env's option functions read @options, which must outlive it. */
void environment_read_options(struct alloc_env *env, const struct option_set *options);

#endif
