/* SPDX-License-Identifier: MIT */
#include "replay/placement.h"

#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/text_stream.h"

#define CPUS_MAX 65536U /* of a host, as far as masks are made */

struct place {
	struct seat seat;
	uint32_t rank; /* among the CPUs of its core that may be used */
};

struct host_topology {
	struct place *place; /* by CPU number */
	uint32_t n;
	uint32_t nr_nodes; /* numbers of nodes are below it */
	uint64_t *far;	   /* nr_nodes rows of nr_nodes; NULL: all others are equally far */
	bool several;	   /* nodes that CPUs are on */
	char note[PLACEMENT_NOTE_MAX];
};

/* ---- masks of the kernel, of any length ---- */

struct affinity {
	size_t bytes;
	cpu_set_t *set;
};

struct affinity *affinity_save(void)
{
	struct affinity *a = malloc(sizeof(*a));

	if (!a)
		return NULL;
	/* The kernel refuses masks that are shorter than its own. */
	for (uint32_t cpus = CPU_SETSIZE; cpus <= CPUS_MAX; cpus *= 2) {
		a->bytes = CPU_ALLOC_SIZE(cpus);
		a->set = CPU_ALLOC(cpus);
		if (a->set && !sched_getaffinity(0, a->bytes, a->set))
			return a;
		CPU_FREE(a->set);
		if (errno != EINVAL)
			break;
	}
	free(a);
	return NULL;
}

static void affinity_free(struct affinity *a)
{
	if (a)
		CPU_FREE(a->set);
	free(a);
}

void affinity_restore(struct affinity *a)
{
	if (a)
		sched_setaffinity(0, a->bytes, a->set);
	affinity_free(a);
}

int placement_pin(uint32_t cpu)
{
	const size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	int rc;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	rc = sched_setaffinity(0, bytes, set) ? -errno : 0;
	CPU_FREE(set);
	return rc;
}

/* ---- what the host is made of ---- */

static int by_cpu(const void *a, const void *b)
{
	const struct place *one = a, *other = b;

	return one->seat.cpu < other->seat.cpu ? -1 : one->seat.cpu > other->seat.cpu;
}

/* Order the places, and rank those of each core. @t: its places but for the ranks */
static void arrange(struct host_topology *t)
{
	qsort(t->place, t->n, sizeof(*t->place), by_cpu);
	for (uint32_t i = 0; i < t->n; i++) {
		struct place *p = &t->place[i];

		p->rank = 0;
		for (uint32_t k = 0; k < i; k++)
			p->rank += t->place[k].seat.core == p->seat.core;
		t->several = t->several || p->seat.node != t->place[0].seat.node;
		t->nr_nodes = (uint32_t)max_u64(t->nr_nodes, p->seat.node + 1);
	}
}

static struct place place_of(hwloc_topology_t hw, hwloc_obj_t pu)
{
	hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(hw, HWLOC_OBJ_CORE, pu);
	const int node = pu->nodeset ? hwloc_bitmap_first(pu->nodeset) : -1;

	/* Cores are told apart by hwloc's own numbers: the kernel's begin anew in each package. */
	return (struct place){.seat = {
				      .cpu = pu->os_index,
				      .core = core ? core->logical_index : pu->logical_index,
				      .node = node < 0 ? 0 : (uint32_t)node,
			      }};
}

/* How far nodes are from each other, if it is known. Return: 0 or -ENOMEM. */
static int read_distances(struct host_topology *t, hwloc_topology_t hw)
{
	struct hwloc_distances_s *d = NULL;
	unsigned int n = 1;
	int rc = 0;

	if (hwloc_distances_get_by_type(hw, HWLOC_OBJ_NUMANODE, &n, &d,
					HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) ||
	    n == 0)
		return 0;
	for (unsigned int i = 0; i < d->nbobjs; i++)
		t->nr_nodes = (uint32_t)max_u64(t->nr_nodes, d->objs[i]->os_index + 1);
	t->far = calloc((size_t)t->nr_nodes * t->nr_nodes, sizeof(*t->far));
	if (!t->far)
		rc = -ENOMEM;
	for (unsigned int i = 0; !rc && i < d->nbobjs; i++)
		for (unsigned int k = 0; k < d->nbobjs; k++)
			t->far[(size_t)d->objs[i]->os_index * t->nr_nodes + d->objs[k]->os_index] =
				d->values[(size_t)i * d->nbobjs + k];
	hwloc_distances_release(hw, d);
	return rc;
}

