/* SPDX-License-Identifier: MIT */
/*
 * All operations at once from several threads, on every back end that announces CONCURRENT, or on the
 * specifications given as arguments. The test keeps the books itself: one atomic word per frame names
 * its owner, so a frame handed out twice shows at once; and each owner writes to its frames without
 * atomics, so that the thread sanitizer sees whether a free happens before the allocation that gets
 * the same frame. Bounded by numbers of operations, never by time; what each thread asks for is seeded
 * (QUIRE_STRESS_SEED), how threads interleave is not.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/gfp.h"
#include "tests/allocators/conc_bitmap.h"
#include "tests/effort.h"

/* Sanitizers cost that much. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOW 10
#elif __has_feature(address_sanitizer)
#define SLOW 3
#endif
#elif defined(__SANITIZE_THREAD__)
#define SLOW 10
#elif defined(__SANITIZE_ADDRESS__)
#define SLOW 3
#endif
#ifndef SLOW
#define SLOW 1
#endif

#define NR_CPUS	     4
#define OPS	     (30000 / SLOW * test_effort()) /* of a thread in one phase */
#define POOL	     64 /* blocks on their way from one thread to another */
#define BULK	     24
#define FREED_MAX    64
#define NO_ZONE	     0xff
#define GFP_KERNEL   (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM | GFP_IO | GFP_FS)
#define GFP_HIGHUSER (GFP_KERNEL | GFP_HARDWALL | GFP_HIGHMEM | GFP_MOVABLE)
#define IN_POOL	     UINT32_MAX

static const uint32_t gfps[] = {
	GFP_HIGHUSER,
	GFP_KERNEL,
	GFP_KERNEL | GFP_RECLAIMABLE,
	GFP_KERNEL | GFP_DMA32,
	GFP_HIGHUSER | GFP_THISNODE,
	GFP_HIGH | GFP_KSWAPD_RECLAIM, /* cannot wait */
};

struct block {
	pfn_t pfn;
	uint8_t order, kind;
};

struct stress {
	struct allocator_spec *spec;
	const struct allocator_ops *ops;
	struct allocator_instance *instance;
	struct allocator *a;
	struct machine *m;
	pfn_t end;
	uint8_t *zone;		 /* of each frame; NO_ZONE: not managed */
	_Atomic uint32_t *owner; /* 0: free; thread + 1; IN_POOL */
	uint64_t *content;	 /* what the owner wrote; not atomic on purpose */
	bool flawed;		 /* the back end races for sure: the books are on trial, not it */
	_Atomic uint64_t pool[POOL];
	_Atomic bool failed;
	char why[256]; /* written by whoever set failed */
};

struct worker {
	struct stress *s;
	pthread_t thread;
	unsigned int id, cpu; /* the simulated one */
	uint64_t random;
	struct block *blocks;
	size_t nr, room;
	uint64_t held, target; /* frames */
	unsigned int ops;
	struct block freed[FREED_MAX];
	size_t nr_freed;
};

/* ---- books ---- */

/* The first failure is kept, and everybody stops. */
__attribute__((format(printf, 2, 3))) static void failed(struct stress *s, const char *fmt, ...)
{
	va_list args;

	if (atomic_exchange(&s->failed, true))
		return;
	va_start(args, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, args);
	va_end(args);
}

static bool has(const struct stress *s, uint32_t capability)
{
	return s->ops->capabilities & capability;
}

