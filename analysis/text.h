/* SPDX-License-Identifier: MIT */
/*
 * Foreign text (file names, labels, specifications) and numbers, made fit for where they go: a page,
 * a gnuplot script, a shell. Writing to a FILE fails silently here; the owner of the stream looks at
 * ferror() once at the end.
 */
#ifndef ANALYSIS_TEXT_H
#define ANALYSIS_TEXT_H

#include <stdint.h>
#include <stdio.h>

#include "results/metrics.h"

/** As HTML or XML text or attribute: escaped, bytes that are not UTF-8 become U+FFFD. */
void text_html(FILE *out, const char *text);

/** As a gnuplot string in single quotes, on one line; not UTF-8 becomes U+FFFD. */
void text_gnuplot(FILE *out, const char *text);

/** As one word of a POSIX shell. */
void text_shell(FILE *out, const char *text);

/** The part of a path that a reader knows it by. */
const char *text_base_name(const char *path);

/**
 * text_drop_directories - of each path in @text leave the name, in place
 * @between: characters that part words: TEXT_PROSE or TEXT_SPEC, where names of files may have blanks
 * What begins with '/', '.' or '~' is one, and what has a '/' and ends in a name with a dot. A page that is mailed
 * says nothing of where things lie on a machine.
 */
void text_drop_directories(char *text, const char *between);
#define TEXT_PROSE " \t\n,;:=()#'\""
#define TEXT_SPEC  ",:=()#"

/** Escaped as HTML, the shell word of @text. */
void text_shell_html(FILE *out, const char *text);

#define TEXT_NUMBER_MAX 48

/**
 * text_metric - a value as people read it: digits that mean something, digits grouped by narrow
 * spaces, a unit where it varies from row to row (bytes)
 * Shares are shown in percent, rates in millions per second. NaN: an en dash.
 * Return: @text.
 */
const char *text_metric(char text[TEXT_NUMBER_MAX], enum metric metric, double value);

/** The unit a column of text_metric() figures has: "%", "ns", "M/s", "frames"; "": none, or each its own. */
const char *text_metric_unit(enum metric metric);

/** "1 234 567". Return: @text. */
const char *text_count(char text[TEXT_NUMBER_MAX], uint64_t value);

/** "3.25 MiB". Return: @text. */
const char *text_bytes(char text[TEXT_NUMBER_MAX], double bytes);

#endif
