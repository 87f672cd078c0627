/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "sim/machine_file.h"

#define FRAMES(mib) ((uint64_t)(mib) << 8)

/* ---- what is shipped ---- */

static char *shipped_path(const char *name)
{
	const char *source = getenv("QUIRE_SOURCE");
	char *path;

	assert_non_null(source);
	assert_true(asprintf(&path, "%s/configs/machines/%s.yaml", source, name) > 0);
	return path;
}

static void each_shipped_machine_loads(void **state)
{
	static const struct {
		const char *name;
		unsigned int nodes, cpus, zones;
		uint64_t gib;
	} machines[] = {
		{"laptop", 1, 8, 3, 16}, {"server", 2, 64, 4, 256}, {"large", 1, 128, 3, 1024},
		{"phone", 1, 8, 2, 8},	 {"two-node", 2, 4, 2, 4},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		char *path = shipped_path(machines[i].name);
		struct machine_notes notes;
		struct machine *m;
		struct error err;
		uint64_t spanned;

		if (machine_from_file(path, &m, &notes, &err))
			fail_msg("%s", err.text);
		assert_int_equal(machine_check(m, NULL), 0);
		assert_int_equal(m->nr_nodes, machines[i].nodes);
		assert_int_equal(m->nr_cpus, machines[i].cpus);
		assert_int_equal(m->nr_zones, machines[i].zones);
		/* as large as its name says, but for the first page */
		spanned = machine_spanned(m);
		assert_in_range(spanned, FRAMES(machines[i].gib << 10) - 1,
				FRAMES(machines[i].gib << 10));
		assert_in_range(machine_managed(m), spanned - spanned / 15, spanned - 1);
		for (unsigned int z = 0; z < m->nr_zones; z++) {
			/* a small zone's share may be less than a frame */
			assert_true(m->zones[z].watermark.min > 0 || m->zones[z].type == ZONE_DMA);
			assert_true(m->zones[z].watermark.low > m->zones[z].watermark.min);
			assert_int_equal(m->zones[z].managed,
					 machine_managed_in(m, m->zones[z].start, m->zones[z].end));
		}
		assert_true(strlen(notes.description) > 5);
		assert_non_null(strstr(notes.derived, "as a kernel at boot: watermarks of"));
		machine_destroy(m);
		free(path);
	}
}

/* The example between the first pair of fences. */
static void the_documented_example_loads(void **state)
{
	const char *source = getenv("QUIRE_SOURCE");
	char path[4096], text[16384], *start, *end;
	struct machine *m;
	struct error err;
	FILE *in;

	(void)state;
	assert_non_null(source);
	snprintf(path, sizeof(path), "%s/docs/machines.md", source);
	in = fopen(path, "r");
	assert_non_null(in);
	text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
	fclose(in);
	start = strstr(text, "```yaml\n");
	assert_non_null(start);
	start += strlen("```yaml\n");
	end = strstr(start, "```");
	assert_non_null(end);
	if (machine_from_yaml(start, (size_t)(end - start), path, &m, NULL, &err))
		fail_msg("%s", err.text);
	assert_int_equal(m->nr_cpus, 12);
	machine_destroy(m);
}

/* ---- meaning ---- */

static struct machine *from_text(const char *text, struct machine_notes *notes)
{
	struct machine *m;
	struct error err;

	if (machine_from_yaml(text, strlen(text), "m.yaml", &m, notes, &err))
		fail_msg("%s", err.text);
	return m;
}

static const char *const whole = "description: all there can be\n"
				 "min_free: 8M\n"
				 "nodes:\n"
				 "  - cpus: 0-1,4-5\n"
				 "    zones:\n"
				 "      - {type: DMA32, start: 1M, end: 1G}\n"
				 "      - type: Normal\n"
				 "        start: 4G\n"
				 "        end: 5G\n"
				 "        watermarks: {min: 4M, low: 5M, high: 6M}\n"
				 "        lowmem_reserve: {Movable: 64M}\n"
				 "        per_cpu: {batch: 63, high_min: 100, high_max: 2000}\n"
				 "  - cpus: 2-3\n"
				 "    zones:\n"
				 "      - {type: Movable, start: 5G, end: 6G}\n"
				 "distances: [[10, 21], [32, 10]]\n"
				 "absent:\n"
				 "  - {start: 16M, end: 32M, why: reserved}\n"
				 "  - {start: 64M, end: 65M, why: hole}\n"
				 "  - {start: 5G, end: 5376M, why: offline}\n";

