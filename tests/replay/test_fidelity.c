/* SPDX-License-Identifier: MIT */
/* SAMPLE_TRACE: a recording with ground truth, by the build. */
#include <errno.h>
#include <math.h>
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
#include "replay/fidelity/fidelity.h"
#include "sim/gfp.h"
#include "traces/file/trace.h"

#define FRAMES	 16384
#define KEPT_MAX 1024

static char directory[] = "/tmp/quire-fidelity-XXXXXX";

/* ---- a sink that keeps what tests look at ---- */

struct kept {
	struct result_sink sink;
	unsigned int records, runs, done, warnings;
	bool run_first, done_last;
	enum run_status status;
	char mode[16], point_id[33];
	char settings[400]; /* "KEY=VALUE...\n" */
	double metric[METRIC_COUNT];
	struct result_accuracy accuracy[KEPT_MAX];
	size_t n;
};

static int keep(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct kept *k = (struct kept *)sink;

	(void)err;
	k->done_last = record->kind == RESULT_DONE;
	if (k->records++ == 0)
		k->run_first = record->kind == RESULT_RUN;
	switch (record->kind) {
	case RESULT_RUN:
		k->runs++;
		snprintf(k->mode, sizeof(k->mode), "%s", record->run.mode);
		snprintf(k->point_id, sizeof(k->point_id), "%s", record->run.point_id);
		break;
	case RESULT_SETTING: {
		size_t used = strlen(k->settings);

		snprintf(k->settings + used, sizeof(k->settings) - used, "%s=%s\n",
			 record->setting.key, record->setting.value);
		break;
	}
	case RESULT_METRIC:
		k->metric[record->metric.metric] = record->metric.value;
		break;
	case RESULT_ACCURACY:
		assert_true(k->n < KEPT_MAX);
		k->accuracy[k->n] = record->accuracy;
		/* Borrowed; there or not is what can be compared. */
		k->accuracy[k->n++].cause = record->accuracy.cause ? "" : NULL;
		assert_int_equal(!record->accuracy.cause,
				 record->accuracy.dimension != ACCURACY_CAUSE);
		break;
	case RESULT_WARNING:
		k->warnings++;
		break;
	case RESULT_DONE:
		k->done++;
		k->status = record->done.status;
		break;
	default:
		assert_int_equal(record->kind, RESULT_ALIVE);
	}
	return 0;
}

static struct kept *new_kept(void)
{
	struct kept *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	k->sink.take = keep;
	metrics_clear(k->metric);
	return k;
}

static struct allocator_spec *spec_of(const char *text)
{
	struct allocator_spec *spec;
	struct error err = {0};

	if (allocator_spec_parse(text, &spec, &err))
		fail_msg("%s", err.text);
	return spec;
}

static struct kept *run(const char *trace, const char *text, bool hindsight, bool isolated)
{
	struct allocator_spec *spec = spec_of(text);
	const struct fidelity_config config = {
		.trace = trace, .spec = spec, .hindsight = hindsight, .watch = {.timeout_s = 60}};
	struct kept *k = new_kept();
	struct error err = {0};

	if (isolated ? fidelity_run_isolated(&config, &k->sink, &err)
		     : fidelity_run(&config, &k->sink, &err))
		fail_msg("%s", err.text);
	allocator_spec_destroy(spec);
	return k;
}

/* ---- the sample ---- */

static const struct result_accuracy *total(const struct kept *k, enum accuracy_variant variant,
					   enum accuracy_class c)
{
	for (size_t i = 0; i < k->n; i++) {
		const struct result_accuracy *r = &k->accuracy[i];

		if (r->variant == variant && r->class_of == c && r->dimension == ACCURACY_TOTAL)
			return r;
	}
	return NULL;
}

/* Parts of one dimension add up to the total. */
static void expect_sum(const struct kept *k, const struct result_accuracy *whole,
		       enum accuracy_dimension dimension, uint64_t choices, uint64_t correct)
{
	uint64_t sum_choices = 0, sum_correct = 0;

