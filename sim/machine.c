/* SPDX-License-Identifier: MIT */
#include "sim/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "sim/gfp.h"

#define PFN_END_MAX (PFN_MAX + 1)

static const char *const migratetype_names[MIGRATE_TYPES] = {
	[MIGRATE_UNMOVABLE] = "Unmovable",
	[MIGRATE_MOVABLE] = "Movable",
	[MIGRATE_RECLAIMABLE] = "Reclaimable",
	[MIGRATE_HIGHATOMIC] = "HighAtomic",
	[MIGRATE_CMA] = "CMA",
	[MIGRATE_ISOLATE] = "Isolate",
};

static const char *const zone_type_names[ZONE_TYPES] = {
	[ZONE_DMA] = "DMA",	    [ZONE_DMA32] = "DMA32",	[ZONE_NORMAL] = "Normal",
	[ZONE_HIGHMEM] = "HighMem", [ZONE_MOVABLE] = "Movable", [ZONE_DEVICE] = "Device",
};

const char *migratetype_name(unsigned int mt)
{
	return mt < MIGRATE_TYPES ? migratetype_names[mt] : "?";
}

const char *zone_type_name(unsigned int type)
{
	return type < ZONE_TYPES ? zone_type_names[type] : "?";
}

int machine_create(uint32_t nr_cpus, uint32_t nr_nodes, struct machine **m, struct error *err)
{
	struct machine *made;

	if (nr_cpus == 0 || nr_cpus > MACHINE_CPUS_MAX)
		return error_set(err, EINVAL, "machine: %" PRIu32 " cpus; give 1 to %d", nr_cpus,
				 MACHINE_CPUS_MAX);
	if (nr_nodes == 0 || nr_nodes > UINT16_MAX)
		return error_set(err, EINVAL, "machine: %" PRIu32 " nodes; give 1 to %d", nr_nodes,
				 UINT16_MAX);
	made = calloc(1, sizeof(*made));
	if (made)
		made->node_of_cpu = calloc(nr_cpus, sizeof(*made->node_of_cpu));
	if (!made || !made->node_of_cpu) {
		free(made);
		return error_set(err, ENOMEM, "machine: out of memory");
	}
	made->page_shift = PAGE_SHIFT_DEFAULT;
	made->max_order = MAX_ORDER;
	made->pageblock_order = HUGE_ORDER;
	made->nr_cpus = nr_cpus;
	made->nr_nodes = nr_nodes;
	*m = made;
	return 0;
}

int machine_from_memory(uint64_t bytes, uint32_t nr_cpus, struct machine **m, struct error *err)
{
	uint64_t frames = bytes >> PAGE_SHIFT_DEFAULT;
	struct zone zone = {
		.end = frames, .present = frames, .managed = frames, .type = ZONE_NORMAL};
	struct machine *made;
	int rc;

	if (bytes == 0 || !is_aligned(bytes, UINT64_C(1) << PAGE_SHIFT_DEFAULT))
		return error_set(err, EINVAL,
				 "memory: %" PRIu64 " bytes is not a positive multiple of 4096; "
				 "round it, or use a suffix (8G)",
				 bytes);
	if (frames > PFN_END_MAX)
		return error_set(err, EINVAL, "memory: %" PRIu64 " bytes is above 4 PiB; give less",
				 bytes);
	rc = machine_create(nr_cpus, 1, &made, err);
	if (rc)
		return rc;
	rc = machine_add_zone(made, &zone, err);
	if (rc) {
		machine_destroy(made);
		return rc;
	}
	*m = made;
	return 0;
}

int machine_copy(const struct machine *from, struct machine **m, struct error *err)
{
	struct machine *made;
	int rc;

	rc = machine_create(from->nr_cpus, from->nr_nodes, &made, err);
	if (rc)
		return rc;
	if (from->nr_absent) {
		made->absent = calloc(from->nr_absent, sizeof(*made->absent));
		if (!made->absent) {
			machine_destroy(made);
			return error_set(err, ENOMEM, "machine: out of memory");
		}
		memcpy(made->absent, from->absent, from->nr_absent * sizeof(*made->absent));
		made->nr_absent = from->nr_absent;
	}
	if (from->distances) {
		rc = machine_set_distances(made, from->distances, err);
		if (rc) {
			machine_destroy(made);
			return rc;
		}
	}
	memcpy(made->node_of_cpu, from->node_of_cpu, from->nr_cpus * sizeof(*made->node_of_cpu));
	memcpy(made->zones, from->zones, sizeof(made->zones));
	made->nr_zones = from->nr_zones;
	made->page_shift = from->page_shift;
	made->max_order = from->max_order;
	made->pageblock_order = from->pageblock_order;
	*m = made;
	return 0;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	free(m->distances);
	free(m->absent);
	free(m->node_of_cpu);
	free(m);
}

