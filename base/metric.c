/* SPDX-License-Identifier: MIT */
#include "base/metric.h"

const char *metric_direction_name(enum metric_direction direction)
{
	static const char *const names[] = {"neutral", "higher", "lower"};

	return names[direction];
}

const char *metric_kind_name(enum metric_kind kind)
{
	static const char *const names[] = {"exact", "noisy", "modelled"};

	return names[kind];
}
