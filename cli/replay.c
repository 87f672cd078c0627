/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/backing.h"
#include "cli/job.h"
#include "cli/machine.h"
#include "replay/replay.h"

/* As many as people look up. */
#define OUTLIERS_MAX 10000

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
	 .help = "one thread plays all cpus in trace order: sequential, each operation at once, "
		 "which "
		 "is exact; timed, each when it is due by the trace's times, which tells latencies "
		 "at "
		 "that pace and how late what was due began"},
	{.name = "speed",
	 .type = OPTION_REAL,
	 .fallback = "1",
	 .min = 0.000001,
	 .max = 1000000000000.0,
	 .help = "for --mode timed: the trace's times pass that much faster"},
	CLI_OPTION_BACKING,
	CLI_OPTION_TOUCH,
	CLI_OPTION_GROW_HUGETLB,
	{.name = "touch-prefill",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "use the start snapshot's objects, too, before the first event"},
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
	{.name = "repetitions",
	 .type = OPTION_UINT,
	 .fallback = "1",
	 .min = 1,
	 .max = REPLAY_REPETITIONS_MAX,
	 .help = "how often each run is done, all back ends in turn; times are the median, and how "
		 "far apart they lay is told"},
	{.name = "seed",
	 .type = OPTION_UINT,
	 .fallback = "1",
	 .help = "part of the run's identity; a sequential replay draws nothing from it"},
	{.name = "list-seed",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .help = "draw the order of the free lists from this, as far as the start snapshot leaves "
		 "it open; 0: the usual order"},
	{.name = "oracle",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "check every frame handed out (--no-oracle for timing runs)"},
	{.name = "pin",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "keep each run on one CPU of the host, near its memory: times are steadier, but "
		 "runs "
		 "started at once are in each other's way"},
	{.name = "salvage",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "replay what is intact of a damaged trace"},
	{.name = "latency",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "time each allocation and free (--no-latency leaves the time stamps out)"},
	{.name = "outliers",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .max = OUTLIERS_MAX,
	 .unit = "operations",
	 .help = "tell that many of the slowest operations, each with its event, so that its cause "
		 "can "
		 "be looked up in the trace"},
	CLI_OPTION_CLOCK,
	CLI_OPTION_MACHINE,
	CLI_OPTION_TIMEOUT,
	CLI_OPTION_IN_PROCESS,
	CLI_OPTION_LABEL,
	CLI_OPTION_DB,
	CLI_OPTION_DB_WAIT,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

/* Everything one invocation works on. */
struct replay_job {
	struct job job;
	struct cli_machine machine;
	struct cli_backing backing;
	struct hugetlb_pool *pool; /* NULL: as the host has it */
	struct clock_choice clock;
};

static struct replay_config config_of(const struct job *job, const char *trace,
				      const struct allocator_spec *spec)
{
	const struct replay_job *r = (const struct replay_job *)job;
	const struct option_set *o = job->options;

	return (struct replay_config){
		.trace = trace,
		.spec = spec,
		.mode = option_choice(o, "mode"),
		.speed = option_real(o, "speed"),
		.backing = r->backing.kind,
		.backing_path = r->backing.path,
		.touching = option_choice(o, "touch"),
		.touch_prefill = option_bool(o, "touch-prefill"),
		.machine = r->machine.machine,
		.machine_name = r->machine.name,
		.prefill = option_choice(o, "prefill"),
		.sample_by = option_choice(o, "sample-by"),
		.holders = option_choice(o, "holders"),
		.samples = (uint32_t)option_uint(o, "samples"),
		.repetitions = (uint32_t)option_uint(o, "repetitions"),
		.seed = option_uint(o, "seed"),
		.list_seed = option_uint(o, "list-seed"),
		.oracle = option_bool(o, "oracle"),
		.pin = option_bool(o, "pin"),
		.salvage = option_bool(o, "salvage"),
		.untimed = !option_bool(o, "latency"),
		.outliers = (uint32_t)option_uint(o, "outliers"),
		.clock = &r->clock,
		.label = option_string(o, "label"),
		.progress = isatty(STDERR_FILENO),
		.watch = job_watch(job),
	};
}

static int replay_one(struct job *job, const char *trace, const struct allocator_spec *spec,
		      struct error *err)
{
	const struct replay_config config = config_of(job, trace, spec);

	return replay_run_isolated(&config, &job->tee.sink, err);
}

