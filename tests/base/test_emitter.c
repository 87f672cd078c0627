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
#include "base/emitter.h"
#include "tests/base/seed.h"

/* A document in memory. */
struct document {
	char *text;
	size_t size;
	FILE *out;
	struct emitter *e;
};

static void begin(struct document *d, enum emitter_format format)
{
	*d = (struct document){0};
	d->out = open_memstream(&d->text, &d->size);
	assert_non_null(d->out);
	assert_int_equal(emitter_begin(d->out, format, &d->e), 0);
}

static void end(struct document *d)
{
	struct error err = {0};

	if (emitter_end(d->e, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(fclose(d->out), 0);
}

static void assert_document(struct document *d, const char *expected)
{
	end(d);
	assert_string_equal(d->text, expected);
	free(d->text);
}

/* ---- one call sequence, three renderings ---- */

static const struct emitter_column columns[] = {
	{.path = "allocator", .heading = "allocator"},
	{.path = "metrics.free_huge", .heading = "free huge", .style = EMITTER_COUNT},
	{.path = "metrics.huge_score", .unit = "%", .style = EMITTER_FIXED1},
	{.path = "metrics.share", .heading = "2 MiB", .unit = "%", .style = EMITTER_PERCENT},
	{.path = "metrics.bytes", .heading = "metadata", .style = EMITTER_BYTES},
	{.path = "metrics.rate", .heading = "ops/s", .unit = "1/s", .style = EMITTER_RATE},
	{.path = "ok", .heading = "ok"},
};

static void emit_run(struct emitter *e, const char *allocator, uint64_t huge, double score, bool ok)
{
	emitter_row_begin(e);
	emitter_string(e, "allocator", allocator);
	emitter_object_begin(e, "metrics");
	emitter_uint(e, "free_huge", huge);
	emitter_real(e, "huge_score", score);
	emitter_real(e, "share", 0.979);
	emitter_uint(e, "bytes", 3355443);
	emitter_real(e, "rate", 12.3e6);
	emitter_object_end(e);
	emitter_array_begin(e, "samples");
	emitter_object_begin(e, NULL);
	emitter_int(e, "event", -1);
	emitter_object_end(e);
	emitter_array_end(e);
	emitter_array_begin(e, "warnings");
	emitter_array_end(e);
	emitter_bool(e, "ok", ok);
	emitter_null(e, "label");
	emitter_row_end(e);
}

static void emit_document(struct emitter *e)
{
	emitter_uint(e, "schema", 1);
	emitter_object_begin(e, "trace");
	emitter_string(e, "name", "a, \"b\"");
	emitter_array_begin(e, "orders");
	emitter_uint(e, NULL, 5);
	emitter_uint(e, NULL, 7);
	emitter_array_end(e);
	emitter_object_end(e);
	emitter_rows_begin(e, "runs", columns, ARRAY_SIZE(columns));
	emit_run(e, "llfree", 1234567, 97.25, true);
	emit_run(e, "buddy", 9, (double)NAN, false);
	emitter_rows_end(e);
	emitter_object_begin(e, "empty");
	emitter_object_end(e);
}

static void a_table_shows_the_columns_aligned(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_TABLE);
	emit_document(d.e);
	assert_document(&d, "schema: 1\n"
			    "trace.name: a, \"b\"\n"
			    "trace.orders: 5\n"
			    "trace.orders: 7\n"
			    "\n"
			    "allocator  free huge  huge_score  2 MiB  metadata   ops/s  ok\n"
			    "                               %      %               1/s\n"
			    "llfree     1 234 567        97.2   97.9   3.2 MiB  12.3 M  yes\n"
			    "buddy              9           -   97.9   3.2 MiB  12.3 M  no\n");
}

static void json_gives_everything(void **state)
{
	static const char row_of_llfree[] = "    {\n"
					    "      \"allocator\": \"llfree\",\n"
					    "      \"metrics\": {\n"
					    "        \"free_huge\": 1234567,\n"
					    "        \"huge_score\": 97.25,\n"
					    "        \"share\": 0.979,\n"
					    "        \"bytes\": 3355443,\n"
					    "        \"rate\": 12300000\n"
					    "      },\n"
					    "      \"samples\": [\n"
					    "        {\n"
					    "          \"event\": -1\n"
					    "        }\n"
					    "      ],\n"
					    "      \"warnings\": [],\n"
					    "      \"ok\": true,\n"
					    "      \"label\": null\n"
					    "    }";
	static const char head[] = "{\n"
				   "  \"schema\": 1,\n"
				   "  \"trace\": {\n"
				   "    \"name\": \"a, \\\"b\\\"\",\n"
				   "    \"orders\": [5, 7]\n"
				   "  },\n"
				   "  \"runs\": [\n";
	static const char tail[] = "  ],\n  \"empty\": {}\n}\n";
	struct document d;
	json_error_t error;
	json_t *root;

	(void)state;
	begin(&d, EMITTER_JSON);
	emit_document(d.e);
	end(&d);
	assert_non_null(strstr(d.text, row_of_llfree));
	assert_memory_equal(d.text, head, sizeof(head) - 1);
	assert_string_equal(d.text + d.size - (sizeof(tail) - 1), tail);
	root = json_loads(d.text, JSON_REJECT_DUPLICATES, &error);
	assert_non_null(root);
	assert_true(json_is_null(json_object_get(
		json_object_get(json_array_get(json_object_get(root, "runs"), 1), "metrics"),
		"huge_score")));
	json_decref(root);
	free(d.text);
}

static void csv_flattens_the_scalars_of_the_rows(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_CSV);
	emit_document(d.e);
	assert_document(&d, "allocator,metrics.free_huge,metrics.huge_score,metrics.share,"
			    "metrics.bytes,metrics.rate,ok,label\n"
			    "llfree,1234567,97.25,0.979,3355443,12300000,true,\n"
			    "buddy,9,,0.979,3355443,12300000,false,\n");
}

