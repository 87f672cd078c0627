/* SPDX-License-Identifier: MIT */
/*
 * A back end behind flat calls, for tests/allocators/test_property.py to drive through ctypes: an
 * instance from a specification on one of two small machines, with metadata that can be found again
 * by recover. It judges nothing; that is the model's part. Mutants make a back end wrong in known
 * ways, so that the test can prove it would notice and cut the evidence down.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/environment.h"
#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define NR_CPUS	     4
#define GFP_KERNEL   (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM | GFP_IO | GFP_FS)
#define GFP_HIGHUSER (GFP_KERNEL | GFP_HARDWALL | GFP_HIGHMEM | GFP_MOVABLE)

/* The three enums have the order of MACHINES, KINDS and MUTANTS in test_property.py. */
enum property_machine { MACHINE_FLAT, MACHINE_ODD };

enum property_kind {
	KIND_MOVABLE,
	KIND_UNMOVABLE,
	KIND_RECLAIMABLE,
	KIND_DMA32,
	KIND_MOVABLE_THISNODE,
	KIND_UNMOVABLE_THISNODE,
};

static const uint32_t gfps[] = {
	[KIND_MOVABLE] = GFP_HIGHUSER,
	[KIND_UNMOVABLE] = GFP_KERNEL,
	[KIND_RECLAIMABLE] = GFP_KERNEL | GFP_RECLAIMABLE,
	[KIND_DMA32] = GFP_KERNEL | GFP_DMA32,
	[KIND_MOVABLE_THISNODE] = GFP_HIGHUSER | GFP_THISNODE,
	[KIND_UNMOVABLE_THISNODE] = GFP_KERNEL | GFP_THISNODE,
};

enum mutant {
	MUTANT_NONE,
	MUTANT_FORGETS,	   /* every seventh free is accepted and dropped */
	MUTANT_TWICE,	   /* order 2 right after a free of order 2: a block that is in use */
	MUTANT_DENIES,	   /* after a drain, the next huge block is refused */
	MUTANT_CREDULOUS,  /* accepts any free of order 3 */
	MUTANT_TRESPASSES, /* serves DMA32 requests from anywhere */
	MUTANT_DIES,	   /* aborts at the third drain */
	MUTANT_HOARDS,	   /* gives back nothing of what it isolated */
	MUTANT_RELAPSES,   /* recovers what it was before the last allocation */
};

/* A piece of metadata, in the order of the calls, by which recover finds it again. */
struct piece {
	struct piece *next;
	void *bytes, *saved;
	size_t size;
	enum meta_kind kind;
};

struct property {
	struct alloc_env env;		    /* first: meta() gets back to us */
	struct allocator_spec *spec;	    /* NULL: a nested one's is its outer one's inner */
	const struct allocator_spec *inner; /* of a layer */
	const struct allocator_ops *ops;
	struct allocator *a;
	struct machine *m;
	_Atomic uint8_t *huge_state;
	struct piece *pieces, **last;
	struct piece *found;		/* while recovering: the next one to find */
	struct property *nested, *next; /* what a layer has below it, on the same machine */

	enum mutant mutant;
	unsigned int frees, drains;
	pfn_t newest;	/* block of order 2 handed out last */
	pfn_t previous; /* and before it */
	int freed;	/* order of the free right before; -1: it was no free */
	bool deny;
};

/* ---- metadata ---- */

static void *property_meta(const struct alloc_env *env, size_t bytes, size_t align,
			   enum meta_kind kind)
{
	struct property *p = (struct property *)(uintptr_t)env;
	struct piece *piece;

