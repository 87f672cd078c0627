/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/monotonic.h"
#include "replay/run/run.h"

static int send_blockmap(struct run *r, uint32_t sample, enum blockmap_layer layer)
{
	const struct memory_state *s = engine_state(r->engine);
	uint16_t *values = s->scratch;

	for (uint64_t b = 0; b < s->nr_blocks; b++) {
		const struct block_state *block = &s->block[b];

		values[b] = layer == BLOCKMAP_HELD ? block->held : block->unmovable;
		if (block->absent)
			values[b] = BLOCKMAP_ABSENT;
	}
	return tell_blockmap(&r->tell, sample, layer, s->base / HUGE_FRAMES, values, s->nr_blocks);
}

static int send_holder(void *arg, const struct result_holder *holder)
{
	struct run *r = arg;
	struct result_record record = {.kind = RESULT_HOLDER, .holder = *holder};

	record.holder.sample = r->next_sample;
	return tell_record(&r->tell, &record);
}

/* Who holds memory, and since when. */
static int send_holders(struct run *r, uint32_t sample)
{
	const struct memory_state *s = engine_state(r->engine);
	uint16_t *youngest = malloc(2 * s->nr_blocks * sizeof(*youngest));
	uint16_t *oldest = youngest + s->nr_blocks;
	int rc = youngest ? engine_ages(r->engine, youngest, oldest) : -ENOMEM;

	if (!rc)
		rc = tell_blockmap(&r->tell, sample, BLOCKMAP_YOUNGEST, s->base / HUGE_FRAMES,
				   youngest, s->nr_blocks);
	if (!rc)
		rc = tell_blockmap(&r->tell, sample, BLOCKMAP_OLDEST, s->base / HUGE_FRAMES, oldest,
				   s->nr_blocks);
	if (!rc)
		rc = engine_holders(r->engine, send_holder, r);
	free(youngest);
	return rc == -ENOMEM ? error_set(r->err, ENOMEM, "no memory to find who holds it") : rc;
}

static double state_of(const struct run *r, enum metric metric)
{
	return r->last[metric - METRIC_STATE_FIRST];
}

/* Does the back end tell of itself what is not so? */
static int note_stats(struct run *r, const struct engine_moment *moment)
{
	char when[48];

	if (!engine_map_is_sure(r->engine))
		return 0;
	snprintf(when, sizeof(when), "after event %" PRIu64, moment->events);
	return tell_stats_doubt(&r->tell, &r->stats, state_of(r, METRIC_free_frames), when,
				&r->doubts);
}

static int send_sample(struct run *r, const struct engine_moment *moment)
{
	struct result_record record = {.kind = RESULT_SAMPLE};
	uint64_t ours[NR_ORDERS], backend[NR_ORDERS];
	bool has_backend;
	int rc = 0;

	has_backend = engine_metrics(r->engine, r->last, ours, backend, &r->stats);
	if (has_backend)
		rc = note_stats(r, moment);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++) {
		if (isnan(r->last[i]))
			continue;
		r->sum[i] += r->last[i];
		r->summed[i]++;
	}
	record.sample.index = r->next_sample;
	record.sample.end = r->played;
	record.sample.event = moment->events;
	record.sample.time_ns = moment->time_ns;
	memcpy(record.sample.state, r->last, sizeof(r->last));
	rc = tell_record(&r->tell, &record);
	if (!rc)
		rc = tell_freelist(&r->tell, r->next_sample, FREELIST_ENGINE, ours);
	if (!rc && has_backend)
		rc = tell_freelist(&r->tell, r->next_sample, FREELIST_BACKEND, backend);
	if (!rc)
		rc = send_blockmap(r, r->next_sample, BLOCKMAP_HELD);
	if (!rc)
		rc = send_blockmap(r, r->next_sample, BLOCKMAP_UNMOVABLE);
	if (!rc)
		rc = tell_counters(&r->tell, r->config.spec, &r->stats, r->next_sample);
	if (!rc && (r->played ? r->config.holders != HOLDERS_AT_NONE
			      : r->config.holders == HOLDERS_AT_ALL))
		rc = send_holders(r, r->next_sample);
	r->next_sample++;
	return rc;
}

int run_take_sample(void *arg, const struct engine_moment *moment)
{
	struct run *r = arg;
	uint64_t started = monotonic_ns();
	int rc = send_sample(r, moment);

	r->sampling_ns += monotonic_ns() - started;
	return rc;
}

void run_ask_for_sample(struct run *r)
{
	r->asked++;
	engine_sample_at(r->engine);
}

int run_sample_now(struct run *r)
{
	run_ask_for_sample(r);
	return engine_flush(r->engine, r->err);
}