/* ---- each format's own rules ---- */

static void an_empty_document_is_still_one(void **state)
{
	static const struct {
		enum emitter_format format;
		const char *text;
	} cases[] = {{EMITTER_TABLE, ""}, {EMITTER_JSON, "{}\n"}, {EMITTER_CSV, ""}};
	struct document d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&d, cases[i].format);
		assert_document(&d, cases[i].text);
	}
}

static void a_document_without_lists_is_one_line_of_csv(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_CSV);
	emitter_string(d.e, "trace", "a,b");
	emitter_object_begin(d.e, "count");
	emitter_uint(d.e, "events", 7);
	emitter_object_end(d.e);
	emitter_null(d.e, "note");
	assert_document(&d, "trace,count.events,note\n\"a,b\",7,\n");
}

static void a_list_without_rows_has_no_headings(void **state)
{
	static const char *const expected[] = {"", "{\n  \"runs\": []\n}\n", ""};
	static const struct emitter_column two[] = {{.path = "a", .heading = "a"},
						    {.path = "b", .heading = "b"}};
	struct document d;

	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
		begin(&d, (enum emitter_format)format);
		emitter_rows_begin(d.e, "runs", two, 2);
		emitter_rows_end(d.e);
		assert_document(&d, expected[format]);
	}
}

static void a_list_without_columns_makes_no_table(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_TABLE);
	emitter_rows_begin(d.e, "runs", NULL, 0);
	emit_run(d.e, "llfree", 1, 2, true);
	emitter_rows_end(d.e);
	assert_document(&d, "");
}

static void emit_ab(struct emitter *e, const char *a, uint64_t b)
{
	emitter_row_begin(e);
	emitter_string(e, "a", a);
	emitter_uint(e, "b", b);
	emitter_row_end(e);
}