	/* Only persistent pieces are left of a dead instance; behind the last, new ones follow. */
	if (p->found && kind == META_PERSISTENT) {
		piece = p->found;
		if (piece->size != bytes || !is_aligned((uintptr_t)piece->bytes, align))
			return NULL;
		p->found = piece->next;
		return piece->bytes;
	}
	piece = calloc(1, sizeof(*piece));
	if (!piece)
		return NULL;
	/* An exact size each, so that a sanitizer sees whoever writes past it. */
	if (posix_memalign(&piece->bytes, max_u64(align, sizeof(void *)), bytes)) {
		free(piece);
		return NULL;
	}
	memset(piece->bytes, 0, bytes);
	piece->size = bytes;
	piece->kind = kind;
	*p->last = piece;
	p->last = &piece->next;
	return piece->bytes;
}

static void free_piece(struct piece *piece)
{
	free(piece->bytes);
	free(piece->saved);
	free(piece);
}

/* All pieces, or only what a crash takes. */
static void drop_pieces(struct property *p, bool persistent_too)
{
	struct piece **at = &p->pieces;

	while (*at) {
		struct piece *piece = *at;

		if (piece->kind == META_PERSISTENT && !persistent_too) {
			at = &piece->next;
			continue;
		}
		*at = piece->next;
		free_piece(piece);
	}
	p->last = at;
}

/* ---- machines ---- */

struct layout {
	struct zone zones[3];
	size_t nr_zones;
	struct absent_range absent[6];
	size_t nr_absent;
};

static const struct layout layouts[] = {
	/* 18 MiB from pfn 0 */
	[MACHINE_FLAT] = {.zones = {{.start = 0, .end = 4608, .type = ZONE_NORMAL}}, .nr_zones = 1},
	/* odd borders, two zones in one huge frame, a gap, holes, offline memory */
	[MACHINE_ODD] = {.zones = {{.start = 3, .end = 2500, .node = 0, .type = ZONE_DMA32},
				   {.start = 2500, .end = 6200, .node = 0, .type = ZONE_NORMAL},
				   {.start = 7169, .end = 10303, .node = 1, .type = ZONE_NORMAL}},
			 .nr_zones = 3,
			 .absent = {{{3, 5}, ABSENT_RESERVED},
				    {{159, 256}, ABSENT_HOLE},
				    {{1500, 1501}, ABSENT_RESERVED},
				    {{4000, 4608}, ABSENT_OFFLINE},
				    {{8500, 8700}, ABSENT_HOLE},
				    {{10300, 10303}, ABSENT_RESERVED}},
			 .nr_absent = 6},
};

static int make_machine(const struct layout *l, struct machine **out, struct error *err)
{
	struct machine *m;
	int rc = machine_create(NR_CPUS, 2, &m, err);

	if (rc)
		return rc;
	/* CPUs of a node without memory too: the flat machine has all of it on node 0. */
	m->node_of_cpu[2] = m->node_of_cpu[3] = 1;
	for (size_t i = 0; i < l->nr_zones && rc == 0; i++)
		rc = machine_add_zone(m, &l->zones[i], err);
	for (size_t i = 0; i < l->nr_absent && rc == 0; i++)
		rc = machine_add_absent(m, l->absent[i].range, l->absent[i].why, err);
	if (rc) {
		machine_destroy(m);
		return rc;
	}
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone *z = &m->zones[i];

		z->managed = z->present = machine_managed_in(m, z->start, z->end);
	}
	*out = m;
	return 0;
}

/* ---- instances ---- */

void property_destroy(struct property *p)
{
	if (!p)
		return;
	if (p->a)
		p->ops->destroy(p->a);
	while (p->nested) {
		struct property *nested = p->nested;

		p->nested = nested->next;
		property_destroy(nested);
	}
	drop_pieces(p, true);
	free((void *)(uintptr_t)p->huge_state);
	machine_destroy(p->m);
	allocator_spec_destroy(p->spec);
	free(p);
}

