/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/check.h"

#include <errno.h>
#include <inttypes.h>

#include "allocators/buddy/percpu.h"
#include "base/bits.h"

static int breach(const struct buddy_zone *z, uint32_t f, const char *what, struct error *err)
{
	return error_set(err, EUCLEAN, "buddy: zone %s: pfn %" PRIu64 ": %s",
			 zone_type_name(z->type), z->base + f, what);
}

/* Rules by which a free block may be on the list of another type than its pageblock's. */
static bool mixes_lists(const struct buddy_zone *z)
{
	return z->fallback == FALLBACK_OLD || z->drain_cached;
}

static int check_list(const struct buddy_zone *z, unsigned int order, unsigned int mt,
		      struct error *err)
{
	uint32_t list = zone_sentinel(z, order, mt), prev = list;
	uint64_t blocks = 0;

	for (uint32_t f = zone_link(z, list)->next; f != list; f = zone_link(z, f)->next) {
		if (f >= z->nr_frames)
			return breach(z, prev, "is followed by no frame", err);
		if (z->cells[f] != cell_free_block(order, mt))
			return breach(z, f, "is on a list its cell does not name", err);
		if (zone_link(z, f)->prev != prev)
			return breach(z, f, "has a wrong predecessor on its list", err);
		if (zone_type_of(z, f) != mt && !mixes_lists(z))
			return breach(z, f, "is on a list of another type than its pageblock", err);
		if (++blocks > z->nr_free[mt][order])
			return breach(z, f, "is on a list longer than its count", err);
		prev = f;
	}
	if (zone_link(z, list)->prev != prev)
		return breach(z, prev, "is not the tail its list names", err);
	if (blocks != z->nr_free[mt][order])
		return breach(z, prev, "ends a list shorter than its count", err);
	if ((z->nonempty[mt] >> order & 1) != (blocks != 0))
		return breach(z, prev, "is on a list whose summary bit is wrong", err);
	return 0;
}

static int check_lists(const struct buddy_zone *z, uint64_t *blocks, struct error *err)
{
	uint64_t circulating = 0;

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		uint64_t frames = 0;

		for (unsigned int order = 0; order < NR_ORDERS; order++) {
			int rc = check_list(z, order, mt, err);

			if (rc)
				return rc;
			*blocks += z->nr_free[mt][order];
			frames += z->nr_free[mt][order] << order;
		}
		if (frames != z->free_frames[mt])
			return error_set(err, EUCLEAN,
					 "buddy: zone %s: %s: %" PRIu64 " frames in its lists, "
					 "%" PRIu64 " counted",
					 zone_type_name(z->type), migratetype_name(mt), frames,
					 z->free_frames[mt]);
		circulating += mt == MIGRATE_ISOLATE ? 0 : frames;
	}
	if (circulating != z->nr_free_frames)
		return error_set(err, EUCLEAN,
				 "buddy: zone %s: %" PRIu64 " free frames, %" PRIu64 " counted",
				 zone_type_name(z->type), circulating, z->nr_free_frames);
	return 0;
}

/*
 * Two free buddies stay apart only if their types may not mix, or were isolated one by one; or if they
 * could not mix when the second one was freed.
 */
static bool should_have_merged(const struct buddy_zone *z, uint32_t f, unsigned int order)
{
	uint32_t buddy = f ^ (1U << order);
	unsigned int mt = zone_type_of(z, f);

	if (order >= MAX_ORDER || !zone_free_at(z, buddy, order))
		return false;
	if (order < PAGEBLOCK_ORDER)
		return true;
	return mt != MIGRATE_ISOLATE && types_merge(mt, zone_type_of(z, buddy)) && !z->unmerged &&
	       !mixes_lists(z);
}

static int check_block(const struct buddy_zone *z, uint32_t f, struct error *err)
{
	unsigned int order = z->cells[f] & CELL_ORDER;
	uint32_t end;

	if (order > MAX_ORDER || !is_aligned(f, UINT64_C(1) << order))
		return breach(z, f, "starts a free block it cannot start", err);
	end = f + (1U << order);
	if (f < z->start || end > z->end)
		return breach(z, f, "starts a free block that leaves the zone", err);
	for (uint32_t i = f + 1; i < end; i++) {
		if (z->cells[i])
			return breach(z, i, "lies in a free block but is not free", err);
	}
	if (order > PAGEBLOCK_ORDER && !mixes_lists(z) &&
	    zone_type_of(z, f) != zone_type_of(z, f + PAGEBLOCK_FRAMES))
		return breach(z, f, "starts a free block of two types", err);
	if (should_have_merged(z, f, order))
		return breach(z, f, "is free and so is its buddy, but they have not merged", err);
	return 0;
}

