/* SPDX-License-Identifier: MIT */
/*
 * A latency is a distribution, not a number, and distributions from several cpus, jobs and seeds
 * must add up without loss. A log-linear histogram does both: 128 equal buckets per power of two,
 * so that a bucket's width is below 1 % of its values; merging adds counters, and the result is the
 * same in any order.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define HISTOGRAM_SUB_BITS  7
#define HISTOGRAM_SUB	    (1U << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << 40) - 1) /* 18 minutes in ns; larger values saturate */
#define HISTOGRAM_BUCKETS   ((40 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB)

struct histogram {
	uint64_t count;	   /* values added */
	uint64_t sum;	   /* exact, of the values before saturation */
	uint64_t min, max; /* exact; min is UINT64_MAX while empty */
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);

/** The bucket of @value: values below 128 have one each. */
static inline unsigned int histogram_index(uint64_t value)
{
	unsigned int shift;

	if (value < HISTOGRAM_SUB)
		return (unsigned int)value;
	if (value > HISTOGRAM_VALUE_MAX)
		value = HISTOGRAM_VALUE_MAX;
	shift = 63U - (unsigned int)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (shift + 1) * HISTOGRAM_SUB + (unsigned int)((value >> shift) - HISTOGRAM_SUB);
}

/** Add one value. Not thread-safe: one histogram per worker, merged at the end. */
static inline void histogram_add(struct histogram *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->bucket[histogram_index(value)]++;
}

/** Add all of @from to @into: exact, commutative, associative. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/**
 * histogram_quantile - the smallest recorded value v such that at least @q of all values are <= v
 * @q: 0..1
 * Return: the middle of v's bucket (within 0.4 % of v), clamped to [min, max]; exactly min or max
 * when v is the first or the last value; NAN while empty. A value above HISTOGRAM_VALUE_MAX other
 * than these two counts as that.
 */
double histogram_quantile(const struct histogram *h, double q);

/** Mean of the values added; NAN while empty. */
double histogram_mean(const struct histogram *h);

/** Lowest value of bucket @index, and one past its highest. */
uint64_t histogram_bucket_low(unsigned int index);
uint64_t histogram_bucket_end(unsigned int index);

/**
 * histogram_encode - a portable little-endian blob: version, count, sum, min, max, then (gap, count)
 * varint pairs of the non-empty buckets
 * @blob: malloc'ed, the caller frees
 * Return: 0 or -ENOMEM.
 */
int histogram_encode(const struct histogram *h, void **blob, size_t *bytes);

/**
 * histogram_decode - the inverse
 * Return: 0, or -EBADMSG if the blob is not one of ours (never reads past @bytes; @h is then empty).
 */
int histogram_decode(const void *blob, size_t bytes, struct histogram *h, struct error *err);

#endif
