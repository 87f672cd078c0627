/* SPDX-License-Identifier: MIT */
#include "cli/outlier_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/run_emit.h"

struct outlier_row {
	char *trace, *spec;
	struct result_outlier outlier;
};

int outlier_rows_keep(struct outlier_rows *rows, const char *trace, const struct kept_run *k)
{
	for (size_t i = 0; i < k->outliers.n; i++) {
		struct outlier_row *row = kept_append(&rows->list, sizeof(*row));

		if (!row)
			return -ENOMEM;
		row->outlier = KEPT(k->outliers, const struct result_outlier)[i];
		row->trace = strdup(trace ? trace : "");
		row->spec = strdup(k->run.spec ? k->run.spec : "");
		if (!row->trace || !row->spec)
			return -ENOMEM;
	}
	return 0;
}

void outlier_rows_emit(const struct outlier_rows *rows, struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "trace", .show = EMITTER_IF_DIFFERS},
		{.path = "spec", .heading = "slowest of", .overhangs = true},
		{.path = "ns", .style = EMITTER_COUNT},
		{.path = "op"},
		{.path = "event"},
		{.path = "order"},
		{.path = "cpu"},
		{.path = "migratetype", .priority = 2},
		{.path = "path", .priority = 1},
		{.path = "pfn", .style = EMITTER_HEX, .priority = 3},
	};

	if (!rows->list.n)
		return;
	emitter_aside_begin(e, "outliers", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < rows->list.n; i++) {
		const struct outlier_row *row = &KEPT(rows->list, const struct outlier_row)[i];

		emitter_row_begin(e);
		emitter_string(e, "trace", row->trace);
		emitter_string(e, "spec", row->spec);
		run_emit_outlier(e, &row->outlier);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

void outlier_rows_release(struct outlier_rows *rows)
{
	for (size_t i = 0; i < rows->list.n; i++) {
		struct outlier_row *row = &KEPT(rows->list, struct outlier_row)[i];

		free(row->trace);
		free(row->spec);
	}
	free(rows->list.data);
	*rows = (struct outlier_rows){0};
}
