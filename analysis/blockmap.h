/* SPDX-License-Identifier: MIT */
/*
 * The occupancy of each 2 MiB block is long stretches of "full" and "empty" with noise between, and
 * from one sample to the next a few per cent of it change. So a blob holds the differences from an
 * earlier map (or from nothing: all zeros), run by run: pairs of the run's length (1 or more) and
 * the difference each block of it has. Both are LEB128 numbers, seven bits a byte and the lowest
 * first; differences are folded, 0, -1, 1, -2, 2, ... becoming 0, 1, 2, 3, 4, ... The same on any
 * machine, and read back with ten lines of any language (docs/results.md has them).
 */
#ifndef ANALYSIS_BLOCKMAP_H
#define ANALYSIS_BLOCKMAP_H

#include <stddef.h>
#include <stdint.h>

/**
 * blockmap_encode - the differences of a map from an earlier one
 * @held: @n numbers, as in struct result_blockmap
 * @base: @n numbers of the earlier map; NULL: all zeros
 * @blob: malloc'ed, the caller frees; never NULL on success
 * Return: 0 or -ENOMEM.
 */
int blockmap_encode(const uint16_t *held, const uint16_t *base, size_t n, void **blob,
		    size_t *bytes);

/**
 * blockmap_decode - the counterpart
 * @held: the earlier map, @n numbers (zeros if there was none); becomes the map
 * Return: 0; -EBADMSG the blob does not hold exactly @n differences, or one leads outside 16 bits
 * (never reads past @bytes; @held is then half changed).
 */
int blockmap_decode(const void *blob, size_t bytes, uint16_t *held, size_t n);

#endif
