/* SPDX-License-Identifier: MIT */
/*
 * One table per thing that has options (a verb, a back end, a generator) drives everything about
 * them: parsing, range checks with units, help, the JSON echo, and "did you mean". No option is
 * stated twice.
 *
 * Two spellings read the same table: a command line ("--samples 100 -a llfree") and a back-end
 * specification ("tree=8,policy=movable"; a value in parentheses may contain commas:
 * "inner=(llfree:tree=8),batch=63").
 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum option_type {
	OPTION_BOOL, /* on|off, yes|no, true|false, 1|0; bare "--flag" is on, "--no-flag" is off */
	OPTION_UINT, /* decimal, also as 2e7, or 0x..., within [min, max] */
	OPTION_SIZE, /* bytes with an optional suffix K M G T (powers of 1024, also KiB, MiB...) */
	OPTION_REAL, /* decimal fraction within [min, max] */
	OPTION_CHOICE, /* one of choices[] */
	OPTION_STRING, /* any text */
};

enum option_flag {
	OPTION_REPEATS = 1, /* may be given several times; STRING only; see option_strings() */
	OPTION_REQUIRED = 2,
	OPTION_POWER_OF_TWO = 4, /* UINT, SIZE: part of the range */
	/*
	 * CHOICE: a value with a '/' or a '.' is the path of a file instead, which is read when it is
	 * assigned; see option_file(). What such a value means is the file's content, so its canonical
	 * text is PATH#HASH, and a value written like that is only taken if the content still has that
	 * hash.
	 */
	OPTION_FILE = 8,
};

/** A number that is a macro, as the text of a row. */
#define OPTION_TEXT(number)	OPTION_TEXT_AS_IT_IS(number)
#define OPTION_TEXT_AS_IT_IS(n) #n

#define OPTION_FILE_MAX ((size_t)1 << 20) /* bytes; larger files are refused */

/* A row; a table ends with a row whose name is NULL. Use designated initialisers. */
struct option {
	const char *name;	    /* long name without dashes: "samples" */
	const char *fallback;	    /* default, spelled as a user would; NULL: unset */
	const char *const *choices; /* CHOICE: NULL-terminated */
	const char *unit;	    /* shown in help and messages: "frames", "s"; NULL: none */
	const char *argument; /* word for the value in help: "FILE"; NULL: derived from type */
	const char *help;     /* one sentence, lower case, no full stop */
	double min, max;      /* UINT, SIZE, REAL; both 0: no bounds */
	enum option_type type;
	unsigned int flags;
	char letter; /* short option; 0: none */
};

struct option_set; /* values for one table; owned by its creator */

/**
 * option_set_create - values for @table, all at their defaults
 * @table: must outlive the set
 * Return: 0, or -ENOMEM; -EINVAL if the table itself is inconsistent (a default out of range), which
 * a unit test over every table rules out.
 */
int option_set_create(const struct option *table, struct option_set **set, struct error *err);
void option_set_destroy(struct option_set *set); /* NULL is allowed */

/**
 * option_set_assign - give one option a value, spelled as a user would
 * @value: NULL only for BOOL (on)
 * Return: 0; -ENOENT unknown name (the message suggests the nearest one); -EINVAL not a value of
 * that type; -ERANGE outside [min, max] (the message gives both with the unit); for a FILE that cannot
 * be read the reason's errno, -EFBIG, or -ESTALE: its content is not what the hash says.
 */
int option_set_assign(struct option_set *set, const char *name, const char *value,
		      struct error *err);

/**
 * option_set_parse_spec - "k=v,k=(nested,spec),flag"
 * Return: 0, or as option_set_assign(); -EINVAL also for what does not repeat and has a value of the user's
 * already, from this text or an earlier one.
 */
int option_set_parse_spec(struct option_set *set, const char *spec, struct error *err);

/**
 * option_set_parse_argv - GNU-style command line, through getopt_long
 * @argc, @argv: argv[0] is the verb and is skipped; argv is permuted, operands last, unless
 *               @stop_at_operand (for "record -- CMD")
 * @first_operand: index of the first operand in the permuted argv
 * Return: 0, or as option_set_assign(); -EINVAL also for a missing argument or required option, and for one that
 * is given twice and does not repeat.
 */
int option_set_parse_argv(struct option_set *set, int argc, char **argv, bool stop_at_operand,
			  int *first_operand, struct error *err);

/** The row of that name; NULL: there is none. Belongs to the table. */
const struct option *option_find(const struct option_set *set, const char *name);

/** True if the user gave a value (a default does not count). An unknown name is a bug: asserts. */
bool option_given(const struct option_set *set, const char *name);
/** Typed getters. @name must exist with that type (asserted). */
bool option_bool(const struct option_set *set, const char *name);
uint64_t option_uint(const struct option_set *set, const char *name); /* UINT and SIZE */
double option_real(const struct option_set *set, const char *name);
/** Index into choices[]. Not of a value that is a file (asserted). */
unsigned int option_choice(const struct option_set *set, const char *name);
/** STRING (last one given), any CHOICE, or a file's path; NULL if unset. Owned by the set. */
const char *option_string(const struct option_set *set, const char *name);
/**
 * option_file - the content of the file a CHOICE with OPTION_FILE names, as it was when assigned
 * @bytes: its length; a '\0' follows
 * Return: owned by the set; NULL: the value is one of choices[].
 */
const char *option_file(const struct option_set *set, const char *name, size_t *bytes);
/** All values of a repeatable STRING in the order given; NULL-terminated, owned by the set. */
const char *const *option_strings(const struct option_set *set, const char *name);

/**
 * option_each - the resolved values, in table order, for the JSON echo and for hashing
 * @visit: gets the row and its canonical text (sizes in bytes, booleans "true"/"false", files with
 *         their hash, unset as NULL); a non-zero return ends the walk and is returned.
 */
int option_each(const struct option_set *set,
		int (*visit)(void *arg, const struct option *row, const char *text), void *arg);

/**
 * option_canonical - the resolved values as one line "k=v,k=v", table order, unset ones left out
 * Return: malloc'ed, the caller frees; NULL: no memory.
 */
char *option_canonical(const struct option_set *set);

/** Print the table as aligned help lines, default, range and unit included. @dashes: "--name". */
void option_help(const struct option *table, bool dashes, FILE *out);

/**
 * option_parse_size - "64K", "4GiB", "512" -> bytes
 * Return: 0, -EINVAL, or -ERANGE on overflow.
 */
int option_parse_size(const char *text, uint64_t *bytes, struct error *err);

/**
 * nearest_name - the candidate a misspelt word most likely meant
 * @names: NULL-terminated
 * Return: one of @names within an edit distance of a third of its length (at least 1, a swap of
 * neighbours counts one), else NULL.
 */
const char *nearest_name(const char *word, const char *const *names);

#ifdef __cplusplus
}
#endif
#endif
