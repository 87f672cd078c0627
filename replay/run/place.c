/* SPDX-License-Identifier: MIT */
/* Where a run's worker is, and where the memory behind its frames comes from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/run/run.h"

/* The one worker asks for memory of all nodes; that of the first cpu's node is as good as any. */
static int choose(struct run *r, const struct host_topology *host)
{
	const uint32_t near = placement_near(r->machine, &r->nodes, 0);
	struct seat seat;
	int rc = placement_choose(host, &near, 1, &seat, r->err);

	snprintf(r->place_note, sizeof(r->place_note), "%s", host_topology_note(host));
	if (rc)
		return rc;
	r->before = affinity_save();
	rc = placement_pin(seat.cpu);
	if (rc) {
		snprintf(r->place_note, sizeof(r->place_note),
			 "the run could not be pinned to CPU %u of the host (%s): it wanders",
			 seat.cpu, strerror(-rc));
		return 0;
	}
	r->placement = placement_text(host, &seat, 1);
	return r->placement ? 0 : error_set(r->err, ENOMEM, "no memory to say where the run is");
}

int run_place(struct run *r)
{
	struct host_topology *host;
	int rc;

	memory_plan_nodes(r->config.backing, r->machine, &node_this_host, &r->nodes);
	if (!r->config.pin)
		return 0;
	rc = host_topology_load(&host, r->err);
	if (rc)
		return rc;
	rc = choose(r, host);
	host_topology_destroy(host);
	return rc;
}

void run_let_go(struct run *r)
{
	affinity_restore(r->before);
	free(r->placement);
	r->before = NULL;
	r->placement = NULL;
}
