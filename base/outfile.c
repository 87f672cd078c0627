/* SPDX-License-Identifier: MIT */
#include "base/outfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"

#define BUFFER_BYTES  (UINT64_C(256) << 10)
#define RANDOM_CHARS  6
#define CREATE_TRIES  100
#define REGISTRY_SIZE 64

/* A temporary file that exists. Reached through its directory, so that a chdir() does no harm. */
struct temporary {
	pid_t owner; /* a forked child inherits the registry, but not the duty */
	int directory;
	char name[NAME_MAX + 1];
};

struct outfile {
	char *path;	       /* as given, for messages */
	char *target;	       /* base name of the final file, in temporary->directory */
	struct temporary *tmp; /* NULL: not a regular file, written directly */
	int fd;
	int failed; /* the first errno of a write: there is nothing to commit any more */
	bool overwrite;
	uint64_t flushed; /* bytes the kernel has */
	size_t used;	  /* bytes in the buffer */
	uint8_t *buffer;
};

/*
 * The one process-wide state of the libraries. A signal handler can neither be handed an argument nor
 * take a lock, so what it has to remove must be found at a fixed address. Whoever swaps an entry for
 * NULL owns the struct: the owner of the file frees it, the handler keeps it in @taken (so that it is
 * not even a leak), as the process is about to end. So neither ever looks at freed memory, on
 * whichever thread the signal arrives.
 */
static _Atomic(struct temporary *) registry[REGISTRY_SIZE], taken[REGISTRY_SIZE];

static bool registry_add(struct temporary *tmp)
{
	for (size_t i = 0; i < REGISTRY_SIZE; i++) {
		struct temporary *none = NULL;

		if (atomic_compare_exchange_strong(&registry[i], &none, tmp))
			return true;
	}
	return false;
}

/* Return: false when the handler was faster: then @tmp is not the caller's any more. */
static bool registry_remove(struct temporary *tmp)
{
	for (size_t i = 0; i < REGISTRY_SIZE; i++) {
		struct temporary *it = tmp;

		if (atomic_compare_exchange_strong(&registry[i], &it, NULL))
			return true;
	}
	return false;
}

void outfile_abort_all_at_signal(void)
{
	int saved = errno;
	pid_t self = getpid();

	for (size_t i = 0; i < REGISTRY_SIZE; i++) {
		struct temporary *tmp = atomic_exchange(&registry[i], NULL);

		if (!tmp)
			continue;
		atomic_store(&taken[i], tmp);
		if (tmp->owner == self)
			unlinkat(tmp->directory, tmp->name, 0);
	}
	errno = saved;
}

/* ---- creating ---- */

static int path_error(struct error *err, int code, const char *path, const char *doing)
{
	const char *remedy = "";

	if (code == ENOSPC || code == EDQUOT)
		remedy = "; free some space, or write to another file system";
	else if (code == EACCES || code == EPERM || code == EROFS)
		remedy = "; write to a directory you may write to";
	else if (code == ENOENT)
		remedy = "; create the directory first";
	return error_set(err, code, "%s: %s: %s%s", path, doing, strerror(code), remedy);
}

/* Six characters nobody else has chosen; the name is only unlikely to exist, O_EXCL makes sure. */
static void random_suffix(char suffix[RANDOM_CHARS + 1])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	unsigned char bytes[RANDOM_CHARS];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
		unsigned long mixed = (unsigned long)getpid() * 2654435761UL;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (unsigned char)(mixed >> (5 * i));
	}
	for (size_t i = 0; i < RANDOM_CHARS; i++)
		suffix[i] = letters[bytes[i] % (sizeof(letters) - 1)];
	suffix[RANDOM_CHARS] = '\0';
}

/*
 * Open a new hidden file beside the target and enter it into the registry. Signals wait meanwhile:
 * between the two, a handler would leave the file behind. -EBUSY: the registry is full.
 */
static int temporary_open(struct outfile *f, mode_t mode)
{
	struct temporary *tmp = f->tmp;
	int stem = (int)min_u64(strlen(f->target), NAME_MAX - RANDOM_CHARS - 2);
	char suffix[RANDOM_CHARS + 1];
	sigset_t all, old;
	int rc = -EEXIST;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (int i = 0; i < CREATE_TRIES && rc == -EEXIST; i++) {
		random_suffix(suffix);
		snprintf(tmp->name, sizeof(tmp->name), ".%.*s.%s", stem, f->target, suffix);
		f->fd = openat(tmp->directory, tmp->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			       mode);
		rc = f->fd < 0 ? -errno : 0;
	}
	if (rc == 0 && !registry_add(tmp)) {
		unlinkat(tmp->directory, tmp->name, 0);
		close(f->fd);
		f->fd = -1;
		rc = -EBUSY;
	}
	if (rc < 0)
		tmp->name[0] = '\0'; /* nothing to remove */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

/* Open the directory of @path into f->tmp and note the base name in f->target. */
static int directory_open(struct outfile *f, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	char *directory;

	if (*base == '\0')
		return error_set(err, EISDIR, "%s: a directory; give a file name", path);
	f->target = strdup(base);
	directory =
		slash ? strndup(path, (size_t)max_u64((uint64_t)(slash - path), 1)) : strdup(".");
	if (!f->target || !directory) {
		free(directory);
		return error_set(err, ENOMEM, "%s: no memory", f->path);
	}
	/* Reading is needed only for the fsync at the end: without that right, go without it. */
	f->tmp->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->tmp->directory < 0 && errno == EACCES)
		f->tmp->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(directory);
	if (f->tmp->directory < 0)
		return path_error(err, errno, f->path, "cannot open its directory");
	return 0;
}

