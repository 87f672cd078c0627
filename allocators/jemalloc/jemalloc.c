/* SPDX-License-Identifier: MIT */
/*
 * `jemalloc`, the baseline of user space, as a back end: its extents are ranges of the simulated machine's
 * frames (extents.c), each simulated cpu has a cache of its own, and its idea of time is the trace's.
 *
 * It is told by size what it is told by order here, and asked to align, as blocks are. What it was given for
 * a block stays between it and us: a byte for each frame says whether a block begins there, so that a free
 * of anything else is refused, and so that what nobody holds can be counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/allocator.h"
#include "allocators/jemalloc/copy.h"
#include "allocators/jemalloc/extents.h"
#include "allocators/spin.h"
#include "base/bits.h"

#define NS_PER_MS	1000000
#define DECAY_STEPS	200 /* in which jemalloc lets a decay time pass */
#define DECAY_MS_MAX	1000000000
#define ARENAS_MAX	1024
#define SMALL_BYTES_MAX 14336 /* its largest small class: blocks of one cannot be padded */

/* What a cpu has: 64 bytes, so that no two share a cache line. */
struct cpu {
	struct spin lock; /* of the cache, which only one may use at a time */
	unsigned int cache;
	int from_arena; /* flags of an allocation from its arena */
	bool has_cache;
	_Atomic bool used; /* since the last reclaim */
	char pad[64 - 3 * sizeof(int) - 2];
};

struct allocator {
	struct extents extents; /* first: the hooks */
	const struct machine *machine;
	_Atomic uint8_t *
		live; /* per frame from extents.map.base on: order + 1 of the block that begins there */
	struct cpu *cpus;
	unsigned int nr_cpus, nr_caches;
	unsigned int *arenas;
	unsigned int nr_arenas;
	uint64_t now_ns, step_ns; /* the time jemalloc knows, and by what it advances; 0: never */
	uint64_t padding[NR_ORDERS];	   /* frames a live block has beyond its own */
	_Atomic uint64_t reclaims, passed; /* see counters */
};

enum {
	RECLAIMS = EXTENTS_COUNTS,
	PASSED,
	PADDING,
	OWN_BYTES,
	NR_COUNTERS,
};

static const struct metric_info counters[NR_COUNTERS + 1] = {
	[EXTENTS_TAKEN] = {"extents_taken", "", "ranges of frames that jemalloc asked for and got"},
	[EXTENTS_GIVEN] = {"extents_purged", "", "ranges of frames it gave back"},
	[EXTENTS_REFUSED] = {"extents_refused", "",
			     "ranges it asked for, and no free one was long enough", METRIC_LOWER},
	[FRAMES_PURGED] = {"purged_frames", "frames", "in the ranges it gave back"},
	[FRAMES_MUZZY] = {"muzzy_frames", "frames",
			  "whose content it discarded while keeping them for itself"},
	[RECLAIMS] = {"reclaims", "", "allocations for which all caches had to be emptied first",
		      METRIC_LOWER},
	[PASSED] = {"cache_contended", "", "calls that found their cpu's cache in use",
		    METRIC_LOWER},
	[PADDING] = {"padding_frames", "frames",
		     "that live blocks have beyond their own, now: lost by rounding up",
		     METRIC_LOWER},
	[OWN_BYTES] = {"own_bytes", "bytes",
		       "of jemalloc's own structures for these arenas, now; not in metadata_bytes",
		       METRIC_LOWER},
};

