/* SPDX-License-Identifier: MIT */
/* Queues of frame numbers: against a plain array, and at the end of their pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/frame_deque.h"
#include "base/bits.h"
#include "tests/base/seed.h"

#define NR_DEQUES  3
#define FRAMES_MAX 400

/* Entry 0 is the head. */
struct array {
	uint32_t frame[FRAMES_MAX];
	uint32_t n;
};

struct fixture {
	struct frame_pool pool;
	struct frame_deque deque[NR_DEQUES];
	struct array array[NR_DEQUES];
	struct frame_chunk *chunks;
	uint32_t next; /* frame */
};

static void start(struct fixture *f, size_t chunks)
{
	memset(f, 0, sizeof(*f));
	f->chunks = calloc(chunks, sizeof(*f->chunks));
	assert_non_null(f->chunks);
	/* in two lots of different size, as when memory comes online */
	frame_pool_add(&f->pool, f->chunks, chunks / 3);
	frame_pool_add(&f->pool, f->chunks + chunks / 3, chunks - chunks / 3);
}

static uint32_t take_from(struct array *array, uint32_t at)
{
	uint32_t frame = array->frame[at];

	array->n--;
	memmove(&array->frame[at], &array->frame[at + 1],
		(array->n - at) * sizeof(array->frame[0]));
	return frame;
}

static void put_at(struct array *array, uint32_t at, uint32_t frame)
{
	memmove(&array->frame[at + 1], &array->frame[at],
		(array->n - at) * sizeof(array->frame[0]));
	array->frame[at] = frame;
	array->n++;
}

static void assert_same(const struct frame_deque *deque, const struct array *array)
{
	struct frame_deque_cursor c = frame_deque_begin(deque);
	const uint32_t *slot;
	uint32_t n = 0;

	assert_int_equal(deque->length, array->n);
	while ((slot = frame_deque_next(deque, &c))) {
		assert_true(n < array->n);
		assert_int_equal(*slot, array->frame[n++]);
	}
	assert_int_equal(n, array->n);
	assert_int_equal(frame_deque_peek(deque), array->n ? array->frame[0] : DEQUE_NONE);
}

/* ---- against arrays ---- */

static void put(struct fixture *f, unsigned int d, bool at_head)
{
	struct array *array = &f->array[d];
	uint32_t frame = f->next++;

	if (at_head)
		assert_true(frame_deque_push(&f->deque[d], &f->pool, frame));
	else
		assert_true(frame_deque_append(&f->deque[d], &f->pool, frame));
	put_at(array, at_head ? 0 : array->n, frame);
}

static void get(struct fixture *f, unsigned int d, bool at_head)
{
	struct array *array = &f->array[d];
	uint32_t frame = at_head ? frame_deque_pop(&f->deque[d], &f->pool)
				 : frame_deque_pop_tail(&f->deque[d], &f->pool);

	assert_int_equal(frame,
			 array->n ? take_from(array, at_head ? 0 : array->n - 1) : DEQUE_NONE);
}

static void look_for(struct fixture *f, struct random *r, unsigned int d)
{
	const struct array *array = &f->array[d];
	uint32_t at = array->n ? (uint32_t)random_below(r, array->n) : 0;
	uint32_t limit = (uint32_t)random_below(r, FRAMES_MAX);

	assert_int_equal(frame_deque_find(&f->deque[d], f->next, UINT32_MAX), DEQUE_NONE);
	if (array->n)
		assert_int_equal(frame_deque_find(&f->deque[d], array->frame[at], limit),
				 at < limit ? at : DEQUE_NONE);
}

static void remove_one(struct fixture *f, struct random *r, unsigned int d)
{
	struct array *array = &f->array[d];

	assert_false(frame_deque_remove(&f->deque[d], f->next));
	if (array->n)
		assert_true(frame_deque_remove(
			&f->deque[d], take_from(array, (uint32_t)random_below(r, array->n))));
}

static uint32_t total(const struct fixture *f)
{
	uint32_t n = 0;

	for (unsigned int d = 0; d < NR_DEQUES; d++)
		n += f->array[d].n;
	return n;
}

