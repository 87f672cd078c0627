/* SPDX-License-Identifier: MIT */
/*
 * What replay, bench and fidelity have in common as verbs: back ends from the command line, records that
 * go to the database and to people, and one exit code in the end.
 */
#ifndef CLI_JOB_H
#define CLI_JOB_H

#include "allocators/registry.h"
#include "analysis/store.h"
#include "base/emitter.h"
#include "base/error.h"
#include "base/option.h"
#include "cli/runs.h"
#include "cli/specs.h"
#include "results/tee.h"

struct job {
	const char *verb; /* begins the lines that tell what is wrong */
	const struct option_set *options;
	struct specs specs;
	struct store *store;   /* NULL: results are not kept */
	struct emitter *e;     /* NULL: not open */
	struct result_tee tee; /* give records to tee.sink: first the store, then the runs */
	struct runs runs;
	int code; /* the exit code so far */
};

/**
 * job_begin - read the back ends; from now on SIGINT, SIGTERM and SIGHUP set cli_stop
 * Return: whether that went well; if not, why is told and code is set. job_end() in any case.
 */
bool job_begin(struct job *job, const char *verb, const struct option_set *options);
/** job_open - open the database and the document; the command line has been judged. Return: as above. */
bool job_open(struct job *job, enum runs_view view);

/** Tell @err, which costs the exit code EXIT_RUN. */
void job_fail(struct job *job, const struct error *err);

struct job_runner {
	/** Whether a back end that nobody named is worth being tried; NULL: each is. */
	bool (*suits)(const struct allocator_ops *ops);
	bool tell_left_out; /* one that nobody named and that does not fit has its line on stderr */
	/**
	 * run - one back end on one trace, its records to tee.sink
	 * Return: 0; -ENOTSUP: they do not fit; -ECHILD: it has died, which is its own misfortune; any
	 * other error is everyone's.
	 */
	int (*run)(struct job *job, const char *trace, const struct allocator_spec *spec,
		   struct error *err);
};

/**
 * job_run_traces - every back end on every trace, until cli_stop or an error that is everyone's
 * What nobody named and does not fit is left out; that nothing fits is told.
 */
void job_run_traces(struct job *job, int n, char **traces, const struct job_runner *runner);

/** job_end - finish the document, close the database, free. Return: the exit code. */
int job_end(struct job *job);

#endif
