/* SPDX-License-Identifier: MIT */
/*
 * The explorer itself: it counts schedules exactly, and it finds the classic mistakes of lock-free
 * code in structures small enough to judge by eye. Each broken structure is explored beside the
 * same one without the mistake.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "tests/allocators/llfree/explorer/explore.h"
#include "tests/effort.h"

#define WORDS 8U

/* One size fits all programs of this file. */
struct program {
	_Atomic uint64_t words[WORDS];
	bool broken;	 /* make the mistake */
	unsigned int n;	 /* steps, turns, ... */
	uint64_t finals; /* of all ends: their number and the sum of their hashes, */
	uint64_t hashes; /* each end once; see note_end() */
	uint64_t seen[512];
	uint64_t got[EXPLORE_THREADS_MAX];
	uint64_t seed;
};

static struct program program;

static void reset(void *arg)
{
	struct program *p = arg;

	memset((void *)p->words, 0, sizeof(p->words));
	memset(p->got, 0, sizeof(p->got));
}

static const struct explore_memory memory[] = {
	{"word", program.words, sizeof(program.words), sizeof(uint64_t)},
};

static struct explore explorer_of(void (*run)(void *, unsigned int), unsigned int nr_threads)
{
	memset(&program, 0, sizeof(program));
	return (struct explore){
		.nr_threads = nr_threads,
		.preemptions = EXPLORE_UNBOUNDED,
		.merge = true,
		.memory = memory,
		.nr_memory = ARRAY_SIZE(memory),
		.arg = &program,
		.reset = reset,
		.run = run,
	};
}

static void must_pass(const struct explore *e, struct explore_result *r)
{
	int ret = explore_run(e, r);

	if (ret < 0)
		fail_msg("%d: %s: %s; schedule %s", ret, r->check, r->text, r->schedule);
	assert_false(r->cut);
}

static void must_fail(const struct explore *e, struct explore_result *r, const char *check)
{
	assert_int_equal(explore_run(e, r), -EUCLEAN);
	assert_string_equal(r->check, check);

	/* And the same again from the schedule alone. */
	struct explore replay = *e;
	struct explore_result again;

	printf("# %s: %s; after %" PRIu64 " executions, schedule %s:\n", r->check, r->text,
	       r->executions, r->schedule);
	replay.replay = r->schedule;
	replay.trace = r->longest < 20;
	assert_int_equal(explore_run(&replay, &again), -EUCLEAN);
	assert_string_equal(again.check, check);
	assert_string_equal(again.text, r->text);
	assert_int_equal(again.executions, 1);
}

/*
 * Counting
 */

static void touch_own_word(void *arg, unsigned int thread)
{
	struct program *p = arg;

	for (unsigned int i = 0; i < p->n; i++)
		atom64_add(&p->words[thread], 1, ATOM_RELAXED);
}

static uint64_t binomial(uint64_t n, uint64_t k)
{
	uint64_t b = 1;

	for (uint64_t i = 1; i <= k; i++)
		b = b * (n - k + i) / i;
	return b;
}

static void all_schedules_are_counted_whether_run_or_merged(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 5; n++) {
		struct explore e = explorer_of(touch_own_word, 2);
		struct explore_result r;

		program.n = n;
		must_pass(&e, &r);
		assert_true(r.interleavings == (double)binomial(2 * n, n));
		/* Where the two have got to is all there is to a state. */
		assert_int_equal(r.states, (n + 1) * (n + 1));
		assert_int_equal(r.longest, 2 * n);

		e.merge = false;
		must_pass(&e, &r);
		assert_int_equal(r.executions, binomial(2 * n, n));
		assert_true(r.interleavings == (double)r.executions);
		assert_int_equal(r.steps, r.executions * 2 * n);
	}

	struct explore e = explorer_of(touch_own_word, 3);
	struct explore_result r;

	program.n = 3;
	must_pass(&e, &r);
	assert_true(r.interleavings == 1680); /* 9! / 3!^3 */
	e.merge = false;
	must_pass(&e, &r);
	assert_int_equal(r.executions, 1680);
}

