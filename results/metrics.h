/* SPDX-License-Identifier: MIT */
/*
 * The one table of metrics: name (the same in JSON, SQLite and reports), unit, direction, whether it
 * is exact (same trace, parameters and seed give the same bits on any machine) or noisy (a timing),
 * and help. Everything that lists metrics expands it; nothing restates it. Rows that daemons, benchmarks
 * and back ends bring come in RESULT_METRIC_ROW records (results/result.h).
 *
 * X(name, unit, direction, kind, help). STATE metrics exist per sample and at the end, and each has
 * a twin NAME_mean, the average over a run's samples. A value that is undefined is NaN in memory and
 * null wherever it is written.
 */
#ifndef RESULTS_METRICS_H
#define RESULTS_METRICS_H

#include <stddef.h>

#include "base/metric.h"

#define HEALTH_METRICS(X)                                                                          \
	X(events, "", NEUTRAL, EXACT, "records of the trace, of every kind")                       \
	X(ops, "", NEUTRAL, EXACT, "allocations and frees asked for by the trace")                 \
	X(allocs, "", NEUTRAL, EXACT, "allocations asked for")                                     \
	X(frees, "", NEUTRAL, EXACT, "frees asked for")                                            \
	X(lost_events, "", LOWER, EXACT, "events the recorder says it lost")                       \
	X(orphan_frees, "", LOWER, EXACT,                                                          \
	  "frees of frames in no object the trace tells of: so many events")                       \
	X(implicit_frees, "", LOWER, EXACT,                                                        \
	  "objects freed because their frames were reused: the trace lacks a free")                \
	X(ghost_frees, "", LOWER, EXACT,                                                           \
	  "frees of objects no back end holds (refused, unreplayable), dropped")                   \
	X(split_frees, "", NEUTRAL, EXACT, "frees of parts of live objects: so many events")       \
	X(deferred_frames, "frames", NEUTRAL, EXACT,                                               \
	  "frames whose free waited for the last part of their block (no SPLIT)")                  \
	X(recorded_failures, "", NEUTRAL, EXACT, "allocations that failed in the recording")       \
	X(rescued_failures, "", HIGHER, EXACT,                                                     \
	  "recorded failures for which this back end had an aligned free block")                   \
	X(alloc_failures, "", LOWER, EXACT, "allocations this back end refused")                   \
	X(prefill_failures, "", LOWER, EXACT, "objects of the start snapshot it could not place")  \
	X(compaction_moves, "frames", NEUTRAL, EXACT,                                              \
	  "moved by the recorded kernel's compaction, to places it does not tell")                 \
	X(compaction_returns, "frames", NEUTRAL, EXACT,                                            \
	  "of those moved, given back by frees of frames in no object")                            \
	X(compaction_unplaced, "frames", LOWER, EXACT,                                             \
	  "of those moved, held nowhere: no frame that the end snapshot finds in use was left")    \
	X(unreplayable, "", LOWER, EXACT,                                                          \
	  "allocations above the largest order or misaligned, moves of nothing, memory that "      \
	  "comes "                                                                                 \
	  "or goes on another machine; skipped")                                                   \
	X(hotplug_refusals, "", LOWER, EXACT,                                                      \
	  "ranges that came online or went offline, refused by the back end")                      \
	X(zone_mismatches, "", NEUTRAL, EXACT,                                                     \
	  "placements in a higher zone than the request allows, or off its node with "             \
	  "GFP_THISNODE: by back ends that do not honour zones, and of the start snapshot; needs " \
	  "the oracle")                                                                            \
	X(node_misses, "", LOWER, EXACT,                                                           \
	  "allocations served from another node than they asked for; the start snapshot's apart")  \
	X(node_distance, "", LOWER, EXACT,                                                         \
	  "mean distance of allocations from the node they asked for, 10 being itself; of "        \
	  "machines with several nodes")                                                           \
	X(oracle_violations, "", LOWER, EXACT,                                                     \
	  "frames out of range, misaligned, handed out twice, or frees refused")                   \
	X(end_parked_frames, "frames", NEUTRAL, EXACT,                                             \
	  "free at the end here, not in the kernel's free lists: per-CPU lists and the unseen")    \
	X(end_missed_frames, "frames", LOWER, EXACT,                                               \
	  "in the kernel's free lists at the end, but live here: frees the trace lacks")           \
	X(end_pcp_frames, "frames", NEUTRAL, EXACT,                                                \
	  "what the kernel said its per-CPU lists held at the end")

