/* SPDX-License-Identifier: MIT */
/*
 * What `jemalloc` promises beyond the conformance suite: where its blocks lie, that it never touches them,
 * that the same calls place them alike in every process, that trace time alone makes it give memory back,
 * and that it is nobody's malloc.
 *
 * Settings of jemalloc are the process's. So some of this runs in processes of their own: this program with
 * the name of a scene as its argument.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/jemalloc/extents.h"
#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define NR_CPUS	  4
#define NS_PER_MS UINT64_C(1000000)
#define BLOCKS	  4000

struct rig {
	struct machine *m;
	struct allocator_spec *spec;
	struct allocator_instance *instance;
	const struct allocator_ops *ops;
	struct allocator *a;
};

static int try_create(struct rig *r, const char *text, struct error *err)
{
	int rc = allocator_spec_parse(text, &r->spec, err);

	if (rc)
		return rc;
	rc = allocator_instance_create(r->spec, r->m, NULL, &r->instance, err);
	if (rc) {
		allocator_spec_destroy(r->spec);
		return rc;
	}
	r->ops = r->spec->ops;
	r->a = r->instance->a;
	return 0;
}

static void begin(struct rig *r, const char *text, uint64_t bytes)
{
	struct error err;

	assert_int_equal(machine_from_memory(bytes, NR_CPUS, &r->m, NULL), 0);
	if (try_create(r, text, &err))
		fail_msg("%s", err.text);
}

static void end(struct rig *r)
{
	allocator_instance_destroy(r->instance);
	allocator_spec_destroy(r->spec);
	machine_destroy(r->m);
}

static struct alloc_request request(unsigned int order, unsigned int cpu)
{
	return (struct alloc_request){.hint_pfn = PFN_NONE,
				      .cpu = (uint16_t)cpu,
				      .order = (uint8_t)order,
				      .migratetype = MIGRATE_MOVABLE};
}

static pfn_t get(struct rig *r, unsigned int order, unsigned int cpu)
{
	struct alloc_request req = request(order, cpu);

	return r->ops->alloc(r->a, &req).pfn;
}

static void put(struct rig *r, pfn_t pfn, unsigned int order, unsigned int cpu)
{
	struct alloc_request req = request(order, cpu);

	assert_int_equal(r->ops->free(r->a, pfn, &req), 0);
}

static struct allocator_stats stats_of(struct rig *r)
{
	struct allocator_stats stats;

	assert_int_equal(r->ops->stats(r->a, ALLOCATOR_ALL_ZONES, &stats), 0);
	return stats;
}

static uint64_t counter(struct rig *r, const char *name)
{
	struct allocator_stats stats = stats_of(r);

	for (size_t i = 0; i < stats.nr_counters; i++) {
		if (strcmp(stats.counters[i].name, name) == 0)
			return stats.counters[i].value;
	}
	fail_msg("no counter %s", name);
	return 0;
}

/* ---- scenes: what other processes play ---- */

/* splitmix64 (Steele, Lea, Flood) */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

struct play {
	struct rig *r;
	uint64_t random, now_ns, deadline_ns, sum;
	size_t live;
	struct {
		pfn_t pfn;
		unsigned int order;
	} block[BLOCKS];
};

/* Blocks come and go in waves, on all cpus, over minutes of trace time; *sum becomes a hash of all of it. */
static void play_step(struct play *p, unsigned int i)
{
	uint64_t what = next_random(&p->random);
	unsigned int order = what % 3 ? 0 : (unsigned int)(what / 3 % NR_ORDERS);
	unsigned int cpu = (unsigned int)(what / 64 % NR_CPUS);
	bool filling = i / 3000 % 2 == 0;

	p->now_ns += what / 4096 % (20 * NS_PER_MS);
	if (p->now_ns >= p->deadline_ns)
		p->deadline_ns = p->r->ops->tick(p->r->a, p->now_ns);
	if (what / 256 % 100 < (filling ? 70 : 25) && p->live < BLOCKS) {
		pfn_t pfn = get(p->r, order, cpu);

		p->sum = (p->sum ^ pfn) * UINT64_C(0x100000001b3);
		if (pfn == PFN_NONE)
			return;
		p->block[p->live].order = order;
		p->block[p->live++].pfn = pfn;
	} else if (p->live) {
		size_t k = what / 65536 % p->live;

		put(p->r, p->block[k].pfn, p->block[k].order, cpu);
		p->block[k] = p->block[--p->live];
	}
}

