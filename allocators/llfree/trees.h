/* SPDX-License-Identifier: MIT */
/*
 * One 32-bit entry per tree of N children: free frames, class, whether a slot has reserved it, and what
 * it lacks. While it is reserved its free frames belong to the slot, and the entry counts only what
 * others freed into it since. Volatile: rebuilt from the children.
 *
 * A tree *lacks* an order if a search has found no free block of that order in it, however many frames are
 * free. Where memory is nearly full, most trees lack most orders, and a search that looked into each of
 * them would take milliseconds. So what a tree lacks is noted, and a bit per tree and order lets a search
 * pass over 64 trees at once. Who notes must look once more afterwards; who frees, and finds a note, looks
 * whether a block has become whole. So with nothing under way a note is true, and a search may rely on it.
 * Frees of a slot into its own tree do not come by here: they look only if its reservation says so, too.
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
	_Atomic uint64_t
		*may_have; /* trees_words() for each order: a bit per tree that does not lack it */
};

/** trees_words - 64-bit words of one order's bits */
static inline uint64_t trees_words(uint64_t nr)
{
	return (nr + 63) / 64;
}

#define TREE_LACKS_NOTHING NR_ORDERS /* that anybody knew of */

/* An entry, unpacked. */
struct tree {
	uint32_t free;
	unsigned int class;
	unsigned int lacks; /* blocks of this order and above; or TREE_LACKS_NOTHING */
	bool reserved;
};

/** tree_load - the entry of tree @t */
struct tree tree_load(const struct trees *trees, uint64_t t);

/** tree_set - set-up: an unreserved tree without a note. A wholly free one gets the default class. */
void tree_set(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class);

/**
 * tree_take - take @n frames off a tree's counter for a request of class @class, without reserving
 * it; the tree changes its class if the policy has it demoted
 * @any: take from a reserved tree, and whatever the policy says, too (get at a given frame)
 * Return: false if it is short, or reserved or not for this class and not @any.
 */
bool tree_take(const struct trees *trees, uint64_t t, unsigned int class, uint32_t n, bool any);

#define TREE_FREE     0x00ffffffU /* the counter; above it four bits of note, three of class */
#define TREE_NOTE     0x0f000000U
#define TREE_RESERVED 0x80000000U

/* tree_give() has made a tree wholly free: @entry. */
void tree_settle(const struct trees *trees, uint64_t t, uint32_t entry);

/**
 * tree_give - give @n frames back to a tree's counter; one that is then wholly free, and not
 * reserved, returns to the default class
 * @noted: whether there is a note of what the tree lacks. If these frames were not free, or not to be
 *         had, before, the caller sees to it: tree_raise().
 * Return: whether it is wholly free.
 */
static inline bool tree_give(const struct trees *trees, uint64_t t, uint32_t n, bool *noted)
{
	/* Release: see tree entries in trees.c. An addition, not a CAS: it is never refused. */
	uint32_t now = atom32_add(&trees->entries[t], n, ATOM_RELEASE) + n;

	*noted = now & TREE_NOTE;
	if (__builtin_expect((now & (TREE_RESERVED | TREE_FREE)) != trees->frames, 1))
		return false;
	tree_settle(trees, t, now);
	return true;
}

enum tree_noted {
	TREE_NOT_NOTED, /* it is not as was said, or known to lack that */
	TREE_NOTED,
	TREE_RAISED, /* and others have raised the note at once: one should look again */
};

/**
 * tree_note - a search has found no free block of @order in a tree
 * @reserved: it is a slot's, whose frees look at notes from now on: local_note(); else nobody's
 * To be done as part of a move, see upper.c; so are the next two. If it is noted, the caller must look for such
 * a block once more, and see that the slot still holds the tree; if not so, raise the note.
 */
enum tree_noted tree_note(const struct trees *trees, uint64_t t, unsigned int order, bool reserved);

/** tree_note_short - note that a tree has fewer than 2^@order free frames, if it does and is nobody's. */
enum tree_noted tree_note_short(const struct trees *trees, uint64_t t, unsigned int order);

/** tree_raise - a tree may have blocks of all orders below @lacks; TREE_LACKS_NOTHING: of any. */
void tree_raise(const struct trees *trees, uint64_t t, unsigned int lacks);

/** trees_hide_nothing - is a tree's bit set for each order it is not said to lack? Nothing else runs. */
bool trees_hide_nothing(const struct trees *trees, uint64_t t);

/**
 * tree_reserve - reserve a tree for a slot of class @class, with all its frames
 * @n: fewest free frames
 * @old: what the entry was
 * Return: false if it is reserved or short, or the policy would not let the class have it.
 */
bool tree_reserve(const struct trees *trees, uint64_t t, unsigned int class, uint32_t n,
		  struct tree *old);

/**
 * tree_unreserve - give a reserved tree back, with the slot's @free frames, as one of @class
 * @noted: its note may be believed: all frees looked at it
 */
void tree_unreserve(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class,
		    bool noted);

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
	unsigned int class, order; /* of the request */
	uint64_t start;		   /* tree to begin at */
	bool near;		   /* make the near pass */
	/* Try one tree. Return: true ends the search. */
	bool (*attempt)(void *arg, uint64_t tree, enum policy_verdict verdict);
	/* A tree has too few free frames, and there is no note of that: tree_note_short(). */
	void (*lacking)(void *arg, uint64_t tree);
	void *arg;
};

/**
 * trees_search - offer unreserved trees with enough free frames to @attempt, best first
 *
 * The near pass looks at the trees round the start, so that a slot stays in its neighbourhood and
 * neighbours share one: perfect ones at once, then the best of its own class. The global pass looks
 * at all: those of its own class and wholly free ones at once, then the best eight of those the
 * policy lets it steal or demote, then, should they be short of shape rather than frames, the rest
 * of those. So a search fails only if every tree the policy allows has been tried, or lacks the order.
 *
 * Return: whether an attempt succeeded.
 */
bool trees_search(const struct trees *trees, const struct tree_search *s);

#endif
