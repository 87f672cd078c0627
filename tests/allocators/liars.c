/* SPDX-License-Identifier: MIT */
#include "tests/allocators/liars.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* Who is lied about. */
static const struct allocator_ops *honest;

#define HOLE 200 /* a frame that the suite's machine has not got */

/* ---- the lies ---- */

static struct alloc_result alloc_twice(struct allocator *a, const struct alloc_request *req)
{
	static struct alloc_result last = {.pfn = PFN_NONE};
	static unsigned int calls;

	if (calls++ % 16 != 15 || last.pfn == PFN_NONE || !is_aligned(last.pfn, 1U << req->order))
		last = honest->alloc(a, req);
	return last;
}

static struct alloc_result alloc_aside(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result got = honest->alloc(a, req);

	if (req->order && got.pfn != PFN_NONE)
		got.pfn++;
	return got;
}

static struct alloc_result alloc_in_a_hole(struct allocator *a, const struct alloc_request *req)
{
	return req->order ? honest->alloc(a, req) : (struct alloc_result){.pfn = HOLE};
}

static struct alloc_result alloc_nothing_large(struct allocator *a, const struct alloc_request *req)
{
	return req->order < 8 ? honest->alloc(a, req) : (struct alloc_result){.pfn = PFN_NONE};
}

static struct alloc_result alloc_with_a_flag(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result got = honest->alloc(a, req);

	got.flags |= UINT64_C(1) << 40;
	return got;
}

/* Any zone, although the table says that it knows them. */
static struct alloc_result alloc_at_the_hint(struct allocator *a, const struct alloc_request *req)
{
	if (req->hint_pfn != PFN_NONE && honest->alloc_at(a, req->hint_pfn, req) == 0)
		return (struct alloc_result){.pfn = req->hint_pfn};
	return honest->alloc(a, req);
}

static struct alloc_result alloc_by_whim(struct allocator *a, const struct alloc_request *req)
{
	static unsigned int whim;
	pfn_t pfn = align_up(90000 + whim++ % 5000, 1U << req->order);

	if (honest->alloc_at(a, pfn, req) == 0)
		return (struct alloc_result){.pfn = pfn};
	return honest->alloc(a, req);
}

static int free_nothing(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	return req->order == 5 ? -EINVAL : honest->free(a, pfn, req);
}

static int free_whatever(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	honest->free(a, pfn, req);
	return 0;
}

static int alloc_at_next(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	return honest->alloc_at(a, pfn + (UINT64_C(1) << req->order), req);
}

static int alloc_at_busy_only(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	return honest->alloc_at(a, pfn, req) ? -EBUSY : 0;
}

static int alloc_at_einval_only(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	return honest->alloc_at(a, pfn, req) ? -EINVAL : 0;
}

static int adopt_nothing(struct allocator *a, const struct frame_map *map)
{
	(void)a;
	(void)map;
	return 0;
}

static int adopt_any(struct allocator *a, const struct frame_map *map)
{
	honest->adopt(a, map);
	return 0;
}

/* As if what is known in hindsight alone were held. */
static int adopt_online(struct allocator *a, const struct frame_map *map)
{
	struct alloc_request one = {0};
	int rc = honest->adopt(a, map);

	for (size_t i = 0; !rc && i < map->nr_runs; i++)
		if (frame_run_online(&map->runs[i]) != map->runs[i].state)
			honest->alloc_at(a, map->runs[i].start, &one);
	return rc;
}

static uint64_t tick_at_once(struct allocator *a, uint64_t now_ns)
{
	(void)a;
	return now_ns;
}

static struct alloc_result predict_the_next(const struct allocator *a,
					    const struct alloc_request *req)
{
	struct alloc_result got = honest->predict(a, req);

	if (got.pfn != PFN_NONE)
		got.pfn += UINT64_C(1) << req->order;
	return got;
}

static int isolate_too_much(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	int rc = honest->isolate(a, pfn, order, got);

	*got += 1;
	return rc;
}

static int isolate_any(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	honest->isolate(a, pfn, order, got);
	return 0;
}

static int isolate_in_name(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	int rc = honest->isolate(a, pfn, order, got);

	return rc ? rc : honest->unisolate(a, pfn, order);
}

static int range_nothing(struct allocator *a, struct pfn_range range)
{
	(void)a;
	(void)range;
	return 0;
}

static int offline_any(struct allocator *a, struct pfn_range range)
{
	int rc = honest->offline(a, range);

	return rc == -EBUSY ? 0 : rc;
}

static int online_anywhere(struct allocator *a, struct pfn_range range)
{
	honest->online(a, range);
	return 0;
}

static int stats_off(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	int rc = honest->stats(a, zone, stats);

	stats->free_frames++;
	return rc;
}

static int stats_of_less(const struct allocator *a, unsigned int zone,
			 struct allocator_stats *stats)
{
	int rc = honest->stats(a, zone, stats);

	if (!rc && stats->free_blocks[MIGRATE_MOVABLE][0]) {
		stats->free_blocks[MIGRATE_MOVABLE][0]--;
		stats->free_frames--;
	}
	return rc;
}

