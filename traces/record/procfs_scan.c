/* SPDX-License-Identifier: MIT */
/*
 * The state of every frame from /proc/kpageflags and /proc/kpagecount (linux-page-allocator,
 * section 8). Flags describe a moment per frame, not one moment for all: see record_fold.h for how
 * recorded events repair that.
 */
#include "traces/record/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/monotonic.h"

/* Bits of a kpageflags word, stable ABI of the kernel. */
#define KPF(n)		  (UINT64_C(1) << (n))
#define KPF_LRU		  KPF(5)
#define KPF_BUDDY	  KPF(10)
#define KPF_MMAP	  KPF(11)
#define KPF_ANON	  KPF(12)
#define KPF_COMPOUND_HEAD KPF(15)
#define KPF_COMPOUND_TAIL KPF(16)
#define KPF_HUGE	  KPF(17)
#define KPF_UNEVICTABLE	  KPF(18)
#define KPF_HWPOISON	  KPF(19)
#define KPF_NOPAGE	  KPF(20)
#define KPF_ZERO_PAGE	  KPF(24)
#define KPF_RESERVED	  KPF(32)

/* Less than this missing at the end of a zone is no deferred memory (it comes in 128 MiB sections). */
#define OFFLINE_FRAMES_MIN 4096

static int mark_present(void *arg, unsigned int zone, struct pfn_range range)
{
	struct frame_scan *scan = arg;

	(void)zone;
	memset(scan->cells + (range.start - machine_start(scan->machine)), FRAME_UNMOVABLE,
	       range.end - range.start);
	return 0;
}

int frame_scan_create(const struct machine *m, struct frame_scan **scan, struct error *err)
{
	struct frame_scan *s = calloc(1, sizeof(*s));
	pfn_t first = align_down(machine_start(m), SCAN_CHUNK_FRAMES);
	size_t words;

	*scan = NULL;
	if (!s)
		return error_set(err, ENOMEM, "scan: out of memory");
	s->machine = m;
	s->nr_frames = machine_end(m) - machine_start(m);
	s->nr_chunks = div_round_up(machine_end(m) - first, SCAN_CHUNK_FRAMES);
	words = div_round_up(s->nr_frames, 64);
	s->cells = malloc(s->nr_frames);
	s->bare = malloc(words * sizeof(*s->bare));
	s->chunk_time_ns = calloc(s->nr_chunks, sizeof(*s->chunk_time_ns));
	if (!s->cells || !s->bare || !s->chunk_time_ns) {
		frame_scan_destroy(s);
		return error_set(err, ENOMEM, "scan: out of memory");
	}
	memset(s->cells, FRAME_HOLE, s->nr_frames);
	memset(s->bare, 0xff, words * sizeof(*s->bare)); /* touched; each bit is written later */
	memset(s->bare, 0, words * sizeof(*s->bare));
	machine_each_managed(m, mark_present, s);
	*scan = s;
	return 0;
}

void frame_scan_destroy(struct frame_scan *scan)
{
	if (!scan)
		return;
	free(scan->cells);
	free(scan->bare);
	free(scan->chunk_time_ns);
	free(scan);
}

/* ---- reading ---- */

struct kpage_file {
	char path[PATH_MAX];
	int fd;
};

struct kpage {
	struct kpage_file flags_file, count_file;
	uint64_t *flags, *counts; /* of one chunk */
	uint8_t carry; /* the cell of a compound that reaches into the next chunk; 0: none */
};

static int kpage_file_open(struct kpage_file *f, const struct procfs *fs, const char *name,
			   struct error *err)
{
	const char *root = strcmp(fs->root, "/") == 0 ? "" : fs->root;
	int code;

	if (snprintf(f->path, sizeof(f->path), "%s/%s", root, name) >= (int)sizeof(f->path))
		return error_set(err, ENAMETOOLONG, "%s: path too long", name);
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (f->fd >= 0)
		return 0;
	code = errno;
	if (code == EACCES || code == EPERM)
		return error_set(err, EACCES, "%s: permission denied; run as root", f->path);
	return error_set(err, code, "%s: %s; the kernel needs CONFIG_PROC_PAGE_MONITOR", f->path,
			 strerror(code));
}

static int kpage_file_read(const struct kpage_file *f, pfn_t pfn, size_t frames, uint64_t *words,
			   struct error *err)
{
	size_t bytes = frames * sizeof(*words), done = 0;

