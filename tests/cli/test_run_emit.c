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
#include <jansson.h>

#include "base/bits.h"
#include "cli/run_emit.h"
#include "sim/machine.h"
#include "tests/base/seed.h"

/* ---- what a run tells ---- */

static void tell(struct kept_run *k, struct result_record record)
{
	assert_int_equal(kept_run_take(k, &record), 0);
}

static void begin(struct kept_run *k, int32_t order)
{
	kept_run_init(k);
	tell(k, (struct result_record){.kind = RESULT_RUN,
				       .run = {.allocator = "buddy",
					       .spec = "buddy:x=1",
					       .point_id = "0123",
					       .mode = "sequential",
					       .threads = 1,
					       .order = order}});
}

static void set(struct kept_run *k, const char *key, const char *value, enum setting_type type)
{
	tell(k, (struct result_record){
			.kind = RESULT_SETTING,
			.setting = {.key = key, .value = value, .unit = "", .type = type}});
}

static void bring(struct kept_run *k, const char *name, enum metric_kind kind, const char *model)
{
	tell(k, (struct result_record){.kind = RESULT_METRIC_ROW,
				       .row = {.metric = METRIC_COUNT + (uint32_t)k->rows.n,
					       .source = "buddy",
					       .info = {.name = name,
							.unit = "",
							.help = "",
							.kind = kind,
							.model = model}}});
}

static void count(struct kept_run *k, uint32_t sample, uint32_t row, uint64_t value)
{
	tell(k, (struct result_record){.kind = RESULT_COUNTER,
				       .counter = {sample, METRIC_COUNT + row, value}});
}

static void sample(struct kept_run *k, uint32_t index)
{
	struct result_record record = {.kind = RESULT_SAMPLE,
				       .sample = {.index = index, .event = 10 * index}};

	tell(k, record);
}

/* ---- what is written of it ---- */

/* Ends the run. Return: the document's text, malloc'ed. */
static char *written(struct kept_run *k, enum emitter_format format, const struct run_row *row)
{
	static const struct emitter_column columns[] = {{.path = "spec", .heading = "back end"}};
	struct error err = {0};
	struct emitter *e;
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	kept_run_settle(k);
	assert_int_equal(emitter_begin(out, format, &e), 0);
	emitter_rows_begin(e, "runs", columns, ARRAY_SIZE(columns));
	run_emit(e, k, row);
	emitter_rows_end(e);
	if (emitter_end(e, &err))
		fail_msg("%s", err.text);
	fclose(out);
	kept_run_clear(k);
	return text;
}

static json_t *json_of(struct kept_run *k)
{
	const struct run_row row = {.status = RUN_DONE};
	char *text = written(k, EMITTER_JSON, &row);
	json_error_t why;
	json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &why), *run;

	if (!document)
		fail_msg("%s in\n%s", why.text, text);
	free(text);
	run = json_incref(json_array_get(json_object_get(document, "runs"), 0));
	json_decref(document);
	assert_non_null(run);
	return run;
}

/* @path: members and, as numbers, places, parted by dots. */
static json_t *at(json_t *value, const char *path)
{
	char copy[100], *save, *word;

	snprintf(copy, sizeof(copy), "%s", path);
	for (word = strtok_r(copy, ".", &save); word; word = strtok_r(NULL, ".", &save))
		value = json_is_array(value) ? json_array_get(value, (size_t)atoi(word))
					     : json_object_get(value, word);
	if (!value)
		fail_msg("no %s", path);
	return value;
}

/* ---- tests ---- */

/* Whatever settings a run has: nobody on the way knows one by name. */
static void every_setting_told_is_written(void **state)
{
	struct random r = random_begin(5);

	(void)state;
	for (unsigned int round = 0; round < 50; round++) {
		char key[48][24], value[48][24];
		enum setting_type type[48];
		size_t n = random_below(&r, ARRAY_SIZE(key) + 1);
		struct kept_run k;
		json_t *run;

		begin(&k, -1);
		for (size_t i = 0; i < n; i++) {
			snprintf(key[i], sizeof(key[i]), "k%zu_%u", i,
				 (unsigned int)random_below(&r, 1000));
			type[i] = (enum setting_type)random_below(&r, SETTING_BOOL + 1);
			if (type[i] == SETTING_BOOL)
				strcpy(value[i], random_below(&r, 2) ? "true" : "false");
			else
				snprintf(value[i], sizeof(value[i]), "%u",
					 (unsigned int)random_below(&r, 1U << 30));
			set(&k, key[i], value[i], type[i]);
		}
		run = json_of(&k);
		assert_int_equal(json_object_size(at(run, "settings")), n);
		for (size_t i = 0; i < n; i++) {
			json_t *told = json_object_get(at(run, "settings"), key[i]);

			if (type[i] == SETTING_BOOL)
				assert_true(json_is_boolean(told) &&
					    json_is_true(told) == (value[i][0] == 't'));
			else if (type[i] == SETTING_NUMBER)
				assert_true(json_is_integer(told) &&
					    json_integer_value(told) == atoll(value[i]));
			else
				assert_string_equal(json_string_value(told), value[i]);
		}
		json_decref(run);
	}
}

