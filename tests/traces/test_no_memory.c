/* SPDX-License-Identifier: MIT */
/*
 * Out of memory is called out of memory, at each of the allocations that reading, checking, writing and
 * importing make: the first one fails, then the second, until one gets through. Nothing is called damage,
 * nothing is left half-written, and what leaks a sanitizer tells when the test ends.
 */
#include <errno.h>
#include <inttypes.h>

#include "tests/traces/memory_faults.h"
#include "tests/traces/trace_fixture.h"
#include "traces/file/trace_check.h"
#include "traces/import/import.h"

#define EVENTS	  150U
#define STEPS_MAX 5000U

struct trouble {
	struct fixture *f;
	struct frame_map *start, *end, *burn_in;
	struct event *events;
	char text[160], other[160];
	unsigned int flags;   /* of reading */
	bool close_after_all; /* a writer that failed is closed, as if it had not */
};

static int trouble_setup(void **state)
{
	struct trouble *t = calloc(1, sizeof(*t));
	void *f;

	assert_non_null(t);
	fixture_setup(&f);
	t->f = f;
	t->events = kernel_events(6, EVENTS);
	t->start = fixture_map(t->f->machine, 5, 40);
	t->end = fixture_map(t->f->machine, 5, 40);
	t->burn_in = fixture_map(t->f->machine, 5, 40);
	t->end->zones[0].boost++;
	t->burn_in->time_ns = 40;
	snprintf(t->text, sizeof(t->text), "%s/perf.txt", t->f->directory);
	snprintf(t->other, sizeof(t->other), "%s/other.quire", t->f->directory);
	*state = t;
	return 0;
}

static int trouble_teardown(void **state)
{
	struct trouble *t = *state;
	void *f = t->f;

	frame_map_destroy(t->start);
	frame_map_destroy(t->end);
	frame_map_destroy(t->burn_in);
	free(t->events);
	unlink(t->text);
	unlink(t->other);
	free(t);
	return fixture_teardown(&f); /* no temporary file may be left */
}

/* ---- the four that may run out of memory ---- */

static int fill(const struct trouble *t, struct trace_writer *w, struct error *err)
{
	struct event lost = {.time_ns = 60, .pfn = PFN_NONE, .arg = 3, .kind = EVENT_LOST};
	uint64_t id;
	int ret = trace_writer_snapshot(w, TRACE_START, t->start, err);

	if (!ret)
		ret = trace_writer_snapshot(w, TRACE_BURN_IN, t->burn_in, err);
	if (!ret)
		ret = trace_writer_burn_in_events(w, &lost, 1, err);
	if (!ret)
		ret = trace_writer_mark_name(w, "phase one", &id, err);
	if (!ret)
		ret = trace_writer_events(w, t->events, EVENTS, err);
	if (!ret)
		ret = trace_writer_snapshot(w, TRACE_END, t->end, err);
	return ret;
}

static int do_write(const struct trouble *t, struct error *err)
{
	const struct trace_write_options options = {.overwrite = true, .block_events = 70};
	struct trace_writer *w;
	int ret = trace_writer_create(t->other, &t->f->header, &options, &w, err);

	if (ret)
		return ret;
	ret = fill(t, w, err);
	if (ret && !t->close_after_all) {
		trace_writer_abort(w);
		return ret;
	}
	/* What failed once must not become a file. */
	if (ret) {
		assert_int_not_equal(trace_writer_close(w, NULL, err), 0);
		return ret;
	}
	return trace_writer_close(w, NULL, err);
}

static int do_import(const struct trouble *t, struct error *err)
{
	const struct import_options options = {.overwrite = true, .note = "by a test"};

	return import_file(t->text, t->other, &options, NULL, err);
}

static int do_read(const struct trouble *t, struct error *err)
{
	const struct event *events;
	struct trace_reader *r;
	struct frame_map *map;
	size_t n;
	int ret = trace_reader_open(t->f->path, t->flags, &r, err);

	if (ret)
		return ret;
	for (int which = TRACE_START; !ret && which <= TRACE_BURN_IN; which++) {
		ret = trace_reader_snapshot(r, (enum trace_snapshot)which, &map, err);
		if (!ret)
			frame_map_destroy(map);
	}
	while (!ret && (ret = trace_reader_next(r, &events, &n, err)) > 0)
		ret = 0;
	trace_reader_close(r);
	return ret;
}

