/* SPDX-License-Identifier: MIT */
#include "tests/allocators/buddy/rig/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/environment.h"
#include "base/bits.h"
#include "sim/gfp.h"

struct machine *rig_machine(unsigned int nr_nodes)
{
	struct machine *m;

	assert_int_equal(machine_create(2, nr_nodes, &m, NULL), 0);
	return m;
}

void rig_zone(struct machine *m, unsigned int type, unsigned int node, pfn_t start, pfn_t end)
{
	const struct zone zone = {
		.start = start,
		.end = end,
		.present = end - start,
		.managed = end - start,
		.node = (uint16_t)node,
		.type = (uint8_t)type,
	};

	assert_int_equal(machine_add_zone(m, &zone, NULL), 0);
}

void rig_absent(struct machine *m, pfn_t start, pfn_t end, enum absence why)
{
	assert_int_equal(machine_add_absent(m, (struct pfn_range){start, end}, why, NULL), 0);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct zone *z = &m->zones[i];

		z->managed = z->present = machine_managed_in(m, z->start, z->end);
	}
}

void rig_marks(struct machine *m, unsigned int zone, uint64_t min, uint64_t low, uint64_t high)
{
	m->zones[zone].watermark = (struct watermarks){min, low, high, high};
}

struct machine *rig_one_zone(pfn_t start, pfn_t end)
{
	struct machine *m = rig_machine(1);

	rig_zone(m, ZONE_NORMAL, 0, start, end);
	return m;
}

static void *rig_meta(const struct alloc_env *env, size_t bytes, size_t align, enum meta_kind kind)
{
	struct rig *rig = (struct rig *)((char *)(uintptr_t)env - offsetof(struct rig, env));
	size_t room = align_up(bytes, align);
	void *p;

	assert_int_equal(kind, META_VOLATILE);
	if (rig->chunks_left == 0)
		return NULL;
	rig->chunks_left--;
	assert_true(rig->nr_chunks < RIG_CHUNKS_MAX);
	p = aligned_alloc(align, room);
	assert_non_null(p);
	memset(p, 0, room);
	rig->chunks[rig->nr_chunks++] = p;
	rig->bytes += bytes;
	return p;
}

int rig_try_open(struct rig *rig, struct machine *m, const char *options, const char *release,
		 size_t chunks)
{
	*rig = (struct rig){.m = m, .chunks_left = chunks};
	if (option_set_create(buddy_ops.options, &rig->options, &rig->err) ||
	    option_set_parse_spec(rig->options, options, &rig->err))
		fail_msg("%s", rig->err.text);
	rig->env = (struct alloc_env){
		.machine = m,
		.error = &rig->err,
		.meta = rig_meta,
		.kernel = release,
	};
	environment_read_options(&rig->env, rig->options);
	return buddy_ops.create(&rig->env, &rig->a);
}

void rig_open_with(struct rig *rig, struct machine *m, const char *options)
{
	if (rig_try_open(rig, m, options, "", SIZE_MAX))
		fail_msg("%s", rig->err.text);
	rig_check(rig);
}

void rig_open(struct rig *rig, struct machine *m)
{
	rig_open_with(rig, m, RIG_PURE);
}

void rig_close(struct rig *rig)
{
	if (rig->a) {
		rig_check(rig);
		buddy_ops.destroy(rig->a);
	}
	while (rig->nr_chunks)
		free(rig->chunks[--rig->nr_chunks]);
	option_set_destroy(rig->options);
	machine_destroy(rig->m);
}

struct alloc_request rig_request(const struct rig *rig, unsigned int order, unsigned int mt)
{
	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)mt,
		.gfp = GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM,
		.zone = (uint8_t)machine_highest_zone(rig->m, 0, 0),
	};
}

struct alloc_result rig_alloc(struct rig *rig, unsigned int order, unsigned int mt)
{
	const struct alloc_request req = rig_request(rig, order, mt);

	return buddy_ops.alloc(rig->a, &req);
}

struct alloc_result rig_alloc_gfp(struct rig *rig, unsigned int order, unsigned int mt,
				  uint32_t gfp)
{
	struct alloc_request req = rig_request(rig, order, mt);

	req.gfp = gfp;
	req.zone = (uint8_t)machine_highest_zone(rig->m, 0, gfp);
	return buddy_ops.alloc(rig->a, &req);
}

struct alloc_result rig_alloc_on(struct rig *rig, unsigned int cpu, unsigned int order,
				 unsigned int mt)
{
	struct alloc_request req = rig_request(rig, order, mt);

	req.cpu = (uint16_t)cpu;
	return buddy_ops.alloc(rig->a, &req);
}

void rig_expect_alloc(struct rig *rig, unsigned int order, unsigned int mt, pfn_t pfn,
		      uint64_t flags)
{
	struct alloc_result r = rig_alloc(rig, order, mt);

	assert_int_equal(r.pfn, pfn);
	assert_int_equal(r.flags, flags);
	rig_check(rig);
}

int rig_alloc_at(struct rig *rig, pfn_t pfn, unsigned int order, unsigned int mt)
{
	const struct alloc_request req = rig_request(rig, order, mt);

	return buddy_ops.alloc_at(rig->a, pfn, &req);
}

