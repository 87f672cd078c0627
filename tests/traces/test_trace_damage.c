/* SPDX-License-Identifier: MIT */
#include "tests/effort.h"
#include "trace_fixture.h"

#include <errno.h>
#include <sys/resource.h>

#include "traces/file/trace_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENTS	     260U
#define BLOCK_EVENTS 50U

struct damage {
	struct fixture *f;
	struct event *events;
	uint8_t *good, *bad; /* the intact file, and room for a damaged one */
	size_t n;
	struct frame_map *start, *end;
};

/* A small file with everything: snapshots, several blocks, names. */
static int damage_setup(void **state)
{
	struct damage *d = calloc(1, sizeof(*d));
	void *f;
	uint64_t seed = 3;

	assert_non_null(d);
	fixture_setup(&f);
	d->f = f;
	d->events = kernel_events(seed, EVENTS);
	write_trace(d->f, &(struct trace_write_options){.block_events = BLOCK_EVENTS, .level = 1},
		    d->events, EVENTS, true, NULL);
	d->good = load_file(d->f->path, &d->n);
	d->bad = malloc(2 * d->n + 4096);
	assert_non_null(d->bad);
	d->start = fixture_map(d->f->machine, 5, 300);
	d->end = fixture_map(d->f->machine, 5, 300);
	d->end->zones[0].boost++;
	*state = d;
	return 0;
}

static int damage_teardown(void **state)
{
	struct damage *d = *state;
	void *f = d->f;

	frame_map_destroy(d->start);
	frame_map_destroy(d->end);
	free(d->events);
	free(d->good);
	free(d->bad);
	free(d);
	return fixture_teardown(&f);
}

static void store_bad(struct damage *d, size_t n)
{
	store_file(d->f->path, d->bad, n);
}

/* Every section of the intact file, in order. */
static size_t list_sections(const struct damage *d, struct section *out, size_t max)
{
	size_t n = 0;

	for (uint64_t at = FILE_HEADER_BYTES; at < d->n; at = section_end(&out[n++])) {
		assert_true(n < max);
		assert_true(section_decode(d->good + at, at, &out[n]));
	}
	return n;
}

/* Does a reading without salvage fail, or else give exactly what was written? */
static bool detected_or_harmless(struct damage *d, struct error *err)
{
	struct trace_reader *r;
	struct frame_map *map;
	const struct event *got;
	size_t k, at = 0;
	int ret = trace_reader_open(d->f->path, TRACE_VERIFY, &r, err);

	if (ret)
		return ret == -EBADMSG || ret == -EPROTONOSUPPORT;
	assert_same_machine(trace_reader_header(r)->machine, d->f->machine);
	for (int which = TRACE_START; !ret && which <= TRACE_END; which++) {
		ret = trace_reader_snapshot(r, (enum trace_snapshot)which, &map, err);
		if (!ret) {
			assert_same_map(map, which == TRACE_START ? d->start : d->end);
			frame_map_destroy(map);
		}
	}
	if (!ret)
		assert_string_equal(trace_reader_mark_name(r, 0), "phase one");
	while (!ret && (ret = trace_reader_next(r, &got, &k, err)) == 1) {
		for (size_t i = 0; i < k; i++, at++)
			if (at >= EVENTS || !same_event(&got[i], &d->events[at]))
				return false;
		ret = 0;
	}
	trace_reader_close(r);
	return ret == -EBADMSG || (ret == 0 && at == EVENTS);
}

static void every_single_byte_matters_or_is_harmless(void **state)
{
	struct damage *d = *state;
	size_t silent = 0;

	for (size_t i = 0; i < d->n; i++) {
		static const uint8_t flips[] = {0x01, 0xff};

		for (size_t k = 0; k < ARRAY_SIZE(flips); k++) {
			struct error err = {0};

			memcpy(d->bad, d->good, d->n);
			d->bad[i] ^= flips[k];
			store_bad(d, d->n);
			if (!detected_or_harmless(d, &err))
				fail_msg("byte %zu ^ %u: wrong contents: %s", i, flips[k],
					 err.text);
			silent += !err.code;
			if (err.code &&
			    (!strstr(err.text, d->f->path) || !strstr(err.text, "byte ")))
				fail_msg("byte %zu: no file or no place: %s", i, err.text);
		}
	}
	/* Every byte is under some checksum. */
	assert_int_equal(silent, 0);
}

