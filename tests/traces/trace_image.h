/* SPDX-License-Identifier: MIT */
/*
 * A trace file taken apart into sections that tests may change, and put together again as a writer would
 * have: every length, offset, checksum, index, count and digest fits whatever the sections say now. So a
 * change gets past all of them, to the rules about contents.
 */
#ifndef TESTS_TRACES_TRACE_IMAGE_H
#define TESTS_TRACES_TRACE_IMAGE_H

#include <fcntl.h>
#include <sys/mman.h>

#include "tests/traces/trace_fixture.h"
#include "traces/file/trace_layout.h"

#define IMAGE_SECTIONS 64U

struct image_section {
	uint16_t type, flags;
	uint64_t offset; /* as image_put() laid it out */
	struct bytes payload;
};

struct image {
	uint8_t head[FILE_HEADER_BYTES];
	struct image_section section[IMAGE_SECTIONS];
	size_t n;
};

static inline void image_free(struct image *im)
{
	for (size_t i = 0; i < im->n; i++)
		bytes_free(&im->section[i].payload);
	im->n = 0;
}

static inline void image_insert(struct image *im, size_t at, uint16_t type, uint16_t flags,
				const void *payload, size_t bytes)
{
	assert_true(im->n < IMAGE_SECTIONS && at <= im->n);
	memmove(&im->section[at + 1], &im->section[at], (im->n - at) * sizeof(im->section[0]));
	im->section[at] = (struct image_section){.type = type, .flags = flags};
	bytes_put(&im->section[at].payload, payload, bytes);
	im->n++;
}

static inline void image_remove(struct image *im, size_t at)
{
	bytes_free(&im->section[at].payload);
	im->n--;
	memmove(&im->section[at], &im->section[at + 1], (im->n - at) * sizeof(im->section[0]));
}

static inline void image_load(struct image *im, const uint8_t *data, size_t n)
{
	memcpy(im->head, data, FILE_HEADER_BYTES);
	im->n = 0;
	for (uint64_t at = FILE_HEADER_BYTES; at < n;) {
		struct section s;

		assert_true(section_decode(data + at, at, &s));
		image_insert(im, im->n, s.type, s.flags, data + at + SECTION_HEADER_BYTES,
			     (size_t)s.payload_bytes);
		at = section_end(&s);
	}
}

static inline void image_copy(struct image *to, const struct image *from)
{
	memcpy(to->head, from->head, FILE_HEADER_BYTES);
	to->n = 0;
	for (size_t i = 0; i < from->n; i++)
		image_insert(to, i, from->section[i].type, from->section[i].flags,
			     from->section[i].payload.data, from->section[i].payload.size);
}

/* Index of the @nth section of a type; im->n: there is none. */
static inline size_t image_find(const struct image *im, unsigned int type, size_t nth)
{
	size_t i = 0;

	while (i < im->n && (im->section[i].type != type || nth--))
		i++;
	return i;
}

/* ---- names: where what stands ---- */

static inline uint64_t image_offset(const struct image *im, unsigned int type, int first_byte)
{
	uint64_t offset = 0;

	for (size_t i = 0; i < im->n; i++) {
		const struct image_section *s = &im->section[i];

		if (s->type == type &&
		    (first_byte < 0 || (s->payload.size && s->payload.data[0] == first_byte)))
			offset = s->offset;
	}
	return offset;
}

/* What an INDEX says of the blocks since the one before. */
static inline void image_index(struct image *im, size_t at)
{
	struct bytes out = {0};
	uint32_t n = 0;
	size_t from = at;

	while (from && im->section[from - 1].type != SECTION_INDEX)
		from--;
	bytes_put_u64(&out, from ? im->section[from - 1].offset : 0);
	bytes_put_u32(&out, 0);
	bytes_put_u32(&out, 0);
	for (size_t i = from; i < at; i++) {
		const struct image_section *s = &im->section[i];

		if (s->type != SECTION_EVENTS || s->payload.size < BLOCK_HEADER_BYTES)
			continue;
		bytes_put_u64(&out, s->offset);
		bytes_put_u64(&out, load_u64(s->payload.data));
		bytes_put_u64(&out, load_u32(s->payload.data + 24));
		bytes_put_u64(&out, load_u64(s->payload.data + 8));
		bytes_put_u64(&out, load_u64(s->payload.data + 16));
		n++;
	}
	store_u32(out.data + 8, n);
	bytes_free(&im->section[at].payload);
	im->section[at].payload = out;
}

