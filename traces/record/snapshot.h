/* SPDX-License-Identifier: MIT */
/*
 * Putting a frame map together from what a scan and the text files of /proc say. Used by recording and
 * by snapshots without one.
 */
#ifndef TRACES_RECORD_SNAPSHOT_H
#define TRACES_RECORD_SNAPSHOT_H

#include "base/error.h"
#include "sim/frame_map.h"
#include "traces/record/procfs.h"

/**
 * snapshot_counts_create - an empty map whose zones procfs_counts() can fill
 * Made beforehand, so that reading the counts allocates little.
 */
int snapshot_counts_create(const struct machine *m, struct frame_map **counts, struct error *err);

/** The `managed` of each zone as @counts has it, for procfs_scan_finish(). */
void snapshot_counts_managed(const struct frame_map *counts, uint64_t managed[MACHINE_ZONES_MAX]);

/**
 * snapshot_build - the map that a scan describes
 * @m: what procfs_scan_finish() gave; the map refers to it
 * @cells: of the scan
 * @types: pageblock types, see fold_pageblocks()
 * @counts: its zones move into the map
 */
int snapshot_build(const struct machine *m, const uint8_t *cells, const uint8_t *types,
		   uint64_t time_ns, struct frame_map *counts, struct frame_map **map,
		   struct error *err);

#endif
