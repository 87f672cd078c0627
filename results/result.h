/* SPDX-License-Identifier: MIT */
/*
 * What a run has to say, as a stream of records. Every run lives in a child process of its own, so
 * the records cross a pipe; on the other side the store, the report and the terminal all read the
 * same stream. A sink is whoever takes it. The engine and the store know this header, not each other.
 */
#ifndef RESULTS_RESULT_H
#define RESULTS_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "results/metrics.h"

enum result_kind {
	RESULT_RUN = 1,	 /* first: what is run */
	RESULT_SAMPLE,	 /* the state metrics at one point */
	RESULT_METRIC,	 /* one final metric */
	RESULT_LATENCY,	 /* one histogram */
	RESULT_FREELIST, /* free blocks by order of one sample */
	RESULT_BLOCKMAP, /* occupancy per 2 MiB block of one sample */
	RESULT_ACCURACY, /* how often a back end chose as the kernel did, for one group of choices */
	RESULT_WARNING,	 /* one line for people */
	RESULT_ALIVE,	 /* nothing but that the run goes on, twice a second */
	RESULT_DONE,	 /* last: how it ended */
};

enum run_status {
	RUN_RUNNING,
	RUN_DONE,	 /* results are whole */
	RUN_FAILED,	 /* ended with an error of its own: text says which */
	RUN_CRASHED,	 /* its process died of a signal */
	RUN_INTERRUPTED, /* stopped by the user, or its process is gone */
};

/* What a back end's row means to its reader. */
enum run_role {
	ROLE_REFERENCE, /* the recorded placement itself: its exact figures count, its speed does not */
	ROLE_CANDIDATE, /* an allocator under test */
	ROLE_HARNESS, /* no allocator at all: what the harness itself costs, placement unchecked */
};

/** "reference", "candidate", "harness". */
const char *run_role_name(enum run_role role);

/** "running", "done", "failed", "crashed", "interrupted". */
const char *run_status_name(enum run_status status);

/* Strings are borrowed for the duration of the call that passes the record. */
struct result_run {
	const char *allocator; /* bare name */
	const char *spec;      /* as typed */
	const char *options;   /* resolved, canonical "k=v,k=v" */
	const char *allocator_summary;
	const char *trace;	  /* path as typed */
	const char *trace_digest; /* 32 hex digits */
	const char *trace_note;	  /* provenance, kernel release */
	const char *mode, *memory, *prefill;
	const char *label;    /* NULL: none */
	const char *point_id; /* 32 hex digits: what would have to be equal for a rerun */
	const char *build_id;
	uint64_t seed, events, ops, managed_frames, start_ns;
	uint32_t threads, cpus;
	enum run_role role;
	int32_t order; /* -1: not a benchmark of one order */
	bool oracle;
	/* A benchmark's; 0 repetitions: it is none, and the others mean nothing. */
	uint32_t repetitions; /* whose median the noisy metrics are */
	uint32_t rounds;      /* 0: of a kind without rounds */
	uint32_t fill;	      /* percent of memory in use at the start */
};

struct result_sample {
	uint32_t index;	  /* 0: before the first event; a benchmark's round */
	bool end;	  /* after the last one */
	uint64_t event;	  /* events replayed, or a benchmark's operations done, so far */
	uint64_t time_ns; /* trace time; 0 in a benchmark */
	double state[METRIC_STATE_COUNT];
};

enum latency_op {
	LATENCY_ALLOC,
	LATENCY_FREE,
	LATENCY_OPS,
};

/* Orders with like costs share a histogram: 0, 1..3 (per-CPU lists), 4..8, 9 and above. */
enum latency_class {
	LATENCY_ORDER0,
	LATENCY_ORDER1_3,
	LATENCY_ORDER4_8,
	LATENCY_ORDER9_10,
	LATENCY_CLASSES,
};

/** "alloc", "free"; "0", "1-3", "4-8", "9-10". */
const char *latency_op_name(enum latency_op op);
const char *latency_class_name(enum latency_class c);

struct result_latency {
	enum latency_op op;
	enum latency_class order_class;
	uint32_t cpu;
	const struct histogram *histogram; /* of nanoseconds */
};

#define RESULT_ORDERS 11

/* Whose free blocks by order. */
enum freelist_source {
	FREELIST_ENGINE,  /* the engine's free map, cut greedily */
	FREELIST_BACKEND, /* the back end's own lists */
	FREELIST_KERNEL,  /* the recorded kernel's, from the end snapshot */
	FREELIST_EXPLAINED, /* the engine's less the frames the end snapshot shows outside the lists */
};

