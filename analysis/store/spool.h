/* SPDX-License-Identifier: MIT */
/*
 * What a run says, waiting in SQLite's temporary database until it ends: the file itself is locked for
 * the moment of a commit, not for the minutes of a run. Private to analysis/store/.
 */
#ifndef ANALYSIS_STORE_SPOOL_H
#define ANALYSIS_STORE_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "analysis/database.h"
#include "results/result.h"

struct spool;

/**
 * spool_create - the temporary tables and their statements, once the real tables exist
 * @spool: on failure too, NULL or to be freed with spool_free()
 * Return: 0; -ENOMEM; or as database_fail().
 */
int spool_create(struct database *database, struct spool **spool, struct error *err);
/** NULL is allowed. */
void spool_free(struct spool *spool);

/** The row in metric_info of each of the engine's metrics: to be filled in before the first run. */
int64_t *spool_metric_ids(struct spool *spool);

/**
 * spool_begin - forget what waited, and wait for what run @run_id says
 * Begins a transaction of the temporary database, for speed; the caller ends it before it writes.
 * Return: 0 or as database_fail().
 */
int spool_begin(struct spool *spool, int64_t run_id, struct error *err);

/**
 * spool_take - set one record aside; neither RESULT_RUN nor RESULT_DONE
 * Return: 0; -EINVAL: an unknown kind, a metric that nobody declared, block maps not in order of their
 * samples; -ENOMEM; or as database_fail().
 */
int spool_take(struct spool *spool, const struct result_record *record, struct error *err);

/** Whether settings wait that spool_move_settings() has not moved. */
bool spool_has_settings(const struct spool *spool);

/*
 * Into the real tables, inside a write transaction of the caller's: the settings; warnings and doubts, all that is
 * kept of a run that fails; all the rest. Return: 0 or as database_fail().
 */
int spool_move_settings(struct spool *spool, struct error *err);
int spool_move_findings(struct spool *spool, struct error *err);
int spool_move_results(struct spool *spool, struct error *err);

#endif
