/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/registry.h"
#include "tests/skip.h"

/* ---- a back end made for these tests ---- */

static const struct option toy_options[] = {
	{.name = "depth", .type = OPTION_UINT, .fallback = "4", .min = 1, .max = 9, .help = "x"},
	{.name = NULL},
};

struct allocator {
	const struct alloc_env *env;
};

static int toy_create(const struct alloc_env *env, struct allocator **a)
{
	*a = env->meta(env, sizeof(**a), 64, META_VOLATILE);
	(*a)->env = env;
	return 0;
}

static int failing_create(const struct alloc_env *env, struct allocator **a)
{
	(void)a;
	return error_set(env->error, ERANGE, "no such depth");
}

static int silent_create(const struct alloc_env *env, struct allocator **a)
{
	(void)env;
	(void)a;
	return -ENOMEM;
}

static int empty_create(const struct alloc_env *env, struct allocator **a)
{
	(void)env;
	(void)a;
	return 0;
}

static void toy_destroy(struct allocator *a)
{
	(void)a;
}

static struct alloc_result toy_alloc(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	return (struct alloc_result){.pfn = PFN_NONE};
}

static int toy_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	(void)a;
	(void)pfn;
	(void)req;
	return -EINVAL;
}

static int toy_isolate(struct allocator *a, pfn_t pfn, unsigned int order, uint64_t *got)
{
	(void)a;
	(void)pfn;
	(void)order;
	*got = 0;
	return 0;
}

static int toy_huge(struct allocator *a, pfn_t pfn, enum huge_taking how)
{
	(void)a;
	(void)pfn;
	(void)how;
	return 0;
}

static void toy_later(void)
{
}

static struct allocator_ops toy(void)
{
	return (struct allocator_ops){
		.magic = ALLOCATOR_MAGIC,
		.abi_version = ALLOCATOR_ABI_VERSION,
		.size = sizeof(struct allocator_ops),
		.name = "toy",
		.summary = "x",
		.options = toy_options,
		.create = toy_create,
		.destroy = toy_destroy,
		.alloc = toy_alloc,
		.free = toy_free,
	};
}

/* ---- tables ---- */

static void every_built_in_table_is_sound(void **state)
{
	struct error err;
	size_t n = 0;

	(void)state;
	for (; allocator_builtins[n]; n++) {
		const struct allocator_ops *ops = allocator_builtins[n];
		struct option_set *set;

		if (allocator_check_ops(ops, ops->name, &err))
			fail_msg("%s", err.text);
		/* defaults are within their own bounds */
		if (ops->options && option_set_create(ops->options, &set, &err))
			fail_msg("%s: %s", ops->name, err.text);
		if (ops->options)
			option_set_destroy(set);
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(ops->name, allocator_builtins[i]->name);
	}
	assert_true(n >= 6);
	assert_string_equal(allocator_builtins[0]->name, "recorded");
}

#define REFUSED(field, value, expected)                                                            \
	do {                                                                                       \
		struct allocator_ops table = toy();                                                \
		struct error problem = {0};                                                        \
		table.field = (value);                                                             \
		assert_int_equal(allocator_check_ops(&table, "./libtoy.so", &problem), -EINVAL);   \
		assert_non_null(strstr(problem.text, "./libtoy.so"));                              \
		if (!strstr(problem.text, expected))                                               \
			fail_msg("'%s' not in '%s'", expected, problem.text);                      \
	} while (0)

static void a_bad_table_is_refused_with_what_to_do(void **state)
{
	struct allocator_ops fine = toy();
	struct error err;

	(void)state;
	assert_int_equal(allocator_check_ops(&fine, "x", &err), 0);
	assert_int_equal(allocator_check_ops(NULL, "x", &err), -EINVAL);
	REFUSED(magic, 0x464c457f, "0x464c457f");
	REFUSED(abi_version, 1, "version 1");
	REFUSED(size, 8, "rebuild");
	REFUSED(name, NULL, "name");
	REFUSED(name, "", "name");
	REFUSED(name, "Toy", "Toy");
	REFUSED(name, "a:b", "a:b");
	REFUSED(name, "a,b", "a,b");
	REFUSED(summary, NULL, "summary");
	REFUSED(create, NULL, "create");
	REFUSED(destroy, NULL, "destroy");
	REFUSED(alloc, NULL, "alloc");
	REFUSED(free, NULL, "free");
	REFUSED(capabilities, ALLOCATOR_ALLOC_AT, "alloc_at");
	REFUSED(capabilities, ALLOCATOR_BULK, "alloc_bulk");
	REFUSED(capabilities, ALLOCATOR_PERSISTENT, "recover");
	REFUSED(capabilities, 1U << 31, "0x80000000");
	REFUSED(isolate, toy_isolate, "unisolate");
	REFUSED(take_huge, toy_huge, "give_huge");
	REFUSED(give_huge, toy_huge, "take_huge");
	REFUSED(later[3], toy_later, "rebuild");
	REFUSED(capabilities, ALLOCATOR_LAYER, "inner"); /* nor is its "depth" one */
}