/* Schedules of two threads of @n steps with at most @bound preemptions, one by one. */
static uint64_t count_bounded(unsigned int n, unsigned int bound)
{
	uint64_t count = 0;

	for (uint64_t word = 0; word < UINT64_C(1) << 2 * n; word++) {
		unsigned int done[2] = {0, 0}, preemptions = 0;

		if (__builtin_popcountll(word) != (int)n)
			continue;
		for (unsigned int i = 0, last = 0; i < 2 * n; i++) {
			unsigned int t = word >> i & 1;

			if (i > 0 && t != last)
				preemptions += done[last] < n;
			done[t]++;
			last = t;
		}
		count += preemptions <= bound;
	}
	return count;
}

static void a_preemption_bound_keeps_exactly_the_schedules_within_it(void **state)
{
	(void)state;
	for (unsigned int bound = 0; bound <= 5; bound++) {
		struct explore e = explorer_of(touch_own_word, 2);
		struct explore_result r;
		uint64_t expected = count_bounded(5, bound);

		program.n = 5;
		e.preemptions = bound;
		must_pass(&e, &r);
		assert_true(r.interleavings == (double)expected);
		e.merge = false;
		must_pass(&e, &r);
		assert_int_equal(r.executions, expected);
	}
}

static void a_budget_of_executions_is_kept_and_told(void **state)
{
	(void)state;
	struct explore e = explorer_of(touch_own_word, 2);
	struct explore_result r;

	program.n = 5;
	e.merge = false;
	e.max_executions = 100;
	assert_int_equal(explore_run(&e, &r), 0);
	assert_true(r.cut);
	assert_int_equal(r.executions, 100);
	assert_true(r.interleavings == 100);
}

/* Each distinct end once: its words and what the threads have read. */
static void note_end(void *arg)
{
	struct program *p = arg;
	uint64_t h = 1;

	for (unsigned int i = 0; i < WORDS; i++)
		h = (h ^ p->words[i]) * UINT64_C(0x9e3779b97f4a7c15) + (h >> 29);
	for (unsigned int i = 0; i < EXPLORE_THREADS_MAX; i++)
		h = (h ^ p->got[i]) * UINT64_C(0x9e3779b97f4a7c15) + (h >> 29);
	for (uint64_t i = 0; i < p->finals; i++) {
		if (p->seen[i] == h)
			return;
	}
	if (p->finals == ARRAY_SIZE(p->seen)) {
		explore_fail("test", "too many ends");
		return;
	}
	p->seen[p->finals++] = h;
	p->hashes += h;
}

/* A few random accesses to three words, each depending on what was read so far. */
static void run_random(void *arg, unsigned int thread)
{
	struct program *p = arg;
	uint64_t r = p->seed * 0x9e3779b9U + thread * 0x85ebca6bU;

	for (unsigned int i = 0; i < p->n; i++) {
		r = r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);

		_Atomic uint64_t *word = &p->words[(r >> 33) % 3];
		uint64_t value = (r >> 40) % 3, found;

		switch ((r >> 50) % 6) {
		case 0:
			found = atom64_load(word, ATOM_RELAXED);
			break;
		case 1:
			atom64_store(word, value, ATOM_RELAXED);
			found = 0;
			break;
		case 2:
		case 3:
			found = (r >> 45) % 3;
			found += atom64_cas(word, &found, value, ATOM_RELAXED);
			break;
		case 4:
			found = atom64_swap(word, value, ATOM_RELAXED);
			break;
		default:
			found = atom64_add(word, 1, ATOM_RELAXED);
		}
		p->got[thread] = p->got[thread] * 7 + found;
		/* What is read decides what comes next. */
		r ^= found << 35;
	}
}

