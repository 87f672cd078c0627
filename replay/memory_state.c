/* SPDX-License-Identifier: MIT */
#include "replay/memory_state.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GIB_FRAMES (UINT64_C(1) << 18)

#define STATE(name) (METRIC_##name - METRIC_STATE_FIRST)

static void set_bits(uint64_t *bits, uint64_t first, uint64_t n)
{
	while (n) {
		unsigned int shift = (unsigned int)(first & 63);
		unsigned int span = (unsigned int)min_u64(64 - shift, n);

		bits[first >> 6] |= low_bits(span) << shift;
		first += span;
		n -= span;
	}
}

static void clear_bits(uint64_t *bits, uint64_t first, uint64_t n)
{
	while (n) {
		unsigned int shift = (unsigned int)(first & 63);
		unsigned int span = (unsigned int)min_u64(64 - shift, n);

		bits[first >> 6] &= ~(low_bits(span) << shift);
		first += span;
		n -= span;
	}
}

static inline void assign_bit(uint64_t *bits, uint64_t i, bool value)
{
	bits[i >> 6] = (bits[i >> 6] & ~(UINT64_C(1) << (i & 63))) | (uint64_t)value << (i & 63);
}

static void mark_dirty(struct memory_state *s, uint64_t i)
{
	s->dirty[i >> 6] |= UINT64_C(1) << (i & 63);
}

/* Take a block out of the sums (@by -1), or put it in (1). */
static void count_block(struct memory_state *s, const struct block_counted *c, uint64_t by)
{
	unsigned int held = c->state.held, unmovable = c->state.unmovable;

	for (unsigned int o = 0; o <= HUGE_ORDER; o++)
		s->aligned[o] += by * c->aligned[o];
	if (c->state.absent)
		return;
	s->by_held[held] += by;
	if (!unmovable) {
		s->by_held_movable[held] += by;
		return;
	}
	s->unmovable_blocks += by;
	if (held > unmovable)
		s->mixed_blocks += by;
	else
		s->pinned_huge += by;
}

static int make_present(void *arg, unsigned int zone, struct pfn_range range)
{
	struct memory_state *s = arg;
	uint64_t first = range.start - s->base, end = range.end - s->base;

	(void)zone;
	clear_bits(s->taken, first, end - first);
	clear_bits(s->absent, first, end - first);
	while (first < end) {
		uint64_t n = min_u64(end, align_down(first, HUGE_FRAMES) + HUGE_FRAMES) - first;

		s->block[first / HUGE_FRAMES].absent =
			(uint16_t)(s->block[first / HUGE_FRAMES].absent - n);
		first += n;
	}
	s->free_frames += range.end - range.start;
	return 0;
}

static void mark_zones(struct memory_state *s)
{
	const struct machine *m = s->machine;

	for (uint64_t b = 0; b < s->nr_blocks; b++)
		s->block[b].zone = ZONE_MIXED;
	for (unsigned int z = 0; z < m->nr_zones; z++) {
		uint64_t first = align_up(m->zones[z].start - s->base, HUGE_FRAMES) / HUGE_FRAMES;
		uint64_t end = (m->zones[z].end - s->base) / HUGE_FRAMES;

		for (uint64_t b = first; b < end; b++)
			s->block[b].zone = (uint8_t)z;
		for (uint64_t b = align_up(first, 2); b + 1 < end; b += 2)
			assign_bit(s->pair, b, true);
	}
}

