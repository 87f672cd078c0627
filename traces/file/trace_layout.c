/* SPDX-License-Identifier: MIT */
#include "traces/file/trace_layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>
#include <zstd_errors.h>

#include "base/bits.h"

/* ---- fixed parts ---- */

uint64_t layout_hash(const void *data, size_t bytes)
{
	return XXH3_64bits(data, bytes);
}

void layout_digest(const void *data, size_t bytes, uint8_t digest[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, bytes));
	memcpy(digest, canonical.digest, 16);
}

void section_encode(const struct section *s, uint8_t raw[SECTION_HEADER_BYTES])
{
	store_u32(raw, SECTION_SYNC);
	store_u16(raw + 4, s->type);
	store_u16(raw + 6, s->flags);
	store_u64(raw + 8, s->payload_bytes);
	store_u64(raw + 16, s->payload_hash);
	/* The seed ties the section to its place: a moved copy is not taken for the original. */
	store_u64(raw + 24, XXH3_64bits_withSeed(raw, 24, s->offset));
}

bool section_decode(const uint8_t raw[SECTION_HEADER_BYTES], uint64_t offset, struct section *s)
{
	if (load_u32(raw) != SECTION_SYNC ||
	    load_u64(raw + 24) != XXH3_64bits_withSeed(raw, 24, offset))
		return false;
	s->offset = offset;
	s->type = load_u16(raw + 4);
	s->flags = load_u16(raw + 6);
	s->payload_bytes = load_u64(raw + 8);
	s->payload_hash = load_u64(raw + 16);
	return true;
}

void file_header_encode(uint8_t raw[FILE_HEADER_BYTES], uint64_t compatible, uint64_t incompatible)
{
	memset(raw, 0, FILE_HEADER_BYTES);
	memcpy(raw, QUIRE_MAGIC, QUIRE_MAGIC_BYTES);
	store_u32(raw + 8, TRACE_FORMAT_VERSION);
	store_u32(raw + 12, FILE_HEADER_BYTES);
	store_u64(raw + 16, compatible);
	store_u64(raw + 24, incompatible);
	store_u64(raw + 56, layout_hash(raw, 56));
}

int file_header_decode(const uint8_t raw[FILE_HEADER_BYTES], uint32_t *version,
		       uint64_t *compatible, uint64_t *incompatible, struct error *err)
{
	if (memcmp(raw, QUIRE_MAGIC, QUIRE_MAGIC_BYTES) != 0)
		return error_set(err, EBADMSG,
				 "byte 0: not a quire trace; other formats have to be imported");
	*version = load_u32(raw + 8);
	if (*version != TRACE_FORMAT_VERSION)
		return error_set(err, EPROTONOSUPPORT,
				 "byte 8: format version %" PRIu32
				 ", this program reads version %d; use a newer program",
				 *version, TRACE_FORMAT_VERSION);
	if (load_u64(raw + 56) != layout_hash(raw, 56) || load_u32(raw + 12) != FILE_HEADER_BYTES)
		return error_set(err, EBADMSG, "byte 0: file header damaged; fetch the file again");
	*compatible = load_u64(raw + 16);
	*incompatible = load_u64(raw + 24);
	if (*incompatible)
		return error_set(err, EPROTONOSUPPORT,
				 "byte 24: needs features 0x%" PRIx64
				 " that this program lacks; use a newer program",
				 *incompatible);
	return 0;
}

