/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/gfp.h"

enum { PB = 9, PBN = 512 };

enum model_frame {
	M_ABSENT,
	M_FREE,
	M_USED,
	M_USED_MOVABLE,
	M_TAKEN, /* isolated below pageblock size */
};

struct list {
	pfn_t *pfn;
	size_t n, room;
};

struct model_zone {
	struct zone zone;
	uint8_t *frame; /* enum model_frame, of zone.start and up */
	uint8_t *type;	/* of pageblocks from zone.start / PBN up */
	bool *isolated; /* likewise */
	struct list free[MIGRATE_TYPES][NR_ORDERS];
};

struct model {
	const struct machine *m;
	struct model_zone *zones;
	bool grouping;
	uint64_t small_claims;
};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- lists ---- */

static void list_add(struct list *l, size_t at, pfn_t pfn)
{
	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 16;
		l->pfn = need(realloc(l->pfn, l->room * sizeof(*l->pfn)));
	}
	memmove(l->pfn + at + 1, l->pfn + at, (l->n - at) * sizeof(*l->pfn));
	l->pfn[at] = pfn;
	l->n++;
}

static bool list_remove(struct list *l, pfn_t pfn)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->pfn[i] != pfn)
			continue;
		memmove(l->pfn + i, l->pfn + i + 1, (l->n - i - 1) * sizeof(*l->pfn));
		l->n--;
		return true;
	}
	return false;
}

static void add_head(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt)
{
	list_add(&z->free[mt][o], 0, pfn);
}

static void add_tail(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt)
{
	list_add(&z->free[mt][o], z->free[mt][o].n, pfn);
}

/* The type of the list a free block of exactly this order is on, or MIGRATE_UNKNOWN. */
static unsigned int list_of(const struct model_zone *z, pfn_t pfn, unsigned int o)
{
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (size_t i = 0; i < z->free[mt][o].n; i++) {
			if (z->free[mt][o].pfn[i] == pfn)
				return mt;
		}
	}
	return MIGRATE_UNKNOWN;
}

/* ---- frames and pageblocks ---- */

static size_t block_index(const struct model_zone *z, pfn_t pfn)
{
	return (size_t)(pfn / PBN - z->zone.start / PBN);
}

static unsigned int type_of(const struct model_zone *z, pfn_t pfn)
{
	size_t b = block_index(z, pfn);

	return z->isolated[b] ? (unsigned int)MIGRATE_ISOLATE : z->type[b];
}

static bool in_zone(const struct model_zone *z, pfn_t pfn)
{
	return pfn >= z->zone.start && pfn < z->zone.end;
}

static uint8_t *frame_at(const struct model_zone *z, pfn_t pfn)
{
	return &z->frame[pfn - z->zone.start];
}

static void set_frames(struct model_zone *z, pfn_t pfn, uint64_t n, enum model_frame to)
{
	for (uint64_t i = 0; i < n; i++)
		*frame_at(z, pfn + i) = (uint8_t)to;
}

static bool all_frames(const struct model_zone *z, pfn_t pfn, uint64_t n, enum model_frame is,
		       enum model_frame or)
{
	for (uint64_t i = 0; i < n; i++) {
		if (!in_zone(z, pfn + i))
			return false;
		if (*frame_at(z, pfn + i) != is && *frame_at(z, pfn + i) != or)
			return false;
	}
	return true;
}

static struct model_zone *zone_at(const struct model *model, pfn_t pfn)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++) {
		if (in_zone(&model->zones[i], pfn))
			return &model->zones[i];
	}
	return NULL;
}

/* ---- the buddy system ---- */

static void free_block(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt, bool tail)
{
	set_frames(z, pfn, UINT64_C(1) << o, M_FREE);
	while (o < 10) {
		pfn_t b = pfn ^ (UINT64_C(1) << o);
		unsigned int on = list_of(z, b, o);

		if (on == MIGRATE_UNKNOWN)
			break;
		if (o >= PB && on != mt && (on >= 3 || mt >= 3))
			break;
		list_remove(&z->free[on][o], b);
		if (on != mt)
			z->type[block_index(z, b)] = (uint8_t)mt;
		pfn &= b;
		o++;
	}
	if (!tail && o < 9) {
		pfn_t parent = pfn & ~(UINT64_C(1) << o);

		tail = list_of(z, parent ^ (UINT64_C(1) << (o + 1)), o + 1) != MIGRATE_UNKNOWN;
	}
	if (tail)
		add_tail(z, pfn, o, mt);
	else
		add_head(z, pfn, o, mt);
}

static void free_by_type(struct model_zone *z, pfn_t pfn, unsigned int o, bool tail)
{
	if (o > PB) {
		free_block(z, pfn, PB, type_of(z, pfn), tail);
		free_block(z, pfn + PBN, PB, type_of(z, pfn + PBN), tail);
		return;
	}
	free_block(z, pfn, o, type_of(z, pfn), tail);
}

