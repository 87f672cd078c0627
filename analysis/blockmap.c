/* SPDX-License-Identifier: MIT */
#include "analysis/blockmap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* A run of one block takes a byte for its length and three for 17 bits; longer ones less a block. */
#define BYTES_PER_BLOCK 4

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (unsigned int shift = 0; shift < 63 && *p < end; shift += 7) {
		const uint8_t byte = *(*p)++;

		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

static int difference(const uint16_t *held, const uint16_t *base, size_t i)
{
	return held[i] - (base ? base[i] : 0);
}

int blockmap_encode(const uint16_t *held, const uint16_t *base, size_t n, void **blob,
		    size_t *bytes)
{
	uint8_t *start = malloc(BYTES_PER_BLOCK * n + 1), *p = start;
	size_t len;

	if (!start)
		return -ENOMEM;
	for (size_t i = 0; i < n; i += len) {
		const int d = difference(held, base, i);

		len = 1;
		while (len < n - i && difference(held, base, i + len) == d)
			len++;
		p = put_varint(p, len);
		p = put_varint(p, d < 0 ? 2 * (uint64_t)-d - 1 : 2 * (uint64_t)d);
	}
	*blob = start;
	*bytes = (size_t)(p - start);
	return 0;
}

int blockmap_decode(const void *blob, size_t bytes, uint16_t *held, size_t n)
{
	const uint8_t *p = blob, *end = p + bytes;
	size_t done = 0;

	while (p < end) {
		uint64_t len, folded;
		int64_t d;

		if (!get_varint(&p, end, &len) || !get_varint(&p, end, &folded))
			return -EBADMSG;
		if (len == 0 || len > n - done || folded > 2 * UINT16_MAX)
			return -EBADMSG;
		d = folded & 1 ? -(int64_t)(folded / 2) - 1 : (int64_t)(folded / 2);
		while (len--) {
			const int64_t v = held[done] + d;

			if (v < 0 || v > UINT16_MAX)
				return -EBADMSG;
			held[done++] = (uint16_t)v;
		}
	}
	return done == n ? 0 : -EBADMSG;
}
