/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/repair.h"

#include "allocators/buddy/follow_state.h"
#include "base/bits.h"

/* ---- taking frames from wherever they are ---- */

/* Drains take what lies at the tails. */
static bool unpark_tail(struct pcp *set, uint32_t f, unsigned int order, unsigned int mt)
{
	unsigned int list = pcp_list(set->rules, order, mt);

	if (list == PCP_NO_LIST || frame_deque_peek_tail(&set->list[list]) != f)
		return false;
	pcp_pop_tail(set, list, order);
	return true;
}

struct pcp *repair_find_parked(const struct allocator *a, const struct buddy_zone *z, uint32_t f,
			       unsigned int hint, struct parked *where)
{
	uint32_t nr_cpus = a->machine->nr_cpus;

	for (uint32_t i = 0; i < nr_cpus; i++) {
		uint32_t cpu = (hint + i) % nr_cpus;
		struct pcp *set = &z->pcp[cpu].set;

		for (unsigned int list = 0; list < PCP_LISTS; list++) {
			unsigned int order = pcp_list_order(set->rules, list);

			*where = (struct parked){
				.first = (uint32_t)align_down(f, UINT64_C(1) << order),
				.cpu = cpu,
				.list = list,
				.order = order,
			};
			where->depth = frame_deque_find(&set->list[list], where->first, UINT32_MAX);
			if (where->depth != DEQUE_NONE)
				return set;
		}
	}
	return NULL;
}

/* Take the parked frame @f off its list; @hint as above. */
static void unpark(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int hint)
{
	struct parked where;
	struct pcp *set = repair_find_parked(a, z, f, hint, &where);

	if (!set)
		return;
	pcp_remove(set, where.list, where.order, where.first);
	/* The rest of its block was handed out with it, unseen. */
	zone_mark_used(z, where.first, where.order, false);
}

bool repair_seize(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		  unsigned int cpu)
{
	uint32_t end = f + (1U << order);
	unsigned int found;
	bool used = true;

	if (zone_all_used(z, f, order))
		return true;
	if (z->pcp && cell_is_percpu(cell_at(z, f)) &&
	    unpark_tail(&z->pcp[cpu].set, f, order, cell_at(z, f) & ~(unsigned int)CELL_PERCPU)) {
		zone_mark_used(z, f, order, false);
		return false;
	}
	if (zone_containing(z, f, order, &found) != ZONE_NO_FRAME) {
		zone_carve(z, f, order);
		zone_mark_used(z, f, order, false);
		return false;
	}
	for (uint32_t i = f; i < end; i++) {
		uint8_t cell = cell_at(z, i);

		if ((cell & (uint8_t)~CELL_MOVABLE) == CELL_USED)
			continue;
		used = false;
		if (cell_is_percpu(cell)) {
			unpark(a, z, i, cpu);
		} else if (cell_is_free(cell)) {
			zone_carve(z, i, 0);
			zone_mark_used(z, i, 0, false);
		} else {
			cell_set(z, i, CELL_USED);
		}
	}
	return used;
}

/* ---- pageblocks ---- */

void repair_type(struct buddy_zone *z, uint32_t f, unsigned int mt)
{
	uint8_t proven = (uint8_t)(mt | BLOCK_PROVEN);
	uint32_t first = (uint32_t)align_down(f, PAGEBLOCK_FRAMES), block;
	unsigned int found;

	if (mt >= MIGRATE_ISOLATE || zone_type_of(z, f) == MIGRATE_ISOLATE)
		return;
	if (zone_type_of(z, f) == mt) {
		zone_set_type(z, f, proven);
		return;
	}
	/* A free block over several pageblocks has one type, or is cut. */
	block = zone_containing(z, first, PAGEBLOCK_ORDER, &found);
	if (block != ZONE_NO_FRAME && found > PAGEBLOCK_ORDER) {
		zone_unlink(z, block);
		zone_set_type(z, block, proven);
		zone_set_type(z, block + PAGEBLOCK_FRAMES, proven);
		zone_push_head(z, block, found, mt);
		return;
	}
	zone_count_type(z, zone_type_of(z, f), false);
	zone_count_type(z, mt, true);
	/* Its buddy may be free, too, and kept apart by the type it had. */
	z->unmerged |= zone_type_of(z, f) >= MIGRATE_MERGEABLE;
	zone_set_type(z, f, proven);
	zone_move_free(z, f, mt);
}

