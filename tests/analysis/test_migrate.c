/* SPDX-License-Identifier: MIT */
/*
 * Files that older builds left (tests/data/databases) say the same after this build has brought them up to
 * date; and they are left as they were if that does not succeed.
 */
#include "tests/analysis/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analysis/report.h"
#include "base/bits.h"
#include "tests/skip.h"

#define VERSIONS 5

/* Without waiting for a disk: nothing here outlives the test. */
static sqlite3 *open_quickly(const struct fixture *f)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static void copy_old(const struct fixture *f, int version)
{
	static const char *const beside[] = {"-wal", "-shm", "-journal"};
	const char *root = getenv("QUIRE_SOURCE");
	char command[768], path[128];
	sqlite3 *db;

	for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, beside[i]);
		unlink(path);
	}
	snprintf(command, sizeof(command),
		 "cp '%.300s/tests/data/databases/v%d.sqlite' '%s' && chmod 600 '%s'",
		 root ? root : ".", version, f->path, f->path);
	assert_int_equal(system(command), 0);
	/* As whoever opens it for writing will do, migration or not. */
	db = open_quickly(f);
	assert_int_equal(sqlite3_exec(db,
				      "UPDATE run SET status = 'interrupted',"
				      " status_text = 'its process is gone'"
				      " WHERE status = 'running'",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
}

/* ---- everything its views say, as text ---------------------------------------------------------- */

/*
 * The views of a file with their columns, as "NAME COLUMN,COLUMN" rows. What a figure means is told in the words
 * of the program that wrote last, so help is left out.
 */
struct views {
	char name[32][64];
	char columns[32][1600];
	size_t n;
};

static void list_views(sqlite3 *db, struct views *views)
{
	sqlite3_stmt *stmt;

	views->n = 0;
	assert_int_equal(
		sqlite3_prepare_v2(db,
				   "SELECT m.name, group_concat('quote(\"' || c.name || '\")',"
				   " '||''|''||') FROM sqlite_schema AS m,"
				   " pragma_table_info(m.name) AS c WHERE m.type = 'view'"
				   " AND c.name <> 'help'"
				   " GROUP BY m.name",
				   -1, &stmt, NULL),
		SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		assert_true(views->n < ARRAY_SIZE(views->name));
		snprintf(views->name[views->n], sizeof(views->name[0]), "%s",
			 (const char *)sqlite3_column_text(stmt, 0));
		assert_true(snprintf(views->columns[views->n], sizeof(views->columns[0]), "%s",
				     (const char *)sqlite3_column_text(stmt, 1)) <
			    (int)sizeof(views->columns[0]));
		views->n++;
	}
	sqlite3_finalize(stmt);
}

/* The rows of one view, in an order of their own; the caller frees. */
static char *dump_view(sqlite3 *db, const char *name, const char *columns)
{
	sqlite3_stmt *stmt;
	char sql[2048], *text;

	snprintf(sql, sizeof(sql),
		 "SELECT coalesce(group_concat(r, char(10)), '') FROM (SELECT %s AS r FROM %s"
		 " ORDER BY r)",
		 columns, name);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", name, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	text = strdup((const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	assert_non_null(text);
	return text;
}

struct dump {
	struct views views;
	char *text[32];
};

static struct dump *dump(const struct fixture *f)
{
	struct dump *d = calloc(1, sizeof(*d));
	sqlite3 *db = open_quickly(f);

	list_views(db, &d->views);
	for (size_t i = 0; i < d->views.n; i++)
		d->text[i] = dump_view(db, d->views.name[i], d->views.columns[i]);
	sqlite3_close(db);
	return d;
}

static void assert_says_the_same(const struct fixture *f, const struct dump *before)
{
	sqlite3 *db = open_quickly(f);

	for (size_t i = 0; i < before->views.n; i++) {
		char *now = dump_view(db, before->views.name[i], before->views.columns[i]);

		if (strcmp(now, before->text[i]) != 0)
			fail_msg("%s: %.600s\ninstead of %.600s", before->views.name[i], now,
				 before->text[i]);
		free(now);
	}
	sqlite3_close(db);
}

static void free_dump(struct dump *d)
{
	for (size_t i = 0; i < d->views.n; i++)
		free(d->text[i]);
	free(d);
}

/* ---- the tests ------------------------------------------------------------------------------------ */

static void every_view_says_of_old_runs_what_it_said(void **state)
{
	const struct fixture *f = *state;

	for (int version = 1; version <= VERSIONS; version++) {
		struct dump *before;
		char rows[32];

		copy_old(f, version);
		snprintf(rows, sizeof(rows), "%d", version);
		assert_answer(f, "PRAGMA user_version", rows);
		before = dump(f);
		assert_true(before->views.n >= 9);
		must_close(must_open(f));
		assert_answer(f, "PRAGMA user_version", "6");
		assert_says_the_same(f, before);
		/* and does so beside new runs */
		write_run(f, "another");
		assert_answer(f,
			      "SELECT status || settings || may_compete FROM v_run"
			      " WHERE allocator = 'another'",
			      "done1");
		assert_answer(f, "PRAGMA foreign_key_check", "");
		assert_answer(f, "PRAGMA integrity_check", "ok");
		free_dump(before);
	}
}

static void an_old_file_gets_the_tables_of_a_new_one(void **state)
{
	static const char tables[] =
		"SELECT group_concat(t) FROM (SELECT m.name || ':' || c.name || ':' || c.type ||"
		" c.\"notnull\" || c.pk AS t FROM sqlite_schema AS m, pragma_table_info(m.name) AS "
		"c"
		" WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid)";
	static const char others[] =
		"SELECT group_concat(name || sql) FROM (SELECT name, sql FROM sqlite_schema WHERE"
		" type = 'index' AND sql NOT NULL ORDER BY name)";
	const struct fixture *f = *state;
	char fresh[4096], indexes[1024];

	must_close(must_open(f));
	snprintf(fresh, sizeof(fresh), "%s", ask(f, tables));
	snprintf(indexes, sizeof(indexes), "%s", ask(f, others));
	assert_int_not_equal(strlen(fresh), 0);
	assert_int_not_equal(strlen(indexes), 0);
	for (int version = 1; version <= VERSIONS; version++) {
		copy_old(f, version);
		must_close(must_open(f));
		assert_answer(f, tables, fresh);
		assert_answer(f, others, indexes);
	}
}

static void old_columns_become_settings(void **state)
{
	static const char settings[] =
		"SELECT group_concat(key || '=' || value || unit || ' ' || substr(role, 1, 1) ||"
		" usual) FROM (SELECT * FROM run_setting WHERE run_id = %d ORDER BY key)";
	static const struct {
		int version, run;
		const char *settings;
	} expected[] = {
		{1, 3,
		 "backing=none q1,cpus=2 f0,events=166129 f0,managed_frames=6171023frames f0,"
		 "ops=112019 f0,oracle=false c0,prefill=packed q0"},
		{2, 2,
		 "backing=none q1,cpus=8 f0,events=0 f0,fill=90% q0,managed_frames=16384frames f0,"
		 "memory=67108864bytes q0,ops=0 f0,oracle=true c1,prefill=none f0,"
		 "repetitions=1 c0,rounds=2 q0"},
		{2, 6,
		 "backing=none q1,cpus=1 f0,events=0 f0,fill=50% q0,managed_frames=16384frames f0,"
		 "memory=67108864bytes q0,ops=0 f0,oracle=true c1,prefill=none f0,"
		 "repetitions=2 c0"},
		{3, 2,
		 "backing=none f1,burn_in=false f0,cpus=2 f0,events=926240 f0,hindsight=false q1,"
		 "managed_frames=6171023frames f0,ops=753521 f0,oracle=false f0,"
		 "prefill=recorded f1"},
		{3, 3,
		 "backing=none f1,burn_in=true f0,cpus=2 f0,events=166129 f0,hindsight=true q0,"
		 "managed_frames=6171023frames f0,ops=112019 f0,oracle=false f0,"
		 "prefill=recorded f1"},
	};
	const struct fixture *f = *state;
	char sql[256];

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		copy_old(f, expected[i].version);
		must_close(must_open(f));
		snprintf(sql, sizeof(sql), settings, expected[i].run);
		assert_answer(f, sql, expected[i].settings);
	}
	assert_answer(f,
		      "SELECT group_concat(run_id || ':' || hindsight || burn_in) FROM v_fidelity",
		      "2:00,3:11");
	assert_answer(f, "SELECT count(*) FROM metric_info WHERE source <> ''", "0");
	assert_answer(f, "SELECT group_concat(DISTINCT path) FROM latency", "plain");
	assert_answer(f, "SELECT group_concat(DISTINCT layer) FROM blockmap", "held");
}

