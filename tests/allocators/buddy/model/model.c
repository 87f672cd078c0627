/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/allocators/buddy/model/model_parts.h"
#include "sim/gfp.h"

static const char *const rule_names[MODEL_RULES] = {
	[RULE_MERGE_LIKELY] = "merge likely",
	[RULE_MERGE_TYPES] = "types merged",
	[RULE_CMA_FIRST] = "CMA first",
	[RULE_CMA] = "CMA",
	[RULE_CLAIM_WHOLE] = "whole pageblocks claimed",
	[RULE_CLAIM] = "pageblock claimed",
	[RULE_CLAIM_SECOND] = "second candidate claimed",
	[RULE_CLAIM_FAILED] = "claim failed",
	[RULE_STEAL] = "smallest stolen",
	[RULE_STEAL_ON] = "stolen at once",
	[RULE_STEAL_LARGEST] = "stolen from the largest",
	[RULE_SHIFT] = "block changed lists",
	[RULE_MOVE] = "pageblock's blocks changed lists",
	[RULE_NOFRAGMENT_DROPPED] = "nofragment dropped",
	[RULE_SPILL] = "spill",
	[RULE_BELOW_HIGH] = "below high",
	[RULE_ABOVE_HIGH] = "above high again",
	[RULE_SLOW] = "slow path",
	[RULE_NO_WATERMARK] = "served below all marks",
	[RULE_LAST_RESORT] = "served after a drain",
	[RULE_FAILURE] = "failure",
	[RULE_BOOST] = "boost",
	[RULE_KSWAPD_WAKES] = "kswapd wakes",
	[RULE_KSWAPD_SLEEPS] = "kswapd sleeps",
	[RULE_RESERVE] = "pageblock reserved",
	[RULE_RESERVE_FIRST] = "reserve first",
	[RULE_RESERVE_LAST] = "reserve last",
	[RULE_UNRESERVE] = "pageblock unreserved",
	[RULE_HIT] = "hit",
	[RULE_REFILL] = "refill",
	[RULE_REFILL_GROWS] = "refill grows",
	[RULE_REFILL_LIMITED] = "refill limited",
	[RULE_DRAIN] = "drain",
	[RULE_FLUSH] = "flush",
	[RULE_FOREIGN] = "drained by a former type",
	[RULE_DECAY] = "decay",
	[RULE_REMOTE] = "remote drain",
	[RULE_PHANTOM] = "phantoms",
};

#define need model_need

/* ---- requests ---- */

static void mark_used(struct model_zone *z, pfn_t pfn, const struct alloc_request *req)
{
	bool movable = req->migratetype == MIGRATE_MOVABLE || req->migratetype == MIGRATE_CMA;

	set_frames(z, pfn, UINT64_C(1) << req->order, movable ? M_USED_MOVABLE : M_USED);
}

static unsigned int request_type(const struct model *model, const struct alloc_request *req)
{
	unsigned int mt = req->migratetype;

	if (!model->grouping || mt == MIGRATE_HIGHATOMIC || mt == MIGRATE_ISOLATE)
		return MIGRATE_UNMOVABLE;
	return mt == MIGRATE_CMA ? MIGRATE_MOVABLE : mt;
}

/* rmqueue_buddy */
static pfn_t take_direct(struct model *model, struct model_zone *z, unsigned int o, unsigned int mt,
			 unsigned int allowed, uint64_t *flags)
{
	int mode = FROM_OWN;
	unsigned int from;
	bool fallback;
	pfn_t pfn;

	if (allowed & MAY_HIGHATOMIC) {
		pfn = smallest(z, o, MIGRATE_HIGHATOMIC);
		model->count[RULE_RESERVE_FIRST] += pfn != PFN_NONE;
		if (pfn != PFN_NONE)
			return pfn;
	}
	pfn = rmqueue_model(model, z, o, mt, allowed, &mode, &fallback, &from);
	if (pfn != PFN_NONE) {
		*flags |= fallback ? RESULT_FALLBACK : 0;
		return pfn;
	}
	if (allowed & MAY_NON_BLOCK)
		pfn = smallest(z, o, MIGRATE_HIGHATOMIC);
	model->count[RULE_RESERVE_LAST] += pfn != PFN_NONE;
	return pfn;
}

