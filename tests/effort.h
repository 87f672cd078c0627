/* SPDX-License-Identifier: MIT */
/*
 * How hard tests try that draw at random, kill, or race: QUIRE_TEST_EFFORT=N in the environment, N
 * times the rounds, seeds or operations of the gate; 1 if unset. script/test --long sets it to 10.
 * Python's tests read the same variable.
 */
#ifndef TESTS_EFFORT_H
#define TESTS_EFFORT_H

#include <stdlib.h>

/** 1..1000; what is no number in the environment counts as 1. */
static inline unsigned int test_effort(void)
{
	const char *text = getenv("QUIRE_TEST_EFFORT");
	long n = text ? strtol(text, NULL, 10) : 1;

	return n < 1 ? 1 : n > 1000 ? 1000 : (unsigned int)n;
}

#endif
