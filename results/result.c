/* SPDX-License-Identifier: MIT */
#include "results/result.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/bits.h"

/*
 * On the wire a record is a head and a body of head.bytes bytes. The body holds the fields in the
 * order of the struct, unaligned and native, save that
 *	a string is its length (uint32_t, NO_STRING: NULL), its bytes and a NUL;
 *	an array of uint16_t starts at an even offset.
 * The reader trusts nothing: it checks every length against what is left, and every enum. Whoever shares
 * the pipe may have written into it, so a body is followed only if it is the one that was hashed.
 */
#define HEAD_MAGIC 0x71726563U
#define NO_STRING  UINT32_MAX
#define BODY_MAX   (UINT64_C(1) << 30)
#define READ_STEP  (UINT64_C(1) << 20) /* a false length must not allocate a gigabyte */
#define CAUSE_MAX  255U		       /* bytes of a cause: it names a row of a table */

struct head {
	uint32_t magic, kind;
	uint64_t bytes, hash;
};

static uint64_t hash_of(const struct head *head, const uint8_t *body)
{
	return XXH3_64bits_withSeed(body, head->bytes, head->kind);
}

/* ---- names ---- */

static const char *name_of(const char *const *names, size_t n, unsigned int i)
{
	return i < n ? names[i] : "?";
}

const char *run_status_name(enum run_status status)
{
	static const char *const names[] = {"running", "done", "failed", "crashed", "interrupted"};

	return name_of(names, ARRAY_SIZE(names), status);
}

const char *latency_op_name(enum latency_op op)
{
	static const char *const names[] = {"alloc", "free", "touch", "late"};

	return name_of(names, ARRAY_SIZE(names), op);
}

const char *latency_class_name(enum latency_class c)
{
	static const char *const names[] = {"0", "1-3", "4-8", "9-10"};

	return name_of(names, ARRAY_SIZE(names), c);
}

const char *run_role_name(enum run_role role)
{
	static const char *const names[] = {"reference", "candidate", "harness"};

	return name_of(names, ARRAY_SIZE(names), role);
}

const char *latency_path_name(enum latency_path path)
{
	static const char *const names[LATENCY_PATHS] = {"plain", "hit", "refill", "fallback"};

	return name_of(names, ARRAY_SIZE(names), path);
}

const char *setting_role_name(enum setting_role role)
{
	static const char *const names[] = {"question", "care", "fact"};

	return name_of(names, ARRAY_SIZE(names), role);
}

const char *result_flag_name(enum result_flag_kind flag)
{
	static const char *const names[FLAG_KINDS] = {"zeroed", "pcp_hit", "refill", "fallback",
						      "needs_install"};

	return name_of(names, ARRAY_SIZE(names), flag);
}

const char *blockmap_layer_name(enum blockmap_layer layer)
{
	static const char *const names[BLOCKMAP_LAYERS] = {"held", "unmovable", "youngest",
							   "oldest"};

	return name_of(names, ARRAY_SIZE(names), layer);
}

const char *freelist_source_name(enum freelist_source source)
{
	static const char *const names[] = {"engine", "backend", "kernel", "explained"};

	return name_of(names, ARRAY_SIZE(names), source);
}

const char *accuracy_variant_name(enum accuracy_variant variant)
{
	static const char *const names[ACCURACY_VARIANTS] = {"b", "a", "lifo"};

	return name_of(names, ARRAY_SIZE(names), variant);
}

const char *accuracy_class_name(enum accuracy_class c)
{
	static const char *const names[ACCURACY_CLASSES] = {"hit", "refill", "direct", "all"};

	return name_of(names, ARRAY_SIZE(names), c);
}

const char *accuracy_dimension_name(enum accuracy_dimension dimension)
{
	static const char *const names[ACCURACY_DIMENSIONS] = {"total", "order", "migratetype",
							       "tenth", "cause"};

	return name_of(names, ARRAY_SIZE(names), dimension);
}

/* ---- ages ---- */

#define AGE_BITS 8U

uint16_t result_age_code(uint64_t age_ns)
{
	uint64_t v = age_ns / 1000000 + 1;
	unsigned int e = 63U - (unsigned int)__builtin_clzll(v);
	uint64_t behind = e > AGE_BITS ? v >> (e - AGE_BITS) : v << (AGE_BITS - e);

	return (uint16_t)(e << AGE_BITS | (behind & low_bits(AGE_BITS)));
}

