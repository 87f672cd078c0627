/* SPDX-License-Identifier: MIT */
/*
 * Two steps: libcyaml sees to the form (which keys there are, which of them are lists), all values as
 * text; then the texts are given their meaning and the rules are worked out here, so that the message
 * of a wrong value can say what would be right.
 */
#include "allocators/llfree/policy.h"

#include <assert.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "sim/gfp.h"

#define TYPE(mt) (1U << (mt))
#define ANY_TYPE 0xffU

/* configs/policies/, in the order of policy_names[] */
extern const char *const policy_texts[];

/* ---- form ---- */

struct text_list {
	char **text;
	unsigned int n;
};

struct yaml_class {
	char *name, *slots;
};

struct yaml_rule {
	char *class, **orders, *page_cache;
	struct text_list migratetypes, gfp, gfp_without;
};

struct yaml_ranges {
	char *perfect[2], *good[2];
};

struct yaml_policy {
	char *name, *description;
	struct yaml_class *classes;
	unsigned int nr_classes;
	struct yaml_rule *rules;
	unsigned int nr_rules;
	struct yaml_ranges ranges;
};

#define NEEDED	 CYAML_FLAG_POINTER
#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

#define TEXT(member, flags, structure)                                                             \
	CYAML_FIELD_STRING_PTR(#member, flags, structure, member, 1, CYAML_UNLIMITED)
#define LIST(member, structure)                                                                    \
	{                                                                                          \
		.key = #member, .data_offset = offsetof(structure, member.text),                   \
		.count_offset = offsetof(structure, member.n), .count_size = sizeof(unsigned int), \
		.value = {CYAML_VALUE_SEQUENCE(OPTIONAL, char *, &any_text, 1, CYAML_UNLIMITED)},  \
	}

static const cyaml_schema_value_t any_text = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, CYAML_UNLIMITED),
};

static const cyaml_schema_field_t class_fields[] = {
	TEXT(name, NEEDED, struct yaml_class),
	TEXT(slots, NEEDED, struct yaml_class),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t any_class = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_class, class_fields),
};

static const cyaml_schema_field_t rule_fields[] = {
	TEXT(class, NEEDED, struct yaml_rule),
	CYAML_FIELD_SEQUENCE_FIXED("orders", OPTIONAL, struct yaml_rule, orders, &any_text, 2),
	LIST(migratetypes, struct yaml_rule),
	LIST(gfp, struct yaml_rule),
	LIST(gfp_without, struct yaml_rule),
	TEXT(page_cache, OPTIONAL, struct yaml_rule),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t any_rule = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_rule, rule_fields),
};

static const cyaml_schema_field_t ranges_fields[] = {
	CYAML_FIELD_SEQUENCE_FIXED("perfect", CYAML_FLAG_DEFAULT, struct yaml_ranges, perfect,
				   &any_text, 2),
	CYAML_FIELD_SEQUENCE_FIXED("good", CYAML_FLAG_DEFAULT, struct yaml_ranges, good, &any_text,
				   2),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t policy_fields[] = {
	TEXT(name, NEEDED, struct yaml_policy),
	TEXT(description, NEEDED, struct yaml_policy),
	CYAML_FIELD_SEQUENCE_COUNT("classes", NEEDED, struct yaml_policy, classes, nr_classes,
				   &any_class, 1, CYAML_UNLIMITED),
	CYAML_FIELD_SEQUENCE_COUNT("rules", NEEDED, struct yaml_policy, rules, nr_rules, &any_rule,
				   1, CYAML_UNLIMITED),
	CYAML_FIELD_MAPPING("ranges", CYAML_FLAG_DEFAULT, struct yaml_policy, ranges,
			    ranges_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t whole_policy = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_policy, policy_fields),
};

/* What libcyaml had to say: its first line, and the place its backtrace begins with. */
struct complaint {
	char what[160];
	unsigned int line, column; /* from 1; 0: it named none */
};

static void listen(cyaml_log_t level, void *context, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

static void listen(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
	struct complaint *c = context;
	char line[256];
	const char *at;

	(void)level;
	vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "  in ", 5) == 0) {
		at = strstr(line, "(line: ");
		if (!c->line && at)
			sscanf(at, "(line: %u, column: %u)", &c->line, &c->column);
	} else if (!c->what[0] && !strstr(line, "Backtrace")) {
		at = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
		snprintf(c->what, sizeof(c->what), "%.*s", (int)sizeof(c->what) - 1, at);
	}
}

