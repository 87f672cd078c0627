/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/withheld.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "base/bits.h"

struct withheld_list {
	uint64_t nr;
	struct withheld_range ranges[];
};

/* Each piece is larger than the one before; there cannot be more than this. */
#define PIECES_MAX 30U

struct withheld_root {
	_Atomic uint64_t current;   /* piece * 2 + which of its two lists */
	_Atomic uint64_t nr_pieces; /* asked for; fewer may have been used */
	_Atomic uint64_t capacity[PIECES_MAX];
};

#define CAPACITY_MIN 63U

static size_t list_bytes(uint64_t capacity)
{
	size_t bytes = sizeof(struct withheld_list) + capacity * sizeof(struct withheld_range);

	return align_up(bytes, PERSIST_LINE);
}

static struct withheld_list *ask(struct withheld *w, uint64_t capacity)
{
	return w->env->meta(w->env, 2 * list_bytes(capacity), PERSIST_LINE, META_PERSISTENT);
}

static void flush(const struct withheld *w, const volatile void *from, size_t bytes)
{
	if (w->persist == PERSIST_EADR)
		return;
	for (size_t i = 0; i < bytes; i += PERSIST_LINE)
		persist_flush(w->persist, (const volatile char *)from + i);
	persist_fence(w->persist);
}

/*
 * Everything below runs alone, so all accesses are relaxed; the order that matters is that of the
 * stores to persistent memory, which a crash sees in program order.
 */

/* A further piece. Its capacity is noted before it is counted, so that recovery can ask for it. */
static struct withheld_list *grow(struct withheld *w, uint64_t capacity, uint64_t *place)
{
	uint64_t nr = atom64_load(&w->root->nr_pieces, ATOM_RELAXED);
	struct withheld_list *list;

	if (nr == PIECES_MAX)
		return NULL;
	atom64_store(&w->root->capacity[nr], capacity, ATOM_RELAXED);
	flush(w, &w->root->capacity[nr], sizeof(uint64_t));
	list = ask(w, capacity);
	if (!list)
		return NULL;
	atom64_store(&w->root->nr_pieces, nr + 1, ATOM_RELEASE);
	flush(w, &w->root->nr_pieces, sizeof(uint64_t));
	w->newest = list;
	*place = nr * 2;
	return list;
}

static int ask_for_root(struct withheld *w, const struct alloc_env *env, enum persist persist)
{
	*w = (struct withheld){.env = env, .persist = persist};
	w->root = env->meta(env, sizeof(*w->root), PERSIST_LINE, META_PERSISTENT);
	return w->root ? 0 : -ENOMEM;
}

int withheld_create(struct withheld *w, const struct alloc_env *env, enum persist persist)
{
	uint64_t place;

	if (ask_for_root(w, env, persist) < 0)
		return -ENOMEM;
	w->list = grow(w, CAPACITY_MIN, &place);
	return w->list ? 0 : -ENOMEM;
}

static bool list_is_sane(const struct withheld_list *list, uint64_t capacity)
{
	pfn_t end = 0;

	if (list->nr > capacity)
		return false;
	for (uint64_t i = 0; i < list->nr; i++) {
		const struct withheld_range *r = &list->ranges[i];

		if (r->range.start < end || r->range.end <= r->range.start ||
		    (r->why != WITHHELD_ABSENT && r->why != WITHHELD_ISOLATED))
			return false;
		end = r->range.end;
	}
	return true;
}

int withheld_recover(struct withheld *w, const struct alloc_env *env, enum persist persist)
{
	if (ask_for_root(w, env, persist) < 0)
		return -ENOMEM;

	uint64_t current = atom64_load(&w->root->current, ATOM_RELAXED);
	uint64_t nr = atom64_load(&w->root->nr_pieces, ATOM_RELAXED);

	if (nr == 0 || nr > PIECES_MAX || current / 2 >= nr)
		return -EUCLEAN;
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t capacity = atom64_load(&w->root->capacity[i], ATOM_RELAXED);
		struct withheld_list *first;

		if (capacity > ALLOCATOR_FRAMES_MAX)
			return -EUCLEAN;
		first = ask(w, capacity);
		if (!first)
			return -ENOMEM;
		w->newest = first;
		if (i != current / 2)
			continue;
		w->list = (struct withheld_list *)((char *)first +
						   (current % 2) * list_bytes(capacity));
		if (!list_is_sane(w->list, capacity))
			return -EUCLEAN;
	}
	return 0;
}

/* ---- edits ---- */

