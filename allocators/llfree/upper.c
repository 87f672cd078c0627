/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/upper.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FREES_TO_FOLLOW 4U

static uint64_t tree_of(const struct upper *u, uint64_t frame)
{
	return frame >> u->tree_order;
}

static uint64_t first_row(const struct upper *u, uint64_t tree)
{
	return tree << (u->tree_order - ROW_ORDER);
}

int upper_create(struct upper *u, const struct alloc_env *env, pfn_t start, pfn_t end,
		 const struct upper_config *config)
{
	uint64_t tree_frames = (uint64_t)config->tree_children * BITFIELD_FRAMES;
	pfn_t base = align_down(start, tree_frames);
	uint64_t nr_trees = (align_up(end, tree_frames) - base) / tree_frames;
	uint64_t nr_children = nr_trees * config->tree_children;
	unsigned int nr_classes = config->policy->nr_classes;
	struct magazine *magazines = NULL;

	memset(u, 0, sizeof(*u));
	u->tree_order = log2_floor(tree_frames);
	u->last_frees = config->last_frees;
	u->lower = (struct lower){
		.nr_children = nr_children,
		.tree_children = config->tree_children,
		.row_shift = config->rows,
		.persist = config->persist,
		.base = base,
		.span = {start - base, end - base},
		.withheld = config->withheld,
	};
	u->trees.nr = nr_trees;
	u->trees.frames = (uint32_t)tree_frames;
	u->trees.policy = config->policy;
	locals_init(&u->locals, config->policy, config->nr_cpus, nr_trees,
		    (unsigned int)(tree_frames / ROW_FRAMES));

	u->trees.may_have = env->meta(env, NR_ORDERS * trees_words(nr_trees) * sizeof(uint64_t),
				      alignof(struct local), META_VOLATILE);
	u->lower.rows = env->meta(env, nr_children * BITFIELD_BYTES << config->rows, PERSIST_LINE,
				  META_PERSISTENT);
	u->lower.children =
		env->meta(env, nr_children * sizeof(child_t), PERSIST_LINE, META_PERSISTENT);
	u->trees.entries = env->meta(env, nr_trees * sizeof(u->trees.entries[0]),
				     alignof(struct local), META_VOLATILE);
	u->locals.slots = env->meta(env, (locals_total(&u->locals) + 1) * sizeof(struct local),
				    alignof(struct local), META_VOLATILE);
	if (config->rows)
		magazines = env->meta(env, nr_classes * config->nr_cpus * sizeof(struct magazine),
				      alignof(struct magazine), META_VOLATILE);
	if (!u->trees.may_have || !u->lower.rows || !u->lower.children || !u->trees.entries ||
	    !u->locals.slots || (config->rows && !magazines))
		return -ENOMEM;
	magazines_init(&u->magazines, magazines, config->policy, config->nr_cpus);
	return 0;
}

/*
 * Frames on their way from one owner to another, a tree or a slot, are counted nowhere for a moment.
 * Each slot notes how many such moves it has under way (low half of its word) and how many have ended
 * (high half), so that an allocation that found nothing knows whether to look again. Frames that came
 * back to where they had been, since what was asked for was not among them, are noted apart: that was
 * nobody's progress.
 */

static void move_begin(struct local *by)
{
	/* Relaxed: the steps that take frames from their owner release it. (fill_magazine() alone
	   takes them by an acquire; magazines exist only where every locked step orders all.) */
	atom64_add(&by->moves, 1, ATOM_RELAXED);
}

static void move_end(struct local *by)
{
	/* Release: the frames have their new owner before it. */
	atom64_add(&by->moves, (UINT64_C(1) << 32) - 1, ATOM_RELEASE);
}

/* The frames are back. */
static void move_undone(struct local *by)
{
	/* Release, both: they are back before it; and who sees no move under way sees the return. */
	atom64_add(&by->returns, 1, ATOM_RELEASE);
	atom64_add(&by->moves, UINT64_MAX, ATOM_RELEASE);
}

/* There were no frames to move. */
static void move_cancel(struct local *by)
{
	/* Relaxed: nothing happened. */
	atom64_add(&by->moves, UINT64_MAX, ATOM_RELAXED);
}

struct moves {
	uint64_t under_way, ended, returned;
};

static struct moves moves_so_far(const struct upper *u)
{
	struct moves sum = {0};

	for (unsigned int i = 0; i <= locals_total(&u->locals); i++) {
		const struct local *slot = &u->locals.slots[i];
		/* Acquire: what was moved is where it was moved to. */
		uint64_t moves = atom64_load(&slot->moves, ATOM_ACQUIRE);

		sum.under_way += (uint32_t)moves;
		sum.ended += moves >> 32;
		sum.returned += atom64_load(&slot->returns, ATOM_ACQUIRE);
	}
	return sum;
}

/* The slot itself, or where those that have none note things. */
static struct local *noted_by(struct upper *u, struct local *local)
{
	return local ? local : locals_common(&u->locals);
}

/* A tree may have blocks of all orders below @lacks. */
static void raise_note(struct upper *u, struct local *by, uint64_t tree, unsigned int lacks)
{
	if (tree_load(&u->trees, tree).lacks >= lacks)
		return;
	move_begin(by);
	tree_raise(&u->trees, tree, lacks);
	move_end(by);
}

