/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analysis/report.h"
#include "analysis/store.h"
#include "base/bits.h"
#include "results/settings.h"

#define SAMPLES 60

struct fixture {
	char directory[64], database[96], out[96];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	snprintf(f->directory, sizeof(f->directory), "%.40s/quire-report-XXXXXX",
		 tmp ? tmp : P_tmpdir);
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->database, sizeof(f->database), "%s/results.db", f->directory);
	snprintf(f->out, sizeof(f->out), "%s/report", f->directory);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", f->directory);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- a database as a small replay leaves it -------------------------------------------------- */

struct backend {
	const char *name, *spec, *options, *summary;
	double huge;	 /* free huge frames at the end */
	double share[4]; /* of free memory, 2 MiB to 1 GiB */
	double moves, refused, ns, metadata;
	bool oracle;
};

static const struct backend backends[] = {
	{"null",
	 "null",
	 "",
	 "no allocator: the cost of the harness",
	 1204,
	 {0.83, 0.71, 0.42, 0},
	 61233,
	 0,
	 4,
	 0,
	 false},
	{"recorded",
	 "recorded",
	 "",
	 "where the kernel put it",
	 1204,
	 {0.83, 0.71, 0.42, 0},
	 61233,
	 0,
	 5,
	 0,
	 true},
	{"buddy",
	 "buddy",
	 "pcp=off",
	 "Linux zones and free lists",
	 1187,
	 {0.82, 0.70, 0.39, 0},
	 64120,
	 0,
	 41,
	 9437184,
	 true},
	{"llfree",
	 "llfree",
	 "tree=8",
	 "lock-free two-level allocator",
	 1391,
	 {0.958, 0.91, 0.66, 0.25},
	 20111,
	 0,
	 29,
	 163840,
	 true},
	{"llfree",
	 "llfree:tree=32",
	 "tree=32",
	 "lock-free two-level allocator",
	 1377,
	 {0.949, 0.90, 0.61, 0.25},
	 22671,
	 0,
	 30,
	 151552,
	 true},
	{"firstfit",
	 "firstfit",
	 "",
	 "lowest free block",
	 1402,
	 {0.966, 0.94, 0.83, 0.5},
	 9120,
	 3,
	 122,
	 140000,
	 true},
	{"nextfit",
	 "nextfit",
	 "",
	 "next free block",
	 611,
	 {0.42, 0.11, 0.02, 0},
	 181003,
	 0,
	 88,
	 140000,
	 true},
};

static void must_take(struct store *store, const struct result_record *record)
{
	struct result_sink *sink = store_sink(store);
	struct error err = {0};

	if (sink->take(sink, record, &err) != 0)
		fail_msg("%s", err.text);
}

static void send_metric(struct store *store, enum metric metric, double value)
{
	struct result_record record = {.kind = RESULT_METRIC};

	record.metric.metric = metric;
	record.metric.value = value;
	must_take(store, &record);
}

static void send_samples(struct store *store, const struct backend *b)
{
	for (uint32_t i = 0; i <= SAMPLES; i++) {
		struct result_record record = {.kind = RESULT_SAMPLE};
		const double t = (double)i / SAMPLES;

		record.sample.index = i;
		record.sample.end = i == SAMPLES;
		record.sample.event = i * UINT64_C(12000);
		record.sample.time_ns = UINT64_C(88000000000) + i * UINT64_C(731000000);
		for (size_t m = 0; m < METRIC_STATE_COUNT; m++)
			record.sample.state[m] = NAN;
		record.sample.state[METRIC_free_huge - METRIC_STATE_FIRST] =
			round(1500 + (b->huge - 1500) * sqrt(t) +
			      40 * sin(31 * t + (double)b->name[0]) * t * (1 - t));
		must_take(store, &record);
	}
}

