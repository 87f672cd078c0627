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

static void emit_metrics(struct emitter *e, const double values[METRIC_STATE_COUNT])
{
	static const struct emitter_column columns[] = {
		{.path = "metric", .heading = "metric"},
		{.path = "value", .heading = "value", .style = EMITTER_COUNT},
		{.path = "unit", .heading = "unit"},
		{.path = "meaning", .heading = "meaning"},
	};

	emitter_rows_begin(e, "metrics", columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < METRIC_STATE_COUNT; i++) {
		const struct metric_info *info = &metric_table[METRIC_STATE_FIRST + i];

		/* Those of each order have a table of their own; a kernel is no back end of ours. */
		if (i >= STATE(unusable_index_o0))
			break;
		emitter_row_begin(e);
		emitter_string(e, "metric", info->name);
		emitter_real(e, "value", values[i]);
		emitter_string(e, "unit", info->unit);
		emitter_string(e, "meaning", info->help);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static void emit_orders(struct emitter *e, const struct frame_map *map,
			const double values[METRIC_STATE_COUNT], const uint64_t ours[NR_ORDERS])
{
	static const struct emitter_column columns[] = {
		{.path = "order", .heading = "order"},
		{.path = "free_blocks", .heading = "free blocks", .style = EMITTER_COUNT},
		{.path = "buddyinfo", .heading = "buddyinfo", .style = EMITTER_COUNT},
		{.path = "unusable_index", .heading = "unusable", .style = EMITTER_FIXED3},
		{.path = "fragmentation_index",
		 .heading = "fragmentation",
		 .style = EMITTER_FIXED3},
	};

	emitter_rows_begin(e, "orders", columns, ARRAY_SIZE(columns));
	for (unsigned int o = 0; o < NR_ORDERS; o++) {
		uint64_t kernel = 0;

		for (unsigned int z = 0; map->zones && z < map->machine->nr_zones; z++)
			kernel += map->zones[z].nr_free[o];
		emitter_row_begin(e);
		emitter_uint(e, "order", o);
		emitter_uint(e, "free_blocks", ours[o]);
		emitter_uint(e, "buddyinfo", kernel);
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
	cli_schema(e);
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