static inline void image_name(struct image *im)
{
	uint64_t at = FILE_HEADER_BYTES, events[2] = {0};

	for (size_t i = 0; i < im->n; i++) {
		struct image_section *s = &im->section[i];
		bool burnt = s->type == SECTION_BURN_IN_EVENTS;

		s->offset = at;
		if (s->type == SECTION_INDEX)
			image_index(im, i);
		/* Blocks follow one another. */
		if ((burnt || s->type == SECTION_EVENTS) && s->payload.size >= BLOCK_HEADER_BYTES) {
			store_u64(s->payload.data, events[burnt]);
			events[burnt] += load_u32(s->payload.data + 24);
		}
		at += SECTION_HEADER_BYTES + s->payload.size;
	}
	for (size_t i = 0; i < im->n; i++) {
		struct image_section *s = &im->section[i];
		uint8_t *p = s->payload.data;

		if (s->type == SECTION_BURN_IN_END && s->payload.size == BURN_IN_END_BYTES) {
			store_u64(p, image_offset(im, SECTION_BURN_IN_SNAPSHOT, -1));
			store_u64(p + 8, events[1]);
		}
		if (s->type != SECTION_END || s->payload.size != END_PAYLOAD_BYTES)
			continue;
		store_u64(p, image_offset(im, SECTION_INDEX, -1));
		store_u64(p + 8, image_offset(im, SECTION_SNAPSHOT, TRACE_START));
		store_u64(p + 16, image_offset(im, SECTION_SNAPSHOT, TRACE_END));
		store_u64(p + 24, image_offset(im, SECTION_MARKS, -1));
		store_u64(p + 32, at);
		store_u64(p + 40, events[0]);
	}
}

/* ---- columns ---- */

/* Where the packed columns of a section begin, and how many there are; 0: none. */
static inline size_t image_columns(const struct image_section *s, size_t *from)
{
	switch (s->type) {
	case SECTION_HEADER:
	case SECTION_MARKS:
		*from = 0;
		return 1;
	case SECTION_SNAPSHOT:
	case SECTION_BURN_IN_SNAPSHOT:
		*from = 4;
		return SNAPSHOT_COLUMNS;
	case SECTION_EVENTS:
	case SECTION_BURN_IN_EVENTS:
		*from = BLOCK_HEADER_BYTES;
		return 16;
	default:
		*from = 0;
		return 0;
	}
}

/* Unpack @n columns; false: damaged. */
static inline bool image_unpack(const struct image *im, const struct image_section *s,
				struct bytes *column, size_t from, size_t n)
{
	bool snapshot = n == SNAPSHOT_COLUMNS,
	     refers = snapshot && s->payload.size > 1 && s->payload.data[1] & 1;
	size_t start = image_find(im, SECTION_SNAPSHOT, 0);
	struct bytes prefix[SNAPSHOT_COLUMNS] = {0};
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	struct cursor in = {.at = s->payload.data, .end = s->payload.data + s->payload.size};
	bool ok = !refers || (start < im->n && s != &im->section[start] &&
			      image_unpack(im, &im->section[start], prefix, 4, SNAPSHOT_COLUMNS));

	assert_non_null(zstd);
	ok = ok && cursor_take(&in, from);
	for (size_t i = 0; ok && i < n; i++)
		ok = !packed_get(zstd, &in, &column[i], SIZE_MAX / 4,
				 refers ? prefix[i].data : NULL, refers ? prefix[i].size : 0);
	for (size_t i = 0; i < SNAPSHOT_COLUMNS; i++)
		bytes_free(&prefix[i]);
	ZSTD_freeDCtx(zstd);
	return ok;
}

/* Put columns back, stored as they are; a snapshot no longer refers to another. */
static inline void image_repack(struct image_section *s, const struct bytes *column, size_t from,
				size_t n)
{
	s->payload.size = from;
	if (n == SNAPSHOT_COLUMNS)
		s->payload.data[1] = 0;
	for (size_t i = 0; i < n; i++) {
		bytes_put_u32(&s->payload, (uint32_t)column[i].size);
		bytes_put_u32(&s->payload, (uint32_t)column[i].size);
		bytes_put(&s->payload, column[i].data, column[i].size);
	}
}

/* ---- counts and digests ---- */

/* The digest of a section's raw columns. */
static inline void image_digest(const struct image *im, size_t at, uint8_t digest[16])
{
	struct bytes column[16] = {0};
	uint8_t parts[SNAPSHOT_COLUMNS][16];
	size_t from, n;

	memset(digest, 0, 16);
	if (at == im->n)
		return;
	n = image_columns(&im->section[at], &from);
	if (image_unpack(im, &im->section[at], column, from, n)) {
		for (size_t i = 0; i < n; i++)
			layout_digest(column[i].data, column[i].size, parts[i]);
		if (n == 1)
			memcpy(digest, parts[0], 16);
		else
			layout_digest(parts, sizeof(parts), digest);
	}
	for (size_t i = 0; i < 16; i++)
		bytes_free(&column[i]);
}

static inline size_t image_snapshot(const struct image *im, uint8_t which)
{
	size_t nth = 0, at;

	while ((at = image_find(im, SECTION_SNAPSHOT, nth++)) < im->n)
		if (im->section[at].payload.size && im->section[at].payload.data[0] == which)
			break;
	return at;
}

/* What the events of a file are, as a reader gives them; the burn-in's, or all others. */
struct image_events {
	struct trace_totals totals;
	uint8_t digest[16];
};

