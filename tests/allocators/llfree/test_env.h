/* SPDX-License-Identifier: MIT */
/*
 * For the tests of LLFree: an environment that gives metadata, counts it, refuses it when told to, and
 * can be copied as a crash leaves it: what is persistent stays, the rest is gone.
 */
#ifndef TESTS_ALLOCATORS_LLFREE_TEST_ENV_H
#define TESTS_ALLOCATORS_LLFREE_TEST_ENV_H

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/allocator.h"
#include "allocators/environment.h"
#include "base/bits.h"

#define TEST_PIECES_MAX 512U

struct test_piece {
	void *memory;
	size_t bytes, align;
};

struct test_env {
	struct alloc_env env; /* first: meta() finds the rest by it */
	struct error err;
	struct test_piece persistent[TEST_PIECES_MAX];
	void *volatiles[TEST_PIECES_MAX];
	size_t nr_persistent, nr_volatile;
	size_t nr_asked; /* persistent ones, below nr_persistent only in recovery */
	size_t volatile_bytes, persistent_bytes;
	bool starve_volatile, starve_persistent; /* no more of that kind */
};

/* Numbers that are the same on every machine (splitmix64). */
static inline uint64_t test_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Of a world under random operations: any struct with its seed, and the step it is at. */
#define expect(w, cond)                                                                            \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail_msg("seed %llu step %u: %s", (unsigned long long)(w)->seed,           \
				 (w)->step, #cond);                                                \
	} while (0)

static inline void *test_env_piece(size_t bytes, size_t align)
{
	void *memory = aligned_alloc(align, align_up(bytes, align));

	assert_non_null(memory);
	memset(memory, 0, bytes);
	return memory;
}

static inline void *test_env_meta(const struct alloc_env *env, size_t bytes, size_t align,
				  enum meta_kind kind)
{
	struct test_env *te = (struct test_env *)(uintptr_t)env;
	void *memory;

	if (kind == META_PERSISTENT && te->nr_asked < te->nr_persistent) {
		struct test_piece *piece = &te->persistent[te->nr_asked];

		if (piece->bytes != bytes || piece->align != align)
			return NULL;
		te->nr_asked++;
		return piece->memory;
	}
	if (kind == META_PERSISTENT ? te->starve_persistent : te->starve_volatile)
		return NULL;
	memory = test_env_piece(bytes, align);
	if (kind == META_PERSISTENT) {
		assert_true(te->nr_persistent < TEST_PIECES_MAX);
		te->persistent[te->nr_persistent++] = (struct test_piece){memory, bytes, align};
		te->nr_asked++;
		te->persistent_bytes += bytes;
	} else {
		assert_true(te->nr_volatile < TEST_PIECES_MAX);
		te->volatiles[te->nr_volatile++] = memory;
		te->volatile_bytes += bytes;
	}
	return memory;
}

/* @machine, @options: borrowed, may be NULL for parts that do not look at them. */
static inline void test_env_init(struct test_env *te, const struct machine *machine,
				 const struct option_set *options)
{
	memset(te, 0, sizeof(*te));
	te->env = (struct alloc_env){.machine = machine, .error = &te->err, .meta = test_env_meta};
	environment_read_options(&te->env, options);
}

/* test_env_crash - @te becomes what recovery finds if @dead is killed now; @dead may live on. */
static inline void test_env_crash(struct test_env *te, const struct test_env *dead)
{
	test_env_init(te, dead->env.machine, dead->env.options);
	for (size_t i = 0; i < dead->nr_persistent; i++) {
		struct test_piece piece = dead->persistent[i];

		piece.memory = test_env_piece(piece.bytes, piece.align);
		memcpy(piece.memory, dead->persistent[i].memory, piece.bytes);
		te->persistent[i] = piece;
	}
	te->nr_persistent = dead->nr_persistent;
	te->persistent_bytes = dead->persistent_bytes;
}

/* What recovery has not asked for is gone. */
static inline void test_env_recovered(struct test_env *te)
{
	while (te->nr_persistent > te->nr_asked)
		free(te->persistent[--te->nr_persistent].memory);
}

static inline void test_env_release(struct test_env *te)
{
	while (te->nr_persistent)
		free(te->persistent[--te->nr_persistent].memory);
	while (te->nr_volatile)
		free(te->volatiles[--te->nr_volatile]);
}

#endif