/* @allowed: NULL: all */
static int read_topology(struct host_topology *t, hwloc_topology_t hw, hwloc_const_bitmap_t allowed)
{
	const int n = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_PU);

	t->place = calloc(n > 0 ? (size_t)n : 1, sizeof(*t->place));
	if (!t->place)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		hwloc_obj_t pu = hwloc_get_obj_by_type(hw, HWLOC_OBJ_PU, (unsigned int)i);

		if (!allowed || hwloc_bitmap_isset(allowed, pu->os_index))
			t->place[t->n++] = place_of(hw, pu);
	}
	arrange(t);
	return read_distances(t, hw);
}

/* Nothing but what placing needs is looked for. @description: NULL: this host. Return: 0 or -1. */
static int load(hwloc_topology_t *hw, const char *description)
{
	if (hwloc_topology_init(hw))
		return -1;
	/* Packages stay: memory is attached to them. */
	if (!hwloc_topology_set_cache_types_filter(*hw, HWLOC_TYPE_FILTER_KEEP_NONE) &&
	    !hwloc_topology_set_icache_types_filter(*hw, HWLOC_TYPE_FILTER_KEEP_NONE) &&
	    !hwloc_topology_set_type_filter(*hw, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) &&
	    (!description || !hwloc_topology_set_synthetic(*hw, description)) &&
	    !hwloc_topology_load(*hw))
		return 0;
	hwloc_topology_destroy(*hw);
	return -1;
}

/* What is known without hwloc. */
static int guess(struct host_topology *t, const struct affinity *a)
{
	const uint32_t n = (uint32_t)CPU_COUNT_S(a->bytes, a->set);

	free(t->place);
	t->n = 0;
	t->place = calloc(n ? n : 1, sizeof(*t->place));
	if (!t->place)
		return -ENOMEM;
	for (uint32_t cpu = 0; t->n < n && cpu < CPUS_MAX; cpu++)
		if (CPU_ISSET_S(cpu, a->bytes, a->set))
			t->place[t->n++].seat = (struct seat){.cpu = cpu, .core = cpu};
	arrange(t);
	snprintf(t->note, sizeof(t->note),
		 "hwloc cannot tell what this host's CPUs share: workers have them by number, "
		 "siblings of a core among them; see what lstopo says, and unset HWLOC_ variables");
	return 0;
}

/* Only a topology of this very machine has its CPUs. */
static int read_host(struct host_topology *t, const struct affinity *a)
{
	hwloc_bitmap_t allowed;
	hwloc_topology_t hw;
	int rc;

	errno = 0;
	if (load(&hw, NULL))
		return errno == ENOMEM ? -ENOMEM : guess(t, a);
	allowed = hwloc_bitmap_alloc();
	errno = 0;
	if (!allowed)
		rc = -ENOMEM;
	else if (!hwloc_topology_is_thissystem(hw))
		rc = guess(t, a);
	else if (hwloc_get_cpubind(hw, allowed, HWLOC_CPUBIND_THREAD))
		rc = errno == ENOMEM ? -ENOMEM : guess(t, a);
	else
		rc = read_topology(t, hw, allowed);
	/* It knows of fewer than the kernel lets us have. */
	if (!rc && t->n < (uint32_t)CPU_COUNT_S(a->bytes, a->set))
		rc = guess(t, a);
	hwloc_bitmap_free(allowed);
	hwloc_topology_destroy(hw);
	return rc;
}

int host_topology_load(struct host_topology **t, struct error *err)
{
	struct host_topology *made = calloc(1, sizeof(*made));
	struct affinity *a = affinity_save();
	int rc = -ENOMEM;

	if (!a)
		rc = error_set(err, errno, "CPUs of this process: %s", strerror(errno));
	else if (!made || read_host(made, a))
		rc = error_set(err, ENOMEM, "no memory for the host's topology");
	else
		rc = 0;
	affinity_free(a);
	if (rc)
		host_topology_destroy(made);
	else
		*t = made;
	return rc;
}

