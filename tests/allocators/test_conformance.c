/* SPDX-License-Identifier: MIT */
/*
 * What every back end has to do, whatever its idea: the promises of allocators/allocator.h, each
 * checked against one byte per frame. Runs over all built-in back ends, each with every configuration
 * it ships as data, or over the specifications given as arguments ("buddy:pcp=off"). What a back end
 * does not offer is left out of its list. A check that fails names the rule that was broken; --rules
 * lists them all, "lie:NAME" runs a back end that breaks one, and --lies lists these
 * (tests/allocators/liars.h).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/frame_map.h"
#include "sim/gfp.h"
#include "tests/allocators/conformance_rules.h"
#include "tests/allocators/liars.h"
#include "tests/effort.h"

#define END	     163840 /* one behind the last pfn */
#define OBJECTS_MAX  END
#define GFP_KERNEL   (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM | GFP_IO | GFP_FS)
#define GFP_HIGHUSER (GFP_KERNEL | GFP_HARDWALL | GFP_HIGHMEM | GFP_MOVABLE)

static const struct pfn_range offline_range = {99000, 131072};

/* What the byte of a frame says. */
enum shadow { SHADOW_FREE, SHADOW_TAKEN, SHADOW_ABSENT, SHADOW_ISOLATED };

struct object {
	pfn_t pfn;
	struct alloc_request req;
};

struct conformance_test {
	const char *name;
	CMUnitTestFunction run;
	enum rule rule; /* that it is about, where it does not say otherwise */
	bool (*applies)(const struct allocator_ops *ops);
};

struct fixture {
	const struct conformance_test *test;
	enum rule rule; /* that is being checked */
	bool lies; /* a back end that breaks one on purpose: its first breach ends the program */
	struct allocator_spec *spec;
	const struct allocator_ops *ops;
	struct allocator_instance *instance;
	struct allocator *a;
	struct machine *m;
	uint8_t *shadow; /* END bytes */
	struct object *objects;
	size_t nr_objects;
	bool padded; /* an object above order 0 may live */
	unsigned int seed;
	uint64_t now_ns, deadline_ns;
};

/* What is checked from here on. Return: what was checked before, to be gone back to. */
static enum rule about(struct fixture *f, enum rule rule)
{
	enum rule before = f->rule;

	f->rule = rule;
	return before;
}

/* ---- machine and shadow ---- */

#define NR_ZONES 4

/* Two nodes, three zones on the first, a gap, odd holes and reserved frames, offline memory. */
static const struct zone usual_zones[NR_ZONES] = {
	{.start = 0, .end = 4096, .node = 0, .type = ZONE_DMA},
	{.start = 4096, .end = 32768, .node = 0, .type = ZONE_DMA32},
	{.start = 65536, .end = 131072, .node = 0, .type = ZONE_NORMAL},
	{.start = 131072, .end = END, .node = 1, .type = ZONE_NORMAL},
};

/* The same memory; but the first node is so small that it has no Normal zone. */
static const struct zone small_first_node[NR_ZONES] = {
	{.start = 0, .end = 4096, .node = 0, .type = ZONE_DMA},
	{.start = 4096, .end = 32768, .node = 0, .type = ZONE_DMA32},
	{.start = 65536, .end = 131072, .node = 1, .type = ZONE_DMA32},
	{.start = 131072, .end = END, .node = 1, .type = ZONE_NORMAL},
};

static struct machine *make_machine(const struct zone zones[NR_ZONES])
{
	const struct absent_range absent[] = {
		{{0, 1}, ABSENT_RESERVED},	  {{159, 256}, ABSENT_HOLE},
		{{5000, 5555}, ABSENT_RESERVED},  {{20000, 24576}, ABSENT_HOLE},
		{offline_range, ABSENT_OFFLINE},  {{140000, 140001}, ABSENT_RESERVED},
		{{163000, END}, ABSENT_RESERVED},
	};
	struct machine *m;

	assert_int_equal(machine_create(4, 2, &m, NULL), 0);
	m->node_of_cpu[2] = m->node_of_cpu[3] = 1;
	for (size_t i = 0; i < NR_ZONES; i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		assert_int_equal(machine_add_absent(m, absent[i].range, absent[i].why, NULL), 0);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone *z = &m->zones[i];

		z->managed = machine_managed_in(m, z->start, z->end);
		z->present = z->managed;
	}
	return m;
}

static int mark_free(void *arg, unsigned int zone, struct pfn_range range)
{
	struct fixture *f = arg;

	(void)zone;
	memset(&f->shadow[range.start], SHADOW_FREE, range.end - range.start);
	return 0;
}

static void start(struct fixture *f, unsigned int seed)
{
	struct error err;

	f->seed = seed;
	f->nr_objects = 0;
	f->padded = false;
	f->now_ns = 1;
	f->deadline_ns = 0;
	memset(f->shadow, SHADOW_ABSENT, END);
	machine_each_managed(f->m, mark_free, f);
	if (allocator_instance_create(f->spec, f->m, NULL, &f->instance, &err))
		fail_msg("%s", err.text);
	f->a = f->instance->a;
	print_message("# %s, seed %u\n", f->spec->text, seed);
}

static void stop(struct fixture *f)
{
	allocator_instance_destroy(f->instance);
	f->instance = NULL;
}

/* A test of one specification. */
struct conformance_case {
	const char *spec;
	const struct conformance_test *test;
};

static int setup(void **state)
{
	const struct conformance_case *c = *state;
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;

	if (liar_spec_parse(c->spec, &f->spec, &f->lies, &err)) {
		print_error("%s\n", err.text);
		return -1;
	}
	f->test = c->test;
	f->ops = f->spec->ops;
	f->m = make_machine(usual_zones);
	f->shadow = malloc(END);
	f->objects = malloc(OBJECTS_MAX * sizeof(*f->objects));
	*state = f;
	return 0;
}

/* What a check was about, and what was being tested when it failed. */
static void tell_broken_rule(const struct fixture *f)
{
	enum rule tested = f->test->rule;

	print_message("# %s breaks the rule %s (allocators/allocator.h, %s): %s\n", f->spec->text,
		      rules[f->rule].name, rules[f->rule].where, rules[f->rule].text);
	if (f->rule != tested)
		print_message("# in a test of %s (%s): %s\n", rules[tested].name,
			      rules[tested].where, rules[tested].text);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->rule) /* the test did not come to its end */
		tell_broken_rule(f);
	if (f->rule && f->lies) {
		fflush(stdout);
		_exit(LIAR_CAUGHT);
	}
	allocator_instance_destroy(f->instance);
	machine_destroy(f->m);
	allocator_spec_destroy(f->spec);
	free(f->objects);
	free(f->shadow);
	free(f);
	return 0;
}

static unsigned int random_below(struct fixture *f, unsigned int n)
{
	return (unsigned int)rand_r(&f->seed) % n;
}

static bool has(const struct fixture *f, uint32_t capability)
{
	return f->ops->capabilities & capability;
}

static bool shadow_is(const struct fixture *f, pfn_t pfn, unsigned int order, enum shadow s)
{
	if (pfn >= END || END - pfn < UINT64_C(1) << order)
		return false;
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
		if (f->shadow[pfn + i] != s)
			return false;
	}
	return true;
}

/* Is no frame of the block so? One beyond the end is absent. */
static bool shadow_has_none(const struct fixture *f, pfn_t pfn, unsigned int order, enum shadow s)
{
	if (pfn >= END || END - pfn < UINT64_C(1) << order)
		return s != SHADOW_ABSENT;
	return !memchr(&f->shadow[pfn], (int)s, (size_t)1 << order);
}

static void shadow_set(struct fixture *f, pfn_t pfn, unsigned int order, enum shadow s)
{
	memset(&f->shadow[pfn], (int)s, (size_t)1 << order);
}

static uint64_t shadow_free(const struct fixture *f, pfn_t start, pfn_t end)
{
	uint64_t frames = 0;

	for (pfn_t pfn = start; pfn < end && pfn < END; pfn++)
		frames += f->shadow[pfn] == SHADOW_FREE;
	return frames;
}

/* May the request be served from this zone? All zones are allowed to who does not know them. */
static bool zone_allowed(const struct fixture *f, const struct alloc_request *req, int zone)
{
	const struct zone *highest = &f->m->zones[req->zone];

	if (zone < 0)
		return false;
	if (!has(f, ALLOCATOR_ZONES))
		return true;
	if (req->gfp & GFP_THISNODE && f->m->zones[zone].node != highest->node)
		return false;
	return f->m->zones[zone].type <= highest->type;
}

/* The first free aligned block the request may have, from @from on; PFN_NONE if there is none. */
static pfn_t shadow_find(const struct fixture *f, const struct alloc_request *req, pfn_t from)
{
	uint64_t frames = UINT64_C(1) << req->order;

	for (pfn_t pfn = align_up(from, frames); pfn + frames <= END; pfn += frames) {
		if (shadow_is(f, pfn, req->order, SHADOW_FREE) &&
		    zone_allowed(f, req, machine_zone_of(f->m, pfn)))
			return pfn;
	}
	return PFN_NONE;
}

