/* SPDX-License-Identifier: MIT */
#include "tests/effort.h"
#include "tests/skip.h"
#include "trace_fixture.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "traces/file/trace_codec.h"

/* Read f->path and compare with @events; in passing, that two readings are alike. */
static void expect_events(const struct fixture *f, const struct event *events, size_t n,
			  const char *what, uint64_t seed)
{
	const struct event *got;
	struct trace_reader *r;
	struct error err = {0};
	size_t k, at;
	int ret;

	if (trace_reader_open(f->path, TRACE_VERIFY, &r, &err))
		fail_msg("%s, seed %llu: %s", what, (unsigned long long)seed, err.text);
	for (int round = 0; round < 2; round++) {
		at = 0;
		while ((ret = trace_reader_next(r, &got, &k, &err)) == 1) {
			assert_in_range(k, 1, n - at);
			for (size_t i = 0; i < k; i++, at++)
				if (!same_event(&got[i], &events[at]))
					fail_msg("%s, seed %llu: event %zu differs", what,
						 (unsigned long long)seed, at);
		}
		if (ret)
			fail_msg("%s, seed %llu: %s", what, (unsigned long long)seed, err.text);
		assert_int_equal(at, n);
		assert_int_equal(trace_reader_next(r, &got, &k, &err), 0);
		assert_int_equal(trace_reader_rewind(r, &err), 0);
	}
	trace_reader_close(r);
}

static void events_like_a_kernels_come_back_in_every_block_size(void **state)
{
	struct fixture *f = *state;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		size_t n = seed == 20 ? 150000 : 1 + (size_t)(seed * 7919 % 3000);
		struct trace_write_options o = {
			.overwrite = true,
			.block_events = seed == 20 ? 0 : (uint32_t)(1 + seed * 31 % 400),
		};
		struct event *events = kernel_events(seed, n);

		write_trace(f, &o, events, n, false, NULL);
		expect_events(f, events, n, "kernel", seed);
		free(events);
	}
}

static void events_of_any_valid_fields_come_back(void **state)
{
	struct fixture *f = *state;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		size_t n = seed == 20 ? 70000 : 2000;
		struct trace_write_options o = {.overwrite = true, .level = 1};
		struct event *events;

		f->header.identity = seed & 1 ? IDENTITY_VIRTUAL : IDENTITY_PFN;
		events =
			wild_events(seed, n, seed & 1 ? PFN_MAX + 1 : FIXTURE_FRAMES, FIXTURE_CPUS);
		write_trace(f, &o, events, n, false, NULL);
		expect_events(f, events, n, "wild", seed);
		free(events);
	}
}

/* More cpus than fit a byte, more op shapes than fit a byte, and as many as there are events. */
static void many_cpus_and_many_shapes_come_back(void **state)
{
	struct fixture *f = *state;
	struct trace_write_options o = {.overwrite = true, .level = 1};
	struct machine *m;
	size_t n = 65536;
	struct event *events;

	assert_int_equal(machine_from_memory(FIXTURE_FRAMES * UINT64_C(4096), 4096, &m, NULL), 0);
	f->header.machine = m;
	events = wild_events(3, n, FIXTURE_FRAMES, 4096);
	for (size_t i = 0; i < n; i++) {
		events[i].gfp = (uint32_t)i;
		events[i].cpu = (uint16_t)(i * 17 % 4096);
	}
	write_trace(f, &o, events, n, false, NULL);
	expect_events(f, events, n, "many", 3);
	free(events);
	machine_destroy(m);
}

static void whole_microseconds_cost_less_than_nanoseconds(void **state)
{
	struct fixture *f = *state;
	struct trace_write_options o = {.overwrite = true};
	size_t n = 20000, fine, coarse;
	struct event *events = kernel_events(4, n);

	write_trace(f, &o, events, n, false, NULL);
	free(load_file(f->path, &fine));
	for (size_t i = 0; i < n; i++)
		events[i].time_ns = events[i].time_ns / 1000 * 1000;
	write_trace(f, &o, events, n, false, NULL);
	free(load_file(f->path, &coarse));
	expect_events(f, events, n, "microseconds", 4);
	assert_true(coarse + n / 2 < fine);
	free(events);
}

