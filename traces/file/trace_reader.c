/* SPDX-License-Identifier: MIT */
/*
 * Reading goes from section to section; the footer only says where the snapshots and the names of
 * marks are. Behind damage, the next section is found by its sync word, whose header carries a
 * checksum seeded with its place.
 */
#include "traces/file/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/bits.h"
#include "traces/file/trace_codec.h"
#include "traces/file/trace_layout.h"

/* Ends each message about damage. */
#define DAMAGE_REMEDY "record it again, or salvage what is intact"

#define SCAN_BYTES 65536U
/* Events decoded at a time: they should still be in the second-level cache when they are used. */
#define BATCH_EVENTS 2048U

/* The burn-in part, as far as the file has it whole. */
struct reader_burn_in {
	bool present;
	uint64_t snapshot; /* offset; 0: none */
	bool have_end;
	struct burn_in_end end;
	uint8_t digest[2][16];	 /* snapshot, events: as found */
	uint64_t from_ns, to_ns; /* times of the burn-in and the start snapshot */
};

/* With VERIFY: what was found, to be compared with what the file says of itself. */
struct reader_audit {
	struct trace_totals seen;   /* of the recording's own events; contexts: of all */
	struct burn_in_end burn_in; /* of the burn-in's */
	uint64_t last_index;	    /* offset of the INDEX read last; 0: none */
	uint32_t nr_index;
	uint8_t index[INDEX_ENTRIES_MAX * INDEX_ENTRY_BYTES]; /* of the blocks since */
};

struct trace_reader {
	char *path;
	int fd;
	bool salvage, verify, want_burn_in;
	uint64_t file_bytes;
	struct trace_header header;
	bool have_end;
	struct file_end end;
	struct trace_totals totals;
	struct reader_burn_in burn_in;
	struct event_limits limits;
	ZSTD_DCtx *zstd;
	struct block_decoder *decoder;
	struct bytes payload, marks;
	char **mark_names;
	size_t nr_marks;
	struct event *events; /* BATCH_EVENTS of them */
	/* With VERIFY. */
	struct reader_audit *audit;
	XXH3_state_t *hash;
	uint8_t digest[DIGEST_PARTS][16];
	uint8_t *canonical;
	/* Where the stream of events stands. */
	uint64_t at, first_section, next_event, last_ns, blocks;
	bool in_block; /* some of its events are still to be decoded */
	bool in_burn_in;
	uint64_t block_offset, block_first_ns, block_last_ns;
	uint64_t gap; /* events missing before the block, not told yet */
	struct event lost;
	bool have_lost;
	size_t pending; /* decoded events that wait behind @lost */
	bool damaged;	/* since the last intact block */
	bool done;
	int failed;
	struct error failure;
};

static int out_of_memory(const struct trace_reader *r, struct error *err)
{
	return error_set(err, ENOMEM, "%s: out of memory while reading a trace", r->path);
}

/* Read exactly @n bytes. */
static int read_at(const struct trace_reader *r, uint64_t offset, void *data, size_t n,
		   struct error *err)
{
	uint8_t *p = data;

	while (n) {
		ssize_t got = pread(r->fd, p, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(err, errno, "%s: byte %" PRIu64 ": cannot read: %s",
					 r->path, offset, strerror(errno));
		if (got == 0)
			return error_set(err, EBADMSG,
					 "%s: byte %" PRIu64
					 ": the file ends here; it is truncated, try to salvage it",
					 r->path, offset);
		p += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int section_at(const struct trace_reader *r, uint64_t offset, struct section *s,
		      struct error *err)
{
	uint8_t raw[SECTION_HEADER_BYTES];
	int ret;

	if (offset > r->file_bytes || r->file_bytes - offset < sizeof(raw))
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64
				 ": truncated in a section's header; " DAMAGE_REMEDY,
				 r->path, r->file_bytes);
	ret = read_at(r, offset, raw, sizeof(raw), err);
	if (ret)
		return ret;
	if (!section_decode(raw, offset, s))
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": section header damaged; " DAMAGE_REMEDY,
				 r->path, offset);
	if (s->payload_bytes > r->file_bytes - offset - sizeof(raw))
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": truncated, the section at byte %" PRIu64
				 " needs %" PRIu64 " bytes; " DAMAGE_REMEDY,
				 r->path, r->file_bytes, offset, s->payload_bytes);
	return 0;
}

/* Load a section's payload into r->payload and compare its checksum. */
static int load_payload(struct trace_reader *r, const struct section *s, uint64_t max,
			struct error *err)
{
	int ret;

	r->payload.size = 0;
	if (s->payload_bytes > max)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": section of %" PRIu64 " bytes is too large",
				 r->path, s->offset, s->payload_bytes);
	if (!bytes_reserve(&r->payload, (size_t)s->payload_bytes)) {
		r->payload.failed = false;
		return out_of_memory(r, err);
	}
	ret = read_at(r, s->offset + SECTION_HEADER_BYTES, r->payload.data,
		      (size_t)s->payload_bytes, err);
	if (ret)
		return ret;
	r->payload.size = (size_t)s->payload_bytes;
	if (layout_hash(r->payload.data, r->payload.size) != s->payload_hash)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": checksum mismatch in a section of %" PRIu64
				 " bytes; " DAMAGE_REMEDY,
				 r->path, s->offset, s->payload_bytes);
	return 0;
}

