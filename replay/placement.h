/* SPDX-License-Identifier: MIT */
/*
 * On which CPU of the host each worker runs: a thread that is measured stays where it was put, and what it is
 * compared with was put likewise. What the host is made of comes from hwloc; who may use what of it is
 * the process's own affinity.
 *
 * Internal to replay/. Not thread-safe; a topology may be read by any thread.
 */
#ifndef REPLAY_PLACEMENT_H
#define REPLAY_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "sim/machine.h"
#include "sim/host_nodes.h"

#define PLACEMENT_NOTE_MAX 256

/* The CPUs that may be used, each with its core and its node. */
struct host_topology;

/**
 * host_topology_load - this host, and what this thread may use of it. Takes one to three milliseconds.
 * Where hwloc cannot tell, each CPU of the affinity mask is taken for a core of its own, all of them near
 * each other, and host_topology_note() says so.
 * The caller owns @t: host_topology_destroy().
 * Return: 0; -ENOMEM; or sched_getaffinity()'s.
 */
int host_topology_load(struct host_topology **t, struct error *err);

/**
 * host_topology_describe - one that need not exist
 * @description: as hwloc's synthetic topologies are written: "pack:2 [numa] core:4 pu:2"
 * @allowed: of its CPUs, as in "0-3,8"; NULL: all
 * Return: 0; -EINVAL; -ENOMEM.
 */
int host_topology_describe(const char *description, const char *allowed, struct host_topology **t,
			   struct error *err);
void host_topology_destroy(struct host_topology *t); /* NULL is allowed */

/** Why this is but a guess, in a line for people, with the remedy; "": it is none. */
const char *host_topology_note(const struct host_topology *t);
/** How many CPUs may be used. */
uint32_t host_topology_cpus(const struct host_topology *t);

/* Where a worker is. Numbers are the host's. */
struct seat {
	uint32_t cpu, core, node;
};

#define NEAR_ANY UINT32_MAX

/**
 * placement_choose - a CPU of its own for each of @n workers
 * @near: the node of the host that each would like to be near, or NEAR_ANY; NULL: all NEAR_ANY
 *
 * Whole cores come first: nobody shares a core while one is left that nobody is on. Where there are more
 * workers than cores, second siblings follow, then third ones. In each such round, those whose node has a
 * CPU left have it, in the order of the workers; then the others have the nearest that is left. Equally
 * good CPUs are taken by number. The same question has the same answer.
 *
 * Return: 0; -EINVAL: more workers than CPUs that may be used; -ENOMEM.
 */
int placement_choose(const struct host_topology *t, const uint32_t *near, uint32_t n,
		     struct seat *seats, struct error *err);

/**
 * placement_near - the node of the host that has the memory which cpu @cpu of the machine asks for first;
 * NEAR_ANY: nothing is bound
 */
uint32_t placement_near(const struct machine *m, const struct node_plan *plan, uint32_t cpu);

/**
 * placement_text - "0:3 1:5": each worker and its CPU; where the host has several nodes "0:3@0 1:5@1", with
 * the node behind it
 * Return: malloc'ed, the caller frees; NULL: no memory.
 */
char *placement_text(const struct host_topology *t, const struct seat *seats, uint32_t n);

/** Keep the calling thread on @cpu of the host. Return: 0 or a negative errno. */
int placement_pin(uint32_t cpu);

/* What a thread was allowed before it was pinned. */
struct affinity;

/** Return: the calling thread's, to be given to affinity_restore(); NULL: it cannot be told. */
struct affinity *affinity_save(void);
/** Let the calling thread run where it could, and free @saved. NULL is allowed. */
void affinity_restore(struct affinity *saved);

#endif