static void a_kernel_like_trace_takes_less_than_three_bytes_an_operation(void **state)
{
	struct fixture *f = *state;
	size_t n = 130000, bytes;
	struct event *events = kernel_events(9, n);
	struct trace_totals totals;

	write_trace(f, NULL, events, n, false, &totals);
	free(load_file(f->path, &bytes));
	/* The toy kernel frees at random one time in three, which real ones do not. */
	assert_true((double)bytes < 3.0 * (double)totals.ops);
	free(events);
}

static void header_machine_and_totals_come_back(void **state)
{
	struct fixture *f = *state;
	size_t n = 3000, bytes;
	struct event *events = wild_events(8, n, FIXTURE_FRAMES, FIXTURE_CPUS);
	struct trace_totals totals, expect = {.events = n,
					      .first_ns = events[0].time_ns,
					      .last_ns = events[n - 1].time_ns,
					      .resorted = 41};
	const struct trace_header *h;
	const struct trace_totals *t;
	struct trace_reader *r;
	struct trace_writer *w;

	for (size_t i = 0; i < n; i++) {
		if (events[i].kind == EVENT_LOST)
			events[i].arg = i;
		expect.by_kind[events[i].kind]++;
		expect.ops += event_is_op(&events[i]);
		expect.lost_events += events[i].kind == EVENT_LOST ? i : 0;
		if (events[i].context > expect.contexts)
			expect.contexts = events[i].context;
	}
	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, NULL), 0);
	assert_int_equal(trace_writer_events(w, events, n, NULL), 0);
	trace_writer_add_resorted(w, 41);
	assert_int_equal(trace_writer_totals(w)->events, n);
	assert_int_equal(trace_writer_close(w, &totals, NULL), 0);
	free(load_file(f->path, &bytes));

	assert_int_equal(trace_reader_open(f->path, 0, &r, NULL), 0);
	h = trace_reader_header(r);
	t = trace_reader_totals(r);
	assert_int_equal(trace_reader_file_bytes(r), bytes);
	assert_int_equal(h->version, TRACE_FORMAT_VERSION);
	assert_int_equal(h->compatible_features, TRACE_HAS_IRQ_FLAGS | TRACE_HAS_GROUND_TRUTH |
							 TRACE_HAS_LABELS | TRACE_HAS_KSWAPD);
	assert_string_equal(h->kernel, f->header.kernel);
	assert_string_equal(h->recorder, f->header.recorder);
	assert_string_equal(h->clock, f->header.clock);
	assert_string_equal(h->note, f->header.note);
	assert_int_equal(h->recorded_s, f->header.recorded_s);
	assert_same_machine(h->machine, f->machine);
	assert_int_equal(strlen(t->digest), 32);
	assert_string_equal(t->digest, totals.digest);
	memcpy(expect.digest, t->digest, sizeof(expect.digest));
	assert_memory_equal(t, &expect, sizeof(expect));
	assert_memory_equal(&totals, &expect, sizeof(expect));
	trace_reader_close(r);
	free(events);
}

static void an_empty_trace_is_a_trace(void **state)
{
	struct fixture *f = *state;
	struct frame_map *map;
	struct trace_reader *r;

	write_trace(f, NULL, NULL, 0, false, NULL);
	expect_events(f, NULL, 0, "empty", 0);
	assert_int_equal(trace_reader_open(f->path, 0, &r, NULL), 0);
	assert_int_equal(trace_reader_totals(r)->events, 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_START, &map, NULL), -ENOENT);
	assert_int_equal(trace_reader_snapshot(r, TRACE_END, &map, NULL), -ENOENT);
	trace_reader_close(r);
}

