/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "tests/allocators/llfree/test_env.h"
#include "allocators/llfree/withheld.h"

#define FRAMES 400U

/* A list and what it should say, frame by frame. */
struct fixture {
	struct test_env env;
	struct withheld w;
	uint64_t seed;
	uint8_t why[FRAMES];
};

static struct fixture *fixture_new(uint64_t seed)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	test_env_init(&f->env, NULL, NULL);
	assert_int_equal(withheld_create(&f->w, &f->env.env, PERSIST_EADR), 0);
	f->seed = seed;
	memset(f->why, WITHHELD_NOT, sizeof(f->why));
	return f;
}

static void fixture_free(struct fixture *f)
{
	test_env_release(&f->env);
	free(f);
}

static int setup(void **state)
{
	*state = fixture_new(1);
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

/* Every question there is, over [start, end). */
static void compare(const struct withheld *w, const uint8_t why[FRAMES], struct pfn_range within)
{
	for (unsigned int wanted = 1; wanted <= (WITHHELD_NOT | WITHHELD_ANY); wanted++) {
		struct pfn_range rest = within, piece;
		pfn_t at = within.start;

		while (withheld_next(w, &rest, wanted, &piece)) {
			assert_true(at <= piece.start && piece.start < piece.end);
			for (; at < piece.start; at++)
				assert_false(why[at] & wanted);
			/* One reason, as far as it goes. */
			for (; at < piece.end; at++)
				assert_int_equal(why[at], why[piece.start]);
			assert_true(why[piece.start] & wanted);
			assert_true(at == within.end || why[at] != why[piece.start]);
			assert_int_equal(rest.start, piece.end);
			assert_int_equal(rest.end, within.end);
		}
		for (; at < within.end; at++)
			assert_false(why[at] & wanted);
	}
}

static void compare_all(const struct fixture *f)
{
	for (pfn_t at = 0; at < FRAMES; at++)
		assert_int_equal(withheld_overlaps(&f->w, at, at + 1), f->why[at] != WITHHELD_NOT);
	compare(&f->w, f->why, (struct pfn_range){0, FRAMES});
}

static enum withheld_why random_why(struct fixture *f)
{
	static const enum withheld_why whys[] = {WITHHELD_NOT, WITHHELD_ABSENT, WITHHELD_ISOLATED};

	return whys[test_random(&f->seed) % ARRAY_SIZE(whys)];
}

static struct pfn_range random_range(struct fixture *f)
{
	pfn_t start = test_random(&f->seed) % FRAMES;
	uint64_t longest = test_random(&f->seed) % 4 ? 8 : FRAMES;

	return (struct pfn_range){start,
				  min_u64(start + 1 + test_random(&f->seed) % longest, FRAMES)};
}

static void change(struct withheld_edit *edit, uint8_t why[FRAMES], struct pfn_range range,
		   enum withheld_why to)
{
	assert_int_equal(withheld_change(edit, range, to), 0);
	memset(why + range.start, (int)to, range.end - range.start);
}

/* In one edit. */
static void withhold(struct fixture *f, struct pfn_range range, enum withheld_why why)
{
	struct withheld_edit edit;

	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	change(&edit, f->why, range, why);
	withheld_commit(&edit);
}

static void the_list_agrees_with_a_byte_per_frame(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct fixture *f = fixture_new(seed);

		for (unsigned int i = 0; i < 250; i++) {
			unsigned int changes = (unsigned int)(test_random(&f->seed) % 6);
			bool empty = test_random(&f->seed) % 50 == 0;
			struct withheld_edit edit;
			uint8_t why[FRAMES];

			memcpy(why, f->why, sizeof(why));
			if (empty)
				memset(why, WITHHELD_NOT, sizeof(why));
			assert_int_equal(withheld_begin(&edit, &f->w, empty), 0);
			while (changes--)
				change(&edit, why, random_range(f), random_why(f));
			/* Until then nothing has changed, and afterwards nothing either. */
			if (i % 16 == 0)
				compare_all(f);
			if (test_random(&f->seed) % 4 == 0)
				continue;
			withheld_commit(&edit);
			memcpy(f->why, why, sizeof(why));
			if (i % 16 == 1)
				compare_all(f);
			else
				compare(&f->w, f->why, random_range(f));
		}
		compare_all(f);
		fixture_free(f);
	}
}

