/* SPDX-License-Identifier: MIT */
#include "analysis/blockmap.h"

#include <errno.h>
#include <stdlib.h>

#define RUN_MAX 0xffffU

const char *blockmap_encoding_name(enum blockmap_encoding encoding)
{
	return encoding == BLOCKMAP_RUNS ? "runs" : "raw";
}

static void put_u16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (unsigned int)p[1] << 8);
}

/* Blocks from @held on with its value, at most @n and RUN_MAX. */
static size_t run_length(const uint16_t *held, size_t n)
{
	size_t len = 1;

	while (len < n && len < RUN_MAX && held[len] == held[0])
		len++;
	return len;
}

int blockmap_encode(const uint16_t *held, size_t n, enum blockmap_encoding *encoding, void **blob,
		    size_t *bytes)
{
	size_t runs = 0, size;
	uint8_t *p;

	for (size_t i = 0; i < n; i += run_length(held + i, n - i))
		runs++;
	*encoding = 2 * runs < n ? BLOCKMAP_RUNS : BLOCKMAP_RAW;
	size = *encoding == BLOCKMAP_RUNS ? 4 * runs : 2 * n;
	p = malloc(size ? size : 1);
	if (!p)
		return -ENOMEM;
	*blob = p;
	*bytes = size;
	for (size_t i = 0; i < n;) {
		size_t len = *encoding == BLOCKMAP_RUNS ? run_length(held + i, n - i) : 1;

		put_u16(p, held[i]);
		p += 2;
		if (*encoding == BLOCKMAP_RUNS) {
			put_u16(p, (unsigned int)len);
			p += 2;
		}
		i += len;
	}
	return 0;
}

int blockmap_decode(enum blockmap_encoding encoding, const void *blob, size_t bytes, uint16_t *held,
		    size_t n)
{
	const uint8_t *p = blob;
	size_t done = 0;

	if (encoding == BLOCKMAP_RAW) {
		if (bytes % 2 || bytes / 2 != n)
			return -EBADMSG;
		for (; done < n; done++)
			held[done] = get_u16(p + 2 * done);
		return 0;
	}
	if (bytes % 4)
		return -EBADMSG;
	for (size_t i = 0; i < bytes; i += 4) {
		size_t len = get_u16(p + i + 2);

		if (len == 0 || len > n - done)
			return -EBADMSG;
		while (len--)
			held[done++] = get_u16(p + i);
	}
	return done == n ? 0 : -EBADMSG;
}
