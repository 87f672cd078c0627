/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/percpu.h"

#include <errno.h>

#include "allocators/buddy/watermark.h"
#include "base/bits.h"

#define CACHE_LINE 64

static int add_room(struct buddy_pcp *p, const struct pcp_limits *limits,
		    const struct alloc_env *env)
{
	size_t need = pcp_chunks(limits), more = need > p->chunks ? need - p->chunks : 0;
	struct frame_chunk *chunks;

	if (more == 0)
		return 0;
	chunks = env->meta(env, more * sizeof(*chunks), CACHE_LINE, META_VOLATILE);
	if (!chunks)
		return -ENOMEM;
	frame_pool_add(&p->set.pool, chunks, more);
	p->chunks += more;
	return 0;
}

static struct pcp_limits own_limits(const struct buddy_zone *z, enum pcp_rules rules,
				    uint32_t cpus_of_node)
{
	if (z->percpu.batch)
		return pcp_limits_given(rules, &z->percpu);
	return pcp_limits_of(rules, z->managed, zone_mark(z, MARK_LOW),
			     (uint32_t)max_u64(cpus_of_node, 1), 0);
}

int zone_pcp_create(struct buddy_zone *z, enum pcp_rules rules, uint32_t nr_cpus,
		    uint32_t cpus_of_node, const struct alloc_env *env)
{
	const struct pcp_limits limits = own_limits(z, rules, cpus_of_node);

	if (rules == PCP_OFF)
		return 0;
	z->pcp = env->meta(env, nr_cpus * sizeof(*z->pcp), 128, META_VOLATILE);
	if (!z->pcp)
		return -ENOMEM;
	for (uint32_t cpu = 0; cpu < nr_cpus; cpu++) {
		pcp_init(&z->pcp[cpu].set, rules, &limits);
		if (add_room(&z->pcp[cpu], &limits, env))
			return -ENOMEM;
	}
	return 0;
}

int zone_pcp_resize(struct buddy_zone *z, uint32_t nr_cpus, uint32_t cpus_of_node,
		    const struct pcp_limits *limits, const struct alloc_env *env)
{
	for (uint32_t cpu = 0; z->pcp && cpu < nr_cpus; cpu++) {
		struct buddy_pcp *p = &z->pcp[cpu];
		struct pcp_limits l =
			limits ? limits[cpu] : own_limits(z, p->set.rules, cpus_of_node);

		if (add_room(p, &l, env))
			return -ENOMEM;
		pcp_set_limits(&p->set, &l);
	}
	return 0;
}

void zone_pcp_reset(struct buddy_zone *z, uint32_t nr_cpus)
{
	for (uint32_t cpu = 0; z->pcp && cpu < nr_cpus; cpu++) {
		struct pcp *set = &z->pcp[cpu].set;
		struct pcp_limits limits = set->limits;
		struct frame_pool pool;

		for (unsigned int list = 0; list < PCP_LISTS; list++)
			while (frame_deque_pop(&set->list[list], &set->pool) != DEQUE_NONE)
				;
		pool = set->pool;
		pcp_init(set, set->rules, &limits);
		set->pool = pool;
	}
}

void zone_pcp_give_back(struct buddy_zone *z, uint32_t f, unsigned int order)
{
	unsigned int mt = zone_type_of(z, f);

	if (z->drain_cached && mt != MIGRATE_ISOLATE)
		mt = cell_at(z, f) & ~(unsigned int)CELL_PERCPU;
	zone_free(z, f, order, mt, false);
}

void zone_pcp_give_back_frames(struct buddy_zone *z, struct pcp *set, unsigned int list,
			       uint32_t frames)
{
	struct pcp_drain drain;
	unsigned int order;
	uint32_t f;

	pcp_drain_begin(set, &drain, list, frames);
	while (pcp_drain_next(set, &drain, &f, &order))
		zone_pcp_give_back(z, f, order);
}

/* free_pcppages_bulk */
static void bulk_free(struct buddy_zone *z, struct pcp *set, unsigned int list, uint32_t frames)
{
	spin_lock(&z->lock);
	zone_pcp_give_back_frames(z, set, list, frames);
	zone_check_kswapd(z);
	spin_unlock(&z->lock);
}

