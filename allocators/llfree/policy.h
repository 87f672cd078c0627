/* SPDX-License-Identifier: MIT */
/*
 * Which requests share trees, as data: classes, the rules that map a request to one, how many
 * reservations a class has, and how trees are ranked for it. Nothing else in LLFree knows what a
 * class means.
 *
 * Classes are ordered: a request may use frames of a lower class's trees as they are (steal), and
 * takes a higher class's tree over (demote). The default class, which fresh and wholly free trees
 * carry, is the highest.
 */
#ifndef ALLOCATORS_LLFREE_POLICY_H
#define ALLOCATORS_LLFREE_POLICY_H

#include "allocators/allocator.h"

#define POLICY_CLASSES_MAX 8U
#define POLICY_RULES_MAX   16U

/* How many reservations a class has, and which of them a request uses. */
enum policy_slots {
	SLOTS_NONE,    /* none: single blocks from the trees */
	SLOTS_ONE,     /* one for all */
	SLOTS_CPUS,    /* one per cpu */
	SLOTS_HALF,    /* one per two cpus */
	SLOTS_CONTEXT, /* as many as cpus, chosen by the request's context */
};

struct policy_class {
	const char *name;
	enum policy_slots slots;
};

/* The first rule that fits a request gives its class. */
struct policy_rule {
	uint8_t min_order, max_order;
	uint8_t migratetypes; /* a bit per enum migratetype */
	uint8_t class;
};

#define POLICY_ANY_TYPE 0xffU

struct policy {
	const char *name;
	unsigned int nr_classes, nr_rules;
	struct policy_class classes[POLICY_CLASSES_MAX];
	struct policy_rule rules[POLICY_RULES_MAX];
	/* Free frames, in 64ths of a tree, [from, to): what makes a tree of its own class a perfect
	   or a good choice; all else is a last resort. */
	uint8_t perfect_from, perfect_to, good_from, good_to;
};

/* The built-in ones, by the names of policy_names[]. The first is the default. */
extern const struct policy policy_builtins[];
extern const char *const policy_names[]; /* NULL-terminated */

/* A policy's rules, worked out for every order and migratetype. */
struct policy_map {
	uint8_t class_of[NR_ORDERS][MIGRATE_TYPES];
};

/**
 * policy_compile - check a policy and work its rules out
 * Return: 0; -EINVAL: no classes or too many, ranges out of order, or a request without a class.
 */
int policy_compile(const struct policy *p, struct policy_map *map, struct error *err);

/** policy_class_of - a request's class; an unknown migratetype counts as unmovable. */
static inline unsigned int policy_class_of(const struct policy_map *map, unsigned int order,
					   unsigned int migratetype)
{
	return map->class_of[order][migratetype < MIGRATE_TYPES ? migratetype : MIGRATE_UNMOVABLE];
}

/** policy_default_class - the class of fresh trees. */
static inline unsigned int policy_default_class(const struct policy *p)
{
	return p->nr_classes - 1;
}

/** policy_nr_slots - how many reservations a class has on a machine of @nr_cpus. */
unsigned int policy_nr_slots(const struct policy *p, unsigned int class, unsigned int nr_cpus);

/** policy_slot - which of them a request uses; the caller reduces it modulo their number. */
static inline unsigned int policy_slot(const struct policy *p, unsigned int class,
				       const struct alloc_request *req)
{
	switch (p->classes[class].slots) {
	case SLOTS_CPUS:
		return req->cpu;
	case SLOTS_HALF:
		return req->cpu / 2U;
	case SLOTS_CONTEXT:
		return req->flags & ALLOC_HAS_CONTEXT ? req->context : req->cpu;
	default:
		return 0;
	}
}

enum policy_verdict {
	POLICY_INVALID, /* hands off */
	POLICY_DEMOTE,	/* take the tree over */
	POLICY_STEAL,	/* use its frames, keep its class */
	POLICY_MATCH,	/* reserve it */
};

struct policy_rating {
	enum policy_verdict verdict;
	unsigned int priority; /* higher is better, among all verdicts */
};

#define POLICY_PERFECT 1000U /* priority of a tree to be taken without looking further */

/**
 * policy_rate - may a request of class @requested use a tree, and how gladly?
 * @class, @free: the tree's class and free frames
 * @tree_frames: frames of a whole tree
 */
struct policy_rating policy_rate(const struct policy *p, unsigned int requested, unsigned int class,
				 uint64_t free, uint64_t tree_frames);

#endif
