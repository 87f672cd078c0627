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

	memset(u, 0, sizeof(*u));
	u->base = base;
	u->tree_order = log2_floor(tree_frames);
	u->last_frees = config->last_frees;
	u->lower.nr_children = nr_children;
	u->lower.tree_children = config->tree_children;
	u->lower.absent = &u->absent;
	u->trees.nr = nr_trees;
	u->trees.frames = (uint32_t)tree_frames;
	u->trees.policy = config->policy;
	locals_init(&u->locals, config->policy, config->nr_cpus, nr_trees,
		    (unsigned int)(tree_frames / ROW_FRAMES));

	u->lower.bits = env->meta(env, nr_children * sizeof(struct bitfield),
				  alignof(struct bitfield), META_PERSISTENT);
	u->lower.children = env->meta(env, nr_children * sizeof(child_t), alignof(struct bitfield),
				      META_PERSISTENT);
	u->trees.entries = env->meta(env, nr_trees * sizeof(u->trees.entries[0]),
				     alignof(struct local), META_VOLATILE);
	u->locals.slots =
		env->meta(env, max_u64(locals_total(&u->locals), 1) * sizeof(struct local),
			  alignof(struct local), META_VOLATILE);
	if (!u->lower.bits || !u->lower.children || !u->trees.entries || !u->locals.slots)
		return -ENOMEM;
	return 0;
}

void upper_destroy(struct upper *u)
{
	absent_release(&u->absent);
}

/*
 * Take frames off a slot's counter; should it be short, with what others have freed into its tree
 * since it was reserved.
 */
static bool take_synced(struct upper *u, struct local *local, uint32_t n, struct reservation *r)
{
	if (local_take(local, n, r))
		return true;
	if (!r->present)
		return false;

	uint64_t tree = local_tree(&u->locals, *r);
	uint32_t gained = tree_sync(&u->trees, tree, n - r->free);

	if (gained == 0)
		return false;
	if (!local_give(&u->locals, local, tree, gained)) {
		/* The slot has moved on to another tree. */
		tree_give(&u->trees, tree, gained);
		return false;
	}
	return local_take(local, n, r);
}

/* Frames that turned out not to be usable, or were freed: to whoever counts that tree. */
static void give(struct upper *u, struct local *local, uint64_t tree, uint32_t n)
{
	if (!local || !local_give(&u->locals, local, tree, n))
		tree_give(&u->trees, tree, n);
}

/* A block from the tree a slot holds. */
static uint64_t get_reserved(struct upper *u, struct local *local, unsigned int order)
{
	struct reservation r;

	if (!take_synced(u, local, 1U << order, &r))
		return LOWER_NONE;

	uint64_t frame = lower_get(&u->lower, r.row, order);

	if (frame == LOWER_NONE)
		give(u, local, local_tree(&u->locals, r), 1U << order);
	else if (frame / ROW_FRAMES != r.row)
		local_move(local, r.row, frame / ROW_FRAMES);
	return frame;
}

/* Make @r the slot's reservation and give back the one it had. */
static void install(struct upper *u, struct local *local, unsigned int class, struct reservation r)
{
	struct reservation old = local_swap(local, r);

	if (old.present)
		tree_unreserve(&u->trees, local_tree(&u->locals, old), old.free, class);
}

/* A request on its way through the trees. */
struct search {
	struct upper *u;
	struct upper_request req;
	struct local *local; /* NULL: the class has no slots */
	uint64_t frame, flags;
};

static bool reserve_tree(struct search *s, uint64_t t)
{
	struct upper *u = s->u;
	uint32_t n = 1U << s->req.order;
	struct tree old;

	if (!tree_reserve(&u->trees, t, s->req.class, n, &old))
		return false;
	s->frame = lower_get(&u->lower, first_row(u, t), s->req.order);
	if (s->frame == LOWER_NONE) {
		tree_unreserve(&u->trees, t, old.free, old.class);
		return false;
	}
	install(u, s->local, s->req.class,
		(struct reservation){s->frame / ROW_FRAMES, old.free - n, true});
	s->flags = RESULT_REFILL;
	if (old.class != s->req.class && old.free != u->trees.frames)
		s->flags |= RESULT_FALLBACK;
	atom64_count(&u->events.reservations);
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
	s->frame = lower_get(&u->lower, first_row(u, t), s->req.order);
	if (s->frame == LOWER_NONE) {
		tree_give(&u->trees, t, n);
		return false;
	}
	if (old.class != s->req.class && old.free != u->trees.frames)
		s->flags = RESULT_FALLBACK;
	if (s->local)
		atom64_count(&u->events.steals);
	return true;
}