/* Compare a section's checksum without keeping it. */
static int check_payload(const struct trace_reader *r, const struct section *s, struct error *err)
{
	uint64_t at = s->offset + SECTION_HEADER_BYTES, left = s->payload_bytes;
	uint8_t buffer[SCAN_BYTES];
	XXH3_state_t *hash = XXH3_createState();
	int ret = 0;

	if (!hash)
		return out_of_memory(r, err);
	XXH3_64bits_reset(hash);
	while (!ret && left) {
		size_t n = (size_t)min_u64(left, sizeof(buffer));

		ret = read_at(r, at, buffer, n, err);
		XXH3_64bits_update(hash, buffer, n);
		at += n;
		left -= n;
	}
	if (!ret && XXH3_64bits_digest(hash) != s->payload_hash)
		ret = error_set(err, EBADMSG,
				"%s: byte %" PRIu64 ": checksum mismatch in a section of %" PRIu64
				" bytes; " DAMAGE_REMEDY,
				r->path, s->offset, s->payload_bytes);
	XXH3_freeState(hash);
	return ret;
}

/* The next offset >= @from at which an intact section header stands, or the file's size. */
static uint64_t find_section(const struct trace_reader *r, uint64_t from)
{
	uint8_t buffer[SCAN_BYTES + SECTION_HEADER_BYTES];
	struct section s;

	while (from < r->file_bytes && r->file_bytes - from >= SECTION_HEADER_BYTES) {
		size_t n = (size_t)min_u64(sizeof(buffer), r->file_bytes - from);

		if (read_at(r, from, buffer, n, NULL))
			break;
		for (size_t i = 0; i + SECTION_HEADER_BYTES <= n; i++)
			if (load_u32(buffer + i) == SECTION_SYNC &&
			    section_decode(buffer + i, from + i, &s))
				return from + i;
		from += n - SECTION_HEADER_BYTES + 1;
	}
	return r->file_bytes;
}

/* ---- opening ---- */

static int read_header(struct trace_reader *r, struct error *err)
{
	uint8_t raw[FILE_HEADER_BYTES];
	struct bytes column = {0};
	struct cursor in;
	struct section s;
	int ret;

	if (r->file_bytes < sizeof(raw))
		return error_set(err, EBADMSG,
				 "%s: byte 0: only %" PRIu64
				 " bytes, not a whole quire trace; record or import it again",
				 r->path, r->file_bytes);
	ret = read_at(r, 0, raw, sizeof(raw), err);
	if (ret)
		return ret;
	ret = file_header_decode(raw, &r->header.version, &r->header.compatible_features,
				 &r->header.incompatible_features, err);
	if (ret)
		return error_prefix(err, "%s", r->path);
	ret = section_at(r, sizeof(raw), &s, err);
	if (!ret && s.type != SECTION_HEADER)
		ret = error_set(err, EBADMSG, "%s: byte %zu: no header section", r->path,
				sizeof(raw));
	if (!ret)
		ret = load_payload(r, &s, 2 * HEADER_RAW_MAX, err);
	if (ret)
		return ret;
	in = (struct cursor){.at = r->payload.data, .end = r->payload.data + r->payload.size};
	ret = packed_get(r->zstd, &in, &column, HEADER_RAW_MAX, NULL, 0);
	if (ret)
		packed_error(ret, "the header", err);
	else
		ret = header_decode(column.data, column.size, &r->header, err);
	if (ret)
		ret = error_prefix(err, "%s: byte %zu", r->path, sizeof(raw));
	else
		layout_digest(column.data, column.size, r->digest[DIGEST_HEADER]);
	bytes_free(&column);
	r->first_section = section_end(&s);
	return ret;
}

static int read_end(struct trace_reader *r, struct error *err)
{
	uint8_t raw[END_BYTES];
	int ret;

	if (r->file_bytes >= r->first_section + END_BYTES) {
		ret = read_at(r, r->file_bytes - END_BYTES, raw, sizeof(raw), err);
		if (ret)
			return ret;
		if (end_decode(raw, r->file_bytes, &r->end, &r->totals)) {
			r->have_end = true;
			return 0;
		}
	}
	return error_set(
		err, EBADMSG,
		"%s: byte %" PRIu64
		": no intact footer, the file is truncated or damaged at its end; " DAMAGE_REMEDY,
		r->path, r->file_bytes);
}

/* Take over what a BURN_IN_END says. */
static int read_burn_in_end(struct trace_reader *r, const struct section *s, struct error *err)
{
	struct reader_burn_in *b = &r->burn_in;
	int ret = load_payload(r, s, BURN_IN_END_BYTES, err);

	if (ret)
		return ret;
	if (r->payload.size != BURN_IN_END_BYTES || !burn_in_end_decode(r->payload.data, &b->end) ||
	    (b->snapshot && b->end.snapshot != b->snapshot))
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": the end of the burn-in makes no sense",
				 r->path, s->offset);
	b->have_end = true;
	return 0;
}

/* Nobody may go on without a critical section; a later program knows what it is. */
static int check_known(const struct trace_reader *r, const struct section *s, struct error *err)
{
	if (s->type < SECTION_TYPES || !(s->flags & SECTION_CRITICAL))
		return 0;
	return error_set(
		err, EPROTONOSUPPORT,
		"%s: byte %" PRIu64
		": section of unknown type %u that must not be skipped; use a newer program",
		r->path, s->offset, s->type);
}

