/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the trace file share: a machine, events like a kernel's and events of all
 * extremes, files in a directory of their own, a file's bytes.
 */
#ifndef TESTS_TRACES_TRACE_FIXTURE_H
#define TESTS_TRACES_TRACE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "sim/frame_map.h"
#include "traces/file/trace.h"
#include "traces/file/trace_codec.h"

#define FIXTURE_CPUS   3U
#define FIXTURE_FRAMES 65536U

struct fixture {
	char directory[128], path[160];
	struct machine *machine;
	struct trace_header header;
};

/* xorshift64*: small, seeded, the same everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static inline uint64_t below(uint64_t *state, uint64_t n)
{
	return next_random(state) % n;
}

static inline struct machine *fixture_machine(void)
{
	static const struct zone zones[] = {
		{.start = 1, .end = 4096, .present = 4000, .managed = 3900, .type = ZONE_DMA},
		{.start = 4096,
		 .end = 32768,
		 .present = 28672,
		 .managed = 28000,
		 .type = ZONE_NORMAL},
		{.start = 32768,
		 .end = FIXTURE_FRAMES,
		 .present = 32768,
		 .managed = 32768,
		 .watermark = {1, 2, 3, UINT64_MAX},
		 .lowmem_reserve = {9, 8, 7, 6, 5, 4},
		 .node = 1,
		 .type = ZONE_NORMAL},
	};
	struct machine *m;

	assert_int_equal(machine_create(FIXTURE_CPUS, 2, &m, NULL), 0);
	m->node_of_cpu[2] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(m, &zones[i], NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){1, 17}, ABSENT_RESERVED, NULL),
			 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){40, 100}, ABSENT_HOLE, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){60000, 65536}, ABSENT_OFFLINE, NULL), 0);
	return m;
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(f);
	snprintf(f->directory, sizeof(f->directory), "%s/quire-trace-XXXXXX", tmp ? tmp : P_tmpdir);
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/t.quire", f->directory);
	f->machine = fixture_machine();
	f->header = (struct trace_header){
		.compatible_features = TRACE_HAS_IRQ_FLAGS,
		.kernel = "6.18.44",
		.recorder = "test",
		.clock = "mono",
		.note = "made by a test",
		.recorded_s = 1234567890,
		.machine = f->machine,
	};
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	machine_destroy(f->machine);
	/* Fails, and the test with it, if anything else was left. */
	int ret = rmdir(f->directory);

	free(f);
	return ret;
}

/* Events of a toy kernel: per-CPU lists refilled with ascending frames, drained when long. */
static inline struct event *kernel_events(uint64_t seed, size_t n)
{
	struct event *events = calloc(n + 1, sizeof(*events));
	uint64_t *list = malloc(FIXTURE_CPUS * FIXTURE_FRAMES * sizeof(*list));
	uint64_t *live = malloc(FIXTURE_FRAMES * sizeof(*live));
	size_t listed[FIXTURE_CPUS] = {0}, nr_live = 0, fresh = 0;
	uint64_t time = 1000000, random = seed;

	assert_true(events && list && live);
	for (size_t i = 0; i < n; i++) {
		struct event *e = &events[i];
		uint16_t cpu = (uint16_t)below(&random, FIXTURE_CPUS);
		uint64_t *mine = list + cpu * FIXTURE_FRAMES;

		time += below(&random, 20) ? below(&random, 900) : below(&random, 5000000);
		*e = (struct event){.time_ns = time, .cpu = cpu, .context = 1 + cpu * 7U};
		if (!listed[cpu] && fresh < FIXTURE_FRAMES) {
			e->kind = EVENT_ZONE_LOCKED;
			e->flags = EVENT_PCPU_REFILL;
			e->migratetype = MIGRATE_MOVABLE;
			e->pfn = fresh++;
			mine[listed[cpu]++] = e->pfn;
		} else if (listed[cpu] > 64) {
			e->kind = EVENT_PCPU_DRAIN;
			e->migratetype = MIGRATE_MOVABLE;
			e->pfn = mine[0];
			memmove(mine, mine + 1, --listed[cpu] * sizeof(*mine));
		} else if (listed[cpu] && below(&random, 2)) {
			e->kind = EVENT_ALLOC;
			e->migratetype = MIGRATE_MOVABLE;
			e->gfp = 0x140dca;
			e->pfn = mine[--listed[cpu]];
			live[nr_live++] = e->pfn;
		} else if (nr_live) {
			size_t which = below(&random, 3) ? nr_live - 1 : below(&random, nr_live);

			e->kind = EVENT_FREE;
			e->flags = below(&random, 8) ? 0 : EVENT_SOFTIRQ;
			e->pfn = live[which];
			live[which] = live[--nr_live];
			mine[listed[cpu]++] = e->pfn;
		} else {
			e->kind = EVENT_ALLOC_FAILED;
			e->order = 9;
			e->pfn = PFN_NONE;
		}
	}
	free(list);
	free(live);
	return events;
}

