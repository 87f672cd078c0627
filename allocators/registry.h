/* SPDX-License-Identifier: MIT */
/*
 * From what a user types ("llfree:tree=8") to an instance: the one place that knows which back ends
 * are built in. A table a back end hands over is checked here before anyone calls through it.
 */
#ifndef ALLOCATORS_REGISTRY_H
#define ALLOCATORS_REGISTRY_H

#include "allocators/allocator.h"
#include "allocators/metadata.h"

/** All built-in back ends, the reference first, NULL-terminated. */
extern const struct allocator_ops *const allocator_builtins[];

/**
 * allocator_check_ops - may this table be called through?
 * @source: where it came from, for the message
 * Return: 0; -EINVAL: wrong magic, ABI or size, a mandatory function missing, a capability without
 * its function. The message says which and what to rebuild.
 */
int allocator_check_ops(const struct allocator_ops *ops, const char *source, struct error *err);

/* A parsed specification: which back end, with which option values. */
struct allocator_spec {
	const struct allocator_ops *ops;
	struct option_set *options;
	char *text; /* as typed */
};

/**
 * allocator_spec_parse - "NAME" or "NAME:k=v,..."
 * Return: 0; -ENOENT: unknown name (with the nearest one); or an option's error, prefixed by the
 * name.
 */
int allocator_spec_parse(const char *text, struct allocator_spec **spec, struct error *err);
void allocator_spec_destroy(struct allocator_spec *spec); /* NULL is allowed */

/* Where an instance lives. All zero, or NULL for it, is what most want. */
struct allocator_place {
	const _Atomic uint8_t *huge_state; /* as in alloc_env; NULL: all zero is provided */
	/* For the PERSISTENT metadata, see allocators/metadata.h; NULL: dies with the instance. */
	const char *metadata_file;
};

/* An instance with the metadata memory it took. */
struct allocator_instance {
	const struct allocator_ops *ops;
	struct allocator *a;
	uint64_t metadata_bytes; /* asked for so far, of both kinds */
	struct alloc_env env;
	struct metadata *metadata;
};

/**
 * allocator_instance_create - an instance on @machine
 * @place: read during the call, what its huge_state points at longer; NULL: defaults
 * @machine and @spec must outlive it. With a metadata_file, which must not exist yet and is removed
 * again should this fail, a process may die at any time and another go on with
 * allocator_instance_recover().
 * Return: 0 or create()'s error; with a metadata_file also -ENOTSUP: a back end without PERSISTENT;
 * and those of metadata_create_file() and metadata_alloc().
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
