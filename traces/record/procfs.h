/* SPDX-License-Identifier: MIT */
/*
 * What a running kernel tells about its page allocator through /proc: zones, CPUs, memory ranges,
 * free lists, the flags of each frame. All files are found below a root directory, so that tests read
 * recorded machines.
 *
 * Every function returning int gives 0 or a negative errno with a message: -EACCES the file needs
 * root, -ENOENT it is missing, -EBADMSG it does not look as expected (file and line), -ENOMEM. No
 * function keeps state; all may be called from any thread.
 */
#ifndef TRACES_RECORD_PROCFS_H
#define TRACES_RECORD_PROCFS_H

#include "base/error.h"
#include "sim/frame_map.h"
#include "sim/machine.h"

struct procfs {
	const char *root; /* "" or "/" for the live machine */
};

/**
 * procfs_machine - describe the machine from zoneinfo, iomem, pagetypeinfo and the nodes' CPU lists
 * @m: the caller's
 *
 * CPUs are those that zoneinfo has page sets of, up to the highest. Its absent ranges hold only the
 * holes (outside "System RAM" or a zone's span); which frames are reserved or offline is found by a
 * scan, see procfs_scan_finish(). Watermarks are given without the boost the kernel prints them with.
 */
int procfs_machine(const struct procfs *fs, struct machine **m, struct error *err);

/**
 * procfs_counts - fill map->zones from buddyinfo, zoneinfo and pagetypeinfo, in this order
 * @map: as frame_map_add_zones() left it
 */
int procfs_counts(const struct procfs *fs, struct frame_map *map, struct error *err);

/**
 * procfs_managed - `managed` of each zone of @m now, for noticing that memory came online
 * @managed: @m's nr_zones entries
 */
int procfs_managed(const struct procfs *fs, const struct machine *m, uint64_t *managed,
		   struct error *err);

/**
 * procfs_migrated - frames the kernel has migrated since boot, by vmstat
 * Return: 0 if it does not count them, or cannot be asked.
 */
uint64_t procfs_migrated(const struct procfs *fs);

/*
 * Migratetype numbers differ between kernels (with CMA: 4 is CMA, without: Isolate). The column order
 * of pagetypeinfo is the kernel's own numbering.
 */
#define KERNEL_MIGRATETYPES_MAX 16

struct migratetype_names {
	unsigned int count;
	uint8_t type[KERNEL_MIGRATETYPES_MAX]; /* kernel's number -> enum migratetype or UNKNOWN */
};

int procfs_migratetypes(const struct procfs *fs, struct migratetype_names *names,
			struct error *err);

/*
 * A scan of kpageflags and kpagecount in chunks. It is a race of about a second with the running
 * machine; each chunk is stamped so that recorded events can be folded in.
 */
#define SCAN_CHUNK_FRAMES (UINT64_C(1) << 16)

struct frame_scan {
	const struct machine *machine; /* not owned */
	uint8_t *cells;		       /* per frame from machine_start: state | order << 4 */
	uint64_t *bare; /* bit per frame: no flag and no mapping; all that is known of such an
			   UNMOVABLE frame is that it is not in the free lists */
	uint64_t *chunk_time_ns; /* CLOCK_MONOTONIC before the chunk was read; chunk k holds the
				    pfns of align_down(machine_start) + k * SCAN_CHUNK_FRAMES */
	size_t nr_frames, nr_chunks;
	uint64_t end_ns; /* after the last chunk */
};

/** When the chunk of @pfn, a frame of the machine's span, began to be read. */
static inline uint64_t frame_scan_time(const struct frame_scan *scan, pfn_t pfn)
{
	pfn_t start = machine_start(scan->machine) & ~(SCAN_CHUNK_FRAMES - 1);

	return scan->chunk_time_ns[(pfn - start) / SCAN_CHUNK_FRAMES];
}

/**
 * frame_scan_create - all memory a scan needs, allocated and touched, so that the scan itself asks
 * the kernel for none
 * Cells are HOLE where the machine has holes and UNMOVABLE elsewhere.
 */
int frame_scan_create(const struct machine *m, struct frame_scan **scan, struct error *err);
void frame_scan_destroy(struct frame_scan *scan); /* NULL is allowed */

/**
 * procfs_scan - read all frames of the machine into @scan
 * Cells come out as FREE, MOVABLE, UNMOVABLE, RESERVED or HOLE, compounds with their order. Balloon
 * pages count as UNMOVABLE: they were allocated and may be freed.
 * Return: also -EIO, a file ended early or could not be read.
 */
int procfs_scan(const struct procfs *fs, struct frame_scan *scan, struct error *err);

/**
 * procfs_scan_finish - find the memory not handed over yet, and say what is absent
 * @scan: the long run of bare frames at the end of a zone becomes OFFLINE as far as `managed` falls
 *        short of what is present; bare frames that came online during the scan become FREE
 * @managed: per zone, from zoneinfo read after the scan (the machine holds what was before)
 * @m: the caller's: the scan's machine with RESERVED and OFFLINE ranges and the new `managed`
 * Source: linux-page-allocator, sections 8 and 12.
 */
int procfs_scan_finish(struct frame_scan *scan, const uint64_t *managed, struct machine **m,
		       struct error *err);

#endif
