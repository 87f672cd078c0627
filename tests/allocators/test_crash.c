/* SPDX-License-Identifier: MIT */
/*
 * A process that allocates and frees with two threads is killed at a random moment; another one
 * recovers from its metadata file and accounts for every frame: what an allocation had returned is
 * allocated, what a free had returned is free, and of the rest no more is allocated than the
 * operations in flight asked for. Runs over all built-in back ends that are PERSISTENT and
 * CONCURRENT, or over the specifications given as arguments.
 *
 * A kill stops threads between any two instructions, but what they stored stays: this is the death
 * of a process, not a power failure. The accounting itself is tested on a bitmap that is right and
 * on variants of it that are not.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/gfp.h"
#include "tests/effort.h"
#include "tests/skip.h"

#define FRAMES	     24576 /* 96 MiB */
#define THREADS	     2
#define SLOTS	     4096 /* live blocks of a thread */
#define KILLS	     (200 * test_effort())
#define GFP_KERNEL   (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM | GFP_IO | GFP_FS)
#define GFP_HIGHUSER (GFP_KERNEL | GFP_HARDWALL | GFP_HIGHMEM | GFP_MOVABLE)

/* ---- what the child tells: one store each, so that a kill cannot cut it in two ---- */

/*
 * A live block, and what a thread is about to do with it; @slot is the one that holds the block, or
 * will.
 */
struct block {
	pfn_t pfn;
	uint16_t slot;
	uint8_t order;
	bool movable, present;
	uint8_t doing;
};

enum doing {
	DOING_NOTHING, /* or what changes no frame */
	DOING_ALLOC,   /* order */
	DOING_ALLOC_AT,
	DOING_FREE,
	DOING_HALVE, /* on paper only: one block becomes two, of which one will be freed */
};

typedef _Atomic uint64_t shared_block;

struct shared {
	_Atomic uint32_t running;
	_Atomic int refused; /* the error a live block's free got */
	struct error err;    /* why the child could not begin */
	struct {
		shared_block log;
		shared_block blocks[SLOTS];
	} threads[THREADS];
};

static void tell(shared_block *word, struct block b)
{
	uint64_t raw = b.pfn | (uint64_t)b.order << 40 | (uint64_t)b.movable << 44 |
		       (uint64_t)b.present << 45 | (uint64_t)b.slot << 48 | (uint64_t)b.doing << 60;

	/* The order of a thread's stores is what the parent relies on. */
	atomic_store_explicit(word, raw, memory_order_release);
}

static struct block told(const shared_block *word)
{
	uint64_t raw = atomic_load_explicit(word, memory_order_acquire);

	return (struct block){
		.pfn = raw & low_bits(40),
		.order = raw >> 40 & 15,
		.movable = raw >> 44 & 1,
		.present = raw >> 45 & 1,
		.slot = raw >> 48 & (SLOTS - 1),
		.doing = (uint8_t)(raw >> 60 & 15),
	};
}

static const struct block nothing;

static uint64_t block_frames(struct block b)
{
	return UINT64_C(1) << b.order;
}

static struct alloc_request request_of(struct block b, unsigned int cpu)
{
	return (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = b.movable ? GFP_HIGHUSER : GFP_KERNEL,
		.cpu = (uint16_t)cpu,
		.order = (uint8_t)b.order,
		.migratetype = b.movable ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE,
	};
}

/* ---- the child ---- */

struct worker {
	const struct allocator_ops *ops;
	struct allocator *a;
	struct shared *shared;
	shared_block *log, *blocks;
	unsigned int cpu, seed, style;
	bool filling;
	uint16_t used[SLOTS], unused[SLOTS]; /* slots */
	size_t nr_used, nr_unused;
};

static unsigned int below(unsigned int *seed, unsigned int n)
{
	return (unsigned int)rand_r(seed) % n;
}

