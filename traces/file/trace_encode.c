/* SPDX-License-Identifier: MIT */
#include "traces/file/trace_codec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "traces/file/trace_columns.h"
#include "traces/file/trace_model.h"

/* The columns have room for the most a block can put into them, so putting is only a store. */
static inline void put(struct bytes *column, unsigned int byte)
{
	column->data[column->size++] = (uint8_t)byte;
}

struct bit_writer {
	struct bytes *out;
	uint64_t bits;
	unsigned int n; /* < 8 between calls */
};

static inline void put_bits32(struct bit_writer *w, uint64_t v, unsigned int n)
{
	w->bits |= v << w->n;
	w->n += n;
	store_u64(w->out->data + w->out->size, w->bits);
	w->out->size += w->n >> 3;
	w->bits = w->bits >> (w->n & ~7U);
	w->n &= 7;
}

static inline void put_bits(struct bit_writer *w, uint64_t v, unsigned int n)
{
	if (n > 32) {
		put_bits32(w, v & UINT32_MAX, 32);
		v >>= 32;
		n -= 32;
	}
	put_bits32(w, v, n);
}

static void flush_bits(struct bit_writer *w)
{
	w->out->size += w->n != 0;
	w->bits = w->n = 0;
}

struct shape_slot {
	uint64_t key;
	uint16_t shape;
	bool has_arg;
	uint32_t block; /* in which it was used; no clearing between blocks */
};

#define SHAPE_SLOTS 131072U

struct block_encoder {
	ZSTD_CCtx *zstd;
	struct model model;
	struct bytes column[COLUMNS];
	struct bytes high; /* high bytes of wide symbols */
	struct bit_writer time_bits, pfn_bits;
	struct shape shapes[SHAPES_MAX];
	struct shape_slot slots[SHAPE_SLOTS];
	uint32_t nr_shapes, nr_cpus, block;
	uint16_t slot_of_cpu[CPUS_MAX], cpus[CPUS_MAX];
	uint32_t ops_of_cpu[CPUS_MAX], changes_of_cpu[CPUS_MAX];
	uint16_t shape_of[BLOCK_EVENTS_MAX], cpu_of[BLOCK_EVENTS_MAX], by_cpu[BLOCK_EVENTS_MAX];
};

int block_encoder_create(int level, struct block_encoder **encoder)
{
	struct block_encoder *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->zstd = ZSTD_createCCtx();
	if (!e->zstd) {
		block_encoder_destroy(e);
		return -ENOMEM;
	}
	packed_configure(e->zstd, level);
	e->time_bits.out = &e->column[COLUMN_TIME_BITS];
	e->pfn_bits.out = &e->column[COLUMN_PFN_BITS];
	*encoder = e;
	return 0;
}

void block_encoder_destroy(struct block_encoder *encoder)
{
	if (!encoder)
		return;
	ZSTD_freeCCtx(encoder->zstd);
	columns_free(encoder->column);
	bytes_free(&encoder->high);
	model_free_memory(&encoder->model);
	free(encoder);
}

static uint16_t intern_shape(struct block_encoder *b, const struct event *e)
{
	bool has_arg = e->arg != 0;
	uint64_t key = (uint64_t)e->gfp << 32 | (uint32_t)e->kind << 24 | (uint32_t)e->order << 16 |
		       (uint32_t)e->migratetype << 8 | e->flags;
	uint64_t h = (key + has_arg) * UINT64_C(0x9e3779b97f4a7c15) >> 47;
	struct shape_slot *slot;

	for (slot = &b->slots[h]; slot->block == b->block; slot = &b->slots[h]) {
		if (slot->key == key && slot->has_arg == has_arg)
			return slot->shape;
		h = (h + 1) % SHAPE_SLOTS;
	}
	*slot = (struct shape_slot){
		.key = key,
		.shape = (uint16_t)b->nr_shapes,
		.has_arg = has_arg,
		.block = b->block,
	};

	struct shape *s = &b->shapes[b->nr_shapes++];

	*s = (struct shape){
		.gfp = e->gfp,
		.kind = e->kind,
		.order = e->order,
		.migratetype = e->migratetype,
		.flags = e->flags,
		.has_arg = has_arg,
	};
	shape_derive(s);
	return slot->shape;
}

/* Number the block's cpus and shapes in the order they appear. */
static void encode_dictionaries(struct block_encoder *b, const struct event *events, size_t n)
{
	b->nr_shapes = b->nr_cpus = 0;
	b->block++; /* wraps after 2^48 events, far beyond any trace */
	memset(b->slot_of_cpu, 0xff, sizeof(b->slot_of_cpu));
	for (size_t i = 0; i < n; i++) {
		uint16_t *slot = &b->slot_of_cpu[events[i].cpu];

		if (*slot == NIL) {
			*slot = (uint16_t)b->nr_cpus;
			b->cpus[b->nr_cpus++] = events[i].cpu;
		}
		b->cpu_of[i] = *slot;
		b->shape_of[i] = intern_shape(b, &events[i]);
	}
}

