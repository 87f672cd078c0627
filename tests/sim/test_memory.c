/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/memory.h"

static const struct memory_config none = {.kind = BACKING_NONE};

static void blocks_wholly_offline_start_as_such(void **state)
{
	struct machine *m;
	struct memory *memory;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(4096) * 5000, 1, &m, NULL), 0);
	assert_int_equal(machine_add_absent(m, (struct pfn_range){0, 512}, ABSENT_HOLE, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){1023, 2560}, ABSENT_OFFLINE, NULL), 0);
	assert_int_equal(
		machine_add_absent(m, (struct pfn_range){3000, 3100}, ABSENT_OFFLINE, NULL), 0);
	assert_int_equal(memory_create(&none, m, &memory, NULL), 0);
	assert_null(memory->frames);
	assert_int_equal(memory->nr_huge, 10);
	for (size_t b = 0; b < memory->nr_huge; b++)
		assert_int_equal(memory->huge_state[b], b >= 2 && b < 5 ? HUGE_OFFLINE : 0);
	memory_destroy(memory);
	machine_destroy(m);
}

static void blocks_are_numbered_from_pfn_0(void **state)
{
	struct zone zone = {.start = 1 << 20, .end = (1 << 20) + 1, .type = ZONE_NORMAL};
	struct machine *m;
	struct memory *memory;

	(void)state;
	assert_int_equal(machine_create(1, 1, &m, NULL), 0);
	assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	assert_int_equal(memory_create(&none, m, &memory, NULL), 0);
	assert_int_equal(memory->nr_huge, 2049);
	assert_int_equal(memory->huge_state[2048], 0);
	memory_destroy(memory);
	memory_destroy(NULL);
	machine_destroy(m);
}

static void kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(backing_kind_names[BACKING_NONE], "none");
	assert_string_equal(backing_kind_names[BACKING_FILE], "file");
	assert_null(backing_kind_names[BACKING_FILE + 1]);
}

static void without_backing_nothing_is_touched(void **state)
{
	struct machine *m;
	struct memory *memory;

	(void)state;
	assert_int_equal(machine_from_memory(UINT64_C(4096) * 5000, 1, &m, NULL), 0);
	assert_int_equal(memory_create(&none, m, &memory, NULL), 0);
	assert_null(memory_at(memory, 17));
	assert_int_equal(memory_prepare(memory, (struct pfn_range){0, 5000}, NULL), 0);
	memory_touch(memory, (struct pfn_range){0, 5000}, TOUCH_CLEAR);
	assert_int_equal(memory_discard(memory, (struct pfn_range){0, 5000}), 0);
	assert_int_equal(memory_prepare(memory, (struct pfn_range){4999, 5001}, NULL), -EINVAL);
	memory_destroy(memory);
	machine_destroy(m);
}

/* ---- a backing made for these tests ---- */

#define FAKE_START 1024
#define FAKE_END   2048

/* What was asked of it. */
struct fake {
	uint64_t prepared, touched, cleared, discarded; /* frames */
	uint64_t left;					/* frames the host still has */
	unsigned int maps, unmaps;
};

static int fake_map(struct memory *m, struct error *err)
{
	struct fake *fake = m->host;

	(void)err;
	fake->maps++;
	assert_int_equal(m->bytes, (FAKE_END - FAKE_START) * 4096);
	m->frames = malloc(m->bytes);
	assert_non_null(m->frames);
	return 0;
}

static int failing_map(struct memory *m, struct error *err)
{
	(void)m;
	return error_set(err, ENOSPC, "the pool has no pages; grow it");
}

static int fake_prepare(struct memory *m, struct pfn_range range, struct error *err)
{
	struct fake *fake = m->host;
	uint64_t frames = range.end - range.start;

	if (frames > fake->left)
		return error_set(err, ENOMEM, "no more");
	fake->left -= frames;
	fake->prepared += frames;
	return 0;
}

static void fake_touch(struct memory *m, struct pfn_range range, enum memory_touch how)
{
	struct fake *fake = m->host;

	*(how == TOUCH_CLEAR ? &fake->cleared : &fake->touched) += range.end - range.start;
}

static int fake_discard(struct memory *m, struct pfn_range range)
{
	struct fake *fake = m->host;

	fake->discarded += range.end - range.start;
	fake->left += range.end - range.start;
	return 0;
}

static void fake_unmap(struct memory *m)
{
	struct fake *fake = m->host;

	fake->unmaps++;
	free(m->frames);
}

