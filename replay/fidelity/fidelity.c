/* SPDX-License-Identifier: MIT */
#include "replay/fidelity/fidelity.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/progress.h"
#include "replay/clock.h"
#include "replay/engine.h"
#include "replay/footprint.h"
#include "replay/isolate.h"
#include "replay/fidelity/judge.h"
#include "replay/fidelity/unseen.h"
#include "replay/tell.h"
#include "sim/gfp.h"
#include "traces/file/trace.h"

/* Regions whose free blocks are compared, if anything happened there: a largest block each. */
#define REGION_ORDER MAX_ORDER

#define TOLD(kind) (UINT64_C(1) << (kind))
#define TOLD_ALL                                                                                   \
	(TOLD(FACT_PLACED) | TOLD(FACT_FREED) | TOLD(FACT_REFILL) | TOLD(FACT_DRAIN) |             \
	 TOLD(FACT_FALLBACK))
#define TOLD_REQUESTS (TOLD(FACT_PLACED) | TOLD(FACT_FREED))

/*
 * Blocks one cpu has just taken from the free lists, for one list. If an allocation of the first one
 * follows they were fetched for it, as a refill or, if it is the only one, directly.
 */
struct fetch {
	bool open, percpu;
	uint8_t order, migratetype;
	uint32_t blocks;
	pfn_t first;
	pfn_t predicted;  /* before the first block: what an allocation would have got */
	bool first_right; /* the first block was foreseen as such */
	const char *cause, *first_cause;
	uint8_t tenth;
};

struct fidelity {
	const struct fidelity_config *config;
	struct error *err;
	struct run_position *at; /* the watcher's, or */
	struct run_position unwatched;
	struct tell tell;
	struct doubts doubts;
	struct trace_reader *reader;
	const struct trace_header *header;
	const struct trace_totals *totals;
	const struct machine *machine;
	struct frame_map *burn_in;     /* NULL: none */
	struct frame_map *start;       /* as known at the start; with hindsight if asked for */
	struct frame_map *start_known; /* as found in the trace */
	uint64_t *touched;	       /* bit per region: an event after the start was there */
	uint64_t kernel_refills, kernel_drains, kernel_fallbacks;
	struct progress progress;

	/* One pass. */
	struct world *world;
	const struct allocator_ops *ops;
	struct allocator *a;
	struct judge judge;
	struct lifo *lifo; /* NULL: not in this pass */
	struct judge lifo_judge;
	struct fetch *fetch;  /* per cpu */
	struct unseen unseen; /* of a forced pass */
	uint64_t done;	      /* events after the start */
	uint64_t next_tick_ns;
	bool told_lists; /* refills and drains are told */
};

/* ---- asking and telling ---- */

/* What led to an event; of the block it names, the back end is told nothing but its node. */
static struct alloc_request request_of(const struct fidelity *f, const struct event *e,
				       unsigned int mt, uint32_t gfp)
{
	unsigned int node = machine_asked_node(f->machine, e->pfn, e->cpu);
	struct request_zone of = machine_request_zone(f->machine, node, gfp);

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.cpu = e->cpu,
		.node = of.node,
		.order = e->order,
		.migratetype = (uint8_t)mt,
		.zone = of.zone,
	};
}

static void tell(struct fidelity *f, const struct event *e, enum kernel_fact_kind kind)
{
	const struct kernel_fact fact = {
		.pfn = e->pfn,
		.time_ns = e->time_ns,
		.arg = e->arg,
		.gfp = e->gfp,
		.cpu = e->cpu,
		.kind = (uint8_t)kind,
		.order = e->order,
		.migratetype = e->migratetype,
		.flags = e->flags,
	};

	/* That a fact contradicts the state is what the score is about; the state is repaired. */
	(void)f->ops->observe(f->a, &fact);
}

static int follow(struct fidelity *f, uint64_t told)
{
	const struct kernel_fact fact = {.kind = FACT_FOLLOW, .arg = told};
	int rc = f->ops->observe(f->a, &fact);

	f->told_lists = told & TOLD(FACT_REFILL);
	return rc ? error_set(f->err, -rc, "%s: cannot keep to the recording: %s", f->ops->name,
			      strerror(-rc))
		  : 0;
}

static const char *explain(const struct fidelity *f, const struct alloc_request *req, pfn_t pfn)
{
	return f->ops->explain ? f->ops->explain(f->a, req, pfn) : NULL;
}

static uint8_t tenth_of(const struct fidelity *f)
{
	return (uint8_t)min_u64(f->done * JUDGE_TENTHS / max_u64(f->totals->events, 1),
				JUDGE_TENTHS - 1);
}

