/* SPDX-License-Identifier: MIT */
/* The per-CPU lists of the model, by all generations' rules. */
#include <stdlib.h>
#include <string.h>

#include "tests/allocators/buddy/model/model_parts.h"

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* In a tiny zone with a boost the lower bound may be the higher one: then the upper one holds. */
static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
	return smaller(larger(v, low), high);
}

static bool tunes(const struct model *model)
{
	return model->rules.pcp == PCP_6_18 || model->rules.pcp == PCP_6_12;
}

static unsigned int list_order(unsigned int l)
{
	return l >= 12 ? 9 : l / 3;
}

static int64_t known(const struct model_set *s)
{
	int64_t n = 0;

	for (unsigned int l = 0; l < 14; l++)
		n += (int64_t)s->list[l].n << list_order(l);
	return n;
}

int64_t set_count(const struct model_set *s)
{
	return known(s) + s->phantoms;
}

/* ---- sizes ---- */

static int64_t highsize(const struct model *model, const struct model_zone *z, int64_t total,
			int64_t batch)
{
	int64_t cpus = 0;

	for (uint32_t cpu = 0; cpu < model->m->nr_cpus; cpu++)
		cpus += model->m->node_of_cpu[cpu] == z->zone.node;
	return larger(total / larger(cpus, 1), 4 * batch);
}

void sets_limit(struct model *model, struct model_zone *z)
{
	int64_t x = larger(smaller(z->managed / 1024, 256) / 4, 1), batch = 1, low, top;

	while (batch * 2 <= x + x / 2)
		batch *= 2;
	batch = larger(batch - 1, 1);
	low = highsize(model, z, (int64_t)z->zone.watermark.low + z->boost, batch);
	top = low;
	if (tunes(model))
		top = highsize(model, z, z->managed / 8, batch);
	if (model->rules.pcp == PCP_5_10)
		low = top = 6 * batch;
	for (uint32_t cpu = 0; z->sets && cpu < model->m->nr_cpus; cpu++) {
		z->sets[cpu].batch = batch;
		z->sets[cpu].high_min = low;
		z->sets[cpu].high_max = top;
	}
}

void sets_create(struct model *model, struct model_zone *z)
{
	if (model->rules.pcp == PCP_OFF)
		return;
	z->sets = model_need(calloc(model->m->nr_cpus, sizeof(*z->sets)));
	sets_limit(model, z);
}

void sets_destroy(struct model *model, struct model_zone *z)
{
	for (uint32_t cpu = 0; z->sets && cpu < model->m->nr_cpus; cpu++) {
		for (unsigned int l = 0; l < 14; l++)
			free(z->sets[cpu].list[l].pfn);
	}
	free(z->sets);
}

void sets_reset(struct model *model, struct model_zone *z)
{
	for (uint32_t cpu = 0; z->sets && cpu < model->m->nr_cpus; cpu++) {
		struct model_set *s = &z->sets[cpu], old = *s;

		memset(s, 0, sizeof(*s));
		s->batch = old.batch;
		s->high_min = old.high_min;
		s->high_max = old.high_max;
		for (unsigned int l = 0; l < 14; l++)
			free(old.list[l].pfn);
	}
}

unsigned int set_list(const struct model *model, unsigned int o, unsigned int mt)
{
	enum pcp_rules rules = model->rules.pcp;
	unsigned int column = mt < 3 ? mt : MIGRATE_MOVABLE;

	if (rules == PCP_OFF || mt == MIGRATE_ISOLATE)
		return PCP_NO_LIST;
	if (o == 0 || (o <= 3 && rules != PCP_5_10))
		return 3 * o + column;
	if (o != 9 || rules == PCP_5_10)
		return PCP_NO_LIST;
	return column == MIGRATE_MOVABLE && tunes(model) ? 13 : 12;
}

/* ---- giving back ---- */

static void give_back(struct model *model, struct model_zone *z, struct model_set *s,
		      unsigned int l)
{
	struct list *list = &s->list[l];
	pfn_t pfn = list->pfn[list->n - 1];
	unsigned int now = type_of(z, pfn), mt = now;

	list->n--;
	if (model->rules.drain_cached && now != MIGRATE_ISOLATE)
		mt = z->cached[pfn - z->zone.start];
	model->count[RULE_FOREIGN] += mt != now;
	model->count[RULE_DRAIN]++;
	s->drained++;
	free_block(model, z, pfn, list_order(l), mt, false);
}