static void rows_are_written_as_they_end_if_every_width_is_known(void **state)
{
	static const struct emitter_column fixed[] = {
		{.path = "a", .heading = "name", .width = 6},
		{.path = "b", .heading = "n", .width = 4},
	};
	static const char *const after_one[] = {"name       n\nx          1\n",
						("{\n  \"rows\": [\n    {\n      \"a\": \"x\",\n"
						 "      \"b\": 1\n    }"),
						"a,b\nx,1\n"};
	struct document d;

	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
		begin(&d, (enum emitter_format)format);
		emitter_rows_begin(d.e, "rows", fixed, 2);
		emit_ab(d.e, "x", 1);
		assert_int_equal(fflush(d.out), 0);
		assert_string_equal(d.text, after_one[format]);
		emit_ab(d.e, "too long for it", 12345);
		emitter_rows_end(d.e);
		end(&d);
		if (format == EMITTER_TABLE)
			assert_string_equal(d.text + strlen(after_one[0]),
					    "too long for it  12345\n");
		free(d.text);
	}
}

static void one_open_width_holds_the_rows_back(void **state)
{
	static const struct emitter_column mixed[] = {
		{.path = "a", .heading = "name", .width = 6},
		{.path = "b", .heading = "n"},
	};
	struct document d;

	(void)state;
	begin(&d, EMITTER_TABLE);
	emitter_rows_begin(d.e, "rows", mixed, 2);
	emit_ab(d.e, "x", 1);
	assert_int_equal(fflush(d.out), 0);
	assert_string_equal(d.text, "");
	emit_ab(d.e, "\xc3\xa9\xc3\xa9", 12345);
	emitter_rows_end(d.e);
	/* Two letters of two bytes each are two columns. */
	assert_document(&d, "name        n\nx           1\n\xc3\xa9\xc3\xa9      12345\n");
}

static void csv_matches_later_rows_by_name(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_CSV);
	emitter_rows_begin(d.e, "rows", NULL, 0);
	emit_ab(d.e, "x", 1);
	emitter_row_begin(d.e);
	emitter_uint(d.e, "b", 2);
	emitter_string(d.e, "a", "y");
	emitter_row_end(d.e);
	emitter_row_begin(d.e);
	emitter_uint(d.e, "b", 3);
	emitter_row_end(d.e);
	emitter_rows_end(d.e);
	assert_document(&d, "a,b\nx,1\ny,2\n,3\n");
}

static void a_scalar_unknown_to_the_first_row_is_an_error_in_csv_only(void **state)
{
	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
		struct error err = {0};
		struct document d;
		int rc;

		begin(&d, (enum emitter_format)format);
		emitter_rows_begin(d.e, "rows", NULL, 0);
		emit_ab(d.e, "x", 1);
		emitter_row_begin(d.e);
		emitter_string(d.e, "a", "y");
		emitter_object_begin(d.e, "more");
		emitter_uint(d.e, "c", 2);
		emitter_object_end(d.e);
		emitter_row_end(d.e);
		emitter_rows_end(d.e);
		rc = emitter_end(d.e, &err);
		assert_int_equal(rc, format == EMITTER_CSV ? -EINVAL : 0);
		if (rc < 0)
			assert_string_equal(err.text, "output: row 2 has 'more.c', which the first "
						      "row has not");
		fclose(d.out);
		free(d.text);
	}
}

static void csv_quotes_as_rfc_4180_has_it(void **state)
{
	static const char *const values[] = {"plain", "a,b", "say \"hi\"", "two\nlines",
					     "cr\r",  "",    " blank ",	   "\""};
	struct document d;

	(void)state;
	begin(&d, EMITTER_CSV);
	emitter_rows_begin(d.e, "rows", NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		emitter_row_begin(d.e);
		emitter_string(d.e, "odd,name", values[i]);
		emitter_string(d.e, "null", NULL);
		emitter_row_end(d.e);
	}
	emitter_rows_end(d.e);
	assert_document(&d, "\"odd,name\",null\n"
			    "plain,\n"
			    "\"a,b\",\n"
			    "\"say \"\"hi\"\"\",\n"
			    "\"two\nlines\",\n"
			    "\"cr\r\",\n"
			    "\"\",\n"
			    " blank ,\n"
			    "\"\"\"\",\n");
}

