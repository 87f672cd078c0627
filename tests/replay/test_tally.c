/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "replay/tally.h"

/* ---- a sink that writes down what it is told ---- */

struct written {
	struct result_sink sink;
	char text[4000]; /* a line per record, in order; spreads only where they are wanted */
	bool spreads;
};

static int write_down(struct result_sink *sink, const struct result_record *r, struct error *err)
{
	struct written *w = (struct written *)sink;
	size_t used = strlen(w->text), room = sizeof(w->text) - used;
	char *at = w->text + used;

	(void)err;
	switch (r->kind) {
	case RESULT_METRIC_ROW:
		snprintf(at, room, "row %u %s.%s\n", r->row.metric - METRIC_COUNT, r->row.source,
			 r->row.info.name);
		break;
	case RESULT_METRIC:
		if (r->metric.metric < METRIC_COUNT)
			snprintf(at, room, "%s %g\n", metric_table[r->metric.metric].name,
				 r->metric.value);
		else
			snprintf(at, room, "metric %u %g\n", r->metric.metric - METRIC_COUNT,
				 r->metric.value);
		break;
	case RESULT_SPREAD:
		if (w->spreads)
			snprintf(at, room, "spread %u %g\n", r->spread.metric, r->spread.value);
		break;
	case RESULT_DOUBT:
		snprintf(at, room, "doubt %s %lu\n", doubt_table[r->doubt.doubt].name,
			 (unsigned long)r->doubt.count);
		break;
	case RESULT_COUNTER:
		snprintf(at, room, "counter %u %lu\n", r->counter.metric - METRIC_COUNT,
			 (unsigned long)r->counter.value);
		break;
	case RESULT_VALUE:
		snprintf(at, room, "value %u of %u %g\n", r->value.sample,
			 r->value.metric - METRIC_COUNT, r->value.value);
		break;
	case RESULT_FLAG:
		snprintf(at, room, "flag %s %lu\n", result_flag_name(r->flag.flag),
			 (unsigned long)r->flag.allocs);
		break;
	case RESULT_SAMPLE:
		snprintf(at, room, "sample %u\n", r->sample.index);
		break;
	case RESULT_WARNING:
		snprintf(at, room, "warning %s\n", r->warning.text);
		break;
	default:
		snprintf(at, room, "kind %d\n", (int)r->kind);
	}
	return 0;
}

/* ---- repetitions ---- */

static void say(struct tally *t, struct result_record record)
{
	struct error err = {0};

	if (t->sink.take(&t->sink, &record, &err))
		fail_msg("%s", err.text);
}

static void begin(struct tally *t)
{
	say(t, (struct result_record){.kind = RESULT_RUN});
	say(t, (struct result_record){.kind = RESULT_SETTING,
				      .setting = {"fill", "90", "%", SETTING_QUESTION}});
}

static void bring(struct tally *t, uint32_t number, const char *source, const char *name,
		  enum metric_kind kind)
{
	say(t, (struct result_record){.kind = RESULT_METRIC_ROW,
				      .row = {METRIC_COUNT + number,
					      source,
					      {name, "", "", METRIC_LOWER, kind,
					       kind == METRIC_MODELLED ? "a model" : NULL}}});
}

static void measure(struct tally *t, uint32_t metric, double value)
{
	say(t, (struct result_record){.kind = RESULT_METRIC, .metric = {metric, value}});
}

static void count(struct tally *t, uint32_t number, uint64_t value)
{
	say(t, (struct result_record){.kind = RESULT_COUNTER,
				      .counter = {RESULT_AT_END, METRIC_COUNT + number, value}});
}

static void end(struct tally *t)
{
	say(t, (struct result_record){.kind = RESULT_DONE, .done = {RUN_DONE, NULL, 0}});
}

static void expect_told(struct tally *t, bool whole, const char *text)
{
	struct written w = {.sink = {.take = write_down}};
	struct error err = {0};

	if (tally_tell(t, whole, &w.sink, &err))
		fail_msg("%s", err.text);
	assert_string_equal(w.text, text);
	tally_destroy(t);
}