/* 5.10: round the three lists, from each as many as empty lists were passed, and one. */
static void go_round(struct model *model, struct model_zone *z, struct model_set *s, int64_t n)
{
	unsigned int l = 0;

	while (n > 0) {
		int64_t quota = 0;

		do {
			quota++;
			l = (l + 1) % 3;
		} while (s->list[l].n == 0);
		if (quota == 3)
			quota = n;
		for (; n > 0 && quota > 0 && s->list[l].n; n--, quota--)
			give_back(model, z, s, l);
	}
}

static void bulk_free(struct model *model, struct model_zone *z, struct model_set *s,
		      unsigned int l, int64_t n)
{
	n = smaller(n, known(s));
	if (model->rules.pcp == PCP_5_10) {
		go_round(model, z, s, n);
	} else {
		for (; n > 0; l = (l + 1) % 14) {
			while (n > 0 && s->list[l].n) {
				give_back(model, z, s, l);
				n -= INT64_C(1) << list_order(l);
			}
		}
	}
	look_at_kswapd(model, z);
}

void sets_drain(struct model *model)
{
	for (uint32_t i = 0; i < model->m->nr_zones; i++) {
		struct model_zone *z = &model->zones[i];

		for (uint32_t cpu = 0; z->sets && cpu < model->m->nr_cpus; cpu++)
			bulk_free(model, z, &z->sets[cpu], 0, set_count(&z->sets[cpu]));
	}
}

/* ---- allocation ---- */

static int64_t refill_size(struct model *model, const struct model_zone *z, struct model_set *s,
			   unsigned int o)
{
	int64_t n, room;

	if (model->rules.pcp == PCP_5_10)
		return s->batch;
	if (!tunes(model))
		return s->batch > 1 ? larger(s->batch >> o, 2) : s->batch;
	s->high = clamp(s->high, s->high_min, s->high_max);
	if (s->high < s->batch)
		return 1;
	n = o ? s->batch : s->batch << s->alloc_factor;
	if (s->high_min != s->high_max && !z->below_high)
		s->high = smaller(s->high + n, s->high_max);
	if (o == 0) {
		room = larger(s->high - set_count(s) - s->batch, s->batch);
		if (n <= room && s->alloc_factor < 5) {
			s->alloc_factor++;
			model->count[RULE_REFILL_GROWS]++;
		}
		model->count[RULE_REFILL_LIMITED] += n > room;
		n = smaller(n, room);
	}
	return n > 1 ? larger(n >> o, 2) : n;
}

pfn_t set_alloc(struct model *model, struct model_zone *z, unsigned int cpu, unsigned int o,
		unsigned int mt, unsigned int allowed, uint64_t *flags)
{
	struct model_set *s = &z->sets[cpu];
	struct list *list = &s->list[set_list(model, o, mt)];
	pfn_t pfn;

	if (tunes(model))
		s->free_count /= 2;
	else
		s->free_factor /= 2;
	s->expire = 3;
	if (list->n) {
		*flags |= RESULT_PCP_HIT;
		s->hits++;
		model->count[RULE_HIT]++;
	} else {
		int mode = FROM_OWN;

		for (int64_t n = refill_size(model, z, s, o), i = 0; i < n; i++) {
			unsigned int from;
			bool fallback;

			pfn = rmqueue_model(model, z, o, mt, allowed, &mode, &fallback, &from);
			if (pfn == PFN_NONE)
				break;
			if (i == 0 && fallback)
				*flags |= RESULT_FALLBACK;
			set_frames(z, pfn, UINT64_C(1) << o, M_PARKED);
			memset(&z->cached[pfn - z->zone.start], (int)from, (size_t)1 << o);
			list_add(list, list->n, pfn);
		}
		if (list->n == 0)
			return PFN_NONE;
		*flags |= RESULT_REFILL;
		s->refills++;
		model->count[RULE_REFILL]++;
	}
	pfn = list->pfn[0];
	list_remove(list, pfn);
	return pfn;
}

