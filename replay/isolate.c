/* SPDX-License-Identifier: MIT */
#include "replay/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "replay/clock.h"

/* A signal may arrive between the test of the stop flag and poll(): look again this often. */
#define POLL_MS	   200U
#define PIPE_BYTES (1 << 20)

/* In the child: records go down the pipe, not one by one, but while their news is fresh. */
#define GATHER_BYTES (256U << 10)
#define GATHER_NS    UINT64_C(200000000)

/* ---- in the child ---- */

struct pipe_sink {
	struct result_sink sink;
	struct result_writer writer;
	uint64_t flushed_ns;
};

static int pipe_take(struct result_sink *sink, const struct result_record *record,
		     struct error *err)
{
	struct pipe_sink *p = (struct pipe_sink *)sink;
	uint64_t now_ns = monotonic_ns();
	int rc = result_writer_put(&p->writer, record, err);

	if (rc)
		return rc;
	if (record->kind != RESULT_RUN && record->kind != RESULT_SETTING &&
	    record->kind != RESULT_DONE && record->kind != RESULT_ALIVE &&
	    p->writer.used < GATHER_BYTES && now_ns - p->flushed_ns < GATHER_NS)
		return 0;
	p->flushed_ns = now_ns;
	return result_writer_flush(&p->writer, err);
}

/* Whatever the parent does at these signals, a back end's crash must end this process. */
static void die_of_signals(void)
{
	static const int deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGSEGV,
				     SIGBUS, SIGFPE,  SIGILL, SIGABRT};

	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		if (signal(deadly[i], SIG_DFL) == SIG_IGN)
			signal(deadly[i], SIG_IGN); /* what everyone is to ignore, it does, too */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN); /* a group of its own may still write to the terminal */
}

/* Nothing of the parent's is within reach: not its database, nor the document it prints. */
static void let_go_of_descriptors(int keep)
{
	int nothing = open("/dev/null", O_RDONLY);

	if (nothing > STDIN_FILENO)
		dup2(nothing, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (keep > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned int)keep - 1, 0);
	close_range((unsigned int)keep + 1, ~0U, 0);
}

/* Should memory run out, the kernel is to end this process and not the one with all results. */
static void offer_oneself_to_the_oom_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "1000", 4);
	close(fd);
}

/* What parent and child share: where it is, and its last word, for which no memory and no pipe is needed. */
struct shared {
	struct run_position at;
	struct error last; /* code 0: none */
};

static void __attribute__((noreturn))
child_main(const struct isolated_job *job, struct shared *shared, int fd, pid_t parent)
{
	struct pipe_sink sink = {.sink = {.take = pipe_take}, .writer = {.fd = fd}};
	struct error err = {0};
	int rc;

	setpgid(0, 0);
	die_of_signals();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no run outlives who wants its results */
	if (getppid() != parent)	  /* who has died before that call */
		_exit(1);
	offer_oneself_to_the_oom_killer();
	let_go_of_descriptors(fd);
	rc = job->body(job->arg, &shared->at, &sink.sink, &err);
	if (rc) {
		shared->last = err;
		shared->last.code = -rc;
		(void)result_writer_flush(&sink.writer, &err); /* what it had said before */
	}
	result_writer_release(&sink.writer);
	close(fd);
	fflush(stdout); /* what the back end printed */
	_exit(rc ? 1 : 0);
}

/* ---- in the parent: passing on ---- */

/* Pass records on, and remember whether the run began and ended. How it ended is told last of all. */
struct relay_sink {
	struct result_sink sink;
	struct result_sink *to;
	bool began, ended; /* RESULT_RUN came; RESULT_DONE, which only success sends */
	int failed;	   /* what our own sink returned */
};

static int relay_take(struct result_sink *sink, const struct result_record *record,
		      struct error *err)
{
	struct relay_sink *relay = (struct relay_sink *)sink;
	int rc;

