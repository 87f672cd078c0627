/* SPDX-License-Identifier: MIT */
#include "allocators/pcp.h"

#include "base/bits.h"

#define BATCH_SCALE_MAX	 5   /* CONFIG_PCP_BATCH_SCALE_MAX */
#define BATCH_FRAMES_MAX 256 /* 1 MiB */
#define HIGH_FRACTION	 8   /* of a zone may be on per-CPU lists */
#define HIGH_BATCHES	 4
#define OLD_HIGH_BATCHES 6
#define REMOTE_TICKS	 3

enum pcp_flag {
	PREV_FREE_HIGH_ORDER = 1, /* the last free was of order 1..3 */
};

/* PCPF_FREE_HIGH_BATCH: the CPU's share of the last-level cache holds three batches. It does. */
#define FREE_HIGH_BATCH true

const char *const pcp_rules_names[PCP_RULES + 1] = {
	[PCP_6_18] = "6.18", [PCP_6_12] = "6.12", [PCP_6_6] = "6.6",
	[PCP_6_1] = "6.1",   [PCP_5_10] = "5.10", [PCP_OFF] = "off",
};

static bool tunes_itself(const struct pcp *pcp)
{
	return pcp->rules <= PCP_6_12;
}

/* ---- limits ---- */

/* zone_batchsize: a power of two less one, of about a thousandth of the zone, at most 1 MiB. */
static uint32_t batch_of(uint64_t managed)
{
	uint64_t batch = min_u64(managed >> 10, BATCH_FRAMES_MAX) / 4;
	uint64_t power = 1;

	batch = max_u64(batch, 1);
	batch += batch / 2;
	while (power * 2 <= batch)
		power *= 2;
	return (uint32_t)max_u64(power - 1, 1);
}

static uint32_t high_of(uint64_t total, uint32_t cpus, uint32_t batch)
{
	return (uint32_t)max_u64(total / cpus, (uint64_t)HIGH_BATCHES * batch);
}

struct pcp_limits pcp_limits_of(enum pcp_rules rules, uint64_t managed, uint64_t low, uint32_t cpus,
				uint32_t batch)
{
	struct pcp_limits l = {.batch = batch ? batch : batch_of(managed)};

	if (rules == PCP_5_10) {
		l.high_min = l.high_max = OLD_HIGH_BATCHES * l.batch;
		return l;
	}
	l.high_min = high_of(low, cpus, l.batch);
	l.high_max =
		rules <= PCP_6_12 ? high_of(managed / HIGH_FRACTION, cpus, l.batch) : l.high_min;
	return l;
}

struct pcp_limits pcp_limits_given(enum pcp_rules rules, const struct percpu_limits *given)
{
	return (struct pcp_limits){
		.batch = given->batch,
		.high_min = given->high_min,
		/* Older ones have a single bound. */
		.high_max = rules <= PCP_6_12 ? given->high_max : given->high_min,
	};
}

uint64_t pcp_low_watermark(const struct machine *m, unsigned int zone)
{
	if (m->zones[zone].watermark.low)
		return m->zones[zone].watermark.low;
	return machine_boot_watermarks(m, zone, machine_boot_min_free(m)).low;
}

size_t pcp_chunks(const struct pcp_limits *limits)
{
	uint64_t beyond = max_u64((uint64_t)limits->batch << BATCH_SCALE_MAX, HUGE_FRAMES);

	return frame_pool_chunks(max_u64(limits->high_min, limits->high_max) + beyond, PCP_LISTS);
}

void pcp_set_limits(struct pcp *pcp, const struct pcp_limits *limits)
{
	pcp->limits = *limits;
}

void pcp_init(struct pcp *pcp, enum pcp_rules rules, const struct pcp_limits *limits)
{
	*pcp = (struct pcp){.rules = (uint8_t)rules, .limits = *limits};
}

/* ---- lists ---- */

