/* SPDX-License-Identifier: MIT */
/*
 * Text that is printed into memory, whole or not at all.
 *
 * The C library has open_memstream() for it, but when memory runs out, that loses a piece of the text
 * and tells neither ferror() nor fclose().
 */
#ifndef BASE_TEXT_STREAM_H
#define BASE_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Belongs to one thread; it may not move between begin and end. */
struct text_stream {
	FILE *out; /* print here; NULL: no memory */
	char *text;
	size_t bytes, max;
	bool lost; /* memory ran out on the way */
};

/**
 * text_stream_begin - open a stream into memory
 * Return: s->out, or NULL if there is no memory; text_stream_end() is called in either case.
 */
FILE *text_stream_begin(struct text_stream *s);

/**
 * text_stream_end - close the stream and hand out its text
 * @bytes: length of the text without the NUL behind it; NULL is allowed
 *
 * Return: the text, the caller's to free(); NULL if memory ran out at any time since the begin.
 */
char *text_stream_end(struct text_stream *s, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
