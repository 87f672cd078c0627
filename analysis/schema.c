/* SPDX-License-Identifier: MIT */
#include "analysis/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "analysis/statement.h"
#include "base/bits.h"

extern const char store_schema[];  /* schema.sql */
extern const char store_migrate[]; /* migrate.sql */
extern const char store_migrate_doubts[];
extern const char store_views[]; /* views.sql */

/* What turns the tables of version i + 1 into those of version i + 2, as far as the last step reads them. */
static const char *const upgrades[] = {
	"ALTER TABLE run ADD COLUMN repetitions INTEGER;"
	"ALTER TABLE run ADD COLUMN rounds INTEGER;"
	"ALTER TABLE run ADD COLUMN fill INTEGER",
	"", /* a table more, which schema.sql makes */
	/*
	 * What has changed steps aside, for migrate.sql to copy from; the rest, nearly all of a large file,
	 * stays as it is.
	 */
	"DROP INDEX run_by_point; DROP INDEX run_by_trace; DROP INDEX run_unfinished;"
	"ALTER TABLE run RENAME TO old_run;"
	"ALTER TABLE metric_info RENAME TO old_metric_info;"
	"ALTER TABLE latency RENAME TO old_latency;"
	"ALTER TABLE blockmap RENAME TO old_blockmap;"
	"ALTER TABLE holder RENAME TO old_holder",
	"", /* a table more, which migrate_doubts.sql fills */
	"", /* other views alone */
};

/* The last version whose tables stepped aside for migrate.sql, and the last without doubts. */
#define VERSION_ASIDE	 3
#define VERSION_NO_DOUBT 4

/* Of the versions behind it, one table has an operation less. */
#define LATENCY_ASIDE "ALTER TABLE latency RENAME TO old_latency"
#define LATENCY_BACK  "INSERT INTO latency SELECT * FROM old_latency; DROP TABLE old_latency"

_Static_assert(ARRAY_SIZE(upgrades) == DATABASE_VERSION - 1, "every older version can be upgraded");

/*
 * Other tables refer to `run` and go on doing so while another takes its name: neither are their references
 * to follow the old table, nor their rows to vanish with it.
 */
int schema_relax(struct database *database, struct error *err)
{
	return database_exec(database, "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON",
			     "open for writing", err);
}

int schema_restore(struct database *database, struct error *err)
{
	return database_exec(database, "PRAGMA foreign_keys = ON; PRAGMA legacy_alter_table = OFF",
			     "open for writing", err);
}

#define COPYING "bring a copy up to date in the temporary directory (TMPDIR)"

static int migrate(struct database *database, sqlite3_int64 version, struct error *err)
{
	sqlite3_int64 dangling = 0;
	int rc = 0;

	for (sqlite3_int64 v = version; !rc && v < DATABASE_VERSION; v++)
		rc = database_exec(database, upgrades[v - 1], "bring it up to date", err);
	if (!rc && version > VERSION_ASIDE)
		rc = database_exec(database, LATENCY_ASIDE, "bring it up to date", err);
	if (!rc)
		rc = database_exec(database, store_schema, "bring it up to date", err);
	if (!rc && version > VERSION_ASIDE)
		rc = database_exec(database, LATENCY_BACK, "bring it up to date", err);
	if (!rc && version <= VERSION_ASIDE)
		rc = database_exec(database, store_migrate, "bring it up to date", err);
	if (!rc && version <= VERSION_NO_DOUBT)
		rc = database_exec(database, store_migrate_doubts, "bring it up to date", err);
	if (!rc)
		rc = database_int(database, "SELECT count(*) FROM pragma_foreign_key_check",
				  &dangling, err);
	if (!rc && dangling)
		rc = error_set(err, EBADMSG,
			       "%s: bring it up to date: %lld rows belong to no run; it is left as "
			       "it was; name another database",
			       database->path, (long long)dangling);
	return rc;
}

