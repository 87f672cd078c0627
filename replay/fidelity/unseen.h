/* SPDX-License-Identifier: MIT */
/*
 * Compaction in a back end that is told what the kernel did: the old places of what moved are told as
 * frees, of the new ones nobody knows. So the back end takes as many frames by its own rules, and gives
 * them back by those of replay/targets.h; where the recording shows that a frame is none of them,
 * another one is taken for it. Nothing here knows what comes.
 *
 * Internal to fidelity. Not thread-safe.
 */
#ifndef REPLAY_FIDELITY_UNSEEN_H
#define REPLAY_FIDELITY_UNSEEN_H

#include "allocators/allocator.h"
#include "replay/targets.h"

struct unseen {
	const struct machine *machine;
	const struct allocator_ops *ops;
	struct allocator *a;
	struct targets targets; /* names are the places they have in the back end */
	struct marks held;	/* frames the recorded kernel has handed out, */
	struct marks movable;	/* and those of them that it can move */
};

/** @start: what is handed out at first. Return: 0 or -ENOMEM. */
int unseen_create(struct unseen *u, const struct machine *m, const struct allocator_ops *ops,
		  struct allocator *a, const struct frame_map *start, struct error *err);
void unseen_destroy(struct unseen *u); /* of a zeroed one, too */

/** Follow an event whose frames are the machine's, after the back end has been told of it. */
void unseen_event(struct unseen *u, const struct event *e);

#endif
