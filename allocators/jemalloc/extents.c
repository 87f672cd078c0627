/* SPDX-License-Identifier: MIT */
#include "allocators/jemalloc/extents.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

static struct extents *of_hooks(extent_hooks_t *hooks)
{
	return (struct extents *)hooks;
}

static void *hook_alloc(extent_hooks_t *hooks, void *wanted, size_t bytes, size_t align, bool *zero,
			bool *commit, unsigned int arena)
{
	struct extents *x = of_hooks(hooks);
	unsigned int order = log2_floor(max_u64(align >> FRAME_SHIFT, 1));
	uint64_t frames = bytes >> FRAME_SHIFT;
	pfn_t pfn = PFN_NONE;

	(void)arena;
	/* At a place of its choosing it only wants to grow a block, which we never ask for; nor for zeros. */
	if (wanted || *zero || order > MAX_ORDER)
		return NULL;
	spin_lock(&x->lock);
	pfn = block_map_find_range(&x->map, max_u64(frames, block_frames(order)), order);
	if (pfn != PFN_NONE)
		block_map_take_range(&x->map, pfn, pfn + frames);
	x->counts[pfn == PFN_NONE ? EXTENTS_REFUSED : EXTENTS_TAKEN]++;
	spin_unlock(&x->lock);
	*commit = true;
	return pfn == PFN_NONE ? NULL : extents_address(x, pfn);
}

static void give(struct extents *x, void *address, size_t bytes)
{
	pfn_t pfn = extents_pfn(x, address);
	uint64_t frames = bytes >> FRAME_SHIFT;

	spin_lock(&x->lock);
	block_map_give_range(&x->map, pfn, pfn + frames);
	x->counts[EXTENTS_GIVEN]++;
	x->counts[FRAMES_PURGED] += frames;
	spin_unlock(&x->lock);
}

/* These return whether they refuse. */

static bool hook_dalloc(extent_hooks_t *hooks, void *address, size_t bytes, bool committed,
			unsigned int arena)
{
	(void)committed;
	(void)arena;
	give(of_hooks(hooks), address, bytes);
	return false;
}

static void hook_destroy(extent_hooks_t *hooks, void *address, size_t bytes, bool committed,
			 unsigned int arena)
{
	(void)committed;
	(void)arena;
	give(of_hooks(hooks), address, bytes);
}

static bool hook_purge_lazy(extent_hooks_t *hooks, void *address, size_t bytes, size_t offset,
			    size_t length, unsigned int arena)
{
	struct extents *x = of_hooks(hooks);

	(void)address;
	(void)bytes;
	(void)offset;
	(void)arena;
	spin_lock(&x->lock);
	x->counts[FRAMES_MUZZY] += length >> FRAME_SHIFT;
	spin_unlock(&x->lock);
	return false;
}

static bool hook_split(extent_hooks_t *hooks, void *address, size_t bytes, size_t lower,
		       size_t upper, bool committed, unsigned int arena)
{
	(void)hooks;
	(void)address;
	(void)bytes;
	(void)lower;
	(void)upper;
	(void)committed;
	(void)arena;
	return false;
}

/* A block of a merged extent must not come to lie across a zone border. */
static bool hook_merge(extent_hooks_t *hooks, void *lower, size_t lower_bytes, void *upper,
		       size_t upper_bytes, bool committed, unsigned int arena)
{
	const struct extents *x = of_hooks(hooks);
	pfn_t seam = extents_pfn(x, upper);

	(void)lower;
	(void)lower_bytes;
	(void)upper_bytes;
	(void)committed;
	(void)arena;
	for (unsigned int i = 0; i < x->map.nr_borders; i++) {
		if (x->map.borders[i] == seam)
			return true;
	}
	return false;
}

static const extent_hooks_t extent_hooks = {
	.alloc = hook_alloc,
	.dalloc = hook_dalloc,
	.destroy = hook_destroy,
	.purge_lazy = hook_purge_lazy,
	.split = hook_split,
	.merge = hook_merge,
};

/* ---- creation ---- */

static void take_gap(void *arg, pfn_t start, pfn_t end)
{
	struct block_map *map = arg;

	while (start < end) {
		unsigned int order = largest_order(start, end, MAX_ORDER);

		block_map_take_rest(map, start, order);
		start += block_frames(order);
	}
}

int extents_create(const struct alloc_env *env, struct extents *x)
{
	const uint64_t align = block_frames(MAX_ORDER) << FRAME_SHIFT;
	int rc = block_map_create(env, &x->map);

	if (rc)
		return rc;
	block_map_each_gap(&x->map, env->machine, take_gap, &x->map);
	x->hooks = extent_hooks;
	x->reserved_bytes = (size_t)((x->map.frames << FRAME_SHIFT) + align);
	x->reserved = mmap(NULL, x->reserved_bytes, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (x->reserved == MAP_FAILED) {
		x->reserved = NULL;
		return allocator_fail(env->error, ENOMEM,
				      "no address space for %" PRIu64 " frames; raise the limit "
				      "(ulimit -v), or use a smaller machine",
				      x->map.frames);
	}
	x->memory = (char *)align_up((uint64_t)(uintptr_t)x->reserved, align);
	return 0;
}

void extents_destroy(struct extents *x)
{
	if (x->reserved)
		munmap(x->reserved, x->reserved_bytes);
	x->reserved = NULL;
}
