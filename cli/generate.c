/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/progress.h"
#include "traces/generate/generate.h"

#define WORKLOADS_MAX 63

static const struct option generate_options[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_STRING,
	 .argument = "FILE",
	 .help = "where to write the trace (default: WORKLOAD.quire)"},
	{.name = "parameter",
	 .letter = 'p',
	 .type = OPTION_STRING,
	 .flags = OPTION_REPEATS,
	 .argument = "KEY=VALUE[,...]",
	 .help = "one of the workload's parameters, below"},
	CLI_OPTION_FORCE,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

static void show_progress(void *arg, uint64_t events)
{
	progress_update(arg, events);
}

/* Return: NULL after telling what there is. */
static const struct workload *find_workload(const char *name)
{
	const char *names[WORKLOADS_MAX + 1] = {NULL};
	int i;

	for (size_t w = 0; workloads[w] && w < WORKLOADS_MAX; w++)
		names[w] = workloads[w]->name;
	i = cli_pick("generate", name, names);
	return i < 0 ? NULL : workloads[i];
}

/* The workload's values as given with -p. */
static int parse_parameters(const struct workload *workload, const struct option_set *o,
			    struct option_set **values)
{
	struct error err = {0};

	if (option_set_create(workload->options, values, &err))
		return cli_fail(EXIT_RUN, &err);
	for (const char *const *text = option_strings(o, "parameter"); *text; text++) {
		if (option_set_parse_spec(*values, *text, &err)) {
			error_prefix(&err, "generate: %s", workload->name);
			return cli_refuse(&err);
		}
	}
	return EXIT_OK;
}

static void emit_stats(struct emitter *e, const struct workload *workload, const char *out,
		       const struct generate_stats *s)
{
	emitter_string(e, "trace", out);
	emitter_string(e, "workload", workload->name);
	emitter_uint(e, "events", s->totals.events);
	emitter_uint(e, "ops", s->totals.ops);
	emitter_uint(e, "peak_frames", s->peak_frames);
	emitter_uint(e, "bytes", s->bytes);
	emitter_string(e, "digest", s->totals.digest);
}

static int generate(const struct workload *workload, const struct option_set *values,
		    const struct option_set *o)
{
	const char *out = option_string(o, "output");
	struct generate_stats stats = {0};
	struct progress progress;
	const struct generate_how how = {
		.overwrite = option_bool(o, "force"),
		.progress = show_progress,
		.progress_arg = &progress,
	};
	struct error err = {0};
	struct emitter *e;
	char path[64];
	int rc;

	if (!out) {
		snprintf(path, sizeof(path), "%s.quire", workload->name);
		out = path;
	}
	progress_begin(&progress, stderr, "generate", 0);
	rc = generate_file(workload, values, out, &how, &stats, &err);
	progress_end(&progress);
	if (rc == -EINVAL)
		error_prefix(&err, "generate");
	if (rc)
		return cli_fail(rc == -EINVAL ? EXIT_USAGE : EXIT_RUN, &err);
	e = cli_emitter(o);
	if (!e)
		return EXIT_RUN;
	emit_stats(e, workload, out, &stats);
	return cli_emitter_end(e, EXIT_OK);
}

static int run(const struct option_set *o, int n, char **operands)
{
	const struct workload *workload = find_workload(operands[0]);
	struct option_set *values = NULL;
	int code;

	(void)n;
	if (!workload)
		return EXIT_USAGE;
	code = parse_parameters(workload, o, &values);
	if (code == EXIT_OK)
		code = generate(workload, values, o);
	option_set_destroy(values);
	return code;
}

/* Each workload with its parameters. */
static void help(FILE *out)
{
	for (const struct workload *const *w = workloads; *w; w++) {
		fprintf(out, "\n%s: %s\n", (*w)->name, (*w)->summary);
		option_help((*w)->options, false, out);
	}
}

const struct verb verb_generate = {
	.name = "generate",
	.summary = "write a trace nobody recorded: a workload, made up",
	.operands = "WORKLOAD",
	.details =
		"The same parameters give the same bytes on any machine. A generated trace names "
		"objects,\n"
		"not frames (identity: virtual): any back end that chooses frames itself can "
		"replay it.\n",
	.options = generate_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
	.more_help = help,
};