/* What is intact of the burn-in, found while surveying. */
static int survey_burn_in(struct trace_reader *r, const struct section *s, struct error *err)
{
	struct reader_burn_in *b = &r->burn_in;
	int ret;

	b->present |= s->type >= SECTION_BURN_IN_SNAPSHOT && s->type <= SECTION_BURN_IN_END;
	if (s->type == SECTION_BURN_IN_SNAPSHOT && !b->snapshot)
		b->snapshot = s->offset;
	if (s->type != SECTION_BURN_IN_END || b->have_end)
		return 0;
	ret = read_burn_in_end(r, s, err);
	if (ret)
		b->end = (struct burn_in_end){0};
	return ret == -EBADMSG ? 0 : ret;
}

/* With salvage: find what the footer, if missing, would name, and the burn-in. Only headers are read. */
static int survey(struct trace_reader *r, struct error *err)
{
	struct file_end end = {0};
	uint64_t at = r->first_section;
	struct section s;
	int ret;

	while (at < r->file_bytes) {
		if (section_at(r, at, &s, NULL)) {
			at = find_section(r, at + 1);
			continue;
		}
		ret = check_known(r, &s, err);
		if (!ret)
			ret = survey_burn_in(r, &s, err);
		if (ret)
			return ret;
		if (s.type == SECTION_MARKS)
			end.marks = at;
		if (s.type == SECTION_SNAPSHOT && s.payload_bytes) {
			uint8_t which = UINT8_MAX;

			if (read_at(r, at + SECTION_HEADER_BYTES, &which, 1, NULL))
				break;
			if (which == TRACE_START)
				end.start_snapshot = at;
			if (which == TRACE_END)
				end.end_snapshot = at;
		}
		at = section_end(&s);
	}
	if (!r->have_end)
		r->end = end;
	return 0;
}

static int named_section(struct trace_reader *r, uint64_t offset, enum section_type type,
			 struct section *s, struct error *err)
{
	int ret = section_at(r, offset, s, err);

	if (!ret && s->type != type)
		ret = error_set(err, EBADMSG, "%s: byte %" PRIu64 ": section of type %u, not %u",
				r->path, offset, s->type, type);
	return ret;
}

/* The chain of indexes, last one first. They do not overlap, so it ends after one pass. */
static int check_index(struct trace_reader *r, struct error *err)
{
	uint64_t offset = r->end.index, before = r->file_bytes;
	struct section s;

	while (offset) {
		uint64_t previous, n;
		int ret;

		ret = named_section(r, offset, SECTION_INDEX, &s, err);
		if (!ret && section_end(&s) > before)
			ret = error_set(err, EBADMSG, "%s: byte %" PRIu64 ": index out of order",
					r->path, offset);
		if (!ret)
			ret = load_payload(
				r, &s, INDEX_HEADER_BYTES + INDEX_ENTRIES_MAX * INDEX_ENTRY_BYTES,
				err);
		if (ret)
			return ret;
		if (s.payload_bytes < INDEX_HEADER_BYTES)
			return error_set(err, EBADMSG, "%s: byte %" PRIu64 ": index too short",
					 r->path, offset);
		previous = load_u64(r->payload.data);
		n = load_u32(r->payload.data + 8);
		if (INDEX_HEADER_BYTES + n * INDEX_ENTRY_BYTES != s.payload_bytes)
			return error_set(err, EBADMSG,
					 "%s: byte %" PRIu64 ": index of %" PRIu64
					 " entries in %" PRIu64 " bytes",
					 r->path, offset, n, s.payload_bytes);
		before = offset;
		offset = previous;
	}
	return 0;
}

static int read_marks(struct trace_reader *r, struct error *err)
{
	struct cursor in;
	struct section s;
	int ret;

	if (!r->end.marks)
		return 0;
	ret = named_section(r, r->end.marks, SECTION_MARKS, &s, err);
	if (!ret)
		ret = load_payload(r, &s, MARKS_RAW_MAX, err);
	if (ret)
		return ret;
	in = (struct cursor){.at = r->payload.data, .end = r->payload.data + r->payload.size};
	ret = packed_get(r->zstd, &in, &r->marks, MARKS_RAW_MAX, NULL, 0);
	if (ret) {
		packed_error(ret, "the column of marks' names", err);
		return error_prefix(err, "%s: byte %" PRIu64, r->path, s.offset);
	}
	layout_digest(r->marks.data, r->marks.size, r->digest[DIGEST_MARKS]);
	r->mark_names = calloc(MARKS_MAX, sizeof(*r->mark_names));
	if (!r->mark_names)
		return out_of_memory(r, err);
	in = (struct cursor){.at = r->marks.data, .end = r->marks.data + r->marks.size};
	while (cursor_left(&in) && !in.failed) {
		uint64_t n = cursor_varint(&in);
		const uint8_t *p = n && n <= MARK_NAME_MAX ? cursor_take(&in, (size_t)n) : NULL;

		if (!p || r->nr_marks == MARKS_MAX)
			return error_set(err, EBADMSG,
					 "%s: byte %" PRIu64 ": a mark's name is damaged", r->path,
					 s.offset);
		/* Not strndup(): what follows in the column is no string. */
		r->mark_names[r->nr_marks] = calloc(1, (size_t)n + 1);
		if (!r->mark_names[r->nr_marks])
			return out_of_memory(r, err);
		memcpy(r->mark_names[r->nr_marks++], p, (size_t)n);
	}
	return 0;
}

static uint64_t snapshot_offset(const struct trace_reader *r, enum trace_snapshot which)
{
	if (which == TRACE_BURN_IN)
		return r->burn_in.snapshot;
	return which == TRACE_START ? r->end.start_snapshot : r->end.end_snapshot;
}

