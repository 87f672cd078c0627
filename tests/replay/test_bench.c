/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "replay/bench/bench.h"
#include "replay/bench/kinds.h"
#include "tests/skip.h"

#define MEMORY (UINT64_C(64) << 20)
#define FRAMES (MEMORY >> 12)
#define BLOCKS (FRAMES / HUGE_FRAMES)

/* ---- back ends under the tests' control ---- */

/* What they do is seen from this side: children share it. */
#define LOG_MAX 400000

struct shared {
	_Atomic uint32_t creations;
	char creator[64]; /* a letter each, in order */
	_Atomic uint32_t nr_ops;
	struct {
		uint8_t cpu;
		bool frees;
	} op[LOG_MAX];
	/* As of the first allocation that follows a free. */
	uint64_t filled, holed_blocks;
	_Atomic bool saw_hole;
};

static struct shared *shared;

/* A bitmap, searched from the bottom, behind a lock; and what may be wrong with it. */
struct allocator {
	pthread_mutex_t lock;
	uint64_t live, allocs, next;
	uint32_t instance; /* its number among all that were created */
	bool freed;
	uint8_t taken[FRAMES];
};

static int create_as(const struct alloc_env *env, struct allocator **result, char name)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);

	if (!a)
		return error_set(env->error, ENOMEM, "no memory");
	assert_true(machine_end(env->machine) <= FRAMES);
	pthread_mutex_init(&a->lock, NULL);
	shared->creator[shared->creations++ % sizeof(shared->creator)] = name;
	a->instance = shared->creations;
	*result = a;
	return 0;
}

static void destroy(struct allocator *a)
{
	pthread_mutex_destroy(&a->lock);
}

static void log_op(const struct alloc_request *req, bool frees)
{
	uint32_t i = atomic_fetch_add(&shared->nr_ops, 1);

	if (i < LOG_MAX) {
		shared->op[i].cpu = (uint8_t)req->cpu;
		shared->op[i].frees = frees;
	}
}

static void look_at_holes(const struct allocator *a)
{
	shared->filled = a->live;
	shared->holed_blocks = 0;
	for (unsigned int b = 0; b < BLOCKS; b++) {
		unsigned int used = 0;

		for (unsigned int f = 0; f < HUGE_FRAMES; f++)
			used += a->taken[b * HUGE_FRAMES + f];
		shared->holed_blocks += used > 0 && used < HUGE_FRAMES;
	}
	shared->saw_hole = true;
}

static struct alloc_result good_alloc(struct allocator *a, const struct alloc_request *req)
{
	const uint64_t frames = UINT64_C(1) << req->order;
	struct alloc_result result = {.pfn = PFN_NONE};

	pthread_mutex_lock(&a->lock);
	log_op(req, false);
	a->allocs++;
	if (a->freed && !shared->saw_hole)
		look_at_holes(a);
	for (uint64_t tried = 0; tried < FRAMES / frames; tried++) {
		uint64_t pfn = a->next;

		a->next = (a->next + frames) % FRAMES;
		if (a->taken[pfn])
			continue;
		memset(&a->taken[pfn], 1, frames);
		a->live += frames;
		result.pfn = pfn;
		break;
	}
	pthread_mutex_unlock(&a->lock);
	return result;
}

static int good_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	const uint64_t frames = UINT64_C(1) << req->order;
	int rc = -EINVAL;

	pthread_mutex_lock(&a->lock);
	log_op(req, true);
	if (pfn < FRAMES && a->taken[pfn]) {
		memset(&a->taken[pfn], 0, frames);
		a->live -= frames;
		a->freed = true;
		if (pfn < a->next)
			a->next = pfn;
		rc = 0;
	}
	pthread_mutex_unlock(&a->lock);
	return rc;
}

static struct alloc_result twice_alloc(struct allocator *a, const struct alloc_request *req)
{
	if (a->allocs == 100) {
		a->allocs++;
		return (struct alloc_result){.pfn = 0};
	}
	return good_alloc(a, req);
}

static struct alloc_result crooked_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = good_alloc(a, req);

	if (a->allocs == 100 && result.pfn != PFN_NONE)
		result.pfn++;
	return result;
}

static struct alloc_result outside_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = good_alloc(a, req);

	if (a->allocs == 100)
		result.pfn = FRAMES;
	return result;
}

static struct alloc_result meagre_alloc(struct allocator *a, const struct alloc_request *req)
{
	if (a->live >= FRAMES / 4)
		return (struct alloc_result){.pfn = PFN_NONE};
	return good_alloc(a, req);
}

static int stubborn_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	return pfn % 64 ? good_free(a, pfn, req) : -EINVAL;
}

static struct alloc_result crash_alloc(struct allocator *a, const struct alloc_request *req)
{
	if (a->allocs == 1000)
		kill(getpid(), SIGKILL);
	return good_alloc(a, req);
}

static struct alloc_result hang_alloc(struct allocator *a, const struct alloc_request *req)
{
	for (;;)
		pause();
	return good_alloc(a, req);
}

static int count_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	(void)zone;
	*stats = (struct allocator_stats){
		.counters = {{"instance", a->instance}, {"allocs_seen", a->allocs}},
		.nr_counters = 2,
	};
	return 0;
}

static int create_a(const struct alloc_env *env, struct allocator **a)
{
	return create_as(env, a, 'a');
}

static int create_b(const struct alloc_env *env, struct allocator **a)
{
	return create_as(env, a, 'b');
}

static int create_broken(const struct alloc_env *env, struct allocator **a)
{
	(void)a;
	return error_set(env->error, EUCLEAN, "broken from the start");
}

