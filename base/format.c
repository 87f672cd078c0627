/* SPDX-License-Identifier: MIT */
#include "base/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

char *format_real(char text[FORMAT_MAX], double v)
{
	const double exact_below = 0x1p53;

	if (v == 0) {
		memcpy(text, "0", sizeof("0"));
	} else if (isfinite(v) && fabs(v) < exact_below && v == trunc(v)) {
		snprintf(text, FORMAT_MAX, "%.0f", v);
	} else {
		/* 17 digits always suffice; 15 or 16 often do, and are what a person typed. */
		for (int digits = 15; digits <= 17; digits++) {
			snprintf(text, FORMAT_MAX, "%.*g", digits, v);
			if (!isfinite(v) || strtod(text, NULL) == v)
				break;
		}
	}
	return text;
}

static char *group_digits(char text[FORMAT_MAX], bool negative, uint64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, v);
	char *out = text;

	if (negative)
		*out++ = '-';
	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			*out++ = ' ';
		*out++ = digits[i];
	}
	*out = '\0';
	return text;
}

char *format_grouped(char text[FORMAT_MAX], int64_t v)
{
	return group_digits(text, v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

char *format_grouped_unsigned(char text[FORMAT_MAX], uint64_t v)
{
	return group_digits(text, false, v);
}

/* @v scaled to the unit in which it prints, with one decimal, below @base; returns the unit. */
static size_t scale(double *v, double base, size_t units)
{
	size_t unit = 0;

	/* 1023.96 would print as 1024.0: it belongs to the next unit already. */
	while (unit + 1 < units && fabs(*v) >= (unit ? base - 0.05 : base - 0.5)) {
		*v /= base;
		unit++;
	}
	return unit;
}

char *format_bytes(char text[FORMAT_MAX], double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = scale(&bytes, 1024, ARRAY_SIZE(units));

	snprintf(text, FORMAT_MAX, "%.*f %s", unit ? 1 : 0, bytes, units[unit]);
	return text;
}

char *format_rate(char text[FORMAT_MAX], double v)
{
	static const char *const units[] = {"", " k", " M", " G", " T"};
	size_t unit = scale(&v, 1000, ARRAY_SIZE(units));

	if (fabs(v) >= 1e15) /* beyond any unit of ours: keep it inside the buffer */
		snprintf(text, FORMAT_MAX, "%.1e%s", v, units[unit]);
	else
		snprintf(text, FORMAT_MAX, "%.*f%s", unit || v != trunc(v) ? 1 : 0, v, units[unit]);
	return text;
}

char *format_size(char text[FORMAT_MAX], uint64_t bytes)
{
	static const char suffix[] = {'K', 'M', 'G', 'T'};
	size_t used = 0;

	while (bytes && used < ARRAY_SIZE(suffix) && is_aligned(bytes, 1024)) {
		bytes >>= 10;
		used++;
	}
	snprintf(text, FORMAT_MAX, "%" PRIu64 "%.*s", bytes, used ? 1 : 0,
		 used ? &suffix[used - 1] : "");
	return text;
}

char *format_duration(char text[FORMAT_MAX], uint64_t seconds)
{
	uint64_t minutes = seconds / 60;

	if (minutes < 60)
		snprintf(text, FORMAT_MAX, "%" PRIu64 ":%02u", minutes,
			 (unsigned int)(seconds % 60));
	else
		snprintf(text, FORMAT_MAX, "%" PRIu64 ":%02u:%02u", minutes / 60,
			 (unsigned int)(minutes % 60), (unsigned int)(seconds % 60));
	return text;
}
