/* SPDX-License-Identifier: MIT */
/*
 * The whole allocator, killed. One thread runs random operations; after every step that changes
 * persistent memory, that memory is copied, an instance is recovered from the copy, and asked about
 * every frame. What an operation that had returned did must be so; a frame that the interrupted
 * operation is about may be as before it or as after it.
 *
 * With persist=adr, the copy has only the cache lines that were written back by then, and of all
 * others a random choice: those that the cpu happened to write back on its own.
 *
 * Here are all operations, those on memory that comes and goes included, which are never concurrent;
 * what several threads can do to each other is explored in tests/allocators/llfree/explorer/.
 */
#include <errno.h>

#include "allocators/llfree/persist.h"
#include "tests/allocators/llfree/test_env.h"

#ifndef LLFREE_HOOKS
#error "needs LLFREE_HOOKS"
#endif

extern const struct allocator_ops llfree_ops;

#define CPUS	   4U
#define FRAMES	   3500U /* pfns 0 .. FRAMES - 1, not all of which exist */
#define BLOCKS_MAX FRAMES
#define COPIES_MAX 12U /* kept of the steps of one operation */

/* ---- what is persistent at each step ---- */

struct line {
	char *at;
	char bytes[PERSIST_LINE];
};

static struct tracker {
	const struct test_env *env; /* NULL: nobody looks */
	bool adr;
	uint64_t seed;
	char *durable[TEST_PIECES_MAX]; /* adr: what has been written back of each piece */
	size_t nr_durable;
	struct line begun[64]; /* to be written back, done at the next fence */
	unsigned int nr_begun;
	struct test_env copies[COPIES_MAX];
	unsigned int nr_copies, max_copies;
	uint64_t steps;
} tracker;

enum mutant atom_mutant = MUTANT_NONE;

void atom_before(const volatile void *word, enum atom_access access)
{
	(void)word;
	(void)access;
}

/* The durable copy of persistent memory at @at, or NULL if that is volatile. */
static char *durable(const volatile char *at)
{
	for (size_t i = 0; i < tracker.env->nr_persistent; i++) {
		char *memory = tracker.env->persistent[i].memory;

		if (at >= memory && at < memory + tracker.env->persistent[i].bytes)
			return tracker.durable[i] + (at - memory);
	}
	return NULL;
}

/* Pieces that were asked for meanwhile. */
static void track_pieces(void)
{
	for (; tracker.nr_durable < tracker.env->nr_persistent; tracker.nr_durable++)
		tracker.durable[tracker.nr_durable] = test_env_piece(
			tracker.env->persistent[tracker.nr_durable].bytes, PERSIST_LINE);
}

static void track_flush(const volatile void *word)
{
	char *at = (char *)align_down((uint64_t)(uintptr_t)word, PERSIST_LINE);

	assert_true(tracker.nr_begun < ARRAY_SIZE(tracker.begun));
	tracker.begun[tracker.nr_begun].at = at;
	memcpy(tracker.begun[tracker.nr_begun++].bytes, at, PERSIST_LINE);
}

static void track_fence(void)
{
	for (unsigned int i = 0; i < tracker.nr_begun; i++) {
		char *to = durable(tracker.begun[i].at);

		if (to)
			memcpy(to, tracker.begun[i].bytes, PERSIST_LINE);
	}
	tracker.nr_begun = 0;
}

/* Lines that were not written back, or only begun to be: any of them may have been. */
static void copy_lines(struct test_env *copy, uint64_t chance)
{
	for (size_t i = 0; i < copy->nr_persistent; i++) {
		const char *is = tracker.env->persistent[i].memory;
		char *to = copy->persistent[i].memory;

		for (size_t k = 0; k < copy->persistent[i].bytes; k += PERSIST_LINE) {
			size_t n = min_u64(PERSIST_LINE, copy->persistent[i].bytes - k);

			if (memcmp(is + k, tracker.durable[i] + k, n) != 0 &&
			    test_random(&tracker.seed) % 4 >= chance)
				memcpy(to + k, tracker.durable[i] + k, n);
		}
	}
}

