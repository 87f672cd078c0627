/* SPDX-License-Identifier: MIT */
/*
 * How many frames a trace has allocated at once: what real memory has at least to have room for.
 *
 * Internal to replay/. Thread-safe.
 */
#ifndef REPLAY_PEAK_H
#define REPLAY_PEAK_H

#include <stdint.h>

#include "base/error.h"
#include "traces/file/trace.h"

/**
 * peak_of_trace - the most frames that were allocated at once after the start snapshot and not freed yet
 * @reader: at its first event; it is read to the end
 * A bit a frame of the trace's machine is kept meanwhile. Damage is skipped if the reader skips it.
 * Return: 0; -ENOMEM; the reader's.
 */
int peak_of_trace(struct trace_reader *reader, uint64_t *frames, struct error *err);

#endif
