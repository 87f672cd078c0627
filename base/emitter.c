/* SPDX-License-Identifier: MIT */
#include "base/emitter.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/table_layout.h"

const char *const emitter_format_names[] = {"table", "json", "csv", NULL};

#define DEPTH_MAX 16
#define MISSING	  "-" /* a table's null */

/* A growing text; positions in it are offsets, as it may move. Not terminated unless told so. */
struct text {
	char *data;
	size_t used, size;
};

enum value_type {
	VALUE_NULL,
	VALUE_BOOL,
	VALUE_UINT,
	VALUE_INT,
	VALUE_REAL,
	VALUE_STRING,
};

struct value {
	enum value_type type;
	union {
		bool boolean;
		uint64_t number;
		int64_t integer;
		double real;
		const char *string;
	};
};

/* One scalar of the current row. */
struct cell {
	size_t path;   /* offset in row_text: "metrics.free_huge" */
	size_t string; /* offset in row_text, of a STRING */
	struct value value;
};

/* An open object or array. */
struct level {
	bool array;
	bool in_array;	    /* it or one around it, up to the row */
	bool empty;	    /* nothing written yet */
	bool broken;	    /* has a line break inside: so before its end */
	size_t path_length; /* of the path outside it */
};

enum last_written { WROTE_NOTHING, WROTE_LINE, WROTE_TABLE };

struct emitter {
	FILE *out;
	enum emitter_format format;
	struct error failure; /* the first; code 0: none */
	struct level levels[DEPTH_MAX];
	unsigned int depth; /* open levels */
	struct text path;   /* of the current value, dotted; table and CSV only */
	enum last_written last;

	/* The list of rows being written, table and CSV only. */
	bool in_rows, in_row;
	const struct emitter_column *columns;
	size_t nr_columns;
	uint64_t nr_rows;
	struct text row_text;
	struct cell *cells;
	size_t nr_cells, size_cells;
	bool had_rows; /* a list has begun */
	bool aside;    /* CSV: this one is no part of the table */

	/* CSV: the names of the first row, each terminated, one after the other. */
	struct text names;
	size_t *name_at;
	size_t nr_names;

	/* Table: by column, and the texts of the rows held back, each terminated. */
	struct table_column *layout;
	size_t width;  /* that a line is to fit; 0: any */
	size_t blanks; /* of the current line, not written before something follows them */
	bool held;     /* some column is as wide as needed */
	struct text held_text;
	struct text apart;     /* a byte for each row that is held: is it to be set apart? */
	const char *apart_why; /* NULL: none is */
	bool row_apart;	       /* the current one */
	struct text left_out;  /* headings, "a, b", terminated */
};

/* ---- writing ---- */

static void fail(struct emitter *e, int code, const char *what)
{
	if (!e->failure.code)
		error_set(&e->failure, code, "output: %s", what);
}

static void fail_memory(struct emitter *e)
{
	fail(e, ENOMEM, "no memory");
}

static void fail_write(struct emitter *e)
{
	int code = errno ? errno : EIO;

	if (!e->failure.code)
		error_set(&e->failure, code, "output: cannot write: %s", strerror(code));
}

static void put_bytes(struct emitter *e, const char *data, size_t n)
{
	if (e->failure.code)
		return;
	errno = 0;
	if (fwrite(data, 1, n, e->out) != n)
		fail_write(e);
}

static void put(struct emitter *e, const char *s)
{
	put_bytes(e, s, strlen(s));
}

static void put_spaces(struct emitter *e, size_t n)
{
	static const char blank[] = "                                ";

	for (; n >= sizeof(blank) - 1; n -= sizeof(blank) - 1)
		put_bytes(e, blank, sizeof(blank) - 1);
	put_bytes(e, blank, n);
}

/* Return: the offset of what was appended. */
static size_t text_add(struct emitter *e, struct text *t, const char *data, size_t n)
{
	size_t at = t->used;

	if (n > t->size - t->used) {
		size_t size = 2 * t->size + n + 64;
		char *grown = realloc(t->data, size);

		if (!grown) {
			fail_memory(e);
			return 0;
		}
		t->data = grown;
		t->size = size;
	}
	if (n > 0)
		memcpy(t->data + at, data, n);
	t->used += n;
	return at;
}

/* ---- strings ---- */

