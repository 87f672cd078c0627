/* SPDX-License-Identifier: MIT */
/*
 * What a report shows, read from the database once: the page and the plots then agree by
 * construction, and neither knows SQL. Private to analysis/.
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
	double free_huge;
};

/* What must be equal for two rows of a table to be compared without a second thought. */
struct report_setup {
	const char *mode, *memory, *prefill, *build_id, *host;
	uint64_t seed;
	uint32_t threads;
	bool oracle;
};

struct report_run {
	int64_t id;
	const char *
		name; /* unique within its trace: the allocator, or more where that is not enough */
	const char *trace; /* of a fidelity run: its path */
	const char *allocator, *summary, *spec, *options, *label, *started;
	struct report_setup setup;
	enum run_role role;
	unsigned int colour; /* the same for the same name in the whole report */
	uint64_t events, ops, managed_frames;
	uint32_t cpus;
	double value[METRIC_COUNT];
	struct histogram *latency[LATENCY_OPS]; /* over all cpus and orders; NULL: none */
	struct report_sample *samples;
	size_t n_samples;
	const char **warnings;
	size_t n_warnings;
};

struct report_trace {
	const char *path, *digest, *note;
	struct report_run *runs; /* reference first, harness last, by name between */
	size_t n_runs;
};

struct report_arena;

struct report_data {
	struct report_trace *traces;
	size_t n_traces;
	/* Fidelity runs: by trace, back end and options; only id to ops, metrics and warnings. */
	struct report_run *fidelity;
	size_t n_fidelity;
	struct report_arena *arena; /* owns everything above */
};

/**
 * report_data_read - the latest finished replay of each (trace, allocator, options), and likewise of
 * the fidelity runs, those with and without hindsight
 * @label: only runs so labelled; NULL: all
 * Return: 0; -ENOENT no database, or no finished replay in it; -EBADMSG; -EPROTONOSUPPORT;
 * -EBUSY; -ENOMEM; or another I/O errno.
 */
int report_data_read(const char *database, const char *label, struct report_data *data,
		     struct error *err);

/** Free all. An all-zero @data is allowed. */
void report_data_free(struct report_data *data);

#endif
