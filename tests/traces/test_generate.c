/* SPDX-License-Identifier: MIT */
/*
 * Generated traces, read back: every workload is a sound trace (names of living blocks never overlap,
 * are reused last-in first-out, all that was promised is kept), the same bytes each time, and cut short
 * it is the beginning of the longer one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "replay/objects.h"
#include "tests/base/seed.h"
#include "traces/generate/churn.h"
#include "traces/generate/generate.h"

#define MEMORY	   (UINT64_C(16) << 20)
#define FRAMES	   (MEMORY >> PAGE_SHIFT_DEFAULT)
#define EVENTS_MAX 40000

static char path[64];

struct read_back {
	struct trace_header header;
	uint32_t cpus;
	uint64_t frames;
	struct generate_stats stats;
	struct event event[EVENTS_MAX];
	size_t n;
	char mark[64][32];
	size_t nr_marks;
};

static struct read_back first, second;

static const struct workload *workload_called(const char *name)
{
	size_t i = 0;

	while (strcmp(workloads[i]->name, name) != 0)
		i++;
	return workloads[i];
}

static int generate(const char *name, const char *values, struct generate_stats *stats,
		    struct error *err)
{
	const struct generate_how how = {.overwrite = true};
	const struct workload *w = workload_called(name);
	struct option_set *options;
	int rc;

	assert_int_equal(option_set_create(w->options, &options, err), 0);
	assert_int_equal(option_set_parse_spec(options, values, err), 0);
	rc = generate_file(w, options, path, &how, stats, err);
	option_set_destroy(options);
	return rc;
}

static void read_trace(struct read_back *t)
{
	const struct event *events;
	struct trace_reader *r;
	struct error err;
	size_t n;
	int rc;

	t->n = t->nr_marks = 0;
	assert_int_equal(trace_reader_open(path, TRACE_VERIFY, &r, &err), 0);
	t->header = *trace_reader_header(r);
	t->cpus = t->header.machine->nr_cpus;
	t->frames = machine_managed(t->header.machine);
	t->header.machine = NULL;
	while ((rc = trace_reader_next(r, &events, &n, &err)) > 0) {
		assert_true(t->n + n <= EVENTS_MAX);
		for (size_t i = 0; i < n; i++) {
			if (events[i].kind == EVENT_MARK)
				snprintf(t->mark[t->nr_marks++], sizeof(t->mark[0]), "%s",
					 trace_reader_mark_name(r, events[i].arg));
			t->event[t->n++] = events[i];
		}
	}
	assert_int_equal(rc, 0);
	trace_reader_close(r);
}

static void make(const char *name, const char *values, struct read_back *t)
{
	struct error err;

	if (generate(name, values, &t->stats, &err))
		fail_msg("%s %s: %s", name, values, err.text);
	read_trace(t);
	assert_int_equal(t->stats.totals.events, t->n);
}

/* What lives: for each id its block's order + 1, at the block's head and in all of it. */
struct living {
	uint8_t order[2 * FRAMES];
	bool head[2 * FRAMES];
	uint64_t frames, peak;
	uint64_t freed[NR_ORDERS][FRAMES]; /* not yet used again, the last on top */
	uint64_t nr_freed[NR_ORDERS];
};

static void born(struct living *l, const struct event *e)
{
	uint64_t *n = &l->nr_freed[e->order];

	assert_true(is_aligned(e->pfn, UINT64_C(1) << e->order));
	assert_true(e->pfn + (UINT64_C(1) << e->order) <= ARRAY_SIZE(l->order));
	for (uint64_t i = 0; i < UINT64_C(1) << e->order; i++) {
		assert_int_equal(l->order[e->pfn + i], 0);
		l->order[e->pfn + i] = (uint8_t)(e->order + 1);
	}
	l->head[e->pfn] = true;
	if (*n)
		assert_int_equal(e->pfn, l->freed[e->order][--*n]);
	l->frames += UINT64_C(1) << e->order;
	l->peak = max_u64(l->peak, l->frames);
}

static void died(struct living *l, const struct event *e)
{
	assert_true(e->pfn < ARRAY_SIZE(l->order) && l->head[e->pfn]);
	assert_int_equal(l->order[e->pfn], e->order + 1);
	memset(&l->order[e->pfn], 0, UINT64_C(1) << e->order);
	l->head[e->pfn] = false;
	l->freed[e->order][l->nr_freed[e->order]++] = e->pfn;
	l->frames -= UINT64_C(1) << e->order;
}

