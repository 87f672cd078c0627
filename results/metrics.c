/* SPDX-License-Identifier: MIT */
#include "results/metrics.h"

#include <math.h>
#include <string.h>

#define INFO(label, unit_, direction_, kind_, help_)                                               \
	{                                                                                          \
		.name = (label), .unit = (unit_), .help = (help_),                                 \
		.direction = METRIC_##direction_, .kind = METRIC_##kind_                           \
	}

const struct metric_info metric_table[METRIC_COUNT] = {
#define X(name, unit, direction, kind, help)                                                       \
	[METRIC_##name] = INFO(#name, unit, direction, kind, help),
	HEALTH_METRICS(X) STATE_METRICS(X) RUN_METRICS(X) FIDELITY_METRICS(X)
#undef X
#define X(name, unit, direction, kind, help)                                                       \
	[METRIC_##name##_mean] =                                                                   \
		INFO(#name "_mean", unit, direction, kind, "average over the samples: " help),
		STATE_METRICS(X)
#undef X
};

_Static_assert(METRIC_STATE_COUNT > 0 &&
		       (int)METRIC_metadata_bytes == (int)METRIC_STATE_END + METRIC_STATE_COUNT,
	       "the state metrics and their means are two ranges of the same length");

enum metric metric_find(const char *name)
{
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		if (strcmp(metric_table[m].name, name) == 0)
			return (enum metric)m;
	return METRIC_COUNT;
}

enum metric metric_mean_of(enum metric metric)
{
	if (metric < METRIC_STATE_FIRST || metric >= METRIC_STATE_END)
		return METRIC_COUNT;
	return (enum metric)((unsigned int)metric + METRIC_STATE_COUNT);
}

METRIC_RANGE(alloc_ns, alloc_ns_count, 8);
METRIC_RANGE(free_ns, free_ns_count, 8);
METRIC_RANGE(touch_ns, touch_ns_count, 8);

double metric_error(enum metric metric, const double values[METRIC_COUNT])
{
	static const struct {
		enum metric first, last;
	} quantiles[] = {
		{METRIC_alloc_ns_p50, METRIC_alloc_ns_max},
		{METRIC_free_ns_p50, METRIC_free_ns_max},
		{METRIC_touch_ns_p50, METRIC_touch_ns_max},
	};
	const double step = values[METRIC_clock_step_ns];

	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		if (metric >= quantiles[i].first && metric <= quantiles[i].last &&
		    values[metric] < METRIC_STEPS_EXACT * step)
			return step;
	return (double)NAN;
}

void metrics_clear(double values[METRIC_COUNT])
{
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		values[m] = NAN;
}
