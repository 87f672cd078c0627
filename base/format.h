/* SPDX-License-Identifier: MIT */
/*
 * Numbers as text, the same everywhere: what a table, a status line, a help text and an error message
 * print for one value must not differ. Exact forms for machines, short ones for people.
 *
 * All write into a caller's buffer of at least FORMAT_MAX bytes and return it.
 */
#ifndef BASE_FORMAT_H
#define BASE_FORMAT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FORMAT_MAX 48

/**
 * format_real - the shortest decimal text that reads back as the same double
 * An integral value below 2^53 has no fraction; negative zero is 0; never locale dependent in the C
 * locale. NaN and infinities give "nan", "inf", "-inf": whoever writes JSON asks first.
 */
char *format_real(char text[FORMAT_MAX], double v);

/** Digits in groups of three, parted by spaces: "1 234 567". */
char *format_grouped(char text[FORMAT_MAX], int64_t v);
char *format_grouped_unsigned(char text[FORMAT_MAX], uint64_t v);

/** For people, one decimal: "512 B", "3.2 MiB". Powers of 1024. */
char *format_bytes(char text[FORMAT_MAX], double bytes);

/** For people, one decimal: "950", "12.3 M". Powers of 1000: k M G T. */
char *format_rate(char text[FORMAT_MAX], double v);

/** Exact, and readable by option_parse_size(): the largest suffix that divides: "4G", "1536". */
char *format_size(char text[FORMAT_MAX], uint64_t bytes);

/** Whole seconds as "0:07", "12:34", "3:00:09". */
char *format_duration(char text[FORMAT_MAX], uint64_t seconds);

#ifdef __cplusplus
}
#endif
#endif
