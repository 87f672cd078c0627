/* SPDX-License-Identifier: MIT */
#include "replay/bench/seats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/memory.h"

static int choose(const struct bench_point *p, const struct machine *m,
		  const struct host_topology *host, struct bench_seats *seats, struct error *err)
{
	uint32_t *near = calloc(p->threads, sizeof(*near));
	int rc = 0;

	seats->seat = calloc(p->threads, sizeof(*seats->seat));
	if (!near || !seats->seat)
		rc = error_set(err, ENOMEM, "no memory to place %u threads", p->threads);
	for (uint32_t t = 0; !rc && t < p->threads; t++)
		near[t] = placement_near(m, &seats->nodes, t);
	if (!rc)
		rc = placement_choose(host, near, p->threads, seats->seat, err);
	if (!rc) {
		seats->text = placement_text(host, seats->seat, p->threads);
		if (!seats->text)
			rc = error_set(err, ENOMEM, "no memory to say where threads are");
	}
	free(near);
	return rc;
}

int bench_seats_choose(const struct bench_point *p, const struct machine *m,
		       struct bench_seats *seats, struct error *err)
{
	struct host_topology *host;
	int rc;

	*seats = (struct bench_seats){.text = NULL};
	memory_plan_nodes(p->backing, m, &node_this_host, &seats->nodes);
	rc = host_topology_load(&host, err);
	if (rc)
		return rc;
	snprintf(seats->note, sizeof(seats->note), "%s", host_topology_note(host));
	rc = choose(p, m, host, seats, err);
	host_topology_destroy(host);
	return rc;
}

void bench_seats_release(struct bench_seats *seats)
{
	free(seats->seat);
	free(seats->text);
	*seats = (struct bench_seats){.text = NULL};
}
