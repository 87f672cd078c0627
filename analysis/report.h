/* SPDX-License-Identifier: MIT */
/*
 * One static HTML page over a results database, with SVG plots drawn by gnuplot (its scripts and data
 * are written beside the plots, so that a figure can be redone for a paper).
 */
#ifndef ANALYSIS_REPORT_H
#define ANALYSIS_REPORT_H

#include <stdbool.h>

#include "base/error.h"

struct report_options {
	const char *database;
	const char *directory; /* created; existing files of an earlier report are replaced only
				  with @overwrite */
	bool overwrite;
	const char *label; /* only runs with this label; NULL: all */
};

/**
 * report_write - write DIRECTORY/index.html and DIRECTORY/plots/
 * For each trace the latest finished run of each (allocator, options) is shown.
 * Return: 0; -ENOENT no database or no finished run in it; -EEXIST; -ENOEXEC gnuplot missing or
 * failing; or an I/O errno. On failure no index.html is left.
 */
int report_write(const struct report_options *options, struct error *err);

#endif