/* Zeroed pages that cost nothing until touched: a simulated terabyte is mostly untouched. */
static void *map_zeroed(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct array {
	void **at;
	size_t bytes;
};

#define ARRAYS 8

/* What a state consists of, as soon as its size is known. */
static void list_arrays(struct memory_state *s, struct array arrays[ARRAYS])
{
	const struct array all[] = {
		{(void **)&s->taken, s->frames / 8},
		{(void **)&s->absent, s->frames / 8},
		{(void **)&s->block, s->nr_blocks * sizeof(*s->block)},
		{(void **)&s->counted, s->nr_blocks * sizeof(*s->counted)},
		{(void **)&s->whole, s->nr_blocks / 8},
		{(void **)&s->dirty, s->nr_blocks / 8},
		{(void **)&s->pair, s->nr_blocks / 8},
		{(void **)&s->scratch, s->nr_blocks * (sizeof(*s->scratch) + 1)},
	};

	_Static_assert(ARRAY_SIZE(all) == ARRAYS, "all of them");
	memcpy(arrays, all, sizeof(all));
}

static void set_size(struct memory_state *s, const struct machine *m)
{
	s->machine = m;
	s->base = align_down(machine_start(m), GIB_FRAMES);
	s->frames = align_up(machine_end(m), GIB_FRAMES) - s->base;
	s->nr_blocks = s->frames / HUGE_FRAMES;
}

uint64_t memory_state_bytes(const struct machine *m)
{
	struct memory_state s = {0};
	struct array arrays[ARRAYS];
	uint64_t bytes = sizeof(s);

	set_size(&s, m);
	list_arrays(&s, arrays);
	for (size_t i = 0; i < ARRAYS; i++)
		bytes += arrays[i].bytes;
	return bytes;
}

int memory_state_create(const struct machine *m, struct memory_state **out, struct error *err)
{
	struct memory_state *s = calloc(1, sizeof(*s));
	struct array arrays[ARRAYS];
	bool whole = s;

	if (s) {
		set_size(s, m);
		list_arrays(s, arrays);
	}
	for (size_t i = 0; whole && i < ARRAYS; i++) {
		*arrays[i].at = map_zeroed(arrays[i].bytes);
		whole = *arrays[i].at;
	}
	if (!whole) {
		memory_state_destroy(s);
		return error_set(err, ENOMEM, "no memory for the state of %llu frames",
				 (unsigned long long)(machine_end(m) - machine_start(m)));
	}
	memset(s->taken, 0xff, s->frames / 8);
	memset(s->absent, 0xff, s->frames / 8);
	for (uint64_t b = 0; b < s->nr_blocks; b++)
		s->block[b].absent = HUGE_FRAMES;
	mark_zones(s);
	machine_each_managed(m, make_present, s);
	s->managed_frames = s->free_frames;
	for (uint64_t b = 0; b < s->nr_blocks; b++) {
		s->counted[b].state.absent = HUGE_FRAMES; /* in no sum yet */
		mark_dirty(s, b);
	}
	*out = s;
	return 0;
}

void memory_state_destroy(struct memory_state *s)
{
	struct array arrays[ARRAYS];

	if (!s)
		return;
	list_arrays(s, arrays);
	for (size_t i = 0; i < ARRAYS; i++)
		if (*arrays[i].at)
			munmap(*arrays[i].at, arrays[i].bytes);
	free(s);
}

/* True if the @n bits from @first all equal @value. */
static bool bits_all(const uint64_t *bits, uint64_t first, uint64_t n, bool value)
{
	uint64_t flip = value ? 0 : ~UINT64_C(0);

	while (n) {
		unsigned int shift = (unsigned int)(first & 63);
		unsigned int span = (unsigned int)min_u64(64 - shift, n);
		uint64_t mask = low_bits(span) << shift;

		if (((bits[first >> 6] ^ flip) & mask) != mask)
			return false;
		first += span;
		n -= span;
	}
	return true;
}

bool memory_state_is_free(const struct memory_state *s, pfn_t pfn, unsigned int order)
{
	return bits_all(s->taken, pfn - s->base, UINT64_C(1) << order, false);
}

bool memory_state_is_taken(const struct memory_state *s, pfn_t pfn, unsigned int order)
{
	return bits_all(s->taken, pfn - s->base, UINT64_C(1) << order, true);
}

void memory_state_set_words(struct memory_state *s, uint64_t first, uint64_t frames, bool taken)
{
	if (taken)
		set_bits(s->taken, first, frames);
	else
		clear_bits(s->taken, first, frames);
}

/* Frames of the range inside one block become present, or absent, as far as they can. */
static void turn_block(struct memory_state *s, uint64_t first, uint64_t end, bool present)
{
	struct block_state *b = &s->block[first / HUGE_FRAMES];
	uint64_t turned = 0;

	for (uint64_t f = first; f < end; f++) {
		uint64_t bit = UINT64_C(1) << (f & 63), *word = &s->taken[f >> 6];
		bool absent = s->absent[f >> 6] & bit;

		if (machine_zone_of(s->machine, s->base + f) < 0)
			continue;
		if (present ? !absent : *word & bit)
			continue;
		*word ^= bit;
		s->absent[f >> 6] ^= bit;
		turned++;
	}
	if (present) {
		b->absent = (uint16_t)(b->absent - turned);
		s->free_frames += turned;
		s->managed_frames += turned;
	} else {
		b->absent = (uint16_t)(b->absent + turned);
		s->free_frames -= turned;
		s->managed_frames -= turned;
	}
	mark_dirty(s, first / HUGE_FRAMES);
}

static void turn(struct memory_state *s, struct pfn_range range, bool present)
{
	uint64_t first, end;

	if (range.start < s->base)
		range.start = s->base;
	if (range.end > s->base + s->frames)
		range.end = s->base + s->frames;
	if (range.start >= range.end)
		return;
	first = range.start - s->base;
	end = range.end - s->base;
	while (first < end) {
		uint64_t stop = min_u64(end, align_down(first, HUGE_FRAMES) + HUGE_FRAMES);

		turn_block(s, first, stop, present);
		first = stop;
	}
}

void memory_state_online(struct memory_state *s, struct pfn_range range)
{
	turn(s, range, true);
}

void memory_state_offline(struct memory_state *s, struct pfn_range range)
{
	turn(s, range, false);
}

void memory_state_load(struct memory_state *s, const struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		const struct frame_run *run = &map->runs[i];
		uint64_t step = UINT64_C(1) << run->order;

		if (!frame_state_allocated(run->state))
			continue;
		for (uint64_t done = 0; done < run->frames; done += step)
			memory_state_hold(s, run->start + done, run->order,
					  run->state == FRAME_MOVABLE);
	}
}