static pfn_t take(struct model *model, struct model_zone *z, const struct alloc_request *req,
		  unsigned int allowed, uint64_t *flags)
{
	unsigned int mt = request_type(model, req);
	pfn_t pfn = PFN_NONE;

	if (set_list(model, req->order, mt) != PCP_NO_LIST)
		pfn = set_alloc(model, z, req->cpu, req->order, mt, allowed, flags);
	if (pfn == PFN_NONE)
		pfn = take_direct(model, z, req->order, mt, allowed, flags);
	if (pfn != PFN_NONE) {
		mark_used(z, pfn, req);
		if (allowed & MAY_HIGHATOMIC)
			reserve(model, z, pfn);
	}
	if (z->boosted && allowed & MAY_KSWAPD) {
		z->boosted = false;
		wake_kswapd(model, z);
	}
	return pfn;
}

static bool usable(struct model *model, struct model_zone *z, const struct alloc_request *req,
		   unsigned int mark, unsigned int allowed)
{
	unsigned int j = model->m->zones[req->zone].type;

	if (mark == NONE || !model->rules.watermarks)
		return true;
	if (!z->below_high) {
		if (watermark_ok(z, req->order, HIGH, j, allowed))
			return true;
		z->below_high = true;
		model->count[RULE_BELOW_HIGH]++;
	}
	return watermark_ok(z, req->order, mark, j, allowed);
}

static struct alloc_result walk(struct model *model, const struct alloc_request *req,
				const uint8_t *zones, unsigned int n, unsigned int mark,
				unsigned int allowed)
{
	uint64_t flags = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct model_zone *z = &model->zones[zones[i]];
		bool away = z->zone.node != model->m->zones[zones[0]].node;
		pfn_t pfn;

		if (away && (allowed & MAY_NOT_FRAGMENT || req->gfp & GFP_THISNODE))
			break;
		if (!usable(model, z, req, mark, allowed))
			continue;
		pfn = take(model, z, req, allowed, &flags);
		if (pfn == PFN_NONE)
			continue;
		z->spills += i > 0;
		model->count[RULE_SPILL] += i > 0;
		return (struct alloc_result){pfn, flags};
	}
	if (!(allowed & MAY_NOT_FRAGMENT))
		return (struct alloc_result){PFN_NONE, 0};
	model->count[RULE_NOFRAGMENT_DROPPED]++;
	return walk(model, req, zones, n, mark, allowed & ~(unsigned int)MAY_NOT_FRAGMENT);
}

static struct alloc_result slow_path(struct model *model, const struct alloc_request *req,
				     const uint8_t *zones, unsigned int n, unsigned int allowed)
{
	struct alloc_result result;

	model->count[RULE_SLOW]++;
	if (req->gfp & GFP_HIGH)
		allowed |= MAY_MIN_RESERVE;
	if (!(req->gfp & (GFP_DIRECT_RECLAIM | GFP_NOMEMALLOC))) {
		allowed |= MAY_NON_BLOCK;
		if (req->order > 0 && req->gfp & GFP_HIGH)
			allowed |= MAY_HIGHATOMIC;
	}
	for (unsigned int i = 0; i < n && allowed & MAY_KSWAPD; i++)
		wake_kswapd(model, &model->zones[zones[i]]);
	result = walk(model, req, zones, n, MIN, allowed);
	if (result.pfn != PFN_NONE)
		return result;
	result = walk(model, req, zones, n, NONE, allowed);
	model->count[RULE_NO_WATERMARK] += result.pfn != PFN_NONE;
	if (result.pfn != PFN_NONE)
		return result;
	sets_drain(model);
	for (unsigned int i = 0; i < n; i++)
		unreserve(model, &model->zones[zones[i]], request_type(model, req));
	result = walk(model, req, zones, n, NONE, allowed);
	model->count[result.pfn == PFN_NONE ? RULE_FAILURE : RULE_LAST_RESORT]++;
	return result;
}