/* ---- requests ---- */

static struct alloc_request request(const struct fixture *f, uint32_t gfp, unsigned int order,
				    unsigned int cpu)
{
	const struct request_zone of = machine_request_zone(f->m, f->m->node_of_cpu[cpu], gfp);

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

static struct alloc_request random_request(struct fixture *f)
{
	static const uint32_t gfps[] = {
		GFP_KERNEL,
		GFP_KERNEL,
		GFP_HIGHUSER,
		GFP_HIGHUSER,
		GFP_HIGHUSER,
		GFP_HIGHUSER,
		GFP_KERNEL | GFP_RECLAIMABLE,
		GFP_KERNEL | GFP_DMA32,
		GFP_KERNEL,
		GFP_HIGHUSER,
		GFP_KERNEL | GFP_RECLAIMABLE,
		GFP_KERNEL | GFP_DMA,
	};
	unsigned int order = random_below(f, 4) ? random_below(f, 4) : random_below(f, NR_ORDERS);
	uint32_t gfp = gfps[random_below(f, ARRAY_SIZE(gfps))];

	if (random_below(f, 8) == 0)
		gfp |= GFP_THISNODE;

	struct alloc_request req = request(f, gfp, order, random_below(f, f->m->nr_cpus));

	/* What recordings may know. */
	if (random_below(f, 2)) {
		req.context = random_below(f, 40);
		req.flags = ALLOC_HAS_CONTEXT;
	}
	if ((gfp & GFP_MOVABLE) && random_below(f, 3) == 0)
		req.flags |= ALLOC_PAGE_CACHE;
	return req;
}

/* May frames be lost to blocks that take more than their own, be it the one of @order asked for? */
static bool may_lack_room(const struct fixture *f, unsigned int order)
{
	return has(f, ALLOCATOR_PADS) && (order > 0 || f->padded);
}

static void drain(struct fixture *f)
{
	struct allocator_stats stats;
	enum rule before = about(f, RULE_drain);

	if (f->ops->drain)
		f->ops->drain(f->a);
	/* Who has no caches need not have the function either. */
	if (f->ops->stats && f->ops->stats(f->a, ALLOCATOR_ALL_ZONES, &stats) == 0 &&
	    stats.cached_frames && !may_lack_room(f, 0))
		fail_msg("%" PRIu64 " frames are cached behind a drain", stats.cached_frames);
	about(f, before);
}

/* Those that echo get a hint that can be followed. */
static void give_hint(struct fixture *f, struct alloc_request *req)
{
	if (!has(f, ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED))
		return;
	req->hint_pfn = shadow_find(f, req, random_below(f, END));
	if (req->hint_pfn == PFN_NONE)
		req->hint_pfn = shadow_find(f, req, 0);
}

/* The block must be one the request may have; it is noted as taken. */
static void accept_block(struct fixture *f, pfn_t pfn, const struct alloc_request *req)
{
	pfn_t last = pfn + (UINT64_C(1) << req->order) - 1;
	enum rule before = about(f, RULE_alloc_aligned);

	if (!is_aligned(pfn, UINT64_C(1) << req->order))
		fail_msg("pfn %" PRIu64 " is not aligned to order %u", pfn, req->order);
	about(f, RULE_managed_only);
	if (!shadow_has_none(f, pfn, req->order, SHADOW_ABSENT))
		fail_msg("pfn %" PRIu64 ", order %u: absent, or in no zone", pfn, req->order);
	about(f, f->test->rule == RULE_huge_hard ? RULE_huge_hard : RULE_isolate_kept);
	if (!shadow_has_none(f, pfn, req->order, SHADOW_ISOLATED))
		fail_msg("pfn %" PRIu64 ", order %u: taken out of circulation", pfn, req->order);
	about(f, RULE_alloc_free);
	if (!shadow_is(f, pfn, req->order, SHADOW_FREE))
		fail_msg("pfn %" PRIu64 ", order %u: somebody holds a frame of it", pfn,
			 req->order);
	about(f, RULE_one_zone);
	if (machine_zone_of(f->m, pfn) != machine_zone_of(f->m, last))
		fail_msg("pfn %" PRIu64 ", order %u: across a zone's border", pfn, req->order);
	about(f, RULE_zones);
	if (!zone_allowed(f, req, machine_zone_of(f->m, pfn)))
		fail_msg("pfn %" PRIu64 ", order %u: in a zone that gfp 0x%" PRIx32
			 " and zone %u exclude",
			 pfn, req->order, req->gfp, req->zone);
	about(f, before);
	shadow_set(f, pfn, req->order, SHADOW_TAKEN);
	f->padded |= req->order > 0;
	assert_true(f->nr_objects < OBJECTS_MAX);
	f->objects[f->nr_objects++] = (struct object){.pfn = pfn, .req = *req};
}

/* Allocate; PFN_NONE is believed only if the shadow has no such block either. */
static pfn_t alloc(struct fixture *f, struct alloc_request req)
{
	struct alloc_result result;
	enum rule before;

	give_hint(f, &req);
	if (has(f, ALLOCATOR_UNCHECKED) && req.hint_pfn == PFN_NONE)
		return PFN_NONE; /* it would invent one */
	result = f->ops->alloc(f->a, &req);
	if (result.pfn == PFN_NONE && shadow_find(f, &req, 0) != PFN_NONE) {
		/* Free blocks may hide in other CPUs' caches, but nowhere else. */
		before = about(f, RULE_alloc_none);
		drain(f);
		result = f->ops->alloc(f->a, &req);
		if (result.pfn == PFN_NONE && !may_lack_room(f, req.order))
			fail_msg("order %u, zone %u: refused, yet pfn %" PRIu64 " is free",
				 req.order, req.zone, shadow_find(f, &req, 0));
		about(f, before);
	}
	before = about(f, RULE_alloc_flags);
	if (result.flags >= 2 * RESULT_NEEDS_INSTALL)
		fail_msg("flags 0x%" PRIx64, result.flags);
	about(f, before);
	if (result.pfn != PFN_NONE)
		accept_block(f, result.pfn, &req);
	return result.pfn;
}

static int free_part(struct fixture *f, pfn_t pfn, unsigned int order,
		     const struct alloc_request *of)
{
	struct alloc_request req = *of;

	req.order = (uint8_t)order;
	return f->ops->free(f->a, pfn, &req);
}

static void free_block(struct fixture *f, pfn_t pfn, unsigned int order,
		       const struct alloc_request *of)
{
	enum rule before = about(f, f->rule == RULE_free_parts ? RULE_free_parts : RULE_free_back);
	int rc = free_part(f, pfn, order, of);

	if (rc)
		fail_msg("free of pfn %" PRIu64 ", order %u: %d", pfn, order, rc);
	about(f, before);
	shadow_set(f, pfn, order, SHADOW_FREE);
}

static void free_object(struct fixture *f, size_t i)
{
	struct object object = f->objects[i];

	f->objects[i] = f->objects[--f->nr_objects];
	free_block(f, object.pfn, object.req.order, &object.req);
}

static void free_all(struct fixture *f)
{
	while (f->nr_objects)
		free_object(f, random_below(f, (unsigned int)f->nr_objects));
	f->padded = false;
}

/* ---- what a back end says about itself ---- */

/* Figures of one zone, or of all, against the shadow's. */
static void check_stats_of(struct fixture *f, unsigned int zone, uint64_t expected)
{
	struct allocator_stats stats;
	uint64_t in_blocks = 0;
	int rc;

	about(f, RULE_stats_zone);
	rc = f->ops->stats(f->a, zone, &stats);
	if (rc == -EINVAL && zone != ALLOCATOR_ALL_ZONES && !has(f, ALLOCATOR_ZONES))
		return; /* one range has no figures by zone */
	assert_int_equal(rc, 0);
	about(f, RULE_stats_sums);
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int o = 0; o < NR_ORDERS; o++)
			in_blocks += stats.free_blocks[mt][o] << o;
	}
	assert_int_equal(in_blocks, stats.free_frames);
	assert_true(stats.nr_counters <= ALLOCATOR_COUNTERS_MAX);
	for (size_t i = 0; i < stats.nr_counters; i++)
		assert_non_null(allocator_counter(f->ops, stats.counters[i].name));
	about(f, RULE_stats_free);
	if (stats.free_frames + stats.cached_frames != expected)
		fail_msg("zone %d: %" PRIu64 " free and %" PRIu64 " cached frames, but %" PRIu64
			 " are free",
			 (int)zone, stats.free_frames, stats.cached_frames, expected);
}

