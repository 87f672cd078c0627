/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "sim/gfp.h"
#include "tests/effort.h"
#include "tests/skip.h"
#include "traces/file/trace.h"
#include "traces/file/trace_layout.h"
#include "traces/record/record.h"
#include "traces/record/record_fold.h"
#include "traces/record/record_tracefs.h"

/* ---- a small machine, scanned ---- */

#define START  UINT64_C(1024)
#define FRAMES UINT64_C(8192)
#define END    (START + FRAMES)
#define STAMP  UINT64_C(1000000000) /* of the only chunk */

struct small {
	struct machine *machine;
	struct frame_scan *scan;
	struct fold *fold;
};

static void small_create(struct small *s)
{
	const struct zone zone = {.start = START,
				  .end = END,
				  .present = FRAMES,
				  .managed = FRAMES,
				  .type = ZONE_NORMAL};

	assert_int_equal(machine_create(2, 1, &s->machine, NULL), 0);
	assert_int_equal(machine_add_zone(s->machine, &zone, NULL), 0);
	assert_int_equal(frame_scan_create(s->machine, &s->scan, NULL), 0);
	assert_int_equal(fold_create(s->machine, &s->fold, NULL), 0);
	assert_int_equal(s->scan->nr_chunks, 1);
	s->scan->chunk_time_ns[0] = STAMP;
	s->scan->end_ns = STAMP + 1000000000;
}

static void small_destroy(struct small *s)
{
	fold_destroy(s->fold);
	frame_scan_destroy(s->scan);
	machine_destroy(s->machine);
}

static void set_bare(struct small *s, pfn_t pfn)
{
	s->scan->cells[pfn - START] = FRAME_UNMOVABLE;
	s->scan->bare[(pfn - START) / 64] |= UINT64_C(1) << ((pfn - START) % 64);
}

static unsigned int cell(const struct small *s, pfn_t pfn)
{
	return s->scan->cells[pfn - START];
}

static struct event make(uint8_t kind, uint64_t time_ns, pfn_t pfn, uint8_t order)
{
	return (struct event){.kind = kind, .time_ns = time_ns, .pfn = pfn, .order = order};
}

static struct event make_alloc(uint64_t time_ns, pfn_t pfn, uint8_t order, uint32_t gfp)
{
	struct event e = make(EVENT_ALLOC, time_ns, pfn, order);

	e.gfp = gfp;
	e.migratetype = (uint8_t)gfp_migratetype(gfp);
	return e;
}

/* ---- folding into the scan ---- */

static void events_make_states(void **state)
{
	static const struct {
		uint8_t kind, order;
		uint32_t gfp;
		unsigned int cell;
	} cases[] = {
		{EVENT_ALLOC, 2, GFP_MOVABLE | GFP_HIGHMEM, FRAME_MOVABLE | 2 << 4},
		{EVENT_ALLOC, 0, GFP_RECLAIMABLE, FRAME_RECLAIMABLE},
		{EVENT_ALLOC, 10, GFP_IO, FRAME_UNMOVABLE | 10 << 4},
		{EVENT_FREE, 0, 0, FRAME_PARKED},
		{EVENT_FREE, 3, 0, FRAME_PARKED},
		{EVENT_FREE, 4, 0, FRAME_FREE}, /* no per-CPU list of this order */
		{EVENT_FREE, 9, 0, FRAME_PARKED},
		{EVENT_FREE, 10, 0, FRAME_FREE},
		{EVENT_PCPU_DRAIN, 1, 0, FRAME_FREE},
		{EVENT_ZONE_LOCKED, 1, 0, FRAME_PARKED},
		{EVENT_COMPACTION, 1, 0, FRAME_UNMOVABLE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct event e = make(cases[i].kind, STAMP, 2048, cases[i].order);
		struct small s;

		small_create(&s);
		e.gfp = cases[i].gfp;
		fold_into_scan(s.scan, &e);
		assert_int_equal(cell(&s, 2047), FRAME_UNMOVABLE);
		assert_int_equal(cell(&s, 2048), cases[i].cell);
		assert_int_equal(cell(&s, 2048 + (1U << cases[i].order) - 1), cases[i].cell);
		assert_int_equal(cell(&s, 2048 + (1U << cases[i].order)), FRAME_UNMOVABLE);
		small_destroy(&s);
	}
}

static void an_event_from_before_the_reading_changes_nothing(void **state)
{
	struct event e = make(EVENT_FREE, STAMP - FOLD_SLACK_NS - 1, 2048, 0);
	struct small s;

	(void)state;
	small_create(&s);
	set_bare(&s, 2048);
	fold_into_scan(s.scan, &e);
	assert_int_equal(cell(&s, 2048), FRAME_UNMOVABLE);
	/* A stamp comes a little before its effect, so a little earlier counts. */
	e.time_ns++;
	fold_into_scan(s.scan, &e);
	assert_int_equal(cell(&s, 2048), FRAME_PARKED);
	/* And what events tell is no longer bare. */
	assert_int_equal(s.scan->bare[1024 / 64], 0);
	small_destroy(&s);
}

static void a_free_frame_stays_free_when_its_free_is_folded(void **state)
{
	const struct event e = make(EVENT_FREE, STAMP, 2048, 0);
	struct small s;

	(void)state;
	small_create(&s);
	s.scan->cells[2048 - START] = FRAME_FREE;
	fold_into_scan(s.scan, &e);
	assert_int_equal(cell(&s, 2048), FRAME_FREE);
	small_destroy(&s);
}

static void events_outside_the_machine_are_passed_over(void **state)
{
	const struct event wrong[] = {
		make(EVENT_FREE, STAMP, START - 1, 0),	 make(EVENT_FREE, STAMP, END, 0),
		make(EVENT_FREE, STAMP, PFN_NONE, 0),	 make(EVENT_FREE, STAMP, END - 512, 10),
		make(EVENT_FREE, STAMP, START, 255),	 make(EVENT_ALLOC, STAMP, PFN_MAX, 63),
		make(EVENT_ALLOC, STAMP, UINT64_MAX, 9),
	};
	struct small s;

	(void)state;
	small_create(&s);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		fold_into_scan(s.scan, &wrong[i]);
		fold_observe(s.fold, &wrong[i]);
		fold_look_ahead(s.fold, &wrong[i]);
	}
	for (pfn_t pfn = START; pfn < END; pfn++)
		assert_int_equal(cell(&s, pfn), FRAME_UNMOVABLE);
	small_destroy(&s);
}

/* A claim of a whole pageblock is announced by extfrag alone; one below pageblock size is not about
   the block it names. */
