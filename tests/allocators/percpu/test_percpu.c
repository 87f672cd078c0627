/* SPDX-License-Identifier: MIT */
/*
 * What the conformance suite cannot know of percpu: which lists answer, how much is fetched and given
 * back, what a snapshot and new memory change. The lists' own rules are tested with allocators/pcp.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/percpu/held.h"
#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/frame_map.h"
#include "sim/gfp.h"

struct rig {
	struct allocator_spec *spec;
	struct machine *m;
	struct allocator_instance *instance;
	const struct allocator_ops *ops;
	struct allocator *a;
};

static struct machine *plain_machine(void)
{
	struct machine *m;

	assert_int_equal(machine_from_memory(UINT64_C(2) << 30, 2, &m, NULL), 0);
	return m;
}

/* A DMA32 zone of 64 MiB, a Normal one of 1 GiB and another node's. */
static struct machine *zoned_machine(void)
{
	const struct zone zones[] = {
		{.start = 0, .end = 16384, .present = 16384, .managed = 16384, .type = ZONE_DMA32},
		{.start = 16384, .end = 278528, .type = ZONE_NORMAL, .watermark = {.low = 2000}},
		{.start = 278528, .end = 540672, .node = 1, .type = ZONE_NORMAL},
	};
	struct machine *m;

	assert_int_equal(machine_create(4, 2, &m, NULL), 0);
	m->node_of_cpu[2] = m->node_of_cpu[3] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	return m;
}

static void start(struct rig *rig, const char *text, struct machine *m)
{
	struct error err;

	memset(rig, 0, sizeof(*rig));
	rig->m = m;
	if (allocator_spec_parse(text, &rig->spec, &err) ||
	    allocator_instance_create(rig->spec, m, NULL, &rig->instance, &err))
		fail_msg("%s", err.text);
	rig->ops = rig->spec->ops;
	rig->a = rig->instance->a;
}

static void stop(struct rig *rig)
{
	struct error err;

	if (rig->ops->check(rig->a, &err))
		fail_msg("%s", err.text);
	allocator_instance_destroy(rig->instance);
	allocator_spec_destroy(rig->spec);
	machine_destroy(rig->m);
}

static struct alloc_request request(const struct rig *rig, unsigned int cpu, unsigned int order,
				    uint32_t gfp)
{
	const struct request_zone of = machine_request_zone(rig->m, rig->m->node_of_cpu[cpu], gfp);

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.cpu = (uint16_t)cpu,
		.node = of.node,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)gfp_migratetype(gfp),
		.zone = of.zone,
	};
}

static struct alloc_result get(struct rig *rig, unsigned int cpu, unsigned int order, uint32_t gfp)
{
	struct alloc_request req = request(rig, cpu, order, gfp);
	struct alloc_result result = rig->ops->alloc(rig->a, &req);

	assert_int_not_equal(result.pfn, PFN_NONE);
	return result;
}

static void put(struct rig *rig, unsigned int cpu, unsigned int order, uint32_t gfp, pfn_t pfn)
{
	struct alloc_request req = request(rig, cpu, order, gfp);

	assert_int_equal(rig->ops->free(rig->a, pfn, &req), 0);
}

static struct allocator_stats stats_of(const struct rig *rig, unsigned int zone)
{
	struct allocator_stats stats;

	assert_int_equal(rig->ops->stats(rig->a, zone, &stats), 0);
	return stats;
}

static uint64_t cached(const struct rig *rig)
{
	return stats_of(rig, ALLOCATOR_ALL_ZONES).cached_frames;
}

static uint64_t counter(const struct rig *rig, const char *name)
{
	struct allocator_stats stats = stats_of(rig, ALLOCATOR_ALL_ZONES);

	for (size_t i = 0; i < stats.nr_counters; i++) {
		if (strcmp(stats.counters[i].name, name) == 0)
			return stats.counters[i].value;
	}
	fail_msg("no counter %s", name);
	return 0;
}

