/* SPDX-License-Identifier: MIT */
/*
 * Encoder and decoder run the same small model of per-CPU page lists over the block's events, so that
 * most frame numbers cost a symbol that is nearly always the same one. Nothing in the model can be
 * wrong, only expensive: whatever it does not predict is written as a difference.
 *
 * Speed decides the decoder's shape. Every column has a buffer large enough for the most a block of
 * this size can take from it, so the loop over events needs no bounds checks; that each column was
 * used up exactly is checked once, at the end.
 */
#include "traces/trace_codec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum column {
	COLUMN_META,	/* time unit, cpus, op shapes */
	COLUMN_CPU,	/* per event: index into META's cpus */
	COLUMN_OP,	/* cpu by cpu: index into META's shapes, or "context changes" */
	COLUMN_CONTEXT, /* cpu by cpu: the contexts changed to */
	COLUMN_TIME,	/* 4 classes: how long since the event before, as a bucket */
	COLUMN_TIME_BITS = COLUMN_TIME + 4, /* where in its bucket */
	COLUMN_ALLOC,			    /* symbols that tell the pfn, by group */
	COLUMN_FREE,
	COLUMN_REFILL,
	COLUMN_DRAIN,
	COLUMN_OTHER,
	COLUMN_PFN_BITS,
	COLUMN_ARG,
	COLUMNS,
};

#define NIL	       UINT16_C(0xffff) /* no node; a block has at most 0xffff events */
#define LIST_CLASSES   64U
#define HASH_SIZE      65536U
#define BLOCK_TYPES    32768U
#define STREAM_TAILS   4096U
#define DEPTH_MAX      60U /* of a hit below the head of a list */
#define FOLLOW_MAX     60U /* successors looked at */
#define EXPLICIT       64U /* symbols from here on: a bucket */
#define EXPLICIT_OTHER 4U
#define SHAPES_MAX     65535U
#define CPUS_MAX       4096U

_Static_assert(BLOCK_EVENTS_MAX <= NIL, "an event's number must fit a node");

enum follow_symbol {
	FOLLOW_NEXT = 0, /* the successor of the one before */
	FOLLOW_UP = 1,	 /* the frames behind the one before */
	FOLLOW_DOWN = 2, /* the frames before it */
	FOLLOW_SKIP = 3, /* + k: the (k + 2)-th successor */
};

enum other_symbol {
	OTHER_ALLOCATED = 0, /* the frame allocated last on this cpu */
	OTHER_UP = 1,
	OTHER_DOWN = 2,
};

/* ---- the model ---- */

/* One CPU of the block. A node is the number of an event in the block. */
struct model_cpu {
	uint64_t last_free, last_refill, last_drain, last_other, last_alloc;
	uint64_t last_of[LIST_CLASSES]; /* frame allocated last from that list */
	uint16_t free_node,
		drain_node; /* event that last concerned last_free, last_drain; or NIL */
	uint16_t head[LIST_CLASSES], tail[LIST_CLASSES];
	uint16_t freed[LIST_CLASSES]; /* last free that went to that list */
};

struct model {
	/* By node. */
	uint64_t *pfn;
	uint16_t *below;		    /* next towards the tail of its list */
	uint16_t *successor;		    /* next of its stream */
	uint16_t hash[HASH_SIZE];	    /* pfn -> alloc or free that concerned it last */
	uint16_t stream_tail[STREAM_TAILS]; /* allocs: last one by cpu and shape */
	uint8_t block_type[BLOCK_TYPES];    /* pageblock -> migratetype class */
	struct model_cpu *cpus;
	size_t nr_cpus, nr_nodes; /* that there is room for */
};

static unsigned int type_class(unsigned int migratetype)
{
	return migratetype < 3 ? migratetype : 3;
}

static unsigned int order_class(unsigned int order)
{
	return (order < 15 ? order : 15) * 4;
}