/* Of a key it does not like, libcyaml names the place of what comes before: go on to the key itself. */
static void go_to_key(struct complaint *c, const char *key, const char *text, size_t length)
{
	const char *end = text + length, *at = text;
	size_t n = strlen(key);

	for (unsigned int line = 1; at && line < c->line; line++) {
		at = memchr(at, '\n', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	if (!at || (size_t)(end - at) < c->column)
		return;
	for (at += c->column - (c->column > 0); (at = memmem(at, (size_t)(end - at), key, n));
	     at++) {
		if (at + n < end && at[n] == ':')
			break;
	}
	if (!at)
		return;
	c->line = c->column = 1;
	for (const char *before = text; before < at; before++) {
		c->column = *before == '\n' ? 1 : c->column + 1;
		c->line += *before == '\n';
	}
}

/* The key a misspelt one most likely meant, or NULL. */
static const char *nearest_key(const char *word)
{
	const cyaml_schema_field_t *const tables[] = {policy_fields, class_fields, rule_fields,
						      ranges_fields};
	const char *keys[32];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const cyaml_schema_field_t *f = tables[i]; f->key; f++) {
			assert(n + 1 < ARRAY_SIZE(keys));
			keys[n++] = f->key;
		}
	}
	keys[n] = NULL;
	return nearest_name(word, keys);
}

/* What libcyaml calls a type or an event, for people. */
static const char *kind_of(const char *word)
{
	if (strncmp(word, "MAPPING", 7) == 0)
		return "a mapping, 'key: value'";
	if (strncmp(word, "SEQUENCE", 8) == 0)
		return "a list, '[a, b]'";
	return "a single value";
}

/* libcyaml's words in ours, with a remedy. */
static int refuse_form(cyaml_err_t code, struct complaint *c, const char *text, size_t length,
		       struct error *err)
{
	const char *colon = strstr(c->what, ": "), *word = colon ? colon + 2 : "", *near;
	char where[64] = "";

	if (word[0] && (code == CYAML_ERR_INVALID_KEY || code == CYAML_ERR_UNEXPECTED_EVENT))
		go_to_key(c, word, text, length);
	if (c->line)
		snprintf(where, sizeof(where), "line %u, column %u: ", c->line, c->column);
	switch (code) {
	case CYAML_OK:
		return error_set(err, EINVAL, "%s; keep one document", c->what);
	case CYAML_ERR_OOM:
	case CYAML_ERR_LIBYAML_PARSER_INIT: /* which does nothing but allocate */
		return error_set(err, ENOMEM, "no memory");
	case CYAML_ERR_INVALID_KEY:
		near = nearest_key(word);
		if (near && strcmp(near, word) == 0)
			return error_set(err, EINVAL,
					 "%sthe key '%s' does not belong here; docs/policies.md "
					 "says where",
					 where, word);
		return error_set(err, EINVAL, "%sunknown key '%s'; %s%s%s", where, word,
				 near ? "did you mean '" : "docs/policies.md lists what there is",
				 near ? near : "", near ? "'?" : "");
	case CYAML_ERR_MAPPING_FIELD_MISSING:
		return error_set(err, EINVAL, "%safter this the key '%s' is missing; add it", where,
				 word);
	case CYAML_ERR_ALIAS:
		return error_set(err, EINVAL, "%san alias; write out in full what it stands for",
				 where);
	case CYAML_ERR_LIBYAML_PARSER:
		/* libyaml has words for every problem but this one. */
		if (strcmp(word, "(null)") == 0)
			return error_set(err, ENOMEM, "no memory");
		return error_set(err, EINVAL,
				 "%sthis is not YAML: %s; look for what is out of line or not "
				 "closed, from there on",
				 where, word[0] ? word : c->what);
	case CYAML_ERR_STRING_LENGTH_MIN:
		return error_set(err, EINVAL, "%san empty value; give one", where);
	case CYAML_ERR_SEQUENCE_ENTRIES_MIN:
	case CYAML_ERR_SEQUENCE_ENTRIES_MAX:
		return error_set(err, EINVAL, "%sa list of the wrong length; give %s", where,
				 strstr(c->what, "of 2 min") || strstr(c->what, "(2 max)")
					 ? "two numbers, [from, to]"
					 : "at least one entry, or leave the key out");
	case CYAML_ERR_INVALID_VALUE:
		word = strstr(c->what, "got event: ");
		if (strncmp(c->what, "Expecting ", 10) == 0 && word)
			return error_set(err, EINVAL, "%s%s where %s belongs; see docs/policies.md",
					 where, kind_of(word + 11), kind_of(c->what + 10));
		return error_set(err, EINVAL, "%s%s; see docs/policies.md", where, c->what);
	case CYAML_ERR_UNEXPECTED_EVENT:
		return error_set(err, EINVAL, "%sa second '%s'; keep one of them", where, word);
	default:
		return error_set(err, EINVAL, "%s%s; see docs/policies.md", where,
				 c->what[0] ? c->what : cyaml_strerror(code));
	}
}

