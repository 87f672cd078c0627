/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analysis/blockmap.h"
#include "analysis/store.h"
#include "base/bits.h"

/* ---- a directory per test, and questions to a finished database ------------------------------ */

struct fixture {
	char directory[64], path[96];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	snprintf(f->directory, sizeof(f->directory), "%.40s/quire-store-XXXXXX",
		 tmp ? tmp : P_tmpdir);
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/results.db", f->directory);
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

static bool exists(const struct fixture *f, const char *suffix)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s", f->path, suffix);
	return access(path, F_OK) == 0;
}

/* The single value of @sql as text ("" for NULL), in a buffer that the next call reuses. */
static const char *ask(const struct fixture *f, const char *sql)
{
	static char answer[2048];
	sqlite3 *db;
	sqlite3_stmt *stmt;

	assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	answer[0] = '\0';
	if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_text(stmt, 0))
		snprintf(answer, sizeof(answer), "%s", (const char *)sqlite3_column_text(stmt, 0));
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	sqlite3_close(db);
	return answer;
}

static void tell(const struct fixture *f, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

#define assert_answer(f, sql, expected) assert_string_equal(ask(f, sql), expected)

/* ---- a synthetic run ------------------------------------------------------------------------ */

static struct result_record run_record(const char *allocator)
{
	return (struct result_record){
		.kind = RESULT_RUN,
		.run =
			{
				.allocator = allocator,
				.spec = allocator,
				.options = "tree=8",
				.allocator_summary = "a summary",
				.role = ROLE_CANDIDATE,
				.trace = "samples/t.quire",
				.trace_digest = "0123456789abcdef0123456789abcdef",
				.trace_note = "Linux 6.18",
				.mode = "sequential",
				.label = "nightly",
				.point_id = "ffff",
				.build_id = "abcd",
				.seed = UINT64_MAX,
				.start_ns = UINT64_C(1700000000000000000),
				.threads = 1,
				.order = -1,
			},
	};
}

static int take(struct store *store, const struct result_record *record, struct error *err)
{
	struct result_sink *sink = store_sink(store);

	return sink->take(sink, record, err);
}

static void must_take(struct store *store, const struct result_record *record)
{
	struct error err = {0};

	if (take(store, record, &err) != 0)
		fail_msg("%s", err.text);
}

static void send_setting(struct store *store, const char *key, const char *value)
{
	must_take(store,
		  &(struct result_record){.kind = RESULT_SETTING,
					  .setting = {.key = key, .value = value, .unit = ""}});
}

static void send_settings(struct store *store)
{
	send_setting(store, "backing", "none");
	send_setting(store, "prefill", "recorded");
	send_setting(store, "oracle", "true");
	send_setting(store, "cpus", "2");
	send_setting(store, "events", "1000");
	send_setting(store, "ops", "900");
	send_setting(store, "managed_frames", "1048576");
}

static void send_metric(struct store *store, enum metric metric, double value)
{
	struct result_record record = {.kind = RESULT_METRIC};

	record.metric.metric = metric;
	record.metric.value = value;
	must_take(store, &record);
}

static void send_sample(struct store *store, uint32_t index, bool end, double free_huge)
{
	struct result_record record = {.kind = RESULT_SAMPLE};

	record.sample.index = index;
	record.sample.end = end;
	record.sample.event = 500 * index;
	record.sample.time_ns = 7000000000 + index * UINT64_C(1500000000);
	for (size_t i = 0; i < METRIC_STATE_COUNT; i++)
		record.sample.state[i] = NAN;
	record.sample.state[METRIC_free_huge - METRIC_STATE_FIRST] = free_huge;
	must_take(store, &record);
}

static void send_latency(struct store *store, uint32_t cpu, const struct histogram *h)
{
	struct result_record record = {.kind = RESULT_LATENCY};

	record.latency.op = LATENCY_ALLOC;
	record.latency.order_class = LATENCY_ORDER1_3;
	record.latency.cpu = cpu;
	record.latency.histogram = h;
	must_take(store, &record);
}

static void send_warning(struct store *store, const char *text)
{
	struct result_record record = {.kind = RESULT_WARNING};

	record.warning.text = text;
	must_take(store, &record);
}

static void send_done(struct store *store, enum run_status status, const char *text)
{
	struct result_record record = {.kind = RESULT_DONE};

	record.done.status = status;
	record.done.text = text;
	must_take(store, &record);
}

static void send_results(struct store *store)
{
	struct result_record record = {.kind = RESULT_FREELIST};
	uint16_t held[700];
	struct histogram h;

	/* The free lists before their sample: the order of records is the engine's affair. */
	record.freelist.sample = 1;
	record.freelist.source = FREELIST_KERNEL;
	for (unsigned int i = 0; i < RESULT_ORDERS; i++)
		record.freelist.blocks[i] = 10 * i;
	must_take(store, &record);
	send_sample(store, 0, false, 400);
	send_sample(store, 1, true, 321);
	send_metric(store, METRIC_free_huge, 321);
	send_metric(store, METRIC_huge_score, NAN);
	send_metric(store, METRIC_ops_per_second, 1.5e7);
	histogram_init(&h);
	histogram_add(&h, 100);
	histogram_add(&h, 300);
	send_latency(store, 0, &h);
	histogram_init(&h);
	for (int i = 0; i < 98; i++)
		histogram_add(&h, 1000);
	send_latency(store, 1, &h);

	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = i < 600 ? 512 : 0xffff;
	memset(&record, 0, sizeof(record));
	record.kind = RESULT_BLOCKMAP;
	record.blockmap.sample = 1;
	record.blockmap.first_block = 8;
	record.blockmap.values = held;
	record.blockmap.n = ARRAY_SIZE(held);
	must_take(store, &record);
	send_warning(store, "first; it's \"quoted\"");
	send_warning(store, "second");
}

static struct store *must_open(const struct fixture *f)
{
	struct store *store = NULL;
	struct error err = {0};

	if (store_open(f->path, &store, &err) != 0)
		fail_msg("%s", err.text);
	return store;
}

static void must_close(struct store *store)
{
	struct error err = {0};

	if (store_close(store, &err) != 0)
		fail_msg("%s", err.text);
}

static void write_run(const struct fixture *f, const char *allocator)
{
	struct store *store = must_open(f);
	struct result_record run = run_record(allocator);

	must_take(store, &run);
	send_settings(store);
	send_results(store);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
}

static void assert_no_results(const struct fixture *f)
{
	static const char *const tables[] = {"metric",	 "sample",   "sample_metric", "latency",
					     "freelist", "blockmap", "holder",	      "accuracy"};
	char sql[64];

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", tables[i]);
		assert_answer(f, sql, "0");
	}
}

