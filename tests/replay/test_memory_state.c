/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "replay/memory_state.h"
#include "tests/effort.h"

#define FRAMES	       16384 /* 64 MiB */
#define STATE(v, name) ((v)[METRIC_##name - METRIC_STATE_FIRST])

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

/* Two zones with a border in the middle of an order-10 block, a hole, reserved and offline frames. */
static struct machine *odd_machine(void)
{
	struct zone low = {.start = 1, .end = 4096 + 512 + 3, .type = ZONE_DMA};
	struct zone high = {.start = 4096 + 512 + 3, .end = FRAMES - 100, .type = ZONE_NORMAL};
	struct machine *m;

	assert_int_equal(machine_create(2, 1, &m, NULL), 0);
	assert_int_equal(machine_add_zone(m, &low, NULL), 0);
	assert_int_equal(machine_add_zone(m, &high, NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){100, 133}, ABSENT_RESERVED, NULL),
			 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){6000, 7000}, ABSENT_HOLE, NULL),
			 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){12288, 13000}, ABSENT_OFFLINE, NULL), 0);
	return m;
}

/* ---- the slow, obvious model: a byte per frame ---- */

enum cell {
	CELL_ABSENT,
	CELL_FREE,
	CELL_MOVABLE,
	CELL_UNMOVABLE,
};

struct model {
	const struct machine *m;
	uint8_t cell[FRAMES];
};

static void model_init(struct model *model, const struct machine *m)
{
	model->m = m;
	for (pfn_t pfn = 0; pfn < FRAMES; pfn++)
		model->cell[pfn] = machine_managed_in(m, pfn, pfn + 1) ? CELL_FREE : CELL_ABSENT;
}

static bool model_all(const struct model *model, pfn_t pfn, uint64_t n, enum cell cell)
{
	for (uint64_t i = 0; i < n; i++)
		if (pfn + i >= FRAMES || model->cell[pfn + i] != cell)
			return false;
	return true;
}

static void model_set(struct model *model, pfn_t pfn, unsigned int order, enum cell cell)
{
	memset(&model->cell[pfn], (int)cell, UINT64_C(1) << order);
}

static bool model_one_zone(const struct model *model, pfn_t pfn, uint64_t n)
{
	return machine_zone_of(model->m, pfn) == machine_zone_of(model->m, pfn + n - 1);
}

static void model_free_blocks(const struct model *model, uint64_t blocks[NR_ORDERS])
{
	memset(blocks, 0, sizeof(uint64_t) * NR_ORDERS);
	for (pfn_t pfn = 0; pfn < FRAMES;) {
		int order = MAX_ORDER;

		if (model->cell[pfn] != CELL_FREE) {
			pfn++;
			continue;
		}
		while (!is_aligned(pfn, UINT64_C(1) << order) ||
		       !model_all(model, pfn, UINT64_C(1) << order, CELL_FREE) ||
		       !model_one_zone(model, pfn, UINT64_C(1) << order))
			order--;
		blocks[order]++;
		pfn += UINT64_C(1) << order;
	}
}