/* What must hold for @z as zone number @index behind the @index zones before it. */
static int check_zone(const struct machine *m, unsigned int index, const struct zone *z,
		      struct error *err)
{
	if (z->start >= z->end || z->end > PFN_END_MAX)
		return error_set(err, EINVAL,
				 "machine: zone %u: pfns [%" PRIu64 ", %" PRIu64
				 ") are empty or beyond 2^40",
				 index, z->start, z->end);
	if (z->node >= m->nr_nodes || z->type >= ZONE_TYPES)
		return error_set(err, EINVAL,
				 "machine: zone %u: node %u or zone type %u does not exist", index,
				 z->node, z->type);
	if (z->present > z->end - z->start || z->managed > z->present)
		return error_set(err, EINVAL,
				 "machine: zone %u: managed %" PRIu64 ", present %" PRIu64
				 " and spanned %" PRIu64 " frames are out of order",
				 index, z->managed, z->present, z->end - z->start);
	if (z->percpu.high_min > z->percpu.high_max || (!z->percpu.batch && z->percpu.high_max) ||
	    z->percpu.batch > PERCPU_BATCH_MAX || z->percpu.high_max > PERCPU_HIGH_MAX)
		return error_set(err, EINVAL,
				 "machine: zone %u: per-CPU lists of batch %" PRIu32
				 " and high %" PRIu32 " to %" PRIu32
				 " are out of range or out of order",
				 index, z->percpu.batch, z->percpu.high_min, z->percpu.high_max);
	for (unsigned int i = 0; i < index; i++) {
		const struct zone *o = &m->zones[i];

		if (z->start < o->end && o->start < z->end)
			return error_set(err, EINVAL, "machine: zones %u and %u overlap", i, index);
		if (o->node > z->node || (o->node == z->node && o->type >= z->type))
			return error_set(err, EINVAL,
					 "machine: zone %u is not after zone %u by (node, type)",
					 index, i);
	}
	return 0;
}

int machine_add_zone(struct machine *m, const struct zone *zone, struct error *err)
{
	int rc;

	if (m->nr_zones >= MACHINE_ZONES_MAX)
		return error_set(err, ENOSPC, "machine: more than %d zones", MACHINE_ZONES_MAX);
	rc = check_zone(m, m->nr_zones, zone, err);
	if (rc)
		return rc;
	m->zones[m->nr_zones++] = *zone;
	return 0;
}

/* True if every frame of @r is in some zone. */
static bool in_zones(const struct machine *m, struct pfn_range r)
{
	while (r.start < r.end) {
		int zone = machine_zone_of(m, r.start);

		if (zone < 0)
			return false;
		r.start = m->zones[zone].end;
	}
	return true;
}

static int check_absent(const struct machine *m, pfn_t after, struct pfn_range r, unsigned int why,
			struct error *err)
{
	if (why > ABSENT_OFFLINE)
		return error_set(err, EINVAL, "machine: absence of unknown kind %u", why);
	if (r.start >= r.end || r.start < after || !in_zones(m, r))
		return error_set(err, EINVAL,
				 "machine: absent range [%" PRIu64 ", %" PRIu64
				 ") is empty, out of order or outside all zones",
				 r.start, r.end);
	return 0;
}

int machine_add_absent(struct machine *m, struct pfn_range range, enum absence why,
		       struct error *err)
{
	struct absent_range *last = m->nr_absent ? &m->absent[m->nr_absent - 1] : NULL, *more;
	int rc;

	rc = check_absent(m, last ? last->range.end : 0, range, why, err);
	if (rc)
		return rc;
	if (last && last->range.end == range.start && last->why == why) {
		last->range.end = range.end;
		return 0;
	}
	more = reallocarray(m->absent, m->nr_absent + 1, sizeof(*more));
	if (!more)
		return error_set(err, ENOMEM, "machine: out of memory");
	m->absent = more;
	m->absent[m->nr_absent++] = (struct absent_range){.range = range, .why = why};
	return 0;
}

