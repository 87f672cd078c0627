/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "results/result.h"
#include "tests/base/seed.h"
#include "tests/effort.h"

/* ---- records to send, and a sink that compares with what was sent ---- */

static struct histogram histogram;
static uint16_t held[70000];

static const struct result_run run = {
	.allocator = "llfree",
	.spec = "llfree:tree=8",
	.options = "tree=8,policy=movable",
	.role = ROLE_HARNESS,
	.allocator_summary = "lock-free \xc3\xa9",
	.trace = "t.quire",
	.trace_digest = "0123456789abcdef0123456789abcdef",
	.trace_note = "",
	.mode = "sequential",
	.label = NULL,
	.point_id = "fedcba9876543210fedcba9876543210",
	.build_id = "b",
	.seed = UINT64_MAX,
	.start_ns = 3,
	.threads = 4,
	.order = -1,
};

static size_t make_records(struct result_record *r)
{
	size_t n = 0;

	histogram_init(&histogram);
	for (uint64_t v = 1; v < 100000; v *= 3)
		histogram_add(&histogram, v);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = (uint16_t)(i * 7);
	r[n++] = (struct result_record){.kind = RESULT_RUN, .run = run};
	r[n] = (struct result_record){.kind = RESULT_SAMPLE};
	r[n].sample.index = 7;
	r[n].sample.end = true;
	r[n].sample.event = UINT64_MAX;
	r[n].sample.time_ns = 9;
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++)
		r[n].sample.state[i] = i % 3 ? i / 7.0 : (double)NAN;
	n++;
	r[n++] = (struct result_record){.kind = RESULT_METRIC, .metric = {METRIC_cas_ns, -0.125}};
	r[n++] = (struct result_record){.kind = RESULT_SPREAD, .spread = {METRIC_cas_ns, 0.25}};
	r[n++] = (struct result_record){
		.kind = RESULT_LATENCY,
		.latency = {LATENCY_ALLOC, LATENCY_ORDER9_10, LATENCY_FALLBACK, 4095, &histogram}};
	r[n++] = (struct result_record){.kind = RESULT_OUTLIER,
					.outlier = {.ns = UINT64_C(1) << 40,
						    .event = UINT64_MAX,
						    .time_ns = 3,
						    .pfn = UINT64_MAX,
						    .rank = 2,
						    .op = LATENCY_TOUCH,
						    .path = LATENCY_REFILL,
						    .order = 10,
						    .migratetype = 4,
						    .cpu = 4095}};
	r[n++] = (struct result_record){.kind = RESULT_FREELIST,
					.freelist = {3, FREELIST_KERNEL, {1, 2, [10] = 1 << 30}}};
	r[n++] =
		(struct result_record){.kind = RESULT_BLOCKMAP,
				       .blockmap = {3, 512, BLOCKMAP_HELD, held, ARRAY_SIZE(held)}};
	r[n++] = (struct result_record){.kind = RESULT_BLOCKMAP,
					.blockmap = {4, 0, BLOCKMAP_OLDEST, held, 0}};
	r[n++] = (struct result_record){
		.kind = RESULT_SETTING,
		.setting = {"prefill", "packed", "", SETTING_QUESTION, false, SETTING_TEXT}};
	r[n++] = (struct result_record){
		.kind = RESULT_SETTING,
		.setting = {"ops", "17", "frames", SETTING_FACT, true, SETTING_NUMBER}};
	r[n++] = (struct result_record){
		.kind = RESULT_METRIC_ROW,
		.row = {METRIC_COUNT,
			"buddy",
			{"refills", "", "lists refilled", METRIC_NEUTRAL, METRIC_EXACT, NULL}}};
	r[n++] = (struct result_record){.kind = RESULT_METRIC_ROW,
					.row = {METRIC_COUNT + 1,
						"dram",
						{"joules_modelled", "J", "energy", METRIC_LOWER,
						 METRIC_MODELLED, "DDR4-2400"}}};
	r[n++] = (struct result_record){.kind = RESULT_METRIC, .metric = {METRIC_COUNT + 1, 2.5}};
	r[n++] = (struct result_record){.kind = RESULT_VALUE,
					.value = {7, METRIC_COUNT + 1, (double)NAN}};
	r[n++] = (struct result_record){.kind = RESULT_COUNTER,
					.counter = {RESULT_AT_END, METRIC_COUNT, UINT64_MAX}};
	r[n++] = (struct result_record){.kind = RESULT_FLAG, .flag = {FLAG_FALLBACK, 3}};
	r[n++] = (struct result_record){.kind = RESULT_DOUBT,
					.doubt = {DOUBT_refuses_most, UINT64_C(1) << 40}};
	r[n++] = (struct result_record){
		.kind = RESULT_HOLDER,
		.holder = {7, UINT64_C(1) << 33, 2, "page_cache", 9, 0xff, 0x140dca, 12, 512, 99}};
	r[n++] = (struct result_record){.kind = RESULT_ACCURACY,
					.accuracy = {ACCURACY_A, ACCURACY_DECIDED,
						     ACCURACY_MIGRATETYPE, 3, NULL, 1000, 999}};
	r[n++] = (struct result_record){.kind = RESULT_ACCURACY,
					.accuracy = {ACCURACY_B, ACCURACY_REFILL, ACCURACY_CAUSE, 0,
						     "list order \xc3\xa9", UINT64_MAX, 0}};
	r[n++] = (struct result_record){.kind = RESULT_ALIVE};
	r[n++] = (struct result_record){.kind = RESULT_WARNING, .warning = {"lost 3 events"}};
	r[n++] = (struct result_record){.kind = RESULT_DONE, .done = {RUN_DONE, NULL, 0}};
	r[n++] = (struct result_record){.kind = RESULT_DONE,
					.done = {RUN_INTERRUPTED, "stopped", EINTR}};
	return n;
}

