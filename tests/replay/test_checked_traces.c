/* SPDX-License-Identifier: MIT */
/*
 * The claim of `quire trace check`: what it calls intact neither the reader nor a replay refuses, and
 * nothing crashes on. Files are changed in every way there is, with all that guards them made right again
 * (trace_image.h), so that many a change is one of contents alone.
 *
 * QUIRE_FUZZ=N tries N times as many changes.
 */
#include <errno.h>
#include <inttypes.h>

#include "allocators/registry.h"
#include "replay/replay.h"
#include "tests/traces/trace_image.h"
#include "traces/file/trace_check.h"

/* Frames up to which a changed machine is worth the time to replay it. */
#define FRAMES_MAX (UINT64_C(1) << 24)

struct claims {
	struct fixture *f;
	struct allocator_spec *null;
	int fd;
	char path[32];
	uint64_t random;
	uint64_t intact, damaged, replayed;
};

static int claims_setup(void **state)
{
	struct claims *c = calloc(1, sizeof(*c));
	struct error err;
	void *f;

	assert_non_null(c);
	fixture_setup(&f);
	c->f = f;
	c->fd = memfd_create("trace", MFD_CLOEXEC);
	assert_true(c->fd >= 0);
	snprintf(c->path, sizeof(c->path), "/proc/self/fd/%d", c->fd);
	assert_int_equal(allocator_spec_parse("null", &c->null, &err), 0);
	*state = c;
	return 0;
}

static int claims_teardown(void **state)
{
	struct claims *c = *state;
	void *f = c->f;

	close(c->fd);
	allocator_spec_destroy(c->null);
	free(c);
	return fixture_teardown(&f);
}

/* ---- what anybody does with a trace ---- */

/* Everything with @flags. Return: 0, or the first error. */
static int read_with(const struct claims *c, unsigned int flags, uint64_t *events,
		     struct error *err)
{
	const struct event *some;
	struct trace_reader *r;
	struct frame_map *map;
	unsigned int told = 0;
	size_t n;
	int ret = trace_reader_open(c->path, flags, &r, err), first;

	*events = 0;
	if (ret)
		return ret;
	for (int which = TRACE_START; !ret && which <= TRACE_BURN_IN; which++) {
		ret = trace_reader_snapshot(r, (enum trace_snapshot)which, &map, err);
		if (!ret)
			frame_map_destroy(map);
		ret = ret == -ENOENT ? 0 : ret;
	}
	first = ret;
	while ((ret = trace_reader_next(r, &some, &n, err)) != 0) {
		first = ret < 0 && !first ? ret : first;
		if (ret < 0 && ++told > 1000)
			break;
		*events += ret > 0 ? n : 0;
	}
	trace_reader_close(r);
	return first;
}

static int take(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	(void)sink;
	(void)record;
	(void)err;
	return 0;
}

static bool worth_a_replay(const struct claims *c)
{
	struct trace_reader *r;
	const struct machine *m;
	bool worth;

	if (trace_reader_open(c->path, TRACE_SALVAGE, &r, NULL))
		return false;
	m = trace_reader_header(r)->machine;
	worth = machine_end(m) - machine_start(m) <= FRAMES_MAX;
	trace_reader_close(r);
	return worth;
}

static int replay_with(struct claims *c, bool salvage, struct error *err)
{
	struct result_sink sink = {.take = take};
	const struct replay_config config = {.trace = c->path,
					     .spec = c->null,
					     .samples = 2,
					     .seed = 1,
					     .oracle = true,
					     .salvage = salvage};
	int ret = replay_run(&config, &sink, err);

	c->replayed += !ret;
	/* Frames of another size and machines too large are nobody's damage. */
	return ret == -EPROTONOSUPPORT || ret == -EFBIG ? 0 : ret;
}

