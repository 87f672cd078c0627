/* SPDX-License-Identifier: MIT */
/*
 * A test that cannot run here says why: tests/tap.py takes the line along, and script/run-tests shows it, and
 * calls a skip without one a failure.
 */
#ifndef TESTS_SKIP_H
#define TESTS_SKIP_H

/* Behind cmocka.h. Does not return. */
#define skip_because(why)                                                                          \
	do {                                                                                       \
		print_message("# skipped: %s\n", why);                                             \
		skip();                                                                            \
	} while (0)

#endif
