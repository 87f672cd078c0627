/* SPDX-License-Identifier: MIT */
/*
 * The memory behind alloc_env.meta(), so that no back end knows where its metadata lives:
 * anonymous, or, for the META_PERSISTENT pieces, in a file whose shared mapping outlives the
 * process. META_VOLATILE pieces are anonymous either way.
 *
 * What the file promises. A process killed at any instant (SIGKILL, a crash of its own) loses
 * nothing that a store had reached: the host keeps the pages. Of the file's own structure a piece
 * is then either there or not, and a file whose create() did not finish is told from one whose did.
 * A power failure, or a crash of the host, is another matter: it is survived only where stores
 * themselves are durable, on a file system with direct access (DAX) to persistent memory, which
 * metadata_synchronous() tells, by a back end that orders its stores for it (llfree: persist=adr,
 * or eadr where caches are in the persistence domain). On a disk the host writes pages back in
 * whatever order it likes.
 *
 * Layout: head (identity, checksum, state word), table of pieces, then the pieces, each on pages of
 * its own and fully allocated on disk, in the order they were asked for. The state word is the only
 * thing ever changed in place, by one store of 8 bytes: how many entries of the table count, and
 * whether create() has succeeded, with a checksum of its own. What lies behind the last piece that
 * counts is nobody's. The file belongs to hosts of one byte order and page size.
 *
 * A process forked from the one that has an instance must not use it. Of a file the pieces are not
 * even mapped there: both would change them, each with volatile metadata of its own.
 *
 * One struct metadata is used by one thread at a time: meta() is only called from exclusive
 * functions.
 */
#ifndef ALLOCATORS_METADATA_H
#define ALLOCATORS_METADATA_H

#include <stdbool.h>
#include <stddef.h>

#include "allocators/allocator.h"
#include "base/error.h"
#include "sim/machine.h"

#define METADATA_PIECES_MAX 4096 /* persistent ones, in one file */

struct metadata;

/* Whose metadata a file holds; it is found again only by the same. Read during the call. */
struct metadata_identity {
	const char *name;    /* of the back end */
	const char *options; /* option_canonical() */
	const struct machine *machine;
};

/*
 * A part of a file that belongs to somebody else, who has opened, locked, and sized it up to @offset, and
 * removes it should it never count. Metadata has everything from there on, as it would have a file.
 */
struct metadata_within {
	const char *path; /* for messages */
	int fd;		  /* copied; with the copy the lock lasts as long as the metadata */
	uint64_t offset;  /* a multiple of the host's page size */
};

/**
 * metadata_create - anonymous memory only
 * The caller owns @metadata, here and below: metadata_destroy(). Return: 0 or -ENOMEM.
 */
int metadata_create(struct metadata **metadata, struct error *err);

/**
 * metadata_create_file - a new file for the persistent pieces
 * The file is locked while the metadata lives. It counts once metadata_commit() has succeeded;
 * destroyed before, it is removed.
 * Return: 0; -EEXIST: @path is there already and stays as it is; -ENOSPC, -EDQUOT; -EFBIG: above
 * the process' limit; -ENOMEM; or what open() said.
 */
int metadata_create_file(const char *path, const struct metadata_identity *identity,
			 struct metadata **metadata, struct error *err);

/**
 * metadata_open_file - the file a dead (or destroyed) owner left
 * Nothing in it is trusted before it is checked, and nothing is changed before metadata_commit().
 * Return: 0; -EBUSY: another process, or another instance of this one, has it; -EBADMSG: not such a
 * file, damaged or cut short; -EUCLEAN: its create() never finished; -EINVAL: of another back end,
 * other options, another machine, version, byte order or page size; -ENOSPC: a file with holes
 * which cannot be filled; -ENOMEM; or what open() said.
 */
int metadata_open_file(const char *path, const struct metadata_identity *identity,
		       struct metadata **metadata, struct error *err);

/** metadata_create_within - metadata_create_file(), in a part that has nothing in it yet */
int metadata_create_within(const struct metadata_within *within,
			   const struct metadata_identity *identity, struct metadata **metadata,
			   struct error *err);

/**
 * metadata_view_within - metadata_open_file(), but what is changed stays in this process
 * The file is only read (so is @within->fd): the pieces are private copies of its pages, and new ones are
 * anonymous. Whoever looks may do with it what he likes, and look again.
 */
int metadata_view_within(const struct metadata_within *within,
			 const struct metadata_identity *identity, struct metadata **metadata,
			 struct error *err);

/**
 * metadata_alloc - the next piece; it never moves
 * @align: a power of two
 * @kind: META_PERSISTENT in an opened file, before metadata_commit(): the recorded pieces come
 *        first, in the order they were asked for, with what they held; @bytes and @align must be
 *        as recorded. Every other piece is zeroed.
 * Return: NULL: no memory; or, with metadata_error() set, the file could not give it: -ENOSPC,
 * -EDQUOT, -EFBIG; -EUCLEAN: not the piece that was recorded; -EMFILE: METADATA_PIECES_MAX reached.
 */
void *metadata_alloc(struct metadata *metadata, size_t bytes, size_t align, enum meta_kind kind);

/** The last failure of a persistent piece; NULL: none so far. Owned by @metadata. */
const struct error *metadata_error(const struct metadata *metadata);

/**
 * metadata_commit - create() or recover() has succeeded: the pieces given so far are the file's
 * Recorded ones nobody asked for again are dropped. From here on a piece counts when
 * metadata_alloc() returns it. Does nothing for anonymous memory. Return: 0, or what msync() said.
 */
int metadata_commit(struct metadata *metadata, struct error *err);

/**
 * Is a store to the persistent pieces durable as soon as its cache line is written back (MAP_SYNC)?
 * Tried first; false where the kernel or the file system does not offer it, and for anonymous
 * memory.
 */
bool metadata_synchronous(const struct metadata *metadata);

/** Unmap everything and let the file go, which stays if it was committed. NULL is allowed. */
void metadata_destroy(struct metadata *metadata);

#endif