static int by_held(const void *a, const void *b)
{
	const unsigned int *x = a, *y = b;

	return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* The design's loop, literally. */
static uint64_t model_moves(unsigned int (*a)[2], size_t n, bool skip_fixed)
{
	uint64_t moves = 0;
	size_t l = 0, r = n - 1;

	while (n && l < r) {
		unsigned int d;

		if (skip_fixed && a[l][1]) {
			l++;
			continue;
		}
		d = a[l][0] < 512 - a[r][0] ? a[l][0] : 512 - a[r][0];
		a[l][0] -= d;
		a[r][0] += d;
		moves += d;
		if (a[r][0] == 512)
			r--;
		if (a[l][0] == 0)
			l++;
	}
	return moves;
}

struct model_counts {
	uint64_t free_frames, free_huge, unmovable, unmovable_blocks, mixed, pinned;
	uint64_t moves, moves_movable;
};

static void model_count(const struct model *model, struct model_counts *c)
{
	unsigned int a[FRAMES / 512][2], sorted[FRAMES / 512][2];
	size_t n = 0;

	memset(c, 0, sizeof(*c));
	for (unsigned int b = 0; b < FRAMES / 512; b++) {
		unsigned int n_of[4] = {0};

		for (unsigned int i = 0; i < 512; i++)
			n_of[model->cell[b * 512 + i]]++;
		c->free_frames += n_of[CELL_FREE];
		c->unmovable += n_of[CELL_UNMOVABLE];
		if (n_of[CELL_ABSENT])
			continue;
		c->free_huge += n_of[CELL_FREE] == 512;
		c->unmovable_blocks += n_of[CELL_UNMOVABLE] > 0;
		c->mixed += n_of[CELL_UNMOVABLE] && n_of[CELL_MOVABLE];
		c->pinned += n_of[CELL_UNMOVABLE] && !n_of[CELL_MOVABLE];
		a[n][0] = 512 - n_of[CELL_FREE];
		a[n++][1] = n_of[CELL_UNMOVABLE] > 0;
	}
	qsort(a, n, sizeof(a[0]), by_held);
	memcpy(sorted, a, sizeof(a));
	c->moves = model_moves(a, n, false);
	c->moves_movable = model_moves(sorted, n, true);
}

static double model_share(const struct model *model, uint64_t frames, uint64_t free_frames)
{
	uint64_t in = 0;

	for (pfn_t pfn = 0; pfn + frames <= FRAMES; pfn += frames)
		in += model_all(model, pfn, frames, CELL_FREE) ? frames : 0;
	return (double)in / (double)free_frames;
}

static void compare(struct memory_state *s, const struct model *model)
{
	double v[METRIC_STATE_COUNT];
	uint64_t blocks[NR_ORDERS], expected[NR_ORDERS];
	struct model_counts c;

	memory_state_metrics(s, v, blocks);
	model_count(model, &c);
	assert_true(STATE(v, free_frames) == (double)c.free_frames);
	assert_true(STATE(v, free_huge) == (double)c.free_huge);
	assert_true(STATE(v, unmovable_frames) == (double)c.unmovable);
	assert_true(STATE(v, unmovable_blocks) == (double)c.unmovable_blocks);
	assert_true(STATE(v, mixed_blocks) == (double)c.mixed);
	assert_true(STATE(v, pinned_huge) == (double)c.pinned);
	assert_true(STATE(v, moves_to_compact) == (double)c.moves);
	assert_true(STATE(v, moves_to_compact_movable) == (double)c.moves_movable);
	if (c.free_frames) {
		assert_true(STATE(v, free_share_2m) == model_share(model, 512, c.free_frames));
		assert_true(STATE(v, free_share_16m) == model_share(model, 4096, c.free_frames));
		assert_true(STATE(v, free_share_1g) == 0);
	}
	if (c.free_frames < 512)
		assert_true(isnan(STATE(v, huge_score)));
	else
		assert_true(STATE(v, huge_score) ==
			    100.0 * (double)c.free_huge / (double)(c.free_frames / 512));
	model_free_blocks(model, expected);
	for (unsigned int o = 0; o < NR_ORDERS; o++) {
		bool any = false;

		assert_int_equal(blocks[o], expected[o]);
		for (unsigned int k = o; k < NR_ORDERS; k++)
			any |= expected[k] > 0;
		if (memory_state_has_free_block(s, o) != any)
			fail_msg("order %u: has_free_block disagrees", o);
	}
}

struct held {
	pfn_t pfn;
	unsigned int order;
	bool movable;
};

static void hold_some(struct memory_state *s, struct model *model, struct held *held, size_t *n)
{
	unsigned int order =
		(unsigned int)(random_below(3) ? random_below(4) : random_below(NR_ORDERS));
	pfn_t pfn = align_down(random_below(FRAMES), UINT64_C(1) << order);
	bool movable = random_below(3), is_free;

	is_free = model_all(model, pfn, UINT64_C(1) << order, CELL_FREE);
	assert_int_equal(memory_state_is_free(s, pfn, order), is_free);
	if (!is_free)
		return;
	memory_state_hold(s, pfn, order, movable);
	model_set(model, pfn, order, movable ? CELL_MOVABLE : CELL_UNMOVABLE);
	held[(*n)++] = (struct held){pfn, order, movable};
}

/* Release an object, or half of it. */
static void release_some(struct memory_state *s, struct model *model, struct held *held, size_t *n)
{
	size_t i = (size_t)random_below(*n);
	struct held *h = &held[i];
	pfn_t pfn = h->pfn;

	if (h->order && random_below(4) == 0) {
		h->order--;
		if (random_below(2))
			h->pfn += UINT64_C(1) << h->order;
		else
			pfn += UINT64_C(1) << h->order;
		memory_state_release(s, pfn, h->order, h->movable);
		model_set(model, pfn, h->order, CELL_FREE);
		return;
	}
	assert_true(memory_state_is_taken(s, pfn, h->order));
	memory_state_release(s, pfn, h->order, h->movable);
	model_set(model, pfn, h->order, CELL_FREE);
	*h = held[--*n];
}

static void all_metrics_agree_with_a_byte_per_frame(void **unused)
{
	struct machine *m = odd_machine();
	struct held *held = calloc(FRAMES, sizeof(*held));

	(void)unused;
	for (uint64_t seed = 1; seed <= 6 * test_effort(); seed++) {
		struct memory_state *s;
		struct model model;
		size_t n = 0;

		random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
		print_message("# seed %u\n", (unsigned int)seed);
		assert_int_equal(memory_state_create(m, &s, NULL), 0);
		model_init(&model, m);
		compare(s, &model);
		for (unsigned int step = 0; step < 12000; step++) {
			/* Fill, then churn, then empty. */
			if (n && random_below(100) < (step < 4000 ? 10U : step < 8000 ? 50U : 90U))
				release_some(s, &model, held, &n);
			else
				hold_some(s, &model, held, &n);
			if (step % 400 == 0)
				compare(s, &model);
		}
		compare(s, &model);
		memory_state_destroy(s);
	}
	free(held);
	machine_destroy(m);
}

static void memory_comes_and_goes_around_held_frames(void **unused)
{
	struct machine *m = odd_machine();
	struct memory_state *s;
	struct model model;

	(void)unused;
	assert_int_equal(memory_state_create(m, &s, NULL), 0);
	model_init(&model, m);
	/* 12288..13000 is offline; 13000 on is there, and held in the very same 2 MiB block. */
	memory_state_hold(s, 13000, 3, false);
	model_set(&model, 13000, 3, CELL_UNMOVABLE);
	memory_state_online(s, (struct pfn_range){12288, 13008});
	memset(&model.cell[12288], CELL_FREE, 13000 - 12288);
	compare(s, &model);
	/* A second time changes nothing. */
	memory_state_online(s, (struct pfn_range){12000, 13100});
	compare(s, &model);
	/* Going, only what is free goes. */
	memory_state_offline(s, (struct pfn_range){12990, 13010});
	memset(&model.cell[12990], CELL_ABSENT, 10);
	memset(&model.cell[13008], CELL_ABSENT, 2);
	compare(s, &model);
	/* Beyond the machine nothing happens. */
	memory_state_online(s, (struct pfn_range){FRAMES - 50, FRAMES + (1 << 20)});
	compare(s, &model);
	memory_state_destroy(s);
	machine_destroy(m);
}

static void indices_follow_the_kernels_integer_arithmetic(void **unused)
{
	double unusable[NR_ORDERS], fragmentation[NR_ORDERS];
	const uint64_t four_pages[NR_ORDERS] = {4}, none[NR_ORDERS] = {0};
	const uint64_t mixed[NR_ORDERS] = {3, 1, 0, 2};

	(void)unused;
	free_block_indices(four_pages, unusable, fragmentation);
	assert_true(fragmentation[2] == 0.5);
	assert_true(unusable[2] == 1.0);
	assert_true(unusable[0] == 0.0);
	assert_true(fragmentation[0] == -1.0);
	free_block_indices(none, unusable, fragmentation);
	assert_true(unusable[0] == 1.0);
	assert_true(fragmentation[5] == 0.0);
	/* F = 3 + 2 + 16 = 21, T = 6; order 3: S = 2, (21 - 16) * 1000 / 21 = 238. */
	free_block_indices(mixed, unusable, fragmentation);
	assert_true(unusable[3] == 0.238);
	assert_true(fragmentation[3] == -1.0);
	/* order 4: 1000 - (1000 + 21 * 1000 / 16) / 6 = 1000 - (1000 + 1312) / 6 = 615. */
	assert_true(fragmentation[4] == 0.615);
}

static void a_snapshot_loads_as_its_objects(void **unused)
{
	struct machine *m = odd_machine();
	uint8_t *cells = calloc(1, FRAMES);
	struct memory_state *s;
	struct frame_map *map;
	struct model model;

	(void)unused;
	model_init(&model, m);
	for (pfn_t pfn = 1; pfn < machine_end(m); pfn++)
		cells[pfn - 1] = model.cell[pfn] == CELL_ABSENT ? FRAME_HOLE : FRAME_FREE;
	memset(&cells[2048 - 1], FRAME_MOVABLE | 9 << 4, 512);
	model_set(&model, 2048, 9, CELL_MOVABLE);
	memset(&cells[5000 - 1], FRAME_RECLAIMABLE, 8);
	model_set(&model, 5000, 3, CELL_UNMOVABLE);
	memset(&cells[5008 - 1], FRAME_PARKED, 8);
	assert_int_equal(frame_map_from_bytes(m, cells, 0, &map, NULL), 0);
	assert_int_equal(memory_state_create(m, &s, NULL), 0);
	memory_state_load(s, map);
	compare(s, &model);
	memory_state_destroy(s);
	frame_map_destroy(map);
	free(cells);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_metrics_agree_with_a_byte_per_frame),
		cmocka_unit_test(memory_comes_and_goes_around_held_frames),
		cmocka_unit_test(indices_follow_the_kernels_integer_arithmetic),
		cmocka_unit_test(a_snapshot_loads_as_its_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
