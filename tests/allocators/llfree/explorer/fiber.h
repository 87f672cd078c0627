/* SPDX-License-Identifier: MIT */
/*
 * Coroutines for the explorer, which switches at every access to shared memory: own stacks, and a
 * switch that costs a few instructions (x86-64, aarch64; elsewhere that of ucontext). The address
 * sanitizer is told of each switch.
 */
#ifndef TESTS_ALLOCATORS_LLFREE_EXPLORER_FIBER_H
#define TESTS_ALLOCATORS_LLFREE_EXPLORER_FIBER_H

#include <stddef.h>

struct fiber;

/** fiber_create - a coroutine with a stack of its own, with a guard page below. NULL: no memory. */
struct fiber *fiber_create(void);
void fiber_destroy(struct fiber *f);

/**
 * fiber_start - (re)start a coroutine at the top of its stack; what it was in the midst of is
 * forgotten
 * @body: runs at the first fiber_enter(); it must end in fiber_leave(), never return
 */
void fiber_start(struct fiber *f, void (*body)(void *), void *arg);

/** fiber_enter - from the host stack: run the coroutine until it leaves. */
void fiber_enter(struct fiber *f);

/** fiber_leave - from inside the running coroutine: back to the host stack, until entered again. */
void fiber_leave(struct fiber *f);

#endif
