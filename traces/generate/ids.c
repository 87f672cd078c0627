/* SPDX-License-Identifier: MIT */
#include "traces/generate/ids.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"

/* New ids come in pieces, so that blocks of different orders leave no gaps between them. */
#define PIECE (UINT64_C(1) << MAX_ORDER)

int ids_take(struct ids *ids, unsigned int order, uint64_t *id)
{
	struct ids_of_order *o = &ids->order[order];

	if (o->nr_given) {
		*id = (uint64_t)o->given[--o->nr_given] << order;
		return 0;
	}
	if (o->next == o->end) {
		if (ids->next == IDS_END)
			return -ENOSPC;
		o->next = ids->next;
		o->end = ids->next += PIECE;
	}
	*id = o->next;
	o->next += UINT64_C(1) << order;
	return 0;
}

int ids_give(struct ids *ids, unsigned int order, uint64_t id)
{
	struct ids_of_order *o = &ids->order[order];

	if (o->nr_given == o->room) {
		uint64_t room = max_u64(o->room * 2, 1024);
		uint32_t *more = realloc(o->given, (size_t)room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		o->given = more;
		o->room = room;
	}
	o->given[o->nr_given++] = (uint32_t)(id >> order);
	return 0;
}

void ids_release(struct ids *ids)
{
	for (unsigned int order = 0; order < NR_ORDERS; order++)
		free(ids->order[order].given);
	*ids = (struct ids){0};
}
