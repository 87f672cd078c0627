/* SPDX-License-Identifier: MIT */
/* One zone of the model: lists, the buddy system, fallback, watermarks and the reserve. */
#include <stdlib.h>
#include <string.h>

#include "tests/allocators/buddy/model/model_parts.h"

void *model_need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- lists ---- */

void list_add(struct list *l, size_t at, pfn_t pfn)
{
	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 16;
		l->pfn = model_need(realloc(l->pfn, l->room * sizeof(*l->pfn)));
	}
	memmove(l->pfn + at + 1, l->pfn + at, (l->n - at) * sizeof(*l->pfn));
	l->pfn[at] = pfn;
	l->n++;
}

bool list_remove(struct list *l, pfn_t pfn)
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

void add_head(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt)
{
	list_add(&z->free[mt][o], 0, pfn);
}

void add_tail(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt)
{
	list_add(&z->free[mt][o], z->free[mt][o].n, pfn);
}

/* The type of the list a free block of exactly this order is on, or MIGRATE_UNKNOWN. */
unsigned int list_of(const struct model_zone *z, pfn_t pfn, unsigned int o)
{
	if (!in_zone(z, pfn) || *frame_at(z, pfn) != M_FREE)
		return MIGRATE_UNKNOWN;
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (size_t i = 0; i < z->free[mt][o].n; i++) {
			if (z->free[mt][o].pfn[i] == pfn)
				return mt;
		}
	}
	return MIGRATE_UNKNOWN;
}

/* ---- frames and pageblocks ---- */

size_t block_index(const struct model_zone *z, pfn_t pfn)
{
	return (size_t)(pfn / PBN - z->zone.start / PBN);
}

unsigned int type_of(const struct model_zone *z, pfn_t pfn)
{
	size_t b = block_index(z, pfn);

	return z->isolated[b] ? (unsigned int)MIGRATE_ISOLATE : z->type[b];
}

bool in_zone(const struct model_zone *z, pfn_t pfn)
{
	return pfn >= z->zone.start && pfn < z->zone.end;
}

uint8_t *frame_at(const struct model_zone *z, pfn_t pfn)
{
	return &z->frame[pfn - z->zone.start];
}

void set_frames(struct model_zone *z, pfn_t pfn, uint64_t n, enum model_frame to)
{
	for (uint64_t i = 0; i < n; i++)
		*frame_at(z, pfn + i) = (uint8_t)to;
}

