/* SPDX-License-Identifier: MIT */
#include "traces/record/burn_in.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/monotonic.h"
#include "sim/gfp.h"

#define PAGE_BYTES  4096U
#define HUGE_BYTES  (PAGE_BYTES << HUGE_ORDER)
#define CHUNK_BYTES (16U * HUGE_BYTES) /* used between two looks at how much is free */

/* Each step of a process ends after so long, done or not. */
#define TOUCH_NS    UINT64_C(5000000000)
#define DEFERRED_NS UINT64_C(60000000000) /* the same, while memory is still to be taken over */
#define LISTS_NS    UINT64_C(5000000000)  /* an idle machine needs a hundredth */

#define POLL_MS	   20
#define SETTLE_NS  20000000L
#define WORKERS_NS 2100000000L

/* At most so much is taken off one list: 256 MiB. What is still on it then stays unknown. */
#define LIST_FRAMES_MAX 65536U
#define FRAMES_STEP	128U /* taken between two looks at the count of the lists */
#define FILES_MAX	16384U
#define FILES_SPARE	64U /* descriptors left for other purposes */
#define REFRESHES_MAX	400U
#define TEXT_BYTES	(UINT32_C(4) << 20)
#define NODES_MAX	1024U

enum step { STEP_TOUCH = 't', STEP_HOLD = 'h', STEP_RELEASE = 'r' };

struct process {
	pid_t pid; /* 0: gone, or not started */
	int fd;	   /* commands out, answers in */
	unsigned int cpu, node;
	bool busy; /* owes an answer */
};

struct burn_in {
	const char *root, *directory;
	struct process *processes;
	size_t nr_processes;
	unsigned int nr_nodes;
};

/* ---- how much there is ---- */

/* The numbers of a zone of buddyinfo, behind its name. */
static void add_blocks(const char *at, struct burn_in_memory *memory)
{
	for (unsigned int order = 0; order <= MAX_ORDER; order++) {
		char *end;
		uint64_t blocks = strtoull(at, &end, 10);

		if (end == at)
			return;
		at = end;
		if (order < HUGE_ORDER)
			memory->small_frames += blocks << order;
		else
			memory->huge_blocks += blocks << (order - HUGE_ORDER);
	}
}

static const char *next_line(const char *at)
{
	at = strchr(at, '\n');
	return at ? at + 1 : NULL;
}

static bool zone_line(const char *line, unsigned int *node, int *end)
{
	*end = 0;
	return sscanf(line, "Node %u, zone %*s%n", node, end) >= 1 && *end;
}

int burn_in_memory_read(const char *zoneinfo, const char *buddyinfo, unsigned int node,
			unsigned int cpu, struct burn_in_memory *memory)
{
	unsigned int here = UINT_MAX, at_cpu = UINT_MAX;
	unsigned long long present = 0;
	bool found = false, populated = false;
	int end;

	*memory = (struct burn_in_memory){0};
	for (const char *line = zoneinfo; line && *line; line = next_line(line)) {
		unsigned long long n;

		if (zone_line(line, &here, &end)) {
			at_cpu = UINT_MAX;
			populated = false;
			continue;
		}
		if (here != node)
			continue;
		if (sscanf(line, " pages free %llu", &n) == 1)
			memory->free_frames += n;
		else if (sscanf(line, " high %llu", &n) == 1) /* the lists' have a colon */
			memory->high_frames += n;
		else if (sscanf(line, " present %llu", &n) == 1)
			present = n;
		else if (sscanf(line, " managed %llu", &n) == 1) {
			populated = n != 0;
			/* What describes the frames is a 64th of them, and never free. */
			if (present - min_u64(n, present) > present / 16)
				memory->deferred_frames += present - n;
		} else if (sscanf(line, " cpu: %u", &at_cpu) == 1)
			continue;
		else if (populated && at_cpu == cpu && sscanf(line, " count: %llu", &n) == 1)
			memory->parked_frames = n; /* the last such zone is the highest */
		else if (populated && at_cpu == cpu && sscanf(line, " high: %llu", &n) == 1)
			memory->limit_frames = n;
	}
	for (const char *line = buddyinfo; line && *line; line = next_line(line)) {
		if (!zone_line(line, &here, &end) || here != node)
			continue;
		add_blocks(line + end, memory);
		found = true;
	}
	return found ? 0 : -EBADMSG;
}

