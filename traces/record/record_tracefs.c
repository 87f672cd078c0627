/* SPDX-License-Identifier: MIT */
#include "traces/record/record_tracefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/magic.h>
#include <time.h>
#include <unistd.h>

#include <traceevent/event-parse.h>
#include <traceevent/kbuffer.h>
#include <tracefs/tracefs.h>

#include "base/bits.h"

#define INSTANCE_PREFIX	     "quire-"
#define BUFFER_BYTES_DEFAULT (UINT64_C(8) << 20)
#define READER_BYTES	     (UINT64_C(1) << 20) /* written to the spool at once */
#define READER_SLEEP_NS	     10000000L

/* ---- the tracepoints ---- */

enum { FIELD_PFN, FIELD_ORDER, FIELD_GFP, FIELD_TYPE, FIELD_A, FIELD_B, FIELD_C, FIELDS };

struct tracepoint {
	const char *system, *name;
	uint8_t kind;
	bool optional;
	const char *fields[FIELDS];
};

static const struct tracepoint tracepoints[] = {
	{"kmem", "mm_page_alloc", EVENT_ALLOC, false, {"pfn", "order", "gfp_flags", "migratetype"}},
	{"kmem", "mm_page_free", EVENT_FREE, false, {"pfn", "order"}},
	{"kmem",
	 "mm_page_alloc_zone_locked",
	 EVENT_ZONE_LOCKED,
	 false,
	 {"pfn", "order", NULL, "migratetype"}},
	{"kmem",
	 "mm_page_pcpu_drain",
	 EVENT_PCPU_DRAIN,
	 false,
	 {"pfn", "order", NULL, "migratetype"}},
	{"kmem",
	 "mm_page_alloc_extfrag",
	 EVENT_EXTFRAG,
	 false,
	 {"pfn", "alloc_order", NULL, "alloc_migratetype", "fallback_order", "fallback_migratetype",
	  "change_ownership"}},
	{"compaction",
	 "mm_compaction_migratepages",
	 EVENT_COMPACTION,
	 true,
	 {NULL, NULL, NULL, NULL, "nr_migrated", "nr_failed"}},
	{"vmscan",
	 "mm_vmscan_kswapd_wake",
	 EVENT_KSWAPD_WAKE,
	 true,
	 {NULL, "order", NULL, NULL, "nid"}},
	{"vmscan",
	 "mm_vmscan_kswapd_sleep",
	 EVENT_KSWAPD_SLEEP,
	 true,
	 {NULL, NULL, NULL, NULL, "nid"}},
};

#define NR_TRACEPOINTS ARRAY_SIZE(tracepoints)

struct place {
	uint16_t offset, size; /* size 0: the tracepoint has no such field */
};

struct layout {
	bool present;
	int id;
	struct place fields[FIELDS], percpu_refill;
};

struct decoder {
	struct layout layouts[NR_TRACEPOINTS];
	struct place type, flags, preempt, pid;
	uint32_t gfp[64];
	struct migratetype_names migratetypes;
};

/* ---- readers: ring buffer to spool ---- */

struct reader {
	pthread_t thread;
	bool running;
	uint32_t cpu;
	int pipe, spool;
	uint8_t *buffer;	 /* READER_BYTES */
	size_t fill, page_bytes; /* in the buffer; once the spool is full, the end of the stream */
	uint64_t bytes;		 /* of the spool */
	bool give_back;		 /* what is read from the spool is needed no more */
	_Atomic bool *stop;
	_Atomic int failure; /* errno */
};

/* ---- one CPU's spool as a stream ---- */

struct lane {
	struct kbuffer *kbuffer;
	uint8_t *buffer; /* READER_BYTES */
	uint64_t offset; /* of the stream: next to be read into buffer */
	size_t at, size; /* in buffer: next page, end */
	bool in_page;
	uint64_t last_ns;
	struct event head; /* the next event, if !done */
	bool done;
};

