/* SPDX-License-Identifier: MIT */
/*
 * What a reader refuses the check calls damaged or needing a newer program, and the other way round: case
 * by case, each a file whose checksums are all right.
 */
#include <errno.h>

#include "tests/traces/trace_image.h"
#include "traces/file/trace_check.h"

#define EVENTS	     200U
#define BLOCK_EVENTS 60U

struct checked {
	struct fixture *f;
	struct image im;
	int fd;
	char path[32], told[ERROR_TEXT_MAX];
	unsigned int tellings;
};

static int checked_setup(void **state)
{
	const struct trace_write_options options = {.block_events = BLOCK_EVENTS, .level = 1};
	struct checked *c = calloc(1, sizeof(*c));
	struct event *events = kernel_events(4, EVENTS);
	uint8_t *data;
	size_t n;
	void *f;

	assert_non_null(c);
	fixture_setup(&f);
	c->f = f;
	c->fd = memfd_create("trace", MFD_CLOEXEC);
	assert_true(c->fd >= 0);
	snprintf(c->path, sizeof(c->path), "/proc/self/fd/%d", c->fd);
	write_trace(c->f, &options, events, EVENTS, true, NULL);
	data = load_file(c->f->path, &n);
	image_load(&c->im, data, n);
	free(data);
	free(events);
	*state = c;
	return 0;
}

static int checked_teardown(void **state)
{
	struct checked *c = *state;
	void *f = c->f;

	image_free(&c->im);
	close(c->fd);
	free(c);
	return fixture_teardown(&f);
}

static void take_damage(void *arg, const struct error *damage)
{
	struct checked *c = arg;

	assert_int_equal(damage->code, EBADMSG);
	memcpy(c->told, damage->text, sizeof(c->told));
	c->tellings++;
}

/* What a reading that stops at damage says. */
static int read_strictly(const struct checked *c, unsigned int flags, struct error *err)
{
	const struct event *events;
	struct trace_reader *r;
	struct frame_map *map;
	size_t n;
	int ret = trace_reader_open(c->path, flags, &r, err);

	if (ret)
		return ret;
	for (int which = TRACE_START; !ret && which <= TRACE_END; which++) {
		ret = trace_reader_snapshot(r, (enum trace_snapshot)which, &map, err);
		if (!ret)
			frame_map_destroy(map);
	}
	while (!ret && (ret = trace_reader_next(r, &events, &n, err)) > 0)
		ret = 0;
	trace_reader_close(r);
	return ret;
}

/* Both find @word; the reader without being asked to compare, too, unless @compared. */
static void both_refuse(struct checked *c, int code, bool compared, const char *word)
{
	struct trace_check check;
	struct error err = {0};
	int ret;

	c->tellings = 0;
	ret = trace_check(c->path, take_damage, c, &check, &err);
	assert_false(check.intact);
	if (code == -EBADMSG) {
		assert_int_equal(ret, 0);
		assert_int_equal(check.damages, c->tellings);
		assert_true(c->tellings > 0);
	} else {
		assert_int_equal(ret, code);
		memcpy(c->told, err.text, sizeof(c->told));
	}
	if (!strstr(c->told, word) || !strstr(c->told, c->path) || !strstr(c->told, "byte "))
		fail_msg("'%s' does not say %s", c->told, word);
	assert_int_equal(read_strictly(c, compared ? TRACE_VERIFY : 0, &err), code);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say %s", err.text, word);
	assert_int_equal(read_strictly(c, TRACE_VERIFY | TRACE_READ_BURN_IN, &err), code);
}

static void what_a_writer_wrote_is_intact(void **state)
{
	struct checked *c = *state;
	struct trace_check check;

	for (int put = 0; put < 2; put++) {
		const char *path = put ? c->path : c->f->path;

		if (put)
			image_put(&c->im, c->fd, c->path);
		assert_int_equal(trace_check(path, take_damage, c, &check, NULL), 0);
		assert_true(check.intact && check.has_footer);
		assert_int_equal(check.events, EVENTS);
		assert_int_equal(check.events_written, EVENTS);
		assert_int_equal(check.damages + c->tellings + check.lost_to_damage, 0);
	}
}

static void a_critical_section_nobody_knows_needs_a_newer_program(void **state)
{
	struct checked *c = *state;
	struct error err;

	image_insert(&c->im, 2, 999, SECTION_CRITICAL, "later", 5);
	image_put(&c->im, c->fd, c->path);
	both_refuse(c, -EPROTONOSUPPORT, false, "newer program");
	/* It may be what makes sense of the rest: nothing to salvage without. */
	assert_int_equal(read_strictly(c, TRACE_SALVAGE, &err), -EPROTONOSUPPORT);
}

