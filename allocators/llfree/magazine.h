/* SPDX-License-Identifier: MIT */
/*
 * Row magazines (rows=on): for each class and cpu a row of which it holds all frames that were free.
 * They are taken with one compare-and-swap per layer and then handed out, and taken back, by plain
 * loads and stores to the row's mask. The mask lies beside the row in persistent memory
 * (bitfield.h), so at no instant does a crash lose a frame of it; here is only where it is.
 *
 * A magazine is private to its cpu: calls that name the same cpu never run at once. Other threads get
 * at it by raiding: drain, and allocations that would fail otherwise. The owner says that it is
 * inside, then looks whether it is being raided; the raider says so, has all threads of the process
 * pass a memory barrier (membarrier(2)), then waits for the owner to be outside. So the owner pays
 * for no barrier, and a raider waits for a few instructions of its.
 *
 * A magazine holds a row only while the mask is not 0. Its last frame lets go of the row, which anyone
 * may then take; but the cpu remembers it, and a frame of it that it frees while nobody holds the row
 * makes it hold the row again.
 */
#ifndef ALLOCATORS_LLFREE_MAGAZINE_H
#define ALLOCATORS_LLFREE_MAGAZINE_H

#include <assert.h>
#include <errno.h>
#include <stdalign.h>

#include "allocators/llfree/lower.h"
#include "allocators/llfree/policy.h"

enum magazine_state {
	MAGAZINE_OUTSIDE,
	MAGAZINE_INSIDE,
	MAGAZINE_WAITING, /* outside, for a raider to leave; the next raider lets it go first */
};

struct magazine {
	alignas(64) _Atomic uint32_t busy; /* enum magazine_state: where its cpu is */
	_Atomic uint32_t raided;	   /* another thread wants in, or is */
	_Atomic uint64_t row; /* (row + 1) * 2, + 1 if it holds it; 0: none. Changed inside only */
};

struct magazines {
	struct magazine *list;
	unsigned int nr, nr_cpus; /* nr 0: rows=off */
	unsigned int classes;	  /* a bit for each that has some */
	bool fences;		  /* no membarrier(2) here: the owner pays */
};

/**
 * magazines_init - for every class and cpu of them, in zeroed memory of the caller's; NULL: none
 * Classes that keep contexts apart have none: a cpu's magazine would mix its contexts.
 */
void magazines_init(struct magazines *ms, struct magazine *list, const struct policy *policy,
		    unsigned int nr_cpus);

/** magazine_of - the one that a request uses, or NULL. */
static inline struct magazine *magazine_of(const struct magazines *ms, unsigned int class,
					   unsigned int cpu, unsigned int order)
{
	if (order != 0 || !(ms->classes >> class & 1))
		return NULL;
	return &ms->list[class * ms->nr_cpus + cpu];
}

/* The two words of struct magazine's row. */
static inline uint64_t magazine_word(uint64_t row, bool holds)
{
	return (row + 1) << 1 | holds;
}

/** magazine_row - the row it holds; LOWER_NONE: none. A hint for anyone but its cpu. */
static inline uint64_t magazine_row(const struct magazine *m)
{
	/* Relaxed: looked at again inside. */
	uint64_t word = atom64_load(&m->row, ATOM_RELAXED);

	return word & 1 ? (word >> 1) - 1 : LOWER_NONE;
}

/* Say that one is inside. Return: whether one is; if not, one has to leave again. */
static inline bool magazine_try_enter(const struct magazines *ms, struct magazine *m)
{
	/* Relaxed: the raider's membarrier orders it before the load below. */
	atom32_store(&m->busy, MAGAZINE_INSIDE, ATOM_RELAXED);
	if (__builtin_expect(ms->fences, 0))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	/* Acquire: what a raider has done before it left. */
	return __builtin_expect(atom32_load(&m->raided, ATOM_ACQUIRE) == 0, 1);
}

/* The owner's way in after somebody has raided or is about to. */
void magazine_enter_slowly(const struct magazines *ms, struct magazine *m);

static inline void magazine_enter(const struct magazines *ms, struct magazine *m)
{
	if (!magazine_try_enter(ms, m))
		magazine_enter_slowly(ms, m);
}

