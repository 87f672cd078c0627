/* SPDX-License-Identifier: MIT */
#include "analysis/statement.h"

#include <math.h>

void bind_text(sqlite3_stmt *stmt, int i, const char *text)
{
	sqlite3_bind_text(stmt, i, text ? text : "", -1, SQLITE_STATIC);
}

void bind_text_or_null(sqlite3_stmt *stmt, int i, const char *text)
{
	sqlite3_bind_text(stmt, i, text, -1, SQLITE_STATIC);
}

void bind_int(sqlite3_stmt *stmt, int i, uint64_t v)
{
	sqlite3_bind_int64(stmt, i, (sqlite3_int64)v);
}

void bind_real(sqlite3_stmt *stmt, int i, double v)
{
	if (isfinite(v))
		sqlite3_bind_double(stmt, i, v);
	else
		sqlite3_bind_null(stmt, i);
}

int statement_run(struct database *database, sqlite3_stmt *stmt, const char *what,
		  struct error *err)
{
	int rc = 0;

	if (sqlite3_step(stmt) != SQLITE_DONE)
		rc = database_fail(database, what, err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc;
}
