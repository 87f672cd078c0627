/* SPDX-License-Identifier: MIT */
/*
 * What a crash leaves of persistent memory, where caches are not in the persistence domain: of each
 * 64-byte line any one of the contents it has had since it was last known to be written back, for it
 * may have been evicted at any time, or not. A flush takes effect at the thread's next fence: then
 * the line has at least the content it had when it was flushed.
 */
#ifndef TESTS_ALLOCATORS_LLFREE_EXPLORER_LINES_H
#define TESTS_ALLOCATORS_LLFREE_EXPLORER_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/allocators/llfree/explorer/explore.h"

#define LINE_BYTES   64U
#define LINES_MAX    32U
#define VERSIONS_MAX 64U

struct line {
	uint32_t first; /* number of the oldest content that may be found */
	uint32_t nr;	/* how many contents; the last is the current one */
	/* By thread: 1 + number of the content a flush under way will write back; 0: none. */
	uint32_t flushed[EXPLORE_THREADS_MAX];
	unsigned char versions[VERSIONS_MAX][LINE_BYTES];
};

struct lines {
	const unsigned char *memory; /* the live one */
	unsigned int nr;
	struct line lines[LINES_MAX];
};

/** lines_reset - all of @memory, a multiple of 64 bytes, has been written back */
void lines_reset(struct lines *l, const void *memory, size_t bytes);

/** lines_access - follow what a thread does; @word may be anywhere. */
void lines_access(struct lines *l, unsigned int thread, const volatile void *word,
		  enum atom_access access, bool success);

/** lines_hash - all that lines_crash() depends on, and what fences will change. */
uint64_t lines_hash(const struct lines *l);

struct crash_count {
	uint64_t exhaustive; /* crash points at which each combination was judged */
	uint64_t sampled;    /* those at which there were too many, so that some were drawn */
	uint64_t images;     /* combinations */
};

/**
 * lines_crash - offer what a crash may leave now, each image once
 * @image: room for one; valid during @judge
 * @bound: above so many images, this many are drawn, the oldest and the newest among them
 */
void lines_crash(const struct lines *l, unsigned char *image, uint64_t bound,
		 void (*judge)(void *arg), void *arg, struct crash_count *count);

#endif