static uint32_t next_random(struct worker *w)
{
	/* xorshift64* (Vigna, 2016) */
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (uint32_t)((w->random * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

static uint32_t below(struct worker *w, uint32_t n)
{
	return next_random(w) % n;
}

static uint64_t stamp(const struct worker *w, pfn_t pfn)
{
	return pfn << 8 | w->id;
}

/*
 * All frames of a block change hands, from thread or pool to thread or pool, 0 being the back end.
 * Relaxed: the books must not order what the back end has to.
 */
static bool pass(struct worker *w, const struct block *b, uint32_t from, uint32_t to)
{
	for (pfn_t pfn = b->pfn; pfn < b->pfn + (UINT64_C(1) << b->order); pfn++) {
		uint32_t was = from;

		if (atomic_compare_exchange_strong_explicit(&w->s->owner[pfn], &was, to,
							    memory_order_relaxed,
							    memory_order_relaxed))
			continue;
		failed(w->s,
		       "pfn %" PRIu64 " of pfn %" PRIu64
		       ", order %u: goes from %u to %u, but is %u's",
		       pfn, b->pfn, b->order, from, to, was);
		return false;
	}
	return true;
}

static void scribble(struct worker *w, const struct block *b)
{
	for (pfn_t pfn = b->pfn; pfn < b->pfn + (UINT64_C(1) << b->order); pfn++) {
		if (w->s->flawed)
			__atomic_store_n(&w->s->content[pfn], stamp(w, pfn), __ATOMIC_RELAXED);
		else
			w->s->content[pfn] = stamp(w, pfn);
	}
}

static uint64_t content_of(const struct stress *s, pfn_t pfn)
{
	return s->flawed ? __atomic_load_n(&s->content[pfn], __ATOMIC_RELAXED) : s->content[pfn];
}

static bool reads_back(struct worker *w, const struct block *b)
{
	for (pfn_t pfn = b->pfn; pfn < b->pfn + (UINT64_C(1) << b->order); pfn++) {
		uint64_t content = content_of(w->s, pfn);

		if (content == stamp(w, pfn))
			continue;
		failed(w->s, "pfn %" PRIu64 ": thread %u's, but %" PRIu64 " wrote to it", pfn,
		       w->id, content & 0xff);
		return false;
	}
	return true;
}

static void hold(struct worker *w, struct block b)
{
	if (w->nr == w->room) {
		size_t room = w->room ? 2 * w->room : 256;
		struct block *more = realloc(w->blocks, room * sizeof(*more));

		if (!more) {
			failed(w->s, "the test has no memory");
			return;
		}
		w->blocks = more;
		w->room = room;
	}
	w->blocks[w->nr++] = b;
	w->held += UINT64_C(1) << b.order;
}

static struct block let_go(struct worker *w, size_t i)
{
	struct block b = w->blocks[i];

	w->blocks[i] = w->blocks[--w->nr];
	w->held -= UINT64_C(1) << b.order;
	return b;
}

/* ---- requests ---- */

static struct alloc_request request(const struct worker *w, unsigned int kind, unsigned int order)
{
	const struct machine *m = w->s->m;
	uint32_t gfp = gfps[kind];
	const struct request_zone of = machine_request_zone(m, m->node_of_cpu[w->cpu], gfp);

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.context = w->id,
		.cpu = (uint16_t)w->cpu,
		.node = of.node,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)gfp_migratetype(gfp),
		.zone = of.zone,
		.flags = ALLOC_HAS_CONTEXT,
	};
}

static bool zone_allowed(const struct stress *s, const struct alloc_request *req, unsigned int zone)
{
	const struct zone *highest = &s->m->zones[req->zone], *z = &s->m->zones[zone];

	if (!has(s, ALLOCATOR_ZONES))
		return true;
	return z->type <= highest->type && (!(req->gfp & GFP_THISNODE) || z->node == highest->node);
}

/* A block came out: may it? Then it is ours. @req: NULL if we named the place. */
static void receive(struct worker *w, struct block b, const struct alloc_request *req)
{
	struct stress *s = w->s;
	uint64_t frames = UINT64_C(1) << b.order;

	if (!is_aligned(b.pfn, frames) || b.pfn + frames > s->end) {
		failed(s, "pfn %" PRIu64 ", order %u: misaligned or out of range", b.pfn, b.order);
		return;
	}
	for (pfn_t pfn = b.pfn; pfn < b.pfn + frames; pfn++) {
		if (s->zone[pfn] == NO_ZONE || s->zone[pfn] != s->zone[b.pfn]) {
			failed(s, "pfn %" PRIu64 ", order %u: not memory of one zone", b.pfn,
			       b.order);
			return;
		}
	}
	if (req && !zone_allowed(s, req, s->zone[b.pfn])) {
		failed(s, "pfn %" PRIu64 ", order %u: in a zone that gfp 0x%" PRIx32 " excludes",
		       b.pfn, b.order, req->gfp);
		return;
	}
	if (pass(w, &b, 0, w->id + 1)) {
		scribble(w, &b);
		hold(w, b);
	}
}

static bool get(struct worker *w, unsigned int kind, unsigned int order)
{
	struct alloc_request req = request(w, kind, order);
	pfn_t pfn = w->s->ops->alloc(w->s->a, &req).pfn;

	if (pfn != PFN_NONE)
		receive(w, (struct block){pfn, (uint8_t)order, (uint8_t)kind}, &req);
	return pfn != PFN_NONE;
}

/* @b is in no list any more, but ours in the books. */
static void put(struct worker *w, struct block b)
{
	struct alloc_request req = request(w, b.kind, b.order);
	int rc;

	if (!reads_back(w, &b) || !pass(w, &b, w->id + 1, 0))
		return;
	rc = w->s->ops->free(w->s->a, b.pfn, &req);
	if (rc)
		failed(w->s, "free of pfn %" PRIu64 ", order %u, by thread %u: %d", b.pfn, b.order,
		       w->id, rc);
	w->freed[w->nr_freed++ % FREED_MAX] = b;
}

/* ---- operations ---- */

static unsigned int random_order(struct worker *w)
{
	uint32_t r = below(w, 100);

	if (r < 60)
		return 0;
	if (r < 90)
		return 1 + below(w, 4);
	return below(w, 4) ? 5 + below(w, 4) : HUGE_ORDER + below(w, 2);
}

static unsigned int random_kind(struct worker *w)
{
	return below(w, 2) ? 0 : below(w, ARRAY_SIZE(gfps));
}

/* A part of a block goes, what is left of it are blocks of their own. */
static void put_part(struct worker *w, size_t i)
{
	struct block b = let_go(w, i);
	unsigned int order = below(w, b.order);

	while (b.order > order) {
		struct block half = b;

		half.order = --b.order;
		if (below(w, 2))
			half.pfn += UINT64_C(1) << b.order;
		else
			b.pfn += UINT64_C(1) << b.order;
		hold(w, half);
	}
	put(w, b);
}

static void put_some(struct worker *w)
{
	size_t i;

	if (!w->nr)
		return;
	i = below(w, (uint32_t)w->nr);
	if (w->blocks[i].order && has(w->s, ALLOCATOR_SPLIT) && below(w, 3) == 0)
		put_part(w, i);
	else
		put(w, let_go(w, i));
}

static void get_at(struct worker *w)
{
	struct stress *s = w->s;
	unsigned int order = random_order(w), kind = random_kind(w);
	pfn_t pfn = align_down(below(w, (uint32_t)s->end), UINT64_C(1) << order);
	struct alloc_request req = request(w, kind, order);
	int rc;

	if (!has(s, ALLOCATOR_ALLOC_AT))
		return;
	rc = s->ops->alloc_at(s->a, pfn, &req);
	if (rc == 0)
		receive(w, (struct block){pfn, (uint8_t)order, (uint8_t)kind}, NULL);
	else if (rc != -EBUSY && rc != -EINVAL)
		failed(s, "alloc_at pfn %" PRIu64 ", order %u: %d", pfn, order, rc);
}

static void get_and_put_bulk(struct worker *w)
{
	struct stress *s = w->s;
	unsigned int order = below(w, 4) ? 0 : below(w, 4), kind = random_kind(w);
	struct alloc_request req = request(w, kind, order);
	pfn_t pfns[BULK];
	size_t n, first = w->nr;

	if (!has(s, ALLOCATOR_BULK))
		return;
	n = s->ops->alloc_bulk(s->a, &req, 1 + below(w, BULK), pfns);
	for (size_t i = 0; i < n; i++)
		receive(w, (struct block){pfns[i], (uint8_t)order, (uint8_t)kind}, &req);
	if (atomic_load_explicit(&s->failed, memory_order_relaxed) || below(w, 2))
		return;
	while (w->nr > first) {
		struct block b = let_go(w, w->nr - 1);

		if (!reads_back(w, &b) || !pass(w, &b, w->id + 1, 0))
			return;
	}
	if (s->ops->free_bulk(s->a, pfns, n, &req) != n)
		failed(s, "free_bulk of %zu blocks of order %u was refused", n, order);
}

/*
 * Blocks that one thread gets and another frees: swap one with a slot of the pool. Release and
 * acquire: the block's content changes hands with it.
 */
static void trade(struct worker *w)
{
	uint64_t offer = 0, other;

	if (w->nr) {
		struct block b = let_go(w, below(w, (uint32_t)w->nr));

		if (!reads_back(w, &b) || !pass(w, &b, w->id + 1, IN_POOL))
			return;
		offer = (b.pfn << 16 | (uint64_t)b.order << 8 | b.kind) + 1;
	}
	other = atomic_exchange_explicit(&w->s->pool[below(w, POOL)], offer, memory_order_acq_rel);
	if (other--) {
		struct block b = {other >> 16, (uint8_t)(other >> 8), (uint8_t)other};

		if (!pass(w, &b, IN_POOL, w->id + 1))
			return;
		scribble(w, &b);
		if (w->held > w->target) {
			put(w, b);
			return;
		}
		hold(w, b);
	}
}

/* What changes nothing, or nothing that can be seen. */
static void look(struct worker *w)
{
	struct stress *s = w->s;
	struct allocator_stats stats;
	uint16_t frames[8];
	uint64_t block = below(w, (uint32_t)(s->end / HUGE_FRAMES));
	size_t n = (size_t)min_u64(ARRAY_SIZE(frames), s->end / HUGE_FRAMES - block);

	switch (below(w, 3)) {
	case 0:
		if (s->ops->drain)
			s->ops->drain(s->a);
		break;
	case 1:
		if (s->ops->stats && s->ops->stats(s->a, ALLOCATOR_ALL_ZONES, &stats))
			failed(s, "stats failed");
		break;
	default:
		if (s->ops->occupancy)
			s->ops->occupancy(s->a, block, n, frames);
		for (size_t i = 0; s->ops->occupancy && i < n; i++) {
			if (frames[i] > HUGE_FRAMES)
				failed(s, "2 MiB block %" PRIu64 ": %u free frames", block + i,
				       frames[i]);
		}
	}
}

/* A phase: memory is brought to the target and churned there. */
static void *churn(void *arg)
{
	struct worker *w = arg;

	for (unsigned int i = 0;
	     i < w->ops && !atomic_load_explicit(&w->s->failed, memory_order_relaxed); i++) {
		uint32_t what = below(w, 1000);

		if (what % 64 == 0) /* few CPUs: more changes than the host would make */
			sched_yield();
		if (what < 4)
			look(w);
		else if (what < 40)
			get_at(w);
		else if (what < 60)
			get_and_put_bulk(w);
		else if (what < 200)
			trade(w);
		else if (below(w, 8) ? w->held < w->target : w->held >= w->target)
			get(w, random_kind(w), random_order(w));
		else
			put_some(w);
	}
	return NULL;
}

/* Take single frames until there are no more. */
static void *exhaust(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load_explicit(&w->s->failed, memory_order_relaxed) && get(w, 0, 0))
		;
	return NULL;
}

