/* SPDX-License-Identifier: MIT */
/*
 * Work in a child process: a back end that crashes or hangs costs only its own run, peak memory is per
 * run, and what the records carry is all that comes back.
 */
#ifndef REPLAY_ISOLATE_H
#define REPLAY_ISOLATE_H

#include <signal.h>

#include "base/error.h"
#include "results/result.h"

struct isolated_job {
	const char *name; /* begins the messages: the back end as typed */
	/**
	 * body - the work, in the child
	 * The sink gets RESULT_RUN first and RESULT_DONE (RUN_DONE) last, and something in between at
	 * least every timeout_s; after an error no RESULT_DONE. Return: 0 or a negative errno.
	 */
	int (*body)(const void *arg, struct result_sink *sink, struct error *err);
	const void *arg;
	unsigned int timeout_s; /* without a record for so long, it hangs; 0: wait */
	/* Set by the caller's signal handler to stop the job; NULL: cannot be. */
	const volatile sig_atomic_t *stop;
};

/**
 * isolate_run - run the body in a child process, its records passed on to @sink in this one
 * Whatever happens in it, the sink gets RESULT_DONE with a status: RUN_DONE, RUN_FAILED, RUN_CRASHED
 * (killed by a signal, or hanging), RUN_INTERRUPTED (SIGINT, SIGTERM, SIGHUP or stop) - unless the
 * job failed before its RESULT_RUN.
 * Return: 0 only for RUN_DONE; -ECHILD crashed; -EINTR interrupted; else what the body returned, the
 * sink's error, or that of pipe() or fork().
 */
int isolate_run(const struct isolated_job *job, struct result_sink *sink, struct error *err);

#endif