static void two_lists_are_parted_by_a_blank_line_and_csv_has_the_first(void **state)
{
	static const struct emitter_column one[] = {{.path = "b", .heading = "b"}};
	static const char *const expected[] = {"b\n1\n\nb\n2\n\nafter: 3\n", NULL, "a,b\nx,1\n"};
	struct document d;

	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
		if (!expected[format])
			continue;
		begin(&d, (enum emitter_format)format);
		emitter_rows_begin(d.e, "first", one, 1);
		emit_ab(d.e, "x", 1);
		emitter_rows_end(d.e);
		emitter_aside_begin(d.e, "second", one, 1);
		emit_ab(d.e, "y", 2);
		emitter_rows_end(d.e);
		emitter_uint(d.e, "after", 3);
		assert_document(&d, expected[format]);
	}
}

static void a_list_aside_leaves_the_one_row_of_csv_as_it_is(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_CSV);
	emitter_uint(d.e, "before", 1);
	emitter_aside_begin(d.e, "aside", NULL, 0);
	emit_ab(d.e, "x", 7);
	emitter_rows_end(d.e);
	emitter_uint(d.e, "after", 2);
	assert_document(&d, "before,after\n1,2\n");
}

/* ---- what fits ---- */

static const struct emitter_column many[] = {
	{.path = "allocator"},
	{.path = "m.free_huge", .unit = "huge frames", .style = EMITTER_COUNT, .priority = 1},
	{.path = "m.moves_to_compact", .unit = "frames", .style = EMITTER_COUNT, .priority = 3},
	{.path = "m.alloc_failures", .style = EMITTER_COUNT, .priority = 2},
	{.path = "salvage", .show = EMITTER_IF_TOLD},
	{.path = "trace", .show = EMITTER_IF_DIFFERS},
	{.path = "out_for", .style = EMITTER_PROSE},
};

static void emit_many(struct emitter *e, const char *name, const char *trace, const char *out_for)
{
	emitter_row_begin(e);
	emitter_string(e, "allocator", name);
	emitter_object_begin(e, "m");
	emitter_uint(e, "free_huge", 10806);
	emitter_uint(e, "moves_to_compact", 2018324);
	emitter_uint(e, "alloc_failures", 7);
	emitter_object_end(e);
	emitter_bool(e, "salvage", false);
	emitter_string(e, "trace", trace);
	emitter_string(e, "out_for", out_for);
	emitter_row_end(e);
}

static void a_table_fits_by_breaking_names_then_by_leaving_columns_out(void **state)
{
	static const struct {
		size_t width;
		const char *text, *left_out;
	} cases[] = {
		{0,
		 "allocator    free_huge  moves_to_compact  alloc_failures  out_for\n"
		 "           huge frames            frames\n"
		 "buddy           10 806         2 018 324               7  "
		 "alloc_failures,crashed\n"
		 "llfree          10 806         2 018 324               7  -\n",
		 NULL},
		{72,
		 "                                          alloc_\n"
		 "allocator  free_huge  moves_to_compact  failures  out_for\n"
		 "                huge            frames\n"
		 "              frames\n"
		 "buddy         10 806         2 018 324         7  alloc_failures,crashed\n",
		 NULL},
		{48,
		 "            free_    alloc_\n"
		 "allocator    huge  failures  out_for\n"
		 "             huge\n"
		 "           frames\n"
		 "buddy      10 806         7  alloc_failures,\n"
		 "                             crashed\n"
		 "llfree     10 806         7  -\n",
		 "moves_to_compact"},
		{8,
		 "allocator  out_for\n"
		 "buddy      alloc_failures,\n"
		 "           crashed\n"
		 "llfree     -\n",
		 "free_huge, moves_to_compact, alloc_failures"},
	};
	struct document d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&d, EMITTER_TABLE);
		emitter_set_width(d.e, cases[i].width);
		emitter_rows_begin(d.e, "runs", many, ARRAY_SIZE(many));
		emit_many(d.e, "buddy", "t", "alloc_failures,crashed");
		emit_many(d.e, "llfree", "t", NULL);
		emitter_rows_end(d.e);
		if (cases[i].left_out)
			assert_string_equal(emitter_left_out(d.e), cases[i].left_out);
		else
			assert_null(emitter_left_out(d.e));
		end(&d);
		print_message("%s", d.text);
		assert_memory_equal(d.text, cases[i].text, strlen(cases[i].text));
		for (const char *line = d.text; *line; line += strcspn(line, "\n") + 1)
			assert_true(cases[i].width < 48 || strcspn(line, "\n") <= cases[i].width);
		free(d.text);
	}
}

