/* SPDX-License-Identifier: MIT */
#include "allocators/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

extern const struct allocator_ops recorded_ops, buddy_ops, llfree_ops, firstfit_ops, nextfit_ops,
	null_ops;

const struct allocator_ops *const allocator_builtins[] = {
	&recorded_ops, &buddy_ops, &llfree_ops, &firstfit_ops, &nextfit_ops, &null_ops, NULL,
};

#define NR_BUILTINS (ARRAY_SIZE(allocator_builtins) - 1)

#define ALL_CAPABILITIES                                                                           \
	((uint32_t)(ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT |                  \
		    ALLOCATOR_PERSISTENT | ALLOCATOR_BULK | ALLOCATOR_ZONES | ALLOCATOR_ECHO |     \
		    ALLOCATOR_UNCHECKED))

/* ---- tables ---- */

static bool name_is_valid(const char *name)
{
	if (!name || !*name)
		return false;
	for (const char *c = name; *c; c++) {
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' ||
		      *c == '-'))
			return false;
	}
	return true;
}

/* The first function that is needed and not there; NULL if all are. */
static const char *missing_function(const struct allocator_ops *ops)
{
	const struct {
		const char *name;
		bool needed, there;
	} functions[] = {
		{"create", true, ops->create},
		{"destroy", true, ops->destroy},
		{"alloc", true, ops->alloc},
		{"free", true, ops->free},
		{"alloc_at", ops->capabilities & ALLOCATOR_ALLOC_AT, ops->alloc_at},
		{"alloc_bulk", ops->capabilities & ALLOCATOR_BULK, ops->alloc_bulk},
		{"free_bulk", ops->capabilities & ALLOCATOR_BULK, ops->free_bulk},
		{"recover", ops->capabilities & ALLOCATOR_PERSISTENT, ops->recover},
		{"unisolate", ops->isolate, ops->unisolate},
	};

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (functions[i].needed && !functions[i].there)
			return functions[i].name;
	}
	return NULL;
}

int allocator_check_ops(const struct allocator_ops *ops, const char *source, struct error *err)
{
	const char *missing;

	if (!ops)
		return error_set(err, EINVAL, "%s: no table of functions", source);
	/* Each test makes the next one's field safe to read. */
	if (ops->magic != ALLOCATOR_MAGIC)
		return error_set(err, EINVAL,
				 "%s: not a back end: its table starts with 0x%08" PRIx32
				 " instead of 0x%08x",
				 source, ops->magic, ALLOCATOR_MAGIC);
	if (ops->abi_version != ALLOCATOR_ABI_VERSION)
		return error_set(err, EINVAL,
				 "%s: built for version %" PRIu32
				 " of the allocator interface, this is version %d; rebuild it "
				 "against this allocators/allocator.h",
				 source, ops->abi_version, ALLOCATOR_ABI_VERSION);
	if (ops->size != sizeof(*ops))
		return error_set(err, EINVAL,
				 "%s: its table has %zu bytes, expected %zu; set .size to "
				 "sizeof(struct allocator_ops) and rebuild it against this "
				 "allocators/allocator.h",
				 source, ops->size, sizeof(*ops));
	if (!name_is_valid(ops->name))
		return error_set(err, EINVAL,
				 "%s: back-end name '%s' is not made of a-z, 0-9, '_' and '-'",
				 source, ops->name ? ops->name : "");
	if (!ops->summary)
		return error_set(err, EINVAL, "%s: back end %s has no summary", source, ops->name);
	if (ops->capabilities & ~ALL_CAPABILITIES)
		return error_set(err, EINVAL,
				 "%s: back end %s claims unknown capabilities 0x%" PRIx32
				 "; rebuild it against this allocators/allocator.h",
				 source, ops->name, ops->capabilities & ~ALL_CAPABILITIES);
	missing = missing_function(ops);
	if (missing)
		return error_set(err, EINVAL,
				 "%s: back end %s has no function %s; add it, or drop the "
				 "capability that needs it",
				 source, ops->name, missing);
	return 0;
}