/* Needs more memory each time it is made. */
static int create_greedy(const struct alloc_env *env, struct allocator **a)
{
	if (!env->meta(env, 4096 * (shared->creations + 1), 64, META_VOLATILE))
		return error_set(env->error, ENOMEM, "no memory");
	return create_as(env, a, 'g');
}

#define BACKEND(name_, create_, alloc_, free_, capabilities_)                                      \
	{                                                                                          \
		.magic = ALLOCATOR_MAGIC, .abi_version = ALLOCATOR_ABI_VERSION,                    \
		.size = sizeof(struct allocator_ops), .name = (name_), .summary = "of a test",     \
		.capabilities = (capabilities_), .create = (create_), .destroy = destroy,          \
		.alloc = (alloc_), .free = (free_), .stats = count_stats                           \
	}

enum {
	GOOD,
	OTHER,
	SINGLE,
	TWICE,
	CROOKED,
	OUTSIDE,
	MEAGRE,
	STUBBORN,
	CRASH,
	HANG,
	BROKEN,
	GREEDY,
	ECHOING,
	UNCHECKED,
	BACKENDS
};

static const struct allocator_ops backends[BACKENDS] = {
	[GOOD] = BACKEND("good", create_a, good_alloc, good_free, ALLOCATOR_CONCURRENT),
	[OTHER] = BACKEND("other", create_b, good_alloc, good_free, ALLOCATOR_CONCURRENT),
	[SINGLE] = BACKEND("single", create_a, good_alloc, good_free, 0),
	[TWICE] = BACKEND("twice", create_a, twice_alloc, good_free, 0),
	[CROOKED] = BACKEND("crooked", create_a, crooked_alloc, good_free, 0),
	[OUTSIDE] = BACKEND("outside", create_a, outside_alloc, good_free, 0),
	[MEAGRE] = BACKEND("meagre", create_a, meagre_alloc, good_free, 0),
	[STUBBORN] = BACKEND("stubborn", create_a, good_alloc, stubborn_free, 0),
	[CRASH] = BACKEND("crash", create_a, crash_alloc, good_free, 0),
	[HANG] = BACKEND("hang", create_a, hang_alloc, good_free, 0),
	[BROKEN] = BACKEND("broken", create_broken, good_alloc, good_free, 0),
	[GREEDY] = BACKEND("greedy", create_greedy, good_alloc, good_free, 0),
	[ECHOING] = BACKEND("echoing", create_a, good_alloc, good_free, ALLOCATOR_ECHO),
	[UNCHECKED] = BACKEND("unchecked", create_a, twice_alloc, good_free, ALLOCATOR_UNCHECKED),
};

static struct allocator_spec specs[BACKENDS];

static struct bench_point point_of(enum bench_kind kind, unsigned int backend)
{
	return (struct bench_point){
		.kind = kind,
		.spec = &specs[backend],
		.memory_bytes = MEMORY,
		.cpus = kind == BENCH_FRAG ? 8 : 1,
		.threads = 1,
		.fill = kind == BENCH_FRAG ? 90 : 0,
		.rounds = kind == BENCH_FRAG ? 4 : 0,
		.repetitions = 1,
		.seed = 1,
		.oracle = true,
	};
}

/* ---- a sink that keeps what tests look at ---- */

#define RUNS_MAX    8
#define SAMPLES_MAX 16

struct kept_run {
	char allocator[16], mode[16], text[ERROR_TEXT_MAX], warnings[2000], point_id[33];
	char settings[400];  /* "\nKEY=VALUE...\n" */
	uint64_t counter[2]; /* of the back end that has some, at the end */
	unsigned int rows, counters;
	struct result_run run;
	enum run_status status;
	double metric[METRIC_COUNT];
	unsigned int samples;
	double state[SAMPLES_MAX][METRIC_STATE_COUNT];
	uint64_t event[SAMPLES_MAX];
	uint16_t held[SAMPLES_MAX][BLOCKS];
};

struct kept {
	struct result_sink sink;
	struct kept_run run[RUNS_MAX];
	unsigned int n;
	bool open;
	volatile sig_atomic_t stop, stop_at_done;
	unsigned int timeout_s; /* 0, but where something hangs */
};

static int keep(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct kept *k = (struct kept *)sink;
	struct kept_run *r = &k->run[k->n];

	(void)err;
	assert_true(k->open == (record->kind != RESULT_RUN));
	switch (record->kind) {
	case RESULT_RUN:
		assert_true(k->n < RUNS_MAX);
		k->open = true;
		metrics_clear(r->metric);
		r->run = record->run;
		snprintf(r->allocator, sizeof(r->allocator), "%s", record->run.allocator);
		snprintf(r->mode, sizeof(r->mode), "%s", record->run.mode);
		snprintf(r->point_id, sizeof(r->point_id), "%s", record->run.point_id);
		strcpy(r->settings, "\n");
		break;
	case RESULT_SETTING: {
		size_t used = strlen(r->settings);

		snprintf(r->settings + used, sizeof(r->settings) - used, "%s=%s\n",
			 record->setting.key, record->setting.value);
		break;
	}
	case RESULT_METRIC_ROW:
		assert_int_equal(record->row.metric, METRIC_COUNT + r->rows);
		assert_string_equal(record->row.source, r->allocator);
		r->rows++;
		break;
	case RESULT_COUNTER:
		assert_true(r->counters < ARRAY_SIZE(r->counter));
		assert_int_equal(record->counter.sample, RESULT_AT_END);
		assert_int_equal(record->counter.metric, METRIC_COUNT + r->counters);
		r->counter[r->counters++] = record->counter.value;
		break;
	case RESULT_SAMPLE:
		assert_true(r->samples < SAMPLES_MAX);
		assert_int_equal(record->sample.index, r->samples);
		memcpy(r->state[r->samples], record->sample.state, sizeof(r->state[0]));
		r->event[r->samples++] = record->sample.event;
		break;
	case RESULT_BLOCKMAP:
		assert_true(record->blockmap.n >= BLOCKS);
		memcpy(r->held[record->blockmap.sample], record->blockmap.values,
		       sizeof(r->held[0]));
		break;
	case RESULT_METRIC:
		r->metric[record->metric.metric] = record->metric.value;
		break;
	case RESULT_WARNING:
		strncat(r->warnings, record->warning.text,
			sizeof(r->warnings) - strlen(r->warnings) - 2);
		strcat(r->warnings, "\n");
		break;
	case RESULT_DONE:
		r->status = record->done.status;
		snprintf(r->text, sizeof(r->text), "%s",
			 record->done.text ? record->done.text : "");
		k->open = false;
		k->n++;
		k->stop |= k->stop_at_done;
		break;
	default:
		break;
	}
	return 0;
}

