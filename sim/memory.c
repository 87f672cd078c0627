/* SPDX-License-Identifier: MIT */
#include "sim/memory.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"

const char *const backing_kind_names[] = {
	[BACKING_NONE] = "none",
	NULL,
};

/* ---- none ---- */

static int none_map(struct memory *m, struct error *err)
{
	(void)m; /* frames stay NULL */
	(void)err;
	return 0;
}

static int none_touch(struct memory *m, struct pfn_range range, enum memory_touch how)
{
	(void)m;
	(void)range;
	(void)how;
	return 0;
}

static int none_discard(struct memory *m, struct pfn_range range)
{
	(void)m;
	(void)range;
	return 0;
}

static void none_unmap(struct memory *m)
{
	(void)m;
}

static const struct memory_ops none_ops = {
	.map = none_map,
	.touch = none_touch,
	.discard = none_discard,
	.unmap = none_unmap,
};

static const struct memory_ops *const kind_ops[] = {
	[BACKING_NONE] = &none_ops,
};

_Static_assert(ARRAY_SIZE(backing_kind_names) == ARRAY_SIZE(kind_ops) + 1,
	       "every kind has a name and a table");

/* ---- any kind ---- */

static int create_states(struct memory *memory, const struct machine *m)
{
	memory->nr_huge = div_round_up(machine_end(m), HUGE_FRAMES);
	/* Fresh zero pages of the host: blocks nobody names cost nothing. */
	memory->huge_state =
		calloc(memory->nr_huge ? memory->nr_huge : 1, sizeof(*memory->huge_state));
	if (!memory->huge_state)
		return -ENOMEM;
	for (size_t i = 0; i < m->nr_absent; i++) {
		const struct absent_range *a = &m->absent[i];
		uint64_t end = a->range.end / HUGE_FRAMES;

		if (a->why != ABSENT_OFFLINE)
			continue;
		for (uint64_t b = div_round_up(a->range.start, HUGE_FRAMES); b < end; b++)
			memory->huge_state[b] = HUGE_OFFLINE;
	}
	return 0;
}

int memory_create(const struct memory_config *config, const struct machine *machine,
		  struct memory **memory, struct error *err)
{
	const char *name = backing_kind_names[config->kind];
	struct memory *made = calloc(1, sizeof(*made));
	int rc;

	if (!made || create_states(made, machine)) {
		free(made);
		return error_set(err, ENOMEM, "backing %s: out of memory", name);
	}
	made->kind = config->kind;
	made->machine = machine;
	made->path = config->path;
	made->host = config->host;
	made->bytes = (machine_end(machine) - machine_start(machine)) << machine->page_shift;
	rc = (config->ops ? config->ops : kind_ops[config->kind])->map(made, err);
	if (rc) {
		memory_destroy(made); /* without ops: there is nothing to unmap */
		return err ? error_prefix(err, "backing %s", name) : rc;
	}
	made->ops = config->ops ? config->ops : kind_ops[config->kind];
	*memory = made;
	return 0;
}

void memory_destroy(struct memory *memory)
{
	if (!memory)
		return;
	if (memory->ops)
		memory->ops->unmap(memory);
	free((void *)memory->huge_state);
	free(memory);
}

static bool in_machine(const struct memory *memory, struct pfn_range range)
{
	return range.start <= range.end && range.start >= machine_start(memory->machine) &&
	       range.end <= machine_end(memory->machine);
}

int memory_touch(struct memory *memory, struct pfn_range range, enum memory_touch how)
{
	if (!in_machine(memory, range))
		return -EINVAL;
	if (range.start == range.end)
		return 0;
	return memory->ops->touch(memory, range, how);
}

int memory_discard(struct memory *memory, struct pfn_range range)
{
	if (!in_machine(memory, range))
		return -EINVAL;
	if (range.start == range.end)
		return 0;
	return memory->ops->discard(memory, range);
}

void *memory_at(const struct memory *memory, pfn_t pfn)
{
	const struct machine *m = memory->machine;

	if (!memory->frames)
		return NULL;
	return (char *)memory->frames + ((pfn - machine_start(m)) << m->page_shift);
}