/*
 * Count aligned free blocks of orders 0..9 in [first, end) inside one 2 MiB block: within a 64-bit
 * word by folding the word on itself, above it by runs of free words.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("popcnt", "default")))
#endif
static void
count_aligned(const struct memory_state *s, uint64_t first, uint64_t end,
	      struct block_counted *count)
{
	static const uint64_t even[6] = {
		~UINT64_C(0),	       0x5555555555555555ULL, 0x1111111111111111ULL,
		0x0101010101010101ULL, 0x0001000100010001ULL, 0x0000000100000001ULL,
	};
	uint64_t run = 0; /* whole free words that end at this one */

	for (uint64_t w = first >> 6; w < div_round_up(end, 64); w++) {
		uint64_t f = ~s->taken[w];

		if (w << 6 < first)
			f &= ~low_bits((unsigned int)(first & 63));
		if ((w + 1) << 6 > end)
			f &= low_bits((unsigned int)(end & 63));
		if (f != ~UINT64_C(0)) {
			run = 0;
			for (unsigned int o = 0; f && o < 6; o++) {
				f &= even[o];
				count->aligned[o] =
					(uint16_t)(count->aligned[o] + __builtin_popcountll(f));
				f &= f >> (1U << o);
			}
			continue;
		}
		run++;
		for (unsigned int o = 0; o < 6; o++)
			count->aligned[o] = (uint16_t)(count->aligned[o] + (64U >> o));
		for (unsigned int o = 6; o <= HUGE_ORDER; o++) {
			uint64_t words = UINT64_C(1) << (o - 6);

			if (!is_aligned(w + 1, words) || run < words)
				break;
			count->aligned[o]++;
		}
	}
}