static void snapshots_and_names_come_back(void **state)
{
	struct fixture *f = *state;
	struct event *events = kernel_events(2, 500);

	for (int seed = 1; seed <= 8; seed++) {
		struct frame_map *in[2], *out[2];
		struct trace_write_options o = {.overwrite = true};
		struct trace_writer *w;
		struct trace_reader *r;
		uint64_t id[2];

		in[0] = fixture_map(f->machine, (uint64_t)seed, 3);
		in[1] = fixture_map(f->machine, (uint64_t)(seed < 5 ? seed : 3 * seed), 3);
		if (seed & 1) {
			free(in[1]->pageblock_type);
			in[1]->pageblock_type = NULL;
			in[1]->nr_pageblocks = 0;
		}
		assert_int_equal(trace_writer_create(f->path, &f->header, &o, &w, NULL), 0);
		if (seed != 2) /* then the end has nothing to refer to */
			assert_int_equal(trace_writer_snapshot(w, TRACE_START, in[0], NULL), 0);
		assert_int_equal(trace_writer_events(w, events, 500, NULL), 0);
		assert_int_equal(trace_writer_mark_name(w, "warm up", &id[0], NULL), 0);
		assert_int_equal(trace_writer_mark_name(w, "work", &id[1], NULL), 0);
		assert_int_equal(trace_writer_snapshot(w, TRACE_END, in[1], NULL), 0);
		assert_int_equal(trace_writer_close(w, NULL, NULL), 0);

		assert_int_equal(trace_reader_open(f->path, TRACE_VERIFY, &r, NULL), 0);
		assert_string_equal(trace_reader_mark_name(r, id[0]), "warm up");
		assert_string_equal(trace_reader_mark_name(r, id[1]), "work");
		assert_string_equal(trace_reader_mark_name(r, 99), "?");
		assert_int_equal(trace_reader_snapshot(r, TRACE_END, &out[1], NULL), 0);
		assert_same_map(in[1], out[1]);
		if (seed == 2) {
			assert_int_equal(trace_reader_snapshot(r, TRACE_START, &out[0], NULL),
					 -ENOENT);
			out[0] = NULL;
		} else {
			assert_int_equal(trace_reader_snapshot(r, TRACE_START, &out[0], NULL), 0);
			assert_same_map(in[0], out[0]);
		}
		for (int i = 0; i < 2; i++) {
			frame_map_destroy(in[i]);
			frame_map_destroy(out[i]);
		}
		trace_reader_close(r);
		expect_events(f, events, 500, "with snapshots", (uint64_t)seed);
	}
	free(events);
}

static void a_like_end_snapshot_costs_nearly_nothing(void **state)
{
	struct fixture *f = *state;
	struct frame_map *map = fixture_map(f->machine, 6, 3);
	struct trace_write_options o = {.overwrite = true};
	size_t bytes[2];

	for (int both = 0; both < 2; both++) {
		struct trace_writer *w;

		assert_int_equal(trace_writer_create(f->path, &f->header, &o, &w, NULL), 0);
		assert_int_equal(trace_writer_snapshot(w, TRACE_START, map, NULL), 0);
		if (both)
			assert_int_equal(trace_writer_snapshot(w, TRACE_END, map, NULL), 0);
		assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
		free(load_file(f->path, &bytes[both]));
	}
	assert_true(bytes[0] > 4000);
	assert_true(bytes[1] - bytes[0] < 300);
	frame_map_destroy(map);
}

static void the_digest_knows_contents_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	size_t n = 5000, bytes[3];
	struct event *events = kernel_events(7, n);
	struct trace_totals a, b;

	write_trace(f, &(struct trace_write_options){.level = 1}, events, n, true, &a);
	free(load_file(f->path, &bytes[0]));
	write_trace(f, &(struct trace_write_options){.level = 19, .overwrite = true}, events, n,
		    true, &b);
	free(load_file(f->path, &bytes[1]));
	assert_string_equal(a.digest, b.digest);
	write_trace(f, &(struct trace_write_options){.block_events = 100, .overwrite = true},
		    events, n, true, &b);
	free(load_file(f->path, &bytes[2]));
	assert_string_equal(a.digest, b.digest);
	assert_int_not_equal(bytes[0], bytes[1]);
	assert_int_not_equal(bytes[0], bytes[2]);

	events[n / 2].flags ^= EVENT_NESTED;
	write_trace(f, &(struct trace_write_options){.overwrite = true}, events, n, true, &b);
	assert_string_not_equal(a.digest, b.digest);
	events[n / 2].flags ^= EVENT_NESTED;
	write_trace(f, &(struct trace_write_options){.overwrite = true}, events, n, false, &b);
	assert_string_not_equal(a.digest, b.digest);
	f->header.note[0] = 'M';
	write_trace(f, &(struct trace_write_options){.overwrite = true}, events, n, true, &b);
	assert_string_not_equal(a.digest, b.digest);
	free(events);
}

