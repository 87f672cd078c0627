/* SPDX-License-Identifier: MIT */
/*
 * LLFree under every interleaving: small instances, two or three threads, each switch between them
 * at each access to shared memory (explore.h), and after every step the recovery of what a crash
 * there would leave (llfree_scenario.h). The sets below print what they covered: scenarios,
 * interleavings (schedules of accesses; many share a state, and each state is continued from once),
 * executions, steps, distinct states, crash states judged (each state's; those with the same
 * persistent bytes and the same promises are recovered once), and, for persist=adr, contents that
 * caches may have left (all of a crash point's if there are at most 256, else as many drawn).
 *
 * What this cannot show: it explores sequentially consistent interleavings only, so it says nothing
 * about the memory orders; one or two trees of four children, two or three threads, a few operations
 * each; and schedules with at most as many preemptions as each set says, which is where known
 * algorithms have had their faults, but is no proof. Frames' contents, real time and the host's
 * scheduler play no part in it.
 *
 * How much is set by tests/effort.h: with sanitizers a quick run, or the default one at ten times the
 * effort, which without them is the long one. LLFREE_ONLY=PATTERN says which of the tests. A failure prints
 * LLFREE_SCENARIO and LLFREE_SCHEDULE; with these in the environment only that schedule is run, and
 * each step told; with the first alone, all schedules of that scenario. LLFREE_MUTANT=N switches a fault of atom.h's enum mutant on for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "tests/allocators/llfree/explorer/llfree_scenario.h"
#include "tests/allocators/llfree/explorer/model.h"
#include "tests/effort.h"

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

enum effort { QUICK, DEFAULT, LONG };

static enum effort effort(void)
{
	bool hard = test_effort() >= 10;

#ifdef __SANITIZE_ADDRESS__
	return hard ? DEFAULT : QUICK;
#else
	return hard ? LONG : DEFAULT;
#endif
}

static struct scenario_limits limits_of(unsigned int preemptions)
{
	return (struct scenario_limits){.preemptions = preemptions, .max_images = 256};
}

/* The same scenario with as few preemptions as will do, so that people can follow. */
static void tell_failure(const struct scenario *s, const struct scenario_limits *limits,
			 const struct explore_result *found)
{
	struct explore_result r = *found;
	struct scenario_limits fewer = *limits;
	char text[SCENARIO_TEXT_MAX];

	scenario_format(s, text);
	for (fewer.preemptions = 0; fewer.preemptions < found->preemptions; fewer.preemptions++) {
		if (scenario_explore(s, &fewer, NULL, &r) == -EUCLEAN)
			break;
		r = *found;
	}
	fail_msg("%s: %s; replay it with LLFREE_SCENARIO='%s' LLFREE_SCHEDULE='%s'", r.check,
		 r.text, text, r.schedule);
}

static void parse_or_fail(struct scenario *s, const char *text)
{
	struct error err = {0};

	if (scenario_parse(s, text, &err) < 0)
		fail_msg("%s", err.text);
}

static void must_hold(const struct scenario *s, const struct scenario_limits *limits,
		      struct scenario_count *count)
{
	struct explore_result r;
	int ret = scenario_explore(s, limits, count, &r);

	if (ret == -EUCLEAN)
		tell_failure(s, limits, &r);
	assert_int_equal(ret, 0);
}

static void print_count(const char *set, const struct scenario_limits *limits,
			const struct scenario_count *c)
{
	char bound[32] = "any number of";

	if (limits->preemptions != EXPLORE_UNBOUNDED)
		snprintf(bound, sizeof(bound), "at most %u", limits->preemptions);
	printf("# %s, %s preemptions: %" PRIu64 " scenarios, %.4g interleavings in %" PRIu64
	       " executions, %" PRIu64 " steps, %" PRIu64 " states; %" PRIu64
	       " crash states, %" PRIu64 " distinct; %" PRIu64 " ends",
	       set, bound, c->scenarios, c->interleavings, c->executions, c->steps, c->states,
	       c->claims, c->recovered, c->ends);
	if (c->crash.images)
		printf("; caches: %" PRIu64 " crash points exhausted, %" PRIu64 " sampled, %" PRIu64
		       " contents",
		       c->crash.exhaustive, c->crash.sampled, c->crash.images);
	if (c->again)
		printf("; %" PRIu64 " recoveries interrupted", c->again);
	if (c->cut)
		printf("; %" PRIu64 " scenarios not explored to the end", c->cut);
	printf("\n");
	fflush(stdout);
}