struct tracer {
	struct tracefs_instance *instance;
	char directory[96]; /* of the instance: removing it must not need memory */
	struct decoder decoder;
	struct reader *readers;
	struct lane *lanes;
	uint32_t *heap; /* lanes not done, the earliest first */
	uint32_t nr_cpus, nr_heap;
	size_t page_bytes;
	_Atomic bool stop;
	uint64_t kernel_lost;
};

static int fail_file(struct error *err, const char *file, const char *what)
{
	int code = errno ? errno : EIO;

	return error_set(err, code, "tracefs: %s: %s: %s", file, what, strerror(code));
}

/*
 * @file was not read, or what was read (@text) not understood. The library that tried does not say why;
 * but errno, 0 before, tells whether memory was short or reading failed.
 */
static int fail_format(struct error *err, const char *file, const char *text)
{
	if (errno == ENOMEM || (!text && errno && errno != ENOENT))
		return fail_file(err, file, "cannot be read");
	return error_set(err, EOPNOTSUPP, "tracefs: %s: not understood", file);
}

/* ---- finding tracefs ---- */

/* The library would mount it unasked; we only look. */
static int find_tracefs(const char **place, struct error *err)
{
	static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

	*place = NULL;
	if (geteuid() != 0)
		return error_set(err, EPERM, "recording needs root; run it with sudo");
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct statfs fs;

		if (statfs(places[i], &fs) == 0 && fs.f_type == TRACEFS_MAGIC) {
			if (tracefs_set_tracing_dir((char *)(uintptr_t)places[i]))
				return error_set(err, ENOMEM, "tracefs: out of memory");
			*place = places[i];
			return 0;
		}
	}
	return error_set(err, ENOENT,
			 "/sys/kernel/tracing: tracefs is not mounted; run: mount -t tracefs none "
			 "/sys/kernel/tracing");
}

/* Instances of recorders that were killed before they could clean up. */
static void remove_stale_instances(void)
{
	char *path = tracefs_get_tracing_file("instances");
	DIR *dir = path ? opendir(path) : NULL;
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const size_t prefix = sizeof(INSTANCE_PREFIX) - 1;
		char *end;
		long pid;

		if (strncmp(entry->d_name, INSTANCE_PREFIX, prefix) != 0)
			continue;
		pid = strtol(entry->d_name + prefix, &end, 10);
		if (*end == '\0' && pid > 0 && pid < INT_MAX && kill((pid_t)pid, 0) < 0 &&
		    errno == ESRCH)
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	}
	if (dir)
		closedir(dir);
	tracefs_put_tracing_file(path);
}

/* ---- formats ---- */

static struct place place_of(const struct tep_format_field *f)
{
	if (!f || f->offset < 0 || f->offset > UINT16_MAX || f->size <= 0 || f->size > 8)
		return (struct place){0};
	return (struct place){(uint16_t)f->offset, (uint16_t)f->size};
}

static int layout_fields(struct decoder *d, size_t i, struct tep_event *event, struct error *err)
{
	const struct tracepoint *tp = &tracepoints[i];
	struct layout *layout = &d->layouts[i];

	for (unsigned int f = 0; f < FIELDS; f++) {
		if (!tp->fields[f])
			continue;
		layout->fields[f] = place_of(tep_find_field(event, tp->fields[f]));
		if (!layout->fields[f].size)
			return error_set(
				err, EOPNOTSUPP,
				"tracefs: events/%s/%s/format: no field \"%s\"; this kernel "
				"is too old or too new for this recorder",
				tp->system, tp->name, tp->fields[f]);
	}
	layout->percpu_refill = place_of(tep_find_field(event, "percpu_refill"));
	d->type = place_of(tep_find_common_field(event, "common_type"));
	d->flags = place_of(tep_find_common_field(event, "common_flags"));
	d->preempt = place_of(tep_find_common_field(event, "common_preempt_count"));
	d->pid = place_of(tep_find_common_field(event, "common_pid"));
	if (d->type.size != 2 || !d->pid.size)
		return error_set(err, EOPNOTSUPP,
				 "tracefs: events/%s/%s/format: no usable common fields",
				 tp->system, tp->name);
	layout->id = event->id;
	layout->present = true;
	return 0;
}