static void merging_reaches_the_same_ends_as_running_every_schedule(void **state)
{
	uint64_t merged = 0, run = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 200 * test_effort(); seed++) {
		struct explore e = explorer_of(run_random, 2 + seed % 2);
		struct explore_result with, without;

		e.end = note_end;
		e.preemptions = seed % 4 ? EXPLORE_UNBOUNDED : 2;
		program.n = e.nr_threads == 2 ? 5 : 3;
		program.seed = seed;
		must_pass(&e, &with);

		uint64_t finals = program.finals, hashes = program.hashes;

		program.finals = program.hashes = 0;
		e.merge = false;
		must_pass(&e, &without);
		if (finals != program.finals || hashes != program.hashes ||
		    with.interleavings != (double)without.executions)
			fail_msg("seed %" PRIu64 ": %" PRIu64 " ends, not %" PRIu64
				 "; %.0f schedules, not %" PRIu64,
				 seed, finals, program.finals, with.interleavings,
				 without.executions);
		merged += with.executions;
		run += without.executions;
	}
	/* Or the comparison would be with itself. */
	assert_true(merged * 4 < run);
}

/*
 * Finding
 */

static void increment(void *arg, unsigned int thread)
{
	struct program *p = arg;

	(void)thread;
	for (unsigned int i = 0; i < 2; i++) {
		if (p->broken) {
			uint64_t v = atom64_load(&p->words[0], ATOM_RELAXED);

			atom64_store(&p->words[0], v + 1, ATOM_RELAXED);
		} else {
			atom64_add(&p->words[0], 1, ATOM_RELAXED);
		}
	}
}

static void nothing_is_lost(void *arg)
{
	struct program *p = arg;

	if (p->words[0] != 4)
		explore_fail("sum", "4 increments make %u", (unsigned int)p->words[0]);
}

static void a_lost_update_is_found(void **state)
{
	(void)state;
	struct explore e = explorer_of(increment, 2);
	struct explore_result r;

	e.end = nothing_is_lost;
	must_pass(&e, &r);
	program.broken = true;
	must_fail(&e, &r, "sum");
	/* One preemption is enough; without any, the threads only follow each other. */
	e.preemptions = 1;
	must_fail(&e, &r, "sum");
	e.preemptions = 0;
	must_pass(&e, &r);
	assert_true(r.interleavings == 2);
}

/*
 * A stack of nodes 1..3, words[node] its successor, words[0] the top, in the low byte; the rest of
 * the top counts changes, unless that is forgotten.
 */
static void stack_change(struct program *p, uint64_t *top, uint64_t node, bool *done)
{
	uint64_t version = p->broken ? 0 : (*top & ~UINT64_C(0xff)) + 0x100;

	*done = atom64_cas(&p->words[0], top, version | node, ATOM_ACQ_REL);
}

static uint64_t stack_pop(struct program *p)
{
	uint64_t top = atom64_load(&p->words[0], ATOM_ACQUIRE);
	bool done = false;

	while (!done && (top & 0xff)) {
		uint64_t old = top;
		uint64_t next = atom64_load(&p->words[top & 0xff], ATOM_RELAXED);

		stack_change(p, &top, next, &done);
		if (done)
			return old & 0xff;
	}
	return 0;
}

static void stack_push(struct program *p, uint64_t node)
{
	uint64_t top = atom64_load(&p->words[0], ATOM_RELAXED);
	bool done = false;

	while (!done) {
		atom64_store(&p->words[node], top & 0xff, ATOM_RELAXED);
		stack_change(p, &top, node, &done);
	}
}

static void reset_stack(void *arg)
{
	struct program *p = arg;

	reset(arg);
	p->words[0] = 1;
	p->words[1] = 2;
	p->words[2] = 3;
}

static void use_stack(void *arg, unsigned int thread)
{
	struct program *p = arg;
	uint64_t first = stack_pop(p);

	p->got[thread] = first;
	if (thread == 0)
		return;

	uint64_t second = stack_pop(p);

	if (first)
		stack_push(p, first);
	p->got[thread] = second;
}

static void each_node_has_one_owner(void *arg)
{
	struct program *p = arg;
	unsigned int owners[4] = {0};

	owners[p->got[0]]++;
	owners[p->got[1]]++;
	for (uint64_t node = p->words[0] & 0xff, n = 0; node && n < 4; node = p->words[node], n++)
		owners[node]++;
	for (unsigned int node = 1; node < 4; node++) {
		if (owners[node] != 1)
			explore_fail("owners", "node %u has %u", node, owners[node]);
	}
}

