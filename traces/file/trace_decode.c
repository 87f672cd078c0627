/* SPDX-License-Identifier: MIT */
/*
 * Speed decides the decoder's shape. Every column has a buffer large enough for the most a block of
 * this size can take from it, so the loop over events needs no bounds checks; that each column was
 * used up exactly is checked once, at the end.
 */
#include "traces/file/trace_codec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "traces/file/trace_columns.h"
#include "traces/file/trace_model.h"

struct bit_reader {
	const uint8_t *data;
	size_t last; /* offset behind which nothing is read */
	uint64_t at; /* in bits */
};

/* At most 61 bits. Reading too much gives some value; it is noticed at the end. */
static inline uint64_t get_bits(struct bit_reader *r, unsigned int n)
{
	size_t byte = (size_t)(r->at >> 3);
	unsigned int shift = r->at & 7;
	uint64_t v;

	byte = byte < r->last ? byte : r->last;
	v = load_u64(r->data + byte) >> shift;
	if (__builtin_expect(n > 56, 0) && shift)
		v |= (uint64_t)r->data[byte + 8] << (64 - shift);
	r->at += n;
	return v & low_bits(n);
}

struct decode_cpu {
	const uint16_t *op, *op_end;
	const uint32_t *change;
	uint32_t context, ops, changes;
	uint16_t cpu;
};

struct decode_state {
	const uint8_t *time[4];
	const uint8_t *symbol[GROUP_NONE];
	struct bit_reader time_bits, pfn_bits;
	struct cursor arg;
	uint64_t steps, steps_max; /* time since the first event, in units */
	unsigned int group_before, slot_before;
};

struct block_decoder {
	ZSTD_DCtx *zstd;
	struct model model;
	struct bytes column[COLUMNS];
	struct shape *shapes;
	size_t nr_shapes, shapes_capacity;
	struct decode_cpu cpus[CPUS_MAX];
	uint32_t nr_cpus;
	uint64_t unit;
	bool skips; /* kinds unknown to this build */
	struct {
		uint64_t base;
		unsigned int bits;
	} bucket[256];
	/* The block being decoded, and how far. */
	struct block_header header;
	struct decode_state state;
	uint32_t next;
	/* Room for capacity events: their cpus, op symbols (twice as many), contexts. */
	size_t capacity;
	uint16_t *slot, *op;
	uint32_t *change;
};

int block_decoder_create(struct block_decoder **decoder)
{
	struct block_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->zstd = ZSTD_createDCtx();
	for (unsigned int i = 0; i < ARRAY_SIZE(d->bucket); i++) {
		/* Behind the last bucket: a step that no check lets pass. */
		d->bucket[i].base = i < BUCKETS ? bucket_base(i) : UINT64_MAX;
		d->bucket[i].bits = i < BUCKETS ? bucket_bits(i) : 0;
	}
	if (!d->zstd) {
		free(d);
		return -ENOMEM;
	}
	*decoder = d;
	return 0;
}

void block_decoder_destroy(struct block_decoder *decoder)
{
	if (!decoder)
		return;
	ZSTD_freeDCtx(decoder->zstd);
	columns_free(decoder->column);
	model_free_memory(&decoder->model);
	free(decoder->shapes);
	free(decoder->slot);
	free(decoder->op);
	free(decoder->change);
	free(decoder);
}

static int decoder_reserve(struct block_decoder *d, size_t n)
{
	if (n <= d->capacity)
		return 0;
	free(d->slot);
	free(d->op);
	free(d->change);
	d->slot = calloc(n, sizeof(*d->slot));
	d->op = calloc(2 * n, sizeof(*d->op));
	d->change = calloc(n, sizeof(*d->change));
	d->capacity = 0;
	if (!d->slot || !d->op || !d->change || columns_reserve(d->column, n))
		return -ENOMEM;
	d->capacity = n;
	return 0;
}

