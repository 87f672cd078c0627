/* SPDX-License-Identifier: MIT */
/*
 * Sources that merge per-CPU buffers deliver events almost in order. This puts them in order: an event
 * may come up to 10 ms late; what comes later is rejected. Equal times keep the order of arrival.
 */
#ifndef TRACES_REORDER_H
#define TRACES_REORDER_H

#include "base/error.h"
#include "traces/event.h"

#define REORDER_WINDOW_NS UINT64_C(10000000)

struct reorder;

int reorder_create(struct reorder **r, struct error *err);
void reorder_destroy(struct reorder *r);
/** Return: 0; -ERANGE: more than the window behind the newest (the message gives both times). */
int reorder_push(struct reorder *r, const struct event *e, struct error *err);
/**
 * reorder_pop - the oldest event that nothing can precede any more
 * @flush: no more will be pushed: give out the rest
 * Return: true if *@e was written.
 */
bool reorder_pop(struct reorder *r, bool flush, struct event *e);
/** Events that came behind a newer one. */
uint64_t reorder_count(const struct reorder *r);

#endif
