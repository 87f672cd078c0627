/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/trees.h"

#include <assert.h>

#include "base/bits.h"

#define CLASS_SHIFT 28U
#define CLASS_BITS  7U /* after the shift */

_Static_assert(TREE_FREE == (1U << CLASS_SHIFT) - 1, "the class follows the counter");

#define NEAR_TREES_MIN 4U
#define NEAR_SHARE     16U
#define BEST_MAX       8U

static struct tree unpack(uint32_t entry)
{
	return (struct tree){
		.free = entry & TREE_FREE,
		.class = entry >> CLASS_SHIFT & CLASS_BITS,
		.reserved = entry & TREE_RESERVED,
	};
}

static uint32_t pack(struct tree t)
{
	assert(t.free <= TREE_FREE && t.class <= CLASS_BITS);
	return t.free | t.class << CLASS_SHIFT | (t.reserved ? TREE_RESERVED : 0);
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

void tree_set(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class)
{
	struct tree tree = {.free = free, .class = settled_class(trees, free, class)};

	/* Relaxed: nothing else runs. */
	atom32_store(&trees->entries[t], pack(tree), ATOM_RELAXED);
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
	struct tree tree = unpack(entry);

	tree.class = policy_default_class(trees->policy);
	/* Should it have changed meanwhile, it is no longer wholly free, or was so again by someone
	   else's hand, who has come by here as well. Relaxed: no frames change. */
	atom32_cas(&trees->entries[t], &entry, pack(tree), ATOM_RELAXED);
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
	} while (!change(trees, t, *old, new, old));
	return true;
}

void tree_unreserve(const struct trees *trees, uint64_t t, uint32_t free, unsigned int class)
{
	struct tree old = tree_load(trees, t), new;

	do {
		assert(old.reserved);
		new.free = old.free + free;
		new.class = settled_class(trees, new.free, class);
		new.reserved = false;
	} while (!change(trees, t, old, new, &old));
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

	if (tree.reserved || tree.free < s->frames)
		return (struct policy_rating){.verdict = POLICY_INVALID};
	return rate(trees, s->class, tree);
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
	uint64_t window = min_u64(max_u64(trees->nr / NEAR_SHARE, NEAR_TREES_MIN), trees->nr - 1);
	/* Twice the window, rounded up to a power of two. */
	uint64_t align = UINT64_C(2) << log2_floor(2 * window - 1);
	uint64_t centre = align_down(s->start, align);
	struct best best = {.nr = 0};

	for (uint64_t i = 0; i <= window; i++) {
		uint64_t distance = (i + 1) / 2;
		uint64_t t =
			(i % 2 ? centre + trees->nr - distance : centre + distance) % trees->nr;
		struct policy_rating rating = candidate(trees, s, t);

		if (rating.verdict != POLICY_MATCH || t == s->start)
			continue;
		if (rating.priority < POLICY_PERFECT)
			best_add(&best, t, rating);
		else if (s->attempt(s->arg, t, rating.verdict))
			return true;
	}
	return best_attempt(&best, s);
}

static bool search_global(const struct trees *trees, const struct tree_search *s)
{
	struct best best = {.nr = 0};

	for (uint64_t i = 0, t = s->start; i < trees->nr; i++, t = t + 1 == trees->nr ? 0 : t + 1) {
		struct policy_rating rating = candidate(trees, s, t);

		if (rating.verdict == POLICY_INVALID)
			continue;
		if (rating.verdict != POLICY_MATCH)
			best_add(&best, t, rating);
		else if (s->attempt(s->arg, t, rating.verdict))
			return true;
	}
	if (best_attempt(&best, s))
		return true;
	if (!best.overflow)
		return false;
	for (uint64_t t = 0; t < trees->nr; t++) {
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