static void hold_to_the_claim(struct claims *c, const char *what)
{
	static const unsigned int flags[] = {0,
					     TRACE_VERIFY,
					     TRACE_READ_BURN_IN,
					     TRACE_READ_BURN_IN | TRACE_VERIFY,
					     TRACE_SALVAGE,
					     TRACE_READ_BURN_IN | TRACE_SALVAGE};
	bool replay = worth_a_replay(c);
	uint64_t events, seen[2] = {0};
	struct trace_check check;
	struct error err = {0};
	int ret = trace_check(c->path, NULL, NULL, &check, &err);

	c->intact += check.intact;
	c->damaged += !check.intact;
	if (check.intact ? ret || check.damages : !ret && !check.damages)
		fail_msg("%s: intact %d, %d, %" PRIu64 " damages", what, check.intact, ret,
			 check.damages);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		bool burn_in = flags[i] & TRACE_READ_BURN_IN;

		ret = read_with(c, flags[i], &events, &err);
		if (!check.intact)
			continue;
		if (ret)
			fail_msg("%s: intact, but reading with %u: %s", what, flags[i], err.text);
		if (seen[burn_in] && seen[burn_in] != events)
			fail_msg("%s: %" PRIu64 " events, %" PRIu64 " with %u", what, seen[burn_in],
				 events, flags[i]);
		seen[burn_in] = events;
	}
	for (int salvage = 0; replay && salvage < 2; salvage++) {
		ret = replay_with(c, salvage, &err);
		if (check.intact && ret)
			fail_msg("%s: intact, but a replay says: %s", what, err.text);
	}
}

/* ---- changes ---- */

static void change_bytes(struct claims *c, uint8_t *data, size_t n)
{
	size_t at = n ? below(&c->random, n) : 0, left = n - at;

	if (!n)
		return;
	switch (below(&c->random, 5)) {
	case 0:
		data[at] ^= (uint8_t)(1U << below(&c->random, 8));
		break;
	case 1:
		data[at] = below(&c->random, 2) ? 0xff : 0;
		break;
	case 2:
		data[at] = (uint8_t)(data[at] + (below(&c->random, 2) ? 1 : -1));
		break;
	case 3:
		if (left >= 8)
			store_u64(data + at, extreme(&c->random, UINT64_MAX));
		break;
	default:
		if (left >= 8)
			memmove(data + at, data + below(&c->random, n - 7), 8);
		break;
	}
}

/* One column of one section, unpacked: changed, longer or shorter. */
static void change_column(struct claims *c, struct image *im, struct image_section *s)
{
	struct bytes column[16] = {0}, *victim;
	size_t from, n = image_columns(s, &from);

	if (n && image_unpack(im, s, column, from, n)) {
		victim = &column[below(&c->random, n)];
		change_bytes(c, victim->data, victim->size);
		if (!below(&c->random, 8))
			bytes_put_u8(victim, (uint8_t)next_random(&c->random));
		else if (victim->size && !below(&c->random, 8))
			victim->size--;
		image_repack(s, column, from, n);
	}
	for (size_t i = 0; i < 16; i++)
		bytes_free(&column[i]);
}

/* A block's times, which no column holds: one of them, or both so that they still fit its events. */
static void change_times(struct claims *c, struct image *im)
{
	uint64_t time = extreme(&c->random, UINT64_MAX);
	size_t nr = 0, at;
	uint8_t *p;

	while (image_find(im, SECTION_EVENTS, nr) < im->n)
		nr++;
	if (!nr)
		return;
	at = image_find(im, SECTION_EVENTS, below(&c->random, 2) ? nr - 1 : below(&c->random, nr));
	if (im->section[at].payload.size < BLOCK_HEADER_BYTES)
		return;
	p = im->section[at].payload.data + 8;
	if (below(&c->random, 2)) {
		store_u64(p + 8 * below(&c->random, 2), time);
		return;
	}
	store_u64(p, time - (load_u64(p + 8) - load_u64(p)));
	store_u64(p + 8, time);
}

