/* SPDX-License-Identifier: MIT */
/*
 * The way back from a placed frame to its object. Kept only if asked for, as every allocation then writes
 * into one more place.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "replay/engine_inside.h"

static void *map_zeroed(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t owner_bytes(uint64_t frames)
{
	return frames * sizeof(*((struct engine *)NULL)->account.owner);
}

static size_t fixed_bytes(uint64_t frames)
{
	return div_round_up(frames, 64) * sizeof(*((struct engine *)NULL)->account.fixed);
}

uint64_t owners_bytes(uint64_t frames)
{
	return owner_bytes(frames) + fixed_bytes(frames);
}

int owners_create(struct engine *e, struct error *err)
{
	e->account.owner = map_zeroed(owner_bytes(e->end - e->start));
	e->account.fixed = map_zeroed(fixed_bytes(e->end - e->start));
	if (e->account.owner && e->account.fixed)
		return 0;
	return error_set(err, ENOMEM, "no memory to find the objects of %llu frames",
			 (unsigned long long)(e->end - e->start));
}

void owners_destroy(struct engine *e)
{
	if (e->account.owner)
		munmap(e->account.owner, owner_bytes(e->end - e->start));
	if (e->account.fixed)
		munmap(e->account.fixed, fixed_bytes(e->end - e->start));
}

void owners_set(struct engine *e, pfn_t pfn, unsigned int order, uint32_t recorded, bool movable)
{
	uint64_t first = pfn - e->start;

	for (uint64_t i = first; i < first + (UINT64_C(1) << order); i++) {
		uint64_t bit = UINT64_C(1) << (i & 63);

		e->account.owner[i] = recorded + 1;
		if (movable)
			e->account.fixed[i >> 6] &= ~bit;
		else
			e->account.fixed[i >> 6] |= bit;
	}
}

void owners_clear(struct engine *e, pfn_t pfn, unsigned int order)
{
	memset(&e->account.owner[pfn - e->start], 0, sizeof(*e->account.owner) << order);
}

pfn_t engine_owner(const struct engine *e, pfn_t pfn)
{
	uint32_t owner = 0;

	if (e->account.owner && pfn >= e->start && pfn < e->end)
		owner = e->account.owner[pfn - e->start];
	return owner ? e->objects->start + (owner - 1) : PFN_NONE;
}
