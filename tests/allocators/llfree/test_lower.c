/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/lower.h"
#include "tests/allocators/llfree/test_env.h"

/* Two trees of four children, somewhere in a machine. */
#define CHILDREN 8U
#define FRAMES	 (CHILDREN * BITFIELD_FRAMES)
#define BASE	 UINT64_C(0x10000)

struct fixture {
	alignas(64) _Atomic uint64_t rows[2 * CHILDREN * BITFIELD_ROWS];
	child_t children[CHILDREN];
	struct test_env env;
	struct withheld withheld;
	struct lower lower;
};

static struct fixture *fixture_new(unsigned int row_shift)
{
	struct fixture *f = test_env_piece(sizeof(*f), alignof(struct fixture));

	test_env_init(&f->env, NULL, NULL);
	assert_int_equal(withheld_create(&f->withheld, &f->env.env, PERSIST_EADR), 0);
	f->lower = (struct lower){
		.rows = f->rows,
		.children = f->children,
		.nr_children = CHILDREN,
		.tree_children = 4,
		.row_shift = row_shift,
		.base = BASE,
		.span = {0, FRAMES},
		.withheld = &f->withheld,
	};
	lower_reset(&f->lower);
	lower_set_free(&f->lower, 0, FRAMES);
	return f;
}

static int setup(void **state)
{
	*state = fixture_new(0);
	return 0;
}

static int setup_rows(void **state)
{
	*state = fixture_new(1);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	test_env_release(&f->env);
	free(f);
	return 0;
}

/* Frames of the instance, from now on. */
static void withhold(struct fixture *f, uint64_t start, uint64_t end, enum withheld_why why)
{
	struct withheld_edit edit;

	assert_int_equal(withheld_begin(&edit, &f->withheld, false), 0);
	assert_int_equal(withheld_change(&edit, (struct pfn_range){BASE + start, BASE + end}, why),
			 0);
	withheld_commit(&edit);
}

static uint64_t get(struct fixture *f, uint64_t start, unsigned int order)
{
	return lower_get(&f->lower, start, order, lower_peek(&f->lower, start));
}

static void check(struct fixture *f)
{
	struct error err = {0};

	if (lower_check(&f->lower, &err) < 0)
		fail_msg("%s", err.text);
}

static void get_stays_in_its_tree_and_wraps_inside_it(void **state)
{
	struct fixture *f = *state;
	/* From the last child of the second tree. */
	uint64_t start = 7 * BITFIELD_ROWS;

	for (unsigned int i = 0; i < 4; i++) {
		uint64_t expected = (i == 0 ? 7 : 3 + i) * BITFIELD_FRAMES;

		for (unsigned int block = 0; block < 2; block++)
			assert_int_equal(get(f, start, 8), expected + block * 256);
	}
	for (unsigned int order = 0; order <= 10; order++)
		assert_int_equal(get(f, start, order), LOWER_NONE);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES);
	assert_int_equal(lower_tree_free(&f->lower, 1), 0);
	check(f);
}

static void get_gives_the_count_back_where_only_the_shape_is_wrong(void **state)
{
	struct fixture *f = *state;

	/* Every second frame of the first child, half a pair everywhere. */
	for (uint64_t frame = 0; frame < BITFIELD_FRAMES; frame += 2)
		assert_int_equal(lower_get_at(&f->lower, frame, 0), 0);
	assert_int_equal(get(f, 0, 1), BITFIELD_FRAMES);
	assert_int_equal(child_load(&f->children[0]), BITFIELD_FRAMES / 2);
	check(f);
}

static void huge_orders_leave_the_bits_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, BITFIELD_ROWS, 9), BITFIELD_FRAMES);
	assert_int_equal(get(f, BITFIELD_ROWS, 10), 2 * BITFIELD_FRAMES);
	assert_int_equal(bitfield_allocated(lower_bits(&f->lower, 1)), 0);
	assert_int_equal(get(f, 0, 10), LOWER_NONE);
	assert_int_equal(lower_get_at(&f->lower, 0, 10), -EBUSY);
	assert_int_equal(lower_get_at(&f->lower, 0, 9), 0);
	check(f);
}

