/* SPDX-License-Identifier: MIT */
/*
 * The back end against the model of model.h under random operations: after each one every list, entry
 * by entry, every count, every frame and every pageblock must be the same.
 *
 * An operation is a kind and a few random numbers, which mean something in any state: the third of the
 * objects there happen to be. So any part of a sequence is a sequence, and one that fails is cut down,
 * as long as it still fails, before it is printed. QUIRE_SEED=N starts elsewhere.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/allocators/buddy/model/model.h"
#include "tests/allocators/buddy/rig/rig.h"
#include "base/bits.h"
#include "sim/gfp.h"
#include "tests/effort.h"

#define NR_CPUS	    3
#define SHRINK_MAX  400 /* attempts */
#define BLOCKS_MAX  128 /* pageblocks of a machine */
#define NS_PER_TICK UINT64_C(1024000000)

enum op_kind {
	OP_ALLOC,
	OP_FREE,
	OP_FREE_PART,
	OP_WRONG_FREE,
	OP_ALLOC_AT,
	OP_ISOLATE,
	OP_UNISOLATE,
	OP_ONLINE,
	OP_OFFLINE,
	OP_DRAIN,
	OP_TICK,
	OP_LOOK,
	OP_FLAW, /* a drain the model is not told of: to see that differences are seen */
	OP_KINDS,
};

static const char *const op_names[OP_KINDS] = {
	"alloc",  "free",    "free part", "wrong free", "alloc_at", "isolate", "unisolate",
	"online", "offline", "drain",	  "tick",	"look",	    "flaw",
};

struct op {
	enum op_kind kind;
	uint32_t r[6];
};

/* What a sequence is played on. */
struct setup {
	struct machine *(*machine)(void);
	char options[96];
	uint64_t seed;
	bool snapshot; /* a random one, made of the seed */
	bool calm;     /* allocations and frees only */
};

struct object {
	pfn_t pfn;
	uint8_t order;
};

struct duel {
	struct rig rig;
	struct model *model;
	struct object *objects;
	size_t nr_objects, room;
	uint64_t now_ns;
	bool loud, differs;
	char why[400];
};

/* The first difference counts. */
__attribute__((format(printf, 2, 3))) static void differ(struct duel *d, const char *fmt, ...)
{
	va_list args;

	if (d->differs)
		return;
	d->differs = true;
	va_start(args, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, args);
	va_end(args);
}

static void expect_equal(struct duel *d, const char *what, int64_t got, int64_t expected)
{
	if (got != expected)
		differ(d, "%s: %" PRId64 ", expected %" PRId64, what, got, expected);
}

/* A step of a failing sequence, for those who read it. */
__attribute__((format(printf, 2, 3))) static void tell(const struct duel *d, const char *fmt, ...)
{
	char line[200];
	va_list args;

	if (!d->loud)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	print_error("    %s\n", line);
}

static void compare(struct duel *d)
{
	if (!d->differs && model_differs(d->model, d->rig.a, &d->rig.err))
		differ(d, "%s", d->rig.err.text);
}

static void add_object(struct duel *d, pfn_t pfn, unsigned int order)
{
	if (d->nr_objects == d->room) {
		d->room = d->room ? 2 * d->room : 1024;
		d->objects = realloc(d->objects, d->room * sizeof(*d->objects));
		assert_non_null(d->objects);
	}
	d->objects[d->nr_objects++] = (struct object){pfn, (uint8_t)order};
}

/* ---- operations ---- */

/* Small orders are many, others few. */
static unsigned int pick_order(uint32_t r)
{
	unsigned int dice = r % 100, more = r / 100;

	if (dice < 50)
		return 0;
	if (dice < 75)
		return more % 4;
	return dice < 93 ? more % 6 : more % NR_ORDERS;
}