struct alloc_result model_alloc(struct model *model, const struct alloc_request *req)
{
	uint8_t zones[MACHINE_ZONES_MAX];
	const struct zone *highest = &model->m->zones[req->zone], *first;
	unsigned int n = machine_zonelist(model->m, req->node, highest->type, zones), allowed = 0;
	struct alloc_result result;

	first = &model->m->zones[zones[0]];
	if (request_type(model, req) == MIGRATE_MOVABLE)
		allowed |= MAY_CMA;
	if (req->gfp & GFP_KSWAPD_RECLAIM)
		allowed |= MAY_KSWAPD;
	for (unsigned int i = 1; i < n; i++) {
		const struct zone *lower = &model->m->zones[zones[i]];

		if (first->type == ZONE_NORMAL && lower->type == ZONE_DMA32 &&
		    lower->node == first->node) {
			result = walk(model, req, zones, n, LOW, allowed | MAY_NOT_FRAGMENT);
			return result.pfn != PFN_NONE ? result
						      : slow_path(model, req, zones, n, allowed);
		}
	}
	result = walk(model, req, zones, n, LOW, allowed);
	return result.pfn != PFN_NONE ? result : slow_path(model, req, zones, n, allowed);
}

int model_free(struct model *model, pfn_t pfn, const struct alloc_request *req)
{
	struct model_zone *z = zone_at(model, pfn);
	uint64_t n = UINT64_C(1) << req->order;

	if (!z || req->order > 10 || pfn % n || !all_frames(z, pfn, n, M_USED, M_USED_MOVABLE))
		return -EINVAL;
	if (set_list(model, req->order, type_of(z, pfn)) != PCP_NO_LIST) {
		set_free(model, z, req->cpu, pfn, req->order);
		return 0;
	}
	free_by_type(model, z, pfn, req->order, false);
	look_at_kswapd(model, z);
	return 0;
}

void model_drain(struct model *model)
{
	sets_drain(model);
}

/* ---- taking particular frames ---- */

/* The free block that contains @pfn and is not smaller than @o. */
static bool find_around(const struct model_zone *z, pfn_t pfn, unsigned int o, pfn_t *block,
			unsigned int *c)
{
	for (*c = o; *c <= 10; ++*c) {
		*block = pfn >> *c << *c;
		if (list_of(z, *block, *c) != MIGRATE_UNKNOWN)
			return true;
	}
	return false;
}

static bool take_at(struct model_zone *z, pfn_t pfn, unsigned int o)
{
	pfn_t block;
	unsigned int c, mt;

	if (!find_around(z, pfn, o, &block, &c)) {
		if (o < 10 || list_of(z, pfn, PB) == MIGRATE_UNKNOWN ||
		    list_of(z, pfn + PBN, PB) == MIGRATE_UNKNOWN)
			return false;
		return take_at(z, pfn, PB) && take_at(z, pfn + PBN, PB);
	}
	mt = list_of(z, block, c);
	list_remove(&z->free[mt][c], block);
	for (; c > o; c--) {
		pfn_t middle = block + (UINT64_C(1) << (c - 1));

		if (pfn < middle) {
			add_head(z, middle, c - 1, mt);
		} else {
			add_head(z, block, c - 1, mt);
			block = middle;
		}
	}
	return true;
}

/* What is parked in a range is taken off the lists, along with all else. */
static void drain_for(struct model *model, pfn_t pfn, pfn_t end)
{
	for (; pfn < end; pfn++) {
		const struct model_zone *z = zone_at(model, pfn);

		if (z && *frame_at(z, pfn) == M_PARKED) {
			sets_drain(model);
			return;
		}
	}
}

