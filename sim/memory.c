/* SPDX-License-Identifier: MIT */
#include "sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "sim/backing/backing.h"

const char *const backing_kind_names[] = {
	[BACKING_NONE] = "none",
	[BACKING_SMALL] = "small",
	[BACKING_THP] = "thp",
	[BACKING_HUGETLB] = "hugetlb",
	[BACKING_MEMFD] = "memfd",
	[BACKING_FILE] = "file",
	NULL,
};

static const struct memory_ops *const kind_ops[] = {
	[BACKING_NONE] = &backing_none,	  [BACKING_SMALL] = &backing_small,
	[BACKING_THP] = &backing_thp,	  [BACKING_HUGETLB] = &backing_hugetlb,
	[BACKING_MEMFD] = &backing_memfd, [BACKING_FILE] = &backing_file,
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

void memory_plan_nodes(enum backing_kind kind, const struct machine *machine,
		       const struct node_host *host, struct node_plan *plan)
{
	if (kind == BACKING_NONE)
		node_plan_nothing(plan, "there is no memory behind the frames");
	else if (kind == BACKING_FILE)
		node_plan_nothing(plan, "a file's pages are where the host's cache has put them");
	else
		node_plan_make(machine, host, plan);
}

/* All at once, where pages that are not there yet can be bound. */
static int bind_all(const struct memory *memory, struct error *err)
{
	const struct machine *m = memory->machine;

	if (!memory->node_plan || !memory->frames || memory->kind == BACKING_HUGETLB)
		return 0;
	return node_plan_bind(memory->node_plan, memory->node_host, m, memory->frames,
			      machine_start(m) / HUGE_FRAMES,
			      div_round_up(machine_end(m), HUGE_FRAMES), err);
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
	made->file_offset = config->file_offset;
	made->fd = config->fd;
	made->host = config->host;
	made->node_plan = config->node_plan && config->node_plan->bound ? config->node_plan : NULL;
	made->node_host = config->node_host ? config->node_host : &node_this_host;
	made->bytes = (machine_end(machine) - machine_start(machine)) << machine->page_shift;
	rc = (config->ops ? config->ops : kind_ops[config->kind])->map(made, err);
	if (rc) {
		memory_destroy(made); /* without ops: there is nothing to unmap */
		return err ? error_prefix(err, "backing %s", name) : rc;
	}
	made->ops = config->ops ? config->ops : kind_ops[config->kind];
	rc = bind_all(made, err);
	if (rc) {
		memory_destroy(made);
		return err ? error_prefix(err, "backing %s", name) : rc;
	}
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

uint64_t memory_file_bytes(const struct machine *m)
{
	const pfn_t first = align_down(machine_start(m), HUGE_FRAMES);

	return align_up((machine_end(m) - first) << m->page_shift, BACKING_HUGE_BYTES);
}

static bool in_machine(const struct memory *memory, struct pfn_range range)
{
	return range.start <= range.end && range.start >= machine_start(memory->machine) &&
	       range.end <= machine_end(memory->machine);
}

int memory_prepare(struct memory *memory, struct pfn_range range, struct error *err)
{
	if (!in_machine(memory, range))
		return error_set(err, EINVAL, "frames outside the machine");
	return range.start == range.end ? 0 : memory->ops->prepare(memory, range, err);
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

/* Is @line the head of a mapping? Then *@inside says whether it lies in [@from, @to). */
static bool is_inside(const char *line, uintptr_t from, uintptr_t to, bool *inside)
{
	uintptr_t start, end;
	char dash;

	if (sscanf(line, "%" SCNxPTR "%c%" SCNxPTR " ", &start, &dash, &end) != 3 || dash != '-')
		return false;
	*inside = start < to && end > from;
	return true;
}

static void add_line(const char *line, struct memory_usage *usage)
{
	static const char *const huge[] = {"AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:",
					   "Private_Hugetlb:", "Shared_Hugetlb:"};
	uint64_t kib;

	if (sscanf(line, "%*s %" SCNu64 " kB", &kib) != 1)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(huge); i++) {
		if (strncmp(line, huge[i], strlen(huge[i])) != 0)
			continue;
		usage->huge_bytes += kib << 10;
		/* The kernel does not count those of the pool as resident. */
		if (strstr(huge[i], "Hugetlb"))
			usage->resident_bytes += kib << 10;
	}
	if (strncmp(line, "Rss:", 4) == 0)
		usage->resident_bytes += kib << 10;
}

int memory_usage(const struct memory *memory, struct memory_usage *usage)
{
	const uintptr_t from = (uintptr_t)memory->frames, to = from + memory->bytes;
	bool inside = false;
	char line[512];
	FILE *f;

	*usage = (struct memory_usage){0};
	if (!memory->frames)
		return -ENOENT;
	f = fopen("/proc/self/smaps", "re");
	if (!f)
		return -ENOENT;
	while (fgets(line, sizeof(line), f))
		if (!is_inside(line, from, to, &inside) && inside)
			add_line(line, usage);
	fclose(f);
	return 0;
}
