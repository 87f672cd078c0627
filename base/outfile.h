/* SPDX-License-Identifier: MIT */
/*
 * A result file appears whole or not at all. It is written beside its final place under a temporary
 * name and moved there at the end; on any failure, or when the process dies by a signal that can be
 * caught, nothing is left. An existing file is never overwritten unless asked.
 *
 * What exists and is not a regular file (/dev/null, a pipe) is written directly. A file may be used
 * by one thread at a time; different files are independent.
 */
#ifndef BASE_OUTFILE_H
#define BASE_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct outfile;

/**
 * outfile_create - begin writing @path
 * @overwrite: replace an existing file at commit; otherwise -EEXIST at once, and at commit should one
 *             have appeared meanwhile (link, not rename, so there is no window)
 *
 * A replaced file keeps its permission bits; through a symbolic link, what it points at is replaced.
 * Return: 0; -EEXIST (message suggests to replace it); -EISDIR; -ENOENT or -EACCES of the directory;
 * -ENOMEM; -EMFILE more than 64 files at once.
 */
int outfile_create(const char *path, bool overwrite, struct outfile **file, struct error *err);

/**
 * outfile_check - would outfile_create() find something in the way now? For who has much to do before
 * Nothing is created, and in the meantime anything may change.
 * Return: 0, or as outfile_create().
 */
int outfile_check(const char *path, bool overwrite, struct error *err);

/**
 * outfile_write - append, through a buffer
 * Return: 0, or -ENOSPC, -EIO, ... (the message names the path). After a failure every later call
 * fails alike, outfile_commit() too.
 */
int outfile_write(struct outfile *file, const void *data, size_t bytes, struct error *err);

/** Bytes written so far, which is the offset of the next write. */
uint64_t outfile_offset(const struct outfile *file);

/**
 * outfile_patch - overwrite @bytes at @offset, both within what was already written (asserted): for a
 * header's totals
 * Return: 0, -ESPIPE on a pipe, or as outfile_write().
 */
int outfile_patch(struct outfile *file, uint64_t offset, const void *data, size_t bytes,
		  struct error *err);

/**
 * outfile_commit - flush, fsync, move into place, free
 * Return: 0; -EEXIST a file has appeared at the path and was left alone; -EINTR the temporary file is
 * gone (outfile_abort_all_at_signal()); or as outfile_write(). On failure the temporary file is gone.
 * @file is freed in any case.
 */
int outfile_commit(struct outfile *file, struct error *err);

/** Remove the temporary file and free. NULL is allowed. */
void outfile_abort(struct outfile *file);

/**
 * outfile_abort_all_at_signal - unlink every unfinished temporary file of this process
 * Async-signal-safe; for the CLI's SIGINT/SIGTERM handler. The files cannot be committed afterwards.
 * A forked child does not touch the files its parent had begun.
 */
void outfile_abort_all_at_signal(void);

#endif
