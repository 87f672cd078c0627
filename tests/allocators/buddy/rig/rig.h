/* SPDX-License-Identifier: MIT */
/*
 * What the tests of this folder stand on: machines made of a few numbers, an instance with its metadata,
 * and short words for the calls.
 */
#ifndef TESTS_ALLOCATORS_BUDDY_RIG_RIG_H
#define TESTS_ALLOCATORS_BUDDY_RIG_RIG_H

#include "allocators/buddy/buddy.h"

extern const struct allocator_ops buddy_ops;

#define RIG_CHUNKS_MAX 256

struct rig {
	struct machine *m;
	struct allocator *a;
	struct alloc_env env;
	struct option_set *options;
	struct error err;
	void *chunks[RIG_CHUNKS_MAX];
	size_t nr_chunks, bytes, chunks_left;
};

/** An empty machine of two cpus. Asserts on failure, as all of these do. */
struct machine *rig_machine(unsigned int nr_nodes);
void rig_zone(struct machine *m, unsigned int type, unsigned int node, pfn_t start, pfn_t end);
/** Takes the frames off the zones' managed ones, too. */
void rig_absent(struct machine *m, pfn_t start, pfn_t end, enum absence why);
void rig_marks(struct machine *m, unsigned int zone, uint64_t min, uint64_t low, uint64_t high);

/** One Normal zone [start, end). */
struct machine *rig_one_zone(pfn_t start, pfn_t end);

/* The buddy system alone: every request reaches the zones' lists, to the last frame. */
#define RIG_PURE "pcp=off,watermarks=off"

/** Create an instance that is RIG_PURE; takes over @m. */
void rig_open(struct rig *rig, struct machine *m);
/** The same, of other options, "fallback=old,pcp=6.1"; "": the newest kernel's rules. */
void rig_open_with(struct rig *rig, struct machine *m, const char *options);
/**
 * The same, for a trace of kernel @release, with metadata running out after @chunks pieces.
 * Return: what create() returned.
 */
int rig_try_open(struct rig *rig, struct machine *m, const char *options, const char *release,
		 size_t chunks);
/** Check once more, then release everything. */
void rig_close(struct rig *rig);

/** A request for @mt in the highest zone, by cpu 0 of node 0, that may wait for reclaim. */
struct alloc_request rig_request(const struct rig *rig, unsigned int order, unsigned int mt);

struct alloc_result rig_alloc(struct rig *rig, unsigned int order, unsigned int mt);
/** The same with other gfp flags, which choose the highest zone, too, or by another cpu. */
struct alloc_result rig_alloc_gfp(struct rig *rig, unsigned int order, unsigned int mt,
				  uint32_t gfp);
struct alloc_result rig_alloc_on(struct rig *rig, unsigned int cpu, unsigned int order,
				 unsigned int mt);
int rig_alloc_at(struct rig *rig, pfn_t pfn, unsigned int order, unsigned int mt);
int rig_free(struct rig *rig, pfn_t pfn, unsigned int order);
int rig_free_on(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order);
/** alloc() and check(): the block must be the one at @pfn, with these result flags. */
void rig_expect_alloc(struct rig *rig, unsigned int order, unsigned int mt, pfn_t pfn,
		      uint64_t flags);

/**
 * Adopt a map made of bytes (frame_map_from_bytes()), pageblock types and what the kernel counted, zone
 * by zone (NULL: none known).
 */
int rig_adopt(struct rig *rig, const uint8_t *cells, const uint8_t *types,
	      const struct zone_counts *zones);

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

/** A cpu's per-CPU lists of a zone. */
struct pcp *rig_pcp(const struct rig *rig, unsigned int zone, unsigned int cpu);
/** Assert that a per-CPU list holds exactly @n pfns in this order, HEAD first. */
void rig_expect_percpu(const struct rig *rig, unsigned int zone, unsigned int cpu,
		       unsigned int list, size_t n, const pfn_t *pfns);
#define EXPECT_PERCPU(rig, zone, cpu, list, ...)                                                   \
	rig_expect_percpu(rig, zone, cpu, list,                                                    \
			  sizeof((const pfn_t[]){__VA_ARGS__}) / sizeof(pfn_t),                    \
			  (const pfn_t[]){__VA_ARGS__})

/** Pageblock type of @pfn. */
unsigned int rig_type(const struct rig *rig, pfn_t pfn);

struct allocator_stats rig_stats(const struct rig *rig, unsigned int zone);
uint64_t rig_counter(const struct rig *rig, const char *name);

/* A snapshot under construction: one Normal zone [0, PICTURE_FRAMES), enough for grouping by mobility. */
#define PICTURE_FRAMES 8192
#define PICTURE_BLOCKS (PICTURE_FRAMES / HUGE_FRAMES)

struct picture {
	struct rig rig;
	uint8_t cells[PICTURE_FRAMES], types[PICTURE_BLOCKS];
};

/** A fresh instance, and a snapshot of which all is reserved and movable. */
void picture_open(struct picture *p, const char *options);
/** The same, with watermarks. */
void picture_open_marked(struct picture *p, const char *options, uint64_t min, uint64_t low,
			 uint64_t high);
void picture_paint(struct picture *p, pfn_t pfn, size_t n, enum frame_state state);
void picture_adopt(struct picture *p);

/** SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
uint64_t rig_random(uint64_t *state);

/** The seed to begin with: QUIRE_SEED=N, or @usual. */
uint64_t rig_seed(uint64_t usual);

/** 0..n-1; n > 0. */
static inline uint64_t rig_below(uint64_t *state, uint64_t n)
{
	return rig_random(state) % n;
}

#endif
