/* SPDX-License-Identifier: MIT */
#include "tests/analysis/store_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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
		if (store_open(f->path, NULL, &store, NULL) != 0 || take(store, &run, NULL) != 0)
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
		rc = store_open(path, NULL, &store, &err);
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
		rc = store_open(f->path, NULL, &store, &err);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("analysis: runs that do not end well", tests, NULL,
					   NULL);
}