static void a_claim_or_steal_parks_the_block_it_takes(void **state)
{
	static const struct {
		unsigned int fallback_order;
		bool change;
		unsigned int cell;
	} cases[] = {{10, true, FRAME_PARKED},
		     {9, true, FRAME_PARKED},
		     {8, true, FRAME_FREE},
		     {3, false, FRAME_PARKED}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct event e = make(EVENT_EXTFRAG, STAMP, 2048, 1);
		struct small s;

		small_create(&s);
		memset(s.scan->cells, FRAME_FREE, FRAMES);
		e.arg = event_extfrag_arg(cases[i].fallback_order, MIGRATE_MOVABLE,
					  cases[i].change);
		fold_into_scan(s.scan, &e);
		assert_int_equal(cell(&s, 2048), cases[i].cell);
		assert_int_equal(cell(&s, 2049), cases[i].cell);
		assert_int_equal(cell(&s, 2050), FRAME_FREE);
		small_destroy(&s);
	}
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* The slow, obvious way: what did the last event say that covers this frame? */
static unsigned int last_word(const struct event *events, size_t n, pfn_t pfn)
{
	unsigned int now = FRAME_UNMOVABLE;

	for (size_t i = 0; i < n; i++) {
		const struct event *e = &events[i];

		if (pfn < e->pfn || pfn >= e->pfn + (1U << e->order))
			continue;
		if (e->kind == EVENT_ALLOC)
			now = FRAME_MOVABLE | (unsigned int)e->order << 4;
		else if (e->kind == EVENT_PCPU_DRAIN)
			now = FRAME_FREE;
		else if (e->kind == EVENT_ZONE_LOCKED)
			now = FRAME_PARKED;
		else if (now != FRAME_FREE)
			now = e->order <= 3 || e->order == 9 ? FRAME_PARKED : FRAME_FREE;
	}
	return now;
}

static void the_last_event_of_a_frame_wins(void **state)
{
	static const uint8_t kinds[] = {EVENT_ALLOC, EVENT_FREE, EVENT_PCPU_DRAIN,
					EVENT_ZONE_LOCKED};
	struct event events[300];
	uint64_t seed = 0x9e3779b97f4a7c15;

	(void)state;
	for (int round = 0; round < 20 * (int)test_effort(); round++) {
		uint64_t first_seed = seed;
		struct small s;

		small_create(&s);
		for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
			uint8_t order = (uint8_t)(next_random(&seed) % 11);
			uint64_t block = next_random(&seed) % (FRAMES >> order);
			uint8_t kind = kinds[next_random(&seed) % ARRAY_SIZE(kinds)];

			events[i] = make(kind, STAMP + i, START + (block << order), order);
			events[i].gfp = GFP_MOVABLE;
			fold_into_scan(s.scan, &events[i]);
		}
		for (pfn_t pfn = START; pfn < END; pfn++)
			if (cell(&s, pfn) != last_word(events, ARRAY_SIZE(events), pfn))
				fail_msg("seed %#" PRIx64 ": frame %" PRIu64 " is %#x", first_seed,
					 pfn, cell(&s, pfn));
		small_destroy(&s);
	}
}

/* ---- what events prove ---- */

#define LATER(state) ((state) | FRAME_HINDSIGHT << 4)

static struct hindsight hindsight_of(struct small *s, const struct event *events, size_t n,
				     const struct frame_scan *end)
{
	for (size_t i = 0; i < n; i++)
		fold_look_ahead(s->fold, &events[i]);
	return fold_apply_hindsight(s->fold, s->scan, end);
}

static void hindsight_parks_bare_frames_that_come_from_nowhere(void **state)
{
	struct event events[] = {
		make_alloc(STAMP, 2048, 0, GFP_MOVABLE), /* proof */
		make(EVENT_PCPU_DRAIN, STAMP, 2049, 0),	 /* proof */
		make(EVENT_FREE, STAMP, 2050, 0),	 /* it was in use */
		make_alloc(STAMP, 2050, 0, 0),		 /* too late to tell */
		make(EVENT_ZONE_LOCKED, STAMP, 2052, 2), /* it was in the free lists */
		make_alloc(STAMP, 2052, 2, 0),
		make_alloc(STAMP, 2056, 0, 0), /* proof, but the scan knows better */
		make_alloc(STAMP, 2560, 9, 0), /* proof for all its bare frames */
	};
	struct hindsight n;
	struct small s;

	(void)state;
	small_create(&s);
	for (pfn_t pfn = 2048; pfn < 2056; pfn++)
		set_bare(&s, pfn);
	set_bare(&s, 2560);
	set_bare(&s, 3071);
	s.scan->cells[2056 - START] = FRAME_MOVABLE;
	n = hindsight_of(&s, events, ARRAY_SIZE(events), NULL);
	assert_int_equal(n.parked, 4);
	assert_int_equal(n.freed, 0); /* not without the end scan */
	assert_int_equal(cell(&s, 2048), LATER(FRAME_PARKED));
	assert_int_equal(cell(&s, 2049), LATER(FRAME_PARKED));
	assert_int_equal(cell(&s, 2050), FRAME_UNMOVABLE);
	assert_int_equal(cell(&s, 2052), FRAME_UNMOVABLE);
	assert_int_equal(cell(&s, 2055), FRAME_UNMOVABLE);
	assert_int_equal(cell(&s, 2056), FRAME_MOVABLE);
	assert_int_equal(cell(&s, 2560), LATER(FRAME_PARKED));
	assert_int_equal(cell(&s, 2561), FRAME_UNMOVABLE); /* had flags */
	assert_int_equal(cell(&s, 3071), LATER(FRAME_PARKED));
	small_destroy(&s);
}

static void hindsight_frees_bare_frames_that_the_free_lists_give_away(void **state)
{
	struct event events[] = {
		make(EVENT_ZONE_LOCKED, STAMP, 2048, 2), /* proof for four frames */
		make_alloc(STAMP, 2048, 2, 0),
		make(EVENT_EXTFRAG, STAMP, 2052, 1),	 /* a steal is no less */
		make(EVENT_EXTFRAG, STAMP, 2054, 1),	 /* names another block */
		make(EVENT_FREE, STAMP, 2056, 0),	 /* it was in use */
		make(EVENT_ZONE_LOCKED, STAMP, 2056, 0), /* too late to tell */
		make(EVENT_ZONE_LOCKED, STAMP, 2060, 0), /* proof, but the scan knows better */
		make(EVENT_ZONE_LOCKED, STAMP, 2061, 0),
	};
	struct small s, end;
	struct hindsight n;

	(void)state;
	events[2].arg = event_extfrag_arg(3, MIGRATE_MOVABLE, false);
	events[3].arg = event_extfrag_arg(3, MIGRATE_MOVABLE, true);
	small_create(&s);
	small_create(&end);
	for (pfn_t pfn = 2048; pfn < 2060; pfn++)
		set_bare(&s, pfn);
	s.scan->cells[2060 - START] = FRAME_RECLAIMABLE;
	n = hindsight_of(&s, events, ARRAY_SIZE(events), end.scan);
	assert_int_equal(n.freed, 6);
	assert_int_equal(n.parked, 0);
	for (pfn_t pfn = 2048; pfn < 2054; pfn++)
		assert_int_equal(cell(&s, pfn), LATER(FRAME_FREE));
	for (pfn_t pfn = 2054; pfn < 2060; pfn++)
		assert_int_equal(cell(&s, pfn), FRAME_UNMOVABLE);
	assert_int_equal(cell(&s, 2060), FRAME_RECLAIMABLE);
	assert_int_equal(cell(&s, 2061), FRAME_UNMOVABLE); /* had flags */
	small_destroy(&end);
	small_destroy(&s);
}

