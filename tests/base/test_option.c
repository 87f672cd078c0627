/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/option.h"
#include "tests/base/seed.h"

static const char *const modes[] = {"sequential", "parallel", "timed", NULL};

static const struct option table[] = {
	{.name = "samples",
	 .letter = 'n',
	 .type = OPTION_UINT,
	 .min = 1,
	 .max = 1e6,
	 .fallback = "100",
	 .unit = "samples",
	 .help = "how many samples to take"},
	{.name = "seed", .type = OPTION_UINT, .fallback = "1", .help = "start of all randomness"},
	{.name = "memory",
	 .letter = 'm',
	 .type = OPTION_SIZE,
	 .min = 4096,
	 .max = 0x1p40,
	 .fallback = "8G",
	 .help = "size of the simulated machine"},
	{.name = "speed",
	 .type = OPTION_REAL,
	 .min = 0.1,
	 .max = (double)INFINITY,
	 .fallback = "1",
	 .unit = "times",
	 .help = "how fast to play"},
	{.name = "shift", .type = OPTION_REAL, .help = "any number"},
	{.name = "mode",
	 .type = OPTION_CHOICE,
	 .choices = modes,
	 .fallback = "sequential",
	 .help = "how to play"},
	{.name = "oracle", .type = OPTION_BOOL, .fallback = "on", .help = "check every frame"},
	{.name = "quiet", .letter = 'q', .type = OPTION_BOOL, .help = "say less"},
	{.name = "allocator",
	 .letter = 'a',
	 .type = OPTION_STRING,
	 .flags = OPTION_REPEATS,
	 .argument = "SPEC",
	 .help = "which back end"},
	{.name = "label", .type = OPTION_STRING, .help = "name of the run"},
	{0},
};

static struct option_set *new_set(const struct option *rows)
{
	struct option_set *set = NULL;
	struct error err = {0};

	if (option_set_create(rows, &set, &err) < 0)
		fail_msg("%s", err.text);
	return set;
}

static void defaults_hold_until_given(void **state)
{
	struct option_set *set = new_set(table);

	(void)state;
	assert_int_equal(option_uint(set, "samples"), 100);
	assert_true(option_uint(set, "memory") == UINT64_C(8) << 30);
	assert_true(option_real(set, "speed") == 1);
	assert_int_equal(option_choice(set, "mode"), 0);
	assert_string_equal(option_string(set, "mode"), "sequential");
	assert_true(option_bool(set, "oracle"));
	assert_false(option_bool(set, "quiet"));
	assert_null(option_string(set, "label"));
	assert_null(option_strings(set, "allocator")[0]);
	for (size_t i = 0; table[i].name; i++)
		assert_false(option_given(set, table[i].name));
	assert_int_equal(option_set_assign(set, "samples", "100", NULL), 0);
	assert_true(option_given(set, "samples"));
	option_set_destroy(set);
	option_set_destroy(NULL);
}

