/* SPDX-License-Identifier: MIT */
/*
 * Placement must be exactly that of the obvious algorithm: a linear scan over one byte per frame.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/bitmap.h"
#include "allocators/registry.h"
#include "base/bits.h"

extern const struct allocator_ops firstfit_ops, nextfit_ops;

/* ---- bitmap ---- */

static uint64_t slow_find(const uint8_t *bits, uint64_t n, uint64_t from)
{
	for (; from < n; from++) {
		if (!bits[from])
			return from;
	}
	return BITMAP_NONE;
}

static void bitmap_agrees_with_an_array_of_bytes(void **state)
{
	const uint64_t sizes[] = {1, 63, 64, 65, 4096, 4097, 70000, 300000};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint64_t n = sizes[s];
		uint8_t *slow = calloc(1, n);
		void *memory = calloc(1, bitmap_bytes(n));
		unsigned int seed = (unsigned int)s + 1;
		struct bitmap b;

		bitmap_init(&b, n, memory);
		for (int step = 0; step < 3000; step++) {
			unsigned int order = (unsigned int)rand_r(&seed) % 18;
			uint64_t i = align_down((uint64_t)rand_r(&seed) % n, UINT64_C(1) << order);
			uint64_t length = UINT64_C(1) << order;
			bool ones = rand_r(&seed) % 4 != 0;

			if (i + length > n)
				continue;
			(ones ? bitmap_set : bitmap_clear)(&b, i, order);
			memset(&slow[i], ones, length);
			assert_true(ones ? bitmap_all_ones(&b, i, order)
					 : bitmap_all_zeros(&b, i, order));
			assert_int_equal(bitmap_check(&b), BITMAP_NONE);
			i = (uint64_t)rand_r(&seed) % (n + 70);
			if (bitmap_find_zero(&b, i) != slow_find(slow, n, i))
				fail_msg("size %lu, step %d: search from %lu", n, step, i);
		}
		for (uint64_t i = 0, zeros = 0; i < n; i += 97) {
			assert_int_equal(bitmap_test(&b, i), slow[i]);
			for (uint64_t k = zeros = 0; k < i; k++)
				zeros += !slow[k];
			if (n <= 4097)
				assert_int_equal(bitmap_count_zeros(&b, 0, i), zeros);
		}
		free(memory);
		free(slow);
	}
}

static void a_damaged_summary_is_found(void **state)
{
	void *memory = calloc(1, bitmap_bytes(10000));
	struct bitmap b;

	(void)state;
	bitmap_init(&b, 10000, memory);
	bitmap_set(&b, 640, 6);
	b.level[1][0] ^= 1 << 10;
	assert_int_equal(bitmap_check(&b), 640);
	b.level[1][0] ^= 1 << 10;
	assert_int_equal(bitmap_check(&b), BITMAP_NONE);
	b.level[0][3] = ~UINT64_C(0);
	assert_int_equal(bitmap_check(&b), 192);
	free(memory);
}

/* ---- the model ---- */

#define END 12288

struct model {
	const struct machine *m;
	uint8_t taken[END]; /* 1: allocated, 2: absent, 3: isolated */
	pfn_t cursor;
	bool next_fit;
};

static bool model_fits(const struct model *model, pfn_t pfn, unsigned int order)
{
	int zone = machine_zone_of(model->m, pfn);

	for (pfn_t p = pfn; p < pfn + (UINT64_C(1) << order); p++) {
		if (p >= END || model->taken[p] || machine_zone_of(model->m, p) != zone)
			return false;
	}
	return true;
}

static pfn_t model_alloc(struct model *model, unsigned int order)
{
	uint64_t frames = UINT64_C(1) << order;
	pfn_t start = model->next_fit ? align_up(model->cursor, frames) : 0;

	for (int round = 0; round < 2; round++, start = 0) {
		for (pfn_t pfn = start; pfn + frames <= END; pfn += frames) {
			if (!model_fits(model, pfn, order))
				continue;
			memset(&model->taken[pfn], 1, frames);
			model->cursor = pfn + frames;
			return pfn;
		}
	}
	return PFN_NONE;
}