static void check_stats(struct fixture *f)
{
	enum rule before = f->rule;
	struct allocator_stats stats;

	for (unsigned int zone = 0; zone < f->m->nr_zones; zone++)
		check_stats_of(f, zone,
			       shadow_free(f, f->m->zones[zone].start, f->m->zones[zone].end));
	check_stats_of(f, ALLOCATOR_ALL_ZONES, shadow_free(f, 0, END));
	about(f, RULE_stats_zone);
	assert_int_equal(f->ops->stats(f->a, f->m->nr_zones, &stats), -EINVAL);
	about(f, before);
}

static void check_occupancy(struct fixture *f)
{
	uint16_t frames[END / HUGE_FRAMES];
	enum rule before = about(f, RULE_occupancy);

	f->ops->occupancy(f->a, 0, ARRAY_SIZE(frames), frames);
	for (size_t b = 0; b < ARRAY_SIZE(frames); b++) {
		uint64_t expected = shadow_free(f, b * HUGE_FRAMES, (b + 1) * HUGE_FRAMES);

		if (frames[b] != expected)
			fail_msg("2 MiB block %zu: %u free frames, but %" PRIu64 " are free", b,
				 frames[b], expected);
	}
	about(f, before);
}

static void check_all(struct fixture *f)
{
	enum rule before = about(f, RULE_check);
	struct error err;

	if (f->ops->check && f->ops->check(f->a, &err))
		fail_msg("check: %s", err.text);
	about(f, before);
	if (f->ops->stats)
		check_stats(f);
	if (f->ops->occupancy)
		check_occupancy(f);
}

/* Take blocks of @order until there are no more, from all zones. */
static uint64_t exhaust(struct fixture *f, unsigned int order)
{
	struct alloc_request req = request(f, GFP_HIGHUSER, order, 0);
	enum rule before = about(f, RULE_alloc_none);
	uint64_t n = 0, expected = 0;

	for (pfn_t p = 0; p < END; p += UINT64_C(1) << order)
		expected += shadow_is(f, p, order, SHADOW_FREE);
	/* An echo is told where, and searching for each hint anew would take long. */
	if (has(f, ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED)) {
		for (pfn_t p = 0; (p = shadow_find(f, &req, p)) != PFN_NONE; n++) {
			req.hint_pfn = p;
			assert_int_equal(f->ops->alloc(f->a, &req).pfn, p);
			accept_block(f, p, &req);
		}
	} else {
		while (n < expected && alloc(f, req) != PFN_NONE)
			n++;
		assert_int_equal(f->ops->alloc(f->a, &req).pfn, PFN_NONE);
	}
	if (may_lack_room(f, order))
		assert_true(n <= expected);
	else
		assert_int_equal(n, expected);
	about(f, before);
	return n;
}

/* ---- the tests ---- */

static void starts_with_all_managed_frames_free(void **state)
{
	struct fixture *f = *state;

	start(f, 1);
	check_all(f);
	about(f, RULE_metadata);
	assert_true(f->instance->metadata_bytes > 0);
	stop(f);
}

static void blocks_of_each_order_are_aligned_and_disjoint(void **state)
{
	struct fixture *f = *state;

	start(f, 1);
	for (unsigned int i = 0; i < 40; i++) {
		for (unsigned int order = 0; order <= MAX_ORDER; order++)
			alloc(f, request(f, i % 2 ? GFP_KERNEL : GFP_HIGHUSER, order, i % 4));
	}
	check_all(f);
	free_all(f);
	check_all(f);
	drain(f);
	check_all(f);
	stop(f);
}

static void gives_out_every_frame_and_gets_all_back(void **state)
{
	struct fixture *f = *state;
	uint64_t largest;

	start(f, 2);
	largest = exhaust(f, MAX_ORDER);
	assert_true(largest > 0);
	check_all(f);
	free_all(f);
	drain(f);
	assert_int_equal(exhaust(f, 0), machine_managed(f->m));
	check_all(f);
	free_all(f); /* in random order */
	drain(f);
	check_all(f);
	assert_int_equal(exhaust(f, MAX_ORDER), largest);
	free_all(f);
	stop(f);
}

static void exhausts_at_every_order(void **state)
{
	struct fixture *f = *state;

	start(f, 3);
	for (unsigned int order = 1; order < MAX_ORDER; order++) {
		exhaust(f, order);
		check_all(f);
		free_all(f);
		drain(f);
	}
	check_all(f);
	stop(f);
}

static void refuses_to_free_what_is_not_allocated(void **state)
{
	struct fixture *f = *state;
	struct alloc_request req = request(f, GFP_HIGHUSER, 0, 0);
	pfn_t pfn, huge;

	start(f, 4);
	/* absent of each kind, in no zone, beyond the end */
	assert_int_equal(free_part(f, 0, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, 200, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, 5000, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, offline_range.start + 1, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, 40000, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, END, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, PFN_NONE - 1, 0, &req), -EINVAL);
	/* never allocated */
	assert_int_equal(free_part(f, 70000, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, 65536, 9, &req), -EINVAL);
	check_all(f);
	/* misaligned */
	pfn = alloc(f, request(f, GFP_HIGHUSER, 3, 0));
	assert_int_equal(free_part(f, pfn + 1, 1, &req), -EINVAL);
	check_all(f);
	free_all(f);
	/* twice; what a cache may not notice the free lists must */
	huge = alloc(f, request(f, GFP_HIGHUSER, 9, 0));
	pfn = alloc(f, req);
	free_all(f);
	drain(f);
	assert_int_equal(free_part(f, pfn, 0, &req), -EINVAL);
	assert_int_equal(free_part(f, huge, 9, &req), -EINVAL);
	assert_int_equal(free_part(f, huge, 10, &req), -EINVAL);
	check_all(f);
	stop(f);
}

static void takes_exactly_the_block_asked_for(void **state)
{
	struct fixture *f = *state;
	static const struct {
		pfn_t pfn;
		unsigned int order;
	} places[] = {{1, 0},	  {4095, 0},   {6144, 9},   {66560, 10}, {70001, 0}, {80000, 5},
		      {98304, 9}, {131072, 9}, {162992, 3}, {25600, 10}, {258, 1},   {140002, 1}};
	struct alloc_request req;

	start(f, 5);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		req = request(f, GFP_HIGHUSER, places[i].order, 0);
		assert_int_equal(f->ops->alloc_at(f->a, places[i].pfn, &req), 0);
		accept_block(f, places[i].pfn, &req);
	}
	check_all(f);
	if (!has(f, ALLOCATOR_UNCHECKED)) {
		about(f, RULE_alloc_at_busy);
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			req = request(f, GFP_HIGHUSER, places[i].order, 1);
			assert_int_equal(f->ops->alloc_at(f->a, places[i].pfn, &req), -EBUSY);
		}
		req = request(f, GFP_HIGHUSER, MAX_ORDER, 0);
		assert_int_equal(f->ops->alloc_at(f->a, 131072, &req), -EBUSY);
		about(f, RULE_alloc_at_not_ours);
		req.order = 0;
		assert_int_equal(f->ops->alloc_at(f->a, 0, &req), -EINVAL);
		assert_int_equal(f->ops->alloc_at(f->a, 5000, &req), -EINVAL);
		assert_int_equal(f->ops->alloc_at(f->a, 40000, &req), -EINVAL);
		assert_int_equal(f->ops->alloc_at(f->a, END, &req), -EINVAL);
		assert_int_equal(f->ops->alloc_at(f->a, PFN_NONE - 1, &req), -EINVAL);
		req.order = 4;
		assert_int_equal(f->ops->alloc_at(f->a, 65537, &req), -EINVAL);
		check_all(f);
	}
	about(f, RULE_alloc_at);
	exhaust(f, 0); /* none of the blocks comes out again */
	free_all(f);
	drain(f);
	check_all(f);
	stop(f);
}

/* Free an object piece by piece: each half is freed or split again. */
static void free_in_parts(struct fixture *f, pfn_t pfn, unsigned int order,
			  const struct alloc_request *req)
{
	pfn_t half = UINT64_C(1) << order >> 1;
	bool upper_first = random_below(f, 2);

	if (order == 0 || random_below(f, 4) == 0) {
		free_block(f, pfn, order, req);
		return;
	}
	free_in_parts(f, upper_first ? pfn + half : pfn, order - 1, req);
	free_in_parts(f, upper_first ? pfn : pfn + half, order - 1, req);
}

static void frees_any_aligned_part_of_a_block(void **state)
{
	struct fixture *f = *state;
	uint64_t largest;

	start(f, 6);
	largest = exhaust(f, MAX_ORDER);
	free_all(f);
	for (unsigned int round = 0; round < 6; round++) {
		for (unsigned int order = 1; order <= MAX_ORDER; order++) {
			assert_int_not_equal(alloc(f, request(f, GFP_HIGHUSER, order, round % 4)),
					     PFN_NONE);
		}
		while (f->nr_objects) {
			struct object o = f->objects[--f->nr_objects];

			free_in_parts(f, o.pfn, o.req.order, &o.req);
		}
		check_all(f);
	}
	drain(f);
	assert_int_equal(exhaust(f, MAX_ORDER), largest);
	free_all(f);
	stop(f);
}

