/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "analysis/report.h"
#include "analysis/text.h"

static const struct option report_options[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_STRING,
	 .argument = "DIR",
	 .flags = OPTION_REQUIRED,
	 .help = "directory for index.html and its plots"},
	{.name = "label",
	 .letter = 'l',
	 .type = OPTION_STRING,
	 .help = "only runs with this label"},
	CLI_OPTION_FORCE,
	{.name = NULL},
};

/* The option of `quire replay` that a setting is chosen by: spelled alike, but for the dash. */
static const struct option *option_of(const char *key)
{
	for (const struct option *o = verb_replay.options; o->name; o++) {
		size_t i = 0;

		while (o->name[i] && (o->name[i] == key[i] || (o->name[i] == '-' && key[i] == '_')))
			i++;
		if (!o->name[i] && !key[i])
			return o;
	}
	return NULL;
}

/* Memory that was packed for want of another way had not been asked for. */
static bool is_told(const struct report_replay *replay, const struct result_setting *s)
{
	if (strcmp(s->key, "prefill") != 0)
		return true;
	for (size_t i = 0; i < replay->n_settings; i++)
		if (strcmp(replay->settings[i].key, "prefill_fallback") == 0)
			return false;
	return true;
}

static void put_setting(FILE *out, const struct result_setting *s)
{
	const struct option *o = option_of(s->key);

	if (!o)
		return;
	if (o->type == OPTION_BOOL) {
		fprintf(out, " --%s%s", strcmp(s->value, "false") == 0 ? "no-" : "", o->name);
		return;
	}
	fprintf(out, " --%s ", o->name);
	text_shell(out, s->value);
}

static void put_command(FILE *out, const struct report_options *options,
			const struct report_replay *replay)
{
	if (!replay) {
		fputs("quire report ", out);
		text_shell(out, text_base_name(options->database));
		fputs(" -o ", out);
		text_shell(out, text_base_name(options->directory));
		return;
	}
	fputs("quire replay ", out);
	text_shell(out, replay->trace);
	for (size_t i = 0; i < replay->n_specs; i++) {
		fputs(" \\\n    -a ", out);
		text_shell(out, replay->specs[i]);
	}
	fputs(" \\\n   ", out);
	for (size_t i = 0; i < replay->n_settings; i++)
		if (is_told(replay, &replay->settings[i]))
			put_setting(out, &replay->settings[i]);
	fprintf(out, " --seed %" PRIu64, replay->seed);
	if (replay->label) {
		fputs(" --label ", out);
		text_shell(out, replay->label);
	}
	fputs(" --db ", out);
	text_shell(out, text_base_name(options->database));
	fputc('\n', out);
}

/* What the library cannot know: how to make what is missing. */
static void add_remedy(struct error *err)
{
	if (err->code == ENOENT)
		error_set(err, ENOENT, "%s; 'quire replay --db FILE' makes one", err->text);
	if (err->code == EEXIST)
		error_set(err, EEXIST, "%s, or replace it with --force", err->text);
}

static int run(const struct option_set *o, int n, char **operands)
{
	const struct report_options options = {
		.database = operands[0],
		.directory = option_string(o, "output"),
		.overwrite = option_bool(o, "force"),
		.label = option_string(o, "label"),
		.put_command = put_command,
	};
	struct error err = {0};

	(void)n;
	/* Ctrl-C ends gnuplot, and thereby us, after cleaning up. */
	cli_catch_stop();
	if (report_write(&options, &err)) {
		if (cli_stop)
			error_set(&err, EINTR, "%s: interrupted; nothing was written",
				  options.directory);
		else
			add_remedy(&err);
		return cli_fail(EXIT_RUN, &err);
	}
	fprintf(stderr, "quire: wrote %s/index.html\n", options.directory);
	return EXIT_OK;
}

const struct verb verb_report = {
	.name = "report",
	.summary = "write a static HTML page with tables and plots",
	.operands = "results.db",
	.details = "For each trace in the database, the latest finished run of each back end, its\n"
		   "options, label and settings, as in the view v_comparison: a\n"
		   "comparison table, free huge frames over time, free memory by granularity, "
		   "latency\n"
		   "distributions. Runs that crashed, hung or failed are listed with why. "
		   "Benchmarks\n"
		   "are not drawn: ask the view v_bench. The page keeps names of files, and no "
		   "directory\n"
		   "of this machine. Needs gnuplot.\n",
	.options = report_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