/* Starts neither at 0 nor aligned; a zone border at an odd pfn; all kinds of absence. */
static struct machine *odd_machine(void)
{
	const struct zone zones[] = {
		{.start = 1100, .end = 3001, .type = ZONE_DMA},
		{.start = 3001, .end = 6144, .type = ZONE_DMA32},
		{.start = 7168, .end = END, .type = ZONE_NORMAL},
	};
	struct machine *m;

	assert_int_equal(machine_create(2, 1, &m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){2000, 2017}, ABSENT_HOLE, NULL),
			 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){5000, 5555}, ABSENT_RESERVED, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){11000, 12000}, ABSENT_OFFLINE, NULL), 0);
	return m;
}

static int model_zone(void *arg, unsigned int zone, struct pfn_range range)
{
	struct model *model = arg;

	(void)zone;
	memset(&model->taken[range.start], 0, range.end - range.start);
	return 0;
}

static struct allocator_instance *start(const struct allocator_ops *ops, const struct machine *m,
					struct model *model)
{
	struct allocator_spec spec = {.ops = ops};
	struct allocator_instance *instance;

	memset(model, 0, sizeof(*model));
	memset(model->taken, 2, END);
	model->m = m;
	model->next_fit = ops == &nextfit_ops;
	machine_each_managed(m, model_zone, model);
	assert_int_equal(allocator_instance_create(&spec, m, NULL, &instance, NULL), 0);
	return instance;
}

static struct alloc_request request(unsigned int order)
{
	return (struct alloc_request){.order = (uint8_t)order, .hint_pfn = PFN_NONE};
}

/* One random operation on both. */
static void step(struct allocator_instance *instance, struct model *model, unsigned int *seed)
{
	const struct allocator_ops *ops = instance->ops;
	unsigned int order = (unsigned int)rand_r(seed) % (rand_r(seed) % 8 ? 5 : NR_ORDERS);
	struct alloc_request req = request(order);
	uint64_t frames = UINT64_C(1) << order, taken = 0, got, isolated = 0;
	pfn_t pfn = align_down((pfn_t)rand_r(seed) % END, frames);
	int what = rand_r(seed) % 16, rc;

	if (what < 8) {
		pfn = ops->predict(instance->a, &req).pfn;
		assert_int_equal(ops->alloc(instance->a, &req).pfn, pfn);
		assert_int_equal(pfn, model_alloc(model, order));
		return;
	}
	for (pfn_t p = pfn; p < pfn + frames; p++)
		taken += model->taken[p] == 1;
	if (what < 13) {
		bool whole = taken == frames && machine_zone_of(model->m, pfn) ==
							machine_zone_of(model->m, pfn + frames - 1);

		rc = ops->free(instance->a, pfn, &req);
		assert_int_equal(rc, whole ? 0 : -EINVAL);
		if (whole)
			memset(&model->taken[pfn], 0, frames);
	} else if (what < 15) {
		rc = ops->alloc_at(instance->a, pfn, &req);
		assert_int_equal(rc == 0, model_fits(model, pfn, order));
		if (rc == 0)
			memset(&model->taken[pfn], 1, frames);
	} else if (pfn >= 1024 && rand_r(seed) % 2) {
		for (pfn_t p = pfn; p < pfn + frames; p++) {
			isolated += model->taken[p] == 0;
			model->taken[p] = model->taken[p] ? model->taken[p] : 3;
		}
		assert_int_equal(ops->isolate(instance->a, pfn, order, &got), 0);
		assert_int_equal(got, isolated);
	} else if (pfn >= 1024) {
		for (pfn_t p = pfn; p < pfn + frames; p++)
			model->taken[p] = model->taken[p] == 3 ? 0 : model->taken[p];
		assert_int_equal(ops->unisolate(instance->a, pfn, order), 0);
	}
}

