/* SPDX-License-Identifier: MIT */
#include "replay/recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "replay/kept.h"
#include "sim/gfp.h"

static const char *const intent_names[INTENT_KINDS] = {
	[INTENT_ALLOC] = "alloc",     [INTENT_FREE] = "free",	  [INTENT_SPLIT] = "split",
	[INTENT_PREFILL] = "prefill", [INTENT_ONLINE] = "online", [INTENT_OFFLINE] = "offline",
};

/* What a frame should be, and what it was found to be. */
enum frame {
	F_ABSENT,
	F_FREE,
	F_LIVE,
	F_UNSURE, /* of the operation under way */
	F_KIND = 3,
	F_GOT = 4,	/* alloc_at gave it, */
	F_GOT_HUGE = 8, /* with the 2 MiB block that it heads */
	F_LEAKED = 16,
	F_EXCUSED = 32, /* leaked, but by an allocation under way */
};

struct look {
	const struct machine *m;
	const struct journal *j;
	const struct allocator_ops *ops;
	struct allocator *a;
	struct recovery *r;
	pfn_t start;
	uint64_t frames;
	uint8_t *map;
	enum journal_intent intent;
	struct pfn_range under_way; /* relative to start */
	unsigned int order;	    /* of the intent */
};

/* ---- what should be ---- */

static void set_kind(struct look *l, uint64_t i, enum frame kind)
{
	l->map[i] = (uint8_t)((l->map[i] & ~F_KIND) | (uint8_t)kind);
}

static void map_managed(struct look *l)
{
	struct pfn_range all = {l->start, l->start + l->frames}, part;
	unsigned int zone;

	while (machine_next_managed(l->m, &all, &zone, &part))
		memset(l->map + (part.start - l->start), F_FREE, part.end - part.start);
	for (uint64_t i = 0; i < l->frames; i++) {
		if (l->j->of[i] & JOURNAL_OFFLINE)
			l->map[i] = F_ABSENT;
		else if (l->j->of[i] & JOURNAL_ONLINE && machine_zone_of(l->m, l->start + i) >= 0)
			l->map[i] = F_FREE;
		l->r->managed_frames += l->map[i] == F_FREE;
	}
}

static bool is_under_way(const struct look *l, uint64_t i)
{
	return i >= l->under_way.start && i < l->under_way.end;
}

/* The live block whose head is frame @i of the journal; false: none, or none that can be. */
static bool live_block(const struct look *l, uint64_t i, unsigned int *order)
{
	const unsigned int head = l->j->of[i] & JOURNAL_HEAD;

	*order = head - 1;
	return head && head <= NR_ORDERS && is_aligned(l->start + i, UINT64_C(1) << *order) &&
	       i + (UINT64_C(1) << *order) <= l->frames;
}

static void map_live(struct look *l)
{
	for (uint64_t i = 0; i < l->frames; i++) {
		unsigned int order;
		bool wrong = false;

		if (!(l->j->of[i] & JOURNAL_HEAD))
			continue;
		if (!live_block(l, i, &order)) {
			l->r->told_wrong_blocks++;
			continue;
		}
		l->r->live_blocks++;
		for (uint64_t at = i; at < i + (UINT64_C(1) << order); at++) {
			const unsigned int kind = l->map[at] & F_KIND;

			wrong |= kind == F_ABSENT;
			/* Until a block's own head says otherwise it covers its parts. */
			if (kind == F_LIVE && !(l->intent == INTENT_SPLIT && is_under_way(l, at)))
				l->r->told_twice_frames++;
			l->r->live_frames += kind == F_FREE;
			set_kind(l, at, F_LIVE);
		}
		l->r->told_wrong_blocks += wrong;
	}
}

/* What the operation under way may or may not have done already. */
static void map_under_way(struct look *l)
{
	for (uint64_t i = l->under_way.start; i < l->under_way.end; i++) {
		const unsigned int kind = l->map[i] & F_KIND;

		if (l->intent == INTENT_FREE ? kind != F_ABSENT : kind != F_LIVE) {
			l->r->live_frames -= kind == F_LIVE;
			set_kind(l, i, F_UNSURE);
		}
	}
}

