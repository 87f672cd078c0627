/* SPDX-License-Identifier: MIT */
#include "base/table_layout.h"

#include <string.h>

#include "base/bits.h"

size_t table_width(const char *text, size_t bytes)
{
	size_t width = 0;

	/* All bytes of a code point but the first are 10xxxxxx. */
	for (size_t i = 0; i < bytes && text[i]; i++)
		width += ((unsigned char)text[i] & 0xc0) != 0x80;
	return width;
}

/* Bytes up to where @text may be broken first. */
static size_t part_length(const char *text, const char *separators)
{
	size_t n = strcspn(text, separators);

	return n + strspn(text + n, separators);
}

static size_t without_spaces(const char *text, size_t bytes)
{
	while (bytes > 0 && text[bytes - 1] == ' ')
		bytes--;
	return bytes;
}

size_t table_longest_part(const char *text, const char *separators)
{
	size_t longest = 0;

	while (*text) {
		size_t bytes = part_length(text, separators);

		longest = max_u64(longest, table_width(text, without_spaces(text, bytes)));
		text += bytes;
	}
	return longest;
}

size_t table_line(const char *text, size_t width, const char *separators, size_t *shown)
{
	size_t taken = 0;

	*shown = 0;
	while (text[taken]) {
		const size_t next = taken + part_length(text + taken, separators);
		const size_t bytes = without_spaces(text, next);

		if (taken > 0 && table_width(text, bytes) > width)
			break;
		taken = next;
		*shown = bytes;
	}
	return taken;
}

const char *table_heading_of(const struct emitter_column *column)
{
	const char *dot = strrchr(column->path, '.');

	if (column->heading)
		return column->heading;
	return dot ? dot + 1 : column->path;
}

static const char *unit_of(const struct emitter_column *column)
{
	return column->unit ? column->unit : "";
}

/* What of a column is in one line. */
enum whole { WHOLE_NOTHING, WHOLE_NAME, WHOLE_ALL };

static size_t text_width(const char *text, bool whole)
{
	return whole ? table_width(text, SIZE_MAX) : table_longest_part(text, TABLE_HEADING_BREAK);
}

/* With that of it in one line, and the rest broken wherever it can be. */
static size_t width_of(const struct emitter_column *column, const struct table_column *l,
		       enum whole whole)
{
	const size_t name = text_width(table_heading_of(column), whole >= WHOLE_NAME);
	const size_t unit = text_width(unit_of(column), whole >= WHOLE_ALL);

	return max_u64(max_u64(name, unit), max_u64(l->cells, whole >= WHOLE_ALL ? l->prose : 0));
}

static size_t line_width(const struct table_column *layout, size_t n)
{
	size_t width = 0;

	for (size_t i = 0; i < n; i++)
		if (layout[i].shown)
			width += (width ? TABLE_GAP : 0) + layout[i].width;
	return width;
}

/* The column to go first; @n: all that are left have to stay. */
static size_t least_important(const struct emitter_column *columns,
			      const struct table_column *layout, size_t n)
{
	size_t least = n;

	for (size_t i = 0; i < n; i++)
		if (layout[i].shown && columns[i].priority > 0 &&
		    (least == n || columns[i].priority >= columns[least].priority))
			least = i;
	return least;
}

/* What room is left goes to @column, as far as it can use it. */
static void widen(const struct emitter_column *column, struct table_column *l, enum whole whole,
		  size_t *room)
{
	const size_t wish = max_u64(width_of(column, l, whole), l->width) - l->width;
	const bool divisible = column->style == EMITTER_PROSE;

	if (!l->shown || (wish > *room && !divisible))
		return;
	l->width += min_u64(wish, *room);
	*room -= min_u64(wish, *room);
}

void table_layout(const struct emitter_column *columns, struct table_column *layout, size_t n,
		  size_t limit)
{
	size_t least, room;

	for (size_t i = 0; i < n; i++) {
		layout[i].width = width_of(&columns[i], &layout[i], WHOLE_ALL);
		layout[i].shown =
			columns[i].show == EMITTER_ALWAYS ||
			(columns[i].show == EMITTER_IF_TOLD ? layout[i].told : layout[i].differs);
	}
	if (limit == 0 || line_width(layout, n) <= limit)
		return;
	for (size_t i = 0; i < n; i++) {
		layout[i].width = width_of(&columns[i], &layout[i], WHOLE_NOTHING);
		if (columns[i].overhangs)
			layout[i].width = min_u64(
				layout[i].width,
				max_u64(limit / 4, table_longest_part(table_heading_of(&columns[i]),
								      TABLE_HEADING_BREAK)));
	}
	while (line_width(layout, n) > limit && (least = least_important(columns, layout, n)) < n)
		layout[least].shown = false;
	room = limit - min_u64(limit, line_width(layout, n));
	for (size_t i = 0; i < n; i++)
		if (columns[i].style == EMITTER_PROSE)
			widen(&columns[i], &layout[i], WHOLE_ALL, &room);
	for (enum whole whole = WHOLE_NAME; whole <= WHOLE_ALL; whole++)
		for (size_t i = 0; i < n; i++)
			widen(&columns[i], &layout[i], whole, &room);
}
