/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/trees.h"

#include <assert.h>

#include "base/bits.h"

#define NOTE_SHIFT  24U
#define NOTE_BITS   15U /* after the shift, like the next */
#define CLASS_SHIFT 28U
#define CLASS_BITS  7U

_Static_assert(TREE_FREE == (1U << NOTE_SHIFT) - 1, "the note follows the counter");
_Static_assert(TREE_NOTE == NOTE_BITS << NOTE_SHIFT, "it has four bits");
_Static_assert(NR_ORDERS <= NOTE_BITS, "it has room for all orders; 0: no note");

#define NEAR_TREES_MIN 4U
#define NEAR_SHARE     16U
#define BEST_MAX       8U

static struct tree unpack(uint32_t entry)
{
	return (struct tree){
		.free = entry & TREE_FREE,
		.class = entry >> CLASS_SHIFT & CLASS_BITS,
		.lacks = entry & TREE_NOTE ? (entry >> NOTE_SHIFT & NOTE_BITS) - 1
					   : TREE_LACKS_NOTHING,
		.reserved = entry & TREE_RESERVED,
	};
}

static uint32_t pack(struct tree t)
{
	assert(t.free <= TREE_FREE && t.class <= CLASS_BITS && t.lacks <= TREE_LACKS_NOTHING);
	return t.free | t.class << CLASS_SHIFT | (t.reserved ? TREE_RESERVED : 0) |
	       (t.lacks == TREE_LACKS_NOTHING ? 0 : (t.lacks + 1) << NOTE_SHIFT);
}

struct tree tree_load(const struct trees *trees, uint64_t t)
{
	assert(t < trees->nr);
	/* Relaxed: only a guess to be confirmed by a CAS, or a statistic. */
	return unpack(atom32_load(&trees->entries[t], ATOM_RELAXED));
}

/*
 * Entries only steer: whoever is misled by one finds out in the lower allocator, which orders the
 * frames themselves. What the order of the changes here must keep is that counted frames are there:
 * a counter goes up (release) after the lower allocator has the frames back, and the lower
 * allocator is asked for frames after a counter went down (acquire).
 */
static bool change(const struct trees *trees, uint64_t t, struct tree from, struct tree to,
		   struct tree *found)
{
	uint32_t expected = pack(from);
	bool done = atom32_cas(&trees->entries[t], &expected, pack(to), ATOM_ACQ_REL);

	*found = unpack(expected);
	return done;
}

/* The class of an unreserved tree. */
static unsigned int settled_class(const struct trees *trees, uint32_t free, unsigned int class)
{
	return free == trees->frames ? policy_default_class(trees->policy) : class;
}

/* ---- what trees lack ---- */

static _Atomic uint64_t *bits_of(const struct trees *trees, unsigned int order, uint64_t t)
{
	return &trees->may_have[order * trees_words(trees->nr) + t / 64];
}

static bool may_have(const struct trees *trees, unsigned int order, uint64_t t)
{
	/* Relaxed: a guess; by a move one is told that one should look again. */
	return atom64_load(bits_of(trees, order, t), ATOM_RELAXED) >> t % 64 & 1;
}

/*
 * A bit that is clear although the entry says nothing of the kind hides memory. That is so for a moment when a
 * note is raised, since its bits follow, and when one is made, should it be raised before its bits have
 * been cleared. So both are moves to whoever has found nothing; see upper.c.
 */
static void set_bits(const struct trees *trees, uint64_t t, unsigned int from, unsigned int to)
{
	for (unsigned int order = from; order < to; order++) {
		/* Release: what a search finds by it is there. */
		if (!may_have(trees, order, t))
			atom64_set(bits_of(trees, order, t), UINT64_C(1) << t % 64, ATOM_RELEASE);
	}
}

/* The entry has been noted to lack @from and above, and @to and above before. Return: is it still? */
static bool clear_bits(const struct trees *trees, uint64_t t, unsigned int from, unsigned int to)
{
	unsigned int lacks;

	for (unsigned int order = from; order < to; order++) {
		/* Acquire: before the look at the entry. */
		if (may_have(trees, order, t))
			atom64_clear(bits_of(trees, order, t), UINT64_C(1) << t % 64, ATOM_ACQ_REL);
	}
	atom_fence_all();
	lacks = tree_load(trees, t).lacks;
	if (lacks <= from)
		return true;
	/* Who has raised it may have set its bits before. */
	set_bits(trees, t, from, lacks);
	return false;
}