/* Read with salvage: intact events in *@got (room for EVENTS), the sum of what is told as lost. */
static int salvage(struct damage *d, struct event *got, size_t *n, uint64_t *lost, size_t *told)
{
	struct trace_reader *r;
	struct error err = {0};
	const struct event *events;
	uint64_t time = 0;
	size_t k;
	int ret = trace_reader_open(d->f->path, TRACE_SALVAGE, &r, &err);

	*n = *told = 0;
	*lost = 0;
	if (ret)
		return ret;
	while ((ret = trace_reader_next(r, &events, &k, &err)) != 0) {
		if (ret < 0) {
			assert_int_equal(ret, -EBADMSG);
			assert_non_null(strstr(err.text, "byte "));
			assert_true(++*told < 100);
			continue;
		}
		for (size_t i = 0; i < k; i++) {
			assert_true(events[i].time_ns >= time);
			time = events[i].time_ns;
			if (events[i].kind == EVENT_LOST) {
				assert_int_equal(events[i].pfn, PFN_NONE);
				*lost += events[i].arg;
				continue;
			}
			assert_true(*n < EVENTS);
			got[(*n)++] = events[i];
		}
	}
	trace_reader_close(r);
	return 0;
}

static void a_file_cut_anywhere_yields_its_whole_blocks(void **state)
{
	struct damage *d = *state;
	struct section sections[32];
	size_t nr = list_sections(d, sections, ARRAY_SIZE(sections));
	struct event got[EVENTS];

	for (size_t n = 0; n < d->n; n++) {
		struct trace_reader *r;
		struct error err = {0};
		size_t whole = 0, k, told;
		uint64_t lost;
		int ret;

		memcpy(d->bad, d->good, n);
		store_bad(d, n);
		assert_int_equal(trace_reader_open(d->f->path, 0, &r, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "byte "));
		for (size_t i = 0; i < nr; i++)
			if (sections[i].type == SECTION_EVENTS && section_end(&sections[i]) <= n)
				whole += whole + BLOCK_EVENTS <= EVENTS ? BLOCK_EVENTS
									: EVENTS - whole;
		ret = salvage(d, got, &k, &lost, &told);
		if (n < section_end(&sections[0])) {
			assert_int_equal(ret, -EBADMSG);
			continue;
		}
		assert_int_equal(ret, 0);
		if (k != whole || lost != 1 || told != 1)
			fail_msg("cut at %zu: %zu of %zu events, %llu lost, told %zu times", n, k,
				 whole, (unsigned long long)lost, told);
		for (size_t i = 0; i < k; i++)
			assert_true(same_event(&got[i], &d->events[i]));
	}
}

/* Damage in any place of the body costs the block it hits and no other, and the count is exact. */
static void salvage_yields_all_intact_blocks(void **state)
{
	struct damage *d = *state;
	struct section sections[32];
	size_t nr = list_sections(d, sections, ARRAY_SIZE(sections));
	struct event got[EVENTS];

	for (size_t s = 1; s + 1 < nr; s++) {
		size_t start = (size_t)sections[s].offset, end = (size_t)section_end(&sections[s]);

		for (size_t at = start; at < end; at += at < start + 40 ? 1 : 37) {
			size_t n, told, expect = 0;
			uint64_t lost;

			memcpy(d->bad, d->good, d->n);
			d->bad[at] ^= 0x55;
			store_bad(d, d->n);
			assert_int_equal(salvage(d, got, &n, &lost, &told), 0);
			for (size_t k = 0, first = 0; k < nr; k++) {
				size_t block = EVENTS - first < BLOCK_EVENTS ? EVENTS - first
									     : BLOCK_EVENTS;

				if (sections[k].type != SECTION_EVENTS)
					continue;
				for (size_t i = 0; k != s && i < block; i++, expect++)
					if (expect >= n ||
					    !same_event(&got[expect], &d->events[first + i]))
						fail_msg("byte %zu: event %zu is missing", at,
							 first + i);
				first += block;
			}
			if (n != expect || n + lost != EVENTS)
				fail_msg("byte %zu: %zu events, %llu lost", at, n,
					 (unsigned long long)lost);
			if (sections[s].type == SECTION_EVENTS)
				assert_int_equal(told, 1);
		}
	}
}