#define ORDER_METRICS(X, prefix, text)                                                             \
	X(prefix##_o0, "", LOWER, EXACT, text ", order 0")                                         \
	X(prefix##_o1, "", LOWER, EXACT, text ", order 1")                                         \
	X(prefix##_o2, "", LOWER, EXACT, text ", order 2")                                         \
	X(prefix##_o3, "", LOWER, EXACT, text ", order 3")                                         \
	X(prefix##_o4, "", LOWER, EXACT, text ", order 4")                                         \
	X(prefix##_o5, "", LOWER, EXACT, text ", order 5")                                         \
	X(prefix##_o6, "", LOWER, EXACT, text ", order 6")                                         \
	X(prefix##_o7, "", LOWER, EXACT, text ", order 7")                                         \
	X(prefix##_o8, "", LOWER, EXACT, text ", order 8")                                         \
	X(prefix##_o9, "", LOWER, EXACT, text ", order 9")                                         \
	X(prefix##_o10, "", LOWER, EXACT, text ", order 10")

#define STATE_METRICS(X)                                                                           \
	X(free_frames, "frames", NEUTRAL, EXACT, "managed frames in no live object")               \
	X(free_huge, "huge frames", HIGHER, EXACT, "wholly free 2 MiB blocks")                     \
	X(huge_score, "%", HIGHER, EXACT,                                                          \
	  "free huge frames as a share of those the free frames could form")                       \
	X(free_share_2m, "", HIGHER, EXACT, "share of free memory in free aligned 2 MiB blocks")   \
	X(free_share_16m, "", HIGHER, EXACT, "share of free memory in free aligned 16 MiB blocks") \
	X(free_share_128m, "", HIGHER, EXACT,                                                      \
	  "share of free memory in free aligned 128 MiB blocks")                                   \
	X(free_share_1g, "", HIGHER, EXACT, "share of free memory in free aligned 1 GiB blocks")   \
	X(unmovable_frames, "frames", NEUTRAL, EXACT,                                              \
	  "frames in unmovable objects, those in blocks with a hole, too: how much memory is "     \
	  "held")                                                                                  \
	X(unmovable_blocks, "blocks", LOWER, EXACT,                                                \
	  "2 MiB blocks with an unmovable frame: what stands in the way of huge frames; none "     \
	  "with a hole, which can never be one")                                                   \
	X(mixed_blocks, "blocks", LOWER, EXACT, "2 MiB blocks with unmovable and movable frames")  \
	X(pinned_huge, "blocks", LOWER, EXACT, "2 MiB blocks held by unmovable frames alone")      \
	X(moves_to_compact, "frames", LOWER, EXACT,                                                \
	  "frames to move until the held ones fill the fewest 2 MiB blocks")                       \
	X(moves_to_compact_movable, "frames", LOWER, EXACT,                                        \
	  "the same, emptying only blocks without an unmovable frame, these first among equals")   \
	ORDER_METRICS(X, unusable_index, "share of free memory in blocks too small")               \
	ORDER_METRICS(X, fragmentation_index,                                                      \
		      "1: a failure would be fragmentation, 0: lack of memory, -1: none")          \
	X(cached_frames, "frames", NEUTRAL, EXACT,                                                 \
	  "free frames parked in the back end's caches, as it says")                               \
	X(kernel_free_frames, "frames", NEUTRAL, EXACT,                                            \
	  "free frames by the back end's own lists, parked ones excluded")                         \
	X(kernel_free_huge, "huge frames", HIGHER, EXACT,                                          \
	  "free blocks of 2 MiB by the back end's own lists")                                      \
	ORDER_METRICS(X, kernel_unusable_index, "unusable_index by the back end's own lists")      \
	ORDER_METRICS(X, kernel_fragmentation_index,                                               \
		      "fragmentation_index by the back end's own lists")

/* What an operation takes, by time stamps. */
#define TIME_METRICS(X, prefix, one, many, such)                                                   \
	X(prefix##_ns, "ns", LOWER, NOISY, "mean time of " one)                                    \
	X(prefix##_ns_p50, "ns", LOWER, NOISY, "median time of " one)                              \
	X(prefix##_ns_p90, "ns", LOWER, NOISY, "90th percentile of " many)                         \
	X(prefix##_ns_p99, "ns", LOWER, NOISY, "99th percentile of " many)                         \
	X(prefix##_ns_p999, "ns", LOWER, NOISY, "99.9th percentile of " many)                      \
	X(prefix##_ns_p9999, "ns", LOWER, NOISY, "99.99th percentile of " many)                    \
	X(prefix##_ns_max, "ns", LOWER, NOISY, "slowest " such)                                    \
	X(prefix##_ns_count, "", NEUTRAL, NOISY, "how many " many " the times of them come from")

#define RUN_METRICS(X)                                                                             \
	X(metadata_bytes, "bytes", LOWER, EXACT, "memory the back end took for itself")            \
	X(events_per_second, "1/s", HIGHER, NOISY,                                                 \
	  "records of every kind replayed per second, samples not counted")                        \
	X(ops_per_second, "1/s", HIGHER, NOISY,                                                    \
	  "allocations and frees replayed per second, samples not counted")                        \
	TIME_METRICS(X, alloc, "an allocation", "allocations", "allocation")                       \
	TIME_METRICS(X, free, "a free", "frees", "free")                                           \
	TIME_METRICS(X, touch, "using what an allocation gave, in real memory", "such uses",       \
		     "such use")                                                                   \
	TIME_METRICS(X, late,                                                                      \
		     "being late: timed replay, from when an operation was due until it began",    \
		     "such delays", "such delay")                                                  \
	X(late_share, "", LOWER, NOISY,                                                            \
	  "timed replay: share of the operations that began more than 1 ms late")                  \
	X(behind_ns, "ns", LOWER, NOISY,                                                           \
	  "timed replay: so much later than due its last operation was over")                      \
	X(touched_frames, "frames", LOWER, EXACT,                                                  \
	  "real memory: frames handed out at least once, how far the back end wanders")            \
	X(cleared_bytes, "bytes", NEUTRAL, EXACT,                                                  \
	  "real memory: set to zero when it was handed out")                                       \
	X(minor_faults, "", LOWER, NOISY,                                                          \
	  "page faults of the run's process while it played, the engine's own among them")         \
	X(resident_bytes, "bytes", LOWER, NOISY, "real memory that the host had given at the end") \
	X(huge_page_bytes, "bytes", HIGHER, NOISY, "of them, those in huge pages of the host")     \
	X(peak_rss_bytes, "bytes", LOWER, NOISY, "most memory the run's process held")             \
	X(cas_ns, "ns", NEUTRAL, NOISY, "one uncontended compare-and-swap on this machine")        \
	X(clock_overhead_ns, "ns", NEUTRAL, NOISY,                                                 \
	  "what a time stamp takes; it is taken off each time")                                    \
	X(clock_step_ns, "ns", NEUTRAL, NOISY,                                                     \
	  "time stamps are multiples of it; the error of a percentile below ten of it")            \
	X(involuntary_switches, "", NEUTRAL, NOISY,                                                \
	  "times that the run's process lost its CPU to another while it played")                  \
	X(voluntary_switches, "", NEUTRAL, NOISY,                                                  \
	  "times that it waited for something meanwhile, such as the trace's file")                \
	X(cpu_migrations, "", NEUTRAL, NOISY,                                                      \
	  "times that it went on on another CPU of the host meanwhile")                            \
	X(pair_ns, "ns", LOWER, NOISY, "mean time of an allocation and a free together")           \
	X(alloc_cas, "", LOWER, NOISY, "alloc_ns in units of the same run's cas_ns")               \
	X(free_cas, "", LOWER, NOISY, "free_ns in units of the same run's cas_ns")                 \
	X(pair_cas, "", LOWER, NOISY, "pair_ns in units of the same run's cas_ns")                 \
	X(alloc_ns_spread, "", NEUTRAL, NOISY,                                                     \
	  "alloc_ns over the repetitions: largest less smallest, as a share of the median")        \
	X(free_ns_spread, "", NEUTRAL, NOISY, "the same for free_ns")                              \
	X(pair_ns_spread, "", NEUTRAL, NOISY, "the same for pair_ns")

/* A back end against the kernel that recorded the trace; fidelity runs only. */
#define FIDELITY_METRICS(X)                                                                        \
	X(hit_accuracy_b, "", HIGHER, EXACT,                                                       \
	  "per-CPU list hits foreseen to the frame, recorded refills and drains forced")           \
	X(refill_accuracy_b, "", HIGHER, EXACT, "blocks of refills foreseen, likewise")            \
	X(direct_accuracy_b, "", HIGHER, EXACT,                                                    \
	  "blocks taken from the free lists for one request foreseen, likewise")                   \
	X(decision_accuracy_b, "", HIGHER, EXACT, "allocations foreseen, likewise")                \
	X(hit_accuracy_a, "", HIGHER, EXACT, "the same from allocations and frees alone: hits")    \
	X(refill_accuracy_a, "", HIGHER, EXACT, "allocations that led to a refill")                \
	X(direct_accuracy_a, "", HIGHER, EXACT, "allocations past the per-CPU lists")              \
	X(decision_accuracy_a, "", HIGHER, EXACT, "all allocations")                               \
	X(lifo_accuracy, "", NEUTRAL, EXACT,                                                       \
	  "allocations foreseen by: what this cpu freed last of that order")                       \
	X(free_order_distance, "", LOWER, EXACT,                                                   \
	  "free-running: half the sum of differences of free blocks of orders 0..9, per block")    \
	X(pageblock_distance, "", LOWER, EXACT,                                                    \
	  "free-running: share of pageblocks of another type than the kernel's, by counts")        \
	X(refill_ratio, "", NEUTRAL, EXACT,                                                        \
	  "free-running: blocks taken from the free lists, per block the kernel took")             \
	X(drain_ratio, "", NEUTRAL, EXACT,                                                         \
	  "free-running: blocks given back from per-CPU lists, per block of the kernel's")         \
	X(extfrag_ratio, "", NEUTRAL, EXACT,                                                       \
	  "free-running: fallbacks to another migratetype, per fallback of the kernel's")          \
	X(recorded_refills, "", NEUTRAL, EXACT, "blocks the kernel took from its free lists")      \
	X(recorded_drains, "", NEUTRAL, EXACT, "blocks it gave back from per-CPU lists")           \
	X(recorded_fallbacks, "", NEUTRAL, EXACT, "its fallbacks to another migratetype")          \
	X(forced_end_distance, "", LOWER, EXACT,                                                   \
	  "free_order_distance of the state that was kept to the recording")

enum metric {
#define X(name, ...) METRIC_##name,
	HEALTH_METRICS(X) STATE_METRICS(X)
#undef X
#define X(name, ...) METRIC_##name##_mean,
		STATE_METRICS(X)
#undef X
#define X(name, ...) METRIC_##name,
			RUN_METRICS(X) FIDELITY_METRICS(X)
#undef X
				METRIC_COUNT
};

/* Metrics that others bring at run time are numbered from METRIC_COUNT on, in the order they are told. */

/* The metrics of a sample are a contiguous range of the enum, and so are their means. */
#define METRIC_STATE_FIRST METRIC_free_frames
#define METRIC_STATE_END   METRIC_free_frames_mean
#define METRIC_STATE_COUNT (METRIC_STATE_END - METRIC_STATE_FIRST)

extern const struct metric_info metric_table[METRIC_COUNT];

/** The metric called @name, or METRIC_COUNT. */
enum metric metric_find(const char *name);

/** The twin NAME_mean of a state metric; METRIC_COUNT for any other. */
enum metric metric_mean_of(enum metric metric);

/*
 * Metrics that code reaches by arithmetic on the enum: whoever does so states the range here, and moving
 * or adding a row between then fails to compile.
 */
#define METRIC_RANGE(first, last, length)                                                          \
	_Static_assert((int)METRIC_##last - (int)METRIC_##first + 1 == (length),                   \
		       "the metrics from " #first " to " #last " are one range")

/** A percentile is told as exact from so many steps of the clock on. */
#define METRIC_STEPS_EXACT 10

/**
 * metric_error - by how much a run's value of @metric may be off, for all that is known
 * A percentile of times, or the largest, that is less than METRIC_STEPS_EXACT steps of the clock has the
 * step as its error: it is one of few values that it could have. A mean does not: what it is the mean of
 * falls on either side.
 * @values: of the same run. Return: in the unit of @metric; NaN: it has no such error.
 */
double metric_error(enum metric metric, const double values[METRIC_COUNT]);

/** Set every value to NaN (undefined). */
void metrics_clear(double values[METRIC_COUNT]);

#endif
