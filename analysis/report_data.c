/* SPDX-License-Identifier: MIT */
#include "analysis/report_data.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/database.h"
#include "base/bits.h"

/* ---- memory: everything lives as long as the report ---------------------------------------- */

struct report_arena {
	struct report_arena *next;
	max_align_t bytes[];
};

static void *arena_alloc(struct report_data *data, size_t n, size_t size)
{
	struct report_arena *block;

	if (size && n > (SIZE_MAX - sizeof(*block)) / size)
		return NULL;
	block = calloc(1, sizeof(*block) + n * size);
	if (!block)
		return NULL;
	block->next = data->arena;
	data->arena = block;
	return block->bytes;
}

static const char *arena_strdup(struct report_data *data, const char *text)
{
	const size_t size = strlen(text) + 1;
	char *copy = arena_alloc(data, size, 1);

	return copy ? memcpy(copy, text, size) : NULL;
}

void report_data_free(struct report_data *data)
{
	while (data->arena) {
		struct report_arena *next = data->arena->next;

		free(data->arena);
		data->arena = next;
	}
	memset(data, 0, sizeof(*data));
}

/* ---- reading ------------------------------------------------------------------------------- */

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
			     "SELECT name, value FROM metric JOIN metric_info ON id = metric_id"
			     " WHERE run_id = ?1 AND value NOT NULL",
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

static int read_samples(struct reader *r, struct report_run *run)
{
	sqlite3_stmt *stmt;
	sqlite3_int64 n = 0;
	uint64_t first = 0;
	int got, rc;

	rc = prepare_for_run(r, "SELECT count(*) FROM sample WHERE run_id = ?1", run->id, &stmt);
	if (rc)
		return rc;
	got = sqlite3_step(stmt);
	if (got == SQLITE_ROW) {
		n = sqlite3_column_int64(stmt, 0);
		got = SQLITE_DONE;
	}
	rc = finish(r, stmt, got, 0);
	if (rc)
		return rc;
	run->samples = arena_alloc(r->data, (size_t)n, sizeof(*run->samples));
	if (!run->samples)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = prepare_for_run(r,
			     "SELECT sample.time_ns, value FROM sample LEFT JOIN sample_metric ON"
			     " sample_metric.run_id = sample.run_id AND"
			     " sample_metric.sample = sample.sample AND metric_id ="
			     " (SELECT id FROM metric_info WHERE name = 'free_huge')"
			     " WHERE sample.run_id = ?1 ORDER BY sample.sample",
			     run->id, &stmt);
	if (rc)
		return rc;
	while ((got = sqlite3_step(stmt)) == SQLITE_ROW && run->n_samples < (size_t)n) {
		struct report_sample *s = &run->samples[run->n_samples];
		const uint64_t now = column_u64(stmt, 0);

		if (run->n_samples++ == 0)
			first = now;
		s->seconds = (double)(int64_t)(now - first) / 1e9;
		s->free_huge = sqlite3_column_type(stmt, 1) == SQLITE_NULL
				       ? NAN
				       : sqlite3_column_double(stmt, 1);
	}
	return finish(r, stmt, got, 0);
}

static int merge_latency(struct reader *r, struct report_run *run, sqlite3_stmt *stmt,
			 struct histogram *part)
{
	const char *op_name = (const char *)sqlite3_column_text(stmt, 0);
	const void *blob = sqlite3_column_blob(stmt, 1);
	const size_t bytes = (size_t)sqlite3_column_bytes(stmt, 1);
	struct histogram **whole;
	unsigned int op = 0;

	while (op < LATENCY_OPS && strcmp(op_name, latency_op_name((enum latency_op)op)) != 0)
		op++;
	if (op == LATENCY_OPS)
		return 0;
	if (histogram_decode(blob, bytes, part, NULL) != 0)
		return error_set(r->err, EBADMSG,
				 "%s: run %lld: a latency histogram is damaged; replay it again",
				 r->database.path, (long long)run->id);
	whole = &run->latency[op];
	if (!*whole) {
		*whole = arena_alloc(r->data, 1, sizeof(**whole));
		if (!*whole)
			return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
		histogram_init(*whole);
	}
	histogram_merge(*whole, part);
	return 0;
}

static int read_latency(struct reader *r, struct report_run *run)
{
	struct histogram *part = malloc(sizeof(*part));
	sqlite3_stmt *stmt;
	int got = SQLITE_DONE, rc;

	if (!part)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = prepare_for_run(r, "SELECT op, histogram FROM latency WHERE run_id = ?1", run->id,
			     &stmt);
	if (!rc) {
		while (!rc && (got = sqlite3_step(stmt)) == SQLITE_ROW)
			rc = merge_latency(r, run, stmt, part);
		rc = finish(r, stmt, got, rc);
	}
	free(part);
	return rc;
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
			const char **more = arena_alloc(r->data, 2 * room + 4, sizeof(*more));

			if (!more) {
				r->no_memory = true;
				break;
			}
			if (room)
				memcpy(more, run->warnings, room * sizeof(*more));
			run->warnings = more;
			room = 2 * room + 4;
		}
		run->warnings[run->n_warnings++] = column_word(r, stmt, 0);
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

