/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a .quire file, shared by trace_reader.c and trace_writer.c and by nobody else: fixed
 * parts, section frames, and the payloads that are not event blocks (those are trace_codec.h).
 * docs/trace-format.md describes the same for people; the two change together.
 *
 * Everything read here is hostile until checked: lengths are compared with what is there before
 * anything is allocated, and every allocation is bounded by a limit below.
 */
#ifndef TRACES_FILE_TRACE_LAYOUT_H
#define TRACES_FILE_TRACE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <zstd.h>

#include "base/error.h"
#include "sim/frame_map.h"
#include "sim/machine.h"
#include "traces/file/trace.h"

/* ---- fixed parts ---- */

#define QUIRE_MAGIC	     "\x89QUIRE\r\n" /* 8 bytes; text-mode copies and 7-bit links break it */
#define QUIRE_MAGIC_BYTES    8
#define FILE_HEADER_BYTES    64
#define SECTION_HEADER_BYTES 32
#define SECTION_SYNC	     UINT32_C(0xc35ee5a7)
#define END_MAGIC	     "QUIREEND"
#define END_KINDS	     32 /* room for event kinds in the footer */
#define END_PAYLOAD_BYTES    (12 * 8 + 16 + END_KINDS * 8 + 8)
#define END_BYTES	     (SECTION_HEADER_BYTES + END_PAYLOAD_BYTES)

#define BLOCK_EVENTS_MAX   65535U
#define INDEX_ENTRIES_MAX  1024U
#define INDEX_ENTRY_BYTES  40U
#define INDEX_HEADER_BYTES 16U

/* Upper limits of what a reader accepts and a writer writes. */
#define HEADER_RAW_MAX	      (UINT32_C(16) << 20)
#define BLOCK_PAYLOAD_MAX     (UINT32_C(8) << 20)
#define MARKS_RAW_MAX	      (UINT32_C(4) << 20)
#define MARK_NAME_MAX	      255U
#define MARKS_MAX	      4096U
#define SNAPSHOT_RUNS_BASE    (UINT64_C(1) << 24) /* + 16 per payload byte */
#define SNAPSHOT_RUN_RATIO    16U
#define PAGEBLOCKS_RAW_MAX    (UINT32_C(1) << 26)
#define RESERVED_HEADER_BYTES 4096U /* header_at_end_known: header and padding section together */

enum section_type {
	SECTION_HEADER = 1,
	SECTION_SNAPSHOT,
	SECTION_EVENTS,
	SECTION_MARKS,
	SECTION_INDEX,
	SECTION_END,
	SECTION_PADDING,
	/* In this order, before the first EVENTS. Older readers skip them. */
	SECTION_BURN_IN_SNAPSHOT,
	SECTION_BURN_IN_EVENTS,
	SECTION_BURN_IN_END,
	SECTION_TYPES,
};

#define SECTION_CRITICAL 1U /* flag: who does not know the type must not go on */

struct section {
	uint64_t offset; /* of its header */
	uint16_t type, flags;
	uint64_t payload_bytes, payload_hash;
};

static inline uint64_t section_end(const struct section *s)
{
	return s->offset + SECTION_HEADER_BYTES + s->payload_bytes;
}

void section_encode(const struct section *s, uint8_t raw[SECTION_HEADER_BYTES]);
/** False if sync word, checksum (seeded with @offset) or reserved bits are wrong. */
bool section_decode(const uint8_t raw[SECTION_HEADER_BYTES], uint64_t offset, struct section *s);

/** XXH3-64 and XXH3-128 (canonical byte order) of a buffer. */
uint64_t layout_hash(const void *data, size_t bytes);
void layout_digest(const void *data, size_t bytes, uint8_t digest[16]);

void file_header_encode(uint8_t raw[FILE_HEADER_BYTES], uint64_t compatible, uint64_t incompatible);
/** Return: 0; -EBADMSG; -EPROTONOSUPPORT. The message lacks the file's name. */
int file_header_decode(const uint8_t raw[FILE_HEADER_BYTES], uint32_t *version,
		       uint64_t *compatible, uint64_t *incompatible, struct error *err);

/* The parts of the contents, in the order in which their digests make up the file's. */
enum digest_part {
	DIGEST_HEADER,
	DIGEST_START,
	DIGEST_EVENTS,
	DIGEST_END,
	DIGEST_MARKS,
	DIGEST_PARTS,
};

/* What the footer holds beside the totals. An offset of 0: there is none. */
struct file_end {
	uint64_t index, start_snapshot, end_snapshot, marks, file_bytes;
	uint8_t digest[16];
};

void end_encode(const struct file_end *end, const struct trace_totals *totals,
		uint8_t raw[END_BYTES]);
/** False unless @raw is an intact footer of a file of @file_bytes. */
bool end_decode(const uint8_t raw[END_BYTES], uint64_t file_bytes, struct file_end *end,
		struct trace_totals *totals);

/* Ends the burn-in part. */
#define BURN_IN_END_BYTES 56

struct burn_in_end {
	uint64_t snapshot; /* offset of its section */
	uint64_t events, lost_events;
	uint64_t first_ns, last_ns; /* of the events; 0: none */
	uint8_t digest[16];	    /* of the snapshot's and the events' digest */
};