static void what_there_is_one_of_comes_once(void **state)
{
	static const uint16_t types[] = {SECTION_HEADER, SECTION_SNAPSHOT, SECTION_MARKS,
					 SECTION_END};
	struct checked *c = *state;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		size_t from = image_find(&c->im, types[i], 0), to = 2;
		struct image_section s = c->im.section[from];

		image_insert(&c->im, to, s.type, s.flags, s.payload.data, s.payload.size);
		image_put(&c->im, c->fd, c->path);
		both_refuse(c, -EBADMSG, false, "a second section");
		image_remove(&c->im, to);
	}
}

static void what_the_footer_names_is_there(void **state)
{
	struct checked *c = *state;
	struct image_section *end = &c->im.section[c->im.n - 1];

	assert_int_equal(end->type, SECTION_END);
	image_put(&c->im, c->fd, c->path);
	for (size_t field = 0; field < 32; field += 8) {
		uint64_t right = load_u64(end->payload.data + field);

		store_u64(end->payload.data + field, right + 1);
		image_write(&c->im, c->fd);
		both_refuse(c, -EBADMSG, false, "section");
		store_u64(end->payload.data + field, right);
	}
}

static void times_end_before_two_to_the_63rd(void **state)
{
	const uint64_t times[] = {TRACE_TIME_MAX, TRACE_TIME_MAX + 1, UINT64_MAX};
	struct checked *c = *state;
	size_t last = image_find(&c->im, SECTION_EVENTS, 3);
	uint8_t *p = c->im.section[last].payload.data + 8;
	uint64_t span = load_u64(p + 8) - load_u64(p);
	struct trace_check check;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		store_u64(p, times[i] - span);
		store_u64(p + 8, times[i]);
		image_put(&c->im, c->fd, c->path);
		if (times[i] > TRACE_TIME_MAX) {
			both_refuse(c, -EBADMSG, false, "2^63 - 1");
			continue;
		}
		assert_int_equal(trace_check(c->path, NULL, NULL, &check, NULL), 0);
		assert_true(check.intact);
	}
}

static void a_block_that_was_taken_out_is_missed(void **state)
{
	struct checked *c = *state;
	struct image_section *s;

	/* With the counts of the blocks behind it as they were. */
	image_put(&c->im, c->fd, c->path);
	image_remove(&c->im, image_find(&c->im, SECTION_EVENTS, 1));
	image_put(&c->im, c->fd, c->path);
	for (size_t k = 1; k < 3; k++) {
		s = &c->im.section[image_find(&c->im, SECTION_EVENTS, k)];
		store_u64(s->payload.data, (k + 1) * BLOCK_EVENTS);
	}
	image_write(&c->im, c->fd);
	both_refuse(c, -EBADMSG, false, "are missing before it");
}

static void counts_digest_and_index_are_compared(void **state)
{
	static const struct {
		size_t at; /* in the footer's payload */
		const char *word;
	} fields[] = {
		{48, "counts"}, {56, "counts"},	 {72, "counts"},  {80, "counts"},
		{88, "counts"}, {100, "digest"}, {120, "counts"},
	};
	struct checked *c = *state;
	struct image_section *index = &c->im.section[image_find(&c->im, SECTION_INDEX, 0)],
			     *end = &c->im.section[c->im.n - 1];

	image_put(&c->im, c->fd, c->path);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		end->payload.data[fields[i].at] ^= 1;
		image_write(&c->im, c->fd);
		both_refuse(c, -EBADMSG, true, fields[i].word);
		end->payload.data[fields[i].at] ^= 1;
	}
	for (size_t at = INDEX_HEADER_BYTES; at < index->payload.size; at += 8) {
		index->payload.data[at] ^= 1;
		image_write(&c->im, c->fd);
		both_refuse(c, -EBADMSG, true, "index does not list");
		index->payload.data[at] ^= 1;
	}
}

/* Change a raw column of the first section of a type, with everything round it made right. */
static void change_column(struct checked *c, unsigned int type, size_t which,
			  void (*change)(struct bytes *column))
{
	struct image_section *s = &c->im.section[image_find(&c->im, type, 0)];
	struct bytes column[16] = {0};
	size_t from, n = image_columns(s, &from);

	assert_true(image_unpack(&c->im, s, column, from, n));
	change(&column[which]);
	image_repack(s, column, from, n);
	for (size_t i = 0; i < 16; i++)
		bytes_free(&column[i]);
	image_put(&c->im, c->fd, c->path);
}

static void add_byte(struct bytes *column)
{
	bytes_put_u8(column, 0);
}

static void fill_padding(struct bytes *column)
{
	assert_true(column->size > 0);
	column->data[column->size - 1] |= 0x80;
}

