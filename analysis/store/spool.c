/* SPDX-License-Identifier: MIT */
#include "analysis/store/spool.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/blockmap.h"
#include "analysis/statement.h"
#include "base/bits.h"

enum statement {
	SPOOL_SETTING,
	SPOOL_ROW,
	SPOOL_METRIC,
	SPOOL_SPREAD,
	SPOOL_COUNTER,
	SPOOL_DOUBT,
	SPOOL_FLAG,
	SPOOL_SAMPLE,
	SPOOL_SAMPLE_METRIC,
	SPOOL_SAMPLE_COUNTER,
	SPOOL_LATENCY,
	SPOOL_OUTLIER,
	SPOOL_FREELIST,
	SPOOL_BLOCKMAP,
	SPOOL_HOLDER,
	SPOOL_ACCURACY,
	SPOOL_WARNING,
	STATEMENTS,
};

static const char *const statement_sql[STATEMENTS] = {
	[SPOOL_SETTING] = "INSERT INTO temp.new_run_setting (run_id, key, value, unit, role, usual)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[SPOOL_ROW] = "INSERT INTO temp.new_row (number, source, name, position, unit, direction,"
		      " kind, model, help) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	[SPOOL_METRIC] = "INSERT INTO temp.new_metric (run_id, metric_id, value)"
			 " VALUES (?1, ?2, ?3)",
	[SPOOL_SPREAD] = "INSERT INTO temp.new_run_spread (run_id, metric_id, value)"
			 " VALUES (?1, ?2, ?3)",
	[SPOOL_COUNTER] = "INSERT INTO temp.new_run_counter (run_id, metric_id, value)"
			  " VALUES (?1, ?2, ?3)",
	[SPOOL_DOUBT] = "INSERT INTO temp.new_doubt (run_id, name, count, failed)"
			" VALUES (?1, ?2, ?3, ?4)",
	[SPOOL_FLAG] = "INSERT INTO temp.new_run_flag (run_id, flag, allocs) VALUES (?1, ?2, ?3)",
	[SPOOL_SAMPLE] = "INSERT INTO temp.new_sample (run_id, sample, is_end, event, time_ns)"
			 " VALUES (?1, ?2, ?3, ?4, ?5)",
	[SPOOL_SAMPLE_METRIC] = "INSERT INTO temp.new_sample_metric (run_id, sample, metric_id,"
				" value) VALUES (?1, ?2, ?3, ?4)",
	[SPOOL_SAMPLE_COUNTER] = "INSERT INTO temp.new_sample_counter (run_id, sample, metric_id,"
				 " value) VALUES (?1, ?2, ?3, ?4)",
	[SPOOL_LATENCY] = "INSERT INTO temp.new_latency (run_id, op, order_class, path, cpu, count,"
			  " mean_ns, p50_ns, p99_ns, max_ns, histogram)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
	[SPOOL_OUTLIER] = "INSERT INTO temp.new_outlier (run_id, rank, op, ns, event, time_ns,"
			  " block_order, cpu, migratetype, path, pfn)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
	[SPOOL_FREELIST] = "INSERT INTO temp.new_freelist (run_id, sample, source, block_order,"
			   " blocks) VALUES (?1, ?2, ?3, ?4, ?5)",
	[SPOOL_BLOCKMAP] = "INSERT INTO temp.new_blockmap (run_id, sample, layer, first_block,"
			   " blocks, base, difference) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SPOOL_HOLDER] = "INSERT INTO temp.new_holder (run_id, sample, block, rank, class,"
			 " block_order, migratetype, gfp, context, frames, since_ns)"
			 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
	[SPOOL_ACCURACY] = "INSERT INTO temp.new_accuracy (run_id, variant, class, dimension, key,"
			   " cause, choices, correct) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[SPOOL_WARNING] = "INSERT INTO temp.new_warning (run_id, line, text)"
			  " SELECT ?1, count(*), ?2 FROM temp.new_warning",
};

/*
 * What waits for the end of a run: a table in SQLite's temporary database for each that it ends in.
 * Rows of metrics that the run itself brings are known by a number below zero until then.
 */
#define LIKE(table)  "CREATE TEMP TABLE new_" table " AS SELECT * FROM main." table " LIMIT 0"
#define CLEAR(table) "DELETE FROM temp.new_" table
#define AS_IS(table) "INSERT INTO main." table " SELECT * FROM temp.new_" table
#define ROW_ID                                                                                     \
	"iif(metric_id >= 0, metric_id, (SELECT id FROM temp.new_row AS r JOIN main.metric_info"   \
	" AS i ON i.source = r.source AND i.name = r.name WHERE r.number = metric_id))"
#define BY_METRIC(table, columns)                                                                  \
	"INSERT INTO main." table " (" columns ", metric_id, value) SELECT " columns ", " ROW_ID   \
	", value FROM temp.new_" table
#define SPOOLED(table, how)                                                                        \
	{                                                                                          \
		.create = LIKE(table), .clear = CLEAR(table), .move = (how)                        \
	}

enum table {
	TABLE_SETTINGS,
	TABLE_WARNINGS,
	TABLE_DOUBTS,
	TABLE_RESULTS, /* the first of them; parents before children */
};

static const struct {
	const char *create, *clear, *move;
} spooled[] = {
	[TABLE_SETTINGS] = SPOOLED("run_setting", AS_IS("run_setting")),
	[TABLE_WARNINGS] = SPOOLED("warning", AS_IS("warning")),
	[TABLE_DOUBTS] = SPOOLED("doubt", AS_IS("doubt")),
	[TABLE_RESULTS] =
		{
			.create = "CREATE TEMP TABLE new_row (number INTEGER PRIMARY KEY, source,"
				  " name, position, unit, direction, kind, model, help)",
			.clear = CLEAR("row"),
			.move = "INSERT INTO main.metric_info (source, name, position, unit,"
				" direction, kind, model, help)"
				" SELECT source, name, position, unit, direction, kind, model, help"
				" FROM temp.new_row WHERE true"
				" ON CONFLICT (source, name) DO UPDATE SET"
				" position = excluded.position, unit = excluded.unit,"
				" direction = excluded.direction, kind = excluded.kind,"
				" model = excluded.model, help = excluded.help",
		},
	SPOOLED("metric", BY_METRIC("metric", "run_id")),
	SPOOLED("run_spread", BY_METRIC("run_spread", "run_id")),
	SPOOLED("run_counter", BY_METRIC("run_counter", "run_id")),
	SPOOLED("run_flag", AS_IS("run_flag")),
	SPOOLED("sample", AS_IS("sample")),
	SPOOLED("sample_metric", BY_METRIC("sample_metric", "run_id, sample")),
	SPOOLED("sample_counter", BY_METRIC("sample_counter", "run_id, sample")),
	SPOOLED("latency", AS_IS("latency")),
	SPOOLED("outlier", AS_IS("outlier")),
	SPOOLED("freelist", AS_IS("freelist")),
	SPOOLED("blockmap", AS_IS("blockmap")),
	SPOOLED("holder", AS_IS("holder")),
	SPOOLED("accuracy", AS_IS("accuracy")),
};

/* What fails when that does. */
#define SPOOLING "set results aside in the temporary directory (TMPDIR)"
#define MOVING	 "write the results"

/* A reader of one map goes back no further than this many. */
#define BLOCKMAP_CHAIN 64

/* The block map of a layer last spooled, to tell the next one's differences from. */
struct last_map {
	uint16_t *values;
	size_t n; /* 0: none of this run */
	uint64_t first_block;
	uint32_t sample;
	unsigned int chain; /* maps since one that stands for itself */
};

struct spool {
	struct database *database;
	sqlite3_stmt *stmt[STATEMENTS];
	int64_t run_id;
	int64_t metric_id[METRIC_COUNT];
	uint32_t rows; /* metrics that the run has declared */
	bool has_settings;
	struct last_map map[BLOCKMAP_LAYERS];
};

/* The statement for one more row, the run's id bound. */
static sqlite3_stmt *row_of_run(struct spool *spool, enum statement which)
{
	bind_int(spool->stmt[which], 1, (uint64_t)spool->run_id);
	return spool->stmt[which];
}

static int put(struct spool *spool, enum statement which, struct error *err)
{
	return statement_run(spool->database, spool->stmt[which], SPOOLING, err);
}

/* ---- metrics and counters ------------------------------------------------------------------ */

/* What stands for a metric until the end. */
static int find_metric(const struct spool *spool, uint32_t metric, int64_t *id, struct error *err)
{
	*id = 0;
	if (metric >= METRIC_COUNT + spool->rows)
		return error_set(err, EINVAL, "run %lld: metric %u does not exist",
				 (long long)spool->run_id, metric);
	*id = metric < METRIC_COUNT ? spool->metric_id[metric]
				    : (int64_t)METRIC_COUNT - 1 - (int64_t)metric;
	return 0;
}

static int spool_row(struct spool *spool, const struct result_metric_row *row, struct error *err)
{
	sqlite3_stmt *stmt = spool->stmt[SPOOL_ROW];
	int64_t number;
	int rc;

	if (row->metric != METRIC_COUNT + spool->rows || spool->rows == RESULT_ROWS_MAX ||
	    !row->source[0])
		return error_set(
			err, EINVAL, "run %lld: metric %s cannot be declared as number %u of '%s'",
			(long long)spool->run_id, row->info.name, row->metric, row->source);
	spool->rows++;
	rc = find_metric(spool, row->metric, &number, err);
	if (rc)
		return rc;
	sqlite3_bind_int64(stmt, 1, number);
	bind_text(stmt, 2, row->source);
	bind_text(stmt, 3, row->info.name);
	bind_int(stmt, 4, row->metric);
	bind_text(stmt, 5, row->info.unit);
	bind_text(stmt, 6, metric_direction_name(row->info.direction));
	bind_text(stmt, 7, metric_kind_name(row->info.kind));
	bind_text_or_null(stmt, 8, row->info.model);
	bind_text(stmt, 9, row->info.help);
	return put(spool, SPOOL_ROW, err);
}

/* @which: SPOOL_METRIC, or its spread */
static int spool_metric(struct spool *spool, enum statement which, uint32_t metric, double value,
			struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, which);
	int64_t id;
	int rc = find_metric(spool, metric, &id, err);

	if (rc)
		return rc;
	sqlite3_bind_int64(stmt, 2, id);
	bind_real(stmt, 3, value);
	return put(spool, which, err);
}

static int spool_value(struct spool *spool, const struct result_value *value, struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_SAMPLE_METRIC);
	int64_t id;
	int rc;

	if (value->sample == RESULT_AT_END)
		return spool_metric(spool, SPOOL_METRIC, value->metric, value->value, err);
	rc = find_metric(spool, value->metric, &id, err);
	if (rc)
		return rc;
	bind_int(stmt, 2, value->sample);
	sqlite3_bind_int64(stmt, 3, id);
	bind_real(stmt, 4, value->value);
	return put(spool, SPOOL_SAMPLE_METRIC, err);
}

