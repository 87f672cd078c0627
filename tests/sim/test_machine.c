/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"
#include "sim/gfp.h"
#include "sim/machine.h"

/* Two nodes; node 1 lies below node 0, a gap between them; DMA and Normal adjoin. */
static struct machine *two_nodes(void)
{
	const struct zone zones[] = {
		{.start = 4096, .end = 6000, .node = 0, .type = ZONE_DMA},
		{.start = 6000, .end = 10000, .node = 0, .type = ZONE_NORMAL},
		{.start = 512, .end = 2048, .node = 1, .type = ZONE_NORMAL},
		{.start = 2048, .end = 3000, .node = 1, .type = ZONE_MOVABLE},
	};
	struct machine *m;

	assert_int_equal(machine_create(4, 2, &m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){512, 600}, ABSENT_RESERVED, NULL),
			 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){5990, 6010}, ABSENT_HOLE, NULL),
			 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){9000, 10000}, ABSENT_OFFLINE, NULL), 0);
	return m;
}

static void memory_becomes_one_normal_zone_from_pfn_0(void **state)
{
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(8) << 30, 3, &m, NULL), 0);
	assert_int_equal(m->nr_zones, 1);
	assert_int_equal(m->nr_cpus, 3);
	assert_int_equal(m->zones[0].type, ZONE_NORMAL);
	assert_int_equal(machine_start(m), 0);
	assert_int_equal(machine_end(m), 2097152);
	assert_int_equal(machine_managed(m), 2097152);
	assert_int_equal(m->zones[0].managed, 2097152);
	assert_int_equal(machine_check(m, NULL), 0);
	machine_destroy(m);
}

static void impossible_memory_is_refused(void **state)
{
	struct error err;
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(0, 1, &m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4096"));
	assert_int_equal(machine_from_memory(4097, 1, &m, &err), -EINVAL);
	assert_int_equal(machine_from_memory(UINT64_C(1) << 53, 1, &m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4 PiB"));
	assert_int_equal(machine_from_memory(4096, 0, &m, &err), -EINVAL);
	assert_int_equal(machine_from_memory(4096, MACHINE_CPUS_MAX + 1, &m, &err), -EINVAL);
	assert_int_equal(machine_create(1, 0, &m, &err), -EINVAL);
}

static void largest_memory_is_accepted(void **state)
{
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(1) << 52, 1, &m, NULL), 0);
	assert_int_equal(machine_end(m), PFN_MAX + 1);
	machine_destroy(m);
}

static void bad_zones_are_refused(void **state)
{
	const struct zone bad[] = {
		{.start = 20000, .end = 20000, .node = 1, .type = ZONE_DEVICE},
		{.start = 9999, .end = 20000, .node = 1, .type = ZONE_DEVICE}, /* overlaps */
		{.start = 20000, .end = PFN_MAX + 2, .node = 1, .type = ZONE_DEVICE},
		{.start = 20000, .end = 20001, .node = 2, .type = ZONE_DEVICE}, /* no such node */
		{.start = 20000, .end = 20001, .node = 1, .type = ZONE_TYPES},
		{.start = 20000, .end = 20001, .node = 1, .type = ZONE_MOVABLE}, /* twice */
		{.start = 20000, .end = 20001, .node = 0, .type = ZONE_DEVICE},	 /* order */
		{.start = 20000, .end = 20001, .node = 1, .type = ZONE_DEVICE, .present = 2},
		{.start = 20000, .end = 20001, .node = 1, .type = ZONE_DEVICE, .managed = 1},
		{.start = 20000,
		 .end = 20001,
		 .node = 1,
		 .type = ZONE_DEVICE,
		 .percpu = {.batch = 9, .high_min = 2, .high_max = 1}},
		{.start = 20000,
		 .end = 20001,
		 .node = 1,
		 .type = ZONE_DEVICE,
		 .percpu = {.high_max = 1}},
		{.start = 20000,
		 .end = 20001,
		 .node = 1,
		 .type = ZONE_DEVICE,
		 .percpu = {.batch = PERCPU_BATCH_MAX + 1}},
	};
	struct machine *m = two_nodes();
	struct zone fine = {.start = 20000, .end = 20001, .node = 1, .type = ZONE_DEVICE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {0};

		assert_int_equal(machine_add_zone(m, &bad[i], &err), -EINVAL);
		assert_string_not_equal(err.text, "");
		assert_int_equal(m->nr_zones, 4);
	}
	assert_int_equal(machine_add_zone(m, &fine, NULL), 0);
	m->nr_zones = MACHINE_ZONES_MAX;
	assert_int_equal(machine_add_zone(m, &fine, NULL), -ENOSPC);
	machine_destroy(m);
}

static void absent_ranges_stay_sorted_and_inside_zones(void **state)
{
	struct machine *m = two_nodes();

	(void)state;
	assert_int_equal(m->nr_absent, 3);
	/* before the last one's end; outside; half outside; empty; unknown kind */
	assert_int_equal(machine_add_absent(m, (struct pfn_range){9999, 10000}, ABSENT_HOLE, NULL),
			 -EINVAL);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){12000, 12001}, ABSENT_HOLE, NULL),
			 -EINVAL);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){10000, 10000}, ABSENT_HOLE, NULL),
			 -EINVAL);
	assert_int_equal(m->nr_absent, 3);
	m->nr_absent = 1;
	assert_int_equal(machine_add_absent(m, (struct pfn_range){2900, 3001}, ABSENT_HOLE, NULL),
			 -EINVAL);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){2900, 3000}, (enum absence)7, NULL),
		-EINVAL);
	/* adjacent ones of a kind become one, those of different kinds do not */
	assert_int_equal(machine_add_absent(m, (struct pfn_range){600, 700}, ABSENT_RESERVED, NULL),
			 0);
	assert_int_equal(m->nr_absent, 1);
	assert_int_equal(m->absent[0].range.end, 700);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){700, 800}, ABSENT_HOLE, NULL), 0);
	assert_int_equal(m->nr_absent, 2);
	machine_destroy(m);
}

