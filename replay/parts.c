/* SPDX-License-Identifier: MIT */
#include "replay/parts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"

static uint32_t bucket_of(const struct parts *p, pfn_t pfn)
{
	return (uint32_t)(pfn * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (p->n - 1);
}

static void insert(struct parts *p, const struct part_block *b)
{
	uint32_t i = bucket_of(p, b->pfn);

	while (p->block[i].used)
		i = (i + 1) & (p->n - 1);
	p->block[i] = *b;
	p->used++;
}

static int grow(struct parts *p)
{
	struct parts bigger = {.n = p->n ? p->n * 2 : 256};

	bigger.block = calloc(bigger.n, sizeof(*bigger.block));
	if (!bigger.block)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->n; i++)
		if (p->block[i].used)
			insert(&bigger, &p->block[i]);
	free(p->block);
	*p = bigger;
	return 0;
}

/* Close the gap a removed entry leaves in its probe sequence. */
static void remove_at(struct parts *p, uint32_t i)
{
	p->block[i].used = false;
	p->used--;
	for (uint32_t j = (i + 1) & (p->n - 1); p->block[j].used; j = (j + 1) & (p->n - 1)) {
		struct part_block moved = p->block[j];

		p->block[j].used = false;
		p->used--;
		insert(p, &moved);
	}
}

/* The bucket of a followed block, or UINT32_MAX. */
static uint32_t find(const struct parts *p, pfn_t head, unsigned int order)
{
	if (!p->n)
		return UINT32_MAX;
	for (uint32_t i = bucket_of(p, head); p->block[i].used; i = (i + 1) & (p->n - 1))
		if (p->block[i].pfn == head && p->block[i].order == order)
			return i;
	return UINT32_MAX;
}

bool parts_follow(const struct parts *p, pfn_t pfn, unsigned int order)
{
	return p->used && find(p, pfn, order) != UINT32_MAX;
}

bool parts_overlap(const struct parts *p, pfn_t pfn, unsigned int order)
{
	pfn_t end = pfn + (UINT64_C(1) << order);

	for (unsigned int k = order + 1; p->used && k <= MAX_ORDER; k++)
		if (parts_follow(p, align_down(pfn, UINT64_C(1) << k), k))
			return true;
	for (unsigned int k = 1; p->used && k < order; k++)
		for (pfn_t at = pfn; at < end; at += UINT64_C(1) << k)
			if (parts_follow(p, at, k))
				return true;
	return false;
}

int parts_add(struct parts *p, pfn_t pfn, unsigned int order)
{
	struct part_block b = {
		.pfn = pfn, .remaining = 1U << order, .order = (uint8_t)order, .used = true};

	if (parts_follow(p, pfn, order) || parts_overlap(p, pfn, order))
		return -EBUSY;
	if (p->used * 2 >= p->n && grow(p))
		return -ENOMEM;
	insert(p, &b);
	return 0;
}

void parts_move(struct parts *p, pfn_t from, pfn_t to, unsigned int order)
{
	uint32_t i = p->used ? find(p, from, order) : UINT32_MAX;
	struct part_block moved;

	if (i == UINT32_MAX)
		return;
	moved = p->block[i];
	moved.pfn = to;
	remove_at(p, i);
	insert(p, &moved);
}

bool parts_free(struct parts *p, pfn_t pfn, uint32_t frames, struct part_block *whole)
{
	/* Blocks do not overlap, so at most one of the aligned heads above @pfn is followed. */
	for (unsigned int order = 1; order <= MAX_ORDER && p->n; order++) {
		pfn_t head = align_down(pfn, UINT64_C(1) << order);
		uint32_t i = find(p, head, order);

		if (i == UINT32_MAX)
			continue;
		p->block[i].remaining -= frames;
		if (p->block[i].remaining)
			return false;
		*whole = p->block[i];
		remove_at(p, i);
		return true;
	}
	return false;
}

void parts_destroy(struct parts *p)
{
	free(p->block);
	*p = (struct parts){0};
}
