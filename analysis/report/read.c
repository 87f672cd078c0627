/* SPDX-License-Identifier: MIT */
#include "analysis/report/read.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/database.h"
#include "analysis/report/arrange.h"
#include "analysis/schema.h"
#include "analysis/text.h"
#include "base/bits.h"

static const char *arena_strdup(struct report_data *data, const char *text)
{
	const size_t size = strlen(text) + 1;
	char *copy = report_alloc(data, size, 1);

	return copy ? memcpy(copy, text, size) : NULL;
}

struct reader {
	struct database database;
	struct report_data *data;
	struct error *err;
	bool no_memory;
};

/* A text column; NULL stays NULL. */
static const char *column_text(struct reader *r, sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	const char *copy;

	if (!text)
		return NULL;
	copy = arena_strdup(r->data, text);
	if (!copy)
		r->no_memory = true;
	return copy;
}

static const char *column_word(struct reader *r, sqlite3_stmt *stmt, int column)
{
	const char *text = column_text(r, stmt, column);

	return text ? text : "";
}

/* Without the directories of paths in it. */
static const char *column_names(struct reader *r, sqlite3_stmt *stmt, int column,
				const char *between)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	char *copy = report_alloc(r->data, text ? strlen(text) + 1 : 1, 1);

	if (!copy) {
		r->no_memory = true;
		return "";
	}
	if (text)
		text_drop_directories(strcpy(copy, text), between);
	return copy;
}

static double column_real(sqlite3_stmt *stmt, int column)
{
	return sqlite3_column_type(stmt, column) == SQLITE_NULL
		       ? NAN
		       : sqlite3_column_double(stmt, column);
}

static uint64_t column_u64(sqlite3_stmt *stmt, int column)
{
	return (uint64_t)sqlite3_column_int64(stmt, column);
}

/* The outcome of a loop of steps that ended with @got; finalizes. */
static int finish(struct reader *r, sqlite3_stmt *stmt, int got, int rc)
{
	if (!rc && r->no_memory)
		rc = error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	if (!rc && got != SQLITE_DONE)
		rc = database_fail(&r->database, "reading", r->err);
	sqlite3_finalize(stmt);
	return rc;
}

static int prepare_for_run(struct reader *r, const char *sql, int64_t run_id, sqlite3_stmt **stmt)
{
	int rc = database_prepare(&r->database, sql, stmt, r->err);

	if (!rc)
		sqlite3_bind_int64(*stmt, 1, run_id);
	return rc;
}

