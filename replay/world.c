/* SPDX-License-Identifier: MIT */
#include "replay/world.h"

#include <errno.h>
#include <stdlib.h>

/* What a back end moves before anyone has placed an object is nobody's. */
static void pass_on(void *arg, pfn_t from, pfn_t to, unsigned int order)
{
	const struct world *w = arg;

	if (w->moved)
		w->moved(w->moved_arg, from, to, order);
}

static int create_instance(struct world *w, const struct world_config *config, struct error *err)
{
	const struct allocator_place place = {
		.huge_state = w->memory->huge_state,
		.kernel = config->kernel,
		.list_seed = config->list_seed,
		.moved = pass_on,
		.moved_arg = w,
	};
	int rc =
		allocator_instance_create(config->spec, config->machine, &place, &w->instance, err);

	if (rc)
		return rc;
	w->ops = w->instance->ops;
	w->a = w->instance->a;
	return 0;
}

static int start_clock(struct stamp_clock *clock, enum clock_source source, struct error *err)
{
	struct clock_choice choice = {.source = source};
	int rc = 0;

	if (source == CLOCK_SOURCE_UNDECIDED)
		rc = clock_choose(CLOCK_WISH_AUTO, &choice, err);
	if (!rc)
		clock_calibrate(clock, choice.source);
	return rc;
}

int world_create(const struct world_config *config, struct world **world, struct error *err)
{
	struct world *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return error_set(err, ENOMEM, "no memory");
	w->machine = config->machine;
	w->spec = config->spec;
	rc = start_clock(&w->clock, config->clock, err);
	if (!rc)
		rc = memory_create(&config->backing, w->machine, &w->memory, err);
	if (!rc)
		rc = create_instance(w, config, err);
	if (rc) {
		world_destroy(w);
		return rc;
	}
	*world = w;
	return 0;
}

void world_destroy(struct world *w)
{
	if (!w)
		return;
	allocator_instance_destroy(w->instance);
	memory_destroy(w->memory);
	free(w);
}

void world_follow_moves(struct world *w, allocator_moved *moved, void *arg)
{
	w->moved = moved;
	w->moved_arg = arg;
}
