/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/look.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "allocators/buddy/check.h"
#include "base/bits.h"

enum counter {
	ZONE_LOCKED,
	PCPU_DRAIN,
	EXTFRAG,
	CLAIMS,
	CLAIMED_PAGEBLOCKS,
	STEALS,
	ZONE_SPILLS,
	WATERMARK_BOOSTS,
	BOOST_FRAMES,
	ISOLATED_FRAMES,
	PCP_HITS,
	PCP_REFILLS,
	PCP_REFILLED_BLOCKS,
	NOFRAGMENT_RETRIES,
	SLOW_PATHS,
	NR_COUNTERS,
};

const struct metric_info buddy_counters[NR_COUNTERS + 1] = {
	[ZONE_LOCKED] = {"zone_locked", "blocks",
			 "taken from the zones' free lists, for a request or a refill"},
	[PCPU_DRAIN] = {"pcpu_drain", "blocks", "given back from per-CPU lists"},
	[EXTFRAG] = {"extfrag", "",
		     "times another migratetype's blocks had to serve: claims and steals",
		     METRIC_LOWER},
	[CLAIMS] = {"claims", "", "requests for which whole pageblocks changed their type",
		    METRIC_LOWER},
	[CLAIMED_PAGEBLOCKS] = {"claimed_pageblocks", "pageblocks", "that changed their type so",
				METRIC_LOWER},
	[STEALS] = {"steals", "",
		    "requests served out of a pageblock of another type, which kept it",
		    METRIC_LOWER},
	[ZONE_SPILLS] = {"zone_spills", "",
			 "allocations for which the first zone of their list had nothing to spare"},
	[WATERMARK_BOOSTS] = {"watermark_boosts", "", "times a fallback raised a zone's watermarks",
			      METRIC_LOWER},
	[BOOST_FRAMES] = {"boost_frames", "frames",
			  "by which all watermarks are raised now; each zone's, added up"},
	[ISOLATED_FRAMES] = {"isolated_frames", "frames", "free, but out of circulation now"},
	[PCP_HITS] = {"pcp_hits", "", "allocations that a per-CPU list had a block for",
		      METRIC_HIGHER},
	[PCP_REFILLS] = {"pcp_refills", "", "times a per-CPU list was empty and was filled",
			 METRIC_LOWER},
	[PCP_REFILLED_BLOCKS] = {"pcp_refilled_blocks", "blocks", "that these brought"},
	[NOFRAGMENT_RETRIES] = {"nofragment_retries", "",
				"walks over the zones begun anew with mixing types allowed",
				METRIC_LOWER},
	[SLOW_PATHS] = {"slow_paths", "",
			"allocations that no zone could serve above its low watermark",
			METRIC_LOWER},
};

static void add_counter(struct allocator_stats *stats, enum counter counter, uint64_t value)
{
	stats->counters[stats->nr_counters].name = buddy_counters[counter].name;
	stats->counters[stats->nr_counters++].value = value;
}

/* What is summed over zones and their per-CPU lists. */
struct sums {
	uint64_t zone_locked, drained, claims, claimed, steals, spills, boosts, boost, isolated;
	uint64_t hits, refills, refilled;
};

static void sum_sets(const struct allocator *a, struct buddy_zone *z, struct sums *sum,
		     struct allocator_stats *stats)
{
	for (unsigned int cpu = 0; z->pcp && cpu < a->machine->nr_cpus; cpu++) {
		struct pcp *set = &z->pcp[cpu].set;

		spin_lock(&set->lock);
		stats->cached_frames += pcp_known(set);
		sum->hits += set->hits;
		sum->refills += set->refills;
		sum->refilled += set->refilled_blocks;
		sum->drained += set->drained_blocks;
		spin_unlock(&set->lock);
	}
}

