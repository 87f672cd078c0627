/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>

#include "base/outfile.h"
#include "base/bits.h"
#include "results/metrics.h"
#include "replay/memory_state.h"
#include "traces/record/record.h"

static const struct option snapshot_options[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_STRING,
	 .argument = "FILE",
	 .help = "also keep the snapshot, as a trace without events"},
	CLI_OPTION_FORCE,
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

#define STATE(name) (METRIC_##name - METRIC_STATE_FIRST)

/* For people, who have a table of those of each order besides. */
static void table_metrics(struct emitter *e, const double values[METRIC_STATE_COUNT])
{
	static const struct emitter_column columns[] = {
		{.path = "metric"},
		{.path = "value", .style = EMITTER_COUNT},
		{.path = "unit"},
		{.path = "meaning", .style = EMITTER_PROSE},
	};

	emitter_rows_begin(e, "metrics", columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < STATE(unusable_index_o0); i++) {
		const struct metric_info *info = &metric_table[METRIC_STATE_FIRST + i];

		emitter_row_begin(e);
		emitter_string(e, "metric", info->name);
		emitter_real(e, "value", values[i]);
		emitter_string(e, "unit", info->unit);
		emitter_string(e, "meaning", info->help);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

/* As a run has them, name by name. */
static void emit_metrics(struct emitter *e, const double values[METRIC_STATE_COUNT])
{
	if (emitter_format(e) == EMITTER_TABLE) {
		table_metrics(e, values);
		return;
	}
	emitter_object_begin(e, "metrics");
	/* A kernel is no back end of ours: what one tells of itself ends the list. */
	for (unsigned int i = 0; i < STATE(cached_frames); i++)
		emitter_real(e, metric_table[METRIC_STATE_FIRST + i].name, values[i]);
	emitter_object_end(e);
}

static void emit_orders(struct emitter *e, const struct frame_map *map,
			const double values[METRIC_STATE_COUNT], const uint64_t ours[NR_ORDERS])
{
	static const struct emitter_column columns[] = {
		{.path = "order"},
		{.path = "engine", .unit = "free blocks", .style = EMITTER_COUNT},
		{.path = "kernel", .unit = "free blocks", .style = EMITTER_COUNT},
		{.path = "unusable_index", .style = EMITTER_FIXED3},
		{.path = "fragmentation_index", .style = EMITTER_FIXED3},
	};

	emitter_aside_begin(e, "orders", columns, ARRAY_SIZE(columns));
	for (unsigned int o = 0; o < NR_ORDERS; o++) {
		uint64_t kernel = 0;

		for (unsigned int z = 0; map->zones && z < map->machine->nr_zones; z++)
			kernel += map->zones[z].nr_free[o];
		emitter_row_begin(e);
		emitter_uint(e, "order", o);
		emitter_uint(e, "engine", ours[o]);
		emitter_uint(e, "kernel", kernel);
		emitter_real(e, "unusable_index", values[STATE(unusable_index_o0) + o]);
		emitter_real(e, "fragmentation_index", values[STATE(fragmentation_index_o0) + o]);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static int tell(const struct option_set *o, const struct frame_map *map)
{
	double values[METRIC_STATE_COUNT];
	uint64_t blocks[NR_ORDERS];
	struct memory_state *state;
	struct error err = {0};
	struct emitter *e;

	if (memory_state_create(map->machine, &state, &err))
		return cli_fail(EXIT_RUN, &err);
	memory_state_load(state, map);
	memory_state_metrics(state, values, blocks);
	memory_state_destroy(state);
	e = cli_emitter(o);
	if (!e)
		return EXIT_RUN;
	emitter_uint(e, "time_ns", map->time_ns);
	emitter_uint(e, "managed_frames", machine_managed(map->machine));
	emit_metrics(e, values);
	emit_orders(e, map, values, blocks);
	return cli_emitter_end(e, EXIT_OK);
}

static int run(const struct option_set *o, int n, char **operands)
{
	const char *out = option_string(o, "output");
	struct machine *machine;
	struct frame_map *map;
	struct error err = {0};
	int code;

	(void)n;
	(void)operands;
	/* Looked at before, since a scan takes a while. */
	if (out && outfile_check(out, option_bool(o, "force"), &err))
		return cli_fail(EXIT_RUN, &err);
	if (snapshot_live(&machine, &map, &err))
		return cli_fail(EXIT_RUN, &err);
	if (out && snapshot_write(out, option_bool(o, "force"), map, &err))
		code = cli_fail(EXIT_RUN, &err);
	else
		code = tell(o, map);
	frame_map_destroy(map);
	machine_destroy(machine);
	return code;
}

const struct verb verb_snapshot = {
	.name = "snapshot",
	.summary = "this machine's fragmentation now",
	.operands = "",
	.details = "Reads the state of every frame of the running kernel (needs root; changes "
		   "nothing)\n"
		   "and prints the state metrics. Frames parked on the kernel's per-CPU lists look "
		   "like\n"
		   "kernel memory here.\n",
	.options = snapshot_options,
	.min_operands = 0,
	.max_operands = 0,
	.run = run,
};
