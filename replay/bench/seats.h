/* SPDX-License-Identifier: MIT */
/*
 * Where the threads of a timed benchmark are, so that whoever tells of a point and whoever measures it say the same.
 * Private to replay/bench/.
 */
#ifndef REPLAY_BENCH_SEATS_H
#define REPLAY_BENCH_SEATS_H

#include "replay/bench/point.h"
#include "replay/placement.h"

struct bench_seats {
	struct node_plan nodes; /* where memory comes from */
	struct seat *seat;	/* of each thread */
	char *text;		/* placement_text() */
	char note[PLACEMENT_NOTE_MAX];
};

/**
 * bench_seats_choose - by placement_choose(); for one point, the same in each process of one host
 * @m: the point's machine
 * Released also after an error: bench_seats_release(). Return: as placement_choose() and host_topology_load().
 */
int bench_seats_choose(const struct bench_point *point, const struct machine *m,
		       struct bench_seats *seats, struct error *err);
void bench_seats_release(struct bench_seats *seats);

#endif