void end_encode(const struct file_end *end, const struct trace_totals *totals,
		uint8_t raw[END_BYTES])
{
	uint8_t *p = raw + SECTION_HEADER_BYTES;
	const uint64_t words[12] = {
		end->index,	  end->start_snapshot, end->end_snapshot, end->marks,
		end->file_bytes,  totals->events,      totals->ops,	  totals->lost_events,
		totals->resorted, totals->first_ns,    totals->last_ns,	  totals->contexts,
	};
	struct section s = {
		.offset = end->file_bytes - END_BYTES,
		.type = SECTION_END,
		.flags = SECTION_CRITICAL,
		.payload_bytes = END_PAYLOAD_BYTES,
	};

	memset(p, 0, END_PAYLOAD_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		store_u64(p + 8 * i, words[i]);
	memcpy(p + 96, end->digest, 16);
	for (size_t i = 0; i < EVENT_KINDS; i++)
		store_u64(p + 112 + 8 * i, totals->by_kind[i]);
	memcpy(p + END_PAYLOAD_BYTES - 8, END_MAGIC, 8);
	s.payload_hash = layout_hash(p, END_PAYLOAD_BYTES);
	section_encode(&s, raw);
}

bool end_decode(const uint8_t raw[END_BYTES], uint64_t file_bytes, struct file_end *end,
		struct trace_totals *totals)
{
	const uint8_t *p = raw + SECTION_HEADER_BYTES;
	struct section s;

	if (memcmp(p + END_PAYLOAD_BYTES - 8, END_MAGIC, 8) != 0 ||
	    !section_decode(raw, file_bytes - END_BYTES, &s) || s.type != SECTION_END ||
	    s.payload_bytes != END_PAYLOAD_BYTES ||
	    s.payload_hash != layout_hash(p, END_PAYLOAD_BYTES))
		return false;
	end->index = load_u64(p);
	end->start_snapshot = load_u64(p + 8);
	end->end_snapshot = load_u64(p + 16);
	end->marks = load_u64(p + 24);
	end->file_bytes = load_u64(p + 32);
	*totals = (struct trace_totals){
		.events = load_u64(p + 40),
		.ops = load_u64(p + 48),
		.lost_events = load_u64(p + 56),
		.resorted = load_u64(p + 64),
		.first_ns = load_u64(p + 72),
		.last_ns = load_u64(p + 80),
		.contexts = load_u32(p + 88),
	};
	memcpy(end->digest, p + 96, 16);
	for (size_t i = 0; i < EVENT_KINDS; i++)
		totals->by_kind[i] = load_u64(p + 112 + 8 * i);
	digest_format(end->digest, totals->digest);
	return end->file_bytes == file_bytes && load_u32(p + 92) == 0 &&
	       totals->first_ns <= totals->last_ns && totals->last_ns <= TRACE_TIME_MAX;
}

void burn_in_end_encode(const struct burn_in_end *end, uint8_t raw[BURN_IN_END_BYTES])
{
	store_u64(raw, end->snapshot);
	store_u64(raw + 8, end->events);
	store_u64(raw + 16, end->lost_events);
	store_u64(raw + 24, end->first_ns);
	store_u64(raw + 32, end->last_ns);
	memcpy(raw + 40, end->digest, 16);
}

bool burn_in_end_decode(const uint8_t raw[BURN_IN_END_BYTES], struct burn_in_end *end)
{
	end->snapshot = load_u64(raw);
	end->events = load_u64(raw + 8);
	end->lost_events = load_u64(raw + 16);
	end->first_ns = load_u64(raw + 24);
	end->last_ns = load_u64(raw + 32);
	memcpy(end->digest, raw + 40, 16);
	return end->first_ns <= end->last_ns && end->last_ns <= TRACE_TIME_MAX;
}

void burn_in_join_digest(const uint8_t without[16], const uint8_t burn_in[16], uint8_t digest[16])
{
	uint8_t parts[2][16];

	memcpy(parts[0], without, 16);
	memcpy(parts[1], burn_in, 16);
	layout_digest(parts, sizeof(parts), digest);
}

void digest_format(const uint8_t digest[16], char text[33])
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < 16; i++) {
		text[2 * i] = hex[digest[i] >> 4];
		text[2 * i + 1] = hex[digest[i] & 15];
	}
	text[32] = '\0';
}

/* ---- byte strings ---- */

void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

uint8_t *bytes_reserve(struct bytes *b, size_t n)
{
	if (b->failed)
		return NULL;
	if (!b->data || b->capacity - b->size < n) {
		size_t capacity = b->capacity + b->capacity / 2 + n + 64;
		uint8_t *data = realloc(b->data, capacity);

		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->capacity = capacity;
	}
	return b->data + b->size;
}

void bytes_put(struct bytes *b, const void *data, size_t n)
{
	uint8_t *p = bytes_reserve(b, n);

	if (!p || !n)
		return;
	memcpy(p, data, n);
	b->size += n;
}

void bytes_put_u8(struct bytes *b, uint8_t v)
{
	bytes_put(b, &v, 1);
}

