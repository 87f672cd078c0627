/* SPDX-License-Identifier: MIT */
/*
 * Predicting and following: what a prediction says of the next allocation, what each fact proves about
 * the state, and that no sequence of facts, however absurd, breaks an invariant.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/buddy/follow.h"
#include "allocators/buddy/rig.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define ALONE	   ",watermarks=off"
#define TOLD(kind) (UINT64_C(1) << (kind))
#define ALL_FACTS                                                                                  \
	(TOLD(FACT_PLACED) | TOLD(FACT_FREED) | TOLD(FACT_REFILL) | TOLD(FACT_DRAIN) |             \
	 TOLD(FACT_FALLBACK))
#define REQUESTS    (TOLD(FACT_PLACED) | TOLD(FACT_FREED))
#define PATIENT	    (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM)
#define OBJECTS_MAX 65536

/* Lists by their kernel index. */
enum {
	UNMOVABLE_0,
	MOVABLE_0,
	RECLAIMABLE_0,
};

static uint64_t fallback_arg(unsigned int order, unsigned int type, bool change)
{
	return order | (uint64_t)type << 8 | (uint64_t)change << 16;
}

struct object {
	pfn_t pfn;
	uint8_t order;
};

/* What has been allocated, for random frees. */
struct heap {
	struct object *object;
	size_t n;
	uint64_t frames;
};

static void heap_open(struct heap *h)
{
	*h = (struct heap){.object = calloc(OBJECTS_MAX, sizeof(*h->object))};
	assert_non_null(h->object);
}

static void heap_add(struct heap *h, pfn_t pfn, unsigned int order)
{
	assert_true(h->n < OBJECTS_MAX);
	h->object[h->n++] = (struct object){pfn, (uint8_t)order};
	h->frames += UINT64_C(1) << order;
}

static struct object heap_take(struct heap *h, uint64_t random)
{
	size_t i = random % h->n;
	struct object o = h->object[i];

	h->object[i] = h->object[--h->n];
	h->frames -= UINT64_C(1) << o.order;
	return o;
}

/* Mostly single frames, now and then what per-CPU lists have, rarely what they have not. */
static unsigned int random_order(uint64_t *seed)
{
	unsigned int draw = (unsigned int)(rig_random(seed) % 100);

	if (draw < 70)
		return 0;
	if (draw < 92)
		return 1 + draw % 3;
	return draw < 98 ? 4 + draw % 5 : 9 + draw % 2;
}

/* DMA32 below Normal, four cpus, an odd end. */
static struct machine *two_zones(pfn_t border, pfn_t end)
{
	struct machine *m;

	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	rig_zone(m, ZONE_DMA32, 0, 0, border);
	rig_zone(m, ZONE_NORMAL, 0, border, end);
	return m;
}

/* ---- predictions ---- */

static void assert_same_stats(const struct allocator_stats *x, const struct allocator_stats *y)
{
	assert_memory_equal(x->free_blocks, y->free_blocks, sizeof(x->free_blocks));
	assert_memory_equal(x->pageblocks, y->pageblocks, sizeof(x->pageblocks));
	assert_int_equal(x->free_frames, y->free_frames);
	assert_int_equal(x->cached_frames, y->cached_frames);
	assert_int_equal(x->nr_counters, y->nr_counters);
	for (size_t i = 0; i < x->nr_counters; i++)
		assert_int_equal(x->counters[i].value, y->counters[i].value);
}

static struct alloc_request random_request(const struct rig *rig, uint64_t *seed)
{
	static const uint32_t zone_gfp[] = {0, 0, 0, GFP_DMA32};
	uint32_t gfp = zone_gfp[rig_random(seed) % ARRAY_SIZE(zone_gfp)];

	gfp |= rig_random(seed) % 8 ? PATIENT : GFP_KSWAPD_RECLAIM;
	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.cpu = (uint16_t)(rig_random(seed) % rig->m->nr_cpus),
		.order = (uint8_t)random_order(seed),
		.migratetype = (uint8_t)(rig_random(seed) % MIGRATE_MERGEABLE),
		.zone = (uint8_t)machine_highest_zone(rig->m, 0, gfp),
	};
}

/* Ask, allocate, compare. Return: the block. */
static pfn_t predicted_alloc(struct rig *rig, const struct alloc_request *req, unsigned int step)
{
	struct allocator_stats before = rig_stats(rig, ALLOCATOR_ALL_ZONES), after;
	struct alloc_result said = buddy_ops.predict(rig->a, req), got;

	after = rig_stats(rig, ALLOCATOR_ALL_ZONES);
	assert_same_stats(&before, &after);
	got = buddy_ops.alloc(rig->a, req);
	/* What only the other lists hold comes last, after all lists have been emptied for it. */
	if (said.pfn == PFN_NONE && got.pfn != PFN_NONE) {
		assert_true(before.cached_frames > 0);
		return got.pfn;
	}
	if (said.pfn != got.pfn)
		fail_msg("step %u: order %u, type %u, cpu %u, zone %u, gfp %#x: said %#llx, got "
			 "%#llx",
			 step, req->order, req->migratetype, req->cpu, req->zone, req->gfp,
			 (unsigned long long)said.pfn, (unsigned long long)got.pfn);
	assert_int_equal(said.flags & RESULT_PCP_HIT, got.flags & RESULT_PCP_HIT);
	return got.pfn;
}

#define ZONES_END	20000
#define RESERVED_FRAMES 65536 /* a hundredth is more than a pageblock */

static void expect_predictions(const char *options, bool marks, uint64_t seed)
{
	struct machine *m = two_zones(8192, ZONES_END);
	uint64_t aim = 0;
	struct rig rig;
	struct heap h;

	if (marks) {
		rig_marks(m, 0, 200, 250, 300);
		rig_marks(m, 1, 400, 500, 600);
		m->zones[0].lowmem_reserve[ZONE_NORMAL] = 64;
	}
	rig_open_with(&rig, m, options);
	heap_open(&h);
	for (unsigned int step = 0; step < 6000; step++) {
		/* Fill and empty in turns: what is scarce is where the rules are. */
		if (step % 1500 == 0)
			aim = step / 1500 % 2 ? ZONES_END / 4 : ZONES_END;
		if (rig_random(&seed) % 8 < (h.frames < aim ? 6U : 2U) && h.n < OBJECTS_MAX) {
			const struct alloc_request req = random_request(&rig, &seed);
			pfn_t pfn = predicted_alloc(&rig, &req, step);

			if (pfn != PFN_NONE)
				heap_add(&h, pfn, req.order);
		} else if (h.n) {
			struct object o = heap_take(&h, rig_random(&seed));

			assert_int_equal(rig_free_on(&rig, rig_random(&seed) % 4, o.pfn, o.order),
					 0);
		}
		if (step % 32 == 0)
			rig_check(&rig);
	}
	free(h.object);
	rig_close(&rig);
}