static int spool_counter(struct spool *spool, const struct result_counter *counter,
			 struct error *err)
{
	const bool end = counter->sample == RESULT_AT_END;
	const enum statement which = end ? SPOOL_COUNTER : SPOOL_SAMPLE_COUNTER;
	sqlite3_stmt *stmt = row_of_run(spool, which);
	int64_t id;
	int column = 2, rc = find_metric(spool, counter->metric, &id, err);

	if (rc)
		return rc;
	if (!end)
		bind_int(stmt, column++, counter->sample);
	sqlite3_bind_int64(stmt, column++, id);
	bind_int(stmt, column, counter->value);
	return put(spool, which, err);
}

static int spool_sample(struct spool *spool, const struct result_sample *sample, struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_SAMPLE);
	int rc;

	bind_int(stmt, 2, sample->index);
	bind_int(stmt, 3, sample->end);
	bind_int(stmt, 4, sample->event);
	bind_int(stmt, 5, sample->time_ns);
	rc = put(spool, SPOOL_SAMPLE, err);
	for (unsigned int i = 0; !rc && i < METRIC_STATE_COUNT; i++) {
		stmt = row_of_run(spool, SPOOL_SAMPLE_METRIC);
		bind_int(stmt, 2, sample->index);
		sqlite3_bind_int64(stmt, 3, spool->metric_id[METRIC_STATE_FIRST + i]);
		bind_real(stmt, 4, sample->state[i]);
		rc = put(spool, SPOOL_SAMPLE_METRIC, err);
	}
	return rc;
}

