/* SPDX-License-Identifier: MIT */
/*
 * One stream of records, several takers: what people read and what the database keeps stand side by side,
 * and neither knows the other.
 */
#ifndef RESULTS_TEE_H
#define RESULTS_TEE_H

#include <stddef.h>

#include "results/result.h"

#define TEE_SINKS 4

/*
 * A taker that fails is left out until the next run begins; the others get all of it, so that a full disk
 * does not cost people a run that has finished. Records fail only if nobody takes them any more.
 */
struct result_tee {
	struct result_sink sink; /* give records to this */
	struct result_sink *to[TEE_SINKS];
	bool failed[TEE_SINKS]; /* in the run at hand */
	size_t n;
	struct error failure; /* the first since result_tee_failure(); code 0: none */
};

/** A tee to nobody yet. */
void result_tee_init(struct result_tee *tee);

/** One taker more, behind the others; NULL adds none. The sink stays the caller's. */
void result_tee_add(struct result_tee *tee, struct result_sink *to);

/** Has a taker failed since this was last asked? If so, @err says the first one's reason. */
bool result_tee_failure(struct result_tee *tee, struct error *err);

#endif