int rig_free_on(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order)
{
	struct alloc_request req = rig_request(rig, order, MIGRATE_UNMOVABLE);

	req.cpu = (uint16_t)cpu;
	return buddy_ops.free(rig->a, pfn, &req);
}

int rig_free(struct rig *rig, pfn_t pfn, unsigned int order)
{
	return rig_free_on(rig, 0, pfn, order);
}

static void add_counts(struct frame_map *map, const struct zone_counts *zones)
{
	const struct machine *m = map->machine;

	assert_int_equal(frame_map_add_zones(map, NULL), 0);
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		struct pcp_state *pcp = map->zones[i].pcp;

		if (zones[i].pcp)
			memcpy(pcp, zones[i].pcp, m->nr_cpus * sizeof(*pcp));
		map->zones[i] = zones[i];
		map->zones[i].pcp = pcp;
	}
}

int rig_adopt(struct rig *rig, const uint8_t *cells, const uint8_t *types,
	      const struct zone_counts *zones)
{
	struct frame_map *map;
	int rc;

	assert_int_equal(frame_map_from_bytes(rig->m, cells, 0, &map, NULL), 0);
	if (types) {
		assert_int_equal(frame_map_add_pageblocks(map, NULL), 0);
		memcpy(map->pageblock_type, types, map->nr_pageblocks);
	}
	if (zones)
		add_counts(map, zones);
	rc = buddy_ops.adopt(rig->a, map);
	frame_map_destroy(map);
	return rc;
}

void rig_check(struct rig *rig)
{
	if (buddy_ops.check(rig->a, &rig->err))
		fail_msg("%s", rig->err.text);
}

void rig_expect_list(const struct rig *rig, unsigned int zone, unsigned int order, unsigned int mt,
		     size_t n, const pfn_t *pfns)
{
	const struct buddy_zone *z = &rig->a->zones[zone];
	uint32_t list = zone_sentinel(z, order, mt), f = zone_link(z, list)->next;

	for (size_t i = 0; i < n; i++, f = zone_link(z, f)->next) {
		assert_int_not_equal(f, list);
		assert_int_equal(z->base + f, pfns[i]);
	}
	assert_int_equal(f, list);
	assert_int_equal(z->nr_free[mt][order], n);
}

struct pcp *rig_pcp(const struct rig *rig, unsigned int zone, unsigned int cpu)
{
	assert_non_null(rig->a->zones[zone].pcp);
	return &rig->a->zones[zone].pcp[cpu].set;
}

void rig_expect_percpu(const struct rig *rig, unsigned int zone, unsigned int cpu,
		       unsigned int list, size_t n, const pfn_t *pfns)
{
	const struct frame_deque *d = &rig_pcp(rig, zone, cpu)->list[list];
	struct frame_deque_cursor at = frame_deque_begin(d);

	for (size_t i = 0; i < n; i++) {
		const uint32_t *slot = frame_deque_next(d, &at);

		assert_non_null(slot);
		assert_int_equal(rig->a->zones[zone].base + *slot, pfns[i]);
	}
	assert_null(frame_deque_next(d, &at));
	assert_int_equal(d->length, n);
}

unsigned int rig_type(const struct rig *rig, pfn_t pfn)
{
	const struct buddy_zone *z = buddy_zone_of(rig->a, pfn);

	assert_non_null(z);
	return zone_type_of(z, zone_index(z, pfn));
}

struct allocator_stats rig_stats(const struct rig *rig, unsigned int zone)
{
	struct allocator_stats stats;

	assert_int_equal(buddy_ops.stats(rig->a, zone, &stats), 0);
	return stats;
}

uint64_t rig_counter(const struct rig *rig, const char *name)
{
	struct allocator_stats stats = rig_stats(rig, ALLOCATOR_ALL_ZONES);

	for (size_t i = 0; i < stats.nr_counters; i++) {
		if (strcmp(stats.counters[i].name, name) == 0)
			return stats.counters[i].value;
	}
	fail_msg("no counter %s", name);
	return 0;
}

void picture_open(struct picture *p, const char *options)
{
	picture_open_marked(p, options, 0, 0, 0);
}

void picture_open_marked(struct picture *p, const char *options, uint64_t min, uint64_t low,
			 uint64_t high)
{
	struct machine *m = rig_one_zone(0, PICTURE_FRAMES);

	rig_marks(m, 0, min, low, high);
	rig_open_with(&p->rig, m, options);
	memset(p->cells, FRAME_RESERVED, sizeof(p->cells));
	memset(p->types, MIGRATE_MOVABLE, sizeof(p->types));
}

void picture_paint(struct picture *p, pfn_t pfn, size_t n, enum frame_state state)
{
	assert_true(pfn + n <= PICTURE_FRAMES);
	memset(p->cells + pfn, (int)state, n);
}

void picture_adopt(struct picture *p)
{
	assert_int_equal(rig_adopt(&p->rig, p->cells, p->types, NULL), 0);
	rig_check(&p->rig);
}

uint64_t rig_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t rig_seed(uint64_t usual)
{
	const char *other = getenv("QUIRE_SEED");

	return other ? strtoull(other, NULL, 0) : usual;
}
