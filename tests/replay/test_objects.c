/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bits.h"
#include "replay/objects.h"
#include "sim/gfp.h"

static struct objects *small(struct machine **m)
{
	struct objects *o;

	assert_int_equal(machine_from_memory(64 << 20, 2, m, NULL), 0);
	assert_int_equal(objects_create(*m, false, *m, &o, NULL), 0);
	return o;
}

static void a_plan_half_holds_every_field_at_its_extreme(void **unused)
{
	object_t o = object_make(OBJECT_GHOST, OBJECT_CLASSES_MAX - 1, MAX_ORDER, true);

	(void)unused;
	assert_int_equal(object_state(o), OBJECT_GHOST);
	assert_int_equal(object_class(o), OBJECT_CLASSES_MAX - 1);
	assert_int_equal(object_order(o), MAX_ORDER);
	assert_true(object_movable(o));
	assert_false(o & OBJECT_PART);
	assert_false(object_is_single(o));
	o = object_make(OBJECT_LIVE, 0, 0, false);
	assert_true(object_is_single(o));
	o |= OBJECT_PART;
	assert_false(object_is_single(o));
	assert_int_equal(object_state(o), OBJECT_LIVE);
	assert_int_equal(object_class(o), 0);
	assert_int_equal(object_order(o), 0);
	assert_false(object_movable(o));
}

static void splitting_leaves_aligned_parts_and_no_place_touched(void **unused)
{
	static const unsigned int order[16] = {2, 2, 2, 2, 1, 1, 0, 0, 3, 3, 3, 3, 3, 3, 3, 3};
	pfn_t heads[NR_ORDERS];
	struct machine *m;
	struct objects *o = small(&m);
	unsigned int n;

	(void)unused;
	objects_put(o, 64, 4, object_make(OBJECT_LIVE, 5, 4, true));
	objects_at(o, 64)->place = 1024;
	objects_at(o, 64)->born = 77;
	n = object_parts(70, 0, 4, heads);
	assert_int_equal(n, 5);
	objects_split(o, 70, 0, OBJECT_PART);
	for (pfn_t pfn = 64; pfn < 80; pfn++) {
		object_t plan = objects_at(o, pfn)->plan;

		assert_int_equal(object_order(plan), order[pfn - 64]);
		assert_int_equal(object_class(plan), 5);
		assert_int_equal(object_state(plan), OBJECT_LIVE);
		assert_true(plan & OBJECT_PART);
		assert_int_equal(objects_at(o, pfn)->place, pfn == 64 ? 1024 : 0);
	}
	for (unsigned int i = 0; i < n; i++) {
		assert_true(is_aligned(heads[i], UINT64_C(1) << order[heads[i] - 64]));
		assert_int_equal(objects_at(o, heads[i])->born, 77);
	}
	assert_int_equal(objects_at(o, 63)->plan, 0);
	assert_int_equal(objects_at(o, 80)->plan, 0);
	assert_int_equal(objects_next(o, 0), 64);
	objects_destroy(o);
	machine_destroy(m);
}

static void equal_requests_share_a_class_and_others_do_not(void **unused)
{
	struct machine *m;
	struct objects *o = small(&m);

	(void)unused;
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++) {
			const struct object_key key = {
				.gfp = GFP_KSWAPD_RECLAIM | (i & 7),
				.context = i / 2,
				.migratetype = (uint8_t)(i / 2 % 3),
				.page_cache = i & ALLOC_PAGE_CACHE,
				.origin = i & 1,
			};

			assert_int_equal(objects_classify(o, &key), i);
		}
	assert_int_equal(o->nr_classes, 20000);
	assert_int_equal(o->class[12345].req.context, 6172);
	assert_int_equal(o->class[12345].req.migratetype, 6172 % 3);
	assert_true(o->class[12345].origin);
	objects_destroy(o);
	machine_destroy(m);
}

static void the_next_object_is_found_across_what_was_never_entered(void **state)
{
	struct machine *m;
	struct objects *o;
	uint64_t at = 0;
	static const pfn_t heads[] = {3, 511, 512, 5000, 262136, 262143};

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(1) << 30, 1, &m, NULL), 0);
	assert_int_equal(objects_create(m, false, m, &o, NULL), 0);
	assert_int_equal(objects_next(o, 0), 262144);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		objects_put(o, heads[i], 0, object_make(OBJECT_LIVE, 0, 0, true));
	/* What is gone is not found, though it was entered. */
	objects_put(o, 9000, 0, object_make(OBJECT_LIVE, 0, 0, true));
	objects_clear(o, 9000, 1);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		at = objects_next(o, at);
		assert_int_equal(at++, heads[i]);
	}
	assert_int_equal(objects_next(o, at), 262144);
	objects_destroy(o);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_half_holds_every_field_at_its_extreme),
		cmocka_unit_test(splitting_leaves_aligned_parts_and_no_place_touched),
		cmocka_unit_test(equal_requests_share_a_class_and_others_do_not),
		cmocka_unit_test(the_next_object_is_found_across_what_was_never_entered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
