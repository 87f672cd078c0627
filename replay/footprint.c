/* SPDX-License-Identifier: MIT */
#include "replay/footprint.h"

#include <errno.h>
#include <stdio.h>

#include "base/format.h"
#include "base/host_memory.h"

/* Code, libraries and stack, blocks of a trace, records on their way. */
#define PROCESS_BYTES (UINT64_C(8) << 20)

#define NEAR_PERCENT 80

struct footprint footprint_of_trace(const char *trace, const struct engine_config *engine,
				    const struct machine *machine, uint64_t host_bytes)
{
	const struct machine *ids = engine->ids;
	const double frames = (double)(machine_end(ids) - machine_start(ids));
	char size[FORMAT_MAX];
	struct footprint f = {
		.remedy = "a host with more will do; if a wrong pfn has made the machine so large, "
			  "import it anew with less",
		.bytes = engine_bytes(engine, machine),
		.host_bytes = host_bytes,
	};

	snprintf(f.what, sizeof(f.what), "%s: its machine of %s", trace,
		 format_bytes(size, frames * (1U << ids->page_shift)));
	return f;
}

static uint64_t needs(const struct footprint *f)
{
	return f->bytes + PROCESS_BYTES;
}

static uint64_t available(const struct footprint *f)
{
	return f->host_bytes ? f->host_bytes : host_memory_available("");
}

int footprint_check(const struct footprint *f, struct error *err)
{
	const uint64_t has = available(f);
	char needed[FORMAT_MAX], there[FORMAT_MAX];

	if (needs(f) <= has)
		return 0;
	return error_set(err, ENOMEM,
			 "%s can take %s of this host's memory, and the back end's own on top; %s "
			 "are available; %s",
			 f->what, format_bytes(needed, (double)needs(f)),
			 format_bytes(there, (double)has), f->remedy);
}

int footprint_tell(const struct footprint *f, struct tell *tell)
{
	const uint64_t has = available(f);
	char needed[FORMAT_MAX], there[FORMAT_MAX];

	if (needs(f) <= has / 100 * NEAR_PERCENT)
		return 0;
	return tell_warning(tell,
			    "%s can take %s of the %s of memory that this host has available, and "
			    "the back end's own comes on top",
			    f->what, format_bytes(needed, (double)needs(f)),
			    format_bytes(there, (double)has));
}
