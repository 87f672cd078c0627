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

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "results/result.h"

enum bench_kind {
	BENCH_BULK,   /* allocate half of what is free, then free it in the same order */
	BENCH_REPEAT, /* free a block and allocate one, again and again */
	BENCH_RAND,   /* as bulk, freed in random order */
	BENCH_FRAG,   /* rounds of random frees and allocations; where did the frames end up? */
};

/** Names in the order of the enum, NULL-terminated; a run's mode is "bench-NAME". */
extern const char *const bench_kind_names[];

#define BENCH_REPETITIONS_MAX 1000

#define BENCH_LEAST_BLOCKS (UINT64_C(1) << 16) /* of a phase of about 2 ms */

struct bench_point {
	enum bench_kind kind;
	const struct allocator_spec *spec;
	uint64_t memory_bytes; /* of the simulated machine: one zone from pfn 0 */
	uint32_t cpus;	       /* of the simulated machine */
	uint32_t threads; /* thread i allocates and frees as cpu i; frag: 1, which plays all cpus */
	uint32_t order;
	uint32_t
		fill; /* percent of memory in use at the start, scattered; frag: allocated at first */
	uint32_t rounds; /* frag */
	uint32_t repetitions;
	uint64_t seed;
	/* bulk, rand: where a thread's share is less, it is allocated and freed again and again until
	   it has come to so many, after a first time that is not timed; 0: once, and that is timed */
	uint64_t least_blocks;
	bool oracle;	   /* check every frame handed out, outside the timed parts */
	const char *label; /* NULL: none */
};

/**
 * bench_fits - can this point be measured?
 * Return: 0; -EINVAL: the parameters make no sense together, or not on this host (more threads than
 * CPUs we may use); -ENOTSUP: they do, but not for this back end (several threads and not CONCURRENT;
 * an ECHO one; frag and an UNCHECKED one). The message names the parameter and a remedy.
 */
int bench_fits(const struct bench_point *point, struct error *err);

/**
 * bench_run - one repetition of a point that fits, in this process
 * Changes the CPU affinity of the calling thread. The sink gets RESULT_RUN first and RESULT_DONE
 * last; after an error no RESULT_DONE. Samples come from frag alone: one after each round, numbered
 * so, 0 before the first.
 * Return: 0; the back end's error (create failed); the sink's; -ENOMEM; -EAGAIN: no more threads.
 */
int bench_run(const struct bench_point *point, struct result_sink *sink, struct error *err);

struct bench_watch {
	unsigned int timeout_s; /* without a record for so long, a repetition hangs; 0: wait */
	const volatile sig_atomic_t
		*stop; /* set by a signal handler to end it all; NULL: cannot be */
	bool progress; /* a status line on stderr when that is a terminal */
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