static void all_that_can_be_said_is_taken(void **state)
{
	static const uint16_t nodes[] = {0, 0, 1, 1, 0, 0};
	struct machine_notes notes;
	struct machine *m = from_text(whole, &notes);
	const struct zone *dma32 = &m->zones[0], *normal = &m->zones[1], *movable = &m->zones[2];
	struct watermarks boot;

	(void)state;
	assert_string_equal(notes.description, "all there can be");
	assert_string_equal(notes.derived,
			    "as a kernel at boot: watermarks of 2 of 3 zones from min_free 8M "
			    "(given), lowmem reserves of 2");
	assert_int_equal(m->nr_cpus, 6);
	for (size_t cpu = 0; cpu < 6; cpu++)
		assert_int_equal(m->node_of_cpu[cpu], nodes[cpu]);
	assert_int_equal(dma32->type, ZONE_DMA32);
	assert_int_equal(dma32->start, FRAMES(1));
	assert_int_equal(dma32->end, FRAMES(1024));
	assert_int_equal(dma32->present, FRAMES(1024 - 1 - 1));
	assert_int_equal(dma32->managed, FRAMES(1024 - 1 - 1 - 16));
	assert_int_equal(dma32->percpu.batch, 0);
	assert_int_equal(normal->watermark.min, FRAMES(4));
	assert_int_equal(normal->watermark.low, FRAMES(5));
	assert_int_equal(normal->watermark.high, FRAMES(6));
	assert_int_equal(normal->watermark.promo, FRAMES(7));
	assert_int_equal(normal->lowmem_reserve[ZONE_MOVABLE], FRAMES(64));
	assert_int_equal(normal->lowmem_reserve[ZONE_NORMAL], 0);
	assert_int_equal(normal->percpu.batch, 63);
	assert_int_equal(normal->percpu.high_min, 100);
	assert_int_equal(normal->percpu.high_max, 2000);
	assert_int_equal(movable->node, 1);
	assert_int_equal(movable->present, FRAMES(1024 - 256));
	assert_int_equal(movable->managed, FRAMES(1024 - 256));
	boot = machine_boot_watermarks(m, 0, FRAMES(8));
	assert_memory_equal(&dma32->watermark, &boot, sizeof(boot));
	/* a 256th of Normal's, none of another node's */
	assert_int_equal(dma32->lowmem_reserve[ZONE_NORMAL], FRAMES(1024) / 256);
	assert_int_equal(dma32->lowmem_reserve[ZONE_MOVABLE], FRAMES(1024) / 256);
	assert_int_equal(dma32->lowmem_reserve[ZONE_DMA32], 0);
	assert_int_equal(machine_distance(m, 0, 1), 21);
	assert_int_equal(machine_distance(m, 1, 0), 32);
	assert_int_equal(m->nr_absent, 3);
	assert_int_equal(m->absent[2].why, ABSENT_OFFLINE);
	machine_destroy(m);
}

static void cpus_may_be_counted(void **state)
{
	struct machine *m = from_text("description: x\n"
				      "nodes:\n"
				      "- {cpus: 2, zones: [{type: Normal, start: 0, end: 1G}]}\n"
				      "- {cpus: 0, zones: [{type: Normal, start: 1G, end: 2G}]}\n"
				      "- {cpus: 1, zones: []}\n",
				      NULL);

	(void)state;
	assert_int_equal(m->nr_nodes, 3);
	assert_int_equal(m->nr_cpus, 3);
	assert_int_equal(m->node_of_cpu[1], 0);
	assert_int_equal(m->node_of_cpu[2], 2);
	machine_destroy(m);
}

/* What a kernel of 16 GiB in three zones had: 67584 kB, min 16896 frames shared out. */
static void what_is_left_open_is_as_at_boot(void **state)
{
	struct machine_notes notes;
	struct machine *m = from_text("description: x\n"
				      "nodes:\n"
				      "- cpus: 2\n"
				      "  zones:\n"
				      "  - {type: DMA, start: 4K, end: 16M}\n"
				      "  - {type: DMA32, start: 16M, end: 3G}\n"
				      "  - {type: Normal, start: 4G, end: 17G}\n",
				      &notes);
	uint64_t all = 4095 + FRAMES(3056) + FRAMES(13312);
	uint64_t min = 16896 * FRAMES(13312) / all, step = min / 4;

	(void)state;
	assert_non_null(strstr(notes.derived, "watermarks of 3 of 3 zones from min_free 66M,"));
	assert_int_equal(machine_boot_min_free(m), 16896);
	assert_int_equal(m->zones[2].watermark.min, min);
	assert_int_equal(m->zones[2].watermark.low, min + step);
	assert_int_equal(m->zones[2].watermark.promo, min + 3 * step);
	assert_int_equal(m->zones[0].lowmem_reserve[ZONE_DMA32], FRAMES(3056) / 256);
	assert_int_equal(m->zones[0].lowmem_reserve[ZONE_NORMAL], FRAMES(3056 + 13312) / 256);
	assert_int_equal(m->zones[1].lowmem_reserve[ZONE_MOVABLE], FRAMES(13312) / 256);
	assert_int_equal(m->zones[2].lowmem_reserve[ZONE_MOVABLE], 0);
	machine_destroy(m);
}