bool block_header_decode(const uint8_t *payload, size_t bytes, struct block_header *header)
{
	if (bytes < BLOCK_HEADER_BYTES)
		return false;
	header->first_event = load_u64(payload);
	header->first_ns = load_u64(payload + 8);
	header->last_ns = load_u64(payload + 16);
	header->events = load_u32(payload + 24);
	return header->events && header->events <= BLOCK_EVENTS_MAX &&
	       header->first_ns <= header->last_ns && header->last_ns <= TRACE_TIME_MAX &&
	       !load_u32(payload + 28);
}

static struct cursor column_cursor(const struct block_decoder *d, enum column column)
{
	const struct bytes *b = &d->column[column];

	return (struct cursor){.at = b->data, .end = b->data + b->size};
}

static int bad(struct error *err, const char *what)
{
	return error_set(err, EBADMSG, "%s; fetch the file again or salvage the rest", what);
}

/* Everything about a shape that can be checked once for all its events. */
static int check_shape(struct shape *s, const struct event_limits *limits, struct error *err)
{
	struct event e = {
		.pfn = event_has_pfn(s->kind) ? 0 : PFN_NONE,
		.arg = event_kinds[s->kind].arg == EVENT_ARG_FRAMES,
		.kind = s->kind,
		.order = s->order,
		.migratetype = s->migratetype,
	};
	const char *field = event_check(&e, limits);

	if (field)
		return error_set(err, ERANGE, "%s out of range (kind %u, order %u, migratetype %u)",
				 field, s->kind, s->order, s->migratetype);
	s->check = event_kinds[s->kind].arg == EVENT_ARG_FRAMES ||
		   event_kinds[s->kind].arg == EVENT_ARG_PFN;
	s->pfn_limit = s->group == GROUP_NONE ? PFN_NONE : limits->pfn_end - s->frames;
	return 0;
}

static int decode_shapes(struct block_decoder *d, struct cursor *in,
			 const struct event_limits *limits, struct error *err)
{
	uint64_t n = cursor_varint(in);
	int ret = 0;

	if (in->failed || n > cursor_left(in) / 5 || n > SHAPES_MAX)
		return bad(err, "impossible number of shapes");
	if (n > d->shapes_capacity) {
		free(d->shapes);
		d->shapes_capacity = 0;
		d->shapes = calloc((size_t)n, sizeof(*d->shapes));
		if (!d->shapes)
			return error_set(err, ENOMEM, "out of memory");
		d->shapes_capacity = (size_t)n;
	}
	d->nr_shapes = (size_t)n;
	d->skips = false;
	for (size_t i = 0; !ret && i < n; i++) {
		struct shape *s = &d->shapes[i];
		uint64_t gfp;

		memset(s, 0, sizeof(*s));
		s->kind = cursor_u8(in);
		s->order = cursor_u8(in);
		s->has_arg = s->order & 0x80;
		s->order &= 0x7f;
		s->migratetype = cursor_u8(in);
		s->flags = cursor_u8(in);
		gfp = cursor_varint(in);
		if (gfp > UINT32_MAX || in->failed)
			return bad(err, "a shape is damaged");
		s->gfp = (uint32_t)gfp;
		shape_derive(s);
		s->event = (struct event){
			.gfp = s->gfp,
			.kind = s->kind,
			.order = s->order,
			.migratetype = s->migratetype,
			.flags = s->flags,
		};
		if (event_kind_known(s->kind) || !s->kind) {
			ret = check_shape(s, limits, err);
		} else {
			d->skips = true;
			s->pfn_limit = UINT64_MAX;
		}
	}
	return ret;
}

static int decode_meta(struct block_decoder *d, const struct event_limits *limits,
		       struct error *err)
{
	struct cursor in = column_cursor(d, COLUMN_META);
	uint64_t nr_cpus;
	int ret;