static void freeing_a_part_splits_only_the_child_it_lies_in(void **state)
{
	struct fixture *f = *state;
	bool split;

	assert_int_equal(get(f, 0, 10), 0);
	assert_int_equal(lower_put(&f->lower, 64, 6, &split), 0);
	assert_true(split);
	assert_int_equal(child_load(&f->children[0]), 64);
	assert_int_equal(child_load(&f->children[1]), CHILD_HUGE);
	assert_int_equal(lower_put(&f->lower, 64, 6, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 9, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, BITFIELD_FRAMES, 9, &split), 0);
	assert_false(split);
	check(f);
	assert_int_equal(lower_put(&f->lower, 0, 6, &split), 0);
	assert_int_equal(lower_put(&f->lower, 128, 7, &split), 0);
	assert_int_equal(lower_put(&f->lower, 256, 8, &split), 0);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES);
	check(f);
}

static void huge_frees_take_frames_held_as_bits_too(void **state)
{
	struct fixture *f = *state;
	bool split;

	for (uint64_t frame = 0; frame < BITFIELD_FRAMES; frame++)
		assert_int_equal(lower_get_at(&f->lower, frame, 0), 0);
	assert_int_equal(lower_get_at(&f->lower, BITFIELD_FRAMES, 9), 0);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), 0);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), -EINVAL);
	check(f);
}

static void absent_frames_are_neither_given_nor_taken(void **state)
{
	struct fixture *f = *state;
	struct pfn_range hole = {100, 700};
	bool split;

	lower_reset(&f->lower);
	lower_set_free(&f->lower, 0, hole.start);
	lower_set_free(&f->lower, hole.end, FRAMES);
	withhold(f, hole.start, hole.end, WITHHELD_ABSENT);
	lower_set_partial(&f->lower, 0, FRAMES);
	check(f);
	for (uint64_t frame = hole.start; frame < hole.end; frame++) {
		assert_int_equal(lower_get_at(&f->lower, frame, 0), -EBUSY);
		assert_int_equal(lower_put(&f->lower, frame, 0, &split), -EINVAL);
	}
	assert_int_equal(lower_put(&f->lower, 0, 9, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 10, &split), -EINVAL);
	assert_int_equal(get(f, 0, 9), 2 * BITFIELD_FRAMES);
	assert_int_equal(lower_get_at(&f->lower, 99, 0), 0);
	assert_int_equal(lower_put(&f->lower, 99, 0, &split), 0);
	check(f);
}

static void check_finds_each_kind_of_damage(void **state)
{
	struct fixture *f = *state;
	struct error err;

	f->children[3] = BITFIELD_FRAMES - 1;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "child 3"));
	f->children[3] = BITFIELD_FRAMES | CHILD_PARTIAL;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	f->children[3] = CHILD_SPLITTING;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	f->children[3] = CHILD_HUGE;
	assert_int_equal(lower_check(&f->lower, &err), 0);
	*bitfield_row(lower_bits(&f->lower, 3), 5) = 1;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	f->children[3] = BITFIELD_FRAMES - 1;
	assert_int_equal(lower_check(&f->lower, &err), 0);
}

static void wrong_guesses_find_the_same_block(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 11;
	bool split;

	for (unsigned int i = 0; i < 3000; i++) {
		unsigned int order = (unsigned int)(test_random(&seed) % 11);
		struct lower_peek peek = {
			.child = (uint16_t)(test_random(&seed) % (BITFIELD_FRAMES + 1)),
			/* NOLINTNEXTLINE(misc-redundant-expression): two draws */
			.row = test_random(&seed) & test_random(&seed),
		};
		uint64_t start = test_random(&seed) % (CHILDREN * BITFIELD_ROWS);
		uint64_t frame = lower_get(&f->lower, start, order, peek);

		check(f);
		if (frame == LOWER_NONE)
			continue;
		assert_true(is_aligned(frame, UINT64_C(1) << order));
		assert_int_equal(frame / (4 * BITFIELD_FRAMES), start / (4 * BITFIELD_ROWS));
		assert_false(lower_is_free(&f->lower, frame, frame + 1));
		if (i % 3 == 0)
			assert_int_equal(lower_put(&f->lower, frame, order, &split), 0);
	}
}

