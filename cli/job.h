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
#include "replay/clock.h"
#include "replay/isolate.h"
#include "results/tee.h"

struct job {
	const char *verb; /* begins the lines that tell what is wrong */
	const struct option_set *options;
	struct specs specs;
	struct store *store;   /* NULL: results are not kept */
	struct emitter *e;     /* NULL: not open */
	struct result_tee tee; /* give records to tee.sink: first the store, then the runs */
	struct runs runs;
	struct result_sink failures; /* tells why a run failed */
	unsigned int waited_s;	     /* for another process that has the database locked */
	int code;		     /* the exit code so far */
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
	/**
	 * fits - can this back end do it? @fits false: it cannot, @err says why
	 * Return: 0; an error is the trace's, and nobody can.
	 */
	int (*fits)(struct job *job, const char *trace, const struct allocator_spec *spec,
		    bool *fits, struct error *err);
	/**
	 * run - one back end on one trace, its records to tee.sink
	 * Return: 0; an error, which costs this run alone.
	 */
	int (*run)(struct job *job, const char *trace, const struct allocator_spec *spec,
		   struct error *err);
	/**
	 * run_all - instead of run: all @n back ends on one trace, in turns
	 * Return: 0; an error of what has no row of its own. NULL: one after the other.
	 */
	int (*run_all)(struct job *job, const char *trace,
		       const struct allocator_spec *const *specs, size_t n, struct error *err);
};

/** How the options say that runs are to be watched. */
struct run_watch job_watch(const struct job *job);

/** Records went to job->tee: if the database could not take some, say so, and that costs EXIT_RUN. */
void job_tell_unkept(struct job *job);

/**
 * job_run_traces - every back end on every trace, until cli_stop
 * One that fails has its row, and costs the others nothing; nor does a trace that nobody can read. What nobody
 * named and does not fit is left out with a line; what somebody named has a row that says why.
 */
void job_run_traces(struct job *job, int n, char **traces, const struct job_runner *runner);

/** job_end - finish the document, close the database, free. Return: the exit code. */
int job_end(struct job *job);

#define CLI_OPTION_CLOCK                                                                           \
	{                                                                                          \
		.name = "clock", .type = OPTION_CHOICE, .choices = clock_wish_names,               \
		.fallback = "auto",                                                                \
		.help = "what times are by: the CPU's time-stamp counter, the kernel's monotonic " \
			"clock, or the counter where it can be trusted"                            \
	}
/** Which clock the runs of this command take, by the option "clock". Return: an exit code. */
int job_choose_clock(const char *verb, const struct option_set *options,
		     struct clock_choice *choice);

#endif
