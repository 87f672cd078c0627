/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "sim/gfp.h"
#include "traces/file/trace.h"
#include "traces/file/trace_check.h"

static const struct option trace_options[] = {
	CLI_OPTION_FORMAT,
	{.name = "skip",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .unit = "events",
	 .help = "cat: leave out that many events first"},
	{.name = "from",
	 .type = OPTION_UINT,
	 .argument = "EVENT",
	 .min = 1,
	 .max = 9e15,
	 .help = "cat: begin with the event of that number, the first is 1, as outliers and "
		 "messages "
		 "have it"},
	{.name = "count",
	 .letter = 'n',
	 .type = OPTION_UINT,
	 .unit = "events",
	 .help = "cat: print at most that many"},
	{.name = "burn-in",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "cat: the events of the burn-in, too, before all others"},
	{.name = "salvage",
	 .type = OPTION_BOOL,
	 .fallback = "off",
	 .help = "info, cat: go on behind damage"},
	{.name = NULL},
};

/* What one file after the other is told in: a document each, but a CSV is one table of all of them. */
struct telling {
	const struct option_set *options;
	struct emitter *table; /* NULL: a document each */
	bool several;	       /* files */
};

/* Return: NULL after telling why. */
static struct emitter *telling_begin(const struct telling *t)
{
	if (!t->table)
		return cli_emitter(t->options);
	emitter_row_begin(t->table);
	return t->table;
}

static int telling_end(const struct telling *t, struct emitter *e, int code)
{
	if (!t->table)
		return cli_emitter_end(e, code);
	emitter_row_end(e);
	return code;
}

/* What is not known: null, and for people nothing. */
static void emit_known(struct emitter *e, const char *key, bool known, uint64_t v)
{
	if (known)
		emitter_uint(e, key, v);
	else if (emitter_format(e) != EMITTER_TABLE)
		emitter_null(e, key);
}

/* Return: NULL after telling why. */
static struct trace_reader *open_file(const struct option_set *o, const char *path,
				      unsigned int flags)
{
	struct trace_reader *r;
	struct error err = {0};

	if (option_bool(o, "salvage"))
		flags |= TRACE_SALVAGE;
	if (!trace_reader_open(path, flags, &r, &err))
		return r;
	cli_fail(EXIT_RUN, &err);
	return NULL;
}

/* ---- info ---- */

static const char *clock_text(uint64_t unix_s, char text[32])
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!unix_s || !gmtime_r(&t, &tm))
		return NULL;
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

static void emit_header(struct emitter *e, const struct trace_header *h)
{
	char when[32];

	emitter_uint(e, "format_version", h->version);
	emitter_string(e, "kernel", h->kernel);
	emitter_string(e, "recorder", h->recorder);
	emitter_string(e, "recorded", clock_text(h->recorded_s, when));
	emitter_string(e, "clock", h->clock);
	emitter_string(e, "note", h->note);
	emitter_string(e, "identity", h->identity == IDENTITY_PFN ? "pfn" : "virtual");
	emitter_bool(e, "ground_truth", h->compatible_features & TRACE_HAS_GROUND_TRUTH);
	emitter_bool(e, "labels", h->compatible_features & TRACE_HAS_LABELS);
	emitter_bool(e, "kswapd", h->compatible_features & TRACE_HAS_KSWAPD);
	emitter_bool(e, "hindsight_marks", h->compatible_features & TRACE_MARKS_HINDSIGHT);
	emitter_bool(e, "burn_in", h->compatible_features & TRACE_HAS_BURN_IN);
	emitter_uint(e, "cpus", h->machine->nr_cpus);
	emitter_uint(e, "nodes", h->machine->nr_nodes);
	emitter_uint(e, "managed_frames", machine_managed(h->machine));
}