static void refuses_a_block_of_which_a_part_is_free(void **state)
{
	struct fixture *f = *state;

	start(f, 7);
	for (unsigned int order = 1; order <= MAX_ORDER; order++) {
		struct alloc_request req = request(f, GFP_HIGHUSER, order, 0);
		pfn_t pfn = alloc(f, req), middle = pfn + (UINT64_C(1) << order) / 2;

		assert_int_not_equal(pfn, PFN_NONE);
		f->nr_objects = 0;
		free_block(f, middle, order - 1, &req);
		drain(f);
		about(f, RULE_free_refused);
		assert_int_equal(free_part(f, pfn, order, &req), -EINVAL);
		check_all(f);
		about(f, RULE_free_parts);
		free_block(f, pfn, order - 1, &req);
		drain(f);
	}
	check_all(f);
	stop(f);
}

/*
 * Objects, free and parked frames in random places, half of these known in hindsight, absent ones where
 * the machine says so.
 */
static struct frame_map *random_map(struct fixture *f)
{
	uint8_t *cells = malloc(END);
	struct frame_map *map;

	memset(cells, FRAME_HOLE, END);
	assert_int_equal(frame_map_fresh(f->m, &map, NULL), 0);
	frame_map_to_bytes(map, cells);
	frame_map_destroy(map);
	for (uint32_t z = 0; z < f->m->nr_zones; z++) {
		pfn_t pfn = f->m->zones[z].start, end = f->m->zones[z].end;

		while (pfn < end) {
			static const uint8_t states[] = {
				FRAME_FREE,	 FRAME_FREE,	    FRAME_MOVABLE, FRAME_MOVABLE,
				FRAME_UNMOVABLE, FRAME_RECLAIMABLE, FRAME_PARKED};
			unsigned int s = states[random_below(f, ARRAY_SIZE(states))];
			unsigned int order =
				largest_order(pfn, end, random_below(f, 3) ? 4 : MAX_ORDER);

			if (shadow_is(f, pfn, order, SHADOW_FREE)) {
				bool used = frame_state_allocated(s);
				unsigned int known = random_below(f, 2) ? FRAME_HINDSIGHT : 0;

				memset(&cells[pfn], (int)(s | (used ? order : known) << 4),
				       (size_t)1 << order);
			} else {
				order = 0;
			}
			pfn += UINT64_C(1) << order;
		}
	}
	assert_int_equal(frame_map_from_bytes(f->m, cells, 5, &map, NULL), 0);
	assert_int_equal(frame_map_check(map, NULL), 0);
	free(cells);
	return map;
}

/* The objects of a map become ours to free. */
static void note_adopted(struct fixture *f, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];
		uint32_t gfp = r->state == FRAME_MOVABLE       ? GFP_HIGHUSER
			       : r->state == FRAME_RECLAIMABLE ? GFP_KERNEL | GFP_RECLAIMABLE
							       : GFP_KERNEL;

		if (!frame_state_allocated(r->state))
			continue;
		for (pfn_t pfn = r->start; pfn < r->start + r->frames;
		     pfn += UINT64_C(1) << r->order) {
			struct alloc_request req = request(f, gfp, r->order, random_below(f, 4));

			shadow_set(f, pfn, r->order, SHADOW_TAKEN);
			f->objects[f->nr_objects++] = (struct object){.pfn = pfn, .req = req};
		}
	}
}

static void add_counts(struct frame_map *map)
{
	assert_int_equal(frame_map_add_pageblocks(map, NULL), 0);
	for (size_t b = 0; b < map->nr_pageblocks; b++)
		map->pageblock_type[b] = b % 5 == 4 ? MIGRATE_UNKNOWN : (uint8_t)(b % 3);
	assert_int_equal(frame_map_add_zones(map, NULL), 0);
}

static void adopts_a_snapshot_and_frees_its_objects(void **state)
{
	struct fixture *f = *state;

	for (unsigned int seed = 1; seed <= 3; seed++) {
		struct frame_map *map;

		start(f, seed);
		map = random_map(f);
		if (seed == 2) /* pageblock types known, zone counts zero */
			add_counts(map);
		assert_int_equal(f->ops->adopt(f->a, map), 0);
		note_adopted(f, map);
		frame_map_destroy(map); /* only valid during the call */
		check_all(f);
		for (unsigned int i = 0; i < 2000; i++) {
			if (i % 2)
				alloc(f, random_request(f));
			else if (f->nr_objects)
				free_object(f, random_below(f, (unsigned int)f->nr_objects));
		}
		check_all(f);
		free_all(f);
		drain(f);
		check_all(f);
		stop(f);
	}
}

/* A second map counts for itself; nothing of the first is left. */
static void adopts_in_place_of_what_was_before(void **state)
{
	struct fixture *f = *state;
	struct frame_map *first, *second;

	start(f, 4);
	first = random_map(f);
	second = random_map(f);
	assert_int_equal(f->ops->adopt(f->a, first), 0);
	assert_int_equal(f->ops->adopt(f->a, second), 0);
	note_adopted(f, second);
	check_all(f);
	free_all(f);
	drain(f);
	check_all(f);
	frame_map_destroy(first);
	frame_map_destroy(second);
	stop(f);
}

/* What @a does with one sequence of requests and frees, as a number. */
static uint64_t course_of(struct fixture *f, struct allocator *a, bool wild_hints)
{
	struct object live[512];
	uint64_t course = 0;
	unsigned int n = 0;

	for (unsigned int i = 0; i < 1500; i++) {
		struct alloc_request req;
		pfn_t pfn;

		f->seed = 77 + i;
		req = random_request(f);
		if (wild_hints)
			req.hint_pfn = random_below(f, 2 * END);
		if (i % 3 == 2 && n) {
			size_t at = 7919 * i % n; /* whatever was drawn before */
			struct object o = live[at];

			live[at] = live[--n];
			course = course * 31 + (uint64_t)f->ops->free(a, o.pfn, &o.req);
			continue;
		}
		pfn = f->ops->alloc(a, &req).pfn;
		course = course * 31 + pfn;
		if (pfn != PFN_NONE && n < ARRAY_SIZE(live))
			live[n++] = (struct object){.pfn = pfn, .req = req};
	}
	return course;
}

/* What a fresh instance makes of a map and of what follows. */
static uint64_t course_after(struct fixture *f, const struct frame_map *map, bool wild_hints)
{
	struct allocator_instance *instance;
	uint64_t course;

	assert_int_equal(allocator_instance_create(f->spec, f->m, NULL, &instance, NULL), 0);
	if (map)
		assert_int_equal(f->ops->adopt(instance->a, map), 0);
	course = course_of(f, instance->a, wild_hints);
	allocator_instance_destroy(instance);
	return course;
}

static void does_the_same_when_asked_the_same(void **state)
{
	struct fixture *f = *state;

	start(f, 15);
	assert_true(course_after(f, NULL, false) == course_after(f, NULL, false));
	about(f, RULE_hint_unused);
	if (!has(f, ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED))
		assert_true(course_after(f, NULL, false) == course_after(f, NULL, true));
	stop(f);
}

/* Who must not look into the future gets a map from which what only the future tells is gone. */
static void adopts_marks_of_hindsight_like_any_free_frame(void **state)
{
	struct fixture *f = *state;
	struct frame_map *map;
	uint64_t marked;
	size_t marks = 0;

	start(f, 5);
	map = random_map(f);
	add_counts(map);
	marked = course_after(f, map, false);
	for (size_t i = 0; i < map->nr_runs; i++) {
		if (!frame_state_free(map->runs[i].state) || map->runs[i].order != FRAME_HINDSIGHT)
			continue;
		map->runs[i].order = 0;
		marks++;
	}
	assert_true(marks > 100);
	assert_true(course_after(f, map, false) == marked);
	frame_map_destroy(map);
	stop(f);
}

static void refuses_the_map_of_another_machine(void **state)
{
	const struct zone zone = {.start = 0, .end = 4 * END, .node = 0, .type = ZONE_NORMAL};
	struct fixture *f = *state;
	struct frame_map *map;
	struct machine *m;

	start(f, 6);
	alloc(f, request(f, GFP_HIGHUSER, 3, 0));
	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	assert_int_equal(frame_map_fresh(m, &map, NULL), 0);
	assert_int_equal(f->ops->adopt(f->a, map), -EINVAL);
	check_all(f);
	frame_map_destroy(map);
	machine_destroy(m);
	free_all(f);
	stop(f);
}

