/* SPDX-License-Identifier: MIT */
#include "sim/memory.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"

const char *const memory_kind_names[] = {
	[MEMORY_NONE] = "none",
	NULL,
};

int memory_create(enum memory_kind kind, const struct machine *m, struct memory **memory,
		  struct error *err)
{
	struct memory *made = calloc(1, sizeof(*made));

	if (!made)
		goto no_memory;
	made->kind = kind;
	made->nr_huge = div_round_up(machine_end(m), HUGE_FRAMES);
	/* Fresh zero pages of the host: blocks nobody names cost nothing. */
	made->huge_state = calloc(made->nr_huge ? made->nr_huge : 1, sizeof(*made->huge_state));
	if (!made->huge_state)
		goto no_memory;
	for (size_t i = 0; i < m->nr_absent; i++) {
		const struct absent_range *a = &m->absent[i];
		uint64_t end = a->range.end / HUGE_FRAMES;

		if (a->why != ABSENT_OFFLINE)
			continue;
		for (uint64_t b = div_round_up(a->range.start, HUGE_FRAMES); b < end; b++)
			made->huge_state[b] = HUGE_OFFLINE;
	}
	*memory = made;
	return 0;

no_memory:
	memory_destroy(made);
	return error_set(err, ENOMEM, "memory: out of memory for %s", memory_kind_names[kind]);
}

void memory_destroy(struct memory *memory)
{
	if (!memory)
		return;
	free((void *)memory->huge_state);
	free(memory);
}