static void emit_totals(struct emitter *e, const struct trace_reader *r)
{
	static const struct trace_totals nothing;
	const struct trace_totals *read = trace_reader_totals(r), *t = read ? read : &nothing;
	const bool burnt_in = trace_reader_header(r)->compatible_features & TRACE_HAS_BURN_IN;

	emitter_uint(e, "file_bytes", trace_reader_file_bytes(r));
	emit_known(e, "events", read, t->events);
	emit_known(e, "ops", read, t->ops);
	if (read || emitter_format(e) != EMITTER_TABLE) {
		emitter_real(e, "bytes_per_op",
			     t->ops ? (double)trace_reader_file_bytes(r) / (double)t->ops
				    : (double)NAN);
		emitter_real(e, "duration_s",
			     read ? (double)(t->last_ns - t->first_ns) / 1e9 : (double)NAN);
	}
	emit_known(e, "lost_events", read, t->lost_events);
	emit_known(e, "resorted_events", read, t->resorted);
	emit_known(e, "contexts", read, t->contexts);
	emit_known(e, "burn_in_events", read && burnt_in, t->burn_in_events);
	emit_known(e, "burn_in_lost_events", read && burnt_in, t->burn_in_lost);
	if (read || emitter_format(e) != EMITTER_TABLE)
		emitter_string(e, "digest", read ? t->digest : NULL);
}