#define RECORDS_MAX 32

static void assert_same_text(const char *a, const char *b)
{
	if (!a || !b)
		assert_true(a == b);
	else
		assert_string_equal(a, b);
}

static void assert_same_run(const struct result_run *a, const struct result_run *b)
{
	assert_same_text(a->allocator, b->allocator);
	assert_same_text(a->spec, b->spec);
	assert_same_text(a->options, b->options);
	assert_same_text(a->allocator_summary, b->allocator_summary);
	assert_int_equal(a->role, b->role);
	assert_same_text(a->trace, b->trace);
	assert_same_text(a->trace_digest, b->trace_digest);
	assert_same_text(a->trace_note, b->trace_note);
	assert_same_text(a->mode, b->mode);
	assert_same_text(a->label, b->label);
	assert_same_text(a->point_id, b->point_id);
	assert_same_text(a->build_id, b->build_id);
	assert_true(a->seed == b->seed && a->start_ns == b->start_ns);
	assert_true(a->threads == b->threads && a->order == b->order);
}

static void assert_same_holder(const struct result_holder *a, const struct result_holder *b)
{
	assert_true(a->sample == b->sample && a->block == b->block && a->rank == b->rank);
	assert_same_text(a->class_name, b->class_name);
	assert_true(a->order == b->order && a->migratetype == b->migratetype && a->gfp == b->gfp);
	assert_true(a->context == b->context && a->frames == b->frames &&
		    a->since_ns == b->since_ns);
}

static void assert_same_outlier(const struct result_outlier *a, const struct result_outlier *b)
{
	assert_true(a->ns == b->ns && a->event == b->event && a->time_ns == b->time_ns &&
		    a->pfn == b->pfn);
	assert_true(a->rank == b->rank && a->op == b->op && a->path == b->path &&
		    a->order == b->order && a->migratetype == b->migratetype && a->cpu == b->cpu);
}

