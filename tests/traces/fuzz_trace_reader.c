/* SPDX-License-Identifier: MIT */
/*
 * A trace file out of arbitrary bytes, read in every way there is. Checksums would stop nearly all
 * mutations at the door, so the bytes are read twice: as they are, and with all checksums made right,
 * which is what someone hostile would do. Built as a libFuzzer target with clang; the damage tests
 * call the same function with mutated files.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "traces/file/trace.h"
#include "traces/file/trace_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_events(struct trace_reader *r)
{
	const struct trace_header *h = trace_reader_header(r);
	bool virtual = h->identity == IDENTITY_VIRTUAL;
	const struct event_limits limits = {
		.pfn_end = virtual ? PFN_MAX + 1 : machine_end(h->machine),
		.nr_cpus = h->machine->nr_cpus,
	};
	const struct event *events;
	struct error err;
	uint64_t time = 0;
	size_t n;
	int ret, damages = 0;

	while ((ret = trace_reader_next(r, &events, &n, &err)) != 0) {
		if (ret < 0) {
			/* With salvage each damage is told once, so there is an end. */
			if (++damages > 1000)
				break;
			continue;
		}
		for (size_t i = 0; i < n; i++) {
			if (events[i].time_ns < time || event_check(&events[i], &limits))
				abort();
			time = events[i].time_ns;
		}
	}
}

static void read_path(const char *path, unsigned int flags)
{
	struct trace_reader *r;
	struct frame_map *map;
	struct error err;

	if (trace_reader_open(path, flags, &r, &err))
		return;
	trace_reader_mark_name(r, 0);
	for (int which = TRACE_START; which <= TRACE_BURN_IN; which++) {
		if (trace_reader_snapshot(r, (enum trace_snapshot)which, &map, &err))
			continue;
		if (frame_map_check(map, NULL))
			abort();
		frame_map_destroy(map);
	}
	read_events(r);
	trace_reader_rewind(r, &err);
	trace_reader_close(r);
}

/* Make the checksums of whatever looks like a file header, a section and a footer right. */
static void seal(uint8_t *data, size_t size)
{
	size_t at = FILE_HEADER_BYTES;

	if (size < FILE_HEADER_BYTES)
		return;
	store_u64(data + 56, layout_hash(data, 56));
	while (size - at >= SECTION_HEADER_BYTES) {
		struct section s = {
			.offset = at,
			.type = load_u16(data + at + 4),
			.flags = load_u16(data + at + 6),
			.payload_bytes = load_u64(data + at + 8),
		};
		uint8_t *payload = data + at + SECTION_HEADER_BYTES;

		if (load_u32(data + at) != SECTION_SYNC) {
			at++;
			continue;
		}
		if (s.payload_bytes > size - at - SECTION_HEADER_BYTES)
			return;
		if (s.type == SECTION_END && s.payload_bytes == END_PAYLOAD_BYTES)
			store_u64(payload + 32, size);
		s.payload_hash = layout_hash(payload, (size_t)s.payload_bytes);
		section_encode(&s, data + at);
		at = (size_t)section_end(&s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);
	char path[32];
	uint8_t *copy = malloc(size + 1);

	if (fd < 0 || !copy)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memcpy(copy, data, size);
	for (int sealed = 0; sealed < 2; sealed++) {
		if (sealed)
			seal(copy, size);
		if (pwrite(fd, copy, size, 0) != (ssize_t)size)
			abort();
		read_path(path, 0);
		read_path(path, TRACE_VERIFY);
		read_path(path, TRACE_SALVAGE);
		read_path(path, TRACE_READ_BURN_IN | TRACE_VERIFY);
		read_path(path, TRACE_READ_BURN_IN | TRACE_SALVAGE);
	}
	close(fd);
	free(copy);
	return 0;
}