static void a_long_name_of_a_row_costs_no_column(void **state)
{
	static const struct emitter_column named[] = {
		{.path = "allocator", .overhangs = true},
		{.path = "m.free_huge", .style = EMITTER_COUNT, .priority = 1},
		{.path = "m.alloc_failures", .style = EMITTER_COUNT, .priority = 2},
	};
	static const char *const expected[] = {
		"allocator                       free_huge  alloc_failures\n"
		"percpu:inner=(llfree),batch=63     10 806               7\n"
		"buddy                              10 806               7\n",
		"                        alloc_\n"
		"allocator  free_huge  failures\n"
		"percpu:inner=(llfree),batch=63\n"
		"              10 806         7\n"
		"buddy         10 806         7\n"};
	struct document d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		begin(&d, EMITTER_TABLE);
		emitter_set_width(d.e, i ? 32 : 60);
		emitter_rows_begin(d.e, "runs", named, ARRAY_SIZE(named));
		emit_many(d.e, "percpu:inner=(llfree),batch=63", "t", NULL);
		emit_many(d.e, "buddy", "t", NULL);
		emitter_rows_end(d.e);
		assert_null(emitter_left_out(d.e));
		assert_document(&d, expected[i]);
	}
}

static void emit_apart(struct document *d, const char *name, bool apart)
{
	emitter_row_begin(d->e);
	emitter_string(d->e, "allocator", name);
	if (apart)
		emitter_row_apart(d->e, "Set apart: it began with something else.");
	emitter_row_end(d->e);
}

static void rows_that_are_set_apart_stand_below_with_the_reason(void **state)
{
	static const struct emitter_column named[] = {{.path = "allocator"}};
	static const struct {
		enum emitter_format format;
		size_t width;
		bool apart[3];
		const char *text;
	} cases[] = {
		{EMITTER_TABLE,
		 0,
		 {true, false, true},
		 "allocator\nb\n\nSet apart: it began with something else.\na\nc\n"},
		{EMITTER_TABLE,
		 20,
		 {false, true, false},
		 "allocator\na\nc\n\nSet apart: it began\nwith something else.\nb\n"},
		/* From whom? */
		{EMITTER_TABLE, 0, {true, true, true}, "allocator\na\nb\nc\n"},
		{EMITTER_TABLE, 0, {false, false, false}, "allocator\na\nb\nc\n"},
		{EMITTER_CSV, 0, {true, false, true}, "allocator\na\nb\nc\n"},
	};
	struct document d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&d, cases[i].format);
		emitter_set_width(d.e, cases[i].width);
		emitter_rows_begin(d.e, "runs", named, ARRAY_SIZE(named));
		emit_apart(&d, "a", cases[i].apart[0]);
		emit_apart(&d, "b", cases[i].apart[1]);
		emit_apart(&d, "c", cases[i].apart[2]);
		emitter_rows_end(d.e);
		assert_document(&d, cases[i].text);
	}
}

static void a_column_that_tells_rows_apart_is_there_if_they_differ(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_TABLE);
	emitter_rows_begin(d.e, "runs", &many[5], 1);
	emit_many(d.e, "buddy", "t", NULL);
	emit_many(d.e, "buddy", "u", NULL);
	emitter_rows_end(d.e);
	assert_document(&d, "trace\nt\nu\n");
}

static void what_is_left_out_of_several_tables_is_named_once(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_TABLE);
	emitter_set_width(d.e, 8);
	for (unsigned int i = 0; i < 3; i++) {
		emitter_aside_begin(d.e, "runs", many, i == 0 ? 2 : 4);
		emit_many(d.e, "buddy", "t", NULL);
		emitter_rows_end(d.e);
	}
	assert_string_equal(emitter_left_out(d.e), "free_huge, moves_to_compact, alloc_failures");
	end(&d);
	free(d.text);
}

