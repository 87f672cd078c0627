/* SPDX-License-Identifier: MIT */
/*
 * Layout of what is written, in order: file header, HEADER (and PADDING where its space is
 * reserved), start SNAPSHOT, EVENTS blocks with an INDEX after every 1024, end SNAPSHOT, MARKS, last
 * INDEX, END.
 */
#include "traces/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/bits.h"
#include "base/outfile.h"
#include "traces/trace_codec.h"
#include "traces/trace_layout.h"

/* Level 19 saves 4 % and takes ten times as long (docs/trace-format.md). */
#define LEVEL_DEFAULT 6

struct trace_writer {
	char *path;
	struct outfile *file;
	struct trace_header header; /* machine: our own copy */
	struct trace_totals totals;
	struct file_end end;
	uint64_t header_offset;
	bool header_reserved, ended;
	struct event_limits limits; /* as wide as can be while the header may change */
	uint64_t pfn_end;	    /* one past the highest frame seen */
	uint32_t nr_cpus;	    /* one past the highest cpu seen */
	int level;
	ZSTD_CCtx *zstd;
	struct block_encoder *encoder;
	struct event *events;
	size_t nr_events, block_events;
	uint8_t *canonical;
	struct bytes payload;
	struct snapshot_raw start; /* kept: the end snapshot refers to it */
	XXH3_state_t *hash;
	uint8_t digest[DIGEST_PARTS][16];
	uint8_t index[INDEX_HEADER_BYTES + INDEX_ENTRIES_MAX * INDEX_ENTRY_BYTES];
	uint32_t nr_index;
	struct bytes marks;
	uint64_t nr_marks;
	int broken; /* of the first failed write: nothing is added behind half a section */
};

static int out_of_memory(struct trace_writer *w, struct error *err)
{
	return error_set(err, ENOMEM, "%s: out of memory while writing a trace", w->path);
}

static int section_write(struct trace_writer *w, unsigned int type, unsigned int flags,
			 const void *payload, size_t n, uint64_t *offset, struct error *err)
{
	uint8_t raw[SECTION_HEADER_BYTES];
	struct section s = {
		.offset = outfile_offset(w->file),
		.type = (uint16_t)type,
		.flags = (uint16_t)flags,
		.payload_bytes = n,
		.payload_hash = layout_hash(payload, n),
	};
	int ret;

	if (w->broken)
		return error_set(err, -w->broken, "%s: an earlier write failed", w->path);
	section_encode(&s, raw);
	ret = outfile_write(w->file, raw, sizeof(raw), err);
	if (!ret)
		ret = outfile_write(w->file, payload, n, err);
	if (!ret && offset)
		*offset = s.offset;
	w->broken = ret;
	return ret;
}

/* A HEADER section as bytes, ready for its place at @offset; its raw form gives the digest. */
static int header_section(struct trace_writer *w, const struct trace_header *header,
			  struct bytes *out, struct error *err)
{
	uint8_t section[SECTION_HEADER_BYTES] = {0};
	struct bytes raw = {0};
	int ret = 0;

	header_encode(header, &raw);
	bytes_put(out, section, sizeof(section));
	if (raw.failed || packed_put(w->zstd, out, raw.data, raw.size, NULL, 0))
		ret = out_of_memory(w, err);
	else if (raw.size > HEADER_RAW_MAX)
		ret = error_set(err, E2BIG, "%s: the machine has too many absent ranges (%zu)",
				w->path, header->machine->nr_absent);
	else
		layout_digest(raw.data, raw.size, w->digest[DIGEST_HEADER]);
	bytes_free(&raw);
	if (ret)
		return ret;

	struct section s = {
		.offset = w->header_offset,
		.type = SECTION_HEADER,
		.flags = SECTION_CRITICAL,
		.payload_bytes = out->size - SECTION_HEADER_BYTES,
		.payload_hash = layout_hash(out->data + SECTION_HEADER_BYTES,
					    out->size - SECTION_HEADER_BYTES),
	};

	section_encode(&s, out->data);
	return 0;
}

