/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU lists: the specification's vectors, and every rule generation against a model that is
 * written down once more from it, with plain arrays (linux-page-allocator, sections 4, 10 and 12).
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/pcp.h"
#include "base/bits.h"
#include "tests/base/seed.h"

static const enum pcp_rules generations[] = {PCP_6_18, PCP_6_12, PCP_6_6, PCP_6_1, PCP_5_10};

/* ---- the model ---- */

#define ENTRIES_MAX 80000

struct model {
	enum pcp_rules rules;
	int64_t batch, high_min, high_max;
	int64_t high, free_count, alloc_factor, free_factor, expire, phantoms;
	bool previous_was_high_order;
	uint32_t *list[14]; /* entry 0 is the head */
	int64_t n[14];
};

static bool is_tuned(const struct model *m)
{
	return m->rules == PCP_6_18 || m->rules == PCP_6_12;
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
	if (v < low)
		v = low;
	return v > high ? high : v;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static unsigned int list_order(unsigned int list)
{
	return list < 12 ? list / 3 : 9;
}

static int64_t model_known(const struct model *m)
{
	int64_t count = 0;

	for (unsigned int l = 0; l < 14; l++)
		count += m->n[l] << list_order(l);
	return count;
}

static int64_t model_count(const struct model *m)
{
	return model_known(m) + m->phantoms;
}

static void model_put(struct model *m, unsigned int list, bool at_head, uint32_t frame)
{
	assert_true(m->n[list] < ENTRIES_MAX);
	if (at_head)
		memmove(m->list[list] + 1, m->list[list], (size_t)m->n[list] * sizeof(uint32_t));
	m->list[list][at_head ? 0 : m->n[list]] = frame;
	m->n[list]++;
}

static uint32_t model_get(struct model *m, unsigned int list, int64_t at)
{
	uint32_t frame = m->list[list][at];

	m->n[list]--;
	memmove(m->list[list] + at, m->list[list] + at + 1,
		(size_t)(m->n[list] - at) * sizeof(uint32_t));
	return frame;
}

static int64_t model_refill_size(struct model *m, unsigned int order, unsigned int pressure)
{
	int64_t n, room;

	if (m->rules == PCP_5_10)
		return m->batch;
	if (!is_tuned(m))
		return m->batch > 1 ? larger(m->batch >> order, 2) : m->batch;
	m->high = clamp(m->high, m->high_min, m->high_max);
	if (m->high < m->batch)
		return 1;
	n = order ? m->batch : m->batch << m->alloc_factor;
	if (m->high_min != m->high_max && !(pressure & PCP_BELOW_HIGH))
		m->high = smaller(m->high + n, m->high_max);
	if (order == 0) {
		room = larger(m->high - model_count(m) - m->batch, m->batch);
		if (n <= room && m->alloc_factor < 5)
			m->alloc_factor++;
		n = smaller(n, room);
	}
	return n > 1 ? larger(n >> order, 2) : n;
}

/* nr_pcp_high */
static int64_t model_high(struct model *m, bool free_high, unsigned int pressure)
{
	int64_t high = m->high = clamp(m->high, m->high_min, m->high_max);

	if (high == 0)
		return 0;
	if (free_high) {
		m->high = larger(high - (m->batch << 5), m->high_min);
		return 0;
	}
	if (pressure & PCP_RECLAIMING) {
		m->high = larger(high - larger(m->free_count, m->batch), m->high_min);
		return smaller(4 * m->batch, m->high);
	}
	if (m->high_min == m->high_max)
		return high;
	if (pressure & PCP_BELOW_HIGH) {
		m->high = larger(high - larger(m->free_count, m->batch), m->high_min);
		return larger(model_count(m), m->high_min);
	}
	if (model_count(m) >= high && m->high < m->free_count + m->batch)
		m->high = clamp(m->free_count + m->batch, m->high_min, m->high_max);
	return high;
}

static int64_t model_tuned_release(struct model *m, unsigned int order, unsigned int pressure)
{
	bool high_order = order >= 1 && order <= 3, free_high;
	int64_t h;

	m->alloc_factor /= 2;
	free_high = high_order && m->previous_was_high_order &&
		    m->free_count >= m->batch + (m->rules == PCP_6_18 ? m->high_min / 2 : 0) &&
		    model_count(m) >= m->batch;
	m->previous_was_high_order = high_order;
	if (m->free_count < m->batch << 5)
		m->free_count += INT64_C(1) << order;
	h = model_high(m, free_high, pressure);
	if (model_count(m) < h)
		return 0;
	if (free_high)
		return smaller(model_count(m), m->batch << 5);
	if (h < m->batch)
		return 1;
	return clamp(m->free_count, m->batch, h - m->batch);
}

static int64_t model_release_size(struct model *m, unsigned int order, unsigned int pressure)
{
	int64_t n, h = m->high_min;

	if (is_tuned(m))
		return model_tuned_release(m, order, pressure);
	if (m->rules == PCP_5_10)
		return model_count(m) >= h ? m->batch : 0;
	if (m->free_factor && order >= 1 && order <= 3)
		return model_count(m);
	if (pressure & PCP_RECLAIMING)
		h = smaller(h, 4 * m->batch);
	if (model_count(m) < h)
		return 0;
	if (h < m->batch)
		return 1;
	n = m->batch << m->free_factor;
	if (n < h - m->batch && (m->rules == PCP_6_1 || m->free_factor < 5))
		m->free_factor++;
	return clamp(n, m->batch, h - m->batch);
}

/* All frames a drain gives back, in order. Return: how many blocks. */
static size_t model_drain(struct model *m, unsigned int list, int64_t n, uint32_t *out)
{
	unsigned int lists = m->rules == PCP_5_10 ? 3 : 14;
	size_t nr = 0;

	n = smaller(n, model_known(m));
	if (m->rules == PCP_5_10)
		list = 0;
	while (n > 0) {
		int64_t quota = INT64_MAX;

		if (m->rules == PCP_5_10) {
			quota = 0;
			do {
				quota++;
				list = (list + 1) % lists;
			} while (m->n[list] == 0);
			if (quota == 3)
				quota = n;
		}
		while (m->n[list] == 0)
			list = (list + 1) % lists;
		while (n > 0 && quota-- > 0 && m->n[list] > 0) {
			out[nr++] = model_get(m, list, m->n[list] - 1);
			n -= INT64_C(1) << list_order(list);
		}
	}
	return nr;
}

static int64_t model_tick(struct model *m, bool remote)
{
	int64_t n = 0, count = model_count(m);

	if (is_tuned(m) && m->high > m->high_min) {
		m->high =
			larger(larger(count - (m->batch << 5), m->high - m->high / 8), m->high_min);
		n = larger(count - m->high, 0);
	}
	if (remote && m->expire && --m->expire == 0)
		n += smaller(count - n, m->batch);
	return n;
}

/* ---- the two side by side ---- */

struct pair {
	struct pcp pcp;
	struct model model;
	struct random random;
	struct frame_chunk *chunks;
	uint32_t *drained; /* ENTRIES_MAX entries */
	uint32_t next;	   /* frame; a block's alignment does not matter here */
};

static void pair_start(struct pair *p, enum pcp_rules rules, struct pcp_limits limits,
		       uint32_t phantoms, uint64_t seed)
{
	size_t chunks = pcp_chunks(&limits) + phantoms;

	memset(p, 0, sizeof(*p));
	p->random = random_begin(seed);
	p->chunks = calloc(chunks, sizeof(*p->chunks));
	p->drained = malloc(ENTRIES_MAX * sizeof(*p->drained));
	assert_true(p->chunks && p->drained);
	pcp_init(&p->pcp, rules, &limits);
	frame_pool_add(&p->pcp.pool, p->chunks, chunks);
	p->pcp.phantoms = p->pcp.count = phantoms;
	p->model = (struct model){.rules = rules,
				  .batch = limits.batch,
				  .high_min = limits.high_min,
				  .high_max = limits.high_max,
				  .phantoms = phantoms};
	for (unsigned int l = 0; l < 14; l++) {
		p->model.list[l] = malloc(ENTRIES_MAX * sizeof(uint32_t));
		assert_non_null(p->model.list[l]);
	}
}

static void pair_end(struct pair *p)
{
	for (unsigned int l = 0; l < 14; l++)
		free(p->model.list[l]);
	free(p->drained);
	free(p->chunks);
}

static void assert_counts(const struct pair *p)
{
	const struct pcp *pcp = &p->pcp;
	const struct model *m = &p->model;

	assert_int_equal(pcp->count, model_count(m));
	assert_int_equal(pcp_known(pcp), model_known(m));
	for (unsigned int l = 0; l < 14; l++)
		assert_int_equal(pcp->list[l].length, m->n[l]);
	if (is_tuned(m)) {
		assert_int_equal(pcp->high, m->high);
		assert_int_equal(pcp->free_count, m->free_count);
		assert_int_equal(pcp->alloc_factor, m->alloc_factor);
	} else {
		assert_int_equal(pcp->free_factor, m->free_factor);
	}
}

static void assert_lists(const struct pair *p)
{
	for (unsigned int l = 0; l < 14; l++) {
		struct frame_deque_cursor c = frame_deque_begin(&p->pcp.list[l]);

		for (int64_t i = 0; i < p->model.n[l]; i++)
			assert_int_equal(*frame_deque_next(&p->pcp.list[l], &c),
					 p->model.list[l][i]);
	}
}

static void give_back(struct pair *p, unsigned int list, int64_t n)
{
	size_t expected = model_drain(&p->model, list, n, p->drained), i = 0;
	struct pcp_drain drain;
	unsigned int order;
	uint32_t frame;

	pcp_drain_begin(&p->pcp, &drain, list, (uint32_t)n);
	while (pcp_drain_next(&p->pcp, &drain, &frame, &order)) {
		assert_true(i < expected);
		assert_int_equal(frame, p->drained[i++]);
	}
	assert_int_equal(i, expected);
}

static void allocate(struct pair *p, unsigned int list, unsigned int pressure, bool bulk)
{
	unsigned int order = list_order(list);
	uint32_t popped;

	p->model.expire = bulk ? p->model.expire : 3;
	if (!bulk) {
		pcp_begin_alloc(&p->pcp);
		p->model.free_count /= is_tuned(&p->model) ? 2 : 1;
		p->model.free_factor /= 2;
	}
	if (p->model.n[list] == 0) {
		int64_t n = model_refill_size(&p->model, order, pressure);

		assert_int_equal(pcp_refill_size(&p->pcp, order, pressure), n);
		/* now and then there is less memory */
		if (random_below(&p->random, 20) == 0)
			n = (int64_t)random_below(&p->random, (uint64_t)n + 1);
		for (int64_t i = 0; i < n; i++) {
			assert_true(pcp_append(&p->pcp, list, order, p->next));
			model_put(&p->model, list, false, p->next++);
		}
	}
	popped = pcp_pop(&p->pcp, list, order);
	assert_int_equal(popped, p->model.n[list] ? model_get(&p->model, list, 0) : DEQUE_NONE);
}

static void release(struct pair *p, unsigned int list, unsigned int pressure)
{
	unsigned int order = list_order(list);
	int64_t n;

	assert_true(pcp_push(&p->pcp, list, order, p->next));
	model_put(&p->model, list, true, p->next++);
	p->model.expire = 3;
	n = model_release_size(&p->model, order, pressure);
	assert_int_equal(pcp_release_size(&p->pcp, order, pressure), n);
	if (n)
		give_back(p, list, n);
}

static unsigned int random_list(struct pair *p)
{
	static const uint8_t orders[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 9};
	unsigned int list;

	do {
		list = pcp_list(p->model.rules,
				orders[random_below(&p->random, ARRAY_SIZE(orders))],
				(unsigned int)random_below(&p->random, 5));
	} while (list == PCP_NO_LIST);
	return list;
}

static void step(struct pair *p, unsigned int favourite, unsigned int share)
{
	unsigned int list = random_below(&p->random, 4) ? favourite : random_list(p);
	unsigned int what = (unsigned int)random_below(&p->random, 1000);
	unsigned int pressure =
		random_below(&p->random, 50) ? 0 : (unsigned int)random_below(&p->random, 4);
	bool remote = random_below(&p->random, 2);
	int64_t n;

	if (what < 2) {
		n = model_tick(&p->model, remote);
		assert_int_equal(pcp_tick(&p->pcp, remote), n);
		give_back(p, 0, n);
	} else if (what < 4 && p->model.n[list]) {
		uint32_t frame =
			model_get(&p->model, list,
				  (int64_t)random_below(&p->random, (uint64_t)p->model.n[list]));

		assert_true(pcp_remove(&p->pcp, list, list_order(list), frame));
		assert_false(pcp_remove(&p->pcp, list, list_order(list), frame));
	} else if (what < 5) {
		give_back(p, random_list(p), (int64_t)random_below(&p->random, 3000));
	} else if (random_below(&p->random, 100) < share) {
		allocate(p, list, pressure, what % 16 == 0);
	} else {
		release(p, list, pressure);
	}
}

/* Bursts of either kind, mostly of one list, as programs have them. */
static void play(struct pair *p, unsigned int steps)
{
	static const unsigned int shares[] = {50, 95, 5, 100, 0, 60, 40};
	unsigned int favourite = 0, share = 50;

	for (unsigned int i = 0; i < steps; i++) {
		if (random_below(&p->random, 700) == 0) {
			favourite = random_list(p);
			share = shares[random_below(&p->random, ARRAY_SIZE(shares))];
		}
		step(p, favourite, share);
		assert_counts(p);
		if (i % 256 == 0)
			assert_lists(p);
	}
	assert_lists(p);
}

static void each_generation_agrees_with_its_model(void **state)
{
	static const struct {
		uint64_t managed, low;
		uint32_t cpus, batch;
	} zones[] = {{1 << 18, 3000, 2, 0}, {1 << 21, 12000, 4, 0}, {3840, 60, 2, 0},
		     {40000, 100, 16, 0},   {1 << 19, 200, 1, 100}, {1 << 20, 50000, 2, 0}};

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(generations); g++) {
		for (size_t z = 0; z < ARRAY_SIZE(zones); z++) {
			struct pcp_limits limits =
				pcp_limits_of(generations[g], zones[z].managed, zones[z].low,
					      zones[z].cpus, zones[z].batch);
			struct pair p;

			print_message("# %s, %" PRIu64 " frames\n", pcp_rules_names[generations[g]],
				      zones[z].managed);
			pair_start(&p, generations[g], limits, z % 3 == 1 ? 100 : 0, 10 * g + z);
			play(&p, 30000);
			give_back(&p, 0, UINT32_MAX);
			assert_int_equal(pcp_known(&p.pcp), 0);
			pair_end(&p);
		}
	}
}