static void a_foreign_table_is_not_read_beyond_its_magic(void **state)
{
	/* only the magic is there: reading on would be seen by the address sanitizer */
	uint32_t magic = 1;

	(void)state;
	assert_int_equal(allocator_check_ops((const void *)&magic, "x", NULL), -EINVAL);
}

/* ---- specifications ---- */

static void a_name_alone_means_defaults(void **state)
{
	struct allocator_spec *spec;

	(void)state;
	for (size_t i = 0; allocator_builtins[i]; i++) {
		const char *name = allocator_builtins[i]->name;

		assert_int_equal(allocator_spec_parse(name, &spec, NULL), 0);
		if (!(allocator_builtins[i]->capabilities & ALLOCATOR_LAYER))
			assert_ptr_equal(spec->ops, allocator_builtins[i]);
		assert_string_equal(spec->ops->name, name);
		assert_non_null(spec->options);
		assert_string_equal(spec->text, name);
		allocator_spec_destroy(spec);
	}
	allocator_spec_destroy(NULL);
}

static void options_reach_the_set(void **state)
{
	struct allocator_spec *spec;
	size_t with_options = 0;

	(void)state;
	/* whatever the first option of a back end is, its own default is a value it takes */
	for (size_t i = 0; allocator_builtins[i]; i++) {
		const struct option *o = allocator_builtins[i]->options;
		char text[256];

		if (!o || !o->name || !o->fallback)
			continue;
		with_options++;
		snprintf(text, sizeof(text), "%s:%s=%s", allocator_builtins[i]->name, o->name,
			 o->fallback);
		assert_int_equal(allocator_spec_parse(text, &spec, NULL), 0);
		assert_true(option_given(spec->options, o->name));
		assert_string_equal(spec->text, text);
		allocator_spec_destroy(spec);
	}
	assert_true(with_options > 0);
}

static void assert_refused(const char *text, int code, const char *expected)
{
	struct allocator_spec *spec = (void *)1;
	struct error err = {0};

	assert_int_equal(allocator_spec_parse(text, &spec, &err), -code);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, expected))
		fail_msg("'%s' not in '%s'", expected, err.text);
}

static void unknown_names_get_a_suggestion(void **state)
{
	(void)state;
	assert_refused("firstfti", ENOENT, "did you mean 'firstfit'");
	assert_refused("lfree", ENOENT, "did you mean 'llfree'");
	assert_refused("budy:x=1", ENOENT, "did you mean 'buddy'");
	assert_refused("quantum", ENOENT, "recorded, buddy, llfree, percpu, ");
	assert_refused("quantum", ENOENT, "firstfit, nextfit, null");
	assert_refused("", ENOENT, "there are recorded");
	assert_refused(":a=b", ENOENT, "there are recorded");
	assert_refused("./libmine.so:k=v", ENOENT, "./libmine.so");
}

static void bad_options_name_their_back_end(void **state)
{
	(void)state;
	assert_refused("firstfit:speed=9", ENOENT, "firstfit: ");
	assert_refused("firstfit:speed=9", ENOENT, "speed");
	assert_refused("llfree:speed=9", ENOENT, "llfree: ");
	assert_int_equal(
		allocator_spec_parse("firstfit:speed=9", &(struct allocator_spec *){NULL}, NULL),
		-ENOENT);
}

/* ---- layers ---- */

static const struct allocator_ops *builtin(const char *name)
{
	for (size_t i = 0; allocator_builtins[i]; i++) {
		if (strcmp(allocator_builtins[i]->name, name) == 0)
			return allocator_builtins[i];
	}
	fail_msg("no back end %s", name);
	return NULL;
}

