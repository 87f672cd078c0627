/* SPDX-License-Identifier: MIT */
#include "analysis/store.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/database.h"
#include "analysis/host.h"
#include "analysis/schema.h"
#include "analysis/store/spool.h"
#include "analysis/statement.h"
#include "base/bits.h"

enum statement {
	INSERT_HOST,
	INSERT_TRACE,
	INSERT_BACKEND,
	INSERT_RUN,
	END_RUN,
	STATEMENTS,
};

static const char *const statement_sql[STATEMENTS] = {
	[INSERT_HOST] = "INSERT INTO host (cpu_model, cores, memory_bytes, kernel, thp, governor)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
	[INSERT_TRACE] = "INSERT INTO trace (digest, path, note) VALUES (?1, ?2, ?3)"
			 " ON CONFLICT (digest) DO UPDATE SET path = ?2, note = ?3",
	[INSERT_BACKEND] = "INSERT INTO backend (name, summary, role) VALUES (?1, ?2, ?3)"
			   " ON CONFLICT (name) DO UPDATE SET summary = ?2, role = ?3",
	[INSERT_RUN] =
		"INSERT INTO run (status, host_id, trace_id, backend_id, spec, options, mode,"
		" seed, threads, block_order, label, point_id, build_id, start_ns, boot_id, pid,"
		" process_start)"
		" VALUES ('running',"
		" (SELECT id FROM host WHERE cpu_model = ?1 AND cores = ?2 AND"
		" memory_bytes = ?3 AND kernel = ?4 AND thp = ?5 AND governor = ?6),"
		" (SELECT id FROM trace WHERE digest = ?7),"
		" (SELECT id FROM backend WHERE name = ?8),"
		" ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
	/* Should an opener in another pid namespace have swept a run that lived, its end wins. */
	[END_RUN] = "UPDATE run SET status = ?2, status_text = ?3 WHERE id = ?1",
};

struct store {
	struct result_sink sink;
	struct database database;
	struct database_wait wait; /* for others' locks */
	sqlite3_stmt *stmt[STATEMENTS];
	struct spool *spool;
	struct host host;
	uint64_t process_start;
	int64_t run_id;
	bool running; /* between RESULT_RUN and RESULT_DONE */
};

static struct store *store_of_sink(struct result_sink *sink)
{
	return (struct store *)((char *)sink - offsetof(struct store, sink));
}

static int step(struct store *store, enum statement which, const char *what, struct error *err)
{
	return statement_run(&store->database, store->stmt[which], what, err);
}

/* A statement that others' locks may hold up for as long as the owner bears it. */
static int exec_patiently(struct store *store, const char *sql, const char *what, struct error *err)
{
	int rc;

	database_set_wait(&store->database, &store->wait);
	rc = database_exec(&store->database, sql, what, err);
	database_set_wait(&store->database, NULL);
	return rc;
}

static int begin(struct store *store, struct error *err)
{
	return exec_patiently(store, "BEGIN IMMEDIATE", "begin a write", err);
}