/* ---- free ---- */

static int64_t lower(const struct model_set *s, int64_t by)
{
	return larger(s->high - by, s->high_min);
}

/* nr_pcp_high: at which count to give back. */
static int64_t level(const struct model_zone *z, struct model_set *s, bool flush)
{
	int64_t high = s->high = clamp(s->high, s->high_min, s->high_max);

	if (high == 0)
		return 0;
	if (flush) {
		s->high = lower(s, s->batch * 32);
		return 0;
	}
	if (z->kswapd) {
		s->high = lower(s, larger(s->free_count, s->batch));
		return smaller(4 * s->batch, s->high);
	}
	if (s->high_min == s->high_max)
		return high;
	if (z->below_high) {
		s->high = lower(s, larger(s->free_count, s->batch));
		return larger(set_count(s), s->high_min);
	}
	if (set_count(s) >= high && s->high < s->free_count + s->batch)
		s->high = clamp(s->free_count + s->batch, s->high_min, s->high_max);
	return high;
}

static int64_t tuned_release(struct model *model, const struct model_zone *z, struct model_set *s,
			     unsigned int o)
{
	bool small = o >= 1 && o <= 3, flush = false;
	int64_t enough = s->batch, h;

	if (model->rules.pcp == PCP_6_18)
		enough += s->high_min / 2;
	s->alloc_factor /= 2;
	if (small)
		flush = s->free_count >= enough && s->small_before && set_count(s) >= s->batch;
	s->small_before = small;
	if (s->free_count < s->batch * 32)
		s->free_count += INT64_C(1) << o;
	h = level(z, s, flush);
	if (set_count(s) < h)
		return 0;
	if (flush) {
		model->count[RULE_FLUSH]++;
		return smaller(set_count(s), s->batch * 32);
	}
	return h < s->batch ? 1 : clamp(s->free_count, s->batch, h - s->batch);
}

static int64_t older_release(struct model *model, const struct model_zone *z, struct model_set *s,
			     unsigned int o)
{
	int64_t h = s->high_min, n;

	if (model->rules.pcp == PCP_5_10)
		return set_count(s) >= h ? s->batch : 0;
	if (s->free_factor > 0 && o >= 1 && o <= 3) {
		model->count[RULE_FLUSH]++;
		return set_count(s);
	}
	if (z->kswapd)
		h = smaller(4 * s->batch, h);
	if (set_count(s) < h)
		return 0;
	if (h < s->batch)
		return 1;
	n = s->batch << s->free_factor;
	if (n < h - s->batch && (model->rules.pcp == PCP_6_1 || s->free_factor < 5))
		s->free_factor++;
	return clamp(n, s->batch, h - s->batch);
}

void set_free(struct model *model, struct model_zone *z, unsigned int cpu, pfn_t pfn,
	      unsigned int o)
{
	struct model_set *s = &z->sets[cpu];
	unsigned int mt = type_of(z, pfn), l = set_list(model, o, mt);
	int64_t n;

	list_add(&s->list[l], 0, pfn);
	set_frames(z, pfn, UINT64_C(1) << o, M_PARKED);
	memset(&z->cached[pfn - z->zone.start], (int)mt, (size_t)1 << o);
	s->expire = 3;
	n = tunes(model) ? tuned_release(model, z, s, o) : older_release(model, z, s, o);
	if (n == 0)
		return;
	bulk_free(model, z, s, l, n);
	if (z->below_high && watermark_ok(z, 0, HIGH, ZONE_MOVABLE, 0)) {
		z->below_high = false;
		model->count[RULE_ABOVE_HIGH]++;
	}
}

/* ---- time ---- */

static void visit(struct model *model, struct model_zone *z, unsigned int cpu)
{
	struct model_set *s = &z->sets[cpu];
	int64_t n = 0;

	if (tunes(model) && s->high > s->high_min) {
		s->high = larger(larger(set_count(s) - s->batch * 32, s->high - s->high / 8),
				 s->high_min);
		n = larger(set_count(s) - s->high, 0);
		model->count[RULE_DECAY] += n > 0;
	}
	if (model->m->node_of_cpu[cpu] != z->zone.node && s->expire > 0 && --s->expire == 0) {
		int64_t more = smaller(set_count(s) - n, s->batch);

		model->count[RULE_REMOTE] += more > 0;
		n += more;
	}
	if (n > 0)
		bulk_free(model, z, s, 0, n);
}

