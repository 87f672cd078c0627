/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/store.h"
#include "base/bits.h"
#include "cli/runs.h"
#include "cli/specs.h"
#include "replay/replay.h"

static const struct option replay_options[] = {
	{.name = "allocator",
	 .letter = 'a',
	 .type = OPTION_STRING,
	 .flags = OPTION_REPEATS,
	 .argument = "BACKEND[:k=v,...]",
	 .help = "back end to replay against, repeatable; without it, every built-in one that "
		 "fits"},
	{.name = "mode",
	 .type = OPTION_CHOICE,
	 .choices = replay_mode_names,
	 .fallback = "sequential",
	 .help = "one thread plays all cpus in trace order: exact"},
	{.name = "backing",
	 .type = OPTION_CHOICE,
	 .choices = backing_kind_names,
	 .fallback = "none",
	 .help = "what backs the simulated frames; none simulates any size"},
	{.name = "prefill",
	 .type = OPTION_CHOICE,
	 .choices = prefill_names,
	 .fallback = "recorded",
	 .help = "how the start snapshot's objects get into memory: where they were, packed by "
		 "ordinary allocations, or not at all"},
	{.name = "samples",
	 .type = OPTION_UINT,
	 .fallback = "100",
	 .min = 0,
	 .max = 100000,
	 .help = "samples of the state metrics between start and end"},
	{.name = "sample-by",
	 .type = OPTION_CHOICE,
	 .choices = sample_by_names,
	 .fallback = "events",
	 .help = "spread the samples evenly over events or trace time"},
	{.name = "holders",
	 .type = OPTION_CHOICE,
	 .choices = holders_at_names,
	 .fallback = "end",
	 .help = "tell who holds each 2 MiB block, and since when, at the end, at all samples, or "
		 "not at all"},
	{.name = "seed",
	 .type = OPTION_UINT,
	 .fallback = "1",
	 .help = "part of the run's identity; a sequential replay draws nothing from it"},
	{.name = "oracle",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "check every frame handed out (--no-oracle for timing runs)"},
	{.name = "salvage",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "replay what is intact of a damaged trace"},
	CLI_OPTION_TIMEOUT,
	CLI_OPTION_LABEL,
	CLI_OPTION_DB,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

/* Everything one invocation works on. */
struct replay_job {
	const struct option_set *options;
	struct specs specs;
	struct store *store;
	struct emitter *e;
	struct runs runs;
	int code;
};

/* One back end on one trace. Return false to go no further. */
static bool replay_one(struct replay_job *job, const char *trace, const struct allocator_spec *spec)
{
	const struct option_set *o = job->options;
	struct error err = {0};
	const struct replay_config config = {
		.trace = trace,
		.spec = spec,
		.mode = option_choice(o, "mode"),
		.backing = option_choice(o, "backing"),
		.prefill = option_choice(o, "prefill"),
		.sample_by = option_choice(o, "sample-by"),
		.holders = option_choice(o, "holders"),
		.samples = (uint32_t)option_uint(o, "samples"),
		.seed = option_uint(o, "seed"),
		.oracle = option_bool(o, "oracle"),
		.salvage = option_bool(o, "salvage"),
		.label = option_string(o, "label"),
		.progress = isatty(STDERR_FILENO),
		.timeout_s = (unsigned int)option_uint(o, "timeout"),
		.stop = &cli_stop,
	};
	int rc;

	rc = replay_fits(trace, spec, &err);
	if (rc == -ENOTSUP && job->specs.all)
		return true;
	if (rc) {
		cli_raise(&job->code, cli_fail(EXIT_RUN, &err));
		return rc == -ENOTSUP;
	}
	rc = replay_run_isolated(&config, runs_sink(&job->runs), &err);
	if (rc) {
		cli_raise(&job->code, cli_fail(EXIT_RUN, &err));
		/* A back end's own misfortune is its own; a broken trace or database is everyone's. */
		return rc == -ECHILD;
	}
	return true;
}

static int replay_all(struct replay_job *job, int n, char **traces)
{
	for (int t = 0; t < n; t++)
		for (size_t i = 0; i < job->specs.n; i++)
			if (!replay_one(job, traces[t], job->specs.spec[i]) || cli_stop)
				return job->code;
	return job->code;
}

static int open_store(struct replay_job *job)
{
	const char *db = option_string(job->options, "db");
	struct error err = {0};

	if (db && store_open(db, &job->store, &err))
		return cli_fail(EXIT_RUN, &err);
	return EXIT_OK;
}

static void close_job(struct replay_job *job)
{
	struct error err = {0};

	if (store_close(job->store, &err))
		cli_raise(&job->code, cli_fail(EXIT_RUN, &err));
	specs_release(&job->specs);
}

static int run(const struct option_set *options, int n, char **traces)
{
	struct replay_job job = {.options = options};

	cli_catch_stop();
	job.code = specs_parse("replay", options, &job.specs);
	if (job.code == EXIT_OK)
		job.code = open_store(&job);
	if (job.code == EXIT_OK)
		job.e = cli_emitter(options);
	if (job.e) {
		runs_begin(&job.runs, job.e, job.store, RUNS_REPLAY);
		replay_all(&job, n, traces);
		if (job.runs.failed_checks)
			cli_raise(&job.code, job.code == EXIT_OK ? EXIT_CHECK : job.code);
		runs_end(&job.runs);
		job.code = cli_emitter_end(job.e, job.code);
	}
	close_job(&job);
	return job.code;
}

const struct verb verb_replay = {
	.name = "replay",
	.summary = "play traces against back ends and tell what became of memory",
	.operands = "T.quire...",
	.details =
		"Each back end plays each trace in a process of its own, checked by an oracle, "
		"sampled\n"
		"on the way. The `recorded` row is the kernel's own placement, the reference.\n\n"
		"Open loop: the trace holds what was asked of the recorded allocator. Reclaim,\n"
		"compaction and huge-page fallback would have gone differently under another "
		"one.\n",
	.options = replay_options,
	.min_operands = 1,
	.max_operands = -1,
	.run = run,
};
