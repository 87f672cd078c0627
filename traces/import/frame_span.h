/* SPDX-License-Identifier: MIT */
/*
 * Over which frames a recording's events spread, and whether a few of them are strays: a damaged digit in
 * one line of text would describe a machine of terabytes. A trace's machine ends at its highest frame, so
 * only frames far above all others matter.
 *
 * Strays are the frames above a gap, if
 * - the gap has 4 GiB or more (holes for devices below 4 GiB are smaller) and what lies above begins at
 *   twice the end of what lies below, or later: they at least double the machine,
 * - at most one event in a hundred lies there, or a single one of sixteen or more, and
 * - no three different frames above it lie in one section of 128 MiB: memory comes in sections, and an
 *   allocator hands out neighbours. So the idle node of a sparse machine is no stray.
 * Of several such gaps it is the lowest.
 */
#ifndef TRACES_IMPORT_FRAME_SPAN_H
#define TRACES_IMPORT_FRAME_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#define SPAN_CLASSES                                                                               \
	41U /* frames by their highest bit: a gap that doubles lies between two of them */
#define SPAN_SEEN 16U

/** Start with all zero. */
struct frame_span {
	struct span_class {
		uint64_t events;
		uint64_t line, pfn; /* of the first event */
		uint64_t lowest, end;
		uint64_t seen[SPAN_SEEN]; /* the first different frames */
		uint32_t nr_seen;
	} class[SPAN_CLASSES];
};

struct frame_strays {
	uint64_t events, of; /* above the gap; in all */
	uint64_t line, pfn;  /* of the first of them in the text */
	uint64_t end;	     /* one past the highest frame below the gap */
};

/** An event on 2^@order frames at @pfn, which is at most PFN_MAX; in the order of lines. */
void frame_span_add(struct frame_span *span, uint64_t pfn, unsigned int order, uint64_t line);

/** Return: false: there are none. */
bool frame_span_strays(const struct frame_span *span, struct frame_strays *strays);

#endif