enum tree_noted tree_note(const struct trees *trees, uint64_t t, unsigned int order, bool reserved)
{
	struct tree old = tree_load(trees, t), new;

	do {
		if (old.reserved != reserved || old.lacks <= order)
			return TREE_NOT_NOTED;
		new = old;
		new.lacks = order;
	} while (!change(trees, t, old, new, &old));
	return clear_bits(trees, t, order, old.lacks) ? TREE_NOTED : TREE_RAISED;
}

enum tree_noted tree_note_short(const struct trees *trees, uint64_t t, unsigned int order)
{
	struct tree old = tree_load(trees, t), new;

	do {
		if (old.reserved || old.lacks <= order || old.free >= 1U << order)
			return TREE_NOT_NOTED;
		new = old;
		new.lacks = order;
	} while (!change(trees, t, old, new, &old));
	return clear_bits(trees, t, order, old.lacks) ? TREE_NOTED : TREE_RAISED;
}

/*
 * Who frees has cleared his bits before he adds to the entry, and looks at the block round them after that. So
 * either he sees a note, or who notes sees his bits cleared; and of two who free parts of one block, the later
 * one sees all of it free.
 */
void tree_raise(const struct trees *trees, uint64_t t, unsigned int lacks)
{
	struct tree old = tree_load(trees, t), new;

	do {
		if (old.lacks >= lacks)
			return;
		new = old;
		new.lacks = lacks;
	} while (!change(trees, t, old, new, &old));
	set_bits(trees, t, old.lacks, lacks);
}

bool trees_hide_nothing(const struct trees *trees, uint64_t t)
{
	const unsigned int lacks = tree_load(trees, t).lacks;

	for (unsigned int order = 0; order < lacks; order++) {
		if (!may_have(trees, order, t))
			return false;
	}
	return true;
}

/* ---- entries ---- */

void tree_set(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class)
{
	struct tree tree = {
		.free = free,
		.class = settled_class(trees, free, class),
		.lacks = TREE_LACKS_NOTHING,
	};

	/* Relaxed: nothing else runs. */
	atom32_store(&trees->entries[t], pack(tree), ATOM_RELAXED);
	set_bits(trees, t, 0, NR_ORDERS);
}

static struct policy_rating rate(const struct trees *trees, unsigned int class, struct tree tree)
{
	return policy_rate(trees->policy, class, tree.class, tree.free, trees->frames);
}

/* The class a tree has once a request of @class has had frames of it. */
static unsigned int class_after(enum policy_verdict verdict, unsigned int class, struct tree tree)
{
	return verdict == POLICY_MATCH || verdict == POLICY_DEMOTE ? class : tree.class;
}

bool tree_take(const struct trees *trees, uint64_t t, unsigned int class, uint32_t n, bool any)
{
	struct tree old = tree_load(trees, t), new;

	do {
		enum policy_verdict verdict = rate(trees, class, old).verdict;

		if (old.free < n || (!any && (old.reserved || verdict == POLICY_INVALID)))
			return false;
		new = old;
		new.free -= n;
		if (!old.reserved)
			new.class = class_after(verdict, class, old);
	} while (!change(trees, t, old, new, &old));
	return true;
}

void tree_settle(const struct trees *trees, uint64_t t, uint32_t entry)
{
	struct tree old = unpack(entry), new;

	/* What is noted of it may change meanwhile. If anything else does, it is no longer wholly free, or was
	   so again by someone else's hand, who has come by here as well. */
	do {
		if (old.reserved || old.free != trees->frames)
			return;
		new = old;
		new.class = policy_default_class(trees->policy);
	} while (new.class != old.class && !change(trees, t, old, new, &old));
}

bool tree_reserve(const struct trees *trees, uint64_t t, unsigned int class, uint32_t n,
		  struct tree *old)
{
	struct tree new = {.free = 0, .class = class, .reserved = true};

