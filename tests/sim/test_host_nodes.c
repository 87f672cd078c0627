/* SPDX-License-Identifier: MIT */
/* Which node's memory is bound where, on a host with as many nodes as a test likes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"
#include "sim/host_nodes.h"
#include "sim/memory.h"

#define BLOCK_BYTES ((size_t)2 << 20)
#define BLOCKS	    64U
#define UNBOUND	    0xffff

/* A host that writes down what is asked of it. */
struct fake {
	struct node_host host;
	uint16_t ids[MACHINE_ZONES_MAX];
	unsigned int nodes, calls;
	char *base;		/* of block 0 */
	uint16_t bound[BLOCKS]; /* the node of each block */
	uint8_t times[BLOCKS];
	int fails;
};

static unsigned int fake_nodes(void *arg, uint16_t *ids, unsigned int max)
{
	const struct fake *f = arg;

	memcpy(ids, f->ids, (size_t)min_u64(max, f->nodes) * sizeof(*ids));
	return f->nodes;
}

static int fake_bind(void *arg, void *at, size_t bytes, unsigned int node)
{
	struct fake *f = arg;
	const uint64_t offset = (uint64_t)((char *)at - f->base);

	f->calls++;
	assert_int_equal(offset % BLOCK_BYTES, 0);
	assert_int_equal(bytes % BLOCK_BYTES, 0);
	assert_true(bytes > 0 && (offset + bytes) / BLOCK_BYTES <= BLOCKS);
	for (uint64_t b = offset / BLOCK_BYTES; b < (offset + bytes) / BLOCK_BYTES; b++) {
		f->bound[b] = (uint16_t)node;
		f->times[b]++;
	}
	return f->fails;
}

static void fake_init(struct fake *f, unsigned int nodes)
{
	*f = (struct fake){.host = {fake_nodes, fake_bind, f}, .nodes = nodes};
	memset(f->bound, 0xff, sizeof(f->bound));
	for (unsigned int i = 0; i < MACHINE_ZONES_MAX; i++)
		f->ids[i] = (uint16_t)(3 * i + 1); /* not all of them may be used */
}

static struct machine *nodes_of(unsigned int nodes)
{
	struct machine *m;

	assert_int_equal(machine_create(1, nodes, &m, NULL), 0);
	for (unsigned int i = 0; i < nodes && i < MACHINE_ZONES_MAX; i++) {
		const struct zone zone = {.start = i * HUGE_FRAMES,
					  .end = (i + 1) * HUGE_FRAMES,
					  .node = (uint16_t)i,
					  .type = ZONE_NORMAL};

		assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	}
	return m;
}

static void nodes_are_given_out_in_order(void **state)
{
	struct machine *m = nodes_of(3);
	struct node_plan plan;
	struct fake f;

	(void)state;
	fake_init(&f, 4);
	node_plan_make(m, &f.host, &plan);
	assert_true(plan.bound);
	assert_string_equal(plan.text, "bound 0:1 1:4 2:7");
	assert_int_equal(plan.host_node[2], 7);
	fake_init(&f, 2);
	node_plan_make(m, &f.host, &plan);
	assert_false(plan.bound);
	assert_string_equal(plan.text, "accounted: the host has 2 of 3 nodes");
	fake_init(&f, 0);
	node_plan_make(m, &f.host, &plan);
	assert_false(plan.bound);
	assert_string_equal(plan.text, "accounted: the host has 0 of 3 nodes");
	machine_destroy(m);
}

static void as_many_as_a_machine_can_have_are_told_in_full(void **state)
{
	struct machine *m = nodes_of(MACHINE_ZONES_MAX);
	struct node_plan plan;
	struct fake f;

	(void)state;
	fake_init(&f, MACHINE_ZONES_MAX);
	f.ids[MACHINE_ZONES_MAX - 1] = 65535;
	node_plan_make(m, &f.host, &plan);
	assert_true(plan.bound);
	assert_non_null(strstr(plan.text, " 63:65535"));
	machine_destroy(m);
	/* More nodes than there can be zones: some have no memory at all. */
	m = nodes_of(100);
	fake_init(&f, 100);
	node_plan_make(m, &f.host, &plan);
	assert_false(plan.bound);
	machine_destroy(m);
}

static void what_cannot_be_bound_is_only_accounted(void **state)
{
	static const enum backing_kind kinds[] = {BACKING_NONE, BACKING_FILE};
	struct machine *m = nodes_of(1);
	struct node_plan plan;
	struct fake f;

	(void)state;
	fake_init(&f, 1);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		memory_plan_nodes(kinds[i], m, &f.host, &plan);
		assert_false(plan.bound);
		assert_true(strncmp(plan.text, "accounted: ", 11) == 0);
	}
	memory_plan_nodes(BACKING_THP, m, &f.host, &plan);
	assert_string_equal(plan.text, "bound 0:1");
	machine_destroy(m);
}

