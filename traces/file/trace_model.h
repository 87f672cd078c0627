/* SPDX-License-Identifier: MIT */
/*
 * Encoder and decoder run the same small model of per-CPU page lists over a block's events, so that
 * most frame numbers cost a symbol that is nearly always the same one. Nothing in the model can be
 * wrong, only expensive: whatever it does not predict is written as a difference. Each block starts
 * with a fresh model. docs/trace-format.md states it for other readers; a change here is a new format.
 */
#ifndef TRACES_FILE_TRACE_MODEL_H
#define TRACES_FILE_TRACE_MODEL_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/machine.h"
#include "traces/file/trace_layout.h"

#define NIL	     UINT16_C(0xffff) /* no node; a block has at most 0xffff events */
#define LIST_CLASSES 64U
#define HASH_SIZE    65536U
#define BLOCK_TYPES  32768U
#define STREAM_TAILS 4096U

_Static_assert(BLOCK_EVENTS_MAX <= NIL, "an event's number must fit a node");

/* One CPU of the block. A node is the number of an event in the block. */
struct model_cpu {
	uint64_t last_free, last_refill, last_drain, last_other, last_alloc;
	uint64_t last_of[LIST_CLASSES]; /* frame allocated last from that list */
	uint16_t free_node,
		drain_node; /* event that last concerned last_free, last_drain; or NIL */
	uint16_t head[LIST_CLASSES], tail[LIST_CLASSES];
	uint16_t freed[LIST_CLASSES]; /* last free that went to that list */
};

struct model {
	/* By node. */
	uint64_t *pfn;
	uint16_t *below;		    /* next towards the tail of its list */
	uint16_t *successor;		    /* next of its stream */
	uint16_t hash[HASH_SIZE];	    /* pfn -> alloc or free that concerned it last */
	uint16_t stream_tail[STREAM_TAILS]; /* allocs: last one by cpu and shape */
	uint8_t block_type[BLOCK_TYPES];    /* pageblock -> migratetype class */
	struct model_cpu *cpus;
	size_t nr_cpus, nr_nodes; /* that there is room for */
};

static inline unsigned int type_class(unsigned int migratetype)
{
	return migratetype < 3 ? migratetype : 3;
}

static inline unsigned int order_class(unsigned int order)
{
	return (order < 15 ? order : 15) * 4;
}

static inline uint32_t pfn_hash(uint64_t pfn)
{
	return (uint32_t)(pfn * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static inline uint8_t *block_type_of(struct model *m, uint64_t pfn)
{
	return &m->block_type[pfn >> 9 & (BLOCK_TYPES - 1)];
}

static inline int model_reserve(struct model *m, size_t n)
{
	if (n <= m->nr_nodes)
		return 0;
	free(m->pfn);
	free(m->below);
	free(m->successor);
	m->pfn = calloc(n, sizeof(*m->pfn));
	m->below = calloc(n, sizeof(*m->below));
	m->successor = calloc(n, sizeof(*m->successor));
	m->nr_nodes = m->pfn && m->below && m->successor ? n : 0;
	return m->nr_nodes ? 0 : -ENOMEM;
}

static inline void model_free_memory(struct model *m)
{
	free(m->pfn);
	free(m->below);
	free(m->successor);
	free(m->cpus);
}

static inline int model_reset(struct model *m, size_t nr_cpus, size_t n)
{
	if (model_reserve(m, n))
		return -ENOMEM;
	if (m->nr_cpus < nr_cpus) {
		struct model_cpu *cpus = reallocarray(m->cpus, nr_cpus, sizeof(*cpus));

		if (!cpus)
			return -ENOMEM;
		m->cpus = cpus;
		m->nr_cpus = nr_cpus;
	}
	memset(m->hash, 0xff, sizeof(m->hash));
	memset(m->stream_tail, 0xff, sizeof(m->stream_tail));
	memset(m->block_type, MIGRATE_MOVABLE, sizeof(m->block_type));
	for (size_t i = 0; i < nr_cpus; i++) {
		struct model_cpu *c = &m->cpus[i];

		memset(c, 0, sizeof(*c));
		c->free_node = c->drain_node = NIL;
		memset(c->head, 0xff, sizeof(c->head));
		memset(c->tail, 0xff, sizeof(c->tail));
		memset(c->freed, 0xff, sizeof(c->freed));
	}
	return 0;
}

/* The alloc or free that last concerned @pfn. */
static inline uint16_t model_node(const struct model *m, uint64_t pfn)
{
	uint16_t node = m->hash[pfn_hash(pfn)];

	return node != NIL && m->pfn[node] == pfn ? node : NIL;
}

static inline void model_append(struct model *m, uint16_t *stream, uint16_t node)
{
	m->successor[node] = NIL;
	if (*stream != NIL)
		m->successor[*stream] = node;
	*stream = node;
}

/* Event @i allocated @pfn, which has been taken off its list. */
static inline void model_alloc(struct model *m, struct model_cpu *c, uint16_t i, uint64_t pfn,
			       unsigned int list, uint32_t stream)
{
	m->pfn[i] = pfn;
	c->last_alloc = c->last_of[list] = pfn;
	*block_type_of(m, pfn) = (uint8_t)(list & 3);
	m->hash[pfn_hash(pfn)] = i;
	model_append(m, &m->stream_tail[stream & (STREAM_TAILS - 1)], i);
}

/* Event @i freed @pfn: to the head of the list its pageblock's type names. */
static inline void model_free(struct model *m, struct model_cpu *c, uint16_t i, uint64_t pfn,
			      unsigned int order_list)
{
	unsigned int list = order_list + *block_type_of(m, pfn);
	uint16_t *slot = &m->hash[pfn_hash(pfn)];

	m->pfn[i] = pfn;
	c->last_free = pfn;
	c->free_node = *slot != NIL && m->pfn[*slot] == pfn ? *slot : NIL;
	*slot = i;
	m->below[i] = c->head[list];
	c->head[list] = i;
	if (c->tail[list] == NIL)
		c->tail[list] = i;
	model_append(m, &c->freed[list], i);
}

/* Event @i took @pfn from the buddy: to the tail of its list. */
static inline void model_refill(struct model *m, struct model_cpu *c, uint16_t i, uint64_t pfn,
				unsigned int list)
{
	m->pfn[i] = pfn;
	c->last_refill = pfn;
	*block_type_of(m, pfn) = (uint8_t)(list & 3);
	m->below[i] = NIL;
	if (c->tail[list] == NIL)
		c->head[list] = i;
	else
		m->below[c->tail[list]] = i;
	c->tail[list] = i;
}

static inline void model_drain(struct model *m, struct model_cpu *c, uint64_t pfn,
			       unsigned int list)
{
	c->last_drain = pfn;
	c->drain_node = model_node(m, pfn);
	*block_type_of(m, pfn) = (uint8_t)(list & 3);
}

/* Take @node's list up to and including @node off. */
static inline void model_take(struct model *m, struct model_cpu *c, unsigned int list,
			      uint16_t node)
{
	c->head[list] = m->below[node];
	if (c->head[list] == NIL)
		c->tail[list] = NIL;
}

#endif