	*old = tree_load(trees, t);
	do {
		if (old->reserved || old->free < n)
			return false;

		enum policy_verdict verdict = rate(trees, class, *old).verdict;

		if (verdict != POLICY_MATCH && verdict != POLICY_DEMOTE)
			return false;
		new.lacks = old->lacks;
	} while (!change(trees, t, *old, new, old));
	return true;
}

void tree_unreserve(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class,
		    bool noted)
{
	struct tree old = tree_load(trees, t), new;

	do {
		assert(old.reserved);
		new.free = old.free + free;
		new.class = settled_class(trees, new.free, class);
		new.lacks = noted ? old.lacks : TREE_LACKS_NOTHING;
		new.reserved = false;
	} while (!change(trees, t, old, new, &old));
	set_bits(trees, t, old.lacks, new.lacks);
}

void tree_set_class(const struct trees *trees, uint64_t t, unsigned int class)
{
	struct tree old = tree_load(trees, t), new;

	do {
		assert(old.reserved);
		new = old;
		new.class = class;
	} while (!change(trees, t, old, new, &old));
}

uint32_t tree_sync(const struct trees *trees, uint64_t t, uint32_t n)
{
	struct tree old = tree_load(trees, t), new;

	do {
		if (!old.reserved || old.free < n)
			return 0;
		new = old;
		new.free = 0;
	} while (!change(trees, t, old, new, &old));
	return old.free;
}

/* The best few candidates seen, best first; of equals the earlier. */
struct best {
	struct {
		uint64_t tree;
		struct policy_rating rating;
	} list[BEST_MAX];
	unsigned int nr;
	bool overflow; /* some did not fit */
};

static void best_add(struct best *best, uint64_t tree, struct policy_rating rating)
{
	unsigned int i = best->nr;

	while (i > 0 && best->list[i - 1].rating.priority < rating.priority)
		i--;
	if (best->nr == BEST_MAX)
		best->overflow = true;
	else
		best->nr++;
	if (i == BEST_MAX)
		return;
	for (unsigned int k = best->nr - 1; k > i; k--)
		best->list[k] = best->list[k - 1];
	best->list[i].tree = tree;
	best->list[i].rating = rating;
}

static bool best_attempt(const struct best *best, const struct tree_search *s)
{
	for (unsigned int i = 0; i < best->nr; i++) {
		if (s->attempt(s->arg, best->list[i].tree, best->list[i].rating.verdict))
			return true;
	}
	return false;
}

static struct policy_rating candidate(const struct trees *trees, const struct tree_search *s,
				      uint64_t t)
{
	struct tree tree = tree_load(trees, t);

	if (tree.reserved || tree.lacks <= s->order)
		return (struct policy_rating){.verdict = POLICY_INVALID};
	if (tree.free < 1U << s->order) {
		s->lacking(s->arg, t);
		return (struct policy_rating){.verdict = POLICY_INVALID};
	}
	return rate(trees, s->class, tree);
}

/* The first tree from @t on, below @end, that may have such a block; @end: none. */
static uint64_t next_candidate(const struct trees *trees, const struct tree_search *s, uint64_t t,
			       uint64_t end)
{
	while (t < end) {
		/* Relaxed: as in may_have(). */
		uint64_t bits = atom64_load(bits_of(trees, s->order, t), ATOM_RELAXED) >> t % 64;

		if (bits)
			return min_u64(t + (unsigned int)__builtin_ctzll(bits), end);
		t = (t / 64 + 1) * 64;
	}
	return end;
}

static uint64_t around(uint64_t t, uint64_t nr)
{
	return t < nr ? t : t - nr;
}

/*
 * The least distance d in [@d, @end) for which tree @centre + d, or @centre - d, counted round the end, may have
 * such a block; @end or more: there is none.
 */
static uint64_t next_above(const struct trees *trees, const struct tree_search *s, uint64_t centre,
			   uint64_t d, uint64_t end)
{
	while (d < end) {
		uint64_t t = around(centre + d, trees->nr);
		/* Relaxed: as in may_have(). */
		uint64_t bits = atom64_load(bits_of(trees, s->order, t), ATOM_RELAXED) >> t % 64;

		if (bits)
			return d + (unsigned int)__builtin_ctzll(bits);
		/* To the next word, or to tree 0. */
		d += min_u64(64 - t % 64, trees->nr - t);
	}
	return end;
}