static void *put_all(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load_explicit(&w->s->failed, memory_order_relaxed) && w->nr)
		put(w, let_go(w, below(w, (uint32_t)w->nr)));
	return NULL;
}

/* ---- between phases, with one thread ---- */

static void run_all(struct worker *w, unsigned int n, void *(*phase)(void *))
{
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, phase, &w[i]), 0);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
}

/* Frames of [start, end) nobody owns. */
static uint64_t unowned(const struct stress *s, pfn_t start, pfn_t end)
{
	uint64_t frames = 0;

	for (pfn_t pfn = start; pfn < end && pfn < s->end; pfn++)
		frames += s->zone[pfn] != NO_ZONE && atomic_load(&s->owner[pfn]) == 0;
	return frames;
}

static void settle(struct stress *s)
{
	struct allocator_stats stats;
	struct error err;
	size_t blocks = (size_t)div_round_up(s->end, HUGE_FRAMES);

	if (s->ops->check && s->ops->check(s->a, &err))
		failed(s, "check: %s", err.text);
	for (unsigned int z = 0; s->ops->stats && z < s->m->nr_zones; z++) {
		uint64_t expected = unowned(s, s->m->zones[z].start, s->m->zones[z].end);

		if (s->ops->stats(s->a, z, &stats) ||
		    stats.free_frames + stats.cached_frames != expected)
			failed(s,
			       "zone %u: %" PRIu64 " free and %" PRIu64
			       " cached frames, but %" PRIu64 " have no owner",
			       z, stats.free_frames, stats.cached_frames, expected);
	}
	for (size_t b = 0; s->ops->occupancy && b < blocks; b++) {
		uint64_t expected = unowned(s, b * HUGE_FRAMES, (b + 1) * HUGE_FRAMES);
		uint16_t frames;

		s->ops->occupancy(s->a, b, 1, &frames);
		if (frames != expected)
			failed(s, "2 MiB block %zu: %u free frames, but %" PRIu64 " have no owner",
			       b, frames, expected);
	}
}

