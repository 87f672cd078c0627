/* SPDX-License-Identifier: MIT */
/*
 * How faithful is a back end to the kernel that recorded a trace? Before each choice the kernel made the
 * back end is asked what it would choose (predict), both are compared, and then it is told (observe).
 * Nothing it is asked about lies in its past, and nothing it has been told in its future.
 *
 * Three passes and a baseline: with the recorded refills and drains told (b), from allocations and frees
 * alone (a), and free-running, where it is told nothing and its end state and counts are compared.
 * fidelity.md is where the method comes from; docs/fidelity.md says what the figures mean.
 */
#ifndef REPLAY_FIDELITY_FIDELITY_H
#define REPLAY_FIDELITY_FIDELITY_H

#include <stdbool.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "replay/isolate.h"
#include "results/result.h"

struct fidelity_config {
	const char *trace;
	const struct allocator_spec *spec; /* with predict, observe and adopt */
	/* Start from what only the trace's future tells of its start, and say so. */
	bool hindsight;
	const char *label;
	bool progress;
	struct run_watch watch;	       /* of isolated runs */
	struct run_position *position; /* kept up to date for who watches; NULL: nobody does */
	uint64_t host_bytes; /* of memory that may be used; 0: what the host has available */
};

/**
 * fidelity_fits - can this back end be judged by this trace?
 * @fits: false, with the reason in @err: it cannot predict, observe or adopt
 * Return: 0, and @fits is set; the trace's error: it cannot be opened, or nobody can be judged by it (no
 * ground truth, no start snapshot, or virtual identities: -ENOTSUP; its machine is too large for this
 * host: -ENOMEM).
 */
int fidelity_fits(const char *trace, const struct allocator_spec *spec, bool *fits,
		  struct error *err);

/**
 * fidelity_run - all passes in this process
 * The sink gets RESULT_RUN (mode "fidelity"), RESULT_ACCURACY records, the fidelity metrics, warnings,
 * and RESULT_DONE.
 * Return: 0; the trace's error; the back end's; the sink's; -ENOMEM.
 */
int fidelity_run(const struct fidelity_config *config, struct result_sink *sink, struct error *err);

/** fidelity_run_isolated - the same in a child process: isolate_run() */
int fidelity_run_isolated(const struct fidelity_config *config, struct result_sink *sink,
			  struct error *err);

#endif
