/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/version.h"

#include <stdio.h>
#include <string.h>

#define RELEASE(major, minor, patch) ((major)*1000000U + (minor)*1000U + (patch))
#define NEWEST			     RELEASE(6, 18, 0)

static const char *const kernel_names[] = {"trace", "6.18", "6.15", "6.12", "6.10",
					   "6.7",   "6.6",  "6.1",  "5.10", NULL};
static const char *const fallback_names[] = {"claim", "largest", "old", NULL};
static const char *const drain_names[] = {"now", "cached", NULL};

const struct option buddy_options[] = {
	{.name = "kernel",
	 .type = OPTION_CHOICE,
	 .choices = kernel_names,
	 .fallback = "trace",
	 .help = "whose rules to follow; trace: the kernel's that recorded it, else the newest"},
	{.name = "pcp",
	 .type = OPTION_CHOICE,
	 .choices = pcp_rules_names,
	 .help = "rules of the per-CPU lists, off for none; default: the kernel's"},
	{.name = "fallback",
	 .type = OPTION_CHOICE,
	 .choices = fallback_names,
	 .help = "what to do when a type's lists are empty: claim a pageblock or steal the "
		 "smallest "
		 "block, decide by the largest block, or mix lists; default: the kernel's"},
	{.name = "drain_type",
	 .type = OPTION_CHOICE,
	 .choices = drain_names,
	 .help = "drained frames go by their pageblock's type now, or as it was when they were "
		 "freed; default: the kernel's"},
	{.name = "watermarks",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "keep to the zones' watermarks and reserves while others have memory"},
	{.name = NULL},
};

static unsigned int parse_release(const char *release)
{
	unsigned int major, minor, patch = 0;

	if (sscanf(release, "%3u.%3u.%3u", &major, &minor, &patch) < 2)
		return NEWEST;
	return RELEASE(major, minor, patch);
}

/* 6.15's fallback came to the stable series of 6.12 and 6.14, too. */
static bool claims(unsigned int release)
{
	return release >= RELEASE(6, 15, 0) ||
	       (release >= RELEASE(6, 12, 29) && release < RELEASE(6, 13, 0)) ||
	       (release >= RELEASE(6, 14, 7) && release < RELEASE(6, 15, 0));
}

struct buddy_rules version_rules(const char *text)
{
	unsigned int release = parse_release(text);
	bool hygiene = release >= RELEASE(6, 10, 0);

	return (struct buddy_rules){
		.pcp = release >= RELEASE(6, 16, 0)   ? PCP_6_18
		       : release >= RELEASE(6, 7, 0)  ? PCP_6_12
		       : release >= RELEASE(6, 6, 0)  ? PCP_6_6
		       : release >= RELEASE(5, 14, 0) ? PCP_6_1
						      : PCP_5_10,
		.fallback = claims(release) ? FALLBACK_CLAIM
			    : hygiene	    ? FALLBACK_LARGEST
					    : FALLBACK_OLD,
		.drain_cached = !hygiene,
		.watermarks = true,
	};
}

struct buddy_rules version_choose(const struct alloc_env *env)
{
	const char *kernel = env->option_string(env, "kernel");
	struct buddy_rules rules;

	/* A series by name means its latest patch. */
	if (strcmp(kernel, "trace") == 0)
		rules = version_rules(env->kernel);
	else if (strcmp(kernel, "6.12") == 0)
		rules = version_rules("6.12.99");
	else
		rules = version_rules(kernel);
	if (env->option_string(env, "pcp"))
		rules.pcp = env->option_choice(env, "pcp");
	if (env->option_string(env, "fallback"))
		rules.fallback = env->option_choice(env, "fallback");
	if (env->option_string(env, "drain_type"))
		rules.drain_cached = env->option_choice(env, "drain_type") == 1;
	rules.watermarks = env->option_bool(env, "watermarks");
	return rules;
}