/* What was freed, and of which a part still has no owner, cannot be freed again. */
static void free_twice(struct worker *w)
{
	struct stress *s = w->s;

	for (size_t i = 0; i < FREED_MAX && i < w->nr_freed; i++) {
		const struct block *b = &w->freed[i];
		struct alloc_request req = request(w, b->kind, b->order);

		if (!unowned(s, b->pfn, b->pfn + (UINT64_C(1) << b->order)))
			continue;
		if (s->ops->free(s->a, b->pfn, &req) != -EINVAL)
			failed(s, "pfn %" PRIu64 ", order %u, could be freed twice", b->pfn,
			       b->order);
	}
}

/* Threads done, books closed. Return: is all well? */
static bool quiet(struct worker *w, unsigned int n)
{
	struct stress *s = w->s;

	if (!s->failed)
		settle(s);
	if (!s->failed && s->ops->drain) {
		s->ops->drain(s->a);
		settle(s);
	}
	for (unsigned int i = 0; i < n && !s->failed; i++)
		free_twice(&w[i]);
	if (!s->failed)
		settle(s);
	return !s->failed;
}

static void empty_pool(struct worker *w)
{
	for (size_t i = 0; i < POOL; i++) {
		uint64_t word = atomic_exchange(&w->s->pool[i], 0);
		struct block b = {(word - 1) >> 16, (uint8_t)((word - 1) >> 8),
				  (uint8_t)(word - 1)};

		if (word && pass(w, &b, IN_POOL, w->id + 1)) {
			scribble(w, &b);
			hold(w, b);
		}
	}
}

