/* SPDX-License-Identifier: MIT */
/*
 * The trace file (.quire), read and written as a stream: memory use does not depend on its length.
 * The layout on disk is docs/trace-format.md; nothing but trace_reader.c and trace_writer.c knows it.
 *
 * Every function returning int gives 0 or a negative errno with a message that names the file and,
 * for damage, the byte offset: -EBADMSG damaged or truncated, -EPROTONOSUPPORT a feature or version
 * this build cannot read, -ERANGE a value outside what the header allows.
 */
#ifndef TRACES_FILE_TRACE_H
#define TRACES_FILE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "sim/frame_map.h"
#include "sim/machine.h"
#include "traces/event.h"

#define TRACE_FORMAT_VERSION 1

/*
 * The latest time of an event or a snapshot, ns: some 292 years. So a time fits a signed number, a back
 * end may add any span of its own to one, and 2^64 - 1 is free to mean "never".
 */
#define TRACE_TIME_MAX ((UINT64_C(1) << 63) - 1)

enum trace_identity {
	IDENTITY_PFN,	  /* an object's pfn is the kernel's */
	IDENTITY_VIRTUAL, /* an id aligned to 2^order, of a generated trace */
};

/* Optional contents, for `trace info` and for readers that need them. Unknown ones are skipped. */
enum trace_feature {
	TRACE_HAS_GROUND_TRUTH = 1,
	TRACE_HAS_LABELS = 2,
	TRACE_HAS_IRQ_FLAGS = 4,
	TRACE_MARKS_HINDSIGHT = 8, /* with FRAME_HINDSIGHT; else PARKED may be either */
	TRACE_HAS_BURN_IN = 16,	   /* set by the writer; see TRACE_BURN_IN */
	TRACE_HAS_KSWAPD = 32,	   /* when kswapd woke and slept */
};

struct trace_header {
	uint32_t version;		/* set by the writer */
	uint64_t compatible_features;	/* enum trace_feature */
	uint64_t incompatible_features; /* a reader must know all of them; none defined yet */
	enum trace_identity identity;
	char kernel[72];     /* release, "6.18.44"; "": unknown */
	char recorder[72];   /* "quire record 0.1" */
	char clock[16];	     /* "mono" */
	char note[512];	     /* provenance in words; no paths, names or pids */
	uint64_t recorded_s; /* Unix time of the recording, 0: unknown */
	struct machine *machine;
};

struct trace_totals {
	uint64_t events, by_kind[EVENT_KINDS];
	uint64_t ops, lost_events; /* lost: the sum of the LOST events' args */
	uint64_t resorted; /* events whose time ran backwards by <= 10 ms when it was made */
	uint64_t first_ns, last_ns;
	uint32_t contexts; /* highest context number, that of burn-in events too */
	char digest[33];   /* XXH3-128 of the contents, independent of compression */
	/* Of the burn-in part; all else counts the events after the start snapshot only. */
	uint64_t burn_in_events, burn_in_lost;
};

/*
 * A recording may say what led to its start snapshot: the state before the burn-in (TRACE_BURN_IN, at a
 * time Tb) and all events after it, up to the start snapshot's time T0. Those who do not ask for this
 * part never see it. It is for readers that must know the order of lists, which no snapshot shows.
 *
 * The burn-in snapshot is one of the header's machine, too: it agrees with the start snapshot about
 * which frames are managed. Memory that came online between the two is free in it, and no event says
 * so; but its zone counts are what the kernel counted at Tb.
 */
enum trace_snapshot {
	TRACE_START,
	TRACE_END,
	TRACE_BURN_IN,
};

/**
 * trace_header_pack - a header as a file of another kind can hold it, its machine too
 * trace_header_unpack - the same again, not to be trusted; @header->machine becomes the caller's
 * Features and version are not in it. @bytes: malloc'ed. Return: 0; -ENOMEM; -EBADMSG.
 */
int trace_header_pack(const struct trace_header *header, void **bytes, size_t *n);
int trace_header_unpack(const void *bytes, size_t n, struct trace_header *header,
			struct error *err);

/* ---- writing ---- */

struct trace_writer;

struct trace_write_options {
	bool overwrite;
	int level;		  /* zstd; 0: the default */
	uint32_t block_events;	  /* at most so many in a block; 0: as many as the format allows */
	bool header_at_end_known; /* machine, kernel, note may still be changed by
				     trace_writer_set_header() (small machines only: a fixed space is
				     reserved) */
};

/**
 * trace_writer_create - begin a file; appears only at close
 * @header: copied, its machine too
 * Return: 0; -EEXIST; or the directory's errno.
 */
int trace_writer_create(const char *path, const struct trace_header *header,
			const struct trace_write_options *options, struct trace_writer **w,
			struct error *err);

