/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>

#include "allocators/llfree/magazine.h"
#include "tests/allocators/llfree/test_env.h"
#include "tests/effort.h"

/* One tree of four children; two classes that may have magazines, one that may not; two cpus. */
#define CHILDREN 4U
#define FRAMES	 (CHILDREN * BITFIELD_FRAMES)
#define ROWS	 (CHILDREN * BITFIELD_ROWS)
#define CPUS	 2U

static const struct policy policy = {
	.name = "three",
	.nr_classes = 3,
	.classes = {{"a", SLOTS_CPUS}, {"contexts", SLOTS_CONTEXT}, {"b", SLOTS_ONE}},
};

struct fixture {
	alignas(64) _Atomic uint64_t rows[2 * ROWS];
	child_t children[CHILDREN];
	struct magazine list[3 * CPUS];
	struct test_env env;
	struct withheld withheld;
	struct lower lower;
	struct magazines ms;
	uint64_t credited[ROWS];
	_Atomic uint32_t owner[FRAMES], running;
};

static int setup(void **state)
{
	struct fixture *f = test_env_piece(sizeof(*f), alignof(struct fixture));

	test_env_init(&f->env, NULL, NULL);
	assert_int_equal(withheld_create(&f->withheld, &f->env.env, PERSIST_EADR), 0);
	f->lower = (struct lower){
		.rows = f->rows,
		.children = f->children,
		.nr_children = CHILDREN,
		.tree_children = CHILDREN,
		.row_shift = 1,
		.span = {0, FRAMES},
		.withheld = &f->withheld,
	};
	lower_reset(&f->lower);
	lower_set_free(&f->lower, 0, FRAMES);
	magazines_init(&f->ms, f->list, &policy, CPUS);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	test_env_release(&f->env);
	free(f);
	return 0;
}

static void check(struct fixture *f)
{
	struct error err = {0};

	if (lower_check(&f->lower, &err) < 0)
		fail_msg("%s", err.text);
}

static struct magazine *magazine(struct fixture *f, unsigned int class, unsigned int cpu)
{
	struct magazine *m = magazine_of(&f->ms, class, cpu, 0);

	assert_non_null(m);
	return m;
}

/* Up to @max frames of the row. Return: how many. */
static unsigned int fill(struct fixture *f, struct magazine *m, uint64_t row, unsigned int max)
{
	uint64_t held = lower_hold(&f->lower, row, max);

	if (held)
		magazine_hold(&f->ms, m, row);
	return (unsigned int)__builtin_popcountll(held);
}

static uint64_t get(struct fixture *f, struct magazine *m)
{
	return magazine_get(&f->ms, m, &f->lower);
}

static int put(struct fixture *f, struct magazine *m, uint64_t frame)
{
	return magazine_put(&f->ms, m, &f->lower, frame);
}

static void credit(void *arg, uint64_t row, unsigned int frames)
{
	struct fixture *f = arg;

	assert_true(row < ROWS);
	f->credited[row] += frames;
}

static uint64_t raid(struct fixture *f)
{
	return magazines_raid(&f->ms, &f->lower, credit, f);
}

static void each_cpu_and_class_has_one_for_single_frames_but_contexts_are_kept_apart(void **state)
{
	struct fixture *f = *state;
	struct magazines none;

	for (unsigned int cpu = 0; cpu < CPUS; cpu++) {
		assert_ptr_equal(magazine_of(&f->ms, 0, cpu, 0), &f->list[cpu]);
		assert_null(magazine_of(&f->ms, 1, cpu, 0));
		assert_ptr_equal(magazine_of(&f->ms, 2, cpu, 0), &f->list[2 * CPUS + cpu]);
		for (unsigned int order = 1; order <= 10; order++)
			assert_null(magazine_of(&f->ms, 0, cpu, order));
	}
	magazines_init(&none, NULL, &policy, CPUS);
	assert_null(magazine_of(&none, 0, 0, 0));
	assert_false(magazines_hold_any(&none));
	assert_int_equal(magazines_raid(&none, &f->lower, credit, f), 0);
	assert_int_equal(sizeof(struct magazine), 64);
}

