/* SPDX-License-Identifier: MIT */
/*
 * Random numbers of the property tests: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom
 * number generators", 2014). A test prints the seed when it fails; QUIRE_SEED=N repeats it.
 */
#ifndef TESTS_BASE_RANDOM_H
#define TESTS_BASE_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

struct random {
	uint64_t seed, state;
};

static inline struct random random_begin(uint64_t seed)
{
	const char *other = getenv("QUIRE_SEED");

	if (other)
		seed = strtoull(other, NULL, 0);
	return (struct random){.seed = seed, .state = seed};
}

static inline uint64_t random_u64(struct random *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/** 0..n-1; n > 0. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
	return random_u64(r) % n;
}

/** 0 <= x < 1. */
static inline double random_unit(struct random *r)
{
	return (double)(random_u64(r) >> 11) * 0x1p-53;
}

#endif