void bytes_put_u32(struct bytes *b, uint32_t v)
{
	uint8_t raw[4];

	store_u32(raw, v);
	bytes_put(b, raw, sizeof(raw));
}

void bytes_put_u64(struct bytes *b, uint64_t v)
{
	uint8_t raw[8];

	store_u64(raw, v);
	bytes_put(b, raw, sizeof(raw));
}

void bytes_put_varint(struct bytes *b, uint64_t v)
{
	uint8_t *p = bytes_reserve(b, 10);
	size_t n = 0;

	if (!p)
		return;
	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	b->size += n;
}

const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->at;

	if (c->failed || cursor_left(c) < n) {
		c->failed = true;
		return NULL;
	}
	c->at += n;
	return p;
}

uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

uint32_t cursor_u32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p ? load_u32(p) : 0;
}

uint64_t cursor_u64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p ? load_u64(p) : 0;
}

uint64_t cursor_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		uint8_t byte = cursor_u8(c);

		if (c->failed)
			return 0;
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	c->failed = true;
	return 0;
}

/* ---- packed columns ---- */

void packed_configure(ZSTD_CCtx *zstd, int level)
{
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 0);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_dictIDFlag, 0);
}

/* zstd's error as an errno: what has to do with memory, and everything else. */
static int zstd_error(size_t code, int otherwise)
{
	return ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation ? -ENOMEM : otherwise;
}

int packed_error(int ret, const char *what, struct error *err)
{
	if (ret == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory to unpack %s", what);
	return error_set(err, -ret, "%s cannot be unpacked", what);
}

int packed_put(ZSTD_CCtx *zstd, struct bytes *out, const void *raw, size_t n, const void *prefix,
	       size_t prefix_bytes)
{
	size_t bound = ZSTD_compressBound(n), stored;
	uint8_t *p;

	if (n > UINT32_MAX)
		return -E2BIG;
	p = bytes_reserve(out, 8 + bound);
	if (!p)
		return -ENOMEM;
	stored = prefix_bytes ? ZSTD_CCtx_refPrefix(zstd, prefix, prefix_bytes) : 0;
	if (!ZSTD_isError(stored))
		stored = n ? ZSTD_compress2(zstd, p + 8, bound, raw, n) : 0;
	if (ZSTD_isError(stored))
		return zstd_error(stored, -EIO);
	if (stored >= n) {
		stored = n;
		if (n)
			memcpy(p + 8, raw, n);
	}
	store_u32(p, (uint32_t)n);
	store_u32(p + 4, (uint32_t)stored);
	out->size += 8 + stored;
	return 0;
}

int packed_get(ZSTD_DCtx *zstd, struct cursor *in, struct bytes *raw, size_t max,
	       const void *prefix, size_t prefix_bytes)
{
	uint32_t n = cursor_u32(in), stored = cursor_u32(in);
	const uint8_t *p = cursor_take(in, stored);
	size_t got;

	if (!p || n > max || stored > n)
		return -EBADMSG;
	raw->size = 0;
	if (!bytes_reserve(raw, n))
		return -ENOMEM;
	if (stored == n) {
		if (n)
			memcpy(raw->data, p, n);
		raw->size = n;
		return 0;
	}
	got = prefix_bytes ? ZSTD_DCtx_refPrefix(zstd, prefix, prefix_bytes) : 0;
	if (!ZSTD_isError(got))
		got = ZSTD_decompressDCtx(zstd, raw->data, n, p, stored);
	if (got != n)
		return zstd_error(got, -EBADMSG);
	raw->size = n;
	return 0;
}

/* ---- the header ---- */

static void put_text(struct bytes *out, const char *text, size_t size)
{
	size_t n = strnlen(text, size - 1);

	bytes_put_varint(out, n);
	bytes_put(out, text, n);
}

static void get_text(struct cursor *in, char *text, size_t size)
{
	uint64_t n = cursor_varint(in);
	const uint8_t *p = n < size ? cursor_take(in, (size_t)n) : NULL;

	if (!p) {
		in->failed = true;
		return;
	}
	memcpy(text, p, (size_t)n);
	text[n] = '\0';
	if (strlen(text) != n)
		in->failed = true;
}

static void put_watermarks(struct bytes *out, const struct watermarks *w)
{
	bytes_put_varint(out, w->min);
	bytes_put_varint(out, w->low);
	bytes_put_varint(out, w->high);
	bytes_put_varint(out, w->promo);
}

static void get_watermarks(struct cursor *in, struct watermarks *w)
{
	w->min = cursor_varint(in);
	w->low = cursor_varint(in);
	w->high = cursor_varint(in);
	w->promo = cursor_varint(in);
}

void header_encode(const struct trace_header *header, struct bytes *out)
{
	const struct machine *m = header->machine;
	pfn_t at = 0;

	bytes_put_varint(out, header->identity);
	put_text(out, header->kernel, sizeof(header->kernel));
	put_text(out, header->recorder, sizeof(header->recorder));
	put_text(out, header->clock, sizeof(header->clock));
	put_text(out, header->note, sizeof(header->note));
	bytes_put_varint(out, header->recorded_s);
	bytes_put_varint(out, m->page_shift);
	bytes_put_varint(out, m->max_order);
	bytes_put_varint(out, m->pageblock_order);
	bytes_put_varint(out, m->nr_cpus);
	bytes_put_varint(out, m->nr_nodes);
	for (uint32_t cpu = 0; cpu < m->nr_cpus; cpu++)
		bytes_put_varint(out, m->node_of_cpu[cpu]);
	bytes_put_varint(out, m->nr_zones);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		const struct zone *z = &m->zones[i];

		bytes_put_varint(out, z->node);
		bytes_put_varint(out, z->type);
		bytes_put_varint(out, z->start);
		bytes_put_varint(out, z->end - z->start);
		bytes_put_varint(out, z->present);
		bytes_put_varint(out, z->managed);
		put_watermarks(out, &z->watermark);
		for (unsigned int type = 0; type < ZONE_TYPES; type++)
			bytes_put_varint(out, z->lowmem_reserve[type]);
	}
	bytes_put_varint(out, m->nr_absent);
	for (size_t i = 0; i < m->nr_absent; i++) {
		const struct absent_range *a = &m->absent[i];

		bytes_put_varint(out, a->range.start - at);
		bytes_put_varint(out, a->range.end - a->range.start);
		bytes_put_varint(out, a->why);
		at = a->range.end;
	}
}

