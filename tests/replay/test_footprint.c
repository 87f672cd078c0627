/* SPDX-License-Identifier: MIT */
/* Is what a run is said to need of the host's memory what it then takes? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "replay/engine.h"
#include "replay/footprint.h"
#include "replay/world.h"

#define BATCH 256

/* Name every frame of the machine once, in blocks of @order; no cpu stays idle. */
static int name_all(const struct machine *m, unsigned int order)
{
	struct world_config config = {.machine = m};
	struct engine_config engine = {.ids = m, .identity = IDENTITY_PFN};
	struct allocator_spec *spec;
	struct event events[BATCH];
	struct engine *e;
	uint64_t n = 0, i = 0;

	if (allocator_spec_parse("null", &spec, NULL))
		return 1;
	config.spec = spec;
	if (world_create(&config, &engine.world, NULL) || engine_create(&engine, &e, NULL))
		return 2;
	engine_start(e, 0);
	for (pfn_t pfn = 0; pfn < machine_end(m); pfn += UINT64_C(1) << order) {
		events[n++] = (struct event){.time_ns = i,
					     .pfn = pfn,
					     .cpu = (uint16_t)(i % m->nr_cpus),
					     .kind = EVENT_ALLOC,
					     .order = (uint8_t)order};
		i++;
		if (n == BATCH && engine_play(e, events, n, NULL))
			return 3;
		n %= BATCH;
	}
	if (engine_play(e, events, n, NULL) || engine_flush(e, NULL) ||
	    engine_counts(e).allocs != i || engine_state(e)->free_frames)
		return 4;
	engine_destroy(e);
	world_destroy(engine.world);
	allocator_spec_destroy(spec);
	return 0;
}

/* What a process that does so has had at most. */
static uint64_t peak_bytes(const struct machine *m, unsigned int order)
{
	struct rusage usage;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(name_all(m, order));
	assert_int_equal(wait4(pid, &status, 0, &usage), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return (uint64_t)usage.ru_maxrss * 1024;
}

/* The least that footprint_check() is content with. */
static uint64_t said_to_need(const struct machine *m)
{
	const struct engine_config engine = {.ids = m, .identity = IDENTITY_PFN};
	struct footprint f = footprint_of_trace("t", &engine, m, 1);
	uint64_t low = 0, high = UINT64_C(1) << 50;

	while (high - low > 1) {
		f.host_bytes = (low + high) / 2;
		if (footprint_check(&f, NULL))
			low = f.host_bytes;
		else
			high = f.host_bytes;
	}
	return high;
}

static void expect_honest(uint64_t machine_bytes, unsigned int order)
{
	struct machine *m;
	uint64_t said, took;

	assert_int_equal(machine_from_memory(machine_bytes, 2, &m, NULL), 0);
	said = said_to_need(m);
	took = peak_bytes(m, order);
	print_message("# %llu MiB: said %llu KiB, took %llu KiB\n",
		      (unsigned long long)(machine_bytes >> 20), (unsigned long long)(said >> 10),
		      (unsigned long long)(took >> 10));
	assert_true(took * 10 > said * 7);
	assert_true(took * 10 < said * 13);
	machine_destroy(m);
}

static void what_a_run_takes_is_what_it_is_said_to_need(void **state)
{
	(void)state;
	expect_honest(UINT64_C(64) << 30, 10);
	expect_honest(UINT64_C(16) << 30, 3);
}

static void the_figure_grows_with_the_machine_alone(void **state)
{
	struct machine *small, *large;
	uint64_t a, b;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(1) << 40, 2, &small, NULL), 0);
	assert_int_equal(machine_from_memory(UINT64_C(1) << 44, 2, &large, NULL), 0);
	a = said_to_need(small);
	b = said_to_need(large);
	assert_true(a > UINT64_C(3) << 30 && a < UINT64_C(4) << 30);
	assert_true(b > 15 * a && b < 16 * a);
	machine_destroy(small);
	machine_destroy(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_run_takes_is_what_it_is_said_to_need),
		cmocka_unit_test(the_figure_grows_with_the_machine_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