/* The latest finished of each; fidelity runs answer another question than replays do. */
#define RUNS_FROM(which, partition)                                                                \
	" FROM (SELECT *, row_number() OVER (PARTITION BY trace_id, backend_id, options" partition \
	" ORDER BY run_id DESC) AS age FROM v_run WHERE status = 'done' AND trace_id NOT NULL"     \
	" AND mode " which " 'fidelity' AND (?1 IS NULL OR label = ?1)) AS r"                      \
	" JOIN host ON host.id = r.host_id JOIN backend ON backend.id = r.backend_id"              \
	" JOIN trace ON trace.id = r.trace_id WHERE age = 1"

#define RUNS_COLUMNS                                                                               \
	"SELECT r.run_id, r.trace_id, trace.path, trace.digest, trace.note, r.allocator,"          \
	" backend.summary, r.spec, r.options, r.label, r.started_utc, r.mode, r.memory,"           \
	" r.prefill, r.build_id, r.seed, r.threads, r.oracle, r.events, r.ops, r.managed_frames,"  \
	" r.cpus,"                                             \
	" host.cpu_model || ', ' || host.cores || ' CPUs, ' || (host.memory_bytes >> 20) ||"       \
	" ' MiB, Linux ' || host.kernel || ', THP ' || host.thp || ', governor ' ||"               \
	" host.governor, backend.role"

#define RUNS_ORDER " ORDER BY trace.path, r.trace_id, r.allocator, r.options, r.run_id"

#define REPLAYS	 RUNS_FROM("<>", "")
#define FIDELITY RUNS_FROM("=", ", point_id")

static const char count_sql[] = "SELECT count(*)" REPLAYS;
static const char runs_sql[] = RUNS_COLUMNS REPLAYS RUNS_ORDER;
static const char count_fidelity_sql[] = "SELECT count(*)" FIDELITY;
static const char fidelity_sql[] = RUNS_COLUMNS FIDELITY RUNS_ORDER;

static void read_run_row(struct reader *r, sqlite3_stmt *stmt, struct report_run *run)
{
	run->id = sqlite3_column_int64(stmt, 0);
	run->allocator = column_word(r, stmt, 5);
	run->summary = column_word(r, stmt, 6);
	run->spec = column_word(r, stmt, 7);
	run->options = column_word(r, stmt, 8);
	run->label = column_text(r, stmt, 9);
	run->started = column_word(r, stmt, 10);
	run->setup.mode = column_word(r, stmt, 11);
	run->setup.memory = column_word(r, stmt, 12);
	run->setup.prefill = column_word(r, stmt, 13);
	run->setup.build_id = column_word(r, stmt, 14);
	run->setup.seed = column_u64(stmt, 15);
	run->setup.threads = (uint32_t)sqlite3_column_int64(stmt, 16);
	run->setup.oracle = sqlite3_column_int(stmt, 17) != 0;
	run->setup.host = column_word(r, stmt, 22);
	run->events = column_u64(stmt, 18);
	run->ops = column_u64(stmt, 19);
	run->managed_frames = column_u64(stmt, 20);
	run->cpus = (uint32_t)sqlite3_column_int64(stmt, 21);
	run->role = role_of(column_word(r, stmt, 23));
}

