/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/llfree/policy.h"
#include "tests/allocators/llfree/test_env.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define FRAMES 4096U /* of a tree */

/* The classes of the default policy. */
enum { IMMOVABLE, MOVABLE, HUGE_CLASS };

static uint64_t below(uint64_t *state, uint64_t n)
{
	return test_random(state) % n;
}

static void load(const char *name, struct policy *p)
{
	struct error err;

	if (policy_load(name, p, &err))
		fail_msg("%s", err.text);
}

static void parse(const char *text, struct policy *p)
{
	struct error err;

	if (policy_parse(text, strlen(text), "t.yaml", p, &err))
		fail_msg("%s", err.text);
}

static struct alloc_request request(const char *gfp, unsigned int order, unsigned int type)
{
	unsigned int unknown = 0;
	struct alloc_request req = {
		.gfp = gfp_parse(gfp, strlen(gfp), &unknown),
		.order = (uint8_t)order,
		.migratetype = (uint8_t)type,
	};

	assert_int_equal(unknown, 0);
	return req;
}

static const char *class_name(const struct policy *p, const struct alloc_request *req)
{
	return p->classes[policy_class_of(p, req, req->order)].name;
}

/* ---- what is wrong with a file ---- */

static const char sound[] =
	"name: mine\n"
	"description: for the tests\n"
	"classes:\n"
	"  - {name: low, slots: cpus}\n"
	"  - {name: high, slots: one}\n"
	"rules:\n"
	"  - class: high\n"
	"    orders: [4, 10]\n"
	"    migratetypes: [Movable, CMA]\n"
	"  - {class: high, gfp: [ZERO], gfp_without: [IO, FS], page_cache: false}\n"
	"  - {class: low}\n"
	"ranges:\n"
	"  perfect: [1, 32]\n"
	"  good: [32, 64]\n";

/* The sound text with the first @old replaced by @new; the caller frees. */
static char *changed(const char *old, const char *new)
{
	const char *at = strstr(sound, old);
	char *text;

	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - sound), sound, new, at + strlen(old)) >
		    0);
	return text;
}

static void a_sound_file_is_taken_at_its_word(void **state)
{
	struct policy p;

	(void)state;
	parse(sound, &p);
	assert_string_equal(p.name, "mine");
	assert_int_equal(p.nr_classes, 2);
	assert_int_equal(p.nr_rules, 3);
	assert_string_equal(p.classes[1].name, "high");
	assert_int_equal(p.classes[0].slots, SLOTS_CPUS);
	assert_int_equal(p.classes[1].slots, SLOTS_ONE);
	assert_int_equal(p.rules[0].orders, 0x7f0);
	assert_int_equal(p.rules[0].migratetypes, 1 << MIGRATE_MOVABLE | 1 << MIGRATE_CMA);
	assert_int_equal(p.rules[1].asked, GFP_ZERO | GFP_IO | GFP_FS | POLICY_FACT_PAGE_CACHE);
	assert_int_equal(p.rules[1].expected, GFP_ZERO);
	assert_int_equal(p.rules[2].orders, 0x7ff);
	assert_int_equal(p.perfect_from, 1);
	assert_int_equal(p.perfect_to, 32);
	assert_int_equal(p.good_from, 32);
	assert_int_equal(p.good_to, 64);
	assert_int_equal(policy_default_class(&p), 1);
}