static struct alloc_request pick_request(const struct duel *d, const uint32_t r[6])
{
	static const uint8_t types[] = {0, 0, 0, 1, 1, 1, 1, 2, 2, MIGRATE_CMA, MIGRATE_HIGHATOMIC};
	static const uint32_t gfps[] = {
		GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM,
		GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM,
		GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM,
		GFP_DIRECT_RECLAIM,
		GFP_HIGH | GFP_KSWAPD_RECLAIM,
		GFP_HIGH | GFP_KSWAPD_RECLAIM,
		GFP_HIGH | GFP_DIRECT_RECLAIM,
		GFP_HIGH | GFP_NOMEMALLOC,
		GFP_KSWAPD_RECLAIM,
		GFP_DIRECT_RECLAIM | GFP_THISNODE,
	};
	const struct machine *m = d->rig.m;
	struct alloc_request req = {
		.hint_pfn = PFN_NONE,
		.order = (uint8_t)pick_order(r[0]),
		.migratetype = types[r[1] % ARRAY_SIZE(types)],
		.gfp = gfps[r[2] % ARRAY_SIZE(gfps)],
		.node = (uint16_t)(r[2] / 64 % m->nr_nodes),
		.cpu = (uint16_t)(r[3] % m->nr_cpus),
	};
	uint32_t zone = r[3] / 64 % 20;

	req.gfp |= zone == 0 ? GFP_DMA : zone == 1 ? GFP_DMA32 : 0;
	req.zone = (uint8_t)machine_highest_zone(m, req.node, req.gfp);
	return req;
}

/* How many in a row: mostly one, at times a burst. */
static unsigned int pick_repeat(uint32_t r)
{
	return r % 8 ? 1 : r / 8 % 8 ? 1 + r / 64 % 40 : 1 + r / 64 % 400;
}

static void do_alloc(struct duel *d, const uint32_t r[6])
{
	const struct alloc_request req = pick_request(d, r);
	unsigned int n = pick_repeat(r[4]);

	tell(d, "alloc x %u, order %u, type %u, gfp %#x, cpu %u, node %u, zone %u", n, req.order,
	     req.migratetype, req.gfp, req.cpu, req.node, req.zone);
	for (unsigned int i = 0; i < n && !d->differs; i++) {
		struct alloc_result got = buddy_ops.alloc(d->rig.a, &req);
		struct alloc_result expected = model_alloc(d->model, &req);

		expect_equal(d, "allocated pfn", (int64_t)got.pfn, (int64_t)expected.pfn);
		expect_equal(d, "flags", (int64_t)got.flags, (int64_t)expected.flags);
		if (got.pfn == PFN_NONE)
			break;
		add_object(d, got.pfn, req.order);
	}
}

static void free_both(struct duel *d, pfn_t pfn, unsigned int order, unsigned int cpu)
{
	const struct alloc_request req = {.order = (uint8_t)order, .cpu = (uint16_t)cpu};

	tell(d, "free %" PRIu64 ", order %u, cpu %u", pfn, order, cpu);
	expect_equal(d, "free", buddy_ops.free(d->rig.a, pfn, &req),
		     model_free(d->model, pfn, &req));
}

static struct object take_object(struct duel *d, uint32_t r)
{
	size_t i = r % d->nr_objects;
	struct object o = d->objects[i];

	d->objects[i] = d->objects[--d->nr_objects];
	return o;
}

/* Bursts take neighbours in age, oldest or youngest first, as processes that exit do. */
static void do_free(struct duel *d, const uint32_t r[6])
{
	unsigned int n = pick_repeat(r[4]), cpu = r[3] % d->rig.m->nr_cpus;

	for (unsigned int i = 0; i < n && d->nr_objects && !d->differs; i++) {
		size_t at = r[1] & 1 ? d->nr_objects - 1 : r[0];
		struct object o = take_object(d, (uint32_t)at);

		free_both(d, o.pfn, o.order, cpu);
	}
}