/*
 * The worker's next visit: a jiffy is 4 ms; it asks for the whole second less three jiffies per cpu and
 * comes at the next multiple of eight. The first call is taken for jiffy 752.
 */
static uint64_t next_visit(const struct model *model, uint32_t cpu, uint64_t now)
{
	for (int64_t second = 1;; second++) {
		int64_t jiffy = second * 250 - 3 * (int64_t)cpu + 1;
		int64_t since;

		while (jiffy % 8)
			jiffy++;
		since = (jiffy - 752) * 4000000;
		if (since > (int64_t)(now - model->first_tick))
			return model->first_tick + (uint64_t)since;
	}
}

uint64_t model_tick(struct model *model, uint64_t now)
{
	uint64_t first = UINT64_MAX;

	if (model->rules.pcp == PCP_OFF)
		return UINT64_MAX;
	if (!model->ticks)
		model->first_tick = now;
	for (uint32_t cpu = 0; cpu < model->m->nr_cpus; cpu++) {
		uint64_t *due = &model->due[cpu];

		if (model->ticks && *due <= now) {
			for (uint32_t i = 0; i < model->m->nr_zones; i++)
				visit(model, &model->zones[i], cpu);
		}
		if (!model->ticks || *due <= now)
			*due = next_visit(model, cpu, now);
		first = *due < first ? *due : first;
	}
	model->ticks = true;
	return first;
}

/* ---- starting from a snapshot ---- */

static void adopt_limits(struct model *model, struct model_zone *z,
			 const struct zone_counts *counts)
{
	if (!tunes(model))
		return;
	for (uint32_t cpu = 0; cpu < model->m->nr_cpus; cpu++) {
		if (counts->pcp[cpu].batch == 0 || counts->pcp[cpu].high_max == 0)
			return;
	}
	for (uint32_t cpu = 0; cpu < model->m->nr_cpus; cpu++) {
		z->sets[cpu].batch = counts->pcp[cpu].batch;
		z->sets[cpu].high = counts->pcp[cpu].high;
		z->sets[cpu].high_min = counts->pcp[cpu].high_min;
		z->sets[cpu].high_max = counts->pcp[cpu].high_max;
	}
}

/* Parked frames, ascending, to the cpus in turn, each as many as the kernel counted. */
void sets_adopt(struct model *model, struct model_zone *z, const struct zone_counts *counts)
{
	uint32_t cpu = 0;
	pfn_t next;

	adopt_limits(model, z, counts);
	for (pfn_t pfn = z->zone.start, end = pfn; pfn < z->zone.end; pfn = next) {
		unsigned int o = 0, mt, l;

		next = pfn + 1;
		if (*frame_at(z, pfn) != M_PARKED)
			continue;
		if (pfn >= end) {
			end = pfn;
			while (end < z->zone.end && *frame_at(z, end) == M_PARKED)
				end++;
		}
		if (pfn % PBN == 0 && pfn + PBN <= end)
			o = PB;
		next = pfn + (UINT64_C(1) << o);
		mt = type_of(z, pfn);
		l = set_list(model, o, mt);
		while (l != PCP_NO_LIST && cpu < model->m->nr_cpus &&
		       set_count(&z->sets[cpu]) + (INT64_C(1) << o) > counts->pcp[cpu].count)
			cpu++;
		if (l == PCP_NO_LIST || cpu == model->m->nr_cpus) {
			free_block(model, z, pfn, o, mt, true);
			continue;
		}
		list_add(&z->sets[cpu].list[l], z->sets[cpu].list[l].n, pfn);
		memset(&z->cached[pfn - z->zone.start], (int)mt, (size_t)1 << o);
	}
	for (cpu = 0; cpu < model->m->nr_cpus; cpu++) {
		z->sets[cpu].phantoms = larger(counts->pcp[cpu].count - known(&z->sets[cpu]), 0);
		model->count[RULE_PHANTOM] += z->sets[cpu].phantoms > 0;
	}
}