static void an_aba_is_found(void **state)
{
	(void)state;
	struct explore e = explorer_of(use_stack, 2);
	struct explore_result r;

	e.reset = reset_stack;
	e.end = each_node_has_one_owner;
	must_pass(&e, &r);
	program.broken = true;
	must_fail(&e, &r, "owners");
}

/* One sleeps until there is something; the other, seeing nobody asleep, need not wake anybody. */
static void sleep_or_wake(void *arg, unsigned int thread)
{
	struct program *p = arg;
	_Atomic uint64_t *ready = &p->words[0], *asleep = &p->words[1];

	if (thread == 1) {
		atom64_store(ready, 1, ATOM_RELEASE);
		if (atom64_load(asleep, ATOM_ACQUIRE))
			atom64_store(asleep, 0, ATOM_RELEASE);
		return;
	}
	if (p->broken && atom64_load(ready, ATOM_ACQUIRE))
		return;
	atom64_store(asleep, 1, ATOM_RELEASE);
	/* Right: look again once others can see that one is going to sleep. */
	if (!p->broken && atom64_load(ready, ATOM_ACQUIRE))
		return;
	while (atom64_load(asleep, ATOM_ACQUIRE))
		atom_wait();
}

static void a_missed_wakeup_is_found(void **state)
{
	(void)state;
	struct explore e = explorer_of(sleep_or_wake, 2);
	struct explore_result r;

	must_pass(&e, &r);
	program.broken = true;
	must_fail(&e, &r, "deadlock");
}

static void lock_and_count(void *arg, unsigned int thread)
{
	struct program *p = arg;
	uint64_t expected = 0;

	(void)thread;
	while (!atom64_cas(&p->words[1], &expected, 1, ATOM_ACQUIRE)) {
		if (!p->broken)
			atom_wait();
		expected = 0;
	}
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t v = atom64_load(&p->words[0], ATOM_RELAXED);

		atom64_store(&p->words[0], v + 1, ATOM_RELAXED);
	}
	atom64_store(&p->words[1], 0, ATOM_RELEASE);
}

static void waiting_ends_with_anothers_step_and_spinning_is_a_livelock(void **state)
{
	(void)state;
	struct explore e = explorer_of(lock_and_count, 2);
	struct explore_result r;

	e.end = nothing_is_lost;
	must_pass(&e, &r);
	e.merge = false;
	must_pass(&e, &r);
	program.broken = true;
	e.max_steps = 50;
	must_fail(&e, &r, "livelock");
}

static void assert_on_the_way(void *arg, unsigned int thread)
{
	struct program *p = arg;

	increment(arg, thread);
	uint64_t sum = atom64_load(&p->words[0], ATOM_RELAXED);

	assert(sum != 3 || thread == 0);
}

static void an_assertion_of_the_code_under_test_is_a_failure_with_a_schedule(void **state)
{
	(void)state;
	struct explore e = explorer_of(assert_on_the_way, 2);
	struct explore_result r;

	must_fail(&e, &r, "assertion");
	assert_ptr_equal(strstr(r.text, "sum != 3 || thread == 0 (test_explore.c:"), r.text);
}

static void a_schedule_that_does_not_fit_is_refused(void **state)
{
	static const char *const bad[] = {"0*3 1*", "2*1", "0*5", "x", "0*4 0*1"};
	struct explore_result r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct explore e = explorer_of(touch_own_word, 2);

		program.n = 4;
		e.replay = bad[i];
		assert_int_equal(explore_run(&e, &r), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_schedules_are_counted_whether_run_or_merged),
		cmocka_unit_test(a_preemption_bound_keeps_exactly_the_schedules_within_it),
		cmocka_unit_test(a_budget_of_executions_is_kept_and_told),
		cmocka_unit_test(merging_reaches_the_same_ends_as_running_every_schedule),
		cmocka_unit_test(a_lost_update_is_found),
		cmocka_unit_test(an_aba_is_found),
		cmocka_unit_test(a_missed_wakeup_is_found),
		cmocka_unit_test(waiting_ends_with_anothers_step_and_spinning_is_a_livelock),
		cmocka_unit_test(an_assertion_of_the_code_under_test_is_a_failure_with_a_schedule),
		cmocka_unit_test(a_schedule_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