int model_alloc_at(struct model *model, pfn_t pfn, const struct alloc_request *req)
{
	struct model_zone *z = zone_at(model, pfn);
	uint64_t n = UINT64_C(1) << req->order;

	if (!z || req->order > 10 || pfn % n)
		return -EINVAL;
	drain_for(model, pfn, pfn + n < z->zone.end ? pfn + n : z->zone.end);
	for (uint64_t i = 0; i < n; i++) {
		if (!in_zone(z, pfn + i) || *frame_at(z, pfn + i) == M_ABSENT)
			return -EINVAL;
	}
	if (!all_frames(z, pfn, n, M_FREE, M_FREE) || type_of(z, pfn) == MIGRATE_ISOLATE ||
	    type_of(z, pfn + n - 1) == MIGRATE_ISOLATE)
		return -EBUSY;
	if (!take_at(z, pfn, req->order))
		abort();
	mark_used(z, pfn, req);
	return 0;
}

/* Order of the first piece of the greedy cut of [pfn, end). */
static unsigned int greedy(pfn_t pfn, pfn_t end, unsigned int max)
{
	unsigned int o = max;

	while (pfn % (UINT64_C(1) << o) || pfn + (UINT64_C(1) << o) > end)
		o--;
	return o;
}

static pfn_t run_end(const struct model_zone *z, pfn_t pfn, pfn_t end, enum model_frame is)
{
	while (pfn < end && *frame_at(z, pfn) == is)
		pfn++;
	return pfn;
}

static void take_run(struct model_zone *z, pfn_t pfn, pfn_t end, enum model_frame to)
{
	while (pfn < end) {
		unsigned int o = greedy(pfn, end, PB);

		if (!take_at(z, pfn, o))
			abort();
		set_frames(z, pfn, UINT64_C(1) << o, to);
		pfn += UINT64_C(1) << o;
	}
}

static void free_run(struct model *model, struct model_zone *z, pfn_t pfn, pfn_t end)
{
	while (pfn < end) {
		unsigned int o = greedy(pfn, end, 10);

		free_by_type(model, z, pfn, o, true);
		pfn += UINT64_C(1) << o;
	}
}

static void set_isolated(struct model *model, struct model_zone *z, pfn_t block, bool to)
{
	bool *isolated = &z->isolated[block_index(z, block)];
	pfn_t big = block / 1024 * 1024;
	unsigned int on = list_of(z, big, 10);

	if (*isolated == to)
		return;
	if (on != MIGRATE_UNKNOWN) {
		list_remove(&z->free[on][10], big);
		*isolated = to;
		free_block(model, z, big, PB, type_of(z, big), false);
		free_block(model, z, big + PBN, PB, type_of(z, big + PBN), false);
		return;
	}
	on = list_of(z, block, PB);
	*isolated = to;
	if (!to && on != MIGRATE_UNKNOWN) {
		list_remove(&z->free[on][PB], block);
		free_block(model, z, block, PB, type_of(z, block), true);
		return;
	}
	move_block(z, block, type_of(z, block));
}

static int range_isolate(struct model *model, pfn_t pfn, unsigned int order, bool isolate,
			 uint64_t *got)
{
	uint64_t n = UINT64_C(1) << order;
	pfn_t at = pfn;
	bool any = false;

	if (order > 10 || pfn % n)
		return -EINVAL;
	if (isolate)
		drain_for(model, pfn, pfn + n);
	while (at < pfn + n) {
		struct model_zone *z = zone_at(model, at);
		pfn_t end = (at / PBN + 1) * PBN;

		if (!z) {
			at++;
			continue;
		}
		any = true;
		end = end < pfn + n ? end : pfn + n;
		end = end < z->zone.end ? end : z->zone.end;
		if (isolate && type_of(z, at) != MIGRATE_ISOLATE)
			*got += model_free_in(model, at, end);
		if (order >= PB) {
			set_isolated(model, z, at / PBN * PBN, isolate);
		} else if (isolate && type_of(z, at) != MIGRATE_ISOLATE) {
			for (pfn_t p = at; p < end; p++) {
				pfn_t e = run_end(z, p, end, M_FREE);

				take_run(z, p, e, M_TAKEN);
				p = e > p ? e - 1 : p;
			}
		}
		at = end;
	}
	return any ? 0 : -EINVAL;
}

