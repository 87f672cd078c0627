/* SPDX-License-Identifier: MIT */
/*
 * What the writer (store) and the readers (report, later compare and gate) of a results database
 * share: recognising the file, and turning SQLite's complaints into one line with a remedy.
 * Private to analysis/.
 */
#ifndef ANALYSIS_DATABASE_H
#define ANALYSIS_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "analysis/store.h"
#include "base/error.h"

#define DATABASE_APPLICATION 0x71756972 /* "quir", in the file's header */
#define DATABASE_VERSION     6

struct database {
	sqlite3 *db;
	char *path;
	bool created; /* by database_open() */
	struct database_wait wait;
	uint64_t busy_since_ns;	 /* of the lock waited for */
	unsigned int busy_asked; /* seconds for which its owner was asked */
};

/**
 * database_set_wait - from now on somebody else's lock is waited for like this; NULL: five seconds, as before
 * Copied. A database that is open stays at its address.
 */
void database_set_wait(struct database *database, const struct database_wait *wait);

/**
 * database_open - open @path, without looking into it yet
 * @writable: create it if it does not exist; otherwise it must
 * Return: 0; -EINVAL an empty name; -EISDIR; -EBADMSG not a regular file; -ENOMEM; or the errno of
 * opening it (-ENOENT, -EACCES, -ENOSPC, ...).
 */
int database_open(const char *path, bool writable, struct database *database, struct error *err);

/** Close and free. Return: what sqlite3_close() makes of it, as database_fail(). */
int database_close(struct database *database, struct error *err);

/**
 * database_check - is this a results database, of a version this build reads?
 * @fresh: set if the file is empty, so that a schema may be written; NULL: empty is refused
 * Return: 0; -EBADMSG another kind of file; -EPROTONOSUPPORT made by a newer quire; -EBUSY; ...
 */
int database_check(struct database *database, bool *fresh, struct error *err);

/**
 * database_fail - the line and errno for the last failure on @database
 * @what: what was being done, a few words
 * Return: -EBUSY locked, -ENOSPC, -EBADMSG not a database or damaged, -EACCES read-only, -ENOMEM,
 * the errno of the system call behind it, or -EIO.
 */
int database_fail(struct database *database, const char *what, struct error *err);

/** Run SQL without results. Errors as database_fail(). */
int database_exec(struct database *database, const char *sql, const char *what, struct error *err);

/** Prepare @sql. Errors as database_fail(). */
int database_prepare(struct database *database, const char *sql, sqlite3_stmt **stmt,
		     struct error *err);

/** The first column of the first row of @sql as an integer. Errors as database_fail(). */
int database_int(struct database *database, const char *sql, sqlite3_int64 *value,
		 struct error *err);

#endif
