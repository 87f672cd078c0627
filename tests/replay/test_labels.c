/* SPDX-License-Identifier: MIT */
#include "tests/traces/trace_fixture.h"

#include "allocators/registry.h"
#include "replay/labels.h"
#include "replay/replay.h"
#include "sim/gfp.h"
#include "tests/base/seed.h"

#define EVENTS 6000U
#define SLOTS  400U

/* Allocations of orders 0 and 2, their frees, and labels of what lives and of what does not. */
static void make_events(struct event *events, size_t n, uint64_t seed)
{
	struct random r = random_begin(seed);
	int order_of[SLOTS]; /* -1: free */

	for (unsigned int s = 0; s < SLOTS; s++)
		order_of[s] = -1;
	for (size_t i = 0; i < n; i++) {
		unsigned int s = (unsigned int)random_below(&r, SLOTS);
		struct event *e = &events[i];

		*e = (struct event){.time_ns = i, .pfn = 4096 + 8 * s, .flags = 0xff};
		if (random_below(&r, 3) == 0) {
			e->kind = EVENT_LABEL;
			e->pfn += random_below(&r, 4) == 0;
		} else if (order_of[s] < 0) {
			e->kind = EVENT_ALLOC;
			e->gfp = GFP_MOVABLE;
			e->migratetype = MIGRATE_MOVABLE;
			order_of[s] = 2 * (int)random_below(&r, 2);
			e->order = (uint8_t)order_of[s];
		} else {
			e->kind = EVENT_FREE;
			e->order = (uint8_t)order_of[s];
			order_of[s] = -1;
		}
	}
}

/* The rule of labels.h, looking forward from one allocation. */
static bool becomes_page_cache(const struct event *events, size_t n, size_t at)
{
	for (size_t i = at + 1; i < n && i <= at + LABELS_AHEAD; i++) {
		if (events[i].kind == EVENT_LABEL && events[i].pfn == events[at].pfn)
			return true;
		if (events[i].kind == EVENT_FREE && events[i].pfn == events[at].pfn)
			return false;
	}
	return false;
}

static void labels_are_seen_so_far_ahead_however_events_arrive(void **state)
{
	static struct event events[EVENTS];
	struct random r = random_begin(3);
	uint64_t cache = 0;

	(void)state;
	for (int round = 0; round < 30; round++) {
		uint64_t most = round % 3 == 0 ? 3 : round % 3 == 1 ? 700 : EVENTS;
		const struct event *ready;
		struct labels *labels;
		size_t out = 0, n;

		make_events(events, EVENTS, (uint64_t)round + 1);
		assert_int_equal(labels_create(&labels, NULL), 0);
		for (size_t in = 0; out < EVENTS;) {
			size_t some = min_u64(EVENTS - in, random_below(&r, most + 1));
			bool last = in == EVENTS;

			assert_int_equal(
				labels_feed(labels, events + in, some, last, &ready, &n, NULL), 0);
			in += some;
			for (size_t i = 0; i < n; i++, out++) {
				struct event expected = events[out];
				bool page_cache = becomes_page_cache(events, EVENTS, out);

				if (expected.kind == EVENT_ALLOC && !page_cache)
					expected.flags &= (uint8_t)~LABELS_PAGE_CACHE;
				cache += expected.kind == EVENT_ALLOC && page_cache;
				if (!same_event(&ready[i], &expected))
					fail_msg("round %d, event %zu (seed %llu)", round, out,
						 (unsigned long long)seed_or(3));
			}
		}
		labels_destroy(labels);
	}
	assert_true(cache > 1000);
}

static void the_last_event_seen_ahead_is_the_256th(void **state)
{
	struct event events[300];
	const struct event *ready;
	size_t n;

	(void)state;
	for (size_t behind = 250; behind < 260; behind++) {
		struct labels *labels;

		memset(events, 0, sizeof(events));
		for (size_t i = 0; i < ARRAY_SIZE(events); i++)
			events[i].kind = EVENT_MARK;
		events[10] = (struct event){.kind = EVENT_ALLOC, .pfn = 77};
		events[10 + behind] = (struct event){.kind = EVENT_LABEL, .pfn = 77};
		assert_int_equal(labels_create(&labels, NULL), 0);
		assert_int_equal(
			labels_feed(labels, events, ARRAY_SIZE(events), true, &ready, &n, NULL), 0);
		assert_int_equal(n, ARRAY_SIZE(events));
		assert_int_equal(ready[10].flags, behind <= 256 ? LABELS_PAGE_CACHE : 0);
		labels_destroy(labels);
	}
}

