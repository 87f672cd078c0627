/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "traces/record/procfs.h"

static struct procfs fixture(const char *name, char *path, size_t size)
{
	const char *source = getenv("QUIRE_SOURCE");

	assert_non_null(source);
	snprintf(path, size, "%s/tests/data/procfs/%s", source, name);
	return (struct procfs){path};
}

static struct frame_map *empty_counts(const struct machine *m)
{
	struct frame_map *map;

	assert_int_equal(frame_map_fresh(m, &map, NULL), 0);
	assert_int_equal(frame_map_add_zones(map, NULL), 0);
	return map;
}

/* ---- a root directory made by a test ---- */

struct root {
	char path[64];
	struct procfs fs;
};

static void root_file(const struct root *r, const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", r->path, name);
}

static void root_write(const struct root *r, const char *name, const void *data, size_t n)
{
	char path[256];
	FILE *f;

	root_file(r, name, path, sizeof(path));
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void root_text(const struct root *r, const char *name, const char *text)
{
	root_write(r, name, text, strlen(text));
}

static void root_create(struct root *r)
{
	char path[256];

	snprintf(r->path, sizeof(r->path), "quire-procfs-XXXXXX");
	assert_non_null(mkdtemp(r->path));
	root_file(r, "proc", path, sizeof(path));
	assert_int_equal(mkdir(path, 0700), 0);
	r->fs.root = r->path;
}

static void root_remove(const struct root *r)
{
	static const char *const names[] = {"proc/zoneinfo",   "proc/iomem",
					    "proc/buddyinfo",  "proc/pagetypeinfo",
					    "proc/kpageflags", "proc/kpagecount"};
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		root_file(r, names[i], path, sizeof(path));
		unlink(path);
	}
	root_file(r, "proc", path, sizeof(path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(r->path), 0);
}

static const char good_zoneinfo[] = "Node 0, zone   Normal\n"
				    "  pages free     100\n"
				    "        min      1\n"
				    "        low      2\n"
				    "        high     3\n"
				    "        spanned  1024\n"
				    "        present  1024\n"
				    "        managed  1000\n"
				    "        protection: (0, 0)\n"
				    "  pagesets\n"
				    "    cpu: 0\n"
				    "              count: 5\n"
				    "  start_pfn:           1024\n";
static const char good_iomem[] = "00400000-007fffff : System RAM\n";
static const char good_buddyinfo[] = "Node 0, zone   Normal 1 2 3 4 5 6 7 8 9 10 11 \n";
static const char good_pagetypeinfo[] =
	"Page block order: 9\n"
	"Pages per block:  512\n"
	"\n"
	"Free pages count per migrate type at order 0\n"
	"Node 0, zone Normal, type Movable 1 2 3 4 5 6 7 8 9 10 11\n"
	"\n"
	"Number of blocks type Unmovable Movable\n"
	"Node 0, zone Normal 1 1\n";

static void root_good(struct root *r)
{
	root_create(r);
	root_text(r, "proc/zoneinfo", good_zoneinfo);
	root_text(r, "proc/iomem", good_iomem);
	root_text(r, "proc/buddyinfo", good_buddyinfo);
	root_text(r, "proc/pagetypeinfo", good_pagetypeinfo);
}

/* Machine and counts of a root: what a recorder does first. */
static int read_all(const struct procfs *fs, struct error *err)
{
	struct migratetype_names names;
	struct frame_map *map;
	struct machine *m;
	int rc;

	rc = procfs_machine(fs, &m, err);
	if (rc)
		return rc;
	map = empty_counts(m);
	rc = procfs_counts(fs, map, err);
	if (rc == 0)
		rc = procfs_migratetypes(fs, &names, err);
	frame_map_destroy(map);
	machine_destroy(m);
	return rc;
}

/* ---- text files ---- */

static void a_recorded_machine_is_described(void **state)
{
	char path[512];
	struct procfs fs = fixture("linux-6.18", path, sizeof(path));
	struct machine *m;
	struct error err;

	(void)state;
	assert_int_equal(procfs_machine(&fs, &m, &err), 0);
	assert_int_equal(machine_check(m, &err), 0);
	assert_int_equal(m->nr_cpus, 2);
	assert_int_equal(m->nr_nodes, 1);
	assert_int_equal(m->pageblock_order, 9);
	assert_int_equal(m->nr_zones, 3);
	assert_int_equal(m->zones[0].type, ZONE_DMA);
	assert_int_equal(m->zones[0].start, 1);
	assert_int_equal(m->zones[0].end, 4096);
	assert_int_equal(m->zones[2].type, ZONE_NORMAL);
	assert_int_equal(m->zones[2].start, 0x100000);
	assert_int_equal(m->zones[2].end, 0x640000);
	assert_int_equal(m->zones[2].managed, 4980736);
	assert_int_equal(m->zones[2].watermark.promo, 29556);
	assert_int_equal(m->zones[1].lowmem_reserve[ZONE_NORMAL], 19456);
	assert_int_equal(m->zones[1].lowmem_reserve[ZONE_DMA32], 0);
	/* What is not a hole is what the kernel calls present. */
	for (uint32_t i = 0; i < m->nr_zones; i++)
		assert_int_equal(machine_managed_in(m, m->zones[i].start, m->zones[i].end),
				 m->zones[i].present);
	machine_destroy(m);
}

static void counts_of_a_recorded_machine_are_read(void **state)
{
	char path[512];
	struct procfs fs = fixture("linux-6.18", path, sizeof(path));
	struct frame_map *map;
	struct machine *m;
	struct error err;
	uint64_t blocks = 0;

	(void)state;
	assert_int_equal(procfs_machine(&fs, &m, &err), 0);
	map = empty_counts(m);
	assert_int_equal(procfs_counts(&fs, map, &err), 0);
	assert_int_equal(map->zones[2].nr_free[0], 9680);
	assert_int_equal(map->zones[2].nr_free[10], 4070);
	assert_int_equal(map->zones[2].managed, 4980736);
	assert_int_equal(map->zones[2].free_frames, 4290733);
	assert_int_equal(map->zones[2].pcp[0].count, 28634);
	assert_int_equal(map->zones[2].pcp[1].high, 9924);
	assert_int_equal(map->zones[2].pcp[1].high_min, 9798);
	assert_int_equal(map->zones[2].pcp[1].high_max, 311296);
	assert_int_equal(map->zones[2].blocks_by_type[MIGRATE_RECLAIMABLE], 77);
	assert_int_equal(map->zones[2].blocks_by_type[MIGRATE_CMA], 0);
	for (unsigned int t = 0; t < MIGRATE_TYPES; t++)
		blocks += map->zones[2].blocks_by_type[t];
	assert_in_range(blocks, 4980736 / 512, 5505024 / 512);
	/* The three files were read one after the other on an idle machine. */
	for (unsigned int o = 0; o < NR_ORDERS; o++)
		assert_int_equal(map->zones[0].free_by_type[MIGRATE_MOVABLE][o] +
					 map->zones[0].free_by_type[MIGRATE_UNMOVABLE][o],
				 map->zones[0].nr_free[o]);
	frame_map_destroy(map);
	machine_destroy(m);
}

static void nodes_cma_and_boost_are_told_apart(void **state)
{
	char path[512];
	struct procfs fs = fixture("two-nodes", path, sizeof(path));
	uint64_t managed[MACHINE_ZONES_MAX];
	struct frame_map *map;
	struct machine *m;
	struct error err;

	(void)state;
	assert_int_equal(procfs_machine(&fs, &m, &err), 0);
	assert_int_equal(machine_check(m, &err), 0);
	assert_int_equal(m->nr_nodes, 2);
	assert_int_equal(m->nr_zones, 5);
	assert_int_equal(m->nr_cpus, 4);
	assert_int_equal(m->node_of_cpu[0], 0);
	assert_int_equal(m->node_of_cpu[1], 1);
	assert_int_equal(m->node_of_cpu[2], 0);
	assert_int_equal(m->node_of_cpu[3], 1);
	/* The boost of 512 is in what the kernel prints, not in the watermark. */
	assert_int_equal(m->zones[2].watermark.min, 1000);
	assert_int_equal(m->zones[2].watermark.high, 1500);
	assert_int_equal(m->zones[2].watermark.promo, 0);
	assert_int_equal(m->zones[3].node, 1);
	assert_int_equal(m->zones[3].lowmem_reserve[ZONE_NORMAL], 0);
	assert_int_equal(m->zones[3].lowmem_reserve[ZONE_MOVABLE], 1024);
	assert_int_equal(m->zones[4].type, ZONE_MOVABLE);

	map = empty_counts(m);
	assert_int_equal(procfs_counts(&fs, map, &err), 0);
	assert_int_equal(map->zones[2].boost, 512);
	assert_int_equal(map->zones[3].nr_free[4], 304);
	assert_int_equal(map->zones[1].free_by_type[MIGRATE_CMA][2], 1402);
	assert_int_equal(map->zones[1].free_by_type[MIGRATE_ISOLATE][2], 1502);
	assert_int_equal(map->zones[1].blocks_by_type[MIGRATE_CMA], 14);
	assert_int_equal(map->zones[1].blocks_by_type[MIGRATE_ISOLATE], 15);
	assert_int_equal(map->zones[0].blocks_by_type[MIGRATE_MOVABLE], 1); /* not the mixed ones */
	assert_int_equal(map->zones[4].pcp[3].count, 40);
	assert_int_equal(map->zones[4].pcp[3].high_max, 0);
	/* ">100000" */
	assert_int_equal(map->zones[4].free_by_type[MIGRATE_MOVABLE][0], 100000);

	assert_int_equal(procfs_managed(&fs, m, managed, &err), 0);
	assert_int_equal(managed[0], 3840);
	assert_int_equal(managed[4], 262144);
	frame_map_destroy(map);
	machine_destroy(m);
}

static void migratetype_numbers_follow_the_columns(void **state)
{
	struct migratetype_names names;
	char path[512];
	struct procfs fs = fixture("linux-6.18", path, sizeof(path));

	(void)state;
	assert_int_equal(procfs_migratetypes(&fs, &names, NULL), 0);
	assert_int_equal(names.count, 5);
	assert_int_equal(names.type[3], MIGRATE_HIGHATOMIC);
	assert_int_equal(names.type[4], MIGRATE_ISOLATE);
	fs = fixture("two-nodes", path, sizeof(path));
	assert_int_equal(procfs_migratetypes(&fs, &names, NULL), 0);
	assert_int_equal(names.count, 6);
	assert_int_equal(names.type[4], MIGRATE_CMA);
	assert_int_equal(names.type[5], MIGRATE_ISOLATE);
}

static void each_missing_file_is_named(void **state)
{
	static const char *const names[] = {"proc/zoneinfo", "proc/iomem", "proc/buddyinfo",
					    "proc/pagetypeinfo"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct error err = {0};
		char path[256];
		struct root r;

		root_good(&r);
		root_file(&r, names[i], path, sizeof(path));
		assert_int_equal(unlink(path), 0);
		assert_int_equal(read_all(&r.fs, &err), -ENOENT);
		assert_non_null(strstr(err.text, names[i]));
		root_remove(&r);
	}
}

static void hidden_addresses_need_root(void **state)
{
	struct error err;
	struct root r;

	(void)state;
	root_good(&r);
	root_text(&r, "proc/iomem", "00000000-00000000 : System RAM\n");
	assert_int_equal(read_all(&r.fs, &err), -EACCES);
	assert_non_null(strstr(err.text, "root"));
	root_remove(&r);
}

static void what_does_not_parse_is_told_with_file_and_line(void **state)
{
	static const struct {
		const char *file, *text, *place;
	} cases[] = {
		{"proc/zoneinfo", "", "zoneinfo: line 0"},
		{"proc/zoneinfo", "hello\n", "zoneinfo: line 1"},
		{"proc/zoneinfo", "Node 0, zone Normal\n  pages free  many\n", "zoneinfo: line 2"},
		{"proc/zoneinfo", "Node 0, zone Normal\n  pagesets\n    cpu: x\n",
		 "zoneinfo: line 3"},
		{"proc/zoneinfo", "Node 0, zone Normal\n cpu: 99999999\n", "zoneinfo: line 2"},
		{"proc/zoneinfo", "Node 0, zone Normal\n protection: (1, 2\n", "zoneinfo: line 2"},
		{"proc/zoneinfo", "Node 0, zone Normal\n  present 5\n  spanned 5\n",
		 "zoneinfo: line 1"},
		{"proc/zoneinfo", "Node 0, zone Strange\n  present 5\n  spanned 5\n start_pfn: 0\n",
		 "zoneinfo: line 1"},
		{"proc/zoneinfo",
		 "Node 0, zone Normal\n  present 9\n  spanned 5\n start_pfn: 0\n cpu: 0\n",
		 "zoneinfo: line 1"},
		{"proc/zoneinfo", "Node 0, zone Normal\n  present 99999999999999999999\n",
		 "zoneinfo: line 2"},
		{"proc/iomem", "", "iomem: line 0"},
		{"proc/iomem", "00000000-000fffff : System ROM\n", "iomem: line 1"},
		{"proc/iomem", "00400000-007fffff : System RAM\nxyz\n", "iomem: line 2"},
		{"proc/iomem", "00400000-003fffff : System RAM\n", "iomem: line 1"},
		{"proc/buddyinfo", "Node 0, zone Normal 1 2 3\n", "buddyinfo: line 1"},
		{"proc/buddyinfo", "Node 0, zone Normal 1 2 3 4 5 6 7 8 9 10 11 12\n",
		 "buddyinfo: line 1"},
		{"proc/buddyinfo", "Mode 0\n", "buddyinfo: line 1"},
		{"proc/pagetypeinfo", "", "pagetypeinfo: line 0"},
		{"proc/pagetypeinfo", "Page block order: ten\n", "pagetypeinfo: line 1"},
		{"proc/pagetypeinfo", "Page block order: 13\n", "pagetypeinfo: line 1"},
		{"proc/pagetypeinfo", "Page block order: 9\nNode 0, zone Normal, type Movable 1\n",
		 "pagetypeinfo: line 2"},
		{"proc/pagetypeinfo", "Page block order: 9\nNode 0, zone Normal 1\n",
		 "pagetypeinfo: line 2"},
		{"proc/pagetypeinfo", "Page block order: 9\nwhat is this\n",
		 "pagetypeinfo: line 2"},
		{"proc/pagetypeinfo", "Page block order: 9\n", "pagetypeinfo: line 1"},
		{"proc/pagetypeinfo", "Page block order: 9\nNumber of blocks type\n",
		 "pagetypeinfo: line 2"},
		{"proc/pagetypeinfo",
		 "Page block order: 9\nNumber of blocks type Unmovable Movable\n"
		 "Node 0, zone Normal 1\n",
		 "pagetypeinfo: line 3"},
		{"proc/pagetypeinfo",
		 "Page block order: 9\nNumber of blocks type Unmovable\nNode 0, zone Normal 1 2\n",
		 "pagetypeinfo: line 3"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = {0};
		struct root r;

		root_good(&r);
		assert_int_equal(read_all(&r.fs, &err), 0);
		root_text(&r, cases[i].file, cases[i].text);
		if (read_all(&r.fs, &err) != -EBADMSG || !strstr(err.text, cases[i].place))
			fail_msg("case %zu: \"%s\", expected %s", i, err.text, cases[i].place);
		assert_null(strchr(err.text, '\n'));
		root_remove(&r);
	}
}

/* Cut anywhere, and with any byte damaged, a file is read or refused; the sanitizers watch. */
static void no_damage_goes_further_than_an_error(void **state)
{
	static const struct {
		const char *file, *text;
	} files[] = {{"proc/zoneinfo", good_zoneinfo},
		     {"proc/iomem", good_iomem},
		     {"proc/buddyinfo", good_buddyinfo},
		     {"proc/pagetypeinfo", good_pagetypeinfo}};
	char text[1024];
	struct root r;

	(void)state;
	root_good(&r);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		size_t n = strlen(files[i].text);

		for (size_t at = 0; at < n; at++) {
			struct error err = {0};
			int rc;

			memcpy(text, files[i].text, n + 1);
			text[at] = (char)(at % 3 ? '9' : '(');
			root_write(&r, files[i].file, text, n);
			rc = read_all(&r.fs, &err);
			assert_true(rc == 0 || (rc == -err.code && err.text[0]));
			root_write(&r, files[i].file, files[i].text, at);
			rc = read_all(&r.fs, &err);
			assert_true(rc == 0 || (rc == -err.code && err.text[0]));
		}
		root_text(&r, files[i].file, files[i].text);
	}
	root_remove(&r);
}

/* ---- the scan ---- */

#define LRU	 (UINT64_C(1) << 5)
#define SLAB	 (UINT64_C(1) << 7)
#define BUDDY	 (UINT64_C(1) << 10)
#define MMAP	 (UINT64_C(1) << 11)
#define ANON	 (UINT64_C(1) << 12)
#define HEAD	 (UINT64_C(1) << 15)
#define TAIL	 (UINT64_C(1) << 16)
#define HUGE	 (UINT64_C(1) << 17)
#define HWPOISON (UINT64_C(1) << 19)
#define NOPAGE	 (UINT64_C(1) << 20)
#define BALLOON	 (UINT64_C(1) << 23)
#define ZERO	 (UINT64_C(1) << 24)
#define PGTABLE	 (UINT64_C(1) << 26)
#define RESERVED (UINT64_C(1) << 32)

/* One zone Normal; flags and counts are indexed from its start. */
struct scanned {
	struct root root;
	struct machine *machine;
	struct frame_scan *scan;
	pfn_t start;
	size_t frames;
	uint64_t *flags, *counts;
};

static void scanned_create(struct scanned *s, pfn_t start, size_t frames, uint64_t managed)
{
	struct zone zone = {.start = start,
			    .end = start + frames,
			    .present = frames,
			    .managed = managed,
			    .type = ZONE_NORMAL};

	root_create(&s->root);
	s->start = start;
	s->frames = frames;
	s->flags = calloc(frames, sizeof(uint64_t));
	s->counts = calloc(frames, sizeof(uint64_t));
	assert_non_null(s->flags);
	assert_non_null(s->counts);
	assert_int_equal(machine_create(1, 1, &s->machine, NULL), 0);
	assert_int_equal(machine_add_zone(s->machine, &zone, NULL), 0);
	s->scan = NULL;
}

/* Sparse below the zone, as a real file of that machine would be full of other things. */
static void kpage_write(const struct scanned *s, const char *name, const uint64_t *words, size_t n)
{
	char path[256];
	int fd;

	root_file(&s->root, name, path, sizeof(path));
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, words, n * 8, (off_t)s->start * 8), (ssize_t)(n * 8));
	close(fd);
}

