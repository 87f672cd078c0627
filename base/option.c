/* SPDX-License-Identifier: MIT */
#include "base/option.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
/* <getopt.h> has a struct option of its own. */
#define option getopt_option
#include <getopt.h>
#undef option
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/text_stream.h"

/* A file that was read as an option's value. */
struct option_file {
	char *path;
	char *canonical; /* PATH#HASH */
	size_t bytes;
	char content[]; /* and a '\0' */
};

struct option_value {
	bool given; /* by the user */
	bool set;   /* by the user or a default */
	union {
		bool boolean;
		uint64_t number;
		double real;
		unsigned int choice;
	};
	struct option_file *file; /* CHOICE: instead of one */
	char **strings;		  /* STRING: nr of them and a NULL; NULL while there are none */
	size_t nr_strings;
};

struct option_set {
	const struct option *table;
	size_t n;
	struct option_value values[];
};

/* How a user sees an option's name: "--samples" on a command line, "samples" in a specification. */
static const char *dashes_of(bool dashes)
{
	return dashes ? "--" : "";
}

/* ---- names ---- */

#define NAME_LENGTH_MAX 63 /* longer words are nobody's misspelling */

/*
 * Edit distance with insertions, deletions, replacements and swaps of neighbours, each part edited at
 * most once (optimal string alignment), by the usual dynamic programme over three rows. Case is
 * ignored.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][NAME_LENGTH_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];
	size_t na = strlen(a), nb = strlen(b);

	if (na > NAME_LENGTH_MAX || nb > NAME_LENGTH_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		above[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *spare = before;
		int ca = tolower((unsigned char)a[i - 1]);

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			int cb = tolower((unsigned char)b[j - 1]);

			row[j] = min_u64(min_u64(above[j], row[j - 1]) + 1,
					 above[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]))
				row[j] = min_u64(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = spare;
	}
	return above[nb];
}

/* The nearest of the names met so far. */
struct nearest {
	const char *word, *name;
	size_t distance; /* of @name; without one, the first that is too far */
};

static struct nearest nearest_begin(const char *word)
{
	size_t length = strlen(word);
	size_t limit = max_u64(length / 3, 1);

	/* Something of the word must remain. */
	return (struct nearest){.word = word, .distance = min_u64(limit + 1, length)};
}

static void nearest_try(struct nearest *nearest, const char *name)
{
	size_t distance = edit_distance(nearest->word, name);

	if (distance < nearest->distance) {
		nearest->distance = distance;
		nearest->name = name;
	}
}

const char *nearest_name(const char *word, const char *const *names)
{
	struct nearest nearest = nearest_begin(word);

	for (; *names; names++)
		nearest_try(&nearest, *names);
	return nearest.name;
}

static size_t table_length(const struct option *table)
{
	size_t n = 0;

	while (table && table[n].name)
		n++;
	return n;
}

static size_t find_row(const struct option_set *set, const char *name)
{
	size_t i = 0;

	while (i < set->n && strcmp(set->table[i].name, name) != 0)
		i++;
	return i;
}

/* True if "no-NAME" is a spelling of this row. */
static bool row_negatable(const struct option *row)
{
	return row->type == OPTION_BOOL && strncmp(row->name, "no-", 3) != 0;
}

static int unknown_name(const struct option_set *set, const char *name, bool dashes,
			struct error *err)
{
	struct nearest nearest = nearest_begin(name);
	bool negated = strncmp(name, "no-", 3) == 0;
	struct nearest positive = nearest_begin(negated ? name + 3 : name);
	const char *prefix = dashes_of(dashes);

	for (size_t i = 0; i < set->n; i++) {
		nearest_try(&nearest, set->table[i].name);
		if (negated && row_negatable(&set->table[i]))
			nearest_try(&positive, set->table[i].name);
	}
	if (nearest.name)
		return error_set(err, ENOENT, "unknown option '%s%s'; did you mean '%s%s'?", prefix,
				 name, prefix, nearest.name);
	if (positive.name)
		return error_set(err, ENOENT, "unknown option '%s%s'; did you mean '%sno-%s'?",
				 prefix, name, prefix, positive.name);
	if (set->n == 0)
		return error_set(err, ENOENT, "unknown option '%s%s'; there are no options here",
				 prefix, name);
	return error_set(err, ENOENT, "unknown option '%s%s'; the help lists all options", prefix,
			 name);
}

/* ---- values ---- */

/* "e8" behind the digits of @v: that many zeros. Return: 0, -EINVAL or -ERANGE. */
static int parse_zeros(const char *text, uint64_t *v)
{
	bool overflow = false;
	unsigned int zeros = 0;

	if (!*++text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 2)
		return -EINVAL;
	for (; *text; text++)
		zeros = zeros * 10 + (unsigned int)(*text - '0');
	for (; zeros && *v; zeros--)
		overflow |= __builtin_mul_overflow(*v, UINT64_C(10), v);
	return overflow ? -ERANGE : 0;
}