static void emit_zones(struct emitter *e, const struct machine *m)
{
	static const struct emitter_column columns[] = {
		{.path = "node"},
		{.path = "zone"},
		{.path = "start_pfn", .style = EMITTER_HEX},
		{.path = "end_pfn", .style = EMITTER_HEX},
		{.path = "present_frames", .style = EMITTER_COUNT, .priority = 1},
		{.path = "managed_frames", .style = EMITTER_COUNT},
	};

	emitter_aside_begin(e, "zones", columns, ARRAY_SIZE(columns));
	for (unsigned int z = 0; z < m->nr_zones; z++) {
		emitter_row_begin(e);
		emitter_uint(e, "node", m->zones[z].node);
		emitter_string(e, "zone", zone_type_name(m->zones[z].type));
		emitter_uint(e, "start_pfn", m->zones[z].start);
		emitter_uint(e, "end_pfn", m->zones[z].end);
		emitter_uint(e, "present_frames", m->zones[z].present);
		emitter_uint(e, "managed_frames",
			     machine_managed_in(m, m->zones[z].start, m->zones[z].end));
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static void emit_kinds(struct emitter *e, const struct trace_totals *t)
{
	static const struct emitter_column columns[] = {
		{.path = "kind"},
		{.path = "count", .unit = "events", .style = EMITTER_COUNT},
	};

	if (!t)
		return;
	emitter_aside_begin(e, "kinds", columns, ARRAY_SIZE(columns));
	for (unsigned int k = 1; k < EVENT_KINDS; k++) {
		if (!t->by_kind[k])
			continue;
		emitter_row_begin(e);
		emitter_string(e, "kind", event_kind_name(k));
		emitter_uint(e, "count", t->by_kind[k]);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

/* Return: 0, or the reader's error for a damaged snapshot. */
static int emit_snapshots(struct emitter *e, struct trace_reader *r, struct error *err)
{
	static const char *const names[] = {"start", "end", "burn-in"};
	static const enum trace_snapshot order[] = {TRACE_BURN_IN, TRACE_START, TRACE_END};
	static const struct emitter_column columns[] = {
		{.path = "snapshot"},
		{.path = "runs", .style = EMITTER_COUNT, .priority = 4},
		{.path = "free", .unit = "frames", .style = EMITTER_COUNT},
		{.path = "parked", .unit = "frames", .style = EMITTER_COUNT, .priority = 1},
		{.path = "movable", .unit = "frames", .style = EMITTER_COUNT},
		{.path = "unmovable", .unit = "frames", .style = EMITTER_COUNT},
		{.path = "reclaimable", .unit = "frames", .style = EMITTER_COUNT},
		{.path = "reserved", .unit = "frames", .style = EMITTER_COUNT, .priority = 2},
		{.path = "offline", .unit = "frames", .style = EMITTER_COUNT, .priority = 3},
	};
	int rc = 0;

	emitter_aside_begin(e, "snapshots", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < ARRAY_SIZE(order) && !rc; i++) {
		uint64_t frames[FRAME_STATES];
		struct frame_map *map;

		rc = trace_reader_snapshot(r, order[i], &map, err);
		if (rc == -ENOENT) {
			rc = 0;
			continue;
		}
		if (rc)
			break;
		frame_map_count(map, frames);
		emitter_row_begin(e);
		emitter_string(e, "snapshot", names[order[i]]);
		emitter_uint(e, "time_ns", map->time_ns);
		emitter_uint(e, "runs", map->nr_runs);
		for (unsigned int s = 0; s < FRAME_STATES; s++)
			emitter_uint(e, frame_state_name(s), frames[s]);
		emitter_row_end(e);
		frame_map_destroy(map);
	}
	emitter_rows_end(e);
	return rc;
}

static int info_file(const struct telling *t, const char *path)
{
	struct trace_reader *r = open_file(t->options, path, 0);
	struct error err = {0};
	int code = EXIT_OK;
	struct emitter *e;

	if (!r)
		return EXIT_RUN;
	e = telling_begin(t);
	if (!e) {
		trace_reader_close(r);
		return EXIT_RUN;
	}
	emitter_string(e, "trace", path);
	emit_header(e, trace_reader_header(r));
	emit_totals(e, r);
	if (!t->table) {
		emit_zones(e, trace_reader_header(r)->machine);
		emit_kinds(e, trace_reader_totals(r));
		if (emit_snapshots(e, r, &err))
			code = cli_fail(EXIT_RUN, &err);
	}
	trace_reader_close(r);
	return telling_end(t, e, code);
}

/* ---- check ---- */

static void tell_damage(void *arg, const struct error *damage)
{
	(void)arg;
	cli_fail(EXIT_CHECK, damage);
}

static int check_file(const struct telling *t, const char *path)
{
	struct trace_check c;
	struct error err = {0};
	struct emitter *e;

	if (trace_check(path, tell_damage, NULL, &c, &err))
		return cli_fail(EXIT_RUN, &err);
	e = telling_begin(t);
	if (!e)
		return EXIT_RUN;
	emitter_string(e, "trace", path);
	emitter_bool(e, "intact", c.intact);
	emitter_uint(e, "events_read", c.events);
	emit_known(e, "events_written", c.has_footer, c.events_written);
	emitter_uint(e, "damaged_places", c.damages);
	emitter_uint(e, "lost_to_damage", c.lost_to_damage);
	emitter_uint(e, "lost_when_recorded", c.lost_when_recorded);
	return telling_end(t, e, c.intact ? EXIT_OK : EXIT_CHECK);
}

/* ---- cat ---- */

static const struct emitter_column event_columns[] = {
	{.path = "event", .width = 8, .priority = 1},
	{.path = "time_ns", .width = 16},
	{.path = "cpu", .width = 3},
	{.path = "context", .width = 7, .priority = 2},
	{.path = "kind", .width = 12},
	{.path = "pfn", .style = EMITTER_HEX, .width = 10},
	{.path = "order", .width = 5},
	{.path = "migratetype", .width = 11},
	{.path = "gfp", .width = 40, .priority = 4},
	{.path = "arg", .style = EMITTER_HEX, .width = 8, .priority = 3},
};

/* @number: 0: it has none. */
static void emit_event(struct emitter *e, const struct trace_reader *r, const struct event *ev,
		       uint64_t number, const char *trace)
{
	char gfp[256];

	emitter_row_begin(e);
	if (trace)
		emitter_string(e, "trace", trace);
	if (number)
		emitter_uint(e, "event", number);
	else
		emitter_null(e, "event");
	emitter_uint(e, "time_ns", ev->time_ns);
	emitter_uint(e, "cpu", ev->cpu);
	emitter_uint(e, "context", ev->context);
	emitter_string(e, "kind", event_kind_name(ev->kind));
	if (ev->pfn == PFN_NONE)
		emitter_null(e, "pfn");
	else
		emitter_uint(e, "pfn", ev->pfn);
	emitter_uint(e, "order", ev->order);
	emitter_string(e, "migratetype",
		       ev->migratetype < MIGRATE_TYPES ? migratetype_name(ev->migratetype) : NULL);
	gfp_format(ev->gfp, gfp, sizeof(gfp));
	emitter_string(e, "gfp", ev->gfp ? gfp : NULL);
	if (ev->kind == EVENT_MARK)
		emitter_string(e, "arg", trace_reader_mark_name(r, ev->arg));
	else
		emitter_uint(e, "arg", ev->arg);
	emitter_uint(e, "flags", ev->flags);
	emitter_row_end(e);
}

/* @trace: each event is of; NULL: of the only one there is. */
static int cat_events(const struct option_set *o, struct trace_reader *r, struct emitter *e,
		      const char *trace)
{
	const bool numbered = !option_bool(o, "burn-in");
	uint64_t skip = option_uint(o, "skip"), number = 0;
	uint64_t left = option_given(o, "count") ? option_uint(o, "count") : UINT64_MAX;
	const struct event *events;
	struct error err = {0};
	size_t n;
	int rc;

	while (left && !cli_stop && !cli_unread(e) &&
	       (rc = trace_reader_next(r, &events, &n, &err)) != 0) {
		size_t first;

		if (rc < 0) {
			cli_fail(EXIT_RUN, &err);
			if (rc == -EBADMSG && option_bool(o, "salvage"))
				continue;
			return EXIT_RUN;
		}
		if (option_given(o, "from") && !number)
			skip = option_uint(o, "from") - 1;
		first = (size_t)min_u64(skip, n);
		skip -= first;
		for (size_t i = first; i < n && left && !cli_stop; i++, left--)
			emit_event(e, r, &events[i], numbered ? number + i + 1 : 0, trace);
		number += n;
	}
	return EXIT_OK;
}

static int cat_file(const struct telling *t, const char *path)
{
	const struct option_set *o = t->options;
	bool burn_in = option_bool(o, "burn-in");
	struct trace_reader *r = open_file(o, path, burn_in ? TRACE_READ_BURN_IN : 0);
	struct emitter *e = t->table;
	int code;

	if (!r)
		return EXIT_RUN;
	if (!e)
		e = cli_emitter(o);
	if (!e) {
		trace_reader_close(r);
		return EXIT_RUN;
	}
	cli_catch_stop();
	if (t->table) {
		code = cat_events(o, r, e, t->several ? path : NULL);
	} else {
		if (t->several || emitter_format(e) == EMITTER_JSON)
			emitter_string(e, "trace", path);
		emitter_rows_begin(e, "events", event_columns, ARRAY_SIZE(event_columns));
		code = cat_events(o, r, e, NULL);
		emitter_rows_end(e);
		code = cli_emitter_end(e, code);
	}
	trace_reader_close(r);
	return code;
}

/* ---- the verb ---- */

static int run(const struct option_set *options, int n, char **operands)
{
	static const char *const names[] = {"info", "check", "cat", NULL};
	static const char *const lists[] = {"traces", "traces", "events"};
	static int (*const actions[])(const struct telling *,
				      const char *path) = {info_file, check_file, cat_file};
	int action = cli_pick("trace", operands[0], names), code = EXIT_OK;
	struct telling telling = {.options = options, .several = n > 2};

	if (action < 0)
		return EXIT_USAGE;
	if (option_given(options, "from") &&
	    (option_given(options, "skip") || option_bool(options, "burn-in")))
		return cli_usage("trace: --from counts the trace's own events; drop --skip and "
				 "--burn-in, or --from");
	if (option_choice(options, "format") == EMITTER_CSV) {
		telling.table = cli_emitter(options);
		if (!telling.table)
			return EXIT_RUN;
		emitter_rows_begin(telling.table, lists[action], NULL, 0);
	}
	for (int t = 1; t < n && !cli_stop; t++)
		cli_raise(&code, actions[action](&telling, operands[t]));
	if (!telling.table)
		return code;
	emitter_rows_end(telling.table);
	return cli_emitter_end(telling.table, code);
}

const struct verb verb_trace = {
	.name = "trace",
	.summary = "look into trace files: info, check, cat",
	.operands = "info|check|cat T.quire...",
	.details =
		"info   what was recorded, where, how much, and both snapshots in numbers\n"
		"check  read everything and compare it; exit 1 and a line for each damage\n"
		"cat    print the events\n\n"
		"Of several traces, JSON is a document each, one after the other; CSV is one table "
		"of\n"
		"all: a row for each trace, or for each event.\n",
	.options = trace_options,
	.min_operands = 2,
	.max_operands = -1,
	.run = run,
};
