/* SPDX-License-Identifier: MIT */
/*
 * From what a user types ("llfree:tree=8") to an instance: the one place that knows which back ends
 * are built in. A table a back end hands over is checked here before anyone calls through it.
 */
#ifndef ALLOCATORS_REGISTRY_H
#define ALLOCATORS_REGISTRY_H

#include <stdbool.h>

#include "allocators/allocator.h"
#include "allocators/metadata.h"

/** All built-in back ends, the reference first, NULL-terminated. */
extern const struct allocator_ops *const allocator_builtins[];

/**
 * allocator_check_ops - may this table be called through?
 * @source: where it came from, for the message
 * Return: 0; -EINVAL: wrong magic, ABI or size, a mandatory function missing, a capability without
 * its function, one of two functions that go together, something in a place kept for later versions.
 * The message says which and what to rebuild.
 */
int allocator_check_ops(const struct allocator_ops *ops, const char *source, struct error *err);

/** The row of ops->counters of that name; NULL: there is none. */
const struct metric_info *allocator_counter(const struct allocator_ops *ops, const char *name);

/**
 * allocator_check_layer - may @layer, a LAYER, be put over @inner?
 * Return: 0; -EINVAL: @inner does not place blocks itself (ECHO, UNCHECKED), or moves them (MOVES)
 * and @layer cannot follow.
 */
int allocator_check_layer(const struct allocator_ops *layer, const struct allocator_ops *inner,
			  struct error *err);

/*
 * A parsed specification: which back end, with which option values. Of a LAYER, `ops` is a table of
 * its own, which says what such a layer over such an inner back end can do: a capability other than
 * LAYER (and ONE_PER_LOAD and PADS, which either brings), and an optional function other than drain, tick and
 * check, is there if both have it; its counters are those of both. Its
 * option "inner" has become the inner specification's canonical form, with all option values, so
 * that whatever is told apart by options is told apart by the inner ones, too.
 */
struct allocator_spec {
	const struct allocator_ops *ops;
	struct option_set *options;
	char *text;		       /* as typed */
	struct allocator_spec *inner;  /* of a LAYER */
	struct allocator_ops *layered; /* ops, of a LAYER */
	struct metric_info *counters;  /* ops->counters, of a LAYER */
};

#define ALLOCATOR_LAYERS_MAX 4 /* one over the other */

/**
 * allocator_spec_parse - "NAME" or "NAME:k=v,..."
 * Return: 0; -ENOENT: unknown name (with the nearest one); or an option's error, prefixed by the
 * name. Of a LAYER, that of its inner specification, prefixed by the name and "inner"; -EINVAL: a
 * layer over too many others, or what allocator_check_layer() said.
 */
int allocator_spec_parse(const char *text, struct allocator_spec **spec, struct error *err);
void allocator_spec_destroy(struct allocator_spec *spec); /* NULL is allowed */

/* Where an instance lives. All zero, or NULL for it, is what most want. */
struct allocator_place {
	huge_state_byte *huge_state; /* as in alloc_env; NULL: all zero is provided */
	const char *kernel;	     /* as in alloc_env; NULL: "" */
	uint64_t list_seed;	     /* as in alloc_env */
	/*
	 * Gets the moves of a back end with MOVES, in the middle of calls to it; see alloc_env.moved
	 * for what may be relied on. NULL: such a back end is refused.
	 */
	allocator_moved *moved;
	void *moved_arg;
	/* For the PERSISTENT metadata, see allocators/metadata.h; NULL: dies with the instance. */
	const char *metadata_file;
	/*
	 * In place of that: a part of a file. What recovers from it sees the file as it is and leaves it
	 * so; NULL: none.
	 */
	const struct metadata_within *metadata_within;
};

/* An instance with the metadata memory it took. */
struct allocator_instance {
	const struct allocator_ops *ops;
	struct allocator *a;
	uint64_t metadata_bytes; /* asked for so far, of both kinds, by nested ones as well */
	struct alloc_env env;
	struct metadata *metadata;
	const struct allocator_spec *spec;
	/* Of a LAYER: what it nested, the newest first. They live in the metadata of the outermost. */
	struct allocator_instance *nested, *next, *outer;
	allocator_moved
		*moved; /* who follows its moves; NULL: a nested one's are its outer one's */
	void *moved_arg;
	bool recovering; /* it began with recover() */
};

/**
 * allocator_instance_create - an instance on @machine
 * @place: read during the call, what it points at longer; NULL: defaults
 * @machine and @spec must outlive it. With a metadata_file, which must not exist yet and is removed
 * again should this fail, a process may die at any time and another go on with
 * allocator_instance_recover().
 * Return: 0 or create()'s error; -ENOTSUP: MOVES, and nobody follows; with a metadata_file also
 * -ENOTSUP: a back end without PERSISTENT; and those of metadata_create_file() and metadata_alloc().
 */
int allocator_instance_create(const struct allocator_spec *spec, const struct machine *machine,
			      const struct allocator_place *place,
			      struct allocator_instance **instance, struct error *err);

/**
 * allocator_instance_recover - an instance from the metadata_file a dead one left
 * @spec, @machine: with the same back end, option values and description as then What had been
 * allocated is allocated, but for operations that were under way. When this fails, the file stays,
 * and recovery may be tried again.
 * Return: 0 or recover()'s error; -EINVAL: @place names no file; -ENOTSUP: a back end without
 * PERSISTENT; and those of metadata_open_file() and metadata_alloc().
 */
int allocator_instance_recover(const struct allocator_spec *spec, const struct machine *machine,
			       const struct allocator_place *place,
			       struct allocator_instance **instance, struct error *err);

/**
 * allocator_instance_destroy - end it and free its memory; NULL is allowed
 * A metadata_file stays, with whatever was live in it: the caller's to recover from or to remove.
 */
void allocator_instance_destroy(struct allocator_instance *instance);

#endif