static void compare_stats(struct allocator_instance *instance, const struct model *model)
{
	struct allocator_stats stats;
	uint64_t blocks[NR_ORDERS], all = 0;
	uint16_t occupancy[END / HUGE_FRAMES + 3];

	for (unsigned int zone = 0; zone <= model->m->nr_zones; zone++) {
		bool sum = zone == model->m->nr_zones;
		pfn_t pfn = sum ? 0 : model->m->zones[zone].start;
		pfn_t end = sum ? END : model->m->zones[zone].end;

		memset(blocks, 0, sizeof(blocks));
		while (pfn < end) {
			unsigned int order = 0;

			if (model_fits(model, pfn, 0)) {
				while (order < MAX_ORDER && is_aligned(pfn, UINT64_C(2) << order) &&
				       model_fits(model, pfn, order + 1))
					order++;
				blocks[order]++;
			}
			pfn += UINT64_C(1) << order;
		}
		assert_int_equal(
			instance->ops->stats(instance->a, sum ? ALLOCATOR_ALL_ZONES : zone, &stats),
			0);
		assert_memory_equal(blocks, stats.free_blocks[MIGRATE_MOVABLE], sizeof(blocks));
		all += sum ? 0 : stats.free_frames;
	}
	assert_int_equal(all, stats.free_frames);
	assert_int_equal(instance->ops->stats(instance->a, model->m->nr_zones, &stats), -EINVAL);
	instance->ops->occupancy(instance->a, 0, ARRAY_SIZE(occupancy), occupancy);
	for (size_t b = 0; b < ARRAY_SIZE(occupancy); b++) {
		uint64_t frames = 0;

		for (pfn_t p = b * HUGE_FRAMES; p < (b + 1) * HUGE_FRAMES && p < END; p++)
			frames += model->taken[p] == 0;
		assert_int_equal(occupancy[b], frames);
	}
}

static void run_against_model(const struct allocator_ops *ops)
{
	struct machine *m = odd_machine();
	struct model *model = malloc(sizeof(*model));

	for (unsigned int s = 1; s <= 6; s++) {
		struct allocator_instance *instance = start(ops, m, model);
		unsigned int seed = s;
		struct error err;

		print_message("# seed %u\n", s);
		compare_stats(instance, model);
		for (int i = 0; i < 4000; i++) {
			step(instance, model, &seed);
			if (i % 500 == 0) {
				if (ops->check(instance->a, &err))
					fail_msg("%s", err.text);
				compare_stats(instance, model);
			}
		}
		allocator_instance_destroy(instance);
	}
	free(model);
	machine_destroy(m);
}

static void firstfit_places_like_a_linear_scan(void **state)
{
	(void)state;
	run_against_model(&firstfit_ops);
}

static void nextfit_places_like_a_linear_scan_from_its_cursor(void **state)
{
	(void)state;
	run_against_model(&nextfit_ops);
}

/* ---- single properties ---- */

static void nextfit_counts_its_wraps(void **state)
{
	struct allocator_spec spec = {.ops = &nextfit_ops};
	struct allocator_instance *instance;
	struct alloc_request req = request(MAX_ORDER);
	struct allocator_stats stats;
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(4096) * 4096, 1, &m, NULL), 0);
	assert_int_equal(allocator_instance_create(&spec, m, NULL, &instance, NULL), 0);
	for (pfn_t i = 0; i < 3; i++)
		assert_int_equal(nextfit_ops.alloc(instance->a, &req).pfn, i * 1024);
	assert_int_equal(nextfit_ops.free(instance->a, 1024, &req), 0);
	assert_int_equal(nextfit_ops.alloc(instance->a, &req).pfn, 3072);
	assert_int_equal(nextfit_ops.alloc(instance->a, &req).pfn, 1024);
	assert_int_equal(nextfit_ops.alloc(instance->a, &req).pfn, PFN_NONE);
	assert_int_equal(nextfit_ops.stats(instance->a, 0, &stats), 0);
	assert_string_equal(stats.counters[0].name, "wraps");
	assert_int_equal(stats.counters[0].value, 1);
	allocator_instance_destroy(instance);
	machine_destroy(m);
}