static void do_free_part(struct duel *d, const uint32_t r[6])
{
	struct object o;
	unsigned int part;
	pfn_t at;

	if (d->nr_objects == 0)
		return;
	o = take_object(d, r[0]);
	part = r[1] % (o.order + 1U);
	at = o.pfn + ((r[2] % (UINT64_C(1) << (o.order - part))) << part);
	free_both(d, at, part, r[3] % d->rig.m->nr_cpus);
	/* What is left of it lives on in the largest aligned pieces. */
	while (o.order > part) {
		pfn_t half = UINT64_C(1) << --o.order;

		if (at & half) {
			add_object(d, o.pfn, o.order);
			o.pfn += half;
		} else {
			add_object(d, o.pfn + half, o.order);
		}
	}
}

/* Mostly nonsense: not allocated, misaligned, outside. */
static void do_wrong_free(struct duel *d, const uint32_t r[6])
{
	pfn_t pfn = r[0] % (machine_end(d->rig.m) + 2000);
	unsigned int order = pick_order(r[1]);

	for (size_t i = 0; i < d->nr_objects; i++) {
		pfn_t end = d->objects[i].pfn + (UINT64_C(1) << d->objects[i].order);

		if (pfn < end && pfn + (UINT64_C(1) << order) > d->objects[i].pfn)
			return;
	}
	free_both(d, pfn, order, r[3] % d->rig.m->nr_cpus);
}

static pfn_t pick_block(const struct duel *d, uint32_t r, unsigned int order)
{
	return align_down(r % (machine_end(d->rig.m) + 600), UINT64_C(1) << order);
}

static void do_alloc_at(struct duel *d, const uint32_t r[6])
{
	const struct alloc_request req = pick_request(d, r);
	pfn_t pfn = pick_block(d, r[5], req.order) + (r[4] % 10 == 0);
	int got, expected;

	tell(d, "alloc_at %" PRIu64 ", order %u, type %u", pfn, req.order, req.migratetype);
	got = buddy_ops.alloc_at(d->rig.a, pfn, &req);
	expected = model_alloc_at(d->model, pfn, &req);
	expect_equal(d, "alloc_at", got, expected);
	if (got == 0)
		add_object(d, pfn, req.order);
}

static void do_isolation(struct duel *d, const uint32_t r[6], bool isolate)
{
	unsigned int order = r[1] % 2 ? 9 + r[2] % 2 : r[2] % 9;
	pfn_t pfn = pick_block(d, r[0], order);
	uint64_t got_frames = 0, expected_frames = 0;
	int got, expected;

	tell(d, "%s %" PRIu64 ", order %u", isolate ? "isolate" : "unisolate", pfn, order);
	if (isolate) {
		got = buddy_ops.isolate(d->rig.a, pfn, order, &got_frames);
		expected = model_isolate(d->model, pfn, order, &expected_frames);
	} else {
		got = buddy_ops.unisolate(d->rig.a, pfn, order);
		expected = model_unisolate(d->model, pfn, order);
	}
	expect_equal(d, "isolation", got, expected);
	expect_equal(d, "isolated", (int64_t)got_frames, (int64_t)expected_frames);
}

static void do_hotplug(struct duel *d, const uint32_t r[6], bool online)
{
	pfn_t start = r[0] % machine_end(d->rig.m);
	struct pfn_range range = {start, start + r[1] % 2 * 900 + r[2] % 200};
	int got, expected;

	tell(d, "%s %" PRIu64 "..%" PRIu64, online ? "online" : "offline", range.start, range.end);
	if (online) {
		got = buddy_ops.online(d->rig.a, range);
		expected = model_online(d->model, range);
	} else {
		got = buddy_ops.offline(d->rig.a, range);
		expected = model_offline(d->model, range);
	}
	expect_equal(d, "hotplug", got, expected);
}

static void do_tick(struct duel *d, const uint32_t r[6])
{
	d->now_ns += r[0] % 4 ? NS_PER_TICK : r[1] % (4 * NS_PER_TICK);
	tell(d, "tick at %" PRIu64, d->now_ns);
	expect_equal(d, "next tick", (int64_t)buddy_ops.tick(d->rig.a, d->now_ns),
		     (int64_t)model_tick(d->model, d->now_ns));
}

