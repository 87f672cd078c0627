/* SPDX-License-Identifier: MIT */
/*
 * Recording on the live kernel: the page allocator's tracepoints through a tracefs instance of its
 * own, between two snapshots. Needs root and tracefs. The instance is removed again whatever happens,
 * and nothing else of the machine is changed.
 */
#ifndef TRACES_RECORD_RECORD_H
#define TRACES_RECORD_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "sim/frame_map.h"
#include "traces/file/trace.h"

struct record_options {
	const char *out;
	bool overwrite;
	uint64_t buffer_bytes; /* ring buffer per CPU */
	double duration_s;     /* 0: until the command ends (or a signal, without one) */
	char *const *command;  /* NULL-terminated argv; NULL: none */
	const char *note;      /* provenance, or NULL */
	const char *spool;     /* directory for the raw buffers; NULL: that of @out */
	bool burn_in;	       /* make the order of lists known first (traces/record/burn_in.h) */
	/** phase - told what is being done from now on, a few words; NULL: nobody is */
	void (*phase)(void *arg, const char *what);
	void *phase_arg;
};

struct record_stats {
	struct trace_totals totals;
	int command_status;	  /* as waitpid() gives it; 0 without a command */
	uint64_t orphan_frees;	  /* FREE events none of whose frames was known to be allocated */
	uint64_t implicit_frees;  /* ALLOC events some of whose frames were still allocated */
	uint64_t parked_inferred; /* frames whose start state hindsight changed to PARKED */
	uint64_t freed_inferred;  /* and to FREE; none if events were lost */
	uint64_t online_frames;	  /* that appeared while recording */
	uint64_t moved_in_start;  /* frames that migrated while the start scan read them, */
	uint64_t moved_in_end;	  /* and the end scan: so many may be wrong there, twice */
	double burn_in_s;	  /* how long it took; 0: none */
	struct error
		cut; /* why it ended before it should have, and lacks events; code 0: it did not */
};

/**
 * record_run - record, from before the start snapshot to after the end snapshot
 *
 * With burn_in, a burn-in comes first, whose snapshot and events the trace keeps apart (TRACE_BURN_IN).
 * It takes some seconds, and nearly all free memory for a while.
 *
 * Ends when the command ends, the duration is over, the spool is full, or SIGINT, SIGTERM or SIGHUP
 * arrives; what was recorded until then is kept. Those signals and SIGCHLD are blocked in the calling thread meanwhile.
 * A command still running after the end snapshot gets SIGTERM, and SIGKILL after 5 s or at another
 * signal. Its stdin, stdout and stderr are the caller's; nothing else is printed.
 *
 * The spool needs about 32 bytes per event, in files without a name. Not for two threads of a process
 * at once (the instance is named after the pid).
 * Return: 0; -EPERM not root; -ENOENT no tracefs (the message tells how to mount it) or a tracepoint
 * is missing; -EEXIST; -ENOEXEC the command cannot be run; -EINTR stopped by a signal before anything
 * was worth keeping; -EOPNOTSUPP built without libtracefs, or a kernel whose tracepoints differ; or an
 * I/O errno (-ENOSPC: of the trace's disk; or the spool was full before the recording had begun; later
 * than that it is not a failure, see stats->cut). On failure @out is as it was before.
 */
int record_run(const struct record_options *options, struct record_stats *stats, struct error *err);

/**
 * snapshot_live - the machine's state now, as of the end of a scan of about a second
 * @machine, @map: the caller's; @map refers to @machine
 * Return: 0; -EACCES needs root; or what procfs_machine() and procfs_scan() return.
 */
int snapshot_live(struct machine **machine, struct frame_map **map, struct error *err);

/** Write a trace that holds only a start snapshot. */
int snapshot_write(const char *path, bool overwrite, const struct frame_map *map,
		   struct error *err);

#endif