/* What the kernel had taken out of its lists for a while is back at the end without a word. */
static void hindsight_frees_bare_frames_that_are_free_at_the_end_without_a_word(void **state)
{
	struct event events[] = {
		make(EVENT_FREE, STAMP, 3072, 0), /* it was in use */
	};

	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		struct small s, end;
		struct hindsight n;

		small_create(&s);
		small_create(&end);
		for (pfn_t pfn = 2048; pfn <= 3073; pfn++)
			set_bare(&s, pfn);
		s.scan->cells[2049 - START] = FRAME_MOVABLE;
		s.scan->cells[2050 - START] = FRAME_PARKED;
		s.scan->cells[2051 - START] = FRAME_OFFLINE;
		s.scan->cells[2052 - START] = FRAME_RESERVED;
		memset(end.scan->cells, FRAME_FREE, FRAMES);
		end.scan->cells[3073 - START] = FRAME_UNMOVABLE;
		end.scan->cells[3071 - START] = FRAME_PARKED; /* how, if nobody freed it? */
		n = hindsight_of(&s, events, ARRAY_SIZE(events), lost ? NULL : end.scan);
		assert_int_equal(n.freed, lost ? 0 : 1024 - 5);
		assert_int_equal(n.parked, 0);
		for (pfn_t pfn = 2048; pfn <= 3073; pfn++) {
			unsigned int was = pfn >= 2049 && pfn <= 2052
						   ? (unsigned int[]){FRAME_MOVABLE, FRAME_PARKED,
								      FRAME_OFFLINE,
								      FRAME_RESERVED}[pfn - 2049]
						   : FRAME_UNMOVABLE;
			bool freed = !lost && was == FRAME_UNMOVABLE && pfn < 3071;

			assert_int_equal(cell(&s, pfn), freed ? LATER(FRAME_FREE) : was);
		}
		assert_int_equal(cell(&s, 2047), FRAME_UNMOVABLE); /* had flags */
		small_destroy(&end);
		small_destroy(&s);
	}
}

/* The slow, obvious way: the first event of a frame tells what it was before. */
static unsigned int first_word(const struct event *events, size_t n, pfn_t pfn, bool free_at_end)
{
	for (size_t i = 0; i < n; i++) {
		if (pfn < events[i].pfn || pfn >= events[i].pfn + (1U << events[i].order))
			continue;
		switch (events[i].kind) {
		case EVENT_ALLOC:
		case EVENT_PCPU_DRAIN:
			return LATER(FRAME_PARKED);
		case EVENT_ZONE_LOCKED:
			return LATER(FRAME_FREE);
		default:
			return FRAME_UNMOVABLE;
		}
	}
	return free_at_end ? LATER(FRAME_FREE) : FRAME_UNMOVABLE;
}

static void the_first_event_of_a_frame_tells_what_it_was(void **state)
{
	static const uint8_t kinds[] = {EVENT_ALLOC, EVENT_FREE, EVENT_PCPU_DRAIN,
					EVENT_ZONE_LOCKED};
	uint64_t seed = 0x2545f4914f6cdd1d;
	struct event events[300];

	(void)state;
	for (int round = 0; round < 10 * (int)test_effort(); round++) {
		uint64_t first_seed = seed, count[2] = {0};
		struct small s, end;
		struct hindsight n;

		small_create(&s);
		small_create(&end);
		for (pfn_t pfn = START; pfn < END; pfn++) {
			set_bare(&s, pfn);
			end.scan->cells[pfn - START] =
				next_random(&seed) % 2 ? FRAME_FREE : FRAME_MOVABLE;
		}
		for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
			uint8_t order = (uint8_t)(next_random(&seed) % 8);
			uint64_t block = next_random(&seed) % (FRAMES >> order);

			events[i] = make(kinds[next_random(&seed) % ARRAY_SIZE(kinds)], STAMP + i,
					 START + (block << order), order);
		}
		n = hindsight_of(&s, events, ARRAY_SIZE(events), end.scan);
		for (pfn_t pfn = START; pfn < END; pfn++) {
			unsigned int want = first_word(events, ARRAY_SIZE(events), pfn,
						       cell(&end, pfn) == FRAME_FREE);

			if (cell(&s, pfn) != want)
				fail_msg("seed %#" PRIx64 ": frame %" PRIu64 " is %#x", first_seed,
					 pfn, cell(&s, pfn));
			count[0] += want == LATER(FRAME_PARKED);
			count[1] += want == LATER(FRAME_FREE);
		}
		assert_int_equal(n.parked, count[0]);
		assert_int_equal(n.freed, count[1]);
		small_destroy(&end);
		small_destroy(&s);
	}
}

static void what_was_freed_last_is_parked_where_the_scan_cannot_tell(void **state)
{
	struct event events[] = {
		make(EVENT_FREE, 1, 2048, 0),	     make(EVENT_FREE, 2, 2049, 0),
		make_alloc(3, 2049, 0, GFP_MOVABLE), make(EVENT_FREE, 4, 2050, 0),
		make(EVENT_PCPU_DRAIN, 5, 2050, 0),  make(EVENT_ZONE_LOCKED, 6, 2051, 0),
		make(EVENT_FREE, 7, 2052, 0),	     make(EVENT_FREE, 8, 3072, 10),
	};
	struct small s;

	(void)state;
	small_create(&s);
	for (pfn_t pfn = 2048; pfn < 2052; pfn++)
		set_bare(&s, pfn);
	set_bare(&s, 3072);
	s.scan->cells[2052 - START] = FRAME_MOVABLE; /* allocated again, unannounced */
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		fold_observe(s.fold, &events[i]);
	assert_int_equal(fold_apply_released(s.fold, s.scan), 2);
	assert_int_equal(cell(&s, 2048), FRAME_PARKED);
	assert_int_equal(cell(&s, 2049), FRAME_UNMOVABLE);
	assert_int_equal(cell(&s, 2050), FRAME_UNMOVABLE);
	assert_int_equal(cell(&s, 2051), FRAME_PARKED);
	assert_int_equal(cell(&s, 2052), FRAME_MOVABLE);
	assert_int_equal(cell(&s, 3072), FRAME_UNMOVABLE); /* order 10 is never parked */
	small_destroy(&s);
}

/* Events that hand over reserved frames before T0, and what is inferred after it, never make a start
   snapshot that its own header excludes. */
static void a_folded_scan_says_the_same_as_its_machine(void **state)
{
	static const uint8_t kinds[] = {EVENT_ALLOC, EVENT_FREE, EVENT_PCPU_DRAIN,
					EVENT_ZONE_LOCKED};
	static const uint8_t states[] = {FRAME_FREE, FRAME_MOVABLE, FRAME_UNMOVABLE, FRAME_RESERVED,
					 FRAME_UNMOVABLE};
	uint64_t seed = 0x9fb21c651e98df25;

	(void)state;
	for (int round = 0; round < 20 * (int)test_effort(); round++) {
		uint64_t first_seed = seed, managed = FRAMES - next_random(&seed) % 6000;
		struct machine *m;
		struct frame_map *map;
		struct small s, end;
		struct error err;

		small_create(&s);
		small_create(&end);
		memset(end.scan->cells, FRAME_FREE, FRAMES);
		for (pfn_t pfn = START; pfn < END; pfn++) {
			uint8_t old = states[next_random(&seed) % ARRAY_SIZE(states)];

			s.scan->cells[pfn - START] = old;
			if (pfn - START >= managed || old == FRAME_UNMOVABLE)
				set_bare(&s, pfn);
		}
		for (uint64_t i = 0; i < 300; i++) {
			uint8_t order = (uint8_t)(next_random(&seed) % 4);
			uint64_t block = next_random(&seed) % (FRAMES >> order);
			struct event e = make(kinds[next_random(&seed) % ARRAY_SIZE(kinds)],
					      STAMP + i, START + (block << order), order);

			if (i < 100) {
				fold_into_scan(s.scan, &e);
				fold_observe(s.fold, &e);
				continue;
			}
			if (i == 100) {
				assert_int_equal(procfs_scan_finish(s.scan, &managed, &m, &err), 0);
				fold_apply_released(s.fold, s.scan);
			}
			fold_look_ahead(s.fold, &e);
		}
		assert_true(fold_apply_hindsight(s.fold, s.scan, end.scan).freed);
		assert_true(m->nr_absent > 100);
		assert_int_equal(frame_map_from_bytes(m, s.scan->cells, 0, &map, &err), 0);
		if (frame_map_check(map, &err) || snapshot_check_start(map, &err))
			fail_msg("seed %#" PRIx64 ": %s", first_seed, err.text);
		frame_map_destroy(map);
		machine_destroy(m);
		small_destroy(&end);
		small_destroy(&s);
	}
}