static void a_prediction_is_what_the_next_allocation_gets(void **state)
{
	(void)state;
	expect_predictions("pcp=6.18" ALONE, false, 1);
	expect_predictions("pcp=off" ALONE, false, 2);
	expect_predictions("pcp=6.18,fallback=claim" ALONE, false, 3);
	expect_predictions("pcp=6.18,fallback=largest" ALONE, false, 4);
	expect_predictions("pcp=6.18,fallback=old" ALONE, false, 5);
	expect_predictions("pcp=5.10,fallback=old,drain_type=cached" ALONE, false, 6);
	expect_predictions("pcp=off,fallback=largest" ALONE, false, 7);
	expect_predictions("pcp=off,fallback=old" ALONE, false, 8);
}

static void a_prediction_minds_watermarks(void **state)
{
	(void)state;
	expect_predictions("kernel=6.18", true, 11);
	expect_predictions("kernel=6.12,pcp=off", true, 12);
	expect_predictions("kernel=6.1", true, 13);
}

/*
 * A zone below its low mark, with a reserved pageblock: requests that may not wait for reclaim get at
 * the reserve, others do not.
 */
static void open_reserved(struct rig *rig, const char *options)
{
	struct machine *m = rig_one_zone(0, RESERVED_FRAMES);
	struct alloc_request req;
	pfn_t pfn;

	rig_marks(m, 0, 200, RESERVED_FRAMES - 1, RESERVED_FRAMES);
	rig_open_with(rig, m, options);
	req = rig_request(rig, 4, MIGRATE_UNMOVABLE);
	req.gfp = GFP_HIGH | GFP_KSWAPD_RECLAIM;
	pfn = buddy_ops.alloc(rig->a, &req).pfn;
	req.cpu = 1;
	assert_int_not_equal(pfn, PFN_NONE);
	pfn = buddy_ops.alloc(rig->a, &req).pfn;
	assert_int_not_equal(pfn, PFN_NONE);
	assert_int_equal(rig_type(rig, pfn), MIGRATE_HIGHATOMIC);
}

static void expect_urgent(const char *options)
{
	struct rig rig;

	open_reserved(&rig, options);
	for (unsigned int order = 0; order <= 5; order++) {
		for (unsigned int mt = 0; mt < MIGRATE_MERGEABLE; mt++) {
			struct alloc_request req = rig_request(&rig, order, mt);

			req.gfp = GFP_HIGH | GFP_KSWAPD_RECLAIM;
			predicted_alloc(&rig, &req, 100 + 10 * order + mt);
			rig_check(&rig);
		}
	}
	rig_close(&rig);
}

/* Nothing but the reserve is left. Who may not wait gets at it, single frames too. */
static void expect_last_resort(const char *options)
{
	struct alloc_request req;
	struct rig rig;

	open_reserved(&rig, options);
	req = rig_request(&rig, 0, MIGRATE_UNMOVABLE);
	for (unsigned int order = NR_ORDERS; order-- > 4;) {
		req.order = (uint8_t)order;
		while (rig_stats(&rig, 0).free_frames > 512 &&
		       buddy_ops.predict(rig.a, &req).pfn != PFN_NONE)
			assert_int_not_equal(buddy_ops.alloc(rig.a, &req).pfn, PFN_NONE);
	}
	req.gfp = GFP_HIGH;
	req.order = 0;
	for (unsigned int i = 0; i < 64; i++)
		predicted_alloc(&rig, &req, i);
	rig_close(&rig);
}

static void a_prediction_knows_who_may_use_the_reserve(void **state)
{
	(void)state;
	expect_urgent("pcp=off");
	expect_last_resort("pcp=off");
	expect_urgent("kernel=6.18");
	expect_last_resort("kernel=6.18");
}

static void predicting_changes_no_list(void **state)
{
	struct rig rig;
	struct alloc_request req;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, PICTURE_FRAMES), "kernel=6.18" ALONE);
	rig_free(&rig, rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	for (unsigned int i = 0; i < 3; i++) {
		req = rig_request(&rig, 0, MIGRATE_MOVABLE);
		assert_int_equal(buddy_ops.predict(rig.a, &req).pfn, 0);
		req.flags = ALLOC_UNCACHED;
		assert_int_not_equal(buddy_ops.predict(rig.a, &req).pfn, 0);
		req = rig_request(&rig, 4, MIGRATE_UNMOVABLE);
		assert_int_equal(buddy_ops.predict(rig.a, &req).flags, RESULT_FALLBACK);
	}
	assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	req.order = MAX_ORDER + 1;
	assert_int_equal(buddy_ops.predict(rig.a, &req).pfn, PFN_NONE);
	rig_close(&rig);
}

/* ---- following another instance ---- */

static int tell(struct rig *rig, unsigned int kind, unsigned int cpu, pfn_t pfn, unsigned int order,
		unsigned int mt, uint64_t arg)
{
	const struct kernel_fact fact = {
		.pfn = pfn,
		.arg = arg,
		.gfp = PATIENT,
		.cpu = (uint16_t)cpu,
		.kind = (uint8_t)kind,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)mt,
	};
	int rc = buddy_ops.observe(rig->a, &fact);

	rig_check(rig);
	return rc;
}

static int tell_unchecked(struct rig *rig, const struct alloc_request *req, unsigned int kind,
			  pfn_t pfn)
{
	const struct kernel_fact fact = {
		.pfn = pfn,
		.gfp = req->gfp,
		.cpu = req->cpu,
		.kind = (uint8_t)kind,
		.order = req->order,
		.migratetype = req->migratetype,
	};

	return buddy_ops.observe(rig->a, &fact);
}

static struct machine *four_cpus(pfn_t end)
{
	struct machine *m;

	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	rig_zone(m, ZONE_NORMAL, 0, 0, end);
	return m;
}