static int read_format(struct tracer *t, struct tep_handle *tep, size_t i, struct error *err)
{
	const struct tracepoint *tp = &tracepoints[i];
	struct tep_event *event;
	char file[96], *text;
	int size, rc;

	snprintf(file, sizeof(file), "events/%s/%s/format", tp->system, tp->name);
	errno = 0;
	text = tracefs_event_file_read(t->instance, tp->system, tp->name, "format", &size);
	if (!text && errno && errno != ENOENT)
		return fail_format(err, file, text);
	if (!text && tp->optional)
		return 0;
	if (!text)
		return error_set(err, ENOENT,
				 "tracefs: events/%s/%s: no such tracepoint; the kernel needs "
				 "CONFIG_EVENT_TRACING",
				 tp->system, tp->name);
	/* What may not be understood is the print format, which we do not use. */
	tep_parse_event(tep, text, (unsigned long)size, tp->system);
	event = tep_find_event_by_name(tep, tp->system, tp->name);
	if (!event)
		rc = fail_format(err, file, text);
	else
		rc = layout_fields(&t->decoder, i, event, err);
	if (rc == 0 && tp->kind == EVENT_ALLOC)
		tracer_gfp_bits(text, t->decoder.gfp);
	free(text);
	return rc;
}

static int read_formats(struct tracer *t, struct error *err)
{
	struct tep_handle *tep = tep_alloc();
	char *text = NULL;
	int size, rc = 0;

	if (!tep)
		return error_set(err, ENOMEM, "tracefs: out of memory");
	errno = 0;
	text = tracefs_instance_file_read(NULL, "events/header_page", &size);
	if (!text || tep_parse_header_page(tep, text, (unsigned long)size, (int)sizeof(long)) != 0)
		rc = fail_format(err, "events/header_page", text);
	free(text);
	if (rc == 0)
		t->page_bytes = (size_t)tep_get_sub_buffer_size(tep);
	if (rc == 0 && (t->page_bytes < 4096 || t->page_bytes > READER_BYTES ||
			!is_power_of_two(t->page_bytes)))
		rc = errno == ENOMEM ? fail_format(err, "events/header_page", NULL)
				     : error_set(err, EOPNOTSUPP,
						 "tracefs: events/header_page: pages of %zu bytes",
						 t->page_bytes);
	for (size_t i = 0; i < NR_TRACEPOINTS && rc == 0; i++)
		rc = read_format(t, tep, i, err);
	tep_free(tep);
	return rc;
}

/* ---- set up ---- */

static int set_up_instance(struct tracer *t, const char *tracefs, uint64_t buffer_bytes,
			   struct error *err)
{
	char name[64];

	remove_stale_instances();
	snprintf(name, sizeof(name), INSTANCE_PREFIX "%ld", (long)getpid());
	snprintf(t->directory, sizeof(t->directory), "%s/instances/%s", tracefs, name);
	errno = 0;
	t->instance = tracefs_instance_create(name);
	if (!t->instance) {
		int rc = fail_file(err, name, "the instance cannot be made");

		rmdir(t->directory); /* it may have been made, and then memory ran out */
		return rc;
	}
	if (tracefs_instance_file_write(t->instance, "tracing_on", "0") < 0)
		return fail_file(err, "tracing_on", "cannot be written");
	if (tracefs_instance_file_write(t->instance, "trace_clock", "mono") < 0)
		return fail_file(err, "trace_clock", "the clock `mono` cannot be set");
	if (tracefs_instance_set_buffer_size(t->instance, (size_t)div_round_up(buffer_bytes, 1024),
					     -1) < 0)
		return fail_file(err, "buffer_size_kb",
				 "not enough memory for the ring buffers; use a smaller buffer");
	/* Names of tasks are neither wanted nor worth their cost. */
	tracefs_instance_file_write(t->instance, "options/record-cmd", "0");
	return 0;
}

/* A file without a name; its blocks are free again when it is closed, whatever happens. Direct I/O, so
   that spooling does not fill the page cache of the machine it observes. */