static void pageblock_types_come_from_events_before_contents(void **state)
{
	struct event drain = make(EVENT_PCPU_DRAIN, 1, START + 512, 0);
	struct event claim = make(EVENT_EXTFRAG, 2, 2048, 0);
	struct event alloc = make_alloc(3, START + 3072, 5, GFP_RECLAIMABLE);
	uint8_t types[FRAMES / 512];
	struct small s;

	(void)state;
	small_create(&s);
	assert_int_equal(s.fold->nr_pageblocks, ARRAY_SIZE(types));
	memset(s.scan->cells, FRAME_FREE, FRAMES);
	memset(s.scan->cells, FRAME_UNMOVABLE, 1024); /* blocks 0, 1 */
	memset(s.scan->cells + 2048, FRAME_RECLAIMABLE, 100);
	memset(s.scan->cells + 2560, FRAME_MOVABLE, 100);
	memset(s.scan->cells + 2660, FRAME_UNMOVABLE, 99);
	memset(s.scan->cells + 7680, FRAME_RESERVED, 512);
	drain.migratetype = MIGRATE_MOVABLE;
	claim.migratetype = MIGRATE_RECLAIMABLE;
	claim.arg = event_extfrag_arg(10, MIGRATE_MOVABLE, true);
	fold_observe(s.fold, &drain);
	fold_observe(s.fold, &claim);
	fold_observe(s.fold, &alloc);
	memcpy(types, s.fold->block_type, sizeof(types));
	fold_pageblocks(s.fold, s.scan, types);
	assert_int_equal(types[0], MIGRATE_UNMOVABLE);
	assert_int_equal(types[1], MIGRATE_MOVABLE);	 /* the event overrules the majority */
	assert_int_equal(types[2], MIGRATE_RECLAIMABLE); /* both halves of the claimed block */
	assert_int_equal(types[3], MIGRATE_RECLAIMABLE);
	assert_int_equal(types[4], MIGRATE_RECLAIMABLE);
	assert_int_equal(types[5], MIGRATE_MOVABLE);
	assert_int_equal(types[6], MIGRATE_MOVABLE);  /* order 5 proves nothing */
	assert_int_equal(types[15], MIGRATE_UNKNOWN); /* nothing managed there */
	small_destroy(&s);
}

/* ---- the ledger ---- */

#define WRITTEN_MAX 4096

struct written {
	struct event events[WRITTEN_MAX];
	size_t n;
};

static int collect(void *arg, const struct event *e, struct error *err)
{
	struct written *w = arg;

	if (w->n == WRITTEN_MAX)
		return error_set(err, ENOSPC, "full");
	w->events[w->n++] = *e;
	return 0;
}

struct books {
	struct small s;
	struct ledger ledger;
	struct written *written;
};

/* The last @offline frames are not there yet. */
static void books_create(struct books *b, uint64_t offline, const struct ledger_poll *polls,
			 size_t n)
{
	small_create(&b->s);
	memset(b->s.scan->cells, FRAME_FREE, FRAMES);
	memset(b->s.scan->cells + FRAMES - offline, FRAME_OFFLINE, offline);
	b->s.machine->zones[0].managed -= offline;
	b->written = calloc(1, sizeof(*b->written));
	assert_non_null(b->written);
	ledger_init(&b->ledger, b->s.machine, b->s.scan->cells, polls, n, collect, b->written);
}

static void books_destroy(struct books *b)
{
	free(b->written);
	small_destroy(&b->s);
}

static void put(struct books *b, struct event e)
{
	struct error err;

	assert_int_equal(ledger_event(&b->ledger, &e, &err), 0);
}

static void expect(const struct books *b, size_t i, uint8_t kind, uint64_t time_ns, uint64_t pfn,
		   uint64_t arg)
{
	const struct event *e = &b->written->events[i];

	assert_true(i < b->written->n);
	assert_int_equal(e->kind, kind);
	assert_int_equal(e->time_ns, time_ns);
	assert_int_equal(e->pfn, pfn);
	assert_int_equal(e->arg, arg);
}

static void an_event_about_a_node_has_its_lowest_frame(void **state)
{
	struct event wake = make(EVENT_KSWAPD_WAKE, 1, PFN_NONE, 9);
	struct event sleep = make(EVENT_KSWAPD_SLEEP, 2, PFN_NONE, 0);
	struct event nowhere = make(EVENT_KSWAPD_WAKE, 3, PFN_NONE, 0);
	struct books b;

	(void)state;
	books_create(&b, 0, NULL, 0);
	nowhere.arg = 5; /* no such node */
	put(&b, wake);
	put(&b, sleep);
	put(&b, nowhere);
	expect(&b, 0, EVENT_KSWAPD_WAKE, 1, START, 0);
	assert_int_equal(b.written->events[0].order, 9);
	expect(&b, 1, EVENT_KSWAPD_SLEEP, 2, START, 0);
	expect(&b, 2, EVENT_LOST, 3, PFN_NONE, 1);
	/* No frame was touched by it. */
	assert_int_equal(b.ledger.orphan_frees + b.ledger.implicit_frees, 0);
	fold_burn_in_event(b.s.machine, b.s.scan->cells, &wake);
	assert_int_equal(wake.kind, EVENT_KSWAPD_WAKE);
	assert_int_equal(wake.pfn, START);
	books_destroy(&b);
}

static void orphans_and_implicit_frees_are_counted(void **state)
{
	struct books b;

	(void)state;
	books_create(&b, 0, NULL, 0);
	put(&b, make(EVENT_FREE, 1, 2048, 2)); /* orphan */
	put(&b, make_alloc(2, 2048, 2, 0));
	put(&b, make(EVENT_FREE, 3, 2050, 0)); /* a part of it */
	put(&b, make(EVENT_FREE, 4, 2050, 0)); /* orphan */
	put(&b, make(EVENT_FREE, 5, 2048, 2)); /* the rest: not an orphan */
	put(&b, make_alloc(6, 2048, 0, 0));
	put(&b, make_alloc(7, 2048, 1, 0)); /* its free was missed */
	assert_int_equal(b.written->n, 7);  /* all are written all the same */
	assert_int_equal(b.ledger.orphan_frees, 2);
	assert_int_equal(b.ledger.implicit_frees, 1);
	assert_int_equal(b.ledger.online_frames, 0);
	books_destroy(&b);
}

static void offline_memory_comes_online_before_it_is_touched(void **state)
{
	struct books b;

	(void)state;
	books_create(&b, 4096, NULL, 0);
	put(&b, make_alloc(5, END - 4096 - 2, 0, 0));
	put(&b, make(EVENT_ZONE_LOCKED, 6, END - 4096 + 7, 0));
	put(&b, make_alloc(7, END - 4096 + 9, 0, 0));
	put(&b, make_alloc(8, END - 1, 0, 0));
	assert_int_equal(b.written->n, 6);
	expect(&b, 0, EVENT_ALLOC, 5, END - 4096 - 2, 0);
	/* Nobody says how far the new memory reaches: to the end of the 4 MiB. */
	expect(&b, 1, EVENT_ONLINE, 6, END - 4096, 1024);
	expect(&b, 2, EVENT_ZONE_LOCKED, 6, END - 4096 + 7, 0);
	expect(&b, 3, EVENT_ALLOC, 7, END - 4096 + 9, 0);
	expect(&b, 4, EVENT_ONLINE, 8, END - 3072, 3072);
	expect(&b, 5, EVENT_ALLOC, 8, END - 1, 0);
	assert_int_equal(b.ledger.online_frames, 4096);
	books_destroy(&b);
}

