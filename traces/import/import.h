/* SPDX-License-Identifier: MIT */
/*
 * Traces other tools recorded, turned into .quire files. They come without snapshots: the start
 * state is unknown, so objects allocated before the recording show as orphan frees.
 */
#ifndef TRACES_IMPORT_IMPORT_H
#define TRACES_IMPORT_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "traces/file/trace.h"
#include "traces/import/frame_span.h"

enum import_format {
	IMPORT_AUTO,   /* either, as each line says */
	IMPORT_PERF,   /* text of `perf script`, where events are called kmem:NAME */
	IMPORT_FTRACE, /* text of ftrace's `trace` file or of `trace-cmd report`: NAME alone */
};

/** Names as an option's choices, in the order of the enum, NULL-terminated. */
extern const char *const import_format_names[];

struct import_options {
	enum import_format from; /* an event of another format is refused */
	uint64_t memory_bytes;	 /* highest address of the recording machine's memory, a multiple of
				  4096; 0: the highest frame seen, rounded up to 128 MiB */
	bool drop_beyond;	 /* events on frames beyond memory_bytes become lost ones; else they
				  are an error */
	bool overwrite;
	const char *note;   /* provenance, or NULL */
	const char *kernel; /* release; NULL: as `perf script --header` tells, if it does */
	/* Now and then, from the calling thread; @bytes_total is 0 for a pipe. NULL: none. */
	void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_total);
	void *progress_arg;
};

struct import_stats {
	uint64_t lines;
	uint64_t skipped_lines; /* gave no event: comments, call chains, other events, doublets */
	uint64_t unknown_gfp_names; /* flags without a bit of ours, once per event they are in */
	uint64_t dropped_events;    /* beyond the memory given; they count in totals.lost_events */
	uint64_t memory_bytes;	    /* of the machine described */
	/* Without memory_bytes given: frames so far above all others that they may be mistakes
	   (traces/import/frame_span.h); events 0: none. */
	struct frame_strays strays;
	uint64_t memory_without_strays_bytes;
	struct trace_totals totals;
};

/**
 * import_file - read @in, write @out
 * @in: a path, or "-" for standard input
 * @out: must not be @in
 * @stats: written on success; NULL is allowed
 *
 * Events may be up to 10 ms out of order (totals.resorted counts them). Threads are numbered by
 * first appearance; names of commands are not kept. What each field becomes: docs/importing.md.
 *
 * Return: 0;
 * -EBADMSG @in is no text, a line is longer than 1 MiB, one of our events does not parse or is not of
 * the format asked for (message: file, line, column, what was expected), or the last line is cut off;
 * -ERANGE order, pfn, cpu, pid out of range, a pfn beyond the memory given, or time backwards by more
 * than 10 ms;
 * -ENODATA no allocation and no free at all (the message tells what to record);
 * -EINVAL memory_bytes, or @in and @out are one file; -EEXIST; or the errno of reading or writing.
 * On failure @out is as it was before. Two imports may run in two threads.
 */
int import_file(const char *in, const char *out, const struct import_options *options,
		struct import_stats *stats, struct error *err);

#endif