#define MOVABLE (GFP_HIGHMEM | GFP_MOVABLE)

/* ---- fetching and giving back ---- */

static void the_first_request_fetches_a_batch(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig, "percpu:inner=firstfit", plain_machine());
	assert_int_equal(get(&rig, 0, 0, MOVABLE).flags & RESULT_REFILL, RESULT_REFILL);
	assert_int_equal(counter(&rig, "pcp_refills"), 1);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 63);
	assert_int_equal(cached(&rig), 62);
	for (pfn_t pfn = 1; pfn < 63; pfn++) { /* in the order they were fetched */
		struct alloc_result r = get(&rig, 0, 0, MOVABLE);

		assert_int_equal(r.pfn, pfn);
		assert_int_equal(r.flags, RESULT_PCP_HIT);
	}
	assert_int_equal(counter(&rig, "pcp_hits"), 62);
	get(&rig, 0, 0, MOVABLE);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 63 + 126);
	/* other orders, types and CPUs have lists of their own */
	get(&rig, 0, 3, MOVABLE);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 63 + 126 + 7);
	get(&rig, 0, 3, 0);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 63 + 126 + 2 * 7);
	get(&rig, 1, 9, MOVABLE);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 63 + 126 + 2 * 7 + 2);
	get(&rig, 1, 5, MOVABLE); /* not kept on lists */
	assert_int_equal(counter(&rig, "pcp_refills"), 5);
	stop(&rig);
}

static void what_was_freed_last_is_used_first(void **state)
{
	pfn_t a, b;
	struct rig rig;

	(void)state;
	start(&rig, "percpu:inner=nextfit", plain_machine());
	a = get(&rig, 0, 0, MOVABLE).pfn;
	b = get(&rig, 0, 0, MOVABLE).pfn;
	put(&rig, 0, 0, MOVABLE, a);
	put(&rig, 0, 0, MOVABLE, b);
	assert_int_equal(get(&rig, 0, 0, MOVABLE).pfn, b);
	assert_int_equal(get(&rig, 0, 0, MOVABLE).pfn, a);
	/* by the CPU that freed it */
	put(&rig, 1, 0, MOVABLE, a);
	assert_int_not_equal(get(&rig, 0, 0, MOVABLE).pfn, a);
	assert_int_equal(get(&rig, 1, 0, MOVABLE).pfn, a);
	stop(&rig);
}

static void options_bound_a_set(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig, "percpu:inner=firstfit,batch=10,high=40", plain_machine());
	get(&rig, 0, 0, MOVABLE);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 10);
	for (pfn_t pfn = 1; pfn < 10; pfn++)
		get(&rig, 0, 0, MOVABLE);
	for (pfn_t pfn = 500; pfn < 600; pfn++) {
		struct alloc_request req = request(&rig, 0, 0, MOVABLE);

		assert_int_equal(rig.ops->alloc_at(rig.a, pfn, &req), 0);
		put(&rig, 1, 0, MOVABLE, pfn);
		assert_true(cached(&rig) < 40);
	}
	assert_true(counter(&rig, "pcp_drained_blocks") >= 61);
	stop(&rig);
}

static void each_generations_rules_can_be_had(void **state)
{
	static const struct {
		const char *text;
		uint64_t after_two; /* blocks fetched by two refills of order 0 */
		uint64_t small;	    /* of order 1, from lists or not */
	} cases[] = {
		{"percpu:inner=firstfit,pcp=6.18", 63 + 126, 31},
		{"percpu:inner=firstfit,pcp=6.12", 63 + 126, 31},
		{"percpu:inner=firstfit,pcp=6.6", 63 + 63, 31},
		{"percpu:inner=firstfit,pcp=6.1", 63 + 63, 31},
		{"percpu:inner=firstfit,pcp=5.10", 63 + 63, 0},
	};
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start(&rig, cases[i].text, plain_machine());
		for (unsigned int k = 0; k < 64; k++)
			get(&rig, 0, 0, MOVABLE);
		assert_int_equal(counter(&rig, "pcp_refilled_blocks"), cases[i].after_two);
		get(&rig, 0, 1, MOVABLE);
		assert_int_equal(counter(&rig, "pcp_refilled_blocks"),
				 cases[i].after_two + cases[i].small);
		stop(&rig);
	}
}