/* ---- one event ---- */

static unsigned int type_of(const struct event *e)
{
	return e->migratetype < MIGRATE_TYPES ? e->migratetype : gfp_migratetype(e->gfp);
}

/* Enter the first block of a fetch whose kind has turned out. */
static void enter_first(struct fidelity *f, const struct fetch *fetch, enum accuracy_class c)
{
	const struct choice choice = {
		.order = fetch->order,
		.migratetype = fetch->migratetype,
		.tenth = fetch->tenth,
		.correct = fetch->first_right,
		.cause = fetch->first_cause,
	};

	if (f->told_lists)
		judge_enter(&f->judge, c, &choice);
}

/* Nobody asked for the only block as far as the trace tells: a bulk allocation's refill. */
static void close_fetch(struct fidelity *f, unsigned int cpu)
{
	struct fetch *fetch = &f->fetch[cpu];

	if (fetch->open && fetch->blocks == 1 && fetch->percpu)
		enter_first(f, fetch, ACCURACY_REFILL);
	fetch->open = false;
}

/* Where does a fallback that tells no other event get its block from? */
static bool is_block(const struct event *e, const struct machine *m)
{
	return e->kind == EVENT_ZONE_LOCKED || !event_change_ownership(e->arg) ||
	       event_fallback_order(e->arg) >= m->pageblock_order;
}

static bool percpu_order(const struct event *e)
{
	return e->kind == EVENT_ZONE_LOCKED ? e->flags & EVENT_PCPU_REFILL
					    : e->order <= 3 || e->order == HUGE_ORDER;
}

/* A block leaves the free lists. */
static void judge_block(struct fidelity *f, const struct event *e)
{
	struct fetch *fetch = &f->fetch[e->cpu];
	struct alloc_request req = request_of(f, e, e->migratetype, 0);
	struct choice choice = {
		.order = e->order,
		.migratetype = e->migratetype,
		.tenth = tenth_of(f),
	};
	bool more = fetch->open && fetch->order == e->order && fetch->migratetype == e->migratetype;

	if (!more) {
		close_fetch(f, e->cpu);
		*fetch = (struct fetch){
			.open = true,
			.percpu = percpu_order(e),
			.order = e->order,
			.migratetype = e->migratetype,
			.first = e->pfn,
			.tenth = choice.tenth,
		};
		fetch->predicted = f->ops->predict(f->a, &req).pfn;
		if (fetch->predicted != e->pfn)
			fetch->cause = explain(f, &req, e->pfn);
	}
	if (f->told_lists) {
		req.flags = ALLOC_UNCACHED;
		choice.correct = f->ops->predict(f->a, &req).pfn == e->pfn;
		if (!choice.correct)
			choice.cause = explain(f, &req, e->pfn);
		if (++fetch->blocks == 1) {
			fetch->first_right = choice.correct;
			fetch->first_cause = choice.cause;
			return;
		}
		if (fetch->blocks == 2)
			enter_first(f, fetch, ACCURACY_REFILL);
		judge_enter(&f->judge, ACCURACY_REFILL, &choice);
	} else {
		fetch->blocks++;
	}
}

static void judge_alloc(struct fidelity *f, const struct event *e)
{
	struct fetch *fetch = &f->fetch[e->cpu];
	unsigned int mt = type_of(e);
	const struct alloc_request req = request_of(f, e, mt, e->gfp);
	bool fetched = fetch->open && fetch->order == e->order && fetch->first == e->pfn;
	struct choice choice = {
		.order = e->order,
		.migratetype = (uint8_t)mt,
		.tenth = tenth_of(f),
	};
	enum accuracy_class c = !fetched	     ? ACCURACY_HIT
				: fetch->blocks == 1 ? ACCURACY_DIRECT
						     : ACCURACY_REFILL;

	if (fetched && f->told_lists) {
		choice.correct = fetch->predicted == e->pfn;
		choice.cause = fetch->cause;
		if (c == ACCURACY_DIRECT)
			judge_enter(&f->judge, c, &choice);
	} else {
		choice.correct = f->ops->predict(f->a, &req).pfn == e->pfn;
		if (!choice.correct)
			choice.cause = explain(f, &req, e->pfn);
		/* With the lists told, refills are judged block by block. */
		judge_enter(&f->judge, c, &choice);
	}
	judge_enter(&f->judge, ACCURACY_DECIDED, &choice);
	if (fetched)
		fetch->open = false;
	else
		close_fetch(f, e->cpu);
	if (f->lifo) {
		choice.correct = lifo_predict(f->lifo, e->cpu, e->order) == e->pfn;
		choice.cause = NULL;
		judge_enter(&f->lifo_judge, c, &choice);
		judge_enter(&f->lifo_judge, ACCURACY_DECIDED, &choice);
	}
}

