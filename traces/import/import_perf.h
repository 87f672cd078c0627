/* SPDX-License-Identifier: MIT */
/*
 * The importer of `perf script` text and of ftrace's, behind import_file().
 */
#ifndef TRACES_IMPORT_IMPORT_PERF_H
#define TRACES_IMPORT_IMPORT_PERF_H

#include "traces/import/import.h"
#include "traces/import/import_sink.h"
#include "traces/import/line_reader.h"

/**
 * import_perf - all lines of @reader into @sink
 * @stats: lines, skipped_lines, unknown_gfp_names, dropped_events, strays are filled in
 * Return: as import_file().
 */
int import_perf(struct line_reader *reader, struct import_sink *sink,
		const struct import_options *options, struct import_found *found,
		struct import_stats *stats, struct error *err);

#endif
