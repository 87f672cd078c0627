/* SPDX-License-Identifier: MIT */
#include "traces/record/record_fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "sim/gfp.h"

static bool bit_test(const uint64_t *bits, size_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void bit_assign(uint64_t *bits, size_t i, bool value)
{
	uint64_t bit = UINT64_C(1) << (i % 64);

	bits[i / 64] = value ? bits[i / 64] | bit : bits[i / 64] & ~bit;
}

/* Orders that per-CPU lists hold (6.x: 0..3 and the huge order). */
static bool order_is_pcp(unsigned int order)
{
	return order <= 3 || order == HUGE_ORDER;
}

/*
 * The frames of the block an event takes, frees or returns, as indices from the machine's start.
 * A claim of a whole pageblock or a steal says only EXTFRAG, no ZONE_LOCKED; a claim below pageblock
 * size says both, and its EXTFRAG names another block.
 */
static bool event_block(const struct machine *m, const struct event *e, size_t *start, size_t *end)
{
	pfn_t first = machine_start(m), last = machine_end(m);
	uint64_t frames = UINT64_C(1) << min_u64(e->order, 63);

	switch (e->kind) {
	case EVENT_ALLOC:
	case EVENT_FREE:
	case EVENT_ZONE_LOCKED:
	case EVENT_PCPU_DRAIN:
		break;
	case EVENT_EXTFRAG:
		if (event_change_ownership(e->arg) &&
		    event_fallback_order(e->arg) < m->pageblock_order)
			return false;
		break;
	default:
		return false;
	}
	if (e->pfn < first || e->pfn >= last || frames > last - e->pfn)
		return false;
	*start = e->pfn - first;
	*end = *start + frames;
	return true;
}

static uint8_t allocated_cell(const struct event *e)
{
	unsigned int state = FRAME_UNMOVABLE;

	switch (gfp_migratetype(e->gfp)) {
	case MIGRATE_MOVABLE:
		state = FRAME_MOVABLE;
		break;
	case MIGRATE_RECLAIMABLE:
		state = FRAME_RECLAIMABLE;
		break;
	}
	return (uint8_t)(state | (e->order <= MAX_ORDER ? e->order : 0U) << 4);
}

void fold_into_scan(struct frame_scan *scan, const struct event *e)
{
	size_t start, end;
	uint8_t cell;

	/* Blocks do not cross chunks: those are aligned and larger. */
	if (!event_block(scan->machine, e, &start, &end) ||
	    e->time_ns + FOLD_SLACK_NS < frame_scan_time(scan, e->pfn))
		return;
	switch (e->kind) {
	case EVENT_ALLOC:
		cell = allocated_cell(e);
		break;
	case EVENT_FREE:
		cell = order_is_pcp(e->order) ? FRAME_PARKED : FRAME_FREE;
		break;
	case EVENT_PCPU_DRAIN:
		cell = FRAME_FREE;
		break;
	default:
		cell = FRAME_PARKED;
		break;
	}
	for (size_t i = start; i < end; i++) {
		/* A free that found the per-CPU list locked goes to the buddy at once. */
		if (e->kind != EVENT_FREE || scan->cells[i] != FRAME_FREE)
			scan->cells[i] = cell;
		bit_assign(scan->bare, i, false);
	}
}

/* ---- what events tell ---- */

int fold_create(const struct machine *m, struct fold **fold, struct error *err)
{
	struct fold *f = calloc(1, sizeof(*f));
	size_t words;
	pfn_t base;

	*fold = NULL;
	if (!f)
		return error_set(err, ENOMEM, "record: out of memory");
	f->machine = m;
	base = align_down(machine_start(m), UINT64_C(1) << m->pageblock_order);
	f->nr_frames = machine_end(m) - machine_start(m);
	f->nr_pageblocks = div_round_up(machine_end(m) - base, UINT64_C(1) << m->pageblock_order);
	words = div_round_up(f->nr_frames, 64);
	f->released = calloc(words, sizeof(uint64_t));
	f->seen = calloc(words, sizeof(uint64_t));
	f->parked = calloc(words, sizeof(uint64_t));
	f->listed = calloc(words, sizeof(uint64_t));
	f->block_type = malloc(f->nr_pageblocks);
	if (!f->released || !f->seen || !f->parked || !f->listed || !f->block_type) {
		fold_destroy(f);
		return error_set(err, ENOMEM, "record: out of memory");
	}
	memset(f->block_type, MIGRATE_UNKNOWN, f->nr_pageblocks);
	*fold = f;
	return 0;
}

void fold_destroy(struct fold *fold)
{
	if (!fold)
		return;
	free(fold->released);
	free(fold->seen);
	free(fold->parked);
	free(fold->listed);
	free(fold->block_type);
	free(fold);
}

static size_t pageblock_of(const struct fold *fold, pfn_t pfn)
{
	return (pfn >> fold->machine->pageblock_order) -
	       (machine_start(fold->machine) >> fold->machine->pageblock_order);
}

/*
 * ZONE_LOCKED and PCPU_DRAIN name the list, which is the pageblock's type; a claim changes all
 * pageblocks of the block it takes; an allocation through a per-CPU list of its type comes from a
 * pageblock of that type (steals excepted, which the kernel avoids).
 */
static void learn_type(struct fold *fold, const struct event *e)
{
	unsigned int order = e->order;

	switch (e->kind) {
	case EVENT_ZONE_LOCKED:
	case EVENT_PCPU_DRAIN:
		break;
	case EVENT_ALLOC:
		if (!order_is_pcp(order))
			return;
		break;
	case EVENT_EXTFRAG:
		if (!event_change_ownership(e->arg))
			return;
		order = (unsigned int)min_u64(event_fallback_order(e->arg), MAX_ORDER);
		break;
	default:
		return;
	}
	if (e->migratetype >= MIGRATE_TYPES)
		return;
	for (size_t b = pageblock_of(fold, e->pfn);
	     b <= pageblock_of(fold, e->pfn + (UINT64_C(1) << order) - 1) &&
	     b < fold->nr_pageblocks;
	     b++)
		fold->block_type[b] = e->migratetype;
}

void fold_observe(struct fold *fold, const struct event *e)
{
	size_t start, end;
	bool released;

	if (!event_block(fold->machine, e, &start, &end))
		return;
	learn_type(fold, e);
	released = e->kind == EVENT_ZONE_LOCKED || e->kind == EVENT_EXTFRAG ||
		   (e->kind == EVENT_FREE && order_is_pcp(e->order));
	for (size_t i = start; i < end; i++)
		bit_assign(fold->released, i, released);
}

void fold_look_ahead(struct fold *fold, const struct event *e)
{
	bool parked = e->kind == EVENT_ALLOC || e->kind == EVENT_PCPU_DRAIN;
	size_t start, end;

	if (!event_block(fold->machine, e, &start, &end))
		return;
	for (size_t i = start; i < end; i++) {
		if (bit_test(fold->seen, i))
			continue;
		bit_assign(fold->seen, i, true);
		bit_assign(fold->parked, i, parked);
		bit_assign(fold->listed, i, !parked && e->kind != EVENT_FREE);
	}
}

static bool is_bare(const struct frame_scan *scan, size_t i)
{
	return scan->cells[i] == FRAME_UNMOVABLE && bit_test(scan->bare, i);
}

uint64_t fold_apply_released(const struct fold *fold, struct frame_scan *scan)
{
	uint64_t n = 0;

	for (size_t i = 0; i < scan->nr_frames; i++) {
		if (!is_bare(scan, i) || !bit_test(fold->released, i))
			continue;
		scan->cells[i] = FRAME_PARKED;
		n++;
	}
	return n;
}

struct hindsight fold_apply_hindsight(const struct fold *fold, struct frame_scan *scan,
				      const struct frame_scan *end)
{
	struct hindsight n = {0};

	for (size_t i = 0; i < scan->nr_frames; i++) {
		if (!is_bare(scan, i))
			continue;
		if (bit_test(fold->parked, i)) {
			scan->cells[i] = FRAME_PARKED | FRAME_HINDSIGHT << 4;
			n.parked++;
		} else if (end && (bit_test(fold->listed, i) ||
				   (!bit_test(fold->seen, i) && end->cells[i] == FRAME_FREE))) {
			scan->cells[i] = FRAME_FREE | FRAME_HINDSIGHT << 4;
			n.freed++;
		}
	}
	return n;
}

void fold_align(const struct machine *m, const uint8_t *reference, uint8_t *cells)
{
	size_t n = machine_end(m) - machine_start(m);

	for (size_t i = 0; i < n; i++) {
		unsigned int here = reference[i] & 0xf, there = cells[i] & 0xf;

		if (!frame_state_managed(here))
			cells[i] = reference[i];
		else if (there == FRAME_OFFLINE)
			cells[i] = FRAME_FREE;
		else if (!frame_state_managed(there))
			cells[i] = FRAME_UNMOVABLE;
	}
}

static bool block_in_zone(const struct machine *m, const struct event *e, int *zone)
{
	uint64_t frames = UINT64_C(1) << min_u64(e->order, 63);

	*zone = machine_zone_of(m, e->pfn);
	return *zone >= 0 && e->order <= EVENT_ORDER_MAX && frames <= m->zones[*zone].end - e->pfn;
}

/* An event about a node has the node's lowest frame; the tracepoint knows none. */
static void name_frame_of_node(const struct machine *m, struct event *e)
{
	e->pfn = PFN_NONE;
	for (uint32_t i = 0; i < m->nr_zones; i++)
		if (m->zones[i].node == e->arg)
			e->pfn = min_u64(e->pfn, m->zones[i].start);
}

void fold_burn_in_event(const struct machine *m, const uint8_t *cells, struct event *e)
{
	size_t start, end;
	int zone;
	bool fits;

	if (event_is_kswapd(e))
		name_frame_of_node(m, e);
	if (!event_has_pfn(e->kind)) {
		fits = e->order <= EVENT_ORDER_MAX;
	} else {
		fits = block_in_zone(m, e, &zone);
		if (fits && event_block(m, e, &start, &end))
			while (fits && start < end)
				fits = frame_state_managed(cells[start++] & 0xf);
	}
	if (!fits)
		*e = (struct event){
			.time_ns = e->time_ns,
			.kind = EVENT_LOST,
			.pfn = PFN_NONE,
			.arg = 1,
			.cpu = e->cpu,
		};
}

static uint8_t majority_type(const uint8_t *cells, size_t n)
{
	size_t count[FRAME_STATES] = {0};

	for (size_t i = 0; i < n; i++)
		count[cells[i] & 7]++;
	if (count[FRAME_HOLE] + count[FRAME_RESERVED] + count[FRAME_OFFLINE] == n)
		return MIGRATE_UNKNOWN;
	if (count[FRAME_RECLAIMABLE] > count[FRAME_MOVABLE] &&
	    count[FRAME_RECLAIMABLE] >= count[FRAME_UNMOVABLE])
		return MIGRATE_RECLAIMABLE;
	return count[FRAME_UNMOVABLE] > count[FRAME_MOVABLE] ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE;
}

void fold_pageblocks(const struct fold *fold, const struct frame_scan *scan, uint8_t *types)
{
	uint64_t size = UINT64_C(1) << fold->machine->pageblock_order;
	pfn_t first = machine_start(fold->machine), last = machine_end(fold->machine);
	pfn_t base = align_down(first, size);

	for (size_t b = 0; b < fold->nr_pageblocks; b++) {
		pfn_t start = max_u64(base + b * size, first);
		pfn_t end = min_u64(base + (b + 1) * size, last);
		uint8_t type = majority_type(scan->cells + (start - first), end - start);

		if (type == MIGRATE_UNKNOWN || types[b] == MIGRATE_UNKNOWN)
			types[b] = type;
	}
}

/* ---- second pass ---- */

void ledger_init(struct ledger *l, const struct machine *m, uint8_t *cells,
		 const struct ledger_poll *polls, size_t nr_polls, ledger_emit emit, void *arg)
{
	*l = (struct ledger){
		.machine = m,
		.cells = cells,
		.polls = polls,
		.nr_polls = nr_polls,
		.emit = emit,
		.arg = arg,
	};
	for (uint32_t i = 0; i < m->nr_zones; i++)
		l->cursor[i] = m->zones[i].start;
}

/* Emit [@start, @end) as ONLINE, its cells becoming FREE. */
static int emit_online(struct ledger *l, pfn_t start, pfn_t end, uint64_t time_ns, uint16_t cpu,
		       struct error *err)
{
	const struct event e = {
		.time_ns = time_ns,
		.kind = EVENT_ONLINE,
		.pfn = start,
		.arg = end - start,
		.cpu = cpu,
	};

	memset(l->cells + (start - machine_start(l->machine)), FRAME_FREE, end - start);
	l->online_frames += end - start;
	return l->emit(l->arg, &e, err);
}

/*
 * Bring zone @z's offline frames online, from the lowest, until @target of them are and none is left
 * below @until. Reserved frames in between stay out.
 */
static int extend_online(struct ledger *l, unsigned int z, uint64_t target, pfn_t until,
			 uint64_t time_ns, uint16_t cpu, struct error *err)
{
	const uint8_t *cells = l->cells;
	pfn_t zero = machine_start(l->machine), end = l->machine->zones[z].end;
	pfn_t pfn = l->cursor[z];
	int rc = 0;

	while (pfn < end && (l->online[z] < target || pfn < until) && rc == 0) {
		pfn_t start = pfn;

		while (pfn < end && cells[pfn - zero] == FRAME_OFFLINE &&
		       (l->online[z] < target || pfn < until)) {
			l->online[z]++;
			pfn++;
		}
		if (pfn > start)
			rc = emit_online(l, start, pfn, time_ns, cpu, err);
		else
			pfn++;
	}
	l->cursor[z] = pfn;
	return rc;
}

static uint64_t poll_target(const struct ledger *l, size_t poll, unsigned int zone)
{
	uint64_t managed = l->polls[poll].managed[zone], start = l->machine->zones[zone].managed;

	return managed - min_u64(managed, start);
}

static int polls_until(struct ledger *l, uint64_t time_ns, struct error *err)
{
	while (l->next_poll < l->nr_polls && l->polls[l->next_poll].time_ns <= time_ns) {
		const struct ledger_poll *p = &l->polls[l->next_poll];

		for (uint32_t z = 0; z < l->machine->nr_zones; z++) {
			uint64_t target = poll_target(l, l->next_poll, z);
			int rc = 0;

			if (target > l->online[z])
				rc = extend_online(l, z, target, 0, p->time_ns, 0, err);
			if (rc)
				return rc;
		}
		l->next_poll++;
	}
	return 0;
}

/* An event has touched offline memory of zone @z below @end. */
static int touch_offline(struct ledger *l, unsigned int z, pfn_t end, const struct event *e,
			 struct error *err)
{
	uint64_t target = l->next_poll < l->nr_polls ? poll_target(l, l->next_poll, z) : 0;
	pfn_t until = align_up(end, UINT64_C(1) << MAX_ORDER);

	return extend_online(l, z, target, min_u64(until, l->machine->zones[z].end), e->time_ns,
			     e->cpu, err);
}

/* Frames of [start, end) that are reserved, or holes with memory after all, come online. */
static int touch_absent(struct ledger *l, pfn_t start, pfn_t end, const struct event *e,
			struct error *err)
{
	pfn_t zero = machine_start(l->machine);
	int rc = 0;

	for (pfn_t pfn = start; pfn < end && rc == 0; pfn++) {
		pfn_t from = pfn;

		while (pfn < end && !frame_state_managed(l->cells[pfn - zero] & 0xf))
			pfn++;
		if (pfn > from)
			rc = emit_online(l, from, pfn, e->time_ns, e->cpu, err);
	}
	return rc;
}

struct block_count {
	uint64_t allocated, offline, absent;
};

static struct block_count count_block(const struct ledger *l, size_t start, size_t end)
{
	struct block_count n = {0};

	for (size_t i = start; i < end; i++) {
		unsigned int state = l->cells[i] & 0xf;

		n.allocated += frame_state_allocated(state);
		n.offline += state == FRAME_OFFLINE;
		n.absent += !frame_state_managed(state);
	}
	return n;
}

static int emit_lost(struct ledger *l, const struct event *e, struct error *err)
{
	const struct event lost = {
		.time_ns = e->time_ns,
		.kind = EVENT_LOST,
		.pfn = PFN_NONE,
		.arg = 1,
		.cpu = e->cpu,
	};

	l->unplaceable++;
	return l->emit(l->arg, &lost, err);
}

int ledger_event(struct ledger *l, const struct event *e, struct error *err)
{
	struct block_count n;
	struct event about_node;
	size_t start, end;
	pfn_t zero = machine_start(l->machine);
	int zone, rc;

	rc = polls_until(l, e->time_ns, err);
	if (rc)
		return rc;
	if (event_is_kswapd(e)) {
		about_node = *e;
		name_frame_of_node(l->machine, &about_node);
		e = &about_node;
	}
	if (!event_has_pfn(e->kind) && e->order <= EVENT_ORDER_MAX)
		return l->emit(l->arg, e, err);
	if (!event_has_pfn(e->kind) || !block_in_zone(l->machine, e, &zone))
		return emit_lost(l, e, err);
	if (!event_block(l->machine, e, &start, &end))
		return l->emit(l->arg, e, err);
	n = count_block(l, start, end);
	if (n.offline)
		rc = touch_offline(l, (unsigned int)zone, zero + end, e, err);
	if (n.absent > n.offline && rc == 0)
		rc = touch_absent(l, zero + start, zero + end, e, err);
	if (rc)
		return rc;
	if (e->kind == EVENT_FREE) {
		memset(l->cells + start, FRAME_FREE, end - start);
		if (n.absent == end - start)
			return 0; /* handed over by this very free: ONLINE has said so */
		l->orphan_frees += n.allocated == 0;
	} else if (e->kind == EVENT_ALLOC) {
		memset(l->cells + start, allocated_cell(e), end - start);
		l->implicit_frees += n.allocated > 0;
	}
	return l->emit(l->arg, e, err);
}

int ledger_finish(struct ledger *l, uint64_t time_ns, struct error *err)
{
	return polls_until(l, time_ns, err);
}

void ledger_align(const struct ledger *l, uint8_t *cells)
{
	fold_align(l->machine, l->cells, cells);
}