static int scanned_run(struct scanned *s, struct error *err)
{
	kpage_write(s, "proc/kpageflags", s->flags, s->frames);
	kpage_write(s, "proc/kpagecount", s->counts, s->frames);
	assert_int_equal(frame_scan_create(s->machine, &s->scan, err), 0);
	return procfs_scan(&s->root.fs, s->scan, err);
}

static void scanned_destroy(struct scanned *s)
{
	frame_scan_destroy(s->scan);
	machine_destroy(s->machine);
	free(s->flags);
	free(s->counts);
	root_remove(&s->root);
}

static bool bare(const struct scanned *s, size_t i)
{
	return s->scan->bare[i / 64] >> (i % 64) & 1;
}

static void flags_become_states(void **state)
{
	static const struct {
		uint64_t flags, count;
		unsigned int cell;
		bool bare;
	} cases[] = {
		{BUDDY, 0, FRAME_FREE, false},
		{LRU, 0, FRAME_MOVABLE, false},
		{ANON | MMAP, 1, FRAME_MOVABLE, false},
		{MMAP, 1, FRAME_MOVABLE, false},
		{SLAB, 0, FRAME_UNMOVABLE, false},
		{PGTABLE, 0, FRAME_UNMOVABLE, false},
		{0, 0, FRAME_UNMOVABLE, true},
		{0, 3, FRAME_UNMOVABLE, false},
		{RESERVED, 0, FRAME_RESERVED, false},
		{RESERVED | MMAP, 1, FRAME_RESERVED, false},
		{HWPOISON | LRU, 0, FRAME_RESERVED, false},
		{NOPAGE, 0, FRAME_HOLE, false},
		{BALLOON, 0, FRAME_UNMOVABLE, false},
		{ZERO | MMAP, 9, FRAME_UNMOVABLE, false},
	};
	struct scanned s;
	struct error err;

	(void)state;
	scanned_create(&s, 1000, 1024, 1024);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		s.flags[i] = cases[i].flags;
		s.counts[i] = cases[i].count;
	}
	assert_int_equal(scanned_run(&s, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(s.scan->cells[i], cases[i].cell);
		assert_int_equal(bare(&s, i), cases[i].bare);
	}
	scanned_destroy(&s);
}