/* A piece cut out of the middle: the same, found by the sync word. */
static void salvage_survives_missing_and_added_bytes(void **state)
{
	struct damage *d = *state;
	struct section sections[32];
	size_t nr = list_sections(d, sections, ARRAY_SIZE(sections)), block = 0;
	struct event got[EVENTS];
	size_t n, told, cut;
	uint64_t lost;

	while (sections[block].type != SECTION_EVENTS)
		block++;
	assert_true(block + 2 < nr);
	/* Overwrite the header of the second block and half of it with sync words. */
	memcpy(d->bad, d->good, d->n);
	for (size_t i = 0; i < 40; i += 4)
		store_u32(d->bad + sections[block + 1].offset + i, SECTION_SYNC);
	store_bad(d, d->n);
	assert_int_equal(salvage(d, got, &n, &lost, &told), 0);
	assert_int_equal(n, EVENTS - BLOCK_EVENTS);
	assert_int_equal(lost, BLOCK_EVENTS);
	assert_true(same_event(&got[BLOCK_EVENTS], &d->events[2 * BLOCK_EVENTS]));
	/* Garbage behind the end: no footer where one is looked for, but all events. */
	memcpy(d->bad, d->good, d->n);
	memset(d->bad + d->n, 0xa5, 100);
	store_bad(d, d->n + 100);
	assert_int_equal(salvage(d, got, &n, &lost, &told), 0);
	assert_int_equal(n, EVENTS);
	/* A byte missing: later sections are not where their checksums say, and are not taken. */
	cut = (size_t)sections[block + 1].offset + 50;
	memcpy(d->bad, d->good, cut);
	memcpy(d->bad + cut, d->good + cut + 1, d->n - cut - 1);
	store_bad(d, d->n - 1);
	assert_int_equal(salvage(d, got, &n, &lost, &told), 0);
	assert_int_equal(n, BLOCK_EVENTS);
	assert_int_equal(lost, 1);
}

/* Put a section of unknown type before the footer. */
static size_t add_section(struct damage *d, uint16_t flags)
{
	uint8_t *at = d->bad + d->n - END_BYTES, payload[5] = "later";
	struct section s = {
		.offset = d->n - END_BYTES,
		.type = 999,
		.flags = flags,
		.payload_bytes = sizeof(payload),
		.payload_hash = layout_hash(payload, sizeof(payload)),
	};
	struct trace_totals totals;
	struct file_end end;

	memcpy(d->bad, d->good, d->n);
	assert_true(end_decode(d->good + d->n - END_BYTES, d->n, &end, &totals));
	section_encode(&s, at);
	memcpy(at + SECTION_HEADER_BYTES, payload, sizeof(payload));
	end.file_bytes = section_end(&s) + END_BYTES;
	end_encode(&end, &totals, d->bad + section_end(&s));
	return (size_t)end.file_bytes;
}

static void an_unknown_section_is_skipped_if_it_may_be(void **state)
{
	struct damage *d = *state;
	struct trace_reader *r;
	struct error err = {0};

	store_bad(d, add_section(d, 0));
	assert_true(detected_or_harmless(d, &err));
	assert_int_equal(err.code, 0);
	store_bad(d, add_section(d, SECTION_CRITICAL));
	assert_int_equal(trace_reader_open(d->f->path, 0, &r, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "type 999"));
}