unsigned int pcp_list_of(enum pcp_rules rules, unsigned int order, unsigned int mt)
{
	if (rules == PCP_OFF || mt == MIGRATE_ISOLATE)
		return PCP_NO_LIST;
	if (mt >= PCP_TYPES)
		mt = MIGRATE_MOVABLE;
	if (rules == PCP_5_10)
		return order == 0 ? mt : PCP_NO_LIST;
	if (order <= PCP_ORDER_MAX)
		return order * PCP_TYPES + mt;
	if (order != HUGE_ORDER)
		return PCP_NO_LIST;
	return (PCP_ORDER_MAX + 1U) * PCP_TYPES +
	       (rules <= PCP_6_12 && mt == MIGRATE_MOVABLE ? 1U : 0U);
}

unsigned int pcp_list_order(enum pcp_rules rules, unsigned int list)
{
	(void)rules;
	return list < (PCP_ORDER_MAX + 1) * PCP_TYPES ? list / PCP_TYPES : HUGE_ORDER;
}

unsigned int pcp_list_type(enum pcp_rules rules, unsigned int list)
{
	if (list < (PCP_ORDER_MAX + 1) * PCP_TYPES)
		return list % PCP_TYPES;
	return rules <= PCP_6_12 && list == PCP_LISTS - 2 ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE;
}

/* ---- allocation ---- */

static void clamp_high(struct pcp *pcp)
{
	const struct pcp_limits *l = &pcp->limits;

	pcp->high = (uint32_t)min_u64(max_u64(pcp->high, l->high_min), l->high_max);
}

static bool high_is_clamped(const struct pcp *pcp)
{
	return pcp->high >= pcp->limits.high_min && pcp->high <= pcp->limits.high_max;
}

void pcp_begin_alloc(struct pcp *pcp)
{
	pcp->expire = REMOTE_TICKS;
	if (tunes_itself(pcp))
		pcp->free_count >>= 1;
	else
		pcp->free_factor >>= 1;
}

/* Bursts of order-0 allocations double what they fetch, as far as there is room below `high`. */
static uint32_t tuned_refill_size(struct pcp *pcp, unsigned int order, unsigned int pressure)
{
	const struct pcp_limits *l = &pcp->limits;
	uint32_t batch = l->batch, n, room;

	clamp_high(pcp);
	if (pcp->high < batch)
		return 1;
	n = order ? batch : batch << pcp->alloc_factor;
	if (l->high_min != l->high_max && !(pressure & PCP_BELOW_HIGH))
		pcp->high = (uint32_t)min_u64((uint64_t)pcp->high + n, l->high_max);
	if (order == 0) {
		int64_t left = (int64_t)pcp->high - pcp->count - batch;

		room = left > (int64_t)batch ? (uint32_t)left : batch;
		if (n <= room && pcp->alloc_factor < BATCH_SCALE_MAX)
			pcp->alloc_factor++;
		n = n < room ? n : room;
	}
	return n;
}

uint32_t pcp_refill_size(struct pcp *pcp, unsigned int order, unsigned int pressure)
{
	uint32_t n =
		tunes_itself(pcp) ? tuned_refill_size(pcp, order, pressure) : pcp->limits.batch;

	if (n > 1 && pcp->rules != PCP_5_10) {
		n >>= order;
		n = n > 2 ? n : 2;
	}
	return n;
}

bool pcp_append(struct pcp *pcp, unsigned int list, unsigned int order, uint32_t frame)
{
	if (!frame_deque_append(&pcp->list[list], &pcp->pool, frame))
		return false;
	pcp->count += 1U << order;
	return true;
}

uint32_t pcp_pop(struct pcp *pcp, unsigned int list, unsigned int order)
{
	uint32_t frame = frame_deque_pop(&pcp->list[list], &pcp->pool);

	if (frame != DEQUE_NONE)
		pcp->count -= 1U << order;
	return frame;
}

