/* SPDX-License-Identifier: MIT */
/*
 * The gnuplot program: a script and its data become a drawing beside them, whose text follows the reader's light
 * or dark scheme. Private to analysis/report/.
 */
#ifndef ANALYSIS_REPORT_GNUPLOT_H
#define ANALYSIS_REPORT_GNUPLOT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "base/text_stream.h"

/* A drawing that is being written. */
struct gnuplot {
	FILE *gp, *dat;
	struct text_stream gp_stream, dat_stream;
};

/** Return: false: no memory, nothing is to be written; gnuplot_draw() has to come all the same, and says so. */
bool gnuplot_begin(struct gnuplot *g);

/**
 * gnuplot_draw - write @directory/@name.gp, .dat and .svg; @g is released
 * @title: of the drawing
 * @svg: the drawing, malloc'ed and 0-terminated, the caller frees; NULL: not wanted
 * Existing files are replaced.
 * Return: 0; -ENOEXEC gnuplot is missing or failed (the message has its first line); -ENOMEM; or an I/O
 * errno. On failure none of the files is left.
 */
int gnuplot_draw(struct gnuplot *g, const char *directory, const char *name, const char *title,
		 char **svg, struct error *err);

/**
 * gnuplot_check - can anything be drawn: is there a gnuplot?
 * Return: 0, or -ENOEXEC (the message tells how to get it).
 */
int gnuplot_check(struct error *err);

/** Remove what gnuplot_draw() wrote under @name, if anything. */
void gnuplot_remove(const char *directory, const char *name);

#endif