static void a_bad_event_is_refused_by_name_and_the_good_ones_before_it_stay(void **state)
{
	const struct event good = {.time_ns = 10, .pfn = 8, .kind = EVENT_ALLOC, .order = 3};
	const struct {
		const char *field;
		struct event e;
	} cases[] = {
		{"time_ns", {.time_ns = 9, .pfn = 8, .kind = EVENT_FREE}},
		{"kind", {.time_ns = 10, .pfn = 8}},
		{"kind", {.time_ns = 10, .pfn = 8, .kind = EVENT_KINDS}},
		{"order", {.time_ns = 10, .pfn = 0, .kind = EVENT_FREE, .order = 32}},
		{"pfn", {.time_ns = 10, .pfn = FIXTURE_FRAMES, .kind = EVENT_FREE}},
		{"pfn", {.time_ns = 10, .pfn = FIXTURE_FRAMES - 1, .kind = EVENT_FREE, .order = 1}},
		{"pfn", {.time_ns = 10, .pfn = 0, .kind = EVENT_ALLOC, .order = 17}},
		{"pfn", {.time_ns = 10, .pfn = PFN_NONE, .kind = EVENT_ALLOC}},
		{"pfn", {.time_ns = 10, .pfn = 3, .kind = EVENT_ALLOC_FAILED}},
		{"pfn", {.time_ns = 10, .pfn = 0, .kind = EVENT_MARK}},
		{"arg", {.time_ns = 10, .pfn = 1, .kind = EVENT_ONLINE}},
		{"arg", {.time_ns = 10, .pfn = 1, .arg = FIXTURE_FRAMES, .kind = EVENT_ONLINE}},
		{"arg", {.time_ns = 10, .pfn = 1, .arg = UINT64_MAX, .kind = EVENT_OFFLINE}},
		{"arg", {.time_ns = 10, .pfn = 1, .arg = UINT64_MAX, .kind = EVENT_MOVE}},
		{"cpu", {.time_ns = 10, .pfn = 1, .kind = EVENT_FREE, .cpu = FIXTURE_CPUS}},
		{"migratetype",
		 {.time_ns = 10, .pfn = 1, .kind = EVENT_FREE, .migratetype = MIGRATE_TYPES}},
	};
	struct fixture *f = *state;
	struct trace_writer *w;
	struct event kept[2 * ARRAY_SIZE(cases)];

	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct event pair[2] = {good, cases[i].e};
		struct error err = {0};

		assert_int_equal(trace_writer_events(w, pair, 2, &err), -ERANGE);
		if (!strstr(err.text, cases[i].field) || !strstr(err.text, f->path))
			fail_msg("case %zu: %s", i, err.text);
		kept[i] = good;
		assert_int_equal(trace_writer_totals(w)->events, i + 1);
	}
	assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
	expect_events(f, kept, ARRAY_SIZE(cases), "good ones", 0);
}

static void an_existing_file_is_kept_unless_told(void **state)
{
	struct fixture *f = *state;
	struct trace_writer *w;
	struct error err = {0};
	uint8_t *data;
	size_t n;

	store_file(f->path, (const uint8_t *)"mine", 4);
	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, &err), -EEXIST);
	assert_non_null(strstr(err.text, f->path));
	data = load_file(f->path, &n);
	assert_int_equal(n, 4);
	free(data);
	write_trace(f, &(struct trace_write_options){.overwrite = true}, NULL, 0, false, NULL);
	expect_events(f, NULL, 0, "overwritten", 0);
}

static void an_aborted_trace_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct event *events = kernel_events(1, 70000);
	struct trace_writer *w;

	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, NULL), 0);
	assert_int_equal(trace_writer_events(w, events, 70000, NULL), 0);
	trace_writer_abort(w);
	trace_writer_abort(NULL);
	trace_reader_close(NULL);
	assert_int_equal(access(f->path, F_OK), -1);
	free(events);
}