/* Bring a range online, or take it offline, here as in memory_state: what can turn, turns. */
static void turn(struct fixture *f, struct pfn_range range, bool online)
{
	enum shadow from = online ? SHADOW_ABSENT : SHADOW_FREE;
	enum shadow to = online ? SHADOW_FREE : SHADOW_ABSENT;
	enum rule before = about(f, online ? RULE_online : RULE_offline);
	int rc = online ? f->ops->online(f->a, range) : f->ops->offline(f->a, range);

	if (rc)
		fail_msg("%s of [%" PRIu64 ", %" PRIu64 "): %d", online ? "online" : "offline",
			 range.start, range.end, rc);
	for (pfn_t pfn = range.start; pfn < range.end && pfn < END; pfn++) {
		if (f->shadow[pfn] == from && machine_zone_of(f->m, pfn) >= 0)
			f->shadow[pfn] = (uint8_t)to;
	}
	check_all(f);
	about(f, before);
}

static void serves_memory_that_comes_online(void **state)
{
	struct fixture *f = *state;
	const pfn_t cut = 110592;
	const struct pfn_range parts[] = {{cut, offline_range.end}, {offline_range.start, cut}};
	uint64_t managed = machine_managed(f->m);

	start(f, 8);
	exhaust(f, 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		turn(f, parts[i], true);
		managed += parts[i].end - parts[i].start;
	}
	exhaust(f, 0);
	assert_int_equal(f->nr_objects, managed);
	free_all(f);
	drain(f);
	check_all(f);
	stop(f);
}

/* A recording brings whatever turned out to be memory: why it was absent does not matter. */
static void brings_online_whatever_is_absent_in_a_range(void **state)
{
	static const struct pfn_range ranges[] = {
		{5000, 5100},
		{5050, 5555}, /* reserved, then overlapping */
		{5000, 5555}, /* twice */
		{0, 2},	      /* reserved and managed */
		{150, 300},   /* a hole amid managed frames */
		{19990, 30000},
		{98990, 99010},
		{120000, 135000},  /* across a zone border */
		{32000, 66000},	   /* the gap between zones */
		{162999, END + 5}, /* beyond the last zone */
		{0, END},	   /* all of it */
	};
	struct fixture *f = *state;

	start(f, 8);
	for (unsigned int i = 0; i < 3000; i++)
		alloc(f, random_request(f));
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		turn(f, ranges[i], true);
	for (pfn_t pfn = 0; pfn < END; pfn++)
		assert_int_equal(f->shadow[pfn] == SHADOW_ABSENT, machine_zone_of(f->m, pfn) < 0);
	exhaust(f, 0);
	free_all(f);
	drain(f);
	check_all(f);
	stop(f);
}

static void turns_only_ranges_that_touch_a_zone(void **state)
{
	static const struct pfn_range ranges[] = {
		{32768, 65536}, {40000, 40001}, {END, END + 1},	      {5000, 5000},
		{5100, 5000},	{70000, 70000}, {PFN_MAX, UINT64_MAX}};
	struct fixture *f = *state;

	start(f, 9);
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		assert_int_equal(f->ops->online(f->a, ranges[i]), -EINVAL);
		assert_int_equal(f->ops->offline(f->a, ranges[i]), -EINVAL);
	}
	check_all(f);
	stop(f);
}

static void takes_free_memory_offline_and_refuses_used(void **state)
{
	struct fixture *f = *state;
	const struct pfn_range range = {73728, 81920};
	struct alloc_request req = request(f, GFP_HIGHUSER, 0, 0);

	start(f, 9);
	if (f->ops->alloc_at) {
		assert_int_equal(f->ops->alloc_at(f->a, 80000, &req), 0);
		f->shadow[80000] = SHADOW_TAKEN;
		about(f, RULE_offline_busy);
		assert_int_equal(f->ops->offline(f->a, range), -EBUSY);
		/* absent frames and gaps excuse nothing */
		assert_int_equal(f->ops->offline(f->a, (struct pfn_range){0, END}), -EBUSY);
		check_all(f);
		free_block(f, 80000, 0, &req);
		drain(f);
		about(f, RULE_offline);
	}
	turn(f, range, false);
	turn(f, range, false);
	exhaust(f, 0);
	free_all(f);
	drain(f);
	turn(f, (struct pfn_range){73000, 82000}, false);
	turn(f, (struct pfn_range){4000, 5600}, false); /* across zones, in part reserved */
	turn(f, range, true);
	turn(f, (struct pfn_range){30000, 70000}, false);
	turn(f, (struct pfn_range){0, END}, false);
	assert_int_equal(shadow_free(f, 0, END), 0);
	turn(f, (struct pfn_range){0, END}, true);
	exhaust(f, MAX_ORDER);
	free_all(f);
	stop(f);
}

static void isolates_what_is_free_of_a_block(void **state)
{
	struct fixture *f = *state;
	const pfn_t block = 66048;
	uint64_t got = 0;

	start(f, 10);
	for (unsigned int i = 0; i < 200; i++)
		alloc(f, request(f, GFP_HIGHUSER, i % 4, 0));
	drain(f);
	assert_int_equal(f->ops->isolate(f->a, block, HUGE_ORDER, &got), 0);
	assert_int_equal(got, shadow_free(f, block, block + HUGE_FRAMES));
	about(f, RULE_isolate_kept);
	for (pfn_t pfn = block; pfn < block + HUGE_FRAMES; pfn++) {
		if (f->shadow[pfn] == SHADOW_FREE)
			f->shadow[pfn] = SHADOW_ISOLATED;
	}
	exhaust(f, 0); /* nothing of it comes out */
	free_all(f);
	drain(f);
	assert_int_equal(f->ops->unisolate(f->a, block, HUGE_ORDER), 0);
	for (pfn_t pfn = block; pfn < block + HUGE_FRAMES; pfn++) {
		if (f->shadow[pfn] == SHADOW_ISOLATED)
			f->shadow[pfn] = SHADOW_FREE;
	}
	check_all(f);
	assert_int_equal(exhaust(f, 0), machine_managed(f->m));
	free_all(f);
	stop(f);
}

static void isolates_only_blocks_of_the_machine(void **state)
{
	static const struct {
		pfn_t pfn;
		unsigned int order;
	} wrong[] = {{66049, 1},      {66048 + 256, HUGE_ORDER}, {65536, MAX_ORDER + 1},
		     {END + 1024, 0}, {UINT64_C(1) << 39, 9},	 {PFN_NONE, 0}};
	struct fixture *f = *state;

	start(f, 10);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint64_t got = 0;

		assert_int_equal(f->ops->isolate(f->a, wrong[i].pfn, wrong[i].order, &got),
				 -EINVAL);
		assert_int_equal(f->ops->unisolate(f->a, wrong[i].pfn, wrong[i].order), -EINVAL);
	}
	check_all(f);
	stop(f);
}

/* ---- a hypervisor ---- */

#define TAKEN_BLOCK  66048 /* managed, free at the start */
#define ABSENT_BLOCK 19968 /* frames from 20000 on are a hole */

static void shadow_huge(struct fixture *f, enum shadow s)
{
	memset(&f->shadow[TAKEN_BLOCK], (int)s, HUGE_FRAMES);
}

/*
 * Hand out all there is. Return: how many of these allocations said that memory has to be installed,
 * which only those of the taken block may.
 */
static unsigned int count_installs(struct fixture *f, unsigned int order)
{
	unsigned int installs = 0;

	for (;;) {
		struct alloc_request req = request(f, GFP_HIGHUSER, order, 0);
		struct alloc_result result = f->ops->alloc(f->a, &req);

		if (result.pfn == PFN_NONE)
			break;
		accept_block(f, result.pfn, &req);
		if (!(result.flags & RESULT_NEEDS_INSTALL))
			continue;
		assert_true(result.pfn < TAKEN_BLOCK + HUGE_FRAMES &&
			    result.pfn + (UINT64_C(1) << order) > TAKEN_BLOCK);
		installs++;
	}
	return installs;
}

static void memory_taken_softly_is_asked_back_once(void **state)
{
	static const unsigned int orders[] = {0, 3, HUGE_ORDER, MAX_ORDER};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		start(f, 21);
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), 0);
		about(f, RULE_huge_refused);
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -EALREADY);
		assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_HARD), -ENOENT);
		about(f, RULE_huge_soft);
		check_all(f); /* it is free */
		assert_int_equal(count_installs(f, orders[i]), 1);
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -EBUSY);
		check_all(f);
		free_all(f);
		drain(f);
		assert_int_equal(count_installs(f, orders[i]), 0);
		free_all(f);
		stop(f);
	}
}

static void memory_put_back_unasked_is_not_asked_for(void **state)
{
	struct fixture *f = *state;

	start(f, 22);
	assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -ENOENT);
	assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), 0);
	assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), 0);
	assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -ENOENT);
	assert_int_equal(count_installs(f, 0), 0);
	free_all(f);
	stop(f);
}