static uint8_t random_order(struct worker *w)
{
	static const uint8_t orders[3][16] = {
		{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		{0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10},
		{9, 9, 9, 9, 9, 10, 10, 7, 8, 8, 0, 0, 0, 3, 6, 6},
	};

	return orders[w->style][below(&w->seed, 16)];
}

static void keep(struct worker *w, struct block b)
{
	uint16_t slot = w->unused[--w->nr_unused];

	w->used[w->nr_used++] = slot;
	b.present = true;
	b.slot = 0;
	b.doing = DOING_NOTHING;
	tell(&w->blocks[slot], b);
}

static void do_alloc(struct worker *w)
{
	struct block b = {.order = random_order(w), .movable = below(&w->seed, 2)};
	struct alloc_request req = request_of(b, w->cpu);
	pfn_t pfn;

	b.doing = DOING_ALLOC;
	b.slot = w->unused[w->nr_unused - 1];
	tell(w->log, b);
	pfn = w->ops->alloc(w->a, &req).pfn;
	if (pfn == PFN_NONE) {
		w->filling = false;
	} else {
		b.pfn = pfn;
		keep(w, b);
	}
	tell(w->log, nothing);
}

static void do_alloc_at(struct worker *w)
{
	struct block b = {.order = random_order(w), .movable = true};
	struct alloc_request req = request_of(b, w->cpu);

	b.pfn = align_down(below(&w->seed, FRAMES), block_frames(b));
	b.doing = DOING_ALLOC_AT;
	b.slot = w->unused[w->nr_unused - 1];
	tell(w->log, b);
	if (w->ops->alloc_at(w->a, b.pfn, &req) == 0)
		keep(w, b);
	tell(w->log, nothing);
}

/* Keep the upper half of a block in a slot of its own. */
static void halve(struct worker *w, size_t index)
{
	uint16_t slot = w->used[index];
	struct block b = told(&w->blocks[slot]), upper;

	b.doing = DOING_HALVE;
	b.slot = slot;
	tell(w->log, b);
	b.doing = DOING_NOTHING;
	b.slot = 0;
	b.order--;
	upper = b;
	upper.pfn += block_frames(b);
	keep(w, upper);
	tell(&w->blocks[slot], b);
	tell(w->log, nothing);
}

static void do_free(struct worker *w)
{
	size_t index = below(&w->seed, (unsigned int)w->nr_used);
	uint16_t slot = w->used[index];
	struct block b = told(&w->blocks[slot]);
	struct alloc_request req;
	int rc;

	if (w->ops->capabilities & ALLOCATOR_SPLIT && below(&w->seed, 3) == 0) {
		for (; b.order && w->nr_unused && below(&w->seed, 4); b = told(&w->blocks[slot]))
			halve(w, index);
	}
	req = request_of(b, w->cpu);
	b.doing = DOING_FREE;
	b.slot = slot;
	tell(w->log, b);
	rc = w->ops->free(w->a, b.pfn, &req);
	if (rc)
		w->shared->refused = rc;
	tell(&w->blocks[slot], nothing);
	w->used[index] = w->used[--w->nr_used];
	w->unused[w->nr_unused++] = slot;
	tell(w->log, nothing);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->filling = true;
	for (uint16_t slot = 0; slot < SLOTS; slot++)
		w->unused[w->nr_unused++] = slot;
	w->shared->running++;
	for (;;) {
		unsigned int what = below(&w->seed, 1000);

		if (w->nr_unused < 16)
			w->filling = false;
		if (w->nr_used < 8)
			w->filling = true;
		if (what < 3 && w->ops->drain)
			w->ops->drain(w->a);
		else if (what < 50 && w->ops->alloc_at && w->nr_unused)
			do_alloc_at(w);
		else if (w->nr_used && (what < (w->filling ? 350U : 650U) || !w->nr_unused))
			do_free(w);
		else if (w->nr_unused)
			do_alloc(w);
	}
	return NULL;
}

/* ---- the parent ---- */

struct crash {
	struct allocator_spec *spec;
	const struct allocator_ops *ops;
	struct machine *m;
	struct shared *shared;
	struct allocator_place place;
	char dir[256], path[300];
	unsigned int seed;
	/* Of the last kill: who must have each frame (thread + 1), may it be taken, is it. */
	uint8_t must[FRAMES], may[FRAMES], taken[FRAMES];
	uint64_t in_flight_anywhere, in_flight; /* frames */
	uint64_t kills_in[DOING_HALVE + 1], recovered_frames;
	char why[600];
};

/* Where files cost no disk access, if there is such a place. */
static const char *scratch_directory(void)
{
	const char *dir = getenv("TMPDIR");

	if (access("/dev/shm", W_OK) == 0)
		return "/dev/shm";
	return dir ? dir : P_tmpdir;
}

static bool wrong(struct crash *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct crash *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, args);
	va_end(args);
	return false;
}