/* ---- meaning ---- */

/* A decimal number up to @max, and nothing else. */
static int read_number(const char *text, unsigned int max, uint8_t *value, struct error *err)
{
	unsigned int v = 0;
	const char *c = text;

	while (*c >= '0' && *c <= '9' && v <= max)
		v = v * 10 + (unsigned int)(*c++ - '0');
	if (*c || v > max || (text[0] == '0' && text[1]))
		return error_set(err, EINVAL, "'%s' is not a whole number from 0 to %u; give one",
				 text, max);
	*value = (uint8_t)v;
	return 0;
}

/* [from, to] */
static int read_pair(char *const text[2], unsigned int max, uint8_t *from, uint8_t *to,
		     struct error *err)
{
	int ret = read_number(text[0], max, from, err);

	if (ret == 0)
		ret = read_number(text[1], max, to, err);
	if (ret == 0 && *from > *to)
		ret = error_set(err, EINVAL, "it ends before it begins; write the lower one first");
	return ret;
}

/* The index of @text among @names, which end with NULL. */
static int read_choice(const char *text, const char *const *names, unsigned int *index,
		       struct error *err)
{
	const char *near = nearest_name(text, names);
	char list[256] = "";

	for (*index = 0; names[*index]; ++*index) {
		if (strcmp(names[*index], text) == 0)
			return 0;
	}
	if (near)
		return error_set(err, EINVAL, "'%s' is none; did you mean '%s'?", text, near);
	for (unsigned int i = 0, at = 0; names[i] && at < sizeof(list); i++)
		at += (unsigned int)snprintf(list + at, sizeof(list) - at, "%s%s", i ? ", " : "",
					     names[i]);
	return error_set(err, EINVAL, "'%s' is none; choose among %s", text, list);
}

static int read_name(const char *text, char name[POLICY_NAME_MAX + 1], struct error *err)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	if (text[length] || length > POLICY_NAME_MAX)
		return error_set(err, EINVAL,
				 "'%s' is not a name; take up to %u of a-z, 0-9, '_' and '-'", text,
				 POLICY_NAME_MAX);
	memcpy(name, text, length + 1);
	return 0;
}

static int read_gfp(const struct text_list *list, uint32_t *gfp, struct error *err)
{
	for (unsigned int i = 0; i < list->n; i++) {
		const char *text = list->text[i];
		char name[64];
		uint32_t bit;

		snprintf(name, sizeof(name), "%s%s", strstr(text, "GFP_") ? "" : "__GFP_", text);
		bit = gfp_bit(name, strlen(name));
		if (!bit)
			return error_set(err, EINVAL,
					 "no flag '%s'; give single ones, such as ZERO or "
					 "__GFP_NORETRY, not GFP_KERNEL",
					 text);
		*gfp |= bit;
	}
	return 0;
}

