/* SPDX-License-Identifier: MIT */
/*
 * Runs on their way to people: a sink that keeps what a run tells, and writes it in the chosen format
 * when it ends.
 */
#ifndef CLI_RUNS_H
#define CLI_RUNS_H

#include "analysis/store.h"
#include "base/emitter.h"
#include "cli/end_state.h"
#include "cli/kept_run.h"
#include "cli/outlier_rows.h"
#include "results/result.h"

/* Which columns a table has, and what else is to be said. */
enum runs_view {
	RUNS_REPLAY,
	RUNS_TIMES,    /* a benchmark's times */
	RUNS_FRAG,     /* a benchmark of fragmentation */
	RUNS_FIDELITY, /* tables of its own for each run, accuracies in JSON */
};

#define RUNS_COLUMNS_MAX 20

struct runs {
	struct result_sink sink; /* give records to this */
	struct emitter *e;
	const struct store *store; /* knows a run's id; NULL: nobody does */
	enum runs_view view;
	unsigned int rows;	    /* runs that began, and ended somehow */
	unsigned int done;	    /* of them, those that ended well */
	unsigned int recorded;	    /* of them, those of a recording */
	unsigned int failed_checks; /* runs whose back end failed one */
	bool unread; /* whoever read stdout has gone, and nothing is kept: cli_stop is set */
	char *const *traces;
	size_t nr_traces;
	struct emitter_column columns[RUNS_COLUMNS_MAX];
	struct kept_run kept; /* the run that is being told */
	struct end_states ends;
	struct outlier_rows outliers; /* of tables alone */
	/* Of the last run that was timed: what its times are by. */
	bool timed, counter;
	double overhead_ns, step_ns;
	struct kept_list firsts; /* RUNS_FRAG: struct first_moves */
};

/**
 * runs_begin - begin the list of runs
 * @e: stays the caller's
 * @store: takes each record before this sink does, so that a run's row has its id; may be NULL
 */
void runs_begin(struct runs *runs, struct emitter *e, const struct store *store,
		enum runs_view view);
/** runs_name_traces - these are played: a table calls them by what tells them apart. They stay the caller's. */
void runs_name_traces(struct runs *runs, char *const *traces, size_t n);
/** Close the list, add what concerns all runs, free. */
void runs_end(struct runs *runs);

#endif