/* ---- zones ---- */

static void a_fetch_stays_in_its_zone(void **state)
{
	struct rig rig;
	pfn_t spilt;

	(void)state;
	start(&rig, "percpu:batch=63", zoned_machine());
	/* all of node 0's Normal zone, in large blocks, and what is left of it in small ones */
	for (unsigned int i = 0; i < 262144 / 1024; i++)
		assert_in_range(get(&rig, 0, 10, MOVABLE).pfn, 16384, 278527);
	assert_int_equal(cached(&rig), 0);
	/* the next comes from elsewhere: it is handed on, and nothing is fetched along with it */
	spilt = get(&rig, 0, 0, MOVABLE).pfn;
	assert_false(spilt >= 16384 && spilt < 278528);
	assert_int_equal(cached(&rig), 0);
	assert_int_equal(counter(&rig, "pcp_refilled_blocks"), 1);
	/* freed, it waits for requests that may use its own zone */
	put(&rig, 0, 0, MOVABLE, spilt);
	assert_int_equal(cached(&rig), 1);
	assert_int_equal(stats_of(&rig, spilt < 16384 ? 0 : 2).cached_frames, 1);
	if (spilt < 16384)
		assert_int_equal(get(&rig, 0, 0, GFP_DMA32 | GFP_MOVABLE).pfn, spilt);
	stop(&rig);
}

static void frames_of_one_range_are_told_apart_in_statistics(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig, "percpu:inner=firstfit,batch=63", zoned_machine());
	get(&rig, 0, 0, MOVABLE); /* from the lowest frames, though meant for zone Normal */
	assert_int_equal(stats_of(&rig, 0).cached_frames, 62);
	assert_int_equal(stats_of(&rig, 1).cached_frames, 0);
	assert_int_equal(cached(&rig), 62);
	stop(&rig);
}

/* ---- when memory is short ---- */

static void what_other_cpus_keep_is_had_before_giving_up(void **state)
{
	struct rig rig;
	pfn_t pfn[4096];
	struct alloc_request req;
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(16) << 20, 2, &m, NULL), 0);
	start(&rig, "percpu:inner=firstfit,batch=63,high=5000", m);
	for (unsigned int i = 0; i < 4096; i++)
		pfn[i] = get(&rig, 0, 0, MOVABLE).pfn;
	req = request(&rig, 0, 0, MOVABLE);
	assert_int_equal(rig.ops->alloc(rig.a, &req).pfn, PFN_NONE);
	for (unsigned int i = 0; i < 4096; i++)
		put(&rig, 1, 0, MOVABLE, pfn[i]);
	assert_int_equal(cached(&rig), 4096);
	for (unsigned int i = 0; i < 4; i++)
		get(&rig, 0, 10, MOVABLE);
	assert_int_equal(cached(&rig), 0);
	stop(&rig);
}

static void blocks_are_had_by_place_though_parked(void **state)
{
	struct rig rig;
	struct alloc_request req;
	uint64_t got;

	(void)state;
	start(&rig, "percpu:inner=firstfit", plain_machine());
	get(&rig, 0, 0, MOVABLE); /* 0, and 1..62 are parked */
	req = request(&rig, 1, 1, MOVABLE);
	assert_int_equal(rig.ops->alloc_at(rig.a, 0, &req), -EBUSY); /* held: no reason to drain */
	assert_int_equal(cached(&rig), 62);
	assert_int_equal(rig.ops->alloc_at(rig.a, 10, &req), 0);
	assert_int_equal(cached(&rig), 0);
	assert_int_equal(rig.ops->alloc_at(rig.a, 10, &req), -EBUSY);
	assert_int_equal(rig.ops->alloc_at(rig.a, 11, &req), -EINVAL);
	get(&rig, 0, 0, MOVABLE);
	assert_int_equal(rig.ops->isolate(rig.a, 0, 9, &got), 0);
	assert_int_equal(got, 512 - 4);
	stop(&rig);
}

