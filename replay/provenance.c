/* SPDX-License-Identifier: MIT */
#include "replay/provenance.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/text_stream.h"
#include "version.h"

#define BUILD_ID_MAX 20

struct found_id {
	unsigned char bytes[BUILD_ID_MAX];
	size_t n;
};

/* The first object dl_iterate_phdr() visits is the program itself. */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct found_id *id = arg;

	(void)size;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const char *note = (const char *)(info->dlpi_addr + ph->p_vaddr);
		const char *end = note + ph->p_memsz;

		if (ph->p_type != PT_NOTE)
			continue;
		while ((size_t)(end - note) > sizeof(ElfW(Nhdr))) {
			const ElfW(Nhdr) *header = (const void *)note;
			const char *name = note + sizeof(*header);
			const char *desc = name + ((header->n_namesz + 3U) & ~3U);

			if (header->n_type == NT_GNU_BUILD_ID && header->n_namesz == 4 &&
			    !memcmp(name, "GNU", 4)) {
				id->n = header->n_descsz < BUILD_ID_MAX ? header->n_descsz
									: BUILD_ID_MAX;
				memcpy(id->bytes, desc, id->n);
				return 1;
			}
			note = desc + ((header->n_descsz + 3U) & ~3U);
		}
	}
	return 1;
}

void provenance_build_id(char *text, size_t size)
{
	struct found_id id = {.n = 0};
	int used = snprintf(text, size, "%s+", QUIRE_COMMIT);

	dl_iterate_phdr(find_build_id, &id);
	if (!id.n && used > 0 && (size_t)used < size)
		snprintf(text + used, size - (size_t)used, "unknown");
	for (size_t i = 0; i < id.n && used > 0 && (size_t)used + 2 < size; i++)
		used += snprintf(text + used, size - (size_t)used, "%02x", id.bytes[i]);
}

const char *provenance_version(void)
{
	return QUIRE_VERSION " (" QUIRE_COMMIT ")";
}

static void print_zone(FILE *out, const struct zone *z)
{
	fprintf(out,
		"zone %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
		z->node, z->type, z->start, z->end, z->watermark.min, z->watermark.low,
		z->watermark.high, z->watermark.promo);
	fprintf(out, " %u %u %u", z->percpu.batch, z->percpu.high_min, z->percpu.high_max);
	for (unsigned int t = 0; t < ZONE_TYPES; t++)
		fprintf(out, " %" PRIu64, z->lowmem_reserve[t]);
	fputc('\n', out);
}

/* All that a back end can see of it. */
static void print_machine(FILE *out, const struct machine *m)
{
	fprintf(out, "machine %u %u %u %u %u\n", m->page_shift, m->max_order, m->pageblock_order,
		m->nr_cpus, m->nr_nodes);
	for (unsigned int z = 0; z < m->nr_zones; z++)
		print_zone(out, &m->zones[z]);
	for (unsigned int cpu = 0; m->nr_nodes > 1 && cpu < m->nr_cpus; cpu++)
		fprintf(out, "%u ", m->node_of_cpu[cpu]);
	/* Nothing is said of usual ones: machines that were known before distances were keep their names. */
	for (size_t i = 0; m->distances && i < (size_t)m->nr_nodes * m->nr_nodes; i++)
		fprintf(out, "%sdistance %u", i ? " " : "\n", m->distances[i]);
	for (size_t i = 0; i < m->nr_absent; i++)
		fprintf(out, "absent %d %" PRIu64 " %" PRIu64 "\n", (int)m->absent[i].why,
			m->absent[i].range.start, m->absent[i].range.end);
}

int provenance_point_id(const char *asked, const struct machine *m,
			const struct allocator_spec *spec, const char *how, char id[33],
			struct error *err)
{
	char *options = option_canonical(spec->options), *text;
	struct text_stream stream;
	FILE *out = text_stream_begin(&stream);
	XXH128_hash_t hash;
	size_t bytes;

	if (out && options) {
		fprintf(out, "%s\n", asked);
		print_machine(out, m);
		fprintf(out, "allocator %s %s\n%s\n", spec->ops->name, options, how);
	}
	text = text_stream_end(&stream, &bytes);
	if (!options || !text) {
		free(options);
		free(text);
		return error_set(err, ENOMEM, "no memory for the run's identity");
	}
	free(options);
	hash = XXH3_128bits(text, bytes);
	snprintf(id, 33, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
	free(text);
	return 0;
}