static inline void image_count(struct image_events *c, struct bytes *canonical,
			       const struct event *e)
{
	struct trace_totals *t = &c->totals;
	uint8_t *p = bytes_reserve(canonical, EVENT_DIGEST_BYTES);

	assert_non_null(p);
	events_canonical(e, 1, p);
	canonical->size += EVENT_DIGEST_BYTES;
	t->first_ns = t->events++ ? t->first_ns : e->time_ns;
	t->last_ns = e->time_ns;
	t->by_kind[e->kind]++;
	t->ops += event_is_op(e);
	t->lost_events += e->kind == EVENT_LOST ? e->arg : 0;
	t->contexts = e->context > t->contexts ? e->context : t->contexts;
}

/* Read @path without comparing; [0]: the recording's, [1]: the burn-in's. False: the reader refuses. */
static inline bool image_read(const char *path, uint64_t burn_in_events, struct image_events c[2])
{
	struct bytes canonical[2] = {0};
	const struct event *events;
	struct trace_reader *r;
	uint64_t left = burn_in_events;
	size_t n;
	int ret;

	memset(c, 0, 2 * sizeof(*c));
	if (trace_reader_open(path, TRACE_READ_BURN_IN, &r, NULL))
		return false;
	while ((ret = trace_reader_next(r, &events, &n, NULL)) > 0)
		for (size_t i = 0; i < n; i++) {
			bool burnt = left;

			left -= burnt;
			image_count(&c[burnt], &canonical[burnt], &events[i]);
		}
	trace_reader_close(r);
	for (size_t i = 0; i < 2; i++) {
		layout_digest(canonical[i].data, canonical[i].size, c[i].digest);
		bytes_free(&canonical[i]);
	}
	return !ret;
}

static inline void image_judge(struct image *im, const char *path)
{
	size_t end = image_find(im, SECTION_END, 0), burn = image_find(im, SECTION_BURN_IN_END, 0);
	uint8_t parts[DIGEST_PARTS][16], burnt[2][16], *p;
	bool has_burn = burn < im->n && im->section[burn].payload.size == BURN_IN_END_BYTES;
	struct image_events c[2];

	if (end == im->n || im->section[end].payload.size != END_PAYLOAD_BYTES ||
	    !image_read(path, has_burn ? load_u64(im->section[burn].payload.data + 8) : 0, c))
		return;
	if (has_burn) {
		p = im->section[burn].payload.data;
		store_u64(p + 16, c[1].totals.lost_events);
		store_u64(p + 24, c[1].totals.first_ns);
		store_u64(p + 32, c[1].totals.last_ns);
		image_digest(im, image_find(im, SECTION_BURN_IN_SNAPSHOT, 0), burnt[0]);
		memcpy(burnt[1], c[1].digest, 16);
		layout_digest(burnt, sizeof(burnt), p + 40);
	}
	p = im->section[end].payload.data;
	store_u64(p + 48, c[0].totals.ops);
	store_u64(p + 56, c[0].totals.lost_events);
	store_u64(p + 72, c[0].totals.first_ns);
	store_u64(p + 80, c[0].totals.last_ns);
	store_u64(p + 88, c[0].totals.contexts > c[1].totals.contexts ? c[0].totals.contexts
								      : c[1].totals.contexts);
	image_digest(im, 0, parts[DIGEST_HEADER]);
	image_digest(im, image_snapshot(im, TRACE_START), parts[DIGEST_START]);
	memcpy(parts[DIGEST_EVENTS], c[0].digest, 16);
	image_digest(im, image_snapshot(im, TRACE_END), parts[DIGEST_END]);
	image_digest(im, image_find(im, SECTION_MARKS, 0), parts[DIGEST_MARKS]);
	layout_digest(parts, sizeof(parts), p + 96);
	for (size_t k = 0; k < EVENT_KINDS; k++)
		store_u64(p + 112 + 8 * k, c[0].totals.by_kind[k]);
}

/* ---- together again ---- */

static inline void image_write(const struct image *im, int fd)
{
	struct bytes out = {0};

	bytes_put(&out, im->head, FILE_HEADER_BYTES);
	store_u64(out.data + 56, layout_hash(out.data, 56));
	for (size_t i = 0; i < im->n; i++) {
		const struct image_section *is = &im->section[i];
		struct section s = {
			.offset = out.size,
			.type = is->type,
			.flags = is->flags,
			.payload_bytes = is->payload.size,
			.payload_hash = layout_hash(is->payload.data, is->payload.size),
		};
		uint8_t raw[SECTION_HEADER_BYTES];

		section_encode(&s, raw);
		bytes_put(&out, raw, sizeof(raw));
		bytes_put(&out, is->payload.data, is->payload.size);
	}
	assert_false(out.failed);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, out.data, out.size, 0), out.size);
	bytes_free(&out);
}

/* Write the file behind @fd, which is also to be found at @path. */
static inline void image_put(struct image *im, int fd, const char *path)
{
	image_name(im);
	image_write(im, fd);
	image_judge(im, path);
	image_write(im, fd);
}

#endif
