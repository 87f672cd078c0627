/* SPDX-License-Identifier: MIT */
#include "replay/peak.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bits.h"

struct live {
	uint64_t *bits;
	pfn_t start, end;
	uint64_t now, peak;
};

static void set(struct live *l, pfn_t pfn, unsigned int order, bool live)
{
	const uint64_t frames = UINT64_C(1) << min_u64(order, 40);

	if (pfn < l->start || pfn >= l->end || frames > l->end - pfn)
		return;
	for (uint64_t i = pfn - l->start; i < pfn - l->start + frames; i++) {
		const uint64_t bit = UINT64_C(1) << i % 64;

		if (!(l->bits[i / 64] & bit) == live) {
			l->bits[i / 64] ^= bit;
			l->now += live ? 1 : UINT64_MAX;
		}
	}
	l->peak = max_u64(l->peak, l->now);
}

int peak_of_trace(struct trace_reader *reader, uint64_t *frames, struct error *err)
{
	const struct machine *m = trace_reader_header(reader)->machine;
	struct live l = {.start = machine_start(m), .end = machine_end(m)};
	const struct event *events;
	size_t n;
	int rc;

	l.bits = calloc(div_round_up(l.end - l.start, 64) + 1, sizeof(*l.bits));
	if (!l.bits)
		return error_set(err, ENOMEM, "no memory to look through the trace");
	while ((rc = trace_reader_next(reader, &events, &n, err)) != 0) {
		if (rc == -EBADMSG) {
			/* A reader that does not go on behind damage ends the run later, by its name. */
			rc = 0;
			break;
		}
		if (rc < 0)
			break;
		for (size_t i = 0; i < n; i++)
			if (events[i].kind == EVENT_ALLOC || events[i].kind == EVENT_FREE)
				set(&l, events[i].pfn, events[i].order,
				    events[i].kind == EVENT_ALLOC);
	}
	free(l.bits);
	*frames = l.peak;
	return rc < 0 ? rc : 0;
}