static void snapshots_come_at_their_places_only(void **state)
{
	struct fixture *f = *state;
	struct frame_map *map = fixture_map(f->machine, 1, 3);
	const struct event e = {.pfn = 1, .kind = EVENT_FREE};
	struct trace_writer *w;

	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, NULL), 0);
	assert_int_equal(trace_writer_events(w, &e, 1, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, map, NULL), -EINVAL);
	assert_int_equal(trace_writer_snapshot(w, TRACE_END, map, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_END, map, NULL), -EINVAL);
	assert_int_equal(trace_writer_events(w, &e, 1, NULL), -EINVAL);
	map->runs[0].state = FRAME_STATES;
	trace_writer_abort(w);
	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, map, NULL), -EINVAL);
	trace_writer_abort(w);
	frame_map_destroy(map);
}

/* As fixture_machine(), but so many frames of the first zone's start are reserved. */
static struct machine *machine_with_reserved(const struct machine *like, uint64_t reserved)
{
	struct machine *m;

	assert_int_equal(machine_copy(like, &m, NULL), 0);
	assert_int_equal(m->absent[0].why, ABSENT_RESERVED);
	m->absent[0].range.end = m->absent[0].range.start + reserved;
	assert_int_equal(machine_check(m, NULL), 0);
	return m;
}

static void a_start_snapshot_must_fit_the_machine_when_written(void **state)
{
	struct fixture *f = *state;
	struct trace_write_options o = {.overwrite = true};

	for (uint64_t reserved = 15; reserved <= 17; reserved++) {
		struct machine *other = machine_with_reserved(f->machine, reserved);
		struct frame_map *map = fixture_map(other, 1, 3);
		const bool fits = reserved == 16;
		struct trace_writer *w;
		struct error err = {0};
		int ret;

		assert_int_equal(trace_writer_create(f->path, &f->header, &o, &w, NULL), 0);
		ret = trace_writer_snapshot(w, TRACE_START, map, &err);
		assert_int_equal(ret, fits ? 0 : -EINVAL);
		if (!fits) {
			assert_int_equal(err.code, EINVAL);
			assert_non_null(strstr(err.text, f->path));
			assert_non_null(strstr(err.text, "start snapshot: run "));
			assert_non_null(strstr(err.text, "contradicts the header's absent ranges"));
		}
		/* By the end memory may have come or gone. */
		assert_int_equal(trace_writer_snapshot(w, TRACE_END, map, NULL), 0);
		assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
		frame_map_destroy(map);
		machine_destroy(other);
	}
}

/* Two traces change heads: every checksum is right, but the snapshots are of the other machine. */
static void a_start_snapshot_must_fit_the_machine_when_read(void **state)
{
	struct fixture *f = *state;
	struct machine *own = f->machine, *other = machine_with_reserved(own, 18);
	uint8_t *file[2], swap[512];
	struct section head[2];
	size_t n[2], bytes;

	for (int i = 0; i < 2; i++) {
		f->header.machine = f->machine = i ? other : own;
		write_trace(f, &(struct trace_write_options){.overwrite = true}, NULL, 0, true,
			    NULL);
		file[i] = load_file(f->path, &n[i]);
		assert_true(
			section_decode(file[i] + FILE_HEADER_BYTES, FILE_HEADER_BYTES, &head[i]));
	}
	f->header.machine = f->machine = own;
	bytes = section_end(&head[0]);
	assert_int_equal(bytes, section_end(&head[1]));
	assert_in_range(bytes, FILE_HEADER_BYTES, sizeof(swap));
	memcpy(swap, file[0], bytes);
	memcpy(file[0], file[1], bytes);
	memcpy(file[1], swap, bytes);
	for (int i = 0; i < 2; i++) {
		/* Frames 17 and 18 are free in the first map and reserved in the second. */
		const char *message = i ? "run 0 contradicts the header's absent ranges"
					: "run 1 contradicts the header's absent ranges";
		struct trace_reader *r;
		struct frame_map *map;
		struct error err = {0};

		store_file(f->path, file[i], n[i]);
		assert_int_equal(trace_reader_open(f->path, 0, &r, &err), 0);
		assert_int_equal(trace_reader_snapshot(r, TRACE_START, &map, &err), -EBADMSG);
		assert_int_equal(err.code, EBADMSG);
		assert_non_null(strstr(err.text, f->path));
		assert_non_null(strstr(err.text, "start snapshot: "));
		assert_non_null(strstr(err.text, message));
		assert_int_equal(trace_reader_snapshot(r, TRACE_END, &map, &err), 0);
		frame_map_destroy(map);
		trace_reader_close(r);
	}
	free(file[0]);
	free(file[1]);
	machine_destroy(other);
}

