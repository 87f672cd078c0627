/* SPDX-License-Identifier: MIT */
/*
 * The foot of the page: where its figures come from, and the commands that ask for them again.
 */
#include "analysis/report/page.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/text.h"
#include "base/bits.h"
#include "base/text_stream.h"

/* How carefully nothing is checked is no choice. */
static bool is_chosen(const struct report_run *run, const struct result_setting *s)
{
	return s->role == SETTING_QUESTION ||
	       (s->role == SETTING_CARE && run->role != ROLE_HARNESS);
}

/* Whether all that @a was chosen with holds of @b. */
static bool chosen_alike(const struct report_run *a, const struct report_run *b)
{
	for (size_t i = 0; i < a->n_settings; i++) {
		const struct result_setting *s = &a->settings[i];

		if (is_chosen(a, s) && is_chosen(b, s) && !report_setting_same(a, b, s->key))
			return false;
	}
	return true;
}

/* Whether one command could ask both again. */
static bool same_command(const struct report_run *a, const struct report_run *b)
{
	const bool same_label =
		a->label && b->label ? strcmp(a->label, b->label) == 0 : a->label == b->label;

	return same_label && a->seed == b->seed && chosen_alike(a, b) && chosen_alike(b, a);
}

/* The command that asks run @first of @trace again, and all others it can. */
static void put_command(struct page *page, FILE *text, const struct report_trace *trace,
			size_t first)
{
	const struct report_run *run = &trace->runs[first];
	const char **specs = calloc(trace->n_runs, sizeof(*specs));
	struct result_setting *settings = calloc(run->n_settings + 1, sizeof(*settings));
	struct report_replay replay = {.trace = trace->file,
				       .label = run->label,
				       .specs = specs,
				       .settings = settings,
				       .seed = run->seed};

	for (size_t i = first; specs && i < trace->n_runs; i++) {
		const struct report_run *r = &trace->runs[i];

		if (same_command(run, r))
			specs[replay.n_specs++] = r->spec[0] ? r->spec : r->allocator;
	}
	for (size_t i = 0; settings && i < run->n_settings; i++) {
		if (!run->settings[i].usual && is_chosen(run, &run->settings[i]))
			settings[replay.n_settings++] = run->settings[i];
	}
	if (specs && settings)
		page->options->put_command(text, page->options, &replay);
	else
		page->no_memory = true;
	free(specs);
	free(settings);
}

static void put_commands_of(struct page *page, FILE *text, const struct report_trace *trace)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		size_t k = 0;

		while (k < i && !same_command(&trace->runs[k], &trace->runs[i]))
			k++;
		if (k == i)
			put_command(page, text, trace, i);
	}
}

/* The commands come from who knows them; a trace cut short cannot be told from another. */
static void put_commands(struct page *page, FILE *text)
{
	for (size_t t = 0; t < page->data->n_traces; t++) {
		if (page->data->traces[t].digest[0])
			put_commands_of(page, text, &page->data->traces[t]);
	}
	page->options->put_command(text, page->options, NULL);
}

static void put_again(struct page *page)
{
	struct text_stream stream;
	char *text, *rest, *line;

	if (!page->options->put_command)
		return;
	if (text_stream_begin(&stream))
		put_commands(page, stream.out);
	text = text_stream_end(&stream, NULL);
	if (text) {
		fputs("<p>To repeat it, where the traces and the database are:</p>\n<pre><code>",
		      page->out);
		/* Line by line: a shell would not take one that goes on behind a blank. */
		for (rest = text; (line = strsep(&rest, "\n"));) {
			text_html(page->out, line);
			fputs(rest ? "\n" : "", page->out);
		}
		fputs("</code></pre>\n", page->out);
	} else {
		page->no_memory = true;
	}
	free(text);
}

/* Values in order of appearance, each once. */
struct distinct {
	FILE *out;
	const char *seen[8];
	size_t n;
};

static void put_distinct_of(struct distinct *d, const struct report_run *runs, size_t n,
			    size_t offset)
{
	for (size_t i = 0; i < n; i++) {
		const char *value;
		size_t k = 0;

		memcpy(&value, (const char *)&runs[i] + offset, sizeof(value));
		while (k < d->n && strcmp(d->seen[k], value) != 0)
			k++;
		if (k < d->n || d->n == ARRAY_SIZE(d->seen))
			continue;
		fputs(d->n ? "<br>" : "", d->out);
		text_html(d->out, value);
		d->seen[d->n++] = value;
	}
}

/* A list of the different values of a member that is a string. */
static void put_distinct(struct page *page, const char *term, size_t offset)
{
	const struct report_data *data = page->data;
	struct distinct d = {.out = page->out};

	fprintf(page->out, "<div class=\"wide\"><dt>%s</dt><dd>", term);
	for (size_t t = 0; t < data->n_traces; t++)
		put_distinct_of(&d, data->traces[t].runs, data->traces[t].n_runs, offset);
	put_distinct_of(&d, data->bench, data->n_bench, offset);
	fputs("</dd></div>\n", page->out);
}

/* The first and the last of when @n runs began. */
static void extend(const struct report_run *runs, size_t n, const char **first, const char **last)
{
	for (size_t i = 0; i < n; i++) {
		const char *started = runs[i].started;

		*first = !*first || strcmp(started, *first) < 0 ? started : *first;
		*last = !*last || strcmp(started, *last) > 0 ? started : *last;
	}
}

void page_put_foot(struct page *page)
{
	const struct report_data *data = page->data;
	const char *first = NULL, *last = NULL;
	FILE *out = page->out;

	for (size_t t = 0; t < data->n_traces; t++)
		extend(data->traces[t].runs, data->traces[t].n_runs, &first, &last);
	extend(data->bench, data->n_bench, &first, &last);
	fputs("</main>\n<footer>\n<h2>Where this comes from</h2>\n<dl class=\"facts\">\n", out);
	page_put_fact(out, "report by", "quire " QUIRE_VERSION, false);
	if (first) {
		page_put_fact(out, "first run (UTC)", first, false);
		page_put_fact(out, "last run (UTC)", last, false);
		put_distinct(page, "build", offsetof(struct report_run, build_id));
		put_distinct(page, "host", offsetof(struct report_run, host));
	}
	fputs("</dl>\n", out);
	put_again(page);
	fputs("<p>The same figures from the database, in one line:</p>\n<pre><code>"
	      "sqlite3 -header -column ",
	      out);
	text_shell_html(out, text_base_name(page->options->database));
	fputs(" &#39;SELECT * FROM ", out);
	fputs(data->n_traces || !data->n_bench ? "v_comparison" : "v_bench", out);
	fputs("&#39;</code></pre>\n</footer>\n</body>\n</html>\n", out);
}