/* All selected runs into one array, cut into traces where the trace changes. */
static int read_runs(struct reader *r, const char *label, size_t n)
{
	struct report_data *data = r->data;
	struct report_run *runs = arena_alloc(data, n, sizeof(*runs));
	sqlite3_stmt *stmt;
	sqlite3_int64 last = 0;
	size_t done = 0;
	int got = SQLITE_DONE, rc;

	data->traces = arena_alloc(data, n, sizeof(*data->traces));
	if (!runs || !data->traces)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = database_prepare(&r->database, runs_sql, &stmt, r->err);
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, label, -1, SQLITE_STATIC);
	while (done < n && (got = sqlite3_step(stmt)) == SQLITE_ROW) {
		const sqlite3_int64 id = sqlite3_column_int64(stmt, 1);

		if (done == 0 || id != last) {
			struct report_trace *trace = &data->traces[data->n_traces++];

			trace->path = column_word(r, stmt, 2);
			trace->digest = column_word(r, stmt, 3);
			trace->note = column_word(r, stmt, 4);
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

static int read_fidelity(struct reader *r, const char *label)
{
	struct report_data *data = r->data;
	sqlite3_stmt *stmt;
	size_t n;
	int got = SQLITE_DONE, rc = count_runs(r, count_fidelity_sql, label, &n);

	if (rc || n == 0)
		return rc;
	data->fidelity = arena_alloc(data, n, sizeof(*data->fidelity));
	if (!data->fidelity)
		return error_set(r->err, ENOMEM, "%s: out of memory", r->database.path);
	rc = database_prepare(&r->database, fidelity_sql, &stmt, r->err);
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, label, -1, SQLITE_STATIC);
	while (data->n_fidelity < n && (got = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct report_run *run = &data->fidelity[data->n_fidelity++];

		run->trace = column_word(r, stmt, 2);
		read_run_row(r, stmt, run);
		run->name = run->spec[0] ? run->spec : run->allocator;
		got = SQLITE_DONE;
	}
	rc = finish(r, stmt, got, 0);
	for (size_t i = 0; !rc && i < data->n_fidelity; i++) {
		rc = read_metrics(r, &data->fidelity[i]);
		rc = rc ? rc : read_warnings(r, &data->fidelity[i]);
	}
	return rc;
}

static int read_all(struct reader *r, const char *label)
{
	size_t n;
	int rc = count_runs(r, count_sql, label, &n);

	if (rc)
		return rc;
	if (n == 0)
		return error_set(r->err, ENOENT,
				 "%s: no finished replay%s%s%s; 'quire replay' first (benchmarks "
				 "are not drawn: see the view v_bench; fidelity without a replay: "
				 "v_fidelity)",
				 r->database.path, label ? " labelled '" : "", label ? label : "",
				 label ? "'" : "");
	rc = read_runs(r, label, n);
	for (size_t t = 0; !rc && t < r->data->n_traces; t++) {
		for (size_t i = 0; !rc && i < r->data->traces[t].n_runs; i++) {
			struct report_run *run = &r->data->traces[t].runs[i];

			rc = read_metrics(r, run);
			rc = rc ? rc : read_samples(r, run);
			rc = rc ? rc : read_latency(r, run);
			rc = rc ? rc : read_warnings(r, run);
		}
	}
	return rc ? rc : read_fidelity(r, label);
}

/* ---- names, order, colours ----------------------------------------------------------------- */

static size_t count_allocator(const struct report_trace *trace, const char *allocator)
{
	size_t n = 0;

	for (size_t i = 0; i < trace->n_runs; i++)
		n += strcmp(trace->runs[i].allocator, allocator) == 0;
	return n;
}

static size_t count_spec(const struct report_trace *trace, const char *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < trace->n_runs; i++)
		n += strcmp(trace->runs[i].spec, spec) == 0;
	return n;
}

/* As short as is unique: the allocator, what was typed, or the resolved options. */
static int name_run(struct report_data *data, const struct report_trace *trace,
		    struct report_run *run)
{
	char *name;
	size_t size;

	run->name = run->allocator;
	if (count_allocator(trace, run->allocator) == 1)
		return 0;
	run->name = run->spec;
	if (run->spec[0] && count_spec(trace, run->spec) == 1)
		return 0;
	size = strlen(run->allocator) + strlen(run->options) + 2;
	name = arena_alloc(data, size, 1);
	if (!name)
		return -ENOMEM;
	snprintf(name, size, "%s:%s", run->allocator, run->options);
	run->name = name;
	return 0;
}

static int compare_runs(const void *a, const void *b)
{
	const struct report_run *x = a, *y = b;

	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The colour of @name is its rank among the candidates' names of the whole report. */
static unsigned int colour_of(const struct report_data *data, const char *name)
{
	const char *after = NULL;
	unsigned int rank = 0;

	for (;;) {
		const char *next = NULL;

		for (size_t t = 0; t < data->n_traces; t++) {
			for (size_t i = 0; i < data->traces[t].n_runs; i++) {
				const struct report_run *run = &data->traces[t].runs[i];

				if (run->role == ROLE_CANDIDATE &&
				    (!after || strcmp(run->name, after) > 0) &&
				    (!next || strcmp(run->name, next) < 0))
					next = run->name;
			}
		}
		if (!next || strcmp(next, name) >= 0)
			return rank;
		after = next;
		rank++;
	}
}

static int arrange(struct report_data *data)
{
	for (size_t t = 0; t < data->n_traces; t++) {
		struct report_trace *trace = &data->traces[t];

		for (size_t i = 0; i < trace->n_runs; i++) {
			if (name_run(data, trace, &trace->runs[i]) != 0)
				return -ENOMEM;
		}
		qsort(trace->runs, trace->n_runs, sizeof(trace->runs[0]), compare_runs);
	}
	for (size_t t = 0; t < data->n_traces; t++) {
		for (size_t i = 0; i < data->traces[t].n_runs; i++) {
			struct report_run *run = &data->traces[t].runs[i];

			run->colour = colour_of(data, run->name);
		}
	}
	return 0;
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
	/* One transaction, so that a writer beside us does not change the page halfway. */
	rc = database_exec(&reader.database, "BEGIN", "reading", err);
	if (!rc)
		rc = database_check(&reader.database, NULL, err);
	if (!rc)
		rc = read_all(&reader, label);
	if (!rc && arrange(data) != 0)
		rc = error_set(err, ENOMEM, "%s: out of memory", database);
	sqlite3_exec(reader.database.db, "ROLLBACK", NULL, NULL, NULL);
	database_close(&reader.database, NULL);
	if (rc)
		report_data_free(data);
	return rc;
}
