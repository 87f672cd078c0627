/* SPDX-License-Identifier: MIT */
#include "allocators/buddy/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"

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

int rig_try_open(struct rig *rig, struct machine *m, size_t chunks)
{
	*rig = (struct rig){.m = m, .chunks_left = chunks};
	rig->env = (struct alloc_env){.machine = m, .error = &rig->err, .meta = rig_meta};
	return buddy_ops.create(&rig->env, &rig->a);
}

void rig_open(struct rig *rig, struct machine *m)
{
	assert_int_equal(rig_try_open(rig, m, SIZE_MAX), 0);
	rig_check(rig);
}

void rig_close(struct rig *rig)
{
	if (rig->a) {
		rig_check(rig);
		buddy_ops.destroy(rig->a);
	}
	while (rig->nr_chunks)
		free(rig->chunks[--rig->nr_chunks]);
	machine_destroy(rig->m);
}

struct alloc_request rig_request(const struct rig *rig, unsigned int order, unsigned int mt)
{
	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)mt,
		.zone = (uint8_t)machine_highest_zone(rig->m, 0, 0),
	};
}

struct alloc_result rig_alloc(struct rig *rig, unsigned int order, unsigned int mt)
{
	const struct alloc_request req = rig_request(rig, order, mt);

	return buddy_ops.alloc(rig->a, &req);
}

int rig_alloc_at(struct rig *rig, pfn_t pfn, unsigned int order, unsigned int mt)
{
	const struct alloc_request req = rig_request(rig, order, mt);

	return buddy_ops.alloc_at(rig->a, pfn, &req);
}

int rig_free(struct rig *rig, pfn_t pfn, unsigned int order)
{
	const struct alloc_request req = rig_request(rig, order, MIGRATE_UNMOVABLE);

	return buddy_ops.free(rig->a, pfn, &req);
}

int rig_adopt(struct rig *rig, const uint8_t *cells, const uint8_t *types)
{
	struct frame_map *map;
	int rc;

	assert_int_equal(frame_map_from_bytes(rig->m, cells, 0, &map, NULL), 0);
	if (types) {
		assert_int_equal(frame_map_add_pageblocks(map, NULL), 0);
		memcpy(map->pageblock_type, types, map->nr_pageblocks);
	}
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

uint64_t rig_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}