static void memory_taken_hard_is_out_of_circulation(void **state)
{
	const struct alloc_request huge = {.order = HUGE_ORDER, .migratetype = MIGRATE_MOVABLE};
	const struct alloc_request one = {.migratetype = MIGRATE_MOVABLE};
	struct fixture *f = *state;

	for (unsigned int order = 0; order <= MAX_ORDER; order += HUGE_ORDER) {
		start(f, 23);
		if (order) /* marked or not */
			assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), 0);
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_HARD), 0);
		shadow_huge(f, SHADOW_ISOLATED);
		check_all(f);
		about(f, RULE_huge_refused);
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_HARD), -EBUSY);
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -EBUSY);
		assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -ENOENT);
		about(f, RULE_huge_hard);
		assert_int_equal(f->ops->free(f->a, TAKEN_BLOCK, &huge), -EINVAL);
		assert_int_equal(f->ops->free(f->a, TAKEN_BLOCK + 3, &one), -EINVAL);
		if (has(f, ALLOCATOR_ALLOC_AT))
			assert_int_equal(f->ops->alloc_at(f->a, TAKEN_BLOCK, &one), -EBUSY);
		assert_int_equal(count_installs(f, order), 0); /* nothing of it comes out */
		check_all(f);
		free_all(f);
		drain(f);
		assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_HARD), 0);
		assert_int_equal(f->ops->give_huge(f->a, TAKEN_BLOCK, HUGE_HARD), -ENOENT);
		shadow_huge(f, SHADOW_FREE);
		check_all(f);
		assert_int_equal(count_installs(f, order), 1);
		free_all(f);
		stop(f);
	}
}

static void only_what_is_free_and_managed_can_be_taken(void **state)
{
	struct fixture *f = *state;

	start(f, 24);
	for (unsigned int how = HUGE_SOFT; how <= HUGE_HARD; how++) {
		assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK + 1, how), -EINVAL);
		assert_int_equal(f->ops->take_huge(f->a, ABSENT_BLOCK, how), -EINVAL);
		assert_int_equal(f->ops->take_huge(f->a, END + HUGE_FRAMES, how), -EINVAL);
		assert_int_equal(f->ops->take_huge(f->a, UINT64_MAX, how), -EINVAL);
		assert_int_equal(f->ops->give_huge(f->a, ABSENT_BLOCK, how), -EINVAL);
	}
	while (alloc(f, request(f, GFP_HIGHUSER, 3, 0)) != PFN_NONE)
		;
	for (size_t i = 0; i < f->nr_objects; i++) {
		if (f->objects[i].pfn != TAKEN_BLOCK)
			free_object(f, i--);
	}
	assert_int_equal(f->nr_objects, 1); /* all of the block but this is free */
	drain(f);
	assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_SOFT), -EBUSY);
	assert_int_equal(f->ops->take_huge(f->a, TAKEN_BLOCK, HUGE_HARD), -EBUSY);
	check_all(f);
	free_all(f);
	stop(f);
}

/* With all else at once: marks come and go, and nothing is lost. */
static void a_hypervisor_at_work_disturbs_nobody(void **state)
{
	struct fixture *f = *state;
	unsigned int taken = 0;

	start(f, 25);
	for (unsigned int i = 0; i < 4000; i++) {
		pfn_t block = 65536 + HUGE_FRAMES * (pfn_t)random_below(f, 64);
		unsigned int what = random_below(f, 8);

		if (what < 3) {
			alloc(f, random_request(f));
		} else if (f->nr_objects && what < 6) {
			free_object(f, random_below(f, (unsigned int)f->nr_objects));
		} else if (f->ops->take_huge(f->a, block, HUGE_SOFT) == 0) {
			assert_true(shadow_is(f, block, HUGE_ORDER, SHADOW_FREE));
			taken++;
		}
		if (i % 16 == 0 && f->ops->take_huge(f->a, block, HUGE_HARD) == 0) {
			assert_true(shadow_is(f, block, HUGE_ORDER, SHADOW_FREE));
			shadow_set(f, block, HUGE_ORDER, SHADOW_ISOLATED);
			taken++;
		} else if (f->ops->give_huge(f->a, block, HUGE_HARD) == 0) {
			assert_true(shadow_is(f, block, HUGE_ORDER, SHADOW_ISOLATED));
			shadow_set(f, block, HUGE_ORDER, SHADOW_FREE);
		}
		if (i % 500 == 0)
			check_all(f);
	}
	assert_true(taken > 100);
	free_all(f);
	check_all(f);
	stop(f);
}

/* Frames of this process in memory. */
static uint64_t resident_frames(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long long size, resident;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu %llu", &size, &resident), 2);
	fclose(file);
	return resident;
}

/* A description may claim anything: it must not cost the host its memory. */
static void costs_little_or_refuses_however_large_the_machine(void **state)
{
	/* One zone, memory to the end or almost none; two zones far apart. */
	static const uint64_t sizes[] = {UINT64_C(1) << 33, UINT64_C(1) << 35, UINT64_C(1) << 39};
	struct fixture *f = *state;
	const uint64_t budget = (UINT64_C(100) << 20) / (uint64_t)sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < 3 * ARRAY_SIZE(sizes); i++) {
		uint64_t frames = sizes[i / 3], before = resident_frames();
		struct zone zones[] = {{.end = frames, .type = ZONE_NORMAL},
				       {.start = frames - 4096, .end = frames, .node = 1}};
		struct allocator_instance *instance = NULL;
		struct error err = {.code = 0};
		struct machine *m;
		int rc;

		assert_int_equal(machine_create(2, 2, &m, NULL), 0);
		if (i % 3 == 2)
			zones[0].end = 4096;
		assert_int_equal(machine_add_zone(m, &zones[0], NULL), 0);
		if (i % 3 == 1)
			assert_int_equal(machine_add_absent(m, (struct pfn_range){1024, frames},
							    ABSENT_HOLE, NULL),
					 0);
		if (i % 3 == 2)
			assert_int_equal(machine_add_zone(m, &zones[1], NULL), 0);
		rc = allocator_instance_create(f->spec, m, NULL, &instance, &err);
		if (rc && rc != -EFBIG && rc != -ENOMEM)
			fail_msg("%" PRIu64 " frames: %d", frames, rc);
		assert_true(rc == 0 || strlen(err.text) > 20);
		if (resident_frames() > before + budget)
			fail_msg("%" PRIu64 " frames: %" PRIu64 " pages for an instance", frames,
				 resident_frames() - before);
		allocator_instance_destroy(instance);
		machine_destroy(m);
	}
}

static void instances_do_not_disturb_each_other(void **state)
{
	struct fixture *f = *state;
	struct allocator_instance *other;
	struct alloc_request req = request(f, GFP_HIGHUSER, 0, 0);
	struct allocator_stats before, after;

	assert_int_equal(allocator_instance_create(f->spec, f->m, NULL, &other, NULL), 0);
	start(f, 11);
	if (f->ops->stats)
		assert_int_equal(f->ops->stats(other->a, ALLOCATOR_ALL_ZONES, &before), 0);
	for (unsigned int i = 0; i < 500; i++)
		alloc(f, random_request(f));
	if (f->ops->stats) {
		assert_int_equal(f->ops->stats(other->a, ALLOCATOR_ALL_ZONES, &after), 0);
		assert_int_equal(after.free_frames, before.free_frames);
	}
	req.hint_pfn = 70000;
	assert_int_not_equal(f->ops->alloc(other->a, &req).pfn, PFN_NONE);
	check_all(f);
	free_all(f);
	stop(f);
	allocator_instance_destroy(other);
}

static void predicts_what_it_then_does(void **state)
{
	struct fixture *f = *state;

	start(f, 12);
	for (unsigned int i = 0; i < 1500; i++) {
		if (i % 3 < 2) {
			struct alloc_request req = random_request(f);
			pfn_t expected;

			give_hint(f, &req);
			expected = f->ops->predict(f->a, &req).pfn;
			assert_int_equal(f->ops->predict(f->a, &req).pfn, expected);
			assert_int_equal(f->ops->alloc(f->a, &req).pfn, expected);
			if (expected != PFN_NONE)
				accept_block(f, expected, &req);
		} else if (f->nr_objects) {
			free_object(f, random_below(f, (unsigned int)f->nr_objects));
		}
	}
	check_all(f);
	stop(f);
}

/* Told that all happened as it foresaw, it knows who holds what; on its own again, it goes on from there. */
static void knows_what_it_was_told(void **state)
{
	const struct kernel_fact follow = {.kind = FACT_FOLLOW,
					   .arg = 1U << FACT_PLACED | 1U << FACT_FREED};
	const struct kernel_fact alone = {.kind = FACT_FOLLOW};
	struct fixture *f = *state;

	start(f, 16);
	assert_int_equal(f->ops->observe(f->a, &follow), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		struct alloc_request req = random_request(f);
		struct kernel_fact fact = {.kind = FACT_PLACED};

		if (i % 3 == 2 && f->nr_objects) {
			struct object *o = &f->objects[--f->nr_objects];

			req = o->req;
			fact.kind = FACT_FREED;
			fact.pfn = o->pfn;
			shadow_set(f, o->pfn, o->req.order, SHADOW_FREE);
		} else {
			fact.pfn = f->ops->predict(f->a, &req).pfn;
			if (fact.pfn == PFN_NONE)
				continue;
			accept_block(f, fact.pfn, &req);
		}
		fact.gfp = req.gfp;
		fact.cpu = req.cpu;
		fact.order = req.order;
		fact.migratetype = req.migratetype;
		assert_int_equal(f->ops->observe(f->a, &fact), 0);
		if (i % 100 == 0)
			check_all(f);
	}
	assert_true(f->nr_objects > 100);
	assert_int_equal(f->ops->observe(f->a, &alone), 0);
	check_all(f);
	free_all(f);
	drain(f);
	check_all(f);
	stop(f);
}

