/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/absent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* The first range that ends after @frame, or nr. */
static size_t find(const struct absent_set *set, pfn_t frame)
{
	size_t low = 0, high = set->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->ranges[middle].end <= frame)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int absent_reserve(struct absent_set *set)
{
	if (set->nr < set->capacity)
		return 0;

	size_t capacity = set->capacity ? 2 * set->capacity : 8;
	struct pfn_range *ranges = realloc(set->ranges, capacity * sizeof(*ranges));

	if (!ranges)
		return -ENOMEM;
	set->ranges = ranges;
	set->capacity = capacity;
	return 0;
}

/* Put @n ranges in place of [@from, @to). The capacity must do. */
static void replace(struct absent_set *set, size_t from, size_t to, const struct pfn_range *ranges,
		    size_t n)
{
	memmove(&set->ranges[from + n], &set->ranges[to], (set->nr - to) * sizeof(set->ranges[0]));
	for (size_t i = 0; i < n; i++)
		set->ranges[from + i] = ranges[i];
	set->nr = set->nr - (to - from) + n;
}

int absent_add(struct absent_set *set, struct pfn_range range)
{
	if (range.start >= range.end)
		return -EINVAL;
	if (absent_reserve(set) < 0)
		return -ENOMEM;

	/* Whatever it overlaps or touches becomes one with it. */
	size_t from = find(set, range.start ? range.start - 1 : 0), to = from;

	while (to < set->nr && set->ranges[to].start <= range.end)
		to++;
	if (from < to) {
		range.start = min_u64(range.start, set->ranges[from].start);
		range.end = max_u64(range.end, set->ranges[to - 1].end);
	}
	replace(set, from, to, &range, 1);
	return 0;
}

int absent_remove(struct absent_set *set, struct pfn_range range)
{
	if (range.start >= range.end)
		return -EINVAL;
	if (absent_reserve(set) < 0)
		return -ENOMEM;

	size_t from = find(set, range.start), to = from, n = 0;
	struct pfn_range rests[2];

	while (to < set->nr && set->ranges[to].start < range.end)
		to++;
	if (from == to)
		return 0;
	if (set->ranges[from].start < range.start)
		rests[n++] = (struct pfn_range){set->ranges[from].start, range.start};
	if (set->ranges[to - 1].end > range.end)
		rests[n++] = (struct pfn_range){range.end, set->ranges[to - 1].end};
	replace(set, from, to, rests, n);
	return 0;
}

bool absent_next(const struct absent_set *set, struct pfn_range *range, bool absent,
		 struct pfn_range *piece)
{
	while (range->start < range->end) {
		size_t at = find(set, range->start);
		pfn_t next = at < set->nr ? min_u64(set->ranges[at].start, range->end) : range->end;
		bool inside = next <= range->start;

		if (inside)
			next = min_u64(set->ranges[at].end, range->end);
		*piece = (struct pfn_range){range->start, next};
		range->start = next;
		if (inside == absent)
			return true;
	}
	return false;
}

bool absent_overlaps(const struct absent_set *set, pfn_t start, pfn_t end)
{
	size_t at = find(set, start);

	return at < set->nr && set->ranges[at].start < end;
}

uint64_t absent_frames(const struct absent_set *set, pfn_t start, pfn_t end)
{
	uint64_t frames = 0;

	for (size_t i = find(set, start); i < set->nr && set->ranges[i].start < end; i++) {
		const struct pfn_range *r = &set->ranges[i];

		frames += min_u64(r->end, end) - max_u64(r->start, start);
	}
	return frames;
}

void absent_release(struct absent_set *set)
{
	free(set->ranges);
	*set = (struct absent_set){0};
}
