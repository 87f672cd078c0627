/* SPDX-License-Identifier: MIT */
/* Workers on hosts that need not exist. */
#include <errno.h>
#include <hwloc.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"
#include "replay/placement.h"
#include "tests/skip.h"

#define WORKERS_MAX 64

static struct host_topology *describe(const char *text, const char *allowed)
{
	struct host_topology *t;
	struct error err;

	if (host_topology_describe(text, allowed, &t, &err))
		fail_msg("%s", err.text);
	assert_string_equal(host_topology_note(t), "");
	return t;
}

static void expect(const char *text, const char *allowed, const uint32_t *near, uint32_t n,
		   const char *wanted)
{
	struct host_topology *t = describe(text, allowed);
	struct seat seats[WORKERS_MAX];
	struct error err;
	char *got;

	if (placement_choose(t, near, n, seats, &err))
		fail_msg("%s", err.text);
	got = placement_text(t, seats, n);
	assert_string_equal(got, wanted);
	free(got);
	host_topology_destroy(t);
}

static void whole_cores_come_first_and_siblings_last(void **state)
{
	(void)state;
	expect("pack:1 core:4 pu:2", NULL, NULL, 4, "0:0 1:2 2:4 3:6");
	expect("pack:1 core:4 pu:2", NULL, NULL, 6, "0:0 1:2 2:4 3:6 4:1 5:3");
	expect("pack:1 core:2 pu:3", NULL, NULL, 6, "0:0 1:3 2:1 3:4 4:2 5:5");
	/* Without nodes, and without siblings. */
	expect("core:3 pu:1", NULL, NULL, 3, "0:0 1:1 2:2");
	expect("pu:1", NULL, NULL, 1, "0:0");
}

static void workers_are_near_their_memory(void **state)
{
	static const uint32_t one[] = {1, 1, 0, 1}, third[] = {7, NEAR_ANY, 1};

	(void)state;
	expect("pack:2 [numa] core:4 pu:2", NULL, one, 4, "0:8@1 1:10@1 2:0@0 3:12@1");
	expect("numa:2 pack:1 core:2 pu:1", NULL, one, 4, "0:2@1 1:3@1 2:0@0 3:1@0");
	/* A core of one's own, be it far, before half of a near one. */
	expect("pack:2 [numa] core:2 pu:2", NULL, one, 4, "0:4@1 1:6@1 2:0@0 3:2@0");
	/* Who wants to be anywhere, or nowhere there is, has what others leave. */
	expect("numa:2 pack:1 core:2 pu:1", NULL, third, 3, "0:0@0 1:1@0 2:2@1");
}

static void only_what_is_allowed_is_used(void **state)
{
	static const uint32_t one[] = {1, 1};

	(void)state;
	expect("pack:2 [numa] core:4 pu:2", "1-2,9", NULL, 3, "0:1@0 1:2@0 2:9@1");
	/* What is allowed of a core is its first. */
	expect("pack:1 core:4 pu:2", "1,2,3", NULL, 3, "0:1 1:2 2:3");
	expect("pack:2 [numa] core:4 pu:2", "3,5,12", one, 2, "0:12@1 1:3@0");
	expect("pack:2 core:4 pu:2", "15", NULL, 1, "0:15");
}

static void too_few_cpus_are_told_with_what_to_do(void **state)
{
	struct host_topology *t = describe("pack:2 [numa] core:4 pu:2", "2-4");
	struct seat seats[4];
	struct error err;

	(void)state;
	assert_int_equal(host_topology_cpus(t), 3);
	assert_int_equal(placement_choose(t, NULL, 4, seats, &err), -EINVAL);
	assert_non_null(strstr(err.text, "may use 3"));
	assert_non_null(strstr(err.text, "cpuset"));
	host_topology_destroy(t);
	assert_int_equal(host_topology_describe("nonsense:", NULL, &t, &err), -EINVAL);
	assert_int_equal(host_topology_describe("pu:2", "x", &t, &err), -EINVAL);
}

/* ---- any host ---- */

#define CORES 4U /* of a package, which is a node */
#define PUS   2U
#define ALL   (2U * CORES * PUS)

/* CPUs that may be used of core @core, before @cpu. */
static unsigned int rank_of(uint32_t mask, uint32_t cpu)
{
	unsigned int rank = 0;

	for (uint32_t sibling = cpu / PUS * PUS; sibling < cpu; sibling++)
		rank += mask >> sibling & 1;
	return rank;
}

/*
 * What was promised, looked at seat by seat: nobody is on a sibling while there is a free core; nobody is away from
 * its node while there is a CPU of the same rank on it that is free, or had by somebody who does not want it.
 */