/*
 * Frames of a tree, which were free all the time, are counted again, be it by the slot or the tree. Meanwhile
 * it may have been noted to lack them.
 * Return: by the slot?
 */
static bool give(struct upper *u, struct local *local, uint64_t tree, uint32_t n)
{
	bool noted, to_slot = local && local_give(&u->locals, local, tree, n, &noted);

	if (!to_slot)
		tree_give(&u->trees, tree, n, &noted);
	if (noted)
		raise_note(u, noted_by(u, local), tree, TREE_LACKS_NOTHING);
	return to_slot;
}

static void give_to_tree(struct upper *u, uint64_t tree, uint32_t n)
{
	give(u, NULL, tree, n);
}

/*
 * Give a slot that is short of @n frames what others have freed into its tree since it was reserved.
 * Return: false: even so there are too few. @r: the slot's entry; afterwards as it then is.
 */
static __attribute__((noinline)) bool sync_slot(struct upper *u, struct local *local, uint32_t n,
						struct reservation *r)
{
	if (!r->present)
		return false;

	uint64_t tree = local_tree(&u->locals, *r);
	uint32_t gained;
	bool kept;

	if (tree_load(&u->trees, tree).free < n - r->free)
		return false;
	move_begin(local);
	gained = tree_sync(&u->trees, tree, n - (uint32_t)r->free);
	if (gained == 0) {
		move_cancel(local);
		return false;
	}
	/* Or the slot has moved on to another tree. */
	kept = give(u, local, tree, gained);
	move_end(local);
	*r = local_load(local);
	return kept;
}

/* Take frames off a slot's counter, which is synced if it should be short. */
static inline bool take_synced(struct upper *u, struct local *local, uint32_t n,
			       struct reservation *r)
{
	return __builtin_expect(local_take(local, n, r), 1) ||
	       (sync_slot(u, local, n, r) && local_take(local, n, r));
}

/*
 * A block of an order that takes steps was asked for. Meanwhile others may have found frames of the tree
 * taken that were then put back, and have noted too much.
 */
static inline void after_steps(struct upper *u, struct local *local, uint64_t tree,
			       unsigned int order)
{
	if (__builtin_expect(lower_takes_steps(order), 0))
		raise_note(u, noted_by(u, local), tree, TREE_LACKS_NOTHING);
}

/* Is a slot's tree known to lack such a block? */
static inline bool is_lacking(const struct upper *u, struct reservation r, unsigned int order)
{
	return r.noted && tree_load(&u->trees, local_tree(&u->locals, r)).lacks <= order;
}

/* A slot's tree has given no such block. */
static __attribute__((noinline)) void note_reserved(struct upper *u, struct local *local,
						    uint64_t tree, unsigned int order)
{
	enum tree_noted noted = TREE_NOT_NOTED;
	struct reservation r;

	move_begin(local);
	if (MUTANT(NOTE_UNTOLD) || local_note(&u->locals, local, tree))
		noted = tree_note(&u->trees, tree, order, true);
	r = local_load(local);
	/* Another slot's frees would not look. */
	if (noted != TREE_NOT_NOTED && !MUTANT(NOTE_ONCE) &&
	    ((!MUTANT(NOTE_UNTOLD) &&
	      (!r.present || !r.noted || local_tree(&u->locals, r) != tree)) ||
	     lower_has(&u->lower, first_row(u, tree), order))) {
		tree_raise(&u->trees, tree, TREE_LACKS_NOTHING);
		noted = TREE_RAISED;
	}
	if (noted == TREE_RAISED)
		move_end(local);
	else
		move_cancel(local);
}

/*
 * A block of order 9 or 10 from the tree a slot holds. Every one of these leads to another row, so
 * taking the frames off the counter and moving on are one step.
 */
static uint64_t get_reserved_huge(struct upper *u, struct local *local, unsigned int order)
{
	struct reservation r = local_load(local);
	uint32_t n = 1U << order;
	uint64_t row, frame;

	if (is_lacking(u, r, order))
		return LOWER_NONE;
	if ((!r.present || r.free < n) && !sync_slot(u, local, n, &r))
		return LOWER_NONE;
	row = lower_find_huge(&u->lower, r.row, order);
	if (row == LOWER_NONE)
		note_reserved(u, local, local_tree(&u->locals, r), order);
	/* Should the slot have moved on meanwhile, that counts as not found. */
	if (row == LOWER_NONE || !local_take_to(&u->locals, local, n, &r, row))
		return LOWER_NONE;
	frame = lower_get_anywhere(&u->lower, row, order, false);
	after_steps(u, local, local_tree(&u->locals, r), order);
	if (frame == LOWER_NONE)
		give(u, local, local_tree(&u->locals, r), n);
	return frame;
}

/* A block from the tree a slot holds. */
static inline uint64_t get_reserved(struct upper *u, struct local *local, unsigned int order)
{
	if (order >= BITFIELD_ORDER)
		return get_reserved_huge(u, local, order);

	struct reservation r = local_load(local);
	uint64_t guessed = r.row, frame;
	struct lower_peek peek = lower_peek(&u->lower, guessed);

	if (__builtin_expect(r.noted != 0, 0) && is_lacking(u, r, order))
		return LOWER_NONE;
	if (!take_synced(u, local, 1U << order, &r))
		return LOWER_NONE;
	if (__builtin_expect(r.row != guessed, 0))
		peek = lower_peek(&u->lower, r.row);
	frame = lower_get(&u->lower, r.row, order, peek);
	after_steps(u, local, local_tree(&u->locals, r), order);
	if (__builtin_expect(frame == LOWER_NONE, 0)) {
		give(u, local, local_tree(&u->locals, r), 1U << order);
		note_reserved(u, local, local_tree(&u->locals, r), order);
	} else if (__builtin_expect(frame / ROW_FRAMES != r.row, 0)) {
		local_move(local, r.row, frame / ROW_FRAMES);
	}
	return frame;
}

