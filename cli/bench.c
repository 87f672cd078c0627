/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "cli/backing.h"
#include "cli/job.h"
#include "cli/machine.h"
#include "replay/bench/bench.h"
#include "traces/generate/churn.h"

#define LIST_MAX 64 /* values in a list */

static const struct option bench_options[] = {
	{.name = "allocator",
	 .letter = 'a',
	 .type = OPTION_STRING,
	 .flags = OPTION_REPEATS,
	 .argument = "BACKEND[:k=v,...]",
	 .help = "back end to measure, repeatable; without it, every built-in one that fits"},
	{.name = "memory",
	 .type = OPTION_SIZE,
	 .fallback = "8G",
	 .min = 4096,
	 .max = 17592186044416.0,
	 .unit = "bytes",
	 .help = "the simulated machine's: one zone from frame 0"},
	{.name = "cpus",
	 .type = OPTION_UINT,
	 .min = 1,
	 .max = MACHINE_CPUS_MAX,
	 .help = "of the simulated machine (default: as many as threads; frag: " OPTION_TEXT(
		 CHURN_CPUS) ")"},
	{.name = "threads",
	 .type = OPTION_STRING,
	 .argument = "N[,N...]",
	 .fallback = "1",
	 .help = "threads that allocate at once, each pinned to a CPU of its own and playing one "
		 "cpu of the machine"},
	{.name = "order",
	 .type = OPTION_STRING,
	 .argument = "N[,N...]",
	 .fallback = "0",
	 .help = "blocks of 2^N frames; 0-10 is every order from 0 to 10"},
	{.name = "fill",
	 .type = OPTION_STRING,
	 .argument = "P[,P...]",
	 .help = "percent of memory in use at the start, scattered (default 0; frag: " OPTION_TEXT(
		 CHURN_FILL) ", allocated before half is freed)"},
	{.name = "rounds",
	 .type = OPTION_UINT,
	 .fallback = OPTION_TEXT(CHURN_ROUNDS),
	 .max = 100000,
	 .help = "frag: rounds of freeing and allocating a tenth"},
	{.name = "repetitions",
	 .type = OPTION_UINT,
	 .min = 1,
	 .max = BENCH_REPETITIONS_MAX,
	 .help = "how often each point is measured, all points in turn; times are the median "
		 "(default 5; frag, which is exact: 1)"},
	{.name = "seed", .type = OPTION_UINT, .fallback = "1", .help = "of everything random"},
	CLI_OPTION_BACKING_NO_FILE,
	CLI_OPTION_TOUCH,
	CLI_OPTION_GROW_HUGETLB,
	CLI_OPTION_MACHINE,
	{.name = "oracle",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "check every frame handed out, outside what is timed"},
	CLI_OPTION_CLOCK,
	CLI_OPTION_TIMEOUT,
	CLI_OPTION_IN_PROCESS,
	CLI_OPTION_LABEL,
	CLI_OPTION_DB,
	CLI_OPTION_DB_WAIT,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

struct list {
	uint32_t value[LIST_MAX];
	size_t n;
};

/* Everything one invocation works on. */
struct bench_job {
	struct job job;
	enum bench_kind kind;
	struct list threads, orders, fills;
	uint32_t cpus, repetitions;
	uint64_t memory_bytes;
	struct cli_machine machine;
	struct cli_backing backing;
	struct hugetlb_pool *pool; /* NULL: as the host has it */
	struct clock_choice clock;
	struct bench_point *points;
	size_t nr_points;
};

/* ---- the command line ---- */

/* A number of at most four digits at *@at, which goes behind it. Return: false: there is none. */
static bool parse_number(const char **at, uint32_t *value)
{
	*value = 0;
	if (!isdigit((unsigned char)**at))
		return false;
	for (size_t digits = 0; isdigit((unsigned char)**at) && digits < 4; digits++)
		*value = *value * 10 + (uint32_t)(*(*at)++ - '0');
	return true;
}

/* "1" or "0-10" at *@at, which goes behind it. Return: false: it is neither, or is too much. */
static bool parse_values(const char **at, struct list *list)
{
	uint32_t first, last;

	if (!parse_number(at, &first))
		return false;
	last = first;
	if (**at == '-') {
		++*at;
		if (!parse_number(at, &last) || last < first)
			return false;
	}
	for (; first <= last; first++) {
		if (list->n == LIST_MAX)
			return false;
		list->value[list->n++] = first;
	}
	return true;
}

/* "1,2,4" or "0-10" or both. What the numbers may be in detail, bench_fits() knows. */
static int parse_list(const struct option_set *options, const char *name, const char *fallback,
		      struct list *list)
{
	const char *text = option_string(options, name), *at;

	if (!text)
		text = fallback;
	for (at = text; parse_values(&at, list); at++) {
		if (!*at)
			return EXIT_OK;
		if (*at != ',')
			break;
	}
	return cli_usage("bench: --%s: '%s' is not a list of up to %d whole numbers without "
			 "blanks, such as 1,2 or 0-3",
			 name, text, LIST_MAX);
}

static int parse_numbers(struct bench_job *job)
{
	const struct option_set *o = job->job.options;
	const bool frag = job->kind == BENCH_FRAG;
	uint32_t most = 1;
	int code = parse_list(o, "threads", "1", &job->threads);

	if (code == EXIT_OK)
		code = parse_list(o, "order", "0", &job->orders);
	if (code == EXIT_OK)
		code = parse_list(o, "fill", frag ? OPTION_TEXT(CHURN_FILL) : "0", &job->fills);
	if (code == EXIT_OK && !frag && option_given(o, "rounds"))
		code = cli_usage("bench: --rounds: only frag has rounds; drop it, or raise "
				 "--repetitions");
	if (code != EXIT_OK)
		return code;
	for (size_t i = 0; i < job->threads.n; i++)
		most = (uint32_t)max_u64(most, job->threads.value[i]);
	job->cpus = frag ? CHURN_CPUS : (uint32_t)min_u64(most, MACHINE_CPUS_MAX);
	if (option_given(o, "cpus"))
		job->cpus = (uint32_t)option_uint(o, "cpus");
	job->repetitions = frag ? 1 : 5;
	if (option_given(o, "repetitions"))
		job->repetitions = (uint32_t)option_uint(o, "repetitions");
	return EXIT_OK;
}

/* ---- the matrix ---- */

static struct bench_point point_of(const struct bench_job *job, const struct allocator_spec *spec,
				   uint32_t threads, uint32_t order, uint32_t fill)
{
	const struct option_set *o = job->job.options;

	return (struct bench_point){
		.kind = job->kind,
		.spec = spec,
		.memory_bytes = job->memory_bytes,
		.machine = job->machine.machine,
		.machine_name = job->machine.name,
		.cpus = job->cpus,
		.backing = job->backing.kind,
		.touching = option_choice(o, "touch"),
		.threads = threads,
		.order = order,
		.fill = fill,
		.rounds = (uint32_t)option_uint(o, "rounds"),
		.repetitions = job->repetitions,
		.least_blocks = BENCH_LEAST_BLOCKS,
		.seed = option_uint(o, "seed"),
		.oracle = option_bool(o, "oracle"),
		.clock = &job->clock,
		.label = option_string(o, "label"),
	};
}

/* One point more, if it fits. */
static int add_point(struct bench_job *job, const struct bench_point *point)
{
	struct error err = {0};
	int rc = bench_fits(point, &err);

	if (rc == 0)
		job->points[job->nr_points++] = *point;
	if (rc == 0 || rc == -ENOTSUP)
		return EXIT_OK; /* the others can still be measured; tell_left_out() has said so */
	cli_dash(&err, bench_options);
	error_prefix(&err, "bench");
	return cli_fail(rc == -EINVAL ? EXIT_USAGE : EXIT_RUN, &err);
}

/* Which back ends cannot do it at all, or not with so many threads; orders and fills do not matter. */
static void tell_left_out(const struct bench_job *job)
{
	for (size_t i = 0; i < job->job.specs.n; i++) {
		char last[ERROR_TEXT_MAX] = "";

		for (size_t t = 0; t < job->threads.n; t++) {
			struct bench_point point =
				point_of(job, job->job.specs.spec[i], job->threads.value[t],
					 job->orders.value[0], job->fills.value[0]);
			struct error err = {0};
			int rc = bench_fits(&point, &err);

			/* Nobody has asked for one that never could. */
			point.threads = 1;
			if (rc != -ENOTSUP || strcmp(last, err.text) == 0 ||
			    (job->job.specs.all && bench_fits(&point, NULL) == -ENOTSUP))
				continue;
			fprintf(stderr, "quire: bench: left out: %s\n", err.text);
			snprintf(last, sizeof(last), "%s", err.text);
		}
	}
}

/* Say why, of the first. */
static int nothing_fits(const struct bench_job *job)
{
	struct bench_point point = point_of(job, job->job.specs.spec[0], job->threads.value[0],
					    job->orders.value[0], job->fills.value[0]);
	struct error err = {0};

	if (job->job.specs.all)
		return cli_usage("bench: no built-in back end can do that; `quire list allocators` "
				 "tells what each can");
	bench_fits(&point, &err);
	cli_dash(&err, bench_options);
	return cli_usage("bench: %s; choose another back end", err.text);
}

static int make_points(struct bench_job *job)
{
	const size_t n = job->job.specs.n * job->threads.n * job->orders.n * job->fills.n;
	int code = EXIT_OK;

	job->points = calloc(n, sizeof(*job->points));
	if (!job->points)
		return cli_fail(EXIT_RUN, &(struct error){.code = ENOMEM});
	for (size_t i = 0; code == EXIT_OK && i < n; i++) {
		size_t at = i / job->job.specs.n;
		uint32_t threads = job->threads.value[at % job->threads.n];
		uint32_t order = job->orders.value[at / job->threads.n % job->orders.n];
		uint32_t fill = job->fills.value[at / job->threads.n / job->orders.n];

		struct bench_point point = point_of(job, job->job.specs.spec[i % job->job.specs.n],
						    threads, order, fill);

		code = add_point(job, &point);
	}
	if (code == EXIT_OK && job->nr_points)
		tell_left_out(job);
	else if (code == EXIT_OK)
		code = nothing_fits(job);
	return code;
}

static void measure(struct bench_job *job)
{
	const struct bench_watch watch = {
		.run = job_watch(&job->job),
		.progress = isatty(STDERR_FILENO),
	};
	struct error err = {0};
	int rc;

	rc = bench_run_all(job->points, job->nr_points, &watch, &job->job.tee.sink, &err);
	/* Of what was interrupted, each run has told; of what nobody reads, none has to. */
	if (rc && !job->job.runs.unread && (rc != -EINTR || job->job.code != EXIT_RUN))
		job_fail(&job->job, &err);
}

/* Memory and cpus: of a machine that was named, or as the options say. Return: an exit code. */
static int read_machine(struct bench_job *job)
{
	const struct option_set *o = job->job.options;
	const struct machine *m;
	int code;

	job->memory_bytes = option_uint(o, "memory");
	if (option_given(o, "machine") && (option_given(o, "memory") || option_given(o, "cpus")))
		return cli_usage("bench: --machine says how much memory and how many cpus there "
				 "are; drop --memory and --cpus, or --machine");
	code = cli_machine_read(o, &job->machine);
	if (code != EXIT_OK || !job->machine.machine)
		return code;
	m = job->machine.machine;
	job->memory_bytes = machine_managed(m) << m->page_shift;
	job->cpus = m->nr_cpus;
	return EXIT_OK;
}

/* What is to be measured. Return: an exit code. */
static int prepare(struct bench_job *job)
{
	int code = parse_numbers(job);

	if (code == EXIT_OK)
		code = read_machine(job);
	if (code == EXIT_OK)
		code = cli_backing_read("bench", job->job.options, &job->backing);
	if (code == EXIT_OK)
		code = job_choose_clock("bench", job->job.options, &job->clock);
	if (code == EXIT_OK)
		code = make_points(job);
	if (code == EXIT_OK)
		code = cli_pool_grow("bench", job->job.options, &job->backing, &job->pool);
	return code;
}

static int run(const struct option_set *options, int n, char **operands)
{
	struct bench_job job = {0};
	int kind = cli_pick("bench", operands[0], bench_kind_names), code;

	(void)n;
	if (kind < 0)
		return EXIT_USAGE;
	job.kind = (enum bench_kind)kind;
	if (job_begin(&job.job, "bench", options)) {
		job.job.code = prepare(&job);
		if (job.job.code == EXIT_OK &&
		    job_open(&job.job, job.kind == BENCH_FRAG ? RUNS_FRAG : RUNS_TIMES))
			measure(&job);
	}
	code = job_end(&job.job);
	hugetlb_pool_restore(job.pool);
	free(job.points);
	cli_machine_release(&job.machine);
	return code;
}

const struct verb verb_bench = {
	.name = "bench",
	.summary = "measure back ends without a trace: cost per operation, fragmentation",
	.operands = "bulk|repeat|rand|frag",
	.details = "  bulk    allocate half of what is free, then free it in the same order\n"
		   "  repeat  free a block and allocate one, again and again\n"
		   "  rand    as bulk, freed in random order\n"
		   "  frag    rounds of random frees and allocations: how does memory fragment?\n\n"
		   "--threads, --order and --fill take lists and ranges (0,3,9 or 0-10); every "
		   "combination with every back end "
		   "is one\n"
		   "row. Repetitions are interleaved over the rows, each in a process of its own. "
		   "Times "
		   "are\n"
		   "the median over them, also in units of one uncontended compare-and-swap of the "
		   "same "
		   "run.\n"
		   "frag is exact: the same seed gives the same figures anywhere.\n",
	.options = bench_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