static void whatever_is_wrong_with_a_file_is_told_in_one_line(void **state)
{
	static const struct {
		const char *old, *new, *told;
	} cases[] = {
		/* form */
		{"description: for", "descripton: for",
		 "line 2, column 1: unknown key 'descripton'; did you mean 'description'?"},
		{"orders:", "order:",
		 "line 8, column 5: unknown key 'order'; did you mean 'orders'?"},
		{"  perfect:", "  zzzzzz:",
		 "line 13, column 3: unknown key 'zzzzzz'; docs/policies.md lists"},
		{"name: mine\n", "", "the key 'name' is missing; add it"},
		{"description: for the tests\n", "", "the key 'description' is missing"},
		{", slots: one", "", "line 5, column 12: after this the key 'slots' is missing"},
		{"class: low", "orders: [0, 1]", "the key 'class' is missing"},
		{"  good: [32, 64]\n", "", "the key 'good' is missing"},
		{"name: mine\n", "name: mine\nname: other\n",
		 "line 2, column 1: a second 'name'; keep one"},
		{"name: mine", "name:", "line 1, column 6: an empty value; give one"},
		{"[4, 10]", "[4]", "a list of the wrong length; give two numbers, [from, to]"},
		{"[4, 10]", "[4, 5, 6]", "line 8, column 20: a list of the wrong length"},
		{"[4, 10]", "4",
		 "line 8, column 13: a single value where a list, '[a, b]' belongs"},
		{"[Movable, CMA]", "[]",
		 "wrong length; give at least one entry, or leave the key out"},
		{"[Movable, CMA]", "Movable", "line 9, column 19: a single value where a list"},
		{"[Movable, CMA]", "*types", "an alias; write out in full"},
		{"{class: low}", "{class: low", "this is not YAML"},
		{"  perfect", "\tperfect", "this is not YAML"},
		{"name: mine", "- mine", "a list, '[a, b]' where a mapping, 'key: value' belongs"},
		{"good: [32, 64]\n", "good: [32, 64]\n---\nname: two\n", "keep one document"},
		/* values */
		{"name: mine", "name: 'my own'", "name: 'my own' is not a name; take up to 30 of"},
		{"name: mine", "name: abcdefghijklmnopqrstuvwxyz12345", "is not a name"},
		{"name: high", "name: low", "class 2: name: there is a 'low' already"},
		{"name: low", "name: Low", "class 1: name: 'Low' is not a name"},
		{"slots: cpus", "slots: cpu",
		 "class 1: slots: 'cpu' is none; did you mean 'cpus'?"},
		{"slots: cpus", "slots: everyone",
		 "'everyone' is none; choose among none, one, cpus, half, context"},
		{"class: low}", "class: lo}", "rule 3: class: 'lo' is none; did you mean 'low'?"},
		{"[4, 10]", "[4, 11]",
		 "rule 1: orders: '11' is not a whole number from 0 to 10; give one"},
		{"[4, 10]", "[-1, 10]", "'-1' is not a whole number"},
		{"[4, 10]", "[4, 9.5]", "'9.5' is not a whole number"},
		{"[4, 10]", "[4, 9x]", "'9x' is not a whole number"},
		{"[4, 10]", "[04, 10]", "'04' is not a whole number"},
		{"[4, 10]", "[4, 99999999999999999999]", "is not a whole number"},
		{"[4, 10]", "[10, 4]", "rule 1: orders: it ends before it begins"},
		{"Movable, CMA", "Moveable", "migratetypes: 'Moveable' is none; did you mean"},
		{"[ZERO]", "[ZER0]", "rule 2: gfp: no flag 'ZER0'; give single ones"},
		{"[ZERO]", "[GFP_KERNEL]", "no flag 'GFP_KERNEL'"},
		{"[IO, FS]", "[IO, '']", "an empty value; give one"},
		{"[IO, FS]", "[__GFP_ZERO]", "rule 2: gfp and gfp_without name the same flag"},
		{"page_cache: false", "page_cache: maybe",
		 "page_cache: 'maybe' is none; choose among true, false"},
		{"[1, 32]", "[1, 65]", "ranges: perfect: '65' is not a whole number from 0 to 64"},
		{"[32, 64]", "[33, 32]", "ranges: good: it ends before it begins"},
		/* what the rules amount to */
		{"  - {class: low}\n", "  - {class: low, orders: [0, 8]}\n",
		 "rules: order 9, Unmovable: none fits whatever the gfp flags and the label; add"},
		{"  - {class: low}\n", "  - {class: low, gfp: [IO]}\n",
		 "rules: order 0, Unmovable: none fits"},
		{"  - {class: low}\n", "  - {class: low}\n  - {class: high, orders: [0, 1]}\n",
		 "rule 4: never asked"},
		{"  - {name: high", "  - {name: middle, slots: none}\n  - {name: high",
		 "class 2 (middle): no rule leads to it"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = changed(cases[i].old, cases[i].new);
		struct error err = {0};
		struct policy p;
		int ret = policy_parse(text, strlen(text), "t.yaml", &p, &err);

		if (ret != -EINVAL || err.code != EINVAL || !strstr(err.text, cases[i].told) ||
		    strncmp(err.text, "t.yaml: ", 8) != 0 || !strchr(err.text, ';'))
			fail_msg("'%s' for '%s': %d, %s", cases[i].new, cases[i].old, ret,
				 err.text);
		assert_int_equal(policy_parse(text, strlen(text), "t.yaml", &p, NULL), -EINVAL);
		free(text);
	}
}

static void what_holds_no_policy_at_all_is_refused(void **state)
{
	static const char *const texts[] = {"",		  "# nothing\n", "hello",
					    "- a\n- b\n", "\x01",	 "\xff\xfe"};
	struct error err;
	struct policy p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(policy_parse(texts[i], strlen(texts[i]), "t.yaml", &p, &err),
				 -EINVAL);
		assert_null(strchr(err.text, '\n'));
		assert_non_null(strstr(err.text, "t.yaml: "));
	}
	assert_int_equal(policy_load("mine", &p, &err), -ENOENT);
}

