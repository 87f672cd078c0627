/* SPDX-License-Identifier: MIT */
/*
 * Linked into the program, this takes the place of what fails when a machine is short of something:
 * allocations (the program's and those of its libraries alike), mappings, writes, and so on. It counts
 * the calls of each class in each process and lets one of them fail, or that one and all behind it.
 *
 * Which one is said by a file that QUIRE_FAULTS names, mapped by every process of the program; the
 * counts come back in it (struct control; test_faults.py writes and reads it). Without one, nothing
 * fails. A process is known by when it was forked: 0 is the program itself, 1 its first child. A process
 * counts for itself, so the n-th call of one is the same one however the processes are scheduled.
 *
 * What stdio writes by itself cannot be taken the place of; so standard output becomes a stream whose
 * writing goes through here.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PROCESSES 16
#define FRAMES	  48
#define EXPORTED  __attribute__((visibility("default")))

/* test_faults.py has the same names in the same order. */
enum fault_class {
	CLASS_MEMORY,	/* malloc() and its kin */
	CLASS_MAP,	/* mmap() */
	CLASS_WRITE,	/* write() and its kin, standard output */
	CLASS_READ,	/* read() and its kin, but what stdio reads */
	CLASS_SYNC,	/* fsync(), fdatasync() */
	CLASS_TRUNCATE, /* ftruncate(), posix_fallocate() */
	CLASS_OPEN,	/* open() and its kin */
	CLASS_NAME,	/* rename(), link(), mkdir() and their kin */
	CLASS_PROCESS,	/* fork(), posix_spawn(), pthread_create() */
	CLASS_PIPE,	/* pipe() */
	CLASS_CLOSE,	/* close(), which closes and then complains */
	CLASS_ADVICE,	/* mlock(), madvise(): what is only nice to have */
	CLASSES,
};

enum fault_mode { MODE_NONE, MODE_ONCE, MODE_FOREVER, MODE_SHORT };

/* All numbers are 64 bits wide, so that no language has to know about padding. */
struct control {
	uint64_t mode;	      /* in: enum fault_mode */
	uint64_t process;     /* in: in which process */
	uint64_t fault_class; /* in: which class of calls */
	uint64_t nth;	      /* in: the first that fails, from 1 */
	uint64_t code;	      /* in: errno */
	uint64_t log;	      /* in: call sites are wanted */
	_Atomic uint64_t processes;
	_Atomic uint64_t hits;
	_Atomic uint64_t calls[PROCESSES][CLASSES];
};

static struct control *control;
static uint64_t self; /* number of this process */
static char log_path[4096], stack_path[4096];
static _Thread_local bool inside; /* the injector's own calls do not count */

extern const char __executable_start[], etext[];

/* What the sanitizer's runtime calls them, and what the C library does. */
#define ALLOCATOR(type, name, parameters)                                                          \
	extern type __interceptor_##name parameters __attribute__((weak));                         \
	extern type __libc_##name parameters __attribute__((weak))
ALLOCATOR(void *, malloc, (size_t));
ALLOCATOR(void *, calloc, (size_t, size_t));
ALLOCATOR(void *, realloc, (void *, size_t));
ALLOCATOR(void *, memalign, (size_t, size_t));

/* ---- what happened ---- */

/*
 * The places on the stack as one number: those of the program itself (@own), or all. Processes that were
 * forked have the same addresses.
 */
static uint64_t call_site(void **frames, int n, bool own)
{
	uint64_t hash = 14695981039346656037U;

	for (int i = 2; i < n; i++) {
		const char *at = frames[i];

		if (!own || (at >= __executable_start && at < etext))
			hash = (hash ^ (uintptr_t)at) * 1099511628211U;
	}
	return hash;
}

static void put_file(const char *path, const void *data, size_t bytes)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			      0600);

	if (fd < 0)
		return;
	(void)!syscall(SYS_write, fd, data, bytes);
	syscall(SYS_close, fd);
}

static void log_call(enum fault_class c)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);
	uint64_t record[4] = {self, c, call_site(frames, n, true), call_site(frames, n, false)};

	put_file(log_path, record, sizeof(record));
}