/* What back ends are asked about beside their work. */
static void do_look(struct duel *d)
{
	uint16_t free_frames[BLOCKS_MAX];
	size_t blocks = (size_t)div_round_up(machine_end(d->rig.m), HUGE_FRAMES) + 1;
	struct allocator_stats stats = rig_stats(&d->rig, ALLOCATOR_ALL_ZONES);
	int64_t sum = 0;

	assert_true(blocks <= BLOCKS_MAX);
	buddy_ops.occupancy(d->rig.a, 0, blocks, free_frames);
	for (size_t b = 0; b < blocks; b++) {
		expect_equal(
			d, "occupancy", free_frames[b],
			(int64_t)model_free_in(d->model, b * HUGE_FRAMES, (b + 1) * HUGE_FRAMES));
		sum += free_frames[b];
	}
	expect_equal(d, "free frames", (int64_t)(stats.free_frames + stats.cached_frames), sum);
	if (buddy_ops.check(d->rig.a, &d->rig.err))
		differ(d, "%s", d->rig.err.text);
}

static void do_op(struct duel *d, const struct op *op)
{
	switch (op->kind) {
	case OP_ALLOC:
		do_alloc(d, op->r);
		break;
	case OP_FREE:
		do_free(d, op->r);
		break;
	case OP_FREE_PART:
		do_free_part(d, op->r);
		break;
	case OP_WRONG_FREE:
		do_wrong_free(d, op->r);
		break;
	case OP_ALLOC_AT:
		do_alloc_at(d, op->r);
		break;
	case OP_ISOLATE:
	case OP_UNISOLATE:
		do_isolation(d, op->r, op->kind == OP_ISOLATE);
		break;
	case OP_ONLINE:
	case OP_OFFLINE:
		do_hotplug(d, op->r, op->kind == OP_ONLINE);
		break;
	case OP_DRAIN:
		tell(d, "drain");
		buddy_ops.drain(d->rig.a);
		model_drain(d->model);
		break;
	case OP_TICK:
		do_tick(d, op->r);
		break;
	case OP_FLAW:
		buddy_ops.drain(d->rig.a);
		break;
	default:
		do_look(d);
	}
	compare(d);
}

/* ---- sequences ---- */

/* Growing, shrinking, and hovering where memory is short. */
static void make_ops(struct op *ops, size_t n, uint64_t seed, bool calm)
{
	static const unsigned int allocs[] = {60, 35, 50, 47};
	uint64_t random = seed;

	for (size_t i = 0; i < n; i++) {
		unsigned int dice = (unsigned int)rig_below(&random, 100);
		unsigned int share = allocs[i / 150 % ARRAY_SIZE(allocs)];
		enum op_kind kind;

		if (dice < share)
			kind = OP_ALLOC;
		else if (dice < 85)
			kind = OP_FREE;
		else if (dice < 88)
			kind = OP_FREE_PART;
		else if (dice < 92)
			kind = OP_TICK;
		else if (dice < 93)
			kind = OP_LOOK;
		else
			kind = OP_WRONG_FREE +
			       (unsigned int)rig_below(&random, OP_TICK - OP_WRONG_FREE);
		if (calm && kind > OP_ALLOC_AT && kind < OP_TICK)
			kind = OP_ALLOC;
		/* A drain undoes what makes per-CPU lists interesting. */
		if (kind == OP_DRAIN && rig_below(&random, 4))
			kind = OP_ALLOC_AT;
		ops[i].kind = kind;
		for (size_t j = 0; j < ARRAY_SIZE(ops[i].r); j++)
			ops[i].r[j] = (uint32_t)rig_random(&random);
	}
}