static struct allocator_spec *parsed(const char *text)
{
	struct allocator_spec *spec;
	struct error err;

	if (allocator_spec_parse(text, &spec, &err))
		fail_msg("%s: %s", text, err.text);
	return spec;
}

static void what_is_below_a_layer_is_checked_at_once(void **state)
{
	(void)state;
	assert_refused("percpu:inner=llfre", ENOENT,
		       "percpu: inner: unknown back end 'llfre'; did you mean 'llfree'");
	assert_refused("percpu:inner=", ENOENT, "percpu: inner: ");
	assert_refused("percpu:inner=(llfree:tree=7)", ERANGE, "percpu: inner: llfree: ");
	assert_refused("percpu:inner=(llfree:speed=7),batch=1", ENOENT, "'speed'");
	assert_refused("percpu:iner=llfree", ENOENT, "did you mean 'inner'");
	assert_refused("percpu:inner=recorded", EINVAL, "percpu: inner: recorded does not choose");
	assert_refused("percpu:inner=null", EINVAL, "name another back end");
	assert_refused("percpu:inner=(percpu:inner=null)", EINVAL,
		       "percpu: inner: percpu: inner: ");
}

static void layers_stand_on_layers_but_not_for_ever(void **state)
{
	char text[256] = "llfree", deeper[300];
	struct allocator_spec *spec;

	(void)state;
	for (unsigned int i = 1; i < ALLOCATOR_LAYERS_MAX; i++) {
		snprintf(deeper, sizeof(deeper), "percpu:inner=(%s)", text);
		strcpy(text, deeper);
		allocator_spec_destroy(parsed(text));
	}
	spec = parsed(text);
	assert_string_equal(spec->inner->inner->inner->ops->name, "llfree");
	allocator_spec_destroy(spec);
	snprintf(deeper, sizeof(deeper), "percpu:inner=(%s)", text);
	assert_refused(deeper, EINVAL, "more than 4 back ends");
}

/* Else runs with different inner options would be taken for the same. */
static void a_layers_options_tell_all_of_the_inner_ones(void **state)
{
	static const char *const same[] = {"percpu", "percpu:inner=llfree",
					   "percpu:inner=(llfree:tree=8),batch=0"};
	struct allocator_spec *spec = parsed("percpu:inner=(llfree:tree=16),batch=63");
	char *other = option_canonical(spec->options), *first = NULL;

	(void)state;
	assert_non_null(strstr(other, "inner=(llfree:tree=16,policy=movable"));
	assert_non_null(strstr(other, "),batch=63,"));
	assert_string_equal(spec->text, "percpu:inner=(llfree:tree=16),batch=63");
	assert_string_equal(spec->inner->text, "llfree:tree=16");
	allocator_spec_destroy(spec);
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		char *text, again[512];

		spec = parsed(same[i]);
		text = option_canonical(spec->options);
		assert_string_not_equal(text, other);
		if (first)
			assert_string_equal(text, first);
		allocator_spec_destroy(spec);
		/* the canonical form is a specification of the same */
		snprintf(again, sizeof(again), "percpu:%s", text);
		spec = parsed(again);
		free(first);
		first = option_canonical(spec->options);
		assert_string_equal(text, first);
		free(text);
		allocator_spec_destroy(spec);
	}
	spec = parsed("percpu:inner=(percpu:inner=(llfree:tree=16),batch=5)");
	free(other);
	other = option_canonical(spec->options);
	assert_non_null(strstr(other, "inner=(percpu:inner=(llfree:tree=16,"));
	free(other);
	free(first);
	allocator_spec_destroy(spec);
}

static void a_layer_can_do_what_both_can(void **state)
{
	static const char *const inner[] = {"llfree", "firstfit", "nextfit", "percpu"};
	const struct allocator_ops *layer = builtin("percpu");
	const uint32_t all = layer->capabilities;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
		const struct allocator_ops *below = builtin(inner[i]);
		struct allocator_spec *spec;
		char text[64];

		snprintf(text, sizeof(text), "percpu:inner=%s", inner[i]);
		spec = parsed(text);
		assert_int_equal(spec->ops->capabilities,
				 (all & below->capabilities) | ALLOCATOR_LAYER);
		assert_ptr_equal(spec->ops->options, layer->options);
		if (allocator_check_ops(spec->ops, text, &err))
			fail_msg("%s", err.text);
		assert_true(spec->ops->drain && spec->ops->tick && spec->ops->check);
		assert_true(!spec->ops->adopt == !below->adopt);
		assert_true(!spec->ops->isolate == !below->isolate);
		allocator_spec_destroy(spec);
	}
	/* the table itself is nobody's to change */
	assert_int_equal(layer->capabilities, all);
}

