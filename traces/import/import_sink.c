/* SPDX-License-Identifier: MIT */
#include "traces/import/import_sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "traces/reorder.h"
#include "traces/file/trace.h"

#define BATCH_EVENTS 1024

/*
 * The writer's default level makes files hardly smaller and takes longer than reading and parsing the
 * text does (docs/importing.md).
 */
#define COMPRESSION_LEVEL 1

/* Zone borders of x86-64, and the grain to which an unknown memory size is rounded: 128 MiB. */
#define DMA_END	     4096
#define DMA32_END    1048576
#define MEMORY_GRAIN 32768

/* Two levels of pids: bounded, and only what is used is touched. */
#define PID_LEAF_BITS 12
#define PID_LEAVES    (1U << (22 - PID_LEAF_BITS))

struct import_sink {
	struct trace_writer *writer;
	struct reorder *reorder;
	struct trace_header header; /* its machine is the widest, until close */
	uint64_t memory_frames;	    /* 0: unknown */
	uint64_t pfn_end;	    /* one past the highest frame seen */
	uint64_t newest_ns;
	uint32_t nr_cpus;
	bool started;	      /* newest_ns holds a time */
	struct event waiting; /* without a time, before the first event; kind 0: none */

	uint32_t *pids[PID_LEAVES];
	uint32_t contexts;
	int32_t last_pid;
	uint32_t last_context;

	size_t n;
	struct event batch[BATCH_EVENTS];
};

static int add_zone(struct machine *m, enum zone_type type, uint64_t start, uint64_t end,
		    struct error *err)
{
	struct zone zone = {
		.start = start,
		.end = end,
		.present = end - start,
		.managed = end - start,
		.type = (uint8_t)type,
	};

	return start < end ? machine_add_zone(m, &zone, err) : 0;
}

/* One node of @frames frames with the zones x86-64 cuts them into. */
static int describe_machine(uint64_t frames, uint32_t nr_cpus, struct machine **m,
			    struct error *err)
{
	int rc = machine_create(nr_cpus, 1, m, err);

	if (rc)
		return rc;
	rc = add_zone(*m, ZONE_DMA, 0, min_u64(frames, DMA_END), err);
	if (!rc)
		rc = add_zone(*m, ZONE_DMA32, DMA_END, min_u64(frames, DMA32_END), err);
	if (!rc)
		rc = add_zone(*m, ZONE_NORMAL, DMA32_END, frames, err);
	if (rc) {
		machine_destroy(*m);
		*m = NULL;
	}
	return rc;
}

int import_sink_create(const char *out, const struct import_options *options,
		       struct import_sink **sink, struct error *err)
{
	struct trace_write_options write_options = {
		.overwrite = options->overwrite,
		.level = COMPRESSION_LEVEL,
		.header_at_end_known = true,
	};
	uint64_t frames = options->memory_bytes >> PAGE_SHIFT_DEFAULT;
	struct import_sink *s;
	int rc;

	if (!is_aligned(options->memory_bytes, UINT64_C(1) << PAGE_SHIFT_DEFAULT) ||
	    frames > PFN_MAX + 1)
		return error_set(err, EINVAL,
				 "memory of %" PRIu64 " bytes: expected a multiple of 4096 of at "
				 "most 4 PiB; give the recording machine's memory, or leave it out",
				 options->memory_bytes);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, ENOMEM, "%s: out of memory", out);
	s->memory_frames = frames;
	s->last_pid = -1;
	s->header.identity = IDENTITY_PFN;
	snprintf(s->header.clock, sizeof(s->header.clock), "local");
	if (options->note)
		snprintf(s->header.note, sizeof(s->header.note), "%s", options->note);
	rc = describe_machine(PFN_MAX + 1, MACHINE_CPUS_MAX, &s->header.machine, err);
	if (!rc)
		rc = reorder_create(&s->reorder, err);
	if (!rc)
		rc = trace_writer_create(out, &s->header, &write_options, &s->writer, err);
	if (rc) {
		import_sink_abort(s);
		return rc;
	}
	*sink = s;
	return 0;
}