/* ---- specifications ---- */

/* An empty table for back ends without options, so that their set is never NULL. */
static const struct option no_options[] = {{.name = NULL}};

static int unknown_name(const char *name, struct error *err)
{
	const char *names[NR_BUILTINS + 1] = {NULL}, *nearest;
	char list[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < NR_BUILTINS; i++)
		names[i] = allocator_builtins[i]->name;
	nearest = nearest_name(name, names);
	if (nearest)
		return error_set(err, ENOENT, "unknown back end '%s'; did you mean '%s'?", name,
				 nearest);
	for (size_t i = 0; i < NR_BUILTINS && length < sizeof(list); i++)
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s",
					   i ? ", " : "", names[i]);
	return error_set(err, ENOENT, "unknown back end '%s'; there are %s", name, list);
}

static int find_builtin(const char *name, const struct allocator_ops **ops, struct error *err)
{
	for (size_t i = 0; i < NR_BUILTINS; i++) {
		if (strcmp(allocator_builtins[i]->name, name) == 0) {
			*ops = allocator_builtins[i];
			return allocator_check_ops(*ops, name, err);
		}
	}
	return unknown_name(name, err);
}

/* Fill in what @spec's text means; what is there already on failure goes with the spec. */
static int parse_into(struct allocator_spec *spec, struct error *err)
{
	const char *colon = strchr(spec->text, ':');
	char *name = colon ? strndup(spec->text, (size_t)(colon - spec->text)) : strdup(spec->text);
	int rc;

	if (!name)
		return error_set(err, ENOMEM, "%s: out of memory", spec->text);
	rc = find_builtin(name, &spec->ops, err);
	free(name);
	if (rc)
		return rc;
	rc = option_set_create(spec->ops->options ? spec->ops->options : no_options, &spec->options,
			       err);
	if (rc == 0 && colon && colon[1])
		rc = option_set_parse_spec(spec->options, colon + 1, err);
	if (rc) {
		if (err)
			error_prefix(err, "%s", spec->ops->name);
		return rc;
	}
	return 0;
}

int allocator_spec_parse(const char *text, struct allocator_spec **spec, struct error *err)
{
	struct allocator_spec *new = calloc(1, sizeof(*new));
	int rc;

	if (new)
		new->text = strdup(text);
	if (!new || !new->text) {
		free(new);
		return error_set(err, ENOMEM, "%s: out of memory", text);
	}
	rc = parse_into(new, err);
	if (rc) {
		allocator_spec_destroy(new);
		return rc;
	}
	*spec = new;
	return 0;
}

void allocator_spec_destroy(struct allocator_spec *spec)
{
	if (!spec)
		return;
	option_set_destroy(spec->options);
	free(spec->text);
	free(spec);
}

/* ---- instances ---- */

/* alloc_env.meta */
static void *instance_meta(const struct alloc_env *env, size_t bytes, size_t align,
			   enum meta_kind kind)
{
	uintptr_t at = (uintptr_t)env - offsetof(struct allocator_instance, env);
	struct allocator_instance *instance = (struct allocator_instance *)at;
	void *piece = metadata_alloc(instance->metadata, bytes, align, kind);

	if (piece)
		instance->metadata_bytes += bytes;
	return piece;
}

/* Either way to begin: ops->create or ops->recover. */
typedef int instance_begin(const struct alloc_env *env, struct allocator **a);

static int instance_start(struct allocator_instance *instance, instance_begin *begin,
			  struct error *err)
{
	const char *name = instance->ops->name;
	const struct error *cause;
	struct error local = {.code = 0};
	int rc;