/* ---- through a replay ---- */

/* What a back end was told, call by call. */
static struct {
	struct allocator_ops ops;
	uint8_t flags[EVENTS];
	size_t n;
} spy;

static const struct allocator_ops *inner;

static void note(const struct alloc_request *req)
{
	assert_true(spy.n < EVENTS);
	spy.flags[spy.n++] = req->flags & ALLOC_PAGE_CACHE;
}

static struct alloc_result spy_alloc(struct allocator *a, const struct alloc_request *req)
{
	note(req);
	return inner->alloc(a, req);
}

static int spy_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	note(req);
	return inner->free(a, pfn, req);
}

static int take_nothing(struct result_sink *sink, const struct result_record *record,
			struct error *err)
{
	(void)sink;
	(void)record;
	(void)err;
	return 0;
}

static void spy_on(const char *path, unsigned int samples)
{
	struct result_sink sink = {.take = take_nothing};
	struct allocator_spec *spec;
	struct replay_config config = {.trace = path, .samples = samples, .seed = 1};
	struct error err = {0};

	assert_int_equal(allocator_spec_parse("firstfit", &spec, &err), 0);
	inner = spec->ops;
	spy.ops = *inner;
	spy.ops.alloc = spy_alloc;
	spy.ops.free = spy_free;
	spy.n = 0;
	spec->ops = &spy.ops;
	config.spec = spec;
	if (replay_run(&config, &sink, &err))
		fail_msg("%s", err.text);
	spec->ops = inner;
	allocator_spec_destroy(spec);
}

static void a_back_end_hears_of_page_cache_at_allocation_and_at_free(void **state)
{
	static const struct {
		uint32_t block_events;
		unsigned int samples;
	} ways[] = {{0, 1}, {100, 1}, {0, 37}};
	static struct event events[EVENTS];
	static uint8_t expected[EVENTS], of_slot[SLOTS];
	struct fixture *f = *state;
	size_t n = 0, told = 0;

	make_events(events, EVENTS, 11);
	for (size_t i = 0; i < EVENTS; i++) {
		uint8_t *slot = &of_slot[(events[i].pfn - 4096) / 8];

		if (events[i].kind == EVENT_ALLOC)
			*slot = becomes_page_cache(events, EVENTS, i) ? ALLOC_PAGE_CACHE : 0;
		if (event_is_op(&events[i])) {
			told += *slot > 0;
			expected[n++] = *slot;
		}
	}
	assert_true(told > 100 && told < n - 100);
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		struct trace_write_options options = {.overwrite = true,
						      .block_events = ways[w].block_events};

		write_trace(f, &options, events, EVENTS, false, NULL);
		spy_on(f->path, ways[w].samples);
		assert_int_equal(spy.n, n);
		assert_memory_equal(spy.flags, expected, n);
	}
}

static void without_labels_no_bit_of_the_trace_is_taken_for_one(void **state)
{
	static struct event events[EVENTS];
	struct fixture *f = *state;

	make_events(events, EVENTS, 12);
	for (size_t i = 0; i < EVENTS; i++)
		if (events[i].kind == EVENT_LABEL)
			events[i] =
				(struct event){.time_ns = i, .kind = EVENT_MARK, .pfn = PFN_NONE};
	write_trace(f, &(struct trace_write_options){.overwrite = true}, events, EVENTS, false,
		    NULL);
	spy_on(f->path, 1);
	assert_true(spy.n > EVENTS / 2);
	for (size_t i = 0; i < spy.n; i++)
		assert_int_equal(spy.flags[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_are_seen_so_far_ahead_however_events_arrive),
		cmocka_unit_test(the_last_event_seen_ahead_is_the_256th),
		cmocka_unit_test_setup_teardown(
			a_back_end_hears_of_page_cache_at_allocation_and_at_free, fixture_setup,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(without_labels_no_bit_of_the_trace_is_taken_for_one,
						fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("replay_labels", tests, NULL, NULL);
}