/* Wholly free aligned blocks, by the books. */
static uint64_t unowned_blocks(const struct stress *s, unsigned int order)
{
	uint64_t frames = UINT64_C(1) << order, n = 0;

	for (pfn_t pfn = 0; pfn + frames <= s->end; pfn += frames)
		n += s->zone[pfn] == s->zone[pfn + frames - 1] &&
		     unowned(s, pfn, pfn + frames) == frames;
	return n;
}

/* ---- what is run ---- */

/* Fill levels in percent; above 100: more than there is. */
static const unsigned int levels[] = {2, 50, 90, 99, 101, 60, 99, 10};

static bool churn_at_all_levels(struct worker *w, unsigned int n)
{
	struct stress *s = w->s;
	uint64_t managed = unowned(s, 0, s->end);

	for (size_t l = 0; l < ARRAY_SIZE(levels); l++) {
		for (unsigned int i = 0; i < n; i++) {
			w[i].target = managed * levels[l] / 100 / n;
			w[i].ops = OPS;
		}
		/* In single frames first, or large memory is never full. */
		for (unsigned int i = 0; i < n && !s->failed && levels[l] >= 90; i++) {
			while (!s->failed && w[i].held < w[i].target && get(&w[i], 0, 0))
				;
		}
		run_all(w, n, churn);
		if (!quiet(w, n))
			return false;
	}
	empty_pool(w);
	run_all(w, n, put_all);
	return quiet(w, n) && unowned(s, 0, s->end) == managed;
}

