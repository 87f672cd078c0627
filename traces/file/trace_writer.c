/* SPDX-License-Identifier: MIT */
/*
 * Layout of what is written, in order: file header, HEADER (and PADDING where its space is
 * reserved), start SNAPSHOT, the burn-in part (BURN_IN_SNAPSHOT, BURN_IN_EVENTS blocks, BURN_IN_END),
 * EVENTS blocks with an INDEX after every 1024, end SNAPSHOT, MARKS, last INDEX, END.
 */
#include "traces/file/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/bits.h"
#include "base/outfile.h"
#include "traces/file/trace_codec.h"
#include "traces/file/trace_layout.h"

/* Level 19 saves 4 % and takes ten times as long (docs/trace-format.md). */
#define LEVEL_DEFAULT 6

/* The burn-in part of the file. */
struct writer_burn_in {
	bool begun, ended;
	struct burn_in_end end; /* its counts run along */
	uint8_t digest[2][16];	/* snapshot, events */
};

struct trace_writer {
	char *path;
	struct outfile *file;
	struct trace_header header; /* machine: our own copy */
	struct trace_totals totals;
	struct file_end end;
	uint64_t header_offset;
	bool header_reserved, ended;
	struct writer_burn_in burn_in;
	uint64_t start_ns;	    /* of the start snapshot */
	uint64_t last_ns;	    /* of all events so far */
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

/* Of a writer whose file lacks something already. */
static int still_broken(const struct trace_writer *w, struct error *err)
{
	return error_set(err, -w->broken, "%s: an earlier write failed: %s", w->path,
			 strerror(-w->broken));
}

static int cannot_pack(struct trace_writer *w, int ret, struct error *err)
{
	if (ret == -ENOMEM)
		return out_of_memory(w, err);
	return error_set(err, -ret, "%s: a column cannot be packed: %s", w->path, strerror(-ret));
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
		return still_broken(w, err);
	section_encode(&s, raw);
	ret = outfile_write(w->file, raw, sizeof(raw), err);
	if (!ret)
		ret = outfile_write(w->file, payload, n, err);
	if (!ret && offset)
		*offset = s.offset;
	w->broken = ret;
	return ret;
}

/* A HEADER section as bytes, ready for its place, and the digest of its raw form. */
static int header_section(struct trace_writer *w, const struct trace_header *header,
			  struct bytes *out, uint8_t digest[16], struct error *err)
{
	uint8_t section[SECTION_HEADER_BYTES] = {0};
	struct bytes raw = {0};
	int ret;

	header_encode(header, &raw);
	bytes_put(out, section, sizeof(section));
	ret = raw.failed || out->failed ? -ENOMEM
					: packed_put(w->zstd, out, raw.data, raw.size, NULL, 0);
	if (ret)
		cannot_pack(w, ret, err);
	else if (raw.size > HEADER_RAW_MAX)
		ret = error_set(err, E2BIG, "%s: the machine has too many absent ranges (%zu)",
				w->path, header->machine->nr_absent);
	else
		layout_digest(raw.data, raw.size, digest);
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
	bool is_virtual = w->header.identity == IDENTITY_VIRTUAL;

	w->limits.pfn_end =
		is_virtual || w->header_reserved ? PFN_MAX + 1 : machine_end(w->header.machine);
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
	uint8_t digest[16];
	struct bytes out = {0};
	int ret = header_section(w, header, &out, digest, err);

	if (!ret && w->header_reserved)
		ret = header_pad(w, &out, err);
	if (!ret && outfile_offset(w->file) > w->header_offset)
		ret = outfile_patch(w->file, w->header_offset, out.data, out.size, err);
	else if (!ret)
		ret = outfile_write(w->file, out.data, out.size, err);
	if (!ret)
		memcpy(w->digest[DIGEST_HEADER], digest, sizeof(digest));
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
	struct trace_writer *made = calloc(1, sizeof(*made));
	int ret;

	if (made)
		made->path = strdup(path);
	if (!made || !made->path) {
		free(made);
		return error_set(err, ENOMEM, "%s: out of memory", path);
	}
	ret = writer_begin(made, header, options, err);
	if (ret) {
		trace_writer_abort(made);
		return ret;
	}
	*w = made;
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

