/* SPDX-License-Identifier: MIT */
/*
 * A machine from a YAML file (configs/machines/, docs/machines.md), so that a trace can be played on one
 * it was not recorded on. What a file leaves out is set as a kernel would at boot.
 */
#ifndef SIM_MACHINE_FILE_H
#define SIM_MACHINE_FILE_H

#include "base/error.h"
#include "sim/machine.h"

/* What is to be told beside the machine itself; one line each, cut if too long. */
struct machine_notes {
	char description[160]; /* the file's own */
	char derived[256];     /* what the file left open and how it was set; "": nothing */
};

/**
 * machine_from_file - read a machine
 * @m: passes machine_check(); the caller's: machine_destroy()
 * @notes: NULL: nobody asks
 * Return: 0; -EINVAL: it is not such a file, or not a machine that can be; the message names file, line
 * and column; -EFBIG; -ENOMEM; or what open() or read() said.
 */
int machine_from_file(const char *path, struct machine **m, struct machine_notes *notes,
		      struct error *err);

/** The same from a text of @length bytes, not to be trusted; @source: what messages call it. */
int machine_from_yaml(const char *text, size_t length, const char *source, struct machine **m,
		      struct machine_notes *notes, struct error *err);

#endif