static bool continues(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Bytes of the well-formed UTF-8 sequence at @s (RFC 3629: no overlong form, no surrogate), or 0. */
static size_t utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || !continues(s[1]))
		return 0;
	if (s[0] < 0xe0)
		return 2;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) || !continues(s[2]))
		return 0;
	if (s[0] < 0xf0)
		return 3;
	return continues(s[3]) ? 4 : 0;
}

/* Append @string, terminated, with U+FFFD for each byte that is not UTF-8. */
static size_t text_add_utf8(struct emitter *e, struct text *t, const char *string)
{
	static const char replacement[] = "\xef\xbf\xbd";
	const unsigned char *s = (const unsigned char *)string;
	size_t at = t->used;

	while (*s) {
		size_t run = 0, n;

		while (s[run] && (n = utf8_length(s + run)) > 0)
			run += n;
		text_add(e, t, (const char *)s, run);
		s += run;
		if (*s) {
			text_add(e, t, replacement, sizeof(replacement) - 1);
			s++;
		}
	}
	text_add(e, t, "", 1);
	return at;
}

/* Control characters must neither break a line of a table nor reach the terminal. */
static void tame(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* ---- JSON ---- */

static bool json_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e || *s == '"' || *s == '\\')
			return false;
	return true;
}

static void json_put_string(struct emitter *e, const char *string)
{
	struct text clean = {0};
	json_t *value;
	char *quoted;

	if (json_plain(string)) {
		put(e, "\"");
		put(e, string);
		put(e, "\"");
		return;
	}
	text_add_utf8(e, &clean, string);
	if (e->failure.code) {
		free(clean.data);
		return;
	}
	value = json_string(clean.data);
	quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
	if (quoted)
		put(e, quoted);
	else
		fail_memory(e);
	free(quoted);
	json_decref(value);
	free(clean.data);
}

static void json_break_line(struct emitter *e, unsigned int depth)
{
	put(e, "\n");
	put_spaces(e, 2 * (size_t)depth);
}

/*
 * Comma, line break and key before a value. The scalars of an array share a line, everything else has
 * its own.
 */
static void json_before(struct emitter *e, const char *key, bool scalar)
{
	struct level *top = &e->levels[e->depth - 1];
	bool same_line = top->array && scalar && !top->broken;

	if (!top->empty)
		put(e, same_line ? ", " : ",");
	if (!same_line) {
		json_break_line(e, e->depth);
		top->broken = true;
	}
	top->empty = false;
	if (key) {
		json_put_string(e, key);
		put(e, ": ");
	}
}

static void json_after(struct emitter *e, const struct level *closed)
{
	if (closed->broken)
		json_break_line(e, e->depth);
	put(e, closed->array ? "]" : "}");
}

/* Digits of a number, "true", "false"; NULL for what has none (null, NaN, strings). */
static const char *plain_text(char text[FORMAT_MAX], const struct value *v)
{
	switch (v->type) {
	case VALUE_BOOL:
		return v->boolean ? "true" : "false";
	case VALUE_UINT:
		snprintf(text, FORMAT_MAX, "%" PRIu64, v->number);
		return text;
	case VALUE_INT:
		snprintf(text, FORMAT_MAX, "%" PRId64, v->integer);
		return text;
	case VALUE_REAL:
		return format_real(text, v->real);
	case VALUE_NULL:
	case VALUE_STRING:
		break;
	}
	return NULL;
}

static void json_scalar(struct emitter *e, const char *key, const struct value *v)
{
	char buffer[FORMAT_MAX];
	const char *text = plain_text(buffer, v);

	json_before(e, key, true);
	if (v->type == VALUE_STRING)
		json_put_string(e, v->string);
	else
		put(e, text ? text : "null");
}

/* ---- cells of a row, for table and CSV ---- */

static void add_cell(struct emitter *e, const struct value *v)
{
	struct cell *cell;

	if (e->nr_cells == e->size_cells) {
		size_t size = 2 * e->size_cells + 16;
		struct cell *grown = realloc(e->cells, size * sizeof(*grown));

		if (!grown) {
			fail_memory(e);
			return;
		}
		e->cells = grown;
		e->size_cells = size;
	}
	cell = &e->cells[e->nr_cells++];
	*cell = (struct cell){.value = *v};
	cell->path = text_add(e, &e->row_text, e->path.data, e->path.used);
	text_add(e, &e->row_text, "", 1);
	if (v->type == VALUE_STRING)
		cell->string = text_add_utf8(e, &e->row_text, v->string);
}