uint64_t result_age_ms(uint16_t code)
{
	unsigned int e = code >> AGE_BITS;
	uint64_t v = UINT64_C(1) << AGE_BITS | (code & low_bits(AGE_BITS));

	/* Rounded up, since a shorter age would have another code. */
	v = e > AGE_BITS ? v << (e - AGE_BITS) : (v + low_bits(AGE_BITS - e)) >> (AGE_BITS - e);
	return v - 1;
}

/* ---- packing ---- */

struct packer {
	uint8_t *data; /* whole records, then this one's head and body */
	size_t used, size;
	size_t body; /* where it starts */
	bool failed; /* out of memory */
};

static void pack(struct packer *p, const void *data, size_t bytes)
{
	if (p->failed)
		return;
	if (bytes > p->size - p->used) {
		size_t size = 2 * p->size + bytes;
		uint8_t *grown = realloc(p->data, size);

		if (!grown) {
			p->failed = true;
			return;
		}
		p->data = grown;
		p->size = size;
	}
	if (bytes > 0)
		memcpy(p->data + p->used, data, bytes);
	p->used += bytes;
}

#define PACK(p, value) pack((p), &(value), sizeof(value))

static void pack_u32(struct packer *p, uint32_t v)
{
	PACK(p, v);
}

static void pack_string(struct packer *p, const char *s)
{
	if (!s) {
		pack_u32(p, NO_STRING);
		return;
	}
	pack_u32(p, (uint32_t)min_u64(strlen(s), NO_STRING - 1));
	pack(p, s, strlen(s) + 1);
}

static void pack_run(struct packer *p, const struct result_run *run)
{
	pack_string(p, run->allocator);
	pack_string(p, run->spec);
	pack_string(p, run->options);
	pack_string(p, run->allocator_summary);
	pack_u32(p, run->role);
	pack_string(p, run->trace);
	pack_string(p, run->trace_digest);
	pack_string(p, run->trace_note);
	pack_string(p, run->mode);
	pack_string(p, run->label);
	pack_string(p, run->point_id);
	pack_string(p, run->build_id);
	PACK(p, run->seed);
	PACK(p, run->start_ns);
	PACK(p, run->threads);
	PACK(p, run->order);
}

static void pack_setting(struct packer *p, const struct result_setting *setting)
{
	pack_string(p, setting->key);
	pack_string(p, setting->value);
	pack_string(p, setting->unit);
	pack_u32(p, setting->role);
	pack_u32(p, setting->usual);
	pack_u32(p, setting->type);
}

static void pack_row(struct packer *p, const struct result_metric_row *row)
{
	PACK(p, row->metric);
	pack_string(p, row->source);
	pack_string(p, row->info.name);
	pack_string(p, row->info.unit);
	pack_string(p, row->info.help);
	pack_u32(p, row->info.direction);
	pack_u32(p, row->info.kind);
	pack_string(p, row->info.model);
}

static void pack_holder(struct packer *p, const struct result_holder *h)
{
	PACK(p, h->sample);
	PACK(p, h->block);
	PACK(p, h->rank);
	pack_string(p, h->class_name);
	PACK(p, h->order);
	PACK(p, h->migratetype);
	PACK(p, h->gfp);
	PACK(p, h->context);
	PACK(p, h->frames);
	PACK(p, h->since_ns);
}

static void pack_outlier(struct packer *p, const struct result_outlier *o)
{
	PACK(p, o->ns);
	PACK(p, o->event);
	PACK(p, o->time_ns);
	PACK(p, o->pfn);
	PACK(p, o->rank);
	pack_u32(p, o->op);
	pack_u32(p, o->path);
	PACK(p, o->order);
	PACK(p, o->migratetype);
	PACK(p, o->cpu);
}

static void pack_latency(struct packer *p, const struct result_latency *latency)
{
	void *blob = NULL;
	size_t bytes = 0;

	pack_u32(p, latency->op);
	pack_u32(p, latency->order_class);
	pack_u32(p, latency->path);
	PACK(p, latency->cpu);
	if (histogram_encode(latency->histogram, &blob, &bytes) < 0)
		p->failed = true;
	pack(p, blob, bytes);
	free(blob);
}