static int check_distances(const struct machine *m, const uint8_t *distances, struct error *err)
{
	for (size_t i = 0; i < (size_t)m->nr_nodes * m->nr_nodes; i++) {
		const size_t from = i / m->nr_nodes, to = i % m->nr_nodes;

		if (from == to ? distances[i] == DISTANCE_LOCAL
			       : distances[i] > DISTANCE_LOCAL && distances[i] <= DISTANCE_MAX)
			continue;
		return error_set(
			err, EINVAL,
			"machine: distance %u from node %zu to node %zu; a node is %d from "
			"itself, and %d to %d from others",
			distances[i], from, to, DISTANCE_LOCAL, DISTANCE_LOCAL + 1, DISTANCE_MAX);
	}
	return 0;
}

int machine_set_distances(struct machine *m, const uint8_t *distances, struct error *err)
{
	const size_t n = (size_t)m->nr_nodes * m->nr_nodes;
	uint8_t *kept = NULL;
	bool usual = true;
	int rc = check_distances(m, distances, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < n; i++)
		usual = usual &&
			(i / m->nr_nodes == i % m->nr_nodes || distances[i] == DISTANCE_REMOTE);
	if (!usual) {
		kept = malloc(n);
		if (!kept)
			return error_set(err, ENOMEM, "machine: out of memory");
		memcpy(kept, distances, n);
	}
	free(m->distances);
	m->distances = kept;
	return 0;
}

int machine_check(const struct machine *m, struct error *err)
{
	pfn_t after = 0;
	int rc;

	if (m->page_shift < 12 || m->page_shift > 16)
		return error_set(err, EINVAL, "machine: page shift %" PRIu32 " is not 12 to 16",
				 m->page_shift);
	if (m->max_order > MAX_ORDER || m->pageblock_order == 0 ||
	    m->pageblock_order > m->max_order)
		return error_set(err, EINVAL,
				 "machine: largest order %" PRIu32 " (at most %d) or pageblock "
				 "order %" PRIu32 " is out of range",
				 m->max_order, MAX_ORDER, m->pageblock_order);
	if (m->nr_cpus == 0 || m->nr_cpus > MACHINE_CPUS_MAX || m->nr_nodes == 0 ||
	    m->nr_nodes > UINT16_MAX || m->nr_zones == 0 || m->nr_zones > MACHINE_ZONES_MAX)
		return error_set(err, EINVAL,
				 "machine: %" PRIu32 " cpus, %" PRIu32 " nodes, %" PRIu32
				 " zones: one of them is out of range",
				 m->nr_cpus, m->nr_nodes, m->nr_zones);
	for (uint32_t i = 0; i < m->nr_cpus; i++) {
		if (m->node_of_cpu[i] >= m->nr_nodes)
			return error_set(err, EINVAL, "machine: cpu %" PRIu32 " on unknown node %u",
					 i, m->node_of_cpu[i]);
	}
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		rc = check_zone(m, i, &m->zones[i], err);
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < m->nr_absent; i++) {
		const struct absent_range *a = &m->absent[i];

		rc = check_absent(m, after, a->range, a->why, err);
		if (rc)
			return rc;
		after = a->range.end;
	}
	return m->distances ? check_distances(m, m->distances, err) : 0;
}

uint64_t machine_managed(const struct machine *m)
{
	return machine_managed_in(m, 0, PFN_END_MAX);
}

uint64_t machine_managed_in(const struct machine *m, pfn_t start, pfn_t end)
{
	uint64_t frames = 0;

	for (uint32_t i = 0; i < m->nr_zones; i++) {
		pfn_t from = max_u64(start, m->zones[i].start);
		pfn_t to = min_u64(end, m->zones[i].end);

		if (from < to)
			frames += to - from;
	}
	for (size_t i = machine_absent_from(m, start); i < m->nr_absent; i++) {
		const struct pfn_range *r = &m->absent[i].range;

		if (r->start >= end)
			break;
		frames -= min_u64(end, r->end) - max_u64(start, r->start);
	}
	return frames;
}