static void check_sound(const struct read_back *t, uint64_t rate)
{
	struct living *l = calloc(1, sizeof(*l));
	uint64_t ops = 0;

	assert_non_null(l);
	for (size_t i = 0; i < t->n; i++) {
		const struct event *e = &t->event[i];

		assert_int_equal(e->time_ns, ops * 1000000000 / rate);
		assert_true(e->cpu < t->cpus);
		if (e->kind == EVENT_ALLOC)
			born(l, e);
		else if (e->kind == EVENT_FREE)
			died(l, e);
		else
			assert_int_equal(e->kind, EVENT_MARK);
		ops += event_is_op(e);
	}
	assert_int_equal(t->stats.totals.ops, ops);
	assert_int_equal(t->stats.peak_frames, l->peak);
	assert_true(l->peak <= t->frames);
	free(l);
}

static void names_of_living_blocks_never_overlap_and_the_last_freed_comes_first(void **state)
{
	static const char *const values[] = {
		"memory=16M,cpus=1,order=0,rate=7",
		"memory=16M,cpus=3,order=0,rate=1000",
		"memory=16M,cpus=8,order=2,rate=100000",
		"memory=16M,cpus=2,order=5,rate=1000000000",
	};
	static const uint64_t rates[] = {7, 1000, 100000, 1000000000};

	(void)state;
	for (const struct workload *const *w = workloads; *w; w++) {
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			make((*w)->name, values[i], &first);
			check_sound(&first, rates[i]);
		}
	}
}

static void the_header_says_what_was_made(void **state)
{
	(void)state;
	make("frag", "memory=16M,cpus=4,seed=7,rounds=2,fill=50", &first);
	assert_int_equal(first.header.identity, IDENTITY_VIRTUAL);
	assert_int_equal(first.cpus, 4);
	assert_int_equal(first.frames, FRAMES);
	assert_int_equal(first.header.recorded_s, 0);
	assert_string_equal(first.header.kernel, "");
	assert_string_equal(first.header.clock, "virtual");
	assert_non_null(strstr(first.header.recorder, "quire generate "));
	assert_string_equal(first.header.note, "frag: memory=16777216,cpus=4,rate=1000000000,"
					       "seed=7,order=0,fill=50,rounds=2");
}

static void the_same_options_give_the_same_bytes(void **state)
{
	(void)state;
	for (const struct workload *const *w = workloads; *w; w++) {
		make((*w)->name, "memory=16M,cpus=3,seed=5", &first);
		make((*w)->name, "memory=16M,cpus=3,seed=5", &second);
		assert_string_equal(first.stats.totals.digest, second.stats.totals.digest);
		assert_int_equal(first.stats.bytes, second.stats.bytes);
	}
	make("frag", "memory=16M,cpus=3,seed=6", &second);
	assert_memory_not_equal(first.event, second.event, sizeof(first.event[0]) * 9000);
}

static void a_trace_cut_short_is_the_beginning_of_the_longer_one(void **state)
{
	(void)state;
	for (const struct workload *const *w = workloads; *w; w++) {
		uint64_t all;

		make((*w)->name, "memory=16M,cpus=2", &first);
		all = first.n;
		for (uint64_t n = 1; n <= all + 1; n += n < 5 || n >= all - 1 ? 1 : (all - 5) / 4) {
			char values[64];

			snprintf(values, sizeof(values), "memory=16M,cpus=2,events=%llu",
				 (unsigned long long)n);
			make((*w)->name, values, &second);
			assert_int_equal(second.n, min_u64(n, all));
			assert_memory_equal(second.event, first.event,
					    second.n * sizeof(second.event[0]));
		}
	}
}

static void frag_follows_the_protocol(void **state)
{
	const uint64_t blocks = FRAMES * 90 / 100, share = blocks / 4, half = share / 2;
	uint64_t held = share - half, allocs = blocks, frees = 4 * half;

	(void)state;
	make("frag", "memory=16M,cpus=4,rounds=3", &first);
	assert_int_equal(blocks % 4, 2); /* so two cpus hold one more than `share` */
	assert_int_equal(share % 2, 1);	 /* and free one more */
	frees += 2;
	for (unsigned int round = 1; round <= 3; round++) {
		allocs += 4 * (held / 10);
		frees += 4 * (held / 10);
	}
	assert_int_equal(first.stats.totals.by_kind[EVENT_ALLOC], allocs);
	assert_int_equal(first.stats.totals.by_kind[EVENT_FREE], frees);
	assert_int_equal(first.nr_marks, 4);
	assert_string_equal(first.mark[0], "fill");
	for (unsigned int round = 1; round <= 3; round++) {
		char name[32];

		snprintf(name, sizeof(name), "round %u", round);
		assert_string_equal(first.mark[round], name);
	}
	/* The cpus in turn. */
	for (uint64_t i = 0; i < blocks; i++)
		assert_int_equal(first.event[1 + i].cpu, i % 4);
}