#define TWIN_FRAMES 32768

struct twins {
	struct rig kernel, clone;
	struct heap heap;
	uint64_t choices, wrong;
	unsigned int order_max;
};

static void twins_open(struct twins *t, const char *options)
{
	*t = (struct twins){.order_max = MAX_ORDER};
	rig_open_with(&t->kernel, four_cpus(TWIN_FRAMES), options);
	rig_open_with(&t->clone, four_cpus(TWIN_FRAMES), options);
	heap_open(&t->heap);
	assert_int_equal(tell(&t->clone, FACT_FOLLOW, 0, 0, 0, 0, REQUESTS), 0);
}

static void twins_close(struct twins *t)
{
	free(t->heap.object);
	rig_close(&t->kernel);
	rig_close(&t->clone);
}

static void twins_alloc(struct twins *t, const struct alloc_request *req)
{
	pfn_t said = buddy_ops.predict(t->clone.a, req).pfn;
	pfn_t got = buddy_ops.alloc(t->kernel.a, req).pfn;

	assert_int_not_equal(got, PFN_NONE);
	t->choices++;
	t->wrong += said != got;
	tell_unchecked(&t->clone, req, FACT_PLACED, got);
	heap_add(&t->heap, got, req->order);
}

static void twins_free(struct twins *t, unsigned int cpu, uint64_t random)
{
	struct object o = heap_take(&t->heap, random);
	struct alloc_request req = rig_request(&t->kernel, o.order, MIGRATE_UNMOVABLE);

	req.cpu = (uint16_t)cpu;
	assert_int_equal(buddy_ops.free(t->kernel.a, o.pfn, &req), 0);
	assert_int_equal(tell_unchecked(&t->clone, &req, FACT_FREED, o.pfn), 0);
}

static void twins_live(struct twins *t, unsigned int steps, uint64_t seed)
{
	for (unsigned int step = 0; step < steps; step++) {
		uint64_t aim = step / 2000 % 2 ? TWIN_FRAMES / 8 : TWIN_FRAMES / 2;

		if (rig_random(&seed) % 8 < (t->heap.frames < aim ? 6U : 2U)) {
			struct alloc_request req = random_request(&t->kernel, &seed);

			req.gfp = PATIENT;
			req.zone = 0;
			req.order = (uint8_t)min_u64(req.order, t->order_max);
			twins_alloc(t, &req);
		} else if (t->heap.n) {
			twins_free(t, rig_random(&seed) % 4, rig_random(&seed));
		}
		if (step % 128 == 0)
			rig_check(&t->clone);
	}
}

static void expect_foresight(const char *options, unsigned int order_max, uint64_t seed)
{
	struct twins t;

	twins_open(&t, options);
	t.order_max = order_max;
	twins_live(&t, 12000, seed);
	if (t.wrong)
		fail_msg("%s: %llu of %llu choices not foreseen", options,
			 (unsigned long long)t.wrong, (unsigned long long)t.choices);
	assert_true(t.choices > 4000);
	twins_close(&t);
}

/* Same rules, same start: following one's like disturbs nothing. */
static void from_requests_alone_an_equal_is_foreseen_in_every_choice(void **state)
{
	(void)state;
	expect_foresight("kernel=6.18" ALONE, PCP_ORDER_MAX, 21);
	expect_foresight("kernel=6.12" ALONE, PCP_ORDER_MAX, 22);
	expect_foresight("kernel=6.1" ALONE, PCP_ORDER_MAX, 23);
}

static void from_requests_alone_blocks_past_the_lists_are_foreseen_too(void **state)
{
	(void)state;
	expect_foresight("kernel=6.18" ALONE, MAX_ORDER, 31);
	expect_foresight("pcp=off" ALONE, MAX_ORDER, 32);
}

/* A block past the lists is no business of theirs: the next drain is as long as it would have been. */
static void a_block_past_the_lists_leaves_their_sizes_alone(void **state)
{
	struct rig rig;
	uint32_t before;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.18" ALONE);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, REQUESTS), 0);
	for (pfn_t pfn = 0; pfn < 8; pfn++)
		tell(&rig, FACT_FREED, 0, pfn, 0, MIGRATE_MOVABLE, 0);
	before = rig_pcp(&rig, 0, 0)->free_count;
	assert_true(before > 1);
	tell(&rig, FACT_PLACED, 0, 4096, 4, MIGRATE_MOVABLE, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->free_count, before);
	rig_close(&rig);
}

/* What the rules would have done, a claim of the whole block, is what has been done. */
static void a_foreseen_claim_past_the_lists_changes_the_type(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.18" ALONE);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, REQUESTS), 0);
	assert_int_equal(tell(&rig, FACT_PLACED, 0, 0, 4, MIGRATE_UNMOVABLE, 0), 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_UNMOVABLE);
	assert_int_equal(rig_type(&rig, 512), MIGRATE_UNMOVABLE);
	rig_close(&rig);
}

/* ---- what single facts prove ---- */

static void open_following(struct rig *rig, uint64_t told)
{
	rig_open_with(rig, rig_one_zone(0, PICTURE_FRAMES), "kernel=6.18" ALONE);
	assert_false(follow_active(rig->a));
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, told), 0);
	assert_true(follow_active(rig->a));
}

static void place(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order)
{
	assert_int_equal(tell(rig, FACT_PLACED, cpu, pfn, order, MIGRATE_MOVABLE, 0), 0);
}

static void give_back(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order)
{
	assert_int_equal(tell(rig, FACT_FREED, cpu, pfn, order, MIGRATE_MOVABLE, 0), 0);
}

static int refill(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order, unsigned int mt)
{
	return tell(rig, FACT_REFILL, cpu, pfn, order, mt, 0);
}

/* Is the block allocated, as far as the clone knows? */
static bool in_use(const struct rig *rig, pfn_t pfn, unsigned int order)
{
	const struct buddy_zone *z = &rig->a->zones[0];

	return zone_all_used(z, zone_index(z, pfn), order);
}

static pfn_t predicted(const struct rig *rig, unsigned int order, unsigned int flags)
{
	struct alloc_request req = rig_request(rig, order, MIGRATE_MOVABLE);

	req.flags = (uint8_t)flags;
	return buddy_ops.predict(rig->a, &req).pfn;
}

