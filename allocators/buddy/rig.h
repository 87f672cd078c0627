/* SPDX-License-Identifier: MIT */
/*
 * What the tests of this folder stand on: machines made of a few numbers, an instance with its metadata,
 * and short words for the calls.
 */
#ifndef ALLOCATORS_BUDDY_RIG_H
#define ALLOCATORS_BUDDY_RIG_H

#include "allocators/buddy/buddy.h"

extern const struct allocator_ops buddy_ops;

#define RIG_CHUNKS_MAX 256

struct rig {
	struct machine *m;
	struct allocator *a;
	struct alloc_env env;
	struct error err;
	void *chunks[RIG_CHUNKS_MAX];
	size_t nr_chunks, bytes, chunks_left;
};

/** An empty machine of two cpus. Asserts on failure, as all of these do. */
struct machine *rig_machine(unsigned int nr_nodes);
void rig_zone(struct machine *m, unsigned int type, unsigned int node, pfn_t start, pfn_t end);
void rig_absent(struct machine *m, pfn_t start, pfn_t end, enum absence why);

/** One Normal zone [start, end). */
struct machine *rig_one_zone(pfn_t start, pfn_t end);

/** Create the instance; takes over @m. */
void rig_open(struct rig *rig, struct machine *m);
/** The same, with metadata running out after @chunks pieces. Return: what create() returned. */
int rig_try_open(struct rig *rig, struct machine *m, size_t chunks);
/** Check once more, then release everything. */
void rig_close(struct rig *rig);

/** A request for @mt in the highest zone, node 0. */
struct alloc_request rig_request(const struct rig *rig, unsigned int order, unsigned int mt);

struct alloc_result rig_alloc(struct rig *rig, unsigned int order, unsigned int mt);
int rig_alloc_at(struct rig *rig, pfn_t pfn, unsigned int order, unsigned int mt);
int rig_free(struct rig *rig, pfn_t pfn, unsigned int order);

/** Adopt a map made of bytes (frame_map_from_bytes()) and pageblock types (NULL: none known). */
int rig_adopt(struct rig *rig, const uint8_t *cells, const uint8_t *types);

/** Assert that check() finds nothing. */
void rig_check(struct rig *rig);

/** Assert that a list holds exactly @n pfns in this order, HEAD first. */
void rig_expect_list(const struct rig *rig, unsigned int zone, unsigned int order, unsigned int mt,
		     size_t n, const pfn_t *pfns);
#define EXPECT_LIST(rig, zone, order, mt, ...)                                                     \
	rig_expect_list(rig, zone, order, mt,                                                      \
			sizeof((const pfn_t[]){__VA_ARGS__}) / sizeof(pfn_t),                      \
			(const pfn_t[]){__VA_ARGS__})
#define EXPECT_EMPTY(rig, zone, order, mt) rig_expect_list(rig, zone, order, mt, 0, NULL)

/** Pageblock type of @pfn. */
unsigned int rig_type(const struct rig *rig, pfn_t pfn);

struct allocator_stats rig_stats(const struct rig *rig, unsigned int zone);
uint64_t rig_counter(const struct rig *rig, const char *name);

/** xorshift64*: @state must not be 0. */
uint64_t rig_random(uint64_t *state);

#endif