static const char *cell_path(const struct emitter *e, size_t i)
{
	return e->row_text.data + e->cells[i].path;
}

/* The cell called @path, tried first where it was in the row before. NULL: the row has none. */
static const struct cell *find_cell(const struct emitter *e, const char *path, size_t *hint)
{
	if (*hint < e->nr_cells && strcmp(cell_path(e, *hint), path) == 0)
		return &e->cells[*hint];
	for (size_t i = 0; i < e->nr_cells; i++) {
		if (strcmp(cell_path(e, i), path) == 0) {
			*hint = i;
			return &e->cells[i];
		}
	}
	return NULL;
}

/* ---- CSV ---- */

/*
 * RFC 4180, save that lines end in a bare line feed. An empty string is quoted, so that it differs
 * from null.
 */
static void csv_put_field(struct emitter *e, const char *s)
{
	if (*s && !strpbrk(s, ",\"\r\n")) {
		put(e, s);
		return;
	}
	put(e, "\"");
	while (*s) {
		size_t n = strcspn(s, "\"");

		put_bytes(e, s, n);
		s += n;
		if (*s) {
			put(e, "\"\"");
			s++;
		}
	}
	put(e, "\"");
}

static void csv_put_cell(struct emitter *e, const struct cell *cell)
{
	char buffer[FORMAT_MAX];
	const char *text;

	if (cell->value.type == VALUE_STRING) {
		csv_put_field(e, e->row_text.data + cell->string);
		return;
	}
	text = plain_text(buffer, &cell->value);
	if (text)
		put(e, text);
}

/* The first row names the columns. */
static void csv_header(struct emitter *e)
{
	size_t *at = realloc(e->name_at, (e->nr_cells + 1) * sizeof(*at));

	if (!at) {
		fail_memory(e);
		return;
	}
	e->name_at = at;
	e->names.used = 0;
	e->nr_names = e->nr_cells;
	for (size_t i = 0; i < e->nr_cells; i++) {
		const char *name = cell_path(e, i);

		at[i] = text_add(e, &e->names, name, strlen(name) + 1);
		put(e, i ? "," : "");
		csv_put_field(e, name);
	}
	put(e, "\n");
}

static bool csv_known(const struct emitter *e, const char *name)
{
	for (size_t i = 0; i < e->nr_names; i++)
		if (strcmp(e->names.data + e->name_at[i], name) == 0)
			return true;
	return false;
}

static void csv_row(struct emitter *e)
{
	size_t found = 0;

	if (e->nr_rows == 0)
		csv_header(e);
	for (size_t i = 0; i < e->nr_names && !e->failure.code; i++) {
		size_t hint = i; /* rows alike have it at the same place */
		const struct cell *cell = find_cell(e, e->names.data + e->name_at[i], &hint);

		put(e, i ? "," : "");
		if (cell) {
			csv_put_cell(e, cell);
			found++;
		}
	}
	put(e, "\n");
	for (size_t i = 0; i < e->nr_cells && found < e->nr_cells && !e->failure.code; i++)
		if (!csv_known(e, cell_path(e, i)))
			error_set(&e->failure, EINVAL,
				  "output: row %" PRIu64 " has '%s', which the first row has not",
				  e->nr_rows + 1, cell_path(e, i));
	e->last = WROTE_TABLE;
}

/* ---- tables ---- */

static double number_of(const struct value *v)
{
	switch (v->type) {
	case VALUE_UINT:
		return (double)v->number;
	case VALUE_INT:
		return (double)v->integer;
	case VALUE_REAL:
		return v->real;
	case VALUE_NULL:
	case VALUE_BOOL:
	case VALUE_STRING:
		break;
	}
	return NAN;
}

/* Above 2^53 the parts of a real are noise: nothing to group. */
static void print_count(char text[FORMAT_MAX], const struct value *v)
{
	if (v->type == VALUE_UINT)
		format_grouped_unsigned(text, v->number);
	else if (v->type == VALUE_INT)
		format_grouped(text, v->integer);
	else if (v->real != trunc(v->real) && fabs(v->real) < 1000)
		snprintf(text, FORMAT_MAX, "%.3f", v->real);
	else if (fabs(v->real) < 0x1p53)
		format_grouped(text, llround(v->real));
	else
		snprintf(text, FORMAT_MAX, "%.3g", v->real);
}

