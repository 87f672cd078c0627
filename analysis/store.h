/* SPDX-License-Identifier: MIT */
/*
 * The results database: one SQLite file that travels. A run's row is committed as `running` first;
 * everything else and `done` commit in one transaction, so a reader never sees half a run, and the
 * next opener turns rows whose process is gone into `interrupted`.
 *
 * What a run says waits in SQLite's temporary database until it ends: the file is locked for the
 * moment of a commit, not for the minutes of a run, so that several processes can fill one file. Of
 * what waits, a few MiB are in memory; the rest spills to a nameless file in SQLITE_TMPDIR, TMPDIR,
 * /var/tmp or /tmp, the first that is set and writable.
 *
 * A store and its sink belong to one thread.
 */
#ifndef ANALYSIS_STORE_H
#define ANALYSIS_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "results/result.h"

struct store;

/* How patient an owner of a database is with another process that has it locked. */
struct database_wait {
	/**
	 * waiting - asked after each second of waiting; @seconds so far
	 * Return: whether to go on. NULL: five seconds.
	 */
	bool (*waiting)(void *arg, const char *path, unsigned int seconds);
	void *arg;
};

/**
 * store_open - open or create for writing, bring the schema up to date, sweep dead `running` rows
 *
 * @wait: how patiently a lock held by another process is waited for, now and at each commit; copied;
 *        NULL: five seconds
 * Return: 0; -EPROTONOSUPPORT: made by a newer quire; -EBADMSG: not a results database; -EBUSY:
 * still locked; -EISDIR; -EACCES: read-only; -ENOSPC; -ENOMEM; or another I/O errno. On failure a
 * file that did not exist before does not exist after.
 */
int store_open(const char *path, const struct database_wait *wait, struct store **store,
	       struct error *err);

/**
 * store_close - checkpoint, back to a plain journal (no -wal or -shm left), close, free
 *
 * A run begun but not ended becomes `interrupted`. While another process has the database open, the
 * journal stays as it is; the last one to close restores it. NULL is allowed.
 * Return: 0, or as store_open(); the store is freed in any case.
 */
int store_close(struct store *store, struct error *err);

/**
 * store_sink - a sink that takes one run after the other: RESULT_RUN begins one, RESULT_DONE ends it
 *
 * RESULT_DONE with RUN_DONE commits all results; with any other status only the status, its text and
 * the warnings are kept. take() returns -EINVAL for a record outside a run or a run inside a run, or
 * errors as store_open(); if it fails, none of the run's results are in the database, and its row
 * says `failed` if that could still be written.
 * Block maps of a run come in order of their samples. Owned by the store.
 */
struct result_sink *store_sink(struct store *store);

/** The id of the run last begun; 0: none. */
int64_t store_run_id(const struct store *store);

#endif
