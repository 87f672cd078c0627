/* SPDX-License-Identifier: MIT */
/*
 * Many points, each measured several times. The machine's mood changes over minutes (frequency, other
 * tenants), so the repetitions of all points are interleaved: what changes, changes for all of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "replay/bench/bench.h"
#include "replay/bench/kinds.h"
#include "replay/bench/tally.h"
#include "replay/clock.h"
#include "replay/isolate.h"

/* One point and what became of it so far. */
struct entry {
	const struct bench_point *point;
	struct tally tally;
	enum run_status status; /* RUN_RUNNING: not decided yet */
	char *text;		/* why it failed */
	int code;		/* that as an errno */
	uint64_t start_ns;
};

static void entry_destroy(struct entry *e)
{
	tally_destroy(&e->tally);
	free(e->text);
	*e = (struct entry){.tally = {.fd = -1}};
}

/* The whole run of a point whose repetitions are over. */
static int tell_point(struct entry *e, struct result_sink *sink, struct error *err)
{
	const struct result_record done = {
		.kind = RESULT_DONE,
		.done = {.status = e->status, .text = e->text, .code = e->code}};
	int rc = bench_send_run(e->point, e->start_ns, sink, err);

	if (!rc)
		rc = tally_tell(&e->tally, e->status == RUN_DONE, sink, err);
	return rc ? rc : sink->take(sink, &done, err);
}

/* ---- the matrix ---- */

static int body(const void *arg, struct run_position *at, struct result_sink *sink,
		struct error *err)
{
	return bench_run(arg, at, sink, err);
}

/*
 * One more repetition. Return: 0, whatever became of it; -EINTR: stopped; or our own failure, which
 * is everyone's.
 */
static int repeat_point(struct entry *e, const struct bench_watch *watch, struct error *err)
{
	const struct isolated_job job = {
		.name = e->point->spec->text,
		.body = body,
		.arg = e->point,
		.watch = watch->run,
	};
	int rc;

	if (!e->start_ns)
		e->start_ns = clock_wall_ns();
	rc = isolate_run(&job, &e->tally.sink, err);
	if (!rc) {
		if (e->tally.done == e->point->repetitions)
			e->status = RUN_DONE;
		return 0;
	}
	e->status = e->tally.status;
	/* It has not said so itself if it had not begun to speak. */
	if (e->status == RUN_RUNNING)
		e->status = rc == -EINTR			? RUN_INTERRUPTED
			    : rc == -ECHILD || rc == -ETIMEDOUT ? RUN_CRASHED
								: RUN_FAILED;
	e->text = strdup(err->text);
	e->code = -rc;
	return rc == -EINTR ? rc : 0;
}

static bool stopped(const struct bench_watch *watch)
{
	return watch->run.stop && *watch->run.stop;
}

static int run_matrix(struct entry *entries, size_t n, const struct bench_watch *watch,
		      struct result_sink *sink, struct progress *progress, struct error *err)
{
	uint64_t done = 0;
	bool more = true;
	int rc;

	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			struct entry *e = &entries[i];

			if (e->status != RUN_RUNNING)
				continue;
			if (stopped(watch))
				return error_set(err, EINTR, "interrupted");
			rc = repeat_point(e, watch, err);
			if (rc)
				return rc;
			progress_update(progress, ++done);
			if (e->status == RUN_RUNNING) {
				more = true;
				continue;
			}
			rc = tell_point(e, sink, err);
			entry_destroy(e);
			e->status =
				RUN_DONE; /* told, at any rate; and nothing begun is left to tell */
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* Stopped: those that began have nothing whole to tell, and say so. */
static int tell_interrupted(struct entry *entries, size_t n, struct result_sink *sink,
			    struct error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		struct entry *e = &entries[i];

		if (!e->start_ns)
			continue;
		e->status = RUN_INTERRUPTED;
		e->code = EINTR;
		if (!e->text && asprintf(&e->text, "interrupted after %u of %u repetitions",
					 e->tally.done, e->point->repetitions) < 0)
			e->text = NULL;
		rc = tell_point(e, sink, err);
	}
	return rc;
}

int bench_run_all(const struct bench_point *points, size_t n, const struct bench_watch *watch,
		  struct result_sink *sink, struct error *err)
{
	struct entry *entries = calloc(n ? n : 1, sizeof(*entries));
	struct error scratch = {0}, told = {0};
	struct progress progress;
	uint64_t total = 0;
	size_t made = 0;
	int rc = 0;

	if (!err)
		err = &scratch;
	if (!entries)
		return error_set(err, ENOMEM, "no memory for %zu points", n);
	for (; !rc && made < n; made++) {
		entries[made].point = &points[made];
		rc = tally_create(&entries[made].tally, points[made].repetitions, err);
		total += points[made].repetitions;
	}
	progress_begin(&progress, watch->progress ? stderr : NULL, "bench", total);
	if (!rc)
		rc = run_matrix(entries, n, watch, sink, &progress, err);
	progress_end(&progress);
	if (rc == -EINTR && tell_interrupted(entries, n, sink, &told))
		rc = error_set(err, told.code, "%s", told.text);
	for (size_t i = 0; i < made; i++)
		entry_destroy(&entries[i]);
	free(entries);
	return rc;
}