	d->unit = cursor_varint(&in);
	nr_cpus = cursor_varint(&in);
	if (in.failed || d->unit == 0 || nr_cpus == 0 || nr_cpus > CPUS_MAX)
		return bad(err, "impossible number of cpus");
	d->nr_cpus = (uint32_t)nr_cpus;
	for (uint32_t i = 0; i < d->nr_cpus; i++) {
		uint64_t cpu = cursor_varint(&in), ops = cursor_varint(&in),
			 changes = cursor_varint(&in);

		if (cpu >= limits->nr_cpus)
			return error_set(err, ERANGE,
					 "cpu %" PRIu64 " out of range, the machine has %" PRIu32,
					 cpu, limits->nr_cpus);
		if (in.failed || ops > BLOCK_EVENTS_MAX || changes > BLOCK_EVENTS_MAX)
			return bad(err, "impossible counts of a cpu");
		d->cpus[i] = (struct decode_cpu){
			.cpu = (uint16_t)cpu,
			.ops = (uint32_t)ops,
			.changes = (uint32_t)changes,
		};
	}
	ret = decode_shapes(d, &in, limits, err);
	return ret ? ret : cursor_left(&in) ? bad(err, "its description is too long") : 0;
}

/* Symbols of one or two bytes. False if one is not below @end. */
static bool widen(const uint8_t *raw, size_t n, bool wide, uint32_t end, uint16_t *out)
{
	uint8_t highest = 0;
	uint16_t worst = 0;

	if (!wide) {
		for (size_t i = 0; i < n; i++) {
			out[i] = raw[i];
			highest = raw[i] > highest ? raw[i] : highest;
		}
		return highest < end;
	}
	for (size_t i = 0; i < n; i++) {
		out[i] = (uint16_t)(raw[i] | raw[n + i] << 8);
		worst = out[i] > worst ? out[i] : worst;
	}
	return worst < end;
}

static int decode_cpus(struct block_decoder *d, size_t n, struct error *err)
{
	const struct bytes *column = &d->column[COLUMN_CPU];
	bool wide = d->nr_cpus > 256;

	if (column->size != (d->nr_cpus == 1 ? 0 : wide ? 2 * n : n))
		return bad(err, "cpu column of the wrong length");
	if (d->nr_cpus == 1)
		memset(d->slot, 0, n * sizeof(*d->slot));
	else if (!widen(column->data, n, wide, d->nr_cpus, d->slot))
		return bad(err, "unknown cpu");
	return 0;
}

/* COLUMN_OP and COLUMN_CONTEXT, dealt to the cpus. A cpu has as many contexts as changes. */
static int decode_ops(struct block_decoder *d, size_t n, struct error *err)
{
	struct cursor contexts = column_cursor(d, COLUMN_CONTEXT);
	bool wide = d->nr_shapes > 255;
	uint64_t symbols = 0, changes = 0;
	size_t at = 0, change = 0;

	for (uint32_t i = 0; i < d->nr_cpus; i++) {
		symbols += d->cpus[i].ops + d->cpus[i].changes;
		changes += d->cpus[i].changes;
	}
	if (changes > n || symbols - changes != n || d->column[COLUMN_OP].size != symbols << wide ||
	    !widen(d->column[COLUMN_OP].data, (size_t)symbols, wide, (uint32_t)d->nr_shapes + 1,
		   d->op))
		return bad(err, "op column of the wrong length or with an unknown shape");
	for (uint32_t i = 0; i < d->nr_cpus; i++) {
		struct decode_cpu *c = &d->cpus[i];
		uint32_t found = 0;

		c->op = &d->op[at];
		c->op_end = c->op + c->ops + c->changes;
		c->change = &d->change[change];
		for (uint32_t k = 0; k < c->ops + c->changes; k++)
			found += c->op[k] == d->nr_shapes;
		if (found != c->changes)
			return bad(err, "a cpu has the wrong number of context changes");
		for (uint32_t k = 0; k < c->changes; k++) {
			uint64_t context = cursor_varint(&contexts);

			if (context > UINT32_MAX)
				contexts.failed = true;
			d->change[change + k] = (uint32_t)context;
		}
		at += c->ops + c->changes;
		change += c->changes;
	}
	if (contexts.failed || cursor_left(&contexts))
		return bad(err, "context column of the wrong length");
	return 0;
}