static void many_absent_ranges_fit(void **state)
{
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(4096) * 10000, 1, &m, NULL), 0);
	for (pfn_t pfn = 0; pfn < 10000; pfn += 2)
		assert_int_equal(machine_add_absent(m, (struct pfn_range){pfn, pfn + 1},
						    ABSENT_RESERVED, NULL),
				 0);
	assert_int_equal(m->nr_absent, 5000);
	assert_int_equal(machine_managed(m), 5000);
	assert_int_equal(machine_managed_in(m, 3, 3003), 1500);
	assert_int_equal(machine_check(m, NULL), 0);
	machine_destroy(m);
}

static bool managed_by_definition(const struct machine *m, pfn_t pfn)
{
	if (machine_zone_of(m, pfn) < 0)
		return false;
	for (size_t i = 0; i < m->nr_absent; i++) {
		if (pfn >= m->absent[i].range.start && pfn < m->absent[i].range.end)
			return false;
	}
	return true;
}

static void counting_managed_frames_agrees_with_looking_at_each(void **state)
{
	const pfn_t ends[] = {0,    511,  512,	599,  600,  2047, 2048,	 3000, 3500,
			      4096, 5990, 6000, 6010, 9000, 9999, 10000, 11000};
	struct machine *m = two_nodes();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		for (size_t k = i; k < ARRAY_SIZE(ends); k++) {
			uint64_t frames = 0;

			for (pfn_t pfn = ends[i]; pfn < ends[k]; pfn++)
				frames += managed_by_definition(m, pfn);
			assert_int_equal(machine_managed_in(m, ends[i], ends[k]), frames);
		}
	}
	assert_int_equal(machine_managed(m), 1904 + 4000 + 1536 + 952 - (88 + 20 + 1000));
	machine_destroy(m);
}

