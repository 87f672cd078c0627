/* SPDX-License-Identifier: MIT */
/*
 * Queues of frame numbers for per-CPU lists: pushed and popped at both ends, in chunks of two cache
 * lines, so that a list costs memory for what is on it and not for every frame that could be. All
 * deques of one owner share a pool of chunks; a pool never grows by itself, which bounds the owner's
 * memory and makes every operation safe where no memory may be asked for.
 *
 * Frames taken out of the middle leave a gap that the ends skip when they get there.
 *
 * Not thread-safe: the owner's lock covers its deques and their pool.
 */
#ifndef ALLOCATORS_FRAME_DEQUE_H
#define ALLOCATORS_FRAME_DEQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEQUE_NONE	  UINT32_MAX /* no frame: the answer of an empty deque, and a gap */
#define DEQUE_CHUNK_SLOTS 28

struct frame_chunk {
	struct frame_chunk *prev, *next; /* next also chains unused chunks */
	uint32_t slot[DEQUE_CHUNK_SLOTS];
};

struct frame_pool {
	struct frame_chunk *unused; /* given back */
	struct frame_chunk *fresh,
		*fresh_end; /* never used; kept apart, so that they stay unwritten */
};

struct frame_deque {
	struct frame_chunk *head, *tail; /* NULL: empty */
	uint32_t length;		 /* without gaps */
	uint32_t first, last; /* slots: the head's first in use, one behind the tail's last */
};

/** Chunks that hold @frames frames in @deques deques, whatever their distribution without gaps. */
static inline size_t frame_pool_chunks(uint64_t frames, unsigned int deques)
{
	return (size_t)((frames + DEQUE_CHUNK_SLOTS - 1) / DEQUE_CHUNK_SLOTS + 2U * deques);
}

/** Add @n zeroed chunks, the caller's, to a pool (zeroed when new). The larger lot stays unwritten. */
static inline void frame_pool_add(struct frame_pool *pool, struct frame_chunk *chunks, size_t n)
{
	struct frame_chunk *end = chunks + n;

	if ((size_t)(pool->fresh_end - pool->fresh) < n) {
		struct frame_chunk *fresh = pool->fresh, *fresh_end = pool->fresh_end;

		pool->fresh = chunks;
		pool->fresh_end = end;
		chunks = fresh;
		end = fresh_end;
	}
	for (; chunks < end; chunks++) {
		chunks->next = pool->unused;
		pool->unused = chunks;
	}
}

static inline struct frame_chunk *frame_pool_take(struct frame_pool *pool)
{
	struct frame_chunk *chunk = pool->unused;

	if (chunk)
		pool->unused = chunk->next;
	else if (pool->fresh < pool->fresh_end)
		chunk = pool->fresh++;
	return chunk;
}

static inline void frame_pool_put(struct frame_pool *pool, struct frame_chunk *chunk)
{
	chunk->next = pool->unused;
	pool->unused = chunk;
}

/** Push at the head. Return: false: the pool is exhausted, nothing has changed. */
static inline bool frame_deque_push(struct frame_deque *d, struct frame_pool *pool, uint32_t frame)
{
	if (!d->head || d->first == 0) {
		struct frame_chunk *chunk = frame_pool_take(pool);

		if (!chunk)
			return false;
		chunk->prev = NULL;
		chunk->next = d->head;
		if (d->head) {
			d->head->prev = chunk;
		} else {
			d->tail = chunk;
			d->last = DEQUE_CHUNK_SLOTS;
		}
		d->head = chunk;
		d->first = DEQUE_CHUNK_SLOTS;
	}
	d->head->slot[--d->first] = frame;
	d->length++;
	return true;
}

/** Push at the tail. Return: as frame_deque_push(). */
static inline bool frame_deque_append(struct frame_deque *d, struct frame_pool *pool,
				      uint32_t frame)
{
	if (!d->tail || d->last == DEQUE_CHUNK_SLOTS) {
		struct frame_chunk *chunk = frame_pool_take(pool);

		if (!chunk)
			return false;
		chunk->next = NULL;
		chunk->prev = d->tail;
		if (d->tail) {
			d->tail->next = chunk;
		} else {
			d->head = chunk;
			d->first = 0;
		}
		d->tail = chunk;
		d->last = 0;
	}
	d->tail->slot[d->last++] = frame;
	d->length++;
	return true;
}