static inline uint32_t pfn_hash(uint64_t pfn)
{
	return (uint32_t)(pfn * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static inline uint8_t *block_type_of(struct model *m, uint64_t pfn)
{
	return &m->block_type[pfn >> 9 & (BLOCK_TYPES - 1)];
}

static int model_reserve(struct model *m, size_t n)
{
	if (n <= m->nr_nodes)
		return 0;
	free(m->pfn);
	free(m->below);
	free(m->successor);
	m->pfn = calloc(n, sizeof(*m->pfn));
	m->below = calloc(n, sizeof(*m->below));
	m->successor = calloc(n, sizeof(*m->successor));
	m->nr_nodes = m->pfn && m->below && m->successor ? n : 0;
	return m->nr_nodes ? 0 : -ENOMEM;
}

static void model_free_memory(struct model *m)
{
	free(m->pfn);
	free(m->below);
	free(m->successor);
	free(m->cpus);
}

static int model_reset(struct model *m, size_t nr_cpus, size_t n)
{
	if (model_reserve(m, n))
		return -ENOMEM;
	if (m->nr_cpus < nr_cpus) {
		struct model_cpu *cpus = reallocarray(m->cpus, nr_cpus, sizeof(*cpus));

		if (!cpus)
			return -ENOMEM;
		m->cpus = cpus;
		m->nr_cpus = nr_cpus;
	}
	memset(m->hash, 0xff, sizeof(m->hash));
	memset(m->stream_tail, 0xff, sizeof(m->stream_tail));
	memset(m->block_type, MIGRATE_MOVABLE, sizeof(m->block_type));
	for (size_t i = 0; i < nr_cpus; i++) {
		struct model_cpu *c = &m->cpus[i];

		memset(c, 0, sizeof(*c));
		c->free_node = c->drain_node = NIL;
		memset(c->head, 0xff, sizeof(c->head));
		memset(c->tail, 0xff, sizeof(c->tail));
		memset(c->freed, 0xff, sizeof(c->freed));
	}
	return 0;
}

/* The alloc or free that last concerned @pfn. */
static inline uint16_t model_node(const struct model *m, uint64_t pfn)
{
	uint16_t node = m->hash[pfn_hash(pfn)];

	return node != NIL && m->pfn[node] == pfn ? node : NIL;
}

static inline void model_append(struct model *m, uint16_t *stream, uint16_t node)
{
	m->successor[node] = NIL;
	if (*stream != NIL)
		m->successor[*stream] = node;
	*stream = node;
}

/* Event @i allocated @pfn, which has been taken off its list. */
static inline void model_alloc(struct model *m, struct model_cpu *c, uint16_t i, uint64_t pfn,
			       unsigned int list, uint32_t stream)
{
	m->pfn[i] = pfn;
	c->last_alloc = c->last_of[list] = pfn;
	*block_type_of(m, pfn) = (uint8_t)(list & 3);
	m->hash[pfn_hash(pfn)] = i;
	model_append(m, &m->stream_tail[stream & (STREAM_TAILS - 1)], i);
}

/* Event @i freed @pfn: to the head of the list its pageblock's type names. */
static inline void model_free(struct model *m, struct model_cpu *c, uint16_t i, uint64_t pfn,
			      unsigned int order_list)
{
	unsigned int list = order_list + *block_type_of(m, pfn);
	uint16_t *slot = &m->hash[pfn_hash(pfn)];

	m->pfn[i] = pfn;
	c->last_free = pfn;
	c->free_node = *slot != NIL && m->pfn[*slot] == pfn ? *slot : NIL;
	*slot = i;
	m->below[i] = c->head[list];
	c->head[list] = i;
	if (c->tail[list] == NIL)
		c->tail[list] = i;
	model_append(m, &c->freed[list], i);
}

/* Event @i took @pfn from the buddy: to the tail of its list. */
static inline void model_refill(struct model *m, struct model_cpu *c, uint16_t i, uint64_t pfn,
				unsigned int list)
{
	m->pfn[i] = pfn;
	c->last_refill = pfn;
	*block_type_of(m, pfn) = (uint8_t)(list & 3);
	m->below[i] = NIL;
	if (c->tail[list] == NIL)
		c->head[list] = i;
	else
		m->below[c->tail[list]] = i;
	c->tail[list] = i;
}

static inline void model_drain(struct model *m, struct model_cpu *c, uint64_t pfn,
			       unsigned int list)
{
	c->last_drain = pfn;
	c->drain_node = model_node(m, pfn);
	*block_type_of(m, pfn) = (uint8_t)(list & 3);
}

/* Take @node's list up to and including @node off. */
static inline void model_take(struct model *m, struct model_cpu *c, unsigned int list,
			      uint16_t node)
{
	c->head[list] = m->below[node];
	if (c->head[list] == NIL)
		c->tail[list] = NIL;
}

/* ---- numbers as buckets: 4 per power of two ---- */

static inline unsigned int bucket_of(uint64_t v)
{
	unsigned int e;

	if (v < 4)
		return (unsigned int)v;
	e = log2_floor(v);
	return (e - 1) << 2 | (unsigned int)(v >> (e - 2) & 3);
}

/* How many bits say where in its bucket a number is. */
static inline unsigned int bucket_bits(unsigned int bucket)
{
	return bucket < 8 ? 0 : (bucket >> 2) - 1;
}

static inline uint64_t bucket_base(unsigned int bucket)
{
	return bucket < 8 ? bucket : (uint64_t)(4 | (bucket & 3)) << ((bucket >> 2) - 1);
}

/* ---- what encoder and decoder know of an op shape ---- */

enum group {
	GROUP_ALLOC,
	GROUP_FREE,
	GROUP_REFILL,
	GROUP_DRAIN,
	GROUP_OTHER,
	GROUP_NONE, /* no pfn */
};

static enum group group_of(unsigned int kind)
{
	switch (kind) {
	case EVENT_ALLOC:
		return GROUP_ALLOC;
	case EVENT_FREE:
		return GROUP_FREE;
	case EVENT_ZONE_LOCKED:
		return GROUP_REFILL;
	case EVENT_PCPU_DRAIN:
		return GROUP_DRAIN;
	default:
		return event_has_pfn(kind) ? GROUP_OTHER : GROUP_NONE;
	}
}

/* Columns of time: how long a step takes depends on whether the same goes on. */
static inline unsigned int time_class(unsigned int group, unsigned int group_before,
				      unsigned int cpu, unsigned int cpu_before)
{
	return group == group_before && cpu == cpu_before && group < 3 ? group : 3;
}

struct shape {
	uint32_t gfp;
	uint8_t kind, order, migratetype, flags;
	bool has_arg;
	uint8_t group, list;
	bool check;	    /* more to check than the pfn */
	uint64_t frames;    /* 2^order */
	uint64_t pfn_limit; /* highest pfn allowed */
	struct event event; /* what all its events have in common */
};

static void shape_derive(struct shape *s)
{
	s->group = (uint8_t)group_of(s->kind);
	s->list = (uint8_t)(order_class(s->order) +
			    (s->kind == EVENT_FREE ? 0 : type_class(s->migratetype)));
	s->frames = s->order < 64 ? UINT64_C(1) << s->order : 0;
}

/* The most raw bytes a column of a block of @n events can have. */
static size_t column_max(enum column column, size_t n)
{
	switch (column) {
	case COLUMN_META:
		return 32 + CPUS_MAX * 9 + n * 9;
	case COLUMN_CPU:
		return 2 * n;
	case COLUMN_OP:
		return 4 * n;
	case COLUMN_CONTEXT:
		return 5 * n;
	case COLUMN_TIME_BITS:
	case COLUMN_PFN_BITS:
		return 8 * n;
	case COLUMN_ARG:
		return 10 * n;
	default:
		return n;
	}
}

/*
 * Room for a block of @n events; the contents are lost. 16 bytes more, for loads and stores of whole
 * words at the end.
 */
static int columns_reserve(struct bytes column[COLUMNS], size_t n)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		size_t capacity = column_max((enum column)i, n) + 16;

		if (column[i].capacity >= capacity)
			continue;
		bytes_free(&column[i]);
		column[i].data = calloc(capacity, 1);
		if (!column[i].data)
			return -ENOMEM;
		column[i].capacity = capacity;
	}
	return 0;
}

