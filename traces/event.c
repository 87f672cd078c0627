/* SPDX-License-Identifier: MIT */
#include "traces/event.h"

#include "base/bits.h"

static const char *const kind_names[EVENT_KINDS] = {
	[EVENT_ALLOC] = "alloc",
	[EVENT_FREE] = "free",
	[EVENT_ALLOC_FAILED] = "alloc_failed",
	[EVENT_MARK] = "mark",
	[EVENT_LOST] = "lost",
	[EVENT_ONLINE] = "online",
	[EVENT_OFFLINE] = "offline",
	[EVENT_MOVE] = "move",
	[EVENT_ZONE_LOCKED] = "zone_locked",
	[EVENT_PCPU_DRAIN] = "pcpu_drain",
	[EVENT_EXTFRAG] = "extfrag",
	[EVENT_COMPACTION] = "compaction",
	[EVENT_LABEL] = "label",
};

const char *event_kind_name(unsigned int kind)
{
	return kind < ARRAY_SIZE(kind_names) ? kind_names[kind] : NULL;
}

static bool frames_fit(uint64_t pfn, uint64_t frames, uint64_t end)
{
	return frames <= end && pfn <= end - frames;
}

const char *event_check(const struct event *e, const struct event_limits *limits)
{
	uint64_t end = limits->pfn_end;

	if (e->kind == 0 || e->kind >= EVENT_KINDS)
		return "kind";
	if (e->order > EVENT_ORDER_MAX)
		return "order";
	if (e->cpu >= limits->nr_cpus)
		return "cpu";
	if (e->migratetype >= MIGRATE_TYPES && e->migratetype != MIGRATE_UNKNOWN)
		return "migratetype";
	if (!event_has_pfn(e->kind))
		return e->pfn == PFN_NONE ? NULL : "pfn";
	if (e->kind == EVENT_ONLINE || e->kind == EVENT_OFFLINE) {
		if (e->pfn >= end)
			return "pfn";
		return e->arg && frames_fit(e->pfn, e->arg, end) ? NULL : "arg";
	}
	if (!frames_fit(e->pfn, UINT64_C(1) << e->order, end))
		return "pfn";
	if (e->kind == EVENT_MOVE && !frames_fit(e->arg, UINT64_C(1) << e->order, end))
		return "arg";
	return NULL;
}