static void sum_zone(struct buddy_zone *z, struct sums *sum, struct allocator_stats *stats)
{
	spin_lock(&z->lock);
	/* What is isolated is out of circulation, and no free block to anyone. */
	for (unsigned int mt = 0; mt < MIGRATE_ISOLATE; mt++) {
		for (unsigned int order = 0; order < NR_ORDERS; order++)
			stats->free_blocks[mt][order] += z->nr_free[mt][order];
	}
	stats->free_frames += atomic_load_explicit(&z->nr_free_frames, memory_order_relaxed);
	sum->isolated += zone_free_frames(z, MIGRATE_ISOLATE);
	sum->zone_locked += z->zone_locked;
	sum->claims += z->claims;
	sum->claimed += z->claimed_pageblocks;
	sum->steals += z->steals;
	sum->spills += z->spills;
	sum->boosts += z->boosts;
	sum->boost += atomic_load_explicit(&z->boost, memory_order_relaxed);
	spin_unlock(&z->lock);
	for (uint32_t f = (uint32_t)align_down(z->start, PAGEBLOCK_FRAMES); f < z->end;
	     f += PAGEBLOCK_FRAMES)
		stats->pageblocks[zone_type_of(z, f)]++;
	stats->pageblocks[MIGRATE_MOVABLE] -=
		min_u64(stats->pageblocks[MIGRATE_MOVABLE], z->hole_pageblocks);
}

int buddy_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	bool all = zone == ALLOCATOR_ALL_ZONES;
	struct sums sum = {0};

	if (!all && zone >= a->nr_zones)
		return -EINVAL;
	*stats = (struct allocator_stats){0};
	for (unsigned int i = all ? 0 : zone; i < (all ? a->nr_zones : zone + 1); i++) {
		/* Looking takes the locks, which are not part of what is looked at. */
		struct buddy_zone *z = (struct buddy_zone *)(uintptr_t)&a->zones[i];

		sum_zone(z, &sum, stats);
		sum_sets(a, z, &sum, stats);
	}
	add_counter(stats, ZONE_LOCKED, sum.zone_locked);
	add_counter(stats, PCPU_DRAIN, sum.drained);
	add_counter(stats, EXTFRAG, sum.claims + sum.steals);
	add_counter(stats, CLAIMS, sum.claims);
	add_counter(stats, CLAIMED_PAGEBLOCKS, sum.claimed);
	add_counter(stats, STEALS, sum.steals);
	add_counter(stats, ZONE_SPILLS, sum.spills);
	add_counter(stats, WATERMARK_BOOSTS, sum.boosts);
	add_counter(stats, BOOST_FRAMES, sum.boost);
	add_counter(stats, ISOLATED_FRAMES, sum.isolated);
	add_counter(stats, PCP_HITS, sum.hits);
	add_counter(stats, PCP_REFILLS, sum.refills);
	add_counter(stats, PCP_REFILLED_BLOCKS, sum.refilled);
	if (all) {
		add_counter(stats, NOFRAGMENT_RETRIES, a->nofragment_retries);
		add_counter(stats, SLOW_PATHS, a->slow_paths);
	}
	return 0;
}

/* Free frames of [@start, @end), at most one pageblock of @z; those on per-CPU lists are free. */
static unsigned int count_free(const struct buddy_zone *z, uint32_t start, uint32_t end)
{
	unsigned int free = 0, found;

	if (zone_type_of(z, start) == MIGRATE_ISOLATE)
		return 0;
	if (zone_containing(z, start, PAGEBLOCK_ORDER, &found) != ZONE_NO_FRAME)
		return end - start;
	for (uint32_t f = start; f < end;) {
		uint8_t cell = cell_at(z, f);
		uint32_t step = 1;

		if (cell & CELL_FREE) {
			/* At most: others may be at work here. */
			step = (uint32_t)min_u64(1U << (cell & CELL_ORDER), end - f);
			free += step;
		} else {
			free += cell_is_percpu(cell);
		}
		f += step;
	}
	return free;
}

void buddy_occupancy(const struct allocator *a, uint64_t first, size_t n, uint16_t *free_frames)
{
	memset(free_frames, 0, n * sizeof(*free_frames));
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		const struct buddy_zone *z = &a->zones[i];
		uint64_t block = max_u64(first, a->spans[i].start >> HUGE_ORDER);
		uint64_t end = min_u64(first + n, div_round_up(a->spans[i].end, HUGE_FRAMES));

		for (; block < end; block++) {
			pfn_t start = max_u64(block << HUGE_ORDER, a->spans[i].start);
			pfn_t stop = min_u64((block + 1) << HUGE_ORDER, a->spans[i].end);

			free_frames[block - first] = (uint16_t)(free_frames[block - first] +
								count_free(z, zone_index(z, start),
									   zone_index(z, stop)));
		}
	}
}

int buddy_check(const struct allocator *a, struct error *err)
{
	for (unsigned int i = 0; i < a->nr_zones; i++) {
		int rc = zone_check(&a->zones[i], a->machine->nr_cpus, err);

		if (rc)
			return rc;
	}
	return 0;
}