static struct tally made(uint32_t repetitions)
{
	struct tally t;

	assert_int_equal(tally_create(&t, repetitions, NULL), 0);
	return t;
}

/* ---- tests ---- */

static void a_noisy_metric_is_the_median_and_an_exact_one_the_worst(void **state)
{
	static const double times[] = {30, 10, 11}, moves[] = {5, 7, 5}, free_huge[] = {8, 8, 6};
	struct tally t = made(3);

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		begin(&t);
		measure(&t, METRIC_cas_ns, times[i]);
		measure(&t, METRIC_moves_to_compact, moves[i]);
		measure(&t, METRIC_free_huge, free_huge[i]);
		end(&t);
	}
	assert_int_equal(t.done, 3);
	expect_told(&t, true,
		    "free_huge 6\nmoves_to_compact 7\ncas_ns 11\ndoubt repetitions_differ 2\n"
		    "warning free_huge is from 6 to 8 over the repetitions; where an exact metric "
		    "differs, the worst is told\n");
}

/* A daemon's energy, a back end's figure and its counters, told in another order the second time. */
static void brought_metrics_are_known_by_who_brings_them_and_their_name(void **state)
{
	struct tally t = made(2);

	(void)state;
	begin(&t);
	bring(&t, 0, "buddy", "refills", METRIC_EXACT);
	bring(&t, 1, "dram", "wakes_ns", METRIC_NOISY);
	bring(&t, 2, "dram", "refills", METRIC_EXACT);
	count(&t, 0, 17);
	measure(&t, METRIC_COUNT + 1, 100);
	measure(&t, METRIC_COUNT + 2, 4);
	say(&t, (struct result_record){.kind = RESULT_VALUE, .value = {0, METRIC_COUNT + 2, 3}});
	end(&t);
	begin(&t);
	bring(&t, 0, "dram", "refills", METRIC_EXACT);
	bring(&t, 1, "dram", "wakes_ns", METRIC_NOISY);
	bring(&t, 2, "buddy", "refills", METRIC_EXACT);
	bring(&t, 3, "buddy", "drains", METRIC_EXACT);
	measure(&t, METRIC_COUNT + 0, 4);
	measure(&t, METRIC_COUNT + 1, 300);
	count(&t, 2, 18);
	count(&t, 3, 1);
	end(&t);
	expect_told(&t, true,
		    "row 0 buddy.refills\nrow 1 dram.wakes_ns\nrow 2 dram.refills\ncounter 0 17\n"
		    "value 0 of 2 3\nrow 3 buddy.drains\nmetric 1 200\nmetric 2 4\n");
}

static void a_modelled_metric_that_differs_is_told_like_an_exact_one(void **state)
{
	struct tally t = made(2);

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		begin(&t);
		bring(&t, 0, "dram", "joules", METRIC_MODELLED);
		measure(&t, METRIC_COUNT, 1 + i);
		end(&t);
	}
	expect_told(&t, true,
		    "row 0 dram.joules\nmetric 0 2\ndoubt repetitions_differ 1\nwarning joules is "
		    "from 1 to 2 over the "
		    "repetitions; where an exact metric differs, the worst is told\n");
}

static void samples_and_flags_come_from_the_first_and_warnings_once(void **state)
{
	struct tally t = made(2);

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		begin(&t);
		say(&t, (struct result_record){.kind = RESULT_SAMPLE, .sample = {.index = i}});
		say(&t, (struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_REFILL, 5 + i}});
		say(&t, (struct result_record){.kind = RESULT_WARNING, .warning = {"noise"}});
		say(&t, (struct result_record){.kind = RESULT_ALIVE});
		end(&t);
	}
	expect_told(&t, true, "sample 0\nflag refill 5\nwarning noise\n");
}

