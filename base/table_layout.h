/* SPDX-License-Identifier: MIT */
/*
 * Which columns of a table a line has room for, and how wide each is: pure arithmetic, for the emitter. Where
 * not everything fits, first the headings are broken between the words of a name ("alloc_", "failures"), then the
 * least important columns go. A cell is never cut; prose alone is set in several lines, broken between words.
 */
#ifndef BASE_TABLE_LAYOUT_H
#define BASE_TABLE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/emitter.h"

#define TABLE_GAP	    2	 /* between columns */
#define TABLE_HEADING_BREAK "_ " /* behind these a heading may be broken */
#define TABLE_PROSE_BREAK   ", "

/* One column, as far as its cells are known. */
struct table_column {
	size_t cells; /* width of the widest cell; of prose, of the longest word */
	size_t prose; /* of the longest text, if it is set in one line */
	bool left;    /* texts; numbers stand on the right */
	bool told;    /* some row says more than null or no */
	bool differs; /* not all rows say the same */
	size_t hint;  /* the emitter's: where it was last found in a row */
	size_t first; /* the emitter's: the text of the first row */
	/* decided by table_layout() */
	bool shown;
	size_t width;
};

/** Columns of a terminal that the first @bytes of @text take: code points, for want of a locale. */
size_t table_width(const char *text, size_t bytes);

/** The longest of the parts that @text can be broken into. */
size_t table_longest_part(const char *text, const char *separators);

/**
 * table_line - how much of @text goes on one line of @width; at least a part of it
 * @shown: bytes to show, without spaces at the end
 * Return: bytes taken, separators included; 0: @text is empty.
 */
size_t table_line(const char *text, size_t width, const char *separators, size_t *shown);

/** A column's heading: its own, or the last part of its path. */
const char *table_heading_of(const struct emitter_column *column);

/**
 * table_layout - decide what is shown, and how wide
 * @limit: of a line; 0: none. It may be missed by columns that are never left out.
 */
void table_layout(const struct emitter_column *columns, struct table_column *layout, size_t n,
		  size_t limit);

#endif
