/* SPDX-License-Identifier: MIT */
#include "cli/job.h"

#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"

void job_fail(struct job *job, const struct error *err)
{
	cli_raise(&job->code, cli_fail(EXIT_RUN, err));
}

bool job_begin(struct job *job, const char *verb, const struct option_set *options)
{
	*job = (struct job){.verb = verb, .options = options};
	cli_catch_stop();
	job->code = specs_parse(verb, options, &job->specs);
	return job->code == EXIT_OK;
}

bool job_open(struct job *job, enum runs_view view)
{
	const char *db = option_string(job->options, "db");
	struct error err = {0};

	if (db && store_open(db, &job->store, &err)) {
		job_fail(job, &err);
		return false;
	}
	job->e = cli_emitter(job->options);
	if (!job->e) {
		cli_raise(&job->code, EXIT_RUN);
		return false;
	}
	runs_begin(&job->runs, job->e, job->store, view);
	result_tee_init(&job->tee);
	result_tee_add(&job->tee, job->store ? store_sink(job->store) : NULL);
	result_tee_add(&job->tee, &job->runs.sink);
	return true;
}

/* All back ends on one trace. Return: false: go no further. */
static bool run_trace(struct job *job, const char *trace, const struct job_runner *runner)
{
	struct error misfit = {0};
	bool any = false;

	for (size_t i = 0; i < job->specs.n && !cli_stop; i++) {
		const struct allocator_spec *spec = job->specs.spec[i];
		struct error err = {0};
		int rc;

		if (job->specs.all && runner->suits && !runner->suits(spec->ops))
			continue;
		rc = runner->run(job, trace, spec, &err);
		any |= rc != -ENOTSUP;
		if (rc == -ENOTSUP && job->specs.all) {
			misfit = err; /* told if none fits, once */
			if (runner->tell_left_out)
				fprintf(stderr, "quire: %s: left out: %s\n", job->verb, err.text);
		} else if (rc) {
			job_fail(job, &err);
		}
		if (rc && rc != -ENOTSUP && rc != -ECHILD)
			return false;
	}
	if (job->specs.all && !any && !cli_stop)
		job_fail(job, &misfit);
	return !cli_stop;
}

void job_run_traces(struct job *job, int n, char **traces, const struct job_runner *runner)
{
	for (int t = 0; t < n; t++)
		if (!run_trace(job, traces[t], runner))
			return;
}

int job_end(struct job *job)
{
	struct error err = {0};

	if (job->e) {
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