static bool plain_block(const struct fidelity *f, const struct event *e)
{
	uint64_t frames = UINT64_C(1) << e->order;

	return e->order <= MAX_ORDER && is_aligned(e->pfn, frames) &&
	       e->pfn >= machine_start(f->machine) && e->pfn <= machine_end(f->machine) - frames;
}

static int one_alloc(struct fidelity *f, const struct event *e, bool score)
{
	struct event told = *e;

	if (!plain_block(f, e))
		return 0;
	if (score)
		judge_alloc(f, e);
	told.migratetype = (uint8_t)type_of(e);
	tell(f, &told, FACT_PLACED);
	if (score)
		unseen_event(&f->unseen, e);
	if (f->lifo)
		lifo_placed(f->lifo, e->pfn, e->order);
	return 0;
}

/* A free above the largest order comes as frees of that order. */
static int one_free(struct fidelity *f, const struct event *e, bool score)
{
	struct event part = *e;
	pfn_t end = e->pfn + (UINT64_C(1) << e->order);

	if (score)
		close_fetch(f, e->cpu);
	part.order = (uint8_t)min_u64(e->order, MAX_ORDER);
	for (; part.pfn < end; part.pfn += UINT64_C(1) << part.order) {
		if (!plain_block(f, &part))
			continue;
		tell(f, &part, FACT_FREED);
		if (score)
			unseen_event(&f->unseen, &part);
		if (f->lifo && lifo_freed(f->lifo, part.cpu, part.pfn, part.order))
			return error_set(f->err, ENOMEM, "no memory for the baseline");
	}
	return 0;
}

static void hotplug(struct fidelity *f, const struct event *e)
{
	const struct pfn_range range = {e->pfn, e->pfn + e->arg};

	if (e->kind == EVENT_ONLINE && f->ops->online)
		f->ops->online(f->a, range);
	else if (e->kind == EVENT_OFFLINE && f->ops->offline)
		f->ops->offline(f->a, range);
}

static int one_event(struct fidelity *f, const struct event *e, bool score)
{
	switch (e->kind) {
	case EVENT_ALLOC:
		return one_alloc(f, e, score);
	case EVENT_FREE:
		return one_free(f, e, score);
	case EVENT_ZONE_LOCKED:
	case EVENT_EXTFRAG:
		if (!plain_block(f, e))
			return 0;
		if (score && is_block(e, f->machine))
			judge_block(f, e);
		if (f->told_lists)
			tell(f, e, e->kind == EVENT_EXTFRAG ? FACT_FALLBACK : FACT_REFILL);
		if (score && f->told_lists)
			unseen_event(&f->unseen, e);
		return 0;
	case EVENT_PCPU_DRAIN:
		if (score)
			close_fetch(f, e->cpu);
		if (!f->told_lists || !plain_block(f, e))
			return 0;
		tell(f, e, FACT_DRAIN);
		if (score)
			unseen_event(&f->unseen, e);
		return 0;
	case EVENT_COMPACTION:
		if (score)
			unseen_event(&f->unseen, e);
		return 0;
	case EVENT_ONLINE:
	case EVENT_OFFLINE:
		hotplug(f, e);
		return 0;
	default:
		return 0;
	}
}

/* ---- a pass ---- */

static void end_pass(struct fidelity *f)
{
	world_destroy(f->world);
	lifo_destroy(f->lifo);
	unseen_destroy(&f->unseen);
	f->unseen = (struct unseen){0};
	free(f->fetch);
	f->world = NULL;
	f->lifo = NULL;
	f->fetch = NULL;
}

/* Go through the burn-in, if there is one, everything told; the next event is the first after it. */
static int learn_start(struct fidelity *f, const struct frame_map *start,
		       const struct event **events, size_t *n)
{
	size_t i = 0;
	int rc;

	rc = f->ops->adopt(f->a, f->burn_in ? f->burn_in : start);
	if (!rc && f->burn_in)
		rc = follow(f, TOLD_ALL);
	if (rc)
		return error_set(f->err, -rc, "%s: cannot adopt the start snapshot: %s",
				 f->ops->name, strerror(-rc));
	rc = trace_reader_rewind(f->reader, f->err);
	*n = 0;
	while (!rc && (rc = trace_reader_next(f->reader, events, n, f->err)) > 0) {
		rc = 0;
		for (i = 0; i < *n && (*events)[i].time_ns <= f->start->time_ns; i++) {
			rc = one_event(f, &(*events)[i], false);
			if (rc)
				return rc;
		}
		if (i < *n)
			break;
		*n = i = 0;
		rc = tell_alive(&f->tell);
	}
	if (rc)
		return rc;
	*events += i;
	*n -= i;
	/* What the snapshot says of the moment itself goes before what was concluded. */
	if (f->burn_in && f->ops->adopt(f->a, start))
		return error_set(f->err, EINVAL,
				 "%s: cannot adopt the start snapshot after the "
				 "burn-in",
				 f->ops->name);
	return 0;
}

