/* SPDX-License-Identifier: MIT */
/*
 * What backs the simulated frames, by name or as "file:PATH".
 */
#ifndef CLI_BACKING_H
#define CLI_BACKING_H

#include "base/option.h"
#include "sim/memory.h"

#define CLI_OPTION_BACKING                                                                         \
	{                                                                                          \
		.name = "backing", .type = OPTION_STRING, .fallback = "none", .argument = "KIND",  \
		.help = "what backs the simulated frames: none simulates any size; small, thp, "   \
			"hugetlb, memfd and file:PATH are memory of this host"                     \
	}

struct cli_backing {
	enum backing_kind kind;
	const char *path; /* of BACKING_FILE; belongs to the options */
};

/**
 * cli_backing_read - the value of the option "backing"
 * @verb: begins the line that tells what is wrong
 * Return: EXIT_OK, or the exit code after telling why.
 */
int cli_backing_read(const char *verb, const struct option_set *options,
		     struct cli_backing *backing);

#endif
