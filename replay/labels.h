/* SPDX-License-Identifier: MIT */
/*
 * Which allocations became page cache. A recording says so in an event of its own a moment later, when
 * the kernel puts the block into a file's mapping; a policy wants to know when it places the block. So
 * the events of a trace with labels pass through here, held back until it is known what followed.
 *
 * An allocation counts as page cache if one of the LABELS_AHEAD events after it labels its pfn and
 * none before that frees it. Later labels are not seen. How the trace is cut into blocks makes no
 * difference.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_LABELS_H
#define REPLAY_LABELS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "traces/event.h"

#define LABELS_AHEAD 256U

/* Set in the flags of such an alloc as it comes out of here; in a trace it means nothing. */
#define LABELS_PAGE_CACHE 0x80U

struct labels;

/** labels_create - nothing held. Return: 0 or -ENOMEM. */
int labels_create(struct labels **labels, struct error *err);
void labels_destroy(struct labels *labels); /* NULL is allowed */

/**
 * labels_feed - take the next @n events, give out those whose fate is known, in order
 * @last: there are no more; all that is held comes out
 * @ready: @nr_ready events, owned by @labels, valid until the next call
 * Return: 0 or -ENOMEM.
 */
int labels_feed(struct labels *labels, const struct event *events, size_t n, bool last,
		const struct event **ready, size_t *nr_ready, struct error *err);

#endif
