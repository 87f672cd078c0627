/* SPDX-License-Identifier: MIT */
/*
 * The tables and views of a results database, made or brought up to date. Private to analysis/.
 */
#ifndef ANALYSIS_SCHEMA_H
#define ANALYSIS_SCHEMA_H

#include <stdint.h>

#include "analysis/database.h"
#include "results/metrics.h"

/**
 * schema_relax - let tables be replaced that others refer to; before a transaction that may do so
 * schema_restore - afterwards
 * Return: 0 or as database_fail().
 */
int schema_relax(struct database *database, struct error *err);
int schema_restore(struct database *database, struct error *err);

/**
 * schema_update - from nothing, or from an older version, to this one
 * Inside a write transaction of the caller's, relaxed; if it fails, the caller rolls back, and the file is
 * as it was.
 * Return: 0; -EBADMSG: no results database, or one whose rows contradict each other; -EPROTONOSUPPORT: a
 * newer one; or as database_fail().
 */
int schema_update(struct database *database, struct error *err);

/**
 * schema_read - let a reader of @database, checked and open, meet this version's tables and views
 * Of a file of an older version a private copy is brought up to date, in SQLite's temporary directory, and
 * takes its place; the file stays as it is.
 * Return: 0, or as schema_update().
 */
int schema_read(struct database *database, struct error *err);

/**
 * schema_metrics - the engine's metrics as rows of metric_info
 * @id: the row of each
 * Inside a write transaction of the caller's. Return: 0 or as database_fail().
 */
int schema_metrics(struct database *database, int64_t id[METRIC_COUNT], struct error *err);

#endif
