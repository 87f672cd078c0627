/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "sim/gfp.h"
#include "tests/effort.h"
#include "traces/file/trace.h"
#include "traces/import/import.h"
#include "traces/import/perf_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KERNEL_GFP (GFP_IO | GFP_FS | GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM)

/* ---- files ---- */

struct scratch {
	char directory[128], in[160], out[160];
};

static int make_scratch(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));
	const char *tmp = getenv("TMPDIR");

	if (!s)
		return -1;
	snprintf(s->directory, sizeof(s->directory), "%.100s/quire-import-XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(s->directory))
		return -1;
	snprintf(s->in, sizeof(s->in), "%s/in.txt", s->directory);
	snprintf(s->out, sizeof(s->out), "%s/out.quire", s->directory);
	*state = s;
	return 0;
}

static int drop_scratch(void **state)
{
	struct scratch *s = *state;
	int rc;

	unlink(s->in);
	unlink(s->out);
	rc = rmdir(s->directory); /* fails should anything else have been left there */
	free(s);
	return rc;
}

static void write_file(const char *path, const void *data, size_t bytes)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
}

static char *read_sample(const char *name, size_t *bytes)
{
	const char *root = getenv("QUIRE_SOURCE");
	char path[512];
	struct stat st;
	char *data;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/data/perf/%s", root ? root : ".", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*bytes = (size_t)st.st_size;
	data = malloc(*bytes + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, *bytes, f), *bytes);
	data[*bytes] = '\0';
	fclose(f);
	return data;
}

static int import_text(const struct scratch *s, const char *text,
		       const struct import_options *options, struct import_stats *stats,
		       struct error *err)
{
	static const struct import_options defaults = {0};

	*err = (struct error){0};
	write_file(s->in, text, strlen(text));
	return import_file(s->in, s->out, options ? options : &defaults, stats, err);
}

/* All events of the output, which the caller frees. */
static struct event *read_events(const char *path, size_t *n)
{
	struct trace_reader *reader;
	struct event *all = NULL;
	const struct event *some;
	struct error err = {0};
	size_t got;
	int rc;