	if (w->broken)
		return still_broken(w, err);
	if (!w->header_reserved)
		return error_set(err, EINVAL, "%s: no space was reserved for a new header",
				 w->path);
	if (w->end.start_snapshot || w->end.end_snapshot)
		return error_set(err, EINVAL, "%s: a snapshot of the old machine was written",
				 w->path);
	ret = check_machine(w, header, err);
	if (!ret)
		ret = write_header(w, header, err);
	if (ret)
		return ret;
	ret = copy_header(w, header, err);
	w->broken = w->broken ? w->broken : ret; /* the file says one thing, the writer another */
	return ret;
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

/* The events at hand as a block of @type. */
static int write_block(struct trace_writer *w, enum section_type type, unsigned int flags,
		       uint64_t first_event, uint64_t *offset, struct error *err)
{
	int ret;

	w->payload.size = 0;
	ret = block_encode(w->encoder, w->events, w->nr_events, first_event, &w->payload);
	if (ret) {
		w->broken = ret;
		return cannot_pack(w, ret, err);
	}
	events_canonical(w->events, w->nr_events, w->canonical);
	XXH3_128bits_update(w->hash, w->canonical, w->nr_events * EVENT_DIGEST_BYTES);
	return section_write(w, type, flags, w->payload.data, w->payload.size, offset, err);
}

static bool in_burn_in(const struct trace_writer *w)
{
	return w->burn_in.begun && !w->burn_in.ended;
}

static int flush_events(struct trace_writer *w, struct error *err)
{
	uint64_t first_event, offset;
	int ret;

	if (!w->nr_events)
		return 0;
	if (in_burn_in(w)) {
		first_event = w->burn_in.end.events - w->nr_events;
		ret = write_block(w, SECTION_BURN_IN_EVENTS, 0, first_event, &offset, err);
		w->nr_events = 0;
		return ret;
	}
	first_event = w->totals.events - w->nr_events;
	ret = write_block(w, SECTION_EVENTS, SECTION_CRITICAL, first_event, &offset, err);
	if (ret)
		return ret;
	add_index(w, offset, first_event);
	w->nr_events = 0;
	return w->nr_index == INDEX_ENTRIES_MAX ? write_index(w, err) : 0;
}

static void hash_digest(XXH3_state_t *hash, uint8_t digest[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(hash));
	memcpy(digest, canonical.digest, 16);
}

/* Whatever comes next belongs to the recording itself. */
static int end_burn_in(struct trace_writer *w, struct error *err)
{
	struct writer_burn_in *b = &w->burn_in;
	uint8_t raw[BURN_IN_END_BYTES];
	int ret;

	if (!in_burn_in(w))
		return 0;
	ret = flush_events(w, err);
	if (ret)
		return ret;
	b->ended = true;
	hash_digest(w->hash, b->digest[1]);
	XXH3_128bits_reset(w->hash);
	layout_digest(b->digest, sizeof(b->digest), b->end.digest);
	burn_in_end_encode(&b->end, raw);
	return section_write(w, SECTION_BURN_IN_END, 0, raw, sizeof(raw), NULL, err);
}

static void count_event(struct trace_writer *w, const struct event *e)
{
	struct trace_totals *t = &w->totals;
	struct burn_in_end *b = &w->burn_in.end;

	if (in_burn_in(w)) {
		if (!b->events)
			b->first_ns = e->time_ns;
		b->last_ns = e->time_ns;
		t->burn_in_events = ++b->events;
		if (e->kind == EVENT_LOST)
			t->burn_in_lost = b->lost_events += e->arg;
	} else {
		if (!t->events)
			t->first_ns = e->time_ns;
		t->last_ns = e->time_ns;
		t->events++;
		t->by_kind[e->kind]++;
		t->ops += event_is_op(e);
		if (e->kind == EVENT_LOST)
			t->lost_events += e->arg;
	}
	w->last_ns = e->time_ns;
	if (e->context > t->contexts)
		t->contexts = e->context;
	if (e->cpu >= w->nr_cpus)
		w->nr_cpus = e->cpu + 1U;
	w->pfn_end = max_u64(w->pfn_end, event_frames_end(e));
}

static int check_event(const struct trace_writer *w, const struct event *e, struct error *err)
{
	const char *field = event_check(e, &w->limits), *what = in_burn_in(w) ? "burn-in " : "";
	uint64_t n = in_burn_in(w) ? w->burn_in.end.events : w->totals.events;

	if (!field && e->time_ns > TRACE_TIME_MAX)
		field = "time_ns";
	if (!field && e->time_ns < w->last_ns)
		return error_set(err, ERANGE,
				 "%s: %sevent %" PRIu64 ": time_ns runs back from %" PRIu64
				 " to %" PRIu64 "; sort the events first",
				 w->path, what, n, w->last_ns, e->time_ns);
	if (!field && in_burn_in(w) && e->time_ns > w->start_ns)
		return error_set(err, ERANGE,
				 "%s: burn-in event %" PRIu64 ": time_ns %" PRIu64
				 " is behind the start snapshot's %" PRIu64,
				 w->path, n, e->time_ns, w->start_ns);
	if (!field && in_burn_in(w) && e->kind == EVENT_MARK)
		field = "kind";
	if (field)
		return error_set(err, ERANGE,
				 "%s: %sevent %" PRIu64 ": %s out of range (time_ns %" PRIu64
				 ", kind %u, order %u, pfn 0x%" PRIx64 ", arg 0x%" PRIx64
				 ", cpu %u, migratetype %u); the machine has %" PRIu64
				 " frames, %" PRIu32 " cpus",
				 w->path, what, n, field, e->time_ns, e->kind, e->order, e->pfn,
				 e->arg, e->cpu, e->migratetype, w->limits.pfn_end,
				 w->limits.nr_cpus);
	return 0;
}

static int append_events(struct trace_writer *w, const struct event *events, size_t n,
			 struct error *err)
{
	int ret = 0;