static void neighbours_join_only_for_the_same_reason(void **state)
{
	struct fixture *f = *state;
	struct pfn_range rest = {0, FRAMES}, piece;

	withhold(f, (struct pfn_range){10, 20}, WITHHELD_ABSENT);
	withhold(f, (struct pfn_range){30, 40}, WITHHELD_ABSENT);
	withhold(f, (struct pfn_range){20, 30}, WITHHELD_ABSENT);
	withhold(f, (struct pfn_range){40, 50}, WITHHELD_ISOLATED);
	assert_true(withheld_next(&f->w, &rest, WITHHELD_ANY, &piece));
	assert_int_equal(piece.start, 10);
	assert_int_equal(piece.end, 40);
	assert_true(withheld_next(&f->w, &rest, WITHHELD_ANY, &piece));
	assert_int_equal(piece.start, 40);
	assert_int_equal(piece.end, 50);
	assert_false(withheld_next(&f->w, &rest, WITHHELD_ANY, &piece));
	withhold(f, (struct pfn_range){15, 45}, WITHHELD_NOT);
	compare_all(f);
}

static void ranges_reach_from_the_first_frame_to_the_last(void **state)
{
	struct fixture *f = *state;
	struct withheld_edit edit;
	struct pfn_range rest = {0, PFN_MAX + 1}, piece;

	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	assert_int_equal(
		withheld_change(&edit, (struct pfn_range){0, PFN_MAX + 1}, WITHHELD_ABSENT), 0);
	assert_int_equal(withheld_change(&edit, (struct pfn_range){0, 1}, WITHHELD_NOT), 0);
	assert_int_equal(
		withheld_change(&edit, (struct pfn_range){PFN_MAX, PFN_MAX + 1}, WITHHELD_NOT), 0);
	withheld_commit(&edit);
	assert_true(withheld_next(&f->w, &rest, WITHHELD_ABSENT, &piece));
	assert_int_equal(piece.start, 1);
	assert_int_equal(piece.end, PFN_MAX);
	assert_false(withheld_overlaps(&f->w, 0, 1));
	assert_true(withheld_overlaps(&f->w, 0, 2));
	assert_true(withheld_overlaps(&f->w, PFN_MAX - 1, PFN_MAX));
	assert_false(withheld_overlaps(&f->w, PFN_MAX, PFN_MAX + 1));
}

/* ---- growth ---- */

/* Every other frame: as many ranges as can be. */
static int scatter(struct withheld_edit *edit, uint8_t why[FRAMES])
{
	int ret = 0;

	for (pfn_t at = 0; at < FRAMES && ret == 0; at += 2) {
		ret = withheld_change(edit, (struct pfn_range){at, at + 1}, WITHHELD_ISOLATED);
		if (why)
			why[at] = WITHHELD_ISOLATED;
	}
	return ret;
}

static void lists_grow_beyond_their_first_memory(void **state)
{
	struct fixture *f = *state;
	size_t before = f->env.nr_persistent;
	struct withheld_edit edit;

	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	assert_int_equal(scatter(&edit, f->why), 0);
	assert_true(f->env.nr_persistent > before);
	withheld_commit(&edit);
	compare_all(f);
	before = f->env.nr_persistent;
	withhold(f, (struct pfn_range){0, FRAMES}, WITHHELD_ABSENT);
	compare_all(f);
	assert_int_equal(withheld_begin(&edit, &f->w, true), 0);
	memset(f->why, WITHHELD_NOT, sizeof(f->why));
	assert_int_equal(scatter(&edit, f->why), 0);
	withheld_commit(&edit);
	compare_all(f);
	/* There was room by then. */
	assert_int_equal(f->env.nr_persistent, before);
}

static void without_memory_an_edit_fails_and_the_list_stays(void **state)
{
	struct fixture *f = *state;
	struct test_env dead;
	struct withheld_edit edit;

	withhold(f, (struct pfn_range){7, 99}, WITHHELD_ABSENT);
	f->env.starve_persistent = true;
	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	assert_int_equal(scatter(&edit, NULL), -ENOMEM);
	compare_all(f);
	/* What fits goes on working, and so does all else once there is memory. */
	withhold(f, (struct pfn_range){50, 60}, WITHHELD_NOT);
	compare_all(f);
	dead = f->env;
	test_env_crash(&f->env, &dead);
	test_env_release(&dead);
	assert_int_equal(withheld_recover(&f->w, &f->env.env, PERSIST_EADR), 0);
	compare_all(f);
	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	assert_int_equal(scatter(&edit, f->why), 0);
	withheld_commit(&edit);
	compare_all(f);
}

