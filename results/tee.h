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

struct result_tee {
	struct result_sink sink; /* give records to this */
	struct result_sink *to[TEE_SINKS];
	size_t n;
};

/** A tee to nobody yet. */
void result_tee_init(struct result_tee *tee);

/** One taker more, behind the others; NULL adds none. The sink stays the caller's. */
void result_tee_add(struct result_tee *tee, struct result_sink *to);

#endif