static void columns_free(struct bytes column[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++)
		bytes_free(&column[i]);
}

/* ---- encoding ---- */

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
		unsigned int class = time_class(b->shapes[b->shape_of[i]].group,
						b->shapes[b->shape_of[i - 1]].group, b->cpu_of[i],
						b->cpu_of[i - 1]);

		put(&b->column[COLUMN_TIME + class], bucket);
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

/* ---- decoding ---- */

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
		d->bucket[i].base = bucket_base(i);
		d->bucket[i].bits = bucket_bits(i);
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
	       header->first_ns <= header->last_ns && !load_u32(payload + 28);
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
		.arg = s->kind == EVENT_ONLINE || s->kind == EVENT_OFFLINE,
		.kind = s->kind,
		.order = s->order,
		.migratetype = s->migratetype,
	};
	const char *field = event_check(&e, limits);

	if (field)
		return error_set(err, ERANGE, "%s out of range (kind %u, order %u, migratetype %u)",
				 field, s->kind, s->order, s->migratetype);
	s->check = s->kind == EVENT_ONLINE || s->kind == EVENT_OFFLINE || s->kind == EVENT_MOVE;
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
		if (s->kind < EVENT_KINDS) {
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
struct decode_state {
	const uint8_t *time[4];
	const uint8_t *symbol[GROUP_NONE];
	struct bit_reader time_bits, pfn_bits;
	struct cursor arg;
	uint64_t steps, steps_max; /* time since the first event, in units */
};

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
}