uint64_t burn_in_floor(const struct burn_in_memory *memory)
{
	return max_u64(memory->free_frames / 20, 2 * memory->high_frames);
}

/* ---- what is where ---- */

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_PFN	((UINT64_C(1) << 55) - 1)

static int later_first(const void *a, const void *b)
{
	uint64_t x = ((const struct burn_in_run *)a)->pfn, y = ((const struct burn_in_run *)b)->pfn;

	return x < y ? 1 : x > y ? -1 : 0;
}

size_t burn_in_runs(const uint64_t *pagemap, size_t pages, struct burn_in_run *runs)
{
	size_t n = 0;

	for (size_t i = 0; i < pages;) {
		uint64_t pfn = pagemap[i] & PAGEMAP_PFN, most, k = 1;

		/* Without the right to see it, the pfn is 0. */
		if (!(pagemap[i] & PAGEMAP_PRESENT) || !pfn) {
			i++;
			continue;
		}
		most = min_u64(pages - i, UINT64_C(1) << min_u64(trailing_zeros(pfn), MAX_ORDER));
		while (k < most && pagemap[i + k] & PAGEMAP_PRESENT &&
		       (pagemap[i + k] & PAGEMAP_PFN) == pfn + k)
			k++;
		k = UINT64_C(1) << log2_floor(k);
		runs[n++] = (struct burn_in_run){pfn, (uint32_t)i, (uint32_t)k};
		i += k;
	}
	qsort(runs, n, sizeof(*runs), later_first);
	return n;
}

/* ---- a process: from here on only its own memory and descriptors ---- */

/* A mapping that gets its memory bit by bit. */
struct room {
	char *start; /* aligned to huge frames; NULL: none */
	size_t bytes, used;
};

struct worker {
	const struct burn_in *b;
	unsigned int cpu, node;
	uint64_t deadline;
	int text_file[2]; /* zoneinfo, buddyinfo */
	char *text[2];
	struct room touch; /* for all free memory */
	struct room small, huge;
	int sockets[4][2], files[4]; /* by order; -1: not yet */
	off_t file_at[4];
	int kept[FILES_MAX];
	unsigned int nr_kept, max_kept;
	char *buffer; /* 32 KiB to send and write */
};

static int open_proc(const struct burn_in *b, const char *name, int flags)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc/%s", b->root, name);
	return open(path, flags | O_CLOEXEC);
}

/* What zoneinfo and buddyinfo say about the node, and the lists of @cpu. */
static bool read_memory(const struct worker *w, unsigned int cpu, struct burn_in_memory *memory)
{
	for (unsigned int i = 0; i < 2; i++) {
		size_t n = 0;
		ssize_t got;

		while (n < TEXT_BYTES - 1 && (got = pread(w->text_file[i], w->text[i] + n,
							  TEXT_BYTES - 1 - n, (off_t)n)) > 0)
			n += (size_t)got;
		w->text[i][n] = '\0';
	}
	return burn_in_memory_read(w->text[0], w->text[1], w->node, cpu, memory) == 0;
}

static bool is_late(const struct worker *w)
{
	return monotonic_ns() >= w->deadline;
}

/* ---- memory ---- */

static bool room_create(struct room *r, size_t bytes)
{
	char *p;

	bytes = align_up(bytes, HUGE_BYTES);
	p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	*r = (struct room){.start = (char *)align_up((uintptr_t)p, HUGE_BYTES), .bytes = bytes};
	return true;
}

static void room_destroy(struct room *r)
{
	if (r->start)
		munmap(r->start, r->bytes);
	*r = (struct room){0};
}

/* Put memory behind the next @bytes, as huge frames or none of them. */
static bool room_use(struct room *r, size_t bytes, bool huge)
{
	char *at = r->start + r->used;

	if (!r->start || bytes > r->bytes - r->used)
		return false;
	/* Refused where the kernel has no huge frames: then they are small. */
	madvise(at, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE_BYTES)
		*(volatile char *)(at + i) = 1;
	r->used += bytes;
	return true;
}

/*
 * Each free halves the number of frames the next refill takes; so the rest of a refill that stays on a
 * list, of which nothing is known, is short.
 */
static void calm(struct worker *w)
{
	for (unsigned int i = 0; i < 6 && room_use(&w->small, PAGE_BYTES, false); i++) {
		w->small.used -= PAGE_BYTES;
		madvise(w->small.start + w->small.used, PAGE_BYTES, MADV_DONTNEED);
	}
}

