/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "replay/bench/bench.h"
#include "replay/repeat.h"

static int body(const void *arg, struct run_position *at, struct result_sink *sink,
		struct error *err)
{
	return bench_run(arg, at, sink, err);
}

int bench_run_all(const struct bench_point *points, size_t n, const struct bench_watch *watch,
		  struct result_sink *sink, struct error *err)
{
	const struct repeat_config config = {
		.name = "bench", .progress = watch->progress, .stop = watch->run.stop};
	struct repeat_point *repeated = calloc(n ? n : 1, sizeof(*repeated));
	int rc;

	if (!repeated)
		return error_set(err, ENOMEM, "no memory for %zu points", n);
	for (size_t i = 0; i < n; i++)
		repeated[i] = (struct repeat_point){
			.job = {.name = points[i].spec->text,
				.body = body,
				.arg = &points[i],
				.watch = watch->run},
			.repetitions = points[i].repetitions,
		};
	rc = repeat_all(&config, repeated, n, sink, err);
	free(repeated);
	return rc;
}
