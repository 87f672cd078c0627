/* SPDX-License-Identifier: MIT */
#include "replay/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "replay/tell.h"

/* Above it, a reader should know that the median hides something. */
#define SPREAD_TOLD 0.25

/* ---- what a repetition says ---- */

static int keep_warning(struct tally *t, const char *text)
{
	char **more;

	for (size_t i = 0; i < t->nr_warnings; i++)
		if (!strcmp(t->warnings[i], text))
			return 0;
	more = realloc(t->warnings, (t->nr_warnings + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->warnings = more;
	t->warnings[t->nr_warnings] = strdup(text);
	if (!t->warnings[t->nr_warnings])
		return -ENOMEM;
	t->nr_warnings++;
	return 0;
}

/* Set aside what is to be passed on when the point is complete. */
static int keep_in(int *fd, const struct result_record *record, struct error *err)
{
	if (*fd < 0)
		*fd = memfd_create("quire-results", MFD_CLOEXEC);
	if (*fd < 0)
		return error_set(err, errno, "memory for results: %s", strerror(errno));
	return result_write(*fd, record, err);
}

static int keep_record(struct tally *t, const struct result_record *record, struct error *err)
{
	return keep_in(&t->fd, record, err);
}

static int append_row(struct tally *t, const struct result_metric_row *row)
{
	struct tally_row *more = realloc(t->rows, (t->nr_rows + 1) * sizeof(*more)), *own;

	if (!more)
		return -ENOMEM;
	t->rows = more;
	own = &more[t->nr_rows];
	*own = (struct tally_row){
		.source = strdup(row->source),
		.name = strdup(row->info.name),
		.kind = row->info.kind,
		.direction = row->info.direction,
		.values = malloc(t->repetitions * sizeof(*own->values)),
	};
	t->nr_rows++; /* released with the others, whole or not */
	if (!own->source || !own->name || !own->values)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->repetitions; i++)
		own->values[i] = (double)NAN;
	return 0;
}

/* Rows are told in any order, and a repetition may have some that the first had not. */
static int keep_row(struct tally *t, const struct result_metric_row *row, struct error *err)
{
	uint32_t *more = realloc(t->number, (t->nr_numbers + 1) * sizeof(*more));
	struct result_record record = {.kind = RESULT_METRIC_ROW, .row = *row};
	uint32_t i = 0;

	if (!more)
		return error_set(err, ENOMEM, "no memory for a metric");
	t->number = more;
	while (i < t->nr_rows && (strcmp(t->rows[i].name, row->info.name) != 0 ||
				  strcmp(t->rows[i].source, row->source) != 0))
		i++;
	t->number[t->nr_numbers++] = i;
	if (i < t->nr_rows)
		return 0;
	if (append_row(t, row))
		return error_set(err, ENOMEM, "no memory for a metric");
	record.row.metric = METRIC_COUNT + i;
	return keep_record(t, &record, err);
}

static int keep_metric(struct tally *t, uint32_t metric, double value, struct error *err)
{
	if (metric < METRIC_COUNT) {
		t->values[t->done][metric] = value;
		return 0;
	}
	if (metric - METRIC_COUNT >= t->nr_numbers)
		return error_set(err, EINVAL, "a value of metric %u, which no row tells", metric);
	t->rows[t->number[metric - METRIC_COUNT]].values[t->done] = value;
	return 0;
}

static int tally_take(struct result_sink *sink, const struct result_record *record,
		      struct error *err)
{
	struct tally *t = (struct tally *)sink;

	switch (record->kind) {
	case RESULT_METRIC:
		return keep_metric(t, record->metric.metric, record->metric.value, err);
	case RESULT_METRIC_ROW:
		return keep_row(t, &record->row, err);
	case RESULT_WARNING:
		if (keep_warning(t, record->warning.text))
			return error_set(err, ENOMEM, "no memory for a warning");
		return 0;
	case RESULT_DOUBT:
		t->doubts.count[record->doubt.doubt] =
			max_u64(t->doubts.count[record->doubt.doubt], record->doubt.count);
		return 0;
	case RESULT_RUN:
		t->nr_numbers = 0;
		return t->begun++ ? 0 : keep_in(&t->run_fd, record, err);
	case RESULT_SETTING:
		return t->begun > 1 ? 0 : keep_in(&t->run_fd, record, err);
	case RESULT_ALIVE:
		return 0;
	case RESULT_DONE:
		if (record->done.status == RUN_DONE)
			t->done++;
		else
			t->status = record->done.status;
		return 0;
	default:
		/* The first one's rows have the numbers they came with. */
		return t->done ? 0 : keep_record(t, record, err);
	}
}

int tally_create(struct tally *t, uint32_t repetitions, struct error *err)
{
	*t = (struct tally){
		.sink = {.take = tally_take}, .repetitions = repetitions, .run_fd = -1, .fd = -1};
	t->values = calloc(repetitions, sizeof(*t->values));
	if (!t->values)
		return error_set(err, ENOMEM, "no memory for %u repetitions", repetitions);
	for (uint32_t i = 0; i < repetitions; i++)
		metrics_clear(t->values[i]);
	return 0;
}

void tally_destroy(struct tally *t)
{
	if (t->run_fd >= 0)
		close(t->run_fd);
	if (t->fd >= 0)
		close(t->fd);
	for (size_t i = 0; i < t->nr_warnings; i++)
		free(t->warnings[i]);
	free(t->warnings);
	for (size_t i = 0; i < t->nr_rows; i++) {
		free(t->rows[i].source);
		free(t->rows[i].name);
		free(t->rows[i].values);
	}
	free(t->rows);
	free(t->number);
	free(t->values);
	*t = (struct tally){.run_fd = -1, .fd = -1};
}

/* ---- from repetitions to one value ---- */

static int compare_reals(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sort what is defined of @values, in place, to the front. Return: how many that are. */
static uint32_t sort_values(double *values, uint32_t n)
{
	uint32_t defined = 0;

	for (uint32_t i = 0; i < n; i++)
		if (!isnan(values[i]))
			values[defined++] = values[i];
	qsort(values, defined, sizeof(*values), compare_reals);
	return defined;
}

static double median(const double *sorted, uint32_t n)
{
	if (!n)
		return (double)NAN;
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* The one of @direction's far end, where repetitions of an exact metric disagree. */
static double worst(enum metric_direction direction, const double *sorted, uint32_t n)
{
	if (!n)
		return (double)NAN;
	return direction == METRIC_HIGHER ? sorted[0] : sorted[n - 1];
}

struct combined {
	double value[METRIC_COUNT];
	double spread[METRIC_COUNT]; /* NaN: not told */
	double *own, *own_spread;    /* of the rows */
	uint64_t differing;	     /* metrics that should be the same in all and are not */
	/* The first metric that should be the same in all and is not; NULL: none. */
	const char *differs;
	double least, most;
};

/* Largest less smallest, as a share of the median. */
static double spread_of(const double *sorted, uint32_t n)
{
	const double middle = median(sorted, n), range = n ? sorted[n - 1] - sorted[0] : 0;

	if (n < 2 || !(middle > 0 || !(range > 0)))
		return (double)NAN;
	return range > 0 ? range / middle : 0;
}

/* One metric of which @values are the repetitions'; sorts them. */
static double combine_one(const struct tally *t, struct combined *c, const char *name,
			  enum metric_kind kind, enum metric_direction direction, double *values,
			  double *spread)
{
	uint32_t n = sort_values(values, t->done);

	*spread = kind == METRIC_NOISY ? spread_of(values, n) : (double)NAN;
	if (kind == METRIC_NOISY)
		return median(values, n);
	if (n && (n < t->done || values[0] < values[n - 1])) {
		if (!c->differs) {
			c->differs = name;
			c->least = values[0];
			c->most = values[n - 1];
		}
		c->differing++;
	}
	return worst(direction, values, n);
}

static void column_of(const struct tally *t, enum metric m, double *values)
{
	for (uint32_t i = 0; i < t->done; i++)
		values[i] = t->values[i][m];
}

static void combine(const struct tally *t, struct combined *c, double *scratch)
{
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		const struct metric_info *info = &metric_table[m];

		column_of(t, m, scratch);
		c->value[m] = combine_one(t, c, info->name, info->kind, info->direction, scratch,
					  &c->spread[m]);
	}
	for (size_t i = 0; i < t->nr_rows; i++) {
		const struct tally_row *row = &t->rows[i];

		c->own[i] = combine_one(t, c, row->name, row->kind, row->direction, row->values,
					&c->own_spread[i]);
	}
	/* Metrics of their own, so that tables and comparisons have them. */
	c->value[METRIC_alloc_ns_spread] = c->spread[METRIC_alloc_ns];
	c->value[METRIC_free_ns_spread] = c->spread[METRIC_free_ns];
	c->value[METRIC_pair_ns_spread] = c->spread[METRIC_pair_ns];
}

/* What a median or a worst case does not show. */
static int warn_about(struct tally *t, const struct combined *c)
{
	const enum metric time = isnan(c->value[METRIC_pair_ns]) ? METRIC_alloc_ns : METRIC_pair_ns;
	char text[200];
	int rc = 0;

	if (c->differs) {
		snprintf(text, sizeof(text),
			 "%s is from %g to %g over the repetitions; where an exact metric "
			 "differs, the worst is told",
			 c->differs, c->least, c->most);
		rc = keep_warning(t, text);
	}
	if (!rc && c->spread[time] > SPREAD_TOLD) {
		snprintf(text, sizeof(text),
			 "%s differs by %.0f %% of its median between repetitions: the host "
			 "was not quiet",
			 metric_table[time].name, 100 * c->spread[time]);
		rc = keep_warning(t, text);
	}
	return rc;
}

/* ---- telling ---- */

/* Pass on what was kept. */
static int tell_kept(int fd, struct result_sink *sink, struct error *err)
{
	int rc = 0;

	if (fd < 0)
		return 0;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_set(err, errno, "memory for results: %s", strerror(errno));
	do {
		rc = result_read(fd, sink, err);
	} while (rc > 0);
	return rc;
}

/* What is defined of @n metrics, those from @first on, and of their spreads. */
static int tell_metrics(const double *values, const double *spreads, size_t n, uint32_t first,
			struct result_sink *sink, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		const struct result_record metric = {.kind = RESULT_METRIC,
						     .metric = {first + (uint32_t)i, values[i]}};
		const struct result_record spread = {.kind = RESULT_SPREAD,
						     .spread = {first + (uint32_t)i, spreads[i]}};

		if (!isnan(values[i]))
			rc = sink->take(sink, &metric, err);
		if (!rc && !isnan(spreads[i]))
			rc = sink->take(sink, &spread, err);
	}
	return rc;
}

static int tell_results(struct tally *t, struct result_sink *sink, struct error *err)
{
	double *scratch = calloc(t->repetitions, sizeof(*scratch));
	struct combined *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (c)
		c->own = calloc(2 * (t->nr_rows + 1), sizeof(*c->own));
	if (scratch && c && c->own) {
		c->own_spread = c->own + t->nr_rows + 1;
		combine(t, c, scratch);
		t->doubts.count[DOUBT_repetitions_differ] = c->differing;
		rc = warn_about(t, c);
	}
	if (rc)
		error_set(err, ENOMEM, "no memory for results");
	if (!rc)
		rc = tell_kept(t->fd, sink, err);
	if (!rc)
		rc = tell_metrics(c->value, c->spread, METRIC_COUNT, 0, sink, err);
	if (!rc)
		rc = tell_metrics(c->own, c->own_spread, t->nr_rows, METRIC_COUNT, sink, err);
	free(scratch);
	if (c)
		free(c->own);
	free(c);
	return rc;
}

int tally_tell_run(struct tally *t, struct result_sink *sink, struct error *err)
{
	return tell_kept(t->run_fd, sink, err);
}

int tally_tell(struct tally *t, bool whole, struct result_sink *sink, struct error *err)
{
	struct result_record record = {.kind = RESULT_WARNING};
	int rc = whole ? tell_results(t, sink, err) : 0;
	struct tell tell;

	tell_init(&tell, sink, err);
	if (!rc)
		rc = tell_doubts(&tell, &t->doubts);
	for (size_t i = 0; !rc && i < t->nr_warnings; i++) {
		record.warning.text = t->warnings[i];
		rc = sink->take(sink, &record, err);
	}
	return rc;
}
