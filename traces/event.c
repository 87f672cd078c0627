/* SPDX-License-Identifier: MIT */
#include "traces/event.h"

#include "base/bits.h"

_Static_assert(EVENT_KINDS <= EVENT_KINDS_MAX, "the trace file has no counter for such a kind");

const struct event_kind_info event_kinds[EVENT_KINDS] = {
#define X(number, NAME, name, pfn, arg, drives, truth)                                             \
	[number] = {#name, pfn, EVENT_ARG_##arg, drives, truth},
	EVENT_KIND_TABLE(X)
#undef X
};

const char *event_kind_name(unsigned int kind)
{
	return event_kind_known(kind) ? event_kinds[kind].name : NULL;
}

uint64_t event_frames_end(const struct event *e)
{
	uint64_t end = e->pfn + (UINT64_C(1) << e->order);

	if (!event_has_pfn(e->kind))
		return 0;
	switch (event_kinds[e->kind].arg) {
	case EVENT_ARG_FRAMES:
		return e->pfn + e->arg;
	case EVENT_ARG_PFN:
		return max_u64(end, e->arg + (UINT64_C(1) << e->order));
	default:
		return end;
	}
}

static bool frames_fit(uint64_t pfn, uint64_t frames, uint64_t end)
{
	return frames <= end && pfn <= end - frames;
}

const char *event_check(const struct event *e, const struct event_limits *limits)
{
	uint64_t end = limits->pfn_end;

	if (!event_kind_known(e->kind))
		return "kind";
	if (e->order > EVENT_ORDER_MAX)
		return "order";
	if (e->cpu >= limits->nr_cpus)
		return "cpu";
	if (e->migratetype >= MIGRATE_TYPES && e->migratetype != MIGRATE_UNKNOWN)
		return "migratetype";
	if (!event_has_pfn(e->kind))
		return e->pfn == PFN_NONE ? NULL : "pfn";
	if (event_kinds[e->kind].arg == EVENT_ARG_FRAMES) {
		if (e->pfn >= end)
			return "pfn";
		return e->arg && frames_fit(e->pfn, e->arg, end) ? NULL : "arg";
	}
	if (!frames_fit(e->pfn, UINT64_C(1) << e->order, end))
		return "pfn";
	if (event_kinds[e->kind].arg == EVENT_ARG_PFN &&
	    !frames_fit(e->arg, UINT64_C(1) << e->order, end))
		return "arg";
	return NULL;
}