static void assert_same(const struct result_record *a, const struct result_record *b)
{
	assert_int_equal(a->kind, b->kind);
	switch (a->kind) {
	case RESULT_RUN:
		assert_same_run(&a->run, &b->run);
		break;
	case RESULT_SAMPLE:
		assert_int_equal(a->sample.index, b->sample.index);
		assert_int_equal(a->sample.end, b->sample.end);
		assert_true(a->sample.event == b->sample.event);
		assert_true(a->sample.time_ns == b->sample.time_ns);
		/* Bit by bit, as NaN must come through. */
		assert_memory_equal(a->sample.state, b->sample.state, sizeof(a->sample.state));
		break;
	case RESULT_SETTING:
		assert_same_text(a->setting.key, b->setting.key);
		assert_same_text(a->setting.value, b->setting.value);
		assert_same_text(a->setting.unit, b->setting.unit);
		assert_int_equal(a->setting.role, b->setting.role);
		assert_int_equal(a->setting.usual, b->setting.usual);
		assert_int_equal(a->setting.type, b->setting.type);
		break;
	case RESULT_METRIC_ROW:
		assert_int_equal(a->row.metric, b->row.metric);
		assert_same_text(a->row.source, b->row.source);
		assert_same_text(a->row.info.name, b->row.info.name);
		assert_same_text(a->row.info.unit, b->row.info.unit);
		assert_same_text(a->row.info.help, b->row.info.help);
		assert_int_equal(a->row.info.direction, b->row.info.direction);
		assert_int_equal(a->row.info.kind, b->row.info.kind);
		assert_same_text(a->row.info.model, b->row.info.model);
		break;
	case RESULT_VALUE:
		assert_memory_equal(&a->value, &b->value, sizeof(a->value));
		break;
	case RESULT_COUNTER:
		assert_memory_equal(&a->counter, &b->counter, sizeof(a->counter));
		break;
	case RESULT_FLAG:
		assert_int_equal(a->flag.flag, b->flag.flag);
		assert_true(a->flag.allocs == b->flag.allocs);
		break;
	case RESULT_DOUBT:
		assert_int_equal(a->doubt.doubt, b->doubt.doubt);
		assert_true(a->doubt.count == b->doubt.count);
		break;
	case RESULT_HOLDER:
		assert_same_holder(&a->holder, &b->holder);
		break;
	case RESULT_METRIC:
		assert_int_equal(a->metric.metric, b->metric.metric);
		assert_true(a->metric.value == b->metric.value);
		break;
	case RESULT_SPREAD:
		assert_int_equal(a->spread.metric, b->spread.metric);
		assert_true(a->spread.value == b->spread.value);
		break;
	case RESULT_OUTLIER:
		assert_same_outlier(&a->outlier, &b->outlier);
		break;
	case RESULT_LATENCY:
		assert_int_equal(a->latency.op, b->latency.op);
		assert_int_equal(a->latency.order_class, b->latency.order_class);
		assert_int_equal(a->latency.path, b->latency.path);
		assert_int_equal(a->latency.cpu, b->latency.cpu);
		assert_memory_equal(a->latency.histogram, b->latency.histogram,
				    sizeof(struct histogram));
		break;
	case RESULT_FREELIST:
		assert_int_equal(a->freelist.sample, b->freelist.sample);
		assert_int_equal(a->freelist.source, b->freelist.source);
		assert_memory_equal(a->freelist.blocks, b->freelist.blocks,
				    sizeof(a->freelist.blocks));
		break;
	case RESULT_BLOCKMAP:
		assert_int_equal(a->blockmap.sample, b->blockmap.sample);
		assert_true(a->blockmap.first_block == b->blockmap.first_block);
		assert_int_equal(a->blockmap.n, b->blockmap.n);
		for (size_t i = 0; i < a->blockmap.n; i++)
			assert_int_equal(a->blockmap.values[i], b->blockmap.values[i]);
		break;
	case RESULT_ACCURACY:
		assert_int_equal(a->accuracy.variant, b->accuracy.variant);
		assert_int_equal(a->accuracy.class_of, b->accuracy.class_of);
		assert_int_equal(a->accuracy.dimension, b->accuracy.dimension);
		assert_int_equal(a->accuracy.key, b->accuracy.key);
		assert_same_text(a->accuracy.cause, b->accuracy.cause);
		assert_true(a->accuracy.choices == b->accuracy.choices &&
			    a->accuracy.correct == b->accuracy.correct);
		break;
	case RESULT_ALIVE:
		break;
	case RESULT_WARNING:
		assert_same_text(a->warning.text, b->warning.text);
		break;
	case RESULT_DONE:
		assert_int_equal(a->done.status, b->done.status);
		assert_same_text(a->done.text, b->done.text);
		assert_int_equal(a->done.code, b->done.code);
		break;
	}
}

struct comparing_sink {
	struct result_sink sink;
	const struct result_record *expected;
	size_t taken;
};

static int compare_take(struct result_sink *sink, const struct result_record *record,
			struct error *err)
{
	struct comparing_sink *c = (struct comparing_sink *)(void *)sink;

	(void)err;
	assert_same(&c->expected[c->taken++], record);
	return 0;
}

/* Touches everything a record points at, so that the sanitizer sees what is not there. */
struct touching_sink {
	struct result_sink sink;
	uint64_t sum;
};

