/* SPDX-License-Identifier: MIT */
/*
 * What the verbs share: the shape of a verb, exit codes, and the one place where an error becomes a
 * line on stderr. stdout carries only what was asked for, in the format asked for.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/emitter.h"
#include "base/error.h"
#include "base/option.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_CHECK = 1, /* a regression, or a check that failed */
	EXIT_USAGE = 2,
	EXIT_RUN = 3,
	EXIT_INCOMPARABLE = 4,
};

struct verb {
	const char *name;
	const char *summary;  /* one line */
	const char *operands; /* as in a usage line: "T.quire..." */
	const char *details;  /* a paragraph or two; ends with a newline */
	const struct option *options;
	int min_operands, max_operands; /* max -1: any number */
	bool stop_at_operand; /* what follows the first operand is a command of the user's */
	/** Return: an enum exit_code. */
	int (*run)(const struct option_set *options, int n, char **operands);
	/* What follows the options in the help; NULL: nothing. */
	void (*more_help)(FILE *out);
};

extern const struct verb verb_bench, verb_fidelity, verb_generate, verb_import, verb_list,
	verb_record, verb_recover, verb_replay, verb_report, verb_snapshot, verb_trace;

/** Set by SIGINT, SIGTERM and SIGHUP while a verb asked for it with cli_catch_stop(). */
extern volatile sig_atomic_t cli_stop;
/** From now on these signals set cli_stop instead of ending the process. */
void cli_catch_stop(void);

/** Print "quire: MESSAGE" on stderr. Return: @code, for `return cli_fail(...)`. */
int cli_fail(enum exit_code code, const struct error *err);
/** What was asked could not be understood: a usage error, unless only memory was short. */
int cli_refuse(const struct error *err);
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/**
 * cli_dash - libraries call a parameter "memory", a command line "--memory": where a message begins
 * with one of @table, put the dashes before it
 */
void cli_dash(struct error *err, const struct option *table);

/**
 * cli_pick - which of @names a user means by @word
 * Return: its index; -1 after telling what there is (@verb begins the line).
 */
int cli_pick(const char *verb, const char *word, const char *const *names);

/**
 * cli_put_repetition - the command that repeats a run of this one, of the back end @spec alone, in one process
 * As typed, quoted for a shell; nothing goes to the database.
 */
void cli_put_repetition(FILE *out, const char *spec);

/**
 * cli_emitter - a document on stdout in the format of the option "format"
 * For machines it begins with its version, "schema"; tables fit the terminal.
 * Return: NULL after telling why.
 */
struct emitter *cli_emitter(const struct option_set *options);
/** Whether who read stdout has gone, so that nothing more of it will be read. */
bool cli_unread(struct emitter *e);
/**
 * cli_emitter_end - finish it
 * A reader that has read enough and went is no error.
 * Return: @code, or EXIT_RUN after telling that stdout could not be written.
 */
int cli_emitter_end(struct emitter *e, int code);

/** The exit code of several things: the largest. */
static inline void cli_raise(int *code, int other)
{
	if (other > *code)
		*code = other;
}

/* Rows that several verbs have. */
#define CLI_OPTION_TIMEOUT                                                                         \
	{                                                                                          \
		.name = "timeout", .type = OPTION_UINT, .fallback = "60", .unit = "s",             \
		.max = 1000000,                                                                    \
		.help = "stop a back end that has made no progress for so long; 0: never"          \
	}
#define CLI_OPTION_IN_PROCESS                                                                      \
	{                                                                                          \
		.name = "in-process", .type = OPTION_BOOL, .fallback = "off",                      \
		.help = "run in this process, for a debugger: a crash, or a loop without end, is " \
			"then ours"                                                                \
	}
#define CLI_OPTION_LABEL                                                                           \
	{                                                                                          \
		.name = "label", .letter = 'l', .type = OPTION_STRING, .help = "name these runs"   \
	}
#define CLI_OPTION_DB                                                                              \
	{                                                                                          \
		.name = "db", .type = OPTION_STRING, .argument = "FILE",                           \
		.help = "add the results to this SQLite file (created if missing)"                 \
	}
#define CLI_OPTION_DB_WAIT                                                                         \
	{                                                                                          \
		.name = "db-wait", .type = OPTION_UINT, .fallback = "60", .unit = "s",             \
		.max = 1000000,                                                                    \
		.help = "how long to wait while another process has that file locked"              \
	}
#define CLI_OPTION_FORMAT                                                                          \
	{                                                                                          \
		.name = "format", .type = OPTION_CHOICE, .choices = emitter_format_names,          \
		.fallback = "table", .help = "what to print on stdout"                             \
	}
#define CLI_OPTION_FORCE                                                                           \
	{                                                                                          \
		.name = "force", .letter = 'f', .type = OPTION_BOOL, .fallback = "off",            \
		.help = "replace an existing output"                                               \
	}

#endif
