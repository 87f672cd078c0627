/* SPDX-License-Identifier: MIT */
/*
 * The option --machine, alike for every verb that has it.
 */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

#include "base/option.h"
#include "sim/machine.h"

#define CLI_OPTION_MACHINE                                                                         \
	{                                                                                          \
		.name = "machine", .type = OPTION_STRING, .argument = "FILE.yaml",                 \
		.help = "play on this machine instead (configs/machines/, docs/machines.md); "     \
			"requests for DMA or DMA32 memory are for Normal where it has no such "    \
			"zone"                                                                     \
	}

struct cli_machine {
	struct machine *machine; /* NULL: none was named */
	char name[64]; /* what tables call it: the file's name without folder and ".yaml" */
};

/**
 * cli_machine_read - the value of the option "machine"
 * What the file leaves open, and how it was set, is told on stderr beside a table for people.
 * Return: EXIT_OK, or the exit code after telling why; to be released in any case.
 */
int cli_machine_read(const struct option_set *options, struct cli_machine *m);
void cli_machine_release(struct cli_machine *m);

#endif
