/* SPDX-License-Identifier: MIT */
/*
 * From what the repetitions of one point said to what is told of it as one run.
 *
 * Noisy metrics become their median, and each has its spread told (RESULT_SPREAD). Exact and modelled ones are
 * the same in all repetitions, else the worst is told, with a warning and a doubt; of doubts, the worst is told as well.
 * Who it is, its settings, samples, counters, flags, latencies and all that belongs to them are those of the
 * first repetition. A warning is told once, however many had it.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_TALLY_H
#define REPLAY_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "results/result.h"

/* A metric that somebody brought by a RESULT_METRIC_ROW, known by who brings it and its name. */
struct tally_row {
	char *source, *name;
	enum metric_kind kind;
	enum metric_direction direction;
	double *values; /* one per repetition */
};

struct tally {
	struct result_sink sink;	/* takes what the repetitions say, one after the other */
	uint32_t repetitions;		/* that will be */
	uint32_t done;			/* that ended well */
	enum run_status status;		/* RUN_RUNNING, or how a repetition failed */
	double (*values)[METRIC_COUNT]; /* a row per repetition */
	struct tally_row *rows;
	size_t nr_rows;
	uint32_t *number; /* of the repetition that speaks: its n-th row is rows[number[n]] */
	size_t nr_numbers;
	struct doubts doubts; /* of each kind the most that a repetition counted */
	uint32_t begun;	      /* repetitions that have told their RESULT_RUN */
	int run_fd;	      /* that of the first, and its settings, serialised; -1: nothing */
	int fd;		      /* what else is to be passed on as it came; -1: nothing */
	char **warnings;      /* each text once */
	size_t nr_warnings;
};

/** Return: 0 or -ENOMEM; tally_destroy() in any case. */
int tally_create(struct tally *t, uint32_t repetitions, struct error *err);
void tally_destroy(struct tally *t); /* again is allowed */

/** Has a repetition said who it is? */
static inline bool tally_has_run(const struct tally *t)
{
	return t->begun > 0;
}

/** tally_tell_run - the run itself and its settings. Return: 0; -ENOMEM; or the sink's. */
int tally_tell_run(struct tally *t, struct result_sink *sink, struct error *err);

/**
 * tally_tell - everything but the run itself, its settings and its end
 * @whole: all repetitions ended well; else there is nothing to tell but doubts and warnings
 * Return: 0; -ENOMEM; or the sink's.
 */
int tally_tell(struct tally *t, bool whole, struct result_sink *sink, struct error *err);

#endif
