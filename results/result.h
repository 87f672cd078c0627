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
#include "results/doubt.h"
#include "results/metrics.h"

enum result_kind {
	RESULT_RUN = 1, /* first: what identifies the run */
	RESULT_SETTING, /* one more thing that was chosen, or found, for it; right after RUN */
	RESULT_METRIC_ROW, /* a metric or counter that is not in the table of metrics.h; before its values */
	RESULT_SAMPLE,	 /* the state metrics at one point */
	RESULT_METRIC,	 /* one final metric */
	RESULT_SPREAD,	 /* how far repetitions lay apart in a noisy one */
	RESULT_VALUE,	 /* a metric told by a row, at one sample */
	RESULT_COUNTER,	 /* what a back end counted so far, at one sample or at the end */
	RESULT_FLAG,	 /* how many allocations had one result flag */
	RESULT_LATENCY,	 /* one histogram */
	RESULT_OUTLIER,	 /* one of the slowest operations, slowest first */
	RESULT_FREELIST, /* free blocks by order of one sample */
	RESULT_BLOCKMAP, /* one layer per 2 MiB block of one sample */
	RESULT_HOLDER,	 /* who holds frames of one 2 MiB block */
	RESULT_ACCURACY, /* how often a back end chose as the kernel did, for one group of choices */
	RESULT_DOUBT,	 /* what stands against it, each kind once; of a run that fails, too */
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
	const char *mode;
	const char *label;    /* NULL: none */
	const char *point_id; /* 32 hex digits: what would have to be equal for a rerun */
	const char *build_id;
	uint64_t seed, start_ns;
	uint32_t threads;
	enum run_role role;
	int32_t order; /* of a benchmark's blocks; -1: it is none */
};

/*
 * Does a setting tell two questions apart? What identifies a run beyond the columns of result_run is data:
 * the point's id, "latest", JSON, tables and caveats loop over the settings, and none of them knows one
 * by name.
 */
enum setting_role {
	SETTING_QUESTION, /* what was asked: part of the point, and of what "the latest run" is one of */
	SETTING_CARE, /* how carefully: part of the point, but a later run with another value replaces */
	SETTING_FACT, /* what was found, such as the trace's length: neither */
};

/** "question", "care", "fact". */
const char *setting_role_name(enum setting_role role);

/* How a value is to be read. */
enum setting_type {
	SETTING_TEXT,
	SETTING_NUMBER, /* whole and unsigned, in decimal; "": not known */
	SETTING_BOOL,	/* "true" or "false" */
};

/* All runs of one mode have the same keys: what is not known is "". */
struct result_setting {
	const char *key;   /* lower_case, unique in a run */
	const char *value; /* as a user would spell it */
	const char *unit;  /* "": none */
	enum setting_role role;
	bool usual; /* the value at which a run without the setting would be the same: told, but
		       left out of the point, so that a new setting leaves old points alone */
	enum setting_type type;
};

/* Numbers from METRIC_COUNT on, without a gap, in the order they are told. */
#define RESULT_ROWS_MAX 1024U

struct result_metric_row {
	uint32_t metric;
	const char *source; /* who brings it: a back end's, daemon's or benchmark's name */
	struct metric_info info;
};

#define RESULT_AT_END UINT32_MAX /* for a sample's index: the run's total */

struct result_value {
	uint32_t sample;
	uint32_t metric; /* of a row */
	double value;	 /* NaN: undefined */
};

struct result_counter {
	uint32_t sample; /* or RESULT_AT_END */
	uint32_t metric; /* of a row */
	uint64_t value;
};

/* What a back end said of an allocation's way (allocators/allocator.h, enum alloc_result_flag). */
enum result_flag_kind {
	FLAG_ZEROED,
	FLAG_PCP_HIT,
	FLAG_REFILL,
	FLAG_FALLBACK,
	FLAG_NEEDS_INSTALL,
	FLAG_KINDS,
};

/** "zeroed", "pcp_hit", "refill", "fallback", "needs_install". */
const char *result_flag_name(enum result_flag_kind flag);

struct result_flag {
	enum result_flag_kind flag;
	uint64_t allocs; /* successful ones that had it */
};

