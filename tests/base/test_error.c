/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void the_code_returns_negative_and_the_line_is_kept(void **state)
{
	struct error err = {0};

	(void)state;
	assert_int_equal(error_set(&err, EBADMSG, "%s: block %d", "t.quire", 17), -EBADMSG);
	assert_int_equal(err.code, EBADMSG);
	assert_string_equal(err.text, "t.quire: block 17");
}

static void without_a_place_for_it_only_the_code_speaks(void **state)
{
	(void)state;
	assert_int_equal(error_set(NULL, ENOMEM, "no memory"), -ENOMEM);
}

static void a_message_can_wrap_itself(void **state)
{
	struct error err = {0};

	(void)state;
	error_set(&err, EIO, "inner");
	assert_int_equal(error_set(&err, EPERM, "outer (%s)", err.text), -EPERM);
	assert_string_equal(err.text, "outer (inner)");
	assert_int_equal(error_prefix(&err, "file %d", 3), -EPERM);
	assert_string_equal(err.text, "file 3: outer (inner)");
}

static void what_is_too_long_is_cut_and_says_so(void **state)
{
	char big[2 * ERROR_TEXT_MAX];
	struct error err = {0};

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	error_set(&err, EIO, "%s", big);
	assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
	assert_string_equal(err.text + ERROR_TEXT_MAX - 5, "x...");
	error_prefix(&err, "%s", big);
	assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);

	memset(big, 'x', ERROR_TEXT_MAX - 1);
	big[ERROR_TEXT_MAX - 1] = '\0';
	error_set(&err, EIO, "%s", big);
	assert_string_equal(err.text, big); /* just fits */
}

static void the_cut_does_not_split_a_character(void **state)
{
	struct error err = {0};
	char big[2 * ERROR_TEXT_MAX];

	(void)state;
	for (size_t offset = 0; offset < 3; offset++) {
		size_t n = offset;
		const char *cut;

		memset(big, 'x', offset);
		while (n + 4 < sizeof(big)) {
			memcpy(big + n, "\xe2\x82\xac", 3); /* a euro sign */
			n += 3;
		}
		big[n] = '\0';
		error_set(&err, EIO, "%s", big);
		cut = strstr(err.text, "...");
		assert_non_null(cut);
		assert_int_equal((size_t)(cut - err.text - (ptrdiff_t)offset) % 3, 0);
	}
}

static void control_characters_cannot_reach_a_terminal(void **state)
{
	struct error err = {0};

	(void)state;
	error_set(&err, EIO,
		  "a\nb\033[31mc\177d\xc2\x9b"
		  "e\xc3\xa9");
	assert_string_equal(err.text, "a?b?[31mc?d??e\xc3\xa9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_code_returns_negative_and_the_line_is_kept),
		cmocka_unit_test(without_a_place_for_it_only_the_code_speaks),
		cmocka_unit_test(a_message_can_wrap_itself),
		cmocka_unit_test(what_is_too_long_is_cut_and_says_so),
		cmocka_unit_test(the_cut_does_not_split_a_character),
		cmocka_unit_test(control_characters_cannot_reach_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