static void a_later_version_or_feature_is_refused_politely(void **state)
{
	struct damage *d = *state;
	struct trace_reader *r;
	struct error err = {0};

	for (int i = 0; i < 3; i++) {
		memcpy(d->bad, d->good, d->n);
		if (i == 0)
			store_u32(d->bad + 8, 2);
		else if (i == 1)
			store_u64(d->bad + 24, 1);
		else
			store_u64(d->bad + 16, UINT64_C(1) << 40);
		store_u64(d->bad + 56, layout_hash(d->bad, 56));
		store_bad(d, d->n);
		if (i == 2) { /* a compatible feature is no reason to refuse */
			assert_true(detected_or_harmless(d, &err));
			continue;
		}
		assert_int_equal(trace_reader_open(d->f->path, TRACE_SALVAGE, &r, &err),
				 -EPROTONOSUPPORT);
		assert_non_null(strstr(err.text, d->f->path));
		assert_non_null(strstr(err.text, "newer"));
		err = (struct error){0};
	}
}

static void what_is_no_trace_is_told_so(void **state)
{
	struct damage *d = *state;
	struct trace_reader *r;
	struct error err = {0};

	memset(d->bad, '#', 300);
	store_bad(d, 300);
	assert_int_equal(trace_reader_open(d->f->path, 0, &r, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "not a quire trace"));
	store_bad(d, 0);
	assert_int_equal(trace_reader_open(d->f->path, TRACE_SALVAGE, &r, &err), -EBADMSG);
	assert_int_equal(trace_reader_open(d->f->directory, 0, &r, &err), -EISDIR);
	unlink(d->f->path);
	assert_int_equal(trace_reader_open(d->f->path, 0, &r, &err), -ENOENT);
	assert_non_null(strstr(err.text, d->f->path));
}

static void a_failure_stays_without_salvage(void **state)
{
	struct damage *d = *state;
	struct section sections[32];
	size_t nr = list_sections(d, sections, ARRAY_SIZE(sections)), i = 0, k;
	const struct event *got;
	struct trace_reader *r;
	struct error first = {0}, second = {0};
	int ret;

	while (i < nr && sections[i].type != SECTION_EVENTS)
		i++;
	memcpy(d->bad, d->good, d->n);
	d->bad[sections[i + 1].offset + SECTION_HEADER_BYTES + 9] ^= 4;
	store_bad(d, d->n);
	assert_int_equal(trace_reader_open(d->f->path, 0, &r, NULL), 0);
	assert_int_equal(trace_reader_next(r, &got, &k, NULL), 1);
	ret = trace_reader_next(r, &got, &k, &first);
	assert_int_equal(ret, -EBADMSG);
	assert_int_equal(trace_reader_next(r, &got, &k, &second), ret);
	assert_string_equal(first.text, second.text);
	trace_reader_close(r);
}

/* Blocks and footers that are whole but lie. */
static void a_hostile_file_neither_crashes_nor_grows_nor_hangs(void **state)
{
	struct damage *d = *state;
	struct rlimit old, limit;
	uint64_t random = 12345;

	/* No gigabytes; but a sanitizer's shadow needs all the address space. */
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	limit = old;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
	limit.rlim_cur = UINT64_C(2) << 30;
#endif
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (int round = 0; round < 700 * (int)test_effort(); round++) {
		size_t n = d->n, hits = 1 + below(&random, 4);

		memcpy(d->bad, d->good, n);
		for (size_t i = 0; i < hits; i++) {
			size_t at = below(&random, n - 8);

			switch (below(&random, 5)) {
			case 0:
				d->bad[at] = (uint8_t)next_random(&random);
				break;
			case 1:
				d->bad[at] = below(&random, 2) ? 0xff : 0;
				break;
			case 2:
				store_u32(d->bad + at, (uint32_t)extreme(&random, UINT32_MAX));
				break;
			case 3:
				store_u64(d->bad + at, extreme(&random, UINT64_MAX));
				break;
			default:
				memmove(d->bad + at, d->bad + below(&random, n - 8), 8);
				break;
			}
		}
		LLVMFuzzerTestOneInput(d->bad, n);
	}
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
}