static int touch_take(struct result_sink *sink, const struct result_record *r, struct error *err)
{
	struct touching_sink *t = (struct touching_sink *)(void *)sink;

	(void)err;
	switch (r->kind) {
	case RESULT_RUN:
		t->sum += (r->run.allocator ? strlen(r->run.allocator) : 0) +
			  (r->run.build_id ? strlen(r->run.build_id) : 0);
		break;
	case RESULT_OUTLIER:
		assert_true(r->outlier.op < LATENCY_OPS && r->outlier.path < LATENCY_PATHS);
		assert_true(r->outlier.order < RESULT_ORDERS);
		break;
	case RESULT_LATENCY:
		assert_true(r->latency.op < LATENCY_OPS);
		assert_true(r->latency.order_class < LATENCY_CLASSES);
		assert_true(r->latency.path < LATENCY_PATHS);
		t->sum += r->latency.histogram->bucket[HISTOGRAM_BUCKETS - 1];
		break;
	case RESULT_BLOCKMAP:
		for (size_t i = 0; i < r->blockmap.n; i++)
			t->sum += r->blockmap.values[i];
		break;
	case RESULT_METRIC:
		assert_true(r->metric.metric < METRIC_COUNT + RESULT_ROWS_MAX);
		break;
	case RESULT_SPREAD:
		assert_true(r->spread.metric < METRIC_COUNT + RESULT_ROWS_MAX);
		break;
	case RESULT_SETTING:
		assert_true(r->setting.role <= SETTING_FACT);
		assert_true(r->setting.type <= SETTING_BOOL);
		t->sum +=
			strlen(r->setting.key) + strlen(r->setting.value) + strlen(r->setting.unit);
		break;
	case RESULT_METRIC_ROW:
		assert_in_range(r->row.metric, METRIC_COUNT, METRIC_COUNT + RESULT_ROWS_MAX - 1);
		assert_true((r->row.info.model != NULL) == (r->row.info.kind == METRIC_MODELLED));
		t->sum += strlen(r->row.source) + strlen(r->row.info.name) +
			  strlen(r->row.info.unit) + strlen(r->row.info.help);
		break;
	case RESULT_VALUE:
		assert_in_range(r->value.metric, METRIC_COUNT, METRIC_COUNT + RESULT_ROWS_MAX - 1);
		break;
	case RESULT_COUNTER:
		assert_in_range(r->counter.metric, METRIC_COUNT,
				METRIC_COUNT + RESULT_ROWS_MAX - 1);
		break;
	case RESULT_FLAG:
		assert_true(r->flag.flag < FLAG_KINDS);
		break;
	case RESULT_DOUBT:
		assert_true(r->doubt.doubt < DOUBT_KINDS);
		break;
	case RESULT_HOLDER:
		assert_true(r->holder.order < RESULT_ORDERS);
		t->sum += strlen(r->holder.class_name);
		break;
	case RESULT_FREELIST:
		assert_true(r->freelist.source <= FREELIST_EXPLAINED);
		break;
	case RESULT_ACCURACY:
		assert_true(r->accuracy.variant < ACCURACY_VARIANTS);
		assert_true(r->accuracy.class_of < ACCURACY_CLASSES);
		assert_true(r->accuracy.dimension < ACCURACY_DIMENSIONS);
		assert_true((r->accuracy.cause != NULL) ==
			    (r->accuracy.dimension == ACCURACY_CAUSE));
		assert_true(r->accuracy.correct <= r->accuracy.choices);
		t->sum += r->accuracy.cause ? strlen(r->accuracy.cause) : 0;
		break;
	case RESULT_ALIVE:
		break;
	case RESULT_WARNING:
		t->sum += r->warning.text ? strlen(r->warning.text) : 0;
		break;
	case RESULT_DONE:
		assert_true(r->done.status <= RUN_INTERRUPTED);
		t->sum += r->done.text ? strlen(r->done.text) : 0;
		break;
	case RESULT_SAMPLE:
		break;
	}
	return 0;
}

static int memory_file(void)
{
	int fd = memfd_create("records", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* The bytes of one record. Return: malloc'ed. */
static uint8_t *bytes_of(const struct result_record *r, size_t *n)
{
	int fd = memory_file();
	uint8_t *bytes;

	assert_int_equal(result_write(fd, r, NULL), 0);
	*n = (size_t)lseek(fd, 0, SEEK_END);
	bytes = malloc(*n);
	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, *n, 0), *n);
	close(fd);
	return bytes;
}

