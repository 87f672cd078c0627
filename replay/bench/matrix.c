/* SPDX-License-Identifier: MIT */
/*
 * Many points, each measured several times. The machine's mood changes over minutes (frequency, other
 * tenants), so the repetitions of all points are interleaved: what changes, changes for all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/progress.h"
#include "replay/bench/rig.h"
#include "replay/clock.h"
#include "replay/isolate.h"

/* Above it, a reader should know that the median hides something. */
#define SPREAD_TOLD 0.25

/* What the repetitions of one point said so far. */
struct tally {
	const struct bench_point *point;
	double (*values)[METRIC_COUNT]; /* a row per repetition */
	uint32_t done;
	enum run_status status; /* RUN_RUNNING: not decided yet */
	char *text;		/* why it failed */
	uint64_t start_ns;
	/*
	 * Samples and what belongs to them, serialised, of the first repetition: they are exact, so the
	 * others' are the same. -1: none.
	 */
	int fd;
	char **warnings; /* of all repetitions, each text once */
	size_t nr_warnings;
};

struct tally_sink {
	struct result_sink sink;
	struct tally *tally;
};

static void tally_destroy(struct tally *t)
{
	if (t->fd >= 0)
		close(t->fd);
	for (size_t i = 0; i < t->nr_warnings; i++)
		free(t->warnings[i]);
	free(t->warnings);
	free(t->values);
	free(t->text);
	*t = (struct tally){.fd = -1};
}

static int tally_create(struct tally *t, const struct bench_point *point, struct error *err)
{
	*t = (struct tally){.point = point, .fd = -1};
	t->values = calloc(point->repetitions, sizeof(*t->values));
	if (!t->values)
		return error_set(err, ENOMEM, "no memory for %u repetitions", point->repetitions);
	for (uint32_t i = 0; i < point->repetitions; i++)
		metrics_clear(t->values[i]);
	return 0;
}

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

/* Set aside what is to be told when the point is complete. */
static int keep_record(struct tally *t, const struct result_record *record, struct error *err)
{
	if (t->done)
		return 0;
	if (t->fd < 0)
		t->fd = memfd_create("quire-bench", MFD_CLOEXEC);
	if (t->fd < 0)
		return error_set(err, errno, "memory for samples: %s", strerror(errno));
	return result_write(t->fd, record, err);
}

static int tally_take(struct result_sink *sink, const struct result_record *record,
		      struct error *err)
{
	struct tally *t = ((struct tally_sink *)sink)->tally;

	switch (record->kind) {
	case RESULT_METRIC:
		if (record->metric.metric >= METRIC_COUNT)
			return keep_record(t, record, err);
		t->values[t->done][record->metric.metric] = record->metric.value;
		return 0;
	case RESULT_WARNING:
		if (keep_warning(t, record->warning.text))
			return error_set(err, ENOMEM, "no memory for a warning");
		return 0;
	case RESULT_RUN: /* told when it is complete */
	case RESULT_ALIVE:
		return 0;
	case RESULT_DONE:
		if (record->done.status == RUN_DONE)
			t->done++;
		else
			t->status = record->done.status;
		return 0;
	default:
		return keep_record(t, record, err);
	}
}

/* ---- from repetitions to one value ---- */

static int compare_reals(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The defined values of one metric, ascending. Return how many. */
static uint32_t sorted_values(const struct tally *t, enum metric m, double *values)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->done; i++)
		if (!isnan(t->values[i][m]))
			values[n++] = t->values[i][m];
	qsort(values, n, sizeof(*values), compare_reals);
	return n;
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
	enum metric
		differs; /* the first exact metric that is not the same in all; METRIC_COUNT: none */
	double least, most;
};

static void set_spread(struct combined *c, const struct tally *t, enum metric of,
		       enum metric spread, double *scratch)
{
	uint32_t n = sorted_values(t, of, scratch);
	double middle = median(scratch, n);

