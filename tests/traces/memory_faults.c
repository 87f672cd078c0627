/* SPDX-License-Identifier: MIT */
#include "tests/traces/memory_faults.h"

#include <errno.h>
#include <stdlib.h>

#define ZSTD_STATIC_LINKING_ONLY /* contexts with an allocator of one's own */
#include <xxhash.h>
#include <zstd.h>

static struct {
	bool armed, hit;
	enum fault_mode mode;
	uint64_t left; /* allocations up to and with the one that fails */
} faults;

void faults_arm(uint64_t nth, enum fault_mode mode)
{
	faults.armed = true;
	faults.hit = false;
	faults.mode = mode;
	faults.left = nth;
}

bool faults_disarm(void)
{
	faults.armed = false;
	return faults.hit;
}

static bool fails(void)
{
	if (!faults.armed || (faults.hit && faults.mode == FAULT_ONCE))
		return false;
	if (faults.left)
		faults.left--;
	if (faults.left)
		return false;
	faults.hit = true;
	errno = ENOMEM;
	return true;
}

#define WRAP(type, name, parameters, ...)                                                          \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails() ? NULL : __real_##name(__VA_ARGS__);                                \
	}

WRAP(void *, malloc, (size_t n), n)
WRAP(void *, calloc, (size_t n, size_t size), n, size)
WRAP(void *, realloc, (void *p, size_t n), p, n)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), p, n, size)
WRAP(char *, strdup, (const char *s), s)
WRAP(char *, strndup, (const char *s, size_t n), s, n)
WRAP(char *, realpath, (const char *path, char *resolved), path, resolved)
WRAP(XXH3_state_t *, XXH3_createState, (void))

static void *zstd_alloc(void *unused, size_t n)
{
	(void)unused;
	return fails() ? NULL : __real_malloc(n);
}

static void zstd_free(void *unused, void *p)
{
	(void)unused;
	free(p);
}

static const ZSTD_customMem zstd_memory = {zstd_alloc, zstd_free, NULL};

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
	return ZSTD_createCCtx_advanced(zstd_memory);
}

ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
	return ZSTD_createDCtx_advanced(zstd_memory);
}