/* The type of the list a block was on at last. */
static unsigned int taken_from(const struct rmqueue_choice *choice, unsigned int mt)
{
	return choice->way == WAY_LIST || choice->way == WAY_STEAL ? choice->type : mt;
}

/* rmqueue_bulk. Return: blocks obtained. */
static uint32_t refill(struct buddy_zone *z, struct pcp *set, unsigned int list, unsigned int order,
		       unsigned int mt, unsigned int flags, uint64_t *result)
{
	uint32_t n = pcp_refill_size(set, order, zone_pressure(z)), i;
	enum rmqueue_mode mode = RMQUEUE_NORMAL;
	struct rmqueue_choice choice;

	spin_lock(&z->lock);
	for (i = 0; i < n; i++) {
		uint32_t f = rmqueue(z, order, mt, flags, &mode, &choice);

		if (f == ZONE_NO_FRAME)
			break;
		if (i == 0 && choice.stage >= RMQUEUE_CLAIM)
			*result |= RESULT_FALLBACK;
		cell_fill(z, f, order, (uint8_t)(CELL_PERCPU | taken_from(&choice, mt)));
		if (!pcp_append(set, list, order, f)) {
			zone_free(z, f, order, zone_type_of(z, f), false);
			break;
		}
	}
	spin_unlock(&z->lock);
	set->refills += i != 0;
	set->refilled_blocks += i;
	return i;
}

uint32_t zone_pcp_alloc(struct buddy_zone *z, unsigned int cpu, unsigned int list,
			unsigned int order, unsigned int mt, unsigned int flags, uint64_t *result)
{
	struct pcp *set = &z->pcp[cpu].set;
	uint32_t f;

	if (!spin_trylock(&set->lock))
		return ZONE_NO_FRAME;
	pcp_begin_alloc(set);
	f = pcp_pop(set, list, order);
	if (f != ZONE_NO_FRAME) {
		set->hits++;
		*result |= RESULT_PCP_HIT;
	} else if (refill(z, set, list, order, mt, flags, result)) {
		*result |= RESULT_REFILL;
		f = pcp_pop(set, list, order);
	}
	spin_unlock(&set->lock);
	return f;
}

bool zone_pcp_free(struct buddy_zone *z, unsigned int cpu, unsigned int list, uint32_t f,
		   unsigned int order, unsigned int mt)
{
	struct pcp *set = &z->pcp[cpu].set;
	uint32_t frames;

	if (!spin_trylock(&set->lock))
		return false;
	if (!pcp_push(set, list, order, f)) {
		spin_unlock(&set->lock);
		return false;
	}
	cell_fill(z, f, order, (uint8_t)(CELL_PERCPU | mt));
	frames = pcp_release_size(set, order, zone_pressure(z));
	if (frames) {
		bulk_free(z, set, list, frames);
		if (zone_pressure(z) & ZONE_BELOW_HIGH &&
		    zone_watermark_ok(z, 0, MARK_HIGH, ZONE_MOVABLE, 0))
			atomic_fetch_and_explicit(&z->flags, (uint8_t)~ZONE_BELOW_HIGH,
						  memory_order_relaxed);
	}
	spin_unlock(&set->lock);
	return true;
}

void zone_pcp_drain(struct buddy_zone *z, unsigned int cpu)
{
	struct pcp *set;

	if (!z->pcp)
		return;
	set = &z->pcp[cpu].set;
	spin_lock(&set->lock);
	bulk_free(z, set, 0, set->count);
	spin_unlock(&set->lock);
}

void zone_pcp_tick(struct buddy_zone *z, unsigned int cpu, bool remote)
{
	struct pcp *set;
	uint32_t frames;

	if (!z->pcp)
		return;
	set = &z->pcp[cpu].set;
	spin_lock(&set->lock);
	frames = pcp_tick(set, remote);
	if (frames)
		bulk_free(z, set, 0, frames);
	spin_unlock(&set->lock);
}
