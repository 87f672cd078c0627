/* SPDX-License-Identifier: MIT */
#include "traces/file/trace_check.h"

#include <errno.h>
#include <string.h>

#include <xxhash.h>

#include "base/bits.h"
#include "traces/file/trace_codec.h"
#include "traces/file/trace_layout.h"

struct check {
	struct trace_check *result;
	void (*damaged)(void *arg, const struct error *damage);
	void *arg;
	XXH3_state_t *hash; /* of what was read so far; NULL: the file is taken at its word */
};

/* Events at a time on their way into the hash. */
#define HASH_EVENTS 256U

static void hash_events(struct check *c, const struct event *events, size_t n)
{
	uint8_t raw[HASH_EVENTS * EVENT_DIGEST_BYTES];

	for (size_t i = 0; c->hash && i < n; i += HASH_EVENTS) {
		const size_t some = min_u64(n - i, HASH_EVENTS);

		events_canonical(events + i, some, raw);
		XXH3_128bits_update(c->hash, raw, some * EVENT_DIGEST_BYTES);
	}
}

static void hash_snapshot(struct check *c, int which, const struct frame_map *map)
{
	const uint64_t head[] = {(uint64_t)which, map ? map->time_ns : 0, map ? map->nr_runs : 0};

	if (!c->hash)
		return;
	XXH3_128bits_update(c->hash, head, sizeof(head));
	if (map)
		XXH3_128bits_update(c->hash, map->runs, map->nr_runs * sizeof(*map->runs));
}

static void tell(struct check *c, const struct error *damage)
{
	c->result->damages++;
	if (c->damaged)
		c->damaged(c->arg, damage);
}

/* With salvage each damage is told, and the reading goes on; without it the first one ends it. */
static int take_damage(struct check *c, bool salvage, int rc, const struct error *err)
{
	if (!salvage || rc != -EBADMSG)
		return rc;
	tell(c, err);
	return 0;
}

static int check_snapshots(struct check *c, struct trace_reader *r, bool salvage, struct error *err)
{
	int rc = 0;

	for (int which = TRACE_START; !rc && which <= TRACE_BURN_IN; which++) {
		struct frame_map *map = NULL;

		rc = trace_reader_snapshot(r, (enum trace_snapshot)which, &map, err);
		if (rc == -ENOENT)
			rc = 0;
		else if (rc)
			rc = take_damage(c, salvage, rc, err);
		hash_snapshot(c, which, map);
		frame_map_destroy(map);
	}
	return rc;
}

static int check_events(struct check *c, struct trace_reader *r, bool salvage, struct error *err)
{
	bool behind_damage = false;
	const struct event *events;
	size_t n;
	int rc;

	while ((rc = trace_reader_next(r, &events, &n, err)) != 0) {
		if (rc < 0) {
			rc = take_damage(c, salvage, rc, err);
			if (rc)
				return rc;
			behind_damage = true;
			continue;
		}
		hash_events(c, events, n);
		if (behind_damage && events->kind == EVENT_LOST) {
			/* The reader's own word on what it skipped. */
			c->result->lost_to_damage += events->arg;
			events++;
			n--;
		}
		behind_damage = false;
		c->result->events += n;
		for (size_t i = 0; i < n; i++)
			if (events[i].kind == EVENT_LOST)
				c->result->lost_when_recorded += events[i].arg;
	}
	return 0;
}

static int read_all(struct check *c, const char *path, bool salvage, struct error *err)
{
	unsigned int flags = TRACE_READ_BURN_IN | (salvage ? TRACE_SALVAGE : TRACE_VERIFY);
	const struct trace_totals *totals;
	struct trace_reader *r;
	int rc = trace_reader_open(path, flags, &r, err);

	if (rc)
		return rc;
	totals = trace_reader_totals(r);
	c->result->has_footer = totals;
	if (totals)
		c->result->events_written = totals->events + totals->burn_in_events;
	if (totals)
		memcpy(c->result->digest, totals->digest, sizeof(totals->digest));
	rc = check_snapshots(c, r, salvage, err);
	if (!rc)
		rc = check_events(c, r, salvage, err);
	trace_reader_close(r);
	return rc;
}

/* The same where there is damage, going on behind each, and hashing what is read. */
static int read_intact_parts(struct check *c, const char *path, struct error *err)
{
	XXH128_canonical_t canonical;
	int rc;

	c->hash = XXH3_createState();
	if (!c->hash)
		return error_set(err, ENOMEM, "%s: no memory to check it", path);
	XXH3_128bits_reset(c->hash);
	rc = read_all(c, path, true, err);
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(c->hash));
	digest_format(canonical.digest, c->result->digest);
	XXH3_freeState(c->hash);
	return rc;
}

int trace_check(const char *path, void (*damaged)(void *arg, const struct error *damage), void *arg,
		struct trace_check *result, struct error *err)
{
	struct check c = {.result = result, .damaged = damaged, .arg = arg};
	struct error strict, unread;
	int rc;

	err = err ? err : &unread;
	*result = (struct trace_check){0};
	rc = read_all(&c, path, false, err);
	result->intact = !rc;
	if (rc != -EBADMSG)
		return rc;
	/* Damaged: where else? */
	strict = *err;
	*result = (struct trace_check){0};
	rc = read_intact_parts(&c, path, err);
	/* Salvage asks for less, and may go on without a word. */
	if (!rc && !result->damages)
		tell(&c, &strict);
	return rc;
}