static void padding_is_withheld_for_ever(void **state)
{
	struct fixture *f = *state;
	bool split;

	f->lower.span = (struct pfn_range){100, FRAMES - 700};
	lower_reset(&f->lower);
	lower_set_free(&f->lower, 100, FRAMES - 700);
	lower_set_partial(&f->lower, 0, FRAMES);
	check(f);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES - 100);
	assert_int_equal(lower_tree_free(&f->lower, 1), 4 * BITFIELD_FRAMES - 700);
	for (uint64_t frame = 0; frame < FRAMES; frame += 4) {
		bool ours = frame >= 100 && frame < FRAMES - 700;

		assert_int_equal(lower_put(&f->lower, frame, 2, &split), -EINVAL);
		assert_int_equal(lower_get_at(&f->lower, frame, 2), ours ? 0 : -EBUSY);
	}
	for (uint64_t frame = 0; frame < FRAMES; frame += 4) {
		bool ours = frame >= 100 && frame < FRAMES - 700;

		assert_int_equal(lower_put(&f->lower, frame, 2, &split), ours ? 0 : -EINVAL);
	}
	lower_recover(&f->lower);
	check(f);
	assert_int_equal(lower_tree_free(&f->lower, 0), 4 * BITFIELD_FRAMES - 100);
}

/* What of a block that is allocated whole goes out of circulation, the rest stays allocated. */
static void withholding_a_huge_block_makes_it_one_of_frames(void **state)
{
	struct fixture *f = *state;
	bool split;

	assert_int_equal(lower_get_at(&f->lower, 0, 9), 0);
	withhold(f, 0, BITFIELD_FRAMES, WITHHELD_ISOLATED);
	lower_set_partial(&f->lower, 0, BITFIELD_FRAMES);
	check(f);
	assert_int_equal(child_load(&f->children[0]), CHILD_PARTIAL);
	assert_int_equal(lower_put(&f->lower, 0, 9, &split), -EINVAL);
	assert_int_equal(lower_put(&f->lower, 0, 0, &split), -EINVAL);
	withhold(f, 0, BITFIELD_FRAMES, WITHHELD_NOT);
	lower_set_partial(&f->lower, 0, BITFIELD_FRAMES);
	check(f);
	assert_int_equal(lower_put(&f->lower, 0, 9, &split), 0);
	assert_int_equal(child_load(&f->children[0]), BITFIELD_FRAMES);
	check(f);
}

/* ---- with masks ---- */

static void holding_takes_from_the_counter_and_letting_go_returns(void **state)
{
	struct fixture *f = *state;
	uint64_t row = BITFIELD_ROWS + 2;

	assert_int_equal(lower_hold(&f->lower, row, 10), 0x3ff);
	assert_int_equal(child_load(&f->children[1]), BITFIELD_FRAMES - 10);
	check(f);
	assert_int_equal(lower_hold(&f->lower, row, 10), 0);
	assert_int_equal(child_load(&f->children[1]), BITFIELD_FRAMES - 10);
	check(f);
	assert_int_equal(lower_get_at(&f->lower, row * ROW_FRAMES, 0), -EBUSY);
	assert_false(lower_is_free(&f->lower, row * ROW_FRAMES, row * ROW_FRAMES + 1));
	assert_int_equal(lower_unhold(&f->lower, row), 10);
	assert_int_equal(lower_unhold(&f->lower, row), 0);
	assert_int_equal(child_load(&f->children[1]), BITFIELD_FRAMES);
	check(f);
}

/* In the middle of others' gets the counter is lower than the bits promise: it is believed. */
static void holding_takes_no_more_than_the_counter_has(void **state)
{
	struct fixture *f = *state;

	f->children[0] = 5;
	assert_int_equal(lower_hold(&f->lower, 0, 64), 0x1f);
	assert_int_equal(child_load(&f->children[0]), 0);
	assert_int_equal(lower_hold(&f->lower, 1, 64), 0);
	f->children[0] = CHILD_HUGE;
	assert_int_equal(lower_hold(&f->lower, 1, 64), 0);
	assert_int_equal(child_load(&f->children[0]), CHILD_HUGE);
	/* Enough counted, but not in that row. */
	f->children[1] = 3;
	bitfield_set(lower_bits(&f->lower, 1), 2, 62, true);
	assert_int_equal(lower_hold(&f->lower, BITFIELD_ROWS, 64), 0x3);
	assert_int_equal(child_load(&f->children[1]), 1);
}