uint32_t pcp_pop_tail(struct pcp *pcp, unsigned int list, unsigned int order)
{
	uint32_t frame = frame_deque_pop_tail(&pcp->list[list], &pcp->pool);

	if (frame != DEQUE_NONE)
		pcp->count -= 1U << order;
	return frame;
}

/* ---- free ---- */

bool pcp_push(struct pcp *pcp, unsigned int list, unsigned int order, uint32_t frame)
{
	if (!frame_deque_push(&pcp->list[list], &pcp->pool, frame))
		return false;
	pcp->count += 1U << order;
	pcp->expire = REMOTE_TICKS;
	return true;
}

static uint32_t lower_high(struct pcp *pcp, uint32_t by)
{
	uint32_t high = pcp->high > by ? pcp->high - by : 0;

	return high > pcp->limits.high_min ? high : pcp->limits.high_min;
}

/* nr_pcp_high: the level at which to give back. */
static uint32_t tuned_high(struct pcp *pcp, bool free_high, unsigned int pressure)
{
	const struct pcp_limits *l = &pcp->limits;
	uint32_t batch = l->batch, high, eager;

	clamp_high(pcp);
	high = pcp->high;
	if (high == 0)
		return 0;
	if (free_high) {
		pcp->high = lower_high(pcp, batch << BATCH_SCALE_MAX);
		return 0;
	}
	eager = pcp->free_count > batch ? pcp->free_count : batch;
	if (pressure & PCP_RECLAIMING) {
		pcp->high = lower_high(pcp, eager);
		return 4 * batch < pcp->high ? 4 * batch : pcp->high;
	}
	if (l->high_min == l->high_max)
		return high;
	if (pressure & PCP_BELOW_HIGH) {
		pcp->high = lower_high(pcp, eager);
		return pcp->count > l->high_min ? pcp->count : l->high_min;
	}
	if (pcp->count >= high) {
		uint32_t need = pcp->free_count + batch;

		if (pcp->high < need)
			pcp->high = need;
		clamp_high(pcp);
	}
	return high;
}

/* nr_pcp_free: with memory to spare keep what was freed last, but at least a batch on either side. */
static uint32_t clamp_release(uint32_t n, uint32_t batch, uint32_t high)
{
	uint32_t most = high - batch;

	if (high < batch)
		return 1;
	n = n > batch ? n : batch;
	return n < most ? n : most;
}

static uint32_t tuned_release_size(struct pcp *pcp, unsigned int order, unsigned int pressure)
{
	uint32_t batch = pcp->limits.batch, high, enough;
	bool free_high = false;

	pcp->alloc_factor >>= 1;
	if (order != 0 && order <= PCP_ORDER_MAX) {
		enough = batch + (pcp->rules == PCP_6_18 ? pcp->limits.high_min / 2 : 0);
		free_high = pcp->free_count >= enough && pcp->flags & PREV_FREE_HIGH_ORDER &&
			    (!FREE_HIGH_BATCH || pcp->count >= batch);
		pcp->flags |= PREV_FREE_HIGH_ORDER;
	} else {
		pcp->flags &= (uint8_t)~PREV_FREE_HIGH_ORDER;
	}
	if (pcp->free_count < batch << BATCH_SCALE_MAX)
		pcp->free_count += 1U << order;
	/* Mostly there is room yet, and nothing that would change it. */
	if (!free_high && !pressure && pcp->count < pcp->high && high_is_clamped(pcp))
		return 0;
	high = tuned_high(pcp, free_high, pressure);
	if (pcp->count < high)
		return 0;
	if (free_high)
		return pcp->count < batch << BATCH_SCALE_MAX ? pcp->count
							     : batch << BATCH_SCALE_MAX;
	return clamp_release(pcp->free_count, batch, high);
}

