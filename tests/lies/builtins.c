/* SPDX-License-Identifier: MIT */
/* The back ends of the program that has a liar among them. */
#include "allocators/registry.h"

extern const struct allocator_ops liar_ops, firstfit_ops, nextfit_ops;

const struct allocator_ops *const allocator_builtins[] = {&firstfit_ops, &liar_ops, &nextfit_ops,
							  NULL};