static void expand(struct model_zone *z, pfn_t pfn, unsigned int c, unsigned int o, unsigned int mt)
{
	for (; c > o; c--)
		add_head(z, pfn + (UINT64_C(1) << (c - 1)), c - 1, mt);
}

static pfn_t take_head(struct model_zone *z, unsigned int c, unsigned int mt)
{
	pfn_t pfn = z->free[mt][c].pfn[0];

	list_remove(&z->free[mt][c], pfn);
	return pfn;
}

static pfn_t smallest(struct model_zone *z, unsigned int o, unsigned int mt)
{
	for (unsigned int c = o; c <= 10; c++) {
		if (z->free[mt][c].n) {
			pfn_t pfn = take_head(z, c, mt);

			expand(z, pfn, c, o, mt);
			return pfn;
		}
	}
	return PFN_NONE;
}

static unsigned int preferred(const struct model_zone *z, unsigned int c, unsigned int mt)
{
	unsigned int first = mt == MIGRATE_RECLAIMABLE ? MIGRATE_UNMOVABLE : MIGRATE_RECLAIMABLE;
	unsigned int second = mt == MIGRATE_MOVABLE ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE;

	if (z->free[first][c].n)
		return first;
	return z->free[second][c].n ? second : MIGRATE_UNKNOWN;
}

/* Move what is free of a pageblock from one type's lists to the tails of another's, ascending. */
static void move_block(struct model_zone *z, pfn_t start, unsigned int from, unsigned int to)
{
	for (pfn_t pfn = start; pfn < start + PBN; pfn++) {
		for (unsigned int o = 0; o <= PB; o++) {
			if (list_remove(&z->free[from][o], pfn))
				add_tail(z, pfn, o, to);
		}
	}
}

static bool claim_small(struct model *model, struct model_zone *z, pfn_t block, unsigned int mt,
			unsigned int f)
{
	unsigned int free = 0, movable = 0, alike = 0;

	block = block / PBN * PBN;
	if (!in_zone(z, block) || !in_zone(z, block + PBN - 1))
		return false;
	for (pfn_t pfn = block; pfn < block + PBN; pfn++) {
		free += *frame_at(z, pfn) == M_FREE;
		movable += *frame_at(z, pfn) == M_USED_MOVABLE;
	}
	if (mt == MIGRATE_MOVABLE)
		alike = movable;
	else if (f == MIGRATE_MOVABLE)
		alike = PBN - free - movable;
	if (free + alike < 256 && model->grouping)
		return false;
	move_block(z, block, f, mt);
	z->type[block_index(z, block)] = (uint8_t)mt;
	model->small_claims++;
	return true;
}

static pfn_t claim(struct model *model, struct model_zone *z, unsigned int o, unsigned int mt,
		   bool nofragment)
{
	int min = nofragment && o < PB ? PB : (int)o;

	for (int i = 10; i >= min; i--) {
		unsigned int c = (unsigned int)i, f;

		if (c < 4 && mt == MIGRATE_MOVABLE && model->grouping)
			break;
		f = preferred(z, c, mt);
		if (f == MIGRATE_UNKNOWN)
			continue;
		if (c >= PB) {
			pfn_t pfn = take_head(z, c, f);

			z->type[block_index(z, pfn)] = (uint8_t)mt;
			if (c == 10)
				z->type[block_index(z, pfn + PBN)] = (uint8_t)mt;
			expand(z, pfn, c, o, mt);
			return pfn;
		}
		if (claim_small(model, z, z->free[f][c].pfn[0], mt, f))
			return smallest(z, o, mt);
	}
	return PFN_NONE;
}

static pfn_t rmqueue_model(struct model *model, struct model_zone *z, unsigned int o,
			   unsigned int mt, bool nofragment, bool *fallback)
{
	bool cma = mt == MIGRATE_MOVABLE;
	uint64_t free_all = 0, free_cma = 0;
	pfn_t pfn;

	for (unsigned int t = 0; t < MIGRATE_ISOLATE; t++) {
		for (unsigned int c = 0; c <= 10; c++) {
			free_all += z->free[t][c].n << c;
			free_cma += t == MIGRATE_CMA ? z->free[t][c].n << c : 0;
		}
	}
	*fallback = false;
	if (cma && free_cma > free_all / 2) {
		pfn = smallest(z, o, MIGRATE_CMA);
		if (pfn != PFN_NONE)
			return pfn;
	}
	pfn = smallest(z, o, mt);
	if (pfn == PFN_NONE && cma)
		pfn = smallest(z, o, MIGRATE_CMA);
	if (pfn != PFN_NONE)
		return pfn;
	*fallback = true;
	pfn = claim(model, z, o, mt, nofragment);
	if (pfn != PFN_NONE || nofragment)
		return pfn;
	for (unsigned int c = o; c <= 10; c++) {
		unsigned int f = preferred(z, c, mt);

		if (f == MIGRATE_UNKNOWN)
			continue;
		pfn = take_head(z, c, f);
		expand(z, pfn, c, o, f);
		return pfn;
	}
	return PFN_NONE;
}

