/* SPDX-License-Identifier: MIT */
#include "traces/import/line_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Move the unread rest to the front and read behind it, as much as comes at once. */
static int refill(struct line_reader *r, struct error *err)
{
	size_t rest = r->end - r->start;
	ssize_t n;

	memmove(r->buffer, r->buffer + r->start, rest);
	r->start = 0;
	r->end = rest;
	do {
		n = read(r->fd, r->buffer + rest, LINE_READER_BUFFER - rest);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_set(err, errno, "%s: byte %" PRIu64 ": cannot read: %s", r->name,
				 r->bytes_done, strerror(errno));
	r->at_end = n == 0;
	r->end += (size_t)n;
	r->bytes_done += (uint64_t)n;
	return 0;
}

int line_reader_open(const char *path, struct line_reader *r, struct error *err)
{
	bool standard = strcmp(path, "-") == 0;
	struct stat st;
	int rc;

	*r = (struct line_reader){.name = standard ? "standard input" : path};
	r->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0)
		return error_set(err, errno, "%s: cannot open: %s", path, strerror(errno));
	r->buffer = malloc(LINE_READER_BUFFER + 1);
	if (!r->buffer) {
		rc = error_set(err, ENOMEM, "%s: out of memory for a read buffer", r->name);
		goto fail;
	}
	if (fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode))
		r->bytes_total = (uint64_t)st.st_size;
	rc = refill(r, err);
	if (rc)
		goto fail;
	return 0;
fail:
	line_reader_close(r);
	return rc;
}

void line_reader_close(struct line_reader *r)
{
	free(r->buffer);
	r->buffer = NULL;
	if (r->fd > STDIN_FILENO)
		close(r->fd);
	r->fd = -1;
}

const char *line_reader_head(const struct line_reader *r, size_t *bytes)
{
	*bytes = r->end;
	return r->buffer;
}

int line_reader_next(struct line_reader *r, const char **line, const char **end, struct error *err)
{
	size_t searched = 0;

	for (;;) {
		char *start = r->buffer + r->start;
		size_t rest = r->end - r->start;
		char *newline = memchr(start + searched, '\n', rest - searched);
		int rc;

		if (newline) {
			*line = start;
			*end = newline;
			r->start = (size_t)(newline + 1 - r->buffer);
			r->line++;
			return 1;
		}
		if (r->at_end)
			break;
		if (rest == LINE_READER_BUFFER)
			return error_set(err, EBADMSG,
					 "%s:%" PRIu64 ": the line is longer than 1 MiB; give the "
					 "text that perf script prints",
					 r->name, r->line + 1);
		searched = rest;
		rc = refill(r, err);
		if (rc)
			return rc;
	}
	if (r->start == r->end)
		return 0;
	*line = r->buffer + r->start;
	*end = r->buffer + r->end;
	r->buffer[r->end] = '\n';
	r->start = r->end;
	r->line++;
	r->unterminated = true;
	return 1;
}
