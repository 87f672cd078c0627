/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/outfile.h"
#include "replay/provenance.h"

volatile sig_atomic_t cli_stop;

static const struct verb *const verbs[] = {
	&verb_record, &verb_import, &verb_snapshot, &verb_trace,
	&verb_replay, &verb_report, &verb_list,
};

int cli_fail(enum exit_code code, const struct error *err)
{
	fprintf(stderr, "quire: %s\n", err->text[0] ? err->text : strerror(err->code));
	return (int)code;
}

int cli_usage(const char *fmt, ...)
{
	va_list ap;

	fputs("quire: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

struct emitter *cli_emitter(const struct option_set *options)
{
	struct emitter *e;
	struct error err = {0};

	if (emitter_begin(stdout, option_choice(options, "format"), &e)) {
		error_set(&err, ENOMEM, "no memory");
		cli_fail(EXIT_RUN, &err);
		return NULL;
	}
	return e;
}

void cli_schema(struct emitter *e)
{
	if (emitter_format(e) == EMITTER_JSON)
		emitter_uint(e, "schema", 1);
}

int cli_emitter_end(struct emitter *e, int code)
{
	struct error err = {0};

	if (!emitter_end(e, &err))
		return code;
	error_prefix(&err, "standard output");
	return cli_fail(EXIT_RUN, &err);
}

/* ---- signals: leave nothing half-written behind ---- */

static void die(int signal_number)
{
	outfile_abort_all_at_signal();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void note_stop(int signal_number)
{
	(void)signal_number;
	cli_stop = 1;
}

static void on_stop(void (*handler)(int))
{
	static const int signals[] = {SIGINT, SIGTERM};
	struct sigaction action = {.sa_handler = handler};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
}

void cli_catch_stop(void)
{
	on_stop(note_stop);
}

/* ---- help ---- */

static void help_all(FILE *out)
{
	fputs("usage: quire VERB [OPTION]... [OPERAND]...\n\n"
	      "Record what a Linux kernel's page allocator was asked to do, replay it against any\n"
	      "page-frame allocator, and see what each of them made of the same memory.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n`quire VERB --help` tells a verb's options; `quire --version` the version.\n"
	      "Exit: 0 ok, 1 a check failed, 2 usage, 3 run error, 4 not comparable.\n",
	      out);
}

static void help_verb(const struct verb *v, FILE *out)
{
	fprintf(out, "usage: quire %s [OPTION]...%s%s\n\n%s\n", v->name, v->operands[0] ? " " : "",
		v->operands, v->details);
	option_help(v->options, true, out);
	fputs("  -h, --help\n        print this\n", out);
}

int cli_pick(const char *verb, const char *word, const char *const *names)
{
	const char *nearest = nearest_name(word, names);

	for (int i = 0; names[i]; i++)
		if (!strcmp(names[i], word))
			return i;
	fprintf(stderr, "quire: %s: nothing called '%s'; ", verb, word);
	if (nearest) {
		fprintf(stderr, "did you mean '%s'?\n", nearest);
		return -1;
	}
	fputs("there is", stderr);
	for (int i = 0; names[i]; i++)
		fprintf(stderr, "%s %s", i ? "," : "", names[i]);
	fputc('\n', stderr);
	return -1;
}

static const struct verb *find_verb(const char *name)
{
	const char *names[ARRAY_SIZE(verbs) + 1] = {NULL};
	int i;

	for (size_t v = 0; v < ARRAY_SIZE(verbs); v++)
		names[v] = verbs[v]->name;
	i = cli_pick("verb", name, names);
	return i < 0 ? NULL : verbs[i];
}

/* --help anywhere before "--" or a user's command. */
static bool wants_help(const struct verb *v, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
		if (v->stop_at_operand && argv[i][0] != '-')
			return false;
	}
	return false;
}

static int run_verb(const struct verb *v, int argc, char **argv)
{
	struct option_set *options;
	struct error err = {0};
	int first, n, code;

	if (option_set_create(v->options, &options, &err))
		return cli_fail(EXIT_RUN, &err);
	if (option_set_parse_argv(options, argc, argv, v->stop_at_operand, &first, &err)) {
		option_set_destroy(options);
		error_prefix(&err, "%s", v->name);
		return cli_fail(EXIT_USAGE, &err);
	}
	n = argc - first;
	if (n < v->min_operands || (v->max_operands >= 0 && n > v->max_operands))
		code = cli_usage("%s: %s; usage: quire %s [OPTION]... %s", v->name,
				 n < v->min_operands ? "an operand is missing"
						     : "too many operands",
				 v->name, v->operands);
	else
		code = v->run(options, n, argv + first);
	option_set_destroy(options);
	return code;
}

int main(int argc, char **argv)
{
	const struct verb *v;
	int code;

	signal(SIGPIPE, SIG_IGN);
	on_stop(die);
	if (argc < 2) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    (!strcmp(argv[1], "help") && argc == 2)) {
		help_all(stdout);
		return fflush(stdout) ? EXIT_RUN : EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("quire %s\n", provenance_version());
		return fflush(stdout) ? EXIT_RUN : EXIT_OK;
	}
	v = find_verb(strcmp(argv[1], "help") ? argv[1] : argv[2]);
	if (!v)
		return EXIT_USAGE;
	if (!strcmp(argv[1], "help") || wants_help(v, argc - 1, argv + 1)) {
		help_verb(v, stdout);
		return fflush(stdout) ? EXIT_RUN : EXIT_OK;
	}
	code = run_verb(v, argc - 1, argv + 1);
	return code;
}
