/* SPDX-License-Identifier: MIT */
#include "base/text_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define FIRST_BYTES 256U

/* Room for @bytes more and the NUL. */
static bool reserve(struct text_stream *s, size_t bytes)
{
	size_t need = s->bytes + bytes + 1;
	char *more;

	if (need <= s->max)
		return true;
	need = (size_t)max_u64(max_u64(need, 2 * s->max), FIRST_BYTES);
	more = realloc(s->text, need);
	if (!more)
		return false;
	s->text = more;
	s->max = need;
	return true;
}

static ssize_t take(void *cookie, const char *data, size_t bytes)
{
	struct text_stream *s = cookie;

	/* What comes behind a gap is no text any more. */
	if (s->lost || !reserve(s, bytes)) {
		s->lost = true;
		errno = ENOMEM;
		return 0;
	}
	memcpy(s->text + s->bytes, data, bytes);
	s->bytes += bytes;
	return (ssize_t)bytes;
}

FILE *text_stream_begin(struct text_stream *s)
{
	*s = (struct text_stream){0};
	s->out = fopencookie(s, "w", (cookie_io_functions_t){.write = take});
	return s->out;
}

char *text_stream_end(struct text_stream *s, size_t *bytes)
{
	bool lost = !s->out || fclose(s->out) != 0;
	char *text = s->text;

	if (lost || s->lost || !reserve(s, 0)) {
		free(text);
		*s = (struct text_stream){0};
		return NULL;
	}
	text = s->text;
	text[s->bytes] = '\0';
	if (bytes)
		*bytes = s->bytes;
	*s = (struct text_stream){0};
	return text;
}
