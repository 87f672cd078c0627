/* SPDX-License-Identifier: MIT */
/*
 * Which frames of the machine are kept out of circulation, and why: absent ones (holes, reserved and
 * offline memory) and isolated ones. In the bitfields such frames look allocated; this list is what
 * tells them apart, so that freeing one is refused and only such memory comes online. It is
 * consulted only for blocks flagged partial.
 *
 * Persistent: two sorted lists, one of them current. An edit works on the other one and ends with a
 * single store that makes it current, so a crash finds the old list or the new one, whole. Where a
 * list does not fit, the edit moves to a larger pair; the smaller one is given up.
 *
 * Reading may run at once with anything but an edit; edits are never concurrent with anything.
 */
#ifndef ALLOCATORS_LLFREE_WITHHELD_H
#define ALLOCATORS_LLFREE_WITHHELD_H

#include <stdbool.h>
#include <stddef.h>

#include "allocators/allocator.h"
#include "allocators/llfree/persist.h"

/* Bits, so that several can be asked for. */
enum withheld_why {
	WITHHELD_NOT = 1, /* in circulation */
	WITHHELD_ABSENT = 2,
	WITHHELD_ISOLATED = 4,
	WITHHELD_ANY = WITHHELD_ABSENT | WITHHELD_ISOLATED,
};

struct withheld_range {
	struct pfn_range range; /* in frames of the machine, not empty */
	uint64_t why;		/* one of them, never NOT */
};

struct withheld_root; /* persistent: where the lists are, and which is current */
struct withheld_list; /* persistent: one list */

struct withheld {
	const struct alloc_env *env;
	enum persist persist;
	struct withheld_root *root;
	const struct withheld_list *list; /* the current one */
	struct withheld_list *newest;	  /* the first of the largest pair */
};

/**
 * withheld_create - an empty list in fresh persistent memory
 * withheld_recover - the list that a dead instance left there; asks for the same pieces in the same
 * order
 * @env: is kept
 * Return: 0; -ENOMEM; -EUCLEAN: that is no list.
 */
int withheld_create(struct withheld *w, const struct alloc_env *env, enum persist persist);
int withheld_recover(struct withheld *w, const struct alloc_env *env, enum persist persist);

/* An edit; begin, change, commit. One that is dropped before its commit has changed nothing. */
struct withheld_edit {
	struct withheld *w;
	uint64_t place; /* of the list being written */
	struct withheld_list *list;
	size_t capacity;
};

/** Begin with a copy of the current list, or with an @empty one. Return: 0 or -ENOMEM. */
int withheld_begin(struct withheld_edit *edit, struct withheld *w, bool empty);
/**
 * withheld_change - from now on every frame of @range is @why (NOT: in circulation), whatever it was
 * Cheap if ranges come in ascending order. Return: 0; -ENOMEM: the edit can only be dropped.
 */
int withheld_change(struct withheld_edit *edit, struct pfn_range range, enum withheld_why why);
void withheld_commit(struct withheld_edit *edit);

/**
 * withheld_next - cut the first piece off a range that is withheld for one of @why, as far as it goes
 * @range: shrinks to what follows the piece
 * Return: false: there is none.
 */
bool withheld_next(const struct withheld *w, struct pfn_range *range, unsigned int why,
		   struct pfn_range *piece);

/** withheld_overlaps - is any frame of [@start, @end) withheld? */
bool withheld_overlaps(const struct withheld *w, pfn_t start, pfn_t end);

#endif