static int begin_pass(struct fidelity *f, const char *what, const struct frame_map *start,
		      const struct event **events, size_t *n)
{
	char text[80];
	int rc;

	progress_end(&f->progress);
	snprintf(text, sizeof(text), "fidelity %s, %s", f->config->spec->text, what);
	progress_begin(&f->progress, f->config->progress ? stderr : NULL, text, f->totals->events);
	f->done = 0;
	position_enter(f->at, PHASE_CREATE);
	f->fetch = calloc(f->machine->nr_cpus, sizeof(*f->fetch));
	if (!f->fetch)
		return error_set(f->err, ENOMEM, "no memory for %u cpus", f->machine->nr_cpus);
	rc = world_create(&(struct world_config){.machine = f->machine,
						 .spec = f->config->spec,
						 .kernel = f->header->kernel},
			  &f->world, f->err);
	if (rc)
		return rc;
	f->ops = f->world->ops;
	f->a = f->world->a;
	memset(&f->judge, 0, sizeof(f->judge));
	position_enter(f->at, PHASE_PLAY);
	return learn_start(f, start, events, n);
}

static int play_events(struct fidelity *f, const struct event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc;

		/* With the lists told, the kernel's own decay is. */
		f->at->first_event = f->done + 1;
		if (!f->told_lists && f->ops->tick && events[i].time_ns >= f->next_tick_ns)
			f->next_tick_ns = f->ops->tick(f->a, events[i].time_ns);
		rc = one_event(f, &events[i], true);
		if (rc)
			return rc;
		f->done++;
	}
	progress_update(&f->progress, f->done);
	return tell_alive(&f->tell);
}

static int forced_pass(struct fidelity *f, bool told_lists)
{
	const struct event *events;
	size_t n;
	int rc;

	rc = begin_pass(f, told_lists ? "refills and drains told" : "requests alone", f->start,
			&events, &n);
	if (!rc && told_lists)
		rc = lifo_create(f->machine, &f->lifo, f->err);
	if (!rc)
		rc = unseen_create(&f->unseen, f->machine, f->ops, f->a, f->start, f->err);
	if (!rc)
		rc = follow(f, told_lists ? TOLD_ALL : TOLD_REQUESTS);
	f->next_tick_ns = f->ops && f->ops->tick ? f->start->time_ns : UINT64_MAX;
	if (!rc)
		rc = play_events(f, events, n);
	while (!rc && (rc = trace_reader_next(f->reader, &events, &n, f->err)) > 0)
		rc = play_events(f, events, n);
	for (unsigned int cpu = 0; !rc && cpu < f->machine->nr_cpus; cpu++)
		close_fetch(f, cpu);
	return rc;
}

/* ---- end states ---- */

static uint64_t region_of(const struct fidelity *f, pfn_t pfn)
{
	return (pfn >> REGION_ORDER) - (machine_start(f->machine) >> REGION_ORDER);
}

static bool is_touched(const struct fidelity *f, pfn_t pfn)
{
	uint64_t region = region_of(f, pfn);

	return f->touched[region / 64] >> region % 64 & 1;
}

/* Free blocks of a map's runs, cut greedily, in regions touched or not. */
static void count_blocks(const struct fidelity *f, const struct frame_map *map, bool parked_too,
			 bool touched, uint64_t blocks[NR_ORDERS])
{
	memset(blocks, 0, NR_ORDERS * sizeof(*blocks));
	for (size_t i = 0; i < map->nr_runs; i++) {
		pfn_t pfn = map->runs[i].start, end = pfn + map->runs[i].frames;
		unsigned int order;

		if (map->runs[i].state != FRAME_FREE &&
		    !(parked_too && map->runs[i].state == FRAME_PARKED))
			continue;
		for (; pfn < end; pfn += UINT64_C(1) << order) {
			order = largest_order(pfn, end, MAX_ORDER);
			blocks[order] += is_touched(f, pfn) == touched;
		}
	}
}

