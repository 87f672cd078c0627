/* SPDX-License-Identifier: MIT */
#include "replay/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "sim/gfp.h"

#define FIRST_BUCKETS 1024
#define POPULATE_MAX  (UINT64_C(1) << 30)

/*
 * Looked up at random: huge pages halve the misses. Touched now, so that the replay's clock does not
 * count page faults; a machine too large for that pays as it goes. Failing costs only time.
 */
static void *map_words(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_HUGEPAGE);
	if (bytes <= POPULATE_MAX)
		madvise(p, bytes, MADV_POPULATE_WRITE);
	return p;
}

int objects_create(const struct machine *ids, bool numbers, const struct machine *machine,
		   struct objects **out, struct error *err)
{
	struct objects *o;
	uint64_t frames = machine_end(ids) - machine_start(ids);

	if (frames > OBJECT_PLACES_MAX)
		return error_set(err, EFBIG,
				 "the machine has %llu frames; at most 2^32 can be replayed",
				 (unsigned long long)frames);
	if (numbers)
		frames = OBJECT_PLACES_MAX;
	o = calloc(1, sizeof(*o));
	if (!o)
		goto no_memory;
	o->machine = machine;
	o->start = numbers ? 0 : machine_start(ids);
	o->end = o->start + frames;
	o->nr_buckets = FIRST_BUCKETS;
	o->bucket = calloc(o->nr_buckets, sizeof(*o->bucket));
	o->class = calloc(o->nr_buckets / 2, sizeof(*o->class));
	o->of = map_words(frames * sizeof(*o->of));
	o->entered = calloc(div_round_up(frames, HUGE_FRAMES) + 1, sizeof(*o->entered));
	if (!o->bucket || !o->class || !o->of || !o->entered)
		goto no_memory;
	*out = o;
	return 0;
no_memory:
	objects_destroy(o);
	return error_set(err, ENOMEM, "no memory for the objects of %llu frames",
			 (unsigned long long)frames);
}

uint64_t objects_bytes(const struct machine *ids)
{
	uint64_t frames = machine_end(ids) - machine_start(ids);

	return frames * sizeof(struct object) + div_round_up(frames, HUGE_FRAMES) + 1;
}

void objects_destroy(struct objects *o)
{
	if (!o)
		return;
	if (o->of)
		munmap(o->of, (o->end - o->start) * sizeof(*o->of));
	free(o->entered);
	free(o->bucket);
	free(o->class);
	free(o);
}

uint64_t objects_next(const struct objects *o, uint64_t i)
{
	const uint64_t frames = o->end - o->start;

	while (i < frames) {
		if (!o->entered[i / HUGE_FRAMES]) {
			i = align_down(i, HUGE_FRAMES) + HUGE_FRAMES;
			continue;
		}
		for (uint64_t end = min_u64(align_down(i, HUGE_FRAMES) + HUGE_FRAMES, frames);
		     i < end; i++)
			if (o->of[i].plan)
				return i;
	}
	return frames;
}

static uint32_t class_hash(const struct object_key *key)
{
	uint64_t h = ((uint64_t)key->gfp << 32 | key->context) ^ (uint64_t)key->migratetype << 29 ^
		     (uint64_t)key->page_cache << 24 ^ (uint64_t)key->origin << 22;

	h *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(h >> 32);
}

static struct object_key key_of(const struct object_class *c)
{
	return (struct object_key){
		.gfp = c->req.gfp,
		.context = c->req.context,
		.migratetype = c->req.migratetype,
		.page_cache = c->req.flags & ALLOC_PAGE_CACHE,
		.origin = c->origin,
	};
}

/* Twice as many buckets, and room for half as many classes. */
static int grow(struct objects *o)
{
	uint32_t n = o->nr_buckets * 2;
	uint32_t *bucket = calloc(n, sizeof(*bucket));
	struct object_class *class = realloc(o->class, n / 2 * sizeof(*class));

	if (class)
		o->class = class;
	if (!bucket || !class) {
		free(bucket);
		return -ENOMEM;
	}
	for (uint32_t id = 0; id < o->nr_classes; id++) {
		const struct object_key key = key_of(&class[id]);
		uint32_t i = class_hash(&key);

		while (bucket[i & (n - 1)])
			i++;
		bucket[i & (n - 1)] = id + 1;
	}
	free(o->bucket);
	o->bucket = bucket;
	o->nr_buckets = n;
	return 0;
}

uint32_t objects_classify(struct objects *o, const struct object_key *key)
{
	uint32_t i = class_hash(key), id;

	for (;; i++) {
		id = o->bucket[i & (o->nr_buckets - 1)];
		if (!id)
			break;
		if (object_class_is(&o->class[id - 1], key))
			return id - 1;
	}
	if (o->nr_classes == OBJECT_CLASSES_MAX)
		return UINT32_MAX;
	if (o->nr_classes == o->nr_buckets / 2) {
		if (grow(o))
			return UINT32_MAX;
		return objects_classify(o, key);
	}
	id = o->nr_classes++;
	o->class[id].req = (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = key->gfp,
		.context = key->context,
		.migratetype = key->migratetype,
		.zone = (uint8_t)machine_highest_zone(o->machine, 0, key->gfp),
		.flags = (uint8_t)((key->context ? ALLOC_HAS_CONTEXT : 0U) | key->page_cache),
	};
	o->class[id].origin = key->origin;
	o->bucket[i & (o->nr_buckets - 1)] = id + 1;
	return id;
}

unsigned int object_parts(pfn_t pfn, unsigned int order, unsigned int whole, pfn_t heads[NR_ORDERS])
{
	unsigned int n = 0;

	heads[n++] = align_down(pfn, UINT64_C(1) << order);
	for (unsigned int k = order; k < whole; k++)
		heads[n++] = align_down(pfn, UINT64_C(1) << k) ^ UINT64_C(1) << k;
	return n;
}

void objects_split(struct objects *o, pfn_t pfn, unsigned int order, object_t flags)
{
	object_t plan = objects_at(o, pfn)->plan;
	unsigned int whole = object_order(plan);
	pfn_t head = align_down(pfn, UINT64_C(1) << whole), heads[NR_ORDERS];
	unsigned int n = object_parts(pfn, order, whole, heads);

	plan = (plan & ~(UINT32_C(0xf) << 22)) | flags;
	for (unsigned int i = 0; i < n; i++) {
		/* The part asked for, and behind it the halves of each order from its own up. */
		unsigned int k = i ? order + i - 1 : order;

		objects_put(o, heads[i], k, plan | (uint32_t)k << 22);
		objects_at(o, heads[i])->born = objects_at(o, head)->born;
	}
}
