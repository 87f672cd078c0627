/* SPDX-License-Identifier: MIT */
/*
 * From what a user types ("llfree:tree=8") to an instance: the one place that knows which back ends
 * are built in. A table a back end hands over is checked here before anyone calls through it.
 */
#ifndef ALLOCATORS_REGISTRY_H
#define ALLOCATORS_REGISTRY_H

#include "allocators/allocator.h"

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

/* An instance with the metadata memory it took. */
struct allocator_instance {
	const struct allocator_ops *ops;
	struct allocator *a;
	uint64_t metadata_bytes;
	struct alloc_env env;
	void *arena; /* list of metadata mappings, registry's own */
};

/**
 * allocator_instance_create - an instance on @machine
 * @huge_state: as in alloc_env; NULL: all zero is provided
 * @machine and @spec must outlive it. Return: 0 or create()'s error.
 */
int allocator_instance_create(const struct allocator_spec *spec, const struct machine *machine,
			      const _Atomic uint8_t *huge_state,
			      struct allocator_instance **instance, struct error *err);
void allocator_instance_destroy(struct allocator_instance *instance); /* NULL is allowed */

#endif