/* Digits only, decimal, with zeros as in 2e7, or after 0x: no sign, no blank. */
static int parse_uint(const char *text, uint64_t *v)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *s = hex ? text + 2 : text;
	uint64_t base = hex ? 16 : 10;
	bool overflow = false;

	if (!*s)
		return -EINVAL;
	*v = 0;
	for (; *s; s++) {
		unsigned int c = (unsigned char)*s;
		uint64_t digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (hex && isxdigit((int)c))
			digit = (uint64_t)tolower((int)c) - 'a' + 10;
		else if (!hex && s > text && (c == 'e' || c == 'E'))
			return overflow ? -ERANGE : parse_zeros(s, v);
		else
			return -EINVAL;
		overflow |= __builtin_mul_overflow(*v, base, v);
		overflow |= __builtin_add_overflow(*v, digit, v);
	}
	return overflow ? -ERANGE : 0;
}

/* Return: 0, -EINVAL or -ERANGE, without a message. */
static int parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *s = text;
	const char *unit;
	bool overflow = false;
	unsigned int shift;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	*bytes = 0;
	for (; *s >= '0' && *s <= '9'; s++) {
		overflow |= __builtin_mul_overflow(*bytes, UINT64_C(10), bytes);
		overflow |= __builtin_add_overflow(*bytes, (uint64_t)(*s - '0'), bytes);
	}
	if (*s) {
		unit = strchr(units, toupper((unsigned char)*s));
		if (!unit || (s[1] && strcasecmp(s + 1, "iB") != 0))
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
		overflow |= *bytes > UINT64_MAX >> shift;
		*bytes <<= shift;
	}
	return overflow ? -ERANGE : 0;
}

int option_parse_size(const char *text, uint64_t *bytes, struct error *err)
{
	int rc = parse_size(text, bytes);

	if (rc == -EINVAL)
		return error_set(err, EINVAL, "'%s' is not a size; write it as 4096, 64K, 4GiB",
				 text);
	if (rc == -ERANGE)
		return error_set(err, ERANGE, "size '%s' is too large", text);
	return 0;
}

/* A plain decimal: what strtod also takes (hex, "inf", "nan", blanks) is refused. */
static int parse_real(const char *text, double *v)
{
	char *end;

	if (!*text || strspn(text, "+-.0123456789eE") != strlen(text))
		return -EINVAL;
	*v = strtod(text, &end);
	if (*end || end == text)
		return -EINVAL;
	return isfinite(*v) ? 0 : -ERANGE;
}

static int parse_bool(const char *text, bool *v)
{
	static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*v = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

static bool row_bounded(const struct option *row)
{
	return row->min != 0 || row->max != 0;
}

static char *bound_text(char text[FORMAT_MAX], const struct option *row, double bound)
{
	if (row->type == OPTION_SIZE && bound >= 0 && bound < 0x1p64)
		return format_size(text, (uint64_t)bound);
	return format_real(text, bound);
}

/* "1 to 1024 frames", "at least 1", "at most 4G"; "" without bounds. @unit: name it. */
static void range_text(char *text, size_t size, const struct option *row, bool unit)
{
	char low[FORMAT_MAX], high[FORMAT_MAX];
	bool whole = row->type != OPTION_REAL;
	bool floor = isfinite(row->min) && !(whole && row->min <= 0);
	bool ceiling = isfinite(row->max) && !(whole && row->max >= 0x1p64);
	const char *gap = unit && row->unit ? " " : "";
	const char *unit_text = unit && row->unit ? row->unit : "";

	bound_text(low, row, row->min);
	bound_text(high, row, row->max);
	if (row->flags & OPTION_POWER_OF_TWO) {
		int used = snprintf(text, size, "a power of two, ");

		text += used;
		size -= (size_t)used;
	}
	if (!row_bounded(row) || (!floor && !ceiling))
		snprintf(text, size, "%s", row->flags & OPTION_POWER_OF_TWO ? "any" : "");
	else if (!ceiling)
		snprintf(text, size, "at least %s%s%s", low, gap, unit_text);
	else if (!floor && !whole)
		snprintf(text, size, "at most %s%s%s", high, gap, unit_text);
	else
		snprintf(text, size, "%s to %s%s%s", low, high, gap, unit_text);
}

static const char *type_words(const struct option *row)
{
	switch (row->type) {
	case OPTION_BOOL:
		return "on or off";
	case OPTION_UINT:
		return "a whole number";
	case OPTION_SIZE:
		return "a size, such as 4096, 64K or 4GiB";
	case OPTION_REAL:
		return "a number";
	case OPTION_CHOICE:
		return "a choice";
	case OPTION_STRING:
		return "a text";
	}
	return "a value";
}

/* "a, b, c", cut with "..." */
static void choices_text(char *text, size_t size, const char *const *choices)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; choices[i] && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
					 choices[i]);
	if (used >= size)
		memcpy(text + size - 4, "...", 4);
}

