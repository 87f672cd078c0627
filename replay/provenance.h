/* SPDX-License-Identifier: MIT */
/*
 * Which run is this, and which binary made it: a point's id is the hash of everything that must be
 * equal for its exact metrics to be equal; the build id names the code.
 */
#ifndef REPLAY_PROVENANCE_H
#define REPLAY_PROVENANCE_H

#include "allocators/registry.h"
#include "base/error.h"
#include "sim/machine.h"

/**
 * provenance_point_id - 32 hex digits over all that must be equal for a rerun's exact metrics to be equal
 * @asked: what is played or measured
 * @how: every setting that is part of the question
 * Return: 0 or -ENOMEM.
 */
int provenance_point_id(const char *asked, const struct machine *m,
			const struct allocator_spec *spec, const char *how, char id[33],
			struct error *err);

/** "COMMIT+GNU-BUILD-ID" of the running program; parts that are unknown read "unknown". */
void provenance_build_id(char *text, size_t size);

/** Version and commit: "0.1.0 (abc1234)". */
const char *provenance_version(void);

#endif