/* Make @r the slot's reservation and give back the one it had. */
static void install(struct upper *u, struct local *local, unsigned int class, struct reservation r)
{
	struct reservation old = local_swap(local, r);

	if (old.present)
		tree_unreserve(&u->trees, local_tree(&u->locals, old), (uint32_t)old.free, class,
			       old.noted);
}

/* Of a tree just reserved, which was @old and gives @taken frames at once. */
static struct reservation reservation(uint64_t row, struct tree old, uint32_t taken)
{
	struct reservation r = reservation_of(row, old.free - taken);

	r.noted = old.lacks != TREE_LACKS_NOTHING;
	return r;
}

/* A request on its way through the trees. */
struct search {
	struct upper *u;
	struct upper_request req;
	struct local *local; /* NULL: the class has no slots */
	uint64_t frame, flags;
	uint64_t returned; /* trees it has reserved in vain and returned */
};

/* From the first row of a tree on. */
static uint64_t get_first(const struct upper *u, uint64_t t, unsigned int order)
{
	uint64_t row = first_row(u, t);

	return lower_get(&u->lower, row, order, lower_peek(&u->lower, row));
}

/*
 * The end of a move in which tree @t, reserved by nobody any more, has given no such block; which is noted.
 * Were others at it, one should look again, else nothing has changed.
 */
static void move_in_vain(struct search *s, struct local *by, uint64_t t, bool is_short)
{
	struct upper *u = s->u;
	enum tree_noted noted = is_short ? tree_note_short(&u->trees, t, s->req.order)
					 : tree_note(&u->trees, t, s->req.order, false);

	if (noted != TREE_NOT_NOTED && !is_short && !MUTANT(NOTE_ONCE) &&
	    lower_has(&u->lower, first_row(u, t), s->req.order)) {
		tree_raise(&u->trees, t, TREE_LACKS_NOTHING);
		noted = TREE_RAISED;
	}
	if (noted == TREE_RAISED) {
		move_end(by);
	} else {
		move_undone(by);
		s->returned++;
	}
}

static void note_short(void *arg, uint64_t t)
{
	struct search *s = arg;
	struct local *by = noted_by(s->u, s->local);

	move_begin(by);
	move_in_vain(s, by, t, true);
}

static bool reserve_tree(struct search *s, uint64_t t)
{
	struct upper *u = s->u;
	uint32_t n = 1U << s->req.order;
	struct tree old;

	move_begin(s->local);
	if (!tree_reserve(&u->trees, t, s->req.class, n, &old)) {
		move_cancel(s->local);
		return false;
	}
	s->frame = get_first(u, t, s->req.order);
	if (s->frame == LOWER_NONE) {
		tree_unreserve(&u->trees, t, old.free, old.class, true);
		after_steps(u, s->local, t, s->req.order);
		move_in_vain(s, s->local, t, false);
		return false;
	}
	install(u, s->local, s->req.class, reservation(s->frame / ROW_FRAMES, old, n));
	move_end(s->local);
	s->flags = RESULT_REFILL;
	if (old.class != s->req.class && old.free != u->trees.frames)
		s->flags |= RESULT_FALLBACK;
	atom64_count(&s->local->events.reservations);
	return true;
}

/*
 * A single block from an unreserved tree. One taken over by a class without slots stays so even if
 * the block was not to be had: the next one that fits will be.
 */
static bool steal_from_tree(struct search *s, uint64_t t)
{
	struct upper *u = s->u;
	uint32_t n = 1U << s->req.order;
	struct tree old = tree_load(&u->trees, t);

	if (!tree_take(&u->trees, t, s->req.class, n, false))
		return false;
	s->frame = get_first(u, t, s->req.order);
	if (s->frame == LOWER_NONE) {
		struct local *by = noted_by(u, s->local);

		move_begin(by);
		give_to_tree(u, t, n);
		after_steps(u, by, t, s->req.order);
		move_in_vain(s, by, t, false);
		return false;
	}
	after_steps(u, s->local, t, s->req.order);
	if (old.class != s->req.class && old.free != u->trees.frames)
		s->flags = RESULT_FALLBACK;
	if (s->local)
		atom64_count(&s->local->events.steals);
	return true;
}

static bool attempt(void *arg, uint64_t tree, enum policy_verdict verdict)
{
	struct search *s = arg;

	if (verdict == POLICY_STEAL || !s->local)
		return steal_from_tree(s, tree);
	return reserve_tree(s, tree);
}