static void a_frame_handed_out_from_deeper_proves_those_above_gone(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 4; pfn++)
		place(&rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 4; pfn++)
		give_back(&rig, 0, pfn, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 3, 2, 1, 0);
	assert_int_equal(predicted(&rig, 0, 0), 3);
	place(&rig, 0, 1, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 0);
	assert_true(in_use(&rig, 1, 0));
	assert_true(in_use(&rig, 2, 1));
	assert_int_equal(predicted(&rig, 0, 0), 0);
	rig_close(&rig);
}

static void a_second_block_of_a_refill_proves_that_the_list_was_empty(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 0);
	give_back(&rig, 0, 0, 0);
	assert_int_equal(refill(&rig, 0, 100, 0, MIGRATE_MOVABLE), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 0, 100);
	assert_int_equal(refill(&rig, 0, 101, 0, MIGRATE_MOVABLE), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101);
	assert_true(in_use(&rig, 0, 0));
	assert_int_equal(refill(&rig, 0, 102, 0, MIGRATE_MOVABLE), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101, 102);
	rig_close(&rig);
}

/* The list was locked by whom the request had interrupted: what is on it stays there. */
static void a_single_block_fetched_and_handed_out_leaves_the_list_alone(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 0);
	give_back(&rig, 0, 0, 0);
	assert_int_equal(refill(&rig, 0, 100, 0, MIGRATE_MOVABLE), 0);
	place(&rig, 0, 100, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 0);
	assert_true(in_use(&rig, 100, 0));
	rig_close(&rig);
}

/* Another cpu hands out what a list held when a refill of it began: the refill's own block stays. */
static void a_refill_survives_that_its_list_is_robbed_meanwhile(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 0);
	give_back(&rig, 0, 0, 0);
	refill(&rig, 0, 100, 0, MIGRATE_MOVABLE);
	place(&rig, 1, 0, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100);
	refill(&rig, 0, 101, 0, MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101);
	rig_close(&rig);
}

static void a_drained_block_joins_the_free_list_of_the_told_type(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 0);
	place(&rig, 0, 1, 0);
	give_back(&rig, 0, 0, 0);
	assert_int_equal(tell(&rig, FACT_DRAIN, 0, 0, 0, MIGRATE_RECLAIMABLE, 0), 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_RECLAIMABLE);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_RECLAIMABLE, 0);
	EXPECT_LIST(&rig, 0, 8, MIGRATE_RECLAIMABLE, 256);
	/* The pageblock next to it has shown nothing. */
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 512);
	rig_close(&rig);
}

/* Drains begin at the tail, so what would have gone before is not there. */
static void what_a_drain_passes_over_is_not_on_the_list(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 6; pfn++)
		place(&rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 6; pfn++)
		give_back(&rig, 0, pfn, 0);
	assert_int_equal(tell(&rig, FACT_DRAIN, 0, 2, 0, MIGRATE_MOVABLE, 0), 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 5, 4, 3);
	assert_true(in_use(&rig, 0, 1));
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 3);
	rig_close(&rig);
}

/* Whoever frees from an interrupt meanwhile finds the set locked. */
static void a_free_within_a_refill_goes_past_the_lists(void **state)
{
	struct rig rig;
	uint8_t before;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 0);
	place(&rig, 0, 2, 0);
	refill(&rig, 0, 100, 0, MIGRATE_MOVABLE);
	refill(&rig, 0, 101, 0, MIGRATE_MOVABLE);
	before = rig_pcp(&rig, 0, 0)->alloc_factor;
	give_back(&rig, 0, 0, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 100, 101);
	EXPECT_LIST(&rig, 0, 1, MIGRATE_MOVABLE, 102, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->alloc_factor, before);
	place(&rig, 0, 100, 0);
	give_back(&rig, 0, 2, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 2, 101);
	rig_close(&rig);
}

static void a_pageblock_that_shows_another_type_takes_its_free_blocks_along(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 600, 0);
	assert_int_equal(refill(&rig, 0, 8, 0, MIGRATE_UNMOVABLE), 0);
	assert_int_equal(rig_type(&rig, 8), MIGRATE_UNMOVABLE);
	assert_true(zone_type_proven(&rig.a->zones[0], 8));
	assert_int_equal(rig_type(&rig, 600), MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 0, UNMOVABLE_0, 8);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_UNMOVABLE, 9);
	EXPECT_LIST(&rig, 0, 3, MIGRATE_UNMOVABLE, 0);
	EXPECT_LIST(&rig, 0, 8, MIGRATE_UNMOVABLE, 256);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 601);
	rig_close(&rig);
}

static void a_free_block_of_two_pageblocks_changes_type_as_a_whole(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	assert_int_equal(refill(&rig, 0, 8, 0, MIGRATE_UNMOVABLE), 0);
	assert_int_equal(rig_type(&rig, 600), MIGRATE_UNMOVABLE);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_UNMOVABLE, 512);
	rig_close(&rig);
}

static void a_fallback_proves_that_nothing_of_the_type_was_left(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	refill(&rig, 0, 8, 0, MIGRATE_RECLAIMABLE);
	place(&rig, 0, 3072, 0);
	assert_int_equal(tell(&rig, FACT_FALLBACK, 1, 2048, 1, MIGRATE_RECLAIMABLE,
			      fallback_arg(MAX_ORDER, MIGRATE_MOVABLE, false)),
			 0);
	/* Smaller ones may well be left. */
	EXPECT_LIST(&rig, 0, 0, MIGRATE_RECLAIMABLE, 9);
	for (unsigned int order = 1; order < NR_ORDERS; order++)
		EXPECT_EMPTY(&rig, 0, order, MIGRATE_RECLAIMABLE);
	assert_true(in_use(&rig, 512, 9));
	assert_int_equal(rig_type(&rig, 2048), MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 1, 3 + MIGRATE_RECLAIMABLE, 2048);
	EXPECT_LIST(&rig, 0, 1, MIGRATE_MOVABLE, 2050, 3074);
	rig_close(&rig);
}

static void a_fallback_to_whole_pageblocks_changes_their_type(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	assert_int_equal(tell(&rig, FACT_FALLBACK, 0, 2048, 0, MIGRATE_RECLAIMABLE,
			      fallback_arg(MAX_ORDER, MIGRATE_MOVABLE, true)),
			 0);
	assert_int_equal(rig_type(&rig, 2048), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_type(&rig, 2560), MIGRATE_RECLAIMABLE);
	assert_int_equal(rig_type(&rig, 3072), MIGRATE_MOVABLE);
	EXPECT_PERCPU(&rig, 0, 0, RECLAIMABLE_0, 2048);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_RECLAIMABLE, 2560);
	rig_close(&rig);
}

