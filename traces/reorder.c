/* SPDX-License-Identifier: MIT */
/*
 * A binary heap on (time, arrival). Its size is bounded by what arrives within the window, as
 * reorder_pop() gives everything older out.
 */
#include "traces/reorder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct slot {
	uint64_t arrival;
	struct event event;
};

struct reorder {
	struct slot *heap;
	size_t n, capacity;
	uint64_t newest_ns, arrivals, late;
};

static bool slot_before(const struct slot *a, const struct slot *b)
{
	if (a->event.time_ns != b->event.time_ns)
		return a->event.time_ns < b->event.time_ns;
	return a->arrival < b->arrival;
}

int reorder_create(struct reorder **r, struct error *err)
{
	*r = calloc(1, sizeof(**r));
	if (!*r)
		return error_set(err, ENOMEM, "out of memory for re-ordering events");
	return 0;
}

void reorder_destroy(struct reorder *r)
{
	if (!r)
		return;
	free(r->heap);
	free(r);
}

int reorder_push(struct reorder *r, const struct event *e, struct error *err)
{
	size_t i;

	if (r->newest_ns > e->time_ns && r->newest_ns - e->time_ns > REORDER_WINDOW_NS)
		return error_set(err, ERANGE,
				 "time runs back from %" PRIu64 " ns to %" PRIu64
				 " ns, more than 10 ms; sort the events by time first",
				 r->newest_ns, e->time_ns);
	if (r->n == r->capacity) {
		size_t capacity = r->capacity ? 2 * r->capacity : 256;
		struct slot *heap = reallocarray(r->heap, capacity, sizeof(*heap));

		if (!heap)
			return error_set(err, ENOMEM, "out of memory for re-ordering events");
		r->heap = heap;
		r->capacity = capacity;
	}
	if (e->time_ns < r->newest_ns)
		r->late++;
	else
		r->newest_ns = e->time_ns;

	struct slot slot = {.arrival = r->arrivals++, .event = *e};

	for (i = r->n++; i && slot_before(&slot, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
		r->heap[i] = r->heap[(i - 1) / 2];
	r->heap[i] = slot;
	return 0;
}

bool reorder_pop(struct reorder *r, bool flush, struct event *e)
{
	size_t i = 0, child;

	if (!r->n)
		return false;
	/* One that is a whole window old may still get a companion of the same time, which arrives
	   later and therefore belongs behind it. */
	if (!flush && r->newest_ns - r->heap[0].event.time_ns < REORDER_WINDOW_NS)
		return false;
	*e = r->heap[0].event;

	struct slot last = r->heap[--r->n];

	while ((child = 2 * i + 1) < r->n) {
		if (child + 1 < r->n && slot_before(&r->heap[child + 1], &r->heap[child]))
			child++;
		if (!slot_before(&r->heap[child], &last))
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	if (r->n)
		r->heap[i] = last;
	return true;
}

uint64_t reorder_count(const struct reorder *r)
{
	return r->late;
}
