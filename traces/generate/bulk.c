/* SPDX-License-Identifier: MIT */
/*
 * The benchmark `bulk` as a trace: every cpu allocates its share of half of memory, and when all have,
 * each frees its own in the order of allocation. Real threads come to no fixed order; here they go on
 * at the same speed, so that the cpus take turns, block by block.
 */
#include "traces/generate/generate.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bits.h"

static const struct option bulk_options[] = {
	GENERATE_OPTIONS(NULL, "8G", "1", "100000", "changes nothing: bulk draws nothing"),
	{.name = "order",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .max = MAX_ORDER,
	 .help = "blocks of 2^order frames"},
	{.name = NULL},
};

static uint64_t share_of(const struct option_set *options)
{
	unsigned int order = (unsigned int)option_uint(options, "order");

	return generate_blocks(options, order) / 2 / option_uint(options, "cpus");
}

static int bulk_check(const struct option_set *options, struct error *err)
{
	unsigned int order = (unsigned int)option_uint(options, "order");

	if (share_of(options))
		return 0;
	return error_set(err, EINVAL,
			 "memory: half of %" PRIu64 " blocks of order %u is too few for %" PRIu64
			 " cpus; raise memory",
			 generate_blocks(options, order), order, option_uint(options, "cpus"));
}

static int bulk_run(const struct option_set *options, struct stream *stream, struct error *err)
{
	const uint64_t cpus = option_uint(options, "cpus"), blocks = share_of(options) * cpus;
	struct event request = stream_user_request();
	int rc = stream_mark(stream, "allocate");
	uint64_t id;

	(void)err;
	request.order = (uint8_t)option_uint(options, "order");
	for (uint64_t i = 0; !rc && i < blocks; i++) {
		request.cpu = (uint16_t)(i % cpus);
		rc = stream_alloc(stream, &request, &id);
	}
	if (!rc)
		rc = stream_mark(stream, "free");
	/* The i-th was called so: see ids_take(). */
	for (uint64_t i = 0; !rc && i < blocks; i++)
		rc = stream_free(stream, (uint32_t)(i % cpus), request.order, i << request.order);
	return rc;
}

const struct workload workload_bulk = {
	.name = "bulk",
	.summary =
		"every cpu allocates its share of half of memory, then frees it in the same order",
	.options = bulk_options,
	.check = bulk_check,
	.run = bulk_run,
};
