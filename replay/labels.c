/* SPDX-License-Identifier: MIT */
#include "replay/labels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct labels {
	struct event *events;
	size_t n, capacity;
	size_t given; /* of the first n, by the call before */
};

int labels_create(struct labels **labels, struct error *err)
{
	*labels = calloc(1, sizeof(**labels));
	return *labels ? 0 : error_set(err, ENOMEM, "no memory for labels");
}

void labels_destroy(struct labels *labels)
{
	if (!labels)
		return;
	free(labels->events);
	free(labels);
}

/* Find the allocation that the label at @at is about. Most often it is among the last few events. */
static void look_back(struct event *events, size_t at)
{
	uint64_t pfn = events[at].pfn;

	for (size_t i = at; i > 0 && at - i < LABELS_AHEAD; i--) {
		struct event *e = &events[i - 1];

		/* Unsigned: a block above @pfn does not cover it either. */
		if ((e->kind != EVENT_ALLOC && e->kind != EVENT_FREE) ||
		    pfn - e->pfn >= UINT64_C(1) << e->order)
			continue;
		if (e->kind == EVENT_ALLOC && e->pfn == pfn)
			e->flags |= LABELS_PAGE_CACHE;
		return;
	}
}

static int make_room(struct labels *labels, size_t n)
{
	struct event *events;

	labels->n -= labels->given;
	if (labels->given)
		memmove(labels->events, labels->events + labels->given,
			labels->n * sizeof(*labels->events));
	labels->given = 0;
	if (labels->n + n <= labels->capacity)
		return 0;
	events = realloc(labels->events, (labels->n + n) * sizeof(*events));
	if (!events)
		return -ENOMEM;
	labels->events = events;
	labels->capacity = labels->n + n;
	return 0;
}

int labels_feed(struct labels *labels, const struct event *events, size_t n, bool last,
		const struct event **ready, size_t *nr_ready, struct error *err)
{
	if (make_room(labels, n))
		return error_set(err, ENOMEM, "no memory for labels");
	for (size_t i = 0; i < n; i++) {
		struct event *e = &labels->events[labels->n];

		*e = events[i];
		if (e->kind == EVENT_ALLOC)
			e->flags &= (uint8_t)~LABELS_PAGE_CACHE;
		else if (e->kind == EVENT_LABEL)
			look_back(labels->events, labels->n);
		labels->n++;
	}
	if (last)
		labels->given = labels->n;
	else
		labels->given = labels->n > LABELS_AHEAD ? labels->n - LABELS_AHEAD : 0;
	*ready = labels->events;
	*nr_ready = labels->given;
	return 0;
}