static void expect_promises(uint32_t mask, const uint32_t *near, const struct seat *seats,
			    uint32_t n)
{
	int owner[ALL];

	memset(owner, -1, sizeof(owner));
	for (uint32_t w = 0; w < n; w++) {
		const uint32_t cpu = seats[w].cpu;

		assert_true(cpu < ALL && mask >> cpu & 1);
		assert_int_equal(owner[cpu], -1);
		owner[cpu] = (int)w;
		assert_int_equal(seats[w].core, cpu / PUS);
		assert_int_equal(seats[w].node, cpu / PUS / CORES);
	}
	for (uint32_t w = 0; w < n; w++) {
		for (uint32_t cpu = 0; cpu < ALL; cpu++) {
			const unsigned int mine = rank_of(mask, seats[w].cpu),
					   its = rank_of(mask, cpu);

			if (!(mask >> cpu & 1))
				continue;
			if (owner[cpu] < 0)
				assert_true(mine <= its);
			if (mine != its || seats[w].node == near[w] || cpu / PUS / CORES != near[w])
				continue;
			assert_true(owner[cpu] >= 0 && near[owner[cpu]] == near[w]);
		}
	}
}

static void on_any_host_the_promises_are_kept(void **state)
{
	struct random random;
	unsigned int placed = 0;

	(void)state;
	random_seed(&random, 11, 0);
	for (unsigned int round = 0; round < 300; round++) {
		const uint32_t mask = 1U << random_below(&random, ALL) |
				      (uint32_t)random_below(&random, 1U << ALL);
		const uint32_t n = 1 + (uint32_t)random_below(&random, ALL);
		struct seat seats[ALL], again[ALL];
		uint32_t near[ALL];
		struct host_topology *t;
		char allowed[80] = "";

		for (uint32_t cpu = 0; cpu < ALL; cpu++)
			if (mask >> cpu & 1)
				snprintf(allowed + strlen(allowed),
					 sizeof(allowed) - strlen(allowed), "%s%u",
					 allowed[0] ? "," : "", cpu);
		for (uint32_t w = 0; w < n; w++)
			near[w] = random_below(&random, 4) ? (uint32_t)random_below(&random, 2)
							   : NEAR_ANY;
		t = describe("pack:2 [numa] core:4 pu:2", allowed);
		if (placement_choose(t, near, n, seats, NULL)) {
			assert_true(n > (uint32_t)__builtin_popcount(mask));
		} else {
			expect_promises(mask, near, seats, n);
			assert_int_equal(placement_choose(t, near, n, again, NULL), 0);
			assert_memory_equal(seats, again, n * sizeof(*seats));
			placed++;
		}
		host_topology_destroy(t);
	}
	assert_true(placed > 50);
}

/* ---- this one ---- */

static void this_host_has_what_the_process_may_use(void **state)
{
	struct host_topology *t;
	struct affinity *before = affinity_save();
	struct seat seat;
	cpu_set_t set;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(host_topology_load(&t, NULL), 0);
	assert_string_equal(host_topology_note(t), "");
	assert_int_equal(host_topology_cpus(t), CPU_COUNT(&set));
	assert_int_equal(placement_choose(t, NULL, 1, &seat, NULL), 0);
	assert_true(CPU_ISSET(seat.cpu, &set));
	assert_int_equal(placement_pin(seat.cpu), 0);
	assert_int_equal(sched_getcpu(), (int)seat.cpu);
	host_topology_destroy(t);
	/* Only that one is left. */
	assert_int_equal(host_topology_load(&t, NULL), 0);
	assert_int_equal(host_topology_cpus(t), 1);
	host_topology_destroy(t);
	affinity_restore(before);
	assert_int_equal(host_topology_load(&t, NULL), 0);
	assert_int_equal(host_topology_cpus(t), CPU_COUNT(&set));
	host_topology_destroy(t);
}

