/* SPDX-License-Identifier: MIT */
#include "replay/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
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

struct pipe_sink {
	struct result_sink sink;
	struct result_writer writer;
	uint64_t flushed_ns;
};

static int pipe_take(struct result_sink *sink, const struct result_record *record,
		     struct error *err)
{
	struct pipe_sink *p = (struct pipe_sink *)sink;
	uint64_t now_ns = clock_now_ns();
	int rc = result_writer_put(&p->writer, record, err);

	if (rc)
		return rc;
	if (record->kind != RESULT_RUN && record->kind != RESULT_DONE &&
	    record->kind != RESULT_ALIVE && p->writer.used < GATHER_BYTES &&
	    now_ns - p->flushed_ns < GATHER_NS)
		return 0;
	p->flushed_ns = now_ns;
	return result_writer_flush(&p->writer, err);
}

/* In the parent: pass records on, and remember whether the run began and ended. */
struct relay_sink {
	struct result_sink sink;
	struct result_sink *to;
	bool began, ended;
	enum run_status status;
	struct error failure;
};

static int relay_take(struct result_sink *sink, const struct result_record *record,
		      struct error *err)
{
	struct relay_sink *relay = (struct relay_sink *)sink;

	if (record->kind == RESULT_ALIVE)
		return 0; /* has been heard */
	if (record->kind == RESULT_DONE) {
		relay->ended = true;
		relay->status = record->done.status;
		if (record->done.status != RUN_DONE) {
			error_set(&relay->failure, record->done.code ? record->done.code : EIO,
				  "%s", record->done.text ? record->done.text : "");
			return 0; /* told by isolate_run() */
		}
	}
	if (record->kind == RESULT_RUN)
		relay->began = true;
	return relay->to->take(relay->to, record, err);
}

static void __attribute__((noreturn))
child_main(const struct isolated_job *job, int fd, pid_t parent)
{
	struct pipe_sink sink = {.sink = {.take = pipe_take}, .writer = {.fd = fd}};
	struct error err = {0};
	int rc;

	static const int deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGSEGV,
				     SIGBUS, SIGFPE,  SIGILL, SIGABRT};

	/* Whatever the parent does at these signals, a back end's crash must end this process. */
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		if (signal(deadly[i], SIG_DFL) == SIG_IGN)
			signal(deadly[i], SIG_IGN); /* what everyone is to ignore, it does, too */
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no run outlives who wants its results */
	if (getppid() != parent)	  /* who has died before that call */
		_exit(1);
	rc = job->body(job->arg, &sink.sink, &err);
	if (rc) {
		const struct error why = err; /* sending it may fail, too */
		const struct result_record done = {
			.kind = RESULT_DONE,
			.done = {.status = RUN_FAILED, .text = why.text, .code = -rc}};

		(void)pipe_take(&sink.sink, &done, &err);
	}
	result_writer_release(&sink.writer);
	close(fd);
	_exit(rc ? 1 : 0);
}

/* Pass on all records that have arrived. Return: 0 or a negative errno. */
static int relay_arrived(struct result_reader *reader, struct relay_sink *relay, struct error *err)
{
	int rc;

	while ((rc = result_reader_take(reader, &relay->sink, err)) > 0)
		;
	return rc;
}

/*
 * Read records until the child ends the stream. -ETIMEDOUT: it has been silent for too long; -EINTR:
 * the caller wants it stopped.
 */
static int relay_all(struct result_reader *reader, struct relay_sink *relay,
		     const struct isolated_job *job, struct error *err)
{
	struct pollfd p = {.fd = reader->fd, .events = POLLIN};
	unsigned int silent_ms = 0;
	int rc;

	for (;;) {
		if (job->stop && *job->stop)
			return error_set(err, EINTR, "interrupted");
		rc = poll(&p, 1, (int)POLL_MS);
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc == 0) {
			silent_ms += POLL_MS;
			if (job->timeout_s && silent_ms / 1000 >= job->timeout_s)
				return error_set(err, ETIMEDOUT, "no sign of life for %u s",
						 job->timeout_s);
			continue;
		}
		silent_ms = 0;
		rc = result_reader_fill(reader, err);
		if (rc <= 0)
			return rc;
		rc = relay_arrived(reader, relay, err);
		if (rc)
			return rc;
	}
}

/* How the child ended when it did not say so itself. */
static int judge(const struct relay_sink *relay, int relay_rc, int status, const char *name,
		 struct error *err, enum run_status *run_status)
{
	/* Our own sink's failure, told by err. It ended the child, too: ask for it first. */
	if (relay_rc && relay_rc != -EPROTO && relay_rc != -ETIMEDOUT && relay_rc != -EINTR) {
		*run_status = RUN_FAILED;
		return relay_rc;
	}
	if (relay->ended && relay->status == RUN_DONE) {
		*run_status = RUN_DONE;
		return 0;
	}
	if (relay->ended) {
		*run_status = relay->status;
		return error_set(err, relay->failure.code, "%s", relay->failure.text);
	}
	if (relay_rc == -ETIMEDOUT) {
		*run_status = RUN_CRASHED;
		return error_set(err, ECHILD,
				 "%s: hangs (%s); stopped; raise the timeout if it is only slow",
				 name, err->text);
	}
	if (relay_rc == -EINTR ||
	    (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM ||
				     WTERMSIG(status) == SIGHUP))) {
		*run_status = RUN_INTERRUPTED;
		return error_set(err, EINTR, "%s: interrupted", name);
	}
	if (WIFSIGNALED(status)) {
		*run_status = RUN_CRASHED;
		return error_set(err, ECHILD,
				 "%s: its process was killed by signal %d (%s); its results are "
				 "dropped, other back ends go on",
				 name, WTERMSIG(status), strsignal(WTERMSIG(status)));
	}
	*run_status = RUN_CRASHED;
	return error_set(
		err, ECHILD,
		"%s: its process ended with exit code %d before its results were whole%s%s", name,
		WEXITSTATUS(status), relay_rc ? ": " : "", relay_rc ? err->text : "");
}

int isolate_run(const struct isolated_job *job, struct result_sink *sink, struct error *err)
{
	struct relay_sink relay = {.sink = {.take = relay_take}, .to = sink};
	struct result_reader reader = {.fd = -1};
	struct result_record done = {.kind = RESULT_DONE};
	struct error scratch = {0}, ignored;
	int fd[2], status = 0, rc, relay_rc;
	pid_t parent = getpid(), pid;

	if (!err)
		err = &scratch;
	if (pipe(fd))
		return error_set(err, errno, "pipe: %s", strerror(errno));
	/* Room for many samples, so that the child need not wait for us. Failing costs only time. */
	fcntl(fd[1], F_SETPIPE_SZ, PIPE_BYTES);
	/* What is buffered here must not come out twice. */
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		rc = error_set(err, errno, "fork: %s", strerror(errno));
		close(fd[0]);
		close(fd[1]);
		return rc;
	}
	if (!pid) {
		close(fd[0]);
		child_main(job, fd[1], parent);
	}
	close(fd[1]);
	reader.fd = fd[0];
	relay_rc = relay_all(&reader, &relay, job, err);
	result_reader_release(&reader);
	close(fd[0]);
	if (relay_rc && relay_rc != -EPROTO)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	rc = judge(&relay, relay_rc, status, job->name, err, &done.done.status);
	if (rc && relay.began) {
		done.done.text = err->text;
		done.done.code = -rc;
		(void)sink->take(sink, &done, &ignored);
	}
	return rc;
}
