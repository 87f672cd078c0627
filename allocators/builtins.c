/* SPDX-License-Identifier: MIT */
/*
 * Which back ends are built in, and nothing else: a program that brings a list of its own leaves this object
 * out.
 */
#include "allocators/registry.h"

extern const struct allocator_ops recorded_ops, buddy_ops, llfree_ops, percpu_ops, firstfit_ops,
	nextfit_ops, null_ops;

const struct allocator_ops *const allocator_builtins[] = {
	&recorded_ops, &buddy_ops,   &llfree_ops, &percpu_ops,
	&firstfit_ops, &nextfit_ops, &null_ops,	  NULL,
};
