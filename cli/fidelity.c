/* SPDX-License-Identifier: MIT */
#include "replay/fidelity/fidelity.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "analysis/store.h"
#include "cli/cli.h"
#include "cli/runs.h"
#include "cli/specs.h"
#include "traces/file/trace.h"

static const struct option fidelity_options[] = {
	{.name = "allocator",
	 .letter = 'a',
	 .type = OPTION_STRING,
	 .flags = OPTION_REPEATS,
	 .argument = "BACKEND[:k=v,...]",
	 .help = "back end to judge, repeatable; without it, every built-in one that can tell what "
		 "it would choose"},
	{.name = "hindsight",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "let the start state use what only later events tell of it; such figures show "
		 "what "
		 "knowing it would be worth, not how faithful a back end is"},
	CLI_OPTION_TIMEOUT,
	CLI_OPTION_LABEL,
	CLI_OPTION_DB,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

/* Everything one invocation works on. */
struct fidelity_job {
	const struct option_set *options;
	struct specs specs;
	struct store *store;
	struct emitter *e;
	struct runs runs;
	int code;
};

/* What is known at the start, in words. Return: 0, or the error of opening the trace. */
static int look_at_start(struct fidelity_job *job, const char *trace, struct error *err)
{
	static const char *const words[2][2] = {
		{"recorded without --burn-in: the order of its lists is unknown",
		 "recorded without --burn-in; with hindsight"},
		{"burnt in: what led to it is told", "burnt in; with hindsight"},
	};
	struct trace_reader *reader;
	int rc = trace_reader_open(trace, 0, &reader, err);
	bool burnt_in;

	if (rc)
		return rc;
	burnt_in = trace_reader_header(reader)->compatible_features & TRACE_HAS_BURN_IN;
	job->runs.start = words[burnt_in][option_bool(job->options, "hindsight")];
	trace_reader_close(reader);
	return 0;
}

/*
 * One back end on one trace.
 * Return: 0; -ENOTSUP: they do not fit; -ECHILD: it has died, which is its own misfortune; any other
 * error is everyone's.
 */
static int judge_one(struct fidelity_job *job, const char *trace, const struct allocator_spec *spec,
		     struct error *err)
{
	const struct option_set *o = job->options;
	const struct fidelity_config config = {
		.trace = trace,
		.spec = spec,
		.hindsight = option_bool(o, "hindsight"),
		.label = option_string(o, "label"),
		.progress = isatty(STDERR_FILENO),
		.timeout_s = (unsigned int)option_uint(o, "timeout"),
		.stop = &cli_stop,
	};
	int rc = fidelity_fits(trace, spec, err);

	return rc ? rc : fidelity_run_isolated(&config, runs_sink(&job->runs), err);
}

/* Whether the question can be put to a back end at all: nobody has asked for one that cannot answer. */
static bool can_answer(const struct allocator_ops *ops)
{
	return ops->predict && ops->observe && ops->adopt;
}

/* All back ends on one trace. Return false to go no further. */
static bool judge_trace(struct fidelity_job *job, const char *trace)
{
	struct error misfit = {0};
	bool any = false;
	int rc = look_at_start(job, trace, &misfit);

	if (rc) {
		cli_raise(&job->code, cli_fail(EXIT_RUN, &misfit));
		return false;
	}
	for (size_t i = 0; i < job->specs.n && !cli_stop; i++) {
		const struct allocator_spec *spec = job->specs.spec[i];
		struct error err = {0};

		if (job->specs.all && !can_answer(spec->ops))
			continue;
		rc = judge_one(job, trace, spec, &err);
		any |= rc != -ENOTSUP;
		if (rc == -ENOTSUP && job->specs.all)
			misfit = err; /* told if none fits, once */
		else if (rc)
			cli_raise(&job->code, cli_fail(EXIT_RUN, &err));
		if (rc && rc != -ENOTSUP && rc != -ECHILD)
			return false;
	}
	if (job->specs.all && !any && !cli_stop)
		cli_raise(&job->code, cli_fail(EXIT_RUN, &misfit));
	return !cli_stop;
}

static void judge_all(struct fidelity_job *job, int n, char **traces)
{
	for (int t = 0; t < n; t++)
		if (!judge_trace(job, traces[t]))
			return;
}

static int open_store(struct fidelity_job *job)
{
	const char *db = option_string(job->options, "db");
	struct error err = {0};

	if (db && store_open(db, &job->store, &err))
		return cli_fail(EXIT_RUN, &err);
	return EXIT_OK;
}

static void close_job(struct fidelity_job *job)
{
	struct error err = {0};

	if (store_close(job->store, &err))
		cli_raise(&job->code, cli_fail(EXIT_RUN, &err));
	specs_release(&job->specs);
}

static int run(const struct option_set *options, int n, char **traces)
{
	struct fidelity_job job = {.options = options};

	cli_catch_stop();
	job.code = specs_parse("fidelity", options, &job.specs);
	if (job.code == EXIT_OK)
		job.code = open_store(&job);
	if (job.code == EXIT_OK) {
		job.e = cli_emitter(options);
		if (!job.e)
			job.code = EXIT_RUN;
	}
	if (job.e) {
		runs_begin(&job.runs, job.e, job.store, RUNS_FIDELITY);
		judge_all(&job, n, traces);
		runs_end(&job.runs);
		job.code = cli_emitter_end(job.e, job.code);
	}
	close_job(&job);
	return job.code;
}

const struct verb verb_fidelity = {
	.name = "fidelity",
	.summary = "how often a back end chooses as the kernel did that recorded a trace",
	.operands = "T.quire...",
	.details =
		"Before each choice the kernel made, the back end is asked for its own; then it is "
		"told\n"
		"the kernel's and goes on from there. It never knows anything later than that.\n\n"
		"  b             with the refills and drains of per-CPU lists that the kernel "
		"told\n"
		"  a             from allocations and frees alone\n"
		"  LIFO          the baseline: what this cpu freed last of that order\n"
		"  free-running  told no choice at all: do end state and counts come out alike?\n\n"
		"Choices are judged to the frame, by where the kernel's block came from, by "
		"order,\n"
		"migratetype and tenth of the trace; why they were wrong is told, largest cause "
		"first.\n"
		"It takes a trace of `quire record`, best with --burn-in: only then is it known "
		"what\n"
		"the lists held at the start.\n",
	.options = fidelity_options,
	.min_operands = 1,
	.max_operands = -1,
	.run = run,
};
