/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <unistd.h>

#include "cli/job.h"
#include "replay/fidelity/fidelity.h"

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
	CLI_OPTION_IN_PROCESS,
	CLI_OPTION_LABEL,
	CLI_OPTION_DB,
	CLI_OPTION_DB_WAIT,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

/* Whether the question can be put to a back end at all. */
static bool can_answer(const struct allocator_ops *ops)
{
	return ops->predict && ops->observe && ops->adopt;
}

static int judge_one(struct job *job, const char *trace, const struct allocator_spec *spec,
		     struct error *err)
{
	const struct option_set *o = job->options;
	const struct fidelity_config config = {
		.trace = trace,
		.spec = spec,
		.hindsight = option_bool(o, "hindsight"),
		.label = option_string(o, "label"),
		.progress = isatty(STDERR_FILENO),
		.watch = job_watch(job),
	};

	return fidelity_run_isolated(&config, &job->tee.sink, err);
}

static int fits(struct job *job, const char *trace, const struct allocator_spec *spec,
		bool *does_fit, struct error *err)
{
	(void)job;
	return fidelity_fits(trace, spec, does_fit, err);
}

static int run(const struct option_set *options, int n, char **traces)
{
	static const struct job_runner runner = {
		.suits = can_answer, .fits = fits, .run = judge_one};
	struct job job;

	if (job_begin(&job, "fidelity", options) && job_open(&job, RUNS_FIDELITY))
		job_run_traces(&job, n, traces, &runner);
	return job_end(&job);
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
