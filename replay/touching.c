/* SPDX-License-Identifier: MIT */
#include "replay/touching.h"

#include <sys/resource.h>

const char *const touching_names[] = {"none", "first", "all", NULL};

uint64_t touching_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_minflt;
}

int tell_real_memory(struct tell *tell, const struct memory *memory,
		     const struct touching_done *done)
{
	const bool touched = done->touching != TOUCHING_NONE;
	struct memory_usage usage;
	int rc;

	if (memory->kind == BACKING_NONE)
		return 0;
	rc = tell_metric(tell, METRIC_minor_faults, (double)done->faults);
	if (!rc && touched && done->frames != UINT64_MAX)
		rc = tell_metric(tell, METRIC_touched_frames, (double)done->frames);
	if (!rc && touched)
		rc = tell_metric(tell, METRIC_cleared_bytes,
				 (double)(done->cleared_frames << memory->machine->page_shift));
	if (rc || memory_usage(memory, &usage))
		return rc;
	rc = tell_metric(tell, METRIC_resident_bytes, (double)usage.resident_bytes);
	return rc ? rc : tell_metric(tell, METRIC_huge_page_bytes, (double)usage.huge_bytes);
}