/*
 * Operations that fit a state
 */

/* The first aligned block whose frames are all, or none, in @allocated; or UINT64_MAX. */
static uint64_t find_block(const struct scenario *s, const uint64_t *allocated, unsigned int order,
			   bool in)
{
	uint64_t frames = strlen(s->memory) * UINT64_C(512);

	for (uint64_t frame = 0; frame < frames; frame += UINT64_C(1) << order) {
		if (model_is(allocated, frame, order, in))
			return frame;
	}
	return UINT64_MAX;
}

/*
 * Add "g3", "d", ..., or, where a frame is needed, only the letter and order: "f3" frees the first
 * allocated block that no earlier free has, "a3" gets the first free one, "f3#" what the operation
 * before got. Return: false: there is none.
 */
static bool add_op(struct scenario *s, unsigned int thread, const char *text, uint64_t *allocated)
{
	struct scenario_op op = {.kind = text[0], .of = -1};
	uint64_t frame = 0;

	if (text[1])
		op.order = (unsigned int)atoi(text + 1);
	if (text[0] == 'f' && strchr(text, '#')) {
		op.of = (int)s->nr_ops[thread] - 1;
	} else if (text[0] == 'f') {
		frame = find_block(s, allocated, op.order, true);
		if (frame == UINT64_MAX)
			return false;
		model_set(allocated, frame, op.order, false);
	} else if (text[0] == 'a') {
		frame = find_block(s, allocated, op.order, false);
		if (frame == UINT64_MAX)
			return false;
	}
	op.frame = (unsigned int)frame;
	s->ops[thread][s->nr_ops[thread]++] = op;
	if (thread >= s->nr_threads)
		s->nr_threads = thread + 1;
	return true;
}

/* "g0 f0#" */
static bool add_ops(struct scenario *s, unsigned int thread, const char *text, uint64_t *allocated)
{
	char copy[64], *at = copy, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&at, " ")) != NULL) {
		if (!add_op(s, thread, word, allocated))
			return false;
	}
	return true;
}

/* "AAA1 warm=2": the part of a scenario before its threads. */
static struct scenario state_of(const char *text)
{
	struct scenario s;
	char line[SCENARIO_TEXT_MAX];

	snprintf(line, sizeof(line), "%s |", text);
	parse_or_fail(&s, line);
	s.nr_threads = 0;
	return s;
}

/* Thread 0 does @a, 1 @b and 2, if not NULL, @c. Return: false: the state does not allow it. */
static bool compose(struct scenario *s, const char *state, const char *a, const char *b,
		    const char *c)
{
	uint64_t allocated[MODEL_WORDS_MAX];

	*s = state_of(state);
	scenario_allocated(s, allocated);
	return add_ops(s, 0, a, allocated) && add_ops(s, 1, b, allocated) &&
	       (!c || add_ops(s, 2, c, allocated)) && scenario_sound(s);
}

/*
 * Each pair of @ops in each of @states, NULL-terminated both.
 */
static void explore_pairs(const char *set, const char *const *states, const char *const *ops,
			  unsigned int preemptions)
{
	struct scenario_limits limits = limits_of(preemptions);
	struct scenario_count count = {0};
	struct scenario s;

	for (; *states; states++) {
		for (unsigned int i = 0; ops[i]; i++) {
			for (unsigned int k = i; ops[k]; k++) {
				if (compose(&s, *states, ops[i], ops[k], NULL))
					must_hold(&s, &limits, &count);
			}
		}
	}
	print_count(set, &limits, &count);
	assert_true(count.scenarios > 0);
}

static const char *const single_ops[] = {"g0", "g3", "g6", "g7", "g8", "g9", "g10",
					 "f0", "f3", "f6", "f7", "f8", "f9", "f10",
					 "a0", "a3", "a7", "a9", "d",  NULL};

