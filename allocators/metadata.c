/* SPDX-License-Identifier: MIT */
#include "allocators/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/bits.h"

/* ---- types ---- */

/*
 * Anonymous pieces live in mappings without reservation: zeroed by the host when touched, so a
 * back end for a terabyte costs what it writes. Small pieces share a mapping. Each mapping begins
 * with this header.
 */
struct arena_mapping {
	struct arena_mapping *next;
	size_t mapped, used; /* bytes, this header included */
};

#define ARENA_SHARED_BYTES ((size_t)64 << 10) /* size of a shared mapping */
#define ARENA_SMALL_BYTES  ((size_t)8 << 10)  /* largest piece in one */

static const char file_magic[8] = "quiremet";

#define FILE_BYTE_ORDER UINT32_C(0x01020304)
#define FILE_VERSION	1
#define FILE_TEXT_MAX	(UINT64_C(1) << 20)

/* The beginning of a file, in the host's byte order. */
struct file_head {
	char magic[8]; /* written last: zeros mean that the head is not complete */
	uint32_t byte_order, version;
	uint64_t check;		/* of what follows `state`, the texts included */
	_Atomic uint64_t state; /* file_state() */
	uint64_t page_bytes;	/* of the host that made it */
	uint64_t text_bytes;	/* back end, options, machine: each with its NUL */
	uint8_t machine[16];	/* digest */
	char text[];
};

/* An entry of the table, which lies on the pages behind the head. */
struct file_piece {
	uint64_t offset, bytes, align;
	uint64_t check; /* of those, and of the place in the table */
};

#define FILE_READY (UINT32_C(1) << 31)

struct file_mapping {
	struct file_mapping *next;
	void *at;
	size_t bytes;
};

struct file {
	char *path;
	int fd;
	uint64_t base;		/* where it begins in what fd is; all offsets count from there */
	bool within;		/* part of somebody's file */
	bool view;		/* changes stay in this process */
	struct file_head *head; /* mapped, up to data_offset */
	struct file_piece *table;
	struct file_mapping *mappings; /* of pieces */
	uint64_t page_bytes, data_offset;
	uint64_t end;	      /* behind the last piece given */
	uint32_t nr_recorded; /* pieces to be found again */
	uint32_t nr_pieces;   /* given so far */
	bool made, committed;
	bool synchronous;
};

struct metadata {
	struct arena_mapping *arena;
	struct file *file;  /* NULL: anonymous */
	struct error error; /* of the last persistent piece that failed */
};

/* ---- anonymous memory ---- */

static struct arena_mapping *arena_map(size_t bytes)
{
	struct arena_mapping *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mapping == MAP_FAILED)
		return NULL;
	/* A kernel's page descriptors lie in huge pages, too. Failing costs only time. */
	madvise(mapping, bytes, MADV_HUGEPAGE);
	mapping->mapped = bytes;
	mapping->used = sizeof(*mapping);
	return mapping;
}

/* The next piece of @mapping, or NULL if it is too full. */
static void *arena_cut(struct arena_mapping *mapping, size_t bytes, size_t align)
{
	uintptr_t base = (uintptr_t)mapping;
	uintptr_t at = align_up(base + mapping->used, align);

	if (at + bytes > base + mapping->mapped)
		return NULL;
	mapping->used = at + bytes - base;
	return (void *)at;
}

static void *arena_alloc(struct metadata *metadata, size_t bytes, size_t align)
{
	struct arena_mapping *first = metadata->arena, *mapping;
	bool small = bytes <= ARENA_SMALL_BYTES && align <= 4096;
	size_t whole;
	void *piece;

	if (small && first) {
		piece = arena_cut(first, bytes, align);
		if (piece)
			return piece;
	}
	if (__builtin_add_overflow(bytes, align + sizeof(*mapping), &whole))
		return NULL;
	mapping = arena_map(small ? ARENA_SHARED_BYTES : whole);
	if (!mapping)
		return NULL;
	/* The shared mapping that still has room stays first. */
	if (small || !first) {
		mapping->next = first;
		metadata->arena = mapping;
	} else {
		mapping->next = first->next;
		first->next = mapping;
	}
	return arena_cut(mapping, bytes, align);
}

