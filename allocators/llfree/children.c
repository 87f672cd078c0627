/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/children.h"

#include <assert.h>

bool child_get(child_t *child, unsigned int n)
{
	/* Relaxed: a guess that the CAS confirms. */
	uint16_t old = atom16_load(child, ATOM_RELAXED);

	do {
		if (child_free_frames(old) < n)
			return false;
		/*
		 * Acquire: the bits are looked at, and set, only after the counter has gone down;
		 * pairs with the release in child_put(), so that the bits whose frames are counted
		 * here are seen clear.
		 */
	} while (!atom16_cas(child, &old, (uint16_t)(old - n), ATOM_ACQUIRE));
	return true;
}

bool child_put(child_t *child, unsigned int n)
{
	uint16_t old = atom16_load(child, ATOM_RELAXED);

	do {
		if ((old & CHILD_HUGE) || (old & CHILD_FREE) + n > BITFIELD_FRAMES)
			return false;
		/* Release: the bits are clear before the counter says so; see child_get(). */
	} while (!atom16_cas(child, &old, (uint16_t)(old + n), ATOM_RELEASE));
	return true;
}

static bool children_change(child_t *child, unsigned int n, uint16_t from, uint16_t to)
{
	unsigned int done;

	for (done = 0; done < n; done++) {
		uint16_t expected = from;

		/*
		 * Acquire on get: the block's contents are touched only after it is ours; pairs
		 * with the release in the put that freed it. Release on put: after our last use.
		 */
		if (!atom16_cas(&child[done], &expected, to, ATOM_ACQ_REL))
			break;
	}
	if (done == n)
		return true;
	while (done-- > 0) {
		uint16_t expected = to;

		/* As above. Only undoing a put can fail, when a double free raced with a get. */
		atom16_cas(&child[done], &expected, from, ATOM_ACQ_REL);
	}
	return false;
}

/* Cheap refusals: no step is taken, and nobody sees one undone. Relaxed: only a guess. */
static bool children_are(const child_t *child, unsigned int n, uint16_t value)
{
	for (unsigned int i = 0; i < n; i++) {
		if (atom16_load(&child[i], ATOM_RELAXED) != value)
			return false;
	}
	return true;
}

bool children_get_huge(child_t *child, unsigned int n)
{
	return children_are(child, n, BITFIELD_FRAMES) &&
	       children_change(child, n, BITFIELD_FRAMES, CHILD_HUGE);
}

bool children_put_huge(child_t *child, unsigned int n)
{
	return children_are(child, n, CHILD_HUGE) &&
	       children_change(child, n, CHILD_HUGE, BITFIELD_FRAMES);
}

bool child_split_begin(child_t *child)
{
	/* Acquire: if the split is already done, its bits are needed; see child_load(). */
	uint16_t old = atom16_load(child, ATOM_ACQUIRE);

	while (old & CHILD_HUGE) {
		uint16_t expected = CHILD_HUGE;

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
	assert(atom16_load(child, ATOM_RELAXED) == CHILD_SPLITTING);
	/*
	 * Release: all bits are set before the flag goes. A plain store will do: nobody else
	 * changes an entry in this state.
	 */
	atom16_store(child, 0, ATOM_RELEASE);
}