/* One line per place; addr2line makes more of it. */
static void tell_stack(void)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, stack_path,
			      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	backtrace_symbols_fd(frames, n, fd);
	syscall(SYS_close, fd);
}

/* Count a call. Return: whether it is to fail; errno is set then. */
static bool fails(enum fault_class c)
{
	struct control *k = control;
	uint64_t n;
	int saved = errno;
	bool hit;

	if (!k || inside || self >= PROCESSES)
		return false;
	inside = true;
	n = atomic_fetch_add(&k->calls[self][c], 1) + 1;
	if (k->log)
		log_call(c);
	hit = k->mode != MODE_NONE && k->process == self && k->fault_class == c &&
	      (n == k->nth || (n > k->nth && k->mode == MODE_FOREVER));
	if (hit && atomic_fetch_add(&k->hits, 1) == 0)
		tell_stack();
	inside = false;
	errno = hit ? (int)k->code : saved;
	return hit;
}

/* The call is done, but only half of it. */
static size_t short_of(size_t bytes)
{
	return bytes > 1 ? bytes / 2 : bytes;
}

#define SHORT (control->mode == MODE_SHORT)

/* ---- allocations ---- */

static void *real_malloc(size_t n)
{
	return __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n);
}

static void *real_memalign(size_t alignment, size_t n)
{
	return __interceptor_memalign ? __interceptor_memalign(alignment, n)
				      : __libc_memalign(alignment, n);
}

EXPORTED void *malloc(size_t n)
{
	return fails(CLASS_MEMORY) ? NULL : real_malloc(n);
}

EXPORTED void *calloc(size_t n, size_t size)
{
	if (fails(CLASS_MEMORY))
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}

EXPORTED void *realloc(void *p, size_t n)
{
	if (fails(CLASS_MEMORY))
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(p, n) : __libc_realloc(p, n);
}

EXPORTED void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

EXPORTED void *memalign(size_t alignment, size_t n)
{
	return fails(CLASS_MEMORY) ? NULL : real_memalign(alignment, n);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t n)
{
	return memalign(alignment, n);
}

EXPORTED int posix_memalign(void **p, size_t alignment, size_t n)
{
	int saved = errno;
	void *q = memalign(alignment, n);

	errno = saved;
	if (!q)
		return ENOMEM;
	*p = q;
	return 0;
}

/* A sanitizer has these do without malloc(). */
EXPORTED char *strndup(const char *s, size_t n)
{
	size_t length = strnlen(s, n);
	char *copy = malloc(length + 1);

	if (!copy)
		return NULL;
	memcpy(copy, s, length);
	copy[length] = '\0';
	return copy;
}

EXPORTED char *strdup(const char *s)
{
	return strndup(s, SIZE_MAX);
}

EXPORTED char *__strdup(const char *s)
{
	return strdup(s);
}

/* ---- all others: what comes next in the order of libraries does the work ---- */

#define NEXT(result, name, ...)                                                                    \
	static result (*next)(__VA_ARGS__);                                                        \
	if (!next)                                                                                 \
	next = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define TAKE(result, failed, name, c, parameters, arguments, ...)                                  \
	EXPORTED result name parameters;                                                           \
	EXPORTED result name parameters                                                            \
	{                                                                                          \
		NEXT(result, name, __VA_ARGS__);                                                   \
		return fails(c) ? (failed) : next arguments;                                       \
	}

/* The same, of a function that may do less than it was asked to. */
#define TAKE_PART(name, c, parameters, arguments, ...)                                             \
	EXPORTED ssize_t name parameters;                                                          \
	EXPORTED ssize_t name parameters                                                           \
	{                                                                                          \
		NEXT(ssize_t, name, __VA_ARGS__);                                                  \
		if (fails(c)) {                                                                    \
			if (!SHORT)                                                                \
				return -1;                                                         \
			bytes = short_of(bytes);                                                   \
		}                                                                                  \
		return next arguments;                                                             \
	}

#define MAP_PARAMETERS (void *at, size_t n, int protection, int flags, int fd, off64_t offset)
#define MAP_ARGUMENTS  (at, n, protection, flags, fd, offset)
#define MAP_TYPES      void *, size_t, int, int, int, off64_t
TAKE(void *, MAP_FAILED, mmap, CLASS_MAP, MAP_PARAMETERS, MAP_ARGUMENTS, MAP_TYPES)
TAKE(void *, MAP_FAILED, mmap64, CLASS_MAP, MAP_PARAMETERS, MAP_ARGUMENTS, MAP_TYPES)

