/* SPDX-License-Identifier: MIT */
/*
 * Writing cache lines back, for machines on which a crash loses what the caches hold (persist=adr:
 * only the memory controller's queues are in the persistence domain). With persist=eadr, and for a
 * process that is killed while its memory lives on, a store is persistent once it is visible, and
 * nothing here is called.
 *
 * What has to be written back before an operation returns: the rows, masks and huge flags it has
 * changed, undone changes included, since recovery counts the free frames afresh and believes no
 * counter. Beyond that:
 * - The bits of a huge frame that is being split must be persistent before its flag can go.
 * - The bits a free has cleared must be persistent before a counter offers them.
 * - A free also writes back its block's entry, for it may rely on a split whose author has not come
 *   to that yet. A magazine does so once for all frees into its row.
 * A line is taken to be written back whole, so that a row and its mask are never torn.
 */
#ifndef ALLOCATORS_LLFREE_PERSIST_H
#define ALLOCATORS_LLFREE_PERSIST_H

#include "allocators/llfree/atom.h"

#if defined(__x86_64__) && !defined(LLFREE_HOOKS)
#include <cpuid.h>
#endif

#define PERSIST_LINE 64U

/* How to write a line back on this cpu. */
enum persist {
	PERSIST_EADR, /* no need to */
	PERSIST_CLWB,
	PERSIST_CLFLUSHOPT,
	PERSIST_NONE, /* cannot be done here */
};

/** persist_adr - the instruction this cpu has for it, or PERSIST_NONE. */
static inline enum persist persist_adr(void)
{
#ifdef LLFREE_HOOKS
	return PERSIST_CLWB;
#elif defined(__x86_64__)
	unsigned int a, b = 0, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return PERSIST_NONE;
	if (b & 1U << 24)
		return PERSIST_CLWB;
	if (b & 1U << 23)
		return PERSIST_CLFLUSHOPT;
	return PERSIST_NONE;
#else
	return PERSIST_NONE;
#endif
}

/** persist_flush - begin to write the line of @word back; it is done after persist_fence(). */
static inline void persist_flush(enum persist how, const volatile void *word)
{
	if (__builtin_expect(how == PERSIST_EADR, 1))
		return;
	atom_before(word, ATOM_FLUSH);
#if defined(__x86_64__) && !defined(LLFREE_HOOKS)
	volatile char *line = (volatile char *)(uintptr_t)word;

	if (how == PERSIST_CLWB)
		__asm__ volatile("clwb %0" : "+m"(*line)::"memory");
	else
		__asm__ volatile("clflushopt %0" : "+m"(*line)::"memory");
#endif
	atom_after(word, ATOM_FLUSH, true);
}

/** persist_fence - every line this thread has flushed is persistent from here on. */
static inline void persist_fence(enum persist how)
{
	if (__builtin_expect(how == PERSIST_EADR, 1))
		return;
	atom_before(NULL, ATOM_FENCE);
#if defined(__x86_64__) && !defined(LLFREE_HOOKS)
	__asm__ volatile("sfence" ::: "memory");
#endif
	atom_after(NULL, ATOM_FENCE, true);
}

#endif
