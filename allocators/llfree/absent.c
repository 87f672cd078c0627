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

		if (set->ranges[middle].range.end <= frame)
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
	struct absent_range *ranges = realloc(set->ranges, capacity * sizeof(*ranges));

	if (!ranges)
		return -ENOMEM;
	set->ranges = ranges;
	set->capacity = capacity;
	return 0;
}

static void insert(struct absent_set *set, size_t at, struct absent_range range)
{
	memmove(&set->ranges[at + 1], &set->ranges[at], (set->nr - at) * sizeof(range));
	set->ranges[at] = range;
	set->nr++;
}

static void erase(struct absent_set *set, size_t at)
{
	set->nr--;
	memmove(&set->ranges[at], &set->ranges[at + 1], (set->nr - at) * sizeof(set->ranges[0]));
}

int absent_add(struct absent_set *set, struct pfn_range range, enum absence why)
{
	if (range.start >= range.end || absent_overlaps(set, range.start, range.end))
		return -EINVAL;
	if (absent_reserve(set) < 0)
		return -ENOMEM;

	size_t at = find(set, range.start);

	insert(set, at, (struct absent_range){.range = range, .why = why});
	struct absent_range *r = set->ranges;

	if (at + 1 < set->nr && r[at + 1].why == why && r[at + 1].range.start == range.end) {
		r[at].range.end = r[at + 1].range.end;
		erase(set, at + 1);
	}
	if (at > 0 && r[at - 1].why == why && r[at - 1].range.end == range.start) {
		r[at - 1].range.end = r[at].range.end;
		erase(set, at);
	}
	return 0;
}

bool absent_is(const struct absent_set *set, struct pfn_range range, enum absence why)
{
	size_t at = find(set, range.start);

	/* Neighbours of one kind are joined, so the range lies in one entry or is not absent. */
	return range.start < range.end && at < set->nr && set->ranges[at].why == why &&
	       set->ranges[at].range.start <= range.start && set->ranges[at].range.end >= range.end;
}

int absent_remove(struct absent_set *set, struct pfn_range range, enum absence why)
{
	if (!absent_is(set, range, why))
		return -EINVAL;
	if (absent_reserve(set) < 0)
		return -ENOMEM;

	size_t at = find(set, range.start);
	struct absent_range *old = &set->ranges[at];
	struct absent_range rest = *old;

	old->range.end = range.start;
	rest.range.start = range.end;
	if (rest.range.start < rest.range.end)
		insert(set, at + 1, rest);
	if (set->ranges[at].range.start == set->ranges[at].range.end)
		erase(set, at);
	return 0;
}

bool absent_overlaps(const struct absent_set *set, pfn_t start, pfn_t end)
{
	size_t at = find(set, start);

	return at < set->nr && set->ranges[at].range.start < end;
}

uint64_t absent_frames(const struct absent_set *set, pfn_t start, pfn_t end)
{
	uint64_t frames = 0;

	for (size_t i = find(set, start); i < set->nr && set->ranges[i].range.start < end; i++) {
		const struct pfn_range *r = &set->ranges[i].range;

		frames += min_u64(r->end, end) - max_u64(r->start, start);
	}
	return frames;
}

void absent_release(struct absent_set *set)
{
	free(set->ranges);
	*set = (struct absent_set){0};
}