static void track_copy(struct test_env *copy)
{
	test_env_crash(copy, tracker.env);
	/* None of them, all of them, and what is in between. */
	if (tracker.adr)
		copy_lines(copy, test_random(&tracker.seed) % 5);
}

void atom_after(const volatile void *word, enum atom_access access, bool success)
{
	unsigned int i;

	if (!tracker.env)
		return;
	track_pieces();
	if (access == ATOM_FLUSH)
		track_flush(word);
	if (access == ATOM_FENCE)
		track_fence();
	if (access == ATOM_LOAD || access == ATOM_WAIT || access == ATOM_FLUSH || !success ||
	    (access != ATOM_FENCE && !durable(word)))
		return;
	/* A fair choice of all steps is kept. */
	i = tracker.nr_copies;
	if (i == tracker.max_copies) {
		i = (unsigned int)(test_random(&tracker.seed) % (tracker.steps + 1));
		if (i < tracker.max_copies)
			test_env_release(&tracker.copies[i]);
	} else {
		tracker.nr_copies++;
	}
	tracker.steps++;
	if (i < tracker.max_copies)
		track_copy(&tracker.copies[i]);
}

static void track_begin(const struct test_env *env, unsigned int max_copies)
{
	tracker.env = env;
	tracker.max_copies = max_copies;
	tracker.nr_copies = 0;
	tracker.steps = 0;
	track_pieces();
}

static void track_end(void)
{
	tracker.env = NULL;
}

/* The durable state is that of @env from here on. */
static void track_reset(const struct test_env *env, bool adr, uint64_t seed)
{
	while (tracker.nr_durable)
		free(tracker.durable[--tracker.nr_durable]);
	tracker = (struct tracker){.adr = adr, .seed = seed};
	for (size_t i = 0; env && i < env->nr_persistent; i++) {
		tracker.durable[i] = test_env_piece(env->persistent[i].bytes, PERSIST_LINE);
		memcpy(tracker.durable[i], env->persistent[i].memory, env->persistent[i].bytes);
		tracker.nr_durable++;
	}
}

/* ---- a small world ---- */

/* Bits, so that several may be allowed. */
enum cell {
	CELL_FREE = 1,
	CELL_USED = 2,
	CELL_ABSENT = 4,
	CELL_ISOLATED = 8,
	CELL_ANY = 15,
};

struct world {
	struct test_env env;
	struct machine *machine;
	struct option_set *options;
	struct error err;
	struct allocator *a;
	uint8_t cells[FRAMES];
	uint8_t allowed[FRAMES]; /* beside what cells say, while an operation is under way */
	struct {
		pfn_t pfn;
		unsigned int order;
	} live[BLOCKS_MAX];
	unsigned int nr_live;
	uint64_t seed, random;
	unsigned int step;
};

static uint64_t below(struct world *w, uint64_t n)
{
	return test_random(&w->random) % n;
}

/* Two zones that meet within a block, a gap, and absent ranges. */
static struct machine *small_machine(void)
{
	static const struct pfn_range spans[] = {{0, 1200}, {1200, 3500}};
	struct machine *m;

	assert_int_equal(machine_create(CPUS, 1, &m, NULL), 0);
	for (unsigned int z = 0; z < ARRAY_SIZE(spans); z++) {
		struct zone zone = {.start = spans[z].start,
				    .end = spans[z].end,
				    .present = spans[z].end - spans[z].start,
				    .managed = spans[z].end - spans[z].start,
				    .type = (uint8_t)(ZONE_DMA32 + z)};

		assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	}
	assert_int_equal(machine_add_absent(m, (struct pfn_range){100, 130}, ABSENT_RESERVED, NULL),
			 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){2560, 3200}, ABSENT_OFFLINE, NULL), 0);
	return m;
}

