/* SPDX-License-Identifier: MIT */
/* Private memory of the process: in small pages, or in transparent huge ones. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "sim/backing/backing.h"

#define THP_ENABLED "/sys/kernel/mm/transparent_hugepage/enabled"

static int map_advised(struct memory *m, int advice, struct error *err)
{
	int rc = mapped_create(m, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, err);

	/* A kernel without transparent huge pages need not be told to use none. */
	if (!rc)
		(void)madvise(mapped_of(m)->base, mapped_of(m)->bytes, advice);
	return rc;
}

static int small_map(struct memory *m, struct error *err)
{
	return map_advised(m, MADV_NOHUGEPAGE, err);
}

/* Will the host's kernel give huge pages to who asks for them? */
static bool thp_is_on(void)
{
	char line[128] = "";
	FILE *f = fopen(THP_ENABLED, "re");
	bool on = f && fgets(line, sizeof(line), f) && !strstr(line, "[never]");

	if (f)
		fclose(f);
	return on;
}

static int thp_map(struct memory *m, struct error *err)
{
	if (!thp_is_on())
		return error_set(err, ENOTSUP,
				 "the host's kernel has no transparent huge pages, or they are "
				 "switched off; write \"madvise\" to " THP_ENABLED
				 ", or choose the backing small");
	return map_advised(m, MADV_HUGEPAGE, err);
}

static int anonymous_discard(struct memory *m, struct pfn_range range)
{
	return mapped_discard(m, range, MADV_DONTNEED);
}

const struct memory_ops backing_small = {
	.map = small_map,
	.prepare = mapped_prepare,
	.touch = mapped_touch,
	.discard = anonymous_discard,
	.unmap = mapped_destroy,
};

const struct memory_ops backing_thp = {
	.map = thp_map,
	.prepare = mapped_prepare,
	.touch = mapped_touch,
	.discard = anonymous_discard,
	.unmap = mapped_destroy,
};