/* Absent ranges of few frames everywhere, touching each other and across the zones' borders. */
static struct machine *speckled_machine(uint64_t *random)
{
	static const pfn_t border[] = {3, 60, 90, 100, 160};
	static const struct {
		unsigned int from, to, node;
	} spans[] = {{1, 2, 0}, {0, 1, 1}, {3, 4, 2}}; /* not in the order of their frames */
	struct machine *m;
	pfn_t at = border[0];

	assert_int_equal(machine_create(1, 3, &m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++)
		assert_int_equal(machine_add_zone(m,
						  &(struct zone){.start = border[spans[i].from],
								 .end = border[spans[i].to],
								 .type = ZONE_NORMAL,
								 .node = (uint16_t)spans[i].node},
						  NULL),
				 0);
	while (at < border[4]) {
		pfn_t from = at + below(random, 3) * below(random, 9), to;

		to = from + 1 + below(random, 12);
		at = to;
		if (to > border[4] || (from < border[3] && to > border[2]))
			continue;
		assert_int_equal(machine_add_absent(m, (struct pfn_range){from, to},
						    (enum absence)below(random, 3), NULL),
				 0);
	}
	return m;
}

static void a_start_snapshot_fits_just_if_every_run_does(void **state)
{
	unsigned int fitting = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 3000 * test_effort(); seed++) {
		uint64_t random = seed * 77;
		struct machine *m = speckled_machine(&random);
		struct frame_map *map, *fresh;
		struct error err = {0};
		uint8_t cells[160];
		bool fits = true;

		assert_int_equal(frame_map_fresh(m, &fresh, NULL), 0);
		frame_map_to_bytes(fresh, cells);
		frame_map_destroy(fresh);
		for (size_t i = 0; i < machine_end(m) - 3; i++)
			if (cells[i] == FRAME_FREE)
				cells[i] = below(&random, 2) ? FRAME_MOVABLE : FRAME_FREE;
		if (below(&random, 2))
			cells[below(&random, machine_end(m) - 3)] =
				(uint8_t)below(&random, FRAME_STATES);
		assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
		for (size_t i = 0; i < map->nr_runs && fits; i++) {
			const struct frame_run *r = &map->runs[i];

			fits = machine_managed_in(m, r->start, r->start + r->frames) ==
			       (frame_state_managed(r->state) ? r->frames : 0);
		}
		if (snapshot_check_start(map, &err) != (fits ? 0 : -EINVAL))
			fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
		fitting += fits;
		frame_map_destroy(map);
		machine_destroy(m);
	}
	assert_in_range(fitting, 1000 * test_effort(), 2900 * test_effort());
}

static void the_header_may_become_known_at_the_end(void **state)
{
	struct fixture *f = *state;
	struct trace_write_options o = {.header_at_end_known = true, .overwrite = true};
	struct event e = {.pfn = 100000, .kind = EVENT_FREE, .cpu = 7};
	struct trace_header late = f->header;
	struct trace_writer *w;
	struct trace_reader *r;
	struct error err = {0};

	/* Never told of a machine that fits. */
	assert_int_equal(trace_writer_create(f->path, &f->header, &o, &w, NULL), 0);
	assert_int_equal(trace_writer_events(w, &e, 1, NULL), 0);
	assert_int_equal(trace_writer_set_header(w, &f->header, &err), -ERANGE);
	assert_non_null(strstr(err.text, "cpu 7"));
	assert_int_equal(trace_writer_close(w, NULL, &err), -ERANGE);
	assert_int_equal(access(f->path, F_OK), -1);

	assert_int_equal(machine_from_memory(UINT64_C(1) << 30, 8, &late.machine, NULL), 0);
	snprintf(late.kernel, sizeof(late.kernel), "5.10.1");
	assert_int_equal(trace_writer_create(f->path, &f->header, NULL, &w, NULL), 0);
	assert_int_equal(trace_writer_set_header(w, &late, NULL), -EINVAL);
	trace_writer_abort(w);
	assert_int_equal(trace_writer_create(f->path, &f->header, &o, &w, NULL), 0);
	assert_int_equal(trace_writer_events(w, &e, 1, NULL), 0);
	assert_int_equal(trace_writer_set_header(w, &late, NULL), 0);
	assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
	expect_events(f, &e, 1, "late header", 0);
	assert_int_equal(trace_reader_open(f->path, 0, &r, NULL), 0);
	assert_same_machine(trace_reader_header(r)->machine, late.machine);
	assert_string_equal(trace_reader_header(r)->kernel, "5.10.1");
	trace_reader_close(r);

	/* One that does not fit the reserved space. */
	for (uint64_t at = 0, random = 1; at < 200000;) {
		struct pfn_range range = {.start = at + 1 + below(&random, 9)};

		range.end = at = range.start + 1 + below(&random, 9);
		assert_int_equal(machine_add_absent(late.machine, range, ABSENT_HOLE, NULL), 0);
	}
	assert_int_equal(trace_writer_create(f->path, &f->header, &o, &w, NULL), 0);
	assert_int_equal(trace_writer_set_header(w, &late, &err), -ENOSPC);
	trace_writer_abort(w);
	machine_destroy(late.machine);
}

