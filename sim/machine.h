/* SPDX-License-Identifier: MIT */
/*
 * The machine a trace was recorded on, or one made up: frames, zones, nodes, CPUs, and which frames
 * do not exist. Purely a description, immutable once built, shared by everyone; what state the frames
 * are in at some moment is a frame_map (sim/frame_map.h). Words are the kernel's.
 */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t pfn_t;
#define PFN_NONE UINT64_MAX
#define PFN_MAX	 ((UINT64_C(1) << 40) - 1) /* 4 PiB of 4 KiB frames; a larger pfn is an error */

#define PAGE_SHIFT_DEFAULT 12
#define MAX_ORDER	   10 /* largest order of an allocation; blocks of 4 MiB */
#define NR_ORDERS	   11
#define HUGE_ORDER	   9
#define HUGE_FRAMES	   512

/* Ours, fixed, so that traces of kernels with and without CMA compare; readers translate. */
enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_HIGHATOMIC,
	MIGRATE_CMA,
	MIGRATE_ISOLATE,
	MIGRATE_TYPES,
	MIGRATE_UNKNOWN = 0xff,
};

/** "Unmovable", ... as in /proc/pagetypeinfo; "?" for others. */
const char *migratetype_name(unsigned int mt);

enum zone_type {
	ZONE_DMA,
	ZONE_DMA32,
	ZONE_NORMAL,
	ZONE_HIGHMEM,
	ZONE_MOVABLE,
	ZONE_DEVICE,
	ZONE_TYPES,
};

/** "DMA", "DMA32", "Normal", ... as in /proc/zoneinfo. */
const char *zone_type_name(unsigned int type);

struct pfn_range {
	pfn_t start, end; /* [start, end) */
};

/*
 * Why frames inside a zone's span are not managed by the page allocator. An online event may bring
 * any of them.
 */
enum absence {
	ABSENT_HOLE,	 /* no memory there, as far as could be seen */
	ABSENT_RESERVED, /* memory the kernel kept at boot, some of it for ever */
	ABSENT_OFFLINE,	 /* memory not handed over yet */
};

struct absent_range {
	struct pfn_range range;
	enum absence why;
};

struct watermarks {
	uint64_t min, low, high, promo; /* frames */
};

/* The bounds of each CPU's page lists of a zone, in frames; all 0: as the kernel would choose them. */
#define PERCPU_BATCH_MAX 2016
#define PERCPU_HIGH_MAX	 (1U << 20)

struct percpu_limits {
	uint32_t batch, high_min, high_max;
};

struct zone {
	pfn_t start, end;	   /* spanned */
	uint64_t present, managed; /* frames */
	struct watermarks watermark;
	uint64_t lowmem_reserve[ZONE_TYPES]; /* by the type of the request's highest zone */
	/* Of a machine file; a recorded machine's are in its snapshots. */
	struct percpu_limits percpu;
	uint16_t node;
	uint8_t type; /* enum zone_type */
};

#define MACHINE_ZONES_MAX 64
#define MACHINE_CPUS_MAX  4096

/* Zones are ordered by (node, type) and do not overlap; their index is a zone's id everywhere. */
struct machine {
	uint32_t page_shift, max_order, pageblock_order;
	uint32_t nr_cpus, nr_nodes, nr_zones;
	struct zone zones[MACHINE_ZONES_MAX];
	uint16_t *node_of_cpu;	     /* nr_cpus entries */
	struct absent_range *absent; /* sorted, disjoint, inside zone spans */
	size_t nr_absent;
	/* nr_nodes rows of nr_nodes: from the row's node to the column's. NULL: the usual ones. */
	uint8_t *distances;
};

/* How far memory is from a node, as firmware tells kernels (the SLIT): a latency in tenths of its own node's. */
#define DISTANCE_LOCAL	10
#define DISTANCE_REMOTE 20 /* what is taken where nothing is told */
#define DISTANCE_MAX	254

/**
 * machine_create - an empty description with the defaults of x86-64, to be filled by its creator
 * (who adds zones with machine_add_zone() and then ranges with machine_add_absent())
 * The caller owns @m, here and below: machine_destroy(). Once filled it may be read by any thread.
 * Return: 0; -ENOMEM; -EINVAL: no cpu or node, or too many.
 */
int machine_create(uint32_t nr_cpus, uint32_t nr_nodes, struct machine **m, struct error *err);

/**
 * machine_from_memory - one node, one Normal zone from pfn 0, no holes: what --memory X means
 * @bytes: a multiple of the frame size; -EINVAL otherwise or when 0 or above PFN_MAX
 */
int machine_from_memory(uint64_t bytes, uint32_t nr_cpus, struct machine **m, struct error *err);
int machine_copy(const struct machine *from, struct machine **m, struct error *err);
void machine_destroy(struct machine *m); /* NULL is allowed */

