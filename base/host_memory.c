/* SPDX-License-Identifier: MIT */
#include "base/host_memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define LINE 4096

/* Where the two versions keep their groups, and what things are called there. */
struct hierarchy {
	const char *folder, *limit, *usage;
	const char *cached; /* line of memory.stat: pages of files that will be given up first */
};

static const struct hierarchy unified = {"/sys/fs/cgroup", "memory.max", "memory.current",
					 "inactive_file "};
static const struct hierarchy of_memory = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
					   "memory.usage_in_bytes", "total_inactive_file "};

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

static FILE *open_of_group(const char *root, const struct hierarchy *h, const char *group,
			   const char *file)
{
	char path[2 * LINE];

	if ((size_t)snprintf(path, sizeof(path), "%s%s/%s", h->folder, group, file) >= sizeof(path))
		return NULL;
	return open_under(root, path);
}

/* A file that is one number; @otherwise: "max", or there is none. */
static uint64_t number_of(const char *root, const struct hierarchy *h, const char *group,
			  const char *file, uint64_t otherwise)
{
	FILE *f = open_of_group(root, h, group, file);
	uint64_t number = otherwise;
	char line[64], *end;

	if (f && fgets(line, sizeof(line), f)) {
		errno = 0;
		number = strtoull(line, &end, 10);
		if (end == line || errno)
			number = otherwise;
	}
	if (f)
		fclose(f);
	return number;
}

/* What the group holds only until somebody wants it. */
static uint64_t cached_of(const char *root, const struct hierarchy *h, const char *group)
{
	FILE *f = open_of_group(root, h, group, "memory.stat");
	const size_t length = strlen(h->cached);
	uint64_t cached = 0;
	char line[LINE];

	while (f && !cached && fgets(line, sizeof(line), f))
		if (!strncmp(line, h->cached, length))
			cached = strtoull(line + length, NULL, 10);
	if (f)
		fclose(f);
	return cached;
}

/* What a group's limit leaves; no limit leaves all there is. */
static uint64_t left_of(const char *root, const struct hierarchy *h, const char *group)
{
	const uint64_t limit = number_of(root, h, group, h->limit, UINT64_MAX);
	uint64_t used, cached;

	/* Without one, the older version tells a very large one. */
	if (limit >= UINT64_MAX / 4)
		return UINT64_MAX;
	used = number_of(root, h, group, h->usage, 0);
	cached = cached_of(root, h, group);
	used -= min_u64(used, cached);
	return limit - min_u64(limit, used);
}

/* What the group's own limit leaves, and those of all it is in. */
static uint64_t of_group(const char *root, const struct hierarchy *h, char *group)
{
	uint64_t left = UINT64_MAX;
	char *slash;

	while ((slash = strrchr(group, '/'))) {
		left = min_u64(left, left_of(root, h, slash == group && !slash[1] ? "" : group));
		*slash = '\0';
	}
	return min_u64(left, left_of(root, h, ""));
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