/* Half the sum of differences over orders below the largest, per block of the kernel's. */
static double order_distance(const struct fidelity *f, const struct allocator_stats *stats,
			     const struct frame_map *end)
{
	uint64_t untouched[NR_ORDERS], kernel[NR_ORDERS], sum = 0, apart = 0;

	count_blocks(f, f->start_known, false, false, untouched);
	count_blocks(f, end, false, true, kernel);
	for (unsigned int o = 0; o < MAX_ORDER; o++) {
		uint64_t ours = 0;

		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
			ours += stats->free_blocks[mt][o];
		ours -= min_u64(ours, untouched[o]);
		apart += ours > kernel[o] ? ours - kernel[o] : kernel[o] - ours;
		sum += kernel[o];
	}
	return sum ? (double)apart / 2 / (double)sum : NAN;
}

static double type_distance(const struct fidelity *f, const struct allocator_stats *stats,
			    const struct frame_map *end)
{
	uint64_t sum = 0, apart = 0;

	for (unsigned int mt = 0; end->zones && mt < MIGRATE_TYPES; mt++) {
		uint64_t kernel = 0;

		for (unsigned int z = 0; z < f->machine->nr_zones; z++)
			kernel += end->zones[z].blocks_by_type[mt];
		sum += kernel;
		apart += kernel > stats->pageblocks[mt] ? kernel - stats->pageblocks[mt]
							: stats->pageblocks[mt] - kernel;
	}
	return sum ? (double)apart / 2 / (double)sum : NAN;
}

static int end_stats(struct fidelity *f, struct allocator_stats *stats, struct frame_map **end)
{
	int rc;

	if (!f->ops->stats || f->ops->stats(f->a, ALLOCATOR_ALL_ZONES, stats))
		return -ENOENT;
	rc = trace_reader_snapshot(f->reader, TRACE_END, end, f->err);
	return rc;
}

static uint64_t counter(const struct allocator_stats *stats, const char *name)
{
	for (size_t i = 0; i < stats->nr_counters; i++) {
		if (strcmp(stats->counters[i].name, name) == 0)
			return stats->counters[i].value;
	}
	return 0;
}

static double ratio(uint64_t ours, uint64_t kernel)
{
	return kernel ? (double)ours / (double)kernel : NAN;
}

/* ---- free-running ---- */

static int tell_free_running(struct fidelity *f, const struct allocator_stats *before)
{
	struct allocator_stats stats;
	struct frame_map *end;
	int rc;

	rc = end_stats(f, &stats, &end);
	if (rc == -ENOENT)
		return tell_warning(
			&f->tell,
			"no end snapshot, or a back end without free lists: end states are "
			"not compared");
	if (rc)
		return rc;
	rc = tell_metric(&f->tell, METRIC_free_order_distance, order_distance(f, &stats, end));
	if (!rc)
		rc = tell_metric(&f->tell, METRIC_pageblock_distance,
				 type_distance(f, &stats, end));
	frame_map_destroy(end);
#define SINCE(name) (counter(&stats, name) - counter(before, name))
	if (!rc)
		rc = tell_metric(&f->tell, METRIC_refill_ratio,
				 ratio(SINCE("zone_locked"), f->kernel_refills));
	if (!rc)
		rc = tell_metric(&f->tell, METRIC_drain_ratio,
				 ratio(SINCE("pcpu_drain"), f->kernel_drains));
	if (!rc)
		rc = tell_metric(&f->tell, METRIC_extfrag_ratio,
				 ratio(SINCE("extfrag"), f->kernel_fallbacks));
#undef SINCE
	return rc;
}

/* What it chose for itself is sound, or its figures are worth nothing. */
static int note_violations(struct fidelity *f, const struct engine *e)
{
	const uint64_t n = engine_counts(e).oracle_violations;

	f->doubts.count[DOUBT_oracle_violations] = n;
	return n ? tell_warning(&f->tell,
				"free-running: %" PRIu64 " oracle violations; the first at %s", n,
				engine_first_violation(e))
		 : 0;
}