static void counters_are_described(void **state)
{
	(void)state;
	for (size_t i = 0; allocator_builtins[i]; i++) {
		const struct allocator_ops *ops = allocator_builtins[i];

		for (const struct metric_info *row = ops->counters; row && row->name; row++) {
			assert_non_null(row->unit);
			assert_true(row->help && strlen(row->help) > 10);
			assert_int_equal(row->kind, METRIC_EXACT);
			/* once */
			assert_ptr_equal(allocator_counter(ops, row->name), row);
		}
	}
	assert_null(allocator_counter(builtin("buddy"), "no_such_counter"));
	assert_null(allocator_counter(builtin("null"), "zone_locked"));
}

static size_t count_counters(const struct allocator_ops *ops)
{
	size_t n = 0;

	while (ops->counters[n].name)
		n++;
	return n;
}

static void a_layers_counters_are_those_of_both_each_once(void **state)
{
	const struct allocator_ops *layer = builtin("percpu"), *inner = builtin("buddy");
	struct allocator_spec *spec = parsed("percpu:inner=buddy");
	size_t n = 0, wanted = count_counters(layer);

	(void)state;
	for (const struct metric_info *row = inner->counters; row->name; row++)
		wanted += !allocator_counter(layer, row->name);
	for (const struct metric_info *row = spec->ops->counters; row->name; row++) {
		assert_ptr_equal(allocator_counter(spec->ops, row->name), row);
		n++;
	}
	assert_int_equal(n, wanted);
	assert_true(wanted > count_counters(layer) && wanted > count_counters(inner));
	assert_non_null(allocator_counter(spec->ops, "pcp_contended"));
	assert_non_null(allocator_counter(spec->ops, "zone_locked"));
	allocator_spec_destroy(spec);
}

static void a_layer_must_follow_what_moves_below_it(void **state)
{
	struct allocator_ops layer = toy(), inner = toy();
	struct error err;

	(void)state;
	layer.name = "layer";
	layer.capabilities = ALLOCATOR_LAYER;
	assert_int_equal(allocator_check_layer(&layer, &inner, NULL), 0);
	inner.capabilities = ALLOCATOR_MOVES;
	assert_int_equal(allocator_check_layer(&layer, &inner, &err), -EINVAL);
	assert_string_equal(
		err.text,
		"inner: toy moves blocks, which layer cannot follow; name another back end");
	layer.capabilities |= ALLOCATOR_MOVES;
	assert_int_equal(allocator_check_layer(&layer, &inner, NULL), 0);
	/* and none stands on what chooses nothing */
	assert_int_equal(allocator_check_layer(&layer, builtin("null"), NULL), -EINVAL);
	assert_int_equal(allocator_check_layer(&layer, builtin("recorded"), NULL), -EINVAL);
}

/* ---- instances ---- */

struct rig {
	struct allocator_ops ops;
	struct allocator_spec spec;
	struct machine *m;
	struct allocator_instance *instance;
};

static int rig_setup(void **state)
{
	static struct rig rig;

	memset(&rig, 0, sizeof(rig));
	rig.ops = toy();
	rig.spec = (struct allocator_spec){.ops = &rig.ops};
	*state = &rig;
	return machine_from_memory(UINT64_C(1) << 30, 1, &rig.m, NULL);
}

static int rig_teardown(void **state)
{
	struct rig *rig = *state;

	allocator_instance_destroy(rig->instance);
	machine_destroy(rig->m);
	return 0;
}

