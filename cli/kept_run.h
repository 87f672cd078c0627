/* SPDX-License-Identifier: MIT */
/*
 * Everything one run has told, kept until it ends. No setting, counter or brought metric is known by name
 * here: what a run tells is what is written of it.
 *
 * Not thread-safe.
 */
#ifndef CLI_KEPT_RUN_H
#define CLI_KEPT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/accuracy.h"
#include "cli/end_state.h"
#include "results/result.h"

/* A list that grows. */
struct kept_list {
	void *data;
	size_t n, max;
};

/** The items of a list whose items are of @type. */
#define KEPT(list, type) ((type *)(list).data)

/** kept_append - one item more, of @bytes, zeroed. Return: it, or NULL: no memory. */
void *kept_append(struct kept_list *list, size_t bytes);

/* A metric or counter that somebody brought. */
struct kept_row {
	struct result_metric_row row;
	bool has_metric;
	double metric; /* its final value */
	double spread; /* of the repetitions in it; NaN: not told */
};

#define KEPT_STRINGS 11 /* in struct result_run */

struct kept_run {
	struct result_run run;
	char *string[KEPT_STRINGS]; /* the copies its strings point to */
	double metric[METRIC_COUNT];
	double spread[METRIC_COUNT]; /* NaN: not told */
	bool has_flag[FLAG_KINDS];
	uint64_t flag[FLAG_KINDS];
	struct doubts doubts;
	/* All strings in these are copies. */
	struct kept_list settings; /* struct result_setting */
	struct kept_list rows;	   /* struct kept_row; the metric METRIC_COUNT + n is the n-th */
	struct kept_list samples;  /* struct result_sample */
	struct kept_list values;   /* struct result_value; after kept_run_settle() by sample */
	struct kept_list counters; /* struct result_counter; likewise, those at the end last */
	struct kept_list holders;  /* struct result_holder */
	struct kept_list outliers; /* struct result_outlier, slowest first */
	struct kept_list warnings; /* char * */
	struct end_freelists freelists;
	struct accuracies accuracies;
};

/** Nothing told yet, and nothing to free. */
void kept_run_init(struct kept_run *k);
/** Free it all; as after kept_run_init(). */
void kept_run_clear(struct kept_run *k);

/**
 * kept_run_take - keep a record; RESULT_RUN forgets the run before
 * Return: 0; -ENOMEM; -EPROTO: a figure of a metric that no row has told.
 */
int kept_run_take(struct kept_run *k, const struct result_record *record);
/** All is told: put in order what belongs to samples. */
void kept_run_settle(struct kept_run *k);

/** Whether it is a benchmark's: it has rounds, and no time of its own. */
static inline bool kept_is_benchmark(const struct kept_run *k)
{
	return k->run.order >= 0;
}

/** Whether a setting of that key and value was told. */
bool kept_has_setting(const struct kept_run *k, const char *key, const char *value);

/** What describes the metric of a value or counter that was kept. */
static inline const struct metric_info *kept_info(const struct kept_run *k, uint32_t metric)
{
	return &KEPT(k->rows, const struct kept_row)[metric - METRIC_COUNT].row.info;
}

#endif
