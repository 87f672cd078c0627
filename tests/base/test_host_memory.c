/* SPDX-License-Identifier: MIT */
/* What a process could still get, from files as hosts and containers have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/host_memory.h"

#define MEMINFO "MemTotal: 900 kB\nMemFree: 5 kB\nMemAvailable:     700 kB\nBuffers: 1 kB\n"
#define KIB(n)	((uint64_t)(n)*1024)

static char root[64];

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/quire-host-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void put(const char *path, const char *text)
{
	char whole[256];
	FILE *f;

	for (const char *p = path; (p = strchr(p + 1, '/'));) {
		snprintf(whole, sizeof(whole), "%s%.*s", root, (int)(p - path), path);
		mkdir(whole, 0700);
	}
	snprintf(whole, sizeof(whole), "%s%s", root, path);
	f = fopen(whole, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void what_cannot_be_read_is_not_known(void **state)
{
	(void)state;
	assert_int_equal(host_memory_available(root), UINT64_MAX);
	put("/proc/meminfo", "MemTotal: 900 kB\n");
	assert_int_equal(host_memory_available(root), UINT64_MAX);
}

static void without_a_limit_it_is_what_is_available(void **state)
{
	(void)state;
	put("/proc/meminfo", MEMINFO);
	assert_int_equal(host_memory_available(root), KIB(700));
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/sys/fs/cgroup/a/b/memory.max", "max\n");
	assert_int_equal(host_memory_available(root), KIB(700));
}

static void the_lowest_limit_on_the_way_up_counts(void **state)
{
	(void)state;
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/sys/fs/cgroup/a/b/memory.max", "614400\n");
	assert_int_equal(host_memory_available(root), KIB(600));
	put("/sys/fs/cgroup/a/memory.max", "512000\n");
	assert_int_equal(host_memory_available(root), KIB(500));
	put("/sys/fs/cgroup/memory.max", "409600\n");
	assert_int_equal(host_memory_available(root), KIB(400));
	/* In a container it is its own root. */
	put("/proc/self/cgroup", "0::/\n");
	assert_int_equal(host_memory_available(root), KIB(400));
	/* More than there is. */
	put("/sys/fs/cgroup/memory.max", "99999999\n");
	assert_int_equal(host_memory_available(root), KIB(700));
}

static void the_older_hierarchy_is_looked_at_for_memory_alone(void **state)
{
	(void)state;
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "5:cpuset:/c\n4:hugetlb,memory:/m/n\n0::/\n");
	put("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "1024\n");
	put("/sys/fs/cgroup/memory/m/n/memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(host_memory_available(root), KIB(700));
	put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "307200\n");
	assert_int_equal(host_memory_available(root), KIB(300));
}

static void what_the_group_uses_is_gone_but_for_idle_files(void **state)
{
	(void)state;
	put("/proc/meminfo", MEMINFO);
	put("/proc/self/cgroup", "0::/a\n");
	put("/sys/fs/cgroup/a/memory.max", "614400\n");
	put("/sys/fs/cgroup/a/memory.current", "204800\n");
	assert_int_equal(host_memory_available(root), KIB(400));
	put("/sys/fs/cgroup/a/memory.stat", "anon 5\nactive_file 7\ninactive_file 102400\n");
	assert_int_equal(host_memory_available(root), KIB(500));
	put("/sys/fs/cgroup/a/memory.current", "999999\n");
	put("/sys/fs/cgroup/a/memory.stat", "inactive_file 0\n");
	assert_int_equal(host_memory_available(root), 0);
	put("/proc/self/cgroup", "4:memory:/m\n");
	put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "614400\n");
	put("/sys/fs/cgroup/memory/m/memory.usage_in_bytes", "307200\n");
	put("/sys/fs/cgroup/memory/m/memory.stat", "inactive_file 1\ntotal_inactive_file 102400\n");
	assert_int_equal(host_memory_available(root), KIB(400));
}

static void this_host_has_some(void **state)
{
	uint64_t bytes = host_memory_available("");

	(void)state;
	assert_true(bytes > KIB(1024));
	assert_true(bytes < UINT64_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
	const struct CMUnitTest tests[] = {
		TEST(what_cannot_be_read_is_not_known),
		TEST(without_a_limit_it_is_what_is_available),
		TEST(the_lowest_limit_on_the_way_up_counts),
		TEST(the_older_hierarchy_is_looked_at_for_memory_alone),
		TEST(what_the_group_uses_is_gone_but_for_idle_files),
		TEST(this_host_has_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
