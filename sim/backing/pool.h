/* SPDX-License-Identifier: MIT */
/*
 * The host's pool of huge pages, made larger for a while. That is a change of the machine, so only who is told to
 * makes it, and it is undone whatever becomes of the process.
 */
#ifndef SIM_BACKING_POOL_H
#define SIM_BACKING_POOL_H

#include <stdint.h>

#include "base/error.h"

#define HUGETLB_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB" /* of the host */

/**
 * hugetlb_pool_read - one of the counts the kernel keeps of its pool, in pages of 2 MiB
 * @name: of the file: "nr_hugepages", "free_hugepages", "resv_hugepages"
 * Return: 0; the errno of opening it (-ENOENT: there is no pool); -EIO.
 */
int hugetlb_pool_read(const char *name, uint64_t *pages);

struct hugetlb_pool;

/**
 * hugetlb_pool_grow - add pages of 2 MiB for @bytes to the pool
 * A process of its own watches over it: should this one be killed, the pages go back all the same.
 * @pool: the caller's: hugetlb_pool_restore()
 * Return: 0; -ENOENT: the host has no such pool; -EACCES: not root; -ENOMEM: the host does not have so many
 * in one piece, and the pool is as it was; or the errno of pipe() or fork().
 */
int hugetlb_pool_grow(uint64_t bytes, struct hugetlb_pool **pool, struct error *err);
/** Give them back: those in use at once when they are freed. NULL is allowed. */
void hugetlb_pool_restore(struct hugetlb_pool *pool);

#endif