static void more_classes_or_rules_than_fit_are_refused(void **state)
{
	char classes[2048] = "", rules[4096] = "", text[8192];
	struct error err;
	struct policy p;

	(void)state;
	for (unsigned int n = 1; n <= POLICY_CLASSES_MAX + 1; n++) {
		size_t at = strlen(classes), rule = strlen(rules);
		int ret;

		snprintf(classes + at, sizeof(classes) - at, "  - {name: c%u, slots: none}\n", n);
		snprintf(rules + rule, sizeof(rules) - rule, "  - {class: c%u, orders: [%u, %u]}\n",
			 n, n, n);
		snprintf(text, sizeof(text),
			 "name: x\ndescription: x\nclasses:\n%srules:\n%s  - {class: c1}\n"
			 "ranges: {perfect: [0, 0], good: [0, 0]}\n",
			 classes, rules);
		ret = policy_parse(text, strlen(text), "t.yaml", &p, &err);
		assert_int_equal(ret, n <= POLICY_CLASSES_MAX ? 0 : -EINVAL);
		if (ret)
			assert_non_null(strstr(err.text, "classes: 9 are too many; at most 8"));
	}
	rules[0] = '\0';
	for (unsigned int n = 0; n <= POLICY_RULES_MAX; n++)
		strcat(rules, "  - {class: a}\n");
	snprintf(text, sizeof(text),
		 "name: x\ndescription: x\nclasses: [{name: a, slots: one}]\nrules:\n%s"
		 "ranges: {perfect: [0, 0], good: [0, 0]}\n",
		 rules);
	assert_int_equal(policy_parse(text, strlen(text), "t.yaml", &p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "rules: 33 are too many; give at most 32"));
}

/* A shipped file as it lies in the folder. Return: its length. */
static size_t read_shipped(const char *name, char *text, size_t size)
{
	char path[512];
	size_t n;
	FILE *in;

	snprintf(path, sizeof(path), "%s/configs/policies/%s.yaml", getenv("QUIRE_SOURCE"), name);
	in = fopen(path, "r");
	assert_non_null(in);
	n = fread(text, 1, size, in);
	fclose(in);
	return n;
}

/* Some bytes replaced, some copied elsewhere, perhaps the end cut off. */
static size_t damage(char *text, size_t n, uint64_t *r)
{
	static const char letters[] = "{}[]:,-#&*!|>'\"%@`\n\t 09az";

	for (uint64_t hits = 1 + below(r, 4); hits > 0; hits--) {
		size_t at = below(r, n), to = below(r, n);

		if (below(r, 3) == 0)
			memmove(text + to, text + at, min_u64(below(r, 80), n - max_u64(at, to)));
		else if (below(r, 2))
			text[at] = letters[below(r, sizeof(letters))];
		else
			text[at] = (char)test_random(r);
	}
	return below(r, 8) ? n : below(r, n);
}

