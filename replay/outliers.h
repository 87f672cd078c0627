/* SPDX-License-Identifier: MIT */
/*
 * The slowest operations of a run, so that their cause can be looked up in the trace. Whoever takes times holds
 * each against `from` first: what is slower than all that are kept is rare.
 *
 * Internal to the engine. Not thread-safe.
 */
#ifndef REPLAY_OUTLIERS_H
#define REPLAY_OUTLIERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "results/result.h"

struct outliers {
	uint64_t from;		     /* what took less ns need not be noted; UINT64_MAX: nothing */
	struct result_outlier *kept; /* the least of them first, while they are gathered: a heap */
	size_t n, most;
	uint32_t noted;
};

/** @most: so many are kept; 0: none, at no cost. Return: 0 or -ENOMEM. outliers_destroy() in any case. */
int outliers_create(struct outliers *o, size_t most, struct error *err);
void outliers_destroy(struct outliers *o);

/** One operation that took `from` ns or more. Of two that took the same, the one noted first is slower. */
void outliers_note(struct outliers *o, const struct result_outlier *one);

/** Put what is kept in order, slowest first, with its ranks. Nothing can be noted afterwards. */
void outliers_settle(struct outliers *o);

#endif
