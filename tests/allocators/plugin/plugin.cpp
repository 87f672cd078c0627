/* SPDX-License-Identifier: MIT */
/* The same in C++17: one frame after the other, none of them ever again. */
#include "allocators/allocator.h"

#include <cerrno>

struct allocator {
	const struct machine *machine;
	pfn_range rest, part;
};

static int bump_create(const alloc_env *env, allocator **out)
{
	auto *a = static_cast<allocator *>(
		env->meta(env, sizeof(allocator), alignof(allocator), META_VOLATILE));

	if (!a)
		return allocator_fail(env->error, ENOMEM, "no memory");
	if (huge_state_of(env->huge_state, 0) & HUGE_OFFLINE)
		return allocator_fail(env->error, EINVAL, "no memory at 0");
	a->machine = env->machine;
	a->rest = pfn_range{machine_start(env->machine) + env->option_uint(env, "skip"),
			    machine_end(env->machine)};
	*out = a;
	return 0;
}

static alloc_result bump_alloc(allocator *a, const alloc_request *req)
{
	unsigned int zone;

	if (req->order > 0 || (a->part.start == a->part.end &&
			       !machine_next_managed(a->machine, &a->rest, &zone, &a->part)))
		return alloc_result{PFN_NONE, 0};
	return alloc_result{a->part.start++, 0};
}

static int bump_free(allocator *, pfn_t, const alloc_request *)
{
	return 0;
}

static void bump_destroy(allocator *)
{
}

static option bump_options[2];
static allocator_ops bump_ops;

extern "C" const allocator_ops *quire_allocator(void)
{
	bump_options[0].name = "skip";
	bump_options[0].type = OPTION_UINT;
	bump_options[0].fallback = "0";
	bump_options[0].help = "frames left out at the start";
	bump_ops.magic = ALLOCATOR_MAGIC;
	bump_ops.abi_version = ALLOCATOR_ABI_VERSION;
	bump_ops.size = sizeof(bump_ops);
	bump_ops.name = "bump";
	bump_ops.summary = "one frame after the other";
	bump_ops.options = bump_options;
	bump_ops.create = bump_create;
	bump_ops.destroy = bump_destroy;
	bump_ops.alloc = bump_alloc;
	bump_ops.free = bump_free;
	return &bump_ops;
}