static void world_init(struct world *w, const char *spec, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = w->random = seed;
	w->machine = small_machine();
	assert_int_equal(option_set_create(llfree_ops.options, &w->options, &w->err), 0);
	assert_int_equal(option_set_parse_spec(w->options, spec, &w->err), 0);
	test_env_init(&w->env, w->machine, w->options);
	memset(w->cells, CELL_FREE, sizeof(w->cells));
	for (size_t i = 0; i < w->machine->nr_absent; i++) {
		struct pfn_range r = w->machine->absent[i].range;

		memset(w->cells + r.start, CELL_ABSENT, r.end - r.start);
	}
	track_reset(&w->env, strstr(spec, "persist=adr") != NULL, seed);
	track_begin(&w->env, 0);
	assert_int_equal(llfree_ops.create(&w->env.env, &w->a), 0);
	track_end();
}

static void world_release(struct world *w)
{
	llfree_ops.destroy(w->a);
	test_env_release(&w->env);
	option_set_destroy(w->options);
	machine_destroy(w->machine);
	track_reset(NULL, false, 0);
}

/* ---- asking a recovered instance ---- */

/* It is asked by doing: of what is free all is taken, of what is in use all is freed. */
struct probe {
	struct world *w;
	struct allocator *a;
	const char *when;
};

static void saw(const struct probe *p, pfn_t pfn, uint64_t n, enum cell is)
{
	for (uint64_t i = pfn; i < pfn + n; i++) {
		if (!((p->w->cells[i] | p->w->allowed[i]) & is))
			fail_msg("seed %llu step %u, %s: frame %llu is %d, was %d, may be %d",
				 (unsigned long long)p->w->seed, p->w->step, p->when,
				 (unsigned long long)i, is, p->w->cells[i], p->w->allowed[i]);
	}
}

static void probe_block(const struct probe *p, pfn_t pfn, unsigned int order)
{
	struct alloc_request req = {.migratetype = MIGRATE_MOVABLE, .order = (uint8_t)order};
	uint64_t n = UINT64_C(1) << order;
	int ret = pfn + n <= FRAMES ? llfree_ops.alloc_at(p->a, pfn, &req) : -EINVAL;

	if (ret == 0) {
		saw(p, pfn, n, CELL_FREE);
	} else if (order > 0) {
		for (unsigned int half = 0; half < 2; half++) {
			if (pfn + half * n / 2 < FRAMES)
				probe_block(p, pfn + half * n / 2, order - 1);
		}
	} else if (ret == -EINVAL) {
		saw(p, pfn, 1, CELL_ABSENT);
	} else {
		ret = llfree_ops.free(p->a, pfn, &req);
		saw(p, pfn, 1, ret == 0 ? CELL_USED : CELL_ISOLATED);
		/* So that it looks allocated from here on. */
		assert_true(ret < 0 || llfree_ops.alloc_at(p->a, pfn, &req) == 0);
	}
}

static void check(const struct probe *p)
{
	struct error err = {0};

	if (llfree_ops.check(p->a, &err) < 0)
		fail_msg("seed %llu step %u, %s: %s", (unsigned long long)p->w->seed, p->w->step,
			 p->when, err.text);
}

static bool untouched(const struct world *w, pfn_t pfn, uint64_t n)
{
	for (uint64_t i = pfn; i < pfn + n; i++) {
		if (w->allowed[i])
			return false;
	}
	return true;
}

/* Blocks that no operation was about are still blocks, of the order they were asked for. */
static void probe_live(const struct probe *p)
{
	for (unsigned int i = 0; i < p->w->nr_live; i++) {
		pfn_t pfn = p->w->live[i].pfn;
		unsigned int order = p->w->live[i].order;
		struct alloc_request req = {.migratetype = MIGRATE_MOVABLE,
					    .order = (uint8_t)order};

		if (!untouched(p->w, pfn, UINT64_C(1) << order))
			continue;
		if (llfree_ops.alloc_at(p->a, pfn, &req) != -EBUSY ||
		    llfree_ops.free(p->a, pfn, &req) != 0 ||
		    llfree_ops.alloc_at(p->a, pfn, &req) != 0)
			fail_msg("seed %llu step %u, %s: block %llu of order %u is lost",
				 (unsigned long long)p->w->seed, p->w->step, p->when,
				 (unsigned long long)pfn, order);
	}
}

