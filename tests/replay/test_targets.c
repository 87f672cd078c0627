/* SPDX-License-Identifier: MIT */
/*
 * What compaction moved: each rule in the smallest situation that shows it, and all of them against a
 * model that is as slow and as plain as the header's words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "replay/targets.h"

#define FRAMES	512
#define BORDER	200 /* of the two zones */
#define FIRST	16  /* of the lower one */
#define CONTEXT 9   /* more contexts than can be compacting at once would hide a mistake here */

/* ---- who uses targets: an array of names, and a log ---- */

enum name { NOTHING, OBJECT, TARGET };

struct user {
	struct machine *m;
	struct frame_map *end;
	struct targets t;
	uint8_t name[FRAMES];
	pfn_t fixed; /* frames below it are among unmovable ones */
	char log[4096];
};

static void note(struct user *u, const char *what, pfn_t a, long long b)
{
	size_t at = strlen(u->log);

	snprintf(u->log + at, sizeof(u->log) - at, b < 0 ? "%s%llu " : "%s%llu>%lld ", what,
		 (unsigned long long)a, b);
}

static bool movable(void *arg, pfn_t pfn)
{
	const struct user *u = arg;

	return pfn >= u->fixed;
}

static bool taken(void *arg, pfn_t name)
{
	const struct user *u = arg;

	return u->name[name] != NOTHING;
}

static void take(void *arg, const struct event *e, pfn_t name, unsigned int zone)
{
	struct user *u = arg;

	(void)e;
	assert_int_equal(u->name[name], NOTHING);
	assert_in_range(zone, 0, 1);
	u->name[name] = TARGET;
	note(u, "+", name, -1);
}

static void give(void *arg, const struct event *e, pfn_t name)
{
	struct user *u = arg;

	(void)e;
	assert_int_equal(u->name[name], TARGET);
	u->name[name] = NOTHING;
	note(u, "-", name, -1);
}

static void move(void *arg, const struct event *e, pfn_t from, pfn_t to)
{
	struct user *u = arg;

	(void)e;
	assert_int_equal(u->name[from], TARGET);
	assert_int_equal(u->name[to], NOTHING);
	u->name[from] = NOTHING;
	u->name[to] = TARGET;
	note(u, "", from, (long long)to);
}

static const struct targets_calls calls = {
	.taken = taken,
	.movable = movable,
	.take = take,
	.give = give,
	.move = move,
};

/* @in_use: frames in use at the end, a byte each; NULL: names need not be confirmed. */
static void open_user(struct user *u, const uint8_t *in_use)
{
	const struct zone dma = {.start = FIRST,
				 .end = BORDER,
				 .present = BORDER - FIRST,
				 .managed = BORDER - FIRST,
				 .type = ZONE_DMA32};
	const struct zone normal = {.start = BORDER,
				    .end = FRAMES,
				    .present = FRAMES - BORDER,
				    .managed = FRAMES - BORDER,
				    .type = ZONE_NORMAL};
	uint8_t cells[FRAMES];
	struct targets_config config = {
		.calls = &calls, .arg = u, .first = FIRST, .last = FRAMES, .confirm = in_use};

	memset(u, 0, sizeof(*u));
	assert_int_equal(machine_create(2, 1, &u->m, NULL), 0);
	assert_int_equal(machine_add_zone(u->m, &dma, NULL), 0);
	assert_int_equal(machine_add_zone(u->m, &normal, NULL), 0);
	for (size_t i = 0; in_use && i < FRAMES; i++)
		cells[i] = in_use[i] ? FRAME_MOVABLE : FRAME_FREE;
	if (in_use)
		assert_int_equal(frame_map_from_bytes(u->m, cells + FIRST, 0, &u->end, NULL), 0);
	config.machine = u->m;
	config.end = u->end;
	assert_int_equal(targets_create(&u->t, &config, NULL), 0);
}

static void close_user(struct user *u)
{
	targets_destroy(&u->t);
	frame_map_destroy(u->end);
	machine_destroy(u->m);
}

static void expect_log(struct user *u, const char *log)
{
	assert_string_equal(u->log, log);
	u->log[0] = '\0';
}

/* ---- a trace, event by event, as an engine would follow it ---- */

static void compact(struct user *u, uint32_t context, uint32_t moved)
{
	const struct event e = {.kind = EVENT_COMPACTION,
				.pfn = PFN_NONE,
				.context = context,
				.arg = event_compaction_arg(moved, moved)};

	assert_true(targets_compaction(&u->t, &e));
}

