/* SPDX-License-Identifier: MIT */
#include "replay/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/bits.h"
#include "sim/memory.h"
#include "traces/file/trace.h"

static const char kept_magic[8] = "quirekep";

#define KEPT_BYTE_ORDER UINT32_C(0x01020304)
#define KEPT_VERSION	1
#define KEPT_TEXTS	4
#define KEPT_TEXT_MAX	((uint64_t)64 << 20)
#define KEPT_ALIGN	((uint64_t)2 << 20)

/* The beginning of the file. */
struct kept_head {
	char magic[8]; /* written last: zeros mean that the head is not complete */
	uint32_t byte_order, version;
	uint64_t check; /* of `fixed` and what is behind the head */
	struct journal_words words;
	uint64_t state; /* enum kept_state */
	struct kept_fixed {
		uint64_t frames_offset, journal_offset, metadata_offset;
		uint64_t list_seed;
		uint64_t text_bytes;   /* allocator, kernel, trace, build: each with its NUL */
		uint64_t header_bytes; /* trace_header_pack(), for the machine */
	} fixed;
	char data[];
};

struct kept {
	char *path;
	int fd;
	bool made;
	struct kept_head *head; /* mapped, up to frames_offset */
	uint64_t head_bytes, journal_bytes;
	struct journal journal;
	struct kept_identity identity;
	struct machine *machine; /* of an opened one */
	char *texts;
};

bool kept_possible(const struct allocator_ops *ops)
{
	return (ops->capabilities & (ALLOCATOR_PERSISTENT | ALLOCATOR_MOVES)) ==
	       ALLOCATOR_PERSISTENT;
}

/* @data: what is behind the head */
static uint64_t check_of(const struct kept_fixed *fixed, const char *data)
{
	return XXH3_64bits_withSeed(data, fixed->text_bytes + fixed->header_bytes,
				    XXH3_64bits(fixed, sizeof(*fixed)));
}

static int no_memory(const char *path, struct error *err)
{
	return error_set(err, ENOMEM, "%s: out of memory", path);
}

static struct kept *new_kept(const char *path)
{
	struct kept *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->fd = -1;
	k->path = strdup(path);
	if (k->path)
		return k;
	free(k);
	return NULL;
}

void kept_close(struct kept *k)
{
	if (!k)
		return;
	if (k->made && (!k->head || k->head->state == KEPT_MAKING))
		unlink(k->path);
	if (k->journal.of)
		munmap(k->journal.of, k->journal_bytes);
	if (k->head)
		munmap(k->head, k->head_bytes);
	if (k->fd >= 0)
		close(k->fd);
	machine_destroy(k->machine);
	free(k->texts);
	free(k->path);
	free(k);
}

static int map(struct kept *k, uint64_t offset, uint64_t bytes, void **at, struct error *err)
{
	/* What is looked at may be changed in here, and only in here. */
	int flags = k->made ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;

	*at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, k->fd, (off_t)offset);
	if (*at != MAP_FAILED)
		return 0;
	*at = NULL;
	return error_set(err, errno, "%s: cannot be mapped: %s", k->path, strerror(errno));
}

static int map_parts(struct kept *k, const struct kept_fixed *fixed, struct error *err)
{
	void *head, *journal;
	int rc;

	k->head_bytes = fixed->frames_offset;
	k->journal_bytes = fixed->metadata_offset - fixed->journal_offset;
	rc = map(k, 0, k->head_bytes, &head, err);
	k->head = head;
	if (!rc)
		rc = map(k, fixed->journal_offset, k->journal_bytes, &journal, err);
	if (rc)
		return rc;
	k->journal = (struct journal){
		.words = &k->head->words,
		.of = journal,
		.start = machine_start(k->identity.machine),
	};
	return 0;
}

/* ---- make ---- */

static int reserve(const struct kept *k, uint64_t offset, uint64_t bytes, struct error *err)
{
	int rc;

	do
		rc = posix_fallocate(k->fd, (off_t)offset, (off_t)bytes);
	while (rc == EINTR);
	if (!rc)
		return 0;
	return error_set(err, rc,
			 "no room for %" PRIu64 " bytes in %s: %s; make room, or use another file",
			 bytes, k->path, strerror(rc));
}

