/* SPDX-License-Identifier: MIT */
/*
 * What is loaded needs nothing of ours: a shared object that was linked against libc alone plays its
 * part in an environment of the registry's. QUIRE_PLUGINS lists the files, by language.
 */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/registry.h"
#include "tests/skip.h"

struct rig {
	void *library;
	struct allocator_spec spec;
	struct machine *m;
	struct allocator_instance *instance;
};

static void open_rig(struct rig *rig, const char *variable, const char *options)
{
	const struct zone zone = {.start = 512, .end = 1536, .present = 1024, .managed = 1014};
	const char *path = getenv(variable);
	allocator_entry *entry;
	struct error err;
	void *symbol;

	if (!path)
		skip_because("no compiler of that language");
	*rig = (struct rig){0};
	rig->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!rig->library)
		fail_msg("%s", dlerror());
	symbol = dlsym(rig->library, ALLOCATOR_ENTRY);
	assert_non_null(symbol);
	memcpy(&entry, &symbol, sizeof(entry));
	rig->spec.ops = entry();
	if (allocator_check_ops(rig->spec.ops, path, &err))
		fail_msg("%s", err.text);
	assert_int_equal(option_set_create(rig->spec.ops->options, &rig->spec.options, NULL), 0);
	if (option_set_parse_spec(rig->spec.options, options, &err))
		fail_msg("%s", err.text);
	assert_int_equal(machine_create(1, 1, &rig->m, NULL), 0);
	assert_int_equal(machine_add_zone(rig->m, &zone, NULL), 0);
	assert_int_equal(
		machine_add_absent(rig->m, (struct pfn_range){514, 524}, ABSENT_HOLE, NULL), 0);
	if (allocator_instance_create(&rig->spec, rig->m, NULL, &rig->instance, &err))
		fail_msg("%s", err.text);
}

static void close_rig(struct rig *rig)
{
	allocator_instance_destroy(rig->instance);
	option_set_destroy(rig->spec.options);
	machine_destroy(rig->m);
	dlclose(rig->library);
}

static pfn_t take(struct rig *rig)
{
	const struct alloc_request req = {.hint_pfn = PFN_NONE};

	return rig->spec.ops->alloc(rig->instance->a, &req).pfn;
}

static void one_in_c_runs(void **state)
{
	const struct alloc_request req = {.hint_pfn = PFN_NONE};
	struct rig rig;
	struct error err;

	(void)state;
	open_rig(&rig, "QUIRE_PLUGIN_C", "keep=2");
	assert_true(rig.instance->metadata_bytes > 1024);
	assert_int_equal(take(&rig), 512);
	assert_int_equal(take(&rig), 513);
	assert_int_equal(take(&rig), 524); /* behind the hole */
	assert_int_equal(rig.spec.ops->free(rig.instance->a, 513, &req), 0);
	assert_int_equal(rig.spec.ops->free(rig.instance->a, 513, &req), -EINVAL);
	assert_int_equal(take(&rig), 513);
	for (unsigned int i = 3; i < 1012; i++)
		assert_true(take(&rig) != PFN_NONE);
	assert_true(take(&rig) == PFN_NONE); /* two are kept */
	if (rig.spec.ops->check(rig.instance->a, &err))
		fail_msg("%s", err.text);
	close_rig(&rig);
	open_rig(&rig, "QUIRE_PLUGIN_C", "side=high");
	assert_int_equal(take(&rig), 1535);
	close_rig(&rig);
}

static void one_in_cpp_runs(void **state)
{
	struct rig rig;

	(void)state;
	open_rig(&rig, "QUIRE_PLUGIN_CPP", "skip=1");
	assert_int_equal(take(&rig), 513);
	assert_int_equal(take(&rig), 524);
	for (unsigned int i = 2; i < 1013; i++)
		assert_true(take(&rig) != PFN_NONE);
	assert_true(take(&rig) == PFN_NONE);
	close_rig(&rig);
}

/* allocator_fail() reaches the user as error_set() would. */
static void why_it_fails_is_told(void **state)
{
	struct machine *large;
	struct rig rig;
	struct error err;

	(void)state;
	open_rig(&rig, "QUIRE_PLUGIN_C", "");
	allocator_instance_destroy(rig.instance);
	rig.instance = NULL;
	assert_int_equal(machine_from_memory(UINT64_C(32) << 40, 1, &large, NULL), 0);
	assert_int_equal(allocator_instance_create(&rig.spec, large, NULL, &rig.instance, &err),
			 -EFBIG);
	assert_string_equal(err.text, "plugin: 8589934592 frames are too many");
	machine_destroy(large);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_in_c_runs),
		cmocka_unit_test(one_in_cpp_runs),
		cmocka_unit_test(why_it_fails_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