/* A claim tells which pageblock; which of its blocks is taken comes as a refill. */
static void a_claim_changes_the_pageblock_and_takes_nothing_yet(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 600, 0);
	assert_int_equal(tell(&rig, FACT_FALLBACK, 0, 256, 0, MIGRATE_UNMOVABLE,
			      fallback_arg(8, MIGRATE_MOVABLE, true)),
			 0);
	assert_int_equal(rig_type(&rig, 0), MIGRATE_UNMOVABLE);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_UNMOVABLE, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	rig_close(&rig);
}

/* Free neighbours whose types could not mix become one block when a fact makes them alike. */
static void a_pageblock_that_shows_its_neighbours_type_merges_with_it(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.18" ALONE);
	picture_paint(&p, 0, 1024, FRAME_FREE);
	p.types[0] = MIGRATE_HIGHATOMIC;
	picture_adopt(&p);
	EXPECT_LIST(&p.rig, 0, 9, MIGRATE_HIGHATOMIC, 0);
	assert_int_equal(tell(&p.rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	tell(&p.rig, FACT_FALLBACK, 0, 0, 0, MIGRATE_UNMOVABLE,
	     fallback_arg(8, MIGRATE_MOVABLE, true));
	rig_close(&p.rig);
}

static void a_list_begins_where_the_kernel_takes_from_if_that_is_near(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0, 1024, 2048, 3072, 4096, 5120, 6144, 7168);
	refill(&rig, 0, 3072, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 4096, 5120, 6144, 7168, 0, 1024, 2048);
	assert_int_equal(predicted(&rig, 10, ALLOC_UNCACHED), 4096);
	rig_close(&rig);
}

/* Twelve largest blocks: the last ones are far from the first. */
static void open_long_list(struct rig *rig, uint64_t told)
{
	rig_open_with(rig, rig_one_zone(0, 12288), "kernel=6.18" ALONE);
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, told), 0);
}

static void a_list_goes_on_from_where_the_kernel_has_gone_twice(void **state)
{
	struct rig rig;

	(void)state;
	open_long_list(&rig, ALL_FACTS);
	refill(&rig, 0, 9216, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 0, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192,
		    10240, 11264);
	refill(&rig, 0, 10240, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 11264, 0, 1024, 2048, 3072, 4096, 5120, 6144,
		    7168, 8192);
	rig_close(&rig);
}

static void a_list_goes_on_backwards_where_the_kernel_does(void **state)
{
	struct rig rig;

	(void)state;
	open_long_list(&rig, ALL_FACTS);
	refill(&rig, 0, 10240, 10, MIGRATE_MOVABLE);
	refill(&rig, 0, 9216, 10, MIGRATE_MOVABLE);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 8192, 7168, 6144, 5120, 4096, 3072, 2048, 1024, 0,
		    11264);
	rig_close(&rig);
}

static void a_head_passed_over_twice_goes_to_the_tail(void **state)
{
	struct rig rig;

	(void)state;
	open_long_list(&rig, REQUESTS);
	place(&rig, 0, 11264, 10);
	place(&rig, 0, 9216, 10);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_MOVABLE, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192,
		    10240, 0);
	rig_close(&rig);
}

static void a_small_block_passed_over_for_a_larger_one_is_gone(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 9);
	EXPECT_LIST(&rig, 0, 9, MIGRATE_MOVABLE, 512);
	refill(&rig, 0, 1024, 9, MIGRATE_MOVABLE);
	assert_true(in_use(&rig, 512, 9));
	rig_close(&rig);
}

static void a_free_of_what_was_believed_free_is_repaired(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	give_back(&rig, 0, 5, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 5);
	EXPECT_LIST(&rig, 0, 0, MIGRATE_MOVABLE, 4);
	give_back(&rig, 1, 5, 0);
	EXPECT_PERCPU(&rig, 0, 1, MOVABLE_0, 5);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	/* A block of which parts are free, parked and inside a larger free block. */
	give_back(&rig, 0, 0, 3);
	assert_int_equal(rig_pcp(&rig, 0, 1)->count, 0);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 8);
	give_back(&rig, 0, 0, 10);
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 0);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES);
	rig_close(&rig);
}

static void a_refill_of_what_was_believed_in_use_is_contradictory_and_repaired(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 7, 0);
	assert_int_equal(refill(&rig, 0, 7, 0, MIGRATE_MOVABLE), -EINVAL);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 7);
	rig_close(&rig);
}

/* Eight frames are fetched for the first request; those after it are a guess. */
static void open_guessing(struct rig *rig)
{
	rig_open_with(rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.1" ALONE);
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, REQUESTS), 0);
	place(rig, 0, 0, 0);
	EXPECT_PERCPU(rig, 0, 0, MOVABLE_0, 1, 2, 3, 4, 5, 6);
}

static void a_guessed_frame_that_was_another_goes_back(void **state)
{
	struct rig rig;

	(void)state;
	open_guessing(&rig);
	place(&rig, 0, 5000, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 1, 2, 3, 4, 5);
	assert_true(in_use(&rig, 5000, 0));
	assert_false(in_use(&rig, 6, 0));
	rig_close(&rig);
}

static void guesses_that_were_never_fetched_are_replaced(void **state)
{
	struct rig rig;

	(void)state;
	open_guessing(&rig);
	/* What a refill would begin with now. */
	assert_int_equal(predicted(&rig, 0, ALLOC_UNCACHED), 7);
	place(&rig, 0, 7, 0);
	assert_true(in_use(&rig, 7, 0));
	assert_false(in_use(&rig, 1, 0));
	assert_int_equal(rig_pcp(&rig, 0, 0)->count, 5);
	rig_close(&rig);
}

/* Every second frame of a hundred, so that none merge, freed in ascending order on the first cpu. */
static void open_parked(struct rig *rig)
{
	rig_open_with(rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.18" ALONE);
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	for (pfn_t pfn = 0; pfn < 200; pfn++)
		place(rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 200; pfn += 2)
		give_back(rig, 0, pfn, 0);
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, REQUESTS), 0);
	assert_int_equal(rig_pcp(rig, 0, 0)->list[MOVABLE_0].length, 100);
}