/* Give back what was taken below pageblock size: a run may well span two pageblocks. */
static void putback(struct model *model, pfn_t pfn, pfn_t end)
{
	for (pfn_t p = pfn; p < end; p++) {
		struct model_zone *z = zone_at(model, p);
		pfn_t limit;

		if (!z || *frame_at(z, p) != M_TAKEN)
			continue;
		limit = end < z->zone.end ? end : z->zone.end;
		limit = run_end(z, p, limit, M_TAKEN);
		free_run(model, z, p, limit);
		p = limit - 1;
	}
}

int model_isolate(struct model *model, pfn_t pfn, unsigned int order, uint64_t *got)
{
	*got = 0;
	return range_isolate(model, pfn, order, true, got);
}

int model_unisolate(struct model *model, pfn_t pfn, unsigned int order)
{
	int rc = range_isolate(model, pfn, order, false, NULL);

	if (!rc)
		putback(model, pfn, pfn + (UINT64_C(1) << order));
	return rc;
}

/* Zones that have grown or shrunk set their lists' limits anew. */
static void add_managed(struct model *model, struct model_zone *z, int64_t frames)
{
	z->managed += frames;
	if (frames)
		sets_limit(model, z);
}

static void bring_online(struct model *model, struct model_zone *z, pfn_t pfn, pfn_t end)
{
	for (pfn_t b = (pfn + PBN - 1) / PBN * PBN; b + PBN <= end; b += PBN) {
		size_t i = block_index(z, b);

		if (z->type[i] == MIGRATE_HIGHATOMIC)
			z->reserved -= z->reserved < PBN ? z->reserved : PBN;
		z->type[i] = MIGRATE_MOVABLE;
		z->isolated[i] = false;
	}
	free_run(model, z, pfn, end);
	add_managed(model, z, (int64_t)(end - pfn));
}

int model_online(struct model *model, struct pfn_range range)
{
	int rc = -EINVAL;

	for (pfn_t pfn = range.start; pfn < range.end; pfn++) {
		struct model_zone *z = zone_at(model, pfn);
		pfn_t end = pfn;

		if (!z)
			continue;
		rc = 0;
		while (end < range.end && end < z->zone.end && *frame_at(z, end) == M_ABSENT)
			end++;
		if (end == pfn)
			continue;
		bring_online(model, z, pfn, end);
		pfn = end - 1;
	}
	return rc;
}

int model_offline(struct model *model, struct pfn_range range)
{
	int rc = -EINVAL;

	drain_for(model, range.start, range.end);
	for (pfn_t pfn = range.start; pfn < range.end; pfn++) {
		struct model_zone *z = zone_at(model, pfn);

		if (z && *frame_at(z, pfn) != M_FREE && *frame_at(z, pfn) != M_ABSENT)
			return -EBUSY;
		rc = z ? 0 : rc;
	}
	for (pfn_t pfn = range.start; pfn < range.end; pfn++) {
		struct model_zone *z = zone_at(model, pfn);
		pfn_t end = pfn;

		while (z && end < range.end && end < z->zone.end && *frame_at(z, end) == M_FREE)
			end++;
		if (end == pfn)
			continue;
		take_run(z, pfn, end, M_ABSENT);
		add_managed(model, z, -(int64_t)(end - pfn));
		pfn = end - 1;
	}
	return rc;
}

/* ---- starting ---- */

static enum model_frame frame_of_state(unsigned int state, bool parks)
{
	if (state == FRAME_PARKED && parks)
		return M_PARKED;
	if (state == FRAME_FREE || state == FRAME_PARKED)
		return M_FREE;
	if (state == FRAME_MOVABLE)
		return M_USED_MOVABLE;
	if (state == FRAME_UNMOVABLE || state == FRAME_RECLAIMABLE)
		return M_USED;
	return M_ABSENT;
}

