/* SPDX-License-Identifier: MIT */
/*
 * The harness's own cost: an allocator that does next to nothing. It echoes the recorded pfn, or
 * bumps a cursor round the machine where there is none, and remembers nothing: the same frame may
 * be handed out twice, so the oracle leaves it alone and every report marks it.
 */
#include <errno.h>

#include "allocators/allocator.h"
#include "base/bits.h"

struct allocator {
	pfn_t start, end, cursor;
};

static int null_create(const struct alloc_env *env, struct allocator **result)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);

	if (!a)
		return error_set(env->error, ENOMEM, "out of memory for metadata");
	a->start = machine_start(env->machine);
	a->end = machine_end(env->machine);
	a->cursor = a->start;
	*result = a;
	return 0;
}

static void null_destroy(struct allocator *a)
{
	(void)a; /* the environment's */
}

static struct alloc_result null_alloc(struct allocator *a, const struct alloc_request *req)
{
	uint64_t frames = UINT64_C(1) << req->order;
	pfn_t pfn = req->hint_pfn;

	if (pfn == PFN_NONE) {
		pfn = align_up(a->cursor, frames);
		if (pfn + frames > a->end) {
			pfn = align_up(a->start, frames);
			if (pfn + frames > a->end)
				return (struct alloc_result){.pfn = PFN_NONE};
		}
		a->cursor = pfn + frames;
	}
	return (struct alloc_result){.pfn = pfn};
}

static int null_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	(void)a;
	(void)pfn;
	(void)req;
	return 0;
}

static int null_adopt(struct allocator *a, const struct frame_map *map)
{
	(void)map;
	a->cursor = a->start;
	return 0;
}

static int null_range(struct allocator *a, struct pfn_range range)
{
	(void)a;
	(void)range;
	return 0;
}

const struct allocator_ops null_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "null",
	.summary = "remembers nothing: the harness's own cost, not an allocator",
	.capabilities = ALLOCATOR_UNCHECKED | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT,
	.create = null_create,
	.destroy = null_destroy,
	.alloc = null_alloc,
	.free = null_free,
	.alloc_at = null_free, /* the same nothing */
	.adopt = null_adopt,
	.online = null_range,
	.offline = null_range,
};
