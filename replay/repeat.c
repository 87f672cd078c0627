/* SPDX-License-Identifier: MIT */
#include "replay/repeat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "replay/tally.h"

/* One point and what became of it so far. */
struct entry {
	const struct repeat_point *point;
	struct tally tally;
	enum run_status status; /* RUN_RUNNING: not decided yet */
	bool begun;
	char text[ERROR_TEXT_MAX]; /* why it failed; "": it did not. No memory may be the reason. */
	int code;		   /* that as an errno */
};

static void entry_destroy(struct entry *e)
{
	tally_destroy(&e->tally);
	e->text[0] = '\0';
}

/* The whole run of a point whose repetitions are over, if it has begun to say anything. */
static int tell_point(struct entry *e, struct result_sink *sink, struct error *err)
{
	const struct result_record done = {.kind = RESULT_DONE,
					   .done = {.status = e->status,
						    .text = e->text[0] ? e->text : NULL,
						    .code = e->code}};
	int rc = tally_tell_run(&e->tally, sink, err);

	if (!rc)
		rc = tally_tell(&e->tally, e->status == RUN_DONE, sink, err);
	return rc ? rc : sink->take(sink, &done, err);
}

static int note_failure(struct entry *e, int rc, const struct error *why)
{
	e->status = e->tally.status;
	/* It has not said so itself if it had not begun to speak. */
	if (e->status == RUN_RUNNING)
		e->status = rc == -EINTR			? RUN_INTERRUPTED
			    : rc == -ECHILD || rc == -ETIMEDOUT ? RUN_CRASHED
								: RUN_FAILED;
	if (e->point->repetitions > 1 && rc != -EINTR)
		snprintf(e->text, sizeof(e->text), "%.*s (repetition %u of %u)",
			 (int)sizeof(e->text) - 64, why->text, e->tally.done + 1,
			 e->point->repetitions);
	else
		snprintf(e->text, sizeof(e->text), "%s", why->text);
	e->code = -rc;
	return rc == -EINTR ? rc : 0;
}

/* One more repetition. Return: 0, whatever became of it; -EINTR: stopped. */
static int repeat_point(struct entry *e, struct error *err)
{
	int rc;

	e->begun = true;
	rc = isolate_run(&e->point->job, &e->tally.sink, err);
	if (rc)
		return note_failure(e, rc, err);
	if (e->tally.done == e->point->repetitions)
		e->status = RUN_DONE;
	return 0;
}

struct matrix {
	const struct repeat_config *config;
	struct entry *entries;
	size_t n;
	struct result_sink *sink;
	struct progress progress;
	uint64_t done;
	struct error unsaid; /* the first failure that no run tells; code 0: none */
};

/* A point is over. Return: 0 or the sink's error. */
static int conclude(struct matrix *m, struct entry *e, struct error *err)
{
	int rc = 0;

	if (tally_has_run(&e->tally))
		rc = tell_point(e, m->sink, err);
	else if (e->code && !m->unsaid.code)
		error_set(&m->unsaid, e->code, "%s", e->text);
	entry_destroy(e);
	/* Told, at any rate; and nothing begun is left to tell. */
	e->status = RUN_DONE;
	e->begun = false;
	return rc;
}

/* The next repetition of each point that has one. Return: as repeat_all(). */
static int one_round(struct matrix *m, bool *more, struct error *err)
{
	for (size_t i = 0; i < m->n; i++) {
		struct entry *e = &m->entries[i];
		int rc;

		if (e->status != RUN_RUNNING)
			continue;
		if (m->config->stop && *m->config->stop)
			return error_set(err, EINTR, "interrupted");
		rc = repeat_point(e, err);
		if (rc)
			return rc;
		progress_update(&m->progress, ++m->done);
		if (e->status == RUN_RUNNING) {
			*more = true;
			continue;
		}
		rc = conclude(m, e, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Stopped: those that began have nothing whole to tell, and say so. */
static int tell_interrupted(struct matrix *m, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < m->n; i++) {
		struct entry *e = &m->entries[i];

		if (!e->begun || !tally_has_run(&e->tally))
			continue;
		e->status = RUN_INTERRUPTED;
		e->code = EINTR;
		if (!e->text[0])
			snprintf(e->text, sizeof(e->text), "interrupted after %u of %u repetitions",
				 e->tally.done, e->point->repetitions);
		rc = tell_point(e, m->sink, err);
	}
	return rc;
}

static int run_matrix(struct matrix *m, struct error *err)
{
	struct error told = {0};
	bool more = true;
	int rc = 0;

	while (!rc && more) {
		more = false;
		rc = one_round(m, &more, err);
	}
	if (rc == -EINTR && tell_interrupted(m, &told))
		rc = error_set(err, told.code, "%s", told.text);
	if (!rc && m->unsaid.code)
		rc = error_set(err, m->unsaid.code, "%s", m->unsaid.text);
	return rc;
}

int repeat_all(const struct repeat_config *config, const struct repeat_point *points, size_t n,
	       struct result_sink *sink, struct error *err)
{
	struct matrix m = {.config = config, .n = n, .sink = sink};
	struct error scratch = {0};
	uint64_t total = 0;
	size_t made = 0;
	int rc = 0;

	if (!err)
		err = &scratch;
	m.entries = calloc(n ? n : 1, sizeof(*m.entries));
	if (!m.entries)
		return error_set(err, ENOMEM, "no memory for %zu points", n);
	for (; !rc && made < n; made++) {
		m.entries[made].point = &points[made];
		rc = tally_create(&m.entries[made].tally, points[made].repetitions, err);
		total += points[made].repetitions;
	}
	progress_begin(&m.progress, config->progress ? stderr : NULL, config->name, total);
	if (!rc)
		rc = run_matrix(&m, err);
	progress_end(&m.progress);
	for (size_t i = 0; i < made; i++)
		entry_destroy(&m.entries[i]);
	free(m.entries);
	return rc;
}