/* What most allocated frames of a pageblock were asked for as; ties go to movable, then unmovable. */
static unsigned int majority(const struct model *model, const struct model_zone *z, pfn_t block,
			     const uint8_t *cells)
{
	unsigned int n[3] = {0};

	for (pfn_t pfn = block; pfn < block + PBN; pfn++) {
		unsigned int state;

		if (!in_zone(z, pfn))
			continue;
		state = cells[pfn - machine_start(model->m)] & 0xf;
		n[0] += state == FRAME_UNMOVABLE;
		n[1] += state == FRAME_MOVABLE;
		n[2] += state == FRAME_RECLAIMABLE;
	}
	if (n[0] + n[1] + n[2] == 0)
		return MIGRATE_UNKNOWN;
	if (n[1] >= n[0] && n[1] >= n[2])
		return MIGRATE_MOVABLE;
	return n[0] >= n[2] ? MIGRATE_UNMOVABLE : MIGRATE_RECLAIMABLE;
}

static void adopt_block(struct model_zone *z, pfn_t pfn, unsigned int o)
{
	uint8_t *type = &z->type[block_index(z, pfn)];

	if (o == 10) {
		if (type[0] == MIGRATE_UNKNOWN)
			type[0] = type[1];
		if (type[0] == MIGRATE_UNKNOWN)
			type[0] = MIGRATE_MOVABLE;
		if (type[1] == MIGRATE_UNKNOWN || (type[0] < 3 && type[1] < 3))
			type[1] = type[0];
		if (type[0] != type[1]) {
			add_tail(z, pfn, PB, type[0]);
			add_tail(z, pfn + PBN, PB, type[1]);
			return;
		}
	}
	if (*type == MIGRATE_UNKNOWN)
		*type = MIGRATE_MOVABLE;
	add_tail(z, pfn, o, *type);
}

/* As if all that is free had been freed from the highest frame down. */
static void order_lists(struct model_zone *z)
{
	for (pfn_t pfn = z->zone.end; pfn-- > z->zone.start;) {
		for (unsigned int o = 0; o <= 10; o++) {
			unsigned int mt = list_of(z, pfn, o);
			pfn_t parent = pfn >> (o + 1) << (o + 1);
			pfn_t above = parent + (UINT64_C(2) << o);

			if (mt == MIGRATE_UNKNOWN)
				continue;
			list_remove(&z->free[mt][o], pfn);
			/* The parent is the lower half of a pair whose upper half is free. */
			if (o < 9 && parent % (UINT64_C(4) << o) == 0 &&
			    list_of(z, above, o + 1) != MIGRATE_UNKNOWN)
				add_tail(z, pfn, o, mt);
			else
				add_head(z, pfn, o, mt);
		}
	}
}

static void forget(struct model *model, struct model_zone *z)
{
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int o = 0; o <= 10; o++)
			z->free[mt][o].n = 0;
	}
	z->boost = z->reserved = 0;
	z->below_high = z->kswapd = z->boosted = false;
	z->zone_locked = z->claims = z->steals = z->boosts = z->spills = 0;
	sets_reset(model, z);
}

static void adopt_zone(struct model *model, struct model_zone *z, const uint8_t *cells,
		       const uint8_t *types, bool parks)
{
	size_t first = (size_t)(z->zone.start / PBN - machine_start(model->m) / PBN);
	size_t blocks = (size_t)((z->zone.end + PBN - 1) / PBN - z->zone.start / PBN);

	forget(model, z);
	for (pfn_t pfn = z->zone.start; pfn < z->zone.end; pfn++)
		*frame_at(z, pfn) =
			(uint8_t)frame_of_state(cells[pfn - machine_start(model->m)] & 0xf, parks);
	for (size_t b = 0; b < blocks; b++) {
		z->isolated[b] = false;
		z->type[b] = types[first + b] < MIGRATE_ISOLATE
				     ? types[first + b]
				     : (uint8_t)majority(model, z, (z->zone.start / PBN + b) * PBN,
							 cells);
	}
	for (pfn_t pfn = z->zone.start; pfn < z->zone.end;) {
		pfn_t end = run_end(z, pfn, z->zone.end, M_FREE);
		unsigned int o;

		if (end == pfn) {
			pfn++;
			continue;
		}
		for (; pfn < end; pfn += UINT64_C(1) << o) {
			o = greedy(pfn, end, 10);
			adopt_block(z, pfn, o);
		}
	}
	for (size_t b = 0; b < blocks; b++) {
		if (z->type[b] == MIGRATE_UNKNOWN)
			z->type[b] = MIGRATE_MOVABLE;
		z->reserved += z->type[b] == MIGRATE_HIGHATOMIC ? PBN : 0;
	}
}

