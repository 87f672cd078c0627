/* SPDX-License-Identifier: MIT */
#include "sim/machine_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/yaml_tree.h"

#define FRAME_BYTES (UINT64_C(1) << PAGE_SHIFT_DEFAULT)

/* ---- what may be written ---- */

enum { TOP_DESCRIPTION, TOP_MIN_FREE, TOP_NODES, TOP_DISTANCES, TOP_ABSENT, TOP_KEYS };

static const struct yaml_key top_keys[] = {
	[TOP_DESCRIPTION] = {"description", YAML_TEXT, true},
	[TOP_MIN_FREE] = {"min_free", YAML_TEXT, false},
	[TOP_NODES] = {"nodes", YAML_LIST, true},
	[TOP_DISTANCES] = {"distances", YAML_LIST, false},
	[TOP_ABSENT] = {"absent", YAML_LIST, false},
	{NULL},
};

enum { NODE_CPUS, NODE_ZONES, NODE_KEYS };

static const struct yaml_key node_keys[] = {
	[NODE_CPUS] = {"cpus", YAML_TEXT, true},
	[NODE_ZONES] = {"zones", YAML_LIST, true},
	{NULL},
};

enum { ZONE_TYPE, ZONE_START, ZONE_END, ZONE_WATERMARKS, ZONE_RESERVE, ZONE_PER_CPU, ZONE_KEYS };

static const struct yaml_key zone_keys[] = {
	[ZONE_TYPE] = {"type", YAML_TEXT, true},
	[ZONE_START] = {"start", YAML_TEXT, true},
	[ZONE_END] = {"end", YAML_TEXT, true},
	[ZONE_WATERMARKS] = {"watermarks", YAML_MAP, false},
	[ZONE_RESERVE] = {"lowmem_reserve", YAML_MAP, false},
	[ZONE_PER_CPU] = {"per_cpu", YAML_MAP, false},
	{NULL},
};

enum { MARK_MIN, MARK_LOW, MARK_HIGH, MARK_PROMO, MARK_KEYS };

static const struct yaml_key mark_keys[] = {
	[MARK_MIN] = {"min", YAML_TEXT, true},
	[MARK_LOW] = {"low", YAML_TEXT, true},
	[MARK_HIGH] = {"high", YAML_TEXT, true},
	[MARK_PROMO] = {"promo", YAML_TEXT, false},
	{NULL},
};

enum { PER_CPU_BATCH, PER_CPU_HIGH_MIN, PER_CPU_HIGH_MAX, PER_CPU_KEYS };

static const struct yaml_key per_cpu_keys[] = {
	[PER_CPU_BATCH] = {"batch", YAML_TEXT, true},
	[PER_CPU_HIGH_MIN] = {"high_min", YAML_TEXT, true},
	[PER_CPU_HIGH_MAX] = {"high_max", YAML_TEXT, true},
	{NULL},
};

enum { ABSENT_START, ABSENT_END, ABSENT_WHY, ABSENT_KEYS };

static const struct yaml_key absent_keys[] = {
	[ABSENT_START] = {"start", YAML_TEXT, true},
	[ABSENT_END] = {"end", YAML_TEXT, true},
	[ABSENT_WHY] = {"why", YAML_TEXT, true},
	{NULL},
};

static const char *const absence_names[] = {
	[ABSENT_HOLE] = "hole",
	[ABSENT_RESERVED] = "reserved",
	[ABSENT_OFFLINE] = "offline",
	NULL,
};

/* ---- reading ---- */

struct reading {
	const struct yaml_document *doc;
	struct error *err;
	const struct yaml *values[TOP_KEYS];
	struct machine *m;
	/* Nodes come with a number of cpus each, or with their numbers. */
	int16_t node_of_cpu[MACHINE_CPUS_MAX]; /* -1: not seen */
	uint32_t nr_cpus, nr_nodes;
	const struct yaml *zone_at[MACHINE_ZONES_MAX];
	bool has_marks[MACHINE_ZONES_MAX], has_reserve[MACHINE_ZONES_MAX];
};

static int complain(const struct reading *r, const struct yaml *at, const char *what)
{
	return yaml_complain(r->doc, at, r->err, "%s", what);
}

