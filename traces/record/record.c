/* SPDX-License-Identifier: MIT */
/*
 * One recording from beginning to end. What is traced and when:
 *
 *	events on  |  start scan  | T0 |  the command  |  end scan  | T1 |  events off
 *
 * With a burn-in, its first half comes before the events, its second half before the start scan:
 *
 *	prepare  |  events on  |  burn-in scan  | Tb |  release  |  start scan  | T0 | ...
 *
 * Everything that touches the running machine comes first; the trace is made from the spool after the
 * events are off, in two passes (record_fold.h says why).
 */
#include "traces/record/record.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/monotonic.h"
#include "base/outfile.h"
#include "traces/record/burn_in.h"
#include "traces/record/procfs.h"
#include "traces/record/record_fold.h"
#include "traces/record/record_tracefs.h"
#include "traces/record/snapshot.h"

#define POLL_MS		100
#define TERMINATE_MS	5000
#define SCANS_MAX	4
#define DEFERRED_FRAMES 32768 /* a memory section: less missing memory is just reserved */
#define BATCH_EVENTS	4096
#define PIDS_MAX	(1U << 22)
#define BURN_IN_NS	100000 /* times of the burn-in's events: noise would be half of what it costs */

/* One end of a recording. */
struct end_point {
	struct frame_scan *scan;
	struct frame_map *counts;
	uint8_t *types;
	uint64_t time_ns;
	bool finished; /* in the first pass: the scan needs no more events */
};

struct recording {
	const struct record_options *options;
	struct record_stats *stats;
	struct procfs fs;
	char directory[PATH_MAX];
	struct machine *found; /* before the scan: its absent ranges are only the holes */
	struct machine *machine;
	struct migratetype_names migratetypes;
	struct end_point burnt, start, end; /* burnt: before the burn-in's second half */
	struct burn_in *burn_in;
	struct tracer *tracer;
	struct fold *fold;
	struct fold *burn_in_fold; /* looks ahead from Tb */
	struct ledger_poll *polls;
	size_t nr_polls;
	int signals; /* signalfd */
	sigset_t old_mask;
	pid_t child; /* 0: none, or collected */
	/* Second pass. */
	struct trace_writer *writer;
	struct event batch[BATCH_EVENTS];
	size_t nr_batch;
	bool in_burn_in;    /* the batch is */
	uint32_t *contexts; /* pid -> number; 0: not seen yet */
	uint32_t nr_contexts;
	uint64_t lost_told; /* sum over the LOST events of the stream */
	uint64_t lost_late; /* of those since the start scan began */
};

static int no_memory(struct error *err)
{
	return error_set(err, ENOMEM, "record: out of memory");
}

/* ---- before any work ---- */

static int check_output(struct recording *r, struct error *err)
{
	const char *out = r->options->out, *slash = strrchr(out, '/');
	size_t length = slash == out ? 1 : slash ? (size_t)(slash - out) : 0;

	if (length >= sizeof(r->directory))
		return error_set(err, ENAMETOOLONG, "%s: path too long", out);
	memcpy(r->directory, slash ? out : ".", slash ? length : 1);
	r->directory[slash ? length : 1] = '\0';
	return outfile_check(out, r->options->overwrite, err);
}

static const char *spool_of(const struct recording *r)
{
	return r->options->spool ? r->options->spool : r->directory;
}

static bool is_runnable(const char *path)
{
	return access(path, X_OK) == 0;
}

/* Would execvp() find it? Asked early, so that a typing error costs no scan. */
static int check_command(char *const *command, struct error *err)
{
	const char *path = getenv("PATH"), *name = command ? command[0] : NULL;

	if (!name)
		return 0;
	if (strchr(name, '/') && is_runnable(name))
		return 0;
	while (!strchr(name, '/') && path) {
		char candidate[PATH_MAX];
		size_t length = strcspn(path, ":");

		if (snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)length,
			     length ? path : ".", name) < (int)sizeof(candidate) &&
		    is_runnable(candidate))
			return 0;
		path = path[length] ? path + length + 1 : NULL;
	}
	return error_set(err, ENOEXEC, "%s: command not found or not executable", name);
}

/* The signals that end a recording are read, not handled: no state outside this call. */
static int open_signals(struct recording *r, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, &r->old_mask);
	r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r->signals < 0) {
		int code = errno;

		pthread_sigmask(SIG_SETMASK, &r->old_mask, NULL);
		return error_set(err, code, "record: signalfd: %s", strerror(code));
	}
	return 0;
}

