/* SPDX-License-Identifier: MIT */
/* The burn-in part of a trace file: there for those who ask, absent for all others. */
#include "tests/effort.h"
#include "trace_fixture.h"

#include <errno.h>

#include "traces/file/trace_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BEFORE	     170U /* events of the burn-in */
#define EVENTS	     260U /* and after it */
#define BLOCK_EVENTS 50U
#define NONE	     UINT32_MAX

struct burnt {
	struct fixture *f;
	struct event *events; /* BEFORE + EVENTS; a LOST among either */
	struct frame_map *burn_in, *start, *end;
	uint8_t *good, *bad;
	size_t n;
	struct trace_totals totals;
};

/* Write the trace; without the burn-in if @with is false. */
static void write_burnt(struct burnt *b, bool with, struct trace_totals *totals)
{
	const struct trace_write_options o = {
		.overwrite = true, .block_events = BLOCK_EVENTS, .level = 1};
	struct trace_writer *w;
	struct error err = {0};
	int ret;

	ret = trace_writer_create(b->f->path, &b->f->header, &o, &w, &err);
	if (!ret)
		ret = trace_writer_snapshot(w, TRACE_START, b->start, &err);
	if (!ret && with)
		ret = trace_writer_snapshot(w, TRACE_BURN_IN, b->burn_in, &err);
	/* In pieces that do not fit the blocks. */
	for (size_t i = 0; !ret && with && i < BEFORE; i += 34)
		ret = trace_writer_burn_in_events(w, b->events + i, 34, &err);
	if (!ret)
		ret = trace_writer_events(w, b->events + BEFORE, EVENTS, &err);
	if (!ret)
		ret = trace_writer_snapshot(w, TRACE_END, b->end, &err);
	if (!ret)
		ret = trace_writer_close(w, totals, &err);
	if (ret)
		fail_msg("%s", err.text);
}

static int burnt_setup(void **state)
{
	struct burnt *b = calloc(1, sizeof(*b));
	void *f;

	assert_non_null(b);
	fixture_setup(&f);
	b->f = f;
	b->events = kernel_events(11, BEFORE + EVENTS);
	b->events[20] = (struct event){.kind = EVENT_LOST, .pfn = PFN_NONE, .arg = 7};
	b->events[20].time_ns = b->events[19].time_ns;
	b->events[BEFORE + 9] = (struct event){.kind = EVENT_LOST, .pfn = PFN_NONE, .arg = 100};
	b->events[BEFORE + 9].time_ns = b->events[BEFORE + 8].time_ns;
	b->burn_in = fixture_map(b->f->machine, 5, 300);
	b->start = fixture_map(b->f->machine, 6, 300);
	b->end = fixture_map(b->f->machine, 7, 300);
	b->burn_in->time_ns = b->events[0].time_ns;
	b->start->time_ns = b->events[BEFORE - 1].time_ns;
	write_burnt(b, true, &b->totals);
	b->good = load_file(b->f->path, &b->n);
	b->bad = malloc(b->n + 4096);
	assert_non_null(b->bad);
	*state = b;
	return 0;
}

static int burnt_teardown(void **state)
{
	struct burnt *b = *state;
	void *f = b->f;

	frame_map_destroy(b->burn_in);
	frame_map_destroy(b->start);
	frame_map_destroy(b->end);
	free(b->events);
	free(b->good);
	free(b->bad);
	free(b);
	return fixture_teardown(&f);
}

static struct trace_reader *open_burnt(struct burnt *b, unsigned int flags)
{
	struct trace_reader *r;
	struct error err = {0};

	if (trace_reader_open(b->f->path, flags, &r, &err))
		fail_msg("%s", err.text);
	return r;
}

/* The reader gives exactly b->events from @first on, twice. */
static void expect_from(struct burnt *b, struct trace_reader *r, size_t first)
{
	for (int round = 0; round < 2; round++) {
		const struct event *got;
		struct error err = {0};
		size_t at = first, n;
		int ret;

		while ((ret = trace_reader_next(r, &got, &n, &err)) == 1)
			for (size_t i = 0; i < n; i++, at++)
				if (at >= BEFORE + EVENTS || !same_event(&got[i], &b->events[at]))
					fail_msg("event %zu differs", at);
		if (ret)
			fail_msg("%s", err.text);
		assert_int_equal(at, BEFORE + EVENTS);
		assert_int_equal(trace_reader_rewind(r, &err), 0);
	}
}