static int get_zones(struct cursor *in, struct machine *m, struct error *err)
{
	uint64_t nr_zones = cursor_varint(in);
	int ret = 0;

	for (uint64_t i = 0; !ret && !in->failed && i < nr_zones; i++) {
		struct zone z = {0};
		uint64_t node = cursor_varint(in), type = cursor_varint(in), frames;

		z.start = cursor_varint(in);
		frames = cursor_varint(in);
		z.present = cursor_varint(in);
		z.managed = cursor_varint(in);
		get_watermarks(in, &z.watermark);
		for (unsigned int t = 0; t < ZONE_TYPES; t++)
			z.lowmem_reserve[t] = cursor_varint(in);
		if (in->failed)
			break;
		if (node >= m->nr_nodes || type >= ZONE_TYPES || z.start > PFN_MAX || frames == 0 ||
		    frames > PFN_MAX + 1 - z.start)
			return error_set(err, EBADMSG, "zone %" PRIu64 " is out of range", i);
		z.node = (uint16_t)node;
		z.type = (uint8_t)type;
		z.end = z.start + frames;
		ret = machine_add_zone(m, &z, err);
	}
	return ret;
}

static int get_absent(struct cursor *in, struct machine *m, struct error *err)
{
	uint64_t n = cursor_varint(in);
	pfn_t at = 0;
	int ret = 0;

	for (uint64_t i = 0; !ret && !in->failed && i < n; i++) {
		uint64_t gap = cursor_varint(in), frames = cursor_varint(in),
			 why = cursor_varint(in);
		struct pfn_range range;

		if (in->failed)
			break;
		if (gap > PFN_MAX - at || frames == 0 || frames > PFN_MAX + 1 - at - gap ||
		    why > ABSENT_OFFLINE)
			return error_set(err, EBADMSG, "absent range %" PRIu64 " is out of range",
					 i);
		range.start = at + gap;
		range.end = at = range.start + frames;
		ret = machine_add_absent(m, range, (enum absence)why, err);
	}
	return ret;
}