static void a_frame_of_another_cpus_list_shows_that_its_end_was_drained(void **state)
{
	struct rig rig;

	(void)state;
	open_parked(&rig);
	place(&rig, 1, 60, 0);
	assert_true(in_use(&rig, 60, 0));
	/* 62 to 198 are still there; what had been freed before 60 is free, 58 the last to come. */
	assert_int_equal(rig_pcp(&rig, 0, 0)->list[MOVABLE_0].length, 69);
	assert_int_equal(predicted(&rig, 0, 0), 198);
	rig_close(&rig);
}

static void a_frame_far_down_shows_that_the_list_was_drained_and_filled_anew(void **state)
{
	struct rig rig;

	(void)state;
	open_parked(&rig);
	place(&rig, 0, 4, 0);
	assert_true(in_use(&rig, 4, 0));
	/* Fetched with 4: what had come to the free list just before it. */
	assert_int_equal(predicted(&rig, 0, 0), 2);
	rig_close(&rig);
}

static void the_zone_the_kernel_turned_to_last_is_foreseen(void **state)
{
	struct rig rig;
	struct alloc_request req;

	(void)state;
	rig_open_with(&rig, two_zones(8192, ZONES_END), "kernel=6.18" ALONE);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	place(&rig, 0, 5000, 0);
	assert_true(buddy_ops.predict(rig.a, &req).pfn < 8192);
	place(&rig, 0, 9000, 0);
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_close(&rig);
}

/* An empty list sends its requests to a lower zone, and no others. */
static void a_zone_is_left_by_one_list_of_one_cpu(void **state)
{
	struct rig rig;
	struct alloc_request req;

	(void)state;
	rig_open_with(&rig, two_zones(8192, ZONES_END), "kernel=6.18" ALONE);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	place(&rig, 0, 5000, 0);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn < 8192);
	req.cpu = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	req = rig_request(&rig, 0, MIGRATE_UNMOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	req = rig_request(&rig, 1, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_close(&rig);
}

/* Normal has nothing movable, DMA32 is under its mark as we count it: would Normal be mixed? */
static void a_lower_zone_serves_as_it_last_did_whatever_we_think_of_its_mark(void **state)
{
	struct machine *m;
	struct rig rig;
	struct alloc_request req;

	(void)state;
	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	rig_zone(m, ZONE_DMA32, 0, 0, 8192);
	rig_zone(m, ZONE_NORMAL, 0, 8192, 8192 + 2048);
	rig_marks(m, 0, 1, 2, 3);
	rig_marks(m, 1, 1, 2, 3);
	m->zones[0].lowmem_reserve[ZONE_NORMAL] = 10000;
	rig_open_with(&rig, m, "kernel=6.18");
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	refill(&rig, 3, 8192, 0, MIGRATE_UNMOVABLE);
	place(&rig, 3, 8704, 9);
	place(&rig, 3, 9216, 10);
	req = rig_request(&rig, 0, MIGRATE_MOVABLE);
	req.zone = 1;
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	place(&rig, 0, 5000, 0);
	assert_true(buddy_ops.predict(rig.a, &req).pfn < 8192);
	/* It comes back although there is nothing: the lower zone is under its mark now. */
	place(&rig, 0, 8200, 0);
	refill(&rig, 3, 8201, 0, MIGRATE_UNMOVABLE);
	assert_true(buddy_ops.predict(rig.a, &req).pfn >= 8192);
	rig_close(&rig);
}

/* Single frames are free, 39 first, then 37 and so on to 1; seven were fetched for the first request. */
static void open_singles(struct rig *rig)
{
	rig_open_with(rig, rig_one_zone(0, TWIN_FRAMES), "kernel=6.1" ALONE);
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	for (pfn_t pfn = 0; pfn < 64; pfn++)
		place(rig, 1, pfn, 0);
	for (unsigned int order = 6; order < MAX_ORDER; order++)
		place(rig, 1, UINT64_C(1) << order, order);
	for (pfn_t pfn = 1; pfn < 40; pfn += 2) {
		give_back(rig, 1, pfn, 0);
		assert_int_equal(tell(rig, FACT_DRAIN, 1, pfn, 0, MIGRATE_MOVABLE, 0), 0);
	}
	assert_int_equal(tell(rig, FACT_FOLLOW, 0, 0, 0, 0, REQUESTS), 0);
	place(rig, 0, 39, 0);
	EXPECT_PERCPU(rig, 0, 0, MOVABLE_0, 37, 35, 33, 31, 29, 27);
}

static void guesses_begin_where_the_kernel_goes_on_in_our_free_list(void **state)
{
	struct rig rig;

	(void)state;
	open_singles(&rig);
	/* One frame may be anywhere. */
	place(&rig, 0, 15, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 37, 35, 33, 31, 29);
	place(&rig, 0, 13, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 11, 9, 7, 5);
	assert_false(in_use(&rig, 37, 0));
	assert_int_equal(predicted(&rig, 0, ALLOC_UNCACHED), 3);
	rig_check(&rig);
	rig_close(&rig);
}

static void a_frame_elsewhere_that_nothing_follows_moves_no_guess(void **state)
{
	struct rig rig;

	(void)state;
	open_singles(&rig);
	place(&rig, 0, 15, 0);
	place(&rig, 0, 7, 0);
	EXPECT_PERCPU(&rig, 0, 0, MOVABLE_0, 37, 35, 33, 31);
	rig_close(&rig);
}

static void a_snapshot_corrects_and_keeps_the_order_where_it_agrees(void **state)
{
	struct picture p;

	(void)state;
	picture_open(&p, "kernel=6.18" ALONE);
	picture_paint(&p, 0, PICTURE_FRAMES, FRAME_FREE);
	assert_int_equal(tell(&p.rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	refill(&p.rig, 0, 3072, 10, MIGRATE_MOVABLE);
	refill(&p.rig, 0, 4096, 10, MIGRATE_MOVABLE);
	place(&p.rig, 0, 3072, 10);
	place(&p.rig, 0, 6144, 0);
	/* 4096 was given back, 5120 taken, and nobody said so. */
	picture_paint(&p, 3072, 1024, FRAME_MOVABLE);
	picture_paint(&p, 5120, 1024, FRAME_UNMOVABLE);
	picture_paint(&p, 6144, 1, FRAME_MOVABLE);
	picture_adopt(&p);
	EXPECT_LIST(&p.rig, 0, 10, MIGRATE_MOVABLE, 7168, 0, 1024, 2048, 4096);
	assert_true(in_use(&p.rig, 5120, 10));
	assert_true(in_use(&p.rig, 6144, 0));
	rig_close(&p.rig);
}

/* ---- explanations ---- */

static void expect_cause(const struct rig *rig, unsigned int cpu, unsigned int order,
			 unsigned int mt, pfn_t pfn, const char *cause)
{
	struct alloc_request req = rig_request(rig, order, mt);

	req.cpu = (uint16_t)cpu;
	assert_string_equal(buddy_ops.explain(rig->a, &req, pfn), cause);
}

static void causes_name_where_the_block_was(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	for (pfn_t pfn = 0; pfn < 16; pfn++)
		place(&rig, 0, pfn, 0);
	for (pfn_t pfn = 0; pfn < 12; pfn++)
		give_back(&rig, 0, pfn, 0);
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 4, "up to 7 deep in the right list");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 3, "deeper in the right list");
	expect_cause(&rig, 1, 0, MIGRATE_MOVABLE, 3, "on another cpu's list");
	expect_cause(&rig, 0, 0, MIGRATE_UNMOVABLE, 3, "on the list of another type");
	expect_cause(&rig, 0, 1, MIGRATE_MOVABLE, 2, "on the list of another order");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 13, "in use");
	expect_cause(&rig, 0, 0, MIGRATE_UNMOVABLE, 600, "free in a pageblock of another type");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 600, "free inside a larger block");
	expect_cause(&rig, 0, 10, MIGRATE_MOVABLE, 2048, "free but not first in its list");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, 2048, "free in a block of another order");
	expect_cause(&rig, 0, 0, MIGRATE_MOVABLE, PICTURE_FRAMES, "outside the zones");
	rig_close(&rig);
}

