/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "tests/skip.h"
#include "traces/record/burn_in.h"

static const char zoneinfo[] = "Node 0, zone      DMA\n"
			       "  per-node stats\n"
			       "      nr_inactive_anon 2\n"
			       "  pages free     3840\n"
			       "        boost    0\n"
			       "        min      10\n"
			       "        low      13\n"
			       "        high     16\n"
			       "        spanned  4095\n"
			       "        present  3998\n"
			       "        managed  3840\n"
			       "        protection: (0, 1, 2)\n"
			       "      nr_free_pages 3840\n"
			       "  pagesets\n"
			       "    cpu: 0\n"
			       "              count:    1\n"
			       "              high:     0\n"
			       "    cpu: 1\n"
			       "              count:    2\n"
			       "              high:     0\n"
			       "Node 0, zone   Normal\n"
			       "  pages free     1000000\n"
			       "        high     25557\n"
			       "        present  5505024\n"
			       "        managed  5394266\n"
			       "    cpu: 0\n"
			       "              count:    11691\n"
			       "              high:     15226\n"
			       "    cpu: 1\n"
			       "              count:    9895\n"
			       "              high:     14230\n"
			       "Node 0, zone  Movable\n"
			       "  pages free     0\n"
			       "        high     32\n"
			       "        present  0\n"
			       "        managed  0\n"
			       "    cpu: 0\n"
			       "              count:    77\n"
			       "Node 1, zone   Normal\n"
			       "  pages free     500000\n"
			       "        high     100\n"
			       "        present  5505024\n"
			       "        managed  1998848\n"
			       "    cpu: 1\n"
			       "              count:    3\n";

static const char buddyinfo[] = "Node 0, zone      DMA      0      0      0      0      0      0   "
				"   0      0      1      1      3 \n"
				"Node 0, zone   Normal      5      4      0      1      0      0   "
				"   0      0      2      7    100 \n"
				"Node 1, zone   Normal      1      0      0      0      0      0   "
				"   0      0      0      0      1 \n";

static void memory_is_read_by_node_and_cpu(void **state)
{
	struct burn_in_memory m;

	(void)state;
	assert_int_equal(burn_in_memory_read(zoneinfo, buddyinfo, 0, 1, &m), 0);
	assert_int_equal(m.free_frames, 1003840);
	assert_int_equal(m.high_frames, 16 + 25557 + 32);
	assert_int_equal(m.small_frames, 256 + 5 + 2 * 4 + 8 + 2 * 256);
	assert_int_equal(m.huge_blocks, 1 + 2 * 3 + 7 + 2 * 100);
	assert_int_equal(m.parked_frames, 9895);
	assert_int_equal(m.limit_frames, 14230);
	assert_int_equal(m.deferred_frames, 0);
	assert_int_equal(burn_in_memory_read(zoneinfo, buddyinfo, 0, 0, &m), 0);
	assert_int_equal(m.parked_frames, 11691);
	/* Here most of the zone has not been taken over. */
	assert_int_equal(burn_in_memory_read(zoneinfo, buddyinfo, 1, 1, &m), 0);
	assert_int_equal(m.free_frames, 500000);
	assert_int_equal(m.parked_frames, 3);
	assert_int_equal(m.deferred_frames, 5505024 - 1998848);
	assert_int_equal(burn_in_memory_read(zoneinfo, buddyinfo, 2, 0, &m), -EBADMSG);
	assert_int_equal(burn_in_memory_read("", "", 0, 0, &m), -EBADMSG);
	assert_int_equal(burn_in_memory_read("Node 0, zone", "Node 0, zone", 0, 0, &m), -EBADMSG);
}

static void some_memory_is_left_alone(void **state)
{
	struct burn_in_memory m = {.free_frames = 100000, .high_frames = 10};

	(void)state;
	assert_int_equal(burn_in_floor(&m), 5000);
	m.high_frames = 4000;
	assert_int_equal(burn_in_floor(&m), 8000);
}

#define PRESENT (UINT64_C(1) << 63)

static void frames_are_given_back_from_the_top_in_whole_blocks(void **state)
{
	enum { PAGES = 3000 };
	uint64_t *map = calloc(PAGES, sizeof(*map)), last = UINT64_MAX;
	struct burn_in_run *runs = calloc(PAGES, sizeof(*runs));
	size_t n, covered = 0;

	(void)state;
	assert_true(map && runs);
	/* 5 ascending frames from 1027, 2048 from 4096, 6 from 16384, then singles downwards. */
	for (size_t i = 0; i < 5; i++)
		map[i] = PRESENT | (1027 + i);
	for (size_t i = 0; i < 2048; i++)
		map[100 + i] = PRESENT | (4096 + i);
	for (size_t i = 0; i < 6; i++)
		map[2400 + i] = PRESENT | (16384 + i);
	for (size_t i = 0; i < 40; i++)
		map[2500 + i] = PRESENT | (900 - i);
	map[2999] = PRESENT; /* its number is hidden */
	map[2998] = 77;	     /* not there at all */
	n = burn_in_runs(map, PAGES, runs);
	for (size_t i = 0; i < n; i++) {
		const struct burn_in_run *r = &runs[i];

		assert_true(r->pfn < last);
		last = r->pfn;
		assert_true(is_power_of_two(r->pages) && r->pages <= 1024);
		assert_true(is_aligned(r->pfn, r->pages));
		for (size_t k = 0; k < r->pages; k++)
			assert_int_equal(map[r->page + k] & ~PRESENT, r->pfn + k);
		covered += r->pages;
	}
	assert_int_equal(covered, 5 + 2048 + 6 + 40);
	/* 1027, 1028..1031; two of order 10; 4 and 2; 40 singles. */
	assert_int_equal(n, 2 + 2 + 2 + 40);
	assert_int_equal(runs[0].pfn, 16388);
	assert_int_equal(runs[0].pages, 2);
	assert_int_equal(runs[2].pfn, 5120);
	assert_int_equal(runs[2].pages, 1024);
	free(map);
	free(runs);
}

/* ---- with a kernel ---- */

static bool not_yet(void *arg)
{
	(void)arg;
	return false;
}

static bool at_once(void *arg)
{
	(void)arg;
	return true;
}

static void the_processes_end_when_told_and_when_not(void **state)
{
	const struct procfs fs = {""};
	struct burn_in *b;
	struct machine *m;
	struct error err;

	(void)state;
	/* A machine of one CPU: what the load does with this one is the recording's test. */
	assert_int_equal(machine_from_memory(UINT64_C(1) << 30, 1, &m, &err), 0);
	if (burn_in_create(&fs, m, ".", &b, &err)) {
		machine_destroy(m);
		skip_because("not allowed on cpu 0");
	}
	assert_int_equal(burn_in_prepare(b, at_once, NULL), -EINTR);
	burn_in_destroy(b);
	/* Nothing to release is released. */
	assert_int_equal(burn_in_create(&fs, m, "no-such-directory", &b, &err), 0);
	assert_int_equal(burn_in_release(b, not_yet, NULL), 0);
	burn_in_destroy(b);
	burn_in_destroy(NULL);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_read_by_node_and_cpu),
		cmocka_unit_test(some_memory_is_left_alone),
		cmocka_unit_test(frames_are_given_back_from_the_top_in_whole_blocks),
		cmocka_unit_test(the_processes_end_when_told_and_when_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
