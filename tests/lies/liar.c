/* SPDX-License-Identifier: MIT */
/*
 * A back end that is sound but for one lie, told by its option: what the engine, the watcher of its process and
 * all who show results have to find out. A map of bits searched from the last place on; small and obvious.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "allocators/allocator.h"
#include "base/bits.h"

#define LIES(X)                                                                                    \
	X(nothing)                                                                                 \
	/* placement */                                                                            \
	X(overlap)                                                                                 \
	X(misalign)                                                                                \
	X(outside)                                                                                 \
	X(far_outside)                                                                             \
	X(absent)                                                                                  \
	X(high_zone)                                                                               \
	X(refuse_all)                                                                              \
	X(refuse_some)                                                                             \
	X(refuse_prefill)                                                                          \
	X(odd_flags)                                                                               \
	/* frees */                                                                                \
	X(refuse_frees)                                                                            \
	X(never_free)                                                                              \
	X(free_too_much)                                                                           \
	X(free_too_little)                                                                         \
	/* statistics and checks */                                                                \
	X(stats_high)                                                                              \
	X(stats_low)                                                                               \
	X(stats_wild)                                                                              \
	X(stats_many)                                                                              \
	X(stats_nameless)                                                                          \
	X(check)                                                                                   \
	X(check_silent)                                                                            \
	/* failing to begin */                                                                     \
	X(create)                                                                                  \
	X(create_silent)                                                                           \
	X(create_says_both)                                                                        \
	X(create_crash)                                                                            \
	X(adopt)                                                                                   \
	/* dying */                                                                                \
	X(segv)                                                                                    \
	X(abort)                                                                                   \
	X(exit_0)                                                                                  \
	X(exit_7)                                                                                  \
	X(kill)                                                                                    \
	X(stats_crash)                                                                             \
	X(destroy_crash)                                                                           \
	/* no end */                                                                               \
	X(loop_alloc)                                                                              \
	X(loop_free)                                                                               \
	X(loop_create)                                                                             \
	X(loop_destroy)                                                                            \
	X(loop_deaf)                                                                               \
	X(stop)                                                                                    \
	X(slow)                                                                                    \
	X(tick_past)                                                                               \
	/* its surroundings */                                                                     \
	X(print)                                                                                   \
	X(print_much)                                                                              \
	X(junk)                                                                                    \
	X(forge)                                                                                   \
	X(close_all)                                                                               \
	X(orphan)                                                                                  \
	X(orphan_writes)                                                                           \
	X(thread)                                                                                  \
	X(hog)

enum lie {
#define X(name) LIE_##name,
	LIES(X)
#undef X
};

static const char *const lies[] = {
#define X(name) #name,
	LIES(X)
#undef X
		NULL};

static const struct option liar_options[] = {
	{.name = "lie",
	 .type = OPTION_CHOICE,
	 .choices = lies,
	 .fallback = "nothing",
	 .help = "what it lies about"},
	{.name = "at",
	 .type = OPTION_UINT,
	 .fallback = "1000",
	 .max = 1e12,
	 .help = "honest calls before it does"},
	{.name = NULL},
};

struct allocator {
	const struct machine *m;
	enum lie lie;
	uint64_t calls, at;
	pfn_t start, end, next;
	uint64_t free_frames;
	uint8_t *held; /* a byte a frame; 2: absent */
	pfn_t last;    /* handed out last */
};

/* ---- an honest allocator ---- */

static bool all_free(const struct allocator *a, pfn_t pfn, uint64_t frames)
{
	for (uint64_t i = 0; i < frames; i++)
		if (a->held[pfn - a->start + i])
			return false;
	return true;
}

static void hold(struct allocator *a, pfn_t pfn, uint64_t frames)
{
	memset(a->held + (pfn - a->start), 1, frames);
	a->free_frames -= frames;
	a->last = pfn;
}

static void release(struct allocator *a, pfn_t pfn, uint64_t frames)
{
	memset(a->held + (pfn - a->start), 0, frames);
	a->free_frames += frames;
}

static pfn_t zone_end(const struct allocator *a, const struct alloc_request *req)
{
	return a->lie == LIE_high_zone && a->calls > a->at ? a->end : a->m->zones[req->zone].end;
}

static pfn_t find(struct allocator *a, const struct alloc_request *req)
{
	const uint64_t frames = UINT64_C(1) << req->order;
	const pfn_t first = align_up(a->start, frames), end = zone_end(a, req);
	pfn_t pfn = align_up(a->next, frames);

	for (uint64_t tried = 0; tried <= (a->end - a->start) / frames + 1; tried++) {
		if (pfn < first || pfn + frames > end)
			pfn = first;
		if (pfn + frames <= end && all_free(a, pfn, frames))
			return pfn;
		pfn += frames;
	}
	return PFN_NONE;
}