/* percpu_pagelist_high_fraction; a batch above high; nothing at all. */
static void odd_limits_agree_with_the_model(void **state)
{
	static const struct pcp_limits odd[] = {
		{63, 500, 500}, {63, 126, 126}, {63, 63, 63}, {63, 40, 2000},
		{63, 0, 0},	{1, 4, 4},	{1, 0, 100},  {63, 400, 300},
	};

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(generations); g++) {
		for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
			struct pcp_limits roomy = {63, 50000, 50000};
			struct pair p;

			/* High below two batches lets lists grow: clamp() of an empty range. */
			pair_start(&p, generations[g], roomy, 0, 100 + 10 * g + i);
			pcp_set_limits(&p.pcp, &odd[i]);
			p.model.batch = odd[i].batch;
			p.model.high_min = odd[i].high_min;
			p.model.high_max = odd[i].high_max;
			play(&p, 4000);
			pair_end(&p);
		}
	}
}

/* ---- the specification's numbers ---- */

static void batches_and_highs_follow_from_the_zone(void **state)
{
	struct pcp_limits l;

	(void)state;
	assert_int_equal(pcp_limits_of(PCP_6_18, 131072, 0, 1, 0).batch, 31); /* vector 7 */
	assert_int_equal(pcp_limits_of(PCP_6_18, 262144, 0, 1, 0).batch, 63);
	assert_int_equal(pcp_limits_of(PCP_6_18, 3735552, 0, 1, 0).batch, 63);
	assert_int_equal(pcp_limits_of(PCP_6_18, 3840, 0, 1, 0).batch, 1);
	assert_int_equal(pcp_limits_of(PCP_6_18, 0, 0, 1, 0).batch, 1);
	l = pcp_limits_of(PCP_6_18, 1998848, 12000, 2, 0);
	assert_int_equal(l.high_min, 6000);
	assert_int_equal(l.high_max, 1998848 / 8 / 2);
	l = pcp_limits_of(PCP_6_12, 1998848, 100, 2, 0); /* at least four batches */
	assert_int_equal(l.high_min, 252);
	l = pcp_limits_of(PCP_6_6, 1998848, 12000, 2, 0); /* fixed by the low mark */
	assert_int_equal(l.high_min, 6000);
	assert_int_equal(l.high_max, 6000);
	l = pcp_limits_of(PCP_5_10, 1998848, 12000, 2, 0);
	assert_int_equal(l.high_min, 378);
	assert_int_equal(l.high_max, 378);
	l = pcp_limits_of(PCP_6_18, 1998848, 0, 2, 10);
	assert_int_equal(l.batch, 10);
	assert_int_equal(l.high_min, 40);
}