static void the_burn_in_comes_first_for_those_who_ask(void **state)
{
	struct burnt *b = *state;
	struct trace_reader *r = open_burnt(b, TRACE_READ_BURN_IN | TRACE_VERIFY);
	struct frame_map *map;

	expect_from(b, r, 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_BURN_IN, &map, NULL), 0);
	assert_same_map(map, b->burn_in);
	frame_map_destroy(map);
	assert_int_equal(trace_reader_totals(r)->burn_in_events, BEFORE);
	assert_int_equal(trace_reader_totals(r)->burn_in_lost, 7);
	assert_int_equal(b->totals.burn_in_events, BEFORE);
	assert_int_equal(b->totals.burn_in_lost, 7);
	assert_string_equal(trace_reader_totals(r)->digest, b->totals.digest);
	assert_true(trace_reader_header(r)->compatible_features & TRACE_HAS_BURN_IN);
	trace_reader_close(r);
}

static void everybody_else_sees_what_they_saw_without_it(void **state)
{
	static const unsigned int flags[] = {0, TRACE_VERIFY, TRACE_SALVAGE};
	struct burnt *b = *state;
	struct trace_totals without;
	struct frame_map *map;
	struct file_end end[2];
	uint8_t *plain;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct trace_reader *r = open_burnt(b, flags[i]);

		expect_from(b, r, BEFORE);
		assert_int_equal(trace_reader_snapshot(r, TRACE_START, &map, NULL), 0);
		assert_same_map(map, b->start);
		frame_map_destroy(map);
		trace_reader_close(r);
	}
	write_burnt(b, false, &without);
	assert_int_equal(without.events, b->totals.events);
	assert_int_equal(without.events, EVENTS);
	assert_memory_equal(without.by_kind, b->totals.by_kind, sizeof(without.by_kind));
	assert_int_equal(without.ops, b->totals.ops);
	assert_int_equal(without.lost_events, b->totals.lost_events);
	assert_int_equal(without.lost_events, 100);
	assert_int_equal(without.first_ns, b->totals.first_ns);
	assert_int_equal(without.last_ns, b->totals.last_ns);
	assert_int_equal(without.burn_in_events, 0);
	/* The footer, which is all an older reader compares, has the same digest; the trace has not. */
	plain = load_file(b->f->path, &n);
	assert_true(end_decode(plain + n - END_BYTES, n, &end[0], &without));
	assert_true(end_decode(b->good + b->n - END_BYTES, b->n, &end[1], &without));
	assert_memory_equal(end[0].digest, end[1].digest, 16);
	assert_string_not_equal(without.digest, b->totals.digest);
	free(plain);
}

static void a_trace_without_burn_in_reads_the_same_with_the_flag(void **state)
{
	struct burnt *b = *state;
	struct trace_reader *r;
	struct frame_map *map;

	write_burnt(b, false, NULL);
	r = open_burnt(b, TRACE_READ_BURN_IN | TRACE_VERIFY);
	expect_from(b, r, BEFORE);
	assert_int_equal(trace_reader_snapshot(r, TRACE_BURN_IN, &map, NULL), -ENOENT);
	assert_int_equal(trace_reader_totals(r)->burn_in_events, 0);
	assert_false(trace_reader_header(r)->compatible_features & TRACE_HAS_BURN_IN);
	trace_reader_close(r);
}

static void the_digest_knows_the_burn_in(void **state)
{
	struct burnt *b = *state;
	struct trace_totals t;

	write_burnt(b, true, &t);
	assert_string_equal(t.digest, b->totals.digest);
	b->events[30].flags ^= EVENT_NESTED;
	write_burnt(b, true, &t);
	assert_string_not_equal(t.digest, b->totals.digest);
	b->events[30].flags ^= EVENT_NESTED;
	b->burn_in->zones[0].pcp[0].count++;
	write_burnt(b, true, &t);
	assert_string_not_equal(t.digest, b->totals.digest);
}