static void fill(uint64_t *words, size_t from, size_t n, uint64_t head, uint64_t tail)
{
	words[from] = head;
	for (size_t i = 1; i < n; i++)
		words[from + i] = tail;
}

static void compounds_are_one_object_classified_by_their_head(void **state)
{
	struct scanned s;
	struct error err;

	(void)state;
	scanned_create(&s, 4096, 4096, 4096);
	fill(s.flags, 0, 4, LRU | HEAD, TAIL);		  /* order 2, tails without flags */
	fill(s.flags, 4, 4, SLAB | HEAD, TAIL);		  /* the next one, at once */
	fill(s.flags, 512, 512, ANON | HEAD, TAIL | LRU); /* a huge page */
	fill(s.flags, 1027, 4, LRU | HEAD, TAIL);	  /* misaligned: torn */
	fill(s.flags, 1100, 3, LRU | HEAD, TAIL);	  /* not a power of two: torn */
	s.flags[1200] = TAIL | LRU;			  /* its head was gone */
	assert_int_equal(scanned_run(&s, &err), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(s.scan->cells[i], FRAME_MOVABLE | 2 << 4);
		assert_int_equal(s.scan->cells[4 + i], FRAME_UNMOVABLE | 2 << 4);
		assert_int_equal(s.scan->cells[1027 + i], FRAME_MOVABLE);
		assert_false(bare(&s, 4 + i));
	}
	for (size_t i = 512; i < 1024; i++)
		assert_int_equal(s.scan->cells[i], FRAME_MOVABLE | 9 << 4);
	assert_int_equal(s.scan->cells[1101], FRAME_MOVABLE);
	assert_int_equal(s.scan->cells[1200], FRAME_MOVABLE);
	scanned_destroy(&s);
}

