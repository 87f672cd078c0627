/* SPDX-License-Identifier: MIT */
/*
 * How much memory this process could still get: asked before much of it is spent, so that whoever
 * describes too large a machine reads a line about it, and does not meet the kernel's killer.
 */
#ifndef BASE_HOST_MEMORY_H
#define BASE_HOST_MEMORY_H

#include <stdint.h>

/**
 * host_memory_available - MemAvailable of /proc/meminfo, or the lowest memory limit of the control
 * groups this process is in (either version) if that is less
 * @root: "" for this host, a folder holding such files for tests
 * A limit counts as a whole, whatever of it is in use already. Read anew at each call; thread-safe.
 * Return: bytes; UINT64_MAX: nothing of it can be read, so nothing is known.
 */
uint64_t host_memory_available(const char *root);

#endif