static void print_plain(char text[FORMAT_MAX], const struct value *v)
{
	if (v->type == VALUE_UINT)
		snprintf(text, FORMAT_MAX, "%" PRIu64, v->number);
	else if (v->type == VALUE_INT)
		snprintf(text, FORMAT_MAX, "%" PRId64, v->integer);
	else if (v->real == trunc(v->real) && fabs(v->real) < 0x1p53)
		format_real(text, v->real);
	else
		snprintf(text, FORMAT_MAX, "%.6g", v->real);
}

static void print_hex(char text[FORMAT_MAX], const struct value *v)
{
	if (v->type == VALUE_UINT)
		snprintf(text, FORMAT_MAX, "0x%" PRIx64, v->number);
	else if (v->type == VALUE_INT && v->integer >= 0)
		snprintf(text, FORMAT_MAX, "0x%" PRIx64, (uint64_t)v->integer);
	else
		print_plain(text, v);
}

/* A fixed number of decimals, unless that would be a page of digits. */
static void print_decimals(char text[FORMAT_MAX], double v, int decimals)
{
	if (fabs(v) < 1e15)
		snprintf(text, FORMAT_MAX, "%.*f", decimals, v);
	else
		snprintf(text, FORMAT_MAX, "%.3g", v);
}

static const char *styled_text(char text[FORMAT_MAX], const struct value *v,
			       enum emitter_style style)
{
	double number = number_of(v);

	if (v->type == VALUE_BOOL)
		return v->boolean ? "yes" : "no";
	if (v->type == VALUE_NULL || !isfinite(number))
		return MISSING;
	switch (style) {
	case EMITTER_PLAIN:
	case EMITTER_PROSE:
		print_plain(text, v);
		break;
	case EMITTER_COUNT:
		print_count(text, v);
		break;
	case EMITTER_BYTES:
		format_bytes(text, number);
		break;
	case EMITTER_RATE:
		format_rate(text, number);
		break;
	case EMITTER_FIXED1:
		print_decimals(text, number, 1);
		break;
	case EMITTER_FIXED2:
		print_decimals(text, number, 2);
		break;
	case EMITTER_FIXED3:
		print_decimals(text, number, 3);
		break;
	case EMITTER_PERCENT:
		print_decimals(text, 100.0 * number, 1);
		break;
	case EMITTER_HEX:
		print_hex(text, v);
		break;
	}
	return text;
}

static void table_scalar(struct emitter *e, const struct value *v)
{
	struct text string = {0};
	char buffer[FORMAT_MAX];
	const char *text;

	if (v->type == VALUE_STRING) {
		text_add_utf8(e, &string, v->string);
		if (e->failure.code) {
			free(string.data);
			return;
		}
		tame(string.data);
		text = string.data;
	} else {
		text = styled_text(buffer, v, EMITTER_PLAIN);
	}
	if (e->last == WROTE_TABLE)
		put(e, "\n");
	put_bytes(e, e->path.data, e->path.used);
	put(e, ": ");
	put(e, text);
	put(e, "\n");
	e->last = WROTE_LINE;
	free(string.data);
}

/* ---- tables: lines ---- */

/* The first @bytes of @text in a column of a line. A line does not end in blanks. */
static void table_put(struct emitter *e, size_t column, const char *text, size_t bytes)
{
	const struct table_column *layout = &e->layout[column];
	const size_t width = table_width(text, bytes);
	const size_t pad = width < layout->width ? layout->width - width : 0;

	if (!layout->left)
		e->blanks += pad;
	if (bytes > 0) {
		put_spaces(e, e->blanks);
		put_bytes(e, text, bytes);
		e->blanks = 0;
	}
	e->blanks += (layout->left ? pad : 0) + TABLE_GAP;
}

static void table_line_end(struct emitter *e)
{
	e->blanks = 0;
	put(e, "\n");
}

/* What stands above a column: its name, and below that its unit. */
static const char *heading_text(const struct emitter *e, size_t column, bool unit)
{
	const struct emitter_column *c = &e->columns[column];

	if (!unit)
		return table_heading_of(c);
	return c->unit ? c->unit : "";
}

