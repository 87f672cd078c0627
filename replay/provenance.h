/* SPDX-License-Identifier: MIT */
/*
 * Which run is this, and which binary made it: a point's id is the hash of everything that must be
 * equal for its exact metrics to be equal; the build id names the code.
 */
#ifndef REPLAY_PROVENANCE_H
#define REPLAY_PROVENANCE_H

#include "replay/bench.h"
#include "replay/replay.h"
#include "traces/trace.h"

/** 32 hex digits over trace digest, machine, back end, resolved options, seed, mode, ... */
int provenance_point_id(const struct replay_config *config, const char *trace_digest,
			const struct machine *m, char id[33], struct error *err);

/** The same for a benchmark: machine, back end, resolved options and every parameter. */
int provenance_bench_id(const struct bench_point *point, char id[33], struct error *err);

/** The same for a fidelity run. @hindsight: as in its config. */
int provenance_fidelity_id(const struct allocator_spec *spec, const char *trace_digest,
			   const struct machine *m, bool hindsight, char id[33], struct error *err);

/** "COMMIT+GNU-BUILD-ID" of the running program; parts that are unknown read "unknown". */
void provenance_build_id(char *text, size_t size);

/** Version and commit: "0.1.0 (abc1234)". */
const char *provenance_version(void);

#endif