static void find_managed(struct allocator *a)
{
	memset(a->held, 2, a->end - a->start);
	for (uint32_t z = 0; z < a->m->nr_zones; z++)
		memset(a->held + (a->m->zones[z].start - a->start), 0,
		       a->m->zones[z].end - a->m->zones[z].start);
	for (size_t i = 0; i < a->m->nr_absent; i++)
		memset(a->held + (a->m->absent[i].range.start - a->start), 2,
		       a->m->absent[i].range.end - a->m->absent[i].range.start);
	a->free_frames = 0;
	for (uint64_t i = 0; i < a->end - a->start; i++)
		a->free_frames += !a->held[i];
}

/* ---- lies that are no placement ---- */

static void __attribute__((noinline)) loop(void)
{
	for (volatile unsigned int i = 0;; i++)
		;
}

static void *spin(void *arg)
{
	loop();
	return arg;
}

/* Every descriptor it might have been given. */
static void write_junk(void)
{
	static const char junk[] = "SQLite format 3, or so it says; \x71\x72\x65\x63 and more";

	for (int fd = 3; fd < 64; fd++) {
		if (lseek(fd, 0, SEEK_SET) < 0 && errno == EBADF)
			continue;
		for (int i = 0; i < 100; i++)
			(void)!write(fd, junk, sizeof(junk));
	}
}

/* A record as the harness would write it, but for what only its writer knows. */
static void forge(void)
{
	const struct {
		uint32_t magic, kind;
		uint64_t bytes, hash;
		uint32_t body[4];
	} record = {.magic = 0x71726563, .kind = 5, .bytes = 16};

	for (int fd = 3; fd < 64; fd++)
		(void)!write(fd, &record, sizeof(record));
}

static void leave_process(bool writes)
{
	if (fork())
		return;
	signal(SIGTERM, SIG_IGN);
	for (int i = 0; i < 600; i++) {
		if (writes)
			write_junk();
		usleep(100000);
	}
	_exit(0);
}

static void eat_memory(void)
{
	for (;;) {
		char *some = malloc(64 << 20);

		if (some)
			memset(some, 1, 64 << 20);
	}
}

static void ignore_signals_and_loop(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	loop();
}

/* Everything a call of any kind may do once. */
static void misbehave(struct allocator *a)
{
	pthread_t thread;

	switch (a->lie) {
	case LIE_segv:
		raise(SIGSEGV);
		break;
	case LIE_abort:
		abort();
	case LIE_exit_0:
		exit(0);
	case LIE_exit_7:
		_exit(7);
	case LIE_kill:
		raise(SIGKILL);
		break;
	case LIE_stop:
		raise(SIGSTOP);
		break;
	case LIE_loop_deaf:
		ignore_signals_and_loop();
		break;
	case LIE_print:
		printf("liar speaks\n");
		break;
	case LIE_print_much:
		for (int i = 0; i < 20000; i++)
			printf("{\"schema\":1,\"runs\":[]} liar speaks\n");
		break;
	case LIE_junk:
		write_junk();
		break;
	case LIE_forge:
		forge();
		break;
	case LIE_close_all:
		for (int fd = 0; fd < 64; fd++)
			close(fd);
		break;
	case LIE_orphan:
		leave_process(false);
		break;
	case LIE_orphan_writes:
		leave_process(true);
		break;
	case LIE_thread:
		pthread_create(&thread, NULL, spin, NULL);
		break;
	case LIE_hog:
		eat_memory();
		break;
	default:
		break;
	}
}

/* One more call. Return: whether to lie in it. */
static bool liar_due(struct allocator *a)
{
	if (++a->calls == a->at + 1)
		misbehave(a);
	/* Two thirds of a second in all, however long the trace. */
	if (a->lie == LIE_slow && a->calls % 128 == 0 && a->calls > a->at &&
	    a->calls < a->at + 4096)
		usleep(200000);
	return a->calls > a->at;
}

/* ---- the table's functions ---- */

static int liar_create(const struct alloc_env *env, struct allocator **out)
{
	const enum lie lie = env->option_choice(env, "lie");
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);

	if (lie == LIE_create)
		return allocator_fail(env->error, ENOSPC, "liar does not want to");
	if (lie == LIE_create_silent)
		return -ENOSPC;
	if (lie == LIE_create_crash)
		raise(SIGSEGV);
	if (lie == LIE_loop_create)
		loop();
	if (!a)
		return allocator_fail(env->error, ENOMEM, "no memory");
	a->m = env->machine;
	a->lie = lie;
	a->at = env->option_uint(env, "at");
	a->start = machine_start(a->m);
	a->end = machine_end(a->m);
	a->next = a->start;
	a->held = env->meta(env, a->end - a->start, 64, META_VOLATILE);
	if (!a->held)
		return allocator_fail(env->error, ENOMEM, "no memory");
	find_managed(a);
	if (lie == LIE_create_says_both)
		allocator_fail(env->error, EIO, "it went well, and it did not");
	*out = a;
	return 0;
}

static void liar_destroy(struct allocator *a)
{
	if (a->lie == LIE_loop_destroy)
		loop();
	if (a->lie == LIE_destroy_crash)
		raise(SIGSEGV);
}