/*
 * Use the node's free memory, down to the floor, as far as time allows. First the small blocks, which
 * small pages come from as long as there are any; then huge frames, so that large blocks stay whole.
 */
static void touch_free(struct worker *w)
{
	uint64_t floor_frames, small, began = monotonic_ns();
	struct burn_in_memory m;

	if (!read_memory(w, w->cpu, &m) ||
	    !room_create(&w->touch, (size_t)sysconf(_SC_PHYS_PAGES) * PAGE_BYTES))
		return;
	floor_frames = burn_in_floor(&m);
	small = m.small_frames;
	for (;;) {
		bool huge = w->touch.used / PAGE_BYTES >= small &&
			    m.huge_blocks > 2 * CHUNK_BYTES / HUGE_BYTES;

		w->deadline = began + (m.deferred_frames ? DEFERRED_NS : TOUCH_NS);
		if (m.free_frames <= floor_frames + CHUNK_BYTES / PAGE_BYTES || is_late(w))
			break;
		if (!room_use(&w->touch, CHUNK_BYTES, huge) || !read_memory(w, w->cpu, &m))
			break;
	}
}

/* Which frames are behind the room, or NULL. */
static uint64_t *read_pagemap(const struct worker *w, const struct room *r)
{
	size_t pages = r->used / PAGE_BYTES, bytes = pages * sizeof(uint64_t), n = 0;
	off_t start = (off_t)((uintptr_t)r->start / PAGE_BYTES * sizeof(uint64_t));
	uint64_t *map = malloc(bytes + 1);
	ssize_t got = 1;
	int fd;

	(void)w;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	while (map && fd >= 0 && n < bytes && got > 0) {
		got = pread(fd, (char *)map + n, bytes - n, start + (off_t)n);
		n += got > 0 ? (size_t)got : 0;
	}
	if (fd >= 0)
		close(fd);
	if (n == bytes)
		return map;
	free(map);
	return NULL;
}

static void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Another CPU of the node, if there is one. */
static unsigned int other_cpu(const struct worker *w)
{
	const struct burn_in *b = w->b;

	for (size_t i = b->nr_processes; i-- > 0;)
		if (b->processes[i].node == w->node && b->processes[i].cpu != w->cpu)
			return b->processes[i].cpu;
	return w->cpu;
}

/*
 * Taking so much has made the limit of this CPU's lists grow, to an eighth of the zone at most. The
 * kernel lowers it by an eighth every second, and gives back what is above; it does so early where its
 * counters are asked to be up to date.
 */
static void shorten_lists(const struct worker *w, unsigned int cpu)
{
	int fd = open_proc(w->b, "sys/vm/stat_refresh", O_RDONLY);
	struct burn_in_memory before = {.limit_frames = UINT64_MAX}, now;
	unsigned int still = 0;
	char nothing;

	for (unsigned int i = 0; fd >= 0 && i < REFRESHES_MAX && still < 3; i++) {
		if (pread(fd, &nothing, 1, 0) < 0 || !read_memory(w, cpu, &now))
			break;
		still = now.limit_frames < before.limit_frames ? 0 : still + 1;
		before = now;
	}
	if (fd >= 0)
		close(fd);
}

/*
 * Give the memory back from the highest frame to the lowest. A block goes to the head of its free list,
 * so the lists ascend then, as after boot. Where frames cannot be seen they go back in any order.
 */
static void give_back_sorted(struct worker *w)
{
	struct room *r = &w->touch;
	size_t pages = r->used / PAGE_BYTES, n;
	uint64_t *map = r->start ? read_pagemap(w, r) : NULL;
	struct burn_in_run *runs = map ? malloc((pages + 1) * sizeof(*runs)) : NULL;

	/* So what is given back does not stay on the lists with the long limit. */
	run_on(other_cpu(w));
	if (runs) {
		n = burn_in_runs(map, pages, runs);
		for (size_t i = 0; i < n; i++)
			madvise(r->start + (size_t)runs[i].page * PAGE_BYTES,
				(size_t)runs[i].pages * PAGE_BYTES, MADV_DONTNEED);
	}
	free(runs);
	free(map);
	room_destroy(r);
	run_on(w->cpu);
	shorten_lists(w, w->cpu);
	shorten_lists(w, other_cpu(w));
}

/* ---- lists ---- */

static bool take_pages(struct worker *w, unsigned int order, unsigned int n)
{
	(void)order;
	return room_use(&w->small, (size_t)n * PAGE_BYTES, false);
}