static void send_latency(struct store *store, const struct backend *b, enum latency_op op,
			 uint32_t cpu)
{
	struct result_record record = {.kind = RESULT_LATENCY};
	struct histogram h;
	uint64_t x = 88172645463325252u + cpu;

	histogram_init(&h);
	for (int i = 0; i < 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		histogram_add(&h, (uint64_t)(b->ns * (op == LATENCY_ALLOC ? 1 : 0.8) *
					     pow((double)(x >> 11) * 0x1p-53, -0.45)));
	}
	record.latency.op = op;
	record.latency.order_class = LATENCY_ORDER0;
	record.latency.cpu = cpu;
	record.latency.histogram = &h;
	must_take(store, &record);
}

static void send_run(struct store *store, const struct backend *b, const char *trace,
		     const char *digest)
{
	struct result_record record = {
		.kind = RESULT_RUN,
		.run =
			{
				.allocator = b->name,
				.spec = b->spec,
				.options = b->options,
				.allocator_summary = b->summary,
				.role = !strcmp(b->name, "recorded") ? ROLE_REFERENCE
					: !strcmp(b->name, "null")   ? ROLE_HARNESS
								     : ROLE_CANDIDATE,
				.trace = trace,
				.trace_digest = digest,
				.trace_note =
					"Linux 6.18.5 x86_64, 2 CPUs, recorded by quire 0.1.0",
				.mode = "sequential",
				.point_id = "0123456789abcdef0123456789abcdef",
				.build_id = "9f8e7d6c5b4a",
				.seed = 1,
				.start_ns = UINT64_C(1760000000000000000),
				.threads = 1,
				.order = -1,
			},
	};
	struct settings settings = {0};

	settings_bool(&settings, SETTING_CARE, "oracle", b->oracle, true);
	settings_number(&settings, SETTING_FACT, "cpus", 2, "");
	settings_number(&settings, SETTING_FACT, "events", 734512, "");
	settings_number(&settings, SETTING_FACT, "ops", 702118, "");
	settings_number(&settings, SETTING_FACT, "managed_frames", 2031616, "frames");
	must_take(store, &record);
	for (size_t i = 0; i < settings.n; i++)
		must_take(store, &(struct result_record){.kind = RESULT_SETTING,
							 .setting = settings.row[i]});
}

static void send_backend(struct store *store, const struct backend *b, const char *trace,
			 const char *digest)
{
	struct result_record done = {.kind = RESULT_DONE};
	const struct {
		enum metric metric;
		double value;
	} values[] = {
		{METRIC_events, 734512},
		{METRIC_ops, 702118},
		{METRIC_allocs, 380118},
		{METRIC_frees, 322000},
		{METRIC_lost_events, 0},
		{METRIC_orphan_frees, 812},
		{METRIC_implicit_frees, 97},
		{METRIC_ghost_frees, b->refused},
		{METRIC_recorded_failures, 14},
		{METRIC_rescued_failures, b->huge > 1300 ? 14 : 3},
		{METRIC_alloc_failures, b->refused},
		{METRIC_zone_mismatches, b->name[0] == 'b' ? 0 : 1207},
		{METRIC_oracle_violations, 0},
		{METRIC_free_frames, 742113},
		{METRIC_free_huge, b->huge},
		{METRIC_huge_score, 100 * b->huge / 1449},
		{METRIC_free_share_2m, b->share[0]},
		{METRIC_free_share_16m, b->share[1]},
		{METRIC_free_share_128m, b->share[2]},
		{METRIC_free_share_1g, b->share[3]},
		{METRIC_moves_to_compact, b->moves},
		{METRIC_unmovable_blocks, floor(b->moves / 400)},
		{METRIC_mixed_blocks, floor(b->moves / 900)},
		{METRIC_metadata_bytes, b->metadata},
		{METRIC_ops_per_second, 5e8 / b->ns},
		{METRIC_alloc_ns_p50, b->ns * 1.4},
		{METRIC_alloc_ns_p99, b->ns * 8},
		{METRIC_free_ns_p50, b->ns * 1.1},
		{METRIC_free_ns_p99, b->ns * 6.4},
	};

	send_run(store, b, trace, digest);
	send_samples(store, b);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		send_metric(store, values[i].metric, values[i].value);
	for (unsigned int op = 0; op < LATENCY_OPS; op++) {
		send_latency(store, b, (enum latency_op)op, 0);
		send_latency(store, b, (enum latency_op)op, 1);
	}
	done.done.status = RUN_DONE;
	if (b->refused > 0)
		must_take(store, &(struct result_record){
					 .kind = RESULT_DOUBT,
					 .doubt = {DOUBT_alloc_failures, (uint64_t)b->refused}});
	must_take(store, &done);
}