/* Only a crash, a sanitizer's report or a message without text can fail this. */
static void a_damaged_file_is_a_policy_or_a_message(void **state)
{
	uint64_t seed = 5, r = seed;
	unsigned int taken = 0, refused = 0;

	(void)state;
	for (unsigned int round = 0; round < 4000; round++) {
		char text[8192];
		struct error err = {0};
		struct policy p;
		size_t n = read_shipped(policy_names[below(&r, 5)], text, sizeof(text));

		n = damage(text, n, &r);
		if (policy_parse(text, n, "damaged", &p, &err) == 0) {
			taken++;
			continue;
		}
		refused++;
		if (!err.text[0] || strchr(err.text, '\n'))
			fail_msg("no message (seed %llu, round %u)", (unsigned long long)seed,
				 round);
	}
	assert_true(taken > 100 && refused > 100);
}

/* ---- rules ---- */

static void the_first_rule_that_fits_wins(void **state)
{
	struct alloc_request req = request("none", 5, MIGRATE_MOVABLE);
	struct policy p;

	(void)state;
	parse(sound, &p);
	assert_string_equal(class_name(&p, &req), "high");
	req.order = 3;
	assert_string_equal(class_name(&p, &req), "low");
	req.gfp = GFP_ZERO;
	assert_string_equal(class_name(&p, &req), "high");
	/* A freed part of a block is what the block was. */
	assert_string_equal(p.classes[policy_class_of(&p, &req, 9)].name, "high");
}

static void gfp_flags_must_all_be_set_or_none(void **state)
{
	char *text = changed("[ZERO]", "[ZERO, __GFP_NOWARN, GFP_COMP]");
	struct alloc_request req = {.migratetype = MIGRATE_UNMOVABLE};
	static const uint32_t bits[] = {GFP_ZERO, GFP_NOWARN, GFP_COMP, GFP_IO, GFP_FS, GFP_HIGH};
	struct policy p;

	(void)state;
	parse(text, &p);
	for (unsigned int set = 0; set < 1U << ARRAY_SIZE(bits); set++) {
		bool all = (set & 7) == 7, none = !(set & 24);

		req.gfp = 0;
		for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
			req.gfp |= set >> i & 1 ? bits[i] : 0;
		req.flags = 0;
		assert_string_equal(class_name(&p, &req), all && none ? "high" : "low");
		req.flags = ALLOC_PAGE_CACHE;
		assert_string_equal(class_name(&p, &req), "low");
	}
	free(text);
}

static void only_rules_that_ask_for_more_are_asked(void **state)
{
	struct policy p;

	(void)state;
	parse(sound, &p);
	/* The table decides where order and type do. */
	assert_int_equal(p.class_of[4][MIGRATE_MOVABLE], 1);
	assert_int_equal(p.class_of[3][MIGRATE_MOVABLE], POLICY_CLASSES_MAX + 1);
	assert_int_equal(p.class_of[4][MIGRATE_UNMOVABLE], POLICY_CLASSES_MAX + 1);
	load("movable", &p);
	for (unsigned int order = 0; order < NR_ORDERS; order++)
		for (unsigned int type = 0; type < POLICY_TYPES; type++)
			assert_true(p.class_of[order][type] < p.nr_classes);
}

/* A rule of the model, and what of it the YAML says. */
struct model_rule {
	unsigned int class, first, last, what;
};