/* The texts and the header behind each other. */
static int identity_data(const struct kept_identity *id, struct kept_fixed *fixed, char **data)
{
	const char *const texts[KEPT_TEXTS] = {id->allocator, id->kernel, id->trace, id->build};
	struct trace_header header = {.machine = (struct machine *)(uintptr_t)id->machine};
	size_t header_bytes, at = 0;
	void *packed;

	if (trace_header_pack(&header, &packed, &header_bytes))
		return -ENOMEM;
	fixed->header_bytes = header_bytes;
	for (size_t i = 0; i < KEPT_TEXTS; i++)
		fixed->text_bytes += strlen(texts[i]) + 1;
	*data = malloc(fixed->text_bytes + header_bytes);
	for (size_t i = 0; *data && i < KEPT_TEXTS; i++) {
		memcpy(*data + at, texts[i], strlen(texts[i]) + 1);
		at += strlen(texts[i]) + 1;
	}
	if (*data)
		memcpy(*data + at, packed, header_bytes);
	free(packed);
	return *data ? 0 : -ENOMEM;
}

static void lay_out(struct kept_fixed *fixed, const struct machine *m)
{
	fixed->frames_offset = align_up(
		sizeof(struct kept_head) + fixed->text_bytes + fixed->header_bytes, KEPT_ALIGN);
	fixed->journal_offset = fixed->frames_offset + memory_file_bytes(m);
	fixed->metadata_offset =
		fixed->journal_offset + align_up(machine_end(m) - machine_start(m), KEPT_ALIGN);
}

/* Of the regions, only what is used has to be there. */
static int fill(struct kept *k, const struct kept_fixed *fixed, const char *data, struct error *err)
{
	const struct machine *m = k->identity.machine;
	const uint64_t behind = fixed->text_bytes + fixed->header_bytes;
	int rc = reserve(k, 0, sizeof(*k->head) + behind, err);

	if (!rc)
		rc = reserve(k, fixed->journal_offset, machine_end(m) - machine_start(m), err);
	if (!rc && ftruncate(k->fd, (off_t)fixed->metadata_offset))
		rc = error_set(err, errno, "%s: cannot make it large enough: %s", k->path,
			       strerror(errno));
	if (!rc)
		rc = map_parts(k, fixed, err);
	if (rc)
		return rc;
	k->head->byte_order = KEPT_BYTE_ORDER;
	k->head->version = KEPT_VERSION;
	k->head->fixed = *fixed;
	memcpy(k->head->data, data, behind);
	k->head->check = check_of(fixed, data);
	journal_order();
	memcpy(k->head->magic, kept_magic, sizeof(kept_magic));
	return 0;
}