/**
 * machine_add_zone - append a zone, which is copied
 * Return: 0; -ENOSPC: too many; -EINVAL: empty, overlapping, not after the others by (node, type),
 * beyond PFN_MAX, of an unknown node, not managed <= present <= spanned, or with per-CPU limits out of
 * range.
 */
int machine_add_zone(struct machine *m, const struct zone *zone, struct error *err);
/**
 * machine_add_absent - append a range (adjacent ranges of one kind merge; one may cross from a zone
 * into the next)
 * Return: 0; -ENOMEM; -EINVAL: empty, before the last one's end, or not inside zone spans.
 */
int machine_add_absent(struct machine *m, struct pfn_range range, enum absence why,
		       struct error *err);

/**
 * machine_set_distances - how far nodes are from each other
 * @distances: nr_nodes rows of nr_nodes, copied; where all are the usual ones, nothing is kept, so that such
 * a machine is the same as one of which nothing is said
 * Return: 0; -ENOMEM; -EINVAL: a node is not DISTANCE_LOCAL from itself, or another is not farther, up to
 * DISTANCE_MAX.
 */
int machine_set_distances(struct machine *m, const uint8_t *distances, struct error *err);

/** Check every promise of the struct (for a description that came out of a file). */
int machine_check(const struct machine *m, struct error *err);

/* Inline: what back ends need that link nothing of ours. */

/** Lowest and one past the highest pfn in any zone. */
static inline pfn_t machine_start(const struct machine *m)
{
	pfn_t start = m->nr_zones ? m->zones[0].start : 0;

	for (uint32_t i = 1; i < m->nr_zones; i++) {
		if (m->zones[i].start < start)
			start = m->zones[i].start;
	}
	return start;
}

static inline pfn_t machine_end(const struct machine *m)
{
	pfn_t end = 0;

	for (uint32_t i = 0; i < m->nr_zones; i++) {
		if (m->zones[i].end > end)
			end = m->zones[i].end;
	}
	return end;
}

/** From node @from to the memory of node @to. It need not be as far back. */
static inline unsigned int machine_distance(const struct machine *m, unsigned int from,
					    unsigned int to)
{
	if (m->distances)
		return m->distances[(size_t)from * m->nr_nodes + to];
	return from == to ? DISTANCE_LOCAL : DISTANCE_REMOTE;
}

/** Index of the zone that spans @pfn, or -1. O(zones). */
static inline int machine_zone_of(const struct machine *m, pfn_t pfn)
{
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		if (pfn >= m->zones[i].start && pfn < m->zones[i].end)
			return (int)i;
	}
	return -1;
}

/**
 * machine_next_part - cut the first part that lies in one zone off a range
 * @range: shrinks to what follows the part; may reach anywhere
 * @zone, @part: the zone's index, and the part, which is not empty
 * Return: false: no frame of @range lies in a zone.
 */
static inline bool machine_next_part(const struct machine *m, struct pfn_range *range,
				     unsigned int *zone, struct pfn_range *part)
{
	const struct zone *first = NULL;

	for (uint32_t i = 0; i < m->nr_zones; i++) {
		const struct zone *z = &m->zones[i];

		if (z->start < range->end && z->end > range->start &&
		    (!first || z->start < first->start))
			first = z;
	}
	if (!first || range->start >= range->end)
		return false;
	*zone = (unsigned int)(first - m->zones);
	part->start = range->start > first->start ? range->start : first->start;
	part->end = range->end < first->end ? range->end : first->end;
	range->start = part->end;
	return true;
}

/**
 * machine_preferred_zone - the zone that heads a request's zonelist: @highest itself wherever it lies on
 * @node
 * @node, @highest: of an alloc_request
 */
static inline unsigned int machine_preferred_zone(const struct machine *m, unsigned int node,
						  unsigned int highest)
{
	const unsigned int type = m->zones[highest].type;
	unsigned int nearest = DISTANCE_MAX + 1;
	uint32_t first = highest;

	if (m->zones[highest].node == node)
		return highest;
	for (uint32_t i = m->nr_zones; i-- > 0;) {
		if (m->zones[i].node == node && m->zones[i].type <= type)
			return i;
	}
	/* It has none: the nearest node's, the lowest of them. */
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		const unsigned int far = machine_distance(m, node, m->zones[i].node);

		if (m->zones[i].type > type)
			continue;
		if (far < nearest || m->zones[i].node == m->zones[first].node)
			first = i;
		nearest = far < nearest ? far : nearest;
	}
	return first;
}

/* Index of the first absent range that ends after @pfn. */
static inline size_t machine_absent_from(const struct machine *m, pfn_t pfn)
{
	size_t low = 0, high = m->nr_absent;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->absent[mid].range.end <= pfn)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/**
 * machine_next_managed - the same for parts that the page allocator manages
 * Return: false: no frame of @range is managed.
 */