static void held_frames_cannot_be_freed_in_blocks_of_any_order(void **state)
{
	struct fixture *f = *state;

	for (unsigned int order = 0; order <= 10; order++) {
		uint64_t frames = UINT64_C(1) << order, held = frames - 1;
		struct fixture before;
		bool split;

		/* One half as huge frames where it can be, one frame in a magazine. */
		lower_reset(&f->lower);
		lower_set_free(&f->lower, 0, FRAMES);
		if (order == 10)
			assert_int_equal(lower_get_at(&f->lower, 0, 9), 0);
		for (uint64_t i = order == 10 ? BITFIELD_FRAMES : 0; i < frames; i++) {
			if (i != held)
				assert_int_equal(lower_get_at(&f->lower, i, 0), 0);
		}
		assert_int_equal(lower_hold(&f->lower, held / ROW_FRAMES, 1),
				 UINT64_C(1) << held % ROW_FRAMES);
		check(f);
		before = *f;
		assert_int_equal(lower_put(&f->lower, 0, order, &split), -EINVAL);
		assert_memory_equal(f, &before, sizeof(before));
		assert_int_equal(lower_put(&f->lower, held, 0, &split), -EINVAL);
		assert_memory_equal(f, &before, sizeof(before));
		check(f);
	}
}

static void check_finds_held_frames_that_are_not_ours(void **state)
{
	struct fixture *f = *state;
	struct error err;

	/* Held, but free. */
	*bitfield_mask(lower_bits(&f->lower, 2), 1) = 4;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "child 2"));
	*bitfield_mask(lower_bits(&f->lower, 2), 1) = 0;
	/* Held, but withheld. */
	lower_reset(&f->lower);
	withhold(f, 0, 64, WITHHELD_ABSENT);
	lower_set_free(&f->lower, 64, FRAMES);
	lower_set_partial(&f->lower, 0, FRAMES);
	check(f);
	*bitfield_mask(lower_bits(&f->lower, 0), 0) = 1;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	*bitfield_mask(lower_bits(&f->lower, 0), 0) = 0;
	/* Withheld, but on offer. */
	bitfield_set(lower_bits(&f->lower, 0), 3, 1, false);
	f->children[0]++;
	assert_int_equal(lower_check(&f->lower, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "withheld"));
}

/* ---- recovery ---- */

struct crash {
	struct fixture *f;
	uint64_t seed;
	bool allocated[FRAMES]; /* what recovery has to find */
	bool huge[CHILDREN];
};

/* What a crash may leave of a block: anything but frames that are held and free for good. */
static void crash_child(struct crash *c, uint64_t child)
{
	struct bitfield b = lower_bits(&c->f->lower, child);
	uint64_t kind = test_random(&c->seed) % 4;
	uint16_t entry = (uint16_t)(test_random(&c->seed) & (CHILD_FREE | CHILD_PARTIAL));
	bool withheld = lower_is_withheld(&c->f->lower, child * BITFIELD_FRAMES,
					  (child + 1) * BITFIELD_FRAMES);

	if (kind == 0)
		entry = CHILD_HUGE;
	else if (kind == 1)
		entry = CHILD_SPLITTING;
	c->huge[child] = kind < 2 && !withheld;
	atomic_init(&c->f->children[child], entry);
	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		/* NOLINTNEXTLINE(misc-redundant-expression): two draws */
		uint64_t row = test_random(&c->seed) & test_random(&c->seed), mask = 0;

		if (test_random(&c->seed) % 3 == 0)
			row = test_random(&c->seed) % 2 ? ROW_FULL : 0;
		if (b.shift && test_random(&c->seed) % 2)
			mask = row & test_random(&c->seed);
		/* Or killed between the two stores of an earlier recovery. */
		atomic_init(bitfield_row(b, i), test_random(&c->seed) % 4 ? row : row & ~mask);
		if (b.shift)
			atomic_init(bitfield_mask(b, i), mask);
		for (unsigned int k = 0; k < ROW_FRAMES; k++)
			c->allocated[child * BITFIELD_FRAMES + i * ROW_FRAMES + k] =
				kind < 2 || (row & ~mask) >> k & 1;
	}
}

