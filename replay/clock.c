/* SPDX-License-Identifier: MIT */
#include "replay/clock.h"

#include <stdatomic.h>

#define CALIBRATE_NS 10000000
#define CAS_ROUNDS   200000

void clock_calibrate(struct stamp_clock *clock)
{
	uint64_t from_ns = monotonic_ns(), from = clock_stamp(), ns;

	do {
		ns = monotonic_ns() - from_ns;
	} while (ns < CALIBRATE_NS);
	clock->multiplier = (uint64_t)(((unsigned __int128)ns << 32) / (clock_stamp() - from));
}

double clock_cas_ns(const struct stamp_clock *clock)
{
	_Atomic uint64_t word = 0;
	uint64_t best = UINT64_MAX;

	/* The least of a few rounds: interruptions only add. */
	for (int round = 0; round < 5; round++) {
		uint64_t from = clock_stamp(), took;

		for (uint64_t i = 0; i < CAS_ROUNDS; i++) {
			uint64_t expected = i;

			atomic_compare_exchange_strong_explicit(&word, &expected, i + 1,
								memory_order_acq_rel,
								memory_order_acquire);
		}
		took = clock_stamp() - from;
		atomic_store(&word, 0);
		if (took < best)
			best = took;
	}
	return (double)best * (double)clock->multiplier / 4294967296.0 / CAS_ROUNDS;
}