static int bad_choice(const struct option *row, const char *value, bool dashes, struct error *err)
{
	const char *near = nearest_name(value, row->choices);
	char list[256];

	choices_text(list, sizeof(list), row->choices);
	if (near)
		return error_set(err, EINVAL,
				 "option %s%s: no choice '%s'; did you mean '%s'? (one of %s)",
				 dashes_of(dashes), row->name, value, near, list);
	return error_set(err, EINVAL, "option %s%s: no choice '%s'; choose one of %s",
			 dashes_of(dashes), row->name, value, list);
}

static int bad_value(const struct option *row, const char *value, int rc, bool dashes,
		     struct error *err)
{
	char range[160];
	const char *prefix = dashes_of(dashes);

	if (row->type == OPTION_CHOICE)
		return bad_choice(row, value, dashes, err);
	range_text(range, sizeof(range), row, true);
	if (rc == -EINVAL)
		return error_set(err, EINVAL, "option %s%s: '%s' is not %s%s%s", prefix, row->name,
				 value, type_words(row), *range ? "; give " : "", range);
	if (*range)
		return error_set(err, ERANGE, "option %s%s: %s is out of range; give %s", prefix,
				 row->name, value, range);
	return error_set(err, ERANGE, "option %s%s: %s is too large", prefix, row->name, value);
}

/* Compared as integers, as a double holds only 53 bits of one. */
static bool whole_in_range(const struct option *row, uint64_t v)
{
	const double two_64 = 0x1p64;

	if ((row->flags & OPTION_POWER_OF_TWO) && !is_power_of_two(v))
		return false;
	if (!row_bounded(row))
		return true;
	if (row->min >= two_64 || row->max < 0)
		return false;
	if (row->min > 0 && v < (uint64_t)ceil(row->min))
		return false;
	return row->max >= two_64 || v <= (uint64_t)floor(row->max);
}

static bool real_in_range(const struct option *row, double v)
{
	return !row_bounded(row) || (v >= row->min && v <= row->max);
}

/* Parse a value that is not a STRING. Return: 0, -EINVAL or -ERANGE, without a message. */
static int parse_value(const struct option *row, const char *text, struct option_value *v)
{
	int rc = -EINVAL;

	switch (row->type) {
	case OPTION_BOOL:
		return parse_bool(text, &v->boolean);
	case OPTION_UINT:
	case OPTION_SIZE:
		rc = row->type == OPTION_UINT ? parse_uint(text, &v->number)
					      : parse_size(text, &v->number);
		if (rc == 0 && !whole_in_range(row, v->number))
			rc = -ERANGE;
		return rc;
	case OPTION_REAL:
		rc = parse_real(text, &v->real);
		if (rc == 0 && !real_in_range(row, v->real))
			rc = -ERANGE;
		return rc;
	case OPTION_CHOICE:
		for (unsigned int i = 0; row->choices[i]; i++) {
			if (strcmp(row->choices[i], text) == 0) {
				v->choice = i;
				return 0;
			}
		}
		return -EINVAL;
	case OPTION_STRING:
		break;
	}
	return rc;
}

static void strings_clear(struct option_value *v)
{
	for (size_t i = 0; i < v->nr_strings; i++)
		free(v->strings[i]);
	free(v->strings);
	v->strings = NULL;
	v->nr_strings = 0;
}

static int strings_append(struct option_value *v, const char *text)
{
	char **strings = realloc(v->strings, (v->nr_strings + 2) * sizeof(*strings));
	char *copy = strdup(text);

	if (strings)
		v->strings = strings;
	if (!strings || !copy) {
		if (strings)
			strings[v->nr_strings] = NULL;
		free(copy);
		return -ENOMEM;
	}
	strings[v->nr_strings++] = copy;
	strings[v->nr_strings] = NULL;
	return 0;
}

static void file_free(struct option_file *file)
{
	if (!file)
		return;
	free(file->path);
	free(file->canonical);
	free(file);
}

/* "#" and 16 hexadecimal digits at the end of @value, or NULL. */
static const char *hash_suffix(const char *value)
{
	const char *hash = strrchr(value, '#');

	return hash && strlen(hash) == 17 && strspn(hash + 1, "0123456789abcdef") == 16 ? hash
											: NULL;
}