static const struct option options[] = {
	{.name = "narenas",
	 .type = OPTION_STRING,
	 .fallback = "percpu",
	 .argument = "percpu|N",
	 .help = "arenas: one for each cpu, or N that the cpus share"},
	{.name = "tcache",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "a cache of blocks up to order 3 for each cpu"},
	{.name = "dirty_decay_ms",
	 .type = OPTION_UINT,
	 .fallback = "10000",
	 .max = DECAY_MS_MAX,
	 .unit = "ms",
	 .help = "trace time in which unused frames are given back; 0: at once"},
	{.name = "muzzy_decay_ms",
	 .type = OPTION_UINT,
	 .fallback = "0",
	 .max = DECAY_MS_MAX,
	 .unit = "ms",
	 .help = "trace time for which they are kept after that, discarded"},
	{.name = "cache_oblivious",
	 .type = OPTION_BOOL,
	 .fallback = "on",
	 .help = "blocks of order 1 and above are a page longer, which jemalloc does unless told "
		 "not to; the same for all instances of a process"},
	{.name = NULL},
};

/* ---- creation ---- */

static void destroy(struct allocator *a)
{
	for (unsigned int i = 0; i < a->nr_caches; i++)
		copy_cache_destroy(a->cpus[i].cache);
	for (unsigned int i = 0; i < a->nr_arenas; i++)
		copy_arena_destroy(a->arenas[i]);
	extents_destroy(&a->extents);
}

static int resolve_narenas(const struct alloc_env *env, unsigned int *n)
{
	const char *text = env->option_string(env, "narenas");
	unsigned int most = (unsigned int)min_u64(env->machine->nr_cpus, ARENAS_MAX);
	unsigned long value;
	char *end;

	*n = most;
	if (strcmp(text, "percpu") == 0)
		return 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || value < 1 || value > ARENAS_MAX)
		return allocator_fail(env->error, EINVAL,
				      "narenas: '%s' is neither percpu nor a number of 1..%d", text,
				      ARENAS_MAX);
	*n = (unsigned int)min_u64(value, most);
	return 0;
}

/*
 * jemalloc lets a decay time pass in steps, each a little later than due by a draw from addresses. So time
 * goes on here in leaps of two steps, after which it is due for certain.
 */
static uint64_t step_of(uint64_t decay_ms)
{
	return 2 * (decay_ms * NS_PER_MS / DECAY_STEPS);
}

static int create_arenas(const struct alloc_env *env, struct allocator *a, unsigned int n)
{
	uint64_t dirty = env->option_uint(env, "dirty_decay_ms");
	uint64_t muzzy = env->option_uint(env, "muzzy_decay_ms");

	a->step_ns = max_u64(step_of(dirty), step_of(muzzy));
	for (; a->nr_arenas < n; a->nr_arenas++) {
		if (copy_arena_create(&a->extents.hooks, dirty, muzzy, &a->arenas[a->nr_arenas]))
			return allocator_fail(env->error, ENOMEM,
					      "no more than %u arenas could be created; give "
					      "narenas",
					      a->nr_arenas);
	}
	return 0;
}

static int create_caches(const struct alloc_env *env, struct allocator *a)
{
	for (unsigned int i = 0; i < a->nr_cpus; i++) {
		struct cpu *cpu = &a->cpus[i];

		cpu->from_arena = MALLOCX_ARENA(a->arenas[i % a->nr_arenas]);
		if (!env->option_bool(env, "tcache"))
			continue;
		if (copy_cache_create(&cpu->cache))
			return allocator_fail(env->error, ENOMEM,
					      "no more than %u caches could be created; use "
					      "tcache=off",
					      a->nr_caches);
		cpu->has_cache = true;
		a->nr_caches++;
	}
	return 0;
}

static size_t block_bytes(unsigned int order)
{
	return (size_t)1 << (order + FRAME_SHIFT);
}

static int block_flags(unsigned int order)
{
	return MALLOCX_LG_ALIGN((int)(order + FRAME_SHIFT));
}

static void learn_padding(struct allocator *a, bool pads)
{
	for (unsigned int order = 0; order <= MAX_ORDER; order++) {
		size_t bytes = quire_jemalloc_nallocx(block_bytes(order), block_flags(order));

		if (pads && bytes > SMALL_BYTES_MAX)
			bytes += (size_t)1 << FRAME_SHIFT;
		a->padding[order] = (bytes - block_bytes(order)) >> FRAME_SHIFT;
	}
}

