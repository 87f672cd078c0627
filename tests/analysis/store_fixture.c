/* SPDX-License-Identifier: MIT */
#include "tests/analysis/store_fixture.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "tests/skip.h"

/* ---- a directory per test, and questions to a finished database ------------------------------ */

int setup(void **state)
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

int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", f->directory);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

bool exists(const struct fixture *f, const char *suffix)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s", f->path, suffix);
	return access(path, F_OK) == 0;
}

/* The single value of @sql as text ("" for NULL), in a buffer that the next call reuses. */
const char *ask(const struct fixture *f, const char *sql)
{
	static char answer[4096];
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

void tell(const struct fixture *f, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* ---- a synthetic run ------------------------------------------------------------------------ */

struct result_record run_record(const char *allocator)
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

int take(struct store *store, const struct result_record *record, struct error *err)
{
	struct result_sink *sink = store_sink(store);

	return sink->take(sink, record, err);
}

void must_take(struct store *store, const struct result_record *record)
{
	struct error err = {0};

	if (take(store, record, &err) != 0)
		fail_msg("%s", err.text);
}

void send_setting(struct store *store, enum setting_role role, const char *key, const char *value,
		  const char *unit, bool usual)
{
	struct result_record record = {.kind = RESULT_SETTING,
				       .setting = {key, value, unit, role, usual}};

	must_take(store, &record);
}

/* What a replay of the usual kind says of itself. */
void send_settings(struct store *store)
{
	send_setting(store, SETTING_QUESTION, "backing", "none", "", true);
	send_setting(store, SETTING_QUESTION, "prefill", "recorded", "", true);
	send_setting(store, SETTING_CARE, "oracle", "true", "", true);
	send_setting(store, SETTING_FACT, "cpus", "2", "", false);
	send_setting(store, SETTING_FACT, "events", "1000", "", false);
	send_setting(store, SETTING_FACT, "ops", "900", "", false);
	send_setting(store, SETTING_FACT, "managed_frames", "1048576", "frames", false);
}

void send_metric(struct store *store, uint32_t metric, double value)
{
	struct result_record record = {.kind = RESULT_METRIC};

	record.metric.metric = metric;
	record.metric.value = value;
	must_take(store, &record);
}

void send_sample(struct store *store, uint32_t index, bool end, double free_huge)
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

void send_latency(struct store *store, uint32_t cpu, enum latency_path path,
		  const struct histogram *h)
{
	struct result_record record = {.kind = RESULT_LATENCY};

	record.latency.op = LATENCY_ALLOC;
	record.latency.order_class = LATENCY_ORDER1_3;
	record.latency.path = path;
	record.latency.cpu = cpu;
	record.latency.histogram = h;
	must_take(store, &record);
}

void send_warning(struct store *store, const char *text)
{
	struct result_record record = {.kind = RESULT_WARNING};

	record.warning.text = text;
	must_take(store, &record);
}

void send_done(struct store *store, enum run_status status, const char *text)
{
	struct result_record record = {.kind = RESULT_DONE};

	record.done.status = status;
	record.done.text = text;
	must_take(store, &record);
}

void send_results(struct store *store)
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
	send_latency(store, 0, LATENCY_HIT, &h);
	histogram_init(&h);
	for (int i = 0; i < 98; i++)
		histogram_add(&h, 1000);
	send_latency(store, 1, LATENCY_REFILL, &h);

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

struct store *must_open(const struct fixture *f)
{
	struct store *store = NULL;
	struct error err = {0};

	if (store_open(f->path, NULL, &store, &err) != 0)
		fail_msg("%s", err.text);
	return store;
}

void must_close(struct store *store)
{
	struct error err = {0};

	if (store_close(store, &err) != 0)
		fail_msg("%s", err.text);
}

void write_run(const struct fixture *f, const char *allocator)
{
	struct store *store = must_open(f);
	struct result_record run = run_record(allocator);

	must_take(store, &run);
	send_settings(store);
	send_results(store);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
}

void assert_no_results(const struct fixture *f)
{
	static const char *const tables[] = {
		"metric",  "run_counter", "run_flag", "sample", "sample_metric", "sample_counter",
		"latency", "freelist",	  "blockmap", "holder", "accuracy"};
	char sql[64];

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", tables[i]);
		assert_answer(f, sql, "0");
	}
}
/* Run @body in a child; its exit code is the verdict, 77 skips. */
void in_child(const struct fixture *f, int (*body)(const struct fixture *f))
{
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip_because(
			"not allowed here what the test needs: a mount, a limit, another user");
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A child's complaint, for who looks into a failure. */
int complain(int code, const struct error *err)
{
	fprintf(stderr, "# step %d: %s\n", code, err->text);
	return code;
}