static bool take_huge(struct worker *w, unsigned int order, unsigned int n)
{
	(void)order;
	return room_use(&w->huge, (size_t)n * HUGE_BYTES, true);
}

/* Data in a stream socket lies in blocks as large as what was sent, up to 32 KiB. */
static bool take_sent(struct worker *w, unsigned int order, unsigned int n)
{
	const int bytes = 1 << 29;
	int *pair = w->sockets[order];

	if (pair[0] < 0) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
			return false;
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	}
	while (n--)
		if (send(pair[0], w->buffer, (size_t)PAGE_BYTES << order, MSG_DONTWAIT) < 0)
			return false;
	return true;
}

/* Where the file system caches files in large folios, one write of an aligned block is one. */
static bool take_written(struct worker *w, unsigned int order, unsigned int n)
{
	size_t bytes = (size_t)PAGE_BYTES << order;
	int *file = &w->files[order];

	if (*file < 0)
		*file = open(w->b->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*file < 0)
		return false;
	for (; n--; w->file_at[order] += (off_t)bytes)
		if (pwrite(*file, w->buffer, bytes, w->file_at[order]) < 0)
			return false;
	return true;
}

static bool keep(struct worker *w, int fd)
{
	if (fd >= 0)
		w->kept[w->nr_kept++] = fd;
	return fd >= 0;
}

/*
 * Reclaimable blocks are slabs: of long names (16 to a slab of order 0 or 1), of sockets' inodes (19 to
 * one of order 2). Nothing in user space asks for order 3.
 */
static bool take_slabs(struct worker *w, unsigned int order, unsigned int n)
{
	static const size_t name_bytes[] = {200, 240};
	char name[241];

	for (n *= order == 2 ? 19 : 16; n; n--) {
		if (w->nr_kept >= w->max_kept)
			return false;
		if (order < 2) {
			memset(name, 'b', sizeof(name));
			name[name_bytes[order]] = '\0';
			if (!keep(w, memfd_create(name, MFD_CLOEXEC)))
				return false;
		} else if (!keep(w, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))) {
			return false;
		}
	}
	return true;
}

/* A kind of blocks, each of which has a list of its own on every CPU. */
struct source {
	bool (*take)(struct worker *, unsigned int order, unsigned int n); /* false: refused */
	uint8_t order;
	uint16_t step;	     /* blocks taken between two looks: two refills or more */
	uint16_t hold, more; /* or so many at once: slabs take blocks of other lists, too */
};

static const struct source sources[] = {
	{take_huge, HUGE_ORDER, 4, 0, 0}, {take_slabs, 2, 0, 192, 20}, {take_slabs, 1, 0, 192, 40},
	{take_slabs, 0, 0, 256, 72},	  {take_written, 3, 16, 0, 0}, {take_written, 2, 32, 0, 0},
	{take_written, 1, 64, 0, 0},	  {take_sent, 3, 16, 0, 0},    {take_sent, 2, 32, 0, 0},
	{take_sent, 1, 64, 0, 0},	  {take_sent, 0, 128, 0, 0},   {take_pages, 0, 128, 0, 0},
};

/*
 * Take blocks until the list was empty. What is on the CPU's lists becomes less with every step, except
 * where a refill came between, of 63 frames or so; from then on every step shows one. Others free
 * frames here, too: one sign is none.
 */
static void take_until_refill(struct worker *w, const struct source *s)
{
	unsigned int frames = (unsigned int)s->step << s->order, signs = 0;
	struct burn_in_memory before, after;

	if (!read_memory(w, w->cpu, &before))
		return;
	for (unsigned int n = 0; n < LIST_FRAMES_MAX && signs < 2 && !is_late(w); n += frames) {
		calm(w);
		if (!s->take(w, s->order, s->step) || !read_memory(w, w->cpu, &after))
			return;
		if (after.parked_frames + frames * 3 / 4 > before.parked_frames)
			signs++;
		else
			signs = 0;
		before = after;
	}
}

static void empty_lists(struct worker *w, bool again)
{
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const struct source *s = &sources[i];

		calm(w);
		if (s->step)
			take_until_refill(w, s);
		else
			s->take(w, s->order, again ? s->more : s->hold);
	}
	calm(w);
}