/* ---- time ---- */

static void idle_lists_shrink_with_time(void **state)
{
	const uint64_t second = UINT64_C(1024000000);
	struct machine *m = plain_machine();
	uint64_t before;
	struct rig rig;

	(void)state;
	m->zones[0].watermark.low = 1;
	start(&rig, "percpu:inner=firstfit,batch=10", m);
	assert_int_equal(rig.ops->tick(rig.a, 5), 5 + second);
	for (pfn_t pfn = 1000; pfn < 3000; pfn++) {
		struct alloc_request req = request(&rig, 0, 0, MOVABLE);

		assert_int_equal(rig.ops->alloc_at(rig.a, pfn, &req), 0);
	}
	for (unsigned int i = 0; i < 3000; i++) /* raise high */
		get(&rig, 0, 0, MOVABLE);
	for (pfn_t pfn = 1000; pfn < 3000; pfn++)
		put(&rig, 0, 0, MOVABLE, pfn);
	before = cached(&rig);
	assert_true(before > 1000);
	assert_int_equal(rig.ops->tick(rig.a, 6), 5 + second);
	assert_int_equal(cached(&rig), before); /* not yet */
	for (unsigned int i = 1; i < 60; i++)
		assert_int_equal(rig.ops->tick(rig.a, 5 + i * second), 5 + (i + 1) * second);
	assert_int_equal(cached(&rig), 40); /* high_min, four batches */
	/* late by an hour: back in step, without making up for all of it */
	assert_int_equal(rig.ops->tick(rig.a, 7 + 4000 * second), 5 + 4001 * second);
	stop(&rig);
}

/* ---- snapshots, new memory ---- */

static struct frame_map *map_with(const struct machine *m, struct pcp_state state)
{
	static uint8_t cells[2 << 18]; /* of plain_machine() */
	struct frame_map *map;

	assert_int_equal(machine_end(m), sizeof(cells));
	memset(cells, FRAME_FREE, sizeof(cells));
	memset(&cells[64], FRAME_MOVABLE, 64);
	memset(&cells[128], FRAME_PARKED, 64);
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	assert_int_equal(frame_map_add_zones(map, NULL), 0);
	for (unsigned int z = 0; z < m->nr_zones; z++) {
		for (unsigned int cpu = 0; cpu < m->nr_cpus; cpu++)
			map->zones[z].pcp[cpu] = state;
	}
	return map;
}

static void a_snapshot_brings_the_kernels_limits(void **state)
{
	static const struct {
		const char *text;
		uint64_t fetched;
	} cases[] = {
		{"percpu:inner=firstfit", 20},
		{"percpu:inner=firstfit,batch=30", 30}, /* but options come first */
		{"percpu:inner=firstfit,high=500", 63},
	};
	struct frame_map *map;
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start(&rig, cases[i].text, plain_machine());
		map = map_with(rig.m,
			       (struct pcp_state){.batch = 20, .high_min = 100, .high_max = 90000});
		assert_int_equal(rig.ops->adopt(rig.a, map), 0);
		frame_map_destroy(map);
		assert_int_equal(cached(&rig), 0); /* parked frames are the inner one's */
		get(&rig, 0, 0, MOVABLE);
		assert_int_equal(counter(&rig, "pcp_refilled_blocks"), cases[i].fetched);
		put(&rig, 0, 0, MOVABLE, 64);
		stop(&rig);
	}
}