	if (w->broken)
		return still_broken(w, err);
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

int trace_writer_events(struct trace_writer *w, const struct event *events, size_t n,
			struct error *err)
{
	int ret;

	if (w->ended)
		return error_set(err, EINVAL, "%s: events after the end snapshot", w->path);
	ret = n ? end_burn_in(w, err) : 0;
	return ret ? ret : append_events(w, events, n, err);
}

int trace_writer_burn_in_events(struct trace_writer *w, const struct event *events, size_t n,
				struct error *err)
{
	if (!in_burn_in(w))
		return error_set(err, EINVAL, "%s: burn-in events cannot come here", w->path);
	return append_events(w, events, n, err);
}

/* ---- the rest ---- */

static const char *const snapshot_names[] = {"start", "end", "burn-in"};

/* May a snapshot come now, and is it a good one? */
static int check_snapshot(const struct trace_writer *w, enum trace_snapshot which,
			  const struct frame_map *map, struct error *err)
{
	bool begun = w->totals.events || w->ended, ok = !w->end.end_snapshot;

	if (which == TRACE_START)
		ok = !begun && !w->end.start_snapshot;
	else if (which == TRACE_BURN_IN)
		ok = !begun && !w->burn_in.begun && w->end.start_snapshot;
	if (!ok)
		return error_set(err, EINVAL, "%s: a %s snapshot cannot come here", w->path,
				 snapshot_names[which]);
	if (map->time_ns > TRACE_TIME_MAX)
		return error_set(err, EINVAL,
				 "%s: the %s snapshot's time %" PRIu64 " ns is above 2^63 - 1",
				 w->path, snapshot_names[which], map->time_ns);
	if (which == TRACE_BURN_IN && map->time_ns > w->start_ns)
		return error_set(err, EINVAL,
				 "%s: the burn-in snapshot's time %" PRIu64
				 " is behind the start snapshot's %" PRIu64,
				 w->path, map->time_ns, w->start_ns);
	if (frame_map_check(map, err))
		return error_prefix(err, "%s: snapshot", w->path);
	if (which != TRACE_END && snapshot_check_start(map, err))
		return error_prefix(err, "%s: %s snapshot", w->path, snapshot_names[which]);
	return 0;
}

/* What the file and the digest have of a snapshot: its section, and its raw columns in @raw. */
static int write_snapshot(struct trace_writer *w, enum trace_snapshot which,
			  const struct frame_map *map, struct snapshot_raw *raw, uint64_t *offset,
			  struct error *err)
{
	bool refer = which != TRACE_START && w->end.start_snapshot;
	struct bytes *payload = &w->payload;
	int ret;

