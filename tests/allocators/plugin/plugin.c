/* SPDX-License-Identifier: MIT */
/*
 * A back end as somebody else would write it: it includes the interface and nothing else, and links
 * no symbol of quire. Lowest or highest free frame first, one frame at a time.
 */
#include "allocators/allocator.h"

#include <errno.h>

static const char *const sides[] = {"low", "high", NULL};

static const struct option plugin_options[] = {
	{.name = "side",
	 .type = OPTION_CHOICE,
	 .choices = sides,
	 .fallback = "low",
	 .help = "the end of memory to take frames from"},
	{.name = "keep",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .unit = "frames",
	 .help = "never handed out"},
	{.name = NULL},
};

struct allocator {
	uint64_t frames, free_frames, keep;
	pfn_t start;
	bool high;
	uint8_t *taken;
};

static int plugin_create(const struct alloc_env *env, struct allocator **out)
{
	struct pfn_range rest = {machine_start(env->machine), machine_end(env->machine)}, part;
	struct allocator *a =
		(struct allocator *)env->meta(env, sizeof(*a), sizeof(void *), META_VOLATILE);
	unsigned int zone;

	if (!a)
		return allocator_fail(env->error, ENOMEM, "no memory");
	a->start = rest.start;
	a->frames = rest.end - rest.start;
	a->high = env->option_choice(env, "side") == 1;
	a->keep = env->option_uint(env, "keep");
	if (a->frames > ALLOCATOR_FRAMES_MAX)
		return allocator_fail(env->error, EFBIG, "%llu frames are too many",
				      (unsigned long long)a->frames);
	a->taken = (uint8_t *)env->meta(env, a->frames, 1, META_VOLATILE);
	if (!a->taken)
		return allocator_fail(env->error, ENOMEM, "no memory");
	for (uint64_t i = 0; i < a->frames; i++)
		a->taken[i] = 2; /* not managed */
	while (machine_next_managed(env->machine, &rest, &zone, &part)) {
		for (pfn_t pfn = part.start; pfn < part.end; pfn++)
			a->taken[pfn - a->start] = 0;
		a->free_frames += part.end - part.start;
	}
	*out = a;
	return 0;
}

static void plugin_destroy(struct allocator *a)
{
	(void)a;
}

static struct alloc_result plugin_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {PFN_NONE, 0};

	if (req->order > 0 || a->free_frames <= a->keep)
		return result;
	for (uint64_t i = 0; i < a->frames; i++) {
		uint64_t f = a->high ? a->frames - 1 - i : i;

		if (a->taken[f])
			continue;
		a->taken[f] = 1;
		a->free_frames--;
		result.pfn = a->start + f;
		break;
	}
	return result;
}

static int plugin_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	if (req->order > 0 || pfn < a->start || pfn - a->start >= a->frames ||
	    a->taken[pfn - a->start] != 1)
		return -EINVAL;
	a->taken[pfn - a->start] = 0;
	a->free_frames++;
	return 0;
}

static int plugin_check(const struct allocator *a, struct error *err)
{
	uint64_t free_frames = 0;

	for (uint64_t i = 0; i < a->frames; i++)
		free_frames += a->taken[i] == 0;
	if (free_frames != a->free_frames)
		return allocator_fail(err, EUCLEAN, "%llu frames are free, counted as %llu",
				      (unsigned long long)free_frames,
				      (unsigned long long)a->free_frames);
	return 0;
}

static const struct allocator_ops plugin_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "plugin",
	.summary = "one frame at a time, from either end",
	.options = plugin_options,
	.create = plugin_create,
	.destroy = plugin_destroy,
	.alloc = plugin_alloc,
	.free = plugin_free,
	.check = plugin_check,
};

const struct allocator_ops *quire_allocator(void)
{
	return &plugin_ops;
}