uint64_t machine_spanned(const struct machine *m)
{
	uint64_t frames = 0;

	for (uint32_t i = 0; i < m->nr_zones; i++)
		frames += m->zones[i].end - m->zones[i].start;
	return frames;
}

/* The type of the highest zone a gfp allows. */
static unsigned int gfp_zone_type(uint32_t gfp)
{
	if (gfp & GFP_DMA)
		return ZONE_DMA;
	if (gfp & GFP_DMA32)
		return ZONE_DMA32;
	if (gfp & GFP_HIGHMEM)
		return gfp & GFP_MOVABLE ? ZONE_MOVABLE : ZONE_HIGHMEM;
	return ZONE_NORMAL;
}

/* The highest zone of @node with a type up to @type, or -1. */
static int highest_of_node(const struct machine *m, unsigned int node, unsigned int type)
{
	for (uint32_t i = m->nr_zones; i-- > 0;) {
		if (m->zones[i].node == node && m->zones[i].type <= type)
			return (int)i;
	}
	return -1;
}

/* Of the highest type up to @type on any node, that of the lowest node; -1: there is none. */
static int highest_of_all(const struct machine *m, unsigned int type)
{
	int highest = -1;

	for (uint32_t i = 0; i < m->nr_zones; i++) {
		if (m->zones[i].type <= type &&
		    (highest < 0 || m->zones[i].type > m->zones[highest].type))
			highest = (int)i;
	}
	return highest;
}

/* The highest type that a request may use of a machine, which need not have a zone of it. */
static unsigned int usable_type(const struct machine *m, uint32_t gfp)
{
	unsigned int type = gfp_zone_type(gfp), lowest = ZONE_TYPES;

	for (uint32_t i = 0; i < m->nr_zones; i++)
		lowest = (unsigned int)min_u64(lowest, m->zones[i].type);
	return type >= lowest ? type : (unsigned int)max_u64(lowest, ZONE_NORMAL);
}

struct request_zone machine_request_zone(const struct machine *m, unsigned int node, uint32_t gfp)
{
	unsigned int type = usable_type(m, gfp);
	int zone = highest_of_all(m, type), own = highest_of_node(m, node, type);

	if (zone < 0)
		return (struct request_zone){.node = (uint16_t)node}; /* no zones at all */
	if (gfp & GFP_THISNODE) {
		for (unsigned int n = 0; own < 0 && n < m->nr_nodes; n++)
			own = highest_of_node(m, node = n, type);
		zone = own;
	} else if (own >= 0 && m->zones[own].type == m->zones[zone].type) {
		zone = own;
	}
	return (struct request_zone){.node = (uint16_t)node, .zone = (uint8_t)zone};
}

/* Append @node's zones of types up to @type, highest first, to @zones from index @n. */
static unsigned int zonelist_of_node(const struct machine *m, unsigned int node, unsigned int type,
				     uint8_t *zones, unsigned int n)
{
	for (uint32_t i = m->nr_zones; i-- > 0;) {
		if (m->zones[i].node == node && m->zones[i].type <= type)
			zones[n++] = (uint8_t)i;
	}
	return n;
}

/*
 * The node with zones that is next behind @after, as seen from @node: the farther, the later, equally far ones
 * by number. Return: false: there is none.
 */
static bool next_node(const struct machine *m, unsigned int node, unsigned int *after)
{
	const unsigned int last = machine_distance(m, node, *after);
	unsigned int best = 0, nearest = DISTANCE_MAX + 1;

	for (uint32_t i = 0; i < m->nr_zones; i++) {
		const unsigned int other = m->zones[i].node;
		const unsigned int far = machine_distance(m, node, other);

		/* Its own node was the first; zones come in the order of their nodes. */
		if (other == node ||
		    (*after != node && (far < last || (far == last && other <= *after))))
			continue;
		if (far < nearest) {
			nearest = far;
			best = other;
		}
	}
	*after = best;
	return nearest <= DISTANCE_MAX;
}

unsigned int machine_zonelist(const struct machine *m, unsigned int node, unsigned int highest_type,
			      uint8_t zones[MACHINE_ZONES_MAX])
{
	unsigned int n = zonelist_of_node(m, node, highest_type, zones, 0);

	for (unsigned int other = node; next_node(m, node, &other);)
		n = zonelist_of_node(m, other, highest_type, zones, n);
	return n;
}