	if (record->kind == RESULT_ALIVE)
		return 0; /* has been heard */
	if (record->kind == RESULT_DONE) {
		relay->ended = true;
		return 0;
	}
	if (record->kind == RESULT_RUN)
		relay->began = true;
	rc = relay->to->take(relay->to, record, err);
	if (rc)
		relay->failed = rc;
	return rc;
}

static void relay_doubt(struct relay_sink *relay, enum result_doubt_kind doubt)
{
	const struct result_record record = {.kind = RESULT_DOUBT, .doubt = {doubt, 1}};
	struct error ignored;

	if (relay->began)
		(void)relay->to->take(relay->to, &record, &ignored);
}

/* Pass on all records that have arrived. Return: 0 or a negative errno. */
static int relay_arrived(struct result_reader *reader, struct relay_sink *relay, struct error *err)
{
	int rc;

	while ((rc = result_reader_take(reader, &relay->sink, err)) > 0)
		;
	return rc;
}

/* ---- in the parent: watching ---- */

struct watched {
	const struct isolated_job *job;
	struct shared *shared; /* with the child */
	struct result_reader reader;
	struct relay_sink relay;
	pid_t pid;
	int pidfd;	    /* -1: this kernel has none */
	bool exited;	    /* the child has, and has been reaped */
	bool left;	    /* somebody else of its group lived then */
	int status;	    /* of wait() */
	uint64_t oom_kills; /* by the host's kernel, before */
};

static bool moved_on(const struct watched *w, struct run_position *last)
{
	const struct run_position now = w->shared->at;
	const bool moved = now.first_event != last->first_event || now.event != last->event ||
			   now.phase != last->phase || now.naps != last->naps;

	*last = now;
	return moved;
}

/*
 * End it and its group. Reaped first, if it has ended by itself: as long as anybody else of the group lives,
 * nobody new can have its number, and that there is somebody is worth knowing.
 */
static bool reap(struct watched *w, bool wait)
{
	pid_t got;

	do {
		got = waitpid(w->pid, &w->status, wait ? 0 : WNOHANG);
	} while (got < 0 && errno == EINTR);
	if (got != w->pid)
		return false;
	w->exited = true;
	w->left = !kill(-w->pid, SIGKILL);
	return true;
}

/* What is in the pipe when nobody writes any more. Return: as relay_all(). */
static int drain(struct watched *w, struct error *err)
{
	struct pollfd p = {.fd = w->reader.fd, .events = POLLIN};
	int rc = 1;

	while (rc > 0 && poll(&p, 1, 0) > 0) {
		rc = result_reader_fill(&w->reader, err);
		if (rc > 0) {
			rc = relay_arrived(&w->reader, &w->relay, err);
			rc = rc ? rc : 1;
		}
	}
	return rc < 0 ? rc : 0;
}

/*
 * Read records until the child has ended. -ETIMEDOUT: it has made no progress for too long; -EINTR: the
 * caller wants it stopped; -EPROTO: what came is no record.
 */
static int relay_all(struct watched *w, struct error *err)
{
	struct pollfd p[2] = {{.fd = w->reader.fd, .events = POLLIN},
			      {.fd = w->pidfd, .events = POLLIN}};
	const struct run_watch *watch = &w->job->watch;
	struct run_position last = w->shared->at;
	uint64_t heard_ns = monotonic_ns();
	int rc;

	for (;;) {
		if (watch->stop && *watch->stop)
			return error_set(err, EINTR, "interrupted");
		rc = poll(p, ARRAY_SIZE(p), (int)POLL_MS);
		if (rc < 0 && errno == EINTR)
			continue;
		if (p[0].revents || moved_on(w, &last))
			heard_ns = monotonic_ns();
		if ((p[1].revents || !rc || (p[0].revents & POLLHUP)) && reap(w, false))
			break;
		if (watch->timeout_s &&
		    monotonic_ns() - heard_ns >= watch->timeout_s * UINT64_C(1000000000))
			return error_set(err, ETIMEDOUT, "no progress for %u s", watch->timeout_s);
		if (!p[0].revents)
			continue;
		rc = result_reader_fill(&w->reader, err);
		if (rc > 0)
			rc = relay_arrived(&w->reader, &w->relay, err);
		else if (!rc)
			p[0].fd =
				-1; /* the end of the stream: it has closed the pipe, and will exit */
		if (rc < 0)
			return rc;
	}
	return drain(w, err);
}