static inline uint64_t extreme(uint64_t *random, uint64_t max)
{
	switch (below(random, 4)) {
	case 0:
		return 0;
	case 1:
		return max;
	case 2:
		return max ? below(random, max) : 0;
	default:
		return next_random(random) & low_bits((unsigned int)below(random, 65)) & max;
	}
}

/* Valid events whose fields know no pattern, extremes included; @end: of the frames. */
static inline struct event *wild_events(uint64_t seed, size_t n, uint64_t end, uint32_t cpus)
{
	struct event *events = calloc(n + 1, sizeof(*events));
	uint64_t random = seed, time = 0;

	assert_non_null(events);
	for (size_t i = 0; i < n; i++) {
		struct event *e = &events[i];

		e->kind = (uint8_t)(1 + below(&random, EVENT_KINDS - 1));
		e->order = (uint8_t)below(&random, end > UINT64_C(1) << 31 ? 32 : 12);
		e->migratetype = (uint8_t)below(&random, MIGRATE_TYPES + 1);
		if (e->migratetype == MIGRATE_TYPES)
			e->migratetype = MIGRATE_UNKNOWN;
		e->flags = (uint8_t)next_random(&random);
		e->gfp = (uint32_t)extreme(&random, UINT32_MAX);
		e->context = (uint32_t)extreme(&random, UINT32_MAX);
		e->cpu = (uint16_t)extreme(&random, cpus - 1);
		e->arg = below(&random, 2) ? 0 : extreme(&random, UINT64_MAX);
		e->pfn = event_has_pfn(e->kind) ? extreme(&random, end - (UINT64_C(1) << e->order))
						: PFN_NONE;
		if (event_kinds[e->kind].arg == EVENT_ARG_FRAMES)
			e->arg = 1 + extreme(&random, end - e->pfn - 1);
		if (event_kinds[e->kind].arg == EVENT_ARG_PFN)
			e->arg = extreme(&random, end - (UINT64_C(1) << e->order));
		time += extreme(&random, (TRACE_TIME_MAX - time) >> (below(&random, 50)));
		e->time_ns = time;
	}
	return events;
}

static inline bool same_event(const struct event *a, const struct event *b)
{
	return a->time_ns == b->time_ns && a->pfn == b->pfn && a->arg == b->arg &&
	       a->gfp == b->gfp && a->context == b->context && a->cpu == b->cpu &&
	       a->kind == b->kind && a->order == b->order && a->migratetype == b->migratetype &&
	       a->flags == b->flags;
}

/* A map with allocated, parked and free runs, known in hindsight or not, pageblock types and zone counts; about one in @sparse
 * groups of 8 frames is not free. */
static inline struct frame_map *fixture_map(const struct machine *m, uint64_t seed,
					    unsigned int sparse)
{
	pfn_t start = machine_start(m), end = machine_end(m);
	uint8_t *cells = malloc(end - start);
	struct frame_map *fresh, *map;
	uint64_t random = seed;

	assert_non_null(cells);
	assert_int_equal(frame_map_fresh(m, &fresh, NULL), 0);
	frame_map_to_bytes(fresh, cells);
	frame_map_destroy(fresh);
	for (pfn_t at = align_up(start, 8); at + 8 <= end; at += 8) {
		uint8_t cell = (uint8_t)below(&random, 4);

		if (below(&random, sparse) || cells[at - start] != FRAME_FREE ||
		    cells[at + 7 - start] != FRAME_FREE)
			continue;
		if (cell != FRAME_FREE && below(&random, 2))
			cell |= 3 << 4; /* one object of order 3 */
		memset(cells + (at - start), cell, 8);
		if (!below(&random, 4))
			cells[at + 3 - start] = (uint8_t)(FRAME_PARKED | below(&random, 2) << 4);
		if (cell == FRAME_FREE && !below(&random, 4))
			cells[at + 5 - start] = FRAME_FREE | FRAME_HINDSIGHT << 4;
	}
	assert_int_equal(frame_map_from_bytes(m, cells, 77 + seed, &map, NULL), 0);
	assert_int_equal(frame_map_add_zones(map, NULL), 0);
	assert_int_equal(frame_map_add_pageblocks(map, NULL), 0);
	for (size_t i = 0; i < map->nr_pageblocks; i++)
		if (below(&random, 3))
			map->pageblock_type[i] = (uint8_t)below(&random, MIGRATE_TYPES);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone_counts *z = &map->zones[i];

		z->managed = next_random(&random);
		z->free_frames = UINT64_MAX;
		z->nr_free[10] = 5 + i;
		z->free_by_type[2][3] = next_random(&random);
		z->blocks_by_type[MIGRATE_TYPES - 1] = 1;
		z->watermark.low = 12;
		z->boost = 3;
		z->pcp[1] = (struct pcp_state){1, 2, 3, 4, UINT32_MAX};
	}
	free(cells);
	return map;
}