static int read_metrics(struct reader *r, struct report_run *run)
{
	sqlite3_stmt *stmt;
	int got, rc;

	metrics_clear(run->value);
	rc = prepare_for_run(r,
			     "SELECT name, value FROM v_metric"
			     " WHERE run_id = ?1 AND source = '' AND value NOT NULL",
			     run->id, &stmt);
	if (rc)
		return rc;
	while ((got = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		enum metric m = name ? metric_find(name) : METRIC_COUNT;

		if (m != METRIC_COUNT)
			run->value[m] = sqlite3_column_double(stmt, 1);
	}
	return finish(r, stmt, got, 0);
}

/* The number of rows that @sql has for a run. */
static int count_rows(struct reader *r, const char *sql, int64_t run_id, size_t *n)
{
	sqlite3_stmt *stmt;
	int got, rc = prepare_for_run(r, sql, run_id, &stmt);

	*n = 0;
	if (rc)
		return rc;
	got = sqlite3_step(stmt);
	if (got == SQLITE_ROW) {
		*n = (size_t)sqlite3_column_int64(stmt, 0);
		got = SQLITE_DONE;
	}
	return finish(r, stmt, got, 0);
}

static int read_samples(struct reader *r, struct report_run *run)
{
	sqlite3_stmt *stmt;
	uint64_t first = 0;
	size_t n;
	int got, rc;

	rc = count_rows(r, "SELECT count(*) FROM sample WHERE run_id = ?1", run->id, &n);
	if (rc)
		return rc;
	run->samples = report_alloc(r->data, n, sizeof(*run->samples));
	if (!run->samples)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = prepare_for_run(r,
			     "SELECT time_ns,"
			     " max(value) FILTER (WHERE name = 'free_huge'),"
			     " max(value) FILTER (WHERE name = 'moves_to_compact')"
			     " FROM sample LEFT JOIN sample_metric USING (run_id, sample)"
			     " LEFT JOIN metric_info ON metric_info.id = metric_id AND source = ''"
			     " WHERE run_id = ?1 GROUP BY sample ORDER BY sample",
			     run->id, &stmt);
	if (rc)
		return rc;
	while ((got = sqlite3_step(stmt)) == SQLITE_ROW && run->n_samples < n) {
		struct report_sample *s = &run->samples[run->n_samples];
		const uint64_t now = column_u64(stmt, 0);

		if (run->n_samples++ == 0)
			first = now;
		s->seconds = (double)(int64_t)(now - first) / 1e9;
		s->free_huge = column_real(stmt, 1);
		s->moves_to_compact = column_real(stmt, 2);
	}
	return finish(r, stmt, got, 0);
}

/* @name among @n names told by @name_of; @n if it is none of them. */
static unsigned int number_of(const char *name, unsigned int n,
			      const char *(*name_of)(unsigned int))
{
	unsigned int i = 0;

	while (i < n && (!name || strcmp(name, name_of(i)) != 0))
		i++;
	return i;
}

static const char *op_name(unsigned int op)
{
	return latency_op_name((enum latency_op)op);
}

static const char *path_name(unsigned int path)
{
	return latency_path_name((enum latency_path)path);
}

static int merge_into(struct reader *r, struct histogram **whole, const struct histogram *part)
{
	if (!*whole) {
		*whole = report_alloc(r->data, 1, sizeof(**whole));
		if (!*whole)
			return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
		histogram_init(*whole);
	}
	histogram_merge(*whole, part);
	return 0;
}

static int merge_latency(struct reader *r, struct report_run *run, sqlite3_stmt *stmt,
			 struct histogram *part)
{
	const unsigned int op =
		number_of((const char *)sqlite3_column_text(stmt, 0), LATENCY_OPS, op_name);
	const unsigned int path =
		number_of((const char *)sqlite3_column_text(stmt, 1), LATENCY_PATHS, path_name);
	const void *blob = sqlite3_column_blob(stmt, 2);
	const size_t bytes = (size_t)sqlite3_column_bytes(stmt, 2);
	int rc;

	if (op == LATENCY_OPS || path == LATENCY_PATHS)
		return 0;
	if (histogram_decode(blob, bytes, part, NULL) != 0)
		return error_set(r->err, EBADMSG,
				 "%s: run %lld: a latency histogram is damaged; replay it again",
				 r->database.path, (long long)run->id);
	rc = merge_into(r, &run->latency[op], part);
	return rc ? rc : merge_into(r, &run->path[op][path], part);
}

static int read_latency(struct reader *r, struct report_run *run)
{
	struct histogram *part = malloc(sizeof(*part));
	sqlite3_stmt *stmt;
	int got = SQLITE_DONE, rc;

	if (!part)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = prepare_for_run(r, "SELECT op, path, histogram FROM latency WHERE run_id = ?1",
			     run->id, &stmt);
	if (!rc) {
		while (!rc && (got = sqlite3_step(stmt)) == SQLITE_ROW)
			rc = merge_latency(r, run, stmt, part);
		rc = finish(r, stmt, got, rc);
	}
	free(part);
	return rc;
}

static enum setting_role setting_role_of(const char *name)
{
	enum setting_role role = SETTING_QUESTION;

	while (role < SETTING_FACT && strcmp(name, setting_role_name(role)) != 0)
		role++;
	return role;
}

static int read_settings(struct reader *r, struct report_run *run)
{
	sqlite3_stmt *stmt;
	size_t n;
	int got = SQLITE_DONE, rc;

	rc = count_rows(r, "SELECT count(*) FROM run_setting WHERE run_id = ?1", run->id, &n);
	if (rc)
		return rc;
	run->settings = report_alloc(r->data, n, sizeof(*run->settings));
	if (!run->settings)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = prepare_for_run(r,
			     "SELECT key, value, unit, role, usual FROM run_setting"
			     " WHERE run_id = ?1 ORDER BY key",
			     run->id, &stmt);
	if (rc)
		return rc;
	while (run->n_settings < n && (got = sqlite3_step(stmt)) == SQLITE_ROW) {
		run->settings[run->n_settings++] = (struct result_setting){
			.key = column_word(r, stmt, 0),
			.value = column_word(r, stmt, 1),
			.unit = column_word(r, stmt, 2),
			.role = setting_role_of(column_word(r, stmt, 3)),
			.usual = sqlite3_column_int(stmt, 4) != 0,
		};
		got = SQLITE_DONE;
	}
	return finish(r, stmt, got, 0);
}

static int read_warnings(struct reader *r, struct report_run *run)
{
	sqlite3_stmt *stmt;
	size_t room = 0;
	int got, rc;

	rc = prepare_for_run(r, "SELECT text FROM warning WHERE run_id = ?1 ORDER BY line", run->id,
			     &stmt);
	if (rc)
		return rc;
	while ((got = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (run->n_warnings == room) {
			const char **more = report_alloc(r->data, 2 * room + 4, sizeof(*more));

			if (!more) {
				r->no_memory = true;
				break;
			}
			if (room)
				memcpy(more, run->warnings, room * sizeof(*more));
			run->warnings = more;
			room = 2 * room + 4;
		}
		run->warnings[run->n_warnings++] = column_names(r, stmt, 0, TEXT_PROSE);
	}
	return finish(r, stmt, got, 0);
}

static int read_doubts(struct reader *r, struct report_run *run)
{
	sqlite3_stmt *stmt;
	int got, rc = prepare_for_run(r, "SELECT name, count FROM doubt WHERE run_id = ?1", run->id,
				      &stmt);

	if (rc)
		return rc;
	while ((got = sqlite3_step(stmt)) == SQLITE_ROW) {
		const enum result_doubt_kind doubt = doubt_find(column_word(r, stmt, 0));

		if (doubt < DOUBT_KINDS)
			run->doubts.count[doubt] = column_u64(stmt, 1);
	}
	return finish(r, stmt, got, 0);
}

static enum run_role role_of(const char *name)
{
	enum run_role role = ROLE_REFERENCE;

	while (role < ROLE_HARNESS && strcmp(name, run_role_name(role)) != 0)
		role++;
	return role;
}

/* What is shown is what @view has; ?1: the label, if only its runs are wanted. */
#define RUNS_FROM(view, which)                                                                     \
	" FROM " view " AS r JOIN host ON host.id = r.host_id"                                     \
	" JOIN backend ON backend.id = r.backend_id LEFT JOIN trace ON trace.id = r.trace_id"      \
	" WHERE verb " which " AND (?1 IS NULL OR label = ?1)"

#define RUNS_COLUMNS                                                                               \
	"SELECT r.run_id, coalesce(r.trace_id, -r.run_id), trace.path, trace.digest, trace.note,"  \
	" r.allocator, backend.summary, r.spec, r.options, r.label, r.started_utc, r.mode,"        \
	" r.build_id, r.seed, r.threads, r.role, r.may_compete,"                                   \
	" host.cpu_model || ', ' || host.cores || ' CPUs, ' || (host.memory_bytes >> 20) ||"       \
	" ' MiB, Linux ' || host.kernel || ', THP ' || host.thp || ', governor ' ||"               \
	" host.governor, r.settings, r.status, r.status_text, r.out_for, r.block_order"

#define RUNS_ORDER " ORDER BY trace.path IS NULL, trace.path, 2, r.allocator, r.options, r.run_id"

#define REPLAYS	   RUNS_FROM("v_latest", "= 'replay'")
#define FIDELITY   RUNS_FROM("v_latest", "= 'fidelity'")
#define BENCHES	   RUNS_FROM("v_latest", "= 'bench'")
#define UNFINISHED RUNS_FROM("v_unfinished", "IS NOT NULL")

/* The number of some runs, and the runs. */
struct runs_sql {
	const char *count, *rows;
};

static const struct runs_sql replays = {"SELECT count(*)" REPLAYS, RUNS_COLUMNS REPLAYS RUNS_ORDER};
static const struct runs_sql fidelities = {"SELECT count(*)" FIDELITY,
					   RUNS_COLUMNS FIDELITY RUNS_ORDER};
static const struct runs_sql benches = {"SELECT count(*)" BENCHES, RUNS_COLUMNS BENCHES RUNS_ORDER};
static const struct runs_sql unfinished = {"SELECT count(*)" UNFINISHED,
					   RUNS_COLUMNS ", r.latest" UNFINISHED RUNS_ORDER};

static void read_run_row(struct reader *r, sqlite3_stmt *stmt, struct report_run *run)
{
	run->id = sqlite3_column_int64(stmt, 0);
	run->allocator = column_word(r, stmt, 5);
	run->summary = column_word(r, stmt, 6);
	run->spec = column_names(r, stmt, 7, TEXT_SPEC);
	run->options = column_names(r, stmt, 8, TEXT_SPEC);
	run->label = column_text(r, stmt, 9);
	run->started = column_word(r, stmt, 10);
	run->mode = column_word(r, stmt, 11);
	run->build_id = column_word(r, stmt, 12);
	run->seed = column_u64(stmt, 13);
	run->threads = (uint32_t)sqlite3_column_int64(stmt, 14);
	run->role = role_of(column_word(r, stmt, 15));
	run->may_compete = sqlite3_column_int(stmt, 16) != 0;
	run->host = column_word(r, stmt, 17);
	run->asked = column_word(r, stmt, 18);
	run->status = column_word(r, stmt, 19);
	run->why = column_names(r, stmt, 20, TEXT_PROSE);
	run->out_for = column_word(r, stmt, 21);
	run->order = (int32_t)sqlite3_column_int64(stmt, 22);
}

/* All selected runs into one array, cut into traces where the trace changes. */
static int read_runs(struct reader *r, const char *label, size_t n)
{
	struct report_data *data = r->data;
	struct report_run *runs = report_alloc(data, n, sizeof(*runs));
	sqlite3_stmt *stmt;
	sqlite3_int64 last = 0;
	size_t done = 0;
	int got = SQLITE_DONE, rc;

	data->traces = report_alloc(data, n, sizeof(*data->traces));
	if (!runs || !data->traces)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = database_prepare(&r->database, replays.rows, &stmt, r->err);
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, label, -1, SQLITE_STATIC);
	while (done < n && (got = sqlite3_step(stmt)) == SQLITE_ROW) {
		const sqlite3_int64 id = sqlite3_column_int64(stmt, 1);

		if (done == 0 || id != last) {
			struct report_trace *trace = &data->traces[data->n_traces++];

			trace->file = text_base_name(column_word(r, stmt, 2));
			trace->digest = column_word(r, stmt, 3);
			trace->note = column_names(r, stmt, 4, TEXT_PROSE);
			trace->runs = &runs[done];
			last = id;
		}
		data->traces[data->n_traces - 1].n_runs++;
		read_run_row(r, stmt, &runs[done++]);
		got = SQLITE_DONE;
	}
	return finish(r, stmt, got, 0);
}

static int count_runs(struct reader *r, const char *sql, const char *label, size_t *n)
{
	sqlite3_stmt *stmt;
	int got, rc = database_prepare(&r->database, sql, &stmt, r->err);

	*n = 0;
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, label, -1, SQLITE_STATIC);
	got = sqlite3_step(stmt);
	if (got == SQLITE_ROW) {
		*n = (size_t)sqlite3_column_int64(stmt, 0);
		got = SQLITE_DONE;
	}
	return finish(r, stmt, got, 0);
}

