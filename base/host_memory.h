/* SPDX-License-Identifier: MIT */
/*
 * How much memory this process could still get: asked before much of it is spent, so that whoever
 * describes too large a machine reads a line about it, and does not meet the kernel's killer.
 */
#ifndef BASE_HOST_MEMORY_H
#define BASE_HOST_MEMORY_H

#include <stdint.h>

/**
 * host_memory_available - MemAvailable of /proc/meminfo, or what the memory limits of the control
 * groups that this process is in (either version) leave, if that is less
 * @root: "" for this host, a folder holding such files for tests
 * A limit leaves what the group does not use; pages of files that it has not needed for a while do not count.
 * Read anew at each call; thread-safe.
 * Return: bytes; UINT64_MAX: nothing of it can be read, so nothing is known.
 */
uint64_t host_memory_available(const char *root);

#endif
