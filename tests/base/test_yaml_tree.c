/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/yaml_tree.h"

static struct yaml_document *parsed(const char *text)
{
	struct yaml_document *doc;
	struct error err;

	if (yaml_parse(text, strlen(text), "x.yaml", &doc, &err))
		fail_msg("%s", err.text);
	return doc;
}

static void everything_knows_its_place(void **state)
{
	struct yaml_document *doc = parsed("# a comment\n"
					   "name: first\n"
					   "list:\n"
					   "  - 1\n"
					   "  - {deep: [a, b], empty: }\n");
	const struct yaml *name = doc->root->first, *list = name->next, *map;

	(void)state;
	assert_int_equal(doc->root->kind, YAML_MAP);
	assert_string_equal(name->key, "name");
	assert_string_equal(name->text, "first");
	assert_int_equal(name->line, 2);
	assert_int_equal(name->column, 1);
	assert_int_equal(list->kind, YAML_LIST);
	assert_int_equal(list->line, 3);
	assert_null(list->next);
	assert_string_equal(list->first->text, "1");
	assert_null(list->first->key);
	assert_int_equal(list->first->line, 4);
	assert_int_equal(list->first->column, 5);
	map = list->first->next;
	assert_int_equal(map->kind, YAML_MAP);
	assert_string_equal(map->first->key, "deep");
	assert_int_equal(map->first->line, 5);
	assert_int_equal(map->first->column, 6);
	assert_string_equal(map->first->first->next->text, "b");
	assert_string_equal(map->first->next->text, "");
	yaml_destroy(doc);
	yaml_destroy(NULL);
}

static void what_is_not_taken_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"", "x.yaml:1:1: there is nothing in it"},
		{"# only this\n", "x.yaml:1:1: there is nothing in it"},
		{"a: [1, 2\nb: 3\n", "x.yaml:2:"},
		{"a: b: c\n", "x.yaml:1:5: this is not YAML"},
		{"a: 1\n\tb: 2\n", "x.yaml:2:1: this is not YAML"},
		{"a: &x 1\nb: *x\n", "x.yaml:2:4: an alias; write out"},
		{"a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document"},
		{"? [a, b]\n: 1\n", "x.yaml:1:3: a key that is no text"},
		{"a: \"x\\0y\"\n", "x.yaml:1:4: a character 0"},
		{"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n", "x.yaml:1:17: nested too deeply"},
		{"a: \xff\n", "this is not YAML"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct yaml_document *doc;
		struct error err;

		assert_int_equal(
			yaml_parse(cases[i].text, strlen(cases[i].text), "x.yaml", &doc, &err),
			-EINVAL);
		if (!strstr(err.text, cases[i].expected))
			fail_msg("'%s' not in '%s'", cases[i].expected, err.text);
	}
}