static bool cell_is_valid(uint8_t cell)
{
	switch (cell) {
	case CELL_USED:
	case CELL_USED | CELL_MOVABLE:
	case CELL_ABSENT:
	case CELL_TAKEN:
		return true;
	default:
		return cell_is_percpu(cell) && (cell & ~CELL_PERCPU) < MIGRATE_ISOLATE;
	}
}

/* One per-CPU list: blocks of its order, their cells saying so, of pageblocks whose frees go there. */
static int check_percpu_list(const struct buddy_zone *z, const struct pcp *set, unsigned int list,
			     uint64_t *frames, struct error *err)
{
	const struct frame_deque *d = &set->list[list];
	struct frame_deque_cursor at = frame_deque_begin(d);
	unsigned int order = pcp_list_order(set->rules, list);
	const uint32_t *slot;
	uint32_t length = 0;

	while ((slot = frame_deque_next(d, &at))) {
		if (*slot < z->start || *slot >= z->end || !is_aligned(*slot, UINT64_C(1) << order))
			return breach(z, *slot, "cannot be on a per-CPU list", err);
		for (uint32_t f = *slot; f < *slot + (1U << order); f++) {
			if (!cell_is_percpu(cell_at(z, f)))
				return breach(z, f, "is on a per-CPU list its cell denies", err);
		}
		length++;
	}
	if (length != d->length)
		return error_set(err, EUCLEAN,
				 "buddy: zone %s: a per-CPU list of %u blocks holds %u",
				 zone_type_name(z->type), d->length, length);
	*frames += (uint64_t)length << order;
	return 0;
}

static int check_percpu(const struct buddy_zone *z, uint32_t nr_cpus, uint64_t *frames,
			struct error *err)
{
	*frames = 0;
	for (uint32_t cpu = 0; z->pcp && cpu < nr_cpus; cpu++) {
		const struct pcp *set = &z->pcp[cpu].set;
		uint64_t before = *frames;

		for (unsigned int list = 0; list < PCP_LISTS; list++) {
			int rc = check_percpu_list(z, set, list, frames, err);

			if (rc)
				return rc;
		}
		if (*frames - before != pcp_known(set))
			return error_set(err, EUCLEAN,
					 "buddy: zone %s: cpu %u has %" PRIu64
					 " frames on its lists, %u counted",
					 zone_type_name(z->type), cpu, *frames - before,
					 pcp_known(set));
	}
	return 0;
}

int zone_check(const struct buddy_zone *z, uint32_t nr_cpus, struct error *err)
{
	uint64_t listed = 0, found = 0, percpu = 0, parked = 0;
	uint32_t step;
	int rc = check_lists(z, &listed, err);

	if (!rc)
		rc = check_percpu(z, nr_cpus, &percpu, err);

	for (uint32_t f = 0; !rc && f < z->nr_frames; f += step) {
		uint8_t cell = z->cells[f];
		bool outside = f < z->start || f >= z->end;

		step = 1;
		parked += cell_is_percpu(cell);
		if (cell & CELL_FREE) {
			step = 1U << (cell & CELL_ORDER);
			found++;
			rc = check_block(z, f, err);
		} else if (cell == 0) {
			rc = breach(z, f, "is free but in no free block", err);
		} else if (!cell_is_valid(cell) || (outside && cell != CELL_ABSENT)) {
			rc = breach(z, f, "has an impossible state", err);
		}
	}
	for (uint32_t b = 0; !rc && b < z->nr_frames >> PAGEBLOCK_ORDER; b++) {
		if ((z->types[b] & ~(BLOCK_ISOLATED | BLOCK_PROVEN)) >= MIGRATE_ISOLATE)
			rc = breach(z, b << PAGEBLOCK_ORDER, "is in a pageblock of no type", err);
	}
	/* As many frames as blocks on lists cover: so no frame is on two. */
	if (!rc && parked != percpu)
		rc = error_set(err, EUCLEAN,
			       "buddy: zone %s: %" PRIu64 " frames parked by their cells, %" PRIu64
			       " on per-CPU lists",
			       zone_type_name(z->type), parked, percpu);
	if (!rc && found != listed)
		rc = error_set(err, EUCLEAN,
			       "buddy: zone %s: %" PRIu64 " free blocks by their cells, %" PRIu64
			       " on the lists",
			       zone_type_name(z->type), found, listed);
	return rc;
}