static void a_gigantic_page_crosses_chunks_in_largest_pieces(void **state)
{
	const size_t gigantic = 262144;
	struct scanned s;
	struct error err;

	(void)state;
	scanned_create(&s, gigantic - 1024, gigantic + 2048, gigantic);
	fill(s.flags, 1024, gigantic, HUGE | HEAD, TAIL);
	s.flags[1024 + gigantic] = BUDDY;
	assert_int_equal(scanned_run(&s, &err), 0);
	assert_int_equal(s.scan->nr_chunks, 6);
	assert_int_equal(s.scan->cells[1023], FRAME_UNMOVABLE);
	for (size_t i = 0; i < gigantic; i++)
		if (s.scan->cells[1024 + i] != (FRAME_MOVABLE | 10 << 4))
			fail_msg("frame %zu: cell %#x", i, s.scan->cells[1024 + i]);
	assert_int_equal(s.scan->cells[1024 + gigantic], FRAME_FREE);
	/* Each chunk has its stamp, in order, and a frame finds its own. */
	for (size_t i = 1; i < s.scan->nr_chunks; i++)
		assert_true(s.scan->chunk_time_ns[i] >= s.scan->chunk_time_ns[i - 1]);
	assert_true(s.scan->end_ns >= s.scan->chunk_time_ns[5]);
	assert_int_equal(frame_scan_time(s.scan, gigantic - 1), s.scan->chunk_time_ns[0]);
	assert_int_equal(frame_scan_time(s.scan, gigantic), s.scan->chunk_time_ns[1]);
	scanned_destroy(&s);
}

