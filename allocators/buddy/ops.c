/* SPDX-License-Identifier: MIT */
/*
 * The Linux page allocator as a back end: the interface's calls, each from the room that has it.
 */
#include "allocators/buddy/buddy.h"
#include "allocators/buddy/create.h"
#include "allocators/buddy/follow.h"
#include "allocators/buddy/look.h"
#include "allocators/buddy/predict.h"
#include "allocators/buddy/ranges.h"
#include "allocators/buddy/version.h"

extern const struct allocator_ops buddy_ops;
const struct allocator_ops buddy_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "buddy",
	.summary = "the Linux page allocator, 5.10 to 6.18: zones, migratetypes, per-CPU lists",
	.capabilities =
		ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT | ALLOCATOR_ZONES,
	.options = buddy_options,
	.counters = buddy_counters,
	.create = buddy_create,
	.destroy = buddy_destroy,
	.alloc = buddy_alloc,
	.free = buddy_free,
	.alloc_at = buddy_alloc_at,
	.drain = buddy_drain,
	.adopt = buddy_adopt,
	.tick = buddy_tick,
	.predict = buddy_predict,
	.observe = buddy_observe,
	.explain = buddy_explain,
	.isolate = buddy_isolate,
	.unisolate = buddy_unisolate,
	.online = buddy_online,
	.offline = buddy_offline,
	.stats = buddy_stats,
	.occupancy = buddy_occupancy,
	.check = buddy_check,
};