/* ---- a whole run comes back ----------------------------------------------------------------- */

static void everything_a_run_says_is_stored(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	assert_answer(f, "SELECT status FROM run", "done");
	assert_answer(f,
		      "SELECT spec || options || mode || memory || prefill || label || point_id ||"
		      " build_id || oracle || threads || cpus || block_order FROM run",
		      "llfreetree=8sequentialnonerecordednightlyffffabcd112-1");
	assert_answer(f, "SELECT seed FROM run", "-1");
	assert_answer(f, "SELECT events || ',' || ops || ',' || managed_frames FROM run",
		      "1000,900,1048576");
	assert_answer(f, "SELECT started_utc FROM v_run", "2023-11-14 22:13:20");
	assert_answer(f, "SELECT digest || path || note FROM trace",
		      "0123456789abcdef0123456789abcdefsamples/t.quireLinux 6.18");
	assert_answer(f, "SELECT name || summary FROM backend", "llfreea summary");
	assert_answer(f, "SELECT value FROM v_metric WHERE name = 'free_huge'", "321.0");
	assert_answer(f, "SELECT value IS NULL FROM v_metric WHERE name = 'huge_score'", "1");
	assert_answer(f, "SELECT count(*) FROM sample WHERE is_end = (sample = 1)", "2");
	assert_answer(f, "SELECT event || ',' || time_ns FROM sample WHERE sample = 1",
		      "500,8500000000");
	assert_answer(f, "SELECT value FROM v_sample WHERE name = 'free_huge' AND sample = 0",
		      "400.0");
	assert_answer(f, "SELECT sum(blocks) FROM freelist WHERE source = 'kernel'", "550");
	assert_answer(f, "SELECT text FROM warning WHERE line = 0", "first; it's \"quoted\"");
	assert_answer(f, "SELECT text FROM warning WHERE line = 1", "second");
	assert_answer(f, "SELECT group_concat(cpu_model) <> '' FROM host", "1");
	assert_answer(f, "SELECT group_concat(integrity_check) FROM pragma_integrity_check", "ok");
	assert_answer(f, "SELECT count(*) FROM pragma_foreign_key_check", "0");
}

static void metric_info_is_the_metric_table(void **state)
{
	const struct fixture *f = *state;
	char sql[256], expected[32];

	write_run(f, "llfree");
	snprintf(expected, sizeof(expected), "%d", (int)METRIC_COUNT);
	assert_answer(f, "SELECT count(*) FROM metric_info", expected);
	for (unsigned int i = 0; i < METRIC_COUNT; i++) {
		snprintf(sql, sizeof(sql), "SELECT name FROM metric_info WHERE position = %u", i);
		assert_answer(f, sql, metric_table[i].name);
	}
	assert_answer(f, "SELECT direction || kind FROM metric_info WHERE name = 'free_huge'",
		      "higherexact");
	assert_answer(f,
		      "SELECT direction || kind || unit FROM metric_info WHERE name = 'alloc_ns'",
		      "lowernoisyns");
}

static void only_one_file_is_left_after_closing(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	assert_true(exists(f, ""));
	assert_false(exists(f, "-wal"));
	assert_false(exists(f, "-shm"));
	assert_false(exists(f, "-journal"));
	assert_answer(f, "PRAGMA journal_mode", "delete");
}

static void histograms_merge_exactly_from_their_blobs(void **state)
{
	const struct fixture *f = *state;
	struct histogram whole, part;
	sqlite3_stmt *stmt;
	sqlite3 *db;
	int rows = 0;

	write_run(f, "llfree");
	histogram_init(&whole);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT histogram FROM latency", -1, &stmt, NULL),
			 SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		assert_int_equal(histogram_decode(sqlite3_column_blob(stmt, 0),
						  (size_t)sqlite3_column_bytes(stmt, 0), &part,
						  NULL),
				 0);
		histogram_merge(&whole, &part);
		rows++;
	}
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	assert_int_equal(rows, 2);
	assert_int_equal(whole.count, 100);
	assert_int_equal(whole.sum, 98 * 1000 + 400);
	assert_int_equal(whole.min, 100);
	assert_int_equal(whole.max, 1000);
	assert_answer(f,
		      "SELECT count || ',' || mean_ns || ',' || max_ns FROM latency WHERE cpu = 0",
		      "2,200.0,300.0");
}

#define MAP_BLOCKS  700
#define MAP_SAMPLES 200

/* The map of a sample: mostly still, with a block here and there that changes. */
static uint16_t map_value(uint32_t sample, size_t block)
{
	return (uint16_t)(block < 600 ? 512 - (sample + block) / 97 % 5 : 0xffff);
}

static void send_blockmap(struct store *store, uint32_t sample, uint64_t first_block, size_t n)
{
	struct result_record record = {.kind = RESULT_BLOCKMAP};
	uint16_t held[MAP_BLOCKS];

	for (size_t i = 0; i < n; i++)
		held[i] = map_value(sample, i);
	record.blockmap.sample = sample;
	record.blockmap.first_block = first_block;
	record.blockmap.values = held;
	record.blockmap.n = n;
	must_take(store, &record);
}