static void of_what_failed_only_warnings_are_told(void **state)
{
	struct tally t = made(2);

	(void)state;
	begin(&t);
	measure(&t, METRIC_allocs, 5);
	say(&t, (struct result_record){.kind = RESULT_SAMPLE});
	say(&t, (struct result_record){.kind = RESULT_WARNING, .warning = {"smoke"}});
	say(&t, (struct result_record){.kind = RESULT_DONE, .done = {RUN_CRASHED, "dead", ECHILD}});
	assert_int_equal(t.status, RUN_CRASHED);
	assert_int_equal(t.done, 0);
	expect_told(&t, false, "warning smoke\n");
}

static void every_noisy_metric_has_its_spread_told(void **state)
{
	static const double times[] = {30, 10, 11}, still[] = {0, 0, 0};
	struct written w = {.sink = {.take = write_down}, .spreads = true};
	struct tally t = made(3);
	char text[400];

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		begin(&t);
		bring(&t, 0, "dram", "wakes_ns", METRIC_NOISY);
		measure(&t, METRIC_free_huge, 5);
		measure(&t, METRIC_minor_faults, still[i]);
		measure(&t, METRIC_cas_ns, times[i]);
		measure(&t, METRIC_COUNT, 100 * times[i]);
		end(&t);
	}
	assert_int_equal(tally_tell(&t, true, &w.sink, NULL), 0);
	snprintf(text, sizeof(text),
		 "row 0 dram.wakes_ns\nfree_huge 5\nminor_faults 0\nspread %u 0\ncas_ns 11\n"
		 "spread %u 1.81818\nmetric 0 1100\nspread %u 1.81818\n",
		 METRIC_minor_faults, METRIC_cas_ns, METRIC_COUNT);
	assert_string_equal(w.text, text);
	tally_destroy(&t);
}

static void of_one_repetition_no_spread_is_told(void **state)
{
	struct written w = {.sink = {.take = write_down}, .spreads = true};
	struct tally t = made(1);

	(void)state;
	begin(&t);
	measure(&t, METRIC_cas_ns, 5);
	end(&t);
	assert_int_equal(tally_tell(&t, true, &w.sink, NULL), 0);
	assert_string_equal(w.text, "cas_ns 5\n");
	tally_destroy(&t);
}

static void who_it_is_comes_from_the_first(void **state)
{
	struct written w = {.sink = {.take = write_down}};
	struct tally t = made(2);
	char text[100];

	(void)state;
	assert_false(tally_has_run(&t));
	for (unsigned int i = 0; i < 2; i++) {
		begin(&t);
		assert_true(tally_has_run(&t));
		end(&t);
	}
	assert_int_equal(tally_tell_run(&t, &w.sink, NULL), 0);
	snprintf(text, sizeof(text), "kind %d\nkind %d\n", RESULT_RUN, RESULT_SETTING);
	assert_string_equal(w.text, text);
	tally_destroy(&t);
}

static void a_figure_that_no_row_tells_is_refused(void **state)
{
	const struct result_record record = {.kind = RESULT_METRIC, .metric = {METRIC_COUNT, 1}};
	struct tally t = made(1);
	struct error err = {0};

	(void)state;
	begin(&t);
	assert_int_equal(t.sink.take(&t.sink, &record, &err), -EINVAL);
	assert_non_null(strstr(err.text, "which no row tells"));
	tally_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_noisy_metric_is_the_median_and_an_exact_one_the_worst),
		cmocka_unit_test(brought_metrics_are_known_by_who_brings_them_and_their_name),
		cmocka_unit_test(a_modelled_metric_that_differs_is_told_like_an_exact_one),
		cmocka_unit_test(samples_and_flags_come_from_the_first_and_warnings_once),
		cmocka_unit_test(of_what_failed_only_warnings_are_told),
		cmocka_unit_test(every_noisy_metric_has_its_spread_told),
		cmocka_unit_test(of_one_repetition_no_spread_is_told),
		cmocka_unit_test(who_it_is_comes_from_the_first),
		cmocka_unit_test(a_figure_that_no_row_tells_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
