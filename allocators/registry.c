/* SPDX-License-Identifier: MIT */
#include "allocators/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* ---- metadata memory ---- */

/*
 * Metadata lives in anonymous mappings without reservation: zeroed by the host when touched, so a
 * back end for a terabyte costs what it writes. Small pieces share a mapping. Each mapping begins
 * with this header.
 */
struct arena_mapping {
	struct arena_mapping *next;
	size_t mapped, used; /* bytes, this header included */
};

#define ARENA_SHARED_BYTES ((size_t)64 << 10) /* size of a shared mapping */
#define ARENA_SMALL_BYTES  ((size_t)8 << 10)  /* largest piece in one */

static struct arena_mapping *arena_map(size_t bytes)
{
	struct arena_mapping *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mapping == MAP_FAILED)
		return NULL;
	mapping->mapped = bytes;
	mapping->used = sizeof(*mapping);
	return mapping;
}

/* The next piece of @mapping, or NULL if it is too full. */
static void *arena_cut(struct arena_mapping *mapping, size_t bytes, size_t align)
{
	uintptr_t base = (uintptr_t)mapping;
	uintptr_t at = align_up(base + mapping->used, align);

	if (at + bytes > base + mapping->mapped)
		return NULL;
	mapping->used = at + bytes - base;
	return (void *)at;
}

static void *arena_alloc(struct allocator_instance *instance, size_t bytes, size_t align)
{
	struct arena_mapping *first = instance->arena, *mapping;
	bool small = bytes <= ARENA_SMALL_BYTES && align <= 4096;
	size_t whole;
	void *piece;

	if (small && first) {
		piece = arena_cut(first, bytes, align);
		if (piece)
			return piece;
	}
	if (__builtin_add_overflow(bytes, align + sizeof(*mapping), &whole))
		return NULL;
	mapping = arena_map(small ? ARENA_SHARED_BYTES : whole);
	if (!mapping)
		return NULL;
	/* The shared mapping that still has room stays first. */
	if (small || !first) {
		mapping->next = first;
		instance->arena = mapping;
	} else {
		mapping->next = first->next;
		first->next = mapping;
	}
	return arena_cut(mapping, bytes, align);
}

static void arena_destroy(struct arena_mapping *mapping)
{
	while (mapping) {
		struct arena_mapping *next = mapping->next;

		munmap(mapping, mapping->mapped);
		mapping = next;
	}
}

/* alloc_env.meta; @kind makes a difference once frames and metadata live in a file. */
static void *instance_meta(const struct alloc_env *env, size_t bytes, size_t align,
			   enum meta_kind kind)
{
	uintptr_t at = (uintptr_t)env - offsetof(struct allocator_instance, env);
	struct allocator_instance *instance = (struct allocator_instance *)at;
	void *piece;

	(void)kind;
	if (!is_power_of_two(align))
		return NULL;
	piece = arena_alloc(instance, bytes, align);
	if (piece)
		instance->metadata_bytes += bytes;
	return piece;
}

/* ---- instances ---- */

static int instance_start(struct allocator_instance *instance, struct error *err)
{
	struct error local = {.code = 0};
	int rc;

	instance->env.error = &local;
	rc = instance->ops->create(&instance->env, &instance->a);
	/* Meant for create() only; must not dangle. */
	instance->env.error = NULL;
	if (rc == 0 && instance->a)
		return 0;
	instance->a = NULL;
	if (rc == 0)
		return error_set(err, EINVAL, "%s: create succeeded without an instance",
				 instance->ops->name);
	return error_set(err, -rc, "%s: %s", instance->ops->name,
			 local.code ? local.text : strerror(-rc));
}

int allocator_instance_create(const struct allocator_spec *spec, const struct machine *machine,
			      const _Atomic uint8_t *huge_state,
			      struct allocator_instance **instance, struct error *err)
{
	struct allocator_instance *new = calloc(1, sizeof(*new));
	int rc;

	if (!new)
		return error_set(err, ENOMEM, "%s: out of memory", spec->ops->name);
	new->ops = spec->ops;
	new->env.machine = machine;
	new->env.options = spec->options;
	new->env.meta = instance_meta;
	new->env.huge_state = huge_state;
	if (!huge_state) /* the harness's, so not counted as metadata */
		new->env.huge_state =
			arena_alloc(new, div_round_up(machine_end(machine), HUGE_FRAMES) + 1, 64);
	rc = new->env.huge_state ? instance_start(new, err)
				 : error_set(err, ENOMEM, "%s: out of memory", spec->ops->name);
	if (rc) {
		allocator_instance_destroy(new);
		return rc;
	}
	*instance = new;
	return 0;
}

void allocator_instance_destroy(struct allocator_instance *instance)
{
	if (!instance)
		return;
	if (instance->a)
		instance->ops->destroy(instance->a);
	arena_destroy(instance->arena);
	free(instance);
}
