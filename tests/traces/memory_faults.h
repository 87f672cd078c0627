/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out at will: the linker sends the allocations of everything in the test's executable
 * (--wrap, see meson.build) through here, and those of zstd come through the allocator it is given.
 */
#ifndef TESTS_TRACES_MEMORY_FAULTS_H
#define TESTS_TRACES_MEMORY_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

enum fault_mode {
	FAULT_ONCE,    /* one allocation fails */
	FAULT_FOREVER, /* and all behind it */
};

/** From now on let the @nth allocation fail, from 1. */
void faults_arm(uint64_t nth, enum fault_mode mode);
/** Memory is plenty again. Return: whether an allocation failed. */
bool faults_disarm(void);

#endif
