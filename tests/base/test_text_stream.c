/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text_stream.h"

/* The linker sends what the library asks for through here (--wrap): the n-th is refused, from 1. */
static unsigned int asked, refused;

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
	return ++asked == refused ? NULL : __real_realloc(p, n);
}

static int plenty(void **state)
{
	(void)state;
	asked = refused = 0;
	return 0;
}

/* Return: the text of @n numbers, or NULL. */
static char *count_to(unsigned int n, size_t *bytes)
{
	struct text_stream s;
	FILE *out = text_stream_begin(&s);

	for (unsigned int i = 0; out && i < n; i++)
		fprintf(out, "%u,", i);
	return text_stream_end(&s, bytes);
}

static void what_is_printed_is_the_text(void **state)
{
	size_t bytes = 99;
	char *text = count_to(3, &bytes);

	(void)state;
	assert_string_equal(text, "0,1,2,");
	assert_int_equal(bytes, 6);
	free(text);
	text = count_to(0, &bytes);
	assert_string_equal(text, "");
	assert_int_equal(bytes, 0);
	free(text);
	/* Bytes of all kinds, and NULL for who does not ask how many. */
	text = count_to(100000, NULL);
	assert_int_equal(strlen(text), 588890);
	assert_string_equal(text + strlen(text) - 6, "99999,");
	free(text);
}

static void no_memory_at_any_time_is_no_text(void **state)
{
	unsigned int needed;
	char *text = count_to(100000, NULL);

	(void)state;
	assert_non_null(text);
	free(text);
	needed = asked;
	assert_true(needed > 5);
	for (unsigned int n = 1; n <= needed; n++) {
		asked = 0;
		refused = n;
		assert_null(count_to(100000, NULL));
		assert_true(asked >= n);
	}
	/* Also when only the end of an empty one is missing. */
	asked = 0;
	refused = 1;
	assert_null(count_to(0, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_printed_is_the_text, plenty),
		cmocka_unit_test_setup(no_memory_at_any_time_is_no_text, plenty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