/* No free block crosses a zone border, so a 2 MiB block in several zones is counted in pieces. */
static void count_free(const struct memory_state *s, uint64_t b, struct block_counted *count)
{
	uint64_t first = b * HUGE_FRAMES, end = first + HUGE_FRAMES;

	if (s->block[b].held + s->block[b].absent == HUGE_FRAMES)
		return;
	if (s->block[b].zone != ZONE_MIXED) {
		count_aligned(s, first, end, count);
		return;
	}
	for (unsigned int z = 0; z < s->machine->nr_zones; z++) {
		uint64_t from = max_u64(first, s->machine->zones[z].start - s->base);
		uint64_t to = min_u64(end, s->machine->zones[z].end - s->base);

		if (from < to)
			count_aligned(s, from, to, count);
	}
}

static void recount_block(struct memory_state *s, uint64_t b)
{
	struct block_counted now = {.state = s->block[b]};

	count_free(s, b, &now);
	count_block(s, &s->counted[b], UINT64_MAX);
	count_block(s, &now, 1);
	s->counted[b] = now;
	assign_bit(s->whole, b, !(now.state.held + now.state.absent));
}

/* Bring the sums up to date. */
static void recount(struct memory_state *s)
{
	for (uint64_t w = 0; w < s->nr_blocks / 64; w++) {
		for (uint64_t dirty = s->dirty[w]; dirty; dirty &= dirty - 1)
			recount_block(s, w * 64 + trailing_zeros(dirty));
		s->dirty[w] = 0;
	}
}

/* Wholly free aligned groups of 2, 8, 64 and 512 blocks of 2 MiB, the first within one zone. */
struct free_groups {
	uint64_t of_2, of_8, of_64, of_512;
};

/* The arrays begin and end at 1 GiB, which is eight words of whole[]. */
static void count_groups(const struct memory_state *s, struct free_groups *g)
{
	uint64_t run = 0; /* all-ones words that end at this one */

	memset(g, 0, sizeof(*g));
	for (uint64_t w = 0; w < s->nr_blocks / 64; w++) {
		uint64_t f = s->whole[w];

		run = f == ~UINT64_C(0) ? run + 1 : 0;
		g->of_64 += run > 0;
		g->of_512 += run >= 8 && (w & 7) == 7;
		f &= f >> 1;
		g->of_2 += (uint64_t)__builtin_popcountll(f & s->pair[w]);
		f &= f >> 2;
		f &= f >> 4;
		g->of_8 += (uint64_t)__builtin_popcountll(f & 0x0101010101010101ULL);
	}
}

static void free_blocks(struct memory_state *s, const struct free_groups *g,
			uint64_t blocks[NR_ORDERS])
{
	/* A block is maximal unless it is half of a free aligned one. */
	for (unsigned int o = 0; o < HUGE_ORDER; o++)
		blocks[o] = s->aligned[o] - 2 * s->aligned[o + 1];
	blocks[HUGE_ORDER] = s->aligned[HUGE_ORDER] - 2 * g->of_2;
	blocks[MAX_ORDER] = g->of_2;
}

void memory_state_free_blocks(struct memory_state *s, uint64_t blocks[NR_ORDERS])
{
	struct free_groups groups;

	recount(s);
	count_groups(s, &groups);
	free_blocks(s, &groups, blocks);
}

bool memory_state_has_free_block(struct memory_state *s, unsigned int order)
{
	uint64_t blocks[NR_ORDERS];

	memory_state_free_blocks(s, blocks);
	for (unsigned int o = order; o < NR_ORDERS; o++)
		if (blocks[o])
			return true;
	return false;
}

void free_block_indices(const uint64_t blocks[NR_ORDERS], double unusable[NR_ORDERS],
			double fragmentation[NR_ORDERS])
{
	int64_t frames = 0, total = 0;

	for (unsigned int o = 0; o < NR_ORDERS; o++) {
		frames += (int64_t)(blocks[o] << o);
		total += (int64_t)blocks[o];
	}
	for (unsigned int k = 0; k < NR_ORDERS; k++) {
		int64_t suitable = 0, index;

		for (unsigned int o = k; o < NR_ORDERS; o++)
			suitable += (int64_t)(blocks[o] << (o - k));
		index = frames ? (frames - (suitable << k)) * 1000 / frames : 1000;
		unusable[k] = (double)index / 1000;
		if (!total)
			index = 0;
		else if (suitable)
			index = -1000;
		else
			index = 1000 - (1000 + frames * 1000 / (INT64_C(1) << k)) / total;
		fragmentation[k] = (double)index / 1000;
	}
}

