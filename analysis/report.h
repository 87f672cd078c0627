/* SPDX-License-Identifier: MIT */
/*
 * One static HTML page over a results database, with SVG plots drawn by gnuplot (its scripts and data
 * are written beside the plots, so that a figure can be redone for a paper).
 */
#ifndef ANALYSIS_REPORT_H
#define ANALYSIS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "results/result.h"

/* What would have to be asked again for some rows of one trace. Borrowed for the call. */
struct report_replay {
	const char *trace;	  /* its file's name */
	const char *label;	  /* NULL: none */
	const char *const *specs; /* back ends as typed */
	size_t n_specs;
	const struct result_setting
		*settings; /* questions and care that are not at their usual value */
	size_t n_settings;
	uint64_t seed;
};

struct report_options {
	const char *database;
	const char *directory; /* created; existing files of an earlier report are replaced only
				  with @overwrite */
	bool overwrite;
	const char *label; /* only runs with this label; NULL: all */
	/**
	 * put_command - the shell command that asks @replay again, or NULL: that makes this report
	 * Plain text, whole lines, without a directory of this machine; the page shows them. NULL: it
	 * shows none.
	 */
	void (*put_command)(FILE *out, const struct report_options *options,
			    const struct report_replay *replay);
};

/**
 * report_write - write DIRECTORY/index.html and DIRECTORY/plots/
 * The rows are those of the database's views v_comparison, trace by trace, and v_unfinished. Of paths the files keep
 * the names alone.
 * Return: 0; -ENOENT no database or no replay in it; -EEXIST; -ENOEXEC gnuplot missing or
 * failing; or an I/O errno. On failure no index.html is left.
 */
int report_write(const struct report_options *options, struct error *err);

#endif
