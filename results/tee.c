/* SPDX-License-Identifier: MIT */
#include "results/tee.h"

#include <assert.h>
#include <errno.h>

/* In order: who comes first may give what a later one tells, such as the id of a run's row. */
static int tee_take(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct result_tee *tee = (struct result_tee *)sink;
	size_t left = 0;
	int rc = 0;

	for (size_t i = 0; i < tee->n; i++) {
		struct error own = {0};

		if (record->kind == RESULT_RUN)
			tee->failed[i] = false;
		if (tee->failed[i])
			continue;
		rc = tee->to[i]->take(tee->to[i], record, &own);
		tee->failed[i] = rc != 0;
		left += !rc;
		if (!rc)
			continue;
		error_set(err, -rc, "%s", own.text);
		if (!tee->failure.code)
			error_set(&tee->failure, -rc, "%s", own.text);
	}
	return left || !tee->n ? 0 : rc ? rc : -EIO;
}

bool result_tee_failure(struct result_tee *tee, struct error *err)
{
	if (!tee->failure.code)
		return false;
	*err = tee->failure;
	tee->failure = (struct error){0};
	return true;
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