	instance->env.error = &local;
	rc = begin(&instance->env, &instance->a);
	/* Meant for this call only; must not dangle. */
	instance->env.error = NULL;
	if (rc == 0 && instance->a) {
		rc = metadata_commit(instance->metadata, err);
		return rc && err ? error_prefix(err, "%s", name) : rc;
	}
	instance->a = NULL;
	if (rc == 0)
		return error_set(err, EINVAL, "%s: %s succeeded without an instance", name,
				 begin == instance->ops->recover ? "recover" : "create");
	/* All a back end knows of a file is that it got no memory. */
	cause = metadata_error(instance->metadata);
	if (cause)
		return error_set(err, cause->code, "%s: %s", name, cause->text);
	return error_set(err, -rc, "%s: %s", name, local.code ? local.text : strerror(-rc));
}

typedef int metadata_begin(const char *path, const struct metadata_identity *identity,
			   struct metadata **metadata, struct error *err);

static int instance_open_file(struct allocator_instance *instance, const char *path,
			      metadata_begin *begin, struct error *err)
{
	char *options = option_canonical(instance->env.options);
	struct metadata_identity identity = {
		.name = instance->ops->name,
		.options = options,
		.machine = instance->env.machine,
	};
	int rc;

	if (!options)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	rc = begin(path, &identity, &instance->metadata, err);
	free(options);
	return rc;
}

static int instance_place(struct allocator_instance *instance, const struct allocator_place *place,
			  metadata_begin *begin, struct error *err)
{
	const char *path = place ? place->metadata_file : NULL;
	uint64_t blocks = div_round_up(machine_end(instance->env.machine), HUGE_FRAMES);
	int rc = path ? instance_open_file(instance, path, begin, err)
		      : metadata_create(&instance->metadata, err);

	if (rc)
		return rc;
	instance->env.huge_state = place ? place->huge_state : NULL;
	if (!instance->env.huge_state) /* the harness's, so not counted as metadata */
		instance->env.huge_state =
			metadata_alloc(instance->metadata, blocks + 1, 64, META_VOLATILE);
	if (!instance->env.huge_state)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

static int instance_build(const struct allocator_spec *spec, const struct machine *machine,
			  const struct allocator_place *place, bool recover,
			  struct allocator_instance **instance, struct error *err)
{
	const struct allocator_ops *ops = spec->ops;
	struct allocator_instance *new;
	int rc;

	if (place && place->metadata_file && !(ops->capabilities & ALLOCATOR_PERSISTENT))
		return error_set(err, ENOTSUP,
				 "%s: its state does not survive the process, so %s is of no use; "
				 "leave the file out, or use a back end with PERSISTENT",
				 ops->name, place->metadata_file);
	new = calloc(1, sizeof(*new));
	if (!new)
		return error_set(err, ENOMEM, "%s: out of memory", ops->name);
	new->ops = ops;
	new->env.machine = machine;
	new->env.options = spec->options;
	new->env.meta = instance_meta;
	rc = instance_place(new, place, recover ? metadata_open_file : metadata_create_file, err);
	if (rc && err)
		error_prefix(err, "%s", ops->name);
	if (!rc)
		rc = instance_start(new, recover ? ops->recover : ops->create, err);
	if (rc) {
		allocator_instance_destroy(new);
		return rc;
	}
	*instance = new;
	return 0;
}

int allocator_instance_create(const struct allocator_spec *spec, const struct machine *machine,
			      const struct allocator_place *place,
			      struct allocator_instance **instance, struct error *err)
{
	return instance_build(spec, machine, place, false, instance, err);
}

int allocator_instance_recover(const struct allocator_spec *spec, const struct machine *machine,
			       const struct allocator_place *place,
			       struct allocator_instance **instance, struct error *err)
{
	if (!place || !place->metadata_file)
		return error_set(err, EINVAL, "%s: no file to recover from", spec->ops->name);
	return instance_build(spec, machine, place, true, instance, err);
}

void allocator_instance_destroy(struct allocator_instance *instance)
{
	if (!instance)
		return;
	if (instance->a)
		instance->ops->destroy(instance->a);
	metadata_destroy(instance->metadata);
	free(instance);
}