/* Live until killed; returns only when it cannot begin. */
static void live(struct crash *c, unsigned int seed, bool again)
{
	static struct worker workers[THREADS];
	struct allocator_instance *instance;
	pthread_t threads[THREADS];

	if (again ? allocator_instance_recover(c->spec, c->m, &c->place, &instance, &c->shared->err)
		  : allocator_instance_create(c->spec, c->m, &c->place, &instance, &c->shared->err))
		return;
	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.ops = c->ops,
			.a = instance->a,
			.shared = c->shared,
			.log = &c->shared->threads[i].log,
			.blocks = c->shared->threads[i].blocks,
			.cpu = i,
			.seed = seed + i,
			.style = seed / THREADS % 3,
		};
		if (pthread_create(&threads[i], NULL, work, &workers[i]))
			return;
	}
	pthread_join(threads[0], NULL);
}

static bool kill_one(struct crash *c, bool again)
{
	struct timespec moment = {.tv_nsec = below(&c->seed, 3000) * 1000L};
	unsigned int seed = (unsigned int)rand_r(&c->seed);
	int status = 0;
	pid_t pid;

	memset(c->shared, 0, sizeof(*c->shared));
	pid = fork();
	if (pid < 0)
		return wrong(c, "fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		live(c, seed, again);
		_exit(1);
	}
	while (c->shared->running < THREADS && waitpid(pid, &status, WNOHANG) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
	if (c->shared->running < THREADS)
		return wrong(c, "the child ended with status 0x%x before it ran: %s", status,
			     c->shared->err.text);
	nanosleep(&moment, NULL);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		return wrong(c, "the child ended by itself with status 0x%x", status);
	if (c->shared->refused)
		return wrong(c, "a free of a live block got %d", c->shared->refused);
	return true;
}

/* What thread @t was about to do: it may have happened. */
static void settle(struct crash *c, unsigned int t)
{
	shared_block *blocks = c->shared->threads[t].blocks;
	struct block b = told(&c->shared->threads[t].log);
	bool held = told(&blocks[b.slot]).present;
	pfn_t pfn = b.pfn;

	c->kills_in[b.doing]++;
	if (b.doing == DOING_HALVE) {
		for (unsigned int i = 0; i < SLOTS; i++) {
			struct block part = told(&blocks[i]);

			if (part.present && part.pfn - pfn < block_frames(b))
				tell(&blocks[i], nothing);
		}
		b.doing = DOING_NOTHING;
		tell(&blocks[b.slot], b);
		return;
	}
	/* It had returned if the slot says so. */
	if (b.doing == DOING_NOTHING || held != (b.doing == DOING_FREE))
		return;
	c->in_flight += block_frames(b);
	if (b.doing == DOING_ALLOC) {
		c->in_flight_anywhere += block_frames(b);
		return;
	}
	memset(&c->may[pfn], 1, block_frames(b));
	tell(&blocks[b.slot], nothing);
}

/* What must be allocated: all blocks that are held. */
static bool expect(struct crash *c)
{
	memset(c->must, 0, sizeof(c->must));
	memset(c->may, 0, sizeof(c->may));
	c->in_flight = c->in_flight_anywhere = 0;
	for (unsigned int t = 0; t < THREADS; t++)
		settle(c, t);
	for (unsigned int i = 0; i < THREADS * SLOTS; i++) {
		struct block b = told(&c->shared->threads[i / SLOTS].blocks[i % SLOTS]);
		pfn_t pfn = b.pfn;

		if (!b.present)
			continue;
		if (pfn + block_frames(b) > FRAMES || !is_aligned(pfn, block_frames(b)))
			return wrong(c, "pfn %" PRIu64 " of order %u is no block of this machine",
				     pfn, b.order);
		for (uint64_t k = 0; k < block_frames(b); k++) {
			if (c->must[pfn + k])
				return wrong(c, "pfn %" PRIu64 " was handed out twice", pfn + k);
			c->must[pfn + k] = (uint8_t)(1 + i / SLOTS);
		}
	}
	return true;
}

/* Take and give back, which works for free blocks only. */
static int probe_block(struct crash *c, struct allocator *a, pfn_t pfn, uint8_t order)
{
	struct alloc_request req = request_of((struct block){.order = order, .movable = true}, 0);
	int rc = c->ops->alloc_at(a, pfn, &req);

	if (rc == 0)
		rc = c->ops->free(a, pfn, &req);
	return rc;
}

static bool probe(struct crash *c, struct allocator *a)
{
	memset(c->taken, 0, sizeof(c->taken));
	for (pfn_t pfn = 0; pfn < FRAMES; pfn++) {
		int rc;

		if (pfn % HUGE_FRAMES == 0 && probe_block(c, a, pfn, HUGE_ORDER) == 0) {
			pfn += HUGE_FRAMES - 1;
			continue;
		}
		rc = probe_block(c, a, pfn, 0);
		if (rc && rc != -EBUSY)
			return wrong(c, "pfn %" PRIu64 ": taking and freeing it got %d", pfn, rc);
		c->taken[pfn] = rc != 0;
	}
	return true;
}

/* Is what is taken what must be, and else only what was in flight? */
static bool compare(struct crash *c)
{
	uint64_t expected = 0, taken = 0, strays = 0;
	pfn_t stray = PFN_NONE;

	for (pfn_t pfn = 0; pfn < FRAMES; pfn++) {
		expected += c->must[pfn] != 0;
		taken += c->taken[pfn];
		if (c->must[pfn] && !c->taken[pfn])
			return wrong(c, "pfn %" PRIu64 " was allocated and is free", pfn);
		if (c->taken[pfn] && !c->must[pfn] && !c->may[pfn]) {
			stray = pfn;
			strays++;
		}
	}
	if (strays > c->in_flight_anywhere)
		return wrong(c,
			     "%" PRIu64 " frames are allocated to nobody, such as pfn %" PRIu64
			     "; %" PRIu64 " were asked for in flight",
			     strays, stray, c->in_flight_anywhere);
	if (taken - expected > c->in_flight)
		return wrong(c,
			     "%" PRIu64 " frames allocated, expected %" PRIu64
			     " and at most %" PRIu64 " in flight",
			     taken, expected, c->in_flight);
	c->recovered_frames += expected;
	return true;
}

static bool checked(struct crash *c, const struct allocator *a, const char *when)
{
	struct error err;

	if (c->ops->check && c->ops->check(a, &err))
		return wrong(c, "%s: %s", when, err.text);
	return true;
}

static bool free_live(struct crash *c, struct allocator *a)
{
	for (unsigned int i = 0; i < THREADS * SLOTS; i++) {
		struct block b = told(&c->shared->threads[i / SLOTS].blocks[i % SLOTS]);
		struct alloc_request req = request_of(b, i % THREADS);
		int rc = b.present ? c->ops->free(a, b.pfn, &req) : 0;

		if (rc)
			return wrong(c, "live block at pfn %" PRIu64 " of order %u: freeing got %d",
				     b.pfn, b.order, rc);
	}
	memset(c->must, 0, sizeof(c->must));
	return true;
}

/* Give back what was in flight and got stuck; then memory must be as good as new. */
static bool renew(struct crash *c, struct allocator *a)
{
	struct alloc_request req = request_of((struct block){.movable = true}, 0);

	for (pfn_t pfn = 0; pfn < FRAMES; pfn++) {
		if (c->taken[pfn] && c->ops->free(a, pfn, &req))
			return wrong(c, "pfn %" PRIu64 " can be neither taken nor freed", pfn);
	}
	if (c->ops->drain)
		c->ops->drain(a);
	req.order = MAX_ORDER;
	for (unsigned int i = 0; i < FRAMES >> MAX_ORDER; i++) {
		if (c->ops->alloc(a, &req).pfn == PFN_NONE)
			return wrong(c, "of free memory only %u blocks can be had", i);
	}
	for (pfn_t pfn = 0; pfn < FRAMES; pfn += UINT64_C(1) << MAX_ORDER) {
		if (c->ops->free(a, pfn, &req))
			return wrong(c, "pfn %" PRIu64 " cannot be freed after all", pfn);
	}
	return true;
}

static bool account(struct crash *c, struct allocator *a)
{
	return checked(c, a, "recovered") && expect(c) && probe(c, a) && compare(c) &&
	       checked(c, a, "probed") && free_live(c, a) && probe(c, a) && compare(c) &&
	       (!(c->ops->capabilities & ALLOCATOR_SPLIT) || renew(c, a)) &&
	       checked(c, a, "renewed");
}

/* One life and death; @again: go on with the file of the last one. */
static bool crash(struct crash *c, bool again)
{
	struct allocator_instance *instance;
	struct error err;
	bool fine;

	if (!again)
		unlink(c->path);
	if (!kill_one(c, again))
		return false;
	if (allocator_instance_recover(c->spec, c->m, &c->place, &instance, &err))
		return wrong(c, "%s", err.text);
	fine = account(c, instance->a);
	allocator_instance_destroy(instance);
	return fine;
}

static struct crash *crash_create(struct allocator_spec *spec)
{
	struct crash *c = calloc(1, sizeof(*c));

	c->spec = spec;
	c->ops = spec->ops;
	c->seed = 3;
	snprintf(c->dir, sizeof(c->dir), "%s/quire-crash-XXXXXX", scratch_directory());
	assert_non_null(mkdtemp(c->dir));
	snprintf(c->path, sizeof(c->path), "%s/x.meta", c->dir);
	c->place.metadata_file = c->path;
	assert_int_equal(
		machine_from_memory((uint64_t)FRAMES << PAGE_SHIFT_DEFAULT, THREADS, &c->m, NULL),
		0);
	c->shared = mmap(NULL, sizeof(*c->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(c->shared, MAP_FAILED);
	return c;
}

static void crash_destroy(struct crash *c)
{
	munmap(c->shared, sizeof(*c->shared));
	machine_destroy(c->m);
	unlink(c->path);
	rmdir(c->dir);
	free(c);
}

/* Up to @kills, until something is wrong. Return: which one it was; @kills: none. */
static unsigned int crash_until_wrong(struct crash *c, unsigned int kills)
{
	bool renewed = c->ops->capabilities & ALLOCATOR_SPLIT;

	for (unsigned int i = 0; i < kills; i++) {
		unsigned int seed = c->seed;

		if (!crash(c, renewed && i % 2)) {
			size_t length = strlen(c->why);

			snprintf(c->why + length, sizeof(c->why) - length, " (kill %u, seed %u)", i,
				 seed);
			return i;
		}
	}
	return kills;
}

/* ---- the control: a bitmap whose bits are the only truth ---- */

enum fault { FAULT_NONE, FAULT_VOLATILE, FAULT_LATE_ALLOC, FAULT_LATE_FREE, FAULT_LOST_UNDO };

static const char *const fault_names[] = {"none",      "volatile",  "late_alloc",
					  "late_free", "lost_undo", NULL};

static const struct option bitmap_options[] = {
	{.name = "fault",
	 .type = OPTION_CHOICE,
	 .fallback = "none",
	 .choices = fault_names,
	 .help = "what it does wrong"},
	{.name = NULL},
};

#define WORDS (FRAMES / 64)

struct change {
	pfn_t pfn;
	unsigned int order;
	bool waits;
};

struct allocator {
	_Atomic uint64_t *kept; /* persistent */
	_Atomic uint64_t *bits; /* what it works on: the same, unless a fault says otherwise */
	enum fault fault;
	struct {
		_Alignas(64) _Atomic uint32_t hint;
		struct change late;
	} cpus[THREADS];
};

static uint64_t mask_of(pfn_t pfn, unsigned int order)
{
	return low_bits(1U << (order < 6 ? order : 6)) << pfn % 64;
}

static unsigned int words_of(unsigned int order)
{
	return order > 6 ? 1U << (order - 6) : 1;
}

/* All bits of @mask from all @from to all not @from. */
static bool word_turn(_Atomic uint64_t *word, uint64_t mask, bool from)
{
	uint64_t old = atomic_load(word);

	do {
		if ((old & mask) != (from ? mask : 0))
			return false;
	} while (!atomic_compare_exchange_weak(word, &old, old ^ mask));
	return true;
}

static bool bits_turn(struct allocator *a, pfn_t pfn, unsigned int order, bool from)
{
	for (unsigned int i = 0; i < words_of(order); i++) {
		if (word_turn(&a->bits[pfn / 64 + i], mask_of(pfn, order), from))
			continue;
		while (i-- && a->fault != FAULT_LOST_UNDO)
			word_turn(&a->bits[pfn / 64 + i], mask_of(pfn, order), !from);
		return false;
	}
	return true;
}

static void kept_turn(struct allocator *a, pfn_t pfn, unsigned int order, bool on)
{
	for (unsigned int i = 0; i < words_of(order); i++) {
		if (on)
			atomic_fetch_or(&a->kept[pfn / 64 + i], mask_of(pfn, order));
		else
			atomic_fetch_and(&a->kept[pfn / 64 + i], ~mask_of(pfn, order));
	}
}

/* Where the bits are not kept ones: bring the change over, if at all and when the fault says. */
static void follow(struct allocator *a, pfn_t pfn, unsigned int order, bool on, unsigned int cpu)
{
	struct change *late = &a->cpus[cpu].late;
	bool waits = on == (a->fault == FAULT_LATE_ALLOC);

	if (a->bits == a->kept || a->fault == FAULT_VOLATILE)
		return;
	if (late->waits)
		kept_turn(a, late->pfn, late->order, a->fault == FAULT_LATE_ALLOC);
	*late = (struct change){pfn, order, waits};
	if (!waits)
		kept_turn(a, pfn, order, on);
}

static int bitmap_begin(const struct alloc_env *env, struct allocator **out)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);

	if (!a)
		return -ENOMEM;
	a->fault = (enum fault)env->option_choice(env, "fault");
	a->kept = env->meta(env, FRAMES / 8, 64, META_PERSISTENT);
	a->bits = a->kept;
	if (a->fault != FAULT_NONE && a->fault != FAULT_LOST_UNDO)
		a->bits = env->meta(env, FRAMES / 8, 64, META_VOLATILE);
	if (!a->kept || !a->bits)
		return -ENOMEM;
	for (unsigned int i = 0; i < WORDS; i++)
		a->bits[i] = a->kept[i];
	*out = a;
	return 0;
}

static void bitmap_destroy(struct allocator *a)
{
	(void)a;
}

static struct alloc_result bitmap_alloc(struct allocator *a, const struct alloc_request *req)
{
	uint32_t blocks = FRAMES >> req->order;
	uint32_t first = a->cpus[req->cpu].hint >> req->order;

	for (uint32_t i = 0; i < blocks; i++) {
		pfn_t pfn = (pfn_t)((first + i) % blocks) << req->order;

		if (bits_turn(a, pfn, req->order, false)) {
			a->cpus[req->cpu].hint = (uint32_t)pfn;
			follow(a, pfn, req->order, true, req->cpu);
			return (struct alloc_result){.pfn = pfn};
		}
	}
	return (struct alloc_result){.pfn = PFN_NONE};
}

static int bitmap_alloc_at(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	if (!bits_turn(a, pfn, req->order, false))
		return -EBUSY;
	follow(a, pfn, req->order, true, req->cpu);
	return 0;
}

static int bitmap_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	if (!bits_turn(a, pfn, req->order, true))
		return -EINVAL;
	follow(a, pfn, req->order, false, req->cpu);
	return 0;
}