static struct store *must_open(const char *path)
{
	struct store *store = NULL;
	struct error err = {0};

	if (store_open(path, NULL, &store, &err) != 0)
		fail_msg("%s", err.text);
	return store;
}

static void fill(const char *path, const char *trace)
{
	struct store *store = must_open(path);

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		send_backend(store, &backends[i], trace, "0123456789abcdef0123456789abcdef");
	assert_int_equal(store_close(store, NULL), 0);
}

/* ---- reading what was written ---------------------------------------------------------------- */

static char *read_text(const char *directory, const char *name)
{
	char path[192], *text = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	if (!file)
		fail_msg("%s is missing", path);
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	fclose(file);
	return text;
}

static bool has_page(const struct fixture *f)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/index.html", f->out);
	return access(path, F_OK) == 0;
}

static int unlink_page(const struct fixture *f)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/index.html", f->out);
	return unlink(path);
}

static char *must_report(const struct fixture *f, const char *label)
{
	const struct report_options options = {
		.database = f->database,
		.directory = f->out,
		.label = label,
	};
	struct error err = {0};

	if (report_write(&options, &err) != 0)
		fail_msg("%s", err.text);
	return read_text(f->out, "index.html");
}

static void assert_report_fails(const struct fixture *f, int code, const char *words)
{
	const struct report_options options = {.database = f->database, .directory = f->out};
	struct error err = {0};

	assert_int_equal(report_write(&options, &err), -code);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
	assert_null(strchr(err.text, '\n'));
}

