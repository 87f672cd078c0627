/* SPDX-License-Identifier: MIT */
/*
 * May a run be begun on this host? What it can come to need is held against the memory there is before
 * anything is created: a description of terabytes is easily written, by mistake most of all.
 *
 * Internal to replay/. Thread-safe.
 */
#ifndef REPLAY_FOOTPRINT_H
#define REPLAY_FOOTPRINT_H

#include <stdint.h>

#include "base/error.h"
#include "replay/engine.h"
#include "replay/tell.h"

struct footprint {
	char what[ERROR_TEXT_MAX]; /* needs it, for messages: "memory 16T" */
	const char *remedy;	   /* what else can be done */
	/*
	 * What the run's own arrays can come to. The process itself is added. What a back end needs
	 * nobody knows before it is created; it comes on top, as do a trace's snapshots.
	 */
	uint64_t bytes;
	uint64_t host_bytes; /* what there is; 0: ask the host */
};

/**
 * footprint_of_trace - of playing a trace
 * @engine: that plays it; its ids, the trace's machine, are set, its world need not be
 * @machine: on which it is played
 */
struct footprint footprint_of_trace(const char *trace, const struct engine_config *engine,
				    const struct machine *machine, uint64_t host_bytes);

/** Does the host have that much? Return: 0; -ENOMEM with what is needed, what is there, and a remedy. */
int footprint_check(const struct footprint *f, struct error *err);

/** Warn if it is near to what the host has. Return: what the sink did. */
int footprint_tell(const struct footprint *f, struct tell *tell);

#endif