static size_t heading_lines(const struct emitter *e, size_t column, bool unit)
{
	const char *text = heading_text(e, column, unit);
	size_t lines = 0, shown;

	for (; *text; lines++)
		text += table_line(text, e->layout[column].width, TABLE_HEADING_BREAK, &shown);
	return lines;
}

/* Line @line, from 0, of a heading; nothing above or below it. */
static void heading_put(struct emitter *e, size_t column, bool unit, size_t line)
{
	const char *text = heading_text(e, column, unit);
	size_t taken = 0, shown = 0;

	if (line >= heading_lines(e, column, unit)) {
		table_put(e, column, "", 0);
		return;
	}
	for (size_t i = 0; i <= line; i++) {
		text += taken;
		taken = table_line(text, e->layout[column].width, TABLE_HEADING_BREAK, &shown);
	}
	table_put(e, column, text, shown);
}

/* All names, the last line of each at the bottom; or all units, the first line of each at the top. */
static void heading_block(struct emitter *e, bool unit)
{
	size_t lines = 0;

	for (size_t i = 0; i < e->nr_columns; i++)
		if (e->layout[i].shown)
			lines = max_u64(lines, heading_lines(e, i, unit));
	for (size_t line = 0; line < lines; line++) {
		for (size_t i = 0; i < e->nr_columns; i++) {
			const size_t above = unit ? 0 : lines - heading_lines(e, i, unit);

			if (e->layout[i].shown)
				heading_put(e, i, unit, line - above);
		}
		table_line_end(e);
	}
}

/* Of what is not shown for want of room, each name once. */
static void note_left_out(struct emitter *e, size_t column)
{
	const char *heading = table_heading_of(&e->columns[column]);
	const size_t length = strlen(heading);

	if (e->failure.code)
		return; /* what is there may lack its end */
	for (const char *at = e->left_out.data; at; at += strspn(at, ", ")) {
		if (strncmp(at, heading, length) == 0 && (at[length] == ',' || !at[length]))
			return;
		at += strcspn(at, ",");
		if (!*at)
			break;
	}
	if (e->left_out.used) {
		e->left_out.used--; /* what terminates it */
		text_add(e, &e->left_out, ", ", 2);
	}
	text_add(e, &e->left_out, heading, length + 1);
}

static void table_heading(struct emitter *e)
{
	table_layout(e->columns, e->layout, e->nr_columns, e->width);
	for (size_t i = 0; i < e->nr_columns; i++)
		if (!e->layout[i].shown &&
		    (e->columns[i].show == EMITTER_ALWAYS ||
		     (e->columns[i].show == EMITTER_IF_TOLD && e->layout[i].told)))
			note_left_out(e, i);
	if (e->last != WROTE_NOTHING)
		put(e, "\n");
	heading_block(e, false);
	heading_block(e, true);
	e->last = WROTE_TABLE;
}

/* A cell; of prose the first line, what follows it is returned. */
static const char *cell_put(struct emitter *e, size_t column, const char *text)
{
	size_t taken = strlen(text), shown = taken;

	if (e->columns[column].style == EMITTER_PROSE && taken)
		taken = table_line(text, e->layout[column].width, TABLE_PROSE_BREAK, &shown);
	table_put(e, column, text, shown);
	return text + taken;
}

/* Whether what follows a cell stands on the next line. */
static bool overhangs(const struct emitter *e, size_t column, const char *text)
{
	return e->columns[column].overhangs &&
	       table_width(text, strlen(text)) > e->layout[column].width;
}

/* The first @n columns of a line, empty. */
static void put_nothing(struct emitter *e, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (e->layout[i].shown)
			table_put(e, i, "", 0);
}

/* One row; @text: of each column its cell, terminated, one after the other. Return: what follows them. */
static const char *table_put_row(struct emitter *e, const char *text)
{
	const char *rest = "";

	for (size_t i = 0; i < e->nr_columns; i++) {
		if (e->layout[i].shown)
			rest = cell_put(e, i, text);
		if (e->layout[i].shown && overhangs(e, i, text)) {
			table_line_end(e);
			put_nothing(e, i + 1);
		}
		text += strlen(text) + 1;
	}
	table_line_end(e);
	while (*rest) {
		put_nothing(e, e->nr_columns - 1);
		rest = cell_put(e, e->nr_columns - 1, rest);
		table_line_end(e);
	}
	return text;
}

/* ---- tables: rows ---- */

