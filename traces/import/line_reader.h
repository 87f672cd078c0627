/* SPDX-License-Identifier: MIT */
/*
 * Text files of any size, or a pipe, line by line: big reads, no copy of a line, bounded memory.
 */
#ifndef TRACES_IMPORT_LINE_READER_H
#define TRACES_IMPORT_LINE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define LINE_READER_BUFFER (1U << 20) /* bytes; no line may be longer */

struct line_reader {
	const char *name;		  /* for messages */
	uint64_t line;			  /* number of the line given out last, from 1 */
	uint64_t bytes_done, bytes_total; /* read so far; of the file, 0 if unknown */
	bool unterminated; /* the line given out last ends the file without a newline */

	/* private */
	int fd;
	bool at_end;
	char *buffer; /* one byte more than LINE_READER_BUFFER */
	size_t start, end;
};

/**
 * line_reader_open - open @path, or standard input for "-", and read the first buffer
 * @path: must live as long as the reader
 * Return: 0, -ENOMEM, or the errno of open or read. On failure nothing needs closing.
 */
int line_reader_open(const char *path, struct line_reader *r, struct error *err);
void line_reader_close(struct line_reader *r);

/** The first bytes of the file, before any line was taken: for recognising formats. */
const char *line_reader_head(const struct line_reader *r, size_t *bytes);

/**
 * line_reader_next - the next line, without its newline
 * @line, @end: valid until the next call; *@end is '\n' even if the file lacks it
 * Return: 1; 0 at the end; -EBADMSG a line longer than the buffer; or the errno of read.
 */
int line_reader_next(struct line_reader *r, const char **line, const char **end, struct error *err);

#endif
