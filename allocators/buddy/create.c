/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/create.h"

#include <errno.h>
#include <inttypes.h>

#include "allocators/buddy/follow_state.h"
#include "allocators/buddy/shuffle.h"
#include "allocators/buddy/version.h"
#include "base/bits.h"

#define CACHE_LINE 64

/*
 * With less than one pageblock per type above the reserves, keeping types apart would only waste
 * memory: every request then counts as unmovable.
 */
static bool group_by_mobility(const struct machine *m)
{
	uint64_t frames = 0;

	for (unsigned int i = 0; i < m->nr_zones; i++) {
		const struct zone *zone = &m->zones[i];
		uint64_t managed = machine_managed_in(m, zone->start, zone->end);

		if (managed > zone->watermark.high)
			frames += managed - zone->watermark.high;
	}
	return frames >= (uint64_t)PAGEBLOCK_FRAMES * MIGRATE_TYPES;
}

/*
 * A request that would like Normal best and could have DMA32 of the same node too prefers going there
 * over mixing types in Normal.
 */
static bool list_nofragment(const struct machine *m, const struct buddy_zonelist *list)
{
	const struct zone *best = list->nr_zones ? &m->zones[list->zones[0]] : NULL;

	if (!best || best->type != ZONE_NORMAL)
		return false;
	for (unsigned int i = 1; i < list->nr_zones; i++) {
		const struct zone *zone = &m->zones[list->zones[i]];

		if (zone->type == ZONE_DMA32 && zone->node == best->node)
			return true;
	}
	return false;
}

static int create_zonelists(struct allocator *a, const struct alloc_env *env)
{
	const struct machine *m = a->machine;
	size_t n = (size_t)m->nr_nodes * ZONE_TYPES;

	a->zonelists = env->meta(env, n * sizeof(*a->zonelists), CACHE_LINE, META_VOLATILE);
	if (!a->zonelists)
		return error_set(env->error, ENOMEM, "buddy: no memory for the zonelists");
	for (size_t i = 0; i < n; i++) {
		struct buddy_zonelist *list = &a->zonelists[i];

		list->nr_zones =
			(uint8_t)machine_zonelist(m, (unsigned int)(i / ZONE_TYPES),
						  (unsigned int)(i % ZONE_TYPES), list->zones);
		list->nofragment = list_nofragment(m, list);
	}
	return 0;
}

/* Where the kernel's per-CPU page sets of a zone stand: how many CPUs share it. */
static int create_percpu(struct allocator *a, const struct alloc_env *env)
{
	const struct machine *m = a->machine;

	a->next_tick_ns =
		env->meta(env, m->nr_cpus * sizeof(*a->next_tick_ns), CACHE_LINE, META_VOLATILE);
	a->cpus_of_node =
		env->meta(env, m->nr_nodes * sizeof(*a->cpus_of_node), CACHE_LINE, META_VOLATILE);
	if (!a->cpus_of_node || !a->next_tick_ns)
		return error_set(env->error, ENOMEM, "buddy: no memory for %u nodes and %u cpus",
				 m->nr_nodes, m->nr_cpus);
	for (unsigned int cpu = 0; cpu < m->nr_cpus; cpu++)
		a->cpus_of_node[m->node_of_cpu[cpu]]++;
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		struct buddy_zone *z = &a->zones[i];

		if (zone_pcp_create(z, a->rules.pcp, m->nr_cpus, a->cpus_of_node[z->node], env))
			return error_set(env->error, ENOMEM,
					 "buddy: no memory for the per-CPU lists of %u cpus",
					 m->nr_cpus);
	}
	return 0;
}

static int list_managed(void *arg, unsigned int zone, struct pfn_range range)
{
	struct allocator *a = arg;
	struct buddy_zone *z = &a->zones[zone];

	zone_list_range(z, zone_index(z, range.start), zone_index(z, range.end));
	return 0;
}

static uint64_t whole_pageblocks(pfn_t start, pfn_t end)
{
	start = align_up(start, PAGEBLOCK_FRAMES);
	end = align_down(end, PAGEBLOCK_FRAMES);
	return start < end ? (end - start) >> PAGEBLOCK_ORDER : 0;
}

static void paint_absent(struct allocator *a)
{
	const struct machine *m = a->machine;

	for (size_t i = 0; i < m->nr_absent; i++) {
		const struct absent_range *absent = &m->absent[i];

		for (unsigned int j = 0; j < a->nr_zones; j++) {
			pfn_t start = max_u64(absent->range.start, a->spans[j].start);
			pfn_t end = min_u64(absent->range.end, a->spans[j].end);
			struct buddy_zone *z = &a->zones[j];

			if (start >= end)
				continue;
			zone_paint(z, zone_index(z, start), zone_index(z, end), CELL_ABSENT);
			if (absent->why == ABSENT_HOLE)
				z->hole_pageblocks += whole_pageblocks(start, end);
		}
	}
}

int buddy_create(const struct alloc_env *env, struct allocator **out)
{
	const struct machine *m = env->machine;
	struct allocator *a;
	int rc;

	if (m->pageblock_order != PAGEBLOCK_ORDER || m->max_order != MAX_ORDER)
		return error_set(env->error, EOPNOTSUPP,
				 "buddy: the machine has pageblocks of order %u and blocks up to "
				 "order %u, only %u and %u are supported; use another back end",
				 m->pageblock_order, m->max_order, PAGEBLOCK_ORDER, MAX_ORDER);
	if (machine_spanned(m) > ALLOCATOR_FRAMES_MAX)
		return error_set(env->error, EFBIG,
				 "buddy: %" PRIu64 " frames are more than the %" PRIu64
				 " supported; use a smaller machine",
				 machine_spanned(m), ALLOCATOR_FRAMES_MAX);
	a = env->meta(env, sizeof(*a) + m->nr_zones * sizeof(a->zones[0]), CACHE_LINE,
		      META_VOLATILE);
	if (!a)
		return error_set(env->error, ENOMEM, "buddy: no memory for %u zones", m->nr_zones);
	a->machine = m;
	a->env = env;
	a->follow = env->meta(env, follow_bytes(m->nr_cpus), CACHE_LINE, META_VOLATILE);
	if (!a->follow)
		return error_set(env->error, ENOMEM, "buddy: no memory for %u cpus", m->nr_cpus);
	a->rules = version_choose(env);
	a->nr_zones = m->nr_zones;
	a->grouping = group_by_mobility(m);
	for (unsigned int i = 0; i < m->nr_zones; i++) {
		a->spans[i] = (struct pfn_range){m->zones[i].start, m->zones[i].end};
		rc = zone_init(&a->zones[i], &m->zones[i], env);
		if (rc)
			return rc;
		a->zones[i].grouping = a->grouping;
		a->zones[i].fallback = (uint8_t)a->rules.fallback;
		a->zones[i].drain_cached = a->rules.drain_cached;
		zone_set_marks(&a->zones[i], &m->zones[i]);
	}
	rc = create_zonelists(a, env);
	if (!rc)
		rc = create_percpu(a, env);
	if (rc)
		return rc;
	paint_absent(a);
	machine_each_managed(m, list_managed, a);
	for (unsigned int i = 0; env->list_seed && i < m->nr_zones; i++)
		zone_shuffle_lists(&a->zones[i], env->list_seed);
	*out = a;
	return 0;
}

/* All memory is the environment's. */
void buddy_destroy(struct allocator *a)
{
	(void)a;
}
