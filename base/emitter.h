/* SPDX-License-Identifier: MIT */
/*
 * One sequence of calls renders as a table for people, JSON, or CSV, so that the three cannot drift
 * apart. A document is one object; where it holds a list of alike things ("rows"), the table shows
 * the columns asked for, CSV gives every scalar of a row (nested objects as "outer.inner"), and JSON
 * gives everything.
 *
 *	emitter_begin(out, FORMAT, &e);
 *	emitter_uint(e, "schema", 1);
 *	emitter_rows_begin(e, "runs", columns, ARRAY_SIZE(columns));
 *	for (...) {
 *		emitter_row_begin(e);
 *		emitter_string(e, "allocator", "llfree");
 *		emitter_object_begin(e, "metrics");
 *		emitter_uint(e, "free_huge", 12);
 *		emitter_object_end(e);
 *		emitter_row_end(e);
 *	}
 *	emitter_rows_end(e);
 *	rc = emitter_end(e, &err);
 *
 * Scalars outside rows are, in a table, "key: value" lines above it; in CSV they are
 * the only row of a document that has no lists, and left out of others. Each
 * call may fail inside (memory, disk full); the first failure is kept and told by emitter_end().
 *
 * JSON and CSV are written as each row ends, so that a million rows need the memory of one; a table
 * holds its rows back only where a column's width is to be found out.
 *
 * JSON: valid UTF-8, indented by 2; an unsigned number keeps all its digits, also above INT64_MAX.
 * CSV: quoted as RFC 4180 has it, lines end in a line feed; the scalars of the first row are the
 * columns, a later row is matched to them by name, what it lacks is empty, and a scalar the first row
 * does not have is an error; arrays are left out; null is empty, an empty string is "". It is one table:
 * lists that are told aside are left out of it. Table: null is "-"; a list that does not fit the width breaks its
 * headings between the words of a name, gives long names of rows a line of their own, then leaves the least important
 * columns out.
 *
 * An emitter is used by one thread. Unbalanced calls are bugs, and asserted.
 */
#ifndef BASE_EMITTER_H
#define BASE_EMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum emitter_format {
	EMITTER_TABLE,
	EMITTER_JSON,
	EMITTER_CSV,
};

/** Names for a --format option, in the order of the enum, NULL-terminated. */
extern const char *const emitter_format_names[];

enum emitter_style {
	EMITTER_PLAIN,	/* numbers as they are */
	EMITTER_COUNT,	/* 1 234 567, grouped in a table only; a fraction below 1000 as 0.979 */
	EMITTER_BYTES,	/* 3.2 MiB */
	EMITTER_RATE,	/* 12.3 M */
	EMITTER_FIXED1, /* that many decimals */
	EMITTER_FIXED2,
	EMITTER_FIXED3,
	EMITTER_PERCENT, /* a share 0..1 as 97.9; the unit says % */
	EMITTER_HEX,
	EMITTER_PROSE, /* words, in as many lines as it takes; the last column alone */
};

enum emitter_show {
	EMITTER_ALWAYS,
	EMITTER_IF_TOLD,    /* if some row has more to say than null or false */
	EMITTER_IF_DIFFERS, /* if not all rows have the same */
};

struct emitter_column {
	const char *path;    /* "allocator", "metrics.free_huge" */
	const char *heading; /* NULL: the last part of the path, which is its name everywhere */
	const char *unit;    /* below the heading; NULL, "": none */
	enum emitter_style style;
	const char *error;  /* path of a number by how much this one may be off; NULL: of none */
	unsigned int width; /* 0: as wide as needed; the rows are then held until rows_end */
	/* Where a line has no room for all columns, the highest goes first; 0: never. */
	unsigned int priority;
	enum emitter_show show; /* of a list that is held */
	/* Of a list that does not fit: what is longer than a quarter of a line has a line of its own. */
	bool overhangs;
};

struct emitter;

/** Return: 0 or -ENOMEM. @out stays the caller's. */
int emitter_begin(FILE *out, enum emitter_format format, struct emitter **e);
enum emitter_format emitter_format(const struct emitter *e);
/** emitter_set_width - from now on a table's lines are to fit @columns of a terminal; 0, as at first: any width */
void emitter_set_width(struct emitter *e, size_t columns);
/** The headings of what tables left out for want of room, "a, b"; NULL: nothing. Lives until emitter_end(). */
const char *emitter_left_out(const struct emitter *e);
/**
 * emitter_error - flush: has anything gone wrong so far?
 * Return: 0, or the code that emitter_end() would return: nothing more gets through.
 */
int emitter_error(struct emitter *e);
/**
 * emitter_end - finish the document, flush, free the emitter
 * Return: 0, or the first failure: -ENOMEM; -EINVAL a row of CSV has a scalar the first one lacks; or
 * the errno of a write (-ENOSPC, -EPIPE, ...).
 */
int emitter_end(struct emitter *e, struct error *err);

/* Inside an object @key is its member's name; inside an array it must be NULL. */
void emitter_object_begin(struct emitter *e, const char *key);
void emitter_object_end(struct emitter *e);
void emitter_array_begin(struct emitter *e, const char *key);
void emitter_array_end(struct emitter *e);

void emitter_uint(struct emitter *e, const char *key, uint64_t v);
void emitter_int(struct emitter *e, const char *key, int64_t v);
/** NaN and infinities become null; an integral value below 2^53 prints without a fraction. */
void emitter_real(struct emitter *e, const char *key, double v);
void emitter_bool(struct emitter *e, const char *key, bool v);
/** NULL becomes null; bytes that are not UTF-8 become U+FFFD. */
void emitter_string(struct emitter *e, const char *key, const char *v);
void emitter_null(struct emitter *e, const char *key);

/**
 * emitter_rows_begin - a list of alike objects, in the outermost object
 * @columns: what a table shows of each row, in this order; NULL with @n 0: no table for this list.
 *           The array must live until emitter_rows_end().
 * A CSV has one table, and so one such list (asserted).
 */
void emitter_rows_begin(struct emitter *e, const char *key, const struct emitter_column *columns,
			size_t n);
/** emitter_aside_begin - the same of a list that belongs beside the document's own: no CSV has it */
void emitter_aside_begin(struct emitter *e, const char *key, const struct emitter_column *columns,
			 size_t n);
void emitter_row_begin(struct emitter *e);
/**
 * emitter_row_apart - inside a row: it is not to be read together with the others
 * A table that is held shows such rows below the others, behind @why, which is the same for all of a list and
 * has to live until emitter_rows_end(). Where all rows are so, none is. JSON and CSV keep their order.
 */
void emitter_row_apart(struct emitter *e, const char *why);
void emitter_row_end(struct emitter *e);
void emitter_rows_end(struct emitter *e);

#endif