/* The rows of @sql, of no trace of the page. */
static int read_others(struct reader *r, const struct runs_sql *sql, const char *label,
		       struct report_run **runs, size_t *n_runs)
{
	sqlite3_stmt *stmt;
	size_t n;
	int got = SQLITE_DONE, rc = count_runs(r, sql->count, label, &n);

	if (rc || n == 0)
		return rc;
	*runs = report_alloc(r->data, n, sizeof(**runs));
	if (!*runs)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = database_prepare(&r->database, sql->rows, &stmt, r->err);
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, label, -1, SQLITE_STATIC);
	while (*n_runs < n && (got = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct report_run *run = &(*runs)[(*n_runs)++];

		run->trace = text_base_name(column_word(r, stmt, 2));
		read_run_row(r, stmt, run);
		if (sql == &unfinished)
			run->latest = sqlite3_column_int64(stmt, 23);
		got = SQLITE_DONE;
	}
	return finish(r, stmt, got, 0);
}

static int read_fidelity(struct reader *r, const char *label)
{
	struct report_data *data = r->data;
	int rc = read_others(r, &fidelities, label, &data->fidelity, &data->n_fidelity);

	for (size_t i = 0; !rc && i < data->n_fidelity; i++) {
		rc = read_settings(r, &data->fidelity[i]);
		rc = rc ? rc : read_metrics(r, &data->fidelity[i]);
		rc = rc ? rc : read_warnings(r, &data->fidelity[i]);
		rc = rc ? rc : read_doubts(r, &data->fidelity[i]);
	}
	return rc;
}