static int open_spool(const char *dir, struct error *err)
{
	int flags = O_TMPFILE | O_RDWR | O_CLOEXEC, fd;

	fd = open(dir, flags | O_DIRECT, 0600);
	if (fd < 0 && errno == EINVAL)
		fd = open(dir, flags, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
		char path[PATH_MAX];
		struct stat st;

		if (stat(dir, &st) < 0)
			return error_set(err, errno, "%s: %s", dir, strerror(errno));
		snprintf(path, sizeof(path), "%s/.quire-spool-XXXXXX", dir);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}
	if (fd < 0)
		return error_set(err, errno, "%s: no temporary file can be made: %s", dir,
				 strerror(errno));
	return fd;
}

/* Page-aligned, touched and, if allowed, locked: no fault while recording. */
static void *alloc_touched(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	memset(p, 1, bytes);
	if (mlock(p, bytes)) {
		/* Only a nicety. */
	}
	return p;
}

static int open_reader(struct tracer *t, uint32_t cpu, const char *spool, struct error *err)
{
	struct reader *r = &t->readers[cpu];
	char file[64], *path;

	snprintf(file, sizeof(file), "per_cpu/cpu%" PRIu32 "/trace_pipe_raw", cpu);
	path = tracefs_instance_get_file(t->instance, file);
	if (!path)
		return error_set(err, ENOMEM, "tracefs: out of memory");
	r->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	tracefs_put_tracing_file(path);
	if (r->pipe < 0 && errno == ENOENT)
		return 0; /* a gap in the numbering of CPUs */
	if (r->pipe < 0)
		return fail_file(err, file, "cannot be opened");
	r->spool = open_spool(spool, err);
	if (r->spool < 0)
		return r->spool;
	r->page_bytes = t->page_bytes;
	r->stop = &t->stop;
	r->buffer = alloc_touched(READER_BYTES);
	return r->buffer ? 0 : error_set(err, ENOMEM, "record: out of memory");
}

/* ---- reading ---- */