static void holes_are_never_looked_at(void **state)
{
	struct scanned s;
	struct error err;

	(void)state;
	scanned_create(&s, 4096, 2048, 1024);
	assert_int_equal(machine_add_absent(s.machine, (struct pfn_range){4096 + 512, 4096 + 1024},
					    ABSENT_HOLE, NULL),
			 0);
	fill(s.flags, 0, 2048, LRU, LRU);
	assert_int_equal(scanned_run(&s, &err), 0);
	assert_int_equal(s.scan->cells[511], FRAME_MOVABLE);
	assert_int_equal(s.scan->cells[512], FRAME_HOLE);
	assert_int_equal(s.scan->cells[1023], FRAME_HOLE);
	assert_int_equal(s.scan->cells[1024], FRAME_MOVABLE);
	scanned_destroy(&s);
}

static void files_too_short_or_missing_fail_the_scan(void **state)
{
	struct scanned s;
	struct error err;

	(void)state;
	scanned_create(&s, 4096, 2048, 2048);
	assert_int_equal(scanned_run(&s, &err), 0);
	kpage_write(&s, "proc/kpagecount", s.counts, 100);
	assert_int_equal(procfs_scan(&s.root.fs, s.scan, &err), -EIO);
	assert_non_null(strstr(err.text, "kpagecount: ends at byte 33568"));
	kpage_write(&s, "proc/kpageflags", s.flags, 2000);
	assert_int_equal(procfs_scan(&s.root.fs, s.scan, &err), -EIO);
	assert_non_null(strstr(err.text, "kpageflags"));
	s.root.fs.root = "/nonexistent";
	assert_int_equal(procfs_scan(&s.root.fs, s.scan, &err), -ENOENT);
	s.root.fs.root = s.root.path;
	scanned_destroy(&s);
}