/* A cause too long is cut between two characters. */
static void pack_accuracy(struct packer *p, const struct result_accuracy *a)
{
	char cause[CAUSE_MAX + 1] = "";
	size_t length = a->cause ? strnlen(a->cause, CAUSE_MAX + 1) : 0;

	if (length > CAUSE_MAX)
		for (length = CAUSE_MAX; length > 0 && (a->cause[length] & 0xc0) == 0x80;)
			length--;
	if (a->cause)
		memcpy(cause, a->cause, length);
	pack_u32(p, a->variant);
	pack_u32(p, a->class_of);
	pack_u32(p, a->dimension);
	PACK(p, a->key);
	pack_string(p, a->cause ? cause : NULL);
	PACK(p, a->choices);
	PACK(p, a->correct);
}

static void pack_blockmap(struct packer *p, const struct result_blockmap *map)
{
	static const uint8_t pad;

	PACK(p, map->sample);
	PACK(p, map->first_block);
	pack_u32(p, map->layer);
	if ((p->used - p->body) % 2)
		PACK(p, pad);
	pack(p, map->values, map->n * sizeof(*map->values));
}

static void pack_sample(struct packer *p, const struct result_sample *sample)
{
	PACK(p, sample->index);
	pack_u32(p, sample->end);
	PACK(p, sample->event);
	PACK(p, sample->time_ns);
	PACK(p, sample->state);
}

/* The kinds that are one or a few numbers or texts. Return: false for a kind that does not exist. */
static bool pack_small(struct packer *p, const struct result_record *r)
{
	switch (r->kind) {
	case RESULT_METRIC:
		PACK(p, r->metric.metric);
		PACK(p, r->metric.value);
		return true;
	case RESULT_SPREAD:
		PACK(p, r->spread.metric);
		PACK(p, r->spread.value);
		return true;
	case RESULT_VALUE:
		PACK(p, r->value.sample);
		PACK(p, r->value.metric);
		PACK(p, r->value.value);
		return true;
	case RESULT_COUNTER:
		PACK(p, r->counter.sample);
		PACK(p, r->counter.metric);
		PACK(p, r->counter.value);
		return true;
	case RESULT_FLAG:
		pack_u32(p, r->flag.flag);
		PACK(p, r->flag.allocs);
		return true;
	case RESULT_DOUBT:
		pack_u32(p, r->doubt.doubt);
		PACK(p, r->doubt.count);
		return true;
	case RESULT_WARNING:
		pack_string(p, r->warning.text);
		return true;
	case RESULT_ALIVE:
		return true;
	case RESULT_DONE:
		pack_u32(p, r->done.status);
		pack_string(p, r->done.text);
		PACK(p, r->done.code);
		return true;
	default:
		return false;
	}
}

/* Return: false for a kind that does not exist. */
static bool pack_body(struct packer *p, const struct result_record *r)
{
	switch (r->kind) {
	case RESULT_RUN:
		pack_run(p, &r->run);
		return true;
	case RESULT_SETTING:
		pack_setting(p, &r->setting);
		return true;
	case RESULT_METRIC_ROW:
		pack_row(p, &r->row);
		return true;
	case RESULT_SAMPLE:
		pack_sample(p, &r->sample);
		return true;
	case RESULT_LATENCY:
		pack_latency(p, &r->latency);
		return true;
	case RESULT_OUTLIER:
		pack_outlier(p, &r->outlier);
		return true;
	case RESULT_FREELIST:
		PACK(p, r->freelist.sample);
		pack_u32(p, r->freelist.source);
		PACK(p, r->freelist.blocks);
		return true;
	case RESULT_BLOCKMAP:
		pack_blockmap(p, &r->blockmap);
		return true;
	case RESULT_HOLDER:
		pack_holder(p, &r->holder);
		return true;
	case RESULT_ACCURACY:
		pack_accuracy(p, &r->accuracy);
		return true;
	default:
		return pack_small(p, r);
	}
}

/* ---- the descriptor ---- */

/* Wait for a descriptor that somebody made non-blocking. */
static void wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	poll(&p, 1, -1);
}

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && errno == EAGAIN)
			wait_for(fd, POLLOUT);
		else if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			bytes -= (size_t)n;
		}
	}
	return 0;
}

