/* SPDX-License-Identifier: MIT */
/* Start lists in another order: drawn from a seed, with the same blocks on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"

#define LISTED_MAX 4096

/* All free lists, one after the other, and all per-CPU lists. */
struct lists {
	pfn_t pfn[LISTED_MAX];
	size_t n;
};

static struct lists read_lists(const struct rig *rig)
{
	const struct buddy_zone *z = &rig->a->zones[0];
	struct lists lists = {.n = 0};

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int order = 0; order < NR_ORDERS; order++) {
			uint32_t end = zone_sentinel(z, order, mt);

			for (uint32_t f = zone_first(z, order, mt); f != end;
			     f = zone_link(z, f)->next) {
				assert_true(lists.n < LISTED_MAX);
				lists.pfn[lists.n++] = z->base + f;
			}
		}
	}
	for (unsigned int cpu = 0; z->pcp && cpu < rig->m->nr_cpus; cpu++) {
		const struct pcp *set = rig_pcp(rig, 0, cpu);

		for (unsigned int list = 0; list < PCP_LISTS; list++) {
			struct frame_deque_cursor c = frame_deque_begin(&set->list[list]);
			const uint32_t *slot;

			while ((slot = frame_deque_next(&set->list[list], &c)))
				lists.pfn[lists.n++] = z->base + *slot;
		}
	}
	return lists;
}

static int by_pfn(const void *a, const void *b)
{
	pfn_t left = *(const pfn_t *)a, right = *(const pfn_t *)b;

	return (left > right) - (left < right);
}

static void sort(struct lists *lists)
{
	qsort(lists->pfn, lists->n, sizeof(lists->pfn[0]), by_pfn);
}

static bool same(const struct lists *a, const struct lists *b)
{
	return a->n == b->n && memcmp(a->pfn, b->pfn, a->n * sizeof(a->pfn[0])) == 0;
}

/* Memory with holes, so that there are many blocks of many orders; some of it is parked. */
static struct lists adopted(const char *options, uint64_t seed)
{
	struct pcp_state pcp[] = {{.count = 100}, {.count = 50}};
	const struct zone_counts zone = {.managed = PICTURE_FRAMES, .pcp = pcp};
	struct lists lists;
	uint64_t random = 1;
	struct picture p;

	picture_open(&p, options);
	picture_paint(&p, 0, PICTURE_FRAMES, FRAME_MOVABLE);
	for (unsigned int i = 0; i < 300; i++) {
		size_t n = rig_below(&random, 24);

		picture_paint(&p, rig_below(&random, PICTURE_FRAMES - n), n, FRAME_FREE);
		picture_paint(&p, rig_below(&random, PICTURE_FRAMES), 1, FRAME_PARKED);
	}
	p.rig.env.list_seed = seed;
	assert_int_equal(rig_adopt(&p.rig, p.cells, p.types, &zone), 0);
	rig_check(&p.rig);
	lists = read_lists(&p.rig);
	/* and it is of use */
	for (unsigned int i = 0; i < 500; i++)
		rig_alloc_on(&p.rig, i % 2, i % 3, MIGRATE_MOVABLE);
	rig_check(&p.rig);
	rig_close(&p.rig);
	return lists;
}

static void a_seed_draws_the_order_after_a_snapshot(void **state)
{
	static const char *const options[] = {"kernel=6.18", "kernel=5.10", RIG_PURE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct lists usual = adopted(options[i], 0), again = adopted(options[i], 0);
		struct lists one = adopted(options[i], 1), two = adopted(options[i], 2);
		struct lists repeated = adopted(options[i], 1);

		assert_true(usual.n > 100);
		assert_true(same(&usual, &again));
		assert_true(same(&one, &repeated));
		assert_false(same(&one, &usual));
		assert_false(same(&one, &two));
		/* nothing but order */
		sort(&usual);
		sort(&one);
		sort(&two);
		assert_true(same(&one, &usual));
		assert_true(same(&one, &two));
	}
}

static struct lists created(uint64_t seed)
{
	struct lists lists;
	struct rig rig;

	rig_open(&rig, rig_one_zone(1000, 65536));
	rig.env.list_seed = seed;
	assert_int_equal(buddy_ops.create(&rig.env, &rig.a), 0);
	rig_check(&rig);
	lists = read_lists(&rig);
	rig_close(&rig);
	return lists;
}

static void a_seed_draws_the_order_of_a_fresh_instance(void **state)
{
	struct lists usual = created(0), one = created(1), two = created(2), repeated = created(1);

	(void)state;
	assert_true(usual.n > 60);
	assert_true(same(&one, &repeated));
	assert_false(same(&one, &usual));
	assert_false(same(&one, &two));
	sort(&usual);
	sort(&one);
	assert_true(same(&one, &usual));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_draws_the_order_after_a_snapshot),
		cmocka_unit_test(a_seed_draws_the_order_of_a_fresh_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