static const struct allocator_ops bitmap_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "bitmap",
	.summary = "a bit per frame",
	.capabilities =
		ALLOCATOR_CONCURRENT | ALLOCATOR_PERSISTENT | ALLOCATOR_ALLOC_AT | ALLOCATOR_SPLIT,
	.options = bitmap_options,
	.create = bitmap_begin,
	.destroy = bitmap_destroy,
	.alloc = bitmap_alloc,
	.free = bitmap_free,
	.alloc_at = bitmap_alloc_at,
	.recover = bitmap_begin,
};

/* ---- tests ---- */

static void bitmap_with(const char *fault, struct allocator_spec *spec)
{
	*spec = (struct allocator_spec){.ops = &bitmap_ops};
	assert_int_equal(allocator_check_ops(spec->ops, "bitmap", NULL), 0);
	assert_int_equal(option_set_create(spec->ops->options, &spec->options, NULL), 0);
	assert_int_equal(option_set_assign(spec->options, "fault", fault, NULL), 0);
}

/* @kills must go well, and have hit threads in the midst of work with something to lose. */
static void survive(struct allocator_spec *spec, const char *name, unsigned int kills)
{
	struct crash *c = crash_create(spec);
	unsigned int survived = crash_until_wrong(c, kills);
	uint64_t allocs = c->kills_in[DOING_ALLOC], ats = c->kills_in[DOING_ALLOC_AT];
	uint64_t frees = c->kills_in[DOING_FREE], frames = c->recovered_frames / 2;
	char why[sizeof(c->why)];

	memcpy(why, c->why, sizeof(why));
	crash_destroy(c);
	if (survived < kills)
		fail_msg("%s: %s", name, why);
	print_message("# %s: of %u kills x %d threads, in an alloc %" PRIu64 ", alloc at %" PRIu64
		      ", free %" PRIu64 "; live at a kill %" PRIu64 " frames on average\n",
		      name, kills, THREADS, allocs, ats, frees, frames / kills);
	assert_true(allocs > 0);
	assert_true(frees > 0);
	assert_true(frames > 0);
}