static void allocate(struct user *u, uint32_t context, pfn_t pfn, unsigned int order)
{
	const struct event e = {
		.kind = EVENT_ALLOC, .pfn = pfn, .order = (uint8_t)order, .context = context};

	targets_allocated(&u->t, context);
	targets_make_way(&u->t, &e, pfn, UINT64_C(1) << order);
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
		assert_int_not_equal(u->name[pfn + i], TARGET);
		u->name[pfn + i] = OBJECT;
	}
}

static void free_frames(struct user *u, uint32_t context, pfn_t pfn, unsigned int order)
{
	const struct event e = {
		.kind = EVENT_FREE, .pfn = pfn, .order = (uint8_t)order, .context = context};
	uint64_t unknown = 0;

	targets_freed(&u->t, &e);
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
		unknown += u->name[pfn + i] != OBJECT;
		if (u->name[pfn + i] == OBJECT)
			u->name[pfn + i] = NOTHING;
	}
	if (unknown)
		targets_orphan(&u->t, &e, unknown);
}

/* ---- rules ---- */

static void targets_lie_in_the_zone_of_the_last_free_from_its_end_down(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	compact(&u, 1, 1);
	expect_log(&u, "+511 ");
	allocate(&u, 1, 100, 0);
	free_frames(&u, 1, 100, 0);
	u.name[198] = OBJECT;
	compact(&u, 1, 3);
	expect_log(&u, "+199 +197 +196 ");
	close_user(&u);
}

static void a_full_zone_leaves_them_to_another(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	memset(u.name + BORDER, OBJECT, FRAMES - BORDER);
	compact(&u, 1, 2);
	expect_log(&u, "+199 +198 ");
	close_user(&u);
}

static void an_allocation_of_its_name_shows_that_a_target_is_elsewhere(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	compact(&u, 1, 2);
	expect_log(&u, "+511 +510 ");
	/* The next names would be 509 and 508, which are to be taken as well. */
	allocate(&u, 2, 508, 2);
	expect_log(&u, "510>507 511>506 ");
	assert_int_equal(u.t.of.n, 2);
	close_user(&u);
}

static void an_orphan_gives_back_its_own_name_first_then_any(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	compact(&u, 1, 4);
	expect_log(&u, "+511 +510 +509 +508 ");
	free_frames(&u, 2, 509, 0);
	expect_log(&u, "-509 ");
	free_frames(&u, 2, 300, 1);
	expect_log(&u, "-511 -510 ");
	assert_int_equal(u.t.returns, 3);
	free_frames(&u, 2, 300, 2);
	expect_log(&u, "-508 ");
	assert_int_equal(u.t.returns, 4);
	close_user(&u);
}

static void who_is_compacting_gives_nothing_back_until_it_allocates(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	compact(&u, 1, 2);
	expect_log(&u, "+511 +510 ");
	free_frames(&u, 1, 300, 0);
	expect_log(&u, "");
	/* It had set the frame aside and returns it: the target is not there. */
	free_frames(&u, 1, 511, 0);
	expect_log(&u, "511>509 ");
	allocate(&u, 1, 40, 0);
	free_frames(&u, 1, 300, 0);
	expect_log(&u, "-510 ");
	close_user(&u);
}

static void what_lies_among_unmovable_frames_was_not_moved_there(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	u.fixed = 300;
	compact(&u, 1, 2);
	expect_log(&u, "+511 +510 ");
	free_frames(&u, 2, 299, 0);
	expect_log(&u, "");
	free_frames(&u, 2, 300, 0);
	expect_log(&u, "-511 ");
	assert_int_equal(u.t.returns, 1);
	close_user(&u);
}

static void huge_frames_are_not_what_compaction_moved(void **state)
{
	const struct event e = {.kind = EVENT_FREE, .pfn = 0, .order = HUGE_ORDER, .context = 2};
	struct user u;

	(void)state;
	open_user(&u, NULL);
	u.t.first = 0; /* so that the frames are names */
	compact(&u, 1, 1);
	targets_orphan(&u.t, &e, HUGE_FRAMES);
	assert_int_equal(u.t.returns, 0);
	/* All names are among those freed: nothing is left to call it. */
	assert_int_equal(u.t.owed, 1);
	close_user(&u);
}