/** -ENOSPC if the new header does not fit; -EINVAL without header_at_end_known. */
int trace_writer_set_header(struct trace_writer *w, const struct trace_header *header,
			    struct error *err);

/**
 * trace_writer_snapshot - a snapshot of the header's machine: START before the first event, BURN_IN
 * right after START, END after the last event
 * Return: 0; -EINVAL out of place, not whole (frame_map_check()), or a START or BURN_IN in which frames
 * are managed that the header's absent ranges exclude, or the other way round, or a BURN_IN later than
 * START, or a time above TRACE_TIME_MAX; -E2BIG; -ENOMEM; or an I/O errno.
 */
int trace_writer_snapshot(struct trace_writer *w, enum trace_snapshot which,
			  const struct frame_map *map, struct error *err);

/**
 * trace_writer_events - append, in non-decreasing time
 * Return: 0; -ERANGE time backwards or above TRACE_TIME_MAX, pfn, order, cpu or kind out of range (the
 * message gives the
 * event's number and field; nothing of the call is appended from that event on).
 */
int trace_writer_events(struct trace_writer *w, const struct event *events, size_t n,
			struct error *err);

/**
 * trace_writer_burn_in_events - append events between the BURN_IN and the START snapshot's time, after
 * the one was written and before the first of trace_writer_events(); MARKs do not belong here
 * Return: as trace_writer_events(); -EINVAL out of place.
 */
int trace_writer_burn_in_events(struct trace_writer *w, const struct event *events, size_t n,
				struct error *err);

/** An id for a phase's name (kept in the file), to be used as arg of EVENT_MARK. */
int trace_writer_mark_name(struct trace_writer *w, const char *name, uint64_t *id,
			   struct error *err);

void trace_writer_add_resorted(struct trace_writer *w, uint64_t n);

/** What has been appended so far (the digest only after close). */
const struct trace_totals *trace_writer_totals(const struct trace_writer *w);

/** Finish, move into place, free. @totals may be NULL. On failure nothing is left. */
int trace_writer_close(struct trace_writer *w, struct trace_totals *totals, struct error *err);
/** Remove what was written, free. NULL is allowed. */
void trace_writer_abort(struct trace_writer *w);

/* ---- reading ---- */

struct trace_reader;

enum trace_open_flag {
	TRACE_SALVAGE = 1, /* on damage, go on with the next intact block */
	TRACE_VERIFY = 2,  /* compare the contents with all the file says of them: indexes, and
			      at the last event the footer's counts and digest: -EBADMSG */
	TRACE_READ_BURN_IN =
		4, /* deliver the burn-in's events first, if there are any; with VERIFY,
				   compare them too */
};

/**
 * trace_reader_open - read and check everything but the events and what snapshots say
 * A missing footer (truncated file) is an error unless SALVAGE, as is a section that comes twice, is
 * missing or out of place. A damaged header always is one, and so is what only a newer program may read.
 */
int trace_reader_open(const char *path, unsigned int flags, struct trace_reader **r,
		      struct error *err);
void trace_reader_close(struct trace_reader *r); /* NULL is allowed */

/** Owned by the reader. */
const struct trace_header *trace_reader_header(const struct trace_reader *r);
/** As the file's index says; NULL in a salvaged file without one. */
const struct trace_totals *trace_reader_totals(const struct trace_reader *r);
uint64_t trace_reader_file_bytes(const struct trace_reader *r);
/** The name of a MARK's arg; "?" if unknown. Owned by the reader. */
const char *trace_reader_mark_name(const struct trace_reader *r, uint64_t id);

/**
 * trace_reader_snapshot - decode one
 * @map: the caller's; refers to the header's machine, so destroy it before the reader
 * Return: 0; -ENOENT the trace has none; -EBADMSG damaged, or a START or BURN_IN that contradicts the
 * header.
 */
int trace_reader_snapshot(struct trace_reader *r, enum trace_snapshot which, struct frame_map **map,
			  struct error *err);

/**
 * trace_reader_next - the next decoded events, in time order, all fields checked against the header
 * With TRACE_READ_BURN_IN those of the burn-in come first: the ones not later than the start snapshot.
 * @events: owned by the reader, valid until the next call
 * Return: 1; 0 at the end; -EBADMSG damage: with SALVAGE the next call goes on behind it and the
 * lost events are told by an EVENT_LOST (arg from the index; 1 if unknown), without it the error
 * stays.
 */
int trace_reader_next(struct trace_reader *r, const struct event **events, size_t *n,
		      struct error *err);

/** Start again at the first event. */
int trace_reader_rewind(struct trace_reader *r, struct error *err);

#endif