/* ---- one record of the others each ---------------------------------------------------------- */

static int spool_setting(struct spool *spool, const struct result_setting *setting,
			 struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_SETTING);

	bind_text(stmt, 2, setting->key);
	bind_text(stmt, 3, setting->value);
	bind_text(stmt, 4, setting->unit);
	bind_text(stmt, 5, setting_role_name(setting->role));
	bind_int(stmt, 6, setting->usual);
	spool->has_settings = true;
	return put(spool, SPOOL_SETTING, err);
}

static int spool_doubt(struct spool *spool, const struct result_doubt *doubt, struct error *err)
{
	const struct doubt_info *info = &doubt_table[doubt->doubt];
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_DOUBT);

	bind_text(stmt, 2, info->name);
	bind_int(stmt, 3, doubt->count);
	bind_int(stmt, 4, info->failed);
	return put(spool, SPOOL_DOUBT, err);
}

static int spool_flag(struct spool *spool, const struct result_flag *flag, struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_FLAG);

	bind_text(stmt, 2, result_flag_name(flag->flag));
	bind_int(stmt, 3, flag->allocs);
	return put(spool, SPOOL_FLAG, err);
}

static int spool_latency(struct spool *spool, const struct result_latency *latency,
			 struct error *err)
{
	const struct histogram *h = latency->histogram;
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_LATENCY);
	void *blob;
	size_t bytes;
	int rc;

	rc = histogram_encode(h, &blob, &bytes);
	if (rc)
		return error_set(err, -rc, "run %lld: latency: %s", (long long)spool->run_id,
				 strerror(-rc));
	bind_text(stmt, 2, latency_op_name(latency->op));
	bind_text(stmt, 3, latency_class_name(latency->order_class));
	bind_text(stmt, 4, latency_path_name(latency->path));
	bind_int(stmt, 5, latency->cpu);
	bind_int(stmt, 6, h->count);
	bind_real(stmt, 7, histogram_mean(h));
	bind_real(stmt, 8, histogram_quantile(h, 0.50));
	bind_real(stmt, 9, histogram_quantile(h, 0.99));
	bind_real(stmt, 10, h->count ? (double)h->max : NAN);
	sqlite3_bind_blob64(stmt, 11, blob, bytes, SQLITE_STATIC);
	rc = put(spool, SPOOL_LATENCY, err);
	free(blob);
	return rc;
}