/* Bytes and types of a random snapshot; its objects become the duel's. */
static void random_snapshot(struct duel *d, uint64_t *random, uint8_t *cells, uint8_t *types)
{
	static const uint8_t states[] = {FRAME_FREE,	    FRAME_FREE,	   FRAME_FREE,
					 FRAME_MOVABLE,	    FRAME_MOVABLE, FRAME_UNMOVABLE,
					 FRAME_RECLAIMABLE, FRAME_PARKED,  FRAME_PARKED,
					 FRAME_RESERVED,    FRAME_HOLE,	   FRAME_OFFLINE};
	static const uint8_t all_types[] = {0,
					    1,
					    1,
					    2,
					    MIGRATE_HIGHATOMIC,
					    MIGRATE_CMA,
					    MIGRATE_CMA,
					    MIGRATE_ISOLATE,
					    MIGRATE_UNKNOWN,
					    MIGRATE_UNKNOWN,
					    MIGRATE_UNKNOWN};
	pfn_t start = machine_start(d->rig.m), end = machine_end(d->rig.m);

	for (pfn_t pfn = start, next; pfn < end; pfn = next) {
		unsigned int state = states[rig_below(random, ARRAY_SIZE(states))];
		unsigned int order =
			largest_order(pfn, end, (unsigned int)rig_below(random, NR_ORDERS));
		int zone = machine_zone_of(d->rig.m, pfn);

		if (zone < 0 || pfn + (UINT64_C(1) << order) > d->rig.m->zones[zone].end)
			order = 0;
		next = pfn + (UINT64_C(1) << order);
		if (frame_state_allocated(state) && zone >= 0)
			add_object(d, pfn, order);
		else if (state == FRAME_FREE && rig_below(random, 2))
			next = min_u64(end, pfn + rig_below(random, 3000) + 1);
		if (!frame_state_allocated(state))
			order = 0;
		memset(cells + (pfn - start), (int)(state | order << 4), next - pfn);
	}
	for (size_t b = 0; b < BLOCKS_MAX; b++)
		types[b] = all_types[rig_below(random, ARRAY_SIZE(all_types))];
}

static void random_counts(uint64_t *random, struct zone_counts *zone, struct pcp_state *pcp)
{
	uint32_t batch = 1 + (uint32_t)rig_below(random, 12);
	uint32_t high_min = batch * (4 + (uint32_t)rig_below(random, 20));
	uint32_t high_max = high_min + (uint32_t)rig_below(random, 3) * 300;
	bool silent = rig_below(random, 4) == 0;

	for (unsigned int cpu = 0; cpu < NR_CPUS; cpu++)
		pcp[cpu] = (struct pcp_state){
			.count = (uint32_t)rig_below(random, 900),
			.high = high_min + (uint32_t)rig_below(random, 300),
			.batch = silent ? 0 : batch,
			.high_min = high_min,
			.high_max = high_max,
		};
	*zone = (struct zone_counts){.pcp = pcp, .boost = rig_below(random, 2) * 512};
}

static void adopt_both(struct duel *d, uint64_t seed)
{
	static struct zone_counts zones[MACHINE_ZONES_MAX];
	static struct pcp_state pcp[MACHINE_ZONES_MAX][NR_CPUS];
	uint8_t *cells = calloc(1, machine_end(d->rig.m)), types[BLOCKS_MAX];
	uint64_t random = seed;
	bool counted;

	assert_non_null(cells);
	random_snapshot(d, &random, cells, types);
	for (unsigned int i = 0; i < d->rig.m->nr_zones; i++)
		random_counts(&random, &zones[i], pcp[i]);
	counted = rig_below(&random, 3) != 0;
	expect_equal(d, "adopt", rig_adopt(&d->rig, cells, types, counted ? zones : NULL), 0);
	model_adopt(d->model, cells, types, counted ? zones : NULL);
	free(cells);
	compare(d);
}

static void duel_open(struct duel *d, const struct setup *setup)
{
	*d = (struct duel){0};
	rig_open_with(&d->rig, setup->machine(), setup->options);
	d->model = model_create(d->rig.m, &d->rig.a->rules);
	compare(d);
	if (setup->snapshot)
		adopt_both(d, setup->seed);
}