	for (size_t i = 0; i < k->n; i++) {
		const struct result_accuracy *r = &k->accuracy[i];

		if (r->variant != whole->variant || r->class_of != whole->class_of ||
		    r->dimension != dimension)
			continue;
		assert_true(r->correct <= r->choices);
		sum_choices += r->choices;
		sum_correct += r->correct;
	}
	assert_int_equal(sum_choices, choices);
	assert_int_equal(sum_correct, correct);
}

static struct kept *sample; /* of the first run */

static void records_begin_with_the_run_and_end_with_done(void **state)
{
	(void)state;
	sample = run(SAMPLE_TRACE, "buddy", false, false);
	assert_true(sample->run_first);
	assert_true(sample->done_last);
	assert_int_equal(sample->runs, 1);
	assert_int_equal(sample->done, 1);
	assert_int_equal(sample->status, RUN_DONE);
	assert_string_equal(sample->mode, "fidelity");
}

static void every_class_is_scored_in_both_variants_and_adds_up(void **state)
{
	(void)state;
	assert_non_null(sample);
	for (unsigned int v = 0; v < ACCURACY_VARIANTS; v++) {
		for (unsigned int c = 0; c < ACCURACY_CLASSES; c++) {
			const struct result_accuracy *r = total(sample, v, c);

			assert_non_null(r);
			assert_true(r->choices > 0);
			expect_sum(sample, r, ACCURACY_ORDER, r->choices, r->correct);
			expect_sum(sample, r, ACCURACY_MIGRATETYPE, r->choices, r->correct);
			expect_sum(sample, r, ACCURACY_TENTH, r->choices, r->correct);
			if (v != ACCURACY_LIFO)
				expect_sum(sample, r, ACCURACY_CAUSE, r->choices - r->correct, 0);
		}
	}
	/* The same allocations are asked about each time. */
	assert_int_equal(total(sample, ACCURACY_A, ACCURACY_DECIDED)->choices,
			 total(sample, ACCURACY_B, ACCURACY_DECIDED)->choices);
	assert_int_equal(total(sample, ACCURACY_LIFO, ACCURACY_DECIDED)->choices,
			 total(sample, ACCURACY_B, ACCURACY_DECIDED)->choices);
	assert_true(total(sample, ACCURACY_B, ACCURACY_DECIDED)->choices <=
		    (uint64_t)sample->metric[METRIC_allocs]);
}

static void metrics_are_shares_and_repeat_the_records(void **state)
{
	static const enum metric shares[] = {
		METRIC_hit_accuracy_b,	    METRIC_refill_accuracy_b,	METRIC_direct_accuracy_b,
		METRIC_decision_accuracy_b, METRIC_hit_accuracy_a,	METRIC_refill_accuracy_a,
		METRIC_direct_accuracy_a,   METRIC_decision_accuracy_a, METRIC_lifo_accuracy,
	};

	(void)state;
	assert_non_null(sample);
	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		double value = sample->metric[shares[i]];

		if (!(value >= 0 && value <= 1))
			fail_msg("%s is %g", metric_table[shares[i]].name, value);
	}
	for (unsigned int c = 0; c < ACCURACY_CLASSES; c++) {
		const struct result_accuracy *b = total(sample, ACCURACY_B, c);
		const struct result_accuracy *a = total(sample, ACCURACY_A, c);

		assert_true(sample->metric[METRIC_hit_accuracy_b + c] ==
			    (double)b->correct / (double)b->choices);
		assert_true(sample->metric[METRIC_hit_accuracy_a + c] ==
			    (double)a->correct / (double)a->choices);
	}
	/* What knows more foresees more. */
	assert_true(sample->metric[METRIC_decision_accuracy_b] >
		    sample->metric[METRIC_decision_accuracy_a]);
	assert_true(sample->metric[METRIC_decision_accuracy_a] >
		    sample->metric[METRIC_lifo_accuracy]);
}