TAKE_PART(write, CLASS_WRITE, (int fd, const void *data, size_t bytes), (fd, data, bytes), int,
	  const void *, size_t)
TAKE_PART(pwrite, CLASS_WRITE, (int fd, const void *data, size_t bytes, off64_t at),
	  (fd, data, bytes, at), int, const void *, size_t, off64_t)
TAKE_PART(pwrite64, CLASS_WRITE, (int fd, const void *data, size_t bytes, off64_t at),
	  (fd, data, bytes, at), int, const void *, size_t, off64_t)
TAKE_PART(read, CLASS_READ, (int fd, void *data, size_t bytes), (fd, data, bytes), int, void *,
	  size_t)
TAKE_PART(pread, CLASS_READ, (int fd, void *data, size_t bytes, off64_t at), (fd, data, bytes, at),
	  int, void *, size_t, off64_t)
TAKE_PART(pread64, CLASS_READ, (int fd, void *data, size_t bytes, off64_t at),
	  (fd, data, bytes, at), int, void *, size_t, off64_t)
TAKE(ssize_t, -1, writev, CLASS_WRITE, (int fd, const struct iovec *v, int n), (fd, v, n), int,
     const struct iovec *, int)

TAKE(int, -1, fsync, CLASS_SYNC, (int fd), (fd), int)
TAKE(int, -1, fdatasync, CLASS_SYNC, (int fd), (fd), int)
TAKE(int, -1, ftruncate, CLASS_TRUNCATE, (int fd, off64_t n), (fd, n), int, off64_t)
TAKE(int, -1, ftruncate64, CLASS_TRUNCATE, (int fd, off64_t n), (fd, n), int, off64_t)
TAKE(int, errno, posix_fallocate, CLASS_TRUNCATE, (int fd, off64_t at, off64_t n), (fd, at, n), int,
     off64_t, off64_t)
TAKE(int, errno, posix_fallocate64, CLASS_TRUNCATE, (int fd, off64_t at, off64_t n), (fd, at, n),
     int, off64_t, off64_t)

TAKE(int, -1, rename, CLASS_NAME, (const char *from, const char *to), (from, to), const char *,
     const char *)
TAKE(int, -1, renameat, CLASS_NAME, (int a, const char *from, int b, const char *to),
     (a, from, b, to), int, const char *, int, const char *)
TAKE(int, -1, renameat2, CLASS_NAME,
     (int a, const char *from, int b, const char *to, unsigned int f), (a, from, b, to, f), int,
     const char *, int, const char *, unsigned int)
TAKE(int, -1, link, CLASS_NAME, (const char *from, const char *to), (from, to), const char *,
     const char *)
TAKE(int, -1, linkat, CLASS_NAME, (int a, const char *from, int b, const char *to, int f),
     (a, from, b, to, f), int, const char *, int, const char *, int)
TAKE(int, -1, mkdir, CLASS_NAME, (const char *path, mode_t mode), (path, mode), const char *,
     mode_t)
TAKE(int, -1, mkdirat, CLASS_NAME, (int at, const char *path, mode_t mode), (at, path, mode), int,
     const char *, mode_t)
TAKE(char *, NULL, mkdtemp, CLASS_NAME, (char *path), (path), char *)

TAKE(FILE *, NULL, fopen, CLASS_OPEN, (const char *path, const char *mode), (path, mode),
     const char *, const char *)
TAKE(FILE *, NULL, fopen64, CLASS_OPEN, (const char *path, const char *mode), (path, mode),
     const char *, const char *)
TAKE(DIR *, NULL, opendir, CLASS_OPEN, (const char *path), (path), const char *)
TAKE(int, -1, mkostemp, CLASS_OPEN, (char *path, int flags), (path, flags), char *, int)
TAKE(int, -1, mkostemp64, CLASS_OPEN, (char *path, int flags), (path, flags), char *, int)

static mode_t mode_of(int flags, va_list *ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(*ap, mode_t) : 0;
}