static enum section_type snapshot_section(enum trace_snapshot which)
{
	return which == TRACE_BURN_IN ? SECTION_BURN_IN_SNAPSHOT : SECTION_SNAPSHOT;
}

static int check_snapshots(struct trace_reader *r, struct error *err)
{
	struct section s;
	int ret = 0;

	for (int which = TRACE_START; !ret && which <= TRACE_BURN_IN; which++) {
		uint64_t offset = snapshot_offset(r, (enum trace_snapshot)which);

		if (!offset)
			continue;
		ret = named_section(r, offset, snapshot_section((enum trace_snapshot)which), &s,
				    err);
		if (!ret)
			ret = check_payload(r, &s, err);
	}
	return ret;
}

/* Is a section of the burn-in part where it belongs? *@place: how far that part has come. */
static int check_burn_in(struct trace_reader *r, const struct section *s, unsigned int *place,
			 struct error *err)
{
	enum { BEFORE, INSIDE, BEHIND };
	bool begins = s->type == SECTION_BURN_IN_SNAPSHOT;

	if (s->type == SECTION_EVENTS && *place == BEFORE)
		*place = BEHIND;
	if (s->type < SECTION_BURN_IN_SNAPSHOT && s->type != SECTION_EVENTS)
		return 0;
	if (s->type == SECTION_EVENTS ? *place == INSIDE : *place != (begins ? BEFORE : INSIDE))
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": the burn-in is not whole, or out of place",
				 r->path, s->offset);
	if (begins) {
		r->burn_in.snapshot = s->offset;
		r->burn_in.present = true;
		*place = INSIDE;
	}
	if (s->type != SECTION_BURN_IN_END)
		return 0;
	*place = BEHIND;
	return read_burn_in_end(r, s, err);
}

/* A section the footer names. */
struct named {
	enum section_type type;
	uint64_t offset; /* 0: there is none, or it has been met */
};

/*
 * Of what the footer names there is one each, where it says, or some readers would see another trace
 * than others. INDEX sections are many; the last one is named.
 */
static int check_place(const struct trace_reader *r, const struct section *s, struct named *named,
		       size_t n, struct error *err)
{
	bool right = s->type != SECTION_HEADER;

	for (size_t i = 0; i < n; i++) {
		if (s->type != named[i].type)
			continue;
		if (s->offset == named[i].offset) {
			named[i].offset = 0;
			return 0;
		}
		right = s->type == SECTION_INDEX;
	}
	if (!right)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64
				 ": a second section of type %u, or not the one "
				 "the footer names; " DAMAGE_REMEDY,
				 r->path, s->offset, s->type);
	return 0;
}

/* Is the whole file made of sections this build knows or may skip? Only headers are read. */
static int check_sections(struct trace_reader *r, struct error *err)
{
	struct named named[] = {
		{SECTION_SNAPSHOT, r->end.start_snapshot},
		{SECTION_SNAPSHOT, r->end.end_snapshot},
		{SECTION_MARKS, r->end.marks},
		{SECTION_INDEX, r->end.index},
		{SECTION_END, r->file_bytes - END_BYTES},
	};
	uint64_t at = r->first_section;
	unsigned int place = 0;
	struct section s;

	while (at < r->file_bytes) {
		int ret = section_at(r, at, &s, err);

		if (!ret)
			ret = check_known(r, &s, err);
		if (!ret)
			ret = check_place(r, &s, named, ARRAY_SIZE(named), err);
		if (!ret && s.type < SECTION_TYPES)
			ret = check_burn_in(r, &s, &place, err);
		if (ret)
			return ret;
		at = section_end(&s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(named); i++)
		if (named[i].offset)
			return error_set(err, EBADMSG,
					 "%s: byte %" PRIu64 ": no section of type %u, although "
					 "the footer says so; " DAMAGE_REMEDY,
					 r->path, named[i].offset, named[i].type);
	if (r->burn_in.snapshot && !r->burn_in.have_end)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": the burn-in that begins here has no end",
				 r->path, r->burn_in.snapshot);
	return 0;
}

static int digest_snapshots(struct trace_reader *r, struct error *err);
static int open_burn_in(struct trace_reader *r, struct error *err);

static int reader_begin(struct trace_reader *r, struct error *err)
{
	struct stat st;
	int ret;

	/* Without O_NONBLOCK a FIFO would keep us waiting only to be refused. */
	r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (r->fd < 0 || fstat(r->fd, &st) < 0)
		return error_set(err, errno, "%s: cannot open: %s", r->path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "%s: a directory; name a trace in it", r->path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL,
				 "%s: not a regular file; a trace cannot be piped, save it to a "
				 "file first",
				 r->path);
	r->file_bytes = (uint64_t)st.st_size;
	r->zstd = ZSTD_createDCtx();
	if (!r->zstd || block_decoder_create(&r->decoder))
		return out_of_memory(r, err);
	ret = read_header(r, err);
	if (ret)
		return ret;
	r->limits.pfn_end = r->header.identity == IDENTITY_VIRTUAL ? PFN_MAX + 1
								   : machine_end(r->header.machine);
	r->limits.nr_cpus = r->header.machine->nr_cpus;
	r->events = malloc(BATCH_EVENTS * sizeof(*r->events));
	if (!r->events)
		return out_of_memory(r, err);
	ret = read_end(r, err);
	if (ret == -EBADMSG && r->salvage)
		ret = 0;
	if (!ret && r->salvage)
		ret = survey(r, err);
	if (!ret)
		ret = read_marks(r, err);
	if (ret && r->salvage && ret == -EBADMSG)
		ret = 0;
	if (!ret && !r->salvage)
		ret = check_sections(r, err);
	if (!ret && !r->salvage)
		ret = check_index(r, err);
	if (!ret && !r->salvage)
		ret = check_snapshots(r, err);
	if (!ret && r->verify)
		ret = digest_snapshots(r, err);
	if (!ret)
		ret = open_burn_in(r, err);
	return ret ? ret : trace_reader_rewind(r, err);
}