static int fill(const struct alloc_env *env, struct allocator *a)
{
	bool pads = env->option_bool(env, "cache_oblivious");
	unsigned int narenas;
	int rc = resolve_narenas(env, &narenas);

	a->machine = env->machine;
	a->nr_cpus = env->machine->nr_cpus;
	if (!rc)
		rc = copy_start(pads, env->error);
	if (!rc)
		rc = extents_create(env, &a->extents);
	if (rc)
		return rc;
	a->live = env->meta(env, a->extents.map.frames, 64, META_VOLATILE);
	a->cpus = env->meta(env, a->nr_cpus * sizeof(*a->cpus), 64, META_VOLATILE);
	a->arenas = env->meta(env, narenas * sizeof(*a->arenas), 64, META_VOLATILE);
	if (!a->live || !a->cpus || !a->arenas)
		return allocator_fail(env->error, ENOMEM, "out of memory for metadata");
	learn_padding(a, pads);
	rc = create_arenas(env, a, narenas);
	return rc ? rc : create_caches(env, a);
}

static int create(const struct alloc_env *env, struct allocator **result)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);
	int rc;

	if (!a)
		return allocator_fail(env->error, ENOMEM, "out of memory for metadata");
	rc = fill(env, a);
	if (rc) {
		destroy(a);
		return rc;
	}
	*result = a;
	return 0;
}

/* ---- giving back what is cached ---- */

static void drain(struct allocator *a)
{
	for (unsigned int i = 0; i < a->nr_caches; i++) {
		spin_lock(&a->cpus[i].lock);
		copy_cache_flush(a->cpus[i].cache);
		spin_unlock(&a->cpus[i].lock);
	}
	for (unsigned int i = 0; i < a->nr_arenas; i++)
		copy_arena_purge(a->arenas[i]);
}

/* Empty everything, as a kernel does before it gives up. Return: false: nothing has happened since. */
static bool reclaim(struct allocator *a)
{
	bool used = false;

	for (unsigned int i = 0; i < a->nr_cpus; i++)
		used |= atomic_exchange_explicit(&a->cpus[i].used, false, memory_order_relaxed);
	if (!used)
		return false;
	atomic_fetch_add_explicit(&a->reclaims, 1, memory_order_relaxed);
	drain(a);
	return true;
}

static uint64_t tick(struct allocator *a, uint64_t now_ns)
{
	uint64_t now;

	if (a->step_ns == 0)
		return UINT64_MAX;
	now = now_ns - now_ns % a->step_ns;
	if (now > a->now_ns) {
		a->now_ns = now;
		for (unsigned int i = 0; i < a->nr_arenas; i++)
			copy_arena_decay(a->arenas[i], now);
	}
	return a->now_ns + a->step_ns;
}

/* ---- the interface ---- */

/* The flags of a call on @cpu; *@held: its cache is taken for it, until release(). */
static int use_cache(struct allocator *a, struct cpu *cpu, bool *held)
{
	*held = cpu->has_cache && spin_trylock(&cpu->lock);
	if (cpu->has_cache && !*held)
		atomic_fetch_add_explicit(&a->passed, 1, memory_order_relaxed);
	if (!atomic_load_explicit(&cpu->used, memory_order_relaxed))
		atomic_store_explicit(&cpu->used, true, memory_order_relaxed);
	return *held ? MALLOCX_TCACHE(cpu->cache) : MALLOCX_TCACHE_NONE;
}

static void release(struct cpu *cpu, bool held)
{
	if (held)
		spin_unlock(&cpu->lock);
}