static void probe(struct world *w, struct allocator *a, const char *when)
{
	struct probe p = {w, a, when};

	check(&p);
	probe_live(&p);
	check(&p);
	for (pfn_t pfn = 0; pfn < FRAMES; pfn += UINT64_C(1) << MAX_ORDER)
		probe_block(&p, pfn, MAX_ORDER);
	check(&p);
}

static struct allocator *recover(struct world *w, struct test_env *env, const char *when)
{
	struct allocator *a;
	int ret = llfree_ops.recover(&env->env, &a);

	if (ret < 0)
		fail_msg("seed %llu step %u, %s: recover: %d %s", (unsigned long long)w->seed,
			 w->step, when, ret, env->err.text);
	test_env_recovered(env);
	return a;
}

/* One instance that was killed, and another that was killed again while it recovered. */
static void recover_copy(struct world *w, struct test_env *copy, const char *when)
{
	struct tracker outer = tracker;
	struct allocator *a;

	if (below(w, 4) == 0) {
		memset(&tracker, 0, sizeof(tracker));
		track_reset(copy, outer.adr, below(w, UINT64_MAX));
		track_begin(copy, 1);
		a = recover(w, copy, when);
		track_end();
		probe(w, a, when);
		llfree_ops.destroy(a);
		if (tracker.nr_copies) {
			a = recover(w, &tracker.copies[0], "again");
			probe(w, a, "again");
			llfree_ops.destroy(a);
			test_env_release(&tracker.copies[0]);
		}
		track_reset(NULL, false, 0);
		tracker = outer;
		return;
	}
	a = recover(w, copy, when);
	probe(w, a, when);
	llfree_ops.destroy(a);
}

/* ---- operations ---- */

static void op_begin(struct world *w)
{
	memset(w->allowed, 0, sizeof(w->allowed));
	track_begin(&w->env, COPIES_MAX);
}

/* The frames [@pfn, @pfn + @n) have become @is, and may have been @between. */
static void op_about(struct world *w, pfn_t pfn, uint64_t n, unsigned int between, enum cell is)
{
	for (uint64_t i = pfn; i < pfn + n; i++) {
		w->allowed[i] = (uint8_t)(w->cells[i] | between | is);
		w->cells[i] = (uint8_t)is;
	}
}

/* Try all the crashes there were under way, and one right after it. */
static void op_end(struct world *w, const char *what)
{
	struct test_env last;

	track_copy(&last);
	track_end();
	while (tracker.nr_copies) {
		struct test_env copy = tracker.copies[--tracker.nr_copies];

		recover_copy(w, &copy, what);
		test_env_release(&copy);
	}
	memset(w->allowed, 0, sizeof(w->allowed));
	recover_copy(w, &last, "afterwards");
	test_env_release(&last);
}

static struct alloc_request random_request(struct world *w)
{
	static const uint8_t types[] = {MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE};

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.order = (uint8_t)(below(w, 2) ? 0 : below(w, NR_ORDERS)),
		.migratetype = types[below(w, ARRAY_SIZE(types))],
		.cpu = (uint16_t)below(w, CPUS),
		.zone = (uint8_t)below(w, 2),
	};
}

static void note_live(struct world *w, pfn_t pfn, unsigned int order)
{
	w->live[w->nr_live].pfn = pfn;
	w->live[w->nr_live++].order = order;
}

static void do_alloc(struct world *w)
{
	struct alloc_request req = random_request(w);
	pfn_t pfn;

	op_begin(w);
	if (below(w, 3) == 0) {
		pfn = align_down(below(w, FRAMES), UINT64_C(1) << req.order);
		if (llfree_ops.alloc_at(w->a, pfn, &req) < 0)
			pfn = PFN_NONE;
	} else {
		pfn = llfree_ops.alloc(w->a, &req).pfn;
	}
	if (pfn != PFN_NONE) {
		op_about(w, pfn, UINT64_C(1) << req.order, 0, CELL_USED);
		note_live(w, pfn, req.order);
	}
	op_end(w, "alloc");
}