static int spool_outlier(struct spool *spool, const struct result_outlier *o, struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_OUTLIER);

	bind_int(stmt, 2, o->rank);
	bind_text(stmt, 3, latency_op_name(o->op));
	bind_int(stmt, 4, o->ns);
	bind_int(stmt, 5, o->event);
	bind_int(stmt, 6, o->time_ns);
	bind_int(stmt, 7, o->order);
	bind_int(stmt, 8, o->cpu);
	bind_int(stmt, 9, o->migratetype);
	bind_text(stmt, 10, latency_path_name(o->path));
	if (o->pfn == UINT64_MAX)
		sqlite3_bind_null(stmt, 11);
	else
		bind_int(stmt, 11, o->pfn);
	return put(spool, SPOOL_OUTLIER, err);
}

static int spool_freelist(struct spool *spool, const struct result_freelist *freelist,
			  struct error *err)
{
	int rc = 0;

	for (unsigned int order = 0; !rc && order < RESULT_ORDERS; order++) {
		sqlite3_stmt *stmt = row_of_run(spool, SPOOL_FREELIST);

		bind_int(stmt, 2, freelist->sample);
		bind_text(stmt, 3, freelist_source_name(freelist->source));
		bind_int(stmt, 4, order);
		bind_int(stmt, 5, freelist->blocks[order]);
		rc = put(spool, SPOOL_FREELIST, err);
	}
	return rc;
}