/* Give the chunk at the emptied end back. */
static inline void frame_deque_drop_head(struct frame_deque *d, struct frame_pool *pool)
{
	struct frame_chunk *chunk = d->head;

	d->head = chunk->next;
	d->first = 0;
	if (d->head)
		d->head->prev = NULL;
	else
		d->tail = NULL;
	frame_pool_put(pool, chunk);
}

static inline void frame_deque_drop_tail(struct frame_deque *d, struct frame_pool *pool)
{
	struct frame_chunk *chunk = d->tail;

	d->tail = chunk->prev;
	d->last = DEQUE_CHUNK_SLOTS;
	if (d->tail)
		d->tail->next = NULL;
	else
		d->head = NULL;
	frame_pool_put(pool, chunk);
}

/** Pop the head. Return: DEQUE_NONE if empty. */
static inline uint32_t frame_deque_pop(struct frame_deque *d, struct frame_pool *pool)
{
	uint32_t frame = DEQUE_NONE;

	while (frame == DEQUE_NONE && d->head) {
		frame = d->head->slot[d->first++];
		if (d->first == (d->head == d->tail ? d->last : DEQUE_CHUNK_SLOTS))
			frame_deque_drop_head(d, pool);
	}
	d->length -= frame != DEQUE_NONE;
	return frame;
}

/** Pop the tail. Return: DEQUE_NONE if empty. */
static inline uint32_t frame_deque_pop_tail(struct frame_deque *d, struct frame_pool *pool)
{
	uint32_t frame = DEQUE_NONE;

	while (frame == DEQUE_NONE && d->tail) {
		frame = d->tail->slot[--d->last];
		if (d->last == (d->head == d->tail ? d->first : 0))
			frame_deque_drop_tail(d, pool);
	}
	d->length -= frame != DEQUE_NONE;
	return frame;
}

/* A place in a deque, from the head on; begins with frame_deque_begin(). */
struct frame_deque_cursor {
	const struct frame_chunk *chunk;
	uint32_t at;
};

static inline struct frame_deque_cursor frame_deque_begin(const struct frame_deque *d)
{
	return (struct frame_deque_cursor){d->head, d->first};
}

/** The slot of the next frame, or NULL at the end. Valid until the deque changes. */
static inline const uint32_t *frame_deque_next(const struct frame_deque *d,
					       struct frame_deque_cursor *c)
{
	while (c->chunk) {
		uint32_t end = c->chunk == d->tail ? d->last : DEQUE_CHUNK_SLOTS;
		const uint32_t *slot;

		if (c->at == end) {
			c->chunk = c->chunk->next;
			c->at = 0;
			continue;
		}
		slot = &c->chunk->slot[c->at++];
		if (*slot != DEQUE_NONE)
			return slot;
	}
	return NULL;
}

/** The head without popping it. Return: DEQUE_NONE if empty. O(gaps at the head). */
static inline uint32_t frame_deque_peek(const struct frame_deque *d)
{
	struct frame_deque_cursor c = frame_deque_begin(d);
	const uint32_t *slot = frame_deque_next(d, &c);

	return slot ? *slot : DEQUE_NONE;
}

/** The tail without popping it, unless a gap is there. Return: DEQUE_NONE if empty or a gap. O(1). */
static inline uint32_t frame_deque_peek_tail(const struct frame_deque *d)
{
	return d->tail ? d->tail->slot[d->last - 1] : DEQUE_NONE;
}

/**
 * frame_deque_find - how many frames lie before @frame, counted from the head, at most @limit
 * Return: its depth, 0 for the head; DEQUE_NONE: not among the first @limit. O(depth).
 */
static inline uint32_t frame_deque_find(const struct frame_deque *d, uint32_t frame, uint32_t limit)
{
	struct frame_deque_cursor c = frame_deque_begin(d);
	const uint32_t *slot;

	for (uint32_t depth = 0; depth < limit && (slot = frame_deque_next(d, &c)); depth++)
		if (*slot == frame)
			return depth;
	return DEQUE_NONE;
}

/** Take @frame out of the middle, leaving a gap. Return: false: not there. O(length). */
static inline bool frame_deque_remove(struct frame_deque *d, uint32_t frame)
{
	struct frame_deque_cursor c = frame_deque_begin(d);
	const uint32_t *slot;

	while ((slot = frame_deque_next(d, &c))) {
		if (*slot != frame)
			continue;
		*(uint32_t *)(uintptr_t)slot = DEQUE_NONE;
		d->length--;
		return true;
	}
	return false;
}

#endif