static inline void magazine_leave(struct magazine *m)
{
	/* Release: what was done inside, before a raider sees it left. */
	atom32_store(&m->busy, MAGAZINE_OUTSIDE, ATOM_RELEASE);
}

/** magazine_get - a frame. Return: LOWER_NONE: it holds none. */
static inline uint64_t magazine_get(const struct magazines *ms, struct magazine *m,
				    const struct lower *l)
{
	uint64_t row = magazine_row(m), frame = LOWER_NONE;

	if (row == LOWER_NONE)
		return LOWER_NONE;
	magazine_enter(ms, m);
	row = magazine_row(m);
	if (__builtin_expect(row != LOWER_NONE, 1)) {
		_Atomic uint64_t *mask = lower_row(l, row) + 1;
		/* Relaxed, both: only who is inside changes it, and others only tell from it that
		   frames they do not own are free. */
		uint64_t held = atom64_load(mask, ATOM_RELAXED), rest = held & (held - 1);

		assert(held);
		frame = row * ROW_FRAMES + (unsigned int)__builtin_ctzll(held);
		if (rest == 0)
			atom64_store(&m->row, magazine_word(row, false), ATOM_RELAXED);
		atom64_store(mask, rest, ATOM_RELAXED);
		persist_flush(l->persist, mask);
		persist_fence(l->persist);
	}
	magazine_leave(m);
	return frame;
}

/* magazine_put() for a frame of the row it held last. */
int magazine_take_up(const struct magazines *ms, struct magazine *m, const struct lower *l,
		     uint64_t frame);

/**
 * magazine_put - take a frame back
 * Return: 0; -EAGAIN: its row is not, and cannot be, held; -EINVAL: it is free already, or withheld.
 */
static inline int magazine_put(const struct magazines *ms, struct magazine *m,
			       const struct lower *l, uint64_t frame)
{
	uint64_t row = frame / ROW_FRAMES, bit = UINT64_C(1) << (frame % ROW_FRAMES);
	/* Relaxed: looked at again inside. */
	uint64_t word = atom64_load(&m->row, ATOM_RELAXED);
	int ret = -EAGAIN;

	if (word >> 1 != row + 1)
		return ret;
	if (!(word & 1))
		return magazine_take_up(ms, m, l, frame);
	magazine_enter(ms, m);
	if (magazine_row(m) == row) {
		_Atomic uint64_t *mask = lower_row(l, row) + 1;
		/* Relaxed: see magazine_get(). The frame's bit cannot change, if it is the caller's. */
		uint64_t held = atom64_load(mask, ATOM_RELAXED);
		uint64_t bits = atom64_load(lower_row(l, row), ATOM_RELAXED);

		ret = -EINVAL;
		if (bits & ~held & bit &&
		    !(child_load(&l->children[row / BITFIELD_ROWS]) & CHILD_PARTIAL &&
		      lower_is_withheld(l, frame, frame + 1))) {
			atom64_store(mask, held | bit, ATOM_RELAXED);
			persist_flush(l->persist, mask);
			persist_fence(l->persist);
			ret = 0;
		}
	}
	magazine_leave(m);
	return ret;
}

/** magazine_hold - it is to hold @row, whose mask has been filled for it; it holds none now. */
static inline void magazine_hold(const struct magazines *ms, struct magazine *m, uint64_t row)
{
	magazine_enter(ms, m);
	/* Relaxed: seen inside only, or as a hint. */
	atom64_store(&m->row, magazine_word(row, true), ATOM_RELAXED);
	magazine_leave(m);
}

/** magazines_hold_any - does any hold a row? A hint while others run. */
bool magazines_hold_any(const struct magazines *ms);

/**
 * magazines_raid - make every magazine return its frames to its row and the row's child
 * @credit: told of each row and how many frames
 * May run at once with everything. Return: frames in all.
 */
uint64_t magazines_raid(const struct magazines *ms, const struct lower *l,
			void (*credit)(void *arg, uint64_t row, unsigned int frames), void *arg);

/** magazines_forget - none holds a row any more. Nothing else may run. */
void magazines_forget(const struct magazines *ms);

#endif