static int free_pass(struct fidelity *f)
{
	struct allocator_stats before = {0};
	struct engine_config config = {
		.identity = f->header->identity, .oracle = true, .position = f->at};
	struct engine *e = NULL;
	const struct event *events;
	size_t n;
	int rc;

	rc = begin_pass(f, "free-running", f->start_known, &events, &n);
	if (!rc && f->burn_in)
		rc = follow(f, 0);
	if (!rc && f->ops->stats)
		f->ops->stats(f->a, ALLOCATOR_ALL_ZONES, &before);
	config.world = f->world;
	if (!rc)
		rc = engine_create(&config, &e, f->err);
	if (!rc)
		rc = engine_load(e, f->start_known, f->err);
	if (!rc) {
		engine_start(e, f->start->time_ns);
		rc = engine_play(e, events, n, f->err);
	}
	while (!rc && (rc = trace_reader_next(f->reader, &events, &n, f->err)) > 0) {
		rc = engine_play(e, events, n, f->err);
		if (!rc)
			progress_update(&f->progress, engine_events(e));
		if (!rc)
			rc = tell_alive(&f->tell);
	}
	if (!rc)
		rc = engine_flush(e, f->err);
	position_enter(f->at, PHASE_ENDS);
	if (!rc)
		rc = tell_free_running(f, &before);
	if (!rc)
		rc = tell_check(&f->tell, f->ops, f->a, &f->doubts);
	if (!rc)
		rc = note_violations(f, e);
	engine_destroy(e);
	return rc;
}

/* ---- preparing ---- */

/* What is known only in hindsight was not free to anyone then. */
static void forget_hindsight(struct frame_map *map)
{
	for (size_t i = 0; i < map->nr_runs; i++) {
		struct frame_run *run = &map->runs[i];

		if (frame_run_online(run) != run->state) {
			run->state = FRAME_UNMOVABLE;
			run->order = 0;
		}
	}
}

/* The pageblock type an event proves, as of the start if it is the pageblock's first. */
static unsigned int proven_type(const struct event *e)
{
	switch (e->kind) {
	case EVENT_ZONE_LOCKED:
	case EVENT_PCPU_DRAIN:
		return e->migratetype;
	case EVENT_EXTFRAG:
		return event_fallback_type(e->arg);
	default:
		return MIGRATE_UNKNOWN;
	}
}

/* Once through the trace: what it touches, what the kernel counted, and what only the future tells. */
static int look_through(struct fidelity *f, uint8_t *known)
{
	pfn_t base = align_down(machine_start(f->machine), HUGE_FRAMES);
	const struct event *events;
	size_t n;
	int rc = trace_reader_rewind(f->reader, f->err);

	while (!rc && (rc = trace_reader_next(f->reader, &events, &n, f->err)) > 0) {
		for (size_t i = 0; i < n; i++) {
			const struct event *e = &events[i];
			unsigned int mt = proven_type(e);

			if (e->time_ns <= f->start->time_ns || !event_has_pfn(e->kind) ||
			    event_is_kswapd(e) || !plain_block(f, e))
				continue;
			f->touched[region_of(f, e->pfn) / 64] |= UINT64_C(1)
								 << region_of(f, e->pfn) % 64;
			f->kernel_refills += e->kind == EVENT_ZONE_LOCKED;
			f->kernel_drains += e->kind == EVENT_PCPU_DRAIN;
			f->kernel_fallbacks += e->kind == EVENT_EXTFRAG;
			if (known && mt < MIGRATE_ISOLATE) {
				uint64_t b = (e->pfn - base) >> HUGE_ORDER;

				if (known[b] == MIGRATE_UNKNOWN)
					known[b] = (uint8_t)mt;
			}
		}
		rc = tell_alive(&f->tell);
	}
	return rc;
}

/* With --hindsight: pageblock types as their first event will prove them. */
static int prepare_start(struct fidelity *f)
{
	uint64_t regions = region_of(f, machine_end(f->machine)) + 1;
	uint8_t *known = NULL;
	int rc;

	f->touched = calloc(div_round_up(regions, 64), sizeof(uint64_t));
	if (f->config->hindsight && f->start->pageblock_type)
		known = malloc(f->start->nr_pageblocks);
	if (!f->touched || (f->config->hindsight && f->start->pageblock_type && !known)) {
		free(known);
		return error_set(f->err, ENOMEM, "no memory to look through the trace");
	}
	if (known)
		memset(known, MIGRATE_UNKNOWN, f->start->nr_pageblocks);
	rc = look_through(f, known);
	for (size_t b = 0; known && b < f->start->nr_pageblocks; b++) {
		if (known[b] != MIGRATE_UNKNOWN)
			f->start->pageblock_type[b] = known[b];
	}
	free(known);
	if (!f->config->hindsight) {
		forget_hindsight(f->start);
		if (f->burn_in)
			forget_hindsight(f->burn_in);
	}
	return rc;
}

/* The free-running pass has an engine, and with it most. */
static struct footprint footprint_of(const struct fidelity_config *c, const struct trace_header *h)
{
	const struct engine_config engine = {.ids = h->machine, .identity = h->identity};

	return footprint_of_trace(c->trace, &engine, h->machine, c->host_bytes);
}

