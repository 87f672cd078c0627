/* SPDX-License-Identifier: MIT */
#include "analysis/report.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analysis/report/gnuplot.h"
#include "analysis/report/page.h"
#include "analysis/report/plot_bench.h"
#include "analysis/report/read.h"
#include "base/outfile.h"
#include "base/text_stream.h"

/* The whole page into memory, the figures onto disk. */
static int compose(const struct report_options *options, const struct report_data *data,
		   const char *plots, char **html, size_t *size, struct error *err)
{
	struct page page = {.options = options, .data = data};
	struct text_stream stream;
	int rc = 0;

	page.out = text_stream_begin(&stream);
	if (!page.out)
		return error_set(err, ENOMEM, "%s: out of memory", options->directory);
	page_put_head(&page);
	for (size_t t = 0; !rc && t < data->n_traces; t++)
		rc = page_put_trace(&page, t, plots, err);
	if (!rc)
		rc = page_put_bench(&page, plots, err);
	if (!rc) {
		page_put_unfinished(&page);
		page_put_fidelity(&page);
		page_put_foot(&page);
	}
	*html = text_stream_end(&stream, size);
	if ((!*html || page.no_memory) && !rc)
		rc = error_set(err, ENOMEM, "%s: out of memory", options->directory);
	return rc;
}

/* ---- files --------------------------------------------------------------------------------- */

static int make_directory(const char *path, bool *made, struct error *err)
{
	struct stat st;

	*made = mkdir(path, 0777) == 0;
	if (*made)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	if (errno == EEXIST)
		return error_set(err, ENOTDIR, "%s: is a file; name a directory", path);
	return error_set(err, errno, "%s: %s; name a directory you may write to", path,
			 strerror(errno));
}

static int write_page(const char *path, bool overwrite, const char *html, size_t size,
		      struct error *err)
{
	struct outfile *file;
	int rc;

	rc = outfile_create(path, overwrite, &file, err);
	if (rc)
		return rc;
	rc = outfile_write(file, html, size, err);
	if (rc) {
		outfile_abort(file);
		return rc;
	}
	return outfile_commit(file, err);
}

static void remove_plots(const struct report_data *data, const char *plots)
{
	char name[PLOT_NAME_MAX];

	for (size_t t = 0; t < data->n_traces; t++) {
		for (unsigned int kind = 0; kind < PLOT_KINDS; kind++) {
			page_plot_name(name, t, (enum plot_kind)kind);
			gnuplot_remove(plots, name);
		}
	}
	for (size_t f = 0; f < data->n_figures; f++) {
		bench_plot_name(name, &data->figures[f]);
		gnuplot_remove(plots, name);
	}
}

static int write_all(const struct report_options *options, const struct report_data *data,
		     const char *index, const char *plots, struct error *err)
{
	bool made_directory, made_plots;
	char *html = NULL;
	size_t size;
	int rc;

	rc = make_directory(options->directory, &made_directory, err);
	if (rc)
		return rc;
	/* Before the old page is given up for a new one. */
	if (options->overwrite && access(index, F_OK) == 0) {
		rc = gnuplot_check(err);
		if (rc)
			return rc;
	}
	rc = make_directory(plots, &made_plots, err);
	if (!rc) {
		/* An old page beside new figures would lie: it goes first. */
		unlink(index);
		rc = compose(options, data, plots, &html, &size, err);
		if (!rc)
			rc = write_page(index, options->overwrite, html, size, err);
		if (rc)
			remove_plots(data, plots);
		if (rc && made_plots)
			rmdir(plots);
	}
	if (rc && made_directory)
		rmdir(options->directory);
	free(html);
	return rc;
}

int report_write(const struct report_options *options, struct error *err)
{
	char index[PATH_MAX], plots[PATH_MAX];
	struct report_data data;
	int rc;

	if (!options->directory[0])
		return error_set(err, EINVAL, "report: the directory's name is empty");
	if (snprintf(index, sizeof(index), "%s/index.html", options->directory) >=
		    (int)sizeof(index) ||
	    snprintf(plots, sizeof(plots), "%s/plots", options->directory) >= (int)sizeof(plots))
		return error_set(err, ENAMETOOLONG, "%s: name too long", options->directory);
	if (!options->overwrite && access(index, F_OK) == 0)
		return error_set(err, EEXIST, "%s: exists; name another directory", index);
	rc = report_data_read(options->database, options->label, &data, err);
	if (rc)
		return rc;
	rc = write_all(options, &data, index, plots, err);
	report_data_free(&data);
	return rc;
}