const char *freelist_source_name(enum freelist_source source);

struct result_freelist {
	uint32_t sample;
	enum freelist_source source;
	uint64_t blocks[RESULT_ORDERS];
};

struct result_blockmap {
	uint32_t sample;
	uint64_t first_block; /* 2 MiB block number of held[0] */
	const uint16_t *held; /* held frames per block, 0xffff: has a hole or a reserved frame */
	size_t n;
};

/* What a prediction was made from. */
enum accuracy_variant {
	ACCURACY_B,    /* with the recorded refills and drains */
	ACCURACY_A,    /* from allocations and frees alone */
	ACCURACY_LIFO, /* the baseline: what this cpu freed last of that order */
	ACCURACY_VARIANTS,
};

/* Where the kernel's block came from. */
enum accuracy_class {
	ACCURACY_HIT,	  /* a per-CPU list had it */
	ACCURACY_REFILL,  /* the free lists, onto a per-CPU list: every block is a choice */
	ACCURACY_DIRECT,  /* the free lists, for one request */
	ACCURACY_DECIDED, /* all of them as requests: each allocation is one choice */
	ACCURACY_CLASSES,
};

/* What a class is broken down by. */
enum accuracy_dimension {
	ACCURACY_TOTAL,	      /* key 0 */
	ACCURACY_ORDER,	      /* key: order */
	ACCURACY_MIGRATETYPE, /* key: enum migratetype, as requested */
	ACCURACY_TENTH,	      /* key: 0..9, by events */
	ACCURACY_CAUSE, /* of what was wrong: `cause` in words; key: rank, 0 the most frequent */
	ACCURACY_DIMENSIONS,
};

/** "b", "a", "lifo"; "hit", ...; "total", "order", ... */
const char *accuracy_variant_name(enum accuracy_variant variant);
const char *accuracy_class_name(enum accuracy_class c);
const char *accuracy_dimension_name(enum accuracy_dimension dimension);

struct result_accuracy {
	enum accuracy_variant variant;
	enum accuracy_class class_of;
	enum accuracy_dimension dimension;
	uint32_t key;
	const char *cause; /* NULL unless CAUSE */
	uint64_t choices;  /* how often the kernel chose; CAUSE: how often it was this cause */
	uint64_t correct;  /* how often the back end would have chosen the same; CAUSE: 0 */
};

struct result_record {
	enum result_kind kind;
	union {
		struct result_run run;
		struct result_sample sample;
		struct {
			enum metric metric;
			double value;
		} metric;
		struct result_latency latency;
		struct result_freelist freelist;
		struct result_blockmap blockmap;
		struct result_accuracy accuracy;
		struct {
			const char *text;
		} warning;
		struct {
			enum run_status status;
			const char *text; /* NULL, or why it failed */
		} done;
	};
};

struct result_sink {
	/** Take one record. Return: 0, or a negative errno with @err set, which ends the run. */
	int (*take)(struct result_sink *sink, const struct result_record *record,
		    struct error *err);
};

/*
 * Records on their way to a file descriptor, gathered, so that not each costs a system call and wakes
 * its reader. Begin with only fd set; the descriptor stays the caller's.
 */
struct result_writer {
	int fd;
	uint8_t *data;
	size_t used, size;
};

/** Append one record. Return: 0, -ENOMEM, -EMSGSIZE above 1 GiB; the writer stays as it was. */
int result_writer_put(struct result_writer *w, const struct result_record *record,
		      struct error *err);
/** Write what was gathered. Return: 0, -EPIPE when the reader is gone, or the errno of write(). */
int result_writer_flush(struct result_writer *w, struct error *err);
/** Free the memory; what was not flushed is lost. */
void result_writer_release(struct result_writer *w);

/**
 * result_write - serialise one record to a file descriptor (a pipe between two processes of the same
 * build: native byte order, no versioning)
 *
 * The whole record is written, through EINTR and EAGAIN. The caller ignores SIGPIPE.
 * Return: 0; -EPIPE when the reader is gone; -EMSGSIZE a record above 1 GiB; -ENOMEM; -EINVAL an
 * unknown kind; or the errno of write().
 */
int result_write(int fd, const struct result_record *record, struct error *err);

/**
 * result_read - the counterpart: read one record and pass it on
 *
 * Everything the record points at lives until @sink returns. Nothing in the stream is trusted.
 * Return: 1 one record taken; 0 end of stream at a record boundary; -EPROTO the stream stops inside a
 * record, or one is damaged; -ENOMEM; the errno of read(); or the negative errno of @sink.
 */
int result_read(int fd, struct result_sink *sink, struct error *err);

#endif