static void expect_same(const struct kept *x, const struct kept *y)
{
	assert_int_equal(x->n, y->n);
	for (size_t i = 0; i < x->n; i++) {
		const struct result_accuracy *p = &x->accuracy[i], *q = &y->accuracy[i];

		assert_int_equal(p->variant, q->variant);
		assert_int_equal(p->class_of, q->class_of);
		assert_int_equal(p->dimension, q->dimension);
		assert_int_equal(p->key, q->key);
		assert_int_equal(p->choices, q->choices);
		assert_int_equal(p->correct, q->correct);
	}
	assert_memory_equal(x->metric, y->metric, sizeof(x->metric));
}

static void a_second_run_gives_the_same_to_the_bit(void **state)
{
	struct kept *again = run(SAMPLE_TRACE, "buddy", false, true);

	(void)state;
	assert_non_null(sample);
	assert_true(again->run_first);
	assert_true(again->done_last);
	expect_same(sample, again);
	free(again);
}

static int free_sample(void **state)
{
	(void)state;
	free(sample);
	return 0;
}

/* ---- a recording made here ---- */

static void path_of(char path[128], const char *name)
{
	snprintf(path, 128, "%s/%s.quire", directory, name);
}

struct recipe {
	enum trace_identity identity;
	uint64_t features;
	bool start;
	const struct event *events;
	size_t n;
	const struct machine *machine; /* NULL: a small one */
};

static void write_trace(const char *name, const struct recipe *r)
{
	struct trace_header header = {
		.identity = r->identity,
		.kernel = "6.18",
		.recorder = "test",
		.compatible_features = r->features,
	};
	const struct trace_write_options options = {.overwrite = true};
	struct trace_writer *w;
	struct frame_map *map;
	struct error err = {0};
	char path[128];

	path_of(path, name);
	if (r->machine)
		assert_int_equal(machine_copy(r->machine, &header.machine, NULL), 0);
	else
		assert_int_equal(
			machine_from_memory((uint64_t)FRAMES << 12, 2, &header.machine, NULL), 0);
	if (trace_writer_create(path, &header, &options, &w, &err))
		fail_msg("%s", err.text);
	assert_int_equal(frame_map_fresh(header.machine, &map, NULL), 0);
	if (r->start && trace_writer_snapshot(w, TRACE_START, map, &err))
		fail_msg("%s", err.text);
	if (r->n && trace_writer_events(w, r->events, r->n, &err))
		fail_msg("%s", err.text);
	if (trace_writer_close(w, NULL, &err))
		fail_msg("%s", err.text);
	frame_map_destroy(map);
	machine_destroy(header.machine);
}

static struct event event(enum event_kind kind, uint64_t time_ns, pfn_t pfn, unsigned int order,
			  unsigned int flags)
{
	return (struct event){.time_ns = time_ns,
			      .pfn = pfn,
			      .order = (uint8_t)order,
			      .kind = (uint8_t)kind,
			      .flags = (uint8_t)flags,
			      .gfp = kind == EVENT_ALLOC ? GFP_MOVABLE | GFP_HIGHMEM : 0,
			      .migratetype = MIGRATE_MOVABLE};
}

/*
 * A refill of two frames, of which the first is handed out; a hit; a block for one request; and the
 * freed frame again. The machine is fresh, and so is what the rules give: the lowest frames first.
 */