/* Return: how many of @bytes came before the end of the stream, or a negative errno. */
static ssize_t read_all(int fd, uint8_t *data, size_t bytes)
{
	size_t got = 0;

	while (got < bytes) {
		ssize_t n = read(fd, data + got, bytes - got);

		if (n == 0)
			break;
		if (n < 0 && errno == EAGAIN)
			wait_for(fd, POLLIN);
		else if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			got += (size_t)n;
	}
	return (ssize_t)got;
}

int result_writer_put(struct result_writer *w, const struct result_record *record,
		      struct error *err)
{
	struct head head = {.magic = HEAD_MAGIC, .kind = record->kind};
	struct packer p = {.data = w->data, .used = w->used, .size = w->size};
	bool known;

	PACK(&p, head); /* again below, with the length */
	p.body = p.used;
	known = pack_body(&p, record);
	w->data = p.data;
	w->size = p.size;
	if (!known)
		return error_set(err, EINVAL, "results: unknown record kind %u", record->kind);
	head.bytes = p.used - w->used - sizeof(head);
	if (p.failed || head.bytes > BODY_MAX)
		return error_set(err, p.failed ? ENOMEM : EMSGSIZE,
				 "results: no memory for a record, or it is too large");
	head.hash = hash_of(&head, p.data + p.body);
	memcpy(p.data + w->used, &head, sizeof(head));
	w->used = p.used;
	return 0;
}

int result_writer_flush(struct result_writer *w, struct error *err)
{
	int rc = write_all(w->fd, w->data, w->used);

	w->used = 0;
	if (rc == -EPIPE)
		return error_set(err, EPIPE, "results: nobody reads them any more");
	if (rc < 0)
		return error_set(err, -rc, "results: cannot write: %s", strerror(-rc));
	return 0;
}

void result_writer_release(struct result_writer *w)
{
	free(w->data);
	*w = (struct result_writer){.fd = -1};
}

int result_write(int fd, const struct result_record *record, struct error *err)
{
	struct result_writer w = {.fd = fd};
	int rc = result_writer_put(&w, record, err);

	if (!rc)
		rc = result_writer_flush(&w, err);
	result_writer_release(&w);
	return rc;
}

/* ---- unpacking ---- */

struct unpacker {
	const uint8_t *data;
	size_t used, size;
	bool bad; /* something did not fit: every value from here on is 0 or NULL */
};

/* The next @bytes in place, or NULL. */
static const void *unpack_bytes(struct unpacker *u, size_t bytes)
{
	const void *at = u->data + u->used;

	if (u->bad || bytes > u->size - u->used) {
		u->bad = true;
		return NULL;
	}
	u->used += bytes;
	return at;
}

static void unpack(struct unpacker *u, void *value, size_t bytes)
{
	const void *at = unpack_bytes(u, bytes);

	if (at)
		memcpy(value, at, bytes);
	else
		memset(value, 0, bytes);
}

#define UNPACK(u, value) unpack((u), &(value), sizeof(value))

/* A number below @limit. */
static uint32_t unpack_below(struct unpacker *u, uint32_t limit)
{
	uint32_t v;

	UNPACK(u, v);
	if (v >= limit) {
		u->bad = true;
		return 0;
	}
	return v;
}

static const char *unpack_string(struct unpacker *u)
{
	const char *s;
	uint32_t length;

	UNPACK(u, length);
	if (u->bad || length == NO_STRING)
		return NULL;
	s = unpack_bytes(u, (size_t)length + 1);
	if (s && strnlen(s, (size_t)length + 1) != length) {
		u->bad = true;
		return NULL;
	}
	return s;
}

static void unpack_run(struct unpacker *u, struct result_run *run)
{
	run->allocator = unpack_string(u);
	run->spec = unpack_string(u);
	run->options = unpack_string(u);
	run->allocator_summary = unpack_string(u);
	run->role = (enum run_role)unpack_below(u, ROLE_HARNESS + 1);
	run->trace = unpack_string(u);
	run->trace_digest = unpack_string(u);
	run->trace_note = unpack_string(u);
	run->mode = unpack_string(u);
	run->label = unpack_string(u);
	run->point_id = unpack_string(u);
	run->build_id = unpack_string(u);
	UNPACK(u, run->seed);
	UNPACK(u, run->start_ns);
	UNPACK(u, run->threads);
	UNPACK(u, run->order);
}

/* A text that must be there. */
static const char *unpack_text(struct unpacker *u)
{
	const char *s = unpack_string(u);

	if (!s)
		u->bad = true;
	return s;
}