/* ---- values ---- */

static void styles_print_as_their_name_says(void **state)
{
	static const struct {
		enum emitter_style style;
		double v;
		const char *text;
	} cases[] = {
		{EMITTER_PLAIN, 1234567, "1234567"},	 {EMITTER_PLAIN, 1.0 / 3, "0.333333"},
		{EMITTER_COUNT, 1234567.6, "1 234 568"}, {EMITTER_COUNT, 0.97949, "0.979"},
		{EMITTER_COUNT, 1e300, "1e+300"},	 {EMITTER_BYTES, 1024, "1.0 KiB"},
		{EMITTER_RATE, 12.3e6, "12.3 M"},	 {EMITTER_FIXED1, 0.06, "0.1"},
		{EMITTER_FIXED2, 0.125, "0.12"},	 {EMITTER_FIXED3, -2, "-2.000"},
		{EMITTER_PERCENT, 0.979, "97.9"},	 {EMITTER_PERCENT, 1, "100.0"},
		{EMITTER_FIXED1, 1e300, "1e+300"},	 {EMITTER_HEX, 1.5, "1.5"},
	};
	struct emitter_column column = {.path = "v", .heading = ""};
	struct document d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[80];

		column.style = cases[i].style;
		begin(&d, EMITTER_TABLE);
		emitter_rows_begin(d.e, "rows", &column, 1);
		emitter_row_begin(d.e);
		emitter_real(d.e, "v", cases[i].v);
		emitter_row_end(d.e);
		emitter_rows_end(d.e);
		snprintf(expected, sizeof(expected), "%s\n", cases[i].text);
		assert_document(&d, expected);
	}
}

static void whole_numbers_keep_all_their_digits(void **state)
{
	static const struct emitter_column both[] = {
		{.path = "u", .heading = "u", .style = EMITTER_COUNT},
		{.path = "i", .heading = "i", .style = EMITTER_COUNT},
		{.path = "h", .heading = "h", .style = EMITTER_HEX},
		{.path = "n", .heading = "n", .style = EMITTER_HEX},
	};
	static const char *const expected[] = {
		"                         u                           i                   h   n\n"
		"18 446 744 073 709 551 615  -9 223 372 036 854 775 808  0xffffffffffffffff  -1\n",
		"{\n  \"rows\": [\n    {\n      \"u\": 18446744073709551615,\n"
		"      \"i\": -9223372036854775808,\n      \"h\": 18446744073709551615,\n"
		"      \"n\": -1\n    }\n  ]\n}\n",
		"u,i,h,n\n18446744073709551615,-9223372036854775808,18446744073709551615,-1\n"};
	struct document d;

	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
		begin(&d, (enum emitter_format)format);
		emitter_rows_begin(d.e, "rows", both, ARRAY_SIZE(both));
		emitter_row_begin(d.e);
		emitter_uint(d.e, "u", UINT64_MAX);
		emitter_int(d.e, "i", INT64_MIN);
		emitter_uint(d.e, "h", UINT64_MAX);
		emitter_int(d.e, "n", -1);
		emitter_row_end(d.e);
		emitter_rows_end(d.e);
		assert_document(&d, expected[format]);
	}
}

static void what_is_not_a_number_is_null(void **state)
{
	static const char *const expected[] = {
		"nan: -\ninf: -\nnone: -\n",
		"{\n  \"nan\": null,\n  \"inf\": null,\n  \"none\": null\n}\n"};
	struct document d;

	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_JSON; format++) {
		begin(&d, (enum emitter_format)format);
		emitter_real(d.e, "nan", (double)NAN);
		emitter_real(d.e, "inf", (double)-INFINITY);
		emitter_string(d.e, "none", NULL);
		assert_document(&d, expected[format]);
	}
}