int trace_reader_open(const char *path, unsigned int flags, struct trace_reader **r,
		      struct error *err)
{
	struct trace_reader *made = calloc(1, sizeof(*made));
	struct error failure = {0};
	int ret;

	if (!made)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	made->fd = -1;
	made->salvage = flags & TRACE_SALVAGE;
	made->verify = (flags & TRACE_VERIFY) && !made->salvage;
	made->want_burn_in = flags & TRACE_READ_BURN_IN;
	made->path = strdup(path);
	if (made->path)
		ret = reader_begin(made, &failure);
	else
		ret = error_set(&failure, ENOMEM, "%s: out of memory", path);
	if (ret) {
		trace_reader_close(made);
		if (err)
			*err = failure;
		return ret;
	}
	*r = made;
	return 0;
}

void trace_reader_close(struct trace_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	for (size_t i = 0; i < r->nr_marks; i++)
		free(r->mark_names[i]);
	free(r->mark_names);
	machine_destroy(r->header.machine);
	ZSTD_freeDCtx(r->zstd);
	block_decoder_destroy(r->decoder);
	XXH3_freeState(r->hash);
	free(r->audit);
	bytes_free(&r->payload);
	bytes_free(&r->marks);
	free(r->canonical);
	free(r->events);
	free(r->path);
	free(r);
}

const struct trace_header *trace_reader_header(const struct trace_reader *r)
{
	return &r->header;
}

const struct trace_totals *trace_reader_totals(const struct trace_reader *r)
{
	return r->have_end ? &r->totals : NULL;
}

uint64_t trace_reader_file_bytes(const struct trace_reader *r)
{
	return r->file_bytes;
}

const char *trace_reader_mark_name(const struct trace_reader *r, uint64_t id)
{
	return id < r->nr_marks ? r->mark_names[id] : "?";
}

/* ---- snapshots ---- */

static const char *const snapshot_names[] = {"start", "end", "burn-in"};

/* The raw columns of a snapshot; those of all others may refer to those of the start. */
static int read_snapshot(struct trace_reader *r, enum trace_snapshot which,
			 struct snapshot_raw *raw, struct error *err)
{
	uint64_t offset = snapshot_offset(r, which);
	struct snapshot_raw start = {0};
	struct cursor in;
	struct section s;
	bool refer;
	size_t max;
	int ret;

	if (!offset)
		return error_set(err, ENOENT, "%s: the trace has no %s snapshot", r->path,
				 snapshot_names[which]);
	ret = named_section(r, offset, snapshot_section(which), &s, err);
	if (!ret)
		ret = load_payload(r, &s, SIZE_MAX / 4, err);
	if (ret)
		return ret;
	in = (struct cursor){.at = r->payload.data, .end = r->payload.data + r->payload.size};
	if (cursor_u8(&in) != which)
		in.failed = true;
	refer = cursor_u8(&in) & 1;
	cursor_u8(&in);
	cursor_u8(&in);
	if (in.failed || (refer && which == TRACE_START))
		return error_set(err, EBADMSG, "%s: byte %" PRIu64 ": not the snapshot expected",
				 r->path, offset);
	if (refer) {
		struct bytes payload = r->payload;

		r->payload = (struct bytes){0};
		ret = read_snapshot(r, TRACE_START, &start, err);
		bytes_free(&r->payload);
		r->payload = payload;
		if (ret)
			error_prefix(err, "the %s snapshot refers to the start snapshot",
				     snapshot_names[which]);
	}
	max = (size_t)(SNAPSHOT_RUNS_BASE + SNAPSHOT_RUN_RATIO * s.payload_bytes);
	for (size_t i = 0; !ret && i < SNAPSHOT_COLUMNS; i++) {
		ret = packed_get(r->zstd, &in, &raw->column[i],
				 i == SNAPSHOT_PAGEBLOCKS ? PAGEBLOCKS_RAW_MAX : max,
				 refer ? start.column[i].data : NULL,
				 refer ? start.column[i].size : 0);
		if (ret) {
			packed_error(ret, "a snapshot", err);
			error_prefix(err, "%s: byte %" PRIu64, r->path, offset);
		}
	}
	snapshot_raw_free(&start);
	return ret == -ENOENT ? -EBADMSG : ret;
}

int trace_reader_snapshot(struct trace_reader *r, enum trace_snapshot which, struct frame_map **map,
			  struct error *err)
{
	struct snapshot_raw raw = {0};
	struct error unread;
	int ret;

	err = err ? err : &unread;
	ret = read_snapshot(r, which, &raw, err);
	if (!ret) {
		ret = snapshot_decode(&raw, r->header.machine, which, map, err);
		if (ret)
			error_prefix(err, "%s: %s snapshot", r->path, snapshot_names[which]);
	}
	snapshot_raw_free(&raw);
	return ret;
}