	c->value[spread] =
		n > 1 && middle > 0 ? (scratch[n - 1] - scratch[0]) / middle : (double)NAN;
}

static void combine(const struct tally *t, struct combined *c, double *scratch)
{
	c->differs = METRIC_COUNT;
	for (unsigned int m = 0; m < METRIC_COUNT; m++) {
		const struct metric_info *info = &metric_table[m];
		uint32_t n = sorted_values(t, m, scratch);

		if (info->kind == METRIC_NOISY) {
			c->value[m] = median(scratch, n);
			continue;
		}
		c->value[m] = worst(info->direction, scratch, n);
		if (c->differs == METRIC_COUNT && n &&
		    (n < t->done || scratch[0] < scratch[n - 1])) {
			c->differs = m;
			c->least = scratch[0];
			c->most = scratch[n - 1];
		}
	}
	set_spread(c, t, METRIC_alloc_ns, METRIC_alloc_ns_spread, scratch);
	set_spread(c, t, METRIC_free_ns, METRIC_free_ns_spread, scratch);
	set_spread(c, t, METRIC_pair_ns, METRIC_pair_ns_spread, scratch);
}

/* What a median or a worst case does not show. */
static int warn_about(struct tally *t, const struct combined *c)
{
	char text[200];
	int rc = 0;

	if (c->differs != METRIC_COUNT) {
		snprintf(text, sizeof(text),
			 "%s is from %g to %g over the repetitions; where an exact metric "
			 "differs, the worst is told",
			 metric_table[c->differs].name, c->least, c->most);
		rc = keep_warning(t, text);
	}
	if (!rc && c->value[METRIC_pair_ns_spread] > SPREAD_TOLD) {
		snprintf(text, sizeof(text),
			 "pair_ns differs by %.0f %% of its median between repetitions: the host "
			 "was "
			 "not quiet",
			 100 * c->value[METRIC_pair_ns_spread]);
		rc = keep_warning(t, text);
	}
	return rc;
}

/* ---- telling a point ---- */

/* Pass on what was kept. */
static int tell_kept(const struct tally *t, struct result_sink *sink, struct error *err)
{
	int rc = 0;

	if (t->fd < 0)
		return 0;
	if (lseek(t->fd, 0, SEEK_SET) < 0)
		return error_set(err, errno, "memory for samples: %s", strerror(errno));
	do {
		rc = result_read(t->fd, sink, err);
	} while (rc > 0);
	return rc;
}

static int tell_metrics(const struct combined *c, struct result_sink *sink, struct error *err)
{
	struct result_record record = {.kind = RESULT_METRIC};
	int rc = 0;

	for (unsigned int m = 0; !rc && m < METRIC_COUNT; m++) {
		record.metric.metric = m;
		record.metric.value = c->value[m];
		if (!isnan(c->value[m]))
			rc = sink->take(sink, &record, err);
	}
	return rc;
}

static int tell_results(struct tally *t, struct result_sink *sink, struct error *err)
{
	double *scratch = calloc(t->point->repetitions, sizeof(*scratch));
	struct combined *c = malloc(sizeof(*c));
	int rc = 0;

	if (scratch && c) {
		combine(t, c, scratch);
		rc = warn_about(t, c);
	}
	if (!scratch || !c || rc)
		rc = error_set(err, ENOMEM, "no memory for results");
	if (!rc)
		rc = tell_kept(t, sink, err);
	if (!rc)
		rc = tell_metrics(c, sink, err);
	free(scratch);
	free(c);
	return rc;
}

/* The whole run of a point whose repetitions are over. */
static int tell_point(struct tally *t, struct result_sink *sink, struct error *err)
{
	struct result_record record = {.kind = RESULT_WARNING};
	int rc = bench_send_run(t->point, t->start_ns, sink, err);

	if (!rc && t->status == RUN_DONE)
		rc = tell_results(t, sink, err);
	for (size_t i = 0; !rc && i < t->nr_warnings; i++) {
		record.warning.text = t->warnings[i];
		rc = sink->take(sink, &record, err);
	}
	record = (struct result_record){.kind = RESULT_DONE,
					.done = {.status = t->status, .text = t->text}};
	return rc ? rc : sink->take(sink, &record, err);
}

