/* SPDX-License-Identifier: MIT */
/*
 * Time stamps cheap enough to take between any two calls of a back end: the time-stamp counter where it
 * can be trusted, the monotonic clock elsewhere. Which of them is decided once, before the runs of a
 * command; its rate, what a stamp takes, and its step are measured at the start of each run.
 * docs/latency.md explains what follows from them.
 */
#ifndef REPLAY_CLOCK_H
#define REPLAY_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "base/error.h"
#include "base/monotonic.h"

enum clock_source {
	CLOCK_SOURCE_UNDECIDED, /* whoever makes the world decides, as for CLOCK_WISH_AUTO */
	CLOCK_SOURCE_COUNTER,	/* the time-stamp counter */
	CLOCK_SOURCE_MONOTONIC, /* clock_gettime(CLOCK_MONOTONIC) */
	CLOCK_SOURCE_NONE,	/* of a loop that takes no stamps; never of a struct stamp_clock */
};

/* What a user may ask for. */
enum clock_wish {
	CLOCK_WISH_AUTO,
	CLOCK_WISH_COUNTER,
	CLOCK_WISH_MONOTONIC,
};

/** Names in the order of enum clock_wish, NULL-terminated: "auto", "tsc", "monotonic". */
extern const char *const clock_wish_names[];

/** "tsc", "monotonic"; "?" for the others. */
const char *clock_source_name(enum clock_source source);

#define CLOCK_WHY_MAX 160

/* Which clock, and why not the counter. */
struct clock_choice {
	enum clock_source source;
	char why[CLOCK_WHY_MAX]; /* "": the counter, or the monotonic clock as asked for */
};

/**
 * clock_choose - decide which clock runs of this process, and its children, take
 * The counter has to be invariant (it ticks at one rate in every state of the CPU) and the same on all
 * CPUs that this process may use: threads pinned to the first and each other one (of the first 17) exchange
 * stamps. Takes a few ms; up to 50 ms where the CPUs are busy: if two of them never met in that time, and
 * nothing speaks against it, the counter is trusted if the kernel takes its own time from it. The affinity of the calling thread stays as it was.
 * Return: 0, and @choice is set; -ENOTSUP: CLOCK_WISH_COUNTER, and the counter cannot be trusted; @err
 * says why.
 */
int clock_choose(enum clock_wish wish, struct clock_choice *choice, struct error *err);

struct stamp_clock {
	enum clock_source source;
	uint64_t multiplier; /* ns per tick, 32.32 fixed point */
	int64_t taken_off; /* from each interval, in 2^-32 ns: what a stamp takes, less half a ns */
	double overhead_ns; /* from one stamp to the next with nothing in between */
	double step_ns;	    /* stamps are multiples of it, more or less */
};

/** The same for a source that is known when compiling. NONE: 0, at no cost. */
static inline __attribute__((always_inline)) uint64_t clock_read(enum clock_source source)
{
	if (source == CLOCK_SOURCE_NONE)
		return 0;
#if defined(__x86_64__)
	if (source == CLOCK_SOURCE_COUNTER)
		return __rdtsc();
#elif defined(__aarch64__)
	if (source == CLOCK_SOURCE_COUNTER) {
		uint64_t ticks;

		__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
		return ticks;
	}
#endif
	return monotonic_ns();
}

/** Ticks. Not serialising: a few instructions may be reordered across it, which does not matter at
 * the scale of a call. */
static inline uint64_t clock_stamp(const struct stamp_clock *clock)
{
	return clock_read(clock->source);
}

/** Nanoseconds since 1970, by the wall clock: when a run began. */
static inline uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/**
 * clock_calibrate - measure the tick's length against the monotonic clock, what a stamp takes, and the step
 * @source: COUNTER or MONOTONIC
 * Takes about 10 ms.
 */
void clock_calibrate(struct stamp_clock *clock, enum clock_source source);

/** As they are: nothing is taken off. */
static inline uint64_t clock_ns(const struct stamp_clock *clock, uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * clock->multiplier >> 32);
}

/** What happened between two stamps that are @ticks apart took: less what a stamp takes, never below 0,
 * rounded to the nearest ns. */
static inline uint64_t clock_latency_ns(const struct stamp_clock *clock, uint64_t ticks)
{
	const __int128 ns = (__int128)((unsigned __int128)ticks * clock->multiplier) -
			    (__int128)clock->taken_off;

	return ns > 0 ? (uint64_t)(ns >> 32) : 0;
}

/** One uncontended compare-and-swap on this machine, in ns: the unit other costs are quoted in. */
double clock_cas_ns(const struct stamp_clock *clock);

/* ---- for its tests ---- */

/**
 * clock_step - the step of stamps, in ticks: all distances between them are multiples of it, within a
 * sixteenth, else it is the largest number that divides them all
 * @stamp: called many times. Return: at least 1; 0: it never moved.
 */
uint64_t clock_step(uint64_t (*stamp)(void *arg), void *arg);

/**
 * clock_exchange - are stamps of CPUs @a and @b of one clock?
 * @stamp: called with the CPU, on a thread pinned to it
 * @bound: how far apart they can be at most, in ticks
 * @limit_ns: how long to try
 * Return: 1; 0: a stamp taken after another one was smaller; -EAGAIN: a thread could not be started or
 * pinned, or the two never met.
 */
int clock_exchange(int a, int b, uint64_t (*stamp)(int cpu), uint64_t limit_ns, uint64_t *bound);

#endif