static void online_and_offline_turn_what_they_can(void **state)
{
	struct machine *m = odd_machine();
	struct model *model = malloc(sizeof(*model));
	struct allocator_instance *instance = start(&firstfit_ops, m, model);
	struct alloc_request req = request(0);
	uint64_t got;
	struct error err;

	(void)state;
	/* managed already; in no zone; empty */
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){8000, 8001}), 0);
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){6144, 6145}), -EINVAL);
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){11000, 11000}),
			 -EINVAL);
	compare_stats(instance, model);
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){11001, 11999}), 0);
	memset(&model->taken[11001], 0, 998);
	compare_stats(instance, model);

	assert_int_equal(firstfit_ops.alloc_at(instance->a, 11500, &req), 0);
	model->taken[11500] = 1;
	assert_int_equal(firstfit_ops.offline(instance->a, (struct pfn_range){11400, 11600}),
			 -EBUSY);
	assert_int_equal(firstfit_ops.offline(instance->a, (struct pfn_range){11000, 11002}), 0);
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){11001, 11002}), 0);
	compare_stats(instance, model);
	/* isolated frames are managed: they neither leave nor come */
	assert_int_equal(firstfit_ops.isolate(instance->a, 11776, 6, &got), 0);
	assert_int_equal(got, 64);
	assert_int_equal(firstfit_ops.offline(instance->a, (struct pfn_range){11700, 11900}),
			 -EBUSY);
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){11700, 11900}), 0);
	assert_int_equal(firstfit_ops.alloc_at(instance->a, 11780, &req), -EBUSY);
	assert_int_equal(firstfit_ops.unisolate(instance->a, 11776, 6), 0);
	assert_int_equal(firstfit_ops.free(instance->a, 11500, &req), 0);
	model->taken[11500] = 0;
	/* a range across a zone border */
	assert_int_equal(firstfit_ops.offline(instance->a, (struct pfn_range){2900, 3100}), 0);
	memset(&model->taken[2900], 2, 200);
	compare_stats(instance, model);
	assert_int_equal(firstfit_ops.free(instance->a, 2900, &req), -EINVAL);
	assert_int_equal(firstfit_ops.alloc_at(instance->a, 2900, &req), -EINVAL);
	assert_int_equal(firstfit_ops.online(instance->a, (struct pfn_range){2900, 3100}), 0);
	memset(&model->taken[2900], 0, 200);
	compare_stats(instance, model);
	assert_int_equal(firstfit_ops.check(instance->a, &err), 0);
	allocator_instance_destroy(instance);
	machine_destroy(m);
	free(model);
}

static void a_terabyte_costs_only_what_it_touches(void **state)
{
	struct allocator_spec spec = {.ops = &firstfit_ops};
	struct allocator_instance *instance;
	struct allocator_stats stats;
	struct alloc_request req = request(0);
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(1) << 40, 1, &m, NULL), 0);
	assert_int_equal(allocator_instance_create(&spec, m, NULL, &instance, NULL), 0);
	/* less than 5 bits per frame */
	assert_true(instance->metadata_bytes < (UINT64_C(5) << 28) / 8);
	for (pfn_t i = 0; i < 1000; i++)
		assert_int_equal(firstfit_ops.alloc(instance->a, &req).pfn, i);
	assert_int_equal(firstfit_ops.alloc_at(instance->a, (UINT64_C(1) << 28) - 1, &req), 0);
	assert_int_equal(firstfit_ops.stats(instance->a, ALLOCATOR_ALL_ZONES, &stats), 0);
	assert_int_equal(stats.free_frames, (UINT64_C(1) << 28) - 1001);
	assert_int_equal(stats.free_blocks[MIGRATE_MOVABLE][MAX_ORDER], (1 << 18) - 2);
	allocator_instance_destroy(instance);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bitmap_agrees_with_an_array_of_bytes),
		cmocka_unit_test(a_damaged_summary_is_found),
		cmocka_unit_test(firstfit_places_like_a_linear_scan),
		cmocka_unit_test(nextfit_places_like_a_linear_scan_from_its_cursor),
		cmocka_unit_test(nextfit_counts_its_wraps),
		cmocka_unit_test(online_and_offline_turn_what_they_can),
		cmocka_unit_test(a_terabyte_costs_only_what_it_touches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