/* Commit, or if that fails or @rc is already a failure, undo. Return: the first failure. */
static int commit(struct store *store, int rc, struct error *err)
{
	if (!rc)
		rc = exec_patiently(store, "COMMIT", "commit", err);
	if (rc)
		sqlite3_exec(store->database.db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* ---- a run, begin to end ----------------------------------------------------------------- */

static void bind_host(sqlite3_stmt *stmt, const struct host *host)
{
	bind_text(stmt, 1, host->cpu_model);
	bind_int(stmt, 2, host->cores);
	bind_int(stmt, 3, host->memory_bytes);
	bind_text(stmt, 4, host->kernel);
	bind_text(stmt, 5, host->thp);
	bind_text(stmt, 6, host->governor);
}

/* The rows a run refers to. */
static int insert_parents(struct store *store, const struct result_run *run, struct error *err)
{
	sqlite3_stmt *stmt;
	int rc;

	bind_host(store->stmt[INSERT_HOST], &store->host);
	rc = step(store, INSERT_HOST, "write the host", err);
	if (!rc && run->trace_digest && run->trace_digest[0]) {
		stmt = store->stmt[INSERT_TRACE];
		bind_text(stmt, 1, run->trace_digest);
		bind_text(stmt, 2, run->trace);
		bind_text(stmt, 3, run->trace_note);
		rc = step(store, INSERT_TRACE, "write the trace", err);
	}
	if (rc)
		return rc;
	stmt = store->stmt[INSERT_BACKEND];
	bind_text(stmt, 1, run->allocator);
	bind_text(stmt, 2, run->allocator_summary);
	bind_text(stmt, 3, run_role_name(run->role));
	return step(store, INSERT_BACKEND, "write the back end", err);
}

static int insert_run(struct store *store, const struct result_run *run, struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[INSERT_RUN];

	bind_host(stmt, &store->host);
	bind_text(stmt, 7, run->trace_digest);
	bind_text(stmt, 8, run->allocator);
	bind_text(stmt, 9, run->spec);
	bind_text(stmt, 10, run->options);
	bind_text(stmt, 11, run->mode);
	bind_int(stmt, 12, run->seed);
	bind_int(stmt, 13, run->threads);
	sqlite3_bind_int(stmt, 14, run->order);
	bind_text_or_null(stmt, 15, run->label);
	bind_text(stmt, 16, run->point_id);
	bind_text(stmt, 17, run->build_id);
	bind_int(stmt, 18, run->start_ns);
	bind_text(stmt, 19, store->host.boot_id);
	bind_int(stmt, 20, (uint64_t)getpid());
	bind_int(stmt, 21, store->process_start);
	return step(store, INSERT_RUN, "begin a run", err);
}

static int set_status(struct store *store, enum run_status status, const char *text,
		      struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[END_RUN];

	bind_int(stmt, 1, (uint64_t)store->run_id);
	bind_text(stmt, 2, run_status_name(status));
	if (text)
		bind_text(stmt, 3, text);
	return step(store, END_RUN, "end a run", err);
}

/* The results could not be kept: say so in the run's row, if even that can be written. */
static void give_up(struct store *store, const char *why)
{
	store->running = false;
	sqlite3_exec(store->database.db, "ROLLBACK", NULL, NULL, NULL); /* of the spool, if any */
	if (begin(store, NULL) == 0)
		commit(store, set_status(store, RUN_FAILED, why, NULL), NULL);
}

static int begin_run(struct store *store, const struct result_run *run, struct error *err)
{
	int rc;

	rc = begin(store, err);
	if (rc)
		return rc;
	rc = insert_parents(store, run, err);
	if (!rc)
		rc = insert_run(store, run, err);
	if (!rc)
		store->run_id = sqlite3_last_insert_rowid(store->database.db);
	rc = commit(store, rc, err);
	if (!rc) {
		rc = spool_begin(store->spool, store->run_id, err);
		if (rc)
			give_up(store, err->text);
	}
	store->running = rc == 0;
	if (rc)
		store->run_id = 0;
	return rc;
}

/* Leave the spool's transaction for one that writes. */
static int begin_move(struct store *store, struct error *err)
{
	const int rc = commit(store, 0, err);

	return rc ? rc : begin(store, err);
}

/*
 * The settings follow the run's row, which is committed by then: they are moved all at once, at the first
 * record that is none, so that a run in progress and a failed one have theirs.
 */
static int keep_settings(struct store *store, struct error *err)
{
	int rc = begin_move(store, err);

	if (rc)
		return rc;
	rc = commit(store, spool_move_settings(store->spool, err), err);
	return rc ? rc : database_exec(&store->database, "BEGIN", "go on with a run", err);
}

/* Move what was spooled into the database and end the run, all in one transaction. */
static int end_run(struct store *store, enum run_status status, const char *text, struct error *err)
{
	int rc;

	store->running = false;
	rc = begin_move(store, err);
	if (rc)
		return rc;
	rc = spool_move_settings(store->spool, err);
	if (!rc)
		rc = spool_move_findings(store->spool, err);
	if (!rc && status == RUN_DONE)
		rc = spool_move_results(store->spool, err);
	if (!rc)
		rc = set_status(store, status, text, err);
	return commit(store, rc, err);
}

static int take_result(struct store *store, const struct result_record *record, struct error *err)
{
	int rc = 0;

	if (record->kind == RESULT_DONE)
		return end_run(store, record->done.status, record->done.text, err);
	if (record->kind != RESULT_SETTING && spool_has_settings(store->spool))
		rc = keep_settings(store, err);
	return rc ? rc : spool_take(store->spool, record, err);
}

static int store_take(struct result_sink *sink, const struct result_record *record,
		      struct error *err)
{
	struct store *store = store_of_sink(sink);
	struct error own = {0};
	int rc;

	if (store->running == (record->kind == RESULT_RUN))
		return error_set(err, EINVAL, "%s: %s", store->database.path,
				 store->running ? "a run begins before the last one ended"
						: "a result outside any run");
	if (record->kind == RESULT_RUN) {
		rc = begin_run(store, &record->run, &own);
		return rc ? error_set(err, -rc, "%s", own.text) : 0;
	}
	rc = take_result(store, record, &own);
	if (rc) {
		give_up(store, own.text);
		error_set(err, -rc, "%s", own.text);
	}
	return rc;
}

/* ---- open and close ---------------------------------------------------------------------- */

/* Whether the process that began a run still lives. */
static bool writer_lives(const struct store *store, sqlite3_stmt *row)
{
	const char *boot_id = (const char *)sqlite3_column_text(row, 1);
	uint64_t start;

	return boot_id && strcmp(boot_id, store->host.boot_id) == 0 &&
	       host_process_start("", (pid_t)sqlite3_column_int(row, 2), &start) == 0 &&
	       start == (uint64_t)sqlite3_column_int64(row, 3);
}

static int sweep(struct store *store, struct error *err)
{
	sqlite3_stmt *stmt;
	int rc, got;

	rc = database_prepare(&store->database,
			      "SELECT id, boot_id, pid, process_start FROM run"
			      " WHERE status = 'running'",
			      &stmt, err);
	if (rc)
		return rc;
	while (!rc && (got = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (writer_lives(store, stmt))
			continue;
		store->run_id = sqlite3_column_int64(stmt, 0);
		rc = set_status(store, RUN_INTERRUPTED, "its process is gone", err);
	}
	if (!rc && got != SQLITE_DONE)
		rc = database_fail(&store->database, "look for unfinished runs", err);
	store->run_id = 0;
	sqlite3_finalize(stmt);
	return rc;
}

static int prepare_all(struct store *store, struct error *err)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < STATEMENTS; i++)
		rc = database_prepare(&store->database, statement_sql[i], &store->stmt[i], err);
	return rc;
}

/* Everything done to the file at opening, inside one transaction. */
static int write_schema(struct store *store, struct error *err)
{
	int rc = schema_update(&store->database, err);

	if (!rc)
		rc = spool_create(&store->database, &store->spool, err);
	if (!rc)
		rc = prepare_all(store, err);
	if (!rc)
		rc = schema_metrics(&store->database, spool_metric_ids(store->spool), err);
	return rc ? rc : sweep(store, err);
}

static int finish_journal(struct store *store, struct error *err)
{
	static const char *const steps[] = {
		"PRAGMA wal_checkpoint(TRUNCATE)",
		"PRAGMA journal_mode = DELETE",
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int rc = sqlite3_exec(store->database.db, steps[i], NULL, NULL, NULL);

		/* Busy: someone else has it open, and will do this at the end. */
		if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
			return 0;
		if (rc != SQLITE_OK)
			return database_fail(&store->database, "close", err);
	}
	return 0;
}

static int bring_up(struct store *store, struct error *err)
{
	bool fresh;
	int rc;

	/* Look before changing anything: WAL mode alone would write to a stranger's file. */
	database_set_wait(&store->database, &store->wait);
	rc = database_check(&store->database, &fresh, err);
	database_set_wait(&store->database, NULL);
	if (rc)
		return rc;
	/* Some builds of SQLite would keep it in memory. */
	rc = database_exec(&store->database, "PRAGMA temp_store = FILE", "open for writing", err);
	if (rc)
		return rc;
	/* Another process in the middle of closing keeps the old mode, which serves as well. */
	rc = sqlite3_exec(store->database.db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
		return database_fail(&store->database, "open for writing", err);
	rc = schema_relax(&store->database, err);
	if (!rc)
		rc = begin(store, err);
	if (!rc)
		rc = commit(store, write_schema(store, err), err);
	if (!rc)
		rc = schema_restore(&store->database, err);
	if (rc)
		finish_journal(store, NULL);
	return rc;
}

static int store_free(struct store *store, struct error *err)
{
	int rc;

	for (unsigned int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(store->stmt[i]);
	spool_free(store->spool);
	rc = database_close(&store->database, err);
	free(store);
	return rc;
}

/*
 * A failed creation leaves nothing; what another process has meanwhile made of the file, or is
 * making, stays.
 */
static bool nothing_made(struct store *store)
{
	bool fresh = true;
	const int rc = database_check(&store->database, &fresh, NULL);

	return rc ? rc != -EBUSY : fresh;
}

int store_open(const char *path, const struct database_wait *wait, struct store **out,
	       struct error *err)
{
	struct store *store = calloc(1, sizeof(*store));
	bool discard = false;
	int rc;

	if (!store)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	store->sink.take = store_take;
	if (wait)
		store->wait = *wait;
	host_read("", &store->host);
	if (host_process_start("", getpid(), &store->process_start) != 0)
		store->process_start = 0;
	rc = database_open(path, true, &store->database, err);
	if (!rc) {
		rc = bring_up(store, err);
		discard = rc && store->database.created && nothing_made(store);
	}
	if (rc) {
		store_free(store, NULL);
		if (discard)
			unlink(path);
		return rc;
	}
	*out = store;
	return 0;
}

int store_close(struct store *store, struct error *err)
{
	int rc = 0, journal, freed;

	if (!store)
		return 0;
	if (store->running)
		rc = end_run(store, RUN_INTERRUPTED, "closed before its end", err);
	journal = finish_journal(store, rc ? NULL : err);
	if (!rc)
		rc = journal;
	freed = store_free(store, rc ? NULL : err);
	return rc ? rc : freed;
}

struct result_sink *store_sink(struct store *store)
{
	return &store->sink;
}

int64_t store_run_id(const struct store *store)
{
	return store->run_id;
}