static void an_empty_burn_in_is_one(void **state)
{
	struct burnt *b = *state;
	struct trace_writer *w;
	struct trace_reader *r;
	struct frame_map *map;
	const struct event *got;
	size_t n;

	assert_int_equal(trace_writer_create(b->f->path, &b->f->header,
					     &(struct trace_write_options){.overwrite = true}, &w,
					     NULL),
			 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, b->start, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_BURN_IN, b->burn_in, NULL), 0);
	assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
	r = open_burnt(b, TRACE_READ_BURN_IN | TRACE_VERIFY);
	assert_int_equal(trace_reader_next(r, &got, &n, NULL), 0);
	assert_int_equal(trace_reader_snapshot(r, TRACE_BURN_IN, &map, NULL), 0);
	frame_map_destroy(map);
	trace_reader_close(r);
}

static void a_burn_in_comes_at_its_place_only(void **state)
{
	struct burnt *b = *state;
	const struct trace_write_options o = {.overwrite = true};
	struct event late = b->events[0], mark = b->events[0];
	struct error err = {0};
	struct trace_writer *w;

	assert_int_equal(trace_writer_create(b->f->path, &b->f->header, &o, &w, NULL), 0);
	/* Not before the start snapshot. */
	assert_int_equal(trace_writer_snapshot(w, TRACE_BURN_IN, b->burn_in, &err), -EINVAL);
	assert_non_null(strstr(err.text, "burn-in"));
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, b->start, NULL), 0);
	/* Events not without a snapshot. */
	assert_int_equal(trace_writer_burn_in_events(w, b->events, 1, NULL), -EINVAL);
	/* Not later than the start. */
	b->burn_in->time_ns = b->start->time_ns + 1;
	assert_int_equal(trace_writer_snapshot(w, TRACE_BURN_IN, b->burn_in, NULL), -EINVAL);
	b->burn_in->time_ns = b->events[0].time_ns;
	assert_int_equal(trace_writer_snapshot(w, TRACE_BURN_IN, b->burn_in, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_BURN_IN, b->burn_in, NULL), -EINVAL);
	late.time_ns = b->start->time_ns + 1;
	assert_int_equal(trace_writer_burn_in_events(w, &late, 1, &err), -ERANGE);
	assert_non_null(strstr(err.text, "start snapshot"));
	late.time_ns = b->burn_in->time_ns - 1;
	assert_int_equal(trace_writer_burn_in_events(w, &late, 1, NULL), -ERANGE);
	mark.kind = EVENT_MARK;
	mark.pfn = PFN_NONE;
	assert_int_equal(trace_writer_burn_in_events(w, &mark, 1, NULL), -ERANGE);
	assert_int_equal(trace_writer_burn_in_events(w, b->events, 2, NULL), 0);
	assert_int_equal(trace_writer_events(w, b->events, 1, NULL), -ERANGE);
	assert_int_equal(trace_writer_events(w, b->events + BEFORE, 1, NULL), 0);
	/* Not behind the first event. */
	assert_int_equal(trace_writer_burn_in_events(w, b->events + 2, 1, NULL), -EINVAL);
	assert_int_equal(trace_writer_close(w, NULL, NULL), 0);
}

static void a_burn_in_snapshot_must_fit_the_machine(void **state)
{
	struct burnt *b = *state;
	struct frame_map *fresh;
	struct machine *other;
	struct trace_writer *w;
	struct error err;

	/* Memory that is offline in the header, but managed before. */
	assert_int_equal(machine_copy(b->f->machine, &other, NULL), 0);
	other->nr_absent--;
	assert_int_equal(frame_map_fresh(other, &fresh, NULL), 0);
	fresh->time_ns = b->burn_in->time_ns;
	assert_int_equal(trace_writer_create(b->f->path, &b->f->header,
					     &(struct trace_write_options){.overwrite = true}, &w,
					     NULL),
			 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_START, b->start, NULL), 0);
	assert_int_equal(trace_writer_snapshot(w, TRACE_BURN_IN, fresh, &err), -EINVAL);
	assert_non_null(strstr(err.text, "burn-in snapshot: run "));
	trace_writer_abort(w);
	frame_map_destroy(fresh);
	machine_destroy(other);
}