static void duel_close(struct duel *d)
{
	free(d->objects);
	model_destroy(d->model);
	rig_close(&d->rig);
}

/*
 * Play a sequence.
 * @rules: gets added how often each was at work; NULL: not wanted
 * Return: how many operations it took to fail; 0: it did not.
 */
static size_t play(const struct setup *setup, const struct op *ops, size_t n, uint64_t *rules,
		   bool loud, char why[400])
{
	struct duel d;
	size_t failed = 0;

	duel_open(&d, setup);
	d.loud = loud;
	if (d.differs)
		failed = 1;
	for (size_t i = 0; i < n && !failed; i++) {
		do_op(&d, &ops[i]);
		failed = d.differs ? i + 1 : 0;
	}
	if (!failed) {
		do_look(&d);
		failed = d.differs ? n + 1 : 0;
	}
	for (unsigned int i = 0; rules && i < MODEL_RULES; i++)
		rules[i] += model_count(d.model, i);
	memcpy(why, d.why, sizeof(d.why));
	/* A broken state is not to be checked again. */
	if (failed)
		d.rig.a = NULL;
	duel_close(&d);
	return failed;
}

/* Leave out ever smaller parts of a failing sequence, as long as it fails. Return: what is left of it. */
static size_t shrink(const struct setup *setup, struct op *ops, size_t n)
{
	struct op *less = malloc(n * sizeof(*less));
	unsigned int attempts = 0;
	char why[400];

	assert_non_null(less);
	for (size_t part = n / 2; part; part = part > n / 2 ? n / 2 : part / 2) {
		for (size_t at = 0; at < n && attempts < SHRINK_MAX; attempts++) {
			size_t cut = part < n - at ? part : n - at, failed;

			memcpy(less, ops, at * sizeof(*ops));
			memcpy(less + at, ops + at + cut, (n - at - cut) * sizeof(*ops));
			failed = play(setup, less, n - cut, NULL, false, why);
			if (failed) {
				/* What comes after the failure matters as little. */
				n = failed < n - cut ? failed : n - cut;
				memcpy(ops, less, n * sizeof(*ops));
			} else {
				at += cut;
			}
		}
	}
	free(less);
	return n;
}

static void print_failure(const struct setup *setup, struct op *ops, size_t n)
{
	unsigned int kinds[OP_KINDS] = {0};
	char why[400];

	n = shrink(setup, ops, n);
	for (size_t i = 0; i < n; i++)
		kinds[ops[i].kind]++;
	print_error("options \"%s\", seed %" PRIu64 "%s, cut down to %zu operations:\n",
		    setup->options, setup->seed, setup->snapshot ? ", snapshot" : "", n);
	for (unsigned int k = 0; k < OP_KINDS; k++) {
		if (kinds[k])
			print_error("  %u x %s\n", kinds[k], op_names[k]);
	}
	play(setup, ops, n, NULL, true, why);
	fail_msg("%s", why);
}

static void expect_agreement(const struct setup *setup, size_t n, uint64_t *rules)
{
	struct op *ops = malloc(n * sizeof(*ops));
	char why[400];
	size_t failed;

	assert_non_null(ops);
	make_ops(ops, n, setup->seed, setup->calm);
	failed = play(setup, ops, n, rules, false, why);
	if (failed)
		print_failure(setup, ops, failed < n ? failed : n);
	free(ops);
}

/* ---- machines ---- */

static struct machine *new_machine(unsigned int nr_nodes)
{
	struct machine *m;

	assert_int_equal(machine_create(NR_CPUS, nr_nodes, &m, NULL), 0);
	return m;
}

/* Borders that cut largest blocks and pageblocks, holes, and memory yet to come. Batches of 1 and 3. */
static struct machine *odd_machine(void)
{
	struct machine *m = new_machine(1);