static int read_types(const struct text_list *list, uint8_t *types, struct error *err)
{
	const char *names[MIGRATE_TYPES + 1] = {NULL};
	unsigned int type;

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		names[mt] = migratetype_name(mt);
	*types = list->n ? 0 : ANY_TYPE;
	for (unsigned int i = 0; i < list->n; i++) {
		int ret = read_choice(list->text[i], names, &type, err);

		if (ret < 0)
			return ret;
		*types |= (uint8_t)TYPE(type);
	}
	return 0;
}

static int read_class_of_rule(const struct policy *p, const char *text, uint8_t *class,
			      struct error *err)
{
	const char *names[POLICY_CLASSES_MAX + 1] = {NULL};
	unsigned int index;
	int ret;

	for (unsigned int i = 0; i < p->nr_classes; i++)
		names[i] = p->classes[i].name;
	ret = read_choice(text, names, &index, err);
	*class = (uint8_t)index;
	return ret;
}

/* Name the key a message is about. */
static int in_key(int ret, const char *key, struct error *err)
{
	return ret < 0 ? error_prefix(err, "%s", key) : 0;
}

/* The keys that only the request itself answers. */
static int read_facts(const struct yaml_rule *y, struct policy_rule *r, struct error *err)
{
	static const char *const booleans[] = {"true", "false", NULL};
	uint32_t gfp = 0, without = 0;
	unsigned int answer;
	int ret = in_key(read_gfp(&y->gfp, &gfp, err), "gfp", err);

	if (ret == 0)
		ret = in_key(read_gfp(&y->gfp_without, &without, err), "gfp_without", err);
	if (ret == 0 && (gfp & without))
		ret = error_set(err, EINVAL,
				"gfp and gfp_without name the same flag; nothing is both");
	r->asked = gfp | without;
	r->expected = gfp;
	if (ret == 0 && y->page_cache) {
		ret = in_key(read_choice(y->page_cache, booleans, &answer, err), "page_cache", err);
		r->asked |= POLICY_FACT_PAGE_CACHE;
		r->expected |= answer == 0 ? POLICY_FACT_PAGE_CACHE : 0;
	}
	return ret;
}

static int read_rule(const struct yaml_rule *y, const struct policy *p, struct policy_rule *r,
		     struct error *err)
{
	uint8_t first = 0, last = MAX_ORDER;
	int ret = in_key(read_class_of_rule(p, y->class, &r->class, err), "class", err);

	if (ret == 0 && y->orders)
		ret = in_key(read_pair(y->orders, MAX_ORDER, &first, &last, err), "orders", err);
	r->orders = (uint16_t)(low_bits(last + 1U) & ~low_bits(first));
	if (ret == 0)
		ret = in_key(read_types(&y->migratetypes, &r->migratetypes, err), "migratetypes",
			     err);
	return ret ? ret : read_facts(y, r, err);
}

static int read_class(const struct yaml_class *y, struct policy *p, struct policy_class *c,
		      struct error *err)
{
	static const char *const slots[] = {
		[SLOTS_NONE] = "none", [SLOTS_ONE] = "one",	    [SLOTS_CPUS] = "cpus",
		[SLOTS_HALF] = "half", [SLOTS_CONTEXT] = "context", NULL,
	};
	unsigned int index = SLOTS_NONE;
	int ret = in_key(read_name(y->name, c->name, err), "name", err);

	if (ret == 0)
		ret = in_key(read_choice(y->slots, slots, &index, err), "slots", err);
	c->slots = (uint8_t)index;
	for (const struct policy_class *other = p->classes; ret == 0 && other < c; other++) {
		if (strcmp(other->name, c->name) == 0)
			ret = error_set(err, EINVAL,
					"name: there is a '%s' already; give it another", c->name);
	}
	return ret;
}