static void metadata_is_zeroed_aligned_and_counted(void **state)
{
	static const struct {
		size_t bytes, align;
	} pieces[] = {{1, 1},	     {100, 64},	 {8, 4096},	     {5000, 8},	   {60000, 2},
		      {70000, 4096}, {3, 65536}, {1 << 20, 1 << 21}, {8000, 4096}, {8000, 4096}};
	struct rig *rig = *state;
	const struct alloc_env *env;
	unsigned char *p[64];
	uint64_t bytes = sizeof(struct allocator);
	size_t n = sizeof(pieces) / sizeof(pieces[0]);

	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	assert_int_equal(rig->instance->metadata_bytes, bytes);
	env = rig->instance->a->env;
	for (size_t i = 0; i < 3 * n; i++) {
		size_t size = pieces[i % n].bytes;

		p[i] = env->meta(env, size, pieces[i % n].align, META_PERSISTENT);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % pieces[i % n].align, 0);
		for (size_t k = 0; k < size; k++)
			assert_true(p[i][k] == 0);
		memset(p[i], (int)i + 1, size);
		bytes += size;
		assert_int_equal(rig->instance->metadata_bytes, bytes);
	}
	for (size_t i = 0; i < 3 * n; i++) { /* no two overlap */
		assert_int_equal(p[i][0], i + 1);
		assert_int_equal(p[i][pieces[i % n].bytes - 1], i + 1);
	}
}

static void impossible_metadata_is_null_and_not_counted(void **state)
{
	struct rig *rig = *state;
	const struct alloc_env *env;
	uint64_t before;

	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	env = rig->instance->a->env;
	before = rig->instance->metadata_bytes;
	assert_null(env->meta(env, SIZE_MAX, 64, META_VOLATILE));
	assert_null(env->meta(env, SIZE_MAX / 2, 64, META_VOLATILE));
	assert_null(env->meta(env, 8, 3, META_VOLATILE));
	assert_null(env->meta(env, 8, 0, META_VOLATILE));
	assert_int_equal(rig->instance->metadata_bytes, before);
}

static void untouched_metadata_costs_nothing(void **state)
{
	struct rig *rig = *state;
	const struct alloc_env *env;
	unsigned char *p;

	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	env = rig->instance->a->env;
	/* more than most machines have */
	p = env->meta(env, (size_t)1 << 42, 64, META_VOLATILE);
	if (!p)
		skip_because("this host allows no overcommitment");
	p[0] = p[(UINT64_C(1) << 42) - 1] = 1;
}

static int nesting_create(const struct alloc_env *env, struct allocator **a)
{
	const struct allocator_ops *ops;
	struct allocator *inner;
	int rc = env->nest(env, NULL, NULL, &ops, &inner);

	if (rc)
		return rc;
	assert_string_equal(ops->name, "firstfit");
	assert_non_null(inner);
	return toy_create(env, a);
}

static int failing_late_create(const struct alloc_env *env, struct allocator **a)
{
	const struct allocator_ops *ops;
	int rc = env->nest(env, NULL, NULL, &ops, a);

	return rc ? rc : error_set(env->error, ERANGE, "too late");
}

static void huge_state_is_provided_or_passed_on(void **state)
{
	struct rig *rig = *state;
	huge_state_byte mine[512] = {0};

	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	for (size_t i = 0; i < 512; i++)
		assert_int_equal(rig->instance->env.huge_state[i], 0);
	/* its memory is not the back end's */
	assert_int_equal(rig->instance->metadata_bytes, sizeof(struct allocator));
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m,
						   &(struct allocator_place){.huge_state = mine},
						   &rig->instance, NULL),
			 0);
	assert_ptr_equal(rig->instance->env.huge_state, mine);
	assert_null(rig->instance->env.huge_state_writable);
	assert_ptr_equal(rig->instance->env.machine, rig->m);
	assert_int_equal(rig->instance->env.size, sizeof(struct alloc_env));
	assert_null(rig->instance->env.error);
}

static void only_layers_may_write_huge_state(void **state)
{
	struct rig *rig = *state;
	huge_state_byte mine[512] = {0};
	struct allocator_spec *inner = parsed("firstfit");

	rig->ops.capabilities = ALLOCATOR_LAYER;
	rig->ops.create = nesting_create;
	rig->spec.inner = inner;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m,
						   &(struct allocator_place){.huge_state = mine},
						   &rig->instance, NULL),
			 0);
	assert_ptr_equal(rig->instance->env.huge_state_writable, mine);
	assert_null(rig->instance->nested->env.huge_state_writable);
	assert_ptr_equal(rig->instance->nested->env.huge_state, mine);
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	allocator_spec_destroy(inner);
}

/* ---- option values ---- */

static const char *const colours[] = {"red", "green", NULL};

