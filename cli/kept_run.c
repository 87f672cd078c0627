/* SPDX-License-Identifier: MIT */
#include "cli/kept_run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* The members of struct result_run that are strings, so that copying them is one loop. */
static const size_t run_strings[] = {
	offsetof(struct result_run, allocator),	 offsetof(struct result_run, spec),
	offsetof(struct result_run, options),	 offsetof(struct result_run, allocator_summary),
	offsetof(struct result_run, trace),	 offsetof(struct result_run, trace_digest),
	offsetof(struct result_run, trace_note), offsetof(struct result_run, mode),
	offsetof(struct result_run, label),	 offsetof(struct result_run, point_id),
	offsetof(struct result_run, build_id),
};

_Static_assert(ARRAY_SIZE(run_strings) == KEPT_STRINGS, "one copy for each string");

void *kept_append(struct kept_list *list, size_t bytes)
{
	if (list->n == list->max) {
		size_t max = list->max ? list->max * 2 : 16;
		void *more = realloc(list->data, max * bytes);

		if (!more)
			return NULL;
		list->data = more;
		list->max = max;
	}
	return memset((char *)list->data + list->n++ * bytes, 0, bytes);
}

static void clear_list(struct kept_list *list)
{
	free(list->data);
	*list = (struct kept_list){0};
}

/* ---- one record each ---- */

/* Replace borrowed strings by copies; those that could not be made are NULL. Return: 0 or -ENOMEM. */
static int own(const char **strings[], size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		const char *borrowed = *strings[i];

		*strings[i] = borrowed ? strdup(borrowed) : NULL;
		if (borrowed && !*strings[i])
			rc = -ENOMEM;
	}
	return rc;
}

static int keep_run(struct kept_run *k, const struct result_run *run)
{
	int rc = 0;

	kept_run_clear(k);
	k->run = *run;
	/* Whatever becomes of it, nothing borrowed may stay. */
	for (size_t i = 0; i < KEPT_STRINGS; i++) {
		const char **member = (const char **)((char *)&k->run + run_strings[i]);

		if (!*member)
			continue;
		k->string[i] = strdup(*member);
		if (!k->string[i])
			rc = -ENOMEM;
		*member = k->string[i];
	}
	return rc;
}

