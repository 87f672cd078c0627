/* SPDX-License-Identifier: MIT */
/* Machines of several nodes, from end to end: who gets memory of which, against a map of all frames. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"
#include "replay/replay.h"
#include "sim/gfp.h"
#include "traces/file/trace.h"

#define OBJECTS 4096
#define EVENTS	20000
#define NODES	3
#define FRAMES	32768

static char directory[] = "/tmp/quire-nodes-XXXXXX";
static char path[128];

/* ---- the machines ---- */

/* One Normal zone a node, a cpu each; node 0 has node 2 near and node 1 far. */
static struct machine *new_machine(const uint64_t frames[NODES], bool with_distances)
{
	static const uint8_t far[NODES * NODES] = {10, 30, 15, 30, 10, 20, 15, 20, 10};
	struct machine *m;
	pfn_t start = 0;

	assert_int_equal(machine_create(NODES, NODES, &m, NULL), 0);
	for (uint16_t node = 0; node < NODES; node++) {
		const struct zone zone = {.start = start,
					  .end = start + frames[node],
					  .present = frames[node],
					  .managed = frames[node],
					  .node = node,
					  .type = ZONE_NORMAL};

		m->node_of_cpu[node] = node;
		assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
		start += frames[node];
	}
	if (with_distances)
		assert_int_equal(machine_set_distances(m, far, NULL), 0);
	return m;
}

/* ---- the trace ---- */

static struct event events[EVENTS];

/* Single frames, most of them wanted by cpu 0, each freed by the cpu that has it. */
static void write_trace(void)
{
	static const struct event request = {.gfp = GFP_MOVABLE | GFP_HIGHMEM,
					     .migratetype = MIGRATE_MOVABLE};
	static uint16_t held_by[OBJECTS]; /* cpu + 1 */
	struct trace_header header = {.kernel = "6.18", .recorder = "test"};
	const struct trace_write_options options = {.overwrite = true};
	struct trace_writer *w;
	struct error err = {0};
	struct random random;
	struct machine *m;

	random_seed(&random, 3, 0);
	memset(held_by, 0, sizeof(held_by));
	for (uint64_t i = 0; i < EVENTS; i++) {
		const uint64_t object = random_below(&random, OBJECTS);
		struct event *e = &events[i];

		*e = request;
		e->time_ns = i;
		e->pfn = object;
		if (held_by[object]) {
			e->kind = EVENT_FREE;
			e->cpu = (uint16_t)(held_by[object] - 1);
			held_by[object] = 0;
			continue;
		}
		e->kind = EVENT_ALLOC;
		e->cpu = (uint16_t)(random_below(&random, 4) ? 0 : random_below(&random, NODES));
		if (random_below(&random, 16) == 0)
			e->gfp |= GFP_THISNODE;
		held_by[object] = (uint16_t)(e->cpu + 1);
	}
	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, NODES, &m, NULL), 0);
	header.machine = m;
	snprintf(path, sizeof(path), "%s/nodes.quire", directory);
	if (trace_writer_create(path, &header, &options, &w, &err) ||
	    trace_writer_events(w, events, EVENTS, &err) || trace_writer_close(w, NULL, &err))
		fail_msg("%s", err.text);
	machine_destroy(m);
}

/* ---- the model ---- */

struct model {
	bool taken[FRAMES];
	pfn_t place[OBJECTS];
	uint64_t allocs, failures, misses, distance, by_node[NODES], free[NODES];
};

static unsigned int node_at(const struct machine *m, pfn_t pfn)
{
	return m->zones[machine_zone_of(m, pfn)].node;
}

/* The lowest free frame of @node, or PFN_NONE. */
static pfn_t free_frame(const struct model *model, const struct machine *m, unsigned int node)
{
	for (pfn_t pfn = 0; pfn < machine_end(m); pfn++)
		if (!model->taken[pfn] && node_at(m, pfn) == node)
			return pfn;
	return PFN_NONE;
}

/* Of the nearest node with a free frame; @flat: of the lowest, wherever the request is from. */
static pfn_t choose(const struct model *model, const struct machine *m, const struct event *e,
		    bool flat)
{
	pfn_t best = PFN_NONE;
	unsigned int nearest = UINT32_MAX;

	for (unsigned int node = 0; node < NODES; node++) {
		const unsigned int far = flat ? node : machine_distance(m, e->cpu, node);
		pfn_t pfn;

		if (far >= nearest || (!flat && e->gfp & GFP_THISNODE && node != e->cpu))
			continue;
		pfn = free_frame(model, m, node);
		if (pfn == PFN_NONE)
			continue;
		best = pfn;
		nearest = far;
	}
	return best;
}