static const struct option rich_options[] = {
	{.name = "flag", .type = OPTION_BOOL, .fallback = "off", .help = "x"},
	{.name = "count", .type = OPTION_UINT, .fallback = "7", .help = "x"},
	{.name = "bytes", .type = OPTION_SIZE, .fallback = "4K", .help = "x"},
	{.name = "share", .type = OPTION_REAL, .fallback = "0.25", .help = "x"},
	{.name = "text", .type = OPTION_STRING, .help = "x"},
	{.name = "colour",
	 .type = OPTION_CHOICE,
	 .choices = colours,
	 .fallback = "green",
	 .flags = OPTION_FILE,
	 .help = "x"},
	{.name = NULL},
};

static void rich_spec(struct rig *rig, const char *values)
{
	rig->ops.options = rich_options;
	assert_int_equal(option_set_create(rich_options, &rig->spec.options, NULL), 0);
	assert_int_equal(option_set_parse_spec(rig->spec.options, values, NULL), 0);
}

static int curious_create(const struct alloc_env *env, struct allocator **a)
{
	size_t bytes;

	assert_true(env->option_bool(env, "flag"));
	assert_int_equal(env->option_uint(env, "count"), 8);
	assert_int_equal(env->option_uint(env, "bytes"), 4096);
	assert_true(env->option_real(env, "share") == 0.25);
	assert_string_equal(env->option_string(env, "text"), "a,b");
	assert_int_equal(env->option_choice(env, "colour"), 1);
	assert_string_equal(env->option_string(env, "colour"), "green");
	assert_null(env->option_file(env, "colour", &bytes));
	assert_true(env->option_given(env, "count"));
	assert_false(env->option_given(env, "bytes"));
	return toy_create(env, a);
}

static void option_values_reach_a_back_end_as_functions(void **state)
{
	struct rig *rig = *state;

	rich_spec(rig, "flag,count=8,text=(a,b)");
	rig->ops.create = curious_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	option_set_destroy(rig->spec.options);
}

static int reading_create(const struct alloc_env *env, struct allocator **a)
{
	size_t bytes;
	const char *text = env->option_file(env, "colour", &bytes);

	assert_non_null(text);
	assert_int_equal(bytes, 5);
	assert_string_equal(text, "blue\n");
	assert_int_equal(env->option_choice(env, "colour"), 0);
	return toy_create(env, a);
}

static void a_files_content_reaches_a_back_end(void **state)
{
	struct rig *rig = *state;
	char path[] = "/tmp/colour.XXXXXX", values[64];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "blue\n", 5), 5);
	close(fd);
	snprintf(values, sizeof(values), "colour=%s", path);
	rich_spec(rig, values);
	rig->ops.create = reading_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	option_set_destroy(rig->spec.options);
	unlink(path);
}

static int misspelling_create(const struct alloc_env *env, struct allocator **a)
{
	assert_int_equal(env->option_uint(env, "cuont"), 0);
	return toy_create(env, a);
}

static int mistyping_create(const struct alloc_env *env, struct allocator **a)
{
	assert_null(env->option_string(env, "count"));
	return toy_create(env, a);
}

static void asking_for_what_the_table_lacks_fails_the_create(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rich_spec(rig, "");
	rig->ops.create = misspelling_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -EINVAL);
	assert_string_equal(err.text, "toy: it asks for an option 'cuont' that its table does not "
				      "have; mend the back end");
	rig->ops.create = mistyping_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "'count' that its table has with another type"));
	assert_null(rig->instance);
	option_set_destroy(rig->spec.options);
}

static void a_failed_create_says_who_and_why(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rig->ops.create = failing_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -ERANGE);
	assert_string_equal(err.text, "toy: no such depth");
	rig->ops.create = silent_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -ENOMEM);
	assert_non_null(strstr(err.text, "toy: "));
	rig->ops.create = empty_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -EINVAL);
	assert_null(rig->instance);
	allocator_instance_destroy(NULL);
}

/* ---- instances inside instances ---- */

static unsigned int destroyed; /* how often, in decimal digits: 1 the layer, 2 the inner one */

