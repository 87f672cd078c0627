/* SPDX-License-Identifier: MIT */
#include "traces/import/import_perf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "traces/import/perf_line.h"

#define GOT_MAX	       32 /* bytes of a line a message quotes */
#define PROGRESS_LINES 16384

struct perf_import {
	struct perf_scanner scanner;
	struct line_reader *reader;
	struct import_sink *sink;
	enum import_format from;
	struct import_found *found;
	struct frame_span span;
	uint64_t pfn_end;
	uint64_t dropped;
	bool drop; /* what is at or above pfn_end; else it is an error */
	bool any;  /* an allocation or a free was there */
};

static int report_fault(const struct perf_import *in, const char *line, const char *end,
			const struct perf_fault *fault, struct error *err)
{
	size_t length = (size_t)(end - fault->at);
	const char *dots = length > GOT_MAX ? "..." : "";
	const char *got = fault->at;

	if (length && got[length - 1] == '\r')
		length--;
	if (!length)
		return error_set(err, fault->code,
				 "%s:%" PRIu64
				 ": column %zu: expected %s, got the end of the line; %s",
				 in->reader->name, in->reader->line, (size_t)(got - line) + 1,
				 fault->expected, fault->remedy);
	return error_set(err, fault->code,
			 "%s:%" PRIu64 ": column %zu: expected %s, got '%.*s%s'; %s",
			 in->reader->name, in->reader->line, (size_t)(got - line) + 1,
			 fault->expected, (int)min_u64(length, GOT_MAX), got, dots, fault->remedy);
}

/* An event on frames the machine is said not to have: lost, if that was asked for. */
static int push_beyond(struct perf_import *in, const struct event *e, struct error *err)
{
	const struct event lost = {
		.time_ns = e->time_ns,
		.pfn = PFN_NONE,
		.arg = 1,
		.cpu = e->cpu,
		.kind = EVENT_LOST,
	};

	if (!in->drop)
		return error_set(err, ERANGE,
				 "%s:%" PRIu64 ": expected frames below pfn %#" PRIx64
				 ", the memory given, got pfn %#" PRIx64 " of order %u; give the "
				 "highest address of the recording machine's memory, or none, or "
				 "have such lines left out (drop-beyond)",
				 in->reader->name, in->reader->line, in->pfn_end, e->pfn, e->order);
	in->dropped++;
	return import_sink_push(in->sink, &lost, err);
}

static int push_event(struct perf_import *in, struct perf_line *parsed, struct error *err)
{
	struct event *e = &parsed->event;
	int rc;

	if (event_has_pfn(e->kind) && e->pfn + (UINT64_C(1) << e->order) > in->pfn_end)
		return push_beyond(in, e, err);
	switch (e->kind) {
	case EVENT_ALLOC:
	case EVENT_FREE:
	case EVENT_ALLOC_FAILED:
		in->any = true;
		rc = import_sink_context(in->sink, parsed->pid, &e->context, err);
		if (rc)
			return rc;
		break;
	case EVENT_COMPACTION:
		in->found->features |= TRACE_HAS_GROUND_TRUTH;
		rc = import_sink_context(in->sink, parsed->pid, &e->context, err);
		if (rc)
			return rc;
		break;
	case EVENT_LOST:
		if (!parsed->has_time)
			return import_sink_push_untimed(in->sink, e, err);
		break;
	default:
		in->found->features |= TRACE_HAS_GROUND_TRUTH;
	}
	if (parsed->has_irq_flags)
		in->found->features |= TRACE_HAS_IRQ_FLAGS;
	if (event_has_pfn(e->kind))
		frame_span_add(&in->span, e->pfn, e->order, in->reader->line);
	rc = import_sink_push(in->sink, e, err);
	if (rc == -ERANGE)
		error_prefix(err, "%s:%" PRIu64, in->reader->name, in->reader->line);
	return rc;
}