static void unpack_setting(struct unpacker *u, struct result_setting *setting)
{
	setting->key = unpack_text(u);
	setting->value = unpack_text(u);
	setting->unit = unpack_text(u);
	setting->role = (enum setting_role)unpack_below(u, SETTING_FACT + 1);
	setting->usual = unpack_below(u, 2);
	setting->type = (enum setting_type)unpack_below(u, SETTING_BOOL + 1);
}

/* The number of a metric that a row brings. */
static uint32_t unpack_row_number(struct unpacker *u)
{
	uint32_t metric = unpack_below(u, METRIC_COUNT + RESULT_ROWS_MAX);

	if (metric < METRIC_COUNT)
		u->bad = true;
	return metric;
}

static void unpack_row(struct unpacker *u, struct result_metric_row *row)
{
	row->metric = unpack_row_number(u);
	row->source = unpack_text(u);
	row->info.name = unpack_text(u);
	row->info.unit = unpack_text(u);
	row->info.help = unpack_text(u);
	row->info.direction = (enum metric_direction)unpack_below(u, METRIC_LOWER + 1);
	row->info.kind = (enum metric_kind)unpack_below(u, METRIC_MODELLED + 1);
	row->info.model = unpack_string(u);
	if ((row->info.model != NULL) != (row->info.kind == METRIC_MODELLED))
		u->bad = true;
}

static void unpack_holder(struct unpacker *u, struct result_holder *h)
{
	UNPACK(u, h->sample);
	UNPACK(u, h->block);
	UNPACK(u, h->rank);
	h->class_name = unpack_text(u);
	h->order = unpack_below(u, RESULT_ORDERS);
	UNPACK(u, h->migratetype);
	UNPACK(u, h->gfp);
	UNPACK(u, h->context);
	UNPACK(u, h->frames);
	UNPACK(u, h->since_ns);
}

static void unpack_outlier(struct unpacker *u, struct result_outlier *o)
{
	UNPACK(u, o->ns);
	UNPACK(u, o->event);
	UNPACK(u, o->time_ns);
	UNPACK(u, o->pfn);
	UNPACK(u, o->rank);
	o->op = (enum latency_op)unpack_below(u, LATENCY_OPS);
	o->path = (enum latency_path)unpack_below(u, LATENCY_PATHS);
	o->order = unpack_below(u, RESULT_ORDERS);
	UNPACK(u, o->migratetype);
	UNPACK(u, o->cpu);
}

static void unpack_latency(struct unpacker *u, struct result_latency *latency,
			   struct histogram *histogram)
{
	size_t bytes;
	const void *blob;

	latency->op = (enum latency_op)unpack_below(u, LATENCY_OPS);
	latency->order_class = (enum latency_class)unpack_below(u, LATENCY_CLASSES);
	latency->path = (enum latency_path)unpack_below(u, LATENCY_PATHS);
	UNPACK(u, latency->cpu);
	bytes = u->size - u->used;
	blob = unpack_bytes(u, bytes);
	if (!blob || histogram_decode(blob, bytes, histogram, NULL) < 0)
		u->bad = true;
	latency->histogram = histogram;
}

static void unpack_blockmap(struct unpacker *u, struct result_blockmap *map)
{
	UNPACK(u, map->sample);
	UNPACK(u, map->first_block);
	map->layer = (enum blockmap_layer)unpack_below(u, BLOCKMAP_LAYERS);
	if (u->used % 2)
		unpack_bytes(u, 1);
	map->n = (u->size - u->used) / sizeof(*map->values);
	/* Aligned: the buffer is malloc'ed and the offset even. */
	map->values = (const void *)unpack_bytes(u, map->n * sizeof(*map->values));
}

static void unpack_accuracy(struct unpacker *u, struct result_accuracy *a)
{
	/* Of each dimension; a cause's rank has no limit. */
	static const uint32_t keys[ACCURACY_DIMENSIONS] = {
		[ACCURACY_TOTAL] = 1,
		[ACCURACY_ORDER] = RESULT_ORDERS,
		[ACCURACY_MIGRATETYPE] = 1U << 8,
		[ACCURACY_TENTH] = 10,
		[ACCURACY_CAUSE] = UINT32_MAX,
	};

	a->variant = (enum accuracy_variant)unpack_below(u, ACCURACY_VARIANTS);
	a->class_of = (enum accuracy_class)unpack_below(u, ACCURACY_CLASSES);
	a->dimension = (enum accuracy_dimension)unpack_below(u, ACCURACY_DIMENSIONS);
	a->key = unpack_below(u, keys[a->dimension]);
	a->cause = unpack_string(u);
	UNPACK(u, a->choices);
	UNPACK(u, a->correct);
	if ((a->cause != NULL) != (a->dimension == ACCURACY_CAUSE) || a->correct > a->choices ||
	    (a->cause && strlen(a->cause) > CAUSE_MAX))
		u->bad = true;
}