/* 6.1 and 6.6: each drain in a row gives back twice as much. */
static uint32_t doubling_release_size(struct pcp *pcp, unsigned int order, unsigned int pressure)
{
	bool free_high = pcp->free_factor && order != 0 && order <= PCP_ORDER_MAX;
	uint32_t batch = pcp->limits.batch, high = pcp->limits.high_min;
	uint64_t n;

	pcp->high = high;
	if (free_high)
		return pcp->count;
	if (pressure & PCP_RECLAIMING && high > 4 * batch)
		high = 4 * batch;
	if (pcp->count < high)
		return 0;
	if (high < batch)
		return 1;
	n = (uint64_t)batch << pcp->free_factor;
	if (n < high - batch && (pcp->rules == PCP_6_1 || pcp->free_factor < BATCH_SCALE_MAX))
		pcp->free_factor++;
	return clamp_release((uint32_t)min_u64(n, UINT32_MAX), batch, high);
}

uint32_t pcp_release_size(struct pcp *pcp, unsigned int order, unsigned int pressure)
{
	if (tunes_itself(pcp))
		return tuned_release_size(pcp, order, pressure);
	if (pcp->rules != PCP_5_10)
		return doubling_release_size(pcp, order, pressure);
	pcp->high = pcp->limits.high_min;
	return pcp->count >= pcp->high ? pcp->limits.batch : 0;
}

/* ---- giving back ---- */

void pcp_drain_begin(const struct pcp *pcp, struct pcp_drain *drain, unsigned int list,
		     uint32_t frames)
{
	uint32_t known = pcp_known(pcp);

	*drain = (struct pcp_drain){
		.left = frames < known ? frames : known,
		.list = pcp->rules == PCP_5_10 ? 0 : list,
	};
}

/* 5.10 goes round its lists, taking more from each the more empty ones it has passed. */
static void next_list_in_turn(const struct pcp *pcp, struct pcp_drain *drain)
{
	drain->quota = 0;
	do {
		drain->quota++;
		drain->list = (drain->list + 1) % PCP_TYPES;
	} while (pcp->list[drain->list].length == 0);
	if (drain->quota == PCP_TYPES)
		drain->quota = (uint32_t)drain->left;
}

bool pcp_drain_next(struct pcp *pcp, struct pcp_drain *drain, uint32_t *frame, unsigned int *order)
{
	if (drain->left <= 0 || pcp_known(pcp) == 0)
		return false;
	if (pcp->rules == PCP_5_10) {
		if (drain->quota == 0 || pcp->list[drain->list].length == 0)
			next_list_in_turn(pcp, drain);
		drain->quota--;
	}
	while (pcp->list[drain->list].length == 0)
		drain->list = (drain->list + 1) % PCP_LISTS;
	*order = pcp_list_order(pcp->rules, drain->list);
	*frame = pcp_pop_tail(pcp, drain->list, *order);
	drain->left -= INT64_C(1) << *order;
	pcp->drained_blocks++;
	return true;
}

uint32_t pcp_tick(struct pcp *pcp, bool remote)
{
	uint32_t slack = pcp->limits.batch << BATCH_SCALE_MAX, n = 0;

	if (tunes_itself(pcp) && pcp->high > pcp->limits.high_min) {
		uint32_t high = pcp->count > slack ? pcp->count - slack : 0;

		high = (uint32_t)max_u64(high, pcp->high - (pcp->high >> 3));
		pcp->high = (uint32_t)max_u64(high, pcp->limits.high_min);
		n = pcp->count > pcp->high ? pcp->count - pcp->high : 0;
	}
	if (remote && pcp->expire && --pcp->expire == 0)
		n += (uint32_t)min_u64(pcp->count - n, pcp->limits.batch);
	return n;
}

bool pcp_remove(struct pcp *pcp, unsigned int list, unsigned int order, uint32_t frame)
{
	if (!frame_deque_remove(&pcp->list[list], frame))
		return false;
	pcp->count -= 1U << order;
	return true;
}
