/* SPDX-License-Identifier: MIT */
/*
 * What a run happens in: a machine, what backs its frames, a clock, and one instance of a back end (later
 * daemons, too). Made in one place, so that replay, bench and fidelity cannot differ in it.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_WORLD_H
#define REPLAY_WORLD_H

#include <stdint.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "replay/clock.h"
#include "replay/kept.h"
#include "sim/machine.h"
#include "sim/memory.h"

/* Read during world_create(), but for what it points at, which must outlive the world. */
struct world_config {
	const struct machine *machine;
	const struct allocator_spec *spec;
	const char
		*kernel; /* release of the kernel that recorded what will be played; NULL: none */
	struct memory_config backing;
	uint64_t list_seed; /* as in alloc_env */
	/*
	 * With a file behind the frames: keep all that recovery needs there, too, if the back end can be
	 * kept. Digest of the trace that will be played; NULL: keep frames alone.
	 */
	const char *keep_trace;
	enum clock_source clock;
};

struct world {
	const struct machine *machine;
	const struct allocator_spec *spec;
	struct memory *memory;
	struct stamp_clock clock;
	struct kept *kept; /* NULL: nothing is, or frames alone */
	struct allocator_instance *instance;
	const struct allocator_ops *ops; /* the instance's, for short */
	struct allocator *a;
	/* Who follows the moves of a back end with MOVES, in the middle of calls to it; NULL: nobody. */
	allocator_moved *moved;
	void *moved_arg;
};

/**
 * world_create - everything made, nothing allocated
 * The caller owns @world: world_destroy(). Takes about 10 ms, which the clock's rate is measured in.
 * Return: 0; -ENOMEM; what the backing's map or the back end's create said.
 */
int world_create(const struct world_config *config, struct world **world, struct error *err);
void world_destroy(struct world *world); /* NULL is allowed */

/** From now on @moved is told what the back end moves; at most one is. */
void world_follow_moves(struct world *world, allocator_moved *moved, void *arg);

#endif