/* ---- the matrix ---- */

static int body(const void *arg, struct result_sink *sink, struct error *err)
{
	return bench_run(arg, sink, err);
}

/*
 * One more repetition. Return: 0, whatever became of it; -EINTR: stopped; or our own failure, which
 * is everyone's.
 */
static int repeat_point(struct tally *t, const struct bench_watch *watch, struct error *err)
{
	struct tally_sink sink = {.sink = {.take = tally_take}, .tally = t};
	const struct isolated_job job = {
		.name = t->point->spec->text,
		.body = body,
		.arg = t->point,
		.timeout_s = watch->timeout_s,
		.stop = watch->stop,
	};
	int rc;

	if (!t->start_ns)
		t->start_ns = clock_wall_ns();
	rc = isolate_run(&job, &sink.sink, err);
	if (!rc) {
		if (t->done == t->point->repetitions)
			t->status = RUN_DONE;
		return 0;
	}
	/* It has not said so itself if it had not begun to speak. */
	if (t->status == RUN_RUNNING)
		t->status = rc == -EINTR    ? RUN_INTERRUPTED
			    : rc == -ECHILD ? RUN_CRASHED
					    : RUN_FAILED;
	t->text = strdup(err->text);
	return rc == -EINTR ? rc : 0;
}

static bool stopped(const struct bench_watch *watch)
{
	return watch->stop && *watch->stop;
}

static int run_matrix(struct tally *tallies, size_t n, const struct bench_watch *watch,
		      struct result_sink *sink, struct progress *progress, struct error *err)
{
	uint64_t done = 0;
	bool more = true;
	int rc;

	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			struct tally *t = &tallies[i];

			if (t->status != RUN_RUNNING)
				continue;
			if (stopped(watch))
				return error_set(err, EINTR, "interrupted");
			rc = repeat_point(t, watch, err);
			if (rc)
				return rc;
			progress_update(progress, ++done);
			if (t->status == RUN_RUNNING) {
				more = true;
				continue;
			}
			rc = tell_point(t, sink, err);
			tally_destroy(t);
			t->status = RUN_DONE; /* told, at any rate */
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* Stopped: those that began have nothing whole to tell, and say so. */
static int tell_interrupted(struct tally *tallies, size_t n, struct result_sink *sink,
			    struct error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		struct tally *t = &tallies[i];

		if (!t->start_ns)
			continue;
		t->status = RUN_INTERRUPTED;
		if (!t->text && asprintf(&t->text, "interrupted after %u of %u repetitions",
					 t->done, t->point->repetitions) < 0)
			t->text = NULL;
		rc = tell_point(t, sink, err);
	}
	return rc;
}

int bench_run_all(const struct bench_point *points, size_t n, const struct bench_watch *watch,
		  struct result_sink *sink, struct error *err)
{
	struct tally *tallies = calloc(n ? n : 1, sizeof(*tallies));
	struct error scratch = {0}, told = {0};
	struct progress progress;
	uint64_t total = 0;
	size_t made = 0;
	int rc = 0;

	if (!err)
		err = &scratch;
	if (!tallies)
		return error_set(err, ENOMEM, "no memory for %zu points", n);
	for (; !rc && made < n; made++) {
		rc = tally_create(&tallies[made], &points[made], err);
		total += points[made].repetitions;
	}
	progress_begin(&progress, watch->progress ? stderr : NULL, "bench", total);
	if (!rc)
		rc = run_matrix(tallies, n, watch, sink, &progress, err);
	progress_end(&progress);
	if (rc == -EINTR && tell_interrupted(tallies, n, sink, &told))
		rc = error_set(err, told.code, "%s", told.text);
	for (size_t i = 0; i < made; i++)
		tally_destroy(&tallies[i]);
	free(tallies);
	return rc;
}