/* Where the loop over events stands in each column. */
static struct bit_reader bit_column(const struct block_decoder *d, enum column column)
{
	return (struct bit_reader){
		.data = d->column[column].data,
		.last = d->column[column].size,
	};
}

static void decode_start(const struct block_decoder *d, const struct block_header *header,
			 struct decode_state *st)
{
	for (size_t i = 0; i < 4; i++)
		st->time[i] = d->column[COLUMN_TIME + i].data;
	for (size_t i = 0; i < GROUP_NONE; i++)
		st->symbol[i] = d->column[COLUMN_ALLOC + i].data;
	st->time_bits = bit_column(d, COLUMN_TIME_BITS);
	st->pfn_bits = bit_column(d, COLUMN_PFN_BITS);
	st->arg = column_cursor(d, COLUMN_ARG);
	st->steps = 0;
	st->steps_max = (header->last_ns - header->first_ns) / d->unit;
	st->group_before = GROUP_NONE;
	st->slot_before = 0;
}

/* Only bits that fill up the last byte may be left over; what they are is no matter. */
static bool bits_used_up(const struct block_decoder *d, enum column column,
			 const struct bit_reader *r)
{
	return div_round_up(r->at, 8) == d->column[column].size;
}

static int decode_finish(const struct block_decoder *d, const struct block_header *header,
			 const struct decode_state *st, struct error *err)
{
	bool ok = bits_used_up(d, COLUMN_TIME_BITS, &st->time_bits) &&
		  bits_used_up(d, COLUMN_PFN_BITS, &st->pfn_bits) && !st->arg.failed &&
		  !cursor_left(&st->arg);

	for (size_t i = 0; i < 4; i++)
		ok &= st->time[i] ==
		      d->column[COLUMN_TIME + i].data + d->column[COLUMN_TIME + i].size;
	for (uint32_t i = 0; i < d->nr_cpus; i++)
		ok &= d->cpus[i].op == d->cpus[i].op_end;
	for (size_t i = 0; i < GROUP_NONE; i++)
		ok &= st->symbol[i] ==
		      d->column[COLUMN_ALLOC + i].data + d->column[COLUMN_ALLOC + i].size;
	if (!ok)
		return bad(err, "a column is too short or too long");
	if (header->first_ns + st->steps * d->unit != header->last_ns)
		return bad(err, "its times do not end where they should");
	return 0;
}

static inline uint64_t get_bucket(const struct block_decoder *d, unsigned int bucket,
				  struct bit_reader *bits)
{
	return d->bucket[bucket].base + get_bits(bits, d->bucket[bucket].bits);
}

static inline uint64_t decode_explicit(const struct block_decoder *d, struct decode_state *st,
				       unsigned int bucket, uint64_t reference)
{
	return reference + (uint64_t)unzigzag(get_bucket(d, bucket, &st->pfn_bits));
}

/* Each of these gives the pfn; a symbol that makes no sense here gives PFN_NONE, which no check
 * lets pass. */
static inline uint64_t decode_alloc(struct block_decoder *d, struct decode_state *st,
				    struct model_cpu *c, const struct shape *s)
{
	struct model *m = &d->model;
	unsigned int symbol = *st->symbol[GROUP_ALLOC]++;
	uint16_t node = c->head[s->list];

	if (symbol >= EXPLICIT)
		return decode_explicit(d, st, symbol - EXPLICIT, c->last_of[s->list]);
	for (; symbol && node != NIL; symbol--)
		node = m->below[node];
	if (node == NIL)
		return PFN_NONE;
	model_take(m, c, s->list, node);
	return m->pfn[node];
}

