/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "replay/fidelity/judge.h"

/* ---- a sink that keeps all accuracy records ---- */

#define KEPT_MAX 512

struct kept {
	struct result_sink sink;
	struct result_accuracy record[KEPT_MAX];
	size_t n, fail_at; /* the record to refuse, from 1; 0: none */
};

static int keep(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct kept *k = (struct kept *)sink;

	assert_int_equal(record->kind, RESULT_ACCURACY);
	assert_true(k->n < KEPT_MAX);
	k->record[k->n++] = record->accuracy;
	return k->n == k->fail_at ? error_set(err, EPIPE, "enough") : 0;
}

static void send(const struct judge *judge, enum accuracy_variant variant, struct kept *k)
{
	*k = (struct kept){.sink = {keep}};
	assert_int_equal(judge_send(judge, variant, &k->sink, NULL), 0);
}

/* The record of a group, or NULL. */
static const struct result_accuracy *find(const struct kept *k, enum accuracy_class c,
					  enum accuracy_dimension dimension, uint32_t key)
{
	for (size_t i = 0; i < k->n; i++) {
		const struct result_accuracy *r = &k->record[i];

		if (r->class_of == c && r->dimension == dimension && r->key == key)
			return r;
	}
	return NULL;
}

static void expect(const struct kept *k, enum accuracy_class c, enum accuracy_dimension dimension,
		   uint32_t key, uint64_t choices, uint64_t correct)
{
	const struct result_accuracy *r = find(k, c, dimension, key);

	assert_non_null(r);
	assert_int_equal(r->choices, choices);
	assert_int_equal(r->correct, correct);
}

static void enter(struct judge *judge, enum accuracy_class c, unsigned int order, unsigned int mt,
		  unsigned int tenth, const char *cause)
{
	const struct choice choice = {
		.order = (uint8_t)order,
		.migratetype = (uint8_t)mt,
		.tenth = (uint8_t)tenth,
		.correct = !cause,
		.cause = cause,
	};

	judge_enter(judge, c, &choice);
}

/* ---- the sheet ---- */

static void choices_are_tallied_by_class_order_type_and_tenth(void **state)
{
	static struct judge judge;
	struct kept k;

	(void)state;
	enter(&judge, ACCURACY_HIT, 0, MIGRATE_MOVABLE, 0, NULL);
	enter(&judge, ACCURACY_HIT, 0, MIGRATE_UNMOVABLE, 9, "in use");
	enter(&judge, ACCURACY_HIT, 3, MIGRATE_MOVABLE, 9, NULL);
	enter(&judge, ACCURACY_DIRECT, 10, MIGRATE_RECLAIMABLE, 5, "in use");
	assert_true(judge_accuracy(&judge, ACCURACY_HIT) == 2.0 / 3);
	assert_true(judge_accuracy(&judge, ACCURACY_DIRECT) == 0);
	send(&judge, ACCURACY_B, &k);
	expect(&k, ACCURACY_HIT, ACCURACY_TOTAL, 0, 3, 2);
	expect(&k, ACCURACY_HIT, ACCURACY_ORDER, 0, 2, 1);
	expect(&k, ACCURACY_HIT, ACCURACY_ORDER, 3, 1, 1);
	expect(&k, ACCURACY_HIT, ACCURACY_MIGRATETYPE, MIGRATE_UNMOVABLE, 1, 0);
	expect(&k, ACCURACY_HIT, ACCURACY_MIGRATETYPE, MIGRATE_MOVABLE, 2, 2);
	expect(&k, ACCURACY_HIT, ACCURACY_TENTH, 0, 1, 1);
	expect(&k, ACCURACY_HIT, ACCURACY_TENTH, 9, 2, 1);
	expect(&k, ACCURACY_HIT, ACCURACY_CAUSE, 0, 1, 0);
	expect(&k, ACCURACY_DIRECT, ACCURACY_TOTAL, 0, 1, 0);
	expect(&k, ACCURACY_DIRECT, ACCURACY_ORDER, 10, 1, 0);
	/* Seven groups and a cause; four groups and a cause. Groups without choices are not sent. */
	assert_int_equal(k.n, 8 + 5);
}

