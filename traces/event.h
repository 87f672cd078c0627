/* SPDX-License-Identifier: MIT */
/*
 * One line of a trace: what the kernel's page allocator was asked to do, or is known to have done.
 */
#ifndef TRACES_EVENT_H
#define TRACES_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/machine.h"

enum event_kind {
	/* These drive a replay. */
	EVENT_ALLOC = 1,    /* pfn, order, gfp, migratetype (requested), context, cpu */
	EVENT_FREE,	    /* pfn, order, context, cpu */
	EVENT_ALLOC_FAILED, /* as ALLOC, pfn PFN_NONE */
	EVENT_MARK,	    /* a named phase begins: arg = id, see trace_reader_mark_name() */
	EVENT_LOST,	    /* arg = events lost just before, on cpu */
	EVENT_ONLINE,	    /* frames pfn .. pfn + arg - 1 become managed and free */
	EVENT_OFFLINE,	    /* the reverse */
	EVENT_MOVE,	    /* the object at pfn (order) now lives at arg */
	EVENT_LAST_DRIVING = EVENT_MOVE,
	/* Ground truth: what the kernel's allocator did inside. */
	EVENT_ZONE_LOCKED, /* block taken from the free lists: pfn, order, migratetype (of the list) */
	EVENT_PCPU_DRAIN, /* block returned from a per-CPU list: pfn, order, migratetype */
	EVENT_EXTFRAG, /* fallback: pfn, order and migratetype as asked; arg: event_extfrag_arg() */
	EVENT_COMPACTION, /* arg: event_compaction_arg() */
	/* Optional. */
	EVENT_LABEL, /* pfn, order: page cache of the file context */
	EVENT_KINDS,
};

/** "alloc", "free", ...; NULL for an unknown kind. */
const char *event_kind_name(unsigned int kind);

enum event_flag {
	EVENT_HARDIRQ = 1,     /* in a hard interrupt */
	EVENT_SOFTIRQ = 2,     /* in a soft interrupt */
	EVENT_NESTED = 4,      /* preempt depth >= 2 */
	EVENT_PCPU_REFILL = 8, /* ZONE_LOCKED: percpu_refill as the kernel printed it */
};

struct event {
	uint64_t time_ns; /* trace clock, never decreasing within a trace */
	uint64_t pfn;	  /* PFN_NONE where a kind has none */
	uint64_t arg;
	uint32_t gfp;	  /* sim/gfp.h; 0 where a kind has none */
	uint32_t context; /* renumbered pid, from 1; 0: unknown */
	uint16_t cpu;
	uint8_t kind, order, migratetype, flags;
};

static inline uint64_t event_extfrag_arg(unsigned int fallback_order, unsigned int fallback_type,
					 bool change_ownership)
{
	return fallback_order | (uint64_t)fallback_type << 8 | (uint64_t)change_ownership << 16;
}

static inline unsigned int event_fallback_order(uint64_t arg)
{
	return (unsigned int)(arg & 0xff);
}

static inline unsigned int event_fallback_type(uint64_t arg)
{
	return (unsigned int)(arg >> 8 & 0xff);
}

static inline bool event_change_ownership(uint64_t arg)
{
	return arg >> 16 & 1;
}

static inline uint64_t event_compaction_arg(uint32_t scanned, uint32_t moved)
{
	return scanned | (uint64_t)moved << 32;
}

/* What an event's fields may hold in a trace of some machine. */
struct event_limits {
	uint64_t pfn_end; /* machine_end(), or PFN_MAX + 1 where the pfn is a virtual id */
	uint32_t nr_cpus;
};

#define EVENT_ORDER_MAX 31

/** Does the kind refer to a block of frames at pfn? If not, its pfn is PFN_NONE. */
static inline bool event_has_pfn(unsigned int kind)
{
	return kind != EVENT_ALLOC_FAILED && kind != EVENT_MARK && kind != EVENT_LOST &&
	       kind != EVENT_COMPACTION;
}

/**
 * event_check - are all fields in range?
 * Alignment is not asked for: what a kernel reported stays as it is, replay repairs it.
 * Return: NULL, or the name of the first field that is not ("kind", "order", "pfn", "arg", "cpu",
 * "migratetype").
 */
const char *event_check(const struct event *e, const struct event_limits *limits);

/** Does a trace count it in `ops`? */
static inline bool event_is_op(const struct event *e)
{
	return e->kind == EVENT_ALLOC || e->kind == EVENT_FREE;
}

#endif