static struct model *model_trace(const struct machine *m, bool flat)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	for (size_t i = 0; i < EVENTS; i++) {
		const struct event *e = &events[i];
		pfn_t *at = &model->place[e->pfn];

		if (e->kind == EVENT_FREE) {
			if (*at != PFN_NONE)
				model->taken[*at] = false;
			continue;
		}
		*at = choose(model, m, e, flat);
		if (*at == PFN_NONE) {
			model->failures++;
			continue;
		}
		model->taken[*at] = true;
		model->allocs++;
		model->by_node[node_at(m, *at)]++;
		model->misses += node_at(m, *at) != e->cpu;
		model->distance += machine_distance(m, e->cpu, node_at(m, *at));
	}
	for (pfn_t pfn = 0; pfn < machine_end(m); pfn++)
		model->free[node_at(m, pfn)] += !model->taken[pfn];
	return model;
}

/* ---- what was told ---- */

struct kept {
	struct result_sink sink;
	double metric[METRIC_COUNT + RESULT_ROWS_MAX];
	char row[RESULT_ROWS_MAX][48];
	unsigned int rows;
	char numa[NODE_PLAN_TEXT_MAX], placement[80], point_id[33];
};

static int keep(struct result_sink *sink, const struct result_record *record, struct error *err)
{
	struct kept *k = (struct kept *)sink;

	(void)err;
	if (record->kind == RESULT_RUN)
		snprintf(k->point_id, sizeof(k->point_id), "%s", record->run.point_id);
	if (record->kind == RESULT_SETTING && !strcmp(record->setting.key, "numa"))
		snprintf(k->numa, sizeof(k->numa), "%s", record->setting.value);
	if (record->kind == RESULT_SETTING && !strcmp(record->setting.key, "placement"))
		snprintf(k->placement, sizeof(k->placement), "%s", record->setting.value);
	if (record->kind == RESULT_METRIC)
		k->metric[record->metric.metric] = record->metric.value;
	if (record->kind == RESULT_METRIC_ROW)
		snprintf(k->row[k->rows++], sizeof(k->row[0]), "%s", record->row.info.name);
	return 0;
}

static void replay(struct replay_config config, const char *text, struct kept *k)
{
	struct allocator_spec *spec;
	struct error err = {0};

	*k = (struct kept){.sink = {.take = keep}};
	metrics_clear(k->metric);
	if (allocator_spec_parse(text, &spec, &err))
		fail_msg("%s", err.text);
	config.trace = path;
	config.spec = spec;
	config.seed = 1;
	config.oracle = true;
	config.machine_name = "nodes";
	if (replay_run(&config, &k->sink, &err))
		fail_msg("%s: %s", text, err.text);
	allocator_spec_destroy(spec);
}

static void expect(const struct kept *k, const char *who, enum metric m, double value)
{
	if (k->metric[m] != value)
		fail_msg("%s: %s is %.17g, expected %.17g", who, metric_table[m].name, k->metric[m],
			 value);
}

static void expect_row(const struct kept *k, const char *who, unsigned int node, const char *what,
		       uint64_t value)
{
	char name[48];
	unsigned int i = 0;

	snprintf(name, sizeof(name), "node%u_%s", node, what);
	while (i < k->rows && strcmp(k->row[i], name) != 0)
		i++;
	if (i == k->rows || k->metric[METRIC_COUNT + i] != (double)value)
		fail_msg("%s: %s is %g, expected %llu", who, name,
			 i == k->rows ? -1.0 : k->metric[METRIC_COUNT + i],
			 (unsigned long long)value);
}

static void expect_model(const struct machine *m, const char *who, bool flat)
{
	struct model *model = model_trace(m, flat);
	static struct kept k;

	replay((struct replay_config){.machine = m}, who, &k);
	/* There is something to see: node 0 was full, and others helped out. */
	assert_true(model->misses > 1000 && model->misses < model->allocs);
	expect(&k, who, METRIC_oracle_violations, 0);
	expect(&k, who, METRIC_alloc_failures, (double)model->failures);
	expect(&k, who, METRIC_node_misses, (double)model->misses);
	expect(&k, who, METRIC_node_distance, (double)model->distance / (double)model->allocs);
	for (unsigned int node = 0; node < NODES; node++) {
		expect_row(&k, who, node, "allocs", model->by_node[node]);
		expect_row(&k, who, node, "free_frames", model->free[node]);
	}
	free(model);
}

/* ---- the tests ---- */

static void what_a_full_node_cannot_serve_comes_from_the_nearest(void **state)
{
	static const char *const honest[] = {"buddy:pcp=off", "llfree", "percpu:inner=llfree"};
	static const uint64_t frames[NODES] = {512, 8192, 8192};

	(void)state;
	for (unsigned int with = 0; with < 2; with++) {
		struct machine *m = new_machine(frames, with);

		for (size_t i = 0; i < ARRAY_SIZE(honest); i++)
			expect_model(m, honest[i], false);
		machine_destroy(m);
	}
}

