/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replay/objects.h"
#include "sim/gfp.h"

static struct objects *small(struct machine **m)
{
	struct objects *o;

	assert_int_equal(machine_from_memory(64 << 20, 2, m, NULL), 0);
	assert_int_equal(objects_create(*m, false, &o, NULL), 0);
	return o;
}

static void a_word_holds_every_field_at_its_extreme(void **unused)
{
	object_t o = object_make(OBJECT_GHOST, UINT32_MAX, OBJECT_CLASSES_MAX - 1, MAX_ORDER, true);

	(void)unused;
	assert_int_equal(object_state(o), OBJECT_GHOST);
	assert_int_equal(object_place(o), UINT32_MAX);
	assert_int_equal(object_class(o), OBJECT_CLASSES_MAX - 1);
	assert_int_equal(object_order(o), MAX_ORDER);
	assert_true(object_movable(o));
	assert_false(o & (OBJECT_PART | OBJECT_STRAY));
	o = object_make(OBJECT_LIVE, 0, 0, 0, false) | OBJECT_PART | OBJECT_STRAY;
	assert_int_equal(object_state(o), OBJECT_LIVE);
	assert_int_equal(object_place(o), 0);
	assert_int_equal(object_class(o), 0);
	assert_int_equal(object_order(o), 0);
	assert_false(object_movable(o));
}

static void splitting_leaves_aligned_parts_in_place(void **unused)
{
	struct machine *m;
	struct objects *o = small(&m);

	(void)unused;
	objects_put(o, 64, 4, object_make(OBJECT_LIVE, 1024, 5, 4, true));
	objects_split(o, 70, 0, 0);
	for (pfn_t pfn = 64; pfn < 80; pfn++) {
		static const unsigned int order[16] = {2, 2, 2, 2, 1, 1, 0, 0,
						       3, 3, 3, 3, 3, 3, 3, 3};
		object_t w = *objects_at(o, pfn);

		assert_int_equal(object_order(w), order[pfn - 64]);
		assert_int_equal(object_place(w), 1024 + pfn - 64);
		assert_int_equal(object_class(w), 5);
		assert_int_equal(object_state(w), OBJECT_LIVE);
	}
	assert_int_equal(*objects_at(o, 63), 0);
	assert_int_equal(*objects_at(o, 80), 0);
	objects_destroy(o);
	machine_destroy(m);
}

static void equal_requests_share_a_class_and_others_do_not(void **unused)
{
	struct machine *m;
	struct objects *o = small(&m);

	(void)unused;
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++)
			assert_int_equal(objects_classify(o, GFP_KSWAPD_RECLAIM | (i & 7), i, i % 3,
							  i & ALLOC_PAGE_CACHE),
					 i);
	assert_int_equal(o->nr_classes, 20000);
	assert_int_equal(o->class[12345].req.context, 12345);
	assert_int_equal(o->class[12345].req.migratetype, 12345 % 3);
	objects_destroy(o);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_holds_every_field_at_its_extreme),
		cmocka_unit_test(splitting_leaves_aligned_parts_in_place),
		cmocka_unit_test(equal_requests_share_a_class_and_others_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
