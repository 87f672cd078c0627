/* SPDX-License-Identifier: MIT */
#include "sim/host_nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"

#define BLOCK_BYTES ((size_t)HUGE_FRAMES << PAGE_SHIFT_DEFAULT)

/* ---- this host ---- */

static unsigned int host_nodes(void *arg, uint16_t *ids, unsigned int max)
{
	struct bitmask *allowed;
	unsigned int n = 0;

	(void)arg;
	if (numa_available() < 0)
		return 0;
	allowed = numa_get_mems_allowed();
	for (unsigned int node = 0; node < allowed->size && node <= UINT16_MAX; node++) {
		if (!numa_bitmask_isbitset(allowed, node))
			continue;
		if (n < max)
			ids[n] = (uint16_t)node;
		n++;
	}
	numa_bitmask_free(allowed);
	return n;
}

static int host_bind(void *arg, void *at, size_t bytes, unsigned int node)
{
	struct bitmask *nodes = numa_allocate_nodemask();
	int rc;

	(void)arg;
	numa_bitmask_setbit(nodes, node);
	/* The kernel takes one bit less than it is told of. */
	rc = mbind(at, bytes, MPOL_BIND, nodes->maskp, nodes->size + 1, 0) ? -errno : 0;
	numa_bitmask_free(nodes);
	return rc;
}

const struct node_host node_this_host = {.nodes = host_nodes, .bind = host_bind};

/* ---- what goes where ---- */

void node_plan_nothing(struct node_plan *plan, const char *reason)
{
	*plan = (struct node_plan){.bound = false};
	snprintf(plan->text, sizeof(plan->text), "accounted: %s", reason);
}

void node_plan_make(const struct machine *m, const struct node_host *host, struct node_plan *plan)
{
	uint16_t ids[MACHINE_ZONES_MAX];
	const unsigned int there = host->nodes(host->arg, ids, MACHINE_ZONES_MAX);
	char reason[80];
	int used;

	if (there < m->nr_nodes || m->nr_nodes > MACHINE_ZONES_MAX) {
		snprintf(reason, sizeof(reason), "the host has %u of %" PRIu32 " nodes", there,
			 m->nr_nodes);
		node_plan_nothing(plan, reason);
		return;
	}
	*plan = (struct node_plan){.bound = true};
	used = snprintf(plan->text, sizeof(plan->text), "bound");
	for (uint32_t node = 0; node < m->nr_nodes; node++) {
		plan->host_node[node] = ids[node];
		used += snprintf(plan->text + used, sizeof(plan->text) - (size_t)used,
				 " %" PRIu32 ":%u", node, ids[node]);
	}
}

/* ---- doing it ---- */

struct binding {
	const struct node_plan *plan;
	const struct node_host *host;
	const struct machine *machine;
	char *frames;
	struct error *err;
};

static int bind_run(const struct binding *b, uint64_t first, uint64_t end, unsigned int node)
{
	const int64_t offset = (int64_t)(first * HUGE_FRAMES) - (int64_t)machine_start(b->machine);
	const unsigned int to = b->plan->host_node[node];
	int rc = b->host->bind(b->host->arg, b->frames + offset * (1 << PAGE_SHIFT_DEFAULT),
			       (end - first) * BLOCK_BYTES, to);

	if (!rc)
		return 0;
	return error_set(b->err, -rc,
			 "cannot bind the memory of simulated node %u to node %u of the host: %s; "
			 "let the process do so (mbind), or choose no backing",
			 node, to, strerror(-rc));
}

int node_plan_bind(const struct node_plan *plan, const struct node_host *host,
		   const struct machine *m, void *frames, uint64_t first_block, uint64_t end_block,
		   struct error *err)
{
	const struct binding b = {plan, host, m, frames, err};
	struct pfn_range rest = {first_block * HUGE_FRAMES, end_block * HUGE_FRAMES}, part;
	uint64_t first = first_block, end = first_block;
	unsigned int zone, node = 0;
	int rc = 0;

	/* Neighbours of one node go in one call. */
	while (!rc && machine_next_part(m, &rest, &zone, &part)) {
		const uint64_t from = max_u64(part.start / HUGE_FRAMES, end);
		const uint64_t to = div_round_up(part.end, HUGE_FRAMES);

		if (from >= to)
			continue; /* the end of a block that is another zone's */
		if (end > first && (from != end || m->zones[zone].node != node)) {
			rc = bind_run(&b, first, end, node);
			first = from;
		} else if (end == first) {
			first = from;
		}
		node = m->zones[zone].node;
		end = to;
	}
	return !rc && end > first ? bind_run(&b, first, end, node) : rc;
}