static int check_trace(const struct trace_reader *r, const struct fidelity_config *c,
		       struct error *err)
{
	const struct trace_header *h = trace_reader_header(r);
	struct footprint footprint;

	if (h->identity == IDENTITY_VIRTUAL)
		return error_set(err, ENOTSUP,
				 "%s: a generated trace, no kernel to be faithful to; record one",
				 c->trace);
	if (!(h->compatible_features & TRACE_HAS_GROUND_TRUTH))
		return error_set(err, ENOTSUP,
				 "%s: it does not hold what the kernel's allocator did inside "
				 "(zone_locked, pcpu_drain, extfrag); record one that does",
				 c->trace);
	footprint = footprint_of(c, h);
	return footprint_check(&footprint, err);
}

static int check_backend(const struct fidelity_config *c, struct error *err)
{
	const struct allocator_ops *ops = c->spec->ops;

	if (ops->predict && ops->observe && ops->adopt)
		return 0;
	return error_set(err, ENOTSUP,
			 "%s cannot be judged: it does not tell what it would choose; use a back "
			 "end with predict, observe and adopt",
			 ops->name);
}

static int read_start(struct trace_reader *r, const char *trace, struct frame_map **start,
		      struct error *err)
{
	int rc = trace_reader_snapshot(r, TRACE_START, start, err);

	return rc != -ENOENT ? rc
			     : error_set(err, ENOTSUP,
					 "%s: without a start snapshot there is nothing to start "
					 "from; record one with snapshots",
					 trace);
}

static int open_trace(struct fidelity *f)
{
	int rc = trace_reader_open(f->config->trace, TRACE_READ_BURN_IN, &f->reader, f->err);

	if (rc)
		return rc;
	f->header = trace_reader_header(f->reader);
	f->totals = trace_reader_totals(f->reader);
	f->machine = f->header->machine;
	rc = check_trace(f->reader, f->config, f->err);
	if (!rc)
		rc = read_start(f->reader, f->config->trace, &f->start, f->err);
	if (!rc)
		rc = read_start(f->reader, f->config->trace, &f->start_known, f->err);
	if (rc)
		return rc;
	rc = trace_reader_snapshot(f->reader, TRACE_BURN_IN, &f->burn_in, f->err);
	return rc == -ENOENT ? 0 : rc;
}

/* Everything that was chosen or found: a new choice is a line here, and nothing anywhere else. */
static void state_settings(const struct fidelity *f, struct settings *s)
{
	settings_bool(s, SETTING_QUESTION, "hindsight", f->config->hindsight, false);
	settings_bool(s, SETTING_FACT, "burn_in", f->burn_in, true);
	tell_machine_facts(s, f->machine);
	tell_trace_facts(s, f->totals);
}

static int send_run(struct fidelity *f)
{
	char note[TELL_NOTE_MAX], asked[64];
	struct settings settings = {0};
	const struct tell_run run = {
		.spec = f->config->spec,
		.machine = f->machine,
		.asked = asked,
		.trace = f->config->trace,
		.trace_digest = f->totals->digest,
		.trace_note = note,
		.mode = "fidelity",
		.label = f->config->label,
		.start_ns = clock_wall_ns(),
		.threads = 1,
		.order = -1,
	};

	snprintf(asked, sizeof(asked), "trace %s", f->totals->digest);
	tell_trace_note(note, f->header, NULL);
	state_settings(f, &settings);
	return tell_run(&f->tell, &run, &settings);
}

/* ---- the passes ---- */

METRIC_RANGE(hit_accuracy_b, decision_accuracy_b, ACCURACY_CLASSES);
METRIC_RANGE(hit_accuracy_a, decision_accuracy_a, ACCURACY_CLASSES);

static int tell_b(struct fidelity *f)
{
	struct allocator_stats stats;
	struct frame_map *end;
	int rc;

	rc = judge_send(&f->judge, ACCURACY_B, f->tell.sink, f->err);
	if (!rc)
		rc = judge_send(&f->lifo_judge, ACCURACY_LIFO, f->tell.sink, f->err);
	for (unsigned int c = 0; !rc && c < ACCURACY_CLASSES; c++)
		rc = tell_metric(&f->tell, METRIC_hit_accuracy_b + c, judge_accuracy(&f->judge, c));
	if (!rc)
		rc = tell_metric(&f->tell, METRIC_lifo_accuracy,
				 judge_accuracy(&f->lifo_judge, ACCURACY_DECIDED));
	if (rc)
		return rc;
	rc = end_stats(f, &stats, &end);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = tell_metric(&f->tell, METRIC_forced_end_distance, order_distance(f, &stats, end));
	frame_map_destroy(end);
	return rc;
}