/* Fill the reserved space up with a PADDING section. */
static int header_pad(struct trace_writer *w, struct bytes *out, struct error *err)
{
	struct section s = {.offset = w->header_offset + out->size, .type = SECTION_PADDING};
	size_t used = out->size + SECTION_HEADER_BYTES;
	uint8_t *p;

	if (used > RESERVED_HEADER_BYTES)
		return error_set(err, ENOSPC,
				 "%s: the header needs %zu bytes, %u are reserved; describe the "
				 "machine before the first event",
				 w->path, used, RESERVED_HEADER_BYTES);
	p = bytes_reserve(out, RESERVED_HEADER_BYTES - out->size);
	if (!p)
		return out_of_memory(w, err);
	s.payload_bytes = RESERVED_HEADER_BYTES - used;
	memset(p + SECTION_HEADER_BYTES, 0, (size_t)s.payload_bytes);
	s.payload_hash = layout_hash(p + SECTION_HEADER_BYTES, (size_t)s.payload_bytes);
	section_encode(&s, p);
	out->size = RESERVED_HEADER_BYTES;
	return 0;
}

static void set_limits(struct trace_writer *w)
{
	bool virtual = w->header.identity == IDENTITY_VIRTUAL;

	w->limits.pfn_end = virtual || w->header_reserved ? PFN_MAX + 1
							  : machine_end(w->header.machine);
	w->limits.nr_cpus = w->header_reserved ? MACHINE_CPUS_MAX : w->header.machine->nr_cpus;
}

static int write_file_header(struct trace_writer *w, struct error *err)
{
	uint8_t raw[FILE_HEADER_BYTES];

	file_header_encode(raw, w->header.compatible_features, w->header.incompatible_features);
	if (outfile_offset(w->file))
		return outfile_patch(w->file, 0, raw, sizeof(raw), err);
	return outfile_write(w->file, raw, sizeof(raw), err);
}

/* Write the header's section, or replace it. */
static int write_header(struct trace_writer *w, const struct trace_header *header,
			struct error *err)
{
	struct bytes out = {0};
	int ret = header_section(w, header, &out, err);

	if (!ret && w->header_reserved)
		ret = header_pad(w, &out, err);
	if (!ret && outfile_offset(w->file) > w->header_offset)
		ret = outfile_patch(w->file, w->header_offset, out.data, out.size, err);
	else if (!ret)
		ret = outfile_write(w->file, out.data, out.size, err);
	bytes_free(&out);
	return ret;
}

/* Take over @header with a copy of its machine. */
static int copy_header(struct trace_writer *w, const struct trace_header *header, struct error *err)
{
	struct machine *machine;
	int ret = machine_check(header->machine, err);

	if (!ret)
		ret = machine_copy(header->machine, &machine, err);
	if (ret)
		return ret;
	machine_destroy(w->header.machine);
	header = memcpy(&w->header, header, sizeof(*header));
	w->header.machine = machine;
	w->header.version = TRACE_FORMAT_VERSION;
	return 0;
}

static int writer_begin(struct trace_writer *w, const struct trace_header *header,
			const struct trace_write_options *options, struct error *err)
{
	int ret = copy_header(w, header, err);

	if (ret)
		return ret;
	if (header->incompatible_features)
		return error_set(err, EINVAL, "%s: no incompatible feature is defined", w->path);
	w->header_reserved = options && options->header_at_end_known;
	w->level = options && options->level ? options->level : LEVEL_DEFAULT;
	w->block_events = options ? options->block_events : 0;
	if (w->block_events == 0 || w->block_events > BLOCK_EVENTS_MAX)
		w->block_events = BLOCK_EVENTS_MAX;
	w->zstd = ZSTD_createCCtx();
	w->hash = XXH3_createState();
	w->events = malloc(BLOCK_EVENTS_MAX * sizeof(*w->events));
	w->canonical = malloc((size_t)BLOCK_EVENTS_MAX * EVENT_DIGEST_BYTES);
	if (!w->zstd || !w->hash || !w->events || !w->canonical ||
	    block_encoder_create(w->level, &w->encoder))
		return out_of_memory(w, err);
	packed_configure(w->zstd, w->level);
	XXH3_128bits_reset(w->hash);
	set_limits(w);
	w->header_offset = FILE_HEADER_BYTES;
	ret = outfile_create(w->path, options && options->overwrite, &w->file, err);
	if (!ret)
		ret = write_file_header(w, err);
	return ret ? ret : write_header(w, &w->header, err);
}