#define STEPS 30000

static uint64_t play(struct rig *r)
{
	struct play *p = calloc(1, sizeof(*p));
	uint64_t sum;

	p->r = r;
	for (unsigned int i = 0; i < STEPS; i++)
		play_step(p, i);
	sum = p->sum ^ stats_of(r).free_frames << 32 ^ counter(r, "purged_frames");
	assert_true(counter(r, "purged_frames") > 0);
	free(p);
	return sum;
}

static void scene_play(const char *text)
{
	struct rig r;

	begin(&r, text, 512 << 20);
	printf("%" PRIx64 " %p\n", play(&r), extents_address((struct extents *)r.a, 0));
	end(&r);
}

static int by_pfn(const void *a, const void *b)
{
	const pfn_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

#define NEIGHBOURS 32

/* The distance at which most of some blocks of an order lie, in frames. */
static uint64_t distance(const char *text, unsigned int order)
{
	uint64_t votes = 0, least = UINT64_MAX;
	pfn_t pfn[NEIGHBOURS];
	struct rig r;

	begin(&r, text, 1 << 30);
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		pfn[i] = get(&r, order, 0);
		assert_int_not_equal(pfn[i], PFN_NONE);
		assert_true(is_aligned(pfn[i], UINT64_C(1) << order));
	}
	qsort(pfn, NEIGHBOURS, sizeof(*pfn), by_pfn);
	for (size_t i = 1; i < NEIGHBOURS; i++)
		least = min_u64(least, pfn[i] - pfn[i - 1]);
	for (size_t i = 1; i < NEIGHBOURS; i++)
		votes += pfn[i] - pfn[i - 1] == least;
	assert_true(votes > NEIGHBOURS / 2);
	end(&r);
	return least;
}

static void scene_distances(const char *text)
{
	for (unsigned int order = 0; order <= MAX_ORDER; order++)
		printf("%" PRIu64 " ", distance(text, order));
	putchar('\n');
}