static void values_of_every_type_parse_or_say_why(void **state)
{
	static const struct {
		const char *name, *value;
		int rc;
		const char *text; /* canonical, or a part of the message */
	} cases[] = {
		{"samples", "1", 0, "1"},
		{"samples", "0x10", 0, "16"},
		{"samples", "010", 0, "10"},
		{"samples", "1000000", 0, "1000000"},
		{"samples", "0", -ERANGE, "samples: 0 is out of range; give 1 to 1000000 samples"},
		{"samples", "1000001", -ERANGE, "1 to 1000000 samples"},
		{"samples", "99999999999999999999999", -ERANGE, "99999999999999999999999"},
		{"samples", "-1", -EINVAL, "'-1' is not a whole number"},
		{"samples", "+1", -EINVAL, "'+1'"},
		{"samples", " 1", -EINVAL, "' 1'"},
		{"samples", "1 ", -EINVAL, "'1 '"},
		{"samples", "", -EINVAL, "''"},
		{"samples", "0x", -EINVAL, "'0x'"},
		{"samples", "12z", -EINVAL, "'12z'"},
		{"samples", "2e3", 0, "2000"},
		{"samples", "1E6", 0, "1000000"},
		{"samples", "7e0", 0, "7"},
		{"samples", "2e6", -ERANGE, "samples: 2e6 is out of range; give 1 to 1000000"},
		{"samples", "e3", -EINVAL, "'e3'"},
		{"samples", "2e", -EINVAL, "'2e'"},
		{"samples", "2e+3", -EINVAL, "'2e+3'"},
		{"samples", "2e3k", -EINVAL, "'2e3k'"},
		{"samples", "2.5e3", -EINVAL, "'2.5e3'"},
		{"seed", "1e19", 0, "10000000000000000000"},
		{"seed", "0e99", 0, "0"},
		{"seed", "2e19", -ERANGE, "too large"},
		{"seed", "1e100", -EINVAL, "'1e100'"},
		{"seed", "0x1e3", 0, "483"},
		{"seed", "18446744073709551615", 0, "18446744073709551615"},
		{"seed", "18446744073709551616", -ERANGE,
		 "seed: 18446744073709551616 is too large"},
		{"seed", "0xffffffffffffffff", 0, "18446744073709551615"},
		{"seed", "0x10000000000000000", -ERANGE, "too large"},
		{"memory", "64K", 0, "65536"},
		{"memory", "64k", 0, "65536"},
		{"memory", "4GiB", 0, "4294967296"},
		{"memory", "4gib", 0, "4294967296"},
		{"memory", "1T", 0, "1099511627776"},
		{"memory", "2T", -ERANGE, "give 4K to 1T"},
		{"memory", "4095", -ERANGE, "give 4K to 1T"},
		{"memory", "99999999T", -ERANGE, "99999999T"},
		{"memory", "-4K", -EINVAL, "'-4K' is not a size"},
		{"memory", "K", -EINVAL, "'K'"},
		{"memory", "4KB", -EINVAL, "'4KB'"},
		{"memory", "4Ki", -EINVAL, "'4Ki'"},
		{"memory", "4 K", -EINVAL, "'4 K'"},
		{"memory", "1.5G", -EINVAL, "'1.5G'"},
		{"memory", "0x1000", -EINVAL, "'0x1000'"},
		{"speed", "0.1", 0, "0.1"},
		{"speed", "2.5e3", 0, "2500"},
		{"speed", "0.09", -ERANGE, "speed: 0.09 is out of range; give at least 0.1 times"},
		{"speed", "inf", -EINVAL, "'inf' is not a number; give at least 0.1"},
		{"speed", "nan", -EINVAL, "'nan'"},
		{"speed", "0x1p3", -EINVAL, "'0x1p3'"},
		{"speed", "1e999", -ERANGE, "1e999"},
		{"speed", "1,5", -EINVAL, "'1,5'"},
		{"speed", "e", -EINVAL, "'e'"},
		{"shift", "-3.25", 0, "-3.25"},
		{"shift", "1e999", -ERANGE, "too large"},
		{"mode", "timed", 0, "timed"},
		{"mode", "time", -EINVAL, "no choice 'time'; did you mean 'timed'?"},
		{"mode", "xyz", -EINVAL, "choose one of sequential, parallel, timed"},
		{"oracle", "off", 0, "false"},
		{"oracle", "YES", 0, "true"},
		{"oracle", "0", 0, "false"},
		{"oracle", "maybe", -EINVAL, "'maybe' is not on or off"},
		{"oracle", NULL, 0, "true"},
		{"no-oracle", NULL, 0, NULL},
		{"no-oracle", "on", -ENOENT, "no-oracle"},
		{"no-samples", NULL, -ENOENT, "no-samples"},
		{"label", "", 0, ""},
		{"label", "any text, (odd) = too", 0, "any text, (odd) = too"},
		{"label", NULL, -EINVAL, "option label needs a value: a text"},
		{"sampels", "3", -ENOENT, "unknown option 'sampels'; did you mean 'samples'?"},
		{"no-orcale", NULL, -ENOENT, "did you mean 'no-oracle'?"},
		{"zzz", "3", -ENOENT, "unknown option 'zzz'; the help lists"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_set *set = new_set(table);
		struct error err = {0};
		int rc = option_set_assign(set, cases[i].name, cases[i].value, &err);
		char *canonical = option_canonical(set);
		const char *where = rc == 0 ? canonical : err.text;

		if (rc != cases[i].rc || (rc < 0 && err.code != -rc) ||
		    (cases[i].text && !strstr(where, cases[i].text)))
			fail_msg("%s=%s: %d '%s'", cases[i].name,
				 cases[i].value ? cases[i].value : "(none)", rc, where);
		free(canonical);
		option_set_destroy(set);
	}
}

static void a_refused_value_leaves_the_old_one(void **state)
{
	struct option_set *set = new_set(table);

	(void)state;
	assert_int_equal(option_set_assign(set, "samples", "7", NULL), 0);
	assert_int_equal(option_set_assign(set, "samples", "0", NULL), -ERANGE);
	assert_int_equal(option_set_assign(set, "samples", "x", NULL), -EINVAL);
	assert_int_equal(option_uint(set, "samples"), 7);
	option_set_destroy(set);
}

static void a_whole_number_is_compared_in_all_its_bits(void **state)
{
	static const struct option wide[] = {
		{.name = "v", .type = OPTION_UINT, .min = 0x1p62, .max = 0x1p63},
		{.name = "w", .type = OPTION_UINT, .min = 0.5, .max = (double)INFINITY},
		{0},
	};
	struct option_set *set = new_set(wide);

	(void)state;
	assert_int_equal(option_set_assign(set, "v", "9223372036854775808", NULL), 0);
	assert_int_equal(option_set_assign(set, "v", "9223372036854775809", NULL), -ERANGE);
	assert_int_equal(option_set_assign(set, "v", "4611686018427387904", NULL), 0);
	assert_int_equal(option_set_assign(set, "v", "4611686018427387903", NULL), -ERANGE);
	assert_int_equal(option_set_assign(set, "w", "18446744073709551615", NULL), 0);
	assert_int_equal(option_set_assign(set, "w", "0", NULL), -ERANGE);
	option_set_destroy(set);
}

/* ---- specifications ---- */

static void parentheses_keep_a_nested_specification_whole(void **state)
{
	static const struct option rows[] = {
		{.name = "inner", .type = OPTION_STRING},
		{.name = "batch", .type = OPTION_UINT, .min = 1, .max = 512},
		{.name = "rows", .type = OPTION_BOOL, .fallback = "off"},
		{0},
	};
	static const struct {
		const char *spec, *inner;
	} cases[] = {
		{"inner=(llfree:tree=8),batch=63,rows", "llfree:tree=8"},
		{"inner=llfree:tree=8,batch=63,rows", "llfree:tree=8"},
		{"batch=63,rows=yes,inner=(percpu:inner=(llfree:a=1,b=2),batch=3)",
		 "percpu:inner=(llfree:a=1,b=2),batch=3"},
		{"batch=63,rows,inner=((a,b))", "(a,b)"},
		{"batch=63,rows,inner=(a)(b)", "(a)(b)"},
		{"batch=63,rows,inner=a(b,c)d", "a(b,c)d"},
		{"batch=63,rows,inner=()", ""},
		{"batch=63,rows,inner=", ""},
		{"batch=63,rows,inner=x=y", "x=y"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_set *set = new_set(rows);
		struct error err = {0};

		if (option_set_parse_spec(set, cases[i].spec, &err) != 0)
			fail_msg("%s: %s", cases[i].spec, err.text);
		assert_string_equal(option_string(set, "inner"), cases[i].inner);
		assert_int_equal(option_uint(set, "batch"), 63);
		assert_true(option_bool(set, "rows"));
		option_set_destroy(set);
	}
}

static void a_broken_specification_is_told_with_its_column(void **state)
{
	static const struct {
		const char *spec;
		int rc;
		const char *text;
	} cases[] = {
		{"label=(a", -EINVAL, "column 7: '('"},
		{"samples=3,label=((a)", -EINVAL, "column 17: '('"},
		{"label=a)", -EINVAL, "column 8: ')'"},
		{"samples=3,label=(a)),b=1", -EINVAL, "column 20: ')'"},
		{",", -EINVAL, "column 1: a name is missing"},
		{"samples=3,", -EINVAL, "column 11: a name is missing"},
		{"samples=3,,seed=1", -EINVAL, "column 11: a name is missing"},
		{"samples=3,=5", -EINVAL, "column 11: a name is missing"},
		{"samples", -EINVAL, "option samples needs a value"},
		{"seed=1,samples=3,seed=1", -EINVAL, "option seed is given twice; leave one out"},
		{"samples=0", -ERANGE, "1 to 1000000 samples"},
		{"sample=3", -ENOENT, "did you mean 'samples'?"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_set *set = new_set(table);
		struct error err = {0};
		int rc = option_set_parse_spec(set, cases[i].spec, &err);

		if (rc != cases[i].rc || !strstr(err.text, cases[i].text))
			fail_msg("%s: %d '%s'", cases[i].spec, rc, err.text);
		option_set_destroy(set);
	}
}

static void an_empty_specification_changes_nothing(void **state)
{
	struct option_set *set = new_set(table);
	char *before = option_canonical(set), *after;

	(void)state;
	assert_int_equal(option_set_parse_spec(set, "", NULL), 0);
	after = option_canonical(set);
	assert_string_equal(before, after);
	free(before);
	free(after);
	option_set_destroy(set);
}

static void a_set_without_options_takes_none(void **state)
{
	struct option_set *set = new_set(NULL);
	struct error err = {0};

	(void)state;
	assert_int_equal(option_set_parse_spec(set, "x=1", &err), -ENOENT);
	assert_non_null(strstr(err.text, "no options"));
	option_set_destroy(set);
}

/* Balanced text of letters, commas, '=' and parentheses. */
static size_t random_balanced(struct random *r, char *text, unsigned int depth)
{
	size_t used = 0;

	for (uint64_t n = random_below(r, 5); n > 0; n--) {
		if (depth > 0 && random_below(r, 3) == 0) {
			text[used++] = '(';
			used += random_balanced(r, text + used, depth - 1);
			text[used++] = ')';
		} else {
			text[used++] = "ab,=:-"[random_below(r, 6)];
		}
	}
	text[used] = '\0';
	return used;
}

/* Parsing the canonical line gives the same set again, whatever the values. */
static void the_canonical_line_reads_back_the_same(void **state)
{
	struct random r = random_begin(9);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct option_set *set = new_set(table), *again = new_set(table);
		char label[1024], number[64];
		struct error err = {0};
		char *line, *line_again;

		for (uint64_t n = random_below(&r, 4); n > 0; n--) {
			random_balanced(&r, label, 3);
			assert_int_equal(option_set_assign(set, "allocator", label, NULL), 0);
		}
		snprintf(number, sizeof(number), "%.17g", (random_unit(&r) - 0.5) * 1e6);
		assert_int_equal(option_set_assign(set, "shift", number, NULL), 0);
		snprintf(number, sizeof(number), "%llu", (unsigned long long)random_u64(&r));
		assert_int_equal(option_set_assign(set, "seed", number, NULL), 0);
		if (random_below(&r, 2)) {
			random_balanced(&r, label, 3);
			assert_int_equal(option_set_assign(set, "label", label, NULL), 0);
		}
		line = option_canonical(set);
		if (option_set_parse_spec(again, line, &err) != 0)
			fail_msg("%s: %s (seed %llu)", line, err.text,
				 (unsigned long long)seed_or(9));
		line_again = option_canonical(again);
		assert_string_equal(line, line_again);
		assert_true(option_real(set, "shift") == option_real(again, "shift"));
		free(line);
		free(line_again);
		option_set_destroy(set);
		option_set_destroy(again);
	}
}

/* Only crashes and sanitizer reports can fail this, and messages without a text. */
static void random_specifications_are_parsed_or_refused_with_a_reason(void **state)
{
	static const char letters[] = "samplesnodm=,()=,()=,()0123456789KG-x";
	struct random r = random_begin(10);

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct option_set *set = new_set(table);
		struct error err = {0};
		char spec[40];
		size_t n = random_below(&r, sizeof(spec));
		int rc;

		for (size_t i = 0; i < n; i++)
			spec[i] = letters[random_below(&r, sizeof(letters) - 1)];
		spec[n] = '\0';
		rc = option_set_parse_spec(set, spec, &err);
		assert_true(rc == 0 || (rc == -err.code && err.text[0]));
		option_set_destroy(set);
	}
}

/* ---- command lines ---- */

#define ARGV_MAX 16

/* Split at blanks. Return: what option_set_parse_argv() gave. */
static int parse_line(struct option_set *set, const char *line, bool stop, char *store, char **argv,
		      int *argc, int *operand, struct error *err)
{
	char *save = NULL;

	strcpy(store, line);
	*argc = 0;
	argv[(*argc)++] = (char *)(uintptr_t) "verb";
	for (char *word = strtok_r(store, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[(*argc)++] = word;
	argv[*argc] = NULL;
	return option_set_parse_argv(set, *argc, argv, stop, operand, err);
}

static void gnu_spellings_all_work(void **state)
{
	static const struct {
		const char *line;
		const char *canonical; /* a part of it */
		const char *operand;   /* the first */
	} cases[] = {
		{"--samples 7", "samples=7", NULL},
		{"--samples=7", "samples=7", NULL},
		{"-n 7", "samples=7", NULL},
		{"-n7", "samples=7", NULL},
		{"-qn7", "samples=7,", NULL},
		{"--samp 7", "samples=7", NULL},
		{"--o=off", "oracle=false", NULL},
		{"--no-oracle", "oracle=false", NULL},
		{"--oracle", "oracle=true", NULL},
		{"--oracle=no", "oracle=false", NULL},
		{"-q", "quiet=true", NULL},
		{"--no-quiet", "quiet=false", NULL},
		{"one --samples 7 two", "samples=7", "one"},
		{"-- --samples 7", "samples=100", "--samples"},
		{"-n 7 -- -q", "samples=7", "-q"},
		{"--label -x", "label=-x", NULL},
		{"-a llfree:tree=8,x=1 -a null", "allocator=(llfree:tree=8,x=1),allocator=null",
		 NULL},
		{"--shift -2", "shift=-2", NULL},
		{"-", "samples=100", "-"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_set *set = new_set(table);
		char store[256], *argv[ARGV_MAX], *canonical;
		struct error err = {0};
		int argc, operand;

		if (parse_line(set, cases[i].line, false, store, argv, &argc, &operand, &err) != 0)
			fail_msg("%s: %s", cases[i].line, err.text);
		canonical = option_canonical(set);
		if (!strstr(canonical, cases[i].canonical))
			fail_msg("%s: %s", cases[i].line, canonical);
		if (cases[i].operand)
			assert_string_equal(argv[operand], cases[i].operand);
		else
			assert_int_equal(operand, argc);
		free(canonical);
		option_set_destroy(set);
	}
}

static void a_wrong_command_line_is_told_what_is_wrong(void **state)
{
	static const struct {
		const char *line;
		int rc;
		const char *text;
	} cases[] = {
		{"--sampels 7", -ENOENT, "unknown option '--sampels'; did you mean '--samples'?"},
		{"--sampels=7", -ENOENT, "unknown option '--sampels'; did you mean '--samples'?"},
		{"--no-orcale", -ENOENT, "did you mean '--no-oracle'?"},
		{"--wholly-other", -ENOENT, "unknown option '--wholly-other'; the help"},
		{"--s 7", -ENOENT, "'--s' is ambiguous: --samples, --seed, --speed, --shift"},
		{"--s=7", -ENOENT, "'--s' is ambiguous: --samples,"},
		{"--no", -ENOENT, "'--no' is ambiguous: --no-oracle, --no-quiet"},
		{"-x", -ENOENT, "unknown option '-x'"},
		{"-qx", -ENOENT, "unknown option '-x'"},
		{"a b --samples", -EINVAL, "option --samples needs a value: a whole number"},
		{"-n", -EINVAL, "option -n (--samples) needs a value"},
		{"--no-oracle=3", -EINVAL, "option --no-oracle takes no value"},
		{"--samples=0", -ERANGE, "option --samples: 0 is out of range; give 1 to 1000000"},
		{"--memory=7Q", -EINVAL, "option --memory: '7Q' is not a size"},
		{"--mode x", -EINVAL, "option --mode: no choice 'x'; choose one of"},
		{"--oracle=perhaps", -EINVAL, "option --oracle: 'perhaps' is not on or off"},
		{"op1 op2 --sampels op3", -ENOENT, "'--sampels'"},
		{"--samples 7 --samples 7", -EINVAL, "option --samples is given twice"},
		{"-n 7 a --samples=8", -EINVAL, "option --samples is given twice"},
		{"--no-oracle --oracle", -EINVAL, "option --oracle is given twice"},
		{"-q -q", -EINVAL, "option --quiet is given twice"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_set *set = new_set(table);
		char store[256], *argv[ARGV_MAX];
		struct error err = {0};
		int argc, operand;
		int rc = parse_line(set, cases[i].line, false, store, argv, &argc, &operand, &err);

		if (rc != cases[i].rc || !strstr(err.text, cases[i].text))
			fail_msg("%s: %d '%s'", cases[i].line, rc, err.text);
		option_set_destroy(set);
	}
}

static void operands_are_permuted_to_the_end_unless_they_stop_the_options(void **state)
{
	struct option_set *set = new_set(table);
	char store[256], *argv[ARGV_MAX];
	int argc, operand;

	(void)state;
	assert_int_equal(
		parse_line(set, "make -n 5 all -q now", false, store, argv, &argc, &operand, NULL),
		0);
	assert_int_equal(argc - operand, 3);
	assert_string_equal(argv[operand], "make");
	assert_string_equal(argv[operand + 1], "all");
	assert_string_equal(argv[operand + 2], "now");
	assert_true(option_bool(set, "quiet"));
	option_set_destroy(set);

	set = new_set(table);
	assert_int_equal(
		parse_line(set, "-n 5 make -j2 --frob", true, store, argv, &argc, &operand, NULL),
		0);
	assert_int_equal(argc - operand, 3);
	assert_string_equal(argv[operand], "make");
	assert_string_equal(argv[operand + 1], "-j2");
	option_set_destroy(set);
}

static void a_required_option_is_missed_on_both_spellings(void **state)
{
	static const struct option rows[] = {
		{.name = "out",
		 .type = OPTION_STRING,
		 .flags = OPTION_REQUIRED,
		 .help = "where to write"},
		{0},
	};
	struct option_set *set = new_set(rows);
	char *argv[] = {(char *)(uintptr_t) "verb", NULL};
	struct error err = {0};
	int operand;

	(void)state;
	assert_int_equal(option_set_parse_argv(set, 1, argv, false, &operand, &err), -EINVAL);
	assert_string_equal(err.text, "option --out is required: where to write");
	assert_int_equal(option_set_parse_spec(set, "", &err), -EINVAL);
	assert_string_equal(err.text, "option out is required: where to write");
	assert_int_equal(option_set_parse_spec(set, "out=x", &err), 0);
	option_set_destroy(set);
}

static void repeated_strings_keep_their_order_and_replace_the_default(void **state)
{
	static const struct option rows[] = {
		{.name = "a", .type = OPTION_STRING, .flags = OPTION_REPEATS, .fallback = "all"},
		{.name = "b", .type = OPTION_STRING, .fallback = "x"},
		{0},
	};
	struct option_set *set = new_set(rows);
	const char *const *all;

	(void)state;
	assert_string_equal(option_strings(set, "a")[0], "all");
	assert_int_equal(option_set_parse_spec(set, "a=1,b=2,a=2,a=3", NULL), 0);
	all = option_strings(set, "a");
	assert_string_equal(all[0], "1");
	assert_string_equal(all[1], "2");
	assert_string_equal(all[2], "3");
	assert_null(all[3]);
	assert_string_equal(option_string(set, "a"), "3");
	assert_string_equal(option_string(set, "b"), "2");
	assert_null(option_strings(set, "b")[1]);
	option_set_destroy(set);
}

/* ---- the echo ---- */

struct echo {
	char text[512];
	int calls, stop_at;
};

static int echo_visit(void *arg, const struct option *row, const char *text)
{
	struct echo *echo = arg;
	size_t used = strlen(echo->text);

	snprintf(echo->text + used, sizeof(echo->text) - used, "%s=%s;", row->name,
		 text ? text : "NULL");
	return ++echo->calls == echo->stop_at ? 42 : 0;
}

static void the_echo_visits_each_row_once_in_table_order(void **state)
{
	struct option_set *set = new_set(table);
	struct echo echo = {0};

	(void)state;
	assert_int_equal(option_set_parse_spec(set, "allocator=(a,b),allocator=c,memory=64K", NULL),
			 0);
	assert_int_equal(option_each(set, echo_visit, &echo), 0);
	assert_string_equal(echo.text, "samples=100;seed=1;memory=65536;speed=1;shift=NULL;"
				       "mode=sequential;oracle=true;quiet=NULL;allocator=(a,b),c;"
				       "label=NULL;");
	echo = (struct echo){.stop_at = 2};
	assert_int_equal(option_each(set, echo_visit, &echo), 42);
	assert_int_equal(echo.calls, 2);
	option_set_destroy(set);
}

/* ---- tables and help ---- */

static void an_inconsistent_table_is_refused(void **state)
{
	static const struct option bad[][2] = {
		{{.name = "x", .type = OPTION_UINT, .min = 1, .max = 5, .fallback = "6"}},
		{{.name = "x", .type = OPTION_UINT, .fallback = "six"}},
		{{.name = "x", .type = OPTION_CHOICE}},
		{{.name = "x", .type = OPTION_CHOICE, .choices = modes, .fallback = "none"}},
		{{.name = "x", .type = OPTION_UINT, .min = 5, .max = 1}},
		{{.name = "x", .type = OPTION_UINT, .flags = OPTION_REPEATS}},
		{{.name = "x", .type = OPTION_STRING, .flags = OPTION_FILE}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct option_set *set = NULL;
		struct error err = {0};

		assert_int_equal(option_set_create(bad[i], &set, &err), -EINVAL);
		assert_non_null(strstr(err.text, "option table: "));
		assert_null(set);
	}
}

static char *help_of(const struct option *rows, bool dashes)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	option_help(rows, dashes, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void help_is_aligned_and_complete(void **state)
{
	char *help = help_of(table, true);

	(void)state;
	assert_string_equal(
		help,
		"  -n, --samples=N       how many samples to take (1 to 1000000 samples; default: "
		"100)\n"
		"      --seed=N          start of all randomness (default: 1)\n"
		"  -m, --memory=SIZE     size of the simulated machine (4K to 1T; default: 8G)\n"
		"      --speed=X         how fast to play (at least 0.1 times; default: 1)\n"
		"      --shift=X         any number\n"
		"      --mode=CHOICE     how to play (one of sequential, parallel, timed; default: "
		"sequential)\n"
		"      --[no-]oracle     check every frame (default: on)\n"
		"  -q, --[no-]quiet      say less\n"
		"  -a, --allocator=SPEC  which back end (may be repeated)\n"
		"      --label=TEXT      name of the run\n");
	free(help);
	help = help_of(table, false);
	assert_non_null(strstr(help, "  oracle=on|off   check every frame (default: on)\n"));
	free(help);
}

static void help_wraps_at_100_columns(void **state)
{
	static const struct option rows[] = {
		{.name = "a-name-that-is-far-too-long-for-its-column",
		 .type = OPTION_UINT,
		 .unit = "frames",
		 .help = "long names stand on a line of their own"},
		{.name = "short",
		 .type = OPTION_STRING,
		 .help = "words words words words words words words words words words words words "
			 "words words words words words words words words words words words words"},
		{0},
	};
	char *help = help_of(rows, true), *save = NULL;
	unsigned int lines = 0;

	(void)state;
	assert_non_null(strstr(help, "column=N\n                    long names"));
	assert_non_null(strstr(help, "own (in frames)\n"));
	for (char *line = strtok_r(help, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		assert_true(strlen(line) <= 100);
		assert_true(line[strlen(line) - 1] != ' ');
		lines++;
	}
	assert_int_equal(lines, 4);
	free(help);
}

/* ---- sizes and names on their own ---- */

static void a_size_alone_parses_like_an_option(void **state)
{
	struct error err = {0};
	uint64_t v;

	(void)state;
	assert_int_equal(option_parse_size("16777215T", &v, &err), 0);
	assert_true(v == UINT64_MAX >> 40 << 40);
	assert_int_equal(option_parse_size("16777216T", &v, &err), -ERANGE);
	assert_int_equal(option_parse_size("18446744073709551615", &v, &err), 0);
	assert_int_equal(option_parse_size("18446744073709551616", &v, &err), -ERANGE);
	assert_int_equal(option_parse_size("-1", &v, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'-1' is not a size"));
	assert_int_equal(option_parse_size("", &v, NULL), -EINVAL);
}

static void the_nearest_name_is_the_one_meant(void **state)
{
	static const char *const names[] = {"recorded", "llfree",  "buddy", "percpu",
					    "firstfit", "nextfit", "null",  NULL};
	static const struct {
		const char *word, *name;
	} cases[] = {
		{"llfree", "llfree"}, {"lfree", "llfree"},
		{"llfere", "llfree"}, {"LLFree", "llfree"},
		{"budy", "buddy"},    {"percup", "percpu"},
		{"nul", "null"},      {"frstfit", "firstfit"},
		{"jemalloc", NULL},   {"x", NULL},
		{"", NULL},	      {"bdd", NULL},
	};
	static const char *const none[] = {NULL};
	char lengthy[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = nearest_name(cases[i].word, names);

		if (!cases[i].name)
			assert_null(got);
		else
			assert_string_equal(got, cases[i].name);
	}
	assert_null(nearest_name("llfree", none));
	memset(lengthy, 'a', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = '\0';
	assert_null(nearest_name(lengthy, names));
}

/* One edit of a long enough name always leads back to it. */
static void any_single_slip_is_forgiven(void **state)
{
	static const char *const names[] = {"fragmentation", "samples", "unmovable", NULL};
	struct random r = random_begin(11);

	(void)state;
	for (int i = 0; i < 3000; i++) {
		const char *name = names[random_below(&r, 3)];
		size_t n = strlen(name), at = random_below(&r, n - 1);
		char word[32];

		strcpy(word, name);
		switch (random_below(&r, 4)) {
		case 0: /* a letter replaced */
			word[at] = (char)('a' + random_below(&r, 26));
			break;
		case 1: /* left out */
			memmove(word + at, word + at + 1, n - at);
			break;
		case 2: /* put in */
			memmove(word + at + 1, word + at, n - at + 1);
			word[at] = (char)('a' + random_below(&r, 26));
			break;
		default: /* two neighbours swapped */
			word[at] = name[at + 1];
			word[at + 1] = name[at];
			break;
		}
		if (nearest_name(word, names) != name)
			fail_msg("%s is not %s (seed %llu)", word, name,
				 (unsigned long long)seed_or(11));
	}
}

/* ---- files ---- */

static const struct option file_table[] = {
	{.name = "policy",
	 .type = OPTION_CHOICE,
	 .choices = modes,
	 .fallback = "parallel",
	 .flags = OPTION_FILE,
	 .help = "how"},
	{0},
};

static void write_file(const char *path, const char *text, size_t n)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, n, out), n);
	assert_int_equal(fclose(out), 0);
}

/* A path in a new directory, which remove_path() removes. */
static void make_path(char path[64])
{
	strcpy(path, "/tmp/quire-option-XXXXXX");
	assert_non_null(mkdtemp(path));
	strcat(path, "/a,b.yaml");
}

static void remove_path(char path[64])
{
	unlink(path);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
}

static void a_choice_may_be_a_file_known_by_its_content(void **state)
{
	struct option_set *set = new_set(file_table), *again = new_set(file_table);
	char path[64], *first, *second, *other;
	struct error err = {0};
	size_t n;

	(void)state;
	make_path(path);
	assert_null(option_file(set, "policy", &n));
	assert_string_equal(option_string(set, "policy"), "parallel");
	write_file(path, "one\0two", 7);
	assert_int_equal(option_set_assign(set, "policy", path, &err), 0);
	assert_memory_equal(option_file(set, "policy", &n), "one\0two", 8);
	assert_int_equal(n, 7);
	assert_string_equal(option_string(set, "policy"), path);
	first = option_canonical(set);
	assert_non_null(strstr(first, path));
	/* What it says is taken back as long as it is true. */
	assert_int_equal(option_set_parse_spec(again, first, &err), 0);
	second = option_canonical(again);
	assert_string_equal(first, second);
	free(second);

	write_file(path, "one\0TWO", 7);
	option_set_destroy(again);
	again = new_set(file_table);
	assert_int_equal(option_set_parse_spec(again, first, &err), -ESTALE);
	assert_non_null(strstr(err.text, "has changed, its hash is now"));
	/* The set keeps what it has read. */
	second = option_canonical(set);
	assert_string_equal(first, second);
	assert_int_equal(option_set_assign(set, "policy", path, &err), 0);
	other = option_canonical(set);
	assert_string_not_equal(first, other);
	assert_int_equal(option_set_assign(set, "policy", "timed", &err), 0);
	assert_null(option_file(set, "policy", &n));
	assert_int_equal(option_choice(set, "policy"), 2);
	free(first);
	free(second);
	free(other);
	option_set_destroy(set);
	option_set_destroy(again);
	remove_path(path);
}

static void a_file_that_cannot_be_read_is_refused_and_the_old_value_stays(void **state)
{
	struct option_set *set = new_set(file_table);
	char path[64], *large = calloc(1, OPTION_FILE_MAX + 1);
	struct error err = {0};
	size_t n;

	(void)state;
	assert_int_equal(option_set_assign(set, "policy", "timed", &err), 0);
	assert_int_equal(option_set_assign(set, "policy", "./none", &err), -ENOENT);
	assert_non_null(strstr(err.text, "option policy: ./none: No such file or directory; give a "
					 "file that can be read, or one of sequential"));
	assert_int_equal(option_set_assign(set, "policy", "none.yaml", &err), -ENOENT);
	assert_int_equal(option_set_assign(set, "policy", "/", &err), -EISDIR);
	assert_int_equal(option_set_assign(set, "policy", "tined", &err), -EINVAL);
	assert_non_null(strstr(err.text, "did you mean 'timed'?"));
	make_path(path);
	write_file(path, large, OPTION_FILE_MAX + 1);
	assert_int_equal(option_set_assign(set, "policy", path, &err), -EFBIG);
	write_file(path, large, OPTION_FILE_MAX);
	assert_int_equal(option_choice(set, "policy"), 2);
	assert_int_equal(option_set_assign(set, "policy", path, &err), 0);
	assert_non_null(option_file(set, "policy", &n));
	assert_int_equal(n, OPTION_FILE_MAX);
	free(large);
	option_set_destroy(set);
	remove_path(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_hold_until_given),
		cmocka_unit_test(values_of_every_type_parse_or_say_why),
		cmocka_unit_test(a_refused_value_leaves_the_old_one),
		cmocka_unit_test(a_whole_number_is_compared_in_all_its_bits),
		cmocka_unit_test(parentheses_keep_a_nested_specification_whole),
		cmocka_unit_test(a_broken_specification_is_told_with_its_column),
		cmocka_unit_test(an_empty_specification_changes_nothing),
		cmocka_unit_test(a_set_without_options_takes_none),
		cmocka_unit_test(the_canonical_line_reads_back_the_same),
		cmocka_unit_test(random_specifications_are_parsed_or_refused_with_a_reason),
		cmocka_unit_test(gnu_spellings_all_work),
		cmocka_unit_test(a_wrong_command_line_is_told_what_is_wrong),
		cmocka_unit_test(operands_are_permuted_to_the_end_unless_they_stop_the_options),
		cmocka_unit_test(a_required_option_is_missed_on_both_spellings),
		cmocka_unit_test(repeated_strings_keep_their_order_and_replace_the_default),
		cmocka_unit_test(the_echo_visits_each_row_once_in_table_order),
		cmocka_unit_test(an_inconsistent_table_is_refused),
		cmocka_unit_test(help_is_aligned_and_complete),
		cmocka_unit_test(help_wraps_at_100_columns),
		cmocka_unit_test(a_size_alone_parses_like_an_option),
		cmocka_unit_test(the_nearest_name_is_the_one_meant),
		cmocka_unit_test(any_single_slip_is_forgiven),
		cmocka_unit_test(a_choice_may_be_a_file_known_by_its_content),
		cmocka_unit_test(a_file_that_cannot_be_read_is_refused_and_the_old_value_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
