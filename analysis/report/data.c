/* SPDX-License-Identifier: MIT */
#include "analysis/report/data.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory: everything lives as long as the report ---------------------------------------- */

struct report_arena {
	struct report_arena *next;
	max_align_t bytes[];
};

void *report_alloc(struct report_data *data, size_t n, size_t size)
{
	struct report_arena *block;

	if (size && n > (SIZE_MAX - sizeof(*block)) / size)
		return NULL;
	block = calloc(1, sizeof(*block) + n * size);
	if (!block)
		return NULL;
	block->next = data->arena;
	data->arena = block;
	return block->bytes;
}

void report_data_free(struct report_data *data)
{
	while (data->arena) {
		struct report_arena *next = data->arena->next;

		free(data->arena);
		data->arena = next;
	}
	memset(data, 0, sizeof(*data));
}

/* ---- settings ------------------------------------------------------------------------------ */

const struct result_setting *report_setting(const struct report_run *run, const char *key)
{
	for (size_t i = 0; i < run->n_settings; i++) {
		if (strcmp(run->settings[i].key, key) == 0)
			return &run->settings[i];
	}
	return NULL;
}

bool report_set_apart(const struct report_run *run)
{
	return run->doubts.count[DOUBT_prefill_packed] > 0;
}

bool report_setting_same(const struct report_run *a, const struct report_run *b, const char *key)
{
	const struct result_setting *x = report_setting(a, key), *y = report_setting(b, key);

	if (!x || !y)
		return (!x || x->usual) && (!y || y->usual);
	return strcmp(x->value, y->value) == 0;
}

const char *report_next_key(const struct report_run *runs, size_t n, const char *after,
			    enum setting_role last)
{
	const char *next = NULL;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < runs[i].n_settings; k++) {
			const struct result_setting *s = &runs[i].settings[k];

			if (s->role <= last && (!after || strcmp(s->key, after) > 0) &&
			    (!next || strcmp(s->key, next) < 0))
				next = s->key;
		}
	}
	return next;
}

bool report_comparable(const struct report_run *a, const struct report_run *b, enum metric metric)
{
	return strcmp(a->asked, b->asked) == 0 && strcmp(a->mode, b->mode) == 0 &&
	       a->threads == b->threads && a->order == b->order &&
	       (metric_table[metric].kind == METRIC_EXACT || strcmp(a->host, b->host) == 0);
}