static uint64_t search_start(const struct upper *u, struct upper_request req, struct local *local)
{
	if (!local)
		return 0;

	struct reservation r = local_load(local);
	unsigned int nr = locals_nr(&u->locals, req.class);
	/* Relaxed: a hint. */
	uint64_t emptied =
		req.order < BITFIELD_ORDER ? 0 : atom64_load(&local->emptied, ATOM_RELAXED);

	/*
	 * Small blocks stay near where the slot is. Large ones use up a tree in a few steps, and no
	 * tree that is wholly free is better than another but for the one that this slot has just
	 * made so. Without it, a slot that frees as much as it allocates would walk through all of
	 * memory, and through what other cpus have in their caches.
	 */
	if (emptied) {
		atom64_store(&local->emptied, 0, ATOM_RELAXED);
		return emptied - 1;
	}
	if (r.present)
		return local_tree(&u->locals, r);
	/* Slots begin far apart. */
	return u->trees.nr / nr * (req.slot % nr);
}

/* A block from the tree that some slot of @class holds, the requester's own excepted. */
static struct local *steal_from_class(struct search *s, unsigned int class)
{
	struct upper *u = s->u;
	unsigned int nr = locals_nr(&u->locals, class);

	for (unsigned int i = 0; i < nr; i++) {
		struct local *local = locals_slot(&u->locals, class, s->req.slot % nr + i);

		if (local == s->local)
			continue;
		s->frame = get_reserved(u, local, s->req.order);
		if (s->frame == LOWER_NONE)
			continue;
		if (class != s->req.class)
			s->flags = RESULT_FALLBACK;
		return local;
	}
	return NULL;
}

/* Another slot's tree becomes the requester's. */
static void take_over(struct search *s, struct local *from)
{
	struct upper *u = s->u;
	struct local *by = noted_by(u, s->local);
	struct reservation r;

	move_begin(by);
	r = local_swap(from, (struct reservation){0});
	if (!r.present) {
		move_cancel(by);
		return;
	}
	if (s->local) {
		tree_set_class(&u->trees, local_tree(&u->locals, r), s->req.class);
		install(u, s->local, s->req.class, r);
	} else {
		tree_unreserve(&u->trees, local_tree(&u->locals, r), (uint32_t)r.free, s->req.class,
			       r.noted);
	}
	move_end(by);
	atom64_count(&by->events.demotions);
}

/* No unreserved tree will do: use the others' reservations, nearest class first. */
static bool raid_slots(struct search *s)
{
	const struct trees *trees = &s->u->trees;
	unsigned int nr = trees->policy->nr_classes;

	for (unsigned int class = s->req.class + 1; class -- > 0;) {
		enum policy_verdict verdict =
			policy_rate(trees->policy, s->req.class, class, 0, trees->frames).verdict;

		if ((verdict == POLICY_MATCH || verdict == POLICY_STEAL) &&
		    steal_from_class(s, class)) {
			atom64_count(&noted_by(s->u, s->local)->events.steals);
			return true;
		}
	}
	for (unsigned int class = s->req.class + 1; class < nr; class ++) {
		enum policy_verdict verdict =
			policy_rate(trees->policy, s->req.class, class, 0, trees->frames).verdict;
		struct local *from;

		if (verdict == POLICY_DEMOTE && (from = steal_from_class(s, class)) != NULL) {
			take_over(s, from);
			return true;
		}
	}
	return false;
}

/* All that can be done for a request whose slot has nothing. */
static struct upper_result search(struct upper *u, struct upper_request req, struct local *local,
				  uint64_t *returned)
{
	struct search s = {.u = u, .req = req, .local = local, .frame = LOWER_NONE};
	struct tree_search ts = {
		.class = req.class,
		.order = req.order,
		.start = search_start(u, req, local),
		.near = local && req.order < BITFIELD_ORDER,
		.attempt = attempt,
		.lacking = note_short,
		.arg = &s,
	};

	if (!trees_search(&u->trees, &ts) && !raid_slots(&s))
		s.frame = LOWER_NONE;
	*returned = s.returned;
	return (struct upper_result){s.frame, s.flags};
}

/*
 * How often an allocation that has found nothing looks again. Mostly once is enough; while others
 * keep moving trees, to look for ever would be worse than to say now and then that there is nothing.
 */
#define PATIENCE 8U

/*
 * Was a search in vain because frames were between two owners, or in magazines? @seen: the moves
 * before it; @returned: how many of the returns since were its own.
 */
static bool look_again(struct upper *u, struct moves seen, uint64_t returned,
		       unsigned int *patience)
{
	bool raided = upper_raid(u) > 0;
	struct moves now;

	/* What the search has read, it read before the moves are counted: a tree it saw taken is one
	   whose move is seen. */
	atom_fence_acquire();
	now = moves_so_far(u);
	if (*patience == 0)
		return false;
	--*patience;
	if (raided || now.ended != seen.ended)
		return true;
	if (now.under_way == 0 && now.returned - seen.returned == returned)
		return false;
	atom_wait();
	return true;
}

static __attribute__((noinline)) struct upper_result get_slowly(struct upper *u,
								struct upper_request req,
								struct local *local)
{
	struct local *by = noted_by(u, local);
	unsigned int patience = PATIENCE;
	struct upper_result result = {.frame = LOWER_NONE};
	uint64_t returned;
	struct moves seen;