static void mark_used(struct model_zone *z, pfn_t pfn, const struct alloc_request *req)
{
	bool movable = req->migratetype == MIGRATE_MOVABLE || req->migratetype == MIGRATE_CMA;

	set_frames(z, pfn, UINT64_C(1) << req->order, movable ? M_USED_MOVABLE : M_USED);
}

static struct alloc_result walk(struct model *model, const struct alloc_request *req,
				const uint8_t *zones, unsigned int n, bool nofragment)
{
	unsigned int mt = req->migratetype;

	if (!model->grouping || mt == MIGRATE_HIGHATOMIC || mt == MIGRATE_ISOLATE)
		mt = MIGRATE_UNMOVABLE;
	else if (mt == MIGRATE_CMA)
		mt = MIGRATE_MOVABLE;
	for (unsigned int i = 0; i < n; i++) {
		struct model_zone *z = &model->zones[zones[i]];
		bool away = z->zone.node != model->m->zones[zones[0]].node, fallback;
		pfn_t pfn;

		if (away && (nofragment || req->gfp & GFP_THISNODE))
			break;
		pfn = rmqueue_model(model, z, req->order, mt, nofragment, &fallback);
		if (pfn != PFN_NONE) {
			mark_used(z, pfn, req);
			return (struct alloc_result){pfn, fallback ? RESULT_FALLBACK : 0};
		}
	}
	return (struct alloc_result){PFN_NONE, 0};
}

struct alloc_result model_alloc(struct model *model, const struct alloc_request *req)
{
	uint8_t zones[MACHINE_ZONES_MAX];
	const struct zone *highest = &model->m->zones[req->zone];
	unsigned int n = machine_zonelist(model->m, req->node, highest->type, zones);
	struct alloc_result result = {PFN_NONE, 0};
	bool nofragment = false;

	for (unsigned int i = 1; i < n; i++) {
		if (model->m->zones[zones[0]].type == ZONE_NORMAL &&
		    model->m->zones[zones[i]].type == ZONE_DMA32 &&
		    model->m->zones[zones[i]].node == model->m->zones[zones[0]].node)
			nofragment = true;
	}
	if (nofragment)
		result = walk(model, req, zones, n, true);
	if (result.pfn == PFN_NONE)
		result = walk(model, req, zones, n, false);
	return result;
}

int model_free(struct model *model, pfn_t pfn, unsigned int order)
{
	struct model_zone *z = zone_at(model, pfn);
	uint64_t n = UINT64_C(1) << order;

	if (!z || order > 10 || pfn % n || !all_frames(z, pfn, n, M_USED, M_USED_MOVABLE))
		return -EINVAL;
	free_by_type(z, pfn, order, false);
	return 0;
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

int model_alloc_at(struct model *model, pfn_t pfn, const struct alloc_request *req)
{
	struct model_zone *z = zone_at(model, pfn);
	uint64_t n = UINT64_C(1) << req->order;

	if (!z || req->order > 10 || pfn % n)
		return -EINVAL;
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

static void free_run(struct model_zone *z, pfn_t pfn, pfn_t end)
{
	while (pfn < end) {
		unsigned int o = greedy(pfn, end, 10);

		free_by_type(z, pfn, o, true);
		pfn += UINT64_C(1) << o;
	}
}

static void set_isolated(struct model_zone *z, pfn_t block, bool to)
{
	unsigned int old = type_of(z, block), c;
	bool *isolated = &z->isolated[block_index(z, block)];
	pfn_t big = block / 1024 * 1024;

	if (*isolated == to)
		return;
	if (list_of(z, big, 10) != MIGRATE_UNKNOWN) {
		list_remove(&z->free[old][10], big);
		*isolated = to;
		free_block(z, big, PB, type_of(z, big), false);
		free_block(z, big + PBN, PB, type_of(z, big + PBN), false);
	} else if (!to && list_of(z, block, PB) != MIGRATE_UNKNOWN) {
		list_remove(&z->free[old][PB], block);
		*isolated = to;
		free_block(z, block, PB, type_of(z, block), true);
	} else {
		*isolated = to;
		c = type_of(z, block);
		move_block(z, block, old, c);
	}
}

static int range_isolate(struct model *model, pfn_t pfn, unsigned int order, bool isolate,
			 uint64_t *got)
{
	uint64_t n = UINT64_C(1) << order;
	pfn_t at = pfn;
	bool any = false;

	if (order > 10 || pfn % n)
		return -EINVAL;
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
			set_isolated(z, at / PBN * PBN, isolate);
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
		free_run(z, p, limit);
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
		for (pfn_t b = (pfn + PBN - 1) / PBN * PBN; b + PBN <= end; b += PBN) {
			z->type[block_index(z, b)] = MIGRATE_MOVABLE;
			z->isolated[block_index(z, b)] = false;
		}
		free_run(z, pfn, end);
		pfn = end - 1;
	}
	return rc;
}

int model_offline(struct model *model, struct pfn_range range)
{
	int rc = -EINVAL;

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
		pfn = end - 1;
	}
	return rc;
}