struct walk {
	const struct machine *m;
	uint8_t *seen;
	pfn_t last;
	unsigned int calls, stop_at;
};

static int see(void *arg, unsigned int zone, struct pfn_range range)
{
	struct walk *w = arg;

	assert_true(range.start < range.end);
	assert_true(range.start >= w->last);
	w->last = range.end;
	assert_true(range.start >= w->m->zones[zone].start && range.end <= w->m->zones[zone].end);
	memset(&w->seen[range.start], 1, range.end - range.start);
	return ++w->calls == w->stop_at ? 42 : 0;
}

static void walking_managed_ranges_sees_each_frame_once_ascending(void **state)
{
	struct machine *m = two_nodes();
	struct walk w = {.m = m, .seen = calloc(1, 11000)};

	(void)state;
	assert_int_equal(machine_each_managed(m, see, &w), 0);
	for (pfn_t pfn = 0; pfn < 11000; pfn++)
		assert_int_equal(w.seen[pfn], managed_by_definition(m, pfn));
	w = (struct walk){.m = m, .seen = w.seen, .stop_at = 2};
	assert_int_equal(machine_each_managed(m, see, &w), 42);
	assert_int_equal(w.calls, 2);
	free(w.seen);
	machine_destroy(m);
}

static void zones_are_found_by_pfn_and_by_place(void **state)
{
	struct machine *m = two_nodes();
	uint8_t zones[MACHINE_ZONES_MAX];

	(void)state;
	assert_int_equal(machine_zone_of(m, 511), -1);
	assert_int_equal(machine_zone_of(m, 512), 2);
	assert_int_equal(machine_zone_of(m, 2048), 3);
	assert_int_equal(machine_zone_of(m, 3000), -1);
	assert_int_equal(machine_zone_of(m, 5999), 0);
	assert_int_equal(machine_zone_of(m, 6000), 1);
	assert_int_equal(machine_zone_of(m, 10000), -1);
	assert_int_equal(machine_start(m), 512);
	assert_int_equal(machine_end(m), 10000);
	assert_int_equal(machine_zones_by_pfn(m, zones), 4);
	assert_memory_equal(zones, ((uint8_t[]){2, 3, 0, 1}), 4);
	machine_destroy(m);
}

static void gfp_decides_the_highest_zone(void **state)
{
	struct machine *m = two_nodes();

	(void)state;
	assert_int_equal(machine_highest_zone(m, 0, 0), 1);
	assert_int_equal(machine_highest_zone(m, 0, GFP_DMA), 0);
	assert_int_equal(machine_highest_zone(m, 0, GFP_DMA32), 0); /* none: the next lower */
	assert_int_equal(machine_highest_zone(m, 0, GFP_DMA32 | GFP_MOVABLE), 0);
	assert_int_equal(machine_highest_zone(m, 0, GFP_MOVABLE), 1);
	assert_int_equal(machine_highest_zone(m, 0, GFP_MOVABLE | GFP_HIGHMEM), 3); /* elsewhere */
	assert_int_equal(machine_highest_zone(m, 1, GFP_MOVABLE), 2);
	assert_int_equal(machine_highest_zone(m, 1, GFP_HIGHMEM), 2);
	assert_int_equal(machine_highest_zone(m, 1, GFP_MOVABLE | GFP_HIGHMEM), 3);
	/* node 1 has no DMA zone, node 0 does; node 7 has nothing */
	assert_int_equal(machine_highest_zone(m, 1, GFP_DMA), 0);
	assert_int_equal(machine_highest_zone(m, 7, 0), 1);
	machine_destroy(m);

	assert_int_equal(machine_from_memory(4096, 1, &m, NULL), 0);
	assert_int_equal(machine_highest_zone(m, 0, GFP_DMA), 0); /* a kernel without DMA */
	machine_destroy(m);
}

