/* SPDX-License-Identifier: MIT */
/*
 * The rules of allocators/allocator.h that the conformance suite checks, each with a short name, what of the
 * header it stands at, and what it says in a line. Who is told that a rule is broken looks it up there.
 * docs/backends.md has the same table, with what is checked elsewhere.
 */
#ifndef TESTS_ALLOCATORS_CONFORMANCE_RULES_H
#define TESTS_ALLOCATORS_CONFORMANCE_RULES_H

/* X(name, where, text) */
#define RULES(X)                                                                                   \
	X(fresh, "Frames",                                                                         \
	  "a fresh instance manages what lies in a zone and is not absent, all free")              \
	X(managed_only, "Frames", "no other frame is ever handed out")                             \
	X(one_zone, "Frames", "no block crosses a zone's border")                                  \
	X(alloc_free, "alloc", "nobody holds a frame of the block")                                \
	X(alloc_aligned, "alloc", "the block is aligned to its size")                              \
	X(alloc_none, "alloc", "PFN_NONE only if there is no such block, caches drained")          \
	X(alloc_flags, "alloc_result_flag", "no other flags")                                      \
	X(zones, "ALLOCATOR_ZONES", "zone and node of the request are honoured")                   \
	X(hint_unused, "hint_pfn", "the hint makes no difference, but for ECHO and UNCHECKED")     \
	X(echo, "ALLOCATOR_ECHO", "the block at hint_pfn, or PFN_NONE")                            \
	X(free_back, "free", "0, and the block is free again")                                     \
	X(free_refused, "free", "-EINVAL for what is not allocated; nothing has changed")          \
	X(free_parts, "ALLOCATOR_SPLIT", "any aligned part of a live block may be freed")          \
	X(alloc_at, "alloc_at", "0, and exactly the block at pfn is taken")                        \
	X(alloc_at_busy, "alloc_at", "-EBUSY: not all of it is free")                              \
	X(alloc_at_not_ours, "alloc_at", "-EINVAL: misaligned, or not all of it is managed")       \
	X(bulk, "alloc_bulk", "as so many single calls")                                           \
	X(drain, "drain", "no frame is cached afterwards")                                         \
	X(adopt_state, "adopt", "the state is the map's; its objects are freed like any other")    \
	X(adopt_replaces, "adopt", "what was before is replaced")                                  \
	X(adopt_hindsight, "adopt", "marks of hindsight make no difference")                       \
	X(adopt_foreign, "adopt", "-EINVAL for another machine's map; nothing has changed")        \
	X(tick, "tick", "returns a later time, or UINT64_MAX; no frame changes hands")             \
	X(predict, "predict", "the block alloc then returns; changes nothing")                     \
	X(observe, "observe", "what is told placed is held, what is told freed is free")           \
	X(isolate_got, "isolate", "takes all that is free of the block, and says how much")        \
	X(isolate_kept, "isolate", "what was taken is not handed out until unisolate")             \
	X(isolate_refused, "isolate", "-EINVAL: misaligned, beyond the machine, order too large")  \
	X(online, "online", "absent frames in a zone become free, all others stay as they are")    \
	X(offline, "offline", "free managed frames become absent, absent ones stay so")            \
	X(offline_busy, "offline", "-EBUSY: a managed frame is in use; nothing has changed")       \
	X(range_in_no_zone, "online", "-EINVAL: no frame of the range lies in a zone")             \
	X(stats_sums, "stats", "free_frames are those of free_blocks; counters have rows")         \
	X(stats_free, "stats", "free and cached frames are those that nobody holds")               \
	X(stats_zone, "stats", "-EINVAL: no such zone; of one there is, only without ZONES")       \
	X(occupancy, "occupancy", "the free frames of each 2 MiB block")                           \
	X(check, "check", "0 as long as the invariants hold")                                      \
	X(large, "ALLOCATOR_FRAMES_MAX", "create() costs little, or refuses with -EFBIG")          \
	X(metadata, "meta", "all metadata comes from the environment")                             \
	X(instances, "create", "no global state: instances live side by side")                     \
	X(repeatable, "create", "the same calls give the same results")                            \
	X(huge_soft, "take_huge", "SOFT: free, and the first allocation says NEEDS_INSTALL")       \
	X(huge_hard, "take_huge", "HARD: neither handed out nor counted, until give_huge")         \
	X(huge_refused, "take_huge", "the error that tells why; nothing has changed")

enum rule {
	RULE_none,
#define X(name, ...) RULE_##name,
	RULES(X)
#undef X
};

static const struct {
	const char *name, *where, *text;
} rules[] = {
#define X(name, where, text) [RULE_##name] = {#name, where, text},
	RULES(X)
#undef X
};

#endif
