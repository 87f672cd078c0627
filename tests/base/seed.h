/* SPDX-License-Identifier: MIT */
/*
 * Random numbers of the property tests: base/random.h with a seed that can be chosen from outside. A
 * test prints the seed when it fails; QUIRE_SEED=N repeats it.
 */
#ifndef TESTS_BASE_SEED_H
#define TESTS_BASE_SEED_H

#include <stdint.h>
#include <stdlib.h>

#include "base/random.h"

/** The seed to begin with: QUIRE_SEED=N, or @usual. */
static inline uint64_t seed_or(uint64_t usual)
{
	const char *other = getenv("QUIRE_SEED");

	return other ? strtoull(other, NULL, 0) : usual;
}

static inline struct random random_begin(uint64_t usual)
{
	struct random r;

	random_seed(&r, seed_or(usual), 0);
	return r;
}

/** 0 <= x < 1. */
static inline double random_unit(struct random *r)
{
	return (double)(random_u64(r) >> 11) * 0x1p-53;
}

#endif