static void without_choices_accuracy_is_not_a_number_and_nothing_is_sent(void **state)
{
	static const struct judge judge;
	struct kept k;

	(void)state;
	for (unsigned int c = 0; c < ACCURACY_CLASSES; c++)
		assert_true(isnan(judge_accuracy(&judge, c)));
	send(&judge, ACCURACY_A, &k);
	assert_int_equal(k.n, 0);
}

static void keys_out_of_range_count_in_the_total_alone(void **state)
{
	static struct judge judge;
	struct kept k;

	(void)state;
	enter(&judge, ACCURACY_REFILL, NR_ORDERS, MIGRATE_TYPES, 0, NULL);
	send(&judge, ACCURACY_B, &k);
	expect(&k, ACCURACY_REFILL, ACCURACY_TOTAL, 0, 1, 1);
	expect(&k, ACCURACY_REFILL, ACCURACY_TENTH, 0, 1, 1);
	assert_int_equal(k.n, 2);
}

static void causes_come_the_most_frequent_first(void **state)
{
	static struct judge judge;
	static const char *const causes[] = {"rare", "often", "now and then"};
	static const unsigned int times[] = {1, 5, 3};
	const struct choice unexplained = {.correct = false};
	struct kept k;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int n = 0; n < times[i]; n++)
			enter(&judge, ACCURACY_HIT, 0, MIGRATE_MOVABLE, 0, causes[i]);
	judge_enter(&judge, ACCURACY_HIT, &unexplained);
	judge_enter(&judge, ACCURACY_HIT, &unexplained);
	send(&judge, ACCURACY_A, &k);
	assert_string_equal(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 0)->cause, "often");
	assert_string_equal(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 1)->cause, "now and then");
	assert_string_equal(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 2)->cause, "unexplained");
	assert_string_equal(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 3)->cause, "rare");
	expect(&k, ACCURACY_HIT, ACCURACY_CAUSE, 0, 5, 0);
	assert_null(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 4));
	for (size_t i = 0; i < k.n; i++) {
		assert_int_equal(k.record[i].variant, ACCURACY_A);
		if (k.record[i].dimension != ACCURACY_CAUSE)
			assert_null(k.record[i].cause);
	}
}

static void causes_beyond_the_table_become_other(void **state)
{
	static char text[2 * JUDGE_CAUSES][8]; /* causes are told apart by their address */
	static struct judge judge;
	struct kept k;
	uint64_t sum = 0;

	(void)state;
	for (unsigned int i = 0; i < 2 * JUDGE_CAUSES; i++) {
		snprintf(text[i], sizeof(text[i]), "%u", i);
		enter(&judge, ACCURACY_HIT, 0, MIGRATE_MOVABLE, 0, text[i]);
	}
	send(&judge, ACCURACY_B, &k);
	assert_string_equal(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 0)->cause, "other");
	expect(&k, ACCURACY_HIT, ACCURACY_CAUSE, 0, JUDGE_CAUSES + 1, 0);
	assert_null(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, JUDGE_CAUSES));
	for (uint32_t rank = 0; rank < JUDGE_CAUSES; rank++)
		sum += find(&k, ACCURACY_HIT, ACCURACY_CAUSE, rank)->choices;
	assert_int_equal(sum, 2 * JUDGE_CAUSES);
}

static void the_baseline_tells_no_causes(void **state)
{
	static struct judge judge;
	struct kept k;

	(void)state;
	enter(&judge, ACCURACY_HIT, 0, MIGRATE_MOVABLE, 0, "in use");
	send(&judge, ACCURACY_LIFO, &k);
	assert_null(find(&k, ACCURACY_HIT, ACCURACY_CAUSE, 0));
	expect(&k, ACCURACY_HIT, ACCURACY_TOTAL, 0, 1, 0);
}

static void an_error_of_the_sink_ends_the_telling(void **state)
{
	static struct judge judge;
	struct error err = {0};
	size_t all;

	(void)state;
	enter(&judge, ACCURACY_HIT, 0, MIGRATE_MOVABLE, 0, "in use");
	enter(&judge, ACCURACY_REFILL, 0, MIGRATE_MOVABLE, 0, "in use");
	all = 10;
	for (size_t at = 1; at <= all; at++) {
		struct kept k = {.sink = {keep}, .fail_at = at};

		assert_int_equal(judge_send(&judge, ACCURACY_B, &k.sink, &err), -EPIPE);
		assert_int_equal(k.n, at);
	}
}