/* ---- damage ---- */

static size_t list_sections(const struct burnt *b, struct section *out, size_t max)
{
	size_t n = 0;

	for (uint64_t at = FILE_HEADER_BYTES; at < b->n; at = section_end(&out[n++])) {
		assert_true(n < max);
		assert_true(section_decode(b->good + at, at, &out[n]));
	}
	return n;
}

/* Does a reading of everything fail, or else give exactly what was written? */
static bool detected_or_harmless(struct burnt *b, struct error *err)
{
	struct frame_map *const maps[] = {b->start, b->end, b->burn_in};
	const struct event *got;
	struct trace_reader *r;
	struct frame_map *map;
	size_t n, at = 0;
	int ret = trace_reader_open(b->f->path, TRACE_VERIFY | TRACE_READ_BURN_IN, &r, err);

	if (ret)
		return ret == -EBADMSG || ret == -EPROTONOSUPPORT;
	for (int which = TRACE_START; !ret && which <= TRACE_BURN_IN; which++) {
		ret = trace_reader_snapshot(r, (enum trace_snapshot)which, &map, err);
		if (!ret) {
			assert_same_map(map, maps[which]);
			frame_map_destroy(map);
		}
	}
	while (!ret && (ret = trace_reader_next(r, &got, &n, err)) == 1) {
		for (size_t i = 0; i < n; i++, at++)
			if (at >= BEFORE + EVENTS || !same_event(&got[i], &b->events[at]))
				return false;
		ret = 0;
	}
	trace_reader_close(r);
	return ret == -EBADMSG || (ret == 0 && at == BEFORE + EVENTS);
}

static void every_single_byte_is_under_a_checksum(void **state)
{
	struct burnt *b = *state;

	for (size_t i = 0; i < b->n; i++) {
		struct error err = {0};

		memcpy(b->bad, b->good, b->n);
		b->bad[i] ^= 0x41;
		store_file(b->f->path, b->bad, b->n);
		if (!detected_or_harmless(b, &err))
			fail_msg("byte %zu: wrong contents: %s", i, err.text);
		if (!err.code || !strstr(err.text, b->f->path) || !strstr(err.text, "byte "))
			fail_msg("byte %zu: silent, no file or no place: %s", i, err.text);
	}
}

struct salvaged {
	struct event got[BEFORE + EVENTS];
	size_t n, told, first_after; /* index of the first event behind the start snapshot */
	uint64_t lost;
};

static bool salvage(struct burnt *b, unsigned int flags, struct salvaged *s)
{
	const struct event *events;
	struct trace_reader *r;
	struct error err;
	uint64_t time = 0;
	size_t n;
	int ret;

	*s = (struct salvaged){0};
	if (trace_reader_open(b->f->path, TRACE_SALVAGE | flags, &r, &err))
		return false;
	while ((ret = trace_reader_next(r, &events, &n, &err)) != 0) {
		if (ret < 0) {
			assert_int_equal(ret, -EBADMSG);
			assert_true(++s->told < 100);
			continue;
		}
		for (size_t i = 0; i < n; i++) {
			assert_true(events[i].time_ns >= time);
			time = events[i].time_ns;
			if (events[i].kind == EVENT_LOST && events[i].arg != 7 &&
			    events[i].arg != 100) {
				s->lost += events[i].arg;
				continue;
			}
			assert_true(s->n < BEFORE + EVENTS);
			s->first_after += time <= b->start->time_ns;
			s->got[s->n++] = events[i];
		}
	}
	trace_reader_close(r);
	return true;
}

/* Events in block @k of the file, counted over burn-in and recording; @first: the first one's number. */
static size_t block_events(size_t k, size_t *first)
{
	size_t before = (BEFORE + BLOCK_EVENTS - 1) / BLOCK_EVENTS;
	size_t start = k < before ? 0 : BEFORE, end = k < before ? BEFORE : BEFORE + EVENTS;

	*first = start + (k < before ? k : k - before) * BLOCK_EVENTS;
	return end - *first < BLOCK_EVENTS ? end - *first : BLOCK_EVENTS;
}

