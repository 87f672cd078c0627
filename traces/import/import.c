/* SPDX-License-Identifier: MIT */
#include "traces/import/import.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "traces/import/import_perf.h"
#include "traces/import/import_sink.h"
#include "traces/import/line_reader.h"
#include "traces/file/trace_layout.h"

const char *const import_format_names[] = {"auto", "perf", "ftrace", NULL};

/* Files that are often given instead of the text made from them. */
#define MAGIC(s) s, sizeof(s) - 1
static const struct {
	const char *magic;
	size_t length;
	const char *what, *remedy;
} not_text[] = {
	{MAGIC("PERFILE2"), "perf.data", "run perf script on it and import its output"},
	{MAGIC("2ELIFREP"), "perf.data of the other byte order",
	 "run perf script on it and import its output"},
	{MAGIC("\x17\x08\x44tracing"), "trace.dat",
	 "run trace-cmd report on it and import its output"},
	{MAGIC(QUIRE_MAGIC), "a trace already", "use it as it is"},
	{MAGIC("\x1f\x8b"), "compressed by gzip", "unpack it with zcat and import its output"},
	{MAGIC("\x28\xb5\x2f\xfd"), "compressed by zstd",
	 "unpack it with zstdcat and import its output"},
	{MAGIC("\xfd\x37zXZ"), "compressed by xz", "unpack it with xzcat and import its output"},
};
#undef MAGIC

static int check_text(const struct line_reader *reader, struct error *err)
{
	size_t bytes;
	const char *head = line_reader_head(reader, &bytes);

	if (!bytes)
		return error_set(err, ENODATA,
				 "%s: is empty; give the text that perf script prints",
				 reader->name);
	for (size_t i = 0; i < ARRAY_SIZE(not_text); i++)
		if (bytes >= not_text[i].length &&
		    memcmp(head, not_text[i].magic, not_text[i].length) == 0)
			return error_set(err, EBADMSG, "%s: this is %s; %s", reader->name,
					 not_text[i].what, not_text[i].remedy);
	return 0;
}

/* Replacing the very file that is being read would lose it should the import be of no use. */
static int check_distinct(const char *in, const char *out, struct error *err)
{
	struct stat a, b;

	if (strcmp(in, "-") != 0 && stat(in, &a) == 0 && stat(out, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return error_set(err, EINVAL, "%s: is the input, too; name another output", out);
	return 0;
}

int import_file(const char *in, const char *out, const struct import_options *options,
		struct import_stats *stats, struct error *err)
{
	struct import_found found = {0};
	struct import_stats result = {0};
	struct import_sink *sink = NULL;
	struct line_reader reader;
	int rc;

	rc = check_distinct(in, out, err);
	if (!rc)
		rc = line_reader_open(in, &reader, err);
	if (rc)
		return rc;
	rc = check_text(&reader, err);
	if (!rc)
		rc = import_sink_create(out, options, &sink, err);
	if (!rc)
		rc = import_perf(&reader, sink, options, &found, &result, err);
	line_reader_close(&reader);
	if (rc) {
		import_sink_abort(sink);
		return rc;
	}
	result.memory_bytes = import_sink_frames(sink) << PAGE_SHIFT_DEFAULT;
	if (result.strays.events)
		result.memory_without_strays_bytes = import_frames_to(result.strays.end)
						     << PAGE_SHIFT_DEFAULT;
	if (options->kernel)
		snprintf(found.kernel, sizeof(found.kernel), "%s", options->kernel);
	rc = import_sink_close(sink, &found, &result.totals, err);
	if (!rc && stats)
		*stats = result;
	return rc;
}