/* Machines by hand: a zone of 1000 frames for each type that a node is said to have. */
static struct machine *machine_with(const uint8_t *types_of_node, unsigned int nodes)
{
	struct machine *m;
	pfn_t start = 0;

	assert_int_equal(machine_create(nodes, nodes, &m, NULL), 0);
	for (unsigned int node = 0; node < nodes; node++) {
		m->node_of_cpu[node] = (uint16_t)node;
		for (unsigned int type = 0; type < ZONE_TYPES; type++, start += 1000) {
			const struct zone zone = {.start = start,
						  .end = start + 1000,
						  .node = (uint16_t)node,
						  .type = (uint8_t)type};

			if (types_of_node[node] >> type & 1)
				assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
		}
	}
	return m;
}

#define HAS(type) (1U << ZONE_##type)

static void zone_and_node_of_a_request_never_contradict_each_other(void **state)
{
	struct request_zone of;
	struct machine *m;

	(void)state;
	/* No DMA zone anywhere: a kernel without that flag's zone; the node is the one asked for. */
	m = machine_with((uint8_t[]){HAS(NORMAL), HAS(NORMAL)}, 2);
	of = machine_request_zone(m, 1, GFP_DMA | GFP_THISNODE);
	assert_int_equal(of.node, 1);
	assert_int_equal(of.zone, 1);
	of = machine_request_zone(m, 1, GFP_DMA32);
	assert_int_equal(of.zone, 1);
	machine_destroy(m);

	/* Node 1 has none of it: no kernel serves that, so node 0 was asked. */
	m = machine_with((uint8_t[]){HAS(DMA) | HAS(NORMAL), HAS(NORMAL)}, 2);
	of = machine_request_zone(m, 1, GFP_DMA | GFP_THISNODE);
	assert_int_equal(of.node, 0);
	assert_int_equal(of.zone, 0);
	machine_destroy(m);

	/* DMA32 above, but no DMA: to a kernel without DMA that is a request for Normal memory. */
	m = machine_with((uint8_t[]){HAS(DMA32) | HAS(NORMAL)}, 1);
	assert_int_equal(machine_request_zone(m, 0, GFP_DMA).zone, 1);
	assert_int_equal(machine_request_zone(m, 0, GFP_DMA32).zone, 0);
	machine_destroy(m);

	/* A small first node: what it lacks, the next one may give. */
	m = machine_with((uint8_t[]){HAS(DMA) | HAS(DMA32), HAS(DMA32) | HAS(NORMAL)}, 2);
	of = machine_request_zone(m, 0, 0);
	assert_int_equal(of.node, 0);
	assert_int_equal(of.zone, 3);
	assert_int_equal(machine_preferred_zone(m, of.node, of.zone), 1);
	of = machine_request_zone(m, 0, GFP_THISNODE);
	assert_int_equal(of.node, 0);
	assert_int_equal(of.zone, 1);
	machine_destroy(m);

	/* Nothing for a kernel's own memory: whatever there is. */
	m = machine_with((uint8_t[]){HAS(MOVABLE)}, 1);
	assert_int_equal(machine_request_zone(m, 0, 0).zone, 0);
	assert_int_equal(machine_request_zone(m, 0, GFP_DMA | GFP_THISNODE).zone, 0);
	machine_destroy(m);
}

/*
 * The kernel's lists, the slow way: of all zones those open to the request, and the next one is always
 * the best that is left. Return: how many.
 */
static unsigned int kernel_zonelist(const struct machine *m, unsigned int node, unsigned int type,
				    bool this_node, uint8_t zones[MACHINE_ZONES_MAX])
{
	bool used[MACHINE_ZONES_MAX] = {false};
	unsigned int n = 0;

	for (;;) {
		int best = -1;
		unsigned int best_rank = UINT32_MAX;

		for (unsigned int i = 0; i < m->nr_zones; i++) {
			const struct zone *z = &m->zones[i];
			unsigned int away =
				z->node == node
					? 0
					: machine_distance(m, node, z->node) * 64U + z->node;
			unsigned int rank = away * ZONE_TYPES + (ZONE_TYPES - 1 - z->type);

			if (used[i] || z->type > type || (this_node && away) || rank >= best_rank)
				continue;
			best = (int)i;
			best_rank = rank;
		}
		if (best < 0)
			return n;
		used[best] = true;
		zones[n++] = (uint8_t)best;
	}
}

