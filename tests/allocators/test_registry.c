/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/registry.h"

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
	REFUSED(abi_version, 2, "version 2");
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
		assert_ptr_equal(spec->ops, allocator_builtins[i]);
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
	assert_refused("quantum", ENOENT, "recorded, buddy, llfree, firstfit, nextfit, null");
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
		skip(); /* a host that forbids overcommitment */
	p[0] = p[(UINT64_C(1) << 42) - 1] = 1;
}

static void huge_state_is_provided_or_passed_on(void **state)
{
	struct rig *rig = *state;
	_Atomic uint8_t mine[512] = {0};

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
	assert_ptr_equal(rig->instance->env.machine, rig->m);
	assert_null(rig->instance->env.error);
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
		RIG_TEST(metadata_is_zeroed_aligned_and_counted),
		RIG_TEST(impossible_metadata_is_null_and_not_counted),
		RIG_TEST(untouched_metadata_costs_nothing),
		RIG_TEST(huge_state_is_provided_or_passed_on),
		RIG_TEST(a_failed_create_says_who_and_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