/* Full but for a frame, nearly full, one huge frame free, huge frames allocated, all free, shreds. */
static const char *const states[] = {"AAA1", "AAnA", "AFAA",	    "HHA1",	   "HHFo", "FFFF",
				     "hxAA", "ohHo", "AAA1 warm=2", "xHpA warm=1", NULL};

static void any_two_operations(void **state)
{
	(void)state;
	explore_pairs("two operations", states, single_ops, effort() == QUICK ? 1 : 3);
}

static void any_two_operations_in_two_trees(void **state)
{
	static const char *const two_trees[] = {"AAA1AAAF warm=2", "AAAAHHFF warm=3",
						"FFFFFFFF warm=1", NULL};

	(void)state;
	explore_pairs("two operations, two trees", two_trees, single_ops,
		      effort() == QUICK ? 1 : 3);
}

static void sequences_of_two_and_more(void **state)
{
	/* What comes back is split, got again, or freed twice; and what a split must not free. */
	static const char *const ops[] = {
		"g0 f0#", "g3 f0#", "g8 f8#", "g9 f0#", "g9 f8#", "g10 f9#", "g0 g0", "f0 g0",
		"f9 g0",  "f0 f0",  "a0 f0#", "f3 d",	"d g9",	  "g0 d",    NULL,
	};
	static const char *const few[] = {"AAA1", "HAFo", "FFAA", "HHhx warm=1", "AAAoHHAF warm=2",
					  NULL};

	(void)state;
	explore_pairs("two sequences", few, ops, effort() == QUICK ? 1 : 2);
}

static void any_three_operations(void **state)
{
	static const char *const few[] = {"g0", "g9", "f0", "f8", "d", NULL};
	static const char *const more[] = {"g0", "g7", "g9", "f0", "f8", "f9", "a0", "d", NULL};
	static const char *const some[] = {"AAA1", "HAFo", "FHAA warm=1", NULL};
	const char *const *ops = effort() == LONG ? more : few;
	struct scenario_limits limits = limits_of(effort() == QUICK ? 1 : 2);
	struct scenario_count count = {0};
	struct scenario s;

	(void)state;
	for (unsigned int i = 0; some[i]; i++) {
		for (unsigned int a = 0; ops[a]; a++) {
			for (unsigned int b = a; ops[b]; b++) {
				for (unsigned int c = b; ops[c]; c++) {
					if (compose(&s, some[i], ops[a], ops[b], ops[c]))
						must_hold(&s, &limits, &count);
				}
			}
		}
	}
	print_count("three operations", &limits, &count);
}

static void explore_list(const char *set, const char *const *texts, unsigned int preemptions)
{
	struct scenario_limits limits = limits_of(preemptions);
	struct scenario_count count = {0};

	for (; *texts; texts++) {
		struct scenario s;

		parse_or_fail(&s, *texts);
		must_hold(&s, &limits, &count);
	}
	print_count(set, &limits, &count);
}

/* What trees are noted to lack, while others free what makes a block whole, or take trees and leave them. */
static void notes_of_what_trees_lack(void **state)
{
	static const char *const ops[] = {"g1",	    "g2",    "g7",    "g8",    "g9",
					  "g10",    "f0",    "f0 f0", "f0 g1", "g0 f0#",
					  "g1 f1#", "g1 g1", "a1",    "d",     NULL};
	static const char *const some[] = {"hhhh", "hAAA warm=1",     "hhAA warm=3", "ohAA",
					   "AxHo", "AAAAhAAA warm=2", "hhhh warm=3", NULL};

	(void)state;
	explore_pairs("notes", some, ops, effort() == LONG ? 2 : 1);
}