static void bulk_calls_do_what_single_ones_do(void **state)
{
	struct fixture *f = *state;
	struct alloc_request req = request(f, GFP_HIGHUSER, 0, 0);
	pfn_t pfns[300];

	start(f, 13);
	for (unsigned int round = 0; round < 5; round++) {
		size_t n = f->ops->alloc_bulk(f->a, &req, ARRAY_SIZE(pfns), pfns);

		assert_int_equal(n, ARRAY_SIZE(pfns));
		for (size_t i = 0; i < n; i++)
			accept_block(f, pfns[i], &req);
		check_all(f);
		assert_int_equal(f->ops->free_bulk(f->a, pfns, n, &req), n);
		for (size_t i = 0; i < n; i++)
			shadow_set(f, pfns[i], 0, SHADOW_FREE);
		f->nr_objects = 0;
		check_all(f);
	}
	stop(f);
}

static void tick(struct fixture *f)
{
	enum rule before = about(f, RULE_tick);

	f->deadline_ns = f->ops->tick(f->a, f->now_ns);
	if (f->deadline_ns <= f->now_ns)
		fail_msg("at %" PRIu64 " ns it wants to be called at %" PRIu64, f->now_ns,
			 f->deadline_ns);
	about(f, before);
}

/* One random step; memory fills and empties in waves. */
static void random_step(struct fixture *f, unsigned int i)
{
	bool filling = i / 1500 % 2 == 0;
	unsigned int what = random_below(f, 100);

	f->now_ns += random_below(f, 2000000);
	if (f->ops->tick && f->now_ns >= f->deadline_ns)
		tick(f);
	if (what < (filling ? 70U : 30U)) {
		alloc(f, random_request(f));
	} else if (what < 95 && f->nr_objects) {
		size_t index = random_below(f, (unsigned int)f->nr_objects);
		struct object *o = &f->objects[index];

		o->req.cpu = (uint16_t)random_below(f, f->m->nr_cpus);
		if (has(f, ALLOCATOR_SPLIT) && o->req.order && what % 4 == 0) {
			/* one half goes, the other is an object from now on */
			unsigned int order = o->req.order - 1U;
			pfn_t half = UINT64_C(1) << order, upper = o->pfn + half;
			bool keep_upper = what % 8 == 0;

			free_block(f, keep_upper ? o->pfn : upper, order, &o->req);
			o->pfn = keep_upper ? upper : o->pfn;
			o->req.order = (uint8_t)order;
		} else {
			free_object(f, index);
		}
	} else if (what < 98 && has(f, ALLOCATOR_ALLOC_AT)) {
		struct alloc_request req = random_request(f);
		pfn_t pfn = shadow_find(f, &req, random_below(f, END));

		enum rule before = about(f, RULE_alloc_at);

		if (pfn != PFN_NONE && f->ops->alloc_at(f->a, pfn, &req) == 0)
			accept_block(f, pfn, &req);
		else
			assert_int_equal(pfn, PFN_NONE);
		about(f, before);
	} else if (what == 99 && random_below(f, 10) == 0) {
		drain(f);
	}
}

static void agrees_with_a_byte_per_frame_over_random_operations(void **state)
{
	struct fixture *f = *state;

	for (unsigned int seed = 21; seed < 21 + 4 * test_effort(); seed++) {
		start(f, seed);
		if (seed % 2 && f->ops->tick)
			tick(f);
		for (unsigned int i = 0; i < 6000; i++) {
			random_step(f, i);
			if (i % 300 == 299)
				check_all(f);
		}
		free_all(f);
		check_all(f);
		drain(f);
		check_all(f);
		stop(f);
	}
}

/* Memory comes and goes in random ranges while objects do. */
static void agrees_with_a_byte_per_frame_while_memory_comes_and_goes(void **state)
{
	struct fixture *f = *state;

	for (unsigned int seed = 41; seed < 41 + 3 * test_effort(); seed++) {
		start(f, seed);
		for (unsigned int i = 0; i < 3000; i++) {
			pfn_t at = random_below(f, END);
			unsigned int frames = random_below(f, 3) ? 40 : 5000;
			struct pfn_range range = {at, at + 1 + random_below(f, frames)};
			bool touches = false, used = false;

			if (i % 10) {
				random_step(f, i);
				continue;
			}
			drain(f);
			for (pfn_t pfn = range.start; pfn < range.end && pfn < END; pfn++) {
				touches |= machine_zone_of(f->m, pfn) >= 0;
				used |= f->shadow[pfn] == SHADOW_TAKEN;
			}
			if (touches && !used)
				turn(f, range, i % 20 == 0);
			else if (touches && i % 20 == 0)
				turn(f, range, true);
			else {
				about(f, touches ? RULE_offline_busy : RULE_range_in_no_zone);
				assert_int_equal(f->ops->offline(f->a, range),
						 touches ? -EBUSY : -EINVAL);
				about(f, RULE_offline);
			}
		}
		check_all(f);
		free_all(f);
		drain(f);
		check_all(f);
		stop(f);
	}
}

static void agrees_with_a_byte_per_frame_when_nearly_full(void **state)
{
	struct fixture *f = *state;

	start(f, 31);
	exhaust(f, 0);
	for (unsigned int i = 0; i < 3000; i++) {
		if (f->nr_objects && random_below(f, 3) == 0)
			free_object(f, random_below(f, (unsigned int)f->nr_objects));
		else
			alloc(f, request(f,
					 random_below(f, 4) ? GFP_HIGHUSER
							    : GFP_HIGHUSER | GFP_THISNODE,
					 random_below(f, 20) ? 0 : 1, random_below(f, 4)));
		if (i % 500 == 499)
			check_all(f);
	}
	free_all(f);
	drain(f);
	check_all(f);
	stop(f);
}

/* Zones above those of its own node are open to a request, too: the next node has them. */
static void goes_on_to_the_next_node_s_higher_zones(void **state)
{
	struct fixture *f = *state;
	uint64_t high = 0;

	machine_destroy(f->m);
	f->m = make_machine(small_first_node);
	start(f, 41);
	assert_int_equal(request(f, GFP_KERNEL, 0, 0).node, 0);
	while (alloc(f, request(f, GFP_KERNEL, MAX_ORDER - 1, 0)) != PFN_NONE)
		high += f->objects[f->nr_objects - 1].pfn >= small_first_node[3].start;
	if (!has(f, ALLOCATOR_UNCHECKED))
		assert_true(high > 0);
	check_all(f);
	/* GFP_THISNODE means the small node. */
	free_all(f);
	drain(f);
	while (alloc(f, request(f, GFP_KERNEL | GFP_THISNODE, 0, 0)) != PFN_NONE)
		;
	check_all(f);
	free_all(f);
	drain(f);
	check_all(f);
	stop(f);
	machine_destroy(f->m);
	f->m = make_machine(usual_zones);
}

static void echoes_the_hint_or_refuses_it(void **state)
{
	struct fixture *f = *state;
	struct alloc_request req = request(f, GFP_HIGHUSER, 2, 0);

	start(f, 14);
	req.hint_pfn = 70000;
	assert_int_equal(f->ops->alloc(f->a, &req).pfn, 70000);
	if (has(f, ALLOCATOR_ECHO)) {
		assert_int_equal(f->ops->alloc(f->a, &req).pfn, PFN_NONE);
		req.hint_pfn = 5000;
		assert_int_equal(f->ops->alloc(f->a, &req).pfn, PFN_NONE);
		req.hint_pfn = PFN_NONE;
		assert_int_equal(f->ops->alloc(f->a, &req).pfn, PFN_NONE);
	} else {
		req.hint_pfn = PFN_NONE; /* bumps round the machine */
		for (unsigned int i = 0; i < 100000; i++) {
			pfn_t pfn = f->ops->alloc(f->a, &req).pfn;

			assert_true(is_aligned(pfn, 4) && pfn + 4 <= END);
		}
	}
	stop(f);
}

/* ---- who runs what ---- */

static bool checked(const struct allocator_ops *ops)
{
	return !(ops->capabilities & ALLOCATOR_UNCHECKED);
}

static bool echoes(const struct allocator_ops *ops)
{
	return ops->capabilities & (ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED);
}

static bool allocates_at(const struct allocator_ops *ops)
{
	return ops->capabilities & ALLOCATOR_ALLOC_AT;
}

