/* SPDX-License-Identifier: MIT */
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
#include "replay/isolate.h"
#include "replay/tell.h"

/* ---- a sink that keeps what tests look at ---- */

struct kept {
	struct result_sink sink;
	unsigned int runs, settings, rows, counters;
	char point_id[33];
	char keys[200];			       /* of the settings, in order */
	char name[ALLOCATOR_COUNTERS_MAX][40]; /* of the rows */
	struct result_counter counter[2 * ALLOCATOR_COUNTERS_MAX];
};

static int keep(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct kept *k = (struct kept *)sink;

	(void)err;
	switch (record->kind) {
	case RESULT_RUN:
		assert_int_equal(k->settings, 0);
		k->runs++;
		snprintf(k->point_id, sizeof(k->point_id), "%s", record->run.point_id);
		break;
	case RESULT_SETTING:
		assert_int_equal(k->runs, 1);
		k->settings++;
		strcat(k->keys, record->setting.key);
		strcat(k->keys, " ");
		break;
	case RESULT_METRIC_ROW:
		assert_int_equal(record->row.metric, METRIC_COUNT + k->rows);
		snprintf(k->name[k->rows++], sizeof(k->name[0]), "%s.%s", record->row.source,
			 record->row.info.name);
		break;
	case RESULT_COUNTER:
		k->counter[k->counters++] = record->counter;
		break;
	case RESULT_ALIVE: /* so that nothing before it is held back */
	case RESULT_DONE:
		break;
	default:
		fail_msg("a record of kind %d", (int)record->kind);
	}
	return 0;
}

static struct allocator_spec *spec_of(const char *text)
{
	struct allocator_spec *spec;
	struct error err = {0};

	if (allocator_spec_parse(text, &spec, &err))
		fail_msg("%s", err.text);
	return spec;
}

/* ---- runs ---- */

struct fixture {
	struct allocator_spec *spec;
	struct machine *machine;
	struct tell_run run;
	struct settings settings;
};

static void set_up(struct fixture *f)
{
	*f = (struct fixture){.spec = spec_of("llfree")};
	assert_int_equal(machine_from_memory(64 << 20, 4, &f->machine, NULL), 0);
	f->run = (struct tell_run){
		.spec = f->spec,
		.machine = f->machine,
		.asked = "trace 0123",
		.trace = "t.quire",
		.trace_digest = "0123",
		.mode = "sequential",
		.seed = 1,
		.start_ns = 5,
		.threads = 1,
		.order = -1,
	};
	settings_text(&f->settings, SETTING_QUESTION, "prefill", "packed", "recorded");
	settings_number(&f->settings, SETTING_FACT, "bursts", 9, "");
}

static void tear_down(struct fixture *f)
{
	machine_destroy(f->machine);
	allocator_spec_destroy(f->spec);
}

static struct kept told(const struct fixture *f)
{
	struct kept k = {.sink = {.take = keep}};
	struct error err = {0};
	struct tell t;

	tell_init(&t, &k.sink, &err);
	if (tell_run(&t, &f->run, &f->settings))
		fail_msg("%s", err.text);
	assert_int_equal(k.runs, 1);
	assert_int_equal(k.settings, f->settings.n);
	assert_int_equal(strlen(k.point_id), 32);
	return k;
}

static bool same_point(const struct fixture *a, const struct fixture *b)
{
	struct kept x = told(a), y = told(b);

	return strcmp(x.point_id, y.point_id) == 0;
}

static void what_was_asked_makes_a_point_and_what_was_found_does_not(void **state)
{
	static const enum setting_role roles[] = {SETTING_QUESTION, SETTING_CARE, SETTING_FACT};
	struct fixture f, other;

	(void)state;
	set_up(&f);
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		other = f;
		settings_uint(&other.settings, roles[i], "depth", 3, "", 2);
		assert_int_equal(same_point(&f, &other), roles[i] == SETTING_FACT);
		other = f;
		settings_uint(&other.settings, roles[i], "depth", 2, "", 2);
		assert_true(same_point(&f, &other));
		other = f;
		settings_unknown(&other.settings, SETTING_FACT, "ops", "");
		assert_true(same_point(&f, &other));
	}
	tear_down(&f);
}