static int read_bytes(const uint8_t *bytes, size_t n, struct result_sink *sink, struct error *err)
{
	int fd = memory_file(), rc;

	assert_int_equal(write(fd, bytes, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	rc = result_read(fd, sink, err);
	close(fd);
	return rc;
}

/* ---- tests ---- */

/* A child writes, so that records larger than the pipe are read while they are written. */
static void every_kind_of_record_crosses_a_pipe(void **state)
{
	struct result_record records[RECORDS_MAX];
	size_t n = make_records(records);
	struct comparing_sink sink = {.sink = {compare_take}, .expected = records};
	int fd[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		for (size_t i = 0; i < n; i++)
			if (result_write(fd[1], &records[i], NULL) != 0)
				_exit(1);
		_exit(0);
	}
	close(fd[1]);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(result_read(fd[0], &sink.sink, NULL), 1);
	assert_int_equal(result_read(fd[0], &sink.sink, NULL), 0);
	assert_int_equal(sink.taken, n);
	close(fd[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Whatever lengths the records before one have, none of them even for sure. */
static void records_gathered_into_one_write_are_all_read(void **state)
{
	struct result_record records[2 * RECORDS_MAX];
	size_t n = make_records(records), warnings = 0;
	struct comparing_sink sink = {.sink = {compare_take}, .expected = records};
	struct result_writer w = {.fd = memory_file()};

	(void)state;
	/* Each of them behind an odd number of bytes, too. */
	memmove(&records[n], records, n * sizeof(*records));
	for (size_t i = 0; i < n; i++) {
		struct result_record record = records[n + i];

		records[2 * i] = (struct result_record){
			.kind = RESULT_WARNING, .warning = {warnings++ % 2 ? "odd" : "even"}};
		records[2 * i + 1] = record;
	}
	for (size_t i = 0; i < 2 * n; i++)
		assert_int_equal(result_writer_put(&w, &records[i], NULL), 0);
	assert_int_equal(result_writer_flush(&w, NULL), 0);
	assert_int_equal(lseek(w.fd, 0, SEEK_SET), 0);
	for (size_t i = 0; i < 2 * n; i++)
		assert_int_equal(result_read(w.fd, &sink.sink, NULL), 1);
	assert_int_equal(result_read(w.fd, &sink.sink, NULL), 0);
	assert_int_equal(sink.taken, 2 * n);
	close(w.fd);
	result_writer_release(&w);
}

/* All records that have arrived. */
static void take_arrived(struct result_reader *r, struct result_sink *sink)
{
	int rc;

	while ((rc = result_reader_take(r, sink, NULL)) > 0)
		;
	assert_int_equal(rc, 0);
}

static void a_stream_that_arrives_in_two_pieces_is_the_same_wherever_it_is_cut(void **state)
{
	struct result_record records[RECORDS_MAX];
	size_t n = make_records(records), kept = 0;
	struct result_writer w = {.fd = -1};
	int fd[2];

	(void)state;
	/* Without the large ones, so that every cut can be tried. */
	for (size_t i = 0; i < n; i++)
		if (records[i].kind != RESULT_BLOCKMAP && records[i].kind != RESULT_LATENCY)
			records[kept++] = records[i];
	for (size_t i = 0; i < kept; i++)
		assert_int_equal(result_writer_put(&w, &records[i], NULL), 0);
	assert_true(w.used < 65536);
	for (size_t cut = 1; cut < w.used; cut++) {
		struct comparing_sink sink = {.sink = {compare_take}, .expected = records};
		struct result_reader r = {0};

		assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
		r.fd = fd[0];
		assert_int_equal(write(fd[1], w.data, cut), cut);
		assert_int_equal(result_reader_fill(&r, NULL), 1);
		take_arrived(&r, &sink.sink);
		assert_int_equal(write(fd[1], w.data + cut, w.used - cut), w.used - cut);
		assert_int_equal(result_reader_fill(&r, NULL), 1);
		take_arrived(&r, &sink.sink);
		assert_int_equal(sink.taken, kept);
		/* A stream may end here, and nowhere else. */
		if (cut % 7 == 0)
			assert_int_equal(write(fd[1], w.data, cut % 5 + 1), cut % 5 + 1);
		close(fd[1]);
		if (cut % 7 == 0)
			assert_int_equal(result_reader_fill(&r, NULL), 1);
		take_arrived(&r, &sink.sink);
		assert_int_equal(result_reader_fill(&r, NULL), cut % 7 ? 0 : -EPROTO);
		result_reader_release(&r);
		close(fd[0]);
	}
	result_writer_release(&w);
}

static void a_non_blocking_pipe_works_as_well(void **state)
{
	struct result_record records[RECORDS_MAX];
	size_t n = make_records(records);
	struct comparing_sink sink = {.sink = {compare_take}, .expected = records};
	int fd[2];
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		for (size_t i = 0; i < n; i++)
			if (result_write(fd[1], &records[i], NULL) != 0)
				_exit(1);
		_exit(0);
	}
	close(fd[1]);
	while (result_read(fd[0], &sink.sink, NULL) == 1)
		;
	assert_int_equal(sink.taken, n);
	close(fd[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_stream_cut_inside_a_record_is_a_protocol_error(void **state)
{
	struct result_record records[RECORDS_MAX];
	size_t n = make_records(records);
	struct touching_sink sink = {.sink = {touch_take}};

	(void)state;
	for (size_t i = 0; i < n; i++) {
		size_t bytes;
		uint8_t *data = bytes_of(&records[i], &bytes);
		size_t step = 1 + bytes / 300;

		assert_int_equal(read_bytes(data, 0, &sink.sink, NULL), 0);
		for (size_t cut = 1; cut < bytes; cut += step) {
			struct error err = {0};

			assert_int_equal(read_bytes(data, cut, &sink.sink, &err), -EPROTO);
			assert_non_null(strstr(err.text, "stops inside a record"));
		}
		assert_int_equal(read_bytes(data, bytes - 1, &sink.sink, NULL), -EPROTO);
		assert_int_equal(read_bytes(data, bytes, &sink.sink, NULL), 1);
		free(data);
	}
}

/* The length agrees with the stream, but not with the contents. */
static void a_body_shorter_or_longer_than_its_fields_is_refused(void **state)
{
	struct result_record records[RECORDS_MAX];
	size_t n = make_records(records);
	struct touching_sink sink = {.sink = {touch_take}};

	(void)state;
	for (size_t i = 0; i < n; i++) {
		size_t bytes;
		uint8_t *data = bytes_of(&records[i], &bytes), *longer = calloc(1, bytes + 1);
		uint64_t body = bytes - 16;

		assert_non_null(longer);
		memcpy(longer, data, bytes);
		body++;
		memcpy(longer + 8, &body, sizeof(body));
		assert_int_equal(read_bytes(longer, bytes + 1, &sink.sink, NULL), -EPROTO);
		if (body > 1) {
			body -= 2;
			memcpy(longer + 8, &body, sizeof(body));
			/* An array of uint16_t cut by a byte is odd, so refused as well. */
			assert_int_equal(read_bytes(longer, bytes - 1, &sink.sink, NULL), -EPROTO);
		}
		free(longer);
		free(data);
	}
}

static void a_mutated_record_is_refused_or_sound(void **state)
{
	struct result_record records[RECORDS_MAX];
	size_t n = make_records(records);
	struct touching_sink sink = {.sink = {touch_take}};
	struct random r = random_begin(13);
	unsigned int refused = 0;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		size_t bytes;
		uint8_t *data = bytes_of(&records[i], &bytes), *copy = malloc(bytes);

		assert_non_null(copy);
		for (int round = 0; round < 400 * (int)test_effort(); round++) {
			/* Mostly near the start, where lengths and enums are. */
			uint64_t reach = random_below(&r, 4) ? min_u64(bytes, 200) : bytes;
			int rc;

			memcpy(copy, data, bytes);
			for (uint64_t k = 1 + random_below(&r, 3); k > 0; k--)
				copy[random_below(&r, reach)] =
					random_below(&r, 3) ? (uint8_t)random_u64(&r) : 0xff;
			rc = read_bytes(copy, bytes, &sink.sink, NULL);
			assert_true(rc == 1 || rc == -EPROTO);
			refused += rc != 1;
		}
		free(copy);
		free(data);
	}
	assert_true(refused > 400);
}

static void a_false_length_does_not_allocate_it(void **state)
{
	struct result_record record = {.kind = RESULT_WARNING, .warning = {"x"}};
	struct touching_sink sink = {.sink = {touch_take}};
	uint64_t gigabyte = UINT64_C(1) << 30, more = gigabyte + 1;
	struct error err = {0};
	size_t bytes;
	uint8_t *data = bytes_of(&record, &bytes);

	(void)state;
	memcpy(data + 8, &gigabyte, sizeof(gigabyte));
	assert_int_equal(read_bytes(data, bytes, &sink.sink, &err), -EPROTO);
	assert_non_null(strstr(err.text, "stops inside"));
	memcpy(data + 8, &more, sizeof(more));
	assert_int_equal(read_bytes(data, bytes, &sink.sink, &err), -EPROTO);
	assert_string_equal(err.text, "results: something else was written among them");
	free(data);
}

/* Read back what was written. Return: result_read()'s. */
static int pass_on(const struct result_accuracy *accuracy, struct result_sink *sink)
{
	struct result_record record = {.kind = RESULT_ACCURACY, .accuracy = *accuracy};
	size_t bytes;
	uint8_t *data = bytes_of(&record, &bytes);
	int rc = read_bytes(data, bytes, sink, NULL);

	free(data);
	return rc;
}

static void an_accuracy_that_contradicts_itself_is_refused(void **state)
{
	const struct result_accuracy
		good = {ACCURACY_LIFO, ACCURACY_DECIDED, ACCURACY_TENTH, 9, NULL, 10, 10},
		cause = {ACCURACY_B, ACCURACY_HIT, ACCURACY_CAUSE, 70000, "x", 10, 0};
	struct touching_sink sink = {.sink = {touch_take}};
	struct result_accuracy bad[16];
	size_t n = 0;

	(void)state;
	assert_int_equal(pass_on(&good, &sink.sink), 1);
	assert_int_equal(pass_on(&cause, &sink.sink), 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[n++].variant = ACCURACY_VARIANTS;
	bad[n++].class_of = ACCURACY_CLASSES;
	bad[n++].dimension = ACCURACY_DIMENSIONS;
	bad[n++].key = 10; /* tenths are 0 to 9 */
	bad[n].dimension = ACCURACY_ORDER;
	bad[n++].key = RESULT_ORDERS;
	bad[n].dimension = ACCURACY_MIGRATETYPE;
	bad[n++].key = 256;
	bad[n].dimension = ACCURACY_TOTAL;
	bad[n++].key = 1;
	bad[n++].correct = 11;
	bad[n++].cause = "x";
	bad[n] = cause;
	bad[n++].cause = NULL;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pass_on(&bad[i], &sink.sink), -EPROTO);
}

struct cause_sink {
	struct result_sink sink;
	char cause[512];
};

static int keep_cause(struct result_sink *sink, const struct result_record *record,
		      struct error *err)
{
	struct cause_sink *c = (struct cause_sink *)(void *)sink;

	(void)err;
	assert_true(strlen(record->accuracy.cause) < sizeof(c->cause));
	strcpy(c->cause, record->accuracy.cause);
	return 0;
}

static void a_cause_is_cut_when_written_and_refused_when_read_too_long(void **state)
{
	struct result_record record = {.kind = RESULT_ACCURACY};
	struct cause_sink sink = {.sink = {keep_cause}};
	char text[400];
	uint8_t *data, *longer;
	uint64_t body;
	uint32_t length = 256;
	size_t bytes;

	(void)state;
	/* Two bytes each, from an odd place on: the 255th begins a character. */
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? '\xa9' : '\xc3';
	text[sizeof(text) - 1] = '\0';
	record.accuracy =
		(struct result_accuracy){ACCURACY_A, ACCURACY_HIT, ACCURACY_CAUSE, 0, text, 1, 0};
	assert_int_equal(pass_on(&record.accuracy, &sink.sink), 1);
	assert_int_equal(strlen(sink.cause), 254);
	assert_memory_equal(sink.cause, text, 254);

	memset(text, 'x', 255);
	text[255] = '\0';
	assert_int_equal(pass_on(&record.accuracy, &sink.sink), 1);
	assert_int_equal(strlen(sink.cause), 255);
	/* One byte more than a writer would: head, four words, length, text. */
	data = bytes_of(&record, &bytes);
	longer = malloc(bytes + 1);
	assert_non_null(longer);
	memcpy(longer, data, 36 + 255);
	longer[36 + 255] = 'x';
	memcpy(longer + 36 + 256, data + 36 + 255, bytes - 36 - 255);
	memcpy(longer + 32, &length, sizeof(length));
	body = bytes + 1 - 16;
	memcpy(longer + 8, &body, sizeof(body));
	assert_int_equal(read_bytes(longer, bytes + 1, &sink.sink, NULL), -EPROTO);
	free(longer);
	free(data);
}

static void a_reader_that_is_gone_is_told_as_epipe(void **state)
{
	struct result_record record = {.kind = RESULT_WARNING, .warning = {"x"}};
	struct error err = {0};
	int fd[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	close(fd[0]);
	assert_int_equal(result_write(fd[1], &record, &err), -EPIPE);
	assert_int_equal(err.code, EPIPE);
	close(fd[1]);
	signal(SIGPIPE, SIG_DFL);
}

static void a_full_disk_and_a_bad_descriptor_give_their_errno(void **state)
{
	struct result_record record = {.kind = RESULT_WARNING, .warning = {"x"}};
	struct touching_sink sink = {.sink = {touch_take}};
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(result_write(fd, &record, NULL), -ENOSPC);
	assert_int_equal(result_read(fd, &sink.sink, NULL), -EBADF); /* not open for reading */
	close(fd);
	record.kind = (enum result_kind)99;
	assert_int_equal(result_write(-1, &record, NULL), -EINVAL);
}

static int refusing_take(struct result_sink *sink, const struct result_record *record,
			 struct error *err)
{
	(void)sink;
	(void)record;
	return error_set(err, EBUSY, "not now");
}

static void what_the_sink_returns_is_passed_on(void **state)
{
	struct result_record record = {.kind = RESULT_WARNING, .warning = {"x"}};
	struct result_sink sink = {refusing_take};
	struct error err = {0};
	size_t bytes;
	uint8_t *data = bytes_of(&record, &bytes);

	(void)state;
	assert_int_equal(read_bytes(data, bytes, &sink, &err), -EBUSY);
	assert_string_equal(err.text, "not now");
	free(data);
}

static void an_age_survives_its_code_to_half_a_percent(void **state)
{
	uint16_t last = 0;

	(void)state;
	assert_int_equal(result_age_code(0), 0);
	assert_int_equal(result_age_code(999999), 0);
	assert_int_equal(result_age_code(1000000), 256);
	assert_true(result_age_code(UINT64_MAX) < BLOCKMAP_ABSENT);
	for (uint64_t ms = 0; ms < UINT64_C(1) << 44; ms += 1 + ms / 700) {
		const uint16_t code = result_age_code(ms * 1000000);
		const uint64_t back = result_age_ms(code);

		assert_true(code >= last);
		last = code;
		assert_true(back <= ms && ms - back <= ms / 200);
		/* The shortest with that code: one less has another. */
		assert_int_equal(result_age_code(back * 1000000), code);
		assert_true(back == 0 || result_age_code((back - 1) * 1000000) < code);
	}
}

static void every_enum_has_a_name_and_nothing_else_has(void **state)
{
	(void)state;
	assert_string_equal(run_status_name(RUN_RUNNING), "running");
	assert_string_equal(run_status_name(RUN_DONE), "done");
	assert_string_equal(run_status_name(RUN_FAILED), "failed");
	assert_string_equal(run_status_name(RUN_CRASHED), "crashed");
	assert_string_equal(run_status_name(RUN_INTERRUPTED), "interrupted");
	assert_string_equal(latency_op_name(LATENCY_ALLOC), "alloc");
	assert_string_equal(latency_op_name(LATENCY_FREE), "free");
	assert_string_equal(latency_class_name(LATENCY_ORDER0), "0");
	assert_string_equal(latency_class_name(LATENCY_ORDER1_3), "1-3");
	assert_string_equal(latency_class_name(LATENCY_ORDER4_8), "4-8");
	assert_string_equal(latency_class_name(LATENCY_ORDER9_10), "9-10");
	assert_string_equal(latency_path_name(LATENCY_PLAIN), "plain");
	assert_string_equal(latency_path_name(LATENCY_FALLBACK), "fallback");
	assert_string_equal(latency_path_name(LATENCY_PATHS), "?");
	assert_string_equal(setting_role_name(SETTING_QUESTION), "question");
	assert_string_equal(setting_role_name(SETTING_FACT), "fact");
	assert_string_equal(result_flag_name(FLAG_ZEROED), "zeroed");
	assert_string_equal(result_flag_name(FLAG_NEEDS_INSTALL), "needs_install");
	assert_string_equal(result_flag_name(FLAG_KINDS), "?");
	assert_string_equal(blockmap_layer_name(BLOCKMAP_HELD), "held");
	assert_string_equal(blockmap_layer_name(BLOCKMAP_OLDEST), "oldest");
	assert_string_equal(freelist_source_name(FREELIST_ENGINE), "engine");
	assert_string_equal(freelist_source_name(FREELIST_BACKEND), "backend");
	assert_string_equal(freelist_source_name(FREELIST_KERNEL), "kernel");
	assert_string_equal(accuracy_variant_name(ACCURACY_B), "b");
	assert_string_equal(accuracy_variant_name(ACCURACY_A), "a");
	assert_string_equal(accuracy_variant_name(ACCURACY_LIFO), "lifo");
	assert_string_equal(accuracy_class_name(ACCURACY_HIT), "hit");
	assert_string_equal(accuracy_class_name(ACCURACY_REFILL), "refill");
	assert_string_equal(accuracy_class_name(ACCURACY_DIRECT), "direct");
	assert_string_equal(accuracy_class_name(ACCURACY_DECIDED), "all");
	assert_string_equal(accuracy_dimension_name(ACCURACY_TOTAL), "total");
	assert_string_equal(accuracy_dimension_name(ACCURACY_ORDER), "order");
	assert_string_equal(accuracy_dimension_name(ACCURACY_MIGRATETYPE), "migratetype");
	assert_string_equal(accuracy_dimension_name(ACCURACY_TENTH), "tenth");
	assert_string_equal(accuracy_dimension_name(ACCURACY_CAUSE), "cause");
	assert_string_equal(accuracy_variant_name(ACCURACY_VARIANTS), "?");
	assert_string_equal(accuracy_class_name(ACCURACY_CLASSES), "?");
	assert_string_equal(accuracy_dimension_name(ACCURACY_DIMENSIONS), "?");
	assert_string_equal(run_status_name((enum run_status)(RUN_INTERRUPTED + 1)), "?");
	assert_string_equal(latency_op_name(LATENCY_OPS), "?");
	assert_string_equal(latency_class_name(LATENCY_CLASSES), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_record_crosses_a_pipe),
		cmocka_unit_test(records_gathered_into_one_write_are_all_read),
		cmocka_unit_test(
			a_stream_that_arrives_in_two_pieces_is_the_same_wherever_it_is_cut),
		cmocka_unit_test(a_non_blocking_pipe_works_as_well),
		cmocka_unit_test(a_stream_cut_inside_a_record_is_a_protocol_error),
		cmocka_unit_test(a_body_shorter_or_longer_than_its_fields_is_refused),
		cmocka_unit_test(a_mutated_record_is_refused_or_sound),
		cmocka_unit_test(a_false_length_does_not_allocate_it),
		cmocka_unit_test(an_accuracy_that_contradicts_itself_is_refused),
		cmocka_unit_test(a_cause_is_cut_when_written_and_refused_when_read_too_long),
		cmocka_unit_test(a_reader_that_is_gone_is_told_as_epipe),
		cmocka_unit_test(a_full_disk_and_a_bad_descriptor_give_their_errno),
		cmocka_unit_test(what_the_sink_returns_is_passed_on),
		cmocka_unit_test(an_age_survives_its_code_to_half_a_percent),
		cmocka_unit_test(every_enum_has_a_name_and_nothing_else_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
