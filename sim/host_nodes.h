/* SPDX-License-Identifier: MIT */
/*
 * Which node of the host has the frames of which simulated node. Where the host has as many nodes as the
 * machine, the memory behind each one's frames is bound to one of them, in order: the first simulated node
 * to the first node that this process may use, and so on. Elsewhere nothing is bound: nodes are then only
 * numbers in the accounts, and that is told.
 *
 * What is bound is a block of 2 MiB, the largest page a host may have there. One in which the zones of two
 * nodes meet belongs to that of the lower addresses.
 *
 * Not thread-safe.
 */
#ifndef SIM_HOST_NODES_H
#define SIM_HOST_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "sim/machine.h"

/* What is asked of the host; tests have a host of their own. */
struct node_host {
	/**
	 * nodes - those that this process may have memory of, ascending
	 * @ids: the first @max of them
	 * Return: how many there are, which may be more; 0: its kernel tells of none.
	 */
	unsigned int (*nodes)(void *arg, uint16_t *ids, unsigned int max);
	/**
	 * bind - have memory that is not there yet come from @node alone
	 * @at, @bytes: whole blocks of 2 MiB
	 * Return: 0 or a negative errno.
	 */
	int (*bind)(void *arg, void *at, size_t bytes, unsigned int node);
	void *arg;
};

/** This one, by libnuma. */
extern const struct node_host node_this_host;

#define NODE_PLAN_TEXT_MAX 1024

struct node_plan {
	bool bound;
	uint16_t host_node[MACHINE_ZONES_MAX]; /* by simulated node; only if bound */
	/* What is told: "bound 0:0 1:1", simulated before the host's; or "accounted: " and why. */
	char text[NODE_PLAN_TEXT_MAX];
};

/** node_plan_make - decide it for a machine. Nothing is bound yet. */
void node_plan_make(const struct machine *machine, const struct node_host *host,
		    struct node_plan *plan);

/** The plan of what is not bound, for a reason that is not the host's nodes: "accounted: REASON". */
void node_plan_nothing(struct node_plan *plan, const char *reason);

/**
 * node_plan_bind - bind what lies behind some blocks of 2 MiB
 * @plan: bound
 * @frames: where byte 0 of machine_start() is; its offset in a block is the machine's
 * @blocks: of the machine, pfn / 512; those between zones are left as they are
 * Return: 0; or the host's errno, with @err set.
 */
int node_plan_bind(const struct node_plan *plan, const struct node_host *host,
		   const struct machine *machine, void *frames, uint64_t first_block,
		   uint64_t end_block, struct error *err);

#endif