/* The content of @path in *@file, NULL on failure, with errno. */
static int file_read(const char *path, struct option_file **file)
{
	FILE *in = fopen(path, "re");
	int rc = 0;

	*file = NULL;
	if (!in)
		return -errno;
	*file = calloc(1, sizeof(**file) + OPTION_FILE_MAX + 1);
	if (!*file) {
		fclose(in);
		return -ENOMEM;
	}
	errno = 0;
	(*file)->bytes = fread((*file)->content, 1, OPTION_FILE_MAX, in);
	if (ferror(in))
		rc = errno ? -errno : -EIO;
	else if ((*file)->bytes == OPTION_FILE_MAX && fgetc(in) != EOF)
		rc = -EFBIG;
	fclose(in);
	return rc;
}

/* Give a file just read its names. */
static int file_name(struct option_file *file, const char *path)
{
	uint64_t hash = XXH3_64bits(file->content, file->bytes);

	file->path = strdup(path);
	if (!file->path || asprintf(&file->canonical, "%s#%016" PRIx64, path, hash) < 0) {
		file->canonical = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* @value: PATH or PATH#HASH */
static int assign_file(const struct option *row, const char *value, struct option_file **file,
		       bool dashes, struct error *err)
{
	const char *hash = hash_suffix(value), *prefix = dashes_of(dashes);
	char *path = hash ? strndup(value, (size_t)(hash - value)) : strdup(value), list[256];
	int rc = path ? file_read(path, file) : -ENOMEM;

	if (rc == 0)
		rc = file_name(*file, path);
	choices_text(list, sizeof(list), row->choices);
	if (rc == -ENOMEM)
		error_set(err, ENOMEM, "option %s: no memory", row->name);
	else if (rc == -EFBIG)
		error_set(err, EFBIG,
			  "option %s%s: %s: larger than 1 MiB; this is not the file meant", prefix,
			  row->name, path);
	else if (rc < 0)
		error_set(err, -rc,
			  "option %s%s: %s: %s; give a file that can be read, or one of %s", prefix,
			  row->name, path, strerror(-rc), list);
	else if (hash && strcmp((*file)->canonical, value) != 0)
		rc = error_set(
			err, ESTALE,
			"option %s%s: %s has changed, its hash is now %s; leave the hash out to "
			"take it as it is",
			prefix, row->name, path, strrchr((*file)->canonical, '#') + 1);
	free(path);
	if (rc < 0) {
		file_free(*file);
		*file = NULL;
	}
	return rc;
}

/* On failure the old value stays. @given: by the user, not a default. */
static int assign(struct option_set *set, size_t i, const char *text, bool given, bool dashes,
		  struct error *err)
{
	const struct option *row = &set->table[i];
	struct option_value *v = &set->values[i];
	struct option_value parsed = {.given = given, .set = true};
	int rc;

	if (row->type == OPTION_STRING) {
		/* The first value of the user's replaces a default. */
		bool keep = (row->flags & OPTION_REPEATS) && v->given;

		if (keep) {
			parsed.strings = v->strings;
			parsed.nr_strings = v->nr_strings;
		}
		rc = strings_append(&parsed, text);
		if (keep)
			v->strings = parsed.strings;
		if (rc < 0) {
			if (!keep)
				strings_clear(&parsed);
			return error_set(err, ENOMEM, "option %s: no memory", row->name);
		}
		if (!keep)
			strings_clear(v);
	} else if ((row->flags & OPTION_FILE) && strpbrk(text, "/.")) {
		rc = assign_file(row, text, &parsed.file, dashes, err);
		if (rc < 0)
			return rc;
	} else {
		rc = parse_value(row, text, &parsed);
		if (rc < 0)
			return bad_value(row, text, rc, dashes, err);
	}
	file_free(v->file);
	*v = parsed;
	return 0;
}

/* What a user wrote: of two values, neither can be what was meant. */
static int assign_once(struct option_set *set, size_t i, const char *text, bool dashes,
		       struct error *err)
{
	const struct option *row = &set->table[i];

	if (set->values[i].given && !(row->flags & OPTION_REPEATS))
		return error_set(err, EINVAL, "option %s%s is given twice; leave one out",
				 dashes_of(dashes), row->name);
	return assign(set, i, text, true, dashes, err);
}

/* The row that @name=@value is about and the text it gets. Return: 0, or why there is none. */
static int row_named(const struct option_set *set, const char *name, const char *value, size_t *row,
		     const char **text, struct error *err)
{
	size_t i = find_row(set, name);

	*text = value ? value : "on";
	if (i == set->n && !value && strncmp(name, "no-", 3) == 0) {
		i = find_row(set, name + 3);
		*text = "off";
		if (i < set->n && !row_negatable(&set->table[i]))
			i = set->n;
	}
	if (i == set->n)
		return unknown_name(set, name, false, err);
	if (!value && set->table[i].type != OPTION_BOOL)
		return error_set(err, EINVAL, "option %s needs a value: %s", name,
				 type_words(&set->table[i]));
	*row = i;
	return 0;
}

int option_set_assign(struct option_set *set, const char *name, const char *value,
		      struct error *err)
{
	const char *text;
	size_t i;
	int rc = row_named(set, name, value, &i, &text, err);

	return rc ? rc : assign(set, i, text, true, false, err);
}

/* ---- sets ---- */

static int check_row(const struct option *row, struct error *err)
{
	if (row->type == OPTION_CHOICE && (!row->choices || !row->choices[0]))
		return error_set(err, EINVAL, "option table: %s: no choices", row->name);
	if (row_bounded(row) && !(row->min <= row->max))
		return error_set(err, EINVAL, "option table: %s: the maximum is below the minimum",
				 row->name);
	if ((row->flags & OPTION_REPEATS) && row->type != OPTION_STRING)
		return error_set(err, EINVAL, "option table: %s: only a STRING can repeat",
				 row->name);
	if ((row->flags & OPTION_FILE) && row->type != OPTION_CHOICE)
		return error_set(err, EINVAL, "option table: %s: only a CHOICE can be a file",
				 row->name);
	return 0;
}

int option_set_create(const struct option *table, struct option_set **out, struct error *err)
{
	size_t n = table_length(table);
	struct option_set *set = calloc(1, sizeof(*set) + n * sizeof(set->values[0]));
	int rc = 0;

	if (!set)
		return error_set(err, ENOMEM, "options: no memory");
	set->table = table;
	set->n = n;
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = check_row(&table[i], err);
		if (rc < 0 || !table[i].fallback)
			continue;
		rc = assign(set, i, table[i].fallback, false, false, err);
		if (rc == -ERANGE || rc == -EINVAL)
			rc = error_set(err, EINVAL, "option table: default of %s is wrong",
				       table[i].name);
	}
	if (rc < 0) {
		option_set_destroy(set);
		return rc;
	}
	*out = set;
	return 0;
}

void option_set_destroy(struct option_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->n; i++) {
		strings_clear(&set->values[i]);
		file_free(set->values[i].file);
	}
	free(set);
}