/* The map of @sample of run 1 into @held, as docs/results.md says. Return: maps read for it. */
static int read_map(sqlite3 *db, uint32_t sample, uint16_t *held, size_t n)
{
	sqlite3_stmt *stmt;
	int maps = 1;

	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT base, blocks, difference FROM blockmap"
					    " WHERE run_id = 1 AND sample = ?1",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	sqlite3_bind_int64(stmt, 1, sample);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(stmt, 1), n);
	if (sqlite3_column_type(stmt, 0) == SQLITE_NULL)
		memset(held, 0, n * sizeof(*held));
	else
		maps += read_map(db, (uint32_t)sqlite3_column_int64(stmt, 0), held, n);
	assert_int_equal(blockmap_decode(sqlite3_column_blob(stmt, 2),
					 (size_t)sqlite3_column_bytes(stmt, 2), held, n),
			 0);
	sqlite3_finalize(stmt);
	return maps;
}

static void any_block_map_comes_back_from_a_bounded_number_of_rows(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);
	uint16_t held[MAP_BLOCKS];
	int longest = 0;
	sqlite3 *db;

	must_take(store, &run);
	for (uint32_t s = 0; s < MAP_SAMPLES; s++) {
		send_sample(store, s, false, s);
		send_blockmap(store, s, 8, MAP_BLOCKS);
	}
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	for (uint32_t s = 0; s < MAP_SAMPLES; s++) {
		const int maps = read_map(db, s, held, MAP_BLOCKS);

		longest = maps > longest ? maps : longest;
		for (size_t i = 0; i < MAP_BLOCKS; i++)
			assert_int_equal(held[i], map_value(s, i));
	}
	sqlite3_close(db);
	assert_in_range(longest, 2, 65);
}

static void a_block_map_of_other_blocks_or_another_run_stands_for_itself(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	for (int i = 0; i < 2; i++) {
		must_take(store, &run);
		for (uint32_t s = 0; s < 4; s++)
			send_sample(store, s, false, s);
		send_blockmap(store, 0, 8, MAP_BLOCKS);
		send_blockmap(store, 1, 8, MAP_BLOCKS - 1);
		send_blockmap(store, 2, 9, MAP_BLOCKS - 1);
		send_blockmap(store, 3, 9, MAP_BLOCKS - 1);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(sample || ':' || coalesce(base, '-')) FROM"
		      " (SELECT * FROM blockmap ORDER BY run_id, sample)",
		      "0:-,1:-,2:-,3:2,0:-,1:-,2:-,3:2");
}

static void block_maps_out_of_order_fail_the_run(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct result_record map = {.kind = RESULT_BLOCKMAP};
	struct store *store = must_open(f);
	uint16_t held[MAP_BLOCKS] = {0};
	struct error err = {0};

	must_take(store, &run);
	send_blockmap(store, 5, 8, MAP_BLOCKS);
	map.blockmap.sample = 4;
	map.blockmap.first_block = 8;
	map.blockmap.values = held;
	map.blockmap.n = MAP_BLOCKS;
	assert_int_equal(take(store, &map, &err), -EINVAL);
	assert_non_null(strstr(err.text, "sample 4 after sample 5"));
	must_close(store);
	assert_answer(f, "SELECT status FROM run", "failed");
	assert_no_results(f);
}

#define LONG_BLOCKS  20000
#define LONG_SAMPLES 200

/* 12 MiB of results that do not compress. */
static void send_long_run(struct store *store)
{
	static uint16_t held[LONG_BLOCKS];
	struct result_record record = {.kind = RESULT_BLOCKMAP};
	uint64_t x = 88172645463325252u;

	record.blockmap.values = held;
	record.blockmap.n = LONG_BLOCKS;
	for (uint32_t s = 0; s < LONG_SAMPLES; s++) {
		for (size_t i = 0; i < LONG_BLOCKS; i++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			held[i] = (uint16_t)(x >> 48);
		}
		send_sample(store, s, false, s);
		record.blockmap.sample = s;
		must_take(store, &record);
	}
}

static void a_long_run_waits_outside_of_memory_and_locks_nobody_out(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f), *other;
	struct result_record run = run_record("llfree");

	must_take(store, &run);
	send_long_run(store);
	assert_in_range(sqlite3_memory_used(), 1, 6 << 20);
	other = must_open(f);
	must_take(other, &run);
	send_results(other);
	send_done(other, RUN_DONE, NULL);
	must_close(other);
	assert_answer(f, "SELECT group_concat(status) FROM run", "running,done");
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT sum(length(difference)) > 10 << 20 FROM blockmap WHERE run_id = 1",
		      "1");
	assert_false(exists(f, "-wal"));
}

static void a_benchmark_needs_neither_trace_nor_label(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("llfree");

	run.run.trace = run.run.trace_digest = run.run.trace_note = NULL;
	run.run.label = NULL;
	run.run.order = 9;
	must_take(store, &run);
	send_metric(store, METRIC_alloc_ns, 12.5);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT block_order FROM run WHERE trace_id IS NULL AND label IS NULL",
		      "9");
	assert_answer(f, "SELECT count(*) FROM v_latest WHERE trace IS NULL", "1");
}

static struct result_record bench_record(const char *allocator, uint32_t fill)
{
	struct result_record run = run_record(allocator);

	run.run.trace = run.run.trace_digest = run.run.trace_note = NULL;
	run.run.mode = "bench-bulk";
	run.run.point_id = fill ? "filled" : "empty";
	run.run.order = 3;
	return run;
}

