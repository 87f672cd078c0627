/* SPDX-License-Identifier: MIT */
/*
 * Huge pages from the host's pool. Each is mapped when it is first wanted, since only a mapping that reserves
 * is refused by the kernel if the pool is empty: one that does not gets its SIGBUS at the touch.
 */
#include <errno.h>
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
