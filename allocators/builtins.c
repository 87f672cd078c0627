/* SPDX-License-Identifier: MIT */
/*
 * Which back ends are built in, and nothing else: a program that brings a list of its own leaves this object
 * out.
 */
#include "allocators/registry.h"

extern const struct allocator_ops recorded_ops, buddy_ops, llfree_ops, percpu_ops, jemalloc_ops,
	firstfit_ops, nextfit_ops, null_ops;

const struct allocator_ops *const allocator_builtins[] = {
	&recorded_ops, &buddy_ops,   &llfree_ops, &percpu_ops,
#ifdef HAVE_JEMALLOC /* the library was there to build it from */
	&jemalloc_ops,
#endif
	&firstfit_ops, &nextfit_ops, &null_ops,	  NULL,
};
