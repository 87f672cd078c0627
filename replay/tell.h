/* SPDX-License-Identifier: MIT */
/*
 * How a run speaks: the records that replay, bench and fidelity all send, each made in one place.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_TELL_H
#define REPLAY_TELL_H

#include <stdint.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "replay/clock.h"
#include "results/result.h"
#include "results/settings.h"
#include "sim/machine.h"
#include "traces/file/trace.h"
#include "traces/file/trace_check.h"

struct tell {
	struct result_sink *sink;
	struct error *err; /* where a failure of the sink is explained; never NULL */
	uint64_t heard_ns; /* when a sign of life was last sent */
	uint32_t rows;	   /* RESULT_METRIC_ROWs sent so far */
	/* Of the back end's counters: the row of each, in the order in which they were first seen. */
	uint32_t counter_row[ALLOCATOR_COUNTERS_MAX];
	const char *counter_name[ALLOCATOR_COUNTERS_MAX];
	size_t nr_counters;
};

/** Nothing said yet. @sink and @err must outlive it. */
void tell_init(struct tell *t, struct result_sink *sink, struct error *err);

/** Pass one record on. Return: 0 or the sink's error; so do all below. */
int tell_record(struct tell *t, const struct result_record *record);

/*
 * Who is told about: what tell_run() does not find out by itself. All strings are borrowed for the call.
 */
struct tell_run {
	const struct allocator_spec *spec;
	const struct machine *machine; /* part of the point */
	const char *
		asked; /* what is played or measured, for the point: "trace DIGEST", "bench frag" */
	const char *trace, *trace_digest, *trace_note; /* NULL: no trace */
	const char *mode, *label;
	uint64_t seed, start_ns;
	uint32_t threads;
	int32_t order; /* -1: not a benchmark of one order */
};

/**
 * tell_run - RESULT_RUN, with the point's id over all that identifies it, and a RESULT_SETTING each
 * The point: asked, machine, back end with its resolved options, mode, threads, order, seed, and every
 * setting that is no fact and not at its usual value.
 * Return: 0; -ENOMEM; or the sink's.
 */
int tell_run(struct tell *t, const struct tell_run *run, const struct settings *settings);

/* The facts that several kinds of run know, each stated in one place. */
void tell_machine_facts(struct settings *settings, const struct machine *m);
/** @totals: NULL: not known, of a file without an index. */
void tell_trace_facts(struct settings *settings, const struct trace_totals *totals);

#define TELL_NOTE_MAX 1024

/**
 * tell_trace_note - where a trace comes from: kernel release, recorder, its own note; cut at TELL_NOTE_MAX
 * @salvaged: what could be read of a damaged one; NULL: it is intact
 */
void tell_trace_note(char note[TELL_NOTE_MAX], const struct trace_header *header,
		     const struct trace_check *salvaged);

int tell_metric(struct tell *t, uint32_t metric, double value);
/**
 * tell_times - the figures of one operation's times: mean, percentiles, the slowest, how many there were
 * @first: METRIC_alloc_ns, METRIC_free_ns, METRIC_touch_ns, METRIC_late_ns
 * @mean: of all that are in @times, which may be known better than from it
 * A percentile of so few operations that even the slowest would be called that is undefined.
 */
int tell_times(struct tell *t, uint32_t first, double mean, const struct histogram *times);
int tell_freelist(struct tell *t, uint32_t sample, enum freelist_source source,
		  const uint64_t blocks[NR_ORDERS]);
int tell_blockmap(struct tell *t, uint32_t sample, enum blockmap_layer layer, uint64_t first_block,
		  const uint16_t *values, size_t n);
/** One line for people; cut at 400 bytes. */
int tell_warning(struct tell *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** A warning: the counter cannot be trusted, and why. */
int tell_clock(struct tell *t, const struct clock_choice *clock);
/** What was measured of the clock that times are by. */
int tell_clock_metrics(struct tell *t, const struct stamp_clock *clock);
/** What stands against the run: a RESULT_DOUBT for each kind that was counted. */
int tell_doubts(struct tell *t, const struct doubts *doubts);
/**
 * tell_check - have the back end check its own state
 * A failure is told as a warning, and counted in @doubts. One without a check of its own passes.
 */
int tell_check(struct tell *t, const struct allocator_ops *ops, struct allocator *a,
	       struct doubts *doubts);
/**
 * tell_stats_doubt - do the back end's statistics agree with the frames it holds?
 * @held_by_nobody: that its free and cached frames together should be
 * @when: of the statistics, for people
 * A contradiction is counted in @doubts; the first is told as a warning.
 */
int tell_stats_doubt(struct tell *t, const struct allocator_stats *stats, double held_by_nobody,
		     const char *when, struct doubts *doubts);
/** The run is over and its results are whole. */
int tell_done(struct tell *t);

/** A sign of life if the last is half a second old: whoever watches for a hang hears of what is merely long. */
int tell_alive(struct tell *t);

/**
 * tell_row - declare a metric or counter that is not in the engine's table
 * @source: who brings it
 * @metric: its number from now on
 * Return: 0; -E2BIG: more than RESULT_ROWS_MAX; or the sink's.
 */
int tell_row(struct tell *t, const char *source, const struct metric_info *info, uint32_t *metric);

/**
 * tell_counters - what a back end has counted so far
 * @sample: its index, or RESULT_AT_END
 * A counter is declared when it is first seen, as the back end's table describes it (of a layer, its own
 * table or an inner one's); one that no table has is a plain exact number.
 * Return: 0; -E2BIG: more names than ALLOCATOR_COUNTERS_MAX; or the sink's.
 */
int tell_counters(struct tell *t, const struct allocator_spec *spec,
		  const struct allocator_stats *stats, uint32_t sample);

#endif