/* Old and new runs that were asked the same are one question: the new one is its latest. */
static void a_new_run_replaces_an_old_one_that_was_asked_the_same(void **state)
{
	const struct fixture *f = *state;
	struct result_record run = run_record("buddy");
	struct store *store;

	copy_old(f, 1);
	store = must_open(f);
	run.run.options = "";
	run.run.label = NULL;
	run.run.trace_digest = "2b3175e8ba224e53f516005aaf8e9ede";
	must_take(store, &run);
	send_settings(store);
	send_done(store, RUN_DONE, NULL);
	must_close(store);
	assert_answer(f, "SELECT group_concat(run_id) FROM v_latest WHERE label IS NULL", "5");
	assert_answer(f, "SELECT count(*) FROM v_latest WHERE label = 'packed'", "2");
}

static void run_ids_are_not_reused_after_migrating(void **state)
{
	const struct fixture *f = *state;

	copy_old(f, 3);
	tell(f, "PRAGMA foreign_keys = ON; DELETE FROM run WHERE id = 5");
	write_run(f, "llfree");
	assert_answer(f, "SELECT max(id) FROM run", "6");
}

static void rows_of_no_run_are_told_and_left(void **state)
{
	const struct fixture *f = *state;
	struct store *store = NULL;
	struct error err = {0};

	copy_old(f, 3);
	tell(f, "PRAGMA foreign_keys = OFF; DELETE FROM run WHERE id = 1");
	assert_int_equal(store_open(f->path, NULL, &store, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "rows belong to no run"));
	assert_answer(f, "PRAGMA user_version", "3");
}