/* Direct I/O was refused only now (unusual alignment): go on without. */
static bool drop_direct(int fd)
{
	int code = errno, flags = fcntl(fd, F_GETFL);

	errno = code;
	return code == EINVAL && flags >= 0 && flags & O_DIRECT &&
	       fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

/* What the spool does not take stays in the buffer. Return: 0 or an errno. */
static int reader_flush(struct reader *r)
{
	size_t done = 0;
	int code = 0;

	while (done < r->fill) {
		ssize_t n = pwrite(r->spool, r->buffer + done, r->fill - done,
				   (off_t)(r->bytes + done));

		if (n < 0 && (errno == EINTR || drop_direct(r->spool)))
			continue;
		if (n <= 0) {
			code = n < 0 ? errno : EIO;
			break;
		}
		done += (size_t)n;
	}
	r->bytes += done;
	r->fill -= done;
	if (done)
		memmove(r->buffer, r->buffer + done, r->fill);
	return code;
}

/* Everything there is now. Return: 0 or an errno. */
static int reader_drain(struct reader *r)
{
	for (;;) {
		ssize_t n = read(r->pipe, r->buffer + r->fill, r->page_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || (n < 0 && errno == EAGAIN))
			return 0;
		if (n < 0)
			return errno;
		if ((size_t)n < r->page_bytes)
			memset(r->buffer + r->fill + n, 0, r->page_bytes - (size_t)n);
		r->fill += r->page_bytes;
		if (r->fill == READER_BYTES) {
			int code = reader_flush(r);

			if (code)
				return code;
		}
	}
}

static void *reader_main(void *arg)
{
	const struct timespec nap = {.tv_nsec = READER_SLEEP_NS};
	struct reader *r = arg;
	bool last;
	int code;

	do {
		/* Once more after the stop, for what came before it. */
		last = atomic_load(r->stop);
		code = reader_drain(r);
		if (!last && !code)
			nanosleep(&nap, NULL);
	} while (!last && !code);
	if (!code)
		code = reader_flush(r);
	atomic_store(&r->failure, code);
	return NULL;
}

static int start_readers(struct tracer *t, struct error *err)
{
	for (uint32_t cpu = 0; cpu < t->nr_cpus; cpu++) {
		struct reader *r = &t->readers[cpu];
		int code;

		if (r->pipe < 0)
			continue;
		code = pthread_create(&r->thread, NULL, reader_main, r);
		if (code)
			return error_set(err, code, "record: cannot start %u threads: %s",
					 t->nr_cpus, strerror(code));
		r->running = true;
	}
	return 0;
}

int tracer_create(const struct tracer_options *options, struct tracer **tracer, struct error *err)
{
	const char *tracefs;
	struct tracer *t;
	int rc;

	*tracer = NULL;
	rc = find_tracefs(&tracefs, err);
	if (rc)
		return rc;
	t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(err, ENOMEM, "record: out of memory");
	t->nr_cpus = options->nr_cpus;
	t->decoder.migratetypes = *options->migratetypes;
	t->readers = calloc(t->nr_cpus, sizeof(*t->readers));
	t->lanes = calloc(t->nr_cpus, sizeof(*t->lanes));
	t->heap = calloc(t->nr_cpus, sizeof(*t->heap));
	rc = t->readers && t->lanes && t->heap ? 0
					       : error_set(err, ENOMEM, "record: out of memory");
	for (uint32_t cpu = 0; cpu < t->nr_cpus && rc == 0; cpu++) {
		t->readers[cpu].cpu = cpu;
		t->readers[cpu].pipe = t->readers[cpu].spool = -1;
	}
	if (rc == 0)
		rc = set_up_instance(
			t, tracefs,
			options->buffer_bytes ? options->buffer_bytes : BUFFER_BYTES_DEFAULT, err);
	if (rc == 0)
		rc = read_formats(t, err);
	for (uint32_t cpu = 0; cpu < t->nr_cpus && rc == 0; cpu++)
		rc = open_reader(t, cpu, options->spool, err);
	if (rc == 0)
		rc = start_readers(t, err);
	if (rc) {
		tracer_destroy(t);
		return rc;
	}
	*tracer = t;
	return 0;
}

int tracer_start(struct tracer *t, struct error *err)
{
	for (size_t i = 0; i < NR_TRACEPOINTS; i++) {
		const struct tracepoint *tp = &tracepoints[i];
		char file[96];

		/* tracefs_event_enable() looks for a pattern, and crashes if memory is short. */
		snprintf(file, sizeof(file), "events/%s/%s/enable", tp->system, tp->name);
		if (t->decoder.layouts[i].present &&
		    tracefs_instance_file_write(t->instance, file, "1") < 0)
			return fail_file(err, tp->name, "the event cannot be enabled");
	}
	if (tracefs_instance_file_write(t->instance, "tracing_on", "1") < 0)
		return fail_file(err, "tracing_on", "cannot be written");
	return 0;
}

int tracer_failure(const struct tracer *t)
{
	int code = 0;

	for (uint32_t cpu = 0; !code && cpu < t->nr_cpus; cpu++)
		code = atomic_load(&t->readers[cpu].failure);
	return code;
}

/* The sum of what `stats` calls lost: overwritten, not even written, or (entries) not read. */
static uint64_t lost_on(const struct tracer *t, uint32_t cpu)
{
	static const char *const keys[] = {
		"\noverrun: ", "\ncommit overrun: ", "\ndropped events: ", "entries: "};
	char file[64], *text;
	uint64_t lost = 0;

	snprintf(file, sizeof(file), "per_cpu/cpu%" PRIu32 "/stats", cpu);
	text = tracefs_instance_file_read(t->instance, file, NULL);
	for (size_t i = 0; text && i < ARRAY_SIZE(keys); i++) {
		const char *at = strstr(text, keys[i]);

		if (at)
			lost += strtoull(at + strlen(keys[i]), NULL, 10);
	}
	free(text);
	return lost;
}

static void join_readers(struct tracer *t)
{
	atomic_store(&t->stop, true);
	for (uint32_t cpu = 0; t->readers && cpu < t->nr_cpus; cpu++) {
		if (t->readers[cpu].running)
			pthread_join(t->readers[cpu].thread, NULL);
		t->readers[cpu].running = false;
	}
}

static void remove_instance(struct tracer *t)
{
	if (!t->instance)
		return;
	for (uint32_t cpu = 0; t->readers && cpu < t->nr_cpus; cpu++) {
		/* An open pipe would keep the instance alive. */
		if (t->readers[cpu].pipe >= 0)
			close(t->readers[cpu].pipe);
		t->readers[cpu].pipe = -1;
	}
	rmdir(t->directory);
	tracefs_instance_free(t->instance);
	t->instance = NULL;
}

void tracer_stop(struct tracer *t)
{
	tracefs_instance_file_write(t->instance, "tracing_on", "0");
	join_readers(t);
	for (uint32_t cpu = 0; cpu < t->nr_cpus; cpu++)
		if (t->readers[cpu].pipe >= 0)
			t->kernel_lost += lost_on(t, cpu);
	remove_instance(t);
}

void tracer_destroy(struct tracer *t)
{
	if (!t)
		return;
	if (t->instance)
		tracefs_instance_file_write(t->instance, "tracing_on", "0");
	join_readers(t);
	remove_instance(t);
	for (uint32_t cpu = 0; t->readers && t->lanes && cpu < t->nr_cpus; cpu++) {
		struct reader *r = &t->readers[cpu];

		if (r->spool >= 0)
			close(r->spool);
		if (r->buffer)
			munmap(r->buffer, READER_BYTES);
		if (t->lanes[cpu].buffer)
			munmap(t->lanes[cpu].buffer, READER_BYTES);
		kbuffer_free(t->lanes[cpu].kbuffer);
	}
	free(t->readers);
	free(t->lanes);
	free(t->heap);
	free(t);
}

uint64_t tracer_kernel_lost(const struct tracer *t)
{
	return t->kernel_lost;
}

/* ---- decoding ---- */

static uint64_t get_field(const uint8_t *record, struct place p)
{
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (p.size) {
	case 1:
		return record[p.offset];
	case 2:
		memcpy(&v16, record + p.offset, sizeof(v16));
		return v16;
	case 4:
		memcpy(&v32, record + p.offset, sizeof(v32));
		return v32;
	case 8:
		memcpy(&v64, record + p.offset, sizeof(v64));
		return v64;
	default:
		return 0;
	}
}

static uint8_t translate_type(const struct decoder *d, uint64_t type)
{
	uint8_t known = type < d->migratetypes.count ? d->migratetypes.type[type] : MIGRATE_UNKNOWN;

	return known < MIGRATE_TYPES ? known : MIGRATE_UNMOVABLE;
}

static uint32_t translate_gfp(const struct decoder *d, uint64_t gfp)
{
	uint32_t ours = 0;

	for (; gfp; gfp &= gfp - 1)
		ours |= d->gfp[trailing_zeros(gfp)];
	return ours;
}

static uint8_t context_flags(const struct decoder *d, const uint8_t *record)
{
	uint64_t flags = get_field(record, d->flags), preempt = get_field(record, d->preempt);

	return (uint8_t)((flags & TRACE_FLAG_HARDIRQ ? EVENT_HARDIRQ : 0) |
			 (flags & TRACE_FLAG_SOFTIRQ ? EVENT_SOFTIRQ : 0) |
			 ((preempt & 0xf) >= 2 ? EVENT_NESTED : 0));
}

static bool decode_record(const struct decoder *d, const uint8_t *record, struct event *e)
{
	uint64_t id = get_field(record, d->type), a, b, c;
	const struct layout *layout;
	const struct place *f;
	size_t i;

	for (i = 0; i < NR_TRACEPOINTS; i++)
		if (d->layouts[i].present && d->layouts[i].id == (int)id)
			break;
	if (i == NR_TRACEPOINTS)
		return false;
	layout = &d->layouts[i];
	f = layout->fields;
	a = get_field(record, f[FIELD_A]);
	b = get_field(record, f[FIELD_B]);
	c = get_field(record, f[FIELD_C]);
	e->kind = tracepoints[i].kind;
	e->context = (uint32_t)get_field(record, d->pid);
	e->flags = context_flags(d, record);
	e->pfn = f[FIELD_PFN].size ? get_field(record, f[FIELD_PFN]) : PFN_NONE;
	e->order = (uint8_t)min_u64(get_field(record, f[FIELD_ORDER]), UINT8_MAX);
	e->gfp = translate_gfp(d, get_field(record, f[FIELD_GFP]));
	if (f[FIELD_TYPE].size)
		e->migratetype = translate_type(d, get_field(record, f[FIELD_TYPE]));
	if (e->kind == EVENT_ALLOC && e->pfn == PFN_NONE)
		e->kind = EVENT_ALLOC_FAILED;
	else if (e->kind == EVENT_EXTFRAG)
		e->arg = event_extfrag_arg((unsigned int)a, translate_type(d, b), c != 0);
	else if (e->kind == EVENT_COMPACTION)
		e->arg = event_compaction_arg((uint32_t)(a + b), (uint32_t)a);
	else if (event_is_kswapd(e))
		e->arg = a;
	else if (e->kind == EVENT_ZONE_LOCKED && get_field(record, layout->percpu_refill))
		e->flags |= EVENT_PCPU_REFILL;
	return true;
}

/* ---- one lane ---- */

/* The stream of a CPU is its spool, and what did not fit there any more. */
static uint64_t stream_bytes(const struct reader *r)
{
	return r->bytes + r->fill;
}

/* Part of the stream from @at on. Return: its bytes, or as pread(). */
static ssize_t stream_read(const struct reader *r, uint8_t *to, uint64_t bytes, uint64_t at)
{
	if (at < r->bytes)
		return pread(r->spool, to, min_u64(bytes, r->bytes - at), (off_t)at);
	bytes = min_u64(bytes, stream_bytes(r) - at);
	memcpy(to, r->buffer + (at - r->bytes), bytes);
	return (ssize_t)bytes;
}

static int lane_fill(const struct reader *r, struct lane *lane, struct error *err)
{
	uint64_t want = min_u64(stream_bytes(r) - lane->offset, READER_BYTES);

	lane->at = lane->size = 0;
	while (lane->size < want) {
		ssize_t n = stream_read(r, lane->buffer + lane->size, want - lane->size,
					lane->offset + lane->size);

		if (n < 0 && (errno == EINTR || drop_direct(r->spool)))
			continue;
		if (n <= 0)
			return error_set(err, n < 0 ? errno : EIO,
					 "spool: cannot be read again: %s",
					 n < 0 ? strerror(errno) : "it became shorter");
		lane->size += (size_t)n;
	}
	if (r->give_back && lane->offset < r->bytes)
		fallocate(r->spool, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)lane->offset,
			  (off_t)min_u64(want, r->bytes - lane->offset));
	lane->offset += want;
	return 0;
}