/* What is left of a block of which a part was freed, as blocks of the part's order. */
static void keep_rest(struct world *w, pfn_t pfn, unsigned int order, pfn_t part,
		      unsigned int part_order)
{
	uint64_t n = UINT64_C(1) << part_order;

	for (pfn_t at = pfn; at < pfn + (UINT64_C(1) << order); at += n) {
		if (at != part)
			note_live(w, at, part_order);
	}
}

static void do_free(struct world *w)
{
	struct alloc_request req = random_request(w);
	unsigned int i, order;
	pfn_t pfn, part;

	if (w->nr_live == 0)
		return;
	i = (unsigned int)below(w, w->nr_live);
	part = pfn = w->live[i].pfn;
	order = w->live[i].order;
	w->live[i] = w->live[--w->nr_live];
	req.order = (uint8_t)order;
	if (below(w, 2)) {
		req.order = (uint8_t)below(w, order + 1);
		part += below(w, UINT64_C(1) << (order - req.order)) << req.order;
	}
	op_begin(w);
	expect(w, llfree_ops.free(w->a, part, &req) == 0);
	op_about(w, part, UINT64_C(1) << req.order, 0, CELL_FREE);
	keep_rest(w, pfn, order, part, req.order);
	op_end(w, "free");
}

static void do_drain(struct world *w)
{
	op_begin(w);
	llfree_ops.drain(w->a);
	op_end(w, "drain");
}

static bool any_is(const struct world *w, struct pfn_range range, unsigned int cells)
{
	for (pfn_t pfn = range.start; pfn < range.end; pfn++) {
		if (w->cells[pfn] & cells)
			return true;
	}
	return false;
}

/* All frames of @range that are @from become @to. */
static void turn(struct world *w, struct pfn_range range, enum cell from, unsigned int between,
		 enum cell to)
{
	for (pfn_t pfn = range.start; pfn < range.end; pfn++) {
		if (w->cells[pfn] == from)
			op_about(w, pfn, 1, between, to);
	}
}

static void do_online(struct world *w)
{
	pfn_t start = below(w, FRAMES);
	struct pfn_range range = {start, min_u64(start + 1 + below(w, 900), FRAMES)};

	op_begin(w);
	expect(w, llfree_ops.online(w->a, range) == 0);
	turn(w, range, CELL_ABSENT, 0, CELL_FREE);
	op_end(w, "online");
}

static void do_offline(struct world *w)
{
	pfn_t start = below(w, FRAMES);
	struct pfn_range range = {start,
				  min_u64(start + 1 + below(w, below(w, 2) ? 20 : 900), FRAMES)};
	bool busy = any_is(w, range, CELL_USED | CELL_ISOLATED);

	op_begin(w);
	expect(w, llfree_ops.offline(w->a, range) == (busy ? -EBUSY : 0));
	if (!busy)
		turn(w, range, CELL_FREE, 0, CELL_ABSENT);
	op_end(w, "offline");
}

static struct pfn_range random_block(struct world *w, unsigned int *order)
{
	*order = (unsigned int)below(w, NR_ORDERS);

	pfn_t pfn = align_down(below(w, FRAMES), UINT64_C(1) << *order);

	return (struct pfn_range){pfn, min_u64(pfn + (UINT64_C(1) << *order), FRAMES)};
}

static void isolate(struct world *w, struct pfn_range range, unsigned int order)
{
	uint64_t got;

	op_begin(w);
	expect(w, llfree_ops.isolate(w->a, range.start, order, &got) == 0);
	turn(w, range, CELL_FREE, 0, CELL_ISOLATED);
	op_end(w, "isolate");
}

