/* SPDX-License-Identifier: MIT */
/*
 * A rare mark on some of very many things: a bit each, untouched where there is none, behind a count,
 * so that whoever finds none set at all has looked at one word.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_MARKS_H
#define REPLAY_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct marks {
	uint64_t n;    /* set */
	uint64_t *bit; /* mapped on demand */
	uint64_t words;
};

/** Room for @n marks, none set. Return: 0 or -ENOMEM. */
int marks_create(struct marks *m, uint64_t n, struct error *err);
void marks_destroy(struct marks *m); /* of a zeroed one, too */

/** What room for @n takes, once there are marks everywhere. */
static inline uint64_t marks_bytes(uint64_t n)
{
	return n / 8;
}

static inline bool marks_get(const struct marks *m, uint64_t i)
{
	return m->n && m->bit[i >> 6] >> (i & 63) & 1;
}

static inline void marks_set(struct marks *m, uint64_t i)
{
	m->n += !marks_get(m, i);
	m->bit[i >> 6] |= UINT64_C(1) << (i & 63);
}

/** Take a mark away. Return: was it set? */
static inline bool marks_take(struct marks *m, uint64_t i)
{
	if (!marks_get(m, i))
		return false;
	m->bit[i >> 6] &= ~(UINT64_C(1) << (i & 63));
	m->n--;
	return true;
}

#endif