static void a_benchmark_keeps_its_parameters_and_its_latest_run(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);

	for (uint32_t i = 0; i < 3; i++) {
		struct result_record run = bench_record("llfree", i ? 90 : 0);

		must_take(store, &run);
		send_setting(store, "repetitions", "5");
		send_setting(store, "fill", i ? "90" : "0");
		send_metric(store, METRIC_alloc_ns, 10 + i);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(bench || ',' || threads || ',' || block_order || ',' ||"
		      " fill || ',' || repetitions || ',' || alloc_ns, ' ') FROM v_bench",
		      "bulk,1,3,0,5,10.0 bulk,1,3,90,5,12.0");
	assert_answer(f, "SELECT count(*) FROM run WHERE rounds IS NULL", "3");
	assert_answer(f, "SELECT count(*) FROM v_comparison", "0");
	write_run(f, "buddy");
	assert_answer(f, "SELECT count(*) FROM v_bench", "2");
	assert_answer(f, "SELECT fill IS NULL AND repetitions IS NULL FROM run WHERE id = 4", "1");
}

/* ---- views ------------------------------------------------------------------------------------ */

static void views_show_the_latest_finished_run(void **state)
{
	const struct fixture *f = *state;
	struct store *store;
	struct result_record run;

	write_run(f, "llfree");
	write_run(f, "buddy");
	write_run(f, "llfree");
	store = must_open(f);
	run = run_record("llfree");
	must_take(store, &run);
	send_results(store);
	send_done(store, RUN_FAILED, "it broke");
	run.run.label = NULL; /* another label is another question */
	must_take(store, &run);
	send_results(store);
	send_done(store, RUN_DONE, NULL);
	must_close(store);

	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "2,3,5");
	assert_answer(f, "SELECT count(*) FROM v_comparison", "3");
	assert_answer(f,
		      "SELECT free_huge || ',' || ops_per_second FROM v_comparison"
		      " WHERE allocator = 'buddy'",
		      "321.0,15000000.0");
	assert_answer(f, "SELECT count(*) FROM v_comparison WHERE huge_score IS NULL", "3");
	assert_answer(f,
		      "SELECT count || ',' || cpus || ',' || mean_ns || ',' || max_ns"
		      " FROM v_latency WHERE run_id = 2 AND op = 'alloc'"
		      " AND order_class = '1-3'",
		      "100,2,984.0,1000.0");
	assert_answer(f,
		      "SELECT group_concat(seconds || ':' || free_huge)"
		      " FROM v_free_huge_over_time WHERE run_id = 2",
		      "0.0:400.0,1.5:321.0");
	assert_answer(f, "SELECT kernel FROM v_free_blocks WHERE run_id = 2 AND block_order = 10",
		      "100");
	assert_answer(f,
		      "SELECT value || direction FROM v_metric WHERE run_id = 2"
		      " AND name = 'free_huge'",
		      "321.0higher");
	assert_answer(f, "SELECT count(*) FROM v_warning WHERE status = 'failed'", "2");
}

/* ---- fidelity ---------------------------------------------------------------------------------- */

static void send_accuracy(struct store *store, struct result_accuracy accuracy)
{
	struct result_record record = {.kind = RESULT_ACCURACY, .accuracy = accuracy};

	must_take(store, &record);
}

static void write_fidelity(const struct fixture *f, const char *point_id, bool hindsight)
{
	struct store *store = must_open(f);
	struct result_record run = run_record("buddy");

	run.run.options = "kernel=6.18";
	run.run.mode = "fidelity";
	run.run.point_id = point_id;
	must_take(store, &run);
	send_metric(store, METRIC_hit_accuracy_b, 0.96);
	send_metric(store, METRIC_direct_accuracy_b, NAN);
	send_metric(store, METRIC_refill_ratio, 1.5);
	send_metric(store, METRIC_recorded_refills, 12);
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_TOTAL, 0,
						      NULL, 100, 96});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_ORDER, 9,
						      NULL, 0, 0});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT,
						      ACCURACY_MIGRATETYPE, 2, NULL, 4, 1});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_TENTH, 0,
						      NULL, 50, 50});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_CAUSE, 1,
						      "in use; it's so", 1, 0});
	send_accuracy(store, (struct result_accuracy){ACCURACY_B, ACCURACY_HIT, ACCURACY_CAUSE, 0,
						      "order of lists", 3, 0});
	send_accuracy(store, (struct result_accuracy){ACCURACY_LIFO, ACCURACY_HIT, ACCURACY_CAUSE,
						      0, "unexplained", 90, 0});
	if (hindsight)
		send_warning(store, "hindsight: the start state uses later events");
	else
		send_warning(store, "recorded without --burn-in: who knows");
	send_done(store, RUN_DONE, NULL);
	must_close(store);
}

static void a_fidelity_run_is_stored_by_group_and_cause(void **state)
{
	const struct fixture *f = *state;

	write_fidelity(f, "ffff", false);
	assert_answer(f, "SELECT count(*) FROM accuracy", "7");
	assert_answer(f,
		      "SELECT variant || class || dimension || key || choices || correct"
		      " FROM accuracy WHERE dimension = 'migratetype'",
		      "bhitmigratetype241");
	/* as people count */
	assert_answer(f, "SELECT key FROM accuracy WHERE dimension = 'tenth'", "1");
	assert_answer(f,
		      "SELECT cause FROM accuracy WHERE variant = 'b' AND cause NOT NULL"
		      " AND key = 1",
		      "order of lists");
	assert_answer(f, "SELECT accuracy FROM v_accuracy WHERE key = 'Reclaimable'", "0.25");
	assert_answer(f, "SELECT accuracy FROM v_accuracy WHERE dimension = 'total'", "0.96");
	assert_answer(f, "SELECT accuracy IS NULL FROM v_accuracy WHERE dimension = 'order'", "1");
	assert_answer(f,
		      "SELECT group_concat(cause || ':' || times || ':' || share, ', ')"
		      " FROM v_mismatch",
		      "order of lists:3:0.03, in use; it's so:1:0.01");
	assert_answer(f,
		      "SELECT allocator || options || label || hindsight || burn_in ||"
		      " hit_accuracy_b || refill_ratio || recorded_refills FROM v_fidelity",
		      "buddykernel=6.18nightly000.961.512.0");
	assert_answer(f, "SELECT direct_accuracy_b IS NULL FROM v_fidelity", "1");
	assert_answer(f, "PRAGMA foreign_key_check", "");
}

