/* SPDX-License-Identifier: MIT */
#include "replay/targets.h"

#include "base/bits.h"

/* A search of a whole zone that found no name is repeated after this share of its frames was freed. */
#define AGAIN_SHARE 64

int targets_create(struct targets *t, const struct targets_config *config, struct error *err)
{
	int rc;

	*t = (struct targets){
		.machine = config->machine,
		.calls = config->calls,
		.arg = config->arg,
		.first = config->first,
		.last = config->last,
		.confirm = config->confirm,
		.next_given = config->last,
		.managed = machine_managed(config->machine),
	};
	for (unsigned int cpu = 0; cpu < TARGETS_CPUS; cpu++)
		t->freed[cpu] = PFN_NONE;
	for (uint32_t z = 0; z < t->machine->nr_zones; z++)
		t->next[z] = t->machine->zones[z].end;
	rc = marks_create(&t->of, t->last - t->first, err);
	if (!rc && t->confirm)
		rc = marks_create(&t->used, t->last - t->first, err);
	if (rc) {
		targets_destroy(t);
		return rc;
	}
	for (size_t i = 0; t->confirm && config->end && i < config->end->nr_runs; i++) {
		const struct frame_run *run = &config->end->runs[i];
		pfn_t start = max_u64(run->start, t->first);
		pfn_t end = min_u64(run->start + run->frames, t->last);

		if (frame_state_allocated(run->state))
			for (; start < end; start++)
				marks_set(&t->used, start - t->first);
	}
	return 0;
}

void targets_destroy(struct targets *t)
{
	marks_destroy(&t->of);
	marks_destroy(&t->used);
}

/* ---- names ---- */

/* Names that a search has to leave alone, whatever they are. */
struct names {
	pfn_t pfn;
	uint64_t frames;
};

static bool may_have(const struct targets *t, pfn_t name, const struct names *but)
{
	if (t->confirm && !marks_get(&t->used, name - t->first))
		return false;
	return name - but->pfn >= but->frames && !t->calls->taken(t->arg, name);
}

/* Of names that cannot be confirmed, how many to pass over at once from @name down, down to @start? */
static uint64_t hopeless(const struct targets *t, pfn_t name, pfn_t start)
{
	uint64_t i = name - t->first;

	if (!t->confirm || t->used.bit[i / 64] & low_bits((unsigned int)(i % 64 + 1)))
		return 0;
	return min_u64(i % 64, name - start);
}

static pfn_t search_zone(struct targets *t, unsigned int z, const struct names *but)
{
	pfn_t start = max_u64(t->machine->zones[z].start, t->first);
	pfn_t end = min_u64(t->machine->zones[z].end, t->last), at = t->next[z];
	uint64_t skip;

	if (start >= end || t->frees < t->again_at[z])
		return PFN_NONE;
	for (uint64_t n = end - start; n; n--) {
		at = at <= start || at > end ? end - 1 : at - 1;
		if (may_have(t, at, but)) {
			t->next[z] = at;
			return at;
		}
		skip = min_u64(hopeless(t, at, start), n - 1);
		at -= skip;
		n -= skip;
	}
	t->again_at[z] = t->frees + (end - start) / AGAIN_SHARE + 1;
	return PFN_NONE;
}

static pfn_t search(struct targets *t, const struct event *e, unsigned int zone,
		    const struct names *but)
{
	pfn_t name;

	if (t->calls->choose)
		return t->calls->choose(t->arg, e, zone);
	name = search_zone(t, zone, but);
	for (unsigned int z = t->machine->nr_zones; z-- > 0 && name == PFN_NONE;)
		if (z != zone)
			name = search_zone(t, z, but);
	return name;
}

static unsigned int zone_or_highest(const struct targets *t, pfn_t pfn)
{
	int zone = pfn == PFN_NONE ? -1 : machine_zone_of(t->machine, pfn);

	return zone < 0 ? t->machine->nr_zones - 1 : (unsigned int)zone;
}

/* ---- who compacts ---- */

static uint32_t find_compacting(const struct targets *t, uint32_t context)
{
	uint32_t i = 0;

	while (i < t->nr_compacting && t->compacting[i] != context)
		i++;
	return i;
}

