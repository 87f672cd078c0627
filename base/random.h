/* SPDX-License-Identifier: MIT */
/*
 * The one generator of random numbers, so that "the same seed gives the same bits" is promised and
 * tested in one place: xoshiro256** (Blackman, Vigna, "Scrambled linear pseudorandom number
 * generators", 2021), its state filled by SplitMix64 (Steele, Lea, Flood, "Fast splittable
 * pseudorandom number generators", 2014). Sequences are the same on every machine, and stay what they
 * are: exact metrics depend on them. Not for secrets.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

/* Owned by its user; copying it forks the sequence. */
struct random {
	uint64_t s[4];
};

/** Start a sequence. @stream: different streams of one seed are independent of each other. */
void random_seed(struct random *random, uint64_t seed, uint64_t stream);

/** All 64 bits even. */
uint64_t random_u64(struct random *random);

/** Evenly from 0..@n-1, exactly so for any n; n > 0. */
uint64_t random_below(struct random *random, uint64_t n);

/** Put @n values (frame numbers, say) into a random order, all orders alike (Fisher, Yates). */
void random_shuffle(struct random *random, uint64_t *values, uint64_t n);

#endif
