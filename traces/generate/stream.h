/* SPDX-License-Identifier: MIT */
/*
 * Where a workload puts what it thinks up: names the objects, lets time pass, keeps to the number of
 * events asked for, counts, and writes the trace as it goes. Memory: a name for every block that has
 * lived at once, however long the trace.
 */
#ifndef TRACES_GENERATE_STREAM_H
#define TRACES_GENERATE_STREAM_H

#include <stdint.h>

#include "base/error.h"
#include "traces/file/trace.h"
#include "traces/generate/ids.h"

#define STREAM_BATCH 1024

/* Not an error: the trace has as many events as were asked for. Whoever gets it returns it. */
#define STREAM_FULL 1

struct stream {
	struct trace_writer *writer;
	struct error *err;
	uint64_t events_max;
	uint64_t rate; /* operations a second of trace time */
	/* Now and then, from the calling thread. NULL: none. */
	void (*progress)(void *arg, uint64_t events);
	void *progress_arg;

	/* Kept by the functions below. */
	struct ids ids;
	uint64_t events, ops;
	uint64_t live_frames, peak_frames;
	size_t n;
	struct event batch[STREAM_BATCH];
};

/** A request of one frame of movable user memory, by cpu 0: to be changed and asked for. */
struct event stream_user_request(void);

/**
 * stream_alloc - an allocation, which succeeds
 * @request: cpu, order, gfp, migratetype, context; the rest is filled in here
 * @id: what the block is called from then on
 * Return: 0; STREAM_FULL; -ENOSPC: more blocks live than there are names; or the writer's. All but
 * STREAM_FULL with a message, here and below.
 */
int stream_alloc(struct stream *s, const struct event *request, uint64_t *id);

/** Its end. Return: 0; STREAM_FULL; -ENOMEM; or the writer's. */
int stream_free(struct stream *s, uint32_t cpu, unsigned int order, uint64_t id);

/** A phase begins; at most 4096 names. Return: 0; STREAM_FULL; or the writer's. */
int stream_mark(struct stream *s, const char *name);

/** Write what is held back. Return: 0 or the writer's. */
int stream_flush(struct stream *s);

/** Free what was used for names. */
void stream_release(struct stream *s);

#endif