	rig_zone(m, ZONE_DMA, 0, 3, 1700);
	rig_zone(m, ZONE_DMA32, 0, 1700, 4003);
	rig_zone(m, ZONE_NORMAL, 0, 4500, 24999);
	rig_absent(m, 100, 101, ABSENT_RESERVED);
	rig_absent(m, 2048, 2200, ABSENT_HOLE);
	rig_absent(m, 6000, 6007, ABSENT_RESERVED);
	rig_absent(m, 8000, 9500, ABSENT_OFFLINE);
	rig_marks(m, 0, 20, 30, 40);
	rig_marks(m, 1, 60, 90, 120);
	rig_marks(m, 2, 300, 600, 900);
	m->zones[0].lowmem_reserve[ZONE_DMA32] = 10;
	m->zones[0].lowmem_reserve[ZONE_NORMAL] = 150;
	m->zones[1].lowmem_reserve[ZONE_NORMAL] = 100;
	m->zones[1].lowmem_reserve[ZONE_MOVABLE] = 250;
	return m;
}

static struct machine *two_nodes(void)
{
	struct machine *m = new_machine(2);

	rig_zone(m, ZONE_DMA, 0, 1, 700);
	rig_zone(m, ZONE_DMA32, 0, 700, 4096);
	rig_zone(m, ZONE_NORMAL, 0, 4096, 9100);
	rig_zone(m, ZONE_NORMAL, 1, 9100, 16000);
	rig_absent(m, 10000, 10400, ABSENT_HOLE);
	rig_marks(m, 1, 50, 75, 500);
	rig_marks(m, 2, 200, 300, 400);
	rig_marks(m, 3, 100, 600, 700);
	m->zones[1].lowmem_reserve[ZONE_NORMAL] = 40;
	m->node_of_cpu[2] = 1;
	return m;
}

/* Large enough for a reserve of urgent requests, with marks that are reached soon. */
static struct machine *large_machine(void)
{
	struct machine *m = new_machine(1);

	rig_zone(m, ZONE_NORMAL, 0, 1024, 1024 + 53000);
	rig_marks(m, 0, 2000, 30000, 40000);
	return m;
}

/* Below 6 pageblocks types are not kept apart. */
static struct machine *tiny_machine(void)
{
	struct machine *m = new_machine(1);

	rig_zone(m, ZONE_NORMAL, 0, 700, 3500);
	rig_marks(m, 0, 20, 40, 60);
	return m;
}

/* ---- tests ---- */

/* Every combination of per-CPU and fallback rules twice. */
#define ROUNDS (36 * test_effort())

static void expect_worked(const uint64_t rules[MODEL_RULES])
{
	for (unsigned int i = 0; i < MODEL_RULES; i++) {
		if (rules[i] == 0)
			fail_msg("the rule \"%s\" was never at work", model_rule_name(i));
	}
}

static void every_generation_agrees_with_the_model(void **state)
{
	static struct machine *(*const machines[])(void) = {odd_machine, two_nodes, large_machine};
	static const char *const pcp[] = {"6.18", "6.12", "6.6", "6.1", "5.10", "off"};
	static const char *const fallback[] = {"claim", "largest", "old"};
	uint64_t first = rig_seed(1), rules[MODEL_RULES] = {0};

	(void)state;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct setup setup = {
			.machine = machines[(i + i / 3) % 3],
			.seed = first * 1000 + i,
			.snapshot = i / 2 % 3 == 0,
			.calm = i % 5 == 0,
		};

		snprintf(setup.options, sizeof(setup.options),
			 "pcp=%s,fallback=%s,drain_type=%s,watermarks=%s", pcp[i % 6],
			 fallback[i / 6 % 3], (i + i / 18) % 2 ? "cached" : "now",
			 i % 7 == 6 ? "off" : "on");
		expect_agreement(&setup, 900, rules);
	}
	/* Another seed may well miss a rare one. */
	if (!getenv("QUIRE_SEED"))
		expect_worked(rules);
}

