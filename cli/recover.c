/* SPDX-License-Identifier: MIT */
#include "replay/recover.h"

#include "base/bits.h"
#include "cli/cli.h"

static const struct option recover_options[] = {
	CLI_OPTION_FORMAT,
	{.name = NULL},
};

static int tell(const struct option_set *o, const struct recovery *r)
{
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"managed_frames", r->managed_frames},
		{"live_blocks", r->live_blocks},
		{"live_frames", r->live_frames},
		{"free_frames", r->free_frames},
		{"under_way_frames", r->under_way_frames},
		{"lost_frames", r->lost_frames},
		{"leaked_frames", r->leaked_frames},
		{"stray_frames", r->stray_frames},
		{"told_twice_frames", r->told_twice_frames},
		{"told_wrong_blocks", r->told_wrong_blocks},
		{"refused_frees", r->refused_frees},
		{"stats_off_frames", r->stats_off_frames},
		{"occupancy_off_blocks", r->occupancy_off_blocks},
		{"unfreed_frames", r->unfreed_frames},
	};
	struct emitter *e = cli_emitter(o);

	if (!e)
		return EXIT_RUN;
	emitter_string(e, "allocator", r->allocator);
	emitter_string(e, "trace_digest", r->trace);
	emitter_string(e, "build", r->build);
	emitter_bool(e, "finished", r->finished);
	emitter_uint(e, "event", r->event);
	emitter_string(e, "under_way", r->under_way);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		emitter_uint(e, counts[i].name, counts[i].value);
	emitter_string(e, "check", r->check[0] ? r->check : "ok");
	emitter_bool(e, "sound", recovery_sound(r));
	return cli_emitter_end(e, recovery_sound(r) ? EXIT_OK : EXIT_CHECK);
}

static int run(const struct option_set *o, int n, char **operands)
{
	struct error err = {0};
	struct recovery r;
	int code;

	(void)n;
	if (recover_file(operands[0], &r, &err))
		code = cli_fail(EXIT_RUN, &err);
	else
		code = tell(o, &r);
	recovery_free(&r);
	return code;
}

const struct verb verb_recover = {
	.name = "recover",
	.summary = "bring back the allocator of a replay that was killed, and count its frames",
	.operands = "FILE",
	.details =
		"Reads the file of `quire replay --backing file:FILE` with a back end that is\n"
		"persistent (llfree). The back end recovers from its metadata, and every frame is\n"
		"held against the journal of what it had told the replay: a live frame that can "
		"be\n"
		"had again is lost, one that is not live and cannot be had has leaked. Frames of\n"
		"the one operation that was under way may be either. FILE is only read.\n"
		"Exit: 0 every frame is accounted for, 1 not so, 3 nothing can be recovered.\n",
	.options = recover_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