static struct kept *kept;

static struct kept_run *run_points(const struct bench_point *points, size_t n, int rc)
{
	const struct bench_watch watch = {
		.run = {.timeout_s = kept->timeout_s, .stop = &kept->stop}};
	struct error err = {0};
	int got;

	for (size_t i = 0; i < n; i++)
		if (bench_fits(&points[i], &err))
			fail_msg("%s", err.text);
	kept->sink.take = keep;
	kept->n = 0;
	got = bench_run_all(points, n, &watch, &kept->sink, &err);
	if (got != rc)
		fail_msg("returned %d, not %d: %s", got, rc, err.text);
	assert_false(kept->open);
	return kept->run;
}

static struct kept_run *run_point(const struct bench_point *point)
{
	memset(kept, 0, sizeof(*kept));
	return run_points(point, 1, 0);
}

/* @setting: "KEY=VALUE" */
static void expect_setting(const struct kept_run *r, const char *setting)
{
	char line[100];

	snprintf(line, sizeof(line), "\n%s\n", setting);
	if (!strstr(r->settings, line))
		fail_msg("no %s in%s", setting, r->settings);
}

static void expect(const struct kept_run *r, enum metric m, double value)
{
	if (r->metric[m] != value)
		fail_msg("%s %s: %s is %g, expected %g\n%s", r->allocator, r->mode,
			 metric_table[m].name, r->metric[m], value, r->warnings);
}

static int set_up(void **state)
{
	(void)state;
	memset(shared, 0, sizeof(*shared));
	memset(kept, 0, sizeof(*kept));
	return 0;
}

/* ---- times ---- */

static void bulk_and_rand_allocate_half_and_free_it(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct bench_point p = point_of(i ? BENCH_RAND : BENCH_BULK, GOOD);
		struct kept_run *r = run_point(&p);

		assert_int_equal(r->status, RUN_DONE);
		assert_string_equal(r->mode, i ? "bench-rand" : "bench-bulk");
		expect(r, METRIC_allocs, FRAMES / 2);
		expect(r, METRIC_frees, FRAMES / 2);
		expect(r, METRIC_ops, FRAMES);
		expect(r, METRIC_alloc_failures, 0);
		expect(r, METRIC_oracle_violations, 0);
		assert_true(r->metric[METRIC_alloc_ns] > 0 && r->metric[METRIC_free_ns] > 0);
		assert_true(r->metric[METRIC_cas_ns] > 0);
		expect(r, METRIC_pair_ns, r->metric[METRIC_alloc_ns] + r->metric[METRIC_free_ns]);
		expect(r, METRIC_alloc_cas, r->metric[METRIC_alloc_ns] / r->metric[METRIC_cas_ns]);
		assert_true(isnan(r->metric[METRIC_alloc_ns_spread]));
		assert_int_equal(r->samples, 0);
	}
}

static void repeat_frees_and_allocates_as_often(void **state)
{
	struct bench_point p = point_of(BENCH_REPEAT, GOOD);
	struct kept_run *r = run_point(&p);

	(void)state;
	assert_int_equal(r->status, RUN_DONE);
	assert_true(r->metric[METRIC_allocs] > 1000000);
	expect(r, METRIC_frees, r->metric[METRIC_allocs]);
	expect(r, METRIC_oracle_violations, 0);
	assert_true(r->metric[METRIC_pair_ns] > 0);
	assert_true(r->metric[METRIC_alloc_ns] >= 0 && r->metric[METRIC_free_ns] >= 0);
}

static void a_fill_leaves_exactly_that_share_and_scattered_holes(void **state)
{
	static const uint32_t fills[] = {1, 37, 50, 99};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fills); i++) {
		struct bench_point p = point_of(BENCH_BULK, GOOD);
		struct kept_run *r;
		char fill[16];

		memset(shared, 0, sizeof(*shared));
		p.fill = fills[i];
		r = run_point(&p);
		assert_int_equal(r->status, RUN_DONE);
		snprintf(fill, sizeof(fill), "fill=%u", fills[i]);
		expect_setting(r, fill);
		assert_true(shared->saw_hole);
		assert_int_equal(shared->filled, FRAMES * fills[i] / 100);
		/* Of 512 frames at random, at least one goes and one stays. */
		assert_int_equal(shared->holed_blocks, BLOCKS);
		expect(r, METRIC_allocs, (double)((FRAMES - shared->filled) / 2));
		expect(r, METRIC_alloc_failures, 0);
	}
}

