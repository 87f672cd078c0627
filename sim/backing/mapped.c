/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/host_memory.h"
#include "sim/backing/backing.h"

/*
 * The host's free memory is looked at once for so many pieces, more often when it runs short, and so much has to
 * be left then: of a host, or of a small control group, an eighth of what was there at first.
 */
#define LOOK_EVERY  64U
#define SPARE_BYTES (UINT64_C(256) << 20)
#define SPARE_PART  8

static size_t piece_of(const struct mapped *m, const struct memory *memory, pfn_t pfn)
{
	const uint64_t frame = pfn - machine_start(memory->machine);

	return (m->first_byte + (frame << memory->machine->page_shift)) / BACKING_HUGE_BYTES;
}

/* @fd is the mapping's from now on, also if this fails. */
static int map_aligned(struct mapped *m, int protection, int flags, struct error *err)
{
	const size_t room = m->bytes + BACKING_HUGE_BYTES;
	char *at = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char size[FORMAT_MAX];

	format_size(size, m->bytes);
	if (at == MAP_FAILED)
		return error_set(err, ENOMEM,
				 "no address space for %s (%s); simulate less memory, or see "
				 "vm.overcommit_memory and ulimit -v",
				 size, strerror(errno));
	m->base = (char *)align_up((uintptr_t)at, BACKING_HUGE_BYTES);
	/* What is too much, in front and behind. */
	if (m->base > at)
		munmap(at, (size_t)(m->base - at));
	munmap(m->base + m->bytes, (size_t)(at + room - (m->base + m->bytes)));
	if (mmap(m->base, m->bytes, protection, flags | MAP_FIXED | MAP_NORESERVE, m->fd,
		 (off_t)m->offset) != MAP_FAILED)
		return 0;
	error_set(err, errno, "cannot map %s: %s", size, strerror(errno));
	munmap(m->base, m->bytes);
	m->base = NULL;
	return err ? -err->code : -ENOMEM;
}

int mapped_create(struct memory *memory, int protection, int flags, int fd, struct error *err)
{
	const struct machine *machine = memory->machine;
	struct mapped *m = calloc(1, sizeof(*m));
	int rc;

	if (!m) {
		if (fd >= 0)
			close(fd);
		return error_set(err, ENOMEM, "no memory");
	}
	m->fd = fd;
	m->offset = memory->file_offset;
	m->first_byte = (machine_start(machine) % HUGE_FRAMES) << machine->page_shift;
	m->bytes = align_up(m->first_byte + memory->bytes, BACKING_HUGE_BYTES);
	m->got = calloc(m->bytes / BACKING_HUGE_BYTES / 8 + 1, 1);
	m->spare = min_u64(SPARE_BYTES, host_memory_available("") / SPARE_PART);
	memory->host = m;
	if (!m->got)
		rc = error_set(err, ENOMEM, "no memory");
	else if (fd >= 0 && !m->offset && ftruncate(fd, (off_t)m->bytes))
		rc = error_set(err, errno, "cannot make it large enough: %s", strerror(errno));
	else
		rc = map_aligned(m, protection, flags, err);
	if (rc)
		mapped_destroy(memory);
	else
		memory->frames = m->base + m->first_byte;
	return rc;
}

void mapped_destroy(struct memory *memory)
{
	struct mapped *m = memory->host;

	if (!m)
		return;
	if (m->base)
		munmap(m->base, m->bytes);
	if (m->fd >= 0)
		close(m->fd);
	free(m->got);
	free(m);
	memory->host = NULL;
	memory->frames = NULL;
}

/* Rather fail here than have the host's kernel choose whom to end. */
static int look_at_host(struct mapped *m, struct error *err)
{
	char left[FORMAT_MAX];
	uint64_t available;

	if (m->look_in--)
		return 0;
	m->look_in = 0;
	available = host_memory_available("");
	if (available >= m->spare) {
		/* Others take memory, too: half of it is a guess at what is safe. */
		m->look_in =
			min_u64((available - m->spare) / 2 / BACKING_HUGE_BYTES, LOOK_EVERY - 1);
		return 0;
	}
	format_size(left, available);
	return error_set(
		err, ENOMEM,
		"the host, or the control group's limit, has only %s of memory left; simulate "
		"less memory, touch less of it, or raise the limit",
		left);
}

int mapped_prepare(struct memory *memory, struct pfn_range range, struct error *err)
{
	struct mapped *m = memory->host;
	const size_t end = piece_of(m, memory, range.end - 1) + 1;
	int rc;

	for (size_t piece = piece_of(m, memory, range.start); piece < end; piece++) {
		if (m->got[piece / 8] & 1U << piece % 8)
			continue;
		rc = look_at_host(m, err);
		if (!rc && m->get)
			rc = m->get(m, piece, err);
		if (!rc && m->bind)
			rc = m->bind(memory, piece, err);
		if (rc)
			return rc;
		m->got[piece / 8] |= (uint8_t)(1U << piece % 8);
	}
	return 0;
}

void mapped_touch(struct memory *memory, struct pfn_range range, enum memory_touch how)
{
	const size_t page = (size_t)1 << memory->machine->page_shift;
	char *at = memory_at(memory, range.start);
	const size_t bytes = (range.end - range.start) << memory->machine->page_shift;

	if (how == TOUCH_CLEAR) {
		memset(at, 0, bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i += page)
		*(volatile char *)(at + i) = 1;
}

int mapped_discard(struct memory *memory, struct pfn_range range, int advice)
{
	struct mapped *m = memory->host;
	const size_t bytes = (range.end - range.start) << memory->machine->page_shift;
	const size_t end = piece_of(m, memory, range.end - 1) + 1;

	if (madvise(memory_at(memory, range.start), bytes, advice))
		return -errno;
	for (size_t piece = piece_of(m, memory, range.start); piece < end; piece++)
		m->got[piece / 8] &= (uint8_t) ~(1U << piece % 8);
	return 0;
}