static int read_frames(const struct reading *r, const struct yaml *node, uint64_t *frames)
{
	uint64_t bytes;
	int rc = yaml_size(r->doc, node, &bytes, r->err);

	if (rc)
		return rc;
	if (!is_aligned(bytes, FRAME_BYTES))
		return yaml_complain(r->doc, node, r->err,
				     "%s: %s bytes are not whole frames; give a multiple of 4K",
				     node->key ? node->key : "entry", node->text);
	*frames = bytes >> PAGE_SHIFT_DEFAULT;
	return 0;
}

static int read_range(const struct reading *r, const struct yaml *start, const struct yaml *end,
		      struct pfn_range *range)
{
	int rc = read_frames(r, start, &range->start);

	if (!rc)
		rc = read_frames(r, end, &range->end);
	if (!rc && range->start >= range->end)
		rc = complain(r, end,
			      "end: not behind the start; give the first byte that no "
			      "longer belongs to it");
	if (!rc && range->end > PFN_MAX)
		rc = complain(r, end, "end: beyond 4 PiB; give less");
	return rc;
}

/* One or two numbers, "8" or "8-11", at *@c, which moves behind them. */
static bool read_span(const char **c, uint32_t *first, uint32_t *last)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t v = 0;

		if (**c < '0' || **c > '9')
			return false;
		for (; **c >= '0' && **c <= '9' && v < MACHINE_CPUS_MAX; ++*c)
			v = v * 10 + (uint32_t)(**c - '0');
		*(i ? last : first) = v;
		if (i == 0 && **c != '-')
			*last = v;
		if (i == 0 && **c == '-')
			++*c;
		else
			break;
	}
	return *first <= *last && *last < MACHINE_CPUS_MAX && (**c == ',' || !**c);
}

static int claim_cpu(struct reading *r, const struct yaml *at, uint32_t cpu)
{
	if (r->node_of_cpu[cpu] >= 0)
		return yaml_complain(r->doc, at, r->err,
				     "cpus: cpu %" PRIu32 " is on node %d already", cpu,
				     r->node_of_cpu[cpu]);
	r->node_of_cpu[cpu] = (int16_t)r->nr_nodes;
	r->nr_cpus = (uint32_t)max_u64(r->nr_cpus, cpu + 1);
	return 0;
}

/* "8": the next eight; "0-3,8-11": these. */
static int read_cpus(struct reading *r, const struct yaml *at)
{
	const char *c = at->text;
	uint32_t first, last;
	uint64_t count;
	int rc = 0;

	if (!strpbrk(c, ",-")) {
		rc = yaml_uint(r->doc, at, 0, MACHINE_CPUS_MAX, &count, r->err);
		if (!rc && count > MACHINE_CPUS_MAX - r->nr_cpus)
			rc = complain(r, at, "cpus: more than 4096 in all; give fewer");
		for (; !rc && count; count--)
			rc = claim_cpu(r, at, r->nr_cpus);
		return rc;
	}
	while (!rc) {
		if (!read_span(&c, &first, &last))
			return complain(r, at,
					"cpus: neither a number of cpus nor a list; write 8, "
					"or 0-3,8-11 with numbers below 4096");
		for (; !rc && first <= last; first++)
			rc = claim_cpu(r, at, first);
		if (!*c++)
			break;
	}
	return rc;
}

static int read_marks(const struct reading *r, const struct yaml *at, struct watermarks *marks)
{
	const struct yaml *values[MARK_KEYS];
	uint64_t *to[MARK_KEYS] = {&marks->min, &marks->low, &marks->high, &marks->promo};
	int rc = yaml_map(r->doc, at, mark_keys, values, r->err);

	for (size_t i = 0; !rc && i < MARK_KEYS; i++) {
		if (values[i])
			rc = read_frames(r, values[i], to[i]);
	}
	if (!rc && !values[MARK_PROMO])
		marks->promo = 2 * marks->high - marks->low;
	if (!rc &&
	    (marks->min > marks->low || marks->low > marks->high || marks->high > marks->promo))
		rc = complain(r, at,
			      "watermarks: out of order; min, low, high and promo only grow");
	return rc;
}