static uint64_t next_below(const struct trees *trees, const struct tree_search *s, uint64_t centre,
			   uint64_t d, uint64_t end)
{
	while (d < end) {
		uint64_t t = around(centre + trees->nr - d, trees->nr);
		/* Relaxed: as in may_have(). */
		uint64_t bits = atom64_load(bits_of(trees, s->order, t), ATOM_RELAXED)
				<< (63 - t % 64);

		if (bits)
			return d + (unsigned int)__builtin_clzll(bits);
		/* To the word before, or to the last tree. */
		d += t % 64 + 1;
	}
	return end;
}

/*
 * The trees round the start, which is aligned down so that neighbouring slots share a window. A slot
 * that finds one below that centre has the next window below for its next search: it wanders, and so
 * spreads over memory instead of filling one place. That is what packs: looking round the tree where
 * the slot is, within the aligned window, leaves a fifth more to move after ten rounds of frag. The
 * price is that neighbouring trees, whose entries share cache lines, belong to different cpus.
 */
static bool search_near(const struct trees *trees, const struct tree_search *s)
{
	const uint64_t nr = trees->nr;
	uint64_t window = min_u64(max_u64(nr / NEAR_SHARE, NEAR_TREES_MIN), nr - 1);
	/* Twice the window, rounded up to a power of two. */
	uint64_t align = UINT64_C(2) << log2_floor(2 * window - 1);
	uint64_t centre = align_down(s->start, align);
	/* Distances from the centre: of the next tree at or above it, and of the next one below it. */
	uint64_t above = 0, below = 1, above_end = window / 2 + 1, below_end = (window + 1) / 2 + 1;
	struct best best = {.nr = 0};

	above = next_above(trees, s, centre, 0, above_end);
	below = next_below(trees, s, centre, 1, below_end);
	while (above < above_end || below < below_end) {
		struct policy_rating rating;
		uint64_t t;

		/* The nearer one; of two equally near the one below. */
		if (below < below_end && (below <= above || above >= above_end)) {
			t = around(centre + nr - below, nr);
			below = next_below(trees, s, centre, below + 1, below_end);
		} else {
			t = around(centre + above, nr);
			above = next_above(trees, s, centre, above + 1, above_end);
		}
		if (t == s->start)
			continue;
		rating = candidate(trees, s, t);
		if (rating.verdict != POLICY_MATCH)
			continue;
		if (rating.priority < POLICY_PERFECT)
			best_add(&best, t, rating);
		else if (s->attempt(s->arg, t, rating.verdict))
			return true;
	}
	return best_attempt(&best, s);
}

/* What may only be stolen or demoted of trees [@t, @end) goes to @best. */
static bool search_range(const struct trees *trees, const struct tree_search *s, uint64_t t,
			 uint64_t end, struct best *best)
{
	while ((t = next_candidate(trees, s, t, end)) < end) {
		struct policy_rating rating = candidate(trees, s, t);

		if (rating.verdict == POLICY_STEAL || rating.verdict == POLICY_DEMOTE)
			best_add(best, t, rating);
		else if (rating.verdict == POLICY_MATCH && s->attempt(s->arg, t, rating.verdict))
			return true;
		t++;
	}
	return false;
}

static bool search_global(const struct trees *trees, const struct tree_search *s)
{
	struct best best = {.nr = 0};

	if (search_range(trees, s, s->start, trees->nr, &best) ||
	    search_range(trees, s, 0, s->start, &best) || best_attempt(&best, s))
		return true;
	if (!best.overflow)
		return false;
	for (uint64_t t = 0; (t = next_candidate(trees, s, t, trees->nr)) < trees->nr; t++) {
		struct policy_rating rating = candidate(trees, s, t);

		if ((rating.verdict == POLICY_STEAL || rating.verdict == POLICY_DEMOTE) &&
		    s->attempt(s->arg, t, rating.verdict))
			return true;
	}
	return false;
}

bool trees_search(const struct trees *trees, const struct tree_search *s)
{
	assert(s->start < trees->nr);
	return (s->near && trees->nr > 1 && search_near(trees, s)) || search_global(trees, s);
}