/* gfp_zone(), of a kernel that has the zones this machine has. */
static unsigned int kernel_type(const struct machine *m, uint32_t gfp)
{
	uint8_t none[MACHINE_ZONES_MAX];

	if (gfp & GFP_DMA && kernel_zonelist(m, 0, ZONE_DMA, false, none))
		return ZONE_DMA;
	if (!(gfp & GFP_DMA) && gfp & GFP_DMA32 && kernel_zonelist(m, 0, ZONE_DMA32, false, none))
		return ZONE_DMA32;
	if (gfp & (GFP_DMA | GFP_DMA32) || !(gfp & GFP_HIGHMEM))
		return ZONE_NORMAL;
	return gfp & GFP_MOVABLE ? ZONE_MOVABLE : ZONE_HIGHMEM;
}

/* What @of opens, as a back end goes through it. */
static unsigned int zones_opened(const struct machine *m, struct request_zone of, bool this_node,
				 uint8_t zones[MACHINE_ZONES_MAX])
{
	unsigned int n = machine_zonelist(m, of.node, m->zones[of.zone].type, zones), own = 0;

	while (own < n && m->zones[zones[own]].node == of.node)
		own++;
	return this_node ? own : n;
}

static void expect_kernels_zonelist(const struct machine *m, unsigned int node, uint32_t gfp)
{
	const bool this_node = gfp & GFP_THISNODE;
	const unsigned int type = kernel_type(m, gfp);
	const struct request_zone of = machine_request_zone(m, node, gfp);
	uint8_t wanted[MACHINE_ZONES_MAX], got[MACHINE_ZONES_MAX];
	unsigned int n = kernel_zonelist(m, node, type, this_node, wanted), asked = node;

	/* Refused by a kernel: then another node was asked. */
	for (unsigned int other = 0; !n && other < m->nr_nodes; other++)
		n = kernel_zonelist(m, asked = other, type, this_node, wanted);
	assert_true(n > 0);
	assert_int_equal(zones_opened(m, of, this_node, got), n);
	assert_memory_equal(got, wanted, n);
	assert_int_equal(machine_preferred_zone(m, of.node, of.zone), wanted[0]);
	if (this_node) {
		assert_int_equal(of.node, asked);
		assert_int_equal(m->zones[of.zone].node, asked);
	} else {
		assert_int_equal(of.node, node);
	}
	for (unsigned int i = 0; i < n; i++)
		assert_true(m->zones[wanted[i]].type <= m->zones[of.zone].type);
}

/* Few different ones, so that some nodes are equally far. */
static void set_random_distances(struct machine *m, struct random *random)
{
	uint8_t distances[16];

	for (unsigned int i = 0; i < m->nr_nodes * m->nr_nodes; i++)
		distances[i] = i / m->nr_nodes == i % m->nr_nodes
				       ? DISTANCE_LOCAL
				       : (uint8_t)(11 + random_below(random, 4));
	assert_int_equal(machine_set_distances(m, distances, NULL), 0);
}