static int read_lists(const struct yaml_policy *y, struct policy *p, struct error *err)
{
	if (y->nr_classes > POLICY_CLASSES_MAX)
		return error_set(err, EINVAL,
				 "classes: %u are too many; at most %u can be told apart",
				 y->nr_classes, POLICY_CLASSES_MAX);
	if (y->nr_rules > POLICY_RULES_MAX)
		return error_set(err, EINVAL, "rules: %u are too many; give at most %u",
				 y->nr_rules, POLICY_RULES_MAX);
	for (; p->nr_classes < y->nr_classes; p->nr_classes++) {
		unsigned int i = p->nr_classes;

		if (read_class(&y->classes[i], p, &p->classes[i], err) < 0)
			return error_prefix(err, "class %u", i + 1);
	}
	for (; p->nr_rules < y->nr_rules; p->nr_rules++) {
		unsigned int i = p->nr_rules;

		if (read_rule(&y->rules[i], p, &p->rules[i], err) < 0)
			return error_prefix(err, "rule %u", i + 1);
	}
	return 0;
}

static int read_policy(const struct yaml_policy *y, struct policy *p, struct error *err)
{
	int ret = in_key(read_name(y->name, p->name, err), "name", err);

	if (ret == 0)
		ret = read_lists(y, p, err);
	if (ret == 0)
		ret = in_key(read_pair(y->ranges.perfect, POLICY_SHARES, &p->perfect_from,
				       &p->perfect_to, err),
			     "ranges: perfect", err);
	if (ret == 0)
		ret = in_key(
			read_pair(y->ranges.good, POLICY_SHARES, &p->good_from, &p->good_to, err),
			"ranges: good", err);
	return ret;
}

/* ---- rules ---- */

/* By what the table knows: order and migratetype. */
static bool rule_fits(const struct policy_rule *r, unsigned int order, unsigned int type)
{
	return (unsigned int)r->orders >> order & (unsigned int)r->migratetypes >> type & 1;
}

/* The entry of one order and migratetype; @reached gains a bit for each rule that may decide it. */
static int work_out(struct policy *p, unsigned int order, unsigned int type, uint32_t *reached,
		    struct error *err)
{
	unsigned int first = p->nr_rules;
	bool same = true;

	for (unsigned int i = 0; i < p->nr_rules; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (!rule_fits(r, order, type))
			continue;
		first = (unsigned int)min_u64(first, i);
		same &= r->class == p->rules[first].class;
		*reached |= UINT32_C(1) << i;
		if (!r->asked) {
			p->class_of[order][type] =
				(uint8_t)(same ? r->class : POLICY_CLASSES_MAX + first);
			return 0;
		}
	}
	return error_set(
		err, EINVAL,
		"rules: order %u, %s: none fits whatever the gfp flags and the label; add a "
		"last one with neither, such as '- {class: %s}'",
		order, migratetype_name(type), p->classes[0].name);
}

static int compile(struct policy *p, struct error *err)
{
	uint32_t reached = 0;
	unsigned int classes = 0;

	for (unsigned int order = 0; order < NR_ORDERS; order++) {
		for (unsigned int type = 0; type < MIGRATE_TYPES; type++) {
			int ret = work_out(p, order, type, &reached, err);

			if (ret < 0)
				return ret;
		}
		for (unsigned int type = POLICY_TYPE_UNKNOWN; type < POLICY_TYPES; type++)
			p->class_of[order][type] = p->class_of[order][MIGRATE_UNMOVABLE];
	}
	for (unsigned int i = 0; i < p->nr_rules; i++) {
		if (!(reached >> i & 1))
			return error_set(
				err, EINVAL,
				"rule %u: never asked, since those above it leave nothing; "
				"move it up or leave it out",
				i + 1);
		classes |= 1U << p->rules[i].class;
	}
	for (unsigned int i = 0; i < p->nr_classes; i++) {
		if (!(classes >> i & 1))
			return error_set(
				err, EINVAL,
				"class %u (%s): no rule leads to it; add one or leave it out",
				i + 1, p->classes[i].name);
	}
	return 0;
}