static char *read_bytes(const struct fixture *f, size_t *n)
{
	char *bytes = malloc(1 << 20);
	FILE *file = fopen(f->path, "r");

	assert_non_null(bytes);
	assert_non_null(file);
	*n = fread(bytes, 1, 1 << 20, file);
	fclose(file);
	return bytes;
}

static void a_report_of_an_old_file_leaves_it_alone(void **state)
{
	/* Replays that finished. */
	static const char *const rows[VERSIONS] = {"3 runs on 1 trace", "1 run on 1 trace",
						   "1 run on 1 trace", "2 runs on 2 traces",
						   "2 runs on 2 traces"};
	const struct fixture *f = *state;

	for (int version = 1; version <= VERSIONS; version++) {
		char out[128], page[160], *before, *after, *html = NULL;
		const struct report_options options = {
			.database = f->path, .directory = out, .overwrite = true};
		size_t n_before, n_after, size = 0;
		struct error err = {0};
		FILE *file;

		copy_old(f, version);
		before = read_bytes(f, &n_before);
		snprintf(out, sizeof(out), "%s/report", f->directory);
		if (report_write(&options, &err) != 0)
			fail_msg("%s", err.text);
		after = read_bytes(f, &n_after);
		assert_int_equal(n_after, n_before);
		assert_memory_equal(after, before, n_before);
		snprintf(page, sizeof(page), "%s/index.html", out);
		file = fopen(page, "r");
		assert_non_null(file);
		assert_true(getdelim(&html, &size, '\0', file) > 0);
		fclose(file);
		assert_non_null(strstr(html, rows[version - 1]));
		free(html);
		free(before);
		free(after);
	}
}

/* ---- what goes wrong in the middle ------------------------------------------------------------------ */