static void what_identifies_a_run_makes_a_point(void **state)
{
	struct allocator_spec *spec = spec_of("llfree:tree=16");
	struct machine *machine;
	struct fixture f, other;

	(void)state;
	set_up(&f);
	assert_int_equal(machine_from_memory(64 << 20, 5, &machine, NULL), 0);
#define DIFFERS(change)                                                                            \
	do {                                                                                       \
		other = f;                                                                         \
		change;                                                                            \
		assert_false(same_point(&f, &other));                                              \
	} while (0)
	DIFFERS(other.run.asked = "trace 0124");
	DIFFERS(other.run.machine = machine);
	DIFFERS(other.run.spec = spec);
	DIFFERS(other.run.mode = "fidelity");
	DIFFERS(other.run.seed = 2);
	DIFFERS(other.run.threads = 2);
	DIFFERS(other.run.order = 0);
#undef DIFFERS
	other = f;
	other.run.label = "mine";
	other.run.trace = "elsewhere/t.quire";
	other.run.start_ns++;
	assert_true(same_point(&f, &other));
	machine_destroy(machine);
	allocator_spec_destroy(spec);
	tear_down(&f);
}

static void settings_are_told_behind_the_run_in_the_order_stated(void **state)
{
	struct fixture f;
	struct kept k;

	(void)state;
	set_up(&f);
	tell_machine_facts(&f.settings, f.machine);
	tell_trace_facts(&f.settings, NULL);
	k = told(&f);
	assert_string_equal(k.keys, "prefill bursts cpus managed_frames events ops ");
	assert_string_equal(settings_find(&f.settings, "cpus")->value, "4");
	assert_string_equal(settings_find(&f.settings, "managed_frames")->value, "16384");
	tear_down(&f);
}

/* ---- counters ---- */

static void add_counter(struct allocator_stats *stats, const char *name, uint64_t value)
{
	stats->counters[stats->nr_counters].name = name;
	stats->counters[stats->nr_counters++].value = value;
}

static void a_counter_is_declared_once_wherever_it_stands(void **state)
{
	struct allocator_spec *spec = spec_of("percpu");
	struct allocator_stats first = {0}, second = {0};
	struct kept k = {.sink = {.take = keep}};
	struct error err = {0};
	struct tell t;

	(void)state;
	add_counter(&first, "refills", 1);
	add_counter(&first, "drains", 2);
	add_counter(&second, "drains", 3);
	add_counter(&second, "claims", 4);
	add_counter(&second, "refills", 5);
	tell_init(&t, &k.sink, &err);
	assert_int_equal(tell_counters(&t, spec, &first, 0), 0);
	assert_int_equal(tell_counters(&t, spec, &second, RESULT_AT_END), 0);
	assert_int_equal(k.rows, 3);
	assert_string_equal(k.name[0], "percpu.refills");
	assert_string_equal(k.name[1], "percpu.drains");
	assert_string_equal(k.name[2], "percpu.claims");
	assert_int_equal(k.counters, 5);
	for (unsigned int i = 0; i < k.counters; i++) {
		static const uint32_t row[] = {0, 1, 1, 2, 0};

		assert_int_equal(k.counter[i].sample, i < 2 ? 0 : RESULT_AT_END);
		assert_int_equal(k.counter[i].metric, METRIC_COUNT + row[i]);
		assert_int_equal(k.counter[i].value, i + 1);
	}
	allocator_spec_destroy(spec);
}

static void more_counters_than_there_is_room_for_are_an_error(void **state)
{
	static char names[ALLOCATOR_COUNTERS_MAX + 1][8];
	struct allocator_spec *spec = spec_of("llfree");
	struct allocator_stats full = {0}, more = {0};
	struct kept k = {.sink = {.take = keep}};
	struct error err = {0};
	struct tell t;

	(void)state;
	for (unsigned int i = 0; i <= ALLOCATOR_COUNTERS_MAX; i++)
		snprintf(names[i], sizeof(names[i]), "c%u", i);
	for (unsigned int i = 0; i < ALLOCATOR_COUNTERS_MAX; i++)
		add_counter(&full, names[i], i);
	add_counter(&more, names[ALLOCATOR_COUNTERS_MAX], 0);
	tell_init(&t, &k.sink, &err);
	assert_int_equal(tell_counters(&t, spec, &full, 0), 0);
	assert_int_equal(tell_counters(&t, spec, &more, 1), -E2BIG);
	assert_non_null(strstr(err.text, "more than 32 counters"));
	allocator_spec_destroy(spec);
}

