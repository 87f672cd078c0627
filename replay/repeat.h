/* SPDX-License-Identifier: MIT */
/*
 * Many points, each measured several times, and told as one run each. The machine's mood changes over minutes
 * (frequency, other tenants), so the repetitions of all points are interleaved: the first of every point in
 * the order given, then the second, and so on. What changes, changes for all of them.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_REPEAT_H
#define REPLAY_REPEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "replay/isolate.h"
#include "results/result.h"

struct repeat_point {
	struct isolated_job job; /* one repetition; each does exactly the same */
	uint32_t repetitions;	 /* at least 1 */
};

struct repeat_config {
	const char *name;		   /* of the status line */
	bool progress;			   /* that line on stderr when that is a terminal */
	const volatile sig_atomic_t *stop; /* as in the jobs: ends it all; NULL: cannot be */
};

/**
 * repeat_all - measure all points
 * Each repetition runs isolated (replay/isolate.h). A point that fails, crashes or hangs is not tried again, and
 * costs the others nothing. The sink gets the runs one after the other, each from RESULT_RUN to RESULT_DONE, as
 * soon as it is complete; what is told of several repetitions, replay/tally.h says.
 * Return: 0: all points are told, with whatever status; -EINTR: stopped, those begun are told as interrupted;
 * the sink's error; -ENOMEM; or else the first error of a point of which there is nothing to tell, since it
 * failed before its RESULT_RUN.
 */
int repeat_all(const struct repeat_config *config, const struct repeat_point *points, size_t n,
	       struct result_sink *sink, struct error *err);

#endif
