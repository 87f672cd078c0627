/* SPDX-License-Identifier: MIT */
#include "tests/allocators/conc_bitmap.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum flaw { FLAW_NONE, FLAW_GET, FLAW_PUT, FLAW_LEAK, FLAW_FORGED, FLAW_RELAXED };

static const char *const flaw_names[] = {"none", "get", "put", "leak", "forged", "relaxed", NULL};

static const struct option options[] = {
	{.name = "flaw",
	 .type = OPTION_CHOICE,
	 .fallback = "none",
	 .choices = flaw_names,
	 .help = "what to do wrong"},
	{.name = NULL},
};

#define WORD_ORDER	6 /* frames of a word */
#define MEETINGS_MAX	400U
#define PATIENCE	1000 /* times to yield; nobody may be coming */
#define LEAK_INTERVAL	1000U
#define FORGED_INTERVAL 10U

struct allocator {
	const struct machine *machine;
	size_t nr_words;
	_Atomic uint64_t *taken; /* a bit per pfn from 0 */
	uint64_t *absent;
	enum flaw flaw;
	_Atomic unsigned int meetings, frees, forgeries;
};

static int mark_managed(void *arg, unsigned int zone, struct pfn_range range)
{
	struct allocator *a = arg;

	(void)zone;
	for (pfn_t pfn = range.start; pfn < range.end; pfn++)
		a->absent[pfn / 64] &= ~(UINT64_C(1) << pfn % 64);
	return 0;
}

static int conc_create(const struct alloc_env *env, struct allocator **out)
{
	struct allocator *a = calloc(1, sizeof(*a));
	size_t words = (size_t)(machine_end(env->machine) / HUGE_FRAMES + 2) * (HUGE_FRAMES / 64);

	if (!a)
		return error_set(env->error, ENOMEM, "no memory");
	a->machine = env->machine;
	a->nr_words = words;
	a->flaw = (enum flaw)env->option_choice(env, "flaw");
	a->taken = env->meta(env, words * sizeof(*a->taken), 64, META_VOLATILE);
	a->absent = env->meta(env, words * sizeof(*a->absent), 64, META_VOLATILE);
	if (!a->taken || !a->absent) {
		free(a);
		return error_set(env->error, ENOMEM, "no memory for metadata");
	}
	memset(a->absent, 0xff, words * sizeof(*a->absent));
	machine_each_managed(env->machine, mark_managed, a);
	for (size_t i = 0; i < words; i++)
		atomic_init(&a->taken[i], a->absent[i]);
	*out = a;
	return 0;
}

static void conc_destroy(struct allocator *a)
{
	free(a);
}

/* Every other caller waits here for the next one; the first ones only, and not for ever. */
static void meet(struct allocator *a)
{
	unsigned int n = atomic_fetch_add(&a->meetings, 1);

	if (n >= MEETINGS_MAX || n % 2)
		return;
	for (int i = 0; i < PATIENCE && atomic_load(&a->meetings) == n + 1; i++)
		sched_yield();
}

/*
 * Change @word from @from to @to. Acquire pairs with the release of whoever freed the frames: what it
 * did to them is over.
 */
static bool change(struct allocator *a, size_t word, uint64_t from, uint64_t to, bool carelessly)
{
	if (carelessly) {
		meet(a);
		atomic_store(&a->taken[word], to);
		return true;
	}
	if (a->flaw == FLAW_RELAXED)
		return atomic_compare_exchange_strong_explicit(
			&a->taken[word], &from, to, memory_order_relaxed, memory_order_relaxed);
	return atomic_compare_exchange_strong_explicit(&a->taken[word], &from, to,
						       memory_order_acq_rel, memory_order_relaxed);
}

/* The frames of the block at @pfn inside one word. */
static uint64_t mask_of(pfn_t pfn, unsigned int order)
{
	return low_bits(1U << order) << pfn % 64;
}

/* Take the block at @pfn, if all of it is free. */
static bool take(struct allocator *a, pfn_t pfn, unsigned int order)
{
	size_t first = (size_t)(pfn / 64), n, i;

	if (order <= WORD_ORDER) {
		uint64_t mask = mask_of(pfn, order), word;

		do {
			word = atomic_load_explicit(&a->taken[first], memory_order_relaxed);
			if (word & mask)
				return false;
		} while (!change(a, first, word, word | mask, a->flaw == FLAW_GET));
		return true;
	}
	n = (size_t)1 << (order - WORD_ORDER);
	for (i = 0; i < n; i++) {
		if (!change(a, first + i, 0, UINT64_MAX, false))
			break;
	}
	if (i == n)
		return true;
	/* Release: whoever gets them next has to see the free that we saw. */
	while (i--)
		atomic_store_explicit(&a->taken[first + i], 0, memory_order_release);
	return false;
}

