/* SPDX-License-Identifier: MIT */
/*
 * The smallest back end that several threads may use at once, a bit per frame, for tests of
 * concurrency to have something that is right beyond doubt, and the same with known flaws for them to
 * catch. Not for memory of any size: every search begins at the first word.
 */
#ifndef TESTS_ALLOCATORS_CONC_BITMAP_H
#define TESTS_ALLOCATORS_CONC_BITMAP_H

#include "allocators/allocator.h"

/*
 * Its option `flaw`: "none"; "get", "put": bits are changed by load and store instead of compare and
 * swap, and the first threads to do so wait for each other in between, so that the damage is certain;
 * "leak": every 1000th free is accepted and dropped; "forged": every tenth free of a free block is
 * accepted; "relaxed": nothing orders a free before the allocation that gets the frame, which only the
 * thread sanitizer can tell.
 */
extern const struct allocator_ops conc_bitmap_ops;

#endif