/* ---- bad input ---- */

#define TOP    "description: x\nnodes:\n"
#define NODE   TOP "- cpus: 1\n  zones:\n"
#define ZONE   NODE "  - {type: Normal, start: 0, end: 1G}\n"
#define ABSENT ZONE "absent:\n"

static void what_is_wrong_is_told_with_its_place(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"nodes: []\n", "m.yaml:1:1: the key 'description' is missing here"},
		{"description: x\nnoeds: []\n", "m.yaml:2:1: unknown key 'noeds'; did you mean "
						"'nodes'?"},
		{TOP "- 7\n", "m.yaml:3:3: a single value where a mapping"},
		{"description: x\nnodes: []\n", "m.yaml:2:1: machine: 0 cpus"},
		{"description: x\nmin_free: lots\nnodes: []\n",
		 "m.yaml:2:1: min_free: 'lots' is not a size"},
		{TOP "- zones: []\n", "m.yaml:3:3: the key 'cpus' is missing"},
		{TOP "- {cpus: few, zones: []}\n", "m.yaml:3:4: cpus: 'few' is not a whole number"},
		{TOP "- {cpus: 5000, zones: []}\n",
		 "m.yaml:3:4: cpus: '5000' is not a whole number from 0 to 4096"},
		{TOP "- {cpus: 4000, zones: []}\n- {cpus: 97, zones: []}\n",
		 "m.yaml:4:4: cpus: more than 4096 in all"},
		{TOP "- {cpus: 3-1, zones: []}\n", "m.yaml:3:4: cpus: neither"},
		{TOP "- {cpus: '0-1,', zones: []}\n", "m.yaml:3:4: cpus: neither"},
		{TOP "- {cpus: '0-4096', zones: []}\n", "m.yaml:3:4: cpus: neither"},
		{TOP "- {cpus: '0-99999999999999999999', zones: []}\n",
		 "m.yaml:3:4: cpus: neither"},
		{TOP "- {cpus: '0-1-2', zones: []}\n", "m.yaml:3:4: cpus: neither"},
		{TOP "- {cpus: 0-3, zones: []}\n- {cpus: 3-5, zones: []}\n",
		 "m.yaml:4:4: cpus: cpu 3 is on node 0 already"},
		{TOP "- {cpus: 1-3, zones: []}\n", "m.yaml:2:1: nodes: cpu 0 is on none of them"},
		{TOP "- {cpus: 1, zones: []}\n", "m.yaml:2:1: nodes: no zone in any"},
		{NODE "  - {type: Nomral, start: 0, end: 1G}\n",
		 "m.yaml:5:6: type: no 'Nomral'; did you mean 'Normal'?"},
		{NODE "  - {type: Normal, start: 4097, end: 1G}\n",
		 "m.yaml:5:20: start: 4097 bytes are not whole frames"},
		{NODE "  - {type: Normal, start: 1G, end: 1G}\n",
		 "m.yaml:5:31: end: not behind the start"},
		{NODE "  - {type: Normal, start: 0, end: 5000T}\n",
		 "m.yaml:5:30: end: beyond 4 PiB"},
		{NODE "  - {type: Normal, start: 0, end: 99999999T}\n", "m.yaml:5:30: end: size"},
		{NODE "  - {type: Normal, start: 0, end: 1G, sstart: 3}\n",
		 "m.yaml:5:39: unknown key 'sstart'; did you mean 'start'?"},
		{ZONE "  - {type: Movable, start: 512M, end: 2G}\n",
		 "m.yaml:6:5: machine: zones 0 and 1 overlap"},
		{ZONE "  - {type: DMA32, start: 1G, end: 2G}\n",
		 "m.yaml:6:5: machine: zone 1 is not after zone 0"},
		{NODE "  - {type: Normal, start: 0, end: 1G, watermarks: {min: 3M, low: 2M, "
		      "high: 4M}}\n",
		 "m.yaml:5:39: watermarks: out of order"},
		{NODE "  - {type: Normal, start: 0, end: 1G, lowmem_reserve: {Movabel: 1M}}\n",
		 "m.yaml:5:56: unknown key 'Movabel'; did you mean 'Movable'?"},
		{NODE "  - type: Normal\n    start: 0\n    end: 1G\n    per_cpu: {batch: 0, "
		      "high_min: 1, high_max: 2}\n",
		 "m.yaml:8:15: batch: '0' is not a whole number from 1 to 2016"},
		{NODE "  - type: Normal\n    start: 0\n    end: 1G\n    per_cpu: {batch: 1, "
		      "high_min: 3, high_max: 2}\n",
		 "m.yaml:8:38: high_max: below high_min"},
		{ZONE "distances: 10\n", "m.yaml:6:1: "},
		{ZONE "distances: [10]\n", "m.yaml:6:13: distances: not a row"},
		{ZONE "distances: []\n", "m.yaml:6:1: distances: one row for each of the 1 nodes"},
		{ZONE "distances: [[10], [10]]\n", "m.yaml:6:1: distances: one row for each"},
		{ZONE "distances: [[10, 20]]\n",
		 "m.yaml:6:13: distances: a row needs one for each"},
		{ZONE "distances: [[]]\n", "m.yaml:6:13: distances: a row needs one for each"},
		{ZONE "distances: [[20]]\n",
		 "m.yaml:6:14: entry: '20' is not a whole number from 10 to 10"},
		{ZONE "distances: [[[10]]]\n", "m.yaml:6:14: "},
		{ZONE "- {cpus: 1, zones: []}\ndistances: [[10, 255], [20, 10]]\n",
		 "m.yaml:7:18: entry: '255' is not a whole number from 11 to 254"},
		{ABSENT "- {start: 2G, end: 3G, why: hole}\n", "m.yaml:7:3: machine: absent range"},
		{ABSENT "- {start: 1M, end: 2M, why: hle}\n",
		 "m.yaml:7:24: why: no 'hle'; did you"},
		{ABSENT "- {start: 8M, end: 9M, why: hole}\n- {start: 1M, end: 2M, why: hole}\n",
		 "m.yaml:8:3: machine: absent range"},
		{ABSENT "- {start: 0, end: 1G, why: offline}\n",
		 "m.yaml:5:5: all of this zone is absent"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct machine *m;
		struct error err;

		assert_int_equal(machine_from_yaml(cases[i].text, strlen(cases[i].text), "m.yaml",
						   &m, NULL, &err),
				 -EINVAL);
		if (strncmp(err.text, cases[i].expected, strlen(cases[i].expected)) != 0)
			fail_msg("case %zu: '%s' instead of '%s'", i, err.text, cases[i].expected);
	}
}