static int property_nest(const struct alloc_env *env, allocator_moved *moved, void *arg,
			 const struct allocator_ops **ops, struct allocator **a)
{
	struct property *p = (struct property *)(uintptr_t)env;
	const struct allocator_spec *inner = p->inner;
	struct property *nested = calloc(1, sizeof(*nested));
	int rc;

	if (!nested)
		return -ENOMEM;
	nested->last = &nested->pieces;
	nested->next = p->nested;
	p->nested = nested;
	(void)moved; /* none of those here moves */
	(void)arg;
	nested->ops = inner->ops;
	nested->inner = inner->inner;
	nested->env = p->env;
	environment_read_options(&nested->env, inner->options);
	rc = nested->ops->create(&nested->env, &nested->a);
	nested->env.error = NULL;
	if (rc) {
		nested->a = NULL;
		return rc;
	}
	*ops = nested->ops;
	*a = nested->a;
	return 0;
}

/** NULL: @text (of ERROR_TEXT_MAX bytes) says why. */
struct property *property_create(const char *spec, unsigned int machine, unsigned int mutant,
				 char *text)
{
	struct property *p = calloc(1, sizeof(*p));
	struct error err = {.code = 0};
	int rc;

	if (!p || machine >= ARRAY_SIZE(layouts)) {
		free(p);
		return NULL;
	}
	p->last = &p->pieces;
	p->mutant = (enum mutant)mutant;
	p->newest = p->previous = PFN_NONE;
	p->freed = -1;
	rc = allocator_spec_parse(spec, &p->spec, &err);
	if (rc == 0)
		rc = make_machine(&layouts[machine], &p->m, &err);
	if (rc == 0) {
		p->ops = p->spec->ops;
		p->inner = p->spec->inner;
		p->huge_state = calloc(machine_end(p->m) / HUGE_FRAMES + 1, 1);
		p->env = (struct alloc_env){.machine = p->m,
					    .error = &err,
					    .meta = property_meta,
					    .huge_state = p->huge_state,
					    .kernel = "",
					    .nest = property_nest};
		environment_read_options(&p->env, p->spec->options);
		rc = p->ops->create(&p->env, &p->a);
		p->env.error = NULL;
	}
	if (rc) {
		p->a = NULL;
		strcpy(text, err.text);
		property_destroy(p);
		return NULL;
	}
	return p;
}

/* Keep a copy of what persists, or put it back. */
static int save_pieces(struct property *p)
{
	for (struct piece *piece = p->pieces; piece; piece = piece->next) {
		if (piece->kind != META_PERSISTENT)
			continue;
		free(piece->saved);
		piece->saved = malloc(piece->size);
		if (!piece->saved)
			return -ENOMEM;
		memcpy(piece->saved, piece->bytes, piece->size);
	}
	return 0;
}

static void restore_pieces(struct property *p)
{
	for (struct piece *piece = p->pieces; piece; piece = piece->next) {
		if (piece->saved)
			memcpy(piece->bytes, piece->saved, piece->size);
		free(piece->saved);
		piece->saved = NULL;
	}
}

/**
 * Die and come back. @crash: what destroy tidied up in the persistent metadata is undone first.
 * Return: 0; a negative errno, and then property_destroy() is all that may follow.
 */
int property_recover(struct property *p, unsigned int crash, char *text)
{
	struct error err = {.code = 0};
	int rc = crash && p->mutant != MUTANT_RELAPSES ? save_pieces(p) : 0;

	if (rc)
		return rc;
	p->ops->destroy(p->a);
	p->a = NULL;
	restore_pieces(p);
	drop_pieces(p, false);
	p->found = p->pieces;
	p->env.error = &err;
	rc = p->ops->recover(&p->env, &p->a);
	p->env.error = NULL;
	p->found = NULL;
	if (rc)
		p->a = NULL;
	strcpy(text, err.text);
	return rc;
}

/* ---- what there is ---- */

/** Name of a built-in back end, NULL behind the last. */
const char *property_backend(unsigned int i)
{
	return allocator_builtins[i] ? allocator_builtins[i]->name : NULL;
}

static const struct allocator_ops *find(const char *name)
{
	for (size_t i = 0; allocator_builtins[i]; i++) {
		if (strcmp(allocator_builtins[i]->name, name) == 0)
			return allocator_builtins[i];
	}
	return NULL;
}

