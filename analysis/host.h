/* SPDX-License-Identifier: MIT */
/*
 * On which machine a figure was measured. Timings are compared only within one host, so a result
 * carries what makes timings differ, and nothing that names the machine or its owner: no host name,
 * no address, no serial number.
 */
#ifndef ANALYSIS_HOST_H
#define ANALYSIS_HOST_H

#include <stdint.h>
#include <sys/types.h>

struct host {
	char cpu_model[128];
	char kernel[96];   /* release and machine: "6.18.5 x86_64" */
	char thp[16];	   /* the mode in force: "always", "madvise", "never", or "unknown" */
	char governor[32]; /* of cpu 0, or "unknown" (virtual machines show none) */
	char boot_id[40];  /* changes at each boot; with a pid it names a process for ever */
	uint64_t
		memory_bytes; /* rounded to 64 MiB: a kernel update moves the exact figure a little */
	uint32_t cores;	      /* logical CPUs online */
};

/**
 * host_read - look at this machine
 * @root: prefix of /proc and /sys: "" for the real ones, a folder of fixtures in tests
 *
 * Never fails: what cannot be read is "unknown" or 0. Thread-safe.
 */
void host_read(const char *root, struct host *host);

/**
 * host_process_start - when process @pid started, in clock ticks since boot
 * @root: as for host_read()
 *
 * A pid alone is reused; (boot id, pid, start) is not.
 * Return: 0; -ESRCH no such process; -EIO /proc says something unexpected.
 */
int host_process_start(const char *root, pid_t pid, uint64_t *ticks);

#endif
