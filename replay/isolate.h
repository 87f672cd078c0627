/* SPDX-License-Identifier: MIT */
/*
 * Work in a child process: a back end that crashes, hangs, prints, writes to descriptors it has not opened,
 * eats all memory or leaves processes behind costs only its own run; peak memory is per run, and what the
 * records carry is all that comes back.
 */
#ifndef REPLAY_ISOLATE_H
#define REPLAY_ISOLATE_H

#include <signal.h>
#include <stdbool.h>

#include "base/error.h"
#include "replay/position.h"
#include "results/result.h"

/* How the caller wants runs to be watched; the same for replay, bench and fidelity. */
struct run_watch {
	unsigned int timeout_s; /* without any progress for so long, it hangs; 0: wait */
	/* In the caller's process, for a debugger: nothing below holds, and a crash ends the caller. */
	bool in_process;
	/* Set by the caller's signal handler to stop the run; NULL: cannot be. */
	const volatile sig_atomic_t *stop;
};

struct isolated_job {
	const char *name; /* begins the messages: the back end as typed */
	/**
	 * body - the work, in the child
	 * The sink gets RESULT_RUN first and RESULT_DONE (RUN_DONE) last; after an error no
	 * RESULT_DONE. Progress is a record, or @at changing. Return: 0 or a negative errno.
	 */
	int (*body)(const void *arg, struct run_position *at, struct result_sink *sink,
		    struct error *err);
	const void *arg;
	struct run_watch watch;
};

/**
 * isolate_run - run the body in a child process, its records passed on to @sink in this one
 *
 * The child's standard input is empty, what it prints goes to our standard error, and all other descriptors
 * but the pipe are closed. Once it has ended, so has every process of its group.
 * Whatever happens in it, the sink gets RESULT_DONE with a status: RUN_DONE, RUN_FAILED, RUN_CRASHED
 * (killed by a signal, ended early, hanging, or writing anything but records into the pipe; with the doubt
 * that tells which), RUN_INTERRUPTED (SIGINT, SIGTERM, SIGHUP or stop) - unless the job failed before its
 * RESULT_RUN. RUN_DONE comes only when the child has ended well, its destroy() too.
 * Return: 0 only for RUN_DONE; -ECHILD crashed; -ETIMEDOUT hung; -EINTR interrupted; else what the body
 * returned, the sink's error, or that of pipe(), mmap() or fork().
 */
int isolate_run(const struct isolated_job *job, struct result_sink *sink, struct error *err);

#endif