static int stats_of_any(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	return honest->stats(a, zone, stats) ? honest->stats(a, 0, stats) : 0;
}

/* One frame is said to be cached, even behind a drain. */
static int stats_cached(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	int rc = honest->stats(a, zone, stats);

	if (!rc && stats->free_blocks[MIGRATE_MOVABLE][0]) {
		stats->free_blocks[MIGRATE_MOVABLE][0]--;
		stats->free_frames--;
		stats->cached_frames++;
	}
	return rc;
}

static void occupancy_less(const struct allocator *a, uint64_t first, size_t n,
			   uint16_t *free_frames)
{
	honest->occupancy(a, first, n, free_frames);
	for (size_t i = 0; i < n; i++)
		free_frames[i] = (uint16_t)(free_frames[i] / 2);
}

static int check_failing(const struct allocator *a, struct error *err)
{
	(void)a;
	return allocator_fail(err, EUCLEAN, "I lie");
}

/* ---- who tells which ---- */

static const struct liar {
	const char *name, *rule;
	struct allocator_ops lie; /* what is not NULL replaces the honest function */
} liars[] = {
	{"adopt_foreign", "adopt_foreign", {.adopt = adopt_any}},
	{"adopt_future", "adopt_state", {.adopt = adopt_online}},
	{"adopt_none", "adopt_state", {.adopt = adopt_nothing}},
	{"any_free", "free_refused", {.free = free_whatever}},
	{"aside", "alloc_aligned", {.alloc = alloc_aside}},
	{"at_busy", "alloc_at_not_ours", {.alloc_at = alloc_at_busy_only}},
	{"at_einval", "alloc_at_busy", {.alloc_at = alloc_at_einval_only}},
	{"at_next", "alloc_at", {.alloc_at = alloc_at_next}},
	{"check", "check", {.check = check_failing}},
	{"flag", "alloc_flags", {.alloc = alloc_with_a_flag}},
	{"hint", "hint_unused", {.alloc = alloc_at_the_hint}},
	{"hole", "managed_only", {.alloc = alloc_in_a_hole}},
	{"isolate_more", "isolate_got", {.isolate = isolate_too_much}},
	{"isolate_name", "isolate_kept", {.isolate = isolate_in_name}},
	{"isolate_wild", "isolate_refused", {.isolate = isolate_any}},
	{"no_free", "free_back", {.free = free_nothing}},
	{"occupancy", "occupancy", {.occupancy = occupancy_less}},
	{"offline_none", "range_in_no_zone", {.offline = range_nothing}},
	{"offline_used", "offline_busy", {.offline = offline_any}},
	{"online_none", "online", {.online = range_nothing}},
	{"online_wild", "range_in_no_zone", {.online = online_anywhere}},
	{"predict_wrong", "predict", {.predict = predict_the_next}},
	{"refusal", "alloc_none", {.alloc = alloc_nothing_large}},
	{"stats_any", "stats_zone", {.stats = stats_of_any}},
	{"stats_drain", "drain", {.stats = stats_cached}},
	{"stats_less", "stats_free", {.stats = stats_of_less}},
	{"stats_sums", "stats_sums", {.stats = stats_off}},
	{"tick_now", "tick", {.tick = tick_at_once}},
	{"twice", "alloc_free", {.alloc = alloc_twice}},
	{"whim", "repeatable", {.alloc = alloc_by_whim}},
	{"zone", "zones", {.capabilities = ALLOCATOR_ZONES}},
};

static void put_lie(struct allocator_ops *ops, const struct allocator_ops *lie)
{
#define REPLACE(function) ops->function = lie->function ? lie->function : ops->function
	REPLACE(alloc);
	REPLACE(free);
	REPLACE(alloc_at);
	REPLACE(adopt);
	REPLACE(tick);
	REPLACE(predict);
	REPLACE(isolate);
	REPLACE(online);
	REPLACE(offline);
	REPLACE(stats);
	REPLACE(occupancy);
	REPLACE(check);
#undef REPLACE
	ops->capabilities |= lie->capabilities;
}

int liar_spec_parse(const char *text, struct allocator_spec **spec, bool *lies, struct error *err)
{
	static struct allocator_ops lying;
	int rc;

	*lies = strncmp(text, "lie:", 4) == 0;
	rc = allocator_spec_parse(*lies ? "firstfit" : text, spec, err);
	if (rc || !*lies)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(liars); i++) {
		if (strcmp(liars[i].name, text + 4) != 0)
			continue;
		honest = (*spec)->ops;
		lying = *honest;
		put_lie(&lying, &liars[i].lie);
		(*spec)->ops = &lying;
		free((*spec)->text);
		(*spec)->text = strdup(text);
		return 0;
	}
	allocator_spec_destroy(*spec);
	return error_set(err, ENOENT, "%s: no such lie", text);
}

void liars_list(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(liars); i++)
		printf("%s\t%s\n", liars[i].name, liars[i].rule);
}