static void a_machine_may_bound_the_lists(void **state)
{
	static const struct {
		const char *text;
		uint64_t fetched;
	} cases[] = {
		{"percpu:inner=firstfit", 20},
		{"percpu:inner=firstfit,batch=30", 30}, /* but options come first */
	};
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct machine *m = plain_machine();

		m->zones[0].percpu =
			(struct percpu_limits){.batch = 20, .high_min = 100, .high_max = 9000};
		start(&rig, cases[i].text, m);
		get(&rig, 0, 0, MOVABLE);
		assert_int_equal(counter(&rig, "pcp_refilled_blocks"), cases[i].fetched);
		stop(&rig);
	}
}

static void adopted_objects_alone_can_be_freed(void **state)
{
	struct alloc_request req;
	struct frame_map *map;
	struct rig rig;

	(void)state;
	start(&rig, "percpu:inner=firstfit,pcp=6.6", plain_machine());
	map = map_with(rig.m, (struct pcp_state){.batch = 20, .high = 100});
	assert_int_equal(rig.ops->adopt(rig.a, map), 0);
	frame_map_destroy(map);
	req = request(&rig, 0, 0, MOVABLE);
	assert_int_equal(rig.ops->free(rig.a, 63, &req), -EINVAL);
	assert_int_equal(rig.ops->free(rig.a, 128, &req), -EINVAL);
	assert_int_equal(rig.ops->free(rig.a, 64, &req), 0);
	assert_int_equal(rig.ops->free(rig.a, 64, &req), -EINVAL);
	assert_int_equal(rig.ops->free(rig.a, 127, &req), 0);
	/* the one number of older kernels is both limits */
	for (pfn_t pfn = 65; pfn < 127; pfn++)
		put(&rig, 0, 0, MOVABLE, pfn);
	for (unsigned int i = 0; i < 400; i++)
		get(&rig, 0, 2, MOVABLE);
	stop(&rig);
}

static void new_memory_raises_the_limits(void **state)
{
	const struct pfn_range most = {16384, 540000};
	struct machine *m = zoned_machine();
	struct rig rig;
	uint64_t before;

	(void)state;
	assert_int_equal(machine_add_absent(m, most, ABSENT_OFFLINE, NULL), 0);
	start(&rig, "percpu", m);
	before = rig.instance->metadata_bytes;
	get(&rig, 0, 0, MOVABLE);
	assert_int_equal(rig.ops->online(rig.a, most), 0);
	assert_true(rig.instance->metadata_bytes > before); /* for longer lists */
	get(&rig, 1, 0, MOVABLE);
	assert_true(counter(&rig, "pcp_refilled_blocks") >= 63);
	assert_int_equal(rig.ops->offline(rig.a, (struct pfn_range){100000, 200000}), 0);
	stop(&rig);
}

/* ---- bookkeeping ---- */

static void a_free_is_believed_only_of_what_is_held(void **state)
{
	struct alloc_request req;
	struct rig rig;

	(void)state;
	start(&rig, "percpu:inner=firstfit", plain_machine());
	get(&rig, 0, 9, MOVABLE);
	req = request(&rig, 0, 0, MOVABLE);
	assert_int_equal(rig.ops->free(rig.a, 512, &req), -EINVAL); /* parked */
	put(&rig, 0, 0, MOVABLE, 511);
	req.order = 9;
	assert_int_equal(rig.ops->free(rig.a, 0, &req), -EINVAL); /* in part */
	req.order = 8;
	assert_int_equal(rig.ops->free(rig.a, 0, &req), 0); /* nor was any of it lost by asking */
	req.order = 0;
	for (pfn_t pfn = 256; pfn < 511; pfn++)
		assert_int_equal(rig.ops->free(rig.a, pfn, &req), 0);
	stop(&rig);
}

