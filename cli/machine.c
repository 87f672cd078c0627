/* SPDX-License-Identifier: MIT */
#include "cli/machine.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "sim/machine_file.h"

int cli_machine_read(const struct option_set *options, struct cli_machine *m)
{
	const char *path = option_string(options, "machine"), *name;
	struct machine_notes notes;
	struct error err = {0};
	int length;

	*m = (struct cli_machine){0};
	if (!path)
		return EXIT_OK;
	if (machine_from_file(path, &m->machine, &notes, &err))
		return cli_refuse(&err);
	if (notes.derived[0] && option_choice(options, "format") == EMITTER_TABLE)
		fprintf(stderr, "quire: %s: %s\n", path, notes.derived);
	name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	length = (int)strlen(name);
	if (length > 5 && strcmp(name + length - 5, ".yaml") == 0)
		length -= 5;
	snprintf(m->name, sizeof(m->name), "%.*s", length, name);
	return EXIT_OK;
}

void cli_machine_release(struct cli_machine *m)
{
	machine_destroy(m->machine);
	*m = (struct cli_machine){0};
}
