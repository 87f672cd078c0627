/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include "base/bits.h"

/* SplitMix64, which spreads a seed over the state. */
static uint64_t spread(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void random_seed(struct random *random, uint64_t seed, uint64_t stream)
{
	uint64_t state = seed;

	state = spread(&state) ^ stream;
	for (size_t i = 0; i < ARRAY_SIZE(random->s); i++)
		random->s[i] = spread(&state);
}

static uint64_t rotate(uint64_t v, unsigned int by)
{
	return v << by | v >> (64 - by);
}

uint64_t random_u64(struct random *random)
{
	uint64_t *s = random->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

uint64_t random_below(struct random *random, uint64_t n)
{
	/* Lemire, "Fast random integer generation in an interval", 2019. */
	unsigned __int128 product = (unsigned __int128)random_u64(random) * n;

	if ((uint64_t)product < n) {
		uint64_t biased = -n % n;

		while ((uint64_t)product < biased)
			product = (unsigned __int128)random_u64(random) * n;
	}
	return (uint64_t)(product >> 64);
}

void random_shuffle(struct random *random, uint64_t *values, uint64_t n)
{
	for (; n > 1; n--) {
		uint64_t i = random_below(random, n), last = values[n - 1];

		values[n - 1] = values[i];
		values[i] = last;
	}
}