int host_topology_describe(const char *description, const char *allowed, struct host_topology **t,
			   struct error *err)
{
	struct host_topology *made = calloc(1, sizeof(*made));
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	hwloc_topology_t hw;
	int rc = 0;

	if (!made || !set)
		rc = error_set(err, ENOMEM, "no memory for a topology");
	else if ((allowed && hwloc_bitmap_list_sscanf(set, allowed)) || load(&hw, description))
		rc = error_set(err, EINVAL, "'%s' (%s) is no topology", description,
			       allowed ? allowed : "all");
	else {
		if (read_topology(made, hw, allowed ? set : NULL))
			rc = error_set(err, ENOMEM, "no memory for a topology");
		hwloc_topology_destroy(hw);
	}
	hwloc_bitmap_free(set);
	if (rc)
		host_topology_destroy(made);
	else
		*t = made;
	return rc;
}

void host_topology_destroy(struct host_topology *t)
{
	if (!t)
		return;
	free(t->place);
	free(t->far);
	free(t);
}

const char *host_topology_note(const struct host_topology *t)
{
	return t->note;
}

uint32_t host_topology_cpus(const struct host_topology *t)
{
	return t->n;
}

/* ---- who has which ---- */

static uint64_t distance(const struct host_topology *t, uint32_t from, uint32_t to)
{
	if (from == to || from == NEAR_ANY)
		return 0;
	return t->far && from < t->nr_nodes ? t->far[(size_t)from * t->nr_nodes + to] : 1;
}

/* The best place of @rank that nobody has, or NULL; @only_near: on its own node. */
static struct place *find_place(const struct host_topology *t, const bool *taken, uint32_t rank,
				uint32_t near, bool only_near)
{
	struct place *best = NULL;

	for (uint32_t i = 0; i < t->n; i++) {
		struct place *p = &t->place[i];

		if (taken[i] || p->rank != rank || (only_near && p->seat.node != near))
			continue;
		if (!best || distance(t, near, p->seat.node) < distance(t, near, best->seat.node))
			best = p;
	}
	return best;
}

int placement_choose(const struct host_topology *t, const uint32_t *near, uint32_t n,
		     struct seat *seats, struct error *err)
{
	bool *taken, *seated;
	uint32_t left = n;

	if (n > t->n)
		return error_set(err, EINVAL,
				 "%" PRIu32 " workers need a CPU each, and this process may use "
				 "%" PRIu32 "; take fewer, or allow it more (taskset, cpuset)",
				 n, t->n);
	taken = calloc((size_t)t->n + n + 1, sizeof(*taken));
	if (!taken)
		return error_set(err, ENOMEM, "no memory to place %" PRIu32 " workers", n);
	seated = taken + t->n;
	/* Each round first serves those who find a place on their node, then everyone. */
	for (uint32_t round = 0; left; round++) {
		for (uint32_t w = 0; w < n; w++) {
			const uint32_t wish = near ? near[w] : NEAR_ANY;
			struct place *p;

			if (seated[w])
				continue;
			p = find_place(t, taken, round / 2, wish, round % 2 == 0);
			if (!p)
				continue;
			seats[w] = p->seat;
			taken[p - t->place] = seated[w] = true;
			left--;
		}
	}
	free(taken);
	return 0;
}

uint32_t placement_near(const struct machine *m, const struct node_plan *plan, uint32_t cpu)
{
	return plan && plan->bound ? plan->host_node[m->node_of_cpu[cpu]] : NEAR_ANY;
}

char *placement_text(const struct host_topology *t, const struct seat *seats, uint32_t n)
{
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);
	size_t bytes;

	for (uint32_t w = 0; out && w < n; w++) {
		fprintf(out, "%s%" PRIu32 ":%" PRIu32, w ? " " : "", w, seats[w].cpu);
		if (t->several)
			fprintf(out, "@%" PRIu32, seats[w].node);
	}
	return text_stream_end(&stream, &bytes);
}