static bool in_one_zone(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	int zone = machine_zone_of(a->machine, pfn);

	return zone >= 0 && pfn + (UINT64_C(1) << order) <= a->machine->zones[zone].end;
}

static bool is_block(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	return order <= MAX_ORDER && pfn < a->nr_words * 64 &&
	       is_aligned(pfn, UINT64_C(1) << order) && in_one_zone(a, pfn, order);
}

static struct alloc_result conc_alloc(struct allocator *a, const struct alloc_request *req)
{
	uint64_t frames = UINT64_C(1) << req->order;

	for (pfn_t pfn = 0; pfn + frames <= a->nr_words * 64; pfn += frames) {
		uint64_t word = atomic_load_explicit(&a->taken[pfn / 64], memory_order_relaxed);

		if (word == UINT64_MAX) /* the rest of it is skipped, too */
			pfn = align_up(pfn + 1, max_u64(64, frames)) - frames;
		else if (is_block(a, pfn, req->order) && take(a, pfn, req->order))
			return (struct alloc_result){.pfn = pfn};
	}
	return (struct alloc_result){.pfn = PFN_NONE};
}

static int conc_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	if (!is_block(a, pfn, req->order))
		return -EINVAL;
	return take(a, pfn, req->order) ? 0 : -EBUSY;
}

/* Is all of it taken by somebody? */
static bool all_taken(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	for (pfn_t at = pfn; at < pfn + (UINT64_C(1) << order); at += 64) {
		uint64_t mask = mask_of(at, (unsigned int)min_u64(order, WORD_ORDER));
		uint64_t word = atomic_load_explicit(&a->taken[at / 64], memory_order_relaxed);

		if ((word & mask) != mask || a->absent[at / 64] & mask)
			return false;
	}
	return true;
}

static int conc_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	unsigned int order = req->order;

	if (!is_block(a, pfn, order))
		return -EINVAL;
	if (!all_taken(a, pfn, order))
		return a->flaw == FLAW_FORGED && ++a->forgeries % FORGED_INTERVAL == 0 ? 0
										       : -EINVAL;
	if (a->flaw == FLAW_LEAK && ++a->frees % LEAK_INTERVAL == 0)
		return 0;
	for (pfn_t at = pfn; at < pfn + (UINT64_C(1) << order); at += 64) {
		uint64_t mask = mask_of(at, (unsigned int)min_u64(order, WORD_ORDER)), word;

		do {
			word = atomic_load_explicit(&a->taken[at / 64], memory_order_relaxed);
		} while (!change(a, (size_t)(at / 64), word, word & ~mask, a->flaw == FLAW_PUT));
	}
	return 0;
}

/* Free frames of [start, end), which need no alignment. */
static uint64_t count_free(const struct allocator *a, pfn_t start, pfn_t end)
{
	uint64_t frames = 0;

	end = min_u64(end, a->nr_words * 64);
	for (pfn_t pfn = start; pfn < end; pfn = align_down(pfn, 64) + 64) {
		uint64_t word = atomic_load_explicit(&a->taken[pfn / 64], memory_order_relaxed);
		uint64_t n = min_u64(end - pfn, 64 - pfn % 64);

		frames += (uint64_t)__builtin_popcountll(~word >> pfn % 64 &
							 low_bits((unsigned int)n));
	}
	return frames;
}

static int conc_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	const struct machine *m = a->machine;

	if (zone != ALLOCATOR_ALL_ZONES && zone >= m->nr_zones)
		return -EINVAL;
	*stats = (struct allocator_stats){0};
	stats->free_frames = zone == ALLOCATOR_ALL_ZONES
				     ? count_free(a, 0, a->nr_words * 64)
				     : count_free(a, m->zones[zone].start, m->zones[zone].end);
	stats->free_blocks[MIGRATE_MOVABLE][0] = stats->free_frames;
	return 0;
}

static void conc_occupancy(const struct allocator *a, uint64_t first, size_t n,
			   uint16_t *free_frames)
{
	for (size_t i = 0; i < n; i++)
		free_frames[i] = (uint16_t)count_free(a, (first + i) * HUGE_FRAMES,
						      (first + i + 1) * HUGE_FRAMES);
}

static int conc_check(const struct allocator *a, struct error *err)
{
	for (size_t i = 0; i < a->nr_words; i++) {
		if (a->absent[i] & ~atomic_load(&a->taken[i]))
			return error_set(err, EUCLEAN, "pfn %zu or after: absent, yet free",
					 i * 64);
	}
	return 0;
}

const struct allocator_ops conc_bitmap_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "bitmap",
	.summary = "a bit per frame, for tests of concurrency",
	.capabilities = ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT,
	.options = options,
	.create = conc_create,
	.destroy = conc_destroy,
	.alloc = conc_alloc,
	.free = conc_free,
	.alloc_at = conc_alloc_at,
	.stats = conc_stats,
	.occupancy = conc_occupancy,
	.check = conc_check,
};