static void a_request_is_open_to_what_the_kernel_would_give_it(void **state)
{
	const uint32_t bits[] = {GFP_DMA, GFP_DMA32, GFP_HIGHMEM, GFP_MOVABLE, GFP_THISNODE};
	struct random random;

	(void)state;
	random_seed(&random, 8, 0);
	for (unsigned int round = 0; round < 500; round++) {
		unsigned int nodes = 1 + (unsigned int)random_below(&random, 4);
		uint8_t types[4];
		struct machine *m;

		for (unsigned int i = 0; i < 4; i++)
			types[i] = (uint8_t)random_below(&random, HAS(DEVICE));
		/* Somewhere there is memory for a kernel. */
		types[random_below(&random, nodes)] |=
			(uint8_t)(1U << random_below(&random, ZONE_NORMAL + 1));
		m = machine_with(types, nodes);
		if (round % 2)
			set_random_distances(m, &random);
		for (uint32_t set = 0; set < 1U << ARRAY_SIZE(bits); set++) {
			uint32_t gfp = 0;

			for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
				gfp |= set >> i & 1 ? bits[i] : 0;
			for (unsigned int node = 0; node < nodes; node++)
				expect_kernels_zonelist(m, node, gfp);
		}
		machine_destroy(m);
	}
}

static void a_recorded_frame_tells_the_node_that_was_asked(void **state)
{
	struct machine *m = two_nodes();

	(void)state;
	m->node_of_cpu[3] = 1;
	assert_int_equal(machine_asked_node(m, 512, 0), 1);
	assert_int_equal(machine_asked_node(m, 9999, 3), 0);
	assert_int_equal(machine_asked_node(m, PFN_NONE, 3), 1);
	assert_int_equal(machine_asked_node(m, 3500, 3), 1); /* in no zone */
	machine_destroy(m);
}

static void zonelist_goes_down_the_node_then_to_the_others(void **state)
{
	struct machine *m = two_nodes();
	uint8_t zones[MACHINE_ZONES_MAX];

	(void)state;
	assert_int_equal(machine_zonelist(m, 0, ZONE_MOVABLE, zones), 4);
	assert_memory_equal(zones, ((uint8_t[]){1, 0, 3, 2}), 4);
	assert_int_equal(machine_zonelist(m, 1, ZONE_NORMAL, zones), 3);
	assert_memory_equal(zones, ((uint8_t[]){2, 1, 0}), 3);
	assert_int_equal(machine_zonelist(m, 1, ZONE_DMA, zones), 1);
	assert_memory_equal(zones, ((uint8_t[]){0}), 1);
	machine_destroy(m);
}

static void the_nearest_node_is_next(void **state)
{
	const uint8_t all[4] = {HAS(NORMAL), HAS(NORMAL), HAS(NORMAL), HAS(NORMAL)};
	const uint8_t far[16] = {10, 32, 21, 21, 32, 10, 21, 21, 21, 11, 10, 12, 40, 30, 20, 10};
	struct machine *m = machine_with(all, 4), *copy;
	uint8_t zones[MACHINE_ZONES_MAX];

	(void)state;
	assert_int_equal(machine_distance(m, 2, 2), DISTANCE_LOCAL);
	assert_int_equal(machine_distance(m, 2, 1), DISTANCE_REMOTE);
	assert_int_equal(machine_zonelist(m, 2, ZONE_NORMAL, zones), 4);
	assert_memory_equal(zones, ((uint8_t[]){2, 0, 1, 3}), 4);
	assert_int_equal(machine_set_distances(m, far, NULL), 0);
	assert_int_equal(machine_copy(m, &copy, NULL), 0);
	machine_destroy(m);
	assert_int_equal(machine_check(copy, NULL), 0);
	assert_int_equal(machine_distance(copy, 3, 0), 40);
	assert_int_equal(machine_distance(copy, 0, 3), 21);
	assert_int_equal(machine_zonelist(copy, 0, ZONE_NORMAL, zones), 4);
	assert_memory_equal(zones, ((uint8_t[]){0, 2, 3, 1}), 4);
	assert_int_equal(machine_zonelist(copy, 3, ZONE_NORMAL, zones), 4);
	assert_memory_equal(zones, ((uint8_t[]){3, 2, 1, 0}), 4);
	machine_destroy(copy);
}