void model_adopt(struct model *model, const uint8_t *cells, const uint8_t *types,
		 const struct zone_counts *zones)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++) {
		struct model_zone *z = &model->zones[i];
		bool parks = z->sets && zones;

		adopt_zone(model, z, cells, types, parks);
		order_lists(z);
		if (zones)
			z->boost = (int64_t)zones[i].boost;
		if (parks)
			sets_adopt(model, z, &zones[i]);
	}
}

/* After boot: absent frames are, all others are free, ascending on their lists, all movable. */
static void start_fresh(struct model *model)
{
	const struct machine *m = model->m;
	size_t frames = (size_t)(machine_end(m) - machine_start(m));
	uint8_t *cells = need(malloc(frames)), *types = need(malloc(frames / PBN + 2));

	memset(cells, FRAME_FREE, frames);
	memset(types, MIGRATE_MOVABLE, frames / PBN + 2);
	for (size_t i = 0; i < m->nr_absent; i++) {
		pfn_t pfn = m->absent[i].range.start;

		for (; pfn < m->absent[i].range.end; pfn++)
			cells[pfn - machine_start(m)] =
				m->absent[i].why == ABSENT_OFFLINE ? FRAME_OFFLINE : FRAME_HOLE;
	}
	for (unsigned int i = 0; i < m->nr_zones; i++)
		adopt_zone(model, &model->zones[i], cells, types, false);
	free(cells);
	free(types);
}

struct model *model_create(const struct machine *m, const struct buddy_rules *rules)
{
	struct model *model = need(calloc(1, sizeof(*model)));
	int64_t usable = 0;

	model->m = m;
	model->rules = *rules;
	model->zones = need(calloc(m->nr_zones, sizeof(*model->zones)));
	model->due = need(calloc(m->nr_cpus, sizeof(*model->due)));
	for (unsigned int i = 0; i < m->nr_zones; i++) {
		struct model_zone *z = &model->zones[i];
		size_t frames = (size_t)(m->zones[i].end - m->zones[i].start);

		z->zone = m->zones[i];
		z->managed = (int64_t)z->zone.managed;
		z->frame = need(calloc(frames, 1));
		z->cached = need(calloc(frames, 1));
		/* Room for the byte after the last pageblock keeps adopt_block() simple. */
		z->type = need(calloc(frames / PBN + 3, 1));
		z->isolated = need(calloc(frames / PBN + 3, sizeof(bool)));
		sets_create(model, z);
	}
	start_fresh(model);
	for (unsigned int i = 0; i < m->nr_zones; i++) {
		int64_t above = (int64_t)model_free_in(model, m->zones[i].start, m->zones[i].end) -
				(int64_t)m->zones[i].watermark.high;

		usable += above > 0 ? above : 0;
	}
	model->grouping = usable >= PBN * MIGRATE_TYPES;
	return model;
}

void model_destroy(struct model *model)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++) {
		struct model_zone *z = &model->zones[i];

		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
			for (unsigned int o = 0; o <= 10; o++)
				free(z->free[mt][o].pfn);
		}
		sets_destroy(model, z);
		free(z->frame);
		free(z->cached);
		free(z->type);
		free(z->isolated);
	}
	free(model->zones);
	free(model->due);
	free(model);
}

uint64_t model_count(const struct model *model, enum model_rule rule)
{
	return model->count[rule];
}

const char *model_rule_name(enum model_rule rule)
{
	return rule_names[rule];
}

uint64_t model_free_in(const struct model *model, pfn_t start, pfn_t end)
{
	uint64_t n = 0;

	for (pfn_t pfn = start; pfn < end; pfn++) {
		const struct model_zone *z = zone_at(model, pfn);

		n += z && (*frame_at(z, pfn) == M_FREE || *frame_at(z, pfn) == M_PARKED) &&
		     type_of(z, pfn) != MIGRATE_ISOLATE;
	}
	return n;
}