static void no_damage(void *arg, const struct error *damage)
{
	(void)arg;
	fail_msg("called damage: %s", damage->text);
}

static int do_check(const struct trouble *t, struct error *err)
{
	struct trace_check check;
	int ret = trace_check(t->f->path, no_damage, NULL, &check, err);

	assert_true(ret ? !check.intact : check.intact);
	return ret;
}

/* ---- one failure after the other ---- */

/* Let each allocation of @work fail. Return: how many there are. */
static uint64_t each_failure(const struct trouble *t,
			     int (*work)(const struct trouble *, struct error *),
			     enum fault_mode mode, const char *out)
{
	static const char before[] = "what was there before";

	for (uint64_t nth = 1;; nth++) {
		struct error err = {0};
		bool hit;
		int ret;

		assert_true(nth < STEPS_MAX);
		if (out)
			store_file(out, (const uint8_t *)before, sizeof(before));
		faults_arm(nth, mode);
		ret = work(t, &err);
		hit = faults_disarm();
		if (!hit) {
			if (ret)
				fail_msg("with all memory: %s", err.text);
			return nth - 1;
		}
		if (ret != -ENOMEM || err.code != ENOMEM || !strstr(err.text, "memory"))
			fail_msg("allocation %" PRIu64 ": %d, '%s'", nth, ret, err.text);
		if (out) {
			size_t n;
			uint8_t *left = load_file(out, &n);

			assert_int_equal(n, sizeof(before));
			assert_memory_equal(left, before, n);
			free(left);
		}
	}
}

static void reading_without_memory_is_never_damage(void **state)
{
	static const unsigned int flags[] = {0, TRACE_SALVAGE, TRACE_READ_BURN_IN | TRACE_VERIFY,
					     TRACE_READ_BURN_IN | TRACE_SALVAGE};
	struct trouble *t = *state;
	struct trace_writer *w;

	assert_int_equal(trace_writer_create(t->f->path, &t->f->header, NULL, &w, NULL), 0);
	assert_int_equal(fill(t, w, NULL), 0);
	assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		t->flags = flags[i];
		assert_true(each_failure(t, do_read, FAULT_ONCE, NULL) > 30);
		assert_true(each_failure(t, do_read, FAULT_FOREVER, NULL) > 30);
	}
	assert_true(each_failure(t, do_check, FAULT_ONCE, NULL) > 30);
	assert_true(each_failure(t, do_check, FAULT_FOREVER, NULL) > 30);
}

static void writing_without_memory_leaves_what_was_there(void **state)
{
	struct trouble *t = *state;

	for (int closed = 0; closed < 2; closed++) {
		t->close_after_all = closed;
		assert_true(each_failure(t, do_write, FAULT_ONCE, t->other) > 40);
		assert_true(each_failure(t, do_write, FAULT_FOREVER, t->other) > 40);
	}
}

static void importing_without_memory_leaves_what_was_there(void **state)
{
	struct trouble *t = *state;
	FILE *text = fopen(t->text, "w");

	assert_non_null(text);
	for (unsigned int i = 0; i < 600; i++)
		fprintf(text,
			"task %u [%03u] 100.%06u: kmem:mm_page_%s: page=0x1 pfn=0x%x order=0 "
			"migratetype=1 gfp_flags=GFP_KERNEL\n",
			1 + i * 97, i % 3, i, i % 2 ? "free" : "alloc", 256 + i / 2);
	assert_int_equal(fclose(text), 0);
	assert_true(each_failure(t, do_import, FAULT_ONCE, t->other) > 25);
	assert_true(each_failure(t, do_import, FAULT_FOREVER, t->other) > 25);
}

int main(void)
{
#define TROUBLE(test) cmocka_unit_test_setup_teardown(test, trouble_setup, trouble_teardown)
	const struct CMUnitTest tests[] = {
		TROUBLE(reading_without_memory_is_never_damage),
		TROUBLE(writing_without_memory_leaves_what_was_there),
		TROUBLE(importing_without_memory_leaves_what_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
