/* SPDX-License-Identifier: MIT */
/*
 * Files as a table calls them: by name, and by as much of the directory as tells them apart.
 */
#ifndef CLI_SHORT_NAME_H
#define CLI_SHORT_NAME_H

#include <stddef.h>

/**
 * short_name - the shortest end of @path, of whole components, that no other of @paths ends in
 * Paths that are spelled alike are not told apart.
 * Return: a part of @path.
 */
const char *short_name(const char *path, char *const *paths, size_t n);

#endif
