/* SPDX-License-Identifier: MIT */
/*
 * Play a trace against one back end and say what became of memory: the project's centre. The result
 * is a stream of records (results/result.h).
 */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "replay/clock.h"
#include "replay/isolate.h"
#include "replay/touching.h"
#include "results/result.h"
#include "sim/memory.h"

enum replay_mode {
	REPLAY_SEQUENTIAL, /* one thread plays all cpus in trace order: exact */
	REPLAY_TIMED,	   /* the same, each operation not before its time has come */
};

enum prefill {
	PREFILL_RECORDED, /* the start snapshot, frame by frame: adopt, else alloc_at, else packed */
	PREFILL_PACKED,	  /* its objects, placed by ordinary allocations */
	PREFILL_NONE,	  /* empty memory; frees of what was there before become orphans */
};

enum sample_by {
	SAMPLE_BY_EVENTS,
	SAMPLE_BY_TIME,
};

/* At which samples who holds memory is told, and since when. */
enum holders_at {
	HOLDERS_AT_END,
	HOLDERS_AT_ALL,
	HOLDERS_AT_NONE, /* births are not kept, either */
};

/* Names for options, in the order of the enums, NULL-terminated. */
extern const char *const replay_mode_names[];
extern const char *const prefill_names[];
extern const char *const sample_by_names[];
extern const char *const holders_at_names[];

struct replay_config {
	const char *trace;
	const struct allocator_spec *spec;
	enum replay_mode mode;
	double speed; /* TIMED: the trace's times pass that much faster; above 0 */
	enum backing_kind backing;
	const char *backing_path; /* of the file, for BACKING_FILE */
	enum touching touching;	  /* only NONE without backing */
	bool touch_prefill;	  /* the start snapshot's objects, too, before the first event */
	/*
	 * NULL: the one that the trace was recorded on. On any other the recorded pfns are but names,
	 * zones and nodes are resolved anew, and prefill is packed or none.
	 */
	const struct machine *machine;
	const char *machine_name; /* of another machine: what tables call it */
	enum prefill prefill;
	enum sample_by sample_by;
	enum holders_at holders;
	uint32_t samples;     /* between start and end; the state at both is always told */
	uint32_t repetitions; /* that replay_run_repeated() makes of it; 0: as 1 */
	uint64_t seed;
	uint64_t list_seed; /* of the order of start lists; 0: the usual one */
	bool oracle;
	bool pin;	   /* keep the run on one CPU of the host */
	bool salvage;	   /* replay what is intact of a damaged trace */
	bool untimed;	   /* no operation is timed, and there are no latencies */
	uint32_t outliers; /* so many of the slowest operations are told; none if untimed */
	const struct clock_choice *clock; /* NULL: chosen for this run, as for CLOCK_WISH_AUTO */
	uint64_t host_bytes; /* of memory that may be used; 0: what the host has available */
	const char *label;   /* NULL: none */
	bool progress;	     /* a status line on stderr when that is a terminal */
	struct run_watch
		watch; /* of isolated runs; its `stop` also ends a timed one in this process */
	struct run_position *position; /* kept up to date for who watches; NULL: nobody does */
};

/**
 * replay_fits - can this back end replay this trace at all, on this host?
 * @config: its trace, back end, machine and what is touched count
 * @fits: false, with the reason in @err: an ECHO back end on a generated trace, or on another machine
 * Return: 0, and @fits is set; the trace's error: it cannot be opened, or nobody can replay it (frames that
 * are not 4 KiB: -EPROTONOSUPPORT; a machine too large for any host: -EFBIG, for this one:
 * -ENOMEM).
 */
int replay_fits(const struct replay_config *config, bool *fits, struct error *err);

/**
 * replay_run - one run in this process
 * The sink gets RESULT_RUN first and RESULT_DONE last (RUN_DONE); if an error ends the run after
 * RESULT_RUN, no RESULT_DONE is sent. What is the back end's alone (it does not fit, create or adopt
 * failed) comes after RESULT_RUN, what is the trace's before.
 * Return: 0; the trace's error (-EBADMSG, as replay_fits(), ...); -ENOTSUP: the back end does not fit; its
 * own (create or adopt failed); the sink's; -ENOMEM; -EINTR: a timed one was stopped while it waited.
 */
int replay_run(const struct replay_config *config, struct result_sink *sink, struct error *err);

#define REPLAY_REPETITIONS_MAX 1000

/**
 * replay_run_repeated - several runs, each repeated, in turns, and isolated
 * Noisy metrics become the median over the repetitions; replay/repeat.h says what the sink gets and what is
 * returned.
 */
int replay_run_repeated(const struct replay_config *configs, size_t n, struct result_sink *sink,
			struct error *err);

/**
 * replay_run_isolated - one run in a child process; what the sink gets and what is returned:
 * isolate_run()
 */
int replay_run_isolated(const struct replay_config *config, struct result_sink *sink,
			struct error *err);

#endif