struct result_doubt {
	enum result_doubt_kind doubt;
	uint64_t count; /* never 0 */
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
	LATENCY_TOUCH, /* of what an allocation gave, by its path */
	LATENCY_LATE,  /* from when an operation was due until it began; timed replay */
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

/*
 * Which way an allocation went, as far as the back end says: what a hit costs and what a refill costs are
 * two questions. Frees are PLAIN.
 */
enum latency_path {
	LATENCY_PLAIN,	  /* it says nothing */
	LATENCY_HIT,	  /* a per-CPU list had the block */
	LATENCY_REFILL,	  /* a list was refilled for it */
	LATENCY_FALLBACK, /* another type or class gave it, refill or not */
	LATENCY_PATHS,
};

/** "alloc", "free", "touch", "late"; "0", "1-3", "4-8", "9-10"; "plain", "hit", "refill", "fallback". */
const char *latency_op_name(enum latency_op op);
const char *latency_class_name(enum latency_class c);
const char *latency_path_name(enum latency_path path);

/* One of the slowest operations of a run. */
struct result_outlier {
	uint64_t ns;	  /* what it took, less what a stamp takes */
	uint64_t event;	  /* its number in the trace, the first is 1 */
	uint64_t time_ns; /* trace time */
	uint64_t pfn;	  /* of what was handed out or given back; PFN_NONE: refused */
	uint32_t rank;	  /* 0: the slowest */
	enum latency_op op;
	enum latency_path path;
	uint32_t order, migratetype, cpu;
};

struct result_latency {
	enum latency_op op;
	enum latency_class order_class;
	enum latency_path path;
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

/* What a block map tells of each 2 MiB block. */
enum blockmap_layer {
	BLOCKMAP_HELD,	    /* frames in live objects */
	BLOCKMAP_UNMOVABLE, /* those of them in unmovable ones */
	BLOCKMAP_YOUNGEST,  /* result_age_code() of its youngest object */
	BLOCKMAP_OLDEST,    /* and of its oldest */
	BLOCKMAP_LAYERS,
};

#define BLOCKMAP_ABSENT                                                                            \
	0xffffU /* the block has a hole or a reserved frame; ages: no object either */

/** "held", "unmovable", "youngest", "oldest". */
const char *blockmap_layer_name(enum blockmap_layer layer);

struct result_blockmap {
	uint32_t sample;
	uint64_t first_block; /* 2 MiB block number of values[0] */
	enum blockmap_layer layer;
	const uint16_t *values; /* or BLOCKMAP_ABSENT */
	size_t n;
};

/**
 * result_age_code - an age in 16 bits, in integer arithmetic, so that it is the same anywhere
 * With v = milliseconds + 1 and e = floor(log2 v): 256 e + the eight bits behind v's highest one. Steps of
 * 0.4 % at most; the largest possible code is below BLOCKMAP_ABSENT.
 */
uint16_t result_age_code(uint64_t age_ns);
/** The shortest age with that code, in milliseconds. */
uint64_t result_age_ms(uint16_t code);

/* One group of like objects that hold frames of a 2 MiB block; sums over all objects of that kind in it. */
struct result_holder {
	uint32_t sample;
	uint64_t block; /* 2 MiB block number */
	uint32_t rank;	/* 0: holds most frames of the block */
	const char *
		class_name; /* "prefill": of the start snapshot; "compaction": moved by the recorded kernel;
			       "page_cache"; "object"; or a daemon */
	uint32_t order, migratetype, gfp, context; /* context 0: unknown */
	uint32_t frames;			   /* in this block */
	uint64_t since_ns; /* trace time at which the oldest was allocated; of prefill, the start */
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
		struct result_setting setting;
		struct result_metric_row row;
		struct result_sample sample;
		struct {
			uint32_t metric; /* enum metric, or of a row */
			double value;
		} metric;
		struct {
			uint32_t metric; /* likewise */
			double value;	 /* largest less smallest, as a share of the median */
		} spread;
		struct result_value value;
		struct result_counter counter;
		struct result_flag flag;
		struct result_doubt doubt;
		struct result_latency latency;
		struct result_outlier outlier;
		struct result_freelist freelist;
		struct result_blockmap blockmap;
		struct result_holder holder;
		struct result_accuracy accuracy;
		struct {
			const char *text;
		} warning;
		struct {
			enum run_status status;
			const char *text; /* NULL, or why it failed */
			int code;	  /* that as a positive errno; 0: it did not fail */
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

/*
 * The counterpart of a writer: takes what has arrived in one system call, however many records that are.
 * Begin with only fd set; the descriptor stays the caller's.
 */
struct result_reader {
	int fd;
	uint8_t *data, *body;
	size_t start, end, size, body_size; /* what has arrived and is not taken: [start, end) */
};

/**
 * result_reader_take - pass on the next record, if all of it has arrived
 * Return: 1; 0: more has to arrive first; else as result_read().
 */
int result_reader_take(struct result_reader *r, struct result_sink *sink, struct error *err);
/**
 * result_reader_fill - wait for more to arrive
 * Return: 1; 0: end of stream at a record boundary; -EPROTO: it stops inside one; -ENOMEM; the errno of
 * read().
 */
int result_reader_fill(struct result_reader *r, struct error *err);
/** Free the memory; what was not taken is lost. */
void result_reader_release(struct result_reader *r);

/**
 * result_read - the counterpart: read one record and pass it on
 *
 * Everything the record points at lives until @sink returns. Nothing in the stream is trusted.
 * Return: 1 one record taken; 0 end of stream at a record boundary; -EPROTO the stream stops inside a
 * record, or one is damaged; -ENOMEM; the errno of read(); or the negative errno of @sink.
 */
int result_read(int fd, struct result_sink *sink, struct error *err);

#endif
