/* SPDX-License-Identifier: MIT */
#include "allocators/percpu/held.h"

#include "base/bits.h"

#define WORD_ORDER 6
#define WORD_BITS  64

size_t held_bytes(uint64_t frames)
{
	return (size_t)div_round_up(frames, WORD_BITS) * sizeof(uint64_t);
}

void held_init(struct held *h, pfn_t base, uint64_t frames, void *zeroed)
{
	*h = (struct held){.word = zeroed, .base = base, .frames = frames};
}

void held_reset(struct held *h)
{
	for (uint64_t i = 0; i < div_round_up(h->frames, WORD_BITS); i++) {
		/* Untouched memory stays untouched. */
		if (atomic_load_explicit(&h->word[i], memory_order_relaxed))
			atomic_store_explicit(&h->word[i], 0, memory_order_relaxed);
	}
}

bool held_is_block(const struct held *h, pfn_t pfn, unsigned int order)
{
	return order <= MAX_ORDER && is_aligned(pfn, UINT64_C(1) << order) && pfn >= h->base &&
	       pfn - h->base < h->frames && h->frames - (pfn - h->base) >= UINT64_C(1) << order;
}

/* A block as words: in full, or one in part. */
struct span {
	_Atomic uint64_t *word;
	uint64_t mask, words;
};

static struct span span_of(const struct held *h, pfn_t pfn, unsigned int order)
{
	uint64_t i = pfn - h->base;

	return (struct span){
		.word = &h->word[i / WORD_BITS],
		.mask = low_bits(1U << (order < WORD_ORDER ? order : WORD_ORDER)) << i % WORD_BITS,
		.words = order < WORD_ORDER ? 1 : UINT64_C(1) << (order - WORD_ORDER),
	};
}

void held_set(struct held *h, pfn_t pfn, unsigned int order)
{
	struct span s = span_of(h, pfn, order);

	if (order < WORD_ORDER) {
		atomic_fetch_or_explicit(s.word, s.mask, memory_order_relaxed);
		return;
	}
	/* Whole words are the block's alone. */
	for (uint64_t i = 0; i < s.words; i++)
		atomic_store_explicit(&s.word[i], s.mask, memory_order_relaxed);
}

bool held_clear(struct held *h, pfn_t pfn, unsigned int order)
{
	struct span s;
	uint64_t old;

	if (!held_is_block(h, pfn, order))
		return false;
	s = span_of(h, pfn, order);
	for (uint64_t i = 1; i < s.words; i++) {
		if (atomic_load_explicit(&s.word[i], memory_order_relaxed) != s.mask)
			return false;
	}
	/* Of several that free the block at once, the first word tells who did. */
	old = atomic_fetch_and_explicit(s.word, ~s.mask, memory_order_relaxed);
	if ((old & s.mask) != s.mask) {
		/* What was not there must not appear: only what was. */
		atomic_fetch_or_explicit(s.word, old & s.mask, memory_order_relaxed);
		return false;
	}
	for (uint64_t i = 1; i < s.words; i++)
		atomic_store_explicit(&s.word[i], 0, memory_order_relaxed);
	return true;
}

bool held_any(const struct held *h, pfn_t pfn, unsigned int order)
{
	struct span s = span_of(h, pfn, order);

	for (uint64_t i = 0; i < s.words; i++) {
		if (atomic_load_explicit(&s.word[i], memory_order_relaxed) & s.mask)
			return true;
	}
	return false;
}

void held_set_range(struct held *h, pfn_t start, pfn_t end)
{
	while (start < end) {
		unsigned int order = largest_order(start, end, MAX_ORDER);

		held_set(h, start, order);
		start += UINT64_C(1) << order;
	}
}

uint64_t held_count(const struct held *h, pfn_t start, pfn_t end)
{
	uint64_t n = 0;

	while (start < end) {
		unsigned int order = largest_order(start, end, WORD_ORDER);
		struct span s = span_of(h, start, order);

		n += (uint64_t)__builtin_popcountll(
			atomic_load_explicit(s.word, memory_order_relaxed) & s.mask);
		start += UINT64_C(1) << order;
	}
	return n;
}