static int get_machine(struct cursor *in, struct machine **machine, struct error *err)
{
	uint64_t page_shift = cursor_varint(in), max_order = cursor_varint(in),
		 pageblock_order = cursor_varint(in), nr_cpus = cursor_varint(in),
		 nr_nodes = cursor_varint(in);
	struct machine *m;
	int ret;

	if (in->failed || page_shift > 31 || max_order > 31 || pageblock_order > 31 ||
	    nr_cpus == 0 || nr_cpus > MACHINE_CPUS_MAX || nr_nodes == 0 || nr_nodes > UINT16_MAX)
		return error_set(err, EBADMSG, "the machine description is out of range");
	ret = machine_create((uint32_t)nr_cpus, (uint32_t)nr_nodes, &m, err);
	if (ret)
		return ret;
	m->page_shift = (uint32_t)page_shift;
	m->max_order = (uint32_t)max_order;
	m->pageblock_order = (uint32_t)pageblock_order;
	for (uint32_t cpu = 0; cpu < m->nr_cpus; cpu++) {
		uint64_t node = cursor_varint(in);

		if (node >= nr_nodes)
			in->failed = true;
		m->node_of_cpu[cpu] = (uint16_t)node;
	}
	ret = get_zones(in, m, err);
	if (!ret)
		ret = get_absent(in, m, err);
	if (!ret && in->failed)
		ret = error_set(err, EBADMSG, "the machine description ends early");
	if (!ret)
		ret = machine_check(m, err);
	if (ret) {
		machine_destroy(m);
		err->code = ret == -ENOMEM ? ENOMEM : EBADMSG;
		return -err->code;
	}
	*machine = m;
	return 0;
}

int header_decode(const uint8_t *raw, size_t n, struct trace_header *header, struct error *err)
{
	struct cursor in = {.at = raw, .end = raw + n};
	uint64_t identity = cursor_varint(&in);

	get_text(&in, header->kernel, sizeof(header->kernel));
	get_text(&in, header->recorder, sizeof(header->recorder));
	get_text(&in, header->clock, sizeof(header->clock));
	get_text(&in, header->note, sizeof(header->note));
	header->recorded_s = cursor_varint(&in);
	if (in.failed || identity > IDENTITY_VIRTUAL)
		return error_set(err, EBADMSG, "the header's text is damaged");
	header->identity = (enum trace_identity)identity;
	return get_machine(&in, &header->machine, err);
}

int trace_header_pack(const struct trace_header *header, void **bytes, size_t *n)
{
	struct bytes out = {0};

	header_encode(header, &out);
	if (out.failed) {
		bytes_free(&out);
		return -ENOMEM;
	}
	*bytes = out.data;
	*n = out.size;
	return 0;
}

int trace_header_unpack(const void *bytes, size_t n, struct trace_header *header, struct error *err)
{
	return header_decode(bytes, n, header, err);
}

/* ---- snapshots ---- */

void snapshot_raw_free(struct snapshot_raw *raw)
{
	for (size_t i = 0; i < SNAPSHOT_COLUMNS; i++)
		bytes_free(&raw->column[i]);
}

void snapshot_raw_digest(const struct snapshot_raw *raw, uint8_t digest[16])
{
	uint8_t parts[SNAPSHOT_COLUMNS][16];

	for (size_t i = 0; i < SNAPSHOT_COLUMNS; i++)
		layout_digest(raw->column[i].data, raw->column[i].size, parts[i]);
	layout_digest(parts, sizeof(parts), digest);
}

static void put_zone_counts(struct bytes *out, const struct machine *m, const struct zone_counts *z)
{
	bytes_put_varint(out, z->managed);
	bytes_put_varint(out, z->free_frames);
	for (unsigned int o = 0; o < NR_ORDERS; o++)
		bytes_put_varint(out, z->nr_free[o]);
	for (unsigned int t = 0; t < MIGRATE_TYPES; t++)
		for (unsigned int o = 0; o < NR_ORDERS; o++)
			bytes_put_varint(out, z->free_by_type[t][o]);
	for (unsigned int t = 0; t < MIGRATE_TYPES; t++)
		bytes_put_varint(out, z->blocks_by_type[t]);
	put_watermarks(out, &z->watermark);
	bytes_put_varint(out, z->boost);
	for (uint32_t cpu = 0; cpu < m->nr_cpus; cpu++) {
		bytes_put_varint(out, z->pcp[cpu].count);
		bytes_put_varint(out, z->pcp[cpu].high);
		bytes_put_varint(out, z->pcp[cpu].batch);
		bytes_put_varint(out, z->pcp[cpu].high_min);
		bytes_put_varint(out, z->pcp[cpu].high_max);
	}
}

