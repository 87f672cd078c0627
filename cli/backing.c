/* SPDX-License-Identifier: MIT */
#include "cli/backing.h"

#include <string.h>

#include "cli/cli.h"

int cli_backing_read(const char *verb, const struct option_set *options,
		     struct cli_backing *backing)
{
	const char *word = option_string(options, "backing"), *colon = strchr(word, ':');
	const bool is_file = colon && strncmp(word, "file", (size_t)(colon - word)) == 0;
	int kind;

	*backing = (struct cli_backing){.kind = BACKING_FILE, .path = colon ? colon + 1 : NULL};
	if (is_file && colon[1])
		return EXIT_OK;
	if (is_file || strcmp(word, backing_kind_names[BACKING_FILE]) == 0)
		return cli_usage(
			"%s: --backing file: which? Write file:PATH; the file is made, and "
			"stays",
			verb);
	kind = cli_pick("backing", word, backing_kind_names);
	if (kind < 0)
		return EXIT_USAGE;
	*backing = (struct cli_backing){.kind = (enum backing_kind)kind};
	return EXIT_OK;
}

int cli_pool_grow(const char *verb, const struct option_set *options,
		  const struct cli_backing *backing, struct hugetlb_pool **pool)
{
	const uint64_t bytes = option_uint(options, "grow-hugetlb");
	struct error err = {0};

	*pool = NULL;
	if (!bytes)
		return EXIT_OK;
	if (backing->kind != BACKING_HUGETLB)
		return cli_usage("%s: --grow-hugetlb: only --backing hugetlb uses the pool", verb);
	if (!hugetlb_pool_grow(bytes, pool, &err))
		return EXIT_OK;
	error_prefix(&err, "%s", verb);
	return cli_fail(EXIT_RUN, &err);
}
