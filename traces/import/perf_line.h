/* SPDX-License-Identifier: MIT */
/*
 * One line of `perf script` text (or of an ftrace `trace` file, which looks much the same) turned
 * into an event. The line's head is free text of unbounded variety: comm names with blanks and
 * brackets, columns that come and go with -F. So the scanner finds the event's name and reads backwards from
 * it, as far as columns still make sense; the fields behind it are key=value pairs in any order.
 *
 * No allocation, locale or stdio: this runs once per line of files of many gigabytes.
 */
#ifndef TRACES_IMPORT_PERF_LINE_H
#define TRACES_IMPORT_PERF_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/event.h"

#define PERF_LINE_PID_MAX (1 << 22) /* PID_MAX_LIMIT of 64-bit kernels */

enum perf_line_kind {
	PERF_LINE_EVENT,   /* perf_line.event holds one, except for its context */
	PERF_LINE_LOST,	   /* EVENT_LOST; has_time tells whether the line had a time */
	PERF_LINE_RELEASE, /* "# os release : 6.18": perf_line.text holds the release */
	PERF_LINE_SKIPPED, /* comment, call chain, another event, one not needed */
	PERF_LINE_FAULT,   /* one of our events, but damaged or out of range */
};

struct perf_line {
	struct event event;
	int32_t pid;	  /* the thread's id as recorded; -1: the line has none */
	const char *name; /* of the event, in the line, with its system if that is there */
	bool has_system;  /* kmem:NAME, as perf writes it; ftrace writes NAME alone */
	bool has_time;
	bool has_irq_flags; /* the column of ftrace text is there */
	const char *text;   /* points into the line */
	size_t text_length;
};

struct perf_fault {
	int code;	      /* EBADMSG or ERANGE */
	const char *at;	      /* into the line */
	const char *expected; /* "a frame number after pfn=" */
	const char *remedy;
};

#define PERF_GFP_SLOTS	  256
#define PERF_GFP_TEXT_MAX 232

/*
 * The few dozen flag sets of a recording come again and again: their bits are looked up by text.
 * Direct-mapped, so that a hostile file costs time, never memory.
 */
struct perf_gfp_slot {
	uint64_t hash;
	uint32_t gfp, unknown;
	uint32_t length; /* 0: empty */
	char text[PERF_GFP_TEXT_MAX];
};

/** What the scanner keeps from line to line. Start with all zero. */
struct perf_scanner {
	uint64_t unknown_gfp_names; /* summed over all events */
	struct perf_gfp_slot gfp[PERF_GFP_SLOTS];
};

/**
 * perf_line_scan - understand one line
 * @line, @end: the line; *@end is readable and is '\n'; nothing beyond it is read
 * @out: written for EVENT, LOST and RELEASE. The event's time_ns is 0 without has_time; its
 *       migratetypes are ours (kernel type 4 is taken for CMA, see docs/importing.md)
 * @fault: written for FAULT
 *
 * Two scanners may be used by two threads.
 */
enum perf_line_kind perf_line_scan(struct perf_scanner *scanner, const char *line, const char *end,
				   struct perf_line *out, struct perf_fault *fault);

#endif
