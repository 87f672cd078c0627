/* SPDX-License-Identifier: MIT */
#include "tests/allocators/buddy/rig/rig_follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "allocators/buddy/follow_state.h"
#include "base/bits.h"
#include "sim/gfp.h"

uint64_t rig_fallback_arg(unsigned int order, unsigned int type, bool change)
{
	return order | (uint64_t)type << 8 | (uint64_t)change << 16;
}

void heap_open(struct heap *h)
{
	*h = (struct heap){.object = calloc(OBJECTS_MAX, sizeof(*h->object))};
	assert_non_null(h->object);
}

void heap_add(struct heap *h, pfn_t pfn, unsigned int order)
{
	assert_true(h->n < OBJECTS_MAX);
	h->object[h->n++] = (struct object){pfn, (uint8_t)order};
	h->frames += UINT64_C(1) << order;
}

struct object heap_take(struct heap *h, uint64_t random)
{
	size_t i = random % h->n;
	struct object o = h->object[i];

	h->object[i] = h->object[--h->n];
	h->frames -= UINT64_C(1) << o.order;
	return o;
}

unsigned int rig_random_order(uint64_t *seed)
{
	unsigned int draw = (unsigned int)(rig_random(seed) % 100);

	if (draw < 70)
		return 0;
	if (draw < 92)
		return 1 + draw % 3;
	return draw < 98 ? 4 + draw % 5 : 9 + draw % 2;
}

struct machine *rig_two_zones(pfn_t border, pfn_t end)
{
	struct machine *m;

	assert_int_equal(machine_create(4, 1, &m, NULL), 0);
	rig_zone(m, ZONE_DMA32, 0, 0, border);
	rig_zone(m, ZONE_NORMAL, 0, border, end);
	return m;
}

struct alloc_request rig_random_request(const struct rig *rig, uint64_t *seed)
{
	static const uint32_t zone_gfp[] = {0, 0, 0, GFP_DMA32};
	uint32_t gfp = zone_gfp[rig_random(seed) % ARRAY_SIZE(zone_gfp)];

	gfp |= rig_random(seed) % 8 ? PATIENT : GFP_KSWAPD_RECLAIM;
	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.cpu = (uint16_t)(rig_random(seed) % rig->m->nr_cpus),
		.order = (uint8_t)rig_random_order(seed),
		.migratetype = (uint8_t)(rig_random(seed) % MIGRATE_MERGEABLE),
		.zone = (uint8_t)machine_highest_zone(rig->m, 0, gfp),
	};
}

int rig_tell(struct rig *rig, unsigned int kind, unsigned int cpu, pfn_t pfn, unsigned int order,
	     unsigned int mt, uint64_t arg)
{
	const struct kernel_fact fact = {
		.pfn = pfn,
		.arg = arg,
		.gfp = PATIENT,
		.cpu = (uint16_t)cpu,
		.kind = (uint8_t)kind,
		.order = (uint8_t)order,
		.migratetype = (uint8_t)mt,
	};
	int rc = buddy_ops.observe(rig->a, &fact);

	rig_check(rig);
	return rc;
}

void rig_tell_follow(struct rig *rig, uint64_t told)
{
	assert_int_equal(rig_tell(rig, FACT_FOLLOW, 0, 0, 0, 0, told), 0);
}

void rig_follow_with(struct rig *rig, struct machine *m, const char *options, uint64_t told)
{
	rig_open_with(rig, m, options);
	assert_false(follow_active(rig->a));
	rig_tell_follow(rig, told);
	assert_true(follow_active(rig->a));
}

void rig_follow(struct rig *rig, uint64_t told)
{
	rig_follow_with(rig, rig_one_zone(0, PICTURE_FRAMES), "kernel=6.18" ALONE, told);
}

void rig_place(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order)
{
	assert_int_equal(rig_tell(rig, FACT_PLACED, cpu, pfn, order, MIGRATE_MOVABLE, 0), 0);
}

void rig_give_back(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order)
{
	assert_int_equal(rig_tell(rig, FACT_FREED, cpu, pfn, order, MIGRATE_MOVABLE, 0), 0);
}

int rig_refill(struct rig *rig, unsigned int cpu, pfn_t pfn, unsigned int order, unsigned int mt)
{
	return rig_tell(rig, FACT_REFILL, cpu, pfn, order, mt, 0);
}

bool rig_in_use(const struct rig *rig, pfn_t pfn, unsigned int order)
{
	const struct buddy_zone *z = &rig->a->zones[0];

	return zone_all_used(z, zone_index(z, pfn), order);
}

pfn_t rig_predicted(const struct rig *rig, unsigned int order, unsigned int flags)
{
	struct alloc_request req = rig_request(rig, order, MIGRATE_MOVABLE);

	req.flags = (uint8_t)flags;
	return buddy_ops.predict(rig->a, &req).pfn;
}