static void a_row_too_many_is_an_error(void **state)
{
	const struct metric_info info = {.name = "joules", .unit = "J", .help = ""};
	struct kept k = {.sink = {.take = keep}};
	struct error err = {0};
	uint32_t metric;
	struct tell t;

	(void)state;
	tell_init(&t, &k.sink, &err);
	assert_int_equal(tell_row(&t, "dram", &info, &metric), 0);
	assert_int_equal(metric, METRIC_COUNT);
	assert_string_equal(k.name[0], "dram.joules");
	t.rows = RESULT_ROWS_MAX;
	assert_int_equal(tell_row(&t, "dram", &info, &metric), -E2BIG);
	assert_non_null(strstr(err.text, "dram: joules"));
}

static int die_at_once(const void *arg, struct run_position *at, struct result_sink *sink,
		       struct error *err)
{
	const struct fixture *f = arg;
	struct tell t;

	(void)at;
	tell_init(&t, sink, err);
	if (!tell_run(&t, &f->run, &f->settings))
		_exit(9);
	return -EIO;
}

static void who_dies_at_once_has_told_its_settings(void **state)
{
	struct kept k = {.sink = {.take = keep}};
	struct error err = {0};
	struct fixture f;
	struct isolated_job job = {.name = "dies", .body = die_at_once, .arg = &f};

	(void)state;
	set_up(&f);
	assert_int_equal(isolate_run(&job, &k.sink, &err), -ECHILD);
	assert_int_equal(k.runs, 1);
	assert_int_equal(k.settings, f.settings.n);
	tear_down(&f);
}

/* Nothing it says can arrive any more. */
static int run_out_of_everything(const void *arg, struct run_position *at, struct result_sink *sink,
				 struct error *err)
{
	(void)arg;
	(void)at;
	(void)sink;
	for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
		close(fd);
	return error_set(err, ENOMEM, "no memory for anything");
}

static void a_last_word_needs_no_pipe(void **state)
{
	const struct isolated_job job = {.name = "poor", .body = run_out_of_everything};
	struct kept k = {.sink = {.take = keep}};
	struct error err = {0};

	(void)state;
	assert_int_equal(isolate_run(&job, &k.sink, &err), -ENOMEM);
	assert_string_equal(err.text, "no memory for anything");
}

static int no_memory_to_look(const struct allocator *a, struct error *err)
{
	(void)a;
	return error_set(err, ENOMEM, "no memory");
}

static void a_check_that_could_not_look_found_nothing(void **state)
{
	const struct allocator_ops ops = {.name = "mine", .check = no_memory_to_look};
	struct kept k = {.sink = {.take = keep}};
	struct doubts doubts = {0};
	struct error err = {0};
	struct tell t;

	(void)state;
	tell_init(&t, &k.sink, &err);
	assert_int_equal(tell_check(&t, &ops, NULL, &doubts), -ENOMEM);
	assert_string_equal(err.text, "mine: check: out of memory");
	assert_int_equal(doubts.count[DOUBT_check_failures], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_asked_makes_a_point_and_what_was_found_does_not),
		cmocka_unit_test(what_identifies_a_run_makes_a_point),
		cmocka_unit_test(settings_are_told_behind_the_run_in_the_order_stated),
		cmocka_unit_test(a_counter_is_declared_once_wherever_it_stands),
		cmocka_unit_test(more_counters_than_there_is_room_for_are_an_error),
		cmocka_unit_test(a_row_too_many_is_an_error),
		cmocka_unit_test(who_dies_at_once_has_told_its_settings),
		cmocka_unit_test(a_last_word_needs_no_pipe),
		cmocka_unit_test(a_check_that_could_not_look_found_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