static void bytes_that_are_not_utf_8_are_replaced(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"\xc3\xa9", "\xc3\xa9"},		  /* fine */
		{"\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7"}, /* fine, four bytes */
		{"a\xff"
		 "b",
		 "a\xef\xbf\xbd"
		 "b"},			  /* never a byte of UTF-8 */
		{"\xc3", "\xef\xbf\xbd"}, /* ends early */
		{"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},		  /* overlong */
		{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
		{"\xf4\x90\x80\x80",
		 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* above U+10FFFF */
	};
	struct document d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *root;

		begin(&d, EMITTER_JSON);
		emitter_string(d.e, "s", cases[i].in);
		end(&d);
		root = json_loads(d.text, 0, NULL);
		assert_non_null(root);
		assert_string_equal(json_string_value(json_object_get(root, "s")), cases[i].out);
		json_decref(root);
		free(d.text);
	}
}

static void control_characters_stay_out_of_a_table(void **state)
{
	struct document d;

	(void)state;
	begin(&d, EMITTER_TABLE);
	emitter_string(d.e, "s", "a\n\033[31mb\177");
	assert_document(&d, "s: a??[31mb?\n");
}

/* ---- random documents ---- */

static void random_string(struct random *r, char *s, size_t size)
{
	size_t n = random_below(r, size);

	for (size_t i = 0; i < n; i++)
		s[i] = (char)(1 + random_below(r, 255));
	s[n] = '\0';
}

static void random_value(struct random *r, struct emitter *e, const char *key, unsigned int depth)
{
	char text[16], name[16];
	uint64_t bits;
	double real;

	switch (random_below(r, depth ? 8 : 6)) {
	case 0:
		emitter_uint(e, key, random_u64(r) >> 1);
		break;
	case 1:
		emitter_int(e, key, (int64_t)random_u64(r));
		break;
	case 2:
		bits = random_u64(r);
		memcpy(&real, &bits, sizeof(real));
		emitter_real(e, key, real);
		break;
	case 3:
		emitter_bool(e, key, random_below(r, 2));
		break;
	case 4:
		random_string(r, text, sizeof(text));
		emitter_string(e, key, text);
		break;
	case 5:
		emitter_null(e, key);
		break;
	case 6:
		emitter_object_begin(e, key);
		for (uint64_t i = random_below(r, 4); i > 0; i--) {
			snprintf(name, sizeof(name), "k%u", (unsigned int)i);
			random_value(r, e, name, depth - 1);
		}
		emitter_object_end(e);
		break;
	default:
		emitter_array_begin(e, key);
		for (uint64_t i = random_below(r, 4); i > 0; i--)
			random_value(r, e, NULL, depth - 1);
		emitter_array_end(e);
		break;
	}
}

/* JSON must parse; the others must not crash, and keep a row of CSV one record. */
static void any_sequence_of_calls_renders_in_every_format(void **state)
{
	struct random r = random_begin(14);

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct random start = r;

		for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
			struct document d;
			json_error_t error;
			json_t *root;

			r = start;
			begin(&d, (enum emitter_format)format);
			random_value(&r, d.e, "before", 3);
			emitter_rows_begin(d.e, "rows", columns, ARRAY_SIZE(columns));
			emitter_row_begin(d.e);
			random_value(&r, d.e, "allocator", 0);
			random_value(&r, d.e, "metrics", 4);
			emitter_row_end(d.e);
			emitter_rows_end(d.e);
			end(&d);
			if (format == EMITTER_JSON) {
				root = json_loads(d.text, JSON_REJECT_DUPLICATES, &error);
				if (!root)
					fail_msg("%s: %s (seed %llu)", error.text, d.text,
						 (unsigned long long)seed_or(14));
				json_decref(root);
			}
			free(d.text);
		}
	}
}

/* ---- failures ---- */

static ssize_t write_if_room(void *cookie, const char *data, size_t bytes)
{
	(void)data;
	if (*(int *)cookie < 0)
		return (ssize_t)bytes;
	errno = ENOSPC;
	return 0;
}