static void an_empty_one_gives_and_takes_nothing(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0);

	assert_int_equal(magazine_row(m), LOWER_NONE);
	assert_int_equal(get(f, m), LOWER_NONE);
	assert_int_equal(put(f, m, 0), -EAGAIN);
	assert_false(magazines_hold_any(&f->ms));
	assert_int_equal(raid(f), 0);
	check(f);
}

static void all_frames_of_a_row_are_handed_out_once_and_the_last_lets_go(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0);
	bool split;

	assert_int_equal(lower_get_at(&f->lower, 3 * ROW_FRAMES + 5, 0), 0);
	assert_int_equal(fill(f, m, 3, 64), 63);
	assert_int_equal(magazine_row(m), 3);
	for (unsigned int i = 0; i < ROW_FRAMES; i++) {
		if (i == 5)
			continue;
		assert_true(magazines_hold_any(&f->ms));
		assert_int_equal(get(f, m), 3 * ROW_FRAMES + i);
		check(f);
	}
	assert_int_equal(magazine_row(m), LOWER_NONE);
	assert_false(magazines_hold_any(&f->ms));
	assert_int_equal(get(f, m), LOWER_NONE);
	assert_int_equal(bitfield_held(lower_bits(&f->lower, 0)), 0);
	assert_int_equal(child_load(&f->children[0]), BITFIELD_FRAMES - ROW_FRAMES);
	/* They are frames like any others now, for everyone else. */
	for (unsigned int i = 0; i < ROW_FRAMES; i++) {
		assert_int_equal(put(f, magazine(f, 0, 1), 3 * ROW_FRAMES + i), -EAGAIN);
		assert_int_equal(lower_put(&f->lower, 3 * ROW_FRAMES + i, 0, &split), 0);
	}
	assert_int_equal(child_load(&f->children[0]), BITFIELD_FRAMES);
	check(f);
}

static void a_row_let_go_is_taken_up_again_by_a_free(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0), *other = magazine(f, 0, 1);
	bool split;

	assert_int_equal(fill(f, m, 0, 2), 2);
	get(f, m);
	get(f, m);
	assert_int_equal(magazine_row(m), LOWER_NONE);
	assert_int_equal(put(f, m, 1), 0);
	check(f);
	assert_int_equal(magazine_row(m), 0);
	/* The row is held again: the next free is one into it, and a second one is refused. */
	assert_int_equal(put(f, m, 0), 0);
	assert_int_equal(put(f, m, 0), -EINVAL);
	assert_int_equal(get(f, m), 0);
	assert_int_equal(get(f, m), 1);
	check(f);
	/* Not for a frame that is free, not while another holds it, not after a raid. */
	assert_int_equal(put(f, m, 7), -EAGAIN);
	assert_int_equal(fill(f, other, 0, 3), 3);
	assert_int_equal(put(f, m, 0), -EAGAIN);
	assert_int_equal(lower_put(&f->lower, 0, 0, &split), 0);
	for (unsigned int i = 0; i < 3; i++)
		get(f, other);
	assert_int_equal(put(f, m, 1), 0);
	assert_int_equal(put(f, other, 3), -EAGAIN);
	assert_int_equal(get(f, m), 1);
	raid(f);
	assert_int_equal(put(f, m, 1), -EAGAIN);
	check(f);
}

static void frames_come_back_to_the_row_that_is_held_and_only_there(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0), *other = magazine(f, 0, 1);
	uint64_t frame;

	assert_int_equal(lower_get_at(&f->lower, 10, 0), 0);
	assert_int_equal(lower_get_at(&f->lower, 64, 0), 0);
	assert_int_equal(fill(f, m, 0, 8), 8);
	frame = get(f, m);
	/* A frame that came from it, and one that others had. */
	assert_int_equal(put(f, m, frame), 0);
	assert_int_equal(put(f, m, 10), 0);
	assert_int_equal(put(f, m, 64), -EAGAIN);
	assert_int_equal(put(f, other, 10), -EAGAIN);
	check(f);
	assert_int_equal(bitfield_held(lower_bits(&f->lower, 0)), 9);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(get(f, m), i);
	assert_int_equal(get(f, m), 10);
	assert_int_equal(get(f, m), LOWER_NONE);
	check(f);
}