static int spool_holder(struct spool *spool, const struct result_holder *holder, struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_HOLDER);

	bind_int(stmt, 2, holder->sample);
	bind_int(stmt, 3, holder->block);
	bind_int(stmt, 4, holder->rank);
	bind_text(stmt, 5, holder->class_name);
	bind_int(stmt, 6, holder->order);
	bind_int(stmt, 7, holder->migratetype);
	bind_int(stmt, 8, holder->gfp);
	bind_int(stmt, 9, holder->context);
	bind_int(stmt, 10, holder->frames);
	bind_int(stmt, 11, holder->since_ns);
	return put(spool, SPOOL_HOLDER, err);
}

static int spool_accuracy(struct spool *spool, const struct result_accuracy *accuracy,
			  struct error *err)
{
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_ACCURACY);
	const bool from_one =
		accuracy->dimension == ACCURACY_TENTH || accuracy->dimension == ACCURACY_CAUSE;

	bind_text(stmt, 2, accuracy_variant_name(accuracy->variant));
	bind_text(stmt, 3, accuracy_class_name(accuracy->class_of));
	bind_text(stmt, 4, accuracy_dimension_name(accuracy->dimension));
	bind_int(stmt, 5, (uint64_t)accuracy->key + from_one);
	bind_text_or_null(stmt, 6, accuracy->cause);
	bind_int(stmt, 7, accuracy->choices);
	bind_int(stmt, 8, accuracy->correct);
	return put(spool, SPOOL_ACCURACY, err);
}

static int spool_warning(struct spool *spool, const char *text, struct error *err)
{
	bind_text(row_of_run(spool, SPOOL_WARNING), 2, text);
	return put(spool, SPOOL_WARNING, err);
}

/* ---- block maps ------------------------------------------------------------------------------ */

/* Whether @map can be told as differences from the last one. */
static bool continues_map(const struct last_map *last, const struct result_blockmap *map)
{
	return last->n && last->n == map->n && last->first_block == map->first_block &&
	       last->chain < BLOCKMAP_CHAIN;
}

static int keep_map(struct last_map *last, const struct result_blockmap *map, bool continued)
{
	if (last->n != map->n) {
		uint16_t *values = realloc(last->values, map->n * sizeof(*values) + 1);

		if (!values)
			return -ENOMEM;
		last->values = values;
		last->n = map->n;
	}
	if (map->n)
		memcpy(last->values, map->values, map->n * sizeof(*map->values));
	last->first_block = map->first_block;
	last->sample = map->sample;
	last->chain = continued ? last->chain + 1 : 0;
	return 0;
}

static int spool_blockmap(struct spool *spool, const struct result_blockmap *map, struct error *err)
{
	struct last_map *last = &spool->map[map->layer];
	const bool continued = continues_map(last, map);
	sqlite3_stmt *stmt = row_of_run(spool, SPOOL_BLOCKMAP);
	void *blob = NULL;
	size_t bytes = 0;
	int rc;

	if (last->n && map->sample < last->sample)
		return error_set(err, EINVAL, "run %lld: block map of sample %u after sample %u",
				 (long long)spool->run_id, map->sample, last->sample);
	rc = blockmap_encode(map->values, continued ? last->values : NULL, map->n, &blob, &bytes);
	if (rc)
		return error_set(err, -rc, "run %lld: block map: %s", (long long)spool->run_id,
				 strerror(-rc));
	bind_int(stmt, 2, map->sample);
	bind_text(stmt, 3, blockmap_layer_name(map->layer));
	bind_int(stmt, 4, map->first_block);
	bind_int(stmt, 5, map->n);
	if (continued)
		bind_int(stmt, 6, last->sample);
	sqlite3_bind_blob64(stmt, 7, blob, bytes, SQLITE_STATIC);
	rc = put(spool, SPOOL_BLOCKMAP, err);
	free(blob);
	if (!rc && keep_map(last, map, continued) != 0)
		rc = error_set(err, ENOMEM, "run %lld: block map: out of memory",
			       (long long)spool->run_id);
	return rc;
}

/* ---- begin to end ------------------------------------------------------------------------------ */