static void fidelity_and_replays_do_not_hide_each_other(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "buddy");
	write_fidelity(f, "ffff", false);
	write_fidelity(f, "eeee", true);
	write_fidelity(f, "eeee", true);
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "1,2,4");
	assert_answer(f, "SELECT group_concat(run_id || ':' || hindsight) FROM v_fidelity",
		      "2:0,4:1");
	assert_answer(f, "SELECT group_concat(run_id) FROM v_comparison", "1");
	assert_answer(f, "SELECT count(DISTINCT run_id) FROM v_free_blocks", "1");
	assert_answer(f, "SELECT count(DISTINCT run_id) FROM v_free_huge_over_time", "1");
	assert_answer(f, "SELECT count(*) FROM v_bench", "0");
}

static void accuracies_that_contradict_each_other_fail_the_run(void **state)
{
	const struct fixture *f = *state;
	const struct result_accuracy good = {
		ACCURACY_A, ACCURACY_DECIDED, ACCURACY_TOTAL, 0, NULL, 10, 5};
	struct result_record run = run_record("buddy");

	for (int i = 0; i < 3; i++) {
		struct store *store = must_open(f);
		struct result_record record = {.kind = RESULT_ACCURACY, .accuracy = good};
		struct result_record done = {.kind = RESULT_DONE, .done = {RUN_DONE, NULL}};
		struct error err = {0};

		must_take(store, &run);
		must_take(store, &record);
		if (i == 0)
			record.accuracy.key = 1; /* another row, but more right than there were */
		if (i == 0)
			record.accuracy.correct = 11;
		if (i == 1)
			record.accuracy.key = 0; /* the same row twice */
		if (i == 2) {
			record.accuracy.key = 1;
			record.accuracy.cause = "a cause of nothing";
		}
		must_take(store, &record);
		assert_true(take(store, &done, &err) < 0);
		must_close(store);
	}
	assert_answer(f, "SELECT count(*) FROM run WHERE status = 'failed'", "3");
	assert_no_results(f);
}

static void v_fidelity_has_every_fidelity_metric(void **state)
{
	const struct fixture *f = *state;
	static const char *const names[] = {
#define X(name, ...) #name,
		FIDELITY_METRICS(X)
#undef X
	};
	char sql[256];

	write_fidelity(f, "ffff", false);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(sql, sizeof(sql),
			 "SELECT sql LIKE '%%name = ''%s'')%% AS %s%%' FROM sqlite_schema WHERE"
			 " name = 'v_fidelity'",
			 names[i], names[i]);
		assert_answer(f, sql, "1");
	}
}

static void runs_of_traces_without_a_digest_stand_for_themselves(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("llfree");
	struct store *store = must_open(f);

	run.run.trace_digest = "";
	for (int i = 0; i < 2; i++) {
		run.run.trace = i ? "one.quire" : "another.quire";
		must_take(store, &run);
		send_results(store);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest", "1,2");
}

static void the_comparison_names_metrics_that_exist(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	assert_answer(f,
		      "SELECT group_concat(name) FROM pragma_table_info('v_comparison') WHERE name"
		      " NOT IN (SELECT name FROM metric_info)",
		      "run_id,trace,allocator,options,label");
	/* and computes each from the metric of its own name */
	assert_answer(f,
		      "SELECT count(*) FROM pragma_table_info('v_comparison') AS c WHERE name IN"
		      " (SELECT name FROM metric_info) AND (SELECT sql FROM sqlite_schema WHERE"
		      " name = 'v_comparison') NOT GLOB '*''' || c.name || '''* AS ' || c.name || "
		      "'[, \n]*'",
		      "0");
}

/* ---- runs that do not end well ---------------------------------------------------------------- */

static void a_failed_run_keeps_its_reason_and_warnings_only(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("llfree");

	must_take(store, &run);
	send_results(store);
	send_done(store, RUN_CRASHED, "killed by signal 11");
	must_close(store);
	assert_answer(f, "SELECT status || ': ' || status_text FROM run",
		      "crashed: killed by signal 11");
	assert_no_results(f);
	assert_answer(f, "SELECT count(*) FROM warning", "2");
}

static void a_run_closed_before_its_end_is_interrupted(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("llfree");

	must_take(store, &run);
	send_results(store);
	must_close(store);
	assert_answer(f, "SELECT status FROM run", "interrupted");
	assert_no_results(f);
}

/* A child that is in the middle of a run, as its caller sees by a byte on the pipe. */
static pid_t start_writer(const struct fixture *f, bool dies)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store = NULL;
		struct result_record run = run_record("llfree");

		/* A failed assertion must not leave it behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (store_open(f->path, &store, NULL) != 0 || take(store, &run, NULL) != 0)
			_exit(1);
		send_results(store);
		if (write(fds[1], "x", 1) != 1 || dies)
			_exit(2);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void assert_swept(const struct fixture *f)
{
	assert_answer(f, "SELECT status FROM run", "running");
	must_close(must_open(f));
	assert_answer(f, "SELECT status || ': ' || status_text FROM run",
		      "interrupted: its process is gone");
	assert_no_results(f);
}

static void a_writer_that_exits_in_the_middle_leaves_an_interrupted_run(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(waitpid(start_writer(f, true), NULL, 0) > 0, 1);
	assert_swept(f);
}

static void a_killed_writer_leaves_an_interrupted_run(void **state)
{
	const struct fixture *f = *state;
	const pid_t pid = start_writer(f, false);

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_swept(f);
	assert_false(exists(f, "-wal"));
}

static void a_run_in_progress_elsewhere_is_left_alone(void **state)
{
	const struct fixture *f = *state;
	const pid_t pid = start_writer(f, false);

	write_run(f, "buddy");
	assert_answer(f, "SELECT group_concat(status) FROM run", "running,done");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_run_of_an_earlier_boot_is_swept_even_if_the_pid_lives(void **state)
{
	const struct fixture *f = *state;
	const pid_t pid = start_writer(f, false);

	tell(f, "UPDATE run SET boot_id = 'another'");
	assert_swept(f);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_reused_pid_does_not_keep_a_run_alive(void **state)
{
	const struct fixture *f = *state;
	const pid_t pid = start_writer(f, false);

	tell(f, "UPDATE run SET process_start = process_start - 1");
	assert_swept(f);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void two_stores_take_runs_side_by_side(void **state)
{
	const struct fixture *f = *state;
	struct store *a = must_open(f), *b = must_open(f);
	struct result_record run = run_record("llfree");

	must_take(a, &run);
	must_take(b, &run);
	assert_int_not_equal(store_run_id(a), store_run_id(b));
	send_results(a);
	send_results(b);
	send_done(a, RUN_DONE, NULL);
	must_close(a);
	send_done(b, RUN_DONE, NULL);
	must_close(b);
	assert_answer(f, "SELECT group_concat(status) FROM run", "done,done");
	assert_answer(f, "SELECT count(DISTINCT run_id) FROM metric", "2");
	assert_false(exists(f, "-wal"));
}

/*
 * A neighbour opens and closes the same database on demand: another process, forked before the
 * first connection, as SQLite's locks do not survive a fork.
 */
struct neighbour {
	pid_t pid;
	int ask, answer;
	unsigned int after; /* statements of ours until it is asked */
	bool asked;
};

static struct neighbour neighbour;

static void move_in(const char *path)
{
	int ask[2], answer[2];

	assert_int_equal(pipe(ask), 0);
	assert_int_equal(pipe(answer), 0);
	neighbour = (struct neighbour){.pid = fork(), .ask = ask[1], .answer = answer[0]};
	assert_true(neighbour.pid >= 0);
	if (neighbour.pid == 0) {
		struct store *store = NULL;
		struct error err = {0};
		char byte;
		int rc;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ask[1]);
		if (read(ask[0], &byte, 1) != 1)
			_exit(1);
		rc = store_open(path, &store, &err);
		if (!rc)
			rc = store_close(store, &err);
		if (rc)
			fprintf(stderr, "# neighbour: %s\n", err.text);
		if (write(answer[1], "x", 1) != 1)
			_exit(2);
		_exit(rc != 0);
	}
	close(ask[0]);
	close(answer[1]);
}