int trace_writer_create(const char *path, const struct trace_header *header,
			const struct trace_write_options *options, struct trace_writer **w,
			struct error *err)
{
	struct trace_writer *new = calloc(1, sizeof(*new));
	int ret;

	if (new)
		new->path = strdup(path);
	if (!new || !new->path) {
		free(new);
		return error_set(err, ENOMEM, "%s: out of memory", path);
	}
	ret = writer_begin(new, header, options, err);
	if (ret) {
		trace_writer_abort(new);
		return ret;
	}
	*w = new;
	return 0;
}

void trace_writer_abort(struct trace_writer *w)
{
	if (!w)
		return;
	outfile_abort(w->file);
	block_encoder_destroy(w->encoder);
	ZSTD_freeCCtx(w->zstd);
	XXH3_freeState(w->hash);
	machine_destroy(w->header.machine);
	snapshot_raw_free(&w->start);
	bytes_free(&w->payload);
	bytes_free(&w->marks);
	free(w->canonical);
	free(w->events);
	free(w->path);
	free(w);
}

/* Does what was written fit the machine it is now said to be of? */
static int check_machine(const struct trace_writer *w, const struct trace_header *header,
			 struct error *err)
{
	if (w->nr_cpus > header->machine->nr_cpus)
		return error_set(err, ERANGE,
				 "%s: an event on cpu %" PRIu32 ", but the machine has %" PRIu32
				 " cpus",
				 w->path, w->nr_cpus - 1, header->machine->nr_cpus);
	if (header->identity == IDENTITY_PFN && w->pfn_end > machine_end(header->machine))
		return error_set(err, ERANGE,
				 "%s: an event at frame %" PRIu64
				 ", but the machine ends at %" PRIu64 "; give it more memory",
				 w->path, w->pfn_end - 1, machine_end(header->machine));
	return 0;
}

int trace_writer_set_header(struct trace_writer *w, const struct trace_header *header,
			    struct error *err)
{
	int ret;

	if (!w->header_reserved)
		return error_set(err, EINVAL, "%s: no space was reserved for a new header",
				 w->path);
	if (w->end.start_snapshot || w->end.end_snapshot)
		return error_set(err, EINVAL, "%s: a snapshot of the old machine was written",
				 w->path);
	ret = check_machine(w, header, err);
	if (!ret)
		ret = write_header(w, header, err);
	return ret ? ret : copy_header(w, header, err);
}

/* ---- events ---- */

static int write_index(struct trace_writer *w, struct error *err)
{
	size_t n = INDEX_HEADER_BYTES + (size_t)w->nr_index * INDEX_ENTRY_BYTES;
	int ret;

	store_u64(w->index, w->end.index);
	store_u32(w->index + 8, w->nr_index);
	store_u32(w->index + 12, 0);
	ret = section_write(w, SECTION_INDEX, 0, w->index, n, &w->end.index, err);
	w->nr_index = 0;
	return ret;
}

static void add_index(struct trace_writer *w, uint64_t offset, uint64_t first_event)
{
	uint8_t *p = w->index + INDEX_HEADER_BYTES + (size_t)w->nr_index * INDEX_ENTRY_BYTES;

	store_u64(p, offset);
	store_u64(p + 8, first_event);
	store_u64(p + 16, w->nr_events);
	store_u64(p + 24, w->events[0].time_ns);
	store_u64(p + 32, w->events[w->nr_events - 1].time_ns);
	w->nr_index++;
}

static int flush_events(struct trace_writer *w, struct error *err)
{
	uint64_t first_event = w->totals.events - w->nr_events, offset;
	int ret;

	if (!w->nr_events)
		return 0;
	w->payload.size = 0;
	if (block_encode(w->encoder, w->events, w->nr_events, first_event, &w->payload)) {
		w->broken = -ENOMEM;
		return out_of_memory(w, err);
	}
	events_canonical(w->events, w->nr_events, w->canonical);
	XXH3_128bits_update(w->hash, w->canonical, w->nr_events * EVENT_DIGEST_BYTES);
	ret = section_write(w, SECTION_EVENTS, SECTION_CRITICAL, w->payload.data, w->payload.size,
			    &offset, err);
	if (ret)
		return ret;
	add_index(w, offset, first_event);
	w->nr_events = 0;
	return w->nr_index == INDEX_ENTRIES_MAX ? write_index(w, err) : 0;
}