static int make(struct kept *k, struct error *err)
{
	struct kept_fixed fixed = {.list_seed = k->identity.list_seed};
	char *data = NULL;
	int rc;

	k->fd = open(k->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (k->fd < 0)
		return error_set(err, errno, "%s: %s; name another file", k->path, strerror(errno));
	k->made = true;
	if (flock(k->fd, LOCK_EX | LOCK_NB))
		return error_set(err, errno, "%s: cannot be locked: %s", k->path, strerror(errno));
	if (identity_data(&k->identity, &fixed, &data))
		return no_memory(k->path, err);
	lay_out(&fixed, k->identity.machine);
	rc = fill(k, &fixed, data, err);
	free(data);
	return rc;
}

int kept_create(const char *path, const struct kept_identity *identity, struct kept **kept,
		struct error *err)
{
	struct kept *k = new_kept(path);
	int rc;

	if (!k)
		return no_memory(path, err);
	k->identity = *identity;
	rc = make(k, err);
	if (rc) {
		kept_close(k);
		return rc;
	}
	*kept = k;
	return 0;
}

/* ---- look ---- */

static int damaged(const struct kept *k, const char *what, struct error *err)
{
	return error_set(err, EBADMSG, "%s: damaged: %s; nothing can be recovered from it", k->path,
			 what);
}

/* Prove the head, and read what is behind it: k->texts. */
static int read_head(struct kept *k, uint64_t size, struct kept_head *head, struct error *err)
{
	static const char nothing[sizeof(kept_magic)];
	uint64_t bytes;

	if (size && pread(k->fd, head, sizeof(*head), 0) == (ssize_t)sizeof(*head) &&
	    memcmp(head->magic, kept_magic, sizeof(kept_magic)) == 0)
		goto known;
	if (!size || (size >= sizeof(*head) && !memcmp(head->magic, nothing, sizeof(nothing))))
		return error_set(err, EBADMSG,
				 "%s: nothing to recover: its replay ended before the back end was "
				 "there, or it holds frames alone (back ends that are not "
				 "persistent keep no more)",
				 k->path);
	return error_set(err, EBADMSG,
			 "%s: nothing to recover: not the file of a replay, or one of frames alone "
			 "(back ends that are not persistent keep no more)",
			 k->path);
known:
	if (head->byte_order != KEPT_BYTE_ORDER || head->version != KEPT_VERSION)
		return error_set(
			err, EPROTONOSUPPORT,
			"%s: of another version of the format, or a host with another byte "
			"order; recover it with the build that made it",
			k->path);
	bytes = head->fixed.text_bytes + head->fixed.header_bytes;
	if (head->fixed.text_bytes > KEPT_TEXT_MAX || head->fixed.header_bytes > KEPT_TEXT_MAX ||
	    bytes > size - sizeof(*head))
		return damaged(k, "its head is cut short", err);
	k->texts = malloc(bytes + 1);
	if (!k->texts)
		return no_memory(k->path, err);
	if (pread(k->fd, k->texts, bytes, sizeof(*head)) != (ssize_t)bytes ||
	    check_of(&head->fixed, k->texts) != head->check)
		return damaged(k, "its head has another checksum", err);
	return 0;
}

static int read_identity(struct kept *k, const struct kept_fixed *fixed, struct error *err)
{
	const char **const texts[KEPT_TEXTS] = {&k->identity.allocator, &k->identity.kernel,
						&k->identity.trace, &k->identity.build};
	const char *at = k->texts, *end = at + fixed->text_bytes;
	struct trace_header header = {0};
	struct error why = {0};

	for (size_t i = 0; i < KEPT_TEXTS; i++) {
		*texts[i] = at;
		at = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
		if (!at)
			return damaged(k, "its head lacks a text", err);
		at++;
	}
	if (trace_header_unpack(end, fixed->header_bytes, &header, &why))
		return damaged(k, why.text, err);
	k->machine = header.machine;
	k->identity.machine = k->machine;
	k->identity.list_seed = fixed->list_seed;
	return 0;
}

static int look(struct kept *k, struct error *err)
{
	struct kept_fixed expected;
	struct kept_head head;
	struct stat st;
	int rc;

	k->fd = open(k->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (k->fd < 0 || fstat(k->fd, &st))
		return error_set(err, errno, "%s: %s", k->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, EBADMSG, "%s: nothing to recover: not a file", k->path);
	if (flock(k->fd, LOCK_SH | LOCK_NB))
		return error_set(err, errno == EWOULDBLOCK ? EBUSY : errno,
				 errno == EWOULDBLOCK ? "%s: in use by a running replay; wait for "
							"it to end"
						      : "%s: cannot be locked",
				 k->path);
	if (fstat(k->fd, &st))
		return error_set(err, errno, "%s: %s", k->path, strerror(errno));
	rc = read_head(k, (uint64_t)st.st_size, &head, err);
	if (!rc)
		rc = read_identity(k, &head.fixed, err);
	if (rc)
		return rc;
	expected = head.fixed;
	lay_out(&expected, k->machine);
	if (memcmp(&expected, &head.fixed, sizeof(expected)) != 0)
		return damaged(k, "its parts are not where they belong", err);
	if ((uint64_t)st.st_size < expected.metadata_offset)
		return damaged(k, "it is cut short", err);
	if (head.state >= KEPT_STATES || (uint8_t)head.words.intent >= INTENT_KINDS)
		return damaged(k, "its state is none that there is", err);
	return map_parts(k, &expected, err);
}

int kept_open(const char *path, struct kept **kept, struct error *err)
{
	struct kept *k = new_kept(path);
	int rc;

	if (!k)
		return no_memory(path, err);
	rc = look(k, err);
	if (rc) {
		kept_close(k);
		return rc;
	}
	*kept = k;
	return 0;
}

/* ---- use ---- */

void kept_set_state(struct kept *k, enum kept_state state)
{
	journal_order();
	*(volatile uint64_t *)&k->head->state = state;
	journal_order();
}

enum kept_state kept_state(const struct kept *k)
{
	return (enum kept_state)k->head->state;
}

const struct kept_identity *kept_identity(const struct kept *k)
{
	return &k->identity;
}

const struct journal *kept_journal(const struct kept *k)
{
	return &k->journal;
}

struct metadata_within kept_metadata(const struct kept *k)
{
	return (struct metadata_within){k->path, k->fd, k->head->fixed.metadata_offset};
}

uint64_t kept_frames_offset(const struct kept *k)
{
	return k->head->fixed.frames_offset;
}

int kept_fd(const struct kept *k)
{
	return k->fd;
}