/* Its watermarks do not see what waits on per-CPU lists, so that it leaves a node before that is full. */
static void with_lists_of_its_own_the_kernel_leaves_a_node_earlier(void **state)
{
	static const uint64_t frames[NODES] = {1024, 8192, 8192};
	struct machine *m = new_machine(frames, true);
	struct model *model = model_trace(m, false);
	uint64_t sum = 0;
	static struct kept k;

	(void)state;
	replay((struct replay_config){.machine = m}, "buddy", &k);
	expect(&k, "buddy", METRIC_oracle_violations, 0);
	assert_true(k.metric[METRIC_node_misses] >= (double)model->misses);
	assert_true(k.metric[METRIC_node_misses] < (double)model->allocs / 2);
	/* All of them are on node 2, which is near. */
	assert_true(k.metric[METRIC_node_distance] > 10 && k.metric[METRIC_node_distance] < 15);
	for (unsigned int i = 0; i < k.rows; i++)
		sum += strstr(k.row[i], "_free_frames") ? (uint64_t)k.metric[METRIC_COUNT + i] : 0;
	expect(&k, "buddy", METRIC_free_frames, (double)sum);
	free(model);
	machine_destroy(m);
}

static void when_that_is_full_too_it_is_the_next(void **state)
{
	static const uint64_t frames[NODES] = {512, 8192, 512};
	struct machine *m = new_machine(frames, true);

	(void)state;
	expect_model(m, "buddy:pcp=off", false);
	expect_model(m, "llfree", false);
	machine_destroy(m);
}

static void who_knows_of_no_nodes_misses_them(void **state)
{
	static const uint64_t frames[NODES] = {1024, 8192, 8192};
	struct machine *m = new_machine(frames, true);

	(void)state;
	expect_model(m, "firstfit", true);
	machine_destroy(m);
}

static void a_machine_of_one_node_has_no_misses(void **state)
{
	struct machine *m;
	static struct kept k;

	(void)state;
	assert_int_equal(machine_from_memory((uint64_t)FRAMES << 12, NODES, &m, NULL), 0);
	replay((struct replay_config){.machine = m}, "llfree", &k);
	expect(&k, "llfree", METRIC_node_misses, 0);
	assert_true(k.metric[METRIC_node_distance] != k.metric[METRIC_node_distance]);
	for (unsigned int i = 0; i < k.rows; i++)
		assert_null(strstr(k.row[i], "node"));
	machine_destroy(m);
}

static void distances_make_a_point_of_their_own(void **state)
{
	static const uint64_t frames[NODES] = {8192, 8192, 8192};
	struct machine *usual = new_machine(frames, false), *far = new_machine(frames, true);
	static struct kept k, other;

	(void)state;
	replay((struct replay_config){.machine = usual}, "llfree", &k);
	replay((struct replay_config){.machine = far}, "llfree", &other);
	assert_string_not_equal(k.point_id, other.point_id);
	machine_destroy(usual);
	machine_destroy(far);
}

static void it_is_told_where_memory_and_worker_are(void **state)
{
	static const uint64_t frames[NODES] = {512, 8192, 8192};
	struct machine *m = new_machine(frames, true);
	static struct kept k;
	uint16_t ids[NODES];

	(void)state;
	replay((struct replay_config){.machine = m}, "llfree", &k);
	assert_string_equal(k.numa, "accounted: there is no memory behind the frames");
	assert_string_equal(k.placement, "not pinned");
	replay((struct replay_config){.machine = m,
				      .backing = BACKING_SMALL,
				      .touching = TOUCHING_FIRST,
				      .pin = true},
	       "llfree", &k);
	if (node_this_host.nodes(NULL, ids, NODES) < NODES)
		assert_non_null(strstr(k.numa, "of 3 nodes"));
	else
		assert_non_null(strstr(k.numa, "bound 0:"));
	assert_true(strncmp(k.placement, "0:", 2) == 0);
	machine_destroy(m);
}

static int begin(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	write_trace();
	return 0;
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_full_node_cannot_serve_comes_from_the_nearest),
		cmocka_unit_test(with_lists_of_its_own_the_kernel_leaves_a_node_earlier),
		cmocka_unit_test(when_that_is_full_too_it_is_the_next),
		cmocka_unit_test(who_knows_of_no_nodes_misses_them),
		cmocka_unit_test(a_machine_of_one_node_has_no_misses),
		cmocka_unit_test(distances_make_a_point_of_their_own),
		cmocka_unit_test(it_is_told_where_memory_and_worker_are),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