static void polls_say_how_far_memory_reaches_and_since_when(void **state)
{
	const struct ledger_poll polls[] = {
		{.time_ns = 50, .managed = {FRAMES - 4096}},
		{.time_ns = 100, .managed = {FRAMES - 2048}},
		{.time_ns = 200, .managed = {FRAMES - 1024}},
		{.time_ns = 300, .managed = {FRAMES - 512}},
	};
	struct books b;
	struct error err;

	(void)state;
	books_create(&b, 4096, polls, ARRAY_SIZE(polls));
	put(&b, make_alloc(60, END - 4096, 0, 0));  /* before the poll at 100 saw it */
	put(&b, make_alloc(110, END - 2049, 0, 0)); /* nothing new */
	put(&b, make_alloc(210, START, 0, 0));	    /* the poll at 200 was not touched by anyone */
	assert_int_equal(ledger_finish(&b.ledger, 299, &err), 0);
	assert_int_equal(b.written->n, 5);
	expect(&b, 0, EVENT_ONLINE, 60, END - 4096, 2048);
	expect(&b, 1, EVENT_ALLOC, 60, END - 4096, 0);
	expect(&b, 2, EVENT_ALLOC, 110, END - 2049, 0);
	expect(&b, 3, EVENT_ONLINE, 200, END - 2048, 1024);
	expect(&b, 4, EVENT_ALLOC, 210, START, 0);
	assert_int_equal(ledger_finish(&b.ledger, 300, &err), 0);
	expect(&b, 5, EVENT_ONLINE, 300, END - 1024, 512);
	assert_int_equal(b.ledger.online_frames, 3584);
	books_destroy(&b);
}

static void reserved_frames_inside_offline_memory_stay_out(void **state)
{
	struct books b;

	(void)state;
	books_create(&b, 4096, NULL, 0);
	memset(b.s.scan->cells + FRAMES - 3700, FRAME_RESERVED, 100);
	put(&b, make_alloc(5, END - 3500, 0, 0));
	assert_int_equal(b.written->n, 3);
	expect(&b, 0, EVENT_ONLINE, 5, END - 4096, 396);
	expect(&b, 1, EVENT_ONLINE, 5, END - 3600, 528);
	assert_int_equal(b.s.scan->cells[FRAMES - 3700], FRAME_RESERVED);
	books_destroy(&b);
}

static void a_reserved_frame_is_handed_over_by_its_free(void **state)
{
	struct books b;

	(void)state;
	books_create(&b, 0, NULL, 0);
	b.s.scan->cells[0] = b.s.scan->cells[1] = FRAME_RESERVED;
	put(&b, make(EVENT_FREE, 1, START, 0));
	put(&b, make_alloc(2, START, 1, 0)); /* the second one never said how it became free */
	assert_int_equal(b.written->n, 3);
	expect(&b, 0, EVENT_ONLINE, 1, START, 1);
	expect(&b, 1, EVENT_ONLINE, 2, START + 1, 1);
	expect(&b, 2, EVENT_ALLOC, 2, START, 0);
	assert_int_equal(b.ledger.orphan_frees, 0);
	books_destroy(&b);
}

static void events_on_frames_of_no_zone_are_told_as_lost(void **state)
{
	struct books b;

	(void)state;
	books_create(&b, 0, NULL, 0);
	put(&b, make_alloc(1, END, 0, 0));
	put(&b, make(EVENT_FREE, 2, START - 1, 0));
	put(&b, make_alloc(3, END - 1024, 11, 0));
	put(&b, make_alloc(4, START, 200, 0));
	assert_int_equal(b.written->n, 4);
	for (size_t i = 0; i < 4; i++)
		expect(&b, i, EVENT_LOST, i + 1, PFN_NONE, 1);
	assert_int_equal(b.ledger.unplaceable, 4);
	put(&b, make(EVENT_ALLOC_FAILED, 5, PFN_NONE, 9));
	expect(&b, 4, EVENT_ALLOC_FAILED, 5, PFN_NONE, 0);
	books_destroy(&b);
}

static void the_end_map_agrees_about_what_is_managed(void **state)
{
	uint8_t end[FRAMES];
	struct books b;

	(void)state;
	books_create(&b, 1024, NULL, 0);
	b.s.scan->cells[0] = FRAME_RESERVED;
	memset(end, FRAME_MOVABLE, sizeof(end));
	end[1] = FRAME_RESERVED; /* a driver marked its page */
	end[2] = FRAME_OFFLINE;	 /* cannot be: it was there all the time */
	ledger_align(&b.ledger, end);
	assert_int_equal(end[0], FRAME_RESERVED);
	assert_int_equal(end[1], FRAME_UNMOVABLE);
	assert_int_equal(end[2], FRAME_FREE);
	assert_int_equal(end[3], FRAME_MOVABLE);
	assert_int_equal(end[FRAMES - 1], FRAME_OFFLINE);
	books_destroy(&b);
}

/* ---- the burn-in part ---- */

static void the_burn_in_map_is_of_the_start_s_machine(void **state)
{
	/* What the start says, what was there before, what is written. */
	static const uint8_t cases[][3] = {
		{FRAME_FREE, FRAME_OFFLINE, FRAME_FREE},    /* came online between */
		{FRAME_MOVABLE, FRAME_OFFLINE, FRAME_FREE}, /* and was used at once */
		{FRAME_MOVABLE, FRAME_HOLE, FRAME_UNMOVABLE},
		{FRAME_PARKED, FRAME_RESERVED, FRAME_UNMOVABLE}, /* the kernel gave it up */
		{FRAME_RESERVED, FRAME_MOVABLE, FRAME_RESERVED},
		{FRAME_OFFLINE, FRAME_FREE, FRAME_OFFLINE},
		{FRAME_FREE, FRAME_MOVABLE | 3 << 4, FRAME_MOVABLE | 3 << 4},
		{FRAME_UNMOVABLE, FRAME_PARKED, FRAME_PARKED},
	};
	uint8_t before[FRAMES];
	struct small s;

	(void)state;
	small_create(&s);
	memset(before, FRAME_FREE, sizeof(before));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		s.scan->cells[i] = cases[i][0];
		before[i] = cases[i][1];
	}
	fold_align(s.machine, s.scan->cells, before);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(before[i], cases[i][2]);
	small_destroy(&s);
}

static void burn_in_events_on_unmanaged_frames_are_told_as_lost(void **state)
{
	struct event good[] = {
		make(EVENT_FREE, 5, END - 8, 3),	  make(EVENT_LOST, 5, PFN_NONE, 0),
		make(EVENT_ALLOC_FAILED, 5, PFN_NONE, 9), make(EVENT_COMPACTION, 5, PFN_NONE, 0),
		make(EVENT_ZONE_LOCKED, 5, START, 9),
	};
	struct event bad[] = {
		make(EVENT_FREE, 5, START - 1, 0),	    make(EVENT_FREE, 5, END, 0),
		make(EVENT_ZONE_LOCKED, 5, START + 512, 9), make(EVENT_ALLOC, 5, START + 600, 0),
		make(EVENT_ALLOC_FAILED, 5, PFN_NONE, 200), make(EVENT_FREE, 5, START, 40),
	};
	struct small s;

	(void)state;
	small_create(&s);
	s.scan->cells[600] = FRAME_OFFLINE;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct event e = good[i];

		fold_burn_in_event(s.machine, s.scan->cells, &e);
		assert_memory_equal(&e, &good[i], sizeof(e));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bad[i].cpu = 1;
		fold_burn_in_event(s.machine, s.scan->cells, &bad[i]);
		assert_int_equal(bad[i].kind, EVENT_LOST);
		assert_int_equal(bad[i].pfn, PFN_NONE);
		assert_int_equal(bad[i].arg, 1);
		assert_int_equal(bad[i].cpu, 1);
		assert_int_equal(bad[i].time_ns, 5);
	}
	small_destroy(&s);
}

