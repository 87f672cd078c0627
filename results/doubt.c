/* SPDX-License-Identifier: MIT */
#include "results/doubt.h"

#include <stdio.h>
#include <string.h>

const struct doubt_info doubt_table[DOUBT_KINDS] = {
#define X(name_, failed_, help_)                                                                   \
	[DOUBT_##name_] = {.name = #name_, .help = help_, .failed = (failed_) != 0},
	RESULT_DOUBTS(X)
#undef X
};

enum result_doubt_kind doubt_find(const char *name)
{
	unsigned int i = 0;

	while (i < DOUBT_KINDS && strcmp(doubt_table[i].name, name) != 0)
		i++;
	return (enum result_doubt_kind)i;
}

void doubts_refusals(struct doubts *doubts, uint64_t allocs, uint64_t failures, bool pads)
{
	doubts->count[DOUBT_alloc_failures] = failures;
	doubts->count[DOUBT_refuses_most] = !pads && failures > allocs / 2 ? failures : 0;
}

bool doubts_list(const struct doubts *doubts, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < DOUBT_KINDS; i++) {
		const char *name = doubt_table[i].name;

		if (!doubts->count[i])
			continue;
		if (used + strlen(name) + 2 > bytes)
			return false;
		used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? "," : "", name);
	}
	return true;
}

bool doubts_failed(const struct doubts *doubts)
{
	for (unsigned int i = 0; i < DOUBT_KINDS; i++)
		if (doubt_table[i].failed && doubts->count[i])
			return true;
	return false;
}