static int read_bench(struct reader *r, const char *label)
{
	struct report_data *data = r->data;
	int rc = read_others(r, &benches, label, &data->bench, &data->n_bench);

	for (size_t i = 0; !rc && i < data->n_bench; i++) {
		rc = read_settings(r, &data->bench[i]);
		rc = rc ? rc : read_metrics(r, &data->bench[i]);
		rc = rc ? rc : read_samples(r, &data->bench[i]);
		rc = rc ? rc : read_warnings(r, &data->bench[i]);
		rc = rc ? rc : read_doubts(r, &data->bench[i]);
	}
	return rc;
}

static void note_newer(struct report_run *runs, size_t n, const struct report_run *attempt)
{
	for (size_t i = 0; i < n; i++) {
		if (runs[i].id == attempt->latest)
			runs[i].newer = attempt->status;
	}
}

/* What of these has an older run on the page, which is then not the last word. */
static void note_all_newer(struct report_data *data)
{
	for (size_t u = 0; u < data->n_unfinished; u++) {
		for (size_t t = 0; t < data->n_traces; t++)
			note_newer(data->traces[t].runs, data->traces[t].n_runs,
				   &data->unfinished[u]);
		note_newer(data->fidelity, data->n_fidelity, &data->unfinished[u]);
		note_newer(data->bench, data->n_bench, &data->unfinished[u]);
	}
}