static int end_point_create(const struct machine *m, struct end_point *p, struct error *err)
{
	int rc;

	rc = frame_scan_create(m, &p->scan, err);
	if (rc == 0)
		rc = snapshot_counts_create(m, &p->counts, err);
	return rc;
}

static void end_point_free(struct end_point *p)
{
	frame_scan_destroy(p->scan);
	frame_map_destroy(p->counts);
	free(p->types);
}

static int prepare(struct recording *r, struct error *err)
{
	struct tracer_options to = {
		.buffer_bytes = r->options->buffer_bytes,
		.spool = spool_of(r),
		.migratetypes = &r->migratetypes,
	};
	int rc;

	if (geteuid() != 0)
		return error_set(err, EPERM, "recording needs root; run it with sudo");
	if (sysconf(_SC_PAGESIZE) != 1 << PAGE_SHIFT_DEFAULT)
		return error_set(err, EOPNOTSUPP, "pages of %ld bytes: only 4096 are supported",
				 sysconf(_SC_PAGESIZE));
	rc = procfs_machine(&r->fs, &r->found, err);
	/* While there is only one thread, and little memory to share. */
	if (rc == 0 && r->options->burn_in)
		rc = burn_in_create(&r->fs, r->found, spool_of(r), &r->burn_in, err);
	if (rc == 0 && r->options->burn_in)
		rc = end_point_create(r->found, &r->burnt, err);
	if (rc == 0)
		rc = procfs_migratetypes(&r->fs, &r->migratetypes, err);
	if (rc == 0)
		rc = end_point_create(r->found, &r->start, err);
	if (rc == 0)
		rc = end_point_create(r->found, &r->end, err);
	if (rc)
		return rc;
	to.nr_cpus = r->found->nr_cpus;
	return tracer_create(&to, &r->tracer, err);
}

/* ---- on the running machine ---- */

enum wish { WISH_NONE, WISH_STOP, WISH_CHILD_ENDED };

static void collect_child(struct recording *r)
{
	int status;

	if (r->child && waitpid(r->child, &status, WNOHANG) == r->child) {
		r->stats->command_status = status;
		r->child = 0;
	}
}

/* Wait at most @ms for a signal. */
static enum wish next_wish(struct recording *r, int ms)
{
	struct pollfd p = {.fd = r->signals, .events = POLLIN};
	struct signalfd_siginfo info;
	bool had_child = r->child != 0;
	enum wish wish = WISH_NONE;

	poll(&p, 1, ms);
	while (read(r->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			collect_child(r);
		else
			wish = WISH_STOP;
	}
	return wish == WISH_NONE && had_child && !r->child ? WISH_CHILD_ENDED : wish;
}

/* Memory that the kernel has not taken over yet may come while we record. */
static bool expects_memory(const struct frame_map *counts)
{
	for (uint32_t i = 0; i < counts->machine->nr_zones; i++)
		if (counts->machine->zones[i].present - counts->zones[i].managed >= DEFERRED_FRAMES)
			return true;
	return false;
}

static int add_poll(struct recording *r, uint64_t time_ns, const uint64_t *managed,
		    struct error *err)
{
	const struct ledger_poll *last = r->nr_polls ? &r->polls[r->nr_polls - 1] : NULL;
	size_t bytes = r->found->nr_zones * sizeof(*managed);
	struct ledger_poll *polls;

	if (last && memcmp(last->managed, managed, bytes) == 0)
		return 0;
	polls = realloc(r->polls, (r->nr_polls + 1) * sizeof(*polls));
	if (!polls)
		return no_memory(err);
	r->polls = polls;
	polls[r->nr_polls] = (struct ledger_poll){.time_ns = time_ns};
	memcpy(polls[r->nr_polls++].managed, managed, bytes);
	return 0;
}

static int poll_managed(struct recording *r, struct error *err)
{
	uint64_t managed[MACHINE_ZONES_MAX];
	int rc;

	rc = procfs_managed(&r->fs, r->found, managed, err);
	return rc ? rc : add_poll(r, monotonic_ns(), managed, err);
}

static int run_scan(struct recording *r, struct end_point *p, struct error *err)
{
	int rc;

	rc = procfs_scan(&r->fs, p->scan, err);
	if (rc)
		return rc;
	/* The counts are read at once, so that they and the map describe nearly the same moment. */
	p->time_ns = monotonic_ns();
	return procfs_counts(&r->fs, p->counts, err);
}

/*
 * While a scan runs, frames that migrate show in it at their old place and the new one, or at neither,
 * and no event tells of the new one. So it is made again, until none do or patience ends.
 * @moved: frames that migrated during the scan that is kept
 */
static int run_still_scan(struct recording *r, struct end_point *p, uint64_t *moved,
			  struct error *err)
{
	uint64_t before = procfs_migrated(&r->fs), after;
	int rc;

