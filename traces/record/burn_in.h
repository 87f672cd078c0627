/* SPDX-License-Identifier: MIT */
/*
 * The load of a burn-in. What is on the kernel's per-CPU lists and in which order, and in which order
 * its free lists hold their blocks, no snapshot shows; a program that imitates the allocator has to
 * know it. The load makes it known, in processes of its own, one per CPU:
 *
 *	burn_in_prepare()   all free memory is used once, small blocks first, and given back from the top
 *			    down, so that each free list of movable blocks ascends; memory the kernel had
 *			    put off to take over is taken over by that. Where the time (5 s; 60 s if there
 *			    is such memory) does not suffice, large blocks are left out. Then each CPU
 *			    takes all that is on its lists, list by list, until the kernel refills them,
 *			    and keeps it.
 *	(a snapshot)	    finds those lists empty but for the rest of a refill
 *	burn_in_release()   each CPU makes the kernel refill every list once more, and gives everything
 *			    back: what is on the lists now, events have told. Then two seconds of rest, in
 *			    which each CPU's statistics worker comes and drains: when it comes, too.
 *
 * Everything it uses ends with its processes: memory, pipes, sockets, files without a name. Whatever the
 * system refuses is done less. Nothing of the machine is changed beside the order of what is free.
 */
#ifndef TRACES_RECORD_BURN_IN_H
#define TRACES_RECORD_BURN_IN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "sim/machine.h"
#include "traces/record/procfs.h"

struct burn_in;

/** Called every few milliseconds while the processes work, may wait as long. Return: give up? */
typedef bool (*burn_in_stop)(void *arg);

/**
 * burn_in_create - start the processes, which wait
 * To be called while the caller has only one thread. They end with the caller.
 * @m: the machine; only its CPUs and nodes are used
 * @directory: where files without a name can be made
 * Return: 0; -ENOMEM, -EAGAIN: no process at all could be started. CPUs this program may not run on, or
 * for which there is no process, are left out.
 */
int burn_in_create(const struct procfs *fs, const struct machine *m, const char *directory,
		   struct burn_in **b, struct error *err);

/**
 * burn_in_prepare - use all free memory once, then empty the per-CPU lists; takes seconds
 * Return: 0; -EINTR: @stop said so (no message).
 */
int burn_in_prepare(struct burn_in *b, burn_in_stop stop, void *arg);

/**
 * burn_in_release - let the lists be refilled, give everything back, and wait until the kernel is done
 * with it; the processes have ended afterwards
 * Return: as burn_in_prepare().
 */
int burn_in_release(struct burn_in *b, burn_in_stop stop, void *arg);

/** End the processes, if they are still there, and free. NULL is allowed. */
void burn_in_destroy(struct burn_in *b);

/* ---- pure parts, for tests ---- */

/* What decides how much is used: of one node, or of one zone. */
struct burn_in_memory {
	uint64_t free_frames;
	uint64_t high_frames;	/* sum of the zones' high watermarks */
	uint64_t small_frames;	/* free in blocks below the huge order */
	uint64_t huge_blocks;	/* free ones, of 2 MiB, also as parts of larger ones */
	uint64_t parked_frames; /* on the lists of one CPU in the node's highest zone with memory */
	uint64_t limit_frames;	/* how many may be there before some are given back */
	uint64_t deferred_frames; /* present, but not taken over yet; 0: nearly none */
};

/**
 * burn_in_memory_read - from the texts of zoneinfo and buddyinfo
 * @cpu: whose lists count as parked
 * Return: 0; -EBADMSG: they tell nothing about @node.
 */
int burn_in_memory_read(const char *zoneinfo, const char *buddyinfo, unsigned int node,
			unsigned int cpu, struct burn_in_memory *memory);

/**
 * burn_in_floor - so many frames are left free: a twentieth, but twice what keeps the kernel from
 * reclaiming page cache
 */
uint64_t burn_in_floor(const struct burn_in_memory *memory);

/* Frames next to each other, in memory and in a mapping. */
struct burn_in_run {
	uint64_t pfn;
	uint32_t page, pages; /* of the mapping */
};

/**
 * burn_in_runs - cut a mapping into aligned blocks of adjacent frames, of at most 2^10, the highest
 * first
 * @pagemap: an entry of /proc/PID/pagemap for each page; what is not present is left out
 * @runs: room for as many as there are pages
 * Return: how many.
 */
size_t burn_in_runs(const uint64_t *pagemap, size_t pages, struct burn_in_run *runs);

#endif
