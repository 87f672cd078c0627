/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define CUT_MARK "..."

/*
 * One line, and nothing a terminal would obey: C0 controls, DEL, and the C1 controls in their UTF-8
 * form (0xc2 0x80..0x9f).
 */
static void text_tame(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s; s++) {
		if (*s < 0x20 || *s == 0x7f) {
			*s = '?';
		} else if (*s == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f) {
			s[0] = '?';
			s[1] = '?';
		}
	}
}

/* Mark a text that filled its buffer as cut, not inside a UTF-8 sequence. */
static void text_mark_cut(char *text, size_t size)
{
	size_t end = size - sizeof(CUT_MARK);

	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	memcpy(text + end, CUT_MARK, sizeof(CUT_MARK));
}

static void text_format(char text[ERROR_TEXT_MAX], const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

static void text_format(char text[ERROR_TEXT_MAX], const char *fmt, va_list args)
{
	int length = vsnprintf(text, ERROR_TEXT_MAX, fmt, args);

	if (length < 0)
		text[0] = '\0'; /* an encoding error of the format: the code still speaks */
	else if (length >= ERROR_TEXT_MAX)
		text_mark_cut(text, ERROR_TEXT_MAX);
	text_tame(text);
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX]; /* apart: the arguments may be err->text itself */
	va_list args;

	assert(code > 0);
	if (!err)
		return -code;
	va_start(args, fmt);
	text_format(text, fmt, args);
	va_end(args);
	memcpy(err->text, text, sizeof(text));
	err->code = code;
	return -code;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	char what[ERROR_TEXT_MAX];
	va_list args;

	assert(err && err->code > 0);
	va_start(args, fmt);
	text_format(what, fmt, args);
	va_end(args);
	return error_set(err, err->code, "%s: %s", what, err->text);
}
