/* SPDX-License-Identifier: MIT */
#include "cli/short_name.h"

#include <stdbool.h>
#include <string.h>

static bool ends_in(const char *path, const char *tail)
{
	const size_t length = strlen(path), end = strlen(tail);

	return length >= end && strcmp(path + length - end, tail) == 0 &&
	       (length == end || path[length - end - 1] == '/');
}

static bool is_another(const char *path, const char *tail, char *const *paths, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(paths[i], path) != 0 && ends_in(paths[i], tail))
			return true;
	return false;
}

/* Where the component before the one at @at begins; @path: there is none. */
static const char *one_more(const char *path, const char *at)
{
	at--;
	while (at > path && at[-1] != '/')
		at--;
	return at;
}

const char *short_name(const char *path, char *const *paths, size_t n)
{
	const char *slash = strrchr(path, '/');
	const char *tail = slash && slash[1] ? slash + 1 : path;

	while (tail > path && is_another(path, tail, paths, n))
		tail = one_more(path, tail);
	return tail;
}