static inline bool machine_next_managed(const struct machine *m, struct pfn_range *range,
					unsigned int *zone, struct pfn_range *part)
{
	while (machine_next_part(m, range, zone, part)) {
		pfn_t end = part->end;
		size_t next = machine_absent_from(m, part->start);

		for (; next < m->nr_absent && m->absent[next].range.start <= part->start; next++)
			part->start = m->absent[next].range.end;
		if (next < m->nr_absent && m->absent[next].range.start < end)
			part->end = m->absent[next].range.start;
		if (part->start >= end)
			continue;
		/* What follows in this zone is looked at next time. */
		range->start = part->end;
		return true;
	}
	return false;
}

/** Frames the page allocator manages: spanned less absent. */
uint64_t machine_managed(const struct machine *m);
/** The same for [start, end), which may span any zones and gaps. O(zones + absent ranges inside). */
uint64_t machine_managed_in(const struct machine *m, pfn_t start, pfn_t end);

/** Frames in zone spans, managed or absent. */
uint64_t machine_spanned(const struct machine *m);

/** All zones by ascending start (ids follow (node, type), which need not). Return: nr_zones. */
unsigned int machine_zones_by_pfn(const struct machine *m, uint8_t zones[MACHINE_ZONES_MAX]);

/**
 * machine_boot_min_free - min_free_kbytes as a kernel with huge pages sets it, in frames
 * machine_boot_watermarks - the watermarks a zone gets of it
 * machine_boot_reserve - frames of a zone kept back from requests that could have memory of zones up to
 * @type (lowmem_reserve_ratio at its default)
 * All from the managed frames of the zones (linux-page-allocator, section 5).
 */
uint64_t machine_boot_min_free(const struct machine *m);
struct watermarks machine_boot_watermarks(const struct machine *m, unsigned int zone,
					  uint64_t min_free);
uint64_t machine_boot_reserve(const struct machine *m, unsigned int zone, unsigned int type);

/* Where a request may have its memory from: of `node` first, from the type of `zone` down. */
struct request_zone {
	uint16_t node;
	uint8_t zone; /* index: one of the highest type that the request may use, of `node` if it can be */
};

/**
 * machine_request_zone - resolve what a request for memory of @node may use: the one rule for everyone
 * who asks, serves or judges
 *
 * The gfp names the highest type of zone (linux-page-allocator, section 1). All zones of that type and
 * below are open to the request, @node's before those of others; with GFP_THISNODE @node's alone. Two
 * things a kernel cannot be asked for, so that a request which was served must have been another:
 *
 * - A type such that no zone of the machine is of it or below it. A kernel built without DMA or DMA32
 *   takes such a request for one of Normal memory; so do we. Without Normal memory and anything below
 *   (no kernel boots there) the lowest type there is will do.
 * - GFP_THISNODE of a node that has no zone it may use. The kernel would refuse it; so another node was
 *   asked: the lowest that has one.
 *
 * So with GFP_THISNODE the zone always lies on the node, and every request has a zone that it may use.
 */
struct request_zone machine_request_zone(const struct machine *m, unsigned int node, uint32_t gfp);

/** The same for those who are not interested in the node. */
static inline unsigned int machine_highest_zone(const struct machine *m, unsigned int node,
						uint32_t gfp)
{
	return machine_request_zone(m, node, gfp).zone;
}

/**
 * machine_asked_node - which node was a recorded request for? That of the frame it got: no event tells,
 * and a kernel asks for memory of other nodes than its cpu's all the time.
 * @recorded: PFN_NONE or in no zone: the node of @cpu
 */
static inline unsigned int machine_asked_node(const struct machine *m, pfn_t recorded,
					      unsigned int cpu)
{
	int zone = recorded == PFN_NONE ? -1 : machine_zone_of(m, recorded);

	return zone < 0 ? m->node_of_cpu[cpu] : m->zones[zone].node;
}

/**
 * machine_zonelist - the zones a request may try, in order: @node's from @highest_type down, then
 * those of the other nodes, the nearest first, equally far ones by number
 * (A kernel prefers, of equally far ones, those with higher numbers than its own, and spreads the load of
 * several nodes over them.)
 * Return: how many were written to @zones (at most MACHINE_ZONES_MAX).
 */
unsigned int machine_zonelist(const struct machine *m, unsigned int node, unsigned int highest_type,
			      uint8_t zones[MACHINE_ZONES_MAX]);

/**
 * machine_each_managed - the managed ranges, ascending, cut at zone borders
 * A non-zero return of @visit ends the walk and is returned.
 */
int machine_each_managed(const struct machine *m,
			 int (*visit)(void *arg, unsigned int zone, struct pfn_range range),
			 void *arg);

#ifdef __cplusplus
}
#endif
#endif