static void a_full_device_is_told_at_the_end(void **state)
{
	(void)state;
	for (unsigned int format = EMITTER_TABLE; format <= EMITTER_CSV; format++) {
		FILE *out = fopen("/dev/full", "w");
		struct emitter *e;
		struct error err = {0};

		assert_non_null(out);
		assert_int_equal(emitter_begin(out, (enum emitter_format)format, &e), 0);
		emit_document(e);
		assert_int_equal(emitter_end(e, &err), -ENOSPC);
		assert_string_equal(err.text, "output: cannot write: No space left on device");
		fclose(out);

		/* Also when it shows long before the end. */
		out = fopen("/dev/full", "w");
		assert_non_null(out);
		assert_int_equal(emitter_begin(out, (enum emitter_format)format, &e), 0);
		emitter_rows_begin(e, "rows", columns, ARRAY_SIZE(columns));
		for (int i = 0; i < 1000; i++)
			emit_run(e, "llfree", 1, 2, true);
		emitter_rows_end(e);
		assert_int_equal(emitter_end(e, NULL), -ENOSPC);
		fclose(out);
	}
}

static void what_a_flush_in_between_lost_is_told_at_the_end(void **state)
{
	int room = 0; /* bytes; -1: any number */
	FILE *out = fopencookie(&room, "w", (cookie_io_functions_t){.write = write_if_room});
	struct emitter *e;
	struct error err = {0};

	(void)state;
	assert_non_null(out);
	assert_int_equal(emitter_begin(out, EMITTER_JSON, &e), 0);
	emitter_string(e, "first", "lost");
	assert_int_equal(fflush(out), EOF); /* as before a fork(), by who does not know of us */
	room = -1;
	emitter_string(e, "second", "there");
	assert_int_equal(emitter_end(e, &err), -EIO);
	assert_non_null(strstr(err.text, "an earlier write failed"));
	fclose(out);
}

static void formats_are_named_in_the_order_of_the_enum(void **state)
{
	(void)state;
	assert_string_equal(emitter_format_names[EMITTER_TABLE], "table");
	assert_string_equal(emitter_format_names[EMITTER_JSON], "json");
	assert_string_equal(emitter_format_names[EMITTER_CSV], "csv");
	assert_null(emitter_format_names[EMITTER_CSV + 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_shows_the_columns_aligned),
		cmocka_unit_test(json_gives_everything),
		cmocka_unit_test(csv_flattens_the_scalars_of_the_rows),
		cmocka_unit_test(an_empty_document_is_still_one),
		cmocka_unit_test(a_document_without_lists_is_one_line_of_csv),
		cmocka_unit_test(a_list_without_rows_has_no_headings),
		cmocka_unit_test(a_list_without_columns_makes_no_table),
		cmocka_unit_test(rows_are_written_as_they_end_if_every_width_is_known),
		cmocka_unit_test(one_open_width_holds_the_rows_back),
		cmocka_unit_test(csv_matches_later_rows_by_name),
		cmocka_unit_test(a_scalar_unknown_to_the_first_row_is_an_error_in_csv_only),
		cmocka_unit_test(csv_quotes_as_rfc_4180_has_it),
		cmocka_unit_test(two_lists_are_parted_by_a_blank_line_and_csv_has_the_first),
		cmocka_unit_test(a_list_aside_leaves_the_one_row_of_csv_as_it_is),
		cmocka_unit_test(a_table_fits_by_breaking_names_then_by_leaving_columns_out),
		cmocka_unit_test(a_long_name_of_a_row_costs_no_column),
		cmocka_unit_test(a_column_that_tells_rows_apart_is_there_if_they_differ),
		cmocka_unit_test(what_is_left_out_of_several_tables_is_named_once),
		cmocka_unit_test(styles_print_as_their_name_says),
		cmocka_unit_test(whole_numbers_keep_all_their_digits),
		cmocka_unit_test(what_is_not_a_number_is_null),
		cmocka_unit_test(bytes_that_are_not_utf_8_are_replaced),
		cmocka_unit_test(control_characters_stay_out_of_a_table),
		cmocka_unit_test(rows_that_are_set_apart_stand_below_with_the_reason),
		cmocka_unit_test(any_sequence_of_calls_renders_in_every_format),
		cmocka_unit_test(a_full_device_is_told_at_the_end),
		cmocka_unit_test(what_a_flush_in_between_lost_is_told_at_the_end),
		cmocka_unit_test(formats_are_named_in_the_order_of_the_enum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
