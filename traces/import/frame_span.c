/* SPDX-License-Identifier: MIT */
#include "traces/import/frame_span.h"

#include "base/bits.h"

#define GAP_FRAMES     (UINT64_C(1) << 20) /* 4 GiB */
#define SECTION_FRAMES 32768U		   /* 128 MiB: SECTION_SIZE_BITS of x86-64 is 27 */
#define NEIGHBOURS     3U
#define SHARE	       100U /* one in so many */
#define EVENTS_MIN     16U  /* of fewer not even one can be told from the others */

void frame_span_add(struct frame_span *span, uint64_t pfn, unsigned int order, uint64_t line)
{
	struct span_class *c = &span->class[pfn ? log2_floor(pfn) : 0];
	uint64_t end = pfn + (UINT64_C(1) << order);

	if (!c->events++) {
		c->line = line;
		c->pfn = c->lowest = pfn;
	}
	c->lowest = min_u64(c->lowest, pfn);
	c->end = max_u64(c->end, end);
	if (c->nr_seen == SPAN_SEEN)
		return;
	for (uint32_t i = 0; i < c->nr_seen; i++)
		if (c->seen[i] == pfn)
			return;
	c->seen[c->nr_seen++] = pfn;
}

static bool has_neighbours(const struct span_class *c)
{
	for (uint32_t i = 0; i < c->nr_seen; i++) {
		unsigned int same = 0;

		for (uint32_t k = 0; k < c->nr_seen; k++)
			same += c->seen[k] / SECTION_FRAMES == c->seen[i] / SECTION_FRAMES;
		if (same >= NEIGHBOURS)
			return true;
	}
	return false;
}

/* What lies below class @n: how many events, and where it ends. */
static uint64_t below(const struct frame_span *span, unsigned int n, uint64_t *end)
{
	uint64_t events = 0;

	*end = 0;
	for (unsigned int i = 0; i < n; i++) {
		events += span->class[i].events;
		*end = max_u64(*end, span->class[i].end);
	}
	return events;
}

bool frame_span_strays(const struct frame_span *span, struct frame_strays *strays)
{
	struct frame_strays above = {0};
	uint64_t end, all = below(span, SPAN_CLASSES, &end);
	bool found = false;

	for (unsigned int i = SPAN_CLASSES; i-- > 0;) {
		const struct span_class *c = &span->class[i];
		uint64_t rest;

		if (!c->events)
			continue;
		if (!above.events || c->line < above.line) {
			above.line = c->line;
			above.pfn = c->pfn;
		}
		above.events += c->events;
		if (has_neighbours(c) ||
		    (above.events * SHARE > all && (above.events > 1 || all < EVENTS_MIN)))
			break;
		rest = below(span, i, &end);
		if (rest && c->lowest >= 2 * end && c->lowest - end >= GAP_FRAMES) {
			above.of = all;
			above.end = end;
			*strays = above;
			found = true;
		}
	}
	return found;
}