/* @old: what is at the path now, or NULL: its permissions are kept. */
static int create_temporary(struct outfile *f, const char *path, const struct stat *old,
			    struct error *err)
{
	int rc;

	f->tmp = calloc(1, sizeof(*f->tmp));
	if (!f->tmp)
		return error_set(err, ENOMEM, "%s: no memory", f->path);
	f->tmp->owner = getpid();
	f->tmp->directory = -1;
	rc = directory_open(f, path, err);
	if (rc < 0)
		return rc;
	rc = temporary_open(f, 0666);
	if (rc == -EBUSY)
		return error_set(err, EMFILE, "%s: too many files are being written at once",
				 f->path);
	if (rc < 0)
		return path_error(err, -rc, f->path, "cannot create a file beside it");
	if (old && fchmod(f->fd, old->st_mode & 0777) < 0)
		return path_error(err, errno, f->path, "cannot set its permissions");
	return 0;
}

/* Free everything; an unfinished temporary file goes too. */
static void outfile_free(struct outfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->tmp && f->tmp->name[0]) {
		int directory = f->tmp->directory;

		if (registry_remove(f->tmp)) {
			unlinkat(directory, f->tmp->name, 0);
			close(directory);
			free(f->tmp);
		}
	} else if (f->tmp) {
		if (f->tmp->directory >= 0)
			close(f->tmp->directory);
		free(f->tmp);
	}
	free(f->target);
	free(f->path);
	free(f->buffer);
	free(f);
}

enum target { TARGET_NEW, TARGET_OLD, TARGET_SPECIAL };

/* What is at @path, which goes to @st. Return: an enum target, or a negative errno: not to be written. */
static int look_at_target(const char *path, bool overwrite, struct stat *st, struct error *err)
{
	bool exists = stat(path, st) == 0;
	struct stat link;

	if (exists && S_ISDIR(st->st_mode))
		return error_set(err, EISDIR, "%s: a directory; give a file name", path);
	if (exists && !S_ISREG(st->st_mode))
		return TARGET_SPECIAL;
	/* lstat: a dangling link is in the way too. */
	if (!overwrite && lstat(path, &link) == 0)
		return error_set(err, EEXIST,
				 "%s: exists already; choose another name, or replace it", path);
	return exists ? TARGET_OLD : TARGET_NEW;
}

int outfile_check(const char *path, bool overwrite, struct error *err)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	char *directory;
	int rc = look_at_target(path, overwrite, &st, err);

	if (rc < 0 || rc == TARGET_SPECIAL)
		return rc < 0 ? rc : 0;
	if (!path[0] || (slash && !slash[1]))
		return error_set(err, EISDIR, "%s: a directory; give a file name", path);
	/* "/." so that a file in its place is called none. */
	if (asprintf(&directory, "%.*s.", slash ? (int)(slash + 1 - path) : 0, path) < 0)
		return error_set(err, ENOMEM, "%s: no memory", path);
	rc = access(directory, W_OK | X_OK) == 0
		     ? 0
		     : path_error(err, errno, path, "cannot write into its directory");
	free(directory);
	return rc;
}

static int open_target(struct outfile *f, struct error *err)
{
	struct stat st;
	char *resolved;
	int rc = look_at_target(f->path, f->overwrite, &st, err);

	if (rc < 0)
		return rc;
	if (rc == TARGET_SPECIAL) {
		f->fd = open(f->path, O_WRONLY | O_CLOEXEC);
		return f->fd < 0 ? path_error(err, errno, f->path, "cannot open") : 0;
	}
	if (rc == TARGET_NEW)
		return create_temporary(f, f->path, NULL, err);
	/* Replace what a symbolic link points at, not the link. */
	resolved = realpath(f->path, NULL);
	if (!resolved)
		return path_error(err, errno, f->path, "cannot resolve");
	rc = create_temporary(f, resolved, &st, err);
	free(resolved);
	return rc;
}