/* Return: whether it ever was asked; it must have succeeded then. */
static bool move_out(void)
{
	int status;

	close(neighbour.ask);
	assert_int_equal(waitpid(neighbour.pid, &status, 0), neighbour.pid);
	close(neighbour.answer);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), neighbour.asked ? 0 : 1);
	return neighbour.asked;
}

/* Before each statement of ours. While we write nobody comes in; while we read nobody may write. */
static int let_neighbour_in(unsigned int event, void *context, void *stmt, void *sql)
{
	const int locked = sqlite3_txn_state(sqlite3_db_handle(stmt), NULL);
	struct pollfd done = {.fd = neighbour.answer, .events = POLLIN};

	(void)event, (void)context, (void)sql;
	if (locked == SQLITE_TXN_WRITE || neighbour.asked || neighbour.after--)
		return 0;
	neighbour.asked = true;
	if (write(neighbour.ask, "x", 1) == 1)
		poll(&done, 1, locked == SQLITE_TXN_NONE ? 2000 : 20);
	return 0;
}

static int watch_statements(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
	(void)message, (void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, let_neighbour_in, NULL);
}

static void another_process_may_come_between_any_two_statements(void **state)
{
	const struct fixture *f = *state;
	bool asked = true;
	unsigned int n;

	for (n = 0; asked; n++) {
		struct store *store = NULL;
		struct error err = {0};
		int rc;

		move_in(f->path);
		neighbour.after = n;
		sqlite3_auto_extension((void (*)(void))watch_statements);
		rc = store_open(f->path, &store, &err);
		if (!rc)
			rc = store_close(store, &err);
		sqlite3_reset_auto_extension();
		asked = move_out();
		if (rc)
			fail_msg("before statement %u: %s", n, err.text);
		write_run(f, "llfree");
		assert_answer(f, "SELECT group_concat(status) FROM run", "done");
		assert_int_equal(unlink(f->path), 0);
	}
	assert_true(n > 10);
}

static void records_out_of_place_are_refused(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("llfree");
	struct result_record metric = {.kind = RESULT_METRIC};
	struct error err = {0};

	assert_int_equal(take(store, &metric, &err), -EINVAL);
	assert_non_null(strstr(err.text, "outside any run"));
	must_take(store, &run);
	assert_int_equal(take(store, &run, &err), -EINVAL);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT count(*) FROM run", "1");
}

static void inconsistent_results_fail_the_whole_run(void **state)
{
	const struct fixture *f = *state;
	struct store *store = must_open(f);
	struct result_record run = run_record("llfree");
	struct result_record done = {.kind = RESULT_DONE};
	struct error err = {0};

	must_take(store, &run);
	send_results(store);
	send_metric(store, METRIC_free_huge, 1); /* a second time */
	done.done.status = RUN_DONE;
	assert_true(take(store, &done, &err) < 0);
	assert_non_null(strstr(err.text, f->path));
	must_close(store);
	assert_answer(f, "SELECT status FROM run", "failed");
	assert_no_results(f);
	assert_answer(f, "SELECT count(*) FROM warning", "0");
}

/* ---- files that cannot be used ---------------------------------------------------------------- */