static void start_compacting(struct targets *t, uint32_t context)
{
	if (find_compacting(t, context) < t->nr_compacting)
		return;
	if (t->nr_compacting < TARGETS_CONTEXTS) {
		t->compacting[t->nr_compacting++] = context;
		return;
	}
	for (uint32_t i = 1; i < TARGETS_CONTEXTS; i++)
		t->compacting[i - 1] = t->compacting[i];
	t->compacting[TARGETS_CONTEXTS - 1] = context;
}

void targets_stop_compacting(struct targets *t, uint32_t context)
{
	uint32_t i = find_compacting(t, context);

	if (i == t->nr_compacting)
		return;
	for (t->nr_compacting--; i < t->nr_compacting; i++)
		t->compacting[i] = t->compacting[i + 1];
}

/* ---- moves and returns ---- */

static void put_off(struct targets *t, uint64_t frames)
{
	t->unplaced += frames;
	t->owed += frames;
}

bool targets_compaction(struct targets *t, const struct event *e)
{
	const struct names none = {.pfn = PFN_NONE};
	uint32_t moved = event_compaction_moved(e->arg);
	unsigned int zone = zone_or_highest(t, t->freed[e->cpu % TARGETS_CPUS]);

	if (moved > t->managed || !t->machine->nr_zones)
		return false;
	start_compacting(t, e->context);
	t->moves += moved;
	for (; moved; moved--) {
		pfn_t name = search(t, e, zone, &none);

		if (name == PFN_NONE) {
			put_off(t, moved);
			break;
		}
		marks_set(&t->of, name - t->first);
		t->calls->take(t->arg, e, name, zone);
	}
	return true;
}

static void give(struct targets *t, const struct event *e, pfn_t name)
{
	marks_take(&t->of, name - t->first);
	t->calls->give(t->arg, e, name);
}

/* A target whose name something else has, among @names. */
static void rename_target(struct targets *t, const struct event *e, pfn_t name,
			  const struct names *names)
{
	pfn_t other = search(t, e, zone_or_highest(t, name), names);

	if (other == PFN_NONE) {
		give(t, e, name);
		put_off(t, 1);
		return;
	}
	marks_take(&t->of, name - t->first);
	marks_set(&t->of, other - t->first);
	t->calls->move(t->arg, e, name, other);
}

void targets_make_way(struct targets *t, const struct event *e, pfn_t pfn, uint64_t frames)
{
	const struct names names = {pfn, frames};

	for (uint64_t i = 0; t->of.n && i < frames; i++)
		if (marks_get(&t->of, pfn + i - t->first))
			rename_target(t, e, pfn + i, &names);
}

/* The next target below the last one that was given back this way. There is one. */
static pfn_t next_to_give(struct targets *t)
{
	uint64_t i = t->next_given - t->first;

	for (;;) {
		uint64_t word;

		if (i == 0)
			i = t->last - t->first;
		word = (i - 1) / 64;
		/* Of this word, the marks below i. */
		word = t->of.bit[word] & low_bits((unsigned int)(i - word * 64));
		if (word) {
			i = (i - 1) / 64 * 64 + 63 - (uint64_t)__builtin_clzll(word);
			t->next_given = t->first + i;
			return t->next_given;
		}
		i = (i - 1) / 64 * 64;
	}
}

void targets_orphan(struct targets *t, const struct event *e, uint64_t unknown)
{
	const struct names names = {e->pfn, UINT64_C(1) << e->order};
	bool returns = (t->of.n || t->owed) && e->order < HUGE_ORDER &&
		       find_compacting(t, e->context) == t->nr_compacting &&
		       t->calls->movable(t->arg, e->pfn);

	for (uint64_t i = 0; t->of.n && i < names.frames; i++) {
		if (!marks_get(&t->of, names.pfn + i - t->first))
			continue;
		if (!returns) {
			rename_target(t, e, names.pfn + i, &names);
			continue;
		}
		give(t, e, names.pfn + i);
		t->returns++;
		unknown--;
	}
	for (; returns && unknown && (t->owed || t->of.n); unknown--) {
		t->returns++;
		if (t->owed)
			t->owed--;
		else
			give(t, e, next_to_give(t));
	}
}
