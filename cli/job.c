/* SPDX-License-Identifier: MIT */
#include "cli/job.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

void job_fail(struct job *job, const struct error *err)
{
	cli_raise(&job->code, cli_fail(EXIT_RUN, err));
}

int job_choose_clock(const char *verb, const struct option_set *options,
		     struct clock_choice *choice)
{
	struct error err = {0};

	if (!clock_choose((enum clock_wish)option_choice(options, "clock"), choice, &err))
		return EXIT_OK;
	error_prefix(&err, "%s: --clock %s", verb, option_string(options, "clock"));
	return cli_fail(EXIT_RUN, &err);
}

bool job_begin(struct job *job, const char *verb, const struct option_set *options)
{
	*job = (struct job){.verb = verb, .options = options};
	cli_catch_stop();
	job->code = specs_parse(verb, options, &job->specs);
	return job->code == EXIT_OK;
}

/* Somebody else has the database locked. Return: whether to wait on. */
static bool wait_on(void *arg, const char *path, unsigned int seconds)
{
	struct job *job = arg;

	if (cli_stop || seconds > option_uint(job->options, "db-wait"))
		return false;
	if (!job->waited_s)
		fprintf(stderr, "quire: %s: another process has it locked; waiting\n", path);
	job->waited_s = seconds;
	return true;
}

/* Each run that fails, says why. */
static int tell_failure(struct result_sink *sink, const struct result_record *record,
			struct error *err)
{
	struct job *job = (struct job *)((char *)sink - offsetof(struct job, failures));
	struct error failure = {0};

	(void)err;
	if (record->kind != RESULT_DONE || record->done.status == RUN_DONE || job->runs.unread)
		return 0;
	error_set(&failure, record->done.code ? record->done.code : EIO, "%s: %s", job->verb,
		  record->done.text ? record->done.text : "failed");
	job_fail(job, &failure);
	if (record->done.status == RUN_CRASHED && job->runs.kept.run.spec) {
		fputs("quire: to repeat it: gdb --args ", stderr);
		cli_put_repetition(stderr, job->runs.kept.run.spec);
		fputc('\n', stderr);
	}
	return 0;
}

bool job_open(struct job *job, enum runs_view view)
{
	const struct database_wait wait = {.waiting = wait_on, .arg = job};
	const char *db = option_string(job->options, "db");
	struct error err = {0};

	if (db && store_open(db, &wait, &job->store, &err)) {
		job_fail(job, &err);
		return false;
	}
	job->e = cli_emitter(job->options);
	if (!job->e) {
		cli_raise(&job->code, EXIT_RUN);
		return false;
	}
	runs_begin(&job->runs, job->e, job->store, view);
	job->failures.take = tell_failure;
	result_tee_init(&job->tee);
	result_tee_add(&job->tee, job->store ? store_sink(job->store) : NULL);
	result_tee_add(&job->tee, &job->runs.sink);
	result_tee_add(&job->tee, &job->failures);
	return true;
}

struct run_watch job_watch(const struct job *job)
{
	return (struct run_watch){
		.timeout_s = (unsigned int)option_uint(job->options, "timeout"),
		.in_process = option_bool(job->options, "in-process"),
		.stop = &cli_stop,
	};
}

void job_tell_unkept(struct job *job)
{
	struct error err = {0};

	if (!result_tee_failure(&job->tee, &err))
		return;
	error_set(&err, err.code, "%s: not all results of a run could be kept: %s", job->verb,
		  err.text);
	job_fail(job, &err);
}

/* One back end on one trace, which it fits or was named for. */
static void run_one(struct job *job, const char *trace, const struct allocator_spec *spec,
		    const struct job_runner *runner)
{
	const unsigned int rows = job->runs.rows;
	struct error err = {0};

	/* Once it has a row, that has told. */
	if (runner->run(job, trace, spec, &err) && job->runs.rows == rows)
		job_fail(job, &err);
	job_tell_unkept(job);
}

/*
 * Is a back end to be run on this trace? Return: 0, and @fits is set, with a line where somebody may wonder; the
 * trace's error.
 */
static int see_fit(struct job *job, const char *trace, const struct allocator_spec *spec,
		   const struct job_runner *runner, bool *fits, struct error *err)
{
	int rc;

	*fits = false;
	if (job->specs.all && runner->suits && !runner->suits(spec->ops))
		return 0;
	rc = runner->fits(job, trace, spec, fits, err);
	if (rc || *fits)
		return rc;
	if (job->specs.all)
		fprintf(stderr, "quire: %s: left out: %s\n", job->verb, err->text);
	*fits = !job->specs.all; /* who named it has a row that says why */
	return 0;
}

/* All back ends that fit a trace, in turns. */
static void run_in_turns(struct job *job, const char *trace,
			 const struct allocator_spec *const *specs, size_t n,
			 const struct job_runner *runner)
{
	struct error err = {0};
	int rc = runner->run_all(job, trace, specs, n, &err);

	/* Of what was interrupted, each run has told; of what nobody reads, none has to. */
	if (rc && !job->runs.unread && (rc != -EINTR || job->code != EXIT_RUN))
		job_fail(job, &err);
	job_tell_unkept(job);
}

/* All back ends on one trace. */
static void run_trace(struct job *job, const char *trace, const struct job_runner *runner)
{
	const struct allocator_spec **fitting = calloc(job->specs.n, sizeof(*fitting));
	size_t n = 0;
	bool any = false;

	if (!fitting) {
		job_fail(job, &(struct error){.code = ENOMEM});
		return;
	}
	for (size_t i = 0; i < job->specs.n && !cli_stop; i++) {
		const struct allocator_spec *spec = job->specs.spec[i];
		struct error err = {0};
		bool fits;

		if (see_fit(job, trace, spec, runner, &fits, &err)) {
			job_fail(job, &err);
			free(fitting);
			return;
		}
		any |= fits;
		if (fits && runner->run_all)
			fitting[n++] = spec;
		else if (fits)
			run_one(job, trace, spec, runner);
	}
	if (n && !cli_stop)
		run_in_turns(job, trace, fitting, n, runner);
	free(fitting);
	if (!any && !cli_stop) {
		cli_raise(&job->code, EXIT_RUN);
		fprintf(stderr, "quire: %s: %s: no built-in back end fits; name another (-a)\n",
			job->verb, trace);
	}
}

void job_run_traces(struct job *job, int n, char **traces, const struct job_runner *runner)
{
	runs_name_traces(&job->runs, traces, (size_t)n);
	for (int t = 0; t < n && !cli_stop; t++)
		run_trace(job, traces[t], runner);
}

int job_end(struct job *job)
{
	struct error err = {0};

	if (job->e) {
		job_tell_unkept(job); /* of whoever has not asked after each row */
		if (job->runs.failed_checks)
			cli_raise(&job->code, EXIT_CHECK);
		runs_end(&job->runs);
		job->code = cli_emitter_end(job->e, job->code);
	}
	if (store_close(job->store, &err))
		job_fail(job, &err);
	specs_release(&job->specs);
	return job->code;
}
