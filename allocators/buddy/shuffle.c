/* SPDX-License-Identifier: MIT */
/*
 * Each block gets a key from the seed and its pfn, and lists are sorted by key: whatever order they were
 * in, they end in the same one, on every machine.
 */
#include "allocators/buddy/shuffle.h"

#include <errno.h>
#include <stdlib.h>

#include "allocators/buddy/percpu.h"

/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014), which tells neighbours well apart. */
static uint64_t mix(uint64_t v)
{
	v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
	return v ^ (v >> 31);
}

static uint64_t key_of(const struct buddy_zone *z, uint32_t f, uint64_t seed)
{
	return mix(mix(seed + UINT64_C(0x9e3779b97f4a7c15)) + z->base + f);
}

/* Two sorted chains become one; all end with ZONE_NO_FRAME. */
static uint32_t merge(const struct buddy_zone *z, uint32_t a, uint32_t b, uint64_t seed)
{
	uint32_t first = ZONE_NO_FRAME, *end = &first;

	while (a != ZONE_NO_FRAME && b != ZONE_NO_FRAME) {
		uint32_t *from = key_of(z, a, seed) <= key_of(z, b, seed) ? &a : &b;

		*end = *from;
		end = &zone_link(z, *from)->next;
		*from = *end;
	}
	*end = a != ZONE_NO_FRAME ? a : b;
	return first;
}

/* Take @n blocks, at least one, off the chain *@head. Return: the first of them, sorted by key. */
static uint32_t take_sorted(const struct buddy_zone *z, uint32_t *head, uint64_t n, uint64_t seed)
{
	uint32_t low, high;

	if (n == 1) {
		low = *head;
		*head = zone_link(z, low)->next;
		zone_link(z, low)->next = ZONE_NO_FRAME;
		return low;
	}
	low = take_sorted(z, head, n / 2, seed);
	high = take_sorted(z, head, n - n / 2, seed);
	return merge(z, low, high, seed);
}

static void shuffle_list(struct buddy_zone *z, unsigned int order, unsigned int mt, uint64_t seed)
{
	uint32_t list = zone_sentinel(z, order, mt), head = zone_first(z, order, mt), prev = list;
	uint32_t f = take_sorted(z, &head, z->nr_free[mt][order], seed);

	for (; f != ZONE_NO_FRAME; f = zone_link(z, f)->next) {
		zone_link(z, prev)->next = f;
		zone_link(z, f)->prev = prev;
		prev = f;
	}
	zone_link(z, prev)->next = list;
	zone_link(z, list)->prev = prev;
}

void zone_shuffle_lists(struct buddy_zone *z, uint64_t seed)
{
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int order = 0; order < NR_ORDERS; order++) {
			if (z->nr_free[mt][order])
				shuffle_list(z, order, mt, seed);
		}
	}
}

struct keyed {
	uint64_t key;
	uint32_t frame;
};

static int by_key(const void *a, const void *b)
{
	uint64_t left = ((const struct keyed *)a)->key, right = ((const struct keyed *)b)->key;

	return (left > right) - (left < right);
}

static int shuffle_deque(const struct buddy_zone *z, const struct frame_deque *d, uint64_t seed)
{
	struct keyed *blocks = malloc(d->length * sizeof(*blocks));
	struct frame_deque_cursor c = frame_deque_begin(d);
	const uint32_t *slot;
	size_t n = 0;

	if (!blocks)
		return -ENOMEM;
	while ((slot = frame_deque_next(d, &c)))
		blocks[n++] = (struct keyed){key_of(z, *slot, seed), *slot};
	qsort(blocks, n, sizeof(*blocks), by_key);
	c = frame_deque_begin(d);
	for (n = 0; (slot = frame_deque_next(d, &c)); n++)
		*(uint32_t *)(uintptr_t)slot = blocks[n].frame;
	free(blocks);
	return 0;
}

int zone_shuffle_percpu(struct buddy_zone *z, uint32_t nr_cpus, uint64_t seed)
{
	for (uint32_t cpu = 0; z->pcp && cpu < nr_cpus; cpu++) {
		for (unsigned int list = 0; list < PCP_LISTS; list++) {
			const struct frame_deque *d = &z->pcp[cpu].set.list[list];
			int rc = d->length ? shuffle_deque(z, d, seed) : 0;

			if (rc)
				return rc;
		}
	}
	return 0;
}