/* Huge frames of an empty machine: those there are, or as many as one gets that needs room beside them. */
static uint64_t huge_frames(struct worker *w)
{
	uint64_t huge = 0;

	if (!has(w->s, ALLOCATOR_PADS))
		return unowned_blocks(w->s, HUGE_ORDER);
	while (!w->s->failed && get(w, 0, HUGE_ORDER))
		huge++;
	put_all(w);
	if (huge == 0)
		failed(w->s, "not a single huge frame of an empty machine");
	return huge;
}

/* All frames to all threads, and back by threads that did not get them. */
static bool exhaust_and_return(struct worker *w, unsigned int n)
{
	struct stress *s = w->s;
	uint64_t managed = unowned(s, 0, s->end), huge = huge_frames(&w[0]);
	struct worker first;

	run_all(w, n, exhaust);
	if (!s->failed && s->ops->drain)
		s->ops->drain(s->a); /* one thread's cache may hold what others lacked */
	exhaust(&w[0]);
	if (!quiet(w, n))
		return false;
	if (unowned(s, 0, s->end))
		failed(s, "%" PRIu64 " of %" PRIu64 " frames could not be had",
		       unowned(s, 0, s->end), managed);
	first = w[0];
	for (unsigned int i = 0; i < n; i++) {
		struct worker *next = i + 1 < n ? &w[i + 1] : &first;

		w[i].blocks = next->blocks;
		w[i].nr = next->nr;
		w[i].room = next->room;
		w[i].held = next->held;
		for (size_t b = 0; b < w[i].nr && !s->failed; b++) {
			if (pass(&w[i], &w[i].blocks[b], next->id + 1, w[i].id + 1))
				scribble(&w[i], &w[i].blocks[b]);
		}
	}
	run_all(w, n, put_all);
	if (!quiet(w, n))
		return false;
	while (!s->failed && get(&w[0], 0, HUGE_ORDER))
		huge--;
	if (huge)
		failed(s, "%" PRId64 " huge frames are missing after all was returned",
		       (int64_t)huge);
	put_all(&w[0]);
	return quiet(w, n);
}

/* ---- machines ---- */

/* 16 MiB: everybody is in everybody's way. */
static struct machine *small_machine(void)
{
	struct machine *m;

	assert_int_equal(machine_from_memory(16 << 20, NR_CPUS, &m, NULL), 0);
	return m;
}

/* 140 MiB on two nodes, three zones, two of which share 2 MiB, holes. */
static struct machine *odd_machine(void)
{
	const struct zone zones[] = {
		{.start = 1, .end = 6900, .node = 0, .type = ZONE_DMA32},
		{.start = 6900, .end = 20480, .node = 0, .type = ZONE_NORMAL},
		{.start = 24576, .end = 41001, .node = 1, .type = ZONE_NORMAL},
	};
	const struct absent_range absent[] = {
		{{159, 256}, ABSENT_HOLE},
		{{5000, 5001}, ABSENT_RESERVED},
		{{9216, 12000}, ABSENT_HOLE},
		{{40000, 40960}, ABSENT_OFFLINE},
	};
	struct machine *m;

	assert_int_equal(machine_create(NR_CPUS, 2, &m, NULL), 0);
	m->node_of_cpu[2] = m->node_of_cpu[3] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		assert_int_equal(machine_add_absent(m, absent[i].range, absent[i].why, NULL), 0);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone *z = &m->zones[i];

		z->managed = z->present = machine_managed_in(m, z->start, z->end);
		z->watermark = (struct watermarks){
			.min = z->managed / 40, .low = z->managed / 30, .high = z->managed / 20};
	}
	return m;
}

static int note_managed(void *arg, unsigned int zone, struct pfn_range range)
{
	struct stress *s = arg;

	memset(&s->zone[range.start], (int)zone, range.end - range.start);
	return 0;
}