	while (done < bytes) {
		ssize_t n = pread(f->fd, (char *)words + done, bytes - done,
				  (off_t)(pfn * sizeof(*words) + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, EIO, "%s: pfn %#llx: %s", f->path,
					 (unsigned long long)(pfn + done / sizeof(*words)),
					 strerror(errno));
		if (n == 0)
			return error_set(
				err, EIO,
				"%s: ends at byte %llu, before the last frame of the zones; "
				"zoneinfo and this file do not belong together",
				f->path, (unsigned long long)(pfn * sizeof(*words) + done));
		done += (size_t)n;
	}
	return 0;
}

static void kpage_close(struct kpage *k)
{
	if (k->flags_file.fd >= 0)
		close(k->flags_file.fd);
	if (k->count_file.fd >= 0)
		close(k->count_file.fd);
	free(k->flags);
	free(k->counts);
}

static int kpage_open(struct kpage *k, const struct procfs *fs, struct error *err)
{
	const size_t bytes = SCAN_CHUNK_FRAMES * sizeof(*k->flags);
	int rc;

	*k = (struct kpage){.flags_file.fd = -1, .count_file.fd = -1};
	rc = kpage_file_open(&k->flags_file, fs, "proc/kpageflags", err);
	if (rc == 0)
		rc = kpage_file_open(&k->count_file, fs, "proc/kpagecount", err);
	if (rc)
		return rc;
	k->flags = malloc(bytes);
	k->counts = malloc(bytes);
	if (!k->flags || !k->counts)
		return error_set(err, ENOMEM, "scan: out of memory");
	memset(k->flags, 1, bytes);
	memset(k->counts, 1, bytes);
	return 0;
}

/* ---- meaning ---- */

static unsigned int frame_classify(uint64_t flags)
{
	if (flags & KPF_NOPAGE)
		return FRAME_HOLE;
	if (flags & (KPF_RESERVED | KPF_HWPOISON))
		return FRAME_RESERVED;
	if (flags & KPF_BUDDY)
		return FRAME_FREE;
	if (flags & KPF_ZERO_PAGE)
		return FRAME_UNMOVABLE;
	if (flags & (KPF_LRU | KPF_HUGE | KPF_ANON | KPF_MMAP | KPF_UNEVICTABLE))
		return FRAME_MOVABLE;
	return FRAME_UNMOVABLE;
}

static void set_bare(struct frame_scan *scan, size_t i, bool bare)
{
	uint64_t bit = UINT64_C(1) << (i % 64);

	if (bare)
		scan->bare[i / 64] |= bit;
	else
		scan->bare[i / 64] &= ~bit;
}

/* The cell all frames of a compound get. A size or place no allocation can have means that the
   compound changed while it was read; larger ones (gigantic pages) are kept in largest pieces. */
static uint8_t compound_cell(unsigned int state, pfn_t pfn, uint64_t frames)
{
	unsigned int order;

	if (!frame_state_allocated(state) || !is_power_of_two(frames) || !is_aligned(pfn, frames))
		return (uint8_t)state;
	order = log2_floor(frames);
	if (order > MAX_ORDER)
		order = MAX_ORDER;
	return (uint8_t)(state | order << 4);
}

/* Number of TAIL frames at @pfn, at most up to @end; a hole ends a compound. */
static uint64_t tails_at(const struct frame_scan *scan, const struct kpage *k, pfn_t base,
			 pfn_t pfn, pfn_t end)
{
	const uint8_t *cells = scan->cells + (pfn - machine_start(scan->machine));
	uint64_t n = 0;

	while (pfn + n < end && k->flags[pfn + n - base] & KPF_COMPOUND_TAIL &&
	       cells[n] != FRAME_HOLE)
		n++;
	return n;
}

static void classify_chunk(struct frame_scan *scan, struct kpage *k, pfn_t start, pfn_t end)
{
	pfn_t zero = machine_start(scan->machine), pfn = start;

	while (pfn < end) {
		uint64_t flags = k->flags[pfn - start], frames = 1;
		uint8_t *cell = &scan->cells[pfn - zero];
		uint8_t value = (uint8_t)frame_classify(flags);

		if (*cell == FRAME_HOLE) {
			pfn++;
			continue;
		}
		if (flags & KPF_COMPOUND_HEAD) {
			frames += tails_at(scan, k, start, pfn + 1, end);
			value = compound_cell(value, pfn, frames);
			k->carry = pfn + frames == end ? value : 0;
		} else if (flags & KPF_COMPOUND_TAIL && pfn == start && k->carry) {
			frames = tails_at(scan, k, start, pfn, end);
			value = k->carry;
			if (pfn + frames < end)
				k->carry = 0;
		}
		memset(cell, value, frames);
		for (uint64_t i = 0; i < frames; i++)
			set_bare(scan, pfn - zero + i,
				 value == FRAME_UNMOVABLE && flags == 0 &&
					 k->counts[pfn - start + i] == 0);
		pfn += frames;
	}
}

static bool all_hole(const struct frame_scan *scan, pfn_t start, pfn_t end)
{
	const uint8_t *cells = scan->cells + (start - machine_start(scan->machine));

	for (size_t i = 0; i < end - start; i++)
		if (cells[i] != FRAME_HOLE)
			return false;
	return true;
}

int procfs_scan(const struct procfs *fs, struct frame_scan *scan, struct error *err)
{
	pfn_t first = machine_start(scan->machine), last = machine_end(scan->machine);
	pfn_t base = align_down(first, SCAN_CHUNK_FRAMES);
	struct kpage k;
	int rc;

	rc = kpage_open(&k, fs, err);
	for (size_t i = 0; i < scan->nr_chunks && rc == 0; i++) {
		pfn_t start = max_u64(base + i * SCAN_CHUNK_FRAMES, first);
		pfn_t end = min_u64(base + (i + 1) * SCAN_CHUNK_FRAMES, last);

		scan->chunk_time_ns[i] = monotonic_ns();
		if (all_hole(scan, start, end)) {
			k.carry = 0;
			continue;
		}
		rc = kpage_file_read(&k.flags_file, start, end - start, k.flags, err);
		if (rc == 0)
			rc = kpage_file_read(&k.count_file, start, end - start, k.counts, err);
		if (rc == 0)
			classify_chunk(scan, &k, start, end);
	}
	scan->end_ns = monotonic_ns();
	kpage_close(&k);
	return rc;
}

/* ---- what is absent ---- */

static bool is_bare(const struct frame_scan *scan, size_t i)
{
	return scan->cells[i] == FRAME_UNMOVABLE && scan->bare[i / 64] >> (i % 64) & 1;
}

/*
 * Where the last @missing frames of a zone begin that are bare, looking down from its end over bare,
 * reserved and absent frames only. An allocated or free frame ends the search: memory is handed over
 * from low to high.
 */
static pfn_t offline_boundary(const struct frame_scan *scan, const struct zone *z, uint64_t missing)
{
	pfn_t zero = machine_start(scan->machine), boundary = z->end;
	uint64_t found = 0;

	for (pfn_t pfn = z->end; pfn > z->start && found < missing; pfn--) {
		uint8_t cell = scan->cells[pfn - 1 - zero];

		if (is_bare(scan, pfn - 1 - zero)) {
			boundary = pfn - 1;
			found++;
		} else if (cell != FRAME_HOLE && cell != FRAME_RESERVED) {
			break;
		}
	}
	return found >= OFFLINE_FRAMES_MIN ? boundary : z->end;
}

static void fill_bare(struct frame_scan *scan, pfn_t start, pfn_t end, uint8_t state)
{
	pfn_t zero = machine_start(scan->machine);

	for (pfn_t pfn = start; pfn < end; pfn++)
		if (is_bare(scan, pfn - zero))
			scan->cells[pfn - zero] = state;
}

static void find_offline(struct frame_scan *scan, const struct zone *z, uint64_t managed)
{
	pfn_t zero = machine_start(scan->machine), boundary, boundary_before;
	uint64_t usable = 0, missing, missing_before;

	for (pfn_t pfn = z->start; pfn < z->end; pfn++)
		usable += frame_state_managed(scan->cells[pfn - zero] & 0xf);
	missing = usable - min_u64(usable, managed);
	missing_before = usable - min_u64(usable, z->managed);
	boundary = offline_boundary(scan, z, missing);
	boundary_before = offline_boundary(scan, z, missing_before);
	fill_bare(scan, boundary, z->end, FRAME_OFFLINE);
	if (boundary_before < boundary)
		fill_bare(scan, boundary_before, boundary, FRAME_FREE);
}

static int add_absent_cells(const struct frame_scan *scan, struct machine *m, struct error *err)
{
	static const struct {
		uint8_t state;
		enum absence why;
	} kinds[] = {{FRAME_HOLE, ABSENT_HOLE},
		     {FRAME_RESERVED, ABSENT_RESERVED},
		     {FRAME_OFFLINE, ABSENT_OFFLINE}};
	pfn_t zero = machine_start(m), pfn = zero, end = machine_end(m);

	while (pfn < end) {
		uint8_t cell = scan->cells[pfn - zero];
		int zone = machine_zone_of(m, pfn);
		pfn_t stop = pfn + 1, border = zone < 0 ? end : m->zones[zone].end;

		if (zone < 0) {
			pfn++;
			continue;
		}
		while (stop < border && scan->cells[stop - zero] == cell)
			stop++;
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			int rc = 0;

			if (cell == kinds[i].state)
				rc = machine_add_absent(m, (struct pfn_range){pfn, stop},
							kinds[i].why, err);
			if (rc)
				return rc;
		}
		pfn = stop;
	}
	return 0;
}

int procfs_scan_finish(struct frame_scan *scan, const uint64_t *managed, struct machine **m,
		       struct error *err)
{
	int rc;

	rc = machine_copy(scan->machine, m, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < scan->machine->nr_zones; i++) {
		find_offline(scan, &scan->machine->zones[i], managed[i]);
		(*m)->zones[i].managed = managed[i];
	}
	(*m)->nr_absent = 0;
	rc = add_absent_cells(scan, *m, err);
	if (rc) {
		machine_destroy(*m);
		*m = NULL;
	}
	return rc;
}
