/* SPDX-License-Identifier: MIT */
#include "results/settings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/text_stream.h"

static struct result_setting *append(struct settings *s, enum setting_role role, const char *key)
{
	struct result_setting *row = &s->row[s->n++];

	assert(s->n <= SETTINGS_MAX);
	*row = (struct result_setting){.key = key, .value = "", .unit = "", .role = role};
	return row;
}

void settings_text(struct settings *s, enum setting_role role, const char *key, const char *value,
		   const char *usual)
{
	struct result_setting *row = append(s, role, key);

	row->value = value;
	row->usual = usual && strcmp(value, usual) == 0;
}

void settings_bool(struct settings *s, enum setting_role role, const char *key, bool value,
		   bool usual)
{
	struct result_setting *row = append(s, role, key);

	row->type = SETTING_BOOL;
	row->value = value ? "true" : "false";
	row->usual = value == usual;
}

void settings_number(struct settings *s, enum setting_role role, const char *key, uint64_t value,
		     const char *unit)
{
	struct result_setting *row = append(s, role, key);
	char *number = s->number[s->n - 1];

	snprintf(number, sizeof(s->number[0]), "%" PRIu64, value);
	row->type = SETTING_NUMBER;
	row->value = number;
	row->unit = unit;
}

void settings_unknown(struct settings *s, enum setting_role role, const char *key, const char *unit)
{
	struct result_setting *row = append(s, role, key);

	row->type = SETTING_NUMBER;
	row->unit = unit;
}

void settings_uint(struct settings *s, enum setting_role role, const char *key, uint64_t value,
		   const char *unit, uint64_t usual)
{
	settings_number(s, role, key, value, unit);
	s->row[s->n - 1].usual = value == usual;
}

void settings_real(struct settings *s, enum setting_role role, const char *key, double value,
		   const char *unit, double usual)
{
	struct result_setting *row = append(s, role, key);
	char *number = s->number[s->n - 1];

	snprintf(number, sizeof(s->number[0]), "%.12g", value);
	row->type = SETTING_NUMBER;
	row->value = number;
	row->unit = unit;
	row->usual = value == usual;
}

const struct result_setting *settings_find(const struct settings *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->row[i].key, key) == 0)
			return &s->row[i];
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	const struct result_setting *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

char *settings_point(const struct settings *s)
{
	const struct result_setting *part[SETTINGS_MAX];
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->row[i].role != SETTING_FACT && !s->row[i].usual)
			part[n++] = &s->row[i];
	if (n)
		qsort(part, n, sizeof(part[0]), by_key);
	for (size_t i = 0; out && i < n; i++)
		fprintf(out, "%s=%s\n", part[i]->key, part[i]->value);
	return text_stream_end(&stream, NULL);
}