/* Of two threads that free one block, one succeeds; what is free already is never accepted. */
static void frees_of_one_block_at_once_and_of_free_ones(void **state)
{
	static const char *const list[] = {
		"AAAA | f0@5 | f0@5",
		"AAAA | f3@8 | f3@8 | g6",
		"AAAA | f6@64 | f6@64",
		"AHAA | f9@512 | f9@512",
		"AHAA | f0@512 | f0@512",
		"AAAA | f0@5 x0@5 | f0@6",
		"AFAA | f0@5 x0@5 | x9@512",
		"HFAA | f9@0 x9@0 | x3@512",
		"HAAA | f3@0 x3@0 x3@0 | f3@8",
		"AAA1 rows | f0@0 x0@0 | f0@1",
		"FAAA rows | g0 g0 f0#0 | x0@5",
		"FAAA rows warm=3 | x0@9 g0 | x0@8",
		NULL,
	};

	(void)state;
	explore_list("frees at once and again", list, effort() == QUICK ? 2 : EXPLORE_UNBOUNDED);
}

/* Without any bound on preemptions, where that is still feasible. */
static void some_without_a_bound(void **state)
{
	static const char *const larger[] = {
		"AHAA | f0@512 | f0@512 | f0@513",
		"HAAA | f0@0 | f0@1 | f0@2",
		"AAA1 | g0 | g0 | g0",
		"FFFF | g0 f0#0 | g0 f0#0",
		"AFAA | g7 f7#0 | g8 f8#0",
		"AAA1 | g0 | g0",
		"AFAA | g9 | g0",
		"FFAA | g10 | g9 | d",
		NULL,
	};
	static const char *const list[] = {
		"FAAA | g0 | g0",
		"AAnA | g6 | f0@256",
		"HAAA | f0@0 | f0@1",
		"HAAA | f3@0 | f8@256",
		"HHFF | g10 | f10@0",
		"FFFF | d | g0",
		"HHHH | f10@0 | f9@1024 | f0@1536",
		"FFAA | g10 | g9",
		"oFAA | f0@0 | g9 f0#0",
		NULL,
	};

	(void)state;
	explore_list("without a bound", list, effort() == QUICK ? 2 : EXPLORE_UNBOUNDED);
	if (effort() == LONG)
		explore_list("larger without a bound", larger, EXPLORE_UNBOUNDED);
}

/* Each of these was a bug. */
static void faults_once_found_stay_gone(void **state)
{
	static const char *const list[] = {
		/* The search ended as another thread had just returned the tree it had in vain. */
		"ohHo | g9 | g1",
		"ohHo | g0 | g9",
		/* Moves were counted after the slot had been looked at. */
		"FFFF | g0 | g0",
		/* Another's drain emptied the magazine between two looks. */
		"FFAA rows warm=1 | a0@0 | d",
		/* A block whose last bit was cleared, but not written back, went and came whole. */
		"oFAA adr | f0@0 | g9 f9#0",
		"oFAA adr rows | f0@0 | g9 f9#0",
		"xFAA adr | f8@0 | g9 f9#0",
		/* Two raised a note at once, and one tree's bits came to say less than its entry. */
		"HHAH adr follow warm=2 | f8@1280 g3 g0 | f3@976",
		/* A note that changed meanwhile kept a tree from its class. */
		"AAAAHHFF warm=3 | f10@0 | f10@1024",
		/* A magazine took frees into a block whose flag was not yet written back. */
		"HFAA adr rows | f9@0 | g0 f0#0",
		"HFAA adr rows | f3@0 | g0 f0#0",
		NULL,
	};

	(void)state;
	explore_list("faults once found", list, effort() == QUICK ? 2 : 3);
}

static void rows_with_single_operations(void **state)
{
	static const char *const ops[] = {"g0", "g3", "g6", "g8", "g9", "f0", "f3",
					  "f8", "f9", "a0", "a6", "d",	NULL};
	static const char *const some[] = {"AAn1 rows", "HAFo rows", "FFAA rows warm=1",
					   "nAAA rows warm=3", NULL};

	(void)state;
	explore_pairs("rows, two operations", some, ops, effort() == QUICK ? 1 : 3);
}

static void rows_with_sequences(void **state)
{
	static const char *const ops[] = {"g0 g0", "g0 f0#", "g0 g0 f0#", "f0 g0",  "f0 f0", "g9",
					  "a0",	   "g0 d",   "d",	  "g6 f6#", NULL};
	static const char *const some[] = {"FAAA rows", "nAAA rows warm=1", "AAn1AAAF rows warm=2",
					   NULL};

	(void)state;
	explore_pairs("rows, two sequences", some, ops, effort() == QUICK ? 1 : 2);
}