static int read_all(struct reader *r, const char *label)
{
	size_t n;
	int rc = count_runs(r, replays.count, label, &n);

	if (!rc)
		rc = read_others(r, &unfinished, label, &r->data->unfinished,
				 &r->data->n_unfinished);
	if (!rc)
		rc = read_bench(r, label);
	if (rc)
		return rc;
	if (n == 0 && r->data->n_unfinished == 0 && r->data->n_bench == 0)
		return error_set(r->err, ENOENT,
				 "%s: no finished replay or benchmark%s%s%s (fidelity without a "
				 "replay: see the view v_fidelity)",
				 r->database.path, label ? " labelled '" : "", label ? label : "",
				 label ? "'" : "");
	rc = read_runs(r, label, n);
	for (size_t t = 0; !rc && t < r->data->n_traces; t++) {
		for (size_t i = 0; !rc && i < r->data->traces[t].n_runs; i++) {
			struct report_run *run = &r->data->traces[t].runs[i];

			rc = read_settings(r, run);
			rc = rc ? rc : read_metrics(r, run);
			rc = rc ? rc : read_samples(r, run);
			rc = rc ? rc : read_latency(r, run);
			rc = rc ? rc : read_warnings(r, run);
			rc = rc ? rc : read_doubts(r, run);
		}
	}
	if (!rc)
		rc = read_fidelity(r, label);
	if (!rc)
		note_all_newer(r->data);
	return rc;
}

/* ---- what runs bring of their own -------------------------------------------------------------- */