static void arena_destroy(struct arena_mapping *mapping)
{
	while (mapping) {
		struct arena_mapping *next = mapping->next;

		munmap(mapping, mapping->mapped);
		mapping = next;
	}
}

/* ---- checksums ---- */

static uint64_t head_check(const struct file_head *head)
{
	const char *from = (const char *)&head->page_bytes;

	return XXH3_64bits(from, sizeof(*head) + head->text_bytes -
					 offsetof(struct file_head, page_bytes));
}

/*
 * The state word: pieces that count and FILE_READY below, a checksum above, so that one store
 * changes both. The file's own check seeds it, as it does those of pieces: nothing fits into
 * another file.
 */
static uint64_t file_state(const struct file_head *head, uint32_t value)
{
	return XXH3_64bits_withSeed(&value, sizeof(value), head->check) << 32 | value;
}

static uint64_t piece_check(const struct file_head *head, const struct file_piece *piece,
			    uint32_t index)
{
	return XXH3_64bits_withSeed(piece, offsetof(struct file_piece, check), head->check + index);
}

#define ZONE_WORDS (15 + ZONE_TYPES)

/* All of a description as one number. Return: 0 or -ENOMEM. */
static int machine_digest(const struct machine *m, uint8_t digest[16])
{
	size_t max = 8 + (size_t)m->nr_zones * ZONE_WORDS + m->nr_cpus + 3 * m->nr_absent, n = 0;
	uint64_t *words = malloc(max * sizeof(*words));
	XXH128_canonical_t canonical;

	if (!words)
		return -ENOMEM;
	words[n++] = m->page_shift;
	words[n++] = m->max_order;
	words[n++] = m->pageblock_order;
	words[n++] = m->nr_cpus;
	words[n++] = m->nr_nodes;
	words[n++] = m->nr_zones;
	for (uint32_t i = 0; i < m->nr_zones; i++) {
		const struct zone *z = &m->zones[i];

		words[n++] = z->start;
		words[n++] = z->end;
		words[n++] = z->present;
		words[n++] = z->managed;
		words[n++] = z->watermark.min;
		words[n++] = z->watermark.low;
		words[n++] = z->watermark.high;
		words[n++] = z->watermark.promo;
		for (unsigned int type = 0; type < ZONE_TYPES; type++)
			words[n++] = z->lowmem_reserve[type];
		words[n++] = z->node;
		words[n++] = z->type;
		/* Only where set, so that a file from before there were any is still found to fit. */
		if (z->percpu.batch) {
			words[n++] = z->percpu.batch;
			words[n++] = z->percpu.high_min;
			words[n++] = z->percpu.high_max;
		}
	}
	for (uint32_t cpu = 0; cpu < m->nr_cpus; cpu++)
		words[n++] = m->node_of_cpu[cpu];
	for (size_t i = 0; i < m->nr_absent; i++) {
		words[n++] = m->absent[i].range.start;
		words[n++] = m->absent[i].range.end;
		words[n++] = m->absent[i].why;
	}
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(words, n * sizeof(*words)));
	memcpy(digest, canonical.digest, 16);
	free(words);
	return 0;
}

/* ---- space and mappings ---- */

/* Drop what lies behind the last piece given. May fail where file_grow() will do it anyway. */
static int file_cut(const struct file *file)
{
	return file->view ? 0 : ftruncate(file->fd, (off_t)(file->base + file->end));
}

/* Make [offset, offset + bytes) really the file's, so that no store into it can fail later. */
static int file_reserve(const struct file *file, uint64_t offset, uint64_t bytes, struct error *err)
{
	int rc;

	if (file->view)
		return 0;
	do
		rc = posix_fallocate(file->fd, (off_t)(file->base + offset), (off_t)bytes);
	while (rc == EINTR);
	if (rc)
		return error_set(err, rc,
				 "%s: cannot get %" PRIu64 " bytes at byte %" PRIu64 ": %s",
				 file->path, bytes, offset, strerror(rc));
	return 0;
}

