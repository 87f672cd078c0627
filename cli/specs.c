/* SPDX-License-Identifier: MIT */
#include "cli/specs.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/cli.h"

int specs_parse(const char *verb, const struct option_set *options, struct specs *specs)
{
	const char *const *given = option_strings(options, "allocator");
	struct error err = {0};
	size_t n = 0;

	*specs = (struct specs){.all = !given || !given[0]};
	while (specs->all ? allocator_builtins[n] != NULL : given[n] != NULL)
		n++;
	specs->spec = calloc(n ? n : 1, sizeof(*specs->spec));
	if (!specs->spec) {
		error_set(&err, ENOMEM, "%s: no memory", verb);
		return cli_fail(EXIT_RUN, &err);
	}
	for (; specs->n < n; specs->n++) {
		const char *text =
			specs->all ? allocator_builtins[specs->n]->name : given[specs->n];

		if (allocator_spec_parse(text, &specs->spec[specs->n], &err)) {
			error_prefix(&err, "%s: --allocator", verb);
			return cli_refuse(&err);
		}
	}
	return EXIT_OK;
}

void specs_release(struct specs *specs)
{
	for (size_t i = 0; i < specs->n; i++)
		allocator_spec_destroy(specs->spec[i]);
	free(specs->spec);
	*specs = (struct specs){0};
}