static void bulk_lets_the_cpus_take_turns_and_frees_in_the_same_order(void **state)
{
	const uint64_t blocks = FRAMES / 4 / 2 / 3 * 3;

	(void)state;
	make("bulk", "memory=16M,cpus=3,order=2", &first);
	assert_int_equal(first.n, 2 * blocks + 2);
	assert_string_equal(first.mark[0], "allocate");
	assert_string_equal(first.mark[1], "free");
	for (uint64_t i = 0; i < blocks; i++) {
		const struct event *a = &first.event[1 + i], *f = &first.event[2 + blocks + i];

		assert_int_equal(a->cpu, i % 3);
		assert_int_equal(f->cpu, i % 3);
		assert_int_equal(f->pfn, a->pfn);
		assert_int_equal(a->order, 2);
	}
	assert_int_equal(first.stats.peak_frames, 4 * blocks);
}

static void what_makes_no_sense_is_refused_and_leaves_nothing(void **state)
{
	static const struct {
		const char *workload, *values, *word;
	} cases[] = {
		{"frag", "memory=4M,cpus=100", "raise memory"},
		{"frag", "memory=4M,cpus=8,order=10", "lower order"},
		{"bulk", "memory=4M,cpus=2,order=10", "raise memory"},
		{"bulk", "memory=16777215", "multiple of 4096"},
	};
	struct error err;

	(void)state;
	unlink(path);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(generate(cases[i].workload, cases[i].values, NULL, &err), -EINVAL);
		assert_non_null(strstr(err.text, cases[i].word));
		assert_int_equal(access(path, F_OK), -1);
	}
}

/* ---- the protocol itself ---- */

/* Serves so many, and then no more. */
struct stingy {
	struct churn_player player;
	uint64_t left, next, asked, freed;
	uint8_t alive[FRAMES];
	uint32_t rounds;
	int fail_in_round;
};

static int stingy_alloc(struct churn_player *player, uint32_t cpu, pfn_t *block)
{
	struct stingy *s = (struct stingy *)player;

	(void)cpu;
	s->asked++;
	*block = PFN_NONE;
	if (!s->left)
		return 0;
	s->left--;
	*block = s->next++;
	s->alive[*block]++;
	return 0;
}

static int stingy_free(struct churn_player *player, uint32_t cpu, pfn_t block)
{
	struct stingy *s = (struct stingy *)player;

	(void)cpu;
	assert_int_equal(s->alive[block]--, 1);
	s->freed++;
	return 0;
}

static int stingy_round_over(struct churn_player *player, uint32_t round)
{
	struct stingy *s = (struct stingy *)player;

	assert_int_equal(round, s->rounds++);
	return (int)round == s->fail_in_round ? -EIO : 0;
}

static const struct churn_plan plan = {
	.blocks = 2000, .seed = 1, .cpus = 4, .fill = 90, .rounds = 5};

static struct stingy *stingy(uint64_t left)
{
	static struct stingy s;

	s = (struct stingy){
		.player = {stingy_alloc, stingy_free, stingy_round_over},
		.left = left,
		.fail_in_round = -1,
	};
	return &s;
}

static void whoever_is_refused_holds_less_from_then_on(void **state)
{
	struct stingy *s = stingy(UINT64_MAX);
	uint64_t asked;

	(void)state;
	assert_int_equal(churn_play(&plan, &s->player, NULL), 0);
	assert_int_equal(s->rounds, 6);
	assert_int_equal(s->asked, 1800 + 5 * 4 * 22);
	asked = s->asked;
	/* Just enough for the beginning: each round frees a tenth of ever less. */
	s = stingy(1800);
	assert_int_equal(churn_play(&plan, &s->player, NULL), 0);
	assert_true(s->asked < asked);
	assert_int_equal(s->asked - 1800, s->freed - 900);
	/* A tenth of 225, of 203, of 183, 165, 149. */
	assert_int_equal(s->freed, 900 + 4 * (22 + 20 + 18 + 16 + 14));
}