static void caches_that_a_crash_loses(void **state)
{
	static const char *const ops[] = {"g0", "g3", "g7", "g8",  "g9", "g10", "f0", "f3",
					  "f7", "f8", "f9", "f10", "a0", "a7",	"a9", NULL};
	static const char *const some[] = {"AAnA adr", "HHFo adr", "HxHA adr warm=1", NULL};

	(void)state;
	explore_pairs("adr, two operations", some, ops, effort() == QUICK ? 1 : 2);
}

static void caches_that_a_crash_loses_with_sequences_and_rows(void **state)
{
	static const char *const ops[] = {"g0 f0#", "f0 f0", "f0 g0", "g9 f0#",
					  "g8 f8#", "g0 g0", "g0 d",  NULL};
	static const char *const some[] = {"HAFo adr", "HAFo adr rows", "FAAA adr rows", NULL};

	(void)state;
	explore_pairs("adr, two sequences", some, ops, effort() == QUICK ? 1 : 2);
}

static void recovery_that_is_killed_and_repeated(void **state)
{
	static const char *const ops[] = {"g0 g0", "g9", "f0", "f9 d", "g8", NULL};
	static const char *const some[] = {"HxFo again", "HFpA again rows warm=1", NULL};

	(void)state;
	explore_pairs("recovery interrupted", some, ops, effort() == QUICK ? 0 : 1);
}

/*
 * Random ones
 */

static uint64_t next_random(uint64_t *state, uint64_t n)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % n;
}

static void random_state(struct scenario *s, uint64_t *random)
{
	static const char letters[] = "AAAFFHH1nhoxp";
	unsigned int n = next_random(random, 3) == 0 ? 8 : 4;

	for (unsigned int i = 0; i < n; i++)
		s->memory[i] = letters[next_random(random, sizeof(letters) - 1)];
	s->rows = next_random(random, 2);
	s->adr = next_random(random, 4) == 0;
	s->follow = next_random(random, 4) == 0;
	s->nr_threads = next_random(random, 4) == 0 ? 3 : 2;
	s->warm = (unsigned int)next_random(random, 1U << s->nr_threads);
}

static struct scenario_op random_op(const struct scenario *s, unsigned int i,
				    const struct scenario_op *before, uint64_t *random)
{
	static const unsigned int orders[] = {0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10};
	static const char kinds[] = "ggggaafffffd";
	struct scenario_op op = {.of = -1};
	unsigned int frames = (unsigned int)strlen(s->memory) * 512U;

	op.kind = kinds[next_random(random, sizeof(kinds) - 1)];
	if (op.kind == 'd')
		return op;
	op.order = orders[next_random(random, ARRAY_SIZE(orders))];
	if (op.kind == 'f' && i > 0 && next_random(random, 2)) {
		/* A part, or all, of what it has got. */
		op.of = (int)next_random(random, i);
		op.order = (unsigned int)min_u64(op.order, before[op.of].order);
		frames = 1U << before[op.of].order;
	}
	if (op.kind != 'g')
		op.frame = (unsigned int)next_random(random, frames >> op.order) << op.order;
	return op;
}

static void random_scenario(struct scenario *s, uint64_t seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);

	do {
		memset(s, 0, sizeof(*s));
		random_state(s, &random);
		for (unsigned int t = 0; t < s->nr_threads; t++) {
			s->nr_ops[t] =
				1 + (unsigned int)next_random(&random, s->nr_threads == 2 ? 4 : 2);
			for (unsigned int i = 0; i < s->nr_ops[t]; i++)
				s->ops[t][i] = random_op(s, i, s->ops[t], &random);
		}
	} while (!scenario_sound(s));
}

static void random_sequences(void **state)
{
	static const unsigned int how_many[] = {[QUICK] = 100, [DEFAULT] = 600, [LONG] = 20000};
	struct scenario_limits limits = limits_of(effort() == QUICK ? 1 : 2);
	struct scenario_count count = {0};
	struct scenario s;

	(void)state;
	limits.max_executions = effort() == LONG ? 1000000 : 4000;
	for (uint64_t seed = 1; seed <= how_many[effort()]; seed++) {
		random_scenario(&s, seed);
		must_hold(&s, &limits, &count);
	}
	print_count("random sequences, seeds from 1", &limits, &count);
}

