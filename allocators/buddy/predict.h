/* SPDX-License-Identifier: MIT */
/*
 * What the clone would hand out next, and why the kernel may have chosen otherwise. Changes nothing. While
 * a recording is followed, what its requests have shown counts more than our own watermarks.
 */
#ifndef ALLOCATORS_BUDDY_PREDICT_H
#define ALLOCATORS_BUDDY_PREDICT_H

#include "allocators/buddy/buddy.h"

/**
 * predict_in_zone - what the request would get from @z, whatever its watermarks say
 * @reach: enum reach
 * Return: pfn PFN_NONE: it has nothing.
 */
struct alloc_result predict_in_zone(const struct allocator *a, const struct buddy_zone *z,
				    const struct alloc_request *req, unsigned int reach);

/** allocator_ops.predict */
struct alloc_result buddy_predict(const struct allocator *a, const struct alloc_request *req);
/** allocator_ops.explain */
const char *buddy_explain(const struct allocator *a, const struct alloc_request *req, pfn_t pfn);

#endif