static const struct {
	const char *yaml;
	unsigned int types; /* 0: any */
	uint32_t with, without;
	int label; /* 0: either */
} model_asks[] = {
	{"", 0, 0, 0, 0},
	{", gfp: [ZERO]", 0, GFP_ZERO, 0, 0},
	{", gfp_without: [IO]", 0, 0, GFP_IO, 0},
	{", page_cache: true", 0, 0, 0, 1},
	{", page_cache: false, gfp: [HIGH]", 0, GFP_HIGH, 0, -1},
	{", gfp: [IO], gfp_without: [ZERO]", 0, GFP_IO, GFP_ZERO, 0},
	{", migratetypes: [Movable, Reclaimable]", 1 << MIGRATE_MOVABLE | 1 << MIGRATE_RECLAIMABLE,
	 0, 0, 0},
	{", migratetypes: [Unmovable, Isolate], gfp: [ZERO]",
	 1 << MIGRATE_UNMOVABLE | 1 << MIGRATE_ISOLATE, GFP_ZERO, 0, 0},
};

static bool model_takes(const struct model_rule *rule, const struct alloc_request *req)
{
	unsigned int type = req->migratetype < MIGRATE_TYPES ? req->migratetype : MIGRATE_UNMOVABLE;
	unsigned int types = model_asks[rule->what].types;
	uint32_t with = model_asks[rule->what].with, without = model_asks[rule->what].without;
	int label = model_asks[rule->what].label;

	if (req->order < rule->first || req->order > rule->last)
		return false;
	if (types && !(types >> type & 1))
		return false;
	if ((req->gfp & with) != with || (req->gfp & without) != 0)
		return false;
	return label == 0 || (label > 0) == ((req->flags & ALLOC_PAGE_CACHE) != 0);
}

/* Random rules, the last of which takes everything; @text gets the policy. */
static void model_make(struct model_rule *rules, char *text, size_t size, uint64_t *r)
{
	size_t n = below(r, 12);
	size_t at = (size_t)snprintf(text, size,
				     "name: x\ndescription: x\nclasses: [{name: a, slots: one}, "
				     "{name: b, slots: one}, {name: c, slots: one}]\nrules:\n");

	for (size_t i = 0; i <= n; i++) {
		unsigned int first = (unsigned int)below(r, NR_ORDERS);

		rules[i] = (struct model_rule){
			.class = (unsigned int)below(r, 3),
			.first = first,
			.last = first + (unsigned int)below(r, NR_ORDERS - first),
			.what = (unsigned int)below(r, ARRAY_SIZE(model_asks)),
		};
		if (i == n)
			rules[i] = (struct model_rule){.class = 2, .last = MAX_ORDER};
		at += (size_t)snprintf(text + at, size - at,
				       "  - {class: %c, orders: [%u, %u]%s}\n",
				       "abc"[rules[i].class], rules[i].first, rules[i].last,
				       model_asks[rules[i].what].yaml);
	}
	snprintf(text + at, size - at, "ranges: {perfect: [0, 1], good: [0, 1]}\n");
}

static void the_table_says_what_the_rules_say(void **state)
{
	uint64_t seed = 8, r = seed;
	unsigned int asked = 0;

	(void)state;
	for (unsigned int round = 0; round < 3000; round++) {
		struct model_rule rules[16];
		char text[4096];
		struct policy p;

		model_make(rules, text, sizeof(text), &r);
		if (policy_parse(text, strlen(text), "t.yaml", &p, NULL))
			continue; /* some rule is never asked, some class never meant */
		for (unsigned int i = 0; i < 300; i++) {
			struct alloc_request req = {
				.gfp = (uint32_t)test_random(&r),
				.order = (uint8_t)below(&r, NR_ORDERS),
				.migratetype = (uint8_t)below(&r, MIGRATE_TYPES + 3),
				.flags = (uint8_t)below(&r, 8),
			};
			const struct model_rule *rule = rules;

			while (!model_takes(rule, &req))
				rule++;
			asked += req.migratetype < MIGRATE_TYPES &&
				 p.class_of[req.order][req.migratetype] >= POLICY_CLASSES_MAX;
			if (policy_class_of(&p, &req, req.order) != rule->class)
				fail_msg("round %u (seed %llu):\n%s", round,
					 (unsigned long long)seed, text);
		}
	}
	assert_true(asked > 10000);
}