static inline uint64_t decode_follow(const struct block_decoder *d, struct decode_state *st,
				     enum group group, const struct shape *s, uint64_t last,
				     uint16_t node)
{
	const struct model *m = &d->model;
	unsigned int symbol = *st->symbol[group]++, k;

	if (symbol >= EXPLICIT)
		return decode_explicit(d, st, symbol - EXPLICIT, last);
	if (symbol == FOLLOW_UP)
		return last + s->frames;
	if (symbol == FOLLOW_DOWN)
		return last - s->frames;
	k = symbol == FOLLOW_NEXT ? 1 : symbol - FOLLOW_SKIP + 2;
	for (; k && node != NIL; k--)
		node = m->successor[node];
	return node == NIL ? PFN_NONE : m->pfn[node];
}

static inline uint64_t decode_step(const struct block_decoder *d, struct decode_state *st,
				   enum group group, unsigned int up, unsigned int first,
				   const struct shape *s, uint64_t last)
{
	unsigned int symbol = *st->symbol[group]++;

	if (symbol == up)
		return last + s->frames;
	if (symbol == up + 1)
		return last - s->frames;
	return symbol < first ? PFN_NONE : decode_explicit(d, st, symbol - first, last);
}

static uint64_t decode_other(const struct block_decoder *d, struct decode_state *st,
			     const struct model_cpu *c, const struct shape *s)
{
	if (*st->symbol[GROUP_OTHER] == OTHER_ALLOCATED) {
		st->symbol[GROUP_OTHER]++;
		return c->last_alloc;
	}
	return decode_step(d, st, GROUP_OTHER, OTHER_UP, EXPLICIT_OTHER, s, c->last_other);
}

static int event_error(struct error *err, size_t i, const struct event *e)
{
	return error_set(err, ERANGE,
			 "event %zu of the block: pfn or arg out of range (kind %u, order %u, pfn "
			 "0x%" PRIx64 ", arg 0x%" PRIx64 ")",
			 i, e->kind, e->order, e->pfn, e->arg);
}

/* The next op symbol of a cpu, or NULL if it has none left. */
static inline const struct shape *decode_op(const struct block_decoder *d, struct decode_cpu *cpu)
{
	for (; cpu->op != cpu->op_end; cpu->context = *cpu->change++) {
		unsigned int op = *cpu->op++;

		if (op != d->nr_shapes)
			return &d->shapes[op];
	}
	return NULL;
}

static inline uint64_t decode_pfn(struct block_decoder *d, struct decode_state *st, uint16_t i,
				  const struct shape *s, unsigned int op)
{
	unsigned int slot = d->slot[i];
	struct model *m = &d->model;
	struct model_cpu *c = &m->cpus[slot];
	uint64_t pfn = PFN_NONE;

	switch (s->group) {
	case GROUP_ALLOC:
		pfn = decode_alloc(d, st, c, s);
		model_alloc(m, c, i, pfn, s->list, slot * 61U + op);
		break;
	case GROUP_FREE:
		pfn = decode_follow(d, st, GROUP_FREE, s, c->last_free, c->free_node);
		model_free(m, c, i, pfn, s->list);
		break;
	case GROUP_REFILL:
		pfn = decode_step(d, st, GROUP_REFILL, 0, EXPLICIT, s, c->last_refill);
		model_refill(m, c, i, pfn, s->list);
		break;
	case GROUP_DRAIN:
		pfn = decode_follow(d, st, GROUP_DRAIN, s, c->last_drain, c->drain_node);
		model_drain(m, c, pfn, s->list);
		break;
	case GROUP_OTHER:
		pfn = c->last_other = decode_other(d, st, c, s);
		break;
	default:
		break;
	}
	return pfn;
}

/* Events [d->next, @end) of the block into @events. */
static int decode_events(struct block_decoder *d, uint32_t end, const struct event_limits *limits,
			 struct event *events, struct error *err)
{
	struct decode_state st =
		d->state; /* whose address nobody has, so it can live in registers */