/* Within the machine, whatever the file says. */
static void read_intent(struct look *l)
{
	const uint64_t word = l->j->words->intent, pfn = word >> 16;
	const pfn_t end = l->start + l->frames;
	pfn_t to = pfn;

	l->intent = (enum journal_intent)(word & 0xff);
	l->order = (unsigned int)min_u64(word >> 8 & 0xff, MAX_ORDER);
	l->r->under_way = intent_names[l->intent];
	l->r->under_way_order = l->order;
	l->r->event = l->j->words->event;
	if (l->intent == INTENT_FREE || l->intent == INTENT_SPLIT)
		to = pfn + (UINT64_C(1) << l->order);
	else if (l->intent == INTENT_ONLINE || l->intent == INTENT_OFFLINE)
		to = l->j->words->range_end;
	l->under_way = (struct pfn_range){max_u64(pfn, l->start), min_u64(to, end)};
	if (l->intent == INTENT_PREFILL)
		l->under_way = (struct pfn_range){l->start, end};
	if (l->under_way.start >= l->under_way.end)
		l->under_way = (struct pfn_range){l->start, l->start};
	l->under_way.start -= l->start;
	l->under_way.end -= l->start;
}

static void expect(struct look *l)
{
	read_intent(l);
	map_managed(l);
	map_live(l);
	if (l->intent != INTENT_SPLIT)
		map_under_way(l);
}

/* ---- what is ---- */

static struct alloc_request request(const struct look *l, uint64_t i, unsigned int order)
{
	const int zone = machine_zone_of(l->m, l->start + i);
	const uint8_t z = zone < 0 ? 0 : (uint8_t)zone;

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = GFP_MOVABLE | GFP_HIGHMEM,
		.node = l->m->zones[z].node,
		.order = (uint8_t)order,
		.migratetype = MIGRATE_MOVABLE,
		.zone = z,
	};
}

static bool take(struct look *l, uint64_t i, unsigned int order)
{
	const struct alloc_request req = request(l, i, order);

	return l->ops->alloc_at(l->a, l->start + i, &req) == 0;
}

static bool give(struct look *l, uint64_t i, unsigned int order)
{
	const struct alloc_request req = request(l, i, order);

	return l->ops->free(l->a, l->start + i, &req) == 0;
}

/* Is this a 2 MiB block all of whose frames are to be free? Then it is had in one go. */
static bool take_huge(struct look *l, uint64_t i)
{
	if (!is_aligned(l->start + i, HUGE_FRAMES) || i + HUGE_FRAMES > l->frames)
		return false;
	for (uint64_t at = i; at < i + HUGE_FRAMES; at++)
		if (l->map[at] != F_FREE)
			return false;
	if (!take(l, i, HUGE_ORDER))
		return false;
	for (uint64_t at = i; at < i + HUGE_FRAMES; at++)
		l->map[at] |= F_GOT;
	l->map[i] |= F_GOT_HUGE;
	return true;
}

/* Everything that is free is taken, and nothing else can be. */
static void take_all(struct look *l)
{
	for (uint64_t i = 0; i < l->frames; i++) {
		const unsigned int kind = l->map[i] & F_KIND;

		if (take_huge(l, i)) {
			l->r->free_frames += HUGE_FRAMES;
			i += HUGE_FRAMES - 1;
			continue;
		}
		if (!take(l, i, 0)) {
			if (kind == F_FREE)
				l->map[i] |= F_LEAKED;
			continue;
		}
		l->map[i] |= F_GOT;
		l->r->free_frames += kind == F_FREE || kind == F_UNSURE;
		l->r->lost_frames += kind == F_LIVE;
		l->r->stray_frames += kind == F_ABSENT;
	}
}

/* An allocation under way may have taken one block: the one of which most is missing. */
static void excuse_alloc(struct look *l)
{
	const uint64_t n = UINT64_C(1) << l->order;
	uint64_t most = 0, where = 0, missing, first = align_down(l->start, n);

	if (l->intent != INTENT_ALLOC)
		return;
	for (; first < l->start + l->frames; first += n) {
		missing = 0;
		for (pfn_t p = max_u64(first, l->start);
		     p < min_u64(first + n, l->start + l->frames); p++)
			missing += !!(l->map[p - l->start] & F_LEAKED);
		if (missing > most) {
			most = missing;
			where = first;
		}
	}
	for (pfn_t p = where; most && p < where + n; p++)
		if (p >= l->start && p < l->start + l->frames && l->map[p - l->start] & F_LEAKED)
			l->map[p - l->start] ^= F_LEAKED | F_EXCUSED;
}

