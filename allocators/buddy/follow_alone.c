/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/follow_alone.h"

#include "allocators/buddy/fallback.h"
#include "allocators/buddy/follow_state.h"
#include "allocators/buddy/repair.h"

/* Deeper than this, what lies above a frame has hardly been handed out unseen. */
#define UNSEEN_MAX 64
#define SIGNS	   2

/* The list that an allocation is served from: type @mt's of one cpu. */
struct source {
	struct allocator *a;
	struct buddy_zone *z;
	struct pcp *set;
	unsigned int cpu, list, order, mt;
};

static struct frame_deque *deque(const struct source *s)
{
	return &s->set->list[s->list];
}

/* How many blocks at the end of the list are guesses. */
static uint32_t *guessed(const struct source *s)
{
	return &s->a->follow->cpu[s->cpu].guessed[s->list];
}

static uint32_t pop(const struct source *s)
{
	return pcp_pop(s->set, s->list, s->order);
}

static uint32_t pop_tail(const struct source *s)
{
	return pcp_pop_tail(s->set, s->list, s->order);
}

static void free_block(const struct source *s, uint32_t f, bool to_tail)
{
	zone_free(s->z, f, s->order, zone_type_of(s->z, f), to_tail);
}

static unsigned int rmqueue_flags(const struct source *s)
{
	return s->mt == MIGRATE_MOVABLE ? RMQUEUE_ALLOW_CMA : 0;
}

/* rmqueue_bulk, as the clone would. */
static void own_refill(const struct source *s, uint32_t n)
{
	enum rmqueue_mode mode = RMQUEUE_NORMAL;

	while (n--) {
		uint32_t f = rmqueue(s->z, s->order, s->mt, rmqueue_flags(s), &mode, NULL);

		if (f == ZONE_NO_FRAME)
			return;
		cell_fill(s->z, f, s->order, (uint8_t)(CELL_PERCPU | zone_type_of(s->z, f)));
		if (pcp_append(s->set, s->list, s->order, f))
			continue;
		free_block(s, f, false);
		return;
	}
}

/* What is on the list has been handed out unseen. */
static void drop_list(const struct source *s)
{
	uint32_t f;

	while ((f = pop(s)) != DEQUE_NONE)
		zone_mark_used(s->z, f, s->order, false);
}

/* Give back what is on the list, last first, which undoes a refill. */
static void give_back(const struct source *s)
{
	uint32_t f;

	while ((f = pop_tail(s)) != DEQUE_NONE)
		free_block(s, f, false);
}

/* The list is empty: fetch @n blocks as a refill would, the one at @f, which the caller hands out, first. */
static void fetch_from(const struct source *s, uint32_t f, uint32_t n)
{
	repair_seize(s->a, s->z, f, s->order, s->cpu);
	own_refill(s, n - 1);
	*guessed(s) = deque(s)->length;
}

/*
 * The kernel has taken @f from its free lists, so its per-CPU list was empty: what we have there goes
 * back, last first, which undoes a refill exactly, and is fetched anew from the block at @f on.
 */
static void refill_from(const struct source *s, uint32_t f)
{
	give_back(s);
	fetch_from(s, f, pcp_refill_size(s->set, s->order, zone_pressure(s->z)));
}

/* The kernel's list holds @f, which we had not guessed: so it lacks the last one we had. */
static void swap_guess(const struct source *s, uint32_t f)
{
	uint32_t last = pop_tail(s);

	--*guessed(s);
	free_block(s, last, false);
	repair_seize(s->a, s->z, f, s->order, s->cpu);
}

/*
 * The kernel's list goes on with what we would have fetched next: it never had what we guessed, which is
 * further behind.
 */
static void replace_guesses(const struct source *s, uint32_t f)
{
	uint32_t n = deque(s)->length, wrong;

	while ((wrong = pop(s)) != DEQUE_NONE)
		free_block(s, wrong, true);
	fetch_from(s, f, n);
}

/*
 * The kernel's free list begins at another place of ours: what we guessed goes back to where it was, and
 * is fetched anew from the block of @f on.
 */
static void guess_from(const struct source *s, uint32_t f)
{
	uint32_t n = deque(s)->length, first;
	unsigned int found;

	give_back(s);
	/* What came back may have merged with it. */
	first = zone_containing(s->z, f, s->order, &found);
	repair_rotate_list(s->z, first, found, cell_list_type(cell_at(s->z, first)));
	fetch_from(s, f, n);
}

/*
 * A block of a refill lies in our free block at @first, not at the head of its list. Is it next to the
 * one before it of which that is true?
 */
static bool goes_on_behind(struct follow_cpu *cpu, const struct buddy_zone *z, uint32_t first)
{
	bool yes = cpu->behind.zone == z && cpu->behind.block == first;

	cpu->behind.zone = z;
	cpu->behind.block = zone_link(z, first)->next;
	return yes;
}

/*
 * Free here. If our list is empty the kernel has fetched it just now. If all that is on our list is
 * guessed, the guess was wrong. But if freed frames lie there, it rather never left the kernel's list,
 * unless it keeps looking like a refill.
 */
