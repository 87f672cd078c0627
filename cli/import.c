/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "traces/import/import.h"

static const struct option import_options[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_STRING,
	 .argument = "FILE",
	 .help = "where to write the trace (default: FILE with .quire for its ending)"},
	{.name = "from",
	 .type = OPTION_CHOICE,
	 .choices = import_format_names,
	 .fallback = "auto",
	 .help = "what FILE is: the text of perf script, that of ftrace's file `trace` or of "
		 "trace-cmd report, or whichever each line looks like"},
	{.name = "memory",
	 .type = OPTION_SIZE,
	 .unit = "bytes",
	 .help = "memory of the machine that recorded (default: up to the highest frame seen)"},
	{.name = "drop-beyond",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "with --memory: count events on frames beyond it as lost, instead of refusing "
		 "them"},
	{.name = "kernel",
	 .type = OPTION_STRING,
	 .argument = "RELEASE",
	 .help = "release of the kernel that recorded, such as 6.18.44"},
	{.name = "note",
	 .type = OPTION_STRING,
	 .argument = "TEXT",
	 .help = "provenance to keep in the trace"},
	CLI_OPTION_FORCE,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done);
}

/* "dir/run.txt" -> "dir/run.quire"; "-" -> "trace.quire". */
static void default_output(const char *in, char *out, size_t size)
{
	const char *base = strrchr(in, '/');
	const char *dot = strrchr(base ? base : in, '.');
	int stem = dot && dot != (base ? base + 1 : in) ? (int)(dot - in) : (int)strlen(in);

	if (!strcmp(in, "-"))
		snprintf(out, size, "trace.quire");
	else
		snprintf(out, size, "%.*s.quire", stem, in);
}

static void emit_stats(struct emitter *e, const char *out, const struct import_stats *s)
{
	emitter_string(e, "trace", out);
	emitter_uint(e, "lines", s->lines);
	emitter_uint(e, "skipped_lines", s->skipped_lines);
	emitter_uint(e, "events", s->totals.events);
	emitter_uint(e, "ops", s->totals.ops);
	emitter_uint(e, "lost_events", s->totals.lost_events);
	emitter_uint(e, "dropped_events", s->dropped_events);
	emitter_uint(e, "resorted_events", s->totals.resorted);
	emitter_uint(e, "unknown_gfp_names", s->unknown_gfp_names);
	emitter_uint(e, "memory_bytes", s->memory_bytes);
	emitter_uint(e, "stray_events", s->strays.events);
	emitter_string(e, "digest", s->totals.digest);
}

/* As options take it: "22528M", "16T". */
static void size_text(uint64_t bytes, char text[32])
{
	static const char units[] = "BKMGT";
	unsigned int u = 0;

	for (; u < 4 && bytes && bytes % 1024 == 0; u++)
		bytes /= 1024;
	snprintf(text, 32, "%" PRIu64 "%.*s", bytes, u != 0, &units[u]);
}

/* A machine of terabytes because of one digit would only show when a replay runs out of memory. */
static void warn_of_strays(const char *in, const struct import_stats *s)
{
	struct error warning = {0};
	char with[32], without[32];

	if (!s->strays.events)
		return;
	size_text(s->memory_bytes, with);
	size_text(s->memory_without_strays_bytes, without);
	error_set(&warning, ERANGE,
		  "warning: %s:%" PRIu64 ": pfn 0x%" PRIx64 " (%" PRIu64 " of %" PRIu64
		  " events) lies far above all other frames: the machine has %s because of it, "
		  "without it %s; if it is a mistake, import again with --memory %s --drop-beyond",
		  in, s->strays.line, s->strays.pfn, s->strays.events, s->strays.of, with, without,
		  without);
	cli_fail(EXIT_OK, &warning);
}

static int run(const struct option_set *o, int n, char **operands)
{
	struct progress progress;
	struct import_options options = {
		.from = option_choice(o, "from"),
		.memory_bytes = option_given(o, "memory") ? option_uint(o, "memory") : 0,
		.drop_beyond = option_bool(o, "drop-beyond"),
		.overwrite = option_bool(o, "force"),
		.note = option_string(o, "note"),
		.kernel = option_string(o, "kernel"),
		.progress = show_progress,
		.progress_arg = &progress,
	};
	const char *out = option_string(o, "output");
	struct import_stats stats = {0};
	struct error err = {0};
	char path[4096];
	struct emitter *e;
	int rc;

	(void)n;
	if (options.drop_beyond && !options.memory_bytes)
		return cli_usage("--drop-beyond needs --memory, beyond which to drop");
	if (!out) {
		default_output(operands[0], path, sizeof(path));
		out = path;
	}
	progress_begin(&progress, stderr, "import", 0);
	rc = import_file(operands[0], out, &options, &stats, &err);
	progress_end(&progress);
	if (rc)
		return cli_fail(EXIT_RUN, &err);
	warn_of_strays(operands[0], &stats);
	e = cli_emitter(o);
	if (!e)
		return EXIT_RUN;
	emit_stats(e, out, &stats);
	return cli_emitter_end(e, EXIT_OK);
}

const struct verb verb_import = {
	.name = "import",
	.summary = "turn another tool's recording into a trace",
	.operands = "FILE",
	.details = "Reads the text of `perf script` or of ftrace (\"-\": standard input). Such "
		   "recordings\n"
		   "carry no snapshots, and perf loses some frees silently: good enough to study\n"
		   "fragmentation, not fidelity. `quire record` is the better recorder.\n",
	.options = import_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