int spool_take(struct spool *spool, const struct result_record *record, struct error *err)
{
	switch (record->kind) {
	case RESULT_SETTING:
		return spool_setting(spool, &record->setting, err);
	case RESULT_METRIC_ROW:
		return spool_row(spool, &record->row, err);
	case RESULT_METRIC:
		return spool_metric(spool, SPOOL_METRIC, record->metric.metric,
				    record->metric.value, err);
	case RESULT_SPREAD:
		return spool_metric(spool, SPOOL_SPREAD, record->spread.metric,
				    record->spread.value, err);
	case RESULT_VALUE:
		return spool_value(spool, &record->value, err);
	case RESULT_COUNTER:
		return spool_counter(spool, &record->counter, err);
	case RESULT_FLAG:
		return spool_flag(spool, &record->flag, err);
	case RESULT_DOUBT:
		return spool_doubt(spool, &record->doubt, err);
	case RESULT_SAMPLE:
		return spool_sample(spool, &record->sample, err);
	case RESULT_OUTLIER:
		return spool_outlier(spool, &record->outlier, err);
	case RESULT_LATENCY:
		return spool_latency(spool, &record->latency, err);
	case RESULT_FREELIST:
		return spool_freelist(spool, &record->freelist, err);
	case RESULT_BLOCKMAP:
		return spool_blockmap(spool, &record->blockmap, err);
	case RESULT_HOLDER:
		return spool_holder(spool, &record->holder, err);
	case RESULT_ACCURACY:
		return spool_accuracy(spool, &record->accuracy, err);
	case RESULT_WARNING:
		return spool_warning(spool, record->warning.text, err);
	case RESULT_ALIVE:
		return 0;
	default:
		return error_set(err, EINVAL, "run %lld: record of unknown kind %d",
				 (long long)spool->run_id, (int)record->kind);
	}
}

int spool_create(struct database *database, struct spool **out, struct error *err)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int rc = 0;

	*out = spool;
	if (!spool)
		return error_set(err, ENOMEM, "%s: out of memory", database->path);
	spool->database = database;
	for (size_t i = 0; !rc && i < ARRAY_SIZE(spooled); i++)
		rc = database_exec(database, spooled[i].create, SPOOLING, err);
	for (unsigned int i = 0; !rc && i < STATEMENTS; i++)
		rc = database_prepare(database, statement_sql[i], &spool->stmt[i], err);
	return rc;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	for (unsigned int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(spool->stmt[i]);
	for (unsigned int i = 0; i < BLOCKMAP_LAYERS; i++)
		free(spool->map[i].values);
	free(spool);
}

int64_t *spool_metric_ids(struct spool *spool)
{
	return spool->metric_id;
}

int spool_begin(struct spool *spool, int64_t run_id, struct error *err)
{
	int rc = 0;

	spool->run_id = run_id;
	spool->rows = 0;
	spool->has_settings = false;
	for (unsigned int i = 0; i < BLOCKMAP_LAYERS; i++)
		spool->map[i].n = 0;
	for (size_t i = 0; !rc && i < ARRAY_SIZE(spooled); i++)
		rc = database_exec(spool->database, spooled[i].clear, SPOOLING, err);
	return rc ? rc : database_exec(spool->database, "BEGIN", SPOOLING, err);
}

bool spool_has_settings(const struct spool *spool)
{
	return spool->has_settings;
}

int spool_move_settings(struct spool *spool, struct error *err)
{
	int rc = database_exec(spool->database, spooled[TABLE_SETTINGS].move, MOVING, err);

	if (!rc)
		rc = database_exec(spool->database, spooled[TABLE_SETTINGS].clear, SPOOLING, err);
	spool->has_settings = false;
	return rc;
}

int spool_move_findings(struct spool *spool, struct error *err)
{
	int rc = database_exec(spool->database, spooled[TABLE_WARNINGS].move, MOVING, err);

	return rc ? rc : database_exec(spool->database, spooled[TABLE_DOUBTS].move, MOVING, err);
}

int spool_move_results(struct spool *spool, struct error *err)
{
	int rc = 0;

	for (size_t i = TABLE_RESULTS; !rc && i < ARRAY_SIZE(spooled); i++)
		rc = database_exec(spool->database, spooled[i].move, MOVING, err);
	return rc;
}