static void the_newest_kernel_agrees_with_the_model_for_long(void **state)
{
	uint64_t first = rig_seed(1);

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		const struct setup setup = {
			.machine = odd_machine,
			.seed = first * 1000 + 100 + i,
			.snapshot = i == 2,
			.options = "kernel=6.18",
		};

		expect_agreement(&setup, 5000, NULL);
	}
}

static void a_machine_without_grouping_agrees_with_the_model(void **state)
{
	uint64_t first = rig_seed(1);

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct setup setup = {.machine = tiny_machine, .seed = first * 1000 + 200 + i};

		snprintf(setup.options, sizeof(setup.options), "kernel=%s",
			 (const char *[]){"6.18", "6.12", "6.1"}[i]);
		expect_agreement(&setup, 2500, NULL);
	}
}

/* Of a sequence with a flaw what is left is the flaw and something for it to drain. */
static void a_failing_sequence_is_cut_down(void **state)
{
	struct setup setup = {.machine = tiny_machine, .seed = 7, .options = "kernel=6.18"};
	struct op ops[300];
	char why[400];
	size_t n;

	(void)state;
	make_ops(ops, ARRAY_SIZE(ops), setup.seed, false);
	assert_int_equal(play(&setup, ops, ARRAY_SIZE(ops), NULL, false, why), 0);
	ops[217].kind = OP_FLAW;
	n = play(&setup, ops, ARRAY_SIZE(ops), NULL, false, why);
	assert_int_equal(n, 218);
	n = shrink(&setup, ops, n);
	assert_in_range(n, 2, 4);
	assert_int_equal(ops[n - 1].kind, OP_FLAW);
	assert_int_equal(play(&setup, ops, n, NULL, false, why), n);
}

static void count_blocks(struct rig *rig, uint64_t blocks[3][NR_ORDERS])
{
	memset(blocks, 0, 3 * sizeof(*blocks));
	for (unsigned int z = 0; z < 3; z++) {
		struct allocator_stats stats = rig_stats(rig, z);

		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
			for (unsigned int order = 0; order < NR_ORDERS; order++)
				blocks[z][order] += stats.free_blocks[mt][order];
		}
	}
}

static void freeing_everything_restores_the_initial_blocks(void **state)
{
	static const char *const kernels[] = {"kernel=6.18", "kernel=6.12", "kernel=6.1",
					      "kernel=5.10"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		uint64_t before[3][NR_ORDERS], after[3][NR_ORDERS], random = 99 + i;
		struct rig rig;
		struct alloc_result r;
		pfn_t *pfns = malloc(25000 * sizeof(*pfns));
		size_t n = 0;

		assert_non_null(pfns);
		rig_open_with(&rig, odd_machine(), kernels[i]);
		count_blocks(&rig, before);
		/* To the last frame. */
		while ((r = rig_alloc_on(&rig, (unsigned int)n % NR_CPUS, 0, (unsigned int)n % 3))
			       .pfn != PFN_NONE)
			pfns[n++] = r.pfn;
		assert_int_equal(rig_stats(&rig, ALLOCATOR_ALL_ZONES).free_frames, 0);
		assert_int_equal(rig_stats(&rig, ALLOCATOR_ALL_ZONES).cached_frames, 0);
		rig_check(&rig);
		while (n) {
			size_t at = rig_random(&random) % n;

			assert_int_equal(rig_free_on(&rig, (unsigned int)n % NR_CPUS, pfns[at], 0),
					 0);
			pfns[at] = pfns[--n];
		}
		buddy_ops.drain(rig.a);
		count_blocks(&rig, after);
		assert_memory_equal(before, after, sizeof(before));
		free(pfns);
		rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_generation_agrees_with_the_model),
		cmocka_unit_test(the_newest_kernel_agrees_with_the_model_for_long),
		cmocka_unit_test(a_machine_without_grouping_agrees_with_the_model),
		cmocka_unit_test(a_failing_sequence_is_cut_down),
		cmocka_unit_test(freeing_everything_restores_the_initial_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