static void expect_all_but(struct burnt *b, const struct salvaged *s, size_t missing, size_t at)
{
	size_t next = 0, first, n;

	for (size_t k = 0; k < 10; k++) {
		n = block_events(k, &first);
		for (size_t i = 0; k != missing && i < n; i++, next++)
			if (next >= s->n || !same_event(&s->got[next], &b->events[first + i]))
				fail_msg("byte %zu: event %zu is missing", at, first + i);
	}
	assert_int_equal(next, s->n);
}

/* Damage in any section costs the block it hits and no other, and the counts are exact. */
static void salvage_yields_all_other_blocks(void **state)
{
	struct burnt *b = *state;
	struct section sections[40];
	size_t nr = list_sections(b, sections, ARRAY_SIZE(sections)), block = 0;
	struct salvaged *s = malloc(sizeof(*s));

	assert_non_null(s);
	for (size_t i = 1; i + 1 < nr; i++) {
		bool is_block = sections[i].type == SECTION_EVENTS ||
				sections[i].type == SECTION_BURN_IN_EVENTS;
		size_t first, n = is_block ? block_events(block, &first) : 0;

		for (size_t at = (size_t)sections[i].offset; at < section_end(&sections[i]);
		     at += 13) {
			memcpy(b->bad, b->good, b->n);
			b->bad[at] ^= 0x55;
			store_file(b->f->path, b->bad, b->n);
			assert_true(salvage(b, TRACE_READ_BURN_IN, s));
			expect_all_but(b, s, is_block ? block : NONE, at);
			/* If its end is damaged, nobody knows whether there was more. */
			assert_int_equal(s->lost, sections[i].type == SECTION_BURN_IN_END ? 1 : n);
			if (is_block)
				assert_int_equal(s->told, 1);
			/* Who does not ask is not told of events there. */
			assert_true(salvage(b, 0, s));
			assert_int_equal(s->first_after, 0);
			assert_int_equal(s->n + (sections[i].type == SECTION_EVENTS ? n : 0),
					 EVENTS);
			assert_int_equal(s->lost, sections[i].type == SECTION_EVENTS ? n : 0);
		}
		block += is_block;
	}
	assert_int_equal(block, 10);
	free(s);
}

static void a_file_cut_anywhere_yields_its_whole_blocks(void **state)
{
	struct burnt *b = *state;
	struct section sections[40];
	size_t nr = list_sections(b, sections, ARRAY_SIZE(sections));
	struct salvaged *s = malloc(sizeof(*s));

	assert_non_null(s);
	for (size_t n = (size_t)section_end(&sections[0]); n < b->n; n += 3) {
		size_t whole = 0, blocks = 0, first;
		bool begun = false, ended = false;

		for (size_t i = 0; i < nr && section_end(&sections[i]) <= n; i++) {
			begun |= sections[i].type >= SECTION_BURN_IN_SNAPSHOT;
			ended |= sections[i].type == SECTION_BURN_IN_END;
			if (sections[i].type == SECTION_EVENTS ||
			    sections[i].type == SECTION_BURN_IN_EVENTS)
				whole += block_events(blocks++, &first);
		}
		memcpy(b->bad, b->good, n);
		store_file(b->f->path, b->bad, n);
		assert_true(salvage(b, TRACE_READ_BURN_IN, s));
		assert_int_equal(s->n, whole);
		for (size_t i = 0; i < s->n; i++)
			assert_true(same_event(&s->got[i], &b->events[i]));
		assert_int_equal(s->told, 1);
		/* Of the recording's end, and of the burn-in's. */
		assert_int_equal(s->lost, 1 + (begun && !ended));
	}
	free(s);
}