static void empty_name(struct bytes *column)
{
	column->size = 0;
	bytes_put_u8(column, 0);
}

static void digest_of(const struct checked *c, char digest[33])
{
	struct trace_reader *r;

	digest[0] = '\0';
	if (trace_reader_open(c->path, 0, &r, NULL))
		return;
	memcpy(digest, trace_reader_totals(r)->digest, 33);
	trace_reader_close(r);
}

static void bits_left_over_fill_a_byte_at_most_and_say_nothing(void **state)
{
	struct checked *c = *state;
	char before[33], after[33];

	image_put(&c->im, c->fd, c->path);
	digest_of(c, before);
	change_column(c, SECTION_EVENTS, 8, fill_padding);
	digest_of(c, after);
	assert_string_equal(before, after);
	for (size_t bits = 8; bits <= 14; bits += 6) {
		change_column(c, SECTION_EVENTS, bits, add_byte);
		both_refuse(c, -EBADMSG, false, "too short or too long");
	}
}

static void a_mark_has_a_name_of_at_least_a_byte(void **state)
{
	struct checked *c = *state;

	change_column(c, SECTION_MARKS, 0, empty_name);
	both_refuse(c, -EBADMSG, false, "mark's name");
}

/* What the format says of a mark without a name, and of events before the start snapshot's time. */
static void what_is_odd_but_allowed_is_intact(void **state)
{
	struct checked *c = *state;
	struct event odd[] = {
		{.time_ns = 1, .pfn = PFN_NONE, .arg = 7, .kind = EVENT_MARK},
		{.time_ns = 2, .pfn = 3, .order = 4, .kind = EVENT_FREE, .arg = 5, .flags = 0xff},
		{.time_ns = 3, .pfn = PFN_NONE, .arg = UINT64_MAX, .kind = EVENT_LOST},
		{.time_ns = 3, .pfn = PFN_NONE, .arg = 2, .kind = EVENT_LOST},
	};
	struct trace_check check;
	struct trace_reader *r;

	unlink(c->f->path);
	write_trace(c->f, NULL, odd, ARRAY_SIZE(odd), true, NULL);
	assert_int_equal(trace_check(c->f->path, take_damage, c, &check, NULL), 0);
	assert_true(check.intact);
	assert_int_equal(check.events, ARRAY_SIZE(odd));
	assert_int_equal(trace_reader_open(c->f->path, 0, &r, NULL), 0);
	assert_string_equal(trace_reader_mark_name(r, 7), "?");
	trace_reader_close(r);
}

/* Damage is told place by place; what is no trace at all cannot be judged. */
static void damage_is_told_once_for_each_place(void **state)
{
	struct checked *c = *state;
	struct trace_check check;
	struct error err = {0};

	image_put(&c->im, c->fd, c->path);
	for (unsigned int k = 0; k < 2; k++) {
		size_t at = image_find(&c->im, SECTION_EVENTS, 2 * k);
		uint8_t byte = 0;

		assert_int_equal(pwrite(c->fd, &byte, 1,
					(off_t)c->im.section[at].offset + SECTION_HEADER_BYTES + 9),
				 1);
	}
	assert_int_equal(trace_check(c->path, take_damage, c, &check, &err), 0);
	assert_false(check.intact);
	assert_int_equal(check.damages, 2);
	assert_int_equal(c->tellings, 2);
	assert_int_equal(check.lost_to_damage, 2 * BLOCK_EVENTS);
	assert_int_equal(check.events, EVENTS - 2 * BLOCK_EVENTS);
	assert_int_equal(ftruncate(c->fd, 40), 0);
	assert_int_equal(trace_check(c->path, take_damage, c, &check, &err), -EBADMSG);
	assert_int_equal(c->tellings, 2);
}

int main(void)
{
#define CHECKED(test) cmocka_unit_test_setup_teardown(test, checked_setup, checked_teardown)
	const struct CMUnitTest tests[] = {
		CHECKED(what_a_writer_wrote_is_intact),
		CHECKED(a_critical_section_nobody_knows_needs_a_newer_program),
		CHECKED(what_there_is_one_of_comes_once),
		CHECKED(what_the_footer_names_is_there),
		CHECKED(times_end_before_two_to_the_63rd),
		CHECKED(a_block_that_was_taken_out_is_missed),
		CHECKED(counts_digest_and_index_are_compared),
		CHECKED(bits_left_over_fill_a_byte_at_most_and_say_nothing),
		CHECKED(a_mark_has_a_name_of_at_least_a_byte),
		CHECKED(what_is_odd_but_allowed_is_intact),
		CHECKED(damage_is_told_once_for_each_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