static void assert_open_fails(const char *path, int code, const char *words)
{
	struct store *store = NULL;
	struct error err = {0};

	assert_int_equal(store_open(path, &store, &err), -code);
	assert_null(store);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
	assert_null(strchr(err.text, '\n'));
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void other_files_are_refused_and_left_as_they_are(void **state)
{
	const struct fixture *f = *state;
	char text[1024], now[1024];
	FILE *file;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	write_text(f->path, text);
	assert_open_fails(f->path, EBADMSG, "not a results database");
	file = fopen(f->path, "r");
	assert_non_null(file);
	assert_non_null(fgets(now, sizeof(now), file));
	fclose(file);
	assert_string_equal(now, text);
	assert_open_fails(f->directory, EISDIR, "is a directory");
}

static void other_databases_are_refused_and_left_as_they_are(void **state)
{
	const struct fixture *f = *state;

	tell(f, "CREATE TABLE theirs (x); PRAGMA user_version = 1");
	assert_open_fails(f->path, EBADMSG, "not one of quire's");
	assert_answer(f, "SELECT count(*) FROM sqlite_schema", "1");
	assert_answer(f, "PRAGMA journal_mode", "delete");
	tell(f, "PRAGMA journal_mode = WAL");
	assert_open_fails(f->path, EBADMSG, "not one of quire's");
	assert_answer(f, "PRAGMA journal_mode", "wal");
}

static void a_newer_schema_is_refused(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	tell(f, "PRAGMA user_version = 4");
	assert_open_fails(f->path, EPROTONOSUPPORT, "newer quire");
	assert_answer(f, "PRAGMA user_version", "4");
}

/* Take back what later versions added. */
static void make_older(const struct fixture *f, int version)
{
	char sql[1024];

	snprintf(sql, sizeof(sql), "%s",
		 ask(f, "SELECT group_concat('DROP VIEW ' || name, ';') FROM sqlite_schema"
			" WHERE type = 'view'"));
	tell(f, sql);
	tell(f, "CREATE VIEW v_run AS SELECT 1 AS outdated; DROP TABLE accuracy");
	if (version < 2)
		tell(f, "ALTER TABLE run DROP COLUMN repetitions;"
			"ALTER TABLE run DROP COLUMN rounds; ALTER TABLE run DROP COLUMN fill");
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", version);
	tell(f, sql);
}

static void an_older_schema_is_brought_up_to_date(void **state)
{
	const struct fixture *f = *state;
	char views[16], table[2048];

	write_run(f, "llfree");
	snprintf(views, sizeof(views), "%s",
		 ask(f, "SELECT count(*) FROM sqlite_schema WHERE type = 'view'"));
	snprintf(table, sizeof(table), "%s",
		 ask(f, "SELECT sql FROM sqlite_schema WHERE name = 'accuracy'"));
	for (int version = 1; version < 3; version++) {
		make_older(f, version);
		write_run(f, version == 1 ? "buddy" : "firstfit");
		assert_answer(f, "PRAGMA user_version", "3");
		assert_answer(f, "SELECT sql FROM sqlite_schema WHERE name = 'accuracy'", table);
		assert_answer(f, "SELECT count(*) FROM sqlite_schema WHERE type = 'view'", views);
		assert_answer(f, "PRAGMA foreign_key_check", "");
	}
	write_fidelity(f, "ffff", false);
	assert_answer(f, "SELECT group_concat(allocator) FROM v_run WHERE fill IS NULL",
		      "llfree,buddy,firstfit,buddy");
	assert_answer(f, "SELECT hit_accuracy_b FROM v_fidelity", "0.96");
}

static void a_damaged_database_is_refused(void **state)
{
	const struct fixture *f = *state;
	char garbage[2048];
	int fd;

	write_run(f, "llfree");
	memset(garbage, 0xa5, sizeof(garbage));
	fd = open(f->path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, garbage, sizeof(garbage), 100), sizeof(garbage));
	close(fd);
	assert_open_fails(f->path, EBADMSG, f->path);
}

static void a_locked_database_is_busy(void **state)
{
	const struct fixture *f = *state;
	sqlite3 *db;

	write_run(f, "llfree");
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	assert_open_fails(f->path, EBUSY, "locked by another process");
	sqlite3_close(db);
	must_close(must_open(f));
}

static void a_missing_directory_is_named(void **state)
{
	const struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/none/results.db", f->directory);
	assert_open_fails(path, ENOENT, "No such file");
}

static void special_names_are_plain_files(void **state)
{
	const struct fixture *f = *state;
	struct store *store = NULL;
	char *here = getcwd(NULL, 0);

	assert_non_null(here);
	assert_int_equal(chdir(f->directory), 0);
	assert_int_equal(store_open(":memory:", &store, NULL), 0);
	must_close(store);
	assert_int_equal(access(":memory:", F_OK), 0);
	assert_int_equal(store_open("", &store, NULL), -EINVAL);
	assert_int_equal(chdir(here), 0);
	free(here);
}

