/* SPDX-License-Identifier: MIT */
#include "traces/generate/generate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/bits.h"

/* Higher levels make these traces no smaller (docs/generating.md). */
#define COMPRESSION_LEVEL 1

extern const struct workload workload_frag, workload_bulk;

const struct workload *const workloads[] = {&workload_frag, &workload_bulk, NULL};

uint64_t generate_blocks(const struct option_set *options, unsigned int order)
{
	return option_uint(options, "memory") >> PAGE_SHIFT_DEFAULT >> order;
}

/* @header's machine becomes the caller's. */
static int describe(const struct workload *workload, const struct option_set *options,
		    struct trace_header *header, struct error *err)
{
	char *values = option_canonical(options);

	if (!values)
		return error_set(err, ENOMEM, "no memory");
	*header = (struct trace_header){.identity = IDENTITY_VIRTUAL};
	snprintf(header->recorder, sizeof(header->recorder), "quire generate " QUIRE_VERSION);
	snprintf(header->clock, sizeof(header->clock), "virtual");
	snprintf(header->note, sizeof(header->note), "%s: %s", workload->name, values);
	free(values);
	return machine_from_memory(option_uint(options, "memory"),
				   (uint32_t)option_uint(options, "cpus"), &header->machine, err);
}

static int run(const struct workload *workload, const struct option_set *options, struct stream *s)
{
	int rc = workload->run(options, s, s->err);

	return rc == 0 || rc == STREAM_FULL ? stream_flush(s) : rc;
}

static uint64_t file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

static int write_trace(const struct workload *workload, const struct option_set *options,
		       const struct trace_header *header, const char *out,
		       const struct generate_how *how, struct stream *s,
		       struct generate_stats *stats)
{
	const struct trace_write_options write_options = {
		.overwrite = how->overwrite,
		.level = COMPRESSION_LEVEL,
	};
	int rc = trace_writer_create(out, header, &write_options, &s->writer, s->err);

	if (rc)
		return rc;
	rc = run(workload, options, s);
	if (rc) {
		trace_writer_abort(s->writer);
		return rc;
	}
	rc = trace_writer_close(s->writer, &stats->totals, s->err);
	stats->peak_frames = s->peak_frames;
	stats->bytes = file_bytes(out);
	return rc;
}

int generate_file(const struct workload *workload, const struct option_set *options,
		  const char *out, const struct generate_how *how, struct generate_stats *stats,
		  struct error *err)
{
	struct generate_stats made = {0};
	struct trace_header header;
	struct error scratch = {0};
	struct stream *s;
	int rc;

	err = err ? err : &scratch;
	rc = workload->check(options, err);
	if (rc)
		return error_prefix(err, "%s", workload->name);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, ENOMEM, "%s: no memory", out);
	s->err = err;
	s->rate = option_uint(options, "rate");
	s->events_max = option_uint(options, "events"); /* 0: not given, and no default */
	if (!s->events_max)
		s->events_max = UINT64_MAX;
	s->progress = how->progress;
	s->progress_arg = how->progress_arg;
	rc = describe(workload, options, &header, err);
	if (!rc) {
		rc = write_trace(workload, options, &header, out, how, s, &made);
		machine_destroy(header.machine);
	}
	stream_release(s);
	free(s);
	if (!rc && stats)
		*stats = made;
	return rc;
}
