/* SPDX-License-Identifier: MIT */
#include "analysis/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NARROW_SPACE "\xe2\x80\xaf" /* U+202F, does not break */
#define EN_DASH	     "\xe2\x80\x93"
#define REPLACEMENT  "\xef\xbf\xbd"

/* Length of the UTF-8 sequence at @s, 0 if it is none (overlong, surrogate, cut). */
static size_t utf8_length(const unsigned char *s)
{
	const unsigned char c = s[0];
	const size_t n = c < 0x80   ? 1
			 : c < 0xc2 ? 0
			 : c < 0xe0 ? 2
			 : c < 0xf0 ? 3
			 : c < 0xf5 ? 4
				    : 0;

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) ||
	    (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* Copy @text as valid UTF-8 on one line; @special may replace a character by its own spelling. */
static void put_clean(FILE *out, const char *text, const char *(*special)(char c))
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		const size_t n = utf8_length(s);
		const char *other = n == 1 ? special((char)*s) : NULL;

		if (other)
			fputs(other, out);
		else if (n == 0)
			fputs(REPLACEMENT, out);
		else if (*s < 0x20 || *s == 0x7f)
			fputc(' ', out);
		else
			fwrite(s, 1, n, out);
		s += n ? n : 1;
	}
}

static const char *special_html(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static const char *special_quote(char c)
{
	return c == '\'' ? "''" : NULL;
}

void text_html(FILE *out, const char *text)
{
	put_clean(out, text, special_html);
}

void text_gnuplot(FILE *out, const char *text)
{
	fputc('\'', out);
	put_clean(out, text, special_quote);
	fputc('\'', out);
}

static const char *special_shell_html(char c)
{
	return c == '\'' ? "&#39;\\&#39;&#39;" : special_html(c);
}

static bool is_shell_word(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./:=,@%+";

	return text[0] && text[strspn(text, plain)] == '\0';
}

void text_shell(FILE *out, const char *text)
{
	if (is_shell_word(text)) {
		fputs(text, out);
		return;
	}
	fputc('\'', out);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", out);
		else
			fputc(*text, out);
	}
	fputc('\'', out);
}

const char *text_base_name(const char *path)
{
	const char *name = path;

	/* A slash at the end, as of a directory, begins no name. */
	for (const char *at = path; *at; at++)
		if (at[0] == '/' && at[1] && at[1] != '/')
			name = at + 1;
	return name;
}

/* Of the @n bytes at @word, which no directory of a path is: how many. */
static size_t directories(const char *word, size_t n)
{
	const char *slash;

	while (n > 1 && word[n - 1] == '/')
		n--;
	slash = memrchr(word, '/', n);
	if (!slash || slash + 1 == word + n)
		return 0;
	if (!strchr("/.~", word[0]) && !memchr(slash, '.', n - (size_t)(slash - word)))
		return 0;
	return (size_t)(slash + 1 - word);
}

void text_drop_directories(char *text, const char *between)
{
	char *to = text;

	while (*text) {
		const size_t gap = strspn(text, between);
		const size_t word = strcspn(text + gap, between);
		const size_t drop = directories(text + gap, word);

		memmove(to, text, gap);
		memmove(to + gap, text + gap + drop, word - drop);
		to += gap + word - drop;
		text += gap + word;
	}
	*to = '\0';
}

void text_shell_html(FILE *out, const char *text)
{
	const bool quoted = !is_shell_word(text);

	if (quoted)
		fputs("&#39;", out);
	put_clean(out, text, special_shell_html);
	if (quoted)
		fputs("&#39;", out);
}

/* Insert narrow spaces between groups of three digits before the point. */
static const char *group(char text[TEXT_NUMBER_MAX], const char *digits)
{
	const size_t sign = digits[0] == '-';
	const size_t whole = strspn(digits + sign, "0123456789");
	size_t n = 0;

	if (sign)
		text[n++] = '-';
	for (size_t i = 0; i < whole; i++) {
		/* Four digits are read as easily without. */
		if (i && (whole - i) % 3 == 0 && whole > 4) {
			memcpy(text + n, NARROW_SPACE, strlen(NARROW_SPACE));
			n += strlen(NARROW_SPACE);
		}
		text[n++] = digits[sign + i];
	}
	snprintf(text + n, TEXT_NUMBER_MAX - n, "%s", digits + sign + whole);
	return text;
}

const char *text_count(char text[TEXT_NUMBER_MAX], uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	return group(text, digits);
}

static const char *fixed(char text[TEXT_NUMBER_MAX], double value, int decimals)
{
	char digits[32];

	/* Beyond 2^60 nothing here is a count any more; keep the buffers safe. */
	if (fabs(value) >= 0x1p60)
		snprintf(digits, sizeof(digits), "%.3e", value);
	else
		snprintf(digits, sizeof(digits), "%.*f", decimals, value);
	return group(text, digits);
}

const char *text_bytes(char text[TEXT_NUMBER_MAX], double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	char number[TEXT_NUMBER_MAX];
	unsigned int u = 0;

	while (bytes >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		u++;
	}
	fixed(number, bytes, u == 0 ? 0 : bytes < 10 ? 2 : bytes < 100 ? 1 : 0);
	snprintf(text, TEXT_NUMBER_MAX, "%.36s" NARROW_SPACE "%s", number, units[u]);
	return text;
}

/* A share of one, which people read in percent. */
static bool is_share(enum metric metric)
{
	return strncmp(metric_table[metric].name, "free_share_", strlen("free_share_")) == 0;
}

/* Likewise, but of many: all but a few is not all. */
static bool is_accuracy(enum metric metric)
{
	return strstr(metric_table[metric].name, "_accuracy") != NULL;
}

static bool is_unit(enum metric metric, const char *unit)
{
	return strcmp(metric_table[metric].unit, unit) == 0;
}

const char *text_metric_unit(enum metric metric)
{
	if (is_share(metric) || is_accuracy(metric) || is_unit(metric, "%"))
		return "%";
	if (is_unit(metric, "1/s"))
		return "M/s";
	return is_unit(metric, "bytes") ? "" : metric_table[metric].unit; /* with each figure */
}

const char *text_metric(char text[TEXT_NUMBER_MAX], enum metric metric, double value)
{
	if (!isfinite(value)) {
		snprintf(text, TEXT_NUMBER_MAX, EN_DASH);
		return text;
	}
	if (is_share(metric))
		return fixed(text, 100 * value, 1);
	if (is_accuracy(metric))
		return fixed(text, 100 * (value < 1 ? fmin(value, 0.9999) : value), 2);
	if (is_unit(metric, "%"))
		return fixed(text, value, 1);
	if (is_unit(metric, "1/s"))
		return fixed(text, value / 1e6, 2);
	if (is_unit(metric, "bytes"))
		return text_bytes(text, value);
	if (is_unit(metric, "ns"))
		return fixed(text, value, value < 1000 ? 1 : 0);
	if (value == floor(value))
		return fixed(text, value, 0);
	/* A mean of counts, or an index between -1 and 1. */
	return fixed(text, value, fabs(value) < 10 ? 3 : 1);
}