static void give_everything_back(struct worker *w)
{
	for (unsigned int order = 0; order < ARRAY_SIZE(w->files); order++) {
		for (unsigned int i = 0; i < 2; i++)
			if (w->sockets[order][i] >= 0)
				close(w->sockets[order][i]);
		if (w->files[order] >= 0)
			close(w->files[order]);
	}
	while (w->nr_kept)
		close(w->kept[--w->nr_kept]);
	room_destroy(&w->huge);
	room_destroy(&w->small);
}

/* ---- life of a process ---- */

/* Memory of the node only. Where this is refused, of all nodes. */
static void stay_on_node(unsigned int node)
{
	const size_t word_bits = 8 * sizeof(unsigned long);
	unsigned long bits[NODES_MAX / (8 * sizeof(unsigned long))] = {0};

	if (node >= NODES_MAX)
		return;
	bits[node / word_bits] |= 1UL << node % word_bits;
	syscall(SYS_set_mempolicy, MPOL_BIND, bits, NODES_MAX);
}

static void set_up_process(const struct process *p, unsigned int nr_nodes)
{
	int fd;

	/* Whoever starts us may be killed; and if memory gets short, it is us who have it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1000", 4) < 0) {
			/* Then not. */
		}
		close(fd);
	}
	if (nr_nodes > 1)
		stay_on_node(p->node);
}

/* How many files may be kept open. */
static unsigned int allow_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	r.rlim_cur = min_u64(r.rlim_max, FILES_MAX + FILES_SPARE);
	if (setrlimit(RLIMIT_NOFILE, &r) && getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	return (unsigned int)(min_u64(max_u64(r.rlim_cur, FILES_SPARE), FILES_MAX + FILES_SPARE) -
			      FILES_SPARE);
}

static bool worker_create(struct worker *w, const struct burn_in *b, const struct process *p)
{
	size_t list_bytes = (size_t)4 * LIST_FRAMES_MAX * PAGE_BYTES;

	*w = (struct worker){.b = b, .cpu = p->cpu, .node = p->node};
	memset(w->sockets, 0xff, sizeof(w->sockets));
	memset(w->files, 0xff, sizeof(w->files));
	w->max_kept = allow_files();
	w->text_file[0] = open_proc(b, "zoneinfo", O_RDONLY);
	w->text_file[1] = open_proc(b, "buddyinfo", O_RDONLY);
	w->text[0] = malloc(TEXT_BYTES);
	w->text[1] = malloc(TEXT_BYTES);
	w->buffer = malloc(PAGE_BYTES << 3);
	if (!w->text[0] || !w->text[1] || !w->buffer)
		return false;
	memset(w->buffer, 'b', PAGE_BYTES << 3);
	return room_create(&w->small, list_bytes) && room_create(&w->huge, list_bytes);
}

static void do_step(struct worker *w, enum step step)
{
	switch (step) {
	case STEP_TOUCH:
		touch_free(w);
		give_back_sorted(w);
		break;
	case STEP_HOLD:
		w->deadline = monotonic_ns() + LISTS_NS;
		empty_lists(w, false);
		break;
	case STEP_RELEASE:
		w->deadline = monotonic_ns() + LISTS_NS;
		empty_lists(w, true);
		give_everything_back(w);
		break;
	}
}

static void process_main(const struct burn_in *b, const struct process *p)
{
	struct worker *w = malloc(sizeof(*w));
	char step;

	set_up_process(p, b->nr_nodes);
	if (!w || !worker_create(w, b, p))
		_exit(1);
	while (read(p->fd, &step, 1) == 1) {
		do_step(w, (enum step)step);
		if (write(p->fd, &step, 1) != 1)
			break;
		if (step == STEP_RELEASE)
			break;
	}
	_exit(0);
}

static int start_process(struct burn_in *b, struct process *p)
{
	pid_t parent = getpid();
	cpu_set_t set;
	int pair[2], code;

	CPU_ZERO(&set);
	CPU_SET(p->cpu, &set);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	p->pid = fork();
	if (p->pid < 0) {
		code = errno;
		p->pid = 0;
		close(pair[0]);
		close(pair[1]);
		return -code;
	}
	if (p->pid == 0) {
		close(pair[0]);
		/* The other ends of those before us: they shall end when the caller does. */
		for (const struct process *q = b->processes; q < p; q++)
			close(q->fd);
		p->fd = pair[1];
		if (sched_setaffinity(0, sizeof(set), &set) || getppid() != parent)
			_exit(1);
		process_main(b, p);
	}
	close(pair[1]);
	p->fd = pair[0];
	return 0;
}

