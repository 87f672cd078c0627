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

int objects_create(const struct machine *m, bool virtual, struct objects **out, struct error *err)
{
	struct objects *o;
	uint64_t frames = machine_end(m) - machine_start(m);

	if (frames > OBJECT_PLACES_MAX)
		return error_set(err, EFBIG,
				 "the machine has %llu frames; at most 2^32 can be replayed",
				 (unsigned long long)frames);
	if (virtual)
		frames = OBJECT_PLACES_MAX;
	o = calloc(1, sizeof(*o));
	if (!o)
		goto no_memory;
	o->machine = m;
	o->start = virtual ? 0 : machine_start(m);
	o->end = o->start + frames;
	o->nr_buckets = FIRST_BUCKETS;
	o->bucket = calloc(o->nr_buckets, sizeof(*o->bucket));
	o->class = calloc(o->nr_buckets / 2, sizeof(*o->class));
	o->of = mmap(NULL, frames * sizeof(*o->of), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->of == MAP_FAILED)
		o->of = NULL;
	if (!o->bucket || !o->class || !o->of)
		goto no_memory;
	/*
	 * Looked up at random: huge pages halve the misses. Touched now, so that the replay's clock
	 * does not count page faults; a machine too large for that pays as it goes. Failing costs
	 * only time.
	 */
	madvise(o->of, frames * sizeof(*o->of), MADV_HUGEPAGE);
	if (frames * sizeof(*o->of) <= POPULATE_MAX)
		madvise(o->of, frames * sizeof(*o->of), MADV_POPULATE_WRITE);
	*out = o;
	return 0;
no_memory:
	objects_destroy(o);
	return error_set(err, ENOMEM, "no memory for the objects of %llu frames",
			 (unsigned long long)frames);
}

void objects_destroy(struct objects *o)
{
	if (!o)
		return;
	if (o->of)
		munmap(o->of, (o->end - o->start) * sizeof(*o->of));
	free(o->bucket);
	free(o->class);
	free(o);
}

static uint32_t class_hash(uint32_t gfp, uint32_t context, unsigned int migratetype,
			   unsigned int page_cache)
{
	uint64_t h = ((uint64_t)gfp << 32 | context) ^ (uint64_t)migratetype << 29 ^
		     (uint64_t)page_cache << 24;

	h *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(h >> 32);
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
		const struct alloc_request *req = &class[id].req;
		uint32_t i = class_hash(req->gfp, req->context, req->migratetype,
					req->flags & ALLOC_PAGE_CACHE);

		while (bucket[i & (n - 1)])
			i++;
		bucket[i & (n - 1)] = id + 1;
	}
	free(o->bucket);
	o->bucket = bucket;
	o->nr_buckets = n;
	return 0;
}

uint32_t objects_classify(struct objects *o, uint32_t gfp, uint32_t context,
			  unsigned int migratetype, unsigned int page_cache)
{
	uint32_t i = class_hash(gfp, context, migratetype, page_cache), id;

	for (;; i++) {
		id = o->bucket[i & (o->nr_buckets - 1)];
		if (!id)
			break;
		if (object_class_is(&o->class[id - 1], gfp, context, migratetype, page_cache))
			return id - 1;
	}
	if (o->nr_classes == OBJECT_CLASSES_MAX)
		return UINT32_MAX;
	if (o->nr_classes == o->nr_buckets / 2) {
		if (grow(o))
			return UINT32_MAX;
		return objects_classify(o, gfp, context, migratetype, page_cache);
	}
	id = o->nr_classes++;
	o->class[id].req = (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.context = context,
		.migratetype = (uint8_t)migratetype,
		.zone = (uint8_t)machine_highest_zone(o->machine, 0, gfp),
		.flags = (uint8_t)((context ? ALLOC_HAS_CONTEXT : 0U) | page_cache),
	};
	o->bucket[i & (o->nr_buckets - 1)] = id + 1;
	return id;
}

void objects_put(struct objects *o, pfn_t pfn, unsigned int order, object_t head)
{
	object_t *of = objects_at(o, pfn);
	uint64_t step = object_state(head) == OBJECT_LIVE;

	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		of[i] = head + i * step;
}

void objects_clear(struct objects *o, pfn_t pfn, uint64_t frames)
{
	memset(objects_at(o, pfn), 0, frames * sizeof(object_t));
}

static void set_order(struct objects *o, pfn_t pfn, unsigned int order, object_t flags)
{
	object_t *of = objects_at(o, pfn);

	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		of[i] = (of[i] & ~(UINT64_C(0xf) << 54)) | (uint64_t)order << 54 | flags;
}

void objects_split(struct objects *o, pfn_t pfn, unsigned int order, object_t flags)
{
	unsigned int whole = object_order(*objects_at(o, pfn));

	set_order(o, align_down(pfn, UINT64_C(1) << order), order, flags);
	for (unsigned int k = order; k < whole; k++) {
		pfn_t half = align_down(pfn, UINT64_C(1) << k);

		set_order(o, half ^ UINT64_C(1) << k, k, flags);
	}
}
