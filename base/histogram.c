/* SPDX-License-Identifier: MIT */
#include "base/histogram.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

void histogram_init(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->count += from->count;
	into->sum += from->sum;
	into->min = min_u64(into->min, from->min);
	into->max = max_u64(into->max, from->max);
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t histogram_bucket_low(unsigned int index)
{
	unsigned int shift;

	if (index < HISTOGRAM_SUB)
		return index;
	shift = index / HISTOGRAM_SUB - 1;
	return (uint64_t)(HISTOGRAM_SUB + index % HISTOGRAM_SUB) << shift;
}

uint64_t histogram_bucket_end(unsigned int index)
{
	return histogram_bucket_low(index + 1);
}

/*
 * How many of the smallest values are at least a share @q. The product is rounded, so that 0.07 of
 * 100 values is 7 of them, although 0.07 is a little more than seven hundredths in binary.
 */
static uint64_t rank_of(double q, uint64_t count)
{
	double exact = q * (double)count;
	double near = round(exact);
	double rank = fabs(exact - near) <= exact * 1e-14 ? near : ceil(exact);

	if (!(rank >= 1.0))
		return 1;
	return rank >= (double)count ? count : (uint64_t)rank;
}

double histogram_quantile(const struct histogram *h, double q)
{
	uint64_t rank, seen = 0;
	double middle;
	unsigned int i;

	if (h->count == 0)
		return NAN;
	rank = rank_of(q, h->count);
	if (rank == 1)
		return (double)h->min;
	if (rank == h->count)
		return (double)h->max;
	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += h->bucket[i];
		if (seen >= rank)
			break;
	}
	middle = ((double)histogram_bucket_low(i) + (double)histogram_bucket_end(i) - 1.0) / 2.0;
	return fmin(fmax(middle, (double)h->min), (double)h->max);
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : NAN;
}

/* ---- the blob ---- */

#define BLOB_VERSION 1
#define BLOB_FIXED   ((size_t)1 + 4 * 8) /* version, count, sum, min, max */
#define VARINT_MAX   ((size_t)10)

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
	for (unsigned int i = 0; i < 8; i++)
		*p++ = (uint8_t)(v >> (8 * i));
	return p;
}

static const uint8_t *get_u64(const uint8_t *p, uint64_t *v)
{
	*v = 0;
	for (unsigned int i = 0; i < 8; i++)
		*v |= (uint64_t)p[i] << (8 * i);
	return p + 8;
}

/* LEB128: seven bits a byte, the lowest first, the top bit says that more follow. */
static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/* Return: past the number, or NULL when it does not end before @end or exceeds 64 bits. */
static const uint8_t *get_varint(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (unsigned int shift = 0; p < end && shift < 64; shift += 7) {
		uint64_t part = *p & 0x7f;

		if (shift == 63 && part > 1)
			return NULL;
		*v |= part << shift;
		if (!(*p++ & 0x80))
			return p;
	}
	return NULL;
}

int histogram_encode(const struct histogram *h, void **blob, size_t *bytes)
{
	size_t used = 0;
	unsigned int next = 0;
	uint8_t *start, *p;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		used += h->bucket[i] != 0;
	/* A gap is below 2^14: two bytes. */
	start = malloc(BLOB_FIXED + used * (2 + VARINT_MAX));
	if (!start)
		return -ENOMEM;
	p = start;
	*p++ = BLOB_VERSION;
	p = put_u64(p, h->count);
	p = put_u64(p, h->sum);
	p = put_u64(p, h->min);
	p = put_u64(p, h->max);
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (!h->bucket[i])
			continue;
		p = put_varint(p, i - next);
		p = put_varint(p, h->bucket[i]);
		next = i + 1;
	}
	*blob = start;
	*bytes = (size_t)(p - start);
	return 0;
}

/* The (gap, count) pairs up to @end. Return: NULL if sound, else what is wrong. */
static const char *decode_buckets(const uint8_t *p, const uint8_t *end, struct histogram *h)
{
	uint64_t gap, count, total = 0;
	uint64_t next = 0; /* the lowest bucket the coming pair may name */
	unsigned int first = 0;

	while (p < end) {
		p = get_varint(p, end, &gap);
		if (p)
			p = get_varint(p, end, &count);
		if (!p)
			return "a bucket's number does not end";
		if (gap >= HISTOGRAM_BUCKETS - next)
			return "a bucket out of range";
		if (count == 0 || __builtin_add_overflow(total, count, &total))
			return "an impossible bucket count";
		if (next == 0)
			first = (unsigned int)gap;
		next += gap + 1;
		h->bucket[next - 1] = count;
	}
	if (total != h->count)
		return "buckets do not add up to the count";
	if (total == 0) {
		if (h->min != UINT64_MAX || h->max != 0 || h->sum != 0)
			return "empty, yet with a minimum, maximum or sum";
		return NULL;
	}
	if (h->min > h->max || histogram_index(h->min) != first ||
	    histogram_index(h->max) != next - 1)
		return "minimum or maximum outside the buckets";
	return NULL;
}

int histogram_decode(const void *blob, size_t bytes, struct histogram *h, struct error *err)
{
	const uint8_t *p = blob, *end;
	const char *wrong;

	histogram_init(h);
	if (bytes < BLOB_FIXED)
		return error_set(err, EBADMSG, "histogram: %zu bytes are too short to be one",
				 bytes);
	end = p + bytes;
	if (*p++ != BLOB_VERSION)
		return error_set(err, EBADMSG, "histogram: unknown version %u",
				 ((const uint8_t *)blob)[0]);
	p = get_u64(p, &h->count);
	p = get_u64(p, &h->sum);
	p = get_u64(p, &h->min);
	p = get_u64(p, &h->max);
	wrong = decode_buckets(p, end, h);
	if (!wrong)
		return 0;
	histogram_init(h);
	return error_set(err, EBADMSG, "histogram: damaged: %s", wrong);
}