int burn_in_create(const struct procfs *fs, const struct machine *m, const char *directory,
		   struct burn_in **burn_in, struct error *err)
{
	struct burn_in *b = calloc(1, sizeof(*b));
	cpu_set_t allowed;
	int code = 0;

	*burn_in = NULL;
	if (b)
		b->processes = calloc(m->nr_cpus, sizeof(*b->processes));
	if (!b || !b->processes || sched_getaffinity(0, sizeof(allowed), &allowed)) {
		burn_in_destroy(b);
		return error_set(err, ENOMEM, "burn-in: out of memory");
	}
	b->root = strcmp(fs->root, "/") == 0 ? "" : fs->root;
	b->directory = directory;
	b->nr_nodes = m->nr_nodes;
	for (unsigned int cpu = 0; cpu < m->nr_cpus && cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			b->processes[b->nr_processes++] =
				(struct process){.cpu = cpu, .node = m->node_of_cpu[cpu]};
	code = b->nr_processes ? 0 : -EAGAIN;
	for (size_t i = 0; i < b->nr_processes && !code; i++)
		code = start_process(b, &b->processes[i]);
	if (!b->nr_processes || !b->processes[0].pid) {
		burn_in_destroy(b);
		return error_set(err, -code, "burn-in: no process can be started: %s",
				 strerror(-code));
	}
	*burn_in = b;
	return 0;
}

static void end_process(struct process *p)
{
	if (!p->pid)
		return;
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(p->fd);
	p->pid = 0;
}

void burn_in_destroy(struct burn_in *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->nr_processes; i++)
		end_process(&b->processes[i]);
	free(b->processes);
	free(b);
}

/* ---- commands ---- */

/* The first process of a node uses the node's memory. */
static bool is_first_of_node(const struct burn_in *b, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (b->processes[k].pid && b->processes[k].node == b->processes[i].node)
			return false;
	return true;
}

/* Let the processes do a step, all at once. One that dies of it has done what it could. */
static int command(struct burn_in *b, enum step step, burn_in_stop stop, void *arg)
{
	const char letter = (char)step;

	for (size_t i = 0; i < b->nr_processes; i++) {
		struct process *p = &b->processes[i];

		if (!p->pid || (step == STEP_TOUCH && !is_first_of_node(b, i)))
			continue;
		p->busy = send(p->fd, &letter, 1, MSG_NOSIGNAL) == 1;
		if (!p->busy)
			end_process(p);
	}
	for (size_t i = 0; i < b->nr_processes; i++) {
		struct process *p = &b->processes[i];
		struct pollfd poll_fd = {.fd = p->fd, .events = POLLIN};
		char answer;

		while (p->busy && poll(&poll_fd, 1, POLL_MS) <= 0)
			if (stop(arg))
				return -EINTR;
		if (p->busy && read(p->fd, &answer, 1) != 1)
			end_process(p);
		p->busy = false;
	}
	return stop(arg) ? -EINTR : 0;
}

/* What was freed may wait for all CPUs to have passed a point; membarrier() waits for the same. */
static void settle(void)
{
	const struct timespec nap = {.tv_nsec = SETTLE_NS};

	for (unsigned int i = 0; i < 2; i++) {
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
		nanosleep(&nap, NULL);
	}
}

int burn_in_prepare(struct burn_in *b, burn_in_stop stop, void *arg)
{
	int rc;

	rc = command(b, STEP_TOUCH, stop, arg);
	if (rc == 0)
		settle();
	return rc ? rc : command(b, STEP_HOLD, stop, arg);
}

/* Each cpu's statistics worker comes about every second and drains what is too much on its lists. */
static int await_workers(burn_in_stop stop, void *arg)
{
	const struct timespec nap = {.tv_nsec = SETTLE_NS};

	for (unsigned int waited = 0; waited < WORKERS_NS / SETTLE_NS; waited++) {
		if (stop(arg))
			return -EINTR;
		nanosleep(&nap, NULL);
	}
	return 0;
}

int burn_in_release(struct burn_in *b, burn_in_stop stop, void *arg)
{
	int rc;

	rc = command(b, STEP_RELEASE, stop, arg);
	if (rc)
		return rc;
	for (size_t i = 0; i < b->nr_processes; i++)
		end_process(&b->processes[i]);
	settle();
	return await_workers(stop, arg);
}
