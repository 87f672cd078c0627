/* SPDX-License-Identifier: MIT */
/*
 * The columns of an event block, and what encoder and decoder share beside the model: symbols, numbers
 * as buckets, op shapes.
 */
#ifndef TRACES_FILE_TRACE_COLUMNS_H
#define TRACES_FILE_TRACE_COLUMNS_H

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "traces/event.h"
#include "traces/file/trace_layout.h"
#include "traces/file/trace_model.h"

enum column {
	COLUMN_META,	/* time unit, cpus, op shapes */
	COLUMN_CPU,	/* per event: index into META's cpus */
	COLUMN_OP,	/* cpu by cpu: index into META's shapes, or "context changes" */
	COLUMN_CONTEXT, /* cpu by cpu: the contexts changed to */
	COLUMN_TIME,	/* 4 classes: how long since the event before, as a bucket */
	COLUMN_TIME_BITS = COLUMN_TIME + 4, /* where in its bucket */
	COLUMN_ALLOC,			    /* symbols that tell the pfn, by group */
	COLUMN_FREE,
	COLUMN_REFILL,
	COLUMN_DRAIN,
	COLUMN_OTHER,
	COLUMN_PFN_BITS,
	COLUMN_ARG,
	COLUMNS,
};

#define DEPTH_MAX      60U /* of a hit below the head of a list */
#define FOLLOW_MAX     60U /* successors looked at */
#define EXPLICIT       64U /* symbols from here on: a bucket */
#define EXPLICIT_OTHER 4U
#define SHAPES_MAX     65535U
#define CPUS_MAX       4096U

enum follow_symbol {
	FOLLOW_NEXT = 0, /* the successor of the one before */
	FOLLOW_UP = 1,	 /* the frames behind the one before */
	FOLLOW_DOWN = 2, /* the frames before it */
	FOLLOW_SKIP = 3, /* + k: the (k + 2)-th successor */
};

enum other_symbol {
	OTHER_ALLOCATED = 0, /* the frame allocated last on this cpu */
	OTHER_UP = 1,
	OTHER_DOWN = 2,
};

/* ---- numbers as buckets: 4 per power of two ---- */

static inline unsigned int bucket_of(uint64_t v)
{
	unsigned int e;

	if (v < 4)
		return (unsigned int)v;
	e = log2_floor(v);
	return (e - 1) << 2 | (unsigned int)(v >> (e - 2) & 3);
}

#define BUCKETS 252U /* that 64 bits need */

/* How many bits say where in its bucket a number is. */
static inline unsigned int bucket_bits(unsigned int bucket)
{
	return bucket < 8 ? 0 : (bucket >> 2) - 1;
}

static inline uint64_t bucket_base(unsigned int bucket)
{
	return bucket < 8 ? bucket : (uint64_t)(4 | (bucket & 3)) << ((bucket >> 2) - 1);
}

/* ---- what encoder and decoder know of an op shape ---- */

enum group {
	GROUP_ALLOC,
	GROUP_FREE,
	GROUP_REFILL,
	GROUP_DRAIN,
	GROUP_OTHER,
	GROUP_NONE, /* no pfn */
};

static inline enum group group_of(unsigned int kind)
{
	switch (kind) {
	case EVENT_ALLOC:
		return GROUP_ALLOC;
	case EVENT_FREE:
		return GROUP_FREE;
	case EVENT_ZONE_LOCKED:
		return GROUP_REFILL;
	case EVENT_PCPU_DRAIN:
		return GROUP_DRAIN;
	default:
		return event_has_pfn(kind) ? GROUP_OTHER : GROUP_NONE;
	}
}

/* Columns of time: how long a step takes depends on whether the same goes on. */
static inline unsigned int time_class(unsigned int group, unsigned int group_before,
				      unsigned int cpu, unsigned int cpu_before)
{
	return group == group_before && cpu == cpu_before && group < 3 ? group : 3;
}

struct shape {
	uint32_t gfp;
	uint8_t kind, order, migratetype, flags;
	bool has_arg;
	uint8_t group, list;
	bool check;	    /* more to check than the pfn */
	uint64_t frames;    /* 2^order */
	uint64_t pfn_limit; /* highest pfn allowed */
	struct event event; /* what all its events have in common */
};

static inline void shape_derive(struct shape *s)
{
	s->group = (uint8_t)group_of(s->kind);
	s->list = (uint8_t)(order_class(s->order) +
			    (s->kind == EVENT_FREE ? 0 : type_class(s->migratetype)));
	s->frames = s->order < 64 ? UINT64_C(1) << s->order : 0;
}

/* The most raw bytes a column of a block of @n events can have. */
static inline size_t column_max(enum column column, size_t n)
{
	switch (column) {
	case COLUMN_META:
		return 32 + CPUS_MAX * 9 + n * 9;
	case COLUMN_CPU:
		return 2 * n;
	case COLUMN_OP:
		return 4 * n;
	case COLUMN_CONTEXT:
		return 5 * n;
	case COLUMN_TIME_BITS:
	case COLUMN_PFN_BITS:
		return 8 * n;
	case COLUMN_ARG:
		return 10 * n;
	default:
		return n;
	}
}

/*
 * Room for a block of @n events; the contents are lost. 16 bytes more, for loads and stores of whole
 * words at the end.
 */
static inline int columns_reserve(struct bytes column[COLUMNS], size_t n)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		size_t capacity = column_max((enum column)i, n) + 16;

		if (column[i].capacity >= capacity)
			continue;
		bytes_free(&column[i]);
		column[i].data = calloc(capacity, 1);
		if (!column[i].data)
			return -ENOMEM;
		column[i].capacity = capacity;
	}
	return 0;
}

static inline void columns_free(struct bytes column[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++)
		bytes_free(&column[i]);
}

#endif
