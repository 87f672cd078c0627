/* SPDX-License-Identifier: MIT */
/*
 * The kinds of backing, a table of functions each (sim/memory.h says what they do), and what those that map
 * memory of the host have in common. Private to sim/.
 */
#ifndef SIM_BACKING_BACKING_H
#define SIM_BACKING_BACKING_H

#include <stddef.h>
#include <stdint.h>

#include "sim/memory.h"

extern const struct memory_ops backing_none, backing_small, backing_thp, backing_hugetlb,
	backing_memfd, backing_file;

#define BACKING_HUGE_BYTES ((size_t)2 << 20)

/*
 * Memory of the host is got in pieces of 2 MiB, the first time that anything of one is wanted: from then on
 * touching it cannot fail, and before, it costs nothing.
 */
struct mapped {
	char *base;	   /* of the mapping, 2 MiB aligned */
	size_t bytes;	   /* whole pieces */
	size_t first_byte; /* from base to byte 0 of machine_start() */
	uint8_t *got;	   /* a bit a piece */
	uint64_t look_in; /* so many more pieces can be got before the host's memory is looked at */
	uint64_t spare;	  /* bytes that are to be left to others */
	int fd;		  /* behind the mapping; -1: none */
	uint64_t offset;  /* of the mapping in it */
	/**
	 * get - make sure that a piece can be touched; NULL: nothing is to be done
	 * Return: 0 or a negative errno, with @err set.
	 */
	int (*get)(struct mapped *m, size_t piece, struct error *err);
	/**
	 * bind - have the piece, which was just got, come from the node of the host that memory->node_plan says;
	 * NULL: it was bound with the mapping, or is not
	 * Return: 0 or a negative errno, with @err set.
	 */
	int (*bind)(const struct memory *memory, size_t piece, struct error *err);
};

/**
 * mapped_create - reserve address space for a machine
 * @m: m->bytes says how much; m->frames and m->host are set
 * @flags, @fd: for mmap(), @fd becomes the mapping's
 * Such that a 2 MiB block of the machine is one of the mapping. Return: 0; -ENOMEM with @err set, also where
 * the host does not overcommit; @fd is closed then.
 */
int mapped_create(struct memory *m, int protection, int flags, int fd, struct error *err);
/** Unmap, close, free; m->host is NULL afterwards. */
void mapped_destroy(struct memory *m);

/* The functions of memory_ops that are the same for all of them. */
int mapped_prepare(struct memory *m, struct pfn_range range, struct error *err);
void mapped_touch(struct memory *m, struct pfn_range range, enum memory_touch how);
/** Anonymous or shared memory: @advice is what madvise() is to be told. */
int mapped_discard(struct memory *m, struct pfn_range range, int advice);

static inline struct mapped *mapped_of(const struct memory *m)
{
	return m->host;
}

#endif
