/* SPDX-License-Identifier: MIT */
/*
 * The settings of one run, gathered by whoever begins it: the one place where a setting is stated. The
 * point's id, the database, JSON, tables and caveats loop over what is here.
 *
 * Not thread-safe.
 */
#ifndef RESULTS_SETTINGS_H
#define RESULTS_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "results/result.h"

#define SETTINGS_MAX 48U

struct settings {
	struct result_setting row[SETTINGS_MAX];
	char number[SETTINGS_MAX][24]; /* what the values of numbers point at */
	size_t n;
};

/*
 * Append one; @key, @unit and a text stay the caller's and must outlive the settings. Which value is
 * `usual` is said beside it: the one at which a run without this setting would be the same. More than
 * SETTINGS_MAX of them is a bug of the program: asserted.
 */
void settings_text(struct settings *s, enum setting_role role, const char *key, const char *value,
		   const char *usual);
void settings_bool(struct settings *s, enum setting_role role, const char *key, bool value,
		   bool usual);
void settings_uint(struct settings *s, enum setting_role role, const char *key, uint64_t value,
		   const char *unit, uint64_t usual);
/** A number that need not be whole; told in as many digits as it takes, at most twelve. */
void settings_real(struct settings *s, enum setting_role role, const char *key, double value,
		   const char *unit, double usual);
/** A number that has no usual value. */
void settings_number(struct settings *s, enum setting_role role, const char *key, uint64_t value,
		     const char *unit);
/** A number that cannot be told this time; runs of one mode all have the same keys. */
void settings_unknown(struct settings *s, enum setting_role role, const char *key,
		      const char *unit);

/** The row called @key, or NULL. */
const struct result_setting *settings_find(const struct settings *s, const char *key);

/**
 * settings_point - the part of a point's identity that settings are: "key=value" of every one that is no
 * fact and not at its usual value, a line each, in alphabetical order
 * Return: malloc'ed, the caller frees; NULL: no memory.
 */
char *settings_point(const struct settings *s);

#endif
