/* SPDX-License-Identifier: MIT */
/*
 * The occupancy of each 2 MiB block is long stretches of "full" and "empty" with noise between: a
 * blob of run lengths where that is shorter, the plain numbers where not. Both portable
 * (little-endian) and both readable with ten lines of any language.
 *
 * "raw":  u16 held per block. "runs": (u16 held, u16 length >= 1) pairs.
 */
#ifndef ANALYSIS_BLOCKMAP_H
#define ANALYSIS_BLOCKMAP_H

#include <stddef.h>
#include <stdint.h>

enum blockmap_encoding {
	BLOCKMAP_RAW,
	BLOCKMAP_RUNS,
};

/** "raw", "runs": as stored in the database. */
const char *blockmap_encoding_name(enum blockmap_encoding encoding);

/**
 * blockmap_encode - the shorter of the two encodings
 * @held: @n numbers, as in struct result_blockmap
 * @blob: malloc'ed, the caller frees; never NULL on success
 * Return: 0 or -ENOMEM.
 */
int blockmap_encode(const uint16_t *held, size_t n, enum blockmap_encoding *encoding, void **blob,
		    size_t *bytes);

/**
 * blockmap_decode - the counterpart
 * @held: room for @n numbers
 * Return: 0; -EBADMSG the blob does not hold exactly @n numbers (never reads past @bytes).
 */
int blockmap_decode(enum blockmap_encoding encoding, const void *blob, size_t bytes, uint16_t *held,
		    size_t n);

#endif