#define TAKE_OPEN(name)                                                                            \
	EXPORTED int name(const char *path, int flags, ...)                                        \
	{                                                                                          \
		NEXT(int, name, const char *, int, ...);                                           \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, &ap);                                                        \
		va_end(ap);                                                                        \
		return fails(CLASS_OPEN) ? -1 : next(path, flags, mode);                           \
	}
#define TAKE_OPENAT(name)                                                                          \
	EXPORTED int name(int at, const char *path, int flags, ...)                                \
	{                                                                                          \
		NEXT(int, name, int, const char *, int, ...);                                      \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, &ap);                                                        \
		va_end(ap);                                                                        \
		return fails(CLASS_OPEN) ? -1 : next(at, path, flags, mode);                       \
	}
TAKE_OPEN(open)
TAKE_OPEN(open64)
TAKE_OPENAT(openat)
TAKE_OPENAT(openat64)

EXPORTED pid_t fork(void)
{
	uint64_t child;
	pid_t pid;

	NEXT(pid_t, fork, void);
	if (fails(CLASS_PROCESS))
		return -1;
	child = control ? atomic_fetch_add(&control->processes, 1) + 1 : 0;
	pid = next();
	if (pid == 0)
		self = child;
	return pid;
}

#define SPAWN_PARAMETERS                                                                           \
	(pid_t *restrict pid, const char *restrict path,                                           \
	 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *restrict attributes,  \
	 char *const argv[], char *const envp[])
#define SPAWN_ARGUMENTS (pid, path, actions, attributes, argv, envp)
#define SPAWN_TYPES                                                                                \
	pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,      \
		char *const *, char *const *
TAKE(int, errno, posix_spawn, CLASS_PROCESS, SPAWN_PARAMETERS, SPAWN_ARGUMENTS, SPAWN_TYPES)
TAKE(int, errno, posix_spawnp, CLASS_PROCESS, SPAWN_PARAMETERS, SPAWN_ARGUMENTS, SPAWN_TYPES)
TAKE(int, errno, pthread_create, CLASS_PROCESS,
     (pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*start)(void *),
      void *restrict arg),
     (thread, attributes, start, arg), pthread_t *, const pthread_attr_t *, void *(*)(void *),
     void *)

TAKE(int, -1, pipe, CLASS_PIPE, (int fd[2]), (fd), int *)
TAKE(int, -1, pipe2, CLASS_PIPE, (int fd[2], int flags), (fd, flags), int *, int)

EXPORTED int close(int fd)
{
	int result;
	bool failed = fails(CLASS_CLOSE);
	int code = errno;

	NEXT(int, close, int);
	result = next(fd);
	if (!failed)
		return result;
	errno = code;
	return -1;
}

TAKE(int, -1, mlock, CLASS_ADVICE, (const void *p, size_t n), (p, n), const void *, size_t)
TAKE(int, -1, madvise, CLASS_ADVICE, (void *p, size_t n, int advice), (p, n, advice), void *,
     size_t, int)

/* ---- standard output ---- */

/* As stdio does, which goes on after a part; a signal comes only to who is to end anyway. */
static ssize_t write_stdout(void *unused, const char *data, size_t bytes)
{
	size_t done = 0;

	(void)unused;
	while (done < bytes) {
		ssize_t n = write(STDOUT_FILENO, data + done, bytes - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* ---- before main() ---- */

static void __attribute__((constructor)) injector_begin(void)
{
	const char *path = getenv("QUIRE_FAULTS");
	void *frames[2], *p;
	int fd;

	if (!path)
		return;
	inside = true;
	backtrace(frames, 2); /* loads what it needs */
	fd = open(path, O_RDWR | O_CLOEXEC);
	p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || p == MAP_FAILED)
		abort();
	close(fd);
	snprintf(log_path, sizeof(log_path), "%s.calls", path);
	snprintf(stack_path, sizeof(stack_path), "%s.stack", path);
	stdout = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_stdout});
	unsetenv("QUIRE_FAULTS"); /* what a command is that is run is not meant */
	control = p;
	inside = false;
}

/* What a sanitizer does at the very end is its own affair. */
static void __attribute__((destructor)) injector_end(void)
{
	control = NULL;
}