static void a_number_that_is_not_known_is_null(void **state)
{
	struct kept_run k;
	json_t *run;

	(void)state;
	begin(&k, -1);
	set(&k, "events", "", SETTING_NUMBER);
	set(&k, "name", "", SETTING_TEXT);
	assert_true(kept_has_setting(&k, "events", ""));
	assert_false(kept_has_setting(&k, "events", "1"));
	assert_false(kept_has_setting(&k, "ops", ""));
	run = json_of(&k);
	assert_true(json_is_null(at(run, "settings.events")));
	assert_string_equal(json_string_value(at(run, "settings.name")), "");
	json_decref(run);
}

static void counters_and_values_find_their_samples_in_any_order(void **state)
{
	struct kept_run k;
	json_t *run;

	(void)state;
	begin(&k, -1);
	bring(&k, "refills", METRIC_EXACT, NULL);
	bring(&k, "drains", METRIC_EXACT, NULL);
	bring(&k, "joules", METRIC_MODELLED, "DDR4-2400");
	count(&k, RESULT_AT_END, 0, INT64_MAX);
	count(&k, 2, 1, 21);
	sample(&k, 0);
	sample(&k, 2);
	sample(&k, 5);
	count(&k, 2, 0, 20);
	count(&k, 0, 0, 1);
	count(&k, 3, 0, 33); /* of no sample */
	tell(&k, (struct result_record){.kind = RESULT_VALUE, .value = {5, METRIC_COUNT + 2, 0.5}});
	tell(&k, (struct result_record){.kind = RESULT_VALUE,
					.value = {0, METRIC_COUNT + 2, (double)NAN}});
	tell(&k, (struct result_record){.kind = RESULT_METRIC, .metric = {METRIC_COUNT + 2, 2.5}});
	tell(&k, (struct result_record){.kind = RESULT_METRIC, .metric = {METRIC_allocs, 7}});
	tell(&k, (struct result_record){.kind = RESULT_SPREAD, .spread = {METRIC_alloc_ns, 0.25}});
	tell(&k, (struct result_record){.kind = RESULT_SPREAD, .spread = {METRIC_COUNT + 2, 0.5}});
	run = json_of(&k);
	assert_int_equal(json_object_size(at(run, "spread")), 2);
	assert_true(json_real_value(at(run, "spread.alloc_ns")) == 0.25);
	assert_true(json_real_value(at(run, "spread.joules")) == 0.5);
	assert_int_equal(json_object_size(at(run, "counters")), 1);
	assert_true(json_integer_value(at(run, "counters.refills")) == INT64_MAX);
	assert_int_equal(json_object_size(at(run, "samples.0.counters")), 1);
	assert_int_equal(json_integer_value(at(run, "samples.0.counters.refills")), 1);
	assert_true(json_is_null(at(run, "samples.0.joules")));
	assert_int_equal(json_object_size(at(run, "samples.1.counters")), 2);
	assert_int_equal(json_integer_value(at(run, "samples.1.counters.refills")), 20);
	assert_int_equal(json_integer_value(at(run, "samples.1.counters.drains")), 21);
	assert_int_equal(json_object_size(at(run, "samples.2.counters")), 0);
	assert_true(json_real_value(at(run, "samples.2.joules")) == 0.5);
	assert_true(json_real_value(at(run, "metrics.joules")) == 2.5);
	assert_int_equal(json_integer_value(at(run, "metrics.allocs")), 7);
	assert_null(json_object_get(at(run, "metrics"), "refills"));
	assert_int_equal(json_object_size(at(run, "models")), 1);
	assert_string_equal(json_string_value(at(run, "models.joules")), "DDR4-2400");
	json_decref(run);
}

static void flags_and_holders_are_written(void **state)
{
	struct kept_run k;
	json_t *run;

	(void)state;
	begin(&k, -1);
	tell(&k, (struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_REFILL, 12}});
	tell(&k, (struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_FALLBACK, 0}});
	tell(&k, (struct result_record){
			 .kind = RESULT_HOLDER,
			 .holder = {9, 77, 1, "page_cache", 3, MIGRATE_MOVABLE, 0, 5, 64, 123}});
	run = json_of(&k);
	assert_int_equal(json_object_size(at(run, "flags")), 2);
	assert_int_equal(json_integer_value(at(run, "flags.refill")), 12);
	assert_int_equal(json_integer_value(at(run, "flags.fallback")), 0);
	assert_int_equal(json_array_size(at(run, "holders")), 1);
	assert_int_equal(json_integer_value(at(run, "holders.0.sample")), 9);
	assert_int_equal(json_integer_value(at(run, "holders.0.block")), 77);
	assert_int_equal(json_integer_value(at(run, "holders.0.rank")), 1);
	assert_string_equal(json_string_value(at(run, "holders.0.class")), "page_cache");
	assert_int_equal(json_integer_value(at(run, "holders.0.order")), 3);
	assert_string_equal(json_string_value(at(run, "holders.0.migratetype")), "Movable");
	assert_true(json_is_null(at(run, "holders.0.gfp")));
	assert_int_equal(json_integer_value(at(run, "holders.0.frames")), 64);
	assert_int_equal(json_integer_value(at(run, "holders.0.since_ns")), 123);
	json_decref(run);
}