int schema_update(struct database *database, struct error *err)
{
	sqlite3_int64 version = 0;
	char mark[96];
	bool fresh;
	int rc;

	rc = database_check(database, &fresh, err);
	if (!rc)
		rc = database_int(database, "PRAGMA user_version", &version, err);
	if (rc || version == DATABASE_VERSION)
		return rc;
	rc = fresh ? database_exec(database, store_schema, "create the schema", err)
		   : migrate(database, version, err);
	if (!rc)
		rc = database_exec(database, store_views, "create the views", err);
	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		 DATABASE_APPLICATION, DATABASE_VERSION);
	return rc ? rc : database_exec(database, mark, "create the schema", err);
}

/* The whole of @from into @to. */
static int copy_all(struct database *from, struct database *to, struct error *err)
{
	sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
	int got;

	if (!backup)
		return database_fail(to, COPYING, err);
	got = sqlite3_backup_step(backup, -1);
	if (sqlite3_backup_finish(backup) != SQLITE_OK || got != SQLITE_DONE)
		return database_fail(to, COPYING, err);
	return 0;
}

static int update_copy(struct database *copy, struct error *err)
{
	int rc = schema_relax(copy, err);

	if (!rc)
		rc = database_exec(copy, "BEGIN IMMEDIATE", COPYING, err);
	if (!rc)
		rc = schema_update(copy, err);
	return rc ? rc : database_exec(copy, "COMMIT", COPYING, err);
}

int schema_read(struct database *database, struct error *err)
{
	struct database copy = {.path = database->path};
	sqlite3_int64 version = 0;
	int rc = database_int(database, "PRAGMA user_version", &version, err);

	if (rc || version == DATABASE_VERSION)
		return rc;
	/* A file without a name, which nobody else sees, gone when it is closed. */
	if (sqlite3_open("", &copy.db) != SQLITE_OK)
		rc = database_fail(&copy, COPYING, err);
	if (!rc)
		rc = database_exec(&copy, "PRAGMA trusted_schema = OFF", COPYING, err);
	if (!rc)
		rc = copy_all(database, &copy, err);
	if (!rc)
		rc = update_copy(&copy, err);
	if (rc) {
		sqlite3_close(copy.db);
		return rc;
	}
	sqlite3_close(database->db);
	database->db = copy.db;
	return 0;
}

static int put_metric(struct database *database, sqlite3_stmt *insert, unsigned int metric,
		      struct error *err)
{
	const struct metric_info *info = &metric_table[metric];

	bind_text(insert, 1, info->name);
	bind_int(insert, 2, metric);
	bind_text(insert, 3, info->unit);
	bind_text(insert, 4, metric_direction_name(info->direction));
	bind_text(insert, 5, metric_kind_name(info->kind));
	bind_text_or_null(insert, 6, info->model);
	bind_text(insert, 7, info->help);
	return statement_run(database, insert, "write the metric table", err);
}

static int find_metric(struct database *database, sqlite3_stmt *find, unsigned int metric,
		       int64_t *id, struct error *err)
{
	int rc = 0;

	bind_text(find, 1, metric_table[metric].name);
	if (sqlite3_step(find) == SQLITE_ROW)
		*id = sqlite3_column_int64(find, 0);
	else
		rc = database_fail(database, "read the metric table", err);
	sqlite3_reset(find);
	return rc;
}

int schema_metrics(struct database *database, int64_t id[METRIC_COUNT], struct error *err)
{
	sqlite3_stmt *insert = NULL, *find = NULL;
	int rc;

	rc = database_prepare(
		database,
		"INSERT INTO metric_info (source, name, position, unit, direction, kind, model, "
		"help)"
		" VALUES ('', ?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (source, name) DO UPDATE"
		" SET position = ?2, unit = ?3, direction = ?4, kind = ?5, model = ?6, help = ?7"
		" WHERE (position, unit, direction, kind, model, help)"
		" IS NOT (?2, ?3, ?4, ?5, ?6, ?7)",
		&insert, err);
	if (!rc)
		rc = database_prepare(database,
				      "SELECT id FROM metric_info WHERE source = '' AND name = ?1",
				      &find, err);
	for (unsigned int m = 0; !rc && m < METRIC_COUNT; m++) {
		rc = put_metric(database, insert, m, err);
		if (!rc)
			rc = find_metric(database, find, m, &id[m], err);
	}
	sqlite3_finalize(insert);
	sqlite3_finalize(find);
	return rc;
}