static void a_nested_instance_is_part_of_its_outer_one(void **state)
{
	struct rig *rig = *state;
	struct allocator_spec *below = parsed("firstfit");
	struct allocator_instance *instance;
	const struct allocator_ops *ops;
	struct allocator *a;
	uint64_t bytes;

	assert_int_equal(allocator_instance_create(below, rig->m, NULL, &instance, NULL), 0);
	bytes = instance->metadata_bytes;
	allocator_instance_destroy(instance);
	rig->ops.create = nesting_create;
	rig->spec.inner = below;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	assert_int_equal(rig->instance->metadata_bytes, bytes + sizeof(struct allocator));
	assert_ptr_equal(rig->instance->nested->env.machine, rig->m);
	assert_ptr_equal(rig->instance->nested->env.huge_state, rig->instance->env.huge_state);
	assert_ptr_equal(rig->instance->nested->env.kernel, rig->instance->env.kernel);
	/* not once it is made */
	assert_int_equal(rig->instance->env.nest(&rig->instance->env, NULL, NULL, &ops, &a),
			 -EINVAL);
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	allocator_spec_destroy(below);
}

static void a_failed_nest_says_who_and_why(void **state)
{
	struct rig *rig = *state;
	struct allocator_ops inner_ops = toy();
	struct allocator_spec inner = {.ops = &inner_ops};
	struct error err;

	rig->ops.create = failing_late_create;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -EINVAL);
	assert_string_equal(err.text, "toy: it nests and is no layer; mend the back end");
	inner_ops.name = "inner";
	inner_ops.create = failing_create;
	rig->spec.inner = &inner;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -ERANGE);
	assert_string_equal(err.text, "toy: inner: no such depth");
	inner_ops.create = toy_create; /* this one goes, too: leaks would be seen */
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -ERANGE);
	assert_string_equal(err.text, "toy: too late");
	assert_null(rig->instance);
}

static void destroy_outer(struct allocator *a)
{
	(void)a;
	destroyed = 10 * destroyed + 1;
}

static void destroy_inner(struct allocator *a)
{
	(void)a;
	destroyed = 10 * destroyed + 2;
}

static void the_outer_instance_is_destroyed_first(void **state)
{
	struct rig *rig = *state;
	struct allocator_ops inner_ops = toy();
	struct allocator_spec inner = {.ops = &inner_ops};

	inner_ops.name = "firstfit"; /* as nesting_create() has it */
	inner_ops.destroy = destroy_inner;
	rig->spec.inner = &inner;
	rig->ops.create = nesting_create;
	rig->ops.destroy = destroy_outer;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	destroyed = 0;
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	assert_int_equal(destroyed, 12);
}

/* ---- moves ---- */

struct move {
	pfn_t from, to;
	unsigned int order, n;
};

static void note_move(void *arg, pfn_t from, pfn_t to, unsigned int order)
{
	struct move *move = arg;

	*move = (struct move){from, to, order, move->n + 1};
}

/* A layer that names every block by its number plus a thousand. */
static void note_move_of_inner(void *arg, pfn_t from, pfn_t to, unsigned int order)
{
	const struct alloc_env *env = arg;

	env->moved(env, from + 1000, to + 1000, order);
}

static struct alloc_result moving_alloc(struct allocator *a, const struct alloc_request *req)
{
	a->env->moved(a->env, 64, 128, req->order);
	return (struct alloc_result){.pfn = 64};
}

static struct allocator *below; /* what the layers of these tests nested */

static int follow_create(const struct alloc_env *env, struct allocator **a)
{
	const struct allocator_ops *ops;
	int rc = env->nest(env, note_move_of_inner, (void *)(uintptr_t)env, &ops, &below);

	return rc ? rc : toy_create(env, a);
}

static int pass_create(const struct alloc_env *env, struct allocator **a)
{
	const struct allocator_ops *ops;
	int rc = env->nest(env, NULL, NULL, &ops, &below);

	return rc ? rc : toy_create(env, a);
}

static void a_move_reaches_who_follows(void **state)
{
	struct rig *rig = *state;
	struct move move = {.n = 0};
	const struct allocator_place place = {.moved = note_move, .moved_arg = &move};
	struct error err;

	assert_int_equal(
		allocator_instance_create(&rig->spec, rig->m, &place, &rig->instance, NULL), 0);
	assert_null(rig->instance->env.moved); /* it moves nothing */
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	rig->ops.capabilities = ALLOCATOR_MOVES;
	rig->ops.alloc = moving_alloc;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err),
			 -ENOTSUP);
	assert_string_equal(err.text, "toy: it moves blocks, which nobody follows here; use "
				      "another back end");
	assert_int_equal(
		allocator_instance_create(&rig->spec, rig->m, &place, &rig->instance, NULL), 0);
	rig->ops.alloc(rig->instance->a, &(struct alloc_request){.order = 3});
	assert_int_equal(move.n, 1);
	assert_int_equal(move.from, 64);
	assert_int_equal(move.to, 128);
	assert_int_equal(move.order, 3);
}

