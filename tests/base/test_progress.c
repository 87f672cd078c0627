/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/progress.h"
#include "tests/skip.h"

#define SECOND UINT64_C(1000000000)

static void the_line_tells_percent_rate_and_time_left(void **state)
{
	struct progress p = {.what = "replay llfree", .total = 1000000};
	char line[128];

	(void)state;
	progress_line(line, sizeof(line), &p, 250000, 10 * SECOND);
	assert_string_equal(line, "replay llfree:  25 %, 25.0 k/s, 0:30 left");
	progress_line(line, sizeof(line), &p, 0, 10 * SECOND);
	assert_string_equal(line, "replay llfree:   0 %, 0/s, ? left");
	progress_line(line, sizeof(line), &p, 0, 0);
	assert_string_equal(line, "replay llfree:   0 %, 0/s, ? left");
	/* More than was announced is not more than all. */
	progress_line(line, sizeof(line), &p, 2000000, 2 * SECOND);
	assert_string_equal(line, "replay llfree: 100 %, 1.0 M/s, 0:00 left");
}

static void without_a_total_only_count_and_rate_are_known(void **state)
{
	struct progress p = {.what = "import"};
	char line[128];

	(void)state;
	progress_line(line, sizeof(line), &p, 1234567, SECOND);
	assert_string_equal(line, "import: 1 234 567, 1.2 M/s");
}

static void a_file_or_pipe_gets_nothing_at_all(void **state)
{
	FILE *out = tmpfile();
	struct progress p;

	(void)state;
	assert_non_null(out);
	progress_begin(&p, out, "x", 10);
	assert_false(p.live);
	p.drawn_ns -= SECOND;
	progress_update(&p, 5);
	progress_end(&p);
	assert_int_equal(ftell(out), 0);
	fclose(out);
}

/* What has reached the terminal so far. */
static void read_terminal(int fd, char *text, size_t size)
{
	ssize_t n = read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
}

static void a_terminal_gets_one_line_redrawn_and_erased(void **state)
{
	struct winsize narrow = {.ws_row = 24, .ws_col = 30};
	int master, slave;
	char text[256];
	struct progress p;
	FILE *out;

	(void)state;
	if (openpty(&master, &slave, NULL, NULL, &narrow) < 0)
		skip_because("no pseudo terminals here");
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	out = fdopen(slave, "w");
	assert_non_null(out);

	progress_begin(&p, out, "a rather long description of it", 100);
	assert_true(p.live);
	read_terminal(master, text, sizeof(text));
	assert_string_equal(text, "");

	p.started_ns -= 10 * SECOND;
	p.drawn_ns = p.started_ns;
	progress_update(&p, 50);
	read_terminal(master, text, sizeof(text));
	/* Cut one column short of the width: a full line would wrap. */
	assert_string_equal(text, "\r\033[Ka rather long description of ");

	progress_end(&p);
	read_terminal(master, text, sizeof(text));
	assert_string_equal(text, "\r\033[K");

	p.drawn_ns -= 10 * SECOND;
	progress_update(&p, 52);
	read_terminal(master, text, sizeof(text));
	assert_string_equal(text, "");
	fclose(out);
	close(master);
}

static void a_line_that_was_never_drawn_is_not_erased(void **state)
{
	int master, slave;
	char text[16];
	struct progress p;
	FILE *out;

	(void)state;
	if (openpty(&master, &slave, NULL, NULL, NULL) < 0)
		skip_because("no pseudo terminals here");
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	out = fdopen(slave, "w");
	assert_non_null(out);
	progress_begin(&p, out, "quick", 100);
	progress_end(&p);
	read_terminal(master, text, sizeof(text));
	assert_string_equal(text, "");
	fclose(out);
	close(master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_tells_percent_rate_and_time_left),
		cmocka_unit_test(without_a_total_only_count_and_rate_are_known),
		cmocka_unit_test(a_file_or_pipe_gets_nothing_at_all),
		cmocka_unit_test(a_terminal_gets_one_line_redrawn_and_erased),
		cmocka_unit_test(a_line_that_was_never_drawn_is_not_erased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
