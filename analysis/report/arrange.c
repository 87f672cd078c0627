/* SPDX-License-Identifier: MIT */
#include "analysis/report/arrange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/report/bench.h"
#include "base/text_stream.h"

/* ---- names ------------------------------------------------------------------------------------ */

/* What tells runs of one back end apart, in the order in which it is looked for. */
enum part {
	PART_OPTIONS, /* the spec as typed, or the options that it was resolved to */
	PART_LABEL,
	PART_MODE,
	PART_THREADS,
	PARTS,
};

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool part_same(const struct report_run *a, const struct report_run *b, enum part part)
{
	switch (part) {
	case PART_OPTIONS:
		return same(a->options, b->options);
	case PART_LABEL:
		return same(a->label, b->label);
	case PART_MODE:
		return same(a->mode, b->mode);
	default:
		return a->threads == b->threads;
	}
}

/* Some runs, of which those of one allocator are to be told apart. */
struct company {
	const struct report_run *runs;
	size_t n;
	bool points; /* of benchmarks: only the back end is named, all else is where a point lies */
};

static bool differs_in(const struct company *c, const struct report_run *run, enum part part)
{
	for (size_t i = 0; i < c->n; i++) {
		if (same(c->runs[i].allocator, run->allocator) &&
		    !part_same(&c->runs[i], run, part))
			return true;
	}
	return false;
}

static bool differs_in_setting(const struct company *c, const struct report_run *run,
			       const char *key)
{
	for (size_t i = 0; i < c->n; i++) {
		if (same(c->runs[i].allocator, run->allocator) &&
		    !report_setting_same(&c->runs[i], run, key))
			return true;
	}
	return false;
}

/* Whether what was typed tells @run's options from all others. */
static bool spec_tells(const struct company *c, const struct report_run *run)
{
	for (size_t i = 0; i < c->n; i++) {
		if (same(c->runs[i].spec, run->spec) && !same(c->runs[i].options, run->options))
			return false;
	}
	return run->spec[0] != '\0';
}

/* " (", then ", " between what is said in brackets. */
static void open_bracket(FILE *out, bool *any)
{
	fputs(*any ? ", " : " (", out);
	*any = true;
}

static void put_name(FILE *out, const struct company *c, const struct report_run *run)
{
	bool any = false;

	if (!differs_in(c, run, PART_OPTIONS))
		fputs(run->allocator, out);
	else if (spec_tells(c, run))
		fputs(run->spec, out);
	else
		fprintf(out, "%s:%s", run->allocator, run->options);
	if (run->label && differs_in(c, run, PART_LABEL)) {
		open_bracket(out, &any);
		fputs(run->label, out);
	}
	if (c->points) {
		fputs(any ? ")" : "", out);
		return;
	}
	if (differs_in(c, run, PART_MODE)) {
		open_bracket(out, &any);
		fputs(run->mode, out);
	}
	if (differs_in(c, run, PART_THREADS)) {
		open_bracket(out, &any);
		fprintf(out, "threads=%u", run->threads);
	}
	for (size_t i = 0; i < run->n_settings; i++) {
		const struct result_setting *s = &run->settings[i];

		if (s->role != SETTING_QUESTION || s->usual || !differs_in_setting(c, run, s->key))
			continue;
		open_bracket(out, &any);
		fprintf(out, "%s=%s%s", s->key, s->value, s->unit);
	}
	if (any)
		fputc(')', out);
}

/* @text becomes the data's. */
static const char *adopt(struct report_data *data, char *text)
{
	char *copy = text ? report_alloc(data, strlen(text) + 1, 1) : NULL;

	if (copy)
		strcpy(copy, text);
	free(text);
	return copy;
}

static int name_run(struct report_data *data, const struct company *c, struct report_run *run)
{
	struct text_stream stream;

	if (text_stream_begin(&stream))
		put_name(stream.out, c, run);
	run->name = adopt(data, text_stream_end(&stream, NULL));
	return run->name ? 0 : -ENOMEM;
}

/* Words of a user's may look like ours: then the run's number tells. */
static int number_twins(struct report_data *data, struct report_run *runs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			char *text;

			if (strcmp(runs[k].name, runs[i].name) != 0)
				continue;
			if (asprintf(&text, "%s #%lld", runs[i].name, (long long)runs[i].id) < 0)
				return -ENOMEM;
			runs[i].name = adopt(data, text);
			if (!runs[i].name)
				return -ENOMEM;
			break;
		}
	}
	return 0;
}

static int name_runs(struct report_data *data, struct report_run *runs, size_t n)
{
	const struct company company = {.runs = runs, .n = n};

	for (size_t i = 0; i < n; i++) {
		if (name_run(data, &company, &runs[i]) != 0)
			return -ENOMEM;
	}
	return number_twins(data, runs, n);
}