/* The same for raw columns, which compression hides from the mutations above. */
static void a_hostile_block_neither_crashes_nor_gives_events_out_of_range(void **state)
{
	struct damage *d = *state;
	const struct event_limits limits = {.pfn_end = FIXTURE_FRAMES, .nr_cpus = FIXTURE_CPUS};
	struct event *out = malloc(BLOCK_EVENTS_MAX * sizeof(*out));
	struct bytes payload = {0}, raw = {0}, bad = {0};
	struct block_encoder *encoder;
	struct block_decoder *decoder;
	ZSTD_DCtx *unzip = ZSTD_createDCtx();
	uint64_t random = 99, accepted = 0;

	assert_true(out && unzip);
	assert_int_equal(block_encoder_create(1, &encoder), 0);
	assert_int_equal(block_decoder_create(&decoder), 0);
	assert_int_equal(block_encode(encoder, d->events, EVENTS, 0, &payload), 0);
	for (int round = 0; round < 5000 * (int)test_effort(); round++) {
		struct cursor in = {.at = payload.data + BLOCK_HEADER_BYTES,
				    .end = payload.data + payload.size};
		size_t n, victim = below(&random, 16), column = 0;

		bad.size = 0;
		bytes_put(&bad, payload.data, BLOCK_HEADER_BYTES);
		while (cursor_left(&in)) {
			assert_int_equal(packed_get(unzip, &in, &raw, 1 << 20, NULL, 0), 0);
			for (uint64_t hits = column++ == victim ? 1 + below(&random, 3) : 0;
			     hits && raw.size; hits--) {
				raw.data[below(&random, raw.size)] = (uint8_t)next_random(&random);
				raw.size -= below(&random, 20) == 0;
			}
			/* Stored as it is: both lengths equal. */
			bytes_put_u32(&bad, (uint32_t)raw.size);
			bytes_put_u32(&bad, (uint32_t)raw.size);
			bytes_put(&bad, raw.data, raw.size);
		}
		if (decode_block(decoder, &bad, &limits, out, &n, NULL))
			continue;
		accepted++;
		for (size_t i = 0; i < n; i++)
			if (event_check(&out[i], &limits) ||
			    (i && out[i].time_ns < out[i - 1].time_ns))
				fail_msg("round %d: event %zu is out of range", round, i);
	}
	assert_true(accepted > 30);
	bytes_free(&payload);
	bytes_free(&raw);
	bytes_free(&bad);
	block_encoder_destroy(encoder);
	block_decoder_destroy(decoder);
	ZSTD_freeDCtx(unzip);
	free(out);
}

int main(void)
{
#define DAMAGE(test) cmocka_unit_test_setup_teardown(test, damage_setup, damage_teardown)
	const struct CMUnitTest tests[] = {
		DAMAGE(every_single_byte_matters_or_is_harmless),
		DAMAGE(a_file_cut_anywhere_yields_its_whole_blocks),
		DAMAGE(salvage_yields_all_intact_blocks),
		DAMAGE(salvage_survives_missing_and_added_bytes),
		DAMAGE(an_unknown_section_is_skipped_if_it_may_be),
		DAMAGE(a_later_version_or_feature_is_refused_politely),
		DAMAGE(what_is_no_trace_is_told_so),
		DAMAGE(a_failure_stays_without_salvage),
		DAMAGE(a_hostile_file_neither_crashes_nor_grows_nor_hangs),
		DAMAGE(a_hostile_block_neither_crashes_nor_gives_events_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