static int check_required(const struct option_set *set, bool dashes, struct error *err)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct option *row = &set->table[i];

		if ((row->flags & OPTION_REQUIRED) && !set->values[i].set)
			return error_set(err, EINVAL, "option %s%s is required: %s",
					 dashes_of(dashes), row->name,
					 row->help ? row->help : type_words(row));
	}
	return 0;
}

/* ---- "k=v,k=(nested)" ---- */

/*
 * Length of the item at @spec, up to a comma outside parentheses or the end.
 * Return: 0; -EINVAL unbalanced, then @at is the offending offset.
 */
static int item_length(const char *spec, size_t *length, size_t *at)
{
	size_t depth = 0, opened = 0;
	size_t i;

	for (i = 0; spec[i] && !(spec[i] == ',' && depth == 0); i++) {
		if (spec[i] == '(') {
			/* Of several left open, the outermost is named. */
			if (depth++ == 0)
				opened = i;
		} else if (spec[i] == ')' && depth-- == 0) {
			*at = i;
			return -EINVAL;
		}
	}
	*at = opened;
	*length = i;
	return depth ? -EINVAL : 0;
}

/* True if the parenthesis that opens @text closes at its very end: "(a(b))", not "(a)(b)". */
static bool wrapped(const char *text)
{
	size_t depth = 0;

	if (*text != '(')
		return false;
	for (; *text; text++) {
		if (*text == '(')
			depth++;
		else if (*text == ')' && --depth == 0)
			return text[1] == '\0';
	}
	return false;
}

/* @item: "name", or "name=value" with the value perhaps in parentheses; taken apart in place. */
static int assign_item(struct option_set *set, char *item, struct error *err)
{
	char *value = strchr(item, '=');
	const char *text;
	size_t i;
	int rc;

	if (value) {
		*value++ = '\0';
		if (wrapped(value)) {
			value[strlen(value) - 1] = '\0';
			value++;
		}
	}
	rc = row_named(set, item, value, &i, &text, err);
	return rc ? rc : assign_once(set, i, text, false, err);
}

int option_set_parse_spec(struct option_set *set, const char *spec, struct error *err)
{
	const char *next = spec;
	size_t length, at;

	while (*spec) {
		size_t column = (size_t)(next - spec) + 1;
		char *item;
		int rc = item_length(next, &length, &at);

		if (rc < 0)
			return error_set(err, EINVAL,
					 "'%s': column %zu: '%c' without its counterpart", spec,
					 column + at, next[at]);
		if (length == 0 || next[0] == '=')
			return error_set(
				err, EINVAL,
				"'%s': column %zu: a name is missing; write name=value,...", spec,
				column);
		item = strndup(next, length);
		if (!item)
			return error_set(err, ENOMEM, "options: no memory");
		rc = assign_item(set, item, err);
		free(item);
		if (rc < 0)
			return rc;
		if (next[length] == '\0')
			break;
		next += length + 1;
	}
	return check_required(set, false, err);
}