/* With all of it taken nothing must be left: what comes yet is hidden from alloc_at. */
static void look_for_hidden(struct look *l)
{
	for (unsigned int zone = 0; zone < l->m->nr_zones; zone++) {
		struct alloc_request req = request(l, l->m->zones[zone].start - l->start, 0);

		while (l->r->stray_frames <= l->frames && l->ops->alloc(l->a, &req).pfn != PFN_NONE)
			l->r->stray_frames++;
	}
}

static uint64_t tells_free(const struct look *l)
{
	struct allocator_stats stats;

	if (!l->ops->stats || l->ops->stats(l->a, ALLOCATOR_ALL_ZONES, &stats))
		return UINT64_MAX;
	return stats.free_frames + stats.cached_frames;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* What it tells of each 2 MiB block, before anything is taken; to be compared afterwards. */
static uint16_t *tells_occupancy(const struct look *l)
{
	const uint64_t first = l->start / HUGE_FRAMES;
	const uint64_t n = div_round_up(l->start + l->frames, HUGE_FRAMES) - first;
	uint16_t *of = calloc(n + 1, sizeof(*of));

	if (of && l->ops->occupancy)
		l->ops->occupancy(l->a, first, n, of);
	return of;
}

static void compare_occupancy(struct look *l, uint16_t *of)
{
	const uint64_t first = l->start / HUGE_FRAMES;
	const uint64_t n = div_round_up(l->start + l->frames, HUGE_FRAMES) - first;

	if (!l->ops->occupancy)
		return;
	for (uint64_t i = 0; i < l->frames; i++)
		if (l->map[i] & F_GOT)
			of[(l->start + i) / HUGE_FRAMES - first]--;
	for (uint64_t b = 0; b < n; b++)
		l->r->occupancy_off_blocks += of[b] != 0;
}

static void note_check(struct look *l)
{
	struct error why = {0};

	if (!l->r->check[0] && l->ops->check && l->ops->check(l->a, &why))
		memcpy(l->r->check, why.text[0] ? why.text : "it says no more", sizeof(why.text));
	l->r->check[sizeof(l->r->check) - 1] = 0;
}

/* ---- and back ---- */

/* Return: how many frames it got back. */
static uint64_t give_back(struct look *l)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < l->frames; i++) {
		const unsigned int order = l->map[i] & F_GOT_HUGE ? HUGE_ORDER : 0;

		if (!(l->map[i] & F_GOT))
			continue;
		if (give(l, i, order))
			n += UINT64_C(1) << order;
		else
			l->r->refused_frees++;
		i += (UINT64_C(1) << order) - 1;
	}
	return n;
}

/* Is the block, as the journal has it, wholly as it was told? */
static bool all_live(const struct look *l, uint64_t i, unsigned int order)
{
	for (uint64_t at = i; at < i + (UINT64_C(1) << order); at++)
		if ((l->map[at] & F_KIND) != F_LIVE || l->map[at] & F_GOT)
			return false;
	return true;
}

/* As if the replay had gone on to free everything. Return: frames that came back. */
static uint64_t free_all(struct look *l)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < l->frames; i++) {
		const unsigned int kind = l->map[i] & F_KIND;
		unsigned int order;

		if (live_block(l, i, &order) && all_live(l, i, order)) {
			if (give(l, i, order))
				n += UINT64_C(1) << order;
			else
				l->r->refused_frees++;
			i += (UINT64_C(1) << order) - 1;
		} else if (!(l->map[i] & F_GOT) && (kind == F_UNSURE || l->map[i] & F_EXCUSED)) {
			n += give(l, i, 0);
		}
	}
	return n;
}