	for (unsigned int scans = 1;; scans++) {
		rc = run_scan(r, p, err);
		after = procfs_migrated(&r->fs);
		*moved = after - before;
		if (rc || !*moved || scans == SCANS_MAX)
			return rc;
		before = after;
	}
}

static int start_command(struct recording *r, struct error *err)
{
	char *const *command = r->options->command;
	posix_spawnattr_t attributes;
	sigset_t ignored;
	int code;

	if (!command || !command[0])
		return 0;
	code = posix_spawnattr_init(&attributes);
	if (code)
		return error_set(err, code, "record: posix_spawn: %s", strerror(code));
	/* What the caller ignores for its own sake, the command need not. */
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	sigaddset(&ignored, SIGXFSZ);
	posix_spawnattr_setsigmask(&attributes, &r->old_mask);
	posix_spawnattr_setsigdefault(&attributes, &ignored);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	code = posix_spawnp(&r->child, command[0], NULL, &attributes, command, environ);
	posix_spawnattr_destroy(&attributes);
	if (code) {
		r->child = 0;
		return error_set(err, ENOEXEC, "%s: cannot be run: %s", command[0], strerror(code));
	}
	return 0;
}

/* Until the command ends, the time is over, somebody stops us or the spool is full. */
static int record_while(struct recording *r, struct error *err)
{
	bool poll_memory = expects_memory(r->start.counts);
	uint64_t deadline = UINT64_MAX;

	if (r->options->duration_s > 0)
		deadline = monotonic_ns() + (uint64_t)(r->options->duration_s * 1e9);
	for (;;) {
		uint64_t now = monotonic_ns();
		int rc;

		if (now >= deadline || tracer_failure(r->tracer))
			return 0;
		if (next_wish(r, (int)min_u64(POLL_MS, (deadline - now) / 1000000 + 1)) !=
		    WISH_NONE)
			return 0;
		rc = poll_memory ? poll_managed(r, err) : 0;
		if (rc)
			return rc;
	}
}

/* A command that outlives the recording is ended, as timeout(1) does it. */
static void end_command(struct recording *r)
{
	uint64_t deadline = monotonic_ns() + TERMINATE_MS * UINT64_C(1000000);

	if (!r->child)
		return;
	kill(r->child, SIGTERM);
	while (r->child && monotonic_ns() < deadline)
		if (next_wish(r, POLL_MS) == WISH_STOP)
			break;
	if (r->child) {
		kill(r->child, SIGKILL);
		waitpid(r->child, &r->stats->command_status, 0);
		r->child = 0;
	}
}

static bool wants_stop(void *arg)
{
	return next_wish(arg, 0) == WISH_STOP;
}

static int stopped_early(struct error *err)
{
	return error_set(err, EINTR, "record: stopped before the recording had begun");
}

static void enter_phase(const struct recording *r, const char *what)
{
	if (r->options->phase)
		r->options->phase(r->options->phase_arg, what);
}

/* The burn-in's first half: not in the trace. */
static int prepare_lists(struct recording *r, struct error *err)
{
	uint64_t managed[MACHINE_ZONES_MAX];
	int rc;

	if (burn_in_prepare(r->burn_in, wants_stop, r))
		return stopped_early(err);
	/* Memory may have come online, which no event will tell any more. */
	rc = procfs_managed(&r->fs, r->found, managed, err);
	for (uint32_t i = 0; rc == 0 && i < r->found->nr_zones; i++)
		r->found->zones[i].managed = managed[i];
	return rc;
}

/* The rest of it: in the trace. */
static int release_lists(struct recording *r, struct error *err)
{
	int rc;

	rc = run_scan(r, &r->burnt, err);
	if (rc == 0 && burn_in_release(r->burn_in, wants_stop, r))
		rc = stopped_early(err);
	return rc;
}

static int spool_failed(const struct recording *r, const char *when, struct error *err)
{
	int code = tracer_failure(r->tracer);
	bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;

	return error_set(err, code, "%s: the spool %s: %s: %s%s", spool_of(r),
			 full ? "is full" : "cannot be written", strerror(code), when,
			 full ? "; record for a shorter time, or spool elsewhere" : "");
}

static int capture(struct recording *r, struct error *err)
{
	uint64_t managed[MACHINE_ZONES_MAX], began = monotonic_ns();
	int rc = 0;

	if (r->burn_in) {
		enter_phase(r, "burn-in: the order of the free lists is made known");
		rc = prepare_lists(r, err);
	}
	if (rc == 0)
		rc = tracer_start(r->tracer, err);
	if (rc == 0 && r->burn_in) {
		rc = release_lists(r, err);
		r->stats->burn_in_s = (double)(monotonic_ns() - began) / 1e9;
	}
	enter_phase(r, "snapshot of all frames");
	if (rc == 0)
		rc = run_still_scan(r, &r->start, &r->stats->moved_in_start, err);
	if (rc == 0 && next_wish(r, 0) == WISH_STOP)
		rc = stopped_early(err);
	if (rc == 0 && tracer_failure(r->tracer))
		rc = spool_failed(r, "before the recording had begun", err);
	enter_phase(r, "recording");
	if (rc == 0)
		rc = start_command(r, err);
	if (rc == 0)
		rc = record_while(r, err);
	enter_phase(r, "snapshot of all frames at the end");
	if (rc == 0)
		rc = run_still_scan(r, &r->end, &r->stats->moved_in_end, err);
	if (rc)
		return rc;
	snapshot_counts_managed(r->end.counts, managed);
	rc = add_poll(r, r->end.time_ns, managed, err);
	if (rc)
		return rc;
	tracer_stop(r->tracer);
	if (tracer_failure(r->tracer))
		spool_failed(r, "the recording ends there, and lacks some events", &r->stats->cut);
	return 0;
}

/* ---- first pass ---- */

static int finish_scan(struct recording *r, struct end_point *p, struct machine **m,
		       struct error *err)
{
	uint64_t managed[MACHINE_ZONES_MAX];
	int rc;