static int tell_a(struct fidelity *f)
{
	int rc = judge_send(&f->judge, ACCURACY_A, f->tell.sink, f->err);

	for (unsigned int c = 0; !rc && c < ACCURACY_CLASSES; c++)
		rc = tell_metric(&f->tell, METRIC_hit_accuracy_a + c, judge_accuracy(&f->judge, c));
	return rc;
}

static int tell_counts(struct fidelity *f)
{
	const uint64_t *kinds = f->totals->by_kind;
	const struct {
		enum metric metric;
		uint64_t value;
	} counts[] = {
		{METRIC_events, f->totals->events},
		{METRIC_ops, f->totals->ops},
		{METRIC_allocs, kinds[EVENT_ALLOC]},
		{METRIC_frees, kinds[EVENT_FREE]},
		{METRIC_lost_events, f->totals->lost_events},
		{METRIC_recorded_refills, f->kernel_refills},
		{METRIC_recorded_drains, f->kernel_drains},
		{METRIC_recorded_fallbacks, f->kernel_fallbacks},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(counts); i++)
		rc = tell_metric(&f->tell, counts[i].metric, (double)counts[i].value);
	if (!rc && f->config->hindsight)
		rc = tell_warning(&f->tell,
				  "hindsight: the start state uses what only later events tell");
	if (!rc && !f->burn_in)
		rc = tell_warning(
			&f->tell,
			"recorded without burn-in: the order of free lists and the content "
			"of per-CPU lists were unknown at the start");
	if (!rc && f->totals->lost_events)
		rc = tell_warning(&f->tell,
				  "%" PRIu64
				  " events were lost: what they did is missing here, too",
				  f->totals->lost_events);
	return rc;
}

static int run_passes(struct fidelity *f)
{
	const struct footprint footprint = footprint_of(f->config, f->header);
	int rc;

	rc = footprint_tell(&footprint, &f->tell);
	if (!rc)
		rc = prepare_start(f);
	if (!rc)
		rc = tell_counts(f);
	if (!rc)
		rc = forced_pass(f, true);
	if (!rc)
		rc = tell_b(f);
	end_pass(f);
	if (!rc)
		rc = forced_pass(f, false);
	if (!rc)
		rc = tell_a(f);
	end_pass(f);
	if (!rc)
		rc = free_pass(f);
	end_pass(f);
	if (!rc)
		rc = tell_doubts(&f->tell, &f->doubts);
	return rc ? rc : tell_done(&f->tell);
}

int fidelity_fits(const char *trace, const struct allocator_spec *spec, bool *fits,
		  struct error *err)
{
	const struct fidelity_config config = {.trace = trace, .spec = spec};
	struct frame_map *start = NULL;
	struct trace_reader *reader;
	int rc = trace_reader_open(trace, 0, &reader, err);

	if (rc)
		return rc;
	rc = check_trace(reader, &config, err);
	if (!rc)
		rc = read_start(reader, trace, &start, err);
	if (!rc)
		*fits = !check_backend(&config, err);
	frame_map_destroy(start);
	trace_reader_close(reader);
	return rc;
}

int fidelity_run(const struct fidelity_config *config, struct result_sink *sink, struct error *err)
{
	struct error scratch = {0};
	struct fidelity *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return error_set(err, ENOMEM, "no memory");
	f->config = config;
	f->at = config->position ? config->position : &f->unwatched;
	f->err = err ? err : &scratch;
	tell_init(&f->tell, sink, f->err);
	rc = open_trace(f);
	if (!rc)
		rc = send_run(f);
	if (!rc)
		rc = check_backend(config, f->err);
	if (!rc)
		rc = run_passes(f);
	position_enter(f->at, PHASE_DESTROY);
	progress_end(&f->progress);
	end_pass(f);
	frame_map_destroy(f->burn_in);
	frame_map_destroy(f->start);
	frame_map_destroy(f->start_known);
	free(f->touched);
	trace_reader_close(f->reader);
	free(f);
	return rc;
}

static int run_body(const void *arg, struct run_position *at, struct result_sink *sink,
		    struct error *err)
{
	struct fidelity_config config = *(const struct fidelity_config *)arg;

	config.position = at;
	return fidelity_run(&config, sink, err);
}

int fidelity_run_isolated(const struct fidelity_config *config, struct result_sink *sink,
			  struct error *err)
{
	const struct isolated_job job = {
		.name = config->spec->text,
		.body = run_body,
		.arg = config,
		.watch = config->watch,
	};

	return isolate_run(&job, sink, err);
}