/* The counterpart of pack_small(). */
static bool unpack_small(struct unpacker *u, struct result_record *r)
{
	switch (r->kind) {
	case RESULT_METRIC:
		r->metric.metric = unpack_below(u, METRIC_COUNT + RESULT_ROWS_MAX);
		UNPACK(u, r->metric.value);
		return true;
	case RESULT_SPREAD:
		r->spread.metric = unpack_below(u, METRIC_COUNT + RESULT_ROWS_MAX);
		UNPACK(u, r->spread.value);
		return true;
	case RESULT_VALUE:
		UNPACK(u, r->value.sample);
		r->value.metric = unpack_row_number(u);
		UNPACK(u, r->value.value);
		return true;
	case RESULT_COUNTER:
		UNPACK(u, r->counter.sample);
		r->counter.metric = unpack_row_number(u);
		UNPACK(u, r->counter.value);
		return true;
	case RESULT_FLAG:
		r->flag.flag = (enum result_flag_kind)unpack_below(u, FLAG_KINDS);
		UNPACK(u, r->flag.allocs);
		return true;
	case RESULT_DOUBT:
		r->doubt.doubt = (enum result_doubt_kind)unpack_below(u, DOUBT_KINDS);
		UNPACK(u, r->doubt.count);
		return true;
	case RESULT_WARNING:
		r->warning.text = unpack_string(u);
		return true;
	case RESULT_ALIVE:
		return true;
	case RESULT_DONE:
		r->done.status = (enum run_status)unpack_below(u, RUN_INTERRUPTED + 1);
		r->done.text = unpack_string(u);
		UNPACK(u, r->done.code);
		return true;
	default:
		return false;
	}
}

static void unpack_sample(struct unpacker *u, struct result_sample *sample)
{
	UNPACK(u, sample->index);
	sample->end = unpack_below(u, 2);
	UNPACK(u, sample->event);
	UNPACK(u, sample->time_ns);
	UNPACK(u, sample->state);
}

/* @histogram: where a latency record's goes. Return: false if the body is not sound. */
static bool unpack_body(struct unpacker *u, uint32_t kind, struct result_record *r,
			struct histogram *histogram)
{
	memset(r, 0, sizeof(*r));
	r->kind = (enum result_kind)kind;
	switch (r->kind) {
	case RESULT_RUN:
		unpack_run(u, &r->run);
		break;
	case RESULT_SETTING:
		unpack_setting(u, &r->setting);
		break;
	case RESULT_METRIC_ROW:
		unpack_row(u, &r->row);
		break;
	case RESULT_SAMPLE:
		unpack_sample(u, &r->sample);
		break;
	case RESULT_LATENCY:
		unpack_latency(u, &r->latency, histogram);
		break;
	case RESULT_OUTLIER:
		unpack_outlier(u, &r->outlier);
		break;
	case RESULT_FREELIST:
		UNPACK(u, r->freelist.sample);
		r->freelist.source = (enum freelist_source)unpack_below(u, FREELIST_EXPLAINED + 1);
		UNPACK(u, r->freelist.blocks);
		break;
	case RESULT_BLOCKMAP:
		unpack_blockmap(u, &r->blockmap);
		break;
	case RESULT_HOLDER:
		unpack_holder(u, &r->holder);
		break;
	case RESULT_ACCURACY:
		unpack_accuracy(u, &r->accuracy);
		break;
	default:
		if (!unpack_small(u, r))
			return false;
	}
	return !u->bad && u->used == u->size;
}

static int read_failed(ssize_t rc, struct error *err)
{
	if (rc < 0)
		return error_set(err, (int)-rc, "results: cannot read: %s", strerror((int)-rc));
	return error_set(err, EPROTO, "results: the stream stops inside a record");
}