static void a_benchmark_has_rounds_and_no_time(void **state)
{
	struct kept_run k;
	json_t *run;

	(void)state;
	begin(&k, 0);
	sample(&k, 3);
	run = json_of(&k);
	assert_int_equal(json_integer_value(at(run, "order")), 0);
	assert_int_equal(json_integer_value(at(run, "samples.0.round")), 3);
	assert_true(json_is_null(at(run, "samples.0.time_ns")));
	json_decref(run);
	begin(&k, -1);
	sample(&k, 3);
	run = json_of(&k);
	assert_true(json_is_null(at(run, "order")));
	assert_true(json_is_null(at(run, "samples.0.round")));
	assert_int_equal(json_integer_value(at(run, "samples.0.time_ns")), 0);
	json_decref(run);
}

/* Rows of CSV have the same columns, whatever the back ends count. */
static void csv_leaves_out_what_differs_from_run_to_run(void **state)
{
	const int64_t id = 12;
	const struct run_row row = {.id = &id, .status = RUN_FAILED, .why = "broke"};
	struct kept_run k;
	char *plain, *rich;

	(void)state;
	begin(&k, -1);
	set(&k, "fill", "90", SETTING_NUMBER);
	plain = written(&k, EMITTER_CSV, &row);
	assert_memory_equal(plain, "id,point_id,", strlen("id,point_id,"));
	assert_non_null(strstr(plain, ",settings.fill,"));
	assert_non_null(strstr(plain, "\n12,0123,"));
	begin(&k, -1);
	set(&k, "fill", "90", SETTING_NUMBER);
	bring(&k, "refills", METRIC_EXACT, NULL);
	bring(&k, "joules", METRIC_MODELLED, "m");
	sample(&k, 0);
	count(&k, RESULT_AT_END, 0, 5);
	tell(&k, (struct result_record){.kind = RESULT_METRIC, .metric = {METRIC_COUNT + 1, 2.5}});
	tell(&k, (struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_REFILL, 12}});
	rich = written(&k, EMITTER_CSV, &row);
	assert_string_equal(rich, plain);
	free(plain);
	free(rich);
}

static void a_figure_that_no_row_tells_is_refused(void **state)
{
	const struct result_record records[] = {
		{.kind = RESULT_COUNTER, .counter = {0, METRIC_COUNT + 1, 5}},
		{.kind = RESULT_VALUE, .value = {0, METRIC_COUNT + 1, 5}},
		{.kind = RESULT_METRIC, .metric = {METRIC_COUNT + 1, 5}},
		{.kind = RESULT_METRIC_ROW,
		 .row = {METRIC_COUNT + 2, "x", {.name = "y", .unit = "", .help = ""}}},
	};
	struct kept_run k;

	(void)state;
	begin(&k, -1);
	bring(&k, "refills", METRIC_EXACT, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(records); i++)
		assert_int_equal(kept_run_take(&k, &records[i]), -EPROTO);
	kept_run_clear(&k);
}

static void nothing_of_one_run_is_left_in_the_next(void **state)
{
	struct kept_run k;
	json_t *run;

	(void)state;
	begin(&k, -1);
	set(&k, "fill", "90", SETTING_NUMBER);
	bring(&k, "refills", METRIC_EXACT, NULL);
	sample(&k, 0);
	count(&k, RESULT_AT_END, 0, 5);
	tell(&k, (struct result_record){.kind = RESULT_METRIC, .metric = {METRIC_allocs, 7}});
	tell(&k, (struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_REFILL, 12}});
	tell(&k, (struct result_record){.kind = RESULT_WARNING, .warning = {"hm"}});
	tell(&k,
	     (struct result_record){.kind = RESULT_RUN, .run = {.spec = "llfree", .order = -1}});
	run = json_of(&k);
	assert_string_equal(json_string_value(at(run, "spec")), "llfree");
	assert_int_equal(json_object_size(at(run, "settings")), 0);
	assert_int_equal(json_object_size(at(run, "counters")), 0);
	assert_int_equal(json_object_size(at(run, "flags")), 0);
	assert_int_equal(json_array_size(at(run, "samples")), 0);
	assert_int_equal(json_array_size(at(run, "warnings")), 0);
	assert_true(json_is_null(at(run, "metrics.allocs")));
	json_decref(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_setting_told_is_written),
		cmocka_unit_test(a_number_that_is_not_known_is_null),
		cmocka_unit_test(counters_and_values_find_their_samples_in_any_order),
		cmocka_unit_test(flags_and_holders_are_written),
		cmocka_unit_test(a_benchmark_has_rounds_and_no_time),
		cmocka_unit_test(csv_leaves_out_what_differs_from_run_to_run),
		cmocka_unit_test(a_figure_that_no_row_tells_is_refused),
		cmocka_unit_test(nothing_of_one_run_is_left_in_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
