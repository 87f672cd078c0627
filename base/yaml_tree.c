/* SPDX-License-Identifier: MIT */
#include "base/yaml_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/option.h"

#define KEYS_MAX 32U

/* ---- from events to a tree ---- */

/* A list or map that is being read. */
struct level {
	struct yaml *node;
	struct yaml **end; /* where its next child goes */
	char *key;	   /* of a map: read, waiting for its value */
	yaml_mark_t key_at;
};

struct reader {
	yaml_parser_t parser;
	struct yaml_document *doc;
	struct level level[YAML_DEPTH_MAX];
	unsigned int depth;
	struct error *err;
	bool done;
};

static int complain_at(const struct reader *r, yaml_mark_t at, const char *what)
{
	return error_set(r->err, EINVAL, "%s:%zu:%zu: %s", r->doc->source, at.line + 1,
			 at.column + 1, what);
}

static int no_memory(struct error *err)
{
	return error_set(err, ENOMEM, "out of memory");
}

/* A new node where the next one belongs; it is the document's at once. */
static int add_node(struct reader *r, enum yaml_kind kind, yaml_mark_t at, struct yaml **out)
{
	struct level *level = r->depth ? &r->level[r->depth - 1] : NULL;
	struct yaml *node = calloc(1, sizeof(*node));

	if (!node)
		return no_memory(r->err);
	node->kind = kind;
	if (level && level->key) {
		at = level->key_at;
		node->key = level->key;
		level->key = NULL;
	}
	node->line = (unsigned int)at.line + 1;
	node->column = (unsigned int)at.column + 1;
	if (level) {
		*level->end = node;
		level->end = &node->next;
	} else {
		r->doc->root = node;
	}
	*out = node;
	return 0;
}

static bool wants_key(const struct reader *r)
{
	const struct level *level = r->depth ? &r->level[r->depth - 1] : NULL;

	return level && level->node->kind == YAML_MAP && !level->key;
}

static int read_text(struct reader *r, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	struct level *level = r->depth ? &r->level[r->depth - 1] : NULL;
	struct yaml *node = NULL;
	char *copy;
	int rc;

	if (strlen(text) != event->data.scalar.length)
		return complain_at(r, event->start_mark, "a character 0; take it out");
	copy = strdup(text);
	if (!copy)
		return no_memory(r->err);
	if (wants_key(r)) {
		level->key = copy;
		level->key_at = event->start_mark;
		return 0;
	}
	rc = add_node(r, YAML_TEXT, event->start_mark, &node);
	if (rc)
		free(copy);
	else
		node->text = copy;
	return rc;
}

static int open_level(struct reader *r, const yaml_event_t *event, enum yaml_kind kind)
{
	struct yaml *node = NULL;
	int rc;

	if (wants_key(r))
		return complain_at(r, event->start_mark, "a key that is no text; name it");
	if (r->depth == YAML_DEPTH_MAX)
		return complain_at(r, event->start_mark, "nested too deeply; nothing here is");
	rc = add_node(r, kind, event->start_mark, &node);
	if (!rc)
		r->level[r->depth++] = (struct level){.node = node, .end = &node->first};
	return rc;
}

static int take_event(struct reader *r, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return read_text(r, event);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(r, event, YAML_LIST);
	case YAML_MAPPING_START_EVENT:
		return open_level(r, event, YAML_MAP);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		r->depth--;
		return 0;
	case YAML_ALIAS_EVENT:
		return complain_at(r, event->start_mark,
				   "an alias; write out in full what it stands for");
	case YAML_DOCUMENT_START_EVENT:
		return r->doc->root
			       ? complain_at(r, event->start_mark, "a second document; keep one")
			       : 0;
	case YAML_STREAM_END_EVENT:
		r->done = true;
		return 0;
	default:
		return 0;
	}
}

static int refuse(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	yaml_mark_t at = p->problem_mark;

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(r->err);
	return error_set(r->err, EINVAL,
			 "%s:%zu:%zu: this is not YAML: %s; look for what is out of line or not "
			 "closed, up to there",
			 r->doc->source, at.line + 1, at.column + 1,
			 p->problem ? p->problem : "unreadable");
}

static int read_all(struct reader *r)
{
	int rc = 0;

	while (!rc && !r->done) {
		yaml_event_t event;

		if (!yaml_parser_parse(&r->parser, &event))
			return refuse(r);
		rc = take_event(r, &event);
		yaml_event_delete(&event);
	}
	if (!rc && !r->doc->root)
		return error_set(r->err, EINVAL, "%s:1:1: there is nothing in it", r->doc->source);
	return rc;
}

static void free_nodes(struct yaml *node)
{
	while (node) {
		struct yaml *next = node->next;

		free_nodes(node->first); /* at most YAML_DEPTH_MAX deep */
		free(node->text);
		free(node->key);
		free(node);
		node = next;
	}
}

void yaml_destroy(struct yaml_document *doc)
{
	if (!doc)
		return;
	free_nodes(doc->root);
	free(doc->source);
	free(doc);
}

int yaml_parse(const char *text, size_t length, const char *source, struct yaml_document **doc,
	       struct error *err)
{
	struct reader r = {.err = err};
	int rc;

	if (length > YAML_BYTES_MAX)
		return error_set(err, EFBIG, "%s: larger than 1 MiB; this is not the file meant",
				 source);
	r.doc = calloc(1, sizeof(*r.doc));
	if (r.doc)
		r.doc->source = strdup(source);
	if (!r.doc || !r.doc->source || !yaml_parser_initialize(&r.parser)) {
		yaml_destroy(r.doc);
		return no_memory(err);
	}
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
	rc = read_all(&r);
	yaml_parser_delete(&r.parser);
	while (r.depth) /* keys whose values never came */
		free(r.level[--r.depth].key);
	if (rc) {
		yaml_destroy(r.doc);
		return rc;
	}
	*doc = r.doc;
	return 0;
}