static void every_thread_is_a_cpu_and_has_its_share(void **state)
{
	struct bench_point p = point_of(BENCH_BULK, GOOD);
	uint64_t of_cpu[2][2] = {{0}};
	struct kept_run *r;

	(void)state;
	if (bench_host_cpus() < 2) {
		skip_because("this host has one CPU");
	}
	p.cpus = p.threads = 2;
	p.order = 3;
	r = run_point(&p);
	assert_int_equal(r->status, RUN_DONE);
	assert_int_equal(r->run.threads, 2);
	assert_int_equal(r->run.order, 3);
	expect(r, METRIC_allocs, FRAMES / 8 / 2);
	expect(r, METRIC_oracle_violations, 0);
	for (uint32_t i = 0; i < shared->nr_ops; i++)
		of_cpu[shared->op[i].cpu][shared->op[i].frees]++;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(of_cpu[i / 2][i % 2], FRAMES / 8 / 4);
}

static void refusals_are_counted_and_told(void **state)
{
	struct bench_point p = point_of(BENCH_BULK, MEAGRE);
	struct kept_run *r = run_point(&p);

	(void)state;
	assert_int_equal(r->status, RUN_DONE);
	/* It is not asked for ever. */
	expect(r, METRIC_alloc_failures, 16);
	expect(r, METRIC_allocs, FRAMES / 4 + 16);
	expect(r, METRIC_frees, FRAMES / 4);
	assert_non_null(strstr(r->warnings, "were refused"));

	p = point_of(BENCH_FRAG, MEAGRE);
	r = run_point(&p);
	assert_int_equal(r->status, RUN_DONE);
	assert_true(r->metric[METRIC_alloc_failures] > FRAMES / 2);

	p = point_of(BENCH_BULK, MEAGRE);
	p.fill = 50;
	r = run_point(&p);
	assert_non_null(strstr(r->warnings, "could not be filled to 50 %"));
}

/* ---- frag ---- */

static void frag_is_exact_for_a_seed(void **state)
{
	struct bench_point p = point_of(BENCH_FRAG, GOOD);
	struct kept_run first, *r;

	(void)state;
	first = *run_point(&p);
	assert_int_equal(first.status, RUN_DONE);
	assert_int_equal(first.samples, p.rounds + 1);
	r = run_point(&p);
	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		if (metric_table[m].kind == METRIC_EXACT &&
		    memcmp(&first.metric[m], &r->metric[m], sizeof(double)))
			fail_msg("%s: %g and %g", metric_table[m].name, first.metric[m],
				 r->metric[m]);
	assert_memory_equal(first.state, r->state, sizeof(first.state));
	assert_memory_equal(first.held, r->held, sizeof(first.held));
	assert_string_equal(first.point_id, r->point_id);
	p.seed = 2;
	r = run_point(&p);
	assert_memory_not_equal(first.held, r->held, sizeof(first.held));
	assert_string_not_equal(first.point_id, r->point_id);
}

/* Frame by frame: out of the emptiest block into the fullest that has room. */
static uint64_t moves_by_hand(const uint16_t from[BLOCKS])
{
	uint16_t held[BLOCKS];
	uint64_t moves = 0;

	memcpy(held, from, sizeof(held));
	for (;; moves++) {
		int least = -1, most = -1;

		for (int b = 0; b < (int)BLOCKS; b++) {
			if (!held[b] || held[b] == HUGE_FRAMES)
				continue;
			if (least < 0 || held[b] < held[least])
				least = b;
			if (most < 0 || held[b] >= held[most])
				most = b;
		}
		if (least == most)
			return moves;
		held[least]--;
		held[most]++;
	}
}

static void moves_are_those_of_a_count_by_hand(void **state)
{
	struct bench_point p = point_of(BENCH_FRAG, GOOD);
	const unsigned int moves = METRIC_moves_to_compact - METRIC_STATE_FIRST;
	const unsigned int huge = METRIC_free_huge - METRIC_STATE_FIRST;
	struct kept_run *r = run_point(&p);

	(void)state;
	for (unsigned int i = 0; i < r->samples; i++) {
		unsigned int empty = 0;

		for (unsigned int b = 0; b < BLOCKS; b++)
			empty += !r->held[i][b];
		assert_true(r->state[i][moves] == (double)moves_by_hand(r->held[i]));
		assert_true(r->state[i][huge] == empty);
	}
	assert_true(r->state[0][moves] > 0);
	expect(r, METRIC_moves_to_compact, r->state[r->samples - 1][moves]);
}

/* The next @n operations are all frees, or none is, and the cpus take turns. */
static uint32_t check_phase(uint32_t at, uint64_t n, bool frees)
{
	for (uint64_t i = 0; i < n; i++, at++) {
		assert_int_equal(shared->op[at].frees, frees);
		assert_int_equal(shared->op[at].cpu, i % 8);
	}
	return at;
}

