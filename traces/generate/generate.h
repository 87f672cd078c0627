/* SPDX-License-Identifier: MIT */
/*
 * Traces nobody recorded: a workload is a file here with one table of options, and is written down as
 * if a machine had run it (`identity: virtual`: an object's pfn is only its name). The same options give
 * the same bytes on any machine.
 */
#ifndef TRACES_GENERATE_GENERATE_H
#define TRACES_GENERATE_GENERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/option.h"
#include "traces/file/trace.h"
#include "traces/generate/stream.h"

struct workload {
	const char *name;
	const char *summary; /* one line */
	/* GENERATE_OPTIONS(), then its own. */
	const struct option *options;
	/* Do the values make sense together? Return: 0; -EINVAL, the message naming the option. */
	int (*check)(const struct option_set *options, struct error *err);
	/* The workload, for values that do. Return: 0; or what the stream's functions returned. */
	int (*run)(const struct option_set *options, struct stream *stream, struct error *err);
};

/** All workloads, NULL-terminated. */
extern const struct workload *const workloads[];

/* The rows every workload has. Texts are defaults, as a user would spell them; NULL: none. */
#define GENERATE_OPTIONS(events_default, memory_default, cpus_default, rate_default, seed_help)    \
	{                                                                                          \
		.name = "memory",                                                                  \
		.type = OPTION_SIZE,                                                               \
		.fallback = memory_default,                                                        \
		.min = 4096,                                                                       \
		.max = (double)(IDS_END << PAGE_SHIFT_DEFAULT),                                    \
		.unit = "bytes",                                                                   \
		.help = "of the machine: one zone from frame 0",                                   \
	},                                                                                         \
		{                                                                                  \
			.name = "cpus",                                                            \
			.type = OPTION_UINT,                                                       \
			.fallback = cpus_default,                                                  \
			.min = 1,                                                                  \
			.max = MACHINE_CPUS_MAX,                                                   \
			.help = "of the machine",                                                  \
		},                                                                                 \
		{                                                                                  \
			.name = "events",                                                          \
			.type = OPTION_UINT,                                                       \
			.fallback = events_default,                                                \
			.min = 1,                                                                  \
			.max = 0x1p64,                                                             \
			.help = "at most so many; a trace that would be longer ends there",        \
		},                                                                                 \
		{                                                                                  \
			.name = "rate",                                                            \
			.type = OPTION_UINT,                                                       \
			.fallback = rate_default,                                                  \
			.min = 1,                                                                  \
			.max = 1e9,                                                                \
			.unit = "operations/s",                                                    \
			.help = "how fast trace time passes: evenly, by allocations and frees",    \
		},                                                                                 \
	{                                                                                          \
		.name = "seed", .type = OPTION_UINT, .fallback = "1", .help = seed_help,           \
	}

/** Blocks of 2^@order frames in the "memory" of @options. */
uint64_t generate_blocks(const struct option_set *options, unsigned int order);

struct generate_stats {
	struct trace_totals totals;
	uint64_t peak_frames; /* alive at once, at most */
	uint64_t bytes;	      /* of the file */
};

struct generate_how {
	bool overwrite;
	/* Now and then, from the calling thread. NULL: none. */
	void (*progress)(void *arg, uint64_t events);
	void *progress_arg;
};

/**
 * generate_file - write the trace of a workload
 * @options: values for its table
 * @stats: written on success; NULL is allowed
 * Return: 0; -EINVAL: the values make no sense together; -EEXIST; -ENOMEM; or the errno of writing. On
 * failure @out is as it was before.
 */
int generate_file(const struct workload *workload, const struct option_set *options,
		  const char *out, const struct generate_how *how, struct generate_stats *stats,
		  struct error *err);

#endif