static unsigned int statements_left;

static int die_at_statement(unsigned int event, void *context, void *stmt, void *sql)
{
	(void)event, (void)context, (void)stmt, (void)sql;
	if (statements_left-- == 0)
		raise(SIGKILL);
	return 0;
}

static int watch_statements(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
	(void)message, (void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, die_at_statement, NULL);
}

/* Open in a child that is killed before its statement number @n. Return: whether it lived. */
static bool open_and_die(const struct fixture *f, unsigned int n)
{
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store = NULL;

		statements_left = n;
		sqlite3_auto_extension((void (*)(void))watch_statements);
		_exit(store_open(f->path, NULL, &store, NULL) || store_close(store, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return WIFEXITED(status);
}

/* Whether @f is brought up to date; it says what it said in either case. */
static bool is_old_or_new(const struct fixture *f, int version, const struct dump *before)
{
	const int now = atoi(ask(f, "PRAGMA user_version"));

	assert_true(now == version || now == VERSIONS + 1);
	assert_says_the_same(f, before);
	return now == VERSIONS + 1;
}

static void a_kill_in_the_middle_leaves_the_old_file_or_the_new_one(void **state)
{
	/* Of the oldest version only a few places, of the last one nearly all. */
	static const struct {
		int version;
		unsigned int step;
	} tries[] = {{1, 9}, {3, 2}};
	const struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		const int version = tries[i].version;
		struct dump *before;
		bool lived = false, is_new = false;
		unsigned int old = 0;

		copy_old(f, version);
		before = dump(f);
		/* The many statements that write metric_info are all alike. */
		for (unsigned int n = 0; !lived; n += n < 60 ? tries[i].step : 61) {
			copy_old(f, version);
			lived = open_and_die(f, n);
			is_new = is_old_or_new(f, version, before);
			old += !is_new;
		}
		assert_true(is_new);
		assert_true(old >= 60 / tries[i].step);
		free_dump(before);
	}
}

static int open_below_limit(const struct fixture *f, rlim_t bytes)
{
	struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
	struct store *store = NULL;
	struct error err = {0};
	int rc;

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 77;
	rc = store_open(f->path, NULL, &store, &err);
	if (!rc)
		rc = store_close(store, &err);
	/* One line that names the file, whatever failed. */
	return !rc ? 0 : strstr(err.text, f->path) && !strchr(err.text, '\n') ? 1 : 2;
}

static void a_disk_too_small_leaves_the_old_file_or_the_new_one(void **state)
{
	const struct fixture *f = *state;
	unsigned int failed = 0, done = 0;
	struct dump *before;

	copy_old(f, 3);
	before = dump(f);
	for (rlim_t bytes = 4096; bytes < 1 << 20; bytes += bytes < 400000 ? 24576 : 200000) {
		pid_t pid;
		int status;

		copy_old(f, 3);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(open_below_limit(f, bytes));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77)
			skip_because("no limit on file sizes to be had here");
		assert_in_range(WEXITSTATUS(status), 0, 1);
		failed += WEXITSTATUS(status) == 1;
		done += WEXITSTATUS(status) == 0;
		if (WEXITSTATUS(status) == 0)
			assert_answer(f, "PRAGMA user_version", "6");
		is_old_or_new(f, 3, before);
	}
	assert_true(failed > 5 && done > 2);
	free_dump(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_view_says_of_old_runs_what_it_said),
		TEST(an_old_file_gets_the_tables_of_a_new_one),
		TEST(old_columns_become_settings),
		TEST(a_new_run_replaces_an_old_one_that_was_asked_the_same),
		TEST(run_ids_are_not_reused_after_migrating),
		TEST(rows_of_no_run_are_told_and_left),
		TEST(a_report_of_an_old_file_leaves_it_alone),
		TEST(a_kill_in_the_middle_leaves_the_old_file_or_the_new_one),
		TEST(a_disk_too_small_leaves_the_old_file_or_the_new_one),
	};

	return cmocka_run_group_tests_name("analysis: migrate", tests, NULL, NULL);
}