/* ---- slots ---- */

static void a_class_has_as_many_slots_as_it_says(void **state)
{
	static const struct {
		const char *slots;
		unsigned int of_seven, cpu_five, context_nine;
	} cases[] = {
		{"none", 0, 0, 0}, {"one", 1, 0, 0},	 {"cpus", 7, 5, 5},
		{"half", 4, 2, 2}, {"context", 7, 5, 9},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char new[32], *text;
		struct alloc_request req = {.cpu = 5, .context = 9};
		struct policy p;

		snprintf(new, sizeof(new), "slots: %s", cases[i].slots);
		text = changed("slots: cpus", new);
		parse(text, &p);
		free(text);
		assert_int_equal(policy_nr_slots(&p, 0, 7), cases[i].of_seven);
		assert_int_equal(policy_slot(&p, 0, &req), cases[i].cpu_five);
		req.flags = ALLOC_HAS_CONTEXT;
		assert_int_equal(policy_slot(&p, 0, &req), cases[i].context_nine);
		req.cpu = UINT16_MAX;
		req.flags = 0;
		if (cases[i].of_seven <= 1)
			assert_int_equal(policy_slot(&p, 0, &req), 0);
	}
}

/* ---- ratings ---- */

static void ratings_follow_class_order_and_ranges(void **state)
{
	struct policy p;

	(void)state;
	load("movable", &p);
	assert_int_equal(policy_rate(&p, IMMOVABLE, HUGE_CLASS, FRAMES, FRAMES).priority,
			 POLICY_PERFECT);
	assert_int_equal(policy_rate(&p, MOVABLE, IMMOVABLE, 100, FRAMES).verdict, POLICY_STEAL);
	assert_int_equal(policy_rate(&p, MOVABLE, HUGE_CLASS, 100, FRAMES).verdict, POLICY_DEMOTE);
	assert_int_equal(policy_rate(&p, MOVABLE, MOVABLE, 100, FRAMES).verdict, POLICY_MATCH);
	/* [size/64, size/2) is perfect, then [size/2, size), then the rest. */
	unsigned int least = policy_rate(&p, MOVABLE, MOVABLE, FRAMES / 64 - 1, FRAMES).priority;
	unsigned int perfect = policy_rate(&p, MOVABLE, MOVABLE, FRAMES / 64, FRAMES).priority;
	unsigned int good = policy_rate(&p, MOVABLE, MOVABLE, FRAMES / 2, FRAMES).priority;

	assert_int_equal(policy_rate(&p, MOVABLE, MOVABLE, FRAMES / 2 - 1, FRAMES).priority,
			 perfect);
	assert_int_equal(policy_rate(&p, MOVABLE, MOVABLE, FRAMES - 1, FRAMES).priority, good);
	assert_int_equal(perfect, POLICY_PERFECT);
	assert_true(least < good && good < perfect);
	assert_true(policy_rate(&p, MOVABLE, IMMOVABLE, 100, FRAMES).priority < least);
	assert_true(policy_rate(&p, IMMOVABLE, HUGE_CLASS, 100, FRAMES).priority <
		    policy_rate(&p, IMMOVABLE, MOVABLE, 10, FRAMES).priority);
}

static void ranges_are_the_policys_to_say(void **state)
{
	char *text = changed("perfect: [1, 32]", "perfect: [0, 0]");
	struct policy p;

	(void)state;
	parse(text, &p);
	free(text);
	/* No tree is perfect but a free one, and nearly empty ones are good. */
	assert_int_equal(policy_rate(&p, 0, 0, 0, FRAMES).priority,
			 policy_rate(&p, 0, 0, FRAMES / 2 - 1, FRAMES).priority);
	assert_true(policy_rate(&p, 0, 0, FRAMES / 2, FRAMES).priority >
		    policy_rate(&p, 0, 0, FRAMES / 2 - 1, FRAMES).priority);
	assert_true(policy_rate(&p, 0, 0, FRAMES - 1, FRAMES).priority < POLICY_PERFECT);
	assert_int_equal(policy_rate(&p, 0, 0, FRAMES, FRAMES).priority, POLICY_PERFECT);
}