/* A number, and after it "±" by how much it may be off, if the row says. */
static const char *number_text(struct emitter *e, size_t column, const struct value *value,
			       char buffer[FORMAT_MAX])
{
	const struct emitter_column *c = &e->columns[column];
	const char *text = styled_text(buffer, value, c->style);
	const struct cell *error;
	char off[FORMAT_MAX];
	size_t hint = SIZE_MAX, used;

	error = c->error && text == buffer ? find_cell(e, c->error, &hint) : NULL;
	if (!error || error->value.type == VALUE_NULL || error->value.type == VALUE_STRING)
		return text;
	used = strlen(buffer);
	snprintf(buffer + used, FORMAT_MAX - used, "\xc2\xb1%s",
		 styled_text(off, &error->value, c->style));
	return text;
}

/* What a column shows of the current row; @buffer may hold it. */
static const char *table_text(struct emitter *e, size_t column, char buffer[FORMAT_MAX])
{
	struct table_column *layout = &e->layout[column];
	const struct cell *cell = find_cell(e, e->columns[column].path, &layout->hint);
	char *string;

	if (!cell)
		return MISSING;
	/* A column that streams has its alignment from the first row, as the heading has. */
	if (e->held || e->nr_rows == 0)
		layout->left |= cell->value.type == VALUE_STRING || cell->value.type == VALUE_BOOL;
	layout->told |= cell->value.type != VALUE_NULL &&
			!(cell->value.type == VALUE_BOOL && !cell->value.boolean);
	if (cell->value.type != VALUE_STRING)
		return number_text(e, column, &cell->value, buffer);
	string = e->row_text.data + cell->string;
	tame(string);
	return string;
}

static void hold_cell(struct emitter *e, size_t column, const char *text)
{
	struct table_column *l = &e->layout[column];
	const size_t bytes = strlen(text);
	const size_t at = text_add(e, &e->held_text, text, bytes + 1);

	if (e->failure.code)
		return;
	if (e->nr_rows == 0)
		l->first = at;
	l->differs |= strcmp(e->held_text.data + l->first, text) != 0;
	if (e->columns[column].style == EMITTER_PROSE) {
		l->cells = max_u64(l->cells, table_longest_part(text, TABLE_PROSE_BREAK));
		l->prose = max_u64(l->prose, table_width(text, bytes));
	} else {
		l->cells = max_u64(l->cells, table_width(text, bytes));
	}
}

static void table_row(struct emitter *e)
{
	char buffer[FORMAT_MAX];

	if (!e->held && e->nr_rows == 0) {
		for (size_t i = 0; i < e->nr_columns; i++)
			table_text(e, i, buffer); /* for the alignment */
		table_heading(e);
	}
	if (e->held)
		text_add(e, &e->apart, e->row_apart ? "\1" : "\0", 1);
	for (size_t i = 0; i < e->nr_columns && !e->failure.code; i++) {
		const char *text = table_text(e, i, buffer);

		if (e->held)
			hold_cell(e, i, text);
		else if (e->layout[i].shown)
			cell_put(e, i, text);
	}
	if (!e->held)
		table_line_end(e);
}

static void table_begin(struct emitter *e)
{
	struct table_column *layout = calloc(e->nr_columns + 1, sizeof(*layout));

	free(e->layout);
	e->layout = layout;
	e->held = false;
	e->held_text.used = e->apart.used = 0;
	e->apart_why = NULL;
	if (!layout) {
		fail_memory(e);
		return;
	}
	for (size_t i = 0; i < e->nr_columns; i++) {
		assert(e->columns[i].style != EMITTER_PROSE || i + 1 == e->nr_columns);
		layout[i].cells = e->columns[i].width;
		layout[i].left = e->columns[i].style == EMITTER_PROSE;
		e->held |= e->columns[i].width == 0;
	}
}

/* A row that is not put now. Return: what follows its cells. */
static const char *skip_row(const struct emitter *e, const char *text)
{
	for (size_t i = 0; i < e->nr_columns; i++)
		text += strlen(text) + 1;
	return text;
}

/* Those rows that are set apart, or those that are not. */
static void table_put_rows(struct emitter *e, bool apart)
{
	const char *text = e->held_text.data;

	for (uint64_t row = 0; row < e->nr_rows && !e->failure.code; row++)
		text = (e->apart.data[row] != 0) == apart ? table_put_row(e, text)
							  : skip_row(e, text);
}