static void frag_follows_the_protocol(void **state)
{
	struct bench_point p = point_of(BENCH_FRAG, GOOD);
	/* 64 MiB x 0.9 = 14745 frames: cpus 0..6 get 1843 each, cpu 7 one more, or so. */
	const uint64_t first = FRAMES * 9 / 10;
	struct kept_run *r = run_point(&p);
	uint64_t half, tenth;
	uint32_t at;

	(void)state;
	at = check_phase(0, first, false);
	half = (uint64_t)r->event[0] - first;
	assert_true(half <= first / 2 && half + 8 > first / 2);
	at = check_phase(at, half / 8 * 8, true);
	at += (uint32_t)(half % 8);
	for (unsigned int round = 1; round <= p.rounds; round++) {
		tenth = (r->event[round] - r->event[round - 1]) / 2;
		assert_true(tenth <= (first - half) / 10 && tenth + 8 > (first - half) / 10);
		at = check_phase(at, tenth / 8 * 8, true) + (uint32_t)(tenth % 8);
		at = check_phase(at, tenth / 8 * 8, false) + (uint32_t)(tenth % 8);
		assert_true(r->state[round][METRIC_free_frames - METRIC_STATE_FIRST] ==
			    (double)(FRAMES - first + half));
	}
	assert_int_equal(at, shared->nr_ops);
	expect(r, METRIC_ops, at);
}

/* ---- the oracle ---- */

static void the_oracle_catches_what_must_not_be_handed_out(void **state)
{
	static const struct {
		unsigned int backend;
		const char *words;
	} faults[] = {
		{TWICE, "handed out twice"},
		{CROOKED, "misaligned"},
		{OUTSIDE, "out of range"},
		{STUBBORN, "its free was refused"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		for (unsigned int kind = BENCH_BULK; kind <= BENCH_FRAG; kind++) {
			struct bench_point p = point_of(kind, faults[i].backend);
			struct kept_run *r;

			/* Of repeat's, only what is still held when it ends is looked at. */
			if (kind == BENCH_REPEAT)
				continue;
			p.order = 1;
			r = run_point(&p);
			assert_int_equal(r->status, RUN_DONE);
			if (!(r->metric[METRIC_oracle_violations] > 0))
				fail_msg("%s: %s passed", r->mode, r->allocator);
			if (!strstr(r->warnings, faults[i].words))
				fail_msg("%s: %s", r->mode, r->warnings);
		}
	}
}

static void without_the_oracle_nobody_looks(void **state)
{
	struct bench_point p = point_of(BENCH_BULK, TWICE);
	struct kept_run *r;

	(void)state;
	p.oracle = false;
	r = run_point(&p);
	expect_setting(r, "oracle=false");
	/* What is left is that the back end refuses the second free. */
	expect(r, METRIC_oracle_violations, 1);
	assert_non_null(strstr(r->warnings, "refused"));
	p = point_of(BENCH_BULK, UNCHECKED);
	r = run_point(&p);
	expect_setting(r, "oracle=false");
	assert_int_equal(r->run.role, ROLE_HARNESS);
}

/* ---- real memory ---- */

static struct bench_point touching(enum bench_kind kind, unsigned int backend,
				   enum touching touching)
{
	struct bench_point p = point_of(kind, backend);

	p.backing = BACKING_SMALL;
	p.touching = touching;
	return p;
}

/* Pages of 4 KiB: each frame that was touched is resident, and no other. */
static void expect_resident(const struct kept_run *r, double frames)
{
	expect(r, METRIC_touched_frames, frames);
	expect(r, METRIC_resident_bytes, frames * 4096);
	expect(r, METRIC_huge_page_bytes, 0);
	assert_true(r->metric[METRIC_minor_faults] >= frames);
	assert_true(r->metric[METRIC_touch_ns] > 0);
	assert_true(r->metric[METRIC_touch_ns_p50] <= r->metric[METRIC_touch_ns_max]);
}

static void what_is_handed_out_is_used_and_timed_apart(void **state)
{
	const enum bench_kind kinds[] = {BENCH_BULK, BENCH_RAND};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench_point p = touching(kinds[i], SINGLE, TOUCHING_ALL);
		struct kept_run *r = run_point(&p);

		expect_setting(r, "backing=small");
		expect_setting(r, "touch=all");
		expect(r, METRIC_allocs, FRAMES / 2);
		expect(r, METRIC_cleared_bytes, (double)MEMORY / 2);
		expect_resident(r, FRAMES / 2);
		/* A fault and 4 KiB to clear take longer than a bitmap does, and neither has the other's. */
		expect(r, METRIC_pair_ns, r->metric[METRIC_alloc_ns] + r->metric[METRIC_free_ns]);
	}
}

/* Once per frame, however often shares are allocated. */
static void a_frame_is_first_used_once(void **state)
{
	struct bench_point p = touching(BENCH_BULK, SINGLE, TOUCHING_FIRST);
	struct kept_run *r;

	(void)state;
	p.order = 9;
	p.least_blocks = 100;
	r = run_point(&p);
	assert_true(r->metric[METRIC_allocs] > BLOCKS);
	expect(r, METRIC_cleared_bytes, 0);
	expect_resident(r, (double)BLOCKS / 2 * HUGE_FRAMES);
}

static void blocks_of_every_order_are_used_whole(void **state)
{
	(void)state;
	for (uint32_t order = 0; order <= 10; order++) {
		struct bench_point p = touching(BENCH_BULK, SINGLE, TOUCHING_ALL);
		struct kept_run *r;

		p.order = order;
		r = run_point(&p);
		expect(r, METRIC_cleared_bytes, (double)MEMORY / 2);
		expect_resident(r, FRAMES / 2);
	}
}