uint64_t moves_to_compact(uint16_t *held, const uint8_t *fixed, size_t n)
{
	uint64_t moves = 0;
	size_t l = 0, r = n ? n - 1 : 0;

	while (l < r) {
		unsigned int d;

		if ((fixed && fixed[l]) || !held[l]) {
			l++;
			continue;
		}
		d = HUGE_FRAMES - held[r];
		if (d > held[l])
			d = held[l];
		held[l] = (uint16_t)(held[l] - d);
		held[r] = (uint16_t)(held[r] + d);
		moves += d;
		if (held[r] == HUGE_FRAMES)
			r--;
		if (!held[l])
			l++;
	}
	return moves;
}

/*
 * The blocks sorted by frames held, those that may be emptied first among equals. Empty and full
 * ones move nothing and are left out.
 */
static size_t sorted_blocks(const struct memory_state *s, uint16_t *held, uint8_t *fixed)
{
	size_t n = 0;

	for (unsigned int h = 1; h < HUGE_FRAMES; h++)
		for (uint64_t i = 0; i < s->by_held[h]; i++) {
			held[n] = (uint16_t)h;
			fixed[n++] = i >= s->by_held_movable[h];
		}
	return n;
}

METRIC_RANGE(unusable_index_o0, unusable_index_o10, NR_ORDERS);
METRIC_RANGE(fragmentation_index_o0, fragmentation_index_o10, NR_ORDERS);

void memory_state_metrics(struct memory_state *s, double v[METRIC_STATE_COUNT],
			  uint64_t blocks[NR_ORDERS])
{
	double free_frames = (double)s->free_frames;
	uint8_t *fixed = (uint8_t *)(s->scratch + s->nr_blocks);
	struct free_groups groups;
	size_t n;

	recount(s);
	count_groups(s, &groups);
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++)
		v[i] = NAN;
	v[STATE(free_frames)] = free_frames;
	v[STATE(free_huge)] = (double)s->by_held[0];
	if (s->free_frames >= HUGE_FRAMES)
		v[STATE(huge_score)] =
			100.0 * (double)s->by_held[0] / (double)(s->free_frames / HUGE_FRAMES);
	if (s->free_frames) {
		v[STATE(free_share_2m)] = (double)(s->by_held[0] * HUGE_FRAMES) / free_frames;
		v[STATE(free_share_16m)] = (double)(groups.of_8 * 8 * HUGE_FRAMES) / free_frames;
		v[STATE(free_share_128m)] = (double)(groups.of_64 * 64 * HUGE_FRAMES) / free_frames;
		v[STATE(free_share_1g)] = (double)(groups.of_512 * 512 * HUGE_FRAMES) / free_frames;
	}
	v[STATE(unmovable_frames)] = (double)s->unmovable_frames;
	v[STATE(unmovable_blocks)] = (double)s->unmovable_blocks;
	v[STATE(mixed_blocks)] = (double)s->mixed_blocks;
	v[STATE(pinned_huge)] = (double)s->pinned_huge;
	n = sorted_blocks(s, s->scratch, fixed);
	v[STATE(moves_to_compact)] = (double)moves_to_compact(s->scratch, NULL, n);
	n = sorted_blocks(s, s->scratch, fixed);
	v[STATE(moves_to_compact_movable)] = (double)moves_to_compact(s->scratch, fixed, n);
	free_blocks(s, &groups, blocks);
	free_block_indices(blocks, &v[STATE(unusable_index_o0)], &v[STATE(fragmentation_index_o0)]);
}