/* ---- the order of free lists ---- */

#define STRIKES	    2 /* where the lists are told, one will do */
#define SKIPPED_MAX 8

void repair_rotate_list(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt), prev;
	struct zone_link *head = zone_link(z, list);

	zone_link(z, head->prev)->next = head->next;
	zone_link(z, head->next)->prev = head->prev;
	prev = zone_link(z, f)->prev;
	*head = (struct zone_link){.prev = prev, .next = f};
	zone_link(z, prev)->next = list;
	zone_link(z, f)->prev = list;
}

/* How many blocks lie before the one at @f; SKIPPED_MAX: many. */
static unsigned int skipped(const struct buddy_zone *z, uint32_t f, unsigned int order,
			    unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt), at = zone_link(z, f)->prev;
	unsigned int n = 0;

	for (; at != list && n < SKIPPED_MAX; at = zone_link(z, at)->prev)
		n++;
	return n;
}

/* Turn round what lies before the block at @f. */
static void reverse_before(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt);
	uint32_t first = zone_link(z, list)->next, last = zone_link(z, f)->prev;

	if (first == f)
		return;
	for (uint32_t at = first; at != f;) {
		struct zone_link link = *zone_link(z, at);

		*zone_link(z, at) = (struct zone_link){.prev = link.next, .next = link.prev};
		at = link.next;
	}
	zone_link(z, first)->next = f;
	zone_link(z, f)->prev = first;
	zone_link(z, last)->prev = list;
	zone_link(z, list)->next = last;
}

/*
 * The kernel takes @f, and we would have taken another block, of the same list. If @f is near, those
 * before it are further behind, or gone. If it is next to the last one the kernel took, the kernel's
 * list begins there, and goes on in that direction.
 */
static void suspect_head(struct buddy_zone *z, struct suspect *s, uint32_t f, unsigned int order,
			 unsigned int mt, unsigned int enough)
{
	bool sure = s->strikes >= enough;

	if (s->follows == f || (sure && skipped(z, f, order, mt) < SKIPPED_MAX)) {
		repair_rotate_list(z, f, order, mt);
	} else if (s->precedes == f) {
		reverse_before(z, f, order, mt);
	} else if (sure && enough > 1) {
		zone_unlink(z, s->block);
		zone_push_tail(z, s->block, order, mt);
	}
	s->follows = zone_link(z, f)->next;
	s->precedes = zone_link(z, f)->prev;
}

/*
 * The kernel takes @f, and we would have taken another block. If that splits a larger block than ours,
 * it had none as small: ours has been handed out unseen, or is on another type's list. Where refills are
 * inferred a single time may just be a block whose size we have wrong, so it takes two in a row.
 */
void repair_order(struct allocator *a, struct buddy_zone *z, uint32_t f, unsigned int order,
		  unsigned int mt)
{
	unsigned int taken, ours, enough = lists_told(a) ? 1 : STRIKES;
	struct suspect *s;
	uint32_t expected, first;

	if (mt >= MIGRATE_MERGEABLE)
		return;
	expected = zone_peek(z, order, mt);
	first = zone_containing(z, f, order, &taken);
	if (expected == ZONE_NO_FRAME || expected == f || first == ZONE_NO_FRAME)
		return;
	ours = cell_at(z, expected) & CELL_ORDER;
	s = &a->follow->suspect[mt];
	if (s->zone != z || s->block != expected) {
		s->zone = z;
		s->block = expected;
		s->strikes = 0;
	}
	if (taken < ours)
		return;
	s->strikes++;
	if (taken == ours && first == f && cell_list_type(cell_at(z, f)) == mt) {
		suspect_head(z, s, f, ours, mt, enough);
	} else if (taken > ours && s->strikes >= enough) {
		zone_unlink(z, expected);
		zone_mark_used(z, expected, ours, false);
	}
}
