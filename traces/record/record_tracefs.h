/* SPDX-License-Identifier: MIT */
/*
 * The tracing side of a recording: an instance of its own, one thread per CPU that copies raw ring
 * buffer pages into a spool file without a name, and afterwards a stream of decoded events of all CPUs
 * in time order, as often as wanted.
 *
 * A tracer belongs to one thread; its readers are its own business.
 */
#ifndef TRACES_RECORD_RECORD_TRACEFS_H
#define TRACES_RECORD_RECORD_TRACEFS_H

#include "base/error.h"
#include "traces/event.h"
#include "traces/record/procfs.h"

struct tracer_options {
	uint32_t nr_cpus;
	uint64_t buffer_bytes; /* ring buffer per CPU; 0: 8 MiB */
	const char *spool;     /* directory */
	const struct migratetype_names *migratetypes;
};

struct tracer;

/**
 * tracer_create - make the instance, spool files and readers; no event is enabled yet
 * Instances that an earlier recorder left behind when it was killed are removed.
 * Return: 0; -EPERM not root; -ENOENT no tracefs or a tracepoint is missing; -EOPNOTSUPP a tracepoint
 * lacks a field; -ENOMEM; or an I/O errno.
 */
int tracer_create(const struct tracer_options *options, struct tracer **t, struct error *err);

/** Enable the events. */
int tracer_start(struct tracer *t, struct error *err);

/**
 * tracer_failure - did a reader fail (spool full)? Cheap, for polling
 * What it had read is kept and part of the stream; events after that are lost.
 * Return: 0, or the errno it met (positive): ENOSPC, EIO, ...
 */
int tracer_failure(const struct tracer *t);

/** Disable the events, read what is left, remove the instance. */
void tracer_stop(struct tracer *t);

/** Remove the instance if it is still there, close the spool. NULL is allowed. */
void tracer_destroy(struct tracer *t);

/** Events the kernel says it lost, or no reader took any more, on all CPUs; after tracer_stop(). */
uint64_t tracer_kernel_lost(const struct tracer *t);

/**
 * tracer_rewind - start the stream at its first event; after tracer_stop()
 * @last: nobody will rewind it again: the disk gets back what has been read. Where the spool is what
 *        filled it, that makes room for the trace.
 */
int tracer_rewind(struct tracer *t, bool last, struct error *err);

/**
 * tracer_next - the next event of all CPUs in time order; equal times in the order of CPUs
 * @e: with the kernel's pid as context. Missed events come as EVENT_LOST, arg 1 if the kernel did not
 *     count them.
 * Return: 1; 0 at the end; -EIO, -EBADMSG.
 */
int tracer_next(struct tracer *t, struct event *e, struct error *err);

/* ---- pure parts, for tests ---- */

/**
 * tracer_gfp_bits - what each bit of gfp_flags means, from a tracepoint's `format` text
 * @bits: bits[i] is the sim/gfp.h flag of the kernel's bit i; 0: unknown to us
 * Return: number of bits understood; 0: the text names none, @bits is then the identity.
 */
unsigned int tracer_gfp_bits(const char *format, uint32_t bits[64]);

#endif