static int grow_grid(struct reader *r, struct report_grid *grid, size_t n_runs)
{
	const size_t room = 2 * grid->room + 16;
	struct report_row *rows = report_alloc(r->data, room, sizeof(*rows));
	struct report_cell *cells = report_alloc(r->data, room * n_runs, sizeof(*cells));

	if (!rows || !cells)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	if (grid->n) {
		memcpy(rows, grid->rows, grid->n * sizeof(*rows));
		memcpy(cells, grid->cells, grid->n * n_runs * sizeof(*cells));
	}
	for (size_t i = grid->n * n_runs; i < room * n_runs; i++)
		cells[i] = (struct report_cell){NAN, NAN};
	grid->rows = rows;
	grid->cells = cells;
	grid->room = room;
	return 0;
}

/* One row of @sql (source, name, unit, help, model, value, beside) into the column of run @i. */
static int read_cell(struct reader *r, struct report_grid *grid, size_t n_runs, size_t i,
		     sqlite3_stmt *stmt)
{
	const char *source = column_word(r, stmt, 0), *name = column_word(r, stmt, 1);
	size_t row = 0;
	int rc;

	while (row < grid->n && (strcmp(grid->rows[row].source, source) != 0 ||
				 strcmp(grid->rows[row].name, name) != 0))
		row++;
	if (row == grid->room) {
		rc = grow_grid(r, grid, n_runs);
		if (rc)
			return rc;
	}
	if (row == grid->n) {
		grid->rows[grid->n++] = (struct report_row){
			.source = source,
			.name = name,
			.unit = column_word(r, stmt, 2),
			.help = column_word(r, stmt, 3),
			.model = column_text(r, stmt, 4),
		};
	}
	grid->cells[row * n_runs + i] =
		(struct report_cell){column_real(stmt, 5), column_real(stmt, 6)};
	return 0;
}

static int read_grid(struct reader *r, const struct report_trace *trace, const char *sql,
		     struct report_grid *grid)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < trace->n_runs; i++) {
		sqlite3_stmt *stmt;
		int got = SQLITE_DONE;

		rc = prepare_for_run(r, sql, trace->runs[i].id, &stmt);
		if (rc)
			return rc;
		while (!rc && (got = sqlite3_step(stmt)) == SQLITE_ROW)
			rc = read_cell(r, grid, trace->n_runs, i, stmt);
		rc = finish(r, stmt, got, rc);
	}
	return rc;
}

static int read_grids(struct reader *r, struct report_trace *trace)
{
	int rc = read_grid(r, trace,
			   "SELECT source, name, unit, help, model, value, NULL FROM v_metric"
			   " WHERE run_id = ?1 AND source <> ''",
			   &trace->metrics);

	if (!rc)
		rc = read_grid(r, trace,
			       "SELECT source, name, unit, help, NULL, value, NULL FROM v_counter"
			       " WHERE run_id = ?1",
			       &trace->counters);
	if (!rc)
		rc = read_grid(r, trace,
			       "SELECT '', flag, '', '', NULL, allocs, share FROM v_flag"
			       " WHERE run_id = ?1",
			       &trace->flags);
	if (!rc)
		rc = read_grid(r, trace,
			       "SELECT class, migratetype, '', '', NULL, blocks, frames"
			       " FROM v_pinned WHERE run_id = ?1",
			       &trace->pinned);
	return rc;
}

int report_data_read(const char *database, const char *label, struct report_data *data,
		     struct error *err)
{
	struct reader reader = {.data = data, .err = err};
	int rc;

	memset(data, 0, sizeof(*data));
	rc = database_open(database, false, &reader.database, err);
	if (rc)
		return rc;
	rc = database_check(&reader.database, NULL, err);
	if (!rc)
		rc = schema_read(&reader.database, err);
	/* One transaction, so that a writer beside us does not change the page halfway. */
	if (!rc)
		rc = database_exec(&reader.database, "BEGIN", "reading", err);
	if (!rc)
		rc = read_all(&reader, label);
	if (!rc && report_arrange(data) != 0)
		rc = error_set(err, ENOMEM, "%s: out of memory", database);
	for (size_t t = 0; !rc && t < data->n_traces; t++)
		rc = read_grids(&reader, &data->traces[t]);
	sqlite3_exec(reader.database.db, "ROLLBACK", NULL, NULL, NULL);
	database_close(&reader.database, NULL);
	if (rc)
		report_data_free(data);
	return rc;
}
