/* SPDX-License-Identifier: MIT */
#include "replay/peak.h"

#include <errno.h>
#include <stdbool.h>

#include "base/bits.h"
#include "replay/marks.h"

struct live {
	struct marks marks; /* a frame each */
	pfn_t start, end;
	uint64_t peak;
};

static void set(struct live *l, pfn_t pfn, unsigned int order, bool live)
{
	const uint64_t frames = UINT64_C(1) << min_u64(order, 40);

	if (pfn < l->start || pfn >= l->end || frames > l->end - pfn)
		return;
	for (uint64_t i = pfn - l->start; i < pfn - l->start + frames; i++) {
		if (live)
			marks_set(&l->marks, i);
		else
			marks_take(&l->marks, i);
	}
	l->peak = max_u64(l->peak, l->marks.n);
}

int peak_of_trace(struct trace_reader *reader, uint64_t *frames, struct error *err)
{
	const struct machine *m = trace_reader_header(reader)->machine;
	struct live l = {.start = machine_start(m), .end = machine_end(m)};
	const struct event *events;
	size_t n;
	int rc;

	rc = marks_create(&l.marks, l.end - l.start, err);
	if (rc)
		return rc;
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
	marks_destroy(&l.marks);
	*frames = l.peak;
	return rc < 0 ? rc : 0;
}