static void deques_agree_with_arrays(void **state)
{
	struct random r = random_begin(1);
	struct fixture f;

	(void)state;
	start(&f, 2 * (size_t)FRAMES_MAX); /* gaps waste slots */
	for (unsigned int i = 0; i < 200000; i++) {
		unsigned int d = (unsigned int)random_below(&r, NR_DEQUES);
		unsigned int filling = i / 500 % 2 ? 70 : 30;
		bool at_head = random_below(&r, 2);

		if (random_below(&r, 100) < 5)
			remove_one(&f, &r, d);
		else if (random_below(&r, 100) < 5)
			look_for(&f, &r, d);
		else if (random_below(&r, 100) >= filling)
			get(&f, d, at_head);
		else if (f.array[d].n < FRAMES_MAX)
			put(&f, d, at_head);
		assert_int_equal(f.deque[d].length, f.array[d].n);
		if (i % 16 == 0)
			assert_same(&f.deque[d], &f.array[d]);
	}
	for (unsigned int d = 0; d < NR_DEQUES; d++) {
		while (f.array[d].n)
			get(&f, d, d % 2);
		get(&f, d, true);
		get(&f, d, false);
		assert_same(&f.deque[d], &f.array[d]);
	}
	free(f.chunks);
}

/* However the frames are spread, and wherever in their chunks the ends are. */
static void the_promised_chunks_are_enough(void **state)
{
	static const uint32_t sizes[] = {1, 2, 27, 28, 29, 56, 57, 100, FRAMES_MAX};
	struct random r = random_begin(2);
	struct fixture f;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		start(&f, frame_pool_chunks(sizes[s], NR_DEQUES));
		for (unsigned int i = 0; i < 20000; i++) {
			unsigned int d = (unsigned int)random_below(&r, NR_DEQUES);

			if (total(&f) < sizes[s])
				put(&f, d, random_below(&r, 2)); /* asserts that there is room */
			else
				get(&f, d, random_below(&r, 2));
		}
		free(f.chunks);
	}
}

static void an_exhausted_pool_changes_nothing(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 3);
	while (f.array[0].n < 2 * DEQUE_CHUNK_SLOTS)
		put(&f, 0, false);
	put(&f, 1, true);
	/* deque 1 has room at its head, nobody elsewhere */
	assert_false(frame_deque_append(&f.deque[1], &f.pool, 1));
	assert_false(frame_deque_push(&f.deque[0], &f.pool, 1));
	assert_false(frame_deque_append(&f.deque[0], &f.pool, 1));
	assert_false(frame_deque_push(&f.deque[2], &f.pool, 1));
	assert_false(frame_deque_append(&f.deque[2], &f.pool, 1));
	put(&f, 1, true);
	for (unsigned int d = 0; d < NR_DEQUES; d++)
		assert_same(&f.deque[d], &f.array[d]);
	/* a chunk that comes back is anybody's */
	get(&f, 1, true);
	get(&f, 1, false);
	put(&f, 2, false);
	assert_false(frame_deque_push(&f.deque[1], &f.pool, 1));
	for (unsigned int d = 0; d < NR_DEQUES; d++)
		assert_same(&f.deque[d], &f.array[d]);
	free(f.chunks);
}

static void more_chunks_leave_the_larger_lot_unwritten(void **state)
{
	struct frame_chunk *large = calloc(40, sizeof(*large)), small[3];
	struct frame_pool pool = {0};
	static const struct frame_chunk zero;

	(void)state;
	memset(small, 0, sizeof(small));
	frame_pool_add(&pool, large, 40);
	assert_ptr_equal(frame_pool_take(&pool), large);
	frame_pool_add(&pool, small, 3);
	for (size_t i = 0; i < 40; i++)
		assert_memory_equal(&large[i], &zero, sizeof(zero));
	/* all of them are there, each once */
	for (size_t i = 0; i < 42; i++) {
		struct frame_chunk *chunk = frame_pool_take(&pool);

		assert_non_null(chunk);
		assert_int_equal(chunk->slot[0], 0);
		chunk->slot[0] = 1;
	}
	assert_null(frame_pool_take(&pool));
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deques_agree_with_arrays),
		cmocka_unit_test(the_promised_chunks_are_enough),
		cmocka_unit_test(an_exhausted_pool_changes_nothing),
		cmocka_unit_test(more_chunks_leave_the_larger_lot_unwritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
