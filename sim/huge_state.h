/* SPDX-License-Identifier: MIT */
/*
 * What is known of the memory behind each 2 MiB block of the machine: one byte a block, owned by
 * whoever made the machine's memory (sim/memory.h). Virtual machines, zeroing and energy models hang
 * on it: daemons and LAYERs write it, a back end may consult it. All bits clear means that nobody
 * cares: the block is there and may hold anything.
 *
 * Bytes are written one at a time and read without a lock. A back end must not rely on two of them,
 * or on one of them twice, to agree.
 */
#ifndef SIM_HUGE_STATE_H
#define SIM_HUGE_STATE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum huge_state {
	HUGE_INSTALLED = 1, /* memory of the host is behind it */
	HUGE_SOFT_RECLAIMED =
		2, /* its memory was taken away; the allocator may still give it out */
	HUGE_HARD_RECLAIMED = 4, /* its memory was taken away, and the allocator must not use it */
	HUGE_ZEROED = 8,	 /* wholly free, and reads as zeros */
	HUGE_OFFLINE = 16,	 /* not handed over to the machine yet */
};

/* Bits of enum huge_state. C++ and others: any atomic byte is laid out like this one. */
#ifdef __cplusplus
typedef volatile uint8_t huge_state_byte;
#else
typedef _Atomic uint8_t huge_state_byte;
#endif

/** The bits of block @block, which is pfn / 512, as they are now. */
static inline unsigned int huge_state_of(const huge_state_byte *states, uint64_t block)
{
#ifdef __cplusplus
	return __atomic_load_n(&states[block], __ATOMIC_RELAXED);
#else
	return __atomic_load_n((const uint8_t *)&states[block], __ATOMIC_RELAXED);
#endif
}

/** Set and clear bits of a block in one step. */
static inline void huge_state_change(huge_state_byte *states, uint64_t block, unsigned int clear,
				     unsigned int set)
{
#ifdef __cplusplus
	volatile uint8_t *byte = &states[block];
#else
	uint8_t *byte = (uint8_t *)&states[block];
#endif
	uint8_t old = __atomic_load_n(byte, __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(byte, &old, (uint8_t)((old & ~clear) | set), 1,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

#ifdef __cplusplus
}
#endif
#endif