static uint64_t frames_end(const struct event *e)
{
	uint64_t end;

	if (!event_has_pfn(e->kind))
		return 0;
	if (e->kind == EVENT_ONLINE || e->kind == EVENT_OFFLINE)
		return e->pfn + e->arg;
	end = e->pfn + (UINT64_C(1) << e->order);
	return e->kind == EVENT_MOVE ? max_u64(end, e->arg + (UINT64_C(1) << e->order)) : end;
}

static void count_event(struct trace_writer *w, const struct event *e)
{
	struct trace_totals *t = &w->totals;

	if (!t->events)
		t->first_ns = e->time_ns;
	t->last_ns = e->time_ns;
	t->events++;
	t->by_kind[e->kind]++;
	t->ops += event_is_op(e);
	if (e->kind == EVENT_LOST)
		t->lost_events += e->arg;
	if (e->context > t->contexts)
		t->contexts = e->context;
	if (e->cpu >= w->nr_cpus)
		w->nr_cpus = e->cpu + 1U;
	w->pfn_end = max_u64(w->pfn_end, frames_end(e));
}

static int check_event(const struct trace_writer *w, const struct event *e, struct error *err)
{
	const char *field = event_check(e, &w->limits);

	if (!field && e->time_ns < w->totals.last_ns)
		return error_set(err, ERANGE,
				 "%s: event %" PRIu64 ": time_ns runs back from %" PRIu64
				 " to %" PRIu64 "; sort the events first",
				 w->path, w->totals.events, w->totals.last_ns, e->time_ns);
	if (field)
		return error_set(
			err, ERANGE,
			"%s: event %" PRIu64 ": %s out of range (kind %u, order %u, pfn 0x%" PRIx64
			", arg 0x%" PRIx64 ", cpu %u, migratetype %u); the machine has %" PRIu64
			" frames, %" PRIu32 " cpus",
			w->path, w->totals.events, field, e->kind, e->order, e->pfn, e->arg, e->cpu,
			e->migratetype, w->limits.pfn_end, w->limits.nr_cpus);
	return 0;
}

int trace_writer_events(struct trace_writer *w, const struct event *events, size_t n,
			struct error *err)
{
	int ret = 0;

	if (w->ended)
		return error_set(err, EINVAL, "%s: events after the end snapshot", w->path);
	if (w->broken)
		return error_set(err, -w->broken, "%s: an earlier write failed", w->path);
	for (size_t i = 0; !ret && i < n; i++) {
		ret = check_event(w, &events[i], err);
		if (ret)
			break;
		count_event(w, &events[i]);
		w->events[w->nr_events++] = events[i];
		if (w->nr_events == w->block_events)
			ret = flush_events(w, err);
	}
	return ret;
}

/* ---- the rest ---- */

int trace_writer_snapshot(struct trace_writer *w, enum trace_snapshot which,
			  const struct frame_map *map, struct error *err)
{
	struct snapshot_raw end = {0}, *raw = which == TRACE_START ? &w->start : &end;
	uint64_t *offset = which == TRACE_START ? &w->end.start_snapshot : &w->end.end_snapshot;
	bool refer = which == TRACE_END && w->end.start_snapshot;
	struct bytes *payload = &w->payload;
	struct frame_map own = *map;
	struct error unread;
	int ret = 0;

	err = err ? err : &unread;
	if (*offset || (which == TRACE_START && (w->totals.events || w->ended)))
		return error_set(err, EINVAL, "%s: a %s snapshot cannot come here", w->path,
				 which == TRACE_START ? "start" : "end");
	own.machine = w->header.machine;
	if (frame_map_check(&own, err))
		return error_prefix(err, "%s: snapshot", w->path);
	if (which == TRACE_START && snapshot_check_start(&own, err))
		return error_prefix(err, "%s: start snapshot", w->path);
	if (which == TRACE_END) {
		ret = flush_events(w, err);
		if (ret)
			return ret;
		w->ended = true;
	}
	payload->size = 0;
	bytes_put_u8(payload, (uint8_t)which);
	bytes_put_u8(payload, refer);
	bytes_put_u8(payload, 0);
	bytes_put_u8(payload, 0);
	ret = snapshot_encode(&own, raw);
	for (size_t i = 0; !ret && i < SNAPSHOT_COLUMNS; i++)
		ret = packed_put(w->zstd, payload, raw->column[i].data, raw->column[i].size,
				 refer ? w->start.column[i].data : NULL,
				 refer ? w->start.column[i].size : 0);
	if (ret)
		ret = out_of_memory(w, err);
	else if (map->nr_runs > SNAPSHOT_RUNS_BASE + SNAPSHOT_RUN_RATIO * payload->size)
		ret = error_set(err, E2BIG, "%s: a snapshot of %zu runs is too large", w->path,
				map->nr_runs);
	if (!ret) {
		snapshot_raw_digest(raw,
				    w->digest[which == TRACE_START ? DIGEST_START : DIGEST_END]);
		ret = section_write(w, SECTION_SNAPSHOT, SECTION_CRITICAL, payload->data,
				    payload->size, offset, err);
	}
	snapshot_raw_free(&end);
	return ret;
}