int yaml_load(const char *path, struct yaml_document **doc, struct error *err)
{
	FILE *in = fopen(path, "re");
	size_t length;
	char *text;
	int rc;

	if (!in)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	text = malloc(YAML_BYTES_MAX + 1);
	if (!text) {
		fclose(in);
		return no_memory(err);
	}
	errno = 0;
	length = fread(text, 1, YAML_BYTES_MAX + 1, in);
	if (ferror(in))
		rc = error_set(err, errno ? errno : EIO, "%s: %s", path,
			       strerror(errno ? errno : EIO));
	else
		rc = yaml_parse(text, length, path, doc, err);
	fclose(in);
	free(text);
	return rc;
}

/* ---- form and meaning ---- */

int yaml_complain(const struct yaml_document *doc, const struct yaml *at, struct error *err,
		  const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list arguments;

	va_start(arguments, fmt);
	vsnprintf(text, sizeof(text), fmt, arguments);
	va_end(arguments);
	return error_set(err, EINVAL, "%s:%u:%u: %s", doc->source, at->line, at->column, text);
}

static const char *kind_words(enum yaml_kind kind)
{
	return kind == YAML_MAP	   ? "a mapping, 'key: value'"
	       : kind == YAML_LIST ? "a list, '[a, b]'"
				   : "a single value";
}

static int unknown_key(const struct yaml_document *doc, const struct yaml *at,
		       const struct yaml_key *keys, struct error *err)
{
	const char *names[KEYS_MAX] = {NULL}, *near;
	char list[256] = "";
	size_t used = 0;

	for (size_t i = 0; keys[i].name && i + 1 < KEYS_MAX; i++)
		names[i] = keys[i].name;
	near = nearest_name(at->key, names);
	if (near)
		return yaml_complain(doc, at, err, "unknown key '%s'; did you mean '%s'?", at->key,
				     near);
	for (size_t i = 0; names[i] && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 names[i]);
	return yaml_complain(doc, at, err, "unknown key '%s'; there are %s", at->key, list);
}

int yaml_map(const struct yaml_document *doc, const struct yaml *node, const struct yaml_key *keys,
	     const struct yaml **values, struct error *err)
{
	if (node->kind != YAML_MAP)
		return yaml_complain(doc, node, err, "%s where %s belongs", kind_words(node->kind),
				     kind_words(YAML_MAP));
	for (size_t i = 0; keys[i].name; i++)
		values[i] = NULL;
	for (const struct yaml *child = node->first; child; child = child->next) {
		size_t i = 0;

		while (keys[i].name && strcmp(keys[i].name, child->key) != 0)
			i++;
		if (!keys[i].name)
			return unknown_key(doc, child, keys, err);
		if (values[i])
			return yaml_complain(doc, child, err, "a second '%s'; keep one of them",
					     child->key);
		if (child->kind != keys[i].kind)
			return yaml_complain(doc, child, err, "%s: %s where %s belongs", child->key,
					     kind_words(child->kind), kind_words(keys[i].kind));
		values[i] = child;
	}
	for (size_t i = 0; keys[i].name; i++) {
		if (keys[i].required && !values[i])
			return yaml_complain(doc, node, err, "the key '%s' is missing here; add it",
					     keys[i].name);
	}
	return 0;
}

/* What a value is called in messages. */
static const char *name_of(const struct yaml *node)
{
	return node->key ? node->key : "entry";
}

static int want_text(const struct yaml_document *doc, const struct yaml *node, struct error *err)
{
	if (node->kind == YAML_TEXT)
		return 0;
	return yaml_complain(doc, node, err, "%s: %s where %s belongs", name_of(node),
			     kind_words(node->kind), kind_words(YAML_TEXT));
}

int yaml_uint(const struct yaml_document *doc, const struct yaml *node, uint64_t min, uint64_t max,
	      uint64_t *value, struct error *err)
{
	int rc = want_text(doc, node, err);
	const char *c = node->text;
	bool overflow = false;
	uint64_t v = 0;

	if (rc)
		return rc;
	for (; *c >= '0' && *c <= '9'; c++) {
		overflow |= __builtin_mul_overflow(v, UINT64_C(10), &v);
		overflow |= __builtin_add_overflow(v, (uint64_t)(*c - '0'), &v);
	}
	if (*c || c == node->text || overflow || v < min || v > max)
		return yaml_complain(doc, node, err,
				     "%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64,
				     name_of(node), node->text, min, max);
	*value = v;
	return 0;
}

int yaml_size(const struct yaml_document *doc, const struct yaml *node, uint64_t *bytes,
	      struct error *err)
{
	struct error why;
	int rc = want_text(doc, node, err);

	if (rc)
		return rc;
	if (option_parse_size(node->text, bytes, &why))
		return yaml_complain(doc, node, err, "%s: %s", name_of(node), why.text);
	return 0;
}

int yaml_choice(const struct yaml_document *doc, const struct yaml *node, const char *const *names,
		unsigned int *index, struct error *err)
{
	int rc = want_text(doc, node, err);
	char list[256] = "";
	size_t used = 0;
	const char *near;

	if (rc)
		return rc;
	for (*index = 0; names[*index]; ++*index) {
		if (strcmp(names[*index], node->text) == 0)
			return 0;
	}
	near = nearest_name(node->text, names);
	if (near)
		return yaml_complain(doc, node, err, "%s: no '%s'; did you mean '%s'?",
				     name_of(node), node->text, near);
	for (size_t i = 0; names[i] && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 names[i]);
	return yaml_complain(doc, node, err, "%s: no '%s'; choose one of %s", name_of(node),
			     node->text, list);
}