/* In a child with a mount namespace of its own: fill a tmpfs of 64 KiB. */
static int fill_small_disk(const struct fixture *f, const struct event *events, size_t n)
{
	struct trace_writer *w;
	struct error err = {0};
	int ret;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", f->directory, "tmpfs", 0, "size=64k"))
		return 77;
	ret = trace_writer_create(f->path, &f->header, NULL, &w, &err);
	if (ret)
		return 1;
	ret = trace_writer_events(w, events, n, &err);
	if (!ret)
		ret = trace_writer_close(w, NULL, &err);
	else if (trace_writer_close(w, NULL, NULL) != ret)
		return 2;
	if (ret != -ENOSPC || err.code != ENOSPC || !err.text[0])
		return 3;
	return access(f->path, F_OK) == 0 ? 4 : rmdir(f->directory) == 0 || errno == EBUSY ? 0 : 5;
}

static void a_full_disk_is_told_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct event *events;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		skip_because("needs root to mount a small file system");
	}
	events = kernel_events(1, 200000);
	pid = fork();
	if (pid == 0)
		_exit(fill_small_disk(f, events, 200000));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	free(events);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		skip_because("may not mount here");
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void kinds_of_the_future_are_skipped(void **state)
{
	struct event events[300], *out = malloc(BLOCK_EVENTS_MAX * sizeof(*out));
	const struct event_limits limits = {.pfn_end = FIXTURE_FRAMES, .nr_cpus = FIXTURE_CPUS};
	struct event *source = kernel_events(5, ARRAY_SIZE(events));
	struct block_encoder *encoder;
	struct block_decoder *decoder;
	struct bytes payload = {0};
	struct error err = {0};
	size_t n, at = 0;

	(void)state;
	assert_non_null(out);
	memcpy(events, source, sizeof(events));
	for (size_t i = 0; i < ARRAY_SIZE(events); i += 3) {
		events[i].kind = (uint8_t)(EVENT_KINDS + i % 20);
		events[i].pfn = i % 2 ? UINT64_MAX - i : events[i].pfn;
		events[i].arg = i;
	}
	assert_int_equal(block_encoder_create(3, &encoder), 0);
	assert_int_equal(block_decoder_create(&decoder), 0);
	assert_int_equal(block_encode(encoder, events, ARRAY_SIZE(events), 0, &payload), 0);
	if (decode_block(decoder, &payload, &limits, out, &n, &err))
		fail_msg("%s", err.text);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (i % 3)
			assert_true(same_event(&events[i], &out[at++]));
	assert_int_equal(n, at);
	block_encoder_destroy(encoder);
	block_decoder_destroy(decoder);
	bytes_free(&payload);
	free(source);
	free(out);
}

