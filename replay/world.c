/* SPDX-License-Identifier: MIT */
#include "replay/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/provenance.h"

/* What a back end moves before anyone has placed an object is nobody's. */
static void pass_on(void *arg, pfn_t from, pfn_t to, unsigned int order)
{
	const struct world *w = arg;

	if (w->moved)
		w->moved(w->moved_arg, from, to, order);
}

/*
 * What allocator_spec_parse() makes the same of; NULL: no memory. The values of all options say it for ever;
 * but of a file, an option's or a loaded back end's own, only what was typed leads there again.
 */
static char *spec_text(const struct allocator_spec *spec)
{
	char *options = option_canonical(spec->options), *text = NULL;
	struct allocator_spec *again;

	if (options &&
	    asprintf(&text, "%s%s%s", spec->ops->name, options[0] ? ":" : "", options) < 0)
		text = NULL;
	free(options);
	if (!text)
		return NULL;
	if (!allocator_spec_parse(text, &again, NULL)) {
		allocator_spec_destroy(again);
		return text;
	}
	free(text);
	return strdup(spec->text);
}

static int create_kept(struct world *w, const struct world_config *config, struct error *err)
{
	struct kept_identity identity = {
		.kernel = config->kernel ? config->kernel : "",
		.trace = config->keep_trace,
		.build = provenance_version(),
		.machine = config->machine,
		.list_seed = config->list_seed,
	};
	char *text;
	int rc;

	if (config->backing.kind != BACKING_FILE || config->backing.ops || !config->keep_trace ||
	    !kept_possible(config->spec->ops))
		return 0;
	text = spec_text(config->spec);
	if (!text)
		return error_set(err, ENOMEM, "no memory");
	identity.allocator = text;
	rc = kept_create(config->backing.path, &identity, &w->kept, err);
	free(text);
	return rc && err ? error_prefix(err, "backing %s", backing_kind_names[BACKING_FILE]) : rc;
}

static int create_memory(struct world *w, const struct world_config *config, struct error *err)
{
	struct memory_config backing = config->backing;
	int rc = create_kept(w, config, err);

	if (rc)
		return rc;
	if (w->kept) {
		backing.file_offset = kept_frames_offset(w->kept);
		backing.fd = kept_fd(w->kept);
	}
	return memory_create(&backing, w->machine, &w->memory, err);
}

static int create_instance(struct world *w, const struct world_config *config, struct error *err)
{
	struct metadata_within within;
	struct allocator_place place = {
		.huge_state = w->memory->huge_state,
		.kernel = config->kernel,
		.list_seed = config->list_seed,
		.moved = pass_on,
		.moved_arg = w,
	};
	int rc;

	if (w->kept) {
		within = kept_metadata(w->kept);
		place.metadata_within = &within;
	}
	rc = allocator_instance_create(config->spec, config->machine, &place, &w->instance, err);
	if (rc)
		return rc;
	if (w->kept)
		kept_set_state(w->kept, KEPT_PLAYING);
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
		rc = create_memory(w, config, err);
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
	kept_close(w->kept);
	free(w);
}

void world_follow_moves(struct world *w, allocator_moved *moved, void *arg)
{
	w->moved = moved;
	w->moved_arg = arg;
}