static int digest_snapshots(struct trace_reader *r, struct error *err)
{
	uint8_t *const digests[] = {r->digest[DIGEST_START], r->digest[DIGEST_END],
				    r->burn_in.digest[0]};
	int ret = 0;

	r->audit = calloc(1, sizeof(*r->audit));
	r->hash = XXH3_createState();
	r->canonical = malloc((size_t)BATCH_EVENTS * EVENT_DIGEST_BYTES);
	if (!r->audit || !r->hash || !r->canonical)
		return out_of_memory(r, err);
	for (int which = TRACE_START; !ret && which <= TRACE_BURN_IN; which++) {
		struct snapshot_raw raw = {0};

		if (!snapshot_offset(r, (enum trace_snapshot)which))
			continue;
		ret = read_snapshot(r, (enum trace_snapshot)which, &raw, err);
		if (!ret)
			snapshot_raw_digest(&raw, digests[which]);
		snapshot_raw_free(&raw);
	}
	return ret;
}

/* The time of a snapshot, or @fallback if there is none that can be read. */
static int snapshot_time(struct trace_reader *r, enum trace_snapshot which, uint64_t fallback,
			 uint64_t *time_ns, struct error *err)
{
	struct snapshot_raw raw = {0};
	struct cursor in;
	int ret = read_snapshot(r, which, &raw, err);

	in = (struct cursor){.at = raw.column[SNAPSHOT_COUNTS].data};
	in.end = in.at + raw.column[SNAPSHOT_COUNTS].size;
	*time_ns = ret ? fallback : cursor_varint(&in);
	snapshot_raw_free(&raw);
	return ret == -EBADMSG && r->salvage ? 0 : ret;
}

/* Make ready what the burn-in's events are checked against, and tell what there is of it. */
static int open_burn_in(struct trace_reader *r, struct error *err)
{
	struct reader_burn_in *b = &r->burn_in;
	int ret = 0;

	b->to_ns = UINT64_MAX;
	if (b->have_end) {
		uint8_t digest[16];

		burn_in_join_digest(r->end.digest, b->end.digest, digest);
		digest_format(digest, r->totals.digest);
		r->totals.burn_in_events = b->end.events;
		r->totals.burn_in_lost = b->end.lost_events;
	}
	if (!b->snapshot || !r->want_burn_in)
		return 0;
	ret = snapshot_time(r, TRACE_BURN_IN, 0, &b->from_ns, err);
	if (!ret && r->end.start_snapshot)
		ret = snapshot_time(r, TRACE_START, UINT64_MAX, &b->to_ns, err);
	else if (!ret && !r->salvage)
		ret = error_set(err, EBADMSG,
				"%s: byte %" PRIu64 ": a burn-in, but no start snapshot", r->path,
				b->snapshot);
	if (!ret && !r->salvage && b->from_ns > b->to_ns)
		ret = error_set(err, EBADMSG,
				"%s: byte %" PRIu64
				": the burn-in snapshot is later than the start snapshot",
				r->path, b->snapshot);
	return ret;
}

/* ---- events ---- */

int trace_reader_rewind(struct trace_reader *r, struct error *err)
{
	(void)err;
	r->at = r->first_section;
	r->next_event = r->last_ns = r->blocks = 0;
	r->have_lost = r->in_block = false;
	r->gap = 0;
	r->pending = 0;
	r->in_burn_in = r->want_burn_in && r->burn_in.present;
	r->damaged = r->done = false;
	r->failed = 0;
	if (r->hash)
		XXH3_128bits_reset(r->hash);
	if (r->audit)
		memset(r->audit, 0, sizeof(*r->audit));
	return 0;
}

static void lose(struct trace_reader *r, uint64_t events, uint64_t time_ns)
{
	r->lost = (struct event){
		.time_ns = time_ns,
		.pfn = PFN_NONE,
		.arg = events,
		.kind = EVENT_LOST,
	};
	r->have_lost = true;
}

/* What the next INDEX has to say of this block; it has no room for one more than the most. */
static void audit_block(struct reader_audit *a, const struct section *s,
			const struct block_header *header)
{
	uint8_t *p = a->index + (size_t)a->nr_index * INDEX_ENTRY_BYTES;

	if (a->nr_index++ >= INDEX_ENTRIES_MAX)
		return;
	store_u64(p, s->offset);
	store_u64(p + 8, header->first_event);
	store_u64(p + 16, header->events);
	store_u64(p + 24, header->first_ns);
	store_u64(p + 32, header->last_ns);
}

/* Does an INDEX say what was read since the one before? */
static int audit_index(struct trace_reader *r, const struct section *s, struct error *err)
{
	struct reader_audit *a = r->audit;
	int ret = load_payload(r, s, INDEX_HEADER_BYTES + sizeof(a->index), err);

	if (ret)
		return ret;
	if (r->payload.size != INDEX_HEADER_BYTES + (size_t)a->nr_index * INDEX_ENTRY_BYTES ||
	    load_u64(r->payload.data) != a->last_index ||
	    load_u32(r->payload.data + 8) != a->nr_index ||
	    memcmp(r->payload.data + INDEX_HEADER_BYTES, a->index,
		   r->payload.size - INDEX_HEADER_BYTES) != 0)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64
				 ": the index does not list the blocks before it; " DAMAGE_REMEDY,
				 r->path, s->offset);
	a->last_index = s->offset;
	a->nr_index = 0;
	return 0;
}