void burn_in_end_encode(const struct burn_in_end *end, uint8_t raw[BURN_IN_END_BYTES]);
/** False if the times contradict each other. */
bool burn_in_end_decode(const uint8_t raw[BURN_IN_END_BYTES], struct burn_in_end *end);
/**
 * burn_in_join_digest - the digest of a trace with a burn-in
 * @without: of the same trace without it, as the footer has it
 */
void burn_in_join_digest(const uint8_t without[16], const uint8_t burn_in[16], uint8_t digest[16]);

/** A digest as text. */
void digest_format(const uint8_t digest[16], char text[33]);

/* ---- byte strings ---- */

/* Growing output; running out of memory is remembered and reported once, by the caller. */
struct bytes {
	uint8_t *data;
	size_t size, capacity;
	bool failed;
};

void bytes_free(struct bytes *b);
/** Room for @n more bytes, or NULL. The caller adds what it used to b->size. */
uint8_t *bytes_reserve(struct bytes *b, size_t n);
void bytes_put(struct bytes *b, const void *data, size_t n);
void bytes_put_u8(struct bytes *b, uint8_t v);
void bytes_put_u32(struct bytes *b, uint32_t v);
void bytes_put_u64(struct bytes *b, uint64_t v);
void bytes_put_varint(struct bytes *b, uint64_t v);

/* Input that never reads past its end; failing once makes everything after it 0. */
struct cursor {
	const uint8_t *at, *end;
	bool failed;
};

uint8_t cursor_u8(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
uint64_t cursor_varint(struct cursor *c);
const uint8_t *cursor_take(struct cursor *c, size_t n);

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

static inline void store_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void store_u32(uint8_t *p, uint32_t v)
{
	store_u16(p, (uint16_t)v);
	store_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void store_u64(uint8_t *p, uint64_t v)
{
	store_u32(p, (uint32_t)v);
	store_u32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t load_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p)
{
	return load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

static inline uint64_t load_u64(const uint8_t *p)
{
	return load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static inline uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (~(v & 1) + 1));
}

/* ---- packed columns: u32 raw bytes, u32 stored bytes, then a zstd frame, or the raw bytes
 * themselves where the two numbers are equal ---- */

/** Prepare a context: compression level, and no frame fields that the column's own say. */
void packed_configure(ZSTD_CCtx *zstd, int level);

/**
 * packed_put - append @n raw bytes as a packed column
 * @prefix: bytes both sides have, which matches may refer to; NULL: none
 * Return: 0; -E2BIG: more than 4 GiB; -EIO: zstd will not; -ENOMEM.
 */
int packed_put(ZSTD_CCtx *zstd, struct bytes *out, const void *raw, size_t n, const void *prefix,
	       size_t prefix_bytes);

/**
 * packed_get - the next column's raw bytes, in memory of the caller's choice
 * @raw: reused and grown; its size becomes the column's
 * @max: more raw bytes than this are refused
 * Return: 0; -EBADMSG; -ENOMEM.
 */
int packed_get(ZSTD_DCtx *zstd, struct cursor *in, struct bytes *raw, size_t max,
	       const void *prefix, size_t prefix_bytes);
/** Say why packed_get() gave @ret. @what: "the header", in the message. Return: @ret. */
int packed_error(int ret, const char *what, struct error *err);

/* ---- payloads ---- */

/** The raw form of a header (its digest is part of the file's); failure shows in out->failed. */
void header_encode(const struct trace_header *header, struct bytes *out);
/**
 * header_decode - @header->machine becomes the caller's; features and version are not touched
 * @err: not NULL
 * Return: 0; -EBADMSG; -ENOMEM. The message lacks the file's name.
 */
int header_decode(const uint8_t *raw, size_t n, struct trace_header *header, struct error *err);

enum snapshot_column {
	SNAPSHOT_COUNTS,
	SNAPSHOT_STATES,
	SNAPSHOT_LENGTHS,
	SNAPSHOT_PAGEBLOCKS,
	SNAPSHOT_COLUMNS,
};

/* A snapshot's raw columns. */
struct snapshot_raw {
	struct bytes column[SNAPSHOT_COLUMNS];
};

void snapshot_raw_free(struct snapshot_raw *raw);
void snapshot_raw_digest(const struct snapshot_raw *raw, uint8_t digest[16]);
/** Return: 0 or -ENOMEM; then @raw may hold a part. */
int snapshot_encode(const struct frame_map *map, struct snapshot_raw *raw);
/**
 * snapshot_check_start - does a map that frame_map_check() finds whole say the same as its machine's
 * absent ranges about which frames are managed? The end of a trace may differ, its start must not.
 * O(runs + absent ranges).
 * Return: 0; -EINVAL. The message lacks the file's name.
 */
int snapshot_check_start(const struct frame_map *map, struct error *err);
/**
 * snapshot_decode - build and check the map; the start's and the burn-in's against the machine too
 * @err: not NULL
 * Return: 0; -EBADMSG; -ENOMEM. The message lacks the file's name.
 */
int snapshot_decode(const struct snapshot_raw *raw, const struct machine *machine,
		    enum trace_snapshot which, struct frame_map **map, struct error *err);

#endif