/* Play a scene in a process of its own, in an environment. Return: its line, malloc'ed. */
static char *elsewhere(const char *environment, const char *scene, const char *text)
{
	char self[512], command[1024], line[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	FILE *pipe;

	assert_true(n > 0);
	self[n] = '\0';
	snprintf(command, sizeof(command), "env %s '%s' %s '%s'", environment, self, scene, text);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	if (!fgets(line, sizeof(line), pipe))
		fail_msg("%s: said nothing", command);
	assert_int_equal(pclose(pipe), 0);
	return strdup(line);
}

/* ---- where blocks lie ---- */

static void blocks_lie_as_far_apart_as_jemalloc_s_classes(void **state)
{
	char *line = elsewhere("A=b", "distances", "jemalloc");

	(void)state;
	/* a page more than the class, rounded up to the alignment: order 2 at 32 KiB, order 9 at 4 MiB */
	assert_string_equal(line, "1 6 8 16 32 64 128 256 512 1024 2048 \n");
	free(line);
	line = elsewhere("A=b", "distances", "jemalloc:cache_oblivious=off");
	assert_string_equal(line, "1 4 4 8 16 32 64 128 256 512 1024 \n");
	free(line);
}

static void one_process_has_one_setting(void **state)
{
	struct error err = {0};
	struct rig on, off;

	(void)state;
	begin(&on, "jemalloc", 64 << 20);
	off.m = on.m;
	assert_int_equal(try_create(&off, "jemalloc:cache_oblivious=off", &err), -EBUSY);
	assert_non_null(strstr(err.text, "cache_oblivious=on"));
	assert_int_not_equal(get(&on, 3, 0), PFN_NONE);
	end(&on);
}

static void padding_is_all_that_is_cached_behind_a_drain(void **state)
{
	uint64_t held = 0;
	struct rig r;

	(void)state;
	begin(&r, "jemalloc", 256 << 20);
	for (unsigned int i = 0; i < 2000; i++) {
		unsigned int order = i % 5 ? i % 4 : i % NR_ORDERS;
		pfn_t pfn = get(&r, order, i % NR_CPUS);

		if (pfn == PFN_NONE)
			continue;
		if (i % 3)
			held += UINT64_C(1) << order;
		else
			put(&r, pfn, order, (i + 1) % NR_CPUS);
	}
	assert_true(stats_of(&r).cached_frames > counter(&r, "padding_frames"));
	r.ops->drain(r.a);
	assert_true(counter(&r, "padding_frames") > 0);
	assert_int_equal(stats_of(&r).cached_frames, counter(&r, "padding_frames"));
	assert_int_equal(stats_of(&r).free_frames + stats_of(&r).cached_frames,
			 (256 << 20) / 4096 - held);
	end(&r);
}

/* ---- the machine's limits ---- */

static void refuses_when_the_frames_are_used_up(void **state)
{
	struct rig r;
	uint64_t n = 0, refused;
	pfn_t last = PFN_NONE, pfn;

	(void)state;
	begin(&r, "jemalloc", 64 << 20);
	while ((pfn = get(&r, 0, n % NR_CPUS)) != PFN_NONE) {
		last = pfn;
		n++;
	}
	assert_int_equal(n, (64 << 20) / 4096);
	refused = counter(&r, "extents_refused");
	assert_true(refused > 0);
	assert_int_equal(stats_of(&r).free_frames + stats_of(&r).cached_frames, 0);
	assert_int_equal(get(&r, 9, 0), PFN_NONE);
	assert_true(counter(&r, "extents_refused") > refused);
	/* Another cpu gets what lies in one's cache. */
	put(&r, last, 0, 1);
	assert_int_equal(get(&r, 0, 2), last);
	assert_true(counter(&r, "reclaims") > 0);
	end(&r);
}

static void absent_frames_are_never_part_of_an_extent(void **state)
{
	const struct zone zones[] = {{.start = 1, .end = 6900, .type = ZONE_DMA32},
				     {.start = 6900, .end = 20001, .type = ZONE_NORMAL}};
	const struct absent_range absent[] = {{{159, 256}, ABSENT_HOLE},
					      {{5000, 5001}, ABSENT_RESERVED},
					      {{9000, 12000}, ABSENT_OFFLINE}};
	unsigned int counts[NR_ORDERS] = {0};
	struct error err;
	struct rig r;
	pfn_t pfn;

	(void)state;
	assert_int_equal(machine_create(NR_CPUS, 1, &r.m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(machine_add_zone(r.m, &zones[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		assert_int_equal(machine_add_absent(r.m, absent[i].range, absent[i].why, NULL), 0);
	if (try_create(&r, "jemalloc", &err))
		fail_msg("%s", err.text);
	for (unsigned int order = NR_ORDERS; order-- > 0;) {
		while ((pfn = get(&r, order, 0)) != PFN_NONE) {
			pfn_t last = pfn + (UINT64_C(1) << order);

			assert_true(is_aligned(pfn, UINT64_C(1) << order));
			assert_int_equal(machine_managed_in(r.m, pfn, last), last - pfn);
			assert_false(pfn < 6900 && last > 6900);
			counts[order]++;
		}
	}
	assert_true(counts[MAX_ORDER] > 3 && counts[3] > 0 && counts[0] > 0);
	assert_int_equal(stats_of(&r).free_frames, 0);
	assert_int_equal(r.ops->check(r.a, &err), 0);
	end(&r);
}

/* ---- memory nobody touches ---- */

static void its_frames_cannot_be_accessed(void **state)
{
	const struct extents *x;
	struct rig r;
	int ends[2];
	pfn_t huge, one;

	(void)state;
	begin(&r, "jemalloc", 512 << 20);
	play(&r); /* and lives */
	x = (const struct extents *)r.a;
	huge = get(&r, 9, 0);
	one = get(&r, 0, 0);
	assert_int_equal(pipe(ends), 0);
	for (pfn_t pfn = 0; pfn < (512 << 20) / 4096; pfn += pfn < 1024 ? 1 : 509) {
		assert_int_equal(write(ends[1], extents_address(x, pfn), 1), -1);
		assert_int_equal(errno, EFAULT);
	}
	assert_int_equal(extents_pfn(x, extents_address(x, huge)), huge);
	put(&r, one, 0, 0);
	put(&r, huge, 9, 0);
	close(ends[0]);
	close(ends[1]);
	end(&r);
}

/* ---- the same everywhere ---- */

static void places_alike_in_every_process(void **state)
{
	/* The user's settings of jemalloc are for the user's jemalloc. */
	static const char *const environments[] = {
		"A=b", "A=b", "MALLOC_CONF=dirty_decay_ms:0,narenas:7,tcache:false",
		"B=longer_than_the_others"};
	static const char *const specs[] = {"jemalloc", "jemalloc:narenas=1,muzzy_decay_ms=3000",
					    "jemalloc:tcache=off,cache_oblivious=off"};
	bool moved = false;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(specs); s++) {
		char *first = elsewhere("A=b", "play", specs[s]);

		for (size_t i = 0; i < ARRAY_SIZE(environments); i++) {
			char *other = elsewhere(environments[i], "play", specs[s]);

			if (strncmp(first, other, strcspn(first, " ")) != 0)
				fail_msg("%s, %s: '%s', not '%s'", specs[s], environments[i], other,
					 first);
			moved |= strcmp(first, other) != 0;
			free(other);
		}
		free(first);
	}
	if (!moved)
		print_message("# addresses are not random here, which proves less\n");
}

static void an_instance_is_like_the_ones_before_and_beside_it(void **state)
{
	struct play *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
	struct rig first, second;
	uint64_t expected;

	(void)state;
	begin(&first, "jemalloc", 512 << 20);
	expected = play(&first);
	end(&first);
	begin(&second, "jemalloc", 512 << 20);
	assert_int_equal(play(&second), expected);
	end(&second);
	/* Side by side, the second an hour of trace time ahead. */
	begin(&first, "jemalloc", 512 << 20);
	begin(&second, "jemalloc", 512 << 20);
	*a = (struct play){.r = &first};
	*b = (struct play){.r = &second, .now_ns = 3600000 * NS_PER_MS};
	for (unsigned int i = 0; i < STEPS; i++) {
		play_step(a, i);
		play_step(b, i);
	}
	assert_int_equal(a->sum ^ stats_of(&first).free_frames << 32 ^
				 counter(&first, "purged_frames"),
			 expected);
	end(&first);
	end(&second);
	free(a);
	free(b);
}

/* ---- trace time ---- */

/* 256 huge blocks' worth of frames, freed past the caches. */
static void dirty(struct rig *r)
{
	pfn_t pfn[64];

	for (size_t i = 0; i < ARRAY_SIZE(pfn); i++)
		pfn[i] = get(r, 8, 0);
	for (size_t i = 0; i < ARRAY_SIZE(pfn); i++)
		put(r, pfn[i], 8, 0);
}

static void gives_memory_back_in_trace_time(void **state)
{
	uint64_t deadline, now = 500 * NS_PER_MS, most, last;
	struct rig r;

	(void)state;
	begin(&r, "jemalloc:dirty_decay_ms=2000", 256 << 20);
	deadline = r.ops->tick(r.a, now);
	assert_true(deadline > now && deadline <= now + 20 * NS_PER_MS);
	dirty(&r);
	most = last = stats_of(&r).cached_frames;
	assert_true(most > 8192);
	/* However long it takes here, and however often it is looked at: no time has passed. */
	usleep(20000);
	for (unsigned int i = 0; i < 20000; i++)
		put(&r, get(&r, 0, 1), 0, 1);
	assert_int_equal(counter(&r, "purged_frames"), 0);
	last = stats_of(&r).cached_frames;
	for (unsigned int steps = 0; now < 2600 * NS_PER_MS; steps++) {
		uint64_t cached;

		now = deadline;
		deadline = r.ops->tick(r.a, now);
		cached = stats_of(&r).cached_frames;
		assert_true(cached <= last);
		last = cached;
		if (now == 1500 * NS_PER_MS) /* half of the time, half of it */
			assert_true(cached > most / 4 && cached < most * 3 / 4);
	}
	assert_true(last < 64);
	assert_true(counter(&r, "purged_frames") >= most - 64);
	end(&r);
}

static void gives_memory_back_at_once_if_told_so(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, "jemalloc:dirty_decay_ms=0", 256 << 20);
	assert_int_equal(r.ops->tick(r.a, 1), UINT64_MAX);
	dirty(&r);
	assert_int_equal(stats_of(&r).cached_frames, 0);
	end(&r);
}

static void keeps_discarded_memory_a_while_if_told_so(void **state)
{
	uint64_t now = 0;
	struct rig r;

	(void)state;
	begin(&r, "jemalloc:dirty_decay_ms=1000,muzzy_decay_ms=1000", 256 << 20);
	r.ops->tick(r.a, now);
	dirty(&r);
	while (now < 1100 * NS_PER_MS)
		now = r.ops->tick(r.a, now);
	assert_true(counter(&r, "muzzy_frames") > 8192);
	assert_true(stats_of(&r).cached_frames > 0);
	while (now < 3000 * NS_PER_MS)
		now = r.ops->tick(r.a, now);
	assert_true(stats_of(&r).cached_frames < 64);
	end(&r);
}

/* ---- options, and what it must not be ---- */

static void narenas_is_a_number_or_percpu(void **state)
{
	static const char *const bad[] = {"0", "x", "", "-1", "1025", "2x", "percpus"};
	struct error err;
	struct rig r;

	(void)state;
	begin(&r, "jemalloc:narenas=percpu", 64 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rig other = {.m = r.m};
		char text[64];

		snprintf(text, sizeof(text), "jemalloc:narenas=%s", bad[i]);
		assert_int_equal(try_create(&other, text, &err), -EINVAL);
		assert_non_null(strstr(err.text, "narenas"));
	}
	end(&r);
	begin(&r, "jemalloc:narenas=1000", 64 << 20);
	end(&r);
}

/* Its functions are ours alone: malloc stays the C library's. */
static void leaks_no_name(void **state)
{
	static const char *const names[] = {"mallocx",	       "dallocx",	    "nallocx",
					    "mallctl",	       "malloc_conf",	    "sdallocx",
					    "je_sz_large_pad", "malloc_stats_print"};
	char line[512], name[256];
	size_t ours = 0;
	FILE *nm = popen("nm --defined-only \"$(readlink /proc/$PPID/exe)\"", "r");

	(void)state;
	assert_non_null(nm);
	while (fgets(line, sizeof(line), nm)) {
		char type = 0;

		if (sscanf(line, "%*s %c %255s", &type, name) != 2)
			continue;
		ours += type == 'T' && strncmp(name, "quire_jemalloc_", 15) == 0;
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			if (strcmp(name, names[i]) == 0 && strchr("TDBVW", type))
				fail_msg("%s is visible: %s", name, line);
		}
	}
	assert_int_equal(pclose(nm), 0);
	assert_true(ours >= 4);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_lie_as_far_apart_as_jemalloc_s_classes),
		cmocka_unit_test(one_process_has_one_setting),
		cmocka_unit_test(padding_is_all_that_is_cached_behind_a_drain),
		cmocka_unit_test(refuses_when_the_frames_are_used_up),
		cmocka_unit_test(absent_frames_are_never_part_of_an_extent),
		cmocka_unit_test(its_frames_cannot_be_accessed),
		cmocka_unit_test(places_alike_in_every_process),
		cmocka_unit_test(an_instance_is_like_the_ones_before_and_beside_it),
		cmocka_unit_test(gives_memory_back_in_trace_time),
		cmocka_unit_test(gives_memory_back_at_once_if_told_so),
		cmocka_unit_test(keeps_discarded_memory_a_while_if_told_so),
		cmocka_unit_test(narenas_is_a_number_or_percpu),
		cmocka_unit_test(leaks_no_name),
	};

	if (argc > 2) {
		(strcmp(argv[1], "play") == 0 ? scene_play : scene_distances)(argv[2]);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