/** Is there such a back end with such options? */
bool property_accepts(const char *text)
{
	struct allocator_spec *spec;

	if (allocator_spec_parse(text, &spec, NULL))
		return false;
	allocator_spec_destroy(spec);
	return true;
}

uint32_t property_capabilities(const char *name)
{
	const struct allocator_ops *ops = find(name);

	return ops ? ops->capabilities : 0;
}

/** Optional functions, a bit each; the same order as FUNCTIONS in test_property.py. */
unsigned int property_functions(const struct property *p)
{
	const struct allocator_ops *o = p->ops;
	const bool there[] = {o->alloc_at, o->alloc_bulk, o->drain,  o->tick,
			      o->predict,  o->isolate,	  o->online, o->offline,
			      o->stats,	   o->occupancy,  o->check,  o->recover};
	unsigned int bits = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(there); i++)
		bits |= there[i] ? 1U << i : 0;
	return bits;
}

/** start, end, node and type of zone @i into @out. Return: false behind the last. */
bool property_zone(const struct property *p, unsigned int i, uint64_t out[4])
{
	if (i >= p->m->nr_zones)
		return false;
	out[0] = p->m->zones[i].start;
	out[1] = p->m->zones[i].end;
	out[2] = p->m->zones[i].node;
	out[3] = p->m->zones[i].type;
	return true;
}

/** start and end of absent range @i. Return: false behind the last. */
bool property_absent(const struct property *p, unsigned int i, uint64_t out[2])
{
	if (i >= p->m->nr_absent)
		return false;
	out[0] = p->m->absent[i].range.start;
	out[1] = p->m->absent[i].range.end;
	return true;
}

/* ---- calls ---- */

static struct alloc_request request(const struct property *p, unsigned int kind, unsigned int order,
				    unsigned int cpu)
{
	uint32_t gfp = gfps[kind];
	const struct request_zone of = machine_request_zone(p->m, p->m->node_of_cpu[cpu], gfp);

	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.context = cpu,
		.cpu = (uint16_t)cpu,
		.node = of.node,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)gfp_migratetype(gfp),
		.zone = of.zone,
		.flags = ALLOC_HAS_CONTEXT,
	};
}

static pfn_t alloc_wrongly(struct property *p, struct alloc_request *req, int freed)
{
	if (p->mutant == MUTANT_DENIES && p->deny && req->order >= HUGE_ORDER) {
		p->deny = false;
		return PFN_NONE;
	}
	if (p->mutant == MUTANT_RELAPSES && save_pieces(p))
		return PFN_NONE;
	if (p->mutant == MUTANT_TRESPASSES && req->gfp & GFP_DMA32)
		*req = request(p, KIND_MOVABLE, req->order, req->cpu);
	if (p->mutant == MUTANT_TWICE && req->order == 2 && freed == 2 && p->previous != PFN_NONE)
		return p->previous;
	return p->ops->alloc(p->a, req).pfn;
}

pfn_t property_alloc(struct property *p, unsigned int kind, unsigned int order, unsigned int cpu)
{
	struct alloc_request req = request(p, kind, order, cpu);
	int freed = p->freed;
	pfn_t pfn;

	p->freed = -1;
	if (p->mutant == MUTANT_NONE)
		return p->ops->alloc(p->a, &req).pfn;
	pfn = alloc_wrongly(p, &req, freed);
	if (order == 2) {
		p->previous = p->newest;
		p->newest = pfn;
	}
	return pfn;
}

pfn_t property_predict(const struct property *p, unsigned int kind, unsigned int order,
		       unsigned int cpu)
{
	struct alloc_request req = request(p, kind, order, cpu);

	return p->ops->predict(p->a, &req).pfn;
}

