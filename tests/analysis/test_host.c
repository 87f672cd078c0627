/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/host.h"

/* A machine made of files under a directory of its own. */
static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char *root = malloc(64);

	snprintf(root, 64, "%.40s/quire-host-XXXXXX", tmp ? tmp : P_tmpdir);
	assert_non_null(mkdtemp(root));
	*state = root;
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
	assert_int_equal(system(command), 0);
	free(*state);
	return 0;
}

static void put(const char *root, const char *path, const char *text)
{
	char full[256], command[320];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s')\"", full);
	assert_int_equal(system(command), 0);
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void a_machine_is_described_by_what_makes_timings_differ(void **state)
{
	const char *root = *state;
	struct host host;

	put(root, "/proc/cpuinfo",
	    "processor\t: 0\nmodel\t\t: 106\nmodel name\t: A Processor @ 2 GHz \n\n"
	    "processor\t: 1\nmodel name\t: Another\n");
	put(root, "/proc/meminfo", "MemTotal:       24726008 kB\nMemFree: 1 kB\n");
	put(root, "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	put(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n");
	put(root, "/proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
	host_read(root, &host);
	assert_string_equal(host.cpu_model, "A Processor @ 2 GHz");
	assert_string_equal(host.thp, "madvise");
	assert_string_equal(host.governor, "schedutil");
	assert_string_equal(host.boot_id, "11111111-2222-3333-4444-555555555555");
	assert_int_equal(host.memory_bytes % (64 << 20), 0);
	assert_int_equal(host.memory_bytes >> 20, 24128);
	assert_true(host.cores > 0);
}

static void what_cannot_be_read_is_unknown(void **state)
{
	struct host host;

	host_read(*state, &host);
	assert_string_equal(host.cpu_model, "unknown");
	assert_string_equal(host.thp, "unknown");
	assert_string_equal(host.governor, "unknown");
	assert_string_equal(host.boot_id, "unknown");
	assert_int_equal(host.memory_bytes, 0);
}

static void a_command_may_look_like_the_fields_after_it(void **state)
{
	const char *root = *state;
	uint64_t ticks = 0;

	put(root, "/proc/7/stat",
	    "7 (a) S 1 (b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 9\n");
	assert_int_equal(host_process_start(root, 7, &ticks), 0);
	assert_int_equal(ticks, 123456);
}

static void a_process_that_is_gone_is_told_from_nonsense(void **state)
{
	const char *root = *state;
	uint64_t ticks, own, again;

	assert_int_equal(host_process_start(root, 8, &ticks), -ESRCH);
	put(root, "/proc/9/stat", "9 (short) S 1 2\n");
	assert_int_equal(host_process_start(root, 9, &ticks), -EIO);
	assert_int_equal(host_process_start("", getpid(), &own), 0);
	assert_int_equal(host_process_start("", getpid(), &again), 0);
	assert_int_equal(own, again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_machine_is_described_by_what_makes_timings_differ,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(a_command_may_look_like_the_fields_after_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_process_that_is_gone_is_told_from_nonsense, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("analysis: host", tests, NULL, NULL);
}
