/* SPDX-License-Identifier: MIT */
/* The model against the back end. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/allocators/buddy/model/model_parts.h"

static bool list_differs(const struct model_zone *mz, const struct buddy_zone *z, unsigned int mt,
			 unsigned int o, struct error *err)
{
	const struct list *l = &mz->free[mt][o];
	uint32_t list = zone_sentinel(z, o, mt), f = zone_link(z, list)->next;

	for (size_t i = 0; i <= l->n; i++, f = zone_link(z, f)->next) {
		pfn_t expected = i < l->n ? l->pfn[i] : PFN_NONE;
		pfn_t pfn = f == list ? PFN_NONE : z->base + f;

		if (pfn != expected) {
			error_set(err, EUCLEAN,
				  "zone %s, %s, order %u, entry %zu: pfn %" PRId64
				  ", expected %" PRId64,
				  zone_type_name(z->type), migratetype_name(mt), o, i, (int64_t)pfn,
				  (int64_t)expected);
			return true;
		}
	}
	return false;
}

static uint8_t cell_of(const struct model_zone *mz, pfn_t pfn)
{
	switch (*frame_at(mz, pfn)) {
	case M_ABSENT:
		return CELL_ABSENT;
	case M_USED:
		return CELL_USED;
	case M_USED_MOVABLE:
		return CELL_USED | CELL_MOVABLE;
	case M_TAKEN:
		return CELL_TAKEN;
	case M_PARKED:
		return CELL_PERCPU | mz->cached[pfn - mz->zone.start];
	default:
		return 0;
	}
}

static bool frames_differ(const struct model_zone *mz, const struct buddy_zone *z,
			  struct error *err)
{
	for (pfn_t pfn = mz->zone.start; pfn < mz->zone.end; pfn++) {
		uint32_t f = (uint32_t)(pfn - z->base);
		uint8_t cell = z->cells[f] & CELL_FREE ? 0 : z->cells[f];

		if (cell != cell_of(mz, pfn) || zone_type_of(z, f) != type_of(mz, pfn)) {
			error_set(err, EUCLEAN,
				  "pfn %" PRIu64 ": cell %#x, type %u; expected %#x, %u", pfn,
				  z->cells[f], zone_type_of(z, f), cell_of(mz, pfn),
				  type_of(mz, pfn));
			return true;
		}
	}
	return false;
}

struct pair {
	const char *what;
	int64_t got, expected;
};

static bool pairs_differ(const char *where, unsigned int index, const struct pair *p, size_t n,
			 struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i].got != p[i].expected) {
			error_set(err, EUCLEAN, "%s %u: %s %" PRId64 ", expected %" PRId64, where,
				  index, p[i].what, p[i].got, p[i].expected);
			return true;
		}
	}
	return false;
}

static bool counts_differ(const struct model_zone *mz, const struct buddy_zone *z, unsigned int id,
			  struct error *err)
{
	unsigned int flags = (mz->below_high ? (unsigned int)ZONE_BELOW_HIGH : 0) |
			     (mz->kswapd ? (unsigned int)ZONE_RECLAIM_ACTIVE : 0) |
			     (mz->boosted ? (unsigned int)ZONE_BOOSTED : 0);
	const struct pair pairs[] = {
		{"free frames", (int64_t)z->nr_free_frames, free_frames(mz)},
		{"flags", z->flags, flags},
		{"boost", (int64_t)z->boost, mz->boost},
		{"managed", (int64_t)z->managed, mz->managed},
		{"reserved", (int64_t)z->nr_highatomic, mz->reserved},
		{"zone_locked", (int64_t)z->zone_locked, (int64_t)mz->zone_locked},
		{"claims", (int64_t)z->claims, (int64_t)mz->claims},
		{"steals", (int64_t)z->steals, (int64_t)mz->steals},
		{"boosts", (int64_t)z->boosts, (int64_t)mz->boosts},
		{"spills", (int64_t)z->spills, (int64_t)mz->spills},
	};

	return pairs_differ("zone", id, pairs, sizeof(pairs) / sizeof(pairs[0]), err);
}

static bool set_lists_differ(const struct model_zone *mz, const struct model_set *ms,
			     const struct buddy_zone *z, const struct pcp *s, unsigned int cpu,
			     struct error *err)
{
	for (unsigned int l = 0; l < PCP_LISTS; l++) {
		struct frame_deque_cursor at = frame_deque_begin(&s->list[l]);

		for (size_t i = 0; i <= ms->list[l].n; i++) {
			const uint32_t *slot = frame_deque_next(&s->list[l], &at);
			pfn_t pfn = slot ? z->base + *slot : PFN_NONE;
			pfn_t expected = i < ms->list[l].n ? ms->list[l].pfn[i] : PFN_NONE;

			if (pfn != expected) {
				error_set(err, EUCLEAN,
					  "zone %s, cpu %u, list %u, entry %zu: pfn %" PRId64
					  ", expected %" PRId64,
					  zone_type_name(mz->zone.type), cpu, l, i, (int64_t)pfn,
					  (int64_t)expected);
				return true;
			}
		}
	}
	return false;
}

static bool set_differs(const struct model *model, const struct model_zone *mz,
			const struct buddy_zone *z, unsigned int cpu, struct error *err)
{
	const struct model_set *ms = &mz->sets[cpu];
	const struct pcp *s = &z->pcp[cpu].set;
	bool tuned = model->rules.pcp == PCP_6_18 || model->rules.pcp == PCP_6_12;
	const struct pair pairs[] = {
		{"count", s->count, set_count(ms)},
		{"phantoms", s->phantoms, ms->phantoms},
		{"batch", s->limits.batch, ms->batch},
		{"high_min", s->limits.high_min, ms->high_min},
		{"high_max", s->limits.high_max, ms->high_max},
		{"high", tuned ? s->high : 0, tuned ? ms->high : 0},
		{"alloc_factor", s->alloc_factor, ms->alloc_factor},
		{"free_factor", s->free_factor, ms->free_factor},
		{"free_count", s->free_count, ms->free_count},
		{"expire", s->expire, ms->expire},
		{"hits", (int64_t)s->hits, (int64_t)ms->hits},
		{"refills", (int64_t)s->refills, (int64_t)ms->refills},
		{"drained", (int64_t)s->drained_blocks, (int64_t)ms->drained},
	};

	char where[40];

	snprintf(where, sizeof(where), "zone %s, cpu", zone_type_name(mz->zone.type));
	return set_lists_differ(mz, ms, z, s, cpu, err) ||
	       pairs_differ(where, cpu, pairs, sizeof(pairs) / sizeof(pairs[0]), err);
}

static bool zone_differs(const struct model *model, const struct allocator *a, unsigned int id,
			 struct error *err)
{
	const struct model_zone *mz = &model->zones[id];
	const struct buddy_zone *z = &a->zones[id];

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int o = 0; o <= 10; o++) {
			if (list_differs(mz, z, mt, o, err))
				return true;
		}
	}
	for (uint32_t cpu = 0; mz->sets && cpu < model->m->nr_cpus; cpu++) {
		if (set_differs(model, mz, z, cpu, err))
			return true;
	}
	return frames_differ(mz, z, err) || counts_differ(mz, z, id, err);
}

bool model_differs(const struct model *model, const struct allocator *a, struct error *err)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++) {
		if (zone_differs(model, a, i, err))
			return true;
	}
	return false;
}