static int decode_finish(const struct block_decoder *d, const struct block_header *header,
			 const struct decode_state *st, struct error *err)
{
	bool ok = st->time_bits.at <= 8 * d->column[COLUMN_TIME_BITS].size &&
		  st->pfn_bits.at <= 8 * d->column[COLUMN_PFN_BITS].size && !st->arg.failed &&
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

static int decode_events(struct block_decoder *d, const struct block_header *header,
			 const struct event_limits *limits, struct decode_state *out,
			 struct event *events, struct error *err)
{
	struct decode_state st = *out; /* whose address nobody has, so it can live in registers */
	unsigned int group_before = GROUP_NONE, slot_before = 0;

	for (uint32_t i = 0; i < header->events; i++) {
		unsigned int slot = d->slot[i];
		struct decode_cpu *cpu = &d->cpus[slot];
		const struct shape *s = decode_op(d, cpu);
		struct event *e = &events[i];

		if (!s)
			return bad(err, "a cpu has more events than ops");
		if (i) {
			unsigned int class = time_class(s->group, group_before, slot, slot_before);
			uint64_t step = get_bucket(d, *st.time[class]++, &st.time_bits);

			if (step > st.steps_max - st.steps)
				return bad(err, "time beyond the block's end");
			st.steps += step;
		}
		group_before = s->group;
		slot_before = slot;
		*e = s->event;
		e->time_ns = header->first_ns + st.steps * d->unit;
		e->context = cpu->context;
		e->cpu = cpu->cpu;
		e->pfn = decode_pfn(d, &st, (uint16_t)i, s, (unsigned int)(s - d->shapes));
		if (s->has_arg)
			e->arg = cursor_varint(&st.arg);
		if (e->pfn > s->pfn_limit || (s->check && event_check(e, limits)))
			return event_error(err, i, e);
	}
	*out = st;
	return 0;
}

static size_t drop_unknown(struct event *events, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (events[i].kind < EVENT_KINDS)
			events[kept++] = events[i];
	return kept;
}

int block_decode(struct block_decoder *decoder, const uint8_t *payload, size_t bytes,
		 const struct event_limits *limits, struct event *events, size_t *n,
		 struct error *err)
{
	struct block_decoder *d = decoder;
	struct cursor in = {.at = payload + BLOCK_HEADER_BYTES, .end = payload + bytes};
	struct block_header header;
	struct decode_state st;
	int ret = 0;

	if (!block_header_decode(payload, bytes, &header))
		return bad(err, "its counts are impossible");
	ret = decoder_reserve(d, header.events);
	for (size_t i = 0; !ret && i < COLUMNS; i++)
		ret = packed_get(d->zstd, &in, &d->column[i],
				 column_max((enum column)i, header.events), NULL, 0);
	if (ret)
		return error_set(err, -ret, "its columns do not unpack");
	ret = decode_meta(d, limits, err);
	if (!ret)
		ret = decode_cpus(d, header.events, err);
	if (!ret)
		ret = decode_ops(d, header.events, err);
	if (!ret && model_reset(&d->model, d->nr_cpus, header.events))
		ret = error_set(err, ENOMEM, "out of memory");
	if (ret)
		return ret;
	decode_start(d, &header, &st);
	ret = decode_events(d, &header, limits, &st, events, err);
	if (!ret)
		ret = decode_finish(d, &header, &st, err);
	if (ret)
		return ret;
	*n = d->skips ? drop_unknown(events, header.events) : header.events;
	return 0;
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