/* Whatever comes in: a reader of what comes out never sees an event on memory it was not told of. */
static void nothing_is_touched_before_it_is_online(void **state)
{
	uint64_t seed = 88172645463325252;

	(void)state;
	for (int round = 0; round < 30 * (int)test_effort(); round++) {
		uint64_t first_seed = seed, time_ns = 0, offline = next_random(&seed) % 5000;
		struct ledger_poll polls[4];
		bool managed[FRAMES];
		struct books b;

		for (size_t i = 0; i < ARRAY_SIZE(polls); i++) {
			polls[i].time_ns = (i + 1) * 300;
			polls[i].managed[0] = FRAMES - offline + offline * i / 4;
		}
		books_create(&b, offline, polls, ARRAY_SIZE(polls));
		for (size_t i = 0; i < 40; i++)
			b.s.scan->cells[next_random(&seed) % FRAMES] = FRAME_RESERVED;
		for (size_t i = 0; i < FRAMES; i++)
			managed[i] = b.s.scan->cells[i] == FRAME_FREE;
		for (size_t i = 0; i < 500; i++) {
			uint8_t order = (uint8_t)(next_random(&seed) % 6);
			uint64_t block = next_random(&seed) % (FRAMES >> order);

			time_ns += next_random(&seed) % 5;
			put(&b, make(next_random(&seed) % 2 ? EVENT_ALLOC : EVENT_FREE, time_ns,
				     START + (block << order), order));
		}
		time_ns = 0;
		for (size_t i = 0; i < b.written->n; i++) {
			const struct event *e = &b.written->events[i];
			uint64_t n = e->kind == EVENT_ONLINE ? e->arg : UINT64_C(1) << e->order;

			assert_true(e->time_ns >= time_ns);
			time_ns = e->time_ns;
			for (uint64_t f = e->pfn - START; f < e->pfn - START + n; f++) {
				if (managed[f] == (e->kind == EVENT_ONLINE))
					fail_msg("seed %#" PRIx64 ": event %zu (%s) frame %" PRIu64,
						 first_seed, i, event_kind_name(e->kind), f);
				managed[f] = true;
			}
		}
		books_destroy(&b);
	}
}

/* ---- gfp bits ---- */

static void gfp_bits_are_found_by_name(void **state)
{
	static const char now[] =
		"print fmt: \"gfp_flags=%s\", __print_flags(REC->gfp_flags, \"|\", "
		"{( unsigned long)(((( gfp_t)(((((1UL))) << (10))|((((1UL))) << (11)))))), "
		"\"GFP_X\"}, "
		"{( unsigned long)(( gfp_t)((((1UL))) << (0))), \"GFP_DMA\"}, "
		"{( unsigned long)(( gfp_t)(((((1UL))) << (10))|((((1UL))) << (11)))), "
		"\"__GFP_RECLAIM\"}, "
		"{( unsigned long)(( gfp_t)((((1UL))) << (0))), \"__GFP_DMA\"}, "
		"{( unsigned long)(( gfp_t)((((1UL))) << (8))), \"__GFP_ZERO\"}, "
		"{( unsigned long)(( gfp_t)((((1UL))) << (25))), \"__GFP_COMP\"}, "
		"{( unsigned long)(( gfp_t)((((1UL))) << (26))), \"__GFP_SOMETHING_NEW\"}, "
		"{ 0, ((void *)0) } ) : \"none\"";
	static const char hex[] = "{(unsigned long)((( gfp_t)0x08u)), \"__GFP_MOVABLE\"}, "
				  "{(unsigned long)((( gfp_t)0x4000u)), \"__GFP_COMP\"}";
	uint32_t bits[64];

	(void)state;
	assert_int_equal(tracer_gfp_bits(now, bits), 3);
	assert_int_equal(bits[0], GFP_DMA);
	assert_int_equal(bits[8], GFP_ZERO);
	assert_int_equal(bits[25], GFP_COMP);
	assert_int_equal(bits[10], 0);
	assert_int_equal(bits[26], 0);
	assert_int_equal(tracer_gfp_bits(hex, bits), 2);
	assert_int_equal(bits[3], GFP_MOVABLE);
	assert_int_equal(bits[14], GFP_COMP);
	/* A text that names nothing: taken to be as ours. */
	assert_int_equal(tracer_gfp_bits("print fmt: \"%d\", {, \"", bits), 0);
	assert_int_equal(bits[18], GFP_COMP);
}

/* ---- live ---- */

#define OUT  "test-record.quire"
#define LOAD "head -c 20000000 /dev/zero | tail -c 20000000 >/dev/null; exit 3"

static bool can_record(void)
{
	return geteuid() == 0 && (access("/sys/kernel/tracing/instances", W_OK) == 0 ||
				  access("/sys/kernel/debug/tracing/instances", W_OK) == 0);
}

static void assert_no_instance_left(void)
{
	char name[64];

	snprintf(name, sizeof(name), "/sys/kernel/tracing/instances/quire-%ld", (long)getpid());
	assert_int_equal(access(name, F_OK), -1);
}

/* Frames of a state that are known in hindsight only. */
static uint64_t later_frames(const struct frame_map *map, unsigned int state)
{
	uint64_t n = 0;

	for (size_t i = 0; i < map->nr_runs; i++)
		if (map->runs[i].state == state && map->runs[i].order == FRAME_HINDSIGHT)
			n += map->runs[i].frames;
	return n;
}

static void check_events(struct trace_reader *r, const struct record_stats *stats)
{
	const struct machine *m = trace_reader_header(r)->machine;
	uint64_t total = 0, start_ns, end_ns, last_ns = 0;
	uint32_t contexts = 0;
	struct frame_map *start, *end;
	const struct event *e;
	struct error err;
	size_t n;

	assert_true(trace_reader_header(r)->compatible_features & TRACE_MARKS_HINDSIGHT);
	assert_int_equal(trace_reader_snapshot(r, TRACE_START, &start, &err), 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_END, &end, &err), 0);
	assert_int_equal(later_frames(start, FRAME_PARKED), stats->parked_inferred);
	assert_int_equal(later_frames(start, FRAME_FREE), stats->freed_inferred);
	assert_int_equal(later_frames(end, FRAME_PARKED) + later_frames(end, FRAME_FREE), 0);
	start_ns = start->time_ns;
	end_ns = end->time_ns;
	assert_non_null(start->zones);
	assert_non_null(end->pageblock_type);
	assert_int_equal(frame_map_check(start, &err), 0);
	assert_int_equal(frame_map_check(end, &err), 0);
	while (trace_reader_next(r, &e, &n, &err) > 0) {
		for (size_t i = 0; i < n; i++) {
			assert_true(e[i].time_ns > start_ns && e[i].time_ns <= end_ns);
			assert_true(e[i].time_ns >= last_ns);
			last_ns = e[i].time_ns;
			if (e[i].pfn != PFN_NONE)
				assert_true(machine_zone_of(m, e[i].pfn) >= 0);
			/* Numbers are given in the order of first appearance. */
			assert_true(stats->burn_in_s > 0 || e[i].context <= contexts + 1);
			contexts = (uint32_t)max_u64(contexts, e[i].context);
		}
		total += n;
	}
	assert_int_equal(total, stats->totals.events);
	assert_true(contexts == stats->totals.contexts || stats->burn_in_s > 0);
	frame_map_destroy(start);
	frame_map_destroy(end);
}

