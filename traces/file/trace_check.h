/* SPDX-License-Identifier: MIT */
/*
 * Is a trace file intact? Whatever the reader has to say about a file is said while it reads, so the
 * check is a reading in which it compares all there is to compare; there is no second set of rules that
 * could hold another opinion. What is intact here, trace_reader_open() and its events and snapshots give
 * without an error, whatever the flags.
 */
#ifndef TRACES_FILE_TRACE_CHECK_H
#define TRACES_FILE_TRACE_CHECK_H

#include "traces/file/trace.h"

struct trace_check {
	bool intact;
	uint64_t events; /* read, those of the burn-in too */
	uint64_t damages;
	uint64_t lost_to_damage;     /* events, as far as it can be told */
	uint64_t lost_when_recorded; /* the sum of the LOST events' args */
	bool has_footer;	     /* else the next one is not known */
	uint64_t events_written;     /* as the file says */
	/*
	 * Of what can be read, snapshots and events: two files of which the same was read have the same. Of
	 * an intact one the file's own digest.
	 */
	char digest[33];
};

/**
 * trace_check - read all of a file and judge it
 * @damaged: called for each damage with a message that names file and byte, in the order in which they
 * are found; NULL: nobody is told
 *
 * Return: 0, and @result says whether it is intact; -EBADMSG no trace, or one without a header that can
 * be read; -EPROTONOSUPPORT it needs a newer program; -ENOMEM; or an I/O errno. Reentrant.
 */
int trace_check(const char *path, void (*damaged)(void *arg, const struct error *damage), void *arg,
		struct trace_check *result, struct error *err);

#endif
