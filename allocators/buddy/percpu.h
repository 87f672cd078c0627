/* SPDX-License-Identifier: MIT */
/*
 * A zone's per-CPU lists: allocators/pcp.h between the requests of one cpu and the zone's free lists.
 *
 * Thread-safe: each call takes the set's lock, or tries to, and the zone's inside it.
 */
#ifndef ALLOCATORS_BUDDY_PERCPU_H
#define ALLOCATORS_BUDDY_PERCPU_H

#include "allocators/buddy/fallback.h"
#include "allocators/buddy/zone.h"

/* One cpu's; apart from its neighbours' by the lines the hardware fetches in pairs. */
struct buddy_pcp {
	struct pcp set;
	size_t chunks; /* in its pool, ever */
} __attribute__((aligned(128)));

/**
 * zone_pcp_create - one set per cpu, empty, sized for the zone
 * @rules: PCP_OFF: none
 * @cpus_of_node: of the zone's node
 * Return: 0 or -ENOMEM.
 */
int zone_pcp_create(struct buddy_zone *z, enum pcp_rules rules, uint32_t nr_cpus,
		    uint32_t cpus_of_node, const struct alloc_env *env);

/**
 * zone_pcp_resize - new limits for every set, and room for them
 * @limits: per cpu; NULL: by the zone's size and low watermark as they are now
 * Return: 0 or -ENOMEM, with nothing changed but perhaps more room.
 */
int zone_pcp_resize(struct buddy_zone *z, uint32_t nr_cpus, uint32_t cpus_of_node,
		    const struct pcp_limits *limits, const struct alloc_env *env);

/** Forget what is on the lists, without freeing it. */
void zone_pcp_reset(struct buddy_zone *z, uint32_t nr_cpus);

/** The list of @z's sets for blocks of @order that a pageblock of type @mt has, or PCP_NO_LIST. */
static inline unsigned int zone_pcp_list(const struct buddy_zone *z, unsigned int order,
					 unsigned int mt)
{
	return z->pcp ? pcp_list(z->pcp[0].set.rules, order, mt) : PCP_NO_LIST;
}

static inline unsigned int zone_pressure(const struct buddy_zone *z)
{
	return atomic_load_explicit(&z->flags, memory_order_relaxed) &
	       (PCP_BELOW_HIGH | PCP_RECLAIMING);
}

/**
 * zone_pcp_alloc - a block from a cpu's lists, refilled if need be (rmqueue_pcplist)
 * @mt, @flags: as for rmqueue()
 * @result: gets RESULT_PCP_HIT, or RESULT_REFILL and RESULT_FALLBACK
 * Return: its first frame, marked as on a per-CPU list; ZONE_NO_FRAME: the lock is taken, or nothing
 * is free.
 */
uint32_t zone_pcp_alloc(struct buddy_zone *z, unsigned int cpu, unsigned int list,
			unsigned int order, unsigned int mt, unsigned int flags, uint64_t *result);

/**
 * zone_pcp_free - a block goes to a cpu's list, and others perhaps back (free_frozen_page_commit)
 * @mt: type of its pageblock
 * Return: false: the lock is taken or there is no room; the block is still the caller's.
 */
bool zone_pcp_free(struct buddy_zone *z, unsigned int cpu, unsigned int list, uint32_t f,
		   unsigned int order, unsigned int mt);

/** Give back everything one cpu holds (drain_pages_zone). */
void zone_pcp_drain(struct buddy_zone *z, unsigned int cpu);

/** The statistics worker's visit to one cpu. @remote: the zone is of another node. */
void zone_pcp_tick(struct buddy_zone *z, unsigned int cpu, bool remote);

/** Put the block, whose set is locked by the caller, back onto the zone's free lists. */
void zone_pcp_give_back(struct buddy_zone *z, uint32_t f, unsigned int order);

/**
 * zone_pcp_give_back_frames - the same for at least @frames of what is on a set, as pcp_drain_begin()
 * Under the zone's lock, or where nobody else is.
 */
void zone_pcp_give_back_frames(struct buddy_zone *z, struct pcp *set, unsigned int list,
			       uint32_t frames);

/** Does a per-CPU list hold frames of [@start, @end)? */
static inline bool zone_parked_in(const struct buddy_zone *z, uint32_t start, uint32_t end)
{
	for (uint32_t f = start; f < end; f++) {
		if (cell_is_percpu(cell_at(z, f)))
			return true;
	}
	return false;
}

#endif