/*
 * Mutants
 */

static const struct {
	const char *name;
	enum mutant mutant;
	const char *check; /* expected to find it */
	const char *scenario;
} mutants[] = {
	{"COUNTER_AFTER_BIT", MUTANT_COUNTER_AFTER_BIT, "crash", "FFAA | g0 | g9 f0#0+8"},
	{"COUNTER_BEFORE_BIT", MUTANT_COUNTER_BEFORE_BIT, "crash", "oFAA | f0@0 | g9 f0#0+8"},
	{"LOST_UNDO", MUTANT_LOST_UNDO, "crash", "FAAA warm=1 | g8 | g0"},
	{"LOST_UNDO", MUTANT_LOST_UNDO, "crash", "FFFF | g10 | a9@512"},
	{"UNGUARDED_SPLIT", MUTANT_UNGUARDED_SPLIT, "check", "HAAA | f0@0 | f0@1"},
	{"FLAG_BEFORE_FILL", MUTANT_FLAG_BEFORE_FILL, "crash", "HAAA | f0@0 | g0"},
	{"LATE_MASK", MUTANT_LATE_MASK, "crash", "F1AA rows | g0 | g0"},
	{"BLIND_PUT", MUTANT_BLIND_PUT, "double free", "F1AA rows | g0 g0 | x0@5"},
	{"NO_FLUSH_PUT", MUTANT_NO_FLUSH_PUT, "crash", "AHAA adr | f0@512 | f0@513"},
	{"NO_FLUSH_SPLIT", MUTANT_NO_FLUSH_SPLIT, "crash", "AHAA adr | f0@512 | f0@513"},
	{"NOTE_ONCE", MUTANT_NOTE_ONCE, "check", "hhhh | g1 | f0@0"},
	{"BLIND_FREE", MUTANT_BLIND_FREE, "check", "hhhh | g1 | f0@0"},
	{"NOTE_UNTOLD", MUTANT_NOTE_UNTOLD, "check", "hhhh warm=1 | g1 f0@0 | g0"},
	{"NO_FLUSH_CHILD", MUTANT_NO_FLUSH_CHILD, "crash", "AHAA adr | f0@512 | f0@513"},
};

static void each_mutant_is_caught(void **state)
{
	struct scenario_limits limits = limits_of(3);
	bool covered[MUTANT_COUNT] = {[MUTANT_NONE] = true};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mutants); i++) {
		struct explore_result r, again;
		struct scenario s;

		parse_or_fail(&s, mutants[i].scenario);
		limits.replay = NULL;
		/* Not by chance: without the fault the same scenario holds. */
		must_hold(&s, &limits, &(struct scenario_count){0});

		atom_mutant = mutants[i].mutant;
		int ret = scenario_explore(&s, &limits, NULL, &r);

		limits.replay = r.schedule;
		int replayed = ret == -EUCLEAN ? scenario_explore(&s, &limits, NULL, &again) : 0;

		atom_mutant = MUTANT_NONE;
		if (ret != -EUCLEAN)
			fail_msg("%s: not caught by '%s' in %" PRIu64 " executions",
				 mutants[i].name, mutants[i].scenario, r.executions);
		printf("# %s: '%s' caught it after %" PRIu64 " executions, %" PRIu64
		       " steps, in '%s': %s; schedule '%s'\n",
		       mutants[i].name, r.check, r.executions, r.steps, mutants[i].scenario, r.text,
		       r.schedule);
		assert_string_equal(r.check, mutants[i].check);
		/* The schedule is all that it takes. */
		assert_int_equal(replayed, -EUCLEAN);
		assert_string_equal(again.text, r.text);
		covered[mutants[i].mutant] = true;
	}
	for (unsigned int m = 0; m < MUTANT_COUNT; m++)
		assert_true(covered[m]);
}