static void distances_that_cannot_be_are_refused(void **state)
{
	const uint8_t wrong[][4] = {
		{11, 20, 20, 10}, {10, 20, 20, 9}, {10, 10, 20, 10}, {10, 20, 255, 10}};
	const uint8_t usual[4] = {10, 20, 20, 10}, kept[4] = {10, 21, 20, 10};
	struct machine *m = two_nodes();
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(machine_set_distances(m, wrong[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, "distance"));
		assert_null(m->distances);
	}
	assert_int_equal(machine_set_distances(m, kept, NULL), 0);
	assert_memory_equal(m->distances, kept, 4);
	m->distances[1] = 3;
	assert_int_equal(machine_check(m, &err), -EINVAL);
	/* The usual ones are as good as none. */
	assert_int_equal(machine_set_distances(m, usual, NULL), 0);
	assert_null(m->distances);
	machine_destroy(m);
}

static void a_copy_is_equal_and_independent(void **state)
{
	struct machine *m = two_nodes(), *copy;

	(void)state;
	m->node_of_cpu[3] = 1;
	m->page_shift = 14;
	assert_int_equal(machine_copy(m, &copy, NULL), 0);
	machine_destroy(m);
	assert_int_equal(copy->page_shift, 14);
	assert_int_equal(copy->node_of_cpu[3], 1);
	assert_int_equal(copy->nr_absent, 3);
	assert_int_equal(copy->absent[2].why, ABSENT_OFFLINE);
	assert_int_equal(machine_check(copy, NULL), 0);
	/* it can grow */
	copy->nr_absent = 2;
	assert_int_equal(
		machine_add_absent(copy, (struct pfn_range){8000, 8001}, ABSENT_HOLE, NULL), 0);
	assert_int_equal(
		machine_add_absent(copy, (struct pfn_range){8002, 8003}, ABSENT_HOLE, NULL), 0);
	machine_destroy(copy);
	machine_destroy(NULL);
}

static void a_copy_with_any_number_of_ranges_can_grow(void **state)
{
	(void)state;
	for (size_t n = 0; n < 20; n++) {
		struct machine *m, *copy;

		assert_int_equal(machine_from_memory(UINT64_C(4096) * 1000, 1, &m, NULL), 0);
		for (pfn_t pfn = 0; pfn < 2 * n; pfn += 2)
			machine_add_absent(m, (struct pfn_range){pfn, pfn + 1}, ABSENT_HOLE, NULL);
		assert_int_equal(machine_copy(m, &copy, NULL), 0);
		for (pfn_t pfn = 100; pfn < 140; pfn += 2)
			assert_int_equal(machine_add_absent(copy, (struct pfn_range){pfn, pfn + 1},
							    ABSENT_HOLE, NULL),
					 0);
		assert_int_equal(copy->nr_absent, n + 20);
		machine_destroy(m);
		machine_destroy(copy);
	}
}

static void check_finds_each_broken_promise(void **state)
{
	struct machine *m = two_nodes();
	struct error err;

	(void)state;
	assert_int_equal(machine_check(m, &err), 0);
#define BREAKS(field, value)                                                                       \
	do {                                                                                       \
		__typeof__(m->field) kept = m->field;                                              \
		m->field = (value);                                                                \
		assert_int_equal(machine_check(m, &err), -EINVAL);                                 \
		m->field = kept;                                                                   \
		assert_int_equal(machine_check(m, &err), 0);                                       \
	} while (0)
	BREAKS(page_shift, 11);
	BREAKS(page_shift, 64);
	BREAKS(max_order, 11);
	BREAKS(pageblock_order, 0);
	BREAKS(pageblock_order, 11);
	BREAKS(nr_cpus, 0);
	BREAKS(nr_nodes, 0);
	BREAKS(nr_nodes, 1);
	BREAKS(nr_zones, 0);
	BREAKS(nr_zones, 65);
	BREAKS(node_of_cpu[3], 2);
	BREAKS(zones[1].start, 5999);
	BREAKS(zones[1].end, 6000);
	BREAKS(zones[3].type, ZONE_NORMAL);
	BREAKS(absent[0].range.start, 511);
	BREAKS(absent[0].range.end, 512);
	BREAKS(absent[1].range.start, 599);
	BREAKS(absent[2].range.end, UINT64_MAX);
	BREAKS(absent[2].why, (enum absence)3);
	machine_destroy(m);
}