static int read_reserve(const struct reading *r, const struct yaml *at,
			uint64_t reserve[ZONE_TYPES])
{
	struct yaml_key keys[ZONE_TYPES + 1] = {{NULL}};
	const struct yaml *values[ZONE_TYPES];
	int rc;

	for (unsigned int type = 0; type < ZONE_TYPES; type++)
		keys[type] = (struct yaml_key){zone_type_name(type), YAML_TEXT, false};
	rc = yaml_map(r->doc, at, keys, values, r->err);
	for (size_t i = 0; !rc && i < ZONE_TYPES; i++) {
		if (values[i])
			rc = read_frames(r, values[i], &reserve[i]);
	}
	return rc;
}

static int read_per_cpu(const struct reading *r, const struct yaml *at,
			struct percpu_limits *limits)
{
	const struct yaml *values[PER_CPU_KEYS];
	uint32_t *to[PER_CPU_KEYS] = {&limits->batch, &limits->high_min, &limits->high_max};
	int rc = yaml_map(r->doc, at, per_cpu_keys, values, r->err);

	for (size_t i = 0; !rc && i < PER_CPU_KEYS; i++) {
		uint64_t value;

		rc = yaml_uint(r->doc, values[i], i == PER_CPU_BATCH ? 1 : 0,
			       i == PER_CPU_BATCH ? PERCPU_BATCH_MAX : PERCPU_HIGH_MAX, &value,
			       r->err);
		*to[i] = rc ? 0 : (uint32_t)value;
	}
	if (!rc && limits->high_min > limits->high_max)
		rc = complain(r, values[PER_CPU_HIGH_MAX],
			      "high_max: below high_min; exchange the two");
	return rc;
}

/* What machine.h has to say against something, at its place. */
static int object(const struct reading *r, const struct yaml *at, int rc, const struct error *why)
{
	return rc == -ENOMEM ? error_set(r->err, ENOMEM, "%s", why->text)
			     : yaml_complain(r->doc, at, r->err, "%s", why->text);
}

static int read_zone(struct reading *r, const struct yaml *at)
{
	const char *types[ZONE_TYPES + 1] = {NULL};
	const struct yaml *values[ZONE_KEYS];
	struct zone zone = {.node = (uint16_t)r->nr_nodes};
	struct pfn_range range = {0};
	unsigned int type = 0, index = r->m->nr_zones;
	struct error why;
	int rc = yaml_map(r->doc, at, zone_keys, values, r->err);

	for (unsigned int i = 0; i < ZONE_TYPES; i++)
		types[i] = zone_type_name(i);
	if (!rc)
		rc = yaml_choice(r->doc, values[ZONE_TYPE], types, &type, r->err);
	if (!rc)
		rc = read_range(r, values[ZONE_START], values[ZONE_END], &range);
	if (!rc && values[ZONE_WATERMARKS])
		rc = read_marks(r, values[ZONE_WATERMARKS], &zone.watermark);
	if (!rc && values[ZONE_RESERVE])
		rc = read_reserve(r, values[ZONE_RESERVE], zone.lowmem_reserve);
	if (!rc && values[ZONE_PER_CPU])
		rc = read_per_cpu(r, values[ZONE_PER_CPU], &zone.percpu);
	if (rc)
		return rc;
	zone.type = (uint8_t)type;
	zone.start = range.start;
	zone.end = range.end;
	rc = machine_add_zone(r->m, &zone, &why);
	if (rc)
		return object(r, at, rc, &why);
	r->zone_at[index] = at;
	r->has_marks[index] = values[ZONE_WATERMARKS];
	r->has_reserve[index] = values[ZONE_RESERVE];
	return 0;
}

static int read_node_cpus(struct reading *r, const struct yaml *at)
{
	const struct yaml *values[NODE_KEYS];
	int rc = yaml_map(r->doc, at, node_keys, values, r->err);

	return rc ? rc : read_cpus(r, values[NODE_CPUS]);
}

static int read_node_zones(struct reading *r, const struct yaml *at)
{
	const struct yaml *values[NODE_KEYS];
	int rc = yaml_map(r->doc, at, node_keys, values, r->err);

	if (rc)
		return rc;
	for (const struct yaml *zone = values[NODE_ZONES]->first; !rc && zone; zone = zone->next)
		rc = read_zone(r, zone);
	return rc;
}