unsigned int policy_ask_rules(const struct policy *p, unsigned int first,
			      const struct alloc_request *req, unsigned int order)
{
	unsigned int type = req->migratetype < MIGRATE_TYPES ? req->migratetype : MIGRATE_UNMOVABLE;
	uint32_t facts = req->gfp & ~POLICY_FACT_PAGE_CACHE;
	const struct policy_rule *r = &p->rules[first];

	if (req->flags & ALLOC_PAGE_CACHE)
		facts |= POLICY_FACT_PAGE_CACHE;
	/* Ends: compile() has seen one that asks nothing. */
	while ((facts & r->asked) != r->expected || !rule_fits(r, order, type))
		r++;
	return r->class;
}

/* ---- sources ---- */

int policy_parse(const char *text, size_t length, const char *source, struct policy *p,
		 struct error *err)
{
	struct complaint complaint = {.what = ""};
	const cyaml_config_t config = {
		.log_fn = listen,
		.log_ctx = &complaint,
		.log_level = CYAML_LOG_WARNING,
		.mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	struct yaml_policy *y = NULL;
	struct error local = {.code = 0};
	cyaml_err_t code = cyaml_load_data((const uint8_t *)text, length, &config, &whole_policy,
					   (cyaml_data_t **)&y, NULL);
	int ret;

	*p = (struct policy){.nr_classes = 0};
	/* What it merely warns of, such as a second document it skips, is wrong here too. */
	if (code != CYAML_OK || complaint.what[0])
		ret = refuse_form(code, &complaint, text, length, &local);
	else if (!y)
		ret = error_set(&local, EINVAL,
				"empty; see docs/policies.md for what belongs there");
	else
		ret = read_policy(y, p, &local);
	if (y)
		cyaml_free(&config, &whole_policy, y, 0);
	if (ret == 0)
		ret = compile(p, &local);
	return ret < 0 ? error_set(err, -ret, "%s: %s", source, local.text) : 0;
}

int policy_load(const char *name, struct policy *p, struct error *err)
{
	for (unsigned int i = 0; policy_names[i]; i++) {
		if (strcmp(policy_names[i], name) == 0)
			return policy_parse(policy_texts[i], strlen(policy_texts[i]), name, p, err);
	}
	return error_set(err, ENOENT,
			 "no policy '%s' is built in; choose one that option policy lists", name);
}

int policy_of_options(const struct alloc_env *env, struct policy *p)
{
	const char *name = env->option_string(env, "policy");
	size_t length;
	const char *text = env->option_file(env, "policy", &length);

	return text ? policy_parse(text, length, name, p, env->error)
		    : policy_load(name, p, env->error);
}

unsigned int policy_nr_slots(const struct policy *p, unsigned int class, unsigned int nr_cpus)
{
	switch (p->classes[class].slots) {
	case SLOTS_CPUS:
	case SLOTS_CONTEXT:
		return nr_cpus;
	case SLOTS_HALF:
		return (nr_cpus + 1) / 2;
	case SLOTS_ONE:
		return 1;
	default:
		return 0;
	}
}

/* ---- ratings ---- */

/* 3 perfect, 2 good, 1 last resort. */
static unsigned int rank(const struct policy *p, uint64_t free, uint64_t tree_frames)
{
	uint64_t share = free * POLICY_SHARES; /* compared with 64ths x tree_frames */

	if (share >= p->perfect_from * tree_frames && share < p->perfect_to * tree_frames)
		return 3;
	if (share >= p->good_from * tree_frames && share < p->good_to * tree_frames)
		return 2;
	return 1;
}

struct policy_rating policy_rate(const struct policy *p, unsigned int requested, unsigned int class,
				 uint64_t free, uint64_t tree_frames)
{
	/* Nothing in a wholly free tree minds. */
	if (free == tree_frames)
		return (struct policy_rating){POLICY_MATCH, POLICY_PERFECT};

	unsigned int r = rank(p, free, tree_frames);

	/* Same class before stealing before demoting; of each, nearer classes first, then rank. */
	if (requested == class)
		return (struct policy_rating){POLICY_MATCH, r == 3 ? POLICY_PERFECT : 500 + r};
	if (requested > class)
		return (struct policy_rating){POLICY_STEAL, 300 + 10 * (class + 8 - requested) + r};
	return (struct policy_rating){POLICY_DEMOTE, 100 + 10 * (requested + 8 - class) + r};
}