/* Zeroed space behind @file->end, where a dead process or a dropped piece may have left bytes. */
static int file_grow(const struct file *file, uint64_t bytes, struct error *err)
{
	struct rlimit limit;
	uint64_t end;

	/* Asked first, since the host would also send a signal. */
	if (__builtin_add_overflow(file->base + file->end, bytes, &end) || end > INT64_MAX ||
	    (getrlimit(RLIMIT_FSIZE, &limit) == 0 && end > limit.rlim_cur))
		return error_set(err, EFBIG,
				 "%s: %" PRIu64 " bytes more are above this process' limit for a "
				 "file; raise it (ulimit -f) or use a smaller machine",
				 file->path, bytes);
	if (file_cut(file))
		return error_set(err, errno, "%s: cannot be cut: %s", file->path, strerror(errno));
	return file_reserve(file, file->end, bytes, err);
}

/* A file's pages at an address aligned to @align; NULL and errno on failure. */
static void *file_map(const struct file *file, uint64_t offset, size_t bytes, size_t align)
{
	int flags = file->view		? MAP_PRIVATE
		    : file->synchronous ? MAP_SHARED_VALIDATE | MAP_SYNC
					: MAP_SHARED;
	size_t slack = align > file->page_bytes ? align : 0, whole;
	uintptr_t base, at;

	if (__builtin_add_overflow(bytes, slack, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	base = (uintptr_t)mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			       -1, 0);
	if (base == (uintptr_t)MAP_FAILED)
		return NULL;
	at = align_up(base, align);
	if (mmap((void *)at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file->fd,
		 (off_t)(file->base + offset)) == MAP_FAILED) {
		int code = errno;

		munmap((void *)base, whole);
		errno = code;
		return NULL;
	}
	if (at > base)
		munmap((void *)base, at - base);
	if (base + whole > at + bytes)
		munmap((void *)(at + bytes), base + whole - at - bytes);
	/* A child would share these, but not what the back end keeps in private memory about them. */
	madvise((void *)at, bytes, MADV_DONTFORK);
	return (void *)at;
}

/* Map head and table; whether stores can be synchronous shows here, once for all mappings. */
static int file_map_head(struct file *file, struct error *err)
{
	const int protection = PROT_READ | PROT_WRITE;
	const off_t base = (off_t)file->base;
	void *at = MAP_FAILED;

	if (!file->view)
		at = mmap(NULL, file->data_offset, protection, MAP_SHARED_VALIDATE | MAP_SYNC,
			  file->fd, base);
	file->synchronous = at != MAP_FAILED;
	if (at == MAP_FAILED)
		at = mmap(NULL, file->data_offset, protection,
			  file->view ? MAP_PRIVATE : MAP_SHARED, file->fd, base);
	if (at == MAP_FAILED)
		return error_set(err, errno, "%s: cannot be mapped: %s", file->path,
				 strerror(errno));
	file->head = at;
	file->table = (struct file_piece *)((char *)at + file->data_offset -
					    METADATA_PIECES_MAX * sizeof(*file->table));
	return 0;
}

/* Where the pieces begin, and the table ends. */
static uint64_t file_data_offset(uint64_t text_bytes, uint64_t page_bytes)
{
	return align_up(align_up(sizeof(struct file_head) + text_bytes, sizeof(struct file_piece)) +
				METADATA_PIECES_MAX * sizeof(struct file_piece),
			page_bytes);
}

/* Head and table in the state they now have, for a host that may lose power. */
static int file_persist(const struct file *file, struct error *err)
{
	if (file->synchronous && msync(file->head, file->data_offset, MS_SYNC))
		return error_set(err, errno, "%s: cannot be written back: %s", file->path,
				 strerror(errno));
	return 0;
}

/* The entries first, then the word that makes them count; after an error it does not. */
static int file_publish(struct file *file, struct error *err)
{
	_Atomic uint64_t *state = &file->head->state;
	uint64_t before = atomic_load_explicit(state, memory_order_relaxed);
	int rc = file_persist(file, err);

	if (rc)
		return rc;
	/* Release: a kill leaves the entries complete if it leaves the word. */
	atomic_store_explicit(state, file_state(file->head, file->nr_pieces | FILE_READY),
			      memory_order_release);
	rc = file_persist(file, err);
	if (rc)
		atomic_store_explicit(state, before, memory_order_release);
	return rc;
}

/* ---- pieces ---- */

static uint64_t piece_space(const struct file *file, uint64_t bytes)
{
	return align_up(bytes ? bytes : 1, file->page_bytes);
}

/* The recorded piece that is next, if it is what is asked for. */
static int file_find(const struct file *file, size_t bytes, size_t align, struct error *err)
{
	const struct file_piece *piece = &file->table[file->nr_pieces];

	if (piece->bytes != bytes || piece->align != align)
		return error_set(
			err, EUCLEAN,
			"%s: piece %" PRIu32 " of the metadata has %" PRIu64
			" bytes aligned to %" PRIu64 ", not %zu aligned to %zu; recover it "
			"with the build that made it",
			file->path, file->nr_pieces, piece->bytes, piece->align, bytes, align);
	/* A copy of the file may have holes. */
	return file_reserve(file, piece->offset, piece_space(file, bytes), err);
}

/* A new piece at the end. */
static int file_append(struct file *file, size_t bytes, size_t align, struct error *err)
{
	struct file_piece *piece = &file->table[file->nr_pieces];
	int rc;

	if (file->nr_pieces == METADATA_PIECES_MAX)
		return error_set(err, EMFILE,
				 "%s: a file has room for %d pieces of metadata; ask for fewer and "
				 "larger ones",
				 file->path, METADATA_PIECES_MAX);
	if (bytes > INT64_MAX - file->page_bytes)
		return error_set(err, EFBIG, "%s: no file can hold a piece of %zu bytes",
				 file->path, bytes);
	rc = file_grow(file, piece_space(file, bytes), err);
	if (rc)
		return rc;
	*piece = (struct file_piece){.offset = file->end, .bytes = bytes, .align = align};
	piece->check = piece_check(file->head, piece, file->nr_pieces);
	return 0;
}

static void *file_alloc(struct file *file, size_t bytes, size_t align, struct error *err)
{
	const struct file_piece *piece = &file->table[file->nr_pieces];
	bool found = !file->committed && file->nr_pieces < file->nr_recorded;
	struct file_mapping *mapping = malloc(sizeof(*mapping));
	int rc;

	if (!mapping) {
		error_set(err, ENOMEM, "%s: out of memory", file->path);
		return NULL;
	}
	rc = found ? file_find(file, bytes, align, err) : file_append(file, bytes, align, err);
	if (rc)
		goto failed;
	mapping->bytes = piece_space(file, bytes);
	mapping->at = file_map(file, piece->offset, mapping->bytes, align);
	if (!mapping->at) {
		error_set(err, errno, "%s: %zu bytes cannot be mapped: %s", file->path, bytes,
			  strerror(errno));
		goto failed;
	}
	file->nr_pieces++;
	if (file->committed && file_publish(file, err)) {
		munmap(mapping->at, mapping->bytes);
		file->nr_pieces--;
		goto failed;
	}
	file->end = piece->offset + mapping->bytes;
	mapping->next = file->mappings;
	file->mappings = mapping;
	return mapping->at;

failed:
	if (!found)
		file_cut(file);
	free(mapping);
	return NULL;
}

/* ---- files ---- */

/* Remove a file that never counted, unless somebody has put another in its place. */
static void file_remove(const struct file *file)
{
	struct stat ours, theirs;

	if (fstat(file->fd, &ours) == 0 && lstat(file->path, &theirs) == 0 &&
	    ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		unlink(file->path);
}

static void file_destroy(struct file *file)
{
	if (!file)
		return;
	while (file->mappings) {
		struct file_mapping *next = file->mappings->next;

		munmap(file->mappings->at, file->mappings->bytes);
		free(file->mappings);
		file->mappings = next;
	}
	if (file->head)
		munmap(file->head, file->data_offset);
	if (file->made && !file->committed) /* never a part of another */
		file_remove(file);
	if (file->fd >= 0)
		close(file->fd); /* and with it the lock */
	free(file->path);
	free(file);
}

static int file_lock(const struct file *file, struct error *err)
{
	if (file->within || flock(file->fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(err, EBUSY,
				 "%s: in use by another instance; wait for it to end, or use "
				 "another file",
				 file->path);
	return error_set(err, errno, "%s: cannot be locked: %s", file->path, strerror(errno));
}

/* The texts of the head, one behind the other, malloc'ed; NULL: no memory. */
static char *identity_text(const struct metadata_identity *identity, size_t *bytes)
{
	const struct machine *m = identity->machine;
	char *text = NULL;
	int length = asprintf(&text,
			      "%s%c%s%c%" PRIu64 " managed frames up to pfn %" PRIu64 ", %" PRIu32
			      " zones, %" PRIu32 " cpus, %" PRIu32 " nodes",
			      identity->name, 0, identity->options, 0, machine_managed(m),
			      machine_end(m), m->nr_zones, m->nr_cpus, m->nr_nodes);

	if (length < 0)
		return NULL;
	*bytes = (size_t)length + 1;
	return text;
}

static int file_write_head(struct file *file, const struct metadata_identity *identity,
			   const char *text, size_t text_bytes, struct error *err)
{
	struct file_head *head;
	int rc;

	file->data_offset = file_data_offset(text_bytes, file->page_bytes);
	rc = file_grow(file, file->data_offset, err);
	if (!rc)
		rc = file_map_head(file, err);
	if (rc)
		return rc;
	file->end = file->data_offset;
	head = file->head;
	head->byte_order = FILE_BYTE_ORDER;
	head->version = FILE_VERSION;
	head->page_bytes = file->page_bytes;
	head->text_bytes = text_bytes;
	memcpy(head->text, text, text_bytes);
	if (machine_digest(identity->machine, head->machine))
		return error_set(err, ENOMEM, "%s: out of memory", file->path);
	head->check = head_check(head);
	head->state = file_state(head, 0);
	/* The magic behind all of that, also for a kill. */
	atomic_thread_fence(memory_order_release);
	memcpy(head->magic, file_magic, sizeof(head->magic));
	return 0;
}

/* What makes it a file of metadata, in a file that is there. */
static int file_found(struct file *file, const struct metadata_identity *identity,
		      struct error *err)
{
	size_t text_bytes;
	char *text = identity_text(identity, &text_bytes);
	int rc;

	if (!text || text_bytes > FILE_TEXT_MAX)
		rc = error_set(err, ENOMEM, "%s: out of memory", file->path);
	else
		rc = file_write_head(file, identity, text, text_bytes, err);
	free(text);
	return rc;
}

static int file_make(struct file *file, const struct metadata_identity *identity, struct error *err)
{
	int rc;

	if (file->within)
		return file_found(file, identity, err);
	file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (file->fd < 0 && errno == EEXIST)
		return error_set(
			err, EEXIST,
			"%s: exists and is not overwritten; recover from it, remove it, or "
			"use another name",
			file->path);
	if (file->fd < 0)
		return error_set(err, errno, "%s: %s", file->path, strerror(errno));
	file->made = true;
	rc = file_lock(file, err);
	return rc ? rc : file_found(file, identity, err);
}

static int never_finished(const struct file *file, struct error *err)
{
	return error_set(
		err, EUCLEAN,
		"%s: its creator never finished, so there is nothing to recover; remove it",
		file->path);
}

static int damaged(const struct file *file, const char *what, struct error *err)
{
	return error_set(err, EBADMSG, "%s: damaged: %s; restore it from a copy, or remove it",
			 file->path, what);
}

/* Read the head with its texts into memory, malloc'ed, and prove its checksum. */
static int file_read_head(const struct file *file, uint64_t size, struct file_head **out,
			  struct error *err)
{
	static const char nothing[sizeof(file_magic)];
	struct file_head head, *whole;
	size_t bytes;

	if (size == 0)
		return never_finished(file, err);
	if (pread(file->fd, &head, sizeof(head), (off_t)file->base) != (ssize_t)sizeof(head))
		return error_set(err, EBADMSG, "%s: too short for a metadata file", file->path);
	if (memcmp(head.magic, nothing, sizeof(nothing)) == 0)
		return never_finished(file, err);
	if (memcmp(head.magic, file_magic, sizeof(file_magic)) != 0)
		return error_set(err, EBADMSG, "%s: not a metadata file", file->path);
	if (head.byte_order != FILE_BYTE_ORDER)
		return error_set(err, EINVAL, "%s: made on a host with another byte order",
				 file->path);
	if (head.version != FILE_VERSION)
		return error_set(err, EINVAL,
				 "%s: version %" PRIu32 " of the format, this build reads %d; "
				 "recover it with the build that made it",
				 file->path, head.version, FILE_VERSION);
	if (head.text_bytes > FILE_TEXT_MAX || head.text_bytes > size - sizeof(head))
		return damaged(file, "its head is cut short", err);
	bytes = sizeof(head) + head.text_bytes;
	whole = malloc(bytes);
	if (!whole)
		return error_set(err, ENOMEM, "%s: out of memory", file->path);
	if (pread(file->fd, whole, bytes, (off_t)file->base) != (ssize_t)bytes ||
	    whole->text_bytes != head.text_bytes || head_check(whole) != whole->check) {
		free(whole);
		return damaged(file, "its head has another checksum", err);
	}
	*out = whole;
	return 0;
}

/* Where text number @index begins: even behind a right checksum it may not be there. */
static const char *head_text(const struct file_head *head, unsigned int index)
{
	const char *text = head->text, *end = text + head->text_bytes;

	for (; text && index; index--) {
		text = memchr(text, 0, (size_t)(end - text));
		text = text ? text + 1 : NULL;
	}
	return text && memchr(text, 0, (size_t)(end - text)) ? text : NULL;
}

/* Is the file @identity's? The head has the right checksum. */
static int file_identify(const struct file *file, const struct file_head *head,
			 const struct metadata_identity *identity, struct error *err)
{
	const char *name = head_text(head, 0), *options = head_text(head, 1);
	const char *machine = head_text(head, 2);
	uint8_t digest[16];

	if (!name || !options || !machine)
		return damaged(file, "its head lacks a text", err);
	if (head->page_bytes != file->page_bytes)
		return error_set(err, EINVAL,
				 "%s: made on a host with pages of %" PRIu64
				 " bytes, this has %" PRIu64,
				 file->path, head->page_bytes, file->page_bytes);
	if (strcmp(name, identity->name) || strcmp(options, identity->options))
		return error_set(err, EINVAL,
				 "%s: made by %s with '%s', not by %s with '%s'; recover it with "
				 "what made it",
				 file->path, name, options, identity->name, identity->options);
	if (machine_digest(identity->machine, digest))
		return error_set(err, ENOMEM, "%s: out of memory", file->path);
	if (memcmp(digest, head->machine, sizeof(digest)) != 0)
		return error_set(err, EINVAL,
				 "%s: made for another machine (%s); recover it with that one",
				 file->path, machine);
	return 0;
}

/* The state word and the entries that count. */
static int file_read_table(struct file *file, uint64_t size, struct error *err)
{
	uint64_t state = file->head->state, end = file->data_offset;
	uint32_t nr = (uint32_t)state & ~FILE_READY;

	if (file_state(file->head, (uint32_t)state) != state || nr > METADATA_PIECES_MAX)
		return damaged(file, "its state has another checksum", err);
	if (!(state & FILE_READY))
		return never_finished(file, err);
	for (uint32_t i = 0; i < nr; i++) {
		const struct file_piece *piece = &file->table[i];

		if (piece_check(file->head, piece, i) != piece->check || piece->offset != end)
			return damaged(file, "its table of pieces has another checksum", err);
		if (piece->bytes > size || end + piece_space(file, piece->bytes) > size)
			return damaged(file, "it is cut short", err);
		end += piece_space(file, piece->bytes);
	}
	file->nr_recorded = nr;
	return 0;
}

static int file_open(struct file *file, const struct metadata_identity *identity, struct error *err)
{
	struct file_head *head = NULL;
	uint64_t size;
	struct stat st;
	int rc;

	if (!file->within)
		file->fd = open(file->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0 || fstat(file->fd, &st))
		return error_set(err, errno, "%s: %s", file->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, EBADMSG, "%s: not a metadata file", file->path);
	rc = file_lock(file, err);
	if (rc)
		return rc;
	/* The last owner may have made it grow until it let go of the lock. */
	if (fstat(file->fd, &st))
		return error_set(err, errno, "%s: %s", file->path, strerror(errno));
	size = (uint64_t)st.st_size < file->base ? 0 : (uint64_t)st.st_size - file->base;
	rc = file_read_head(file, size, &head, err);
	if (rc)
		return rc;
	rc = file_identify(file, head, identity, err);
	file->data_offset = file_data_offset(head->text_bytes, file->page_bytes);
	file->end = file->data_offset;
	free(head);
	if (rc)
		return rc;
	if (size < file->data_offset)
		return damaged(file, "it is cut short", err);
	rc = file_reserve(file, 0, file->data_offset, err);
	if (!rc)
		rc = file_map_head(file, err);
	if (!rc)
		rc = file_read_table(file, size, err);
	return rc;
}

/* ---- all of it ---- */

int metadata_create(struct metadata **metadata, struct error *err)
{
	struct metadata *new = calloc(1, sizeof(*new));

	if (!new)
		return error_set(err, ENOMEM, "metadata: out of memory");
	*metadata = new;
	return 0;
}

typedef int file_begin(struct file *file, const struct metadata_identity *identity,
		       struct error *err);

/* @within: NULL: a file of its own at @path */
static int metadata_begin(const char *path, const struct metadata_within *within, bool view,
			  file_begin *begin, const struct metadata_identity *identity,
			  struct metadata **metadata, struct error *err)
{
	struct file *file = calloc(1, sizeof(*file));
	int rc = -ENOMEM;

	if (file) {
		file->fd = -1;
		file->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
		file->path = strdup(path);
		file->within = within;
		file->view = view;
		file->base = within ? within->offset : 0;
		if (within)
			file->fd = fcntl(within->fd, F_DUPFD_CLOEXEC, 0);
	}
	if (!file || !file->path)
		error_set(err, ENOMEM, "%s: out of memory", path);
	else if (within && file->fd < 0)
		rc = error_set(err, errno, "%s: %s", path, strerror(errno));
	else
		rc = begin(file, identity, err);
	if (!rc)
		rc = metadata_create(metadata, err);
	if (rc) {
		file_destroy(file);
		return rc;
	}
	(*metadata)->file = file;
	return 0;
}

int metadata_create_file(const char *path, const struct metadata_identity *identity,
			 struct metadata **metadata, struct error *err)
{
	return metadata_begin(path, NULL, false, file_make, identity, metadata, err);
}

int metadata_open_file(const char *path, const struct metadata_identity *identity,
		       struct metadata **metadata, struct error *err)
{
	return metadata_begin(path, NULL, false, file_open, identity, metadata, err);
}

int metadata_create_within(const struct metadata_within *within,
			   const struct metadata_identity *identity, struct metadata **metadata,
			   struct error *err)
{
	return metadata_begin(within->path, within, false, file_make, identity, metadata, err);
}

int metadata_view_within(const struct metadata_within *within,
			 const struct metadata_identity *identity, struct metadata **metadata,
			 struct error *err)
{
	return metadata_begin(within->path, within, true, file_open, identity, metadata, err);
}

/* Does a view's file have no piece left that was recorded? */
static bool beyond_view(const struct file *file)
{
	return file->view && (file->committed || file->nr_pieces >= file->nr_recorded);
}

void *metadata_alloc(struct metadata *metadata, size_t bytes, size_t align, enum meta_kind kind)
{
	if (!is_power_of_two(align))
		return NULL;
	if (kind == META_PERSISTENT && metadata->file && !beyond_view(metadata->file))
		return file_alloc(metadata->file, bytes, align, &metadata->error);
	return arena_alloc(metadata, bytes, align);
}

const struct error *metadata_error(const struct metadata *metadata)
{
	return metadata->error.code ? &metadata->error : NULL;
}

int metadata_commit(struct metadata *metadata, struct error *err)
{
	struct file *file = metadata->file;
	int rc;

	if (!file)
		return 0;
	rc = file_publish(file, err);
	if (rc)
		return rc;
	file->committed = true;
	file_cut(file);
	return 0;
}

bool metadata_synchronous(const struct metadata *metadata)
{
	return metadata->file && metadata->file->synchronous;
}

void metadata_destroy(struct metadata *metadata)
{
	if (!metadata)
		return;
	arena_destroy(metadata->arena);
	file_destroy(metadata->file);
	free(metadata);
}
