/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>

#include "analysis/report.h"

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

static int run(const struct option_set *o, int n, char **operands)
{
	const struct report_options options = {
		.database = operands[0],
		.directory = option_string(o, "output"),
		.overwrite = option_bool(o, "force"),
		.label = option_string(o, "label"),
	};
	struct error err = {0};

	(void)n;
	/* Ctrl-C ends gnuplot, and thereby us, after cleaning up. */
	cli_catch_stop();
	if (report_write(&options, &err)) {
		if (cli_stop)
			error_set(&err, EINTR, "%s: interrupted; nothing was written",
				  options.directory);
		return cli_fail(EXIT_RUN, &err);
	}
	fprintf(stderr, "quire: wrote %s/index.html\n", options.directory);
	return EXIT_OK;
}

const struct verb verb_report = {
	.name = "report",
	.summary = "write a static HTML page with tables and plots",
	.operands = "results.db",
	.details =
		"For each trace in the database, the latest finished run of each back end: a\n"
		"comparison table, free huge frames over time, free memory by granularity, "
		"latency\n"
		"distributions. Benchmarks are not drawn: ask the view v_bench. Needs gnuplot.\n",
	.options = report_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
