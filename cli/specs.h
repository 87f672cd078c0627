/* SPDX-License-Identifier: MIT */
/*
 * The back ends a command line names with --allocator, or all there are.
 */
#ifndef CLI_SPECS_H
#define CLI_SPECS_H

#include <stdbool.h>
#include <stddef.h>

#include "allocators/registry.h"
#include "base/option.h"

struct specs {
	struct allocator_spec **spec;
	size_t n;
	bool all; /* none was named: every built-in, of which what does not fit is left out */
};

/**
 * specs_parse - the values of the option "allocator"
 * @verb: begins the line that tells what is wrong
 * Return: EXIT_OK, or the exit code after telling why; to be released in any case.
 */
int specs_parse(const char *verb, const struct option_set *options, struct specs *specs);
void specs_release(struct specs *specs);

#endif