static bool is_void(const char *name)
{
	static const char *const names[] = {"meta", "br", "img", "wbr", "!DOCTYPE"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* The end of the tag that starts at @p, past quoted attributes; quotes must be closed. */
static const char *tag_end(const char *p)
{
	for (; *p && *p != '>'; p++) {
		if (*p == '"') {
			p = strchr(p + 1, '"');
			assert_non_null(p);
		}
	}
	assert_int_equal(*p, '>');
	return p;
}

/* Every element is closed, in order; every & starts one of the entities the page uses. */
static void assert_well_formed(const char *html)
{
	char stack[32][16], name[16];
	int depth = 0;

	for (const char *p = html; *p; p++) {
		if (*p == '&') {
			assert_true(strncmp(p, "&amp;", 5) == 0 || strncmp(p, "&lt;", 4) == 0 ||
				    strncmp(p, "&gt;", 4) == 0 || strncmp(p, "&quot;", 6) == 0 ||
				    strncmp(p, "&#39;", 5) == 0);
		}
		if (*p != '<')
			continue;
		assert_int_equal(sscanf(p + 1 + (p[1] == '/'), "%15[a-zA-Z0-9!]", name), 1);
		if (p[1] == '/') {
			assert_true(depth > 0);
			assert_string_equal(stack[--depth], name);
		} else if (!is_void(name)) {
			assert_true(depth < 32);
			strcpy(stack[depth++], name);
		}
		p = tag_end(p);
		if (strcmp(name, "style") == 0 && depth && strcmp(stack[depth - 1], "style") == 0)
			p = strstr(p, "</style>") - 1;
	}
	assert_int_equal(depth, 0);
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

/* ---- the tests --------------------------------------------------------------------------------- */

static void the_page_is_well_formed_and_needs_nothing_else(void **state)
{
	const struct fixture *f = *state;
	char *html;

	fill(f->database, "samples/server.quire");
	html = must_report(f, NULL);
	assert_well_formed(html);
	assert_int_equal(count(html, "<script"), 0);
	assert_int_equal(count(html, "http"), 0);
	assert_int_equal(count(html, "<img"), 3);
	assert_int_equal(count(html, "src=\"data:image/svg+xml;base64,"), 3);
	assert_int_equal(count(html, "alt=\""), 3);
	assert_int_equal(count(html, "nan"), 0);
	assert_int_equal(count(html, "inf<"), 0);
	free(html);
}

static void every_figure_names_every_back_end(void **state)
{
	static const char *const figures[] = {"free-huge", "shares", "latency"};
	static const char *const extensions[] = {"svg", "gp", "dat"};
	static const char *const names[] = {"recorded", "buddy", "firstfit",	  "llfree",
					    "nextfit",	"null",	 "llfree:tree=32"};
	const struct fixture *f = *state;
	char path[64];

	fill(f->database, "samples/server.quire");
	free(must_report(f, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		for (size_t e = 0; e < ARRAY_SIZE(extensions); e++) {
			char *text;

			snprintf(path, sizeof(path), "plots/trace-1-%s.%s", figures[i],
				 extensions[e]);
			text = read_text(f->out, path);
			for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
				if (!strstr(text, names[n]))
					fail_msg("%s does not name %s", path, names[n]);
			}
			free(text);
		}
	}
}

static void the_reference_is_first_and_the_harness_last(void **state)
{
	const struct fixture *f = *state;
	const char *reference, *buddy, *nextfit, *harness;
	char *html;

	fill(f->database, "samples/server.quire");
	html = must_report(f, NULL);
	reference = strstr(html, " class=\"reference\"><th");
	harness = strstr(html, " class=\"harness\"><th");
	assert_non_null(reference);
	assert_non_null(harness);
	buddy = strstr(reference, "</span>buddy</th>");
	nextfit = strstr(reference, "</span>nextfit</th>");
	assert_true(reference < buddy && buddy < nextfit && nextfit < harness);
	assert_non_null(strstr(html, "harness cost, unchecked"));
	assert_non_null(strstr(html, "Open loop."));
	assert_non_null(strstr(html, "Of the 14 allocations that failed in the recording"));
	assert_non_null(strstr(html, "<strong>firstfit</strong> is never called best: "
				     "<code>alloc_failures</code> 3, allocations it refused"));
	free(html);
}

static void the_best_value_follows_the_metrics_direction(void **state)
{
	const struct fixture *f = *state;
	char *html;

	fill(f->database, "samples/server.quire");
	html = must_report(f, NULL);
	/* Most free huge frames, fewest moves: firstfit, but it refused; fastest: null, no back end. */
	assert_non_null(strstr(html, "<td class=\"start best \">1391<"));
	assert_non_null(strstr(html, "<td class=\"start best \">20\xe2\x80\xaf"
				     "111<"));
	assert_non_null(strstr(html, "<td class=\"start best \">17.24<"));
	assert_null(strstr(html, "best \">125.00<"));
	assert_null(strstr(html, "best \">100.00<"));
	free(html);
}

static void only_the_latest_finished_run_of_each_is_shown(void **state)
{
	const struct fixture *f = *state;
	struct backend better = backends[3];
	struct result_record failed = {.kind = RESULT_DONE};
	struct store *store;
	char *html;

	fill(f->database, "samples/server.quire");
	store = must_open(f->database);
	better.huge = 1444;
	send_backend(store, &better, "samples/server.quire", "0123456789abcdef0123456789abcdef");
	better.huge = 1999;
	send_run(store, &better, "samples/server.quire", "0123456789abcdef0123456789abcdef");
	send_metric(store, METRIC_free_huge, 1999);
	failed.done.status = RUN_FAILED;
	failed.done.text = "broke";
	must_take(store, &failed);
	assert_int_equal(store_close(store, NULL), 0);
	html = must_report(f, NULL);
	assert_non_null(strstr(html, ">1444<"));
	assert_null(strstr(html, ">1391<"));
	assert_null(strstr(html, ">1999<"));
	free(html);
}

/* A fidelity run says nothing of what a replay shows, and has no samples. */
static void add_fidelity(const char *path, const char *options)
{
	struct store *store = must_open(path);
	struct result_record run = {.kind = RESULT_RUN}, done = {.kind = RESULT_DONE};
	struct result_record warning = {.kind = RESULT_WARNING, .warning = {"<burnt> & lost"}};

	run.run = (struct result_run){
		.allocator = "buddy",
		.spec = "buddy:x=<1>",
		.options = options,
		.allocator_summary = "Linux zones and free lists",
		.role = ROLE_CANDIDATE,
		.trace = "samples/server.quire",
		.trace_digest = "0123456789abcdef0123456789abcdef",
		.trace_note = "Linux 6.18.5 x86_64, 2 CPUs, recorded by quire 0.1.0",
		.mode = "fidelity",
		.point_id = options,
		.build_id = "abcd",
		.threads = 1,
		.order = -1,
	};
	must_take(store, &run);
	send_metric(store, METRIC_hit_accuracy_b, 0.99999);
	send_metric(store, METRIC_refill_accuracy_b, 1);
	send_metric(store, METRIC_decision_accuracy_a, 0.91234);
	send_metric(store, METRIC_free_order_distance, 0.0421);
	must_take(store, &warning);
	done.done.status = RUN_DONE;
	must_take(store, &done);
	assert_int_equal(store_close(store, NULL), 0);
}

static void fidelity_runs_get_a_table_and_leave_the_replays_alone(void **state)
{
	const struct fixture *f = *state;
	char *before, *html, *section;

	add_fidelity(f->database, "pcp=off");
	assert_report_fails(f, ENOENT, "v_fidelity");
	fill(f->database, "samples/server.quire");
	before = must_report(f, NULL);
	section = strstr(before, "id=\"fidelity\"");
	assert_non_null(section);
	assert_well_formed(before);
	/* The newest run of that back end with these options, but not of a replay. */
	add_fidelity(f->database, "pcp=off");
	add_fidelity(f->database, "kernel=6.18");
	assert_int_equal(unlink_page(f), 0);
	html = must_report(f, NULL);
	assert_well_formed(html);
	section = strstr(html, "id=\"fidelity\"");
	assert_non_null(section);
	assert_int_equal(section - html, strstr(before, "id=\"fidelity\"") - before);
	assert_memory_equal(html, before, (size_t)(section - html));
	/* What was typed does not tell the two apart. */
	assert_int_equal(count(section, "buddy:x=&lt;1&gt;"), 0);
	assert_int_equal(count(section, ">buddy:kernel=6.18<"), 1);
	assert_int_equal(count(section, "&lt;burnt&gt; &amp; lost"), 2);
	/* All but a few is not all. */
	assert_int_equal(count(section, ">99.99</td>"), 2);
	assert_int_equal(count(section, ">100.00</td>"), 2);
	assert_int_equal(count(section, ">91.23</td>"), 2);
	assert_int_equal(count(section, ">0.042</td>"), 2);
	free(before);
	free(html);
}

static void each_trace_gets_a_section(void **state)
{
	const struct fixture *f = *state;
	struct store *store;
	char *html, *plot;

	fill(f->database, "samples/a.quire");
	store = must_open(f->database);
	send_backend(store, &backends[3], "samples/b.quire", "fedcba98fedcba98fedcba98fedcba98");
	assert_int_equal(store_close(store, NULL), 0);
	html = must_report(f, NULL);
	assert_well_formed(html);
	assert_int_equal(count(html, "<section"), 2);
	assert_non_null(strstr(html, "<a href=\"#trace-2\">b.quire</a>"));
	plot = read_text(f->out, "plots/trace-2-shares.svg");
	free(plot);
	free(html);
}

/* Names come from files and command lines; whatever is in them stays text. */
static void hostile_text_stays_text(void **state)
{
	static const char trace[] = "a/<script>alert('1')&\x01\xff\".quire";
	struct backend hostile = backends[3];
	const struct fixture *f = *state;
	struct store *store = must_open(f->database);
	char *html, *gp, *svg, path[192];

	hostile.spec = "x'; system \"touch owned\"; '`touch owned`</title>";
	send_backend(store, &backends[4], trace, "0123456789abcdef0123456789abcdef");
	send_backend(store, &hostile, trace, "0123456789abcdef0123456789abcdef");
	assert_int_equal(store_close(store, NULL), 0);
	html = must_report(f, NULL);
	assert_well_formed(html);
	assert_int_equal(count(html, "<script"), 0);
	assert_non_null(strstr(html, "&lt;script&gt;alert(&#39;1&#39;)"));
	assert_null(strchr(html, '\x01'));
	assert_null(strchr(html, '\xff'));
	gp = read_text(f->out, "plots/trace-1-free-huge.gp");
	assert_non_null(strstr(gp, "'x''; system \"touch owned\"; ''`touch owned`</title>'"));
	svg = read_text(f->out, "plots/trace-1-free-huge.svg");
	assert_non_null(strstr(svg, "touch owned"));
	/* one of the drawing, one of each curve */
	assert_int_equal(count(svg, "</title>"), 3);
	assert_non_null(strstr(svg, "&lt;/title"));
	free(svg);
	free(gp);
	free(html);
	snprintf(path, sizeof(path), "%s/plots/owned", f->out);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void a_run_without_data_gets_a_page_without_figures(void **state)
{
	const struct fixture *f = *state;
	struct result_record done = {.kind = RESULT_DONE};
	struct store *store = must_open(f->database);
	char *html;

	send_run(store, &backends[3], "t.quire", "00");
	send_metric(store, METRIC_free_huge, 5);
	done.done.status = RUN_DONE;
	must_take(store, &done);
	assert_int_equal(store_close(store, NULL), 0);
	html = must_report(f, NULL);
	assert_well_formed(html);
	assert_int_equal(count(html, "<img"), 0);
	assert_int_equal(count(html, "No figure of"), 3);
	free(html);
}

static void runs_that_differ_in_setup_are_said_to(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;
	char *html;

	fill(f->database, "samples/server.quire");
	html = must_report(f, NULL);
	assert_null(strstr(html, "These runs differ"));
	free(html);
	assert_int_equal(sqlite3_open(f->database, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "INSERT INTO run_setting VALUES"
				      " (3, 'prefill', 'packed', '', 'question', 0);"
				      "UPDATE run_setting SET value = 'false', usual = 0"
				      " WHERE run_id = 4 AND key = 'oracle';"
				      "INSERT INTO host VALUES (9, 'other', 1, 0, 'k', 't', 'g');"
				      "UPDATE run SET host_id = 9 WHERE id = 4",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	snprintf(f->out, sizeof(f->out), "%s/second", f->directory);
	html = must_report(f, NULL);
	assert_non_null(strstr(html, "These runs differ in <code>prefill</code>: <strong>as "
				     "usual</strong> for recorded, firstfit, llfree, "));
	assert_non_null(strstr(html, "; <strong>packed</strong> for buddy.</li>"));
	/* What has no oracle by nature is not named. */
	assert_non_null(strstr(html, "; <strong>false</strong> for llfree.</li>"));
	assert_non_null(strstr(html, "These runs differ in host: their timings do not compare."));
	assert_null(strstr(html, "These runs differ in seed"));
	free(html);
}

static void an_existing_page_is_replaced_only_when_asked(void **state)
{
	const struct fixture *f = *state;
	const struct report_options again = {
		.database = f->database,
		.directory = f->out,
		.overwrite = true,
	};
	struct error err = {0};
	char *first, *second;

	fill(f->database, "samples/server.quire");
	first = must_report(f, NULL);
	assert_report_fails(f, EEXIST, "exists");
	assert_int_equal(report_write(&again, &err), 0);
	second = read_text(f->out, "index.html");
	assert_string_equal(first, second); /* and the same database gives the same page */
	free(first);
	free(second);
}

static void without_gnuplot_there_is_no_page(void **state)
{
	const struct fixture *f = *state;
	char *path = strdup(getenv("PATH"));

	fill(f->database, "samples/server.quire");
	assert_int_equal(setenv("PATH", f->directory, 1), 0);
	assert_report_fails(f, ENOEXEC, "gnuplot-nox");
	assert_int_equal(setenv("PATH", path, 1), 0);
	free(path);
	assert_false(has_page(f));
	assert_int_not_equal(access(f->out, F_OK), 0);
}

static void a_failing_gnuplot_leaves_nothing_and_is_quoted(void **state)
{
	const struct fixture *f = *state;
	char *path = strdup(getenv("PATH")), program[128];
	FILE *file;

	fill(f->database, "samples/server.quire");
	snprintf(program, sizeof(program), "%s/gnuplot", f->directory);
	file = fopen(program, "w");
	assert_non_null(file);
	fputs("#!/bin/sh\nprintf 'plot x\\n     ^\\nline 3: broken\\n' >&2\nexit 1\n", file);
	fclose(file);
	assert_int_equal(chmod(program, 0755), 0);
	assert_int_equal(setenv("PATH", f->directory, 1), 0);
	assert_report_fails(f, ENOEXEC, "line 3: broken");
	assert_int_equal(setenv("PATH", path, 1), 0);
	free(path);
	assert_int_not_equal(access(f->out, F_OK), 0);
}

static void a_missing_or_empty_database_is_named(void **state)
{
	const struct fixture *f = *state;
	FILE *file;

	assert_report_fails(f, ENOENT, "results.db");
	assert_int_equal(store_close(must_open(f->database), NULL), 0);
	assert_report_fails(f, ENOENT, "no finished replay");
	file = fopen(f->database, "w");
	assert_non_null(file);
	fputs("this is no database at all, but a letter to a friend", file);
	fclose(file);
	assert_report_fails(f, EBADMSG, "not a results database");
	assert_false(has_page(f));
}

static void a_file_in_the_way_is_named(void **state)
{
	const struct fixture *f = *state;
	FILE *file;

	fill(f->database, "samples/server.quire");
	file = fopen(f->out, "w");
	assert_non_null(file);
	fclose(file);
	assert_report_fails(f, ENOTDIR, "is a file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_page_is_well_formed_and_needs_nothing_else),
		TEST(every_figure_names_every_back_end),
		TEST(the_reference_is_first_and_the_harness_last),
		TEST(the_best_value_follows_the_metrics_direction),
		TEST(only_the_latest_finished_run_of_each_is_shown),
		TEST(fidelity_runs_get_a_table_and_leave_the_replays_alone),
		TEST(each_trace_gets_a_section),
		TEST(hostile_text_stays_text),
		TEST(a_run_without_data_gets_a_page_without_figures),
		TEST(runs_that_differ_in_setup_are_said_to),
		TEST(an_existing_page_is_replaced_only_when_asked),
		TEST(without_gnuplot_there_is_no_page),
		TEST(a_failing_gnuplot_leaves_nothing_and_is_quoted),
		TEST(a_missing_or_empty_database_is_named),
		TEST(a_file_in_the_way_is_named),
	};

	return cmocka_run_group_tests_name("analysis: report", tests, NULL, NULL);
}