static void what_the_player_returns_ends_it(void **state)
{
	struct stingy *s = stingy(UINT64_MAX);

	(void)state;
	s->fail_in_round = 2;
	assert_int_equal(churn_play(&plan, &s->player, NULL), -EIO);
	assert_int_equal(s->rounds, 3);
}

/* ---- names ---- */

static void ids_of_all_orders_never_overlap(void **state)
{
	enum { IDS = 1 << 18, STEPS = 100000, LIVE_MAX = 64 };
	struct random r = random_begin(21);
	uint8_t *used = calloc(IDS, 1);
	struct {
		uint64_t id[LIVE_MAX], n;
	} live[NR_ORDERS] = {0};
	struct ids ids = {0};

	(void)state;
	assert_non_null(used);
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int order = (unsigned int)random_below(&r, NR_ORDERS);
		uint64_t frames = UINT64_C(1) << order, id, i;

		if (live[order].n < LIVE_MAX && random_below(&r, 2)) {
			assert_int_equal(ids_take(&ids, order, &id), 0);
			if (!is_aligned(id, frames) || id + frames > IDS ||
			    memchr(&used[id], 1, frames))
				fail_msg("id %llu, order %u, step %u, seed %llu",
					 (unsigned long long)id, order, step,
					 (unsigned long long)seed_or(21));
			memset(&used[id], 1, frames);
			live[order].id[live[order].n++] = id;
		} else if (live[order].n) {
			i = random_below(&r, live[order].n);
			id = live[order].id[i];
			live[order].id[i] = live[order].id[--live[order].n];
			memset(&used[id], 0, frames);
			assert_int_equal(ids_give(&ids, order, id), 0);
		}
	}
	ids_release(&ids);
	free(used);
}

static void ids_end_where_no_replay_could_follow(void **state)
{
	struct ids ids = {.next = IDS_END - (1 << MAX_ORDER)};
	uint64_t id;

	(void)state;
	assert_int_equal(IDS_END, OBJECT_PLACES_MAX);
	assert_int_equal(ids_take(&ids, 9, &id), 0);
	assert_int_equal(ids_take(&ids, 9, &id), 0);
	assert_int_equal(id, IDS_END - 512);
	assert_int_equal(ids_take(&ids, 9, &id), -ENOSPC);
	assert_int_equal(ids_take(&ids, 0, &id), -ENOSPC);
	assert_int_equal(ids_give(&ids, 9, IDS_END - 512), 0);
	assert_int_equal(ids_take(&ids, 9, &id), 0);
	assert_int_equal(id, IDS_END - 512);
	ids_release(&ids);
}

static void every_table_of_options_is_consistent(void **state)
{
	static const char *const common[] = {"memory", "cpus", "events", "rate", "seed"};

	(void)state;
	for (const struct workload *const *w = workloads; *w; w++) {
		struct option_set *options;
		struct error err;

		if (option_set_create((*w)->options, &options, &err))
			fail_msg("%s: %s", (*w)->name, err.text);
		for (size_t i = 0; i < ARRAY_SIZE(common); i++) {
			const struct option *row = (*w)->options;

			while (row->name && strcmp(row->name, common[i]) != 0)
				row++;
			if (!row->name)
				fail_msg("%s: no %s", (*w)->name, common[i]);
		}
		assert_int_equal((*w)->check(options, &err), 0);
		option_set_destroy(options);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			names_of_living_blocks_never_overlap_and_the_last_freed_comes_first),
		cmocka_unit_test(the_header_says_what_was_made),
		cmocka_unit_test(the_same_options_give_the_same_bytes),
		cmocka_unit_test(a_trace_cut_short_is_the_beginning_of_the_longer_one),
		cmocka_unit_test(frag_follows_the_protocol),
		cmocka_unit_test(bulk_lets_the_cpus_take_turns_and_frees_in_the_same_order),
		cmocka_unit_test(what_makes_no_sense_is_refused_and_leaves_nothing),
		cmocka_unit_test(whoever_is_refused_holds_less_from_then_on),
		cmocka_unit_test(what_the_player_returns_ends_it),
		cmocka_unit_test(ids_of_all_orders_never_overlap),
		cmocka_unit_test(ids_end_where_no_replay_could_follow),
		cmocka_unit_test(every_table_of_options_is_consistent),
	};
	int rc;

	snprintf(path, sizeof(path), "test-generate-%d.quire", (int)getpid());
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
