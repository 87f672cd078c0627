/* SPDX-License-Identifier: MIT */
/*
 * Micro-benchmarks: what an allocation and a free cost (bulk, repeat, rand), and how memory fragments
 * under churn (frag), without a trace. docs/benchmarks.md tells what each does, step by step.
 *
 * One point is one back end with one set of parameters, and becomes one run. It is measured several
 * times; a repetition is a process of its own, with a fresh instance, and does exactly the same as
 * every other.
 */
#ifndef REPLAY_BENCH_BENCH_H
#define REPLAY_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "replay/bench/point.h"
#include "replay/isolate.h"
#include "results/result.h"

/**
 * bench_run - one repetition of a point that fits, in this process
 * @at: kept up to date for who watches; NULL: nobody does
 * Changes the CPU affinity of the calling thread. The sink gets RESULT_RUN first and RESULT_DONE
 * last; after an error no RESULT_DONE. Samples come from frag alone: one after each round, numbered
 * so, 0 before the first.
 * Return: 0; the back end's error (create failed); the sink's; -ENOMEM; -EAGAIN: no more threads.
 */
int bench_run(const struct bench_point *point, struct run_position *at, struct result_sink *sink,
	      struct error *err);

struct bench_watch {
	struct run_watch run; /* of each repetition; its `stop` ends it all */
	bool progress;	      /* a status line on stderr when that is a terminal */
};

/**
 * bench_run_all - measure points that fit, one run each
 * Repetitions are interleaved: the first of every point in the order given, then the second, and so
 * on; each runs isolated (replay/isolate.h). A point that fails, crashes or hangs is not tried again,
 * and costs the others nothing.
 * The sink gets the runs one after the other, each from RESULT_RUN to RESULT_DONE, as soon as it is
 * complete. A noisy metric is the median over the repetitions (with its spread in a metric of its
 * own); an exact one is the same in all of them, else the worst is told, with a warning.
 * Return: 0: all points are told, with whatever status; -EINTR: stopped, those begun are told as
 * interrupted; the sink's error; -ENOMEM.
 */
int bench_run_all(const struct bench_point *points, size_t n, const struct bench_watch *watch,
		  struct result_sink *sink, struct error *err);

#endif
