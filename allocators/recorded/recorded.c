/* SPDX-License-Identifier: MIT */
/*
 * The reference row of every report: each object lies where the recording kernel put it. There is no
 * policy here, only a bit per frame, so that a contradiction in the recording is refused instead of
 * passed on. Zones are the kernel's business.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "allocators/allocator.h"
#include "base/bits.h"

struct allocator {
	const struct machine *machine;
	pfn_t base;	    /* of bit 0; aligned to the largest block */
	uint64_t words;	    /* of each bitmap */
	uint64_t *taken;    /* per frame: not free */
	uint64_t *withheld; /* per frame: absent, so taken for good */
	uint64_t free_frames;
};

static uint64_t block_frames(unsigned int order)
{
	return UINT64_C(1) << order;
}

/* ---- ranges of bits, a word at a time ---- */

struct span {
	uint64_t word, mask;
};

/* The bits of [*@from, @to) in the word of *@from, which moves on to the next word. */
static struct span next_span(uint64_t *from, uint64_t to)
{
	uint64_t stop = min_u64(to, align_down(*from, 64) + 64);
	struct span span = {
		.word = *from / 64,
		.mask = low_bits((unsigned int)(stop - *from)) << (*from % 64),
	};

	*from = stop;
	return span;
}

static bool all_zeros(const uint64_t *bits, uint64_t from, uint64_t to)
{
	while (from < to) {
		struct span s = next_span(&from, to);

		if (bits[s.word] & s.mask)
			return false;
	}
	return true;
}

static bool all_ones(const uint64_t *bits, uint64_t from, uint64_t to)
{
	while (from < to) {
		struct span s = next_span(&from, to);

		if (~bits[s.word] & s.mask)
			return false;
	}
	return true;
}

static bool all_equal(const uint64_t *bits, const uint64_t *others, uint64_t from, uint64_t to)
{
	while (from < to) {
		struct span s = next_span(&from, to);

		if ((bits[s.word] ^ others[s.word]) & s.mask)
			return false;
	}
	return true;
}

static uint64_t count_zeros(const uint64_t *bits, uint64_t from, uint64_t to)
{
	uint64_t zeros = 0;

	while (from < to) {
		struct span s = next_span(&from, to);

		zeros += (uint64_t)__builtin_popcountll(~bits[s.word] & s.mask);
	}
	return zeros;
}

/* Write only what changes, so that untouched metadata costs no memory. */
static void fill(uint64_t *bits, uint64_t from, uint64_t to, bool ones)
{
	while (from < to) {
		struct span s = next_span(&from, to);
		uint64_t word = ones ? bits[s.word] | s.mask : bits[s.word] & ~s.mask;

		if (word != bits[s.word])
			bits[s.word] = word;
	}
}

/* The first bit of [@from, @to) that is @one, or @to. */
static uint64_t find(const uint64_t *bits, uint64_t from, uint64_t to, bool one)
{
	while (from < to) {
		struct span s = next_span(&from, to);
		uint64_t hits = (one ? bits[s.word] : ~bits[s.word]) & s.mask;

		if (hits)
			return s.word * 64 + trailing_zeros(hits);
	}
	return to;
}

/* ---- frames ---- */

static bool is_block(const struct allocator *a, pfn_t pfn, unsigned int order)
{
	return order <= MAX_ORDER && is_aligned(pfn, block_frames(order)) && pfn >= a->base &&
	       pfn < a->base + a->words * 64;
}

static void set_range(struct allocator *a, struct pfn_range range, bool taken, bool withheld)
{
	uint64_t from = range.start - a->base, to = range.end - a->base;

	a->free_frames -= count_zeros(a->taken, from, to);
	fill(a->taken, from, to, taken);
	fill(a->withheld, from, to, withheld);
	if (!taken)
		a->free_frames += to - from;
}

struct withhold_gaps {
	struct allocator *a;
	pfn_t done; /* everything below is in its state */
};

static int withhold_gap(void *arg, unsigned int zone, struct pfn_range managed)
{
	struct withhold_gaps *gaps = arg;

	(void)zone;
	set_range(gaps->a, (struct pfn_range){gaps->done, managed.start}, true, true);
	gaps->done = managed.end;
	return 0;
}

/* ---- the interface ---- */

static int recorded_create(const struct alloc_env *env, struct allocator **result)
{
	const struct machine *m = env->machine;
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);
	struct withhold_gaps gaps;
	pfn_t end = align_up(machine_end(m), block_frames(MAX_ORDER));

	if (!a)
		return error_set(env->error, ENOMEM, "out of memory for metadata");
	a->machine = m;
	a->base = align_down(machine_start(m), block_frames(MAX_ORDER));
	a->words = (end - a->base) / 64;
	if (a->words == 0)
		return error_set(env->error, EINVAL, "the machine has no memory");
	if (a->words * 64 > ALLOCATOR_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "%" PRIu64 " frames from the first to the last are more than the "
				 "%" PRIu64 " supported; use a smaller machine",
				 a->words * 64, ALLOCATOR_FRAMES_MAX);
	a->taken = env->meta(env, a->words * sizeof(uint64_t), 64, META_VOLATILE);
	a->withheld = env->meta(env, a->words * sizeof(uint64_t), 64, META_VOLATILE);
	if (!a->taken || !a->withheld)
		return error_set(env->error, ENOMEM,
				 "out of memory for the bitmaps of %" PRIu64 " frames",
				 a->words * 64);
	a->free_frames = a->words * 64;
	gaps = (struct withhold_gaps){.a = a, .done = a->base};
	machine_each_managed(m, withhold_gap, &gaps);
	set_range(a, (struct pfn_range){gaps.done, end}, true, true);
	*result = a;
	return 0;
}

