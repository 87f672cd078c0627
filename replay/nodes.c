/* SPDX-License-Identifier: MIT */
#include "replay/nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct node_counts *nodes_create(const struct machine *m)
{
	return calloc(1, sizeof(struct node_counts) + m->nr_nodes * sizeof(uint64_t));
}

void nodes_count(struct node_counts *n, const struct memory_state *s,
		 const struct alloc_request *req, pfn_t pfn)
{
	const int zone = memory_state_zone(s, pfn);
	unsigned int node;

	if (zone < 0 || req->flags & (ALLOC_PREFILL | ALLOC_COMPACTION_TARGET))
		return;
	node = s->machine->zones[zone].node;
	n->allocs++;
	n->by_node[node]++;
	n->misses += node != req->node;
	n->distance += machine_distance(s->machine, req->node, node);
}

/* Free frames of block @b, each its node's. */
static void count_free(const struct memory_state *s, uint64_t b, uint64_t *free_of)
{
	const struct block_state *block = &s->block[b];

	if (block->held + block->absent == HUGE_FRAMES)
		return;
	if (block->zone != ZONE_MIXED) {
		free_of[s->machine->zones[block->zone].node] +=
			(uint64_t)(HUGE_FRAMES - block->held - block->absent);
		return;
	}
	for (uint64_t i = b * HUGE_FRAMES; i < (b + 1) * HUGE_FRAMES; i++) {
		const int zone = s->taken[i / 64] >> i % 64 & 1
					 ? -1
					 : machine_zone_of(s->machine, s->base + i);

		if (zone >= 0)
			free_of[s->machine->zones[zone].node]++;
	}
}

static int tell_row_of(struct tell *t, unsigned int node, const char *what, const char *unit,
		       const char *help, uint64_t value)
{
	char name[48];
	uint32_t metric;
	const struct metric_info info = {.name = name,
					 .unit = unit,
					 .direction = METRIC_NEUTRAL,
					 .kind = METRIC_EXACT,
					 .help = help};
	int rc;

	snprintf(name, sizeof(name), "node%u_%s", node, what);
	rc = tell_row(t, "machine", &info, &metric);
	return rc ? rc : tell_metric(t, metric, (double)value);
}

static int tell_each(const struct node_counts *n, const struct memory_state *s, struct tell *t)
{
	const struct machine *m = s->machine;
	uint64_t *free_of = calloc(m->nr_nodes, sizeof(*free_of));
	int rc = 0;

	if (!free_of)
		return error_set(t->err, ENOMEM, "no memory to count by node");
	for (uint64_t b = 0; b < s->nr_blocks; b++)
		count_free(s, b, free_of);
	for (uint32_t z = 0; !rc && z < m->nr_zones; z++) {
		const unsigned int node = m->zones[z].node;

		if (z && m->zones[z - 1].node == node)
			continue;
		rc = tell_row_of(t, node, "allocs", "", "allocations served from this node",
				 n->by_node[node]);
		if (!rc)
			rc = tell_row_of(
				t, node, "free_frames", "frames",
				"managed frames of this node in no live object, at the end",
				free_of[node]);
	}
	free(free_of);
	return rc;
}

int nodes_tell(const struct node_counts *n, const struct memory_state *s, struct tell *t)
{
	int rc = tell_metric(t, METRIC_node_misses, n ? (double)n->misses : 0);

	if (!n || rc)
		return rc;
	rc = tell_metric(t, METRIC_node_distance,
			 n->allocs ? (double)n->distance / (double)n->allocs : (double)NAN);
	return rc ? rc : tell_each(n, s, t);
}