static void names_are_the_kernels(void **state)
{
	(void)state;
	assert_string_equal(migratetype_name(MIGRATE_HIGHATOMIC), "HighAtomic");
	assert_string_equal(migratetype_name(MIGRATE_UNKNOWN), "?");
	assert_string_equal(zone_type_name(ZONE_DMA32), "DMA32");
	assert_string_equal(zone_type_name(ZONE_TYPES), "?");
}

static void parts_of_a_range_come_zone_by_zone(void **state)
{
	/* Ids do not follow addresses; there is a gap in the middle. */
	const struct zone zones[] = {
		{.start = 100, .end = 200, .node = 0, .type = ZONE_NORMAL},
		{.start = 0, .end = 50, .node = 1, .type = ZONE_NORMAL},
		{.start = 50, .end = 70, .node = 1, .type = ZONE_MOVABLE},
	};
	const struct {
		unsigned int zone;
		struct pfn_range part;
	} expected[] = {{1, {10, 50}}, {2, {50, 70}}, {0, {100, 200}}};
	struct pfn_range range = {10, UINT64_MAX}, part;
	unsigned int zone;
	struct machine *m;

	(void)state;
	assert_int_equal(machine_create(1, 2, &m, NULL), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	assert_int_equal(machine_spanned(m), 170);
	for (size_t i = 0; i < 3; i++) {
		assert_true(machine_next_part(m, &range, &zone, &part));
		assert_int_equal(zone, expected[i].zone);
		assert_int_equal(part.start, expected[i].part.start);
		assert_int_equal(part.end, expected[i].part.end);
	}
	assert_false(machine_next_part(m, &range, &zone, &part));
	range = (struct pfn_range){70, 100};
	assert_false(machine_next_part(m, &range, &zone, &part));
	range = (struct pfn_range){20, 20};
	assert_false(machine_next_part(m, &range, &zone, &part));
	range = (struct pfn_range){30, 20};
	assert_false(machine_next_part(m, &range, &zone, &part));
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_becomes_one_normal_zone_from_pfn_0),
		cmocka_unit_test(impossible_memory_is_refused),
		cmocka_unit_test(largest_memory_is_accepted),
		cmocka_unit_test(bad_zones_are_refused),
		cmocka_unit_test(absent_ranges_stay_sorted_and_inside_zones),
		cmocka_unit_test(many_absent_ranges_fit),
		cmocka_unit_test(counting_managed_frames_agrees_with_looking_at_each),
		cmocka_unit_test(walking_managed_ranges_sees_each_frame_once_ascending),
		cmocka_unit_test(zones_are_found_by_pfn_and_by_place),
		cmocka_unit_test(gfp_decides_the_highest_zone),
		cmocka_unit_test(zone_and_node_of_a_request_never_contradict_each_other),
		cmocka_unit_test(a_request_is_open_to_what_the_kernel_would_give_it),
		cmocka_unit_test(a_recorded_frame_tells_the_node_that_was_asked),
		cmocka_unit_test(zonelist_goes_down_the_node_then_to_the_others),
		cmocka_unit_test(the_nearest_node_is_next),
		cmocka_unit_test(distances_that_cannot_be_are_refused),
		cmocka_unit_test(a_copy_is_equal_and_independent),
		cmocka_unit_test(a_copy_with_any_number_of_ranges_can_grow),
		cmocka_unit_test(check_finds_each_broken_promise),
		cmocka_unit_test(names_are_the_kernels),
		cmocka_unit_test(parts_of_a_range_come_zone_by_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