static void creation_without_memory_fails(void **state)
{
	struct test_env env;
	struct withheld w;

	(void)state;
	test_env_init(&env, NULL, NULL);
	env.starve_persistent = true;
	assert_int_equal(withheld_create(&w, &env.env, PERSIST_EADR), -ENOMEM);
	test_env_release(&env);
}

/* Memory that an edit asked for before it was dropped serves the next one. */
static void dropped_edits_use_nothing_up(void **state)
{
	struct fixture *f = *state;
	struct withheld_edit edit;
	size_t pieces = 0;

	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
		assert_int_equal(scatter(&edit, NULL), 0);
		assert_true(i == 0 || f->env.nr_persistent == pieces);
		pieces = f->env.nr_persistent;
	}
	compare_all(f);
	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	assert_int_equal(scatter(&edit, f->why), 0);
	withheld_commit(&edit);
	compare_all(f);
	assert_int_equal(f->env.nr_persistent, pieces);
}

/* ---- recovery ---- */

/* What a recovery from this moment finds, and that it can go on from there, and be killed again. */
static void crash_here(const struct fixture *f)
{
	struct fixture r = {.seed = f->seed};
	struct test_env dead;

	memcpy(r.why, f->why, sizeof(r.why));
	test_env_crash(&r.env, &f->env);
	assert_int_equal(withheld_recover(&r.w, &r.env.env, PERSIST_EADR), 0);
	test_env_recovered(&r.env);
	compare(&r.w, r.why, (struct pfn_range){0, FRAMES});
	withhold(&r, random_range(&r), random_why(&r));
	compare(&r.w, r.why, (struct pfn_range){0, FRAMES});
	dead = r.env;
	test_env_crash(&r.env, &dead);
	test_env_release(&dead);
	assert_int_equal(withheld_recover(&r.w, &r.env.env, PERSIST_EADR), 0);
	compare(&r.w, r.why, (struct pfn_range){0, FRAMES});
	test_env_release(&r.env);
}

static void a_crash_finds_the_old_list_until_the_commit_and_then_the_new(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct fixture *f = fixture_new(seed);

		crash_here(f);
		for (unsigned int i = 0; i < 12; i++) {
			struct withheld_edit edit;
			uint8_t why[FRAMES];

			memcpy(why, f->why, sizeof(why));
			assert_int_equal(withheld_begin(&edit, &f->w, i % 5 == 4), 0);
			if (i % 5 == 4)
				memset(why, WITHHELD_NOT, sizeof(why));
			crash_here(f);
			/* The third one grows the list. */
			if (i == 2)
				assert_int_equal(scatter(&edit, why), 0);
			for (unsigned int k = 0; k < 4; k++) {
				change(&edit, why, random_range(f), random_why(f));
				crash_here(f);
			}
			if (i % 4 == 3)
				continue;
			withheld_commit(&edit);
			memcpy(f->why, why, sizeof(why));
			crash_here(f);
		}
		fixture_free(f);
	}
}

static void a_grown_list_is_found_through_several_crashes(void **state)
{
	struct fixture *f = *state;
	struct withheld_edit edit;

	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	assert_int_equal(scatter(&edit, f->why), 0);
	withheld_commit(&edit);
	for (unsigned int i = 0; i < 5; i++) {
		struct test_env dead = f->env;

		test_env_crash(&f->env, &dead);
		test_env_release(&dead);
		assert_int_equal(withheld_recover(&f->w, &f->env.env, PERSIST_EADR), 0);
		test_env_recovered(&f->env);
		compare_all(f);
		withhold(f, random_range(f), random_why(f));
		compare_all(f);
	}
}

/* The first pieces, by their layout. */
static uint64_t *root_of(struct test_env *env)
{
	return env->persistent[0].memory;
}

static uint64_t *list_of(struct test_env *env, unsigned int which)
{
	return (uint64_t *)(void *)((char *)env->persistent[1].memory +
				    which * env->persistent[1].bytes / 2);
}

enum root_word { ROOT_CURRENT, ROOT_PIECES, ROOT_CAPACITY };
enum list_word { LIST_NR, LIST_START, LIST_END, LIST_WHY };