/* ---- what is absent ---- */

/* 16384 allocated frames, then @tail bare ones, the last 64 of them reserved. */
static void deferred_create(struct scanned *s, size_t tail, uint64_t managed)
{
	scanned_create(s, 65536, 16384 + tail, managed);
	fill(s->flags, 0, 16384, LRU, LRU);
	fill(s->flags, 16384 + tail - 64, 64, RESERVED, RESERVED);
}

static uint64_t count_cells(const struct scanned *s, uint8_t cell)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->frames; i++)
		n += s->scan->cells[i] == cell;
	return n;
}

static void the_bare_end_of_a_zone_is_offline_as_far_as_managed_falls_short(void **state)
{
	uint64_t managed = 16384 + 100; /* 100 of the bare frames are the kernel's */
	struct scanned s;
	struct machine *m;
	struct error err;

	(void)state;
	deferred_create(&s, 8192, managed);
	assert_int_equal(scanned_run(&s, &err), 0);
	assert_int_equal(procfs_scan_finish(s.scan, &managed, &m, &err), 0);
	assert_int_equal(machine_check(m, &err), 0);
	assert_int_equal(m->nr_absent, 2);
	assert_int_equal(m->absent[0].why, ABSENT_OFFLINE);
	assert_int_equal(m->absent[0].range.start, 65536 + 16384 + 100);
	assert_int_equal(m->absent[0].range.end, 65536 + 16384 + 8192 - 64);
	assert_int_equal(m->absent[1].why, ABSENT_RESERVED);
	assert_int_equal(machine_managed(m), managed);
	assert_int_equal(s.scan->cells[16384 + 99], FRAME_UNMOVABLE);
	assert_int_equal(s.scan->cells[16384 + 100], FRAME_OFFLINE);
	machine_destroy(m);
	scanned_destroy(&s);
}