/* Low bytes of all symbols, then high bytes if there are any that need them. */
static void put_symbol(struct block_encoder *b, enum column column, unsigned int symbol, bool wide)
{
	put(&b->column[column], symbol);
	if (wide)
		bytes_put_u8(&b->high, (uint8_t)(symbol >> 8));
}

static void put_high(struct block_encoder *b, enum column column)
{
	bytes_put(&b->column[column], b->high.data, b->high.size);
	b->high.size = 0;
}

static void encode_ops(struct block_encoder *b, const struct event *events, size_t n)
{
	bool wide = b->nr_shapes > 255;
	uint32_t start[CPUS_MAX], at = 0;

	/* A stable counting sort of the events' numbers by cpu. */
	memset(b->ops_of_cpu, 0, b->nr_cpus * sizeof(*b->ops_of_cpu));
	for (size_t i = 0; i < n; i++)
		b->ops_of_cpu[b->cpu_of[i]]++;
	for (uint32_t cpu = 0; cpu < b->nr_cpus; cpu++) {
		start[cpu] = at;
		at += b->ops_of_cpu[cpu];
	}
	for (size_t i = 0; i < n; i++)
		b->by_cpu[start[b->cpu_of[i]]++] = (uint16_t)i;
	at = 0;
	for (uint32_t cpu = 0; cpu < b->nr_cpus; cpu++) {
		uint32_t context = 0;

		b->changes_of_cpu[cpu] = 0;
		for (; at < start[cpu]; at++) {
			const struct event *e = &events[b->by_cpu[at]];

			if (e->context != context) {
				context = e->context;
				put_symbol(b, COLUMN_OP, b->nr_shapes, wide);
				bytes_put_varint(&b->column[COLUMN_CONTEXT], context);
				b->changes_of_cpu[cpu]++;
			}
			put_symbol(b, COLUMN_OP, b->shape_of[b->by_cpu[at]], wide);
		}
	}
	put_high(b, COLUMN_OP);
	for (size_t i = 0; i < n && b->nr_cpus > 1; i++)
		put_symbol(b, COLUMN_CPU, b->cpu_of[i], b->nr_cpus > 256);
	put_high(b, COLUMN_CPU);
}