	snapshot_counts_managed(p->counts, managed);
	rc = procfs_scan_finish(p->scan, managed, m, err);
	if (rc)
		return rc;
	fold_apply_released(r->fold, p->scan);
	p->types = malloc(r->fold->nr_pageblocks);
	if (!p->types)
		return no_memory(err);
	/* What events have told so far; fold_pageblocks() guesses the rest. */
	memcpy(p->types, r->fold->block_type, r->fold->nr_pageblocks);
	p->finished = true;
	return 0;
}

static void apply_hindsight(struct recording *r)
{
	bool untold = tracer_kernel_lost(r->tracer) > r->lost_told;
	struct hindsight n;

	if (r->burn_in)
		fold_apply_hindsight(r->burn_in_fold, r->burnt.scan,
				     untold || r->lost_told ? NULL : r->end.scan);
	n = fold_apply_hindsight(r->fold, r->start.scan,
				 untold || r->lost_late ? NULL : r->end.scan);
	r->stats->parked_inferred = n.parked;
	r->stats->freed_inferred = n.freed;
}

/* The scans that lie before @time_ns know all they can from events of the past. */
static int finish_until(struct recording *r, uint64_t time_ns, struct error *err)
{
	struct machine *machine_at_burn_in = NULL;
	int rc = 0;

	if (r->burn_in && !r->burnt.finished && time_ns > r->burnt.time_ns) {
		rc = finish_scan(r, &r->burnt, &machine_at_burn_in, err);
		machine_destroy(machine_at_burn_in);
	}
	if (rc == 0 && !r->start.finished && time_ns > r->start.time_ns)
		rc = finish_scan(r, &r->start, &r->machine, err);
	return rc;
}

static void first_pass_event(struct recording *r, const struct event *e)
{
	if (e->kind == EVENT_LOST) {
		r->lost_told += e->arg;
		if (e->time_ns >= r->start.scan->chunk_time_ns[0])
			r->lost_late += e->arg;
	}
	if (r->burn_in && r->burnt.finished)
		fold_look_ahead(r->burn_in_fold, e);
	else if (r->burn_in)
		fold_into_scan(r->burnt.scan, e);
	if (r->start.finished)
		fold_look_ahead(r->fold, e);
	else
		fold_into_scan(r->start.scan, e);
	fold_into_scan(r->end.scan, e);
	fold_observe(r->fold, e);
}

/* Repair the scans; what is learnt about their time later is applied last. */
static int first_pass(struct recording *r, struct error *err)
{
	struct machine *machine_at_end = NULL;
	struct event e;
	int rc;

	rc = fold_create(r->found, &r->fold, err);
	if (rc == 0 && r->burn_in)
		rc = fold_create(r->found, &r->burn_in_fold, err);
	if (rc == 0)
		rc = tracer_rewind(r->tracer, false, err);
	while (rc == 0 && (rc = tracer_next(r->tracer, &e, err)) > 0) {
		rc = 0;
		if (e.time_ns > r->end.time_ns)
			break;
		rc = finish_until(r, e.time_ns, err);
		if (rc == 0)
			first_pass_event(r, &e);
	}
	if (rc == 0)
		rc = finish_until(r, UINT64_MAX, err);
	if (rc)
		return rc;
	apply_hindsight(r);
	rc = finish_scan(r, &r->end, &machine_at_end, err);
	machine_destroy(machine_at_end);
	if (rc)
		return rc;
	if (r->burn_in)
		fold_pageblocks(r->fold, r->burnt.scan, r->burnt.types);
	fold_pageblocks(r->fold, r->start.scan, r->start.types);
	fold_pageblocks(r->fold, r->end.scan, r->end.types);
	return 0;
}

/* ---- second pass ---- */

static int flush_batch(struct recording *r, struct error *err)
{
	size_t n = r->nr_batch;

	r->nr_batch = 0;
	if (r->in_burn_in)
		return trace_writer_burn_in_events(r->writer, r->batch, n, err);
	return trace_writer_events(r->writer, r->batch, n, err);
}

static int write_event(void *arg, const struct event *e, struct error *err)
{
	struct recording *r = arg;

	r->batch[r->nr_batch++] = *e;
	return r->nr_batch == BATCH_EVENTS ? flush_batch(r, err) : 0;
}

/* Pids in the order of their first event; the idle task, pid 0, is nobody. */
static void renumber(struct recording *r, struct event *e)
{
	uint32_t pid = e->context;

	if (pid == 0 || pid >= PIDS_MAX) {
		e->context = 0;
		return;
	}
	if (!r->contexts[pid])
		r->contexts[pid] = ++r->nr_contexts;
	e->context = r->contexts[pid];
}

/* The ledger is about the recording; a burn-in's events are written as they are, if they can be. */
static int write_burn_in_event(struct recording *r, struct event *e, struct error *err)
{
	if (e->time_ns <= r->burnt.time_ns)
		return 0;
	renumber(r, e);
	e->time_ns -= (e->time_ns - r->burnt.time_ns) % BURN_IN_NS;
	fold_burn_in_event(r->machine, r->start.scan->cells, e);
	return write_event(r, e, err);
}

static int end_burn_in_events(struct recording *r, struct error *err)
{
	int rc = r->in_burn_in ? flush_batch(r, err) : 0;

	r->in_burn_in = false;
	return rc;
}

static int write_events(struct recording *r, struct ledger *l, struct error *err)
{
	uint64_t kernel_lost = tracer_kernel_lost(r->tracer);
	struct event e;
	int rc = 0;

	r->in_burn_in = r->burn_in;
	while (rc == 0 && (rc = tracer_next(r->tracer, &e, err)) > 0) {
		rc = 0;
		if (e.time_ns > r->end.time_ns)
			break;
		if (e.time_ns <= r->start.time_ns) {
			if (r->in_burn_in)
				rc = write_burn_in_event(r, &e, err);
			continue;
		}
		rc = end_burn_in_events(r, err);
		renumber(r, &e);
		if (rc == 0)
			rc = ledger_event(l, &e, err);
	}
	if (rc == 0)
		rc = end_burn_in_events(r, err);
	if (rc == 0)
		rc = ledger_finish(l, r->end.time_ns, err);
	if (rc == 0 && kernel_lost > r->lost_told) {
		/* The kernel counted more than the buffers could tell the place of. */
		e = (struct event){
			.time_ns = r->end.time_ns,
			.kind = EVENT_LOST,
			.pfn = PFN_NONE,
			.arg = kernel_lost - r->lost_told,
		};
		rc = write_event(r, &e, err);
	}
	return rc ? rc : flush_batch(r, err);
}

static int write_snapshot(struct recording *r, struct end_point *p, enum trace_snapshot which,
			  struct error *err)
{
	struct frame_map *map;
	int rc;