	/* To know what moved during a search one has to look before it. Most succeed, and then that was for
	   nothing: only where the last one has not it is done at first. */
	if (atom64_load(&by->in_vain, ATOM_RELAXED) == 0)
		result = search(u, req, local, &returned);
	while (result.frame == LOWER_NONE) {
		seen = moves_so_far(u);
		if (local)
			result.frame = get_reserved(u, local, req.order);
		if (result.frame != LOWER_NONE)
			return (struct upper_result){result.frame, RESULT_PCP_HIT};
		result = search(u, req, local, &returned);
		if (result.frame == LOWER_NONE && !look_again(u, seen, returned, &patience))
			break;
	}
	/* Relaxed: a hint. */
	if (atom64_load(&by->in_vain, ATOM_RELAXED) != (result.frame == LOWER_NONE))
		atom64_store(&by->in_vain, result.frame == LOWER_NONE, ATOM_RELAXED);
	return result;
}

/* For fewer, holding a row costs more than it saves. */
#define HOLD_MIN 4U

/* The magazine may have what is left of the row that @frame came from, if that is the slot's. */
static void fill_magazine(struct upper *u, struct local *local, struct magazine *m, uint64_t frame)
{
	uint64_t row = frame / ROW_FRAMES, tree = tree_of(u, frame), held;
	struct reservation r = local_load(local);
	uint32_t want = (uint32_t)min_u64(r.free, ROW_FRAMES);

	if (!r.present || local_tree(&u->locals, r) != tree || magazine_row(m) != LOWER_NONE)
		return;
	/* Relaxed: a guess. */
	held = ~atom64_load(lower_row(&u->lower, row), ATOM_RELAXED);
	want = (uint32_t)min_u64(want, (unsigned int)__builtin_popcountll(held));
	if (want < HOLD_MIN)
		return;
	move_begin(local);
	if (local_take(local, want, &r)) {
		bool same = local_tree(&u->locals, r) == tree;

		held = same ? lower_hold(&u->lower, row, want) : 0;
		if (held)
			magazine_hold(&u->magazines, m, row);
		want -= (uint32_t)__builtin_popcountll(held);
		if (want)
			give(u, local, local_tree(&u->locals, r), want);
	}
	if (held)
		move_end(local);
	else
		move_undone(local);
}

struct upper_result upper_get_and_fill(struct upper *u, struct upper_request req,
				       struct magazine *m)
{
	struct local *local = locals_slot(&u->locals, req.class, req.slot);
	struct upper_result result = upper_get_shared(u, req);

	if (local && result.frame != LOWER_NONE)
		fill_magazine(u, local, m, result.frame);
	return result;
}

struct upper_result upper_get_shared(struct upper *u, struct upper_request req)
{
	struct local *local = locals_slot(&u->locals, req.class, req.slot);
	struct upper_result result = {LOWER_NONE, RESULT_PCP_HIT};

	if (local)
		result.frame = get_reserved(u, local, req.order);
	if (__builtin_expect(result.frame == LOWER_NONE, 0))
		return get_slowly(u, req, local);
	return result;
}

/* Take frames off a slot's counter if that is where those of @tree are counted. */
static bool take_if_held(struct upper *u, struct local *local, uint64_t tree, uint32_t n)
{
	struct reservation r = local_load(local);

	if (!r.present || local_tree(&u->locals, r) != tree || !take_synced(u, local, n, &r))
		return false;
	if (local_tree(&u->locals, r) == tree)
		return true;
	/* The slot has just moved on; these are another tree's. */
	give(u, local, local_tree(&u->locals, r), n);
	return false;
}

/* The same wherever they are counted: the slot's own, the tree, another slot. */
static bool take_at(struct upper *u, struct upper_request req, uint64_t tree, struct local **from)
{
	uint32_t n = 1U << req.order;

	*from = locals_slot(&u->locals, req.class, req.slot);
	if (*from && take_if_held(u, *from, tree, n))
		return true;
	*from = NULL;
	if (tree_take(&u->trees, tree, req.class, n, true))
		return true;
	for (unsigned int i = 0; i < locals_total(&u->locals); i++) {
		*from = &u->locals.slots[i];
		if (take_if_held(u, *from, tree, n))
			return true;
	}
	return false;
}

static int get_at(struct upper *u, struct upper_request req, uint64_t frame)
{
	uint64_t tree = tree_of(u, frame);
	struct local *from;
	int ret;

	/* Refuse at once what cannot be: taking frames off a tree may change its class. */
	if (!lower_is_free(&u->lower, frame, frame + (UINT64_C(1) << req.order)) ||
	    !take_at(u, req, tree, &from))
		return -EBUSY;
	ret = lower_get_at(&u->lower, frame, req.order);
	after_steps(u, from, tree, req.order);
	if (ret < 0)
		give(u, from, tree, 1U << req.order);
	return ret;
}

int upper_get_at(struct upper *u, struct upper_request req, uint64_t frame)
{
	unsigned int patience = PATIENCE;
	struct moves seen;
	int ret = get_at(u, req, frame);

	/* Frames in use are in use, wherever others may be on their way to. */
	while (ret < 0 && (magazines_hold_any(&u->magazines) ||
			   lower_is_free(&u->lower, frame, frame + (UINT64_C(1) << req.order)))) {
		seen = moves_so_far(u);
		ret = get_at(u, req, frame);
		if (ret < 0 && !look_again(u, seen, 0, &patience))
			break;
	}
	return ret;
}

/* The heuristic: who frees again and again into one tree may as well have it. */
static void follow_frees(struct upper *u, struct upper_request req, struct local *local,
			 uint64_t tree)
{
	struct tree old;

	if (local_count_free(local, tree) < FREES_TO_FOLLOW)
		return;
	old = tree_load(&u->trees, tree);
	if (old.class != req.class)
		return;
	move_begin(local);
	if (!tree_reserve(&u->trees, tree, req.class, 1, &old)) {
		move_cancel(local);
		return;
	}
	install(u, local, req.class, reservation(first_row(u, tree), old, 0));
	move_end(local);
	atom64_count(&local->events.reservations);
}

