/* SPDX-License-Identifier: MIT */
#include "allocators/jemalloc/copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>

#define NS_PER_S 1000000000

int quire_jemalloc_mallctl(const char *name, void *old, size_t *old_size, void *new_value,
			   size_t new_size);
extern const char *quire_jemalloc_malloc_conf;
/* Its setting opt.cache_oblivious, which version 5.3.0 does not read from its configuration. */
extern bool quire_jemalloc_je_opt_cache_oblivious;

/* ---- what it asks of the system, and is told ---- */

int quire_jemalloc_clock_gettime(clockid_t clock, struct timespec *time);
int quire_jemalloc_gettimeofday(struct timeval *time, void *zone);
char *quire_jemalloc_secure_getenv(const char *name);
ssize_t quire_jemalloc_readlink(const char *path, char *target, size_t bytes);

/*
 * Trace time inside copy_arena_decay(), 0 outside. jemalloc looks at the clock at moments it draws from the
 * address of its thread's state; so there must be nothing to see but where the caller wants it seen. Time
 * that runs backwards it ignores.
 */
static _Thread_local uint64_t told_ns;

int quire_jemalloc_clock_gettime(clockid_t clock, struct timespec *time)
{
	(void)clock;
	time->tv_sec = (time_t)(told_ns / NS_PER_S);
	time->tv_nsec = (long)(told_ns % NS_PER_S);
	return 0;
}

int quire_jemalloc_gettimeofday(struct timeval *time, void *zone)
{
	(void)zone;
	time->tv_sec = (time_t)(told_ns / NS_PER_S);
	time->tv_usec = (suseconds_t)(told_ns % NS_PER_S / 1000);
	return 0;
}

/* Settings of the host's own jemalloc, MALLOC_CONF and /etc/malloc.conf, are not ours. */
char *quire_jemalloc_secure_getenv(const char *name)
{
	(void)name;
	return NULL;
}

ssize_t quire_jemalloc_readlink(const char *path, char *target, size_t bytes)
{
	(void)path;
	(void)target;
	(void)bytes;
	errno = ENOENT;
	return -1;
}

/* ---- start ---- */

/*
 * retain: frames are not address space, of which one may keep what one has; narenas, tcache: those of our own
 * are explicit, and nobody else allocates here.
 */
#define SETTINGS                                                                                   \
	"abort_conf:true,retain:false,narenas:1,percpu_arena:disabled,background_thread:false,"    \
	"tcache:false,hpa:false,dss:disabled,thp:default,metadata_thp:disabled"

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static bool started, started_padding;

int copy_start(bool pads, struct error *err)
{
	bool padding = false;
	size_t size = sizeof(padding);
	int rc = 0;

	pthread_mutex_lock(&start_lock);
	if (!started) {
		quire_jemalloc_malloc_conf = SETTINGS;
		quire_jemalloc_je_opt_cache_oblivious = pads;
		rc = -quire_jemalloc_mallctl("opt.cache_oblivious", &padding, &size, NULL, 0);
		started = rc == 0;
		started_padding = padding;
		if (rc)
			allocator_fail(err, -rc, "jemalloc does not start");
	}
	if (started && started_padding != pads)
		rc = allocator_fail(err, EBUSY,
				    "jemalloc runs in this process with cache_oblivious=%s, which "
				    "is the same for all its instances",
				    started_padding ? "on" : "off");
	pthread_mutex_unlock(&start_lock);
	return rc;
}

/* ---- arenas and caches ---- */

/* As in jemalloc's sources, for experimental.arenas_create_ext. */
struct arena_config {
	extent_hooks_t *extent_hooks;
	bool metadata_use_hooks;
};

/* mallctl on "arena.<i>.@what". */
static int arena_control(unsigned int arena, const char *what, void *value, size_t size)
{
	char name[64];

	snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
	return -quire_jemalloc_mallctl(name, NULL, NULL, value, size);
}

int copy_arena_create(extent_hooks_t *hooks, uint64_t dirty_decay_ms, uint64_t muzzy_decay_ms,
		      unsigned int *arena)
{
	struct arena_config config = {.extent_hooks = hooks, .metadata_use_hooks = false};
	ssize_t dirty = (ssize_t)dirty_decay_ms, muzzy = (ssize_t)muzzy_decay_ms;
	size_t size = sizeof(*arena);

	if (quire_jemalloc_mallctl("experimental.arenas_create_ext", arena, &size, &config,
				   sizeof(config)))
		return -ENOMEM;
	if (arena_control(*arena, "dirty_decay_ms", &dirty, sizeof(dirty)) == 0 &&
	    arena_control(*arena, "muzzy_decay_ms", &muzzy, sizeof(muzzy)) == 0)
		return 0;
	copy_arena_destroy(*arena);
	return -ENOMEM;
}

void copy_arena_destroy(unsigned int arena)
{
	arena_control(arena, "destroy", NULL, 0);
}

void copy_arena_purge(unsigned int arena)
{
	arena_control(arena, "purge", NULL, 0);
}

void copy_arena_decay(unsigned int arena, uint64_t now_ns)
{
	told_ns = now_ns;
	arena_control(arena, "decay", NULL, 0);
	told_ns = 0;
}

static size_t read_statistic(unsigned int arena, const char *what)
{
	char name[64];
	size_t value = 0, size = sizeof(value);

	snprintf(name, sizeof(name), "stats.arenas.%u.%s", arena, what);
	return quire_jemalloc_mallctl(name, &value, &size, NULL, 0) ? 0 : value;
}

size_t copy_arena_own_bytes(unsigned int arena)
{
	uint64_t epoch = 1;

	/* What follows is of the moment this is written. */
	if (quire_jemalloc_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)))
		return 0;
	return read_statistic(arena, "base") + read_statistic(arena, "internal");
}

int copy_cache_create(unsigned int *cache)
{
	size_t size = sizeof(*cache);

	return quire_jemalloc_mallctl("tcache.create", cache, &size, NULL, 0) ? -ENOMEM : 0;
}

void copy_cache_destroy(unsigned int cache)
{
	quire_jemalloc_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache));
}

void copy_cache_flush(unsigned int cache)
{
	quire_jemalloc_mallctl("tcache.flush", NULL, NULL, &cache, sizeof(cache));
}