static bool attempt(void *arg, uint64_t tree, enum policy_verdict verdict)
{
	struct search *s = arg;

	if (verdict == POLICY_STEAL || !s->local)
		return steal_from_tree(s, tree);
	return reserve_tree(s, tree);
}

static uint64_t search_start(const struct upper *u, struct upper_request req,
			     const struct local *local)
{
	if (!local)
		return 0;

	struct reservation r = local_load(local);

	if (r.present)
		return local_tree(&u->locals, r);

	/* Slots begin far apart. */
	unsigned int nr = locals_nr(&u->locals, req.class);

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
	struct reservation r = local_swap(from, (struct reservation){0});

	if (!r.present)
		return;
	if (s->local) {
		tree_set_class(&u->trees, local_tree(&u->locals, r), s->req.class);
		install(u, s->local, s->req.class, r);
	} else {
		tree_unreserve(&u->trees, local_tree(&u->locals, r), r.free, s->req.class);
	}
	atom64_count(&u->events.demotions);
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
			atom64_count(&s->u->events.steals);
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

uint64_t upper_get(struct upper *u, struct upper_request req, uint64_t *flags)
{
	struct local *local = locals_slot(&u->locals, req.class, req.slot);

	*flags = RESULT_PCP_HIT;
	if (local) {
		uint64_t frame = get_reserved(u, local, req.order);

		if (frame != LOWER_NONE)
			return frame;
	}

	struct search s = {.u = u, .req = req, .local = local, .frame = LOWER_NONE};
	struct tree_search ts = {
		.class = req.class,
		.frames = 1U << req.order,
		.start = search_start(u, req, local),
		.near = local && req.order < BITFIELD_ORDER,
		.attempt = attempt,
		.arg = &s,
	};

	if (!trees_search(&u->trees, &ts) && !raid_slots(&s))
		s.frame = LOWER_NONE;
	*flags = s.flags;
	return s.frame;
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

int upper_get_at(struct upper *u, struct upper_request req, uint64_t frame)
{
	uint64_t tree = tree_of(u, frame);
	struct local *from;

	/* Refuse at once what cannot be: taking frames off a tree may change its class. */
	if (!lower_is_free(&u->lower, frame, frame + (UINT64_C(1) << req.order)) ||
	    !take_at(u, req, tree, &from))
		return -EBUSY;

	int ret = lower_get_at(&u->lower, frame, req.order);

	if (ret < 0)
		give(u, from, tree, 1U << req.order);
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
	if (old.class != req.class || !tree_reserve(&u->trees, tree, req.class, 1, &old))
		return;
	install(u, local, req.class, (struct reservation){first_row(u, tree), old.free, true});
	atom64_count(&u->events.reservations);
}

int upper_release(struct upper *u, uint64_t frame, unsigned int order, bool *split)
{
	int ret = lower_put(&u->lower, frame, order, split);

	if (__builtin_expect(*split, 0))
		atom64_count(&u->events.splits);
	return ret;
}

void upper_credit(struct upper *u, struct upper_request req, uint64_t frame)
{
	struct local *local = locals_slot(&u->locals, req.class, req.slot);
	uint64_t tree = tree_of(u, frame);

	if (local && local_give(&u->locals, local, tree, 1U << req.order))
		return;
	tree_give(&u->trees, tree, 1U << req.order);
	if (u->last_frees && local)
		follow_frees(u, req, local, tree);
}

int upper_put(struct upper *u, struct upper_request req, uint64_t frame)
{
	bool split;
	int ret = upper_release(u, frame, req.order, &split);

	if (ret == 0)
		upper_credit(u, req, frame);
	return ret;
}

void upper_drain(struct upper *u)
{
	for (unsigned int class = 0; class < u->trees.policy->nr_classes; class ++) {
		for (unsigned int slot = 0; slot < locals_nr(&u->locals, class); slot++)
			install(u, locals_slot(&u->locals, class, slot), class,
				(struct reservation){0});
	}
}

void upper_build_begin(struct upper_build *b, struct upper *u, struct absent_set *absent)
{
	memset(b, 0, sizeof(*b));
	b->u = u;
	absent_release(&u->absent);
	u->absent = *absent;
	*absent = (struct absent_set){0};

	lower_reset(&u->lower);
	for (unsigned int i = 0; i < locals_total(&u->locals); i++) {
		local_swap(&u->locals.slots[i], (struct reservation){0});
		atom64_store(&u->locals.slots[i].last_frees, 0, ATOM_RELAXED);
	}
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
	for (size_t i = 0; i < u->absent.nr; i++)
		lower_set_absent(&u->lower, u->absent.ranges[i].start, u->absent.ranges[i].end);
	for (uint64_t t = 0; t < u->trees.nr; t++)
		tree_set(&u->trees, t, (uint32_t)lower_tree_free(&u->lower, t),
			 tree_load(&u->trees, t).class);
}

int upper_online(struct upper *u, struct pfn_range range)
{
	struct pfn_range rest = range, piece;

	if (absent_reserve(&u->absent) < 0)
		return -ENOMEM;
	while (absent_next(&u->absent, &rest, true, &piece)) {
		lower_set_free(&u->lower, piece.start, piece.end);
		while (piece.start < piece.end) {
			uint64_t tree = tree_of(u, piece.start);
			uint64_t stop = min_u64(piece.end, (tree + 1) << u->tree_order);

			tree_give(&u->trees, tree, (uint32_t)(stop - piece.start));
			piece.start = stop;
		}
	}
	absent_remove(&u->absent, range);
	lower_set_absent(&u->lower, range.start, range.end);
	return 0;
}

bool upper_may_offline(const struct upper *u, struct pfn_range range)
{
	struct pfn_range piece;

	while (absent_next(&u->absent, &range, false, &piece)) {
		if (!lower_is_free(&u->lower, piece.start, piece.end))
			return false;
	}
	return true;
}

int upper_offline(struct upper *u, struct pfn_range range)
{
	/* As the default class: it demotes no tree. */
	struct upper_request req = {.class = policy_default_class(u->trees.policy)};
	struct pfn_range rest = range, piece;

	if (absent_reserve(&u->absent) < 0)
		return -ENOMEM;
	while (absent_next(&u->absent, &rest, false, &piece)) {
		while (piece.start < piece.end) {
			req.order = largest_order(piece.start, piece.end, BITFIELD_ORDER);

			/* Cannot fail: it is free, and nothing else runs. */
			int ret = upper_get_at(u, req, piece.start);

			assert(ret == 0);
			(void)ret;
			piece.start += UINT64_C(1) << req.order;
		}
	}
	absent_add(&u->absent, range);
	lower_set_absent(&u->lower, range.start, range.end);
	return 0;
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

void upper_count(const struct upper *u, struct upper_counts *counts)
{
	count_children(&u->lower, counts);
	for (uint64_t t = 0; t < u->trees.nr; t++) {
		struct tree tree = tree_load(&u->trees, t);

		counts->reserved_trees += tree.reserved;
		counts->reserved_frames += tree.reserved ? tree.free : 0;
		counts->free_trees += !tree.reserved && tree.free == u->trees.frames;
	}
	for (unsigned int i = 0; i < locals_total(&u->locals); i++)
		counts->reserved_frames += local_load(&u->locals.slots[i]).free;
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
	if (tree.class >= u->trees.policy->nr_classes ||
	    (!tree.reserved && free == u->trees.frames &&
	     tree.class != policy_default_class(u->trees.policy)))
		return error_set(err, EUCLEAN, "llfree: tree %" PRIu64 " has class %u", t,
				 tree.class);
	return 0;
}

int upper_check(const struct upper *u, struct error *err)
{
	int ret = lower_check(&u->lower, err);
	uint32_t *held; /* by tree: the holding slot's free frames + 1 */

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
