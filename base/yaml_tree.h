/* SPDX-License-Identifier: MIT */
/*
 * What YAML files of ours are read with: a tree in which everything knows its line and column, so that
 * any complaint, be it about form or meaning, names the place. Of YAML only what a reader can check at a
 * glance: one document, texts, lists and mappings; no aliases, no tags, no keys that are not text.
 *
 * Files are not trusted: at most YAML_BYTES_MAX, and YAML_DEPTH_MAX levels.
 */
#ifndef BASE_YAML_TREE_H
#define BASE_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define YAML_BYTES_MAX ((size_t)1 << 20)
#define YAML_DEPTH_MAX 16U

enum yaml_kind {
	YAML_TEXT,
	YAML_LIST,
	YAML_MAP,
};

/* Of a map, the children are its values. Belongs to its document. */
struct yaml {
	enum yaml_kind kind;
	char *text;		   /* TEXT */
	char *key;		   /* in a map: its name; else NULL */
	unsigned int line, column; /* from 1; of the key, where there is one */
	struct yaml *first, *next; /* child, sibling */
};

struct yaml_document {
	char *source; /* what messages call it */
	struct yaml *root;
};

/**
 * yaml_parse - read a document
 * @source: what messages call it, copied
 * The caller owns @doc: yaml_destroy().
 * Return: 0; -EINVAL: it is not YAML, or more of it than is taken here; -EFBIG; -ENOMEM.
 */
int yaml_parse(const char *text, size_t length, const char *source, struct yaml_document **doc,
	       struct error *err);
/** The same from a file. Return: also what open() or read() said. */
int yaml_load(const char *path, struct yaml_document **doc, struct error *err);
void yaml_destroy(struct yaml_document *doc); /* NULL is allowed */

/** "FILE:LINE:COLUMN: " and a message, about @at. Return: -EINVAL. */
int yaml_complain(const struct yaml_document *doc, const struct yaml *at, struct error *err,
		  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A key a mapping may have; a table ends with a row whose name is NULL. */
struct yaml_key {
	const char *name;
	enum yaml_kind kind; /* of the value */
	bool required;
};

/**
 * yaml_map - the values of a mapping by the rows of @keys
 * @values: one for each row; NULL: it is not there
 * Return: 0; -EINVAL: not a mapping, a key that is unknown (with the nearest one), given twice or
 * missing, or a value of another kind.
 */
int yaml_map(const struct yaml_document *doc, const struct yaml *node, const struct yaml_key *keys,
	     const struct yaml **values, struct error *err);

/*
 * The meaning of a text. Return: 0; -EINVAL with the place and what would be right.
 */
/** A whole number in decimal, from @min to @max. */
int yaml_uint(const struct yaml_document *doc, const struct yaml *node, uint64_t min, uint64_t max,
	      uint64_t *value, struct error *err);
/** Bytes: "4096", "16M", "4GiB". */
int yaml_size(const struct yaml_document *doc, const struct yaml *node, uint64_t *bytes,
	      struct error *err);
/** One of @names, which end with NULL; @index: which. */
int yaml_choice(const struct yaml_document *doc, const struct yaml *node, const char *const *names,
		unsigned int *index, struct error *err);

#endif
