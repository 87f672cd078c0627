/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/children.h"

#include <assert.h>
#include <errno.h>

/*
 * One step of an entry, GONE or not. Acquire on get: the block's contents are touched only after it is
 * ours; pairs with the release in the put that freed it. Release on put: after our last use.
 */
static bool child_change(child_t *child, uint16_t from, uint16_t to)
{
	uint16_t expected = from;

	if (atom16_cas(child, &expected, to, ATOM_ACQ_REL))
		return true;
	return expected == (from | CHILD_GONE) &&
	       atom16_cas(child, &expected, (uint16_t)(to | CHILD_GONE), ATOM_ACQ_REL);
}

static bool children_change(child_t *child, unsigned int n, uint16_t from, uint16_t to,
			    enum persist persist)
{
	unsigned int done;

	for (done = 0; done < n; done++) {
		if (!child_change(&child[done], from, to))
			break;
	}
	for (unsigned int i = done; done < n && i-- > 0;) {
		/* Only undoing a put can fail, when a double free raced with a get. */
		if (!MUTANT(LOST_UNDO))
			child_change(&child[i], to, from);
	}
	/* Flags changed and changed back alike. Neighbours share a line: n is at most 2, aligned. */
	if (done) {
		persist_flush(persist, child);
		persist_fence(persist);
	}
	return done == n;
}

/* Cheap refusals: no step is taken, and nobody sees one undone. Relaxed: only a guess. */
static bool children_are(const child_t *child, unsigned int n, uint16_t value)
{
	for (unsigned int i = 0; i < n; i++) {
		if ((atom16_load(&child[i], ATOM_RELAXED) & ~CHILD_GONE) != value)
			return false;
	}
	return true;
}

bool children_are_free(const child_t *child, unsigned int n)
{
	return children_are(child, n, BITFIELD_FRAMES);
}

bool children_get_huge(child_t *child, unsigned int n, enum persist persist)
{
	return children_are_free(child, n) &&
	       children_change(child, n, BITFIELD_FRAMES, CHILD_HUGE, persist);
}

bool children_put_huge(child_t *child, unsigned int n, enum persist persist)
{
	return children_are(child, n, CHILD_HUGE) &&
	       children_change(child, n, CHILD_HUGE, BITFIELD_FRAMES, persist);
}

bool child_split_begin(child_t *child)
{
	/* Acquire: if the split is already done, its bits are needed; see child_load(). */
	uint16_t old = atom16_load(child, ATOM_ACQUIRE);

	while (old & CHILD_HUGE) {
		uint16_t expected = CHILD_HUGE;

		if (MUTANT(UNGUARDED_SPLIT))
			return true;
		if (old == CHILD_SPLITTING)
			atom_wait();
		/* Acquire: the bits are filled only after the claim. */
		else if (atom16_cas(child, &expected, CHILD_SPLITTING, ATOM_ACQUIRE))
			return true;
		old = atom16_load(child, ATOM_ACQUIRE);
	}
	return false;
}

void child_split_end(child_t *child)
{
	/*
	 * Release: all bits are set before the flag goes. A plain store will do: nobody else
	 * changes an entry in this state.
	 */
	atom16_store(child, 0, ATOM_RELEASE);
}

static void write_back(child_t *child, enum persist persist)
{
	persist_flush(persist, child);
	persist_fence(persist);
}

int child_mark(child_t *child, enum persist persist)
{
	uint16_t expected = BITFIELD_FRAMES;

	/* Release: what the caller says of marks, before one can be met. */
	if (atom16_cas(child, &expected, BITFIELD_FRAMES | CHILD_GONE, ATOM_ACQ_REL)) {
		write_back(child, persist);
		return 0;
	}
	return expected & CHILD_GONE ? -EALREADY : -EBUSY;
}

bool child_unmark(child_t *child, enum persist persist)
{
	/* Relaxed: whoever allocated the block has acquired it. */
	uint16_t entry = atom16_load(child, ATOM_RELAXED);

	while (entry & CHILD_GONE) {
		if (atom16_cas(child, &entry, (uint16_t)(entry & ~CHILD_GONE), ATOM_ACQ_REL)) {
			write_back(child, persist);
			return true;
		}
	}
	return false;
}

bool child_take(child_t *child, enum persist persist)
{
	bool gone = child_unmark(child, persist);

	/* A plain store will do: nobody else changes an entry that is allocated whole. */
	atom16_store(child, CHILD_HUGE | CHILD_TAKEN, ATOM_RELEASE);
	write_back(child, persist);
	return gone;
}

bool child_untake(child_t *child, enum persist persist)
{
	uint16_t expected = CHILD_HUGE | CHILD_TAKEN;

	if (!atom16_cas(child, &expected, CHILD_HUGE | CHILD_GONE, ATOM_ACQ_REL))
		return false;
	write_back(child, persist);
	return true;
}