static void compare(const struct crash *c)
{
	const struct lower *l = &c->f->lower;

	for (uint64_t frame = 0; frame < FRAMES; frame++) {
		uint64_t child = frame / BITFIELD_FRAMES;
		bool withheld = lower_is_withheld(l, frame, frame + 1);
		bool allocated = c->allocated[frame] || withheld;

		if (lower_is_free(l, frame, frame + 1) == allocated)
			fail_msg("seed %llu frame %llu", (unsigned long long)c->seed,
				 (unsigned long long)frame);
		assert_int_equal(child_load(&c->f->children[child]) == CHILD_HUGE, c->huge[child]);
	}
}

static void recover_from_anything(struct fixture *f, uint64_t seed)
{
	struct crash *c = calloc(1, sizeof(*c));
	struct fixture *once = calloc(1, sizeof(*once));

	*c = (struct crash){.f = f, .seed = seed};
	f->lower.span = (struct pfn_range){seed % 3 ? 0 : 77, FRAMES - (seed % 4 ? 0 : 333)};
	withhold(f, 0, FRAMES, WITHHELD_NOT);
	for (unsigned int i = 0; i < seed % 5; i++) {
		uint64_t start = test_random(&c->seed) % FRAMES;
		uint64_t frames = test_random(&c->seed) % (i % 2 ? 20 : 900) + 1;

		withhold(f, start, min_u64(start + frames, FRAMES),
			 i % 2 ? WITHHELD_ISOLATED : WITHHELD_ABSENT);
	}
	for (uint64_t child = 0; child < CHILDREN; child++)
		crash_child(c, child);
	lower_recover(&f->lower);
	check(f);
	compare(c);
	memcpy(once->rows, f->rows, sizeof(f->rows));
	memcpy(once->children, f->children, sizeof(f->children));
	lower_recover(&f->lower);
	assert_memory_equal(once->rows, f->rows, sizeof(f->rows));
	assert_memory_equal(once->children, f->children, sizeof(f->children));
	free(once);
	free(c);
}

static void recovery_makes_one_state_of_whatever_a_crash_left(void **state)
{
	for (uint64_t seed = 1; seed <= 150; seed++)
		recover_from_anything(*state, seed);
}

static void recovery_returns_what_magazines_held(void **state)
{
	for (uint64_t seed = 1001; seed <= 1150; seed++)
		recover_from_anything(*state, seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(get_stays_in_its_tree_and_wraps_inside_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			get_gives_the_count_back_where_only_the_shape_is_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_orders_leave_the_bits_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(freeing_a_part_splits_only_the_child_it_lies_in,
						setup, teardown),
		cmocka_unit_test_setup_teardown(huge_frees_take_frames_held_as_bits_too, setup,
						teardown),
		cmocka_unit_test_setup_teardown(absent_frames_are_neither_given_nor_taken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(check_finds_each_kind_of_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_guesses_find_the_same_block, setup, teardown),
		cmocka_unit_test_setup_teardown(padding_is_withheld_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(withholding_a_huge_block_makes_it_one_of_frames,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			holding_takes_from_the_counter_and_letting_go_returns, setup_rows,
			teardown),
		cmocka_unit_test_setup_teardown(holding_takes_no_more_than_the_counter_has,
						setup_rows, teardown),
		cmocka_unit_test_setup_teardown(held_frames_cannot_be_freed_in_blocks_of_any_order,
						setup_rows, teardown),
		cmocka_unit_test_setup_teardown(check_finds_held_frames_that_are_not_ours,
						setup_rows, teardown),
		cmocka_unit_test_setup_teardown(recovery_makes_one_state_of_whatever_a_crash_left,
						setup, teardown),
		cmocka_unit_test_setup_teardown(recovery_returns_what_magazines_held, setup_rows,
						teardown),
	};

	return cmocka_run_group_tests_name("llfree_lower", tests, NULL, NULL);
}
