/* SPDX-License-Identifier: MIT */
/*
 * Every access of LLFree to memory that threads share goes through these helpers, so that one place
 * decides what an atomic step is: which memory order it gets, what a crash may separate, and where a
 * test interposes.
 *
 * The order is an argument at each call site, and the comment there says what it orders. A failed
 * compare-and-swap orders nothing: its caller either tries again, and the successful one orders, or
 * gives up and uses nothing it has read. Built with LLFREE_SEQ_CST, every access that
 * succeeds is sequentially consistent whatever it asks for; that measures what the weaker orders are
 * worth.
 */
#ifndef ALLOCATORS_LLFREE_ATOM_H
#define ALLOCATORS_LLFREE_ATOM_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The thread sanitizer does not look into assembly. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define ATOM_TELL_RELEASE(p) __tsan_release((void *)(uintptr_t)(p))
#define ATOM_TELL_ACQUIRE(p) __tsan_acquire((void *)(uintptr_t)(p))
#else
#define ATOM_TELL_RELEASE(p) ((void)(p))
#define ATOM_TELL_ACQUIRE(p) ((void)(p))
#endif

#ifdef LLFREE_SEQ_CST
#define ATOM_RELAXED memory_order_seq_cst
#define ATOM_ACQUIRE memory_order_seq_cst
#define ATOM_RELEASE memory_order_seq_cst
#define ATOM_ACQ_REL memory_order_seq_cst
#else
#define ATOM_RELAXED memory_order_relaxed
#define ATOM_ACQUIRE memory_order_acquire
#define ATOM_RELEASE memory_order_release
#define ATOM_ACQ_REL memory_order_acq_rel
#endif

/*
 * Test builds (LLFREE_HOOKS) see each access: atom_before() before it happens, which is where an
 * explorer switches threads, atom_after() once it has, which is where one counts or crashes. Each
 * access is one step. In every other build they are nothing.
 */
enum atom_access {
	ATOM_LOAD,
	ATOM_STORE,
	ATOM_CAS, /* after: whether it succeeded */
	ATOM_SWAP,
	ATOM_ADD,
	ATOM_BITS,  /* some bits set or cleared */
	ATOM_FLUSH, /* write a cache line back; complete at this thread's next ATOM_FENCE */
	ATOM_FENCE,
	ATOM_WAIT, /* nothing will change until another thread has taken a step */
};

#ifdef LLFREE_HOOKS
void atom_before(const volatile void *word, enum atom_access access);
void atom_after(const volatile void *word, enum atom_access access, bool success);

/* Faults that tests switch on, one at a time, to see whether they are found. */
enum mutant {
	MUTANT_NONE,
	MUTANT_COUNTER_AFTER_BIT,  /* get: the bit goes up before the counter goes down */
	MUTANT_COUNTER_BEFORE_BIT, /* put: the counter goes up before the bit goes down */
	MUTANT_LOST_UNDO,	   /* a run of rows that could not be taken whole is not put back */
	MUTANT_UNGUARDED_SPLIT,	   /* a huge frame is split without claiming it */
	MUTANT_FLAG_BEFORE_FILL,   /* a split drops the flag before the bits are filled */
	MUTANT_LATE_MASK,	   /* rows: the mask is published after the row has been taken */
	MUTANT_BLIND_PUT,	   /* rows: a free does not look at the mask */
	MUTANT_NO_FLUSH_PUT,	   /* adr: a free does not write its row back */
	MUTANT_NO_FLUSH_SPLIT, /* adr: the filled bits are not written back before the flag goes */
	MUTANT_NO_FLUSH_CHILD, /* adr: a free into a block another has split trusts its flush */
	MUTANT_NOTE_ONCE,      /* who notes what a tree lacks does not look again */
	MUTANT_BLIND_FREE,     /* a free does not look at the note */
	MUTANT_NOTE_UNTOLD,    /* a slot's tree is noted without the slot's knowing */
	MUTANT_COUNT
};
extern enum mutant atom_mutant;
#define MUTANT(name) (atom_mutant == MUTANT_##name)
#else
static inline void atom_before(const volatile void *word, enum atom_access access)
{
	(void)word;
	(void)access;
}

static inline void atom_after(const volatile void *word, enum atom_access access, bool success)
{
	(void)word;
	(void)access;
	(void)success;
}

#define MUTANT(name) false
#endif

/*
 * atomN_load, atomN_store: as named.
 * atomN_cas: *@p from *@expected to @desired; on failure *@expected becomes what was found.
 * atomN_swap: store @v, return what was there.
 * atomN_add: add @v (wraps), return what was there.
 * atomN_set, atomN_clear: bits of @v to 1, to 0.
 */