static void expect_choices(const struct machine *m, pfn_t base)
{
	struct event events[8];
	struct kept *k;
	char path[128];

	events[0] = event(EVENT_ZONE_LOCKED, 1, base, 0, EVENT_PCPU_REFILL);
	events[1] = event(EVENT_ZONE_LOCKED, 2, base + 1, 0, EVENT_PCPU_REFILL);
	events[2] = event(EVENT_ALLOC, 3, base, 0, 0);
	events[3] = event(EVENT_ALLOC, 4, base + 1, 0, 0);
	events[4] = event(EVENT_ZONE_LOCKED, 5, base + 16, 4, 0);
	events[5] = event(EVENT_ALLOC, 6, base + 16, 4, 0);
	events[6] = event(EVENT_FREE, 7, base, 0, 0);
	events[7] = event(EVENT_ALLOC, 8, base, 0, 0);
	write_trace("choices", &(struct recipe){IDENTITY_PFN, TRACE_HAS_GROUND_TRUTH, true, events,
						ARRAY_SIZE(events), m});
	path_of(path, "choices");
	k = run(path, "buddy:watermarks=off", false, false);
	assert_int_equal(total(k, ACCURACY_B, ACCURACY_REFILL)->choices, 2);
	assert_int_equal(total(k, ACCURACY_B, ACCURACY_HIT)->choices, 2);
	assert_int_equal(total(k, ACCURACY_B, ACCURACY_HIT)->correct, 2);
	assert_int_equal(total(k, ACCURACY_B, ACCURACY_DIRECT)->choices, 1);
	assert_int_equal(total(k, ACCURACY_B, ACCURACY_DECIDED)->choices, 4);
	assert_int_equal(total(k, ACCURACY_B, ACCURACY_DECIDED)->correct, 4);
	/* The baseline knows of one free. */
	assert_int_equal(total(k, ACCURACY_LIFO, ACCURACY_DECIDED)->correct, 1);
	assert_true(k->metric[METRIC_allocs] == 4);
	assert_true(k->metric[METRIC_recorded_refills] == 3);
	free(k);
}

static void choices_are_told_apart_as_refills_hits_and_single_requests(void **state)
{
	struct machine *m;

	(void)state;
	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, 2, &m, NULL), 0);
	expect_choices(m, 0);
	machine_destroy(m);
}

/* The cpu is node 0's; the kernel was asked for memory of node 1, as its frames tell. */
static void choices_on_another_node_are_judged_there(void **state)
{
	struct machine *m;

	(void)state;
	assert_int_equal(machine_create(2, 2, &m, NULL), 0);
	m->node_of_cpu[1] = 1;
	for (uint16_t node = 0; node < 2; node++) {
		const struct zone zone = {.start = (pfn_t)node * FRAMES,
					  .end = (node + 1U) * (pfn_t)FRAMES,
					  .present = FRAMES,
					  .managed = FRAMES,
					  .node = node,
					  .type = ZONE_NORMAL};

		assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	}
	expect_choices(m, 0);
	expect_choices(m, FRAMES);
	machine_destroy(m);
}

static void hindsight_is_said(void **state)
{
	static const char *const found[] = {"burn_in=false\n", "cpus=2\n", "managed_frames=16384\n",
					    "events=1\n", "ops=1\n"};
	const struct event events[] = {event(EVENT_ALLOC, 1, 0, 0, 0)};
	struct kept *with, *without;
	char path[128];

	(void)state;
	write_trace("hindsight",
		    &(struct recipe){IDENTITY_PFN, TRACE_HAS_GROUND_TRUTH, true, events, 1});
	path_of(path, "hindsight");
	without = run(path, "buddy", false, false);
	with = run(path, "buddy", true, false);
	assert_int_equal(with->warnings, without->warnings + 1);
	assert_string_not_equal(with->point_id, without->point_id);
	assert_non_null(strstr(with->settings, "hindsight=true\n"));
	assert_non_null(strstr(without->settings, "hindsight=false\n"));
	for (size_t i = 0; i < ARRAY_SIZE(found); i++)
		assert_non_null(strstr(with->settings, found[i]));
	free(with);
	free(without);
}

/* ---- what cannot be judged ---- */

/* A trace that nobody can be judged by: no row. */
static void expect_refusal(const char *trace, const char *text, const char *reason)
{
	bool fits;
	struct allocator_spec *spec = spec_of(text);
	const struct fidelity_config config = {.trace = trace, .spec = spec};
	struct kept *k = new_kept();
	struct error err = {0};

	assert_int_equal(fidelity_fits(trace, spec, &fits, &err), -ENOTSUP);
	if (!strstr(err.text, reason))
		fail_msg("%s", err.text);
	assert_int_equal(fidelity_run(&config, &k->sink, &err), -ENOTSUP);
	assert_int_equal(k->records, 0);
	free(k);
	allocator_spec_destroy(spec);
}