/* Where the lie puts a block that should be at @pfn. */
static pfn_t misplace(struct allocator *a, const struct alloc_request *req, pfn_t pfn)
{
	switch (a->lie) {
	case LIE_overlap:
		return a->last;
	case LIE_misalign:
		return req->order ? pfn + 1 : pfn;
	case LIE_outside:
		return a->end;
	case LIE_far_outside:
		return PFN_NONE - 1;
	case LIE_absent:
		return a->m->nr_absent
			       ? align_up(a->m->absent[0].range.start, UINT64_C(1) << req->order)
			       : pfn;
	default:
		return pfn;
	}
}

static struct alloc_result liar_alloc(struct allocator *a, const struct alloc_request *req)
{
	struct alloc_result got = {.pfn = PFN_NONE};
	const bool due = liar_due(a);

	if (due && a->lie == LIE_loop_alloc)
		loop();
	if (due && (a->lie == LIE_refuse_all || (a->lie == LIE_refuse_some && a->calls % 16 == 0)))
		return got;
	if (a->lie == LIE_refuse_prefill && (req->flags & ALLOC_PREFILL))
		return got;
	if (due && a->lie == LIE_high_zone && a->next < a->end - 4096)
		a->next = a->end - 4096;
	got.pfn = find(a, req);
	if (got.pfn == PFN_NONE)
		return got;
	if (due)
		got.flags = a->lie == LIE_odd_flags ? UINT64_MAX : 0;
	if (due && misplace(a, req, got.pfn) != got.pfn) {
		got.pfn = misplace(a, req, got.pfn);
		return got;
	}
	a->next = got.pfn;
	hold(a, got.pfn, UINT64_C(1) << req->order);
	return got;
}

static int liar_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	uint64_t frames = UINT64_C(1) << req->order;
	const bool due = liar_due(a);

	if (due && a->lie == LIE_loop_free)
		loop();
	if (due && a->lie == LIE_refuse_frees)
		return -EINVAL;
	if (due && a->lie == LIE_never_free)
		return 0;
	if (pfn < a->start || pfn >= a->end || frames > a->end - pfn)
		return 0;
	if (due && a->lie == LIE_free_too_much) {
		pfn = align_down(pfn, 2 * frames);
		frames = min_u64(2 * frames, a->end - pfn);
	}
	if (due && a->lie == LIE_free_too_little && frames > 1)
		frames /= 2;
	for (uint64_t i = 0; i < frames; i++)
		if (a->held[pfn - a->start + i] == 1)
			release(a, pfn + i, 1);
	return 0;
}

static int liar_adopt(struct allocator *a, const struct frame_map *map)
{
	if (a->lie == LIE_adopt)
		return -EUCLEAN;
	if (a->lie == LIE_refuse_prefill)
		return -ENOTSUP;
	find_managed(a);
	for (size_t i = 0; i < map->nr_runs; i++)
		if (frame_state_allocated(map->runs[i].state))
			hold(a, map->runs[i].start, map->runs[i].frames);
	return 0;
}

static uint64_t liar_tick(struct allocator *a, uint64_t now_ns)
{
	return a->lie == LIE_tick_past ? now_ns : UINT64_MAX;
}

static int liar_stats(const struct allocator *a, unsigned int zone, struct allocator_stats *stats)
{
	(void)zone;
	memset(stats, 0, sizeof(*stats));
	if (a->lie == LIE_stats_crash && a->calls > a->at)
		raise(SIGBUS);
	stats->free_frames = a->free_frames;
	stats->free_blocks[MIGRATE_MOVABLE][0] = a->free_frames;
	if (a->lie == LIE_stats_high)
		stats->free_frames++;
	if (a->lie == LIE_stats_low)
		stats->free_frames -= stats->free_frames > 0;
	if (a->lie == LIE_stats_wild)
		memset(stats->free_blocks, 0xa5, sizeof(stats->free_blocks));
	if (a->lie == LIE_stats_wild)
		stats->free_frames = stats->cached_frames = UINT64_MAX;
	if (a->lie == LIE_stats_many)
		stats->nr_counters = 1000000;
	if (a->lie == LIE_stats_nameless)
		stats->nr_counters = 1;
	return 0;
}

static int liar_check(const struct allocator *a, struct error *err)
{
	if (a->lie == LIE_check)
		return allocator_fail(err, EUCLEAN, "a free list runs in a circle");
	return a->lie == LIE_check_silent ? -EUCLEAN : 0;
}

const struct allocator_ops liar_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "liar",
	.summary = "sound, but for one lie",
	.capabilities = ALLOCATOR_SPLIT | ALLOCATOR_ZONES,
	.options = liar_options,
	.create = liar_create,
	.destroy = liar_destroy,
	.alloc = liar_alloc,
	.free = liar_free,
	.adopt = liar_adopt,
	.tick = liar_tick,
	.stats = liar_stats,
	.check = liar_check,
};
