/* SPDX-License-Identifier: MIT */
/*
 * What backs the simulated frames. `none`: nothing, so that a terabyte costs only its metadata; the
 * kinds that map real memory hook in here. The per-2-MiB state bytes, which VM, zeroing and energy
 * models write and a back end may consult, live here too.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include "sim/machine.h"

enum memory_kind {
	MEMORY_NONE,
};

/** Names for a --memory option, in the order of the enum, NULL-terminated. */
extern const char *const memory_kind_names[];

/* Bits of a huge_state byte. */
enum huge_state {
	HUGE_INSTALLED = 1,
	HUGE_SOFT_RECLAIMED = 2,
	HUGE_HARD_RECLAIMED = 4,
	HUGE_ZEROED = 8,
	HUGE_OFFLINE = 16,
};

struct memory {
	enum memory_kind kind;
	void *frames;		     /* byte 0 of machine_start(); NULL for MEMORY_NONE */
	_Atomic uint8_t *huge_state; /* of 2 MiB block pfn / 512, indexed from block 0 */
	size_t nr_huge;
};

/** Return: 0 or -ENOMEM. Blocks wholly inside an offline range start as HUGE_OFFLINE. */
int memory_create(enum memory_kind kind, const struct machine *m, struct memory **memory,
		  struct error *err);
void memory_destroy(struct memory *memory); /* NULL is allowed */

#endif
