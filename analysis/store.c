/* SPDX-License-Identifier: MIT */
#include "analysis/store.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/blockmap.h"
#include "analysis/database.h"
#include "analysis/host.h"
#include "base/bits.h"

extern const char store_schema[];   /* schema.sql */
extern const char store_accuracy[]; /* accuracy.sql */
extern const char store_views[];    /* views.sql */

/* What turns the tables of version i + 1 into those of version i + 2. */
static const char *const upgrades[] = {
	"ALTER TABLE run ADD COLUMN repetitions INTEGER;"
	"ALTER TABLE run ADD COLUMN rounds INTEGER;"
	"ALTER TABLE run ADD COLUMN fill INTEGER",
	store_accuracy,
};

_Static_assert(ARRAY_SIZE(upgrades) == DATABASE_VERSION - 1, "every older version can be upgraded");

enum statement {
	INSERT_HOST,
	INSERT_TRACE,
	INSERT_BACKEND,
	INSERT_RUN,
	INSERT_METRIC_INFO,
	FIND_METRIC,
	SPOOL_SETTING,
	SETTLE_RUN,
	SPOOL_METRIC,
	SPOOL_SAMPLE,
	SPOOL_SAMPLE_METRIC,
	SPOOL_LATENCY,
	SPOOL_FREELIST,
	SPOOL_BLOCKMAP,
	SPOOL_ACCURACY,
	SPOOL_WARNING,
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
		" memory, prefill, oracle, seed, threads, cpus, block_order, label, point_id,"
		" build_id, events, ops, managed_frames, start_ns, boot_id, pid,"
		" process_start, repetitions, rounds, fill)"
		" VALUES ('running',"
		" (SELECT id FROM host WHERE cpu_model = ?1 AND cores = ?2 AND"
		" memory_bytes = ?3 AND kernel = ?4 AND thp = ?5 AND governor = ?6),"
		" (SELECT id FROM trace WHERE digest = ?7),"
		" (SELECT id FROM backend WHERE name = ?8),"
		" ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,"
		" ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)",
	[INSERT_METRIC_INFO] =
		"INSERT INTO metric_info (name, position, unit, direction, kind, help)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE"
		" SET position = ?2, unit = ?3, direction = ?4, kind = ?5, help = ?6"
		" WHERE (position, unit, direction, kind, help) IS NOT (?2, ?3, ?4, ?5, ?6)",
	[FIND_METRIC] = "SELECT id FROM metric_info WHERE name = ?1",
	[SPOOL_SETTING] = "INSERT INTO temp.new_setting (key, value) VALUES (?1, ?2)",
/* Version 3 of the schema knows these alone. */
#define SETTING(key) "(SELECT value FROM temp.new_setting WHERE key = '" key "')"
	[SETTLE_RUN] = "UPDATE run SET memory = coalesce(" SETTING(
		"backing") ", memory),"
			   " prefill = coalesce(" SETTING(
				   "prefill") ", prefill),"
					      " oracle = coalesce(" SETTING(
						      "oracle") " = 'true', 0),"
								" cpus = coalesce(" SETTING(
									"cpus") ", 0),"
										" events = "
										"coalesce("
										"nullif(" SETTING(
											"events") ", ''), 0),"
												  " ops = coalesce(nullif(" SETTING(
													  "ops") ", ''), 0),"
														 " managed_frames = coalesce(" SETTING(
															 "managed_frames") ", 0),"
																	   " repetitions = " SETTING("repetitions") ", rounds = " SETTING(
																		   "rounds") ","
																			     " fill = " SETTING(
																				     "fill") " WHERE id = ?1",
#undef SETTING
	[SPOOL_METRIC] = "INSERT INTO temp.new_metric (run_id, metric_id, value)"
			 " VALUES (?1, ?2, ?3)",
	[SPOOL_SAMPLE] = "INSERT INTO temp.new_sample (run_id, sample, is_end, event, time_ns)"
			 " VALUES (?1, ?2, ?3, ?4, ?5)",
	[SPOOL_SAMPLE_METRIC] = "INSERT INTO temp.new_sample_metric (run_id, sample, metric_id,"
				" value) VALUES (?1, ?2, ?3, ?4)",
	[SPOOL_LATENCY] = "INSERT INTO temp.new_latency (run_id, op, order_class, cpu, count,"
			  " mean_ns, p50_ns, p99_ns, max_ns, histogram)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[SPOOL_FREELIST] = "INSERT INTO temp.new_freelist (run_id, sample, source, block_order,"
			   " blocks) VALUES (?1, ?2, ?3, ?4, ?5)",
	[SPOOL_BLOCKMAP] = "INSERT INTO temp.new_blockmap (run_id, sample, first_block, blocks,"
			   " base, difference) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[SPOOL_ACCURACY] = "INSERT INTO temp.new_accuracy (run_id, variant, class, dimension, key,"
			   " cause, choices, correct) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[SPOOL_WARNING] = "INSERT INTO temp.new_warning (run_id, line, text)"
			  " SELECT ?1, count(*), ?2 FROM temp.new_warning",
	/* Should an opener in another pid namespace have swept a run that lived, its end wins. */
	[END_RUN] = "UPDATE run SET status = ?2, status_text = ?3 WHERE id = ?1",
};

/*
 * What waits for the end of a run: a table in SQLite's temporary database for each that it ends in.
 * Parents before children. Of a run that does not end well only the last is kept.
 */
#define SPOOLED(table)                                                                             \
	{                                                                                          \
		.create =                                                                          \
			"CREATE TEMP TABLE new_" table " AS SELECT * FROM main." table " LIMIT 0", \
		.clear = "DELETE FROM temp.new_" table,                                            \
		.move = "INSERT INTO main." table " SELECT * FROM temp.new_" table,                \
	}
static const struct {
	const char *create, *clear, *move;
} spooled[] = {
	SPOOLED("metric"),   SPOOLED("sample"),	  SPOOLED("sample_metric"), SPOOLED("latency"),
	SPOOLED("freelist"), SPOOLED("blockmap"), SPOOLED("accuracy"),	    SPOOLED("warning"),
};

/* What fails when that does. */
#define SPOOLING "set results aside in the temporary directory (TMPDIR)"

/* A reader of one map goes back no further than this many. */
#define BLOCKMAP_CHAIN 64

/* The block map last spooled, to tell the next one's differences from. */
struct last_map {
	uint16_t *held;
	size_t n; /* 0: none of this run */
	uint64_t first_block;
	uint32_t sample;
	unsigned int chain; /* maps since one that stands for itself */
};

struct store {
	struct result_sink sink;
	struct database database;
	sqlite3_stmt *stmt[STATEMENTS];
	struct host host;
	uint64_t process_start;
	int64_t run_id;
	int64_t metric_id[METRIC_COUNT];
	struct last_map map;
	bool running; /* between RESULT_RUN and RESULT_DONE */
};

static struct store *store_of_sink(struct result_sink *sink)
{
	return (struct store *)((char *)sink - offsetof(struct store, sink));
}

/* Binding fails only for lack of memory, which the step that follows then reports as well. */
static void bind_text(sqlite3_stmt *stmt, int i, const char *text)
{
	sqlite3_bind_text(stmt, i, text ? text : "", -1, SQLITE_STATIC);
}

static void bind_int(sqlite3_stmt *stmt, int i, uint64_t v)
{
	sqlite3_bind_int64(stmt, i, (sqlite3_int64)v);
}

/* NaN and infinities become NULL. */
static void bind_real(sqlite3_stmt *stmt, int i, double v)
{
	if (isfinite(v))
		sqlite3_bind_double(stmt, i, v);
	else
		sqlite3_bind_null(stmt, i);
}

/* Run a statement that returns no rows, and make it ready for its next use. */
static int step(struct store *store, enum statement which, const char *what, struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[which];
	int rc = 0;

	if (sqlite3_step(stmt) != SQLITE_DONE)
		rc = database_fail(&store->database, what, err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc;
}

static int begin(struct store *store, struct error *err)
{
	return database_exec(&store->database, "BEGIN IMMEDIATE", "begin a write", err);
}

/* Commit, or if that fails or @rc is already a failure, undo. Return: the first failure. */
static int commit(struct store *store, int rc, struct error *err)
{
	if (!rc)
		rc = database_exec(&store->database, "COMMIT", "commit", err);
	if (rc)
		sqlite3_exec(store->database.db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* ---- one record each --------------------------------------------------------------------- */

static int spool_metric(struct store *store, const struct result_record *record, struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[SPOOL_METRIC];

	if ((unsigned int)record->metric.metric >= METRIC_COUNT)
		return error_set(err, EINVAL, "run %lld: metric %d does not exist",
				 (long long)store->run_id, (int)record->metric.metric);
	bind_int(stmt, 1, (uint64_t)store->run_id);
	sqlite3_bind_int64(stmt, 2, store->metric_id[record->metric.metric]);
	bind_real(stmt, 3, record->metric.value);
	return step(store, SPOOL_METRIC, SPOOLING, err);
}

static int spool_sample(struct store *store, const struct result_record *record, struct error *err)
{
	const struct result_sample *sample = &record->sample;
	sqlite3_stmt *stmt = store->stmt[SPOOL_SAMPLE];
	int rc;

	bind_int(stmt, 1, (uint64_t)store->run_id);
	bind_int(stmt, 2, sample->index);
	bind_int(stmt, 3, sample->end);
	bind_int(stmt, 4, sample->event);
	bind_int(stmt, 5, sample->time_ns);
	rc = step(store, SPOOL_SAMPLE, SPOOLING, err);

	stmt = store->stmt[SPOOL_SAMPLE_METRIC];
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++) {
		bind_int(stmt, 1, (uint64_t)store->run_id);
		bind_int(stmt, 2, sample->index);
		sqlite3_bind_int64(stmt, 3, store->metric_id[METRIC_STATE_FIRST + i]);
		bind_real(stmt, 4, sample->state[i]);
		rc = step(store, SPOOL_SAMPLE_METRIC, SPOOLING, err);
	}
	return rc;
}

static int spool_latency(struct store *store, const struct result_record *record, struct error *err)
{
	const struct result_latency *latency = &record->latency;
	const struct histogram *h = latency->histogram;
	sqlite3_stmt *stmt = store->stmt[SPOOL_LATENCY];
	void *blob;
	size_t bytes;
	int rc;

	rc = histogram_encode(h, &blob, &bytes);
	if (rc)
		return error_set(err, -rc, "run %lld: latency: %s", (long long)store->run_id,
				 strerror(-rc));
	bind_int(stmt, 1, (uint64_t)store->run_id);
	bind_text(stmt, 2, latency_op_name(latency->op));
	bind_text(stmt, 3, latency_class_name(latency->order_class));
	bind_int(stmt, 4, latency->cpu);
	bind_int(stmt, 5, h->count);
	bind_real(stmt, 6, histogram_mean(h));
	bind_real(stmt, 7, histogram_quantile(h, 0.50));
	bind_real(stmt, 8, histogram_quantile(h, 0.99));
	bind_real(stmt, 9, h->count ? (double)h->max : NAN);
	sqlite3_bind_blob64(stmt, 10, blob, bytes, SQLITE_STATIC);
	rc = step(store, SPOOL_LATENCY, SPOOLING, err);
	free(blob);
	return rc;
}

static int spool_freelist(struct store *store, const struct result_record *record,
			  struct error *err)
{
	const struct result_freelist *freelist = &record->freelist;
	sqlite3_stmt *stmt = store->stmt[SPOOL_FREELIST];
	int rc = 0;

	for (unsigned int order = 0; !rc && order < RESULT_ORDERS; order++) {
		bind_int(stmt, 1, (uint64_t)store->run_id);
		bind_int(stmt, 2, freelist->sample);
		bind_text(stmt, 3, freelist_source_name(freelist->source));
		bind_int(stmt, 4, order);
		bind_int(stmt, 5, freelist->blocks[order]);
		rc = step(store, SPOOL_FREELIST, SPOOLING, err);
	}
	return rc;
}

/* Whether @map can be told as differences from the last one. */
static bool continues_map(const struct last_map *last, const struct result_blockmap *map)
{
	return last->n && last->n == map->n && last->first_block == map->first_block &&
	       last->chain < BLOCKMAP_CHAIN;
}

static int keep_map(struct last_map *last, const struct result_blockmap *map, bool continued)
{
	if (last->n != map->n) {
		uint16_t *held = realloc(last->held, map->n * sizeof(*held) + 1);

		if (!held)
			return -ENOMEM;
		last->held = held;
		last->n = map->n;
	}
	if (map->n)
		memcpy(last->held, map->values, map->n * sizeof(*map->values));
	last->first_block = map->first_block;
	last->sample = map->sample;
	last->chain = continued ? last->chain + 1 : 0;
	return 0;
}

static int spool_blockmap(struct store *store, const struct result_record *record,
			  struct error *err)
{
	const struct result_blockmap *map = &record->blockmap;
	const bool continued = continues_map(&store->map, map);
	sqlite3_stmt *stmt = store->stmt[SPOOL_BLOCKMAP];
	void *blob = NULL;
	size_t bytes = 0;
	int rc;

	if (store->map.n && map->sample < store->map.sample)
		return error_set(err, EINVAL, "run %lld: block map of sample %u after sample %u",
				 (long long)store->run_id, map->sample, store->map.sample);
	rc = blockmap_encode(map->values, continued ? store->map.held : NULL, map->n, &blob,
			     &bytes);
	if (rc)
		return error_set(err, -rc, "run %lld: block map: %s", (long long)store->run_id,
				 strerror(-rc));
	bind_int(stmt, 1, (uint64_t)store->run_id);
	bind_int(stmt, 2, map->sample);
	bind_int(stmt, 3, map->first_block);
	bind_int(stmt, 4, map->n);
	if (continued)
		bind_int(stmt, 5, store->map.sample);
	sqlite3_bind_blob64(stmt, 6, blob, bytes, SQLITE_STATIC);
	rc = step(store, SPOOL_BLOCKMAP, SPOOLING, err);
	free(blob);
	if (!rc && keep_map(&store->map, map, continued) != 0)
		rc = error_set(err, ENOMEM, "run %lld: block map: out of memory",
			       (long long)store->run_id);
	return rc;
}

static int spool_accuracy(struct store *store, const struct result_record *record,
			  struct error *err)
{
	const struct result_accuracy *accuracy = &record->accuracy;
	sqlite3_stmt *stmt = store->stmt[SPOOL_ACCURACY];
	const bool from_one =
		accuracy->dimension == ACCURACY_TENTH || accuracy->dimension == ACCURACY_CAUSE;

	bind_int(stmt, 1, (uint64_t)store->run_id);
	bind_text(stmt, 2, accuracy_variant_name(accuracy->variant));
	bind_text(stmt, 3, accuracy_class_name(accuracy->class_of));
	bind_text(stmt, 4, accuracy_dimension_name(accuracy->dimension));
	bind_int(stmt, 5, (uint64_t)accuracy->key + from_one);
	if (accuracy->cause)
		bind_text(stmt, 6, accuracy->cause);
	bind_int(stmt, 7, accuracy->choices);
	bind_int(stmt, 8, accuracy->correct);
	return step(store, SPOOL_ACCURACY, SPOOLING, err);
}

static int spool_warning(struct store *store, const struct result_record *record, struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[SPOOL_WARNING];

	bind_int(stmt, 1, (uint64_t)store->run_id);
	bind_text(stmt, 2, record->warning.text);
	return step(store, SPOOL_WARNING, SPOOLING, err);
}

static int spool_setting(struct store *store, const struct result_record *record, struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[SPOOL_SETTING];

	bind_text(stmt, 1, record->setting.key);
	bind_text(stmt, 2, record->setting.value);
	return step(store, SPOOL_SETTING, SPOOLING, err);
}

static int spool(struct store *store, const struct result_record *record, struct error *err)
{
	switch (record->kind) {
	case RESULT_METRIC:
		return spool_metric(store, record, err);
	case RESULT_SAMPLE:
		return spool_sample(store, record, err);
	case RESULT_LATENCY:
		return spool_latency(store, record, err);
	case RESULT_FREELIST:
		return spool_freelist(store, record, err);
	case RESULT_BLOCKMAP:
		return spool_blockmap(store, record, err);
	case RESULT_ACCURACY:
		return spool_accuracy(store, record, err);
	case RESULT_WARNING:
		return spool_warning(store, record, err);
	case RESULT_SETTING:
		return spool_setting(store, record, err);
	case RESULT_METRIC_ROW:
	case RESULT_VALUE:
	case RESULT_COUNTER:
	case RESULT_FLAG:
	case RESULT_HOLDER:
		return 0; /* version 3 of the schema has no place for them */
	default:
		return error_set(err, EINVAL, "run %lld: record of unknown kind %d",
				 (long long)store->run_id, (int)record->kind);
	}
}

/*
 * Spooling is one transaction as well, for its speed. It touches nothing but the temporary database,
 * so that others may write meanwhile.
 */
static int begin_spool(struct store *store, struct error *err)
{
	int rc = 0;

	store->map.n = 0;
	rc = database_exec(&store->database, "DELETE FROM temp.new_setting", SPOOLING, err);
	for (size_t i = 0; !rc && i < ARRAY_SIZE(spooled); i++)
		rc = database_exec(&store->database, spooled[i].clear, SPOOLING, err);
	return rc ? rc : database_exec(&store->database, "BEGIN", SPOOLING, err);
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
	bind_text(stmt, 12, "none");
	bind_text(stmt, 13, run->order < 0 ? "recorded" : "none");
	bind_int(stmt, 14, 0);
	bind_int(stmt, 15, run->seed);
	bind_int(stmt, 16, run->threads);
	bind_int(stmt, 17, 0);
	sqlite3_bind_int(stmt, 18, run->order);
	if (run->label)
		bind_text(stmt, 19, run->label);
	bind_text(stmt, 20, run->point_id);
	bind_text(stmt, 21, run->build_id);
	bind_int(stmt, 22, 0);
	bind_int(stmt, 23, 0);
	bind_int(stmt, 24, 0);
	bind_int(stmt, 25, run->start_ns);
	bind_text(stmt, 26, store->host.boot_id);
	bind_int(stmt, 27, (uint64_t)getpid());
	bind_int(stmt, 28, store->process_start);
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
		rc = begin_spool(store, err);
		if (rc)
			give_up(store, err->text);
	}
	store->running = rc == 0;
	if (rc)
		store->run_id = 0;
	return rc;
}

/* Move what was spooled into the database and end the run, all in one transaction. */
static int end_run(struct store *store, enum run_status status, const char *text, struct error *err)
{
	size_t i = status == RUN_DONE ? 0 : ARRAY_SIZE(spooled) - 1;
	int rc;

	store->running = false;
	rc = commit(store, 0, err);
	if (!rc)
		rc = begin(store, err);
	if (rc)
		return rc;
	for (; !rc && i < ARRAY_SIZE(spooled); i++)
		rc = database_exec(&store->database, spooled[i].move, "write the results", err);
	bind_int(store->stmt[SETTLE_RUN], 1, (uint64_t)store->run_id);
	if (!rc)
		rc = step(store, SETTLE_RUN, "write the settings", err);
	if (!rc)
		rc = set_status(store, status, text, err);
	return commit(store, rc, err);
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
	if (record->kind == RESULT_DONE)
		rc = end_run(store, record->done.status, record->done.text, &own);
	else
		rc = spool(store, record, &own);
	if (rc) {
		give_up(store, own.text);
		error_set(err, -rc, "%s", own.text);
	}
	return rc;
}

/* ---- open and close ---------------------------------------------------------------------- */

static int find_metric(struct store *store, unsigned int metric, struct error *err)
{
	sqlite3_stmt *stmt = store->stmt[FIND_METRIC];
	int rc = 0;

	bind_text(stmt, 1, metric_table[metric].name);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		store->metric_id[metric] = sqlite3_column_int64(stmt, 0);
	else
		rc = database_fail(&store->database, "read the metric table", err);
	sqlite3_reset(stmt);
	return rc;
}

static int write_metric_info(struct store *store, struct error *err)
{
	static const char *const directions[] = {
		[METRIC_NEUTRAL] = "neutral",
		[METRIC_HIGHER] = "higher",
		[METRIC_LOWER] = "lower",
	};
	sqlite3_stmt *stmt = store->stmt[INSERT_METRIC_INFO];
	int rc = 0;

	for (unsigned int i = 0; !rc && i < METRIC_COUNT; i++) {
		const struct metric_info *info = &metric_table[i];

		bind_text(stmt, 1, info->name);
		bind_int(stmt, 2, i);
		bind_text(stmt, 3, info->unit);
		bind_text(stmt, 4, directions[info->direction]);
		bind_text(stmt, 5, info->kind == METRIC_EXACT ? "exact" : "noisy");
		bind_text(stmt, 6, info->help);
		rc = step(store, INSERT_METRIC_INFO, "write the metric table", err);
		if (!rc)
			rc = find_metric(store, i, err);
	}
	return rc;
}

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

/* From nothing, or from an older version, to this one. */
static int bring_up_to_date(struct store *store, struct error *err)
{
	sqlite3_int64 version = 0;
	char mark[96];
	bool fresh;
	int rc;

	rc = database_check(&store->database, &fresh, err);
	if (!rc)
		rc = database_int(&store->database, "PRAGMA user_version", &version, err);
	if (rc || version == DATABASE_VERSION)
		return rc;
	if (fresh)
		rc = database_exec(&store->database, store_schema, "create the schema", err);
	if (fresh && !rc)
		rc = database_exec(&store->database, store_accuracy, "create the schema", err);
	for (sqlite3_int64 v = version; !fresh && !rc && v < DATABASE_VERSION; v++)
		rc = database_exec(&store->database, upgrades[v - 1], "upgrade the schema", err);
	if (!rc)
		rc = database_exec(&store->database, store_views, "create the views", err);
	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		 DATABASE_APPLICATION, DATABASE_VERSION);
	return rc ? rc : database_exec(&store->database, mark, "create the schema", err);
}

/* Everything done to the file at opening, inside one transaction. */
static int write_schema(struct store *store, struct error *err)
{
	int rc = bring_up_to_date(store, err);

	for (size_t i = 0; !rc && i < ARRAY_SIZE(spooled); i++)
		rc = database_exec(&store->database, spooled[i].create, SPOOLING, err);
	if (!rc)
		rc = database_exec(&store->database,
				   "CREATE TEMP TABLE new_setting (key TEXT, value TEXT)", SPOOLING,
				   err);
	if (!rc)
		rc = prepare_all(store, err);
	if (!rc)
		rc = write_metric_info(store, err);
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
	rc = database_check(&store->database, &fresh, err);
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
	rc = begin(store, err);
	if (!rc)
		rc = commit(store, write_schema(store, err), err);
	if (rc)
		finish_journal(store, NULL);
	return rc;
}

static int store_free(struct store *store, struct error *err)
{
	int rc;

	for (unsigned int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(store->stmt[i]);
	rc = database_close(&store->database, err);
	free(store->map.held);
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

int store_open(const char *path, struct store **out, struct error *err)
{
	struct store *store = calloc(1, sizeof(*store));
	bool discard = false;
	int rc;

	if (!store)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	store->sink.take = store_take;
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
