/* SPDX-License-Identifier: MIT */
/*
 * Where importers put their events: brings them into time order, numbers threads, learns what it
 * can of the machine that recorded, and writes the trace. A foreign file says nothing of that
 * machine, so it is described at the end, from the highest frame and CPU seen.
 */
#ifndef TRACES_IMPORT_IMPORT_SINK_H
#define TRACES_IMPORT_IMPORT_SINK_H

#include "base/error.h"
#include "traces/event.h"
#include "traces/import/import.h"

struct import_sink;

/* What only the importer learns about the recording. */
struct import_found {
	enum import_format format; /* of the first event */
	char kernel[72];	   /* release, ""  if the text does not tell */
	uint64_t features;	   /* enum trace_feature */
};

/**
 * import_sink_create - begin writing @out
 * @memory_bytes: of the machine, a multiple of 4096; 0: unknown
 * Return: 0; -EINVAL memory_bytes; -ENOMEM; or as trace_writer_create().
 */
int import_sink_create(const char *out, const struct import_options *options,
		       struct import_sink **sink, struct error *err);

/** The number under which the thread @pid is known in the trace; -1 is 0, unknown. -ENOMEM. */
int import_sink_context(struct import_sink *sink, int32_t pid, uint32_t *context,
			struct error *err);

/** The first pfn the machine cannot have: events must end at or before it. */
uint64_t import_sink_pfn_end(const struct import_sink *sink);
/** The frames of a machine whose highest frame seen is @end - 1: rounded up to 128 MiB. */
uint64_t import_frames_to(uint64_t end);
/** The frames of the machine that a close now would describe. */
uint64_t import_sink_frames(const struct import_sink *sink);

/**
 * import_sink_push - the next event, at most 10 ms before the newest one
 * Return: 0; -ERANGE further back; or as trace_writer_events().
 */
int import_sink_push(struct import_sink *sink, const struct event *e, struct error *err);

/** As push, for an event without a time: it gets that of the newest event, or of the first. */
int import_sink_push_untimed(struct import_sink *sink, const struct event *e, struct error *err);

/**
 * import_sink_close - describe the machine, finish the file, free the sink
 */
int import_sink_close(struct import_sink *sink, const struct import_found *found,
		      struct trace_totals *totals, struct error *err);
/** Remove what was written, free. NULL is allowed. */
void import_sink_abort(struct import_sink *sink);

#endif
