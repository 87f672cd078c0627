/* SPDX-License-Identifier: MIT */
/*
 * The slowest operations of all runs, as a small table below theirs. JSON has them in each run.
 */
#ifndef CLI_OUTLIER_ROWS_H
#define CLI_OUTLIER_ROWS_H

#include "base/emitter.h"
#include "cli/kept_run.h"

/* Begin with all zero. */
struct outlier_rows {
	struct kept_list list; /* of struct outlier_row */
};

/** Keep those of a run. @trace: as tables call it. Return: 0 or -ENOMEM. */
int outlier_rows_keep(struct outlier_rows *rows, const char *trace, const struct kept_run *k);
/** A table aside, if there are any. */
void outlier_rows_emit(const struct outlier_rows *rows, struct emitter *e);
void outlier_rows_release(struct outlier_rows *rows);

#endif
