/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/policy.h"

#include <errno.h>

#include "base/bits.h"

#define TYPE(mt) (1U << (mt))

const struct policy policy_builtins[] = {
	{
		.name = "movable",
		.nr_classes = 3,
		.classes =
			{
				{.name = "immovable", .slots = SLOTS_CPUS},
				{.name = "movable", .slots = SLOTS_CPUS},
				{.name = "huge", .slots = SLOTS_CPUS},
			},
		.nr_rules = 3,
		.rules =
			{
				{HUGE_ORDER, MAX_ORDER, POLICY_ANY_TYPE, 2},
				{0, MAX_ORDER, TYPE(MIGRATE_MOVABLE) | TYPE(MIGRATE_CMA), 1},
				{0, MAX_ORDER, POLICY_ANY_TYPE, 0},
			},
		.perfect_from = 1,
		.perfect_to = 32,
		.good_from = 32,
		.good_to = 65,
	},
	{
		.name = "simple",
		.nr_classes = 2,
		.classes =
			{
				{.name = "small", .slots = SLOTS_CPUS},
				{.name = "huge", .slots = SLOTS_CPUS},
			},
		.nr_rules = 2,
		.rules =
			{
				{HUGE_ORDER, MAX_ORDER, POLICY_ANY_TYPE, 1},
				{0, MAX_ORDER, POLICY_ANY_TYPE, 0},
			},
		.perfect_from = 1,
		.perfect_to = 32,
		.good_from = 32,
		.good_to = 65,
	},
};

const char *const policy_names[] = {"movable", "simple", NULL};

_Static_assert(ARRAY_SIZE(policy_builtins) + 1 == ARRAY_SIZE(policy_names), "one name each");

int policy_compile(const struct policy *p, struct policy_map *map, struct error *err)
{
	if (p->nr_classes == 0 || p->nr_classes > POLICY_CLASSES_MAX ||
	    p->nr_rules > POLICY_RULES_MAX)
		return error_set(
			err, EINVAL, "policy %s: %u classes, %u rules; use 1 to %u and at most %u",
			p->name, p->nr_classes, p->nr_rules, POLICY_CLASSES_MAX, POLICY_RULES_MAX);
	if (p->perfect_from > p->perfect_to || p->good_from > p->good_to)
		return error_set(err, EINVAL, "policy %s: a range ends before it begins", p->name);

	for (unsigned int order = 0; order < NR_ORDERS; order++) {
		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
			const struct policy_rule *r = p->rules, *end = r + p->nr_rules;

			while (r < end && (order < r->min_order || order > r->max_order ||
					   !(r->migratetypes & TYPE(mt))))
				r++;
			if (r == end || r->class >= p->nr_classes)
				return error_set(
					err, EINVAL,
					"policy %s: no class for order %u, type %s; add a rule",
					p->name, order, migratetype_name(mt));
			map->class_of[order][mt] = r->class;
		}
	}
	return 0;
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

/* 3 perfect, 2 good, 1 last resort. */
static unsigned int rank(const struct policy *p, uint64_t free, uint64_t tree_frames)
{
	uint64_t share = free * 64; /* compared with 64ths x tree_frames */

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