static void repeat_uses_each_block_that_it_gets(void **state)
{
	struct bench_point p = touching(BENCH_REPEAT, SINGLE, TOUCHING_ALL);
	struct kept_run *r = run_point(&p), untouched;

	(void)state;
	/* The lowest free block is what was freed last: the same 64 all the time. */
	expect_resident(r, 64);
	untouched = *r;
	p.touching = TOUCHING_NONE;
	r = run_point(&p);
	expect(&untouched, METRIC_cleared_bytes,
	       (untouched.metric[METRIC_allocs] - r->metric[METRIC_allocs]) * 4096);
	expect_setting(r, "backing=small");
	expect_setting(r, "touch=none");
	assert_true(isnan(r->metric[METRIC_touch_ns]));
	assert_true(isnan(r->metric[METRIC_touched_frames]));
	expect(r, METRIC_resident_bytes, 0);
}

static void frag_is_as_exact_on_real_memory(void **state)
{
	struct bench_point p = touching(BENCH_FRAG, SINGLE, TOUCHING_FIRST);
	struct kept_run *r = run_point(&p);
	const double moves = r->metric[METRIC_moves_to_compact];

	(void)state;
	/* Nine tenths at first, and holes are filled before memory that nobody had. */
	expect_resident(r, FRAMES * 9 / 10);
	p.touching = TOUCHING_NONE;
	p.backing = BACKING_NONE;
	r = run_point(&p);
	expect(r, METRIC_moves_to_compact, moves);
	assert_true(isnan(r->metric[METRIC_minor_faults]));
}

static void threads_use_what_each_of_them_got(void **state)
{
	struct bench_point p = touching(BENCH_BULK, GOOD, TOUCHING_ALL);
	struct kept_run *r;

	(void)state;
	if (bench_host_cpus() < 2)
		skip_because("one CPU");
	p.threads = p.cpus = 2;
	p.repetitions = 2;
	r = run_point(&p);
	assert_int_equal(r->status, RUN_DONE);
	expect(r, METRIC_cleared_bytes, (double)MEMORY / 2);
	expect(r, METRIC_resident_bytes, (double)MEMORY / 2);
	/* Which frames several threads get is chance: no exact figure. */
	assert_true(isnan(r->metric[METRIC_touched_frames]));
	assert_null(strstr(r->warnings, "touched"));
}

static void frames_outside_the_machine_are_left_alone(void **state)
{
	const enum bench_kind kinds[] = {BENCH_BULK, BENCH_REPEAT};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench_point p = touching(kinds[i], OUTSIDE, TOUCHING_ALL);
		struct kept_run *r;

		p.oracle = false;
		r = run_point(&p);
		assert_int_equal(r->status, RUN_DONE);
		assert_true(r->metric[METRIC_cleared_bytes] > 0);
	}
}

static void memory_that_cannot_be_had_is_refused(void **state)
{
	struct bench_point p = touching(BENCH_BULK, SINGLE, TOUCHING_ALL);
	struct error err = {0};

	(void)state;
	/* The run's own arrays, and what is touched of it on top. */
	p.host_bytes = MEMORY / 4;
	assert_int_equal(bench_fits(&p, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "lower memory, or touch nothing"));
	p.touching = TOUCHING_NONE;
	assert_int_equal(bench_fits(&p, &err), 0);
	p.touching = TOUCHING_ALL;
	p.kind = BENCH_REPEAT;
	assert_int_equal(bench_fits(&p, &err), 0);
	p.backing = BACKING_NONE;
	assert_int_equal(bench_fits(&p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "touch all: there is no memory"));
	p = touching(BENCH_BULK, SINGLE, TOUCHING_NONE);
	p.backing = BACKING_FILE;
	assert_int_equal(bench_fits(&p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "backing file"));
}

/* ---- many points ---- */

static void repetitions_are_interleaved(void **state)
{
	struct bench_point p[2] = {point_of(BENCH_BULK, GOOD), point_of(BENCH_BULK, OTHER)};
	struct kept_run *r;

	(void)state;
	p[0].repetitions = p[1].repetitions = 3;
	r = run_points(p, 2, 0);
	assert_string_equal(shared->creator, "ababab");
	assert_int_equal(kept->n, 2);
	assert_string_equal(r[0].allocator, "good");
	assert_string_equal(r[1].allocator, "other");
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(r[i].status, RUN_DONE);
		expect_setting(&r[i], "repetitions=3");
		/* Per repetition, not their sum. */
		expect(&r[i], METRIC_allocs, FRAMES / 2);
		assert_true(r[i].metric[METRIC_alloc_ns_spread] >= 0);
	}
}

static void a_crash_a_hang_and_a_failure_cost_only_their_points(void **state)
{
	struct bench_point p[] = {
		point_of(BENCH_BULK, CRASH),  point_of(BENCH_BULK, HANG),
		point_of(BENCH_BULK, BROKEN), point_of(BENCH_BULK, GOOD),
		point_of(BENCH_FRAG, CRASH),
	};
	struct kept_run *r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i].repetitions = 2;
	kept->timeout_s = 2;
	r = run_points(p, ARRAY_SIZE(p), 0);
	assert_int_equal(kept->n, ARRAY_SIZE(p));
	/* In the order in which they ended. */
	assert_string_equal(r[0].allocator, "crash");
	assert_int_equal(r[0].status, RUN_CRASHED);
	assert_non_null(strstr(r[0].text, "signal 9"));
	assert_string_equal(r[1].allocator, "hang");
	assert_int_equal(r[1].status, RUN_CRASHED);
	assert_non_null(strstr(r[1].text, "hangs"));
	assert_string_equal(r[2].allocator, "broken");
	assert_int_equal(r[2].status, RUN_FAILED);
	assert_non_null(strstr(r[2].text, "broken from the start"));
	assert_string_equal(r[3].mode, "bench-frag");
	assert_int_equal(r[3].status, RUN_CRASHED);
	assert_string_equal(r[4].allocator, "good");
	assert_int_equal(r[4].status, RUN_DONE);
	expect(&r[4], METRIC_allocs, FRAMES / 2);
}