static void a_live_recording_reads_back_whole(void **state)
{
	char shell[] = "sh", c[] = "-c", load[] = LOAD;
	char *const command[] = {shell, c, load, NULL};
	const struct record_options options = {
		.out = OUT,
		.overwrite = true,
		.buffer_bytes = UINT64_C(4) << 20,
		.command = command,
		.note = "a test",
	};
	struct record_stats stats;
	struct trace_reader *r;
	struct error err = {0};

	(void)state;
	if (!can_record()) {
		skip_because("recording needs root and a mounted tracefs");
	}
	if (record_run(&options, &stats, &err))
		fail_msg("%s", err.text);
	assert_no_instance_left();
	assert_true(WIFEXITED(stats.command_status));
	assert_int_equal(WEXITSTATUS(stats.command_status), 3);
	assert_int_equal(stats.totals.lost_events, 0);
	/* 20 MB through tail are at least 4000 frames. */
	assert_true(stats.totals.by_kind[EVENT_ALLOC] > 4000);
	assert_true(stats.totals.by_kind[EVENT_FREE] > 4000);
	assert_true(stats.orphan_frees * 10 < stats.totals.by_kind[EVENT_FREE]);
	assert_true(stats.implicit_frees * 10 < stats.totals.by_kind[EVENT_ALLOC]);
	assert_int_equal(trace_reader_open(OUT, 0, &r, &err), 0);
	assert_string_equal(trace_reader_header(r)->note, "a test");
	assert_string_equal(trace_reader_header(r)->clock, "mono");
	check_events(r, &stats);
	trace_reader_close(r);
	unlink(OUT);
}

/* What the burn-in's events did to the lists of each CPU. */
struct list_counts {
	uint64_t refilled[2][NR_ORDERS], freed[2][NR_ORDERS];
};

static uint64_t count_lists(struct trace_reader *r, uint64_t start_ns, struct list_counts *n)
{
	const struct machine *m = trace_reader_header(r)->machine;
	uint64_t events = 0;
	const struct event *e;
	struct error err;
	size_t k;

	while (trace_reader_next(r, &e, &k, &err) > 0) {
		for (size_t i = 0; i < k; i++) {
			unsigned int cpu = e[i].cpu != 0;

			if (e[i].time_ns > start_ns)
				return events;
			events++;
			if (e[i].pfn != PFN_NONE)
				assert_true(machine_zone_of(m, e[i].pfn) >= 0);
			if (e[i].kind == EVENT_ZONE_LOCKED)
				n->refilled[cpu][e[i].order]++;
			if (e[i].kind == EVENT_FREE && e[i].order < NR_ORDERS)
				n->freed[cpu][e[i].order]++;
		}
	}
	return events;
}

static void a_recording_with_burn_in_knows_what_led_to_its_start(void **state)
{
	char shell[] = "sh", c[] = "-c", load[] = LOAD;
	char *const command[] = {shell, c, load, NULL};
	const struct record_options options = {
		.out = OUT,
		.overwrite = true,
		.command = command,
		.burn_in = true,
	};
	struct frame_map *before, *start;
	struct list_counts n = {0};
	struct record_stats stats;
	cpu_set_t allowed;
	struct trace_reader *r;
	struct error err = {0};

	(void)state;
	if (!can_record()) {
		skip_because("recording needs root and a mounted tracefs");
	}
	if (record_run(&options, &stats, &err))
		fail_msg("%s", err.text);
	assert_no_instance_left();
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no process is left either */
	assert_true(stats.burn_in_s > 0 && stats.burn_in_s < 120);
	assert_int_equal(stats.totals.burn_in_lost, 0);
	/* The recording is as any other. */
	assert_int_equal(trace_reader_open(OUT, TRACE_VERIFY, &r, &err), 0);
	check_events(r, &stats);
	trace_reader_close(r);
	assert_int_equal(trace_reader_open(OUT, TRACE_VERIFY | TRACE_READ_BURN_IN, &r, &err), 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_BURN_IN, &before, &err), 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_START, &start, &err), 0);
	assert_true(before->time_ns < start->time_ns);
	assert_non_null(before->zones);
	assert_non_null(before->pageblock_type);
	assert_int_equal(count_lists(r, start->time_ns, &n), stats.totals.burn_in_events);
	/* Each CPU's lists of small blocks were refilled, and got something back. */
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (unsigned int cpu = 0; cpu < 2 && cpu < before->machine->nr_cpus; cpu++)
		for (unsigned int order = 0; order <= 3 && CPU_ISSET(cpu, &allowed); order++) {
			assert_true(n.refilled[cpu][order] > 0);
			assert_true(n.freed[cpu][order] > 0);
		}
	frame_map_destroy(before);
	frame_map_destroy(start);
	trace_reader_close(r);
	unlink(OUT);
}

