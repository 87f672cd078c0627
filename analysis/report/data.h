/* SPDX-License-Identifier: MIT */
/*
 * What a report shows, read from the database once: the page and the plots then agree by
 * construction, and neither knows SQL. Private to analysis/report/.
 */
#ifndef ANALYSIS_REPORT_DATA_H
#define ANALYSIS_REPORT_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "results/metrics.h"
#include "results/result.h"

struct report_sample {
	double seconds; /* trace time since the run's first sample */
	double free_huge, moves_to_compact;
};

struct report_run {
	int64_t id;
	/* Unique within its trace: the allocator, and what tells it from others of that name. */
	const char *name;
	const char
		*trace; /* of a run outside a struct report_trace: the trace's name; "": unknown */
	const char *allocator, *summary, *spec, *options, *label, *started;
	const char *mode, *build_id, *host;
	const char *status, *why; /* of one that did not finish */
	const char *out_for;	  /* what stands against it, "a,b"; "": nothing */
	int64_t latest;	   /* of one that did not finish: the run before it that did; 0: none */
	const char *newer; /* status of a newer run that did not finish; NULL: none */
	const char *asked; /* settings that make a question of their own, "a=b,c=d" */
	uint64_t seed;
	uint32_t threads;
	int32_t order;			 /* of a benchmark's blocks, else -1 */
	struct result_setting *settings; /* by key */
	size_t n_settings;
	enum run_role role;
	bool may_compete;     /* whether it may be called best, as the database says */
	struct doubts doubts; /* what stands against it */
	unsigned int colour;  /* the same for the same name in the whole report */
	double value[METRIC_COUNT];
	struct histogram *latency[LATENCY_OPS]; /* over all cpus, orders and paths; NULL: none */
	struct histogram *path[LATENCY_OPS][LATENCY_PATHS];
	struct report_sample *samples;
	size_t n_samples;
	const char **warnings;
	size_t n_warnings;
};

/* What is not in the engine's table of metrics: rows that runs brought, against the runs of a trace. */
struct report_row {
	const char *source, *name, *unit, *help;
	const char *model; /* NULL: counted or measured, not modelled */
};

struct report_cell {
	double value;  /* NaN: the run does not have it */
	double beside; /* what stands beside it, NaN: nothing */
};

struct report_grid {
	struct report_row *rows;
	struct report_cell *cells; /* of each row one for each run */
	size_t n, room;
};

struct report_trace {
	const char *name; /* of the file, and what tells it from others of that name */
	const char *file, *digest, *note; /* all "": a trace without a digest, with one run */
	struct report_run *
		runs; /* reference first, harness last, by name between; behind them those set apart */
	size_t n_runs;
	struct report_grid metrics, counters;
	struct report_grid flags; /* beside: share of all allocations */
	struct report_grid
		pinned; /* blocks by class (source) and migratetype (name); beside: frames */
};

struct report_arena;
struct bench_figure; /* bench.h */

struct report_data {
	struct report_trace *traces;
	size_t n_traces;
	/* Fidelity runs: by trace, back end and options; only id to settings, metrics and warnings. */
	struct report_run *fidelity;
	size_t n_fidelity;
	/* Benchmarks, by what was asked; and the figures there are of them. */
	struct report_run *bench;
	size_t n_bench;
	struct bench_figure *figures;
	size_t n_figures;
	/* Runs that did not finish, and no other like them since: no settings, metrics, warnings. */
	struct report_run *unfinished;
	size_t n_unfinished;
	struct report_arena *arena; /* owns everything above */
};

/** Free all. An all-zero @data is allowed. */
void report_data_free(struct report_data *data);

/**
 * Memory that lives as long as the data; zeroed. Return: NULL: none left. Of no object, or none at all.
 */
void *report_alloc(struct report_data *data, size_t n, size_t size);

/** The setting of @run called @key; NULL: not said, as if at its usual value. */
const struct result_setting *report_setting(const struct report_run *run, const char *key);

/** Whether a run began with other memory than was asked for, so that its row stands apart from the others. */
bool report_set_apart(const struct report_run *run);

/** Whether two runs had the same value of @key, or the usual one where one does not say. */
bool report_setting_same(const struct report_run *a, const struct report_run *b, const char *key);

/**
 * report_next_key - the first key after @after, in alphabetical order, that one of the runs has in a role
 * up to @last
 * @after: NULL: the first of all
 * Return: NULL: no more.
 */
const char *report_next_key(const struct report_run *runs, size_t n, const char *after,
			    enum setting_role last);

/**
 * report_comparable - whether one of two runs of a trace may be called better in @metric
 * They were asked the same, and what was timed was timed on one host.
 */
bool report_comparable(const struct report_run *a, const struct report_run *b, enum metric metric);

#endif