#define ATOM_DEFINE(bits)                                                                          \
	static inline uint##bits##_t atom##bits##_load(const _Atomic uint##bits##_t *p,            \
						       memory_order order)                         \
	{                                                                                          \
		atom_before(p, ATOM_LOAD);                                                         \
		uint##bits##_t v = atomic_load_explicit(p, order);                                 \
		atom_after(p, ATOM_LOAD, true);                                                    \
		return v;                                                                          \
	}                                                                                          \
	static inline void atom##bits##_store(_Atomic uint##bits##_t *p, uint##bits##_t v,         \
					      memory_order order)                                  \
	{                                                                                          \
		atom_before(p, ATOM_STORE);                                                        \
		atomic_store_explicit(p, v, order);                                                \
		atom_after(p, ATOM_STORE, true);                                                   \
	}                                                                                          \
	static inline bool atom##bits##_cas(_Atomic uint##bits##_t *p, uint##bits##_t *expected,   \
					    uint##bits##_t desired, memory_order order)            \
	{                                                                                          \
		atom_before(p, ATOM_CAS);                                                          \
		bool done = atomic_compare_exchange_strong_explicit(p, expected, desired, order,   \
								    memory_order_relaxed);         \
		atom_after(p, ATOM_CAS, done);                                                     \
		return done;                                                                       \
	}                                                                                          \
	static inline uint##bits##_t atom##bits##_swap(_Atomic uint##bits##_t *p,                  \
						       uint##bits##_t v, memory_order order)       \
	{                                                                                          \
		atom_before(p, ATOM_SWAP);                                                         \
		uint##bits##_t old = atomic_exchange_explicit(p, v, order);                        \
		atom_after(p, ATOM_SWAP, true);                                                    \
		return old;                                                                        \
	}                                                                                          \
	static inline uint##bits##_t atom##bits##_add(_Atomic uint##bits##_t *p, uint##bits##_t v, \
						      memory_order order)                          \
	{                                                                                          \
		atom_before(p, ATOM_ADD);                                                          \
		uint##bits##_t old = atomic_fetch_add_explicit(p, v, order);                       \
		atom_after(p, ATOM_ADD, true);                                                     \
		return old;                                                                        \
	}                                                                                          \
	static inline void atom##bits##_set(_Atomic uint##bits##_t *p, uint##bits##_t v,           \
					    memory_order order)                                    \
	{                                                                                          \
		atom_before(p, ATOM_BITS);                                                         \
		atomic_fetch_or_explicit(p, v, order);                                             \
		atom_after(p, ATOM_BITS, true);                                                    \
	}                                                                                          \
	static inline void atom##bits##_clear(_Atomic uint##bits##_t *p, uint##bits##_t v,         \
					      memory_order order)                                  \
	{                                                                                          \
		atom_before(p, ATOM_BITS);                                                         \
		atomic_fetch_and_explicit(p, (uint##bits##_t) ~v, order);                          \
		atom_after(p, ATOM_BITS, true);                                                    \
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
	atom_before(NULL, ATOM_WAIT);
#ifndef LLFREE_HOOKS
	sched_yield();
#endif
	atom_after(NULL, ATOM_WAIT, true);
}

/*
 * Two neighbouring words, aligned to 16 bytes, that can change in one step. Needs
 * ATOM_HAS_PAIRS; a compiler that would call a library for it is not asked.
 */
struct atom_pair {
	uint64_t first, second;
};

#ifdef __x86_64__
#define ATOM_HAS_PAIRS 1

/** atom_pair_cas - both words of @p from *@expected to @desired, acquire and release, as atomN_cas() */
static inline bool atom_pair_cas(_Atomic uint64_t *p, struct atom_pair *expected,
				 struct atom_pair desired)
{
	bool done;

	atom_before(p, ATOM_CAS);
	ATOM_TELL_RELEASE(p);
	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(done), "+m"(*(struct atom_pair *)(uintptr_t)p),
			   "+a"(expected->first), "+d"(expected->second)
			 : "b"(desired.first), "c"(desired.second)
			 : "memory");
	if (done)
		ATOM_TELL_ACQUIRE(p);
	atom_after(p, ATOM_CAS, done);
	return done;
}
#else
#define ATOM_HAS_PAIRS 0

static inline bool atom_pair_cas(_Atomic uint64_t *p, struct atom_pair *expected,
				 struct atom_pair desired)
{
	(void)p;
	(void)expected;
	(void)desired;
	return false;
}
#endif

/** atom_fence_acquire - no load before it is performed after one that follows it. */
static inline void atom_fence_acquire(void)
{
	/* Only the order of guesses hangs on it, and the thread sanitizer does not know fences. */
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_acquire);
#endif
}

/**
 * atom_fence_all - what the caller's last atomic step did is seen by all before anything that follows is
 * done; that step was a swap, an addition, bits, or a CAS
 */
static inline void atom_fence_all(void)
{
#if defined(__x86_64__)
	/* That step was locked, and so a fence itself. */
	atomic_signal_fence(memory_order_seq_cst);
#elif !defined(__SANITIZE_THREAD__)
	/* The thread sanitizer does not know fences. */
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/** atom64_count - add one to an event counter nobody orders by, and which is no step; wraps. */
static inline void atom64_count(_Atomic uint64_t *p)
{
	atomic_fetch_add_explicit(p, 1, memory_order_relaxed);
}

#endif
