/* SPDX-License-Identifier: MIT */
/*
 * How a figure is described, whoever brings it: the engine's own metrics are rows of one table
 * (results/metrics.h); back ends, daemons and benchmarks bring rows of the same form at run time.
 */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H

#ifdef __cplusplus
extern "C" {
#endif

enum metric_direction {
	METRIC_NEUTRAL, /* describes; neither way is better */
	METRIC_HIGHER,	/* is better */
	METRIC_LOWER,
};

enum metric_kind {
	METRIC_EXACT, /* counted: the same bits on any machine */
	METRIC_NOISY, /* timed */
	METRIC_MODELLED, /* counted, then multiplied by published costs; its model's name goes with it */
};

/* A table of rows ends with one whose name is NULL. */
struct metric_info {
	const char *name; /* lower_case, with its unit where it has one */
	const char *unit; /* "": a plain number */
	const char *help; /* what it means, a few words */
	enum metric_direction direction;
	enum metric_kind kind;
	const char *model; /* MODELLED: whose costs; else NULL */
};

/** "neutral", "higher", "lower". */
const char *metric_direction_name(enum metric_direction direction);
/** "exact", "noisy", "modelled". */
const char *metric_kind_name(enum metric_kind kind);

#ifdef __cplusplus
}
#endif
#endif
