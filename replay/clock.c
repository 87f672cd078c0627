/* SPDX-License-Identifier: MIT */
#include "replay/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"

#define CALIBRATE_NS 10000000
#define CAS_ROUNDS   200000

#define OVERHEAD_ROUNDS 31  /* the median of so many, */
#define OVERHEAD_STAMPS 256 /* each the mean of so many */

#define STEP_STAMPS   4096
#define STEP_FARTHEST 16 /* steps: of a longer way there was an interruption */

const char *clock_source_name(enum clock_source source)
{
	static const char *const names[] = {"?", "tsc", "monotonic", "?"};

	return source < ARRAY_SIZE(names) ? names[source] : "?";
}

/* ---- the step ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		const uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Is @way a multiple of @step, but for a sixteenth of it? */
static bool is_multiple(uint64_t way, uint64_t step)
{
	const uint64_t off = way % step;

	return min_u64(off, step - off) <= step / 16;
}

uint64_t clock_step(uint64_t (*stamp)(void *arg), void *arg)
{
	uint64_t least = UINT64_MAX, divisor = 0, near = 0, multiples = 0, way[STEP_STAMPS];

	for (unsigned int i = 0; i < STEP_STAMPS; i++) {
		const uint64_t from = stamp(arg);

		/* Pauses of many lengths, so that a stamp's own cost is not taken for the step. */
		for (volatile unsigned int pause = i % 64; pause; pause--)
			;
		way[i] = stamp(arg) - from;
		if (way[i] && way[i] < least)
			least = way[i];
	}
	if (least == UINT64_MAX)
		return 0;
	for (unsigned int i = 0; i < STEP_STAMPS; i++) {
		if (way[i] > STEP_FARTHEST * least)
			continue;
		near++;
		multiples += is_multiple(way[i], least);
		divisor = gcd(divisor, way[i]);
	}
	/* A counter whose rate is scaled is off by a tick now and then, so that nothing divides all. */
	return multiples >= near - near / 20 ? least : divisor;
}

/* ---- calibration ---- */

static uint64_t stamp_of(void *arg)
{
	return clock_stamp(arg);
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* From one stamp to the next, in 2^-32 ns. The median: interruptions only add, and a step either way. */
static uint64_t measure_overhead(const struct stamp_clock *clock)
{
	const enum clock_source source = clock->source;
	uint64_t took[OVERHEAD_ROUNDS];

	for (unsigned int round = 0; round < OVERHEAD_ROUNDS; round++) {
		const uint64_t first = clock_read(source);
		uint64_t last = first;

		for (unsigned int i = 0; i < OVERHEAD_STAMPS; i++)
			last = clock_read(source);
		took[round] = last - first;
	}
	qsort(took, OVERHEAD_ROUNDS, sizeof(took[0]), by_size);
	return (uint64_t)((unsigned __int128)took[OVERHEAD_ROUNDS / 2] * clock->multiplier /
			  OVERHEAD_STAMPS);
}

static double ns_of(uint64_t fixed)
{
	return (double)fixed / 4294967296.0;
}

void clock_calibrate(struct stamp_clock *clock, enum clock_source source)
{
	uint64_t from_ns = monotonic_ns(), from = clock_read(source), overhead, ns;

	do {
		ns = monotonic_ns() - from_ns;
	} while (ns < CALIBRATE_NS);
	*clock = (struct stamp_clock){.source = source, .multiplier = UINT64_C(1) << 32};
	if (source == CLOCK_SOURCE_COUNTER)
		clock->multiplier =
			(uint64_t)(((unsigned __int128)ns << 32) / (clock_read(source) - from));
	overhead = measure_overhead(clock);
	clock->taken_off = (int64_t)overhead - (INT64_C(1) << 31);
	clock->overhead_ns = ns_of(overhead);
	clock->step_ns = ns_of(clock_step(stamp_of, clock) * clock->multiplier);
}

double clock_cas_ns(const struct stamp_clock *clock)
{
	_Atomic uint64_t word = 0;
	uint64_t best = UINT64_MAX;

	/* The least of a few rounds: interruptions only add. */
	for (int round = 0; round < 5; round++) {
		uint64_t from = clock_stamp(clock), took;

		for (uint64_t i = 0; i < CAS_ROUNDS; i++) {
			uint64_t expected = i;

			atomic_compare_exchange_strong_explicit(&word, &expected, i + 1,
								memory_order_acq_rel,
								memory_order_acquire);
		}
		took = clock_stamp(clock) - from;
		atomic_store(&word, 0);
		if (took < best)
			best = took;
	}
	return (double)best * (double)clock->multiplier / 4294967296.0 / CAS_ROUNDS;
}