static void a_back_end_that_does_not_predict_is_refused(void **state)
{
	struct allocator_spec *spec = spec_of("llfree");
	const struct fidelity_config config = {.trace = SAMPLE_TRACE, .spec = spec};
	struct kept *k = new_kept();
	struct error err = {0};
	bool fits = true;

	(void)state;
	assert_int_equal(fidelity_fits(SAMPLE_TRACE, spec, &fits, &err), 0);
	assert_false(fits);
	assert_non_null(strstr(err.text, "llfree cannot be judged"));
	/* Who names it all the same gets a row that says so. */
	err.text[0] = '\0';
	assert_int_equal(fidelity_run(&config, &k->sink, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "llfree cannot be judged"));
	assert_int_not_equal(k->records, 0);
	free(k);
	allocator_spec_destroy(spec);
}

static void traces_without_what_it_takes_are_refused(void **state)
{
	const struct event events[] = {event(EVENT_ALLOC, 1, 0, 0, 0)};
	char path[128];

	(void)state;
	path_of(path, "odd");
	write_trace("odd", &(struct recipe){IDENTITY_PFN, 0, true, events, 1});
	expect_refusal(path, "buddy", "inside");
	write_trace("odd",
		    &(struct recipe){IDENTITY_VIRTUAL, TRACE_HAS_GROUND_TRUTH, false, events, 1});
	expect_refusal(path, "buddy", "generated");
	write_trace("odd",
		    &(struct recipe){IDENTITY_PFN, TRACE_HAS_GROUND_TRUTH, false, events, 1});
	expect_refusal(path, "buddy", "start snapshot");
}

static void what_fits_is_accepted_and_what_is_missing_named(void **state)
{
	struct allocator_spec *spec = spec_of("buddy");
	struct error err = {0};
	bool fits = false;
	char path[128];

	(void)state;
	assert_int_equal(fidelity_fits(SAMPLE_TRACE, spec, &fits, &err), 0);
	assert_true(fits);
	path_of(path, "nowhere");
	assert_int_equal(fidelity_fits(path, spec, &fits, &err), -ENOENT);
	assert_non_null(strstr(err.text, "nowhere"));
	allocator_spec_destroy(spec);
}

static void a_machine_that_the_host_has_no_memory_for_is_refused(void **state)
{
	struct allocator_spec *spec = spec_of("buddy");
	const struct fidelity_config config = {
		.trace = SAMPLE_TRACE, .spec = spec, .host_bytes = 1 << 20};
	struct kept *k = new_kept();
	struct error err = {0};

	(void)state;
	assert_int_equal(fidelity_run(&config, &k->sink, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "1.0 MiB are available"));
	assert_int_equal(k->records, 0);
	free(k);
	allocator_spec_destroy(spec);
}

/* ---- the directory ---- */

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	static const char *const names[] = {"choices", "hindsight", "odd"};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		path_of(path, names[i]);
		unlink(path);
	}
	free_sample(state);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_begin_with_the_run_and_end_with_done),
		cmocka_unit_test(every_class_is_scored_in_both_variants_and_adds_up),
		cmocka_unit_test(metrics_are_shares_and_repeat_the_records),
		cmocka_unit_test(a_second_run_gives_the_same_to_the_bit),
		cmocka_unit_test(choices_are_told_apart_as_refills_hits_and_single_requests),
		cmocka_unit_test(choices_on_another_node_are_judged_there),
		cmocka_unit_test(hindsight_is_said),
		cmocka_unit_test(a_back_end_that_does_not_predict_is_refused),
		cmocka_unit_test(traces_without_what_it_takes_are_refused),
		cmocka_unit_test(what_fits_is_accepted_and_what_is_missing_named),
		cmocka_unit_test(a_machine_that_the_host_has_no_memory_for_is_refused),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
