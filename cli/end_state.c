/* SPDX-License-Identifier: MIT */
#include "cli/end_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

struct end_state {
	char *trace, *spec;
	uint64_t engine[RESULT_ORDERS], explained[RESULT_ORDERS], kernel[RESULT_ORDERS];
	double parked, missed, pcp;
};

void end_freelists_keep(struct end_freelists *f, const struct result_freelist *record)
{
	f->has[record->source] = true;
	memcpy(f->blocks[record->source], record->blocks, sizeof(record->blocks));
}

int end_states_keep(struct end_states *ends, const char *trace, const char *spec,
		    const struct end_freelists *f, const double *metric)
{
	struct end_state *more, *end;

	if (!f->has[FREELIST_KERNEL] || !f->has[FREELIST_EXPLAINED])
		return 0;
	more = realloc(ends->row, (ends->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	ends->row = more;
	end = &more[ends->n++];
	end->trace = strdup(trace);
	end->spec = strdup(spec);
	memcpy(end->engine, f->blocks[FREELIST_ENGINE], sizeof(end->engine));
	memcpy(end->explained, f->blocks[FREELIST_EXPLAINED], sizeof(end->explained));
	memcpy(end->kernel, f->blocks[FREELIST_KERNEL], sizeof(end->kernel));
	end->parked = metric[METRIC_end_parked_frames];
	end->missed = metric[METRIC_end_missed_frames];
	end->pcp = metric[METRIC_end_pcp_frames];
	return end->trace && end->spec ? 0 : -ENOMEM;
}

static void emit_one(const struct end_state *end, struct emitter *e)
{
	for (unsigned int o = 0; o < RESULT_ORDERS; o++) {
		emitter_row_begin(e);
		emitter_string(e, "trace", end->trace);
		emitter_string(e, "spec", end->spec);
		emitter_uint(e, "order", o);
		emitter_uint(e, "engine", end->engine[o]);
		emitter_uint(e, "explained", end->explained[o]);
		emitter_uint(e, "kernel", end->kernel[o]);
		emitter_int(e, "difference", (int64_t)end->explained[o] - (int64_t)end->kernel[o]);
		emitter_row_end(e);
	}
}

void end_states_emit(const struct end_states *ends, struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "trace", .show = EMITTER_IF_DIFFERS},
		{.path = "spec", .heading = "end state of"},
		{.path = "order"},
		{.path = "engine", .unit = "free blocks", .style = EMITTER_COUNT},
		{.path = "explained", .unit = "free blocks", .style = EMITTER_COUNT},
		{.path = "kernel", .unit = "free blocks", .style = EMITTER_COUNT},
		{.path = "difference", .unit = "blocks", .style = EMITTER_COUNT},
	};

	if (!ends->n)
		return;
	emitter_aside_begin(e, "end_state", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < ends->n; i++)
		emit_one(&ends->row[i], e);
	emitter_rows_end(e);
}

void end_states_tell(const struct end_states *ends)
{
	for (size_t i = 0; i < ends->n; i++) {
		const struct end_state *end = &ends->row[i];

		fprintf(stderr,
			"quire: %s: at the end %.0f frames are free here but not in the kernel's "
			"free "
			"lists (it parked %.0f on per-CPU lists), %.0f the other way round\n",
			end->spec, end->parked, end->pcp, end->missed);
	}
}

static void end_state_free(struct end_state *end)
{
	free(end->trace);
	free(end->spec);
}

void end_states_release(struct end_states *ends)
{
	for (size_t i = 0; i < ends->n; i++)
		end_state_free(&ends->row[i]);
	free(ends->row);
	*ends = (struct end_states){0};
}