/* ---- the shipped ones ---- */

static void shipped_policies_are_the_files_of_the_folder(void **state)
{
	char path[512];
	unsigned int built_in = 0, files = 0;
	struct dirent *entry;
	DIR *folder;

	(void)state;
	snprintf(path, sizeof(path), "%s/configs/policies", getenv("QUIRE_SOURCE"));
	folder = opendir(path);
	assert_non_null(folder);
	while ((entry = readdir(folder)))
		files += strstr(entry->d_name, ".yaml") != NULL;
	closedir(folder);
	for (; policy_names[built_in]; built_in++) {
		struct policy p, from_file;
		char text[8192];
		size_t n;

		load(policy_names[built_in], &p);
		assert_string_equal(p.name, policy_names[built_in]);
		n = read_shipped(p.name, text, sizeof(text));
		assert_int_equal(policy_parse(text, n, p.name, &from_file, NULL), 0);
		assert_memory_equal(&p, &from_file, sizeof(p));
	}
	assert_int_equal(built_in, files);
}

static void the_default_policy_is_what_it_was_before_it_was_data(void **state)
{
	static const char *const classes[] = {"immovable", "movable", "huge"};
	struct policy p;

	(void)state;
	load("movable", &p);
	assert_int_equal(p.nr_classes, 3);
	for (unsigned int i = 0; i < 3; i++) {
		assert_string_equal(p.classes[i].name, classes[i]);
		assert_int_equal(p.classes[i].slots, SLOTS_CPUS);
	}
	for (unsigned int order = 0; order < NR_ORDERS; order++) {
		for (unsigned int type = 0; type < 256; type++) {
			struct alloc_request req = {.gfp = 0x5555 * type,
						    .migratetype = (uint8_t)type,
						    .flags = (uint8_t)type};
			unsigned int expected = IMMOVABLE;

			if (order >= HUGE_ORDER)
				expected = HUGE_CLASS;
			else if (type == MIGRATE_MOVABLE || type == MIGRATE_CMA)
				expected = MOVABLE;
			assert_int_equal(policy_class_of(&p, &req, order), expected);
		}
	}
	for (unsigned int free = 0; free < FRAMES; free++) {
		unsigned int rank = free < FRAMES / 64 ? 501 : 502;

		if (free >= FRAMES / 64 && free < FRAMES / 2)
			rank = POLICY_PERFECT;
		assert_int_equal(policy_rate(&p, MOVABLE, MOVABLE, free, FRAMES).priority, rank);
	}
}