/*
 * A block has been freed into a tree that was noted to lack something. What it may have now and has not had
 * before lies round that block.
 */
static __attribute__((noinline)) void look_at_note(struct upper *u, struct local *by, uint64_t tree,
						   uint64_t frame, unsigned int order)
{
	unsigned int lacks, whole = order;

	atom_fence_all();
	lacks = tree_load(&u->trees, tree).lacks;
	if (lacks == TREE_LACKS_NOTHING)
		return;
	for (unsigned int o = order + 1 > lacks ? order + 1 : lacks; o < NR_ORDERS; o++) {
		uint64_t start = align_down(frame, UINT64_C(1) << o);

		if (!lower_is_free(&u->lower, start, start + (UINT64_C(1) << o)))
			break;
		whole = o;
	}
	if (whole >= lacks)
		raise_note(u, by, tree, whole + 1);
}

void upper_credit(struct upper *u, struct upper_request req, uint64_t frame)
{
	struct local *local = locals_slot(&u->locals, req.class, req.slot);
	uint64_t tree = tree_of(u, frame);
	bool noted;

	if (local && local_give(&u->locals, local, tree, 1U << req.order, &noted)) {
		if (__builtin_expect(noted, 0) && !MUTANT(BLIND_FREE))
			look_at_note(u, noted_by(u, local), tree, frame, req.order);
		return;
	}
	if (tree_give(&u->trees, tree, 1U << req.order, &noted) && local)
		/* Relaxed: a hint; see search_start(). */
		atom64_store(&local->emptied, tree + 1, ATOM_RELAXED);
	if (__builtin_expect(noted, 0) && !MUTANT(BLIND_FREE))
		look_at_note(u, noted_by(u, local), tree, frame, req.order);
	if (u->last_frees && local)
		follow_frees(u, req, local, tree);
}

int upper_put(struct upper *u, struct upper_request req, uint64_t frame, bool *split)
{
	struct magazine *m = magazine_of(&u->magazines, req.class, req.cpu, req.order);
	int ret;

	*split = false;
	if (m) {
		ret = magazine_put(&u->magazines, m, &u->lower, frame);
		if (ret != -EAGAIN)
			return ret;
	}
	ret = lower_put(&u->lower, frame, req.order, split);
	if (__builtin_expect(ret < 0, 0))
		return ret;
	if (__builtin_expect(*split, 0)) {
		/* As the slot's whose request has this order; whose the frame was shows later. */
		atom64_count(
			&noted_by(u, locals_slot(&u->locals, req.class, req.slot))->events.splits);
		return 0;
	}
	upper_credit(u, req, frame);
	return 0;
}

static void credit_row(void *arg, uint64_t row, unsigned int frames)
{
	struct upper *u = arg;

	give_to_tree(u, tree_of(u, row * ROW_FRAMES), frames);
}

uint64_t upper_raid(struct upper *u)
{
	uint64_t frames;

	if (!magazines_hold_any(&u->magazines))
		return 0;
	move_begin(locals_common(&u->locals));
	frames = magazines_raid(&u->magazines, &u->lower, credit_row, u);
	if (frames > 0)
		move_end(locals_common(&u->locals));
	else
		move_cancel(locals_common(&u->locals));
	return frames;
}

void upper_drain(struct upper *u)
{
	upper_raid(u);
	move_begin(locals_common(&u->locals));
	for (unsigned int class = 0; class < u->trees.policy->nr_classes; class ++) {
		for (unsigned int slot = 0; slot < locals_nr(&u->locals, class); slot++)
			install(u, locals_slot(&u->locals, class, slot), class,
				(struct reservation){0});
	}
	move_end(locals_common(&u->locals));
}

/* No slot holds a tree, no magazine a row. */
static void forget_volatile(struct upper *u)
{
	magazines_forget(&u->magazines);
	for (unsigned int i = 0; i < locals_total(&u->locals); i++) {
		local_swap(&u->locals.slots[i], (struct reservation){0});
		atom64_store(&u->locals.slots[i].last_frees, 0, ATOM_RELAXED);
	}
}

void upper_recover(struct upper *u, unsigned int class)
{
	lower_recover(&u->lower);
	forget_volatile(u);
	for (uint64_t t = 0; t < u->trees.nr; t++)
		tree_set(&u->trees, t, (uint32_t)lower_tree_free(&u->lower, t), class);
}

void upper_build_begin(struct upper_build *b, struct upper *u)
{
	memset(b, 0, sizeof(*b));
	b->u = u;
	lower_reset(&u->lower);
	forget_volatile(u);
	for (uint64_t t = 0; t < u->trees.nr; t++)
		tree_set(&u->trees, t, 0, policy_default_class(u->trees.policy));
}

/* Until upper_build_end() a tree's entry only carries its class. */
static void build_flush(struct upper_build *b)
{
	const struct policy *p = b->u->trees.policy;
	unsigned int class = policy_default_class(p);

	for (unsigned int i = class + 1; i-- > 0;) {
		if (b->used[i] >= b->used[class])
			class = i;
	}
	if (b->used[class])
		tree_set(&b->u->trees, b->tree, 0, class);
	memset(b->used, 0, sizeof(b->used));
}