static int inspect(struct look *l, struct error *err)
{
	uint16_t *occupancy = tells_occupancy(l);
	uint64_t told, back;

	if (!occupancy)
		return error_set(err, ENOMEM, "no memory to look at what was recovered");
	note_check(l);
	told = tells_free(l);
	take_all(l);
	if (told != UINT64_MAX)
		l->r->stats_off_frames =
			distance(told, l->r->free_frames + l->r->lost_frames + l->r->stray_frames);
	compare_occupancy(l, occupancy);
	free(occupancy);
	excuse_alloc(l);
	for (uint64_t i = 0; i < l->frames; i++) {
		l->r->leaked_frames += !!(l->map[i] & F_LEAKED);
		l->r->under_way_frames += (l->map[i] & F_KIND) == F_UNSURE || l->map[i] & F_EXCUSED;
	}
	look_for_hidden(l);
	note_check(l);
	back = give_back(l);
	back += free_all(l);
	note_check(l);
	if (told != UINT64_MAX)
		l->r->unfreed_frames = distance(tells_free(l), back);
	return 0;
}

/* ---- all of it ---- */

/* The calls in here are made in place of an engine: nobody follows moves, and there are none. */
static int recover_instance(struct kept *k, const struct allocator_spec *spec, struct recovery *r,
			    struct error *err)
{
	const struct kept_identity *id = kept_identity(k);
	const struct metadata_within within = kept_metadata(k);
	const struct allocator_place place = {
		.kernel = id->kernel,
		.list_seed = id->list_seed,
		.metadata_within = &within,
	};
	struct look l = {.m = id->machine, .j = kept_journal(k), .r = r};
	struct allocator_instance *instance;
	int rc = allocator_instance_recover(spec, id->machine, &place, &instance, err);

	if (rc)
		return rc;
	l.ops = instance->ops;
	l.a = instance->a;
	l.start = machine_start(l.m);
	l.frames = machine_end(l.m) - l.start;
	l.map = calloc(l.frames + 1, 1);
	if (!l.map) {
		rc = error_set(err, ENOMEM, "no memory to look at what was recovered");
	} else {
		expect(&l);
		rc = inspect(&l, err);
	}
	free(l.map);
	allocator_instance_destroy(instance);
	return rc;
}

static int recover_kept(struct kept *k, const char *path, struct recovery *r, struct error *err)
{
	const struct kept_identity *id = kept_identity(k);
	struct allocator_spec *spec;
	struct error why = {0};
	int rc;

	if (kept_state(k) == KEPT_MAKING)
		return error_set(err, EBADMSG,
				 "%s: nothing to recover: its replay ended before the back end "
				 "was there; remove it",
				 path);
	r->allocator = strdup(id->allocator);
	r->trace = strdup(id->trace);
	r->build = strdup(id->build);
	r->finished = kept_state(k) == KEPT_FINISHED;
	if (!r->allocator || !r->trace || !r->build)
		return error_set(err, ENOMEM, "no memory");
	if (allocator_spec_parse(id->allocator, &spec, &why))
		return error_set(err, ENOTSUP,
				 "%s: made by build %s with what this one has not: %s", path,
				 id->build, why.text);
	if (!kept_possible(spec->ops) || !spec->ops->alloc_at)
		rc = error_set(err, ENOTSUP,
			       "%s: %s cannot be looked at here: it lacks alloc_at, or does not "
			       "persist; use the build that made it (%s)",
			       path, id->allocator, id->build);
	else
		rc = recover_instance(k, spec, r, err);
	allocator_spec_destroy(spec);
	return rc;
}

int recover_file(const char *path, struct recovery *r, struct error *err)
{
	struct kept *k;
	int rc;

	*r = (struct recovery){0};
	rc = kept_open(path, &k, err);
	if (rc)
		return rc;
	rc = recover_kept(k, path, r, err);
	kept_close(k);
	return rc;
}

void recovery_free(struct recovery *r)
{
	free(r->allocator);
	free(r->trace);
	free(r->build);
}

bool recovery_sound(const struct recovery *r)
{
	return !(r->lost_frames || r->leaked_frames || r->stray_frames || r->told_twice_frames ||
		 r->told_wrong_blocks || r->refused_frees || r->stats_off_frames ||
		 r->occupancy_off_blocks || r->unfreed_frames || r->check[0]);
}