/* ---- anything at all ---- */

#define WILD_BORDER 4096
#define WILD_END    9000 /* no multiple of any block */

static struct kernel_fact random_fact(uint64_t *seed)
{
	uint64_t draw = rig_random(seed);
	/* Often where it has been before. */
	pfn_t pfn = draw % 4 ? rig_random(seed) % 700 + draw / 8 % 2 * WILD_BORDER
			     : rig_random(seed) % (WILD_END + 2000);
	unsigned int order = random_order(seed);
	struct kernel_fact fact = {
		.time_ns = draw,
		.gfp = (uint32_t)(rig_random(seed) & 0x1ffffff),
		.cpu = (uint16_t)(rig_random(seed) % 32 ? rig_random(seed) % 4 : 70),
		.kind = (uint8_t)(FACT_PLACED + rig_random(seed) % 5),
		.migratetype = (uint8_t)(draw / 16 % 16 ? draw / 256 % MIGRATE_MERGEABLE
							: draw / 256 % 256),
		.flags = (uint8_t)(draw >> 40),
	};

	if (draw / 16 % 64 == 1)
		order = (unsigned int)(draw >> 32) & 0xff;
	fact.order = (uint8_t)order;
	if (order <= MAX_ORDER && draw / 16 % 64 != 2)
		pfn = align_down(pfn, UINT64_C(1) << order);
	fact.pfn = draw / 16 % 64 == 3 ? draw : pfn;
	fact.arg = draw % 8 ? fallback_arg((unsigned int)(rig_random(seed) % NR_ORDERS),
					   (unsigned int)(rig_random(seed) % MIGRATE_MERGEABLE),
					   draw >> 50 & 1)
			    : rig_random(seed);
	return fact;
}

static void live_wild(const char *options, uint64_t told, uint64_t seed, unsigned int steps)
{
	struct rig rig;

	rig_open_with(&rig, two_zones(WILD_BORDER, WILD_END), options);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, told), 0);
	for (unsigned int step = 0; step < steps; step++) {
		const struct kernel_fact fact = random_fact(&seed);
		const struct alloc_request req = random_request(&rig, &seed);
		int rc;

		buddy_ops.predict(rig.a, &req);
		if (fact.order <= MAX_ORDER)
			assert_non_null(buddy_ops.explain(rig.a, &req, fact.pfn));
		rc = buddy_ops.observe(rig.a, &fact);
		assert_true(rc == 0 || rc == -EINVAL);
		if (buddy_ops.check(rig.a, &rig.err))
			fail_msg("%s, step %u: kind %u, cpu %u, pfn %llu, order %u, type %u, arg "
				 "%#llx: %s",
				 options, step, fact.kind, fact.cpu, (unsigned long long)fact.pfn,
				 fact.order, fact.migratetype, (unsigned long long)fact.arg,
				 rig.err.text);
	}
	rig_close(&rig);
}

static void no_facts_with_the_lists_told_break_an_invariant(void **state)
{
	(void)state;
	live_wild("kernel=6.18", ALL_FACTS, 101, 3000);
	live_wild("kernel=6.12", ALL_FACTS, 102, 1500);
	live_wild("kernel=6.1", ALL_FACTS, 103, 1500);
	live_wild("pcp=off", ALL_FACTS, 104, 1500);
}

static void no_facts_of_requests_alone_break_an_invariant(void **state)
{
	(void)state;
	live_wild("kernel=6.18", REQUESTS, 111, 3000);
	live_wild("kernel=6.12", REQUESTS, 112, 1500);
	live_wild("kernel=5.10", REQUESTS, 113, 1500);
	live_wild("pcp=off", REQUESTS, 114, 1500);
}

/* Frames on both sides of a zone's end are no block. */
static void a_block_that_leaves_its_zone_is_refused(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, PICTURE_FRAMES + 8), "kernel=6.18" ALONE);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, ALL_FACTS), 0);
	for (unsigned int kind = FACT_PLACED; kind <= FACT_FALLBACK; kind++)
		assert_int_equal(tell(&rig, kind, 0, PICTURE_FRAMES, 4, MIGRATE_MOVABLE, 0),
				 -EINVAL);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES + 8);
	rig_close(&rig);
}