/* The cpus of all nodes first: a machine is made for so many of them. */
static int read_nodes(struct reading *r)
{
	const struct yaml *nodes = r->values[TOP_NODES];
	struct error why;
	int rc = 0;

	memset(r->node_of_cpu, -1, sizeof(r->node_of_cpu));
	for (const struct yaml *node = nodes->first; !rc && node; node = node->next) {
		if (r->nr_nodes == MACHINE_ZONES_MAX)
			return complain(r, node, "more than 64 nodes; leave some out");
		rc = read_node_cpus(r, node);
		r->nr_nodes++;
	}
	for (uint32_t cpu = 0; !rc && cpu < r->nr_cpus; cpu++) {
		if (r->node_of_cpu[cpu] < 0)
			rc = yaml_complain(r->doc, nodes, r->err,
					   "nodes: cpu %" PRIu32
					   " is on none of them; number cpus without a gap",
					   cpu);
	}
	if (rc)
		return rc;
	rc = machine_create(r->nr_cpus, r->nr_nodes, &r->m, &why);
	if (rc)
		return object(r, nodes, rc, &why);
	for (uint32_t cpu = 0; cpu < r->nr_cpus; cpu++)
		r->m->node_of_cpu[cpu] = (uint16_t)r->node_of_cpu[cpu];
	r->nr_nodes = 0;
	for (const struct yaml *node = nodes->first; !rc && node; node = node->next) {
		rc = read_node_zones(r, node);
		r->nr_nodes++;
	}
	if (!rc && r->m->nr_zones == 0)
		rc = complain(r, nodes, "nodes: no zone in any of them; add one");
	return rc;
}

/* Distances from one node; @n: of nodes. */
static int read_distances_from(const struct reading *r, const struct yaml *row, uint32_t from,
			       uint8_t *distances)
{
	const uint32_t n = r->m->nr_nodes;
	const struct yaml *at;
	uint32_t to = 0;
	int rc = 0;

	if (row->kind != YAML_LIST)
		return complain(r, row,
				"distances: not a row of them; write a list for each node: "
				"[[10, 20], [20, 10]]");
	for (at = row->first; !rc && at && to < n; at = at->next, to++) {
		uint64_t far;

		rc = yaml_uint(r->doc, at, from == to ? DISTANCE_LOCAL : DISTANCE_LOCAL + 1,
			       from == to ? DISTANCE_LOCAL : DISTANCE_MAX, &far, r->err);
		distances[to] = rc ? 0 : (uint8_t)far;
	}
	if (!rc && (at || to < n))
		rc = yaml_complain(r->doc, row, r->err,
				   "distances: a row needs one for each of the %" PRIu32 " nodes",
				   n);
	return rc;
}

static int read_distances(const struct reading *r, const struct yaml *list)
{
	const uint32_t n = r->m->nr_nodes;
	uint8_t distances[MACHINE_ZONES_MAX * MACHINE_ZONES_MAX];
	const struct yaml *row = list->first;
	struct error why;
	uint32_t from = 0;
	int rc = 0;

	for (; !rc && row && from < n; row = row->next, from++)
		rc = read_distances_from(r, row, from, &distances[(size_t)from * n]);
	if (!rc && (row || from < n))
		rc = yaml_complain(r->doc, list, r->err,
				   "distances: one row for each of the %" PRIu32 " nodes is needed",
				   n);
	if (rc)
		return rc;
	rc = machine_set_distances(r->m, distances, &why);
	return rc ? object(r, list, rc, &why) : 0;
}

static int read_absent(struct reading *r, const struct yaml *at)
{
	const struct yaml *values[ABSENT_KEYS];
	struct pfn_range range = {0};
	unsigned int why = 0;
	struct error objection;
	int rc = yaml_map(r->doc, at, absent_keys, values, r->err);

	if (!rc)
		rc = read_range(r, values[ABSENT_START], values[ABSENT_END], &range);
	if (!rc)
		rc = yaml_choice(r->doc, values[ABSENT_WHY], absence_names, &why, r->err);
	if (rc)
		return rc;
	rc = machine_add_absent(r->m, range, (enum absence)why, &objection);
	return rc ? object(r, at, rc, &objection) : 0;
}