/* The body, grown as it arrives. */
static int read_body(int fd, size_t bytes, uint8_t **body, struct error *err)
{
	size_t got = 0;

	*body = NULL;
	do {
		size_t step = (size_t)min_u64(bytes - got, READ_STEP);
		uint8_t *grown = realloc(*body, got + max_u64(step, 1));
		ssize_t n;

		if (!grown)
			return error_set(err, ENOMEM, "results: no memory");
		*body = grown;
		n = read_all(fd, grown + got, step);
		if (n < (ssize_t)step)
			return read_failed(n, err);
		got += step;
	} while (got < bytes);
	return 0;
}

/* Take a whole record apart and pass it on. */
static int deliver(const struct head *head, const uint8_t *body, struct result_sink *sink,
		   struct error *err)
{
	struct unpacker u = {.data = body, .size = head->bytes};
	struct histogram *histogram = NULL;
	struct result_record record;
	int rc;

	if (hash_of(head, body) != head->hash)
		return error_set(err, EPROTO, "results: something else was written among them");
	if (head->kind == RESULT_LATENCY) {
		histogram = malloc(sizeof(*histogram));
		if (!histogram)
			return error_set(err, ENOMEM, "results: no memory");
	}
	if (unpack_body(&u, head->kind, &record, histogram))
		rc = sink->take(sink, &record, err);
	else
		rc = error_set(err, EPROTO, "results: a damaged record of kind %u", head->kind);
	free(histogram);
	return rc < 0 ? rc : 1;
}

static int check_head(const struct head *head, struct error *err)
{
	if (head->magic != HEAD_MAGIC || head->bytes > BODY_MAX)
		return error_set(err, EPROTO, "results: something else was written among them");
	return 0;
}

int result_read(int fd, struct result_sink *sink, struct error *err)
{
	struct head head;
	uint8_t *body;
	ssize_t n = read_all(fd, (uint8_t *)&head, sizeof(head));
	int rc;

	if (n == 0)
		return 0;
	if (n < (ssize_t)sizeof(head))
		return read_failed(n, err);
	rc = check_head(&head, err);
	if (rc)
		return rc;
	rc = read_body(fd, head.bytes, &body, err);
	if (rc == 0)
		rc = deliver(&head, body, sink, err);
	free(body);
	return rc;
}

/* ---- many at once ---- */

static bool grow(uint8_t **data, size_t *size, size_t wanted)
{
	uint8_t *grown;

	if (wanted <= *size)
		return true;
	grown = realloc(*data, wanted);
	if (!grown)
		return false;
	*data = grown;
	*size = wanted;
	return true;
}

int result_reader_take(struct result_reader *r, struct result_sink *sink, struct error *err)
{
	struct head head;
	int rc;

	if (r->end - r->start < sizeof(head))
		return 0;
	memcpy(&head, r->data + r->start, sizeof(head));
	rc = check_head(&head, err);
	if (rc)
		return rc;
	if (r->end - r->start - sizeof(head) < head.bytes)
		return 0;
	/* To where numbers in it are aligned. */
	if (!grow(&r->body, &r->body_size, (size_t)max_u64(head.bytes, READ_STEP)))
		return error_set(err, ENOMEM, "results: no memory");
	memcpy(r->body, r->data + r->start + sizeof(head), head.bytes);
	r->start += sizeof(head) + head.bytes;
	return deliver(&head, r->body, sink, err);
}

int result_reader_fill(struct result_reader *r, struct error *err)
{
	ssize_t n;

	if (r->start > 0)
		memmove(r->data, r->data + r->start, r->end - r->start);
	r->end -= r->start;
	r->start = 0;
	/* Twice what has come, so that a false length allocates nothing. */
	if (!grow(&r->data, &r->size, (size_t)max_u64(2 * r->end, READ_STEP)))
		return error_set(err, ENOMEM, "results: no memory");
	do {
		n = read(r->fd, r->data + r->end, r->size - r->end);
		if (n < 0 && errno == EAGAIN)
			wait_for(r->fd, POLLIN);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		return read_failed(-errno, err);
	if (n == 0)
		return r->end ? read_failed(0, err) : 0;
	r->end += (size_t)n;
	return 1;
}

void result_reader_release(struct result_reader *r)
{
	free(r->data);
	free(r->body);
	*r = (struct result_reader){.fd = -1};
}