/* "bitmap..." is ours, all else the registry's. */
static int parse(const char *text, struct allocator_spec **out, struct error *err)
{
	struct allocator_spec *spec;
	int rc;

	if (strncmp(text, "bitmap", 6) != 0)
		return allocator_spec_parse(text, out, err);
	spec = calloc(1, sizeof(*spec));
	spec->ops = &conc_bitmap_ops;
	spec->text = strdup(text);
	rc = option_set_create(spec->ops->options, &spec->options, err);
	if (rc == 0 && text[6] == ':')
		rc = option_set_parse_spec(spec->options, text + 7, err);
	*out = spec;
	return rc;
}

static void stress_start(struct stress *s, const char *text, struct machine *m)
{
	struct error err;

	memset(s, 0, sizeof(*s));
	s->m = m;
	s->end = machine_end(m);
	if (parse(text, &s->spec, &err) ||
	    allocator_instance_create(s->spec, m, NULL, &s->instance, &err))
		fail_msg("%s", err.text);
	s->ops = s->spec->ops;
	s->a = s->instance->a;
	s->zone = malloc(s->end);
	s->owner = calloc(s->end, sizeof(*s->owner));
	s->content = calloc(s->end, sizeof(*s->content));
	assert_true(s->zone && s->owner && s->content);
	memset(s->zone, NO_ZONE, s->end);
	machine_each_managed(m, note_managed, s);
}

static void stress_end(struct stress *s)
{
	allocator_instance_destroy(s->instance);
	allocator_spec_destroy(s->spec);
	machine_destroy(s->m);
	free(s->zone);
	free((void *)(uintptr_t)s->owner);
	free(s->content);
}

/* QUIRE_STRESS_SEED, or 1. */
static uint64_t seed(void)
{
	const char *text = getenv("QUIRE_STRESS_SEED");

	return text ? strtoull(text, NULL, 10) : 1;
}

/*
 * Return: is all well? If not, @why (of 256 bytes) says what is not. Threads share @cpus in turn.
 * @flawed: all will not be, and the thread sanitizer need not say so as well.
 */
static bool stress(const char *text, struct machine *m, unsigned int threads, unsigned int cpus,
		   bool (*play)(struct worker *, unsigned int), bool flawed, char *why)
{
	struct worker workers[NR_CPUS] = {0};
	struct stress s;
	bool good;

	stress_start(&s, text, m);
	s.flawed = flawed;
	for (unsigned int i = 0; i < threads; i++) {
		workers[i].s = &s;
		workers[i].id = i;
		workers[i].cpu = i % cpus;
		workers[i].random = seed() * UINT64_C(0x9e3779b97f4a7c15) + i + 1;
	}
	good = play(workers, threads) && !s.failed;
	memcpy(why, s.why, sizeof(s.why));
	for (unsigned int i = 0; i < threads; i++)
		free(workers[i].blocks);
	stress_end(&s);
	return good;
}

/* ---- tests ---- */

static void expect_good(void **state, struct machine *m, unsigned int threads, unsigned int cpus,
			bool (*play)(struct worker *, unsigned int))
{
	const char *text = *state;
	struct allocator_spec *spec;
	bool concurrent;
	char why[256];

	if (parse(text, &spec, NULL)) {
		machine_destroy(m);
		fail_msg("%s: not a specification", text);
	}
	concurrent = spec->ops->capabilities & ALLOCATOR_CONCURRENT;
	allocator_spec_destroy(spec);
	if (!concurrent) {
		machine_destroy(m);
		print_message("# %s does not announce CONCURRENT\n", text);
		skip();
	}
	if (!stress(text, m, threads, cpus, play, false, why))
		fail_msg("%s, %u threads, seed %" PRIu64 ": %s", text, threads, seed(), why);
}

static void frames_have_one_owner_at_every_fill_level(void **state)
{
	expect_good(state, odd_machine(), 4, 4, churn_at_all_levels);
}

/* Where nobody keeps threads from being moved to another processor in the midst of a call. */
static void threads_may_say_the_same_cpu(void **state)
{
	expect_good(state, odd_machine(), 4, 1, churn_at_all_levels);
}