static const struct memory_ops fake_ops = {fake_map, fake_prepare, fake_touch, fake_discard,
					   fake_unmap};

static struct machine *fake_machine(void)
{
	struct zone zone = {.start = FAKE_START, .end = FAKE_END, .type = ZONE_NORMAL};
	struct machine *m;

	assert_int_equal(machine_create(1, 1, &m, NULL), 0);
	assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
	return m;
}

static void a_backing_that_cannot_be_mapped_says_why(void **state)
{
	struct memory_ops ops = fake_ops;
	struct fake fake = {0};
	const struct memory_config config = {.ops = &ops, .host = &fake};
	struct machine *m = fake_machine();
	struct memory *memory = NULL;
	struct error err;

	(void)state;
	ops.map = failing_map;
	assert_int_equal(memory_create(&config, m, &memory, &err), -ENOSPC);
	assert_string_equal(err.text, "backing none: the pool has no pages; grow it");
	assert_int_equal(memory_create(&config, m, &memory, NULL), -ENOSPC);
	assert_null(memory);
	assert_int_equal(fake.unmaps, 0); /* what was never mapped */
	machine_destroy(m);
}

static void what_is_touched_and_discarded_reaches_the_backing(void **state)
{
	struct fake fake = {.left = 600};
	const struct memory_config config = {.ops = &fake_ops, .host = &fake};
	struct machine *m = fake_machine();
	struct memory *memory;

	(void)state;
	assert_int_equal(memory_create(&config, m, &memory, NULL), 0);
	assert_ptr_equal(memory_at(memory, FAKE_START), memory->frames);
	assert_ptr_equal(memory_at(memory, FAKE_START + 3), (char *)memory->frames + 3 * 4096);
	assert_int_equal(memory_prepare(memory, (struct pfn_range){1024, 1025}, NULL), 0);
	memory_touch(memory, (struct pfn_range){1024, 1025}, TOUCH_WRITE);
	assert_int_equal(memory_prepare(memory, (struct pfn_range){1536, 2048}, NULL), 0);
	memory_touch(memory, (struct pfn_range){1536, 2048}, TOUCH_CLEAR);
	/* 87 are left */
	assert_int_equal(memory_prepare(memory, (struct pfn_range){1025, 1113}, NULL), -ENOMEM);
	assert_int_equal(memory_discard(memory, (struct pfn_range){1536, 1600}), 0);
	assert_int_equal(memory_prepare(memory, (struct pfn_range){1025, 1113}, NULL), 0);
	memory_touch(memory, (struct pfn_range){1025, 1113}, TOUCH_WRITE);
	assert_int_equal(fake.touched, 89);
	assert_int_equal(fake.cleared, 512);
	assert_int_equal(fake.discarded, 64);
	/* what is empty, or not the machine's, does not */
	assert_int_equal(memory_prepare(memory, (struct pfn_range){1100, 1100}, NULL), 0);
	assert_int_equal(memory_prepare(memory, (struct pfn_range){1023, 1025}, NULL), -EINVAL);
	assert_int_equal(memory_discard(memory, (struct pfn_range){2047, 2049}), -EINVAL);
	assert_int_equal(memory_discard(memory, (struct pfn_range){1100, 1099}), -EINVAL);
	assert_int_equal(fake.prepared, 601);
	assert_int_equal(fake.discarded, 64);
	memory_destroy(memory);
	assert_int_equal(fake.maps, 1);
	assert_int_equal(fake.unmaps, 1);
	machine_destroy(m);
}

static void state_bits_change_in_one_step(void **state)
{
	huge_state_byte states[2] = {0, HUGE_INSTALLED | HUGE_ZEROED};

	(void)state;
	huge_state_change(states, 1, HUGE_INSTALLED, HUGE_SOFT_RECLAIMED);
	assert_int_equal(huge_state_of(states, 1), HUGE_SOFT_RECLAIMED | HUGE_ZEROED);
	assert_int_equal(huge_state_of(states, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_wholly_offline_start_as_such),
		cmocka_unit_test(blocks_are_numbered_from_pfn_0),
		cmocka_unit_test(kinds_have_names),
		cmocka_unit_test(without_backing_nothing_is_touched),
		cmocka_unit_test(a_backing_that_cannot_be_mapped_says_why),
		cmocka_unit_test(what_is_touched_and_discarded_reaches_the_backing),
		cmocka_unit_test(state_bits_change_in_one_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