static void change_sections(struct claims *c, struct image *im)
{
	size_t at = below(&c->random, im->n), to = below(&c->random, im->n);
	struct image_section s = im->section[at];

	switch (below(&c->random, 5)) {
	case 0:
		image_remove(im, at);
		break;
	case 1:
		image_insert(im, to, s.type, s.flags, s.payload.data, s.payload.size);
		break;
	case 2:
		im->section[at] = im->section[to];
		im->section[to] = s;
		break;
	case 3:
		im->section[at].type = (uint16_t)below(&c->random, SECTION_TYPES + 2);
		break;
	default:
		image_insert(im, to, 999, (uint16_t)below(&c->random, 2), "later", 5);
		break;
	}
}

static void change(struct claims *c, struct image *im)
{
	struct image_section *s = &im->section[below(&c->random, im->n)];

	switch (below(&c->random, 10)) {
	case 0:
		change_sections(c, im);
		break;
	case 1:
		change_times(c, im);
		break;
	case 2:
		change_bytes(c, s->payload.data, s->payload.size);
		break;
	case 3:
		change_bytes(c, im->head, FILE_HEADER_BYTES);
		break;
	default:
		change_column(c, im, s);
		break;
	}
}

static void change_for_rounds(struct claims *c, const char *path, uint64_t seed,
			      unsigned int rounds)
{
	const char *more = getenv("QUIRE_FUZZ");
	struct image good = {0}, bad;
	char what[200];
	size_t n;
	uint8_t *data = load_file(path, &n);

	rounds *= more ? (unsigned int)strtoul(more, NULL, 10) : 1;
	image_load(&good, data, n);
	free(data);
	image_copy(&bad, &good);
	image_put(&bad, c->fd, c->path);
	image_free(&bad);
	/* Putting together is right: what nobody changed is intact. */
	hold_to_the_claim(c, path);
	assert_int_equal(c->damaged, 0);
	for (unsigned int round = 0; round < rounds; round++) {
		c->random = seed + round * UINT64_C(0x9e3779b97f4a7c15);
		image_copy(&bad, &good);
		for (uint64_t k = 1 + below(&c->random, 2); k && bad.n; k--)
			change(c, &bad);
		image_put(&bad, c->fd, c->path);
		image_free(&bad);
		snprintf(what, sizeof(what), "%s, seed %" PRIu64 ", round %u", path, seed, round);
		hold_to_the_claim(c, what);
	}
	image_free(&good);
}

/* ---- tests ---- */

static void a_small_trace_changed_in_any_way_keeps_the_claim(void **state)
{
	struct claims *c = *state;
	const struct trace_write_options options = {.block_events = 60, .level = 1};
	struct event *kernel = kernel_events(3, 200), *wild;

	write_trace(c->f, &options, kernel, 200, true, NULL);
	change_for_rounds(c, c->f->path, 11, 250);
	unlink(c->f->path);
	wild = wild_events(5, 200, FIXTURE_FRAMES, FIXTURE_CPUS);
	write_trace(c->f, &options, wild, 200, true, NULL);
	c->damaged = 0;
	change_for_rounds(c, c->f->path, 12, 250);
	/* or the changes prove nothing */
	assert_true(c->intact > 60 && c->damaged > 60 && c->replayed > 100);
	free(kernel);
	free(wild);
}

static void a_shipped_trace_changed_in_any_way_keeps_the_claim(void **state)
{
	struct claims *c = *state;
	const char *root = getenv("QUIRE_SOURCE");
	char path[512];

	snprintf(path, sizeof(path), "%s/traces/samples/compile.quire", root ? root : ".");
	change_for_rounds(c, path, 13, 8);
	assert_true(c->intact > 1 && c->damaged > 1);
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_setup_teardown(test, claims_setup, claims_teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(a_small_trace_changed_in_any_way_keeps_the_claim),
		CLAIM(a_shipped_trace_changed_in_any_way_keeps_the_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