	payload->size = 0;
	bytes_put_u8(payload, (uint8_t)which);
	bytes_put_u8(payload, refer);
	bytes_put_u8(payload, 0);
	bytes_put_u8(payload, 0);
	ret = snapshot_encode(map, raw);
	for (size_t i = 0; !ret && i < SNAPSHOT_COLUMNS; i++)
		ret = packed_put(w->zstd, payload, raw->column[i].data, raw->column[i].size,
				 refer ? w->start.column[i].data : NULL,
				 refer ? w->start.column[i].size : 0);
	if (ret)
		return cannot_pack(w, ret, err);
	if (map->nr_runs > SNAPSHOT_RUNS_BASE + SNAPSHOT_RUN_RATIO * payload->size)
		return error_set(err, E2BIG, "%s: a snapshot of %zu runs is too large", w->path,
				 map->nr_runs);
	if (which == TRACE_BURN_IN)
		return section_write(w, SECTION_BURN_IN_SNAPSHOT, 0, payload->data, payload->size,
				     offset, err);
	return section_write(w, SECTION_SNAPSHOT, SECTION_CRITICAL, payload->data, payload->size,
			     offset, err);
}

int trace_writer_snapshot(struct trace_writer *w, enum trace_snapshot which,
			  const struct frame_map *map, struct error *err)
{
	uint64_t *const offsets[] = {&w->end.start_snapshot, &w->end.end_snapshot,
				     &w->burn_in.end.snapshot};
	uint8_t *const digests[] = {w->digest[DIGEST_START], w->digest[DIGEST_END],
				    w->burn_in.digest[0]};
	struct snapshot_raw other = {0}, *raw = which == TRACE_START ? &w->start : &other;
	struct frame_map own = *map;
	struct error unread;
	int ret;

	err = err ? err : &unread;
	own.machine = w->header.machine;
	if (w->broken)
		return still_broken(w, err);
	ret = check_snapshot(w, which, &own, err);
	if (ret)
		return ret;
	if (which == TRACE_END) {
		ret = end_burn_in(w, err);
		if (!ret)
			ret = flush_events(w, err);
		if (ret)
			return ret;
		w->ended = true;
	}
	ret = write_snapshot(w, which, &own, raw, offsets[which], err);
	w->broken = ret;
	if (!ret) {
		snapshot_raw_digest(raw, digests[which]);
		if (which == TRACE_START)
			w->start_ns = map->time_ns;
		if (which == TRACE_BURN_IN) {
			w->last_ns = map->time_ns;
			w->burn_in.begun = true;
		}
	}
	snapshot_raw_free(&other);
	return ret;
}

int trace_writer_mark_name(struct trace_writer *w, const char *name, uint64_t *id,
			   struct error *err)
{
	size_t n = strlen(name);

	if (w->broken)
		return still_broken(w, err);
	if (n == 0 || n > MARK_NAME_MAX)
		return error_set(err, EINVAL, "%s: the name of a mark has 1 to %u bytes", w->path,
				 MARK_NAME_MAX);
	if (w->nr_marks == MARKS_MAX)
		return error_set(err, ENOSPC, "%s: more than %u names of marks", w->path,
				 MARKS_MAX);
	bytes_put_varint(&w->marks, n);
	bytes_put(&w->marks, name, n);
	if (w->marks.failed) {
		w->broken = -ENOMEM; /* half a name may be there */
		return out_of_memory(w, err);
	}
	*id = w->nr_marks++;
	return 0;
}

static int write_marks(struct trace_writer *w, struct error *err)
{
	int ret;

	if (!w->nr_marks)
		return 0;
	w->payload.size = 0;
	ret = packed_put(w->zstd, &w->payload, w->marks.data, w->marks.size, NULL, 0);
	if (ret)
		return cannot_pack(w, ret, err);
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

	for (unsigned int k = 1; k < EVENT_KINDS; k++)
		if (t->by_kind[k] && event_kinds[k].truth)
			features |= TRACE_HAS_GROUND_TRUTH;
	if (t->by_kind[EVENT_LABEL])
		features |= TRACE_HAS_LABELS;
	if (t->by_kind[EVENT_KSWAPD_WAKE] || t->by_kind[EVENT_KSWAPD_SLEEP])
		features |= TRACE_HAS_KSWAPD;
	return features;
}

static int write_end(struct trace_writer *w, struct error *err)
{
	uint8_t raw[END_BYTES];

	hash_digest(w->hash, w->digest[DIGEST_EVENTS]);
	layout_digest(w->digest, sizeof(w->digest), w->end.digest);
	w->end.file_bytes = outfile_offset(w->file) + END_BYTES;
	end_encode(&w->end, &w->totals, raw);
	return outfile_write(w->file, raw, sizeof(raw), err);
}

int trace_writer_close(struct trace_writer *w, struct trace_totals *totals, struct error *err)
{
	int ret = w->broken;

	if (ret)
		still_broken(w, err);
	else
		ret = end_burn_in(w, err);
	if (!ret)
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
	w->header.compatible_features &= ~(uint64_t)TRACE_HAS_BURN_IN;
	if (w->burn_in.begun)
		w->header.compatible_features |= TRACE_HAS_BURN_IN;
	if (!ret)
		ret = write_file_header(w, err);
	if (!ret) {
		uint8_t digest[16];

		memcpy(digest, w->end.digest, 16);
		if (w->burn_in.begun)
			burn_in_join_digest(w->end.digest, w->burn_in.end.digest, digest);
		digest_format(digest, w->totals.digest);
		ret = outfile_commit(w->file, err);
		w->file = NULL;
	}
	if (!ret && totals)
		*totals = w->totals;
	trace_writer_abort(w);
	return ret;
}