/* ---- names of traces ------------------------------------------------------------------------------ */

static bool is_salvaged(const struct report_trace *trace)
{
	const struct result_setting *s = report_setting(&trace->runs[0], "salvage");

	return s && strcmp(s->value, "true") == 0;
}

static int name_trace(struct report_data *data, struct report_trace *trace)
{
	char *text;
	int n;

	/* One cut short has no digest, and so nothing by which its name would be kept. */
	if (!trace->file[0])
		n = asprintf(&text, "A trace cut short (run %lld)", (long long)trace->runs[0].id);
	else
		n = asprintf(&text, "%s%s", trace->file,
			     is_salvaged(trace) ? " (salvaged: a part of a damaged trace)" : "");
	trace->name = n < 0 ? NULL : adopt(data, text);
	return trace->name ? 0 : -ENOMEM;
}

/* Files of one name in several directories: their content tells. */
static int tell_traces_apart(struct report_data *data)
{
	for (size_t t = 0; t < data->n_traces; t++) {
		for (size_t u = 0; u < t; u++) {
			char *text;

			if (strcmp(data->traces[u].name, data->traces[t].name) != 0)
				continue;
			if (asprintf(&text, "%s (%.8s)", data->traces[t].name,
				     data->traces[t].digest) < 0)
				return -ENOMEM;
			data->traces[t].name = adopt(data, text);
			if (!data->traces[t].name)
				return -ENOMEM;
			break;
		}
	}
	return 0;
}

/* ---- order and colours ------------------------------------------------------------------------- */

static int compare_runs(const void *a, const void *b)
{
	const struct report_run *x = a, *y = b;

	if (report_set_apart(x) != report_set_apart(y))
		return report_set_apart(x) ? 1 : -1;
	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The next candidate's name after @after among @n runs, if it is before @next; else @next. */
static const char *next_name(const struct report_run *runs, size_t n, const char *after,
			     const char *next)
{
	for (size_t i = 0; i < n; i++) {
		const char *name = runs[i].name;

		if (runs[i].role == ROLE_CANDIDATE && (!after || strcmp(name, after) > 0) &&
		    (!next || strcmp(name, next) < 0))
			next = name;
	}
	return next;
}

/* The colour of @name is its rank among the candidates' names of the whole report. */
static unsigned int colour_of(const struct report_data *data, const char *name)
{
	const char *after = NULL;
	unsigned int rank = 0;

	for (;;) {
		const char *next = next_name(data->bench, data->n_bench, after, NULL);

		for (size_t t = 0; t < data->n_traces; t++)
			next = next_name(data->traces[t].runs, data->traces[t].n_runs, after, next);
		if (!next || strcmp(next, name) >= 0)
			return rank;
		after = next;
		rank++;
	}
}

/* Fidelity runs of one trace follow each other. */
static int name_fidelity(struct report_data *data)
{
	size_t first = 0;

	for (size_t i = 1; i <= data->n_fidelity; i++) {
		if (i < data->n_fidelity &&
		    same(data->fidelity[i].trace, data->fidelity[first].trace))
			continue;
		if (name_runs(data, &data->fidelity[first], i - first) != 0)
			return -ENOMEM;
		first = i;
	}
	return 0;
}

/* By back end alone: there are many points of one name. */
static int name_bench(struct report_data *data)
{
	const struct company company = {.runs = data->bench, .n = data->n_bench, .points = true};

	for (size_t i = 0; i < data->n_bench; i++) {
		if (name_run(data, &company, &data->bench[i]) != 0)
			return -ENOMEM;
	}
	return 0;
}

int report_arrange(struct report_data *data)
{
	if (name_bench(data) != 0)
		return -ENOMEM;
	for (size_t t = 0; t < data->n_traces; t++) {
		struct report_trace *trace = &data->traces[t];

		if (name_trace(data, trace) != 0 ||
		    name_runs(data, trace->runs, trace->n_runs) != 0)
			return -ENOMEM;
		qsort(trace->runs, trace->n_runs, sizeof(trace->runs[0]), compare_runs);
	}
	for (size_t t = 0; t < data->n_traces; t++) {
		for (size_t i = 0; i < data->traces[t].n_runs; i++) {
			struct report_run *run = &data->traces[t].runs[i];

			run->colour = colour_of(data, run->name);
		}
	}
	for (size_t i = 0; i < data->n_bench; i++)
		data->bench[i].colour = colour_of(data, data->bench[i].name);
	if (bench_arrange(data) != 0)
		return -ENOMEM;
	for (size_t i = 0; i < data->n_unfinished; i++)
		data->unfinished[i].name = data->unfinished[i].spec;
	return tell_traces_apart(data) ? -ENOMEM : name_fidelity(data);
}
