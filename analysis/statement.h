/* SPDX-License-Identifier: MIT */
/*
 * Prepared statements that write. Binding fails only for lack of memory, which running the statement
 * reports as well, so nothing is checked twice. Private to analysis/.
 */
#ifndef ANALYSIS_STATEMENT_H
#define ANALYSIS_STATEMENT_H

#include <sqlite3.h>
#include <stdint.h>

#include "analysis/database.h"

/** @text is borrowed until the statement has run; NULL: "". */
void bind_text(sqlite3_stmt *stmt, int i, const char *text);
/** The same, but NULL stays NULL. */
void bind_text_or_null(sqlite3_stmt *stmt, int i, const char *text);
/** Bit for bit: 2^63 and above read as negative. */
void bind_int(sqlite3_stmt *stmt, int i, uint64_t v);
/** NaN and infinities become NULL. */
void bind_real(sqlite3_stmt *stmt, int i, double v);

/**
 * statement_run - run a statement that returns no rows, and make it ready for its next use
 * @what: what is being done, as database_fail()
 * Return: 0 or as database_fail().
 */
int statement_run(struct database *database, sqlite3_stmt *stmt, const char *what,
		  struct error *err);

#endif
