/* SPDX-License-Identifier: MIT */
#include "replay/outliers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* While they are gathered, `rank` is how many were noted before: what tells like ones apart. */

int outliers_create(struct outliers *o, size_t most, struct error *err)
{
	*o = (struct outliers){.from = most ? 0 : UINT64_MAX, .most = most};
	o->kept = most ? calloc(most, sizeof(*o->kept)) : NULL;
	return most && !o->kept ? error_set(err, ENOMEM, "no memory for %zu outliers", most) : 0;
}

void outliers_destroy(struct outliers *o)
{
	free(o->kept);
	*o = (struct outliers){.from = UINT64_MAX};
}

/* Is @a less of an outlier than @b? */
static bool is_less(const struct result_outlier *a, const struct result_outlier *b)
{
	return a->ns != b->ns ? a->ns < b->ns : a->rank > b->rank;
}

/* @one is put where entry @at of the heap was, or below. */
static void sink(struct outliers *o, size_t at, struct result_outlier one)
{
	for (size_t child; (child = 2 * at + 1) < o->n; at = child) {
		if (child + 1 < o->n && is_less(&o->kept[child + 1], &o->kept[child]))
			child++;
		if (!is_less(&o->kept[child], &one))
			break;
		o->kept[at] = o->kept[child];
	}
	o->kept[at] = one;
}

static void rise(struct outliers *o, size_t at, struct result_outlier one)
{
	for (; at && is_less(&one, &o->kept[(at - 1) / 2]); at = (at - 1) / 2)
		o->kept[at] = o->kept[(at - 1) / 2];
	o->kept[at] = one;
}

void outliers_note(struct outliers *o, const struct result_outlier *one)
{
	struct result_outlier numbered = *one;

	if (one->ns < o->from)
		return;
	numbered.rank = o->noted++;
	if (o->n < o->most) {
		o->n++;
		rise(o, o->n - 1, numbered);
	} else {
		sink(o, 0, numbered);
	}
	if (o->n == o->most)
		o->from = o->kept[0].ns + 1;
}

static int slowest_first(const void *a, const void *b)
{
	return is_less(a, b) ? 1 : -1;
}

void outliers_settle(struct outliers *o)
{
	if (o->n)
		qsort(o->kept, o->n, sizeof(*o->kept), slowest_first);
	for (size_t i = 0; i < o->n; i++)
		o->kept[i].rank = (uint32_t)i;
	/* Nothing more can be noted: the order is not a heap's. */
	o->from = UINT64_MAX;
}