bool all_frames(const struct model_zone *z, pfn_t pfn, uint64_t n, enum model_frame is,
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

struct model_zone *zone_at(const struct model *model, pfn_t pfn)
{
	for (unsigned int i = 0; i < model->m->nr_zones; i++) {
		if (in_zone(&model->zones[i], pfn))
			return &model->zones[i];
	}
	return NULL;
}

/* ---- the buddy system ---- */

/* Kernels whose lists are clean: a free block is on the list of its pageblock's type. */
static bool retypes(const struct model *model)
{
	return model->rules.fallback != FALLBACK_OLD;
}

static void set_types(struct model_zone *z, pfn_t pfn, unsigned int o, unsigned int mt)
{
	for (pfn_t p = pfn; p < pfn + (UINT64_C(1) << o); p += PBN)
		z->type[block_index(z, p)] = (uint8_t)mt;
}

void free_block(struct model *model, struct model_zone *z, pfn_t pfn, unsigned int o,
		unsigned int mt, bool tail)
{
	set_frames(z, pfn, UINT64_C(1) << o, M_FREE);
	while (o < 10) {
		pfn_t b = pfn ^ (UINT64_C(1) << o);
		unsigned int on = list_of(z, b, o);

		if (on == MIGRATE_UNKNOWN)
			break;
		if (o >= PB) {
			unsigned int bmt = type_of(z, b);

			if (bmt != mt && (bmt >= 3 || mt >= 3))
				break;
			if (bmt != mt && retypes(model)) {
				set_types(z, b, o, mt);
				model->count[RULE_MERGE_TYPES]++;
			}
		}
		list_remove(&z->free[on][o], b);
		pfn &= b;
		o++;
	}
	if (!tail && o < 9) {
		pfn_t parent = pfn & ~(UINT64_C(1) << o);

		tail = list_of(z, parent ^ (UINT64_C(1) << (o + 1)), o + 1) != MIGRATE_UNKNOWN;
		model->count[RULE_MERGE_LIKELY] += tail;
	}
	if (tail)
		add_tail(z, pfn, o, mt);
	else
		add_head(z, pfn, o, mt);
}

void free_by_type(struct model *model, struct model_zone *z, pfn_t pfn, unsigned int o, bool tail)
{
	bool apart = retypes(model);

	/* No kernel that frees in one piece isolates half of such a block. */
	if (o > PB && z->isolated[block_index(z, pfn)] != z->isolated[block_index(z, pfn) + 1])
		apart = true;
	if (o > PB && apart) {
		free_block(model, z, pfn, PB, type_of(z, pfn), tail);
		free_block(model, z, pfn + PBN, PB, type_of(z, pfn + PBN), tail);
		return;
	}
	free_block(model, z, pfn, o, type_of(z, pfn), tail);
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

pfn_t smallest(struct model_zone *z, unsigned int o, unsigned int mt)
{
	for (unsigned int c = o; c <= 10; c++) {
		if (z->free[mt][c].n) {
			pfn_t pfn = take_head(z, c, mt);

			expand(z, pfn, c, o, mt);
			z->zone_locked++;
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

/* Move what is free of a pageblock, from whatever list, to the tails of a type's lists, ascending. */
void move_block(struct model_zone *z, pfn_t start, unsigned int to)
{
	for (pfn_t pfn = start; pfn < start + PBN; pfn++) {
		for (unsigned int o = 0; o <= 10; o++) {
			unsigned int from = list_of(z, pfn, o);

			if (from == MIGRATE_UNKNOWN)
				continue;
			list_remove(&z->free[from][o], pfn);
			add_tail(z, pfn, o, to);
		}
	}
}

static bool may_claim(const struct model *model, unsigned int c, unsigned int mt)
{
	return c >= 4 || mt != MIGRATE_MOVABLE || !model->grouping;
}

/* The pageblock around a block of @f's list: whole in the zone, and half of it free or alike? */
static bool worth_claiming(struct model *model, const struct model_zone *z, pfn_t block,
			   unsigned int mt, unsigned int f, bool *whole)
{
	unsigned int free = 0, movable = 0, alike = 0;

	block = block / PBN * PBN;
	*whole = in_zone(z, block) && in_zone(z, block + PBN - 1);
	if (!*whole)
		return false;
	for (pfn_t pfn = block; pfn < block + PBN; pfn++) {
		free += *frame_at(z, pfn) == M_FREE;
		movable += *frame_at(z, pfn) == M_USED_MOVABLE;
	}
	if (mt == MIGRATE_MOVABLE)
		alike = movable;
	else if (f == MIGRATE_MOVABLE)
		alike = PBN - free - movable;
	if (free + alike >= 256 || !model->grouping)
		return true;
	model->count[RULE_CLAIM_FAILED]++;
	return false;
}

static pfn_t claim_whole(struct model *model, struct model_zone *z, unsigned int c, unsigned int f,
			 unsigned int o, unsigned int mt)
{
	pfn_t pfn = take_head(z, c, f);

	set_types(z, pfn, c, mt);
	z->claims++;
	model->count[RULE_CLAIM_WHOLE]++;
	if (!retypes(model)) {
		add_tail(z, pfn, c, mt);
		return smallest(z, o, mt);
	}
	expand(z, pfn, c, o, mt);
	return pfn;
}

static pfn_t claim_part(struct model *model, struct model_zone *z, pfn_t block, unsigned int o,
			unsigned int mt)
{
	move_block(z, block / PBN * PBN, mt);
	z->type[block_index(z, block)] = (uint8_t)mt;
	z->claims++;
	model->count[RULE_CLAIM]++;
	return smallest(z, o, mt);
}

/* 6.15 and up, largest first. */
static pfn_t claim(struct model *model, struct model_zone *z, unsigned int o, unsigned int mt,
		   unsigned int allowed)
{
	int min = allowed & MAY_NOT_FRAGMENT && o < PB ? PB : (int)o, candidates = 0;

	for (int i = 10; i >= min; i--) {
		unsigned int c = (unsigned int)i, f;
		bool whole;

		if (!may_claim(model, c, mt))
			break;
		f = preferred(z, c, mt);
		if (f == MIGRATE_UNKNOWN)
			continue;
		if (c >= PB)
			return claim_whole(model, z, c, f, o, mt);
		boost(model, z, allowed & MAY_KSWAPD);
		if (worth_claiming(model, z, z->free[f][c].pfn[0], mt, f, &whole)) {
			model->count[RULE_CLAIM_SECOND] += candidates > 0;
			return claim_part(model, z, z->free[f][c].pfn[0], o, mt);
		}
		candidates++;
	}
	return PFN_NONE;
}

/* 6.15 and up, smallest first. */
static pfn_t steal(struct model *model, struct model_zone *z, unsigned int o, unsigned int mt,
		   unsigned int *from)
{
	for (unsigned int c = o; c <= 10; c++) {
		unsigned int f = preferred(z, c, mt);
		pfn_t pfn;

		if (f == MIGRATE_UNKNOWN)
			continue;
		pfn = take_head(z, c, f);
		expand(z, pfn, c, o, f);
		z->steals++;
		model->count[RULE_STEAL]++;
		*from = f;
		return pfn;
	}
	return PFN_NONE;
}

/* One block alone, as the two older generations take it. */
static pfn_t take_alone(struct model *model, struct model_zone *z, unsigned int c, unsigned int f,
			unsigned int o, unsigned int mt, unsigned int *from)
{
	pfn_t pfn = take_head(z, c, f);

	z->steals++;
	if (retypes(model)) {
		expand(z, pfn, c, o, f);
		model->count[RULE_STEAL_LARGEST]++;
		*from = f;
		return pfn;
	}
	add_tail(z, pfn, c, mt);
	model->count[RULE_SHIFT]++;
	return smallest(z, o, mt);
}

/* Up to 6.14: the first non-empty order from above decides. */
static pfn_t fall_back_older(struct model *model, struct model_zone *z, unsigned int o,
			     unsigned int mt, unsigned int allowed, unsigned int *from)
{
	unsigned int min = allowed & MAY_NOT_FRAGMENT && o < PB ? PB : o, c = 11;
	unsigned int f = MIGRATE_UNKNOWN;
	bool reserved, whole;
	pfn_t block;

	while (f == MIGRATE_UNKNOWN && c > min)
		f = preferred(z, --c, mt);
	if (f == MIGRATE_UNKNOWN)
		return PFN_NONE;
	if (!may_claim(model, c, mt) && c > o) {
		for (c = o; preferred(z, c, mt) == MIGRATE_UNKNOWN;)
			c++;
		f = preferred(z, c, mt);
	}
	block = z->free[f][c].pfn[0];
	reserved = type_of(z, block) == MIGRATE_HIGHATOMIC;
	if (reserved)
		return take_alone(model, z, c, f, o, mt, from);
	if (c >= PB)
		return claim_whole(model, z, c, f, o, mt);
	boost(model, z, allowed & MAY_KSWAPD);
	if (!may_claim(model, c, mt))
		return take_alone(model, z, c, f, o, mt, from);
	if (worth_claiming(model, z, block, mt, f, &whole))
		return claim_part(model, z, block, o, mt);
	if (retypes(model) || !whole)
		return take_alone(model, z, c, f, o, mt, from);
	/* The lists change even so. */
	move_block(z, block / PBN * PBN, mt);
	z->steals++;
	model->count[RULE_MOVE]++;
	return smallest(z, o, mt);
}

/* @taken_from: the type of the list the block was on at last */
pfn_t rmqueue_model(struct model *model, struct model_zone *z, unsigned int o, unsigned int mt,
		    unsigned int allowed, int *mode, bool *fallback, unsigned int *taken_from)
{
	uint64_t free_all = 0, free_cma = 0;
	pfn_t pfn = PFN_NONE;

	for (unsigned int c = 0; c <= 10; c++) {
		for (unsigned int t = 0; t < MIGRATE_ISOLATE; t++)
			free_all += z->free[t][c].n << c;
		free_cma += z->free[MIGRATE_CMA][c].n << c;
	}
	*fallback = false;
	*taken_from = MIGRATE_CMA;
	if (allowed & MAY_CMA && free_cma > free_all / 2) {
		pfn = smallest(z, o, MIGRATE_CMA);
		model->count[RULE_CMA_FIRST] += pfn != PFN_NONE;
	}
	if (pfn == PFN_NONE && *mode == FROM_OWN) {
		pfn = smallest(z, o, mt);
		*taken_from = mt;
	}
	if (pfn == PFN_NONE && *mode <= FROM_CMA && allowed & MAY_CMA) {
		pfn = smallest(z, o, MIGRATE_CMA);
		*taken_from = MIGRATE_CMA;
		if (pfn != PFN_NONE) {
			*mode = FROM_CMA;
			model->count[RULE_CMA]++;
		}
	}
	if (pfn != PFN_NONE)
		return pfn;
	*fallback = true;
	*taken_from = mt;
	if (model->rules.fallback != FALLBACK_CLAIM) {
		*mode = FROM_OWN;
		return fall_back_older(model, z, o, mt, allowed, taken_from);
	}
	if (*mode <= FROM_CLAIM) {
		pfn = claim(model, z, o, mt, allowed);
		if (pfn != PFN_NONE)
			*mode = FROM_OWN;
	}
	if (pfn == PFN_NONE && !(allowed & MAY_NOT_FRAGMENT)) {
		pfn = steal(model, z, o, mt, taken_from);
		model->count[RULE_STEAL_ON] += pfn != PFN_NONE && *mode == FROM_STEAL;
		if (pfn != PFN_NONE)
			*mode = FROM_STEAL;
	}
	return pfn;
}

/* ---- watermarks ---- */

static int64_t mark_of(const struct model_zone *z, unsigned int mark)
{
	const struct watermarks *w = &z->zone.watermark;

	return (int64_t)(mark == MIN ? w->min : mark == LOW ? w->low : w->high) + z->boost;
}

static int64_t free_of(const struct model_zone *z, unsigned int mt)
{
	int64_t n = 0;

	for (unsigned int o = 0; o <= 10; o++)
		n += (int64_t)z->free[mt][o].n << o;
	return n;
}

int64_t free_frames(const struct model_zone *z)
{
	int64_t n = 0;

	for (unsigned int mt = 0; mt < MIGRATE_ISOLATE; mt++)
		n += free_of(z, mt);
	return n;
}

bool watermark_ok(const struct model_zone *z, unsigned int o, unsigned int mark, unsigned int j,
		  unsigned int allowed)
{
	int64_t free = free_frames(z) - ((INT64_C(1) << o) - 1), m = mark_of(z, mark);

	if (!(allowed & (MAY_MIN_RESERVE | MAY_NON_BLOCK)))
		free -= free_of(z, MIGRATE_HIGHATOMIC);
	if (!(allowed & MAY_CMA))
		free -= free_of(z, MIGRATE_CMA);
	if (o == 0 && mark == MIN && allowed & MAY_MIN_RESERVE)
		m -= z->boost;
	if (allowed & MAY_MIN_RESERVE)
		m -= m / 2;
	if (allowed & MAY_MIN_RESERVE && allowed & MAY_NON_BLOCK)
		m -= m / 4;
	if (free <= m + (int64_t)z->zone.lowmem_reserve[j])
		return false;
	for (unsigned int c = o; c <= 10 && o > 0; c++) {
		if (z->free[0][c].n || z->free[1][c].n || z->free[2][c].n)
			return true;
		if (z->free[MIGRATE_HIGHATOMIC][c].n && allowed & MAY_HIGHATOMIC)
			return true;
		if (z->free[MIGRATE_CMA][c].n && allowed & MAY_CMA)
			return true;
	}
	return o == 0;
}

void boost(struct model *model, struct model_zone *z, bool may_wake)
{
	int64_t high = (int64_t)z->zone.watermark.high, cap = high * 15000 / 10000;

	if (4 * PBN > z->managed || high == 0)
		return;
	cap = cap < PBN ? PBN : cap;
	z->boost = z->boost + PBN < cap ? z->boost + PBN : cap;
	z->boosted |= may_wake;
	z->boosts++;
	model->count[RULE_BOOST]++;
}

/* It sets out unless the zone is above its high mark and not boosted, ... */
void wake_kswapd(struct model *model, struct model_zone *z)
{
	if (z->kswapd || (free_frames(z) > mark_of(z, HIGH) && z->boost == 0))
		return;
	z->kswapd = true;
	z->boost_at_wake = z->boost;
	model->count[RULE_KSWAPD_WAKES]++;
}

/* ... and is done when frees have brought it there. */
void look_at_kswapd(struct model *model, struct model_zone *z)
{
	if (!z->kswapd || free_frames(z) <= mark_of(z, HIGH))
		return;
	z->kswapd = false;
	z->boost -= z->boost < z->boost_at_wake ? z->boost : z->boost_at_wake;
	model->count[RULE_KSWAPD_SLEEPS]++;
}

void reserve(struct model *model, struct model_zone *z, pfn_t pfn)
{
	pfn_t block = pfn / PBN * PBN;
	int64_t share = z->managed / 100;

	if (share < PBN || z->reserved >= (share + PBN - 1) / PBN * PBN || type_of(z, pfn) >= 3)
		return;
	if (!in_zone(z, block) || !in_zone(z, block + PBN - 1))
		return;
	z->type[block_index(z, block)] = MIGRATE_HIGHATOMIC;
	move_block(z, block, MIGRATE_HIGHATOMIC);
	z->reserved += PBN;
	model->count[RULE_RESERVE]++;
}

/* Give every reserved pageblock with something free to the request. */
void unreserve(struct model *model, struct model_zone *z, unsigned int mt)
{
	for (unsigned int o = 0; o <= 10; o++) {
		while (z->free[MIGRATE_HIGHATOMIC][o].n) {
			pfn_t pfn = z->free[MIGRATE_HIGHATOMIC][o].pfn[0];
			pfn_t end = pfn + (UINT64_C(1) << o);

			for (pfn_t b = pfn / PBN * PBN; b < end; b += PBN) {
				if (type_of(z, b) == MIGRATE_HIGHATOMIC)
					z->reserved -= z->reserved < PBN ? z->reserved : PBN;
				z->type[block_index(z, b)] = (uint8_t)mt;
				move_block(z, b, mt);
			}
			model->count[RULE_UNRESERVE]++;
		}
	}
}
