/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traces/record/record.h"

static const struct option record_options[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_STRING,
	 .argument = "FILE",
	 .fallback = "trace.quire",
	 .help = "where to write the trace"},
	{.name = "duration",
	 .letter = 'd',
	 .type = OPTION_REAL,
	 .fallback = "0",
	 .unit = "s",
	 .min = 0,
	 .max = 1e7,
	 .help = "stop after so long; 0: when the command ends, or at Ctrl-C without one"},
	{.name = "buffer",
	 .type = OPTION_SIZE,
	 .fallback = "64M",
	 .unit = "bytes",
	 .min = 1 << 20,
	 .max = 1UL << 34,
	 .help = "kernel ring buffer for each CPU"},
	{.name = "note",
	 .type = OPTION_STRING,
	 .argument = "TEXT",
	 .help = "provenance to keep in the trace; leave out names and paths"},
	{.name = "spool",
	 .type = OPTION_STRING,
	 .argument = "DIR",
	 .help = "where raw events wait for the end (default: beside the trace)"},
	{.name = "burn-in",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "first make known what lists of free frames hold, for `quire fidelity`: uses "
		 "nearly "
		 "all free memory for some seconds"},
	CLI_OPTION_FORCE,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

static void emit_stats(struct emitter *e, const char *out, const struct record_stats *s)
{
	const struct trace_totals *t = &s->totals;
	uint64_t frees = t->by_kind[EVENT_FREE];

	emitter_string(e, "trace", out);
	emitter_uint(e, "events", t->events);
	emitter_uint(e, "ops", t->ops);
	emitter_uint(e, "allocs", t->by_kind[EVENT_ALLOC]);
	emitter_uint(e, "frees", frees);
	emitter_uint(e, "lost_events", t->lost_events);
	emitter_uint(e, "orphan_frees", s->orphan_frees);
	emitter_real(e, "orphan_share", frees ? (double)s->orphan_frees / (double)frees : 0);
	emitter_uint(e, "implicit_frees", s->implicit_frees);
	emitter_uint(e, "parked_inferred", s->parked_inferred);
	emitter_uint(e, "freed_inferred", s->freed_inferred);
	emitter_uint(e, "online_frames", s->online_frames);
	emitter_uint(e, "moved_in_start_scan", s->moved_in_start);
	emitter_uint(e, "moved_in_end_scan", s->moved_in_end);
	emitter_real(e, "duration_s", (double)(t->last_ns - t->first_ns) / 1e9);
	if (s->burn_in_s > 0) {
		emitter_uint(e, "burn_in_events", t->burn_in_events);
		emitter_uint(e, "burn_in_lost_events", t->burn_in_lost);
		emitter_real(e, "burn_in_s", s->burn_in_s);
	}
	emitter_string(e, "digest", t->digest);
}

static int tell(const struct option_set *o, const struct record_stats *s)
{
	struct emitter *e = cli_emitter(o);
	int status = s->command_status;

	if (!e)
		return EXIT_RUN;
	emit_stats(e, option_string(o, "output"), s);
	/* Then it was the recorder that ended the command. */
	if (s->cut.code)
		return cli_emitter_end(e, cli_fail(EXIT_RUN, &s->cut));
	if (WIFSIGNALED(status))
		fprintf(stderr, "quire: the command was killed by signal %d; the trace is whole\n",
			WTERMSIG(status));
	else if (WEXITSTATUS(status))
		fprintf(stderr, "quire: the command ended with exit code %d; the trace is whole\n",
			WEXITSTATUS(status));
	if (s->totals.lost_events)
		fprintf(stderr,
			"quire: %" PRIu64
			" events were lost; record again with a larger --buffer\n",
			s->totals.lost_events);
	return cli_emitter_end(e, EXIT_OK);
}

/* The command's own output is on the same terminal: a line each, and none that is redrawn. */
static void tell_phase(void *arg, const char *what)
{
	(void)arg;
	fprintf(stderr, "quire: record: %s\n", what);
}

static int run(const struct option_set *o, int n, char **operands)
{
	const struct record_options options = {
		.out = option_string(o, "output"),
		.overwrite = option_bool(o, "force"),
		.buffer_bytes = option_uint(o, "buffer"),
		.duration_s = option_real(o, "duration"),
		.command = n ? operands : NULL,
		.note = option_string(o, "note"),
		.spool = option_string(o, "spool"),
		.burn_in = option_bool(o, "burn-in"),
		.phase = isatty(STDERR_FILENO) ? tell_phase : NULL,
	};
	struct record_stats stats = {0};
	struct error err = {0};

	if (record_run(&options, &stats, &err))
		return cli_fail(EXIT_RUN, &err);
	return tell(o, &stats);
}

const struct verb verb_record = {
	.name = "record",
	.summary = "record what this kernel's page allocator is asked to do",
	.operands = "[-- CMD...]",
	.details = "Records from before the command starts until after it ends (or for a while, "
		   "without\n"
		   "one), between two snapshots of every frame. Needs root and tracefs; uses a "
		   "tracing\n"
		   "instance of its own, removed afterwards. The trace holds no command names, no "
		   "paths,\n"
		   "no real process ids. The command's own output is left alone.\n"
		   "With --burn-in the trace also tells what led to its start: how the kernel "
		   "refilled "
		   "its\n"
		   "lists of free frames, forced to by a load of some seconds. Let the machine be "
		   "idle.\n",
	.options = record_options,
	.min_operands = 0,
	.max_operands = -1,
	.stop_at_operand = true,
	.run = run,
};
