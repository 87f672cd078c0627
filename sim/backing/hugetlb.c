/* SPDX-License-Identifier: MIT */
/*
 * Huge pages from the host's pool. Each is mapped when it is first wanted, since only a mapping that reserves
 * is refused by the kernel if the pool is empty: one that does not gets its SIGBUS at the touch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim/backing/backing.h"
#include "sim/backing/pool.h"

/* Pages of the pool that are there and reserved by nobody; 0 also if there is no pool. */
static uint64_t free_pages(void)
{
	uint64_t free = 0, reserved = 0;

	if (hugetlb_pool_read("free_hugepages", &free) ||
	    hugetlb_pool_read("resv_hugepages", &reserved))
		return 0;
	return free > reserved ? free - reserved : 0;
}

static int hugetlb_get(struct mapped *m, size_t piece, struct error *err)
{
	if (mmap(m->base + piece * BACKING_HUGE_BYTES, BACKING_HUGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0) != MAP_FAILED)
		return 0;
	return error_set(err, errno,
			 "the host's pool of huge pages has none left; grow it (%s/nr_hugepages), "
			 "or choose another backing",
			 HUGETLB_POOL);
}

/* Has that node of the host a page? Reserving counts those of all nodes. Unknown: it will be seen. */
static bool node_has_page(unsigned int node)
{
	char path[128], line[32] = "";
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/free_hugepages", node);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		snprintf(line, sizeof(line), "1");
	if (f)
		fclose(f);
	return strtoull(line, NULL, 10) > 0;
}

static int hugetlb_bind(const struct memory *memory, size_t piece, struct error *err)
{
	const struct machine *m = memory->machine;
	const uint64_t block = machine_start(m) / HUGE_FRAMES + piece;
	struct pfn_range range = {block * HUGE_FRAMES, (block + 1) * HUGE_FRAMES}, part;
	unsigned int zone, node;
	int rc = node_plan_bind(memory->node_plan, memory->node_host, m, memory->frames, block,
				block + 1, err);

	if (rc || !machine_next_part(m, &range, &zone, &part))
		return rc;
	node = memory->node_plan->host_node[m->zones[zone].node];
	if (node_has_page(node))
		return 0;
	return error_set(err, ENOMEM,
			 "node %u of the host has no huge pages left; grow its pool "
			 "(/sys/devices/system/node/node%u/hugepages), or choose another backing",
			 node, node);
}

static int hugetlb_map(struct memory *m, struct error *err)
{
	int rc;

	if (!free_pages())
		return error_set(err, ENOMEM,
				 "the host's pool has no free huge pages of 2 MiB; grow it "
				 "(" HUGETLB_POOL "/nr_hugepages), or choose another backing");
	rc = mapped_create(m, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, err);
	if (rc)
		return rc;
	mapped_of(m)->get = hugetlb_get;
	if (m->node_plan)
		mapped_of(m)->bind = hugetlb_bind;
	return 0;
}

/* Only whole huge pages can be given back. */
static int hugetlb_discard(struct memory *m, struct pfn_range range)
{
	if (range.start % HUGE_FRAMES || range.end % HUGE_FRAMES)
		return -EINVAL;
	return mapped_discard(m, range, MADV_DONTNEED);
}

const struct memory_ops backing_hugetlb = {
	.map = hugetlb_map,
	.prepare = mapped_prepare,
	.touch = mapped_touch,
	.discard = hugetlb_discard,
	.unmap = mapped_destroy,
};