/* This machine's CPUs 0 and 1, as if they were on nodes 0 and 1; node 2 has none, and is nearer to 1. */
static void write_host(const char *path)
{
	hwloc_uint64_t far[9] = {10, 20, 30, 20, 10, 12, 30, 12, 10};
	hwloc_distances_add_handle_t handle;
	hwloc_obj_t nodes[3];
	hwloc_topology_t hw;

	assert_int_equal(hwloc_topology_init(&hw), 0);
	assert_int_equal(hwloc_topology_set_synthetic(hw, "numa:3 core:1 pu:1"), 0);
	assert_int_equal(hwloc_topology_load(hw), 0);
	for (unsigned int i = 0; i < 3; i++)
		nodes[i] = hwloc_get_obj_by_type(hw, HWLOC_OBJ_NUMANODE, i);
	handle = hwloc_distances_add_create(
		hw, "NUMALatency",
		HWLOC_DISTANCES_KIND_FROM_USER | HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
	assert_non_null(handle);
	assert_int_equal(hwloc_distances_add_values(hw, handle, 3, nodes, far, 0), 0);
	assert_int_equal(hwloc_distances_add_commit(hw, handle, 0), 0);
	assert_int_equal(hwloc_topology_export_xml(hw, path, 0), 0);
	hwloc_topology_destroy(hw);
}

static void the_nearest_node_is_taken_where_ones_own_has_no_cpu(void **state)
{
	static const uint32_t near[] = {2, NEAR_ANY}, wanted[] = {1, 1};
	char path[] = "/tmp/quire-host-XXXXXX.xml", *text;
	struct affinity *before = affinity_save();
	struct host_topology *t;
	struct seat seats[2];
	cpu_set_t set;

	(void)state;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CPU_SET(1, &set);
	if (sched_setaffinity(0, sizeof(set), &set) || sched_getaffinity(0, sizeof(set), &set) ||
	    CPU_COUNT(&set) != 2) {
		affinity_restore(before);
		skip_because("CPUs 0 and 1 are not both to be had");
	}
	assert_true(close(mkstemps(path, 4)) == 0);
	write_host(path);
	setenv("HWLOC_XMLFILE", path, 1);
	setenv("HWLOC_THISSYSTEM", "1", 1);
	assert_int_equal(host_topology_load(&t, NULL), 0);
	unsetenv("HWLOC_XMLFILE");
	unsetenv("HWLOC_THISSYSTEM");
	unlink(path);
	assert_string_equal(host_topology_note(t), "");
	assert_int_equal(placement_choose(t, near, 2, seats, NULL), 0);
	text = placement_text(t, seats, 2);
	assert_string_equal(text, "0:1@1 1:0@0");
	free(text);
	assert_int_equal(placement_choose(t, wanted, 2, seats, NULL), 0);
	text = placement_text(t, seats, 2);
	assert_string_equal(text, "0:1@1 1:0@0");
	free(text);
	host_topology_destroy(t);
	affinity_restore(before);
}

/* hwloc that cannot tell, or tells of another machine, costs a line and no run. */
static void without_hwloc_the_affinity_mask_will_do(void **state)
{
	static const char *const broken[][2] = {{"HWLOC_SYNTHETIC", "no such thing"},
						{"HWLOC_SYNTHETIC", "pack:2 core:2 pu:2"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct host_topology *t;
		struct seat seat;
		cpu_set_t set;

		assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
		setenv(broken[i][0], broken[i][1], 1);
		assert_int_equal(host_topology_load(&t, NULL), 0);
		unsetenv(broken[i][0]);
		if (i)
			assert_non_null(strstr(host_topology_note(t), "hwloc"));
		assert_int_equal(host_topology_cpus(t), CPU_COUNT(&set));
		assert_int_equal(placement_choose(t, NULL, 1, &seat, NULL), 0);
		assert_true(CPU_ISSET(seat.cpu, &set));
		host_topology_destroy(t);
	}
}

static void cpus_of_bound_nodes_are_near_the_host_s(void **state)
{
	struct node_plan plan = {.bound = true, .host_node = {4, 2}};
	struct machine *m;

	(void)state;
	assert_int_equal(machine_create(2, 2, &m, NULL), 0);
	m->node_of_cpu[1] = 1;
	assert_int_equal(placement_near(m, &plan, 0), 4);
	assert_int_equal(placement_near(m, &plan, 1), 2);
	plan.bound = false;
	assert_true(placement_near(m, &plan, 1) == NEAR_ANY);
	assert_true(placement_near(m, NULL, 0) == NEAR_ANY);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_cores_come_first_and_siblings_last),
		cmocka_unit_test(workers_are_near_their_memory),
		cmocka_unit_test(only_what_is_allowed_is_used),
		cmocka_unit_test(too_few_cpus_are_told_with_what_to_do),
		cmocka_unit_test(on_any_host_the_promises_are_kept),
		cmocka_unit_test(this_host_has_what_the_process_may_use),
		cmocka_unit_test(the_nearest_node_is_taken_where_ones_own_has_no_cpu),
		cmocka_unit_test(without_hwloc_the_affinity_mask_will_do),
		cmocka_unit_test(cpus_of_bound_nodes_are_near_the_host_s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