static void what_is_free_already_is_refused(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0);
	bool split;

	assert_int_equal(fill(f, m, 0, 8), 8);
	for (unsigned int i = 0; i < 64; i++) {
		/* In the magazine, or free in the row. */
		assert_int_equal(put(f, m, i), -EINVAL);
		assert_int_equal(lower_put(&f->lower, i, 0, &split), -EINVAL);
	}
	assert_int_equal(bitfield_held(lower_bits(&f->lower, 0)), 8);
	assert_int_equal(get(f, m), 0);
	assert_int_equal(put(f, m, 0), 0);
	assert_int_equal(put(f, m, 0), -EINVAL);
	/* Freed by another cpu. */
	assert_int_equal(get(f, m), 0);
	assert_int_equal(lower_put(&f->lower, 0, 0, &split), 0);
	assert_int_equal(put(f, m, 0), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 0, &split), -EINVAL);
	check(f);
}

static void withheld_frames_are_refused(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0);
	struct withheld_edit edit;

	for (uint64_t frame = 0; frame < 4; frame++)
		assert_int_equal(lower_get_at(&f->lower, frame, 0), 0);
	assert_int_equal(withheld_begin(&edit, &f->withheld, false), 0);
	assert_int_equal(withheld_change(&edit, (struct pfn_range){1, 3}, WITHHELD_ISOLATED), 0);
	withheld_commit(&edit);
	lower_set_partial(&f->lower, 0, FRAMES);
	check(f);
	assert_int_equal(fill(f, m, 0, 1), 1);
	assert_int_equal(put(f, m, 1), -EINVAL);
	assert_int_equal(put(f, m, 2), -EINVAL);
	assert_int_equal(put(f, m, 0), 0);
	assert_int_equal(put(f, m, 3), 0);
	check(f);
	assert_int_equal(raid(f), 3);
	check(f);
}

static void a_row_that_one_holds_is_not_stolen_by_another(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 0, 0), *other = magazine(f, 2, 1);
	uint64_t frame;
	bool split;

	assert_int_equal(fill(f, m, 7, 2), 2);
	assert_int_equal(fill(f, other, 7, 64), 0);
	assert_int_equal(magazine_row(other), LOWER_NONE);
	check(f);
	/* Not even what others have freed in it; that is for ordinary allocations. */
	frame = get(f, m);
	assert_int_equal(lower_put(&f->lower, frame, 0, &split), 0);
	assert_int_equal(fill(f, other, 7, 64), 0);
	assert_int_equal(lower_get_at(&f->lower, frame, 0), 0);
	check(f);
	/* Until it is let go. */
	assert_int_equal(get(f, m), frame + 1);
	assert_int_equal(fill(f, other, 7, 64), 62);
	assert_int_equal(put(f, m, frame), -EAGAIN);
	assert_int_equal(put(f, other, frame), 0);
	check(f);
}

static void a_raid_returns_everything_and_says_where(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2 * CPUS; i++)
		assert_int_equal(fill(f, magazine(f, i / CPUS * 2, i % CPUS), 9 * i, 10 + i),
				 10 + i);
	assert_int_equal(get(f, magazine(f, 0, 0)), 0);
	assert_int_equal(raid(f), 9 + 11 + 12 + 13);
	for (uint64_t row = 0; row < ROWS; row++)
		assert_int_equal(f->credited[row], row == 0 ? 9 : row % 9 == 0 ? 10 + row / 9 : 0);
	assert_false(magazines_hold_any(&f->ms));
	assert_int_equal(lower_tree_free(&f->lower, 0), FRAMES - 1);
	for (unsigned int i = 0; i < 2 * CPUS; i++)
		assert_int_equal(get(f, magazine(f, i / CPUS * 2, i % CPUS)), LOWER_NONE);
	check(f);
	assert_int_equal(raid(f), 0);
}

static void forgetting_leaves_the_masks_to_recovery(void **state)
{
	struct fixture *f = *state;
	struct magazine *m = magazine(f, 2, 0);

	assert_int_equal(fill(f, m, 1, 20), 20);
	assert_int_equal(get(f, m), 64);
	magazines_forget(&f->ms);
	assert_false(magazines_hold_any(&f->ms));
	assert_int_equal(bitfield_held(lower_bits(&f->lower, 0)), 19);
	lower_recover(&f->lower);
	check(f);
	assert_int_equal(bitfield_held(lower_bits(&f->lower, 0)), 0);
	assert_int_equal(lower_tree_free(&f->lower, 0), FRAMES - 1);
}

