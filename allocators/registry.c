/* SPDX-License-Identifier: MIT */
#include "allocators/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/environment.h"
#include "base/bits.h"

#define ALL_CAPABILITIES                                                                           \
	((uint32_t)(ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT |                  \
		    ALLOCATOR_PERSISTENT | ALLOCATOR_BULK | ALLOCATOR_ZONES | ALLOCATOR_ECHO |     \
		    ALLOCATOR_UNCHECKED | ALLOCATOR_LAYER | ALLOCATOR_ONE_PER_LOAD |               \
		    ALLOCATOR_MOVES | ALLOCATOR_PADS))

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
		{"give_huge", ops->take_huge, ops->give_huge},
		{"take_huge", ops->give_huge, ops->take_huge},
	};

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (functions[i].needed && !functions[i].there)
			return functions[i].name;
	}
	return NULL;
}

static bool uses_reserved(const struct allocator_ops *ops)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops->later); i++) {
		if (ops->later[i])
			return true;
	}
	return false;
}

/* The name of the option that says what is below a layer. */
#define INNER "inner"

static bool has_inner_option(const struct allocator_ops *ops)
{
	for (const struct option *row = ops->options; row && row->name; row++) {
		if (strcmp(row->name, INNER) == 0)
			return row->type == OPTION_STRING && !(row->flags & OPTION_REPEATS);
	}
	return false;
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
				 "capability or function that needs it",
				 source, ops->name, missing);
	if (uses_reserved(ops))
		return error_set(err, EINVAL,
				 "%s: back end %s has functions that this version does not know; "
				 "rebuild it against this allocators/allocator.h",
				 source, ops->name);
	if (ops->capabilities & ALLOCATOR_LAYER && !has_inner_option(ops))
		return error_set(err, EINVAL,
				 "%s: back end %s is a layer without a text option '" INNER
				 "'; add it, or drop the capability",
				 source, ops->name);
	return 0;
}

