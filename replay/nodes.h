/* SPDX-License-Identifier: MIT */
/*
 * Of a machine with several nodes: which of them allocations were served from, and how far that was from where
 * the memory was wanted.
 *
 * Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_NODES_H
#define REPLAY_NODES_H

#include "allocators/allocator.h"
#include "replay/memory_state.h"
#include "replay/tell.h"

struct node_counts {
	uint64_t allocs, misses;
	uint64_t distance;  /* the sum of all */
	uint64_t by_node[]; /* allocations */
};

/** Return: all 0, the caller's: free(); NULL: no memory. */
struct node_counts *nodes_create(const struct machine *m);

/**
 * nodes_count - an allocation of the trace was given the block at @pfn
 * Its node is that of its first frame. What is placed for another reason, of the start snapshot or because it
 * was moved, is not counted.
 */
void nodes_count(struct node_counts *n, const struct memory_state *s,
		 const struct alloc_request *req, pfn_t pfn);

/**
 * nodes_tell - node_misses and node_distance, and for each node with memory, as rows of their own, its
 * allocations and its free frames
 * @n: NULL: the machine has one node, and nothing was counted
 * Return: 0; -ENOMEM with t->err set; or the sink's.
 */
int nodes_tell(const struct node_counts *n, const struct memory_state *s, struct tell *t);

#endif