static void a_file_that_is_not_there_is_named(void **state)
{
	struct machine *m;
	struct error err;

	(void)state;
	assert_int_equal(machine_from_file("/nonexistent/m.yaml", &m, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/m.yaml"));
}

/* Whatever becomes of a file, it is either a sound machine or refused with a line. */
static void try(const char *text, size_t length)
{
	/* A copy of exactly that size, so that a sanitizer sees who reads on. */
	char *copy = malloc(length ? length : 1);
	struct machine_notes notes;
	struct machine *m;
	struct error err = {0};

	assert_non_null(copy);
	memcpy(copy, text, length);
	if (machine_from_yaml(copy, length, "m.yaml", &m, &notes, &err) == 0) {
		assert_int_equal(machine_check(m, &err), 0);
		machine_destroy(m);
	} else {
		assert_true(err.text[0] != '\0');
	}
	free(copy);
}

static void truncated_and_damaged_files_never_crash(void **state)
{
	static const char letters[] = "0179aKMGT-:,[]{}&*'\"#\n\t \xff";
	size_t length = strlen(whole);
	uint64_t random = 88172645463325252;
	char *text = strdup(whole);

	(void)state;
	assert_non_null(text);
	for (size_t n = 0; n <= length; n++)
		try(whole, n);
	for (unsigned int i = 0; i < 3000; i++) {
		strcpy(text, whole);
		for (unsigned int k = 0; k < 1 + i % 4; k++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			text[random % length] = letters[(random >> 32) % (sizeof(letters) - 1)];
		}
		try(text, length);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_shipped_machine_loads),
		cmocka_unit_test(the_documented_example_loads),
		cmocka_unit_test(all_that_can_be_said_is_taken),
		cmocka_unit_test(cpus_may_be_counted),
		cmocka_unit_test(what_is_left_open_is_as_at_boot),
		cmocka_unit_test(what_is_wrong_is_told_with_its_place),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
		cmocka_unit_test(truncated_and_damaged_files_never_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
