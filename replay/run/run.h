/* SPDX-License-Identifier: MIT */
/*
 * One run of a trace, from inside: what its parts share. replay.c sets it up and plays, sample.c looks at the
 * state on the way, outcome.c says at the end what became of it.
 *
 * Private to replay/run/. Not thread-safe.
 */
#ifndef REPLAY_RUN_RUN_H
#define REPLAY_RUN_RUN_H

#include "base/progress.h"
#include "replay/engine.h"
#include "replay/labels.h"
#include "replay/placement.h"
#include "replay/replay.h"
#include "replay/tell.h"
#include "traces/file/trace.h"
#include "traces/file/trace_check.h"

/* What the host's scheduler did with this process, and what it asked of memory. */
struct effort {
	double faults;		       /* minor */
	double voluntary, involuntary; /* context switches */
	double migrations;	       /* to another CPU; NaN: the host does not tell */
};

struct run {
	struct replay_config config; /* prefill as it could be done */
	struct error *err;
	struct tell tell;

	enum prefill wanted;

	struct trace_reader *reader;
	const struct trace_header *header;
	const struct trace_totals *totals; /* NULL: unknown */
	struct frame_map *start_map;	   /* NULL: none, or not wanted */
	struct trace_check read;	   /* of a salvaged trace: what there was to read */
	char start_damage[ERROR_TEXT_MAX]; /* of a salvaged trace's start snapshot; "": none */
	const struct machine *machine;	   /* on which it is played */
	struct node_plan nodes;		   /* where its memory comes from */
	char *placement; /* placement_text() of the worker; NULL: it is not pinned */
	char place_note[PLACEMENT_NOTE_MAX]; /* what is to be said of that; "": nothing */
	struct affinity *before;	     /* it was pinned; NULL: not */
	struct world *world;
	struct engine *engine;
	struct labels *labels;	      /* NULL: the trace has none */
	uint32_t asked;		      /* samples whose moment has been told to the engine */
	uint32_t next_sample;	      /* index */
	bool played;		      /* the last event, too */
	struct allocator_stats stats; /* of the last sample */
	struct doubts doubts;
	double sum[METRIC_STATE_COUNT], last[METRIC_STATE_COUNT];
	uint32_t summed[METRIC_STATE_COUNT];
	uint64_t elapsed_ns, sampling_ns;
	struct clock_choice clock;
	struct effort at_start, effort; /* of the process: before it played, and meanwhile */
	struct progress progress;
};

/* ---- replay.c ---- */

/** Was it to begin as recorded, as others can on this machine, and could not? */
bool run_prefill_falls_short(const struct run *r);

/* ---- place.c ---- */

/**
 * run_place - pin the calling thread, if that is wanted, and plan where memory comes from; before the run is told
 * Ended by run_let_go() in any case. Return: 0; -ENOMEM; host_topology_load()'s.
 */
int run_place(struct run *r);
/** Let the calling thread run where it could before. */
void run_let_go(struct run *r);

/* ---- sample.c ---- */

/** The engine's sample(): tell the state; looking is not replaying, and is left out of the rates. */
int run_take_sample(void *arg, const struct engine_moment *moment);

/** The state behind the events given to the engine so far is to be sampled, sooner or later. */
void run_ask_for_sample(struct run *r);

/** The same, now: nothing may be under way. Return: engine_flush()'s. */
int run_sample_now(struct run *r);

/* ---- timed.c ---- */

/** How far a timed run was behind its times, with a warning and a doubt if it could not keep up. */
int run_tell_pace(struct run *r);

/* ---- outcome.c ---- */

/** Everything that is told once the trace has been played, up to RESULT_DONE. Return: 0, or the sink's. */
int run_tell_outcome(struct run *r);

#endif