static void facts_out_of_range_are_refused(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	for (unsigned int kind = FACT_PLACED; kind <= FACT_FALLBACK; kind++) {
		assert_int_equal(tell(&rig, kind, 2, 0, 0, MIGRATE_MOVABLE, 0), -EINVAL);
		assert_int_equal(tell(&rig, kind, 0, PICTURE_FRAMES, 0, MIGRATE_MOVABLE, 0),
				 -EINVAL);
		assert_int_equal(tell(&rig, kind, 0, PFN_NONE, 0, MIGRATE_MOVABLE, 0), -EINVAL);
		assert_int_equal(tell(&rig, kind, 0, 1, 1, MIGRATE_MOVABLE, 0), -EINVAL);
		assert_int_equal(tell(&rig, kind, 0, 0, MAX_ORDER + 1, MIGRATE_MOVABLE, 0),
				 -EINVAL);
	}
	assert_int_equal(tell(&rig, FACT_FALLBACK + 1, 0, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES);
	rig_close(&rig);
}

/* What has shown its type goes back to the lists of that type. */
static void a_pageblock_of_proven_type_survives_isolation(void **state)
{
	struct rig rig;
	uint64_t got;

	(void)state;
	open_following(&rig, ALL_FACTS);
	assert_int_equal(tell(&rig, FACT_REFILL, 0, 512, 4, MIGRATE_RECLAIMABLE, 0), 0);
	give_back(&rig, 0, 512, 4);
	assert_int_equal(buddy_ops.isolate(rig.a, 512, 9, &got), 0);
	rig_check(&rig);
	assert_int_equal(got, 512);
	assert_int_equal(buddy_ops.unisolate(rig.a, 512, 9), 0);
	rig_check(&rig);
	EXPECT_LIST(&rig, 0, 10, MIGRATE_RECLAIMABLE, 0);
	assert_int_equal(rig_stats(&rig, 0).free_frames, PICTURE_FRAMES);
	rig_close(&rig);
}

static void after_following_it_is_on_its_own_again(void **state)
{
	struct rig rig;

	(void)state;
	open_following(&rig, ALL_FACTS);
	place(&rig, 0, 0, 0);
	give_back(&rig, 0, 0, 0);
	assert_int_equal(tell(&rig, FACT_FOLLOW, 0, 0, 0, 0, 0), 0);
	assert_false(follow_active(rig.a));
	assert_int_equal(rig_alloc(&rig, 0, MIGRATE_MOVABLE).pfn, 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prediction_is_what_the_next_allocation_gets),
		cmocka_unit_test(a_prediction_minds_watermarks),
		cmocka_unit_test(a_prediction_knows_who_may_use_the_reserve),
		cmocka_unit_test(predicting_changes_no_list),
		cmocka_unit_test(from_requests_alone_an_equal_is_foreseen_in_every_choice),
		cmocka_unit_test(from_requests_alone_blocks_past_the_lists_are_foreseen_too),
		cmocka_unit_test(a_block_past_the_lists_leaves_their_sizes_alone),
		cmocka_unit_test(a_foreseen_claim_past_the_lists_changes_the_type),
		cmocka_unit_test(a_frame_handed_out_from_deeper_proves_those_above_gone),
		cmocka_unit_test(a_second_block_of_a_refill_proves_that_the_list_was_empty),
		cmocka_unit_test(a_single_block_fetched_and_handed_out_leaves_the_list_alone),
		cmocka_unit_test(a_refill_survives_that_its_list_is_robbed_meanwhile),
		cmocka_unit_test(a_drained_block_joins_the_free_list_of_the_told_type),
		cmocka_unit_test(what_a_drain_passes_over_is_not_on_the_list),
		cmocka_unit_test(a_free_within_a_refill_goes_past_the_lists),
		cmocka_unit_test(a_pageblock_that_shows_another_type_takes_its_free_blocks_along),
		cmocka_unit_test(a_free_block_of_two_pageblocks_changes_type_as_a_whole),
		cmocka_unit_test(a_fallback_proves_that_nothing_of_the_type_was_left),
		cmocka_unit_test(a_fallback_to_whole_pageblocks_changes_their_type),
		cmocka_unit_test(a_claim_changes_the_pageblock_and_takes_nothing_yet),
		cmocka_unit_test(a_pageblock_that_shows_its_neighbours_type_merges_with_it),
		cmocka_unit_test(a_list_begins_where_the_kernel_takes_from_if_that_is_near),
		cmocka_unit_test(a_list_goes_on_from_where_the_kernel_has_gone_twice),
		cmocka_unit_test(a_list_goes_on_backwards_where_the_kernel_does),
		cmocka_unit_test(a_head_passed_over_twice_goes_to_the_tail),
		cmocka_unit_test(a_small_block_passed_over_for_a_larger_one_is_gone),
		cmocka_unit_test(a_free_of_what_was_believed_free_is_repaired),
		cmocka_unit_test(
			a_refill_of_what_was_believed_in_use_is_contradictory_and_repaired),
		cmocka_unit_test(a_guessed_frame_that_was_another_goes_back),
		cmocka_unit_test(guesses_that_were_never_fetched_are_replaced),
		cmocka_unit_test(a_frame_of_another_cpus_list_shows_that_its_end_was_drained),
		cmocka_unit_test(a_frame_far_down_shows_that_the_list_was_drained_and_filled_anew),
		cmocka_unit_test(the_zone_the_kernel_turned_to_last_is_foreseen),
		cmocka_unit_test(a_zone_is_left_by_one_list_of_one_cpu),
		cmocka_unit_test(a_lower_zone_serves_as_it_last_did_whatever_we_think_of_its_mark),
		cmocka_unit_test(guesses_begin_where_the_kernel_goes_on_in_our_free_list),
		cmocka_unit_test(a_frame_elsewhere_that_nothing_follows_moves_no_guess),
		cmocka_unit_test(a_snapshot_corrects_and_keeps_the_order_where_it_agrees),
		cmocka_unit_test(causes_name_where_the_block_was),
		cmocka_unit_test(no_facts_with_the_lists_told_break_an_invariant),
		cmocka_unit_test(no_facts_of_requests_alone_break_an_invariant),
		cmocka_unit_test(a_block_that_leaves_its_zone_is_refused),
		cmocka_unit_test(facts_out_of_range_are_refused),
		cmocka_unit_test(a_pageblock_of_proven_type_survives_isolation),
		cmocka_unit_test(after_following_it_is_on_its_own_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
