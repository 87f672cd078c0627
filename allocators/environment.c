/* SPDX-License-Identifier: MIT */
#include "allocators/environment.h"

#include <errno.h>

#define TYPE(name) (1U << OPTION_##name)
#define ANY	   (~0U)

/* The values, if they have one of that name and type; else NULL, and the error says so. */
static const struct option_set *values_of(const struct alloc_env *env, const char *name,
					  unsigned int types)
{
	const struct option *row = option_find(env->options, name);

	if (row && types & 1U << row->type)
		return env->options;
	error_set(env->error, EINVAL,
		  "it asks for an option '%s' that its table %s; mend the back end", name,
		  row ? "has with another type" : "does not have");
	return NULL;
}

static bool given(const struct alloc_env *env, const char *name)
{
	const struct option_set *values = values_of(env, name, ANY);

	return values && option_given(values, name);
}

static bool boolean(const struct alloc_env *env, const char *name)
{
	const struct option_set *values = values_of(env, name, TYPE(BOOL));

	return values && option_bool(values, name);
}

static uint64_t number(const struct alloc_env *env, const char *name)
{
	const struct option_set *values = values_of(env, name, TYPE(UINT) | TYPE(SIZE));

	return values ? option_uint(values, name) : 0;
}

static double real(const struct alloc_env *env, const char *name)
{
	const struct option_set *values = values_of(env, name, TYPE(REAL));

	return values ? option_real(values, name) : 0;
}

static unsigned int choice(const struct alloc_env *env, const char *name)
{
	const struct option_set *values = values_of(env, name, TYPE(CHOICE));
	size_t bytes;

	return values && !option_file(values, name, &bytes) ? option_choice(values, name) : 0;
}

static const char *string(const struct alloc_env *env, const char *name)
{
	const struct option_set *values = values_of(env, name, TYPE(STRING) | TYPE(CHOICE));

	return values ? option_string(values, name) : NULL;
}

static const char *file(const struct alloc_env *env, const char *name, size_t *bytes)
{
	const struct option_set *values = values_of(env, name, TYPE(CHOICE));

	return values ? option_file(values, name, bytes) : NULL;
}

void environment_read_options(struct alloc_env *env, const struct option_set *options)
{
	env->options = options;
	env->option_given = given;
	env->option_bool = boolean;
	env->option_uint = number;
	env->option_real = real;
	env->option_choice = choice;
	env->option_string = string;
	env->option_file = file;
}
