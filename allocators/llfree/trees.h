/* SPDX-License-Identifier: MIT */
/*
 * One 32-bit entry per tree of N children: free frames, class, and whether a slot has reserved it.
 * While it is reserved its free frames belong to the slot, and the entry counts only what others
 * freed into it since. Volatile: rebuilt from the children.
 *
 * All functions but those for set-up are lock-free and may run at once.
 */
#ifndef ALLOCATORS_LLFREE_TREES_H
#define ALLOCATORS_LLFREE_TREES_H

#include "allocators/llfree/atom.h"
#include "allocators/llfree/policy.h"

struct trees {
	_Atomic uint32_t *entries; /* nr */
	uint64_t nr;
	uint32_t frames; /* of a whole tree */
	const struct policy *policy;
};

/* An entry, unpacked. */
struct tree {
	uint32_t free;
	unsigned int class;
	bool reserved;
};

/** tree_load - the entry of tree @t */
struct tree tree_load(const struct trees *trees, uint64_t t);

/** tree_set - set-up: an unreserved tree. A wholly free one gets the default class. */
void tree_set(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class);

/**
 * tree_take - take @n frames off a tree's counter for a request of class @class, without reserving
 * it; the tree changes its class if the policy has it demoted
 * @any: take from a reserved tree, and whatever the policy says, too (get at a given frame)
 * Return: false if it is short, or reserved or not for this class and not @any.
 */
bool tree_take(const struct trees *trees, uint64_t t, unsigned int class, uint32_t n, bool any);

#define TREE_FREE     0x0fffffffU /* the counter; above it three bits of class */
#define TREE_RESERVED 0x80000000U

/* tree_give() has made a tree wholly free: @entry. */
void tree_settle(const struct trees *trees, uint64_t t, uint32_t entry);

/**
 * tree_give - give @n frames back to a tree's counter; one that is then wholly free, and not
 * reserved, returns to the default class
 * Return: whether it is.
 */
static inline bool tree_give(const struct trees *trees, uint64_t t, uint32_t n)
{
	/* Release: see tree entries in trees.c. An addition, not a CAS: it is never refused. */
	uint32_t now = atom32_add(&trees->entries[t], n, ATOM_RELEASE) + n;

	if (__builtin_expect((now & (TREE_RESERVED | TREE_FREE)) != trees->frames, 1))
		return false;
	tree_settle(trees, t, now);
	return true;
}

/**
 * tree_reserve - reserve a tree for a slot of class @class, with all its frames
 * @n: fewest free frames
 * @old: what the entry was
 * Return: false if it is reserved or short, or the policy would not let the class have it.
 */
bool tree_reserve(const struct trees *trees, uint64_t t, unsigned int class, uint32_t n,
		  struct tree *old);

/** tree_unreserve - give a reserved tree back, with the slot's @free frames, as one of @class */
void tree_unreserve(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class);

/** tree_set_class - change the class of a tree the caller's slot has reserved. */
void tree_set_class(const struct trees *trees, uint64_t t, unsigned int class);

/**
 * tree_sync - take everything a reserved tree's counter has gained since it was reserved
 * @n: fewest frames worth taking, at least 1
 * Return: frames taken; 0 if there are fewer than @n or the tree is not reserved.
 */
uint32_t tree_sync(const struct trees *trees, uint64_t t, uint32_t n);

/* A search for a tree that can serve a request. */
struct tree_search {
	unsigned int class;
	uint32_t frames; /* needed */
	uint64_t start;	 /* tree to begin at */
	bool near;	 /* make the near pass */
	/* Try one tree. Return: true ends the search. */
	bool (*attempt)(void *arg, uint64_t tree, enum policy_verdict verdict);
	void *arg;
};

/**
 * trees_search - offer unreserved trees with enough free frames to @attempt, best first
 *
 * The near pass looks at the trees round the start, so that a slot stays in its neighbourhood and
 * neighbours share one: perfect ones at once, then the best of its own class. The global pass looks
 * at all: those of its own class and wholly free ones at once, then the best eight of those the
 * policy lets it steal or demote, then, should they be short of shape rather than frames, the rest
 * of those. So a search fails only if every tree the policy allows has been tried.
 *
 * Return: whether an attempt succeeded.
 */
bool trees_search(const struct trees *trees, const struct tree_search *s);

#endif
