/* SPDX-License-Identifier: MIT */
#include "traces/record/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "traces/record/record.h"
#include "traces/record/record_fold.h"
#include "traces/file/trace.h"

int snapshot_counts_create(const struct machine *m, struct frame_map **counts, struct error *err)
{
	int rc;

	rc = frame_map_fresh(m, counts, err);
	if (rc)
		return rc;
	rc = frame_map_add_zones(*counts, err);
	if (rc) {
		frame_map_destroy(*counts);
		*counts = NULL;
	}
	return rc;
}

void snapshot_counts_managed(const struct frame_map *counts, uint64_t managed[MACHINE_ZONES_MAX])
{
	for (uint32_t i = 0; i < counts->machine->nr_zones; i++)
		managed[i] = counts->zones[i].managed;
}

int snapshot_build(const struct machine *m, const uint8_t *cells, const uint8_t *types,
		   uint64_t time_ns, struct frame_map *counts, struct frame_map **map,
		   struct error *err)
{
	int rc;

	rc = frame_map_from_bytes(m, cells, time_ns, map, err);
	if (rc)
		return rc;
	rc = frame_map_add_pageblocks(*map, err);
	if (rc) {
		frame_map_destroy(*map);
		*map = NULL;
		return rc;
	}
	memcpy((*map)->pageblock_type, types, (*map)->nr_pageblocks);
	(*map)->zones = counts->zones;
	counts->zones = NULL;
	return 0;
}

/* What is left to do after the scan. */
static int live_map(struct frame_scan *scan, struct frame_map *counts, struct machine **m,
		    struct frame_map **map, struct error *err)
{
	uint64_t managed[MACHINE_ZONES_MAX];
	struct fold *fold = NULL;
	uint8_t *types = NULL;
	int rc;

	snapshot_counts_managed(counts, managed);
	rc = procfs_scan_finish(scan, managed, m, err);
	if (rc == 0)
		rc = fold_create(*m, &fold, err);
	if (rc == 0) {
		types = malloc(fold->nr_pageblocks);
		rc = types ? 0 : error_set(err, ENOMEM, "snapshot: out of memory");
	}
	if (rc == 0) {
		memcpy(types, fold->block_type, fold->nr_pageblocks);
		fold_pageblocks(fold, scan, types);
		rc = snapshot_build(*m, scan->cells, types, scan->end_ns, counts, map, err);
	}
	free(types);
	fold_destroy(fold);
	return rc;
}

int snapshot_live(struct machine **machine, struct frame_map **map, struct error *err)
{
	const struct procfs fs = {""};
	struct frame_map *counts = NULL;
	struct frame_scan *scan = NULL;
	struct machine *m = NULL;
	int rc;

	*machine = NULL;
	*map = NULL;
	if (sysconf(_SC_PAGESIZE) != 1 << PAGE_SHIFT_DEFAULT)
		return error_set(err, EOPNOTSUPP, "pages of %ld bytes: only 4096 are supported",
				 sysconf(_SC_PAGESIZE));
	rc = procfs_machine(&fs, &m, err);
	if (rc == 0)
		rc = frame_scan_create(m, &scan, err);
	if (rc == 0)
		rc = snapshot_counts_create(m, &counts, err);
	if (rc == 0)
		rc = procfs_scan(&fs, scan, err);
	if (rc == 0)
		rc = procfs_counts(&fs, counts, err);
	if (rc == 0)
		rc = live_map(scan, counts, machine, map, err);
	if (rc) {
		machine_destroy(*machine);
		*machine = NULL;
	}
	frame_map_destroy(counts);
	frame_scan_destroy(scan);
	machine_destroy(m);
	return rc;
}

int snapshot_write(const char *path, bool overwrite, const struct frame_map *map, struct error *err)
{
	const struct trace_write_options options = {.overwrite = overwrite};
	struct trace_header header = {
		.identity = IDENTITY_PFN,
		.recorder = "quire snapshot",
		.clock = "mono",
		.recorded_s = (uint64_t)time(NULL),
	};
	struct trace_writer *w;
	struct utsname kernel;
	int rc;

	if (uname(&kernel) == 0)
		snprintf(header.kernel, sizeof(header.kernel), "%.71s", kernel.release);
	rc = machine_copy(map->machine, &header.machine, err);
	if (rc)
		return rc;
	rc = trace_writer_create(path, &header, &options, &w, err);
	if (rc == 0) {
		rc = trace_writer_snapshot(w, TRACE_START, map, err);
		if (rc)
			trace_writer_abort(w);
		else
			rc = trace_writer_close(w, NULL, err);
	}
	machine_destroy(header.machine);
	return rc;
}