static void what_is_stopped_is_told_as_interrupted(void **state)
{
	struct bench_point p[3] = {point_of(BENCH_BULK, GOOD), point_of(BENCH_BULK, OTHER),
				   point_of(BENCH_RAND, GOOD)};
	struct kept_run *r;

	(void)state;
	p[0].repetitions = 2;
	kept->stop_at_done = 1;
	r = run_points(p, 3, -EINTR);
	/* The second ended, then it was stopped: the third never began. */
	assert_int_equal(kept->n, 2);
	assert_string_equal(r[0].allocator, "other");
	assert_int_equal(r[0].status, RUN_DONE);
	assert_string_equal(r[1].allocator, "good");
	assert_int_equal(r[1].status, RUN_INTERRUPTED);
	assert_non_null(strstr(r[1].text, "after 1 of 2"));
	assert_true(isnan(r[1].metric[METRIC_alloc_ns]));
}

static void an_exact_metric_that_differs_is_told(void **state)
{
	struct bench_point p = point_of(BENCH_BULK, GREEDY);
	struct kept_run *r;
	double least;

	(void)state;
	p.repetitions = 3;
	r = run_point(&p);
	least = r->metric[METRIC_metadata_bytes] - 2 * 4096;
	/* The worst of the three, not the one in the middle. */
	assert_true(least >= (double)sizeof(struct allocator) + 4096);
	assert_true(least < (double)sizeof(struct allocator) + 2 * 4096);
	assert_non_null(strstr(r->warnings, "metadata_bytes is from"));
}

static void samples_are_told_once_however_often_it_is_repeated(void **state)
{
	struct bench_point p = point_of(BENCH_FRAG, GOOD);
	struct kept_run *r;

	(void)state;
	p.repetitions = 3;
	r = run_point(&p);
	assert_int_equal(r->status, RUN_DONE);
	assert_int_equal(r->samples, p.rounds + 1);
	assert_null(strstr(r->warnings, "differs"));
	expect(r, METRIC_ops, (double)r->event[p.rounds]);
}

static void settings_are_told_once_however_often_it_is_repeated(void **state)
{
	static const char *const told[] = {
		"backing=none",	 "memory=67108864", "fill=90", "rounds=4",
		"repetitions=2", "oracle=true",	    "cpus=8",  "managed_frames=16384",
	};
	struct bench_point p = point_of(BENCH_FRAG, GOOD);
	struct kept_run *r;
	char *save, *line, *lines;

	(void)state;
	p.repetitions = 2;
	r = run_point(&p);
	for (size_t i = 0; i < ARRAY_SIZE(told); i++)
		expect_setting(r, told[i]);
	lines = strdup(r->settings);
	assert_non_null(lines);
	for (line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char key[100];

		snprintf(key, sizeof(key), "\n%.*s=", (int)strcspn(line, "="), line);
		assert_null(strstr(strstr(r->settings, key) + 1, key));
	}
	free(lines);
	p = point_of(BENCH_BULK, GOOD);
	r = run_point(&p);
	expect_setting(r, "fill=0");
	assert_null(strstr(r->settings, "rounds"));
}

static void counters_are_those_of_the_first_repetition(void **state)
{
	struct bench_point p = point_of(BENCH_BULK, GOOD);
	struct kept_run *r;

	(void)state;
	p.repetitions = 3;
	r = run_point(&p);
	assert_int_equal(r->status, RUN_DONE);
	assert_int_equal(r->rows, 2);
	assert_int_equal(r->counters, 2);
	assert_int_equal(r->counter[0], 1); /* the third instance would say 3 */
	assert_int_equal(r->counter[1], FRAMES / 2);
}

static void assert_refused(const struct bench_point *p, int rc, const char *words)
{
	struct error err = {0};

	assert_int_equal(bench_fits(p, &err), rc);
	if (!strstr(err.text, words))
		fail_msg("%s lacks '%s'", err.text, words);
}

static void points_that_make_no_sense_are_refused(void **state)
{
	struct bench_point p;

	(void)state;
#define REFUSED(rc, words, kind, backend, ...)                                                     \
	do {                                                                                       \
		p = point_of(kind, backend);                                                       \
		__VA_ARGS__;                                                                       \
		assert_refused(&p, rc, words);                                                     \
	} while (0)
	REFUSED(-EINVAL, "order 11", BENCH_BULK, GOOD, p.order = 11);
	REFUSED(-EINVAL, "fill 100", BENCH_BULK, GOOD, p.fill = 100);
	REFUSED(-EINVAL, "fill 0", BENCH_FRAG, GOOD, p.fill = 0);
	REFUSED(-EINVAL, "repetitions 0", BENCH_BULK, GOOD, p.repetitions = 0);
	REFUSED(-EINVAL, "threads 0", BENCH_BULK, GOOD, p.threads = 0);
	REFUSED(-EINVAL, "raise cpus", BENCH_BULK, GOOD, p.threads = 2);
	REFUSED(-EINVAL, "lower threads", BENCH_BULK, GOOD, p.threads = p.cpus = 4096);
	REFUSED(-EINVAL, "played by one thread", BENCH_FRAG, GOOD, p.threads = 2);
	REFUSED(-EINVAL, "raise memory", BENCH_BULK, GOOD, p.memory_bytes = 4096);
	REFUSED(-EINVAL, "raise memory", BENCH_BULK, GOOD, p.order = 10, p.memory_bytes = 8 << 20,
		p.fill = 50);
	REFUSED(-EINVAL, "raise memory", BENCH_FRAG, GOOD, p.order = 9);
	REFUSED(-EINVAL, "memory: 4097", BENCH_BULK, GOOD, p.memory_bytes = 4097);
	REFUSED(-EINVAL, "oracle off", BENCH_FRAG, GOOD, p.oracle = false);
	REFUSED(-ENOMEM, "lower memory", BENCH_BULK, GOOD, p.host_bytes = 1 << 20);
	REFUSED(-ENOTSUP, "no recording", BENCH_BULK, ECHOING, p.seed = 2);
	REFUSED(-ENOTSUP, "fragmentation", BENCH_FRAG, UNCHECKED, p.seed = 2);
	if (bench_host_cpus() >= 2)
		REFUSED(-ENOTSUP, "one thread at a time", BENCH_BULK, SINGLE,
			p.threads = p.cpus = 2);
#undef REFUSED
}