/* Run @body in a child; its exit code is the verdict, 77 skips. */
static void in_child(const struct fixture *f, int (*body)(const struct fixture *f))
{
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A child's complaint, for who looks into a failure. */
static int complain(int code, const struct error *err)
{
	fprintf(stderr, "# step %d: %s\n", code, err->text);
	return code;
}

static int open_read_only(const struct fixture *f)
{
	struct store *store = NULL;
	struct error err = {0};
	char fresh[128];

	/* Permissions do not hold root back. */
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 77;
	if (store_open(f->path, &store, &err) != -EACCES || !strstr(err.text, "read-only"))
		return complain(1, &err);
	snprintf(fresh, sizeof(fresh), "%s/fresh.db", f->directory);
	if (store_open(fresh, &store, &err) != -EACCES || !strstr(err.text, "writable"))
		return complain(2, &err);
	return 0;
}

static void a_read_only_directory_is_told_from_other_failures(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	assert_int_equal(chmod(f->path, 0444), 0);
	assert_int_equal(chmod(f->directory, 0555), 0);
	in_child(f, open_read_only);
	assert_int_equal(chmod(f->directory, 0755), 0);
}

/* Fill a small file system, first before and then in the middle of a run. */
static int fill_disk(const struct fixture *f)
{
	struct result_record run = run_record("llfree");
	struct result_record done = {.kind = RESULT_DONE};
	struct store *store = NULL;
	struct error err = {0};
	char filler[128] = "";
	int fd;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", f->directory, "tmpfs", 0, "size=16k") != 0)
		return 77;
	if (store_open(f->path, &store, &err) != -ENOSPC || !strstr(err.text, "no space left") ||
	    access(f->path, F_OK) == 0)
		return complain(1, &err);
	if (mount("tmpfs", f->directory, "tmpfs", MS_REMOUNT, "size=1m") != 0)
		return 77;
	if (store_open(f->path, &store, &err) != 0 || take(store, &run, &err) != 0)
		return complain(2, &err);
	send_results(store);
	for (uint32_t i = 2; i < 200; i++)
		send_sample(store, i, false, i);
	snprintf(filler, sizeof(filler), "%s/filler", f->directory);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return complain(3, &err);
	while (write(fd, filler, sizeof(filler)) > 0)
		;
	close(fd);
	done.done.status = RUN_DONE;
	if (take(store, &done, &err) != -ENOSPC || !strstr(err.text, "no space left"))
		return complain(4, &err);
	unlink(filler);
	if (store_close(store, &err) != 0)
		return complain(5, &err);
	if (strcmp(ask(f, "SELECT count(*) FROM metric"), "0") != 0 ||
	    strcmp(ask(f, "SELECT status IN ('running', 'failed') FROM run"), "1") != 0)
		return complain(6, &err);
	return 0;
}

static void a_full_disk_leaves_no_half_run(void **state)
{
	in_child(*state, fill_disk);
}

/* The same through a limit on file sizes, for those who may not mount. */
static int hit_size_limit(const struct fixture *f)
{
	struct rlimit limit = {.rlim_cur = 200000, .rlim_max = RLIM_INFINITY};
	struct result_record run = run_record("llfree");
	struct result_record done = {.kind = RESULT_DONE};
	struct store *store = NULL;
	struct error err = {0};

	signal(SIGXFSZ, SIG_IGN);
	if (store_open(f->path, &store, &err) != 0 || take(store, &run, &err) != 0)
		return complain(1, &err);
	send_results(store);
	for (uint32_t i = 2; i < 100; i++)
		send_sample(store, i, false, i);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 77;
	done.done.status = RUN_DONE;
	if (take(store, &done, &err) >= 0 || !strstr(err.text, f->path))
		return complain(2, &err);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	return store_close(store, &err) == 0 ? 0 : 3;
}

static void a_failing_write_leaves_no_half_run(void **state)
{
	const struct fixture *f = *state;

	in_child(f, hit_size_limit);
	must_close(must_open(f));
	assert_answer(f, "SELECT status IN ('failed', 'interrupted') FROM run", "1");
	assert_no_results(f);
	assert_answer(f, "SELECT group_concat(integrity_check) FROM pragma_integrity_check", "ok");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_a_run_says_is_stored),
		TEST(metric_info_is_the_metric_table),
		TEST(only_one_file_is_left_after_closing),
		TEST(histograms_merge_exactly_from_their_blobs),
		TEST(any_block_map_comes_back_from_a_bounded_number_of_rows),
		TEST(a_block_map_of_other_blocks_or_another_run_stands_for_itself),
		TEST(block_maps_out_of_order_fail_the_run),
		TEST(a_long_run_waits_outside_of_memory_and_locks_nobody_out),
		TEST(a_benchmark_needs_neither_trace_nor_label),
		TEST(a_benchmark_keeps_its_parameters_and_its_latest_run),
		TEST(views_show_the_latest_finished_run),
		TEST(a_fidelity_run_is_stored_by_group_and_cause),
		TEST(fidelity_and_replays_do_not_hide_each_other),
		TEST(accuracies_that_contradict_each_other_fail_the_run),
		TEST(v_fidelity_has_every_fidelity_metric),
		TEST(runs_of_traces_without_a_digest_stand_for_themselves),
		TEST(the_comparison_names_metrics_that_exist),
		TEST(a_failed_run_keeps_its_reason_and_warnings_only),
		TEST(a_run_closed_before_its_end_is_interrupted),
		TEST(a_writer_that_exits_in_the_middle_leaves_an_interrupted_run),
		TEST(a_killed_writer_leaves_an_interrupted_run),
		TEST(a_run_in_progress_elsewhere_is_left_alone),
		TEST(a_run_of_an_earlier_boot_is_swept_even_if_the_pid_lives),
		TEST(a_reused_pid_does_not_keep_a_run_alive),
		TEST(two_stores_take_runs_side_by_side),
		TEST(another_process_may_come_between_any_two_statements),
		TEST(records_out_of_place_are_refused),
		TEST(inconsistent_results_fail_the_whole_run),
		TEST(other_files_are_refused_and_left_as_they_are),
		TEST(other_databases_are_refused_and_left_as_they_are),
		TEST(a_newer_schema_is_refused),
		TEST(an_older_schema_is_brought_up_to_date),
		TEST(a_damaged_database_is_refused),
		TEST(a_locked_database_is_busy),
		TEST(a_missing_directory_is_named),
		TEST(special_names_are_plain_files),
		TEST(a_read_only_directory_is_told_from_other_failures),
		TEST(a_full_disk_leaves_no_half_run),
		TEST(a_failing_write_leaves_no_half_run),
	};

	return cmocka_run_group_tests_name("analysis: store", tests, NULL, NULL);
}
