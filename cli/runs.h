/* SPDX-License-Identifier: MIT */
/*
 * Runs on their way from the engine to people: collects one run's records, passes them on to the
 * store, and writes the run as a row of the chosen format when it ends.
 */
#ifndef CLI_RUNS_H
#define CLI_RUNS_H

#include "analysis/store.h"
#include "base/emitter.h"
#include "results/result.h"
#include "cli/accuracy.h"

struct run_freelists {
	bool has[4];
	uint64_t blocks[4][RESULT_ORDERS]; /* by enum freelist_source, of the last sample */
};

struct end_state; /* an ECHO run's end beside the kernel's */

/* Which columns a table has, and what else is to be said. */
enum runs_view {
	RUNS_REPLAY,
	RUNS_TIMES,    /* a benchmark's times */
	RUNS_FRAG,     /* a benchmark of fragmentation */
	RUNS_FIDELITY, /* tables of its own for each run, accuracies in JSON */
};

struct runs {
	struct result_sink sink;
	struct emitter *e;
	struct store *store; /* NULL: results are not kept */
	enum runs_view view;
	unsigned int done;	    /* runs that ended well */
	unsigned int failed_checks; /* runs with oracle violations */
	const char *
		start; /* RUNS_FIDELITY, set by the caller: what is known at the next run's start */

	/* The run that is being told. */
	struct result_run run;
	char *text[13]; /* copies of the run's strings */
	double metric[METRIC_COUNT];
	struct result_sample *samples;
	size_t nr_samples, max_samples;
	char **warnings;
	size_t nr_warnings;
	struct run_freelists freelists;
	struct accuracies accuracies;

	struct end_state *ends;
	size_t nr_ends;

	/* RUNS_FRAG: what each order and fill made of the first back end told. */
	struct first_moves {
		int32_t order;
		uint32_t fill;
		double moves;
	} * firsts;
	size_t nr_firsts;
};

void runs_begin(struct runs *runs, struct emitter *e, struct store *store, enum runs_view view);
struct result_sink *runs_sink(struct runs *runs);
/** Close the list of rows, add what concerns all of them, free. */
void runs_end(struct runs *runs);

#endif