int withheld_begin(struct withheld_edit *edit, struct withheld *w, bool empty)
{
	uint64_t current = atom64_load(&w->root->current, ATOM_RELAXED);
	uint64_t capacity = atom64_load(&w->root->capacity[current / 2], ATOM_RELAXED);
	char *list = (char *)(uintptr_t)w->list;

	*edit = (struct withheld_edit){.w = w, .place = current ^ 1, .capacity = capacity};
	list += current % 2 ? -(ptrdiff_t)list_bytes(capacity) : (ptrdiff_t)list_bytes(capacity);
	edit->list = (struct withheld_list *)list;
	edit->list->nr = 0;
	if (!empty)
		memcpy(edit->list, w->list,
		       sizeof(*w->list) + w->list->nr * sizeof(w->list->ranges[0]));
	return 0;
}

static int make_room(struct withheld_edit *edit, size_t wanted)
{
	struct withheld *w = edit->w;
	uint64_t nr = atom64_load(&w->root->nr_pieces, ATOM_RELAXED);
	uint64_t capacity = atom64_load(&w->root->capacity[nr - 1], ATOM_RELAXED);
	struct withheld_list *larger = w->newest;

	if (wanted <= edit->capacity)
		return 0;
	if (wanted <= capacity) {
		/* An edit that was dropped has left it behind. */
		edit->place = (nr - 1) * 2;
	} else {
		capacity = max_u64(2 * capacity, wanted);
		larger = grow(w, capacity, &edit->place);
	}
	if (!larger)
		return -ENOMEM;
	memcpy(larger, edit->list,
	       sizeof(*larger) + edit->list->nr * sizeof(edit->list->ranges[0]));
	edit->list = larger;
	edit->capacity = capacity;
	return 0;
}

/* The first range that ends after @frame, or nr. */
static size_t find(const struct withheld_list *list, pfn_t frame)
{
	size_t low = 0, high = list->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->ranges[middle].range.end <= frame)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int withheld_change(struct withheld_edit *edit, struct pfn_range range, enum withheld_why why)
{
	struct withheld_list *list = edit->list;
	struct withheld_range with[3];
	size_t n = 0, from, to;

	assert(range.start < range.end);
	/* What it overlaps or touches goes; what of that lies outside comes back, or joins it. */
	from = to = find(list, range.start ? range.start - 1 : 0);
	while (to < list->nr && list->ranges[to].range.start <= range.end)
		to++;
	if (from < to) {
		struct withheld_range first = list->ranges[from], last = list->ranges[to - 1];

		if (first.range.start < range.start && first.why == (uint64_t)why)
			range.start = first.range.start;
		else if (first.range.start < range.start)
			with[n++] = (struct withheld_range){
				{first.range.start, min_u64(first.range.end, range.start)},
				first.why};
		if (last.range.end > range.end && last.why == (uint64_t)why)
			range.end = last.range.end;
		if (why != WITHHELD_NOT)
			with[n++] = (struct withheld_range){range, why};
		if (last.range.end > range.end)
			with[n++] = (struct withheld_range){
				{max_u64(last.range.start, range.end), last.range.end}, last.why};
	} else if (why != WITHHELD_NOT) {
		with[n++] = (struct withheld_range){range, why};
	}
	if (make_room(edit, list->nr - (to - from) + n) < 0)
		return -ENOMEM;
	list = edit->list;
	memmove(&list->ranges[from + n], &list->ranges[to],
		(list->nr - to) * sizeof(list->ranges[0]));
	memcpy(&list->ranges[from], with, n * sizeof(with[0]));
	list->nr = list->nr - (to - from) + n;
	return 0;
}

void withheld_commit(struct withheld_edit *edit)
{
	struct withheld *w = edit->w;

	flush(w, edit->list, sizeof(*edit->list) + edit->list->nr * sizeof(edit->list->ranges[0]));
	/* The list is whole before it is current. */
	atom64_store(&w->root->current, edit->place, ATOM_RELEASE);
	flush(w, &w->root->current, sizeof(uint64_t));
	w->list = edit->list;
}

/* ---- reading ---- */

bool withheld_next(const struct withheld *w, struct pfn_range *range, unsigned int why,
		   struct pfn_range *piece)
{
	while (range->start < range->end) {
		size_t at = find(w->list, range->start);
		unsigned int is = WITHHELD_NOT;
		pfn_t next = range->end;

		if (at < w->list->nr) {
			const struct withheld_range *r = &w->list->ranges[at];
			bool inside = r->range.start <= range->start;

			is = inside ? (unsigned int)r->why : WITHHELD_NOT;
			next = min_u64(inside ? r->range.end : r->range.start, range->end);
		}
		*piece = (struct pfn_range){range->start, next};
		range->start = next;
		if (is & why)
			return true;
	}
	return false;
}

bool withheld_overlaps(const struct withheld *w, pfn_t start, pfn_t end)
{
	size_t at = find(w->list, start);

	return at < w->list->nr && w->list->ranges[at].range.start < end;
}