/* ---- what follows from it ---- */

static void count_zones(struct machine *m)
{
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone *z = &m->zones[i];

		z->present = z->end - z->start;
		z->managed = machine_managed_in(m, z->start, z->end);
		for (size_t k = 0; k < m->nr_absent; k++) {
			const struct absent_range *a = &m->absent[k];
			pfn_t from = max_u64(a->range.start, z->start);
			pfn_t to = min_u64(a->range.end, z->end);

			if (a->why != ABSENT_RESERVED && from < to)
				z->present -= to - from;
		}
	}
}

static void derive(struct reading *r, uint64_t min_free, struct machine_notes *notes)
{
	struct machine *m = r->m;
	unsigned int marks = 0, reserves = 0;
	char text[FORMAT_MAX];

	if (!min_free)
		min_free = machine_boot_min_free(m);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone *z = &m->zones[i];

		if (!r->has_marks[i]) {
			z->watermark = machine_boot_watermarks(m, i, min_free);
			marks++;
		}
		for (unsigned int type = 0; !r->has_reserve[i] && type < ZONE_TYPES; type++)
			z->lowmem_reserve[type] = machine_boot_reserve(m, i, type);
		reserves += !r->has_reserve[i];
	}
	if (!notes || (!marks && !reserves))
		return;
	snprintf(notes->derived, sizeof(notes->derived),
		 "as a kernel at boot: watermarks of %u of %u zones from min_free %s%s, lowmem "
		 "reserves of %u",
		 marks, m->nr_zones, format_size(text, min_free << PAGE_SHIFT_DEFAULT),
		 r->values[TOP_MIN_FREE] ? " (given)" : "", reserves);
}

static int read_machine(struct reading *r, struct machine_notes *notes)
{
	const struct yaml *absent;
	uint64_t min_free = 0;
	struct error why;
	int rc = yaml_map(r->doc, r->doc->root, top_keys, r->values, r->err);

	if (!rc && r->values[TOP_MIN_FREE])
		rc = read_frames(r, r->values[TOP_MIN_FREE], &min_free);
	if (!rc)
		rc = read_nodes(r);
	if (!rc && r->values[TOP_DISTANCES])
		rc = read_distances(r, r->values[TOP_DISTANCES]);
	if (rc)
		return rc;
	absent = r->values[TOP_ABSENT] ? r->values[TOP_ABSENT]->first : NULL;
	for (; !rc && absent; absent = absent->next)
		rc = read_absent(r, absent);
	if (rc)
		return rc;
	count_zones(r->m);
	for (uint32_t i = 0; i < r->m->nr_zones; i++) {
		if (!r->m->zones[i].managed)
			return complain(r, r->zone_at[i],
					"all of this zone is absent; leave it out");
	}
	if (notes)
		snprintf(notes->description, sizeof(notes->description), "%s",
			 r->values[TOP_DESCRIPTION]->text);
	derive(r, min_free, notes);
	rc = machine_check(r->m, &why);
	return rc ? object(r, r->doc->root, rc, &why) : 0;
}

static int machine_from_document(const struct yaml_document *doc, struct machine **m,
				 struct machine_notes *notes, struct error *err)
{
	struct reading *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return error_set(err, ENOMEM, "%s: out of memory", doc->source);
	r->doc = doc;
	r->err = err;
	if (notes)
		*notes = (struct machine_notes){.derived = ""};
	rc = read_machine(r, notes);
	if (rc)
		machine_destroy(r->m);
	else
		*m = r->m;
	free(r);
	return rc;
}

int machine_from_yaml(const char *text, size_t length, const char *source, struct machine **m,
		      struct machine_notes *notes, struct error *err)
{
	struct yaml_document *doc;
	int rc = yaml_parse(text, length, source, &doc, err);

	if (rc)
		return rc;
	rc = machine_from_document(doc, m, notes, err);
	yaml_destroy(doc);
	return rc;
}

int machine_from_file(const char *path, struct machine **m, struct machine_notes *notes,
		      struct error *err)
{
	struct yaml_document *doc;
	int rc = yaml_load(path, &doc, err);

	if (rc)
		return rc;
	rc = machine_from_document(doc, m, notes, err);
	yaml_destroy(doc);
	return rc;
}