void upper_build_free(struct upper_build *b, uint64_t start, uint64_t end)
{
	lower_set_free(&b->u->lower, start, end);
}

void upper_build_used(struct upper_build *b, uint64_t start, uint64_t end, unsigned int class,
		      unsigned int order)
{
	/* The frames look allocated since begin; only blocks in one object are to be huge. */
	if (order >= BITFIELD_ORDER && is_aligned(start, BITFIELD_FRAMES)) {
		for (uint64_t frame = start; frame + BITFIELD_FRAMES <= end;
		     frame += BITFIELD_FRAMES)
			lower_set_huge(&b->u->lower, frame / BITFIELD_FRAMES);
	}
	while (start < end) {
		uint64_t tree = tree_of(b->u, start);
		uint64_t stop = min_u64(end, (tree + 1) << b->u->tree_order);

		if (tree != b->tree) {
			build_flush(b);
			b->tree = tree;
		}
		b->used[class] += stop - start;
		start = stop;
	}
}

void upper_build_end(struct upper_build *b)
{
	struct upper *u = b->u;

	build_flush(b);
	lower_set_partial(&u->lower, 0, u->lower.nr_children * BITFIELD_FRAMES);
	lower_flush(&u->lower);
	for (uint64_t t = 0; t < u->trees.nr; t++)
		tree_set(&u->trees, t, (uint32_t)lower_tree_free(&u->lower, t),
			 tree_load(&u->trees, t).class);
}

void upper_set_free(struct upper *u, uint64_t start, uint64_t end)
{
	lower_set_free(&u->lower, start, end);
	while (start < end) {
		uint64_t tree = tree_of(u, start);
		uint64_t stop = min_u64(end, (tree + 1) << u->tree_order);

		give_to_tree(u, tree, (uint32_t)(stop - start));
		start = stop;
	}
}

void upper_take(struct upper *u, uint64_t start, uint64_t end)
{
	/* As the default class: it demotes no tree. */
	struct upper_request req = {.class = (uint8_t)policy_default_class(u->trees.policy)};

	while (start < end) {
		int ret;

		req.order = (uint8_t)largest_order(start, end, BITFIELD_ORDER);
		/* Cannot fail: it is free, and nothing else runs. */
		ret = upper_get_at(u, req, start);
		assert(ret == 0);
		(void)ret;
		start += UINT64_C(1) << req.order;
	}
}

void upper_note_withheld(struct upper *u, uint64_t start, uint64_t end)
{
	lower_set_partial(&u->lower, start, end);
}

static void count_children(const struct lower *l, struct upper_counts *counts)
{
	bool half = false; /* the even one of a pair is wholly free */

	for (uint64_t child = 0; child < l->nr_children; child++) {
		unsigned int entry = child_load(&l->children[child]);
		unsigned int free = child_free_frames(entry);
		uint64_t rows[BITFIELD_ROWS];

		counts->free_frames += free;
		counts->huge_blocks += !!(entry & CHILD_HUGE);
		if (free == BITFIELD_FRAMES && child % 2 == 1 && half) {
			counts->free_blocks[BITFIELD_ORDER]--;
			counts->free_blocks[MAX_ORDER]++;
		} else if (free == BITFIELD_FRAMES) {
			counts->free_blocks[BITFIELD_ORDER]++;
		} else if (free) {
			lower_load(l, child, rows);
			rows_count_blocks(rows, counts->free_blocks);
		}
		half = free == BITFIELD_FRAMES && child % 2 == 0;
	}
}

/* How many frames a magazine holds, by now perhaps of no row. */
static unsigned int held_by(const struct upper *u, const struct magazine *m)
{
	uint64_t row = magazine_row(m);

	if (row == LOWER_NONE)
		return 0;
	/* Relaxed: a statistic. */
	return (unsigned int)__builtin_popcountll(
		atom64_load(lower_row(&u->lower, row) + 1, ATOM_RELAXED));
}

void upper_count(const struct upper *u, struct upper_counts *counts)
{
	count_children(&u->lower, counts);
	for (uint64_t t = 0; t < u->trees.nr; t++) {
		struct tree tree = tree_load(&u->trees, t);

		counts->reserved_trees += tree.reserved;
		counts->reserved_frames += tree.reserved ? tree.free : 0;
		counts->free_trees += !tree.reserved && tree.free == u->trees.frames;
	}
	for (unsigned int i = 0; i <= locals_total(&u->locals); i++) {
		const struct local *local = &u->locals.slots[i];

		counts->reserved_frames += local_load(local).free;
		/* Relaxed: statistics. */
		counts->reservations += atom64_load(&local->events.reservations, ATOM_RELAXED);
		counts->steals += atom64_load(&local->events.steals, ATOM_RELAXED);
		counts->demotions += atom64_load(&local->events.demotions, ATOM_RELAXED);
		counts->splits += atom64_load(&local->events.splits, ATOM_RELAXED);
	}
	for (unsigned int i = 0; i < u->magazines.nr; i++)
		counts->held_frames += held_by(u, &u->magazines.list[i]);
}

