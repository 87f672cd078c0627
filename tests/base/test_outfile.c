/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/outfile.h"
#include "tests/base/seed.h"
#include "tests/skip.h"

/* Each test runs in an empty directory of its own, which is also the working directory. */
static char directory[64];
static int start_directory;

static int enter_directory(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/quire-outfile-XXXXXX");
	start_directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return start_directory < 0 || !mkdtemp(directory) || chdir(directory) < 0;
}

static int leave_directory(void **state)
{
	char command[128];

	(void)state;
	if (fchdir(start_directory) < 0)
		return -1;
	close(start_directory);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* Entries of the working directory, hidden ones too. */
static int count_files(void)
{
	DIR *d = opendir(".");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void assert_file(const char *path, const char *text)
{
	char got[256];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(got, 1, sizeof(got) - 1, f);
	got[n] = '\0';
	fclose(f);
	assert_string_equal(got, text);
}

static struct outfile *begin(const char *path, bool overwrite)
{
	struct outfile *f = NULL;
	struct error err = {0};

	if (outfile_create(path, overwrite, &f, &err) < 0)
		fail_msg("%s", err.text);
	return f;
}

static void write_text(struct outfile *f, const char *text)
{
	assert_int_equal(outfile_write(f, text, strlen(text), NULL), 0);
}

static void a_file_appears_only_at_commit(void **state)
{
	struct outfile *f = begin("t", false);

	(void)state;
	write_text(f, "whole");
	assert_int_equal(access("t", F_OK), -1);
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_file("t", "whole");
	assert_int_equal(count_files(), 1);
}

static void an_aborted_file_leaves_nothing(void **state)
{
	struct outfile *f = begin("t", false);

	(void)state;
	write_text(f, "half");
	assert_int_equal(count_files(), 1);
	outfile_abort(f);
	assert_int_equal(count_files(), 0);
	outfile_abort(NULL);
}

static void an_existing_file_is_refused_at_once(void **state)
{
	struct outfile *f = NULL;
	struct error err = {0};

	(void)state;
	put_file("t", "old");
	assert_int_equal(outfile_create("t", false, &f, &err), -EEXIST);
	assert_string_equal(err.text, "t: exists already; choose another name, or replace it");
	assert_file("t", "old");
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	assert_int_equal(outfile_create("dangling", false, &f, &err), -EEXIST);
	assert_int_equal(count_files(), 2);
}

static void what_would_be_in_the_way_is_found_before(void **state)
{
	struct error err = {0};

	(void)state;
	put_file("t", "old");
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	assert_int_equal(outfile_check("t", false, &err), -EEXIST);
	assert_string_equal(err.text, "t: exists already; choose another name, or replace it");
	assert_int_equal(outfile_check("dangling", false, &err), -EEXIST);
	assert_int_equal(outfile_check(".", true, &err), -EISDIR);
	assert_int_equal(outfile_check("new/", true, &err), -EISDIR);
	assert_int_equal(outfile_check("", true, &err), -EISDIR);
	assert_int_equal(outfile_check("no/such/t", true, &err), -ENOENT);
	assert_int_equal(outfile_check("t/t", true, &err), -ENOTDIR);
	assert_int_equal(outfile_check("t", true, &err), 0);
	assert_int_equal(outfile_check("new", false, &err), 0);
	assert_int_equal(outfile_check("./new", false, &err), 0);
	assert_int_equal(outfile_check("/dev/null", false, &err), 0);
	assert_file("t", "old");
	assert_int_equal(count_files(), 2);
}

static void no_descriptor_left_is_called_so(void **state)
{
	struct rlimit old, none;
	struct outfile *f = NULL;
	struct error err = {0};
	int next = open(".", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)next + 1; /* one for the directory, none for the file */
	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(outfile_create("t", false, &f, &err), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_string_equal(err.text, "t: cannot create a file beside it: Too many open files");
	assert_int_equal(count_files(), 0);
}

static void a_file_that_appears_meanwhile_is_never_overwritten(void **state)
{
	struct outfile *f = begin("t", false);
	struct error err = {0};

	(void)state;
	write_text(f, "ours");
	put_file("t", "theirs");
	assert_int_equal(outfile_commit(f, &err), -EEXIST);
	assert_non_null(strstr(err.text, "t: has appeared meanwhile"));
	assert_file("t", "theirs");
	assert_int_equal(count_files(), 1);
}

static void asked_to_it_replaces_and_keeps_permissions(void **state)
{
	struct outfile *f;
	struct stat st;

	(void)state;
	put_file("t", "old");
	assert_int_equal(chmod("t", 0640), 0);
	f = begin("t", true);
	write_text(f, "new");
	assert_file("t", "old");
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_file("t", "new");
	assert_int_equal(stat("t", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);

	f = begin("t", true);
	write_text(f, "newer");
	outfile_abort(f);
	assert_file("t", "new");
	assert_int_equal(count_files(), 1);
}

static void a_new_file_obeys_the_umask(void **state)
{
	mode_t old = umask(027);
	struct outfile *f = begin("t", false);
	struct stat st;

	(void)state;
	umask(old);
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_int_equal(stat("t", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_size, 0);
}

static void through_a_symbolic_link_its_target_is_replaced(void **state)
{
	struct outfile *f;
	struct stat st;

	(void)state;
	assert_int_equal(mkdir("d", 0755), 0);
	put_file("d/real", "old");
	assert_int_equal(symlink("d/real", "link"), 0);
	f = begin("link", true);
	write_text(f, "new");
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_file("d/real", "new");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void a_change_of_directory_does_no_harm(void **state)
{
	struct outfile *kept = begin("kept", false), *dropped = begin("dropped", false);

	(void)state;
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(chdir("d"), 0);
	assert_int_equal(outfile_commit(kept, NULL), 0);
	outfile_abort(dropped);
	assert_int_equal(chdir(".."), 0);
	assert_int_equal(access("kept", F_OK), 0);
	assert_int_equal(count_files(), 2);
}

static void what_cannot_be_created_is_named_with_a_remedy(void **state)
{
	struct outfile *f = NULL;
	struct error err = {0};
	char name[NAME_MAX + 2];

	(void)state;
	assert_int_equal(outfile_create("no/such/dir/t", false, &f, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no/such/dir/t: "));
	assert_non_null(strstr(err.text, "create the directory first"));
	assert_int_equal(outfile_create(".", true, &f, &err), -EISDIR);
	assert_int_equal(outfile_create("new/", true, &f, &err), -EISDIR);
	put_file("plain", "");
	assert_int_equal(outfile_create("plain/t", false, &f, &err), -ENOTDIR);
	assert_int_equal(outfile_create("", false, &f, &err), -EISDIR);
	assert_null(f);

	/* The longest possible name still leaves room for the temporary one. */
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	f = begin(name, false);
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_int_equal(access(name, F_OK), 0);
}

static void a_directory_one_may_not_write_to_is_refused(void **state)
{
	struct error err = {0};
	pid_t child;
	int status;

	(void)state;
	if (geteuid() != 0)
		skip_because("needs root, to be a user without the right");
	assert_int_equal(mkdir("closed", 0755), 0);
	assert_int_equal(chmod(".", 0755), 0);
	child = fork();
	if (child == 0) {
		struct outfile *f = NULL;
		int rc;

		if (setuid(65534) < 0)
			_exit(3);
		rc = outfile_create("closed/t", false, &f, &err);
		_exit(rc == -EACCES && strstr(err.text, "closed/t: ") &&
				      strstr(err.text, "may write to")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Random writes and patches, of sizes around the buffer's, against a plain array. */
static void any_mix_of_writes_and_patches_gives_the_same_bytes(void **state)
{
	enum { LIMIT = 3 << 20 };
	uint8_t *model = malloc(LIMIT), *data = malloc(LIMIT), *got = malloc(LIMIT);
	struct random r = random_begin(12);

	(void)state;
	for (int round = 0; round < 8; round++) {
		struct outfile *f = begin("t", true);
		size_t used = 0;
		FILE *in;

		for (int i = 0; i < 60; i++) {
			size_t n = random_below(&r, UINT64_C(1) << random_below(&r, 20));

			for (size_t b = 0; b < n; b++)
				data[b] = (uint8_t)random_u64(&r);
			if (random_below(&r, 3) == 0 && used > 0) {
				size_t at = random_below(&r, used);

				n = n < used - at ? n : used - at;
				memcpy(model + at, data, n);
				assert_int_equal(outfile_patch(f, at, data, n, NULL), 0);
			} else if (n <= LIMIT - used) {
				memcpy(model + used, data, n);
				used += n;
				assert_int_equal(outfile_write(f, data, n, NULL), 0);
			}
			assert_true(outfile_offset(f) == used);
		}
		assert_int_equal(outfile_commit(f, NULL), 0);
		in = fopen("t", "r");
		assert_non_null(in);
		assert_int_equal(fread(got, 1, LIMIT, in), used);
		fclose(in);
		if (memcmp(got, model, used) != 0)
			fail_msg("bytes differ (seed %llu)", (unsigned long long)seed_or(12));
	}
	free(model);
	free(data);
	free(got);
}

static void devices_are_written_directly(void **state)
{
	struct outfile *f = begin("/dev/null", false);

	(void)state;
	write_text(f, "gone");
	assert_int_equal(outfile_commit(f, NULL), 0);
	f = begin("/dev/null", true);
	outfile_abort(f);
	assert_int_equal(access("/dev/null", F_OK), 0);
	assert_int_equal(count_files(), 0);
}

static void a_pipe_takes_bytes_but_no_patch_of_flushed_ones(void **state)
{
	static uint8_t block[1 << 15];
	char path[64];
	struct outfile *f;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd[1]);
	f = begin(path, false);
	write_text(f, "abcdef");
	assert_int_equal(outfile_patch(f, 2, "XY", 2, NULL), 0); /* still in the buffer */
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_int_equal(read(fd[0], block, sizeof(block)), 6);
	assert_memory_equal(block, "abXYef", 6);

	f = begin(path, false);
	assert_int_equal(fcntl(fd[1], F_SETPIPE_SZ, 1 << 20) >= 1 << 20, 1);
	for (int i = 0; i < 9; i++)
		assert_int_equal(outfile_write(f, block, sizeof(block), NULL), 0);
	assert_int_equal(outfile_patch(f, 0, "XY", 2, NULL), -ESPIPE);
	assert_int_equal(outfile_commit(f, NULL), -ESPIPE); /* and it stays failed */
	close(fd[0]);
	close(fd[1]);
}

static void a_full_device_is_named(void **state)
{
	static const uint8_t block[1 << 18];
	struct outfile *f = begin("/dev/full", false);
	struct error err = {0};

	(void)state;
	write_text(f, "x");
	assert_int_equal(outfile_commit(f, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "/dev/full: "));
	assert_non_null(strstr(err.text, "free some space"));

	f = begin("/dev/full", false);
	assert_int_equal(outfile_write(f, block, sizeof(block), NULL), -ENOSPC);
	assert_int_equal(outfile_write(f, "x", 1, &err), -ENOSPC); /* sticky */
	outfile_abort(f);
}

static void a_full_disk_leaves_nothing(void **state)
{
	static const uint8_t block[1 << 18];
	struct outfile *f;
	struct error err = {0};
	int rc = 0;

	(void)state;
	assert_int_equal(mkdir("small", 0755), 0);
	if (mount("tmpfs", "small", "tmpfs", 0, "size=1m") < 0)
		skip_because("may not mount here");
	f = begin("small/t", false);
	for (int i = 0; i < 16 && rc == 0; i++)
		rc = outfile_write(f, block, sizeof(block), &err);
	assert_int_equal(rc, -ENOSPC);
	assert_non_null(strstr(err.text, "small/t: "));
	assert_int_equal(outfile_commit(f, NULL), -ENOSPC);
	assert_int_equal(chdir("small"), 0);
	assert_int_equal(count_files(), 0);
	assert_int_equal(chdir(".."), 0);
	assert_int_equal(umount("small"), 0);
}

/* In a child: what the handler takes over is never freed, as its process is about to end. */
static void a_signal_handler_removes_all_of_this_process(void **state)
{
	static struct outfile *done; /* still reachable when the child ends */
	struct outfile *a = NULL, *b = NULL;
	struct error err = {0};
	pid_t child;
	int status;

	(void)state;
	done = begin("done", false);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int rc = outfile_create("a", false, &a, NULL);

		rc |= outfile_create("b", false, &b, NULL);
		rc |= outfile_write(a, "a", 1, NULL);
		outfile_abort_all_at_signal();
		/* Who goes on all the same gets an error, and no file. */
		if (outfile_commit(a, &err) != -EINTR)
			rc = 1;
		outfile_abort(b);
		_exit(rc ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(count_files(), 1); /* this process's own */
	assert_int_equal(outfile_commit(done, NULL), 0);
	assert_int_equal(count_files(), 1);
	assert_int_equal(access("done", F_OK), 0);
}

static void on_signal(int number)
{
	(void)number;
	outfile_abort_all_at_signal(); /* NOLINT(bugprone-signal-handler): it is made for one */
	_exit(42);
}

static void a_killed_process_leaves_nothing_behind(void **state)
{
	static struct outfile *files[5]; /* still reachable when the handler ends the child */
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGTERM, on_signal);
		for (int i = 0; i < 5; i++) {
			char name[8];

			snprintf(name, sizeof(name), "t%d", i);
			if (outfile_create(name, false, &files[i], NULL) < 0)
				_exit(1);
		}
		raise(SIGTERM);
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	assert_int_equal(count_files(), 0);
}

static void a_forked_child_spares_the_files_of_its_parent(void **state)
{
	static struct outfile *f; /* still reachable when the child ends */
	pid_t child;
	int status;

	(void)state;
	f = begin("t", false);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		outfile_abort_all_at_signal();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(outfile_commit(f, NULL), 0);
	assert_int_equal(access("t", F_OK), 0);
}

static void more_files_than_can_be_cleaned_up_are_refused(void **state)
{
	struct outfile *open_files[65] = {0};
	struct error err = {0};
	char name[16];

	(void)state;
	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		open_files[i] = begin(name, false);
	}
	assert_int_equal(outfile_create("one-more", false, &open_files[64], &err), -EMFILE);
	assert_int_equal(count_files(), 64);
	for (int i = 0; i < 64; i++)
		outfile_abort(open_files[i]);
	assert_int_equal(count_files(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_directory, leave_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_appears_only_at_commit),
		TEST(an_aborted_file_leaves_nothing),
		TEST(an_existing_file_is_refused_at_once),
		TEST(what_would_be_in_the_way_is_found_before),
		TEST(no_descriptor_left_is_called_so),
		TEST(a_file_that_appears_meanwhile_is_never_overwritten),
		TEST(asked_to_it_replaces_and_keeps_permissions),
		TEST(a_new_file_obeys_the_umask),
		TEST(through_a_symbolic_link_its_target_is_replaced),
		TEST(a_change_of_directory_does_no_harm),
		TEST(what_cannot_be_created_is_named_with_a_remedy),
		TEST(a_directory_one_may_not_write_to_is_refused),
		TEST(any_mix_of_writes_and_patches_gives_the_same_bytes),
		TEST(devices_are_written_directly),
		TEST(a_pipe_takes_bytes_but_no_patch_of_flushed_ones),
		TEST(a_full_device_is_named),
		TEST(a_full_disk_leaves_nothing),
		TEST(a_signal_handler_removes_all_of_this_process),
		TEST(a_killed_process_leaves_nothing_behind),
		TEST(a_forked_child_spares_the_files_of_its_parent),
		TEST(more_files_than_can_be_cleaned_up_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
