/* SPDX-License-Identifier: MIT */
/*
 * Our private copy of libjemalloc: the few of its functions that are left visible, behind a prefix so that
 * it is nobody's malloc; and what it is told instead of the system's time, environment and files, so that
 * the same calls give the same placements on any machine.
 *
 * Its state is one for the process. It is started when the first instance is created, with the settings that
 * one asks for.
 */
#ifndef ALLOCATORS_JEMALLOC_COPY_H
#define ALLOCATORS_JEMALLOC_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/allocator.h"

/* Its header for extent_hooks_t and the flags of calls; the functions it declares are not ours. */
#define JEMALLOC_NO_DEMANGLE
#include <jemalloc/jemalloc.h>

/* As in jemalloc's manual. */
void *quire_jemalloc_mallocx(size_t size, int flags);
void quire_jemalloc_dallocx(void *memory, int flags);
size_t quire_jemalloc_nallocx(size_t size, int flags);

/**
 * copy_start - start the copy, unless it runs
 * @pads: each large block is a page longer than asked for, as jemalloc does unless told otherwise
 * Return: 0; -EBUSY: it runs already, with the other @pads; -ENOMEM. Thread-safe.
 */
int copy_start(bool pads, struct error *err);

/**
 * copy_arena_create - an arena that lives on @hooks, its metadata elsewhere
 * @dirty_decay_ms, @muzzy_decay_ms: as jemalloc's settings of these names
 * Return: 0; -ENOMEM. copy_arena_destroy() ends it, with all blocks that are left in it.
 */
int copy_arena_create(extent_hooks_t *hooks, uint64_t dirty_decay_ms, uint64_t muzzy_decay_ms,
		      unsigned int *arena);
void copy_arena_destroy(unsigned int arena);
/** Give back what the arena keeps of free memory: all of it, or what trace time @now_ns leaves of it. */
void copy_arena_purge(unsigned int arena);
void copy_arena_decay(unsigned int arena, uint64_t now_ns);
/** Bytes that an arena's own structures take, beside the frames; 0: this build of jemalloc keeps no statistics. */
size_t copy_arena_own_bytes(unsigned int arena);

/** copy_cache_create - a cache of small blocks for one user at a time. Return: 0; -ENOMEM. */
int copy_cache_create(unsigned int *cache);
void copy_cache_destroy(unsigned int cache);
/** Give back to the arenas what the cache holds. */
void copy_cache_flush(unsigned int cache);

#endif