/* ---- with threads ---- */

#define ROUNDS (30000U * test_effort())

struct owner {
	struct fixture *f;
	struct magazine *m;
	uint32_t id;
	uint64_t frames[128], seed;
	unsigned int nr;
	bool failed; /* a frame was given to two, or refused */
};

static void owner_get(struct owner *o)
{
	struct fixture *f = o->f;
	uint64_t frame = get(f, o->m);
	uint32_t nobody = 0;

	if (frame == LOWER_NONE) {
		/* The two contend for the first rows. */
		fill(f, o->m, test_random(&o->seed) % 4, 64);
		return;
	}
	o->failed |= !atomic_compare_exchange_strong(&f->owner[frame], &nobody, o->id);
	o->frames[o->nr++] = frame;
}

static void owner_put(struct owner *o)
{
	struct fixture *f = o->f;
	unsigned int i = (unsigned int)(test_random(&o->seed) % o->nr);
	uint64_t frame = o->frames[i];
	bool split;
	int ret;

	o->frames[i] = o->frames[--o->nr];
	o->failed |= atomic_exchange(&f->owner[frame], 0) != o->id;
	ret = put(f, o->m, frame);
	if (ret == -EAGAIN)
		ret = lower_put(&f->lower, frame, 0, &split);
	o->failed |= ret != 0;
}

static void *own(void *arg)
{
	struct owner *o = arg;

	for (unsigned int i = 0; i < ROUNDS && !o->failed; i++) {
		bool full = o->nr == ARRAY_SIZE(o->frames);

		if (o->nr && (full || test_random(&o->seed) % 2))
			owner_put(o);
		else
			owner_get(o);
	}
	atomic_fetch_sub(&o->f->running, 1);
	return NULL;
}

static void run_raid(struct fixture *f, bool fences)
{
	struct owner owners[CPUS];
	pthread_t threads[CPUS];
	uint64_t owned = 0;

	f->ms.fences |= fences;
	atomic_store(&f->running, CPUS);
	for (unsigned int i = 0; i < CPUS; i++) {
		owners[i] =
			(struct owner){.f = f, .m = magazine(f, 0, i), .id = i + 1, .seed = i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, own, &owners[i]), 0);
	}
	while (atomic_load(&f->running))
		raid(f);
	for (unsigned int i = 0; i < CPUS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(owners[i].failed);
		owned += owners[i].nr;
	}
	check(f);
	raid(f);
	check(f);
	assert_int_equal(lower_tree_free(&f->lower, 0), FRAMES - owned);
	for (uint64_t frame = 0; frame < FRAMES; frame++)
		assert_int_equal(lower_is_free(&f->lower, frame, frame + 1),
				 atomic_load(&f->owner[frame]) == 0);
}

static void raids_and_owners_lose_no_frame_and_give_none_twice(void **state)
{
	run_raid(*state, false);
}

static void so_do_they_where_owners_have_to_fence(void **state)
{
	run_raid(*state, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_cpu_and_class_has_one_for_single_frames_but_contexts_are_kept_apart),
		TEST(an_empty_one_gives_and_takes_nothing),
		TEST(all_frames_of_a_row_are_handed_out_once_and_the_last_lets_go),
		TEST(a_row_let_go_is_taken_up_again_by_a_free),
		TEST(frames_come_back_to_the_row_that_is_held_and_only_there),
		TEST(what_is_free_already_is_refused),
		TEST(withheld_frames_are_refused),
		TEST(a_row_that_one_holds_is_not_stolen_by_another),
		TEST(a_raid_returns_everything_and_says_where),
		TEST(forgetting_leaves_the_masks_to_recovery),
		TEST(raids_and_owners_lose_no_frame_and_give_none_twice),
		TEST(so_do_they_where_owners_have_to_fence),
	};

	return cmocka_run_group_tests_name("llfree_magazine", tests, NULL, NULL);
}