const struct metric_info *allocator_counter(const struct allocator_ops *ops, const char *name)
{
	for (const struct metric_info *row = ops->counters; row && row->name; row++) {
		if (strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

int allocator_check_layer(const struct allocator_ops *layer, const struct allocator_ops *inner,
			  struct error *err)
{
	if (inner->capabilities & (ALLOCATOR_ECHO | ALLOCATOR_UNCHECKED))
		return error_set(err, EINVAL,
				 INNER ": %s does not choose blocks itself, so there is nothing to "
				       "layer over; name another back end",
				 inner->name);
	if (inner->capabilities & ~layer->capabilities & ALLOCATOR_MOVES)
		return error_set(err, EINVAL,
				 INNER ": %s moves blocks, which %s cannot follow; name another "
				       "back end",
				 inner->name, layer->name);
	return 0;
}

/* ---- specifications ---- */

/* An empty table for back ends without options, so that their set is never NULL. */
static const struct option no_options[] = {{.name = NULL}};

#define NAMES_MAX 32U /* that a message lists */

static int unknown_name(const char *name, struct error *err)
{
	const char *names[NAMES_MAX + 1] = {NULL}, *nearest;
	char list[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < NAMES_MAX && allocator_builtins[i]; i++)
		names[i] = allocator_builtins[i]->name;
	nearest = nearest_name(name, names);
	if (nearest)
		return error_set(err, ENOENT, "unknown back end '%s'; did you mean '%s'?", name,
				 nearest);
	for (size_t i = 0; names[i] && length < sizeof(list); i++)
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s",
					   i ? ", " : "", names[i]);
	return error_set(err, ENOENT, "unknown back end '%s'; there are %s", name, list);
}

static int find_builtin(const char *name, const struct allocator_ops **ops, struct error *err)
{
	for (size_t i = 0; allocator_builtins[i]; i++) {
		if (strcmp(allocator_builtins[i]->name, name) == 0) {
			*ops = allocator_builtins[i];
			return allocator_check_ops(*ops, name, err);
		}
	}
	return unknown_name(name, err);
}

static int spec_create(const char *text, unsigned int layers, struct allocator_spec **spec,
		       struct error *err);

/* @ops over @inner: what only both can do, this pair can. */
static struct allocator_ops *layer_ops(const struct allocator_ops *ops,
				       const struct allocator_ops *inner)
{
	struct allocator_ops *both = malloc(sizeof(*both));

	if (!both)
		return NULL;
	*both = *ops;
	both->capabilities &= inner->capabilities | ALLOCATOR_LAYER | ALLOCATOR_ONE_PER_LOAD;
	both->capabilities |= inner->capabilities & (ALLOCATOR_ONE_PER_LOAD | ALLOCATOR_PADS);
#define ONLY_IF_INNER(function)                                                                    \
	do {                                                                                       \
		if (!inner->function)                                                              \
			both->function = NULL;                                                     \
	} while (0)
	ONLY_IF_INNER(alloc_at);
	ONLY_IF_INNER(alloc_bulk);
	ONLY_IF_INNER(free_bulk);
	ONLY_IF_INNER(adopt);
	ONLY_IF_INNER(predict);
	ONLY_IF_INNER(observe);
	ONLY_IF_INNER(explain);
	ONLY_IF_INNER(isolate);
	ONLY_IF_INNER(unisolate);
	ONLY_IF_INNER(online);
	ONLY_IF_INNER(offline);
	ONLY_IF_INNER(stats);
	ONLY_IF_INNER(occupancy);
	ONLY_IF_INNER(recover);
	ONLY_IF_INNER(take_huge);
	ONLY_IF_INNER(give_huge);
#undef ONLY_IF_INNER
	return both;
}

static size_t nr_counters(const struct metric_info *rows)
{
	size_t n = 0;

	while (rows && rows[n].name)
		n++;
	return n;
}

/* The rows of a layer and of what is below it; a name that both have once, as the layer has it. */
static struct metric_info *layer_counters(const struct allocator_ops *ops,
					  const struct allocator_ops *inner)
{
	size_t n = nr_counters(ops->counters), below = nr_counters(inner->counters);
	struct metric_info *rows = calloc(n + below + 1, sizeof(*rows));

	if (!rows)
		return NULL;
	for (size_t i = 0; i < n; i++)
		rows[i] = ops->counters[i];
	for (size_t i = 0; i < below; i++) {
		if (!allocator_counter(ops, inner->counters[i].name))
			rows[n++] = inner->counters[i];
	}
	return rows;
}

/* Make the value of option "inner" canonical. */
static int spell_inner_out(struct allocator_spec *spec, struct error *err)
{
	char *options = option_canonical(spec->inner->options), *text = NULL;
	int rc;

	if (!options ||
	    asprintf(&text, "%s%s%s", spec->inner->ops->name, *options ? ":" : "", options) < 0)
		text = NULL;
	rc = text ? option_set_assign(spec->options, INNER, text, err)
		  : error_set(err, ENOMEM, INNER ": out of memory");
	free(options);
	free(text);
	return rc;
}

/* The rest of a layer's specification. @layers: above it */
static int parse_inner(struct allocator_spec *spec, unsigned int layers, struct error *err)
{
	const char *text = option_string(spec->options, INNER);
	const struct allocator_ops *inner;
	int rc;

	if (layers + 1 >= ALLOCATOR_LAYERS_MAX)
		return error_set(err, EINVAL,
				 "more than %d back ends one over the other; leave layers out",
				 ALLOCATOR_LAYERS_MAX);
	rc = spec_create(text ? text : "", layers + 1, &spec->inner, err);
	if (rc) {
		if (err)
			error_prefix(err, INNER);
		return rc;
	}
	inner = spec->inner->ops;
	rc = allocator_check_layer(spec->ops, inner, err);
	if (rc)
		return rc;
	spec->layered = layer_ops(spec->ops, inner);
	spec->counters = layer_counters(spec->ops, inner);
	if (!spec->layered || !spec->counters)
		return error_set(err, ENOMEM, "out of memory");
	spec->layered->counters = spec->counters;
	spec->ops = spec->layered;
	return spell_inner_out(spec, err);
}

/* Fill in what @spec's text means; what is there already on failure goes with the spec. */
static int parse_into(struct allocator_spec *spec, unsigned int layers, struct error *err)
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
	if (rc == 0 && spec->ops->capabilities & ALLOCATOR_LAYER)
		rc = parse_inner(spec, layers, err);
	if (rc) {
		if (err)
			error_prefix(err, "%s", spec->ops->name);
		return rc;
	}
	return 0;
}

/* @layers: that are to be above it */
static int spec_create(const char *text, unsigned int layers, struct allocator_spec **spec,
		       struct error *err)
{
	struct allocator_spec *new = calloc(1, sizeof(*new));
	int rc;

	if (new)
		new->text = strdup(text);
	if (!new || !new->text) {
		free(new);
		return error_set(err, ENOMEM, "%s: out of memory", text);
	}
	rc = parse_into(new, layers, err);
	if (rc) {
		allocator_spec_destroy(new);
		return rc;
	}
	*spec = new;
	return 0;
}

int allocator_spec_parse(const char *text, struct allocator_spec **spec, struct error *err)
{
	return spec_create(text, 0, spec, err);
}

void allocator_spec_destroy(struct allocator_spec *spec)
{
	if (!spec)
		return;
	allocator_spec_destroy(spec->inner);
	option_set_destroy(spec->options);
	free(spec->layered);
	free(spec->counters);
	free(spec->text);
	free(spec);
}

/* ---- instances ---- */

static struct allocator_instance *instance_of(const struct alloc_env *env)
{
	uintptr_t at = (uintptr_t)env - offsetof(struct allocator_instance, env);

	return (struct allocator_instance *)at;
}

/* alloc_env.meta: of the outermost instance, whoever asks. */
static void *instance_meta(const struct alloc_env *env, size_t bytes, size_t align,
			   enum meta_kind kind)
{
	struct allocator_instance *instance = instance_of(env);
	void *piece;

	while (instance->outer)
		instance = instance->outer;
	piece = metadata_alloc(instance->metadata, bytes, align, kind);
	if (piece)
		instance->metadata_bytes += bytes;
	return piece;
}

/* alloc_env.moved: up to the first who follows. */
static void instance_moved(const struct alloc_env *env, pfn_t from, pfn_t to, unsigned int order)
{
	const struct allocator_instance *instance = instance_of(env);

	while (!instance->moved)
		instance = instance->outer;
	instance->moved(instance->moved_arg, from, to, order);
}

/* Begin, either way, and explain a failure in @err. */
static int instance_start(struct allocator_instance *instance, bool recover, struct error *err)
{
	const struct allocator_ops *ops = instance->ops;
	struct error local = {.code = 0};
	int rc;

	instance->recovering = recover;
	instance->env.error = &local;
	rc = (recover ? ops->recover : ops->create)(&instance->env, &instance->a);
	/* Meant for this call only; must not dangle. */
	instance->env.error = NULL;
	if (rc == 0 && instance->a && local.code == 0)
		return 0;
	if (rc == 0 && instance->a) {
		ops->destroy(instance->a);
		rc = -local.code;
	}
	instance->a = NULL;
	if (rc == 0)
		return error_set(err, EINVAL, "%s: %s succeeded without an instance", ops->name,
				 recover ? "recover" : "create");
	return error_set(err, -rc, "%s: %s", ops->name, local.code ? local.text : strerror(-rc));
}

/* What an environment has by what its back end is. */
static void instance_equip(struct allocator_instance *instance, const struct allocator_spec *spec)
{
	uint32_t capabilities = spec->ops->capabilities;
	/* It was handed in writable; all but layers only read it. */
	huge_state_byte *states = (huge_state_byte *)(uintptr_t)instance->env.huge_state;

	instance->ops = spec->ops;
	instance->spec = spec;
	environment_read_options(&instance->env, spec->options);
	instance->env.huge_state_writable = capabilities & ALLOCATOR_LAYER ? states : NULL;
	instance->env.moved = capabilities & ALLOCATOR_MOVES ? instance_moved : NULL;
}

/* alloc_env.nest */
static int instance_nest(const struct alloc_env *env, allocator_moved *moved, void *arg,
			 const struct allocator_ops **ops, struct allocator **a)
{
	struct allocator_instance *outer = instance_of(env), *new;
	const struct allocator_spec *inner = outer->spec->inner;
	int rc;

	if (!env->error)
		return -EINVAL; /* too late: beyond create() and recover() */
	if (!inner)
		return error_set(env->error, EINVAL, "it nests and is no layer; mend the back end");
	if (outer->recovering && !inner->ops->recover)
		return error_set(env->error, ENOTSUP, "%s cannot recover", inner->ops->name);
	new = calloc(1, sizeof(*new));
	if (!new)
		return error_set(env->error, ENOMEM, "%s: out of memory", inner->ops->name);
	new->env = outer->env;
	instance_equip(new, inner);
	new->moved = moved;
	new->moved_arg = arg;
	new->outer = outer;
	new->next = outer->nested;
	outer->nested = new;
	/* Should this fail, it stays where it is, without an allocator, until @outer goes. */
	rc = instance_start(new, outer->recovering, env->error);
	if (rc)
		return rc;
	*ops = new->ops;
	*a = new->a;
	return 0;
}

static int instance_begin(struct allocator_instance *instance, bool recover, struct error *err)
{
	const char *name = instance->ops->name;
	const struct error *cause;
	int rc = instance_start(instance, recover, err);

	if (rc == 0) {
		rc = metadata_commit(instance->metadata, err);
		return rc && err ? error_prefix(err, "%s", name) : rc;
	}
	/* All a back end knows of a file is that it got no memory. */
	cause = metadata_error(instance->metadata);
	return cause ? error_set(err, cause->code, "%s: %s", name, cause->text) : rc;
}

/* @place names a file, or a part of one. */
static int instance_open_file(struct allocator_instance *instance,
			      const struct allocator_place *place, bool recover, struct error *err)
{
	const struct metadata_within *within = place->metadata_within;
	const char *path = within ? within->path : place->metadata_file;
	char *options = option_canonical(instance->env.options);
	struct metadata_identity identity = {
		.name = instance->ops->name,
		.options = options,
		.machine = instance->env.machine,
	};
	int rc;

	if (!options)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	if (within)
		rc = (recover ? metadata_view_within : metadata_create_within)(
			within, &identity, &instance->metadata, err);
	else
		rc = (recover ? metadata_open_file
			      : metadata_create_file)(path, &identity, &instance->metadata, err);
	free(options);
	return rc;
}

static bool in_file(const struct allocator_place *place)
{
	return place && (place->metadata_file || place->metadata_within);
}

static int instance_place(struct allocator_instance *instance, const struct allocator_place *place,
			  bool recover, struct error *err)
{
	uint64_t blocks = div_round_up(machine_end(instance->env.machine), HUGE_FRAMES);
	int rc = in_file(place) ? instance_open_file(instance, place, recover, err)
				: metadata_create(&instance->metadata, err);

	if (rc)
		return rc;
	instance->env.huge_state = place ? place->huge_state : NULL;
	if (!instance->env.huge_state) /* the harness's, so not counted as metadata */
		instance->env.huge_state =
			metadata_alloc(instance->metadata, blocks + 1, 64, META_VOLATILE);
	if (!instance->env.huge_state)
		return error_set(err, ENOMEM, "out of memory");
	if (place) {
		instance->env.list_seed = place->list_seed;
		instance->moved = place->moved;
		instance->moved_arg = place->moved_arg;
	}
	return 0;
}

static int instance_build(const struct allocator_spec *spec, const struct machine *machine,
			  const struct allocator_place *place, bool recover,
			  struct allocator_instance **instance, struct error *err)
{
	const struct allocator_ops *ops = spec->ops;
	struct allocator_instance *new;
	int rc;

	if (in_file(place) && !(ops->capabilities & ALLOCATOR_PERSISTENT))
		return error_set(err, ENOTSUP,
				 "%s: its state does not survive the process, so %s is of no use; "
				 "leave the file out, or use a back end with PERSISTENT",
				 ops->name,
				 place->metadata_within ? place->metadata_within->path
							: place->metadata_file);
	if (ops->capabilities & ALLOCATOR_MOVES && !(place && place->moved))
		return error_set(err, ENOTSUP,
				 "%s: it moves blocks, which nobody follows here; use another back "
				 "end",
				 ops->name);
	new = calloc(1, sizeof(*new));
	if (!new)
		return error_set(err, ENOMEM, "%s: out of memory", ops->name);
	new->ops = ops;
	new->env.size = sizeof(new->env);
	new->env.machine = machine;
	new->env.options = spec->options;
	new->env.kernel = place && place->kernel ? place->kernel : "";
	new->env.meta = instance_meta;
	new->env.nest = instance_nest;
	rc = instance_place(new, place, recover, err);
	if (rc && err)
		error_prefix(err, "%s", ops->name);
	if (!rc) {
		instance_equip(new, spec);
		rc = instance_begin(new, recover, err);
	}
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
	if (!in_file(place))
		return error_set(err, EINVAL, "%s: no file to recover from", spec->ops->name);
	return instance_build(spec, machine, place, true, instance, err);
}

void allocator_instance_destroy(struct allocator_instance *instance)
{
	if (!instance)
		return;
	if (instance->a)
		instance->ops->destroy(instance->a);
	while (instance->nested) { /* after the one they serve */
		struct allocator_instance *nested = instance->nested;

		instance->nested = nested->next;
		allocator_instance_destroy(nested);
	}
	metadata_destroy(instance->metadata);
	free(instance);
}