/* ---- starting ---- */

static enum model_frame frame_of_state(unsigned int state)
{
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

static void adopt_zone(struct model *model, struct model_zone *z, const uint8_t *cells,
		       const uint8_t *types)
{
	size_t first = (size_t)(z->zone.start / PBN - machine_start(model->m) / PBN);
	size_t blocks = (size_t)((z->zone.end + PBN - 1) / PBN - z->zone.start / PBN);

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int o = 0; o <= 10; o++)
			z->free[mt][o].n = 0;
	}
	for (pfn_t pfn = z->zone.start; pfn < z->zone.end; pfn++)
		*frame_at(z, pfn) =
			(uint8_t)frame_of_state(cells[pfn - machine_start(model->m)] & 0xf);
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
	}
}

void model_adopt(struct model *model, const uint8_t *cells, const uint8_t *types)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++)
		adopt_zone(model, &model->zones[i], cells, types);
}

/* After boot: absent frames are, all others are free, all pageblocks movable. */
static void adopt_fresh(struct model *model)
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
	model_adopt(model, cells, types);
	free(cells);
	free(types);
}

struct model *model_create(const struct machine *m)
{
	struct model *model = need(calloc(1, sizeof(*model)));
	uint64_t usable = 0;

	model->m = m;
	model->zones = need(calloc(m->nr_zones, sizeof(*model->zones)));
	for (unsigned int i = 0; i < m->nr_zones; i++) {
		struct model_zone *z = &model->zones[i];
		size_t frames = (size_t)(m->zones[i].end - m->zones[i].start);

		z->zone = m->zones[i];
		z->frame = need(calloc(frames, 1));
		/* Room for the byte after the last pageblock keeps adopt_block() simple. */
		z->type = need(calloc(frames / PBN + 3, 1));
		z->isolated = need(calloc(frames / PBN + 3, sizeof(bool)));
	}
	adopt_fresh(model);
	for (unsigned int i = 0; i < m->nr_zones; i++)
		usable += model_free_in(model, m->zones[i].start, m->zones[i].end) -
			  m->zones[i].watermark.high;
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
		free(z->frame);
		free(z->type);
		free(z->isolated);
	}
	free(model->zones);
	free(model);
}

/* ---- comparing ---- */

uint64_t model_small_claims(const struct model *model)
{
	return model->small_claims;
}

uint64_t model_free_in(const struct model *model, pfn_t start, pfn_t end)
{
	uint64_t n = 0;

	for (pfn_t pfn = start; pfn < end; pfn++) {
		const struct model_zone *z = zone_at(model, pfn);

		n += z && *frame_at(z, pfn) == M_FREE && type_of(z, pfn) != MIGRATE_ISOLATE;
	}
	return n;
}

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

static uint8_t cell_of(enum model_frame frame)
{
	switch (frame) {
	case M_ABSENT:
		return CELL_ABSENT;
	case M_USED:
		return CELL_USED;
	case M_USED_MOVABLE:
		return CELL_USED | CELL_MOVABLE;
	case M_TAKEN:
		return CELL_TAKEN;
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

		if (cell != cell_of(*frame_at(mz, pfn)) || zone_type_of(z, f) != type_of(mz, pfn)) {
			error_set(err, EUCLEAN,
				  "pfn %" PRIu64 ": cell %#x, type %u; expected %#x, %u", pfn,
				  z->cells[f], zone_type_of(z, f), cell_of(*frame_at(mz, pfn)),
				  type_of(mz, pfn));
			return true;
		}
	}
	return false;
}

bool model_differs(const struct model *model, const struct allocator *a, struct error *err)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++) {
		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
			for (unsigned int o = 0; o <= 10; o++) {
				if (list_differs(&model->zones[i], &a->zones[i], mt, o, err))
					return true;
			}
		}
		if (frames_differ(&model->zones[i], &a->zones[i], err))
			return true;
	}
	return false;
}