/* Section 5: three zones reserve 67584 kB; low marks add a quarter, or a thousandth of the zone. */
static void unknown_watermarks_are_those_of_boot(void **state)
{
	const struct zone zones[] = {
		{.start = 0, .end = 4096, .present = 3840, .managed = 3840, .type = ZONE_DMA},
		{.start = 4096,
		 .end = 1048576,
		 .present = 765440,
		 .managed = 765440,
		 .type = ZONE_DMA32},
		{.start = 1048576,
		 .end = 5242880,
		 .present = 4194304,
		 .managed = 4194304,
		 .type = ZONE_NORMAL},
		{.start = 5242880,
		 .end = 5767168,
		 .present = 524288,
		 .managed = 524288,
		 .type = ZONE_MOVABLE},
	};
	const uint64_t lowmem = 3840 + 765440 + 4194304;
	struct machine *m;

	(void)state;
	assert_int_equal(machine_create(2, 1, &m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	assert_int_equal(pcp_low_watermark(m, 0), 13 + 3); /* 16896 * 3840 / lowmem */
	assert_int_equal(pcp_low_watermark(m, 1), 16896 * UINT64_C(765440) / lowmem + 765);
	assert_int_equal(pcp_low_watermark(m, 2),
			 16896 * UINT64_C(4194304) / lowmem +
				 max_u64(16896 * UINT64_C(4194304) / lowmem / 4, 4194));
	/* what nothing unmovable can use keeps little, but as far apart as the others */
	assert_int_equal(pcp_low_watermark(m, 3),
			 128 + max_u64(16896 * UINT64_C(524288) / lowmem / 4, 524));
	m->zones[2].watermark.low = 77;
	assert_int_equal(pcp_low_watermark(m, 2), 77);
	machine_destroy(m);
	/* 16 MiB: a twentieth of memory at most; 512 MiB and 1 TiB: by pageblocks, by the square root */
	assert_int_equal(machine_from_memory(UINT64_C(16) << 20, 1, &m, NULL), 0);
	assert_int_equal(pcp_low_watermark(m, 0), 204 + 51);
	machine_destroy(m);
	assert_int_equal(machine_from_memory(UINT64_C(512) << 20, 1, &m, NULL), 0);
	assert_int_equal(pcp_low_watermark(m, 0), 5632 + 1408);
	machine_destroy(m);
	assert_int_equal(machine_from_memory(UINT64_C(1) << 40, 1, &m, NULL), 0);
	assert_int_equal(pcp_low_watermark(m, 0), 32768 + 268435);
	machine_destroy(m);
}

static void lists_are_numbered_as_the_kernel_does(void **state)
{
	(void)state;
	assert_int_equal(pcp_list(PCP_6_18, 0, MIGRATE_UNMOVABLE), 0);
	assert_int_equal(pcp_list(PCP_6_18, 3, MIGRATE_RECLAIMABLE), 11);
	assert_int_equal(pcp_list(PCP_6_18, 9, MIGRATE_UNMOVABLE), 12);
	assert_int_equal(pcp_list(PCP_6_18, 9, MIGRATE_RECLAIMABLE), 12);
	assert_int_equal(pcp_list(PCP_6_12, 9, MIGRATE_MOVABLE), 13);
	assert_int_equal(pcp_list(PCP_6_6, 9, MIGRATE_MOVABLE), 12);
	assert_int_equal(pcp_list(PCP_6_1, 9, MIGRATE_UNMOVABLE), 12);
	assert_int_equal(pcp_list(PCP_6_18, 0, MIGRATE_HIGHATOMIC), 1);
	assert_int_equal(pcp_list(PCP_6_18, 2, MIGRATE_CMA), 7);
	assert_int_equal(pcp_list(PCP_6_18, 0, MIGRATE_ISOLATE), PCP_NO_LIST);
	for (unsigned int order = 4; order <= MAX_ORDER; order++)
		assert_true((pcp_list(PCP_6_18, order, 1) == PCP_NO_LIST) == (order != 9));
	for (unsigned int order = 1; order <= MAX_ORDER; order++)
		assert_int_equal(pcp_list(PCP_5_10, order, 1), PCP_NO_LIST);
	for (unsigned int order = 0; order <= MAX_ORDER; order++)
		assert_int_equal(pcp_list(PCP_OFF, order, 1), PCP_NO_LIST);
	for (size_t g = 0; g < ARRAY_SIZE(generations); g++) {
		for (unsigned int order = 0; order <= MAX_ORDER; order++) {
			unsigned int list = pcp_list(generations[g], order, MIGRATE_MOVABLE);

			if (list == PCP_NO_LIST)
				continue;
			assert_int_equal(pcp_list_order(generations[g], list), order);
			assert_int_equal(pcp_list_type(generations[g], list), MIGRATE_MOVABLE);
		}
	}
	assert_int_equal(pcp_list_type(PCP_6_18, 12), MIGRATE_UNMOVABLE);
	assert_int_equal(pcp_list_type(PCP_6_18, 5), MIGRATE_RECLAIMABLE);
	assert_string_equal(pcp_rules_names[PCP_5_10], "5.10");
	assert_string_equal(pcp_rules_names[PCP_OFF], "off");
	assert_null(pcp_rules_names[PCP_RULES]);
}

static struct pcp *bare(enum pcp_rules rules, struct pcp_limits limits)
{
	static struct frame_chunk chunks[2000];
	static struct pcp pcp;

	memset(chunks, 0, sizeof(chunks));
	pcp_init(&pcp, rules, &limits);
	frame_pool_add(&pcp.pool, chunks, ARRAY_SIZE(chunks));
	return &pcp;
}

static void fill(struct pcp *pcp, unsigned int list, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_true(pcp_append(pcp, list, list_order(list), first + i));
}

/* Vector 7: each refill is used up before the next. */
static void refills_double_to_32_batches(void **state)
{
	static const uint32_t sizes[] = {63, 126, 252, 504, 1008, 2016, 2016, 2016};
	struct pcp *pcp = bare(PCP_6_18, (struct pcp_limits){63, 252, 200000});

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		pcp_begin_alloc(pcp);
		assert_int_equal(pcp_refill_size(pcp, 0, 0), sizes[i]);
	}
	/* a free halves the next */
	assert_true(pcp_push(pcp, 0, 0, 1));
	assert_int_equal(pcp_release_size(pcp, 0, 0), 0);
	assert_int_equal(pcp_refill_size(pcp, 0, 0), 252);
	/* higher orders do not double */
	assert_int_equal(pcp_refill_size(pcp, 1, 0), 31);
	assert_int_equal(pcp_refill_size(pcp, 3, 0), 7);
	assert_int_equal(pcp_refill_size(pcp, 9, 0), 2);
}

static void refills_stay_a_batch_below_high(void **state)
{
	struct pcp *pcp = bare(PCP_6_18, (struct pcp_limits){63, 300, 300});

	(void)state;
	assert_int_equal(pcp_refill_size(pcp, 0, 0), 63);
	assert_int_equal(pcp_refill_size(pcp, 0, 0), 126);
	assert_int_equal(pcp_refill_size(pcp, 0, 0), 237); /* 300 - 0 - 63 */
	fill(pcp, 3, 0, 100);				   /* 200 frames of order 1 */
	assert_int_equal(pcp_refill_size(pcp, 0, 0), 63);  /* not less than a batch */
	assert_int_equal(pcp->high, 300);
	/* below the high watermark `high` stays where it is */
	pcp = bare(PCP_6_18, (struct pcp_limits){63, 300, 3000});
	assert_int_equal(pcp_refill_size(pcp, 0, PCP_BELOW_HIGH), 63);
	assert_int_equal(pcp->high, 300);
	assert_int_equal(pcp_refill_size(pcp, 0, 0), 126);
	assert_int_equal(pcp->high, 426);
}

static void older_refills_have_one_size(void **state)
{
	static const struct {
		enum pcp_rules rules;
		unsigned int order;
		uint32_t n;
	} cases[] = {{PCP_6_6, 0, 63}, {PCP_6_6, 1, 31}, {PCP_6_6, 3, 7},
		     {PCP_6_6, 9, 2},  {PCP_6_1, 2, 15}, {PCP_5_10, 0, 63}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pcp *pcp = bare(cases[i].rules, (struct pcp_limits){63, 500, 500});

		for (unsigned int k = 0; k < 3; k++)
			assert_int_equal(pcp_refill_size(pcp, cases[i].order, 0), cases[i].n);
	}
	assert_int_equal(pcp_refill_size(bare(PCP_6_6, (struct pcp_limits){1, 4, 4}), 3, 0), 1);
}

/* Free order-0 blocks until @frames are given back. */
static uint32_t free_until_release(struct pcp *pcp)
{
	uint32_t n;

	do {
		assert_true(pcp_push(pcp, 0, 0, 7));
		n = pcp_release_size(pcp, 0, 0);
	} while (n == 0);
	return n;
}

static void give_back_some(struct pcp *pcp, uint32_t n)
{
	struct pcp_drain drain;
	unsigned int order;
	uint32_t frame;

	pcp_drain_begin(pcp, &drain, 0, n);
	while (pcp_drain_next(pcp, &drain, &frame, &order))
		;
}

static void older_drains_double(void **state)
{
	static const uint32_t limited[] = {63, 126, 252, 504, 1008, 2016, 2016, 2016};
	static const uint32_t unlimited[] = {63, 126, 252, 504, 1008, 2016, 4032, 4937, 4937};
	struct pcp *pcp;

	(void)state;
	pcp = bare(PCP_6_6, (struct pcp_limits){63, 5000, 5000});
	for (size_t i = 0; i < ARRAY_SIZE(limited); i++) {
		uint32_t n = free_until_release(pcp);

		assert_int_equal(n, limited[i]);
		give_back_some(pcp, n);
	}
	pcp_begin_alloc(pcp);
	assert_int_equal(free_until_release(pcp), 252); /* factor 5 halved is 2 */
	pcp = bare(PCP_6_1, (struct pcp_limits){63, 5000, 5000});
	for (size_t i = 0; i < ARRAY_SIZE(unlimited); i++) {
		uint32_t n = free_until_release(pcp);

		assert_int_equal(n, unlimited[i]); /* at least a batch stays */
		give_back_some(pcp, n);
	}
	/* a small block after such growth takes all along */
	assert_true(pcp_push(pcp, 3, 1, 9));
	assert_int_equal(pcp_release_size(pcp, 1, 0), pcp->count);
	pcp = bare(PCP_5_10, (struct pcp_limits){63, 378, 378});
	for (unsigned int i = 0; i < 5; i++) {
		uint32_t n = free_until_release(pcp);

		assert_int_equal(n, 63);
		assert_int_equal(pcp->count, 378);
		give_back_some(pcp, n);
	}
}

/* Two frees of small blocks in a row, on a set that was freed to much, empty it. */
static void small_blocks_flush_a_busy_set(void **state)
{
	const struct pcp_limits limits = {63, 1000, 50000};
	struct pcp *pcp = bare(PCP_6_12, limits);

	(void)state;
	for (unsigned int i = 0; i < 63; i++) {
		assert_true(pcp_push(pcp, 0, 0, i));
		assert_int_equal(pcp_release_size(pcp, 0, 0), 0);
	}
	assert_true(pcp_push(pcp, 3, 1, 100));
	assert_int_equal(pcp_release_size(pcp, 1, 0), 0); /* the first only raises the flag */
	assert_true(pcp_push(pcp, 3, 1, 102));
	assert_int_equal(pcp_release_size(pcp, 1, 0), 67); /* all, as it is below 32 batches */

	pcp = bare(PCP_6_18, limits); /* waits for half of high_min more */
	for (unsigned int i = 0; i < 560; i++) {
		assert_true(pcp_push(pcp, 0, 0, i));
		assert_int_equal(pcp_release_size(pcp, 0, 0), 0);
	}
	assert_true(pcp_push(pcp, 3, 1, 1000));
	assert_int_equal(pcp_release_size(pcp, 1, 0), 0);
	assert_true(pcp_push(pcp, 3, 1, 1002)); /* free_count: 562 of the 563 needed */
	assert_int_equal(pcp_release_size(pcp, 1, 0), 0);
	assert_true(pcp_push(pcp, 3, 1, 1004));
	assert_int_equal(pcp_release_size(pcp, 1, 0), 566);
	assert_int_equal(pcp->high, 1000); /* 32 batches less, at least high_min */
}

static void releases_leave_what_was_freed_last(void **state)
{
	struct pcp *pcp = bare(PCP_6_18, (struct pcp_limits){63, 252, 20000});

	(void)state;
	/* the 252nd: free_count 252, but at least a batch stays below the old high */
	assert_int_equal(free_until_release(pcp), 252 - 63);
	assert_int_equal(pcp->count, 252);
	assert_int_equal(pcp->high, 252 + 63); /* free_count + batch */
	/* kswapd at work: four batches are enough, whatever high is */
	pcp = bare(PCP_6_18, (struct pcp_limits){63, 300, 20000});
	pcp->high = 10000;
	fill(pcp, 0, 0, 300);
	pcp->free_count = 100;
	assert_true(pcp_push(pcp, 0, 0, 1));
	assert_int_equal(pcp_release_size(pcp, 0, PCP_RECLAIMING), 101);
	assert_int_equal(pcp->high, 10000 - 101);
	/* below the high watermark: all above high_min goes */
	assert_true(pcp_push(pcp, 0, 0, 2));
	assert_int_equal(pcp_release_size(pcp, 0, PCP_BELOW_HIGH), 102);
	assert_int_equal(pcp->high, 10000 - 101 - 102);
}

static void high_decays_by_an_eighth(void **state)
{
	struct pcp *pcp = bare(PCP_6_18, (struct pcp_limits){63, 252, 20000});

	(void)state;
	pcp->high = 8000;
	assert_int_equal(pcp_tick(pcp, false), 0); /* even when nothing is drained */
	assert_int_equal(pcp->high, 7000);
	fill(pcp, 1, 0, 6500);
	assert_int_equal(pcp_tick(pcp, false), 375);
	assert_int_equal(pcp->high, 6125);
	fill(pcp, 1, 0, 3000); /* count 9500: at most 32 batches go at once */
	assert_int_equal(pcp_tick(pcp, false), 2016);
	assert_int_equal(pcp->high, 9500 - 2016);
	pcp->high = 260;
	pcp->count = 0;
	assert_int_equal(pcp_tick(pcp, false), 0);
	assert_int_equal(pcp->high, 252);
	assert_int_equal(pcp_tick(pcp, false), 0);
	assert_int_equal(pcp->high, 252);
	pcp = bare(PCP_6_6, (struct pcp_limits){63, 252, 252}); /* there it is fixed */
	fill(pcp, 1, 0, 1000);
	pcp->high = 500;
	assert_int_equal(pcp_tick(pcp, false), 0);
}

static void idle_sets_of_other_nodes_are_drained(void **state)
{
	struct pcp *pcp = bare(PCP_6_18, (struct pcp_limits){63, 252, 20000});

	(void)state;
	fill(pcp, 1, 0, 400);
	assert_int_equal(pcp_tick(pcp, true), 0); /* never used: nothing to wait for */
	pcp_begin_alloc(pcp);
	assert_int_equal(pcp_tick(pcp, true), 0);
	assert_int_equal(pcp_tick(pcp, true), 0);
	assert_int_equal(pcp_tick(pcp, true), 63);
	assert_int_equal(pcp_tick(pcp, true), 0);
	pcp_begin_alloc(pcp);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(pcp_tick(pcp, false), 0); /* not the CPU's own node */
	/* both at once */
	pcp->high = 350;
	pcp->expire = 1;
	assert_int_equal(pcp_tick(pcp, true), 400 - 307 + 63); /* high becomes 307 */
	pcp->expire = 1;
	pcp->count = 20;
	pcp->high = 252;
	assert_int_equal(pcp_tick(pcp, true), 20);
}

static void assert_drained(struct pcp *pcp, unsigned int list, uint32_t n, const uint32_t *expected,
			   size_t nr)
{
	struct pcp_drain drain;
	unsigned int order;
	uint32_t frame;

	pcp_drain_begin(pcp, &drain, list, n);
	for (size_t i = 0; i < nr; i++) {
		assert_true(pcp_drain_next(pcp, &drain, &frame, &order));
		assert_int_equal(frame, expected[i]);
	}
	assert_false(pcp_drain_next(pcp, &drain, &frame, &order));
	assert_int_equal(pcp->drained_blocks, nr);
}

static void drains_go_up_from_the_freed_list_coldest_first(void **state)
{
	static const uint32_t expected[] = {42, 41, 40, 512, 102, 101};
	struct pcp *pcp = bare(PCP_6_18, (struct pcp_limits){63, 252, 20000});

	(void)state;
	fill(pcp, 0, 100, 3);
	fill(pcp, 7, 40, 3); /* order 2 */
	fill(pcp, 13, 512, 1);
	/* from 7 by way of 13 to 0: 12 + 512 frames, then two single ones */
	assert_drained(pcp, 7, 526, expected, ARRAY_SIZE(expected));
	assert_int_equal(pcp->count, 1);
}

static void a_drain_may_overshoot_by_part_of_a_block(void **state)
{
	static const uint32_t expected[] = {1, 0};
	struct pcp *pcp = bare(PCP_6_6, (struct pcp_limits){63, 252, 252});

	(void)state;
	fill(pcp, 9, 0, 3); /* order 3 */
	assert_drained(pcp, 0, 9, (const uint32_t[]){2, 1}, 2);
	pcp->drained_blocks = 0;
	fill(pcp, 9, 1, 1);
	assert_drained(pcp, 9, UINT32_MAX, expected, 2); /* never more than there is */
	assert_int_equal(pcp->count, 0);
}

/* From list 1 on; a list behind empty ones gives one more for each of them; the only one gives all. */
static void drains_of_5_10_go_round(void **state)
{
	static const uint32_t expected[] = {20, 33, 12, 32, 31, 11, 30, 10};
	struct pcp *pcp = bare(PCP_5_10, (struct pcp_limits){63, 378, 378});

	(void)state;
	fill(pcp, 0, 10, 3);
	fill(pcp, 1, 20, 1);
	fill(pcp, 2, 30, 4);
	assert_drained(pcp, 2, 8, expected, 8);
	pcp->drained_blocks = 0;
	fill(pcp, 2, 50, 4);
	assert_drained(pcp, 1, 3, (const uint32_t[]){53, 52, 51}, 3);
}

static void a_full_pool_refuses_and_loses_nothing(void **state)
{
	struct frame_chunk chunk = {.prev = NULL};
	struct pcp pcp;
	const struct pcp_limits limits = {63, 252, 20000};

	(void)state;
	pcp_init(&pcp, PCP_6_18, &limits);
	assert_false(pcp_push(&pcp, 0, 0, 5));
	assert_false(pcp_append(&pcp, 0, 0, 5));
	assert_int_equal(pcp.count, 0);
	frame_pool_add(&pcp.pool, &chunk, 1);
	for (uint32_t i = 0; i < DEQUE_CHUNK_SLOTS; i++)
		assert_true(pcp_append(&pcp, 3, 1, i));
	assert_false(pcp_append(&pcp, 3, 1, 99));
	assert_false(pcp_push(&pcp, 3, 1, 99));
	assert_false(pcp_push(&pcp, 0, 0, 99));
	assert_int_equal(pcp.count, 2 * DEQUE_CHUNK_SLOTS);
	for (uint32_t i = 0; i < DEQUE_CHUNK_SLOTS; i++)
		assert_int_equal(pcp_pop(&pcp, 3, 1), i);
	assert_int_equal(pcp_pop(&pcp, 3, 1), DEQUE_NONE);
	assert_int_equal(pcp.count, 0);
}

/* The kernel's counts include frames nobody can name: they count, and stay. */
static void phantoms_count_but_never_leave(void **state)
{
	static const uint32_t expected[] = {12, 11, 10};
	struct pcp *pcp = bare(PCP_6_6, (struct pcp_limits){63, 252, 252});

	(void)state;
	pcp->count = pcp->phantoms = 248;
	fill(pcp, 0, 10, 3);
	assert_true(pcp_push(pcp, 0, 0, 1));
	assert_int_equal(pcp_release_size(pcp, 0, 0), 63); /* 252 in all */
	assert_int_equal(pcp_pop(pcp, 0, 0), 1);
	assert_drained(pcp, 0, 63, expected, 3);
	assert_int_equal(pcp->count, 248);
	assert_int_equal(pcp_known(pcp), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_and_highs_follow_from_the_zone),
		cmocka_unit_test(unknown_watermarks_are_those_of_boot),
		cmocka_unit_test(lists_are_numbered_as_the_kernel_does),
		cmocka_unit_test(refills_double_to_32_batches),
		cmocka_unit_test(refills_stay_a_batch_below_high),
		cmocka_unit_test(older_refills_have_one_size),
		cmocka_unit_test(older_drains_double),
		cmocka_unit_test(small_blocks_flush_a_busy_set),
		cmocka_unit_test(releases_leave_what_was_freed_last),
		cmocka_unit_test(high_decays_by_an_eighth),
		cmocka_unit_test(idle_sets_of_other_nodes_are_drained),
		cmocka_unit_test(drains_go_up_from_the_freed_list_coldest_first),
		cmocka_unit_test(a_drain_may_overshoot_by_part_of_a_block),
		cmocka_unit_test(drains_of_5_10_go_round),
		cmocka_unit_test(a_full_pool_refuses_and_loses_nothing),
		cmocka_unit_test(phantoms_count_but_never_leave),
		cmocka_unit_test(each_generation_agrees_with_its_model),
		cmocka_unit_test(odd_limits_agree_with_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
