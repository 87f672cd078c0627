/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "allocators/registry.h"
#include "base/bits.h"
#include "results/metrics.h"
#include "traces/generate/generate.h"

static const struct option list_options[] = {
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

static const struct {
	uint32_t bit;
	const char *name;
} capability_names[] = {
	{ALLOCATOR_CONCURRENT, "concurrent"},
	{ALLOCATOR_ALLOC_AT, "alloc_at"},
	{ALLOCATOR_SPLIT, "split"},
	{ALLOCATOR_PERSISTENT, "persistent"},
	{ALLOCATOR_BULK, "bulk"},
	{ALLOCATOR_ZONES, "zones"},
	{ALLOCATOR_ECHO, "echo"},
	{ALLOCATOR_UNCHECKED, "unchecked"},
	{ALLOCATOR_LAYER, "layer"},
	{ALLOCATOR_ONE_PER_LOAD, "one_per_load"},
	{ALLOCATOR_MOVES, "moves"},
	{ALLOCATOR_PADS, "pads"},
};

/* What `quire fidelity` asks for; in a back end's table these are functions rather than a bit. */
static bool predicts(const struct allocator_ops *ops)
{
	return ops->predict && ops->observe && ops->adopt;
}

static void add_capability(char *list, size_t size, const char *name)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used ? " " : "", name);
}

static void tell_option(struct emitter *e, const struct option *row)
{
	emitter_object_begin(e, NULL);
	emitter_string(e, "name", row->name);
	emitter_string(e, "default", row->fallback);
	emitter_string(e, "unit", row->unit);
	if (row->min != 0 || row->max != 0) {
		emitter_real(e, "min", row->min);
		emitter_real(e, "max", row->max);
	}
	if (row->type == OPTION_CHOICE) {
		emitter_array_begin(e, "choices");
		for (const char *const *choice = row->choices; *choice; choice++)
			emitter_string(e, NULL, *choice);
		emitter_array_end(e);
		emitter_bool(e, "or_file", row->flags & OPTION_FILE);
	}
	emitter_string(e, "help", row->help);
	emitter_object_end(e);
}

static void list_metric(struct emitter *e, const struct metric_info *row)
{
	emitter_string(e, "name", row->name);
	emitter_string(e, "unit", row->unit);
	emitter_string(e, "better", metric_direction_name(row->direction));
	emitter_string(e, "kind", metric_kind_name(row->kind));
	emitter_string(e, "help", row->help);
}

static void tell_options(struct emitter *e, const struct option *table)
{
	emitter_array_begin(e, "options");
	for (const struct option *row = table; row && row->name; row++)
		tell_option(e, row);
	emitter_array_end(e);
}

static void list_allocators(struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "name", .heading = "allocator"},
		{.path = "capabilities", .priority = 1},
		{.path = "summary", .style = EMITTER_PROSE},
	};

	emitter_rows_begin(e, "allocators", columns, ARRAY_SIZE(columns));
	for (const struct allocator_ops *const *ops = allocator_builtins; *ops; ops++) {
		char capabilities[128] = "";

		for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++) {
			if ((*ops)->capabilities & capability_names[i].bit)
				add_capability(capabilities, sizeof(capabilities),
					       capability_names[i].name);
		}
		if (predicts(*ops))
			add_capability(capabilities, sizeof(capabilities), "predict");
		emitter_row_begin(e);
		emitter_string(e, "name", (*ops)->name);
		emitter_string(e, "summary", (*ops)->summary);
		emitter_string(e, "capabilities", capabilities);
		tell_options(e, (*ops)->options);
		emitter_array_begin(e, "counters");
		for (const struct metric_info *row = (*ops)->counters; row && row->name; row++) {
			emitter_object_begin(e, NULL);
			list_metric(e, row);
			emitter_object_end(e);
		}
		emitter_array_end(e);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static void list_workloads(struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "name", .heading = "workload"},
		{.path = "summary", .style = EMITTER_PROSE},
	};

	emitter_rows_begin(e, "workloads", columns, ARRAY_SIZE(columns));
	for (const struct workload *const *w = workloads; *w; w++) {
		emitter_row_begin(e);
		emitter_string(e, "name", (*w)->name);
		emitter_string(e, "summary", (*w)->summary);
		tell_options(e, (*w)->options);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static void list_metrics(struct emitter *e)
{
	static const struct emitter_column columns[] = {
		{.path = "name", .heading = "metric"},
		{.path = "unit", .priority = 2},
		{.path = "better", .priority = 3},
		{.path = "kind", .priority = 4},
		{.path = "help", .heading = "meaning", .style = EMITTER_PROSE},
	};

	emitter_rows_begin(e, "metrics", columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < METRIC_COUNT; i++) {
		emitter_row_begin(e);
		list_metric(e, &metric_table[i]);
		emitter_row_end(e);
	}
	emitter_rows_end(e);
}

static int run(const struct option_set *options, int n, char **operands)
{
	static const char *const names[] = {"allocators", "metrics", "workloads", NULL};
	static void (*const lists[])(struct emitter *) = {list_allocators, list_metrics,
							  list_workloads};
	int i = cli_pick("list", operands[0], names);
	struct emitter *e;

	(void)n;
	if (i < 0)
		return EXIT_USAGE;
	e = cli_emitter(options);
	if (!e)
		return EXIT_RUN;
	lists[i](e);
	return cli_emitter_end(e, EXIT_OK);
}

const struct verb verb_list = {
	.name = "list",
	.summary = "what there is: allocators, metrics, workloads",
	.operands = "allocators|metrics|workloads",
	.details = "Lists the built-in back ends with their capabilities, every metric with its "
		   "unit,\n"
		   "direction and meaning, or the workloads that can be generated. With --format "
		   "json,\n"
		   "back ends and workloads have their options, too, and back ends their "
		   "counters.\n",
	.options = list_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