static void names_are_those_in_use_at_the_end_and_what_lacks_one_is_owed(void **state)
{
	uint8_t in_use[FRAMES] = {0};
	struct user u;

	(void)state;
	in_use[300] = in_use[100] = 1;
	open_user(&u, in_use);
	compact(&u, 1, 3);
	expect_log(&u, "+300 +100 ");
	assert_int_equal(u.t.unplaced, 1);
	assert_int_equal(u.t.owed, 1);
	/* What is owed is given back before what is held. */
	free_frames(&u, 2, 400, 0);
	expect_log(&u, "");
	assert_int_equal(u.t.returns, 1);
	assert_int_equal(u.t.owed, 0);
	allocate(&u, 2, 300, 0);
	expect_log(&u, "-300 ");
	assert_int_equal(u.t.unplaced, 2);
	close_user(&u);
}

static void without_an_end_nothing_is_confirmed(void **state)
{
	uint8_t in_use[FRAMES] = {0};
	struct user u;

	(void)state;
	open_user(&u, in_use);
	compact(&u, 1, 5);
	expect_log(&u, "");
	assert_int_equal(u.t.unplaced, 5);
	close_user(&u);
}

static void more_than_the_machine_has_did_not_move(void **state)
{
	const struct event e = {
		.kind = EVENT_COMPACTION, .pfn = PFN_NONE, .arg = event_compaction_arg(0, FRAMES)};
	struct user u;

	(void)state;
	open_user(&u, NULL);
	assert_false(targets_compaction(&u.t, &e));
	assert_int_equal(u.t.moves, 0);
	close_user(&u);
}

/* ---- the model ---- */

#define MODEL_FIXED 80

struct model {
	bool in_use[FRAMES], confirm, target[FRAMES], object[FRAMES];
	bool compacting[CONTEXT];
	int next[2], given, freed;
	uint64_t owed, moves, returns, unplaced;
};

static int zone_of(int name)
{
	return name < BORDER ? 0 : 1;
}

static int model_search(struct model *m, int zone, int from, int to)
{
	static const int start[] = {FIRST, BORDER}, end[] = {BORDER, FRAMES};

	for (int k = 0; k < 2; k++, zone = 1 - zone) {
		int n = end[zone] - start[zone], at = m->next[zone];

		for (int i = 0; i < n; i++) {
			at = at == start[zone] ? end[zone] - 1 : at - 1;
			if ((m->confirm && !m->in_use[at]) || m->target[at] || m->object[at] ||
			    (at >= from && at < to))
				continue;
			m->next[zone] = at;
			return at;
		}
	}
	return -1;
}

static void model_new_name(struct model *m, int name, int from, int to)
{
	int other = model_search(m, zone_of(name), from, to);

	m->target[name] = false;
	if (other >= 0) {
		m->target[other] = true;
	} else {
		m->unplaced++;
		m->owed++;
	}
}

static void model_compact(struct model *m, uint32_t context, uint32_t moved)
{
	int zone = m->freed < 0 ? 1 : zone_of(m->freed);

	m->compacting[context] = true;
	m->moves += moved;
	for (uint32_t i = 0; i < moved; i++) {
		int name = model_search(m, zone, -1, -1);

		if (name >= 0) {
			m->target[name] = true;
		} else {
			m->unplaced++;
			m->owed++;
		}
	}
}

static void model_allocate(struct model *m, uint32_t context, int pfn, int frames)
{
	m->compacting[context] = false;
	for (int i = pfn; i < pfn + frames; i++)
		if (m->target[i])
			model_new_name(m, i, pfn, pfn + frames);
	for (int i = pfn; i < pfn + frames; i++)
		m->object[i] = true;
}

static void model_give_any(struct model *m)
{
	for (int i = 0; i < FRAMES - FIRST; i++) {
		m->given = m->given == FIRST ? FRAMES - 1 : m->given - 1;
		if (m->target[m->given]) {
			m->target[m->given] = false;
			m->returns++;
			return;
		}
	}
}

static void model_free(struct model *m, uint32_t context, int pfn, int frames)
{
	bool returns = !m->compacting[context] && pfn >= MODEL_FIXED;
	int unknown = 0;

	m->freed = pfn;
	for (int i = pfn; i < pfn + frames; i++) {
		unknown += !m->object[i];
		m->object[i] = false;
	}
	for (int i = pfn; i < pfn + frames; i++) {
		if (!m->target[i])
			continue;
		if (!returns) {
			model_new_name(m, i, pfn, pfn + frames);
		} else {
			m->target[i] = false;
			m->returns++;
			unknown--;
		}
	}
	for (; returns && unknown; unknown--) {
		if (m->owed) {
			m->owed--;
			m->returns++;
		} else {
			model_give_any(m);
		}
	}
}