	for (uint32_t i = d->next; i < end; i++) {
		unsigned int slot = d->slot[i];
		struct decode_cpu *cpu = &d->cpus[slot];
		const struct shape *s = decode_op(d, cpu);
		struct event *e = events++;

		if (!s)
			return bad(err, "a cpu has more events than ops");
		if (i) {
			unsigned int steps =
				time_class(s->group, st.group_before, slot, st.slot_before);
			uint64_t step = get_bucket(d, *st.time[steps]++, &st.time_bits);

			if (step > st.steps_max - st.steps)
				return bad(err, "time beyond the block's end");
			st.steps += step;
		}
		st.group_before = s->group;
		st.slot_before = slot;
		*e = s->event;
		e->time_ns = d->header.first_ns + st.steps * d->unit;
		e->context = cpu->context;
		e->cpu = cpu->cpu;
		e->pfn = decode_pfn(d, &st, (uint16_t)i, s, (unsigned int)(s - d->shapes));
		if (s->has_arg)
			e->arg = cursor_varint(&st.arg);
		if (e->pfn > s->pfn_limit || (s->check && event_check(e, limits)))
			return event_error(err, i, e);
	}
	d->state = st;
	d->next = end;
	return 0;
}

static size_t drop_unknown(struct event *events, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (event_kind_known(events[i].kind))
			events[kept++] = events[i];
	return kept;
}

int block_decode_begin(struct block_decoder *d, const uint8_t *payload, size_t bytes,
		       const struct event_limits *limits, struct error *err)
{
	struct cursor in = {.at = payload + BLOCK_HEADER_BYTES, .end = payload + bytes};
	uint32_t events;
	int ret = 0;

	d->next = d->header.events = 0;
	if (!block_header_decode(payload, bytes, &d->header)) {
		d->header.events = 0;
		return bad(err, "its counts are impossible");
	}
	events = d->header.events;
	if (decoder_reserve(d, events))
		return error_set(err, ENOMEM, "out of memory for %" PRIu32 " events", events);
	for (size_t i = 0; !ret && i < COLUMNS; i++)
		ret = packed_get(d->zstd, &in, &d->column[i], column_max((enum column)i, events),
				 NULL, 0);
	if (ret)
		return packed_error(ret, "a column", err);
	ret = decode_meta(d, limits, err);
	if (!ret)
		ret = decode_cpus(d, events, err);
	if (!ret)
		ret = decode_ops(d, events, err);
	if (!ret && model_reset(&d->model, d->nr_cpus, events))
		ret = error_set(err, ENOMEM, "out of memory");
	if (!ret)
		decode_start(d, &d->header, &d->state);
	return ret;
}

int block_decode_next(struct block_decoder *d, const struct event_limits *limits,
		      struct event *events, size_t max, size_t *raw, size_t *n, struct error *err)
{
	uint32_t end = (uint32_t)min_u64(d->header.events, d->next + max);
	int ret = 0;

	*raw = end - d->next;
	*n = 0;
	if (!*raw)
		return 0;
	ret = decode_events(d, end, limits, events, err);
	if (!ret && end == d->header.events)
		ret = decode_finish(d, &d->header, &d->state, err);
	if (!ret)
		*n = d->skips ? drop_unknown(events, *raw) : *raw;
	return ret;
}

void events_canonical(const struct event *events, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++, out += EVENT_DIGEST_BYTES) {
		const struct event *e = &events[i];

		store_u64(out, e->time_ns);
		store_u64(out + 8, e->pfn);
		store_u64(out + 16, e->arg);
		store_u32(out + 24, e->gfp);
		store_u32(out + 28, e->context);
		store_u16(out + 32, e->cpu);
		out[34] = e->kind;
		out[35] = e->order;
		out[36] = e->migratetype;
		out[37] = e->flags;
		out[38] = out[39] = 0;
	}
}