static bool all_apart(const struct emitter *e)
{
	for (uint64_t row = 0; row < e->nr_rows; row++)
		if (!e->apart.data[row])
			return false;
	return true;
}

/* Words in as many lines as it takes. */
static void put_why(struct emitter *e)
{
	const char *rest = e->apart_why;

	put(e, "\n");
	while (*rest) {
		size_t shown = strlen(rest), taken = shown;

		if (e->width)
			taken = table_line(rest, e->width, " ", &shown);
		put_bytes(e, rest, shown);
		put(e, "\n");
		rest += taken;
	}
}

static void table_end(struct emitter *e)
{

	/* Headings above nothing tell nothing. */
	if (e->nr_columns == 0 || !e->held || e->nr_rows == 0)
		return;
	table_heading(e);
	if (e->failure.code)
		return;
	if (!e->apart_why || all_apart(e)) {
		memset(e->apart.data, 0, e->apart.used);
		table_put_rows(e, false);
		return;
	}
	table_put_rows(e, false);
	put_why(e);
	table_put_rows(e, true);
}

/* ---- structure ---- */

static void push(struct emitter *e, const char *key, bool array)
{
	struct level *outer = &e->levels[e->depth - 1];
	struct level *inner;

	assert((key != NULL) != outer->array);
	assert(e->depth < DEPTH_MAX);
	if (e->format == EMITTER_JSON) {
		json_before(e, key, false);
		put(e, array ? "[" : "{");
	}
	inner = &e->levels[e->depth++];
	*inner = (struct level){
		.array = array,
		.in_array = array || outer->in_array,
		.empty = true,
		.path_length = e->path.used,
	};
	if (e->format != EMITTER_JSON && key) {
		if (e->path.used)
			text_add(e, &e->path, ".", 1);
		text_add(e, &e->path, key, strlen(key));
	}
}

static void pop(struct emitter *e, bool array)
{
	const struct level *closed = &e->levels[e->depth - 1];

	assert(e->depth > 1 && closed->array == array);
	(void)array;
	e->depth--;
	e->path.used = closed->path_length;
	if (e->format == EMITTER_JSON)
		json_after(e, closed);
}

static void scalar(struct emitter *e, const char *key, const struct value *v)
{
	const struct level *top = &e->levels[e->depth - 1];
	size_t path_length = e->path.used;

	assert((key != NULL) != top->array);
	if (e->failure.code || e->aside)
		return;
	if (e->format == EMITTER_JSON) {
		json_scalar(e, key, v);
		return;
	}
	if (key) {
		if (e->path.used)
			text_add(e, &e->path, ".", 1);
		text_add(e, &e->path, key, strlen(key));
	}
	/* An array in a row has no place in a line of cells. */
	if (!e->failure.code && e->in_row && !top->in_array)
		add_cell(e, v);
	else if (!e->failure.code && !e->in_row && e->format == EMITTER_TABLE)
		table_scalar(e, v);
	else if (!e->failure.code && e->format == EMITTER_CSV && !e->had_rows && !top->in_array)
		add_cell(e, v); /* the one row of a document without lists */
	e->path.used = path_length;
}

int emitter_begin(FILE *out, enum emitter_format format, struct emitter **emitter)
{
	struct emitter *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->out = out;
	e->format = format;
	e->levels[0].empty = true;
	e->depth = 1;
	if (format == EMITTER_JSON)
		put(e, "{");
	*emitter = e;
	return 0;
}

enum emitter_format emitter_format(const struct emitter *e)
{
	return e->format;
}

void emitter_set_width(struct emitter *e, size_t columns)
{
	e->width = columns;
}

const char *emitter_left_out(const struct emitter *e)
{
	return e->failure.code ? NULL : e->left_out.data;
}

static void flush(struct emitter *e)
{
	errno = 0;
	if (!e->failure.code && fflush(e->out) != 0)
		fail_write(e);
	/* Whoever else flushed the stream had no use for the answer. */
	if (!e->failure.code && ferror(e->out))
		fail(e, EIO, "an earlier write failed; not all of it is there");
}

int emitter_error(struct emitter *e)
{
	flush(e);
	return -e->failure.code;
}