/*
 * Go to the next page. Return: 1, *@missed says how many events are missing before it (-1: some);
 * 0 at the end.
 */
static int lane_page(struct tracer *t, uint32_t cpu, int *missed, struct error *err)
{
	struct lane *lane = &t->lanes[cpu];
	const struct reader *r = &t->readers[cpu];

	if (lane->at == lane->size) {
		int rc;

		if (lane->offset == stream_bytes(r))
			return 0;
		rc = lane_fill(r, lane, err);
		if (rc)
			return rc;
	}
	if (kbuffer_load_subbuffer(lane->kbuffer, lane->buffer + lane->at) < 0)
		return error_set(err, EBADMSG, "ring buffer of CPU %" PRIu32 ": a page is damaged",
				 cpu);
	*missed = kbuffer_missed_events(lane->kbuffer);
	lane->at += t->page_bytes;
	lane->in_page = true;
	return 1;
}

static void lane_stamp(struct lane *lane, uint32_t cpu, unsigned long long ns, struct event *e)
{
	/* Nested interrupts may stamp a little early; within a CPU, order is what the buffer says. */
	lane->last_ns = max_u64(lane->last_ns, ns);
	e->time_ns = lane->last_ns;
	e->cpu = (uint16_t)cpu;
}

/* The lane's next event into its head. */
static int lane_advance(struct tracer *t, uint32_t cpu, struct error *err)
{
	struct lane *lane = &t->lanes[cpu];
	struct event *e = &lane->head;

	for (;;) {
		unsigned long long ns = 0; /* of an empty page: as late as the event before */
		int missed = 0, rc;

		*e = (struct event){0};
		while (lane->in_page) {
			const uint8_t *record = kbuffer_read_event(lane->kbuffer, &ns);
			bool ours = record && decode_record(&t->decoder, record, e);

			if (ours)
				lane_stamp(lane, cpu, ns, e);
			if (record)
				kbuffer_next_event(lane->kbuffer, NULL);
			else
				lane->in_page = false;
			if (ours)
				return 0;
		}
		rc = lane_page(t, cpu, &missed, err);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			lane->done = true;
			return 0;
		}
		if (missed) {
			kbuffer_read_event(lane->kbuffer, &ns);
			lane_stamp(lane, cpu, ns, e);
			e->kind = EVENT_LOST;
			e->pfn = PFN_NONE;
			e->arg = missed > 0 ? (uint64_t)missed : 1;
			return 0;
		}
	}
}