static void a_signal_ends_a_recording_and_keeps_it(void **state)
{
	char shell[] = "sh", c[] = "-c", load[] = "kill -INT $PPID; exec sleep 1000";
	char *const command[] = {shell, c, load, NULL};
	const struct record_options options = {.out = OUT, .command = command};
	struct record_stats stats;
	struct trace_reader *r;
	struct error err;
	char stale[64];
	pid_t gone;

	(void)state;
	if (!can_record()) {
		skip_because("recording needs root and a mounted tracefs");
	}
	/* Beside it: what a killed recorder left behind goes away. */
	gone = fork();
	if (gone == 0)
		_exit(0);
	assert_int_equal(waitpid(gone, NULL, 0), gone);
	snprintf(stale, sizeof(stale), "/sys/kernel/tracing/instances/quire-%ld", (long)gone);
	assert_int_equal(mkdir(stale, 0700), 0);
	if (record_run(&options, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(access(stale, F_OK), -1);
	assert_no_instance_left();
	assert_true(WIFSIGNALED(stats.command_status));
	assert_int_equal(WTERMSIG(stats.command_status), SIGTERM);
	assert_int_equal(trace_reader_open(OUT, 0, &r, &err), 0);
	check_events(r, &stats);
	trace_reader_close(r);
	unlink(OUT);
}

/* Record @load where no file may be larger than @bytes, which stands in for a full disk. */
static int record_limited(rlim_t bytes, char *load, struct record_stats *stats, struct error *err)
{
	char shell[] = "sh", c[] = "-c";
	char *const command[] = {shell, c, load, NULL};
	const struct record_options options = {.out = OUT, .command = command};
	struct rlimit old, small = {.rlim_cur = bytes};
	int rc;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	rc = record_run(&options, stats, err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
	return rc;
}

static void a_full_spool_keeps_what_was_recorded(void **state)
{
	/* Pages of a file, taken and given back until the recorder has enough. */
	char load[] = "trap 'rm -f " OUT ".load; exit' TERM; ulimit -f unlimited; while :; do "
		      "head -c 60000000 /dev/zero >" OUT ".load; rm " OUT ".load; done";
	struct record_stats stats;
	struct trace_reader *r;
	struct error err = {0};
	rlim_t limit = 1 << 20;
	int rc;

	(void)state;
	if (!can_record()) {
		skip_because("recording needs root and a mounted tracefs");
	}
	/* Busy machines fill a small spool before the recording has begun. */
	do {
		limit *= 2;
		rc = record_limited(limit, load, &stats, &err);
	} while (rc == -EFBIG && limit < 128 << 20);
	if (rc)
		fail_msg("%s", err.text);
	assert_no_instance_left();
	assert_int_equal(stats.cut.code, EFBIG);
	assert_non_null(strstr(stats.cut.text, "the spool is full"));
	/* How much of the spool is from before the start, a busy machine decides. */
	assert_true(stats.totals.events > 1000);
	assert_true(stats.totals.lost_events > 0);
	assert_int_equal(trace_reader_open(OUT, 0, &r, &err), 0);
	check_events(r, &stats);
	trace_reader_close(r);
	unlink(OUT);
}

static void a_trace_that_is_too_large_leaves_nothing(void **state)
{
	char load[] = LOAD;
	struct record_stats stats;
	struct error err;

	(void)state;
	if (!can_record()) {
		print_message("skipped: recording needs root and a mounted tracefs\n");
		skip();
	}
	assert_int_equal(record_limited(8192, load, &stats, &err), -EFBIG);
	/* On a machine so busy that already the start is too much, it is the spool. */
	assert_true(strstr(err.text, OUT) || strstr(err.text, "spool"));
	assert_int_equal(access(OUT, F_OK), -1);
	assert_no_instance_left();
}

static void a_recording_that_cannot_be_leaves_nothing(void **state)
{
	char nothing[] = "quire-no-such-command", slash[] = "/";
	char *const missing[] = {nothing, NULL};
	char *const directory[] = {slash, NULL};
	struct record_options options = {.out = OUT, .command = missing};
	struct record_stats stats;
	struct error err;
	FILE *f;

	(void)state;
	assert_int_equal(record_run(&options, &stats, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "quire-no-such-command"));
	assert_int_equal(access(OUT, F_OK), -1);

	options.out = "no-such-directory/" OUT;
	options.command = NULL;
	assert_int_equal(record_run(&options, &stats, &err), -ENOENT);

	/* An existing file stays as it was. */
	f = fopen(OUT, "w");
	assert_non_null(f);
	fputs("mine", f);
	fclose(f);
	options.out = OUT;
	assert_int_equal(record_run(&options, &stats, &err), -EEXIST);
	assert_non_null(strstr(err.text, OUT));
	unlink(OUT);

	if (!can_record()) {
		skip_because("the rest needs root and a mounted tracefs");
	}
	/* Found, but exec() refuses: noticed only when everything is set up. */
	options.command = directory;
	assert_int_equal(record_run(&options, &stats, &err), -ENOEXEC);
	assert_int_equal(access(OUT, F_OK), -1);
	options.command = NULL;
	options.spool = "no-such-directory";
	assert_int_equal(record_run(&options, &stats, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no-such-directory"));
	assert_int_equal(access(OUT, F_OK), -1);
	assert_no_instance_left();
}

/* Does the map have as many free frames as the free lists, give or take a tenth? */
static bool agrees_with_buddyinfo(const struct frame_map *map)
{
	uint64_t frames[FRAME_STATES], counted = 0;

	frame_map_count(map, frames);
	for (uint32_t i = 0; i < map->machine->nr_zones; i++)
		for (unsigned int o = 0; o < NR_ORDERS; o++)
			counted += map->zones[i].nr_free[o] << o;
	return frames[FRAME_FREE] * 10 >= counted * 9 && frames[FRAME_FREE] * 10 <= counted * 11;
}

static void check_round_trip(const struct frame_map *map)
{
	struct frame_map *again;
	struct trace_reader *r;
	struct error err;

	assert_int_equal(snapshot_write(OUT, true, map, &err), 0);
	assert_int_equal(trace_reader_open(OUT, 0, &r, &err), 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_START, &again, &err), 0);
	assert_int_equal(again->nr_runs, map->nr_runs);
	assert_int_equal(trace_reader_totals(r)->events, 0);
	frame_map_destroy(again);
	trace_reader_close(r);
	unlink(OUT);
}

static void a_snapshot_of_this_machine_agrees_with_buddyinfo(void **state)
{
	bool agrees = false;

	(void)state;
	if (geteuid() != 0 || access("/proc/kpageflags", R_OK) < 0) {
		skip_because("needs root and /proc/kpageflags");
	}
	/* A scan takes a second, in which a busy machine can free gigabytes: try again. */
	for (int i = 0; i < 5 && !agrees; i++) {
		uint64_t managed = 0, usable;
		struct frame_map *map;
		struct machine *m;
		struct error err = {0};

		if (snapshot_live(&m, &map, &err))
			fail_msg("%s", err.text);
		for (uint32_t z = 0; z < m->nr_zones; z++)
			managed += map->zones[z].managed;
		usable = machine_managed(m);
		assert_in_range(usable * 100, managed * 98, managed * 102);
		agrees = agrees_with_buddyinfo(map);
		if (agrees)
			check_round_trip(map);
		frame_map_destroy(map);
		machine_destroy(m);
	}
	assert_true(agrees);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_make_states),
		cmocka_unit_test(an_event_from_before_the_reading_changes_nothing),
		cmocka_unit_test(a_free_frame_stays_free_when_its_free_is_folded),
		cmocka_unit_test(events_outside_the_machine_are_passed_over),
		cmocka_unit_test(a_claim_or_steal_parks_the_block_it_takes),
		cmocka_unit_test(the_last_event_of_a_frame_wins),
		cmocka_unit_test(hindsight_parks_bare_frames_that_come_from_nowhere),
		cmocka_unit_test(hindsight_frees_bare_frames_that_the_free_lists_give_away),
		cmocka_unit_test(
			hindsight_frees_bare_frames_that_are_free_at_the_end_without_a_word),
		cmocka_unit_test(the_first_event_of_a_frame_tells_what_it_was),
		cmocka_unit_test(what_was_freed_last_is_parked_where_the_scan_cannot_tell),
		cmocka_unit_test(a_folded_scan_says_the_same_as_its_machine),
		cmocka_unit_test(pageblock_types_come_from_events_before_contents),
		cmocka_unit_test(an_event_about_a_node_has_its_lowest_frame),
		cmocka_unit_test(orphans_and_implicit_frees_are_counted),
		cmocka_unit_test(offline_memory_comes_online_before_it_is_touched),
		cmocka_unit_test(polls_say_how_far_memory_reaches_and_since_when),
		cmocka_unit_test(reserved_frames_inside_offline_memory_stay_out),
		cmocka_unit_test(a_reserved_frame_is_handed_over_by_its_free),
		cmocka_unit_test(events_on_frames_of_no_zone_are_told_as_lost),
		cmocka_unit_test(the_end_map_agrees_about_what_is_managed),
		cmocka_unit_test(the_burn_in_map_is_of_the_start_s_machine),
		cmocka_unit_test(burn_in_events_on_unmanaged_frames_are_told_as_lost),
		cmocka_unit_test(nothing_is_touched_before_it_is_online),
		cmocka_unit_test(gfp_bits_are_found_by_name),
		cmocka_unit_test(a_live_recording_reads_back_whole),
		cmocka_unit_test(a_recording_with_burn_in_knows_what_led_to_its_start),
		cmocka_unit_test(a_signal_ends_a_recording_and_keeps_it),
		cmocka_unit_test(a_full_spool_keeps_what_was_recorded),
		cmocka_unit_test(a_trace_that_is_too_large_leaves_nothing),
		cmocka_unit_test(a_recording_that_cannot_be_leaves_nothing),
		cmocka_unit_test(a_snapshot_of_this_machine_agrees_with_buddyinfo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
