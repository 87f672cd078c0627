/* SPDX-License-Identifier: MIT */
/*
 * Where a back end placed as the kernel did, its free lists at the end can be laid beside the kernel's
 * own: a second list below the runs.
 */
#ifndef CLI_END_STATE_H
#define CLI_END_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/emitter.h"
#include "results/result.h"

/* A run's free blocks as last told, by enum freelist_source. */
struct end_freelists {
	bool has[FREELIST_EXPLAINED + 1];
	uint64_t blocks[FREELIST_EXPLAINED + 1][RESULT_ORDERS];
};

void end_freelists_keep(struct end_freelists *f, const struct result_freelist *record);

struct end_state;

struct end_states {
	struct end_state *row;
	size_t n;
};

/**
 * end_states_keep - what a run says of the kernel's end state, if it says anything
 * @trace: its name; copied, as @spec is
 * @metric: the run's
 * Return: 0 or -ENOMEM.
 */
int end_states_keep(struct end_states *ends, const char *trace, const char *spec,
		    const struct end_freelists *f, const double *metric);
/** The list "end_state", with the names of the view v_free_blocks; none in CSV, which is one table. */
void end_states_emit(const struct end_states *ends, struct emitter *e);
/** A line each on stderr. */
void end_states_tell(const struct end_states *ends);
void end_states_release(struct end_states *ends);

#endif