static bool splits(const struct allocator_ops *ops)
{
	return ops->capabilities & ALLOCATOR_SPLIT;
}

static bool splits_checked(const struct allocator_ops *ops)
{
	return splits(ops) && checked(ops);
}

static bool adopts(const struct allocator_ops *ops)
{
	return ops->adopt;
}

static bool adopts_checked(const struct allocator_ops *ops)
{
	return adopts(ops) && checked(ops);
}

static bool onlines(const struct allocator_ops *ops)
{
	return ops->online && checked(ops);
}

static bool offlines(const struct allocator_ops *ops)
{
	return onlines(ops) && ops->offline;
}

static bool isolates(const struct allocator_ops *ops)
{
	return ops->isolate;
}

static bool is_shared(const struct allocator_ops *ops)
{
	return ops->take_huge;
}

static bool predicts(const struct allocator_ops *ops)
{
	return ops->predict;
}

static bool observes(const struct allocator_ops *ops)
{
	return ops->predict && ops->observe;
}

static bool bulks(const struct allocator_ops *ops)
{
	return ops->capabilities & ALLOCATOR_BULK;
}

#define TEST(name, rule, applies)                                                                  \
	{                                                                                          \
#name, name, RULE_##rule, applies                                                  \
	}

static const struct conformance_test conformance_tests[] = {
	TEST(starts_with_all_managed_frames_free, fresh, NULL),
	TEST(blocks_of_each_order_are_aligned_and_disjoint, free_back, NULL),
	TEST(gives_out_every_frame_and_gets_all_back, free_back, NULL),
	TEST(exhausts_at_every_order, alloc_none, NULL),
	TEST(does_the_same_when_asked_the_same, repeatable, NULL),
	TEST(refuses_to_free_what_is_not_allocated, free_refused, checked),
	TEST(takes_exactly_the_block_asked_for, alloc_at, allocates_at),
	TEST(frees_any_aligned_part_of_a_block, free_parts, splits),
	TEST(refuses_a_block_of_which_a_part_is_free, free_parts, splits_checked),
	TEST(adopts_a_snapshot_and_frees_its_objects, adopt_state, adopts),
	TEST(adopts_in_place_of_what_was_before, adopt_replaces, adopts),
	TEST(adopts_marks_of_hindsight_like_any_free_frame, adopt_hindsight, adopts),
	TEST(refuses_the_map_of_another_machine, adopt_foreign, adopts_checked),
	TEST(serves_memory_that_comes_online, online, onlines),
	TEST(brings_online_whatever_is_absent_in_a_range, online, onlines),
	TEST(turns_only_ranges_that_touch_a_zone, range_in_no_zone, offlines),
	TEST(takes_free_memory_offline_and_refuses_used, offline, offlines),
	TEST(isolates_what_is_free_of_a_block, isolate_got, isolates),
	TEST(isolates_only_blocks_of_the_machine, isolate_refused, isolates),
	TEST(memory_taken_softly_is_asked_back_once, huge_soft, is_shared),
	TEST(memory_put_back_unasked_is_not_asked_for, huge_soft, is_shared),
	TEST(memory_taken_hard_is_out_of_circulation, huge_hard, is_shared),
	TEST(only_what_is_free_and_managed_can_be_taken, huge_refused, is_shared),
	TEST(a_hypervisor_at_work_disturbs_nobody, huge_hard, is_shared),
	TEST(costs_little_or_refuses_however_large_the_machine, large, NULL),
	TEST(instances_do_not_disturb_each_other, instances, NULL),
	TEST(predicts_what_it_then_does, predict, predicts),
	TEST(knows_what_it_was_told, observe, observes),
	TEST(bulk_calls_do_what_single_ones_do, bulk, bulks),
	TEST(agrees_with_a_byte_per_frame_over_random_operations, free_back, NULL),
	TEST(agrees_with_a_byte_per_frame_while_memory_comes_and_goes, offline, offlines),
	TEST(agrees_with_a_byte_per_frame_when_nearly_full, alloc_none, NULL),
	TEST(goes_on_to_the_next_node_s_higher_zones, zones, NULL),
	TEST(echoes_the_hint_or_refuses_it, echo, echoes),
};

/* One test: a rule is left standing in the fixture if it fails. */
static void run_one(void **state)
{
	struct fixture *f = *state;

	about(f, f->test->rule);
	f->test->run(state);
	about(f, RULE_none);
}

static void list_rules(void)
{
	for (size_t i = 1; i < ARRAY_SIZE(rules); i++)
		printf("%s\t%s\t%s\n", rules[i].name, rules[i].where, rules[i].text);
}

/* Append the tests that apply to one specification, which stays the caller's. Return: 0 or 1. */
static int add_tests(const char *text, struct CMUnitTest *tests, struct conformance_case *cases,
		     size_t *n)
{
	struct allocator_spec *spec;
	struct error err;
	bool lies;

	if (liar_spec_parse(text, &spec, &lies, &err)) {
		print_error("%s\n", err.text);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(conformance_tests); i++) {
		const struct conformance_test *t = &conformance_tests[i];
		char *name;

		if ((t->applies && !t->applies(spec->ops)) ||
		    asprintf(&name, "%s_%s", text, t->name) < 0)
			continue;
		cases[*n] = (struct conformance_case){.spec = text, .test = t};
		tests[*n] = (struct CMUnitTest){.name = name,
						.test_func = run_one,
						.setup_func = setup,
						.teardown_func = teardown,
						.initial_state = &cases[*n]};
		(*n)++;
	}
	allocator_spec_destroy(spec);
	return 0;
}

#define SPECS_MAX 64

/* Lists large enough to matter on a machine this small, by the rules of each generation. */
static const char *const further_specs[] = {
	"percpu:batch=63",
	"percpu:inner=firstfit,batch=63,high=2000,pcp=6.12",
	"percpu:inner=firstfit,batch=63,pcp=6.6",
	"percpu:batch=63,pcp=6.1",
	"percpu:inner=firstfit,batch=63,pcp=5.10",
	"llfree:rows=on",
};

/* A layer over each back end it takes, itself included. */
static void add_layers(const struct allocator_ops *ops, char **specs, size_t *n)
{
	for (size_t i = 0; allocator_builtins[i]; i++) {
		struct allocator_spec *spec;

		assert(*n < SPECS_MAX);
		if (asprintf(&specs[*n], "%s:inner=%s", ops->name, allocator_builtins[i]->name) < 0)
			continue;
		if (allocator_spec_parse(specs[*n], &spec, NULL)) {
			free(specs[*n]);
			continue;
		}
		allocator_spec_destroy(spec);
		(*n)++;
	}
}

/*
 * A back end as it is, and with each of the files it ships in place of its default one; a layer over
 * all that it can be layered over.
 */
static void add_specs(const struct allocator_ops *ops, char **specs, size_t *n)
{
	if (ops->capabilities & ALLOCATOR_LAYER) {
		add_layers(ops, specs, n);
		return;
	}
	specs[(*n)++] = strdup(ops->name);
	for (const struct option *row = ops->options; row && row->name; row++) {
		if (!(row->flags & OPTION_FILE))
			continue;
		for (const char *const *choice = row->choices; *choice; choice++) {
			assert(*n < SPECS_MAX);
			if (strcmp(*choice, row->fallback) != 0 &&
			    asprintf(&specs[*n], "%s:%s=%s", ops->name, row->name, *choice) > 0)
				(*n)++;
		}
	}
}

int main(int argc, char **argv)
{
	char *specs[SPECS_MAX];
	size_t nr_specs = 0, n = 0;
	struct conformance_case *cases;
	struct CMUnitTest *tests;
	int failed = 0;

	if (argc > SPECS_MAX)
		return 1;
	if (argc == 2 && strcmp(argv[1], "--rules") == 0) {
		list_rules();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--lies") == 0) {
		liars_list();
		return 0;
	}
	for (int i = 1; i < argc; i++)
		specs[nr_specs++] = strdup(argv[i]);
	for (size_t i = 0; argc == 1 && allocator_builtins[i]; i++)
		add_specs(allocator_builtins[i], specs, &nr_specs);
	for (size_t i = 0; argc == 1 && i < ARRAY_SIZE(further_specs); i++)
		specs[nr_specs++] = strdup(further_specs[i]);
	tests = calloc(nr_specs * ARRAY_SIZE(conformance_tests), sizeof(*tests));
	cases = calloc(nr_specs * ARRAY_SIZE(conformance_tests), sizeof(*cases));
	for (size_t i = 0; i < nr_specs; i++)
		failed += add_tests(specs[i], tests, cases, &n);
	/* one group: a TAP stream has one plan */
	failed += _cmocka_run_group_tests("conformance", tests, n, NULL, NULL);
	while (n)
		free((void *)(uintptr_t)tests[--n].name);
	free(tests);
	free(cases);
	while (nr_specs)
		free(specs[--nr_specs]);
	return failed;
}
