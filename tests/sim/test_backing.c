/* SPDX-License-Identifier: MIT */
/* Each kind of backing that this host has, with memory really touched. */
#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "sim/memory.h"
#include "tests/skip.h"

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

#define FIRST 700U /* neither end is that of a huge block */
#define END   9001U

static struct machine *new_machine(void)
{
	struct zone zone = {.start = FIRST, .end = END, .type = ZONE_NORMAL};
	struct machine *m;

	assert_int_equal(machine_create(1, 1, &m, NULL), 0);
	assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	return m;
}

static char file_path[64];

static struct memory *try_memory(enum backing_kind kind, const struct machine *m, struct error *err)
{
	const struct memory_config config = {.kind = kind, .path = file_path};
	struct memory *memory = NULL;

	return memory_create(&config, m, &memory, err) ? NULL : memory;
}

/* Pages in the host's pool before; -1: this test may not change it. One test at a time does: this locks it. */
static long pool_before = -1;
static int pool_lock = -1;

static long pool_pages(long set)
{
	long pages = -1;
	FILE *f = fopen(POOL, set < 0 ? "r" : "w");

	if (!f)
		return -1;
	if (set >= 0)
		fprintf(f, "%ld\n", set);
	else if (fscanf(f, "%ld", &pages) != 1)
		pages = -1;
	fclose(f);
	return pages;
}

static void touch(struct memory *memory, pfn_t start, pfn_t end, enum memory_touch how)
{
	struct error err = {0};

	if (memory_prepare(memory, (struct pfn_range){start, end}, &err))
		fail_msg("%s", err.text);
	memory_touch(memory, (struct pfn_range){start, end}, how);
}

static void every_frame_is_memory_of_its_own(void **state)
{
	(void)state;
	for (unsigned int kind = BACKING_SMALL; backing_kind_names[kind]; kind++) {
		struct machine *m = new_machine();
		struct error err = {0};
		struct memory *memory = try_memory(kind, m, &err);
		struct memory_usage before, after;

		if (!memory) {
			print_message("# %s: %s\n", backing_kind_names[kind], err.text);
			machine_destroy(m);
			continue;
		}
		/* A huge block of the machine is one of the host. */
		assert_int_equal((uintptr_t)memory_at(memory, 1024) % ((size_t)2 << 20), 0);
		assert_int_equal(memory_usage(memory, &before), 0);
		assert_int_equal(before.resident_bytes, 0);
		for (pfn_t pfn = FIRST; pfn < END; pfn += 100) {
			touch(memory, pfn, pfn + 1, TOUCH_WRITE);
			assert_int_equal(*(char *)memory_at(memory, pfn), 1);
			*(uint64_t *)memory_at(memory, pfn) = pfn;
		}
		for (pfn_t pfn = FIRST; pfn < END; pfn += 100)
			assert_int_equal(*(uint64_t *)memory_at(memory, pfn), pfn);
		assert_int_equal(memory_usage(memory, &after), 0);
		assert_true(after.resident_bytes >= 80 * 4096);
		touch(memory, END - 300, END, TOUCH_CLEAR);
		assert_int_equal(*(uint64_t *)memory_at(memory, END - 1), 0);
		memory_destroy(memory);
		unlink(file_path);
		machine_destroy(m);
	}
}

static void what_is_discarded_is_given_back_and_reads_as_zeros(void **state)
{
	(void)state;
	for (unsigned int kind = BACKING_SMALL; backing_kind_names[kind]; kind++) {
		struct machine *m = new_machine();
		struct memory *memory = try_memory(kind, m, NULL);
		struct memory_usage full, rest;

		if (!memory) {
			machine_destroy(m);
			continue;
		}
		touch(memory, 1024, 4096, TOUCH_WRITE);
		assert_int_equal(memory_usage(memory, &full), 0);
		assert_true(full.resident_bytes >= 3072 * 4096);
		assert_int_equal(memory_discard(memory, (struct pfn_range){1536, 4096}), 0);
		assert_int_equal(memory_usage(memory, &rest), 0);
		assert_true(rest.resident_bytes + 2560 * 4096 <= full.resident_bytes);
		assert_int_equal(*(char *)memory_at(memory, 1024), 1);
		if (kind == BACKING_HUGETLB)
			assert_int_equal(memory_discard(memory, (struct pfn_range){1024, 1025}),
					 -EINVAL);
		touch(memory, 1536, 1537, TOUCH_CLEAR);
		assert_int_equal(*(char *)memory_at(memory, 1537), 0);
		memory_destroy(memory);
		unlink(file_path);
		machine_destroy(m);
	}
}

static void huge_pages_are_told_as_such(void **state)
{
	static const enum backing_kind kinds[] = {BACKING_SMALL, BACKING_THP, BACKING_HUGETLB};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct machine *m = new_machine();
		struct memory *memory = try_memory(kinds[i], m, NULL);
		struct memory_usage usage;

		if (!memory) {
			machine_destroy(m);
			continue;
		}
		touch(memory, 1024, 8192, TOUCH_CLEAR);
		assert_int_equal(memory_usage(memory, &usage), 0);
		if (kinds[i] == BACKING_SMALL)
			assert_int_equal(usage.huge_bytes, 0);
		if (kinds[i] == BACKING_HUGETLB)
			assert_int_equal(usage.huge_bytes, 14 << 21);
		/* How many of the transparent ones the kernel finds is its affair. */
		assert_true(usage.huge_bytes <= usage.resident_bytes);
		memory_destroy(memory);
		machine_destroy(m);
	}
}