static void a_plain_bitmap_survives(void **state)
{
	struct allocator_spec spec;

	(void)state;
	bitmap_with("none", &spec);
	survive(&spec, "bitmap", KILLS / 4);
	option_set_destroy(spec.options);
}

static void bitmaps_that_forget_or_leak_are_caught(void **state)
{
	(void)state;
	for (unsigned int fault = FAULT_VOLATILE; fault_names[fault]; fault++) {
		struct allocator_spec spec;
		struct crash *c;
		unsigned int survived;

		bitmap_with(fault_names[fault], &spec);
		c = crash_create(&spec);
		survived = crash_until_wrong(c, KILLS / 2);
		print_message("# %s: %s\n", fault_names[fault], c->why);
		crash_destroy(c);
		option_set_destroy(spec.options);
		if (survived == KILLS / 2)
			fail_msg("%s is not caught by %u kills", fault_names[fault], survived);
	}
}

struct victim {
	char spec[64], test[128];
	unsigned int kills;
};

static void every_frame_is_accounted_for_after_kills(void **state)
{
	const struct victim *victim = *state;
	struct allocator_spec *spec;
	struct error err;

	if (allocator_spec_parse(victim->spec, &spec, &err))
		fail_msg("%s", err.text);
	survive(spec, spec->text, victim->kills);
	allocator_spec_destroy(spec);
}