/* Count what the footer, or the burn-in's end, has counted. */
static void audit_events(struct trace_reader *r, const struct event *events, size_t n)
{
	struct trace_totals *t = &r->audit->seen;
	struct burn_in_end *b = &r->audit->burn_in;

	for (size_t i = 0; i < n; i++) {
		const struct event *e = &events[i];

		t->contexts = e->context > t->contexts ? e->context : t->contexts;
		if (r->in_burn_in) {
			b->lost_events += e->kind == EVENT_LOST ? e->arg : 0;
			continue;
		}
		t->by_kind[e->kind]++;
		t->ops += event_is_op(e);
		t->lost_events += e->kind == EVENT_LOST ? e->arg : 0;
	}
	if (r->in_burn_in) {
		b->first_ns = b->events ? b->first_ns : events[0].time_ns;
		b->last_ns = events[n - 1].time_ns;
		b->events += n;
	} else {
		t->first_ns = t->events ? t->first_ns : events[0].time_ns;
		t->last_ns = events[n - 1].time_ns;
		t->events += n;
	}
}

/* A block's columns into the decoder. */
static int read_block(struct trace_reader *r, const struct section *s, struct error *err)
{
	struct block_header header;
	int ret = load_payload(r, s, BLOCK_PAYLOAD_MAX, err);

	if (ret)
		return ret;
	if (!block_header_decode(r->payload.data, r->payload.size, &header))
		return error_set(err, EBADMSG,
				 "%s: block %" PRIu64 " at byte %" PRIu64
				 ": its counts are impossible, or its times run back or beyond "
				 "2^63 - 1 ns",
				 r->path, r->blocks, s->offset);
	if (header.first_ns < r->last_ns || header.first_event < r->next_event ||
	    header.first_event > UINT64_MAX - header.events)
		return error_set(err, EBADMSG,
				 "%s: block %" PRIu64 " at byte %" PRIu64
				 ": its counts or times do not follow the block before",
				 r->path, r->blocks, s->offset);
	if (r->in_burn_in &&
	    (header.first_ns < r->burn_in.from_ns || header.last_ns > r->burn_in.to_ns))
		return error_set(err, EBADMSG,
				 "%s: block %" PRIu64 " at byte %" PRIu64
				 ": its times are not between the burn-in and the start snapshot",
				 r->path, r->blocks, s->offset);
	if (!r->salvage && header.first_event != r->next_event)
		return error_set(err, EBADMSG,
				 "%s: block %" PRIu64 " at byte %" PRIu64 ": events %" PRIu64
				 " to %" PRIu64 " are missing before it; " DAMAGE_REMEDY,
				 r->path, r->blocks, s->offset, r->next_event,
				 header.first_event - 1);
	ret = block_decode_begin(r->decoder, r->payload.data, r->payload.size, &r->limits, err);
	if (ret) {
		error_prefix(err, "%s: block %" PRIu64 " at byte %" PRIu64, r->path, r->blocks,
			     s->offset);
		return ret == -ENOMEM ? ret : -EBADMSG;
	}
	if (r->verify && !r->in_burn_in)
		audit_block(r->audit, s, &header);
	r->gap = header.first_event - r->next_event;
	r->in_block = true;
	r->block_offset = s->offset;
	r->block_first_ns = header.first_ns;
	r->block_last_ns = header.last_ns;
	r->blocks++;
	return 0;
}

/* The block's next events into r->events; at its end, on to the next section. */
static int read_batch(struct trace_reader *r, struct error *err)
{
	size_t raw;
	int ret = block_decode_next(r->decoder, &r->limits, r->events, BATCH_EVENTS, &raw,
				    &r->pending, err);

	if (ret) {
		r->in_block = false;
		error_prefix(err, "%s: block %" PRIu64 " at byte %" PRIu64, r->path, r->blocks - 1,
			     r->block_offset);
		return ret == -ENOMEM ? ret : -EBADMSG;
	}
	if (!raw) {
		r->in_block = false;
		r->last_ns = r->block_last_ns;
		return 0;
	}
	/* Only now is the block known to be good enough to say where the gap ends. */
	if (r->gap)
		lose(r, r->gap, r->block_first_ns);
	r->next_event += r->gap;
	r->gap = 0;
	r->damaged = false;
	if (r->pending < raw)
		r->verify = false; /* the digest covers kinds this build skips */
	r->next_event += raw;
	if (r->pending)
		r->last_ns = r->events[r->pending - 1].time_ns;
	return 0;
}

/* What was read since the last reset. */
static void take_digest(const struct trace_reader *r, uint8_t digest[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(r->hash));
	memcpy(digest, canonical.digest, 16);
}

/* Is what the burn-in's end and the footer have counted what was read? */
static bool burn_in_counts_right(const struct trace_reader *r)
{
	const struct burn_in_end *seen = &r->audit->burn_in, *told = &r->burn_in.end;

	return seen->lost_events == told->lost_events && seen->first_ns == told->first_ns &&
	       seen->last_ns == told->last_ns;
}

static bool counts_right(const struct trace_reader *r)
{
	const struct trace_totals *seen = &r->audit->seen, *told = &r->totals;
	bool all_seen = r->want_burn_in || !r->burn_in.present;

	if (r->end.index && (r->audit->last_index != r->end.index || r->audit->nr_index))
		return false;
	return seen->ops == told->ops && seen->lost_events == told->lost_events &&
	       seen->first_ns == told->first_ns && seen->last_ns == told->last_ns &&
	       memcmp(seen->by_kind, told->by_kind, sizeof(seen->by_kind)) == 0 &&
	       (all_seen ? seen->contexts == told->contexts : seen->contexts <= told->contexts);
}