static inline void assert_same_map(const struct frame_map *a, const struct frame_map *b)
{
	assert_int_equal(a->time_ns, b->time_ns);
	assert_int_equal(a->nr_runs, b->nr_runs);
	for (size_t i = 0; i < a->nr_runs; i++) {
		assert_int_equal(a->runs[i].start, b->runs[i].start);
		assert_int_equal(a->runs[i].frames, b->runs[i].frames);
		assert_int_equal(a->runs[i].state, b->runs[i].state);
		assert_int_equal(a->runs[i].order, b->runs[i].order);
	}
	assert_int_equal(!a->pageblock_type, !b->pageblock_type);
	if (a->pageblock_type) {
		assert_int_equal(a->nr_pageblocks, b->nr_pageblocks);
		assert_memory_equal(a->pageblock_type, b->pageblock_type, a->nr_pageblocks);
	}
	assert_int_equal(!a->zones, !b->zones);
	for (uint32_t i = 0; a->zones && i < a->machine->nr_zones; i++) {
		const struct zone_counts *x = &a->zones[i], *y = &b->zones[i];

		assert_int_equal(x->managed, y->managed);
		assert_int_equal(x->free_frames, y->free_frames);
		assert_memory_equal(x->nr_free, y->nr_free, sizeof(x->nr_free));
		assert_memory_equal(x->free_by_type, y->free_by_type, sizeof(x->free_by_type));
		assert_memory_equal(x->blocks_by_type, y->blocks_by_type,
				    sizeof(x->blocks_by_type));
		assert_memory_equal(&x->watermark, &y->watermark, sizeof(x->watermark));
		assert_int_equal(x->boost, y->boost);
		assert_memory_equal(x->pcp, y->pcp, a->machine->nr_cpus * sizeof(*x->pcp));
	}
}

static inline void assert_same_machine(const struct machine *a, const struct machine *b)
{
	assert_int_equal(a->page_shift, b->page_shift);
	assert_int_equal(a->max_order, b->max_order);
	assert_int_equal(a->pageblock_order, b->pageblock_order);
	assert_int_equal(a->nr_cpus, b->nr_cpus);
	assert_int_equal(a->nr_nodes, b->nr_nodes);
	assert_int_equal(a->nr_zones, b->nr_zones);
	assert_int_equal(a->nr_absent, b->nr_absent);
	assert_memory_equal(a->node_of_cpu, b->node_of_cpu, a->nr_cpus * sizeof(*a->node_of_cpu));
	for (uint32_t i = 0; i < a->nr_zones; i++) {
		const struct zone *x = &a->zones[i], *y = &b->zones[i];

		assert_int_equal(x->start, y->start);
		assert_int_equal(x->end, y->end);
		assert_int_equal(x->present, y->present);
		assert_int_equal(x->managed, y->managed);
		assert_int_equal(x->node, y->node);
		assert_int_equal(x->type, y->type);
		assert_memory_equal(&x->watermark, &y->watermark, sizeof(x->watermark));
		assert_memory_equal(x->lowmem_reserve, y->lowmem_reserve,
				    sizeof(x->lowmem_reserve));
	}
	for (size_t i = 0; i < a->nr_absent; i++) {
		assert_int_equal(a->absent[i].range.start, b->absent[i].range.start);
		assert_int_equal(a->absent[i].range.end, b->absent[i].range.end);
		assert_int_equal(a->absent[i].why, b->absent[i].why);
	}
}

/* Write @events to f->path, both snapshots and a mark's name if @maps. */
static inline void write_trace(struct fixture *f, const struct trace_write_options *options,
			       const struct event *events, size_t n, bool maps,
			       struct trace_totals *totals)
{
	struct trace_writer *w;
	struct error err = {0};
	uint64_t id;

	if (trace_writer_create(f->path, &f->header, options, &w, &err))
		fail_msg("%s", err.text);
	for (int which = TRACE_START; which <= TRACE_END; which++) {
		struct frame_map *map = maps ? fixture_map(f->machine, 5, 300) : NULL;

		if (map && which == TRACE_END)
			map->zones[0].boost++;
		if (map && trace_writer_snapshot(w, (enum trace_snapshot)which, map, &err))
			fail_msg("%s", err.text);
		frame_map_destroy(map);
		if (which == TRACE_START && trace_writer_events(w, events, n, &err))
			fail_msg("%s", err.text);
	}
	if (maps)
		assert_int_equal(trace_writer_mark_name(w, "phase one", &id, &err), 0);
	if (trace_writer_close(w, totals, &err))
		fail_msg("%s", err.text);
}

static inline uint8_t *load_file(const char *path, size_t *n)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	long size;

	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	rewind(file);
	data = malloc((size_t)size + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)size, file), (size_t)size);
	fclose(file);
	*n = (size_t)size;
	return data;
}

static inline void store_file(const char *path, const uint8_t *data, size_t n)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

/* A whole block, in pieces of an odd size. Stops at the first error. */
static inline int decode_block(struct block_decoder *decoder, const struct bytes *payload,
			       const struct event_limits *limits, struct event *out, size_t *n,
			       struct error *err)
{
	int ret = block_decode_begin(decoder, payload->data, payload->size, limits, err);
	size_t raw = 1, some;

	*n = 0;
	while (!ret && raw) {
		ret = block_decode_next(decoder, limits, out + *n, 777, &raw, &some, err);
		*n += some;
	}
	return ret;
}

#endif