static void two_threads_share_very_little_memory(void **state)
{
	expect_good(state, small_machine(), 2, 2, churn_at_all_levels);
}

static void threads_get_every_frame_and_others_return_it(void **state)
{
	expect_good(state, odd_machine(), 3, 3, exhaust_and_return);
}

/* The bitmap with a flaw: whatever is played, the books must show it. */
static void flaw_is_noticed(void **state)
{
	const char *text = *state;
	char why[256];

	assert_false(stress(text, small_machine(), 4, 4, churn_at_all_levels, true, why));
	print_message("# %s: %s\n", text, why);
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
} plays[] = {
	{"frames_have_one_owner_at_every_fill_level", frames_have_one_owner_at_every_fill_level},
	{"threads_may_say_the_same_cpu", threads_may_say_the_same_cpu},
	{"two_threads_share_very_little_memory", two_threads_share_very_little_memory},
	{"threads_get_every_frame_and_others_return_it",
	 threads_get_every_frame_and_others_return_it},
};

static const char *const flawed[] = {"bitmap:flaw=get", "bitmap:flaw=put", "bitmap:flaw=leak",
				     "bitmap:flaw=forged"};

/* As far as the options exist. */
static const char *const variants[] = {
	"bitmap",
	"llfree",
	"llfree:tree=4",
	"llfree:tree=64,policy=simple",
	"llfree:last_frees=on",
	"llfree:rows=on",
	"llfree:rows=on,tree=4",
	"llfree:persist=adr",
	"buddy",
	"buddy:kernel=6.6",
	"buddy:kernel=5.10",
	"buddy:pcp=off,fallback=largest",
};

#define NR_TESTS_MAX 1000

static void add(struct CMUnitTest *tests, size_t *n, const char *text, const char *what,
		CMUnitTestFunction run)
{
	char *name;

	if (*n == NR_TESTS_MAX || asprintf(&name, "%s_%s", text, what) < 0)
		return;
	tests[(*n)++] = (struct CMUnitTest){
		.name = name, .test_func = run, .initial_state = (void *)(uintptr_t)text};
}

static bool exists(const char *text)
{
	struct allocator_spec *spec;

	if (strncmp(text, "bitmap", 6) == 0)
		return true;
	if (allocator_spec_parse(text, &spec, NULL))
		return false;
	allocator_spec_destroy(spec);
	return true;
}

static void add_plays(struct CMUnitTest *tests, size_t *n, const char *text)
{
	/* Row magazines belong to one thread at a time. */
	bool private = strstr(text, "rows=on");

	for (size_t i = 0; i < ARRAY_SIZE(plays); i++) {
		if (!private || plays[i].run != threads_may_say_the_same_cpu)
			add(tests, n, text, plays[i].name, plays[i].run);
	}
}

/* Concurrent back ends the variants do not name yet. */
static void add_others(struct CMUnitTest *tests, size_t *n)
{
	for (size_t i = 0; allocator_builtins[i]; i++) {
		const struct allocator_ops *ops = allocator_builtins[i];
		const uint32_t unfit = ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED;

		if (ops->capabilities & ALLOCATOR_CONCURRENT && !(ops->capabilities & unfit) &&
		    strcmp(ops->name, "llfree") != 0 && strcmp(ops->name, "buddy") != 0)
			add_plays(tests, n, ops->name);
	}
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests = calloc(NR_TESTS_MAX, sizeof(*tests));
	size_t n = 0;
	int rc;

	for (int i = 1; i < argc; i++)
		add_plays(tests, &n, argv[i]);
	if (argc == 1) {
		for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
			if (exists(variants[i]))
				add_plays(tests, &n, variants[i]);
		}
		add_others(tests, &n);
		for (size_t i = 0; i < ARRAY_SIZE(flawed); i++)
			add(tests, &n, flawed[i], "is_noticed", flaw_is_noticed);
	}
	/* one group: a TAP stream has one plan */
	rc = _cmocka_run_group_tests("stress", tests, n, NULL, NULL);
	while (n)
		free((void *)(uintptr_t)tests[--n].name);
	free(tests);
	return rc;
}