static void a_point_is_known_by_all_its_parameters(void **state)
{
	struct bench_point p = point_of(BENCH_FRAG, GOOD), other;
	char id[13][33];
	size_t n = 0;

	(void)state;
#define ID(change)                                                                                 \
	do {                                                                                       \
		other = p;                                                                         \
		change;                                                                            \
		memset(kept, 0, sizeof(*kept));                                                    \
		kept->sink.take = keep;                                                            \
		assert_int_equal(bench_send_run(&other, 0, &kept->sink, NULL), 0);                 \
		strcpy(id[n++], kept->run[0].point_id);                                            \
	} while (0)
	ID(other.seed = 1);
	ID(other.seed = 2);
	ID(other.order = 1);
	ID(other.fill = 80);
	ID(other.rounds = 9);
	ID(other.cpus = 4);
	ID(other.repetitions = 2);
	ID(other.oracle = false);
	ID(other.memory_bytes *= 2);
	ID(other.backing = BACKING_SMALL);
	ID((other.backing = BACKING_SMALL, other.touching = TOUCHING_FIRST));
	ID((other.backing = BACKING_SMALL, other.touching = TOUCHING_ALL));
	ID(other.spec = &specs[OTHER]);
#undef ID
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(strlen(id[i]), 32);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(id[i], id[j]);
	}
}

int main(void)
{
	static const struct option no_options[] = {{.name = NULL}};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bulk_and_rand_allocate_half_and_free_it, set_up),
		cmocka_unit_test_setup(repeat_frees_and_allocates_as_often, set_up),
		cmocka_unit_test_setup(a_fill_leaves_exactly_that_share_and_scattered_holes,
				       set_up),
		cmocka_unit_test_setup(every_thread_is_a_cpu_and_has_its_share, set_up),
		cmocka_unit_test_setup(refusals_are_counted_and_told, set_up),
		cmocka_unit_test_setup(frag_is_exact_for_a_seed, set_up),
		cmocka_unit_test_setup(moves_are_those_of_a_count_by_hand, set_up),
		cmocka_unit_test_setup(frag_follows_the_protocol, set_up),
		cmocka_unit_test_setup(the_oracle_catches_what_must_not_be_handed_out, set_up),
		cmocka_unit_test_setup(without_the_oracle_nobody_looks, set_up),
		cmocka_unit_test_setup(what_is_handed_out_is_used_and_timed_apart, set_up),
		cmocka_unit_test_setup(a_frame_is_first_used_once, set_up),
		cmocka_unit_test_setup(blocks_of_every_order_are_used_whole, set_up),
		cmocka_unit_test_setup(repeat_uses_each_block_that_it_gets, set_up),
		cmocka_unit_test_setup(frag_is_as_exact_on_real_memory, set_up),
		cmocka_unit_test_setup(threads_use_what_each_of_them_got, set_up),
		cmocka_unit_test_setup(frames_outside_the_machine_are_left_alone, set_up),
		cmocka_unit_test_setup(memory_that_cannot_be_had_is_refused, set_up),
		cmocka_unit_test_setup(repetitions_are_interleaved, set_up),
		cmocka_unit_test_setup(a_crash_a_hang_and_a_failure_cost_only_their_points, set_up),
		cmocka_unit_test_setup(what_is_stopped_is_told_as_interrupted, set_up),
		cmocka_unit_test_setup(an_exact_metric_that_differs_is_told, set_up),
		cmocka_unit_test_setup(samples_are_told_once_however_often_it_is_repeated, set_up),
		cmocka_unit_test_setup(settings_are_told_once_however_often_it_is_repeated, set_up),
		cmocka_unit_test_setup(counters_are_those_of_the_first_repetition, set_up),
		cmocka_unit_test_setup(points_that_make_no_sense_are_refused, set_up),
		cmocka_unit_test_setup(a_point_is_known_by_all_its_parameters, set_up),
	};
	int rc;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	kept = calloc(1, sizeof(*kept));
	if (shared == MAP_FAILED || !kept)
		return 1;
	for (unsigned int i = 0; i < BACKENDS; i++) {
		specs[i].ops = &backends[i];
		specs[i].text = strdup(backends[i].name);
		if (!specs[i].text || option_set_create(no_options, &specs[i].options, NULL))
			return 1;
	}
	rc = cmocka_run_group_tests_name("bench", tests, NULL, NULL);
	for (unsigned int i = 0; i < BACKENDS; i++) {
		option_set_destroy(specs[i].options);
		free(specs[i].text);
	}
	free(kept);
	munmap(shared, sizeof(*shared));
	return rc;
}