/* ---- command lines ---- */

/*
 * getopt_long's view of a table. A long option's code is LONG_CODE + 2 * row, plus 1 for "no-NAME", so
 * that no code collides with a letter and each is told apart when an abbreviation is ambiguous.
 */
#define LONG_CODE 256

struct getopt_view {
	struct getopt_option *longs; /* 2 per row at most, and an end mark */
	char *letters;
	char *names; /* the "no-NAME" texts */
};

static void view_free(struct getopt_view *view)
{
	free(view->longs);
	free(view->letters);
	free(view->names);
}

static int view_create(const struct option_set *set, bool stop_at_operand, struct getopt_view *view)
{
	size_t names_size = 1, used = 0;
	char *letter, *name;

	for (size_t i = 0; i < set->n; i++)
		names_size += strlen(set->table[i].name) + sizeof("no-");
	view->longs = calloc(2 * set->n + 1, sizeof(*view->longs));
	view->letters = malloc(2 * set->n + 3);
	view->names = malloc(names_size);
	if (!view->longs || !view->letters || !view->names) {
		view_free(view);
		return -ENOMEM;
	}
	letter = view->letters;
	name = view->names;
	if (stop_at_operand)
		*letter++ = '+';
	*letter++ = ':'; /* a missing argument is told apart from an unknown option */
	for (size_t i = 0; i < set->n; i++) {
		const struct option *row = &set->table[i];
		bool flag = row->type == OPTION_BOOL;

		view->longs[used++] = (struct getopt_option){
			.name = row->name,
			.has_arg = flag ? optional_argument : required_argument,
			.val = LONG_CODE + 2 * (int)i,
		};
		if (row_negatable(row)) {
			view->longs[used++] =
				(struct getopt_option){.name = name,
						       .has_arg = no_argument,
						       .val = LONG_CODE + 2 * (int)i + 1};
			name += sprintf(name, "no-%s", row->name) + 1;
		}
		if (row->letter) {
			*letter++ = row->letter;
			if (!flag)
				*letter++ = ':';
		}
	}
	*letter = '\0';
	return 0;
}

static size_t row_of_code(const struct option_set *set, int code)
{
	size_t i = 0;

	if (code >= LONG_CODE)
		return (size_t)(code - LONG_CODE) / 2;
	while (i < set->n && set->table[i].letter != code)
		i++;
	return i;
}

/* The long option @word ("sam=3" without dashes) is unknown, or begins several names. */
static int refuse_long(const struct option_set *set, const struct getopt_view *view,
		       const char *word, struct error *err)
{
	size_t length = strcspn(word, "=");
	char list[256];
	size_t used = 0, found = 0;
	char *name;
	int rc;

	list[0] = '\0';
	for (const struct getopt_option *o = view->longs; o->name; o++) {
		if (strncmp(o->name, word, length) != 0)
			continue;
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s--%s",
						 found ? ", " : "", o->name);
		found++;
	}
	if (used >= sizeof(list))
		memcpy(list + sizeof(list) - 4, "...", 4);
	if (found > 1)
		return error_set(err, ENOENT, "option '--%.*s' is ambiguous: %s", (int)length, word,
				 list);
	name = strndup(word, length);
	if (!name)
		return error_set(err, ENOMEM, "options: no memory");
	rc = unknown_name(set, name, true, err);
	free(name);
	return rc;
}

/* getopt gave up on something: say what. */
static int refuse(const struct option_set *set, const struct getopt_view *view, int code,
		  char *const *argv, struct error *err)
{
	const struct option *row;

	if (code == '?' && optopt == 0)
		return refuse_long(set, view, argv[optind - 1] + 2, err);
	if (code == '?' && optopt < LONG_CODE)
		return error_set(err, ENOENT, "unknown option '-%c'; the help lists all options",
				 optopt);
	row = &set->table[row_of_code(set, optopt)];
	if (code == '?') /* the only long options without an argument are the negations */
		return error_set(err, EINVAL, "option --no-%s takes no value", row->name);
	if (optopt < LONG_CODE)
		return error_set(err, EINVAL, "option -%c (--%s) needs a value: %s", optopt,
				 row->name, type_words(row));
	return error_set(err, EINVAL, "option --%s needs a value: %s", row->name, type_words(row));
}

int option_set_parse_argv(struct option_set *set, int argc, char **argv, bool stop_at_operand,
			  int *first_operand, struct error *err)
{
	struct getopt_view view = {0};
	int rc = view_create(set, stop_at_operand, &view);
	int code;

	if (rc < 0)
		return error_set(err, ENOMEM, "options: no memory");
	optind = 0; /* glibc: start afresh, forget all state of an earlier command line */
	opterr = 0; /* the messages are ours */
	while (rc == 0) {
		code = getopt_long(argc, argv, view.letters, view.longs, NULL);
		if (code == -1)
			break;
		if (code == '?' || code == ':')
			rc = refuse(set, &view, code, argv, err);
		else if (code >= LONG_CODE && code % 2)
			rc = assign_once(set, row_of_code(set, code), "off", true, err);
		else
			rc = assign_once(set, row_of_code(set, code), optarg ? optarg : "on", true,
					 err);
	}
	*first_operand = optind;
	view_free(&view);
	return rc < 0 ? rc : check_required(set, true, err);
}

