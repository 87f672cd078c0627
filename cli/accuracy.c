/* SPDX-License-Identifier: MIT */
#include "cli/accuracy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/machine.h"

/* ---- collecting ---- */

int accuracies_keep(struct accuracies *a, const struct result_accuracy *record)
{
	char *cause = NULL;

	if (a->n == a->max) {
		size_t max = a->max ? a->max * 2 : 256;
		struct result_accuracy *more = realloc(a->row, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		a->row = more;
		a->max = max;
	}
	if (record->cause) {
		cause = strdup(record->cause);
		if (!cause)
			return -ENOMEM;
	}
	a->row[a->n] = *record;
	a->row[a->n++].cause = cause;
	return 0;
}

void accuracies_clear(struct accuracies *a)
{
	for (size_t i = 0; i < a->n; i++)
		free((char *)a->row[i].cause);
	free(a->row);
	*a = (struct accuracies){0};
}

double accuracy_share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : (double)NAN;
}

/* ---- JSON ---- */

static void emit_key(const struct result_accuracy *row, struct emitter *e)
{
	switch (row->dimension) {
	case ACCURACY_ORDER:
		emitter_uint(e, "key", row->key);
		break;
	case ACCURACY_MIGRATETYPE:
		emitter_string(e, "key", migratetype_name(row->key));
		break;
	case ACCURACY_TENTH:
		emitter_uint(e, "key", row->key + 1);
		break;
	case ACCURACY_CAUSE:
		emitter_string(e, "cause", row->cause);
		break;
	case ACCURACY_TOTAL:
	case ACCURACY_DIMENSIONS:
		emitter_null(e, "key");
		break;
	}
}

void accuracies_emit(const struct accuracies *a, struct emitter *e)
{
	emitter_array_begin(e, "accuracy");
	for (size_t i = 0; i < a->n; i++) {
		const struct result_accuracy *row = &a->row[i];

		emitter_object_begin(e, NULL);
		emitter_string(e, "variant", accuracy_variant_name(row->variant));
		emitter_string(e, "class", accuracy_class_name(row->class_of));
		emitter_string(e, "dimension", accuracy_dimension_name(row->dimension));
		emit_key(row, e);
		emitter_uint(e, "choices", row->choices);
		emitter_uint(e, "correct", row->correct);
		if (row->dimension == ACCURACY_CAUSE)
			emitter_null(e, "accuracy");
		else
			emitter_real(e, "accuracy", accuracy_share(row->correct, row->choices));
		emitter_object_end(e);
	}
	emitter_array_end(e);
}