/* Behind the burn-in's last event: is everything there? The recording's own events follow. */
static int end_burn_in(struct trace_reader *r, struct error *err)
{
	struct reader_burn_in *b = &r->burn_in;
	uint64_t n = r->next_event;
	uint8_t digest[16];

	r->in_burn_in = false;
	r->next_event = 0;
	if (r->salvage) {
		if (!b->have_end)
			lose(r, 1, r->last_ns);
		else if (n < b->end.events)
			lose(r, b->end.events - n, r->last_ns);
		return 0;
	}
	if (n != b->end.events)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": %" PRIu64
				 " burn-in events read, its end says %" PRIu64,
				 r->path, r->at, n, b->end.events);
	if (!r->verify)
		return 0;
	take_digest(r, b->digest[1]);
	XXH3_128bits_reset(r->hash);
	layout_digest(b->digest, sizeof(b->digest), digest);
	if (memcmp(digest, b->end.digest, 16) != 0 || !burn_in_counts_right(r))
		return error_set(
			err, EBADMSG,
			"%s: byte %" PRIu64
			": the burn-in does not have the counts or the digest its end says",
			r->path, r->at);
	return 0;
}

/* At the last section: is everything there? */
static int read_last(struct trace_reader *r, struct error *err)
{
	uint8_t digest[16];

	r->done = true;
	if (r->salvage) {
		if (!r->have_end)
			lose(r, 1, r->last_ns);
		else if (r->next_event < r->totals.events)
			lose(r, r->totals.events - r->next_event, r->last_ns);
		return 0;
	}
	if (r->next_event != r->totals.events)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": %" PRIu64
				 " events read, the footer says %" PRIu64,
				 r->path, r->at, r->next_event, r->totals.events);
	if (!r->verify)
		return 0;
	take_digest(r, r->digest[DIGEST_EVENTS]);
	layout_digest(r->digest, sizeof(r->digest), digest);
	if (memcmp(digest, r->end.digest, 16) != 0)
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64
				 ": the contents do not have the footer's digest",
				 r->path, r->at);
	if (!counts_right(r))
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64
				 ": the footer does not have the events' counts, or names an index "
				 "that is not the last",
				 r->path, r->at);
	return 0;
}

/* Step over one section. Return: 0 or negative: damage. */
static int read_section(struct trace_reader *r, struct error *err)
{
	struct section s;
	int ret;

	if (r->salvage && r->at >= r->file_bytes) {
		/* No footer. That something is missing is told as damage, once. */
		if (r->damaged)
			return r->in_burn_in ? end_burn_in(r, err) : read_last(r, err);
		return error_set(err, EBADMSG,
				 "%s: byte %" PRIu64 ": the file ends without a footer; it is "
				 "truncated, or damaged at its end",
				 r->path, r->file_bytes);
	}
	ret = section_at(r, r->at, &s, err);
	if (ret) {
		r->at = r->salvage ? find_section(r, r->at + 1) : r->at;
		return ret;
	}
	if (r->in_burn_in && (s.type == SECTION_EVENTS || s.type == SECTION_END))
		return end_burn_in(r, err); /* its own end was damaged; this section comes again */
	if (r->in_burn_in && s.type == SECTION_BURN_IN_END) {
		ret = end_burn_in(r, err);
	} else if (s.type == (r->in_burn_in ? SECTION_BURN_IN_EVENTS : SECTION_EVENTS)) {
		ret = read_block(r, &s, err);
	} else if (s.type == SECTION_END && section_end(&s) == r->file_bytes && r->have_end) {
		ret = read_last(r, err);
	} else if (s.type == SECTION_INDEX && r->verify) {
		ret = audit_index(r, &s, err);
	} else if (s.type != SECTION_INDEX && s.type != SECTION_SNAPSHOT &&
		   s.type != SECTION_MARKS && !r->salvage) {
		ret = check_payload(r, &s, err);
	}
	r->at = section_end(&s);
	return ret;
}

/* Remember a failure that stays. */
static int fail(struct trace_reader *r, int ret, const struct error *failure, struct error *err)
{
	r->failed = ret;
	r->failure = *failure;
	if (err)
		*err = *failure;
	return ret;
}

int trace_reader_next(struct trace_reader *r, const struct event **events, size_t *n,
		      struct error *err)
{
	struct error failure = {0};
	int ret = 0;

	if (r->failed) {
		if (err)
			*err = r->failure;
		return r->failed;
	}
	while (!r->pending && !r->have_lost && !r->done) {
		ret = r->in_block ? read_batch(r, &failure) : read_section(r, &failure);
		if (!ret)
			continue;
		r->pending = 0;
		if (ret != -EBADMSG || !r->salvage)
			return fail(r, ret, &failure, err);
		r->damaged = true;
		if (err)
			*err = failure;
		return ret;
	}
	if (r->have_lost) {
		/* Told before the block behind the gap. */
		r->have_lost = false;
		*events = &r->lost;
		*n = 1;
		return 1;
	}
	if (!r->pending)
		return 0;
	if (r->verify) {
		audit_events(r, r->events, r->pending);
		events_canonical(r->events, r->pending, r->canonical);
		XXH3_128bits_update(r->hash, r->canonical, r->pending * EVENT_DIGEST_BYTES);
	}
	*events = r->events;
	*n = r->pending;
	r->pending = 0;
	return 1;
}