int emitter_end(struct emitter *e, struct error *err)
{
	int rc = 0;

	assert(e->depth == 1 && !e->in_rows);
	if (e->format == EMITTER_CSV && !e->had_rows && e->nr_cells && !e->failure.code)
		csv_row(e);
	if (e->format == EMITTER_JSON) {
		put(e, e->levels[0].broken ? "\n}\n" : "}\n");
	}
	flush(e);
	if (e->failure.code)
		rc = error_set(err, e->failure.code, "%s", e->failure.text);
	free(e->path.data);
	free(e->row_text.data);
	free(e->cells);
	free(e->names.data);
	free(e->name_at);
	free(e->layout);
	free(e->held_text.data);
	free(e->apart.data);
	free(e->left_out.data);
	free(e);
	return rc;
}

void emitter_object_begin(struct emitter *e, const char *key)
{
	push(e, key, false);
}

void emitter_object_end(struct emitter *e)
{
	pop(e, false);
}

void emitter_array_begin(struct emitter *e, const char *key)
{
	push(e, key, true);
}

void emitter_array_end(struct emitter *e)
{
	pop(e, true);
}

void emitter_uint(struct emitter *e, const char *key, uint64_t v)
{
	scalar(e, key, &(struct value){.type = VALUE_UINT, .number = v});
}

void emitter_int(struct emitter *e, const char *key, int64_t v)
{
	scalar(e, key, &(struct value){.type = VALUE_INT, .integer = v});
}

void emitter_real(struct emitter *e, const char *key, double v)
{
	struct value value = {.type = VALUE_REAL, .real = v};

	if (!isfinite(v))
		value.type = VALUE_NULL;
	scalar(e, key, &value);
}

void emitter_bool(struct emitter *e, const char *key, bool v)
{
	scalar(e, key, &(struct value){.type = VALUE_BOOL, .boolean = v});
}

void emitter_string(struct emitter *e, const char *key, const char *v)
{
	struct value value = {.type = VALUE_STRING, .string = v};

	if (!v)
		value.type = VALUE_NULL;
	scalar(e, key, &value);
}

void emitter_null(struct emitter *e, const char *key)
{
	scalar(e, key, &(struct value){.type = VALUE_NULL});
}

static void rows_begin(struct emitter *e, const char *key, const struct emitter_column *columns,
		       size_t n)
{
	assert(e->depth == 1 && !e->in_rows);
	push(e, key, true);
	e->in_rows = true;
	e->columns = columns;
	e->nr_columns = n;
	e->nr_rows = 0;
	e->path.used = 0; /* the paths of a row begin at the row; pop() restores this */
	if (e->format == EMITTER_TABLE)
		table_begin(e);
}

void emitter_rows_begin(struct emitter *e, const char *key, const struct emitter_column *columns,
			size_t n)
{
	assert(e->format != EMITTER_CSV || !e->had_rows);
	e->had_rows = true;
	rows_begin(e, key, columns, n);
}

void emitter_aside_begin(struct emitter *e, const char *key, const struct emitter_column *columns,
			 size_t n)
{
	e->aside = e->format == EMITTER_CSV;
	rows_begin(e, key, columns, n);
}

void emitter_row_begin(struct emitter *e)
{
	assert(e->depth == 2 && e->in_rows && !e->in_row);
	push(e, NULL, false);
	e->levels[e->depth - 1].in_array = false; /* of the row's own */
	e->in_row = true;
	e->row_apart = false;
	if (e->aside)
		return; /* what the document's one row has so far stays */
	e->nr_cells = 0;
	e->row_text.used = 0;
}

void emitter_row_apart(struct emitter *e, const char *why)
{
	assert(e->in_row);
	e->row_apart = true;
	e->apart_why = why;
}

void emitter_row_end(struct emitter *e)
{
	assert(e->depth == 3 && e->in_row);
	pop(e, false);
	e->in_row = false;
	if (e->failure.code || e->aside)
		return;
	if (e->format == EMITTER_CSV)
		csv_row(e);
	else if (e->format == EMITTER_TABLE && e->nr_columns > 0)
		table_row(e);
	e->nr_rows++;
}

void emitter_rows_end(struct emitter *e)
{
	assert(e->depth == 2 && e->in_rows && !e->in_row);
	pop(e, true);
	e->in_rows = e->aside = false;
	if (e->format == EMITTER_TABLE && !e->failure.code)
		table_end(e);
}