static int keep_setting(struct kept_run *k, const struct result_setting *setting)
{
	struct result_setting *kept = kept_append(&k->settings, sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	*kept = *setting;
	return own((const char **[]){&kept->key, &kept->value, &kept->unit}, 3);
}

static int keep_row(struct kept_run *k, const struct result_metric_row *row)
{
	struct kept_row *kept;
	struct metric_info *info;

	if (row->metric != METRIC_COUNT + k->rows.n)
		return -EPROTO;
	kept = kept_append(&k->rows, sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	kept->row = *row;
	kept->spread = (double)NAN;
	info = &kept->row.info;
	return own((const char **[]){&kept->row.source, &info->name, &info->unit, &info->help,
				     &info->model},
		   5);
}

/* A metric by number: of the table, or of a row that was told. */
static int keep_metric(struct kept_run *k, uint32_t metric, double value)
{
	struct kept_row *kept;

	if (metric < METRIC_COUNT) {
		k->metric[metric] = value;
		return 0;
	}
	if (metric - METRIC_COUNT >= k->rows.n)
		return -EPROTO;
	kept = &KEPT(k->rows, struct kept_row)[metric - METRIC_COUNT];
	kept->has_metric = true;
	kept->metric = value;
	return 0;
}

/* A copy of @item, which belongs to the row of @metric. */
static int keep_of_row(struct kept_run *k, struct kept_list *list, uint32_t metric,
		       const void *item, size_t bytes)
{
	void *kept;

	if (metric - METRIC_COUNT >= k->rows.n)
		return -EPROTO;
	kept = kept_append(list, bytes);
	if (!kept)
		return -ENOMEM;
	memcpy(kept, item, bytes);
	return 0;
}

static int keep_spread(struct kept_run *k, uint32_t metric, double spread)
{
	if (metric < METRIC_COUNT)
		k->spread[metric] = spread;
	else if (metric - METRIC_COUNT < k->rows.n)
		KEPT(k->rows, struct kept_row)[metric - METRIC_COUNT].spread = spread;
	else
		return -EPROTO;
	return 0;
}

static int keep_sample(struct kept_run *k, const struct result_sample *sample)
{
	struct result_sample *kept = kept_append(&k->samples, sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	*kept = *sample;
	return 0;
}

static int keep_holder(struct kept_run *k, const struct result_holder *holder)
{
	struct result_holder *kept = kept_append(&k->holders, sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	*kept = *holder;
	return own((const char **[]){&kept->class_name}, 1);
}

static int keep_outlier(struct kept_run *k, const struct result_outlier *outlier)
{
	struct result_outlier *kept = kept_append(&k->outliers, sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	*kept = *outlier;
	return 0;
}

static int keep_warning(struct kept_run *k, const char *text)
{
	char **kept = kept_append(&k->warnings, sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	*kept = strdup(text ? text : "");
	return *kept ? 0 : -ENOMEM;
}

int kept_run_take(struct kept_run *k, const struct result_record *record)
{
	switch (record->kind) {
	case RESULT_RUN:
		return keep_run(k, &record->run);
	case RESULT_SETTING:
		return keep_setting(k, &record->setting);
	case RESULT_METRIC_ROW:
		return keep_row(k, &record->row);
	case RESULT_METRIC:
		return keep_metric(k, record->metric.metric, record->metric.value);
	case RESULT_SAMPLE:
		return keep_sample(k, &record->sample);
	case RESULT_SPREAD:
		return keep_spread(k, record->spread.metric, record->spread.value);
	case RESULT_VALUE:
		return keep_of_row(k, &k->values, record->value.metric, &record->value,
				   sizeof(record->value));
	case RESULT_COUNTER:
		return keep_of_row(k, &k->counters, record->counter.metric, &record->counter,
				   sizeof(record->counter));
	case RESULT_FLAG:
		k->has_flag[record->flag.flag] = true;
		k->flag[record->flag.flag] = record->flag.allocs;
		return 0;
	case RESULT_DOUBT:
		k->doubts.count[record->doubt.doubt] = record->doubt.count;
		return 0;
	case RESULT_FREELIST:
		end_freelists_keep(&k->freelists, &record->freelist);
		return 0;
	case RESULT_HOLDER:
		return keep_holder(k, &record->holder);
	case RESULT_ACCURACY:
		return accuracies_keep(&k->accuracies, &record->accuracy);
	case RESULT_WARNING:
		return keep_warning(k, record->warning.text);
	case RESULT_OUTLIER:
		return keep_outlier(k, &record->outlier);
	case RESULT_LATENCY: /* the database has the distributions and the maps */
	case RESULT_BLOCKMAP:
	case RESULT_ALIVE:
	case RESULT_DONE:
		break;
	}
	return 0;
}

/* ---- the whole ---- */

/* Both begin with the sample and the metric. */
static int by_sample(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	if (x[0] != y[0])
		return x[0] < y[0] ? -1 : 1;
	return (x[1] > y[1]) - (x[1] < y[1]);
}

_Static_assert(offsetof(struct result_value, sample) == 0 &&
		       offsetof(struct result_value, metric) == sizeof(uint32_t) &&
		       offsetof(struct result_counter, sample) == 0 &&
		       offsetof(struct result_counter, metric) == sizeof(uint32_t),
	       "by_sample() takes either");

void kept_run_settle(struct kept_run *k)
{
	if (k->values.n)
		qsort(k->values.data, k->values.n, sizeof(struct result_value), by_sample);
	if (k->counters.n)
		qsort(k->counters.data, k->counters.n, sizeof(struct result_counter), by_sample);
}

void kept_run_init(struct kept_run *k)
{
	memset(k, 0, sizeof(*k));
	metrics_clear(k->metric);
	metrics_clear(k->spread);
}

void kept_run_clear(struct kept_run *k)
{
	for (size_t i = 0; i < KEPT_STRINGS; i++)
		free(k->string[i]);
	for (size_t i = 0; i < k->settings.n; i++) {
		struct result_setting *s = &KEPT(k->settings, struct result_setting)[i];

		free((char *)s->key);
		free((char *)s->value);
		free((char *)s->unit);
	}
	for (size_t i = 0; i < k->rows.n; i++) {
		struct result_metric_row *row = &KEPT(k->rows, struct kept_row)[i].row;

		free((char *)row->source);
		free((char *)row->info.name);
		free((char *)row->info.unit);
		free((char *)row->info.help);
		free((char *)row->info.model);
	}
	for (size_t i = 0; i < k->holders.n; i++)
		free((char *)KEPT(k->holders, struct result_holder)[i].class_name);
	for (size_t i = 0; i < k->warnings.n; i++)
		free(KEPT(k->warnings, char *)[i]);
	clear_list(&k->settings);
	clear_list(&k->rows);
	clear_list(&k->samples);
	clear_list(&k->values);
	clear_list(&k->counters);
	clear_list(&k->holders);
	clear_list(&k->outliers);
	clear_list(&k->warnings);
	accuracies_clear(&k->accuracies);
	kept_run_init(k);
}

bool kept_has_setting(const struct kept_run *k, const char *key, const char *value)
{
	for (size_t i = 0; i < k->settings.n; i++) {
		const struct result_setting *s = &KEPT(k->settings, const struct result_setting)[i];

		if (strcmp(s->key, key) == 0)
			return strcmp(s->value, value) == 0;
	}
	return false;
}
