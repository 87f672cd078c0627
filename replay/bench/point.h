/* SPDX-License-Identifier: MIT */
/*
 * One point of a benchmark: which kind, on what, with which parameters; and whether that makes sense.
 */
#ifndef REPLAY_BENCH_POINT_H
#define REPLAY_BENCH_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/registry.h"
#include "base/error.h"
#include "replay/clock.h"
#include "replay/footprint.h"
#include "replay/touching.h"
#include "sim/machine.h"
#include "sim/memory.h"
#include "traces/generate/churn.h"

enum bench_kind {
	BENCH_BULK,   /* allocate half of what is free, then free it in the same order */
	BENCH_REPEAT, /* free a block and allocate one, again and again */
	BENCH_RAND,   /* as bulk, freed in random order */
	BENCH_FRAG,   /* rounds of random frees and allocations; where did the frames end up? */
};

/** Names in the order of the enum, NULL-terminated; a run's mode is "bench-NAME". */
extern const char *const bench_kind_names[];

#define BENCH_REPETITIONS_MAX 1000

#define BENCH_REPEAT_BLOCKS 64 /* repeat: that a thread holds, freed and allocated again in turn */

#define BENCH_LEAST_BLOCKS (UINT64_C(1) << 16) /* of a phase of about 2 ms */

struct bench_point {
	enum bench_kind kind;
	const struct allocator_spec *spec;
	uint64_t memory_bytes;	       /* of the simulated machine: one zone from pfn 0 */
	uint32_t cpus;		       /* of the simulated machine */
	const struct machine *machine; /* NULL: as above; else this one, which the two describe */
	const char *machine_name;      /* of such a one: what tables call it */
	enum backing_kind backing;     /* not BACKING_FILE: each repetition would need its own */
	enum touching touching;	       /* only NONE without backing */
	uint32_t threads; /* thread i allocates and frees as cpu i; frag: 1, which plays all cpus */
	uint32_t order;
	uint32_t
		fill; /* percent of memory in use at the start, scattered; frag: allocated at first */
	uint32_t rounds; /* frag */
	uint32_t repetitions;
	uint64_t seed;
	/* bulk, rand: where a thread's share is less, it is allocated and freed again and again until
	   it has come to so many, after a first time that is not timed; 0: once, and that is timed */
	uint64_t least_blocks;
	bool oracle;	     /* check every frame handed out, outside the timed parts */
	uint64_t host_bytes; /* of memory that may be used; 0: what the host has available */
	const struct clock_choice *clock; /* NULL: chosen for each run, as for CLOCK_WISH_AUTO */
	const char *label;		  /* NULL: none */
};

/**
 * bench_fits - can this point be measured?
 * Return: 0; -EINVAL: the parameters make no sense together, or not on this host (more threads than
 * CPUs we may use); -ENOTSUP: they do, but not for this back end (several threads and not CONCURRENT;
 * an ECHO one; frag and an UNCHECKED one); -ENOMEM: this host has not the memory for it: that of the
 * run's own arrays, or what is alive at once of what is touched. The message
 * names the parameter and a remedy.
 */
int bench_fits(const struct bench_point *point, struct error *err);

/** What measuring it takes of this host's memory. @m: the point's machine */
struct footprint bench_footprint(const struct bench_point *point, const struct machine *m);

/**
 * bench_machine - the machine of a point
 * The caller owns it: machine_destroy(). Return: 0; -ENOMEM; -EINVAL: no machine has such memory.
 */
int bench_machine(const struct bench_point *point, struct machine **m, struct error *err);

/** Frames that are in use at once of those that a point touches, whatever back end: 0 if it touches none. */
uint64_t bench_touched_at_once(const struct bench_point *point, const struct machine *m);

/** Blocks of the point's order that its machine @m has room for. */
uint64_t bench_blocks(const struct bench_point *point, const struct machine *m);

/** What frag does at @point, on its machine @m. */
struct churn_plan bench_churn_plan(const struct bench_point *point, const struct machine *m);

/** How many CPUs of the host this process may run on. */
uint32_t bench_host_cpus(void);

#endif