static void an_empty_pool_is_an_error_and_no_signal(void **state)
{
	struct machine *m = new_machine();
	struct error err = {0};
	struct memory *memory;

	(void)state;
	if (pool_before < 0) {
		machine_destroy(m);
		skip();
	}
	pool_pages(pool_before + 3);
	memory = try_memory(BACKING_HUGETLB, m, &err);
	if (!memory) {
		pool_pages(pool_before + 20);
		machine_destroy(m);
		skip();
	}
	for (pfn_t pfn = 1024; pfn < 1024 + 512 * (pfn_t)(pool_before + 3); pfn += 512)
		touch(memory, pfn, pfn + 1, TOUCH_WRITE);
	assert_int_equal(memory_prepare(memory, (struct pfn_range){8192, 8193}, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "nr_hugepages"));
	memory_destroy(memory);
	pool_pages(pool_before);
	if (pool_before == 0) {
		assert_null(try_memory(BACKING_HUGETLB, m, &err));
		assert_non_null(strstr(err.text, "no free huge pages"));
	}
	pool_pages(pool_before + 20);
	machine_destroy(m);
}

/* The kernel's policy for the page at @at: bound to @node alone? */
static void expect_bound(void *at, unsigned int node)
{
	unsigned long nodes[16] = {0};
	int policy = -1;

	assert_int_equal(get_mempolicy(&policy, nodes, sizeof(nodes) * 8, at, MPOL_F_ADDR), 0);
	assert_int_equal(policy, MPOL_BIND);
	for (unsigned int i = 0; i < sizeof(nodes) * 8; i++)
		assert_int_equal(nodes[i / 64] >> i % 64 & 1, i == node);
}

static void what_is_bound_comes_from_that_node_of_the_host(void **state)
{
	static const enum backing_kind kinds[] = {BACKING_SMALL, BACKING_THP, BACKING_HUGETLB,
						  BACKING_MEMFD};
	struct machine *m = new_machine();
	struct node_plan plan;
	unsigned int seen = 0;
	(void)state;

	node_plan_make(m, &node_this_host, &plan);
	if (!plan.bound) {
		machine_destroy(m);
		skip_because("the host's kernel tells of no nodes");
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct memory_config config = {.kind = kinds[i], .node_plan = &plan};
		struct memory *memory;
		struct error err;
		int node = -1;

		if (memory_create(&config, m, &memory, &err)) {
			print_message("# %s: %s\n", backing_kind_names[kinds[i]], err.text);
			continue;
		}
		for (pfn_t pfn = FIRST; pfn < END; pfn += 1000) {
			touch(memory, pfn, pfn + 1, TOUCH_WRITE);
			expect_bound(memory_at(memory, pfn), plan.host_node[0]);
			assert_int_equal(get_mempolicy(&node, NULL, 0, memory_at(memory, pfn),
						       MPOL_F_NODE | MPOL_F_ADDR),
					 0);
			assert_int_equal(node, plan.host_node[0]);
			seen++;
		}
		memory_destroy(memory);
	}
	assert_true(seen > 0);
	machine_destroy(m);
}

static void a_file_is_its_own_and_stays(void **state)
{
	struct machine *m = new_machine();
	struct error err = {0};
	struct memory *memory = try_memory(BACKING_FILE, m, &err);
	uint64_t word = 0;
	FILE *f;

	(void)state;
	if (!memory)
		fail_msg("%s", err.text);
	touch(memory, 2048, 2049, TOUCH_CLEAR);
	*(uint64_t *)memory_at(memory, 2048) = 0x12345678;
	memory_destroy(memory);
	f = fopen(file_path, "r");
	assert_non_null(f);
	/* From the huge block on in which the machine starts. */
	assert_int_equal(fseek(f, (2048 - 512) * 4096, SEEK_SET), 0);
	assert_int_equal(fread(&word, sizeof(word), 1, f), 1);
	assert_int_equal(word, 0x12345678);
	fclose(f);
	/* Nobody's file is overwritten. */
	assert_null(try_memory(BACKING_FILE, m, &err));
	assert_int_equal(err.code, EEXIST);
	assert_non_null(strstr(err.text, file_path));
	unlink(file_path);
	machine_destroy(m);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(file_path, sizeof(file_path), "/tmp/quire-backing-%d", (int)getpid());
	pool_lock = open(POOL, O_RDONLY | O_CLOEXEC);
	if (pool_lock >= 0)
		flock(pool_lock, LOCK_EX);
	pool_before = pool_pages(-1);
	if (geteuid() || pool_before < 0)
		pool_before = -1;
	else
		pool_pages(pool_before + 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(file_path);
	if (pool_before >= 0)
		pool_pages(pool_before);
	if (pool_lock >= 0)
		close(pool_lock);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_is_memory_of_its_own),
		cmocka_unit_test(what_is_discarded_is_given_back_and_reads_as_zeros),
		cmocka_unit_test(huge_pages_are_told_as_such),
		cmocka_unit_test(an_empty_pool_is_an_error_and_no_signal),
		cmocka_unit_test(what_is_bound_comes_from_that_node_of_the_host),
		cmocka_unit_test(a_file_is_its_own_and_stays),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