/* ---- all lanes ---- */

static bool lane_before(const struct tracer *t, uint32_t a, uint32_t b)
{
	uint64_t x = t->lanes[a].head.time_ns, y = t->lanes[b].head.time_ns;

	return x != y ? x < y : a < b;
}

static void heap_sink(struct tracer *t, uint32_t i)
{
	for (;;) {
		uint32_t child = 2 * i + 1, moved = t->heap[i];

		if (child >= t->nr_heap)
			return;
		if (child + 1 < t->nr_heap && lane_before(t, t->heap[child + 1], t->heap[child]))
			child++;
		if (!lane_before(t, t->heap[child], moved))
			return;
		t->heap[i] = t->heap[child];
		t->heap[child] = moved;
		i = child;
	}
}

static int lane_rewind(struct tracer *t, uint32_t cpu, struct error *err)
{
	struct lane *lane = &t->lanes[cpu];

	lane->offset = 0;
	lane->at = lane->size = 0;
	lane->in_page = false;
	lane->last_ns = 0;
	lane->done = t->readers[cpu].spool < 0;
	if (lane->done)
		return 0;
	if (!lane->buffer)
		lane->buffer = alloc_touched(READER_BYTES);
	if (!lane->kbuffer)
		lane->kbuffer =
			kbuffer_alloc(KBUFFER_LSIZE_SAME_AS_HOST, KBUFFER_ENDIAN_SAME_AS_HOST);
	if (!lane->buffer || !lane->kbuffer)
		return error_set(err, ENOMEM, "record: out of memory");
	return lane_advance(t, cpu, err);
}

int tracer_rewind(struct tracer *t, bool last, struct error *err)
{
	t->nr_heap = 0;
	for (uint32_t cpu = 0; cpu < t->nr_cpus; cpu++) {
		int rc;

		t->readers[cpu].give_back = last;
		rc = lane_rewind(t, cpu, err);
		if (rc)
			return rc;
		if (!t->lanes[cpu].done)
			t->heap[t->nr_heap++] = cpu;
	}
	for (uint32_t i = t->nr_heap; i-- > 0;)
		heap_sink(t, i);
	return 0;
}

int tracer_next(struct tracer *t, struct event *e, struct error *err)
{
	uint32_t cpu;
	int rc;

	if (!t->nr_heap)
		return 0;
	cpu = t->heap[0];
	*e = t->lanes[cpu].head;
	rc = lane_advance(t, cpu, err);
	if (rc)
		return rc;
	if (t->lanes[cpu].done)
		t->heap[0] = t->heap[--t->nr_heap];
	if (t->nr_heap)
		heap_sink(t, 0);
	return 1;
}
