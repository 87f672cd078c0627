/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/histogram.h"
#include "tests/base/seed.h"

static struct histogram *new_histogram(void)
{
	struct histogram *h = malloc(sizeof(*h));

	assert_non_null(h);
	histogram_init(h);
	return h;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void buckets_tile_the_range_without_gap(void **state)
{
	uint64_t next = 0;

	(void)state;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t low = histogram_bucket_low(i), end = histogram_bucket_end(i);

		assert_true(low == next && end > low);
		assert_int_equal(histogram_index(low), i);
		assert_int_equal(histogram_index(end - 1), i);
		/* Below 1 % of its values. */
		assert_true(end - low == 1 || (double)(end - low) / (double)low < 0.01);
		next = end;
	}
	assert_true(next == HISTOGRAM_VALUE_MAX + 1);
	assert_int_equal(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

/* ---- quantiles against the sorted values ---- */

enum distribution { CONSTANT, UNIFORM, SMALL, EXPONENTIAL, LONG_TAIL, TWO_PEAKS, DISTRIBUTIONS };

static uint64_t draw(struct random *r, enum distribution d)
{
	double u = random_unit(r);

	switch (d) {
	case CONSTANT:
		return 12345;
	case UNIFORM:
		return random_below(r, 1000000);
	case SMALL:
		return random_below(r, 128);
	case EXPONENTIAL:
		return (uint64_t)(-300.0 * log(1.0 - u));
	case LONG_TAIL: /* Pareto */
		return (uint64_t)fmin(20.0 / pow(1.0 - u, 1.5), 1e12);
	case TWO_PEAKS:
		return random_below(r, 10) ? 40 + random_below(r, 20)
					   : 90000 + random_below(r, 9000);
	case DISTRIBUTIONS:
		break;
	}
	return 0;
}

static void quantiles_are_within_half_a_percent_of_the_exact_ones(void **state)
{
	static const double quantiles[] = {0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
	enum { N = 20000 };
	uint64_t *values = malloc(N * sizeof(*values));
	struct random r = random_begin(4);

	(void)state;
	for (int d = 0; d < DISTRIBUTIONS; d++) {
		struct histogram *h = new_histogram();
		uint64_t sum = 0;

		for (int i = 0; i < N; i++) {
			values[i] = draw(&r, (enum distribution)d);
			histogram_add(h, values[i]);
			sum += values[i];
		}
		qsort(values, N, sizeof(*values), compare_u64);
		assert_true(h->min == values[0] && h->max == values[N - 1] && h->sum == sum);
		assert_true(histogram_mean(h) == (double)sum / N);
		for (size_t q = 0; q < ARRAY_SIZE(quantiles); q++) {
			size_t rank = (size_t)ceil(quantiles[q] * N - 1e-6);
			double exact = (double)values[rank ? rank - 1 : 0];
			double got = histogram_quantile(h, quantiles[q]);

			if (fabs(got - exact) > 0.004 * exact)
				fail_msg("distribution %d, q %g: %g, exactly %g (seed %llu)", d,
					 quantiles[q], got, exact, (unsigned long long)seed_or(4));
		}
		free(h);
	}
	free(values);
}

static void the_ends_are_exact_and_an_empty_one_has_none(void **state)
{
	struct histogram *h = new_histogram();

	(void)state;
	assert_true(isnan(histogram_quantile(h, 0.5)) && isnan(histogram_mean(h)));
	histogram_add(h, 1000003);
	histogram_add(h, 2000003);
	histogram_add(h, 3000017);
	assert_true(histogram_quantile(h, 0) == 1000003);
	assert_true(histogram_quantile(h, 1) == 3000017);
	free(h);
}

/* 0.07 is a little above seven hundredths; seven of a hundred values are meant all the same. */
static void a_quantile_does_not_slip_by_rounding(void **state)
{
	struct histogram *h = new_histogram();

	(void)state;
	for (uint64_t v = 1; v <= 100; v++)
		histogram_add(h, v);
	for (unsigned int p = 1; p <= 100; p++)
		assert_true(histogram_quantile(h, p / 100.0) == p);
	free(h);
}

static void values_beyond_the_range_saturate_but_count(void **state)
{
	struct histogram *h = new_histogram();

	(void)state;
	for (int i = 0; i < 5; i++)
		histogram_add(h, HISTOGRAM_VALUE_MAX + 1000);
	histogram_add(h, 7);
	assert_int_equal(h->bucket[HISTOGRAM_BUCKETS - 1], 5);
	assert_true(h->sum == 5 * (HISTOGRAM_VALUE_MAX + 1000) + 7);
	assert_true(histogram_quantile(h, 1) == (double)(HISTOGRAM_VALUE_MAX + 1000));
	assert_true(histogram_quantile(h, 0.5) > 0.99 * (double)HISTOGRAM_VALUE_MAX);
	free(h);
}

static void merging_is_exact_in_any_order(void **state)
{
	enum { PARTS = 5 };
	struct random r = random_begin(5);
	struct histogram *all = new_histogram(), *forward = new_histogram();
	struct histogram *backward = new_histogram(), *part[PARTS];

	(void)state;
	for (int p = 0; p < PARTS; p++) {
		part[p] = new_histogram();
		for (int i = 0; i < 1000 * p; i++) { /* the first stays empty */
			uint64_t v = draw(&r, (enum distribution)random_below(&r, DISTRIBUTIONS));

			histogram_add(part[p], v);
			histogram_add(all, v);
		}
	}
	for (int p = 0; p < PARTS; p++) {
		histogram_merge(forward, part[p]);
		histogram_merge(backward, part[PARTS - 1 - p]);
	}
	assert_memory_equal(forward, all, sizeof(*all));
	assert_memory_equal(backward, all, sizeof(*all));
	for (int p = 0; p < PARTS; p++)
		free(part[p]);
	free(all);
	free(forward);
	free(backward);
}

/* ---- the blob ---- */

static struct histogram *random_histogram(struct random *r)
{
	struct histogram *h = new_histogram();
	uint64_t n = random_below(r, 300);

	for (uint64_t i = 0; i < n; i++)
		histogram_add(h, random_u64(r) >> (20 + random_below(r, 44)));
	return h;
}

static void the_blob_reads_back_the_same(void **state)
{
	struct random r = random_begin(6);
	struct histogram *back = new_histogram();

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct histogram *h = round ? random_histogram(&r) : new_histogram();
		void *blob;
		size_t bytes;

		if (round == 1) { /* the largest counters, and the last bucket */
			h->bucket[HISTOGRAM_BUCKETS - 1] += UINT64_MAX - h->count;
			h->count = UINT64_MAX;
			h->max = UINT64_MAX;
		}
		assert_int_equal(histogram_encode(h, &blob, &bytes), 0);
		assert_int_equal(histogram_decode(blob, bytes, back, NULL), 0);
		assert_memory_equal(back, h, sizeof(*h));
		free(blob);
		free(h);
	}
	free(back);
}

/* The format is for files: these bytes must stay readable. */
static void the_blob_has_its_documented_bytes(void **state)
{
	/* version; count, sum, min, max; then bucket 0 once, and 255 further on bucket 256 twice */
	static const uint8_t expected[] = {
		1, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0,    0, 0,
		0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 1, 2,
	};
	struct histogram *h = new_histogram();
	void *blob;
	size_t bytes;

	(void)state;
	histogram_add(h, 0);
	histogram_add(h, 256);
	histogram_add(h, 257);
	assert_int_equal(histogram_encode(h, &blob, &bytes), 0);
	assert_int_equal(bytes, sizeof(expected));
	assert_memory_equal(blob, expected, bytes);
	free(blob);
	free(h);
}

/* Decode an exact-size copy, so that the sanitizer sees a read past the end. */
static int decode_tight(const uint8_t *blob, size_t bytes, struct histogram *h)
{
	uint8_t *tight = malloc(bytes ? bytes : 1);
	struct error err = {0};
	int rc;

	assert_non_null(tight);
	memcpy(tight, blob, bytes);
	if (bytes == 0) {
		free(tight);
		tight = NULL;
	}
	rc = histogram_decode(tight, bytes, h, &err);
	assert_true(rc == 0 || (rc == -EBADMSG && err.code == EBADMSG));
	if (rc < 0)
		assert_int_equal(h->count, 0);
	free(tight);
	return rc;
}

static void every_truncation_of_a_blob_is_refused(void **state)
{
	struct random r = random_begin(7);
	struct histogram *h = random_histogram(&r), *back = new_histogram();
	void *blob;
	size_t bytes;

	(void)state;
	histogram_add(h, 99);
	assert_int_equal(histogram_encode(h, &blob, &bytes), 0);
	for (size_t cut = 0; cut < bytes; cut++)
		assert_int_equal(decode_tight(blob, cut, back), -EBADMSG);
	free(blob);
	free(h);
	free(back);
}

/* Whatever is accepted must hold the promises of the struct. */
static void assert_sound(const struct histogram *h)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += h->bucket[i];
	assert_true(total == h->count);
	assert_true(h->count == 0 || h->min <= h->max);
	for (unsigned int i = 0; h->count && i < HISTOGRAM_BUCKETS; i++)
		if (h->bucket[i])
			assert_true(i >= histogram_index(h->min) && i <= histogram_index(h->max));
}

static void a_mutated_blob_is_refused_or_sound(void **state)
{
	struct random r = random_begin(8);
	struct histogram *back = new_histogram();
	int refused = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct histogram *h = random_histogram(&r);
		uint8_t *blob;
		size_t bytes;

		assert_int_equal(histogram_encode(h, (void **)&blob, &bytes), 0);
		for (uint64_t n = 1 + random_below(&r, 4); n > 0; n--)
			blob[random_below(&r, bytes)] = (uint8_t)random_u64(&r);
		if (decode_tight(blob, random_below(&r, 4) ? bytes : random_below(&r, bytes),
				 back) < 0)
			refused++;
		else
			assert_sound(back);
		free(blob);
		free(h);
	}
	assert_true(refused > 1000);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_tile_the_range_without_gap),
		cmocka_unit_test(quantiles_are_within_half_a_percent_of_the_exact_ones),
		cmocka_unit_test(the_ends_are_exact_and_an_empty_one_has_none),
		cmocka_unit_test(a_quantile_does_not_slip_by_rounding),
		cmocka_unit_test(values_beyond_the_range_saturate_but_count),
		cmocka_unit_test(merging_is_exact_in_any_order),
		cmocka_unit_test(the_blob_reads_back_the_same),
		cmocka_unit_test(the_blob_has_its_documented_bytes),
		cmocka_unit_test(every_truncation_of_a_blob_is_refused),
		cmocka_unit_test(a_mutated_blob_is_refused_or_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