static void recorded_destroy(struct allocator *a)
{
	(void)a; /* all of it is the environment's */
}

static int recorded_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint64_t from = pfn - a->base, to = from + block_frames(req->order);

	if (!is_block(a, pfn, req->order) || !all_zeros(a->withheld, from, to))
		return -EINVAL;
	if (!all_zeros(a->taken, from, to))
		return -EBUSY;
	fill(a->taken, from, to, true);
	a->free_frames -= to - from;
	return 0;
}

static struct alloc_result recorded_alloc(struct allocator *a, const struct alloc_request *req)
{
	int rc = recorded_alloc_at(a, req->hint_pfn, req);

	return (struct alloc_result){.pfn = rc ? PFN_NONE : req->hint_pfn};
}

static int recorded_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint64_t from = pfn - a->base, to = from + block_frames(req->order);

	if (!is_block(a, pfn, req->order) || !all_ones(a->taken, from, to) ||
	    !all_zeros(a->withheld, from, to))
		return -EINVAL;
	fill(a->taken, from, to, false);
	a->free_frames += to - from;
	return 0;
}

static int recorded_adopt(struct allocator *a, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		if (r->start < a->base || r->start + r->frames > a->base + a->words * 64)
			return -EINVAL;
	}
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *r = &map->runs[i];

		set_range(a, (struct pfn_range){r->start, r->start + r->frames},
			  !frame_state_free(r->state), !frame_state_managed(r->state));
	}
	return 0;
}

static int recorded_online(struct allocator *a, struct pfn_range range)
{
	struct pfn_range part;
	unsigned int zone;
	bool ours = false;

	while (machine_next_part(a->machine, &range, &zone, &part)) {
		uint64_t at = part.start - a->base, end = part.end - a->base, stop;

		ours = true;
		for (; (at = find(a->withheld, at, end, true)) < end; at = stop) {
			stop = find(a->withheld, at, end, false);
			set_range(a, (struct pfn_range){a->base + at, a->base + stop}, false,
				  false);
		}
	}
	return ours ? 0 : -EINVAL;
}

static int recorded_offline(struct allocator *a, struct pfn_range range)
{
	struct pfn_range rest = range, part;
	unsigned int zone;
	bool ours = false;

	while (machine_next_part(a->machine, &rest, &zone, &part)) {
		ours = true;
		if (!all_equal(a->taken, a->withheld, part.start - a->base, part.end - a->base))
			return -EBUSY; /* taken, yet not absent */
	}
	while (machine_next_part(a->machine, &range, &zone, &part))
		set_range(a, part, true, true);
	return ours ? 0 : -EINVAL;
}

/* The free runs of one zone, cut greedily into maximal aligned blocks. */
static void zone_stats(const struct allocator *a, const struct zone *z,
		       struct allocator_stats *stats)
{
	uint64_t at = z->start - a->base, end = z->end - a->base;

	for (;;) {
		uint64_t stop;

		at = find(a->taken, at, end, false);
		if (at == end)
			return;
		stop = find(a->taken, at, end, true);
		stats->free_frames += stop - at;
		while (at < stop) {
			/* base is aligned, so a bit's number is as aligned as its pfn */
			unsigned int order = largest_order(at, stop, MAX_ORDER);

			stats->free_blocks[MIGRATE_MOVABLE][order]++;
			at += block_frames(order);
		}
	}
}

static int recorded_stats(const struct allocator *a, unsigned int zone,
			  struct allocator_stats *stats)
{
	if (zone != ALLOCATOR_ALL_ZONES && zone >= a->machine->nr_zones)
		return -EINVAL;
	memset(stats, 0, sizeof(*stats));
	for (uint32_t i = 0; i < a->machine->nr_zones; i++) {
		if (zone == ALLOCATOR_ALL_ZONES || zone == i)
			zone_stats(a, &a->machine->zones[i], stats);
	}
	return 0;
}

static void recorded_occupancy(const struct allocator *a, uint64_t first, size_t n,
			       uint16_t *free_frames)
{
	for (size_t i = 0; i < n; i++) {
		pfn_t pfn = (first + i) * HUGE_FRAMES;

		free_frames[i] = 0;
		if (is_block(a, pfn, HUGE_ORDER))
			free_frames[i] = (uint16_t)count_zeros(a->taken, pfn - a->base,
							       pfn - a->base + HUGE_FRAMES);
	}
}

static int recorded_check(const struct allocator *a, struct error *err)
{
	for (uint64_t i = 0; i < a->words; i++) {
		uint64_t bad = a->withheld[i] & ~a->taken[i];

		if (bad)
			return error_set(err, EUCLEAN, "pfn %" PRIu64 ": absent, yet free",
					 a->base + i * 64 + trailing_zeros(bad));
	}
	if (count_zeros(a->taken, 0, a->words * 64) != a->free_frames)
		return error_set(err, EUCLEAN, "%" PRIu64 " free frames: miscounted",
				 a->free_frames);
	return 0;
}

const struct allocator_ops recorded_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "recorded",
	.summary = "each object where the recording kernel put it: the reference",
	.capabilities = ALLOCATOR_ECHO | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT,
	.create = recorded_create,
	.destroy = recorded_destroy,
	.alloc = recorded_alloc,
	.free = recorded_free,
	.alloc_at = recorded_alloc_at,
	.adopt = recorded_adopt,
	.online = recorded_online,
	.offline = recorded_offline,
	.stats = recorded_stats,
	.occupancy = recorded_occupancy,
	.check = recorded_check,
};