/* The checks themselves: with and without merging, a fault is or is not found alike. */
static void merging_changes_nothing_but_the_effort(void **state)
{
	static const char *const list[] = {"HAAA | f0@0 | f3@8", "AAnA | g6 | f0@256",
					   "AFAA adr | g9 | f0@0", "FAAA rows | g0 g0 | d", NULL};
	struct scenario_limits limits = limits_of(3);
	uint64_t saved = 0;

	(void)state;
	for (unsigned int i = 0; list[i]; i++) {
		struct scenario_count with = {0}, without = {0};
		struct scenario s;

		parse_or_fail(&s, list[i]);
		limits.no_merge = false;
		must_hold(&s, &limits, &with);
		limits.no_merge = true;
		must_hold(&s, &limits, &without);
		assert_true(with.interleavings == without.interleavings);
		assert_true(without.interleavings == (double)without.executions);
		saved += without.executions - with.executions;
		/* The same states to crash in, and the same remains of them. */
		assert_int_equal(with.recovered, without.recovered);
	}
	assert_true(saved > 0);
}

static void a_scenario_is_read_as_it_is_written(void **state)
{
	static const char *const bad[] = {"",		"AAA | g0",	  "AAAA",
					  "AAAA | g11", "AAAA | f0#0",	  "AAAA | g0 f0#1",
					  "AAAZ | g0",	"AAAA what | g0", "AAAA | g0x",
					  "AAAA | a3",	"AAAA | d0"};
	struct scenario s, again;
	struct error err = {0};
	char text[SCENARIO_TEXT_MAX], same[SCENARIO_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(scenario_parse(&s, bad[i], &err), -EINVAL);
	for (uint64_t seed = 1; seed <= 200; seed++) {
		random_scenario(&s, seed);
		scenario_format(&s, text);
		parse_or_fail(&again, text);
		scenario_format(&again, same);
		assert_string_equal(text, same);
		assert_memory_equal(&s, &again, sizeof(s));
	}
}

/* One schedule, told step by step. */
static int replay(const char *scenario, const char *schedule)
{
	struct scenario_limits limits = limits_of(EXPLORE_UNBOUNDED);
	struct scenario_count count = {0};
	struct explore_result r;
	struct error err = {0};
	struct scenario s;
	int ret;

	if (scenario_parse(&s, scenario, &err) < 0) {
		printf("# %s\n", err.text);
		return 2;
	}
	if (getenv("LLFREE_MUTANT"))
		atom_mutant = (enum mutant)atoi(getenv("LLFREE_MUTANT"));
	limits.replay = schedule;
	limits.trace = schedule != NULL;
	ret = scenario_explore(&s, &limits, &count, &r);
	if (ret == -EUCLEAN)
		printf("# %s: %s; schedule '%s'\n", r.check, r.text, r.schedule);
	else if (ret < 0)
		printf("# error %d: the schedule does not fit\n", ret);
	print_count(scenario, &limits, &count);
	return ret < 0;
}

int main(void)
{
	const char *scenario = getenv("LLFREE_SCENARIO");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_two_operations),
		cmocka_unit_test(any_two_operations_in_two_trees),
		cmocka_unit_test(sequences_of_two_and_more),
		cmocka_unit_test(any_three_operations),
		cmocka_unit_test(notes_of_what_trees_lack),
		cmocka_unit_test(frees_of_one_block_at_once_and_of_free_ones),
		cmocka_unit_test(some_without_a_bound),
		cmocka_unit_test(faults_once_found_stay_gone),
		cmocka_unit_test(rows_with_single_operations),
		cmocka_unit_test(rows_with_sequences),
		cmocka_unit_test(caches_that_a_crash_loses),
		cmocka_unit_test(caches_that_a_crash_loses_with_sequences_and_rows),
		cmocka_unit_test(recovery_that_is_killed_and_repeated),
		cmocka_unit_test(random_sequences),
		cmocka_unit_test(each_mutant_is_caught),
		cmocka_unit_test(merging_changes_nothing_but_the_effort),
		cmocka_unit_test(a_scenario_is_read_as_it_is_written),
	};

	if (scenario)
		return replay(scenario, getenv("LLFREE_SCHEDULE"));
	if (getenv("LLFREE_ONLY"))
		cmocka_set_test_filter(getenv("LLFREE_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