static void placed_free(const struct source *s, uint32_t f)
{
	struct follow_cpu *cpu = &s->a->follow->cpu[s->cpu];
	struct buddy_zone *z = s->z;
	uint32_t length = deque(s)->length, first;
	unsigned int found;
	bool next = rmqueue_choose(z, s->order, s->mt, 0, RMQUEUE_NORMAL).block == f;
	bool all_guessed = length == *guessed(s), behind = false;

	first = zone_containing(z, f, s->order, &found);
	if (!next && all_guessed && first != ZONE_NO_FRAME &&
	    cell_list_type(cell_at(z, first)) == s->mt)
		behind = goes_on_behind(cpu, z, first);
	if (length == 0) {
		if (behind)
			repair_rotate_list(z, first, found, s->mt);
		repair_order(s->a, z, f, s->order, s->mt);
		refill_from(s, f);
	} else if (all_guessed) {
		if (behind)
			guess_from(s, f);
		else if (next)
			replace_guesses(s, f);
		else
			swap_guess(s, f);
	} else if (!next || ++cpu->refill_signs[s->list] < SIGNS) {
		repair_seize(s->a, z, f, s->order, s->cpu);
		return;
	} else {
		if (length <= UNSEEN_MAX)
			drop_list(s);
		refill_from(s, f);
	}
	cpu->refill_signs[s->list] = 0;
}

/* Parked here, or in use. What lies above it on the list has been handed out unseen. */
static void placed_parked(const struct source *s, uint32_t f)
{
	uint32_t depth = frame_deque_find(deque(s), f, UNSEEN_MAX), wrong = 0;

	if (depth == DEQUE_NONE) {
		repair_seize(s->a, s->z, f, s->order, s->cpu);
		repair_type(s->z, f, s->mt);
	} else {
		for (; depth; depth--) {
			wrong += deque(s)->length <= *guessed(s);
			zone_mark_used(s->z, pop(s), s->order, false);
		}
		pop(s);
		if (s->mt != MIGRATE_UNMOVABLE && wrong)
			own_refill(s, wrong);
		s->a->follow->cpu[s->cpu].refill_signs[s->list] = 0;
	}
	if (*guessed(s) > deque(s)->length)
		*guessed(s) = deque(s)->length;
}

/* Give back the end of a list, up to and including the block at @f. */
static void drain_through(struct buddy_zone *z, struct pcp *set, unsigned int list,
			  unsigned int order, uint32_t f)
{
	uint32_t last;

	do {
		last = pcp_pop_tail(set, list, order);
		if (last == DEQUE_NONE)
			return;
		zone_pcp_give_back(z, last, order);
	} while (last != f);
}

/*
 * Frames of the block the kernel handed out are on per-CPU lists, and not where the cpu would get them:
 * the kernel has drained those lists, from the tail at least to there, and then taken the block.
 */
static void missed_drains(const struct source *s, uint32_t f)
{
	struct buddy_zone *z = s->z;

	for (uint32_t i = f; i < f + (1U << s->order); i++) {
		struct parked where;
		struct pcp *set;
		bool own;

		if (!cell_is_percpu(cell_at(z, i)))
			continue;
		set = repair_find_parked(s->a, z, i, s->cpu, &where);
		if (!set)
			continue;
		own = where.cpu == s->cpu && where.list == s->list;
		if (own && where.depth < UNSEEN_MAX)
			return;
		drain_through(z, set, where.list, where.order, where.first);
		if (own)
			give_back(s);
		if (own && zone_free_at(z, f, s->order) &&
		    zone_first(z, s->order, cell_list_type(cell_at(z, f))) != f)
			repair_rotate_list(z, f, s->order, cell_list_type(cell_at(z, f)));
	}
}

/* Past the lists. As foreseen: with all that a claim changes on the way. */
static void placed_directly(const struct source *s, uint32_t f)
{
	enum rmqueue_mode mode = RMQUEUE_NORMAL;

	if (rmqueue_choose(s->z, s->order, s->mt, rmqueue_flags(s), mode).block == f) {
		rmqueue(s->z, s->order, s->mt, rmqueue_flags(s), &mode, NULL);
		return;
	}
	repair_order(s->a, s->z, f, s->order, s->mt);
	repair_seize(s->a, s->z, f, s->order, s->cpu);
}

void alone_placed(struct allocator *a, struct buddy_zone *z, uint32_t f,
		  const struct kernel_fact *fact, unsigned int mt)
{
	const struct source s = {
		.a = a,
		.z = z,
		.set = z->pcp ? &z->pcp[fact->cpu].set : NULL,
		.cpu = fact->cpu,
		.list = zone_pcp_list(z, fact->order, mt),
		.order = fact->order,
		.mt = mt,
	};

	if (s.set)
		missed_drains(&s, f);
	if (s.list == PCP_NO_LIST) {
		placed_directly(&s, f);
	} else if (cell_is_free(cell_at(z, f))) {
		repair_type(z, f, mt);
		placed_free(&s, f);
	} else {
		placed_parked(&s, f);
	}
}
