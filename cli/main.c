/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analysis/text.h"
#include "base/bits.h"
#include "base/outfile.h"
#include "replay/provenance.h"

#define USUAL_WIDTH 80 /* of a terminal, and of what is no terminal */

volatile sig_atomic_t cli_stop;

/* The command line, verb first, as getopt may have permuted it. */
static char **cli_words;
static int cli_nr_words;

static const struct verb *const verbs[] = {
	&verb_record,  &verb_import, &verb_generate, &verb_snapshot, &verb_trace, &verb_replay,
	&verb_recover, &verb_bench,  &verb_fidelity, &verb_report,   &verb_list,
};

/*
 * Libraries name a remedy, and know of no command line: how it is done there, by the error's code and a
 * word of the remedy.
 */
static const struct {
	int code;
	const char *word, *spelling;
} spellings[] = {
	{EEXIST, "replace it", "--force"},
	{EBADMSG, "salvage", "quire replay --salvage"},
	{EBADMSG, "imported", "quire import"},
	{EBADMSG, "import it as", "--from"},
	{ETIMEDOUT, "raise the timeout", "--timeout"},
	{ENOSPC, "spool elsewhere", "--spool"},
	{EDQUOT, "spool elsewhere", "--spool"},
	{EFBIG, "spool elsewhere", "--spool"},
	{ENOMEM, "smaller buffer", "--buffer"},
	{ENOTSUP, "record one", "quire record"},
	{ENOMEM, "grow it", "--grow-hugetlb"},
	{ENOTSUP, "the backing small", "--backing small"},
	{ENOMEM, "import it anew", "quire import --memory SIZE --drop-beyond"},
};

static const char *spelling_of(const struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
		if (spellings[i].code == err->code && strstr(err->text, spellings[i].word))
			return spellings[i].spelling;
	return NULL;
}

int cli_fail(enum exit_code code, const struct error *err)
{
	const char *spelling = spelling_of(err);

	fprintf(stderr, "quire: %s%s%s%s\n", err->text[0] ? err->text : strerror(err->code),
		spelling ? " (" : "", spelling ? spelling : "", spelling ? ")" : "");
	return (int)code;
}

/* Of the words at @i: how many name back ends, a database or more runs, and are not repeated. */
static int not_repeated(int i)
{
	static const char *const own[] = {"-a", "--allocator", "--db", "--repetitions"};

	for (size_t o = 0; o < ARRAY_SIZE(own); o++) {
		const size_t length = strlen(own[o]);

		if (strncmp(cli_words[i], own[o], length) != 0)
			continue;
		if (!cli_words[i][length])
			return 2;
		if (cli_words[i][length] == '=' || length == 2)
			return 1;
	}
	return 0;
}

void cli_put_repetition(FILE *out, const char *spec)
{
	fputs("quire", out);
	for (int i = 0; i < cli_nr_words;) {
		const int skip = not_repeated(i);

		if (!skip) {
			fputc(' ', out);
			text_shell(out, cli_words[i]);
		}
		i += skip ? skip : 1;
	}
	fputs(" -a ", out);
	text_shell(out, spec);
	fputs(" --in-process", out);
}

int cli_refuse(const struct error *err)
{
	return cli_fail(err->code == ENOMEM ? EXIT_RUN : EXIT_USAGE, err);
}

void cli_dash(struct error *err, const struct option *table)
{
	size_t length = strcspn(err->text, " :");

	for (; table->name; table++) {
		if (strlen(table->name) == length && !strncmp(table->name, err->text, length)) {
			error_set(err, err->code, "--%s", err->text);
			return;
		}
	}
}

int cli_usage(const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	struct error err = {0};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* What the user typed may hold anything; an error's text is one line. */
	error_set(&err, EINVAL, "%s", text);
	return cli_fail(EXIT_USAGE, &err);
}

/* Of a line of a table: as the user says, as the terminal is wide, or as most are. */
static size_t line_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	char *end;
	unsigned long said;

	if (columns && columns[0] >= '0' && columns[0] <= '9') {
		said = strtoul(columns, &end, 10);
		if (!*end && said > 0)
			return said;
	}
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > 0)
		return size.ws_col;
	return USUAL_WIDTH;
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
	emitter_set_width(e, line_width());
	if (emitter_format(e) == EMITTER_JSON)
		emitter_uint(e, "schema", 1);
	return e;
}

/* Of a pipe on stdout; whoever it was that wrote when it left. */
static bool reader_left(void)
{
	struct pollfd reader = {.fd = STDOUT_FILENO};

	return poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR);
}

bool cli_unread(struct emitter *e)
{
	return emitter_error(e) && reader_left();
}

int cli_emitter_end(struct emitter *e, int code)
{
	const bool unread = cli_unread(e); /* and flushed: what follows on stderr stands below */
	struct error err = {0};

	if (emitter_left_out(e) && !unread)
		fprintf(stderr,
			"quire: left out for want of room: %s (a wider terminal or COLUMNS=N has "
			"more, --format csv or json all)\n",
			emitter_left_out(e));
	if (!emitter_end(e, &err) || unread)
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
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = handler}, old;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		/* nohup(1) has SIGHUP ignored, and means it. */
		if (signals[i] == SIGHUP && !sigaction(SIGHUP, NULL, &old) &&
		    old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &action, NULL);
	}
}

void cli_catch_stop(void)
{
	on_stop(note_stop);
}

/*
 * Where a standard descriptor is missing, the next file opened would take its place and its output.
 * Fill the gap the wrong way round, so that using it still fails.
 */
static void fill_standard_descriptors(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd < (int)ARRAY_SIZE(modes); fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", modes[fd]);
}

/* ---- help ---- */

static int end_help(void)
{
	struct error err = {0};

	errno = 0;
	if ((!fflush(stdout) && !ferror(stdout)) || reader_left())
		return EXIT_OK;
	error_set(&err, errno ? errno : EIO, "standard output: cannot write: %s",
		  strerror(errno ? errno : EIO));
	return cli_fail(EXIT_RUN, &err);
}

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
	if (v->more_help)
		v->more_help(out);
}

int cli_pick(const char *verb, const char *word, const char *const *names)
{
	const char *nearest = nearest_name(word, names);
	char known[256] = "";
	size_t used = 0;

	for (int i = 0; names[i]; i++) {
		if (!strcmp(names[i], word))
			return i;
		if (used < sizeof(known))
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
						 i ? ", " : "", names[i]);
	}
	if (nearest)
		cli_usage("%s: nothing called '%s'; did you mean '%s'?", verb, word, nearest);
	else
		cli_usage("%s: nothing called '%s'; there is %s", verb, word, known);
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
		return cli_refuse(&err);
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

	fill_standard_descriptors();
	/* A reader that went away and a limit on file sizes are told where something is written. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	on_stop(die);
	if (argc < 2) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    (!strcmp(argv[1], "help") && argc == 2)) {
		help_all(stdout);
		return end_help();
	}
	if (!strcmp(argv[1], "--version")) {
		printf("quire %s\n", provenance_version());
		return end_help();
	}
	v = find_verb(strcmp(argv[1], "help") ? argv[1] : argv[2]);
	if (!v)
		return EXIT_USAGE;
	if (!strcmp(argv[1], "help") || wants_help(v, argc - 1, argv + 1)) {
		help_verb(v, stdout);
		return end_help();
	}
	cli_words = argv + 1;
	cli_nr_words = argc - 1;
	return run_verb(v, argc - 1, argv + 1);
}
