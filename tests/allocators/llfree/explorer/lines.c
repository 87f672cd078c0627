/* SPDX-License-Identifier: MIT */
#include "tests/allocators/llfree/explorer/lines.h"

#include <assert.h>
#include <string.h>

#include <xxhash.h>

void lines_reset(struct lines *l, const void *memory, size_t bytes)
{
	assert(bytes % LINE_BYTES == 0 && bytes / LINE_BYTES <= LINES_MAX);
	l->memory = memory;
	l->nr = (unsigned int)(bytes / LINE_BYTES);
	for (unsigned int i = 0; i < l->nr; i++) {
		struct line *line = &l->lines[i];

		line->first = 0;
		line->nr = 1;
		memset(line->flushed, 0, sizeof(line->flushed));
		memcpy(line->versions[0], l->memory + i * LINE_BYTES, LINE_BYTES);
	}
}

static void changed(struct line *line, const unsigned char *now)
{
	if (memcmp(line->versions[line->nr - 1], now, LINE_BYTES) == 0)
		return;
	if (line->nr == VERSIONS_MAX) {
		explore_fail("test", "a line has had more than %u contents", VERSIONS_MAX);
		return;
	}
	memcpy(line->versions[line->nr++], now, LINE_BYTES);
}

static void fence(struct line *line, unsigned int thread)
{
	uint32_t written = line->flushed[thread];

	line->flushed[thread] = 0;
	if (written <= line->first + 1)
		return;

	uint32_t gone = written - 1 - line->first;

	memmove(line->versions[0], line->versions[gone], (line->nr - gone) * (size_t)LINE_BYTES);
	line->first += gone;
	line->nr -= gone;
}

void lines_access(struct lines *l, unsigned int thread, const volatile void *word,
		  enum atom_access access, bool success)
{
	uintptr_t at = (uintptr_t)word - (uintptr_t)l->memory;
	unsigned int i = (unsigned int)(at / LINE_BYTES);

	if (access == ATOM_FENCE) {
		for (unsigned int k = 0; k < l->nr; k++)
			fence(&l->lines[k], thread);
		return;
	}
	if (at >= (uintptr_t)l->nr * LINE_BYTES || !success)
		return;
	if (access == ATOM_FLUSH)
		l->lines[i].flushed[thread] = l->lines[i].first + l->lines[i].nr;
	else if (access != ATOM_LOAD)
		changed(&l->lines[i], l->memory + i * LINE_BYTES);
}

uint64_t lines_hash(const struct lines *l)
{
	uint64_t h = 1;

	for (unsigned int i = 0; i < l->nr; i++) {
		const struct line *line = &l->lines[i];
		/* Numbers count from the first: how many have gone before makes no difference. */
		uint32_t flushed[EXPLORE_THREADS_MAX];

		for (unsigned int t = 0; t < EXPLORE_THREADS_MAX; t++)
			flushed[t] = line->flushed[t] > line->first + 1
					     ? line->flushed[t] - line->first
					     : 0;
		h = XXH3_64bits_withSeed(flushed, sizeof(flushed), h);
		if (line->nr > 1)
			h = XXH3_64bits_withSeed(line->versions, line->nr * (size_t)LINE_BYTES, h);
	}
	return h;
}

/* Combination @number, the lines' versions being its digits; 0: all oldest. */
static void compose(const struct lines *l, unsigned char *image, uint64_t number)
{
	for (unsigned int i = 0; i < l->nr; i++) {
		memcpy(image + i * LINE_BYTES, l->lines[i].versions[number % l->lines[i].nr],
		       LINE_BYTES);
		number /= l->lines[i].nr;
	}
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state ^ *state >> 29;
}

void lines_crash(const struct lines *l, unsigned char *image, uint64_t bound,
		 void (*judge)(void *arg), void *arg, struct crash_count *count)
{
	uint64_t total = 1, random = 1;

	for (unsigned int i = 0; i < l->nr; i++)
		total = total > UINT64_MAX / VERSIONS_MAX ? total : total * l->lines[i].nr;

	uint64_t n = total <= bound ? total : bound;

	if (total <= bound)
		count->exhaustive++;
	else
		count->sampled++;
	for (uint64_t k = 0; k < n && !explore_failed(); k++) {
		uint64_t number = k;

		if (total > bound && k > 1)
			number = next_random(&random) % total;
		else if (total > bound && k == 1)
			number = total - 1;
		compose(l, image, number);
		count->images++;
		judge(arg);
	}
}