int import_sink_context(struct import_sink *sink, int32_t pid, uint32_t *context, struct error *err)
{
	uint32_t **leaf, *slot;

	if (pid == sink->last_pid || pid < 0) {
		*context = pid < 0 ? 0 : sink->last_context;
		return 0;
	}
	leaf = &sink->pids[(uint32_t)pid >> PID_LEAF_BITS];
	if (!*leaf) {
		*leaf = calloc(1U << PID_LEAF_BITS, sizeof(**leaf));
		if (!*leaf)
			return error_set(err, ENOMEM, "out of memory for numbering threads");
	}
	slot = &(*leaf)[(uint32_t)pid & low_bits(PID_LEAF_BITS)];
	if (!*slot)
		*slot = ++sink->contexts;
	sink->last_pid = pid;
	sink->last_context = *slot;
	*context = *slot;
	return 0;
}

uint64_t import_sink_pfn_end(const struct import_sink *sink)
{
	return sink->memory_frames ? sink->memory_frames : PFN_MAX + 1;
}

uint64_t import_frames_to(uint64_t end)
{
	return min_u64(align_up(max_u64(end, 1), MEMORY_GRAIN), PFN_MAX + 1);
}

uint64_t import_sink_frames(const struct import_sink *sink)
{
	/* Failed allocations alone name no frame. */
	return sink->memory_frames ? sink->memory_frames : import_frames_to(sink->pfn_end);
}

static int write_batch(struct import_sink *sink, struct error *err)
{
	int rc = trace_writer_events(sink->writer, sink->batch, sink->n, err);

	sink->n = 0;
	return rc;
}

static int write_ready(struct import_sink *sink, bool flush, struct error *err)
{
	while (reorder_pop(sink->reorder, flush, &sink->batch[sink->n])) {
		if (++sink->n == BATCH_EVENTS) {
			int rc = write_batch(sink, err);

			if (rc)
				return rc;
		}
	}
	return 0;
}

int import_sink_push(struct import_sink *sink, const struct event *e, struct error *err)
{
	int rc;

	if (!sink->started) {
		sink->started = true;
		sink->newest_ns = e->time_ns;
		if (sink->waiting.kind) {
			sink->waiting.time_ns = e->time_ns;
			rc = import_sink_push(sink, &sink->waiting, err);
			if (rc)
				return rc;
		}
	}
	rc = reorder_push(sink->reorder, e, err);
	if (rc)
		return rc;
	sink->newest_ns = max_u64(sink->newest_ns, e->time_ns);
	if (e->cpu >= sink->nr_cpus)
		sink->nr_cpus = e->cpu + 1U;
	sink->pfn_end = max_u64(sink->pfn_end, event_frames_end(e));
	return write_ready(sink, false, err);
}

int import_sink_push_untimed(struct import_sink *sink, const struct event *e, struct error *err)
{
	struct event timed = *e;

	if (!sink->started) {
		uint64_t before = sink->waiting.kind ? sink->waiting.arg : 0;

		sink->waiting = *e;
		if (__builtin_add_overflow(before, e->arg, &sink->waiting.arg))
			sink->waiting.arg = UINT64_MAX;
		return 0;
	}
	timed.time_ns = sink->newest_ns;
	return import_sink_push(sink, &timed, err);
}

int import_sink_close(struct import_sink *sink, const struct import_found *found,
		      struct trace_totals *totals, struct error *err)
{
	uint64_t frames = import_sink_frames(sink);
	struct trace_writer *writer;
	int rc;

	machine_destroy(sink->header.machine);
	sink->header.machine = NULL;
	rc = describe_machine(frames, (uint32_t)max_u64(sink->nr_cpus, 1), &sink->header.machine,
			      err);
	if (!rc)
		rc = write_ready(sink, true, err);
	if (!rc)
		rc = write_batch(sink, err);
	if (!rc) {
		snprintf(sink->header.recorder, sizeof(sink->header.recorder), "quire import (%s)",
			 found->format == IMPORT_FTRACE ? "ftrace" : "perf script");
		snprintf(sink->header.kernel, sizeof(sink->header.kernel), "%s", found->kernel);
		sink->header.compatible_features = found->features;
		rc = trace_writer_set_header(sink->writer, &sink->header, err);
	}
	if (!rc) {
		trace_writer_add_resorted(sink->writer, reorder_count(sink->reorder));
		writer = sink->writer;
		sink->writer = NULL;
		rc = trace_writer_close(writer, totals, err);
	}
	import_sink_abort(sink);
	return rc;
}

void import_sink_abort(struct import_sink *sink)
{
	if (!sink)
		return;
	trace_writer_abort(sink->writer);
	reorder_destroy(sink->reorder);
	machine_destroy(sink->header.machine);
	for (size_t i = 0; i < PID_LEAVES; i++)
		free(sink->pids[i]);
	free(sink);
}
