/* SPDX-License-Identifier: MIT */
/*
 * Time stamps cheap enough to take between any two calls of a back end: the time-stamp counter where
 * there is one, the monotonic clock elsewhere, and its rate measured once per run.
 */
#ifndef REPLAY_CLOCK_H
#define REPLAY_CLOCK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "base/monotonic.h"

struct stamp_clock {
	uint64_t multiplier; /* ns per tick, 32.32 fixed point */
};

/** Ticks. Not serialising: a few instructions may be reordered across it, which does not matter at
 * the scale of a call. */
static inline uint64_t clock_stamp(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
	return monotonic_ns();
#endif
}

/** Nanoseconds since 1970, by the wall clock: when a run began. */
static inline uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/** Measure the tick's length against the monotonic clock; takes about 10 ms. */
void clock_calibrate(struct stamp_clock *clock);

static inline uint64_t clock_ns(const struct stamp_clock *clock, uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * clock->multiplier >> 32);
}

/** One uncontended compare-and-swap on this machine, in ns: the unit other costs are quoted in. */
double clock_cas_ns(const struct stamp_clock *clock);

#endif
