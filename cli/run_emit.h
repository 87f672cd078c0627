/* SPDX-License-Identifier: MIT */
/*
 * A run as a row: in JSON all that was kept of it, in CSV and tables what they can show.
 */
#ifndef CLI_RUN_EMIT_H
#define CLI_RUN_EMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/emitter.h"
#include "cli/kept_run.h"

/* What a row has beside what the run told. */
struct run_row {
	const int64_t *id; /* in the database; NULL: it is in none */
	enum run_status status;
	const char *why;	   /* NULL unless it failed */
	const double *moves_saved; /* NULL: nothing to compare moves with in this list */
	bool accuracies;	   /* the list is of fidelity runs */
	const char *trace_name;	   /* as a table calls it; NULL: by its path */
};

/**
 * run_emit - one row of a list that has begun
 * CSV has a column for each setting and each metric of the engine's table. Counters, flags and metrics
 * that somebody brought differ from back end to back end, and are in JSON alone.
 */
void run_emit(struct emitter *e, const struct kept_run *k, const struct run_row *row);

/** The members of one outlier, in an object that has begun. */
void run_emit_outlier(struct emitter *e, const struct result_outlier *o);

#endif
