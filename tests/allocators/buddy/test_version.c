/* SPDX-License-Identifier: MIT */
/* Which kernel follows which rules, and how options change that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/allocators/buddy/rig/rig.h"
#include "allocators/buddy/version.h"
#include "base/bits.h"

static void assert_rules(struct buddy_rules got, enum pcp_rules pcp, enum fallback_rules fallback,
			 bool cached)
{
	assert_int_equal(got.pcp, pcp);
	assert_int_equal(got.fallback, fallback);
	assert_int_equal(got.drain_cached, cached);
	assert_true(got.watermarks);
}

static void a_release_follows_the_rules_of_its_time(void **state)
{
	static const struct {
		const char *release;
		enum pcp_rules pcp;
		enum fallback_rules fallback;
		bool cached;
	} cases[] = {
		{"4.19.0-25-amd64", PCP_5_10, FALLBACK_OLD, true},
		{"5.10.0-28-amd64", PCP_5_10, FALLBACK_OLD, true},
		{"5.13.19", PCP_5_10, FALLBACK_OLD, true},
		{"5.14.0", PCP_6_1, FALLBACK_OLD, true},
		{"6.1.0-18-amd64", PCP_6_1, FALLBACK_OLD, true},
		{"6.5.13", PCP_6_1, FALLBACK_OLD, true},
		{"6.6.87.2-microsoft-standard", PCP_6_6, FALLBACK_OLD, true},
		{"6.7.0", PCP_6_12, FALLBACK_OLD, true},
		{"6.9.12", PCP_6_12, FALLBACK_OLD, true},
		{"6.10.0-rc1", PCP_6_12, FALLBACK_LARGEST, false},
		{"6.12.28", PCP_6_12, FALLBACK_LARGEST, false},
		{"6.12.29", PCP_6_12, FALLBACK_CLAIM, false},
		{"6.12.73+deb13-amd64", PCP_6_12, FALLBACK_CLAIM, false},
		{"6.13.12", PCP_6_12, FALLBACK_LARGEST, false},
		{"6.14.0", PCP_6_12, FALLBACK_LARGEST, false},
		{"6.15.0", PCP_6_12, FALLBACK_CLAIM, false},
		{"6.16.0", PCP_6_18, FALLBACK_CLAIM, false},
		{"6.18.44", PCP_6_18, FALLBACK_CLAIM, false},
		{"7.0.1", PCP_6_18, FALLBACK_CLAIM, false},
		/* What cannot be read is taken for the newest. */
		{"", PCP_6_18, FALLBACK_CLAIM, false},
		{"fedora", PCP_6_18, FALLBACK_CLAIM, false},
		{"6", PCP_6_18, FALLBACK_CLAIM, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_rules(version_rules(cases[i].release), cases[i].pcp, cases[i].fallback,
			     cases[i].cached);
}

static struct buddy_rules rules_of(const char *options, const char *release)
{
	struct buddy_rules rules;
	struct rig rig;

	assert_int_equal(rig_try_open(&rig, rig_one_zone(0, 8192), options, release, SIZE_MAX), 0);
	rules = rig.a->rules;
	rig_close(&rig);
	return rules;
}

static void the_kernel_that_recorded_the_trace_sets_the_rules(void **state)
{
	(void)state;
	assert_rules(rules_of("", "6.1.55"), PCP_6_1, FALLBACK_OLD, true);
	assert_rules(rules_of("kernel=trace", "6.14.2"), PCP_6_12, FALLBACK_LARGEST, false);
	assert_rules(rules_of("", ""), PCP_6_18, FALLBACK_CLAIM, false);
}

static void a_named_kernel_replaces_it(void **state)
{
	static const struct {
		const char *options;
		enum pcp_rules pcp;
		enum fallback_rules fallback;
		bool cached;
	} cases[] = {
		{"kernel=6.18", PCP_6_18, FALLBACK_CLAIM, false},
		{"kernel=6.15", PCP_6_12, FALLBACK_CLAIM, false},
		/* The series as it was at last. */
		{"kernel=6.12", PCP_6_12, FALLBACK_CLAIM, false},
		{"kernel=6.10", PCP_6_12, FALLBACK_LARGEST, false},
		{"kernel=6.7", PCP_6_12, FALLBACK_OLD, true},
		{"kernel=6.6", PCP_6_6, FALLBACK_OLD, true},
		{"kernel=6.1", PCP_6_1, FALLBACK_OLD, true},
		{"kernel=5.10", PCP_5_10, FALLBACK_OLD, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_rules(rules_of(cases[i].options, "6.4.4"), cases[i].pcp, cases[i].fallback,
			     cases[i].cached);
}

static void each_rule_can_be_chosen_by_itself(void **state)
{
	struct buddy_rules r;

	(void)state;
	assert_rules(rules_of("kernel=6.18,pcp=6.1", ""), PCP_6_1, FALLBACK_CLAIM, false);
	assert_rules(rules_of("fallback=largest,kernel=5.10", ""), PCP_5_10, FALLBACK_LARGEST,
		     true);
	assert_rules(rules_of("drain_type=now", "6.6.1"), PCP_6_6, FALLBACK_OLD, false);
	assert_rules(rules_of("drain_type=cached,pcp=off", ""), PCP_OFF, FALLBACK_CLAIM, true);
	r = rules_of("watermarks=off", "6.6.1");
	assert_int_equal(r.pcp, PCP_6_6);
	assert_false(r.watermarks);
}

static void without_lists_there_are_none(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_with(&rig, rig_one_zone(0, 8192), "pcp=off");
	assert_null(rig.a->zones[0].pcp);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_release_follows_the_rules_of_its_time),
		cmocka_unit_test(the_kernel_that_recorded_the_trace_sets_the_rules),
		cmocka_unit_test(a_named_kernel_replaces_it),
		cmocka_unit_test(each_rule_can_be_chosen_by_itself),
		cmocka_unit_test(without_lists_there_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