static void do_isolate(struct world *w)
{
	unsigned int order;
	struct pfn_range range = random_block(w, &order);

	isolate(w, range, order);
}

static void do_unisolate(struct world *w)
{
	unsigned int order;
	struct pfn_range range = random_block(w, &order);

	op_begin(w);
	expect(w, llfree_ops.unisolate(w->a, range.start, order) == 0);
	turn(w, range, CELL_ISOLATED, 0, CELL_FREE);
	op_end(w, "unisolate");
}

/* The state of now as a snapshot, in which each live frame is an object of its own. */
static void do_adopt(struct world *w)
{
	uint8_t cells[FRAMES];
	struct frame_map *map;

	w->nr_live = 0;
	op_begin(w);
	for (pfn_t pfn = 0; pfn < FRAMES; pfn++) {
		uint8_t was = w->cells[pfn];

		cells[pfn] = was == CELL_FREE	  ? FRAME_FREE
			     : was == CELL_ABSENT ? FRAME_OFFLINE
						  : FRAME_MOVABLE;
		op_about(w, pfn, 1, CELL_ANY, was == CELL_ISOLATED ? CELL_USED : was);
		if (cells[pfn] == FRAME_MOVABLE)
			note_live(w, pfn, 0);
	}
	assert_int_equal(frame_map_from_bytes(w->machine, cells, 0, &map, NULL), 0);
	expect(w, llfree_ops.adopt(w->a, map) == 0);
	frame_map_destroy(map);
	op_end(w, "adopt");
}

static void world_step(struct world *w)
{
	uint64_t r = below(w, 100);

	if (r < 2)
		do_adopt(w);
	else if (r < 6)
		do_drain(w);
	else if (r < 14)
		do_online(w);
	else if (r < 24)
		do_offline(w);
	else if (r < 29)
		do_isolate(w);
	else if (r < 37)
		do_unisolate(w);
	else if (r < (w->step / 60 % 2 ? 55U : 80U))
		do_alloc(w);
	else
		do_free(w);
}

static void run(const char *spec, uint64_t seed, unsigned int steps)
{
	struct world *w = malloc(sizeof(*w));

	assert_non_null(w);
	world_init(w, spec, seed);
	for (w->step = 0; w->step < steps; w->step++)
		world_step(w);
	world_release(w);
	free(w);
}

static void nothing_that_has_returned_is_lost_at_any_step(void **state)
{
	(void)state;
	run("tree=4", 1, 150);
	run("tree=8,policy=simple,last_frees=on", 2, 150);
}

static void nor_are_the_frames_that_magazines_hold(void **state)
{
	(void)state;
	run("tree=4,rows=on", 3, 150);
	run("tree=4,rows=on,policy=reclaimable", 4, 150);
}

static void nor_what_was_not_written_back_by_then(void **state)
{
	(void)state;
	run("tree=4,persist=adr", 5, 150);
	run("tree=4,persist=adr,rows=on", 6, 150);
}

/* The list of what is withheld moves to larger memory in the middle of it. */
static void nor_what_is_isolated_when_the_list_has_to_grow(void **state)
{
	static const char *const specs[] = {"tree=4", "tree=4,persist=adr"};
	struct world *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++) {
		size_t pieces;

		world_init(w, specs[i], 7 + i);
		pieces = w->env.nr_persistent;
		for (pfn_t pfn = 200; pfn < 350; pfn += 2) {
			isolate(w, (struct pfn_range){pfn, pfn + 1}, 0);
			w->step++;
		}
		assert_true(w->env.nr_persistent > pieces);
		world_release(w);
	}
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_that_has_returned_is_lost_at_any_step),
		cmocka_unit_test(nor_are_the_frames_that_magazines_hold),
		cmocka_unit_test(nor_what_was_not_written_back_by_then),
		cmocka_unit_test(nor_what_is_isolated_when_the_list_has_to_grow),
	};

	return cmocka_run_group_tests_name("llfree_upper", tests, NULL, NULL);
}