	rc = snapshot_build(r->machine, p->scan->cells, p->types, p->time_ns, p->counts, &map, err);
	if (rc)
		return rc;
	rc = trace_writer_snapshot(r->writer, which, map, err);
	frame_map_destroy(map);
	return rc;
}

static int create_writer(struct recording *r, struct error *err)
{
	const struct trace_write_options options = {.overwrite = r->options->overwrite};
	struct trace_header header = {
		.compatible_features =
			TRACE_HAS_GROUND_TRUTH | TRACE_HAS_IRQ_FLAGS | TRACE_MARKS_HINDSIGHT,
		.identity = IDENTITY_PFN,
		.recorder = "quire record",
		.clock = "mono",
		.recorded_s = (uint64_t)time(NULL),
		.machine = r->machine,
	};
	struct utsname kernel;

	if (uname(&kernel) == 0)
		snprintf(header.kernel, sizeof(header.kernel), "%.71s", kernel.release);
	if (r->options->note)
		snprintf(header.note, sizeof(header.note), "%s", r->options->note);
	return trace_writer_create(r->options->out, &header, &options, &r->writer, err);
}

static int second_pass(struct recording *r, struct error *err)
{
	struct ledger ledger;
	int rc;

	/* Untouched pages of it cost nothing. */
	r->contexts = calloc(PIDS_MAX, sizeof(*r->contexts));
	if (!r->contexts)
		return no_memory(err);
	/* Before the first byte is written: the spool may have taken the last one of the disk. */
	rc = tracer_rewind(r->tracer, true, err);
	if (rc == 0)
		rc = create_writer(r, err);
	if (rc == 0)
		rc = write_snapshot(r, &r->start, TRACE_START, err);
	if (rc == 0 && r->burn_in) {
		fold_align(r->machine, r->start.scan->cells, r->burnt.scan->cells);
		rc = write_snapshot(r, &r->burnt, TRACE_BURN_IN, err);
	}
	if (rc)
		return rc;
	ledger_init(&ledger, r->machine, r->start.scan->cells, r->polls, r->nr_polls, write_event,
		    r);
	rc = write_events(r, &ledger, err);
	if (rc)
		return rc;
	ledger_align(&ledger, r->end.scan->cells);
	rc = write_snapshot(r, &r->end, TRACE_END, err);
	if (rc)
		return rc;
	r->stats->orphan_frees = ledger.orphan_frees;
	r->stats->implicit_frees = ledger.implicit_frees;
	r->stats->online_frames = ledger.online_frames;
	rc = trace_writer_close(r->writer, &r->stats->totals, err);
	r->writer = NULL;
	return rc;
}

/* ---- all of it ---- */

/* What must be undone on the running machine, at once after the capture. */
static int live_part(struct recording *r, struct error *err)
{
	int rc;

	rc = open_signals(r, err);
	if (rc)
		return rc;
	rc = prepare(r, err);
	if (rc == 0)
		rc = capture(r, err);
	if (rc) {
		tracer_destroy(r->tracer);
		r->tracer = NULL;
		burn_in_destroy(r->burn_in);
		r->burn_in = NULL;
	}
	end_command(r);
	close(r->signals);
	pthread_sigmask(SIG_SETMASK, &r->old_mask, NULL);
	return rc;
}

int record_run(const struct record_options *options, struct record_stats *stats, struct error *err)
{
	struct recording *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return no_memory(err);
	*stats = (struct record_stats){0};
	r->options = options;
	r->stats = stats;
	r->fs.root = "";
	rc = check_output(r, err);
	if (rc == 0)
		rc = check_command(options->command, err);
	if (rc == 0)
		rc = live_part(r, err);
	enter_phase(r, "writing the trace");
	if (rc == 0)
		rc = first_pass(r, err);
	if (rc == 0)
		rc = second_pass(r, err);
	trace_writer_abort(r->writer);
	tracer_destroy(r->tracer);
	burn_in_destroy(r->burn_in);
	end_point_free(&r->burnt);
	end_point_free(&r->start);
	end_point_free(&r->end);
	fold_destroy(r->fold);
	fold_destroy(r->burn_in_fold);
	machine_destroy(r->machine);
	machine_destroy(r->found);
	free(r->polls);
	free(r->contexts);
	free(r);
	return rc;
}