/* Zones of any size in any order, with gaps; each of a node of its own, or of few. */
static struct machine *random_machine(struct random *random)
{
	const unsigned int zones = 1 + (unsigned int)random_below(random, 6);
	const unsigned int nodes = 1 + (unsigned int)random_below(random, zones);
	struct machine *m;
	pfn_t at = 1 + random_below(random, 2000);

	assert_int_equal(machine_create(1, nodes, &m, NULL), 0);
	for (unsigned int i = 0; i < zones; i++) {
		/* Of the first node at first; every type once. */
		const unsigned int node = (unsigned int)min_u64(i * nodes / zones, nodes - 1);
		struct zone zone = {.start = at,
				    .end = at + 1 + random_below(random, 3000),
				    .node = (uint16_t)node,
				    .type = (uint8_t)i};

		assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
		at = zone.end + (random_below(random, 2) ? 0 : random_below(random, 2000));
	}
	/* Nodes need not lie in the order of their numbers. */
	if (random_below(random, 2) && zones > 1) {
		const struct zone first = m->zones[0], last = m->zones[zones - 1];

		m->zones[0].start = last.start;
		m->zones[0].end = last.end;
		m->zones[zones - 1].start = first.start;
		m->zones[zones - 1].end = first.end;
	}
	assert_int_equal(machine_check(m, NULL), 0);
	return m;
}

/* The node of the first frame of block @b that is in a zone. */
static uint16_t node_of_block(const struct machine *m, const struct node_plan *plan, uint64_t b)
{
	for (pfn_t pfn = b * HUGE_FRAMES; pfn < (b + 1) * HUGE_FRAMES; pfn++) {
		const int zone = machine_zone_of(m, pfn);

		if (zone >= 0)
			return plan->host_node[m->zones[zone].node];
	}
	return UNBOUND;
}

static void each_block_is_bound_once_to_the_node_of_its_first_frame(void **state)
{
	struct random random;
	unsigned int shared = 0;

	(void)state;
	random_seed(&random, 5, 0);
	for (unsigned int round = 0; round < 500; round++) {
		struct machine *m = random_machine(&random);
		const uint64_t split = random_below(&random, BLOCKS + 1);
		struct node_plan plan;
		struct error err;
		struct fake f;
		char *frames;

		fake_init(&f, 6);
		node_plan_make(m, &f.host, &plan);
		assert_true(plan.bound);
		f.base = (char *)BLOCK_BYTES; /* nobody touches it */
		frames = f.base + (machine_start(m) << PAGE_SHIFT_DEFAULT);
		/* In two goes, as in one. */
		if (node_plan_bind(&plan, &f.host, m, frames, 0, split, &err) ||
		    node_plan_bind(&plan, &f.host, m, frames, split, BLOCKS, &err))
			fail_msg("%s", err.text);
		for (uint64_t b = 0; b < BLOCKS; b++) {
			assert_int_equal(f.bound[b], node_of_block(m, &plan, b));
			assert_int_equal(f.times[b], f.bound[b] != UNBOUND);
		}
		assert_true(f.calls <= m->nr_zones + 1);
		shared += m->nr_nodes > 1;
		machine_destroy(m);
	}
	assert_true(shared > 100);
}

static void a_host_that_refuses_is_named(void **state)
{
	struct machine *m = nodes_of(2);
	struct node_plan plan;
	struct memory *memory;
	struct error err;
	struct fake f;

	(void)state;
	fake_init(&f, 2);
	f.fails = -EPERM;
	f.base = (char *)BLOCK_BYTES;
	node_plan_make(m, &f.host, &plan);
	assert_int_equal(node_plan_bind(&plan, &f.host, m, f.base, 0, 2, &err), -EPERM);
	assert_non_null(strstr(err.text, "node 1 of the host"));
	assert_int_equal(f.calls, 1);
	/* So does memory, and gives back what it had. */
	fake_init(&f, 2);
	f.host = (struct node_host){fake_nodes, node_this_host.bind, &f};
	f.ids[0] = 999; /* no host has it */
	node_plan_make(m, &f.host, &plan);
	assert_int_equal(memory_create(&(struct memory_config){.kind = BACKING_SMALL,
							       .node_plan = &plan,
							       .node_host = &f.host},
				       m, &memory, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "backing small: cannot bind"));
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_are_given_out_in_order),
		cmocka_unit_test(as_many_as_a_machine_can_have_are_told_in_full),
		cmocka_unit_test(what_cannot_be_bound_is_only_accounted),
		cmocka_unit_test(each_block_is_bound_once_to_the_node_of_its_first_frame),
		cmocka_unit_test(a_host_that_refuses_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
