/* SPDX-License-Identifier: MIT */
/*
 * The slow, obvious model that the tests hold the back end against: lists are plain arrays of pfns that
 * are scanned from end to end, every frame has a state of its own, and each rule is written down once
 * more, from the description, with no code in common with the back end.
 */
#ifndef ALLOCATORS_BUDDY_MODEL_H
#define ALLOCATORS_BUDDY_MODEL_H

#include "allocators/buddy/buddy.h"

struct model;

/** A model of @m with every managed frame free, as after boot. Aborts the test without memory. */
struct model *model_create(const struct machine *m);
void model_destroy(struct model *model);

/**
 * model_adopt - start over from a snapshot
 * @cells: state | order << 4 of pfn machine_start() and up
 * @types: of pageblocks from the one of machine_start() up, MIGRATE_UNKNOWN allowed
 */
void model_adopt(struct model *model, const uint8_t *cells, const uint8_t *types);

/* As the operations of the same names in struct allocator_ops. */
struct alloc_result model_alloc(struct model *model, const struct alloc_request *req);
int model_free(struct model *model, pfn_t pfn, unsigned int order);
int model_alloc_at(struct model *model, pfn_t pfn, const struct alloc_request *req);
int model_isolate(struct model *model, pfn_t pfn, unsigned int order, uint64_t *got);
int model_unisolate(struct model *model, pfn_t pfn, unsigned int order);
int model_online(struct model *model, struct pfn_range range);
int model_offline(struct model *model, struct pfn_range range);

/** How often a pageblock was claimed for a block smaller than itself: to prove the tests get there. */
uint64_t model_small_claims(const struct model *model);

/** Free frames, isolated ones left out, of [@start, @end). */
uint64_t model_free_in(const struct model *model, pfn_t start, pfn_t end);

/**
 * model_differs - compare every list, entry by entry and in order, every frame and every pageblock
 * Return: false if all agree; else true and the first difference in @err.
 */
bool model_differs(const struct model *model, const struct allocator *a, struct error *err);

#endif
