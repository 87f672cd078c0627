/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/text.h"

#define NARROW "\xe2\x80\xaf"

static void assert_written(void (*put)(FILE *, const char *), const char *text,
			   const char *expected)
{
	char *written = NULL;
	size_t size;
	FILE *out = open_memstream(&written, &size);

	assert_non_null(out);
	put(out, text);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(written, expected);
	free(written);
}

static void html_is_escaped_and_always_valid_utf8(void **state)
{
	(void)state;
	assert_written(text_html, "a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;");
	assert_written(text_html, "\xc3\xa4\xf0\x9f\x98\x80", "\xc3\xa4\xf0\x9f\x98\x80");
	assert_written(text_html, "line\nbell\a", "line bell ");
	/* cut, overlong, surrogate, beyond Unicode, stray continuation */
	assert_written(text_html, "\xc3", "\xef\xbf\xbd");
	assert_written(text_html, "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");
	assert_written(text_html, "\xed\xa0\x80!", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!");
	assert_written(text_html, "\xf4\x90\x80\x80",
		       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	assert_written(text_html, "\x80<", "\xef\xbf\xbd&lt;");
}

static void of_paths_the_names_are_left(void **state)
{
	static const char *const cases[][2] = {
		{"llfree:policy=/home/me/p.yaml#12ab,tree=8", "llfree:policy=p.yaml#12ab,tree=8"},
		{"percpu:inner=(llfree:policy=a/b/p.yaml)", "percpu:inner=(llfree:policy=p.yaml)"},
		{"../x/t.quire: block at 12: damaged", "t.quire: block at 12: damaged"},
		{"/a /b/c/ ~/d './e'", "a c/ d 'e'"},
		{"3 ops/s of and/or, 1/2", "3 ops/s of and/or, 1/2"},
		{"/", "/"},
		{"", ""},
	};
	char spec[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[64];

		strcpy(text, cases[i][0]);
		text_drop_directories(text, TEXT_PROSE);
		assert_string_equal(text, cases[i][1]);
	}
	strcpy(spec, "llfree:policy=/my own/a b.yaml,tree=8");
	text_drop_directories(spec, TEXT_SPEC);
	assert_string_equal(spec, "llfree:policy=a b.yaml,tree=8");
	assert_string_equal(text_base_name("/a/b.quire"), "b.quire");
	assert_string_equal(text_base_name("a/b/"), "b/");
	assert_string_equal(text_base_name("/"), "/");
	assert_string_equal(text_base_name("b"), "b");
}

static void gnuplot_strings_cannot_be_left(void **state)
{
	(void)state;
	assert_written(text_gnuplot, "it's `ls` \"x\" \\", "'it''s `ls` \"x\" \\'");
	assert_written(text_gnuplot, "a\nsystem 'x'", "'a system ''x'''");
}

static void shell_words_are_quoted_when_needed(void **state)
{
	(void)state;
	assert_written(text_shell, "llfree:tree=8", "llfree:tree=8");
	assert_written(text_shell, "percpu:inner=(a)", "'percpu:inner=(a)'");
	assert_written(text_shell, "it's", "'it'\\''s'");
	assert_written(text_shell, "", "''");
	assert_written(text_shell_html, "a&b", "&#39;a&amp;b&#39;");
}

static void numbers_read_as_people_write_them(void **state)
{
	char t[TEXT_NUMBER_MAX];

	(void)state;
	assert_string_equal(text_count(t, 0), "0");
	assert_string_equal(text_count(t, 1234), "1234");
	assert_string_equal(text_count(t, 12345), "12" NARROW "345");
	assert_string_equal(text_count(t, UINT64_MAX),
			    "18" NARROW "446" NARROW "744" NARROW "073" NARROW "709" NARROW
			    "551" NARROW "615");
	assert_string_equal(text_bytes(t, 512), "512" NARROW "B");
	assert_string_equal(text_bytes(t, 1536), "1.50" NARROW "KiB");
	assert_string_equal(text_bytes(t, 9437184), "9.00" NARROW "MiB");
	assert_string_equal(text_bytes(t, 0x1p70),
			    "1" NARROW "073" NARROW "741" NARROW "824" NARROW "TiB");
}

static void a_metrics_unit_decides_how_it_is_shown(void **state)
{
	char t[TEXT_NUMBER_MAX];

	(void)state;
	assert_string_equal(text_metric(t, METRIC_free_huge, 12345), "12" NARROW "345");
	assert_string_equal(text_metric(t, METRIC_free_huge_mean, 99.25), "99.2");
	assert_string_equal(text_metric(t, METRIC_huge_score, 97.25), "97.2");
	assert_string_equal(text_metric(t, METRIC_free_share_2m, 0.9786), "97.9");
	assert_string_equal(text_metric(t, METRIC_unusable_index_o9, 0.125), "0.125");
	assert_string_equal(text_metric(t, METRIC_fragmentation_index_o9, -1), "-1");
	assert_string_equal(text_metric(t, METRIC_alloc_ns, 41.26), "41.3");
	assert_string_equal(text_metric(t, METRIC_alloc_ns_max, 1234567),
			    "1" NARROW "234" NARROW "567");
	assert_string_equal(text_metric(t, METRIC_ops_per_second, 15250000), "15.25");
	assert_string_equal(text_metric(t, METRIC_metadata_bytes, 2048), "2.00" NARROW "KiB");
	assert_string_equal(text_metric(t, METRIC_huge_score, (double)NAN), "\xe2\x80\x93");
	assert_string_equal(text_metric(t, METRIC_alloc_ns, (double)INFINITY), "\xe2\x80\x93");
	assert_string_equal(text_metric_unit(METRIC_free_share_1g), "%");
	assert_string_equal(text_metric_unit(METRIC_ops_per_second), "M/s");
	assert_string_equal(text_metric_unit(METRIC_free_ns_p99), "ns");
	assert_string_equal(text_metric_unit(METRIC_free_huge), "huge frames");
}

static void no_value_is_too_long(void **state)
{
	static const double extremes[] = {1e308, -1e308, 5e-324, 0x1p60, -0x1p59, 1e18};
	char t[TEXT_NUMBER_MAX];

	(void)state;
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++)
			assert_true(strlen(text_metric(t, (enum metric)m, extremes[i])) <
				    TEXT_NUMBER_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(html_is_escaped_and_always_valid_utf8),
		cmocka_unit_test(of_paths_the_names_are_left),
		cmocka_unit_test(gnuplot_strings_cannot_be_left),
		cmocka_unit_test(shell_words_are_quoted_when_needed),
		cmocka_unit_test(numbers_read_as_people_write_them),
		cmocka_unit_test(a_metrics_unit_decides_how_it_is_shown),
		cmocka_unit_test(no_value_is_too_long),
	};

	return cmocka_run_group_tests_name("analysis: text", tests, NULL, NULL);
}
