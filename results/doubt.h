/* SPDX-License-Identifier: MIT */
/*
 * What stands against a run: why its figures are not to be believed, or flatter it. The one place that says
 * so; tables, JSON, the database, the page and exit codes read it. A run against which anything stands is
 * never called best. Adding a doubt is adding a row; who finds one counts it and tells it as a RESULT_DOUBT.
 */
#ifndef RESULTS_DOUBT_H
#define RESULTS_DOUBT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * X(name, failed, help): `failed` is 1 where the back end is wrong, a failed check: exit code 1. The rest
 * may happen to a sound one. Counts are of what the help says. In the order of their names, which is that of
 * lists everywhere.
 */
#define RESULT_DOUBTS(X)                                                                           \
	X(alloc_failures, 0,                                                                       \
	  "allocations it refused: what it did not hold flatters all its other figures")           \
	X(check_failures, 1, "its own check of its state failed")                                  \
	X(fell_behind, 0,                                                                          \
	  "timed replay that could not keep to the trace's times: so many operations late")        \
	X(hotplug_refusals, 0,                                                                     \
	  "ranges that came online or went offline without it: its memory is another one")         \
	X(hung, 0, "it made no progress and was stopped")                                          \
	X(left_processes, 0, "it left processes behind, which were ended")                         \
	X(oracle_violations, 1,                                                                    \
	  "frames handed out twice, misaligned or outside, frees refused: so often")               \
	X(out_of_memory, 0, "the host ran out of memory and its kernel ended the run")             \
	X(prefill_failures, 0, "objects of the start snapshot it had no room for")                 \
	X(prefill_packed, 0,                                                                       \
	  "it could not take over the start snapshot, and began with packed memory")               \
	X(refuses_most, 1, "it refused more than half of the allocations: so many")                \
	X(repetitions_differ, 0,                                                                   \
	  "exact metrics that were not the same in all repetitions: so many")                      \
	X(stats_contradictions, 1,                                                                 \
	  "samples at which the free frames it tells are not those that nobody holds")

enum result_doubt_kind {
#define X(name, ...) DOUBT_##name,
	RESULT_DOUBTS(X)
#undef X
		DOUBT_KINDS
};

struct doubt_info {
	const char *name, *help;
	bool failed; /* a check of the back end has failed */
};

extern const struct doubt_info doubt_table[DOUBT_KINDS];

/** The kind called @name, or DOUBT_KINDS. */
enum result_doubt_kind doubt_find(const char *name);

/* What was counted; a kind that is 0 does not stand against the run. */
struct doubts {
	uint64_t count[DOUBT_KINDS];
};

/**
 * doubts_refusals - it refused @failures of @allocs allocations: what stands against it by that
 * @pads: its blocks take more frames than their own, so that it may have no room though others would:
 *        however much it refuses proves nothing wrong
 */
void doubts_refusals(struct doubts *doubts, uint64_t allocs, uint64_t failures, bool pads);

/**
 * doubts_list - their names, comma-separated: "alloc_failures,refuses_most"; "": nothing stands against it
 * Return: whether it fitted; cut at a name if not. DOUBTS_LIST_MAX bytes are enough.
 */
#define DOUBTS_LIST_MAX 256
bool doubts_list(const struct doubts *doubts, char *text, size_t bytes);

/** Has a check of the back end failed, so that the program's exit code has to say so? */
bool doubts_failed(const struct doubts *doubts);

#endif
