/* SPDX-License-Identifier: MIT */
/*
 * Long work says how far it is: one status line redrawn on a terminal, nothing at all when stderr is
 * a file or a pipe. Purely for people; never on stdout.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
	FILE *out;
	char what[64];
	uint64_t total; /* 0: unknown, then only the count and rate are shown */
	uint64_t started_ns, drawn_ns;
	bool live; /* @out is a terminal */
};

/** Start. @what: a few words ("replay llfree"). @out NULL: never draws. Draws nothing yet. */
void progress_begin(struct progress *p, FILE *out, const char *what, uint64_t total);
/** @done of total so far; redraws at most ten times a second, so calling it often is cheap. */
void progress_update(struct progress *p, uint64_t done);
/** Erase the line, if one was drawn. Later updates draw nothing. */
void progress_end(struct progress *p);

/**
 * progress_line - the text of the status line: percent, rate and time left, or count and rate
 * Return: its length, as snprintf() gives it. Purely a function of its arguments.
 */
int progress_line(char *line, size_t size, const struct progress *p, uint64_t done,
		  uint64_t elapsed_ns);

#endif