/** Allocate until there is no more. Return: how many of at most @n blocks are in @out. */
size_t property_fill(struct property *p, unsigned int kind, unsigned int order, unsigned int cpu,
		     size_t n, pfn_t *out)
{
	size_t i = 0;

	while (i < n && (out[i] = property_alloc(p, kind, order, cpu)) != PFN_NONE)
		i++;
	return i;
}

int property_free(struct property *p, unsigned int kind, pfn_t pfn, unsigned int order,
		  unsigned int cpu)
{
	struct alloc_request req = request(p, kind, order, cpu);
	int rc;

	p->freed = (int)order;
	if (p->mutant == MUTANT_FORGETS && ++p->frees % 7 == 0)
		return 0;
	rc = p->ops->free(p->a, pfn, &req);
	return p->mutant == MUTANT_CREDULOUS && order == 3 ? 0 : rc;
}

int property_alloc_at(struct property *p, unsigned int kind, pfn_t pfn, unsigned int order,
		      unsigned int cpu)
{
	struct alloc_request req = request(p, kind, order, cpu);

	return p->ops->alloc_at(p->a, pfn, &req);
}

size_t property_alloc_bulk(struct property *p, unsigned int kind, unsigned int order,
			   unsigned int cpu, size_t n, pfn_t *out)
{
	struct alloc_request req = request(p, kind, order, cpu);

	return p->ops->alloc_bulk(p->a, &req, n, out);
}

size_t property_free_bulk(struct property *p, unsigned int kind, const pfn_t *pfns, size_t n,
			  unsigned int order, unsigned int cpu)
{
	struct alloc_request req = request(p, kind, order, cpu);

	return p->ops->free_bulk(p->a, pfns, n, &req);
}

void property_drain(struct property *p)
{
	p->deny = true;
	if (p->mutant == MUTANT_DIES && ++p->drains == 3)
		abort();
	if (p->ops->drain)
		p->ops->drain(p->a);
}

uint64_t property_tick(struct property *p, uint64_t now_ns)
{
	return p->ops->tick(p->a, now_ns);
}

/** Frames taken, or a negative errno. */
int64_t property_isolate(struct property *p, pfn_t pfn, unsigned int order)
{
	uint64_t got = 0;
	int rc = p->ops->isolate(p->a, pfn, order, &got);

	return rc ? rc : (int64_t)got;
}

int property_unisolate(struct property *p, pfn_t pfn, unsigned int order)
{
	return p->mutant == MUTANT_HOARDS ? 0 : p->ops->unisolate(p->a, pfn, order);
}

int property_online(struct property *p, pfn_t start, pfn_t end)
{
	return p->ops->online(p->a, (struct pfn_range){start, end});
}

int property_offline(struct property *p, pfn_t start, pfn_t end)
{
	return p->ops->offline(p->a, (struct pfn_range){start, end});
}

/* ---- what it says about itself ---- */

/** Free and cached frames, and free blocks of each order, into @out. @zone: -1 for all. */
int property_stats(const struct property *p, int zone, uint64_t out[2 + NR_ORDERS])
{
	struct allocator_stats stats;
	int rc = p->ops->stats(p->a, zone < 0 ? ALLOCATOR_ALL_ZONES : (unsigned int)zone, &stats);

	if (rc)
		return rc;
	memset(out, 0, (2 + NR_ORDERS) * sizeof(*out));
	out[0] = stats.free_frames;
	out[1] = stats.cached_frames;
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		for (unsigned int order = 0; order < NR_ORDERS; order++)
			out[2 + order] += stats.free_blocks[mt][order];
	}
	return 0;
}

void property_occupancy(const struct property *p, uint64_t first, size_t n, uint16_t *out)
{
	p->ops->occupancy(p->a, first, n, out);
}

/** 0, or a negative errno and why in @text (of ERROR_TEXT_MAX bytes). */
int property_check(const struct property *p, char *text)
{
	struct error err = {.code = 0};
	int rc = p->ops->check(p->a, &err);

	strcpy(text, err.text);
	return rc;
}