int outfile_create(const char *path, bool overwrite, struct outfile **file, struct error *err)
{
	struct outfile *f = calloc(1, sizeof(*f));
	int rc;

	if (f) {
		f->fd = -1;
		f->overwrite = overwrite;
		f->path = strdup(path);
		f->buffer = malloc(BUFFER_BYTES);
	}
	if (!f || !f->path || !f->buffer)
		rc = error_set(err, ENOMEM, "%s: no memory", path);
	else
		rc = open_target(f, err);
	if (rc < 0) {
		if (f)
			outfile_free(f);
		return rc;
	}
	*file = f;
	return 0;
}

/* ---- writing ---- */

static int fail(struct outfile *f, int code, const char *doing, struct error *err)
{
	if (!f->failed)
		f->failed = code;
	return path_error(err, code, f->path, doing);
}

/* All of it, at the end of the file. */
static int write_through(struct outfile *f, const uint8_t *data, size_t bytes, struct error *err)
{
	while (bytes > 0) {
		ssize_t n = write(f->fd, data, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(f, n < 0 ? errno : EIO, "cannot write", err);
		data += n;
		bytes -= (size_t)n;
		f->flushed += (uint64_t)n;
	}
	return 0;
}

static int flush(struct outfile *f, struct error *err)
{
	size_t used = f->used;

	if (f->failed)
		return path_error(err, f->failed, f->path, "cannot write");
	f->used = 0;
	return write_through(f, f->buffer, used, err);
}

int outfile_write(struct outfile *f, const void *data, size_t bytes, struct error *err)
{
	int rc = 0;

	if (f->failed)
		return path_error(err, f->failed, f->path, "cannot write");
	if (bytes > BUFFER_BYTES - f->used)
		rc = flush(f, err);
	if (rc < 0)
		return rc;
	if (bytes >= BUFFER_BYTES)
		return write_through(f, data, bytes, err);
	if (bytes > 0)
		memcpy(f->buffer + f->used, data, bytes);
	f->used += bytes;
	return 0;
}

uint64_t outfile_offset(const struct outfile *f)
{
	return f->flushed + f->used;
}

int outfile_patch(struct outfile *f, uint64_t offset, const void *data, size_t bytes,
		  struct error *err)
{
	const uint8_t *from = data;

	assert(offset <= outfile_offset(f) && bytes <= outfile_offset(f) - offset);
	if (f->failed)
		return path_error(err, f->failed, f->path, "cannot write");
	while (bytes > 0 && offset < f->flushed) {
		size_t part = (size_t)min_u64(bytes, f->flushed - offset);
		ssize_t n = pwrite(f->fd, from, part, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(f, n < 0 ? errno : EIO, "cannot rewrite a part", err);
		from += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	if (bytes > 0)
		memcpy(f->buffer + (offset - f->flushed), from, bytes);
	return 0;
}

/* ---- finishing ---- */

/* Give the temporary file its final name without ever replacing another one. */
static int place_new(const struct outfile *f)
{
	int directory = f->tmp->directory;

	if (linkat(directory, f->tmp->name, directory, f->target, 0) == 0)
		return 0; /* the temporary name goes with the registry entry */
	if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK)
		return -errno;
	/* A file system without hard links. */
	if (renameat2(directory, f->tmp->name, directory, f->target, RENAME_NOREPLACE) == 0)
		return 0;
	return -errno;
}

static int place_over(const struct outfile *f)
{
	int directory = f->tmp->directory;

	return renameat(directory, f->tmp->name, directory, f->target) < 0 ? -errno : 0;
}

static int close_checked(struct outfile *f, struct error *err)
{
	int fd = f->fd;

	f->fd = -1;
	/* After EINTR the descriptor is closed all the same on Linux. */
	if (close(fd) < 0 && errno != EINTR)
		return path_error(err, errno, f->path, "cannot write");
	return 0;
}

static int commit(struct outfile *f, struct error *err)
{
	int rc = flush(f, err);

	if (rc < 0)
		return rc;
	if (!f->tmp)
		return close_checked(f, err);
	if (fsync(f->fd) < 0)
		return path_error(err, errno, f->path, "cannot write to disk");
	rc = close_checked(f, err);
	if (rc < 0)
		return rc;
	rc = f->overwrite ? place_over(f) : place_new(f);
	if (rc == -EEXIST)
		return error_set(err, EEXIST,
				 "%s: has appeared meanwhile; choose another name, or replace it",
				 f->path);
	if (rc == -ENOENT)
		return error_set(err, EINTR, "%s: interrupted; nothing was written", f->path);
	if (rc < 0)
		return path_error(err, -rc, f->path, "cannot move it into place");
	/* The name must survive a power cut too. Not every file system can sync a directory. */
	if (fsync(f->tmp->directory) < 0 && errno != EINVAL && errno != EBADF)
		return path_error(err, errno, f->path,
				  "complete, but may be lost in a power cut: its directory");
	return 0;
}

int outfile_commit(struct outfile *f, struct error *err)
{
	int rc = commit(f, err);

	outfile_free(f);
	return rc;
}

void outfile_abort(struct outfile *f)
{
	if (f)
		outfile_free(f);
}
