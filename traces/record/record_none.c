/* SPDX-License-Identifier: MIT */
/* What record.h promises, in a build without libtracefs. */
#include "traces/record/record.h"

#include <errno.h>

int record_run(const struct record_options *options, struct record_stats *stats, struct error *err)
{
	(void)options;
	*stats = (struct record_stats){0};
	return error_set(err, EOPNOTSUPP,
			 "this build cannot record; build it with libtracefs-dev installed");
}