/* Put the burn-in's sections elsewhere, with right checksums, and a footer that knows its place. */
static size_t rearrange(struct burnt *b, const struct section *sections, const size_t *order,
			size_t nr)
{
	size_t at = (size_t)sections[0].offset;

	memcpy(b->bad, b->good, at);
	for (size_t i = 0; i < nr; i++) {
		struct section s = sections[order[i]];
		struct trace_totals totals;
		struct file_end end;

		memcpy(b->bad + at, b->good + s.offset, SECTION_HEADER_BYTES + s.payload_bytes);
		s.offset = at;
		section_encode(&s, b->bad + at);
		if (s.type == SECTION_END) {
			assert_true(end_decode(b->good + b->n - END_BYTES, b->n, &end, &totals));
			end.file_bytes = at + END_BYTES;
			end.index = end.end_snapshot = 0;
			end_encode(&end, &totals, b->bad + at);
		}
		at = (size_t)section_end(&s);
	}
	return at;
}

static void a_burn_in_out_of_place_is_refused(void **state)
{
	struct burnt *b = *state;
	struct section sections[40];
	size_t nr = list_sections(b, sections, ARRAY_SIZE(sections)), order[40], k;
	size_t snapshot = 2, end = 2; /* HEADER, SNAPSHOT, BURN_IN_SNAPSHOT */
	struct trace_reader *r;
	struct error err = {0};

	assert_int_equal(sections[snapshot].type, SECTION_BURN_IN_SNAPSHOT);
	while (sections[end].type != SECTION_BURN_IN_END)
		end++;
	for (int variant = 0; variant < 5; variant++) {
		k = 0;
		for (size_t i = 0; i < nr; i++) {
			bool out = (variant == 0 && i == snapshot) || (variant == 1 && i == end) ||
				   (variant == 2 && i == end) || (variant == 3 && i == snapshot);

			if (!out)
				order[k++] = i;
			if (variant == 2 && i == end + 1)
				order[k++] = end; /* behind the first event */
			if (variant == 3 && i == snapshot + 1)
				order[k++] = snapshot; /* behind its first events */
			if (variant == 4 && i == end)
				order[k++] = snapshot; /* twice */
		}
		store_file(b->f->path, b->bad, rearrange(b, sections, order, k));
		for (unsigned int flags = 0; flags <= TRACE_READ_BURN_IN;
		     flags += TRACE_READ_BURN_IN) {
			assert_int_equal(trace_reader_open(b->f->path, flags, &r, &err), -EBADMSG);
			assert_non_null(strstr(err.text, "burn-in"));
		}
	}
}

/* b->bad: the good file, but with @section of file @donor, which has as many bytes, checksums right. */
static void graft(struct burnt *b, const struct section *section, const uint8_t *donor)
{
	struct section s;

	assert_true(section_decode(donor + section->offset, section->offset, &s));
	assert_int_equal(s.type, section->type);
	assert_int_equal(s.payload_bytes, section->payload_bytes);
	memcpy(b->bad, b->good, b->n);
	memcpy(b->bad + s.offset, donor + s.offset, SECTION_HEADER_BYTES + (size_t)s.payload_bytes);
	store_file(b->f->path, b->bad, b->n);
}

/* Two traces change their burn-in snapshots: every checksum is right, but it is not what was written. */
static void another_trace_s_burn_in_is_noticed(void **state)
{
	struct burnt *b = *state;
	struct section sections[40];
	const struct event *got;
	struct trace_reader *r;
	struct error err = {0};
	uint8_t *donor;
	size_t n;
	int ret;

	list_sections(b, sections, ARRAY_SIZE(sections));
	b->burn_in->zones[1].managed ^= 1;
	write_burnt(b, true, NULL);
	donor = load_file(b->f->path, &n);
	graft(b, &sections[2], donor);
	r = open_burnt(b, TRACE_VERIFY);
	while ((ret = trace_reader_next(r, &got, &n, &err)) == 1)
		;
	assert_int_equal(ret, 0);
	trace_reader_close(r);
	r = open_burnt(b, TRACE_VERIFY | TRACE_READ_BURN_IN);
	while ((ret = trace_reader_next(r, &got, &n, &err)) == 1)
		;
	assert_int_equal(ret, -EBADMSG);
	assert_non_null(strstr(err.text, "burn-in"));
	trace_reader_close(r);
	free(donor);
}