static void *take(struct allocator *a, struct cpu *cpu, unsigned int order)
{
	bool held, was_used = atomic_load_explicit(&cpu->used, memory_order_relaxed);
	int flags = use_cache(a, cpu, &held);
	void *memory = quire_jemalloc_mallocx(block_bytes(order),
					      flags | cpu->from_arena | block_flags(order));

	release(cpu, held);
	if (!memory && !was_used)
		atomic_store_explicit(&cpu->used, false, memory_order_relaxed);
	return memory;
}

static struct alloc_result alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result result = {.pfn = PFN_NONE};
	struct cpu *cpu = &a->cpus[req->cpu];
	void *memory;

	if (req->order > MAX_ORDER)
		return result;
	memory = take(a, cpu, req->order);
	if (!memory && reclaim(a))
		memory = take(a, cpu, req->order);
	if (!memory)
		return result;
	result.pfn = extents_pfn(&a->extents, memory);
	atomic_store_explicit(&a->live[result.pfn - a->extents.map.base], (uint8_t)(req->order + 1),
			      memory_order_relaxed);
	return result;
}

static int free_block(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	const struct block_map *map = &a->extents.map;
	struct cpu *cpu = &a->cpus[req->cpu];
	_Atomic uint8_t *live;
	bool held;
	int flags;

	if (!block_map_has(map, pfn, req->order))
		return -EINVAL;
	live = &a->live[pfn - map->base];
	if (atomic_load_explicit(live, memory_order_relaxed) != req->order + 1)
		return -EINVAL;
	atomic_store_explicit(live, 0, memory_order_relaxed);
	flags = use_cache(a, cpu, &held);
	quire_jemalloc_dallocx(extents_address(&a->extents, pfn), flags);
	release(cpu, held);
	return 0;
}

/* ---- what it says about itself ---- */

typedef uint64_t __attribute__((may_alias)) eight_bytes;

/* Count the live blocks that begin in [@start, @end), by order. */
static void count_live(const struct allocator *a, pfn_t start, pfn_t end, uint64_t live[NR_ORDERS])
{
	const _Atomic uint8_t *bytes = a->live + (start - a->extents.map.base);

	for (uint64_t i = 0, n = end - start; i < n; i++) {
		uint8_t order;
		uint64_t word;

		if ((uintptr_t)&bytes[i] % sizeof(word) == 0 && n - i >= sizeof(word)) {
			word = __atomic_load_n((const eight_bytes *)&bytes[i], __ATOMIC_RELAXED);
			if (word == 0) {
				i += sizeof(word) - 1;
				continue;
			}
		}
		order = atomic_load_explicit(&bytes[i], memory_order_relaxed);
		if (order)
			live[order - 1]++;
	}
}

static uint64_t held_frames(const uint64_t live[NR_ORDERS])
{
	uint64_t frames = 0;

	for (unsigned int order = 0; order <= MAX_ORDER; order++)
		frames += live[order] << order;
	return frames;
}

static uint64_t own_bytes(const struct allocator *a)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < a->nr_arenas; i++)
		bytes += copy_arena_own_bytes(a->arenas[i]);
	return bytes;
}

static void tell_counters(const struct allocator *a, const uint64_t live[NR_ORDERS], uint64_t own,
			  struct allocator_stats *stats)
{
	uint64_t values[NR_COUNTERS];

	memcpy(values, a->extents.counts, sizeof(a->extents.counts));
	values[RECLAIMS] = atomic_load_explicit(&a->reclaims, memory_order_relaxed);
	values[PASSED] = atomic_load_explicit(&a->passed, memory_order_relaxed);
	values[PADDING] = 0;
	for (unsigned int order = 0; order <= MAX_ORDER; order++)
		values[PADDING] += live[order] * a->padding[order];
	values[OWN_BYTES] = own;
	for (unsigned int i = 0; i < NR_COUNTERS; i++) {
		stats->counters[i].name = counters[i].name;
		stats->counters[i].value = values[i];
	}
	stats->nr_counters = NR_COUNTERS;
}