/* Is an event of the format asked for, if one was? */
static int check_format(struct perf_import *in, const char *line, const char *end,
			const struct perf_line *parsed, struct error *err)
{
	enum import_format format = parsed->has_system ? IMPORT_PERF : IMPORT_FTRACE;
	struct perf_fault fault = {.code = EBADMSG, .at = parsed->name};

	if (in->found->format == IMPORT_AUTO)
		in->found->format = format;
	if (in->from == IMPORT_AUTO || in->from == format)
		return 0;
	if (format == IMPORT_PERF) {
		fault.expected = "an event's name alone, as ftrace writes it";
		fault.remedy = "import it as perf or auto";
	} else {
		fault.expected = "kmem: before the name, as perf script writes it";
		fault.remedy = "import it as ftrace or auto";
	}
	return report_fault(in, line, end, &fault, err);
}

static int import_line(struct perf_import *in, const char *line, const char *end,
		       struct import_stats *stats, struct error *err)
{
	struct perf_line parsed;
	struct perf_fault fault;
	int rc;

	switch (perf_line_scan(&in->scanner, line, end, &parsed, &fault)) {
	case PERF_LINE_EVENT:
		rc = check_format(in, line, end, &parsed, err);
		return rc ? rc : push_event(in, &parsed, err);
	case PERF_LINE_LOST:
		return push_event(in, &parsed, err);
	case PERF_LINE_RELEASE:
		snprintf(in->found->kernel, sizeof(in->found->kernel), "%.*s",
			 (int)min_u64(parsed.text_length, sizeof(in->found->kernel) - 1),
			 parsed.text);
		stats->skipped_lines++;
		return 0;
	case PERF_LINE_SKIPPED:
		stats->skipped_lines++;
		return 0;
	case PERF_LINE_FAULT:
		break;
	}
	return report_fault(in, line, end, &fault, err);
}

/* A line that lacks its newline may lack digits too, and none would miss them. */
static int check_terminated(const struct line_reader *reader, const char *line, const char *end,
			    struct error *err)
{
	if (!reader->unterminated)
		return 0;
	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	if (line == end)
		return 0;
	return error_set(err, EBADMSG,
			 "%s:%" PRIu64 ": the last line is cut off; run perf script again, or "
			 "delete the line",
			 reader->name, reader->line);
}

int import_perf(struct line_reader *reader, struct import_sink *sink,
		const struct import_options *options, struct import_found *found,
		struct import_stats *stats, struct error *err)
{
	struct perf_import *in = calloc(1, sizeof(*in));
	const char *line, *end;
	int rc;

	if (!in)
		return error_set(err, ENOMEM, "%s: out of memory", reader->name);
	in->reader = reader;
	in->sink = sink;
	in->from = options->from;
	in->found = found;
	in->pfn_end = import_sink_pfn_end(sink);
	in->drop = options->drop_beyond;
	while ((rc = line_reader_next(reader, &line, &end, err)) > 0) {
		rc = check_terminated(reader, line, end, err);
		if (!rc)
			rc = import_line(in, line, end, stats, err);
		if (rc)
			break;
		if (options->progress && reader->line % PROGRESS_LINES == 0)
			options->progress(options->progress_arg, reader->bytes_done,
					  reader->bytes_total);
	}
	if (!rc && !in->any)
		rc = error_set(
			err, ENODATA,
			"%s: no page-allocator event in %" PRIu64 " lines; record them: %s",
			reader->name, reader->line,
			in->from == IMPORT_FTRACE
				? "enable kmem/mm_page_alloc and kmem/mm_page_free in tracefs"
				: "perf record -a -e kmem:mm_page_alloc,kmem:mm_page_free");
	stats->lines = reader->line;
	stats->unknown_gfp_names = in->scanner.unknown_gfp_names;
	stats->dropped_events = in->dropped;
	/* Whoever gives the memory knows what it is. */
	if (!options->memory_bytes)
		frame_span_strays(&in->span, &stats->strays);
	free(in);
	return rc;
}
