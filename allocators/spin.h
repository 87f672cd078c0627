/* SPDX-License-Identifier: MIT */
/*
 * A spinning lock, as the kernel's around its free lists: threads that contend for it fight over its
 * cache line. User space may be preempted while it holds one, so a waiter yields after a while.
 */
#ifndef ALLOCATORS_SPIN_H
#define ALLOCATORS_SPIN_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SPIN_TRIES 200

struct spin {
	_Atomic unsigned int held;
};

/** Take the lock if it is free. Return: true: it is the caller's. */
static inline bool spin_trylock(struct spin *s)
{
	return atomic_load_explicit(&s->held, memory_order_relaxed) == 0 &&
	       atomic_exchange_explicit(&s->held, 1, memory_order_acquire) == 0;
}

static inline void spin_lock(struct spin *s)
{
	unsigned int tries = 0;

	while (!spin_trylock(s)) {
		if (++tries % SPIN_TRIES == 0)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
}

static inline void spin_unlock(struct spin *s)
{
	atomic_store_explicit(&s->held, 0, memory_order_release);
}

#endif
