/* SPDX-License-Identifier: MIT */
/*
 * Every atomic access of LLFree goes through these helpers, so that one place decides what an
 * atomic step is: which memory order it gets, and where a test may interpose.
 *
 * The order is an argument at each call site, and the comment there says what it orders. A failed
 * compare-and-swap orders nothing: its caller either tries again, and the successful one orders, or
 * gives up and uses nothing it has read.
 */
#ifndef ALLOCATORS_LLFREE_ATOM_H
#define ALLOCATORS_LLFREE_ATOM_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ATOM_RELAXED memory_order_relaxed
#define ATOM_ACQUIRE memory_order_acquire
#define ATOM_RELEASE memory_order_release
#define ATOM_ACQ_REL memory_order_acq_rel

/*
 * atomN_load, atomN_store: as named.
 * atomN_cas: *@p from *@expected to @desired; on failure *@expected becomes what was found.
 * atomN_swap: store @v, return what was there.
 */
#define ATOM_DEFINE(bits)                                                                          \
	static inline uint##bits##_t atom##bits##_load(const _Atomic uint##bits##_t *p,            \
						       memory_order order)                         \
	{                                                                                          \
		return atomic_load_explicit(p, order);                                             \
	}                                                                                          \
	static inline void atom##bits##_store(_Atomic uint##bits##_t *p, uint##bits##_t v,         \
					      memory_order order)                                  \
	{                                                                                          \
		atomic_store_explicit(p, v, order);                                                \
	}                                                                                          \
	static inline bool atom##bits##_cas(_Atomic uint##bits##_t *p, uint##bits##_t *expected,   \
					    uint##bits##_t desired, memory_order order)            \
	{                                                                                          \
		return atomic_compare_exchange_strong_explicit(p, expected, desired, order,        \
							       memory_order_relaxed);              \
	}                                                                                          \
	static inline uint##bits##_t atom##bits##_swap(_Atomic uint##bits##_t *p,                  \
						       uint##bits##_t v, memory_order order)       \
	{                                                                                          \
		return atomic_exchange_explicit(p, v, order);                                      \
	}

ATOM_DEFINE(16)
ATOM_DEFINE(32)
ATOM_DEFINE(64)

/**
 * atom_wait - one turn of a loop that waits for another thread's step
 * It yields the host cpu, since the other may have been preempted.
 */
static inline void atom_wait(void)
{
	sched_yield();
}

/** atom64_count - add one to an event counter nobody orders by; wraps. */
static inline void atom64_count(_Atomic uint64_t *p)
{
	atomic_fetch_add_explicit(p, 1, memory_order_relaxed);
}

#endif