static void shipped_policies_sort_requests_as_they_say(void **state)
{
	/* What Linux asks for: see configs/policies/pagecache.yaml. */
	static const struct {
		const char *what, *gfp;
		unsigned int order, type;
		bool label;
		const char *simple, *movable, *pagecache, *reclaimable, *context;
	} cases[] = {
		{"kernel stack", "GFP_KERNEL_ACCOUNT|__GFP_ZERO", 2, MIGRATE_UNMOVABLE, false,
		 "small", "immovable", "immovable", "unmovable", "immovable"},
		{"dentries", "GFP_KERNEL|__GFP_RECLAIMABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
		 1, MIGRATE_RECLAIMABLE, false, "small", "immovable", "immovable", "reclaimable",
		 "immovable"},
		{"first touch", "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP", 0, MIGRATE_MOVABLE,
		 false, "small", "movable", "movable", "movable", "movable"},
		{"private copy", "GFP_HIGHUSER_MOVABLE", 0, MIGRATE_MOVABLE, false, "small",
		 "movable", "movable", "movable", "movable"},
		{"middle-sized folio", "GFP_TRANSHUGE|__GFP_NORETRY|__GFP_ZERO|__GFP_COMP", 4,
		 MIGRATE_MOVABLE, false, "small", "movable", "movable", "movable", "movable"},
		{"huge page", "GFP_TRANSHUGE_LIGHT|__GFP_ZERO", 9, MIGRATE_MOVABLE, false, "huge",
		 "huge", "huge", "huge", "huge"},
		{"read-ahead", "GFP_HIGHUSER_MOVABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP", 2,
		 MIGRATE_MOVABLE, false, "small", "movable", "pagecache", "movable", "movable"},
		{"buffered write", "GFP_HIGHUSER_MOVABLE|__GFP_WRITE", 0, MIGRATE_MOVABLE, false,
		 "small", "movable", "pagecache", "movable", "movable"},
		{"a mapping that must not enter the file system",
		 "GFP_NOFS|__GFP_HARDWALL|__GFP_HIGHMEM|__GFP_MOVABLE", 0, MIGRATE_MOVABLE, false,
		 "small", "movable", "pagecache", "movable", "movable"},
		{"block device", "GFP_NOFS|__GFP_HARDWALL|__GFP_MOVABLE|__GFP_NOFAIL", 0,
		 MIGRATE_MOVABLE, false, "small", "movable", "pagecache", "movable", "movable"},
		{"target of a migration", "GFP_USER|__GFP_MOVABLE|__GFP_RETRY_MAYFAIL", 0,
		 MIGRATE_MOVABLE, false, "small", "movable", "movable", "movable", "movable"},
		{"file fault, labelled", "GFP_HIGHUSER_MOVABLE", 0, MIGRATE_MOVABLE, true, "small",
		 "movable", "pagecache", "movable", "movable"},
		{"page cache that cannot move", "GFP_USER", 0, MIGRATE_UNMOVABLE, true, "small",
		 "immovable", "immovable", "unmovable", "immovable"},
		{"start snapshot", "__GFP_HIGHMEM|__GFP_MOVABLE", 0, MIGRATE_MOVABLE, false,
		 "small", "movable", "movable", "movable", "movable"},
	};
	struct policy p[5];

	(void)state;
	load("simple", &p[0]);
	load("movable", &p[1]);
	load("pagecache", &p[2]);
	load("reclaimable", &p[3]);
	load("context", &p[4]);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *expected[] = {cases[i].simple, cases[i].movable, cases[i].pagecache,
					  cases[i].reclaimable, cases[i].context};
		struct alloc_request req = request(cases[i].gfp, cases[i].order, cases[i].type);

		req.flags = cases[i].label ? ALLOC_PAGE_CACHE : 0;
		for (unsigned int k = 0; k < 5; k++)
			if (strcmp(class_name(&p[k], &req), expected[k]) != 0)
				fail_msg("%s under %s: %s", cases[i].what, p[k].name,
					 class_name(&p[k], &req));
	}
	assert_int_equal(p[4].classes[MOVABLE].slots, SLOTS_CONTEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_file_is_taken_at_its_word),
		cmocka_unit_test(whatever_is_wrong_with_a_file_is_told_in_one_line),
		cmocka_unit_test(what_holds_no_policy_at_all_is_refused),
		cmocka_unit_test(more_classes_or_rules_than_fit_are_refused),
		cmocka_unit_test(a_damaged_file_is_a_policy_or_a_message),
		cmocka_unit_test(the_first_rule_that_fits_wins),
		cmocka_unit_test(gfp_flags_must_all_be_set_or_none),
		cmocka_unit_test(only_rules_that_ask_for_more_are_asked),
		cmocka_unit_test(the_table_says_what_the_rules_say),
		cmocka_unit_test(a_class_has_as_many_slots_as_it_says),
		cmocka_unit_test(ratings_follow_class_order_and_ranges),
		cmocka_unit_test(ranges_are_the_policys_to_say),
		cmocka_unit_test(shipped_policies_are_the_files_of_the_folder),
		cmocka_unit_test(the_default_policy_is_what_it_was_before_it_was_data),
		cmocka_unit_test(shipped_policies_sort_requests_as_they_say),
	};

	return cmocka_run_group_tests_name("llfree_policy", tests, NULL, NULL);
}