static void what_is_too_large_or_not_there_is_refused(void **state)
{
	char *large = malloc(YAML_BYTES_MAX + 1);
	struct yaml_document *doc;
	struct error err;

	(void)state;
	assert_non_null(large);
	memset(large, 'a', YAML_BYTES_MAX + 1);
	assert_int_equal(yaml_parse(large, YAML_BYTES_MAX + 1, "x.yaml", &doc, &err), -EFBIG);
	free(large);
	assert_int_equal(yaml_load("/nonexistent.yaml", &doc, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent.yaml"));
	assert_int_equal(yaml_load("/", &doc, &err), -EISDIR);
}

static const struct yaml_key keys[] = {
	{"name", YAML_TEXT, true},
	{"sizes", YAML_LIST, false},
	{"more", YAML_MAP, false},
	{NULL},
};

static void a_mapping_is_checked_against_its_keys(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"sizes: [1]\n", "x.yaml:1:1: the key 'name' is missing here"},
		{"name: a\nsizse: [1]\n", "x.yaml:2:1: unknown key 'sizse'; did you mean 'sizes'?"},
		{"name: a\n  \nquantum: 1\n",
		 "x.yaml:3:1: unknown key 'quantum'; there are name, sizes, more"},
		{"name: a\nname: b\n", "x.yaml:2:1: a second 'name'"},
		{"name: [a]\n", "x.yaml:1:1: name: a list, '[a, b]' where a single value belongs"},
		{"name: a\nsizes: {}\n",
		 "x.yaml:2:1: sizes: a mapping, 'key: value' where a list, '[a, b]' belongs"},
		{"- a\n", "x.yaml:1:1: a list, '[a, b]' where a mapping, 'key: value' belongs"},
	};
	const struct yaml *values[3];
	struct yaml_document *doc = parsed("sizes: [4K]\nname: a\n");

	(void)state;
	assert_int_equal(yaml_map(doc, doc->root, keys, values, NULL), 0);
	assert_string_equal(values[0]->text, "a");
	assert_string_equal(values[1]->first->text, "4K");
	assert_null(values[2]);
	yaml_destroy(doc);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err;

		doc = parsed(cases[i].text);
		assert_int_equal(yaml_map(doc, doc->root, keys, values, &err), -EINVAL);
		if (strncmp(err.text, cases[i].expected, strlen(cases[i].expected)) != 0)
			fail_msg("'%s' instead of '%s'", err.text, cases[i].expected);
		yaml_destroy(doc);
	}
}

static void texts_get_their_meaning_or_the_reason_why_not(void **state)
{
	static const char *const names[] = {"Movable", "Normal", NULL};
	struct yaml_document *doc = parsed("[17, 16M, Normal, 018, -1, 1x, 3Q, Nomral, xyz, [1], "
					   "99999999999999999999]");
	const struct yaml *node[11], *next = doc->root->first;
	struct error err;
	unsigned int index;
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < 11; i++, next = next->next)
		node[i] = next;
	assert_int_equal(yaml_uint(doc, node[0], 1, 17, &v, NULL), 0);
	assert_int_equal(v, 17);
	assert_int_equal(yaml_uint(doc, node[0], 1, 16, &v, &err), -EINVAL);
	assert_string_equal(err.text, "x.yaml:1:2: entry: '17' is not a whole number from 1 to 16");
	assert_int_equal(yaml_uint(doc, node[3], 0, 18, &v, NULL), 0); /* decimal all the same */
	assert_int_equal(v, 18);
	assert_int_equal(yaml_uint(doc, node[4], 0, 9, &v, NULL), -EINVAL);
	assert_int_equal(yaml_uint(doc, node[5], 0, 9, &v, NULL), -EINVAL);
	assert_int_equal(yaml_uint(doc, node[9], 0, 9, &v, NULL), -EINVAL);
	assert_int_equal(yaml_uint(doc, node[10], 0, UINT64_MAX, &v, NULL), -EINVAL);
	assert_int_equal(yaml_size(doc, node[1], &v, NULL), 0);
	assert_int_equal(v, 16 << 20);
	assert_int_equal(yaml_size(doc, node[6], &v, &err), -EINVAL);
	assert_non_null(strstr(err.text, "x.yaml:1:32: entry: '3Q' is not a size"));
	assert_int_equal(yaml_choice(doc, node[2], names, &index, NULL), 0);
	assert_int_equal(index, 1);
	assert_int_equal(yaml_choice(doc, node[7], names, &index, &err), -EINVAL);
	assert_non_null(strstr(err.text, "no 'Nomral'; did you mean 'Normal'?"));
	assert_int_equal(yaml_choice(doc, node[8], names, &index, &err), -EINVAL);
	assert_non_null(strstr(err.text, "no 'xyz'; choose one of Movable, Normal"));
	yaml_destroy(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_knows_its_place),
		cmocka_unit_test(what_is_not_taken_is_refused_with_its_place),
		cmocka_unit_test(what_is_too_large_or_not_there_is_refused),
		cmocka_unit_test(a_mapping_is_checked_against_its_keys),
		cmocka_unit_test(texts_get_their_meaning_or_the_reason_why_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
