/* SPDX-License-Identifier: MIT */
/*
 * Event blocks: up to 64 Ki events as columns, each block on its own. The columns and the model that
 * predicts frame numbers are stated byte by byte in docs/trace-format.md.
 */
#ifndef TRACES_FILE_TRACE_CODEC_H
#define TRACES_FILE_TRACE_CODEC_H

#include "traces/event.h"
#include "traces/file/trace_layout.h"

/* The fixed start of an EVENTS payload; the columns follow. */
#define BLOCK_HEADER_BYTES 32U

struct block_header {
	uint64_t first_event; /* number of events before this block */
	uint64_t first_ns, last_ns;
	uint32_t events;
};

struct block_encoder;
struct block_decoder;

/** @level: zstd. Return: 0 or -ENOMEM. */
int block_encoder_create(int level, struct block_encoder **encoder);
void block_encoder_destroy(struct block_encoder *encoder); /* NULL is allowed */

/**
 * block_encode - append a payload to @out
 * @events: 1 .. BLOCK_EVENTS_MAX, each passed by event_check(), in non-decreasing time
 * Return: 0; or as packed_put().
 */
int block_encode(struct block_encoder *encoder, const struct event *events, size_t n,
		 uint64_t first_event, struct bytes *out);

/** Return: 0 or -ENOMEM. */
int block_decoder_create(struct block_decoder **decoder);
void block_decoder_destroy(struct block_decoder *decoder); /* NULL is allowed */

/** False if @payload is too short or the counts and times contradict each other. */
bool block_header_decode(const uint8_t *payload, size_t bytes, struct block_header *header);

/**
 * block_decode_begin - unpack a payload; nothing of it is needed afterwards
 * block_decode_next - its next events, at most @max, each checked with event_check(); the last call
 * also checks that every column was used up
 * In pieces, so that events are read while they are still in a near cache.
 * @raw: events of the block passed over, 0 at its end
 * @n: of them written; fewer than @raw if kinds unknown to this build were skipped
 * Return: 0; -EBADMSG; -ERANGE a field outside @limits; -ENOMEM. The message lacks file and offset.
 */
int block_decode_begin(struct block_decoder *decoder, const uint8_t *payload, size_t bytes,
		       const struct event_limits *limits, struct error *err);
int block_decode_next(struct block_decoder *decoder, const struct event_limits *limits,
		      struct event *events, size_t max, size_t *raw, size_t *n, struct error *err);

/** Events as the digest sees them: 40 bytes each, little-endian, in the order of struct event. */
#define EVENT_DIGEST_BYTES 40U
void events_canonical(const struct event *events, size_t n, uint8_t *out);

#endif
