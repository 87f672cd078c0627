/* SPDX-License-Identifier: MIT */
/*
 * Which requests share trees, as data: classes, the rules that map a request to one, how many
 * reservations a class has, and how trees are ranked for it. Policies are YAML files, the shipped
 * ones part of the program (configs/policies/, docs/policies.md). Nothing else in LLFree knows what
 * a class means.
 *
 * Classes are ordered: a request may use frames of a lower class's trees as they are (steal), and
 * takes a higher class's tree over (demote). The default class, which fresh and wholly free trees
 * carry, is the highest.
 *
 * A policy is a plain value without pointers: it is copied, embedded and read by any thread.
 */
#ifndef ALLOCATORS_LLFREE_POLICY_H
#define ALLOCATORS_LLFREE_POLICY_H

#include "allocators/allocator.h"

#define POLICY_CLASSES_MAX 8U
#define POLICY_RULES_MAX   32U
#define POLICY_NAME_MAX	   30U
#define POLICY_SHARES	   64U /* what ranges count in: 64ths of a tree */

/* How many reservations a class has, and which of them a request uses. */
enum policy_slots {
	SLOTS_NONE,    /* none: single blocks from the trees */
	SLOTS_ONE,     /* one for all */
	SLOTS_CPUS,    /* one per cpu */
	SLOTS_HALF,    /* one per two cpus */
	SLOTS_CONTEXT, /* as many as cpus, chosen by the request's context */
};

struct policy_class {
	char name[POLICY_NAME_MAX + 1];
	uint8_t slots; /* enum policy_slots */
};

/* Beside the gfp flags, which end far below, in the facts a rule asks for. */
#define POLICY_FACT_PAGE_CACHE (UINT32_C(1) << 31)

/* The first rule that fits a request gives its class. */
struct policy_rule {
	uint32_t asked, expected; /* gfp flags and POLICY_FACT_: which of them matter, and how */
	uint16_t orders;	  /* a bit each */
	uint8_t migratetypes;	  /* a bit per enum migratetype */
	uint8_t class;
};

/* Column of class_of for a migratetype nobody knows; it counts as unmovable. */
#define POLICY_TYPE_UNKNOWN MIGRATE_TYPES
#define POLICY_TYPES	    8

struct policy {
	char name[POLICY_NAME_MAX + 1];
	uint8_t nr_classes, nr_rules;
	/* Free frames, in 64ths of a tree, [from, to): what makes a tree of its own class a perfect
	   or a good choice; all else is a last resort. */
	uint8_t perfect_from, perfect_to, good_from, good_to;
	struct policy_class classes[POLICY_CLASSES_MAX];
	struct policy_rule rules[POLICY_RULES_MAX];
	/* The rules, worked out: a class; or, where order and migratetype alone do not decide,
	   POLICY_CLASSES_MAX plus the first rule to ask. */
	uint8_t class_of[NR_ORDERS][POLICY_TYPES];
};

/* The shipped ones, by name; NULL-terminated. */
extern const char *const policy_names[];

/**
 * policy_parse - read a policy from YAML (docs/policies.md) and work its rules out
 * @text: @length bytes, not to be trusted
 * @source: what messages call it
 * Return: 0; -ENOMEM; -EINVAL: it is not a policy, or one that leaves a request without a class or
 * has a rule or class nothing reaches. The message names the place and the remedy.
 */
int policy_parse(const char *text, size_t length, const char *source, struct policy *p,
		 struct error *err);

/** policy_load - a shipped policy. Return: 0; -ENOENT: no such name; -ENOMEM. */
int policy_load(const char *name, struct policy *p, struct error *err);

/** The policy the option "policy" names: a shipped one, or a file's. Errors as policy_parse(). */
int policy_of_options(const struct alloc_env *env, struct policy *p);

/* The rules from the @first one on, asked one by one; one of them fits. */
unsigned int policy_ask_rules(const struct policy *p, unsigned int first,
			      const struct alloc_request *req, unsigned int order);

/**
 * policy_class_of - a request's class
 * @order: that of the allocation, which a free of a part need not have
 */
static inline unsigned int policy_class_of(const struct policy *p, const struct alloc_request *req,
					   unsigned int order)
{
	unsigned int type =
		req->migratetype < MIGRATE_TYPES ? req->migratetype : POLICY_TYPE_UNKNOWN;
	unsigned int class = p->class_of[order][type];

	if (__builtin_expect(class < POLICY_CLASSES_MAX, 1))
		return class;
	return policy_ask_rules(p, class - POLICY_CLASSES_MAX, req, order);
}

/** policy_default_class - the class of fresh trees. */
static inline unsigned int policy_default_class(const struct policy *p)
{
	return p->nr_classes - 1U;
}

/** policy_nr_slots - how many reservations a class has on a machine of @nr_cpus. */
unsigned int policy_nr_slots(const struct policy *p, unsigned int class, unsigned int nr_cpus);

/** policy_slot - which of them a request uses; the caller reduces it modulo their number. */
static inline unsigned int policy_slot(const struct policy *p, unsigned int class,
				       const struct alloc_request *req)
{
	/* Of a 16-bit cpu: all of it, a pair's number, or nothing. */
	static const uint8_t shift[] = {
		[SLOTS_NONE] = 16, [SLOTS_ONE] = 16,	[SLOTS_CPUS] = 0,
		[SLOTS_HALF] = 1,  [SLOTS_CONTEXT] = 0,
	};
	unsigned int slots = p->classes[class].slots;

	if (slots == SLOTS_CONTEXT && (req->flags & ALLOC_HAS_CONTEXT))
		return req->context;
	return (unsigned int)req->cpu >> shift[slots];
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