static void a_small_shortfall_is_not_offline_memory(void **state)
{
	uint64_t managed = 16384 + 8192 - 64 - 2000;
	struct scanned s;
	struct machine *m;
	struct error err;

	(void)state;
	deferred_create(&s, 8192, managed);
	assert_int_equal(scanned_run(&s, &err), 0);
	assert_int_equal(procfs_scan_finish(s.scan, &managed, &m, &err), 0);
	assert_int_equal(count_cells(&s, FRAME_OFFLINE), 0);
	assert_int_equal(m->nr_absent, 1);
	machine_destroy(m);
	scanned_destroy(&s);
}

static void a_frame_in_use_ends_the_search_for_offline_memory(void **state)
{
	uint64_t managed = 16384;
	struct scanned s;
	struct machine *m;
	struct error err;

	(void)state;
	deferred_create(&s, 12288, managed);
	s.flags[16384 + 5000] = LRU;
	assert_int_equal(scanned_run(&s, &err), 0);
	assert_int_equal(procfs_scan_finish(s.scan, &managed, &m, &err), 0);
	assert_int_equal(s.scan->cells[16384 + 4999], FRAME_UNMOVABLE);
	assert_int_equal(s.scan->cells[16384 + 5001], FRAME_OFFLINE);
	assert_int_equal(count_cells(&s, FRAME_OFFLINE), 12288 - 64 - 5001);
	machine_destroy(m);
	scanned_destroy(&s);
}