static int replay_in_turns(struct job *job, const char *trace,
			   const struct allocator_spec *const *specs, size_t n, struct error *err)
{
	struct replay_config *configs = calloc(n, sizeof(*configs));
	int rc;

	if (!configs)
		return error_set(err, ENOMEM, "no memory for %zu runs", n);
	for (size_t i = 0; i < n; i++)
		configs[i] = config_of(job, trace, specs[i]);
	rc = replay_run_repeated(configs, n, &job->tee.sink, err);
	free(configs);
	return rc;
}

static int fits(struct job *job, const char *trace, const struct allocator_spec *spec,
		bool *does_fit, struct error *err)
{
	const struct replay_config config = config_of(job, trace, spec);

	return replay_fits(&config, does_fit, err);
}

/* One file is one machine's memory, and stays. Return: an exit code. */
static int check_file(const struct replay_job *r, int traces)
{
	if (r->backing.kind != BACKING_FILE)
		return EXIT_OK;
	if (option_uint(r->job.options, "repetitions") > 1)
		return cli_usage(
			"replay: --repetitions: --backing file: is the memory of one run, and "
			"stays; choose another backing, such as memfd, or drop it");
	if (r->job.specs.n == 1 && traces == 1)
		return EXIT_OK;
	return cli_usage("replay: --backing file: is the memory of one run; name one back end (-a) "
			 "and one trace");
}

/* Return: an exit code. */
static int check_touch(const struct option_set *o, const struct cli_backing *backing)
{
	const bool touches = option_choice(o, "touch") != TOUCHING_NONE;

	if (touches && backing->kind == BACKING_NONE)
		return cli_usage("replay: --touch %s: there is no memory to touch; choose a "
				 "--backing, such as thp",
				 option_string(o, "touch"));
	if (option_bool(o, "touch-prefill") && !touches)
		return cli_usage("replay: --touch-prefill: nothing else is touched; choose --touch "
				 "first or all");
	return EXIT_OK;
}

/* Return: an exit code. */
static int check_times(const struct option_set *o)
{
	if (option_bool(o, "latency"))
		return EXIT_OK;
	if (option_uint(o, "outliers"))
		return cli_usage(
			"replay: --outliers: without latencies nothing is known to be slow; "
			"drop it, or --no-latency");
	if (option_choice(o, "mode") == REPLAY_TIMED)
		return cli_usage(
			"replay: --no-latency: a timed replay cannot do without time stamps; "
			"drop it, or --mode timed");
	return EXIT_OK;
}

/* Return: an exit code. */
static int check_speed(const struct option_set *o)
{
	if (!option_given(o, "speed") || option_choice(o, "mode") == REPLAY_TIMED)
		return EXIT_OK;
	return cli_usage("replay: --speed: only --mode timed keeps the trace's times; add that, or "
			 "drop --speed");
}

/* Return: whether the command line makes sense; if not, why is told and the code set. */
static bool prepare(struct replay_job *r, const struct option_set *o, int traces)
{
	if (option_given(o, "machine") && option_given(o, "prefill") &&
	    option_choice(o, "prefill") == PREFILL_RECORDED)
		r->job.code = cli_usage("replay: --prefill recorded: another machine has no room "
					"for recorded places; drop it, or --machine");
	else
		r->job.code = cli_machine_read(o, &r->machine);
	if (r->job.code == EXIT_OK)
		r->job.code = cli_backing_read("replay", o, &r->backing);
	if (r->job.code == EXIT_OK)
		r->job.code = check_touch(o, &r->backing);
	if (r->job.code == EXIT_OK)
		r->job.code = check_times(o);
	if (r->job.code == EXIT_OK)
		r->job.code = check_file(r, traces);
	if (r->job.code == EXIT_OK)
		r->job.code = check_speed(o);
	if (r->job.code == EXIT_OK)
		r->job.code = check_times(o);
	if (r->job.code == EXIT_OK)
		r->job.code = job_choose_clock("replay", o, &r->clock);
	return r->job.code == EXIT_OK;
}

static int run(const struct option_set *options, int n, char **traces)
{
	const struct job_runner runner = {
		.fits = fits,
		.run = replay_one,
		.run_all = option_uint(options, "repetitions") > 1 ? replay_in_turns : NULL,
	};
	struct replay_job r = {0};
	int code;

	if (job_begin(&r.job, "replay", options) && prepare(&r, options, n) &&
	    (r.job.code = cli_pool_grow("replay", options, &r.backing, &r.pool)) == EXIT_OK &&
	    job_open(&r.job, RUNS_REPLAY))
		job_run_traces(&r.job, n, traces, &runner);
	code = job_end(&r.job);
	hugetlb_pool_restore(r.pool);
	cli_machine_release(&r.machine);
	return code;
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
