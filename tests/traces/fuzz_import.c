/* SPDX-License-Identifier: MIT */
/*
 * Hostile text against the line scanner, which every byte of a foreign file goes through. A
 * libFuzzer entry; test_import_perf.c feeds the same function with mutations of the samples.
 *
 *	CC=clang meson setup build-fuzz -Db_sanitize=address,undefined -Db_lundef=false
 *	ninja -C build-fuzz traces/fuzz_import
 *	build-fuzz/traces/fuzz_import tests/data/perf
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "traces/event.h"
#include "traces/import/perf_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise the scanner broke. abort() is what a fuzzer understands. */
static void expect(int true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void check_line(struct perf_scanner *scanner, const char *line, size_t length)
{
	const struct event_limits limits = {.pfn_end = PFN_MAX + 1, .nr_cpus = MACHINE_CPUS_MAX};
	struct perf_line parsed;
	struct perf_fault fault;

	switch (perf_line_scan(scanner, line, line + length, &parsed, &fault)) {
	case PERF_LINE_EVENT:
		expect(parsed.has_time);
		/* fall through */
	case PERF_LINE_LOST:
		expect(event_check(&parsed.event, &limits) == NULL);
		expect(parsed.pid >= -1 && parsed.pid < PERF_LINE_PID_MAX);
		break;
	case PERF_LINE_RELEASE:
		expect(parsed.text >= line && parsed.text + parsed.text_length == line + length);
		break;
	case PERF_LINE_SKIPPED:
		break;
	case PERF_LINE_FAULT:
		expect(fault.code != 0 && fault.expected && fault.remedy);
		expect(fault.at >= line && fault.at <= line + length);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct perf_scanner *scanner = calloc(1, sizeof(*scanner));

	expect(scanner != NULL);
	while (size) {
		const uint8_t *newline = memchr(data, '\n', size);
		size_t length = newline ? (size_t)(newline - data) : size;
		/* Each line in memory of its own: a sanitizer sees every byte read beyond it. */
		char *line = malloc(length + 1);

		expect(line != NULL);
		memcpy(line, data, length);
		line[length] = '\n';
		check_line(scanner, line, length);
		free(line);
		data += length;
		size -= length;
		if (newline) {
			data++;
			size--;
		}
	}
	free(scanner);
	return 0;
}