/* ---- reading ---- */

static const struct option_value *value_of(const struct option_set *set, const char *name)
{
	size_t i = find_row(set, name);

	assert(i < set->n);
	return &set->values[i];
}

/* The type a getter expects is a promise of the table; a release build trusts it. */
static void expect_type(const struct option_set *set, const char *name, unsigned int types)
{
	assert(types & (1U << set->table[find_row(set, name)].type));
	(void)set;
	(void)name;
	(void)types;
}

const struct option *option_find(const struct option_set *set, const char *name)
{
	size_t i = find_row(set, name);

	return i < set->n ? &set->table[i] : NULL;
}

bool option_given(const struct option_set *set, const char *name)
{
	return value_of(set, name)->given;
}

bool option_bool(const struct option_set *set, const char *name)
{
	expect_type(set, name, 1U << OPTION_BOOL);
	return value_of(set, name)->boolean;
}

uint64_t option_uint(const struct option_set *set, const char *name)
{
	expect_type(set, name, 1U << OPTION_UINT | 1U << OPTION_SIZE);
	return value_of(set, name)->number;
}

double option_real(const struct option_set *set, const char *name)
{
	expect_type(set, name, 1U << OPTION_REAL);
	return value_of(set, name)->real;
}

unsigned int option_choice(const struct option_set *set, const char *name)
{
	expect_type(set, name, 1U << OPTION_CHOICE);
	assert(!value_of(set, name)->file);
	return value_of(set, name)->choice;
}

const char *option_string(const struct option_set *set, const char *name)
{
	const struct option_value *v = value_of(set, name);

	expect_type(set, name, 1U << OPTION_STRING | 1U << OPTION_CHOICE);
	if (!v->set)
		return NULL;
	if (v->file)
		return v->file->path;
	if (set->table[find_row(set, name)].type == OPTION_CHOICE)
		return set->table[find_row(set, name)].choices[v->choice];
	return v->strings[v->nr_strings - 1];
}

const char *option_file(const struct option_set *set, const char *name, size_t *bytes)
{
	const struct option_file *file = value_of(set, name)->file;

	expect_type(set, name, 1U << OPTION_CHOICE);
	if (!file)
		return NULL;
	*bytes = file->bytes;
	return file->content;
}

const char *const *option_strings(const struct option_set *set, const char *name)
{
	static const char *const none[] = {NULL};
	const struct option_value *v = value_of(set, name);

	expect_type(set, name, 1U << OPTION_STRING);
	return v->strings ? (const char *const *)v->strings : none;
}

/* ---- the canonical form ---- */

/* @text as a value of a specification: in parentheses where it would come apart. */
static void print_spec_value(FILE *out, const char *text)
{
	if (strpbrk(text, ",()"))
		fprintf(out, "(%s)", text);
	else
		fputs(text, out);
}

/* The text of a value that is set and not a STRING. */
static const char *scalar_text(char text[FORMAT_MAX], const struct option *row,
			       const struct option_value *v)
{
	switch (row->type) {
	case OPTION_BOOL:
		return v->boolean ? "true" : "false";
	case OPTION_UINT:
	case OPTION_SIZE:
		snprintf(text, FORMAT_MAX, "%" PRIu64, v->number);
		return text;
	case OPTION_REAL:
		return format_real(text, v->real);
	case OPTION_CHOICE:
		return v->file ? v->file->canonical : row->choices[v->choice];
	case OPTION_STRING:
		break;
	}
	return "";
}

/* Several strings as one text. Return: malloc'ed, or NULL. */
static char *join_strings(const struct option_value *v)
{
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);

	for (size_t i = 0; out && i < v->nr_strings; i++) {
		if (i)
			fputc(',', out);
		print_spec_value(out, v->strings[i]);
	}
	return text_stream_end(&stream, NULL);
}

int option_each(const struct option_set *set,
		int (*visit)(void *arg, const struct option *row, const char *text), void *arg)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct option *row = &set->table[i];
		const struct option_value *v = &set->values[i];
		char buffer[FORMAT_MAX];
		char *joined = NULL;
		const char *text = NULL;
		int rc;

		if (v->set && row->type != OPTION_STRING) {
			text = scalar_text(buffer, row, v);
		} else if (v->nr_strings == 1) {
			text = v->strings[0];
		} else if (v->nr_strings > 1) {
			joined = join_strings(v);
			if (!joined)
				return -ENOMEM;
			text = joined;
		}
		rc = visit(arg, row, text);
		free(joined);
		if (rc)
			return rc;
	}
	return 0;
}