/* ---- the baseline ---- */

#define START 4096

static struct lifo *open_lifo(struct machine **m)
{
	const struct zone zone = {
		.start = START,
		.end = START + 4096,
		.present = 4096,
		.managed = 4096,
		.type = ZONE_NORMAL,
	};
	struct lifo *lifo;

	assert_int_equal(machine_create(2, 1, m, NULL), 0);
	assert_int_equal(machine_add_zone(*m, &zone, NULL), 0);
	assert_int_equal(lifo_create(*m, &lifo, NULL), 0);
	return lifo;
}

static void close_lifo(struct lifo *lifo, struct machine *m)
{
	lifo_destroy(lifo);
	machine_destroy(m);
}

static void the_baseline_names_what_the_cpu_freed_last_of_the_order(void **state)
{
	struct machine *m;
	struct lifo *lifo = open_lifo(&m);

	(void)state;
	assert_int_equal(lifo_predict(lifo, 0, 0), PFN_NONE);
	assert_int_equal(lifo_freed(lifo, 0, START, 0), 0);
	assert_int_equal(lifo_freed(lifo, 0, START + 9, 0), 0);
	assert_int_equal(lifo_freed(lifo, 1, START + 3, 0), 0);
	assert_int_equal(lifo_freed(lifo, 0, START + 16, 4), 0);
	assert_int_equal(lifo_predict(lifo, 0, 0), START + 9);
	assert_int_equal(lifo_predict(lifo, 0, 0), START + 9);
	assert_int_equal(lifo_predict(lifo, 1, 0), START + 3);
	assert_int_equal(lifo_predict(lifo, 0, 4), START + 16);
	assert_int_equal(lifo_predict(lifo, 1, 4), PFN_NONE);
	close_lifo(lifo, m);
}

static void the_baseline_skips_what_has_been_handed_out_since(void **state)
{
	struct machine *m;
	struct lifo *lifo = open_lifo(&m);

	(void)state;
	for (pfn_t pfn = START; pfn < START + 3; pfn++)
		lifo_freed(lifo, 0, pfn, 0);
	lifo_placed(lifo, START + 2, 0);
	assert_int_equal(lifo_predict(lifo, 0, 0), START + 1);
	/* As part of a larger block, too. */
	lifo_placed(lifo, START, 1);
	assert_int_equal(lifo_predict(lifo, 0, 0), PFN_NONE);
	lifo_freed(lifo, 1, START + 1, 0);
	assert_int_equal(lifo_predict(lifo, 1, 0), START + 1);
	close_lifo(lifo, m);
}

static void the_baseline_holds_any_number_of_frees(void **state)
{
	struct machine *m;
	struct lifo *lifo = open_lifo(&m);

	(void)state;
	for (pfn_t pfn = START; pfn < START + 4096; pfn++)
		assert_int_equal(lifo_freed(lifo, 1, pfn, 0), 0);
	for (pfn_t pfn = START + 4096; pfn-- > START;) {
		assert_int_equal(lifo_predict(lifo, 1, 0), pfn);
		lifo_placed(lifo, pfn, 0);
	}
	assert_int_equal(lifo_predict(lifo, 1, 0), PFN_NONE);
	close_lifo(lifo, m);
	lifo_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choices_are_tallied_by_class_order_type_and_tenth),
		cmocka_unit_test(without_choices_accuracy_is_not_a_number_and_nothing_is_sent),
		cmocka_unit_test(keys_out_of_range_count_in_the_total_alone),
		cmocka_unit_test(causes_come_the_most_frequent_first),
		cmocka_unit_test(causes_beyond_the_table_become_other),
		cmocka_unit_test(the_baseline_tells_no_causes),
		cmocka_unit_test(an_error_of_the_sink_ends_the_telling),
		cmocka_unit_test(the_baseline_names_what_the_cpu_freed_last_of_the_order),
		cmocka_unit_test(the_baseline_skips_what_has_been_handed_out_since),
		cmocka_unit_test(the_baseline_holds_any_number_of_frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