static uint32_t get_u32_varint(struct cursor *in)
{
	uint64_t v = cursor_varint(in);

	if (v > UINT32_MAX)
		in->failed = true;
	return (uint32_t)v;
}

static void get_zone_counts(struct cursor *in, const struct machine *m, struct zone_counts *z)
{
	z->managed = cursor_varint(in);
	z->free_frames = cursor_varint(in);
	for (unsigned int o = 0; o < NR_ORDERS; o++)
		z->nr_free[o] = cursor_varint(in);
	for (unsigned int t = 0; t < MIGRATE_TYPES; t++)
		for (unsigned int o = 0; o < NR_ORDERS; o++)
			z->free_by_type[t][o] = cursor_varint(in);
	for (unsigned int t = 0; t < MIGRATE_TYPES; t++)
		z->blocks_by_type[t] = cursor_varint(in);
	get_watermarks(in, &z->watermark);
	z->boost = cursor_varint(in);
	for (uint32_t cpu = 0; cpu < m->nr_cpus; cpu++) {
		z->pcp[cpu].count = get_u32_varint(in);
		z->pcp[cpu].high = get_u32_varint(in);
		z->pcp[cpu].batch = get_u32_varint(in);
		z->pcp[cpu].high_min = get_u32_varint(in);
		z->pcp[cpu].high_max = get_u32_varint(in);
	}
}

int snapshot_encode(const struct frame_map *map, struct snapshot_raw *raw)
{
	const struct machine *m = map->machine;
	struct bytes *counts = &raw->column[SNAPSHOT_COUNTS];
	bool failed = false;

	bytes_put_varint(counts, map->time_ns);
	bytes_put_varint(counts, map->nr_runs);
	bytes_put_varint(counts, map->pageblock_type ? map->nr_pageblocks : 0);
	bytes_put_varint(counts, map->zones ? m->nr_zones : 0);
	for (uint32_t i = 0; map->zones && i < m->nr_zones; i++)
		put_zone_counts(counts, m, &map->zones[i]);
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];

		bytes_put_u8(&raw->column[SNAPSHOT_STATES],
			     (uint8_t)(run->state | run->order << 3));
		bytes_put_varint(&raw->column[SNAPSHOT_LENGTHS], run->frames);
	}
	if (map->pageblock_type)
		bytes_put(&raw->column[SNAPSHOT_PAGEBLOCKS], map->pageblock_type,
			  map->nr_pageblocks);
	for (size_t i = 0; i < SNAPSHOT_COLUMNS; i++)
		failed |= raw->column[i].failed;
	return failed ? -ENOMEM : 0;
}

/* Runs follow one another; where a zone ends, the next begins at the next zone's start. The zones
 * are in the order of the machine, which need not be that of their frames. */
static int get_runs(const struct snapshot_raw *raw, struct frame_map *map, struct error *err)
{
	const struct bytes *lengths = &raw->column[SNAPSHOT_LENGTHS];
	struct cursor in = {.at = lengths->data, .end = lengths->data + lengths->size};
	const struct machine *m = map->machine;
	bool used[MACHINE_ZONES_MAX] = {false};
	pfn_t at = 0, end = 0;

	for (size_t i = 0; i < map->nr_runs; i++) {
		uint8_t state = raw->column[SNAPSHOT_STATES].data[i];
		uint64_t frames = cursor_varint(&in);

		if (at == end) {
			uint32_t next = m->nr_zones;

			for (uint32_t z = 0; z < m->nr_zones; z++)
				if (!used[z] && (next == m->nr_zones ||
						 m->zones[z].start < m->zones[next].start))
					next = z;
			if (next == m->nr_zones)
				return error_set(err, EBADMSG, "run %zu lies outside all zones", i);
			used[next] = true;
			at = m->zones[next].start;
			end = m->zones[next].end;
		}
		if (frames == 0 || frames > end - at)
			return error_set(err, EBADMSG,
					 "run %zu of %" PRIu64 " frames is impossible", i, frames);
		map->runs[i] = (struct frame_run){
			.start = at,
			.frames = frames & ((UINT64_C(1) << 48) - 1),
			.state = state & 7U,
			.order = (uint64_t)state >> 3,
		};
		at += frames;
	}
	if (in.failed || cursor_left(&in))
		return error_set(err, EBADMSG, "run lengths do not fit the number of runs");
	return 0;
}