unsigned int machine_zones_by_pfn(const struct machine *m, uint8_t zones[MACHINE_ZONES_MAX])
{
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		uint32_t at = i;

		for (; at > 0 && m->zones[zones[at - 1]].start > m->zones[i].start; at--)
			zones[at] = zones[at - 1];
		zones[at] = (uint8_t)i;
	}
	return m->nr_zones;
}

int machine_each_managed(const struct machine *m,
			 int (*visit)(void *arg, unsigned int zone, struct pfn_range range),
			 void *arg)
{
	struct pfn_range rest = {0, PFN_END_MAX}, part;
	unsigned int zone;

	while (machine_next_managed(m, &rest, &zone, &part)) {
		int rc = visit(arg, zone, part);

		if (rc)
			return rc;
	}
	return 0;
}

/* ---- what a kernel sets at boot ---- */

#define MIN_FREE_FRAMES_MIN 32	  /* 128 KiB */
#define MIN_FREE_FRAMES_MAX 65536 /* 256 MiB */
#define MIN_FREE_PAGEBLOCKS 11	  /* per zone, with huge pages, */
#define MIN_FREE_SHARE_MAX  20	  /* up to that part of memory */
#define WATERMARK_SCALE	    1000  /* part of a zone between watermarks; default of 10/10000 */
#define MOVABLE_MIN_SHARE   1024
#define MOVABLE_MIN_FRAMES  32
#define MOVABLE_MAX_FRAMES  128

static uint64_t square_root(uint64_t v)
{
	uint64_t root = 0;

	for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1) {
		if ((root + bit) * (root + bit) <= v)
			root += bit;
	}
	return root;
}

/* Managed frames of the zones that kernel allocations may use. Return: how many such zones. */
static unsigned int low_memory(const struct machine *m, uint64_t *frames)
{
	unsigned int zones = 0;

	*frames = 0;
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		if (m->zones[i].type > ZONE_NORMAL || !m->zones[i].managed)
			continue;
		*frames += m->zones[i].managed;
		zones++;
	}
	return zones;
}

uint64_t machine_boot_min_free(const struct machine *m)
{
	uint64_t lowmem, frames, huge;
	unsigned int zones = low_memory(m, &lowmem);

	/* The square root of 16 times the kilobytes, as kilobytes. */
	frames = square_root(64 * lowmem) / 4;
	huge = min_u64((uint64_t)zones * MIN_FREE_PAGEBLOCKS * HUGE_FRAMES,
		       lowmem / MIN_FREE_SHARE_MAX);
	frames = min_u64(max_u64(frames, MIN_FREE_FRAMES_MIN), MIN_FREE_FRAMES_MAX);
	return max_u64(frames, huge);
}

struct watermarks machine_boot_watermarks(const struct machine *m, unsigned int zone,
					  uint64_t min_free)
{
	const struct zone *z = &m->zones[zone];
	uint64_t lowmem, share, min, step;

	low_memory(m, &lowmem);
	if (lowmem == 0)
		return (struct watermarks){0};
	share = (uint64_t)((unsigned __int128)min_free * z->managed / lowmem);
	min = share;
	if (z->type > ZONE_NORMAL)
		min = min_u64(max_u64(z->managed / MOVABLE_MIN_SHARE, MOVABLE_MIN_FRAMES),
			      MOVABLE_MAX_FRAMES);
	step = max_u64(share / 4, z->managed / WATERMARK_SCALE);
	return (struct watermarks){
		.min = min,
		.low = min + step,
		.high = min + 2 * step,
		.promo = min + 3 * step,
	};
}

uint64_t machine_boot_reserve(const struct machine *m, unsigned int zone, unsigned int type)
{
	/* lowmem_reserve_ratio; 0: nothing is kept back */
	static const uint16_t ratio[ZONE_TYPES] = {
		[ZONE_DMA] = 256, [ZONE_DMA32] = 256, [ZONE_NORMAL] = 32};
	const struct zone *z = &m->zones[zone];
	uint64_t above = 0;

	if (ratio[z->type] == 0)
		return 0;
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		const struct zone *other = &m->zones[i];

		if (other->node == z->node && other->type > z->type && other->type <= type)
			above += other->managed;
	}
	return above / ratio[z->type];
}