void upper_occupancy(const struct upper *u, uint64_t first, size_t n, uint16_t *free_frames)
{
	for (uint64_t i = 0; i < n; i++)
		free_frames[i] +=
			(uint16_t)child_free_frames(child_load(&u->lower.children[first + i]));
	for (unsigned int i = 0; i < u->magazines.nr; i++) {
		uint64_t row = magazine_row(&u->magazines.list[i]);

		if (row != LOWER_NONE && row / BITFIELD_ROWS >= first &&
		    row / BITFIELD_ROWS - first < n)
			free_frames[row / BITFIELD_ROWS - first] +=
				(uint16_t)held_by(u, &u->magazines.list[i]);
	}
}

static int check_local(const struct upper *u, unsigned int class, unsigned int slot, uint32_t *held,
		       struct error *err)
{
	struct reservation r = local_load(locals_slot(&u->locals, class, slot));
	const char *name = u->trees.policy->classes[class].name;

	if (!r.present) {
		if (r.free || r.row)
			return error_set(err, EUCLEAN, "llfree: %s slot %u: no tree, but frames",
					 name, slot);
		return 0;
	}

	uint64_t t = local_tree(&u->locals, r);

	if (t >= u->trees.nr)
		return error_set(err, EUCLEAN, "llfree: %s slot %u: no tree %" PRIu64, name, slot,
				 t);

	struct tree tree = tree_load(&u->trees, t);

	if (!tree.reserved || tree.class != class)
		return error_set(err, EUCLEAN,
				 "llfree: %s slot %u: its tree %" PRIu64 " is %s, class %u", name,
				 slot, t, tree.reserved ? "reserved" : "not reserved", tree.class);
	if (tree.lacks != TREE_LACKS_NOTHING && !r.noted)
		return error_set(err, EUCLEAN,
				 "llfree: %s slot %u does not know of its tree's note", name, slot);
	if (held[t])
		return error_set(err, EUCLEAN, "llfree: tree %" PRIu64 " is held by two slots", t);
	held[t] = r.free + 1;
	return 0;
}

static int check_tree(const struct upper *u, uint64_t t, uint32_t held, struct error *err)
{
	struct tree tree = tree_load(&u->trees, t);
	uint64_t counted = tree.free + (held ? held - 1 : 0);
	uint64_t free = lower_tree_free(&u->lower, t);

	if (tree.reserved != (held != 0))
		return error_set(err, EUCLEAN, "llfree: tree %" PRIu64 " is reserved by nobody", t);
	if (counted != free)
		return error_set(err, EUCLEAN,
				 "llfree: tree %" PRIu64 " counts %" PRIu64
				 " free frames of %" PRIu64,
				 t, counted, free);
	if (tree.lacks < NR_ORDERS && lower_has(&u->lower, first_row(u, t), tree.lacks))
		return error_set(err, EUCLEAN, "llfree: tree %" PRIu64 " is said to lack order %u",
				 t, tree.lacks);
	if (!trees_hide_nothing(&u->trees, t))
		return error_set(err, EUCLEAN, "llfree: tree %" PRIu64 " is hidden from searches",
				 t);
	if (tree.class >= u->trees.policy->nr_classes ||
	    (!tree.reserved && free == u->trees.frames &&
	     tree.class != policy_default_class(u->trees.policy)))
		return error_set(err, EUCLEAN, "llfree: tree %" PRIu64 " has class %u", t,
				 tree.class);
	return 0;
}

/* Every held row has one magazine, and every magazine a held row. */
static int check_magazines(const struct upper *u, struct error *err)
{
	uint64_t rows = 0, held = 0;

	for (uint64_t row = 0; u->magazines.list && row < u->lower.nr_children * BITFIELD_ROWS;
	     row++)
		/* Relaxed: nothing else runs. */
		rows += atom64_load(lower_row(&u->lower, row) + 1, ATOM_RELAXED) != 0;
	for (unsigned int i = 0; i < u->magazines.nr; i++) {
		const struct magazine *m = &u->magazines.list[i];

		if (magazine_row(m) == LOWER_NONE)
			continue;
		held++;
		if (magazine_row(m) >= u->lower.nr_children * BITFIELD_ROWS || !held_by(u, m))
			return error_set(err, EUCLEAN, "llfree: magazine %u: an empty row", i);
		for (unsigned int k = 0; k < i; k++)
			if (magazine_row(&u->magazines.list[k]) == magazine_row(m))
				return error_set(err, EUCLEAN,
						 "llfree: magazines %u and %u hold one row", k, i);
	}
	if (rows != held)
		return error_set(err, EUCLEAN,
				 "llfree: %" PRIu64 " rows are held, by %" PRIu64 " magazines",
				 rows, held);
	return 0;
}

int upper_check(const struct upper *u, struct error *err)
{
	int ret = lower_check(&u->lower, err);
	uint32_t *held; /* by tree: the holding slot's free frames + 1 */

	if (ret == 0)
		ret = check_magazines(u, err);
	if (ret < 0)
		return ret;
	held = calloc(u->trees.nr, sizeof(*held));
	if (!held)
		return error_set(err, ENOMEM, "llfree: check: no memory");
	for (unsigned int class = 0; class < u->trees.policy->nr_classes; class ++) {
		for (unsigned int slot = 0; ret == 0 && slot < locals_nr(&u->locals, class); slot++)
			ret = check_local(u, class, slot, held, err);
	}
	for (uint64_t t = 0; ret == 0 && t < u->trees.nr; t++)
		ret = check_tree(u, t, held[t], err);
	free(held);
	return ret;
}
