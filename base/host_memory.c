/* SPDX-License-Identifier: MIT */
#include "base/host_memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define LINE 4096

/* Where the two versions keep their groups, and what a limit is called there. */
struct hierarchy {
	const char *folder, *limit;
};

static const struct hierarchy unified = {"/sys/fs/cgroup", "memory.max"};
static const struct hierarchy of_memory = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"};

static FILE *open_under(const char *root, const char *path)
{
	char whole[2 * LINE];

	if ((size_t)snprintf(whole, sizeof(whole), "%s%s", root, path) >= sizeof(whole))
		return NULL;
	return fopen(whole, "re");
}

static uint64_t of_meminfo(const char *root)
{
	FILE *f = open_under(root, "/proc/meminfo");
	uint64_t kib = UINT64_MAX;
	char line[LINE];

	while (f && kib == UINT64_MAX && fgets(line, sizeof(line), f))
		if (!strncmp(line, "MemAvailable:", 13))
			kib = strtoull(line + 13, NULL, 10);
	if (f)
		fclose(f);
	return kib < UINT64_MAX / 1024 ? kib * 1024 : UINT64_MAX;
}

/* "max", and a file that is not there, are no limit. */
static uint64_t limit_of(const char *root, const struct hierarchy *h, const char *group)
{
	char path[2 * LINE], line[64], *end;
	uint64_t limit = UINT64_MAX;
	FILE *f;

	if ((size_t)snprintf(path, sizeof(path), "%s%s/%s", h->folder, group, h->limit) >=
	    sizeof(path))
		return UINT64_MAX;
	f = open_under(root, path);
	if (f && fgets(line, sizeof(line), f)) {
		errno = 0;
		limit = strtoull(line, &end, 10);
		if (end == line || errno)
			limit = UINT64_MAX;
	}
	if (f)
		fclose(f);
	return limit;
}

/* The group's own limit and those of all it is in. */
static uint64_t of_group(const char *root, const struct hierarchy *h, char *group)
{
	uint64_t limit = UINT64_MAX;
	char *slash;

	while ((slash = strrchr(group, '/'))) {
		limit = min_u64(limit, limit_of(root, h, slash == group && !slash[1] ? "" : group));
		*slash = '\0';
	}
	return min_u64(limit, limit_of(root, h, ""));
}

/* Is "memory" one of the names between commas? */
static bool names_memory(const char *names)
{
	for (const char *p = names; (p = strstr(p, "memory")); p += 6)
		if ((p == names || p[-1] == ',') && (!p[6] || p[6] == ','))
			return true;
	return false;
}

/* Lines "4:memory:/path" and, of the unified hierarchy, "0::/path". */
static uint64_t of_groups(const char *root)
{
	FILE *f = open_under(root, "/proc/self/cgroup");
	uint64_t limit = UINT64_MAX;
	char line[LINE];

	while (f && fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		names++;
		if (!*names)
			limit = min_u64(limit, of_group(root, &unified, group));
		else if (names_memory(names))
			limit = min_u64(limit, of_group(root, &of_memory, group));
	}
	if (f)
		fclose(f);
	return limit;
}

uint64_t host_memory_available(const char *root)
{
	return min_u64(of_meminfo(root), of_groups(root));
}
