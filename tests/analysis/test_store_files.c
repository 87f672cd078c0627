/* SPDX-License-Identifier: MIT */
#include "tests/analysis/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files that cannot be used ---------------------------------------------------------------- */

static void assert_open_fails(const char *path, int code, const char *words)
{
	struct store *store = NULL;
	struct error err = {0};

	assert_int_equal(store_open(path, NULL, &store, &err), -code);
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
	tell(f, "PRAGMA user_version = 99");
	assert_open_fails(f->path, EPROTONOSUPPORT, "newer quire");
	assert_answer(f, "PRAGMA user_version", "99");
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
	assert_int_equal(store_open(":memory:", NULL, &store, NULL), 0);
	must_close(store);
	assert_int_equal(access(":memory:", F_OK), 0);
	assert_int_equal(store_open("", NULL, &store, NULL), -EINVAL);
	assert_int_equal(chdir(here), 0);
	free(here);
}

static int open_read_only(const struct fixture *f)
{
	struct store *store = NULL;
	struct error err = {0};
	char fresh[128];

	/* Permissions do not hold root back. */
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 77;
	if (store_open(f->path, NULL, &store, &err) != -EACCES || !strstr(err.text, "read-only"))
		return complain(1, &err);
	snprintf(fresh, sizeof(fresh), "%s/fresh.db", f->directory);
	if (store_open(fresh, NULL, &store, &err) != -EACCES || !strstr(err.text, "writable"))
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
	if (store_open(f->path, NULL, &store, &err) != -ENOSPC ||
	    !strstr(err.text, "no space left") || access(f->path, F_OK) == 0)
		return complain(1, &err);
	if (mount("tmpfs", f->directory, "tmpfs", MS_REMOUNT, "size=1m") != 0)
		return 77;
	if (store_open(f->path, NULL, &store, &err) != 0 || take(store, &run, &err) != 0)
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
	if (store_open(f->path, NULL, &store, &err) != 0 || take(store, &run, &err) != 0)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(other_files_are_refused_and_left_as_they_are),
		TEST(other_databases_are_refused_and_left_as_they_are),
		TEST(a_newer_schema_is_refused),
		TEST(a_damaged_database_is_refused),
		TEST(a_locked_database_is_busy),
		TEST(a_missing_directory_is_named),
		TEST(special_names_are_plain_files),
		TEST(a_read_only_directory_is_told_from_other_failures),
		TEST(a_full_disk_leaves_no_half_run),
		TEST(a_failing_write_leaves_no_half_run),
	};

	return cmocka_run_group_tests_name("analysis: files that cannot be used", tests, NULL,
					   NULL);
}
