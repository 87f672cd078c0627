/* SPDX-License-Identifier: MIT */
/*
 * Back ends that break one rule each, and keep all others: what the conformance suite is tested on, so that
 * none of its checks passes vacuously. They are firstfit with a function or two in between.
 */
#ifndef TESTS_ALLOCATORS_LIARS_H
#define TESTS_ALLOCATORS_LIARS_H

#include <stdbool.h>

#include "allocators/registry.h"

/* Exit code of a program that has caught one. */
#define LIAR_CAUGHT 7

/**
 * liar_spec_parse - allocator_spec_parse(), to which "lie:NAME" is known, too
 * @lies: whether it is one of these
 */
int liar_spec_parse(const char *text, struct allocator_spec **spec, bool *lies, struct error *err);

/** Print "NAME\tRULE" for each. */
void liars_list(void);

#endif
