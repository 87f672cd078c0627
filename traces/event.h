/* SPDX-License-Identifier: MIT */
/*
 * One line of a trace: what the kernel's page allocator was asked to do, or is known to have done.
 */
#ifndef TRACES_EVENT_H
#define TRACES_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/machine.h"

/* What an event's arg is. */
enum event_arg {
	EVENT_ARG_NONE,	  /* nothing */
	EVENT_ARG_NUMBER, /* a number of the kind's own */
	EVENT_ARG_FRAMES, /* how many frames from pfn on, instead of 2^order */
	EVENT_ARG_PFN,	  /* another block of 2^order frames */
};

/*
 * Every kind, and all that anyone may know of it but its meaning. X(number, NAME, name, has a pfn,
 * arg, drives the replay, is ground truth). Numbers are on disk and mean nothing else: a new kind
 * takes a free one (below EVENT_KINDS_MAX, ascending here) wherever it belongs. A reader that does
 * not know a kind expects it to have a pfn, so a new one has one. One that drives the replay has its
 * handler, plan_NAME(), in replay/plan.c.
 */
#define EVENT_KIND_TABLE(X)                                                                        \
	/* pfn, order, gfp, migratetype (requested), context, cpu */                               \
	X(1, ALLOC, alloc, 1, NONE, 1, 0)                                                          \
	/* pfn, order, context, cpu */                                                             \
	X(2, FREE, free, 1, NONE, 1, 0)                                                            \
	/* as ALLOC, pfn PFN_NONE */                                                               \
	X(3, ALLOC_FAILED, alloc_failed, 0, NONE, 1, 0)                                            \
	/* a named phase begins: arg = id, see trace_reader_mark_name() */                         \
	X(4, MARK, mark, 0, NUMBER, 0, 0)                                                          \
	/* arg = events lost just before, on cpu */                                                \
	X(5, LOST, lost, 0, NUMBER, 1, 0)                                                          \
	/* frames pfn .. pfn + arg - 1 become managed and free; the reverse */                     \
	X(6, ONLINE, online, 1, FRAMES, 1, 0)                                                      \
	X(7, OFFLINE, offline, 1, FRAMES, 1, 0)                                                    \
	/* the object at pfn (order) now lives at arg */                                           \
	X(8, MOVE, move, 1, PFN, 1, 0)                                                             \
	/* block taken from the free lists: pfn, order, migratetype (of the list) */               \
	X(9, ZONE_LOCKED, zone_locked, 1, NONE, 0, 1)                                              \
	/* block returned from a per-CPU list: pfn, order, migratetype */                          \
	X(10, PCPU_DRAIN, pcpu_drain, 1, NONE, 0, 1)                                               \
	/* fallback: pfn, order and migratetype as asked; arg: event_extfrag_arg() */              \
	X(11, EXTFRAG, extfrag, 1, NUMBER, 0, 1)                                                   \
	/* frames have moved, just before, on cpu by context; arg: event_compaction_arg() */       \
	X(12, COMPACTION, compaction, 0, NUMBER, 1, 1)                                             \
	/* pfn, order: page cache of the file context; optional */                                 \
	X(13, LABEL, label, 1, NONE, 0, 0)                                                         \
	/* a node's kswapd sets to work, for a block of this order, or goes to sleep: */           \
	/* arg = node, pfn = its lowest frame; optional */                                         \
	X(14, KSWAPD_WAKE, kswapd_wake, 1, NUMBER, 0, 1)                                           \
	X(15, KSWAPD_SLEEP, kswapd_sleep, 1, NUMBER, 0, 1)

enum event_kind {
#define X(number, NAME, ...) EVENT_##NAME = number,
	EVENT_KIND_TABLE(X)
#undef X
		EVENT_KINDS, /* one above the highest number in use */
};

#define EVENT_KINDS_MAX 32 /* the trace file has so many counters */

/* A row of the table; without a name: no such kind. */
struct event_kind_info {
	const char *name; /* "alloc", "free", ... */
	bool has_pfn;	  /* else its pfn is PFN_NONE */
	enum event_arg arg;
	bool drives; /* the replay acts on it */
	bool truth;  /* ground truth: what the kernel's allocator did inside */
};

extern const struct event_kind_info event_kinds[EVENT_KINDS];

static inline bool event_kind_known(unsigned int kind)
{
	return kind < EVENT_KINDS && event_kinds[kind].name;
}

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
	uint8_t kind, order;
	uint8_t migratetype; /* MIGRATE_UNKNOWN: not told; a replay takes what the gfp asks for */
	uint8_t flags;
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

/* How many frames compaction moved. */
static inline uint32_t event_compaction_moved(uint64_t arg)
{
	return (uint32_t)(arg >> 32);
}

/* About a node's kswapd: no frame is touched. */
static inline bool event_is_kswapd(const struct event *e)
{
	return e->kind == EVENT_KSWAPD_WAKE || e->kind == EVENT_KSWAPD_SLEEP;
}

/* What an event's fields may hold in a trace of some machine. */
struct event_limits {
	uint64_t pfn_end; /* machine_end(), or PFN_MAX + 1 where the pfn is a virtual id */
	uint32_t nr_cpus;
};

#define EVENT_ORDER_MAX 31

/**
 * event_has_pfn - does the kind refer to a block of frames at pfn? If not, its pfn is PFN_NONE.
 * Unknown kinds do.
 */
static inline bool event_has_pfn(unsigned int kind)
{
	return !event_kind_known(kind) || event_kinds[kind].has_pfn;
}

/** One past the highest frame a valid event is about, arg's included; 0: it is about none. */
uint64_t event_frames_end(const struct event *e);

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