static void memory_that_came_during_the_scan_is_free(void **state)
{
	uint64_t after = 16384 + 3000;
	struct scanned s;
	struct machine *m;
	struct error err;

	(void)state;
	deferred_create(&s, 12288, 16384); /* what zoneinfo said before */
	assert_int_equal(scanned_run(&s, &err), 0);
	assert_int_equal(procfs_scan_finish(s.scan, &after, &m, &err), 0);
	assert_int_equal(s.scan->cells[16384 + 2999], FRAME_FREE);
	assert_int_equal(s.scan->cells[16384 + 3000], FRAME_OFFLINE);
	assert_int_equal(count_cells(&s, FRAME_FREE), 3000);
	assert_int_equal(m->zones[0].managed, after);
	assert_int_equal(machine_managed(m), after);
	machine_destroy(m);
	scanned_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_recorded_machine_is_described),
		cmocka_unit_test(counts_of_a_recorded_machine_are_read),
		cmocka_unit_test(nodes_cma_and_boost_are_told_apart),
		cmocka_unit_test(migratetype_numbers_follow_the_columns),
		cmocka_unit_test(each_missing_file_is_named),
		cmocka_unit_test(hidden_addresses_need_root),
		cmocka_unit_test(what_does_not_parse_is_told_with_file_and_line),
		cmocka_unit_test(no_damage_goes_further_than_an_error),
		cmocka_unit_test(flags_become_states),
		cmocka_unit_test(compounds_are_one_object_classified_by_their_head),
		cmocka_unit_test(a_gigantic_page_crosses_chunks_in_largest_pieces),
		cmocka_unit_test(holes_are_never_looked_at),
		cmocka_unit_test(files_too_short_or_missing_fail_the_scan),
		cmocka_unit_test(the_bare_end_of_a_zone_is_offline_as_far_as_managed_falls_short),
		cmocka_unit_test(a_small_shortfall_is_not_offline_memory),
		cmocka_unit_test(a_frame_in_use_ends_the_search_for_offline_memory),
		cmocka_unit_test(memory_that_came_during_the_scan_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