/* Whatever nobody holds and is in no free range is cached: unused frames it keeps, and padding. */
static int stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	const struct block_map *map = &a->extents.map;
	struct spin *lock = (struct spin *)(uintptr_t)&a->extents.lock;
	pfn_t start = map->base, end = map->base + map->frames;
	uint64_t live[NR_ORDERS] = {0}, held, managed, own = 0;

	if (zone != ALLOCATOR_ALL_ZONES && zone >= a->machine->nr_zones)
		return -EINVAL;
	if (zone != ALLOCATOR_ALL_ZONES) {
		start = a->machine->zones[zone].start;
		end = a->machine->zones[zone].end;
	}
	memset(stats, 0, sizeof(*stats));
	managed = machine_managed_in(a->machine, start, end);
	/* Before the lock: jemalloc takes its own, under which it comes to ask us for extents. */
	if (zone == ALLOCATOR_ALL_ZONES)
		own = own_bytes(a);
	spin_lock(lock);
	stats->free_frames = block_map_count(map, start, end, stats->free_blocks[MIGRATE_MOVABLE]);
	count_live(a, start, end, live);
	if (zone == ALLOCATOR_ALL_ZONES)
		tell_counters(a, live, own, stats);
	spin_unlock(lock);
	held = held_frames(live) + stats->free_frames;
	stats->cached_frames = managed > held ? managed - held : 0;
	return 0;
}

static void occupancy(const struct allocator *a, uint64_t first, size_t n, uint16_t *free_frames)
{
	const struct block_map *map = &a->extents.map;

	for (size_t i = 0; i < n; i++) {
		pfn_t start = (first + i) * HUGE_FRAMES, end = start + HUGE_FRAMES;
		pfn_t large = align_down(start, block_frames(MAX_ORDER));
		uint64_t live[NR_ORDERS] = {0}, held, managed;

		free_frames[i] = 0;
		if (start < map->base || start >= map->base + map->frames)
			continue;
		count_live(a, start, end, live);
		/* A block of the largest order is longer than that: it may have begun before. */
		held = live[MAX_ORDER] ? HUGE_FRAMES : held_frames(live);
		if (atomic_load_explicit(&a->live[large - map->base], memory_order_relaxed) ==
		    MAX_ORDER + 1)
			held = HUGE_FRAMES;
		managed = machine_managed_in(a->machine, start, end);
		free_frames[i] = (uint16_t)(managed > held ? managed - held : 0);
	}
}

static int check(const struct allocator *a, struct error *err)
{
	const struct block_map *map = &a->extents.map;
	pfn_t free_from = map->base; /* everything below is no part of a live block */
	int rc = block_map_check(map, err);

	for (uint64_t i = 0; rc == 0 && i < map->frames; i++) {
		uint8_t order = a->live[i];
		pfn_t pfn = map->base + i;

		if (order == 0)
			continue;
		order--;
		if (pfn < free_from || !block_map_has(map, pfn, order))
			rc = allocator_fail(err, EUCLEAN,
					    "pfn %" PRIu64 ", order %u: misaligned, or in another "
					    "block",
					    pfn, order);
		else if (!bitmap_all_ones(&map->taken[0], i, order))
			rc = allocator_fail(err, EUCLEAN,
					    "pfn %" PRIu64 ", order %u: live, yet in a free range",
					    pfn, order);
		free_from = pfn + block_frames(order);
	}
	return rc;
}

const struct allocator_ops jemalloc_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "jemalloc",
	.summary = "user space's baseline, its extents taken from the same frames; pads blocks",
	.capabilities = ALLOCATOR_CONCURRENT | ALLOCATOR_PADS,
	.options = options,
	.counters = counters,
	.create = create,
	.destroy = destroy,
	.alloc = alloc,
	.free = free_block,
	.drain = drain,
	.tick = tick,
	.stats = stats,
	.occupancy = occupancy,
	.check = check,
};