int trace_writer_mark_name(struct trace_writer *w, const char *name, uint64_t *id,
			   struct error *err)
{
	size_t n = strlen(name);

	if (n == 0 || n > MARK_NAME_MAX)
		return error_set(err, EINVAL, "%s: the name of a mark has 1 to %u bytes", w->path,
				 MARK_NAME_MAX);
	if (w->nr_marks == MARKS_MAX)
		return error_set(err, ENOSPC, "%s: more than %u names of marks", w->path,
				 MARKS_MAX);
	bytes_put_varint(&w->marks, n);
	bytes_put(&w->marks, name, n);
	if (w->marks.failed)
		return out_of_memory(w, err);
	*id = w->nr_marks++;
	return 0;
}

static int write_marks(struct trace_writer *w, struct error *err)
{
	if (!w->nr_marks)
		return 0;
	w->payload.size = 0;
	if (packed_put(w->zstd, &w->payload, w->marks.data, w->marks.size, NULL, 0))
		return out_of_memory(w, err);
	layout_digest(w->marks.data, w->marks.size, w->digest[DIGEST_MARKS]);
	return section_write(w, SECTION_MARKS, 0, w->payload.data, w->payload.size, &w->end.marks,
			     err);
}

void trace_writer_add_resorted(struct trace_writer *w, uint64_t n)
{
	w->totals.resorted += n;
}

const struct trace_totals *trace_writer_totals(const struct trace_writer *w)
{
	return &w->totals;
}

static uint64_t features_seen(const struct trace_totals *t)
{
	uint64_t features = 0;

	if (t->by_kind[EVENT_ZONE_LOCKED] || t->by_kind[EVENT_PCPU_DRAIN] ||
	    t->by_kind[EVENT_EXTFRAG] || t->by_kind[EVENT_COMPACTION])
		features |= TRACE_HAS_GROUND_TRUTH;
	if (t->by_kind[EVENT_LABEL])
		features |= TRACE_HAS_LABELS;
	return features;
}

static int write_end(struct trace_writer *w, struct error *err)
{
	uint8_t raw[END_BYTES];
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(w->hash));
	memcpy(w->digest[DIGEST_EVENTS], canonical.digest, 16);
	layout_digest(w->digest, sizeof(w->digest), w->end.digest);
	w->end.file_bytes = outfile_offset(w->file) + END_BYTES;
	end_encode(&w->end, &w->totals, raw);
	return outfile_write(w->file, raw, sizeof(raw), err);
}

int trace_writer_close(struct trace_writer *w, struct trace_totals *totals, struct error *err)
{
	int ret = w->broken;

	if (ret)
		error_set(err, -ret, "%s: an earlier write failed", w->path);
	else
		ret = flush_events(w, err);
	if (!ret && w->header_reserved)
		ret = check_machine(w, &w->header, err);
	if (!ret)
		ret = write_marks(w, err);
	if (!ret)
		ret = write_index(w, err);
	if (!ret)
		ret = write_end(w, err);
	w->header.compatible_features |= features_seen(&w->totals);
	if (!ret)
		ret = write_file_header(w, err);
	if (!ret) {
		for (size_t i = 0; i < 16; i++)
			snprintf(w->totals.digest + 2 * i, 3, "%02x", w->end.digest[i]);
		ret = outfile_commit(w->file, err);
		w->file = NULL;
	}
	if (!ret && totals)
		*totals = w->totals;
	trace_writer_abort(w);
	return ret;
}
