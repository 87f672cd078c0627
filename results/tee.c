/* SPDX-License-Identifier: MIT */
#include "results/tee.h"

#include <assert.h>

/* In order: who comes first may give what a later one tells, such as the id of a run's row. */
static int tee_take(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct result_tee *tee = (struct result_tee *)sink;
	int rc = 0;

	for (size_t i = 0; !rc && i < tee->n; i++)
		rc = tee->to[i]->take(tee->to[i], record, err);
	return rc;
}

void result_tee_init(struct result_tee *tee)
{
	*tee = (struct result_tee){.sink = {.take = tee_take}};
}

void result_tee_add(struct result_tee *tee, struct result_sink *to)
{
	if (!to)
		return;
	assert(tee->n < TEE_SINKS);
	tee->to[tee->n++] = to;
}