static void encode_meta(struct block_encoder *b, uint64_t unit)
{
	struct bytes *out = &b->column[COLUMN_META];

	bytes_put_varint(out, unit);
	bytes_put_varint(out, b->nr_cpus);
	for (uint32_t i = 0; i < b->nr_cpus; i++) {
		bytes_put_varint(out, b->cpus[i]);
		bytes_put_varint(out, b->ops_of_cpu[i]);
		bytes_put_varint(out, b->changes_of_cpu[i]);
	}
	bytes_put_varint(out, b->nr_shapes);
	for (uint32_t i = 0; i < b->nr_shapes; i++) {
		const struct shape *s = &b->shapes[i];

		bytes_put_u8(out, s->kind);
		bytes_put_u8(out, (uint8_t)(s->order | (s->has_arg ? 0x80 : 0)));
		bytes_put_u8(out, s->migratetype);
		bytes_put_u8(out, s->flags);
		bytes_put_varint(out, s->gfp);
	}
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/* The largest unit of which all steps are multiples: sources often tell whole microseconds. */
static uint64_t encode_times(struct block_encoder *b, const struct event *events, size_t n)
{
	uint64_t unit = 0;

	for (size_t i = 1; i < n && unit != 1; i++)
		unit = gcd(events[i].time_ns - events[i - 1].time_ns, unit);
	unit = unit ? unit : 1;
	for (size_t i = 1; i < n; i++) {
		uint64_t step = (events[i].time_ns - events[i - 1].time_ns) / unit;
		unsigned int bucket = bucket_of(step);
		unsigned int steps = time_class(b->shapes[b->shape_of[i]].group,
						b->shapes[b->shape_of[i - 1]].group, b->cpu_of[i],
						b->cpu_of[i - 1]);

		put(&b->column[COLUMN_TIME + steps], bucket);
		put_bits(&b->time_bits, step - bucket_base(bucket), bucket_bits(bucket));
	}
	flush_bits(&b->time_bits);
	return unit;
}

static void encode_explicit(struct block_encoder *b, enum column column, unsigned int first,
			    uint64_t pfn, uint64_t reference)
{
	uint64_t v = zigzag((int64_t)(pfn - reference));
	unsigned int bucket = bucket_of(v);

	put(&b->column[column], first + bucket);
	put_bits(&b->pfn_bits, v - bucket_base(bucket), bucket_bits(bucket));
}

static void encode_alloc(struct block_encoder *b, struct model_cpu *c, const struct shape *s,
			 uint64_t pfn)
{
	struct model *m = &b->model;
	uint16_t node = c->head[s->list];
	unsigned int depth = 0;

	while (node != NIL && m->pfn[node] != pfn && depth < DEPTH_MAX) {
		node = m->below[node];
		depth++;
	}
	if (node == NIL || depth == DEPTH_MAX) {
		encode_explicit(b, COLUMN_ALLOC, EXPLICIT, pfn, c->last_of[s->list]);
		return;
	}
	put(&b->column[COLUMN_ALLOC], depth);
	model_take(m, c, s->list, node);
}

static void encode_follow(struct block_encoder *b, enum column column, const struct shape *s,
			  uint64_t pfn, uint64_t last, uint16_t node)
{
	const struct model *m = &b->model;
	unsigned int k = 0;

	if (node != NIL)
		node = m->successor[node];
	if (node != NIL && m->pfn[node] == pfn) {
		put(&b->column[column], FOLLOW_NEXT);
		return;
	}
	if (pfn == last + s->frames || pfn == last - s->frames) {
		put(&b->column[column], pfn > last ? FOLLOW_UP : FOLLOW_DOWN);
		return;
	}
	while (node != NIL && m->pfn[node] != pfn && k < FOLLOW_MAX) {
		node = m->successor[node];
		k++;
	}
	if (node != NIL && k < FOLLOW_MAX)
		put(&b->column[column], FOLLOW_SKIP + k - 1);
	else
		encode_explicit(b, column, EXPLICIT, pfn, last);
}

static void encode_step(struct block_encoder *b, enum column column, unsigned int up,
			unsigned int first, const struct shape *s, uint64_t pfn, uint64_t last)
{
	if (pfn == last + s->frames)
		put(&b->column[column], up);
	else if (pfn == last - s->frames)
		put(&b->column[column], up + 1);
	else
		encode_explicit(b, column, first, pfn, last);
}

static void encode_pfn(struct block_encoder *b, uint16_t i, const struct event *e)
{
	const struct shape *s = &b->shapes[b->shape_of[i]];
	struct model *m = &b->model;
	struct model_cpu *c = &m->cpus[b->cpu_of[i]];

	switch (s->group) {
	case GROUP_ALLOC:
		encode_alloc(b, c, s, e->pfn);
		model_alloc(m, c, i, e->pfn, s->list, b->cpu_of[i] * 61U + b->shape_of[i]);
		break;
	case GROUP_FREE:
		encode_follow(b, COLUMN_FREE, s, e->pfn, c->last_free, c->free_node);
		model_free(m, c, i, e->pfn, s->list);
		break;
	case GROUP_REFILL:
		encode_step(b, COLUMN_REFILL, 0, EXPLICIT, s, e->pfn, c->last_refill);
		model_refill(m, c, i, e->pfn, s->list);
		break;
	case GROUP_DRAIN:
		encode_follow(b, COLUMN_DRAIN, s, e->pfn, c->last_drain, c->drain_node);
		model_drain(m, c, e->pfn, s->list);
		break;
	case GROUP_OTHER:
		if (e->pfn == c->last_alloc)
			put(&b->column[COLUMN_OTHER], OTHER_ALLOCATED);
		else
			encode_step(b, COLUMN_OTHER, OTHER_UP, EXPLICIT_OTHER, s, e->pfn,
				    c->last_other);
		c->last_other = e->pfn;
		break;
	default:
		break;
	}
	if (s->has_arg)
		bytes_put_varint(&b->column[COLUMN_ARG], e->arg);
}

int block_encode(struct block_encoder *encoder, const struct event *events, size_t n,
		 uint64_t first_event, struct bytes *out)
{
	struct block_encoder *b = encoder;
	bool failed;
	int ret = 0;

	if (columns_reserve(b->column, n))
		return -ENOMEM;
	for (size_t i = 0; i < COLUMNS; i++)
		b->column[i].size = 0;
	encode_dictionaries(b, events, n);
	if (model_reset(&b->model, b->nr_cpus, n))
		return -ENOMEM;
	encode_ops(b, events, n);
	encode_meta(b, encode_times(b, events, n));
	for (size_t i = 0; i < n; i++)
		encode_pfn(b, (uint16_t)i, &events[i]);
	flush_bits(&b->pfn_bits);

	bytes_put_u64(out, first_event);
	bytes_put_u64(out, events[0].time_ns);
	bytes_put_u64(out, events[n - 1].time_ns);
	bytes_put_u32(out, (uint32_t)n);
	bytes_put_u32(out, 0);
	failed = b->high.failed;
	for (size_t i = 0; i < COLUMNS; i++)
		failed |= b->column[i].failed;
	for (size_t i = 0; !failed && !ret && i < COLUMNS; i++)
		ret = packed_put(b->zstd, out, b->column[i].data, b->column[i].size, NULL, 0);
	return failed || out->failed ? -ENOMEM : ret;
}
