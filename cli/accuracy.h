/* SPDX-License-Identifier: MIT */
/*
 * How often a back end chose as the kernel did: collected from one run's records, for JSON as they
 * are, for people as tables that begin with the sum and end with what to mend next.
 */
#ifndef CLI_ACCURACY_H
#define CLI_ACCURACY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/emitter.h"
#include "results/metrics.h"
#include "results/result.h"

struct accuracies {
	struct result_accuracy *row; /* the causes are copies */
	size_t n, max;
};

/** accuracies_keep - append a copy of @record. Return: 0 or -ENOMEM. */
int accuracies_keep(struct accuracies *a, const struct result_accuracy *record);
/** accuracies_clear - forget all records, of which the memory is freed */
void accuracies_clear(struct accuracies *a);

/** accuracies_emit - the array "accuracy" of a run's object; orders are numbers, tenths begin at 1 */
void accuracies_emit(const struct accuracies *a, struct emitter *e);

/** @part of @whole; NaN: of nothing. */
double accuracy_share(uint64_t part, uint64_t whole);

/* A run, as far as its tables tell about it. */
struct accuracy_report {
	const struct result_run *run;
	bool burn_in;	/* the recording tells what led to its start */
	bool hindsight; /* the start uses what only later events tell */
	enum run_status status;
	const char *why; /* of a run that failed, else NULL */
	const double *metric;
};

/** accuracies_tables - a run for people; @e writes a table and is outside of any list */
void accuracies_tables(const struct accuracies *a, const struct accuracy_report *report,
		       struct emitter *e);
/** accuracies_legend - what the words in those tables mean, once, below all of them */
void accuracies_legend(struct emitter *e);

#endif