static int get_map(const struct snapshot_raw *raw, struct frame_map *map, struct error *err)
{
	const struct bytes *counts = &raw->column[SNAPSHOT_COUNTS],
			   *blocks = &raw->column[SNAPSHOT_PAGEBLOCKS];
	struct cursor in = {.at = counts->data, .end = counts->data + counts->size};
	uint64_t nr_runs, nr_pageblocks, nr_zones;
	int ret;

	map->time_ns = cursor_varint(&in);
	if (map->time_ns > TRACE_TIME_MAX)
		return error_set(err, EBADMSG, "its time %" PRIu64 " ns is above 2^63 - 1",
				 map->time_ns);
	nr_runs = cursor_varint(&in);
	nr_pageblocks = cursor_varint(&in);
	nr_zones = cursor_varint(&in);
	if (in.failed || nr_runs != raw->column[SNAPSHOT_STATES].size ||
	    nr_pageblocks != blocks->size || (nr_zones && nr_zones != map->machine->nr_zones))
		return error_set(err, EBADMSG, "its counts contradict each other");
	map->nr_runs = (size_t)nr_runs;
	map->runs = calloc(map->nr_runs + 1, sizeof(*map->runs));
	if (!map->runs)
		return error_set(err, ENOMEM, "out of memory for %" PRIu64 " runs", nr_runs);
	ret = get_runs(raw, map, err);
	if (!ret && nr_zones)
		ret = frame_map_add_zones(map, err);
	for (uint32_t i = 0; !ret && i < nr_zones; i++)
		get_zone_counts(&in, map->machine, &map->zones[i]);
	if (!ret && in.failed)
		ret = error_set(err, EBADMSG, "its zone counts end early");
	if (!ret && nr_pageblocks) {
		map->pageblock_type = malloc(blocks->size);
		if (!map->pageblock_type)
			return error_set(err, ENOMEM, "out of memory for pageblock types");
		map->nr_pageblocks = blocks->size;
		memcpy(map->pageblock_type, blocks->data, blocks->size);
	}
	return ret ? ret : frame_map_check(map, err);
}

int snapshot_check_start(const struct frame_map *map, struct error *err)
{
	const struct absent_range *absent = map->machine->absent;
	size_t n = map->machine->nr_absent, next = 0;

	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		pfn_t end = run->start + run->frames;
		uint64_t managed = run->frames;

		while (next < n && absent[next].range.end <= run->start)
			next++;
		/* A range that goes on behind the run is the next run's too. */
		for (size_t k = next; k < n && absent[k].range.start < end; k++) {
			managed -= min_u64(absent[k].range.end, end) -
				   max_u64(absent[k].range.start, run->start);
			next = k;
		}
		if (managed != (frame_state_managed(run->state) ? run->frames : 0))
			return error_set(err, EINVAL,
					 "run %zu contradicts the header's absent ranges", i);
	}
	return 0;
}

int snapshot_decode(const struct snapshot_raw *raw, const struct machine *machine,
		    enum trace_snapshot which, struct frame_map **map, struct error *err)
{
	struct frame_map *made = calloc(1, sizeof(*made));
	int ret;

	if (!made)
		return error_set(err, ENOMEM, "out of memory for a snapshot");
	made->machine = machine;
	ret = get_map(raw, made, err);
	if (!ret && which != TRACE_END)
		ret = snapshot_check_start(made, err);
	if (ret) {
		frame_map_destroy(made);
		err->code = ret == -ENOMEM ? ENOMEM : EBADMSG;
		return -err->code;
	}
	*map = made;
	return 0;
}
