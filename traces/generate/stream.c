/* SPDX-License-Identifier: MIT */
#include "traces/generate/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "sim/gfp.h"

#define SECOND_NS UINT64_C(1000000000)

struct event stream_user_request(void)
{
	static const char name[] = "GFP_HIGHUSER_MOVABLE";
	const uint32_t gfp = gfp_parse(name, strlen(name), NULL);

	return (struct event){.gfp = gfp, .migratetype = (uint8_t)gfp_migratetype(gfp)};
}

int stream_flush(struct stream *s)
{
	int rc = trace_writer_events(s->writer, s->batch, s->n, s->err);

	s->n = 0;
	if (!rc && s->progress)
		s->progress(s->progress_arg, s->events);
	return rc;
}

static int put(struct stream *s, const struct event *e)
{
	s->batch[s->n] = *e;
	s->batch[s->n].time_ns = (uint64_t)((unsigned __int128)s->ops * SECOND_NS / s->rate);
	s->events++;
	s->ops += event_is_op(e);
	return ++s->n == STREAM_BATCH ? stream_flush(s) : 0;
}

int stream_alloc(struct stream *s, const struct event *request, uint64_t *id)
{
	struct event e = *request;

	if (s->events == s->events_max)
		return STREAM_FULL;
	if (ids_take(&s->ids, e.order, id))
		return error_set(s->err, ENOSPC,
				 "event %" PRIu64 ": more blocks live than the 2^32 ids of a trace "
				 "can name; lower memory",
				 s->events);
	e.kind = EVENT_ALLOC;
	e.pfn = *id;
	s->live_frames += UINT64_C(1) << e.order;
	s->peak_frames = max_u64(s->peak_frames, s->live_frames);
	return put(s, &e);
}

int stream_free(struct stream *s, uint32_t cpu, unsigned int order, uint64_t id)
{
	const struct event e = {
		.kind = EVENT_FREE,
		.pfn = id,
		.cpu = (uint16_t)cpu,
		.order = (uint8_t)order,
	};

	if (s->events == s->events_max)
		return STREAM_FULL;
	if (ids_give(&s->ids, order, id))
		return error_set(s->err, ENOMEM, "no memory for the ids of freed blocks");
	s->live_frames -= UINT64_C(1) << order;
	return put(s, &e);
}

int stream_mark(struct stream *s, const char *name)
{
	struct event e = {.kind = EVENT_MARK, .pfn = PFN_NONE};
	int rc;

	if (s->events == s->events_max)
		return STREAM_FULL;
	rc = trace_writer_mark_name(s->writer, name, &e.arg, s->err);
	return rc ? rc : put(s, &e);
}

void stream_release(struct stream *s)
{
	ids_release(&s->ids);
}