static void no_back_end_to_kill(void **state)
{
	(void)state;
	skip_because("no built-in back end is both PERSISTENT and CONCURRENT");
}

#define VICTIMS_MAX 32
#define NEEDED	    ((uint32_t)(ALLOCATOR_PERSISTENT | ALLOCATOR_CONCURRENT | ALLOCATOR_ALLOC_AT))

/* Modes of persistence that a back end may have as options, each with a value to try. */
static const char *const modes[][2] = {{"persist", "adr"}, {"rows", "on"}};

static bool has_option(const struct allocator_ops *ops, const char *name)
{
	for (const struct option *o = ops->options; o && o->name; o++) {
		if (strcmp(o->name, name) == 0)
			return true;
	}
	return false;
}

static void add_victim(struct victim *victims, size_t *n, unsigned int kills, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void add_victim(struct victim *victims, size_t *n, unsigned int kills, const char *fmt, ...)
{
	struct victim *victim = &victims[*n];
	va_list args;

	if (*n == VICTIMS_MAX)
		return;
	(*n)++;
	va_start(args, fmt);
	vsnprintf(victim->spec, sizeof(victim->spec), fmt, args);
	va_end(args);
	snprintf(victim->test, sizeof(victim->test), "every_frame_is_accounted_for_after_kills %s",
		 victim->spec);
	victim->kills = kills;
}

/* All built-in back ends that can be killed, with each mode they have. */
static void add_builtins(struct victim *victims, size_t *n)
{
	for (size_t i = 0; allocator_builtins[i]; i++) {
		const struct allocator_ops *ops = allocator_builtins[i];

		if ((ops->capabilities & NEEDED) != NEEDED)
			continue;
		add_victim(victims, n, KILLS, "%s", ops->name);
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
			if (has_option(ops, modes[m][0]))
				add_victim(victims, n, KILLS / 2, "%s:%s=%s", ops->name,
					   modes[m][0], modes[m][1]);
		}
	}
}

static struct CMUnitTest test_of(const char *name, CMUnitTestFunction function, void *state)
{
	return (struct CMUnitTest){.name = name, .test_func = function, .initial_state = state};
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[2 + VICTIMS_MAX] = {
		cmocka_unit_test(a_plain_bitmap_survives),
		cmocka_unit_test(bitmaps_that_forget_or_leak_are_caught),
		cmocka_unit_test(no_back_end_to_kill),
	};
	static struct victim victims[VICTIMS_MAX];
	size_t n = 0;

	for (int i = 1; i < argc; i++)
		add_victim(victims, &n, KILLS, "%s", argv[i]);
	if (argc == 1)
		add_builtins(victims, &n);
	for (size_t i = 0; i < n; i++)
		tests[2 + i] = test_of(victims[i].test, every_frame_is_accounted_for_after_kills,
				       &victims[i]);
	/* Not the macro, which would count the unused elements too. */
	return _cmocka_run_group_tests("crash", tests, 2 + (n ? n : 1), NULL, NULL);
}
