/* SPDX-License-Identifier: MIT */
#include "tests/analysis/store_fixture.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "analysis/blockmap.h"
#include "base/bits.h"

/* ---- a whole run comes back ----------------------------------------------------------------- */

static void everything_a_run_says_is_stored(void **state)
{
	const struct fixture *f = *state;

	write_run(f, "llfree");
	assert_answer(f, "SELECT status FROM run", "done");
	assert_answer(f,
		      "SELECT spec || options || mode || memory || prefill || label || point_id ||"
		      " build_id || oracle || threads || cpus || block_order FROM v_run",
		      "llfreetree=8sequentialnonerecordednightlyffffabcd112-1");
	assert_answer(f, "SELECT seed FROM run", "-1");
	assert_answer(f, "SELECT events || ',' || ops || ',' || managed_frames FROM v_run",
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
		send_setting(store, SETTING_CARE, "repetitions", "5", "", false);
		send_setting(store, SETTING_QUESTION, "fill", i ? "90" : "0", "%", false);
		send_metric(store, METRIC_alloc_ns, 10 + i);
		send_done(store, RUN_DONE, NULL);
	}
	must_close(store);
	assert_answer(f,
		      "SELECT group_concat(bench || ',' || threads || ',' || block_order || ',' ||"
		      " fill || ',' || repetitions || ',' || alloc_ns, ' ') FROM v_bench",
		      "bulk,1,3,0,5,10.0 bulk,1,3,90,5,12.0");
	assert_answer(f, "SELECT count(*) FROM v_run WHERE rounds IS NULL", "3");
	assert_answer(f, "SELECT count(*) FROM v_comparison", "0");
	write_run(f, "buddy");
	assert_answer(f, "SELECT count(*) FROM v_bench", "2");
	assert_answer(f, "SELECT fill IS NULL AND repetitions IS NULL FROM v_run WHERE run_id = 4",
		      "1");
}

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
	};

	return cmocka_run_group_tests_name("analysis: store", tests, NULL, NULL);
}