/* ---- in the parent: judging ---- */

/* Processes ended by the kernel for lack of memory since it booted; 0: not known. */
static uint64_t oom_kills(void)
{
	FILE *f = fopen("/proc/vmstat", "re");
	uint64_t n = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "oom_kill %" SCNu64, &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* " at event 12, in create()": where it was when it said no more. */
static void describe_position(const struct run_position *at, char *text, size_t bytes)
{
	static const char *const in[] = {
		[PHASE_BEGINS] = " before it began", [PHASE_CREATE] = " in create()",
		[PHASE_PREFILL] = " in prefill",     [PHASE_PLAY] = "",
		[PHASE_ENDS] = " at the end",	     [PHASE_DESTROY] = " in destroy()",
	};
	const uint64_t event = at->first_event + at->event;
	const uint32_t phase = at->phase < ARRAY_SIZE(in) ? at->phase : PHASE_BEGINS;

	if (phase == PHASE_PLAY && event)
		snprintf(text, bytes, " at event %" PRIu64, event);
	else
		snprintf(text, bytes, "%s", in[phase]);
}

/* The child was killed by a signal that nobody here sent. */
static int judge_signal(struct watched *w, int number, const char *where, struct error *err)
{
	if (number == SIGKILL && oom_kills() > w->oom_kills) {
		relay_doubt(&w->relay, DOUBT_out_of_memory);
		return error_set(err, ECHILD,
				 "%s: killed for memory%s: the host, or the control group's limit, "
				 "had none left; a smaller machine, or a host with more",
				 w->job->name, where);
	}
	return error_set(err, ECHILD, "%s: crashed%s: signal %d (%s)", w->job->name, where, number,
			 strsignal(number));
}

/*
 * How it ended; the status for RESULT_DONE. @rc: what relay_all() returned, with err; @ended: by
 * itself, not by us.
 */
static int judge(struct watched *w, int rc, bool ended, struct error *err,
		 enum run_status *run_status)
{
	const char *name = w->job->name;
	const int number = WIFSIGNALED(w->status) ? WTERMSIG(w->status) : 0;
	/* Who dies in the middle of a record has written no junk. */
	const bool cut = rc == -EPROTO && ended && !w->relay.ended;
	char where[64];

	describe_position(&w->shared->at, where, sizeof(where));
	if (w->relay.failed) {
		/* Our own sink's failure, told by err. */
		*run_status = RUN_FAILED;
		return rc;
	}
	if (rc == -EINTR ||
	    ((!rc || cut) && (number == SIGINT || number == SIGTERM || number == SIGHUP))) {
		*run_status = RUN_INTERRUPTED;
		return error_set(err, EINTR, "%s: interrupted", name);
	}
	*run_status = RUN_CRASHED;
	if (rc == -ETIMEDOUT) {
		relay_doubt(&w->relay, DOUBT_hung);
		return error_set(
			err, ETIMEDOUT,
			"%s: hangs%s (%s) and was stopped; raise the timeout if it is only slow",
			name, where, err->text);
	}
	if (rc && rc != -EPROTO) {
		/* Ours alone. */
		const struct error why = *err;

		*run_status = RUN_FAILED;
		return error_set(err, -rc, "%s: what it tells cannot be read: %s", name, why.text);
	}
	if (rc && !cut)
		return error_set(err, ECHILD,
				 "%s: wrote something else into the pipe of its results%s", name,
				 where);
	if (number)
		return judge_signal(w, number, where, err);
	if (!w->relay.ended && w->shared->last.code) {
		*run_status = RUN_FAILED;
		return error_set(err, w->shared->last.code, "%.*s", ERROR_TEXT_MAX - 1,
				 w->shared->last.text);
	}
	if (!w->relay.ended)
		return error_set(err, ECHILD,
				 "%s: its process ended%s with exit code %d before its results "
				 "were whole",
				 name, where, WEXITSTATUS(w->status));
	*run_status = RUN_DONE;
	return 0;
}

/* The last record, which tells how it ended. Return: @rc, or the sink's error in place of success. */
static int tell_end(struct relay_sink *relay, enum run_status status, int rc, struct error *err)
{
	const struct error why = *err;
	const struct result_record done = {
		.kind = RESULT_DONE,
		.done = {.status = status, .text = rc ? why.text : NULL, .code = -rc}};
	int sunk = relay->began ? relay->to->take(relay->to, &done, err) : 0;

	if (!rc)
		return sunk;
	*err = why;
	return rc;
}

static int run_here(const struct isolated_job *job, struct result_sink *sink, struct error *err)
{
	struct relay_sink relay = {.sink = {.take = relay_take}, .to = sink};
	struct run_position at = {0};
	int rc = job->body(job->arg, &at, &relay.sink, err);

	return tell_end(&relay,
			!rc	       ? RUN_DONE
			: rc == -EINTR ? RUN_INTERRUPTED
				       : RUN_FAILED,
			rc, err);
}

/* Watch it to its end, and say how it was. */
static int see_through(struct watched *w, struct error *err)
{
	enum run_status run_status;
	int rc = relay_all(w, err);
	const bool ended = w->exited; /* by itself */

	result_reader_release(&w->reader);
	if (!ended) {
		kill(-w->pid, SIGKILL);
		reap(w, true);
	}
	if (ended && w->left)
		relay_doubt(&w->relay, DOUBT_left_processes);
	rc = judge(w, rc, ended, err, &run_status);
	return tell_end(&w->relay, run_status, rc, err);
}

static int fork_and_watch(struct watched *w, int fd[2], struct error *err)
{
	const pid_t parent = getpid();

	/* What is buffered here must not come out twice. */
	fflush(NULL);
	w->oom_kills = oom_kills();
	w->pid = fork();
	if (w->pid < 0) {
		close(fd[0]);
		close(fd[1]);
		return error_set(err, errno, "fork: %s", strerror(errno));
	}
	if (!w->pid) {
		close(fd[0]);
		child_main(w->job, w->shared, fd[1], parent);
	}
	setpgid(w->pid, w->pid); /* whoever of the two comes first */
	close(fd[1]);
	w->reader.fd = fd[0];
	w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	return 0;
}

int isolate_run(const struct isolated_job *job, struct result_sink *sink, struct error *err)
{
	struct watched w = {
		.job = job, .relay = {.sink = {.take = relay_take}, .to = sink}, .pidfd = -1};
	struct error scratch = {0};
	int fd[2], rc;

	if (!err)
		err = &scratch;
	if (job->watch.in_process)
		return run_here(job, sink, err);
	w.shared = mmap(NULL, sizeof(*w.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (w.shared == MAP_FAILED)
		return error_set(err, errno, "memory to watch a run: %s", strerror(errno));
	if (pipe2(fd, O_CLOEXEC)) {
		rc = error_set(err, errno, "pipe: %s", strerror(errno));
		munmap(w.shared, sizeof(*w.shared));
		return rc;
	}
	/* Room for many samples, so that the child need not wait for us. Failing costs only time. */
	fcntl(fd[1], F_SETPIPE_SZ, PIPE_BYTES);
	rc = fork_and_watch(&w, fd, err);
	if (!rc) {
		rc = see_through(&w, err);
		close(fd[0]);
	}
	if (w.pidfd >= 0)
		close(w.pidfd);
	munmap(w.shared, sizeof(*w.shared));
	return rc;
}