	*n = 0;
	rc = trace_reader_open(path, 0, &reader, &err);
	if (rc)
		fail_msg("%s", err.text);
	while ((rc = trace_reader_next(reader, &some, &got, &err)) == 1) {
		all = reallocarray(all, *n + got, sizeof(*all));
		assert_non_null(all);
		memcpy(all + *n, some, got * sizeof(*all));
		*n += got;
	}
	if (rc)
		fail_msg("%s", err.text);
	trace_reader_close(reader);
	return all;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* ---- single lines ---- */

struct line_case {
	const char *line;
	struct event event; /* context: not looked at */
	int32_t pid;
};

#define ALLOC_1 " page=0x12 pfn=0x1234 order=2 migratetype=1 gfp_flags=GFP_KERNEL|__GFP_ZERO"
#define EVENT_1                                                                                    \
	.kind = EVENT_ALLOC, .pfn = 0x1234, .order = 2, .migratetype = 1,                          \
	.gfp = KERNEL_GFP | GFP_ZERO
#define EVENT_2 .kind = EVENT_FREE, .pfn = 0x20, .order = 0
#define FREE_2	" page=0x12 pfn=0x20 order=0"

static const struct line_case line_cases[] = {
	/* perf script as it comes */
	{"          task-1  1234 [003]    12.345678:             kmem:mm_page_alloc:" ALLOC_1,
	 {EVENT_1, .time_ns = 12345678000, .cpu = 3},
	 1234},
	/* --ns */
	{"          task-1  1234 [003]    12.345678901: kmem:mm_page_alloc:" ALLOC_1,
	 {EVENT_1, .time_ns = 12345678901, .cpu = 3},
	 1234},
	/* no padding, as with call chains */
	{"task-1  1234 [003]    12.345678: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12345678000, .cpu = 3},
	 1234},
	/* names with blanks, brackets, slashes, dashes, digits, signs; a pid of seven digits */
	{"  task 1 [x] 7: 1234567 [012] 12.000001: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12000001000, .cpu = 12},
	 1234567},
	{"     task/1:2-ev    77 [000] 12.000001: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12000001000},
	 77},
	{"  mm_page_alloc:    77 [000] 12.000001: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12000001000},
	 77},
	{"  1.5: mm_page_f    77 [000] 12.000001: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12000001000},
	 77},
	{"        (task-1)    77 [000] 12.000001: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12000001000},
	 77},
	{"#task-1    77 [000] 12.000001: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12000001000},
	 77},
	/* pid/tid: the thread counts; a thread perf lost track of */
	{"  task-1  1234/1240  [003] 12.5: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 1240},
	{"  task-1    -1/-1    [003] 12.5: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 -1},
	{"     :-1    -1 [003] 12.5: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 -1},
	/* -F without comm, pid, cpu */
	{" 1234 [003] 12.5: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 1234},
	{" [003] 12.5: kmem:mm_page_free:" FREE_2, {EVENT_2, .time_ns = 12500000000, .cpu = 3}, -1},
	{" 1234 12.5: kmem:mm_page_free:" FREE_2, {EVENT_2, .time_ns = 12500000000}, 1234},
	{"12.5: kmem:mm_page_free:" FREE_2, {EVENT_2, .time_ns = 12500000000}, -1},
	{"  task-7 [003] 12.5: kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 -1},
	/* -F +misc,+period */
	{"  task-1  1234 [003] K     12.500000:          1 kmem:mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 1234},
	/* no subsystem; a modifier behind the name; a carriage return; something behind the fields */
	{"  task-1  1234 [003] 12.5: mm_page_free:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 1234},
	{"  task-1  1234 [003] 12.5: kmem:mm_page_free:k:" FREE_2,
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 1234},
	{"  task-1  1234 [003] 12.5: kmem:mm_page_free:" FREE_2 "\r",
	 {EVENT_2, .time_ns = 12500000000, .cpu = 3},
	 1234},
	{"  task-1  1234 [003] 12.5: kmem:mm_page_alloc:" ALLOC_1 " ffffffff81 sym ([k])",
	 {EVENT_1, .time_ns = 12500000000, .cpu = 3},
	 1234},
	/* ftrace, with and without columns of flags and group */
	{"          task-1-1234  [001] d.h2. 123.456789: mm_page_alloc:" ALLOC_1,
	 {EVENT_1, .time_ns = 123456789000, .cpu = 1, .flags = EVENT_HARDIRQ | EVENT_NESTED},
	 1234},
	{"          task-1-1234  (  1200) [001] d.s1 123.456789: mm_page_alloc:" ALLOC_1,
	 {EVENT_1, .time_ns = 123456789000, .cpu = 1, .flags = EVENT_SOFTIRQ},
	 1234},
	{"          task-1-1234  (-------) [001] d.H.. 123.456789: mm_page_alloc:" ALLOC_1,
	 {EVENT_1, .time_ns = 123456789000, .cpu = 1, .flags = EVENT_SOFTIRQ | EVENT_HARDIRQ},
	 1234},
	{"           <...>-1234  [001] 123.456789: mm_page_free:        " FREE_2,
	 {EVENT_2, .time_ns = 123456789000, .cpu = 1},
	 1234},
	/* decimal frames of older kernels, unfamiliar orders and other fields between */
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc: page=0xffffea0000048d00 pfn=4660 order=2 "
	 "migratetype=1 gfp_flags=GFP_KERNEL|__GFP_ZERO",
	 {EVENT_1, .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc: [FAILED TO PARSE] gfp_flags=0xdc0 order=2 "
	 "new=1 migratetype=1 pfn=0x1234",
	 {EVENT_1, .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_free: page=0x1 pfn=0010 order=0",
	 {.kind = EVENT_FREE, .pfn = 10, .time_ns = 1500000000},
	 12},
	/* allocations that failed */
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc: page=(nil) pfn=0x0 order=9 migratetype=1 "
	 "gfp_flags=none",
	 {.kind = EVENT_ALLOC_FAILED,
	  .pfn = PFN_NONE,
	  .order = 9,
	  .migratetype = 1,
	  .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc: page=(null) pfn=0 order=9 migratetype=1 "
	 "gfp_flags=0x0",
	 {.kind = EVENT_ALLOC_FAILED,
	  .pfn = PFN_NONE,
	  .order = 9,
	  .migratetype = 1,
	  .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc: pfn=18446744073709551615 order=9 "
	 "migratetype=1 gfp_flags=0",
	 {.kind = EVENT_ALLOC_FAILED,
	  .pfn = PFN_NONE,
	  .order = 9,
	  .migratetype = 1,
	  .time_ns = 1500000000},
	 12},
	/* ground truth; types the kernel has and we have not */
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc_zone_locked: page=0x1 pfn=0x1234 order=2 "
	 "migratetype=4 percpu_refill=1",
	 {.kind = EVENT_ZONE_LOCKED,
	  .pfn = 0x1234,
	  .order = 2,
	  .migratetype = MIGRATE_CMA,
	  .flags = EVENT_PCPU_REFILL,
	  .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_pcpu_drain: page=0x1 pfn=0x1234 order=2 "
	 "migratetype=-1",
	 {.kind = EVENT_PCPU_DRAIN,
	  .pfn = 0x1234,
	  .order = 2,
	  .migratetype = MIGRATE_UNKNOWN,
	  .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_pcpu_drain: page=0x1 pfn=0x1234 order=2 "
	 "migratetype=6",
	 {.kind = EVENT_PCPU_DRAIN,
	  .pfn = 0x1234,
	  .order = 2,
	  .migratetype = MIGRATE_UNKNOWN,
	  .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: kmem:mm_page_alloc_extfrag: page=0x1 pfn=0x400 alloc_order=0 "
	 "fallback_order=10 pageblock_order=9 alloc_migratetype=0 fallback_migratetype=1 "
	 "fragmenting=0 change_ownership=1",
	 {.kind = EVENT_EXTFRAG, .pfn = 0x400, .arg = 10 | 1 << 8 | 1 << 16, .time_ns = 1500000000},
	 12},
	{"  task-1 12 [000] 1.5: compaction:mm_compaction_migratepages: nr_migrated=30 nr_failed=2",
	 {.kind = EVENT_COMPACTION,
	  .pfn = PFN_NONE,
	  .arg = 32 | UINT64_C(30) << 32,
	  .time_ns = 1500000000},
	 12},
};

/* Terminated as the scanner wants it, in memory of its own length. */
static enum perf_line_kind scan(const char *text, struct perf_line *parsed,
				struct perf_fault *fault, size_t *column)
{
	struct perf_scanner *scanner = calloc(1, sizeof(*scanner));
	size_t length = strlen(text);
	char *line = malloc(length + 1);
	enum perf_line_kind kind;

	assert_non_null(scanner);
	assert_non_null(line);
	memcpy(line, text, length);
	line[length] = '\n';
	kind = perf_line_scan(scanner, line, line + length, parsed, fault);
	if (kind == PERF_LINE_FAULT)
		*column = (size_t)(fault->at - line) + 1;
	free(line);
	free(scanner);
	return kind;
}

static void every_layout_of_a_line_is_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(line_cases); i++) {
		const struct line_case *c = &line_cases[i];
		struct perf_fault fault = {0};
		struct perf_line parsed;
		size_t column = 0;
		enum perf_line_kind kind = scan(c->line, &parsed, &fault, &column);

		if (kind != PERF_LINE_EVENT)
			fail_msg("kind %u at column %zu, expected %s: %s", kind, column,
				 fault.expected ? fault.expected : "-", c->line);
		if (memcmp(&parsed.event, &c->event, sizeof(c->event)) != 0 ||
		    parsed.pid != c->pid || !parsed.has_time)
			fail_msg("time %" PRIu64 " cpu %u pid %d kind %u pfn %#" PRIx64
				 " order %u type %u gfp %#x flags %#x arg %#" PRIx64 ": %s",
				 parsed.event.time_ns, parsed.event.cpu, parsed.pid,
				 parsed.event.kind, parsed.event.pfn, parsed.event.order,
				 parsed.event.migratetype, parsed.event.gfp, parsed.event.flags,
				 parsed.event.arg, c->line);
	}
}

static void what_is_no_event_is_skipped(void **state)
{
	static const char *const lines[] = {
		"",
		"   ",
		"# cmdline : perf record -e kmem:mm_page_alloc: x",
		"\tffffffff8161f78b __traceiter_mm_page_alloc+0x26b ([kernel.kallsyms])",
		"  task-1 12 [000] 1.5: sched:sched_wakeup: comm=mm_page_free: pid=9",
		"  task-1 12 [000] 1.5: tracing_mark_write: x 5 [001] 9.5: mm_page_free: pfn=1 "
		"order=0",
		"  task-1 12 [000] 1.5: kmem:mm_page_free_batched: page=0x1 pfn=0x1 order=0",
		"  task-1 12 [000] 1.5: kmem:mm_page_unheard_of: page=0x1 pfn=0x1 order=0",
		"  task-1 12 [000] 1.5: kmem:kmem_cache_alloc: call_site=x",
		/* a record that took no block */
		"  task-1 12 [000] 1.5: kmem:mm_page_alloc_zone_locked: page=(nil) pfn=0x0 order=0 "
		"migratetype=0 percpu_refill=1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct perf_fault fault;
		struct perf_line parsed;
		size_t column = 0;

		if (scan(lines[i], &parsed, &fault, &column) != PERF_LINE_SKIPPED)
			fail_msg("not skipped: %s", lines[i]);
	}
}

static void lost_events_are_counted(void **state)
{
	static const struct {
		const char *line;
		uint64_t lost, time_ns;
		uint16_t cpu;
	} cases[] = {
		{"  task-1  8441 [001]  1731.100186: PERF_RECORD_LOST lost 31", 31, 1731100186000,
		 1},
		{"  task-1  8441 [001]  1731.100186: PERF_RECORD_LOST_SAMPLES lost 4", 4,
		 1731100186000, 1},
		{"CPU:3 [LOST 12 EVENTS]", 12, 0, 3},
		{"CPU:0 [LOST EVENTS]", 1, 0, 0},
		{"CPU:17 [5 EVENTS DROPPED]", 5, 0, 17},
		{"# entries-in-buffer/entries-written: 205/1000   #P:2", 795, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct perf_fault fault;
		struct perf_line parsed;
		size_t column;

		assert_int_equal(scan(cases[i].line, &parsed, &fault, &column), PERF_LINE_LOST);
		assert_int_equal(parsed.event.kind, EVENT_LOST);
		assert_int_equal(parsed.event.arg, cases[i].lost);
		assert_int_equal(parsed.event.pfn, PFN_NONE);
		assert_int_equal(parsed.event.cpu, cases[i].cpu);
		assert_int_equal(parsed.event.time_ns, cases[i].time_ns);
		assert_int_equal(parsed.has_time, cases[i].time_ns != 0);
	}
}

#define HEAD "  task-1 12 [000] 1.5: kmem:"

static void a_damaged_line_is_told_by_its_column(void **state)
{
	static const struct {
		const char *line;
		int code;
		size_t column;
		const char *expected;
	} cases[] = {
		{HEAD "mm_page_free: page=0x1 pfn=0xzz order=0", EBADMSG, 56, "pfn=NUMBER"},
		{HEAD "mm_page_free: page=0x1 pfn=12x order=0", EBADMSG, 56, "pfn=NUMBER"},
		{HEAD "mm_page_free: page=0x1 pfn= order=0", EBADMSG, 56, "pfn=NUMBER"},
		{HEAD "mm_page_free: page=0x1 pfn=0x11112222333344445 order=0", EBADMSG, 56,
		 "pfn=NUMBER"},
		{HEAD "mm_page_free: page=0x1 pfn=18446744073709551616 order=0", EBADMSG, 56,
		 "pfn=NUMBER"},
		{HEAD "mm_page_free: page=0x1 pfn=0x1", EBADMSG, 59, "order=NUMBER"},
		{HEAD "mm_page_free: page=0x1 pfn=0x1 order=", EBADMSG, 66, "order=NUMBER"},
		{HEAD "mm_page_free:", EBADMSG, 42, "pfn=NUMBER"},
		{HEAD "mm_page_alloc: page=0x1 pfn=0x1 order=0 migratetype=0", EBADMSG, 82,
		 "gfp_flags=NAMES"},
		{HEAD "mm_page_alloc: page=0x1 pfn=0x1 order=0 migratetype=0 gfp_flags=", EBADMSG,
		 93, "gfp_flags=NAMES"},
		{HEAD "mm_page_free: page=0x1 pfn=0x1 order=32", ERANGE, 66,
		 "an order of at most 31"},
		{HEAD "mm_page_free: page=0x1 pfn=0x1 order=-1", ERANGE, 66,
		 "an order of at most 31"},
		{HEAD "mm_page_free: page=0x1 pfn=0x10000000000 order=0", ERANGE, 56,
		 "a pfn below 2^40"},
		{HEAD "mm_page_free: page=0x1 pfn=0xffffffffff order=1", ERANGE, 56,
		 "a pfn below 2^40"},
		{"  task-1 12 [000] kmem:mm_page_free: pfn=1 order=0", EBADMSG, 18,
		 "a time before the event"},
		{"  task-1 12 [000] 15: kmem:mm_page_free: pfn=1 order=0", EBADMSG, 21,
		 "a time SECONDS.FRACTION"},
		{"  task-1 12 [000] 1.0123456789: kmem:mm_page_free: pfn=1 order=0", EBADMSG, 31,
		 "a time SECONDS.FRACTION"},
		{"  task-1 12 [000] 12345678901.0: kmem:mm_page_free: pfn=1 order=0", EBADMSG, 32,
		 "a time SECONDS.FRACTION"},
		{"  task-1 12 [000] 9223372036.9: kmem:mm_page_free: pfn=1 order=0", EBADMSG, 31,
		 "a time SECONDS.FRACTION"},
		{"  task-1 12 [0x0] 1.5: kmem:mm_page_free: pfn=1 order=0", EBADMSG, 1,
		 "[CPU] before the time"},
		{"  task-1 12 [4096] 1.5: kmem:mm_page_free: pfn=1 order=0", ERANGE, 12,
		 "a CPU below 4096"},
		{"  task-1 4194304 [000] 1.5: kmem:mm_page_free: pfn=1 order=0", ERANGE, 10,
		 "a pid below 4194304"},
		{"  a-command-name-too-long 12 [000] 1.5: kmem:mm_page_free: pfn=1 order=0",
		 EBADMSG, 1, "a command name of at most 15 bytes"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct perf_fault fault = {0};
		struct perf_line parsed;
		size_t column = 0;
		enum perf_line_kind kind = scan(cases[i].line, &parsed, &fault, &column);

		if (kind != PERF_LINE_FAULT || fault.code != cases[i].code ||
		    column != cases[i].column || strcmp(fault.expected, cases[i].expected) != 0)
			fail_msg("kind %u code %d column %zu expected %s: %s", kind, fault.code,
				 column, fault.expected ? fault.expected : "-", cases[i].line);
	}
}

/* ---- whole files ---- */

static const struct {
	const char *text, *events;
} samples[] = {
	{"script.txt", "script.events"},
	{"ftrace.txt", "ftrace.events"},
};

static void format_event(const struct event *e, char *text, size_t size)
{
	char pfn[24] = "-";

	if (e->pfn != PFN_NONE)
		snprintf(pfn, sizeof(pfn), "%#" PRIx64, e->pfn);
	snprintf(text, size, "%" PRIu64 " %s %s %u %u %s%#x %u %u %u %s%#" PRIx64, e->time_ns,
		 event_kind_name(e->kind), pfn, e->order, e->migratetype, e->gfp ? "" : "0x",
		 e->gfp, e->context, e->cpu, e->flags, e->arg ? "" : "0x", e->arg);
}

/* The lists were made from the texts by other means, see tests/data/perf/README.md. */
static void samples_give_the_events_they_hold(void **state)
{
	const struct scratch *s = *state;
	const struct import_options options = {.overwrite = true};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct import_stats stats;
		struct error err;
		size_t bytes, n, at = 0;
		char *text = read_sample(samples[i].text, &bytes);
		char *golden = read_sample(samples[i].events, &bytes);
		char *rest = golden, *line;
		struct event *events;

		if (import_text(s, text, &options, &stats, &err))
			fail_msg("%s", err.text);
		events = read_events(s->out, &n);
		while ((line = strsep(&rest, "\n")) != NULL) {
			char got[256];

			if (*line == '#' || !*line)
				continue;
			assert_true(at < n);
			format_event(&events[at++], got, sizeof(got));
			assert_string_equal(got, line);
		}
		assert_int_equal(at, n);
		assert_int_equal(stats.totals.events, n);
		assert_int_equal(stats.unknown_gfp_names, 0);
		free(events);
		free(golden);
		free(text);
	}
}

static void an_event_of_another_format_than_asked_for_is_refused(void **state)
{
	static const struct {
		const char *text, *recorder;
		enum import_format format, other;
	} cases[] = {
		{"script.txt", "quire import (perf script)", IMPORT_PERF, IMPORT_FTRACE},
		{"ftrace.txt", "quire import (ftrace)", IMPORT_FTRACE, IMPORT_PERF},
	};
	const struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct import_options options = {.overwrite = true};
		struct import_stats told, asked;
		struct trace_reader *reader;
		struct error err;
		size_t bytes;
		char *text = read_sample(cases[i].text, &bytes);

		assert_int_equal(import_text(s, text, &options, &told, &err), 0);
		options.from = cases[i].format;
		assert_int_equal(import_text(s, text, &options, &asked, &err), 0);
		assert_string_equal(asked.totals.digest, told.totals.digest);
		assert_int_equal(trace_reader_open(s->out, 0, &reader, &err), 0);
		assert_string_equal(trace_reader_header(reader)->recorder, cases[i].recorder);
		trace_reader_close(reader);
		options.from = cases[i].other;
		assert_int_equal(import_text(s, text, &options, &asked, &err), -EBADMSG);
		assert_non_null(strstr(err.text, ": column "));
		assert_non_null(strstr(err.text, import_format_names[cases[i].format]));
		free(text);
	}
}

#define LINE(pid, cpu, time, rest) "  task-1 " pid " [" cpu "] " time ": kmem:" rest "\n"
#define FREE(pfn)		   "mm_page_free: page=0x0 pfn=" pfn " order=0"
#define ALLOC(pfn)		   "mm_page_alloc: pfn=" pfn " order=0 migratetype=0 gfp_flags=GFP_KERNEL"

static void the_machine_is_described_from_what_was_seen(void **state)
{
	const struct scratch *s = *state;
	static const struct {
		const char *pfn;
		uint64_t memory_bytes, end;
		uint32_t zones;
	} cases[] = {
		{"0x1", 0, 32768, 2},	 {"0x7fff", 0, 32768, 2},
		{"0x8000", 0, 65536, 2}, {"0x100000", 0, 1048576 + 32768, 3},
		{"0x1", 8192, 2, 1},	 {"0x1", UINT64_C(8) << 30, UINT64_C(2) << 20, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct import_options options = {.overwrite = true,
						       .memory_bytes = cases[i].memory_bytes,
						       .note = "from elsewhere",
						       .kernel = "5.4.0"};
		const struct trace_header *header;
		struct trace_reader *reader;
		struct error err;
		char text[512];

		snprintf(text, sizeof(text), "  task-1 7 [005] 1.0: mm_page_free: pfn=%s order=0\n",
			 cases[i].pfn);
		if (import_text(s, text, &options, NULL, &err))
			fail_msg("%s", err.text);
		if (trace_reader_open(s->out, 0, &reader, &err))
			fail_msg("%s", err.text);
		header = trace_reader_header(reader);
		assert_int_equal(machine_start(header->machine), 0);
		assert_int_equal(machine_end(header->machine), cases[i].end);
		assert_int_equal(machine_managed(header->machine), cases[i].end);
		assert_int_equal(header->machine->nr_zones, cases[i].zones);
		assert_int_equal(header->machine->nr_cpus, 6);
		assert_int_equal(header->machine->nr_nodes, 1);
		assert_int_equal(header->identity, IDENTITY_PFN);
		assert_int_equal(header->compatible_features, 0);
		assert_string_equal(header->kernel, "5.4.0");
		assert_string_equal(header->note, "from elsewhere");
		trace_reader_close(reader);
	}
}

/*
 * A recording of @sound events below @end whose frames are neighbours, and of others: @strange events, each
 * @step frames behind the one before.
 */
struct spread {
	unsigned int sound;
	uint64_t end;
	uint64_t first;
	unsigned int strange;
	uint64_t step;
	bool warned;
	const char *why;
};

#define GIB (UINT64_C(1) << 18) /* frames */

static char *spread_text(const struct spread *x)
{
	size_t room = 120 * (x->sound + x->strange) + 1, at = 0;
	char *text = malloc(room);
	unsigned int lines = x->sound + x->strange;

	assert_non_null(text);
	text[0] = '\0';
	for (unsigned int i = 0; i < lines; i++) {
		/* The strange ones in the middle. */
		bool strange = i >= x->sound / 2 && i < x->sound / 2 + x->strange;
		uint64_t pfn = strange ? x->first + (i - x->sound / 2) * x->step
				       : x->end - 1 - i % (x->end < 1000 ? x->end : 1000);

		at += (size_t)snprintf(text + at, room - at,
				       "  task-1 7 [000] 1.%06u: mm_page_free: pfn=0x%" PRIx64
				       " order=0\n",
				       i, pfn);
	}
	return text;
}

static void a_few_frames_far_above_all_others_are_told(void **state)
{
	const struct scratch *s = *state;
	const struct import_options options = {.overwrite = true};
	static const struct spread cases[] = {
		{300, 22 * GIB, 0xfffffff0, 1, 0, true, "one digit of many"},
		{300, 22 * GIB, 0xfffffff0, 2, 16, true, "the same frame's allocation and free"},
		{16, 2 * GIB, 100 * GIB, 1, 0, true, "one of few"},
		{5000, 4 * GIB, 512 * GIB, 50, 64 * GIB, true, "one in a hundred, all over"},
		{12, 2 * GIB, 100 * GIB, 1, 0, false, "too few to say which is right"},
		{300, 22 * GIB, 40 * GIB, 1, 0, false, "less than twice the machine"},
		{300, GIB, 4 * GIB, 1, 0, false, "above the hole for devices"},
		{300, 64 * GIB, 1024 * GIB, 9, 1, false, "more than one in a hundred"},
		{30000, 64 * GIB, 1024 * GIB, 40, 7, false, "the idle node of a sparse machine"},
		{30000, 64 * GIB, 1024 * GIB, 3, 512, false, "its three frames"},
		{300, 22 * GIB, 21 * GIB, 1, 0, false, "no gap at all"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct spread *x = &cases[i];
		uint64_t last = x->first + (x->strange - 1) * x->step;
		struct import_stats stats;
		struct error err;
		char *text = spread_text(x);

		if (import_text(s, text, &options, &stats, &err))
			fail_msg("%s: %s", x->why, err.text);
		if (stats.memory_bytes != align_up(max_u64(x->end, last + 1), 32768) << 12)
			fail_msg("%s: %" PRIu64 " bytes of memory", x->why, stats.memory_bytes);
		if (!stats.strays.events != !x->warned)
			fail_msg("%s: %" PRIu64 " strays", x->why, stats.strays.events);
		if (x->warned) {
			assert_int_equal(stats.strays.events, x->strange);
			assert_int_equal(stats.strays.of, x->sound + x->strange);
			assert_int_equal(stats.strays.line, x->sound / 2 + 1);
			assert_int_equal(stats.strays.pfn, x->first);
			assert_int_equal(stats.memory_without_strays_bytes, align_up(x->end, 32768)
										    << 12);
		}
		free(text);
	}
}

static void what_lies_beyond_the_memory_given_is_lost_if_asked_for(void **state)
{
	const struct spread x = {300, 2 * GIB, 0xfffffff0, 2, 16, true, ""};
	const struct import_options options = {
		.overwrite = true, .memory_bytes = 2 * GIB << 12, .drop_beyond = true};
	const struct scratch *s = *state;
	char *text = spread_text(&x);
	struct import_stats stats;
	struct event *events;
	struct error err;
	size_t n;

	if (import_text(s, text, &options, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.dropped_events, 2);
	assert_int_equal(stats.totals.lost_events, 2);
	assert_int_equal(stats.totals.ops, 300);
	assert_int_equal(stats.memory_bytes, 2 * GIB << 12);
	assert_int_equal(stats.strays.events, 0);
	events = read_events(s->out, &n);
	assert_int_equal(n, 302);
	assert_int_equal(events[150].kind, EVENT_LOST);
	assert_int_equal(events[150].arg, 1);
	assert_int_equal(events[150].time_ns, 1000150000);
	free(events);
	free(text);
}

static void the_kernel_release_of_a_perf_header_is_kept(void **state)
{
	const struct scratch *s = *state;
	struct trace_reader *reader;
	struct import_stats stats;
	struct error err;

	if (import_text(s,
			"# hostname : task-1\n# os release : 6.1.0-13-amd64\n# ========\n#\n" LINE(
				"5", "000", "1.0", FREE("0x10")),
			NULL, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.lines, 5);
	assert_int_equal(stats.skipped_lines, 4);
	if (trace_reader_open(s->out, 0, &reader, &err))
		fail_msg("%s", err.text);
	assert_string_equal(trace_reader_header(reader)->kernel, "6.1.0-13-amd64");
	trace_reader_close(reader);
}

static void threads_are_numbered_by_first_appearance(void **state)
{
	const struct scratch *s = *state;
	static const uint32_t want[] = {1, 2, 1, 3, 0, 2};
	struct event *events;
	struct error err;
	size_t n;

	if (import_text(s,
			LINE("4194303", "000", "1.0", FREE("0x10"))
				LINE("0", "000", "1.1", FREE("0x11")) LINE("4194303", "000", "1.2",
									   ALLOC("0x10"))
					LINE("4096", "000", "1.3",
					     ALLOC("0x10")) "1.4: mm_page_free: pfn=1 "
							    "order=0\n" LINE("0", "000", "1.5",
									     ALLOC("0x11")),
			NULL, NULL, &err))
		fail_msg("%s", err.text);
	events = read_events(s->out, &n);
	assert_int_equal(n, ARRAY_SIZE(want));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(events[i].context, want[i]);
	free(events);
}

static void times_running_back_are_sorted_up_to_ten_milliseconds(void **state)
{
	const struct scratch *s = *state;
	struct import_stats stats;
	struct event *events;
	struct error err;
	size_t n;

	if (import_text(s,
			LINE("5", "000", "1.000", FREE("0x10"))
				LINE("5", "000", "1.020", FREE("0x12"))
					LINE("5", "001", "1.010", FREE("0x11")),
			NULL, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.totals.resorted, 1);
	events = read_events(s->out, &n);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(events[i].pfn, 0x10 + i);
	free(events);
}

static void a_lost_record_without_a_time_gets_that_of_its_neighbour(void **state)
{
	const struct scratch *s = *state;
	struct import_stats stats;
	struct event *events;
	struct error err;
	size_t n;

	if (import_text(s,
			"CPU:0 [LOST 3 EVENTS]\nCPU:1 [LOST 4 EVENTS]\n" LINE("5", "000", "1.0",
									      FREE("0x10"))
				LINE("5", "000", "2.0", FREE("0x11")) "CPU:1 [LOST 9 EVENTS]\n",
			NULL, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.totals.lost_events, 16);
	events = read_events(s->out, &n);
	assert_int_equal(n, 4);
	assert_int_equal(events[0].kind, EVENT_LOST);
	assert_int_equal(events[0].arg, 7);
	assert_int_equal(events[0].time_ns, 1000000000);
	assert_int_equal(events[3].kind, EVENT_LOST);
	assert_int_equal(events[3].time_ns, 2000000000);
	free(events);
}

static void unknown_flag_names_are_counted_for_every_event(void **state)
{
	const struct scratch *s = *state;
	struct import_stats stats;
	struct event *events;
	struct error err;
	size_t n;
	char text[4096] = "";

	/* The same text is looked up the second time, a very long one never is kept. */
	for (int i = 0; i < 2; i++)
		strcat(text, LINE("5", "000", "1.0",
				  "mm_page_alloc: pfn=0x10 order=0 migratetype=0 "
				  "gfp_flags=GFP_KERNEL|__GFP_UNHEARD_OF|__GFP_ZERO"));
	strcat(text,
	       "  task-1 5 [000] 1.0: mm_page_alloc: pfn=0x10 order=0 migratetype=0 gfp_flags=");
	for (int i = 0; i < 40; i++)
		strcat(text, "__GFP_ZERO|");
	strcat(text, "__GFP_UNHEARD_OF\n");
	if (import_text(s, text, NULL, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.unknown_gfp_names, 3);
	events = read_events(s->out, &n);
	assert_int_equal(n, 3);
	assert_int_equal(events[0].gfp, KERNEL_GFP | GFP_ZERO);
	assert_int_equal(events[1].gfp, KERNEL_GFP | GFP_ZERO);
	assert_int_equal(events[2].gfp, GFP_ZERO);
	free(events);
}

static void lines_across_buffer_borders_are_whole(void **state)
{
	const struct scratch *s = *state;
	const struct import_options options = {0};
	const unsigned int lines = 60000; /* several buffers of 1 MiB */
	struct import_stats stats;
	struct error err = {0};
	struct event *events;
	FILE *f = fopen(s->in, "w");
	size_t n;

	assert_non_null(f);
	for (unsigned int i = 0; i < lines; i++)
		fprintf(f, "%*s %u [000] %u.%06u: kmem:mm_page_free: page=0x0 pfn=%#x order=0\n",
			(int)(1 + i % 15), "t", 1 + i % 7, i / 1000, i % 1000, i + 1);
	assert_int_equal(fclose(f), 0);
	if (import_file(s->in, s->out, &options, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.lines, lines);
	events = read_events(s->out, &n);
	assert_int_equal(n, lines);
	for (unsigned int i = 0; i < lines; i++) {
		assert_int_equal(events[i].pfn, i + 1);
		assert_int_equal(events[i].time_ns,
				 i / 1000 * UINT64_C(1000000000) + i % 1000 * 1000);
	}
	free(events);
}

static void standard_input_is_read_for_a_dash(void **state)
{
	const struct scratch *s = *state;
	const struct import_options options = {0};
	struct import_stats stats;
	struct error err = {0};
	int saved = dup(STDIN_FILENO), file, rc;

	write_file(s->in, LINE("5", "000", "1.0", FREE("0x10")),
		   sizeof(LINE("5", "000", "1.0", FREE("0x10"))) - 1);
	file = open(s->in, O_RDONLY);
	assert_true(file >= 0);
	assert_true(dup2(file, STDIN_FILENO) == STDIN_FILENO);
	close(file);
	rc = import_file("-", s->out, &options, &stats, &err);
	if (saved >= 0) {
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
	if (rc)
		fail_msg("%s", err.text);
	assert_int_equal(stats.totals.by_kind[EVENT_FREE], 1);
}

/* ---- what goes wrong ---- */

static void bad_input_gives_one_line_and_no_output(void **state)
{
	const struct scratch *s = *state;
	static const struct {
		const char *text;
		size_t bytes; /* 0: up to the end of the string */
		int code;
		const char *says; /* behind "FILE" */
		uint64_t memory_bytes;
	} cases[] = {
		{"", 0, ENODATA, ": is empty; give", 0},
		{"PERFILE2\x68\0\0\0", 12, EBADMSG, ": this is perf.data; run perf script", 0},
		{"\x17\x08\x44tracing6\0", 12, EBADMSG, ": this is trace.dat; run trace-cmd", 0},
		{"\x89QUIRE\r\n\0\0", 10, EBADMSG, ": this is a trace already; use", 0},
		{"\x1f\x8b\x08\x00", 4, EBADMSG, ": this is compressed by gzip; ", 0},
		{"\x7f"
		 "ELF\x02\x01\0\0\n\n",
		 10, EBADMSG, ":1: column 7: expected text, got", 0},
		{"hello\nworld\n", 0, ENODATA,
		 ": no page-allocator event in 2 lines; record them: perf record -a -e ", 0},
		{LINE("5", "000", "1.0", "mm_page_free_batched: page=0x0 pfn=0x1 order=0"), 0,
		 ENODATA, ": no page-allocator event in 1 lines", 0},
		{LINE("5", "000", "1.0", FREE("0x10")) "  task-1 5 [000] 1.1: kmem:mm_page_fr", 0,
		 EBADMSG, ":2: the last line is cut off; ", 0},
		{LINE("5", "000", "1.0", FREE("0x10")) LINE("5", "000", "1.0", FREE("0x1g")), 0,
		 EBADMSG, ":2: column 55: expected pfn=NUMBER, got '0x1g order=0'; ", 0},
		{"  task-1 5 [000] 1.0: mm_page_free: pfn=0x1\n", 0, EBADMSG,
		 ":1: column 44: expected order=NUMBER, got the end of the line; ", 0},
		{LINE("5", "000", "1.0", FREE("0x10")) LINE("5", "000", "0.98", FREE("0x10")), 0,
		 ERANGE, ":2: ", 0},
		{LINE("5", "000", "1.0", FREE("0x10")), 0, ERANGE,
		 ":1: expected frames below pfn 0x10", 65536},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct import_options options = {.memory_bytes = cases[i].memory_bytes};
		struct import_stats stats = {.lines = 77};
		struct error err = {0};
		size_t bytes = cases[i].bytes ? cases[i].bytes : strlen(cases[i].text);
		int rc;

		write_file(s->in, cases[i].text, bytes);
		rc = import_file(s->in, s->out, &options, &stats, &err);
		if (rc != -cases[i].code || err.code != cases[i].code ||
		    strncmp(err.text, s->in, strlen(s->in)) != 0 ||
		    strncmp(err.text + strlen(s->in), cases[i].says, strlen(cases[i].says)) != 0)
			fail_msg("case %zu: %d '%s'", i, rc, err.text);
		assert_null(strpbrk(err.text, "\n\r"));
		assert_int_equal(stats.lines, 77);
		assert_false(exists(s->out));
	}
}

static void a_line_without_end_is_refused(void **state)
{
	const struct scratch *s = *state;
	const struct import_options options = {0};
	struct error err = {0};
	size_t bytes = (1U << 20) + 5;
	char *text = malloc(bytes);

	assert_non_null(text);
	memset(text, 'x', bytes);
	text[0] = '\n';
	write_file(s->in, text, bytes);
	free(text);
	assert_int_equal(import_file(s->in, s->out, &options, NULL, &err), -EBADMSG);
	assert_non_null(strstr(err.text, ":2: the line is longer than 1 MiB"));
	assert_false(exists(s->out));
}

static void files_that_cannot_be_used_are_named(void **state)
{
	const struct scratch *s = *state;
	const struct import_options plain = {0}, odd = {.memory_bytes = 4097},
				    force = {.overwrite = true};
	const char good[] = LINE("5", "000", "1.0", FREE("0x10"));
	struct error err = {0};
	char path[200];

	assert_int_equal(import_file(s->in, s->out, &plain, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, s->in));
	assert_int_equal(import_file(s->directory, s->out, &plain, NULL, &err), -EISDIR);
	write_file(s->in, good, sizeof(good) - 1);
	snprintf(path, sizeof(path), "%s/missing/out.quire", s->directory);
	assert_int_equal(import_file(s->in, path, &plain, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(import_file(s->in, s->out, &odd, NULL, &err), -EINVAL);
	assert_int_equal(import_file(s->in, s->in, &force, NULL, &err), -EINVAL);
	assert_true(exists(s->in));
	assert_false(exists(s->out));

	write_file(s->out, "old", 3);
	assert_int_equal(import_file(s->in, s->out, &plain, NULL, &err), -EEXIST);
	assert_int_equal(import_file(s->in, s->out, &force, NULL, &err), 0);
	assert_true(exists(s->out));
	/* and a failure leaves what was there */
	write_file(s->in, good, sizeof(good) - 2);
	write_file(s->out, "old", 3);
	assert_int_equal(import_file(s->in, s->out, &force, NULL, &err), -EBADMSG);
	assert_true(exists(s->out));
}

/* ---- hostile input ---- */

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* A few bytes changed, swapped in from elsewhere, removed, or the end cut off. */
static size_t mutate(char *data, size_t bytes, uint64_t *random)
{
	static const char spice[] = "\0\n\r\t []:=.-/()x0123456789#\xff_";
	unsigned int changes = 1 + (unsigned int)(random_next(random) % 8);

	while (changes-- && bytes > 16) {
		size_t at = random_next(random) % (bytes - 8);
		size_t from = random_next(random) % (bytes - 8);

		switch (random_next(random) % 5) {
		case 0:
			data[at] = spice[random_next(random) % sizeof(spice)];
			break;
		case 1:
			data[at] = (char)random_next(random);
			break;
		case 2:
			memmove(data + at, data + from, 1 + random_next(random) % 8);
			break;
		case 3:
			memmove(data + at, data + at + 3, bytes - at - 3);
			bytes -= 3;
			break;
		default:
			if (random_next(random) % 8 == 0)
				bytes = 1 + at;
		}
	}
	return bytes;
}

static void mutated_lines_never_break_a_promise(void **state)
{
	const uint64_t seed = 20240229;
	uint64_t random = seed;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		size_t bytes;
		char *sample = read_sample(samples[i].text, &bytes);

		/* Short pieces, so that many of them see a change in every line. */
		for (int round = 0; round < 4000 * (int)test_effort(); round++) {
			char piece[1024];
			size_t start = random_next(&random) % (bytes - sizeof(piece));
			size_t length;

			memcpy(piece, sample + start, sizeof(piece));
			length = mutate(piece, sizeof(piece), &random);
			LLVMFuzzerTestOneInput((const uint8_t *)piece, length); /* aborts */
		}
		free(sample);
	}
}

static void mutated_files_are_imported_or_refused_whole(void **state)
{
	const struct scratch *s = *state;
	const struct import_options options = {.overwrite = true};
	const uint64_t seed = 20240301;
	uint64_t random = seed;
	unsigned int good = 0, bad = 0;

	for (int round = 0; round < 120 * (int)test_effort(); round++) {
		const char *name = samples[round % 2].text;
		struct import_stats stats;
		struct error err = {0};
		size_t bytes;
		char *text = read_sample(name, &bytes);

		bytes = mutate(text, bytes, &random);
		write_file(s->in, text, bytes);
		free(text);
		unlink(s->out);
		if (import_file(s->in, s->out, &options, &stats, &err) == 0) {
			size_t n;
			struct event *events = read_events(s->out, &n);

			if (n != stats.totals.events)
				fail_msg("seed %" PRIu64 " round %d: %zu events of %" PRIu64, seed,
					 round, n, stats.totals.events);
			free(events);
			good++;
		} else {
			if (exists(s->out) || strncmp(err.text, s->in, strlen(s->in)) != 0)
				fail_msg("seed %" PRIu64 " round %d: '%s'", seed, round, err.text);
			bad++;
		}
	}
	/* or the mutations prove nothing */
	assert_true(good > 10);
	assert_true(bad > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_layout_of_a_line_is_understood),
		cmocka_unit_test(what_is_no_event_is_skipped),
		cmocka_unit_test(lost_events_are_counted),
		cmocka_unit_test(a_damaged_line_is_told_by_its_column),
		cmocka_unit_test(mutated_lines_never_break_a_promise),
#define WITH_FILES(f) cmocka_unit_test_setup_teardown(f, make_scratch, drop_scratch)
		WITH_FILES(samples_give_the_events_they_hold),
		WITH_FILES(an_event_of_another_format_than_asked_for_is_refused),
		WITH_FILES(the_machine_is_described_from_what_was_seen),
		WITH_FILES(a_few_frames_far_above_all_others_are_told),
		WITH_FILES(what_lies_beyond_the_memory_given_is_lost_if_asked_for),
		WITH_FILES(the_kernel_release_of_a_perf_header_is_kept),
		WITH_FILES(threads_are_numbered_by_first_appearance),
		WITH_FILES(times_running_back_are_sorted_up_to_ten_milliseconds),
		WITH_FILES(a_lost_record_without_a_time_gets_that_of_its_neighbour),
		WITH_FILES(unknown_flag_names_are_counted_for_every_event),
		WITH_FILES(lines_across_buffer_borders_are_whole),
		WITH_FILES(standard_input_is_read_for_a_dash),
		WITH_FILES(bad_input_gives_one_line_and_no_output),
		WITH_FILES(a_line_without_end_is_refused),
		WITH_FILES(files_that_cannot_be_used_are_named),
		WITH_FILES(mutated_files_are_imported_or_refused_whole),
	};

	return cmocka_run_group_tests_name("import_perf", tests, NULL, NULL);
}
