/* SPDX-License-Identifier: MIT */
/*
 * What backs the simulated frames, by name or as "file:PATH"; what is done to them; and the host's pool of huge
 * pages, where it is to be larger meanwhile. The same options in replay and bench.
 */
#ifndef CLI_BACKING_H
#define CLI_BACKING_H

#include "base/option.h"
#include "replay/touching.h"
#include "sim/backing/pool.h"
#include "sim/memory.h"

#define CLI_OPTION_BACKING                                                                         \
	{                                                                                          \
		.name = "backing", .type = OPTION_STRING, .fallback = "none", .argument = "KIND",  \
		.help = "what backs the simulated frames: none simulates any size; small, thp, "   \
			"hugetlb, memfd and file:PATH are memory of this host"                     \
	}

/* Where each run is repeated, a file would have to be made again and again. */
#define CLI_OPTION_BACKING_NO_FILE                                                                 \
	{                                                                                          \
		.name = "backing", .type = OPTION_STRING, .fallback = "none", .argument = "KIND",  \
		.help = "what backs the simulated frames: none simulates any size; small, thp, "   \
			"hugetlb and memfd are memory of this host"                                \
	}

#define CLI_OPTION_TOUCH                                                                           \
	{                                                                                          \
		.name = "touch", .type = OPTION_CHOICE, .choices = touching_names,                 \
		.fallback = "none",                                                                \
		.help = "use what was handed out, timed apart: write each frame when it is first " \
			"handed out, or clear all of every block; needs --backing"                 \
	}

#define CLI_OPTION_GROW_HUGETLB                                                                    \
	{                                                                                          \
		.name = "grow-hugetlb", .type = OPTION_SIZE, .fallback = "0",                      \
		.help = "make the host's pool of huge pages larger by that much for a while, for " \
			"--backing hugetlb; it is given back in any case"                          \
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

/**
 * cli_pool_grow - do as the option "grow-hugetlb" says: the one thing that changes the host
 * To be called once all else is judged. @pool: NULL: the host's is as it was; hugetlb_pool_restore()
 * Return: EXIT_OK, or the exit code after telling why.
 */
int cli_pool_grow(const char *verb, const struct option_set *options,
		  const struct cli_backing *backing, struct hugetlb_pool **pool);

#endif