static void damaged_lists_are_refused(void **state)
{
	static const struct {
		bool root; /* or the current list */
		unsigned int word;
		uint64_t value;
		int ret;
	} damages[] = {
		{true, ROOT_PIECES, 0, -EUCLEAN},
		{true, ROOT_PIECES, 31, -EUCLEAN},
		{true, ROOT_PIECES, UINT64_MAX, -EUCLEAN},
		{true, ROOT_CURRENT, 2, -EUCLEAN},
		{true, ROOT_CURRENT, UINT64_MAX, -EUCLEAN},
		{true, ROOT_CAPACITY, UINT64_MAX, -EUCLEAN},
		{true, ROOT_CAPACITY, ALLOCATOR_FRAMES_MAX + 1, -EUCLEAN},
		{true, ROOT_CAPACITY, 5, -ENOMEM},   /* not the piece that was recorded */
		{true, ROOT_CAPACITY, 500, -ENOMEM}, /* nor that */
		{false, LIST_NR, 64, -EUCLEAN},
		{false, LIST_NR, UINT64_MAX, -EUCLEAN},
		{false, LIST_NR, 3, -EUCLEAN}, /* the third was never written */
		{false, LIST_START, 20, -EUCLEAN},
		{false, LIST_START, UINT64_MAX, -EUCLEAN},
		{false, LIST_END, 10, -EUCLEAN},
		{false, LIST_END, 31, -EUCLEAN}, /* reaches into the second */
		{false, LIST_WHY, WITHHELD_NOT, -EUCLEAN},
		{false, LIST_WHY, WITHHELD_ANY, -EUCLEAN},
		{false, LIST_WHY, 0, -EUCLEAN},
	};
	struct fixture *f = *state;
	struct withheld_edit edit;

	assert_int_equal(withheld_begin(&edit, &f->w, false), 0);
	change(&edit, f->why, (struct pfn_range){10, 20}, WITHHELD_ABSENT);
	change(&edit, f->why, (struct pfn_range){30, 40}, WITHHELD_ISOLATED);
	withheld_commit(&edit);
	crash_here(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(damages); i++) {
		struct test_env env;
		struct withheld w;
		uint64_t *words;
		int ret;

		test_env_crash(&env, &f->env);
		words = damages[i].root ? root_of(&env)
					: list_of(&env, root_of(&env)[ROOT_CURRENT] % 2);
		words[damages[i].word] = damages[i].value;
		ret = withheld_recover(&w, &env.env, PERSIST_EADR);
		if (ret != damages[i].ret)
			fail_msg("damage %u: %d", i, ret);
		test_env_release(&env);
	}
}

static void recovery_of_nothing_is_refused(void **state)
{
	struct test_env env;
	struct withheld w;

	(void)state;
	test_env_init(&env, NULL, NULL);
	assert_int_equal(withheld_recover(&w, &env.env, PERSIST_EADR), -EUCLEAN);
	test_env_release(&env);
	test_env_init(&env, NULL, NULL);
	env.starve_persistent = true;
	assert_int_equal(withheld_recover(&w, &env.env, PERSIST_EADR), -ENOMEM);
	test_env_release(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_list_agrees_with_a_byte_per_frame),
		cmocka_unit_test_setup_teardown(neighbours_join_only_for_the_same_reason, setup,
						teardown),
		cmocka_unit_test_setup_teardown(ranges_reach_from_the_first_frame_to_the_last,
						setup, teardown),
		cmocka_unit_test_setup_teardown(lists_grow_beyond_their_first_memory, setup,
						teardown),
		cmocka_unit_test_setup_teardown(without_memory_an_edit_fails_and_the_list_stays,
						setup, teardown),
		cmocka_unit_test(creation_without_memory_fails),
		cmocka_unit_test_setup_teardown(dropped_edits_use_nothing_up, setup, teardown),
		cmocka_unit_test(a_crash_finds_the_old_list_until_the_commit_and_then_the_new),
		cmocka_unit_test_setup_teardown(a_grown_list_is_found_through_several_crashes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_lists_are_refused, setup, teardown),
		cmocka_unit_test(recovery_of_nothing_is_refused),
	};

	return cmocka_run_group_tests_name("llfree_withheld", tests, NULL, NULL);
}