char *option_canonical(const struct option_set *set)
{
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);
	char buffer[FORMAT_MAX];
	const char *comma = "";

	for (size_t i = 0; out && i < set->n; i++) {
		const struct option *row = &set->table[i];
		const struct option_value *v = &set->values[i];

		for (size_t s = 0; s < v->nr_strings; s++) {
			fprintf(out, "%s%s=", comma, row->name);
			print_spec_value(out, v->strings[s]);
			comma = ",";
		}
		if (v->set && row->type != OPTION_STRING) {
			fprintf(out, "%s%s=", comma, row->name);
			print_spec_value(out, scalar_text(buffer, row, v));
			comma = ",";
		}
	}
	return text_stream_end(&stream, NULL);
}

/* ---- help ---- */

#define HELP_WIDTH	 100
#define HELP_COLUMN_MAX	 34
#define HELP_LEFT_MARGIN 2

static const char *argument_word(const struct option *row)
{
	if (row->argument)
		return row->argument;
	switch (row->type) {
	case OPTION_UINT:
		return "N";
	case OPTION_SIZE:
		return "SIZE";
	case OPTION_REAL:
		return "X";
	case OPTION_CHOICE:
		return "CHOICE";
	case OPTION_STRING:
		return "TEXT";
	case OPTION_BOOL:
		break;
	}
	return "on|off";
}

/* "-s, --samples=N", "    --[no-]oracle", "tree=N". */
static int left_text(char *text, size_t size, const struct option *row, bool dashes)
{
	char letter[8] = "";

	if (!dashes)
		return snprintf(text, size, "%s=%s", row->name, argument_word(row));
	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	if (row->type == OPTION_BOOL)
		return snprintf(text, size, "%4s--%s%s", letter, row_negatable(row) ? "[no-]" : "",
				row->name);
	return snprintf(text, size, "%4s--%s=%s", letter, row->name, argument_word(row));
}

/* "help text (one of a, b; 1 to 1024 frames; default: 8; may be repeated)" */
static void print_right(FILE *out, const struct option *row)
{
	char range[160];
	const char *gap = " (";

	fputs(row->help ? row->help : "", out);
	if (row->type == OPTION_CHOICE) {
		fprintf(out, "%sone of", gap);
		for (size_t i = 0; row->choices[i]; i++)
			fprintf(out, "%s %s", i ? "," : "", row->choices[i]);
		if (row->flags & OPTION_FILE)
			fputs(", or a file", out);
		gap = "; ";
	}
	range_text(range, sizeof(range), row, true);
	if (*range || row->unit) {
		fprintf(out, "%s%s%s", gap, *range ? "" : "in ", *range ? range : row->unit);
		gap = "; ";
	}
	if (row->fallback) {
		fprintf(out, "%sdefault: %s", gap, *row->fallback ? row->fallback : "empty");
		gap = "; ";
	}
	if (row->flags & OPTION_REQUIRED) {
		fprintf(out, "%srequired", gap);
		gap = "; ";
	}
	if (row->flags & OPTION_REPEATS) {
		fprintf(out, "%smay be repeated", gap);
		gap = "; ";
	}
	if (gap[0] == ';')
		fputc(')', out);
}

/* Words of @text between @column and HELP_WIDTH; the cursor is at @column already. */
static void print_wrapped(FILE *out, const char *text, int column)
{
	int at = column;

	while (*text) {
		int length = (int)strcspn(text, " ");

		if (at > column && at + 1 + length > HELP_WIDTH) {
			fprintf(out, "\n%*s", column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', out);
			at++;
		}
		fprintf(out, "%.*s", length, text);
		at += length;
		text += length;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

void option_help(const struct option *table, bool dashes, FILE *out)
{
	size_t n = table_length(table);
	int column = 0;
	char left[128];

	for (size_t i = 0; i < n; i++) {
		int length = left_text(left, sizeof(left), &table[i], dashes);

		if (length > column && length <= HELP_COLUMN_MAX)
			column = length;
	}
	column += HELP_LEFT_MARGIN + 2;
	for (size_t i = 0; i < n; i++) {
		struct text_stream stream;
		char *right;

		if (text_stream_begin(&stream))
			print_right(stream.out, &table[i]);
		right = text_stream_end(&stream, NULL);
		left_text(left, sizeof(left), &table[i], dashes);
		fprintf(out, "%*s%-*s", HELP_LEFT_MARGIN, "", column - HELP_LEFT_MARGIN, left);
		if ((int)strlen(left) > column - HELP_LEFT_MARGIN - 2)
			fprintf(out, "\n%*s", column, "");
		print_wrapped(out, right ? right : "", column);
		free(right);
	}
}