static uint64_t below(uint64_t *random, uint64_t n)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random % n;
}

static void expect_model(const struct user *u, const struct model *m, uint64_t seed, int step)
{
	for (int i = FIRST; i < FRAMES; i++)
		if ((u->name[i] == TARGET) != m->target[i] ||
		    (u->name[i] == OBJECT) != m->object[i])
			fail_msg("seed %llu, step %d: name %d is %d, not %d",
				 (unsigned long long)seed, step, i, u->name[i],
				 m->target[i] ? TARGET : m->object[i]);
	assert_int_equal(u->t.owed, m->owed);
	assert_int_equal(u->t.moves, m->moves);
	assert_int_equal(u->t.returns, m->returns);
	assert_int_equal(u->t.unplaced, m->unplaced);
	/* Nothing is lost: what moved is held, owed or given back. */
	assert_int_equal(u->t.moves, u->t.of.n + u->t.owed + u->t.returns);
}

/* Return: how many targets were given back. */
static uint64_t follow_model(uint64_t seed, bool confirm)
{
	struct model m = {
		.confirm = confirm, .next = {BORDER, FRAMES}, .given = FRAMES, .freed = -1};
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	uint8_t in_use[FRAMES];
	struct user u;

	for (int i = 0; i < FRAMES; i++)
		in_use[i] = m.in_use[i] = below(&random, 3);
	open_user(&u, confirm ? in_use : NULL);
	u.fixed = MODEL_FIXED;
	/* A search that found nothing is put off until there were frees; the model never puts off. */
	for (int step = 0; step < 4000; step++) {
		uint32_t context = (uint32_t)below(&random, CONTEXT);
		unsigned int order = (unsigned int)below(&random, 4);
		pfn_t pfn =
			align_down(FIRST + below(&random, FRAMES - FIRST), UINT64_C(1) << order);
		uint64_t dice = below(&random, 16);

		u.log[0] = '\0';
		memset(u.t.again_at, 0, sizeof(u.t.again_at));
		if (dice < 6) {
			allocate(&u, context, pfn, order);
			model_allocate(&m, context, (int)pfn, 1 << order);
		} else if (dice < 15) {
			free_frames(&u, context, pfn, order);
			model_free(&m, context, (int)pfn, 1 << order);
		} else {
			uint32_t moved = (uint32_t)below(&random, 24);

			compact(&u, context, moved);
			model_compact(&m, context, moved);
		}
		expect_model(&u, &m, seed, step);
	}
	close_user(&u);
	return m.returns;
}

static void the_rules_are_those_of_a_slow_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		assert_true(follow_model(seed, false) > 100);
		assert_true(follow_model(seed, true) > 100);
	}
}

static void a_vain_search_is_not_repeated_before_frees(void **state)
{
	struct user u;

	(void)state;
	open_user(&u, NULL);
	memset(u.name, OBJECT, sizeof(u.name));
	compact(&u, 1, 1);
	assert_int_equal(u.t.unplaced, 1);
	u.name[300] = NOTHING; /* behind its back */
	compact(&u, 1, 1);
	assert_int_equal(u.t.unplaced, 2);
	for (pfn_t pfn = 100; pfn < 110; pfn++)
		free_frames(&u, 2, pfn, 0);
	u.log[0] = '\0';
	compact(&u, 1, 1);
	expect_log(&u, "+109 ");
	close_user(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_lie_in_the_zone_of_the_last_free_from_its_end_down),
		cmocka_unit_test(a_full_zone_leaves_them_to_another),
		cmocka_unit_test(an_allocation_of_its_name_shows_that_a_target_is_elsewhere),
		cmocka_unit_test(an_orphan_gives_back_its_own_name_first_then_any),
		cmocka_unit_test(who_is_compacting_gives_nothing_back_until_it_allocates),
		cmocka_unit_test(what_lies_among_unmovable_frames_was_not_moved_there),
		cmocka_unit_test(huge_frames_are_not_what_compaction_moved),
		cmocka_unit_test(names_are_those_in_use_at_the_end_and_what_lacks_one_is_owed),
		cmocka_unit_test(without_an_end_nothing_is_confirmed),
		cmocka_unit_test(more_than_the_machine_has_did_not_move),
		cmocka_unit_test(the_rules_are_those_of_a_slow_model),
		cmocka_unit_test(a_vain_search_is_not_repeated_before_frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