static void held_bits_agree_with_bytes(void **state)
{
	enum { FRAMES = 3000, BASE = 1024 };
	uint64_t *words = calloc(1, held_bytes(FRAMES));
	uint8_t byte[FRAMES] = {0};
	unsigned int seed = 1;
	struct held h;

	(void)state;
	held_init(&h, BASE, FRAMES, words);
	for (unsigned int i = 0; i < 50000; i++) {
		unsigned int order = (unsigned int)rand_r(&seed) % (MAX_ORDER + 2), n = 0;
		uint64_t frames = UINT64_C(1) << order;
		uint64_t at = (uint64_t)rand_r(&seed) % (FRAMES + 100);
		bool block;

		at = i % 10 ? align_down(at, frames) : at;
		block = order <= MAX_ORDER && is_aligned(at, frames) && at + frames <= FRAMES;
		assert_int_equal(held_is_block(&h, BASE + at, order), block);
		for (uint64_t k = 0; block && k < frames; k++)
			n += byte[at + k];
		if (block)
			assert_int_equal(held_any(&h, BASE + at, order), n > 0);
		if (block && rand_r(&seed) % 2) {
			held_set(&h, BASE + at, order);
			memset(&byte[at], 1, frames);
			continue;
		}
		assert_int_equal(held_clear(&h, BASE + at, order), block && n == frames);
		if (block && n == frames)
			memset(&byte[at], 0, frames);
		if (i % 64 == 0) {
			uint64_t from = (uint64_t)rand_r(&seed) % FRAMES, set = 0;

			for (uint64_t k = from; k < FRAMES; k++)
				set += byte[k];
			assert_int_equal(held_count(&h, BASE + from, BASE + FRAMES), set);
		}
	}
	assert_false(held_clear(&h, 0, 0));
	assert_false(held_clear(&h, PFN_NONE, 0));
	held_reset(&h);
	assert_int_equal(held_count(&h, BASE, BASE + FRAMES), 0);
	held_set_range(&h, BASE + 77, BASE + 2500);
	assert_int_equal(held_count(&h, BASE, BASE + FRAMES), 2500 - 77);
	assert_int_equal(held_count(&h, BASE + 77, BASE + 2500), 2500 - 77);
	free(words);
}

/* The highest zone is the next node's; yet what a CPU parks for itself is its own node's. */
static void a_small_node_s_requests_have_lists_of_its_own(void **state)
{
	const struct zone zones[] = {
		{.start = 0, .end = 16384, .node = 0, .type = ZONE_DMA32},
		{.start = 16384, .end = 32768, .node = 1, .type = ZONE_NORMAL},
	};
	struct rig rig;
	struct machine *m;
	pfn_t of_next;

	(void)state;
	assert_int_equal(machine_create(2, 2, &m, NULL), 0);
	m->node_of_cpu[1] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	start(&rig, "percpu:inner=buddy", m);
	of_next = get(&rig, 1, 0, 0).pfn;
	assert_true(of_next >= zones[1].start);
	put(&rig, 0, 0, 0, of_next); /* waits on a list of the first cpu */
	for (unsigned int i = 0; i < 100; i++)
		assert_true(get(&rig, 0, 0, 0).pfn < zones[0].end);
	assert_true(counter(&rig, "pcp_hits") > 0);
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_node_s_requests_have_lists_of_its_own),
		cmocka_unit_test(held_bits_agree_with_bytes),
		cmocka_unit_test(the_first_request_fetches_a_batch),
		cmocka_unit_test(what_was_freed_last_is_used_first),
		cmocka_unit_test(options_bound_a_set),
		cmocka_unit_test(each_generations_rules_can_be_had),
		cmocka_unit_test(a_fetch_stays_in_its_zone),
		cmocka_unit_test(frames_of_one_range_are_told_apart_in_statistics),
		cmocka_unit_test(what_other_cpus_keep_is_had_before_giving_up),
		cmocka_unit_test(blocks_are_had_by_place_though_parked),
		cmocka_unit_test(idle_lists_shrink_with_time),
		cmocka_unit_test(a_snapshot_brings_the_kernels_limits),
		cmocka_unit_test(a_machine_may_bound_the_lists),
		cmocka_unit_test(adopted_objects_alone_can_be_freed),
		cmocka_unit_test(new_memory_raises_the_limits),
		cmocka_unit_test(a_free_is_believed_only_of_what_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