/* The same with a snapshot of another machine, and one of another time. */
static void a_burn_in_must_fit_when_read(void **state)
{
	struct burnt *b = *state;
	const struct trace_header header = b->f->header;
	struct machine *other;
	struct section sections[40];
	struct trace_reader *r;
	struct frame_map *map;
	struct error err = {0};
	const struct event *got;
	uint8_t *donor;
	size_t n;

	list_sections(b, sections, ARRAY_SIZE(sections));
	/* One frame less is reserved, with snapshots that agree. */
	assert_int_equal(machine_copy(b->f->machine, &other, NULL), 0);
	other->absent[0].range.end--;
	b->f->header.machine = other;
	for (int i = 0; i < 2; i++) {
		struct frame_map *m = i ? b->start : b->burn_in;

		assert_int_equal(m->runs[0].state, FRAME_RESERVED);
		m->runs[0].frames--;
		m->runs[1].start--;
		m->runs[1].frames++;
	}
	write_burnt(b, true, NULL);
	b->f->header = header;
	donor = load_file(b->f->path, &n);
	graft(b, &sections[2], donor);
	r = open_burnt(b, TRACE_READ_BURN_IN);
	assert_int_equal(trace_reader_snapshot(r, TRACE_BURN_IN, &map, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "burn-in snapshot: run "));
	trace_reader_close(r);
	free(donor);
	machine_destroy(other);
	/* A start snapshot earlier than the events before it. */
	for (int i = 0; i < 2; i++) {
		struct frame_map *m = i ? b->start : b->burn_in;

		m->runs[0].frames++;
		m->runs[1].start++;
		m->runs[1].frames--;
	}
	b->start->time_ns--;
	b->events[BEFORE - 1].time_ns--;
	if (b->events[BEFORE - 2].time_ns > b->start->time_ns)
		b->events[BEFORE - 2].time_ns = b->start->time_ns;
	write_burnt(b, true, NULL);
	donor = load_file(b->f->path, &n);
	graft(b, &sections[1], donor);
	r = open_burnt(b, TRACE_READ_BURN_IN);
	while (trace_reader_next(r, &got, &n, &err) == 1)
		;
	assert_int_equal(trace_reader_next(r, &got, &n, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "start snapshot"));
	trace_reader_close(r);
	free(donor);
}

static void a_hostile_burn_in_neither_crashes_nor_hangs(void **state)
{
	struct burnt *b = *state;
	uint64_t random = 4711;

	for (int round = 0; round < 500 * (int)test_effort(); round++) {
		memcpy(b->bad, b->good, b->n);
		for (uint64_t hits = 1 + below(&random, 4); hits; hits--) {
			size_t at = below(&random, b->n - 8);

			switch (below(&random, 4)) {
			case 0:
				b->bad[at] = (uint8_t)next_random(&random);
				break;
			case 1:
				store_u16(b->bad + at, (uint16_t)(8 + below(&random, 3)));
				break;
			case 2:
				store_u64(b->bad + at, extreme(&random, UINT64_MAX));
				break;
			default:
				memmove(b->bad + at, b->bad + below(&random, b->n - 8), 8);
				break;
			}
		}
		LLVMFuzzerTestOneInput(b->bad, b->n);
	}
}

int main(void)
{
#define BURNT(test) cmocka_unit_test_setup_teardown(test, burnt_setup, burnt_teardown)
	const struct CMUnitTest tests[] = {
		BURNT(the_burn_in_comes_first_for_those_who_ask),
		BURNT(everybody_else_sees_what_they_saw_without_it),
		BURNT(a_trace_without_burn_in_reads_the_same_with_the_flag),
		BURNT(the_digest_knows_the_burn_in),
		BURNT(an_empty_burn_in_is_one),
		BURNT(a_burn_in_comes_at_its_place_only),
		BURNT(a_burn_in_snapshot_must_fit_the_machine),
		BURNT(every_single_byte_is_under_a_checksum),
		BURNT(salvage_yields_all_other_blocks),
		BURNT(a_file_cut_anywhere_yields_its_whole_blocks),
		BURNT(a_burn_in_out_of_place_is_refused),
		BURNT(another_trace_s_burn_in_is_noticed),
		BURNT(a_burn_in_must_fit_when_read),
		BURNT(a_hostile_burn_in_neither_crashes_nor_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