static void a_move_below_passes_through_the_layer(void **state)
{
	struct rig *rig = *state;
	struct allocator_ops inner_ops = toy();
	struct allocator_spec inner = {.ops = &inner_ops};
	struct move move = {.n = 0};
	const struct allocator_place place = {.moved = note_move, .moved_arg = &move};

	inner_ops.capabilities = ALLOCATOR_MOVES;
	rig->ops.capabilities = ALLOCATOR_MOVES | ALLOCATOR_LAYER;
	rig->spec.inner = &inner;
	rig->ops.create = pass_create;
	assert_int_equal(
		allocator_instance_create(&rig->spec, rig->m, &place, &rig->instance, NULL), 0);
	moving_alloc(below, &(struct alloc_request){.order = 2});
	assert_int_equal(move.n, 1);
	assert_int_equal(move.from, 64);
	assert_int_equal(move.to, 128);
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	/* as the layer has it */
	rig->ops.create = follow_create;
	assert_int_equal(
		allocator_instance_create(&rig->spec, rig->m, &place, &rig->instance, NULL), 0);
	moving_alloc(below, &(struct alloc_request){.order = 1});
	assert_int_equal(move.n, 2);
	assert_int_equal(move.from, 1064);
	assert_int_equal(move.to, 1128);
	assert_int_equal(move.order, 1);
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
}

static void the_seed_of_lists_is_passed_on(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	assert_int_equal(rig->instance->env.list_seed, 0);
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m,
						   &(struct allocator_place){.list_seed = 17},
						   &rig->instance, NULL),
			 0);
	assert_int_equal(rig->instance->env.list_seed, 17);
}

static void the_kernels_release_is_passed_on(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, NULL),
			 0);
	assert_string_equal(rig->instance->env.kernel, "");
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
	assert_int_equal(allocator_instance_create(&rig->spec, rig->m,
						   &(struct allocator_place){.kernel = "6.18.44"},
						   &rig->instance, NULL),
			 0);
	assert_string_equal(rig->instance->env.kernel, "6.18.44");
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_built_in_table_is_sound),
		cmocka_unit_test(a_bad_table_is_refused_with_what_to_do),
		cmocka_unit_test(a_foreign_table_is_not_read_beyond_its_magic),
		cmocka_unit_test(a_name_alone_means_defaults),
		cmocka_unit_test(options_reach_the_set),
		cmocka_unit_test(unknown_names_get_a_suggestion),
		cmocka_unit_test(bad_options_name_their_back_end),
		cmocka_unit_test(what_is_below_a_layer_is_checked_at_once),
		cmocka_unit_test(layers_stand_on_layers_but_not_for_ever),
		cmocka_unit_test(a_layers_options_tell_all_of_the_inner_ones),
		cmocka_unit_test(a_layer_can_do_what_both_can),
		cmocka_unit_test(counters_are_described),
		cmocka_unit_test(a_layers_counters_are_those_of_both_each_once),
		cmocka_unit_test(a_layer_must_follow_what_moves_below_it),
		RIG_TEST(metadata_is_zeroed_aligned_and_counted),
		RIG_TEST(impossible_metadata_is_null_and_not_counted),
		RIG_TEST(untouched_metadata_costs_nothing),
		RIG_TEST(huge_state_is_provided_or_passed_on),
		RIG_TEST(only_layers_may_write_huge_state),
		RIG_TEST(option_values_reach_a_back_end_as_functions),
		RIG_TEST(a_files_content_reaches_a_back_end),
		RIG_TEST(asking_for_what_the_table_lacks_fails_the_create),
		RIG_TEST(a_failed_create_says_who_and_why),
		RIG_TEST(a_nested_instance_is_part_of_its_outer_one),
		RIG_TEST(a_failed_nest_says_who_and_why),
		RIG_TEST(the_outer_instance_is_destroyed_first),
		RIG_TEST(a_move_reaches_who_follows),
		RIG_TEST(a_move_below_passes_through_the_layer),
		RIG_TEST(the_seed_of_lists_is_passed_on),
		RIG_TEST(the_kernels_release_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