/* The listing in docs/trace-format.md, as bytes. */
static size_t listed_bytes(uint8_t *out, size_t max)
{
	char path[512], line[256];
	const char *source = getenv("QUIRE_SOURCE");
	size_t n = 0;
	FILE *file;

	assert_non_null(source);
	snprintf(path, sizeof(path), "%s/docs/trace-format.md", source);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned int at, byte;
		int used = 0, step;

		if (sscanf(line, "    %3x: %n", &at, &used) != 1 || !used || at != n)
			continue;
		for (; sscanf(line + used, "%2x %n", &byte, &step) == 1; used += step) {
			assert_true(n < max);
			out[n++] = (uint8_t)byte;
		}
	}
	fclose(file);
	return n;
}

static void the_documented_file_reads_as_documented(void **state)
{
	static const struct event events[] = {
		{.time_ns = 1000,
		 .pfn = 64,
		 .kind = EVENT_ZONE_LOCKED,
		 .migratetype = 1,
		 .flags = EVENT_PCPU_REFILL,
		 .context = 1},
		{.time_ns = 1150,
		 .pfn = 64,
		 .kind = EVENT_ALLOC,
		 .migratetype = 1,
		 .gfp = 0xcc0,
		 .context = 1},
		{.time_ns = 1900, .pfn = 64, .kind = EVENT_FREE, .context = 1},
		{.time_ns = 2020,
		 .pfn = 64,
		 .kind = EVENT_ALLOC,
		 .migratetype = 1,
		 .gfp = 0xcc0,
		 .context = 2},
		{.time_ns = 2600, .pfn = 256, .kind = EVENT_FREE, .context = 2, .order = 3},
	};
	struct fixture *f = *state;
	uint8_t bytes[2048];
	size_t n = listed_bytes(bytes, sizeof(bytes));

	assert_true(n > 800);
	store_file(f->path, bytes, n);
	expect_events(f, events, ARRAY_SIZE(events), "documented", 0);
}

static void kinds_have_names(void **state)
{
	(void)state;
	assert_null(event_kind_name(0));
	assert_null(event_kind_name(EVENT_KINDS));
	assert_string_equal(event_kind_name(EVENT_ALLOC), "alloc");
	for (unsigned int i = 1; i < EVENT_KINDS; i++) {
		if (!event_kind_known(i))
			continue;
		for (unsigned int k = 1; k < i; k++)
			if (event_kind_known(k))
				assert_string_not_equal(event_kind_name(i), event_kind_name(k));
	}
}

/* A reader that does not know a kind looks for its pfn, so only the first four may have none. */
static void kinds_without_a_pfn_are_those_of_the_format(void **state)
{
	(void)state;
	for (unsigned int i = 1; i < EVENT_KINDS_MAX; i++)
		assert_int_equal(event_has_pfn(i), i != 3 && i != 4 && i != 5 && i != 12);
}

int main(void)
{
#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH_FILE(events_like_a_kernels_come_back_in_every_block_size),
		WITH_FILE(events_of_any_valid_fields_come_back),
		WITH_FILE(many_cpus_and_many_shapes_come_back),
		WITH_FILE(whole_microseconds_cost_less_than_nanoseconds),
		WITH_FILE(a_kernel_like_trace_takes_less_than_three_bytes_an_operation),
		WITH_FILE(header_machine_and_totals_come_back),
		WITH_FILE(an_empty_trace_is_a_trace),
		WITH_FILE(snapshots_and_names_come_back),
		WITH_FILE(a_like_end_snapshot_costs_nearly_nothing),
		WITH_FILE(the_digest_knows_contents_and_nothing_else),
		WITH_FILE(a_bad_event_is_refused_by_name_and_the_good_ones_before_it_stay),
		WITH_FILE(an_existing_file_is_kept_unless_told),
		WITH_FILE(an_aborted_trace_leaves_nothing),
		WITH_FILE(snapshots_come_at_their_places_only),
		WITH_FILE(a_start_snapshot_must_fit_the_machine_when_written),
		WITH_FILE(a_start_snapshot_must_fit_the_machine_when_read),
		cmocka_unit_test(a_start_snapshot_fits_just_if_every_run_does),
		WITH_FILE(the_header_may_become_known_at_the_end),
		WITH_FILE(a_full_disk_is_told_and_leaves_nothing),
		WITH_FILE(the_documented_file_reads_as_documented),
		cmocka_unit_test(kinds_of_the_future_are_skipped),
		cmocka_unit_test(kinds_have_names),
		cmocka_unit_test(kinds_without_a_pfn_are_those_of_the_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
